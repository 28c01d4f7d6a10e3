package site_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ankan/audit"
	"ankan/durable"
	"ankan/exchange"
	"ankan/exchange/edge"
	"ankan/message"
	"ankan/parts"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/store"
)

// What a site takes, and from whom.
func TestDispatchRefused(t *testing.T) {
	op, maker := sitetest.Pair(t, parts.All()...)
	for name, want := range map[string]string{
		"x.pgp":             "x.pgp: the name must end in .KIND.pgp, for an order .inp.pgp",
		"x.inp.pgp":         `x.inp.pgp: this site takes no "inp" files from maker`,
		"x.ack.pgp":         `x.ack.pgp: this site takes no "ack" files from maker`,
		"x.none.pgp":        `x.none.pgp: this site takes no "none" files from maker`,
		"x.receipt.pgp":     "x.receipt.pgp: ",
		"x.certificate.pgp": "x.certificate.pgp: ",
	} {
		err := sitetest.Message(t, maker, op, name, map[string]string{"surprise": "x"})
		var no *site.Refusal
		if !errors.As(err, &no) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	f := &edge.File{Meta: edge.Meta{Partner: "stranger", Name: "x.receipt.pgp"}}
	if err := op.Dispatch(t.Context(), f); err == nil || err.Error() != `x.receipt.pgp: from "stranger", who is no partner` {
		t.Error(err)
	}
	if err := op.Send(t.Context(), "stranger", "x.ack.pgp", message.JSON(1)); err == nil || !strings.Contains(err.Error(), `"stranger" is no partner; add its card to partners`) {
		t.Error(err)
	}
	var broken *exchange.Refusal
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 100), 0o600); err != nil {
		t.Fatal(err)
	}
	f = &edge.File{Meta: edge.Meta{Partner: "maker", Name: "x.receipt.pgp", SHA256: "1"}, Path: path}
	if err := op.Dispatch(t.Context(), f); !errors.As(err, &broken) {
		t.Errorf("what is no message: %v", err)
	}
}

// A file that was dealt with is taken for a replay elsewhere, and passed over
// in its old place: the site stopped before it cleared it away.
func TestReplay(t *testing.T) {
	op, maker := sitetest.Pair(t, parts.All()...)
	if err := sitetest.Message(t, maker, op, "1.receipt.pgp", message.Receipt{File: "x.inp.pgp", Reasons: []string{"why"}}); err != nil {
		t.Fatal(err)
	}
	size := op.Store().Size()
	if err := sitetest.Hand(t, maker, op, "1.receipt.pgp"); err != nil || op.Store().Size() != size {
		t.Errorf("the same place: %v, %d entries, want %d", err, op.Store().Size(), size)
	}
	dir := filepath.Join(maker.Config().SpoolDir(), "out", "op")
	if err := os.Rename(filepath.Join(dir, "1.receipt.pgp.data"), filepath.Join(dir, "2.receipt.pgp.data")); err != nil {
		t.Fatal(err)
	}
	if err := sitetest.Hand(t, maker, op, "2.receipt.pgp"); err == nil || !strings.Contains(err.Error(), "was dealt with; a file is taken once") {
		t.Errorf("another place: %v", err)
	}
	entries := sitetest.Must[[]audit.Entry](t)(op.Store().Entries(t.Context(), size-1, 1))
	if entries[0].Kind != "receipt.stray" {
		t.Errorf("the last entry is %s, want receipt.stray", entries[0].Kind)
	}
}

// An answer is sent wherever the site stopped: after it took the file in, or
// when the answer was in the spool already; and once.
func TestAnswersAreOwed(t *testing.T) {
	op, maker := sitetest.Pair(t, parts.All()...)
	ctx := t.Context()
	took := 0
	a := &site.Arrival{File: &edge.File{Meta: edge.Meta{Partner: "op", Name: "2.inp.pgp", SHA256: "2"}}}
	owe := func() {
		sitetest.Change(t, maker, func(tx *store.Tx) error {
			took++
			return a.Owe(tx, "2.receipt.pgp", message.Receipt{File: "2.inp.pgp"})
		})
	}
	owe()
	owe() // the same file again
	if names, err := maker.Owed(ctx); err != nil || len(names) != 1 || took != 2 {
		t.Fatalf("%q, %v", names, err)
	}
	if n, err := maker.PayAll(ctx); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	sent := filepath.Join(maker.Config().SpoolDir(), "out", "op", "2.receipt.pgp.data")
	first := sitetest.Must[[]byte](t)(os.ReadFile(sent))
	owe() // the site stopped after the file was in the spool, and before its entry
	if n, err := maker.PayAll(ctx); n != 1 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
	if again := sitetest.Must[[]byte](t)(os.ReadFile(sent)); !bytes.Equal(first, again) {
		t.Error("the answer was written anew")
	}
	if n, err := maker.PayAll(ctx); n != 0 || err != nil {
		t.Errorf("nothing is owed: %d, %v", n, err)
	}
	if err := sitetest.Hand(t, maker, op, "2.receipt.pgp"); err != nil {
		t.Error(err)
	}
}

// A site may hold more than one role, and so may a partner: a kind of file is
// taken if both have the role for it, whatever else they are.
func TestHandlerByRole(t *testing.T) {
	c := sitetest.Config(t, "factory", "bureau, plant")
	sitetest.Init(t, c, parts.All()...)
	sites := map[string]*site.Site{}
	for _, tt := range []struct {
		role  string
		kind  message.Kind
		taken bool
	}{
		{site.Bureau, message.KindSlot, true}, {site.Bureau, message.KindReport, true}, {site.Plant, message.KindBatch, true}, {site.Operator, message.KindResponse, true},
		{site.Bureau, message.KindOrder, false}, {site.Bureau, message.KindBatch, false}, {site.Plant, message.KindReport, false}, {site.Operator, message.KindOrder, false}, {site.Bureau, "zip", false},
	} {
		s := sites[tt.role]
		if s == nil {
			mine := sitetest.Config(t, "s", tt.role)
			token := sitetest.Init(t, mine, parts.All()...)
			mine.Partners = []string{c.CardFile()}
			s = sitetest.Open(t, mine, token, parts.All()...)
			sites[tt.role] = s
		}
		// The file is not there: who takes its kind says so, after it found who
		// takes it.
		name := "x." + string(tt.kind) + ".pgp"
		err := s.Dispatch(t.Context(), &edge.File{Meta: edge.Meta{Partner: "factory", Name: name, SHA256: "1"}, Path: filepath.Join(t.TempDir(), "none")})
		if got := errors.Is(err, fs.ErrNotExist); got != tt.taken {
			t.Errorf("a %s takes %q from a bureau and plant: %v, want %v (%v)", tt.role, tt.kind, got, tt.taken, err)
		}
	}
}

// A file that was refused is put aside also when the site died before it did so,
// and is refused once.
func TestRefusedAndDied(t *testing.T) {
	c := sitetest.Config(t, "op", site.Operator)
	token := sitetest.Init(t, c, parts.All()...)
	script := &durable.Script{Match: func(step string) bool { return step == "spool.write" }, Fail: []durable.Event{{Step: 1, Shape: durable.Before}}}
	c.Steps = func(step string, do func() error) error { return script.Steps().Do(step, do) }
	s := sitetest.Open(t, c, token, parts.All()...)
	spool := sitetest.Must[*edge.Spool](t)(edge.OpenSpool(c.SpoolDir()))
	defer spool.Close()
	if err := spool.Bring("stranger", "x.receipt.pgp", "", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	aside := func() []string {
		return sitetest.Must[[]string](t)(filepath.Glob(filepath.Join(c.SpoolDir(), "quarantine", "stranger", "*.json")))
	}
	if _, err := s.Turn(t.Context()); err != nil || len(aside()) != 0 {
		t.Fatalf("%v, %v", aside(), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	script = &durable.Script{}
	s = sitetest.Open(t, c, token, parts.All()...)
	if _, err := s.Turn(t.Context()); err != nil || len(aside()) != 1 {
		t.Errorf("%v is put aside (%v)", aside(), err)
	}
	if files, err := spool.Waiting(); err != nil || len(files) != 0 {
		t.Errorf("%v waits (%v)", files, err)
	}
	var n int
	if err := s.Store().QueryRow(t.Context(), `SELECT count(*) FROM received WHERE name = 'x.receipt.pgp'`).Scan(&n); err != nil || n != 1 {
		t.Errorf("it is refused %d times (%v)", n, err)
	}
}
