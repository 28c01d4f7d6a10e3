package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"ankan/act"
	"ankan/audit"
	"ankan/backup"
	"ankan/client"
	"ankan/exchange"
	"ankan/parts"
	"ankan/site"
)

type backupCmd struct {
	Make   backupMakeCmd   `cmd:"" default:"withargs" help:"Back a site up into one file, which some of its custodians open together. The site may run."`
	Verify backupVerifyCmd `cmd:"" help:"Check a backup without its custodians: its form, digests, signature and checkpoint."`
}

type backupMakeCmd struct {
	siteFlag
	Out       string   `required:"" type:"path" placeholder:"FILE" help:"New file." complete:"files"`
	Custodian []string `placeholder:"N" help:"Person who gets a share; repeat it. Default: the key custodians, or all who may hold one (backup.hold)."`
	Threshold int      `placeholder:"M" help:"How many of them open it: at least 2, and fewer than all. Default: more than half."`
}

func (b backupMakeCmd) Run(a *app) error {
	c, err := b.load()
	if err != nil {
		return err
	}
	a.config = b.Config
	plan := site.BackupPlan{Custodians: b.Custodian, Threshold: b.Threshold, Program: versionText()}
	var v backupView
	err = c.NewBackup(b.Out, func(w io.Writer) error {
		err := client.New(c.Control).Backup(a.ctx, plan, w)
		if errors.Is(err, client.ErrAway) {
			err = backupAlone(a, c, plan, w)
		}
		return err
	}, func(r io.Reader) error {
		// What came is proved before anybody relies on it.
		p, err := ownCard(c)
		if err == nil {
			v, err = verifyBackup(r, p)
		}
		return err
	})
	if err != nil {
		return err
	}
	return a.print(b.JSON, v, func() {
		v.text(a, b.Out)
		a.next("keep it away from this machine; rehearse a restore: ankan restore %s -c OTHER/site.yaml --browser", short(b.Out))
	})
}

// backupAlone backs up a site that does not run.
func backupAlone(a *app, c *site.Config, plan site.BackupPlan, w io.Writer) error {
	token, err := site.OpenToken(c, false)
	if err != nil {
		return err
	}
	defer token.Close()
	s, err := site.Open(a.ctx, c, token, slog.New(slog.NewTextHandler(os.Stderr, nil)).With("site", c.Site), parts.All()...)
	if err != nil {
		return err
	}
	_, err = s.Backup(a.ctx, w, "system:command", plan)
	return errors.Join(err, s.Close())
}

// ownCard is the site's card for partners: its keys signed the backup.
func ownCard(c *site.Config) (*exchange.Partner, error) {
	return readPartner(c.CardFile())
}

func readPartner(path string) (*exchange.Partner, error) {
	doc, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return exchange.ParsePartner(path, doc)
}

// A backupView is what is proved of a backup without its custodians.
type backupView struct {
	Site       string   `json:"site"`
	Set        string   `json:"set"`
	Made       string   `json:"made"`
	Program    string   `json:"program"`
	LogSize    int64    `json:"log_size"`
	LogRoot    string   `json:"log_root"`
	Size       int64    `json:"size"`
	SHA256     string   `json:"sha256"`
	Rows       int64    `json:"rows"`
	Files      int64    `json:"files"`
	Threshold  int      `json:"threshold"`
	Custodians []string `json:"custodians"`
	Words      []string `json:"words"` // of the digest
}

func verifyBackup(f io.Reader, p *exchange.Partner) (v backupView, err error) {
	if p.Site() == nil {
		return v, fmt.Errorf("the card of %s names no key that signs documents (site)", p.Name())
	}
	sum := sha256.New()
	n := &counting{w: sum}
	h, m, err := backup.Verify(io.TeeReader(f, n), ed25519.PublicKey(p.Site()))
	if err != nil {
		return v, err
	}
	if h.Site != p.Name() || h.Log != p.Card().Log {
		return v, fmt.Errorf("the backup is of %s with the log key %s, the card is of %s with %s", h.Site, h.Log, p.Name(), p.Card().Log)
	}
	c, err := audit.OpenCheckpoint([]byte(m.Checkpoint), h.Log)
	if err != nil {
		return v, err
	}
	v = backupView{Site: h.Site, Set: h.Set, Made: h.Made.Format("2006-01-02T15:04:05Z07:00"), Program: h.Program, LogSize: c.Size, LogRoot: c.Root.String(), Size: n.n,
		SHA256: fmt.Sprintf("%x", sum.Sum(nil)), Files: m.Files, Threshold: h.Threshold, Words: act.Words([32]byte(sum.Sum(nil)))}
	for _, rows := range m.Rows {
		v.Rows += rows
	}
	for _, who := range h.Custodians {
		v.Custodians = append(v.Custodians, who.Person)
	}
	return v, nil
}

type counting struct {
	w io.Writer
	n int64
}

func (c *counting) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.w.Write(p)
}

func (v backupView) text(a *app, path string) {
	a.printf("%s: backup of %s, made %s\n", short(path), v.Site, v.Made)
	a.printf("  log        %s, root %s\n", count(v.LogSize, "entry", "entries"), v.LogRoot)
	a.printf("  content    %s, %s\n", count(v.Rows, "row", "rows"), count(v.Files, "file", "files"))
	a.printf("  opens with %d of %s\n", v.Threshold, strings.Join(v.Custodians, ", "))
	a.printf("  SHA-256    %s\n  words      %s\n", v.SHA256, strings.Join(v.Words, " "))
}

type backupVerifyCmd struct {
	File string `arg:"" type:"existingfile" help:"Backup." complete:"files"`
	Card string `required:"" type:"existingfile" placeholder:"partner.yaml" help:"The site's card, as partners keep it: its keys must have signed." complete:"files"`
	JSON bool   `help:"Print JSON."`
}

func (b backupVerifyCmd) Run(a *app) error {
	p, err := readPartner(b.Card)
	if err != nil {
		return err
	}
	f, err := os.Open(b.File)
	if err != nil {
		return err
	}
	defer f.Close()
	v, err := verifyBackup(f, p)
	if err != nil {
		return fmt.Errorf("%s: %w", short(b.File), err)
	}
	return a.print(b.JSON, v, func() {
		v.text(a, b.File)
		a.printf("Verified as far as that goes without its custodians. Whether it opens, only a rehearsal shows.\n")
	})
}

type fsckCmd struct {
	configFlag
	Repair bool `help:"Make anew what can be derived: the log's tiles, from its entries."`
	JSON   bool `help:"Print JSON."`
}

func (f fsckCmd) Run(a *app) error {
	c, err := f.load()
	if err != nil {
		return err
	}
	a.config = f.Config
	token, err := site.OpenToken(c, false)
	if err != nil {
		return err
	}
	defer token.Close()
	r, err := site.Fsck(a.ctx, c, token, f.Repair, parts.All()...)
	if err != nil {
		return err
	}
	err = a.print(f.JSON, r, func() {
		for _, what := range r.Repaired {
			a.printf("repaired: %s\n", what)
		}
		for _, x := range r.Findings {
			a.printf("%s: %s; next: %s\n", x.Check, x.What, x.Next)
		}
		a.printf("looked at %s, %s, %s, %s, %s, %s\n", count(r.Entries, "entry", "entries"), count(r.Acts, "act", "acts"), count(r.Blocks, "block", "blocks"),
			count(r.Accounts, "account", "accounts"), count(r.Keys, "key", "keys"), count(r.Files, "file", "files"))
	})
	if n := len(r.Findings); err == nil && n > 0 {
		err = fmt.Errorf("site %s: %s", c.Site, count(n, "finding", "findings"))
	}
	return err
}
