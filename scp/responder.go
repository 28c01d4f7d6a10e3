package scp

import (
	"encoding/binary"
	"fmt"

	"ankan/uicc"
)

// A Greeting is what a card says of itself in INITIALIZE UPDATE (Amendment D,
// 7.1.1.6).
type Greeting struct {
	Diversification [10]byte // key diversification data
	KeyVersion      byte     // of the key set in use
	Challenge       []byte   // 8 bytes, or 16 for S16
	PseudoRandom    bool     // the challenge is made from Sequence
	Sequence        uint32   // sequence counter, 3 bytes; sent if PseudoRandom
}

// A Responder is the card's end of SCP03. It draws nothing and knows no time:
// the caller gives the challenge. The zero value is a card without a session.
// One goroutine at a time uses it.
//
// A wrong cryptogram or MAC ends the session: every later command is refused
// with ErrClosed until INITIALIZE UPDATE.
type Responder struct {
	unprintable
	state hidden[responder]
}

type responder struct {
	session  *SessionKeys
	link     link
	open     bool // EXTERNAL AUTHENTICATE succeeded
	hostCard []byte
	in       [255]byte
}

// Initialize answers INITIALIZE UPDATE: it ends an earlier session, derives
// the keys of a new one and appends the response data to dst.
func (r *Responder) Initialize(dst []byte, keys Static, g Greeting, hostChallenge []byte) ([]byte, error) {
	r.Close()
	n := len(g.Challenge)
	if n != 8 && n != 16 || len(hostChallenge) != n {
		return nil, fmt.Errorf("scp: INITIALIZE UPDATE: %w: challenges of %d and %d bytes, want 8 or 16", ErrHandshake, len(hostChallenge), n)
	}
	if g.Sequence > 0xFFFFFF {
		return nil, fmt.Errorf("scp: INITIALIZE UPDATE: %w: sequence counter is used up", ErrHandshake)
	}
	hostCard := append(append(make([]byte, 0, 2*n), hostChallenge...), g.Challenge...)
	s, err := keys.SessionKeys(hostCard)
	if err != nil {
		return nil, err
	}
	k, err := s.keys()
	if err != nil {
		return nil, err
	}
	r.state = hide(&responder{session: s, hostCard: hostCard, link: link{keys: k, n: n}})

	i := byte(optionRMAC | optionRENC)
	if n == 16 {
		i |= optionS16
	}
	if g.PseudoRandom {
		i |= optionRandom
	}
	dst = append(dst, g.Diversification[:]...)
	dst = append(dst, g.KeyVersion, 3, i)
	dst = append(dst, g.Challenge...)
	dst = append(dst, k.cryptogram(deriveCard, hostCard, n)...)
	if g.PseudoRandom {
		s := binary.BigEndian.AppendUint32(nil, g.Sequence)
		dst = append(dst, s[1:]...)
	}
	return dst, nil
}

// Authenticate checks EXTERNAL AUTHENTICATE and opens the session at the level
// that it asks for (Amendment D, 7.1.2). Any error ends the session. The card
// answers 6300 to ErrCryptogram, 6982 to ErrMAC, 6985 to ErrClosed.
func (r *Responder) Authenticate(cmd []byte) error {
	s := r.state.get()
	if s == nil || s.open {
		r.Close()
		return fmt.Errorf("scp: EXTERNAL AUTHENTICATE: %w", ErrClosed) // it follows INITIALIZE UPDATE, once
	}
	if err := s.authenticate(cmd); err != nil {
		r.Close()
		return fmt.Errorf("scp: EXTERNAL AUTHENTICATE: %w", err)
	}
	s.open, s.hostCard = true, nil
	return nil
}

func (r *responder) authenticate(b []byte) error {
	l := &r.link
	c, err := uicc.ParseCommand(b)
	if err != nil {
		return err
	}
	level := Level(c.P1)
	switch {
	case c.CLA&^claChannel != 0x84 || c.INS != 0x82 || c.P2 != 0:
		return fmt.Errorf("%w: command %02X %02X %02X %02X", ErrHandshake, c.CLA, c.INS, c.P1, c.P2)
	case !level.valid():
		return fmt.Errorf("level %02X: %w", c.P1, ErrLevel)
	case len(c.Data) != 2*l.n:
		return fmt.Errorf("%w: %d bytes, want %d", ErrHandshake, len(c.Data), 2*l.n)
	}
	data, mac := c.Data[:l.n], c.Data[l.n:]
	if !equal(data, l.keys.cryptogram(deriveHost, r.hostCard, l.n)) {
		return fmt.Errorf("host: %w", ErrCryptogram)
	}
	copy(r.in[:], data)
	l.commandMAC(&c, r.in[:len(data)])
	if !equal(mac, l.chain[:l.n]) {
		return ErrMAC
	}
	l.level = level
	return nil
}

// Level is the level of the open session; 0 if there is none.
func (r *Responder) Level() Level {
	if s := r.state.get(); s != nil && s.open {
		return s.link.level
	}
	return 0
}

// Unwrap checks a command and returns it in plain, valid until the next call.
// Its class has no secure messaging bits and keeps its logical channel. An
// error ends the session; the card answers 6982. A command that carries no
// secure messaging is refused like any with a wrong MAC.
func (r *Responder) Unwrap(cmd []byte) (uicc.Command, error) {
	s := r.state.get()
	if s == nil || !s.open {
		return uicc.Command{}, fmt.Errorf("scp: %w", ErrClosed)
	}
	c, err := s.unwrap(cmd)
	if err != nil {
		r.Close()
		return uicc.Command{}, fmt.Errorf("scp: %w", err)
	}
	return c, nil
}

func (r *responder) unwrap(b []byte) (uicc.Command, error) {
	c, err := uicc.ParseCommand(b)
	if err != nil {
		return c, err
	}
	l := &r.link
	if c.CLA&claFurther != 0 || c.CLA&claSecure != 0x04 || len(c.Data) < l.n {
		return c, ErrMAC
	}
	end := len(c.Data) - l.n
	data := append(r.in[:0], c.Data[:end]...)
	l.commandMAC(&c, data)
	if !equal(c.Data[end:], l.chain[:l.n]) {
		return c, ErrMAC
	}
	l.counter++
	c.CLA &^= claSecure
	c.Data = data
	if l.level&CDEC == 0 || len(data) == 0 {
		return c, nil
	}
	if len(data)%16 != 0 {
		return c, fmt.Errorf("%w: %d bytes of encrypted data, want a multiple of 16", ErrMAC, len(data))
	}
	l.setIV(0, l.counter)
	decryptCBC(l.keys.enc, &l.iv, data)
	plain, ok := unpad(data)
	if !ok {
		return c, fmt.Errorf("%w: padding of the command data", ErrMAC)
	}
	c.Data = plain
	return c, nil
}

// Wrap protects the response to the command that was last unwrapped: data and
// two status bytes. It appends to dst, which may be resp[:0]. An error status
// goes out as it is, without data (Amendment D, 6.2.5). It wants at most 239
// bytes of data, 223 for S16, so that the result fits a short response.
func (r *Responder) Wrap(dst, resp []byte) []byte {
	start, sw := len(dst), uicc.Response(resp).SW()
	dst = append(dst, resp...)
	if r.Level()&RMAC == 0 || len(resp) < 2 {
		return dst
	}
	l := &r.state.get().link
	dst = dst[:len(dst)-2]
	if protected(sw) {
		if l.level&RENC != 0 && len(dst) > start {
			dst = pad(dst, start)
			l.setIV(0x80, l.counter)
			encryptCBC(l.keys.enc, &l.iv, dst[start:])
		}
		dst = append(dst, l.responseMAC(&l.chain, dst[start:], sw)...)
	} else {
		dst = dst[:start]
	}
	return append(dst, byte(sw>>8), byte(sw))
}

// Close ends the session, if there is one, and drops its keys.
func (r *Responder) Close() {
	if s := r.state.get(); s != nil {
		s.session.Close()
		*s = responder{}
	}
	r.state = nil
}
