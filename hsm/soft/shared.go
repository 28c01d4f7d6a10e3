package soft

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"sync/atomic"

	"ankan/hsm"
	"ankan/hsm/internal/secret"
)

// shared is what a token that another process holds is read from. The file
// that was read is kept open: as long as it is, no other file can have its
// number, and comparing numbers tells whether the holder has replaced it.
type shared struct {
	held *os.File                    // under change
	is   atomic.Pointer[os.FileInfo] // of held
}

// OpenShared opens a token for use, not for change, beside the process that
// holds it: any number of processes of the same user can. What makes or
// destroys a key is refused with ErrShared. A change of the holder is seen
// before the next use: a key that was destroyed is gone at once. Errors that it
// wraps are those of Open, but for ErrInUse.
func OpenShared(path string, passphrase []byte) (*Token, error) {
	t := &token{random: rand.Reader, shared: &shared{}, writer: writer{path: path}}
	b, err := readFile(path)
	if err != nil {
		return nil, err
	}
	if err := t.unlock(b, passphrase); err != nil {
		return nil, err
	}
	if err := t.reread(); err != nil {
		return nil, err
	}
	return &Token{state: secret.Hide(t)}, nil
}

// follow reads the token file again if it is another than the one that was
// read.
func (t *token) follow() error {
	info, err := os.Stat(t.writer.path)
	if err != nil {
		return fmt.Errorf("soft token: %w", err)
	}
	if os.SameFile(info, *t.shared.is.Load()) {
		return nil
	}
	t.change.Lock()
	defer t.change.Unlock()
	if t.closed {
		return fmt.Errorf("soft token: %w", hsm.ErrClosed)
	}
	return t.reread()
}

// reread reads the token file and takes over what is in it. The holder
// overwrites a file that it has replaced: what does not open then is read
// again under its name. The caller holds change, or nobody has the token yet.
func (t *token) reread() error {
	for {
		f, err := os.Open(t.writer.path)
		if err != nil {
			return fmt.Errorf("soft token: %w", err)
		}
		replaced, err := t.takeOver(f)
		if err == nil {
			return nil
		}
		f.Close()
		if !replaced {
			return err
		}
	}
}

// takeOver puts the keys of f in place and keeps it open. After an error it
// says whether another file has taken f's place meanwhile.
func (t *token) takeOver(f *os.File) (replaced bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	defer func() {
		if err != nil {
			now, look := os.Stat(f.Name())
			replaced = look == nil && !os.SameFile(now, info)
		}
	}()
	b, err := readAll(f)
	if err != nil {
		return false, err
	}
	if len(b) < headerLen || !bytes.Equal(b[:headerLen], t.header) {
		return false, fmt.Errorf("%w: %s is another token's", ErrFile, f.Name())
	}
	live, destroyed, err := t.decipher(b)
	if err != nil {
		return false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// A name is one key for ever: who is using it meanwhile has the same key.
	for id, k := range live {
		if had := t.live[id]; had != nil {
			live[id] = had
			k.wipe()
		}
	}
	for id, k := range t.live {
		if live[id] == nil {
			k.wipe()
		}
	}
	t.live, t.destroyed = live, destroyed
	if t.shared.held != nil {
		t.shared.held.Close() // it was read from; nothing is lost
	}
	t.shared.held = f
	t.shared.is.Store(&info)
	return false, nil
}
