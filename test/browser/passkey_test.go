package browser

import (
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/webauthn"

	"ankan/hsm"
	"ankan/passkey"
	"ankan/passkey/attest"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// script calls passkey.js: in body, m is the module and a the arguments.
func script[T any](t *testing.T, p *Person, body string, args any) T {
	t.Helper()
	var out T
	if err := p.Call("/passkey.js", body, args, &out); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return out
}

// refused wants passkey.js to throw a code.
func refused(t *testing.T, p *Person, code, body string, args any) {
	t.Helper()
	if err := p.Call("/passkey.js", body, args, nil); !errors.Is(err, ErrScript) || !strings.HasSuffix(err.Error(), ": "+code) {
		t.Errorf("%s: %v, want %s", body, err, code)
	}
}

// somebody is a person whose passkey is registered.
type somebody struct {
	*Person
	cred  passkey.Credential
	proof passkey.Proof
}

func party(origin string) attest.Party {
	return attest.Party{RPID: "localhost", Origin: origin, Name: "Bureau", Sealing: true}
}

func register(t *testing.T, origin string, key *webauthn.VirtualAuthenticatorOptions) *somebody {
	t.Helper()
	p := chromium.Person(t, key)
	p.Open(origin + "/")
	options, challenge, err := party(origin).Begin("Asha")
	if err != nil {
		t.Fatal(err)
	}
	answer := script[json.RawMessage](t, p, `m.register(a)`, json.RawMessage(options))
	c, proof, err := party(origin).Finish(answer, challenge)
	if err != nil {
		t.Fatal(err)
	}
	return &somebody{p, c, proof}
}

func site(t *testing.T) string { return serve(t, map[string]string{"/": good}) }

// The whole of it, as a person meets it: with a key that gives its PRF at once,
// and with one that gives it at the second touch.
func TestPasskey(t *testing.T) {
	origin := site(t)
	// Most security keys have hmac-secret alone, which answers to a signature
	// and not at the making (CTAP 2.2, 12.7 and 12.8).
	later := Key()
	later.HasPrf, later.HasHmacSecret = false, true
	for name, key := range map[string]*webauthn.VirtualAuthenticatorOptions{"at once": nil, "two touches": later} {
		t.Run(name, func(t *testing.T) {
			s := register(t, origin, key)
			if s.cred.Method != passkey.UnknownMethod || s.cred.BackupEligible || s.cred.Seal == nil || !s.proof.UserVerified {
				t.Errorf("registered %q %q", s.cred.Model, s.cred.Method)
			}
			// The counter tells how often the person was asked.
			touches := map[string]uint32{"two touches": 1, "at once": 0}[name]
			if all := s.Credentials(); len(all) != 1 || uint32(all[0].SignCount) != s.proof.SignCount+touches {
				t.Errorf("the authenticator has %d passkeys, the first with count %v, after it was registered with %d", len(all), all[0].SignCount, s.proof.SignCount)
			}
			last := s.proof.SignCount
			for i := range 2 {
				challenge := [32]byte{byte(i), 1, 2}
				a := script[passkey.Assertion](t, s.Person, `m.sign(m.decode(a.challenge), a.id, "localhost")`, map[string]any{"challenge": passkey.Bytes(challenge[:]), "id": s.cred.ID})
				proof, err := s.cred.Verify(a, challenge)
				if err != nil {
					t.Fatal(err)
				}
				if err := passkey.CheckCounter(last, proof.SignCount); err != nil {
					t.Error(err)
				}
				last = proof.SignCount
			}
			exchange(t, s)
			if e := s.Errors(); len(e) != 0 {
				t.Errorf("console said %q", e)
			}
		})
	}
}

// Five people in one room, each with their own key, at once.
func TestFive(t *testing.T) {
	origin := site(t)
	for i := range 5 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			s := register(t, origin, nil)
			challenge := [32]byte{byte(i)}
			a := script[passkey.Assertion](t, s.Person, `m.sign(m.decode(a.challenge), a.id, "localhost")`, map[string]any{"challenge": passkey.Bytes(challenge[:]), "id": s.cred.ID})
			if _, err := s.cred.Verify(a, challenge); err != nil {
				t.Error(err)
			}
		})
	}
}

// exchange sends components both ways between the browser and the module's
// envelope.
func exchange(t *testing.T, s *somebody) {
	t.Helper()
	public := must(s.cred.Seal.Key())
	peer := must(ecdh.P521().GenerateKey(rand.Reader))
	peerSPKI := passkey.Bytes(must(x509.MarshalPKIXPublicKey(peer.PublicKey())))
	const label = "component 1 of ट्रांसपोर्ट"
	for _, n := range []int{16, 32, 40} {
		secret := make([]byte, n)
		rand.Read(secret)
		given := must(hsm.Give(public, hsm.DataKeyContent, label, secret))
		got := script[passkey.Bytes](t, s.Person, `(async () => {
			const key = await m.unlock(a.id, "localhost", a.seal);
			if (key.extractable || key.type !== "private") throw new Error("extractable");
			const secret = await m.take(key, m.decode(a.seal.public_key), "data key", a.label, m.decode(a.given));
			const text = m.encode(secret);
			m.wipe(secret);
			if (secret.some((b) => b !== 0)) throw new Error("not wiped");
			return text;
		})()`, map[string]any{"id": s.cred.ID, "seal": s.cred.Seal, "label": label, "given": passkey.Bytes(given)})
		if !slices.Equal(got, secret) {
			t.Errorf("of %d bytes: the browser takes something else than was given", n)
		}
		given = hsm.Given(script[passkey.Bytes](t, s.Person, `m.give(m.decode(a.to), "data key", a.label, m.decode(a.secret)).then(m.encode)`,
			map[string]any{"to": peerSPKI, "label": label, "secret": passkey.Bytes(secret)}))
		back, err := hsm.Take(given, hsm.DataKeyContent, label, peer.PublicKey(), peer.ECDH)
		if err != nil || !slices.Equal(back, secret) {
			t.Errorf("of %d bytes: the module does not take what the browser gave: %v", n, err)
		}
		if _, err := hsm.Take(given, hsm.DataKeyContent, "another", peer.PublicKey(), peer.ECDH); !errors.Is(err, hsm.ErrSealed) {
			t.Errorf("under another label: %v", err)
		}
	}
	secret := make([]byte, 32)
	given := must(hsm.Give(public, hsm.DataKeyContent, label, secret))
	for name, change := range map[string]func(args map[string]any){
		"label":   func(args map[string]any) { args["label"] = "another" },
		"content": func(args map[string]any) { args["content"] = "key transport AES-256" },
		"pair":    func(args map[string]any) { args["public"] = peerSPKI },
		"changed": func(args map[string]any) {
			g := slices.Clone(given)
			g[len(g)-1] ^= 1
			args["given"] = passkey.Bytes(g)
		},
		"version": func(args map[string]any) {
			g := slices.Clone(given)
			g[0] = 1
			args["given"] = passkey.Bytes(g)
		},
		"point": func(args map[string]any) {
			g := slices.Clone(given)
			g[9] ^= 1
			args["given"] = passkey.Bytes(g)
		},
		"short": func(args map[string]any) { args["given"] = passkey.Bytes(given[:140]) },
	} {
		args := map[string]any{"id": s.cred.ID, "seal": s.cred.Seal, "public": s.cred.Seal.Public, "content": "data key", "label": label, "given": passkey.Bytes(given)}
		change(args)
		t.Run(name, func(t *testing.T) {
			refused(t, s.Person, "sealed", `m.unlock(a.id, "localhost", a.seal).then((key) => m.take(key, m.decode(a.public), a.content, a.label, m.decode(a.given))).then(m.encode)`, args)
		})
	}
}

// The browser opens a pair that this program made, and so agrees on its form.
// The authenticator is the software passkey's PRF, put in its place.
func TestSealingOfSoft(t *testing.T) {
	origin := site(t)
	p := chromium.Person(t, nil)
	p.Open(origin + "/")
	soft := must(passkey.NewSoft("localhost", origin))
	path := filepath.Join(t.TempDir(), "p.json")
	if err := soft.Save(path); err != nil {
		t.Fatal(err)
	}
	var file struct {
		PRF passkey.Bytes `json:"prf_secret"`
	}
	if err := json.Unmarshal(must(os.ReadFile(path)), &file); err != nil {
		t.Fatal(err)
	}
	salt := sha256.Sum256([]byte("WebAuthn PRF\x00" + passkey.SealingSalt))
	mac := hmac.New(sha256.New, file.PRF)
	mac.Write(salt[:])
	secret := []byte("sixteen bytes of")
	given := must(hsm.Give(must(soft.Credential.Seal.Key()), hsm.DataKeyContent, "label", secret))
	got := script[passkey.Bytes](t, p, `(async () => {
		const prf = m.decode(a.prf);
		navigator.credentials.get = async (o) => {
			if (m.encode(o.publicKey.extensions.prf.eval.first) !== a.salt) throw new Error("salt");
			return { getClientExtensionResults: () => ({ prf: { results: { first: prf.buffer } } }) };
		};
		const key = await m.unlock(a.id, "localhost", a.seal);
		if (prf.some((b) => b !== 0)) throw new Error("what the PRF gave is not wiped");
		return m.encode(await m.take(key, m.decode(a.seal.public_key), "data key", "label", m.decode(a.given)));
	})()`, map[string]any{"prf": passkey.Bytes(mac.Sum(nil)), "salt": passkey.Bytes(passkey.SealingSalt), "id": soft.Credential.ID, "seal": soft.Credential.Seal, "given": passkey.Bytes(given)})
	if string(got) != string(secret) {
		t.Error("the browser takes something else than was given")
	}
	// And the other way, with the key that a command line has.
	public := must(x509.MarshalPKIXPublicKey(must(soft.OpenSealing()).Public()))
	given = hsm.Given(script[passkey.Bytes](t, p, `m.give(m.decode(a.to), "data key", "label", m.decode(a.secret)).then(m.encode)`, map[string]any{"to": passkey.Bytes(public), "secret": passkey.Bytes(secret)}))
	key := must(soft.OpenSealing())
	if back, err := hsm.Take(given, hsm.DataKeyContent, "label", key.Public(), key.ECDH); err != nil || string(back) != string(secret) {
		t.Error("the software passkey does not take what the browser gave:", err)
	}
}

func TestKCV(t *testing.T) {
	p := chromium.Person(t, nil)
	p.Open(site(t) + "/")
	keys := [][]byte{make([]byte, 16), make([]byte, 32), []byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f")}
	for range 8 { // half of all keys have a carry in the subkey
		for _, n := range []int{16, 32} {
			key := make([]byte, n)
			rand.Read(key)
			keys = append(keys, key)
		}
	}
	for i, key := range keys {
		for _, method := range []hsm.KCVMethod{hsm.GP, hsm.CMAC} {
			want := must(hsm.AESKCV(method, key)).String()
			if got := script[string](t, p, `m.kcv(a.method, m.decode(a.key))`, map[string]any{"method": method, "key": passkey.Bytes(key)}); got != want {
				t.Errorf("key %d: %s, want %s", i, got, want)
			}
		}
	}
	for i := range 16 {
		a := []hsm.Algorithm{hsm.TDES, hsm.TDES3}[i%2]
		key := make([]byte, a.KeyLen())
		rand.Read(key)
		want := must(hsm.KeyKCV(hsm.ECBZeros, a, key)).String()
		if got := script[string](t, p, `m.kcv("ECB-ZEROS", m.decode(a.key), "3DES")`, map[string]any{"key": passkey.Bytes(key)}); got != want {
			t.Errorf("%s: %s, want %s", a, got, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	origin := site(t)
	s := register(t, origin, nil)
	other := register(t, origin, nil)
	id := map[string]any{"id": s.cred.ID, "other": other.cred.ID, "seal": s.cred.Seal, "otherSeal": other.cred.Seal, "zeros": passkey.Bytes(make([]byte, 32))}
	const signing = `m.sign(m.decode(a.zeros), a.id, "localhost")`

	// A person is not registered twice.
	options, _, err := party(origin).Begin("Asha", s.cred)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, s.Person, "registered", `m.register(a)`, json.RawMessage(options))

	// Another person's pair, and another person's passkey.
	refused(t, s.Person, "wrong-passkey", `m.unlock(a.id, "localhost", a.otherSeal)`, id)
	refused(t, s.Person, "cancelled", `m.sign(m.decode(a.zeros), a.other, "localhost")`, id)
	refused(t, s.Person, "failed", `m.sign(m.decode(a.zeros), a.id, "evil.example")`, id)

	// Who is not recognised signs, opens and registers nothing.
	s.SetVerified(false)
	refused(t, s.Person, "cancelled", signing, id)
	refused(t, s.Person, "cancelled", `m.unlock(a.id, "localhost", a.seal)`, id)
	options, _, err = party(origin).Begin("Asha")
	if err != nil {
		t.Fatal(err)
	}
	refused(t, s.Person, "cancelled", `m.register(a)`, json.RawMessage(options))
	s.SetVerified(true)

	// A page that asks for less does not get past the site.
	s.SetVerified(false)
	a := script[passkey.Assertion](t, s.Person, `navigator.credentials.get({publicKey: {challenge: m.decode(a.zeros), rpId: "localhost",
		allowCredentials: [{type: "public-key", id: m.decode(a.id)}], userVerification: "discouraged"}}).then(({response: r}) => ({credential_id: a.id,
		authenticator_data: m.encode(r.authenticatorData), client_data_json: m.encode(r.clientDataJSON), signature: m.encode(r.signature)}))`, id)
	if _, err := s.cred.Verify(a, [32]byte{}); !errors.Is(err, passkey.ErrAssertion) || !strings.Contains(err.Error(), "not verified") {
		t.Error(err)
	}
	s.SetVerified(true)

	// An answer is good for its own challenge and site.
	options, challenge, err := party(origin).Begin("Asha")
	if err != nil {
		t.Fatal(err)
	}
	p := chromium.Person(t, nil)
	p.Open(origin + "/")
	answer := script[json.RawMessage](t, p, `m.register(a)`, json.RawMessage(options))
	if _, _, err := party(origin).Finish(answer, [32]byte{1}); !errors.Is(err, attest.ErrRefused) {
		t.Error(err)
	}
	if _, _, err := party("https://localhost").Finish(answer, challenge); !errors.Is(err, attest.ErrRefused) {
		t.Error(err)
	}
	list := party(origin)
	list.Models = []attest.AAGUID{{1}}
	if _, _, err := list.Finish(answer, challenge); !errors.Is(err, attest.ErrRefused) {
		t.Error(err)
	}
	if _, _, err := party(origin).Finish(answer, challenge); err != nil {
		t.Error(err)
	}

	// Synced passkeys are refused.
	synced := Key()
	synced.DefaultBackupEligibility, synced.DefaultBackupState, synced.Transport = true, true, webauthn.AuthenticatorTransportInternal
	p = chromium.Person(t, synced)
	p.Open(origin + "/")
	answer = script[json.RawMessage](t, p, `m.register(a)`, json.RawMessage(options))
	if _, _, err := party(origin).Finish(answer, challenge); !errors.Is(err, attest.ErrRefused) || !strings.Contains(err.Error(), "copied") {
		t.Error(err)
	}
	allowed := party(origin)
	allowed.AllowSynced = true
	if c, _, err := allowed.Finish(answer, challenge); err != nil || !c.BackupEligible {
		t.Error(err)
	}
}

func TestNoPRF(t *testing.T) {
	origin := site(t)
	key := Key()
	key.HasPrf = false
	p := chromium.Person(t, key)
	p.Open(origin + "/")
	options, _, err := party(origin).Begin("Asha")
	if err != nil {
		t.Fatal(err)
	}
	refused(t, p, "no-prf", `m.register(a)`, json.RawMessage(options))
	// Who needs no sealing pair registers it all the same.
	plain := party(origin)
	plain.Sealing = false
	options, challenge, err := plain.Begin("Asha")
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := plain.Finish(script[json.RawMessage](t, p, `m.register(a)`, json.RawMessage(options)), challenge)
	if err != nil || c.Seal != nil {
		t.Fatal(err)
	}
	seal := must(passkey.NewSoft("a", "https://a")).Credential.Seal
	refused(t, p, "no-prf", `m.unlock(a.id, "localhost", a.seal)`, map[string]any{"id": c.ID, "seal": seal})
}

func TestInput(t *testing.T) {
	p := chromium.Person(t, nil)
	p.Open(site(t) + "/")
	public := must(passkey.NewSoft("a", "https://a")).Credential.Seal.Public
	p256 := must(passkey.NewSoft("a", "https://a")).Credential.Public
	args := map[string]any{"public": public, "p256": p256}
	for _, body := range []string{
		`m.decode("A")`, `m.decode("AA==")`, `m.decode("AB")`, `m.decode("+/+/")`, `m.decode("!")`, `m.decode(undefined)`,
		`m.unlock("AA", "localhost")`, `m.unlock("!", "localhost", {public_key: "AA", wrapped: "AA"})`,
		`m.register()`, `m.register({})`, `m.register({challenge: "AA", user: {id: "!"}})`,
		`m.sign(new Uint8Array(31), "AA", "localhost")`, `m.sign("AA", "AA", "localhost")`, `m.sign(new Uint8Array(32), "!", "localhost")`,
		`m.give(m.decode(a.public), "c", "l", new Uint8Array(8))`, `m.give(m.decode(a.public), "c", "l", new Uint8Array(17))`, `m.give(m.decode(a.public), "c", "l", "secret")`,
		`m.give(m.decode(a.public), "c", "", new Uint8Array(16))`, `m.give(m.decode(a.public), "c", "अ".repeat(86), new Uint8Array(16))`,
		`m.give(m.decode(a.p256), "c", "l", new Uint8Array(16))`, `m.give(new Uint8Array(3), "c", "l", new Uint8Array(16))`,
		`m.kcv("GP", new Uint8Array(24))`, `m.kcv("ECB-ZEROS", new Uint8Array(16))`, `m.kcv("GP", "key")`,
		`m.kcv("GP", new Uint8Array(16), "3DES")`, `m.kcv("ECB-ZEROS", new Uint8Array(32), "3DES")`, `m.kcv("ECB-ZEROS", "key", "3DES")`,
	} {
		refused(t, p, "input", body, args)
	}
	// Every code is in the list that pages translate.
	var known []string
	if err := p.Call("/passkey.js", `m.codes`, nil, &known); err != nil || len(known) != 8 {
		t.Error(known, err)
	}
}

// A page that did not come over TLS has no passkeys.
func TestUnsupported(t *testing.T) {
	origin := strings.Replace(site(t), "localhost", "bureau.test", 1)
	p := chromium.Person(t, nil)
	p.Open(origin + "/")
	refused(t, p, "unsupported", `m.register({})`, nil)
	refused(t, p, "unsupported", `m.sign(new Uint8Array(32), "AA", "bureau.test")`, nil)
}
