// Package aka is authentication and key agreement between a card and its home
// network (TS 33.102): the algorithm sets MILENAGE, TUAK and XOR, authentication
// vectors, tokens, sequence numbers, resynchronisation, and the way down to GSM.
// It has no IO, no clock and no random source: the caller gives RAND and, where
// a waiver is judged, the time.
package aka

import (
	"crypto/subtle"
	"errors"

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

// A Set is an authentication algorithm set with one subscriber's keys: all that
// a home network and a card need of it. One goroutine uses it at a time. It is
// secret (see sim.Hidden). Milenage is one; Parameters.Open opens any.
type Set interface {
	// Vector is the home network's vector for this challenge. RAND must be
	// random and never given twice with one SQN; SQN must never be given twice.
	Vector(rand RAND, sqn SQN, amf AMF) Vector
	// Answer is the card's side of a challenge: it checks the token and returns
	// its sequence number, which a Window must still accept, and the session.
	// It returns ErrMAC for a token that this key did not make.
	Answer(rand RAND, autn AUTN) (SQN, Session, error)
	// AUTS is the card's token that tells the network the highest sequence
	// number that it accepted. Its AMF is zero (TS 33.102, 6.3.3).
	AUTS(rand RAND, highest SQN) AUTS
	// Resync is the network's side of AUTS: the card's highest sequence number.
	// It returns ErrMAC for a token that this key did not make for this challenge.
	Resync(rand RAND, auts AUTS) (SQN, error)
	// Session is f2, f3, f4 and f5: RES, CK, IK, and the anonymity key AK, 48 bits.
	Session(rand RAND) (s Session, ak uint64)
	// Triplet is the answer to a GSM challenge: SRES and Kc (TS 33.102, 6.8.1.2).
	Triplet(rand RAND) (sres [4]byte, kc [8]byte)
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
	res, ck, ik    [32]byte
	nRES, nCK, nIK uint8
}

// RES is the response, 4 to 32 bytes; MILENAGE's has 8. The slice lies in s.
func (s *Session) RES() []byte { return s.res[:s.nRES] }

// CK is the cipher key, 16 bytes, or 32 of TUAK. The slice lies in s.
func (s *Session) CK() []byte { return s.ck[:s.nCK] }

// IK is the integrity key, 16 bytes, or 32 of TUAK. The slice lies in s.
func (s *Session) IK() []byte { return s.ik[:s.nIK] }

// AppendAnswer appends what a card answers to AUTHENTICATE: DB, then RES, CK and
// IK, each with its length (TS 31.102, 7.1.2.1). Kc may follow on a card.
func (s *Session) AppendAnswer(dst []byte) []byte {
	dst = append(dst, 0xDB)
	for _, part := range [][]byte{s.RES(), s.CK(), s.IK()} {
		dst = append(append(dst, byte(len(part))), part...)
	}
	return dst
}

// Vector is an authentication vector of the home network (TS 33.102, 6.3.2).
// The RES of its Session is XRES, which only the card can know as well.
type Vector struct {
	RAND RAND
	AUTN AUTN
	Session
}

// Verify compares the card's response in constant time. It returns ErrRES. The
// zero Session takes none.
func (s *Session) Verify(res []byte) error {
	if s.nRES == 0 || subtle.ConstantTimeCompare(s.RES(), res) != 1 {
		return ErrRES
	}
	return nil
}

// SRES is the response for GSM: the words of RES added (c2 of TS 33.102,
// 6.8.1.2, which knows up to four; those of a RES of 256 bits are added alike).
func (s *Session) SRES() [4]byte {
	var sres [4]byte
	for i, b := range s.RES() {
		sres[i%4] ^= b
	}
	return sres
}

// Kc is the ciphering key for GSM: the halves of CK and IK added (c3 of
// TS 33.102, 6.8.1.2; the quarters of a key of 256 bits).
func (s *Session) Kc() [8]byte {
	var kc [8]byte
	for i, b := range s.CK() {
		kc[i%8] ^= b
	}
	for i, b := range s.IK() {
		kc[i%8] ^= b
	}
	return kc
}
