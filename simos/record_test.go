package simos

import (
	"bytes"
	"errors"
	"testing"

	"ankan/scp"
	"ankan/uicc"
)

// A memory that is not sound is refused though its checksum is right.
func TestRestoreRefuses(t *testing.T) {
	b := fuzzState(t, Secured, false).core().b
	find := func(kind byte, n int) int {
		m := memory{b: b, base: len(b)}
		at := m.next(atRecords, kind)
		for ; n > 0; n-- {
			at = m.next(m.after(at), kind)
		}
		return at
	}
	mf, arr, adf, cyclic := find(recordFile, 0), find(recordFile, 1), find(recordFile, 2), find(recordFile, 4)
	tlv := find(recordFile, 5) + fileHeader
	code, auth := find(recordCode, 0), find(recordAKA, 0)
	if _, err := restore(bytes.Clone(b)); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(b []byte) []byte{
		"magic":                     func(b []byte) []byte { b[0] = 'X'; return b },
		"key length":                func(b []byte) []byte { b[atKeyLen] = 17; return b },
		"lot length":                func(b []byte) []byte { b[atLot] = 16; return b },
		"end":                       func(b []byte) []byte { return append(b, 0) },
		"limit":                     func(b []byte) []byte { clear(b[atLimit : atLimit+4]); return b },
		"last record cut":           func(b []byte) []byte { return cut(b, 1) },
		"record of no length":       func(b []byte) []byte { put24(b[mf+1:], 0); return b },
		"record past the end":       func(b []byte) []byte { put24(b[mf+1:], len(b)); return b },
		"unknown record":            func(b []byte) []byte { b[code] = 99; return b },
		"first file is no MF":       func(b []byte) []byte { b[mf+fileKind] = byte(uicc.KindDF); return b },
		"MF has a parent":           func(b []byte) []byte { b[mf+fileParent+2] = 1; return b },
		"two MFs":                   func(b []byte) []byte { b[adf+fileKind] = byte(uicc.KindMF); return b },
		"parent is no record":       func(b []byte) []byte { b[arr+fileParent+2]++; return b },
		"parent is no DF":           func(b []byte) []byte { put24(b[cyclic+fileParent:], arr); return b },
		"parent comes later":        func(b []byte) []byte { put24(b[arr+fileParent:], adf); return b },
		"name too long":             func(b []byte) []byte { b[adf+fileName] = 17; return b },
		"SFI 31":                    func(b []byte) []byte { b[arr+fileSFI] = 31; return b },
		"unknown kind":              func(b []byte) []byte { b[arr+fileKind] = 99; return b },
		"records do not fit":        func(b []byte) []byte { b[arr+fileCount]++; return b },
		"newest record not there":   func(b []byte) []byte { b[cyclic+fileHead] = 3; return b },
		"object does not end":       func(b []byte) []byte { copy(b[tlv:], "\x80\x1F"); return b },
		"bytes behind the objects":  func(b []byte) []byte { copy(b[tlv:], "\x80\x01\xAA\x00\x01"); return b },
		"object twice":              func(b []byte) []byte { copy(b[tlv:], "\x80\x00\x80\x00"); return b },
		"object 5C":                 func(b []byte) []byte { copy(b[tlv:], "\x5C\x00"); return b },
		"code of another file":      func(b []byte) []byte { b[code+codeOwner+2] = 1; return b },
		"authentication of nothing": func(b []byte) []byte { clear(b[auth+akaOwner : auth+akaOwner+3]); return b },
	} {
		if _, err := restore(spoil(bytes.Clone(b))); !errors.Is(err, ErrMemory) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func cut(b []byte, n int) []byte {
	b = b[:len(b)-n]
	m := memory{b: b}
	m.b[atEnd+3] = byte(len(b))
	m.b[atEnd+2] = byte(len(b) >> 8)
	return b
}

// When the sequence counter is used up no more sessions begin.
func TestSequenceUsedUp(t *testing.T) {
	c := fuzzChip(t)
	k := c.core()
	k.b[atSequence], k.b[atSequence+1], k.b[atSequence+2] = 0xFF, 0xFF, 0xFE
	c.Reset()
	o := scp.Options{Level: scp.Full}
	keys, err := k.static()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := scp.Open(t.Context(), c, keys, o); err != nil {
		t.Fatal(err)
	}
	if _, err := scp.Open(t.Context(), c, keys, o); !errors.Is(err, uicc.SWConditions) {
		t.Errorf("%v", err)
	}
}

func TestLifeString(t *testing.T) {
	for l, want := range map[Life]string{Blank: "BLANK", Loaded: "OP_READY", Initialized: "INITIALIZED", Secured: "SECURED",
		Locked: "CARD_LOCKED", Terminated: "TERMINATED", 0x55: "life cycle 55"} {
		if l.String() != want {
			t.Errorf("%02X is %q", byte(l), l)
		}
	}
}
