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

func (c chip) name() string { return hex.EncodeToString(c.serial[:]) }

// look asks a chip who it is. It writes nothing.
func look(ctx context.Context, r Reader) (chip, error) {
	var c chip
	if _, err := r.Reset(ctx); err != nil {
		return c, &Reject{NoAnswer, err}
	}
	s := uicc.NewSession(r)
	if _, err := s.Do(ctx, uicc.Command{INS: uicc.INSSelect, P1: 0x04, Data: isdAID[:], Le: 256}); err != nil {
		return c, rejected(err)
	}
	object := func(tag uicc.Tag) ([]byte, error) {
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
	cplc, err := object(tagCPLC)
	if err != nil {
		return c, rejected(err)
	}
	if len(cplc) != 42 {
		return c, &Reject{BadStatus, fmt.Errorf("CPLC data has %d bytes, want 42", len(cplc))}
	}
	copy(c.serial[:], cplc[10:18])
	lot, err := object(tagLot)
	if err != nil {
		return c, rejected(err)
	}
	c.lot = string(lot)
	state, err := object(tagLifeCycle)
	if err != nil {
		return c, rejected(err)
	}
	if len(state) != 1 {
		return c, &Reject{BadStatus, fmt.Errorf("life cycle has %d bytes, want 1", len(state))}
	}
	if c.state = state[0]; c.state != stateBlank {
		if c.os, err = object(tagOSDigest); err != nil {
			return c, rejected(err)
		}
	}
	return c, nil
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

// rejected makes a reject of what a chip did.
func rejected(err error) error {
	var reject *Reject
	var step *profile.StepError
	var status *uicc.StatusError
	var mismatch *profile.Mismatch
	switch {
	case err == nil || errors.As(err, &reject):
		return err
	case errors.Is(err, scp.ErrCryptogram):
		return &Reject{WrongKeys, err}
	case errors.Is(err, scp.ErrRMAC) || errors.Is(err, scp.ErrHandshake):
		return &Reject{ChannelLost, err}
	case errors.As(err, &mismatch):
		return &Reject{ReadBack, err}
	case errors.As(err, &status):
		return &Reject{BadStatus, err}
	case errors.As(err, &step) && step.Err == nil:
		return &Reject{BadStatus, err}
	}
	return &Reject{NoAnswer, err}
}

// maker makes the cards of one order.
type maker struct {
	product Product
	script  *profile.Script
	layout  *profile.Layout
	derive  func(ctx context.Context, serial []byte) (scp.Static, func(), error)
}

// make writes record to the chip in the reader and looks at what came of it.
// It may be called again for the same chip and record, however far an earlier
// try went.
func (m *maker) make(ctx context.Context, r Reader, serial [8]byte, record []byte) error {
	own, err := m.script.NewKeys(record)
	if err != nil {
		return err
	}
	defer own.Close()
	now, err := look(ctx, r)
	if err != nil {
		return err
	}
	if now.serial != serial {
		return &Reject{NoAnswer, fmt.Errorf("chip %s is in the reader, want %x", now.name(), serial)}
	}
	if now.state < stateSecured {
		if err := m.write(ctx, r, now, own, record); err != nil {
			return rejected(err)
		}
	}
	if err := m.verify(ctx, r, own, record); err != nil {
		return rejected(err)
	}
	return nil
}

// write opens the channel with the chip maker's keys and writes everything. An
// earlier try may have gone as far as the card's own keys; then these open it.
func (m *maker) write(ctx context.Context, r Reader, now chip, own scp.Static, record []byte) error {
	keys, done, err := m.derive(ctx, now.serial[:])
	if err != nil {
		return err
	}
	defer done()
	options := scp.Options{KeyVersion: isdKeyVersion, Level: scp.Commands, AID: isdAID[:]}
	channel, err := scp.Open(ctx, r, keys, options)
	if errors.Is(err, scp.ErrCryptogram) && now.state != stateBlank {
		keys = own
		if _, err = r.Reset(ctx); err != nil {
			return err
		}
		channel, err = scp.Open(ctx, r, keys, options)
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
// answer a challenge.
func (m *maker) verify(ctx context.Context, r Reader, own scp.Static, record []byte) error {
	if _, err := r.Reset(ctx); err != nil {
		return err
	}
	channel, err := scp.Open(ctx, r, own, scp.Options{KeyVersion: isdKeyVersion, Level: scp.Full, AID: isdAID[:]})
	if err != nil {
		return err
	}
	channel.Close()
	if c, err := look(ctx, r); err != nil {
		return err
	} else if c.state != stateSecured {
		return &Reject{ReadBack, fmt.Errorf("life cycle is %02X, want %02X", c.state, stateSecured)}
	} else if string(c.os) != string(m.product.Digest[:]) {
		return &Reject{WrongOS, fmt.Errorf("chip holds image %x, want %x", c.os, m.product.Digest)}
	}
	if _, err := r.Reset(ctx); err != nil {
		return err
	}
	if err := m.script.ReadBack(ctx, r, record); err != nil {
		return err
	}
	return m.authenticate(ctx, r, record)
}

// factorySQN is the sequence number of the line's own challenge: the lowest
// that a fresh card takes. The operator's subscriber store starts above it.
const factorySQN aka.SQN = 1 << 5

// authenticate has the USIM answer a challenge made from the record's keys.
// ReadBack leaves the USIM selected and PIN1 verified.
func (m *maker) authenticate(ctx context.Context, r Reader, record []byte) error {
	alg, err := aka.New(m.layout.Of(record, profile.SlotK), m.layout.Of(record, profile.SlotOPC))
	if err != nil {
		return err
	}
	var challenge aka.RAND
	rand.Read(challenge[:])
	v := alg.Vector(challenge, factorySQN, aka.EPS())
	answer, err := uicc.NewSession(r).Authenticate(ctx, v.RAND, v.AUTN)
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
// USIM selected. pin is PIN1's digits; empty if the card asks for none.
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
		if err := s.Verify(ctx, 0x01, code.Coded()); err != nil {
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
