// Package aka is authentication and key agreement between a card and its home
// network (TS 33.102): MILENAGE, authentication vectors, tokens, sequence
// numbers, resynchronisation, and the way down to GSM. It has no IO, no clock
// and no random source: the caller gives RAND.
package aka

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"ankan/sim"
)

// Errors that callers branch on.
var (
	// ErrMAC: the token was not made with this key, or was changed on its way.
	ErrMAC = errors.New("the MAC is wrong")
	// ErrSync: the sequence number is not fresh; the card answers with AUTS.
	ErrSync = errors.New("the sequence number is not accepted")
	// ErrRES: the card's response is not the expected one.
	ErrRES = errors.New("the response is not the expected one")
)

// An Algorithm is an authentication algorithm set by name. Its zero value is none.
type Algorithm string

// MILENAGE is the algorithm set of TS 35.206.
const MILENAGE Algorithm = "MILENAGE"

// ParseAlgorithm knows the algorithms that a card or a subscriber may have. The
// names of others are refused with the reason.
func ParseAlgorithm(name string) (Algorithm, error) {
	var why string
	switch {
	case name == string(MILENAGE):
		return MILENAGE, nil
	case name == "XOR":
		why = "it is the test algorithm of TS 34.108 and shows the key to who listens"
	case name == "TUAK":
		why = "this version has no TUAK; use MILENAGE"
	case strings.HasPrefix(name, "COMP128"):
		why = "it is broken: the key can be found from its answers"
	default:
		return "", fmt.Errorf("algorithm is %q, want %s", name, MILENAGE)
	}
	return "", fmt.Errorf("algorithm %s is refused: %s", name, why)
}

// A RAND is the network's challenge: 16 random bytes.
type RAND [16]byte

// An AMF is the authentication management field (TS 33.102, annex H).
type AMF [2]byte

// EPS is the AMF for LTE and 5G: the separation bit is set (TS 33.401, 6.1.1).
// Cards take such vectors in UMTS as well.
func EPS() AMF { return AMF{0x80, 0x00} }

// An AUTN is the network's token: SQN xor AK, AMF, MAC-A (TS 33.102, 6.3.2).
type AUTN [16]byte

// AMF is the field in the token.
func (a AUTN) AMF() AMF { return AMF(a[6:8]) }

// An AUTS is the card's token for resynchronisation: SQN xor AK*, MAC-S
// (TS 33.102, 6.3.3).
type AUTS [14]byte

// Session is what both sides know after a challenge: RES and the session keys.
// It is secret (see sim.Hidden), but lies in the open in memory, for it is made
// a million times a second and used once: do not keep one in a field.
type Session struct {
	sim.Hidden
	RES    [8]byte
	CK, IK [16]byte
}

// Vector is an authentication vector of the home network (TS 33.102, 6.3.2).
// The RES of its Session is XRES, which only the card can know as well.
type Vector struct {
	RAND RAND
	AUTN AUTN
	Session
}

// Verify compares the card's response in constant time. It returns ErrRES.
func (s *Session) Verify(res []byte) error {
	if subtle.ConstantTimeCompare(s.RES[:], res) != 1 {
		return ErrRES
	}
	return nil
}

// SRES is the response for GSM (c2 of TS 33.102, 6.8.1.2).
func (s *Session) SRES() [4]byte {
	var sres [4]byte
	for i := range sres {
		sres[i] = s.RES[i] ^ s.RES[i+4]
	}
	return sres
}

// Kc is the ciphering key for GSM (c3 of TS 33.102, 6.8.1.2).
func (s *Session) Kc() [8]byte {
	var kc [8]byte
	for i := range kc {
		kc[i] = s.CK[i] ^ s.CK[i+8] ^ s.IK[i] ^ s.IK[i+8]
	}
	return kc
}
