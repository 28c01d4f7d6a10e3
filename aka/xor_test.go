package aka

import (
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"testing"
)

func TestOsmocomAgreesOnXOR(t *testing.T) {
	random := rand.NewChaCha8([32]byte{2})
	for i := range 8 {
		k, challenge := make([]byte, 16), RAND{}
		random.Read(k)
		random.Read(challenge[:])
		x, err := NewXOR(k)
		if err != nil {
			t.Fatal(err)
		}
		// osmo-auc-gen takes one step of SEQ off before it asks this algorithm.
		sqn, amf := SQN(random.Uint64()>>17), AMF{0x80, byte(i)}
		got := osmocom(t, "-3", "XOR", "-k", hex.EncodeToString(k), "-f", hex.EncodeToString(amf[:]), "-r", hex.EncodeToString(challenge[:]),
			"-s", strconv.FormatUint(uint64(sqn)+slots, 10))
		v := x.Vector(challenge, sqn, amf)
		for name, want := range map[string][]byte{"AUTN": v.AUTN[:], "CK": v.CK(), "IK": v.IK(), "RES": v.RES()} {
			if got[name] != hex.EncodeToString(want) {
				t.Errorf("%s is %x, osmo-auc-gen has %q", name, want, got[name])
			}
		}
		agree(t, x, sqn)
	}
}

func TestOsmocomAgreesOnCOMP128(t *testing.T) {
	random := rand.NewChaCha8([32]byte{3})
	for _, a := range []Algorithm{COMP128v1, COMP128v2, COMP128v3} {
		for range 8 {
			ki, challenge := make([]byte, 16), RAND{}
			random.Read(ki)
			random.Read(challenge[:])
			c, err := NewComp128(a, ki, allowed(a), noon)
			if err != nil {
				t.Fatal(err)
			}
			got := osmocom(t, "-2", string(a), "-k", hex.EncodeToString(ki), "-r", hex.EncodeToString(challenge[:]))
			sres, kc := c.Triplet(challenge)
			if got["SRES"] != hex.EncodeToString(sres[:]) || got["Kc"] != hex.EncodeToString(kc[:]) {
				t.Errorf("%s: SRES %x, Kc %x, osmo-auc-gen has %s, %s", a, sres, kc, got["SRES"], got["Kc"])
			}
		}
	}
}
