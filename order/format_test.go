package order

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ankan/format"
	"ankan/sim"
)

// files reads the vectors that match a pattern; there must be some.
func files(t testing.TB, pattern string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %d files, want some (%v)", pattern, len(names), err)
	}
	all := make(map[string][]byte)
	for _, name := range names {
		if all[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestInputFiles(t *testing.T) {
	want := map[string]string{
		"dialect1-range.inp": "dialect1 1000 IN-5G-USIM 1.0 01074809 11 PO/2026/010748: 8991999000000000013 404990000000001 .. 8991999000000010004 404990000001000",
		"dialect1-list.inp":  "dialect1 3 IN-5G-USIM 1.0 01074809 11 PO/2026/010748: 89919990000000000072 404990000000007 .. 89919990000009000008 404990000900000",
		"dialect2-range.inp": "dialect2 1 IN-5G-USIM  2026101901 2 : 8991999000000000120 404990000000012 .. 8991999000000000120 404990000000012",
		"dialect2-list.inp":  "dialect2 2 IN-5G-USIM  2026101901 2 : 8991999000000000120 404990000000012 .. 8991999000000000138 404990000000014",
	}
	got := make(map[string]string)
	for name, text := range files(t, "input/*.inp") {
		in, err := ParseInput(name, iotest.OneByteReader(bytes.NewReader(text)))
		if err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		if err := in.Render(&again); err != nil || !bytes.Equal(again.Bytes(), text) {
			t.Errorf("%s: render gives other bytes (%v):\n%s", name, err, cmp.Diff(string(text), again.String()))
		}
		var last sim.Identity
		n := 0
		for i, id := range in.Identities() {
			if i != n {
				t.Fatalf("%s: position %d, want %d", name, i, n)
			}
			n++
			last = id
		}
		if n != in.Quantity() {
			t.Errorf("%s: %d identities, want %d", name, n, in.Quantity())
		}
		if _, isRange := in.Range(); isRange != strings.Contains(name, "range") {
			t.Errorf("%s: range is %v", name, isRange)
		}
		got[name] = fmt.Sprintf("%s %d %s %s %s %d %s: %s %s .. %s %s", in.Layout().Name(), in.Quantity(), in.Value(ProfileName),
			in.Value(ProfileVersion), in.Value(Batch), in.TransportKey(), in.Value(PONumber),
			in.First().ICCID, in.First().IMSI, last.ICCID, last.IMSI)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// base is the order file that the refusals below spoil.
func base(t testing.TB) string {
	return strings.ReplaceAll(string(files(t, "input/dialect1-range.inp")["dialect1-range.inp"]), "\r\n", "\n")
}

func TestInputRefused(t *testing.T) {
	imsi, iccid := "IMSI:404990000000001\n", "Ser_nb:8991999000000000013\n"
	tests := map[string]struct{ old, new, want string }{
		"IMSI short":         {imsi, "IMSI:40499000000001\n", "order.inp:23:6: IMSI has 14 digits, want 15"},
		"ICCID check digit":  {iccid, "Ser_nb:8991999000000000018\n", "order.inp:24:8: ICCID has the check digit 8, want 3"},
		"no IMSI value":      {imsi, "IMSI: \n", "order.inp:23:7: IMSI is empty"},
		"order of pair":      {imsi + iccid, iccid + imsi, "order.inp:23:1: line is not IMSI: and a number"},
		"half a pair":        {iccid + "\n\n", "", "order.inp:23:1: file ends and has no Ser_nb to this IMSI"},
		"no pair":            {imsi + iccid, "", "order.inp:24:1: file ends and has no IMSI and Ser_nb"},
		"blanks in a pair":   {iccid + "\n\n", iccid + "IMSI: 404990000000002\n" + "Ser_nb:8991999000000000021\n", "order.inp:25:1: IMSI is written with other blanks or letters than the first"},
		"pairs too few":      {iccid + "\n\n", iccid + "IMSI:404990000000002\nSer_nb:8991999000000000021\n", "order.inp:26:1: 2 pairs of input variables, want one, or 1000 (Quantity)"},
		"pairs too many":     {iccid + "\n\n", iccid + strings.Repeat(imsi+iccid, 1000), "order.inp:2023:1: more than 1000 pairs of input variables, want one, or 1000 (Quantity)"},
		"range overflows":    {imsi, "IMSI:999999999999999\n", "order.inp:23:1: range of 1000: no such number: IMSI 999999999999999 plus 999"},
		"more after pairs":   {iccid, iccid + "\nfoo\n", "order.inp:26:1: line after the input variables is not decoration"},
		"response":           {iccid, iccid + "\nvar_out: ICCID/IMSI\n", "order.inp:26:1: var_out belongs in a response, not in an order: the contract names the columns"},
		"not encrypted":      {"Transport_key:   11", "Transport_key:   0", "order.inp:10:18: Transport_key is 0 (not encrypted), want the index of a transport key, 1 to 99"},
		"no transport key":   {"Transport_key:   11\n", "", "order.inp:21:1: Transport_key is missing in the lines above: keys would not be encrypted, which is refused"},
		"a key":              {"Transport_key:   11", "Transport_key:   000102030405060708090A0B0C0D0E0F", "order.inp:10:18: Transport_key is not a number from 1 to 99"},
		"KCV in an order":    {"Address1:", "Transport_key_KCV: C35280 GP\nAddress1:", "order.inp:12:1: Transport_key_KCV belongs in a response, not in an order"},
		"quantity zero":      {"Quantity:        1000", "Quantity: 0", "order.inp:5:11: Quantity is 0, want 1 to 100000000"},
		"quantity zeros":     {"Quantity:        1000", "Quantity: 01000", "order.inp:5:11: Quantity starts with 0, want a number without leading zeros"},
		"quantity empty":     {"Quantity:        1000", "Quantity:", "order.inp:5:10: Quantity is empty, want a number from 1 to 100000000"},
		"quantity huge":      {"Quantity:        1000", "Quantity: 1000000000", "order.inp:5:11: Quantity is not a number from 1 to 100000000"},
		"quantity missing":   {"Quantity:        1000\n", "", "order.inp:21:1: Quantity is missing in the lines above"},
		"key twice":          {"Batch:", "BATCH: 7\nBatch:", "order.inp:9:1: Batch is there twice, first on line 8"},
		"key unknown":        {"Batch:", "Colour: red\nBatch:", `order.inp:8:1: "Colour" is not a key of dialect1`},
		"long unknown key":   {"Batch:", "0123456789ABCDEF0123456789ABCDEF: 1\nBatch:", "order.inp:8:1: what has 32 characters is not a key of dialect1"},
		"no key":             {"Batch:", "red\nBatch:", `order.inp:8:1: line is neither "key: value" nor decoration`},
		"batch with slash":   {"01074809", "../1", "order.inp:8:18: Batch has '.' as character 1, want letters, digits, '_', '-' and '.' inside"},
		"batch long":         {"01074809", strings.Repeat("7", 65), "order.inp:8:18: Batch has 65 characters, want at most 64"},
		"batch empty":        {"01074809", "", "order.inp:8:18: Batch is empty"},
		"customer empty":     {"Customer:        Bharat Demo Mobile Ltd", "Customer:", "order.inp:4:10: Customer is empty"},
		"address long":       {"Sector 9", strings.Repeat("x", 121), "order.inp:13:18: Address2 has 129 bytes, want at most 120"},
		"marker with value":  {"Var_In_List: ", "Var_In_List: x", "order.inp:22:14: Var_In_List opens the input variables, want nothing after it"},
		"no marker":          {"Var_In_List: \n" + imsi + iccid, "", "order.inp:23:1: file ends without a line Var_In_List: or var_In:, so it is of no known dialect"},
		"control character":  {"Plot 3", "Plot\x1b3", "order.inp:13:22: control character 1B"},
		"control in a blank": {"Var_In_List: \n", "Var_In_List: \n*\x07\n", "order.inp:23:2: control character 07"},
		"control at the end": {iccid, iccid + "*\x07\n", "order.inp:25:2: control character 07"},
		"not UTF-8":          {"Plot 3", "Plot\xff3", "order.inp:13:22: not plain UTF-8 text"},
		"byte order mark":    {"***************************************\n*          HEADER", "\ufeff*\n*          HEADER", "order.inp:1:1: file begins with a byte order mark, want plain UTF-8"},
		"mixed line ends":    {"Batch:           01074809\n", "Batch:           01074809\r\n", `order.inp:8:26: line ends in "\r\n", want "\n" as before`},
		"cut":                {iccid + "\n\n", strings.TrimSuffix(iccid, "\n"), "order.inp:24:27: file ends without a line end, it may be cut short"},
		"long line":          {"Plot 3", strings.Repeat("x", 5000), "order.inp:13:4097: line is longer than 4096 bytes"},
		"long header":        {"Var_In_List: ", strings.Repeat("*\n", 256), "order.inp:256:1: 256 lines without a line Var_In_List: or var_In:"},
		"long decoration":    {imsi, strings.Repeat("*\n", 256) + imsi, "order.inp:257:1: more than 256 lines before the input variables"},
		"long trailer":       {iccid, iccid + strings.Repeat("*\n", 260), "order.inp:281:1: more than 256 lines after the input variables"},
		"ICCID of two sizes": {iccid + "\n\n", iccid + "IMSI:404990000000002\nSer_nb:89919990000000000072\n", "order.inp:26:8: ICCID has 20 digits, want 19 as the first"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(base(t), tt.old, tt.new, 1)
			if text == base(t) {
				t.Fatal("the test changes nothing")
			}
			_, err := ParseInput("order.inp", strings.NewReader(text))
			if err == nil {
				t.Fatal("accepted")
			}
			if first, _, _ := strings.Cut(err.Error(), "\n"); first != tt.want {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
			var f *Fault
			if !errors.As(err, &f) {
				t.Errorf("%T holds no Fault", err)
			}
		})
	}
}

func TestInputDate(t *testing.T) {
	text := string(files(t, "input/dialect2-range.inp")["dialect2-range.inp"])
	_, err := ParseInput("o", strings.NewReader(strings.Replace(text, "2026101901", "19-10-2026", 1)))
	if want := "o:5:19: Order Date is not a date, want 8 to 14 digits, YYYYMMDD first"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestInputEmpty(t *testing.T) {
	_, err := ParseInput("o", strings.NewReader(""))
	if err == nil || !strings.HasPrefix(err.Error(), "o:1:1: file ends without a line ") {
		t.Error(err)
	}
}

func TestInputLimits(t *testing.T) {
	_, err := Reading{MaxBytes: 200}.ParseInput("o", strings.NewReader(base(t)))
	if err == nil || !strings.Contains(err.Error(), "file is longer than 200 bytes") {
		t.Error(err)
	}
	// A line of 2 GiB is refused after its start.
	endless := &counting{r: io.LimitReader(zeros{}, 2<<30)}
	_, err = ParseInput("o", endless)
	if err == nil || endless.n > 1<<20 {
		t.Errorf("%v after %d bytes", err, endless.n)
	}
	broken := errors.New("disk gone")
	_, err = ParseInput("o", io.MultiReader(strings.NewReader(base(t)[:300]), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	// Faults stop at a thousand.
	text := strings.Replace(base(t), "1000\n", "100000\n", 1) + ""
	text = strings.TrimRight(text, "\n") + "\n" + strings.Repeat("IMSI:1\nSer_nb:2\n", 2000)
	_, err = ParseInput("o", strings.NewReader(text))
	var faults Faults
	if !errors.As(err, &faults) || len(faults) != 1000 || !strings.HasSuffix(faults[999].Text, "reading stops here") {
		t.Errorf("%d faults", len(faults))
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

type counting struct {
	r io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// The content counts, not how it is laid out.
func TestDigest(t *testing.T) {
	parse := func(text string) *Input {
		t.Helper()
		in, err := ParseInput("o", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	want := parse(base(t)).Digest()
	for _, same := range []string{
		strings.ReplaceAll(base(t), "\n", "\r\n"),
		strings.Replace(base(t), "Batch:          ", "BATCH :", 1),
		"* hello\n" + base(t) + "*\n",
	} {
		if parse(same).Digest() != want {
			t.Errorf("other digest for the same content:\n%s", same)
		}
	}
	for _, other := range [][2]string{{"01074809", "01074808"}, {"1000\n", "1001\n"}, {"IMSI:404990000000001", "IMSI:404990000000002"}, {"11\n", "12\n"}} {
		if parse(strings.Replace(base(t), other[0], other[1], 1)).Digest() == want {
			t.Errorf("same digest after %q became %q", other[0], other[1])
		}
	}
}

func TestDigestOfAList(t *testing.T) {
	text := string(files(t, "input/dialect1-list.inp")["dialect1-list.inp"])
	digest := func(text string) [32]byte {
		in, err := ParseInput("o", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return in.Digest()
	}
	lines := strings.SplitAfter(text, "\n")
	n := len(lines) - 1 // after the last line end is nothing
	swapped := strings.Join(append(append(append([]string(nil), lines[:n-4]...), lines[n-2:n]...), lines[n-4:n-2]...), "")
	if digest(text) == digest(swapped) {
		t.Error("the order of the list does not count")
	}
}

func TestHeaderStored(t *testing.T) {
	for name, text := range files(t, "input/*.inp") {
		in, err := ParseInput(name, bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		stored, err := in.Header.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		again, err := format.ParseHeader(nil, name, stored)
		if err != nil {
			t.Fatal(err)
		}
		twice, _ := again.MarshalText()
		if !bytes.Equal(stored, twice) || again.Quantity() != in.Quantity() {
			t.Errorf("%s: header changed:\n%s", name, twice)
		}
		if _, err := format.ParseHeader(nil, name, text); err == nil {
			t.Errorf("%s: a whole file passed as a header", name)
		}
	}
}

func layout(name string) *format.Layout {
	l, err := format.Set(nil).Find(name)
	if err != nil {
		panic(err)
	}
	return l
}

// draft is an order that NewInput takes.
func draft() Draft {
	iccid, _ := sim.NewICCID(899199900000000001, 19)
	imsi, _ := sim.ParseIMSI("404990000000001")
	return Draft{Layout: layout("dialect1"), First: sim.Identity{ICCID: iccid, IMSI: imsi}, Quantity: 10, Fields: map[Field]string{
		Customer: "Bharat Demo Mobile Ltd", ProfileName: "IN-5G-USIM", ProfileVersion: "1.0", Batch: "B1", TransportKey: "1", PONumber: "PO 7"}}
}

func TestNewInput(t *testing.T) {
	d := draft()
	in, err := NewInput(d)
	if err != nil {
		t.Fatal(err)
	}
	if in.First() != d.First || in.Quantity() != 10 || in.Value(PONumber) != "PO 7" {
		t.Errorf("draft became %v", in.First())
	}
	var text strings.Builder
	if err := in.Render(&text); err != nil || !strings.Contains(text.String(), "Quantity:        10\n") {
		t.Errorf("%v:\n%s", err, text.String())
	}
	refused := map[string]func(*Draft){
		"order:10:18: Transport_key is 0":   func(d *Draft) { d.Fields[TransportKey] = "0" },
		"order:17:1: PO_ref_number is miss": func(d *Draft) { delete(d.Fields, PONumber) },
		"order: PO_ref_number cannot hold":  func(d *Draft) { d.Fields[PONumber] = "7\nGraph_ref: 2" },
		"order: Customer cannot hold":       func(d *Draft) { d.Fields[Customer] = " blank" },
		"order: dialect1 has no field date": func(d *Draft) { d.Fields[OrderDate] = "20261019" },
		"order: dialect1 has no field quan": func(d *Draft) { d.Fields[Quantity] = "9" },
		"order: no IMSI to write":           func(d *Draft) { d.First = sim.Identity{} },
	}
	for want, spoil := range refused {
		d := draft()
		d.Fields = maps.Clone(d.Fields)
		spoil(&d)
		if _, err := NewInput(d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// What a file says is what is written again, whatever its layout.
func TestInputRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		newline := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "newline")
		blank := rapid.SampledFrom([]string{"", " ", "\t", "   "})
		n := rapid.IntRange(1, 40).Draw(t, "quantity")
		list := rapid.Bool().Draw(t, "list")
		var text strings.Builder
		line := func(parts ...string) { text.WriteString(strings.Join(parts, "") + newline) }
		for _, kv := range [][2]string{{"Customer", "X y"}, {"QUANTITY", fmt.Sprint(n)}, {"Type", "P"}, {"Profile", "1"}, {"Batch", "b"}, {"Transport_key", "9"}, {"PO_ref_number", "7"}} {
			line(blank.Draw(t, "b"), kv[0], blank.Draw(t, "b"), ":", blank.Draw(t, "b"), kv[1], blank.Draw(t, "b"))
			if rapid.Bool().Draw(t, "decoration") {
				line("*", blank.Draw(t, "b"))
			}
		}
		line("var_in_list:", blank.Draw(t, "b"))
		before, after := blank.Draw(t, "b"), blank.Draw(t, "b")
		pairs := 1
		if list {
			pairs = n
		}
		for range pairs {
			imsi, _ := sim.NewIMSI(rapid.Uint64Range(404_990_000_000_000, 404_999_999_999_000).Draw(t, "imsi"))
			iccid, _ := sim.NewICCID(rapid.Uint64Range(899_199_900_000_000_000, 899_199_999_999_999_000).Draw(t, "iccid"), 19)
			line(before, "IMSI:", before, imsi.String(), after)
			line("Ser_nb:", after, iccid.String())
		}
		in, err := ParseInput("o", strings.NewReader(text.String()))
		if err != nil {
			t.Fatal(err)
		}
		var again strings.Builder
		if err := in.Render(&again); err != nil || again.String() != text.String() {
			t.Fatal(err, cmp.Diff(text.String(), again.String()))
		}
	})
}

func FuzzParseInput(f *testing.F) {
	for _, text := range files(f, "input/*.inp") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		in, err := Reading{MaxBytes: 1 << 16}.ParseInput("o", bytes.NewReader(text))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := in.Render(&again); err != nil || !bytes.Equal(again.Bytes(), text) {
			t.Fatalf("render gives other bytes (%v):\n%s", err, cmp.Diff(string(text), again.String()))
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	for name, text := range files(f, "input/*.inp") {
		in, err := ParseInput(name, bytes.NewReader(text))
		if err != nil {
			f.Fatal(err)
		}
		stored, _ := in.Header.MarshalText()
		f.Add(stored)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := format.ParseHeader(nil, "h", text)
		if err != nil {
			return
		}
		if again, err := h.MarshalText(); err != nil || !bytes.Equal(again, text) {
			t.Fatalf("header gives other bytes (%v):\n%s", err, cmp.Diff(string(text), string(again)))
		}
	})
}

func BenchmarkParseInputList(b *testing.B) {
	d := draft()
	var text bytes.Buffer
	head := base(b)
	head = strings.Replace(head[:strings.Index(head, "IMSI:")], "1000", "100000", 1)
	text.WriteString(head)
	for i := range uint64(100_000) {
		iccid, _ := d.First.ICCID.Add(i)
		imsi, _ := d.First.IMSI.Add(i)
		fmt.Fprintf(&text, "IMSI:%s\nSer_nb:%s\n", imsi, iccid)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseInput("o", bytes.NewReader(text.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(100_000*float64(b.N)/b.Elapsed().Seconds(), "cards/s")
}
