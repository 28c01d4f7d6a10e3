package station

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"ankan/uicc"
)

// A Slot is a reader of a station by its name.
type Slot struct {
	Name string // as people know it at the station
	// Open connects to the reader. It is called when the reader is needed, and
	// again after it was closed.
	Open func(ctx context.Context) (Reader, error)
}

// feedTime is how long a reader may take to get a chip in or out.
const feedTime = time.Minute

// Attend is a station at work: it announces the slots over conn and does what
// the plant asks, until the context ends or the connection does. Then every
// chip is out of its reader: what was under way there is over.
func Attend(ctx context.Context, conn net.Conn, version string, slots []Slot) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := newLink(conn)
	hello := greeting{Protocol: protocol, Version: version}
	var desks sync.WaitGroup
	defer desks.Wait()
	defer l.close()
	defer cancel()
	at := make([]*desk, len(slots))
	for i, s := range slots {
		hello.Readers = append(hello.Readers, s.Name)
		at[i] = &desk{Slot: s, index: i, link: l, asked: make(chan frame, queue)}
		at[i].round, at[i].giveUp = context.WithCancel(ctx)
		desks.Go(func() { at[i].work(ctx) })
	}
	body, err := json.Marshal(hello)
	if err != nil {
		return err
	}
	if err := l.write(frame{kind: kindHello, body: body}, false); err != nil {
		return err
	}
	desks.Go(l.keepAlive)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	for {
		f, err := l.read()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		if f.reader >= len(at) || f.kind < kindTake || f.kind > kindClose {
			return fmt.Errorf("%w: a frame of kind %d for reader %d of %d", ErrProtocol, f.kind, f.reader, len(at))
		}
		d := at[f.reader]
		if f.kind == kindClose {
			d.interrupt(ctx)
		}
		select {
		case d.asked <- f:
		default:
			return fmt.Errorf("%w: more than %d requests wait at reader %s", ErrProtocol, queue, d.Name)
		}
	}
}

// queue is how many requests may wait at a reader.
const queue = 16

// A desk is a reader of a station at work.
type desk struct {
	Slot
	index  int
	link   *link
	asked  chan frame
	reader Reader
	burst  uicc.Answers

	mu     sync.Mutex
	round  context.Context // of what was asked before the next close
	giveUp context.CancelFunc
}

// interrupt gives up what is under way: the plant gave the reader up.
func (d *desk) interrupt(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.giveUp()
	d.round, d.giveUp = context.WithCancel(ctx)
}

func (d *desk) now() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.round
}

func (d *desk) work(ctx context.Context) {
	defer func() { d.close(); d.giveUp() }()
	round := d.now()
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-d.asked:
			if f.kind == kindClose {
				d.close()
				round = d.now()
				continue
			}
			code, body := d.do(round, f)
			clear(f.body) // codes and wrapped keys
			if ctx.Err() != nil {
				return // the station goes: what it breaks off is no answer
			}
			if err := d.link.write(frame{kind: kindDone, reader: d.index, number: f.number, body: append([]byte{code}, body...)}, false); err != nil {
				return
			}
			d.burst.Clear()
		}
	}
}

func (d *desk) close() {
	if d.reader != nil {
		d.reader.Close()
		d.reader = nil
	}
	d.burst.Clear()
}

// do does what was asked; after an error that is the reader's own, the reader
// is closed.
func (d *desk) do(ctx context.Context, f frame) (code byte, body []byte) {
	err := d.open(ctx)
	if err == nil {
		err = d.ask(ctx, f)
	}
	switch {
	case err == nil:
		return codeOK, d.burst.Bytes()
	case errors.Is(err, ErrNoChips):
		return codeNoChips, nil
	case errors.Is(err, ErrAway):
		return codeAway, nil
	case errors.Is(err, ErrMute):
		return codeMute, d.burst.Bytes()
	case errors.Is(err, uicc.ErrAnswer):
		return codeNoise, d.burst.Bytes()
	}
	code, body = codeFailed, []byte(err.Error())
	if errors.Is(err, ErrLate) {
		code, body = codeLate, append([]byte(nil), d.burst.Bytes()...)
	}
	d.close()
	return code, body
}

func (d *desk) open(ctx context.Context) (err error) {
	if d.reader == nil {
		ctx, cancel := context.WithTimeout(ctx, feedTime)
		defer cancel()
		d.reader, err = d.Open(ctx)
	}
	return err
}

func (d *desk) ask(ctx context.Context, f frame) error {
	if f.kind == kindPlay {
		if len(f.body) < 4 {
			return fmt.Errorf("%w: a burst of %d bytes", ErrProtocol, len(f.body))
		}
		limit := time.Duration(binary.BigEndian.Uint32(f.body)) * time.Millisecond
		b, err := uicc.ParseBurst(f.body[4:])
		if err != nil {
			return err
		}
		return Play(ctx, d.reader, &b, limit, &d.burst)
	}
	ctx, cancel := context.WithTimeout(ctx, feedTime)
	defer cancel()
	switch f.kind {
	case kindTake:
		return d.reader.Take(ctx)
	case kindInsert:
		if len(f.body) != 8 {
			return fmt.Errorf("%w: a serial number of %d bytes", ErrProtocol, len(f.body))
		}
		return d.reader.Insert(ctx, [8]byte(f.body))
	}
	return d.reader.Eject(ctx)
}
