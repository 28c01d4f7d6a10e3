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
// the error that refuses it. What holds for the file holds for those in Also.
type efVector struct {
	Dir, File, Hex, Error, Source string
	Also                          []string // "DF.GSM/EF.SPN"
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
		for _, x := range v {
			all = append(all, x)
			for _, also := range x.Also {
				x.Dir, x.File, _ = strings.Cut(also, "/")
				all = append(all, x)
			}
		}
	}
	return all
}

// jsonValue reads a Value, keeping the order of fields.
func jsonValue(t testing.TB, raw json.RawMessage) Value {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
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
		t.Run(v.Dir+"/"+v.File, func(t *testing.T) {
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
		if !seen[ef.Dir+"/"+ef.Name] {
			t.Errorf("%s in %s has no vector", ef.Name, ef.Dir)
		}
	}
}

func TestEFTable(t *testing.T) {
	id, sfi := map[string]string{}, map[string]string{}
	for _, ef := range EFs() {
		if ef.Clause == "" || ef.Kind.Dedicated() || ef.Kind == KindNone {
			t.Errorf("%s: clause %q, kind %v", ef.Name, ef.Clause, ef.Kind)
		}
		if len(ef.Services) > 0 && ef.ServiceTable() == "" || len(ef.Services) == 0 && len(ef.With) > 0 {
			t.Errorf("%s in %s: services %v with %v", ef.Name, ef.Dir, ef.Services, ef.With)
		}
		if k := fmt.Sprint(ef.Dir, ef.ID); ef.ID != 0 && id[k] != "" {
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
		{"ADF.ISIM", "EF.IMPI", "810141", "data object 81, want 80"},
		{"ADF.ISIM", "EF.IMPI", "800107", "not a text of printable characters"},
		{"ADF.ISIM", "EF.IMPI", "8000", "not a text"},
		{"ADF.ISIM", "EF.IMPI", "8005656D707479", "stands for erased bytes"},
		{"ADF.ISIM", "EF.P-CSCF", "800101", "1 bytes left, want 2"},
		{"ADF.ISIM", "EF.P-CSCF", "800301C000", "not an address of type 01"},
		{"ADF.ISIM", "EF.P-CSCF", "800502C0000201", "not an address of type 02"},
		{"ADF.ISIM", "EF.P-CSCF", "8003004120", "not an IP address and not a host name"},
		{"ADF.ISIM", "EF.P-CSCF", "800800312E322E332E34", "not how this address is coded"},
		{"ADF.USIM", "EF.NETPAR", "9F010141", "tag of two bytes"},
		{"ADF.USIM", "EF.NETPAR", "1F0141", "tag of two bytes"},
		{"ADF.USIM", "EF.NETPAR", "8005FF", "malformed"},
		{"ADF.USIM", "EF.NETPAR", "8001410000", "want padding FF"},
		{"ADF.USIM", "EF.SPDI", "A306800404F49900", "want a multiple of 3"},
		{"ADF.USIM", "EF.VGCSCA", "010203", "want a multiple of 2"},
		{"ADF.USIM", "EF.ACL", "02DD0403696D73", "element 2 of 2"},
		{"ADF.USIM", "EF.ACL", "01DD0405696D73", "does not fit the name of an access point"},
		{"ADF.USIM", "EF.ACL", "01DD0403696D20", "not the name of an access point"},
		{"DF.GRAPHICS", "EF.IMG", "012E0A", "bytes left"},
		{"DF.PHONEBOOK", "EF.PBR", "A804CD024F3A", "unexpected data object CD"},
		{"DF.PHONEBOOK", "EF.PBR", "A803C0014F", "ADN has 1 bytes, want 2 or 3"},
		{"DF.PHONEBOOK", "EF.PBR", "A805C0034F3A1F", "want a kind, an identifier and a short identifier"},
		{"ADF.USIM", "EF.PUCT", "494E520710", "power -0"},
		{"DF.GSM", "EF.SST", "02", "activated and not allocated"},
		{"DF.GSM", "EF.SST", strings.Repeat("00", 32), "at most 31"},
		{"ADF.USIM", "EF.GBABP", "05010203", "bytes left"},
		{"ADF.USIM", "EF.GBABP", "0101FF" + strings.Repeat("01", 255) + "00", "FF where a number should be"},
		{"ADF.USIM", "EF.ACL", "FF" + strings.Repeat("DD0161", 255), "FF where a number should be"},
		{"ADF.USIM", "EF.VGCS", "21FFFFFFFFFFFFFF21FFFFFF", "no digits"},
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
			b, err := ef.Codec.Encode(v, max(ef.Size, 40))
			if err == nil {
				back, err := ef.Codec.Decode(b) // a file of free text takes any
				if ef.Codec.Known() && (err != nil || !cmp.Equal(v, back)) {
					t.Errorf("%s takes %s as %X, which is %s, error %v", ef.Name, v, b, back, err)
				}
			} else if !errors.Is(err, ErrContent) {
				t.Errorf("%s: error %v", ef.Name, err)
			}
		}
		if v, err := ef.Codec.Decode(nil); err == nil {
			if b, err := ef.Codec.Encode(v, 0); err != nil || len(b) > 0 {
				t.Errorf("%s decodes nothing as %s, which is %X, error %v", ef.Name, v, b, err)
			}
		}
	}
	for _, x := range []struct {
		dir, file string
		wrong     Value
		want      string
	}{
		{Dir5GS, "EF.SUCI_Calc_Info", Value{Fields: []Field{{"keys", Text("1")}}}, "want a list"},
		{Dir5GS, "EF.5GAUTHKEYS", Value{Fields: []Field{{"kausf", Text("00")}}}, "want 32"},
		{DirUSIM, "EF.NETPAR", Texts("800"), "no tag of one byte"},
		{DirUSIM, "EF.NETPAR", Texts("1F 00"), "no tag of one byte"},
		{DirUSIM, "EF.NETPAR", Texts("80 0"), "not hexadecimal"},
		{DirUSIM, "EF.ACL", Value{List: make([]Value, 255)}, "at most 254"},
		{DirUSIM, "EF.ACL", Texts("airtel..in"), "not the name of an access point"},
		{DirUSIM, "EF.PWS", Texts("all"), "none of home-ignored, visited-ignored"},
		{DirUSIM, "EF.MMSN", Value{Fields: []Field{{"status", Text("0000")}, {"implementation", Text("00")}, {"notification", Text(strings.Repeat("00", 40))}}}, "at most 36"},
		{DirUSIM, "EF.PNN", Value{Fields: []Field{{"full", Text("hex:83D332BD0E6ABEC5697619")}}}, "is the name"},
		{DirUSIM, "EF.PNN", Value{Fields: []Field{{"full", Text("hex:8")}}}, "not hexadecimal"},
		{DirUSIM, "EF.PNN", Value{Fields: []Field{{"full", Text("")}}}, "empty name"},
		{DirTelecom, "EF.SUME", Value{Fields: []Field{{"title", Text("hex:53657475")}}}, "is the name"},
		{DirTelecom, "EF.SUME", Value{Fields: []Field{{"title", Text("hex:5")}}}, "not hexadecimal"},
		{DirUSIM, "EF.PNN", Value{Fields: []Field{{"full", Text("\U0001F600")}}}, "UCS2 has not"},
		{DirUSIM, "EF.PUCT", Value{Fields: []Field{{"currency", Text("INR")}, {"unit", Text("4096e0")}}}, "not a price"},
		{DirUSIM, "EF.PUCT", Value{Fields: []Field{{"currency", Text("INR")}, {"unit", Text("1e8")}}}, "not a price"},
		{DirUSIM, "EF.GBABP", Value{Fields: []Field{{"rand", Text(strings.Repeat("00", 255))}, {"b-tid", Text("")}, {"lifetime", Text("")}}}, "at most 254"},
		{DirGSM, "EF.SST", Texts("128"), "not a service number"},
		{DirGSM, "EF.SST", Texts("1 on"), "not a service number"},
		{DirPhonebook, "EF.PBR", Value{Fields: []Field{{"by-record", Texts("ADR 4F3A")}}}, "none of ADN"},
		{DirPhonebook, "EF.PBR", Value{Fields: []Field{{"by-record", Texts("ADN 4F")}}}, "want a kind"},
		{DirISIM, "EF.P-CSCF", Text("a b"), "not an IP address"},
		{DirISIM, "EF.P-CSCF", Text("fe80::1%eth0"), "not an IP address"},
		{DirISIM, "EF.IMPU", Text("sip:\n"), "printable"},
	} {
		ef, _ := FindEF(x.dir, x.file)
		if b, err := ef.Codec.Encode(x.wrong, 40); err == nil || !errors.Is(err, ErrContent) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s takes %s as %X, error %v, want %q", x.file, x.wrong, b, err, x.want)
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
// What a person writes into a file is refused, or stands there as they wrote it: it
// reads back as a value that makes the same bytes.
func FuzzEFValue(f *testing.F) {
	table := EFs()
	for _, v := range efVectors(f) {
		for i := range table {
			if table[i].Name == v.File && table[i].Dir == v.Dir {
				f.Add(uint8(i), uint8(v.Size), []byte(v.Value))
			}
		}
	}
	f.Fuzz(func(t *testing.T, i, size uint8, doc []byte) {
		if !json.Valid(doc) {
			return
		}
		ef := table[int(i)%len(table)]
		v := jsonValue(t, doc)
		b, err := ef.Codec.Encode(v, int(size))
		if err != nil {
			if !errors.Is(err, ErrContent) {
				t.Fatalf("%s: %v is no ErrContent", ef.Name, err)
			}
			return
		}
		if size != 0 && len(b) != int(size) {
			t.Fatalf("%s: %s makes %d bytes, want %d", ef.Name, v, len(b), size)
		}
		back, err := ef.Codec.Decode(b)
		if err != nil {
			t.Fatalf("%s: %s is %X, which does not decode: %v", ef.Name, v, b, err)
		}
		again, err := ef.Codec.Encode(back, len(b))
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%s: %s is %X, which is %s, which is %X, %v", ef.Name, v, b, back, again, err)
		}
	})
}

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

// A table of services decides which files are there.
func TestWanted(t *testing.T) {
	for _, x := range []struct {
		dir, file string
		on        []int
		want      bool
	}{
		{DirUSIM, "EF.FDN", []int{89}, true}, {DirUSIM, "EF.FDN", []int{3}, false}, {DirUSIM, "EF.IMSI", []int{1}, false},
		{DirUSIM, "EF.EHPLMNPI", []int{73}, false}, {DirUSIM, "EF.EHPLMNPI", []int{71, 73}, true}, {DirUSIM, "EF.EHPLMNPI", []int{71}, false},
	} {
		ef, _ := FindEF(x.dir, x.file)
		if ef.Wanted(x.on) != x.want {
			t.Errorf("%s with %v: %v, want %v", x.file, x.on, !x.want, x.want)
		}
	}
	for dir, want := range map[string]string{DirUSIM: "EF.UST", DirSAIP: "EF.UST", DirISIM: "EF.IST", DirGSM: "EF.SST", DirMF: "", DirTelecom: ""} {
		if got := (EF{Dir: dir}).ServiceTable(); got != want {
			t.Errorf("%s: %q, want %q", dir, got, want)
		}
	}
}
