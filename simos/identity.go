package simos

import (
	"ankan/suci"
	"ankan/uicc"
)

// Files that GET IDENTITY reads (TS 31.102, 4.2, 4.4.11 and 4.4.12).
const (
	efIMSI     uicc.FileID = 0x6F07
	efAD       uicc.FileID = 0x6FAD
	df5GS      uicc.FileID = 0x5FC0
	dfSAIP     uicc.FileID = 0x5FD0
	efSUCICalc uicc.FileID = 0x4F01 // in DF.SAIP: what the USIM computes by
	efRouting  uicc.FileID = 0x4F0A // in DF.5GS
)

// Services of EF.UST about the SUCI (TS 31.102, 4.2.8): it is computed, and the
// USIM does it.
const (
	serviceSUCI       = 124
	serviceSUCIbyUSIM = 125
)

// The identity contexts of GET IDENTITY.
const contextSUCI = 1

const tagSUCI uicc.Tag = 0xA1

// getIdentity is GET IDENTITY in the SUCI context (TS 31.102, 7.5): the SUCI of
// the IMSI as a 5GS mobile identity (TS 24.501, 9.11.3.4).
func (c *core) getIdentity(cmd *uicc.Command) uicc.SW {
	adf := c.session.ch.adf
	switch {
	case cmd.P1 != 0 || cmd.P2&0x7F != contextSUCI:
		return uicc.SWParameters
	case len(cmd.Data) > 0 || cmd.Le == uicc.NoLe:
		return uicc.SWLength
	case adf == 0 || c.life() < Secured || uicc.LifeCycle(c.b[adf+fileLife]) != uicc.Activated:
		return uicc.SWConditions
	case !c.service(adf, serviceSUCI) || !c.service(adf, serviceSUCIbyUSIM):
		return uicc.SWConditions
	case !c.satisfied(0x01):
		return uicc.SWSecurity
	}
	digits, ok := c.imsi(adf)
	routing := c.content(adf, df5GS, efRouting)
	ad := c.content(adf, 0, efAD)
	if !ok || len(routing) < 2 || len(ad) < 4 {
		return uicc.SWConditions
	}
	mnc := 2
	if ad[3]&0x0F == 3 {
		mnc = 3
	}
	plmn := plmn(digits, mnc)
	id := append(make([]byte, 0, 64), 0x01, plmn[0], plmn[1], plmn[2], routing[0], routing[1])
	id, sw := c.conceal(id, adf, pack(digits[3+mnc:]))
	if sw == uicc.SWOK {
		c.session.out = uicc.AppendTLV(c.session.out, tagSUCI, id...)
	}
	return sw
}

// content is the body of a transparent EF, in a DF of an application if dir is
// not 0.
func (m *memory) content(adf int, dir, id uicc.FileID) []byte {
	if dir != 0 {
		if adf = m.child(adf, dir); adf == 0 {
			return nil
		}
	}
	f := m.child(adf, id)
	if f == 0 || m.kind(f) != uicc.Transparent {
		return nil
	}
	at, n := m.body(f)
	return m.b[at : at+n]
}

// imsi reads the digits of EF.IMSI (TS 31.102, 4.2.2).
func (m *memory) imsi(adf int) (digits []byte, ok bool) {
	b := m.content(adf, 0, efIMSI)
	if len(b) < 9 || b[0] < 4 || b[0] > 8 {
		return nil, false
	}
	b = b[1 : 1+b[0]]
	for i, x := range b {
		if i > 0 {
			digits = append(digits, x&0x0F)
		}
		if x>>4 != 0x0F || i < len(b)-1 {
			digits = append(digits, x>>4)
		}
	}
	for _, d := range digits {
		if d > 9 {
			return nil, false
		}
	}
	return digits, len(digits) > 6
}

// plmn packs MCC and MNC (TS 24.501, 9.11.3.4).
func plmn(d []byte, mnc int) [3]byte {
	if mnc == 3 {
		return [3]byte{d[1]<<4 | d[0], d[5]<<4 | d[2], d[4]<<4 | d[3]}
	}
	return [3]byte{d[1]<<4 | d[0], 0xF0 | d[2], d[4]<<4 | d[3]}
}

// pack packs digits, the first in the low half, filled with F.
func pack(digits []byte) []byte {
	b := make([]byte, (len(digits)+1)/2)
	for i, d := range digits {
		if i%2 == 0 {
			b[i/2] = 0xF0 | d
		} else {
			b[i/2] = d<<4 | b[i/2]&0x0F
		}
	}
	return b
}

// conceal appends scheme, key identifier and scheme output. It takes the first
// scheme of EF.SUCI_Calc_Info_USIM that this operating system has; without any
// it is the null scheme (TS 31.102, 5.3.47). A key that is none is refused: the
// IMSI must not go out because of it.
func (c *core) conceal(id []byte, adf int, msin []byte) ([]byte, uicc.SW) {
	scheme, keyID, key, sw := c.scheme(adf)
	if sw != uicc.SWOK {
		return nil, sw
	}
	id = append(id, byte(scheme), keyID)
	if scheme == suci.Null {
		return append(id, msin...), uicc.SWOK
	}
	home, err := scheme.PublicKey(key)
	if err != nil {
		return nil, uicc.SWConditions
	}
	for {
		var b [32]byte
		c.random(b[:])
		ephemeral, err := scheme.PrivateKey(b[:])
		clear(b[:])
		if err != nil {
			continue // past the order of P-256: one in 2^32
		}
		c.commit() // the number goes out once it cannot come again
		if id, err = suci.Conceal(id, scheme, home, ephemeral, msin); err != nil {
			return nil, uicc.SWConditions
		}
		return id, uicc.SWOK
	}
}

// scheme reads EF.SUCI_Calc_Info_USIM: A0 holds pairs of a scheme and the place
// of its key, the best first; A1 holds 80 identifier and 81 key for each key.
func (c *core) scheme(adf int) (s suci.Scheme, keyID byte, key []byte, sw uicc.SW) {
	b := c.content(adf, dfSAIP, efSUCICalc)
	if len(b) == 0 || b[0] == 0xFF {
		return suci.Null, 0, nil, uicc.SWOK
	}
	schemes, rest, err := uicc.ReadTLV(b)
	if err != nil || schemes.Tag != 0xA0 {
		return 0, 0, nil, uicc.SWConditions
	}
	var keys []byte
	if len(rest) > 0 && rest[0] == 0xA1 {
		t, _, err := uicc.ReadTLV(rest)
		if err != nil {
			return 0, 0, nil, uicc.SWConditions
		}
		keys = t.Value
	}
	for list := schemes.Value; len(list) >= 2; list = list[2:] {
		s = suci.Scheme(list[0])
		if s == suci.Null {
			return s, 0, nil, uicc.SWOK
		}
		if s != suci.ProfileA && s != suci.ProfileB {
			continue
		}
		if keyID, key = keyAt(keys, int(list[1])); key == nil {
			return 0, 0, nil, uicc.SWConditions
		}
		return s, keyID, key, uicc.SWOK
	}
	return suci.Null, 0, nil, uicc.SWOK
}

// keyAt is the n-th key of the list, from 1.
func keyAt(list []byte, n int) (id byte, key []byte) {
	for t, err := range uicc.TLVs(list) {
		switch {
		case err != nil:
			return 0, nil
		case t.Tag == 0x80 && len(t.Value) == 1:
			id = t.Value[0]
		case t.Tag == 0x81:
			if n--; n == 0 {
				return id, t.Value
			}
		}
	}
	return 0, nil
}
