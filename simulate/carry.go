package simulate

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"ankan/exchange/edge"
	"ankan/message"
	"ankan/simos"
)

// kept is a copy of a file that a carrier kept.
type kept struct {
	from, to, name string
	content        []byte
}

// transfer is what becomes of a file on its way.
func (r *run) transfer() error {
	type waiting struct {
		from, to string
		files    []edge.Meta
	}
	var all []waiting
	for _, l := range links() {
		if r.places[l[0]].spool == nil || r.places[l[1]].spool == nil {
			continue
		}
		files, err := r.outgoing(l[0], l[1])
		if err != nil {
			return err
		}
		if len(files) > 0 {
			all = append(all, waiting{l[0], l[1], files})
		}
	}
	if r.chance(12) {
		return r.hostileFile()
	}
	if len(all) == 0 {
		return nil
	}
	w := one(r, all)
	slices.SortStableFunc(w.files, func(a, b edge.Meta) int {
		return cmp.Or(a.Began.Compare(b.Began), cmp.Compare(a.Name, b.Name))
	})
	m := one(r, w.files)
	kind, _ := message.KindOf(m.Name)
	what := fmt.Sprintf("%s to %s: a file of kind %s", w.from, w.to, kind)
	r.count("transfers")
	if err := r.keep(w.from, w.to, m); err != nil {
		return err
	}
	switch at := r.rng.IntN(100); {
	case at < 10:
		r.count("transfers without acknowledgement")
		r.note("%s arrives, and its sender does not hear of it", what)
		return r.bring(w.from, w.to, m)
	case at < 20:
		r.count("transfers that broke off")
		r.note("%s breaks off", what)
		return r.breakOff(w.from, w.to, m)
	}
	r.note("%s arrives", what)
	return r.carry(w.from, w.to, m)
}

// keep keeps a copy of a file, now and then.
func (r *run) keep(from, to string, m edge.Meta) error {
	if len(r.kept) >= 12 || !r.chance(40) {
		return nil
	}
	f, err := r.places[from].spool.Content(m)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	content, err := io.ReadAll(f)
	r.kept = append(r.kept, kept{from, to, m.Name, content})
	return err
}

var errBroken = errors.New("the connection broke")

// breakOff brings a part of a file: nothing of it may be taken for a file.
func (r *run) breakOff(from, to string, m edge.Meta) error {
	f, err := r.places[from].spool.Content(m)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	part := io.MultiReader(io.LimitReader(f, m.Size*int64(r.rng.IntN(100))/100), broken{})
	if err := r.places[to].spool.Bring(from, m.Name, "carrier", part); !errors.Is(err, errBroken) && !errors.Is(err, edge.ErrUsed) {
		return fmt.Errorf("a transfer that broke off ended with %v", err)
	}
	return nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken }

// hostileFile brings what nobody sent: a copy that was kept, under another name,
// as somebody else's, or spoilt.
func (r *run) hostileFile() error {
	var old []kept
	for _, k := range r.kept {
		if r.taken(k) {
			old = append(old, k)
		}
	}
	if len(old) == 0 {
		return nil
	}
	k := one(r, old)
	kind, _ := message.KindOf(k.name)
	to, from, content := r.places[k.to], k.from, k.content
	if to.spool == nil {
		return nil
	}
	name := fmt.Sprintf("h%d.%s.pgp", r.hostile+1, kind)
	what := "a copy under another name"
	switch r.rng.IntN(4) {
	case 0:
		what = "a copy under its own name"
		err := to.spool.Bring(from, k.name, "stranger", bytes.NewReader(content))
		r.count("replays")
		r.note("%s gets %s, of kind %s", k.to, what, kind)
		if !errors.Is(err, edge.ErrUsed) {
			r.fault("%s takes %s from %s a second time: %v", k.to, k.name, from, err)
		}
		return nil
	case 1:
		if k.to != Bureau {
			return nil
		}
		what, from = "a copy as another partner's", one(r, slices.DeleteFunc([]string{North, South, Plant}, func(s string) bool { return s == k.from }))
	case 2:
		what, content = "a spoilt copy", bytes.Clone(content)
		content[r.rng.IntN(len(content))] ^= byte(1 + r.rng.IntN(255))
	}
	r.hostile++
	r.count("hostile files")
	r.count("hostile: " + what)
	r.note("%s gets %s, of kind %s", k.to, what, kind)
	return to.spool.Bring(from, name, "stranger", bytes.NewReader(content))
}

// taken says whether a file was dealt with where it was sent.
func (r *run) taken(k kept) bool {
	p := r.places[k.to]
	if p.site == nil {
		return false
	}
	var n int
	err := p.site.Store().QueryRow(r.ctx, `SELECT count(*) FROM received WHERE partner = $1 AND name = $2`, k.from, k.name).Scan(&n)
	return err == nil && n > 0
}

// chip makes a chip of the drawer go wrong, or feeds more of them.
func (r *run) chip() error {
	all, fresh := r.rack.Chips()
	if len(fresh) < 3 && r.chance(60) {
		r.note("the line is fed 8 chips")
		return r.feed(8)
	}
	if len(all) == 0 {
		return nil
	}
	s := one(r, all)
	if len(fresh) > 0 && r.chance(80) {
		s = fresh[r.rng.IntN(min(3, len(fresh)))] // one of those that come next
	}
	at := slices.Index(all, s)
	f := simos.Fault{Kind: one(r, []simos.FaultKind{simos.Mute, simos.Flaky, simos.Flaky, simos.Broken, simos.Pulled, simos.Pulled}), After: r.rng.IntN(160)}
	if slices.Contains(fresh, s) && r.chance(10) {
		f.Kind = simos.WrongLot
	}
	what := map[simos.FaultKind]string{simos.Mute: "falls silent", simos.Flaky: "has a bad contact", simos.Broken: "breaks", simos.Pulled: "is pulled out", simos.WrongLot: "is of another lot"}[f.Kind]
	r.count("chips")
	r.count("a chip " + what)
	r.note("chip %d %s after %d commands", at+1, what, f.After)
	return r.rack.SetFault(s, f)
}
