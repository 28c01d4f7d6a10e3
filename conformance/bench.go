package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"ankan/profile"
	"ankan/scp"
	"ankan/sim"
	"ankan/uicc"
)

// Data objects of a chip, and its states (GlobalPlatform Card Specification,
// H.2; the DF tags are those of the reference operating system).
const (
	tagCPLC uicc.Tag = 0x9F7F
	tagLife uicc.Tag = 0xDF20
	tagOS   uicc.Tag = 0xDF21

	lifeBlank   = 0x00
	lifeReady   = 0x01
	lifeSecured = 0x0F
)

const keyVersion = 0x30

// A bench holds the sample and what is known of it.
type bench struct {
	Sample
	ctx    context.Context
	script *profile.Script
	layout *profile.Layout
	record []byte
	serial string
	atr    uicc.ATR
	stage  stage
	on     map[byte]bool // codes that are enabled, by key reference
	sqn    uint64
}

func newBench(ctx context.Context, s Sample) (*bench, error) {
	b := &bench{Sample: s, ctx: ctx, on: map[byte]bool{}}
	var err error
	if b.script, err = profile.Compile(s.Profile); err != nil {
		return nil, err
	}
	b.layout = b.script.Layout()
	if b.record, err = sampleRecord(s.Profile, b.layout); err != nil {
		return nil, err
	}
	for _, c := range s.Profile.Codes {
		b.on[c.Reference] = c.Enabled
	}
	if b.atr, err = s.Reader.Reset(ctx); err != nil {
		return nil, err
	}
	life, err := b.life()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSample, err)
	}
	if life != lifeBlank {
		return nil, fmt.Errorf("%w: its life cycle is %02X, want 00", ErrSample, life)
	}
	cplc, err := b.object(tagCPLC)
	if err != nil || len(cplc) != 42 {
		return nil, errors.Join(fmt.Errorf("%w: CPLC data of %d bytes, want 42", ErrSample, len(cplc)), err)
	}
	b.serial = fmt.Sprintf("%x", cplc[10:18])
	channel, err := b.channel(b.Keys, b.Reader)
	if err != nil {
		return nil, fmt.Errorf("%w: its keys are not those that were given: %w", ErrSample, err)
	}
	channel.Close()
	return b, nil
}

// sampleRecord is a card's record with keys and codes of its own, for an
// identity that no operator gives: all digits after the network are 9.
func sampleRecord(p *profile.Profile, l *profile.Layout) ([]byte, error) {
	iccid, err := sim.ICCIDFromBody("89" + strings.Repeat("9", 16))
	if err != nil {
		return nil, err
	}
	network := p.PLMN.MCC() + p.PLMN.MNC()
	imsi, err := sim.ParseIMSI(network + strings.Repeat("9", 15-len(network)))
	if err != nil {
		return nil, err
	}
	record := make([]byte, l.Size)
	for _, s := range p.Slots() {
		field := l.Of(record, s.ID)
		switch {
		case s.ID == profile.SlotICCID:
			ef := iccid.EF()
			copy(field, ef[:])
		case s.ID == profile.SlotIMSI:
			ef := imsi.EF()
			copy(field, ef[:])
		case s.ID == profile.SlotACC:
			field[0], field[1] = byte(imsi.ACC()>>8), byte(imsi.ACC())
		case s.ID == profile.SlotMSISDN:
			for i := range field {
				field[i] = 0xFF
			}
		case s.Kind == profile.RandomDigits:
			for i := range field {
				field[i] = 0xFF
			}
			if copy(field, s.Fixed) == 0 {
				rand.Read(field[:s.Digits])
				for i := range s.Digits {
					field[i] = '0' + field[i]%10
				}
			}
		default: // keys, and what is derived from them
			rand.Read(field)
		}
	}
	return record, nil
}

func (b *bench) now() time.Time { return b.Now().UTC().Truncate(time.Second) }

func (b *bench) reset() error {
	_, err := b.Reader.Reset(b.ctx)
	return err
}

// send is one command, with what follows it.
func (b *bench) send(card uicc.Card, c uicc.Command) ([]byte, uicc.SW, error) {
	return uicc.NewSession(card).Transmit(b.ctx, c)
}

// want sends a command that must end with one of these.
func (b *bench) want(card uicc.Card, what string, c uicc.Command, wanted ...uicc.SW) ([]byte, error) {
	data, sw, err := b.send(card, c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	for _, w := range wanted {
		if sw == w {
			return data, nil
		}
	}
	return nil, fmt.Errorf("%s: the card answers %04X, want %s", what, uint16(sw), words(wanted))
}

func words(all []uicc.SW) string {
	var s []string
	for _, w := range all {
		s = append(s, fmt.Sprintf("%04X", uint16(w)))
	}
	return strings.Join(s, " or ")
}

// refused sends a command that must not end well.
func (b *bench) refused(card uicc.Card, what string, c uicc.Command) error {
	_, sw, err := b.send(card, c)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if sw.OK() || sw.Warning() {
		return fmt.Errorf("%s: the card answers %04X, want a refusal", what, uint16(sw))
	}
	return nil
}

func (b *bench) object(tag uicc.Tag) ([]byte, error) {
	data, err := uicc.NewSession(b.Reader).GetData(b.ctx, tag)
	if err != nil {
		return nil, err
	}
	v, ok := uicc.FindTLV(data, tag)
	if !ok {
		return nil, fmt.Errorf("GET DATA %X holds no such object", tag)
	}
	return v, nil
}

func (b *bench) life() (byte, error) {
	v, err := b.object(tagLife)
	if err != nil {
		return 0, err
	}
	if len(v) != 1 {
		return 0, fmt.Errorf("life cycle of %d bytes, want 1", len(v))
	}
	return v[0], nil
}

// lives refuses a chip in another state.
func (b *bench) lives(want byte) error {
	life, err := b.life()
	if err == nil && life != want {
		err = fmt.Errorf("the life cycle is %02X, want %02X", life, want)
	}
	return err
}

// channel opens a secure channel after a reset, through card.
func (b *bench) channel(keys scp.Static, card uicc.Card) (*scp.Channel, error) {
	if err := b.reset(); err != nil {
		return nil, err
	}
	return scp.Open(b.ctx, card, keys, scp.Options{KeyVersion: keyVersion, Level: scp.Commands})
}

// load sends an image through a secure channel; the last answer is returned.
func (b *bench) load(card uicc.Card, image []byte, blocks int) (uicc.SW, error) {
	size := scp.MaxData(scp.Commands, false)
	for n := 0; len(image) > 0; n++ {
		if n == blocks {
			return uicc.SWOK, nil
		}
		piece := image[:min(size, len(image))]
		image = image[len(piece):]
		c := uicc.Command{CLA: 0x80, INS: uicc.INSLoad, P2: byte(n), Data: piece}
		if len(image) == 0 {
			c.P1 = 0x80
		}
		if _, sw, err := b.send(card, c); err != nil || sw != uicc.SWOK {
			return sw, err
		}
	}
	return uicc.SWOK, nil
}

// whole loads all blocks.
const whole = -1

// own is the sample's own keys, as a card.
func (b *bench) own() (scp.KeySet, error) { return b.script.NewKeys(b.record) }

// A tap is a card whose commands are changed on their way.
type tap struct {
	uicc.Card
	change func(cmd []byte) []byte
	last   []byte // as it was sent
}

func (t *tap) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	t.last = bytes.Clone(cmd)
	if t.change != nil {
		t.last = t.change(t.last)
	}
	return t.Card.Transmit(ctx, t.last)
}

// A cut is a card that is gone after some commands.
type cut struct {
	uicc.Card
	left int
}

var errCut = errors.New("the power is gone")

func (c *cut) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	if c.left == 0 {
		return nil, errCut
	}
	c.left--
	return c.Card.Transmit(ctx, cmd)
}

// ---- codes

// secret is what is on the card in a slot.
func (b *bench) secret(s profile.SlotID) [8]byte {
	var code [8]byte
	copy(code[:], b.layout.Of(b.record, s))
	return code
}

// setSecret notes what a command changed.
func (b *bench) setSecret(s profile.SlotID, code [8]byte) { copy(b.layout.Of(b.record, s), code[:]) }

// wrong is another code of the same form.
func wrong(code [8]byte) [8]byte {
	code[0] = '0' + (code[0]-'0'+1)%10
	return code
}

// code is the profile's code in a slot. It is tried in the USIM.
func (b *bench) code(slot profile.SlotID) (profile.Code, error) {
	for _, c := range b.Profile.Codes {
		if c.Slot == slot {
			return c, b.usim()
		}
	}
	return profile.Code{}, fmt.Errorf("%w: the profile has no %s", errNotRun, slot)
}

func (b *bench) present(ref byte, code [8]byte, what string, wanted ...uicc.SW) error {
	_, err := b.want(b.Reader, what, uicc.Command{INS: uicc.INSVerify, P2: ref, Data: code[:]}, wanted...)
	return err
}

func (b *bench) tries(ref byte) (int, error) { return uicc.NewSession(b.Reader).Tries(b.ctx, ref) }

// left refuses another count of tries.
func (b *bench) left(ref byte, want int, when string) error {
	n, err := b.tries(ref)
	if err == nil && n != want {
		err = fmt.Errorf("%s the counter is %d, want %d", when, n, want)
	}
	return err
}

// usimAID starts the AID of every USIM (TS 101 220, annex E).
var usimAID = []byte{0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x02}

// usim resets the sample and selects its USIM.
func (b *bench) usim() error {
	if err := b.reset(); err != nil {
		return err
	}
	_, err := uicc.NewSession(b.Reader).SelectAID(b.ctx, usimAID)
	return err
}

// ---- files

// A placed file is an EF with the way to it.
type placed struct {
	*profile.File
	aid  []byte // of the application that it is in
	path []uicc.FileID
}

func (b *bench) files() []placed {
	var all []placed
	var walk func(f *profile.File, aid []byte, path []uicc.FileID)
	walk = func(f *profile.File, aid []byte, path []uicc.FileID) {
		if len(f.AID) > 0 {
			aid, path = f.AID, []uicc.FileID{uicc.CurrentADF}
		} else {
			path = append(bytesOf(path), f.ID)
		}
		if f.Kind == uicc.Transparent || f.Kind == uicc.LinearFixed || f.Kind == uicc.Cyclic {
			all = append(all, placed{f, aid, path})
		}
		for _, c := range f.Files {
			walk(c, aid, path)
		}
	}
	if b.Profile.MF != nil {
		walk(b.Profile.MF, nil, nil)
	}
	return all
}

func bytesOf(path []uicc.FileID) []uicc.FileID { return append([]uicc.FileID(nil), path...) }

// find selects a file.
func (b *bench) find(f placed) error {
	s := uicc.NewSession(b.Reader)
	if len(f.aid) > 0 {
		if _, err := s.SelectAID(b.ctx, f.aid); err != nil {
			return fmt.Errorf("%s: %w", f.Path(), err)
		}
	}
	if _, err := s.Select(b.ctx, f.path...); err != nil {
		return fmt.Errorf("%s: %w", f.Path(), err)
	}
	return nil
}

// may says whether the profile lets somebody do an operation who has verified
// these codes. A code that is disabled counts as verified (TS 102 221, 9.5.1).
func (b *bench) may(f placed, operation string, verified ...byte) bool {
	for _, r := range b.Profile.Rules {
		if r.Name != f.Rule {
			continue
		}
		for _, a := range r.Allowed {
			if a.Operation == operation && a.Condition.Met(func(ref byte) bool {
				on, there := b.on[ref]
				return there && !on || bytes.IndexByte(verified, ref) >= 0
			}) {
				return true
			}
		}
	}
	return false
}

// reading reads the first byte or record of the current file.
func reading(f placed) uicc.Command {
	if f.Kind == uicc.Transparent {
		return uicc.Command{INS: uicc.INSReadBinary, Le: 1}
	}
	return uicc.Command{INS: uicc.INSReadRecord, P1: 1, P2: 4, Le: 256}
}

// writing writes there what must not be written.
func writing(f placed) uicc.Command {
	switch f.Kind {
	case uicc.Transparent:
		return uicc.Command{INS: uicc.INSUpdateBinary, Data: []byte{0xA5}}
	case uicc.Cyclic:
		return uicc.Command{INS: uicc.INSUpdateRecord, P2: 3, Data: bytes.Repeat([]byte{0xA5}, f.RecordSize)}
	}
	return uicc.Command{INS: uicc.INSUpdateRecord, P1: 1, P2: 4, Data: bytes.Repeat([]byte{0xA5}, f.RecordSize)}
}

// rules compares the rule of every file with what the card does, for somebody
// who has verified these codes. Nothing is written that may be.
func (b *bench) rules(verified ...byte) error {
	for _, f := range b.files() {
		if err := b.find(f); err != nil {
			return err
		}
		want := uicc.SWSecurity
		if b.may(f, "read", verified...) {
			want = uicc.SWOK
		}
		if _, err := b.want(b.Reader, "reading "+f.Path(), reading(f), want); err != nil {
			return err
		}
		if b.may(f, "update", verified...) {
			continue
		}
		if _, err := b.want(b.Reader, "writing "+f.Path(), writing(f), uicc.SWSecurity); err != nil {
			return err
		}
	}
	return nil
}
