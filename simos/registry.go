package simos

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"slices"

	"ankan/gp"
	"ankan/scp"
	"ankan/uicc"
)

// atManager stands for the card manager where an application's place in memory
// is meant: no record lies there.
const atManager = 1

// Offsets in a record of the registry: a load file, or an instance of a module,
// which a security domain is too. The body follows: of a load file the SHA-256
// of its data block and the AIDs of its modules, each behind its length; of an
// instance what STORE DATA gave it, each object behind key and length.
const (
	appKind    = 4
	appLife    = 5
	appPrivs   = 6 // 3 bytes
	appAIDLen  = 9
	appAID     = 10 // room for 16 bytes
	appFile    = 26 // of an instance: its load file's AID, length first
	appDomain  = 43 // the security domain it belongs to: its AID, length first
	appVersion = 60 // of a load file, 2 bytes
	appBody    = 62
)

// Kinds of entries.
const (
	appLoadFile = 1
	appInstance = 2
)

// Life cycles of entries (GlobalPlatform Card Specification, table 11-3 and on).
const (
	appLoaded     = 0x01
	appInstalled  = 0x03
	appSelectable = 0x07
	appPersonal   = 0x0F // of a security domain: has keys of its own
	appLocked     = 0x80 // in addition
)

// Privileges, first byte (GlobalPlatform Card Specification, 6.6.1).
const (
	privDomain   = 0x80
	privDAP      = 0xC0 // verifies load files for it
	privMandated = 0x01 // verifies all load files
)

// managerPrivs are what the card manager may do: be a security domain, lock and
// terminate the card; manage, delete and lock everything, see all of the registry.
const managerPrivs = "\x98\x5C\x00"

// The load file and the module that security domains are made of. They are part
// of the operating system.
const (
	domainFile   = "\xA0\x00\x00\x01\x51\x53\x50"
	domainModule = "\xA0\x00\x00\x01\x51\x53\x50\x41"
)

// named is the AID that lies at a place, behind its length.
func (m *memory) named(at int) []byte { return m.b[at+1 : at+1+int(m.b[at])] }

func (m *memory) appAID(at int) []byte { return m.named(at + appAIDLen) }

// app is the entry with this AID, 0 if there is none.
func (m *memory) app(aid []byte) int {
	for at := m.next(atRecords, recordApp); at != 0; at = m.next(m.after(at), recordApp) {
		if bytes.Equal(m.appAID(at), aid) {
			return at
		}
	}
	return 0
}

// selectable reports whether SELECT finds an entry.
func (m *memory) selectable(at int) bool {
	life := m.b[at+appLife]
	return m.b[at+appKind] == appInstance && life&appLocked == 0 && life >= appSelectable
}

func (m *memory) isDomain(at int) bool {
	return m.b[at+appKind] == appInstance && m.b[at+appPrivs]&privDomain != 0
}

func (m *memory) soundApp(at, n int) bool {
	if n < appBody || m.b[at+appAIDLen] < 5 || m.b[at+appAIDLen] > 16 || m.b[at+appFile] > 16 || m.b[at+appDomain] > 16 {
		return false
	}
	body := m.b[at+appBody : at+n]
	if m.b[at+appKind] == appLoadFile {
		if len(body) < sha256.Size {
			return false
		}
		for body = body[sha256.Size:]; len(body) > 0; body = body[1+body[0]:] {
			if body[0] < 5 || body[0] > 16 || len(body) < 1+int(body[0]) {
				return false
			}
		}
		return true
	}
	for len(body) > 0 {
		if len(body) < 4 || len(body) < 4+int(body[2])<<8+int(body[3]) {
			return false
		}
		body = body[4+int(body[2])<<8+int(body[3]):]
	}
	return m.b[at+appKind] == appInstance
}

// selectInstance selects an application of the registry. It has no files: the
// channel's directory stays what it is.
func (c *core) selectInstance(at int, cmd *uicc.Command) uicc.SW {
	c.session.ch.app = at
	if cmd.P2&0x0C == 0x0C {
		return uicc.SWOK
	}
	fci := uicc.AppendTLV(make([]byte, 0, 32), 0x84, c.appAID(at)...)
	fci = uicc.AppendTLV(fci, 0xA5, 0x9F, 0x65, 0x01, 0xFF)
	c.session.out = uicc.AppendTLV(c.session.out, 0x6F, fci...)
	return uicc.SWOK
}

// instanceData is GET DATA of the selected application: an object that STORE
// DATA gave it.
func (c *core) instanceData(at int, key uint16) uicc.SW {
	body := c.b[at+appBody : c.after(at)]
	for len(body) > 0 {
		n := int(body[2])<<8 | int(body[3])
		if uint16(body[0])<<8|uint16(body[1]) == key {
			if n > 256 {
				return uicc.SWLength
			}
			c.session.out = append(c.session.out, body[4:4+n]...)
			return uicc.SWOK
		}
		body = body[4+n:]
	}
	return uicc.SWNotFound
}

// storeInstance is STORE DATA to an application: DGIs (P1 bit 4), which GET DATA
// answers by their number, or BER-TLV objects (P1 bit 5), answered whole. Each
// command holds whole objects.
func (c *core) storeInstance(at int, cmd *uicc.Command) uicc.SW {
	if c.b[at+appLife]&appLocked != 0 {
		return uicc.SWConditions
	}
	body := bytes.Clone(c.b[at+appBody : c.after(at)])
	for d := cmd.Data; len(d) > 0; {
		var key uint16
		var value []byte
		if cmd.P1&0x18 == 0x10 {
			t, rest, err := uicc.ReadTLV(d)
			if err != nil || t.Tag > 0xFFFF {
				return uicc.SWData
			}
			key, value, d = uint16(t.Tag), d[:len(d)-len(rest)], rest
		} else {
			n := 3
			if len(d) >= 5 && d[2] == 0xFF {
				n = 5
			}
			if len(d) < n {
				return uicc.SWData
			}
			size := int(d[2])
			if n == 5 {
				size = int(d[3])<<8 | int(d[4])
			}
			if len(d) < n+size {
				return uicc.SWData
			}
			key, value, d = uint16(d[0])<<8|uint16(d[1]), d[n:n+size], d[n+size:]
		}
		body = putObject(body, key, value)
	}
	if len(body) > 0x7FFF {
		return uicc.SWNoSpace
	}
	r := append(head(recordApp, appBody+len(body))[:4], c.b[at+4:at+appBody]...)
	if sw := c.moveApp(at, append(r, body...)); sw != uicc.SWOK {
		return sw
	}
	return uicc.SWOK
}

// putObject puts an object in the place of the one with its key, or at the end.
func putObject(body []byte, key uint16, value []byte) []byte {
	out := make([]byte, 0, len(body)+4+len(value))
	for len(body) > 0 {
		n := 4 + int(body[2])<<8 + int(body[3])
		if uint16(body[0])<<8|uint16(body[1]) != key {
			out = append(out, body[:n]...)
		}
		body = body[n:]
	}
	out = append(out, byte(key>>8), byte(key), byte(len(value)>>8), byte(len(value)))
	return append(out, value...)
}

// moveApp writes an entry anew, in its place if the length is the same.
func (c *core) moveApp(at int, r []byte) uicc.SW {
	if c.u24(at+1) == len(r) {
		c.write(at, r...)
		return uicc.SWOK
	}
	c.kill(at)
	to := c.place(r, 0)
	if to == 0 {
		return uicc.SWNoSpace
	}
	s := c.session
	for i := range s.channels {
		if s.channels[i].app == at {
			s.channels[i].app = to
		}
	}
	if s.perso == at {
		s.perso = to
	}
	if s.domain == at {
		s.domain = to
	}
	c.keysOf(at, func(k int) { c.write(k+scpOwner, byte(to>>16), byte(to>>8), byte(to)) })
	return uicc.SWOK
}

// forgetApp deletes an entry and the keys of a security domain.
func (c *core) forgetApp(at int) {
	s := c.session
	for i := range s.channels {
		if s.channels[i].app == at {
			s.channels[i].app = 0
		}
	}
	if s.perso == at {
		s.perso = 0
	}
	c.keysOf(at, c.kill)
	c.kill(at)
}

// keysOf visits the records of the keys of a security domain. Those of its channel
// and of its DAP name the owner in the same place.
func (c *core) keysOf(domain int, visit func(at int)) {
	for at := atRecords; at < c.base; at = c.after(at) {
		if (c.b[at] == recordSCP || c.b[at] == recordDAP) && c.u24(at+scpOwner) == domain {
			visit(at)
		}
	}
}

// managing reports whether a command may manage content: it came through the
// secure channel of the card manager, to a chip that has its operating system,
// or from a remote server that its rules let.
func (c *core) managing() uicc.SW {
	switch s := c.session; {
	case !s.inside:
		return uicc.SWSecurity
	case c.life() == Blank || s.domain != atManager:
		return uicc.SWConditions
	}
	return uicc.SWOK
}

// takeLV takes a value behind its length.
func takeLV(b []byte) (v, rest []byte, ok bool) {
	if len(b) < 1 || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return b[1:n], b[n:], true
}

func takeLVs(b []byte, n int) (v [][]byte, ok bool) {
	for range n {
		x, rest, ok := takeLV(b)
		if !ok {
			return nil, false
		}
		v, b = append(v, x), rest
	}
	return v, len(b) == 0
}

func validAID(b []byte) bool { return len(b) >= 5 && len(b) <= 16 }

// install is INSTALL (GlobalPlatform Card Specification, 11.5).
func (c *core) install(cmd *uicc.Command) uicc.SW {
	if sw := c.managing(); sw != uicc.SWOK {
		return sw
	}
	if cmd.P2 != 0 {
		return uicc.SWParameters
	}
	sw := uicc.SWParameters
	switch cmd.P1 {
	case 0x02:
		sw = c.installForLoad(cmd.Data)
	case 0x04, 0x08, 0x0C:
		sw = c.installApplication(cmd.P1, cmd.Data)
	case 0x10:
		sw = c.extradite(cmd.Data)
	case 0x20:
		sw = c.installForPersonalization(cmd.Data)
	}
	if sw == uicc.SWOK {
		c.session.out = append(c.session.out, 0) // no receipt
	}
	return sw
}

// pending is a load file on its way.
type pending struct {
	aid, domain, hash []byte
}

func (c *core) installForLoad(d []byte) uicc.SW {
	v, ok := takeLVs(d, 5) // AID, security domain, hash, parameters, token
	switch {
	case !ok || !validAID(v[0]) || len(v[1]) > 0 && !validAID(v[1]):
		return uicc.SWData
	case c.app(v[0]) != 0 || string(v[0]) == domainFile || string(v[0]) == managerAID:
		return uicc.SWConditions
	case len(v[4]) > 0:
		return uicc.SWConditions // nobody has delegated management here
	}
	if _, ok := c.domain(v[1]); !ok {
		return uicc.SWNotFound
	}
	c.session.pending = &pending{bytes.Clone(v[0]), bytes.Clone(v[1]), bytes.Clone(v[2])}
	c.session.load, c.session.block = c.session.load[:0], 0
	return uicc.SWOK
}

// domain finds a security domain; no name, or the card manager's, is the card
// manager.
func (c *core) domain(aid []byte) (at int, ok bool) {
	if len(aid) == 0 || string(aid) == managerAID {
		return atManager, true
	}
	at = c.app(aid)
	return at, at != 0 && c.isDomain(at)
}

// loadFile is LOAD of an application's load file (GlobalPlatform Card
// Specification, 11.6), after INSTALL [for load]. Nothing is kept until the last
// block came and everything about the file is right.
func (c *core) loadFile(cmd *uicc.Command) uicc.SW {
	s := c.session
	if sw := c.managing(); sw != uicc.SWOK {
		return sw
	}
	last, sw := block(cmd)
	switch {
	case s.pending == nil:
		return uicc.SWConditions
	case sw != uicc.SWOK:
		return sw
	case len(cmd.Data) == 0:
		return uicc.SWLength
	}
	p := s.pending
	switch {
	case cmd.P2 != byte(s.block): // which counts around
		sw = uicc.SWParameters
	case len(s.load)+len(cmd.Data) > maxImage:
		sw = uicc.SWNoSpace
	}
	if sw != uicc.SWOK {
		s.pending, s.load, s.block = nil, nil, 0
		return sw
	}
	s.load = append(s.load, cmd.Data...)
	s.block++
	if !last {
		return uicc.SWOK
	}
	text := s.load
	s.pending, s.load, s.block = nil, nil, 0
	if sw := c.storeLoadFile(p, text); sw != uicc.SWOK {
		return sw
	}
	s.out = append(s.out, 0) // no receipt
	return uicc.SWOK
}

// storeLoadFile checks a load file: its hash, if one was announced, the
// signatures that security domains want, and the structure of the CAP file in it.
// The code is not run.
func (c *core) storeLoadFile(p *pending, text []byte) uicc.SW {
	code, daps, err := gp.ReadLoadFile(text)
	if err != nil || !announced(p.hash, code) {
		return uicc.SWData
	}
	if sw := c.verifyDAPs(daps, p); sw != uicc.SWOK {
		return sw
	}
	pack, err := gp.ParseLoadFile(code)
	if err != nil || !bytes.Equal(pack.Package.AID, p.aid) {
		return uicc.SWData
	}
	sum := sha256.Sum256(code)
	r := head(recordApp, appBody)
	r[appKind], r[appLife] = appLoadFile, appLoaded
	setAID(r[appAIDLen:], p.aid)
	setAID(r[appDomain:], p.domain)
	r[appVersion], r[appVersion+1] = pack.Package.Version.Major, pack.Package.Version.Minor
	r = append(r, sum[:]...)
	for _, m := range pack.Applets {
		r = append(append(r, byte(len(m))), m...)
	}
	put24(r[1:], len(r))
	if c.place(r, 0) == 0 {
		return uicc.SWNoSpace
	}
	return uicc.SWOK
}

func setAID(b, aid []byte) {
	b[0] = byte(len(aid))
	copy(b[1:17], aid)
}

// announced reports whether the hash of INSTALL [for load], if it gave one, is
// that of the data block: SHA-1, SHA-256, SHA-384 or SHA-512 by its length.
func announced(hash, code []byte) bool {
	if len(hash) == 0 {
		return true
	}
	for _, h := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		if h.Size() == len(hash) {
			sum, err := gp.LoadFileHash(code, h)
			return err == nil && bytes.Equal(sum, hash)
		}
	}
	return false
}

// verifyDAPs checks the signatures of a load file over its announced hash
// (GlobalPlatform Card Specification, 9.2.1). Each must be right; there must be
// one of each security domain with mandated DAP verification, and of the one that
// the file is for, if it verifies.
func (c *core) verifyDAPs(daps []gp.DAP, p *pending) uicc.SW {
	signed := func(aid []byte) bool {
		return slices.ContainsFunc(daps, func(d gp.DAP) bool { return bytes.Equal(d.Domain, aid) })
	}
	for _, d := range daps {
		at := c.app(d.Domain)
		key, ok := c.dapKey(at)
		if at == 0 || !ok || len(p.hash) == 0 || key.Verify(p.hash, d.Signature) != nil {
			return uicc.SWSecurity
		}
	}
	for at := c.next(atRecords, recordApp); at != 0; at = c.next(c.after(at), recordApp) {
		verifies := c.isDomain(at) && c.b[at+appPrivs]&privDAP == privDAP
		wants := verifies && (c.b[at+appPrivs]&privMandated != 0 || bytes.Equal(c.appAID(at), p.domain))
		if wants && !signed(c.appAID(at)) {
			return uicc.SWSecurity
		}
	}
	return uicc.SWOK
}

// dapVersion is the key version number of a security domain's DAP key
// (GlobalPlatform Card Specification, table 11-17).
const dapVersion = 0x73

// Offsets in a record of a DAP key.
const (
	dapOwner = 4 // the security domain's entry
	dapType  = 7 // keyAES or keyECC
	dapKey   = 8
)

// dapKey is what a security domain that verifies load files does so with.
func (c *core) dapKey(domain int) (gp.Key, bool) {
	if domain == 0 || !c.isDomain(domain) || c.b[domain+appPrivs]&privDAP != privDAP {
		return gp.Key{}, false
	}
	at := c.dap(domain)
	if at == 0 {
		return gp.Key{}, false
	}
	key, err := readDAPKey(c.b[at+dapType], c.b[at+dapKey:c.after(at)])
	return key, err == nil
}

// dap is the record of a security domain's DAP key, 0 for none.
func (m *memory) dap(domain int) int {
	for at := m.next(atRecords, recordDAP); at != 0; at = m.next(m.after(at), recordDAP) {
		if m.u24(at+dapOwner) == domain {
			return at
		}
	}
	return 0
}

func readDAPKey(kind byte, b []byte) (gp.Key, error) {
	if kind == keyAES {
		return gp.AESKey(b)
	}
	p, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), b)
	if err != nil {
		return gp.Key{}, err
	}
	return gp.PublicKey(p, crypto.SHA256)
}

// putDAPKey is PUT KEY of the one key by which a security domain verifies load
// files: AES, sealed as others are, or the public key of P-256, uncompressed and
// with the reference of the curve.
func (c *core) putDAPKey(cmd *uicc.Command) uicc.SW {
	s, d := c.session, cmd.Data
	at := s.ch.app
	switch {
	case at <= atManager || c.b[at] != recordApp || !c.isDomain(at) || !c.belongs(at, s.domain):
		return uicc.SWConditions
	case cmd.P1 != 0 && cmd.P1 != dapVersion || len(d) < 3 || d[0] != dapVersion:
		return uicc.SWData
	}
	old := c.dap(at)
	if (cmd.P1 == 0) != (old == 0) {
		return uicc.SWConditions
	}
	kind, key, kcv, ok := d[1], []byte(nil), []byte(nil), false
	switch {
	case kind == keyECC && len(d) == 3+65+4 && d[2] == 65 && string(d[68:]) == "\xF0\x01\x00\x00":
		key, ok = d[3:68], true
	case kind == keyAES && len(d) > 8:
		if n := int(d[3]); len(d) == 4+(n+15)/16*16+4 && int(d[2]) == (n+15)/16*16+1 && d[len(d)-4] == 3 {
			plain, err := c.openKey(nil, d[4:len(d)-4])
			defer clear(plain)
			if err == nil {
				check, err := scp.CheckValue(plain[:n])
				key, kcv, ok = plain[:n], d[len(d)-3:], err == nil && bytes.Equal(check[:], d[len(d)-3:])
			}
		}
	}
	if !ok {
		return uicc.SWData
	}
	if _, err := readDAPKey(kind, key); err != nil {
		return uicc.SWData
	}
	r := append(head(recordDAP, dapKey), key...)
	defer clear(r)
	put24(r[1:], len(r))
	put24(r[dapOwner:], at)
	r[dapType] = kind
	sw := c.put(old, r)
	if sw == uicc.SWOK {
		s.out = append(append(s.out, dapVersion), kcv...)
	}
	return sw
}

// installApplication is INSTALL [for install], [for make selectable] and both:
// an instance of a module of a load file, or a security domain.
func (c *core) installApplication(p1 byte, d []byte) uicc.SW {
	v, ok := takeLVs(d, 6) // load file, module, instance, privileges, parameters, token
	if !ok || !validAID(v[2]) || len(v[3]) != 1 && len(v[3]) != 3 {
		return uicc.SWData
	}
	if len(v[5]) > 0 {
		return uicc.SWConditions
	}
	if p1 == 0x08 {
		at := c.app(v[2])
		if at == 0 || c.b[at+appKind] != appInstance {
			return uicc.SWNotFound
		}
		if c.b[at+appLife] != appInstalled {
			return uicc.SWConditions
		}
		c.write(at+appLife, appSelectable)
		return uicc.SWOK
	}
	switch {
	case !validAID(v[0]) || !validAID(v[1]):
		return uicc.SWData
	case c.app(v[2]) != 0 || c.sameName(v[2]) || string(v[2]) == managerAID || string(v[2]) == domainFile:
		return uicc.SWConditions
	}
	domain := string(v[0]) == domainFile && string(v[1]) == domainModule
	if domain != (v[3][0]&privDomain != 0) {
		return uicc.SWData
	}
	r := head(recordApp, appBody)
	if !domain {
		file := c.app(v[0])
		if file == 0 || !c.hasModule(file, v[1]) {
			return uicc.SWNotFound
		}
		setAID(r[appDomain:], c.named(file+appDomain))
	}
	r[appKind], r[appLife] = appInstance, appInstalled
	if p1 == 0x0C {
		r[appLife] = appSelectable
	}
	copy(r[appPrivs:], v[3])
	setAID(r[appAIDLen:], v[2])
	setAID(r[appFile:], v[0])
	if c.place(r, 0) == 0 {
		return uicc.SWNoSpace
	}
	return uicc.SWOK
}

// modules are the AIDs of a load file's modules, each behind its length.
func (m *memory) modules(file int) []byte {
	if m.b[file+appKind] != appLoadFile {
		return nil
	}
	return m.b[file+appBody+sha256.Size : m.after(file)]
}

func (m *memory) hasModule(file int, aid []byte) bool {
	for b := m.modules(file); len(b) > 0; b = b[1+b[0]:] {
		if bytes.Equal(b[1:1+b[0]], aid) {
			return true
		}
	}
	return false
}

// extradite gives an entry to another security domain.
func (c *core) extradite(d []byte) uicc.SW {
	v, ok := takeLVs(d, 6) // security domain, nothing, entry, nothing, parameters, token
	if !ok || !validAID(v[2]) || len(v[1])+len(v[3]) > 0 {
		return uicc.SWData
	}
	to, ok := c.domain(v[0])
	at := c.app(v[2])
	if !ok || at == 0 || len(v[5]) > 0 || to == at {
		return uicc.SWNotFound
	}
	var b [17]byte
	setAID(b[:], v[0])
	c.write(at+appDomain, b[:]...)
	return uicc.SWOK
}

// installForPersonalization sends the STORE DATA commands that follow to an
// application.
func (c *core) installForPersonalization(d []byte) uicc.SW {
	v, ok := takeLVs(d, 6)
	if !ok || !validAID(v[2]) {
		return uicc.SWData
	}
	at := c.app(v[2])
	if at == 0 || c.b[at+appKind] != appInstance || !c.selectable(at) {
		return uicc.SWNotFound
	}
	c.session.perso = at
	return uicc.SWOK
}

// deleteContent is DELETE (GlobalPlatform Card Specification, 11.2): an
// application, a load file, with P2 80 all that was made of it too, or the keys
// of a version.
func (c *core) deleteContent(cmd *uicc.Command) uicc.SW {
	if sw := c.managing(); sw != uicc.SWOK {
		return sw
	}
	if cmd.P1 != 0 || cmd.P2&0x7F != 0 {
		return uicc.SWParameters
	}
	t, rest, err := uicc.ReadTLV(cmd.Data)
	if err != nil {
		return uicc.SWData
	}
	sw := uicc.SWData
	switch {
	case t.Tag == 0x4F && validAID(t.Value) && len(rest) == 0:
		sw = c.deleteAID(t.Value, cmd.P2 == 0x80)
	case t.Tag == 0xD2 && len(t.Value) == 1 && len(rest) == 0:
		sw = c.deleteKeys(t.Value[0])
	}
	if sw == uicc.SWOK {
		c.session.out = append(c.session.out, 0)
	}
	return sw
}

func (c *core) deleteAID(aid []byte, related bool) uicc.SW {
	at := c.app(aid)
	switch {
	case at == 0 && (string(aid) == managerAID || string(aid) == domainFile || c.sameName(aid)):
		return uicc.SWConditions // part of the card
	case at == 0:
		return uicc.SWNotFound
	}
	var of []int
	for a := c.next(atRecords, recordApp); a != 0; a = c.next(c.after(a), recordApp) {
		if a != at && (bytes.Equal(c.named(a+appFile), aid) || bytes.Equal(c.named(a+appDomain), aid)) {
			of = append(of, a)
		}
	}
	if len(of) > 0 && !(related && c.b[at+appKind] == appLoadFile) {
		return uicc.SWConditions
	}
	for _, a := range of {
		if c.isDomain(a) { // what belongs to it would belong to nobody
			return uicc.SWConditions
		}
	}
	for _, a := range append(of, at) {
		c.forgetApp(a)
	}
	return uicc.SWOK
}

// deleteKeys deletes a further set of SCP keys, or the remote keys of a version.
func (c *core) deleteKeys(version byte) uicc.SW {
	at := c.scpKeys(version, atManager)
	if at == 0 {
		at = c.ota(version)
	}
	switch {
	case version == c.b[atVersion]:
		return uicc.SWConditions // the keys in force are replaced, not deleted
	case at == 0:
		return uicc.SWNotFound
	}
	c.kill(at)
	return uicc.SWOK
}

// setApplicationStatus is SET STATUS of an application, or with P1 60 of a
// security domain and all that belongs to it. An ADF is deactivated and
// activated.
func (c *core) setApplicationStatus(cmd *uicc.Command) uicc.SW {
	if sw := c.managing(); sw != uicc.SWOK {
		return sw
	}
	lock := cmd.P2&appLocked != 0
	at := c.app(cmd.Data)
	if at == 0 && cmd.P1 == 0x40 && len(cmd.Data) >= 5 && c.sameName(cmd.Data) {
		life := uicc.Activated
		if lock {
			life = uicc.Deactivated
		}
		f := c.byName(cmd.Data)
		if uicc.LifeCycle(c.b[f+fileLife]) == uicc.Terminated {
			return uicc.SWConditions
		}
		c.write(f+fileLife, byte(life))
		return uicc.SWOK
	}
	switch {
	case at == 0 || c.b[at+appKind] != appInstance || cmd.P1 == 0x60 && !c.isDomain(at):
		return uicc.SWNotFound
	case c.b[at+appLife] < appSelectable:
		return uicc.SWConditions
	}
	c.setAppLife(at, cmd.P2)
	if cmd.P1 == 0x60 {
		aid := c.appAID(at)
		for a := c.next(atRecords, recordApp); a != 0; a = c.next(c.after(a), recordApp) {
			if bytes.Equal(c.named(a+appDomain), aid) && c.b[a+appKind] == appInstance && c.b[a+appLife] >= appSelectable {
				c.setAppLife(a, cmd.P2)
			}
		}
	}
	return uicc.SWOK
}

// setAppLife locks or unlocks; an unlocked application may say which state of
// its own it is in.
func (c *core) setAppLife(at int, state byte) {
	life := c.b[at+appLife]
	switch {
	case state&appLocked != 0:
		life |= appLocked
	case life&appLocked != 0:
		life &^= appLocked
	case state&7 == 7:
		life = state
	}
	c.write(at+appLife, life)
}

// getStatus is GET STATUS (GlobalPlatform Card Specification, 11.4) in the form
// with tags. What does not fit one answer ends with 6310; P2 bit 1 asks for more.
func (c *core) getStatus(cmd *uicc.Command) uicc.SW {
	s := c.session
	if sw := c.managing(); sw != uicc.SWOK {
		return sw
	}
	if cmd.P2&^1 != 2 || cmd.P1 != 0x80 && cmd.P1 != 0x40 && cmd.P1 != 0x20 && cmd.P1 != 0x10 {
		return uicc.SWParameters
	}
	filter, _, err := uicc.ReadTLV(cmd.Data)
	if err != nil || filter.Tag != 0x4F {
		return uicc.SWData
	}
	skip := 0
	if cmd.P2&1 != 0 {
		if s.told == 0 {
			return uicc.SWConditions
		}
		skip = s.told
	}
	s.told = 0
	n, full := 0, false
	var room [128]byte
	c.entries(cmd.P1, func(aid []byte, at int) bool {
		if !bytes.HasPrefix(aid, filter.Value) {
			return true
		}
		if n++; n <= skip {
			return true
		}
		e := uicc.AppendTLV(nil, 0xE3, c.appendEntry(room[:0], cmd.P1, aid, at)...)
		if len(s.out)+len(e) > wrapRoom {
			full = true
			return false
		}
		s.out = append(s.out, e...)
		s.told = n
		return true
	})
	switch {
	case full && len(s.out) > 0:
		return uicc.SWMoreStatus
	case len(s.out) == 0:
		return uicc.SWNotFound
	}
	s.told = 0
	return uicc.SWOK
}

// entries goes through the entries of one kind: ADFs are applications too.
func (c *core) entries(p1 byte, yield func(aid []byte, at int) bool) {
	kind := byte(appLoadFile)
	switch p1 {
	case 0x80:
		yield([]byte(managerAID), atManager)
		return
	case 0x40:
		kind = appInstance
		for f := c.next(atRecords, recordFile); f != 0; f = c.next(c.after(f), recordFile) {
			if c.kind(f) == uicc.KindADF && !yield(c.name(f), f) {
				return
			}
		}
	}
	for at := c.next(atRecords, recordApp); at != 0; at = c.next(c.after(at), recordApp) {
		if c.b[at+appKind] == kind && !yield(c.appAID(at), at) {
			return
		}
	}
}

// appendEntry appends the objects of one entry's template.
func (c *core) appendEntry(b []byte, p1 byte, aid []byte, at int) []byte {
	b = uicc.AppendTLV(b, 0x4F, aid...)
	switch {
	case at == atManager:
		b = uicc.AppendTLV(b, 0x9F70, byte(c.life()))
		return uicc.AppendTLV(b, 0xC5, []byte(managerPrivs)...)
	case c.b[at] == recordFile:
		life := byte(appSelectable)
		if uicc.LifeCycle(c.b[at+fileLife]) != uicc.Activated {
			life |= appLocked
		}
		b = uicc.AppendTLV(b, 0x9F70, life)
		b = uicc.AppendTLV(b, 0xC5, 0, 0, 0)
		return uicc.AppendTLV(b, 0xCC, []byte(managerAID)...)
	}
	b = uicc.AppendTLV(b, 0x9F70, c.b[at+appLife])
	if c.b[at+appKind] == appInstance {
		b = uicc.AppendTLV(b, 0xC5, c.b[at+appPrivs:at+appPrivs+3]...)
		b = uicc.AppendTLV(b, 0xC4, c.named(at+appFile)...)
	} else {
		b = uicc.AppendTLV(b, 0xCE, c.b[at+appVersion:at+appVersion+2]...)
		if p1 == 0x10 {
			for m := c.modules(at); len(m) > 0; m = m[1+m[0]:] {
				b = uicc.AppendTLV(b, 0x84, m[1:1+m[0]]...)
			}
		}
	}
	if d := c.named(at + appDomain); len(d) > 0 {
		return uicc.AppendTLV(b, 0xCC, d...)
	}
	return uicc.AppendTLV(b, 0xCC, []byte(managerAID)...)
}
