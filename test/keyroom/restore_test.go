package keyroom

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ankan/act"
	"ankan/console"
	"ankan/parts"
	"ankan/passkey"
	"ankan/site"
	"ankan/store/storetest"
)

// A bureau is lost and comes back out of its backup: two of its custodians open
// their shares in browsers, with the passkeys that they have, and one brings a file.
func TestRestoreInBrowsers(t *testing.T) {
	r := newRoom(t)
	for _, id := range []string{custA, custB, custC} {
		r.hire(id)
	}
	path := filepath.Join(t.TempDir(), "bureau.backup")
	f := must[*os.File](t)(os.Create(path))
	_, err := r.site.Backup(r.ctx, f, "system:test", site.BackupPlan{Custodians: []string{custA, custB, custC, founderKM}, Threshold: 3})
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	people := must[[]act.Person](t)(r.site.People().People(r.ctx))
	r.stop()
	if err := os.Rename(r.config.Data, filepath.Join(t.TempDir(), "gone")); err != nil {
		t.Fatal(err)
	}

	if storetest.OnPostgres() {
		r.config.Server.URL = storetest.New(t) // the server is gone with it
	}

	how := site.Restoring{File: path}
	v := must[site.Verified](t)(how.Verify(r.ctx, r.config, r.token))
	shares := must[*site.Gathering](t)(site.NewGathering(v.Header))
	if err := shares.Bring(founderKM, site.Passkeys(r.crew.Keys[founderKM].(*passkey.Soft))); err != nil {
		t.Fatal(err)
	}
	var out site.Restored
	page, codes, err := console.NewRestoring(console.RestoringConfig{
		Site: r.config, Backup: v, Shares: shares, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Embedded: true, Note: func(string) {},
		Make: func(ctx context.Context, progress func(rows, of int64)) (err error) {
			how.Persons, how.Open, how.Progress = shares.Came(), shares.Open, progress
			out, err = site.Restore(ctx, r.config, r.token, how, parts.All()...)
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	code := map[string]string{}
	for _, k := range codes {
		code[k.Person] = k.Code
	}
	if len(code) != 3 || code[founderKM] != "" {
		t.Fatalf("codes for %v", codes)
	}
	ended := make(chan error, 1)
	go func() { ended <- page.Run(r.ctx) }()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get(page.Origin()); err == nil {
			res.Body.Close()
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	enter := func(id string) *screen {
		s := r.people[id]
		s.open("/")
		s.fill("#f-person", id)
		s.fill("#f-code", code[id])
		s.leave("main form button")
		s.see("form[data-bring]")
		return s
	}
	a := enter(custA)
	a.picture("open")
	a.leave("form[data-bring] button")
	a.see("#live-restoring .note.ok")
	a.picture("waits")
	if w := a.words(); !strings.Contains(w, "2 of 3 shares are here") {
		t.Errorf("custodian A is told %q", w)
	}

	// Somebody else with the code, or the person with another authenticator, opens
	// nothing: the browser knows no such passkey.
	c := r.people[custC]
	c.SetVerified(false)
	enter(custC)
	c.click("form[data-bring] button")
	c.see("form[data-bring] [data-problem]:not([hidden])")
	c.picture("refused")
	if n := len(shares.Came()); n != 2 {
		t.Errorf("%d shares came, want 2", n)
	}

	// B closes the page, and opens it again.
	enter(custB).Open("about:blank")
	b := r.people[custB]
	b.open("/")
	b.see("form[data-bring]")
	b.leave("form[data-bring] button")
	for _, s := range []*screen{a, b, c} {
		s.see("#live-restoring .note.ok") // the page comes by itself to what is so
		s.picture("done")
		if v := s.Axe(); len(v) > 0 {
			t.Error(v)
		}
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(out.Custodians, []string{founderKM, custA, custB}) || out.Lock == nil {
		t.Errorf("%+v", out)
	}

	// The site serves: the same people, and locked.
	r.start()
	if r.site.Locked() == nil {
		t.Error("the site is not locked")
	}
	if back := must[[]act.Person](t)(r.site.People().People(r.ctx)); !reflect.DeepEqual(back, people) {
		t.Errorf("people are\n%v, want\n%v", back, people)
	}
	b.signIn()
	if w := b.words(); !strings.Contains(w, "locked") {
		t.Errorf("custodian B is told %q", w)
	}
}

// picture keeps a picture of the page as it is, light and dark, as shoot does.
func (s *screen) picture(name string) {
	s.room.Helper()
	dir := os.Getenv("ANKAN_SCREENSHOTS")
	if dir == "" {
		return
	}
	s.Screenshot(filepath.Join(dir, "restoring-"+name+"-"+s.id+".png"))
}
