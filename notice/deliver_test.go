package notice

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ankan/document"
	"ankan/store"
)

// nobody has a mail address.
func nobody(string) (string, bool) { return "", false }

// addresses are people's, by their numbers: 1002 is at 1002@mail.example.
func addresses(person string) (string, bool) { return person + "@mail.example", true }

const planted = "planted-secret-of-the-webhook"

// secrets stands for the reader of secret files.
func secrets(path string) ([]byte, error) {
	switch path {
	case "webhook.secret":
		return []byte(planted), nil
	case "mail.password":
		return []byte("a good password"), nil
	case "short":
		return []byte("fifteen bytes.."), nil
	}
	return nil, os.ErrNotExist
}

func (h *hall) deliver(c Config) error {
	h.Helper()
	return h.board.Deliver(h.Context(), h.fill(c), addresses)
}

// fill is a configuration with what the site gives, and a short patience.
func (h *hall) fill(c Config) Config {
	c.Site, c.Secret, c.ConsoleURL = "bureau", secrets, "https://bureau.example/"
	if c.timeout == 0 {
		c.timeout = 2 * time.Second
	}
	return c
}

// fate is what became of the notices, by their numbers: when they were sent or
// why not.
func (h *hall) fate() (all []string) {
	h.Helper()
	rows, err := h.store.Query(h.Context(), "SELECT sent FROM notice ORDER BY id")
	h.must(err)
	defer rows.Close()
	for rows.Next() {
		var s string
		h.must(rows.Scan(&s))
		all = append(all, s)
	}
	h.must(rows.Err())
	return all
}

// A receiver is a webhook that remembers what came.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	came  []request
	reply func(n int, w http.ResponseWriter) // to the n-th, from 1; nil: 204
}

type request struct {
	header http.Header
	body   []byte
}

func newReceiver(t *testing.T, reply func(int, http.ResponseWriter)) *receiver {
	r := &receiver{reply: reply}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	r.came = append(r.came, request{req.Header, body})
	n := len(r.came)
	r.mu.Unlock()
	if r.reply != nil {
		r.reply(n, w)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// ids are the numbers of the notices that came.
func (r *receiver) ids(t *testing.T) (ids []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.came {
		var p post
		if err := json.Unmarshal(c.body, &p); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, p.ID)
	}
	return ids
}

func hook(url string) Config {
	return Config{Webhook: &Webhook{URL: url, SecretFile: "webhook.secret"}}
}

// A mailServer is Debian's aiosmtpd, a program that we did not write.
type mailServer struct {
	port int
	mail chan letter
}

type letter struct {
	From, User, Message string
	To                  []string
	TLS                 bool
}

func newMailServer(t *testing.T, mode string, more ...string) *mailServer {
	t.Helper()
	const python = "/usr/bin/python3" // Debian's, which has Debian's packages
	if out, err := exec.Command(python, "-c", "import aiosmtpd").CombinedOutput(); err != nil {
		t.Fatalf("the test needs the Debian packages python3 and python3-aiosmtpd: %v %s", err, out)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), python, append([]string{"testdata/smtpd.py", mode}, more...)...)
	var said strings.Builder // tracebacks, of what it is asked to break
	cmd.Stderr = &said
	if _, err := cmd.StdinPipe(); err != nil { // it ends with it, also when the test is killed
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("the mail server: %s", said.String())
		}
	})
	s := &mailServer{mail: make(chan letter, 1000)}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() {
		t.Fatal("the mail server did not start")
	}
	if err := json.Unmarshal(lines.Bytes(), &s.port); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.mail)
		for lines.Scan() {
			var l letter
			if json.Unmarshal(lines.Bytes(), &l) == nil {
				s.mail <- l
			}
		}
	}()
	return s
}

// next is the next message; it fails when none comes.
func (s *mailServer) next(t *testing.T) (letter, *mail.Message) {
	t.Helper()
	select {
	case l := <-s.mail:
		m, err := mail.ReadMessage(strings.NewReader(l.Message))
		if err != nil {
			t.Fatalf("%v in %q", err, l.Message)
		}
		return l, m
	case <-time.After(10 * time.Second):
		t.Fatal("no message came")
		return letter{}, nil
	}
}

func (s *mailServer) none(t *testing.T) {
	t.Helper()
	select {
	case l := <-s.mail:
		t.Errorf("a message came: %+v", l)
	case <-time.After(100 * time.Millisecond):
	}
}

func (s *mailServer) config(tls, ca string) Config {
	return Config{SMTP: &SMTP{Host: "127.0.0.1", Port: s.port, TLS: tls, CA: ca, From: "Ankan <ankan@bureau.example>"}}
}

// certificate writes a certificate for 127.0.0.1 and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestMail(t *testing.T) {
	cert, key := certificate(t)
	for _, mode := range []string{noTLS, startTLS, implicitTLS} {
		t.Run(mode, func(t *testing.T) {
			h := newHall(t)
			s := newMailServer(t, mode, cert, key)
			h.must(h.change(func(tx *store.Tx) error {
				return Tell(tx, []string{"1002"}, Notice{Kind: "act.waits", Subject: "order/7\r\nBcc: other@mail.example", Link: "/acts/42",
					Text: "order.release of order/7 waits for your signature.\n.\nDone."})
			}))
			h.tell("order/é", "1003")
			before := h.store.Size()
			h.must(h.deliver(s.config(mode, cert)))
			l, m := s.next(t)
			subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
			if err != nil || subject != "[bureau] act.waits: order/7 Bcc: other@mail.example" || m.Header.Get("Bcc") != "" {
				t.Errorf("%q, %v in %q", subject, err, l.Message)
			}
			if !slices.Equal(l.To, []string{"1002@mail.example"}) || l.From != "ankan@bureau.example" || l.TLS != (mode != noTLS) {
				t.Errorf("%+v", l)
			}
			if m.Header.Get("Message-Id") != "<ankan.bureau.1@bureau.example>" || m.Header.Get("Auto-Submitted") != "auto-generated" || !strings.HasPrefix(m.Header.Get("Content-Type"), "text/plain") ||
				strings.Contains(strings.ToLower(l.Message), "go-mail") {
				t.Errorf("%q", l.Message)
			}
			body, err := io.ReadAll(m.Body)
			for _, want := range []string{"order.release of order/7 waits", "Done.", "https://bureau.example/acts/42", "told this to person 1002 on 2026-11-23 09:00:00 UTC"} {
				if err != nil || !strings.Contains(string(body), want) {
					t.Errorf("%q is not in %q", want, body)
				}
			}
			if strings.Contains(l.Message, planted) {
				t.Error("a secret is in it")
			}
			_, m = s.next(t)
			if subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil || subject != "[bureau] act.waits: order/é" {
				t.Errorf("%q, %v", subject, err)
			}
			left := h.left(before)
			if len(left) != 1 || left[0].Kind != "notice.sent" || fmt.Sprint(left[0].Data["mail"]) != "[1 2]" {
				t.Errorf("%+v", left)
			}
			h.must(h.deliver(s.config(mode, cert)))
			s.none(t)
			if h.store.Size() != before+1 {
				t.Errorf("a round of nothing left %v", h.left(before))
			}
			for _, f := range h.fate() {
				if f != "2026-11-23T09:00:00Z" {
					t.Errorf("%q", f)
				}
			}
		})
	}
}

func TestMailSignsIn(t *testing.T) {
	h := newHall(t)
	cert, key := certificate(t)
	s := newMailServer(t, startTLS, cert, key, "ankan", "a good password")
	c := s.config(startTLS, cert)
	h.tell("order/7", "1002")
	before := h.store.Size()
	h.must(h.deliver(c)) // without a password
	c.SMTP.User, c.SMTP.PasswordFile = "other", "mail.password"
	h.wait(firstPause)
	h.must(h.deliver(c))
	s.none(t)
	c.SMTP.User = "ankan"
	h.wait(2 * firstPause)
	h.must(h.deliver(c))
	if l, _ := s.next(t); l.User != "ankan" || !l.TLS {
		t.Errorf("%+v", l)
	}
	left := h.left(before)
	if got := kinds(left); !slices.Equal(got, []string{"notice.failed", "notice.failed", "notice.sent"}) {
		t.Errorf("%v", got)
	}
	if strings.Contains(fmt.Sprint(left), "a good password") {
		t.Error("the password is in the log")
	}
}

// A server that does not speak TLS, or is another, gets nothing.
func TestMailNeedsTLS(t *testing.T) {
	h := newHall(t)
	cert, key := certificate(t)
	other, _ := certificate(t)
	plain, tls := newMailServer(t, noTLS), newMailServer(t, startTLS, cert, key)
	h.tell("order/7", "1002")
	before := h.store.Size()
	for _, c := range []Config{plain.config(startTLS, cert), plain.config(implicitTLS, cert), tls.config(startTLS, other), tls.config(startTLS, ""), tls.config(noTLS, "")} {
		h.must(h.deliver(c))
		h.wait(maxPause)
	}
	plain.none(t)
	tls.none(t)
	if got := kinds(h.left(before)); len(got) != 5 || slices.Contains(got, "notice.sent") {
		t.Errorf("%v", got)
	}
}

// One mailbox that is refused does not stop the others; one whose answer was
// lost gets a second copy that says that it is one.
func TestMailboxes(t *testing.T) {
	h := newHall(t)
	s := newMailServer(t, noTLS)
	for _, who := range []string{"refused", "1", "lost", "2"} {
		h.tell("order/"+who, who)
	}
	before := h.store.Size()
	h.must(h.deliver(s.config(noTLS, "")))
	var to, ids []string
	for range 3 {
		l, m := s.next(t)
		to, ids = append(to, l.To...), append(ids, m.Header.Get("Message-Id"))
	}
	if !slices.Equal(to, []string{"1@mail.example", "lost@mail.example", "2@mail.example"}) {
		t.Errorf("%v", to)
	}
	left := h.left(before)
	if !slices.Equal(kinds(left), []string{"notice.sent", "notice.failed"}) || fmt.Sprint(left[0].Data["mail"]) != "[2 4]" || fmt.Sprint(left[1].Data["mail"]) != "[1 3]" ||
		strings.Contains(fmt.Sprint(left), "mail.example") || !strings.Contains(fmt.Sprint(left[1].Data["why"]), "sending SMTP RCPT TO command: the server answered 550") {
		t.Errorf("%+v", left)
	}
	h.wait(firstPause)
	h.must(h.deliver(s.config(noTLS, "")))
	if l, m := s.next(t); l.To[0] != "lost@mail.example" || m.Header.Get("Message-Id") != ids[1] {
		t.Errorf("%v, %v", l.To, m.Header)
	}
	s.none(t)
}

// The server is away, and comes back.
func TestServerDown(t *testing.T) {
	h := newHall(t)
	s := newMailServer(t, noTLS)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	h.must(err)
	down := s.config(noTLS, "")
	down.SMTP = &SMTP{Host: "127.0.0.1", Port: free.Addr().(*net.TCPAddr).Port, TLS: noTLS, From: "ankan@bureau.example"}
	h.must(free.Close())
	for i := range 5 {
		h.tell(fmt.Sprint("order/", i), "1002")
	}
	before := h.store.Size()
	h.must(h.deliver(down))
	left := h.left(before)
	if len(left) != 1 || fmt.Sprint(left[0].Data["mail"]) != "[1 2 3 4 5]" || fmt.Sprint(left[0].Data["gave_up"]) != "[]" {
		t.Errorf("%+v", left)
	}
	h.must(h.deliver(down)) // too early
	h.wait(firstPause - 1)
	h.must(h.deliver(s.config(noTLS, "")))
	s.none(t)
	h.tell("order/new", "1003") // does not wait for the others
	h.must(h.deliver(s.config(noTLS, "")))
	if l, _ := s.next(t); l.To[0] != "1003@mail.example" {
		t.Errorf("%+v", l)
	}
	h.wait(1)
	h.must(h.deliver(s.config(noTLS, "")))
	for i := range 5 {
		if _, m := s.next(t); m.Header.Get("Subject") != fmt.Sprint("[bureau] act.waits: order/", i) {
			t.Errorf("%d: %v", i, m.Header)
		}
	}
	s.none(t)
}

func TestGivesUp(t *testing.T) {
	h := newHall(t)
	r := newReceiver(t, func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) })
	h.tell("order/7", "1002")
	before, begin := h.store.Size(), h.clock
	var tries []time.Duration
	for n := 0; h.clock.Before(begin.Add(30 * time.Hour)); h.wait(time.Minute) {
		h.must(h.deliver(hook(r.URL)))
		if len(r.ids(t)) > n {
			n++
			tries = append(tries, h.clock.Sub(begin))
		}
	}
	want := []time.Duration{0, 1, 3, 7, 15, 31, 63}
	for next := time.Duration(123); next < 24*60; next += 60 {
		want = append(want, next)
	}
	want = append(want, 24*60)
	for i := range want {
		want[i] *= time.Minute
	}
	if !slices.Equal(tries, want) {
		t.Errorf("it was tried after %v, want %v", tries, want)
	}
	left := h.left(before)
	last := left[len(left)-1]
	if len(left) != len(want) || last.Kind != "notice.failed" || fmt.Sprint(last.Data["gave_up"]) != "[1]" || fmt.Sprint(last.Data["why"]) != "[webhook: the server answered 500, want 2xx]" {
		t.Errorf("%d entries, the last: %+v", len(left), last)
	}
	if got := h.fate()[0]; got != "gave up: webhook: the server answered 500, want 2xx" {
		t.Errorf("%q", got)
	}
}

func TestWebhook(t *testing.T) {
	h := newHall(t)
	r := newReceiver(t, nil)
	h.tell("order/7", "1002")
	before := h.store.Size()
	h.must(h.deliver(hook(r.URL + "/hook?token=planted-in-the-url")))
	if len(r.came) != 1 {
		t.Fatalf("%d came", len(r.came))
	}
	got := r.came[0]
	var p post
	h.must(json.Unmarshal(got.body, &p))
	want := post{ID: 1, Site: "bureau", Person: "1002", Kind: "act.waits", Subject: "order/7", Text: "It waits for your signature.", Link: "https://bureau.example/acts/1", At: h.clock}
	if p != want || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("%+v, %v", p, got.header)
	}
	// As a receiver checks it, from the documentation alone.
	signed := func(secret, stamp string, body []byte) bool {
		m := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(m, "%s.%s", stamp, body)
		return hmac.Equal([]byte("sha256="+hex.EncodeToString(m.Sum(nil))), []byte(got.header.Get("Ankan-Signature")))
	}
	stamp := got.header.Get("Ankan-Timestamp")
	if !signed(planted, stamp, got.body) {
		t.Error("the signature is wrong")
	}
	if signed("another secret of the webhook", stamp, got.body) || signed(planted, stamp+"0", got.body) || signed(planted, stamp, append(got.body, ' ')) {
		t.Error("the signature is of anything")
	}
	if left := h.left(before); len(left) != 1 || strings.Contains(fmt.Sprint(left), "planted") {
		t.Errorf("%+v", left)
	}
}

// Each way in which a webhook does not take a notice.
func TestWebhookFails(t *testing.T) {
	inside := newReceiver(t, nil)
	for name, reply := range map[string]func(int, http.ResponseWriter){
		"refused": func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) },
		"redirected": func(_ int, w http.ResponseWriter) {
			w.Header().Set("Location", inside.URL)
			w.WriteHeader(http.StatusTemporaryRedirect)
		},
		"moved": func(_ int, w http.ResponseWriter) {
			w.Header().Set("Location", inside.URL)
			w.WriteHeader(http.StatusSeeOther)
		},
		"answer lost": func(int, http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		h := newHall(t)
		r := newReceiver(t, func(n int, w http.ResponseWriter) {
			if n == 1 {
				reply(n, w)
			}
		})
		h.tell("order/7", "1002")
		before := h.store.Size()
		c := hook(r.URL + "/planted-in-the-url")
		h.must(h.deliver(c))
		h.wait(firstPause)
		h.must(h.deliver(c))
		h.must(h.deliver(c))
		left := h.left(before)
		if got := r.ids(t); !slices.Equal(got, []int64{1, 1}) || !slices.Equal(kinds(left), []string{"notice.failed", "notice.sent"}) || strings.Contains(fmt.Sprint(left), "planted") {
			t.Errorf("%s: %v came, it left %+v", name, got, left)
		}
	}
	if len(inside.came) != 0 {
		t.Error("it followed a redirect")
	}
	h := newHall(t)
	inside.Close()
	h.tell("order/7", "1002")
	before := h.store.Size()
	h.must(h.deliver(hook(inside.URL + "/planted-in-the-url")))
	if left := h.left(before); len(left) != 1 || left[0].Kind != "notice.failed" || strings.Contains(fmt.Sprint(left), "planted") || strings.Contains(fmt.Sprint(h.fate()), "planted") {
		t.Errorf("a receiver that is down: %+v", left)
	}
}

// HTTPS, and whose certificate.
func TestWebhookTLS(t *testing.T) {
	h := newHall(t)
	r := &receiver{}
	r.Server = httptest.NewUnstartedServer(r)
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.StartTLS()
	defer r.Close()
	path := filepath.Join(t.TempDir(), "ca.pem")
	h.must(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}), 0o600))
	h.tell("order/7", "1002")
	h.must(h.deliver(hook(r.URL)))
	if len(r.came) != 0 {
		t.Fatal("anybody's certificate is taken")
	}
	c := hook(r.URL)
	c.Webhook.CA = path
	h.wait(firstPause)
	h.must(h.deliver(c))
	if len(r.came) != 1 {
		t.Errorf("%d came", len(r.came))
	}
}

// A server that hangs holds up neither the other channel nor the site.
func TestSlowServer(t *testing.T) {
	h := newHall(t)
	free := make(chan bool)
	r := newReceiver(t, func(int, http.ResponseWriter) { <-free })
	t.Cleanup(func() { close(free) }) // before the receiver closes
	s := newMailServer(t, noTLS)
	for i := range 20 {
		h.tell(fmt.Sprint("order/", i), "1002")
	}
	c := s.config(noTLS, "")
	c.Webhook, c.timeout = hook(r.URL).Webhook, 300*time.Millisecond
	before, begin := h.store.Size(), time.Now()
	h.must(h.deliver(c))
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
	for range 20 {
		s.next(t)
	}
	if got := r.ids(t); !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("%v were tried", got)
	}
	left := h.left(before)
	if !slices.Equal(kinds(left), []string{"notice.sent", "notice.failed"}) || len(left[0].Data["mail"].([]any)) != 20 || len(left[1].Data["webhook"].([]any)) != 20 {
		t.Errorf("%+v", left)
	}
	// The mail is not sent again for the webhook's sake.
	fast := newReceiver(t, nil)
	c.Webhook = hook(fast.URL).Webhook
	h.wait(firstPause)
	h.must(h.deliver(c))
	s.none(t)
	if len(fast.came) != 20 || slices.Contains(h.fate(), "") {
		t.Errorf("%d came; %v", len(fast.came), h.fate())
	}
	// And the other way round.
	h.tell("order/slow", "slow")
	h.tell("order/7", "1002")
	begin = time.Now()
	h.must(h.deliver(c))
	if len(fast.came) != 22 || time.Since(begin) > 10*time.Second {
		t.Errorf("%d came after %v", len(fast.came), time.Since(begin))
	}
	if s.next(t); !strings.HasPrefix(h.fate()[21], "2026-") || h.fate()[20] != "" {
		t.Errorf("%v", h.fate()[20:])
	}
}

// One round takes so long and no longer; the rest goes in the next.
func TestRoundEnds(t *testing.T) {
	h := newHall(t)
	r := newReceiver(t, func(_ int, w http.ResponseWriter) { time.Sleep(60 * time.Millisecond) })
	for i := range 12 {
		h.tell(fmt.Sprint("order/", i), "1002")
	}
	c := hook(r.URL)
	c.timeout = 100 * time.Millisecond
	rounds := 0
	for ; len(r.came) < 12 && rounds < 12; rounds++ {
		h.must(h.deliver(c))
	}
	want := []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	if got := r.ids(t); rounds < 2 || !slices.Equal(got, want) && len(got) < 12 {
		t.Errorf("%v in %d rounds", got, rounds)
	}
	// More than one round's worth.
	h = newHall(t)
	many := newReceiver(t, nil)
	for range maxRound + 1 {
		h.tell("order/7", "1002")
	}
	h.must(h.deliver(hook(many.URL)))
	if len(many.came) != maxRound {
		t.Errorf("%d came in one round", len(many.came))
	}
	h.must(h.deliver(hook(many.URL)))
	if len(many.came) != maxRound+1 {
		t.Errorf("%d came in two", len(many.came))
	}
}

// Who hangs up in the middle of a round keeps what was sent as sent.
func TestDeliverCancelled(t *testing.T) {
	h := newHall(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := newReceiver(t, func(n int, w http.ResponseWriter) {
		if n == 2 {
			cancel()
			time.Sleep(50 * time.Millisecond)
		}
	})
	for i := range 4 {
		h.tell(fmt.Sprint("order/", i), "1002")
	}
	h.must(h.board.Deliver(ctx, h.fill(hook(r.URL)), addresses))
	if got := h.fate(); got[0] == "" || got[3] != "" {
		t.Errorf("%v", got)
	}
	if err := h.board.Deliver(ctx, h.fill(hook(r.URL)), addresses); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	h.must(h.deliver(hook(r.URL)))
	if got := h.fate(); slices.Contains(got, "") || len(r.came) > 5 {
		t.Errorf("%v, %d came", got, len(r.came))
	}
}

// The site dies between sending and writing it down: what was under way goes
// out a second time, known by its number, and not a third time.
func TestCrash(t *testing.T) {
	h := newHall(t)
	dying := h.store
	r := newReceiver(t, func(n int, w http.ResponseWriter) {
		if n == 2 {
			dying.Close()
		}
	})
	h.tell("order/1", "1002")
	h.tell("order/2", "1002")
	if err := h.deliver(hook(r.URL)); err == nil {
		t.Error("it was written down by a dead site")
	}
	h.open()
	h.must(h.deliver(hook(r.URL)))
	h.must(h.deliver(hook(r.URL)))
	if got := r.ids(t); !slices.Equal(got, []int64{1, 2, 1, 2}) {
		t.Errorf("%v came", got)
	}
	if got := kinds(h.left(0)); got[len(got)-1] != "notice.sent" {
		t.Errorf("%v", got)
	}
}

// Two rounds at once send once.
func TestRoundsDoNotOverlap(t *testing.T) {
	h := newHall(t)
	r := newReceiver(t, func(int, http.ResponseWriter) { time.Sleep(20 * time.Millisecond) })
	h.tell("order/7", "1002")
	errs := make(chan error)
	for range 4 {
		go func() { errs <- h.board.Deliver(context.WithoutCancel(t.Context()), h.fill(hook(r.URL)), addresses) }()
	}
	for range 4 {
		h.must(<-errs)
	}
	if len(r.came) != 1 {
		t.Errorf("%d came", len(r.came))
	}
}

// Without a channel nothing waits for one.
func TestKept(t *testing.T) {
	h := newHall(t)
	s := newMailServer(t, noTLS)
	h.tell("order/1", "1002", "1003")
	before := h.store.Size()
	h.must(h.deliver(Config{}))
	left := h.left(before)
	if len(left) != 1 || left[0].Kind != "notice.kept" || fmt.Sprint(left[0].Data["notices"]) != "[1 2]" {
		t.Errorf("%+v", left)
	}
	h.must(h.deliver(s.config(noTLS, "")))
	s.none(t)
	// Nor does who has no address; a webhook takes all.
	h.tell("order/2", "1002", "1003")
	only := func(person string) (string, bool) { return person + "@mail.example", person == "1003" }
	before = h.store.Size()
	h.must(h.board.Deliver(t.Context(), h.fill(s.config(noTLS, "")), only))
	if l, _ := s.next(t); l.To[0] != "1003@mail.example" {
		t.Errorf("%+v", l)
	}
	s.none(t)
	if got := kinds(h.left(before)); !slices.Equal(got, []string{"notice.sent", "notice.kept"}) {
		t.Errorf("%v", got)
	}
	h.tell("order/3", "1002")
	r := newReceiver(t, nil)
	c := s.config(noTLS, "")
	c.Webhook = hook(r.URL).Webhook
	h.must(h.board.Deliver(t.Context(), h.fill(c), nobody))
	if len(r.came) != 1 || slices.Contains(h.fate(), "") {
		t.Errorf("%d came, %v", len(r.came), h.fate())
	}
	if n, err := h.board.Unread(t.Context(), "1002"); err != nil || n != 3 {
		t.Errorf("what is not sent is not on the board: %d, %v", n, err)
	}
	// An address that is none is refused for this person alone.
	h.tell("order/4", "1002", "1003")
	h.must(h.board.Deliver(t.Context(), h.fill(s.config(noTLS, "")), func(person string) (string, bool) {
		return map[string]string{"1002": "not an address\r\nBcc: x@y", "1003": "1003@mail.example"}[person], true
	}))
	if l, _ := s.next(t); l.To[0] != "1003@mail.example" {
		t.Errorf("%+v", l)
	}
}

func TestConfig(t *testing.T) {
	const good = "smtp: {host: mail.example, port: 587, tls: starttls, user: ankan, password_file: mail.password, from: ankan@bureau.example}\n" +
		"webhook: {url: \"https://hooks.example/x\", secret_file: webhook.secret}\nconsole_url: https://bureau.example\n"
	read := func(doc string) (c Config, err error) {
		_, err = document.Read("site", []byte(doc), &c)
		if err == nil {
			err = c.Check()
		}
		return c, err
	}
	c, err := read(good)
	if err != nil || c.SMTP.Host != "mail.example" || c.SMTP.Port != 587 || c.Webhook.URL != "https://hooks.example/x" || c.ConsoleURL != "https://bureau.example" {
		t.Errorf("%+v, %v", c, err)
	}
	for name, e := range map[string]struct{ old, new, want string }{
		"no host":           {"host: mail.example, ", "", "want both"},
		"no port":           {"port: 587, ", "", "want both"},
		"port":              {"587", "65536", "want both"},
		"no TLS said":       {"tls: starttls, ", "", `tls is ""`},
		"TLS":               {"starttls", "opportunistic", `tls is "opportunistic"`},
		"TLS off":           {"starttls", "none", "is not loopback"},
		"no password":       {"password_file: mail.password, ", "", "want user and password_file"},
		"no user":           {"user: ankan, ", "", "want user and password_file"},
		"password in clear": {"host: mail.example, port: 587, tls: starttls", "host: localhost, port: 25, tls: none", "over TLS only"},
		"no from":           {"from: ankan@bureau.example", "from: ankan", `from is "ankan"`},
		"http":              {"https://hooks", "http://hooks", "found http to hooks.example"},
		"http by name":      {"https://hooks.example", "http://localhost.example", "want https"},
		"ftp":               {"https://hooks", "ftp://hooks", "found no URL"},
		"no URL":            {"https://hooks.example/x", "", "found no URL"},
		"no URL at all":     {"https://hooks.example/x", "%zz", "found no URL"},
		"user in URL":       {"https://hooks", "https://a:b@hooks", "want none"},
		"no secret":         {", secret_file: webhook.secret", "", "secret_file is missing"},
		"console":           {"console_url: https", "console_url: http", "console_url: found http"},
		"unknown key":       {"console_url", "consoleurl", "unknown field"},
	} {
		if !strings.Contains(good, e.old) {
			t.Fatalf("%s: %q is not there", name, e.old)
		}
		if _, err := read(strings.Replace(good, e.old, e.new, 1)); err == nil || !strings.Contains(err.Error(), e.want) {
			t.Errorf("%s: got %v, want %q", name, err, e.want)
		}
	}
	for _, doc := range []string{"console_url: https://x", "webhook: {url: \"http://127.0.0.1:80/\", secret_file: s}", "webhook: {url: \"http://[::1]:80/\", secret_file: s}",
		"smtp: {host: localhost, port: 25, tls: none, from: a@b}"} {
		if _, err := read(doc); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

// What is wrong with the files that a configuration names is said at once, and
// no notice is lost by it.
func TestConfigFiles(t *testing.T) {
	h := newHall(t)
	h.tell("order/7", "1002")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	h.must(os.WriteFile(empty, nil, 0o600))
	smtp := SMTP{Host: "localhost", Port: 25, TLS: startTLS, From: "a@b.example"}
	with := func(change func(*SMTP)) Config { s := smtp; change(&s); return Config{SMTP: &s} }
	before := h.store.Size()
	for name, e := range map[string]struct {
		c    Config
		want string
	}{
		"bad":           {Config{SMTP: &SMTP{}}, "want both"},
		"no CA":         {with(func(s *SMTP) { s.CA = "none.pem" }), "smtp: open none.pem"},
		"empty CA":      {with(func(s *SMTP) { s.CA = empty }), "holds no certificate"},
		"no password":   {with(func(s *SMTP) { s.User, s.PasswordFile = "a", "none" }), "smtp: password_file: file does not exist"},
		"no secret":     {Config{Webhook: &Webhook{URL: "https://x", SecretFile: "none"}}, "webhook: secret_file: file does not exist"},
		"short secret":  {Config{Webhook: &Webhook{URL: "https://x", SecretFile: "short"}}, "secret_file has 15 bytes, want at least 16"},
		"no webhook CA": {Config{Webhook: &Webhook{URL: "https://x", SecretFile: "webhook.secret", CA: "none.pem"}}, "webhook: open none.pem"},
	} {
		if err := h.deliver(e.c); err == nil || !strings.Contains(err.Error(), e.want) {
			t.Errorf("%s: got %v, want %q", name, err, e.want)
		}
	}
	if err := h.board.Deliver(t.Context(), hook("https://x"), addresses); err == nil || !strings.Contains(err.Error(), "nothing reads secrets here") {
		t.Error(err)
	}
	if h.store.Size() != before || h.fate()[0] != "" {
		t.Errorf("%v, %v", h.left(before), h.fate())
	}
}

// Whatever a notice says, it is one message to one person.
func FuzzMessage(f *testing.F) {
	f.Add("act.waits", "order/7", "It waits.", "1002@mail.example")
	f.Add("x", "a\r\nBcc: b@c", ".\r\n.\r\nQUIT", "a@b, c@d")
	f.Add("\x00", "\xff", strings.Repeat("x", 2000), "<a@b>")
	c := Config{Site: "bureau", SMTP: &SMTP{From: "ankan@bureau.example"}}
	f.Fuzz(func(t *testing.T, kind, subject, text, to string) {
		m, err := c.message(to, Notice{ID: 7, Kind: kind, Subject: subject, Text: text, At: time.Unix(0, 0)})
		if err != nil {
			return
		}
		var out strings.Builder
		if _, err := m.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		back, err := mail.ReadMessage(strings.NewReader(out.String()))
		if err != nil {
			t.Fatalf("%v in %q", err, out.String())
		}
		for name, n := range map[string]int{"Subject": 1, "To": 1, "From": 1, "Message-Id": 1, "Bcc": 0, "Cc": 0} {
			if got := len(back.Header[name]); got != n {
				t.Errorf("%d headers %s in %q", got, name, out.String())
			}
		}
		if people, err := back.Header.AddressList("To"); err != nil || len(people) != 1 {
			t.Errorf("to %v, %v", people, err)
		}
	})
}

// Whom a contract names gets mail at their own address, and is shown no console;
// what is no mail address goes to a webhook alone.
func TestContacts(t *testing.T) {
	h := newHall(t)
	s := newMailServer(t, noTLS)
	h.must(h.change(func(tx *store.Tx) error {
		return TellContacts(tx, []string{"noc@operator.example", "+911140000000", "Noc <noc@operator.example>"}, Notice{Kind: "order.limit-near", Subject: "order/1", Link: "/acts", Text: "It is near."})
	}))
	before := h.store.Size()
	h.must(h.deliver(s.config(noTLS, "")))
	l, m := s.next(t)
	body, err := io.ReadAll(m.Body)
	if err != nil || !slices.Equal(l.To, []string{"noc@operator.example"}) || !strings.Contains(string(body), "It is near.") || !strings.Contains(string(body), "as a contract asks for") ||
		strings.Contains(string(body), "bureau.example/") || strings.Contains(string(body), "contact:") {
		t.Errorf("%+v, %q, %v", l, body, err)
	}
	s.none(t)
	if got := kinds(h.left(before)); !slices.Equal(got, []string{"notice.sent", "notice.kept"}) {
		t.Errorf("%v", got)
	}
	h.must(h.change(func(tx *store.Tx) error {
		return TellContacts(tx, []string{"+911140000000"}, Notice{Kind: "order.limit-near", Subject: "order/2"})
	}))
	r := newReceiver(t, nil)
	h.must(h.deliver(hook(r.URL)))
	if len(r.came) != 1 {
		t.Errorf("%d came to the webhook", len(r.came))
	}
}
