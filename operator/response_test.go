package operator

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ankan/aka"
	"ankan/examples"
	"ankan/format"
	"ankan/hsm"
	"ankan/message"
	"ankan/order"
	"ankan/sim"
	"ankan/site/sitetest"
)

// file is a file with cards of an order; their positions are from 0.
func file(number, of int, columns string, keys bool, cards ...int) arrived {
	f := arrived{Number: number, Of: of, Columns: columns, Keys: keys, First: cards[0], Last: cards[len(cards)-1]}
	f.ResponseFile = message.ResponseFile{File: message.ResponseName("o", number, of), SHA256: fmt.Sprintf("%064d", number), Cards: len(cards)}
	for _, c := range cards {
		f.Mix += mixed(c)
	}
	return f
}

func TestAgree(t *testing.T) {
	for _, tt := range []struct {
		what  string
		files []arrived
		cards int
		want  string
	}{
		{"one", []arrived{file(1, 1, "k", true, 0, 1, 2)}, 3, ""},
		{"parts", []arrived{file(1, 2, "k", true, 0, 1), file(2, 2, "k", true, 4, 5, 6)}, 5, ""},
		{"outputs", []arrived{file(1, 2, "k", true, 0, 2), file(2, 2, "g", false, 0, 2)}, 2, ""},
		{"outputs cut otherwise", []arrived{file(1, 5, "g", false, 0), file(2, 5, "k", true, 0, 2), file(3, 5, "k", true, 3), file(4, 5, "g", false, 2), file(5, 5, "g", false, 3)}, 3, ""},
		{"two with keys", []arrived{file(1, 2, "k", true, 0), file(2, 2, "k2", true, 0)}, 1, ""},
		{"a card twice", []arrived{file(1, 2, "k", true, 0, 1), file(2, 2, "k", true, 1, 2)}, 0, "o.2-of-2.out.pgp begins with card 2, but o.1-of-2.out.pgp has cards up to 2"},
		{"not in sequence", []arrived{file(1, 2, "k", true, 3), file(2, 2, "k", true, 1)}, 0, "begins with card 2"},
		{"other cards", []arrived{file(1, 2, "k", true, 0, 2), file(2, 2, "g", false, 0, 1)}, 0, "the files with the columns k have 2 cards, those with g have 2 others or not the same"},
		{"more cards", []arrived{file(1, 2, "k", true, 0, 2), file(2, 2, "g", false, 0, 1, 2)}, 0, "those with g have 3 others"},
		{"no keys", []arrived{file(1, 2, "g", false, 0), file(2, 2, "h", false, 0)}, 0, "no file has the columns EKI"},
	} {
		cards, err := agree(tt.files)
		if tt.want == "" && (err != nil || cards != tt.cards) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %d cards, %v, want %d, %q", tt.what, cards, err, tt.cards, tt.want)
		}
	}
}

func TestWith(t *testing.T) {
	one, three := file(1, 3, "k", true, 0), file(3, 3, "k", true, 2)
	files, wrong := with([]arrived{three}, one)
	if wrong != "" || len(files) != 2 || files[0] != one || files[1] != three {
		t.Errorf("%+v, %s", files, wrong)
	}
	if _, wrong := with(files, file(3, 3, "k", true, 2)); wrong != "file 3 of the response came already, as o.3-of-3.out.pgp" {
		t.Error(wrong)
	}
	if _, wrong := with(files, file(2, 4, "k", true, 1)); wrong != "it is one of 4 files, but o.1-of-3.out.pgp came already" {
		t.Error(wrong)
	}
	if _, wrong := with(files, file(1, 1, "k", true, 1)); !strings.HasPrefix(wrong, "it is one of 1 files") {
		t.Error(wrong)
	}
}

// Loading takes each card from one file.
func TestLoadable(t *testing.T) {
	a, b, c, d := file(1, 4, "g", false, 0), file(2, 4, "k", true, 0), file(3, 4, "k2", true, 0, 1), file(4, 4, "k", true, 1)
	if got := loadable([]arrived{a, b, c, d}); len(got) != 2 || got[0] != b || got[1] != d {
		t.Errorf("%+v", got)
	}
	if got := loadable([]arrived{a}); got != nil {
		t.Errorf("%+v", got)
	}
	if got := responseDigest([]arrived{a}); got != a.SHA256 {
		t.Error(got)
	}
	// printf '%064d  o.1-of-4.out.pgp\n%064d  o.2-of-4.out.pgp\n' 1 2 | sha256sum
	if got := responseDigest([]arrived{a, b}); got != "8746a078cdab4991833794e06406ca552149d73583b0ef28caadc790ff9ab829" {
		t.Error(got)
	}
}

// A file without keys is taken among several, not alone; what it holds is seen.
func TestFileWithoutKeys(t *testing.T) {
	in := sitetest.Must[*order.Input](t)(order.ParseInput("order.inp", bytes.NewReader(examples.Order())))
	kcv := sitetest.Must[hsm.KCV](t)(hsm.ParseKCV("C35280 GP"))
	var out bytes.Buffer
	w := sitetest.Must[*order.ResponseWriter](t)(format.NewResponse(&out, order.Delivery{
		Header: in.Header, First: in.First(), Quantity: 3, KCV: kcv, Columns: sitetest.Must[[]order.Column](t)(order.ParseColumns("ICCID/IMSI/PIN1")), Variant: sim.Digits18 | sim.CheckDigit,
	}))
	for _, card := range []int{4, 6, 9} {
		if err := w.Row(card+1, in.At(card), [][]byte{nil, nil, []byte("1234")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	e := &expected{order: order.Order{Quantity: in.Quantity(), Batch: in.Value(order.Batch)}, input: in, reading: order.Reading{Variant: sim.Digits18 | sim.CheckDigit}, kcv: kcv, cards: aka.Parameters{Algorithm: aka.MILENAGE}}
	if _, err := e.read("a.out", bytes.NewReader(out.Bytes()), nil); err == nil || !strings.Contains(err.Error(), "columns EKI and, but for XOR, EOPC must be there") {
		t.Errorf("alone: %v", err)
	}
	e.several = true
	n, err := e.read("a.out", bytes.NewReader(out.Bytes()), nil)
	want := file(0, 0, "ICCID/IMSI/PIN1", false, 4, 6, 9)
	want.ResponseFile, e.ResponseFile = message.ResponseFile{}, message.ResponseFile{}
	if err != nil || n != 3 || e.arrived != want {
		t.Errorf("%d rows, %+v (%v), want %+v", n, e.arrived, err, want)
	}
	e.kcv = sitetest.Must[hsm.KCV](t)(hsm.ParseKCV("C35281 GP"))
	if _, err := e.read("a.out", bytes.NewReader(out.Bytes()), nil); err == nil || errors.Is(err, order.ErrState) {
		t.Errorf("under another key: %v", err)
	}
}
