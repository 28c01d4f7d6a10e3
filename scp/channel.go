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
	DES        bool      // take a card that speaks SCP02, which is old: refused otherwise
	Random     io.Reader // the host challenge; nil means crypto/rand
}

// A Channel is the host's end of an open session of SCP03, or of SCP02 if the
// options allow it. It is a uicc.Card: Transmit takes plain commands and
// returns plain responses. One goroutine at a time uses it.
type Channel struct {
	unprintable
	state hidden[channel]
}

type channel struct {
	card    uicc.Card // nil if the caller carries commands and answers
	static  Static
	session *SessionKeys
	link    link
	logical byte   // channel
	sent    []mark // commands whose answers are to come, if those have MACs

	desSession *DESSessionKeys
	des        *desLink // SCP02, in the place of link and sent

	out [261]byte
	in  [2 * 258]byte
}

// A mark is where the chain stood at a command: its response is checked there.
type mark struct {
	chain   [16]byte
	counter uint64
}

// Open opens a session: INITIALIZE UPDATE, a check of the card's cryptogram,
// EXTERNAL AUTHENTICATE (Amendment D, 7.1). The card says which protocol it
// speaks: SCP03, or SCP02 if the options allow it and keys are a DESStatic.
// Errors that it wraps: ErrLevel, ErrCryptogram, ErrHandshake, ErrOld,
// *uicc.StatusError, and those of card and keys.
func Open(ctx context.Context, card uicc.Card, keys Static, o Options) (*Channel, error) {
	if !o.Level.valid() {
		return nil, fmt.Errorf("scp: level %02X: %w", byte(o.Level), ErrLevel)
	}
	g, update, err := Begin(o)
	if err != nil {
		return nil, err
	}
	c := &channel{card: card, logical: o.Channel}
	if len(o.AID) > 0 {
		sel := uicc.Command{CLA: o.Channel, INS: uicc.INSSelect, P1: 0x04, Data: o.AID, Le: 256}
		if _, err := c.step(ctx, sel.Append(nil)); err != nil {
			return nil, err
		}
	}
	answer, err := c.step(ctx, update)
	if err != nil {
		return nil, err
	}
	opened, auth, err := g.Open(keys, o.Level, answer)
	if err != nil {
		return nil, err
	}
	if _, err := c.step(ctx, auth); err != nil {
		opened.Close()
		return nil, err
	}
	opened.state.get().card = card
	return opened, nil
}

// An Opening is a session that a host has begun, for a host that carries
// commands and answers itself, many at a time. The zero Opening refuses.
type Opening struct {
	o    Options
	host []byte // challenge
}

// Begin draws the host challenge and returns INITIALIZE UPDATE. The application
// of Options.AID is to be selected before; the level is Open's. It may wrap
// ErrClass.
func Begin(o Options) (Opening, []byte, error) {
	if o.Channel > claChannel {
		return Opening{}, nil, fmt.Errorf("scp: logical channel %d, want 0..3: %w", o.Channel, ErrClass)
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	g := Opening{o: o, host: make([]byte, macLen(o.S16))}
	if _, err := io.ReadFull(o.Random, g.host); err != nil {
		return Opening{}, nil, fmt.Errorf("scp: drawing the host challenge: %w", err)
	}
	update := uicc.Command{CLA: 0x80 | o.Channel, INS: 0x50, P1: o.KeyVersion, Data: g.host, Le: 256}
	return g, update.Append(nil), nil
}

// Open checks the card's answer to INITIALIZE UPDATE, without status word, and
// returns the channel at this level and EXTERNAL AUTHENTICATE, which the card is to take
// (9000) before it takes what Wrap makes. It may be called again with other
// keys. Errors that it wraps: ErrClosed, ErrLevel, ErrCryptogram, ErrHandshake,
// ErrOld, and those of keys.
func (g Opening) Open(keys Static, level Level, answer []byte) (*Channel, []byte, error) {
	if g.host == nil {
		return nil, nil, fmt.Errorf("scp: %w", ErrClosed)
	}
	if !level.valid() {
		return nil, nil, fmt.Errorf("scp: level %02X: %w", byte(level), ErrLevel)
	}
	g.o.Level = level
	if len(answer) > 11 && answer[11] == 2 {
		return g.openDES(keys, answer)
	}
	r, err := parseGreeting(answer, g.o)
	if err != nil {
		return nil, nil, err
	}
	c := &channel{static: keys, logical: g.o.Channel}
	l := &c.link
	l.level, l.n = g.o.Level, macLen(g.o.S16)
	hostCard := append(append(make([]byte, 0, 2*l.n), g.host...), r.challenge...)
	if c.session, err = keys.SessionKeys(hostCard); err != nil {
		return nil, nil, err
	}
	if l.keys, err = c.session.keys(); err != nil {
		return nil, nil, err
	}
	if !equal(r.cryptogram, l.keys.cryptogram(deriveCard, hostCard, l.n)) {
		c.close()
		return nil, nil, fmt.Errorf("scp: card: %w", ErrCryptogram)
	}
	auth := uicc.Command{CLA: 0x84 | g.o.Channel, INS: 0x82, P1: byte(g.o.Level)}
	auth.Data = l.keys.cryptogram(deriveHost, hostCard, l.n)
	l.commandMAC(&auth, auth.Data)
	auth.Data = append(auth.Data, l.chain[:l.n]...)
	return &Channel{state: hide(c)}, auth.Append(nil), nil
}

// step sends a command of the handshake, which is not wrapped.
func (c *channel) step(ctx context.Context, cmd []byte) ([]byte, error) {
	resp, sw, err := c.exchange(ctx, append(c.out[:0], cmd...), cmd[0]&claChannel)
	if err == nil && sw != uicc.SWOK {
		err = &uicc.StatusError{CLA: cmd[0], INS: cmd[1], P1: cmd[2], P2: cmd[3], SW: sw}
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
		return greeting{}, fmt.Errorf("scp: INITIALIZE UPDATE: %w: card speaks SCP%02X, want SCP03 or SCP02", ErrHandshake, id)
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
	ch, err := c.open()
	if err != nil {
		return nil, err
	}
	if ch.card == nil || len(ch.sent) > 0 || ch.des != nil && len(ch.des.sent) > 0 {
		return nil, fmt.Errorf("scp: %w: its commands are carried by the caller", ErrClosed)
	}
	wrapped, err := ch.wrap(ch.out[:0], cmd)
	if err != nil {
		return nil, fmt.Errorf("scp: %w", err)
	}
	data, sw, err := ch.exchange(ctx, wrapped, ch.logical)
	if err != nil {
		ch.close()
		return nil, fmt.Errorf("scp: %w", err)
	}
	return ch.answer(data, sw)
}

// Wrap appends the command, wrapped, to dst. It needs no answer of the card to
// those before it: commands may be wrapped ahead and sent in their order, the
// last one only after the card took those before it. ErrClass and ErrTooLong
// leave the channel as it was.
func (c *Channel) Wrap(dst, cmd []byte) ([]byte, error) {
	ch, err := c.open()
	if err != nil {
		return nil, err
	}
	if dst, err = ch.wrap(dst, cmd); err != nil {
		return nil, fmt.Errorf("scp: %w", err)
	}
	return dst, nil
}

// Unwrap checks and decrypts, in place, the card's response to the first
// wrapped command whose response was not unwrapped. An error closes the
// channel. At a level without ResponseMAC there is nothing to unwrap.
func (c *Channel) Unwrap(response uicc.Response) (uicc.Response, error) {
	ch, err := c.open()
	if err != nil {
		return nil, err
	}
	if len(response) < 2 {
		ch.close()
		return nil, fmt.Errorf("scp: answer of %d bytes, want a status word: %w", len(response), ErrHandshake)
	}
	return ch.answer(response.Data(), response.SW())
}

// SealKey encrypts a key for PUT KEY or STORE DATA and appends it to dst: under
// the static data encryption key in SCP03, under the session's in SCP02. The
// length of key is a multiple of 16 bytes, of 8 in SCP02.
func (c *Channel) SealKey(dst, key []byte) ([]byte, error) {
	ch, err := c.open()
	if err != nil {
		return nil, err
	}
	if ch.des != nil {
		return ch.des.keys.sealKey(dst, key)
	}
	return ch.static.SealKey(dst, key)
}

func (c *Channel) open() (*channel, error) {
	ch := c.state.get()
	if ch == nil || ch.link.keys == nil && ch.des == nil {
		return nil, fmt.Errorf("scp: %w", ErrClosed)
	}
	return ch, nil
}

// answer unwraps a response; the data is plain at its place.
func (c *channel) answer(data []byte, sw uicc.SW) (uicc.Response, error) {
	data, err := c.unwrap(data, sw)
	if err != nil {
		c.close()
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

// maxData is MaxData of this session.
func (c *channel) maxData() int {
	if c.des == nil {
		return MaxData(c.link.level, c.link.n == 16)
	}
	const room = 255 - desMACLen
	if c.des.level&CDEC != 0 {
		return room/8*8 - 1
	}
	return room
}

func (c *channel) wrap(dst, b []byte) ([]byte, error) {
	cmd, err := uicc.ParseCommand(b)
	if err != nil {
		return nil, err
	}
	if cmd.CLA&(claFurther|claSecure) != 0 || cmd.CLA&claChannel != c.logical {
		return nil, fmt.Errorf("class %02X on logical channel %d: %w", cmd.CLA, c.logical, ErrClass)
	}
	if limit := c.maxData(); len(cmd.Data) > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d fit", ErrTooLong, len(cmd.Data), limit)
	}
	if c.des != nil {
		return c.des.wrap(dst, &cmd), nil
	}
	l := &c.link
	l.counter++
	head := len(dst)
	dst = append(dst, cmd.CLA|0x04, cmd.INS, cmd.P1, cmd.P2, 0)
	data := len(dst)
	dst = append(dst, cmd.Data...)
	if l.level&CDEC != 0 && len(cmd.Data) > 0 {
		dst = pad(dst, data, 16)
		l.setIV(0, l.counter)
		l.encryptMAC(&cmd, dst[data:])
	} else {
		l.commandMAC(&cmd, dst[data:])
	}
	if l.level&RMAC != 0 {
		c.sent = append(c.sent, mark{l.chain, l.counter})
	}
	dst = append(dst, l.chain[:l.n]...)
	dst[head+4] = byte(len(dst) - data)
	if cmd.Le > 0 {
		dst = append(dst, byte(cmd.Le))
	}
	return dst, nil
}

func (c *channel) unwrap(data []byte, sw uicc.SW) ([]byte, error) {
	if c.des != nil {
		return c.des.unwrap(data, sw)
	}
	l := &c.link
	if l.level&RMAC == 0 {
		return data, nil
	}
	if len(c.sent) == 0 {
		return nil, fmt.Errorf("%w: a response to no command", ErrRMAC)
	}
	at := c.sent[0]
	c.sent = c.sent[:copy(c.sent, c.sent[1:])]
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
	if !equal(mac, l.responseMAC(&at.chain, data, sw)) {
		return nil, ErrRMAC
	}
	if l.level&RENC == 0 || len(data) == 0 {
		return data, nil
	}
	if len(data)%16 != 0 {
		return nil, fmt.Errorf("%d bytes of encrypted data, want a multiple of 16", len(data))
	}
	l.setIV(0x80, at.counter)
	decryptCBC(l.keys.enc, &l.iv, data)
	data, ok := unpad(data, 16)
	if !ok {
		return nil, fmt.Errorf("padding of the response data is wrong")
	}
	return data, nil
}

func (c *channel) close() {
	c.session.Close()
	c.desSession.Close()
	c.link, c.sent, c.des, c.static = link{}, nil, nil, nil
	clear(c.in[:]) // may hold what the card said
}
