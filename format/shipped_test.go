package format

import (
	"strings"
	"testing"
)

func TestSamples(t *testing.T) {
	if len(Shipped()) < 10 {
		t.Fatalf("%d layouts are shipped, want at least 10", len(Shipped()))
	}
	for _, l := range Shipped() {
		for _, cards := range []int{1, 3} {
			s := &Sample{Layout: l, Cards: cards}
			if l.Orders() {
				f, err := s.Order()
				if err != nil {
					t.Errorf("%s: order: %v\n%s", l.Name(), err, f.text())
					continue
				}
				t.Logf("%s order %q\n%s", l.Name(), f.Name, f.Text)
			}
			for _, o := range l.Outputs() {
				f, err := s.Response(o)
				if err != nil {
					t.Errorf("%s: %s: %v\n%s", l.Name(), o.Name(), err, f.text())
					continue
				}
				t.Logf("%s %s %q\n%s", l.Name(), o.Name(), f.Name, f.Text)
			}
		}
	}
}

// The skeleton is a good layout whose files are read as they were written.
func TestSkeleton(t *testing.T) {
	l, err := Parse("new.yaml", must(Skeleton("north")))
	if err != nil {
		t.Fatal(err)
	}
	if l.Name() != "north" || len(l.Outputs()) != 2 {
		t.Errorf("%s has %d outputs", l.Name(), len(l.Outputs()))
	}
	s := &Sample{Layout: l, Cards: 3}
	if f, err := s.Order(); err != nil {
		t.Errorf("%v\n%s", err, f.text())
	}
	for _, o := range l.Outputs() {
		if f, err := s.Response(o); err != nil {
			t.Errorf("%v\n%s", err, f.text())
		}
	}
	if _, err := Skeleton("two words"); err == nil || !strings.Contains(err.Error(), "name of a layout has ' '") {
		t.Error(err)
	}
}

func (f *SampleFile) text() []byte {
	if f == nil {
		return nil
	}
	return f.Text
}
