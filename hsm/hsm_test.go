package hsm

import (
	"bytes"
	"crypto/aes"
	"crypto/des"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"ankan/scp"
)

type givenVector struct {
	Private, Secret, Given hexBytes
	Content                Content
	Label                  string
}

func TestVectorsGiven(t *testing.T) {
	for _, v := range load[givenVector](t, "given.json") {
		priv, err := ecdh.P521().NewPrivateKey(v.Private)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Take(Given(v.Given), v.Content, v.Label, priv.PublicKey(), priv.ECDH)
		if err != nil || !bytes.Equal(got, v.Secret) {
			t.Errorf("%s: %x, %v, want %x", v.Content, got, err, v.Secret)
		}
	}
}

func TestGiveTake(t *testing.T) {
	priv, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	agree, err := priv.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdh.P521().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	what := KeyContent(Transport, AES128)
	given, err := Give(&priv.PublicKey, what, "label", make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(given, what, "label", agree.PublicKey(), agree.ECDH); err != nil {
		t.Error(err)
	}
	changed := func(i int) Given {
		g := bytes.Clone(given)
		g[i] ^= 1
		return g
	}
	for name, c := range map[string]struct {
		given Given
		what  Content
		label string
		key   *ecdh.PrivateKey
	}{
		"other key":     {given, what, "label", other},
		"other content": {given, KeyContent(Lot, AES128), "label", agree},
		"data key":      {given, DataKeyContent, "label", agree},
		"other label":   {given, what, "label2", agree},
		"version":       {changed(0), what, "label", agree},
		"point":         {changed(20), what, "label", agree},
		"secret":        {changed(140), what, "label", agree},
		"cut":           {given[:len(given)-8], what, "label", agree},
		"empty":         {nil, what, "label", agree},
	} {
		if got, err := Take(c.given, c.what, c.label, c.key.PublicKey(), c.key.ECDH); !errors.Is(err, ErrSealed) || got != nil {
			t.Errorf("%s: %x, %v, want ErrSealed", name, got, err)
		}
	}

	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	agree256, err := p256.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	for _, pub := range []any{nil, &p256.PublicKey, agree256.PublicKey(), (*ecdsa.PublicKey)(nil), (*ecdh.PublicKey)(nil), "key"} {
		if _, err := Give(pub, what, "label", make([]byte, 16)); !errors.Is(err, ErrPublicKey) {
			t.Errorf("Give to %T: %v, want ErrPublicKey", pub, err)
		}
		if _, err := Take(given, what, "label", pub, agree.ECDH); !errors.Is(err, ErrPublicKey) {
			t.Errorf("Take as %T: %v, want ErrPublicKey", pub, err)
		}
	}
	for _, label := range []string{"", strings.Repeat("x", 256)} {
		if _, err := Give(&priv.PublicKey, what, label, make([]byte, 16)); err == nil {
			t.Errorf("label of %d bytes is not refused", len(label))
		}
	}
	if _, err := Give(&priv.PublicKey, what, "label", make([]byte, 15)); err == nil {
		t.Error("secret of 15 bytes is not refused")
	}
	refused := errors.New("module refuses")
	if _, err := Take(given, what, "label", agree.PublicKey(), func(*ecdh.PublicKey) ([]byte, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Errorf("%v, want the module's error", err)
	}
}

func FuzzTake(f *testing.F) {
	v := load[givenVector](f, "given.json")[0]
	priv, err := ecdh.P521().NewPrivateKey(v.Private)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(v.Given))
	f.Add([]byte{2, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Take(b, v.Content, v.Label, priv.PublicKey(), priv.ECDH)
		if err == nil && !bytes.Equal(b, v.Given) {
			t.Errorf("%x is taken as %x", b, got)
		}
	})
}

func TestKeyWrapRefuses(t *testing.T) {
	kek, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 8, 15, 17} {
		if _, err := WrapKey(kek, make([]byte, n)); err == nil {
			t.Errorf("key of %d bytes is not refused", n)
		}
	}
	good, err := WrapKey(kek, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x80
		if key, err := UnwrapKey(kek, bad); !errors.Is(err, ErrSealed) || key != nil {
			t.Errorf("byte %d changed: %x, %v, want ErrSealed", i, key, err)
		}
	}
	for _, n := range []int{0, 16, 23, 25} {
		if _, err := UnwrapKey(kek, make([]byte, n)); !errors.Is(err, ErrSealed) {
			t.Errorf("%d bytes: %v, want ErrSealed", n, err)
		}
	}
}

func kcv(t *testing.T, s string) KCV {
	t.Helper()
	k, err := ParseKCV(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestParseKCV(t *testing.T) {
	for _, s := range []string{"C35280 GP", "BE7ED6AE78 CMAC", "BE7ED6 CMAC", "C6A13B ECB-ZEROS"} {
		if got := kcv(t, s).String(); got != s {
			t.Errorf("%q, want %q", got, s)
		}
	}
	for _, s := range []string{"", "C35280", "C35280 ", " GP", "c35280 GP", "C35280 gp", "C35280  GP", "C35280 GP ",
		"C352 GP", "BE7ED6AE GP", "BE7ED6AE CMAC", "C6A13B00 ECB-ZEROS", "C3528 GP", "C3528G GP", "C35280 SHA"} {
		if k, err := ParseKCV(s); !errors.Is(err, ErrKCV) {
			t.Errorf("%q is read as %v, %v", s, k, err)
		}
	}
}

func FuzzParseKCV(f *testing.F) {
	f.Add("C35280 GP")
	f.Add("BE7ED6AE78 CMAC")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKCV(s)
		if err == nil && k.String() != s {
			t.Errorf("%q comes back as %q", s, k)
		}
	})
}

func TestKCVMatches(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"C35280 GP", "C35280 GP", true},
		{"C35280 GP", "C35281 GP", false},
		{"BE7ED6AE78 CMAC", "BE7ED6 CMAC", true},
		{"BE7ED7 CMAC", "BE7ED6AE78 CMAC", false},
	} {
		if got, err := kcv(t, c.a).Matches(kcv(t, c.b)); err != nil || got != c.want {
			t.Errorf("%s and %s: %t, %v, want %t", c.a, c.b, got, err, c.want)
		}
	}
	for _, c := range [][2]KCV{
		{kcv(t, "C35280 GP"), kcv(t, "C35280 ECB-ZEROS")},
		{kcv(t, "C35280 GP"), {}},
		{{}, kcv(t, "C35280 GP")},
		{{}, {}},
	} {
		if got, err := c[0].Matches(c[1]); !errors.Is(err, ErrKCVMethod) || got {
			t.Errorf("%q and %q: %t, %v, want ErrKCVMethod", c[0], c[1], got, err)
		}
	}
}

func TestNewKCVRefuses(t *testing.T) {
	d, err := des.NewCipher(make([]byte, 8))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []KCVMethod{GP, CMAC} {
		if _, err := NewKCV(m, d); !errors.Is(err, ErrKCV) {
			t.Errorf("%s of a DES key: %v, want ErrKCV", m, err)
		}
	}
	if _, err := AESKCV("SHA", make([]byte, 16)); !errors.Is(err, ErrKCV) {
		t.Errorf("method SHA: %v, want ErrKCV", err)
	}
	if _, err := AESKCV(GP, make([]byte, 8)); !errors.Is(err, ErrKCV) {
		t.Errorf("key of 8 bytes: %v, want ErrKCV", err)
	}
}

func TestKCVText(t *testing.T) {
	type doc struct {
		KCV KCV `json:",omitzero"`
	}
	for _, want := range []doc{{}, {kcv(t, "C35280 GP")}} {
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got doc
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if got.KCV.String() != want.KCV.String() {
			t.Errorf("%s comes back as %v, want %v", b, got.KCV, want.KCV)
		}
	}
	var k KCV
	if err := k.UnmarshalText([]byte("C35280")); !errors.Is(err, ErrKCV) {
		t.Errorf("%v, want ErrKCV", err)
	}
	if err := k.UnmarshalText(nil); err != nil || !k.IsZero() {
		t.Errorf("%v, %v", k, err)
	}
}

func dataKey(t testing.TB) *DataKey {
	t.Helper()
	k, err := NewDataKey(bytes.Repeat([]byte{0xA7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestDataKey(t *testing.T) {
	k := dataKey(t)
	sealed := k.Seal([]byte("x"), []byte("plain"), []byte("aad"))
	if len(sealed) != 1+5+SealOverhead || sealed[0] != 'x' {
		t.Errorf("sealed has %d bytes", len(sealed))
	}
	sealed = sealed[1:]
	got, err := k.Open([]byte("y"), sealed, []byte("aad"))
	if err != nil || string(got) != "yplain" {
		t.Errorf("%q, %v", got, err)
	}
	if bytes.Equal(sealed, k.Seal(nil, []byte("plain"), []byte("aad"))) {
		t.Error("two seals are the same")
	}
	other, err := NewDataKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open(nil, sealed, []byte("aad")); !errors.Is(err, ErrSealed) {
		t.Errorf("other key: %v, want ErrSealed", err)
	}
	if _, err := k.Open(nil, sealed, []byte("add")); !errors.Is(err, ErrSealed) {
		t.Errorf("other place: %v, want ErrSealed", err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := k.Open(nil, bad, []byte("aad")); !errors.Is(err, ErrSealed) {
			t.Errorf("byte %d changed: %v, want ErrSealed", i, err)
		}
	}
	for n := range sealed {
		if _, err := k.Open(nil, sealed[:n], []byte("aad")); !errors.Is(err, ErrSealed) {
			t.Errorf("cut to %d bytes: %v, want ErrSealed", n, err)
		}
	}
	if _, err := NewDataKey(make([]byte, 16)); err == nil {
		t.Error("data key of 16 bytes is not refused")
	}
}

func TestDataKeyClosed(t *testing.T) {
	closed := dataKey(t)
	if err := closed.Err(); err != nil {
		t.Error(err)
	}
	closed.Close()
	closed.Close()
	for name, k := range map[string]*DataKey{"closed": closed, "zero": {}, "nil": nil} {
		k.Close()
		if _, err := k.Open(nil, make([]byte, 40), nil); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: Open: %v, want ErrClosed", name, err)
		}
		if err := k.Err(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: Err: %v, want ErrClosed", name, err)
		}
		func() {
			defer func() {
				if err, ok := recover().(error); !ok || !errors.Is(err, ErrClosed) {
					t.Errorf("%s: Seal does not panic with ErrClosed", name)
				}
			}()
			k.Seal(nil, []byte("plain"), nil)
		}()
	}
}

func TestDataKeyTogether(t *testing.T) {
	k := dataKey(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if _, err := k.Open(nil, k.Seal(nil, []byte("plain"), nil), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestChipKeys(t *testing.T) {
	master, serial := bytes.Repeat([]byte{0xA7}, 32), []byte{1, 2, 3}
	ours, err := NewChipKeys(AES256, master, serial)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := DiversifyChip(master, serial)
	if err != nil {
		t.Fatal(err)
	}
	var _ scp.Static = ours
	a, err := ours.SealKey(nil, make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := theirs.OpenKey(nil, a); err != nil || !bytes.Equal(b, make([]byte, 16)) {
		t.Errorf("%x, %v", b, err)
	}
	if _, err := ours.SessionKeys(make([]byte, 16)); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct{ master, serial []byte }{
		"master of 16 bytes": {master[:16], serial},
		"no serial":          {master, nil},
		"serial of 33 bytes": {master, make([]byte, 33)},
	} {
		if _, err := NewChipKeys(AES256, c.master, c.serial); err == nil {
			t.Errorf("%s is not refused", name)
		}
	}
	ours.Close()
	for name, k := range map[string]*ChipKeys{"closed": ours, "zero": {}, "nil": nil} {
		k.Close()
		if _, err := k.SessionKeys(make([]byte, 16)); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: SessionKeys: %v, want ErrClosed", name, err)
		}
		if _, err := k.SealKey(nil, make([]byte, 16)); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: SealKey: %v, want ErrClosed", name, err)
		}
	}
}

func TestFits(t *testing.T) {
	good := map[Purpose][]Algorithm{
		Order: {AES256}, Subscriber: {AES256}, Lot: {AES256, LotEMV, LotVISA2, LotNone3DES, LotKDF3, LotKDF3Short, LotNone, LotNoneShort}, Transport: {AES128, AES256, TDES, TDES3}, Ledger: {HMAC256},
		Agree: {P521}, MailSign: {P256}, LogSign: {Ed25519}, SiteSign: {Ed25519}, MailOpen: {RSA3072},
		Operator: {AES128, AES256}, Exchange: {AES256}, Unwrap: {RSA3072},
	}
	for p, fits := range good {
		for _, a := range []Algorithm{AES128, AES256, HMAC256, P256, P521, RSA3072, Ed25519, TDES, TDES3, LotEMV, LotVISA2, LotNone3DES, LotKDF3, LotKDF3Short, LotNone, LotNoneShort, "DES", "AES-128/emv", "AES-256/", ""} {
			want := slices.Contains(fits, a)
			if err := p.Fits(a); (err == nil) != want || err != nil && !errors.Is(err, ErrPurpose) {
				t.Errorf("%s for %s: %v, want it to fit: %t", a, p, err, want)
			}
		}
	}
	if err := Purpose("").Fits(AES256); !errors.Is(err, ErrPurpose) {
		t.Errorf("no purpose: %v, want ErrPurpose", err)
	}
}

func TestCheckID(t *testing.T) {
	for _, id := range []string{"a", "order/2026-000123#1", strings.Repeat("x", 200)} {
		if err := CheckID(id); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{"", " ", "a b", "a\n", "é", strings.Repeat("x", 201)} {
		if CheckID(id) == nil {
			t.Errorf("%q is not refused", id)
		}
	}
}

func TestSecretsArePrivate(t *testing.T) {
	// 0xA7 = 167 shows as a7, 167 or \xa7 if anything leaks.
	dk := dataKey(t)
	ck, err := NewChipKeys(AES256, bytes.Repeat([]byte{0xA7}, 32), []byte{1})
	if err != nil {
		t.Fatal(err)
	}
	enc, err := DiversifyChip(bytes.Repeat([]byte{0xA7}, 32), []byte{1})
	if err != nil {
		t.Fatal(err)
	}
	all, err := enc.Reveal(nil)
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		data  *DataKey
		chip  *ChipKeys
		byVal ChipKeys
		any   any
	}
	var out strings.Builder
	for _, v := range []any{dk, ck, *ck, holder{dk, ck, *ck, dk}, []*DataKey{dk}} {
		fmt.Fprintf(&out, "%v %+v %#v %s %x %q %d\n", v, v, v, v, v, v, v)
		j, err := json.Marshal(v)
		fmt.Fprintf(&out, "%s %v\n", j, err)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	}
	for _, leak := range []string{"a7a7", "167 167", `\xa7`, fmt.Sprintf("%x", all[:4]), strings.Trim(fmt.Sprint(all[:4]), "[]")} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("printed %q:\n%s", leak, out.String())
		}
	}
	if !strings.Contains(out.String(), "[secret]") {
		t.Error("no marker was printed")
	}
}

// BenchmarkSeal is a block of 1,000 cards of 300 bytes.
func BenchmarkSeal(b *testing.B) {
	k := dataKey(b)
	plain, aad := make([]byte, 300_000), make([]byte, 32)
	dst := make([]byte, 0, len(plain)+SealOverhead)
	b.ReportAllocs()
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		k.Seal(dst, plain, aad)
	}
}

func BenchmarkOpen(b *testing.B) {
	k := dataKey(b)
	plain, aad := make([]byte, 300_000), make([]byte, 32)
	sealed := k.Seal(nil, plain, aad)
	b.ReportAllocs()
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		if _, err := k.Open(plain[:0], sealed, aad); err != nil {
			b.Fatal(err)
		}
	}
}
