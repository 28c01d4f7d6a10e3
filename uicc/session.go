package uicc

import (
	"context"
	"errors"
	"fmt"
)

// A Session is a convenience over a Card for those who read and write cards.
// It fetches what waits (61xx), repeats a command with the length that the
// card wants (6Cxx), and turns a status word that is not OK into a
// *StatusError. What it returns is the caller's to keep. It works on the basic
// logical channel and, as a Card, for one goroutine at a time.
type Session struct {
	card Card
	cmd  []byte
}

// NewSession starts a session; nothing is sent.
func NewSession(card Card) *Session { return &Session{card: card, cmd: make([]byte, 0, 261)} }

// chunk is the most that a READ or UPDATE BINARY moves at once: a command with
// so much data still has room for secure messaging (padding and two MACs).
const chunk = 224

// Transmit sends one command and follows 61xx and 6Cxx. The response data is
// returned whatever the status word; an error means that no answer came.
func (s *Session) Transmit(ctx context.Context, c Command) ([]byte, SW, error) {
	s.cmd = c.Append(s.cmd[:0])
	return Exchange(ctx, s.card, s.cmd, nil)
}

// ErrAnswer is wrapped where a card answers what is no answer.
var ErrAnswer = errors.New("the card's answer is none")

// Exchange sends the command APDU cmd, follows 61xx and 6Cxx as TS 102 221,
// 7.3.1.1.4 and annex C say, and appends all response data to dst. It is the
// loop for everyone who speaks to a card that may be a T=0 one. cmd must end
// with Le if it has one; with 6Cxx its Le is changed in place, unless the
// command has secure messaging: its MAC is good for one time.
func Exchange(ctx context.Context, card Card, cmd, dst []byte) ([]byte, SW, error) {
	var get [5]byte
	next := cmd
	for range 32 { // more rounds than 64 KiB of answer take: the card goes in circles
		b, err := card.Transmit(ctx, next)
		if err != nil {
			return dst, 0, err
		}
		if len(b) < 2 {
			return dst, 0, fmt.Errorf("%w: %d bytes, want at least 2", ErrAnswer, len(b))
		}
		r := Response(b)
		sw := r.SW()
		dst = append(dst, r.Data()...)
		if n, ok := sw.More(); ok {
			get = [5]byte{cmd[0] &^ 0x8C, INSGetResponse, 0, 0, byte(n)}
			next = get[:]
			continue
		}
		if n, ok := sw.WrongLe(); ok && !secured(next[0]) && setLe(next, n) {
			continue
		}
		return dst, sw, nil
	}
	return dst, 0, fmt.Errorf("%w: 61xx or 6Cxx without end", ErrAnswer)
}

// secured reports whether a class byte says secure messaging (ISO/IEC 7816-4,
// 5.4.1).
func secured(cla byte) bool {
	if cla&0x40 != 0 {
		return cla&0x20 != 0
	}
	return cla&0x0C != 0
}

// setLe puts Le into a command that has one and reports whether it changed.
func setLe(cmd []byte, n int) bool {
	c, err := ParseCommand(cmd)
	if err != nil || c.Le == NoLe || c.Le == n {
		return false
	}
	cmd[len(cmd)-1] = byte(n)
	return true
}

// Do is Transmit for a command that must end well.
func (s *Session) Do(ctx context.Context, c Command) ([]byte, error) {
	data, sw, err := s.Transmit(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("%s %02X%02X: %w", commandName(c.CLA, c.INS), c.CLA, c.INS, err)
	}
	if !sw.OK() {
		return nil, &StatusError{c.CLA, c.INS, c.P1, c.P2, sw}
	}
	return data, nil
}

// Select selects a file. One identifier is looked for as TS 102 221, 8.4.1
// says; several are a path from the MF (which may be named first) or, with
// CurrentADF first, from the current application. The FCP may say that the
// file is deactivated; that is no error.
func (s *Session) Select(ctx context.Context, path ...FileID) (FCP, error) {
	c := Command{INS: INSSelect, P2: 0x04, Le: 256}
	if len(path) > 1 {
		c.P1 = 0x08 // by path from the MF, which is not named
		if path[0] == MF {
			path = path[1:]
		}
	}
	for _, id := range path {
		c.Data = append(c.Data, byte(id>>8), byte(id))
	}
	return s.selected(ctx, c)
}

// SelectAID selects an application by its AID or the beginning of it.
func (s *Session) SelectAID(ctx context.Context, aid []byte) (FCP, error) {
	return s.selected(ctx, Command{INS: INSSelect, P1: 0x04, P2: 0x04, Data: aid, Le: 256})
}

func (s *Session) selected(ctx context.Context, c Command) (FCP, error) {
	data, sw, err := s.Transmit(ctx, c)
	if err != nil {
		return FCP{}, fmt.Errorf("SELECT %X: %w", c.Data, err)
	}
	if !sw.OK() && !sw.Warning() {
		return FCP{}, fmt.Errorf("SELECT %X: %w", c.Data, &StatusError{c.CLA, c.INS, c.P1, c.P2, sw})
	}
	f, err := ParseFCP(data)
	if err != nil {
		return FCP{}, fmt.Errorf("SELECT %X: %w", c.Data, err)
	}
	return f, nil
}

// ReadBinary reads n bytes from the offset of the current transparent file, or
// of the one with this short file identifier if sfi is not 0. With an SFI the
// first 256 bytes are in reach, otherwise 32,768.
func (s *Session) ReadBinary(ctx context.Context, sfi byte, offset, n int) ([]byte, error) {
	if err := reach(sfi, offset, n); err != nil {
		return nil, err
	}
	var out []byte
	for len(out) < n {
		p1, p2 := binaryP1P2(sfi, offset+len(out))
		part, err := s.Do(ctx, Command{INS: INSReadBinary, P1: p1, P2: p2, Le: min(n-len(out), chunk)})
		if err != nil {
			return nil, err
		}
		if len(part) == 0 {
			return nil, fmt.Errorf("READ BINARY: no data at offset %d", offset+len(out))
		}
		out = append(out, part...)
	}
	return out, nil
}

// ReadFile selects a transparent file and reads all of it.
func (s *Session) ReadFile(ctx context.Context, path ...FileID) ([]byte, error) {
	f, err := s.Select(ctx, path...)
	if err != nil {
		return nil, err
	}
	if f.Kind != Transparent {
		return nil, fmt.Errorf("file %s is %s, want transparent", f.ID, f.Kind)
	}
	return s.ReadBinary(ctx, 0, 0, f.Size)
}

// UpdateBinary writes data at the offset of the current transparent file or of
// the one with this short file identifier.
func (s *Session) UpdateBinary(ctx context.Context, sfi byte, offset int, data []byte) error {
	if err := reach(sfi, offset, len(data)); err != nil {
		return err
	}
	for len(data) > 0 {
		part := data[:min(len(data), chunk)]
		p1, p2 := binaryP1P2(sfi, offset)
		if _, err := s.Do(ctx, Command{INS: INSUpdateBinary, P1: p1, P2: p2, Data: part}); err != nil {
			return err
		}
		offset, data = offset+len(part), data[len(part):]
	}
	return nil
}

// reach checks that P1 and P2 can say where the last chunk begins.
func reach(sfi byte, offset, n int) error {
	limit := 0x8000
	if sfi != 0 {
		limit = 0x100
	}
	if sfi > 30 || offset < 0 || n < 0 || offset+max(n-1, 0) >= limit {
		return fmt.Errorf("offset %d and %d bytes with SFI %d: want them below %d and an SFI of at most 30", offset, n, sfi, limit)
	}
	return nil
}

func binaryP1P2(sfi byte, offset int) (p1, p2 byte) {
	if sfi != 0 {
		return 0x80 | sfi, byte(offset)
	}
	return byte(offset >> 8), byte(offset)
}

// ReadRecord reads one record, 1..254, of the current file or of the one with
// this short file identifier if sfi is not 0.
func (s *Session) ReadRecord(ctx context.Context, sfi, record byte) ([]byte, error) {
	return s.Do(ctx, Command{INS: INSReadRecord, P1: record, P2: sfi<<3 | 0x04, Le: 256})
}

// UpdateRecord writes one whole record.
func (s *Session) UpdateRecord(ctx context.Context, sfi, record byte, data []byte) error {
	_, err := s.Do(ctx, Command{INS: INSUpdateRecord, P1: record, P2: sfi<<3 | 0x04, Data: data})
	return err
}

// Tries asks how many tries a PIN has left, without using one up.
func (s *Session) Tries(ctx context.Context, reference byte) (int, error) {
	c := Command{INS: INSVerify, P2: reference}
	_, sw, err := s.Transmit(ctx, c)
	if err != nil {
		return 0, err
	}
	if n, ok := sw.Tries(); ok {
		return n, nil
	}
	if sw == SWBlocked {
		return 0, nil
	}
	return 0, &StatusError{c.CLA, c.INS, c.P1, c.P2, sw}
}

// Verify presents a PIN or ADM, eight bytes padded with FF. A wrong one gives
// a *StatusError whose SW.Tries says how many are left.
func (s *Session) Verify(ctx context.Context, reference byte, code [8]byte) error {
	_, err := s.Do(ctx, Command{INS: INSVerify, P2: reference, Data: code[:]})
	return err
}

// Authenticate runs AUTHENTICATE in the 3G security context (TS 31.102,
// 7.1.2.1) and returns the card's answer: tag DB and RES, CK, IK, or tag DC
// and AUTS. A wrong MAC in AUTN is a *StatusError with SWWrongMAC.
func (s *Session) Authenticate(ctx context.Context, rand, autn [16]byte) ([]byte, error) {
	return s.Do(ctx, Authenticate(rand, autn))
}

// Authenticate is AUTHENTICATE in the 3G security context.
func Authenticate(rand, autn [16]byte) Command {
	data := make([]byte, 0, 34)
	data = append(append(data, 16), rand[:]...)
	data = append(append(data, 16), autn[:]...)
	return Command{INS: INSAuthenticate, P2: 0x81, Data: data, Le: 256}
}

// GetData reads a data object of the card manager (GlobalPlatform, 11.3), its
// tag included.
func (s *Session) GetData(ctx context.Context, tag Tag) ([]byte, error) {
	return s.Do(ctx, Command{CLA: 0x80, INS: INSGetData, P1: byte(tag >> 8), P2: byte(tag), Le: 256})
}

// Status returns the FCP of the current directory (TS 102 221, 11.1.2).
func (s *Session) Status(ctx context.Context) (FCP, error) {
	data, err := s.Do(ctx, Command{CLA: 0x80, INS: INSStatus, Le: 256})
	if err != nil {
		return FCP{}, err
	}
	return ParseFCP(data)
}
