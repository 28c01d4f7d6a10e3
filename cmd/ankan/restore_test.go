package main

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ankan/act"
	"ankan/hsm"
	"ankan/hsm/soft"
	"ankan/parts"
	"ankan/passkey"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/store/storetest"
)

// TestRestoreBrowser restores by the command: one custodian's passkey is a file, two
// are of devices, which open their shares on the page as passkey.js does.
func TestRestoreBrowser(t *testing.T) {
	c := sitetest.Config(t, "cards", site.Operator)
	config := filepath.Join(filepath.Dir(c.Data), "site.yaml")
	l := sitetest.Must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	crew := sitetest.Crew{Keys: map[string]act.Key{}}
	for _, who := range [][2]string{{"0001", "key-manager"}, {"0002", "security-officer"}, {"0003", "hsm-administrator"}, {"0004", "auditor"}} {
		k := sitetest.Must[*passkey.Soft](t)(passkey.NewSoft("localhost", "http://localhost:"+port))
		if who[0] != "0001" { // taken for that of a device
			k.Credential.Method, k.Credential.Model = passkey.UnknownMethod, "Security key A"
		}
		crew.Keys[who[0]] = k
		crew.People = append(crew.People, act.Person{ID: who[0], Name: "Person", Roles: who[1:], Employment: act.Permanent, Credential: k.Credential})
	}
	token := sitetest.Must[*soft.Token](t)(soft.Create(filepath.Join(filepath.Dir(c.Data), "token"), []byte("a passphrase for tests"), soft.WithCost(soft.LowestCost())))
	if err := site.Init(t.Context(), c, token, crew.Founding(t, c), func(string) {}, parts.All()...); err != nil {
		t.Fatal(err)
	}
	s := sitetest.Must[*site.Site](t)(site.Open(t.Context(), c, token, slog.New(slog.DiscardHandler), parts.All()...))
	file := filepath.Join(t.TempDir(), "cards.backup")
	write := func(w io.Writer) error {
		_, err := s.Backup(t.Context(), w, "test", site.BackupPlan{Custodians: []string{"0001", "0002", "0003"}, Threshold: 2})
		return err
	}
	if err := c.NewBackup(file, write, func(io.Reader) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for _, close := range []func() error{s.Close, token.Close} {
		if err := close(); err != nil {
			t.Fatal(err)
		}
	}
	// The machine is lost. The module and a file are left, and what people have.
	if err := os.RemoveAll(c.Data); err != nil {
		t.Fatal(err)
	}
	doc := sitetest.Must[[]byte](t)(os.ReadFile(config))
	doc = bytes.Replace(doc, []byte("file: data/token"), []byte("file: token"), 1)
	doc = append(doc, "console: {listen: \"127.0.0.1:"+port+"\"}\n"...)
	if storetest.OnPostgres() {
		doc = bytes.Replace(doc, []byte(c.Server.URL), []byte(storetest.New(t)), 1)
	}
	if err := os.WriteFile(config, doc, 0o600); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(t.TempDir(), "0001.passkey")
	if err := crew.Keys["0001"].(*passkey.Soft).Save(own); err != nil {
		t.Fatal(err)
	}

	out, in := io.Pipe()
	var errs bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(t.Context(), []string{"restore", file, "-c", config, "--browser", "--share", own}, in, &errs)
		in.Close()
	}()
	said := bufio.NewScanner(out)
	var lines []string
	line := func(begins string) string {
		t.Helper()
		for said.Scan() {
			lines = append(lines, said.Text())
			if strings.HasPrefix(strings.TrimSpace(said.Text()), begins) {
				return said.Text()
			}
		}
		t.Fatalf("nothing begins %q:\n%s\n%s", begins, strings.Join(lines, "\n"), errs.String())
		return ""
	}
	line("The shares of 0001 are here.")
	line("1 more of its 3 custodians open it at http://localhost:" + port)
	words := strings.Fields(line("0003"))
	line("Ctrl-C ends it")

	web := &http.Client{Jar: sitetest.Must[*cookiejar.Jar](t)(cookiejar.New(nil))}
	at := "http://localhost:" + port + "/"
	var page string
	post := func(form url.Values) {
		t.Helper()
		var r *http.Response
		for { // until it listens
			var err error
			if r, err = web.PostForm(at, form); err == nil {
				break
			}
			if t.Context().Err() != nil || len(code) > 0 {
				t.Fatal(err, errs.String())
			}
		}
		defer r.Body.Close()
		page = string(sitetest.Must[[]byte](t)(io.ReadAll(r.Body)))
	}
	post(url.Values{"step": {"code"}, "person": {"0003"}, "code": {words[len(words)-1]}})
	m := regexp.MustCompile(`data-bring="([^"]*)"`).FindStringSubmatch(page)
	if m == nil {
		t.Fatal(page)
	}
	var b struct {
		Given   passkey.Bytes
		Content hsm.Content
		Label   string
		To      struct{ SPKI passkey.Bytes }
	}
	if err := json.Unmarshal([]byte(html.UnescapeString(m[1])), &b); err != nil {
		t.Fatal(err)
	}
	k := sitetest.Must[*passkey.SealingKey](t)(crew.Keys["0003"].(*passkey.Soft).OpenSealing())
	secret := sitetest.Must[[]byte](t)(hsm.Take(hsm.Given(b.Given), b.Content, b.Label, k.Public(), k.ECDH))
	given := sitetest.Must[hsm.Given](t)(hsm.Give(sitetest.Must[any](t)(x509.ParsePKIXPublicKey(b.To.SPKI)), b.Content, b.Label, secret))
	go func() { // its answer comes when the terminal has said so
		r, err := web.PostForm(at, url.Values{"step": {"open"}, "given": {base64.RawURLEncoding.EncodeToString(given)}})
		if err != nil {
			t.Error(err)
			return
		}
		r.Body.Close()
	}()
	for _, begins := range []string{"person 0003 handed in their share, 2 of 2", "verified: cards/", "reading the backup's rows", "restored: ", "site cards is restored as it was ", "next: ankan fsck"} {
		line(begins)
	}
	for said.Scan() {
	}
	if n := <-code; n != exitDone {
		t.Errorf("exit code %d: %s", n, errs.String())
	}
	if _, err := os.Stat(c.CardFile()); err != nil {
		t.Error(err)
	}
}
