package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"ankan/audit"
)

type entryCommand struct {
	Proof string `arg:"" help:"The .tlog-proof file."`
	Key   string `required:"" help:"The log's verifier key, or a file that holds it." placeholder:"VKEY|FILE"`
	JSON  bool   `help:"Print only the entry, as it stands in the log."`
}

// Run checks a proof and prints the entry.
func (c entryCommand) Run() error {
	vkey, err := logKey(c.Key)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(c.Proof)
	if err != nil {
		return err
	}
	p, err := audit.ParseProof(data)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Proof, err)
	}
	e, log, err := p.Open(vkey)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Proof, err)
	}
	if c.JSON {
		fmt.Printf("%s\n", p.Leaf)
		return nil
	}
	fmt.Printf("Entry %s stands in the log %s, which had %s entries when its checkpoint was signed.\n\n",
		grouped(p.Index), log.Origin, grouped(log.Size))
	fmt.Printf("  time     %s\n  kind     %s\n  actor    %s\n  subject  %s\n", when(e.Time), e.Kind, printable(e.Actor), printable(e.Subject))
	if len(e.Data) == 0 {
		return nil
	}
	d, err := e.DataJSON()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, d, "  ", "  "); err != nil {
		return err
	}
	fmt.Printf("\n  %s\n", b.Bytes())
	return nil
}

type proveCommand struct {
	Dir   string `arg:"" help:"Folder of the exported log."`
	Index int64  `arg:"" help:"The entry's place in the log, from 0."`
	Key   string `required:"" help:"The log's verifier key, or a file that holds it." placeholder:"VKEY|FILE"`
}

// Run prints the proof of an entry.
func (c proveCommand) Run() error {
	vkey, err := logKey(c.Key)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	p, err := audit.ProveFile(root.FS(), vkey, c.Index)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Dir, err)
	}
	_, err = os.Stdout.Write(p.Bytes())
	return err
}
