package operator

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"ankan/audit"
	"ankan/message"
	"ankan/order"
	"ankan/site"
	"ankan/store"
)

// A response is one file, or several. Each is checked alone when it comes, and
// kept; with the last one they must agree.

// paperResponse is the files of a response that are here: a list of arrived.
const paperResponse = "response"

// An arrived is a file of a response that is here, and what it was seen to hold.
type arrived struct {
	message.ResponseFile
	Number  int    `json:"number"` // from 1
	Of      int    `json:"of"`
	Columns string `json:"columns"`
	Keys    bool   `json:"keys"`  // it has what the subscriber store is loaded with
	First   int    `json:"first"` // card of the order in its first row
	Last    int    `json:"last"`  // in its last
	Mix     uint64 `json:"mix"`   // of all its cards, whatever their sequence
}

// mixed is a card's part of Mix (the finalizer of SplitMix64): two files that
// carry the same cards have the same sum. It finds mistakes, not forgers; the
// manufacturer signs each file.
func mixed(card int) uint64 {
	z := uint64(card)*0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// responseFiles is the files of an order's response that are here, as q sees
// them, by their numbers.
func responseFiles(q store.Querier, ord string) ([]arrived, error) {
	doc, err := order.ReadPaper(q, ord, paperResponse)
	if errors.Is(err, order.ErrNoOrder) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var files []arrived
	err = json.Unmarshal(doc, &files)
	return files, err
}

func putResponse(tx *store.Tx, ord string, files []arrived) error {
	doc, err := json.Marshal(files)
	if err != nil {
		return err
	}
	return order.SetPaper(tx, ord, paperResponse, doc)
}

// with is files and one more; "" or why that one does not go with them.
func with(files []arrived, f arrived) ([]arrived, string) {
	for _, had := range files {
		switch {
		case had.Of != f.Of:
			return nil, fmt.Sprintf("it is one of %d files, but %s came already", f.Of, had.File)
		case had.Number == f.Number:
			return nil, fmt.Sprintf("file %d of the response came already, as %s", f.Number, had.File)
		}
	}
	files = append(slices.Clone(files), f)
	slices.SortFunc(files, func(a, b arrived) int { return cmp.Compare(a.Number, b.Number) })
	return files, ""
}

// agree compares the files of a response that are all here. Files with the same
// columns follow each other through the order, no card twice; files with other
// columns are about the very same cards; and some of them have the keys. It
// says how many cards there are.
func agree(files []arrived) (cards int, err error) {
	type output struct {
		cards int
		mix   uint64
		last  arrived
	}
	var names []string
	outputs := map[string]*output{}
	keys := false
	for _, f := range files {
		o := outputs[f.Columns]
		switch {
		case o == nil:
			o = &output{}
			outputs[f.Columns] = o
			names = append(names, f.Columns)
		case f.First <= o.last.Last:
			return 0, fmt.Errorf("%s begins with card %d, but %s has cards up to %d", f.File, f.First+1, o.last.File, o.last.Last+1)
		}
		o.cards += f.Cards
		o.mix += f.Mix
		o.last = f
		keys = keys || f.Keys
	}
	if !keys {
		return 0, errors.New("no file has the columns EKI and, but for XOR, EOPC")
	}
	one := outputs[names[0]]
	for _, name := range names[1:] {
		if o := outputs[name]; o.cards != one.cards || o.mix != one.mix {
			return 0, fmt.Errorf("the files with the columns %s have %d cards, those with %s have %d others or not the same", names[0], one.cards, name, o.cards)
		}
	}
	return one.cards, nil
}

// loadable is the files to load from: those with the keys, of one kind if there
// are several.
func loadable(files []arrived) []arrived {
	at := slices.IndexFunc(files, func(f arrived) bool { return f.Keys })
	if at < 0 {
		return nil
	}
	columns := files[at].Columns
	return slices.DeleteFunc(slices.Clone(files), func(f arrived) bool { return f.Columns != columns })
}

// responseDigest is what people sign for: the digest of the one file, or of the
// list of several as sha256sum prints it.
func responseDigest(files []arrived) string {
	if len(files) == 1 {
		return files[0].SHA256
	}
	sum := sha256.New()
	for _, f := range files {
		fmt.Fprintf(sum, "%s  %s\n", f.SHA256, f.File)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// takeResponse reads a file of a response through, checks it against the order,
// and keeps it sealed as it came. Its keys are opened by nobody here: loading
// re-wraps them in the module. With the last file the order is answered.
func (s *operator) takeResponse(ctx context.Context, a *site.Arrival) error {
	id, n, of, ok := message.ParseResponseName(a.Name)
	if !ok {
		return site.Refused("%s: the name must be ORDER.out.pgp, or ORDER.N-of-M.out.pgp with N from 1 to M and M at most %d", a.Name, message.MaxResponseFiles)
	}
	if late, err := s.late(ctx, a, id); late || err != nil {
		return err
	}
	o, err := s.about(ctx, a, id, order.Submitted, order.Accepted)
	if err != nil {
		return err
	}
	want, err := s.expect(ctx, o)
	if err != nil {
		return err
	}
	defer want.input.Close()
	c, _, err := s.manufacturer()
	if err != nil {
		return err
	}
	if err := want.file(c, n, of); err != nil {
		return site.Refused("%s: %v", a.Name, err)
	}
	rows, err := want.readFrom(a)
	if want.input.Err() != nil {
		return want.input.Err() // not the response's fault
	}
	if err != nil {
		return contentRefusal(err)
	}
	f := want.arrived
	f.ResponseFile = message.ResponseFile{File: a.Name, SHA256: fmt.Sprintf("%x", a.Content()), Cards: rows}
	f.Number, f.Of = n, of
	if err := os.MkdirAll(s.Config().Path("held"), 0o700); err != nil {
		return err
	}
	if err := s.keep(a.Path, s.heldPath(a.Name)); err != nil {
		return err
	}
	return s.gather(ctx, a, o, f, want.kcv.String())
}

// gather adds a file to those that are here; the order is answered when it was
// the last. Files may come at the same time: what is here is looked at in the
// change itself.
func (s *operator) gather(ctx context.Context, a *site.Arrival, o order.Order, f arrived, kcv string) error {
	data := map[string]any{"cards": f.Cards, "content_sha256": f.SHA256, "kcv": kcv}
	if f.Of == 1 {
		return a.Step(ctx, o, "order.answered", order.Answered, data, func(tx *store.Tx) error { return s.answer(tx, a, o, f) })
	}
	data["number"], data["files"] = f.Number, f.Of
	return s.Store().Change(ctx, responseEntry("response.received", o, data), func(tx *store.Tx) error {
		if err := a.Taken(tx); err != nil {
			return err
		}
		files, err := responseFiles(tx, o.ID)
		if err != nil {
			return err
		}
		if len(files)+1 < f.Of {
			files, wrong := with(files, f)
			if wrong != "" {
				return site.Refused("%s: %s", a.Name, wrong)
			}
			return putResponse(tx, o.ID, files)
		}
		if err := s.answer(tx, a, o, f); err != nil {
			return err
		}
		if err := tx.Append(responseEntry("order.answered", o, map[string]any{"files": f.Of})); err != nil {
			return err
		}
		return order.Move(tx, o.ID, o.State, order.Answered)
	})
}

func responseEntry(kind string, o order.Order, data map[string]any) audit.Entry {
	return audit.Entry{Kind: kind, Actor: "system:site", Subject: "order/" + o.ID, Data: data}
}

// answer adds the last file and counts the cards.
func (s *operator) answer(tx *store.Tx, a *site.Arrival, o order.Order, f arrived) error {
	files, err := responseFiles(tx, o.ID)
	if err != nil {
		return err
	}
	files, wrong := with(files, f)
	if wrong != "" {
		return site.Refused("%s: %s", a.Name, wrong)
	}
	cards, err := agree(files)
	if err != nil {
		return site.Refused("%s: %v", a.Name, err)
	}
	if err := order.SetCounts(tx, o.ID, cards, o.Quantity-cards); err != nil {
		return err
	}
	return putResponse(tx, o.ID, files)
}
