package perso

import (
	"context"
	"crypto/aes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"ankan/aka"
	"ankan/gp"
	"ankan/hsm"
	"ankan/scp"
	"ankan/simos"
	"ankan/uicc"
)

func serialAt(n uint32) (s [8]byte) {
	s[0], s[7] = 0x63, 0x47
	binary.BigEndian.PutUint32(s[2:], n)
	return s
}

// Chips that are not as the lot says are set aside before they get an identity.
func TestMarks(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 3, 0)
	all := f.load(6)
	f.product.Marks = Marks{ATR: f.tray.order[0].chip.Clone().Reset(), Serials: []Range{{serialAt(2), serialAt(3)}, {serialAt(5), serialAt(6)}}}
	second := f.tray.order[1]
	atr := second.chip.Clone().Reset()
	other := slices.Clone(atr)
	other[len(other)-2] ^= 0x01
	other[len(other)-1] ^= 0x01 // the check byte, so that it is an ATR
	second.fault = between(1, 1, func(context.Context, int) ([]byte, error) {
		second.chip.Reset()
		return other, nil
	})
	f.must(f.run(t.Context(), "A1", 1))
	f.check("A1", 3)
	want := []string{all[0].String() + " serial not of the lot", all[1].String() + " wrong ATR", all[3].String() + " serial not of the lot"}
	if got := f.aside("A1"); !slices.Equal(got, want) {
		t.Errorf("set aside: %q, want %q", got, want)
	}
	if e := f.entries("chip.set-aside"); len(e) != 3 || !strings.Contains(e[1].Data["seen"].(string), "want 3B9D9681") {
		t.Errorf("%+v", e)
	}
}

func TestATRMask(t *testing.T) {
	atr := uicc.ATR("\x3B\x9D\x96\x81\x91\xFE\x1F\xC7\x80\x31\xA0\x73\xBE\x21\x17\x65ANKAN\xF9")
	mask := slices.Repeat([]byte{0xFF}, len(atr))
	mask[len(mask)-2], mask[len(mask)-1] = 0x0F, 0
	m := Marks{ATR: atr, Mask: mask}
	if want := "3B9D968191FE1FC78031A073BE211765414E4B41.E.."; m.pattern() != want {
		t.Errorf("%s, want %s", m.pattern(), want)
	}
	with := func(at int, b byte) uicc.ATR {
		c := slices.Clone(atr)
		c[len(c)-1] ^= c[at] ^ b
		c[at] = b
		return c
	}
	torn := slices.Clone(atr)
	torn[len(torn)-1] ^= 1
	for name, c := range map[string]struct {
		atr  uicc.ATR
		want bool
	}{
		"the same": {atr, true}, "another where any may be": {with(len(atr)-2, 0x2E), true}, "another beside that": {with(len(atr)-2, 0x2F), false},
		"another before": {with(len(atr)-3, 'B'), false}, "wrong check byte": {torn, false}, "short": {atr[:len(atr)-1], false}, "none": {nil, false},
	} {
		if got := m.answersAs(c.atr); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if !(Marks{}).answersAs(nil) || !(Marks{}).has([8]byte{1}) {
		t.Error("a lot that says nothing of its chips refuses them")
	}
	f := newPlant(t)
	for want, m := range map[string]Marks{
		"the mask has 1 bytes, the ATR 0":    {Mask: []byte{1}},
		"the mask has 1 bytes, the ATR 22":   {ATR: atr, Mask: []byte{1}},
		"serial numbers go from 63000000000": {Serials: []Range{{serialAt(2), serialAt(1)}}},
	} {
		p := f.product
		p.Marks = m
		if _, err := New(f.store, f.token, p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A batch of an algorithm that the chips do not compute is refused before a chip
// is taken.
func TestWrongAlgorithm(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 1, 0)
	f.load(1)
	f.product.Algorithms = []aka.Algorithm{aka.TUAK}
	err := f.run(t.Context(), "A1", 1)
	f.want("TUAK alone", err, ErrAlgorithm)
	if err == nil || !strings.Contains(err.Error(), "asks for MILENAGE, the operating system of lot LOT-1 has [TUAK]") || f.tray.sent != 0 {
		t.Errorf("%v, after %d commands", err, f.tray.sent)
	}
}

// The keys of chips come from what they say in INITIALIZE UPDATE where the lot's
// key is of such a method.
func TestKeyMethods(t *testing.T) {
	for _, a := range []hsm.Algorithm{hsm.LotKDF3, hsm.LotKDF3Short, hsm.LotNone} {
		f := newPlant(t)
		f.product.LotKey = "lot/2"
		size := 32
		if a.Cipher() == hsm.AES128 {
			size = 16
		}
		master := []byte("0F1E2D3C4B5A69788796A5B4C3D2E1F0")[:size]
		agree, err := f.token.Key(t.Context(), "agree")
		f.must(err)
		given, err := hsm.Give(agree.Public, hsm.KeyContent(hsm.Lot, a), "lot", master)
		f.must(err)
		_, err = f.token.TakeKey(t.Context(), "agree", given, "lot", f.product.LotKey, hsm.Lot, a)
		f.must(err)
		f.batch("A1", 2, 0)
		foreign := f.load(1)[0] // of our own method
		for n := uint32(2); n < 4; n++ {
			serial := serialAt(n)
			c, err := simos.NewChip(simos.Config{Serial: serial, Lot: lotName, Keys: chipKeys(t, a, master, serial), Vendor: f.maker, Seed: append([]byte("a seed for tests"), serial[:]...), Direct: true})
			f.must(err)
			f.tray.add(c)
		}
		f.must(f.run(t.Context(), "A1", 1))
		f.check("A1", 2)
		if got := f.aside("A1"); !slices.Equal(got, []string{foreign.String() + " wrong transport keys"}) {
			t.Errorf("%s: set aside %q", a, got)
		}
	}
}

// chipKeys is the chip maker's side of a method.
func chipKeys(t *testing.T, a hsm.Algorithm, master []byte, serial [8]byte) scp.KeySet {
	t.Helper()
	if a.Method() == hsm.MethodNone {
		keys, err := scp.NewKeySet(master, master, master)
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	var data [10]byte
	copy(data[:], serial[:])
	b, err := aes.NewCipher(master)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := gp.DiversifyAES(a.Method(), data, len(master), func(m []byte) ([]byte, error) { sum := scp.SumCMAC(b, m); return sum[:], nil })
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// A chip that says nothing to derive its keys from is the chip's fault.
func TestNoDiversification(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 1, 0)
	serial := f.load(1)[0]
	r, err := f.line().open(t.Context(), "A1")
	f.must(err)
	defer r.reader.Close()
	s := newSeat(t.Context(), f.tray.station("st"))
	defer s.close()
	f.must(s.insert(serial))
	c, err := look(s)
	f.must(err)
	rec, err := r.record(t.Context(), task{0, 0})
	f.must(err)
	f.product.LotKey = "lot/2"
	agree, err := f.token.Key(t.Context(), "agree")
	f.must(err)
	given, err := hsm.Give(agree.Public, hsm.KeyContent(hsm.Lot, hsm.LotKDF3), "lot", []byte("0F1E2D3C4B5A69788796A5B4C3D2E1F0"))
	f.must(err)
	_, err = f.token.TakeKey(t.Context(), "agree", given, "lot", f.product.LotKey, hsm.Lot, hsm.LotKDF3)
	f.must(err)
	r.maker.derive, err = f.line().chipKeys(t.Context())
	f.must(err)
	c.answer = c.answer[:9]
	var reject *Reject
	if err := r.maker.make(t.Context(), s, c, rec); !errors.As(err, &reject) || reject.Reason != BadAnswer {
		t.Errorf("nine bytes: %v", err)
	}
}
