package aka

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ankan/waiver"
)

var noon = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

// own is constants that no standard has.
func own() Constants {
	c := StandardConstants()
	c.R[0], c.C[4][0] = 8, 0xA5
	return c
}

func samples() []Parameters {
	return []Parameters{
		{Algorithm: MILENAGE},
		{Algorithm: MILENAGE, Milenage: own()},
		{Algorithm: TUAK, Tuak: TuakParameters{128, 64, 64, 128, 128, 1}},
		{Algorithm: TUAK, Tuak: TuakParameters{256, 64, 256, 256, 128, 255}},
		{Algorithm: XOR},
	}
}

func TestParameters(t *testing.T) {
	for _, p := range samples() {
		t.Run(p.String(), func(t *testing.T) {
			k, op := bytes.Repeat([]byte{1}, p.KeySize()), bytes.Repeat([]byte{2}, p.VariantSize())
			variant, err := p.AppendVariant([]byte("x"), k, op)
			if err != nil || len(variant) != 1+p.VariantSize() || len(op) > 0 && bytes.Equal(variant[1:], op) {
				t.Fatalf("variant has %d bytes, %v", len(variant)-1, err)
			}
			set, err := p.Open(k, variant[1:])
			if err != nil {
				t.Fatal(err)
			}
			agree(t, set, 77)
			if back, err := ParseParameters(p.String()); back != p || err != nil {
				t.Errorf("%q became %v, %v", p, back, err)
			}
			coded := append(p.Append(nil), append(k, variant[1:]...)...)
			back, keys, err := ReadParameters(coded)
			if back != p || err != nil || !bytes.Equal(keys, append(k, variant[1:]...)) {
				t.Errorf("%x became %v, keys of %d bytes, %v", coded, back, len(keys), err)
			}
			for n := range coded {
				if q, _, err := ReadParameters(coded[:n]); err == nil && q != samples()[0] {
					t.Errorf("%d bytes of %d are taken", n, len(coded))
				}
			}
			for _, n := range []int{len(k) - 1, len(k) + 1, 0} {
				if _, err := p.Open(make([]byte, n), variant[1:]); err == nil {
					t.Errorf("K of %d bytes is taken", n)
				}
			}
			if _, err := p.Open(k, make([]byte, len(op)+1)); err == nil {
				t.Error("a variant that is too long is taken")
			}
		})
	}
	standard := Parameters{Algorithm: MILENAGE, Milenage: StandardConstants()}
	if standard.String() != "MILENAGE" || len(standard.Append(nil)) != 1 {
		t.Errorf("the standard constants are %q, %x", standard, standard.Append(nil))
	}
	// With the constants that an operator chose all but the tokens' frame is another.
	a, _ := samples()[0].Open(make([]byte, 16), make([]byte, 16))
	b, _ := samples()[1].Open(make([]byte, 16), make([]byte, 16))
	if va, vb := a.Vector(RAND{}, 1, EPS()), b.Vector(RAND{}, 1, EPS()); va.AUTN == vb.AUTN {
		t.Error("own constants change nothing")
	}
}

func TestParametersRefuse(t *testing.T) {
	tuak := func(change func(*TuakParameters)) Parameters {
		p := TuakParameters{128, 64, 64, 128, 128, 1}
		change(&p)
		return Parameters{Algorithm: TUAK, Tuak: p}
	}
	twice := StandardConstants()
	twice.R[3], twice.C[3] = twice.R[4], twice.C[4]
	k := make([]byte, 16)
	for want, p := range map[string]Parameters{
		`algorithm is ""`:                                    {},
		"COMP128v1 is refused":                               {Algorithm: COMP128v1},
		"constants of MILENAGE":                              {Algorithm: XOR, Milenage: own()},
		"there are parameters of":                            {Algorithm: MILENAGE, Tuak: TuakParameters{K: 128}},
		"repeat r4, c4":                                      {Algorithm: MILENAGE, Milenage: twice},
		"K has 0 bits, want 128 to 256":                      {Algorithm: TUAK},
		"K has 192 bits, want 128 to 256, by powers of two":  tuak(func(p *TuakParameters) { p.K = 192 }),
		"MAC has 32 bits, want 64 to 256, by powers of two":  tuak(func(p *TuakParameters) { p.MAC = 32 }),
		"MAC has 128 bits, AUTN and AUTS take 64":            tuak(func(p *TuakParameters) { p.MAC = 128 }),
		"RES has 512 bits, want 32 to 256, by powers of two": tuak(func(p *TuakParameters) { p.RES = 512 }),
		"CK has 64 bits, want 128 to 256, by powers of two":  tuak(func(p *TuakParameters) { p.CK = 64 }),
		"IK has 0 bits, want 128 to 256, by powers of two":   tuak(func(p *TuakParameters) { p.IK = 0 }),
		"Keccak is done 0 times, want 1 to 255":              tuak(func(p *TuakParameters) { p.Iterations = 0 }),
		"TUAK: Keccak is done 256 times, want 1 to 255":      tuak(func(p *TuakParameters) { p.Iterations = 256 }),
	} {
		_, open := p.Open(k, k)
		_, variant := p.AppendVariant(nil, k, k)
		for _, err := range []error{p.Check(), open, variant} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: error is %v, want %q", p, err, want)
			}
		}
		if q, err := ParseParameters(p.String()); err == nil && q == p {
			t.Errorf("%q is taken", p)
		}
		if p.KeySize() != 0 || p.VariantSize() != 0 || p.Append(nil) != nil {
			t.Errorf("%v has sizes or a form", p)
		}
	}
	good := TuakParameters{128, 64, 64, 128, 128, 1}
	for want, f := range map[string]func() error{
		"K has 15 bytes, want 16":                       func() error { _, err := NewXOR(k[:15]); return err },
		"K of the test algorithm is zero":               func() error { _, err := NewXOR(k); return err },
		"XOR: OPc has 16 bytes, want none":              func() error { _, err := samples()[4].Open(k, k); return err },
		"K has 16 bytes, TOPc 16, want 16 and 32":       func() error { _, err := NewTuak(k, k, good); return err },
		"K has 16 bytes, TOP 16, want 16 or 32, and 32": func() error { _, err := AppendTOPc(nil, k, k, 1); return err },
		"Keccak is done 0 times":                        func() error { _, err := AppendTOPc(nil, k, make([]byte, 32), 0); return err },
		"K has 16 bytes, want 32":                       func() error { _, err := samples()[3].AppendVariant(nil, k, make([]byte, 32)); return err },
		"RES has 1 bits": func() error {
			_, err := NewTuak(k, make([]byte, 32), TuakParameters{128, 64, 1, 128, 128, 1})
			return err
		},
		"have no bytes":                                  func() error { _, _, err := ReadParameters(nil); return err },
		"algorithm is 04, want 01, 02 or 03":             func() error { _, _, err := ReadParameters([]byte{4}); return err },
		"have 34 bytes, want 33":                         func() error { _, _, err := ReadParameters(append([]byte{1}, make([]byte, 33)...)); return err },
		"the constants are the standard ones":            func() error { _, _, err := ReadParameters(append([]byte{1}, make([]byte, 117)...)); return err },
		`parameters are "XOR ", want "XOR"`:              func() error { _, err := ParseParameters("XOR "); return err },
		`parameters are "MILENAGE r=1", want "MILENAGE"`: func() error { _, err := ParseParameters("MILENAGE r=1"); return err },
		"K has -1 bits": func() error {
			_, err := ParseParameters("TUAK k=x mac=64 res=64 ck=128 ik=128 iterations=1")
			return err
		},
		`algorithm is "COMP128v4", want COMP128v1`: func() error { _, err := NewComp128("COMP128v4", k, waiver.Waiver{}, noon); return err },
		"Ki has 15 bytes, want 16": func() error {
			_, err := NewComp128(COMP128v1, k[:15], allowed(COMP128v1), noon)
			return err
		},
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}

// allowed is a waiver that is over a moment after noon.
func allowed(a Algorithm) waiver.Waiver {
	return waiver.Waiver{For: string(a), Signed: "person/meera", Reason: "old cards are compared", Until: noon.Add(1)}
}

func TestWaived(t *testing.T) {
	if a, err := ParseWaived("COMP128v2", allowed(COMP128v2), noon); a != COMP128v2 || err != nil {
		t.Errorf("%s, %v", a, err)
	}
	for want, w := range map[string]waiver.Waiver{
		"algorithm COMP128v2 is refused: it is weak or broken": {}, `algorithm COMP128v2: waiver is for "COMP128v1"`: allowed(COMP128v1), "waiver ended on 2027-03-01": allowed(COMP128v2),
	} {
		_, parse := ParseWaived("COMP128v2", w, noon.Add(1))
		_, made := NewComp128(COMP128v2, make([]byte, 16), w, noon.Add(1))
		for _, err := range []error{parse, made} {
			if !errors.Is(err, waiver.ErrNone) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %v, want %q", w, err, want)
			}
		}
	}
	// A waiver is no reason to take what is known or nothing.
	if a, err := ParseWaived("TUAK", waiver.Waiver{}, noon); a != TUAK || err != nil {
		t.Errorf("TUAK: %v", err)
	}
	if _, err := ParseWaived("COMP128", allowed("COMP128"), noon); err == nil {
		t.Error("COMP128 without a version is taken")
	}
}

func TestSetsAreSecret(t *testing.T) {
	k := []byte("0123456789abcdef")
	tuak, _ := samples()[2].Open(k, bytes.Repeat(k, 2))
	xor, _ := NewXOR(k)
	raw, _ := NewTuak(k, bytes.Repeat(k, 2), TuakParameters{128, 64, 64, 128, 128, 1})
	gsm, _ := NewComp128(COMP128v1, k, allowed(COMP128v1), noon)
	for _, secret := range []any{tuak, &tuak, xor, raw, &raw, gsm, &gsm} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			text := fmt.Sprintf(verb, secret)
			for _, leak := range []string{"0123", "3031", "48 49", "0x30", "3978425819141910832"} {
				if strings.Contains(text, leak) {
					t.Errorf("%T under %s printed %s", secret, verb, text)
				}
			}
		}
	}
}

func FuzzParameters(f *testing.F) {
	for _, p := range samples() {
		f.Add(p.String(), append(p.Append(nil), make([]byte, p.KeySize()+p.VariantSize())...))
	}
	f.Add("TUAK k=128", []byte{2})
	f.Fuzz(func(t *testing.T, text string, coded []byte) {
		if p, err := ParseParameters(text); err == nil && (p.String() != text || p.Check() != nil) {
			t.Errorf("%q became %q", text, p)
		}
		if p, keys, err := ReadParameters(coded); err == nil && !bytes.Equal(append(p.Append(nil), keys...), coded) {
			t.Errorf("%x became %q with keys of %d bytes", coded, p, len(keys))
		}
	})
}
