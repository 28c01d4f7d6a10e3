package edge

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
)

// What is carried from one spool to another arrives once, and is done with.
func TestCarry(t *testing.T) {
	from, to := openSpool(t), openSpool(t)
	if _, _, err := from.Put("maker", "a.inp.pgp", func(w io.Writer) error { _, err := io.WriteString(w, "sealed"); return err }); err != nil {
		t.Fatal(err)
	}
	out, err := from.Outgoing()
	if err != nil || len(out) != 1 {
		t.Fatalf("%v to send (%v)", out, err)
	}
	for range 2 { // the sender did not hear that it arrived
		r, err := from.Content(out[0])
		if err != nil {
			t.Fatal(err)
		}
		err = to.Bring("op", "a.inp.pgp", "carrier", r)
		r.Close()
		if err != nil && !errors.Is(err, ErrUsed) {
			t.Fatal(err)
		}
	}
	files, err := to.Waiting()
	if err != nil || len(files) != 1 || files[0].Size != 6 || files[0].SHA256 != out[0].SHA256 || files[0].Name != "a.inp.pgp" {
		t.Errorf("%+v waits (%v)", files, err)
	}
	if err := to.Done(files[0]); err != nil {
		t.Fatal(err)
	}
	if err := to.Bring("op", "a.inp.pgp", "carrier", strings.NewReader("other")); !errors.Is(err, ErrUsed) {
		t.Errorf("another file under a name that was used: %v", err)
	}
	for range 2 {
		if err := from.Carried(out[0], "carrier"); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := from.Outgoing(); err != nil || len(left) != 0 {
		t.Errorf("%v is left to send (%v)", left, err)
	}
	if _, err := from.Content(out[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("content that was sent: %v", err)
	}
	var outcomes []string
	for _, s := range []*Spool{to, from} {
		records, err := s.Records()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			outcomes = append(outcomes, r.Outcome)
		}
	}
	if got := strings.Join(outcomes, " "); got != "received refused refused sent sent" {
		t.Errorf("the records say %s", got)
	}
}

func TestCarryRefused(t *testing.T) {
	s, none := openSpool(t), &Spool{}
	if err := s.Recover(); err != nil {
		t.Error(err)
	}
	for _, err := range []error{
		s.Bring("../op", "a.inp.pgp", "", strings.NewReader("")), s.Bring("op", "../a", "", strings.NewReader("")), none.Bring("op", "a.inp.pgp", "", strings.NewReader("")),
		s.Carried(Meta{Partner: "op", Name: "/a"}, ""), none.Carried(Meta{Partner: "op", Name: "a.inp.pgp"}, ""),
	} {
		if err == nil {
			t.Error("a name outside of the spool, or a spool that is not open, is taken")
		}
	}
	for _, m := range []Meta{{Partner: "op", Name: "../../x"}, {Partner: "..", Name: "x.inp.pgp"}} {
		if _, err := s.Content(m); err == nil {
			t.Errorf("%+v is opened", m)
		}
	}
	if _, err := none.Content(Meta{Partner: "op", Name: "a.inp.pgp"}); err == nil {
		t.Error("a spool that is not open has content")
	}
}

func openSpool(t *testing.T) *Spool {
	t.Helper()
	s, err := OpenSpool(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
