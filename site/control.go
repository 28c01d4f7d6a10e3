package site

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"ankan/act"
	"ankan/custody"
	"ankan/hsm"
	"ankan/message"
	"ankan/order"
	"ankan/perso"
)

// The control socket: HTTP with JSON on a unix socket that only the site's own
// user may open. Reading is free to that user; nothing is changed but by acts
// that carry their people's signatures, and by drafts, which change nothing
// yet.

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
}

// listenControl opens the socket before anything else of the site runs: the
// mask that makes it private from its first moment is the whole process's.
func (s *Site) listenControl() (net.Listener, error) {
	// A socket that a crash left behind is in the way. The database's lock
	// says that no other process of this site runs.
	if err := os.Remove(s.config.Control); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	mask := unix.Umask(0o177)
	defer unix.Umask(mask)
	return net.Listen("unix", s.config.Control)
}

func (s *Site) serveControl(ctx context.Context, l net.Listener) error {
	srv := &http.Server{Handler: s.control(), ReadHeaderTimeout: 10 * time.Second}
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

func statusOf(err error) int {
	for _, e := range []error{order.ErrNoOrder, custody.ErrNoAct, perso.ErrNoRun, hsm.ErrNoKey} {
		if errors.Is(err, e) {
			return http.StatusNotFound
		}
	}
	if errors.Is(err, act.ErrNotAllowed) {
		return http.StatusForbidden
	}
	return http.StatusConflict
}

// ownRoutes is what is asked of every site, whatever its parts.
func (s *Site) ownRoutes() map[string]http.Handler {
	return map[string]http.Handler{
		"GET /v1/status":      Answer(func(r *http.Request) (any, error) { return s.Status() }),
		"GET /v1/people":      Answer(func(r *http.Request) (any, error) { return s.people.People(r.Context()) }),
		"GET /v1/policy":      Answer(func(r *http.Request) (any, error) { return s.people.Policy(r.Context()) }),
		"GET /v1/keys":        Answer(func(r *http.Request) (any, error) { return s.Keys(r.Context()) }),
		"GET /v1/orders":      Answer(func(r *http.Request) (any, error) { return order.List(r.Context(), s.store) }),
		"GET /v1/orders/{id}": Answer(func(r *http.Request) (any, error) { return s.Order(r.Context(), r.PathValue("id")) }),
		"GET /v1/proposal": Answer(func(r *http.Request) (any, error) {
			return s.Proposal(r.Context(), r.FormValue("kind"), r.FormValue("subject"))
		}),
		"GET /v1/acts":            Answer(func(r *http.Request) (any, error) { return s.desk.List(r.Context(), r.FormValue("state")) }),
		"GET /v1/acts/{id}":       Answer(func(r *http.Request) (any, error) { return s.desk.Get(r.Context(), r.PathValue("id")) }),
		"POST /v1/acts":           Answer(s.postAct),
		"POST /v1/acts/{id}/sign": Answer(s.postSign),
		"POST /v1/acts/{id}/do":   Answer(s.postDo),
		"GET /v1/log":             http.HandlerFunc(s.getLog),
	}
}

func (s *Site) control() http.Handler {
	m := http.NewServeMux()
	for pattern, h := range s.routes {
		m.Handle(pattern, h)
	}
	return m
}

// Status is what the site says of itself.
func (s *Site) Status() (Status, error) {
	waiting, err := s.spool.Waiting()
	if err != nil {
		return Status{}, err
	}
	st := Status{Site: s.config.Site, Display: s.config.Display, Roles: s.config.Roles, Token: s.guard.Info(), LogSize: s.store.Size(),
		Listen: s.config.Edge.Listen, PID: os.Getpid(), SpoolWait: len(waiting)}
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
	for _, p := range s.parts {
		if p.View == nil {
			continue
		}
		if err := p.View(ctx, &v); err != nil {
			return v, err
		}
	}
	if o.State == order.Destroyed || o.State == order.Certified {
		return v, nil
	}
	for _, st := range v.Steps {
		if c, err := s.Contract(o.Partner); err == nil && st.State == order.Received {
			v.Due = st.At.Add(c.DestructionLimit)
		}
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
