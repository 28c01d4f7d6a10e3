package scp

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"

	"ankan/uicc"
)

// Options say which session a host wants.
type Options struct {
	KeyVersion byte      // key version number, 30..3F; 0 takes the card's first
	Level      Level     // what to protect; the zero Level is refused
	S16        bool      // challenges and MACs of 16 bytes, not 8
	Channel    byte      // basic logical channel, 0..3
	AID        []byte    // selected first, if not empty
	Random     io.Reader // the host challenge; nil means crypto/rand
}

// A Channel is the host's end of an open SCP03 session. It is a uicc.Card:
// Transmit takes plain commands and returns plain responses. One goroutine at
// a time uses it.
type Channel struct {
	unprintable
	state hidden[channel]
}

type channel struct {
	card    uicc.Card
	session *SessionKeys
	link    link
	logical byte // channel
	out     [261]byte
	in      [2 * 258]byte
}

// Open opens a session: INITIALIZE UPDATE, a check of the card's cryptogram,
// EXTERNAL AUTHENTICATE (Amendment D, 7.1). Errors that it wraps: ErrLevel,
// ErrCryptogram, ErrHandshake, *uicc.StatusError, and those of card and keys.
func Open(ctx context.Context, card uicc.Card, keys Static, o Options) (*Channel, error) {
	if !o.Level.valid() {
		return nil, fmt.Errorf("scp: level %02X: %w", byte(o.Level), ErrLevel)
	}
	if o.Channel > claChannel {
		return nil, fmt.Errorf("scp: logical channel %d, want 0..3: %w", o.Channel, ErrClass)
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	c := &channel{card: card, logical: o.Channel}
	c.link = link{level: o.Level, n: macLen(o.S16)}
	if err := c.open(ctx, keys, o); err != nil {
		c.close()
		return nil, err
	}
	return &Channel{state: hide(c)}, nil
}

func (c *channel) open(ctx context.Context, keys Static, o Options) error {
	if len(o.AID) > 0 {
		sel := uicc.Command{CLA: o.Channel, INS: uicc.INSSelect, P1: 0x04, Data: o.AID, Le: 256}
		if _, err := c.step(ctx, sel); err != nil {
			return err
		}
	}
	hostCard := make([]byte, c.link.n, 2*c.link.n)
	if _, err := io.ReadFull(o.Random, hostCard); err != nil {
		return fmt.Errorf("scp: drawing the host challenge: %w", err)
	}
	resp, err := c.step(ctx,
		uicc.Command{CLA: 0x80 | o.Channel, INS: 0x50, P1: o.KeyVersion, Data: hostCard, Le: 256})
	if err != nil {
		return err
	}
	g, err := parseGreeting(resp, o)
	if err != nil {
		return err
	}
	hostCard = append(hostCard, g.challenge...)
	if c.session, err = keys.SessionKeys(hostCard); err != nil {
		return err
	}
	if c.link.keys, err = c.session.keys(); err != nil {
		return err
	}
	if !equal(g.cryptogram, c.link.keys.cryptogram(deriveCard, hostCard, c.link.n)) {
		return fmt.Errorf("scp: card: %w", ErrCryptogram)
	}
	auth := uicc.Command{CLA: 0x84 | o.Channel, INS: 0x82, P1: byte(o.Level)}
	auth.Data = c.link.keys.cryptogram(deriveHost, hostCard, c.link.n)
	c.link.commandMAC(&auth, auth.Data)
	auth.Data = append(auth.Data, c.link.chain[:c.link.n]...)
	_, err = c.step(ctx, auth)
	return err
}

// step sends a command of the handshake, which is not wrapped.
func (c *channel) step(ctx context.Context, cmd uicc.Command) ([]byte, error) {
	resp, sw, err := c.exchange(ctx, cmd.Append(c.out[:0]), cmd.CLA&claChannel)
	if err == nil && sw != uicc.SWOK {
		err = &uicc.StatusError{CLA: cmd.CLA, INS: cmd.INS, P1: cmd.P1, P2: cmd.P2, SW: sw}
	}
	if err != nil {
		return nil, fmt.Errorf("scp: %w", err)
	}
	return resp, nil
}

// greeting is the answer to INITIALIZE UPDATE (Amendment D, 7.1.1.6).
type greeting struct{ challenge, cryptogram []byte }

// Options of the protocol, parameter i (Amendment D, 5.1).
const (
	optionS16    = 0x01
	optionRandom = 0x10 // card challenges are pseudo-random: a sequence counter follows
	optionRMAC   = 0x20
	optionRENC   = 0x40
)

func parseGreeting(b []byte, o Options) (greeting, error) {
	n := macLen(o.S16)
	const keys = 10 // of key diversification data
	if len(b) < keys+3+2*n {
		return greeting{}, fmt.Errorf("scp: INITIALIZE UPDATE: %w: %d bytes, want %d or %d", ErrHandshake, len(b), keys+3+2*n, keys+6+2*n)
	}
	version, id, i := b[keys], b[keys+1], b[keys+2]
	want := keys + 3 + 2*n
	if i&optionRandom != 0 {
		want += 3
	}
	switch {
	case id != 3:
		return greeting{}, fmt.Errorf("scp: INITIALIZE UPDATE: %w: card speaks SCP%02X, want SCP03", ErrHandshake, id)
	case o.S16 != (i&optionS16 != 0):
		return greeting{}, fmt.Errorf("scp: INITIALIZE UPDATE: %w: i is %02X, S16 wanted: %t", ErrHandshake, i, o.S16)
	case o.KeyVersion != 0 && version != o.KeyVersion:
		return greeting{}, fmt.Errorf("scp: INITIALIZE UPDATE: %w: key version %02X, want %02X", ErrHandshake, version, o.KeyVersion)
	case len(b) != want:
		return greeting{}, fmt.Errorf("scp: INITIALIZE UPDATE: %w: %d bytes, want %d", ErrHandshake, len(b), want)
	case o.Level&RMAC != 0 && i&optionRMAC == 0, o.Level&RENC != 0 && i&optionRENC == 0:
		return greeting{}, fmt.Errorf("scp: level %02X: %w: card has i = %02X", byte(o.Level), ErrLevel, i)
	}
	b = b[keys+3:]
	return greeting{challenge: b[:n], cryptogram: b[n : 2*n]}, nil
}

// exchange sends an encoded command and collects its answer: T=0 cards keep
// response data until GET RESPONSE, which is never wrapped (TS 102 221,
// 7.3.1.1.4). The data lies in c.in.
func (c *channel) exchange(ctx context.Context, cmd []byte, channel byte) ([]byte, uicc.SW, error) {
	const rounds = 8 // a card that always has more is broken
	n := 0
	for range rounds {
		r, err := c.card.Transmit(ctx, cmd)
		if err != nil {
			return nil, 0, err
		}
		if len(r) < 2 {
			return nil, 0, fmt.Errorf("card answers %d bytes, want a status word", len(r))
		}
		data, sw := uicc.Response(r).Data(), uicc.Response(r).SW()
		if n+len(data) > len(c.in) {
			return nil, 0, fmt.Errorf("card answers more than %d bytes", len(c.in))
		}
		n += copy(c.in[n:], data)
		_, more := sw.More()
		_, wrongLe := sw.WrongLe()
		if !more && !(wrongLe && cmd[1] == uicc.INSGetResponse) {
			return c.in[:n], sw, nil
		}
		cmd = append(c.out[:0], channel, uicc.INSGetResponse, 0, 0, byte(sw))
	}
	return nil, 0, fmt.Errorf("card still has more after %d answers", rounds)
}

// Transmit implements uicc.Card. It wraps the command, sends it, fetches the
// response as T=0 needs it and unwraps it.
//
// Le is not changed by wrapping: it is the length of the plain response, which
// the card's wrapped one exceeds. A command answered with 6Cxx was seen by the
// card; send it again with that Le and it is wrapped anew.
//
// ErrClass and ErrTooLong leave the channel open, as nothing was sent. Any
// other error closes it: the state of the card is unknown.
func (c *Channel) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	ch := c.state.get()
	if ch == nil || ch.link.keys == nil {
		return nil, fmt.Errorf("scp: %w", ErrClosed)
	}
	wrapped, err := ch.wrap(cmd)
	if err != nil {
		return nil, fmt.Errorf("scp: %w", err)
	}
	data, sw, err := ch.exchange(ctx, wrapped, ch.logical)
	if err != nil {
		ch.close()
		return nil, fmt.Errorf("scp: %w", err)
	}
	if data, err = ch.unwrap(data, sw); err != nil {
		ch.close()
		return nil, fmt.Errorf("scp: response %04X: %w", uint16(sw), err)
	}
	return append(data, byte(sw>>8), byte(sw)), nil
}

// Close ends our side and drops the session keys. The card ends its own with
// the next reset, SELECT or INITIALIZE UPDATE.
func (c *Channel) Close() {
	if ch := c.state.get(); ch != nil {
		ch.close()
	}
}

func (c *channel) wrap(b []byte) ([]byte, error) {
	cmd, err := uicc.ParseCommand(b)
	if err != nil {
		return nil, err
	}
	if cmd.CLA&(claFurther|claSecure) != 0 || cmd.CLA&claChannel != c.logical {
		return nil, fmt.Errorf("class %02X on logical channel %d: %w", cmd.CLA, c.logical, ErrClass)
	}
	l := &c.link
	if limit := MaxData(l.level, l.n == 16); len(cmd.Data) > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d fit", ErrTooLong, len(cmd.Data), limit)
	}
	l.counter++
	out := append(c.out[:0], cmd.CLA|0x04, cmd.INS, cmd.P1, cmd.P2, 0)
	out = append(out, cmd.Data...)
	if l.level&CDEC != 0 && len(cmd.Data) > 0 {
		out = pad(out, 5)
		l.setIV(0)
		encryptCBC(l.keys.enc, &l.iv, out[5:])
	}
	l.commandMAC(&cmd, out[5:])
	out = append(out, l.chain[:l.n]...)
	out[4] = byte(len(out) - 5)
	if cmd.Le > 0 {
		out = append(out, byte(cmd.Le))
	}
	return out, nil
}

func (c *channel) unwrap(data []byte, sw uicc.SW) ([]byte, error) {
	l := &c.link
	if l.level&RMAC == 0 {
		return data, nil
	}
	if !protected(sw) {
		// The card says no without proof. Data would be nobody's.
		if len(data) > 0 {
			return nil, ErrRMAC
		}
		return data, nil
	}
	if len(data) < l.n {
		return nil, ErrRMAC
	}
	data, mac := data[:len(data)-l.n], data[len(data)-l.n:]
	if !equal(mac, l.responseMAC(data, sw)) {
		return nil, ErrRMAC
	}
	if l.level&RENC == 0 || len(data) == 0 {
		return data, nil
	}
	if len(data)%16 != 0 {
		return nil, fmt.Errorf("%d bytes of encrypted data, want a multiple of 16", len(data))
	}
	l.setIV(0x80)
	decryptCBC(l.keys.enc, &l.iv, data)
	data, ok := unpad(data)
	if !ok {
		return nil, fmt.Errorf("padding of the response data is wrong")
	}
	return data, nil
}

func (c *channel) close() {
	c.session.Close()
	c.link = link{}
	clear(c.in[:]) // may hold what the card said
}
