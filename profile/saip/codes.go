package saip

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"ankan/uicc"
)

// A code is a PIN or ADM without its value.
type code struct {
	reference byte
	digits    int
	puk       byte // reference, 0: none
	enabled   bool
	tries     int
	of        *file // the directory that it is about
	element   int
}

// A puk is an unblock code without its value.
type puk struct {
	reference byte
	tries     int
}

// A keySet is a set of three AES keys without their values; version 0: none.
type keySet struct {
	version byte
	bits    int
}

// triesOf is the upper half of maxNumOfAttemps-retryNumLeft: the most tries.
func (b *builder) triesOf(n node, standard int) int {
	v := standard
	if n.tag != 0 {
		v = b.d.integer(n, "maxNumOfAttemps-retryNumLeft", 255)
	}
	if b.d.err == nil && v>>4 == 0 {
		b.d.fail(n.at, "maxNumOfAttemps-retryNumLeft %02X allows no try", v)
	}
	return v >> 4
}

func (b *builder) pinCodes(n node) {
	d := &b.d
	f := d.fields(n, d.name, 0xA0, 0xA1)
	b.need(n, f, 0xA1, "pinCodes")
	b.head(f[0xA0])
	if d.err == nil && b.here == nil {
		d.fail(n.at, "comes before the MF")
	}
	choice := d.children(f[0xA1])
	if d.err != nil {
		return
	}
	if len(choice) == 1 && choice[0].tag == 0x81 {
		path := d.path(choice[0], "filePath")
		dir := b.find(path)
		if d.err == nil && (dir == nil || !dir.kind.Dedicated()) {
			d.fail(choice[0].at, "filePath %v leads to no directory", path)
			return
		}
		for _, c := range slices.Clone(b.codes) {
			if c.of == dir {
				c.of = b.here
				b.codes = append(b.codes, c)
			}
		}
		return
	}
	if len(choice) != 1 || choice[0].tag != 0xA0 {
		d.fail(f[0xA1].at, "pinCodes is neither pinconfig nor filePath")
		return
	}
	for _, x := range d.list(choice[0], "pinconfig", 0x30) {
		p := d.fields(x, "PINConfiguration", 0x80, 0x81, 0x82, 0x83, 0x84)
		b.need(x, p, 0x80, "keyReference")
		b.need(x, p, 0x81, "pinValue")
		c := code{of: b.here, element: d.element, reference: byte(d.integer(p[0x80], "keyReference", 255)), tries: b.triesOf(p[0x84], 0x33)}
		value := d.octets(p[0x81], "pinValue", 8, 8)
		attributes := 7
		if a, ok := p[0x83]; ok {
			attributes = d.integer(a, "pinAttributes", 255)
		}
		if u, ok := p[0x82]; ok {
			c.puk = byte(d.integer(u, "unblockingPINReference", 255))
		}
		if d.err != nil {
			return
		}
		c.enabled = attributes&1 != 0
		c.digits = len(bytes.TrimRight(value, "\xFF"))
		if uicc.ReferenceName(c.reference) == fmt.Sprintf("key %02X", c.reference) && (c.reference < 0x81 || c.reference > 0x88) {
			d.fail(p[0x80].at, "keyReference %02X is no PIN and no ADM", c.reference)
		} else if slices.ContainsFunc(b.codes, func(o code) bool { return o.reference == c.reference && o.of == c.of }) {
			d.fail(x.at, "keyReference %02X stands twice for %s", c.reference, b.here.path())
		}
		b.codes = append(b.codes, c)
	}
}

func (b *builder) pukCodes(n node) {
	d := &b.d
	f := d.fields(n, d.name, 0xA0, 0xA1)
	b.need(n, f, 0xA1, "pukCodes")
	b.head(f[0xA0])
	for _, x := range d.list(f[0xA1], "pukCodes", 0x30) {
		p := d.fields(x, "PUKConfiguration", 0x80, 0x81, 0x82)
		b.need(x, p, 0x80, "keyReference")
		b.need(x, p, 0x81, "pukValue")
		u := puk{byte(d.integer(p[0x80], "keyReference", 255)), b.triesOf(p[0x82], 0xAA)}
		d.octets(p[0x81], "pukValue", 8, 8)
		if slices.ContainsFunc(b.puks, func(o puk) bool { return o.reference == u.reference }) {
			d.fail(x.at, "keyReference %02X stands twice", u.reference)
		}
		b.puks = append(b.puks, u)
	}
}

// The constants of MILENAGE that a package need not say (TS 35.206, 4.1).
const (
	rotations = "4000204060"
	additions = "00000000000000000000000000000000" + "00000000000000000000000000000001" + "00000000000000000000000000000002" +
		"00000000000000000000000000000004" + "00000000000000000000000000000008"
)

func (b *builder) akaParameter(n node) {
	d := &b.d
	f := d.fields(n, d.name, 0xA0, 0xA1, 0x82, 0x83, 0x84, 0xA5)
	b.need(n, f, 0xA1, "algoConfiguration")
	b.head(f[0xA0])
	if d.err == nil && b.here == nil {
		d.fail(n.at, "comes before the MF")
	}
	choice := d.children(f[0xA1])
	if d.err != nil {
		return
	}
	if len(choice) != 1 || choice[0].tag != 0xA0 && choice[0].tag != 0xA1 {
		d.fail(f[0xA1].at, "algoConfiguration is neither mappingParameter nor algoParameter")
		return
	}
	if choice[0].tag == 0xA0 {
		m := d.fields(choice[0], "mappingParameter", 0x80, 0x81)
		b.need(choice[0], m, 0x81, "mappingSource")
		if b.here.name == "ADF.ISIM" {
			b.change("algorithm of "+b.here.path(), "it is shared with the application %X; the card's ISIM has that of its USIM", d.octets(m[0x81], "mappingSource", 5, 16))
			return
		}
		b.leave("algorithm of "+b.here.path(), "it is shared with the application %X; a profile has one algorithm, of the USIM", d.octets(m[0x81], "mappingSource", 5, 16))
		return
	}
	algorithm := b.algoParameter(choice[0])
	start := b.sequence(f)
	if d.err != nil {
		return
	}
	if b.here.name == "ADF.ISIM" {
		b.change("algorithm "+algorithm+" of "+b.here.path(), "the card's ISIM has key and algorithm of its USIM")
		return
	}
	if b.here.name != "ADF.USIM" {
		b.leave("algorithm "+algorithm+" of "+b.here.path(), "a profile has one algorithm, of the USIM")
		return
	}
	b.algorithm, b.start = algorithm, start
	b.change("key and OPc of "+b.here.path(), "values are not taken from packages: K is drawn for each card")
}

// algoParameter returns the algorithm's name.
func (b *builder) algoParameter(n node) string {
	d := &b.d
	p := d.fields(n, "algoParameter", 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87)
	for _, tag := range []uicc.Tag{0x80, 0x81, 0x82, 0x83} {
		b.need(n, p, tag, map[uicc.Tag]string{0x80: "algorithmID", 0x81: "algorithmOptions", 0x82: "key", 0x83: "opc"}[tag])
	}
	number := d.integer(p[0x80], "algorithmID", 255)
	d.octets(p[0x81], "algorithmOptions", 1, 1)
	d.octets(p[0x82], "key", 16, 32)
	d.octets(p[0x83], "opc", 0, 32)
	if d.err != nil {
		return ""
	}
	name := map[int]string{1: "MILENAGE", 2: "TUAK", 3: "XOR"}[number]
	if name == "" {
		d.fail(p[0x80].at, "algorithmID %d is not known", number)
	}
	differs := func(tag uicc.Tag, standard string) bool {
		x, ok := p[tag]
		return ok && !strings.EqualFold(hex.EncodeToString(x.value), standard)
	}
	if name == "MILENAGE" && (differs(0x84, rotations) || differs(0x85, additions)) {
		b.leave("rotationConstants and xoringConstants", "they are not those of TS 35.206, which are the only ones that Ankan's cards have")
	}
	if name == "TUAK" && differs(0x87, "01") {
		b.leave("numberOfKeccak", "it is not 1")
	}
	if _, ok := p[0x86]; ok {
		b.leave("authCounterMax", "a profile has no limit of authentications")
	}
	return name
}

// sequence reads the policy of sequence numbers and returns the highest.
func (b *builder) sequence(f map[uicc.Tag]node) uint64 {
	d := &b.d
	for tag, standard := range map[uicc.Tag]string{0x82: "02", 0x83: "000010000000", 0x84: "000010000000"} {
		what := map[uicc.Tag]string{0x82: "sqnOptions", 0x83: "sqnDelta", 0x84: "sqnAgeLimit"}[tag]
		x, ok := f[tag]
		if !ok {
			continue
		}
		if v := hex.EncodeToString(d.octets(x, what, len(standard)/2, len(standard)/2)); d.err == nil && v != standard {
			b.leave(what, "it is %s; the card's own policy holds", v)
		}
	}
	high := uint64(0)
	for _, x := range d.list(f[0xA5], "sqnInit", 0x04) {
		v := uint64(0)
		for _, c := range d.octets(x, "sqnInit", 6, 6) {
			v = v<<8 | uint64(c)
		}
		if v > 0x07FFFFFFFFFF {
			d.fail(x.at, "sqnInit is %X, want at most 07FFFFFFFFFF", v)
		}
		high = max(high, v)
	}
	return high
}

func (b *builder) securityDomain(n node) {
	d := &b.d
	f := d.fields(n, d.name, 0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5)
	b.need(n, f, 0xA1, "instance")
	b.head(f[0xA0])
	aid := fmt.Sprintf("%X", b.instance(f[0xA1]).aid)
	if d.err != nil {
		return
	}
	b.leave("security domain "+aid, "the card's manager is the operating system's own")
	b.keys(f[0xA2], aid)
	for _, x := range []struct {
		tag  uicc.Tag
		what string
	}{{0xA3, "sdPersoData"}, {0xA4, "openPersoData"}, {0xA5, "catTpParameters"}} {
		if _, ok := f[x.tag]; ok {
			b.leave(x.what+" of "+aid, "a profile has no data of security domains")
		}
	}
}

// keys finds the sets of three AES keys that a profile can have, by version.
func (b *builder) keys(n node, aid string) {
	d := &b.d
	type key struct {
		kind byte
		n    int
	}
	sets := map[byte]map[byte]key{}
	var order []byte
	for _, x := range d.list(n, "keyList", 0x30) {
		p := d.fields(x, "KeyObject", 0x95, 0x96, 0x82, 0x83, 0x85, 0x30)
		for _, tag := range []uicc.Tag{0x95, 0x82, 0x83, 0x30} {
			b.need(x, p, tag, map[uicc.Tag]string{0x95: "keyUsageQualifier", 0x82: "keyIdentifier", 0x83: "keyVersionNumber", 0x30: "keyComponents"}[tag])
		}
		id, version := d.octets(p[0x82], "keyIdentifier", 1, 1), d.octets(p[0x83], "keyVersionNumber", 1, 1)
		parts := d.list(p[0x30], "keyComponents", 0x30)
		if d.err != nil {
			return
		}
		k := key{}
		if len(parts) == 1 {
			c := d.fields(parts[0], "key component", 0x80, 0x86, 0x87)
			b.need(parts[0], c, 0x80, "keyType")
			b.need(parts[0], c, 0x86, "keyData")
			if t := d.octets(c[0x80], "keyType", 1, 2); d.err == nil && len(t) == 1 {
				k = key{t[0], len(c[0x86].value)}
			}
		}
		if sets[version[0]] == nil {
			sets[version[0]] = map[byte]key{}
			order = append(order, version[0])
		}
		sets[version[0]][id[0]] = k
	}
	if d.err != nil {
		return
	}
	for _, v := range order {
		s := sets[v]
		what := fmt.Sprintf("key version %02X of %s", v, aid)
		whole := len(s) == 3 && s[1] == s[2] && s[2] == s[3]
		set := keySet{v, 8 * s[1].n}
		switch {
		case s[1].kind == 0x80:
			b.leave(what, "DES: Ankan's cards have AES keys only")
		case !whole || s[1].kind != 0x88 || set.bits != 128 && set.bits != 256:
			b.leave(what, "it is not three AES keys of 16 or 32 bytes")
		case v >= 0x01 && v <= 0x0F && b.scp80.version == 0:
			b.scp80 = set
			b.change(what, "as keys of SCP80; values are not taken from packages: they are drawn for each card")
		case v >= 0x30 && v <= 0x3F && b.scp03.version == 0:
			b.scp03 = set
			b.change(what, "as keys of SCP03; values are not taken from packages: they are drawn for each card")
		default:
			b.leave(what, "a profile has one set for SCP80, 01 to 0F, and one for SCP03, 30 to 3F")
		}
	}
}
