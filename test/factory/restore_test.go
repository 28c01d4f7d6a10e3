package factory

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ankan/act"
	"ankan/audit"
	"ankan/backup"
	"ankan/custody"
	"ankan/demo"
	"ankan/hsm"
	"ankan/keys"
	"ankan/order"
	"ankan/parts"
	"ankan/passkey"
	"ankan/site"
	"ankan/store/storetest"
)

// keepers are who opens backups of the bureau.
var keepers = []string{"1002", "1003", "1004"}

// backup has a site back itself up while it runs.
func (w *works) backup(name string, who ...string) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), name+".backup")
	f := must[*os.File](w.t)(os.Create(path))
	if err := errors.Join(w.Clients[name].Backup(w.ctx, site.BackupPlan{Custodians: who, Threshold: 2}, f), f.Close()); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// passkeys are those of persons of a site.
func (w *works) passkeys(name string, who ...string) (all []*passkey.Soft) {
	w.t.Helper()
	for _, id := range who {
		all = append(all, must[*passkey.Soft](w.t)(passkey.LoadSoft(filepath.Join(w.Dir, name, "people", id+".passkey"))))
	}
	return all
}

// lose takes a site's data folder away, as a machine that is gone does. The
// security module stays.
func (w *works) lose(name string) {
	w.t.Helper()
	w.stop(name)
	if err := os.Rename(w.Configs[name].Data, filepath.Join(w.t.TempDir(), name)); err != nil {
		w.t.Fatal(err)
	}
	if storetest.OnPostgres() {
		w.Configs[name].Server.URL = storetest.New(w.t)
		w.t.Cleanup(func() { w.stop(name) }) // before the database goes
	}
}

func (w *works) restore(name, path string, who ...string) (site.Restored, error) {
	w.t.Helper()
	return site.Restore(w.ctx, w.Configs[name], w.tokens[name], site.Restoring{File: path, Persons: who, Open: site.Passkeys(w.passkeys(name, who...)...)}, parts.All()...)
}

func (w *works) status(name string) (st site.Status) {
	w.t.Helper()
	if err := w.Clients[name].Get(w.ctx, "/status", &st); err != nil {
		w.t.Fatal(err)
	}
	return st
}

// TestBackupWhileRunning backs every site up in the middle of a journey, puts
// each into a new folder, and goes on to the journey's end.
func TestBackupWhileRunning(t *testing.T) {
	t.Parallel()
	const cards = 40
	w := start(t, options{cards: cards})
	t.Cleanup(func() { w.say(demo.Sites()...) })
	who := map[string][]string{demo.Operator: {"0002", "0003", "0004"}, demo.Bureau: keepers, demo.Plant: {"2001", "2003", "2004"}}
	sum := w.journey(map[string]func(){stageRelease: func() {
		for _, name := range demo.Sites() {
			file := w.backup(name, who[name]...)
			before := w.status(name).LogSize
			w.lose(name)
			r, err := w.restore(name, file, who[name][0], who[name][2])
			if err != nil {
				t.Fatal(err)
			}
			// The entry that the backup was made came after it.
			if r.LogSize > before || r.LogSize < before-5 {
				t.Errorf("%s: the log goes up to %d, it had %d entries", name, r.LogSize, before)
			}
			w.start(name)
			st := w.status(name)
			if st.Locked == nil || !strings.Contains(st.Locked.Signs[0].Text, "restored from the backup") {
				t.Fatalf("%s is not locked: %+v", name, st.Locked)
			}
			for _, file := range []string{"site.yaml"} {
				if _, err := os.Stat(filepath.Join(r.Documents, "site", file)); err != nil {
					t.Error(err)
				}
			}
		}
		w.locked(demo.Bureau)
		w.approved(demo.Operator, "site.unlock", "site/stood-still", "nodal-officer", "security-officer")
		w.approved(demo.Bureau, "site.unlock", "site/stood-still", "key-manager", "security-officer")
		w.approved(demo.Plant, "site.unlock", "site/stood-still", "shift-lead", "security-officer")
	}})
	if sum.Responded != cards || !sum.Destroyed {
		t.Errorf("%d cards were responded, destroyed: %t", sum.Responded, sum.Destroyed)
	}
	for _, name := range demo.Sites() {
		all := w.log(name)
		for _, kind := range []string{"backup.begun", "site.restored", "site.unlocked"} {
			if !slices.ContainsFunc(all, func(e audit.Entry) bool { return e.Kind == kind }) {
				t.Errorf("%s: no entry %s", name, kind)
			}
		}
		if st := w.status(name); st.Locked != nil {
			t.Errorf("%s is locked again: %s", name, st.Locked.Sentence())
		}
	}
}

// locked tries what a locked bureau must not do, and what it still does.
func (w *works) locked(name string) {
	w.t.Helper()
	o := w.orders(name)[0]
	st := must[custody.Status](w.t)(w.Clients[name].Request(w.ctx, w.person(name, "data-preparation"), "order.release", "order/"+o.ID))
	id := st.Act.ID
	for _, role := range []string{"key-manager", "security-officer"} {
		must[custody.Status](w.t)(w.Clients[name].Sign(w.ctx, w.person(name, role), id, act.Approve, "compared"))
	}
	refusedWith(w.t, "releasing an order while locked", w.Clients[name].Do(w.ctx, id), keys.ErrHeld.Error())
	w.log(name)
}

// TestR12_Yesterday restores a backup from before an order after the order's whole
// life: its identities are not issued again, its keys are not back, and no one
// who brings less than asked opens the site.
func TestR12_Yesterday(t *testing.T) {
	t.Parallel()
	const cards = 20
	w := start(t, options{cards: cards, change: wide})
	t.Cleanup(func() { w.say(demo.Sites()...) })
	text := string(must[[]byte](t)(os.ReadFile(w.OrderFile)))
	var file string
	sum := w.journey(map[string]func(){stageOrder: func() { file = w.backup(demo.Bureau, keepers...) }})
	destroyed := must[[]string](t)(w.tokens[demo.Bureau].Destroyed(w.ctx))
	if len(destroyed) == 0 {
		t.Fatal("the journey destroyed no key")
	}
	w.refusals(file)
	w.lose(demo.Bureau)
	if _, err := w.restore(demo.Bureau, file, "1002", "1003"); err != nil {
		t.Fatal(err)
	}
	w.start(demo.Bureau)
	st := w.status(demo.Bureau)
	if st.Locked == nil || !slices.ContainsFunc(st.Locked.Signs, func(s site.Sign) bool {
		return s.From == "module" && strings.Contains(s.Text, destroyed[0])
	}) {
		t.Fatalf("the module's memory is no sign: %+v", st.Locked)
	}

	// Nobody unlocks before the lost order is accounted for.
	_, err := w.Clients[demo.Bureau].Request(w.ctx, w.person(demo.Bureau, "key-manager"), "site.unlock", "site")
	refusedWith(t, "unlocking without the order that was lost", err, sum.Order)
	body := must[[]byte](t)(json.Marshal(site.LostFile{Order: sum.Order, Operator: demo.Operator, Document: text}))
	if err := w.Clients[demo.Bureau].Ask(w.ctx, w.person(demo.Bureau, "key-manager"), "/drafts/lost", body, nil); err != nil {
		t.Fatal(err)
	}
	// Nor before the partners have said what they know: who did not is heard later,
	// and locks it again.
	for _, partner := range []string{demo.Operator, demo.Plant} {
		var v site.PartnerCheckpoint
		if err := w.Clients[partner].Get(w.ctx, "/partners/"+demo.Bureau+"/checkpoint", &v); err != nil {
			t.Fatal(err)
		}
		if v.Size <= st.Locked.LogSize {
			t.Errorf("%s keeps a checkpoint of %d entries, the lock knows %d", partner, v.Size, st.Locked.LogSize)
		}
		if continues, err := w.Clients[demo.Bureau].Witness(w.ctx, []byte(v.Checkpoint)); err != nil || continues {
			t.Errorf("the checkpoint that %s keeps: %t, %v, want that the log does not continue it", partner, continues, err)
		}
	}
	w.approved(demo.Bureau, "site.unlock", "site", "key-manager", "security-officer")

	// The same identities in an order of another name are refused; others are not.
	again := strings.Replace(text, "26112301", "26112309", 1)
	if v := w.submit("again.inp", again); v.State != order.Refused || !strings.Contains(v.Reason, "issued") {
		t.Errorf("the identities of the lost time: %s, %q, want refused", v.State, v.Reason)
	}
	for _, id := range destroyed {
		var k site.KeyLife
		if err := w.Clients[demo.Bureau].Get(w.ctx, "/keys/"+id, &k); err != nil || k.State != keys.Destroyed {
			t.Errorf("key %s: %v, %s, want destroyed", id, err, k.State)
		}
		if _, err := w.tokens[demo.Bureau].Key(w.ctx, id); !errors.Is(err, hsm.ErrNoKey) {
			t.Errorf("key %s is back: %v", id, err)
		}
	}
	w.log(demo.Bureau)
}

// refusals tries to restore with less than it takes. The site still runs, and
// its folder is full.
func (w *works) refusals(file string) {
	t := w.t
	c := *w.Configs[demo.Bureau]
	if _, err := w.restore(demo.Bureau, file, "1002", "1003"); err == nil || !strings.Contains(err.Error(), "never over data") {
		t.Errorf("over data: %v", err)
	}
	c.Data = filepath.Join(t.TempDir(), "new")
	content := must[[]byte](t)(os.ReadFile(file))
	other := filepath.Join(t.TempDir(), "other")
	for name, try := range map[string]struct {
		content []byte
		who     []string
		with    []string
		want    error
	}{
		"one custodian":        {content, []string{"1002"}, []string{"1002"}, hsm.ErrFew},
		"one custodian twice":  {content, []string{"1002", "1002"}, []string{"1002"}, hsm.ErrTwice},
		"another's passkey":    {content, []string{"1002", "1003"}, []string{"1002", "1005"}, hsm.ErrSealed},
		"one passkey for both": {content, []string{"1002", "1003"}, []string{"1002"}, hsm.ErrSealed},
		"cut short":            {content[:len(content)-100], []string{"1002", "1003"}, []string{"1002", "1003"}, backup.ErrDamaged},
		"a byte changed":       {flipped(content, len(content)/2), []string{"1002", "1003"}, []string{"1002", "1003"}, backup.ErrDamaged},
	} {
		if err := os.WriteFile(other, try.content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := site.Restore(w.ctx, &c, w.tokens[demo.Bureau], site.Restoring{File: other, Persons: try.who, Open: site.Passkeys(w.passkeys(demo.Bureau, try.with...)...)}, parts.All()...)
		if !errors.Is(err, try.want) {
			t.Errorf("%s: %v, want %v", name, err, try.want)
		}
		if left, _ := os.ReadDir(c.Data); slices.ContainsFunc(left, func(e os.DirEntry) bool { return e.Name() != "ankan.db.lock" }) {
			t.Errorf("%s: left behind %v", name, left)
		}
	}
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 4
	return b
}

// TestR12_OldDatabase puts an old database file in the place of a newer one, without
// any command of ours: the high-water file notices, and without it the module.
func TestR12_OldDatabase(t *testing.T) {
	t.Parallel()
	if storetest.OnPostgres() {
		return // what is put back here is a file
	}
	w := start(t, options{cards: 10})
	c := w.Configs[demo.Bureau]
	var old string
	w.journey(map[string]func(){stageOrder: func() { old = w.copied(demo.Bureau) }})
	w.stop(demo.Bureau)
	putBack := func() {
		t.Helper()
		for _, end := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(c.Database() + end); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(c.Database(), must[[]byte](t)(os.ReadFile(old)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	putBack()
	high := must[[]byte](t)(os.ReadFile(c.HighWaterFile()))
	w.start(demo.Bureau)
	st := w.status(demo.Bureau)
	if st.Locked == nil || !slices.ContainsFunc(st.Locked.Signs, func(s site.Sign) bool { return s.From == "high-water" }) {
		t.Errorf("the high-water file is no sign: %+v", st.Locked)
	}
	if now := must[[]byte](t)(os.ReadFile(c.HighWaterFile())); !bytes.Equal(now, high) {
		t.Error("the evidence was written over")
	}
	w.stop(demo.Bureau)
	putBack()
	if err := os.Remove(c.HighWaterFile()); err != nil {
		t.Fatal(err)
	}
	w.start(demo.Bureau)
	st = w.status(demo.Bureau)
	if st.Locked == nil || len(st.Locked.Signs) == 0 || st.Locked.Signs[0].From != "module" {
		t.Fatalf("the module is no sign: %+v", st.Locked)
	}
	// Started again, it is still locked: by what it wrote down itself.
	w.stop(demo.Bureau)
	w.start(demo.Bureau)
	if again := w.status(demo.Bureau); again.Locked == nil || len(again.Locked.Signs) != len(st.Locked.Signs) {
		t.Errorf("started again: %+v", again.Locked)
	}
}

// say shows what sites said, where a test failed.
func (w *works) say(names ...string) {
	if !w.t.Failed() {
		return
	}
	for _, name := range names {
		out, _ := os.ReadFile(filepath.Join(w.Dir, name, "stderr.log"))
		w.t.Logf("%s:\n%s", name, out[max(0, len(out)-2000):])
	}
}
