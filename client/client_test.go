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
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ankan/act"
	"ankan/custody"
	"ankan/passkey"
	"ankan/site"
)

// socket is a path that is short enough for a unix socket.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ankan")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s.sock")
}

// serve answers at a socket until the test ends.
func serve(t *testing.T, path string, h http.HandlerFunc) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
}

func TestCalls(t *testing.T) {
	path := socket(t)
	serve(t, path, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		json.NewEncoder(w).Encode(map[string]string{"call": r.Method + " " + r.URL.String(), "body": string(body)})
	})
	c := New(path)
	var v struct{ Call, Body string }
	for want, call := range map[string]func() error{
		`GET /v1/orders/a%2Fb `:   func() error { return c.Get(t.Context(), "/orders/"+url.PathEscape("a/b"), &v) },
		`POST /v1/keys {"n":1}`:   func() error { return c.Post(t.Context(), "/keys", map[string]int{"n": 1}, &v) },
		`POST /v1/lots as it is`:  func() error { return c.Send(t.Context(), "/lots", strings.NewReader("as it is"), &v) },
		`POST /v1/orders?name=x `: func() error { return c.Send(t.Context(), "/orders?name=x", strings.NewReader(""), &v) },
	} {
		if err := call(); err != nil || v.Call+" "+v.Body != want {
			t.Errorf("the site saw %q (%v), want %q", v.Call+" "+v.Body, err, want)
		}
	}
	if err := c.Send(t.Context(), "/lots", failing{}, nil); !errors.Is(err, errDisk) {
		t.Errorf("a file that cannot be read: %v", err)
	}
	if err := c.Post(t.Context(), "/keys", func() {}, nil); err == nil {
		t.Error("a body that is no JSON was sent")
	}
}

var errDisk = errors.New("disk")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errDisk }

func TestRefusal(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":"not allowed"}`: "not allowed",
		"plain text\n":            "plain text",
		`{"error":""}`:            `{"error":""}`,
	} {
		path := socket(t)
		serve(t, path, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, body)
		})
		var r *Refusal
		err := New(path).Get(t.Context(), "/x", nil)
		if !errors.As(err, &r) || r.Status != http.StatusForbidden || r.Error() != want {
			t.Errorf("%q gives %v, want the refusal %q", body, err, want)
		}
	}
}

func TestAskRefusesOtherText(t *testing.T) {
	err := (&Client{}).Ask(t.Context(), Signer{}, "/drafts/policy", []byte("roles: [\xfc]"), nil)
	if err == nil || !strings.Contains(err.Error(), "request /drafts/policy: what is sent is not UTF-8") {
		t.Error(err)
	}
}

func TestPatience(t *testing.T) {
	path := socket(t)
	c := New(path)
	start := time.Now()
	if err := c.Get(t.Context(), "/x", nil); !errors.Is(err, ErrAway) || !errors.Is(err, os.ErrNotExist) || time.Since(start) > 5*time.Second {
		t.Errorf("without patience: %v after %s", err, time.Since(start))
	}
	c.Patience = 200 * time.Millisecond
	start = time.Now()
	if err := c.Get(t.Context(), "/x", nil); !errors.Is(err, ErrAway) || time.Since(start) < c.Patience {
		t.Errorf("nobody came: %v after %s", err, time.Since(start))
	}

	// A site that comes while it is waited for.
	c.Patience = 30 * time.Second
	done := make(chan error, 1)
	go func() { done <- c.Get(t.Context(), "/x", nil) }()
	time.Sleep(150 * time.Millisecond)
	serve(t, path, func(http.ResponseWriter, *http.Request) {})
	if err := <-done; err != nil {
		t.Errorf("the site came: %v", err)
	}

	// Whoever gives up is not held.
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- New(socket(t)).patient().Get(ctx, "/x", nil) }()
	time.Sleep(50 * time.Millisecond)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}

	// A refusal is an answer: it is not asked again.
	var asked atomic.Int32
	path = socket(t)
	serve(t, path, func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); w.WriteHeader(http.StatusConflict) })
	if err := New(path).patient().Get(t.Context(), "/x", nil); err == nil || asked.Load() != 1 {
		t.Errorf("a refusal was asked for %d times: %v", asked.Load(), err)
	}
}

func (c *Client) patient() *Client { c.Patience = time.Minute; return c }

// desk is a site that proposes and keeps one act.
type desk struct {
	t      *testing.T
	status custody.Status
	digest string // instead of the act's, if set
	signed site.SignedRequest
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /v1/proposal":
		json.NewEncoder(w).Encode(site.Proposal{Site: "bureau", Kind: r.FormValue("kind"), Subject: r.FormValue("subject"),
			Params: map[string]string{"quantity": "10"}, Rule: act.Rule{ToApprove: 60, ToUse: 30, Version: 1}})
		return
	case "POST /v1/acts":
		d.take(r)
		a, err := act.Parse([]byte(d.signed.Act))
		if err != nil {
			d.t.Error(err)
		}
		d.status = custody.Status{Act: a, State: "open"}
	case "GET /v1/acts/" + d.status.Act.ID:
	case "POST /v1/acts/" + d.status.Act.ID + "/sign":
		d.take(r)
	case "POST /v1/acts/" + d.status.Act.ID + "/do":
		w.WriteHeader(http.StatusConflict)
		io.WriteString(w, `{"error":"used already"}`)
		return
	default:
		d.t.Errorf("call %s %s", r.Method, r.URL.Path)
	}
	d.status.Digest = fmt.Sprintf("%x", d.status.Act.Digest())
	if d.digest != "" {
		d.status.Digest = d.digest
	}
	json.NewEncoder(w).Encode(d.status)
}

func (d *desk) take(r *http.Request) {
	d.signed = site.SignedRequest{}
	if err := json.NewDecoder(r.Body).Decode(&d.signed); err != nil {
		d.t.Error(err)
	}
}

func TestActs(t *testing.T) {
	path := socket(t)
	d := &desk{t: t}
	serve(t, path, d.ServeHTTP)
	c := New(path)
	key, err := passkey.NewSoft("bureau.example", "https://bureau.example")
	if err != nil {
		t.Fatal(err)
	}
	p := Signer{Person: "1001", Key: key}

	// A request signs the very bytes that it hands in.
	st, err := c.Request(t.Context(), p, "order.release", "order/7")
	if err != nil {
		t.Fatal(err)
	}
	a := st.Act
	if a.Requester != "1001" || a.Params["quantity"] != "10" || d.signed.Act != string(a.Canonical()) {
		t.Errorf("asked for %s", d.signed.Act)
	}
	verified(t, key, a, d.signed.Signature, act.Request)

	// An approval is another signature than a rejection, over the same bytes.
	for _, v := range []act.Verb{act.Approve, act.Reject} {
		if _, err := c.Sign(t.Context(), p, a.ID, v, "why"); err != nil {
			t.Fatal(err)
		}
		if d.signed.Signature.Reason != "why" || d.signed.Act != "" {
			t.Errorf("%s sends %+v", v, d.signed)
		}
		verified(t, key, a, d.signed.Signature, v)
	}

	// A site that names another digest than that of what it shows gets nothing.
	d.digest, d.signed = strings.Repeat("0", 64), site.SignedRequest{}
	if _, err := c.Sign(t.Context(), p, a.ID, act.Approve, ""); err == nil || d.signed.Signature.Person != "" {
		t.Errorf("signed %+v: %v", d.signed, err)
	}
	d.digest = ""

	// The answer to doing may get lost: what was done is done.
	var r *Refusal
	if err := c.Do(t.Context(), a.ID); !errors.As(err, &r) {
		t.Errorf("doing an open act: %v", err)
	}
	d.status.State = "used"
	if err := c.Do(t.Context(), a.ID); err != nil {
		t.Errorf("doing it again: %v", err)
	}

	// Nobody signs without a key.
	if _, err := c.Request(t.Context(), Signer{Person: "1001"}, "order.release", "order/7"); err == nil {
		t.Error("a signature without a key")
	}
}

func verified(t *testing.T, key *passkey.Soft, a act.Act, s act.Signature, v act.Verb) {
	t.Helper()
	if s.Person != "1001" || s.Verb != v {
		t.Errorf("signature of %s: %s, want %s", s.Person, s.Verb, v)
	}
	if _, err := key.Credential.Verify(s.Assertion, a.Challenge(v)); err != nil {
		t.Errorf("%s: %v", v, err)
	}
}

// archive is a tar file of these entries.
func archive(t *testing.T, all ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range all {
		if h.Typeflag == tar.TypeReg {
			h.Size = 4
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			io.WriteString(w, "tile")
		}
	}
	w.Close()
	return b.Bytes()
}

func TestExport(t *testing.T) {
	path, dir := socket(t), filepath.Join(t.TempDir(), "log")
	doc := archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "checkpoint"}, tar.Header{Typeflag: tar.TypeDir, Name: "tile/"},
		tar.Header{Typeflag: tar.TypeReg, Name: "tile/0/000"})
	serve(t, path, func(w http.ResponseWriter, _ *http.Request) { w.Write(doc) })
	if err := New(path).ExportLog(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"checkpoint", "tile/0/000"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != "tile" {
			t.Errorf("%s holds %q: %v", name, b, err)
		}
	}
	// What is there is not touched.
	if err := New(path).ExportLog(t.Context(), dir); !errors.Is(err, os.ErrExist) {
		t.Errorf("into the same folder: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "checkpoint")); err != nil {
		t.Error(err)
	}
}

// TestExportRefuses exports from sites that mean harm, or break off.
func TestExportRefuses(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
	whole := archive(t, file("checkpoint"))
	for what, doc := range map[string][]byte{
		"parent":           archive(t, file("../evil")),
		"parent, hidden":   archive(t, file("tile/../../evil")),
		"absolute":         archive(t, file("/tmp/ankan-evil")),
		"twice":            archive(t, file("checkpoint"), file("checkpoint")),
		"symbolic link":    archive(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "tile", Linkname: ".."}, file("tile/evil")),
		"hard link":        archive(t, tar.Header{Typeflag: tar.TypeLink, Name: "tile", Linkname: "/etc/passwd"}),
		"device":           archive(t, tar.Header{Typeflag: tar.TypeChar, Name: "tile"}),
		"file as a folder": archive(t, file("tile"), file("tile/evil")),
		"cut":              whole[:514],
		"no archive":       bytes.Repeat([]byte("x"), 600),
	} {
		path, parent := socket(t), t.TempDir()
		serve(t, path, func(w http.ResponseWriter, _ *http.Request) { w.Write(doc) })
		if err := New(path).ExportLog(t.Context(), filepath.Join(parent, "log")); err == nil {
			t.Errorf("%s: taken", what)
		}
		if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v (%v)", what, left, err)
		}
	}
	if _, err := os.Stat("/tmp/ankan-evil"); err == nil {
		t.Error("a file outside of the folder")
	}

	path, parent := socket(t), t.TempDir()
	serve(t, path, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "disk full", http.StatusInternalServerError)
	})
	var r *Refusal
	if err := New(path).ExportLog(t.Context(), filepath.Join(parent, "log")); !errors.As(err, &r) || r.Text != "disk full" {
		t.Errorf("a refusal: %v", err)
	}
	if err := New(socket(t)).ExportLog(t.Context(), filepath.Join(parent, "log")); !errors.Is(err, ErrAway) {
		t.Errorf("nobody there: %v", err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("left %v (%v)", left, err)
	}
}
