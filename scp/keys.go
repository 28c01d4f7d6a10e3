package scp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
)

// A KeySet is a static key set in the clear: the card's own side, and keys on
// their way to a card. It cannot be printed, marshalled or compared. The zero
// value refuses everything.
type KeySet struct {
	unprintable
	secret hidden[keySet]
}

type keySet struct{ enc, mac, dek []byte }

// NewKeySet copies three AES keys of one length: 16, 24 or 32 bytes.
func NewKeySet(enc, mac, dek []byte) (KeySet, error) {
	switch len(enc) {
	case 16, 24, 32:
	default:
		return KeySet{}, fmt.Errorf("scp: AES key has %d bytes, want 16, 24 or 32", len(enc))
	}
	if len(mac) != len(enc) || len(dek) != len(enc) {
		return KeySet{}, fmt.Errorf("scp: keys have %d, %d and %d bytes, want one length", len(enc), len(mac), len(dek))
	}
	n := len(enc)
	all := make([]byte, 3*n)
	k := &keySet{enc: all[:n:n], mac: all[n : 2*n : 2*n], dek: all[2*n:]}
	copy(k.enc, enc)
	copy(k.mac, mac)
	copy(k.dek, dek)
	return KeySet{secret: hide(k)}, nil
}

// SessionKeys implements Static.
func (s KeySet) SessionKeys(hostCard []byte) (*SessionKeys, error) {
	ks, err := s.keys()
	if err != nil {
		return nil, err
	}
	if len(hostCard) != 16 && len(hostCard) != 32 {
		return nil, fmt.Errorf("scp: challenges have %d bytes together, want 16 or 32", len(hostCard))
	}
	enc, err := aes.NewCipher(ks.enc)
	if err != nil {
		return nil, err
	}
	mac, err := aes.NewCipher(ks.mac)
	if err != nil {
		return nil, err
	}
	n := len(ks.enc)
	k := &sessionKeys{
		enc: session(enc, deriveENC, hostCard, n),
	}
	k.mac.init(session(mac, deriveMAC, hostCard, n))
	k.rmac.init(session(mac, deriveRMAC, hostCard, n))
	return &SessionKeys{secret: hide(k)}, nil
}

// Data derivation constants (Amendment D, 4.1.5, table 4-1).
const (
	deriveCard      = 0x00
	deriveHost      = 0x01
	deriveChallenge = 0x02
	deriveENC       = 0x04
	deriveMAC       = 0x06
	deriveRMAC      = 0x07
)

func session(b cipher.Block, constant byte, hostCard []byte, n int) cipher.Block {
	key := derive(b, constant, hostCard, n)
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // n is the length of an AES key
	}
	return block
}

func derive(b cipher.Block, constant byte, context []byte, n int) []byte {
	label := [12]byte{11: constant}
	return KDF(b, label[:], context, n)
}

// Challenge is the pseudo-random card challenge of n bytes, 8 or 16, for a
// sequence counter and the application's AID (Amendment D, 6.2.2.1).
func (s KeySet) Challenge(sequence uint32, aid []byte, n int) ([]byte, error) {
	ks, err := s.keys()
	if err != nil {
		return nil, err
	}
	if sequence > 0xFFFFFF || n != 8 && n != 16 {
		return nil, fmt.Errorf("scp: challenge of %d bytes for counter %d, want 8 or 16 bytes, counter of 3 bytes", n, sequence)
	}
	b, err := aes.NewCipher(ks.enc)
	if err != nil {
		return nil, err
	}
	context := binary.BigEndian.AppendUint32(nil, sequence)[1:]
	return derive(b, deriveChallenge, append(context, aid...), n), nil
}

// SealKey implements Static.
func (s KeySet) SealKey(dst, key []byte) ([]byte, error) {
	b, err := s.dek(key)
	if err != nil {
		return nil, err
	}
	start := len(dst)
	dst = append(dst, key...)
	encryptCBC(b, new([16]byte), dst[start:])
	return dst, nil
}

// OpenKey decrypts what SealKey made and appends it to dst: the card's side.
func (s KeySet) OpenKey(dst, sealed []byte) ([]byte, error) {
	b, err := s.dek(sealed)
	if err != nil {
		return nil, err
	}
	start := len(dst)
	dst = append(dst, sealed...)
	decryptCBC(b, new([16]byte), dst[start:])
	return dst, nil
}

func (s KeySet) dek(text []byte) (cipher.Block, error) {
	ks, err := s.keys()
	if err != nil {
		return nil, err
	}
	if len(text)%16 != 0 || len(text) == 0 {
		return nil, fmt.Errorf("scp: key data has %d bytes, want a multiple of 16", len(text))
	}
	return aes.NewCipher(ks.dek)
}

// Reveal appends ENC, MAC and DEK to dst, in this order: how a software card
// writes its keys to its own memory, and a chip maker to the chip. The keys
// are of one length.
func (s KeySet) Reveal(dst []byte) ([]byte, error) {
	ks, err := s.keys()
	if err != nil {
		return nil, err
	}
	dst = append(dst, ks.enc...)
	dst = append(dst, ks.mac...)
	return append(dst, ks.dek...), nil
}

// Close wipes the keys. Every copy of the KeySet refuses from then on.
func (s KeySet) Close() {
	if ks := s.secret.get(); ks != nil {
		clear(ks.enc)
		clear(ks.mac)
		clear(ks.dek)
		*ks = keySet{}
	}
}

func (s KeySet) keys() (*keySet, error) {
	ks := s.secret.get()
	if ks == nil || ks.enc == nil {
		return nil, ErrClosed
	}
	return ks, nil
}

// SessionKeys are the keys of one session. They cannot be printed, marshalled
// or compared. The zero value refuses.
//
// Only ciphers are kept, no key bytes. Close drops them: the standard library
// has no way to wipe an expanded key, the collector takes it.
type SessionKeys struct {
	unprintable
	secret hidden[sessionKeys]
}

type sessionKeys struct {
	enc       cipher.Block
	mac, rmac cmac
}

func (s *SessionKeys) keys() (*sessionKeys, error) {
	if s == nil {
		return nil, ErrClosed
	}
	k := s.secret.get()
	if k == nil || k.enc == nil {
		return nil, ErrClosed
	}
	return k, nil
}

// cryptogram is the card's or host's proof of the keys (Amendment D, 6.2.2).
func (k *sessionKeys) cryptogram(constant byte, hostCard []byte, n int) []byte {
	return derive(k.mac.block, constant, hostCard, n)
}

// Close drops the keys.
func (s *SessionKeys) Close() {
	if k, err := s.keys(); err == nil {
		*k = sessionKeys{}
	}
}

// encryptCBC encrypts p, whole blocks, in place; iv ends as the last block.
func encryptCBC(b cipher.Block, iv *[16]byte, p []byte) {
	prev := iv[:]
	for ; len(p) >= 16; p = p[16:] {
		block := p[:16]
		subtle.XORBytes(block, block, prev)
		b.Encrypt(block, block)
		prev = block
	}
}

// decryptCBC decrypts p, whole blocks, in place. It goes backwards, so that
// each block's predecessor is still encrypted when it is needed.
func decryptCBC(b cipher.Block, iv *[16]byte, p []byte) {
	for i := len(p) - 16; i >= 0; i -= 16 {
		prev := iv[:]
		if i > 0 {
			prev = p[i-16 : i]
		}
		b.Decrypt(p[i:i+16], p[i:i+16])
		subtle.XORBytes(p[i:i+16], p[i:i+16], prev)
	}
}
