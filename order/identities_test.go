package order

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"ankan/audit"
	"ankan/hsm"
	"ankan/sim"
	"ankan/store"
)

// listed is an order that lists n identities, seven numbers apart.
func listed(t testing.TB, n int) string {
	t.Helper()
	head, _, _ := strings.Cut(base(t), "IMSI:")
	head = strings.Replace(head, "1000", fmt.Sprint(n), 1)
	var b strings.Builder
	b.WriteString(head)
	first := draft().First
	for i := range uint64(n) {
		iccid, err := first.ICCID.Add(7 * i)
		if err != nil {
			t.Fatal(err)
		}
		imsi, err := first.IMSI.Add(7 * i)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "IMSI:%s\nSer_nb:%s\n", imsi, iccid)
	}
	return b.String()
}

// A content is an order in a store, with its operator's text.
type content struct {
	*testing.T
	store *store.Store
	token hsm.Token
	order Order
	text  string
}

func newContent(t *testing.T, text string) *content { return newContentBy(t, Reading{}, "o.inp", text) }

func newContentBy(t *testing.T, rd Reading, name, text string) *content {
	t.Helper()
	ledger, s := testLedger(t)
	c := &content{T: t, store: s, token: ledger.token, text: text}
	staged, err := rd.Stage(t.TempDir(), name, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer staged.Close()
	c.order = Order{ID: IDOf("op", staged.Digest()), Partner: "op", Name: name, Batch: "b", Quantity: staged.Quantity(), Transport: 1, State: Accepted, KEK: "order/x"}
	sealed, err := SealText(t.Context(), c.token, c.order.ID, c.order.KEK, staged)
	if err != nil {
		t.Fatal(err)
	}
	defer sealed.Close()
	c.change(func(tx *store.Tx) error { return errors.Join(Insert(tx, c.order), sealed.Put(tx, c.order.ID)) })
	return c
}

func (c *content) change(fn func(*store.Tx) error) {
	c.Helper()
	if err := c.store.Change(c.Context(), audit.Entry{Kind: "test", Actor: "system:test", Subject: "order/x"}, fn); err != nil {
		c.Fatal(err)
	}
}

func (c *content) open() (*Input, error) {
	in, err := OpenText(c.Context(), c.store, c.token, c.order, Reading{})
	if err == nil {
		c.Cleanup(in.Close)
	}
	return in, err
}

// What was staged and kept is what was read: text, identities, digest.
func TestContentRoundTrip(t *testing.T) {
	long := listed(t, 30_000) // more than one piece of text
	for name, text := range map[string]string{"range": base(t), "list of 2": listed(t, 2), "list of a block": listed(t, perList), "list": listed(t, 2*perList+1), "long list": long} {
		t.Run(name, func(t *testing.T) {
			want, err := ParseInput("o.inp", strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			c := newContent(t, text)
			in, err := c.open()
			if err != nil {
				t.Fatal(err)
			}
			if got := IDOf("op", want.Digest()); got != c.order.ID {
				t.Errorf("the staged order is %s, want %s", c.order.ID, got)
			}
			n := 0
			for i, id := range in.Identities() {
				if n++; id != want.At(i) || in.At(i) != id {
					t.Fatalf("identity %d is %v and %v, want %v", i, id, in.At(i), want.At(i))
				}
			}
			if n != c.order.Quantity || in.Err() != nil {
				t.Errorf("%d identities, want %d (%v)", n, c.order.Quantity, in.Err())
			}
			part := make([]sim.Identity, min(n, perList+1))
			first := n - len(part)
			if err := in.Read(part, first); err != nil || part[0] != want.At(first) || part[len(part)-1] != want.At(n-1) {
				t.Errorf("the last %d are %v to %v (%v)", len(part), part[0], part[len(part)-1], err)
			}
			var again bytes.Buffer
			if err := CopyText(t.Context(), c.store, c.token, c.order, &again); err != nil || again.String() != text {
				t.Errorf("the text has %d bytes, want %d as they came (%v)", again.Len(), len(text), err)
			}
			if _, ranged := in.Range(); ranged != (name == "range") {
				t.Errorf("a range: %v", ranged)
			}
		})
	}
}

// A list is kept sealed: neither the database's rows nor the staged file, which
// has no name, show an identity.
func TestContentIsSealed(t *testing.T) {
	text := listed(t, 1500)
	dir := t.TempDir()
	staged, err := Reading{}.Stage(dir, "o", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer staged.Close()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("staging left %v (%v)", left, err)
	}
	onDisk := make([]byte, staged.end)
	if _, err := staged.file.ReadAt(onDisk, 0); err != nil || bytes.Contains(onDisk, []byte(staged.First().IMSI.String())) || bytes.Contains(onDisk, []byte("IMSI")) {
		t.Errorf("the staged file is not sealed (%v)", err)
	}
	c := newContent(t, text)
	for _, table := range []string{"order_text", "order_identity"} {
		all, err := store.Collect(c.store.Committed(t.Context()), store.Column[[]byte], `SELECT sealed FROM `+table)
		if err != nil || len(all) < 2 {
			t.Fatalf("%s has %d rows (%v)", table, len(all), err)
		}
		for _, row := range all {
			if bytes.Contains(row, []byte("4049900")) {
				t.Errorf("%s has digits of an IMSI", table)
			}
		}
	}
}

func TestStageRefuses(t *testing.T) {
	dir := t.TempDir()
	text := listed(t, 1200)
	cut := text[:strings.LastIndex(text, "Ser_nb")]
	_, err := Reading{}.Stage(dir, "o", strings.NewReader(cut))
	var faults Faults
	if !errors.As(err, &faults) {
		t.Errorf("a list that is cut short: got %v, want faults", err)
	}
	broken := errors.New("the disk is gone")
	_, err = Reading{}.Stage(dir, "o", io.MultiReader(strings.NewReader(text[:len(text)/2]), failingReader{broken}))
	if !errors.Is(err, broken) {
		t.Errorf("a reader that fails: got %v, want %v", err, broken)
	}
	if _, err := (Reading{}).Stage("/dev/null/x", "o", strings.NewReader(text)); err == nil {
		t.Error("it stages in a folder that cannot be")
	}
	staged, err := Reading{}.Stage(dir, "o", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	staged.Close()
	if id := staged.At(5); id != (sim.Identity{}) || staged.Err() == nil {
		t.Errorf("closed, it gives %v (%v)", id, staged.Err())
	}
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

// each decides; its error is the reading's.
func TestReadInput(t *testing.T) {
	text := listed(t, 1200)
	stop := errors.New("stop")
	n := 0
	_, err := Reading{}.ReadInput("o", strings.NewReader(text), func(sim.Identity) error {
		if n++; n == 7 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || n != 7 {
		t.Errorf("got %v after %d identities, want %v after 7", err, n, stop)
	}
	in, err := Reading{}.ReadInput("o", strings.NewReader(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Read(make([]sim.Identity, 1), 0); !errors.Is(err, errNotKept) {
		t.Errorf("identities that nobody kept: got %v, want %v", err, errNotKept)
	}
	for range in.Identities() {
		t.Fatal("it yields identities that nobody kept")
	}
	if !errors.Is(in.Err(), errNotKept) || in.At(0) != (sim.Identity{}) {
		t.Errorf("got %v, want %v", in.Err(), errNotKept)
	}
	n = 0
	if _, err := (Reading{}).ReadInput("o", strings.NewReader(base(t)), func(sim.Identity) error { n++; return nil }); err != nil || n > 0 {
		t.Errorf("a range gives %d identities one by one, want none (%v)", n, err)
	}
	first, err := Reading{}.readFirst("o", strings.NewReader(text))
	if err != nil || first.First() != in.First() || first.Quantity() != 1200 {
		t.Errorf("the head is %v (%v)", first, err)
	}
	if err := first.Render(io.Discard); err == nil {
		t.Error("a head is written as if it were the order")
	}
}

// What was changed in the database is not taken for the order.
func TestContentDamaged(t *testing.T) {
	text := listed(t, 3*perList)
	for name, statement := range map[string]string{
		"a block is missing":       `DELETE FROM order_identity WHERE n = 1`,
		"the last block is gone":   `DELETE FROM order_identity WHERE n = 2`,
		"blocks were exchanged":    `UPDATE order_identity SET sealed = (SELECT sealed FROM order_identity WHERE n = 2) WHERE n = 0`,
		"the text is gone":         `DELETE FROM order_text WHERE n >= 0`,
		"the key is gone":          `DELETE FROM order_text WHERE n = -1`,
		"a block is another piece": `UPDATE order_identity SET sealed = (SELECT sealed FROM order_text WHERE n = 0) WHERE n = 0`,
	} {
		t.Run(name, func(t *testing.T) {
			c := newContent(t, text)
			c.change(func(tx *store.Tx) error { _, err := tx.Exec(statement); return err })
			if _, err := c.open(); err == nil {
				t.Error("the order opens")
			}
		})
	}
	c := newContent(t, text)
	in, err := c.open()
	if err != nil {
		t.Fatal(err)
	}
	c.change(func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE order_identity SET sealed = (SELECT sealed FROM order_identity WHERE n = 0) WHERE n = 2`)
		return err
	})
	if err := in.Read(make([]sim.Identity, 1), 2*perList); !errors.Is(err, hsm.ErrSealed) {
		t.Errorf("a block of another place: got %v, want %v", err, hsm.ErrSealed)
	}
	n := 0
	for range in.Identities() {
		n++
	}
	if n != 2*perList || !errors.Is(in.Err(), hsm.ErrSealed) {
		t.Errorf("%d identities and %v, want %d and %v", n, in.Err(), 2*perList, hsm.ErrSealed)
	}
	for _, bad := range [][2]int{{-1, 1}, {3 * perList, 1}, {3*perList - 1, 2}} {
		if err := in.Read(make([]sim.Identity, bad[1]), bad[0]); err == nil {
			t.Errorf("%d identities from %d are there", bad[1], bad[0])
		}
	}
}

func TestWipeText(t *testing.T) {
	c := newContent(t, listed(t, 1500))
	c.change(func(tx *store.Tx) error { return WipeText(tx, c.order.ID) })
	for _, table := range []string{"order_text", "order_identity"} {
		var n int
		if err := c.store.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil || n > 0 {
			t.Errorf("%s has %d rows (%v), want none", table, n, err)
		}
	}
	if _, err := c.open(); err == nil {
		t.Error("it opens")
	}
}

// A great order is wiped a few rows in each change, and again after it was cut
// short.
func TestWipe(t *testing.T) {
	c := newContent(t, listed(t, 1500))
	c.change(func(tx *store.Tx) error {
		for n := 10; n < 1300; n++ {
			if _, err := tx.Exec(`INSERT INTO order_identity (ord, n, sealed) VALUES ($1, $2, $3)`, c.order.ID, n, []byte{1}); err != nil {
				return err
			}
		}
		for n := 1; n < 2*wipeText+1; n++ {
			if _, err := tx.Exec(`INSERT INTO order_text (ord, n, sealed) VALUES ($1, $2, $3)`, c.order.ID, n, []byte{1}); err != nil {
				return err
			}
		}
		return nil
	})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Wipe(ended, c.store, c.order.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	for range 2 {
		before := c.store.Size()
		if err := Wipe(t.Context(), c.store, c.order.ID); err != nil {
			t.Fatal(err)
		}
		for table, most := range map[string]int{"order_text": wipeText, "order_identity": wipeBlocks} {
			var last int
			if err := c.store.QueryRow(t.Context(), `SELECT max(n) FROM `+table).Scan(&last); err != nil || last != most-1 {
				t.Errorf("%s ends with row %d (%v), want %d", table, last, err, most-1)
			}
		}
		t.Logf("%d entries", c.store.Size()-before)
	}
	c.change(func(tx *store.Tx) error { return WipeText(tx, c.order.ID) })
	for _, table := range []string{"order_text", "order_identity"} {
		var n int
		if err := c.store.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil || n > 0 {
			t.Errorf("%s has %d rows (%v), want none", table, n, err)
		}
	}
}

// Blocks hold MSISDNs where there are some, and nothing opens that is no block.
func TestIdentityBlock(t *testing.T) {
	first := draft().First
	msisdn, err := sim.ParseMSISDN("919810000000")
	if err != nil {
		t.Fatal(err)
	}
	with := first
	with.MSISDN = msisdn
	for name, ids := range map[string][]sim.Identity{"none": {first, first}, "some": {first, with}, "all": {with, with}} {
		var block []byte
		w := listWriter{put: func(b []byte) error { block = bytes.Clone(b); return nil }}
		for _, id := range ids {
			if err := w.add(id); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
		got := make([]sim.Identity, 2)
		if n, err := readBlock(block, got, 0, 2); err != nil || n != 2 || got[0] != ids[0] || got[1] != ids[1] {
			t.Errorf("%s: got %v (%v), want %v", name, got, err, ids)
		}
		for what, bad := range map[string][]byte{"empty": {}, "cut": block[:len(block)-1], "long": append(bytes.Clone(block), 0),
			"other digits": append([]byte{7}, block[1:]...), "other entries": append([]byte{block[0], 8}, block[2:]...)} {
			if _, err := readBlock(bad, got, 0, 2); err == nil {
				t.Errorf("%s: a block that is %s opens", name, what)
			}
		}
	}
	twenty, err := sim.ParseICCID("89919990000010000041")
	if err != nil {
		twenty, err = sim.NewICCID(first.ICCID.Body()*10, 20)
	}
	if err != nil {
		t.Fatal(err)
	}
	w := listWriter{put: func([]byte) error { return nil }}
	if err := errors.Join(w.add(first), w.add(sim.Identity{ICCID: twenty, IMSI: first.IMSI}), w.flush()); err == nil {
		t.Error("a block with ICCIDs of two lengths is made")
	}
}

func FuzzIdentityBlock(f *testing.F) {
	f.Add([]byte{19, shortEntry}, uint16(0))
	f.Add(append([]byte{19, shortEntry}, make([]byte, shortEntry)...), uint16(1))
	f.Add(append([]byte{20, longEntry}, bytes.Repeat([]byte{0, 1, 2}, longEntry)...), uint16(3))
	f.Fuzz(func(t *testing.T, block []byte, count uint16) {
		ids := make([]sim.Identity, count)
		n, err := readBlock(block, ids, 0, int(count))
		if err != nil {
			return
		}
		if n != int(count) {
			t.Fatalf("%d identities, want %d", n, count)
		}
		for i, id := range ids {
			if id.ICCID.IsZero() || id.IMSI.IsZero() {
				t.Fatalf("identity %d is none", i)
			}
		}
	})
}
