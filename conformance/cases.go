package conformance

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"

	"ankan/aka"
	"ankan/profile"
	"ankan/scp"
	"ankan/uicc"
)

// suite is all cases in the order in which they are run: the sample goes through
// its life once.
func suite() []trial {
	return []trial{
		{"atr", "The answer to reset is well formed", "ISO/IEC 7816-3, 8.2; TS 102 221, 6.3", blank, func(b *bench) error { return b.atr.Check() }},
		{"blank-silent", "A blank chip gives and takes no file", "GlobalPlatform Card Specification, 5.1", blank, blankSilent},
		{"load-clear", "No image is loaded outside the secure channel", "GlobalPlatform Card Specification, 10.2", blank, loadClear},
		{"scp-cryptogram", "A wrong host cryptogram opens no channel", "GlobalPlatform Amendment D, 7.1.2", blank, scpCryptogram},
		{"scp-mac", "A command with a wrong MAC is refused and ends the channel", "GlobalPlatform Amendment D, 6.2.4", blank, scpMAC},
		{"scp-replay", "A command that comes twice is refused", "GlobalPlatform Amendment D, 6.2.4", blank, scpReplay},
		{"scp-clear", "A command in clear is refused inside the channel", "GlobalPlatform Card Specification, 10.2.3", blank, scpClear},
		{"load-changed", "An image that was changed is refused", "SOP 6.2; GlobalPlatform Card Specification, 9.2", blank, loadChanged},
		{"load-cut", "A load that was cut leaves the chip blank", "TS 102 221, 11; SOP 4.iii", blank, loadCut},
		{"load", "The vendor's image is loaded, and the chip tells its digest", "SOP 5.ii", blank, loadImage},
		{"load-again", "A second image is refused", "GlobalPlatform Card Specification, 5.1", loaded, loadAgain},
		{"personalise-cut", "A personalisation that was cut leaves no card, and can be done anew", "SOP 4.iii", loaded, personaliseCut},
		{"personalise", "The customer's profile is written, and read back as it is", "SOP 5.i; TS 102 222", loaded, personalise},
		{"keys-changed", "The chip maker's keys open nothing on a card", "GlobalPlatform Amendment D, 7.2", made, keysChanged},
		{"personalise-over", "A card takes no personalisation", "GlobalPlatform Card Specification, 5.1", made, personaliseOver},
		{"pin-enable", "A PIN is enabled by its code alone", "TS 102 221, 11.1.12", made, pinEnable},
		{"access-open", "Without a code each file gives and takes what its rule says", "TS 102 221, 9.3", made, func(b *bench) error { return b.rules() }},
		{"access-pin", "PIN1 opens what its rule says and no more", "TS 102 221, 9.3", made, accessPIN},
		{"access-reset", "A reset forgets what was verified", "TS 102 221, 9.5.1", made, accessReset},
		{"pin-count", "A wrong PIN is counted, through a reset; the right one starts anew", "TS 102 221, 9.5.1", made, pinCount},
		{"pin-tear", "No try is won by taking the power away", "TS 102 221, 9.5.1", made, pinTear},
		{"pin-block", "A blocked PIN opens nothing, whatever is presented", "TS 102 221, 11.1.9", made, pinBlock},
		{"puk-count", "A wrong PUK is counted; the right one gives a new PIN", "TS 102 221, 11.1.13", made, pukCount},
		{"adm-count", "A wrong ADM is counted; the right one starts anew", "TS 102 221, 9.5.1", made, admCount},
		{"aka", "The USIM answers a challenge of its network", "TS 33.102, 6.3; TS 31.102, 7.1.2", made, akaAnswers},
		{"aka-mac", "A challenge with a wrong MAC is refused", "TS 31.102, 7.3.1", made, akaMAC},
		{"aka-replay", "A challenge that comes twice gives a synchronisation failure", "TS 33.102, 6.3.3", made, akaReplay},
		{"aka-pin", "No challenge is answered before the PIN", "TS 31.102, 7.1.2", made, akaPIN},
		{"secrets", "No file and no data object gives a key or a code", "SOP 6.2; TS 33.102, 5.1.3", made, secrets},
		{"commands", "Unknown commands, wrong parameters and lengths are refused", "TS 102 221, 10.2.1.5", made, commands},
		{"channels", "A logical channel that is not open does nothing", "TS 102 221, 11.1.17", made, channels},
		{"random", "Challenges differ", "TS 102 221, 11.1.16", made, challenges},
		{"write-tear", "A write that was torn leaves the old or the new content", "SOP 4.iii", made, writeTear},
		{"puk-block", "A blocked PUK ends the PIN for good", "TS 102 221, 11.1.13", made, pukBlock},
	}
}

func blankSilent(b *bench) error {
	s := uicc.Command{INS: uicc.INSSelect, P2: 0x0C, Data: []byte{0x3F, 0x00}}
	for what, c := range map[string]uicc.Command{
		"reading": {INS: uicc.INSReadBinary, P1: 0x82, Le: 1}, "writing": {INS: uicc.INSUpdateBinary, P1: 0x82, Data: []byte{0}},
		"creating the MF": {INS: uicc.INSCreateFile, Data: []byte{0x62, 0}}, "STORE DATA": {CLA: 0x80, INS: uicc.INSStoreData, Data: []byte{0xA0, 1, 0}},
		"selecting the MF": s,
	} {
		if err := b.refused(b.Reader, what, c); err != nil {
			return err
		}
	}
	return b.lives(lifeBlank)
}

func loadClear(b *bench) error {
	piece := b.Image[:min(200, len(b.Image))]
	if err := b.refused(b.Reader, "LOAD in clear", uicc.Command{CLA: 0x80, INS: uicc.INSLoad, P1: 0x80, Data: piece}); err != nil {
		return err
	}
	return b.lives(lifeBlank)
}

// flip changes the last byte of a command's data.
func flip(cmd []byte) []byte {
	if len(cmd) > 5 && len(cmd) >= 5+int(cmd[4]) {
		cmd[4+int(cmd[4])] ^= 1
	}
	return cmd
}

func scpCryptogram(b *bench) error {
	t := &tap{Card: b.Reader, change: func(cmd []byte) []byte {
		if cmd[1] == uicc.INSExternalAuthenticate {
			cmd[5] ^= 1
		}
		return cmd
	}}
	if ch, err := b.channel(b.Keys, t); err == nil {
		ch.Close()
		return errors.New("EXTERNAL AUTHENTICATE with a wrong cryptogram opens a channel")
	}
	return b.refused(b.Reader, "LOAD after a handshake that failed", uicc.Command{CLA: 0x84, INS: uicc.INSLoad, P1: 0x80, Data: make([]byte, 24)})
}

func scpMAC(b *bench) error {
	t := &tap{Card: b.Reader}
	ch, err := b.channel(b.Keys, t)
	if err != nil {
		return err
	}
	defer ch.Close()
	t.change = flip
	delete := uicc.Command{INS: uicc.INSDeleteFile, Data: []byte{0x3F, 0x00}}
	if _, err := b.want(ch, "a command with a wrong MAC", delete, uicc.SWSecurity, uicc.SWMessagingData); err != nil {
		return err
	}
	t.change = nil
	return b.refused(ch, "the next command of that channel", delete)
}

func scpReplay(b *bench) error {
	t := &tap{Card: b.Reader}
	ch, err := b.channel(b.Keys, t)
	if err != nil {
		return err
	}
	defer ch.Close()
	// What it answers does not matter: the chip has no files.
	if _, _, err := b.send(ch, uicc.Command{CLA: 0x80, INS: uicc.INSLoad, Data: b.Image[:min(32, len(b.Image))]}); err != nil {
		return err
	}
	again, err := uicc.ParseCommand(t.last)
	if err != nil {
		return err
	}
	return b.refused(b.Reader, "the same command again", again)
}

func scpClear(b *bench) error {
	ch, err := b.channel(b.Keys, b.Reader)
	if err != nil {
		return err
	}
	defer ch.Close()
	return b.refused(b.Reader, "a command in clear", uicc.Command{CLA: 0x80, INS: uicc.INSLoad, P1: 0x80, Data: b.Image[:min(32, len(b.Image))]})
}

func loadChanged(b *bench) error {
	for _, at := range []int{len(b.Image) / 3, len(b.Image) - 1} {
		image := bytes.Clone(b.Image)
		image[at] ^= 1
		ch, err := b.channel(b.Keys, b.Reader)
		if err != nil {
			return err
		}
		sw, err := b.load(ch, image, whole)
		ch.Close()
		if err != nil {
			return err
		}
		if sw == uicc.SWOK {
			return fmt.Errorf("an image with byte %d changed is taken", at)
		}
		if err := b.reset(); err != nil {
			return err
		}
		if err := b.lives(lifeBlank); err != nil {
			return err
		}
	}
	return nil
}

func loadCut(b *bench) error {
	ch, err := b.channel(b.Keys, b.Reader)
	if err != nil {
		return err
	}
	defer ch.Close()
	half := b.Image[:len(b.Image)/2]
	if _, _, err := b.send(ch, uicc.Command{CLA: 0x80, INS: uicc.INSLoad, Data: half[:min(len(half), scp.MaxData(scp.Commands, false))]}); err != nil {
		return err
	}
	if err := b.reset(); err != nil {
		return err
	}
	return b.lives(lifeBlank)
}

func loadImage(b *bench) error {
	ch, err := b.channel(b.Keys, b.Reader)
	if err != nil {
		return err
	}
	defer ch.Close()
	if sw, err := b.load(ch, b.Image, whole); err != nil || sw != uicc.SWOK {
		return errors.Join(fmt.Errorf("LOAD ends with %04X, want 9000", uint16(sw)), err)
	}
	if err := b.reset(); err != nil {
		return err
	}
	digest, err := b.object(tagOS)
	if err != nil {
		return err
	}
	if !bytes.Equal(digest, b.Digest[:]) {
		return fmt.Errorf("the chip tells image %x, want %x", digest, b.Digest)
	}
	b.stage = loaded
	return b.lives(lifeReady)
}

func loadAgain(b *bench) error {
	ch, err := b.channel(b.Keys, b.Reader)
	if err != nil {
		return err
	}
	defer ch.Close()
	if sw, err := b.load(ch, b.Image, whole); err != nil || sw == uicc.SWOK {
		return errors.Join(errors.New("the image is loaded twice"), err)
	}
	return nil
}

func personaliseCut(b *bench) error {
	steps := len(b.script.Steps())
	for _, stop := range []int{1, steps / 2, steps - 1} {
		ch, err := b.channel(b.Keys, b.Reader)
		if err != nil {
			return fmt.Errorf("after a cut the chip maker's keys do not open the chip: %w", err)
		}
		err = b.script.Write(b.ctx, &cut{ch, stop}, b.Keys, b.record)
		ch.Close()
		if !errors.Is(err, errCut) {
			return errors.Join(fmt.Errorf("cut after %d of %d commands, the personalisation does not end there", stop, steps), err)
		}
		if err := b.reset(); err != nil {
			return err
		}
		life, err := b.life()
		if err != nil {
			return err
		}
		if life >= lifeSecured {
			return fmt.Errorf("cut after %d of %d commands, the chip says that it is a card", stop, steps)
		}
		if err := b.refused(b.Reader, "selecting and reading EF.ICCID", uicc.Command{INS: uicc.INSReadBinary, P1: 0x82, Le: 10}); err != nil {
			return err
		}
	}
	return nil
}

func personalise(b *bench) error {
	ch, err := b.channel(b.Keys, b.Reader)
	if err != nil {
		return err
	}
	defer ch.Close()
	if err := b.script.Write(b.ctx, ch, b.Keys, b.record); err != nil {
		return err
	}
	if err := b.reset(); err != nil {
		return err
	}
	if err := b.lives(lifeSecured); err != nil {
		return err
	}
	b.stage = made
	return b.script.ReadBack(b.ctx, b.Reader, b.record)
}

func keysChanged(b *bench) error {
	if ch, err := b.channel(b.Keys, b.Reader); err == nil {
		ch.Close()
		return errors.New("the chip maker's keys open the card")
	}
	own, err := b.own()
	if err != nil {
		return err
	}
	defer own.Close()
	ch, err := b.channel(own, b.Reader)
	if err != nil {
		return fmt.Errorf("the card's own keys do not open it: %w", err)
	}
	ch.Close()
	return nil
}

func personaliseOver(b *bench) error {
	own, err := b.own()
	if err != nil {
		return err
	}
	defer own.Close()
	for what, c := range map[string]uicc.Command{
		"STORE DATA": {CLA: 0x80, INS: uicc.INSStoreData, Data: append([]byte{0xB0, 0x01, 19, 1, 3, 10}, make([]byte, 16)...)},
		"LOAD":       {CLA: 0x80, INS: uicc.INSLoad, P1: 0x80, Data: make([]byte, 32)},
		"DELETE MF":  {INS: uicc.INSDeleteFile, Data: []byte{0x3F, 0x00}},
	} {
		ch, err := b.channel(own, b.Reader)
		if err != nil {
			return err
		}
		err = b.refused(ch, what, c)
		ch.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func pinEnable(b *bench) error {
	c, err := b.code(profile.SlotPIN1)
	if err != nil {
		return err
	}
	pin := b.secret(c.Slot)
	enable := func(code [8]byte) uicc.Command {
		return uicc.Command{INS: uicc.INSEnable, P2: c.Reference, Data: code[:]}
	}
	if !b.on[c.Reference] {
		if _, err := b.want(b.Reader, "ENABLE PIN with a wrong code", enable(wrong(pin)), uicc.TriesLeft(c.Tries-1)); err != nil {
			return err
		}
		if _, err := b.want(b.Reader, "ENABLE PIN", enable(pin), uicc.SWOK); err != nil {
			return err
		}
		b.on[c.Reference] = true
	}
	if err := b.usim(); err != nil {
		return err
	}
	w := wrong(pin)
	if _, err := b.want(b.Reader, "DISABLE PIN with a wrong code", uicc.Command{INS: uicc.INSDisable, P2: c.Reference, Data: w[:]}, uicc.TriesLeft(c.Tries-1)); err != nil {
		return err
	}
	return b.present(c.Reference, pin, "VERIFY PIN", uicc.SWOK)
}

// verified resets the sample and verifies PIN1 in the USIM.
func (b *bench) verified() (byte, error) {
	c, err := b.code(profile.SlotPIN1)
	if err != nil {
		return 0, err
	}
	if !b.on[c.Reference] {
		return 0, fmt.Errorf("%w: PIN1 could not be enabled", errNotRun)
	}
	return c.Reference, b.present(c.Reference, b.secret(c.Slot), "VERIFY PIN", uicc.SWOK)
}

func accessPIN(b *bench) error {
	ref, err := b.verified()
	if err != nil {
		return err
	}
	return b.rules(ref)
}

func accessReset(b *bench) error {
	ref, err := b.verified()
	if err != nil {
		return err
	}
	for _, f := range b.files() {
		if b.may(f, "read", ref) && !b.may(f, "read") {
			if err := b.reset(); err != nil {
				return err
			}
			if err := b.find(f); err != nil {
				return err
			}
			_, err := b.want(b.Reader, "reading "+f.Path()+" after a reset", reading(f), uicc.SWSecurity)
			return err
		}
	}
	return fmt.Errorf("%w: no file of the profile asks for PIN1", errNotRun)
}

// counts tries a wrong code, a reset, and the right one.
func (b *bench) counts(c profile.Code) error {
	code := b.secret(c.Slot)
	if err := b.present(c.Reference, code, "the right code", uicc.SWOK); err != nil {
		return err
	}
	if err := b.present(c.Reference, wrong(code), "a wrong code", uicc.TriesLeft(c.Tries-1)); err != nil {
		return err
	}
	if err := b.usim(); err != nil {
		return err
	}
	if err := b.left(c.Reference, c.Tries-1, "after a reset"); err != nil {
		return err
	}
	if err := b.present(c.Reference, code, "the right code", uicc.SWOK); err != nil {
		return err
	}
	return b.left(c.Reference, c.Tries, "after the right code")
}

func pinCount(b *bench) error {
	c, err := b.code(profile.SlotPIN1)
	if err != nil {
		return err
	}
	return b.counts(c)
}

func admCount(b *bench) error {
	c, err := b.code(profile.SlotADM1)
	if err != nil {
		return err
	}
	return b.counts(c)
}

// mostSteps bounds the write steps in which a command is torn.
const mostSteps = 200

// torn sends a command with the power gone in each of its write steps, and
// has after look at what is left. It ends when the command has no such step.
func (b *bench) torn(prepare func() (uicc.Command, error), after func() error) error {
	if b.Tear == nil {
		return fmt.Errorf("%w: this reader cannot take the power away in a write", errNotRun)
	}
	for n := 1; n <= mostSteps; n++ {
		c, err := prepare()
		if err != nil {
			return err
		}
		b.Tear(n)
		_, _, err = b.send(b.Reader, c)
		b.Tear(0)
		whole := err == nil
		if err := after(); err != nil {
			return fmt.Errorf("torn in write step %d: %w", n, err)
		}
		if whole {
			return nil
		}
	}
	return fmt.Errorf("the command has more than %d write steps", mostSteps)
}

func pinTear(b *bench) error {
	c, err := b.code(profile.SlotPIN1)
	if err != nil {
		return err
	}
	code := b.secret(c.Slot)
	full := func() error {
		if err := b.usim(); err != nil {
			return err
		}
		return b.present(c.Reference, code, "the right code", uicc.SWOK)
	}
	return b.torn(func() (uicc.Command, error) {
		w := wrong(code)
		return uicc.Command{INS: uicc.INSVerify, P2: c.Reference, Data: w[:]}, full()
	}, func() error {
		if err := b.usim(); err != nil {
			return err
		}
		n, err := b.tries(c.Reference)
		if err == nil && n != c.Tries && n != c.Tries-1 {
			err = fmt.Errorf("the counter is %d, want %d or %d", n, c.Tries, c.Tries-1)
		}
		return errors.Join(err, full())
	})
}

func pinBlock(b *bench) error {
	c, err := b.code(profile.SlotPIN1)
	if err != nil {
		return err
	}
	if !b.on[c.Reference] {
		return fmt.Errorf("%w: PIN1 could not be enabled", errNotRun)
	}
	code := b.secret(c.Slot)
	for n := c.Tries - 1; n >= 0; n-- {
		if err := b.present(c.Reference, wrong(code), "a wrong code", uicc.TriesLeft(n)); err != nil {
			return err
		}
	}
	for _, present := range [][8]byte{wrong(code), code} {
		if err := b.present(c.Reference, present, "a code after the last try", uicc.SWBlocked); err != nil {
			return err
		}
	}
	if err := b.usim(); err != nil {
		return err
	}
	if err := b.present(c.Reference, code, "the right code after a reset", uicc.SWBlocked); err != nil {
		return err
	}
	return b.rules()
}

func (b *bench) unblock(c profile.Code, puk, code [8]byte, what string, wanted ...uicc.SW) error {
	_, err := b.want(b.Reader, what, uicc.Command{INS: uicc.INSUnblock, P2: c.Reference, Data: append(puk[:], code[:]...)}, wanted...)
	return err
}

func pukCount(b *bench) error {
	c, err := b.code(profile.SlotPIN1)
	if err != nil {
		return err
	}
	if !c.HasPUK {
		return fmt.Errorf("%w: PIN1 has no PUK", errNotRun)
	}
	puk, next := b.secret(c.PUK), wrong(b.secret(c.Slot))
	if err := b.unblock(c, wrong(puk), next, "a wrong PUK", uicc.TriesLeft(c.Unblock-1)); err != nil {
		return err
	}
	if err := b.usim(); err != nil {
		return err
	}
	if err := b.unblock(c, wrong(puk), next, "a wrong PUK after a reset", uicc.TriesLeft(c.Unblock-2)); err != nil {
		return err
	}
	if err := b.unblock(c, puk, next, "the right PUK", uicc.SWOK); err != nil {
		return err
	}
	b.setSecret(c.Slot, next)
	if err := b.usim(); err != nil {
		return err
	}
	return b.present(c.Reference, next, "the new PIN", uicc.SWOK)
}

// pukBlock uses the PUK up: it is the last of the cases.
func pukBlock(b *bench) error {
	c, err := b.code(profile.SlotPIN1)
	if err != nil {
		return err
	}
	if !c.HasPUK {
		return fmt.Errorf("%w: PIN1 has no PUK", errNotRun)
	}
	puk, code := b.secret(c.PUK), b.secret(c.Slot)
	for n := c.Unblock - 1; n >= 0; n-- {
		if err := b.unblock(c, wrong(puk), code, "a wrong PUK", uicc.TriesLeft(n)); err != nil {
			return err
		}
	}
	return b.unblock(c, puk, code, "the right PUK after the last try", uicc.SWBlocked)
}

// challenge is the next of the sample's network.
func (b *bench) challenge() (aka.Vector, error) {
	m, err := b.Profile.Parameters().Open(b.layout.Of(b.record, profile.SlotK), b.layout.Of(b.record, profile.SlotOPC))
	if err != nil {
		return aka.Vector{}, err
	}
	b.sqn += 1 << 5
	var r aka.RAND
	rand.Read(r[:])
	return m.Vector(r, aka.SQN(b.sqn), aka.EPS()), nil
}

func (b *bench) authenticate(v aka.Vector) ([]byte, error) {
	return uicc.NewSession(b.Reader).Authenticate(b.ctx, v.RAND, v.AUTN)
}

func (b *bench) ready() (aka.Vector, error) {
	if _, err := b.verified(); err != nil {
		return aka.Vector{}, err
	}
	return b.challenge()
}

func akaAnswers(b *bench) error {
	v, err := b.ready()
	if err != nil {
		return err
	}
	answer, err := b.authenticate(v)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(answer, v.AppendAnswer(nil)) {
		return errors.New("RES, CK or IK differ")
	}
	return nil
}

func akaMAC(b *bench) error {
	v, err := b.ready()
	if err != nil {
		return err
	}
	v.AUTN[15] ^= 1
	if _, err := b.authenticate(v); !errors.Is(err, uicc.SWWrongMAC) {
		return fmt.Errorf("the card answers %v, want 9862", err)
	}
	return nil
}

func akaReplay(b *bench) error {
	v, err := b.ready()
	if err != nil {
		return err
	}
	if _, err := b.authenticate(v); err != nil {
		return err
	}
	answer, err := b.authenticate(v)
	if err != nil {
		return err
	}
	if len(answer) != 16 || answer[0] != 0xDC {
		return fmt.Errorf("the second answer has %d bytes and does not begin with DC", len(answer))
	}
	return nil
}

func akaPIN(b *bench) error {
	if _, err := b.verified(); err != nil {
		return err
	}
	v, err := b.challenge()
	if err != nil {
		return err
	}
	if err := b.usim(); err != nil {
		return err
	}
	if _, err := b.authenticate(v); !errors.Is(err, uicc.SWSecurity) {
		return fmt.Errorf("without PIN1 the card answers %v, want 6982", err)
	}
	return nil
}

// secrets reads all that can be read with PIN1 and ADM1, and looks for what no
// card may tell.
func secrets(b *bench) error {
	if _, err := b.verified(); err != nil {
		return err
	}
	if adm := b.adm(); adm != nil {
		if err := b.present(adm.Reference, b.secret(adm.Slot), "VERIFY ADM", uicc.SWOK); err != nil {
			return err
		}
	}
	s := uicc.NewSession(b.Reader)
	for _, f := range b.files() {
		if err := b.find(f); err != nil {
			return err
		}
		n := 1
		if f.Kind.Records() {
			n = f.Records
		}
		for i := range n {
			var data []byte
			var err error
			if f.Kind.Records() {
				data, err = s.ReadRecord(b.ctx, 0, byte(i+1))
			} else {
				data, err = s.ReadBinary(b.ctx, 0, 0, f.Size)
			}
			if err != nil {
				break // its rule says no
			}
			if id, ok := b.told(data); ok {
				return fmt.Errorf("%s holds %s", f.Path(), id)
			}
		}
	}
	for tag := range uicc.Tag(0x10000) {
		if tag > 0xFF && tag < 0x9F00 || tag > 0x9FFF && tag < 0xDF00 || tag > 0xDFFF {
			continue
		}
		data, _, err := b.send(b.Reader, uicc.Command{CLA: 0x80, INS: uicc.INSGetData, P1: byte(tag >> 8), P2: byte(tag), Le: 256})
		if err != nil {
			return err
		}
		if id, ok := b.told(data); ok {
			return fmt.Errorf("GET DATA %X gives %s", tag, id)
		}
	}
	return nil
}

// adm is the profile's ADM1; nil if it has none.
func (b *bench) adm() *profile.Code {
	for _, c := range b.Profile.Codes {
		if c.Slot == profile.SlotADM1 {
			return &c
		}
	}
	return nil
}

// told finds a secret of the sample in what the card gave.
func (b *bench) told(data []byte) (profile.SlotID, bool) {
	for _, s := range b.Profile.Slots() {
		if s.Kind != profile.Identity && s.ID != profile.SlotACC && bytes.Contains(data, b.layout.Of(b.record, s.ID)) {
			return s.ID, true
		}
	}
	return 0, false
}

func commands(b *bench) error {
	if err := b.usim(); err != nil {
		return err
	}
	for _, c := range []struct {
		what   string
		c      uicc.Command
		wanted []uicc.SW
	}{
		{"an unknown instruction", uicc.Command{INS: 0x02}, []uicc.SW{uicc.SWInstruction}},
		{"a reserved class", uicc.Command{CLA: 0x20, INS: uicc.INSSelect, Data: []byte{0x3F, 0}}, []uicc.SW{uicc.SWClass}},
		{"SELECT with wrong parameters", uicc.Command{INS: uicc.INSSelect, P1: 0x77, Data: []byte{0x3F, 0}}, []uicc.SW{uicc.SWParameters}},
		{"VERIFY of a code that is not there", uicc.Command{INS: uicc.INSVerify, P2: 0x08, Data: make([]byte, 8)}, []uicc.SW{uicc.SWNotFound}},
		{"VERIFY with a short code", uicc.Command{INS: uicc.INSVerify, P2: 0x01, Data: make([]byte, 4)}, []uicc.SW{uicc.SWLength}},
		{"SELECT of a file that is not there", uicc.Command{INS: uicc.INSSelect, P2: 0x04, Data: []byte{0x6F, 0x00}, Le: 256}, []uicc.SW{uicc.SWFileNotFound}},
	} {
		if _, err := b.want(b.Reader, c.what, c.c, c.wanted...); err != nil {
			return err
		}
	}
	return nil
}

func channels(b *bench) error {
	_, err := b.want(b.Reader, "SELECT on channel 2", uicc.Command{CLA: 0x02, INS: uicc.INSSelect, P2: 0x0C, Data: []byte{0x3F, 0}}, uicc.SWChannel)
	return err
}

func challenges(b *bench) error {
	seen := map[string]bool{}
	for range 64 {
		data, err := b.want(b.Reader, "GET CHALLENGE", uicc.Command{INS: uicc.INSGetChallenge, Le: 8}, uicc.SWOK)
		if err != nil {
			return err
		}
		if len(data) != 8 || seen[string(data)] {
			return fmt.Errorf("a challenge of %d bytes came twice, or is not of 8", len(data))
		}
		seen[string(data)] = true
	}
	return nil
}

func writeTear(b *bench) error {
	adm := b.adm()
	if adm == nil {
		return fmt.Errorf("%w: the profile has no ADM1", errNotRun)
	}
	for _, f := range b.files() {
		if f.Kind != uicc.Transparent || f.Size < 2 || !b.may(f, "update", adm.Reference) || !b.may(f, "read", adm.Reference) {
			continue
		}
		return b.tearWrite(f, adm)
	}
	return fmt.Errorf("%w: no file of the profile is ADM1's to write", errNotRun)
}

func (b *bench) tearWrite(f placed, adm *profile.Code) error {
	s := uicc.NewSession(b.Reader)
	n := min(f.Size, 32)
	at := func() ([]byte, error) {
		if err := b.usim(); err != nil {
			return nil, err
		}
		if err := b.present(adm.Reference, b.secret(adm.Slot), "VERIFY ADM", uicc.SWOK); err != nil {
			return nil, err
		}
		if err := b.find(f); err != nil {
			return nil, err
		}
		return s.ReadBinary(b.ctx, 0, 0, n)
	}
	before, err := at()
	if err != nil {
		return err
	}
	after := bytes.Clone(before)
	for i := range after {
		after[i] ^= 0xFF
	}
	return b.torn(func() (uicc.Command, error) {
		now, err := at()
		if err == nil && !bytes.Equal(now, before) {
			err = s.UpdateBinary(b.ctx, 0, 0, before)
		}
		return uicc.Command{INS: uicc.INSUpdateBinary, Data: after}, err
	}, func() error {
		now, err := at()
		if err == nil && !bytes.Equal(now, before) && !bytes.Equal(now, after) {
			err = fmt.Errorf("%s holds neither its old nor its new content", f.Path())
		}
		return err
	})
}
