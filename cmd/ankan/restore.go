package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ankan/backup"
	"ankan/console"
	"ankan/hsm"
	"ankan/parts"
	"ankan/passkey"
	"ankan/site"
)

type restoreCmd struct {
	configFlag
	File      string   `arg:"" type:"existingfile" help:"Backup." complete:"files"`
	Browser   bool     `xor:"how" help:"Serve a page at the console's address, on which custodians open their shares, each with the passkey that they have. Prints a code for each of them."`
	Share     []string `type:"existingfile" placeholder:"N.passkey" help:"Software passkey of a custodian; repeat it." complete:"files"`
	Card      string   `type:"existingfile" placeholder:"partner.yaml" help:"The site's card, as a partner keeps it. Without it the keys in the security module must have signed the backup." complete:"files"`
	NewModule bool     `help:"The security module of the backup is gone: make new standing keys. Needs --card."`
	Witness   []string `type:"existingfile" placeholder:"FILE" help:"Checkpoint of this site's log that a partner keeps (ankan partner checkpoint); repeat it." complete:"files"`
	JSON      bool     `xor:"how" help:"Print JSON. Not with --browser."`
}

func (r restoreCmd) Run(a *app) error {
	c, err := r.load()
	if err != nil {
		return err
	}
	a.config = r.Config
	how := site.Restoring{File: r.File, NewModule: r.NewModule}
	if r.Card != "" {
		if how.Card, err = readPartner(r.Card); err != nil {
			return err
		}
	}
	for _, path := range r.Witness {
		signed, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		how.Witnesses = append(how.Witnesses, signed)
	}
	var out site.Restored
	if goesOn, err := how.CutShort(c); err != nil {
		return err
	} else if r.Browser && !goesOn {
		out, err = r.gather(a, c, how)
		if err != nil {
			return err
		}
	} else {
		if len(r.Share) == 0 && !goesOn {
			return errors.New("restore: nobody opens the backup; have its custodians come with their passkeys: --browser, or name the files of software passkeys: --share N.passkey")
		}
		if how.Persons, how.Open, err = r.shares(); err != nil {
			return err
		}
		token, err := site.OpenToken(c, r.NewModule)
		if err != nil {
			return err
		}
		defer token.Close()
		if out, err = r.restore(a.ctx, a, c, token, how); err != nil {
			return err
		}
	}
	return a.print(r.JSON, out, func() {
		a.printf("site %s is restored as it was %s, and locked: %s\n", out.Site, out.Made, out.Lock.Sentence())
		a.printf("the configuration of that time is in %s\n", short(out.Documents))
		if r.NewModule {
			a.printf("its card for partners is a new one: %s; they have to pin it\n", short(c.CardFile()))
		}
		a.next("ankan fsck -c %s, then ankan serve -c %[1]s, and unlock it: ankan act request site.unlock site", short(r.Config))
	})
}

// restore restores, and shows how far it is.
func (r restoreCmd) restore(ctx context.Context, a *app, c *site.Config, token hsm.Module, how site.Restoring) (out site.Restored, err error) {
	if r.JSON {
		return site.Restore(ctx, c, token, how, parts.All()...)
	}
	show, tell := newReporter(a.out), how.Progress
	begun := false
	how.Tell = func(line string) { show.Say(line) }
	how.Progress = func(rows, of int64) {
		if !begun {
			begun = true
			show.Stage("reading the backup's rows", int(of))
		}
		show.Progress(int(rows))
		if tell != nil {
			tell(rows, of)
		}
	}
	defer func() { show.close(err != nil) }()
	return site.Restore(ctx, c, token, how, parts.All()...)
}

// gather serves the page on which custodians open their shares, and restores when
// enough of them came.
func (r restoreCmd) gather(a *app, c *site.Config, how site.Restoring) (out site.Restored, err error) {
	// The module of a backup that is gone is made when the restore begins.
	var token site.Module
	var embedded bool
	if r.NewModule {
		info, err := site.CheckReady(c)
		if err != nil {
			return out, err
		}
		embedded = !info.Certified
	} else {
		if token, err = site.OpenToken(c, false); err != nil {
			return out, err
		}
		defer token.Close()
		embedded = !token.Info().Certified
	}
	v, err := how.Verify(a.ctx, c, token)
	if err != nil {
		return out, err
	}
	shares, err := site.NewGathering(v.Header)
	if err != nil {
		return out, err
	}
	persons, open, err := r.shares()
	if err != nil {
		return out, err
	}
	for _, id := range persons {
		if err := shares.Bring(id, open); err != nil {
			return out, err
		}
	}
	how.Open = shares.Open
	begin := func(ctx context.Context, progress func(rows, of int64)) error {
		how := how
		how.Persons, how.Progress = shares.Came(), progress
		if r.NewModule {
			made, err := site.OpenToken(c, true)
			if err != nil {
				return err
			}
			defer made.Close()
			token = made
		}
		out, err = r.restore(ctx, a, c, token, how)
		return err
	}
	if len(shares.Came()) >= v.Threshold {
		return out, begin(a.ctx, nil)
	}
	page, codes, err := console.NewRestoring(console.RestoringConfig{
		Site: c, Backup: v, Shares: shares, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)).With("site", c.Site), Version: versionText(),
		Embedded: embedded, Make: begin, Note: func(line string) { a.printf("%s\n", line) },
	})
	if err != nil {
		return out, err
	}
	a.printf("%s of %s, made %s, is whole and signed by the site.\n", short(r.File), v.Site, v.Made.Format("2006-01-02 15:04:05 MST"))
	if came := shares.Came(); len(came) > 0 {
		a.printf("The shares of %s are here.\n", strings.Join(came, ", "))
	}
	a.printf("%s of its %s open it at %s. Give each their code in person; it is shown this once.\n", count(int64(v.Threshold-len(shares.Came())), "more", "more"), count(len(v.Custodians), "custodian", "custodians"), page.Origin())
	var rows [][]string
	for _, k := range codes {
		rows = append(rows, []string{k.Person, k.Name, k.Code})
	}
	a.table([]string{"PERSON", "NAME", "CODE"}, rows)
	a.printf("Each opens the page on a device of their own, under this very name: their passkeys work under no other.\nCtrl-C ends it; until the restore begins nothing is kept.\n")
	return out, page.Run(a.ctx)
}

// shares finds whose passkeys these are.
func (r restoreCmd) shares() (persons []string, open hsm.Opener, err error) {
	f, err := os.Open(r.File)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	h, err := backup.ReadHeader(f)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", short(r.File), err)
	}
	var all []*passkey.Soft
	for _, path := range r.Share {
		k, err := passkey.LoadSoft(path)
		if err != nil {
			return nil, nil, err
		}
		at := slices.IndexFunc(h.Custodians, func(c backup.Custodian) bool { return bytes.Equal(c.Credential.ID, k.Credential.ID) })
		if at < 0 {
			var ids []string
			for _, c := range h.Custodians {
				ids = append(ids, c.Person)
			}
			return nil, nil, fmt.Errorf("%s is the passkey of none of the backup's custodians, who are %s; one that replaced another since then does not open it", filepath.Base(path), strings.Join(ids, ", "))
		}
		persons, all = append(persons, h.Custodians[at].Person), append(all, k)
	}
	return persons, site.Passkeys(all...), nil
}
