package bureau

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strconv"

	"ankan/audit"
	"ankan/format"
	"ankan/message"
	"ankan/order"
	"ankan/store"
)

// A response is one file, or several: a file has no more rows than the contract
// allows. Which file has which cards is planned once and kept, and so is what
// each file says, before it can leave: the operator acknowledges exactly that.

// paperFiles is the plan, and what was sent: a list of outgoing files.
const paperFiles = "response-files"

// An outgoing is a file of a response: its name, its digest once it was
// written, and the cards that it is about, those that are retired among them.
type outgoing struct {
	message.ResponseFile
	Kind  int `json:"kind"`  // of the contract's responses
	Part  int `json:"part"`  // of the files of this kind, from 1
	Parts int `json:"parts"` // files of this kind
	First int `json:"first"` // card of the order
	End   int `json:"end"`   // after the last
}

// plan says all files of a response: those of each kind that the contract has, one
// kind after the other.
func plan(o order.Order, remakes map[int]int, kinds []order.ResponseFile) []outgoing {
	var files []outgoing
	for kind, of := range kinds {
		cut := cut(o, remakes, of.MaxRows)
		for i := range cut {
			cut[i].Kind, cut[i].Part, cut[i].Parts = kind, i+1, len(cut)
		}
		files = append(files, cut...)
	}
	for i := range files {
		files[i].File = message.ResponseName(o.ID, i+1, len(files))
	}
	return files
}

// cut cuts an order into files of at most rows good cards; 0 is no limit.
func cut(o order.Order, remakes map[int]int, rows int) []outgoing {
	var retired []int
	for _, card := range slices.Sorted(maps.Keys(remakes)) {
		if remakes[card] < 0 {
			retired = append(retired, card)
		}
	}
	if rows == 0 {
		rows = o.Good
	}
	var files []outgoing
	for first, left := 0, o.Good; left > 0; {
		f := outgoing{ResponseFile: message.ResponseFile{Cards: min(rows, left)}, First: first}
		f.End = first + f.Cards
		for len(retired) > 0 && retired[0] < f.End {
			retired = retired[1:]
			f.End++
		}
		if left -= f.Cards; left == 0 {
			f.End = o.Quantity
		}
		first = f.End
		files = append(files, f)
	}
	return files
}

// sendResponse puts every file of an order's response into the spool. Cut
// short, it goes on: a file that is there is not written again.
func (s *bureau) sendResponse(ctx context.Context, o order.Order) ([]outgoing, error) {
	j, err := s.job(ctx, o)
	if err != nil {
		return nil, err
	}
	defer j.close()
	remakes, err := order.Remakes(ctx, s.Store(), o.ID)
	if err != nil {
		return nil, err
	}
	files, err := s.sentFiles(ctx, o.ID)
	if err != nil {
		return nil, err
	}
	if files == nil {
		if files = plan(o, remakes, j.contract.Responses); len(files) > message.MaxResponseFiles {
			return nil, fmt.Errorf("order %s: its response would be %d files, want at most %d; raise max_rows in the contract", o.ID, len(files), message.MaxResponseFiles)
		}
	}
	for i := range files {
		r := s.response(o, j, files[i], remakes)
		inner, err := r.fileName(ctx, s.Token())
		if err != nil {
			return nil, err
		}
		err = s.SendForOfficers(ctx, o.Partner, files[i].File, inner, func(w io.Writer) error {
			sum := sha256.New()
			if err := r.Write(ctx, s.Store(), s.Token(), summing{w, sum}); err != nil {
				return err
			}
			files[i].SHA256 = fmt.Sprintf("%x", sum.Sum(nil))
			return s.keepFiles(ctx, o.ID, files, i)
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// response is what a file of a response is written from.
func (s *bureau) response(o order.Order, j job, f outgoing, remakes map[int]int) Response {
	kind := j.contract.Responses[f.Kind]
	r := Response{
		Order: o.ID, Input: j.input, First: f.First, End: f.End, Good: f.Cards, Remakes: remakes,
		Output: kind.Output, Columns: kind.Columns, Variant: j.contract.ResponseICCID, Keys: map[string]string{},
		Values: map[order.Field]string{format.OrderID: o.ID, format.Part: strconv.Itoa(f.Part), format.Parts: strconv.Itoa(f.Parts),
			format.Written: s.Store().Now().UTC().Format("20060102150405")},
	}
	for receiver, index := range j.input.TransportKeys() {
		if name := message.TransportKey(o.Partner, index); receiver == "" {
			r.Key = name
		} else {
			r.Keys[receiver] = name
		}
	}
	return r
}

// A summing writer hashes what it writes, at the same time.
type summing struct {
	w   io.Writer
	sum hash.Hash
}

func (s summing) Write(p []byte) (int, error) {
	done := make(chan struct{})
	go func() {
		s.sum.Write(p)
		close(done)
	}()
	n, err := s.w.Write(p)
	<-done
	return n, err
}

// keepFiles keeps the plan with the digest of file i, before that file can be sent.
func (s *bureau) keepFiles(ctx context.Context, ord string, files []outgoing, i int) error {
	doc, err := json.Marshal(files)
	if err != nil {
		return err
	}
	f := files[i]
	e := audit.Entry{Kind: "response.written", Actor: "system:site", Subject: "order/" + ord,
		Data: map[string]any{"file": f.File, "cards": f.Cards, "content_sha256": f.SHA256, "number": i + 1, "files": len(files)}}
	return s.Store().Change(ctx, e, func(tx *store.Tx) error {
		if err := order.In(tx, ord, order.Made); err != nil {
			return err // it was abandoned meanwhile
		}
		return order.SetPaper(tx, ord, paperFiles, doc)
	})
}

// sentFiles is the files of an order's response; none before the first was
// written, and none if every card is retired.
func (s *bureau) sentFiles(ctx context.Context, ord string) ([]outgoing, error) {
	var files []outgoing
	err := s.paper(ctx, ord, paperFiles, &files)
	if errors.Is(err, order.ErrNoOrder) {
		return nil, nil
	}
	return files, err
}

// otherFile says in what the files that an operator acknowledges are not those
// that were sent; "" in nothing.
func otherFile(got []message.ResponseFile, sent []outgoing) string {
	if len(got) != len(sent) {
		return fmt.Sprintf("%d files of the response are acknowledged, want %d", len(got), len(sent))
	}
	for i, f := range sent {
		if got[i] != f.ResponseFile {
			return fmt.Sprintf("it acknowledges %s with %d cards and digest %.12s…, want %s with %d and %.12s…",
				got[i].File, got[i].Cards, got[i].SHA256, f.File, f.Cards, f.SHA256)
		}
	}
	return ""
}
