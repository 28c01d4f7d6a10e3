package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ankan/audit"
	"ankan/demo"
)

type auditCmd struct {
	Export auditExportCmd `cmd:"" help:"Write the audit log as C2SP tlog-tiles to a new folder."`
	Verify auditVerifyCmd `cmd:"" help:"Verify an exported log and every signature in it; ankan-verify does the same without the rest of this program."`
}

type auditExportCmd struct {
	siteFlag
	Dir string `arg:"" type:"path" help:"New folder." complete:"files"`
}

func (e auditExportCmd) Run(a *app) error {
	c, err := e.client(a)
	if err != nil {
		return err
	}
	if err := c.ExportLog(a.ctx, e.Dir); err != nil {
		return err
	}
	return a.print(e.JSON, map[string]string{"exported": e.Dir}, func() {
		a.printf("exported to %s\n", e.Dir)
		a.next("ankan-verify log %s --key KEY, with the key that stands as log in the site's card for partners", short(e.Dir))
	})
}

type auditVerifyCmd struct {
	Dir  string `arg:"" type:"existingdir" help:"Exported log."`
	Key  string `required:"" placeholder:"VKEY|FILE" help:"The site's verifier key, or a file with it." complete:"files"`
	JSON bool   `help:"Print JSON."`
}

func (v auditVerifyCmd) Run(a *app) error {
	key, err := verifierKey(v.Key)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(v.Dir, "checkpoint")); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s holds no file checkpoint; name a folder that ankan audit export wrote", short(v.Dir))
	}
	size, signatures, err := demo.VerifyLog(os.DirFS(v.Dir), key)
	if err != nil {
		return fmt.Errorf("%s: %w", short(v.Dir), err)
	}
	return a.print(v.JSON, map[string]int64{"entries": size, "signatures": int64(signatures)}, func() {
		a.printf("%s and %s verified\n", count(size, "entry", "entries"), count(signatures, "signature", "signatures"))
	})
}

// verifierKey is a log's verifier key, from the argument or the file that it
// names.
func verifierKey(arg string) (string, error) {
	key := arg
	doc, err := os.ReadFile(arg)
	if err == nil {
		key = strings.TrimSpace(string(doc))
	}
	if _, bad := audit.PublicKey(key); bad != nil {
		if err != nil {
			return "", fmt.Errorf("key %q is neither a verifier key (name+hash+base64) nor a file", arg)
		}
		return "", fmt.Errorf("key %s: %w", arg, bad)
	}
	return key, nil
}
