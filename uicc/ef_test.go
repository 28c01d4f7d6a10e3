package uicc

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// efVector is one line of testdata/ef: a value, and the bytes that it makes or
// the error that refuses it.
type efVector struct {
	Dir, File, Hex, Error, Source string
	Size                          int
	Value                         json.RawMessage
}

func efVectors(t testing.TB) []efVector {
	t.Helper()
	names, err := filepath.Glob("testdata/ef/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("testdata/ef has no vectors: %v", err)
	}
	var all []efVector
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var v []efVector
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(v) == 0 {
			t.Fatalf("%s is empty", name)
		}
		all = append(all, v...)
	}
	return all
}

// jsonValue reads a Value, keeping the order of fields.
func jsonValue(t testing.TB, raw json.RawMessage) Value {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	var read func() Value
	read = func() Value {
		tok, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		switch tok {
		case json.Delim('['):
			v := Value{List: []Value{}}
			for d.More() {
				v.List = append(v.List, read())
			}
			d.Token()
			return v
		case json.Delim('{'):
			v := Value{Fields: []Field{}}
			for d.More() {
				name, _ := d.Token()
				v.Fields = append(v.Fields, Field{name.(string), read()})
			}
			d.Token()
			return v
		}
		return Text(fmt.Sprint(tok))
	}
	return read()
}

func TestEFVectors(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range efVectors(t) {
		t.Run(v.File, func(t *testing.T) {
			ef, ok := FindEF(v.Dir, v.File)
			if !ok {
				t.Fatalf("no file %s in %s", v.File, v.Dir)
			}
			size := v.Size
			if size == 0 {
				size = ef.Size
			}
			value := jsonValue(t, v.Value)
			got, err := ef.Codec.Encode(value, size)
			if v.Error != "" {
				if err == nil || !strings.Contains(err.Error(), v.Error) {
					t.Fatalf("%s: error %v, want %q", value, err, v.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if v.Source == "" {
				t.Error("vector names no source")
			}
			seen[v.Dir+"/"+v.File] = true
			want, err := hex.DecodeString(v.Hex)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%s:\n got %X\nwant %X", value, got, want)
			}
			back, err := ef.Codec.Decode(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(value, back); diff != "" {
				t.Errorf("decoded differs (-want +got):\n%s", diff)
			}
		})
	}
	for _, ef := range EFs() {
		if ef.Codec.Known() && !seen[ef.Dir+"/"+ef.Name] {
			t.Errorf("%s in %s has a codec and no vector", ef.Name, ef.Dir)
		}
	}
}

func TestEFTable(t *testing.T) {
	id, sfi := map[string]string{}, map[string]string{}
	for _, ef := range EFs() {
		if ef.Clause == "" || ef.Kind != Transparent && ef.Kind != LinearFixed {
			t.Errorf("%s: clause %q, kind %v", ef.Name, ef.Clause, ef.Kind)
		}
		if k := fmt.Sprint(ef.Dir, ef.ID); id[k] != "" {
			t.Errorf("%s and %s have one id", ef.Name, id[k])
		} else {
			id[k] = ef.Name
		}
		if k := fmt.Sprint(ef.Dir, ef.SFI); ef.SFI > 30 || ef.SFI > 0 && sfi[k] != "" {
			t.Errorf("%s and %s have SFI %d", ef.Name, sfi[k], ef.SFI)
		} else {
			sfi[k] = ef.Name
		}
		if n := len(ef.Initial); n > 0 && ef.Size > 0 && ef.Codec.Known() {
			b := append([]byte(nil), ef.Initial...)
			for len(b) < ef.Size {
				b = append(b, b[n-1])
			}
			if _, err := ef.Codec.Decode(b); err != nil {
				t.Errorf("%s: initial content: %v", ef.Name, err)
			}
		}
	}
	if _, ok := FindEF("ADF.USIM", "ef.imsi"); !ok {
		t.Error("EF.IMSI not found")
	}
	if _, ok := FindEF("MF", "EF.IMSI"); ok {
		t.Error("EF.IMSI found in the MF")
	}
}

func TestServices(t *testing.T) {
	if diff := cmp.Diff([]int{1, 9, 16}, Services([]byte{0x01, 0x81})); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, x := range []struct{ dir, file, hex, want string }{
		{"MF", "EF.PL", "656EFF00", "language"},
		{"MF", "EF.ICCID", "98", "1 bytes left, want 10"},
		{"ADF.USIM", "EF.FPLMN", "04F46A", "want digits"},
		{"ADF.USIM", "EF.SPN", "0141FF42FFFFFFFFFFFFFFFFFFFFFFFFFF", "default alphabet"},
		{"ADF.USIM", "EF.SPN", "0180FFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", "not how this name is coded"},
		{"ADF.USIM", "EF.SPN", "01800905D8000928FFFFFFFFFFFFFFFFFF", "not a UCS2 character"},
		{"ADF.USIM", "EF.SPN", "01800905FFFF0928FFFFFFFFFFFFFFFFFF", "after the end"},
		{"ADF.USIM", "EF.MSISDN", "0791198921436587FFFFFFFF00", "13 bytes left"},
		{"ADF.USIM", "EF.MSISDN", "0D91198921436587FFFFFFFFFFFF", "length byte 0D"},
		{"ADF.USIM", "EF.MSISDN", "0701198921436587FFFFFFFFFFFF", "type of number"},
		{"ADF.USIM", "EF.MSISDN", "079119892143658EFFFFFFFFFFFF", "not two BCD digits"},
		{"ADF.USIM", "EF.SMSP", "FD0691214365F7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", "length byte"},
		{"ADF.USIM", "EF.EPSNSC", "A0038001", "malformed"},
		{"ADF.USIM", "EF.EPSNSC", "A1038001FF", "want A0"},
		{"ADF.USIM", "EF.EPSNSC", "A0038601FF", "unexpected data object 86"},
		{"ADF.USIM", "EF.EPSNSC", "A0038001FF00", "want padding FF"},
		{"DF.5GS", "EF.Routing_Indicator", "F0FF0000", "want FFFF"},
		{"DF.5GS", "EF.Routing_Indicator", "FFFFFFFF", "no digits"},
	} {
		ef, _ := FindEF(x.dir, x.file)
		b, err := hex.DecodeString(x.hex)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := ef.Codec.Decode(b); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s %s: %s, error %v, want %q", x.file, x.hex, v, err, x.want)
		}
	}
}

// No codec takes a value of another shape than its own.
func TestEncodeRefusesOtherShapes(t *testing.T) {
	for _, ef := range EFs() {
		for _, v := range []Value{
			Text("zz zz"), Text(""),
			{Fields: []Field{{"zz", Text("1")}}}, {Fields: []Field{{"name", Value{List: []Value{}}}}},
			{List: []Value{{List: []Value{Text("1")}}}}, {List: []Value{{Fields: []Field{}}}},
		} {
			if b, err := ef.Codec.Encode(v, max(ef.Size, 40)); ef.Codec.Known() && (err == nil || !errors.Is(err, ErrContent)) {
				t.Errorf("%s takes %s as %X, error %v", ef.Name, v, b, err)
			}
		}
		if _, err := ef.Codec.Decode(nil); ef.Size > 0 && ef.Codec.Known() && len(ef.Services) == 0 && err == nil {
			t.Errorf("%s decodes nothing", ef.Name)
		}
	}
	for file, wrong := range map[string]Value{
		"EF.SUCI_Calc_Info": {Fields: []Field{{"keys", Text("1")}}},
		"EF.5GAUTHKEYS":     {Fields: []Field{{"kausf", Text("00")}}},
	} {
		ef, _ := FindEF(Dir5GS, file)
		if _, err := ef.Codec.Encode(wrong, 40); err == nil {
			t.Errorf("%s takes %s", file, wrong)
		}
	}
}

func TestValueString(t *testing.T) {
	v := Value{Fields: []Field{{"a", Texts("x", "")}, {"b", Text("1, 2")}}}
	if got, want := v.String(), `{a: [x, ""], b: "1, 2"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// FuzzEF: what decodes re-encodes to the same bytes.
func FuzzEF(f *testing.F) {
	table := EFs()
	for _, v := range efVectors(f) {
		for i := range table {
			if b, err := hex.DecodeString(v.Hex); err == nil && len(b) > 0 && table[i].Name == v.File && table[i].Dir == v.Dir {
				f.Add(uint8(i), b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		ef := table[int(i)%len(table)]
		if len(b) == 0 {
			return
		}
		v, err := ef.Codec.Decode(b)
		if err != nil {
			return
		}
		again, err := ef.Codec.Encode(v, len(b))
		if err != nil {
			t.Fatalf("%s: %X is %s, which does not encode: %v", ef.Name, b, v, err)
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%s: %X is %s, which is %X", ef.Name, b, v, again)
		}
	})
}

func BenchmarkEFEncode(b *testing.B) {
	ef, _ := FindEF(DirUSIM, "EF.LOCI")
	v, err := ef.Codec.Decode(ef.Initial)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ef.Codec.Encode(v, ef.Size); err != nil {
			b.Fatal(err)
		}
	}
}
