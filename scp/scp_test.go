package scp

import (
	"bytes"
	"context"
	"crypto/des"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"ankan/uicc"
)

// A testCard answers every command with an echo of its data, inside SCP03.
type testCard struct {
	Responder
	keys   KeySet
	n      int                       // 8 or 16
	plain  []uicc.Command            // what arrived, plain
	answer func(uicc.Command) []byte // nil: echo
	change func(resp []byte) []byte  // the enemy on the line
	buf    []byte
}

func (c *testCard) Transmit(_ context.Context, b []byte) ([]byte, error) {
	resp := c.respond(b)
	if c.change != nil {
		resp = c.change(resp)
	}
	return resp, nil
}

func (c *testCard) respond(b []byte) []byte {
	cmd, err := uicc.ParseCommand(b)
	switch {
	case err != nil:
		return []byte{0x67, 0}
	case cmd.INS == uicc.INSSelect && c.Level() == 0:
		return []byte{0x90, 0}
	case cmd.INS == 0x50:
		g := Greeting{KeyVersion: 0x30, Challenge: bytes.Repeat([]byte{0xC5}, c.n)}
		resp, err := c.Initialize(nil, c.keys, g, cmd.Data)
		if err != nil {
			return []byte{0x6A, 0x80}
		}
		return append(resp, 0x90, 0)
	case cmd.INS == 0x82:
		switch err := c.Authenticate(b); {
		case errors.Is(err, ErrCryptogram):
			return []byte{0x63, 0}
		case err != nil:
			return []byte{0x69, 0x82}
		}
		return []byte{0x90, 0}
	}
	cmd, err = c.Unwrap(b)
	if err != nil {
		return []byte{0x69, 0x82}
	}
	if c.answer != nil {
		kept := cmd
		kept.Data = bytes.Clone(cmd.Data)
		c.plain = append(c.plain, kept)
		return c.Wrap(nil, c.answer(cmd))
	}
	c.buf = append(c.buf[:0], cmd.Data...)
	c.buf = append(c.buf, 0x90, 0)
	return c.Wrap(c.buf[:0], c.buf)
}

func testKeys(t testing.TB, fill byte, n int) KeySet {
	t.Helper()
	k := func(i byte) []byte { return bytes.Repeat([]byte{fill + i}, n) }
	ks, err := NewKeySet(k(0), k(1), k(2))
	if err != nil {
		t.Fatal(err)
	}
	return ks
}

func openTest(t testing.TB, card *testCard, o Options) *Channel {
	t.Helper()
	ch, err := Open(context.Background(), card, card.keys, o)
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func newCard(t testing.TB, n int) *testCard {
	return &testCard{keys: testKeys(t, 0x40, n), n: 8}
}

func TestBothSides(t *testing.T) {
	ctx := context.Background()
	for _, s16 := range []bool{false, true} {
		for _, n := range []int{16, 24, 32} {
			for _, level := range []Level{CMAC, Commands, CMAC | RMAC, Commands | RMAC, Full} {
				card := newCard(t, n)
				card.n = macLen(s16)
				ch := openTest(t, card, Options{Level: level, S16: s16, KeyVersion: 0x30})
				// Every length of data and of response that fits.
				for size := 0; size <= MaxData(Full, s16); size++ {
					data := bytes.Repeat([]byte{byte(size)}, size)
					cmd := uicc.Command{CLA: 0x80, INS: 0xD6, P1: 1, P2: 2, Data: data, Le: 256}
					resp, err := ch.Transmit(ctx, cmd.Append(nil))
					if err != nil {
						t.Fatalf("AES-%d, level %02X, S16 %t, %d bytes: %v", 8*n, byte(level), s16, size, err)
					}
					if want := append(data, 0x90, 0); !bytes.Equal(resp, want) {
						t.Fatalf("AES-%d, level %02X, S16 %t: %x, want %x", 8*n, byte(level), s16, resp, want)
					}
				}
			}
		}
	}
}

func TestPlainCommandArrives(t *testing.T) {
	card := newCard(t, 32)
	card.answer = func(uicc.Command) []byte { return []byte{0x90, 0} }
	ch := openTest(t, card, Options{Level: Full, Channel: 2, AID: []byte{0xA0, 0, 0, 1, 0x51}})
	sent := []uicc.Command{
		{CLA: 0x82, INS: 0xE2, P1: 1, P2: 2, Data: []byte{3, 4}},
		{CLA: 0x02, INS: 0xB0, P1: 1, P2: 2, Le: 7},
		{CLA: 0x02, INS: 0xA4, Data: []byte{0x3F, 0}, Le: 256},
	}
	for i, c := range sent {
		if _, err := ch.Transmit(context.Background(), c.Append(nil)); err != nil {
			t.Fatal(err)
		}
		got := card.plain[i]
		if !bytes.Equal(got.Append(nil), c.Append(nil)) {
			t.Errorf("card saw %x, want %x", got.Append(nil), c.Append(nil))
		}
	}
}

func TestMaxData(t *testing.T) {
	for _, c := range []struct {
		level Level
		s16   bool
		want  int
	}{{CMAC, false, 247}, {Full, false, 239}, {CMAC, true, 239}, {Commands, true, 223}} {
		if got := MaxData(c.level, c.s16); got != c.want {
			t.Errorf("level %02X, S16 %t: %d, want %d", byte(c.level), c.s16, got, c.want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	other := func(c *testCard) Static { return testKeys(t, 0x70, 32) }
	flip := func(i int) func([]byte) []byte {
		return func(b []byte) []byte {
			if len(b) > i+2 {
				b[i] ^= 1
			}
			return b
		}
	}
	tests := map[string]struct {
		o      Options
		keys   func(*testCard) Static
		change func([]byte) []byte
		want   error
	}{
		"no level":                {o: Options{}, want: ErrLevel},
		"encryption, no MAC":      {o: Options{Level: CDEC}, want: ErrLevel},
		"logical channel 4":       {o: Options{Level: Full, Channel: 4}, want: ErrClass},
		"other keys":              {o: Options{Level: Full}, keys: other, want: ErrCryptogram},
		"zero key set":            {o: Options{Level: Full}, keys: func(*testCard) Static { return KeySet{} }, want: ErrClosed},
		"card challenge changed":  {o: Options{Level: Full}, change: flip(13), want: ErrCryptogram},
		"card cryptogram changed": {o: Options{Level: Full}, change: flip(28), want: ErrCryptogram},
		"SCP02":                   {o: Options{Level: Full}, change: flip(11), want: ErrOld},
		"SCP81": {o: Options{Level: Full}, change: func(b []byte) []byte {
			if len(b) > 12 {
				b[11] = 0x81
			}
			return b
		}, want: ErrHandshake},
		"S16 of an S8 card":   {o: Options{Level: Full, S16: true}, want: uicc.SWData},
		"i says S16":          {o: Options{Level: Full}, change: flip(12), want: ErrHandshake},
		"other key version":   {o: Options{Level: Full, KeyVersion: 0x31}, want: ErrHandshake},
		"short greeting":      {o: Options{Level: Full}, change: func(b []byte) []byte { return b[len(b)-8:] }, want: ErrHandshake},
		"no R-MAC":            {o: Options{Level: CMAC | RMAC}, change: options(0), want: ErrLevel},
		"no R-ENC":            {o: Options{Level: Full}, change: options(optionRMAC), want: ErrLevel},
		"counter missing":     {o: Options{Level: Full}, change: options(0x70), want: ErrHandshake},
		"refused":             {o: Options{Level: Full}, change: func([]byte) []byte { return []byte{0x6A, 0x88} }, want: uicc.SWNotFound},
		"no such application": {o: Options{Level: Full, AID: []byte{0xA0}}, change: func([]byte) []byte { return []byte{0x6A, 0x82} }, want: uicc.SWFileNotFound},
		"no random":           {o: Options{Level: Full, Random: strings.NewReader("short")}, want: errShort},
		"host refused": {o: Options{Level: Full}, change: func(b []byte) []byte {
			if len(b) == 2 {
				return []byte{0x63, 0}
			}
			return b
		}, want: uicc.SWFailed},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			card := newCard(t, 32)
			card.change = c.change
			var keys Static = card.keys
			if c.keys != nil {
				keys = c.keys(card)
			}
			ch, err := Open(context.Background(), card, keys, c.o)
			if c.want == errShort && err != nil && strings.Contains(err.Error(), "challenge") {
				return
			}
			if ch != nil || !errors.Is(err, c.want) {
				t.Errorf("channel %v, error %v, want %v", ch, err, c.want)
			}
		})
	}
}

var errShort = errors.New("short")

func options(i byte) func([]byte) []byte {
	return func(b []byte) []byte {
		if len(b) > 12 {
			b[12] = i
		}
		return b
	}
}

func TestResponseChanged(t *testing.T) {
	ctx := context.Background()
	cmd := uicc.Command{CLA: 0x80, INS: 0xCA, Data: []byte("data"), Le: 256}.Append(nil)
	for name, change := range map[string]func([]byte) []byte{
		"data":       func(b []byte) []byte { b[0] ^= 1; return b },
		"MAC":        func(b []byte) []byte { b[len(b)-3] ^= 1; return b },
		"status":     func(b []byte) []byte { b[len(b)-2] = 0x62; return b },
		"no MAC":     func(b []byte) []byte { return b[len(b)-2:] },
		"error data": func(b []byte) []byte { b[len(b)-2] = 0x6A; return b },
	} {
		card := newCard(t, 32)
		ch := openTest(t, card, Options{Level: Full})
		card.change = change
		if _, err := ch.Transmit(ctx, cmd); !errors.Is(err, ErrRMAC) {
			t.Errorf("%s: %v, want ErrRMAC", name, err)
		}
		card.change = nil
		if _, err := ch.Transmit(ctx, cmd); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: then %v, want ErrClosed", name, err)
		}
	}
}

// A card's error comes without a MAC and leaves the session as it is.
func TestErrorStatus(t *testing.T) {
	card := newCard(t, 16)
	answers := [][]byte{{0x6A, 0x82}, {1, 2, 0x6A, 0x82}, {0x6C, 5}, {1, 2, 3, 4, 5, 0x62, 0x82}, {0x91, 5}}
	want := [][]byte{{0x6A, 0x82}, {0x6A, 0x82}, {0x6C, 5}, {1, 2, 3, 4, 5, 0x62, 0x82}, {0x91, 5}}
	i := 0
	card.answer = func(uicc.Command) []byte { return answers[i] }
	ch := openTest(t, card, Options{Level: Full})
	for i = range answers {
		resp, err := ch.Transmit(context.Background(), []byte{0x00, 0xB0, 0, 0, 5})
		if err != nil || !bytes.Equal(resp, want[i]) {
			t.Errorf("%x, %v, want %x", resp, err, want[i])
		}
	}
}

func TestTransmitRefuses(t *testing.T) {
	ctx := context.Background()
	card := newCard(t, 16)
	ch := openTest(t, card, Options{Level: Full})
	for name, c := range map[string]struct {
		cmd  []byte
		want error
	}{
		"malformed":       {[]byte{0, 0xB0}, uicc.ErrAPDU},
		"other channel":   {[]byte{0x01, 0xB0, 0, 0, 1}, ErrClass},
		"further channel": {[]byte{0x40, 0xB0, 0, 0, 1}, ErrClass},
		"secure already":  {[]byte{0x84, 0xB0, 0, 0, 1}, ErrClass},
		"data too long":   {uicc.Command{INS: 0xD6, Data: make([]byte, 240)}.Append(nil), ErrTooLong},
	} {
		if _, err := ch.Transmit(ctx, c.cmd); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// Nothing was sent, so the session goes on.
	if _, err := ch.Transmit(ctx, []byte{0, 0xB0, 0, 0, 1}); err != nil {
		t.Error(err)
	}
	ch.Close()
	if _, err := ch.Transmit(ctx, []byte{0, 0xB0, 0, 0, 1}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
	if _, err := new(Channel).Transmit(ctx, []byte{0, 0xB0, 0, 0, 1}); !errors.Is(err, ErrClosed) {
		t.Errorf("zero Channel: %v, want ErrClosed", err)
	}
}

// brokenCard fails after its session is open.
type brokenCard struct {
	*testCard
	answer []byte
	err    error
}

func (c *brokenCard) Transmit(ctx context.Context, b []byte) ([]byte, error) {
	if c.answer != nil || c.err != nil {
		return c.answer, c.err
	}
	return c.testCard.Transmit(ctx, b)
}

func TestCardFails(t *testing.T) {
	ctx := context.Background()
	gone := errors.New("card is gone")
	for name, c := range map[string]struct {
		answer []byte
		err    error
		want   string
	}{
		"no answer":   {err: gone, want: "card is gone"},
		"one byte":    {answer: []byte{0x90}, want: "1 bytes"},
		"always more": {answer: []byte{1, 0x61, 1}, want: "still has more"},
		"always 6Cxx": {answer: []byte{0x61, 0}, want: "still has more"},
		"very long":   {answer: make([]byte, 600), want: "more than"},
	} {
		card := &brokenCard{testCard: newCard(t, 16)}
		ch, err := Open(ctx, card, card.keys, Options{Level: CMAC})
		if err != nil {
			t.Fatal(err)
		}
		card.answer, card.err = c.answer, c.err
		if _, err := ch.Transmit(ctx, []byte{0, 0xB0, 0, 0, 1}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if _, err := ch.Transmit(ctx, []byte{0, 0xB0, 0, 0, 1}); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: then %v, want ErrClosed", name, err)
		}
	}
}

// t0Card keeps response data for GET RESPONSE, as T=0 cards do.
type t0Card struct {
	card    uicc.Card
	waiting []byte
	asked   bool
}

func (c *t0Card) Transmit(ctx context.Context, b []byte) ([]byte, error) {
	if b[1] == uicc.INSGetResponse {
		n := len(c.waiting) - 2
		if !c.asked {
			c.asked = true
			return []byte{0x6C, byte(n)}, nil // once, to see it handled
		}
		return c.waiting, nil
	}
	r, err := c.card.Transmit(ctx, b)
	if err != nil || len(r) <= 2 {
		return r, err
	}
	c.waiting = bytes.Clone(r)
	return []byte{0x61, byte(len(r) - 2)}, nil
}

func TestGetResponse(t *testing.T) {
	card := newCard(t, 32)
	ch, err := Open(context.Background(), &t0Card{card: card}, card.keys, Options{Level: Full})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		resp, err := ch.Transmit(context.Background(), uicc.Command{INS: 0x88, Data: []byte("echo"), Le: 256}.Append(nil))
		if err != nil || !bytes.Equal(resp, []byte("echo\x90\x00")) {
			t.Errorf("%x, %v", resp, err)
		}
	}
}

func TestResponderRefuses(t *testing.T) {
	keys := testKeys(t, 1, 16)
	host, g := make([]byte, 8), Greeting{Challenge: make([]byte, 8)}

	var r Responder
	if _, err := r.Unwrap([]byte{0x84, 0xB0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8}); !errors.Is(err, ErrClosed) {
		t.Errorf("Unwrap of the zero Responder: %v", err)
	}
	if err := r.Authenticate(make([]byte, 21)); !errors.Is(err, ErrClosed) {
		t.Errorf("Authenticate of the zero Responder: %v", err)
	}
	if _, err := r.Initialize(nil, keys, g, host[:7]); !errors.Is(err, ErrHandshake) {
		t.Errorf("short host challenge: %v", err)
	}
	if _, err := r.Initialize(nil, keys, Greeting{Challenge: host, Sequence: 1 << 24}, host); !errors.Is(err, ErrHandshake) {
		t.Errorf("counter of four bytes: %v", err)
	}
	if _, err := r.Initialize(nil, KeySet{}, g, host); !errors.Is(err, ErrClosed) {
		t.Errorf("no keys: %v", err)
	}

	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   error
	}{
		"cryptogram":    {func(b []byte) []byte { b[5] ^= 1; return b }, ErrCryptogram},
		"MAC":           {func(b []byte) []byte { b[20] ^= 1; return b }, ErrMAC},
		"level changed": {func(b []byte) []byte { b[2] = 0x01; return b }, ErrMAC},
		"level 00":      {func(b []byte) []byte { b[2] = 0; return b }, ErrLevel},
		"P2":            {func(b []byte) []byte { b[3] = 1; return b }, ErrHandshake},
		"short":         {func(b []byte) []byte { b[4]--; return b[:len(b)-1] }, ErrHandshake},
		"malformed":     {func(b []byte) []byte { return b[:3] }, uicc.ErrAPDU},
	} {
		var cmd []byte
		card := newCard(t, 16)
		var spy cardFunc = func(b []byte) []byte {
			if b[1] == 0x82 {
				cmd = bytes.Clone(b)
				return []byte{0x90, 0}
			}
			return card.respond(b)
		}
		if _, err := Open(context.Background(), spy, card.keys, Options{Level: Full}); err != nil {
			t.Fatal(err)
		}
		good := bytes.Clone(cmd)
		if err := card.Authenticate(c.change(cmd)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if err := card.Authenticate(good); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: the right one afterwards: %v, want ErrClosed", name, err)
		}
		if card.Level() != 0 {
			t.Errorf("%s: level is %02X", name, byte(card.Level()))
		}
	}
}

type cardFunc func([]byte) []byte

func (f cardFunc) Transmit(_ context.Context, b []byte) ([]byte, error) { return f(b), nil }

func TestCommandChanged(t *testing.T) {
	for name, change := range map[string]func(cmds [][]byte) [][]byte{
		"header":    func(c [][]byte) [][]byte { c[0][2] ^= 1; return c },
		"data":      func(c [][]byte) [][]byte { c[0][5] ^= 1; return c },
		"MAC":       func(c [][]byte) [][]byte { c[0][len(c[0])-1] ^= 1; return c },
		"dropped":   func(c [][]byte) [][]byte { return c[1:] },
		"replayed":  func(c [][]byte) [][]byte { return [][]byte{c[0], c[0]} },
		"reordered": func(c [][]byte) [][]byte { return [][]byte{c[1], c[0]} },
		"plain":     func(c [][]byte) [][]byte { c[0][0] = 0x80; return c },
		"short":     func(c [][]byte) [][]byte { return [][]byte{{0x84, 0xD6, 0, 0, 1, 1}} },
		"malformed": func(c [][]byte) [][]byte { return [][]byte{{0x84}} },
	} {
		card := newCard(t, 16)
		var tape [][]byte
		recording := false
		var spy cardFunc = func(b []byte) []byte {
			if recording {
				tape = append(tape, bytes.Clone(b))
				return []byte{0x90, 0}
			}
			return card.respond(b)
		}
		ch, err := Open(context.Background(), spy, card.keys, Options{Level: Commands})
		if err != nil {
			t.Fatal(err)
		}
		recording = true
		for range 2 {
			cmd := uicc.Command{CLA: 0x80, INS: 0xD6, Data: []byte("abc")}
			if _, err := ch.Transmit(context.Background(), cmd.Append(nil)); err != nil {
				t.Fatal(err)
			}
		}
		good := bytes.Clone(tape[0])
		for _, b := range change(tape) {
			_, err = card.Unwrap(b)
		}
		if err == nil {
			t.Errorf("%s: not refused", name)
		}
		if _, err := card.Unwrap(good); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: afterwards %v, want ErrClosed", name, err)
		}
	}
}

// Padding is part of what the MAC covers, but a host may still send nonsense.
func TestPaddingRefused(t *testing.T) {
	for _, data := range [][]byte{make([]byte, 16), bytes.Repeat([]byte{1}, 16), make([]byte, 15)} {
		card := newCard(t, 16)
		ch := openTest(t, card, Options{Level: Commands})
		l := &ch.state.get().link
		l.counter++
		l.setIV(0, l.counter)
		encryptCBC(l.keys.enc, &l.iv, data)
		cmd := uicc.Command{CLA: 0x84, INS: 0xD6}
		l.commandMAC(&cmd, data)
		cmd.Data = append(data, l.chain[:8]...)
		if _, err := card.Unwrap(cmd.Append(nil)); !errors.Is(err, ErrMAC) {
			t.Errorf("%d bytes: %v, want ErrMAC", len(data), err)
		}
	}
	for _, data := range [][]byte{make([]byte, 16), make([]byte, 15)} {
		card := newCard(t, 16)
		ch := openTest(t, card, Options{Level: Full})
		card.change = func([]byte) []byte {
			l := &card.state.get().link
			l.setIV(0x80, l.counter)
			encryptCBC(l.keys.enc, &l.iv, data)
			return append(append(data, l.responseMAC(&l.chain, data, 0x9000)...), 0x90, 0)
		}
		if _, err := ch.Transmit(context.Background(), []byte{0, 0xB0, 0, 0, 1}); err == nil {
			t.Errorf("response of %d bytes with wrong padding is not refused", len(data))
		}
	}
}

func TestKeySetRefuses(t *testing.T) {
	if _, err := NewKeySet(make([]byte, 15), make([]byte, 15), make([]byte, 15)); err == nil {
		t.Error("keys of 15 bytes are not refused")
	}
	if _, err := NewKeySet(make([]byte, 16), make([]byte, 16), make([]byte, 32)); err == nil {
		t.Error("keys of two lengths are not refused")
	}
	ks := testKeys(t, 1, 16)
	if _, err := ks.SessionKeys(make([]byte, 15)); err == nil {
		t.Error("challenges of 15 bytes are not refused")
	}
	if _, err := ks.SealKey(nil, make([]byte, 15)); err == nil {
		t.Error("a key of 15 bytes is not refused")
	}
	if _, err := ks.Challenge(1<<24, nil, 8); err == nil {
		t.Error("a sequence counter of four bytes is not refused")
	}
	secret := ks.secret.get().enc
	closed := ks
	ks.Close()
	ks.Close()
	if !bytes.Equal(secret, make([]byte, 16)) {
		t.Error("Close does not wipe")
	}
	for name, ks := range map[string]KeySet{"zero": {}, "closed copy": closed} {
		_, err1 := ks.SessionKeys(make([]byte, 16))
		_, err2 := ks.SealKey(nil, make([]byte, 16))
		_, err3 := ks.OpenKey(nil, make([]byte, 16))
		_, err4 := ks.Reveal(nil)
		_, err5 := ks.Challenge(1, nil, 8)
		for _, err := range []error{err1, err2, err3, err4, err5} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v, want ErrClosed", name, err)
			}
		}
	}
}

func TestSealKey(t *testing.T) {
	ks := testKeys(t, 1, 32)
	key := bytes.Repeat([]byte{7, 8}, 16)
	sealed, err := ks.SealKey([]byte("x"), key)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := ks.OpenKey([]byte("y"), sealed[1:])
	if err != nil || !bytes.Equal(opened[1:], key) || opened[0] != 'y' || sealed[0] != 'x' {
		t.Errorf("%x, %v, want %x", opened, err, key)
	}
}

func TestSecretsArePrivate(t *testing.T) {
	// 0xA7 = 167 shows as a7, 167 or \xa7 if anything leaks.
	ks := testKeys(t, 0xA7, 16)
	sk, err := ks.SessionKeys(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	card := &testCard{keys: ks, n: 8}
	ch := openTest(t, card, Options{Level: Full})
	// The last command and response are as secret as the keys.
	cmd := uicc.Command{INS: 0xDA, Data: bytes.Repeat([]byte{0xA7}, 32)}.Append(nil)
	if _, err := ch.Transmit(context.Background(), cmd); err != nil {
		t.Fatal(err)
	}
	type holder struct {
		public  any
		private KeySet
		session *SessionKeys
		host    *Channel
		card    Responder
	}
	var out strings.Builder
	for _, v := range []any{ks, &ks, sk, *sk, holder{ks, ks, sk, ch, card.Responder}, ch, card.Responder, &card.Responder, []KeySet{ks}, map[string]any{"k": ks}} {
		fmt.Fprintf(&out, "%v %+v %#v %s %x %q %d\n", v, v, v, v, v, v, v)
		j, err := json.Marshal(v)
		fmt.Fprintf(&out, "%s %v\n", j, err)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	}
	for _, leak := range []string{"a7a7", "A7A7", "167 167", `\xa7`, "a8a8", "168 168"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("printed %q:\n%s", leak, out.String())
		}
	}
	if !strings.Contains(out.String(), marker) {
		t.Error("no marker was printed")
	}
}

func TestPanics(t *testing.T) {
	for _, n := range []int{0, 4081} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("KDF of %d bytes does not panic", n)
				}
			}()
			KDF(nil, nil, nil, n)
		}()
	}
	des, err := des.NewCipher(make([]byte, 8))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("CMAC over DES does not panic")
		}
	}()
	SumCMAC(des, nil)
}

func FuzzOpen(f *testing.F) {
	for _, v := range vectors(f).Vectors {
		f.Add(append(unhex(f, v["init_upd_rsp"]), 0x90, 0), byte(0x33), false)
	}
	f.Add([]byte{0x61, 0}, byte(1), true)
	f.Fuzz(func(t *testing.T, resp []byte, level byte, s16 bool) {
		var card cardFunc = func([]byte) []byte { return resp }
		ch, err := Open(context.Background(), card, testKeys(t, 1, 16), Options{Level: Level(level), S16: s16})
		if (ch == nil) != (err != nil) {
			t.Errorf("%v, %v", ch, err)
		}
	})
}

func FuzzResponder(f *testing.F) {
	f.Add([]byte{0x84, 0xB0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0})
	f.Add([]byte{0x80, 0x50, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0})
	f.Add([]byte{0x84, 0x82, 0x33, 0, 0x10})
	f.Fuzz(func(t *testing.T, cmd []byte) {
		card := newCard(t, 16)
		card.respond(cmd)
		openTest(t, card, Options{Level: Full})
		if _, err := card.Unwrap(cmd); err == nil {
			t.Errorf("%x is accepted", cmd)
		}
		card.Wrap(nil, cmd)
	})
}

// BenchmarkUpdate is one UPDATE BINARY with as much data as fits, wrapped by
// the host, unwrapped by the card, answered and checked.
func BenchmarkUpdate(b *testing.B) {
	card := newCard(b, 32)
	ch := openTest(b, card, Options{Level: Full})
	cmd := uicc.Command{INS: 0xD6, Data: make([]byte, MaxData(Full, false))}.Append(nil)
	ch.state.get().card = quietCard{card}
	ctx := context.Background()
	b.ReportAllocs()
	b.SetBytes(int64(len(cmd)))
	for b.Loop() {
		if _, err := ch.Transmit(ctx, cmd); err != nil {
			b.Fatal(err)
		}
	}
}

// quietCard answers 9000 without data, as UPDATE does.
type quietCard struct{ *testCard }

func (c quietCard) Transmit(_ context.Context, b []byte) ([]byte, error) {
	if _, err := c.Unwrap(b); err != nil {
		return nil, err
	}
	c.buf = append(c.buf[:0], 0x90, 0)
	c.buf = c.Wrap(c.buf[:0], c.buf)
	return c.buf, nil
}

func TestNoAllocation(t *testing.T) {
	card := newCard(t, 32)
	ch := openTest(t, card, Options{Level: Full})
	ch.state.get().card = quietCard{card}
	cmd := uicc.Command{INS: 0xD6, Data: make([]byte, MaxData(Full, false))}.Append(nil)
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := ch.Transmit(ctx, cmd); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for each command, want none", n)
	}
}

func BenchmarkOpen(b *testing.B) {
	card := newCard(b, 32)
	b.ReportAllocs()
	for b.Loop() {
		openTest(b, card, Options{Level: Full})
	}
}
