package console

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/backup"
	"ankan/ceremony"
	"ankan/passkey"
	"ankan/site"
)

// A RestoringConfig is which backup is restored, and who came already.
type RestoringConfig struct {
	Site    *site.Config
	Backup  site.Verified
	Shares  *site.Gathering // with those of software passkeys
	Log     *slog.Logger
	Version string
	// Embedded says that the security module is the embedded one.
	Embedded bool
	// Make restores the site with the shares of those who came. It says how far
	// it is by progress.
	Make func(ctx context.Context, progress func(rows, of int64)) error
	// Note is told what happens, for whoever watches.
	Note func(string)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// A Restoring is the page on which a backup's custodians open their shares, each
// with their own passkey in a browser of their own, until there are enough of
// them to restore the site. Until then nothing of it is anywhere but in memory.
type Restoring struct {
	*lobby[*keeper]
	cfg RestoringConfig

	keepers []*keeper
	rows    int64 // that the restore has written, of so many
	of      int64
}

// A keeper is a custodian who has a share.
type keeper struct {
	backup.Custodian
	code string // hash; "" when the share is there
	came bool
	seen bool
}

// A KeeperCode is what a custodian gets in person: it is shown once.
type KeeperCode struct{ Person, Name, Code string }

// NewRestoring makes the page, and a code for each custodian who can open their
// share on it. It refuses where they are too few, or could not come together here.
func NewRestoring(cfg RestoringConfig) (*Restoring, []KeeperCode, error) {
	r := &Restoring{cfg: cfg}
	var err error
	r.lobby, err = newLobby[*keeper](lobbyConfig{site: cfg.Site, log: cfg.Log, version: cfg.Version, embedded: cfg.Embedded,
		note: cfg.Note, now: cfg.Now, cookie: "ankan-keeper", why: "custodians open their shares"})
	if err != nil {
		return nil, nil, err
	}
	came := cfg.Shares.Came()
	var codes []KeeperCode
	for _, c := range cfg.Backup.Custodians {
		k := &keeper{Custodian: c, came: slices.Contains(came, c.Person)}
		if !k.came && r.opens(k) {
			var code string
			code, k.code = access.NewCode()
			codes = append(codes, KeeperCode{c.Person, c.Name, code})
		}
		r.keepers = append(r.keepers, k)
	}
	if len(came)+len(codes) < cfg.Backup.Threshold {
		return nil, nil, fmt.Errorf("restore: %d custodians of %d can open their shares here, and it takes %d: %s", len(came)+len(codes), len(r.keepers), cfg.Backup.Threshold, r.others())
	}
	return r, codes, nil
}

// opens says whether a custodian's passkey can be used on this page: a browser
// gives it to no other name than the one for which it was made.
func (r *Restoring) opens(k *keeper) bool {
	return k.Credential.Method != passkey.Software && k.Credential.RPID == r.door.party.RPID
}

// others says what those take who cannot come here.
func (r *Restoring) others() string {
	var all []string
	for _, k := range r.keepers {
		switch {
		case k.came || r.opens(k):
		case k.Credential.Method == passkey.Software:
			all = append(all, fmt.Sprintf("the passkey of person %s is a file; name it with --share", k.Person))
		default:
			all = append(all, fmt.Sprintf("the passkey of person %s is bound to %s, the page is %s; give console.origin that address, and have its name lead to this machine", k.Person, k.Credential.Origin, r.Origin()))
		}
	}
	return strings.Join(all, "; ")
}

// Run serves the page until the site is restored, or ctx ends.
func (r *Restoring) Run(ctx context.Context) error {
	return r.run(ctx, r.Routes(), func(ctx context.Context) error {
		return r.cfg.Make(ctx, func(rows, of int64) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.rows, r.of = rows, of
		})
	})
}

// Routes is the page's handler.
func (r *Restoring) Routes() http.Handler { return r.routes(r.get, r.post) }

func (r *Restoring) get(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.show(w, req, http.StatusOK, nil)
}

// step is where a visitor is.
func (r *Restoring) step(k *keeper) string {
	switch {
	case k == nil:
		return "code"
	case r.making == "made":
		return "done"
	case r.making == "failed":
		return "failed"
	case r.enough():
		return "restores"
	case k.came:
		return "waits"
	}
	return "open"
}

func (r *Restoring) count() (n int) {
	for _, k := range r.keepers {
		if k.came {
			n++
		}
	}
	return n
}

func (r *Restoring) enough() bool { return r.count() >= r.cfg.Backup.Threshold }

// elsewhere is the name under which a page was opened, if passkeys do not work
// under it.
func (r *Restoring) elsewhere(req *http.Request) string {
	host := req.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if own, err := url.Parse(r.Origin()); err == nil && strings.EqualFold(host, own.Hostname()) {
		return ""
	}
	return host
}

// show answers with the page as this visitor sees it. What there is to see of the
// backup and of the others is seen by custodians alone.
func (r *Restoring) show(w http.ResponseWriter, req *http.Request, status int, problem error) {
	k := r.visit(req)
	p := restoringPage{Step: r.step(k), Origin: r.Origin(), Elsewhere: r.elsewhere(req), Form: Form{Action: "/", Values: map[string]string{"person": req.PostFormValue("person")}}}
	if problem != nil {
		t := plain(refusal(problem))
		p.Form.Problem = &t
	}
	if k == nil {
		r.render(w, req, status, p)
		return
	}
	b := r.cfg.Backup
	p.Came, p.Threshold, p.Percent = r.count(), b.Threshold, 100*r.count()/b.Threshold
	p.Set, p.Made, p.Words, p.Digest = b.Set, b.Made, act.Words(b.SHA256), fmt.Sprintf("%x", b.SHA256)
	if p.Step == "restores" {
		p.Percent, p.Rows, p.Of = 0, r.rows, r.of
		if r.of > 0 {
			p.Percent = int(100 * r.rows / r.of)
		}
	}
	for _, one := range r.keepers {
		line := KeeperLine{Number: one.Person, Name: one.Name, You: one == k, State: "away"}
		switch {
		case one.came:
			line.State = "received"
		case !r.opens(one) && one.Credential.Method == passkey.Software:
			line.Why = say("restoring.file")
		case !r.opens(one):
			line.Why = say("restoring.bound", one.Credential.RPID)
		}
		p.Keepers = append(p.Keepers, line)
	}
	if p.Step == "open" {
		s := k.Share
		p.Given = jsonOf(opening(k.Credential, ceremony.Sealed{Given: s.Given, Content: string(s.Content()), Label: s.Label()},
			map[string]any{"spki": passkey.Bytes(r.cfg.Shares.To()), "content": s.Content(), "label": s.Label()}))
	}
	r.render(w, req, status, p)
	if p.Step == "done" || p.Step == "failed" {
		k.seen = true
		var all []bool
		for _, one := range r.keepers {
			if r.opens(one) && (one.came || r.inside(one)) {
				all = append(all, one.seen)
			}
		}
		r.saw(all)
	}
}

// inside says whether somebody gave this custodian's code.
func (r *Restoring) inside(k *keeper) bool {
	for _, other := range r.visitors {
		if other == k {
			return true
		}
	}
	return false
}

func (r *Restoring) post(w http.ResponseWriter, req *http.Request) {
	if !r.readForm(w, req) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.visit(req)
	step := r.step(k)
	if req.PostFormValue("step") != step {
		// The form is of a page that is over: the latest one says what is now.
		http.Redirect(w, req, "/", http.StatusSeeOther)
		return
	}
	var err error
	switch step {
	case "code":
		err = r.takeCode(w, req)
	case "open":
		err = r.take(k, req)
	}
	r.answer(w, req, err, func(err error) { r.show(w, req, http.StatusForbidden, err) })
}

// takeCode opens the page for the custodian whose code was given. A code with
// which a share came in opens it no more.
func (r *Restoring) takeCode(w http.ResponseWriter, req *http.Request) error {
	i := slices.IndexFunc(r.keepers, func(k *keeper) bool { return k.Person == req.PostFormValue("person") })
	if err := r.guess(req, i >= 0 && access.IsCode(r.keepers[i].code, req.PostFormValue("code"))); err != nil {
		return err
	}
	r.admit(w, r.keepers[i])
	return nil
}

// take takes a custodian's share. With the last one that it takes the restore
// begins.
func (r *Restoring) take(k *keeper, req *http.Request) error {
	given, err := base64.RawURLEncoding.Strict().DecodeString(req.PostFormValue("given"))
	if err != nil || len(given) == 0 {
		return errors.New("no share came: the passkey was not used; tap it again")
	}
	if err := r.cfg.Shares.Take(k.Person, given); err != nil {
		r.cfg.Note(fmt.Sprintf("what person %s handed in is refused: %v", k.Person, err))
		return err
	}
	k.came, k.code = true, ""
	r.cfg.Note(fmt.Sprintf("person %s handed in their share, %d of %d", k.Person, r.count(), r.cfg.Backup.Threshold))
	if r.enough() {
		close(r.full)
	}
	return nil
}

// restoringPage is where custodians open a backup together. Before the code only
// the form is there.
type restoringPage struct {
	Step      string // code, open, waits, restores, done or failed
	Form      Form
	Origin    string
	Elsewhere string // the name under which the page was opened, if passkeys do not work under it
	Given     string // JSON of data-bring

	Set    string
	Made   time.Time
	Words  []string
	Digest string // hexadecimal, of the file

	Keepers         []KeeperLine
	Came, Threshold int
	Rows, Of        int64
	Percent         int // of those who came, or of the rows
}

func (restoringPage) page() string { return "restoring" }

// A KeeperLine is one custodian of a backup.
type KeeperLine struct {
	Number, Name string
	You          bool
	State        string // received or away
	Why          Text   // they cannot open their share on this page
}
