package order

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"ankan/format"
	"ankan/sim"
)

// An order in a layout of a partner's own is kept and read again as it came: several
// ranges, tables of their own for each number, other codings.
func TestPartnersContent(t *testing.T) {
	layouts, err := filepath.Glob("../format/testdata/partners/*/layout.yaml")
	if err != nil || len(layouts) == 0 {
		t.Fatalf("%d layouts, want some (%v)", len(layouts), err)
	}
	for _, path := range layouts {
		doc, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		l, err := format.Parse(path, doc)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(l.Name(), func(t *testing.T) {
			orders, err := filepath.Glob(filepath.Join(filepath.Dir(path), "order", "*"))
			if err != nil || len(orders) != 1 {
				t.Fatalf("%d orders, want 1 (%v)", len(orders), err)
			}
			text, err := os.ReadFile(orders[0])
			if err != nil {
				t.Fatal(err)
			}
			rd, name := Reading{Layout: l}, filepath.Base(orders[0])
			want, err := rd.ParseInput(name, bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			var again bytes.Buffer
			if err := want.Render(&again); err != nil || !bytes.Equal(again.Bytes(), text) {
				t.Errorf("it is written again as (%v)\n%s", err, again.Bytes())
			}
			c := newContentBy(t, rd, name, string(text))
			in, err := OpenText(t.Context(), c.store, c.token, c.order, rd)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			if in.Quantity() != want.Quantity() || in.Quantity() != c.order.Quantity {
				t.Errorf("%d cards, want %d", in.Quantity(), want.Quantity())
			}
			var got, all []sim.Identity
			for _, id := range in.Identities() {
				got = append(got, id)
			}
			for _, id := range want.Identities() {
				all = append(all, id)
			}
			if err := errors.Join(in.Err(), want.Err()); err != nil || len(got) != in.Quantity() || !slices.Equal(got, all) {
				t.Errorf("%d identities are others than those of the file (%v)", len(got), err)
			}
			for f, value := range want.Fields() {
				if in.Value(f) != value {
					t.Errorf("%s is %q, want %q", f, in.Value(f), value)
				}
			}
			again.Reset()
			if err := CopyText(t.Context(), c.store, c.token, c.order, &again); err != nil || !bytes.Equal(again.Bytes(), text) {
				t.Errorf("the text is not what came (%v)", err)
			}
		})
	}
}
