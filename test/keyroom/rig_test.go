package keyroom

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"ankan/access"
	"ankan/act"
	"ankan/console"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/parts"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/test/browser"
)

// chromium is one browser for all tests of this package.
var chromium *browser.Browser

func TestMain(m *testing.M) {
	var err error
	if chromium, err = browser.New(chromedp.WindowSize(1440, 900)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	chromium.Close()
	os.Exit(code)
}

// The people of the key room. The founders hold software passkeys; everybody
// else registers in a browser.
const (
	founderKM = "0001"
	founderSO = "0002"
	km        = "1002"
	ha        = "1003"
	so        = "1004"
	wit       = "1005"
	custA     = "1011"
	custB     = "1012"
	custC     = "1013"
)

var cast = map[string]string{km: "key-manager", ha: "hsm-administrator", so: "security-officer", wit: "witness", custA: "key-custodian", custB: "key-custodian", custC: "key-custodian"}

const password = "correct horse battery"

// A room is a bureau that runs, with its people at their screens.
type room struct {
	testing.TB
	ctx    context.Context
	config *site.Config
	token  hsm.Module
	crew   sitetest.Crew
	site   *site.Site
	origin string
	stop   func()
	people map[string]*screen
}

// A screen is one person's browser.
type screen struct {
	*browser.Person
	room *room
	id   string
	saw  string // the component that was shown
}

func must[T any](t testing.TB) func(T, error) T { return sitetest.Must[T](t) }

// newRoom founds a bureau and starts it.
func newRoom(t *testing.T) *room {
	t.Helper()
	return newRoomBy(t, access.DefaultPolicy())
}

// newRoomBy is newRoom under another policy.
func newRoomBy(t *testing.T, policy act.Policy) *room {
	t.Helper()
	c := sitetest.Config(t, "maker", site.Bureau)
	c.Console.Listen = freePort(t)
	r := &room{TB: t, ctx: t.Context(), config: c, token: hsmtest.Soft(t, nil), crew: sitetest.Founders(t), people: map[string]*screen{}}
	founding := access.Founding{Founding: must[act.Founding](t)(act.Found(c.Site, policy, r.crew.People, r.crew.Keys, time.Now()))}
	if err := site.Init(r.ctx, c, r.token, founding, func(string) {}, parts.All()...); err != nil {
		t.Fatal(err)
	}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

func freePort(t testing.TB) string {
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	return l.Addr().String()
}

// start runs the site and its console, as `ankan serve` does.
func (r *room) start() {
	r.Helper()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	s, err := site.Open(r.ctx, r.config, r.token, log, parts.All()...)
	if err != nil {
		r.Fatal(err)
	}
	web, err := console.Open(s, log, "test")
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.ctx)
	done := make(chan error, 2)
	go func() { done <- s.Run(ctx) }()
	go func() { done <- web.Run(ctx) }()
	r.site, r.origin = s, web.Origin()
	r.stop = func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
				r.Error(err)
			}
		}
		if err := s.Close(); err != nil {
			r.Error(err)
		}
		r.stop = func() {}
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		res, err := http.Get("http://" + r.config.Console.Listen + "/sign-in")
		if err == nil {
			res.Body.Close()
			return
		}
		if time.Now().After(end) {
			r.Fatal(err)
		}
	}
}

// founders have an act asked for, approved and done, with software passkeys.
func (r *room) founders(kind, subject, requester string, approvers ...string) {
	r.Helper()
	p := must[site.Proposal](r)(r.site.Proposal(r.ctx, kind, subject))
	a := act.New(p.Site, kind, subject, requester, p.Params, p.Rule, time.Now())
	sign := func(who string, v act.Verb) act.Signature {
		assertion, err := r.crew.Keys[who].Sign(a.Challenge(v))
		if err != nil {
			r.Fatal(err)
		}
		return act.Signature{Person: who, Verb: v, At: time.Now().UTC().Truncate(time.Second), Assertion: assertion}
	}
	if err := r.site.Desk().Request(r.ctx, a.Canonical(), sign(requester, act.Request)); err != nil {
		r.Fatal(err)
	}
	for _, who := range approvers {
		if err := r.site.Desk().Sign(r.ctx, a.ID, sign(who, act.Approve)); err != nil {
			r.Fatal(err)
		}
	}
	if err := r.site.Do(r.ctx, a.ID); err != nil {
		r.Fatal(err)
	}
}

// hire brings a person in, as a joiner comes: written down, registered in the
// person's own browser, put into force by two.
func (r *room) hire(id string) *screen {
	r.Helper()
	role := cast[id]
	code, err := r.site.People().PutDraft(r.ctx, founderSO, act.Person{ID: id, Name: "Person " + id, Roles: []string{role}, Employment: act.Permanent}, true)
	if err != nil {
		r.Fatal(err)
	}
	s := &screen{Person: chromium.Person(r, nil), room: r, id: id}
	r.people[id] = s
	s.open("/enrol")
	s.fill("#f-person", id)
	s.fill("#f-code", code)
	s.leave("form.stack button")
	s.see("#f-password")
	s.fill("#f-password", password)
	s.fill("#f-again", password)
	s.leave("form.stack button")
	s.see("form[data-register]")
	s.leave("form[data-register] button")
	s.see(`a.btn[href="/"]`)
	kind := must[string](r)(r.site.People().EnrolKind(r.ctx, id))
	r.founders(kind, "person/"+id, founderSO, founderKM)
	if role == "key-custodian" {
		r.founders("training.record", "person/"+id+"/key-custodian", founderKM)
	}
	s.signIn()
	if role == "key-custodian" {
		s.ask("statement.sign", "person/"+id+"/custodian")
	}
	return s
}

func (s *screen) open(path string) { s.Open(s.room.origin + path) }

func (s *screen) fill(selector, text string) {
	s.room.Helper()
	s.Do(chromedp.WaitVisible(selector), chromedp.SendKeys(selector, text))
}

func (s *screen) click(selector string) {
	s.room.Helper()
	s.Do(chromedp.WaitVisible(selector), chromedp.Click(selector))
}

// see waits until something is on the page; what it waits for in vain is told
// with the page's own words.
func (s *screen) see(selector string) {
	s.room.Helper()
	if !s.comes(selector) {
		s.room.Fatalf("person %s does not see %s; the page says: %.1500s; the console said %q", s.id, selector, s.words(), s.Errors())
	}
}

func (s *screen) comes(selector string) bool {
	s.room.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if s.has(selector) {
			return true
		}
	}
	return false
}

func (s *screen) has(selector string) bool {
	var yes bool
	return s.Try(fmt.Sprintf("document.readyState === 'complete' && document.querySelector(%q) !== null", selector), &yes) == nil && yes
}

// leave clicks something that goes to another page, or the same one anew, and
// waits until it is there.
func (s *screen) leave(selector string) {
	s.room.Helper()
	s.Eval("window.here = true", nil)
	s.click(selector)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		var gone bool
		if s.Try("document.readyState === 'complete' && window.here !== true", &gone) == nil && gone {
			return
		}
	}
	s.room.Fatalf("person %s clicked %s and stays at %s: %.1500s; the console said %q", s.id, selector, s.path(), s.words(), s.Errors())
}

func (s *screen) words() string {
	var text string
	s.Eval("document.body.innerText", &text)
	return text
}

// path is where the person is.
func (s *screen) path() string {
	var p string
	if s.Try("location.pathname", &p) != nil {
		return ""
	}
	return p
}

// at waits until the person is at a page whose address begins so.
func (s *screen) at(prefix string) {
	s.room.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if strings.HasPrefix(s.path(), prefix) {
			return
		}
	}
	s.room.Fatalf("person %s is at %s, not %s; the page says: %.1500s; the console said %q", s.id, s.path(), prefix, s.words(), s.Errors())
}

func (s *screen) signIn() {
	s.room.Helper()
	s.open("/sign-in")
	s.fill("#f-person", s.id)
	s.fill("#f-password", password)
	s.leave("form.stack button")
	s.see("button[data-sign]")
	s.leave("button[data-sign]")
	s.at("/inbox")
}

// ask asks for an act and signs the request.
func (s *screen) ask(kind, subject string) {
	s.room.Helper()
	s.open("/acts/new?kind=" + kind + "&subject=" + subject)
	s.see(`form[action^="/asked/"] button`)
	s.taken()
}

// taken signs the request on the page, and waits for the page of its act.
func (s *screen) taken() {
	s.room.Helper()
	s.leave(`form[action^="/asked/"] button`)
	if p := s.path(); strings.HasPrefix(p, "/acts/") && p != "/acts/new" {
		return
	}
	s.room.Fatalf("person %s: the request was not taken: %.1500s; the console said %q", s.id, s.words(), s.Errors())
}

// approve signs the act that waits in the inbox, after the words were compared.
func (s *screen) approve(id string) {
	s.room.Helper()
	s.open("/acts/" + id)
	s.click(`input[name="compared"]`)
	s.leave(`form[action$="/approve"] button`)
	s.said("ok")
}

// said waits for the sentence that the last request left.
func (s *screen) said(tone string) string {
	s.room.Helper()
	s.see(".said, [data-said], .toast, .note")
	return s.words()
}

// current is the act that waits and was asked for last.
func (r *room) current() string {
	r.Helper()
	all, err := r.site.Desk().List(r.ctx, "")
	if err != nil || len(all) == 0 {
		r.Fatal("no act: ", err)
	}
	return all[len(all)-1].Act.ID
}

// shoot keeps pictures of pages in the folder that ANKAN_SCREENSHOTS names, for
// whoever wants to look at them; without it nothing happens.
func (s *screen) shoot(paths ...string) {
	s.room.Helper()
	dir := os.Getenv("ANKAN_SCREENSHOTS")
	if dir == "" {
		return
	}
	for _, path := range paths {
		s.open(path)
		s.Screenshot(filepath.Join(dir, s.id+strings.NewReplacer("/", "-", "?", "-", "=", "-").Replace(path)+".png"))
	}
}
