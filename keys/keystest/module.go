package keystest

import (
	"context"
	"errors"
	"sync"

	"ankan/hsm"
)

// ErrDead is what everything fails with after a fuse has blown.
var ErrDead = errors.New("the site is dead")

// A fuse lets so many events pass: commits of the database, and what the module
// makes or erases. Then nothing happens any more, as after a power cut.
type fuse struct {
	mu     sync.Mutex
	set    bool
	left   int
	before func() // an event
}

// pass asks for an event.
func (f *fuse) pass() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.set && f.left == 0 {
		return ErrDead
	}
	if f.before != nil {
		f.before()
	}
	f.left--
	return nil
}

func (f *fuse) dead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.set && f.left == 0
}

// A Module is a module that fails when a test wants it to. Fault is asked before
// each operation, and after it when it succeeded: an error after it is that of
// a module that did what it was asked and could not say so.
type Module struct {
	hsm.Module
	Fault func(op, id string, after bool) error

	fuse *fuse
}

// ask runs an operation between the two questions.
func (m *Module) ask(op, id string, makes bool, do func() error) error {
	fault := func(after bool) error {
		if m.Fault == nil {
			return nil
		}
		return m.Fault(op, id, after)
	}
	if err := fault(false); err != nil {
		return err
	}
	if m.fuse.dead() {
		return ErrDead
	}
	if makes {
		if err := m.fuse.pass(); err != nil {
			return err
		}
	}
	if err := do(); err != nil {
		return err
	}
	return fault(true)
}

// Check implements hsm.Token.
func (m *Module) Check(ctx context.Context) error {
	return m.ask("Check", "", false, func() error { return m.Module.Check(ctx) })
}

// Key implements hsm.Token.
func (m *Module) Key(ctx context.Context, id string) (k hsm.Key, err error) {
	err = m.ask("Key", id, false, func() error { k, err = m.Module.Key(ctx, id); return err })
	return k, err
}

// Generate implements hsm.Token.
func (m *Module) Generate(ctx context.Context, id string, p hsm.Purpose, a hsm.Algorithm) (k hsm.Key, err error) {
	err = m.ask("Generate", id, true, func() error { k, err = m.Module.Generate(ctx, id, p, a); return err })
	return k, err
}

// Destroy implements hsm.Token.
func (m *Module) Destroy(ctx context.Context, id string) error {
	return m.ask("Destroy", id, true, func() error { return m.Module.Destroy(ctx, id) })
}

// TakeKey implements hsm.Token.
func (m *Module) TakeKey(ctx context.Context, agree string, given hsm.Given, label, id string, p hsm.Purpose, a hsm.Algorithm) (k hsm.Key, err error) {
	err = m.ask("TakeKey", id, true, func() error { k, err = m.Module.TakeKey(ctx, agree, given, label, id, p, a); return err })
	return k, err
}

// CheckComponent implements hsm.Transfer.
func (m *Module) CheckComponent(ctx context.Context, agree string, c hsm.Component) error {
	return m.ask("CheckComponent", agree, false, func() error { return m.Module.CheckComponent(ctx, agree, c) })
}

// Combine implements hsm.Transfer.
func (m *Module) Combine(ctx context.Context, agree string, parts []hsm.Component, id string, p hsm.Purpose, a hsm.Algorithm, want hsm.KCV) (k hsm.Key, err error) {
	err = m.ask("Combine", id, true, func() error { k, err = m.Module.Combine(ctx, agree, parts, id, p, a, want); return err })
	return k, err
}

// Split implements hsm.Transfer.
func (m *Module) Split(ctx context.Context, id, set string, method hsm.KCVMethod, to []hsm.Holder) (parts []hsm.Component, err error) {
	err = m.ask("Split", id, false, func() error { parts, err = m.Module.Split(ctx, id, set, method, to); return err })
	return parts, err
}

// GenerateShared implements hsm.Transfer.
func (m *Module) GenerateShared(ctx context.Context, id string, p hsm.Purpose, a hsm.Algorithm, set string, threshold int, to []hsm.Holder) (k hsm.Key, shares []hsm.Share, err error) {
	err = m.ask("GenerateShared", id, true, func() error {
		k, shares, err = m.Module.GenerateShared(ctx, id, p, a, set, threshold, to)
		return err
	})
	if err != nil {
		return hsm.Key{}, nil, err
	}
	return k, shares, nil
}

// CheckShare implements hsm.Transfer.
func (m *Module) CheckShare(ctx context.Context, agree string, s hsm.Share) error {
	return m.ask("CheckShare", agree, false, func() error { return m.Module.CheckShare(ctx, agree, s) })
}

// Restore implements hsm.Transfer.
func (m *Module) Restore(ctx context.Context, agree string, shares []hsm.Share, id string, p hsm.Purpose, a hsm.Algorithm) (k hsm.Key, err error) {
	err = m.ask("Restore", id, true, func() error { k, err = m.Module.Restore(ctx, agree, shares, id, p, a); return err })
	return k, err
}

// Export implements hsm.Transfer.
func (m *Module) Export(ctx context.Context, id string, w hsm.Wrapping) (blob []byte, err error) {
	err = m.ask("Export", id, false, func() error { blob, err = m.Module.Export(ctx, id, w); return err })
	return blob, err
}

// Import implements hsm.Transfer.
func (m *Module) Import(ctx context.Context, blob []byte, w hsm.Wrapping, id string, p hsm.Purpose, a hsm.Algorithm) (k hsm.Key, err error) {
	err = m.ask("Import", id, true, func() error { k, err = m.Module.Import(ctx, blob, w, id, p, a); return err })
	return k, err
}
