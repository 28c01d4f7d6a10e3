// Package gp is GlobalPlatform's card content management as data: commands
// that load, install, delete and personalise, and what cards answer to them;
// CAP files; signatures and tokens; the diversification of card keys. It has
// no reader, no clock and no log.
//
// Clauses are those of GlobalPlatform Card Specification v2.3.1, unless another
// document is named. Commands come in plain: send them through a secure
// channel (package scp).
package gp

import (
	"errors"
	"fmt"

	"ankan/uicc"
)

// Errors that callers branch on.
var (
	// ErrCommand: a command cannot be made of what was given.
	ErrCommand = errors.New("card management command is not possible")
	// ErrData: what a card answered, or a file, is malformed.
	ErrData = errors.New("malformed card management data")
	// ErrSignature: a signature, token, receipt or check value is wrong.
	ErrSignature = errors.New("signature is wrong")
)

// insDelete and insInstall are instruction bytes of class 80 (11.2, 11.5).
const (
	cla        = 0x80
	insDelete  = 0xE4
	insInstall = 0xE6
)

// block is the most data of one command: it still fits a short APDU under
// every level of SCP03 in its S16 mode, and of SCP02.
const block = 223

// CheckAID refuses what is no AID: 5 to 16 bytes (ISO/IEC 7816-5, 8.2). The
// error wraps ErrCommand.
func CheckAID(aid []byte) error {
	if len(aid) < 5 || len(aid) > 16 {
		return fmt.Errorf("gp: AID %X has %d bytes, want 5..16: %w", aid, len(aid), ErrCommand)
	}
	return nil
}

func checkAIDs(aids ...[]byte) error {
	for _, a := range aids {
		if err := CheckAID(a); err != nil {
			return err
		}
	}
	return nil
}

// appendLV appends a length, coded as in BER-TLV, and the value.
func appendLV(dst, value []byte) []byte {
	switch n := len(value); {
	case n < 0x80:
		dst = append(dst, byte(n))
	case n < 0x100:
		dst = append(dst, 0x81, byte(n))
	default:
		dst = append(dst, 0x82, byte(n>>8), byte(n))
	}
	return append(dst, value...)
}

// readLV is the other way.
func readLV(b []byte) (value, rest []byte, err error) {
	// A length stands alone: a tag before it lets one reader do for both.
	t, rest, err := uicc.ReadTLV(append([]byte{0x01}, b...))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", err, ErrData)
	}
	return t.Value, rest, nil
}
