// Command ankan-verify checks what an Ankan site gives to an auditor: an
// exported log, the proof of one entry, a signed document. It needs nothing but
// the files and the site's public key, which must have come by another way. It
// opens no connection and no database.
//
// It exits with 0 when all is well, with 1 when something is not, and with 2
// when it was called wrongly.
package main

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"ankan/audit"
)

// A program is the command line.
type program struct {
	Log      logCommand      `cmd:"" help:"Check an exported log: every entry, every hash, the signature."`
	Entry    entryCommand    `cmd:"" help:"Check the proof that one entry stands in a log."`
	Prove    proveCommand    `cmd:"" help:"Make the proof of one entry from an exported log."`
	Document documentCommand `cmd:"" help:"Check a signed document, such as a certificate of destruction."`

	Version kong.VersionFlag `help:"Print the version."`
}

// version is set by the build.
var version = "unknown"

func main() {
	var p program
	parser := kong.Must(&p, kong.Name("ankan-verify"),
		kong.Description("Checks logs, proofs and documents of an Ankan site, offline."), kong.Vars{"version": version})
	ctx, err := parser.Parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "ankan-verify:", err)
		os.Exit(2)
	}
	err = ctx.Run()
	if err != nil && !errors.Is(err, errSaid) {
		fmt.Fprintln(os.Stderr, "ankan-verify:", err)
	}
	if err != nil {
		os.Exit(1)
	}
}

// errSaid ends the program with 1 after the reason was printed.
var errSaid = errors.New("said already")

// logKey is a verifier key, from the argument or from the file that it names.
func logKey(arg string) (string, error) {
	if _, err := audit.PublicKey(arg); err == nil {
		return arg, nil
	}
	text, err := readKey(arg)
	if err != nil {
		return "", err
	}
	if _, err := audit.PublicKey(text); err != nil {
		return "", fmt.Errorf("key %s: %w", arg, err)
	}
	return text, nil
}

// documentKey is a public key: a verifier key, or a file with one or with a
// key in PEM.
func documentKey(arg string) (crypto.PublicKey, error) {
	if pub, err := audit.PublicKey(arg); err == nil {
		return pub, nil
	}
	text, err := readKey(arg)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		pub, err := audit.PublicKey(text)
		if err != nil {
			return nil, fmt.Errorf("key %s is neither PEM nor a verifier key: %w", arg, err)
		}
		return pub, nil
	}
	if block.Type != "PUBLIC KEY" {
		return nil, fmt.Errorf("key %s is PEM of a %q, want a PUBLIC KEY", arg, block.Type)
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", arg, err)
	}
	return pub, nil
}

func readKey(arg string) (string, error) {
	text, err := os.ReadFile(arg)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("key %q is neither a verifier key (name+hash+base64) nor a file", arg)
	}
	return strings.TrimSpace(string(text)), err
}
