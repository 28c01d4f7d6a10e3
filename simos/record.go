package simos

import (
	"encoding/binary"
	"fmt"

	"ankan/uicc"
)

// A record of the memory: its type, its length in three bytes with this head,
// its content. Records stand one behind the other from atRecords to end.
const (
	recordDead byte = iota // deleted; its content is zeros
	recordFile
	recordCode // PIN or ADM
	recordAKA
	recordOTA     // SCP80 keys of one version
	recordNext    // SCP03 keys that take effect when the chip is secured
	recordApp     // an entry of the registry: see registry.go
	recordRemote  // a remote management application
	recordDAP     // the key by which a security domain verifies load files
	recordCounter // the counter of a version of SCP80 keys
	recordSCP     // further keys of a secure channel: one version of a security domain
)

// Offsets in a file record. The name of an ADF and then the body follow.
const (
	fileKind   = 4
	fileLife   = 5
	fileID     = 6
	fileParent = 8 // offset of its DF, 3 bytes; 0 for the MF
	fileSFI    = 11
	fileARR    = 12 // access rules: EF.ARR; 0: none, nothing is allowed
	fileRule   = 14 // and its record
	fileName   = 15 // length of the name
	fileRecord = 16 // bytes of a record
	fileCount  = 17 // number of records
	fileHead   = 18 // cyclic: where the newest record lies
	fileShare  = 19
	fileHeader = 20
)

// Offsets in a code record.
const (
	codeOwner   = 4 // offset of the DF it is local to; 0: global
	codeRef     = 7
	codeEnabled = 8
	codeTries   = 9
	codeMax     = 10
	codePUK     = 11 // tries of the unblock code
	codePUKMax  = 12
	codeSecret  = 13
	codeUnblock = 21
	codeSize    = 29
)

// Offsets in an AKA record.
const (
	akaOwner = 4
	akaSEQ   = 7             // the last accepted SEQ of each of 32 slots, 6 bytes each
	akaSet   = akaSEQ + 32*6 // algorithm and parameters (aka.ReadParameters), then K and OPc or TOPc
)

// Offsets in a record of keys, SCP80's or SCP03's next.
const (
	keysVersion = 4
	keysLength  = 5 // bytes of one key
	keysSecret  = 6 // three keys
)

// Offsets in a record of further keys of a secure channel.
const (
	scpOwner   = 4 // the security domain's entry, or atManager
	scpVersion = 7
	scpLength  = 8 // bytes of one key
	scpSecret  = 9 // three keys
)

func (m *memory) u16(at int) int { return int(binary.BigEndian.Uint16(m.b[at:])) }
func (m *memory) u24(at int) int { return int(m.b[at])<<16 | m.u16(at+1) }

func put24(b []byte, n int) { b[0], b[1], b[2] = byte(n>>16), byte(n>>8), byte(n) }

// head begins a record of n bytes.
func head(kind byte, n int) []byte {
	b := make([]byte, n)
	b[0] = kind
	put24(b[1:], n)
	return b
}

// next is the first record of this type at or behind at; 0 for none.
func (m *memory) next(at int, kind byte) int {
	for at < m.base {
		if m.b[at] == kind {
			return at
		}
		at += m.u24(at + 1)
	}
	return 0
}

// after is where the record behind this one lies.
func (m *memory) after(at int) int { return at + m.u24(at+1) }

// kill deletes a record and wipes it.
func (m *memory) kill(at int) {
	m.whole = false
	m.write(at, recordDead)
	m.write(at+4, make([]byte, m.u24(at+1)-4)...)
}

func (m *memory) kind(f int) uicc.Kind { return uicc.Kind(m.b[f+fileKind]) }
func (m *memory) fid(f int) uicc.FileID {
	return uicc.FileID(m.u16(f + fileID))
}
func (m *memory) parent(f int) int { return m.u24(f + fileParent) }
func (m *memory) name(f int) []byte {
	return m.b[f+fileHeader : f+fileHeader+int(m.b[f+fileName])]
}
func (m *memory) body(f int) (at, n int) {
	at = f + fileHeader + int(m.b[f+fileName])
	return at, m.after(f) - at
}

// mf is the master file, 0 if there is none. It is the first file.
func (m *memory) mf() int { return m.next(atRecords, recordFile) }

// child is the file with this identifier in a DF, ADFs apart: they have names.
func (m *memory) child(dir int, id uicc.FileID) int {
	// Every SELECT and CREATE FILE comes along here: the identifier decides mostly.
	b, high, low := m.b[:m.base], byte(id>>8), byte(id)
	for f := atRecords; f+fileHeader <= len(b); f += int(b[f+1])<<16 | int(b[f+2])<<8 | int(b[f+3]) {
		if b[f] == recordFile && b[f+fileID] == high && b[f+fileID+1] == low &&
			m.parent(f) == dir && f != dir && m.kind(f) != uicc.KindADF {
			return f
		}
	}
	return 0
}

// bySFI is the EF with this short file identifier in a DF.
func (m *memory) bySFI(dir int, sfi byte) int {
	b := m.b[:m.base]
	for f := atRecords; f+fileHeader <= len(b); f += int(b[f+1])<<16 | int(b[f+2])<<8 | int(b[f+3]) {
		if b[f] == recordFile && b[f+fileSFI] == sfi && m.parent(f) == dir && !m.kind(f).Dedicated() {
			return f
		}
	}
	return 0
}

// byName is the first ADF whose name begins with aid.
func (m *memory) byName(aid []byte) int {
	for f := m.next(atRecords, recordFile); f != 0; f = m.next(m.after(f), recordFile) {
		if n := m.name(f); m.kind(f) == uicc.KindADF && len(n) >= len(aid) && string(n[:len(aid)]) == string(aid) {
			return f
		}
	}
	return 0
}

// within reports whether f is dir or lies below it.
func (m *memory) within(f, dir int) bool {
	for ; f != 0; f = m.parent(f) {
		if f == dir {
			return true
		}
	}
	return false
}

// code is the PIN or ADM with this reference as seen from an application: the
// application's own for a local one, or the MF's.
func (m *memory) code(reference byte, adf int) int {
	owner := 0
	if reference&0x80 != 0 {
		owner = adf
	}
	found := 0
	for at := m.next(atRecords, recordCode); at != 0; at = m.next(m.after(at), recordCode) {
		if m.b[at+codeRef] != reference {
			continue
		}
		switch m.u24(at + codeOwner) {
		case owner:
			return at
		case m.mf():
			found = at
		}
	}
	return found
}

// check walks all records and refuses a memory that is not sound.
func (m *memory) check() error {
	if m.end() != len(m.b) || m.end() > m.u32(atLimit) || m.u32(atLimit) > 16<<20 {
		return fmt.Errorf("%w: %d bytes, end at %d, limit %d", ErrMemory, len(m.b), m.end(), m.u32(atLimit))
	}
	mf := 0
	for at := atRecords; at < len(m.b); at = m.after(at) {
		if at+8 > len(m.b) || m.u24(at+1) < 8 || m.after(at) > len(m.b) {
			return fmt.Errorf("%w: record at %d does not end", ErrMemory, at)
		}
		if !m.sound(at, mf) {
			return fmt.Errorf("%w: record at %d is not sound", ErrMemory, at)
		}
		if mf == 0 && m.b[at] == recordFile {
			mf = at
		}
	}
	return nil
}

func (m *memory) u32(at int) int { return int(binary.BigEndian.Uint32(m.b[at:])) }

func (m *memory) sound(at, mf int) bool {
	n := m.u24(at + 1)
	switch m.b[at] {
	case recordDead:
		return true
	case recordFile:
		return n >= fileHeader && m.soundFile(at, n, mf)
	case recordCode:
		owner := m.u24(at + codeOwner)
		return n == codeSize && (owner == 0 || m.isDir(owner, at))
	case recordAKA:
		if n < akaSet || !m.isDir(m.u24(at+akaOwner), at) {
			return false
		}
		_, err := m.set(at)
		return err == nil
	case recordOTA, recordNext:
		k := int(m.b[at+keysLength])
		return n == keysSecret+3*k && (k == 16 || k == 24 || k == 32)
	case recordApp:
		return m.soundApp(at, n)
	case recordRemote:
		return n > remoteAccess && m.isDir(m.u24(at+remoteOwner), at)
	case recordDAP:
		if n < dapKey || m.u24(at+dapOwner) == atManager || !m.ownsKeys(m.u24(at+dapOwner)) {
			return false
		}
		_, err := readDAPKey(m.b[at+dapType], m.b[at+dapKey:at+n])
		return err == nil
	case recordCounter:
		return n == counterSize
	case recordSCP:
		if n < scpSecret {
			return false
		}
		k := int(m.b[at+scpLength])
		return n == scpSecret+3*k && (k == 16 || k == 24 || k == 32) && m.ownsKeys(m.u24(at+scpOwner))
	}
	return false
}

func (m *memory) soundFile(at, n, mf int) bool {
	name, kind, parent := int(m.b[at+fileName]), m.kind(at), m.parent(at)
	if name > 16 || n < fileHeader+name || (kind == uicc.KindMF) != (mf == 0) || m.b[at+fileSFI] > 30 {
		return false
	}
	if mf == 0 {
		return parent == 0
	}
	if !m.isDir(parent, at) {
		return false
	}
	switch size, count := int(m.b[at+fileRecord]), int(m.b[at+fileCount]); kind {
	case uicc.KindDF, uicc.KindADF, uicc.Transparent:
		return true
	case uicc.BERTLV:
		_, _, ok := m.objects(at)
		return ok
	case uicc.LinearFixed, uicc.Cyclic:
		return size > 0 && count > 0 && count < 255 && size*count == n-fileHeader-name && int(m.b[at+fileHead]) < count
	}
	return false
}

// ownsKeys reports whether an entry of a security domain begins at this place.
func (m *memory) ownsKeys(owner int) bool {
	if owner == atManager {
		return true
	}
	for at := atRecords; at+8 <= len(m.b) && m.u24(at+1) >= 8; at = m.after(at) {
		if at == owner {
			return m.b[at] == recordApp && m.u24(at+1) >= appBody && m.isDomain(at)
		}
	}
	return false
}

// isDir reports whether a DF record begins at dir, before the record at limit.
func (m *memory) isDir(dir, limit int) bool {
	for at := atRecords; at < limit; at = m.after(at) {
		if at == dir {
			return m.b[at] == recordFile && m.kind(at).Dedicated()
		}
	}
	return false
}
