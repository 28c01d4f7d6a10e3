package aka

import (
	"bytes"
	"crypto/sha3"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"pgregory.net/rapid"
)

type tuakVector struct {
	Source                                                           string
	K, TOP, TOPc, RAND, SQN, AMF, F1, F1Star, F2, F3, F4, F5, F5Star octets
	Iterations                                                       int `json:"keccak_iterations"`
}

func tuakVectors(t testing.TB) []tuakVector {
	t.Helper()
	text, err := os.ReadFile("testdata/tuak.json")
	if err != nil {
		t.Fatal(err)
	}
	var f struct{ Vectors []tuakVector }
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Vectors) == 0 {
		t.Fatal("testdata/tuak.json holds no vectors")
	}
	return f.Vectors
}

// parameters are read off the lengths of what the vector gives.
func (v tuakVector) parameters() TuakParameters {
	return TuakParameters{8 * len(v.K), 8 * len(v.F1), 8 * len(v.F2), 8 * len(v.F3), 8 * len(v.F4), v.Iterations}
}

func TestTuakVectors(t *testing.T) {
	sets := 0
	for _, v := range tuakVectors(t) {
		t.Run(v.Source, func(t *testing.T) {
			topc, err := AppendTOPc([]byte("x"), v.K, v.TOP, v.Iterations)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "TOPc", topc[1:], v.TOPc)
			a, err := NewTuak(v.K, v.TOPc, v.parameters())
			if err != nil {
				t.Fatal(err)
			}
			challenge, sqn, amf := RAND(v.RAND), SQNFromBytes([6]byte(v.SQN)), AMF(v.AMF)
			equal(t, "f1", a.AppendMAC([]byte{}, challenge, sqn, amf), v.F1)
			equal(t, "f1*", a.AppendMACStar([]byte{}, challenge, sqn, amf), v.F1Star)
			s, ak := a.Session(challenge)
			f5, f5star := SQN(ak).Bytes(), SQN(a.AKStar(challenge)).Bytes()
			equal(t, "f2", s.RES(), v.F2)
			equal(t, "f3", s.CK(), v.F3)
			equal(t, "f4", s.IK(), v.F4)
			equal(t, "f5", f5[:], v.F5)
			equal(t, "f5*", f5star[:], v.F5Star)

			set, err := a.Set()
			if len(v.F1) != 8 {
				if err == nil || set != nil {
					t.Errorf("a MAC of %d bytes fits AUTN", len(v.F1))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			sets++
			made := set.Vector(challenge, sqn, amf)
			conceal := SQN(uint64(sqn) ^ ak).Bytes()
			equal(t, "AUTN", made.AUTN[:], bytes.Join([][]byte{conceal[:], v.AMF, v.F1}, nil))
			agree(t, set, sqn)
		})
	}
	if sets == 0 {
		t.Error("no vector has a MAC of 64 bits")
	}
}

// agree lets both sides of a set talk: vector and answer, AUTS and
// resynchronisation, triplets; and every bit that is turned is seen.
func agree(t *testing.T, set Set, sqn SQN) {
	t.Helper()
	made := set.Vector(RAND{1, 2, 3}, sqn, EPS())
	found, card, err := set.Answer(made.RAND, made.AUTN)
	if err != nil || found != sqn || made.Verify(card.RES()) != nil || !bytes.Equal(card.CK(), made.CK()) || !bytes.Equal(card.IK(), made.IK()) {
		t.Errorf("the card found SQN %#x, %v", uint64(found), err)
	}
	if made.AUTN.AMF() != EPS() {
		t.Errorf("AMF is %x", made.AUTN.AMF())
	}
	auts := set.AUTS(made.RAND, sqn)
	if back, err := set.Resync(made.RAND, auts); err != nil || back != sqn {
		t.Errorf("AUTS gave SQN %#x, %v", uint64(back), err)
	}
	s, ak := set.Session(made.RAND)
	sres, kc := set.Triplet(made.RAND)
	if sres != s.SRES() || kc != s.Kc() || ak != getSQN(made.AUTN[:6])^uint64(sqn) {
		t.Error("session, triplet and vector are not of one challenge")
	}
	for bit := range 128 {
		forged := made.AUTN
		forged[bit/8] ^= 1 << (bit % 8)
		if _, s, err := set.Answer(made.RAND, forged); !errors.Is(err, ErrMAC) || len(s.RES()) != 0 {
			t.Errorf("bit %d of AUTN turned: %v", bit, err)
		}
	}
	for bit := range 112 {
		forged := auts
		forged[bit/8] ^= 1 << (bit % 8)
		if _, err := set.Resync(made.RAND, forged); !errors.Is(err, ErrMAC) {
			t.Errorf("bit %d of AUTS turned: %v", bit, err)
		}
	}
	if n := testing.AllocsPerRun(100, func() { made = set.Vector(made.RAND, sqn, EPS()) }); n != 0 {
		t.Errorf("a vector allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, card, err = set.Answer(made.RAND, made.AUTN) }); n != 0 || err != nil {
		t.Errorf("an answer allocates %v times, %v", n, err)
	}
}

// All lengths there are, against INSTANCE as TS 35.231, 6.2 to 6.5 writes it.
func TestTuakLengths(t *testing.T) {
	n := 0
	for _, k := range []int{128, 256} {
		for _, mac := range []int{64, 128, 256} {
			for _, res := range []int{32, 64, 128, 256} {
				for _, ck := range []int{128, 256} {
					for _, ik := range []int{128, 256} {
						n++
						p := TuakParameters{k, mac, res, ck, ik, 1 + n%3}
						a, err := NewTuak(make([]byte, k/8), make([]byte, 32), p)
						if err != nil {
							t.Fatal(err)
						}
						s, _ := a.Session(RAND{byte(n)})
						if len(s.RES()) != res/8 || len(s.CK()) != ck/8 || len(s.IK()) != ik/8 || len(a.AppendMAC(nil, RAND{}, 1, AMF{})) != mac/8 {
							t.Errorf("%+v: RES has %d bytes, CK %d, IK %d", p, len(s.RES()), len(s.CK()), len(s.IK()))
						}
						if set, err := a.Set(); err == nil {
							agree(t, set, SQN(n))
						}
					}
				}
			}
		}
	}
}

// SHA3-256 of the standard library is the same permutation.
func TestKeccak(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.Byte(), 0, 135).Draw(t, "text")
		var block [136]byte
		copy(block[:], text)
		block[len(text)] = 0x06
		block[135] |= 0x80
		var lanes [25]uint64
		for i := range 17 {
			lanes[i] = binary.LittleEndian.Uint64(block[8*i:])
		}
		keccak(&lanes)
		var sum [32]byte
		for i := range 4 {
			binary.LittleEndian.PutUint64(sum[8*i:], lanes[i])
		}
		if want := sha3.Sum256(text); sum != want {
			t.Fatalf("SHA3-256 of %x is %x, want %x", text, sum, want)
		}
	})
}

// The conversions of TS 33.102, 6.8.1.2, from RES of all lengths.
func TestConversions(t *testing.T) {
	for _, c := range []struct {
		res  []byte
		want [4]byte
	}{
		{[]byte{1, 2, 3, 4}, [4]byte{1, 2, 3, 4}},
		{[]byte{1, 2, 3, 4, 0x10, 0x20, 0x30, 0x40}, [4]byte{0x11, 0x22, 0x33, 0x44}},
		{[]byte{1, 2, 3, 4, 0x10, 0x20, 0x30, 0x40, 0, 0, 0, 1, 0, 0, 0, 2}, [4]byte{0x11, 0x22, 0x33, 0x47}},
	} {
		s := Session{nRES: uint8(len(c.res)), nCK: 16, nIK: 16}
		copy(s.res[:], c.res)
		if s.SRES() != c.want {
			t.Errorf("RES %x is SRES %x, want %x", c.res, s.SRES(), c.want)
		}
		s.ck[0], s.ck[8], s.ik[0], s.ik[8], s.ik[15] = 1, 2, 4, 8, 16
		if s.Kc() != [8]byte{15, 0, 0, 0, 0, 0, 0, 16} {
			t.Errorf("Kc is %x", s.Kc())
		}
	}
	var none Session
	if !errors.Is(none.Verify(nil), ErrRES) || !errors.Is(none.Verify(make([]byte, 8)), ErrRES) {
		t.Error("the zero Session takes a response")
	}
}
