package station

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// The protocol. Both sides write frames: length of what follows, uint32; kind,
// 1 byte; reader, uint16, counted from 0; number of the request, uint32; body.
// The station's first frame is hello. From then on the plant asks and the
// station answers each request with done, those of one reader in their order.
// Both sides write alive when they have nothing else to say; a side that hears
// nothing for silence hangs up. All numbers are big-endian.
const (
	kindHello  = 1 // body: greeting as JSON
	kindAlive  = 2
	kindTake   = 3
	kindInsert = 4 // body: serial number, 8 bytes
	kindEject  = 5
	kindPlay   = 6 // body: limit for an answer in ms, uint32; burst
	kindClose  = 7 // not answered: the reader's requests so far are given up
	kindDone   = 8 // body: code, 1 byte; answers or text
)

// Codes of done.
const (
	codeOK      = 0 // answers follow
	codeFailed  = 1 // text follows: the reader is to be closed
	codeNoChips = 2
	codeAway    = 3
	codeMute    = 4 // answers before it follow
	codeLate    = 5 // answers before it follow
	codeNoise   = 6 // answers before it follow
)

const (
	protocol = 1
	maxFrame = 4 << 20
	headLen  = 4 + 1 + 2 + 4
	alive    = 2 * time.Second
	silence  = 10 * time.Second
)

// A greeting is what a station says of itself.
type greeting struct {
	Protocol int      `json:"protocol"`
	Version  string   `json:"version"` // of the program
	Readers  []string `json:"readers"`
}

// ErrProtocol is wrapped where the other side does not keep to the protocol.
var ErrProtocol = errors.New("the other side does not speak the station protocol")

// A frame is one message. Its body is its own memory.
type frame struct {
	kind   byte
	reader int
	number uint32
	body   []byte
}

// readFrame reads one frame. It never allocates more than has arrived, but for
// a piece of 64 KiB.
func readFrame(r io.Reader) (frame, error) {
	var head [headLen]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	n := int64(binary.BigEndian.Uint32(head[:])) - (headLen - 4)
	f := frame{kind: head[4], reader: int(binary.BigEndian.Uint16(head[5:])), number: binary.BigEndian.Uint32(head[7:])}
	if n < 0 || n > maxFrame || f.kind < kindHello || f.kind > kindDone {
		return frame{}, fmt.Errorf("%w: a frame of kind %d with a body of %d bytes", ErrProtocol, f.kind, n)
	}
	for n > int64(len(f.body)) {
		start := len(f.body)
		piece := int(min(n-int64(start), 64<<10))
		f.body = append(f.body, make([]byte, piece)...)
		if _, err := io.ReadFull(r, f.body[start:]); err != nil {
			return frame{}, noEOF(err)
		}
	}
	return f, nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A link is a connection of which both sides know that it lives.
type link struct {
	conn net.Conn
	in   *bufio.Reader
	stop chan struct{}

	mu   sync.Mutex
	out  *bufio.Writer
	dead error
}

func newLink(conn net.Conn) *link {
	return &link{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), out: bufio.NewWriterSize(conn, 64<<10), stop: make(chan struct{})}
}

// read is the next frame that says something.
func (l *link) read() (frame, error) {
	for {
		if err := l.conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return frame{}, err
		}
		f, err := readFrame(l.in)
		if err != nil || f.kind != kindAlive {
			return f, err
		}
	}
}

// write sends a frame, or keeps it for the next one that is sent.
func (l *link) write(f frame, later bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil {
		return l.dead
	}
	var head [headLen]byte
	binary.BigEndian.PutUint32(head[:], uint32(headLen-4+len(f.body)))
	head[4] = f.kind
	binary.BigEndian.PutUint16(head[5:], uint16(f.reader))
	binary.BigEndian.PutUint32(head[7:], f.number)
	if err := l.conn.SetWriteDeadline(time.Now().Add(silence)); err != nil {
		return l.fail(err)
	}
	if _, err := l.out.Write(head[:]); err != nil {
		return l.fail(err)
	}
	if _, err := l.out.Write(f.body); err != nil {
		return l.fail(err)
	}
	if later {
		return nil
	}
	if err := l.out.Flush(); err != nil {
		return l.fail(err)
	}
	return nil
}

func (l *link) fail(err error) error {
	l.dead = err
	l.conn.Close()
	return err
}

// keepAlive says that we are here, until close.
func (l *link) keepAlive() {
	tick := time.NewTicker(alive)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
			if l.write(frame{kind: kindAlive}, false) != nil {
				return
			}
		}
	}
}

// close hangs up. It is called once.
func (l *link) close() {
	close(l.stop)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead == nil {
		l.dead = net.ErrClosed
	}
	l.conn.Close()
}

// maxReaders is the most readers of one station.
const maxReaders = 256

// parseGreeting reads a hello.
func parseGreeting(f frame) (greeting, error) {
	var g greeting
	if f.kind != kindHello {
		return g, fmt.Errorf("%w: it begins with a frame of kind %d", ErrProtocol, f.kind)
	}
	if err := json.Unmarshal(f.body, &g); err != nil {
		return g, fmt.Errorf("%w: its hello: %w", ErrProtocol, err)
	}
	if g.Protocol != protocol {
		return g, fmt.Errorf("%w: it speaks version %d, want %d; install the same release on both sides", ErrProtocol, g.Protocol, protocol)
	}
	if len(g.Readers) == 0 || len(g.Readers) > maxReaders {
		return g, fmt.Errorf("%w: it has %d readers, want 1 to %d", ErrProtocol, len(g.Readers), maxReaders)
	}
	return g, nil
}
