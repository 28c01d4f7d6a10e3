package perso

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"

	"ankan/aka"
	"ankan/profile"
	"ankan/scp"
	"ankan/sim"
	"ankan/uicc"
)

// Data objects of a chip (GlobalPlatform Card Specification, H.2; the DF tags
// are those of the reference operating system).
const (
	tagCPLC      uicc.Tag = 0x9F7F
	tagLifeCycle uicc.Tag = 0xDF20
	tagOSDigest  uicc.Tag = 0xDF21
	tagLot       uicc.Tag = 0xDF22
)

// Life cycle states of a chip.
const (
	stateBlank   = 0x00
	stateSecured = 0x0F
)

// isdKeyVersion is the key version number of the card's SCP03 key set, before
// and after personalisation.
const isdKeyVersion = 0x30

// isdAID is the issuer security domain's (GlobalPlatform, H.1.3).
var isdAID = [...]byte{0xA0, 0x00, 0x00, 0x01, 0x51, 0x00, 0x00, 0x00}

// A chip is what a fresh chip says of itself.
type chip struct {
	serial [8]byte
	lot    string
	state  byte
	os     []byte // digest of its operating system; none on a blank chip
}

// name is the serial number in hex, as the line's books have it.
func (c chip) name() string {
	if c.serial == [8]byte{} {
		return "unknown"
	}
	return hex.EncodeToString(c.serial[:])
}

// look resets the chip in the reader and asks it who it is. It writes nothing.
// Its error is a *Reject, or the line's own.
func look(ctx context.Context, s *seat) (chip, error) {
	var c chip
	if err := s.reset(); err != nil {
		return c, rejected(err)
	}
	session := uicc.NewSession(s)
	if _, err := session.Do(ctx, uicc.Command{INS: uicc.INSSelect, P1: 0x04, Data: isdAID[:], Le: 256}); err != nil {
		return c, rejected(err)
	}
	cplc, err := object(ctx, session, tagCPLC)
	if err != nil {
		return c, rejected(err)
	}
	if len(cplc) != 42 {
		return c, &Reject{BadAnswer, fmt.Errorf("CPLC data has %d bytes, want 42", len(cplc))}
	}
	copy(c.serial[:], cplc[10:18])
	lot, err := object(ctx, session, tagLot)
	if err != nil {
		return c, rejected(err)
	}
	c.lot = string(lot)
	err = c.readState(ctx, session)
	return c, rejected(err)
}

// readState reads how far the chip has come and its operating system's digest.
func (c *chip) readState(ctx context.Context, s *uicc.Session) error {
	state, err := object(ctx, s, tagLifeCycle)
	if err != nil {
		return err
	}
	if len(state) != 1 {
		return &Reject{BadAnswer, fmt.Errorf("life cycle has %d bytes, want 1", len(state))}
	}
	if c.state = state[0]; c.state != stateBlank {
		c.os, err = object(ctx, s, tagOSDigest)
	}
	return err
}

// object is the value of a data object of the card manager.
func object(ctx context.Context, s *uicc.Session, tag uicc.Tag) ([]byte, error) {
	b, err := s.GetData(ctx, tag)
	if err != nil {
		return nil, err
	}
	v, ok := uicc.FindTLV(b, tag)
	if !ok {
		return nil, fmt.Errorf("GET DATA %X holds no such object", tag)
	}
	return v, nil
}

// suits refuses a fresh chip that is not the product's.
func (p Product) suits(c chip) error {
	switch {
	case c.lot != p.Lot:
		return &Reject{WrongLot, fmt.Errorf("chip %s is of lot %q, want %q", c.name(), c.lot, p.Lot)}
	case c.state >= stateSecured:
		return &Reject{Taken, fmt.Errorf("chip %s has life cycle %02X", c.name(), c.state)}
	case c.state != stateBlank && string(c.os) != string(p.Digest[:]):
		return &Reject{WrongOS, fmt.Errorf("chip %s holds image %x, want %x", c.name(), c.os, p.Digest)}
	}
	return nil
}

// errLine is wrapped by errors that are not the chip's: no chip is rejected
// for them.
var errLine = errors.New("the line stops")

// rejected makes a reject of what a chip did. What is not the chip's doing
// stays as it is.
func rejected(err error) error {
	var reject *Reject
	var step *profile.StepError
	var status *uicc.StatusError
	var mismatch *profile.Mismatch
	reason := BadAnswer
	switch {
	case err == nil || errors.Is(err, errLine) || errors.Is(err, errReader) || errors.Is(err, profile.ErrRecord) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &reject):
		reason = reject.Reason
		if err == error(reject) {
			return err
		}
	case errors.Is(err, scp.ErrCryptogram):
		reason = OtherKeys
	case errors.Is(err, scp.ErrRMAC) || errors.Is(err, scp.ErrHandshake):
		reason = ChannelLost
	case errors.As(err, &mismatch):
		reason = ReadBack
	case errors.As(err, &status), errors.As(err, &step) && step.Err == nil:
		reason = BadStatus
	}
	return &Reject{reason, err}
}

// maker makes the cards of one order.
type maker struct {
	product Product
	script  *profile.Script
	layout  *profile.Layout
	derive  func(ctx context.Context, serial []byte) (scp.Static, func(), error)
}

// make writes record to the chip in the reader, which look says is now, and
// looks at what came of it. It may be called again for the same chip and
// record, however far an earlier try went. Its error is a *Reject, or the
// line's own.
func (m *maker) make(ctx context.Context, s *seat, now chip, record []byte) error {
	own, err := m.script.NewKeys(record)
	if err != nil {
		return err
	}
	defer own.Close()
	if now.state < stateSecured {
		if err := m.write(ctx, s, now, own, record); err != nil {
			return rejected(err)
		}
	}
	return rejected(m.verify(ctx, s, own, record))
}

// write opens the channel with the chip maker's keys and writes everything. An
// earlier try may have gone as far as the card's own keys; then these open it.
func (m *maker) write(ctx context.Context, s *seat, now chip, own scp.Static, record []byte) error {
	keys, done, err := m.derive(ctx, now.serial[:])
	if err != nil {
		return fmt.Errorf("%w: keys of chip %s: %w", errLine, now.name(), err)
	}
	defer done()
	options := scp.Options{KeyVersion: isdKeyVersion, Level: scp.Commands, AID: isdAID[:]}
	channel, err := scp.Open(ctx, s, keys, options)
	if errors.Is(err, scp.ErrCryptogram) {
		if now.state == stateBlank {
			return &Reject{WrongKeys, err}
		}
		keys = own
		if err = s.reset(); err != nil {
			return err
		}
		channel, err = scp.Open(ctx, s, keys, options)
	}
	if err != nil {
		return err
	}
	defer channel.Close()
	if now.state == stateBlank {
		if err := loadOS(ctx, channel, m.product.Image); err != nil {
			return err
		}
	}
	return m.script.Write(ctx, channel, keys, record)
}

// loadOS sends the operating system's signed image. The chip checks it.
func loadOS(ctx context.Context, card uicc.Card, image []byte) error {
	size := scp.MaxData(scp.Commands, false)
	s := uicc.NewSession(card)
	for n := 0; len(image) > 0; n++ {
		piece := image[:min(size, len(image))]
		image = image[len(piece):]
		p1 := byte(0x00)
		if len(image) == 0 {
			p1 = 0x80
		}
		if _, err := s.Do(ctx, uicc.Command{CLA: 0x80, INS: 0xE8, P1: p1, P2: byte(n), Data: piece}); err != nil {
			return fmt.Errorf("load OS: %w", err)
		}
	}
	return nil
}

// verify reads the card as it will be in the field, compares, and has it
// answer a challenge. That it is secured, and its operating system, it says
// under its own keys.
func (m *maker) verify(ctx context.Context, s *seat, own scp.Static, record []byte) error {
	if err := s.reset(); err != nil {
		return err
	}
	channel, err := scp.Open(ctx, s, own, scp.Options{KeyVersion: isdKeyVersion, Level: scp.Full, AID: isdAID[:]})
	if err != nil {
		return err
	}
	defer channel.Close()
	var c chip
	if err := c.readState(ctx, uicc.NewSession(channel)); err != nil {
		return err
	}
	switch {
	case c.state != stateSecured:
		return &Reject{ReadBack, fmt.Errorf("life cycle is %02X, want %02X", c.state, stateSecured)}
	case string(c.os) != string(m.product.Digest[:]):
		return &Reject{WrongOS, fmt.Errorf("chip holds image %x, want %x", c.os, m.product.Digest)}
	}
	if err := s.reset(); err != nil {
		return err
	}
	if err := m.script.ReadBack(ctx, s, record); err != nil {
		return err
	}
	return m.authenticate(ctx, s, record)
}

// factorySQN is the sequence number of the line's own challenge: the lowest
// that a fresh card takes. The operator's subscriber store starts above it.
const factorySQN aka.SQN = 1 << 5

// authenticate has the USIM answer a challenge made from the record's keys.
// ReadBack leaves the USIM selected and PIN1 verified.
func (m *maker) authenticate(ctx context.Context, s *seat, record []byte) error {
	alg, err := aka.New(m.layout.Of(record, profile.SlotK), m.layout.Of(record, profile.SlotOPC))
	if err != nil {
		return fmt.Errorf("%w: %w", errLine, err)
	}
	var challenge aka.RAND
	rand.Read(challenge[:])
	v := alg.Vector(challenge, factorySQN, aka.EPS())
	answer, err := uicc.NewSession(s).Authenticate(ctx, v.RAND, v.AUTN)
	if err != nil {
		var status *uicc.StatusError
		if errors.As(err, &status) {
			return &Reject{AuthFailed, err}
		}
		return err
	}
	// DB, then RES, CK and IK, each with its length (TS 31.102, 7.1.2.1).
	want := append(make([]byte, 0, 44), 0xDB, 8)
	want = append(append(want, v.RES[:]...), 16)
	want = append(append(want, v.CK[:]...), 16)
	want = append(want, v.IK[:]...)
	defer clear(want)
	switch {
	case len(answer) >= len(want) && subtle.ConstantTimeCompare(answer[:len(want)], want) == 1:
		return nil
	case len(answer) == 16 && answer[0] == 0xDC && answer[1] == 14:
		// An earlier try may have ended after the card answered. The card
		// then holds this very number and says so in AUTS, under its keys.
		sqn, err := alg.Resync(v.RAND, aka.AUTS(answer[2:]))
		if err == nil && sqn == factorySQN {
			return nil
		}
		return &Reject{AuthFailed, fmt.Errorf("synchronisation failure at %d: %w", sqn, errors.Join(err, aka.ErrSync))}
	}
	return &Reject{AuthFailed, errors.New("RES, CK or IK differ")}
}

// Identify resets the card in the reader and reads who it is. It leaves the
// USIM selected. pin is PIN1's digits; it may be empty if the card asks for none.
func Identify(ctx context.Context, r Reader, pin []byte) (sim.Identity, error) {
	var id sim.Identity
	if _, err := r.Reset(ctx); err != nil {
		return id, err
	}
	s := uicc.NewSession(r)
	iccid, err := s.ReadFile(ctx, 0x3F00, 0x2FE2)
	if err != nil {
		return id, fmt.Errorf("EF.ICCID: %w", err)
	}
	if len(iccid) != 10 {
		return id, fmt.Errorf("EF.ICCID has %d bytes, want 10", len(iccid))
	}
	if id.ICCID, err = sim.ICCIDFromEF([10]byte(iccid)); err != nil {
		return id, err
	}
	if _, err := s.SelectAID(ctx, usimAID[:]); err != nil {
		return id, fmt.Errorf("USIM: %w", err)
	}
	if len(pin) > 0 {
		code, err := sim.ParsePIN(pin)
		if err != nil {
			return id, err
		}
		defer code.Wipe()
		if n, err := s.Tries(ctx, 0x01); err != nil || n < 2 {
			return id, errors.Join(fmt.Errorf("PIN1 has %d tries left; 2 are wanted before one is used", n), err)
		}
		if err := s.Verify(ctx, 0x01, code.Coded()); err != nil && !errors.Is(err, uicc.SWDisabled) {
			return id, fmt.Errorf("PIN1: %w", err)
		}
	}
	imsi, err := s.ReadBinary(ctx, 0x07, 0, 9)
	if err != nil {
		return id, fmt.Errorf("EF.IMSI: %w; if the card asks for PIN1, give it", err)
	}
	if len(imsi) != 9 {
		return id, fmt.Errorf("EF.IMSI has %d bytes, want 9", len(imsi))
	}
	id.IMSI, err = sim.IMSIFromEF([9]byte(imsi))
	return id, err
}

// usimAID starts the AID of every USIM (TS 101 220, annex E).
var usimAID = [...]byte{0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x02}
