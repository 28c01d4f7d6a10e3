package act

import (
	"bytes"
	"slices"
	"testing"
)

// Whatever stands in the place of one entry of a log: the log is refused, or nobody
// came in and nothing came into force that was not signed for.
func FuzzBook(f *testing.F) {
	w := newTown(f)
	ever := map[string][][]byte{}
	for id, c := range w.people {
		ever[id] = append(ever[id], encode(c.Person))
	}
	for _, c := range []cast{person(f, "new", "", "prep"), person(f, "km3", "so", "km")} {
		w.must(w.enrol(c))
		ever[c.ID] = append(ever[c.ID], encode(c.Person))
	}
	w.must(w.adopt(w.next(func(p *Policy) { p.edit("order.release", func(r *Rule) { r.ToUse = 60 }) })))
	w.must(w.suspend("new"))
	w.must(w.lock("km2"))
	a := w.leave("person.leave", "person/prep", w.people["prep"].Params(), "km")
	w.must(w.do(a, PersonLeft, PersonEntry{Deed{a.ID}, w.people["prep"].Person}))
	w.must(w.book.End())
	// Each process that fuzzes has keys of its own: inputs say what to change, not what
	// stands there.
	for i := range w.log {
		f.Add(uint8(i), uint8(i), "", uint16(0), []byte(""))
		f.Add(uint8(i), uint8(i+1), "", uint16(12), []byte("x"))
		f.Add(uint8(i), uint8(i), "chip.made", uint16(0), []byte("{}"))
	}
	for _, kind := range []string{SiteFounded, PolicyAdopted, PersonEnrolled, AdministratorEnrolled, PersonLeft, PersonSuspended, PersonLocked, ActRequested, ActApproved, ActRejected, ActUsed, "order.released"} {
		f.Add(uint8(7), uint8(7), kind, uint16(0), []byte(""))
	}
	f.Fuzz(func(t *testing.T, at, by uint8, kind string, from uint16, patch []byte) {
		n, e := int(at)%len(w.log), w.log[int(by)%len(w.log)]
		if kind != "" {
			e.kind = kind
		}
		cut := min(int(from), len(e.data))
		e.data = append(append(bytes.Clone(e.data[:cut]), patch...), e.data[min(cut+len(patch), len(e.data)):]...)
		log := slices.Clone(w.log)
		log[n] = e
		var b Book
		for _, e := range log {
			if b.Apply(e.kind, e.subject, t0, e.data) != nil {
				return
			}
		}
		if b.End() != nil {
			return
		}
		if b.Used != w.book.Used || b.Signatures != w.book.Signatures || b.policy.Digest() != w.book.policy.Digest() {
			t.Errorf("%s %q as entry %d: %d acts used with %d signatures, policy %d", e.kind, e.data, n, b.Used, b.Signatures, b.policy.Version)
		}
		for id, who := range b.people {
			known := false
			for _, doc := range ever[id] {
				known = known || bytes.Equal(doc, encode(who))
			}
			if !known {
				t.Errorf("%s %q as entry %d: %+v came in", e.kind, e.data, n, who)
			}
		}
	})
}
