package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"ankan/audit"
)

type documentCommand struct {
	File string `arg:"" help:"The signed document (DSSE envelope)."`
	Key  string `required:"" help:"The signer's public key: a verifier key, or a file with one or in PEM." placeholder:"PUB|FILE"`
	Type string `help:"The type that the document must be of." placeholder:"TYPE"`
	JSON bool   `help:"Print only the payload, as it was signed."`
}

// Run checks a document and prints what was signed.
func (c documentCommand) Run() error {
	pub, err := documentKey(c.Key)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	if c.Type == "" {
		claimed, err := audit.ReadDocument(data)
		if err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
		c.Type = claimed.Type
	}
	d, err := audit.OpenDocument(data, c.Type, pub)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if c.JSON {
		_, err := os.Stdout.Write(d.Payload)
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, d.Payload, "  ", "  "); err != nil {
		return err
	}
	fmt.Printf("The document is signed by this key, which its signer calls %s.\n\n  type  %s\n\n  %s\n", printable(d.KeyName), printable(d.Type), b.Bytes())
	return nil
}
