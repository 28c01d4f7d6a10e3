package exchange

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tool runs an independent program; a missing one fails and names its package.
func tool(t *testing.T, pkg string, env []string, name string, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: install the package %s", name, pkg)
	}
	var out, errs bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errs.String())
	}
	return out.Bytes()
}

// gpgHome is a GnuPG home with one key, and that key's armored public part.
type gpgHome struct {
	t   *testing.T
	dir string
	pub string
	key string // fingerprint
}

func newGPG(t *testing.T, args ...string) *gpgHome {
	dir, err := os.MkdirTemp("", "gpg") // agents need short socket names
	if err != nil {
		t.Fatal(err)
	}
	g := &gpgHome{t: t, dir: dir}
	t.Cleanup(func() {
		exec.Command("gpgconf", "--homedir", dir, "--kill", "all").Run()
		os.RemoveAll(dir)
	})
	if len(args) == 0 {
		args = []string{"--quick-gen-key", "operator@example", "default", "default", "never"}
	}
	g.run(append([]string{"--passphrase", ""}, args...)...)
	g.export()
	return g
}

func (g *gpgHome) run(args ...string) []byte {
	g.t.Helper()
	return tool(g.t, "gnupg", []string{"GNUPGHOME=" + g.dir}, "gpg", append([]string{"--batch", "--yes", "--trust-model", "always"}, args...)...)
}

func (g *gpgHome) export() {
	g.pub = string(g.run("--armor", "--export", "operator@example"))
	for _, line := range strings.Split(string(g.run("--with-colons", "--fingerprint", "operator@example")), "\n") {
		if f := strings.Split(line, ":"); f[0] == "fpr" {
			g.key = f[9]
			return
		}
	}
}

// knows imports a key of ours.
func (g *gpgHome) knows(id *Identity) {
	g.run("--import", writeFile(g.t, "key.asc", []byte(id.PublicKey())))
}

func TestGnuPG(t *testing.T) {
	bureau := newIdentity(t, "bureau")
	g := newGPG(t)
	g.knows(bureau)
	partner := newPartner(t, "operator", g.pub)
	toBureau := newPartner(t, "bureau", bureau.PublicKey())
	content := make([]byte, 300_000)
	rand.Read(content[:150_000]) // half of it compresses
	file := writeFile(t, "order.inp", content)
	out := filepath.Join(t.TempDir(), "order.inp.gpg")

	for name, args := range map[string][]string{
		"binary":             {"-s", "-e"},
		"armored":            {"-s", "-e", "--armor"},
		"not compressed":     {"-s", "-e", "--compress-algo", "none"},
		"zlib":               {"-s", "-e", "--compress-algo", "zlib"},
		"bzip2":              {"-s", "-e", "--compress-algo", "bzip2"},
		"for itself as well": {"-s", "-e", "-r", "operator@example"},
		"hidden receiver":    {"-s", "-e", "--throw-keyids"},
		"SHA-512, AES-128":   {"-s", "-e", "--digest-algo", "SHA512", "--cipher-algo", "AES"},
		"SHA-384":            {"-s", "-e", "--digest-algo", "SHA384"},
	} {
		t.Run("from/"+name, func(t *testing.T) {
			g.run(append(args, "-r", bureau.Fingerprint(), "-o", out, file)...)
			m, err := Open(out, bureau, []*Partner{toBureau, partner}, testLimits)
			if err != nil {
				t.Fatal(err)
			}
			if m.From != partner || m.Signer != g.key || !bytes.Equal(readAll(t, m), content) {
				t.Errorf("got %+v, want signer %s", m, g.key)
			}
		})
	}
	for name, args := range map[string][]string{
		string(NotSigned):    {"-e", "-r", bureau.Fingerprint(), "-o", out, file},
		string(NotEncrypted): {"-s", "-o", out, file},
		string(ByPassphrase): {"-s", "-e", "-c", "--passphrase", "x", "--pinentry-mode", "loopback", "-r", bureau.Fingerprint(), "-o", out, file},
		string(NotForUs):     {"-s", "-e", "-r", "operator@example", "-o", out, file},
		string(NoIntegrity):  {"-s", "-e", "--rfc2440", "--disable-mdc", "--cipher-algo", "3DES", "-r", bureau.Fingerprint(), "-o", out, file},
	} {
		t.Run("from/"+name, func(t *testing.T) {
			g.run(args...)
			if name == string(NoIntegrity) {
				asOld(t, out)
			}
			_, err := Open(out, bureau, []*Partner{partner}, testLimits)
			wantRefusal(t, err, Reason(name))
		})
	}
	t.Run("from/bomb", func(t *testing.T) {
		g.run("-s", "-e", "--compress-algo", "bzip2", "-r", bureau.Fingerprint(), "-o", out, writeFile(t, "zeros", make([]byte, 60<<20)))
		_, err := Open(out, bureau, []*Partner{partner}, testLimits)
		wantRefusal(t, err, TooLarge)
	})
	t.Run("from/somebody else", func(t *testing.T) {
		g.run("-s", "-e", "-r", bureau.Fingerprint(), "-o", out, file)
		_, err := Open(out, bureau, []*Partner{newPartner(t, "stranger", newIdentity(t, "stranger").PublicKey())}, testLimits)
		wantRefusal(t, err, UnknownSigner)
	})
	t.Run("to", func(t *testing.T) {
		sealed := writeFile(t, "a.pgp", seal(t, bureau, partner, content))
		plain := filepath.Join(t.TempDir(), "plain")
		status := string(g.run("--status-fd", "1", "-d", "-o", plain, sealed))
		got, err := os.ReadFile(plain)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("content differs: %v", err)
		}
		for _, want := range []string{"VALIDSIG " + bureau.Fingerprint(), "GOODMDC", "DECRYPTION_INFO 2 9", " order.inp\n"} {
			if !strings.Contains(status, want) {
				t.Errorf("gpg does not say %s:\n%s", want, status)
			}
		}
	})
	t.Run("our key", func(t *testing.T) {
		list := string(g.run("--with-colons", "--list-keys", bureau.Fingerprint()))
		if !strings.Contains(list, "pub:") || !strings.Contains(list, ":19:") || !strings.Contains(list, "sub:") {
			t.Errorf("gpg reads our key as\n%s", list)
		}
	})
}

// asOld turns the packet of type 18 into the old one of type 9, which current
// programs no longer write.
func asOld(t *testing.T, path string) {
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.IndexByte(doc[300:], 0xD2) + 300
	doc[at] = 0xC0 | tagSE
	if err := os.WriteFile(path, doc, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestGnuPGExpiredAndRevoked(t *testing.T) {
	bureau := newIdentity(t, "bureau")
	send := func(g *gpgHome, args ...string) string {
		g.knows(bureau)
		out := filepath.Join(t.TempDir(), "a.gpg")
		g.run(append(args, "-s", "-e", "-r", bureau.Fingerprint(), "-o", out, writeFile(t, "a", []byte("x")))...)
		return out
	}
	t.Run("expired", func(t *testing.T) {
		// Signed while the key was good, by its own clock; it is not now.
		g := newGPG(t, "--faked-system-time", "20240101T000000!", "--quick-gen-key", "operator@example", "default", "default", "1y")
		out := filepath.Join(t.TempDir(), "a.gpg")
		old, err := NewIdentity("bureau", mustTime("2023-01-01"), first(keysOf("bureau")), second(keysOf("bureau")))
		if err != nil {
			t.Fatal(err)
		}
		g.knows(old)
		g.run("--faked-system-time", "20240601T000000!", "-s", "-e", "-r", old.Fingerprint(), "-o", out, writeFile(t, "a", []byte("x")))
		partner := newPartner(t, "operator", g.pub)
		_, err = Open(out, old, []*Partner{partner}, testLimits)
		wantRefusal(t, err, KeyExpired)
		if _, err := Seal(&bytes.Buffer{}, bureau, partner, "a"); err == nil {
			t.Error("sealed for an expired key")
		}
	})
	t.Run("revoked", func(t *testing.T) {
		g := newGPG(t)
		out := send(g)
		rev, err := os.ReadFile(filepath.Join(g.dir, "openpgp-revocs.d", g.key+".rev"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(out, bureau, []*Partner{newPartner(t, "operator", g.pub)}, testLimits); err != nil {
			t.Fatal(err)
		}
		g.run("--import", writeFile(t, "rev", bytes.ReplaceAll(rev, []byte(":-----BEGIN"), []byte("-----BEGIN"))))
		g.export()
		// A revoked key makes no card at all.
		doc, err := newCard(t, "operator", g.pub).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParsePartner("operator.yaml", doc); err == nil || !strings.Contains(err.Error(), "revoked") {
			t.Errorf("card with a revoked key: got %v", err)
		}
		// A partner pinned before is refused when his key comes revoked.
		key, err := readPublicKey(g.pub)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(out, bureau, []*Partner{{card: Card{Name: "operator"}, key: key}}, testLimits)
		wantRefusal(t, err, KeyRevoked)
	})
}

func TestSequoia(t *testing.T) {
	bureau := newIdentity(t, "bureau")
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	sq := func(args ...string) []byte { return tool(t, "sq", nil, "sq", append([]string{"--force"}, args...)...) }
	sq("key", "generate", "--userid", "operator@example", "--export", at("key.pgp"))
	sq("key", "extract-cert", "--output", at("cert.pgp"), at("key.pgp"))
	pub, err := os.ReadFile(at("cert.pgp"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("bureau.pgp"), []byte(bureau.PublicKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	partner := newPartner(t, "operator", string(pub))
	content := bytes.Repeat([]byte("ICCID;IMSI\r\n"), 30_000)
	file := writeFile(t, "order.csv", content)
	for name, args := range map[string][]string{
		"armored": nil, "binary": {"--binary"}, "not compressed": {"--compression", "none"}, "bzip2": {"--compression", "bzip2", "--binary"},
	} {
		t.Run("from/"+name, func(t *testing.T) {
			sq(append([]string{"encrypt", "--recipient-cert", at("bureau.pgp"), "--signer-key", at("key.pgp"), "--output", at("a"), file}, args...)...)
			m, err := Open(at("a"), bureau, []*Partner{partner}, testLimits)
			if err != nil {
				t.Fatal(err)
			}
			if m.From != partner || !bytes.Equal(readAll(t, m), content) {
				t.Errorf("got %+v", m)
			}
		})
	}
	for reason, args := range map[Reason][]string{
		NotSigned:    {"encrypt", "--recipient-cert", at("bureau.pgp"), "--output", at("a"), file},
		NotForUs:     {"encrypt", "--recipient-cert", at("cert.pgp"), "--signer-key", at("key.pgp"), "--output", at("a"), file},
		NotEncrypted: {"sign", "--signer-key", at("key.pgp"), "--output", at("a"), file},
	} {
		t.Run("from/"+string(reason), func(t *testing.T) {
			sq(args...)
			_, err := Open(at("a"), bureau, []*Partner{partner}, testLimits)
			wantRefusal(t, err, reason)
		})
	}
	t.Run("to", func(t *testing.T) {
		sealed := writeFile(t, "a.pgp", seal(t, bureau, partner, content))
		got := sq("decrypt", "--recipient-key", at("key.pgp"), "--signer-cert", at("bureau.pgp"), sealed)
		if !bytes.Equal(got, content) {
			t.Error("content differs")
		}
	})
	t.Run("our key", func(t *testing.T) {
		if out := string(sq("inspect", at("bureau.pgp"))); !strings.Contains(out, bureau.Fingerprint()) || strings.Contains(out, "nvalid") {
			t.Errorf("sq reads our key as\n%s", out)
		}
	})
}

func first(s crypto.Signer, _ crypto.Decrypter) crypto.Signer     { return s }
func second(_ crypto.Signer, d crypto.Decrypter) crypto.Decrypter { return d }
