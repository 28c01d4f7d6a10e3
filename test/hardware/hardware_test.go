//go:build cgo

package hardware

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/ceremony"
	"ankan/hsm"
	"ankan/keys"
	"ankan/parts"
	"ankan/passkey"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/store"
)

// The people, beside the custodians.
const (
	km = "0001"
	so = "0002"
	ha = "0003"
)

var custodians = []string{"0011", "0012", "0013"}

// newToken makes an empty token in a SoftHSM of this test's own, with the
// commands of the how-to.
func newToken(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "directories.tokendir = %s\nlog.level = ERROR\n", dir), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	run(t, "softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "97531864", "--pin", userPIN)
}

// run runs a program, those of softhsm2 and opensc among them, and returns what it prints.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s (scripts/packages installs softhsm2 and opensc): %v: %s", name, err, out)
	}
	return string(out)
}

// A bureau is a site that is founded, and opened as `ankan serve` opens it.
type bureau struct {
	*testing.T
	config *site.Config
	crew   sitetest.Crew
	token  site.Module
	site   *site.Site
	end    func() // of a site that runs
}

func found(t *testing.T) *bureau {
	t.Helper()
	newToken(t)
	b := &bureau{T: t, config: configure(t), crew: sitetest.Founders(t)}
	for _, id := range append([]string{ha}, custodians...) {
		role := "key-custodian"
		if id == ha {
			role = "hsm-administrator"
		}
		k := sitetest.Must[*passkey.Soft](t)(passkey.NewSoft("site.example", "https://site.example"))
		b.crew.Keys[id] = k
		b.crew.People = append(b.crew.People, act.Person{ID: id, Name: "Person " + id, Roles: []string{role}, Employment: act.Permanent, Credential: k.Credential})
	}
	b.token = sitetest.Must[site.Module](t)(site.OpenToken(b.config, true))
	var said strings.Builder
	err := site.Init(t.Context(), b.config, b.token, b.crew.Founding(t, b.config), func(line string) { said.WriteString(line + "\n") }, parts.All()...)
	b.must(err)
	if want := "security module: SoftHSM v2, not certified: no certificate is configured"; !strings.Contains(said.String(), want) {
		t.Errorf("init says %q, want %q", said.String(), want)
	}
	b.must(b.token.Close())
	b.start()
	t.Cleanup(func() {
		if b.end != nil {
			b.stop()
		}
	})
	sitetest.Change(t, b.site, func(tx *store.Tx) error {
		for _, who := range custodians {
			for kind, what := range map[string]string{access.Training: "key-custodian", access.Statement: "custodian"} {
				r := act.Record{Person: who, What: what, At: time.Now(), Until: time.Now().AddDate(1, 0, 0)}
				if err := b.site.People().PutRecord(tx, kind, r, ""); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return b
}

func (b *bureau) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bureau) start() {
	b.Helper()
	b.token = sitetest.Must[site.Module](b)(site.OpenToken(b.config, false))
	b.site = sitetest.Must[*site.Site](b)(site.Open(b.Context(), b.config, b.token, slog.New(slog.DiscardHandler), parts.All()...))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.site.Run(ctx) }()
	b.end = func() { cancel(); b.must(<-done) }
}

func (b *bureau) stop() {
	b.Helper()
	b.end()
	b.end = nil
	b.must(b.site.Close())
	b.must(b.token.Close())
}

// restart ends the site and starts it again, with a login of its own.
func (b *bureau) restart() { b.Helper(); b.stop(); b.start() }

// do has an act asked for, approved and done.
func (b *bureau) do(kind, subject, requester string, approvers ...string) {
	b.Helper()
	p := sitetest.Must[site.Proposal](b)(b.site.Proposal(b.Context(), kind, subject))
	a := act.New(p.Site, kind, subject, requester, p.Params, p.Rule, time.Now())
	sign := func(who string, v act.Verb) act.Signature {
		assertion := sitetest.Must[passkey.Assertion](b)(b.crew.Keys[who].Sign(a.Challenge(v)))
		return act.Signature{Person: who, Verb: v, At: time.Now().UTC().Truncate(time.Second), Assertion: assertion}
	}
	b.must(b.site.Desk().Request(b.Context(), a.Canonical(), sign(requester, act.Request)))
	for _, who := range approvers {
		b.must(b.site.Desk().Sign(b.Context(), a.ID, sign(who, act.Approve)))
	}
	b.must(b.site.Do(b.Context(), a.ID))
}

// hold holds a ceremony to its end. Custodians enter their components.
func (b *bureau) hold(id, plan string, components ...[]byte) {
	b.Helper()
	plan = "ceremony: " + id + "\ntitle: A ceremony at an HSM\nroom: Key room 1\n" + plan +
		fmt.Sprintf("people: {key-manager: %q, hsm-administrator: %q, security-officer: %q}\n", km, ha, so)
	run := b.site.Ceremonies()
	if _, findings, err := run.Draft(b.Context(), km, []byte(plan)); err != nil || len(findings) > 0 {
		b.Fatal(findings, err)
	}
	b.do("ceremony.open", "ceremony/"+id, km, ha, so)
	for range 100 {
		c := sitetest.Must[ceremony.Ceremony](b)(run.Get(b.Context(), id))
		if c.State == ceremony.Closed {
			return
		}
		if c.State != ceremony.Open || c.Now == 0 {
			b.Fatalf("ceremony %s is %s, notes %v", id, c.State, c.Notes)
		}
		step := c.Steps[c.Now-1]
		for _, who := range step.Step.By {
			if step.Step.Effect == ceremony.Enter {
				e := sitetest.Must[ceremony.Entry](b)(run.Begin(b.Context(), id, step.N, who))
				pub := sitetest.Must[any](b)(x509.ParsePKIXPublicKey(e.Agree))
				given := sitetest.Must[hsm.Given](b)(hsm.Give(pub, hsm.Content(e.Content), e.Label, components[step.Part-1]))
				b.must(run.Give(b.Context(), id, step.N, who, given))
			}
			b.do("ceremony.step", fmt.Sprintf("ceremony/%s/%d", id, step.N), who)
		}
	}
	b.Fatalf("ceremony %s does not end", id)
}

// seals is what a transport key makes of a block.
func (b *bureau) seals(key string) string {
	b.Helper()
	dst := make([]byte, aes.BlockSize)
	b.must(b.site.Token().SealColumn(b.Context(), key, dst, []byte("sixteen bytes...")))
	return fmt.Sprintf("%x", dst)
}

// kcv is the check value of a component or key.
func (b *bureau) kcv(m hsm.KCVMethod, value []byte) hsm.KCV {
	b.Helper()
	return sitetest.Must[hsm.KCV](b)(hsm.AESKCV(m, value))
}

// listed is what pkcs11-tool, which knows nothing of Ankan, says of each secret
// and private key, by its label.
func (b *bureau) listed() map[string]string {
	b.Helper()
	out := run(b.T, "pkcs11-tool", "--module", softHSM, "--token-label", label, "--login", "--pin", userPIN, "--list-objects")
	all := map[string]string{}
	kind, name, access := "", "", ""
	for line := range strings.Lines(out + "end object;\n") {
		switch word, value, _ := strings.Cut(strings.TrimSpace(line), ":"); {
		case strings.Contains(line, "Object;") || strings.HasPrefix(line, "Data object") || strings.HasPrefix(line, "end"):
			if kind != "" && !strings.Contains(kind, "Public") && !strings.HasPrefix(kind, "Data") {
				all[name] = access
			}
			kind, name, access = line, "", ""
		case word == "label":
			name = strings.TrimSpace(value)
		case word == "Access":
			access = strings.TrimSpace(value)
		}
	}
	return all
}

// inside is what OpenSC calls a key that was made in the token and never leaves.
const inside = "sensitive, always sensitive, never extractable, local"

// A bureau makes a key and imports one under the signatures of its people,
// starts again, and has both.
func TestSite(t *testing.T) {
	b := found(t)
	const made, imported, order = "transport/op/1", "transport/op/2", "order/DL-9/1"
	b.hold("CER-1", "kind: generate\nkey: {name: "+made+", purpose: transport, algorithm: AES-256, partner: op}\n")

	// Three components, which are a key that this test knows.
	plan, value, components := "parts:\n", make([]byte, 32), [][]byte{}
	for i, who := range custodians {
		part := sha256.Sum256([]byte(who))
		components = append(components, part[:])
		subtle.XORBytes(value, value, part[:])
		plan += fmt.Sprintf("  - {custodian: %q, kcv: %q, form: KTF-%d, bag: B-%d}\n", who, b.kcv(hsm.CMAC, part[:]), i+1, i+1)
	}
	b.hold("CER-2", fmt.Sprintf("kind: import-components\nkey: {name: %s, purpose: transport, algorithm: AES-256, partner: op, kcv: %q}\n", imported, b.kcv(hsm.GP, value))+plan, components...)

	// A key that never leaves wraps a data key.
	_, err := b.site.Token().Generate(b.Context(), order, hsm.Order, hsm.AES256)
	b.must(err)
	dek, wrapped, err := b.site.Token().NewDataKey(b.Context(), order)
	b.must(err)
	sealed := dek.Seal(nil, []byte("data"), []byte("place"))
	dek.Close()
	was := b.seals(made)

	b.restart()
	for _, id := range []string{made, imported, order} {
		if k := sitetest.Must[keys.Key](t)(b.site.Register().Key(b.Context(), id)); k.State != keys.Live {
			t.Errorf("key %s is %s after the restart", id, k.State)
		}
	}
	if now := b.seals(made); now != was {
		t.Errorf("key %s makes %s of a block, and made %s before the restart", made, now, was)
	}
	block := sitetest.Must[cipher.Block](t)(aes.NewCipher(value))
	want := make([]byte, aes.BlockSize)
	block.Encrypt(want, []byte("sixteen bytes..."))
	if got := b.seals(imported); got != fmt.Sprintf("%x", want) {
		t.Errorf("key %s is another than that of the components", imported)
	}
	again, err := b.site.Token().OpenDataKey(b.Context(), order, wrapped)
	b.must(err)
	defer again.Close()
	if text, err := again.Open(nil, sealed, []byte("place")); err != nil || string(text) != "data" {
		t.Errorf("what was sealed before the restart: %q, %v", text, err)
	}

	b.seenFromOutside(map[string]string{
		order:    inside,
		made:     "sensitive, always sensitive, extractable, local", // its purpose Exports
		imported: "sensitive",                                       // people saw its components
	})
	b.logTellsModule(made, imported, order)
	b.stop()
	b.stopsAtPIN()
}

// seenFromOutside compares what pkcs11-tool says of keys with what is wanted;
// the site's standing keys, which it made itself, are inside for ever.
func (b *bureau) seenFromOutside(want map[string]string) {
	b.Helper()
	for _, id := range []string{"log", "site", "pgp-sign", "pgp-open", "agree", "ledger"} {
		want[id] = inside
	}
	if seen := b.listed(); !maps.Equal(seen, want) {
		b.Errorf("pkcs11-tool sees %v, want %v", seen, want)
	}
}

// logTellsModule reads in the log where keys were made, and in which module the
// site began.
func (b *bureau) logTellsModule(made ...string) {
	b.Helper()
	info := b.token.Info()
	if info.Model != "SoftHSM v2" || info.Firmware == "" || info.Serial == "" {
		b.Errorf("the token says of itself %+v", info)
	}
	told := map[string]bool{}
	for _, e := range sitetest.Must[[]audit.Entry](b)(b.site.Store().Entries(b.Context(), 0, 1000)) {
		model := e.Data["module"]
		if e.Kind == "site.started" {
			model = e.Data["token"]
		}
		if model == info.Model && e.Data["serial"] == info.Serial && e.Data["firmware"] == info.Firmware {
			told[e.Kind+" "+e.Subject] = true
		}
	}
	want := []string{"site.started site/maker", "key.found key/log"}
	for _, id := range made {
		want = append(want, "key.there key/"+id)
	}
	for _, w := range want {
		if !told[w] {
			b.Errorf("the log does not tell the module with %s; it does with %v", w, told)
		}
	}
}

// stopsAtPIN starts the program with a wrong PIN. It ends with a code of its
// own, by which systemd knows not to start it again: SoftHSM never locks a
// PIN, HSMs do after a few tries.
func (b *bureau) stopsAtPIN() {
	b.Helper()
	program := filepath.Join(b.TempDir(), "ankan")
	run(b.T, "go", "build", "-o", program, "ankan/cmd/ankan")
	b.must(os.WriteFile(b.config.Token.PKCS11.PIN, []byte("11112222"), 0o600))
	out, err := exec.CommandContext(b.Context(), program, "serve", "-c", filepath.Join(filepath.Dir(b.config.Data), "site.yaml")).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(string(out), "put the PIN of the token's user into ") {
		b.Errorf("ankan serve with a wrong PIN: %v, want code 3: %s", err, out)
	}
	unit := string(sitetest.Must[[]byte](b)(os.ReadFile("../../docs/howto/ankan.service")))
	if !strings.Contains(unit, "\nRestartPreventExitStatus=3\n") {
		b.Error("the sample unit starts the site again after a wrong PIN")
	}
}

// Each refusal names what is wrong and the next step.
func TestRefusals(t *testing.T) {
	newToken(t)
	t.Run("library", func(t *testing.T) {
		c := configure(t, softHSM, "none/lib.so")
		refused(t, c, "stat "+filepath.Join(filepath.Dir(c.Data), "none/lib.so")+": no such file or directory; install the vendor's software, or give the library's path")
	})
	t.Run("not a library", func(t *testing.T) {
		refused(t, configure(t, softHSM, "contract.yaml"), "contract.yaml does not load; want a shared library with C_GetFunctionList")
	})
	t.Run("configuration of the library", func(t *testing.T) {
		t.Setenv("SOFTHSM2_CONF", filepath.Join(t.TempDir(), "none"))
		refused(t, configure(t), "C_Initialize: CKR_GENERAL_ERROR; see whether this user may read the library's configuration")
	})
	t.Run("label", func(t *testing.T) {
		refused(t, configure(t, "token: bureau", "token: buro"), `no such token: label "buro"; there is "bureau" (serial `, "; name one that is there by token, serial or slot")
	})
	t.Run("PIN", func(t *testing.T) {
		c := configure(t)
		if err := os.WriteFile(c.Token.PKCS11.PIN, []byte("11112222"), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, c, "does not take the PIN; it is not tried again: CKR_PIN_INCORRECT", "put the PIN of the token's user into "+c.Token.PKCS11.PIN)
	})
	t.Run("PIN file", func(t *testing.T) {
		c := configure(t)
		if err := os.Remove(c.Token.PKCS11.PIN); err != nil {
			t.Fatal(err)
		}
		refused(t, c, "reading the PIN: stat "+c.Token.PKCS11.PIN+": no such file or directory")
	})
	t.Run("certified", func(t *testing.T) {
		c := configure(t)
		c.Token.RequireCertified = true
		if _, err := site.OpenToken(c, false); err == nil || !strings.Contains(err.Error(), "token: SoftHSM v2 is not certified: no certificate is configured, and require_certified is set") {
			t.Error(err)
		}
	})
}
