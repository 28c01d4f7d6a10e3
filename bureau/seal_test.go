package bureau

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"testing"

	"ankan/format"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/profile"
	"ankan/site/sitetest"
)

// Columns in each mode are what the standard library makes of each value.
func TestSealModes(t *testing.T) {
	token, layout := hsmtest.Soft(t, nil), sitetest.Must[*profile.Profile](t)(profile.Builtin("in-5g-usim"))
	agree := sitetest.Must[hsm.Key](t)(token.Generate(t.Context(), "agree", hsm.Agree, hsm.P521))
	iv := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	for i, c := range []struct {
		seal string
		a    hsm.Algorithm
		cbc  bool
	}{
		{"seal", hsm.AES128, false}, {"seal(aes-ecb)", hsm.AES256, false}, {"seal(cbc, 0102030405060708090A0B0C0D0E0F10)", hsm.AES256, true},
		{"seal", hsm.TDES, false}, {"seal(3des)", hsm.TDES, false}, {"seal(ecb)", hsm.TDES3, false},
		{"seal(3des-cbc, 0102030405060708)", hsm.TDES, true}, {"seal(3des-cbc, 0102030405060708)", hsm.TDES3, true},
	} {
		known := make([]byte, c.a.KeyLen())
		rand.Read(known)
		given := sitetest.Must[hsm.Given](t)(hsm.Give(agree.Public, hsm.KeyContent(hsm.Transport, c.a), "k4", known))
		id := fmt.Sprintf("k4/%d", i)
		if _, err := token.TakeKey(t.Context(), "agree", given, "k4", id, hsm.Transport, c.a); err != nil {
			t.Fatal(err)
		}
		doc := "layout: mode\nabout: modes\noutputs:\n  - name: out\n    row: |\n      ${iccid} ${imsi} ${k | " + c.seal + "}\n"
		columns := sitetest.Must[*format.Layout](t)(format.Parse("mode.yaml", []byte(doc))).Outputs()[0].Columns()
		m := newRowMaker(token, map[string]string{"": id}, layout, columns[2:])
		clear := make([]byte, 5*16)
		rand.Read(clear)
		m.cells[0] = bytes.Clone(clear)
		if err := m.seal(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		b := sitetest.Must[cipher.Block](t)(hsm.NewCipher(c.a, known))
		want := make([]byte, 0, len(clear))
		for v := 0; v < len(clear); v += 16 {
			out := make([]byte, 16)
			if n := b.BlockSize(); c.cbc {
				cipher.NewCBCEncrypter(b, iv[:n]).CryptBlocks(out, clear[v:v+16])
			} else {
				for at := 0; at < 16; at += n {
					b.Encrypt(out[at:], clear[v+at:v+at+n])
				}
			}
			want = append(want, out...)
		}
		if !bytes.Equal(m.cells[0], want) {
			t.Errorf("%s under %s: %x, want %x", c.seal, c.a, m.cells[0], want)
		}
	}
}
