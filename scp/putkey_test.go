package scp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestPutKey(t *testing.T) {
	dek := testKeys(t, 1, 32)
	for _, n := range []int{16, 24, 32} {
		keys := [][]byte{bytes.Repeat([]byte{5}, n), bytes.Repeat([]byte{6}, n), bytes.Repeat([]byte{7}, n)}
		data, err := PutKey(nil, dek, 0x30, keys)
		if err != nil {
			t.Fatal(err)
		}
		want, err := PutKeyReceipt(nil, 0x30, keys)
		if err != nil {
			t.Fatal(err)
		}
		version, got, receipt, err := ParsePutKey(data, dek)
		if err != nil {
			t.Fatal(err)
		}
		all, err := got.Reveal(nil)
		if err != nil || version != 0x30 || !bytes.Equal(all, bytes.Join(keys, nil)) || !bytes.Equal(receipt, want) {
			t.Errorf("AES-%d: version %02X, receipt %x, want %x, %v", 8*n, version, receipt, want, err)
		}
	}
}

// The figures follow from CheckValue's vectors and AES-CBC with a zero IV.
func TestPutKeyLayout(t *testing.T) {
	v := vectors(t).Vectors[0]
	enc := unhex(t, v["enc"])
	data, err := PutKey([]byte("x"), staticKeys(t, v), 0x31, [][]byte{enc})
	if err != nil {
		t.Fatal(err)
	}
	if len(data) != 1+1+3+16+4 || !bytes.Equal(data[:5], []byte{'x', 0x31, 0x88, 0x11, 0x10}) ||
		!bytes.Equal(data[21:], []byte{3, 0xC3, 0x52, 0x80}) {
		t.Errorf("%x", data)
	}
}

func TestPutKeyRefuses(t *testing.T) {
	dek := testKeys(t, 1, 16)
	if _, err := PutKey(nil, dek, 1, [][]byte{make([]byte, 8)}); err == nil {
		t.Error("a key of 8 bytes is not refused")
	}
	if _, err := PutKeyReceipt(nil, 1, [][]byte{make([]byte, 8)}); err == nil {
		t.Error("a receipt for a key of 8 bytes is not refused")
	}
	if _, err := PutKey(nil, KeySet{}, 1, [][]byte{make([]byte, 16)}); !errors.Is(err, ErrClosed) {
		t.Errorf("zero key set: %v, want ErrClosed", err)
	}
	k := bytes.Repeat([]byte{9}, 24)
	good, err := PutKey(nil, dek, 1, [][]byte{k, k, k})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := ParsePutKey(good, KeySet{}); !errors.Is(err, ErrClosed) {
		t.Errorf("zero card: %v, want ErrClosed", err)
	}
	mixed, err := PutKey(nil, dek, 1, [][]byte{k, k, k[:16]})
	if err != nil {
		t.Fatal(err)
	}
	two, err := PutKey(nil, dek, 1, [][]byte{k, k})
	if err != nil {
		t.Fatal(err)
	}
	badPadding := bytes.Clone(good)
	sealed, err := dek.SealKey(nil, bytes.Repeat([]byte{9}, 32))
	if err != nil {
		t.Fatal(err)
	}
	copy(badPadding[4:], sealed)
	set := func(i int, v byte) []byte {
		b := bytes.Clone(good)
		b[i] = v
		return b
	}
	for name, b := range map[string][]byte{
		"empty":              {},
		"version only":       {1},
		"DES":                set(1, 0x80),
		"outer length":       set(2, 0x20),
		"inner length":       set(3, 17),
		"truncated":          good[:20],
		"sealed key changed": set(5, good[5]^1),
		"check value length": set(1+3+32, 2),
		"check value":        set(1+3+32+1, good[1+3+32+1]^1),
		"padding":            badPadding,
		"two keys":           two,
		"trailing byte":      append(bytes.Clone(good), 0),
		"two lengths":        mixed,
	} {
		if _, _, _, err := ParsePutKey(b, dek); !errors.Is(err, ErrKeyData) {
			t.Errorf("%s: %v, want ErrKeyData", name, err)
		}
	}
}

func FuzzParsePutKey(f *testing.F) {
	k := bytes.Repeat([]byte{9}, 24)
	good, err := PutKey(nil, testKeys(f, 1, 16), 1, [][]byte{k, k, k})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{1, 0x88, 0x11, 0x10})
	f.Fuzz(func(t *testing.T, b []byte) {
		dek := testKeys(t, 1, 16)
		version, keys, _, err := ParsePutKey(b, dek)
		if err != nil {
			return
		}
		all, err := keys.Reveal(nil)
		if err != nil {
			t.Fatal(err)
		}
		n := len(all) / 3
		again, err := PutKey(nil, dek, version, [][]byte{all[:n], all[n : 2*n], all[2*n:]})
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x comes back as %x, %v", b, again, err)
		}
	})
}

func TestKeyIsPrivate(t *testing.T) {
	k, err := NewKey(KeyAES, bytes.Repeat([]byte{0xA7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	type holder struct{ key Key }
	j, err := json.Marshal(k)
	out := fmt.Sprintf("%s %v", j, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		out += fmt.Sprintf(verb+verb, k, holder{k})
	}
	for _, leak := range []string{"a7a7", "A7A7", "167 167", `\xa7`} {
		if strings.Contains(out, leak) {
			t.Errorf("printed %q: %s", leak, out)
		}
	}
}
