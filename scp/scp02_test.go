package scp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ankan/uicc"
)

// A recorded session: what a host sends and a card answers, in both protocols.
type recorded struct {
	Name               string
	Enc, MAC, DEK, AID hexBytes
	KeyVersion         hexBytes `json:"key_version"`
	HostChallenge      hexBytes `json:"host_challenge"`
	CardChallenge      hexBytes `json:"card_challenge"`
	Sequence, Level, I hexBytes
	S16                bool
	InitUpdateRsp      hexBytes `json:"init_update_rsp"`
	ExtAuthCmd         hexBytes `json:"ext_auth_cmd"`
	NewKey             hexBytes `json:"new_key"`
	SealedKey          hexBytes `json:"sealed_key"`
	Exchanges          []struct {
		Command, Wrapped, Response hexBytes
		WrappedResponse            hexBytes `json:"wrapped_response"`
	}
}

func sessions(t testing.TB, name string) []recorded {
	t.Helper()
	var f struct{ Sessions []recorded }
	load(t, name, &f)
	if len(f.Sessions) == 0 {
		t.Fatalf("testdata/%s holds no sessions", name)
	}
	return f.Sessions
}

func (v recorded) sequence() (n uint32) {
	for _, b := range v.Sequence {
		n = n<<8 | uint32(b)
	}
	return n
}

// host plays the session as the host and gives its channel.
func (v recorded) host(t *testing.T, keys Static, o Options) *Channel {
	t.Helper()
	init := uicc.Command{CLA: 0x80, INS: 0x50, P1: v.KeyVersion[0], Data: v.HostChallenge, Le: 256}
	card := &tape{t: t, steps: [][2][]byte{
		{init.Append(nil), append(bytes.Clone(v.InitUpdateRsp), 0x90, 0)},
		{v.ExtAuthCmd, {0x90, 0}},
	}}
	for _, x := range v.Exchanges {
		card.steps = append(card.steps, [2][]byte{x.Wrapped, x.WrappedResponse})
	}
	o.KeyVersion, o.Level, o.Random, o.S16 = v.KeyVersion[0], Level(v.Level[0]), bytes.NewReader(v.HostChallenge), v.S16
	ctx := context.Background()
	ch, err := Open(ctx, card, keys, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range v.Exchanges {
		resp, err := ch.Transmit(ctx, x.Command)
		if err != nil || !bytes.Equal(resp, x.Response) {
			t.Errorf("%x: %x, %v, want %x", x.Command, resp, err, x.Response)
		}
	}
	return ch
}

// card plays the session as a card that greeted.
func (v recorded) card(t *testing.T, r *Responder, greeting []byte) {
	t.Helper()
	if !bytes.Equal(greeting, v.InitUpdateRsp) {
		t.Errorf("INITIALIZE UPDATE answers %x, want %x", greeting, v.InitUpdateRsp)
	}
	if err := r.Authenticate(v.ExtAuthCmd); err != nil {
		t.Fatal(err)
	}
	for _, x := range v.Exchanges {
		c, err := r.Unwrap(x.Wrapped)
		if err != nil {
			t.Fatalf("%x: %v", x.Wrapped, err)
		}
		want, err := uicc.ParseCommand(x.Command)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(c.Append(nil), want.Append(nil)) {
			t.Errorf("unwrapped %x, want %x", c.Append(nil), x.Command)
		}
		if got := r.Wrap(nil, x.Response); !bytes.Equal(got, x.WrappedResponse) {
			t.Errorf("response %x, want %x", got, x.WrappedResponse)
		}
	}
}

func TestSessionsSCP03(t *testing.T) {
	for _, v := range sessions(t, "scp03sessions.json") {
		t.Run(v.Name, func(t *testing.T) {
			keys, err := NewKeySet(v.Enc, v.MAC, v.DEK)
			if err != nil {
				t.Fatal(err)
			}
			v.host(t, keys, Options{})
			g := Greeting{KeyVersion: v.KeyVersion[0], Challenge: v.CardChallenge}
			if v.I[0]&optionRandom != 0 {
				g.PseudoRandom, g.Sequence = true, v.sequence()
				challenge, err := keys.Challenge(g.Sequence, v.AID, len(v.CardChallenge))
				if err != nil || !bytes.Equal(challenge, v.CardChallenge) {
					t.Errorf("challenge %x, %v, want %x", challenge, err, v.CardChallenge)
				}
			}
			var r Responder
			greeting, err := r.Initialize(nil, keys, g, v.HostChallenge)
			if err != nil {
				t.Fatal(err)
			}
			v.card(t, &r, greeting)
		})
	}
}

func TestSessionsSCP02(t *testing.T) {
	for _, v := range sessions(t, "scp02.json") {
		t.Run(v.Name, func(t *testing.T) {
			keys, err := NewDESKeySet(v.Enc, v.MAC, v.DEK)
			if err != nil {
				t.Fatal(err)
			}
			ch := v.host(t, keys, Options{DES: true})
			sealed, err := ch.SealKey([]byte("x"), v.NewKey)
			if err != nil || !bytes.Equal(sealed[1:], v.SealedKey) {
				t.Errorf("sealed key %x, %v, want %x", sealed, err, v.SealedKey)
			}
			challenge, err := keys.Challenge(uint16(v.sequence()), v.AID)
			if err != nil || !bytes.Equal(challenge, v.CardChallenge) {
				t.Errorf("challenge %x, %v, want %x", challenge, err, v.CardChallenge)
			}
			var r Responder
			greeting, err := r.InitializeDES(nil, keys, Greeting{KeyVersion: v.KeyVersion[0], Challenge: challenge, Sequence: v.sequence()}, v.HostChallenge)
			if err != nil {
				t.Fatal(err)
			}
			v.card(t, &r, greeting)
			opened, err := r.OpenKey([]byte("y"), v.SealedKey)
			if err != nil || !bytes.Equal(opened[1:], v.NewKey) {
				t.Errorf("opened key %x, %v, want %x", opened, err, v.NewKey)
			}
		})
	}
}

func TestVectorsSCP02(t *testing.T) {
	var f struct {
		Published struct {
			Enc, MAC, DEK hexBytes
			Cmd           hexBytes `json:"init_update_cmd"`
			Rsp           hexBytes `json:"init_update_rsp"`
			Auth          hexBytes `json:"ext_auth_cmd_level_01"`
			Wrapped       [][2]hexBytes
		}
	}
	load(t, "scp02.json", &f)
	v := f.Published
	if len(v.Wrapped) == 0 {
		t.Fatal("testdata/scp02.json holds no published session")
	}
	keys, err := NewDESKeySet(v.Enc, v.MAC, v.DEK)
	if err != nil {
		t.Fatal(err)
	}
	// The card answers with key version 70, and was asked for 20.
	init := bytes.Clone(v.Cmd)
	init[2] = v.Rsp[10]
	card := &tape{t: t, steps: [][2][]byte{{init, append(bytes.Clone(v.Rsp), 0x90, 0)}, {v.Auth, {0x90, 0}}}}
	ch, err := Open(context.Background(), card, keys, Options{Level: CMAC, KeyVersion: v.Rsp[10], Random: bytes.NewReader(v.Cmd[5:13]), DES: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range v.Wrapped {
		got, err := ch.Wrap([]byte("x"), w[0])
		if err != nil || !bytes.Equal(got[1:], w[1]) {
			t.Errorf("%x is wrapped as %x, %v, want %x", w[0], got, err, w[1])
		}
	}
	var r Responder
	g := Greeting{KeyVersion: v.Rsp[10], Challenge: v.Rsp[14:20], Sequence: uint32(v.Rsp[13])}
	got, err := r.InitializeDES(nil, keys, g, v.Cmd[5:13])
	if err != nil || !bytes.Equal(got, v.Rsp) {
		t.Errorf("INITIALIZE UPDATE answers %x, %v, want %x", got, err, v.Rsp)
	}
	if err := r.Authenticate(v.Auth); err != nil {
		t.Fatal(err)
	}
	for _, w := range v.Wrapped {
		if _, err := r.Unwrap(w[1]); err != nil {
			t.Errorf("%x: %v", w[1], err)
		}
	}
}

// A desCard echoes inside SCP02.
type desCard struct {
	testCard
	keys     DESKeySet
	sequence uint32
}

func (c *desCard) Transmit(ctx context.Context, b []byte) ([]byte, error) {
	if b[1] != uicc.INSInitializeUpdate {
		return c.testCard.Transmit(ctx, b)
	}
	cmd, err := uicc.ParseCommand(b)
	if err != nil {
		return nil, err
	}
	resp, err := c.InitializeDES(nil, c.keys, Greeting{KeyVersion: 0x20, Challenge: []byte("random"), Sequence: c.sequence}, cmd.Data)
	if err != nil {
		return []byte{0x6A, 0x80}, nil
	}
	resp = append(resp, 0x90, 0)
	if c.change != nil {
		resp = c.change(resp)
	}
	return resp, nil
}

func desKeys(t testing.TB, fill byte) DESKeySet {
	t.Helper()
	k := func(i byte) []byte {
		b := make([]byte, 16)
		for j := range b {
			b[j] = fill + i + byte(j)*3
		}
		return b
	}
	keys, err := NewDESKeySet(k(0), k(1), k(2))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestBothSidesSCP02(t *testing.T) {
	ctx := context.Background()
	for _, level := range []Level{CMAC, Commands, CMAC | RMAC, Commands | RMAC} {
		card := &desCard{keys: desKeys(t, 0x41), sequence: 3}
		ch, err := Open(ctx, card, card.keys, Options{Level: level, DES: true, Channel: 1})
		if err != nil {
			t.Fatal(err)
		}
		limit := ch.state.get().maxData()
		for size := 0; size <= limit; size++ {
			data := bytes.Repeat([]byte{byte(size)}, size)
			resp, err := ch.Transmit(ctx, uicc.Command{CLA: 0x81, INS: 0xE2, P1: 1, P2: 2, Data: data, Le: 256}.Append(nil))
			if err != nil || !bytes.Equal(resp, append(data, 0x90, 0)) {
				t.Fatalf("level %02X, %d bytes: %x, %v", byte(level), size, resp, err)
			}
		}
		if _, err := ch.Transmit(ctx, uicc.Command{CLA: 0x81, INS: 0xE2, Data: make([]byte, limit+1)}.Append(nil)); !errors.Is(err, ErrTooLong) {
			t.Errorf("level %02X, %d bytes: %v, want ErrTooLong", byte(level), limit+1, err)
		}
	}
}

func TestOpenRefusesSCP02(t *testing.T) {
	flip := func(i int) func([]byte) []byte {
		return func(b []byte) []byte {
			if len(b) > i+2 {
				b[i] ^= 1
			}
			return b
		}
	}
	for name, c := range map[string]struct {
		o      Options
		keys   Static
		change func([]byte) []byte
		want   error
	}{
		"not asked for":     {o: Options{Level: CMAC}, want: ErrOld},
		"AES keys":          {o: Options{Level: CMAC, DES: true}, keys: testKeys(t, 1, 16), want: ErrHandshake},
		"other keys":        {o: Options{Level: CMAC, DES: true}, keys: desKeys(t, 1), want: ErrCryptogram},
		"zero keys":         {o: Options{Level: CMAC, DES: true}, keys: DESKeySet{}, want: ErrClosed},
		"response secrecy":  {o: Options{Level: Full, DES: true}, want: ErrLevel},
		"S16":               {o: Options{Level: CMAC, DES: true, S16: true}, want: uicc.SWData},
		"other key version": {o: Options{Level: CMAC, DES: true, KeyVersion: 0x21}, want: ErrHandshake},
		"long answer":       {o: Options{Level: CMAC, DES: true}, change: func(b []byte) []byte { return append(b[:len(b)-2:len(b)-2], 0, 0x90, 0) }, want: ErrHandshake},
		"short answer":      {o: Options{Level: CMAC, DES: true}, change: func(b []byte) []byte { return append(b[:20:20], 0x90, 0) }, want: ErrHandshake},
		"sequence changed":  {o: Options{Level: CMAC, DES: true}, change: flip(13), want: ErrCryptogram},
		"challenge changed": {o: Options{Level: CMAC, DES: true}, change: flip(14), want: ErrCryptogram},
		"host refused": {o: Options{Level: CMAC, DES: true}, change: func(b []byte) []byte {
			if len(b) == 2 {
				return []byte{0x63, 0}
			}
			return b
		}, want: uicc.SWFailed},
	} {
		card := &desCard{keys: desKeys(t, 0x41), sequence: 3}
		card.change = c.change
		keys := c.keys
		if keys == nil {
			keys = card.keys
		}
		if ch, err := Open(context.Background(), card, keys, c.o); ch != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v, want %v", name, ch, err, c.want)
		}
	}
	// DES keys for a card of SCP03.
	if _, err := Open(context.Background(), newCard(t, 16), desKeys(t, 1), Options{Level: CMAC, DES: true}); err == nil || !strings.Contains(err.Error(), "wants AES") {
		t.Errorf("DES keys for SCP03: %v", err)
	}
}

func TestResponderRefusesSCP02(t *testing.T) {
	keys := desKeys(t, 0x41)
	var r Responder
	for name, c := range map[string]struct {
		keys DESStatic
		g    Greeting
		host int
		want error
	}{
		"challenge of 8":      {keys, Greeting{Challenge: make([]byte, 8)}, 8, ErrHandshake},
		"host challenge of 7": {keys, Greeting{Challenge: make([]byte, 6)}, 7, ErrHandshake},
		"counter used up":     {keys, Greeting{Challenge: make([]byte, 6), Sequence: 1 << 16}, 8, ErrHandshake},
		"zero keys":           {DESKeySet{}, Greeting{Challenge: make([]byte, 6)}, 8, ErrClosed},
	} {
		if _, err := r.InitializeDES(nil, c.keys, c.g, make([]byte, c.host)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := r.OpenKey(nil, make([]byte, 8)); !errors.Is(err, ErrClosed) {
		t.Errorf("OpenKey without a session: %v, want ErrClosed", err)
	}
	open := func(level Level) (*desCard, *Channel) {
		card := &desCard{keys: keys}
		ch, err := Open(context.Background(), card, keys, Options{Level: level, DES: true})
		if err != nil {
			t.Fatal(err)
		}
		return card, ch
	}
	for name, change := range map[string]func(b []byte) []byte{
		"MAC":         func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"data":        func(b []byte) []byte { b[6] ^= 1; return b },
		"header":      func(b []byte) []byte { b[2] ^= 1; return b },
		"plain":       func(b []byte) []byte { b[0] &^= 4; return b },
		"half blocks": func(b []byte) []byte { b[4]--; return b[:len(b)-1] },
	} {
		card, ch := open(Commands)
		b, err := ch.Wrap(nil, uicc.Command{CLA: 0x80, INS: 0xE2, Data: make([]byte, 20)}.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := card.Unwrap(change(b)); !errors.Is(err, ErrMAC) {
			t.Errorf("%s changed: %v, want ErrMAC", name, err)
		}
	}
	// A replay, and a command left out.
	card, ch := open(CMAC)
	first, _ := ch.Wrap(nil, []byte{0x80, 0xF2, 0, 0})
	if _, err := card.Unwrap(first); err != nil {
		t.Fatal(err)
	}
	if _, err := card.Unwrap(first); !errors.Is(err, ErrMAC) {
		t.Errorf("replay: %v, want ErrMAC", err)
	}
	card, ch = open(CMAC)
	ch.Wrap(nil, []byte{0x80, 0xF2, 0, 0})
	second, _ := ch.Wrap(nil, []byte{0x80, 0xF2, 0, 0})
	if _, err := card.Unwrap(second); !errors.Is(err, ErrMAC) {
		t.Errorf("command left out: %v, want ErrMAC", err)
	}
	// A level that SCP02 has not.
	r = Responder{}
	if _, err := r.InitializeDES(nil, keys, Greeting{Challenge: make([]byte, 6)}, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	auth := uicc.Command{CLA: 0x84, INS: 0x82, P1: byte(Full), Data: make([]byte, 16)}.Append(nil)
	if err := r.Authenticate(auth); !errors.Is(err, ErrLevel) {
		t.Errorf("level 33: %v, want ErrLevel", err)
	}
	card, ch = open(CMAC)
	if _, err := card.OpenKey(nil, make([]byte, 7)); err == nil {
		t.Error("key data of 7 bytes is not refused")
	}
	if _, err := ch.SealKey(nil, make([]byte, 7)); err == nil {
		t.Error("a key of 7 bytes is not refused")
	}
	ch.Close()
	if _, err := ch.SealKey(nil, make([]byte, 8)); !errors.Is(err, ErrClosed) {
		t.Errorf("closed channel: %v, want ErrClosed", err)
	}
}

func TestResponseChangedSCP02(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"data":   func(b []byte) []byte { b[0] ^= 1; return b },
		"MAC":    func(b []byte) []byte { b[len(b)-3] ^= 1; return b },
		"status": func(b []byte) []byte { b[len(b)-2] = 0x62; return b },
		"no MAC": func(b []byte) []byte { return b[len(b)-2:] },
		"error":  func(b []byte) []byte { b[len(b)-2] = 0x6A; return b },
	} {
		card := &desCard{keys: desKeys(t, 0x41)}
		ch, err := Open(context.Background(), card, card.keys, Options{Level: Commands | RMAC, DES: true})
		if err != nil {
			t.Fatal(err)
		}
		card.change = change
		if _, err := ch.Transmit(context.Background(), uicc.Command{INS: 0xCA, Data: []byte("data"), Le: 256}.Append(nil)); !errors.Is(err, ErrRMAC) {
			t.Errorf("%s: %v, want ErrRMAC", name, err)
		}
	}
}

func TestWrapAhead(t *testing.T) {
	ctx := context.Background()
	commands := [][]byte{
		{0x00, 0xA4, 0, 4, 2, 0x3F, 0},
		uicc.Command{INS: 0xD6, Data: make([]byte, 200)}.Append(nil),
		{0x80, 0xF2, 0, 0},
		{0x00, 0xB0, 0, 0, 16},
	}
	for _, level := range []Level{CMAC, Commands} {
		// What is wrapped ahead is what Transmit sends.
		one, two := newCard(t, 32), newCard(t, 32)
		var sent [][]byte
		spy := cardFunc(func(b []byte) []byte { sent = append(sent, bytes.Clone(b)); return one.respond(b) })
		random := bytes.Repeat([]byte{7}, 8)
		a, err := Open(ctx, spy, one.keys, Options{Level: level, Random: bytes.NewReader(random)})
		if err != nil {
			t.Fatal(err)
		}
		b, err := Open(ctx, two, two.keys, Options{Level: level, Random: bytes.NewReader(random)})
		if err != nil {
			t.Fatal(err)
		}
		sent = nil
		script := []byte("x")
		for _, c := range commands {
			if _, err := a.Transmit(ctx, c); err != nil {
				t.Fatal(err)
			}
			if script, err = b.Wrap(script, c); err != nil {
				t.Fatal(err)
			}
		}
		if want := append([]byte("x"), bytes.Join(sent, nil)...); !bytes.Equal(script, want) {
			t.Errorf("level %02X: script %x, want %x", byte(level), script, want)
		}
		for _, c := range sent {
			if _, err := two.Unwrap(c); err != nil {
				t.Errorf("level %02X: %v", byte(level), err)
			}
		}
		// A refusal does not move the session.
		if _, err := b.Wrap(nil, []byte{0x04, 0xB0, 0, 0}); !errors.Is(err, ErrClass) {
			t.Errorf("class 04: %v, want ErrClass", err)
		}
		next, err := b.Wrap(nil, commands[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := two.Unwrap(next); err != nil {
			t.Errorf("after a refusal: %v", err)
		}
		b.Close()
		if _, err := b.Wrap(nil, commands[0]); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v, want ErrClosed", err)
		}
	}
}

// With response MACs, too, commands go ahead of their answers, which are
// checked in their order. An error among them has no MAC.
func TestAheadSCP02(t *testing.T) {
	ctx := context.Background()
	open := func(t *testing.T) (*desCard, *Channel) {
		card := &desCard{keys: desKeys(t, 1)}
		card.answer = func(c uicc.Command) []byte {
			if c.INS == 0xB2 {
				return []byte{0x6A, 0x83}
			}
			return append(bytes.Clone(c.Data), 0x90, 0)
		}
		ch, err := Open(ctx, card, card.keys, Options{Level: Commands | RMAC, DES: true})
		if err != nil {
			t.Fatal(err)
		}
		return card, ch
	}
	card, ch := open(t)
	var answers [][]byte
	sent := []uicc.Command{{INS: 0xD6, Data: []byte("one")}, {INS: 0xB2, Le: 5}, {INS: 0xD6, Data: []byte("three")}}
	for _, c := range sent {
		b, err := ch.Wrap(nil, c.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		r, err := card.Transmit(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, bytes.Clone(r))
	}
	if _, err := ch.Transmit(ctx, []byte{0, 0xB0, 0, 0, 1}); !errors.Is(err, ErrClosed) {
		t.Errorf("a command while answers are to come: %v, want ErrClosed", err)
	}
	for i, want := range []string{"one\x90\x00", "\x6A\x83", "three\x90\x00"} {
		if got, err := ch.Unwrap(answers[i]); err != nil || string(got) != want {
			t.Errorf("answer %d: %x, %v, want %x", i, got, err, want)
		}
	}
	if _, err := ch.Unwrap([]byte{0x90, 0}); !errors.Is(err, ErrRMAC) {
		t.Errorf("a response to no command: %v, want ErrRMAC", err)
	}
	// Answers that change places.
	card, ch = open(t)
	answers = nil
	for _, c := range sent[1:] {
		b, err := ch.Wrap(nil, c.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		r, _ := card.Transmit(ctx, b)
		answers = append(answers, bytes.Clone(r))
	}
	if _, err := ch.Unwrap(answers[1]); !errors.Is(err, ErrRMAC) {
		t.Errorf("the second answer first: %v, want ErrRMAC", err)
	}
}

func TestWrapAllocatesNothing(t *testing.T) {
	for name, card := range map[string]uicc.Card{"SCP03": newCard(t, 32), "SCP02": &desCard{keys: desKeys(t, 1)}} {
		var keys Static = testKeys(t, 0x40, 32)
		if name == "SCP02" {
			keys = desKeys(t, 1)
		}
		ch, err := Open(context.Background(), card, keys, Options{Level: Commands, DES: true})
		if err != nil {
			t.Fatal(err)
		}
		cmd := uicc.Command{INS: 0xD6, Data: make([]byte, 230)}.Append(nil)
		buf := make([]byte, 0, 261)
		if n := testing.AllocsPerRun(100, func() {
			if _, err := ch.Wrap(buf, cmd); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations for each command, want none", name, n)
		}
	}
}

func TestDESKeySetRefuses(t *testing.T) {
	ok := []byte("0123456789abcdef")
	for _, n := range []int{8, 15, 24} {
		if _, err := NewDESKeySet(make([]byte, n), ok, ok); err == nil {
			t.Errorf("a key of %d bytes is not refused", n)
		}
	}
	if _, err := NewDESKeySet(make([]byte, 16), ok, ok); err == nil || !strings.Contains(err.Error(), "single DES") {
		t.Errorf("equal parts: %v", err)
	}
	keys := desKeys(t, 1)
	revealed, err := keys.Reveal(nil)
	if err != nil || len(revealed) != 48 {
		t.Errorf("%d bytes, %v, want 48", len(revealed), err)
	}
	if _, err := keys.SealKey(nil, ok); err == nil {
		t.Error("a static key seals, which SCP02 does not do")
	}
	session, err := keys.DESSessionKeys(1)
	if err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprintf("%v %+v %#v %x %v", keys, keys, keys, keys, session)
	if strings.Contains(out, "0104070a") || !strings.Contains(out, marker) {
		t.Errorf("printed: %s", out)
	}
	session.Close()
	if _, err := session.keys(); !errors.Is(err, ErrClosed) {
		t.Errorf("closed session: %v, want ErrClosed", err)
	}
	if _, err := (*DESSessionKeys)(nil).keys(); !errors.Is(err, ErrClosed) {
		t.Errorf("no session: %v, want ErrClosed", err)
	}
	keys.Close()
	if _, err := keys.Challenge(1, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("closed keys: %v, want ErrClosed", err)
	}
}

func FuzzResponderSCP02(f *testing.F) {
	for _, v := range sessions(f, "scp02.json") {
		f.Add([]byte(v.Exchanges[0].Wrapped))
		f.Add([]byte(v.ExtAuthCmd))
	}
	f.Fuzz(func(t *testing.T, cmd []byte) {
		card := &desCard{keys: desKeys(t, 1)}
		if _, err := Open(context.Background(), card, card.keys, Options{Level: Commands | RMAC, DES: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := card.Unwrap(cmd); err == nil {
			t.Errorf("%x is accepted", cmd)
		}
		card.Wrap(nil, cmd)
	})
}

func BenchmarkWrap(b *testing.B) {
	card := newCard(b, 32)
	ch := openTest(b, card, Options{Level: Commands})
	cmd := uicc.Command{INS: 0xD6, Data: make([]byte, MaxData(Commands, false))}.Append(nil)
	buf := make([]byte, 0, 261)
	b.ReportAllocs()
	b.SetBytes(int64(len(cmd)))
	for b.Loop() {
		if _, err := ch.Wrap(buf, cmd); err != nil {
			b.Fatal(err)
		}
	}
}
