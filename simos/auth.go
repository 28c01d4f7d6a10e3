package simos

import (
	"errors"

	"ankan/aka"
	"ankan/uicc"
)

// maxJump is how far ahead of the highest SEQ a new one may be (TS 33.102,
// C.2.1; C.3.2 proposes 2^28).
const maxJump = 1 << 28

const efUST uicc.FileID = 0x6F38

// Services of EF.UST that decide what AUTHENTICATE gives (TS 31.102, 4.2.8).
const (
	serviceGSM    = 27 // GSM access: Kc comes with CK and IK
	serviceGSMCtx = 38 // GSM security context
)

// authenticate is AUTHENTICATE in the current application, in the 3G and the
// GSM security context (TS 31.102, 7.1.2).
func (c *core) authenticate(cmd *uicc.Command) uicc.SW {
	adf := c.session.ch.adf
	at := c.aka(adf)
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0x81 && cmd.P2 != 0x80:
		return uicc.SWParameters
	case at == 0:
		return uicc.SWNotFound
	case c.life() < Secured || uicc.LifeCycle(c.b[adf+fileLife]) != uicc.Activated:
		return uicc.SWConditions
	case !c.satisfied(0x01):
		return uicc.SWSecurity
	}
	set, err := c.set(at)
	if err != nil {
		return uicc.SWProblem
	}
	d := cmd.Data
	if cmd.P2 == 0x80 {
		if !c.service(adf, serviceGSMCtx) {
			return uicc.SWContext
		}
		if len(d) != 17 || d[0] != 16 {
			return uicc.SWLength
		}
		sres, kc := set.Triplet(aka.RAND(d[1:]))
		out := append(append(c.session.out, 4), sres[:]...)
		c.session.out = append(append(out, 8), kc[:]...)
		return uicc.SWOK
	}
	if len(d) != 34 || d[0] != 16 || d[17] != 16 {
		return uicc.SWLength
	}
	return c.answer(set, at, aka.RAND(d[1:]), aka.AUTN(d[18:]))
}

// answer checks the network's token and answers with RES, CK, IK and Kc, or
// with AUTS (TS 31.102, 7.1.2.1).
func (c *core) answer(set aka.Set, at int, rand aka.RAND, autn aka.AUTN) uicc.SW {
	sqn, s, err := set.Answer(rand, autn)
	if errors.Is(err, aka.ErrMAC) {
		return uicc.SWWrongMAC
	}
	if err != nil {
		return uicc.SWProblem
	}
	out := c.session.out
	if !c.accept(at, sqn) {
		auts := set.AUTS(rand, c.highest(at))
		c.session.out = append(append(out, 0xDC, 14), auts[:]...)
		return uicc.SWOK
	}
	c.commit() // RES goes out once the number is used up
	out = append(out, 0xDB)
	for _, part := range [][]byte{s.RES(), s.CK(), s.IK()} {
		out = append(append(out, byte(len(part))), part...)
	}
	if c.service(c.session.ch.adf, serviceGSM) {
		kc := s.Kc()
		out = append(append(out, 8), kc[:]...)
	}
	c.session.out = out
	return uicc.SWOK
}

// aka is an application's authentication record, 0 for none.
func (m *memory) aka(adf int) int {
	if adf == 0 {
		return 0
	}
	for at := m.next(atRecords, recordAKA); at != 0; at = m.next(m.after(at), recordAKA) {
		if m.u24(at+akaOwner) == adf {
			return at
		}
	}
	return 0
}

// set is the algorithm set of an authentication record with its keys.
func (m *memory) set(at int) (aka.Set, error) {
	p, keys, err := aka.ReadParameters(m.b[at+akaSet : m.after(at)])
	if err != nil {
		return nil, err
	}
	k := p.KeySize()
	return p.Open(keys[:k], keys[k:])
}

// accept takes a sequence number that is newer than the last of its slot and
// not too far ahead (TS 33.102, C.2.2), and remembers it.
func (c *core) accept(at int, sqn aka.SQN) bool {
	slot := at + akaSEQ + 6*sqn.IND()
	seq := sqn.SEQ()
	if seq <= c.u48(slot) || seq > c.highest(at).SEQ()+maxJump {
		return false
	}
	b := [6]byte{byte(seq >> 40), byte(seq >> 32), byte(seq >> 24), byte(seq >> 16), byte(seq >> 8), byte(seq)}
	c.write(slot, b[:]...)
	return true
}

// highest is the highest sequence number that was accepted (TS 33.102, C.2.1).
func (m *memory) highest(at int) aka.SQN {
	var best uint64
	ind := 0
	for i := range 32 {
		if seq := m.u48(at + akaSEQ + 6*i); seq > best {
			best, ind = seq, i
		}
	}
	return aka.SQN(best<<5 | uint64(ind))
}

func (m *memory) u48(at int) uint64 {
	return uint64(m.u24(at))<<24 | uint64(m.u24(at+3))
}

// service reports whether a service is available by the application's EF.UST.
func (m *memory) service(adf, n int) bool {
	ust := m.child(adf, efUST)
	if ust == 0 || m.kind(ust) != uicc.Transparent {
		return false
	}
	at, size := m.body(ust)
	i := (n - 1) / 8
	return i < size && m.b[at+i]>>((n-1)%8)&1 == 1
}
