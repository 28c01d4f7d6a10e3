package demo

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ankan/examples"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/order"
	"ankan/simos"
	"ankan/site"
)

// plan is the smallest plan for an order file.
func plan(t *testing.T, dir string, doc []byte) Plan {
	return Plan{Dir: dir, Order: "order.inp", Document: doc, Stations: 2,
		Token: func(*site.Config) (hsm.Module, error) { return hsmtest.Soft(t, nil), nil }}
}

// changed is the example order with one text instead of another.
func changed(t *testing.T, old, new string) []byte {
	t.Helper()
	doc := bytes.Replace(examples.Order(), []byte(old), []byte(new), 1)
	if bytes.Equal(doc, examples.Order()) {
		t.Fatalf("%q is not in the example", old)
	}
	return doc
}

// listed is the example order with these identities listed, by the place that
// they have in the example.
func listed(t *testing.T, at ...int) []byte {
	t.Helper()
	in, err := order.ParseInput("order.inp", bytes.NewReader(examples.Order()))
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := bytes.Cut(examples.Order(), []byte("IMSI:"))
	doc := bytes.Replace(head, []byte("Quantity:        1000"), fmt.Appendf(nil, "Quantity:        %d", len(at)), 1)
	for _, i := range at {
		doc = fmt.Appendf(doc, "IMSI:%s\nSer_nb:%s\n", in.At(i).IMSI, in.At(i).ICCID)
	}
	return doc
}

func TestSetUpRefused(t *testing.T) {
	for _, tt := range []struct {
		what  string
		doc   []byte
		cards int
		want  string
	}{
		{"a list in falling order", listed(t, 2, 1, 0), 0, "order.inp: the demonstration takes lists in rising order"},
		{"a list whose middle is outside", listed(t, 1, 0, 2), 0, "order.inp: the demonstration takes lists in rising order"},
		{"another number of a list", listed(t, 0, 1, 2), 5, "order.inp lists its 3 identities one by one; --cards cannot change that"},
		{"another network", changed(t, "IMSI:40499", "IMSI:40410"), 0, "order.inp: IMSI 40410"},
		{"another profile", changed(t, "in-5g-usim", "in-4g-usim"), 0, `order.inp: profile is "in-4g-usim"; the demonstration has "in-5g-usim"`},
		{"no order", []byte("x\n"), 0, "order.inp:1:1: "},
		{"more cards than numbers", examples.Order(), order.MaxQuantity + 1, "order: quantity is 100000001, want 1 to 100000000"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "demo")
			p := plan(t, dir, tt.doc)
			p.Cards = tt.cards
			f, err := SetUp(t.Context(), p)
			if f != nil || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if _, err := os.Stat(filepath.Join(dir, Operator)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a site was made (%v)", err)
			}
		})
	}
}

// The IMSI of a refused order is masked.
func TestRefusalIsMasked(t *testing.T) {
	_, err := SetUp(t.Context(), plan(t, filepath.Join(t.TempDir(), "demo"), changed(t, "IMSI:404990000100000", "IMSI:404100000100000")))
	if err == nil || strings.Contains(err.Error(), "404100000100000") || !strings.Contains(err.Error(), "the demonstration's profile is for 40499") {
		t.Error(err)
	}
}

func TestForeignFolder(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := dir + " holds files that are not a demonstration's; give another folder with --dir"
	if _, err := SetUp(t.Context(), plan(t, dir, examples.Order())); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
	if _, err := SetUp(t.Context(), plan(t, precious, examples.Order())); err == nil {
		t.Error("a file is taken for a folder")
	}
}

// Another number of cards is ordered, agreed and has its chips; a list in
// rising order is taken; and a demonstration replaces the one before it.
func TestSetUp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	p := plan(t, dir, examples.Order())
	p.Cards, p.Stations = 7, 3
	f := setUp(t, p, 7)
	if n := len(f.Configs[Plant].Stations); n != 3 {
		t.Errorf("%d stations, want 3", n)
	}
	for _, name := range Sites() {
		if _, err := os.Stat(f.Configs[name].CardFile()); err != nil {
			t.Error(err)
		}
	}
	stale := filepath.Join(dir, "stale")
	if err := os.WriteFile(stale, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	setUp(t, plan(t, dir, listed(t, 3, 4, 9)), 3)
	if _, err := os.Stat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder was not replaced: %v", err)
	}
}

// setUp sets a demonstration up and checks how many cards its papers speak of.
func setUp(t *testing.T, p Plan, cards int) *Factory {
	t.Helper()
	f, err := SetUp(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(f.OrderFile)
	if err != nil {
		t.Fatal(err)
	}
	in, err := order.ParseInput("order.inp", bytes.NewReader(doc))
	if err != nil || in.Quantity() != cards || f.Cards != cards {
		t.Errorf("%d cards, in the file %d, want %d (%v)", f.Cards, in.Quantity(), cards, err)
	}
	text, err := os.ReadFile(filepath.Join(f.Dir, "contract.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := order.ParseContract("contract.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	last := in.At(cards - 1)
	if r := c.Ranges; len(r) != 1 || r[0].ICCID.Last != last.ICCID.Body() || r[0].IMSI.Last != last.IMSI.Value() {
		t.Errorf("agreed are %+v, want up to %d and %d", r, last.ICCID.Body(), last.IMSI.Value())
	}
	note, err := os.ReadFile(filepath.Join(f.Dir, "lot.json"))
	if err != nil || !bytes.Contains(note, fmt.Appendf(nil, `"quantity": %d,`, cards+cards/50+20)) {
		t.Errorf("the lot's note: %.200s (%v)", note, err)
	}
	return f
}

// A drawer whose list of faults cannot be read is not served.
func TestServeChipsRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	rack, err := simos.NewRack(dir)
	if err != nil {
		t.Fatal(err)
	}
	chip, err := newChip("LOT", 0, make([]byte, 32), make(ed25519.PublicKey, ed25519.PublicKeySize))
	if err == nil {
		err = rack.Add(chip)
	}
	if err != nil {
		t.Fatal(err)
	}
	for doc, want := range map[string]string{"": "faults.json: ", "{": "faults.json: ", `{"zz":{}}`: ""} {
		if err := os.WriteFile(filepath.Join(dir, faultsName), []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := ServeChips(t.Context(), dir, l); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", doc, err, want)
		}
	}
	if err := ServeChips(t.Context(), t.TempDir(), l); err == nil || !strings.Contains(err.Error(), "it has no chips") {
		t.Errorf("no drawer is served: %v", err)
	}
}
