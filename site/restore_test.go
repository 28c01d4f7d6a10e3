package site_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/backup"
	"ankan/durable"
	"ankan/exchange"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/parts"
	"ankan/passkey"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/store/storetest"
)

// A lostSite is a site of which a backup is left, its module, and its people.
type lostSite struct {
	config *site.Config
	token  hsm.Module
	card   *exchange.Partner
	keys   map[string]act.Key
	file   string
	people []act.Person
}

// loseSite founds an operator with three people, backs it up and takes it away.
func loseSite(t *testing.T) *lostSite {
	t.Helper()
	l := &lostSite{config: sitetest.Config(t, "op", site.Operator), token: hsmtest.Soft(t, nil), keys: map[string]act.Key{}}
	for id, role := range map[string]string{"0001": "key-manager", "0002": "security-officer", "0003": "hsm-administrator"} {
		key := sitetest.Must[*passkey.Soft](t)(passkey.NewSoft("site.example", "https://site.example"))
		l.keys[id] = key
		l.people = append(l.people, act.Person{ID: id, Name: "Person", Roles: []string{role}, Employment: act.Permanent, Credential: key.Credential})
	}
	crew := sitetest.Crew{People: l.people, Keys: l.keys}
	if err := site.Init(t.Context(), l.config, l.token, crew.Founding(t, l.config), func(string) {}, parts.All()...); err != nil {
		t.Fatal(err)
	}
	s := sitetest.Open(t, l.config, l.token, parts.All()...)
	l.people = sitetest.Must[[]act.Person](t)(s.People().People(t.Context()))
	l.file = filepath.Join(t.TempDir(), "op.backup")
	write := func(w io.Writer) error { _, err := s.Backup(t.Context(), w, "test", site.BackupPlan{}); return err }
	if err := l.config.NewBackup(l.file, write, func(io.Reader) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	doc := sitetest.Must[[]byte](t)(os.ReadFile(l.config.CardFile()))
	l.card = sitetest.Must[*exchange.Partner](t)(exchange.ParsePartner("partner.yaml", doc))
	l.lose(t)
	return l
}

// lose takes the site away.
func (l *lostSite) lose(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(l.config.Data); err != nil {
		t.Fatal(err)
	}
	if storetest.OnPostgres() {
		l.config.Server.URL = storetest.New(t)
	}
}

func (l *lostSite) restore(ctx context.Context, how site.Restoring) (site.Restored, error) {
	how.File, how.Persons = l.file, []string{"0001", "0003"}
	how.Open = site.Passkeys(l.keys["0001"].(*passkey.Soft), l.keys["0003"].(*passkey.Soft))
	return site.Restore(ctx, l.config, l.token, how, parts.All()...)
}

// halfRestored wants that nothing serves, or is founded anew, over what a restore
// left, and that it says what to do.
func (l *lostSite) halfRestored(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(l.config.CardFile()); err == nil {
		return // it is whole
	}
	if _, err := os.Stat(filepath.Join(l.config.Data, "restoring")); err != nil {
		return // it is not begun
	}
	_, open := site.Open(t.Context(), l.config, l.token, nil, parts.All()...)
	_, ready := site.CheckReady(l.config)
	r, err := site.Fsck(t.Context(), l.config, l.token, false, parts.All()...)
	if err != nil || len(r.Findings) != 1 {
		t.Errorf("fsck: %+v, %v", r.Findings, err)
	} else {
		err = errors.New(r.Findings[0].Next)
	}
	for what, err := range map[string]error{"opening": open, "founding": ready, "fsck": err, "going on with a founding": site.Finish(t.Context(), l.config, l.token, parts.All()...),
		"setting up": site.Init(t.Context(), l.config, l.token, access.Founding{}, nil, parts.All()...)} {
		if err == nil || !strings.Contains(err.Error(), "a restore was cut short") || !strings.Contains(err.Error(), "give the same ankan restore again") {
			t.Errorf("%s what is half restored: %v", what, err)
		}
	}
}

// whole wants the site as it was, and locked.
func (l *lostSite) whole(t *testing.T, r site.Restored) {
	t.Helper()
	if r.Lock == nil || r.LogSize == 0 || r.Rows == 0 || r.Files == 0 || len(r.Custodians) != 2 {
		t.Fatalf("restored: %+v", r)
	}
	s, err := site.Open(t.Context(), l.config, l.token, discard(), parts.All()...)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if k := s.Locked(); k == nil || len(k.Signs) == 0 || k.Signs[0].From != "restore" {
		t.Errorf("it is not locked by the restore: %+v", k)
	} else if n := strings.Count(fmt.Sprint(k.Signs), r.Set); n != 1 {
		t.Errorf("%d signs of the restore: %+v", n, k.Signs)
	}
	people := sitetest.Must[[]act.Person](t)(s.People().People(t.Context()))
	if a, b := sitetest.Must[[]byte](t)(json.Marshal(people)), sitetest.Must[[]byte](t)(json.Marshal(l.people)); !bytes.Equal(a, b) {
		t.Errorf("people are %s, want %s", a, b)
	}
	if _, err := s.Store().Fsck(t.Context(), s.Store().VerifierKey()); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"partner.yaml", "openpgp.asc", "spool", "edge", "documents/site/site.yaml"} {
		if _, err := os.Stat(filepath.Join(l.config.Data, name)); err != nil {
			t.Error(err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(l.config.Data, "*restoring*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if left, _ := filepath.Glob(l.config.Database() + ".filling*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
