package simos

import (
	"bytes"

	"ankan/uicc"
)

// free reports whether access rules are not asked: inside the secure channel,
// before the chip is secured.
func (c *core) free() bool { return c.session.inside && c.life() < Secured }

// allowed asks the access rules of a file.
func (c *core) allowed(f int, mode uicc.Mode, ins byte) bool {
	if c.free() {
		return true
	}
	verified := c.satisfied
	if r := c.session.remote; r != nil {
		verified = r.satisfied
	}
	return c.life() >= Secured && uicc.Allowed(c.rule(f), mode, ins, verified)
}

// rule is the record of the file's EF.ARR that rules it; none allows nothing.
// The EF.ARR is looked for in the file's own directory (a DF's own is the DF
// itself) and then upwards.
func (c *core) rule(f int) []byte {
	id := uicc.FileID(c.u16(f + fileARR))
	if id == 0 {
		return nil
	}
	dir := f
	if !c.kind(f).Dedicated() {
		dir = c.parent(f)
	}
	for ; dir != 0; dir = c.parent(dir) {
		arr := c.child(dir, id)
		if arr == 0 {
			continue
		}
		at, n, ok := c.recordAt(arr, int(c.b[f+fileRule]))
		if !ok {
			return nil
		}
		return c.b[at : at+n]
	}
	return nil
}

// current is the EF of this command: the one with the short file identifier,
// which becomes current, or the current one.
func (c *core) current(sfi byte) (int, uicc.SW) {
	ch := c.session.ch
	if sfi == 0 {
		if ch.file == 0 {
			return 0, uicc.SWNoFile
		}
		return ch.file, uicc.SWOK
	}
	f := c.bySFI(ch.dir, sfi)
	if f == 0 || ch.dir == 0 {
		return 0, uicc.SWFileNotFound
	}
	if f != ch.file {
		ch.transfer = transfer{}
	}
	ch.file, ch.record = f, 0
	return f, uicc.SWOK
}

// use finds the EF of this command and checks its structure, its life cycle
// and its access rules.
func (c *core) use(sfi byte, cmd *uicc.Command, mode uicc.Mode, kinds ...uicc.Kind) (int, uicc.SW) {
	f, sw := c.current(sfi)
	if sw != uicc.SWOK {
		return 0, sw
	}
	if k := c.kind(f); k != kinds[0] && k != kinds[len(kinds)-1] {
		return 0, uicc.SWFileType
	}
	if !c.allowed(f, mode, cmd.INS) {
		return 0, uicc.SWSecurity
	}
	if life := uicc.LifeCycle(c.b[f+fileLife]); life == uicc.Terminated || life != uicc.Activated && !c.free() {
		return 0, uicc.SWConditions
	}
	return f, uicc.SWOK
}

// Occurrences of P2 of SELECT by name (TS 102 221, table 11.2).
const (
	occurrenceFirst = iota
	occurrenceLast
	occurrenceNext
	occurrencePrevious
)

// selectFile is SELECT (TS 102 221, 11.1.1). By name it finds applications and
// the card manager too, which no name at all means (GlobalPlatform, 11.9).
func (c *core) selectFile(cmd *uicc.Command) uicc.SW {
	// Bits 7 and 6 of P2 are about the application session: activate, terminate.
	if cmd.P2&0xB0 != 0 || cmd.P2&0x0C == 0x08 || cmd.P2&3 != 0 && cmd.P1 != 0x04 {
		return uicc.SWParameters
	}
	f, sw := c.find(cmd)
	if sw != uicc.SWOK {
		return sw
	}
	switch {
	case f == atManager:
		return c.selectManager(cmd)
	case c.b[f] == recordApp:
		return c.selectInstance(f, cmd)
	}
	if cmd.P2&0x40 != 0 && f == c.session.ch.adf {
		return c.endSession(f)
	}
	c.enter(f)
	if cmd.P1 == 0x04 {
		c.session.ch.app = f
	}
	if cmd.P2&0x0C != 0x0C {
		c.session.out = c.appendFCP(c.session.out, f)
	}
	switch uicc.LifeCycle(c.b[f+fileLife]) {
	case uicc.Deactivated:
		return uicc.SWDeactivated
	case uicc.Terminated:
		return uicc.SWTerminated
	}
	return uicc.SWOK
}

// endSession ends an application's session on this channel, which stands in
// the MF from then on (TS 102 221, 11.1.1.2).
func (c *core) endSession(adf int) uicc.SW {
	ch := c.session.ch
	c.session.forgetLocal(c, adf)
	*ch = channel{open: true, dir: c.mf()}
	return uicc.SWOK
}

// enter makes a file current. Another application's local codes are forgotten.
func (c *core) enter(f int) {
	ch := c.session.ch
	ch.file, ch.record, ch.transfer = 0, 0, transfer{}
	if !c.kind(f).Dedicated() {
		ch.dir, ch.file = c.parent(f), f
		return
	}
	ch.dir = f
	if c.kind(f) == uicc.KindADF && f != ch.adf {
		c.session.forgetLocal(c, ch.adf)
		ch.adf = f
	}
	if ch.app != ch.adf {
		ch.app = 0
	}
}

func (c *core) find(cmd *uicc.Command) (int, uicc.SW) {
	ch, d := c.session.ch, cmd.Data
	f := 0
	switch cmd.P1 {
	case 0x00:
		switch len(d) {
		case 0:
			f = c.mf()
		case 2:
			f = c.reach(fileIDOf(d))
		default:
			return 0, uicc.SWLength
		}
	case 0x01: // child DF
		if len(d) != 2 {
			return 0, uicc.SWLength
		}
		if f = c.child(ch.dir, fileIDOf(d)); ch.dir == 0 || f != 0 && !c.kind(f).Dedicated() {
			f = 0
		}
	case 0x03:
		if len(d) > 0 {
			return 0, uicc.SWLength
		}
		if ch.dir != 0 {
			f = c.parent(ch.dir)
		}
	case 0x04:
		switch {
		case len(d) == 0 && cmd.P2&0x0F == 0x0C, len(d) > 0 && len(d) < 5, len(d) > 16:
			return 0, uicc.SWLength
		case len(d) == 0:
			return atManager, uicc.SWOK
		}
		f = c.application(d, int(cmd.P2&3))
	case 0x08, 0x09:
		if len(d) == 0 || len(d)%2 != 0 {
			return 0, uicc.SWLength
		}
		f = c.path(cmd.P1, d)
	default:
		return 0, uicc.SWParameters
	}
	if f == 0 {
		return 0, uicc.SWFileNotFound
	}
	return f, uicc.SWOK
}

// path follows a path from the MF (08) or from the current DF (09).
func (c *core) path(from byte, path []byte) int {
	f := c.session.ch.dir
	if from == 0x08 {
		f = c.mf()
	}
	return c.walk(f, path)
}

// application finds an ADF, a selectable instance or the card manager by the
// beginning of its name. Next and previous are seen from what was selected last
// on this channel, or else first and last.
func (c *core) application(aid []byte, occurrence int) int {
	first, last, before, after, seen := 0, 0, 0, 0, false
	visit := func(at int, name []byte) {
		if !bytes.HasPrefix(name, aid) {
			return
		}
		switch {
		case at == c.session.ch.app:
			seen = true
		case !seen:
			before = at
		case after == 0:
			after = at
		}
		if first == 0 {
			first = at
		}
		last = at
	}
	for at := c.next(atRecords, recordFile); at != 0; at = c.next(c.after(at), recordFile) {
		if c.kind(at) == uicc.KindADF {
			visit(at, c.name(at))
		}
	}
	for at := c.next(atRecords, recordApp); at != 0; at = c.next(c.after(at), recordApp) {
		if c.selectable(at) {
			visit(at, c.appAID(at))
		}
	}
	visit(atManager, []byte(managerAID))
	switch {
	case occurrence == occurrenceFirst || occurrence == occurrenceNext && !seen:
		return first
	case occurrence == occurrenceNext:
		return after
	case occurrence == occurrencePrevious && seen:
		return before
	}
	return last
}

func fileIDOf(b []byte) uicc.FileID { return uicc.FileID(b[0])<<8 | uicc.FileID(b[1]) }

// walk follows a path down from a DF. The path may begin with 7FFF, the current
// application.
func (c *core) walk(f int, path []byte) int {
	if fileIDOf(path) == uicc.CurrentADF {
		f, path = c.session.ch.adf, path[2:]
	}
	for ; len(path) > 0 && f != 0; path = path[2:] {
		f = c.child(f, fileIDOf(path))
	}
	return f
}

// reach finds a file by its identifier alone (TS 102 221, 8.4.1): the MF, the
// current application, the current DF, its children, its parent, its siblings.
func (c *core) reach(id uicc.FileID) int {
	ch := c.session.ch
	switch {
	case id == uicc.MF:
		return c.mf()
	case id == uicc.CurrentADF:
		return ch.adf
	case ch.dir == 0:
		return 0
	}
	if f := c.child(ch.dir, id); f != 0 {
		return f
	}
	if c.fid(ch.dir) == id && c.kind(ch.dir) != uicc.KindADF {
		return ch.dir
	}
	parent := c.parent(ch.dir)
	if parent == 0 {
		return 0
	}
	if c.fid(parent) == id && c.kind(parent) != uicc.KindADF {
		return parent
	}
	if f := c.child(parent, id); f != 0 && c.kind(f).Dedicated() {
		return f
	}
	return 0
}

// appendFCP appends what SELECT and STATUS tell of a file.
func (c *core) appendFCP(out []byte, f int) []byte {
	var b [16]byte
	p := c.fcp(f)
	switch {
	case p.Kind == uicc.KindMF:
		// Clock stop is allowed, all voltage classes (TS 102 221, 11.1.1.4.6.1).
		p.Other = []uicc.TLV{{Tag: 0xA5, Value: c.appendFree(uicc.AppendTLV(b[:0], 0x80, 0x71))}}
	case p.Kind.Dedicated():
		p.Other = []uicc.TLV{{Tag: 0xA5, Value: c.appendFree(b[:0])}}
	case p.Kind == uicc.BERTLV:
		// Tags and lengths are DER; the file does not grow.
		v := uicc.AppendTLV(b[:0], 0x84, 0x01)
		v = uicc.AppendTLV(v, 0x85, byte(p.Size>>8), byte(p.Size))
		p.Other = []uicc.TLV{{Tag: 0xA5, Value: uicc.AppendTLV(v, 0x86, byte(p.Size>>8), byte(p.Size))}}
	}
	return p.Append(out)
}

// appendFree appends the amount of available memory.
func (c *core) appendFree(v []byte) []byte {
	n := c.unused()
	return uicc.AppendTLV(v, 0x83, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// unused is how many bytes of the memory are not in use.
func (c *core) unused() int { return max(c.u32(atLimit)-c.end(), 0) }

// fcp describes a file.
func (c *core) fcp(f int) uicc.FCP {
	_, size := c.body(f)
	p := uicc.FCP{
		Kind: c.kind(f), Shareable: c.b[f+fileShare] == 1, ID: c.fid(f), Name: c.name(f), SFI: c.b[f+fileSFI],
		LifeCycle: uicc.LifeCycle(c.b[f+fileLife]), Size: size,
		RecordSize: int(c.b[f+fileRecord]), Records: int(c.b[f+fileCount]),
	}
	if arr := uicc.FileID(c.u16(f + fileARR)); arr != 0 {
		p.Security = uicc.Security{ARR: arr, Record: c.b[f+fileRule]}
	}
	if p.Kind.Dedicated() {
		p.PINs = c.pins(f)
	}
	return p
}

// pins are the PINs that matter in a DF: the global ones and the local ones of
// its application (TS 102 221, 9.5.2).
func (c *core) pins(dir int) []uicc.PINStatus {
	var pins []uicc.PINStatus
	for at := c.next(atRecords, recordCode); at != 0; at = c.next(c.after(at), recordCode) {
		owner, ref := c.u24(at+codeOwner), c.b[at+codeRef]
		if (owner == 0 || c.within(dir, owner)) && !administrative(ref) {
			pins = append(pins, uicc.PINStatus{Reference: ref, Enabled: c.b[at+codeEnabled] == codeInUse})
		}
	}
	return pins
}

// status is STATUS (TS 102 221, 11.1.2).
func (c *core) status(cmd *uicc.Command) uicc.SW {
	ch := c.session.ch
	switch {
	case cmd.P1 > 2:
		return uicc.SWParameters
	case len(cmd.Data) > 0:
		return uicc.SWLength
	case ch.dir == 0:
		return uicc.SWConditions
	}
	switch cmd.P2 {
	case 0x00:
		c.session.out = c.appendFCP(c.session.out, ch.dir)
	case 0x01:
		if ch.adf == 0 {
			return uicc.SWConditions
		}
		c.session.out = uicc.AppendTLV(c.session.out, 0x84, c.name(ch.adf)...)
	case 0x0C:
	default:
		return uicc.SWParameters
	}
	return uicc.SWOK
}

// createFile is CREATE FILE (TS 102 222, 6.3).
func (c *core) createFile(cmd *uicc.Command) uicc.SW {
	ch := c.session.ch
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return uicc.SWParameters
	}
	if !c.free() && c.life() < Secured {
		return uicc.SWSecurity
	}
	if c.life() == Blank {
		return uicc.SWConditions
	}
	p, err := uicc.ParseFCP(cmd.Data)
	if err != nil || !creatable(&p) {
		return uicc.SWData
	}
	parent := ch.dir
	if p.Kind == uicc.KindMF {
		if c.mf() != 0 {
			return uicc.SWFileExists
		}
		parent = 0
	} else if parent == 0 {
		return uicc.SWFileNotFound
	} else if sw := c.mayCreate(parent, &p); sw != uicc.SWOK {
		return sw
	}
	return c.makeFile(parent, &p)
}

// creatable reports whether this operating system makes such files. A
// BER-TLV file does not grow and begins empty; access rules are referenced in the short form of 8B or there
// are none, which allows nothing.
func creatable(p *uicc.FCP) bool {
	s := p.Security
	switch {
	case len(p.Other) > 0, s.Sets != nil, s.Compact != nil, s.Expanded != nil:
		return false
	case p.Maximum != 0 && p.Maximum != p.Size, p.Kind == uicc.BERTLV && (p.Fill != nil || p.Repeat != nil):
		return false
	case p.LifeCycle != 0 && p.LifeCycle != uicc.Activated && p.LifeCycle != uicc.Deactivated:
		return false
	case p.Kind == uicc.KindADF:
		return len(p.Name) >= 5
	case p.Kind == uicc.KindDF, !p.Kind.Dedicated():
		id := p.ID
		if id == 0 || id == 0x3FFF || id == uicc.MF || id == uicc.CurrentADF || id == 0xFFFF {
			return false
		}
	}
	if p.Kind.Records() {
		return p.Records >= 1 && p.Records <= 254
	}
	return p.Kind.Dedicated() || p.Size > 0
}

func (c *core) mayCreate(parent int, p *uicc.FCP) uicc.SW {
	mode := uicc.ModeCreateEF
	if p.Kind.Dedicated() {
		mode = uicc.ModeCreateDF
	}
	switch {
	case !c.allowed(parent, mode, uicc.INSCreateFile):
		return uicc.SWSecurity
	case p.Kind == uicc.KindADF && c.kind(parent) != uicc.KindMF:
		return uicc.SWConditions
	case p.Kind == uicc.KindADF && c.sameName(p.Name):
		return uicc.SWNameExists
	case p.Kind != uicc.KindADF && c.child(parent, p.ID) != 0:
		return uicc.SWFileExists
	case p.SFI != 0 && c.bySFI(parent, p.SFI) != 0:
		return uicc.SWFileExists
	}
	return uicc.SWOK
}

func (c *core) sameName(name []byte) bool {
	f := c.byName(name)
	return f != 0 && len(c.name(f)) == len(name)
}

// makeFile writes a file's record and makes the file current.
func (c *core) makeFile(parent int, p *uicc.FCP) uicc.SW {
	size := p.Size
	if p.Kind.Dedicated() {
		size = 0
	}
	if size > 0xFFFF {
		return uicc.SWNoSpace
	}
	r := head(recordFile, fileHeader+len(p.Name)+size)
	r[fileKind] = byte(p.Kind)
	r[fileLife] = byte(uicc.Activated)
	if p.LifeCycle != 0 {
		r[fileLife] = byte(p.LifeCycle)
	}
	r[fileID], r[fileID+1] = byte(p.ID>>8), byte(p.ID)
	put24(r[fileParent:], parent)
	r[fileSFI] = p.SFI
	r[fileARR], r[fileARR+1], r[fileRule] = byte(p.Security.ARR>>8), byte(p.Security.ARR), p.Security.Record
	r[fileName] = byte(len(p.Name))
	r[fileRecord], r[fileCount] = byte(p.RecordSize), byte(p.Records)
	if p.Shareable {
		r[fileShare] = 1
	}
	copy(r[fileHeader:], p.Name)
	if p.Kind != uicc.BERTLV {
		fill(r[fileHeader+len(p.Name):], p)
	}
	at := c.place(r, parent)
	if at == 0 {
		return uicc.SWNoSpace
	}
	if c.life() == Loaded {
		c.write(atLife, byte(Initialized))
	}
	if p.Kind == uicc.KindMF {
		// Channels that were opened without an MF stand in it now.
		for i := range c.session.channels {
			c.session.channels[i].dir = at
		}
	}
	c.commit() // enter looks the new record up among those that stand
	if !c.lost {
		c.enter(at)
	}
	return uicc.SWOK
}

// fill writes the first content, of each record for a file of records: FF, or
// the filling or repeated pattern (TS 102 222, 6.3.2.2.2).
func fill(body []byte, p *uicc.FCP) {
	step := len(body)
	if p.Kind.Records() {
		step = p.RecordSize
	}
	for ; len(body) > 0; body = body[step:] {
		part := body[:step]
		for i := range part {
			switch {
			case len(p.Fill) > 0:
				part[i] = p.Fill[min(i, len(p.Fill)-1)]
			case len(p.Repeat) > 0:
				part[i] = p.Repeat[i%len(p.Repeat)]
			default:
				part[i] = 0xFF
			}
		}
	}
}

// deleteFile is DELETE FILE (TS 102 222, 6.4). It takes a file of the current
// DF, or that DF, with all that is below. 3F00 puts a chip that is not secured
// back to what it was after LOAD.
func (c *core) deleteFile(cmd *uicc.Command) uicc.SW {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return uicc.SWParameters
	case len(cmd.Data) != 2:
		return uicc.SWLength
	case !c.free() && c.life() < Secured:
		return uicc.SWSecurity
	case c.life() == Blank:
		return uicc.SWConditions
	case fileIDOf(cmd.Data) == uicc.MF:
		return c.wipe()
	}
	f := c.reach(fileIDOf(cmd.Data))
	dir := c.session.ch.dir
	if f == 0 || f != dir && c.parent(f) != dir {
		return uicc.SWFileNotFound
	}
	if !c.allowed(f, uicc.ModeDelete, cmd.INS) && (f == dir || !c.allowed(dir, uicc.ModeDeleteChild, cmd.INS)) {
		return uicc.SWSecurity
	}
	c.drop(f)
	return uicc.SWOK
}

// wipe removes all records.
func (c *core) wipe() uicc.SW {
	if c.life() >= Secured {
		return uicc.SWConditions
	}
	c.setEnd(atRecords)
	c.write(atLife, byte(Loaded))
	c.session.verified = c.session.verified[:0]
	for i := range c.session.channels {
		c.session.channels[i] = channel{open: c.session.channels[i].open}
	}
	return uicc.SWOK
}

// kill deletes a record. Another may take its place, so nothing remembers it.
func (c *core) kill(at int) {
	c.memory.kill(at)
	c.session.setVerified(at, false)
}

// drop deletes a file, all below it, and the codes and keys of those DFs.
func (c *core) drop(f int) {
	up := c.parent(f)
	s := c.session
	for i := range s.channels {
		ch := &s.channels[i]
		if c.within(ch.dir, f) {
			ch.dir = up
		}
		if c.within(ch.adf, f) {
			s.forgetLocal(c, ch.adf)
			if ch.app == ch.adf {
				ch.app = 0
			}
			ch.adf = 0
		}
		if c.within(ch.file, f) {
			ch.file, ch.transfer = 0, transfer{}
		}
	}
	// From the end, so that a file goes before the DF that it is found by.
	var below []int
	for at := atRecords; at < c.base; at = c.after(at) {
		owner := 0
		switch c.b[at] {
		case recordFile:
			owner = at
		case recordCode:
			owner = c.u24(at + codeOwner)
		case recordAKA:
			owner = c.u24(at + akaOwner)
		case recordRemote:
			owner = c.u24(at + remoteOwner)
		}
		if c.within(owner, f) {
			below = append(below, at)
		}
	}
	for _, at := range below {
		c.kill(at)
	}
}

// setLife is ACTIVATE FILE, DEACTIVATE FILE (TS 102 221, 11.1.14 and 11.1.15)
// and TERMINATE DF and EF (TS 102 222, 6.7 and 6.8), of the current file or one
// named by its identifier or path.
func (c *core) setLife(cmd *uicc.Command, life uicc.LifeCycle, mode uicc.Mode) uicc.SW {
	ch := c.session.ch
	f := ch.file
	path := cmd.P1 == 0x08 || cmd.P1 == 0x09
	switch {
	case cmd.P1 != 0 && !path || cmd.P2 != 0:
		return uicc.SWParameters
	case path && len(cmd.Data) >= 2 && len(cmd.Data)%2 == 0:
		f = c.path(cmd.P1, cmd.Data)
	case path:
		return uicc.SWLength
	case len(cmd.Data) == 2:
		f = c.reach(fileIDOf(cmd.Data))
	case len(cmd.Data) > 0:
		return uicc.SWLength
	case f == 0:
		f = ch.dir
	}
	if f == 0 {
		return uicc.SWFileNotFound
	}
	if dedicated := c.kind(f).Dedicated(); cmd.INS == uicc.INSTerminateEF && dedicated || cmd.INS == uicc.INSTerminateDF && !dedicated {
		return uicc.SWFileType
	}
	if !c.allowed(f, mode, cmd.INS) {
		return uicc.SWSecurity
	}
	if uicc.LifeCycle(c.b[f+fileLife]) == uicc.Terminated {
		return uicc.SWConditions
	}
	c.write(f+fileLife, byte(life))
	return uicc.SWOK
}

// terminateCard is TERMINATE CARD USAGE (TS 102 222, 6.9), by the rules of the
// MF.
func (c *core) terminateCard(cmd *uicc.Command) uicc.SW {
	mf := c.mf()
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return uicc.SWParameters
	case mf == 0 || c.life() < Secured:
		return uicc.SWConditions
	case !c.allowed(mf, uicc.ModeTerminate, cmd.INS):
		return uicc.SWSecurity
	}
	c.write(atLife, byte(Terminated))
	return uicc.SWOK
}

// resize is RESIZE FILE (TS 102 222, 6.10) of an EF in the current DF. What is
// added is FF; a BER-TLV file keeps its objects, or in mode 1 loses them if they
// do not fit.
func (c *core) resize(cmd *uicc.Command) uicc.SW {
	if cmd.P1 > 1 || cmd.P2 != 0 {
		return uicc.SWParameters
	}
	id, size, ok := parseResize(cmd.Data)
	if !ok {
		return uicc.SWData
	}
	dir := c.session.ch.dir
	f := c.child(dir, id)
	if dir == 0 || f == 0 {
		return uicc.SWFileNotFound
	}
	kind := c.kind(f)
	switch {
	case kind.Dedicated() || kind == uicc.Cyclic:
		return uicc.SWFileType
	case !c.allowed(f, 0, cmd.INS):
		return uicc.SWSecurity
	case !c.free() && uicc.LifeCycle(c.b[f+fileLife]) != uicc.Activated:
		return uicc.SWConditions
	}
	record := int(c.b[f+fileRecord])
	if kind == uicc.LinearFixed && (size%record != 0 || size/record > 254) {
		return uicc.SWData
	}
	at, n := c.body(f)
	if kind == uicc.BERTLV {
		if _, used, _ := c.objects(f); used > size {
			if cmd.P1 == 0 {
				return uicc.SWNoSpace
			}
			n = 0
		}
	}
	r := head(recordFile, fileHeader+size)
	copy(r[4:], c.b[f+4:f+fileHeader])
	if kind == uicc.LinearFixed {
		r[fileCount] = byte(size / record)
	}
	n = copy(r[fileHeader:], c.b[at:at+min(n, size)])
	if kind != uicc.BERTLV {
		fill(r[fileHeader+n:], &uicc.FCP{Kind: uicc.Transparent})
	}
	c.kill(f)
	moved := c.place(r, dir)
	if moved == 0 {
		return uicc.SWNoSpace
	}
	for i := range c.session.channels {
		if ch := &c.session.channels[i]; ch.file == f {
			ch.file, ch.record, ch.transfer = moved, 0, transfer{}
		}
	}
	return uicc.SWOK
}

// parseResize reads the template of RESIZE FILE: an identifier, and a size from
// 1 to 65,535 bytes.
func parseResize(b []byte) (id uicc.FileID, size int, ok bool) {
	t, rest, err := uicc.ReadTLV(b)
	if err != nil || t.Tag != 0x62 || len(rest) > 0 {
		return 0, 0, false
	}
	for o, err := range uicc.TLVs(t.Value) {
		switch {
		case err != nil:
			return 0, 0, false
		case o.Tag == 0x83 && len(o.Value) == 2 && id == 0:
			id = fileIDOf(o.Value)
		case o.Tag == 0x80 && len(o.Value) == 2 && size == 0:
			size = int(o.Value[0])<<8 | int(o.Value[1])
		default:
			return 0, 0, false
		}
	}
	return id, size, id != 0 && size > 0
}
