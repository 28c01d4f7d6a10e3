package station

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"ankan/uicc"
)

// A Hub is the plant's end: it takes the stations in that the plant knows, and
// offers their readers to the line. Its zero value knows nobody and refuses
// every station.
type Hub struct {
	// Tell, if not nil, is told of each station that comes, goes or is refused.
	Tell func(Event)

	names map[Fingerprint]string // set by NewHub

	mu    sync.Mutex
	here  map[string]*visit // by station
	lines []chan<- Place    // that want to know who comes
}

// NewHub knows these stations, by the fingerprints of their keys.
func NewHub(names map[Fingerprint]string) *Hub {
	return &Hub{names: names, here: map[string]*visit{}}
}

// An Event is a station that came, went or was refused.
type Event struct {
	Station string // empty if it is not known
	From    string // network address
	Key     Fingerprint
	Readers []string // of one that came
	Version string   // of the program of one that came
	Gone    bool
	Back    bool  // it went, but is here by a newer connection
	Err     error // why it went, or was refused
}

// A Place is a reader of a station that is connected.
type Place struct {
	Name string // STATION/READER
	// Open takes the reader. A Place is open once at a time: what was opened
	// before is given up.
	Open func(ctx context.Context) (Reader, error)
}

// Here is the stations that are connected, with their readers' names, sorted.
func (h *Hub) Here() []Presence {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []Presence
	for name, v := range h.here {
		all = append(all, Presence{name, v.hello.Readers, v.since})
	}
	slices.SortFunc(all, func(a, b Presence) int {
		if a.Station < b.Station {
			return -1
		}
		return 1
	})
	return all
}

// A Presence is a station that is connected.
type Presence struct {
	Station string    `json:"station"`
	Readers []string  `json:"readers"`
	Since   time.Time `json:"since"`
}

// Places sends the readers of the stations that are connected, and of those
// that connect later, until the context ends; then the channel is closed.
func (h *Hub) Places(ctx context.Context) <-chan Place {
	c := make(chan Place)
	in := make(chan Place, maxReaders)
	go func() {
		defer close(c)
		for {
			select {
			case p := <-in:
				select {
				case c <- p:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, in)
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.lines = slices.DeleteFunc(h.lines, func(x chan<- Place) bool { return x == in })
	})
	for _, v := range h.here {
		v.offer(in)
	}
	return c
}

// Serve takes stations in until the context ends; then it hangs up on all. The
// listener speaks TLS as TLSConfig says.
func (h *Hub) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var visits sync.WaitGroup
	defer visits.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		visits.Go(func() { h.receive(ctx, conn) })
	}
}

// receive has one station here, as long as it stays.
func (h *Hub) receive(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { conn.Close() })
	e := Event{From: conn.RemoteAddr().String()}
	v, err := h.welcome(ctx, conn, &e)
	if err != nil {
		e.Err = err
		h.tell(e)
		return
	}
	h.tell(e)
	err = v.listen()
	e.Back = !h.leave(v)
	v.link.close()
	e.Gone, e.Err = true, err
	if ctx.Err() != nil {
		e.Err = nil
	}
	h.tell(e)
}

func (h *Hub) tell(e Event) {
	if h.Tell != nil {
		h.Tell(e)
	}
}

func (h *Hub) welcome(ctx context.Context, conn net.Conn, e *Event) (*visit, error) {
	t, ok := conn.(*tls.Conn)
	if !ok {
		return nil, errors.New("the connection is not TLS")
	}
	hand, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	if err := t.HandshakeContext(hand); err != nil {
		return nil, err
	}
	certs := t.ConnectionState().PeerCertificates
	if len(certs) == 0 {
		return nil, errors.New("the station has no certificate")
	}
	e.Key = FingerprintOf(certs[0])
	if e.Station, ok = h.names[e.Key]; !ok {
		return nil, fmt.Errorf("no station has the key %s; if it is yours, put it into the configuration", e.Key)
	}
	v := &visit{station: e.Station, link: newLink(conn), since: time.Now(), waiting: map[uint32]chan frame{}, gone: make(chan struct{})}
	f, err := v.link.read()
	if err == nil {
		v.hello, err = parseGreeting(f)
	}
	if err != nil {
		return nil, err
	}
	e.Readers, e.Version = v.hello.Readers, v.hello.Version
	v.open = make([]*Remote, len(v.hello.Readers))
	go v.link.keepAlive()
	h.enter(v)
	return v, nil
}

// enter has a station be here. A second one of the same name is the first one
// come back, whose old connection is not known to be dead yet.
func (h *Hub) enter(v *visit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if before := h.here[v.station]; before != nil {
		before.link.conn.Close()
	}
	h.here[v.station] = v
	for _, in := range h.lines {
		v.offer(in)
	}
}

// leave reports false if a newer connection has taken its place.
func (h *Hub) leave(v *visit) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.here[v.station] != v {
		return false
	}
	delete(h.here, v.station)
	return true
}

// A visit is a station that is connected.
type visit struct {
	station string
	link    *link
	hello   greeting
	since   time.Time
	gone    chan struct{} // closed when the station went
	why     error         // why it went; after gone

	mu      sync.Mutex
	number  uint32
	waiting map[uint32]chan frame
	open    []*Remote // by reader
}

// offer tells a line of the readers. A line that does not listen hears of them
// when it asks again.
func (v *visit) offer(in chan<- Place) {
	for i, name := range v.hello.Readers {
		p := Place{Name: v.station + "/" + name, Open: func(context.Context) (Reader, error) { return v.take(i) }}
		select {
		case in <- p:
		default:
		}
	}
}

// listen hands answers to those who wait for them, until the station goes.
func (v *visit) listen() error {
	for {
		f, err := v.link.read()
		if err == nil && (f.kind != kindDone || len(f.body) == 0) {
			err = fmt.Errorf("%w: a frame of kind %d with %d bytes", ErrProtocol, f.kind, len(f.body))
		}
		if err != nil {
			v.why = err
			close(v.gone)
			return err
		}
		v.mu.Lock()
		c := v.waiting[f.number]
		delete(v.waiting, f.number)
		v.mu.Unlock()
		if c != nil { // or else it was given up
			c <- f
		}
	}
}

// take opens a reader.
func (v *visit) take(reader int) (*Remote, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	select {
	case <-v.gone:
		return nil, v.lost()
	default:
	}
	if old := v.open[reader]; old != nil {
		old.giveUp()
	}
	v.open[reader] = &Remote{visit: v, reader: reader}
	return v.open[reader], nil
}

func (v *visit) lost() error { return fmt.Errorf("station %s is gone: %w", v.station, v.why) }

// A Remote is a reader at a station, as the plant has it. It is a Reader and a
// Player: Take and Eject only tell the station, and what they come to is told
// by the next call, so that a card costs one round trip for each burst.
type Remote struct {
	visit  *visit
	reader int
	told   []*request // of those, what they came to is not known yet
	closed bool       // under visit.mu
	frame  []byte
}

type request struct {
	number uint32
	done   chan frame
}

// ask sends a request.
func (r *Remote) ask(kind byte, body []byte, later bool) (*request, error) {
	v := r.visit
	v.mu.Lock()
	if r.closed {
		v.mu.Unlock()
		return nil, errors.New("the reader was given up")
	}
	v.number++
	q := &request{v.number, make(chan frame, 1)}
	v.waiting[q.number] = q.done
	v.mu.Unlock()
	if err := v.link.write(frame{kind: kind, reader: r.reader, number: q.number, body: body}, later); err != nil {
		return nil, fmt.Errorf("station %s: %w", v.station, err)
	}
	return q, nil
}

// wait waits for what a request came to. a, if not nil, gets the answers.
func (r *Remote) wait(ctx context.Context, q *request, a *uicc.Answers) error {
	select {
	case f := <-q.done:
		defer clear(f.body)
		return outcome(f.body[0], f.body[1:], a)
	case <-r.visit.gone:
		return r.visit.lost()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// outcome reads the body of done.
func outcome(code byte, body []byte, a *uicc.Answers) error {
	if a != nil && code != codeFailed {
		if err := a.Parse(body); err != nil {
			return fmt.Errorf("%w: %w", ErrProtocol, err)
		}
	}
	switch code {
	case codeOK:
		return nil
	case codeNoChips:
		return ErrNoChips
	case codeAway:
		return ErrAway
	case codeMute:
		return ErrMute
	case codeLate:
		return ErrLate
	case codeNoise:
		return uicc.ErrAnswer
	case codeFailed:
		return fmt.Errorf("the station says: %.500q", body)
	}
	return fmt.Errorf("%w: it is done with code %d", ErrProtocol, code)
}

// settle waits for what was only told so far. The first error is that of all:
// what was asked after it came to nothing.
func (r *Remote) settle(ctx context.Context) error {
	var first error
	for _, q := range r.told {
		if err := r.wait(ctx, q, nil); first == nil {
			first = err
		}
	}
	r.told = r.told[:0]
	return first
}

// do asks and waits, also for what was told before.
func (r *Remote) do(ctx context.Context, kind byte, body []byte, a *uicc.Answers) error {
	q, err := r.ask(kind, body, false)
	if err != nil {
		return err
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	return r.wait(ctx, q, a)
}

func (r *Remote) tell(kind byte) error {
	q, err := r.ask(kind, nil, true)
	if err == nil {
		r.told = append(r.told, q)
	}
	return err
}

// Take implements Reader.
func (r *Remote) Take(context.Context) error { return r.tell(kindTake) }

// Eject implements Reader.
func (r *Remote) Eject(context.Context) error { return r.tell(kindEject) }

// Insert implements Reader.
func (r *Remote) Insert(ctx context.Context, serial [8]byte) error {
	return r.do(ctx, kindInsert, serial[:], nil)
}

// Play implements Player: one round trip.
func (r *Remote) Play(ctx context.Context, b *uicc.Burst, limit time.Duration, a *uicc.Answers) error {
	a.Clear()
	r.frame = binary.BigEndian.AppendUint32(r.frame[:0], uint32(limit.Milliseconds()))
	r.frame = append(r.frame, b.Bytes()...)
	defer func() { clear(r.frame) }()
	return r.do(ctx, kindPlay, r.frame, a)
}

// Reset implements Reader. It is a burst of its own.
func (r *Remote) Reset(ctx context.Context) (uicc.ATR, error) {
	var b uicc.Burst
	b.Reset()
	return r.single(ctx, &b)
}

// Transmit implements uicc.Card. It is a burst of its own.
func (r *Remote) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	var b uicc.Burst
	if err := b.Add(uicc.WantAny, func(dst []byte) ([]byte, error) { return append(dst, cmd...), nil }); err != nil {
		return nil, err
	}
	return r.single(ctx, &b)
}

// single plays a burst of one step. The context is its limit.
func (r *Remote) single(ctx context.Context, b *uicc.Burst) ([]byte, error) {
	var a uicc.Answers
	if err := r.Play(ctx, b, feedTime, &a); err != nil {
		return nil, err
	}
	answer, ok := a.Next()
	if !ok {
		return nil, fmt.Errorf("%w: it answers nothing", ErrProtocol)
	}
	return answer, nil
}

// Close implements Reader.
func (r *Remote) Close() error {
	r.visit.mu.Lock()
	defer r.visit.mu.Unlock()
	r.giveUp()
	return nil
}

// giveUp has the station let go of what is in the reader. visit.mu is held.
func (r *Remote) giveUp() {
	if r.closed {
		return
	}
	r.closed = true
	// An error means that the station is gone, and with it the chip's power.
	_ = r.visit.link.write(frame{kind: kindClose, reader: r.reader}, false)
}
