package format

import "testing"

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

func (f *SampleFile) text() []byte {
	if f == nil {
		return nil
	}
	return f.Text
}
