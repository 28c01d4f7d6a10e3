package site_test

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"ankan/audit"
	"ankan/hsm"
	"ankan/parts"
	"ankan/site"
	"ankan/site/sitetest"
)

// A control is a running site's socket.
type control struct {
	t    *testing.T
	http *http.Client
}

// serve runs a site until the test ends.
func serve(t *testing.T, s *site.Site) control {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		fi, err := os.Lstat(s.Config().Control)
		if err == nil && fi.Mode().Type() == os.ModeSocket {
			if fi.Mode() != os.ModeSocket|0o600 {
				t.Errorf("the socket begins as %v, want 0600", fi.Mode())
			}
			if conn, err := net.Dial("unix", s.Config().Control); err == nil { // it is there before it listens
				conn.Close()
				break
			}
		}
		if time.Now().After(end) {
			t.Fatal("no socket", err)
		}
	}
	var d net.Dialer
	return control{t, &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", s.Config().Control)
	}}}}
}

// ask sends a request and returns the answer.
func (c control) ask(method, path string, body io.Reader) (status int, text string) {
	c.t.Helper()
	q := sitetest.Must[*http.Request](c.t)(http.NewRequestWithContext(c.t.Context(), method, "http://site"+path, body))
	r := sitetest.Must[*http.Response](c.t)(c.http.Do(q))
	defer r.Body.Close()
	return r.StatusCode, string(sitetest.Must[[]byte](c.t)(io.ReadAll(r.Body)))
}

func TestControl(t *testing.T) {
	c := sitetest.Config(t, "works", "operator, bureau, plant")
	token := sitetest.Init(t, c, parts.All()...)
	s := sitetest.Open(t, c, token, parts.All()...)
	// What a crash left in the socket's place is in nobody's way.
	if err := os.WriteFile(c.Control, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	at := serve(t, s)
	large := func() io.Reader { return strings.NewReader(`{"act":"` + strings.Repeat("x", site.MaxRequest) + `"}`) }
	for _, tt := range []struct {
		method, path string
		body         io.Reader
		status       int
		want         string
	}{
		{"GET", "/v1/status", nil, 200, `"site":"works","display":"Site works","roles":["operator","bureau","plant"]`},
		{"GET", "/v1/people", nil, 200, `"id":"0001"`},
		{"GET", "/v1/orders", nil, 200, ""},
		{"GET", "/v1/runs", nil, 200, ""},
		{"GET", "/v1/lots", nil, 200, "[]"},
		{"GET", "/v1/keys", nil, 200, `"id":"log"`},
		{"GET", "/", nil, 404, "404 page not found"},
		{"GET", "/v1/nothing", nil, 404, "404 page not found"},
		{"GET", "/status", nil, 404, "404 page not found"},
		{"DELETE", "/v1/keys", nil, 405, "Method Not Allowed"},
		{"GET", "/v1/orders/none", nil, 404, `order \"none\": no such order`},
		{"GET", "/v1/runs/none", nil, 404, "order none: "},
		{"GET", "/v1/runs/none/cards?samples=0", nil, 409, `samples is \"0\", want 1 to 1000`},
		{"GET", "/v1/acts/none", nil, 404, "no such act"},
		{"POST", "/v1/acts/none/do", nil, 404, "no such act"},
		{"GET", "/v1/proposal?kind=order.release&subject=order/none", nil, 404, "no such order"},
		{"GET", "/v1/proposal?kind=none", nil, 403, "this site does no such act"},
		{"GET", "/v1/proposal?kind=key.make&subject=key/none/1", nil, 409, `\"none\" is no partner`},
		{"POST", "/v1/prove", strings.NewReader(`{"network":"tcp","size":1}`), 409, "unknown field"},
		{"POST", "/v1/acts", strings.NewReader("{"), 409, ""},
		{"POST", "/v1/acts", large(), 409, "the request has more than 1048576 bytes"},
		{"POST", "/v1/acts/none/sign", large(), 409, "the request has more than 1048576 bytes"},
		{"POST", "/v1/prove", large(), 409, "the request has more than 1048576 bytes"},
		{"POST", "/v1/lots", large(), 409, "the request has more than 1048576 bytes"},
		{"POST", "/v1/lots", strings.NewReader(`{"lot":"L1","quantity":5,"os":"o 1","image":"AA==","kcv":"C35280 GP","given":"AA=="}`), 200, `"lot":"L1"`},
		{"POST", "/v1/orders?name=a.inp", strings.NewReader("x"), 409, "no contract of this operator with a partner that is a bureau"},
	} {
		status, text := at.ask(tt.method, tt.path, tt.body)
		if status != tt.status || !strings.Contains(text, tt.want) {
			t.Errorf("%s %s: %d %s, want %d %s", tt.method, tt.path, status, text, tt.status, tt.want)
		}
	}
	at.log(s, token)
}

// log checks that the exported log verifies, and has what was done.
func (c control) log(s *site.Site, token hsm.Module) {
	c.t.Helper()
	before := s.Store().Size()
	status, text := c.ask("GET", "/v1/log", nil)
	if status != http.StatusOK {
		c.t.Fatal(status, text)
	}
	files := fstest.MapFS{}
	for r := tar.NewReader(strings.NewReader(text)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			files[h.Name] = &fstest.MapFile{Data: sitetest.Must[[]byte](c.t)(io.ReadAll(r))}
		}
	}
	signer, err := token.Signer(c.t.Context(), site.KeyLog)
	if err != nil {
		c.t.Fatal(err)
	}
	vkey := sitetest.Must[*audit.Signer](c.t)(audit.NewSigner("ankan/works", signer)).VerifierKey()
	seen := map[string]bool{}
	report, err := audit.Verify(files, vkey, audit.Options{Visit: func(_ int64, e audit.Entry) error {
		seen[e.Kind+" "+e.Subject] = true
		return nil
	}})
	// The site runs, and may write meanwhile.
	if err != nil || report.Entries < before || report.Entries > s.Store().Size() || !seen["site.founded site"] || !seen["site.started site/works"] || !seen["lot.offered lot/L1"] {
		c.t.Errorf("%+v of %d to %d entries, %v: %v", report, before, s.Store().Size(), seen, err)
	}
	if left := sitetest.Must[[]string](c.t)(filepath.Glob(filepath.Join(s.Config().Data, "export-*"))); len(left) > 0 {
		c.t.Errorf("the export left %v", left)
	}
}

// An address that is no text gets as far as no database.
func TestAddressNoText(t *testing.T) {
	s := sitetest.New(t, "op", site.Operator, parts.All()...)
	for path, want := range map[string]int{"/v1/orders/%ff": 400, "/v1/orders/%00": 400, "/v1/keys?text=%ff": 400, "/v1/keys?text=x": 200} {
		w := httptest.NewRecorder()
		s.Control().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want {
			t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, want)
		}
	}
}
