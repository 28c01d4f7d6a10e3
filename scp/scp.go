// Package scp holds the secure channels between an off-card entity and a card:
// SCP03 (GlobalPlatform Amendment D) on both sides of the wire, in its S8 and
// S16 modes, with AES-128, AES-192 and AES-256; SCP02 (GlobalPlatform Card
// Specification, annex E), which rests on DES and is refused unless it is asked
// for; and secured packets over the air, SCP80 (ETSI TS 102 225, TS 102 226,
// 3GPP TS 31.115). It has no reader, no clock and no log.
//
// SCP03 has explicit initiation alone; of SCP02 the explicit one is spoken.
//
// A Channel is our side; a Responder is the card's. PacketKeys seal and open
// what goes both ways over the air. Clauses are those of
// GlobalPlatform Card Technology, Secure Channel Protocol '03', Card
// Specification v2.3 - Amendment D, unless another document is named.
package scp

import "errors"

// A Static is a static key set of a secure channel, wherever it lies: in the
// clear on the card's own side, inside a security module on ours. It gives
// away session keys and keys under the data encryption key, never itself.
type Static interface {
	// SessionKeys derives the keys of one session (Amendment D, 6.2.1) from
	// the host challenge followed by the card challenge.
	SessionKeys(hostCard []byte) (*SessionKeys, error)
	// SealKey encrypts key under the data encryption key, AES-CBC with a zero
	// IV as PUT KEY and STORE DATA carry it (Amendment D, 7.2), and appends
	// it to dst. The length of key is a multiple of 16.
	SealKey(dst, key []byte) ([]byte, error)
}

// A Level says what a session protects (Amendment D, 7.1.2, parameter P1 of
// EXTERNAL AUTHENTICATE).
type Level byte

// The parts of a Level.
const (
	CMAC Level = 0x01 // commands carry a MAC
	CDEC Level = 0x02 // command data is encrypted
	RMAC Level = 0x10 // responses carry a MAC
	RENC Level = 0x20 // response data is encrypted
)

// The levels that we ask for.
const (
	Commands = CMAC | CDEC            // writing: nothing secret comes back
	Full     = Commands | RMAC | RENC // both ways
)

// valid says whether the specification knows the level. It has no level with
// encryption and without its MAC. Level 00 authenticates and then protects
// nothing; we refuse it.
func (l Level) valid() bool {
	switch l {
	case CMAC, CMAC | CDEC, CMAC | RMAC, CMAC | CDEC | RMAC, Full:
		return true
	}
	return false
}

// Errors that callers branch on.
var (
	// ErrCryptogram: the other side does not hold our static keys.
	ErrCryptogram = errors.New("cryptogram is wrong: the other side holds other keys")
	// ErrRMAC: a response is not the card's answer to our command. The channel
	// is closed; what the card did is unknown.
	ErrRMAC = errors.New("response MAC is wrong")
	// ErrMAC: a command is not what the host sent, or not in its place. The
	// session is closed; the card answers 6982.
	ErrMAC = errors.New("command MAC is wrong")
	// ErrClosed: no session is open, or it was ended.
	ErrClosed = errors.New("secure channel is closed")
	// ErrTooLong: a command does not fit a short APDU once it is wrapped.
	// Nothing was sent; see MaxData.
	ErrTooLong = errors.New("command is too long for the secure channel")
	// ErrClass: the class byte names another logical channel than the
	// session's, or claims secure messaging already. Nothing was sent.
	ErrClass = errors.New("class byte does not fit the secure channel")
	// ErrLevel: the level is none, or the card cannot do it.
	ErrLevel = errors.New("security level is not possible")
	// ErrHandshake: an answer or command of the handshake is malformed.
	ErrHandshake = errors.New("malformed handshake")
	// ErrOld: what is asked for rests on DES, and the options do not say that
	// this is wanted.
	ErrOld = errors.New("it rests on DES, which is old: say in the options that DES is wanted, or use AES")
)

// MaxData is the longest command data, in bytes, that fits a short APDU under
// the level. Encryption pads to 16 bytes; S16 has MACs of 16 bytes, S8 of 8.
func MaxData(l Level, s16 bool) int {
	room := 255 - macLen(s16)
	if l&CDEC != 0 {
		return room/16*16 - 1
	}
	return room
}

func macLen(s16 bool) int {
	if s16 {
		return 16
	}
	return 8
}
