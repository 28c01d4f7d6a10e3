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
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
	"ankan/store"
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

// loseSite founds a site with three people, backs it up and takes it away.
func loseSite(t *testing.T, role string) *lostSite {
	t.Helper()
	l := &lostSite{config: sitetest.Config(t, "op", role), token: hsmtest.Soft(t, nil), keys: map[string]act.Key{}}
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

// stepsOf picks steps of a whole run: of each name the first and the last.
func stepsOf(names []string) (picked []int64) {
	at, n := map[string][]int64{}, int64(0)
	var order []string
	for _, name := range names {
		if !durable.Lasts(name) {
			continue
		}
		n++
		if at[name] == nil {
			order = append(order, name)
		}
		at[name] = append(at[name], n)
	}
	for _, name := range order {
		all := at[name]
		for i, step := range all {
			if i == 0 || i == len(all)-1 {
				picked = append(picked, step)
			}
		}
	}
	return picked
}

// ends are the four ways in which a step does not go as it should.
func ends(n int64) []*durable.Script {
	return []*durable.Script{
		{Die: durable.Event{Step: n, Shape: durable.Before}}, {Die: durable.Event{Step: n, Shape: durable.After}},
		{Fail: []durable.Event{{Step: n, Shape: durable.Before}}, Match: durable.Lasts}, {Fail: []durable.Event{{Step: n, Shape: durable.After}}, Match: durable.Lasts},
	}
}

// dies has a restore end at steps of it, in each way, and gives it again.
func (l *lostSite) dies(t *testing.T, how site.Restoring) {
	t.Helper()
	dry := &durable.Script{}
	l.config.Steps = dry.Steps()
	good, err := l.restore(t.Context(), how)
	l.config.Steps = nil
	if err != nil {
		t.Fatal(err)
	}
	l.whole(t, good)
	steps, lasting := stepsOf(dry.Names()), []string{""}
	for _, name := range dry.Names() {
		if durable.Lasts(name) {
			lasting = append(lasting, name)
		}
	}
	seen, turn := map[string]int{}, int64(slices.Index(lasting, "file.link")) // all is there
	for _, n := range steps {
		ways := ends(n)
		if n < turn && how.NewModule {
			continue
		} else if n < turn {
			ways = []*durable.Script{ways[0], ways[3]}
		}
		for i, script := range ways {
			l.lose(t)
			l.config.Steps = script.Steps()
			r, err := l.restore(t.Context(), how)
			l.config.Steps = nil
			// That a commit was done which is said to have failed, the store finds out.
			if !errors.Is(err, durable.ErrDead) && !errors.Is(err, durable.ErrFailed) && (err != nil || lasting[n] != "store.commit") {
				t.Fatalf("step %d (%s), way %d: %v", n, lasting[n], i, err)
			}
			seen[lasting[n]]++
			l.halfRestored(t)
			// Once all is there, it takes no custodian.
			again := how
			again.File = l.file
			yes, err := again.CutShort(l.config)
			switch {
			case err != nil:
				t.Error(err)
			case yes:
				again.Open = func(hsm.Given, hsm.Content, string) ([]byte, error) {
					return nil, errors.New("a custodian is asked again")
				}
				r, err = site.Restore(t.Context(), l.config, l.token, again, parts.All()...)
			default:
				r, err = l.restore(t.Context(), how)
			}
			if _, carded := os.Stat(l.config.CardFile()); err != nil && carded == nil && strings.Contains(err.Error(), "never over data") {
				r, err = good, nil // it had come to its end
			}
			if err != nil {
				t.Fatalf("step %d (%s), way %d, again: %v", n, lasting[n], i, err)
			}
			l.whole(t, r)
			if t.Failed() {
				t.Fatalf("step %d (%s), way %d", n, lasting[n], i)
			}
		}
	}
	t.Logf("%d steps, ended at %v", len(lasting)-1, seen)
	for _, want := range []string{"file.link", "restore.rename", "fill.place", "store.commit", "restore.remove"} {
		if seen[want] == 0 {
			t.Errorf("nothing ended at %s", want)
		}
	}
}

// A restore dies, or fails, at each of its steps, before it and after it. What it
// leaves serves nothing; given again it comes to its end, and needs no custodian if
// all of the backup was there.
func TestRestoreDies(t *testing.T) {
	l := loseSite(t, site.Operator)
	l.dies(t, site.Restoring{})
}

// Likewise where the security module is gone too.
func TestRestoreNewModuleDies(t *testing.T) {
	l := loseSite(t, site.Bureau)
	l.token = hsmtest.Soft(t, nil)
	l.dies(t, site.Restoring{Card: l.card, NewModule: true})
}

// What is said to who goes on with another restore than the one that was cut
// short, who begins one beside it, and who has put something in its way.
func TestRestoreRefuses(t *testing.T) {
	l := loseSite(t, site.Operator)
	until := func(name string) {
		t.Helper()
		l.config.Steps = func(step string, do func() error) error {
			if step == name {
				return durable.ErrFailed
			}
			return do()
		}
		defer func() { l.config.Steps = nil }()
		if _, err := l.restore(t.Context(), site.Restoring{}); !errors.Is(err, durable.ErrFailed) || !strings.Contains(err.Error(), "give the same command again, and it goes on") {
			t.Fatalf("until %s: %v", name, err)
		}
	}
	wants := func(err error, text string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %q", err, text)
		}
	}
	until("restore.rename")
	_, err := l.restore(t.Context(), site.Restoring{NewModule: true, Card: l.card})
	wants(err, "end it by the very command that began it")
	other := *l
	other.file = filepath.Join(t.TempDir(), "other")
	doc := sitetest.Must[[]byte](t)(os.ReadFile(l.file))
	first, _ := bytes.CutPrefix(doc, []byte("ankan backup 1\n"))
	first, _, _ = bytes.Cut(first, []byte("\n"))
	var h backup.Header
	if err := json.Unmarshal(first, &h); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other.file, bytes.ReplaceAll(doc, []byte(h.Set), []byte(h.Set[:len(h.Set)-1]+"-")), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = other.restore(t.Context(), site.Restoring{})
	wants(err, "a restore of the backup "+h.Set+" was cut short when all of it was there")

	way := filepath.Join(l.config.Data, "documents")
	if err := os.WriteFile(way, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = l.restore(t.Context(), site.Restoring{})
	wants(err, "documents is there: nothing is restored over it")
	if err := os.Remove(way); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(l.config.Data, "edge")); err != nil {
		t.Fatal(err)
	}
	_, err = l.restore(t.Context(), site.Restoring{})
	wants(err, "edge is gone since it was restored")

	// What no restore wrote is not gone on with.
	whole := filepath.Join(l.config.Data, "restoring", "whole.json")
	if err := os.WriteFile(whole, []byte("{}x"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = l.restore(t.Context(), site.Restoring{})
	wants(err, "whole.json: ")

	// A second one beside the first.
	l.lose(t)
	l.config.Steps = func(step string, do func() error) error {
		if step == "fill.begin" {
			l.config.Steps = nil
			_, err := l.restore(t.Context(), site.Restoring{})
			wants(err, "another restore is under way")
		}
		return do()
	}
	r, err := l.restore(t.Context(), site.Restoring{})
	l.config.Steps = nil
	if err != nil {
		t.Fatal(err)
	}
	l.whole(t, r)

	// Another site's backup, and one that nobody who is trusted signed.
	l.lose(t)
	c := *l.config
	c.Site = "other"
	_, err = site.Restoring{File: l.file, Card: l.card}.Verify(t.Context(), &c, nil)
	wants(err, `the card is of "op"`)
	_, err = site.Restoring{File: l.file, NewModule: true}.Verify(t.Context(), l.config, nil)
	wants(err, "a new security module does not know who signed the backup")
	v, err := site.Restoring{File: l.file}.Verify(t.Context(), l.config, l.token)
	if err != nil || v.Set != h.Set || v.SHA256 == [32]byte{} {
		t.Errorf("%+v, %v", v, err)
	}
	if left, _ := os.ReadDir(l.config.Data); len(left) > 0 {
		t.Errorf("looking at the backup left %v", left)
	}
}

// A backup dies, or fails, at each of its steps: a file of its name is a whole
// backup, and what is half is not taken for one.
func TestBackupDies(t *testing.T) {
	l := loseSite(t, site.Operator)
	if _, err := l.restore(t.Context(), site.Restoring{}); err != nil {
		t.Fatal(err)
	}
	s := sitetest.Open(t, l.config, l.token, parts.All()...)
	key := ed25519.PublicKey(l.card.Site())
	verify := func(r io.Reader) error { _, _, err := backup.Verify(r, key); return err }
	write := func(w io.Writer) error { _, err := s.Backup(t.Context(), w, "test", site.BackupPlan{}); return err }
	path := filepath.Join(t.TempDir(), "op.backup")
	c := *l.config
	dry := &durable.Script{}
	c.Steps = dry.Steps()
	if err := c.NewBackup(path, write, verify); err != nil {
		t.Fatal(err)
	}
	c.Steps = nil
	if err := c.NewBackup(path, write, verify); err == nil || !strings.Contains(err.Error(), "it goes into a new file") {
		t.Errorf("over a backup: %v", err)
	}
	bad := errors.New("it does not verify")
	if err := c.NewBackup(path+"2", write, func(io.Reader) error { return bad }); !errors.Is(err, bad) {
		t.Error(err)
	}
	for _, n := range stepsOf(dry.Names()) {
		for i, script := range ends(n) {
			os.Remove(path)
			c.Steps = script.Steps()
			if err := c.NewBackup(path, write, verify); !errors.Is(err, durable.ErrDead) && !errors.Is(err, durable.ErrFailed) {
				t.Fatalf("step %d, way %d: %v", n, i, err)
			}
			f, err := os.Open(path)
			if err == nil {
				if err := errors.Join(verify(f), f.Close()); err != nil {
					t.Errorf("step %d, way %d: half a backup has its name: %v", n, i, err)
				}
				os.Remove(path)
			} else if !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			c.Steps = nil
			err = c.NewBackup(path, write, verify)
			if _, part := os.Stat(path + ".part"); part == nil {
				if err == nil || !strings.Contains(err.Error(), "was cut short and is worth nothing") || !script.Dead() {
					t.Errorf("step %d, way %d: over half a backup: %v", n, i, err)
				}
				if err := os.Remove(path + ".part"); err != nil {
					t.Fatal(err)
				}
				err = c.NewBackup(path, write, verify)
			}
			if err != nil {
				t.Errorf("step %d, way %d, again: %v", n, i, err)
			}
		}
	}
}

// The high-water file dies at each of its steps: what is there is a checkpoint
// that the log continues, and the site is not locked by it.
func TestHighWaterDies(t *testing.T) {
	c := sitetest.Config(t, "op", site.Operator)
	token := sitetest.Init(t, c, parts.All()...)
	for _, step := range []string{"high-water.write", "high-water.rename"} {
		for _, shape := range []durable.Shape{durable.Before, durable.After} {
			at, dead := 0, false
			c.Steps = func(name string, do func() error) error {
				if dead {
					return durable.ErrDead
				}
				if name != step {
					return do()
				}
				if at++; at < 2 {
					return do()
				}
				dead = true
				if shape == durable.After {
					do()
				}
				return durable.ErrDead
			}
			for range 2 {
				s, err := site.Open(t.Context(), c, token, discard(), parts.All()...)
				if err != nil {
					t.Fatal(err)
				}
				sitetest.Change(t, s, func(*store.Tx) error { return nil })
				s.Close()
			}
			if !dead {
				t.Fatalf("nothing died at %s", step)
			}
			c.Steps = nil
			s := sitetest.Open(t, c, token, parts.All()...)
			if l := s.Locked(); l != nil {
				t.Errorf("%s, %s: the site is locked: %+v", step, shape, l)
			}
			signed, err := os.ReadFile(c.HighWaterFile())
			if err == nil {
				err = s.Store().Continues(t.Context(), signed)
			}
			if err != nil {
				t.Errorf("%s, %s: %v", step, shape, err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
