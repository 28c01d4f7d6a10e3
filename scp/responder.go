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

// A Responder is the card's end of SCP03 or SCP02. It draws nothing and knows no time:
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
	open     bool   // EXTERNAL AUTHENTICATE succeeded
	expected []byte // the host's cryptogram, until then
	in       [255]byte

	desSession *DESSessionKeys
	des        *desLink // SCP02, in the place of link
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
	r.state = hide(&responder{session: s, expected: k.cryptogram(deriveHost, hostCard, n), link: link{keys: k, n: n}})

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
	s.open, s.expected = true, nil
	return nil
}

func (r *responder) authenticate(b []byte) error {
	c, err := uicc.ParseCommand(b)
	if err != nil {
		return err
	}
	level, n := Level(c.P1), r.macLen()
	switch {
	case c.CLA&^claChannel != 0x84 || c.INS != 0x82 || c.P2 != 0:
		return fmt.Errorf("%w: command %02X %02X %02X %02X", ErrHandshake, c.CLA, c.INS, c.P1, c.P2)
	case !level.valid() || r.des != nil && level&RENC != 0:
		return fmt.Errorf("level %02X: %w", c.P1, ErrLevel)
	case len(c.Data) != 2*n:
		return fmt.Errorf("%w: %d bytes, want %d", ErrHandshake, len(c.Data), 2*n)
	}
	data, mac := c.Data[:n], c.Data[n:]
	if !equal(data, r.expected) {
		return fmt.Errorf("host: %w", ErrCryptogram)
	}
	copy(r.in[:], data)
	if !equal(mac, r.commandMAC(&c, r.in[:n])) {
		return ErrMAC
	}
	if r.des != nil {
		r.des.start(level)
	}
	r.link.level = level
	return nil
}

// commandMAC chains a command with the data that its MAC covers.
func (r *responder) commandMAC(c *uicc.Command, data []byte) []byte {
	if r.des != nil {
		r.des.sent = r.des.sent[:0]
		r.des.commandMAC(c, data)
		return r.des.chain[:]
	}
	r.link.commandMAC(c, data)
	return r.link.chain[:r.link.n]
}

func (r *responder) macLen() int {
	if r.des != nil {
		return desMACLen
	}
	return r.link.n
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
	if c.CLA&claFurther != 0 || c.CLA&claSecure != 0x04 || len(c.Data) < r.macLen() {
		return c, ErrMAC
	}
	end := len(c.Data) - r.macLen()
	data, mac := append(r.in[:0], c.Data[:end]...), c.Data[end:]
	encrypted := r.link.level&CDEC != 0 && len(data) > 0
	// SCP03 has its MAC over what was encrypted, SCP02 over the plain data.
	if r.des != nil && encrypted {
		if data, err = r.decrypt(data, 8); err != nil {
			return c, err
		}
	}
	if !equal(mac, r.commandMAC(&c, data)) {
		return c, ErrMAC
	}
	r.link.counter++
	if r.des == nil && encrypted {
		if data, err = r.decrypt(data, 16); err != nil {
			return c, err
		}
	}
	c.CLA &^= claSecure
	c.Data = data
	return c, nil
}

// decrypt decrypts command data in place and takes its padding off.
func (r *responder) decrypt(data []byte, block int) ([]byte, error) {
	if len(data)%block != 0 {
		return nil, fmt.Errorf("%w: %d bytes of encrypted data, want a multiple of %d", ErrMAC, len(data), block)
	}
	if r.des != nil {
		r.des.decrypt(data)
	} else {
		r.link.setIV(0, r.link.counter)
		decryptCBC(r.link.keys.enc, &r.link.iv, data)
	}
	plain, ok := unpad(data, block)
	if !ok {
		return nil, fmt.Errorf("%w: padding of the command data", ErrMAC)
	}
	return plain, nil
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
	s := r.state.get()
	l := &s.link
	dst = dst[:len(dst)-2]
	if protected(sw) && s.des != nil {
		dst = append(dst, s.des.responseMAC(dst[start:], sw)...)
	} else if protected(sw) {
		if l.level&RENC != 0 && len(dst) > start {
			dst = pad(dst, start, 16)
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
		s.desSession.Close()
		*s = responder{}
	}
	r.state = nil
}
