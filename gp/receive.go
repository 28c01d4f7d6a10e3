package gp

import (
	"fmt"
	"slices"

	"ankan/uicc"
)

// An InstallRequest is INSTALL as a card reads it (11.5.2.3). Which fields are
// there depends on the parts of P1.
type InstallRequest struct {
	Load, Install, Selectable, Extradition, Personalization, Registry bool

	LoadFile   []byte // [for load], [for install]
	Domain     []byte // [for load], [for extradition], [for registry update]
	Hash       []byte // [for load]
	Module     []byte // [for install]
	Instance   []byte // all but [for load]
	Privileges Privileges
	Parameters []byte
	Token      []byte
}

// ParseInstall reads an INSTALL of one command, or the data of several that
// Assembly put together with the P1 of the last. Fields alias data. Errors wrap
// ErrData.
func ParseInstall(p1 byte, data []byte) (InstallRequest, error) {
	r := InstallRequest{
		Load: p1&installLoad != 0, Install: p1&installInstall != 0, Selectable: p1&installSelectable != 0,
		Extradition: p1&installExtradition != 0, Personalization: p1&installPersonalize != 0, Registry: p1&installRegistry != 0,
	}
	bad := func(err error) (InstallRequest, error) { return InstallRequest{}, fmt.Errorf("gp: INSTALL: %w", err) }
	var f [6][]byte
	count := len(f)
	switch p1 {
	case installLoad:
		count = 5
	case installInstall, installSelectable, installInstall | installSelectable, installExtradition, installPersonalize, installRegistry:
	default:
		return bad(fmt.Errorf("P1 %02X: %w", p1, ErrData))
	}
	for i := range f[:count] {
		var err error
		if f[i], data, err = readLV(data); err != nil {
			return bad(fmt.Errorf("field %d: %w", i+1, err))
		}
	}
	if len(data) > 0 {
		return bad(fmt.Errorf("%d bytes after the token: %w", len(data), ErrData))
	}
	if r.Load {
		r.LoadFile, r.Domain, r.Hash, r.Parameters, r.Token = f[0], f[1], f[2], f[3], f[4]
		return r, checkParsed([][]byte{r.LoadFile}, r.Domain)
	}
	r.Instance, r.Parameters, r.Token = f[2], f[4], f[5]
	needed := [][]byte{r.Instance}
	switch {
	case r.Install:
		r.LoadFile, r.Module = f[0], f[1]
		needed = append(needed, r.LoadFile)
	case r.Extradition:
		r.Domain = f[0]
		needed = append(needed, r.Domain)
	case r.Registry:
		r.Domain = f[0]
	}
	if len(f[3]) > 0 || r.Install {
		var err error
		if r.Privileges, err = readPrivileges(f[3]); err != nil {
			return bad(err)
		}
	}
	return r, checkParsed(needed, f[0], f[1])
}

// checkParsed refuses AIDs that are none; those that are not needed may be
// empty.
func checkParsed(needed [][]byte, others ...[]byte) error {
	for _, a := range slices.Concat(needed, slices.DeleteFunc(others, func(a []byte) bool { return len(a) == 0 })) {
		if CheckAID(a) != nil {
			return fmt.Errorf("gp: INSTALL: AID of %d bytes, want 5..16: %w", len(a), ErrData)
		}
	}
	return nil
}

// An Assembly puts the data of several commands together on a card's side:
// blocks of LOAD and STORE DATA, which are numbered in P2, and those of a long
// INSTALL, which are not. The zero value is ready.
type Assembly struct {
	data []byte
	next int
}

// maxAssembly is more than any card of ours takes.
const maxAssembly = 1 << 20

// Add takes the next block: its number must be the next, beginning with 0. An
// error wraps ErrData and forgets what was there.
func (a *Assembly) Add(number byte, block []byte) error {
	if int(number) != a.next || len(a.data)+len(block) > maxAssembly {
		next := a.next
		a.Reset()
		return fmt.Errorf("gp: block %d, want %d: %w", number, next, ErrData)
	}
	a.data = append(a.data, block...)
	a.next++
	return nil
}

// AddMore is Add where blocks have no number.
func (a *Assembly) AddMore(block []byte) error { return a.Add(byte(a.next), block) }

// Data is what was taken so far, and stays valid after Reset.
func (a *Assembly) Data() []byte { return a.data }

// Reset forgets it.
func (a *Assembly) Reset() { *a = Assembly{} }

// A DeleteRequest is DELETE as a card reads it (11.2.2.3): an object by AID, or
// keys.
type DeleteRequest struct {
	AID               []byte
	Related           bool
	KeyID, KeyVersion byte // 0 stands for all
	Token             []byte
}

// ParseDelete reads DELETE. Errors wrap ErrData.
func ParseDelete(p2 byte, data []byte) (DeleteRequest, error) {
	r := DeleteRequest{Related: p2&0x80 != 0}
	bad := func(err error) (DeleteRequest, error) {
		return DeleteRequest{}, fmt.Errorf("gp: DELETE: %w: %w", err, ErrData)
	}
	var seen []uicc.Tag
	for t, err := range uicc.TLVs(data) {
		if err != nil {
			return bad(err)
		}
		if slices.Contains(seen, t.Tag) {
			return bad(fmt.Errorf("tag %X twice", uint32(t.Tag)))
		}
		seen = append(seen, t.Tag)
		switch {
		case t.Tag == 0x4F && CheckAID(t.Value) == nil:
			r.AID = t.Value
		case t.Tag == 0xD0 && len(t.Value) == 1 && t.Value[0] != 0:
			r.KeyID = t.Value[0]
		case t.Tag == 0xD2 && len(t.Value) == 1 && t.Value[0] != 0:
			r.KeyVersion = t.Value[0]
		case t.Tag == 0x9E:
			r.Token = t.Value
		case t.Tag == 0xB6: // control references of a token, which its data signs
		default:
			return bad(fmt.Errorf("tag %X of %d bytes", uint32(t.Tag), len(t.Value)))
		}
	}
	if keys := r.KeyID != 0 || r.KeyVersion != 0; keys == (r.AID != nil) {
		return bad(fmt.Errorf("want an AID or keys"))
	}
	return r, nil
}

// Append appends the entry as GET STATUS answers it in the form of TLV.
func (e Entry) Append(dst []byte) []byte {
	b := uicc.AppendTLV(nil, 0x4F, e.AID...)
	b = uicc.AppendTLV(b, 0x9F70, e.State)
	if e.Privileges != 0 {
		b = uicc.AppendTLV(b, 0xC5, byte(e.Privileges>>16), byte(e.Privileges>>8), byte(e.Privileges))
	}
	if len(e.LoadFile) > 0 {
		b = uicc.AppendTLV(b, 0xC4, e.LoadFile...)
	}
	if e.Version != 0 {
		b = uicc.AppendTLV(b, 0xCE, byte(e.Version>>8), byte(e.Version))
	}
	for _, m := range e.Modules {
		b = uicc.AppendTLV(b, 0x84, m...)
	}
	if len(e.Domain) > 0 {
		b = uicc.AppendTLV(b, 0xCC, e.Domain...)
	}
	return uicc.AppendTLV(dst, 0xE3, b...)
}
