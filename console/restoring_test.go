package console

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ankan/access"
	"ankan/backup"
	"ankan/hsm"
	"ankan/passkey"
	"ankan/site"
	"ankan/site/sitetest"
)

// A restoringRig is the page of a restore to which custodians come.
type restoringRig struct {
	*Restoring
	keys   map[string]*passkey.Soft
	codes  map[string]string
	shares *site.Gathering
	notes  []string
	now    time.Time
	at     string
}

// keepersOf is a backup's header, two of whose custodians open it. Their passkeys
// are of this process, and taken for those of a device.
func keepersOf(t *testing.T, set string, keys map[string]*passkey.Soft, edit func(*passkey.Credential)) backup.Header {
	t.Helper()
	h := backup.Header{Site: "bureau", Set: set, Made: time.Now().UTC(), Threshold: 2}
	var to []hsm.Holder
	for _, id := range []string{"1002", "1004", "1006"} {
		c := keys[id].Credential
		c.Method, c.Model = passkey.UnknownMethod, "Security key A"
		if edit != nil {
			edit(&c)
		}
		h.Custodians = append(h.Custodians, backup.Custodian{Person: id, Name: "Name of " + id, Credential: c})
		to = append(to, hsm.Holder{Name: id, Key: sitetest.Must[*passkey.SealingKey](t)(keys[id].OpenSealing()).Public()})
	}
	key, shares, err := hsm.NewSharedDataKey(set, 2, to, func(b []byte) error { _, err := rand.Read(b); return err })
	if err != nil {
		t.Fatal(err)
	}
	key.Close()
	for i := range shares {
		h.Custodians[i].Share = shares[i]
	}
	return h
}

func restoringConfig(t *testing.T, edit func(*passkey.Credential)) (RestoringConfig, *restoringRig) {
	t.Helper()
	c := sitetest.Config(t, "bureau", "bureau")
	c.Console.Listen = "localhost:0"
	g := &restoringRig{keys: map[string]*passkey.Soft{}, codes: map[string]string{}, now: time.Now()}
	for _, id := range []string{"1002", "1004", "1006"} {
		g.keys[id] = sitetest.Must[*passkey.Soft](t)(passkey.NewSoft("localhost", "http://localhost:8443"))
	}
	h := keepersOf(t, "bureau/now", g.keys, edit)
	g.shares = sitetest.Must[*site.Gathering](t)(site.NewGathering(h))
	return RestoringConfig{Site: c, Backup: site.Verified{Header: h}, Shares: g.shares, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Embedded: true,
		Now: func() time.Time { return g.now }, Note: func(s string) { g.notes = append(g.notes, s) }}, g
}

func restoringPageOf(t *testing.T) *restoringRig {
	t.Helper()
	cfg, g := restoringConfig(t, nil)
	r, codes, err := NewRestoring(cfg)
	if err != nil {
		t.Fatal(err)
	}
	g.Restoring = r
	for _, k := range codes {
		g.codes[k.Person] = k.Code
	}
	srv := httptest.NewServer(r.Routes())
	t.Cleanup(srv.Close)
	g.at = srv.URL
	return g
}

func (g *restoringRig) device(t *testing.T, id string) *device {
	return &device{t: t, at: g.at, http: &http.Client{Jar: sitetest.Must[*cookiejar.Jar](t)(cookiejar.New(nil))}, key: g.keys[id]}
}

// openedShare does what passkey.js does with data-bring: it opens the share of the
// page with the device's passkey, and gives it on under a label.
func (d *device) openedShare(edit func(given *passkey.Bytes, label *string)) url.Values {
	d.t.Helper()
	_, body := d.send(nil)
	m := regexp.MustCompile(`data-bring="([^"]*)"`).FindStringSubmatch(body)
	if m == nil {
		d.t.Fatal("the page asks for no share:\n", body)
	}
	var b struct {
		Given   passkey.Bytes
		Content hsm.Content
		Label   string
		To      struct {
			SPKI    passkey.Bytes
			Content hsm.Content
			Label   string
		}
	}
	if err := json.Unmarshal([]byte(html.UnescapeString(m[1])), &b); err != nil {
		d.t.Fatal(err)
	}
	if edit != nil {
		edit(&b.Given, &b.Label)
	}
	k := sitetest.Must[*passkey.SealingKey](d.t)(d.key.OpenSealing())
	secret := sitetest.Must[[]byte](d.t)(hsm.Take(hsm.Given(b.Given), b.Content, b.Label, k.Public(), k.ECDH))
	to := sitetest.Must[any](d.t)(x509.ParsePKIXPublicKey(b.To.SPKI))
	given := sitetest.Must[hsm.Given](d.t)(hsm.Give(to, b.To.Content, b.To.Label, secret))
	return url.Values{"step": {"open"}, "given": {base64.RawURLEncoding.EncodeToString(given)}}
}

// Custodians come one by one: what they see, what is refused, and that the restore
// begins with the last share that it takes and takes no other.
func TestRestoringPage(t *testing.T) {
	g := restoringPageOf(t)
	a, b, c := g.device(t, "1002"), g.device(t, "1004"), g.device(t, "1006")
	if body := a.want(nil, 200, `value="code"`); strings.Contains(body, "Name of") || strings.Contains(body, "bureau/now") || strings.Contains(body, "SHA-256") {
		t.Error("a stranger sees the backup:\n", body)
	}
	a.want(codeForm("1002", g.codes["1004"]), 403, access.ErrCode.Error())
	a.want(codeForm("9999", g.codes["1002"]), 403, access.ErrCode.Error())
	a.want(url.Values{"step": {"open"}, "given": {"AA"}}, 200, `value="code"`)
	for _, text := range []string{"Name of 1006", "bureau/now", "0 of 2 shares are here"} {
		a.want(codeForm("1002", g.codes["1002"]), 200, text)
	}

	// Another's share, a share of an older backup, a share that was changed, and none.
	old := keepersOf(t, "bureau/then", g.keys, nil).Custodians[0].Share
	a.want(url.Values{"step": {"open"}}, 403, "no share came")
	a.want(url.Values{"step": {"open"}, "given": {"!"}}, 403, "no share came")
	a.want(url.Values{"step": {"open"}, "given": {"AAAA"}}, 403, site.ErrShare.Error())
	a.want(a.openedShare(func(given *passkey.Bytes, label *string) { *given, *label = passkey.Bytes(old.Given), old.Label() }), 403, site.ErrShare.Error())
	b.want(codeForm("1004", g.codes["1004"]), 200, `value="open"`)
	a.want(b.openedShare(nil), 403, site.ErrShare.Error())
	if n := len(g.shares.Came()); n != 0 {
		t.Fatalf("%d shares came", n)
	}

	// A page that was closed is opened again, on another device too, until the share is in.
	late := g.device(t, "1002")
	late.want(codeForm("1002", g.codes["1002"]), 200, `value="open"`)
	body := a.want(a.openedShare(nil), 200, "You may close this page")
	if !strings.Contains(body, "1 of 2 shares are here") {
		t.Error(body)
	}
	late.want(nil, 200, "You may close this page")
	g.device(t, "1002").want(codeForm("1002", g.codes["1002"]), 403, access.ErrCode.Error())
	if err := g.shares.Take("1002", nil); !errors.Is(err, hsm.ErrTwice) {
		t.Errorf("a share twice: %v", err)
	}
	if err := g.shares.Take("77", nil); err == nil || !strings.Contains(err.Error(), "person 77 has no share of this backup; its custodians are 1002, 1004, 1006") {
		t.Errorf("a stranger's share: %v", err)
	}

	c.want(codeForm("1006", g.codes["1006"]), 200, `value="open"`)
	stale := c.openedShare(nil)
	select {
	case <-g.full:
		t.Fatal("one of two came, and the site is restored")
	default:
	}
	b.want(b.openedShare(nil), 200, "Enough shares are here")
	<-g.full
	c.want(stale, 200, "Enough shares are here")
	if err := g.shares.Take("1006", nil); !errors.Is(err, site.ErrEnough) {
		t.Errorf("a share too many: %v", err)
	}
	if came := g.shares.Came(); !slices.Equal(came, []string{"1002", "1004"}) {
		t.Errorf("%v came", came)
	}
	// What they brought is the key.
	shares := sitetest.Must[[]hsm.Share](t)(g.cfg.Backup.Shares(g.shares.Came()...))
	sitetest.Must[*hsm.DataKey](t)(hsm.OpenSharedDataKey(shares, g.shares.Open)).Close()
	if want := "person 1004 handed in their share, 2 of 2"; g.notes[len(g.notes)-1] != want {
		t.Errorf("%q, want %s in the end", g.notes, want)
	}
	for _, n := range g.notes {
		for _, code := range g.codes {
			if strings.Contains(n, code) {
				t.Errorf("%q tells a code", n)
			}
		}
	}
}

// The page has the guards of the console; whoever guesses waits; and a page under
// another name says so.
func TestRestoringGuards(t *testing.T) {
	g := restoringPageOf(t)
	guarded(t, g.Routes(), codeForm("1002", g.codes["1002"]))
	r := httptest.NewRequest("GET", "/", nil)
	r.Host = "10.0.0.7:8443"
	if w := do(g.Routes(), r); !strings.Contains(w.Body.String(), "under the name 10.0.0.7") {
		t.Errorf("under another name:\n%s", w.Body)
	}
	r.Host = "LOCALHOST"
	if w := do(g.Routes(), r); strings.Contains(w.Body.String(), "under the name") {
		t.Errorf("under its own name:\n%s", w.Body)
	}
	d := g.device(t, "1002")
	for range codeTries {
		d.want(codeForm("1002", "AAAA-AAAA-AAAA-AAAA"), 403, access.ErrCode.Error())
	}
	d.want(codeForm("1002", g.codes["1002"]), 429, "")
	g.now = g.now.Add(codeWait + time.Second)
	d.want(codeForm("1002", g.codes["1002"]), 200, `value="open"`)
}

// Custodians who could not open their shares here are told before anybody comes,
// and files of software passkeys count.
func TestRestoringTooFew(t *testing.T) {
	for want, edit := range map[string]func(*passkey.Credential){
		"the passkey of person 1004 is bound to https://keys.lost.example, the page is http://localhost:0; give console.origin that address": func(c *passkey.Credential) {
			c.RPID, c.Origin = "keys.lost.example", "https://keys.lost.example"
		},
		"0 custodians of 3 can open their shares here, and it takes 2: the passkey of person 1002 is a file; name it with --share": func(c *passkey.Credential) {
			c.Method = passkey.Software
		},
	} {
		cfg, g := restoringConfig(t, edit)
		if _, _, err := NewRestoring(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		for i, id := range []string{"1002", "1004"} {
			if err := g.shares.Bring(id, site.Passkeys(g.keys["1006"])); !errors.Is(err, hsm.ErrSealed) {
				t.Errorf("with another's passkey: %v", err)
			}
			if err := g.shares.Bring(id, site.Passkeys(g.keys[id])); err != nil {
				t.Error(i, err)
			}
		}
		if _, codes, err := NewRestoring(cfg); err != nil || len(codes) != 0 {
			t.Errorf("with two files: %v, %v", codes, err)
		}
	}
	cfg, _ := restoringConfig(t, nil)
	for listen, want := range map[string]string{"": "console: listen is missing; custodians open their shares in a browser", "192.0.2.1:1": "is no loopback address: give it a certificate"} {
		c := *cfg.Site
		c.Console.Listen = listen
		cfg := cfg
		cfg.Site = &c
		if _, _, err := NewRestoring(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", listen, err)
		}
	}
}

// The page shows how far the restore is and what came of it; whoever ends it
// before has restored nothing.
func TestRestoringRun(t *testing.T) {
	for text, outcome := range map[string]error{"and locked. This page does not open again": nil, "the site could not be restored": errors.New("the disk is full")} {
		g := restoringPageOf(t)
		goOn := make(chan struct{})
		g.cfg.Make = func(_ context.Context, progress func(rows, of int64)) error {
			progress(30, 40)
			<-goOn
			progress(40, 40)
			<-goOn
			return outcome
		}
		ended := make(chan error, 1)
		go func() { ended <- g.Run(t.Context()) }()
		var all []*device
		for _, id := range []string{"1002", "1004"} {
			d := g.device(t, id)
			d.want(codeForm(id, g.codes[id]), 200, `value="open"`)
			d.want(d.openedShare(nil), 200, "")
			all = append(all, d)
		}
		sees := func(text string) {
			t.Helper()
			for _, d := range all {
				for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
					if _, body := d.send(nil); strings.Contains(body, text) {
						break
					} else if time.Now().After(end) {
						t.Fatalf("nothing says %q:\n%s", text, body)
					}
				}
			}
		}
		sees("30 of 40 rows")
		goOn <- struct{}{}
		sees("All rows are here")
		goOn <- struct{}{}
		sees(text)
		select {
		case err := <-ended:
			if !errors.Is(err, outcome) || (err == nil) != (outcome == nil) {
				t.Errorf("%v, want %v", err, outcome)
			}
		case <-time.After(lastLook / 2):
			t.Error("everybody saw what came of it, and the page stays")
		}
	}
	g := restoringPageOf(t)
	g.cfg.Make = func(context.Context, func(int64, int64)) error { t.Error("it restores"); return nil }
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	d := g.device(t, "1002")
	d.want(codeForm("1002", g.codes["1002"]), 200, `value="open"`)
	d.want(d.openedShare(nil), 200, "You may close")
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
