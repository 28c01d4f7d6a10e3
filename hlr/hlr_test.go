package hlr

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ankan/aka"
	"ankan/audit"
	"ankan/hsm"
	"ankan/sim"
	"ankan/store"
	"ankan/store/storetest"
)

const firstCard = 404450123456000

// name is subscriber i.
func name(t testing.TB, i int) (sim.IMSI, sim.ICCID) {
	t.Helper()
	imsi, err := sim.NewIMSI(firstCard + uint64(i))
	if err != nil {
		t.Fatal(err)
	}
	iccid, err := sim.NewICCID(899990126000000000+uint64(i), 19)
	if err != nil {
		t.Fatal(err)
	}
	return imsi, iccid
}

// keysSize is that of MILENAGE.
const keysSize = 32

// keysOf is the K || OPc of n subscribers, the same for the same seed.
func keysOf(seed byte, n int) []byte {
	b := make([]byte, keysSize*n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// records makes n records from the first on, as a bureau and the operator's
// module make them: columns under a transport key, translated.
func (f *factory) records(t testing.TB, seed byte, first, n int) []Record {
	t.Helper()
	columns := keysOf(seed, n)
	if err := f.token.SealColumn(t.Context(), "transport", columns, columns); err != nil {
		t.Fatal(err)
	}
	aad := func(i int) []byte { imsi, _ := name(t, first+i); return AAD(imsi) }
	sealed, err := f.token.Translate(t.Context(), "transport", columns, keysSize, f.auc.DataKey(), aad)
	if err != nil {
		t.Fatal(err)
	}
	records := make([]Record, n)
	for i := range records {
		imsi, iccid := name(t, first+i)
		records[i] = Record{imsi, iccid, sealed[i]}
	}
	return records
}

func source() Source {
	return Source{Order: "order-1", Actor: "person:meera", Authentication: aka.Parameters{Algorithm: aka.MILENAGE}, AMF: aka.EPS()}
}

func (f *factory) load(t testing.TB, s Source, records []Record) (*Loader, error) {
	t.Helper()
	l, err := f.auc.Loader(s)
	if err != nil {
		t.Fatal(err)
	}
	return l, l.Load(t.Context(), records)
}

// loaded is a store with n subscribers.
func loaded(t testing.TB, n int) *factory {
	t.Helper()
	f := newFactory(t)
	if _, err := f.load(t, source(), f.records(t, 1, 0, n)); err != nil {
		t.Fatal(err)
	}
	return f
}

// card is subscriber i's card of the same seed.
type card struct {
	aka.Milenage
	aka.Window
}

func newCard(t testing.TB, seed byte, i int) *card {
	t.Helper()
	keys := keysOf(seed, i+1)[keysSize*i:]
	m, err := aka.New(keys[:16], keys[16:])
	if err != nil {
		t.Fatal(err)
	}
	return &card{Milenage: m}
}

// take is the card's answer: RES, or AUTS for a stale sequence number.
func (c *card) take(t testing.TB, v *aka.Vector) ([]byte, *aka.AUTS) {
	t.Helper()
	sqn, s, err := c.Answer(v.RAND, v.AUTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Accept(sqn); err != nil {
		auts := c.AUTS(v.RAND, c.Highest())
		return nil, &auts
	}
	return s.RES(), nil
}

func (f *factory) vectors(t testing.TB, i, n int) []aka.Vector {
	t.Helper()
	imsi, _ := name(t, i)
	v, err := f.auc.Vectors(t.Context(), imsi, n)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func refused(t *testing.T, err, is error, want string) {
	t.Helper()
	if err == nil || is != nil && !errors.Is(err, is) || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want %v with %q", err, is, want)
	}
}

func TestCardsAnswer(t *testing.T) {
	f := loaded(t, 250)
	for _, i := range []int{0, 99, 100, 249} {
		imsi, _ := name(t, i)
		c := newCard(t, 1, i)
		for _, v := range f.vectors(t, i, 5) {
			res, auts := c.take(t, &v)
			if auts != nil || v.Verify(res) != nil {
				t.Fatalf("card %d did not answer", i)
			}
			if err := f.auc.Verify(t.Context(), imsi, v.RAND, res); err != nil {
				t.Error(err)
			}
			res[0] ^= 1
			refused(t, f.auc.Verify(t.Context(), imsi, v.RAND, res), aka.ErrRES, "response of IMSI 40445••••••")
		}
	}
	if v := f.vectors(t, 0, 1)[0]; v.AUTN.AMF() != aka.EPS() {
		t.Errorf("AMF is %x", v.AUTN.AMF())
	}
}

// Subscribers of every algorithm live in one store, each with its own record.
func TestAlgorithms(t *testing.T) {
	f := newFactory(t)
	own := aka.StandardConstants()
	own.R[0] = 8
	for i, p := range []aka.Parameters{
		{Algorithm: aka.MILENAGE, Milenage: own},
		{Algorithm: aka.TUAK, Tuak: aka.TuakParameters{K: 128, MAC: 64, RES: 32, CK: 128, IK: 128, Iterations: 1}},
		{Algorithm: aka.TUAK, Tuak: aka.TuakParameters{K: 256, MAC: 64, RES: 256, CK: 256, IK: 256, Iterations: 2}},
		{Algorithm: aka.XOR},
	} {
		t.Run(p.String(), func(t *testing.T) {
			imsi, iccid := name(t, i)
			keys := make([]byte, KeysSize(p))
			rand.NewChaCha8([32]byte{byte(i)}).Read(keys)
			s := source()
			s.Authentication = p
			record := Record{imsi, iccid, f.auc.key.Seal(nil, keys, AAD(imsi))}
			for range 2 { // the second time it is there already
				if _, err := f.load(t, s, []Record{record}); err != nil {
					t.Fatal(err)
				}
			}
			set, err := p.Open(keys[:p.KeySize()], keys[p.KeySize():])
			if err != nil {
				t.Fatal(err)
			}
			v := f.vectors(t, i, 2)[1]
			sqn, session, err := set.Answer(v.RAND, v.AUTN)
			if err != nil || v.Verify(session.RES()) != nil {
				t.Fatalf("the card found SQN %#x, %v", uint64(sqn), err)
			}
			if err := f.auc.Verify(t.Context(), imsi, v.RAND, session.RES()); err != nil {
				t.Error(err)
			}
			ahead := aka.SQN(5_000 << 5)
			if err := f.auc.Resync(t.Context(), imsi, v.RAND, set.AUTS(v.RAND, ahead)); err != nil {
				t.Error(err)
			}
			v = f.vectors(t, i, 1)[0]
			if sqn, _, err := set.Answer(v.RAND, v.AUTN); err != nil || sqn.SEQ() != 5_001 {
				t.Errorf("after a resynchronisation the SEQ is %d, %v", sqn.SEQ(), err)
			}
			// As another algorithm, or with other lengths, it is another subscriber.
			s.Authentication = aka.Parameters{Algorithm: aka.TUAK, Tuak: aka.TuakParameters{K: 128, MAC: 64, RES: 64, CK: 128, IK: 128, Iterations: 1}}
			_, err = f.load(t, s, []Record{record})
			if KeysSize(p) == KeysSize(s.Authentication) {
				refused(t, err, ErrTaken, "with "+p.String())
			} else {
				refused(t, err, nil, "want 48 of TUAK k=128")
			}
		})
	}
}

func TestVectorRefusals(t *testing.T) {
	f := loaded(t, 1)
	imsi, _ := name(t, 0)
	stranger, _ := name(t, 1)
	ctx := t.Context()
	for _, n := range []int{-1, 0, 33} {
		_, err := f.auc.Vectors(ctx, imsi, n)
		refused(t, err, nil, "want 1 to 32")
	}
	_, err := f.auc.Vectors(ctx, stranger, 1)
	refused(t, err, ErrUnknown, "IMSI 40445••••••6001")
	_, err = f.auc.Vectors(ctx, sim.IMSI{}, 1)
	refused(t, err, ErrUnknown, "no such subscriber")
	refused(t, f.auc.Resync(ctx, stranger, aka.RAND{}, aka.AUTS{}), ErrUnknown, "no such subscriber")
	refused(t, f.auc.Verify(ctx, stranger, aka.RAND{}, make([]byte, 8)), ErrUnknown, "no such subscriber")

	f.set(t, `UPDATE subscriber SET sqn = $1`, int64(1<<48-1))
	_, err = f.auc.Vectors(ctx, imsi, 1)
	refused(t, err, nil, "all sequence numbers are used")
	f.set(t, `UPDATE subscriber SET sqn = $1`, int64(1<<48))
	_, err = f.auc.Vectors(ctx, imsi, 1)
	refused(t, err, nil, "want at most 48 bits")
	f.set(t, `UPDATE subscriber SET sqn = 0, algorithm = $1`, "COMP128v1")
	_, err = f.auc.Vectors(ctx, imsi, 1)
	refused(t, err, nil, "algorithm COMP128v1 is refused")
}

// A card that is ahead is heard; one that is out of reach is not.
func TestResync(t *testing.T) {
	f := loaded(t, 1)
	imsi, _ := name(t, 0)
	c := newCard(t, 1, 0)
	// As if a lost store had given a million vectors, the last in the slot that
	// this one begins with.
	if err := c.Accept(aka.SQN(1_000_001<<5 | 1)); err != nil {
		t.Fatal(err)
	}
	v := f.vectors(t, 0, 1)[0]
	_, auts := c.take(t, &v)
	if auts == nil {
		t.Fatal("the card took a stale vector")
	}
	forged := *auts
	forged[13] ^= 1
	refused(t, f.auc.Resync(t.Context(), imsi, v.RAND, forged), aka.ErrMAC, "AUTS of IMSI 40445••••••6000")
	if err := f.auc.Resync(t.Context(), imsi, v.RAND, *auts); err != nil {
		t.Fatal(err)
	}
	// The same again, and an old one, change nothing.
	if err := f.auc.Resync(t.Context(), imsi, v.RAND, *auts); err != nil {
		t.Fatal(err)
	}
	if err := f.auc.Resync(t.Context(), imsi, v.RAND, c.AUTS(v.RAND, 0)); err != nil {
		t.Fatal(err)
	}
	next := f.vectors(t, 0, 1)[0]
	if res, auts := c.take(t, &next); auts != nil || next.Verify(res) != nil {
		t.Error("after the resynchronisation the card still refuses")
	}
	if got := f.outcomes(t, "hlr.resync"); strings.Join(got, ", ") != "refused, advanced, ahead already, ahead already" {
		t.Errorf("logged: %q", got)
	}

	f.set(t, `UPDATE subscriber SET sqn = $1`, int64(1<<40))
	refused(t, f.auc.Resync(t.Context(), imsi, v.RAND, c.AUTS(v.RAND, 0)), nil, "no vector can reach it")
}

// Nobody gets a sequence number twice: not at one time, not after a restart.
func TestSQNNeverRepeats(t *testing.T) {
	f := loaded(t, 1)
	imsi, _ := name(t, 0)
	c := newCard(t, 1, 0)
	seen := map[aka.SQN]bool{}
	var mu sync.Mutex
	note := func(vectors []aka.Vector) {
		mu.Lock()
		defer mu.Unlock()
		for _, v := range vectors {
			sqn, _, err := c.Answer(v.RAND, v.AUTN)
			if err != nil || seen[sqn] {
				t.Errorf("SQN %#x again: %v", uint64(sqn), err)
			}
			seen[sqn] = true
		}
	}
	ask := func(auc *AuC) {
		var g sync.WaitGroup
		for range 4 {
			g.Go(func() {
				for n := range 5 {
					v, err := auc.Vectors(context.Background(), imsi, n+1)
					if err != nil {
						t.Error(err)
					}
					note(v)
				}
			})
		}
		g.Wait()
	}
	ask(f.auc)
	f.reopen(t)
	ask(f.auc)
	if len(seen) != 2*4*15 {
		t.Errorf("%d sequence numbers, want %d", len(seen), 2*4*15)
	}
}

// On a database with more than one writer, the second from one value loses.
func TestAdvanceFromStaleValue(t *testing.T) {
	f := loaded(t, 1)
	imsi, _ := name(t, 0)
	e := audit.Entry{Kind: "test.stale", Actor: "test"}
	err := f.store.Change(t.Context(), e, func(tx *store.Tx) error { return advance(tx, imsi, 32, 64) })
	refused(t, err, nil, "its SQN was changed meanwhile")
}

// What cannot be reserved is not given.
func TestNoVectorWithoutReservation(t *testing.T) {
	f := loaded(t, 1)
	imsi, _ := name(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := f.auc.Vectors(ctx, imsi, 1); err == nil || v != nil {
		t.Errorf("a cancelled request got %d vectors", len(v))
	}
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}
	if v, err := f.auc.Vectors(t.Context(), imsi, 1); err == nil || v != nil {
		t.Errorf("a closed store gave %d vectors", len(v))
	}
	_, err := f.load(t, source(), f.records(t, 1, 5, 1))
	refused(t, err, store.ErrClosed, "load of order order-1, record 1")
}

func TestLoadAgain(t *testing.T) {
	f := newFactory(t)
	records := f.records(t, 1, 0, 250)
	// A crash after the first part: the whole file comes again, sealed anew.
	if _, err := f.load(t, source(), records[:120]); err != nil {
		t.Fatal(err)
	}
	f.vectors(t, 7, 3)
	l, err := f.load(t, source(), f.records(t, 1, 0, 250))
	if err != nil {
		t.Fatal(err)
	}
	if added, already := l.Counts(); added != 130 || already != 120 {
		t.Errorf("%d added, %d already there, want 130 and 120", added, already)
	}
	for order, want := range map[string]int{"": 250, "order-1": 250, "order-2": 0} {
		if n, err := f.auc.Count(t.Context(), order); err != nil || n != want {
			t.Errorf("%d subscribers of order %q, want %d: %v", n, order, want, err)
		}
	}
	c := newCard(t, 1, 7)
	v := f.vectors(t, 7, 1)[0]
	if sqn, _, err := c.Answer(v.RAND, v.AUTN); err != nil || sqn.SEQ() != 4 {
		t.Errorf("after loading again SEQ is %d, want 4: %v", sqn.SEQ(), err)
	}
	if l, err = f.load(t, source(), nil); err != nil {
		t.Errorf("no records: %v", err)
	}
	if added, already := l.Counts(); added+already != 0 {
		t.Errorf("no records gave %d and %d", added, already)
	}
}

func TestLoadRefusals(t *testing.T) {
	f := newFactory(t)
	good := f.records(t, 1, 0, 3)
	if _, err := f.load(t, source(), good); err != nil {
		t.Fatal(err)
	}
	fresh := func() []Record { return f.records(t, 1, 1000, 250) }
	for tried, c := range []struct {
		what   string
		change func(*Source, []Record) []Record
		is     error
		want   string
	}{
		{"another order", func(s *Source, r []Record) []Record { s.Order = "order-2"; return append(r, good[0]) }, ErrTaken, "order-2, record 251: IMSI 40445••••••6000: another subscriber is there already, from the order order-1"},
		{"other keys", func(_ *Source, r []Record) []Record { return append(r, f.records(t, 2, 1, 1)...) }, ErrTaken, "record 251: IMSI 40445••••••6001: another subscriber is there already, with other keys"},
		{"another ICCID", func(_ *Source, r []Record) []Record { g := good[2]; g.ICCID = r[0].ICCID; return append(r[1:], g) }, ErrTaken, "record 250: IMSI 40445••••••6002: another subscriber is there already, with another ICCID"},
		{"another IMSI", func(_ *Source, r []Record) []Record { r[5].ICCID = good[0].ICCID; return r }, ErrTaken, "record 6: ICCID 89 99901 26••••••0005: another subscriber is there already, with another IMSI"},
		{"another AMF", func(s *Source, r []Record) []Record { s.AMF = aka.AMF{}; return append(r, good[0]) }, ErrTaken, "with MILENAGE and the AMF 8000"},
		{"twice in the file", func(_ *Source, r []Record) []Record { d := r[0]; d.ICCID = r[1].ICCID; return append(r[:1], d) }, ErrTaken, "with another ICCID"},
		{"swapped rows", func(_ *Source, r []Record) []Record { r[0].Sealed, r[1].Sealed = r[1].Sealed, r[0].Sealed; return r }, hsm.ErrSealed, "record 1: keys of IMSI 40445••••••7000"},
		{"a bit turned", func(_ *Source, r []Record) []Record { r[249].Sealed[20] ^= 1; return r }, hsm.ErrSealed, "record 250: keys of IMSI 40445••••••7249"},
		{"K alone", func(_ *Source, r []Record) []Record {
			r[3].Sealed = f.auc.key.Seal(nil, make([]byte, 16), AAD(r[3].IMSI))
			return r
		}, nil, "record 4: keys of IMSI 40445••••••7003 have 16 bytes, want 32 of MILENAGE"},
		{"no IMSI", func(_ *Source, r []Record) []Record { r[1].IMSI = sim.IMSI{}; return r }, nil, "record 2: record without an IMSI or an ICCID"},
		{"no ICCID", func(_ *Source, r []Record) []Record { r[1].ICCID = sim.ICCID{}; return r }, nil, "record 2: record without an IMSI or an ICCID"},
	} {
		s := source()
		records := c.change(&s, fresh())
		l, err := f.load(t, s, records)
		t.Run(c.what, func(t *testing.T) { refused(t, err, c.is, c.want) })
		if added, already := l.Counts(); added+already != 0 {
			t.Errorf("%s: %d and %d counted", c.what, added, already)
		}
		if logged := f.entries(t, "hlr.load-refused"); len(logged) != tried+1 || logged[tried].Data["reason"] != err.Error() {
			t.Errorf("%s: the log has %d refusals, want %d, and this one", c.what, len(logged), tried+1)
		}
		if n, err := f.auc.Count(t.Context(), ""); err != nil || n != 3 {
			t.Fatalf("%s: %d subscribers, want the 3 from before: %v", c.what, n, err)
		}
	}
	for want, s := range map[string]Source{
		"without an order":     {Order: "", Actor: "person:meera", Authentication: aka.Parameters{Algorithm: aka.MILENAGE}, AMF: aka.EPS()},
		"or an actor":          {Order: "order-1", Actor: "", Authentication: aka.Parameters{Algorithm: aka.MILENAGE}, AMF: aka.EPS()},
		`algorithm is ""`:      {Order: "order-1", Actor: "person:meera", Authentication: aka.Parameters{Algorithm: ""}, AMF: aka.EPS()},
		"COMP128v1 is refused": {Order: "order-1", Actor: "person:meera", Authentication: aka.Parameters{Algorithm: "COMP128v1"}, AMF: aka.EPS()},
	} {
		_, err := f.auc.Loader(s)
		refused(t, err, nil, want)
	}
}

// The chunks before a refused one stay, and the load goes on from there.
func TestLoadInChunks(t *testing.T) {
	f := newFactory(t)
	records := f.records(t, 1, 0, chunkRows+150)
	records[chunkRows+149].Sealed = records[0].Sealed
	l, err := f.load(t, source(), records)
	refused(t, err, hsm.ErrSealed, "record 10150: keys of IMSI")
	if added, _ := l.Counts(); added != chunkRows {
		t.Errorf("%d added, want %d", added, chunkRows)
	}
	l, err = f.load(t, source(), f.records(t, 1, 0, chunkRows+150))
	if err != nil {
		t.Fatal(err)
	}
	if added, already := l.Counts(); added != 150 || already != chunkRows {
		t.Errorf("%d added, %d there, want 150 and %d", added, already, chunkRows)
	}
}

// Whoever can write the database still cannot give one subscriber's keys to another.
func TestRowsCannotBeSwapped(t *testing.T) {
	f := loaded(t, 2)
	a, _ := name(t, 0)
	b, _ := name(t, 1)
	f.set(t, `UPDATE subscriber SET sealed = (SELECT s.sealed FROM subscriber s WHERE s.imsi = $1) WHERE imsi = $2`, a.String(), b.String())
	_, err := f.auc.Vectors(t.Context(), b, 1)
	refused(t, err, hsm.ErrSealed, "keys of IMSI 40445••••••6001")
}

func TestOpenRefusals(t *testing.T) {
	f := loaded(t, 1)
	ctx := t.Context()
	if _, err := f.token.Generate(ctx, "other", hsm.Subscriber, hsm.AES256); err != nil {
		t.Fatal(err)
	}
	_, err := Open(ctx, f.store, f.token, "other")
	refused(t, err, nil, "its data key is under the key subscriber, not other")
	f.auc.Close()
	imsi, _ := name(t, 0)
	_, err = f.auc.Vectors(ctx, imsi, 1)
	refused(t, err, hsm.ErrClosed, "keys of IMSI")
	if err := f.token.Destroy(ctx, "subscriber"); err != nil {
		t.Fatal(err)
	}
	_, err = Open(ctx, f.store, f.token, "subscriber")
	refused(t, err, hsm.ErrNoKey, "under the key subscriber")
}

func TestOpenWithoutKey(t *testing.T) {
	f := newFactoryWithout(t)
	_, err := Open(t.Context(), f.store, f.token, "transport")
	refused(t, err, hsm.ErrPurpose, "opening the subscriber store")
	_, err = Open(t.Context(), f.store, f.token, "nothing")
	refused(t, err, hsm.ErrNoKey, "opening the subscriber store")
}

// No file of the store holds a key, in bytes or in hex.
func TestNoKeyOnDisk(t *testing.T) {
	f := loaded(t, 200)
	f.vectors(t, 0, 32)
	keys := keysOf(1, 200)
	look := func(path string, b []byte) {
		lower := bytes.ToLower(b)
		for at := 0; at < len(keys); at += 16 {
			k := keys[at : at+16]
			if bytes.Contains(b, k) || bytes.Contains(lower, []byte(hex.EncodeToString(k))) {
				t.Fatalf("%s holds the key at %d", path, at)
			}
		}
	}
	look(f.path, storetest.Disk(t, f.path))
	err := filepath.WalkDir(f.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil {
			look(path, b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// set writes a row from outside the package's own rules.
func (f *factory) set(t *testing.T, query string, args ...any) {
	t.Helper()
	e := audit.Entry{Kind: "test.set", Actor: "test", Subject: "test"}
	err := f.store.Change(t.Context(), e, func(tx *store.Tx) error {
		_, err := tx.Exec(query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
