package exchange

import "io"

// An ahead is a buffer in front of a writer that writes while the next piece is
// being made: what hashes and stores a message does not wait for what encrypts
// it, nor that for the disk. It keeps ciphertext alone. One that is left without
// Flush ends by itself: there is no goroutine but for a piece that is on its way.
type ahead struct {
	w       io.Writer
	buf     []byte // being filled
	other   []byte // on its way, or free
	way     chan error
	writing bool
	err     error // first one; nothing is written after it
}

func newAhead(w io.Writer, size int) *ahead {
	return &ahead{w: w, buf: make([]byte, 0, size), other: make([]byte, 0, size), way: make(chan error, 1)}
}

// Write takes p. An error may be that of a piece before it.
func (a *ahead) Write(p []byte) (int, error) {
	n := 0
	for len(p) > 0 && a.err == nil {
		k := min(len(p), cap(a.buf)-len(a.buf))
		a.buf = append(a.buf, p[:k]...)
		p, n = p[k:], n+k
		if len(a.buf) == cap(a.buf) {
			a.send()
		}
	}
	return n, a.err
}

// Flush writes what is left and waits until everything is written.
func (a *ahead) Flush() error {
	if len(a.buf) > 0 && a.err == nil {
		a.send()
	}
	a.wait()
	return a.err
}

// send sends the buffer on its way once the one before has arrived.
func (a *ahead) send() {
	if a.wait(); a.err != nil {
		return
	}
	a.buf, a.other, a.writing = a.other[:0], a.buf, true
	go func(w io.Writer, piece []byte, way chan<- error) {
		n, err := w.Write(piece)
		if err == nil && n < len(piece) {
			err = io.ErrShortWrite
		}
		way <- err
	}(a.w, a.other, a.way)
}

func (a *ahead) wait() {
	if !a.writing {
		return
	}
	a.writing = false
	if err := <-a.way; a.err == nil {
		a.err = err
	}
}
