package format

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"ankan/hsm"
	"ankan/sim"
)

const padded = sim.Digits18 | sim.CheckDigit | sim.Padded

func delivery(t testing.TB, quantity int, cols string) Delivery {
	t.Helper()
	in := readOrder(t, "order", draftText(t))
	c, err := dialect(t, "dialect1").ParseColumns(cols)
	if err != nil {
		t.Fatal(err)
	}
	kcv, err := hsm.ParseKCV("C35280 GP")
	if err != nil {
		t.Fatal(err)
	}
	return Delivery{Header: in.Header, First: first(), Quantity: quantity, KCV: kcv, Columns: c, Variant: padded}
}

// card is the identity and cells of card i for allColumns.
const allColumns = "ICCID/IMSI/PIN1/PUK1/PIN2/PUK2/ADM1/ACC/EKI/EOPC/EKIC1/EKID1/EKIK1/ESCP03_ENC/Code ADM"

func card(i int) (sim.Identity, [][]byte) {
	id := first()
	id.ICCID, _ = id.ICCID.Add(uint64(i))
	id.IMSI, _ = id.IMSI.Add(uint64(i))
	key := bytes.Repeat([]byte{byte(i), 0xA5}, 8)
	return id, [][]byte{nil, nil, []byte("1234\xff\xff\xff\xff"), []byte("12345678"), []byte("4321\xff\xff\xff\xff"), []byte("87654321"),
		[]byte("11223344"), nil, key, key, key, key, key, append(key, key...), []byte("8123")}
}

func unpadded(cell []byte) []byte {
	for len(cell) > 0 && cell[len(cell)-1] == 0xFF {
		cell = cell[:len(cell)-1]
	}
	return cell
}

func respond(t testing.TB, d Delivery) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewResponse(&out, d)
	if err != nil {
		t.Fatal(err)
	}
	for i := range d.Quantity {
		id, cells := card(i)
		if err := w.Row(i+1, id, cells); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// first is the first identity of the orders here.
func first() sim.Identity {
	return sim.Identity{ICCID: must(sim.NewICCID(899199900000000001, 19)), IMSI: must(sim.ParseIMSI("404990000000001"))}
}

func dialect(t testing.TB, name string) *Layout {
	t.Helper()
	l, err := Set(nil).Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// draftText is an order for ten cards.
func draftText(t testing.TB) string {
	t.Helper()
	text, _, err := dialect(t, "dialect1").AppendOrder(nil, map[Field]string{
		Customer: "Bharat Demo Mobile Ltd", ProfileName: "IN-5G-USIM", ProfileVersion: "1.0", Batch: "B1", TransportKey: "1", PONumber: "PO 7"},
		Run{first(), 10}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func readOrder(t testing.TB, name, text string) *Order {
	t.Helper()
	o, err := Reading{}.ReadOrder(name, strings.NewReader(text), func(Run) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return o
}

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

func TestResponseRoundTrip(t *testing.T) {
	d := delivery(t, 3000, allColumns)
	text := respond(t, d)
	n := 0
	began := false
	got, err := Reading{Variant: padded}.ParseResponse("r.out", bytes.NewReader(text), func(d Delivery) error {
		began = d.Quantity == 3000 && n == 0
		return nil
	}, func(r *Row) error {
		id, cells := card(n)
		if r.ID != id {
			return fmt.Errorf("identity %v, want %v", r.ID, id)
		}
		for i, c := range d.Columns {
			want := unpadded(cells[i])
			if !c.Derived() && !bytes.Equal(r.Cell(i), want) {
				return fmt.Errorf("line %d: column %s differs", r.Line, c)
			}
		}
		n++
		return nil
	})
	if err != nil || n != 3000 || !began {
		t.Fatalf("%d rows: %v", n, err)
	}
	if got.KCV.String() != d.KCV.String() || got.First != d.First || got.Quantity != d.Quantity || joinColumns(got.Columns, "/") != allColumns {
		t.Errorf("head became %v", got)
	}
	if got.Header.Value(Customer) != d.Header.Value(Customer) || got.Header.TransportKey() != 1 {
		t.Error("header changed")
	}
}

// What another program reads in our response is what we wrote.
func TestResponseReadByAwk(t *testing.T) {
	awk, err := exec.LookPath("awk")
	if err != nil {
		t.Fatal("awk is missing: install the package mawk")
	}
	for _, layout := range []string{"dialect1", "dialect2"} {
		d := delivery(t, 2, allColumns)
		if layout == "dialect2" {
			d.Header = readOrder(t, "i", string(files(t, "input/dialect2-range.inp")["dialect2-range.inp"])).Header
		}
		cmd := exec.Command(awk, "-f", "testdata/var_out.awk")
		cmd.Stdin = bytes.NewReader(respond(t, d))
		got, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		var want strings.Builder
		for i := range 2 {
			id, cells := card(i)
			iccid, _ := padded.Append(nil, id.ICCID)
			for j, c := range d.Columns {
				var text string
				switch c.String() {
				case "ICCID":
					text = string(iccid)
				case "IMSI":
					text = id.IMSI.String()
				case "ACC":
					text = fmt.Sprintf("%04X", id.IMSI.ACC())
				default:
					if text = string(unpadded(cells[j])); c.Sealed() {
						text = fmt.Sprintf("%X", cells[j])
					}
				}
				fmt.Fprintf(&want, "%d.%s=%s\n", i+1, c, text)
			}
		}
		if diff := cmp.Diff(want.String(), string(got)); diff != "" {
			t.Errorf("%s: %s", layout, diff)
		}
	}
}

func TestResponseFiles(t *testing.T) {
	want := map[string]string{
		"dialect1.out": "",
		// Published samples of the two layouts: keys in clear, and more.
		"public-dialect1.out": "public-dialect1.out:27:8: ICCID ends in",
		"public-dialect2.out": "public-dialect2.out:11:1: Transport_key is missing",
	}
	for name, text := range files(t, "response/*.out") {
		n := 0
		_, err := Reading{Variant: padded}.ParseResponse(name, bytes.NewReader(text), nil, func(*Row) error { n++; return nil })
		switch prefix, ok := want[name]; {
		case !ok:
			t.Errorf("%s: nothing is wanted of it", name)
		case prefix == "" && (err != nil || n != 3):
			t.Errorf("%s: %d rows, %v", name, n, err)
		case prefix != "" && (err == nil || !strings.HasPrefix(err.Error(), prefix)):
			t.Errorf("got %v, want %s", err, prefix)
		case prefix != "" && (n != 0 || !strings.Contains(err.Error(), "column KI would carry keys in clear, want EKI")):
			t.Errorf("%d rows of a file with clear keys: %v", n, err)
		}
	}
}

func TestResponseRefused(t *testing.T) {
	good := string(respond(t, delivery(t, 2, allColumns)))
	row := good[strings.Index(good, allColumns)+len(allColumns)+1:]
	row = row[:strings.Index(row, "\n")+1]
	tests := map[string]struct{ old, new, want string }{
		"short row":       {" 8123\n", "\n", "r:25:309: row has 14 cells, want 15"},
		"long row":        {" 8123\n", " 8123 1\n", "r:25:314: row has more than 15 cells"},
		"two blanks":      {" 1234 ", "  1234 ", "r:25:38: PIN1: has 0 digits, want 4 to 8"},
		"PIN letters":     {" 1234 ", " 12X4 ", "r:25:38: PIN1: has no digit at character 3"},
		"key short":       {" 00A500A5", " 00A5", "r:25:80: EKI: has 28 characters, want 32 or 64"},
		"key lower case":  {" 00A500A5", " 00a500A5", "r:25:80: EKI: has no hexadecimal digit 0-9 or A-F at character 3 or the next"},
		"IMSI":            {" 404990000000001 1234", " 40499000000001 1234", "r:25:22: IMSI: IMSI has 14 digits, want 15"},
		"ICCID":           {"\n8991999000000000013F", "\n8991999000000000014F", "r:25:1: ICCID: ICCID has the check digit 4, want 3"},
		"access class":    {" 0002 ", " 0004 ", "r:25:1: ACC is not the access class of the IMSI"},
		"row missing":     {row, "", "r:25:1: 1 rows, want 2 (Quantity)"},
		"row more":        {row, row + row, "r:27:1: row 3, want 2 (Quantity)"},
		"blank inside":    {row, row + "\n", "r:27:1: line after the rows is not blank"},
		"no rows":         {good[strings.Index(good, row):], "", "r:24:1: 0 rows, want 2 (Quantity)"},
		"rows after":      {good[len(good)-10:], good[len(good)-10:] + strings.Repeat("\n", 300), "r:283:1: more than 256 blank lines after the rows"},
		"var_out twice":   {row, "var_out:ICCID/IMSI\n" + row, "r:25:1: second var_out, want one"},
		"var_out missing": {"var_out:", "*", "r:25:1: line is not var_out: or decoration"},
		"ends at head":    {good[strings.Index(good, "var_out"):], "", "r:23:1: file ends and has no var_out"},
		"decoration":      {"var_out:", strings.Repeat("*\n", 300) + "var_out:", "r:278:1: more than 256 lines before var_out"},
		"ends at pair":    {good[strings.Index(good, "IMSI:"):], "", "r:19:1: file ends and has no IMSI"},
		"clear Ki":        {"/EKI/", "/KI/", "r:24:9: column KI would carry keys in clear, want EKI"},
		"clear OPc":       {"/EOPC/", "/OPC/", "r:24:9: column OPC would carry keys in clear, want EOPC"},
		"column twice":    {"/EOPC/", "/EKI/", "r:24:9: column EKI is there twice"},
		"KCV":             {"C35280 GP", "C35280", "r:11:20: Transport_key_KCV is not a check value with its method, such as \"C35280 GP\""},
		"no KCV":          {"Transport_key_KCV: C35280 GP\n", "", "r:23:1: EKI is encrypted, but the header has no Transport_key_KCV to tell under which key"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, tt.old, tt.new, 1)
			if text == good {
				t.Fatal("the test changes nothing")
			}
			_, err := Reading{Variant: padded}.ParseResponse("r", strings.NewReader(text), nil, func(*Row) error { return nil })
			if err == nil {
				t.Fatal("accepted")
			}
			if first, _, _ := strings.Cut(err.Error(), "\n"); first != tt.want {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
		})
	}
}

func TestResponseStops(t *testing.T) {
	text := respond(t, delivery(t, 2, allColumns))
	enough := errors.New("enough")
	rd := Reading{Variant: padded}
	if _, err := rd.ParseResponse("r", bytes.NewReader(text), nil, func(*Row) error { return enough }); !errors.Is(err, enough) {
		t.Error(err)
	}
	if _, err := rd.ParseResponse("r", bytes.NewReader(text), func(Delivery) error { return enough }, nil); !errors.Is(err, enough) {
		t.Error(err)
	}
	broken := io.MultiReader(bytes.NewReader(text[:len(text)-3]), iotest.ErrReader(enough))
	if _, err := rd.ParseResponse("r", broken, nil, func(*Row) error { return nil }); !errors.Is(err, enough) {
		t.Error(err)
	}
}

func TestResponseWithMSISDN(t *testing.T) {
	d := delivery(t, 1, "ICCID/IMSI/MSISDN")
	d.Variant = 0
	var out bytes.Buffer
	w, err := NewResponse(&out, d)
	if err != nil {
		t.Fatal(err)
	}
	id := d.First
	if id.MSISDN, err = sim.ParseMSISDN("919876543210"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Row(1, id, make([][]byte, 3)), w.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = Reading{}.ParseResponse("r", &out, nil, func(r *Row) error {
		if r.ID != id {
			t.Errorf("%v became %v", id, r.ID)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRowHidesItsCells(t *testing.T) {
	_, err := Reading{Variant: padded}.ParseResponse("r", bytes.NewReader(respond(t, delivery(t, 1, allColumns))), nil, func(r *Row) error {
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("row", "row", r)
		shown := fmt.Sprintf("%v %+v %s %#v %x", r, r, r, struct{ R *Row }{r}, r) + log.String()
		if strings.Contains(shown, "1234") || strings.Contains(shown, "00A5") || strings.Contains(shown, fmt.Sprint([]byte("1234"))) {
			t.Errorf("secrets in %s", shown)
		}
		if _, err := json.Marshal(r); !errors.Is(err, sim.ErrSecret) {
			t.Errorf("marshalled: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWriterRefused(t *testing.T) {
	id, cells := card(0)
	spoil := func(i int, cell []byte) [][]byte {
		c := append([][]byte(nil), cells...)
		c[i] = cell
		return c
	}
	tests := map[string]struct {
		id    sim.Identity
		cells [][]byte
	}{
		"response: row 1: has 3 cells, want 15":                                                  {id, cells[:3]},
		"response: row 1: ICCID comes from the identity, want no cell":                           {id, spoil(0, []byte("8"))},
		"response: row 1: PIN1 has 3 digits, want 4 to 8":                                        {id, spoil(2, []byte("123\xff"))},
		"response: row 1: PIN1 has no digit at character 1":                                      {id, spoil(2, []byte("A123"))},
		"response: row 1: EKI has 15 bytes, want 16 or 32":                                       {id, spoil(8, make([]byte, 15))},
		"response: row 1: Code ADM has 0 characters, want 1 to 64":                               {id, spoil(14, nil)},
		"response: row 1: Code ADM has a character at 2 that is not printable":                   {id, spoil(14, []byte("a b"))},
		"response: row 1: ICCID ICCID has 0 digits, want 19 for the variant \"18 check padded\"": {sim.Identity{IMSI: id.IMSI}, cells},
		"response: row 1: IMSI no IMSI to write":                                                 {sim.Identity{ICCID: id.ICCID}, cells},
	}
	for want, tt := range tests {
		var out bytes.Buffer
		w, err := NewResponse(&out, delivery(t, 1, allColumns))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Row(1, tt.id, tt.cells); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if w.Row(1, id, cells) == nil || w.Close() == nil || out.Len() > 0 {
			t.Errorf("%s: the writer went on", want)
		}
	}
}

// Rows that were made side by side are the bytes that Row writes.
func TestWriterRows(t *testing.T) {
	const n = 50
	one, many := new(bytes.Buffer), new(bytes.Buffer)
	write := func(out io.Writer, do func(*ResponseWriter) error) {
		t.Helper()
		w, err := NewResponse(out, delivery(t, n, allColumns))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(do(w), w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	write(one, func(w *ResponseWriter) (err error) {
		for i := range n {
			id, cells := card(i)
			err = errors.Join(err, w.Row(i+1, id, cells))
		}
		return err
	})
	write(many, func(w *ResponseWriter) error {
		var pages [2][]byte
		var wait sync.WaitGroup
		for p := range pages {
			wait.Go(func() {
				for i := p * n / 2; i < (p+1)*n/2; i++ {
					id, cells := card(i)
					var err error
					if pages[p], err = w.AppendRow(pages[p], i+1, id, cells); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wait.Wait()
		return errors.Join(w.Rows(pages[0], n/2), w.Rows(pages[1], n/2))
	})
	if !bytes.Equal(one.Bytes(), many.Bytes()) {
		t.Error("rows made side by side are not those that Row writes")
	}
	id, cells := card(0)
	w, err := NewResponse(io.Discard, delivery(t, 1, allColumns))
	if err != nil {
		t.Fatal(err)
	}
	if row, err := w.AppendRow(nil, 1, id, cells[:2]); err == nil || len(row) > 0 {
		t.Errorf("a row of two cells: %v, %d bytes", err, len(row))
	}
	if err := w.Rows(nil, 2); err == nil || err.Error() != "response: row 2, want 1 (the quantity)" {
		t.Error(err)
	}
	if w.Row(1, id, cells) == nil || w.Rows(nil, 0) == nil {
		t.Error("the writer went on")
	}
}

func TestAppendHex(t *testing.T) {
	src := make([]byte, 256)
	for i := range src {
		src[i] = byte(i * 7)
	}
	for n := range src {
		if got, want := string(appendHex([]byte("x"), src[:n])), "x"+strings.ToUpper(hex.EncodeToString(src[:n])); got != want {
			t.Fatalf("%d bytes: got %s, want %s", n, got, want)
		}
	}
}

func TestWriterCounts(t *testing.T) {
	id, cells := card(0)
	open := func(quantity int) *ResponseWriter {
		w, err := NewResponse(io.Discard, delivery(t, quantity, allColumns))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Row(1, id, cells); err != nil {
			t.Fatal(err)
		}
		return w
	}
	if err := open(2).Close(); err == nil || err.Error() != "response: 1 rows, want 2 (the quantity)" {
		t.Error(err)
	}
	if err := open(1).Row(1, id, cells); err == nil || err.Error() != "response: row 2, want 1 (the quantity)" {
		t.Error(err)
	}
	w := open(1)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if w.Row(1, id, cells) == nil {
		t.Error("a closed writer takes rows")
	}
	full, err := NewResponse(failing{}, delivery(t, 1, allColumns))
	if err != nil {
		t.Fatal(err)
	}
	if full.Row(1, id, cells) != nil || !errors.Is(full.Close(), errFull) {
		t.Error("a full disk is not told")
	}
}

var errFull = errors.New("disk full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestNewResponseRefused(t *testing.T) {
	for want, spoil := range map[string]func(*Delivery){
		"response: no header of an order":               func(d *Delivery) { d.Header = nil },
		"response: quantity is 0, want 1 to 100000000":  func(d *Delivery) { d.Quantity = 0 },
		"response: no check value of the transport key": func(d *Delivery) { d.KCV = hsm.KCV{} },
		"response: column 1 is none":                    func(d *Delivery) { d.Columns = []Column{{}} },
		"response: columns ICCID, want ICCID and IMSI":  func(d *Delivery) { d.Columns = d.Columns[:1] },
		"response: first identity: ":                    func(d *Delivery) { d.First = sim.Identity{} },
		"response: the header is that of a response":    func(d *Delivery) { d.Header = d.Header.after(TransportKey, TransportKCV, "C3") },
	} {
		d := delivery(t, 1, allColumns)
		spoil(&d)
		if _, err := NewResponse(io.Discard, d); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestParseColumns(t *testing.T) {
	for list, want := range map[string]string{
		"ICCID":            "columns ICCID, want ICCID and IMSI among them",
		"ICCID/IMSI/ki":    "column KI would carry keys in clear, want EKI",
		"ICCID/IMSI/K":     "column K would carry keys in clear, want EKI",
		"ICCID/IMSI/KIC1":  "column KIC1 would carry keys in clear, want EKIC1",
		"ICCID/IMSI/KIK2":  "column KIK2 would carry keys in clear, want an encrypted column such as EKI",
		"SCP03_ENC":        "column SCP03_ENC would carry keys in clear, want ESCP03_ENC",
		"SCP02_ENC":        "column SCP02_ENC would carry keys in clear, want an encrypted column such as EKI",
		"OP":               "column OP would carry keys in clear, want an encrypted column such as EKI",
		"ICCID/IMSI/":      `column "" is unknown`,
		"ICCID/IMSI/COLOR": `column "COLOR" is unknown`,
		"ICCID/IMSI/IMSI":  "column IMSI is there twice",
	} {
		if _, err := (*Layout)(nil).ParseColumns(list); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", list, err, want)
		}
	}
	cols, err := (*Layout)(nil).ParseColumns("iccid/imsi/EKI/access_control")
	if err != nil || cols[2].Slot() != "K" || !cols[2].Sealed() || !cols[3].Derived() || cols[3].Slot() != "ACC" || cols[0].String() != "ICCID" {
		t.Errorf("%v: %v", cols, err)
	}
}

func FuzzParseResponse(f *testing.F) {
	for _, text := range files(f, "response/*.out") {
		f.Add(text)
	}
	f.Add(respond(f, delivery(f, 2, allColumns)))
	f.Fuzz(func(t *testing.T, text []byte) {
		n := 0
		d, err := Reading{Variant: padded, MaxBytes: 1 << 16}.ParseResponse("r", bytes.NewReader(text), nil, func(r *Row) error {
			n++
			for i := range strings.Count(allColumns, "/") {
				if i < len(*r.cells) && len(r.Cell(i)) == 0 {
					t.Fatal("empty cell")
				}
			}
			return nil
		})
		if err == nil && n != d.Quantity {
			t.Fatalf("%d rows of %d", n, d.Quantity)
		}
	})
}

func BenchmarkResponseRow(b *testing.B) {
	w, err := NewResponse(io.Discard, delivery(b, MaxQuantity, allColumns))
	if err != nil {
		b.Fatal(err)
	}
	id, cells := card(7)
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Row(1, id, cells); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkParseResponse(b *testing.B) {
	const cards = 20_000
	text := respond(b, delivery(b, cards, allColumns))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Reading{Variant: padded}).ParseResponse("r", bytes.NewReader(text), nil, func(*Row) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(cards*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
