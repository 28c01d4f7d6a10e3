package edge

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
)

// window is how far ahead of the rest of its file a write may be. Clients keep
// a few dozen writes of 32 KiB on the way, which arrive in any order.
const window = 8 << 20

// lookEvery is how many bytes of a file are written between two looks at the room
// that is left on the disk.
const lookEvery = 16 << 20

// An upload writes a file that arrives in pieces of any order, strictly from
// its beginning to its end, so that what is on disk is always the beginning of
// the file: it can be resumed after any crash, has no holes, and is hashed as
// it grows.
type upload struct {
	s       *session
	part    string // its name in the partner's part folder, and to the client
	max     int64
	began   time.Time
	from    int64         // bytes that were there before
	gone    chan struct{} // closed when the file is closed
	cancel  func()        // ends the connection that writes it
	tell    *passing      // nil before it is written to
	mu      sync.Mutex
	file    *os.File
	hash    hash.Hash
	next    int64            // bytes on disk
	room    int64            // up to where there was room on the disk when it was last looked at
	ahead   map[int64][]byte // writes beyond next
	waiting int              // bytes in ahead
	err     error            // what broke it
}

// WriteAt implements io.WriterAt.
func (u *upload) WriteAt(p []byte, off int64) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		u.err = u.write(p, off)
	}
	if u.err != nil {
		return 0, u.err
	}
	return len(p), nil
}

// ReadAt implements io.ReaderAt by refusing: what a partner wrote is not given
// back, to whoever holds his keys now.
func (u *upload) ReadAt([]byte, int64) (int, error) {
	return 0, denied("files in /%s are not read back", inbox)
}

func (u *upload) write(p []byte, off int64) error {
	end := off + int64(len(p))
	switch {
	case off < 0 || end < off || end > u.max:
		return fmt.Errorf("file would have more than %d bytes, the most this site takes: %w", u.max, errTooLarge)
	case len(p) == 0:
		return nil
	case off < u.next:
		return fmt.Errorf("bytes from %d on were written already: %w", off, sftp.ErrSSHFxFailure)
	case off > u.next:
		if _, twice := u.ahead[off]; twice || u.waiting+len(p) > window {
			return fmt.Errorf("write at %d is too far ahead of %d: %w", off, u.next, sftp.ErrSSHFxFailure)
		}
		u.ahead[off] = append([]byte(nil), p...) // the server uses p again
		u.waiting += len(p)
		return nil
	}
	if end > u.room {
		if err := u.s.edge.roomy(); err != nil {
			return err
		}
		u.room = end + lookEvery
	}
	for {
		err := u.s.edge.spool.Steps.Do("edge.write", func() error {
			_, err := u.file.Write(p)
			return err
		})
		if err != nil {
			return err
		}
		u.hash.Write(p)
		u.next += int64(len(p))
		u.passed()
		var ok bool
		if p, ok = u.ahead[u.next]; !ok {
			return nil
		}
		delete(u.ahead, u.next)
		u.waiting -= len(p)
	}
}

// passed tells how far the file is.
func (u *upload) passed() {
	if u.tell == nil {
		u.tell = u.s.edge.pass(Passage{Direction: DirectionIn, Partner: u.s.peer.Name, File: strings.TrimSuffix(u.part, partial), From: u.from, Remote: u.s.remote})
	}
	u.tell.at(u.next)
}

// truncate is what a client asks for after it gave up in the middle: to keep
// only what it knows to have arrived.
func (u *upload) truncate(size int64) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if size > u.next {
		return fmt.Errorf("file has %d bytes, cannot grow to %d without writing: %w", u.next, size, sftp.ErrSSHFxFailure)
	}
	clear(u.ahead)
	u.waiting = 0
	if size == u.next {
		return nil
	}
	return u.restart(size, partSum{})
}

// restart goes on from the first size bytes of the file. They are read again,
// unless their hash is known from when they came.
func (u *upload) restart(size int64, known partSum) error {
	if err := u.file.Truncate(size); err != nil {
		return err
	}
	if c, ok := known.hash.(hash.Cloner); ok && known.size == size {
		h, err := c.Clone()
		if err == nil {
			u.hash, u.next = h, size
			_, err = u.file.Seek(size, io.SeekStart)
		}
		return err
	}
	if _, err := u.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	u.hash = sha256.New()
	n, err := io.Copy(u.hash, u.file)
	u.next = n
	return err
}

// TransferError implements sftp.TransferError: the connection went away with
// the file open.
func (u *upload) TransferError(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		u.err = fmt.Errorf("connection was lost: %w", err)
	}
}

// Close implements io.Closer. A file under its whole name is handed in, a part
// waits for its rename. A broken one is kept, to be resumed.
func (u *upload) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	defer u.s.open.Add(-1)
	defer u.s.edge.drop(u)
	if u.tell != nil {
		u.tell.end()
	}
	if u.err == nil && len(u.ahead) > 0 {
		u.err = fmt.Errorf("file has a hole at %d: %w", u.next, sftp.ErrSSHFxFailure)
	}
	synced := u.s.edge.spool.Steps.Do("edge.sync", u.file.Sync)
	if err := errors.Join(synced, u.file.Close()); u.err == nil {
		u.err = err
	}
	sum := hex.EncodeToString(u.hash.Sum(nil))
	if u.err != nil {
		return u.broke(sum, synced != nil)
	}
	if path.Ext(u.part) == partial {
		u.s.edge.keepSum(u)
		return nil
	}
	return u.s.handIn(u.part, u.part, partSum{began: u.began, from: u.from, size: u.next, hash: u.hash})
}

// broke records that the upload ended before the file did. What is there is kept
// to be gone on from, unless the file was too large, or the disk did not take it:
// then nobody knows what is there.
func (u *upload) broke(sum string, lost bool) error {
	outcome := OutcomeBroken
	switch {
	case errors.Is(u.err, errTooLarge):
		outcome = OutcomeRefused
		u.s.edge.spool.remove(path.Join(partDir, u.s.peer.Name, u.part))
	case lost:
		u.s.edge.spool.remove(path.Join(partDir, u.s.peer.Name, u.part))
	default:
		u.s.edge.keepSum(u)
	}
	err := u.s.record(Record{
		Direction: DirectionIn, File: u.part, Size: u.next, SHA256: sum, Outcome: outcome, Text: u.err.Error(),
		From: u.from, Took: since(u.began),
	})
	return errors.Join(u.err, err)
}

var errTooLarge = errors.New("too large")

// A partSum remembers what a part is, so that its rename, or its next upload,
// need not read it again.
type partSum struct {
	began time.Time
	from  int64 // bytes that were there when it was last opened
	size  int64
	hash  hash.Hash // of the bytes; it is not written to any more
}

func (p partSum) sum() string { return hex.EncodeToString(p.hash.Sum(nil)) }

// A fetch is a file being read by a partner. It knows when every byte of it
// has been.
type fetch struct {
	s    *session
	meta Meta
	file *os.File

	mu     sync.Mutex
	read   []span // sorted, apart
	tell   *passing
	began  time.Time
	broken error
}

// A span is the bytes [from, to) of a file.
type span struct{ from, to int64 }

// ReadAt implements io.ReaderAt.
func (f *fetch) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.file.ReadAt(p, off)
	if n > 0 {
		f.mu.Lock()
		f.read = cover(f.read, span{off, off + int64(n)})
		f.passed()
		f.mu.Unlock()
	}
	return n, err
}

// passed tells how much of the file the partner has read.
func (f *fetch) passed() {
	if f.tell == nil {
		f.tell = f.s.edge.pass(Passage{Direction: DirectionOut, Partner: f.meta.Partner, File: f.meta.Name, Size: f.meta.Size, Remote: f.s.remote})
	}
	var n int64
	for _, s := range f.read {
		n += s.to - s.from
	}
	f.tell.at(n)
}

// TransferError implements sftp.TransferError.
func (f *fetch) TransferError(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = err
}

// Close implements io.Closer.
func (f *fetch) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tell != nil {
		f.tell.end()
	}
	whole := f.meta.Size == 0 || len(f.read) == 1 && f.read[0] == span{0, f.meta.Size}
	return errors.Join(f.file.Close(), f.s.fetched(f, whole && f.broken == nil))
}

// cover adds a span to sorted, separate spans.
func cover(spans []span, n span) []span {
	for i := 0; i < len(spans); {
		s := spans[i]
		if s.to < n.from || n.to < s.from {
			i++
			continue
		}
		n = span{min(s.from, n.from), max(s.to, n.to)}
		spans = append(spans[:i], spans[i+1:]...)
	}
	at := 0
	for at < len(spans) && spans[at].from < n.from {
		at++
	}
	spans = append(spans, span{})
	copy(spans[at+1:], spans[at:])
	spans[at] = n
	return spans
}
