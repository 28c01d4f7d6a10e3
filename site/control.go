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
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"ankan/act"
	"ankan/custody"
	"ankan/datagen"
	"ankan/hsm"
	"ankan/order"
	"ankan/perso"
	"ankan/simos"
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

// A RunView is a batch on the line as its site shows it.
type RunView struct {
	perso.Run
	Counts  perso.Counts     `json:"counts"`
	Rejects []perso.Rejected `json:"rejects"`
	Waiting string           `json:"waiting,omitempty"`
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

// A Proposal is what an act would say, for the person who asks for it.
type Proposal struct {
	Site    string            `json:"site"`
	Kind    string            `json:"kind"`
	Subject string            `json:"subject"`
	Params  map[string]string `json:"params"`
	Rule    act.Rule          `json:"rule"`
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

// answer is a handler that returns what is sent as JSON.
type answer func(r *http.Request) (any, error)

func (f answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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

func (s *Site) control() http.Handler {
	m := http.NewServeMux()
	get := func(path string, f answer) { m.Handle("GET /v1"+path, f) }
	post := func(path string, f answer) { m.Handle("POST /v1"+path, f) }
	get("/status", func(r *http.Request) (any, error) { return s.status() })
	get("/people", func(r *http.Request) (any, error) { return s.people.People(r.Context()) })
	get("/policy", func(r *http.Request) (any, error) { return s.people.Policy(r.Context()) })
	get("/keys", func(r *http.Request) (any, error) { return s.keyViews(r.Context()) })
	post("/keys", s.postKeys)
	get("/orders", func(r *http.Request) (any, error) { return order.List(r.Context(), s.store) })
	get("/orders/{id}", func(r *http.Request) (any, error) { return s.orderView(r.Context(), r.PathValue("id")) })
	post("/orders", func(r *http.Request) (any, error) { return s.Draft(r.Context(), r.FormValue("name"), r.Body) })
	get("/runs", func(r *http.Request) (any, error) { return perso.Runs(r.Context(), s.store) })
	get("/runs/{id}", func(r *http.Request) (any, error) { return s.runView(r.Context(), r.PathValue("id")) })
	get("/runs/{id}/cards", func(r *http.Request) (any, error) {
		n, err := strconv.Atoi(r.FormValue("samples"))
		if err != nil || n < 1 || n > 1000 {
			return nil, fmt.Errorf("samples is %q, want 1 to 1000", r.FormValue("samples"))
		}
		return perso.Samples(r.Context(), s.store, r.PathValue("id"), n)
	})
	get("/lots", func(r *http.Request) (any, error) { return s.lots(r.Context(), "accepted") })
	post("/lots", func(r *http.Request) (any, error) {
		doc, err := readBody(r)
		if err != nil {
			return nil, err
		}
		return s.AddLot(r.Context(), doc)
	})
	get("/proposal", func(r *http.Request) (any, error) {
		return s.proposal(r.Context(), r.FormValue("kind"), r.FormValue("subject"))
	})
	get("/acts", func(r *http.Request) (any, error) { return s.desk.List(r.Context(), r.FormValue("state")) })
	get("/acts/{id}", func(r *http.Request) (any, error) { return s.desk.Get(r.Context(), r.PathValue("id")) })
	post("/acts", s.postAct)
	post("/acts/{id}/sign", s.postSign)
	post("/acts/{id}/do", s.postDo)
	post("/prove", s.postProve)
	m.HandleFunc("GET /v1/log", s.getLog)
	return m
}

func (s *Site) status() (Status, error) {
	waiting, err := s.spool.Waiting()
	if err != nil {
		return Status{}, err
	}
	st := Status{Site: s.config.Site, Display: s.config.Display, Roles: s.config.Roles, Token: s.token.Info(), LogSize: s.store.Size(),
		Listen: s.config.Edge.Listen, PID: os.Getpid(), SpoolWait: len(waiting)}
	for name := range s.partners {
		st.Partners = append(st.Partners, name)
	}
	return st, nil
}

// A KeyView is a key as it may be shown.
type KeyView struct {
	ID        string    `json:"id"`
	Purpose   string    `json:"purpose"`
	Algorithm string    `json:"algorithm"`
	KCV       string    `json:"kcv,omitempty"`
	Created   time.Time `json:"created"`
}

func (s *Site) keyViews(ctx context.Context) ([]KeyView, error) {
	keys, err := s.token.Keys(ctx)
	if err != nil {
		return nil, err
	}
	all := []KeyView{}
	for _, k := range keys {
		all = append(all, viewKey(k))
	}
	return all, nil
}

func viewKey(k hsm.Key) KeyView {
	v := KeyView{ID: k.ID, Purpose: string(k.Purpose), Algorithm: string(k.Algorithm), Created: k.Created}
	if !k.KCV.IsZero() {
		v.KCV = k.KCV.String()
	}
	return v
}

func (s *Site) postKeys(r *http.Request) (any, error) {
	var q struct {
		Partner   string `json:"partner"`
		Index     int    `json:"index"`
		Algorithm string `json:"algorithm"`
	}
	if err := readRequest(r, &q); err != nil {
		return nil, err
	}
	keys, err := s.NewKeys(r.Context(), q.Partner, q.Index, hsm.Algorithm(q.Algorithm))
	if err != nil {
		return nil, err
	}
	views := []KeyView{}
	for _, k := range keys {
		views = append(views, viewKey(k))
	}
	return views, nil
}

func (s *Site) orderView(ctx context.Context, id string) (OrderView, error) {
	o, err := order.Get(ctx, s.store, id)
	if err != nil {
		return OrderView{}, err
	}
	v := OrderView{Order: o, Waiting: s.waiting("order " + id)}
	if v.Steps, err = order.Steps(ctx, s.store, id); err != nil {
		return v, err
	}
	if s.config.Is(Bureau) {
		if b, err := datagen.Load(ctx, s.store, id); err == nil {
			n, err := datagen.Have(ctx, s.store, id)
			if err != nil {
				return v, err
			}
			v.Generated = min(n*b.BlockSize, b.Cards)
		}
		var rep perso.Report
		if err := s.paper(ctx, id, "report", &rep); err == nil {
			v.Counts = &rep.Counts
		}
	}
	if o.State == order.Destroyed || o.State == order.Certified {
		return v, nil
	}
	for _, st := range v.Steps {
		if c, err := s.contract(o.Partner); err == nil && st.State == order.Received {
			v.Due = st.At.Add(c.DestructionLimit)
		}
	}
	return v, nil
}

func (s *Site) runView(ctx context.Context, ord string) (RunView, error) {
	r, err := perso.GetRun(ctx, s.store, ord)
	if err != nil {
		return RunView{}, err
	}
	v := RunView{Run: r, Waiting: s.waiting("run " + ord)}
	b, err := datagen.Load(ctx, s.store, ord)
	if errors.Is(err, datagen.ErrNoBatch) {
		return v, nil
	}
	if err != nil {
		return v, err
	}
	if v.Counts, err = perso.Count(ctx, s.store, ord, b.Cards); err != nil {
		return v, err
	}
	v.Rejects, err = perso.Rejects(ctx, s.store, ord)
	return v, err
}

func (s *Site) proposal(ctx context.Context, kind, subject string) (Proposal, error) {
	params, err := s.propose(ctx, kind, subject)
	if err != nil {
		return Proposal{}, err
	}
	policy, err := s.people.Policy(ctx)
	if err != nil {
		return Proposal{}, err
	}
	rule, err := policy.Rule(kind)
	return Proposal{Site: s.config.Site, Kind: kind, Subject: subject, Params: params, Rule: rule}, err
}

// A SignedRequest carries an act in canonical bytes, or only a signature.
type SignedRequest struct {
	Act       string        `json:"act,omitempty"`
	Signature act.Signature `json:"signature"`
}

func (s *Site) postAct(r *http.Request) (any, error) {
	var q SignedRequest
	if err := readRequest(r, &q); err != nil {
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
	if err := readRequest(r, &q); err != nil {
		return nil, err
	}
	if err := s.desk.Sign(r.Context(), r.PathValue("id"), q.Signature); err != nil {
		return nil, err
	}
	return s.desk.Get(r.Context(), r.PathValue("id"))
}

func (s *Site) postDo(r *http.Request) (any, error) {
	if err := s.do(r.Context(), r.PathValue("id")); err != nil {
		return nil, err
	}
	return s.desk.Get(r.Context(), r.PathValue("id"))
}

// postProve has a card in a drawer of software chips answer a challenge.
func (s *Site) postProve(r *http.Request) (any, error) {
	var q struct {
		Network string `json:"network"`
		Address string `json:"address"`
		Chip    string `json:"chip"` // serial, hex
		PIN     string `json:"pin"`
	}
	if err := readRequest(r, &q); err != nil {
		return nil, err
	}
	slot, err := simos.Dial(r.Context(), q.Network, q.Address)
	if err != nil {
		return nil, err
	}
	defer slot.Close()
	serial, err := perso.ParseSerial(q.Chip)
	if err != nil {
		return nil, err
	}
	reader := drawer{slot}
	if err := reader.Insert(r.Context(), serial); err != nil {
		return nil, err
	}
	return s.Prove(r.Context(), reader, []byte(q.PIN))
}

// getLog streams the audit log as a tar of its C2SP tiles.
func (s *Site) getLog(w http.ResponseWriter, r *http.Request) {
	dir, err := os.MkdirTemp(s.config.Data, "export-")
	if err == nil {
		defer os.RemoveAll(dir)
		_, err = s.store.Export(r.Context(), filepath.Join(dir, "log"))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-tar")
	t := tar.NewWriter(w)
	if err := t.AddFS(os.DirFS(filepath.Join(dir, "log"))); err != nil {
		s.log.Error("log export", "err", err)
		return
	}
	t.Close()
}

func readRequest(r *http.Request, v any) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	return readJSON(bytes.NewReader(body), v)
}

func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err == nil && len(body) > maxRequest {
		err = fmt.Errorf("the request has more than %d bytes", maxRequest)
	}
	return body, err
}
