// Package uicc speaks a UICC's language: command and response APDUs (ISO/IEC
// 7816-4, ETSI TS 102 221), BER-TLV, file control parameters, access rules and
// the contents of elementary files. It has no reader, no clock and no log.
package uicc

import (
	"context"
	"errors"
	"fmt"
)

// A Card answers commands. A contact reader, a secure channel, a remote
// station and the software card are all Cards.
//
// Transmit sends one command APDU (short form, at most 261 bytes) and returns
// the response data followed by the two status bytes. An error means that no
// answer came: the state of the card is then unknown. A status word that is
// not 9000 is an answer, not an error. The card does not keep cmd; the caller
// may use the response only until the next Transmit. A Card is used by one
// goroutine at a time.
type Card interface {
	Transmit(ctx context.Context, cmd []byte) ([]byte, error)
}

// A Command is a command APDU in short form (ISO/IEC 7816-4, 5.1).
type Command struct {
	CLA, INS, P1, P2 byte
	Data             []byte // at most 255 bytes
	Le               int    // NoLe, or 1..256 bytes wanted
}

// NoLe is the Le of a command that wants no response data.
const NoLe = 0

// Append appends the encoded command to dst.
func (c Command) Append(dst []byte) []byte {
	if len(c.Data) > 255 || c.Le < 0 || c.Le > 256 {
		panic(fmt.Sprintf("uicc: command %02X%02X has %d bytes of data and Le %d", c.CLA, c.INS, len(c.Data), c.Le))
	}
	dst = append(dst, c.CLA, c.INS, c.P1, c.P2)
	if len(c.Data) > 0 {
		dst = append(dst, byte(len(c.Data)))
		dst = append(dst, c.Data...)
	}
	switch {
	case c.Le > 0:
		dst = append(dst, byte(c.Le)) // 256 is coded 00
	case len(c.Data) == 0:
		dst = append(dst, 0) // T=0: a case 1 command carries P3 = 00 (TS 102 221, 7.3.1.1.1)
	}
	return dst
}

// ErrAPDU is wrapped by every error of ParseCommand.
var ErrAPDU = errors.New("malformed APDU")

// ParseCommand reads a command APDU in short form. Data aliases b.
func ParseCommand(b []byte) (Command, error) {
	if len(b) < 4 {
		return Command{}, fmt.Errorf("%w: %d bytes, want at least 4", ErrAPDU, len(b))
	}
	c := Command{CLA: b[0], INS: b[1], P1: b[2], P2: b[3]}
	body := b[4:]
	switch {
	case len(body) == 0:
	case len(body) == 1:
		c.Le = le(body[0])
	case len(body) == 1+int(body[0]) && body[0] > 0:
		c.Data = body[1:]
	case len(body) == 2+int(body[0]) && body[0] > 0:
		c.Data, c.Le = body[1:len(body)-1], le(body[len(body)-1])
	default:
		return Command{}, fmt.Errorf("%w: P3 is %d, %d bytes follow", ErrAPDU, body[0], len(body)-1)
	}
	return c, nil
}

func le(b byte) int {
	if b == 0 {
		return 256
	}
	return int(b)
}

// A Response is a response APDU: data and two status bytes.
type Response []byte

// Data is the response without its status word.
func (r Response) Data() []byte {
	if len(r) < 2 {
		return nil
	}
	return r[:len(r)-2]
}

// SW is the status word; 0 for a response that is too short to hold one.
func (r Response) SW() SW {
	if len(r) < 2 {
		return 0
	}
	return SW(r[len(r)-2])<<8 | SW(r[len(r)-1])
}
