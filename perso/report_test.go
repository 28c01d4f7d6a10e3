package perso

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"ankan/store"
)

// finished is an order with three good cards, one of them remade, and one retired.
func (f *plant) finished(ord string) Report {
	f.Helper()
	f.batch(ord, 4, 1)
	f.load(8)
	n := f.tray.next
	f.tray.order[n+1].fault, f.tray.order[n+3].fault = from(150, mute), from(150, mute)
	f.want("run", f.run(f.Context(), ord, 1), ErrRejects)
	f.destroy(ord)
	f.must(f.run(f.Context(), ord, 1))
	c := f.counts(ord, 4)
	return Report{Format: ReportFormat, Order: ord, Site: "plant", Counts: c, OS: fmt.Sprintf("%x", f.product.Digest), Rows: c.Remade + c.Retired}
}

func TestReport(t *testing.T) {
	f := newPlant(t)
	rep := f.finished("A1")
	f.finished("A2") // whose rows are not in it
	var out bytes.Buffer
	f.must(WriteReport(t.Context(), f.store, &out, rep))
	rows := []string{}
	got, err := ParseReport(iotest.OneByteReader(&out), func(card, keyset int) error {
		rows = append(rows, fmt.Sprint(card, keyset))
		return nil
	})
	f.must(err)
	if want := []string{"1 4", "3 -1"}; got != rep || !slices.Equal(rows, want) {
		t.Errorf("%+v with rows %q, want %+v with %q", got, rows, rep, want)
	}
	rep.Rows--
	if err := WriteReport(t.Context(), f.store, io.Discard, rep); err == nil {
		t.Error("a report with other rows than it says is written")
	}
	rep.Rows++
	f.want("full disk", WriteReport(t.Context(), f.store, full{}, rep), errFull)
}

var errFull = errors.New("the disk is full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

// reportOf is a report of 10 cards: 7 good, of which 2 are remade, and 3 retired.
func reportOf(counts, rest string) string {
	if counts == "" {
		counts = `{"cards":10,"good":7,"doubt":0,"reject":0,"destroyed":5,"aside":1,"remade":2,"retired":3,"waiting":0}`
	}
	return `{"format":"ankan/report/v1","order":"A1","site":"plant","counts":` + counts + `,"os":"00","rows":5}` + "\n" + rest
}

const reportRows = "1 10\n2 -1\n4 12\n8 -1\n9 -1\n"

func TestParseReportRefuses(t *testing.T) {
	good := reportOf("", reportRows)
	if _, err := ParseReport(strings.NewReader(good), func(int, int) error { return nil }); err != nil {
		t.Fatal(err)
	}
	f := strings.NewReplacer
	for name, text := range map[string]string{
		"empty":                 "",
		"no line":               "{}",
		"no JSON":               "hello\n",
		"unknown field":         f(`"os":`, `"os2":"","os":`).Replace(good),
		"a field twice":         f(`"os":"00"`, `"os":"00","os":"01"`).Replace(good),
		"more on the line":      f("5}\n", "5} {}\n").Replace(good),
		"blanks":                f(`{"format"`, `{ "format"`).Replace(good),
		"other case":            f(`"format"`, `"Format"`).Replace(good),
		"another format":        f("v1", "v2").Replace(good),
		"no order":              f("A1", "").Replace(good),
		"a long line":           reportOf("", strings.Repeat(" ", 1<<17)+"\n"),
		"a long first line":     f("plant", strings.Repeat("x", 1<<17)).Replace(good),
		"unbalanced":            f(`"good":7`, `"good":8`).Replace(good),
		"no cards":              `{"format":"ankan/report/v1","order":"A1","site":"plant","counts":{"cards":0,"good":0,"doubt":0,"reject":0,"destroyed":0,"aside":0,"remade":0,"retired":0,"waiting":0},"os":"00","rows":0}` + "\n",
		"in doubt":              f(`"doubt":0`, `"doubt":1`).Replace(good),
		"open, and less":        f(`"doubt":0`, `"doubt":1`, `"reject":0`, `"reject":-1`).Replace(good),
		"destroyed < 0":         f(`"destroyed":5`, `"destroyed":-5`).Replace(good),
		"aside < 0":             f(`"aside":1`, `"aside":-1`).Replace(good),
		"good < 0":              f(`"good":7`, `"good":-3`, `"retired":3`, `"retired":13`).Replace(good),
		"more remade than good": f(`"good":7`, `"good":1`, `"cards":10`, `"cards":4`).Replace(good),
		"fewer destroyed":       f(`"destroyed":5`, `"destroyed":1`).Replace(good),
		"other number of rows":  f(`"rows":5`, `"rows":4`).Replace(good),
		"short":                 good[:len(good)-6],
		"no line end":           good[:len(good)-1],
		"long":                  good + "9 11\n",
		"a byte more":           good + "\n",
		"not in order":          reportOf("", "2 -1\n1 10\n4 12\n8 -1\n9 -1\n"),
		"a card twice":          reportOf("", "1 10\n1 -1\n4 12\n8 -1\n9 -1\n"),
		"a key set twice":       reportOf("", "1 10\n2 -1\n4 10\n8 -1\n9 -1\n"),
		"card of another":       reportOf("", "1 10\n2 -1\n4 12\n8 -1\n10 -1\n"),
		"card < 0":              reportOf("", "-1 10\n2 -1\n4 12\n8 -1\n9 -1\n"),
		"a card's key set":      reportOf("", "1 9\n2 -1\n4 12\n8 -1\n9 -1\n"),
		"key set -2":            reportOf("", "1 10\n2 -2\n4 12\n8 -1\n9 -1\n"),
		"another retired":       reportOf("", "1 10\n2 -1\n4 -1\n8 -1\n9 -1\n"),
		"leading zero":          reportOf("", "01 10\n2 -1\n4 12\n8 -1\n9 -1\n"),
		"plus":                  reportOf("", "+1 10\n2 -1\n4 12\n8 -1\n9 -1\n"),
		"two blanks":            reportOf("", "1  10\n2 -1\n4 12\n8 -1\n9 -1\n"),
		"return":                reportOf("", "1 10\r\n2 -1\n4 12\n8 -1\n9 -1\n"),
		"words":                 reportOf("", "one ten\n2 -1\n4 12\n8 -1\n9 -1\n"),
	} {
		if _, err := ParseReport(strings.NewReader(text), func(int, int) error { return nil }); err == nil {
			t.Errorf("%s: taken", name)
		} else if !strings.HasPrefix(err.Error(), "report") {
			t.Errorf("%s: %v does not say that it is the report", name, err)
		}
	}
	if _, err := ParseReport(strings.NewReader(good), func(int, int) error { return errFull }); !errors.Is(err, errFull) {
		t.Errorf("the caller's error is lost: %v", err)
	}
}

// What is taken is written the same again.
func FuzzParseReport(f *testing.F) {
	f.Add(reportOf("", reportRows))
	f.Add(reportOf("", reportRows[:10]))
	f.Add(reportOf(`{"cards":1}`, ""))
	f.Add(`{"format":"ankan/report/v1","order":"A","site":"","counts":{"cards":1,"good":1,"doubt":0,"reject":0,"destroyed":0,"aside":0,"remade":0,"retired":0,"waiting":0},"os":"","rows":0}` + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		var out bytes.Buffer
		rows := 0
		rep, err := ParseReport(strings.NewReader(text), func(card, keyset int) error {
			rows++
			fmt.Fprintf(&out, "%d %d\n", card, keyset)
			return nil
		})
		if err != nil {
			return
		}
		head, err := rep.line()
		if again := string(head) + out.String(); err != nil || again != text {
			t.Errorf("%q is written as %q", text, again)
		}
		if c := rep.Counts; rows != c.Remade+c.Retired || c.Cards != c.Good+c.Retired {
			t.Errorf("%+v with %d rows", c, rows)
		}
	})
}

func TestRuns(t *testing.T) {
	f := newPlant(t)
	for _, ord := range []string{"B", "A", "C"} {
		f.must(f.change("test.offer", func(tx *store.Tx) error {
			return Offer(tx, Run{Order: ord, Bureau: "bureau", Agree: "slot/" + ord, KEK: "batch/" + ord})
		}))
	}
	move := func(ord, from, to string) error {
		return f.change("test.move", func(tx *store.Tx) error { return MoveRun(tx, ord, from, to) })
	}
	f.must(move("B", "offered", "received"))
	f.must(move("C", "offered", "closed"))
	for _, c := range [][3]string{{"B", "offered", "received"}, {"A", "received", "finished"}, {"D", "offered", "received"}} {
		if err := move(c[0], c[1], c[2]); err == nil || !strings.Contains(err.Error(), c[0]) {
			t.Errorf("%v: %v", c, err)
		}
	}
	f.must(f.change("test.os", func(tx *store.Tx) error {
		return errors.Join(SetOS(tx, "A", "os 1.0"), SetProof(tx, "A", []byte("proof")))
	}))
	for name, fn := range map[string]func(*store.Tx) error{
		"os": func(tx *store.Tx) error { return SetOS(tx, "D", "os 1.0") }, "proof": func(tx *store.Tx) error { return SetProof(tx, "D", nil) },
		"offer": func(tx *store.Tx) error { return Offer(tx, Run{Order: "A"}) },
	} {
		if err := f.change("test."+name, fn); err == nil {
			t.Errorf("%s of a wrong run is set", name)
		}
	}
	all, err := Runs(t.Context(), f.store)
	f.must(err)
	active, err := Active(t.Context(), f.store)
	f.must(err)
	names := func(runs []Run) (s string) {
		for _, r := range runs {
			s += r.Order + " " + r.State + " "
		}
		return s
	}
	if names(all) != "A offered B received C closed " || names(active) != "A offered B received " {
		t.Errorf("runs %s, active %s", names(all), names(active))
	}
	a := all[0]
	if a.OS != "os 1.0" || string(a.Proof) != "proof" || a.Agree != "slot/A" || a.KEK != "batch/A" || !a.Started.IsZero() || all[1].Started.IsZero() {
		t.Errorf("%+v", a)
	}
	_, err = GetRun(t.Context(), f.store, "D")
	f.want("no run", err, ErrNoRun)
}

func TestParseSerial(t *testing.T) {
	if s, err := ParseSerial("63270000000a0047"); err != nil || s != [8]byte{0x63, 0x27, 0, 0, 0, 0x0A, 0, 0x47} {
		t.Errorf("%x, %v", s, err)
	}
	for _, s := range []string{"", "63270000000a00", "63270000000a004700", "63270000000a004g", "63270000000A0047", " 63270000000a0047", "unknown"} {
		if n, err := ParseSerial(s); err == nil {
			t.Errorf("%q is %x", s, n)
		}
	}
}

// Count fails rather than say what cannot be.
func TestCountDoesNotBalance(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 3, 0)
	f.load(3)
	f.must(f.run(t.Context(), "A1", 1))
	if _, err := Count(t.Context(), f.store, "A1", 2); err == nil || !strings.Contains(err.Error(), "does not balance") {
		t.Errorf("three cards of two: %v", err)
	}
	f.must(f.change("test.row", func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE card SET card = 7, state = 'reject' WHERE ord = 'A1' AND card = 1`)
		return err
	}))
	f.must(f.change("test.row", func(tx *store.Tx) error { return MoveRun(tx, "A1", "finished", "received") }))
	if err := f.run(t.Context(), "A1", 1); err == nil || !strings.Contains(err.Error(), "card 7 is on record") {
		t.Errorf("a card that is not the order's: %v", err)
	}
}
