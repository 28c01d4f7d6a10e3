package simos

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"

	"ankan/aka"
	"ankan/scp"
	"ankan/uicc"
)

// managerAID is the AID of the card manager, GlobalPlatform's issuer security
// domain.
const managerAID = "\xA0\x00\x00\x01\x51\x00\x00\x00"

// Key version numbers of the chip maker's keys: SCP03's and SCP02's.
const (
	firstVersion    = 0x30
	firstOldVersion = 0x20
)

// Data objects of GET DATA. All are answered as BER-TLV, tag first.
const (
	TagCPLC      uicc.Tag = 0x9F7F // card production life cycle, 42 bytes
	TagKeys      uicc.Tag = 0xE0   // key information template
	TagCard      uicc.Tag = 0x66   // card data
	TagLife      uicc.Tag = 0xDF20 // life cycle, 1 byte
	TagOSDigest  uicc.Tag = 0xDF21 // SHA-256 of the loaded OS image
	TagLot       uicc.Tag = 0xDF22 // lot, ASCII
	serialInCPLC          = 10
)

// cardDataHead, with a protocol and its i behind it, says that the card speaks
// GlobalPlatform 2.3 and that protocol (GlobalPlatform Card Specification, H.2).
const cardDataHead = "\x66\x30\x73\x2E" +
	"\x06\x07\x2A\x86\x48\x86\xFC\x6B\x01" +
	"\x60\x0B\x06\x09\x2A\x86\x48\x86\xFC\x6B\x02\x02\x03" +
	"\x63\x09\x06\x07\x2A\x86\x48\x86\xFC\x6B\x03" +
	"\x64\x0B\x06\x09\x2A\x86\x48\x86\xFC\x6B\x04"

// Further data objects of GET DATA (GlobalPlatform Card Specification, H.1 and
// 11.3; TS 102 226, 8.2.1.7.2).
const (
	tagIIN             uicc.Tag = 0x42
	tagCIN             uicc.Tag = 0x45
	tagCapability      uicc.Tag = 0x67
	tagDiversification uicc.Tag = 0xCF
	tagSequence        uicc.Tag = 0xC1
	tagResources       uicc.Tag = 0xFF21
)

// capability says which secure channel there is: SCP03 with i = 70 and AES-128,
// AES-192 and AES-256 (GlobalPlatform Card Specification, H.4).
const capability = "\x67\x0B\xA0\x09\x80\x01\x03\x81\x01\x70\x82\x01\x07"

// issuer appends the issuer's or the card's number: the serial number for both,
// as the chip knows of no other; the issuer's is that of the chip maker.
func (c *core) issuer(out []byte, tag uicc.Tag) []byte {
	if tag == tagIIN {
		return uicc.AppendTLV(out, tag, 'A', 'K', 'A', 'N')
	}
	return uicc.AppendTLV(out, tag, c.b[atSerial:atSerial+8]...)
}

// told is what a chip of SCP03, or of SCP02, tells.
func (c *core) told(s, old string) string {
	if c.scp02() {
		return old
	}
	return s
}

// resources appends how many applications there are and how much memory is left
// (TS 102 226, 8.2.1.7.2.1).
func (c *core) resources(out []byte) []byte {
	n := 0
	c.entries(0x40, func([]byte, int) bool { n++; return true })
	free := c.unused()
	v := uicc.AppendTLV(nil, 0x81, byte(n))
	v = uicc.AppendTLV(v, 0x82, byte(free>>24), byte(free>>16), byte(free>>8), byte(free))
	return uicc.AppendTLV(out, tagResources, uicc.AppendTLV(v, 0x83, 0, 0, 4, 0)...)
}

// A chip speaks SCP03 with i = 70, or SCP02 with i = 35: explicit, three keys, ICV
// encryption, R-MAC.
const (
	cardData      = cardDataHead + "\x03\x70"
	oldCardData   = cardDataHead + "\x02\x35"
	oldCapability = "\x67\x08\xA0\x06\x80\x01\x02\x81\x01\x35"
)

// selectManager selects the card manager. It has no files: the channel's
// directory stays what it is.
func (c *core) selectManager(cmd *uicc.Command) uicc.SW {
	c.session.ch.app = atManager
	if cmd.P2&0x0C == 0x0C {
		return uicc.SWOK
	}
	fci := uicc.AppendTLV(nil, 0x84, []byte(managerAID)...)
	fci = uicc.AppendTLV(fci, 0xA5, 0x9F, 0x65, 0x01, 0xFF) // data fields up to 255 bytes
	c.session.out = uicc.AppendTLV(c.session.out, 0x6F, fci...)
	return uicc.SWOK
}

// getData is GET DATA (GlobalPlatform Card Specification, 11.3).
func (c *core) getData(cmd *uicc.Command) uicc.SW {
	if len(cmd.Data) > 0 || cmd.Le == uicc.NoLe {
		return uicc.SWLength
	}
	tag := uicc.Tag(cmd.P1)<<8 | uicc.Tag(cmd.P2)
	if app := c.session.ch.app; app > atManager && c.b[app] == recordApp && !c.isDomain(app) {
		return c.instanceData(app, uint16(tag))
	}
	out := c.session.out
	switch tag {
	case TagCPLC:
		out = c.cplc(uicc.AppendTL(out, tag, 42))
	case TagKeys:
		out = c.keyInformation(out)
	case TagCard:
		out = append(out, c.told(cardData, oldCardData)...)
	case TagLife:
		out = uicc.AppendTLV(out, tag, byte(c.life()))
	case TagOSDigest:
		if c.life() == Blank {
			return uicc.SWNotFound
		}
		out = uicc.AppendTLV(out, tag, c.b[atDigest:atDigest+32]...)
	case tagIIN, tagCIN:
		out = c.issuer(out, tag)
	case tagCapability:
		out = append(out, c.told(capability, oldCapability)...)
	case tagDiversification:
		out = uicc.AppendTLV(out, tag, append(c.b[atSerial:atSerial+8:atSerial+8], 0, 0)...)
	case tagSequence:
		out = uicc.AppendTLV(out, tag, c.b[atSequence:atSequence+3]...)
	case tagResources:
		out = c.resources(out)
	case TagLot:
		out = uicc.AppendTLV(out, tag, []byte(c.lot())...)
	default:
		return uicc.SWNotFound
	}
	c.session.out = out
	return uicc.SWOK
}

// cplc appends the card production life cycle data. The first eight characters
// of the lot stand where the module's and the manufacturer's data do, bytes
// 18..25, filled with 00.
func (c *core) cplc(out []byte) []byte {
	start := len(out)
	out = append(out, 'A', 'K', 0, 1) // IC fabricator, IC type
	out = append(out, c.b[atDigest:atDigest+6]...)
	out = append(out, c.b[atSerial:atSerial+8]...)
	lot := [8]byte{}
	copy(lot[:], c.lot())
	out = append(out, lot[:]...)
	return append(out, make([]byte, start+42-len(out))...)
}

func (c *core) keyInformation(out []byte) []byte {
	var keys []byte
	kind := byte(keyAES)
	if c.scp02() {
		kind = keyDES
	}
	add := func(version, length byte) {
		for id := byte(1); id <= 3; id++ {
			keys = append(keys, 0xC0, 4, id, version, kind, length)
		}
	}
	add(c.b[atVersion], c.b[atKeyLen])
	for at := c.next(atRecords, recordSCP); at != 0 && len(keys) < 200; at = c.next(c.after(at), recordSCP) {
		if c.u24(at+scpOwner) == atManager {
			add(c.b[at+scpVersion], c.b[at+scpLength])
		}
	}
	for at := c.next(atRecords, recordOTA); at != 0 && len(keys) < 200; at = c.next(c.after(at), recordOTA) {
		add(c.b[at+keysVersion], c.b[at+keysLength])
	}
	return uicc.AppendTLV(out, TagKeys, keys...)
}

// static is the SCP03 key set in force.
func (c *core) static() (scp.KeySet, error) { return c.keySet(atKeys, int(c.b[atKeyLen])) }

func (c *core) keySet(at, n int) (scp.KeySet, error) {
	k := c.b[at:]
	return scp.NewKeySet(k[:n], k[n:2*n], k[2*n:3*n])
}

// scpKeys is the record of a further key set of a security domain; version 00 is
// its first. 0: there is none.
func (m *memory) scpKeys(version byte, domain int) int {
	for at := m.next(atRecords, recordSCP); at != 0; at = m.next(m.after(at), recordSCP) {
		if m.u24(at+scpOwner) == domain && (version == 0 || m.b[at+scpVersion] == version) {
			return at
		}
	}
	return 0
}

// channelKeys finds the keys with a version, 00 for the first, of the selected
// security domain: where they lie, and how long one is. One without keys of its
// own lends those of the card manager.
func (c *core) channelKeys(version byte) (at, n int, of byte, domain int, aid []byte, sw uicc.SW) {
	domain, aid = atManager, []byte(managerAID)
	if app := c.session.ch.app; app > atManager && c.b[app] == recordApp {
		if !c.isDomain(app) {
			app, _ = c.domain(c.named(app + appDomain))
		}
		if app > atManager && c.scpKeys(0, app) != 0 {
			domain, aid = app, c.appAID(app)
		}
	}
	if domain == atManager && (version == 0 || version == c.b[atVersion]) {
		return atKeys, int(c.b[atKeyLen]), c.b[atVersion], domain, aid, uicc.SWOK
	}
	if at = c.scpKeys(version, domain); at == 0 {
		return 0, 0, 0, 0, nil, uicc.SWNotFound
	}
	return at + scpSecret, int(c.b[at+scpLength]), c.b[at+scpVersion], domain, aid, uicc.SWOK
}

// initializeUpdate is INITIALIZE UPDATE (Amendment D, 7.1.1; of SCP02, Card
// Specification, E.5.1). SCP03's challenge is made from a sequence counter, which
// is used up whatever comes of the session; SCP02's is random, and its counter
// goes up when the host was authenticated.
func (c *core) initializeUpdate(cmd *uicc.Command) uicc.SW {
	s := c.session
	switch {
	case s.inside:
		return uicc.SWConditions
	case cmd.P2 != 0:
		return uicc.SWParameters
	case len(cmd.Data) != 8 && (len(cmd.Data) != 16 || c.scp02()):
		return uicc.SWLength
	}
	at, n, version, domain, aid, sw := c.channelKeys(cmd.P1)
	if sw != uicc.SWOK {
		return sw
	}
	s.scp.Close()
	s.domain, s.perso, s.pending, s.told = domain, 0, nil, 0
	g := scp.Greeting{KeyVersion: version}
	copy(g.Diversification[:], c.b[atSerial:atSerial+8])
	if c.scp02() {
		return c.initializeOld(at, g, cmd.Data)
	}
	keys, err := c.keySet(at, n)
	if err != nil {
		return uicc.SWProblem
	}
	sequence := uint32(c.u24(atSequence)) + 1
	challenge, err := keys.Challenge(sequence, aid, len(cmd.Data))
	if err != nil {
		return uicc.SWConditions // the counter is used up
	}
	c.setSequence(sequence)
	g.Challenge, g.PseudoRandom, g.Sequence = challenge, true, sequence
	out, err := s.scp.Initialize(s.out, keys, g, cmd.Data)
	if err != nil {
		return uicc.SWProblem
	}
	s.out, s.keys = out, keys
	return uicc.SWOK
}

func (c *core) setSequence(n uint32) { c.write(atSequence, byte(n>>16), byte(n>>8), byte(n)) }

func (c *core) initializeOld(at int, g scp.Greeting, host []byte) uicc.SW {
	k := c.b[at:]
	keys, err := scp.NewDESKeySet(k[:16], k[16:32], k[32:48])
	if err != nil {
		return uicc.SWProblem
	}
	defer keys.Close()
	if g.Sequence = uint32(c.u24(atSequence)); g.Sequence > 0xFFFF {
		return uicc.SWConditions
	}
	var challenge [6]byte
	c.random(challenge[:])
	g.Challenge = challenge[:]
	out, err := c.session.scp.InitializeDES(c.session.out, keys, g, host)
	if err != nil {
		return uicc.SWProblem
	}
	c.session.out = out
	return uicc.SWOK
}

// openKey opens what a host sealed for the channel at hand.
func (c *core) openKey(dst, sealed []byte) ([]byte, error) {
	if c.scp02() && c.session.remote == nil {
		return c.session.scp.OpenKey(dst, sealed)
	}
	return c.session.keys.OpenKey(dst, sealed)
}

// externalAuthenticate is EXTERNAL AUTHENTICATE (Amendment D, 7.1.2).
func (c *core) externalAuthenticate(b []byte) uicc.SW {
	err := c.session.scp.Authenticate(b)
	switch {
	case err == nil:
		if c.scp02() {
			c.setSequence(uint32(c.u24(atSequence)) + 1)
		}
		return uicc.SWOK
	case errors.Is(err, scp.ErrCryptogram):
		return uicc.SWFailed
	case errors.Is(err, scp.ErrClosed):
		return uicc.SWConditions
	}
	return uicc.SWSecurity
}

// block reads P1 of LOAD and STORE DATA: 00 if more blocks follow, 80 if not.
func block(cmd *uicc.Command) (last bool, sw uicc.SW) {
	if cmd.P1&^0x80 != 0 {
		return false, uicc.SWParameters
	}
	return cmd.P1 == 0x80, uicc.SWOK
}

// loadOS is LOAD: blocks of a signed Image, to a blank chip. Block 00 begins
// anew; nothing is kept until the last block came and the signature is right.
func (c *core) loadOS(cmd *uicc.Command) uicc.SW {
	if c.life() != Blank && c.session.pending != nil {
		return c.loadFile(cmd)
	}
	s := c.session
	last, sw := block(cmd)
	switch {
	case !s.inside || s.scp.Level()&scp.Commands != scp.Commands:
		return uicc.SWSecurity
	case c.life() != Blank:
		return uicc.SWConditions
	case sw != uicc.SWOK:
		return sw
	case len(cmd.Data) == 0:
		return uicc.SWLength
	}
	if cmd.P2 == 0 {
		s.load, s.block = s.load[:0], 0 // begun anew: 256 blocks hold more than maxImage
	}
	switch {
	case int(cmd.P2) != s.block:
		s.load, s.block = nil, 0
		return uicc.SWParameters
	case len(s.load)+len(cmd.Data) > maxImage:
		s.load, s.block = nil, 0
		return uicc.SWNoSpace
	}
	if s.load == nil && !last {
		s.load = make([]byte, 0, 4<<10)
	}
	s.load = append(s.load, cmd.Data...)
	s.block++
	if !last {
		return uicc.SWOK
	}
	signed := s.load
	s.load, s.block = nil, 0
	image, text, err := openImage(signed, ed25519.PublicKey(c.b[atVendor:atVendor+32]))
	switch {
	case errors.Is(err, ErrSignature):
		return uicc.SWSecurity
	case err != nil:
		return uicc.SWData
	}
	digest := sha256.Sum256(text)
	c.write(atDigest, digest[:]...)
	var offers byte
	for _, a := range image.Algorithms {
		offers |= algorithmBit(aka.Algorithm(a))
	}
	c.write(atOS, offers)
	c.write(atLife, byte(Loaded))
	return uicc.SWOK
}

// storeData is STORE DATA: to the application that INSTALL named or that is
// selected, or whole DGIs in each block, before the chip is secured.
func (c *core) storeData(cmd *uicc.Command) uicc.SW {
	s := c.session
	at := s.perso
	if at == 0 {
		at = s.ch.app
	}
	if s.inside && at > atManager && c.b[at] == recordApp {
		if at != s.perso && !c.belongs(at, s.domain) {
			return uicc.SWSecurity
		}
		if cmd.P1&^0xF8 != 0 || len(cmd.Data) == 0 {
			return uicc.SWParameters
		}
		return c.storeInstance(at, cmd)
	}
	_, sw := block(cmd)
	switch {
	case !s.inside:
		return uicc.SWSecurity
	case c.life() != Loaded && c.life() != Initialized:
		return uicc.SWConditions
	case sw != uicc.SWOK:
		return sw
	case len(cmd.Data) == 0:
		return uicc.SWLength
	}
	for d := cmd.Data; len(d) > 0; {
		if len(d) < 3 || len(d) < 3+int(d[2]) {
			return uicc.SWData
		}
		dgi, value := binary.BigEndian.Uint16(d), d[3:3+int(d[2])]
		d = d[3+len(value):]
		switch {
		case dgi == 0xA001:
			sw = c.storeAKA(value)
		case dgi == 0xA002:
			sw = c.storeRemote(value)
		case dgi>>8 == 0xB0:
			sw = c.storeCode(byte(dgi), value)
		default:
			sw = uicc.SWNotFound
		}
		if sw != uicc.SWOK {
			return sw
		}
	}
	return uicc.SWOK
}

// allAlgorithms is every bit of algorithmBit.
const allAlgorithms = 0x07

// algorithmBit is an algorithm's bit at atOS; none for what this card cannot
// compute.
func algorithmBit(a aka.Algorithm) byte {
	switch a {
	case aka.MILENAGE:
		return 0x01
	case aka.TUAK:
		return 0x02
	case aka.XOR:
		return 0x04
	}
	return 0
}

// storeAKA takes an algorithm with its parameters as aka.Parameters.Append
// writes them, and K and OPc or TOPc sealed.
func (c *core) storeAKA(v []byte) uicc.SW {
	adf := c.session.ch.adf
	switch {
	case adf == 0:
		return uicc.SWConditions
	}
	p, sealed, err := aka.ReadParameters(v) // sealed keys are as long as clear ones
	if err != nil || c.b[atOS]&algorithmBit(p.Algorithm) == 0 {
		return uicc.SWData
	}
	r := head(recordAKA, akaSet+len(v))
	defer clear(r)
	put24(r[akaOwner:], adf)
	keys := akaSet + copy(r[akaSet:], v) - len(sealed)
	if _, err := c.openKey(r[keys:keys], sealed); err != nil {
		return uicc.SWProblem
	}
	if _, err := p.Open(r[keys:keys+p.KeySize()], r[keys+p.KeySize():]); err != nil {
		return uicc.SWData
	}
	return c.put(c.aka(adf), r)
}

// storeCode takes flags (bit 1: enabled), the most tries of the code and of its
// unblock code, and both sealed. No unblock tries: there is no unblock code.
func (c *core) storeCode(ref byte, v []byte) uicc.SW {
	if len(v) != 19 || !codeReference(ref) || v[0] > 1 || v[1] < 1 || v[1] > 15 || v[2] > 15 {
		return uicc.SWData
	}
	if administrative(ref) && v[0] == 0 {
		return uicc.SWData // what everybody satisfies is no ADM
	}
	owner := 0
	if ref&0x80 != 0 {
		if owner = c.session.ch.adf; owner == 0 {
			owner = c.mf()
		}
		if owner == 0 {
			return uicc.SWConditions
		}
	}
	r := head(recordCode, codeSize)
	defer clear(r)
	put24(r[codeOwner:], owner)
	r[codeRef], r[codeEnabled] = ref, v[0]
	r[codeTries], r[codeMax], r[codePUK], r[codePUKMax] = v[1], v[1], v[2], v[2]
	if _, err := c.openKey(r[codeSecret:codeSecret], v[3:]); err != nil {
		return uicc.SWProblem
	}
	if !wellFormed(ref, r[codeSecret:codeUnblock]) {
		return uicc.SWData
	}
	at := c.code(ref, c.session.ch.adf)
	if at != 0 && c.u24(at+codeOwner) != owner {
		at = 0
	}
	return c.put(at, r)
}

// put writes a record over the one at at, of the same length, or appends it.
func (c *core) put(at int, r []byte) uicc.SW {
	if at != 0 && c.u24(at+1) == len(r) {
		c.write(at, r...)
		return uicc.SWOK
	}
	// A record of a code or of authentication data stands behind its DF.
	after := 0
	if r[0] == recordCode || r[0] == recordAKA || r[0] == recordRemote {
		after = int(r[4])<<16 | int(r[5])<<8 | int(r[6])
	}
	if at != 0 {
		c.kill(at)
	}
	if c.place(r, after) == 0 {
		return uicc.SWNoSpace
	}
	return uicc.SWOK
}

// Types of keys (GlobalPlatform Card Specification, table 11-16).
const (
	keyAES = 0x88
	keyDES = 0x80
	keyECC = 0xB0 // public
)

// putKey is PUT KEY (Amendment D, 7.2) of three keys, of AES or on a chip that
// speaks SCP02 of triple DES: SCP80's KIC, KID and KIK under versions 01..0F, or
// the secure channel's under 20..6F. Before the chip is secured new ones of the
// channel wait for that moment.
func (c *core) putKey(cmd *uicc.Command) uicc.SW {
	switch {
	case !c.session.inside:
		return uicc.SWSecurity
	case c.life() == Blank:
		return uicc.SWConditions
	case cmd.P2 == 0x01 && c.life() >= Secured:
		return c.putDAPKey(cmd)
	case cmd.P2 != 0x81:
		return uicc.SWParameters
	}
	version, text, receipt, sw := c.takeKeys(cmd.Data)
	if sw != uicc.SWOK {
		return sw
	}
	defer clear(text)
	if version >= 0x20 && version <= 0x6F && c.life() >= Secured && (c.session.domain != atManager || cmd.P1 != c.b[atVersion]) {
		sw := c.putChannelKeys(version, cmd.P1, text)
		if sw == uicc.SWOK {
			c.session.out = append(c.session.out, receipt...)
		}
		return sw
	}
	r := head(recordOTA, keysSecret+len(text))
	defer clear(r)
	r[keysVersion], r[keysLength] = version, byte(len(text)/3)
	copy(r[keysSecret:], text)
	at := 0
	switch {
	case version >= 0x01 && version <= 0x0F && (cmd.P1 == 0 || cmd.P1 == version):
		if at = c.ota(version); cmd.P1 != 0 && at == 0 {
			return uicc.SWNotFound
		}
		if sw = c.put(at, r); sw == uicc.SWOK && c.counter(version) != 0 {
			sw = c.setCounter(version, 0) // new keys have seen no packet
		}
	case version >= 0x20 && version <= 0x6F && cmd.P1 == c.b[atVersion]:
		if c.life() >= Secured {
			c.setStatic(r)
			break
		}
		r[0] = recordNext
		sw = c.put(c.next(atRecords, recordNext), r)
	case version >= 0x20 && version <= 0x6F:
		return uicc.SWNotFound
	default:
		return uicc.SWData
	}
	if sw == uicc.SWOK {
		c.session.out = append(c.session.out, receipt...)
	}
	return sw
}

// takeKeys opens the three keys of PUT KEY and checks their check values. It
// returns them one behind the other, and what the card answers.
func (c *core) takeKeys(d []byte) (version byte, text, receipt []byte, sw uicc.SW) {
	if !c.scp02() {
		version, keys, receipt, err := scp.ParsePutKey(d, c.session.keys)
		if err != nil {
			return 0, nil, nil, uicc.SWData
		}
		defer keys.Close()
		if text, err = keys.Reveal(nil); err != nil {
			return 0, nil, nil, uicc.SWProblem
		}
		return version, text, receipt, uicc.SWOK
	}
	const each = 2 + 16 + 4 // type, length, key, check value
	if len(d) != 1+3*each {
		return 0, nil, nil, uicc.SWData
	}
	version, receipt = d[0], []byte{d[0]}
	text = make([]byte, 0, 48)
	for d = d[1:]; len(d) > 0; d = d[each:] {
		if d[0] != keyDES || d[1] != 16 || d[18] != 3 {
			return 0, nil, nil, uicc.SWData
		}
		start := len(text)
		var err error
		if text, err = c.openKey(text, d[2:18]); err != nil {
			return 0, nil, nil, uicc.SWData
		}
		if kcv, err := scp.DESCheckValue(text[start:]); err != nil || !bytes.Equal(kcv[:], d[19:22]) {
			return 0, nil, nil, uicc.SWData
		}
		receipt = append(receipt, d[19:22]...)
	}
	return version, text, receipt, uicc.SWOK
}

// putChannelKeys adds or replaces keys of the security domain whose channel is
// open: further ones of the card manager beside those in force, or its own.
func (c *core) putChannelKeys(version, replaced byte, text []byte) uicc.SW {
	domain := c.session.domain
	if app := c.session.ch.app; app > atManager && c.b[app] == recordApp && c.isDomain(app) && c.belongs(app, domain) {
		domain = app
	}
	at := 0
	if replaced != 0 {
		if at = c.scpKeys(replaced, domain); at == 0 {
			return uicc.SWNotFound
		}
	}
	if version != replaced && (c.scpKeys(version, domain) != 0 || domain == atManager && version == c.b[atVersion]) {
		return uicc.SWConditions
	}
	r := head(recordSCP, scpSecret+len(text))
	defer clear(r)
	put24(r[scpOwner:], domain)
	r[scpVersion], r[scpLength] = version, byte(len(text)/3)
	copy(r[scpSecret:], text)
	if domain != atManager && c.b[domain+appLife] == appSelectable {
		c.write(domain+appLife, appPersonal)
	}
	return c.put(at, r)
}

// belongs reports whether an entry is the security domain's itself, or belongs
// to it.
func (c *core) belongs(at, domain int) bool {
	of, ok := c.domain(c.named(at + appDomain))
	return at == domain || ok && of == domain
}

func (m *memory) ota(version byte) int {
	for at := m.next(atRecords, recordOTA); at != 0; at = m.next(m.after(at), recordOTA) {
		if m.b[at+keysVersion] == version {
			return at
		}
	}
	return 0
}

// setStatic puts the keys of a record in force.
func (c *core) setStatic(r []byte) {
	c.write(atVersion, r[keysVersion], r[keysLength])
	c.write(atKeys, r[keysSecret:]...)
}

// setStatus is SET STATUS of the card (GlobalPlatform Card Specification,
// 11.10): a finished chip becomes a card; a card is locked, unlocked, ended.
func (c *core) setStatus(cmd *uicc.Command) uicc.SW {
	if cmd.P1 == 0x40 || cmd.P1 == 0x60 {
		return c.setApplicationStatus(cmd)
	}
	from, to := c.life(), Life(cmd.P2)
	switch {
	case !c.session.inside:
		return uicc.SWSecurity
	case cmd.P1 != 0x80 || to != Secured && to != Locked && to != Terminated:
		return uicc.SWParameters
	case len(cmd.Data) > 0:
		return uicc.SWLength
	case from < Initialized || from == to || from == Initialized && to != Secured:
		return uicc.SWConditions
	}
	if at := c.next(atRecords, recordNext); at != 0 {
		c.setStatic(slices.Clone(c.b[at:c.after(at)]))
		c.kill(at)
	}
	c.write(atLife, byte(to))
	return uicc.SWOK
}
