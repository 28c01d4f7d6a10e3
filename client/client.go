// Package client speaks to a site's control socket, and signs acts for the
// person who holds a passkey.
package client

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
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"
	"unicode/utf8"

	"ankan/act"
	"ankan/custody"
	"ankan/passkey"
	"ankan/site"
)

// A Client is a connection to one site.
type Client struct {
	socket string
	http   *http.Client
	// Patience is how long a call is tried again while nobody answers at the
	// socket; 0 gives up at once. Every call may be repeated.
	Patience time.Duration
	// Again says of a refusal whether the call is made again, within Patience; nil
	// is of none.
	Again func(*Refusal) bool
	// Now is the clock of those who sign; nil is the machine's.
	Now func() time.Time
}

// New is a client of the site at a control socket.
func New(socket string) *Client {
	var d net.Dialer
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) }}
	return &Client{socket: socket, http: &http.Client{Transport: t}}
}

// Within is a client of a control socket's handler in this process, without the
// socket.
func Within(h http.Handler) *Client {
	return &Client{socket: "this process", http: &http.Client{Transport: within{h}}}
}

// within is the way to a handler in this process. The answer is read when the
// handler has ended.
type within struct{ http.Handler }

func (w within) RoundTrip(r *http.Request) (*http.Response, error) {
	a := answer{header: http.Header{}, status: http.StatusOK}
	w.ServeHTTP(&a, r)
	return &http.Response{StatusCode: a.status, Header: a.header, Body: io.NopCloser(&a.body), Request: r}, nil
}

// answer is what a handler wrote.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// now is the time of those who sign.
func (c *Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// A Refusal is what a site answered instead of doing what was asked.
type Refusal struct {
	Status int
	Text   string
}

func (r *Refusal) Error() string { return r.Text }

// ErrAway is wrapped where no site answers at the socket.
var ErrAway = errors.New("the site does not answer; is `ankan serve` running?")

// Get asks for path and reads the answer into v.
func (c *Client) Get(ctx context.Context, path string, v any) error {
	return c.call(ctx, http.MethodGet, path, nil, v)
}

// Post sends body as JSON to path and reads the answer into v, which may be nil.
func (c *Client) Post(ctx context.Context, path string, body, v any) error {
	doc, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPost, path, func() io.Reader { return bytes.NewReader(doc) }, v)
}

// Send posts a file as it is. One that can be read from any place, as a file of
// the system can, is read while it is sent; any other is held in memory, since
// a call may be tried again.
func (c *Client) Send(ctx context.Context, path string, file io.Reader, v any) error {
	if f, ok := file.(interface {
		io.ReaderAt
		io.Seeker
	}); ok {
		size, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return err
		}
		return c.call(ctx, http.MethodPost, path, func() io.Reader { return io.NewSectionReader(f, 0, size) }, v)
	}
	doc, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPost, path, func() io.Reader { return bytes.NewReader(doc) }, v)
}

// call makes a call, with a new body for each try; body may be nil.
func (c *Client) call(ctx context.Context, method, path string, body func() io.Reader, v any) error {
	end := time.Now().Add(c.Patience)
	for {
		var content io.Reader
		if body != nil {
			content = body()
		}
		res, err := c.once(ctx, method, path, content)
		late := time.Now().After(end)
		if err == nil {
			err = read(res, v)
			res.Body.Close()
			var no *Refusal
			if !errors.As(err, &no) || c.Again == nil || !c.Again(no) || late {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if late {
			return c.away(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// away says that nobody answers, and what the system says to that.
func (c *Client) away(err error) error {
	var no syscall.Errno
	if errors.As(err, &no) {
		err = no
	}
	return fmt.Errorf("%s: %w (%w)", c.socket, ErrAway, err)
}

func (c *Client) once(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://site/v1"+path, body)
	if err != nil {
		return nil, err
	}
	return c.http.Do(req)
}

func read(res *http.Response, v any) error {
	if res.StatusCode != http.StatusOK {
		var e struct {
			Error string `json:"error"`
		}
		doc, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		if json.Unmarshal(doc, &e) != nil || e.Error == "" {
			e.Error = string(bytes.TrimSpace(doc))
		}
		return &Refusal{res.StatusCode, e.Error}
	}
	if v == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(v)
}

// A Signer is a person with a passkey.
type Signer struct {
	Person string
	Key    *passkey.Soft
}

func (p Signer) sign(a act.Act, v act.Verb, reason string, at time.Time) (act.Signature, error) {
	assertion, err := p.Key.Sign(a.Challenge(v))
	if err != nil {
		return act.Signature{}, err
	}
	return act.Signature{Person: p.Person, Verb: v, At: at.UTC().Truncate(time.Second), Reason: reason, Assertion: assertion}, nil
}

// Ask sends a request that is no act in the name of p, who signs it, and reads
// the answer into v, which may be nil. It is sent once: a request that a person
// signed is taken once.
func (c *Client) Ask(ctx context.Context, p Signer, path string, body []byte, v any) error {
	if !utf8.Valid(body) {
		// It would arrive as other bytes than were signed.
		return fmt.Errorf("request %s: what is sent is not UTF-8; save the file as UTF-8", path)
	}
	var st site.Status
	if err := c.Get(ctx, "/status", &st); err != nil {
		return err
	}
	q := site.NewSigned(p.Person, body, c.now())
	var err error
	if q.Assertion, err = p.Key.Sign(q.Challenge(st.Site, http.MethodPost+" /v1"+path)); err != nil {
		return err
	}
	doc, err := json.Marshal(q)
	if err != nil {
		return err
	}
	res, err := c.once(ctx, http.MethodPost, path, bytes.NewReader(doc))
	if err != nil {
		return c.away(err)
	}
	defer res.Body.Close()
	return read(res, v)
}

// Request asks for an act in the name of p: the site proposes its parameters,
// p signs its canonical bytes.
func (c *Client) Request(ctx context.Context, p Signer, kind, subject string) (custody.Status, error) {
	var st custody.Status
	var proposal site.Proposal
	if err := c.Get(ctx, "/proposal?"+url.Values{"kind": {kind}, "subject": {subject}}.Encode(), &proposal); err != nil {
		return st, err
	}
	a := act.New(proposal.Site, kind, subject, p.Person, proposal.Params, proposal.Rule, c.now())
	sig, err := p.sign(a, act.Request, "", c.now())
	if err != nil {
		return st, err
	}
	return st, c.Post(ctx, "/acts", site.SignedRequest{Act: string(a.Canonical()), Signature: sig}, &st)
}

// Sign approves or rejects an act in the name of p. What is signed are the
// bytes that the site shows, and their digest must be the site's.
func (c *Client) Sign(ctx context.Context, p Signer, id string, v act.Verb, reason string) (custody.Status, error) {
	var st custody.Status
	if err := c.Get(ctx, "/acts/"+url.PathEscape(id), &st); err != nil {
		return st, err
	}
	if d := st.Act.Digest(); fmt.Sprintf("%x", d) != st.Digest {
		return st, fmt.Errorf("act %s: the site shows other bytes than it names", id)
	}
	sig, err := p.sign(st.Act, v, reason, c.now())
	if err != nil {
		return st, err
	}
	return st, c.Post(ctx, "/acts/"+url.PathEscape(id)+"/sign", site.SignedRequest{Signature: sig}, &st)
}

// Do has the site do an approved act.
func (c *Client) Do(ctx context.Context, id string) error {
	err := c.Post(ctx, "/acts/"+url.PathEscape(id)+"/do", struct{}{}, nil)
	var r *Refusal
	if !errors.As(err, &r) {
		return err
	}
	// The answer to a first call may have been lost with the site.
	var st custody.Status
	if c.Get(ctx, "/acts/"+url.PathEscape(id), &st) == nil && st.State == "used" {
		return nil
	}
	return err
}

// Backup has the site write a backup of itself, and copies it to w. What came is
// not proved: backup.Verify proves it.
func (c *Client) Backup(ctx context.Context, plan site.BackupPlan, w io.Writer) error {
	body, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	res, err := c.once(ctx, http.MethodPost, "/backups", bytes.NewReader(body))
	if err != nil {
		return c.away(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return read(res, nil)
	}
	_, err = io.Copy(w, res.Body)
	return err
}

// Witness shows the site a checkpoint of its log that somebody keeps. It says
// whether the log continues it; if not, the site is locked.
func (c *Client) Witness(ctx context.Context, signed []byte) (continues bool, err error) {
	var v struct {
		Continues bool `json:"continues"`
	}
	err = c.call(ctx, http.MethodPost, "/witness", func() io.Reader { return bytes.NewReader(signed) }, &v)
	return v.Continues, err
}

// ExportLog writes the site's audit log to a new folder, as C2SP tlog-tiles. If
// it does not come whole, no folder is left.
func (c *Client) ExportLog(ctx context.Context, dir string) error {
	for end := time.Now().Add(c.Patience); ; {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("export: %w; it goes to a new folder", err)
		}
		err := c.exportTo(ctx, dir)
		if err == nil {
			return nil
		}
		var no *Refusal
		err = errors.Join(err, os.RemoveAll(dir))
		if errors.As(err, &no) && (c.Again == nil || !c.Again(no)) || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (c *Client) exportTo(ctx context.Context, dir string) error {
	res, err := c.once(ctx, http.MethodGet, "/log", nil)
	if err != nil {
		return c.away(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return read(res, nil)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for t := tar.NewReader(res.Body); ; {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("export: %w", err)
		}
		if err := unpack(root, h, t); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
}

// unpack writes one file of an archive. A name that leaves the folder is
// refused by the root, and so is a file that is there already.
func unpack(root *os.Root, h *tar.Header, r io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return nil // made with the files in it
	case tar.TypeReg:
	default:
		return fmt.Errorf("%q is of type %q, want a regular file", h.Name, h.Typeflag)
	}
	if err := root.MkdirAll(filepath.Dir(h.Name), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
