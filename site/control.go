package site

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/ceremony"
	"ankan/custody"
	"ankan/exchange/edge"
	"ankan/hsm"
	"ankan/message"
	"ankan/order"
	"ankan/passkey"
	"ankan/perso"
	"ankan/stock"
)

// The control socket: HTTP with JSON on a unix socket that only the site's own
// user may open. That user reads what the policy gives the role socket; nothing
// is changed but by acts that carry their people's signatures, and by drafts,
// which change nothing yet.

// maxRequest bounds a request, in bytes. Order files are larger and streamed.
const maxRequest = 1 << 20

// An OrderView is an order as its site shows it.
type OrderView struct {
	order.Order
	Steps     []order.Step  `json:"steps"`
	Generated int           `json:"generated,omitempty"` // key sets
	Counts    *perso.Counts `json:"counts,omitempty"`
	Due       time.Time     `json:"due,omitzero"` // until when it must be destroyed
	Waiting   string        `json:"waiting,omitempty"`
	Stopped   string        `json:"stopped,omitempty"` // why it does not go on here
	// OnWay is the order's files that are on their way now.
	OnWay []edge.Passage `json:"on_way,omitempty"`
}

// Status is what a site says of itself.
type Status struct {
	Site      string   `json:"site"`
	Display   string   `json:"display"`
	Roles     []string `json:"roles"`
	Token     hsm.Info `json:"token"`
	LogSize   int64    `json:"log_size"`
	Listen    string   `json:"listen"`
	Partners  []string `json:"partners"`
	PID       int      `json:"pid"`
	SpoolWait int      `json:"spool_waiting"` // files that arrived and are not dealt with
	// OnWay is the files that are on their way to partners and from them now.
	OnWay []edge.Passage `json:"on_way"`
	// Clock is what the clock says of how right it is; nil if it cannot say.
	Clock *Discipline `json:"clock,omitempty"`
	// Conditions is what people must see to.
	Conditions []Condition `json:"conditions"`
	Locked     *Lock       `json:"locked,omitempty"` // why the site issues nothing
}

// listenControl opens the socket, which is private from its first moment: Linux
// gives a socket's file the mode of the socket that is bound.
func (s *Site) listenControl(ctx context.Context) (net.Listener, error) {
	// A socket that a crash left behind is in the way. The database's lock
	// says that no other process of this site runs.
	if err := os.Remove(s.config.Control); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	private := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
			return e
		}
		return err
	}}
	return private.Listen(ctx, "unix", s.config.Control)
}

func (s *Site) serveControl(ctx context.Context, l net.Listener) error {
	return Serve(ctx, &http.Server{Handler: s.Control(), ReadHeaderTimeout: 10 * time.Second}, l)
}

// Serve answers at a listener until ctx ends; what is being answered then has
// two seconds.
func Serve(ctx context.Context, srv *http.Server, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() {
		down, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		srv.Shutdown(down)
	})
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// An Answer answers a request at the control socket with what is sent as JSON.
type Answer func(r *http.Request) (any, error)

// ServeHTTP sends the answer, or what went wrong.
func (f Answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v, err := f(r)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(statusOf(err))
		v = map[string]string{"error": err.Error()}
	}
	json.NewEncoder(w).Encode(v)
}

// refused answers nothing but the error.
func refused(err error) Answer { return func(*http.Request) (any, error) { return nil, err } }

func statusOf(err error) int {
	for _, e := range []error{order.ErrNoOrder, custody.ErrNoAct, perso.ErrNoRun, hsm.ErrNoKey, access.ErrNoPerson, access.ErrNoDraft, ceremony.ErrNone, stock.ErrNone} {
		if errors.Is(err, e) {
			return http.StatusNotFound
		}
	}
	for _, e := range []error{act.ErrNotAllowed, access.ErrCode, passkey.ErrAssertion} {
		if errors.Is(err, e) {
			return http.StatusForbidden
		}
	}
	if errors.Is(err, errIllegible) {
		return http.StatusBadRequest
	}
	return http.StatusConflict
}

// ownRoutes is what is asked of every site, whatever its parts. What has no
// route here or in a part has none.
func (s *Site) ownRoutes() map[string]Route {
	read := func(permission string, do Answer) Route { return Route{Permission: permission, Handler: do} }
	return map[string]Route{
		"GET /v1/status":      read("site.read", func(r *http.Request) (any, error) { return s.Status() }),
		"GET /v1/orders":      read("orders.read", func(r *http.Request) (any, error) { return order.List(r.Context(), s.store) }),
		"GET /v1/orders/{id}": read("orders.read", func(r *http.Request) (any, error) { return s.Order(r.Context(), r.PathValue("id")) }),
		"GET /v1/log":         {Permission: "log.read", Handler: http.HandlerFunc(s.getLog)},

		"GET /v1/proposal": read("acts.read", func(r *http.Request) (any, error) {
			return s.Proposal(r.Context(), r.FormValue("kind"), r.FormValue("subject"))
		}),
		"GET /v1/acts":            read("acts.read", func(r *http.Request) (any, error) { return s.desk.List(r.Context(), r.FormValue("state")) }),
		"GET /v1/acts/{id}":       read("acts.read", func(r *http.Request) (any, error) { return s.desk.Get(r.Context(), r.PathValue("id")) }),
		"POST /v1/acts":           read(OwnProof, s.postAct),
		"POST /v1/acts/{id}/sign": read(OwnProof, s.postSign),
		"POST /v1/acts/{id}/do":   read(OwnProof, s.postDo),

		"GET /v1/people":               read("people.read", func(r *http.Request) (any, error) { return s.people.Members(r.Context()) }),
		"GET /v1/people/{id}":          read("people.read", s.getPerson),
		"GET /v1/people/{id}/notices":  read("people.read", s.getNotices),
		"POST /v1/people/{id}/passkey": read(OwnProof, s.postPasskey),
		"GET /v1/drafts/people":        read("people.read", func(r *http.Request) (any, error) { return s.people.Drafts(r.Context()) }),
		"POST /v1/drafts/people":       s.BySigner("people.draft", s.postPersonDraft),

		"GET /v1/policy":         read("policy.read", s.getPolicy),
		"GET /v1/drafts/policy":  read("policy.read", s.getPolicyDraft),
		"POST /v1/drafts/policy": s.BySigner("policy.draft", s.postPolicyDraft),

		"GET /v1/partners/{name}/checkpoint": read("site.read", func(r *http.Request) (any, error) {
			return s.PartnerCheckpoint(r.Context(), r.PathValue("name"))
		}),
		"POST /v1/backups":     {Permission: "backup.make", Handler: http.HandlerFunc(s.postBackup)},
		"POST /v1/witness":     read("site.read", s.postWitness),
		"POST /v1/drafts/lost": s.BySigner("site.reconcile", s.postLost),

		"GET /v1/keys":         read("keys.read", s.getKeys),
		"GET /v1/keys/{id...}": read("keys.read", s.getKey),

		"GET /v1/ceremonies":                    read("ceremonies.read", func(r *http.Request) (any, error) { return s.runner.List(r.Context()) }),
		"GET /v1/ceremonies/{id}":               read("ceremonies.read", s.getCeremony),
		"GET /v1/ceremonies/{id}/transcript":    read("ceremonies.read", s.getTranscript),
		"POST /v1/drafts/ceremonies":            s.BySigner("ceremonies.draft", s.postCeremonyDraft),
		"POST /v1/ceremonies/{id}/{step}/begin": s.BySigner("ceremonies.read", s.postBegin),
		"POST /v1/ceremonies/{id}/{step}/give":  s.BySigner("ceremonies.read", s.postGive),
	}
}

// Control is what answers at the control socket.
func (s *Site) Control() http.Handler {
	m := http.NewServeMux()
	for pattern, r := range s.routes {
		h := s.permitted(pattern, r)
		if method, path, _ := strings.Cut(pattern, " "); method != http.MethodGet && !slices.ContainsFunc(unlocked, func(p string) bool { return strings.HasPrefix(path, p) }) {
			h = s.unlessLocked(pattern, h)
		}
		m.Handle(pattern, h)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !Legible(r.URL.Path, r.URL.Query()) {
			refused(errIllegible).ServeHTTP(w, r)
			return
		}
		m.ServeHTTP(w, r)
	})
}

var errIllegible = errors.New("the address is no text")

// Legible says whether the address and the form of a request are texts, in UTF-8
// and without NUL. A database server takes no others.
func Legible(path string, form url.Values) bool {
	texts := append(slices.Concat(slices.Collect(maps.Values(form))...), path)
	return !slices.ContainsFunc(texts, func(text string) bool { return !utf8.ValidString(text) || strings.ContainsRune(text, 0) })
}

// unlocked is what a locked site does at the socket besides showing: acts are
// looked at one by one (Site.Do), drafts change nothing.
var unlocked = []string{"/v1/acts", "/v1/people/", "/v1/drafts/", "/v1/ceremonies/", "/v1/backups", "/v1/witness"}

// unlessLocked refuses while the site is locked.
func (s *Site) unlessLocked(pattern string, to http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l := s.Locked(); l != nil {
			refused(fmt.Errorf("%s: %w: %s", pattern, ErrLocked, l.Why())).ServeHTTP(w, r)
			return
		}
		to.ServeHTTP(w, r)
	})
}

// permitted asks the policy in force whether the socket may. What it does not
// name is refused.
func (s *Site) permitted(pattern string, to Route) http.Handler {
	if to.Signed || to.Permission == OwnProof {
		return to.Handler
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		policy, err := s.people.Policy(r.Context())
		if err != nil {
			refused(err).ServeHTTP(w, r)
			return
		}
		if policy.SocketMay(to.Permission) {
			to.ServeHTTP(w, r)
			return
		}
		err = fmt.Errorf("%s: %w: the policy does not give the control socket the permission %s; sign in at the console", pattern, act.ErrNotAllowed, to.Permission)
		e := audit.Entry{Kind: "request.refused", Actor: "system:socket", Subject: "request", Data: map[string]any{"path": short(r.URL.Path), "why": err.Error()}}
		refused(errors.Join(err, s.store.Enter(r.Context(), e))).ServeHTTP(w, r)
	})
}

// Status is what the site says of itself.
func (s *Site) Status() (Status, error) {
	waiting, err := s.spool.Waiting()
	if err != nil {
		return Status{}, err
	}
	way, err := s.spool.OnWay()
	if err != nil {
		return Status{}, err
	}
	st := Status{OnWay: way, Site: s.config.Site, Display: s.config.Display, Roles: s.config.Roles, Token: s.guard.Info(), LogSize: s.store.Size(),
		Listen: s.config.Edge.Listen, PID: os.Getpid(), SpoolWait: len(waiting), Conditions: append([]Condition{}, s.Conditions()...), Locked: s.Locked()}
	st.Clock, _ = s.discipline.look()
	for name := range s.partners {
		st.Partners = append(st.Partners, name)
	}
	return st, nil
}

// Order is an order as the site shows it; order.ErrNoOrder if it is not there.
func (s *Site) Order(ctx context.Context, id string) (OrderView, error) {
	o, err := order.Get(ctx, s.store, id)
	if err != nil {
		return OrderView{}, err
	}
	v := OrderView{Order: o, Waiting: s.Waiting("order " + id)}
	if v.Steps, err = order.Steps(ctx, s.store, id); err != nil {
		return v, err
	}
	if err := order.Stopped(s.store.Committed(ctx), id); errors.Is(err, order.ErrStopped) {
		v.Stopped = err.Error()
	} else if err != nil {
		return v, err
	}
	way, err := s.spool.OnWay()
	if err != nil {
		return v, err
	}
	for _, p := range way {
		if strings.HasPrefix(p.File, id+".") {
			v.OnWay = append(v.OnWay, p)
		}
	}
	for _, p := range s.parts {
		if p.View == nil {
			continue
		}
		if err := p.View(ctx, &v); err != nil {
			return v, err
		}
	}
	if c := s.contractOf(o); c != nil {
		_, v.Due = c.Due(o, v.Steps)
	}
	return v, nil
}

// A SignedRequest carries an act in canonical bytes, or only a signature.
type SignedRequest struct {
	Act       string        `json:"act,omitempty"`
	Signature act.Signature `json:"signature"`
}

func (s *Site) postAct(r *http.Request) (any, error) {
	var q SignedRequest
	if err := ReadRequest(r, &q); err != nil {
		return nil, err
	}
	if err := s.desk.Request(r.Context(), []byte(q.Act), q.Signature); err != nil {
		return nil, err
	}
	a, err := act.Parse([]byte(q.Act))
	if err != nil {
		return nil, err
	}
	return s.desk.Get(r.Context(), a.ID)
}

func (s *Site) postSign(r *http.Request) (any, error) {
	var q SignedRequest
	if err := ReadRequest(r, &q); err != nil {
		return nil, err
	}
	if err := s.desk.Sign(r.Context(), r.PathValue("id"), q.Signature); err != nil {
		return nil, err
	}
	return s.desk.Get(r.Context(), r.PathValue("id"))
}

func (s *Site) postDo(r *http.Request) (any, error) {
	if err := s.Do(r.Context(), r.PathValue("id")); err != nil {
		return nil, err
	}
	return s.desk.Get(r.Context(), r.PathValue("id"))
}

// getLog streams the audit log.
func (s *Site) getLog(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-tar")
	out := &started{Writer: w}
	switch err := s.LogExport(r.Context(), out); {
	case err != nil && out.yes:
		s.log.Error("log export", "err", err) // the tar has no end: who reads it sees that
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// started knows whether anything was written.
type started struct {
	io.Writer
	yes bool
}

func (s *started) Write(b []byte) (int, error) {
	s.yes = true
	return s.Writer.Write(b)
}

// LogExport writes the audit log as a tar of its C2SP tiles. It begins to write
// when the whole export is there.
func (s *Site) LogExport(ctx context.Context, w io.Writer) error {
	dir, err := os.MkdirTemp(s.config.Data, "export-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if _, err := s.store.Export(ctx, filepath.Join(dir, "log")); err != nil {
		return err
	}
	t := tar.NewWriter(w)
	if err := t.AddFS(os.DirFS(filepath.Join(dir, "log"))); err != nil {
		return err
	}
	return t.Close()
}

// ReadRequest reads a request that is one JSON document, strictly.
func ReadRequest(r *http.Request, v any) error {
	body, err := ReadBody(r)
	if err != nil {
		return err
	}
	return message.Read(bytes.NewReader(body), v)
}

// ReadBody reads a request up to a limit.
func ReadBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err == nil && len(body) > maxRequest {
		err = fmt.Errorf("the request has more than %d bytes", maxRequest)
	}
	return body, err
}
