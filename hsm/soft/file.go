package soft

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sys/unix"

	"ankan/durable"
)

// The token file is a header in clear and the sealed keys:
//
//	magic    19 bytes "ankan soft token 1\n"
//	time     4 bytes  Argon2id passes
//	memory   4 bytes  Argon2id memory in KiB
//	threads  1 byte   Argon2id lanes
//	salt    16 bytes
//	sealed            AES-256-GCM: nonce 12, keys, tag 16; the header is its associated data
//
// Numbers are big-endian. The header cannot be changed unseen: another
// parameter or salt gives another key, another magic fails the tag.
const (
	magic     = "ankan soft token 1\n"
	saltLen   = 16
	headerLen = len(magic) + 4 + 4 + 1 + saltLen
	overhead  = 28
	maxFile   = 1 << 30
)

// A Cost says how much work one guess of the passphrase is (Argon2id, RFC
// 9106).
type Cost struct {
	Time      uint32 // passes
	MemoryKiB uint32
	Threads   uint8
}

// UsualCost is RFC 9106's second recommendation: 3 passes, 64 MiB, 4 threads.
func UsualCost() Cost { return Cost{Time: 3, MemoryKiB: 64 << 10, Threads: 4} }

// LowestCost is the least that Create and Open take, for tests and demos: 2
// passes, 19 MiB, 1 thread (OWASP's minimum).
func LowestCost() Cost { return Cost{Time: 2, MemoryKiB: 19 << 10, Threads: 1} }

// check keeps out parameters that protect nothing, and those of a hostile
// file that would eat the machine.
func (c Cost) check() error {
	low := LowestCost()
	if c.Time < low.Time || c.MemoryKiB < low.MemoryKiB || c.Threads < low.Threads {
		return fmt.Errorf("%w: Argon2id with %d passes, %d KiB, %d threads, want at least %d, %d, %d",
			ErrCost, c.Time, c.MemoryKiB, c.Threads, low.Time, low.MemoryKiB, low.Threads)
	}
	if c.Time > 64 || c.MemoryKiB > 4<<20 || c.Threads > 64 {
		return fmt.Errorf("%w: Argon2id with %d passes, %d KiB, %d threads, want at most 64, 4194304, 64",
			ErrCost, c.Time, c.MemoryKiB, c.Threads)
	}
	return nil
}

func makeHeader(c Cost, salt []byte) []byte {
	h := append(make([]byte, 0, headerLen), magic...)
	h = binary.BigEndian.AppendUint32(h, c.Time)
	h = binary.BigEndian.AppendUint32(h, c.MemoryKiB)
	h = append(h, c.Threads)
	return append(h, salt...)
}

// parseHeader returns the cost and the salt of a token file.
func parseHeader(b []byte) (Cost, []byte, error) {
	if len(b) < headerLen+overhead || string(b[:len(magic)]) != magic {
		return Cost{}, nil, fmt.Errorf("%w: %d bytes that are no token file", ErrFile, len(b))
	}
	p := b[len(magic):]
	c := Cost{Time: binary.BigEndian.Uint32(p), MemoryKiB: binary.BigEndian.Uint32(p[4:]), Threads: p[8]}
	return c, p[9 : 9+saltLen], c.check()
}

// sealer is the cipher of the token file.
func sealer(passphrase []byte, c Cost, salt []byte) (cipher.AEAD, error) {
	key := argon2.IDKey(passphrase, salt, c.Time, c.MemoryKiB, c.Threads, 32)
	defer clear(key)
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(b)
}

// lock takes the token for this process until the file is closed. The lock is
// on a file of its own: the token file is replaced by every change.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			holder := make([]byte, 20)
			n, _ := f.ReadAt(holder, 0) // for the message only
			return nil, fmt.Errorf("%w: %s, by process %s", ErrInUse, path, holder[:n])
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	// The process number is for people; the lock does not depend on it.
	pid := fmt.Append(nil, os.Getpid())
	if err := errors.Join(f.Truncate(0), writeAt(f, pid)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func writeAt(f *os.File, b []byte) error {
	_, err := f.WriteAt(b, 0)
	return err
}

// readFile reads a token file that nobody else can read.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f)
}

func readAll(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	path := f.Name()
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s has mode %v, want a file that only its owner can read (chmod 600)", ErrFile, path, info.Mode())
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%w: %s has %d bytes, want at most %d", ErrFile, path, info.Size(), maxFile)
	}
	return io.ReadAll(f)
}

// A writer replaces the token file.
type writer struct {
	path string
	// fault is called before each step with its name; an error stands for the
	// step's own. Tests set it.
	fault func(step string) error
	steps durable.Steps
}

// errUnsure marks an error after which the new file may or may not be there
// after a crash.
var errUnsure = errors.New("the token file may or may not hold the last change; close the token and open it again")

// replace puts data in the place of the token file, durably: whenever the
// machine stops, either the old or the new file is there. An error that wraps
// errUnsure came after the new file took its place; after any other, the old
// one is still there.
//
// In the end it overwrites the old file, so that no free block of the disk
// keeps a key that is destroyed later. A file system that copies on write, and
// a flash drive, may keep it all the same: sealed, with nothing but the
// passphrase before it.
func (w *writer) replace(data []byte) error {
	old, err := os.OpenFile(w.path, os.O_WRONLY, 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if old != nil {
		defer old.Close()
	}
	if err := w.writeNew(data); err != nil {
		os.Remove(w.temporary()) // what is left of it says nothing; Open removes it too
		return err
	}
	if err := w.step("rename", func() error { return os.Rename(w.temporary(), w.path) }); err != nil {
		os.Remove(w.temporary())
		return err
	}
	err = w.step("sync folder", func() error { return syncFolder(filepath.Dir(w.path)) })
	if err == nil && old != nil {
		err = w.step("overwrite", func() error { return overwrite(old) })
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUnsure, err)
	}
	return nil
}

func (w *writer) temporary() string { return w.path + ".new" }

func (w *writer) writeNew(data []byte) error {
	var f *os.File
	err := w.step("create", func() (err error) {
		f, err = os.OpenFile(w.temporary(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	err = w.step("write", func() error { return writeAt(f, data) })
	if err == nil {
		err = w.step("sync", f.Sync)
	}
	return errors.Join(err, f.Close())
}

func (w *writer) step(name string, do func() error) error {
	if w.fault != nil {
		if err := w.fault(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return w.steps.Do("token."+name, do)
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func overwrite(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return errors.Join(writeAt(f, make([]byte, info.Size())), f.Sync())
}
