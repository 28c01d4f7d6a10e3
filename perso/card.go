package perso

import (
	"bytes"
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
	"ankan/station"
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

// A chip is what a chip says of itself.
type chip struct {
	serial [8]byte
	lot    string
	state  byte
	os     []byte // digest of its operating system; none on a blank chip
	atr    uicc.ATR
	hello
}

// hello is a secure channel that was begun in a burst: the host's part of it,
// and the card's answer.
type hello struct {
	opening scp.Opening
	answer  []byte
}

// name is the serial number in hex, as the line's books have it.
func (c chip) name() string {
	if c.serial == [8]byte{} {
		return "unknown"
	}
	return hex.EncodeToString(c.serial[:])
}

// look resets the chip in the reader and asks it who it is, in one burst that
// also begins a secure channel: what it says is all that the next burst needs.
// It writes nothing. Its error is a *Reject, or the line's own.
func look(s *seat) (chip, error) {
	var c chip
	opening, err := c.ask(s)
	if err != nil {
		return c, err
	}
	if err := s.play(); err != nil {
		return c, err
	}
	return c, rejected(c.told(s, opening))
}

func (c *chip) ask(s *seat) (scp.Opening, error) {
	s.burst.Clear()
	s.burst.Reset()
	for _, x := range []struct {
		want uicc.Want
		cmd  uicc.Command
	}{
		{uicc.WantOK, uicc.Command{INS: uicc.INSSelect, P1: 0x04, Data: isdAID[:], Le: 256}},
		{uicc.WantOK, getData(tagCPLC)}, {uicc.WantOK, getData(tagLot)}, {uicc.WantOK, getData(tagLifeCycle)},
		{uicc.WantAny, getData(tagOSDigest)},
	} {
		if err := s.burst.Command(x.want, x.cmd); err != nil {
			return scp.Opening{}, err
		}
	}
	return begin(s)
}

func getData(tag uicc.Tag) uicc.Command {
	return uicc.Command{CLA: 0x80, INS: uicc.INSGetData, P1: byte(tag >> 8), P2: byte(tag), Le: 256}
}

// begin adds INITIALIZE UPDATE to the burst.
func begin(s *seat) (scp.Opening, error) {
	opening, cmd, err := scp.Begin(scp.Options{KeyVersion: isdKeyVersion})
	if err != nil {
		return opening, err
	}
	return opening, s.burst.Add(uicc.WantOK, func(dst []byte) ([]byte, error) { return append(dst, cmd...), nil })
}

func (c *chip) told(s *seat, opening scp.Opening) error {
	atr, err := s.reset()
	if err != nil {
		return err
	}
	c.atr = bytes.Clone(atr)
	if err := s.ok(0x00, uicc.INSSelect); err != nil {
		return err
	}
	cplc, err := s.object(tagCPLC)
	if err != nil {
		return err
	}
	if len(cplc) != 42 {
		return fmt.Errorf("CPLC data has %d bytes, want 42", len(cplc))
	}
	copy(c.serial[:], cplc[10:18])
	lot, err := s.object(tagLot)
	if err != nil {
		return err
	}
	c.lot = string(lot)
	state, err := s.object(tagLifeCycle)
	if err != nil {
		return err
	}
	if len(state) != 1 {
		return fmt.Errorf("life cycle has %d bytes, want 1", len(state))
	}
	if c.state = state[0]; c.state == stateBlank {
		if _, err := s.next(); err != nil { // it has no operating system to tell of
			return err
		}
	} else if os, err := s.object(tagOSDigest); err != nil {
		return err
	} else {
		c.os = bytes.Clone(os)
	}
	c.opening = opening
	c.answer, err = s.greeted()
	return err
}

// greeted is the answer to INITIALIZE UPDATE.
func (s *seat) greeted() ([]byte, error) {
	r, err := s.next()
	if err != nil {
		return nil, err
	}
	return bytes.Clone(r.Data()), judge(r, 0x80, uicc.INSInitializeUpdate)
}

// ok takes an answer that is to be 9000.
func (s *seat) ok(cla, ins byte) error {
	r, err := s.next()
	if err != nil {
		return err
	}
	return judge(r, cla, ins)
}

func judge(r uicc.Response, cla, ins byte) error {
	if sw := r.SW(); !sw.OK() {
		return &uicc.StatusError{CLA: cla, INS: ins, SW: sw}
	}
	return nil
}

// object takes an answer to GET DATA.
func (s *seat) object(tag uicc.Tag) ([]byte, error) {
	r, err := s.next()
	if err != nil {
		return nil, err
	}
	return value(r, tag)
}

// value is the value of a data object that GET DATA answered.
func value(r uicc.Response, tag uicc.Tag) ([]byte, error) {
	if sw := r.SW(); !sw.OK() {
		return nil, &uicc.StatusError{CLA: 0x80, INS: uicc.INSGetData, P1: byte(tag >> 8), P2: byte(tag), SW: sw}
	}
	v, ok := uicc.FindTLV(r.Data(), tag)
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
	}
	if err := p.Marks.suits(c); err != nil {
		return err
	}
	if c.state != stateBlank && string(c.os) != string(p.Digest[:]) {
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
	derive  func(ctx context.Context, c chip) (scp.Static, func(), error)
}

// make writes record to the chip in the reader, which look says is now, and
// looks at what came of it: one burst to write, one to read. It may be called
// again for the same chip and record, however far an earlier try went. Its
// error is a *Reject, or the line's own.
func (m *maker) make(ctx context.Context, s *seat, now chip, record []byte) error {
	own, err := m.script.NewKeys(record)
	if err != nil {
		return err
	}
	defer own.Close()
	if now.state < stateSecured {
		if now.hello, err = m.write(ctx, s, now, own, record); err != nil {
			return rejected(err)
		}
	}
	return rejected(m.verify(s, now.hello, own, record))
}

// write opens the channel with the chip maker's keys and writes everything. An
// earlier try may have gone as far as the card's own keys; then these open it.
// It ends with a reset, and a channel that is begun.
func (m *maker) write(ctx context.Context, s *seat, now chip, own scp.Static, record []byte) (after hello, err error) {
	keys, done, err := m.derive(ctx, now)
	if errors.Is(err, errShort) {
		return after, err
	}
	if err != nil {
		return after, fmt.Errorf("%w: keys of chip %s: %w", errLine, now.name(), err)
	}
	defer done()
	channel, auth, err := now.opening.Open(keys, scp.Commands, now.answer)
	if errors.Is(err, scp.ErrCryptogram) {
		if now.state == stateBlank {
			return after, &Reject{WrongKeys, err}
		}
		keys = own
		channel, auth, err = now.opening.Open(keys, scp.Commands, now.answer)
	}
	if err != nil {
		return after, err
	}
	defer channel.Close()
	s.burst.Clear()
	if err := s.add(auth); err != nil {
		return after, err
	}
	blocks := 0
	if now.state == stateBlank {
		if blocks, err = m.addOS(s, channel); err != nil {
			return after, err
		}
	}
	if err := m.script.AddWrite(&s.burst, channel.Wrap, keys, record); err != nil {
		return after, err
	}
	if after.opening, err = restart(s); err != nil {
		return after, err
	}
	if err := s.play(); err != nil {
		return after, err
	}
	if err := s.ok(0x84, uicc.INSExternalAuthenticate); err != nil {
		return after, err
	}
	for range blocks {
		if err := s.ok(0x80, uicc.INSLoad); err != nil {
			return after, fmt.Errorf("load OS: %w", err)
		}
	}
	if err := m.script.Wrote(&s.answers, record); err != nil {
		return after, err
	}
	if _, err := s.reset(); err != nil {
		return after, err
	}
	if err := s.ok(0x00, uicc.INSSelect); err != nil {
		return after, err
	}
	after.answer, err = s.greeted()
	return after, err
}

// add adds a command that is to be answered 9000.
func (s *seat) add(cmd []byte) error {
	return s.burst.Add(uicc.WantOK, func(dst []byte) ([]byte, error) { return append(dst, cmd...), nil })
}

// restart adds a reset, and a channel to the issuer security domain.
func restart(s *seat) (scp.Opening, error) {
	s.burst.Reset()
	if err := s.burst.Command(uicc.WantOK, uicc.Command{INS: uicc.INSSelect, P1: 0x04, Data: isdAID[:], Le: 256}); err != nil {
		return scp.Opening{}, err
	}
	return begin(s)
}

// addOS adds the operating system's signed image, in so many blocks. The chip
// checks it.
func (m *maker) addOS(s *seat, channel *scp.Channel) (blocks int, err error) {
	size := scp.MaxData(scp.Commands, false)
	for image := m.product.Image; len(image) > 0; blocks++ {
		cmd := uicc.Command{CLA: 0x80, INS: uicc.INSLoad, P2: byte(blocks), Data: image[:min(size, len(image))]}
		if image = image[len(cmd.Data):]; len(image) == 0 {
			cmd.P1 = 0x80
		}
		plain := cmd.Append(nil)
		err := s.burst.Add(uicc.WantOK, func(dst []byte) ([]byte, error) { return channel.Wrap(dst, plain) })
		if err != nil {
			return blocks, fmt.Errorf("load OS: %w", err)
		}
	}
	return blocks, nil
}

// verify reads the card as it will be in the field, compares, and has it
// answer a challenge. That it is secured, and its operating system, it says
// under its own keys.
func (m *maker) verify(s *seat, at hello, own scp.Static, record []byte) error {
	channel, auth, err := at.opening.Open(own, scp.Full, at.answer)
	if err != nil {
		return err
	}
	defer channel.Close()
	s.burst.Clear()
	if err := s.add(auth); err != nil {
		return err
	}
	for _, tag := range []uicc.Tag{tagLifeCycle, tagOSDigest} {
		plain := getData(tag).Append(nil)
		if err := s.burst.Add(uicc.WantOK, func(dst []byte) ([]byte, error) { return channel.Wrap(dst, plain) }); err != nil {
			return err
		}
	}
	registry := m.script.Registry()
	if err := addRegistry(s, channel, registry); err != nil {
		return err
	}
	s.burst.Reset()
	if err := m.script.AddReadBack(&s.burst, record); err != nil {
		return err
	}
	expect, err := m.challenge(s, record)
	if err != nil {
		return err
	}
	if err := s.play(); err != nil {
		return err
	}
	if err := s.ok(0x84, uicc.INSExternalAuthenticate); err != nil {
		return err
	}
	told := map[uicc.Tag][]byte{}
	for _, tag := range []uicc.Tag{tagLifeCycle, tagOSDigest} {
		r, err := s.next()
		if err != nil {
			return err
		}
		if r, err = channel.Unwrap(r); err != nil {
			return err
		}
		if told[tag], err = value(r, tag); err != nil {
			return err
		}
	}
	switch state := told[tagLifeCycle]; {
	case len(state) != 1 || state[0] != stateSecured:
		return &Reject{ReadBack, fmt.Errorf("life cycle is %X, want %02X", state, stateSecured)}
	case string(told[tagOSDigest]) != string(m.product.Digest[:]):
		return &Reject{WrongOS, fmt.Errorf("chip holds image %x, want %x", told[tagOSDigest], m.product.Digest)}
	}
	if err := registered(s, channel, registry); err != nil {
		return err
	}
	if _, err := s.reset(); err != nil {
		return err
	}
	if err := m.script.ReadOf(&s.answers, record); err != nil {
		return err
	}
	r, err := s.next()
	if err != nil {
		return err
	}
	return expect(r)
}

// factorySQN is the sequence number of the line's own challenge: the lowest
// that a fresh card takes. The operator's subscriber store starts above it.
const factorySQN aka.SQN = 1 << 5

// challenge adds AUTHENTICATE of the USIM, with a challenge made from the
// record's keys, and returns the judge of the answer. What reads the card back
// leaves the USIM selected and PIN1 verified.
func (m *maker) challenge(s *seat, record []byte) (func(uicc.Response) error, error) {
	alg, err := m.script.Authentication().Open(m.layout.Of(record, profile.SlotK), m.layout.Of(record, profile.SlotOPC))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLine, err)
	}
	var challenge aka.RAND
	rand.Read(challenge[:])
	v := alg.Vector(challenge, factorySQN, aka.EPS())
	if err := s.burst.Command(uicc.WantAny, uicc.Authenticate(v.RAND, v.AUTN)); err != nil {
		return nil, err
	}
	return func(r uicc.Response) error {
		if err := judge(r, 0x00, uicc.INSAuthenticate); err != nil {
			return &Reject{AuthFailed, err}
		}
		return answered(alg, v, r.Data())
	}, nil
}

// answered compares a card's answer to AUTHENTICATE with what its keys say.
func answered(alg aka.Set, v aka.Vector, answer []byte) error {
	want := v.AppendAnswer(make([]byte, 0, 100))
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
func Identify(ctx context.Context, r station.Reader, pin []byte) (sim.Identity, error) {
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
