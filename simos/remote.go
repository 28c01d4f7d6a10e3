package simos

import (
	"errors"
	"slices"

	"ankan/scp"
	"ankan/uicc"
)

// Offsets in a record of a remote management application. The access domain
// follows.
const (
	remoteOwner  = 4  // the ADF whose files it manages; the MF: the shared ones
	remoteTAR    = 7  // 3 bytes
	remoteLevel  = 10 // minimum security level
	remoteAccess = 11
)

// Access domains (TS 102 226, 8.2.1.3.2.5).
const (
	accessFull = 0x00 // all that is not never
	accessUICC = 0x02 // three bytes; the middle one's bits are ADM1 to ADM5
	accessNone = 0xFF
)

// defaultLevel is the minimum security level of a chip that was told of no remote
// applications: cryptographic checksum, ciphered, a counter that must be higher.
const defaultLevel = 0x16

// remoteRoom is how long the data of a response packet may be, in bytes: with
// headers, padding and checksum it then fits one short message.
const remoteRoom = 96

// A remoteApp is a remote management application at work: whom a packet is for.
type remoteApp struct {
	tar      scp.TAR
	dir, adf int // where its file commands begin; 0 is none
	level    byte
	access   []byte
	manager  bool // remote application management: the card manager's commands
}

// satisfied reports whether the access domain stands for a key reference.
func (r *remoteApp) satisfied(ref byte) bool {
	switch r.access[0] {
	case accessFull:
		return true
	case accessUICC:
		return len(r.access) == 4 && ref >= 0x0A && ref <= 0x0E && r.access[2]>>(ref-0x0A)&1 == 1
	}
	return false
}

// remote finds the application with a TAR. A chip that was told of none has
// those that TS 101 220, annex D, and common use give: 000000 manages
// applications, B00000 the shared files, B00010 and B00011 the first USIM's files
// (the older as DF.GSM's), B00012 and on those of the other ADFs.
func (c *core) remote(tar scp.TAR) (*remoteApp, bool) {
	mf := c.mf()
	at := c.next(atRecords, recordRemote)
	for ; at != 0; at = c.next(c.after(at), recordRemote) {
		if scp.TAR(c.u24(at+remoteTAR)) != tar {
			continue
		}
		r := &remoteApp{tar: tar, dir: c.u24(at + remoteOwner), level: c.b[at+remoteLevel], access: slices.Clone(c.b[at+remoteAccess : c.after(at)])}
		if r.manager = tar == scp.TARISD; !r.manager && r.dir != mf {
			r.adf = r.dir
		}
		return r, true
	}
	if c.next(atRecords, recordRemote) != 0 {
		return nil, false
	}
	r := &remoteApp{tar: tar, level: defaultLevel, access: []byte{accessFull}}
	switch {
	case tar == scp.TARISD:
		r.dir, r.manager = mf, true
	case tar == scp.TARUICC:
		r.dir = mf
	case tar >= scp.TARSIM && tar <= scp.TARUSIM+15:
		n := max(int(tar)-int(scp.TARUSIM), 0)
		for f := c.next(atRecords, recordFile); f != 0; f = c.next(c.after(f), recordFile) {
			if c.kind(f) != uicc.KindADF {
				continue
			}
			if n == 0 {
				r.dir, r.adf = f, f
				break
			}
			n--
		}
	}
	return r, r.dir != 0
}

// storeRemote takes a remote management application: TAR, minimum security level,
// access domain. It manages the files of the current application, or else the
// shared ones; TAR 000000 manages applications.
func (c *core) storeRemote(v []byte) uicc.SW {
	owner := c.session.ch.adf
	if owner == 0 {
		owner = c.mf()
	}
	switch {
	case owner == 0:
		return uicc.SWConditions
	case len(v) < 5 || len(v) > 8 || v[4] == accessUICC && len(v) != 8 || v[4] != accessUICC && len(v) != 5 ||
		v[4] != accessUICC && v[4] != accessFull && v[4] != accessNone:
		return uicc.SWData
	}
	tar := int(v[0])<<16 | int(v[1])<<8 | int(v[2])
	old := c.next(atRecords, recordRemote)
	for old != 0 && c.u24(old+remoteTAR) != tar {
		old = c.next(c.after(old), recordRemote)
	}
	r := head(recordRemote, remoteTAR+len(v))
	put24(r[remoteOwner:], owner)
	copy(r[remoteTAR:], v)
	return c.put(old, r)
}

// Offsets in a record of the counter of a version of remote keys.
const (
	counterVersion = 4
	counterValue   = 5 // 5 bytes
	counterSize    = 10
)

// counter is the record of the counter of these keys, 0 for none yet.
func (m *memory) counter(version byte) int {
	for at := m.next(atRecords, recordCounter); at != 0; at = m.next(m.after(at), recordCounter) {
		if m.b[at+counterVersion] == version {
			return at
		}
	}
	return 0
}

func (m *memory) u40(at int) uint64 { return uint64(m.b[at])<<32 | uint64(m.u32(at+1)) }

func (c *core) setCounter(version byte, n uint64) uicc.SW {
	r := head(recordCounter, counterSize)
	r[counterVersion] = version
	for i := range 5 {
		r[counterValue+i] = byte(n >> (32 - 8*i))
	}
	return c.put(c.counter(version), r)
}

// envelope is ENVELOPE (TS 102 221, 11.2.2): SMS-PP download of a secured packet
// (TS 31.115). Anything else finds nobody.
func (c *core) envelope(cmd *uicc.Command) uicc.SW {
	s := c.session
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return uicc.SWParameters
	case len(cmd.Data) == 0:
		return uicc.SWLength
	case c.life() != Secured:
		return uicc.SWConditions
	}
	text, sender, err := scp.ReadDownload(cmd.Data)
	if err != nil {
		return uicc.SWConditions
	}
	packet, kind, err := s.parts.Add(text)
	switch {
	case err != nil:
		return uicc.SWConditions
	case packet == nil:
		return uicc.SWOK // more parts come
	case kind != scp.CommandPacket:
		return uicc.SWConditions
	}
	return c.secured(packet, sender)
}

// packetKeys are the keys that a packet names: KIC of one version, KID of the
// same or another. set is KID's, whose counter counts, and sealing what opens
// keys in PUT KEY.
func (c *core) packetKeys(h scp.PacketHeader) (keys scp.PacketKeys, set byte, sealing scp.KeySet, ok bool) {
	part := func(version, n int) []byte {
		at := c.ota(byte(version))
		if at == 0 || version == 0 {
			return nil
		}
		size := int(c.b[at+keysLength])
		return c.b[at+keysSecret+n*size : at+keysSecret+(n+1)*size]
	}
	kic, kid := part(h.KIC.Set(), 0), part(h.KID.Set(), 1)
	if h.SPI&scp.SPICC == 0 {
		kid = nil
	} else if kid == nil {
		return keys, 0, sealing, false
	}
	if h.SPI&(scp.SPICipher|scp.SPIPoRCipher) != 0 && kic == nil {
		return keys, 0, sealing, false
	}
	// A key is of one algorithm, whatever the packet says.
	keys, err := scp.NewPacketKeys(kic, kid, scp.PacketOptions{KIC: h.KIC, KID: h.KID, DES: c.scp02()})
	if err != nil || c.scp02() && (kic != nil && h.KIC&0x0F == scp.RefAES || kid != nil && h.KID&0x0F == scp.RefAES) {
		return keys, 0, sealing, false
	}
	if set := h.KID.Set(); kid != nil && h.KIC.Set() == set && !c.scp02() {
		sealing, err = scp.NewKeySet(kic, kid, part(set, 2))
	}
	return keys, byte(h.KID.Set()), sealing, err == nil
}

// secured opens a command packet, does what it says and answers with the proof
// of receipt that it wants (TS 102 225).
func (c *core) secured(b []byte, sender scp.Address) uicc.SW {
	h, err := scp.ReadPacketHeader(b)
	if err != nil {
		return uicc.SWConditions
	}
	keys, set, sealing, ok := c.packetKeys(h)
	if !ok {
		return uicc.SWConditions // no key to prove a receipt with
	}
	defer keys.Close()
	defer sealing.Close()
	last := uint64(0)
	if at := c.counter(set); at != 0 {
		last = c.u40(at + counterValue)
	}
	packet, err := keys.Open(b, last)
	status := scp.PacketOK
	if err != nil && !errors.As(err, &status) {
		return uicc.SWConditions
	}
	var data []byte
	if status == scp.PacketOK {
		app, known := c.remote(packet.TAR)
		switch {
		case !known:
			status = scp.PacketTARUnknown
		case !packet.SPI.Meets(app.level):
			status = scp.PacketLevel
		default:
			// Only who knows a key moves the counter. It is kept before anything is done.
			if packet.SPI.Counts() && packet.SPI&scp.SPICC != 0 {
				if sw := c.setCounter(set, packet.Counter); sw != uicc.SWOK {
					return sw
				}
				c.commit()
			}
			data = c.script(app, sealing, packet.Data)
		}
	}
	if c.lost || !packet.SPI.Answers(status) {
		return uicc.SWOK
	}
	answer, err := keys.SealAnswer(nil, packet, status, data)
	if err != nil {
		return uicc.SWConditions
	}
	return c.prove(answer, packet.SPI, sender)
}

// prove gives the proof of receipt to the terminal: in the answer to ENVELOPE,
// for an SMS-DELIVER-REPORT, or as messages to send.
func (c *core) prove(answer []byte, spi scp.SPI, sender scp.Address) uicc.SW {
	s := c.session
	parts, err := scp.Messages(scp.ResponsePacket, answer, c.b[atSequence+2])
	if err != nil {
		return uicc.SWConditions
	}
	if spi&scp.SPIPoRSubmit == 0 && len(parts) == 1 {
		s.out = append(s.out, parts[0]...)
		return uicc.SWOK
	}
	s.toSend = nil
	for _, p := range parts {
		s.toSend = append(s.toSend, sendMessage(p, sender))
	}
	return s.proactive()
}

// sendMessage is the proactive command SEND SHORT MESSAGE with an SMS-SUBMIT
// (TS 102 223, 6.6.9; TS 23.040, 9.2.2.2).
func sendMessage(text []byte, to scp.Address) []byte {
	tpdu := []byte{0x41, 0, byte(to.Digits), to.Type}
	tpdu = append(append(tpdu, to.BCD...), 0x7F, 0xF6, byte(len(text)))
	tpdu = append(tpdu, text...)
	v := uicc.AppendTLV(nil, 0x81, 1, 0x13, 0)
	v = uicc.AppendTLV(v, 0x82, 0x81, 0x83) // card to network
	return uicc.AppendTLV(nil, 0xD0, uicc.AppendTLV(v, 0x8B, tpdu...)...)
}

// proactive tells that a command waits, if one does (TS 102 221, 10.2.1.1).
func (s *session) proactive() uicc.SW {
	if len(s.toSend) == 0 {
		return uicc.SWOK
	}
	return 0x9100 | uicc.SW(byte(len(s.toSend[0])))
}

// toolkit is FETCH and TERMINAL RESPONSE (TS 102 221, 11.2.3 and 11.2.4): the
// only commands that this card has for a terminal carry proofs of receipt.
func (c *core) toolkit(cmd *uicc.Command) uicc.SW {
	s := c.session
	switch {
	case len(s.toSend) == 0:
		return uicc.SWConditions
	case cmd.P1 != 0 || cmd.P2 != 0:
		return uicc.SWParameters
	case cmd.INS == uicc.INSFetch:
		s.fetched = true
		s.out = append(s.out, s.toSend[0]...)
		return uicc.SWOK
	case len(cmd.Data) == 0:
		return uicc.SWLength
	case !s.fetched:
		return uicc.SWConditions
	}
	s.toSend, s.fetched = s.toSend[1:], false
	return s.proactive()
}

// script runs the commands of a packet in the compact or the expanded format
// (TS 102 226, 5) and returns the response data. Each command stands by itself;
// an error ends the script.
func (c *core) script(app *remoteApp, sealing scp.KeySet, data []byte) []byte {
	if len(data) == 0 {
		return nil
	}
	s := c.session
	out, verified, domain, keys, ch := s.out, slices.Clone(s.verified), s.domain, s.keys, s.ch
	at := &s.channels[channels]
	*at = channel{open: true, dir: app.dir, adf: app.adf, app: app.adf}
	s.remote, s.ch = app, at
	if app.manager {
		s.inside, s.domain, s.keys = true, atManager, sealing
	}
	defer func() {
		// What the script verified is forgotten, what it spoilt stays spoilt.
		s.verified = slices.DeleteFunc(verified, func(at int) bool { return !slices.Contains(s.verified, at) })
		s.out, s.domain, s.keys, s.ch = out[:0], domain, keys, ch
		s.remote, s.inside, *at = nil, false, channel{}
	}()
	s.out = make([]byte, 0, 512)

	expanded := data[0] == 0xAA
	var answer scp.ScriptAnswer
	step := func(cmd uicc.Command) bool {
		r := c.remoteCommand(&cmd)
		if !expanded {
			answer.Responses = answer.Responses[:0]
		}
		answer.Responses = append(answer.Responses, r)
		answer.Executed++
		sw := r.SW()
		_, more := sw.More()
		return !c.lost && (sw.OK() || sw.Warning() || more || sw>>8 == 0x9F)
	}
	if expanded {
		cmds, err := scp.ReadScript(data)
		if err == nil {
			for _, cmd := range cmds {
				if !step(cmd) {
					break
				}
			}
		}
		return fitted(answer)
	}
	for len(data) > 0 && answer.Executed < 255 {
		cmd, rest, ok := compact(data)
		if !ok {
			answer.Responses, answer.Executed = []uicc.Response{{0x67, 0x00}}, answer.Executed+1
			break
		}
		if data = rest; !step(cmd) {
			break
		}
	}
	r := answer.Responses[0]
	if len(r) > remoteRoom {
		r = append(slices.Clone(r[:remoteRoom-2]), 0x62, 0xF1) // cut, and says so
	}
	answer.Responses = []uicc.Response{r}
	return answer.AppendCompact(nil)
}

// fitted is the answer in the expanded format, the data of the longest responses
// left out until it fits.
func fitted(a scp.ScriptAnswer) []byte {
	for {
		b := a.Append(nil)
		longest := -1
		for i, r := range a.Responses {
			if len(r) > 2 && (longest < 0 || len(r) > len(a.Responses[longest])) {
				longest = i
			}
		}
		if len(b) <= remoteRoom || longest < 0 {
			return b
		}
		a.Responses[longest] = uicc.Response{0x62, 0xF1}
	}
}

// compact takes one command of the compact format, where P3 is the length of the
// data or, of commands that bring none, of the answer (TS 102 226, 5.1.1).
func compact(b []byte) (cmd uicc.Command, rest []byte, ok bool) {
	if len(b) < 5 {
		return cmd, nil, false
	}
	cmd = uicc.Command{CLA: b[0], INS: b[1], P1: b[2], P2: b[3]}
	n := int(b[4])
	b = b[5:]
	switch cmd.INS {
	case uicc.INSReadBinary, uicc.INSReadRecord, uicc.INSGetResponse, uicc.INSGetData:
		cmd.Le = n
		if n == 0 {
			cmd.Le = 256
		}
		return cmd, b, true
	case uicc.INSStatus:
		if cmd.P1&0xF0 == 0 {
			cmd.Le = max(n, 1)
			return cmd, b, true
		}
	}
	if len(b) < n {
		return cmd, nil, false
	}
	cmd.Data = b[:n]
	return cmd, b[n:], true
}

// remoteCommand runs one command of a script.
func (c *core) remoteCommand(cmd *uicc.Command) uicc.Response {
	s := c.session
	if cmd.INS == uicc.INSGetResponse {
		return c.remoteRest(cmd)
	}
	s.out, s.waiting = s.out[:0], -1
	sw := uicc.SWInstruction
	switch {
	case s.remote.manager && cmd.CLA == 0x80 && remoteManaging(cmd):
		sw = c.proprietary(cmd)
	case s.remote.manager:
	case cmd.CLA == classGSM && remoteGSM(cmd):
		sw = c.gsm(cmd)
	case cmd.CLA == 0 && remoteFiles(cmd):
		if cmd.INS == uicc.INSSelect && cmd.P1 == 0x04 {
			sw = uicc.SWParameters // an application stays with its own files
			break
		}
		sw = c.interindustry(cmd)
	case cmd.CLA == 0x80 && remoteProprietary(cmd):
		sw = c.proprietary(cmd)
	}
	if sw.OK() || sw.Warning() || sw == gsmWaits {
		c.commit()
	} else {
		c.undo()
		s.out = s.out[:0]
	}
	n := len(s.out)
	switch {
	case n > 0 && (sw == gsmWaits || cmd.Le == uicc.NoLe):
		s.waiting, s.sw = n, uicc.SWOK
		more := 0x6100 | uicc.SW(byte(n))
		if sw == gsmWaits {
			more = gsmWaits | uicc.SW(byte(n))
		}
		return uicc.Response{byte(more >> 8), byte(more)}
	case n > cmd.Le:
		return uicc.Response{0x6C, byte(n)}
	}
	return append(slices.Clone(s.out), byte(sw>>8), byte(sw))
}

// remoteRest is GET RESPONSE of a script.
func (c *core) remoteRest(cmd *uicc.Command) uicc.Response {
	s := c.session
	if s.waiting <= 0 {
		return uicc.Response{0x69, 0x85}
	}
	n := min(cmd.Le, s.waiting)
	rest := s.out[len(s.out)-s.waiting:]
	s.waiting -= n
	sw := s.sw
	if s.waiting > 0 {
		sw = 0x6100 | uicc.SW(byte(s.waiting))
	}
	return append(slices.Clone(rest[:n]), byte(sw>>8), byte(sw))
}

// remoteFiles are the commands of class 00 of remote file management (TS 102 226,
// table 7.1).
func remoteFiles(cmd *uicc.Command) bool {
	switch cmd.INS {
	case uicc.INSSelect, uicc.INSReadBinary, uicc.INSUpdateBinary, uicc.INSReadRecord, uicc.INSUpdateRecord, uicc.INSSearchRecord,
		uicc.INSVerify, uicc.INSChange, uicc.INSDisable, uicc.INSEnable, uicc.INSUnblock,
		uicc.INSCreateFile, uicc.INSDeleteFile, uicc.INSActivate, uicc.INSDeactivate:
		return true
	}
	return false
}

func remoteProprietary(cmd *uicc.Command) bool {
	switch cmd.INS {
	case uicc.INSIncrease, uicc.INSResize, uicc.INSRetrieveData, uicc.INSSetData:
		return true
	case uicc.INSStatus:
		return cmd.P1&0xF0 == 0
	}
	return false
}

func remoteGSM(cmd *uicc.Command) bool {
	switch cmd.INS {
	case uicc.INSSelect, uicc.INSReadBinary, uicc.INSUpdateBinary, uicc.INSReadRecord, uicc.INSUpdateRecord, gsmSeek, uicc.INSIncrease,
		uicc.INSVerify, uicc.INSChange, uicc.INSDisable, uicc.INSEnable, uicc.INSUnblock, uicc.INSActivate, uicc.INSDeactivate:
		return true
	}
	return false
}

// remoteManaging are the commands of remote application management (TS 102 226,
// table 8.1).
func remoteManaging(cmd *uicc.Command) bool {
	switch cmd.INS {
	case uicc.INSInstall, uicc.INSLoad, uicc.INSDelete, uicc.INSSetStatus, uicc.INSPutKey, uicc.INSGetData, uicc.INSStoreData:
		return true
	case uicc.INSStatus:
		return cmd.P1&0xF0 != 0
	}
	return false
}
