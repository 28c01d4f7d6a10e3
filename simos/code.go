package simos

import (
	"crypto/subtle"
	"slices"

	"ankan/uicc"
)

// administrative reports whether a key reference is an ADM's (TS 102 221,
// table 9.3): 0A..0E and 8A..8E.
func administrative(ref byte) bool { return ref&0x7F >= 0x0A && ref&0x7F <= 0x0E }

// codeReference reports whether a key reference can be a PIN's or an ADM's.
func codeReference(ref byte) bool {
	return administrative(ref) || ref == 0x11 || ref&0x7F >= 1 && ref&0x7F <= 8
}

// universalPIN is the key reference of the PIN that can stand for others
// (TS 102 221, 9.4.2).
const universalPIN = 0x11

// States of a code.
const (
	codeDisabled = 0
	codeInUse    = 1
	codeReplaced = 2 // by the universal PIN
)

// satisfied reports whether a key reference counts as verified: it was, or it
// is a PIN that is disabled, or one whose replacement was verified.
func (c *core) satisfied(ref byte) bool {
	at := c.code(ref, c.session.ch.adf)
	if at == 0 {
		return false
	}
	switch c.b[at+codeEnabled] {
	case codeDisabled:
		return true
	case codeReplaced:
		return ref != universalPIN && c.satisfied(universalPIN)
	}
	return slices.Contains(c.session.verified, at)
}

func (s *session) setVerified(at int, yes bool) {
	i := slices.Index(s.verified, at)
	switch {
	case yes && i < 0:
		s.verified = append(s.verified, at)
	case !yes && i >= 0:
		s.verified = slices.Delete(s.verified, i, i+1)
	}
}

// forgetLocal forgets that codes local to an application were verified, unless
// another logical channel is in that application (TS 102 221, 9.5.1).
func (s *session) forgetLocal(c *core, adf int) {
	for i := range s.channels {
		if ch := &s.channels[i]; ch != s.ch && ch.open && ch.adf == adf {
			return
		}
	}
	s.verified = slices.DeleteFunc(s.verified, func(at int) bool { return adf != 0 && c.u24(at+codeOwner) == adf })
}

// replacePIN is P1 of DISABLE PIN that puts the universal PIN in the PIN's place
// (TS 102 221, 11.1.11).
const replacePIN = 0x80 | universalPIN

// reference finds the code that P2 names, for a command with P1 = 00.
func (c *core) reference(cmd *uicc.Command) (int, uicc.SW) {
	if cmd.P1 != 0 && !(cmd.INS == uicc.INSDisable && cmd.P1 == replacePIN) {
		return 0, uicc.SWParameters
	}
	if c.life() < Secured {
		return 0, uicc.SWConditions
	}
	at := c.code(cmd.P2, c.session.ch.adf)
	if at == 0 {
		return 0, uicc.SWNotFound
	}
	return at, uicc.SWOK
}

// try compares given with the code or unblock code at secret, whose counter is
// at tries. The counter goes down before the comparison, for good, and up again
// after it, so that taking the power away in between wins nobody a try.
func (c *core) try(tries, secret int, given []byte) uicc.SW {
	left := c.b[tries]
	if left == 0 {
		return uicc.SWBlocked
	}
	c.write(tries, left-1)
	c.commit()
	if c.lost {
		return uicc.SWProblem
	}
	if subtle.ConstantTimeCompare(c.b[secret:secret+8], given) != 1 {
		return uicc.TriesLeft(int(left) - 1)
	}
	c.write(tries, c.b[tries+1]) // the most tries stand behind the tries left
	return uicc.SWOK
}

// present is try for a code in use.
func (c *core) present(at int, given []byte) uicc.SW {
	if c.b[at+codeEnabled] != codeInUse {
		return uicc.SWDisabled
	}
	sw := c.try(at+codeTries, at+codeSecret, given)
	if sw != uicc.SWOK {
		c.session.setVerified(at, false)
	}
	return sw
}

// verify is VERIFY PIN (TS 102 221, 11.1.9). Without data it tells how many
// tries are left.
func (c *core) verify(cmd *uicc.Command) uicc.SW {
	at, sw := c.reference(cmd)
	switch {
	case sw != uicc.SWOK:
		return sw
	case len(cmd.Data) == 0:
		return uicc.TriesLeft(int(c.b[at+codeTries]))
	case len(cmd.Data) != 8:
		return uicc.SWLength
	}
	if sw := c.present(at, cmd.Data); sw != uicc.SWOK {
		return sw
	}
	c.session.setVerified(at, true)
	return uicc.SWOK
}

// wellFormed reports whether a new code may be stored: a PIN is 4 to 8 digits
// padded with FF (TS 102 221, 9.5.1); an ADM is any 8 bytes.
func wellFormed(ref byte, code []byte) bool {
	if administrative(ref) {
		return true
	}
	n := 0
	for n < 8 && code[n] >= '0' && code[n] <= '9' {
		n++
	}
	for _, b := range code[n:] {
		if b != 0xFF {
			return false
		}
	}
	return n >= 4
}

// change is CHANGE PIN (TS 102 221, 11.1.10).
func (c *core) change(cmd *uicc.Command) uicc.SW {
	at, sw := c.reference(cmd)
	switch {
	case sw != uicc.SWOK:
		return sw
	case len(cmd.Data) != 16:
		return uicc.SWLength
	case !wellFormed(cmd.P2, cmd.Data[8:]):
		return uicc.SWData
	}
	if sw := c.present(at, cmd.Data[:8]); sw != uicc.SWOK {
		return sw
	}
	c.write(at+codeSecret, cmd.Data[8:]...)
	c.session.setVerified(at, true)
	return uicc.SWOK
}

// enable is ENABLE PIN and DISABLE PIN (TS 102 221, 11.1.11 and 11.1.12).
func (c *core) enable(cmd *uicc.Command, on bool) uicc.SW {
	at, sw := c.reference(cmd)
	switch {
	case sw != uicc.SWOK:
		return sw
	case len(cmd.Data) != 8:
		return uicc.SWLength
	case administrative(cmd.P2):
		return uicc.SWParameters
	case cmd.P1 == replacePIN && (cmd.P2 == universalPIN || c.code(universalPIN, 0) == 0):
		return uicc.SWNotFound
	}
	if on == (c.b[at+codeEnabled] == codeInUse) {
		if on {
			return uicc.SWConditions
		}
		return uicc.SWDisabled
	}
	if sw := c.try(at+codeTries, at+codeSecret, cmd.Data); sw != uicc.SWOK {
		c.session.setVerified(at, false)
		return sw
	}
	state := byte(codeDisabled)
	switch {
	case on:
		state = codeInUse
	case cmd.P1 == replacePIN:
		state = codeReplaced
	}
	c.write(at+codeEnabled, state)
	c.session.setVerified(at, on)
	return uicc.SWOK
}

// unblock is UNBLOCK PIN (TS 102 221, 11.1.13). Without data it tells how many
// tries the unblock code has left.
func (c *core) unblock(cmd *uicc.Command) uicc.SW {
	at, sw := c.reference(cmd)
	switch {
	case sw != uicc.SWOK:
		return sw
	case len(cmd.Data) == 0:
		return uicc.TriesLeft(int(c.b[at+codePUK]))
	case len(cmd.Data) != 16:
		return uicc.SWLength
	case !wellFormed(cmd.P2, cmd.Data[8:]):
		return uicc.SWData
	}
	if sw := c.try(at+codePUK, at+codeUnblock, cmd.Data[:8]); sw != uicc.SWOK {
		return sw
	}
	c.write(at+codeSecret, cmd.Data[8:]...)
	c.write(at+codeTries, c.b[at+codeMax])
	c.session.setVerified(at, c.b[at+codeEnabled] == codeInUse)
	return uicc.SWOK
}
