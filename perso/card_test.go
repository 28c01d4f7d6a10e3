package perso

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ankan/datagen"
	"ankan/profile"
	"ankan/scp"
	"ankan/station"
	"ankan/store"
	"ankan/uicc"
)

// withPIN is a profile whose cards ask for PIN1.
func (f *plant) withPIN() {
	f.Helper()
	doc := bytes.Replace(f.doc, []byte("enabled: false"), []byte("enabled: true"), 1)
	p, err := profile.Parse("pin.yaml", doc)
	f.must(err)
	for _, c := range p.Codes {
		if !c.Enabled {
			f.Fatalf("%s is off", c.Name)
		}
	}
	f.doc, f.profile = doc, p
}

func TestIdentify(t *testing.T) {
	f := newPlant(t)
	f.withPIN()
	f.batch("A1", 1, 0)
	serial := f.load(2)[0].String()
	f.must(f.run(t.Context(), "A1", 1))
	f.check("A1", 1)
	r, err := datagen.NewReader(t.Context(), f.store, f.token, "A1")
	f.must(err)
	defer r.Close()
	rec, err := r.Record(t.Context(), nil, 0)
	f.must(err)
	pin := bytes.TrimRight(r.Batch.Profile.Layout().Of(rec, profile.SlotPIN1), "\xFF")
	wrong := append([]byte{'0' + (pin[0]-'0'+1)%10}, pin[1:]...)

	card := bench{f.tray.clone(serial)}
	for name, c := range map[string]struct {
		card bench
		pin  []byte
		say  string
	}{
		"no PIN":     {card, nil, "if the card asks for PIN1, give it"},
		"letters":    {card, []byte("123a"), "PIN"},
		"blank chip": {bench{f.tray.order[1].chip.Clone()}, pin, "EF.ICCID"},
	} {
		if _, err := Identify(t.Context(), c.card, c.pin); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v, want %q", name, err, c.say)
		}
	}
	// A wrong PIN costs a try, and the last one is never used.
	for i := range 4 {
		_, err := Identify(t.Context(), card, wrong)
		if err == nil || strings.Contains(err.Error(), string(wrong)) {
			t.Errorf("wrong PIN: %v", err)
		}
		if left := strings.Contains(fmt.Sprint(err), "has 1 tries left"); left != (i >= 2) {
			t.Errorf("wrong PIN for the %d. time: %v", i+1, err)
		}
	}
	if _, err := Identify(t.Context(), bench{f.tray.clone(serial)}, pin); err != nil {
		t.Errorf("right PIN: %v", err)
	}
}

func TestRejected(t *testing.T) {
	cause := errors.New("cause")
	for _, c := range []struct {
		err  error
		want Reason // "": not the chip's doing
	}{
		{&Reject{ReadBack, cause}, ReadBack},
		{fmt.Errorf("scp: %w", &Reject{NoAnswer, cause}), NoAnswer},
		{&profile.StepError{Step: 1, Name: "UPDATE", Err: &Reject{TooLate, cause}}, TooLate},
		{fmt.Errorf("scp: card: %w", scp.ErrCryptogram), OtherKeys},
		{scp.ErrRMAC, ChannelLost},
		{scp.ErrHandshake, ChannelLost},
		{&profile.Mismatch{File: "MF/EF.ICCID"}, ReadBack},
		{&uicc.StatusError{SW: uicc.SWProblem}, BadStatus},
		{&profile.StepError{Step: 1, SW: uicc.SWProblem}, BadStatus},
		{cause, BadAnswer},
		{&profile.StepError{Step: 1, Err: cause}, BadAnswer},
		{nil, ""},
		{fmt.Errorf("%w: cause", errLine), ""},
		{fmt.Errorf("%w: cause", errReader), ""},
		{profile.ErrRecord, ""},
		{context.Canceled, ""},
		{context.DeadlineExceeded, ""},
	} {
		got := rejected(c.err)
		var reject *Reject
		switch is := errors.As(got, &reject); {
		case is != (c.want != "") || is && reject.Reason != c.want:
			t.Errorf("%v is %v, want %q", c.err, got, c.want)
		case !is && got != c.err:
			t.Errorf("%v became %v", c.err, got)
		case is && c.err != error(reject) && !errors.Is(reject, c.err):
			t.Errorf("%v hides %v", reject, c.err)
		}
	}
}

// A record that is no card of the profile stops the line before it writes.
func TestWrongRecord(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 2, 0)
	f.load(2)
	r, err := f.line().open(t.Context(), "A1")
	f.must(err)
	defer r.reader.Close()
	s := newSeat(t.Context(), f.tray.station("st"))
	defer s.close()
	f.must(s.take())
	c, err := look(s)
	f.must(err)
	rec, err := r.record(t.Context(), task{0, 0})
	f.must(err)
	rec[r.maker.layout.Offset[profile.SlotACC]] ^= 1
	f.want("wrong ACC", r.maker.make(t.Context(), s, c, rec), profile.ErrRecord)
	f.want("short", r.maker.make(t.Context(), s, c, rec[1:]), profile.ErrRecord)
	if _, err := r.record(t.Context(), task{0, 2}); err == nil {
		t.Error("a key set that is not there")
	}
}

// A card that was secured with other keys, or does not answer as its keys say.
func TestOtherCard(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 2, 0)
	f.load(2)
	f.must(f.run(t.Context(), "A1", 1))
	f.must(f.change("test.move", moveBack("A1")))
	r, err := f.line().open(t.Context(), "A1")
	f.must(err)
	defer r.reader.Close()
	first := f.tray.order[0].chip.Serial()
	s := newSeat(t.Context(), f.tray.station("st"))
	defer s.close()
	f.must(s.insert(first))
	reason := func(change func(rec []byte)) (string, error) {
		c, err := look(s)
		f.must(err)
		rec, err := r.record(t.Context(), task{0, 0})
		f.must(err)
		change(rec)
		err = r.maker.make(t.Context(), s, c, rec)
		var reject *Reject
		errors.As(err, &reject)
		if reject == nil {
			return "", err
		}
		return string(reject.Reason), err
	}
	l := r.maker.layout
	flip := func(id profile.SlotID) func([]byte) { return func(rec []byte) { rec[l.Offset[id]+1] ^= 1 } }
	for _, c := range []struct {
		slot profile.SlotID
		want Reason
	}{
		{profile.SlotSCP03ENC, BadAnswer}, {profile.SlotSCP03MAC, OtherKeys}, {profile.SlotK, AuthFailed}, {profile.SlotOPC, AuthFailed},
	} {
		if got, err := reason(flip(c.slot)); got != string(c.want) {
			t.Errorf("%v differs: %v, want %q", c.slot, err, c.want)
		}
	}
	other, err := r.record(t.Context(), task{1, 1})
	f.must(err)
	if got, err := reason(func(rec []byte) { datagen.CopyIdentity(l, rec, other) }); got != string(ReadBack) {
		t.Errorf("another identity: %v, want %q", err, ReadBack)
	}
	// As it is, it is good, also a second and a third time: the line's own
	// challenge was answered before.
	for range 2 {
		if got, err := reason(func([]byte) {}); got != "" || err != nil {
			t.Errorf("a good card: %v", err)
		}
	}
}

// Cards of each algorithm are made and answer; others' keys are told.
func TestAlgorithms(t *testing.T) {
	for _, algorithm := range []string{
		"algorithm: TUAK\ntuak: {k-bits: 128, mac-bits: 64, res-bits: 32, ck-bits: 128, ik-bits: 128, iterations: 1}",
		"algorithm: TUAK\ntuak: {k-bits: 256, mac-bits: 64, res-bits: 256, ck-bits: 256, ik-bits: 256, iterations: 2}",
		"test: true\nalgorithm: XOR",
	} {
		f := newPlant(t)
		f.doc = bytes.Replace(f.doc, []byte(`algorithm: "MILENAGE"`), []byte(algorithm), 1)
		var err error
		f.profile, err = profile.Parse("profile.yaml", f.doc)
		f.must(err)
		f.batch("A1", 2, 0)
		f.load(2)
		f.must(f.run(t.Context(), "A1", 1))
		f.check("A1", 2)
		f.must(f.change("test.move", moveBack("A1")))
		r, err := f.line().open(t.Context(), "A1")
		f.must(err)
		defer r.reader.Close()
		s := newSeat(t.Context(), f.tray.station("st"))
		defer s.close()
		f.must(s.insert(f.tray.order[0].chip.Serial()))
		for _, slot := range []profile.SlotID{profile.SlotK, profile.SlotOPC} {
			c, err := look(s)
			f.must(err)
			rec, err := r.record(t.Context(), task{0, 0})
			f.must(err)
			want := Reason(AuthFailed)
			if field := r.maker.layout.Of(rec, slot); field != nil {
				field[1] ^= 1
			} else {
				want = "" // XOR has no OPc
			}
			var reject *Reject
			if err := r.maker.make(t.Context(), s, c, rec); errors.As(err, &reject) != (want != "") || reject != nil && reject.Reason != want || want == "" && err != nil {
				t.Errorf("%s: %s differs: %v, want %q", f.profile.Parameters(), slot, err, want)
			}
		}
	}
}

// dropCard forgets that a card was made.
func dropCard(ord string, card int) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		_, err := tx.Exec(`DELETE FROM card WHERE ord = $1 AND card = $2`, ord, card)
		return err
	}
}

func moveBack(ord string) func(*store.Tx) error {
	return func(tx *store.Tx) error { return MoveRun(tx, ord, "finished", "received") }
}

// The time limit of an answer, and of a feeder, with a clock of the test's own.
func TestSeatTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var closed int
		s := newSeat(ctx, Station{Name: "st", Open: func(context.Context) (station.Reader, error) { return stuck{&closed}, nil }})
		play := func() error { s.burst.Reset(); return s.play() }
		if err := play(); !errors.Is(err, errReader) {
			t.Errorf("no reader: %v", err)
		}
		if err := s.eject(); err != nil {
			t.Errorf("eject without a reader: %v", err)
		}
		took := func(want time.Duration, f func() error) error {
			t.Helper()
			start := time.Now()
			if err := s.open(); err != nil {
				t.Fatal(err)
			}
			err := f()
			if d := time.Since(start); d != want || s.reader != nil {
				t.Errorf("%v after %v, want %v and the reader closed", err, d, want)
			}
			return err
		}
		var reject *Reject
		transmit := func() error {
			if err := s.burst.Command(uicc.WantOK, getData(tagLot)); err != nil {
				t.Fatal(err)
			}
			return s.play()
		}
		for _, f := range []func() error{transmit, play} {
			if err := took(10*time.Second, f); !errors.As(err, &reject) || reject.Reason != TooLate {
				t.Errorf("a late answer: %v", err)
			}
		}
		for _, f := range []func() error{s.take, s.eject, func() error { return s.insert([8]byte{}) }} {
			if err := took(time.Minute, f); !errors.Is(err, errReader) || errors.As(err, &reject) {
				t.Errorf("a late feeder: %v", err)
			}
		}
		s.Answer = time.Second
		if err := took(time.Second, transmit); !errors.As(err, &reject) {
			t.Errorf("another limit: %v", err)
		}
		time.AfterFunc(time.Second/2, cancel)
		if err := took(time.Second/2, transmit); !errors.Is(err, context.Canceled) || errors.As(err, &reject) {
			t.Errorf("the run ends: %v", err)
		}
		if closed != 7 {
			t.Errorf("%d readers were closed, want 7", closed)
		}
	})
}

// stuck is a reader that never answers.
type stuck struct{ closed *int }

func (stuck) wait(ctx context.Context) error                { <-ctx.Done(); return io.ErrClosedPipe }
func (s stuck) Take(ctx context.Context) error              { return s.wait(ctx) }
func (s stuck) Insert(ctx context.Context, _ [8]byte) error { return s.wait(ctx) }
func (s stuck) Eject(ctx context.Context) error             { return s.wait(ctx) }
func (s stuck) Reset(ctx context.Context) (uicc.ATR, error) { return nil, s.wait(ctx) }
func (s stuck) Transmit(ctx context.Context, _ []byte) ([]byte, error) {
	return nil, s.wait(ctx)
}
func (s stuck) Close() error { *s.closed++; return nil }

// FuzzLook has a chip that says anything: no answer stops the line or makes it
// panic, it is the chip's fault.
func FuzzLook(f *testing.F) {
	p := newPlant(f)
	serial := p.load(1)[0]
	f.Add([]byte{0x90, 0x00}, 3)
	f.Add([]byte{0x9F, 0x7F, 0x2A, 0x90, 0x00}, 3)
	f.Add([]byte{0xDF, 0x22, 0x00, 0x90, 0x00}, 4)
	f.Add([]byte{0xDF, 0x20, 0x02, 0x0F, 0x0F, 0x90, 0x00}, 5)
	f.Add([]byte{0x61, 0x00}, 2)
	f.Add([]byte{0x6C, 0x10}, 4)
	f.Fuzz(func(t *testing.T, answer []byte, at int) {
		if answer == nil {
			answer = []byte{}
		}
		p.tray.find(serial.String()).seen = 0
		p.tray.find(serial.String()).fault = between(at, 1<<30, func(context.Context, int) ([]byte, error) { return answer, nil })
		s := newSeat(context.Background(), p.tray.station("st"))
		defer s.close()
		if err := s.insert(serial); err != nil {
			t.Fatal(err)
		}
		_, err := look(s)
		var reject *Reject
		if err != nil && !errors.As(err, &reject) {
			t.Errorf("%X at %d: %v", answer, at, err)
		}
	})
}
