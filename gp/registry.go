package gp

import (
	"context"
	"encoding/binary"
	"fmt"

	"ankan/uicc"
)

// An Entry is what the registry of a card says of a security domain, an
// application or a load file (11.4.3.1).
type Entry struct {
	AID        []byte
	State      byte // life cycle
	Privileges Privileges
	LoadFile   []byte // that an application came from, if the card says it
	Domain     []byte // that it belongs to, if the card says it
	Version    uint16 // of a load file, major and minor; 0 if not said
	Modules    [][]byte
}

// swMore says that GET STATUS has more to tell (11.4.3.2).
const swMore uicc.SW = 0x6310

// Registry reads what a card has in a scope, whose AIDs begin with prefix:
// GET STATUS in the form of TLV, and in the old form if the card knows no
// other (11.4). A card that has nothing there gives no entries. Errors wrap
// *uicc.StatusError, ErrData or the card's.
func Registry(ctx context.Context, card uicc.Card, scope Scope, prefix []byte) ([]Entry, error) {
	if len(prefix) > 16 {
		return nil, fmt.Errorf("gp: GET STATUS: AID of %d bytes, want at most 16: %w", len(prefix), ErrCommand)
	}
	data, sw, err := status(ctx, card, scope, prefix, 0x02)
	old := err == nil && (sw == uicc.SWParameters || sw == uicc.SWNotSupported)
	if old {
		data, sw, err = status(ctx, card, scope, prefix, 0x00)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("gp: GET STATUS: %w", err)
	case sw == uicc.SWNotFound:
		return nil, nil
	case !sw.OK():
		return nil, fmt.Errorf("gp: %w", &uicc.StatusError{CLA: cla, INS: uicc.INSStatus, P1: byte(scope), P2: 2, SW: sw})
	case old:
		return ParseRegistryOld(data, scope)
	}
	return ParseRegistry(data)
}

// status sends GET STATUS until the card has told everything.
func status(ctx context.Context, card uicc.Card, scope Scope, prefix []byte, form byte) ([]byte, uicc.SW, error) {
	const most = 1 << 16 // a card that tells more is broken
	c := uicc.Command{CLA: cla, INS: uicc.INSStatus, P1: byte(scope), P2: form, Data: uicc.AppendTLV(nil, 0x4F, prefix...), Le: 256}
	var data []byte
	for {
		var sw uicc.SW
		var err error
		n := len(data)
		if data, sw, err = uicc.Exchange(ctx, card, c.Append(nil), data); err != nil || sw != swMore {
			return data, sw, err
		}
		if len(data) == n || len(data) > most {
			return nil, sw, fmt.Errorf("card has ever more after %d bytes: %w", len(data), ErrData)
		}
		c.P2 = form | 0x01
	}
}

// ParseRegistry reads the data of GET STATUS in the form of TLV (11.4.3.1,
// table 11-36). What it does not know it leaves out.
func ParseRegistry(data []byte) ([]Entry, error) {
	var all []Entry
	for t, err := range uicc.TLVs(data) {
		if err != nil {
			return nil, fmt.Errorf("gp: GET STATUS: %w: %w", err, ErrData)
		}
		if t.Tag != 0xE3 {
			return nil, fmt.Errorf("gp: GET STATUS: tag %X, want E3: %w", uint32(t.Tag), ErrData)
		}
		e, err := parseEntry(t.Value)
		if err != nil {
			return nil, fmt.Errorf("gp: GET STATUS: entry %d: %w", len(all)+1, err)
		}
		all = append(all, e)
	}
	return all, nil
}

func parseEntry(b []byte) (Entry, error) {
	var e Entry
	state := false
	for t, err := range uicc.TLVs(b) {
		if err != nil {
			return e, fmt.Errorf("%w: %w", err, ErrData)
		}
		switch v := t.Value; t.Tag {
		case 0x4F:
			e.AID = v
		case 0x9F70:
			if len(v) < 1 || len(v) > 2 {
				return e, fmt.Errorf("life cycle of %d bytes, want 1 or 2: %w", len(v), ErrData)
			}
			e.State, state = v[0], true
		case 0xC5:
			if e.Privileges, err = readPrivileges(v); err != nil {
				return e, err
			}
		case 0xC4:
			e.LoadFile = v
		case 0xCC:
			e.Domain = v
		case 0xCE:
			if len(v) != 2 {
				return e, fmt.Errorf("version of %d bytes, want 2: %w", len(v), ErrData)
			}
			e.Version = binary.BigEndian.Uint16(v)
		case 0x84:
			e.Modules = append(e.Modules, v)
		}
	}
	if len(e.AID) == 0 || !state {
		return e, fmt.Errorf("no AID or life cycle: %w", ErrData)
	}
	return e, nil
}

// ParseRegistryOld reads the data of GET STATUS in the old form (11.4.3.1,
// tables 11-34 and 11-35).
func ParseRegistryOld(b []byte, scope Scope) ([]Entry, error) {
	var all []Entry
	take := func() ([]byte, bool) {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return nil, false
		}
		end := 1 + int(b[0])
		v := b[1:end:end]
		b = b[end:]
		return v, true
	}
	for len(b) > 0 {
		aid, ok := take()
		if !ok || len(b) < 2 {
			return nil, fmt.Errorf("gp: GET STATUS: entry %d ends early: %w", len(all)+1, ErrData)
		}
		e := Entry{AID: aid, State: b[0], Privileges: Privileges(b[1]) << 16}
		b = b[2:]
		if scope == LoadFileModules {
			if len(b) == 0 {
				return nil, fmt.Errorf("gp: GET STATUS: entry %d ends early: %w", len(all)+1, ErrData)
			}
			count := int(b[0])
			b = b[1:]
			for range count {
				m, ok := take()
				if !ok {
					return nil, fmt.Errorf("gp: GET STATUS: module of entry %d ends early: %w", len(all)+1, ErrData)
				}
				e.Modules = append(e.Modules, m)
			}
		}
		all = append(all, e)
	}
	return all, nil
}

// Data objects of GET DATA (11.3).
const (
	TagCPLC     uicc.Tag = 0x9F7F
	TagKeys     uicc.Tag = 0xE0
	TagCardData uicc.Tag = 0x66
)

// GetData is the command for a data object.
func GetData(tag uicc.Tag) uicc.Command {
	return uicc.Command{CLA: cla, INS: uicc.INSGetData, P1: byte(tag >> 8), P2: byte(tag), Le: 256}
}

// CPLC is a card's production life cycle: 42 bytes. Dates are in BCD, the last
// digit of the year and the day in it; 0000 is none.
type CPLC struct {
	Fabricator, Type              uint16 // of the integrated circuit
	OS, OSDate, OSLevel           uint16
	Date                          uint16 // of the circuit's fabrication
	Serial                        [4]byte
	Batch                         uint16
	ModuleFabricator, ModuleDate  uint16
	Manufacturer, EmbeddingDate   uint16 // of the card
	PrePersonalizer               uint16
	PrePersonalizationDate        uint16
	PrePersonalizationEquipment   [4]byte
	Personalizer, Personalization uint16 // who, when
	PersonalizationEquipment      [4]byte
}

// ParseCPLC reads the CPLC, with its tag or without.
func ParseCPLC(b []byte) (CPLC, error) {
	if v, ok := uicc.FindTLV(b, TagCPLC); ok {
		b = v
	}
	var c CPLC
	if len(b) != binary.Size(c) {
		return c, fmt.Errorf("gp: CPLC has %d bytes, want %d: %w", len(b), binary.Size(c), ErrData)
	}
	_, err := binary.Decode(b, binary.BigEndian, &c)
	return c, err
}

// A KeyInfo is what a card says of one key (11.3.3.1, tables 11-30 and 11-31).
type KeyInfo struct {
	ID, Version byte
	Components  []KeyComponent
}

// A KeyComponent is the type and the length in bytes of a part of a key:
// symmetric keys have one, those of RSA two.
type KeyComponent struct {
	Type   byte // 80 DES, 88 AES, A0 and A1 of RSA (11.1.8)
	Length int
}

// ParseKeyInfo reads the key information template E0, in the basic form and in
// the extended one. Empty entries, of domains without keys, are left out.
func ParseKeyInfo(b []byte) ([]KeyInfo, error) {
	t, rest, err := uicc.ReadTLV(b)
	if err != nil || t.Tag != TagKeys || len(rest) > 0 {
		return nil, fmt.Errorf("gp: key information: want one E0: %w", ErrData)
	}
	var all []KeyInfo
	for t, err := range uicc.TLVs(t.Value) {
		if err != nil || t.Tag != 0xC0 {
			return nil, fmt.Errorf("gp: key information: tag %X, want C0: %w", uint32(t.Tag), ErrData)
		}
		if len(t.Value) == 0 {
			continue
		}
		k, ok := parseKeyInfo(t.Value)
		if !ok {
			return nil, fmt.Errorf("gp: key information: entry %d of %d bytes: %w", len(all)+1, len(t.Value), ErrData)
		}
		all = append(all, k)
	}
	return all, nil
}

func parseKeyInfo(v []byte) (k KeyInfo, ok bool) {
	if len(v) < 4 {
		return k, false
	}
	k.ID, k.Version = v[0], v[1]
	v = v[2:]
	if v[0] != 0xFF {
		if len(v)%2 != 0 {
			return k, false
		}
		for ; len(v) > 0; v = v[2:] {
			k.Components = append(k.Components, KeyComponent{v[0], int(v[1])})
		}
		return k, true
	}
	// A type is one byte, or FF and one; lengths of usage and access, which
	// follow, are below 80 as types never are.
	for len(v) > 0 && v[0] >= 0x80 {
		if v[0] == 0xFF {
			v = v[1:]
		}
		if len(v) < 3 {
			return k, false
		}
		k.Components = append(k.Components, KeyComponent{v[0], int(binary.BigEndian.Uint16(v[1:]))})
		v = v[3:]
	}
	for range 2 {
		if len(v) == 0 || len(v) < 1+int(v[0]) {
			return k, false
		}
		v = v[1+v[0]:]
	}
	return k, len(v) == 0
}

// CardData is the card recognition data (H.2): which specification the card
// follows and which secure channels it speaks.
type CardData struct {
	Version  []byte // of the specification: 2, 3 for 2.3; 2, 2, 1 for 2.2.1
	Channels []ChannelInfo
}

// A ChannelInfo is a secure channel protocol and its options, parameter i.
type ChannelInfo struct{ Protocol, I byte }

// gpOID begins the object identifiers of GlobalPlatform: 1.2.840.114283.
const gpOID = "\x2A\x86\x48\x86\xFC\x6B"

// ParseCardData reads data object 66. What it does not know it leaves out.
func ParseCardData(b []byte) (CardData, error) {
	bad := func(what string) (CardData, error) {
		return CardData{}, fmt.Errorf("gp: card data: %s: %w", what, ErrData)
	}
	outer, ok := uicc.FindTLV(b, TagCardData)
	if !ok {
		return bad("no object 66")
	}
	body, ok := uicc.FindTLV(outer, 0x73)
	if !ok {
		return bad("no object 73")
	}
	var d CardData
	known := false
	for t, err := range uicc.TLVs(body) {
		if err != nil {
			return bad(err.Error())
		}
		if t.Tag == 0x06 {
			known = string(t.Value) == gpOID+"\x01"
			continue
		}
		oid, ok := uicc.FindTLV(t.Value, 0x06)
		if !ok || len(oid) < len(gpOID)+1 || string(oid[:len(gpOID)]) != gpOID {
			continue
		}
		arc, tail := oid[len(gpOID)], oid[len(gpOID)+1:]
		switch {
		case t.Tag == 0x60 && arc == 2:
			d.Version = tail
		case t.Tag == 0x64 && arc == 4 && len(tail) == 2:
			d.Channels = append(d.Channels, ChannelInfo{tail[0], tail[1]})
		case t.Tag == 0x64 && arc == 4 && len(tail) == 3 && tail[1] == 0x81:
			// Parameter i from 80 on is an arc of two bytes.
			d.Channels = append(d.Channels, ChannelInfo{tail[0], 0x80 | tail[2]})
		}
	}
	if !known {
		return bad("it is not of GlobalPlatform")
	}
	return d, nil
}
