package store

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A lockFile keeps a second process off the database. The system lets go of it
// when the process dies, however it dies.
type lockFile struct{ f *os.File }

func lock(path string) (*lockFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder := make([]byte, 20)
		n, _ := f.ReadAt(holder, 0)
		f.Close()
		if err != unix.EWOULDBLOCK {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		return nil, fmt.Errorf("database %s is in use by process %s; stop it first", strings.TrimSuffix(path, ".lock"),
			strings.TrimSpace(string(holder[:n])))
	}
	l := &lockFile{f}
	if err := f.Truncate(0); err != nil {
		l.release()
		return nil, err
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		l.release()
		return nil, err
	}
	return l, nil
}

// release lets go. The file stays: removing it would let two processes lock
// two files of the same name.
func (l *lockFile) release() error { return l.f.Close() }
