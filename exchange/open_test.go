package exchange

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"ankan/hsm"
)

func TestSealOpen(t *testing.T) {
	bureau, operator, toBureau, toOperator := bureauAndOperator(t)
	for _, size := range []int{0, 1, 500, 3*piece + 17} {
		content := make([]byte, size)
		rand.Read(content)
		sealed := seal(t, operator, toBureau, content)
		m, err := Open(writeFile(t, "a", sealed), bureau, []*Partner{toBureau, toOperator}, testLimits)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if m.From != toOperator || m.Signer != operator.Fingerprint() || m.Size != int64(size) ||
			m.Plain != sha256.Sum256(content) || m.SHA256 != sha256.Sum256(sealed) || time.Since(m.Signed) > time.Minute {
			t.Errorf("%d bytes: got %+v", size, m)
		}
		for range 2 {
			if !bytes.Equal(readAll(t, m), content) {
				t.Errorf("%d bytes: content differs", size)
			}
		}
		if err := m.Read(func(io.Reader) error { return nil }); err != nil {
			t.Errorf("%d bytes: reading nothing: %v", size, err)
		}
		mine := errors.New("mine")
		if err := m.Read(func(io.Reader) error { return mine }); err != mine {
			t.Errorf("%d bytes: got %v, want the reader's own error", size, err)
		}
	}
}

func TestIdentityIsRebuilt(t *testing.T) {
	sign, open := keysOf("bureau")
	created := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	a, err := NewIdentity("Bureau", created, sign, open)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewIdentity("Bureau", created, sign, open)
	if err != nil {
		t.Fatal(err)
	}
	c, err := LoadIdentity(a.PublicKey(), sign, open)
	if err != nil {
		t.Fatal(err)
	}
	if a.Fingerprint() != b.Fingerprint() || a.Fingerprint() != c.Fingerprint() || c.PublicKey() != a.PublicKey() || len(a.Fingerprint()) != 40 {
		t.Errorf("fingerprints %s, %s, %s", a.Fingerprint(), b.Fingerprint(), c.Fingerprint())
	}
	otherSign, otherOpen := keysOf("operator")
	refused := map[string]func() (*Identity, error){
		"other signer":    func() (*Identity, error) { return LoadIdentity(a.PublicKey(), otherSign, open) },
		"other decrypter": func() (*Identity, error) { return LoadIdentity(a.PublicKey(), sign, otherOpen) },
		"no signer":       func() (*Identity, error) { return NewIdentity("x", created, nil, open) },
		"no decrypter":    func() (*Identity, error) { return NewIdentity("x", created, sign, nil) },
		"wrong kinds": func() (*Identity, error) {
			return NewIdentity("x", created, otherOpen.(moduleDecrypter).Decrypter.(crypto.Signer), open)
		},
		"wrong decrypter": func() (*Identity, error) { return NewIdentity("x", created, sign, ecDecrypter{sign}) },
		"empty name":      func() (*Identity, error) { return NewIdentity(" ", created, sign, open) },
		"bad name":        func() (*Identity, error) { return NewIdentity("a<b>", created, sign, open) },
		"not a key":       func() (*Identity, error) { return LoadIdentity("hello", sign, open) },
		"two keys":        func() (*Identity, error) { return LoadIdentity(twoKeys(t, a, newIdentity(t, "operator")), sign, open) },
	}
	for name, f := range refused {
		if id, err := f(); err == nil || id != nil {
			t.Errorf("%s: not refused", name)
		}
	}
}

// ecDecrypter claims to decrypt with a key that cannot.
type ecDecrypter struct{ crypto.Signer }

func (ecDecrypter) Decrypt(io.Reader, []byte, crypto.DecrypterOpts) ([]byte, error) { return nil, nil }

func twoKeys(t *testing.T, ids ...*Identity) string {
	return armored(t, openpgp.PublicKeyType, func(w io.Writer) {
		for _, id := range ids {
			if err := id.entity.Serialize(w); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func armored(t testing.TB, kind string, write func(io.Writer)) string {
	var b strings.Builder
	w, err := armor.Encode(&b, kind, nil)
	if err != nil {
		t.Fatal(err)
	}
	write(w)
	w.Close()
	return b.String()
}

func TestZeroValuesRefuse(t *testing.T) {
	bureau, _, toBureau, _ := bureauAndOperator(t)
	path := writeFile(t, "a", seal(t, bureau, toBureau, nil))
	var none *Identity
	errs := map[string]error{}
	_, errs["seal, no identity"] = Seal(io.Discard, none, toBureau, "")
	_, errs["seal, zero identity"] = Seal(io.Discard, &Identity{}, toBureau, "")
	_, errs["seal, no partner"] = Seal(io.Discard, bureau, nil, "")
	_, errs["seal, zero partner"] = Seal(io.Discard, bureau, &Partner{}, "")
	_, errs["open, no identity"] = Open(path, none, []*Partner{toBureau}, testLimits)
	_, errs["open, zero identity"] = Open(path, &Identity{}, []*Partner{toBureau}, testLimits)
	_, errs["open, zero partner"] = Open(path, bureau, []*Partner{{}}, testLimits)
	_, errs["open, no partner"] = Open(path, bureau, nil, testLimits)
	_, errs["open, zero limits"] = Open(path, bureau, []*Partner{toBureau}, Limits{})
	_, errs["open, no file"] = Open(path+"x", bureau, []*Partner{toBureau}, testLimits)
	errs["read, zero message"] = (&Message{}).Read(func(io.Reader) error { return nil })
	for name, err := range errs {
		if err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
	if none.Fingerprint() != "" || (&Partner{}).Fingerprint() != "" {
		t.Error("zero values have a fingerprint")
	}
}

// made is a message made with the library, to have it wrong in one way.
func made(t testing.TB, signer *Identity, to []*openpgp.Entity, config *packet.Config, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	params := &openpgp.EncryptParams{Config: config}
	if signer != nil {
		params.Signers = []*openpgp.Entity{signer.entity}
	}
	w, err := openpgp.EncryptWithParams(&b, to, nil, params)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(content)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// v1 makes messages with the integrity check of old, as GnuPG does.
func v1(e *openpgp.Entity) *openpgp.Entity {
	c := *e
	c.Identities = map[string]*openpgp.Identity{}
	for name, id := range e.Identities {
		i, cert := *id, *id.SelfCertifications[0].Packet
		cert.SEIPDv2 = false
		i.SelfCertifications = []*packet.VerifiableSignature{packet.NewVerifiableSig(&cert)}
		valid := true
		i.SelfCertifications[0].Valid = &valid
		c.Identities[name] = &i
	}
	return &c
}

func TestOpenRefuses(t *testing.T) {
	bureau, operator, toBureau, toOperator := bureauAndOperator(t)
	stranger := newIdentity(t, "stranger")
	content := bytes.Repeat([]byte("IMSI 404 "), 20000)
	good := seal(t, operator, toBureau, content)
	goodV1 := made(t, operator, []*openpgp.Entity{v1(bureau.entity)}, sealConfig(), content)
	plain := func(sign bool) []byte {
		var b bytes.Buffer
		w, err := openpgp.Sign(&b, []*openpgp.Entity{operator.entity}, nil, sealConfig())
		if err != nil {
			t.Fatal(err)
		}
		w.Write(content)
		w.Close()
		return b.Bytes()
	}(true)
	flip := func(b []byte, at int) []byte { c := bytes.Clone(b); c[at] ^= 1; return c }
	armoredGood := []byte(armored(t, "PGP MESSAGE", func(w io.Writer) { w.Write(good) }))
	withPassphrase := func() []byte {
		var b bytes.Buffer
		w, err := openpgp.EncryptWithParams(&b, []*openpgp.Entity{v1(bureau.entity)}, nil, &openpgp.EncryptParams{
			Signers: []*openpgp.Entity{operator.entity}, Passwords: [][]byte{[]byte("x")}, Config: sealConfig()})
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		return b.Bytes()
	}()
	bomb := func() []byte {
		c := sealConfig()
		c.DefaultCompressionAlgo = packet.CompressionZLIB
		e := v1(bureau.entity)
		for _, id := range e.Identities {
			id.SelfCertifications[0].Packet.PreferredCompression = []uint8{2}
		}
		return made(t, operator, []*openpgp.Entity{e}, c, make([]byte, 40<<20))
	}()
	pkesk := func(b []byte) []byte { return b[:bytes.IndexByte(b[5:], 0xD2)] }

	for _, test := range []struct {
		name   string
		file   []byte
		reason Reason
	}{
		{"empty", nil, NotOpenPGP},
		{"text", []byte("ICCID;IMSI\n"), NotOpenPGP},
		{"garbage", []byte{0x85, 0x00, 0xFF, 3}, Truncated},
		{"signed only", plain, NotEncrypted},
		{"cleartext signature", []byte("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nx\n"), NotEncrypted},
		{"armored key", []byte(bureau.PublicKey()), NotOpenPGP},
		{"armor ends in header", []byte(armorHead), Truncated},
		{"armor is not base64", []byte(armorHead + "\n\n!!!!\n" + armorTail), Damaged},
		{"passphrase too", withPassphrase, ByPassphrase},
		{"encrypted to a stranger", made(t, operator, []*openpgp.Entity{stranger.entity}, sealConfig(), content), NotForUs},
		{"our key id, other key", flip(goodV1, 40), NotForUs},
		{"not signed", made(t, nil, []*openpgp.Entity{bureau.entity}, sealConfig(), content), NotSigned},
		{"not signed, old", made(t, nil, []*openpgp.Entity{v1(bureau.entity)}, sealConfig(), content), NotSigned},
		{"signed by a stranger", made(t, stranger, []*openpgp.Entity{bureau.entity}, sealConfig(), content), UnknownSigner},
		{"signed by ourselves", made(t, bureau, []*openpgp.Entity{bureau.entity}, sealConfig(), content), UnknownSigner},
		{"meant for another", forwarded(t, operator, bureau, stranger, content), BadSignature},
		{"damaged", flip(good, len(good)/2), Damaged},
		{"damaged at the end", flip(good, len(good)-1), Damaged},
		{"damaged, old", flip(goodV1, len(goodV1)/2), Damaged},
		{"damaged at the end, old", flip(goodV1, len(goodV1)-1), Damaged},
		{"truncated", good[:len(good)-1], Truncated},
		{"truncated in the middle", good[:len(good)/2], Truncated},
		{"session key alone", pkesk(goodV1), Truncated},
		{"truncated armor", armoredGood[:len(armoredGood)/2], Truncated},
		{"twice", append(bytes.Clone(good), good...), Trailing},
		{"one byte more", append(bytes.Clone(good), 0), Trailing},
		{"armor with text after", append(bytes.Clone(armoredGood), "\nhello"...), Trailing},
		{"armored twice", append(append(bytes.Clone(armoredGood), '\n'), armoredGood...), Trailing},
		{"bomb", bomb, TooLarge},
		{"no integrity protection", append(pkesk(goodV1), 0xC9, 3, 1, 2, 3), NotForUs},
		{"GnuPG's own packet", append(append([]byte{}, 0xD4, 1), 0), NotOpenPGP},
		{"marker", append([]byte{0xCA, 3, 'P', 'G', 'P'}, good...), NotOpenPGP},
		{"session key in parts", []byte{0xC1, 0xE1, 1, 2}, NotOpenPGP},
		{"session key of version 9", []byte{0xC1, 3, 9, 2, 1}, NotOpenPGP},
		{"no length", []byte{0x87, 1}, NotOpenPGP},
	} {
		if test.name == "no integrity protection" {
			// An old packet after a session key of ours.
			test.file, test.reason = append(ours(bureau), 0xC9, 3, 1, 2, 3), NoIntegrity
		}
		t.Run(test.name, func(t *testing.T) {
			m, err := Open(writeFile(t, "in.pgp", test.file), bureau, []*Partner{toOperator}, testLimits)
			if m != nil {
				t.Error("got a message")
			}
			wantRefusal(t, err, test.reason)
		})
	}
	t.Run("limits", func(t *testing.T) {
		path := writeFile(t, "in.pgp", good)
		for _, l := range []Limits{
			{MaxPlain: int64(len(content)) - 1, MaxCipher: 64 << 20},
			{MaxPlain: 64 << 20, MaxCipher: int64(len(good)) - 1},
		} {
			_, err := Open(path, bureau, []*Partner{toOperator}, l)
			wantRefusal(t, err, TooLarge)
		}
		if _, err := Open(path, bureau, []*Partner{toOperator}, Limits{MaxPlain: int64(len(content)), MaxCipher: int64(len(good))}); err != nil {
			t.Error(err)
		}
	})
	t.Run("bomb below the ratio, above the limit", func(t *testing.T) {
		_, err := Open(writeFile(t, "in.pgp", bomb), bureau, []*Partner{toOperator}, Limits{MaxPlain: 1 << 10, MaxCipher: 64 << 20})
		wantRefusal(t, err, TooLarge)
	})
}

// ours is a session key packet that names our subkey and holds nothing.
func ours(me *Identity) []byte {
	id := me.entity.Subkeys[0].PublicKey.KeyId
	b := []byte{0xC1, 13, 3}
	for s := 56; s >= 0; s -= 8 {
		b = append(b, byte(id>>s))
	}
	return append(b, 1, 0, 8, 0xFF)
}

// forwarded is what a dishonest receiver makes of a message: the signature
// that was meant for him, encrypted to another.
func forwarded(t *testing.T, signer, victim, receiver *Identity, content []byte) []byte {
	var signed bytes.Buffer
	key := signer.entity.PrivateKey
	sig := selfSignature(key, packet.SigTypeBinary, time.Now())
	sig.IntendedRecipients = []*packet.Recipient{{KeyVersion: 4, Fingerprint: receiver.entity.PrimaryKey.Fingerprint}}
	ops := &packet.OnePassSignature{Version: 3, SigType: packet.SigTypeBinary, Hash: crypto.SHA256, PubKeyAlgo: key.PubKeyAlgo, KeyId: key.KeyId, IsLast: true}
	if err := ops.Serialize(&signed); err != nil {
		t.Fatal(err)
	}
	lit, _ := packet.SerializeLiteral(keepOpen{&signed}, true, "", 0)
	lit.Write(content)
	lit.Close()
	h := sha256.New()
	h.Write(content)
	if err := sig.Sign(h, key, sealConfig()); err != nil {
		t.Fatal(err)
	}
	sig.Serialize(&signed)

	var b bytes.Buffer
	session := make([]byte, 32)
	sub := victim.entity.Subkeys[0].PublicKey
	if err := packet.SerializeEncryptedKeyAEAD(&b, sub, packet.CipherAES256, true, session, sealConfig()); err != nil {
		t.Fatal(err)
	}
	w, err := packet.SerializeSymmetricallyEncrypted(&b, packet.CipherAES256, true,
		packet.CipherSuite{Cipher: packet.CipherAES256, Mode: packet.AEADModeGCM}, session, sealConfig())
	if err != nil {
		t.Fatal(err)
	}
	w.Write(signed.Bytes())
	w.Close()
	return b.Bytes()
}

type keepOpen struct{ io.Writer }

func (keepOpen) Close() error { return nil }

func TestOpenOldSignatureAndFuture(t *testing.T) {
	bureau, operator, _, toOperator := bureauAndOperator(t)
	at := func(when time.Time) error {
		c := sealConfig()
		c.Time = func() time.Time { return when }
		_, err := Open(writeFile(t, "a", made(t, operator, []*openpgp.Entity{bureau.entity}, c, nil)), bureau, []*Partner{toOperator}, testLimits)
		return err
	}
	if err := at(time.Now().Add(clockSkew / 2)); err != nil {
		t.Errorf("a clock a little ahead: %v", err)
	}
	wantRefusal(t, at(time.Now().Add(2*clockSkew)), BadSignature)
}

func TestReadRefusesChangedFile(t *testing.T) {
	bureau, operator, toBureau, toOperator := bureauAndOperator(t)
	content := make([]byte, 4*piece)
	rand.Read(content)
	sealed := seal(t, operator, toBureau, content)
	other := seal(t, operator, toBureau, content)
	flipped := bytes.Clone(sealed)
	flipped[3*piece+5] ^= 1
	for name, b := range map[string][]byte{
		"another message": other, "flipped": flipped, "shorter": sealed[:2*piece], "cut": sealed[:len(sealed)-1],
		"longer": append(bytes.Clone(sealed), 0), "empty": nil,
	} {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, "a", sealed)
			m, err := Open(path, bureau, []*Partner{toOperator}, testLimits)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			var got []byte
			err = m.Read(func(r io.Reader) (err error) { got, err = io.ReadAll(r); return err })
			wantRefusal(t, err, Changed)
			if !bytes.HasPrefix(content, got) {
				t.Error("content was given out that Open had not verified")
			}
			err = m.Read(func(r io.Reader) error { return nil }) // a reader that looks away
			wantRefusal(t, err, Changed)
		})
	}
}

// away is a module that does nothing so many times.
type away struct {
	crypto.Decrypter
	times int
}

var errAway = errors.New("the module does not answer")

func (a *away) Decrypt(random io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	if a.times--; a.times >= 0 {
		return nil, errAway
	}
	return a.Decrypter.Decrypt(random, msg, opts)
}

// A message is not refused because the module was away for a moment; one that
// is for somebody else still is.
func TestModuleAway(t *testing.T) {
	bureau, operator, toBureau, toOperator := bureauAndOperator(t)
	path := writeFile(t, "a", seal(t, operator, toBureau, []byte("order")))
	sign, open := keysOf("bureau")
	var refusal *Refusal
	me, err := LoadIdentity(bureau.PublicKey(), sign, &away{open, 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, me, []*Partner{toOperator}, testLimits); !errors.Is(err, errAway) || errors.As(err, &refusal) {
		t.Errorf("got %v, want what the module says and no refusal", err)
	}
	if _, err := Open(path, me, []*Partner{toOperator}, testLimits); err != nil {
		t.Errorf("when it is back: %v", err)
	}
	if me, err = LoadIdentity(bureau.PublicKey(), sign, failing{open, hsm.ErrSealed}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, me, []*Partner{toOperator}, testLimits); !errors.As(err, &refusal) || refusal.Reason != NotForUs {
		t.Errorf("a session key that does not open: %v", err)
	}
}

// failing is a decrypter that always fails.
type failing struct {
	crypto.Decrypter
	err error
}

func (f failing) Decrypt(io.Reader, []byte, crypto.DecrypterOpts) ([]byte, error) { return nil, f.err }

func TestSealStopsAtErrors(t *testing.T) {
	bureau, operator, toBureau, _ := bureauAndOperator(t)
	w, err := Seal(fullDisk{}, operator, toBureau, "a")
	for range 10 {
		if err == nil {
			_, err = w.Write(make([]byte, piece))
		}
	}
	if err == nil {
		t.Error("a full disk was not noticed")
	}
	if w != nil && w.Close() == nil {
		t.Error("a broken message was closed")
	}
	w, err = Seal(io.Discard, operator, toBureau, "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err == nil || w.Close() == nil {
		t.Error("a closed message was written to")
	}
	weak := *toBureau
	weak.key = v1(bureau.entity)
	for _, id := range weak.key.Identities {
		id.SelfCertifications[0].Packet.PreferredSymmetric = []uint8{uint8(packet.CipherAES128)}
	}
	if _, err := Seal(io.Discard, operator, &weak, "a"); err == nil || !strings.Contains(err.Error(), "AES-256") {
		t.Errorf("AES-128: got %v", err)
	}
	_, failing := keysOf("operator")
	broken, err := NewIdentity("x", time.Now(), failingSigner{}, failing)
	if err == nil || broken != nil {
		t.Error("a module that does not sign made an identity")
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

type failingSigner struct{}

func (failingSigner) Public() crypto.PublicKey { s, _ := keysOf("operator"); return s.Public() }
func (failingSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("module is off")
}

func FuzzFrame(f *testing.F) {
	bureau := newIdentity(f, "bureau")
	f.Add(ours(bureau))
	f.Add(append(ours(bureau), 0xD2, 3, 1, 2, 3))
	f.Add(append(ours(bureau), 0xD2, 0xE1, 1, 2, 1, 3))
	f.Add(append(ours(bureau), 0xD2, 0xFF, 0, 0, 0, 1, 1, 0))
	f.Add(append([]byte{0x84, 13}, append(ours(bureau)[2:], 0xD2, 0)...))
	f.Add([]byte{0xC1, 0xC0, 0, 3})
	f.Fuzz(func(t *testing.T, doc []byte) {
		fr := newFrame(bytes.NewReader(doc), bureau.reads)
		out, err := io.ReadAll(fr)
		var r *Refusal
		if err != nil && !errors.As(err, &r) {
			t.Fatalf("got %v, want a refusal", err)
		}
		if err != nil {
			if _, again := fr.Read(make([]byte, 1)); again != r {
				t.Fatalf("refused with %v, then %v", err, again)
			}
			return
		}
		if !fr.done || len(fr.keys) == 0 {
			t.Fatal("accepted without session keys and data")
		}
		// What is passed on is accepted again, unchanged: one form, no second
		// reading of it.
		again, err := io.ReadAll(newFrame(bytes.NewReader(out), bureau.reads))
		if err != nil || !bytes.Equal(again, out) {
			t.Fatalf("passed on %x, of which came %x, %v", out, again, err)
		}
		// Another reader finds the same packets, and nothing after them.
		packets := packet.NewOpaqueReader(bytes.NewReader(out))
		for i := range len(fr.keys) + 1 {
			want := uint8(tagPKESK)
			if i == len(fr.keys) {
				want = tagSEIPD
			}
			if p, err := packets.Next(); err != nil || p.Tag != want {
				t.Fatalf("packet %d of %x: %+v, %v, want type %d", i, out, p, err, want)
			}
		}
		if p, err := packets.Next(); err != io.EOF {
			t.Fatalf("%x goes on with %+v, %v", out, p, err)
		}
		if doc[0]&0x40 != 0 && len(fr.keys) == 1 && !bytes.Equal(out, doc) {
			t.Fatalf("changed %x to %x", doc, out)
		}
	})
}

func FuzzOpen(f *testing.F) {
	bureau, operator, toBureau, toOperator := bureauAndOperator(f)
	content := []byte("404 45 0000000001")
	f.Add(seal(f, operator, toBureau, content))
	f.Add(made(f, operator, []*openpgp.Entity{v1(bureau.entity)}, sealConfig(), content))
	f.Add([]byte(armored(f, "PGP MESSAGE", func(w io.Writer) { w.Write(seal(f, operator, toBureau, content)) })))
	f.Fuzz(func(t *testing.T, doc []byte) {
		m, err := Open(writeFile(t, "a", doc), bureau, []*Partner{toOperator}, Limits{MaxPlain: 1 << 20, MaxCipher: 1 << 20})
		if err != nil {
			return
		}
		if got := readAll(t, m); !bytes.Equal(got, content) {
			t.Fatalf("opened what nobody signed: %q", got)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	bureau, operator, toBureau, _ := bureauAndOperator(b)
	old := *toBureau
	old.key = v1(bureau.entity)
	line := bytes.Repeat([]byte("8991450000000000001 404450000000001 "), 4)
	for name, to := range map[string]*Partner{"to-ankan": toBureau, "to-gnupg": &old} {
		b.Run(name, func(b *testing.B) {
			w, err := Seal(io.Discard, operator, to, "")
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Write(line); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	bureau, operator, toBureau, toOperator := bureauAndOperator(b)
	content := bytes.Repeat([]byte("8991450000000000001 404450000000001\n"), 1<<20)
	for name, sealed := range map[string][]byte{
		"from-ankan": seal(b, operator, toBureau, content),
		"from-gnupg": made(b, operator, []*openpgp.Entity{v1(bureau.entity)}, sealConfig(), content),
	} {
		path := writeFile(b, "a", sealed)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				m, err := Open(path, bureau, []*Partner{toOperator}, testLimits)
				if err != nil {
					b.Fatal(err)
				}
				if err := m.Read(func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestReasonsAreNamed(t *testing.T) {
	if got := fmt.Sprint(&Refusal{Reason: Trailing, File: "a.pgp", Text: "found data"}); got != "a.pgp: found data" {
		t.Error(got)
	}
}
