package simos

import (
	"ankan/scp"
	"ankan/uicc"
)

// transmit runs one command and gives its answer, which lies in the session.
func (c *core) transmit(b []byte) []byte {
	s := c.session
	cmd, err := uicc.ParseCommand(b)
	if err != nil {
		return s.status(uicc.SWLength)
	}
	if answer := c.fetch(&cmd); answer != nil {
		return answer
	}
	s.out, s.waiting = s.out[:0], -1
	sw := c.run(b, cmd)
	if sw.OK() || sw.Warning() || sw == gsmWaits {
		c.commit()
	} else {
		c.memory.undo()
		s.out = s.out[:0]
	}
	if s.inside {
		return s.wrap(c, &cmd, sw)
	}
	return s.respond(&cmd, sw, c.direct())
}

// undo takes back what a refused command wrote. After a power loss that is
// done at the next reset.
func (m *memory) undo() {
	if !m.lost {
		m.rollBack()
	}
}

// status is an answer without data.
func (s *session) status(sw uicc.SW) []byte {
	return append(s.answer[:0], byte(sw>>8), byte(sw))
}

// wrapRoom is what fits a short response with padding and MAC, see scp.
const wrapRoom = 239

// wrap protects the answer to a command that came through the secure channel.
func (s *session) wrap(c *core, cmd *uicc.Command, sw uicc.SW) []byte {
	if len(s.out) > wrapRoom && s.scp.Level()&scp.RMAC != 0 {
		s.out = s.out[:0]
		sw = 0x6C00 | wrapRoom
	}
	s.out = append(s.out, byte(sw>>8), byte(sw))
	s.out = s.scp.Wrap(s.out[:0], s.out)
	s.out = s.out[:len(s.out)-2]
	return s.respond(&uicc.Command{INS: cmd.INS, Data: cmd.Data, Le: 256 * min(cmd.Le, 1)}, sw, c.direct())
}

// respond gives the data in out as the protocol wants it (TS 102 221,
// 7.3.1.1): over T=0 a command with data leaves it for GET RESPONSE, and one
// without must name its length. Over T=1 it comes at once if Le allows.
func (s *session) respond(cmd *uicc.Command, sw uicc.SW, direct bool) []byte {
	n := len(s.out)
	if sw == gsmWaits {
		if !direct || n > cmd.Le {
			s.waiting, s.sw, s.header = n, uicc.SWOK, [4]byte{0, uicc.INSGetResponse, 0, 0}
			return s.status(gsmWaits | uicc.SW(byte(n)))
		}
		sw = uicc.SWOK
	}
	if n == 0 {
		return s.status(sw)
	}
	wait := n != cmd.Le
	if direct {
		wait = n > cmd.Le
	}
	switch {
	case !direct && len(cmd.Data) > 0, direct && cmd.Le == uicc.NoLe:
		s.waiting, s.sw, s.header = n, sw, [4]byte{0, uicc.INSGetResponse, 0, 0}
		return s.status(0x6100 | uicc.SW(byte(n)))
	case wait:
		s.waiting, s.sw, s.header = n, sw, [4]byte{cmd.CLA, cmd.INS, cmd.P1, cmd.P2}
		return s.status(0x6C00 | uicc.SW(byte(n)))
	}
	return append(append(s.answer[:0], s.out...), byte(sw>>8), byte(sw))
}

// fetch answers GET RESPONSE, and a command that is sent again with the length
// of 6Cxx, from what waits: the command is not run twice. nil means that this
// command is neither.
func (c *core) fetch(cmd *uicc.Command) []byte {
	s := c.session
	get := cmd.INS == uicc.INSGetResponse && (cmd.CLA&0xFC == 0 || cmd.CLA&0xF0 == 0x40 || cmd.CLA == classGSM)
	if s.waiting < 0 {
		if get {
			return s.status(uicc.SWConditions)
		}
		return nil
	}
	header := [4]byte{cmd.CLA, cmd.INS, cmd.P1, cmd.P2}
	if get {
		header[0] = 0
	}
	if header != s.header || len(cmd.Data) > 0 || !get && cmd.Le != s.waiting {
		return nil
	}
	rest := s.out[len(s.out)-s.waiting:]
	if cmd.CLA == classGSM && get {
		if cmd.Le > len(rest) {
			return s.status(uicc.SWLength | uicc.SW(byte(len(rest))))
		}
		s.waiting = -1 // a SIM gives the rest up
		return append(append(s.answer[:0], rest[:cmd.Le]...), byte(s.sw>>8), byte(s.sw))
	}
	if cmd.Le > len(rest) && !c.direct() || cmd.Le == uicc.NoLe {
		return s.status(0x6C00 | uicc.SW(byte(len(rest))))
	}
	n := min(cmd.Le, len(rest))
	a := append(s.answer[:0], rest[:n]...)
	if s.waiting -= n; s.waiting > 0 {
		return append(a, 0x61, byte(s.waiting))
	}
	s.waiting = -1
	return append(a, byte(s.sw>>8), byte(s.sw))
}

// run finds the logical channel, takes the command out of the secure channel
// and runs it.
func (c *core) run(b []byte, cmd uicc.Command) uicc.SW {
	s := c.session
	s.inside = false
	n, secure, sw := class(cmd.CLA)
	if sw != uicc.SWOK {
		return sw
	}
	if n >= channels || !s.channels[n].open {
		return uicc.SWChannel
	}
	s.ch = &s.channels[n]
	switch {
	case secure == 0:
		// While a secure channel is open, a clear command could move the ground
		// under the host's feet: select another directory, for one.
		if s.scp.Level() != 0 && !managerAlways(&cmd) {
			return uicc.SWSecurity
		}
	case secure != 0x04:
		return uicc.SWSecureMessaging
	case cmd.CLA&0x80 != 0 && cmd.INS == uicc.INSExternalAuthenticate:
		return c.externalAuthenticate(b)
	default:
		plain, err := s.scp.Unwrap(b)
		if err != nil {
			return uicc.SWSecurity
		}
		s.inside, cmd = true, plain
	}
	if sw := c.alive(&cmd); sw != uicc.SWOK {
		return sw
	}
	switch {
	case cmd.CLA == classGSM:
		return c.gsm(&cmd)
	case cmd.CLA&0x80 != 0:
		return c.proprietary(&cmd)
	}
	return c.interindustry(&cmd)
}

// class reads a class byte: the logical channel, and the bits of secure
// messaging as a class of channels 0..3 has them (TS 102 221, 10.1.1).
func class(cla byte) (channel int, secure byte, sw uicc.SW) {
	switch {
	case cla == classGSM:
		return 0, 0, uicc.SWOK
	case cla == 0xFF: // ISO/IEC 7816-4, 5.4.1
		return 0, 0, uicc.SWClass
	case cla&0x40 != 0: // channels 4 to 19
		if cla&0x10 != 0 {
			return 0, 0, uicc.SWChaining
		}
		return int(cla&0x0F) + 4, cla & 0x20, uicc.SWOK
	case cla&0x30 == 0x10:
		return 0, 0, uicc.SWChaining
	case cla&0x30 != 0:
		return 0, 0, uicc.SWClass
	}
	return int(cla & 3), cla & 0x0C, uicc.SWOK
}

// managerAlways are the commands that read public data or begin a session.
func managerAlways(cmd *uicc.Command) bool {
	return cmd.CLA&0x80 != 0 && (cmd.INS == uicc.INSInitializeUpdate || cmd.INS == uicc.INSGetData)
}

// alive refuses what a locked or terminated card does not do.
func (c *core) alive(cmd *uicc.Command) uicc.SW {
	switch life := c.life(); {
	case life != Locked && life != Terminated:
	case cmd.CLA&0x80 != 0 && cmd.INS == uicc.INSGetData:
	case life == Locked && managerAlways(cmd):
	case life == Locked && cmd.CLA&0x80 != 0 && cmd.INS == uicc.INSSetStatus:
	default:
		return uicc.SWConditions
	}
	return uicc.SWOK
}

// interindustry runs the commands of class 0x (TS 102 221, 10.1.2).
func (c *core) interindustry(cmd *uicc.Command) uicc.SW {
	switch cmd.INS {
	case uicc.INSSelect:
		return c.selectFile(cmd)
	case uicc.INSReadBinary:
		return c.readBinary(cmd)
	case uicc.INSUpdateBinary:
		return c.updateBinary(cmd)
	case uicc.INSReadRecord:
		return c.readRecord(cmd)
	case uicc.INSUpdateRecord:
		return c.updateRecord(cmd)
	case uicc.INSSearchRecord:
		return c.searchRecord(cmd)
	case uicc.INSVerify:
		return c.verify(cmd)
	case uicc.INSChange:
		return c.change(cmd)
	case uicc.INSDisable:
		return c.enable(cmd, false)
	case uicc.INSEnable:
		return c.enable(cmd, true)
	case uicc.INSUnblock:
		return c.unblock(cmd)
	case uicc.INSAuthenticate:
		return c.authenticate(cmd)
	case uicc.INSGetChallenge:
		return c.getChallenge(cmd)
	case uicc.INSManageChannel:
		return c.manageChannel(cmd)
	case uicc.INSGetData:
		return c.getData(cmd)
	case uicc.INSCreateFile:
		return c.createFile(cmd)
	case uicc.INSDeleteFile:
		return c.deleteFile(cmd)
	case uicc.INSActivate:
		return c.setLife(cmd, uicc.Activated, uicc.ModeActivate)
	case uicc.INSDeactivate:
		return c.setLife(cmd, uicc.Deactivated, uicc.ModeDeactivate)
	case uicc.INSTerminateDF, uicc.INSTerminateEF:
		return c.setLife(cmd, uicc.Terminated, uicc.ModeTerminate)
	case uicc.INSTerminateCard:
		return c.terminateCard(cmd)
	}
	return uicc.SWInstruction
}

// proprietary runs the commands of class 8x: GlobalPlatform's and the toolkit's.
func (c *core) proprietary(cmd *uicc.Command) uicc.SW {
	switch cmd.INS {
	case uicc.INSStatus:
		if cmd.P1&0xF0 != 0 {
			return c.getStatus(cmd)
		}
		return c.status(cmd)
	case uicc.INSGetData:
		return c.getData(cmd)
	case uicc.INSInstall:
		return c.install(cmd)
	case uicc.INSDelete:
		return c.deleteContent(cmd)
	case uicc.INSInitializeUpdate:
		return c.initializeUpdate(cmd)
	case uicc.INSExternalAuthenticate:
		return uicc.SWSecureMessaging // it has a MAC itself
	case uicc.INSLoad:
		return c.loadOS(cmd)
	case uicc.INSStoreData:
		return c.storeData(cmd)
	case uicc.INSPutKey:
		return c.putKey(cmd)
	case uicc.INSSetStatus:
		return c.setStatus(cmd)
	case uicc.INSRetrieveData:
		return c.retrieveData(cmd)
	case uicc.INSSetData:
		return c.setData(cmd)
	case uicc.INSIncrease:
		return c.increase(cmd)
	case uicc.INSResize:
		return c.resize(cmd)
	case uicc.INSGetIdentity:
		return c.getIdentity(cmd)
	case uicc.INSTerminalProfile:
		return c.terminalProfile(cmd)
	case uicc.INSEnvelope:
		return c.envelope(cmd)
	case uicc.INSFetch, uicc.INSTerminalResponse:
		return c.toolkit(cmd)
	}
	return uicc.SWInstruction
}

// channel opens a logical channel with the MF selected, if there is one. One
// that is opened from another than the basic channel begins where that one is
// (TS 102 221, 8.7).
func (c *core) channel(i int) {
	n := channel{open: true, dir: c.mf()}
	if ch := c.session.ch; ch != nil && ch != &c.session.channels[0] {
		n.dir, n.adf, n.app = ch.dir, ch.adf, ch.app
	}
	c.session.channels[i] = n
}

// closeChannel closes a logical channel; the local codes of its application
// are forgotten if no other channel is in it.
func (c *core) closeChannel(i int) {
	s := c.session
	at, adf := s.ch, s.channels[i].adf
	s.channels[i] = channel{}
	s.ch = nil
	s.forgetLocal(c, adf)
	s.ch = at
}

// manageChannel opens and closes logical channels (TS 102 221, 11.1.17).
func (c *core) manageChannel(cmd *uicc.Command) uicc.SW {
	s := c.session
	if len(cmd.Data) > 0 {
		return uicc.SWLength
	}
	n := int(cmd.P2)
	switch {
	case cmd.P1 == 0x80 && n >= 1 && n < channels:
		if !s.channels[n].open {
			return uicc.SWChannel
		}
		c.closeChannel(n)
		return uicc.SWOK
	case cmd.P1 != 0 || n >= channels:
		return uicc.SWParameters
	case n > 0:
		if s.channels[n].open {
			return uicc.SWChannel
		}
		c.channel(n)
		return uicc.SWOK
	}
	if cmd.Le == uicc.NoLe {
		return uicc.SWLength
	}
	for i := 1; i < channels; i++ {
		if !s.channels[i].open {
			c.channel(i)
			s.out = append(s.out, byte(i))
			return uicc.SWOK
		}
	}
	return uicc.SWChannel
}

// getChallenge draws random bytes (TS 102 221, 11.1.18).
func (c *core) getChallenge(cmd *uicc.Command) uicc.SW {
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return uicc.SWParameters
	}
	if cmd.Le == uicc.NoLe || len(cmd.Data) > 0 {
		return uicc.SWLength
	}
	s := c.session
	s.out = s.out[:cmd.Le]
	c.random(s.out)
	return uicc.SWOK
}

// terminalProfile takes note that a terminal has a toolkit; this card has none
// (TS 102 221, 11.2.1).
func (c *core) terminalProfile(cmd *uicc.Command) uicc.SW {
	if len(cmd.Data) == 0 {
		return uicc.SWLength
	}
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return uicc.SWParameters
	}
	return uicc.SWOK
}
