package simos

import (
	"bytes"

	"ankan/uicc"
)

// classGSM is the class byte of a SIM (TS 51.011, 9.2).
const classGSM = 0xA0

// Instructions of a SIM that mean something else on a UICC, or nothing
// (TS 51.011, table 9).
const (
	gsmRunAlgorithm = 0x88
	gsmSeek         = 0xA2
	gsmSleep        = 0xFA
)

// The files of a SIM (TS 51.011, 10.1).
const (
	dfTelecom uicc.FileID = 0x7F10
	dfGSM     uicc.FileID = 0x7F20
)

// Status words of a SIM (TS 51.011, 9.4).
const (
	gsmWaits       uicc.SW = 0x9F00 // and the length of what waits
	gsmNoEF        uicc.SW = 0x9400
	gsmRange       uicc.SW = 0x9402
	gsmNotFound    uicc.SW = 0x9404 // file or pattern
	gsmKind        uicc.SW = 0x9408
	gsmMemory      uicc.SW = 0x9240
	gsmNoCHV       uicc.SW = 0x9802
	gsmAccess      uicc.SW = 0x9804 // or a wrong CHV
	gsmCHVStatus   uicc.SW = 0x9808
	gsmInvalidated uicc.SW = 0x9810
	gsmBlocked     uicc.SW = 0x9840
)

// gsm runs a command of class A0: the card as a SIM for old terminals and
// tools. It works on the same files, codes and counters as class 0x. There is
// no second file system: DF.GSM is the USIM, if the card has no DF of its own
// with that identifier.
func (c *core) gsm(cmd *uicc.Command) uicc.SW {
	if c.life() < Secured {
		return uicc.SWClass // nothing is a SIM yet
	}
	sw := c.gsmCommand(cmd)
	if sw.OK() || sw == gsmWaits {
		return sw
	}
	return gsmStatus(cmd, sw)
}

func (c *core) gsmCommand(cmd *uicc.Command) uicc.SW {
	switch cmd.INS {
	case uicc.INSSelect:
		return c.gsmSelect(cmd)
	case uicc.INSStatus:
		return c.gsmTell(cmd)
	case uicc.INSReadBinary:
		if cmd.P1 > 0x7F {
			return uicc.SWParameters
		}
		return c.gsmExact(c.readBinary(cmd), cmd)
	case uicc.INSReadRecord:
		if cmd.P2 > 4 {
			return uicc.SWParameters
		}
		return c.gsmExact(c.readRecord(cmd), cmd)
	case uicc.INSUpdateBinary:
		if cmd.P1 > 0x7F {
			return uicc.SWParameters
		}
		return c.updateBinary(cmd)
	case uicc.INSUpdateRecord:
		if cmd.P2 > 4 {
			return uicc.SWParameters
		}
		return c.updateRecord(cmd)
	case gsmSeek:
		return c.seek(cmd)
	case uicc.INSIncrease:
		return c.gsmIncrease(cmd)
	case uicc.INSVerify, uicc.INSChange, uicc.INSDisable, uicc.INSEnable, uicc.INSUnblock:
		return c.chv(cmd)
	case uicc.INSDeactivate:
		return c.setLife(cmd, uicc.Deactivated, uicc.ModeDeactivate)
	case uicc.INSActivate:
		return c.setLife(cmd, uicc.Activated, uicc.ModeActivate)
	case gsmRunAlgorithm:
		return c.runAlgorithm(cmd)
	case gsmSleep:
		return uicc.SWOK
	case uicc.INSTerminalProfile:
		return c.terminalProfile(cmd)
	case uicc.INSEnvelope:
		if sw := c.envelope(cmd); sw != uicc.SWOK || len(c.session.out) == 0 {
			return sw
		}
		return gsmWaits
	case uicc.INSFetch, uicc.INSTerminalResponse:
		return c.toolkit(cmd)
	}
	return uicc.SWInstruction
}

// gsmStatus says the same in the words of a SIM.
func gsmStatus(cmd *uicc.Command, sw uicc.SW) uicc.SW {
	switch sw {
	case uicc.SWNoFile:
		return gsmNoEF
	case uicc.SWOffset, uicc.SWRecordNotFound:
		return gsmRange
	case uicc.SWFileNotFound, uicc.SWEndOfFile:
		return gsmNotFound
	case uicc.SWFileType:
		return gsmKind
	case uicc.SWSecurity:
		return gsmAccess
	case uicc.SWBlocked:
		return gsmBlocked
	case uicc.SWDisabled:
		return gsmCHVStatus
	case uicc.SWDeactivated:
		return uicc.SWOK // GET RESPONSE tells
	case uicc.SWConditions:
		if cmd.INS == uicc.INSEnable {
			return gsmCHVStatus
		}
		return gsmInvalidated
	case uicc.SWNotFound:
		return gsmNoCHV
	case uicc.SWNoSpace:
		return gsmMemory
	case uicc.SWData, uicc.SWParameters:
		return uicc.SWOffset
	}
	if n, ok := sw.Tries(); ok && n > 0 {
		return gsmAccess
	} else if ok {
		return gsmBlocked
	}
	return sw
}

// gsmExact wants the length of a READ to be what there is (TS 51.011, 9.1.1).
func (c *core) gsmExact(sw uicc.SW, cmd *uicc.Command) uicc.SW {
	if n := len(c.session.out); sw == uicc.SWOK && cmd.Le != n && !c.direct() {
		return uicc.SWLength | uicc.SW(byte(n))
	}
	return sw
}

// mapped is the USIM in the place of DF.GSM: the first application with the RID
// of 3GPP and the number of the USIM; 0 if the card has a DF.GSM.
func (c *core) mapped() int {
	if c.child(c.mf(), dfGSM) != 0 {
		return 0
	}
	return c.byName([]byte("\xA0\x00\x00\x00\x87\x10\x02"))
}

// gsmSelect is SELECT (TS 51.011, 8.1): by identifier, as a SIM's files can be
// reached from one another. Selecting DF.GSM enters the USIM.
func (c *core) gsmSelect(cmd *uicc.Command) uicc.SW {
	ch := c.session.ch
	switch {
	case len(cmd.Data) != 2:
		return uicc.SWLength | 2
	case cmd.P1 != 0 || cmd.P2 != 0:
		return uicc.SWParameters
	}
	id := fileIDOf(cmd.Data)
	usim := c.mapped()
	f := 0
	switch {
	case id == dfGSM && usim != 0:
		f = usim
	case id == uicc.CurrentADF || ch.dir == 0:
	default:
		if f = c.reach(id); f == 0 && usim != 0 && c.within(ch.dir, usim) {
			f = c.gsmFile(usim, id)
		}
		if f == 0 { // a DF of the first level can be had from anywhere below
			if f = c.child(c.mf(), id); f != 0 && !c.kind(f).Dedicated() {
				f = 0
			}
		}
	}
	// What has no structure of a SIM's files does not exist for a SIM.
	if f == 0 || c.kind(f) == uicc.BERTLV || uicc.LifeCycle(c.b[f+fileLife]) == uicc.Terminated {
		return uicc.SWFileNotFound
	}
	c.enter(f)
	c.session.out = c.appendGSM(c.session.out, f)
	return gsmWaits
}

// gsmFile finds the files that a SIM has in DF.GSM and a USIM below it
// (TS 31.102, 4.4.3).
func (c *core) gsmFile(usim int, id uicc.FileID) int {
	access := c.child(usim, 0x5F3B)
	switch {
	case id == 0x6F20 && access != 0: // EF.Kc
		return c.child(access, 0x4F20)
	case id == 0x6F52 && access != 0: // EF.KcGPRS
		return c.child(access, 0x4F52)
	case id == 0x6F53: // EF.LOCIGPRS
		return c.child(usim, 0x6F73)
	}
	return 0
}

// gsmTell is STATUS (TS 51.011, 8.2): what SELECT tells of the current DF, or
// the beginning of it.
func (c *core) gsmTell(cmd *uicc.Command) uicc.SW {
	s := c.session
	switch {
	case cmd.P1 > 2 || cmd.P2 != 0 && cmd.P2 != 0x0C:
		return uicc.SWParameters
	case s.ch.dir == 0:
		return uicc.SWNoFile
	case cmd.P2 == 0x0C || len(cmd.Data) > 0:
		return uicc.SWOK
	}
	s.out = c.appendGSM(s.out, s.ch.dir)
	if cmd.Le != uicc.NoLe && cmd.Le < len(s.out) {
		s.out = s.out[:cmd.Le]
	}
	return uicc.SWOK
}

// appendGSM appends what SELECT tells of a file (TS 51.011, 9.2.1).
func (c *core) appendGSM(out []byte, f int) []byte {
	id := c.fid(f)
	kind := c.kind(f)
	if kind == uicc.KindADF {
		id = dfGSM
	}
	if !kind.Dedicated() {
		_, size := c.body(f)
		out = append(out, 0, 0, byte(size>>8), byte(size), byte(id>>8), byte(id), 4)
		structure, increasable := byte(0), byte(0)
		switch kind {
		case uicc.LinearFixed:
			structure = 1
		case uicc.Cyclic:
			structure, increasable = 3, 0x40
		}
		status := byte(0)
		if uicc.LifeCycle(c.b[f+fileLife]) == uicc.Activated {
			status = 1
		}
		return append(out, increasable,
			c.gsmLevel(f, uicc.ModeRead, uicc.INSReadBinary)<<4|c.gsmLevel(f, uicc.ModeUpdate, uicc.INSUpdateBinary),
			c.gsmLevel(f, 0, uicc.INSIncrease)<<4,
			c.gsmLevel(f, uicc.ModeActivate, uicc.INSActivate)<<4|c.gsmLevel(f, uicc.ModeDeactivate, uicc.INSDeactivate),
			status, 2, structure, c.b[f+fileRecord])
	}
	free := min(c.unused(), 0xFFFF)
	out = append(out, 0, 0, byte(free>>8), byte(free), byte(id>>8), byte(id))
	if kind == uicc.KindMF {
		out = append(out, 1)
	} else {
		out = append(out, 2)
	}
	out = append(out, 0, 0, 0, 0, 0, 9)
	dfs, efs := 0, 0
	for at := c.next(atRecords, recordFile); at != 0; at = c.next(c.after(at), recordFile) {
		switch {
		case c.parent(at) != f || at == f:
		case c.kind(at).Dedicated():
			dfs++
		default:
			efs++
		}
	}
	characteristics := byte(0x11) // clock stop allowed
	chv1, chv2 := c.gsmCode(1), c.gsmCode(2)
	if chv1 != 0 && c.b[chv1+codeEnabled] != codeInUse {
		characteristics |= 0x80
	}
	out = append(out, characteristics, byte(dfs), byte(efs), 4, 0)
	for _, at := range [2]int{chv1, chv2} {
		if at == 0 {
			out = append(out, 0, 0)
			continue
		}
		out = append(out, 0x80|c.b[at+codeTries], 0x80|c.b[at+codePUK])
	}
	return out
}

// gsmLevel is the access condition of a SIM (TS 51.011, 9.3): always 0, CHV1
// 1, CHV2 2, administrative 4 and up, never F.
func (c *core) gsmLevel(f int, mode uicc.Mode, ins byte) byte {
	record := c.rule(f)
	if uicc.Allowed(record, mode, ins, func(byte) bool { return false }) {
		return 0
	}
	for _, l := range [7]struct{ level, ref byte }{{1, 0x01}, {2, 0x81}, {4, 0x0A}, {5, 0x0B}, {6, 0x0C}, {7, 0x0D}, {8, 0x0E}} {
		if uicc.Allowed(record, mode, ins, func(ref byte) bool { return ref == l.ref }) {
			return l.level
		}
	}
	return 0x0F
}

// gsmReference is the key reference that a SIM's number of a CHV means: CHV1 is
// the global PIN 01, CHV2 the USIM's local PIN 81, 4 to 8 and 0A to 0E the ADMs.
func gsmReference(n byte) byte {
	switch {
	case n == 2:
		return 0x81
	case n >= 4 && n <= 8:
		return 0x0A + n - 4
	}
	return n
}

// gsmCode finds a code of the SIM. The USIM's local PIN counts wherever the
// terminal stands: a SIM has no applications.
func (c *core) gsmCode(n byte) int {
	adf := c.session.ch.adf
	if adf == 0 {
		adf = c.mapped()
	}
	return c.code(gsmReference(n), adf)
}

// chv runs the commands about codes (TS 51.011, 8.9 to 8.13).
func (c *core) chv(cmd *uicc.Command) uicc.SW {
	n := cmd.P2
	if cmd.INS == uicc.INSUnblock && n == 0 {
		n = 1 // CHV1 is 00 there (TS 51.011, 9.2.13)
	}
	want := 8
	if cmd.INS == uicc.INSChange || cmd.INS == uicc.INSUnblock {
		want = 16
	}
	ref := gsmReference(n)
	switch {
	case len(cmd.Data) != want:
		return uicc.SWLength | uicc.SW(want)
	case cmd.P1 != 0 || n != 1 && n != 2 && !administrative(ref):
		return uicc.SWParameters
	}
	ch := c.session.ch
	adf := ch.adf
	if ch.adf == 0 {
		ch.adf = c.mapped()
		defer func() { ch.adf = adf }()
	}
	as := uicc.Command{CLA: cmd.CLA, INS: cmd.INS, P2: ref, Data: cmd.Data}
	switch cmd.INS {
	case uicc.INSVerify:
		return c.verify(&as)
	case uicc.INSChange:
		return c.change(&as)
	case uicc.INSDisable:
		return c.enable(&as, false)
	case uicc.INSEnable:
		return c.enable(&as, true)
	}
	return c.unblock(&as)
}

// seek is SEEK (TS 51.011, 8.7): the first record that begins with the pattern
// becomes current; type 2 tells its number.
func (c *core) seek(cmd *uicc.Command) uicc.SW {
	mode, kind := cmd.P2&0x0F, cmd.P2>>4
	switch {
	case cmd.P1 != 0 || mode > 3 || kind > 1:
		return uicc.SWParameters
	case len(cmd.Data) == 0 || len(cmd.Data) > 16:
		return uicc.SWLength
	}
	f, sw := c.use(0, cmd, uicc.ModeRead, uicc.LinearFixed)
	if sw != uicc.SWOK {
		return sw
	}
	if len(cmd.Data) > int(c.b[f+fileRecord]) {
		return uicc.SWLength
	}
	n, step, count := 1, 1, int(c.b[f+fileCount])
	pointer := c.session.ch.record
	switch {
	case mode == 1 || mode == 3 && pointer == 0:
		n, step = count, -1
	case mode == 2 && pointer != 0:
		n = pointer + 1
	case mode == 3:
		n, step = pointer-1, -1
	}
	for ; n >= 1 && n <= count; n += step {
		at, _, _ := c.recordAt(f, n)
		if bytes.HasPrefix(c.b[at:], cmd.Data) {
			c.session.ch.record = n
			if kind == 1 {
				c.session.out = append(c.session.out, byte(n))
				return gsmWaits
			}
			return uicc.SWOK
		}
	}
	return uicc.SWEndOfFile
}

// gsmIncrease is INCREASE (TS 51.011, 8.8): three bytes are added.
func (c *core) gsmIncrease(cmd *uicc.Command) uicc.SW {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return uicc.SWParameters
	case len(cmd.Data) != 3:
		return uicc.SWLength | 3
	}
	if sw := c.increase(cmd); sw != uicc.SWOK {
		return sw
	}
	return gsmWaits
}

// runAlgorithm is RUN GSM ALGORITHM (TS 51.011, 8.16), in DF.GSM: AUTHENTICATE
// in the GSM security context, without the lengths.
func (c *core) runAlgorithm(cmd *uicc.Command) uicc.SW {
	s := c.session
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return uicc.SWParameters
	case len(cmd.Data) != 16:
		return uicc.SWLength | 16
	}
	adf := s.ch.adf
	if usim := c.mapped(); usim == 0 || !c.within(s.ch.dir, usim) {
		if dir := s.ch.dir; dir == 0 || c.fid(dir) != dfGSM {
			return uicc.SWConditions
		}
		s.ch.adf = c.byName([]byte("\xA0\x00\x00\x00\x87\x10\x02"))
	}
	var data [17]byte
	data[0] = 16
	copy(data[1:], cmd.Data)
	sw := c.authenticate(&uicc.Command{INS: uicc.INSAuthenticate, P2: 0x80, Data: data[:]})
	s.ch.adf = adf
	if sw != uicc.SWOK {
		return sw
	}
	if o := s.out; len(o) == 14 { // lengths and values of SRES and Kc
		copy(o, o[1:5])
		copy(o[4:], o[6:14])
		s.out = o[:12]
	}
	return gsmWaits
}
