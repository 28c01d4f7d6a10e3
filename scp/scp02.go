package scp

import (
	"crypto/cipher"
	"crypto/des"
	"crypto/subtle"
	"encoding/binary"
	"fmt"

	"ankan/uicc"
)

// A DESStatic is a Static that can also speak SCP02 (GlobalPlatform Card
// Specification v2.3.1, annex E): a key set of triple DES.
type DESStatic interface {
	Static
	// DESSessionKeys derives the keys of the session with this sequence
	// counter (E.4.1).
	DESSessionKeys(sequence uint16) (*DESSessionKeys, error)
}

// A DESKeySet is a static key set of SCP02 in the clear: three keys of triple
// DES, 16 bytes each. It cannot be printed, marshalled or compared. The zero
// value refuses everything.
type DESKeySet struct {
	unprintable
	secret hidden[keySet]
}

// NewDESKeySet copies three keys of 16 bytes. Keys whose two parts are equal
// are refused.
func NewDESKeySet(enc, mac, dek []byte) (DESKeySet, error) {
	all := make([]byte, 0, 48)
	for _, key := range [][]byte{enc, mac, dek} {
		if len(key) != 16 {
			return DESKeySet{}, fmt.Errorf("scp: SCP02 key has %d bytes, want 16", len(key))
		}
		if _, err := tripleDES(key); err != nil {
			return DESKeySet{}, fmt.Errorf("scp: SCP02: %w", err)
		}
		all = append(all, key...)
	}
	return DESKeySet{secret: hide(&keySet{enc: all[:16:16], mac: all[16:32:32], dek: all[32:]})}, nil
}

func (s DESKeySet) keys() (*keySet, error) { return KeySet{secret: s.secret}.keys() }

// SessionKeys refuses: these are not keys of SCP03.
func (s DESKeySet) SessionKeys([]byte) (*SessionKeys, error) {
	return nil, fmt.Errorf("scp: keys of triple DES, and SCP03 wants AES")
}

// SealKey refuses: SCP02 seals keys under a session's key. See
// Channel.SealKey.
func (s DESKeySet) SealKey([]byte, []byte) ([]byte, error) {
	return nil, fmt.Errorf("scp: SCP02 seals keys inside a session: ask its channel")
}

// Reveal appends ENC, MAC and DEK to dst, as KeySet.Reveal does.
func (s DESKeySet) Reveal(dst []byte) ([]byte, error) { return KeySet{secret: s.secret}.Reveal(dst) }

// Close wipes the keys. Every copy of the DESKeySet refuses from then on.
func (s DESKeySet) Close() { KeySet{secret: s.secret}.Close() }

// Derivation constants (E.4.1).
const (
	deriveDESMAC  = 0x0101
	deriveDESRMAC = 0x0102
	deriveDESDEK  = 0x0181
	deriveDESENC  = 0x0182
)

// DESSessionKeys implements DESStatic.
func (s DESKeySet) DESSessionKeys(sequence uint16) (*DESSessionKeys, error) {
	ks, err := s.keys()
	if err != nil {
		return nil, err
	}
	k := new(desSession)
	for _, d := range []struct {
		from     []byte
		constant uint16
		to       *cipher.Block
		single   *cipher.Block
	}{
		{ks.enc, deriveDESENC, &k.enc, nil},
		{ks.mac, deriveDESMAC, &k.mac.last, &k.mac.block},
		{ks.mac, deriveDESRMAC, &k.rmac.last, &k.rmac.block},
		{ks.dek, deriveDESDEK, &k.dek, nil},
	} {
		if err := deriveDES(d.from, d.constant, sequence, d.to, d.single); err != nil {
			return nil, err
		}
	}
	return &DESSessionKeys{secret: hide(k)}, nil
}

func deriveDES(from []byte, constant, sequence uint16, to, single *cipher.Block) error {
	static, err := tripleDES(from)
	if err != nil {
		return err
	}
	var key [24]byte
	defer clear(key[:])
	binary.BigEndian.PutUint16(key[:], constant)
	binary.BigEndian.PutUint16(key[2:], sequence)
	static.Encrypt(key[:8], key[:8])
	copy(key[8:], key[:8])
	static.Encrypt(key[8:16], key[8:16])
	copy(key[16:], key[:8])
	if *to, err = des.NewTripleDESCipher(key[:]); err == nil && single != nil {
		*single, err = des.NewCipher(key[:8])
	}
	return err
}

// Challenge is the card challenge of six bytes for a sequence counter and the
// application's AID, where the card makes it by the well-known algorithm, as
// with i = 55 (E.4.2.3).
func (s DESKeySet) Challenge(sequence uint16, aid []byte) ([]byte, error) {
	keys, err := s.DESSessionKeys(sequence)
	if err != nil {
		return nil, err
	}
	m := &keys.secret.get().mac
	m.reset([8]byte{})
	m.write(aid)
	sum := m.sum()
	return sum[:6], nil
}

// DESSessionKeys are the keys of one session of SCP02. They cannot be printed,
// marshalled or compared. The zero value refuses.
type DESSessionKeys struct {
	unprintable
	secret hidden[desSession]
}

type desSession struct {
	enc, dek  cipher.Block
	mac, rmac desMAC
}

func (s *DESSessionKeys) keys() (*desSession, error) {
	if s == nil {
		return nil, ErrClosed
	}
	k := s.secret.get()
	if k == nil || k.enc == nil {
		return nil, ErrClosed
	}
	return k, nil
}

// Close drops the keys.
func (s *DESSessionKeys) Close() {
	if k, err := s.keys(); err == nil {
		*k = desSession{}
	}
}

// cryptogram is the proof of the keys over two halves of challenges: triple
// DES in CBC, the last block (E.4.2).
func (k *desSession) cryptogram(parts ...[]byte) []byte {
	m := desMAC{block: k.enc, last: k.enc}
	for _, p := range parts {
		m.write(p)
	}
	sum := m.sum()
	return sum[:]
}

// sealKey encrypts keys, whole blocks, under the data encryption key: triple
// DES in ECB (E.4.7).
func (k *desSession) sealKey(dst, key []byte) ([]byte, error) {
	if len(key) == 0 || len(key)%8 != 0 {
		return nil, fmt.Errorf("scp: key data has %d bytes, want a multiple of 8", len(key))
	}
	start := len(dst)
	dst = append(dst, key...)
	for b := dst[start:]; len(b) > 0; b = b[8:] {
		k.dek.Encrypt(b, b)
	}
	return dst, nil
}

// A desMAC is algorithm 3 of ISO/IEC 9797-1 with padding 80 over data that
// comes in pieces: single DES, and triple DES for the last block (B.1.2.2). It
// does not allocate.
type desMAC struct {
	block, last cipher.Block
	x           [8]byte
	n           int
}

func (m *desMAC) reset(iv [8]byte) { m.x, m.n = iv, 0 }

func (m *desMAC) write(p []byte) {
	for len(p) > 0 {
		if m.n == 8 {
			m.block.Encrypt(m.x[:], m.x[:])
			m.n = 0
		}
		k := subtle.XORBytes(m.x[m.n:], m.x[m.n:], p)
		m.n += k
		p = p[k:]
	}
}

func (m *desMAC) sum() [8]byte {
	if m.n == 8 {
		m.block.Encrypt(m.x[:], m.x[:])
		m.n = 0
	}
	m.x[m.n] ^= 0x80
	m.last.Encrypt(m.x[:], m.x[:])
	return m.x
}

// A desLink is what both ends of a session of SCP02 compute alike, with i =
// 15 or 55, and 35 or 75 where the card has response MACs: explicit
// initiation, MAC over the modified command, chained through an encrypted ICV
// (E.1.1).
type desLink struct {
	keys   *desSession
	level  Level
	chain  [8]byte // the last command MAC
	rchain [8]byte // the last response MAC
	first  bool    // no command was chained yet: the ICV is zero
	icv    [8]byte
	sent   [][]byte // commands whose answers are to come, if those have MACs
	header [5]byte
	tail   [2]byte
}

const desMACLen = 8

// commandMAC chains one command with plain data: its header with secure
// messaging and logical channel 0, its length with the MAC (E.4.4).
func (l *desLink) commandMAC(c *uicc.Command, data []byte) {
	l.icv = l.chain
	if !l.first {
		l.keys.mac.block.Encrypt(l.icv[:], l.icv[:])
	}
	l.first = false
	l.header = [5]byte{c.CLA&^(claChannel|claSecure) | 0x04, c.INS, c.P1, c.P2, byte(len(data) + desMACLen)}
	l.keys.mac.reset(l.icv)
	l.keys.mac.write(l.header[:])
	l.keys.mac.write(data)
	l.chain = l.keys.mac.sum()
	if l.level&RMAC != 0 {
		// The response MAC covers the command as it was before (E.4.5).
		l.header[0], l.header[4] = c.CLA&^(claChannel|claSecure), byte(len(data))
		l.sent = append(l.sent, append(append(make([]byte, 0, 5+len(data)), l.header[:]...), data...))
	}
}

// responseMAC chains the response to the first command that has none: the last
// response MAC, the command, the length of the response data, the data and the
// status (E.4.5).
func (l *desLink) responseMAC(data []byte, sw uicc.SW) []byte {
	l.keys.rmac.reset(l.rchain)
	l.keys.rmac.write(l.sent[0])
	l.sent = l.sent[:copy(l.sent, l.sent[1:])]
	l.tail[0] = byte(len(data))
	l.keys.rmac.write(l.tail[:1])
	l.keys.rmac.write(data)
	l.tail = [2]byte{byte(sw >> 8), byte(sw)}
	l.keys.rmac.write(l.tail[:])
	l.rchain = l.keys.rmac.sum()
	return l.rchain[:]
}

// start is the chain after EXTERNAL AUTHENTICATE.
func (l *desLink) start(level Level) {
	l.level, l.rchain = level, l.chain
}

// encrypt pads and encrypts command data, from start on: CBC with a zero ICV
// (E.4.6).
func (l *desLink) encrypt(p []byte, start int) []byte {
	p = pad(p, start, 8)
	var prev [8]byte
	for b := p[start:]; len(b) > 0; b = b[8:] {
		subtle.XORBytes(b, b, prev[:])
		l.keys.enc.Encrypt(b, b)
		copy(prev[:], b)
	}
	return p
}

func (l *desLink) decrypt(p []byte) {
	for i := len(p) - 8; i >= 0; i -= 8 {
		l.keys.enc.Decrypt(p[i:i+8], p[i:i+8])
		if i > 0 {
			subtle.XORBytes(p[i:i+8], p[i:i+8], p[i-8:i])
		}
	}
}

// openDES goes on after a card answered INITIALIZE UPDATE with SCP02.
func (g Opening) openDES(keys Static, answer []byte) (*Channel, []byte, error) {
	fail := func(what string, args ...any) (*Channel, []byte, error) {
		return nil, nil, fmt.Errorf("scp: INITIALIZE UPDATE: "+what, args...)
	}
	if !g.o.DES {
		return nil, nil, fmt.Errorf("scp: card speaks SCP02: %w", ErrOld)
	}
	static, ok := keys.(DESStatic)
	switch {
	case !ok:
		return fail("%w: card speaks SCP02, and the keys are of AES", ErrHandshake)
	case len(answer) != 28 || len(g.host) != 8:
		return fail("%w: %d bytes of SCP02, want 28", ErrHandshake, len(answer))
	case g.o.KeyVersion != 0 && answer[10] != g.o.KeyVersion:
		return fail("%w: key version %02X, want %02X", ErrHandshake, answer[10], g.o.KeyVersion)
	case g.o.Level&RENC != 0:
		return fail("level %02X: %w: SCP02 has no response encryption", byte(g.o.Level), ErrLevel)
	}
	c := &channel{static: keys, logical: g.o.Channel}
	var err error
	if c.desSession, err = static.DESSessionKeys(binary.BigEndian.Uint16(answer[12:])); err != nil {
		return nil, nil, err
	}
	k, err := c.desSession.keys()
	if err != nil {
		return nil, nil, err
	}
	card := answer[12:20]
	if !equal(answer[20:], k.cryptogram(g.host, card)) {
		c.close()
		return nil, nil, fmt.Errorf("scp: card: %w", ErrCryptogram)
	}
	c.des = &desLink{keys: k, first: true}
	auth := uicc.Command{CLA: 0x84 | g.o.Channel, INS: 0x82, P1: byte(g.o.Level)}
	auth.Data = k.cryptogram(card, g.host)
	c.des.commandMAC(&auth, auth.Data)
	auth.Data = append(auth.Data, c.des.chain[:]...)
	c.des.start(g.o.Level)
	return &Channel{state: hide(c)}, auth.Append(nil), nil
}

// wrap appends the wrapped command to dst.
func (l *desLink) wrap(dst []byte, cmd *uicc.Command) []byte {
	l.commandMAC(cmd, cmd.Data)
	start := len(dst)
	dst = append(dst, cmd.CLA|0x04, cmd.INS, cmd.P1, cmd.P2, 0)
	dst = append(dst, cmd.Data...)
	if l.level&CDEC != 0 && len(cmd.Data) > 0 {
		dst = l.encrypt(dst, start+5)
	}
	dst = append(dst, l.chain[:]...)
	dst[start+4] = byte(len(dst) - start - 5)
	if cmd.Le > 0 {
		dst = append(dst, byte(cmd.Le))
	}
	return dst
}

func (l *desLink) unwrap(data []byte, sw uicc.SW) ([]byte, error) {
	if l.level&RMAC == 0 {
		return data, nil
	}
	if len(l.sent) == 0 {
		return nil, fmt.Errorf("%w: a response to no command", ErrRMAC)
	}
	if !protected(sw) && len(data) == 0 {
		l.sent = l.sent[:copy(l.sent, l.sent[1:])]
		return data, nil // the card says no without proof
	}
	if len(data) < desMACLen {
		return nil, ErrRMAC
	}
	data, mac := data[:len(data)-desMACLen], data[len(data)-desMACLen:]
	if !equal(mac, l.responseMAC(data, sw)) {
		return nil, ErrRMAC
	}
	return data, nil
}

// InitializeDES answers INITIALIZE UPDATE as a card of SCP02 does: challenge
// of six bytes, Sequence the counter of this session, below 65536. The
// session's counter goes up with each session that was authenticated; the
// caller keeps it.
func (r *Responder) InitializeDES(dst []byte, keys DESStatic, g Greeting, hostChallenge []byte) ([]byte, error) {
	r.Close()
	if len(g.Challenge) != 6 || len(hostChallenge) != 8 {
		return nil, fmt.Errorf("scp: INITIALIZE UPDATE: %w: challenges of %d and %d bytes, want 8 and 6", ErrHandshake, len(hostChallenge), len(g.Challenge))
	}
	if g.Sequence > 0xFFFF {
		return nil, fmt.Errorf("scp: INITIALIZE UPDATE: %w: sequence counter is used up", ErrHandshake)
	}
	s, err := keys.DESSessionKeys(uint16(g.Sequence))
	if err != nil {
		return nil, err
	}
	k, err := s.keys()
	if err != nil {
		return nil, err
	}
	card := append(binary.BigEndian.AppendUint16(nil, uint16(g.Sequence)), g.Challenge...)
	r.state = hide(&responder{
		desSession: s,
		des:        &desLink{keys: k, first: true},
		expected:   k.cryptogram(card, hostChallenge),
	})
	dst = append(dst, g.Diversification[:]...)
	dst = append(dst, g.KeyVersion, 2)
	dst = append(dst, card...)
	return append(dst, k.cryptogram(hostChallenge, card)...), nil
}

// OpenKey decrypts what a host sealed with Channel.SealKey in a session of
// SCP02, and appends it to dst: the card's side.
func (r *Responder) OpenKey(dst, sealed []byte) ([]byte, error) {
	s := r.state.get()
	if s == nil || !s.open || s.des == nil {
		return nil, fmt.Errorf("scp: %w", ErrClosed)
	}
	if len(sealed) == 0 || len(sealed)%8 != 0 {
		return nil, fmt.Errorf("scp: key data has %d bytes, want a multiple of 8", len(sealed))
	}
	start := len(dst)
	dst = append(dst, sealed...)
	for b := dst[start:]; len(b) > 0; b = b[8:] {
		s.des.keys.dek.Decrypt(b, b)
	}
	return dst, nil
}

// NewDESMAC gives the MAC of GlobalPlatform over whole messages under a key of
// 16 bytes: single DES in CBC, triple DES for the last block, padding 80, ICV
// zero (GlobalPlatform Card Specification, B.1.2.2). Many goroutines may use
// it.
func NewDESMAC(key []byte) (func(message []byte) [8]byte, error) {
	if len(key) != 16 {
		return nil, fmt.Errorf("scp: key of a DES MAC has %d bytes, want 16", len(key))
	}
	last, err := tripleDES(key)
	if err != nil {
		return nil, fmt.Errorf("scp: %w", err)
	}
	single, err := des.NewCipher(key[:8])
	if err != nil {
		return nil, err
	}
	return func(message []byte) [8]byte {
		m := desMAC{block: single, last: last}
		m.write(message)
		return m.sum()
	}, nil
}
