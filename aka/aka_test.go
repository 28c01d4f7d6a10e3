package aka

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ankan/sim"
)

// octets is bytes that JSON writes in hex.
type octets []byte

func (o *octets) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*o = b
	return err
}

type vector struct {
	Source                                                         string
	K, OP, OPc, RAND, SQN, AMF, F1, F1Star, F2, F3, F4, F5, F5Star octets
}

func vectors(t testing.TB) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/milenage.json")
	if err != nil {
		t.Fatal(err)
	}
	var f struct{ Vectors []vector }
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Vectors) == 0 {
		t.Fatal("testdata/milenage.json holds no vectors")
	}
	return f.Vectors
}

func ready(t testing.TB, k, opc []byte) Milenage {
	t.Helper()
	m, err := New(k, opc)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func equal(t *testing.T, what string, found, want []byte) {
	t.Helper()
	if !bytes.Equal(found, want) {
		t.Errorf("%s is %x, want %x", what, found, want)
	}
}

func TestMilenageVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Source, func(t *testing.T) {
			opc, err := AppendOPc([]byte("x"), v.K, v.OP)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "OPc", opc[1:], v.OPc)
			m := ready(t, v.K, v.OPc)
			challenge, sqn, amf := RAND(v.RAND), SQNFromBytes([6]byte(v.SQN)), AMF(v.AMF)
			f1, f1star := m.MAC(challenge, sqn, amf)
			equal(t, "f1", f1[:], v.F1)
			equal(t, "f1*", f1star[:], v.F1Star)
			s, ak := m.Session(challenge)
			f5, f5star := SQN(ak).Bytes(), SQN(m.AKStar(challenge)).Bytes()
			equal(t, "f2", s.RES(), v.F2)
			equal(t, "f3", s.CK(), v.F3)
			equal(t, "f4", s.IK(), v.F4)
			equal(t, "f5", f5[:], v.F5)
			equal(t, "f5*", f5star[:], v.F5Star)

			made := m.Vector(challenge, sqn, amf)
			conceal := SQN(uint64(sqn) ^ ak).Bytes()
			equal(t, "AUTN", made.AUTN[:], bytes.Join([][]byte{conceal[:], v.AMF, v.F1}, nil))
			if made.RAND != challenge || made.Verify(v.F2) != nil {
				t.Error("the vector is not of this challenge")
			}
			found, card, err := m.Answer(challenge, made.AUTN)
			if err != nil || found != sqn || made.Verify(card.RES()) != nil || !bytes.Equal(card.CK(), made.CK()) || !bytes.Equal(card.IK(), made.IK()) {
				t.Errorf("the card found SQN %#x, %v", uint64(found), err)
			}
			back, err := m.Resync(challenge, m.AUTS(challenge, sqn))
			if err != nil || back != sqn {
				t.Errorf("AUTS gave SQN %#x, %v", uint64(back), err)
			}
		})
	}
}

// The specification in its own words: rotation of single bits, bytes in
// strings. It covers what the vectors cannot: other constants.
func TestOwnConstants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Constants{}
		for i := range c.R {
			c.R[i] = rapid.Uint8Range(0, 127).Draw(t, "r")
			copy(c.C[i][:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "c"))
		}
		k := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "k")
		opc := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "opc")
		m, err := NewCustom(k, opc, c)
		if err != nil {
			return // constants that repeat are refused: TestRefusals
		}
		in := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "in"))
		inner := m.open()
		for i, r := range c.R {
			var want, got [16]byte
			for bit := range 128 {
				from := (bit + int(r)) % 128
				want[bit/8] |= in[from/8] >> (7 - from%8) & 1 << (7 - bit%8)
			}
			blockOf(&in).rotate(r).put(&got)
			if got != want {
				t.Fatalf("%x turned by %d is %x, want %x", in, r, got, want)
			}
			// OUTi of a TEMP that makes AES's input zero is E(0) ^ OPc.
			zero := inner.c[i].rotate((128 - r) % 128).xor(inner.opc)
			if i > 0 && inner.out(zero, i+1) != inner.encrypt(block{}).xor(inner.opc) {
				t.Fatalf("OUT%d does not use r%d and c%d", i+1, i+1, i+1)
			}
		}
	})
}

func TestRefusals(t *testing.T) {
	k := make([]byte, 16)
	twice := StandardConstants()
	twice.R[3], twice.C[3] = twice.R[4], twice.C[4]
	far := StandardConstants()
	far.R[1] = 128
	custom := func(c Constants) error { _, err := NewCustom(k, k, c); return err }
	opc := func(k, op []byte) error { _, err := AppendOPc(nil, k, op); return err }
	key := func(k, opc []byte) error { _, err := New(k, opc); return err }
	algorithm := func(name string) error { _, err := ParseAlgorithm(name); return err }
	sqn := func(v uint64) error { _, err := ParseSQN(v); return err }
	for _, c := range []struct {
		err  error
		want string
	}{
		{key(k[:15], k), "K has 15 bytes, OPc 16, want 16 each"},
		{key(k, nil), "K has 16 bytes, OPc 0, want 16 each"},
		{opc(k, k[:8]), "K has 16 bytes, OP 8, want 16 each"},
		{custom(twice), "constants r5, c5 repeat r4, c4"},
		{custom(far), "rotation r2 is 128 bits, want at most 127"},
		{algorithm("COMP128v1"), "algorithm COMP128v1 is refused: it is broken"},
		{algorithm("COMP128v2"), "algorithm COMP128v2 is refused: it is broken"},
		{algorithm("COMP128v3"), "algorithm COMP128v3 is refused: it is broken"},
		{algorithm("COMP128"), "and there is no such version; use MILENAGE"},
		{algorithm("milenage"), `algorithm is "milenage", want MILENAGE`},
		{algorithm(""), `algorithm is "", want MILENAGE, TUAK, or XOR for test cards`},
		{sqn(1 << 48), "SQN is 0x1000000000000, want at most 48 bits"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("error is %v, want %q", c.err, c.want)
		}
	}
	for _, want := range []Algorithm{MILENAGE, TUAK, XOR} {
		if a, err := ParseAlgorithm(string(want)); a != want || err != nil || a.Test() != (a == XOR) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if s, err := ParseSQN(1<<48 - 1); err != nil || s.SEQ() != maxSEQ || s.IND() != 31 {
		t.Errorf("the last SQN is %#x, %v", uint64(s), err)
	}
}

func TestForgeries(t *testing.T) {
	v := vectors(t)[0]
	m := ready(t, v.K, v.OPc)
	wrongOPc := bytes.Clone(v.OPc)
	wrongOPc[15] ^= 1
	other := ready(t, v.K, wrongOPc)
	made := m.Vector(RAND(v.RAND), 33, EPS())
	auts := m.AUTS(made.RAND, 33)
	if _, _, err := other.Answer(made.RAND, made.AUTN); !errors.Is(err, ErrMAC) {
		t.Errorf("one bit of OPc wrong: the card says %v", err)
	}
	if _, err := other.Resync(made.RAND, auts); !errors.Is(err, ErrMAC) {
		t.Errorf("one bit of OPc wrong: the network says %v", err)
	}
	for bit := range 128 {
		forged, challenge := made.AUTN, made.RAND
		forged[bit/8] ^= 1 << (bit % 8)
		challenge[bit/8] ^= 1 << (bit % 8)
		if _, s, err := m.Answer(made.RAND, forged); !errors.Is(err, ErrMAC) || len(s.RES()) != 0 {
			t.Errorf("bit %d of AUTN turned: %v", bit, err)
		}
		if _, _, err := m.Answer(challenge, made.AUTN); !errors.Is(err, ErrMAC) {
			t.Errorf("bit %d of RAND turned: %v", bit, err)
		}
	}
	for bit := range 112 {
		forged := auts
		forged[bit/8] ^= 1 << (bit % 8)
		if _, err := m.Resync(made.RAND, forged); !errors.Is(err, ErrMAC) {
			t.Errorf("bit %d of AUTS turned: %v", bit, err)
		}
	}
	for _, res := range [][]byte{nil, made.RES()[:7], append(bytes.Clone(made.RES()), 0), make([]byte, 8)} {
		if err := made.Verify(res); !errors.Is(err, ErrRES) {
			t.Errorf("RES %x: %v", res, err)
		}
	}
	if made.AUTN.AMF() != EPS() {
		t.Errorf("AMF is %x", made.AUTN.AMF())
	}
}

func TestSecrets(t *testing.T) {
	v := vectors(t)[0]
	m := ready(t, v.K, v.OPc)
	made := m.Vector(RAND(v.RAND), 33, EPS())
	type holder struct{ m Milenage }
	for _, secret := range []any{m, &m, made, &made, made.Session, holder{m}, &holder{m}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			text := fmt.Sprintf(verb, secret)
			// cd63cb7195 is OPc, b40ba9a3c58b is CK; both also as decimal bytes and words.
			for _, leak := range []string{"cd63cb71", "b40ba9a3", "205 99 203", "180 11 169", "14799", "0xcd63"} {
				if strings.Contains(strings.ToLower(text), leak) {
					t.Errorf("%T under %s printed %s", secret, verb, text)
				}
			}
		}
	}
	for _, secret := range []any{m, made, made.Session} {
		if _, err := json.Marshal(secret); !errors.Is(err, sim.ErrSecret) {
			t.Errorf("%T in JSON: %v", secret, err)
		}
	}
}

// osmocom runs Debian's osmo-auc-gen, an independent implementation
// (libosmocore-utils), and returns what it prints by name.
func osmocom(t *testing.T, generation, algorithm string, args ...string) map[string]string {
	t.Helper()
	tool, err := exec.LookPath("osmo-auc-gen")
	if err != nil {
		t.Fatal("osmo-auc-gen is missing; install the package libosmocore-utils")
	}
	out, err := exec.Command(tool, append([]string{generation, "-a", algorithm}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("osmo-auc-gen %v: %v\n%s", args, err, out)
	}
	fields := map[string]string{}
	for _, f := range regexp.MustCompile(`(?m)^(?:AUTS success: )?([^:=\n]+?)[ \t]*[:=][ \t]*(.+)$`).FindAllStringSubmatch(string(out), -1) {
		fields[f[1]] = f[2]
	}
	return fields
}

func TestOsmocomAgrees(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for i := range 16 {
		k, op, challenge := make([]byte, 16), make([]byte, 16), RAND{}
		random.Read(k)
		random.Read(op)
		random.Read(challenge[:])
		opc, err := AppendOPc(nil, k, op)
		if err != nil {
			t.Fatal(err)
		}
		m := ready(t, k, opc)
		sqn, amf := SQN(random.Uint64()>>16), AMF{0x80, byte(i)}
		common := []string{"-k", hex.EncodeToString(k), "-f", hex.EncodeToString(amf[:]), "-r", hex.EncodeToString(challenge[:])}

		got := osmocom(t, "-3", "MILENAGE", append(common, "-O", hex.EncodeToString(op), "-s", strconv.FormatUint(uint64(sqn), 10))...)
		v := m.Vector(challenge, sqn, amf)
		sres, kc := m.Triplet(challenge)
		for name, want := range map[string][]byte{
			"AUTN": v.AUTN[:], "CK": v.CK(), "IK": v.IK(), "RES": v.RES(), "SRES": sres[:], "Kc": kc[:],
		} {
			if got[name] != hex.EncodeToString(want) {
				t.Errorf("%s is %x, osmo-auc-gen has %q", name, want, got[name])
			}
		}

		auts := m.AUTS(challenge, sqn)
		got = osmocom(t, "-3", "MILENAGE", append(common, "-o", hex.EncodeToString(opc), "-A", hex.EncodeToString(auts[:]))...)
		if got["SQN.MS"] != strconv.FormatUint(uint64(sqn), 10) {
			t.Errorf("AUTS of SQN %d: osmo-auc-gen has %q", uint64(sqn), got["SQN.MS"])
		}
	}
}

// A token that this key accepts is the one that it makes.
func FuzzAnswer(f *testing.F) {
	v := vectors(f)[0]
	m := ready(f, v.K, v.OPc)
	made := m.Vector(RAND(v.RAND), 33, EPS())
	auts := m.AUTS(made.RAND, 33)
	f.Add(made.RAND[:], made.AUTN[:], auts[:])
	f.Add(make([]byte, 16), make([]byte, 16), make([]byte, 14))
	f.Fuzz(func(t *testing.T, challenge, autn, auts []byte) {
		if len(challenge) != 16 || len(autn) != 16 || len(auts) != 14 {
			return
		}
		if sqn, _, err := m.Answer(RAND(challenge), AUTN(autn)); err == nil {
			if again := m.Vector(RAND(challenge), sqn, AUTN(autn).AMF()); again.AUTN != AUTN(autn) {
				t.Errorf("accepted %x, would make %x", autn, again.AUTN)
			}
		}
		if sqn, err := m.Resync(RAND(challenge), AUTS(auts)); err == nil && m.AUTS(RAND(challenge), sqn) != AUTS(auts) {
			t.Errorf("accepted AUTS %x", auts)
		}
	})
}

func FuzzParseAlgorithm(f *testing.F) {
	for _, name := range []string{"MILENAGE", "XOR", "TUAK", "COMP128v3", ""} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if a, err := ParseAlgorithm(name); err == nil && string(a) != name || err != nil && a != "" {
			t.Errorf("%q became %q, %v", name, a, err)
		}
	})
}
