package uicc

import (
	"fmt"
	"time"
)

// A Wire counts what crosses the contacts of a card (ISO/IEC 7816-3): whole
// characters, protocol included. The zero Wire counts T=0; one goroutine at a
// time uses it.
type Wire struct {
	T1       bool // T=1, with blocks of up to 254 bytes and an LRC
	Commands int  // GET RESPONSE among them
	Sent     int  // bytes to the card
	Received int  // bytes from the card
	Turns    int  // changes of direction
}

// Count counts a command in short form, well formed, and its answer with data
// bytes besides the status word. With T=0, data that answers a command with
// data of its own is fetched by GET RESPONSE.
func (w *Wire) Count(cmd []byte, data int) {
	c, err := ParseCommand(cmd)
	if err != nil {
		return // it never crossed
	}
	w.Commands++
	if w.T1 {
		w.blocks(len(cmd), &w.Sent)
		w.blocks(data+2, &w.Received)
		return
	}
	w.Sent += 5 // with a P3, whatever the case
	switch {
	case len(c.Data) > 0:
		w.Sent += len(c.Data)
		w.Received += 1 + 2 // procedure byte, status word
		w.Turns += 4
		if data > 0 {
			w.Commands++
			w.Sent += 5
			w.Received += 1 + data + 2
			w.Turns += 2
		}
	case data > 0:
		w.Received += 1 + data + 2
		w.Turns += 2
	default:
		w.Received += 2
		w.Turns += 2
	}
}

// blocks counts n bytes in blocks of NAD, PCB, LEN, up to 254 bytes and LRC,
// chained, each block but the last acknowledged (ISO/IEC 7816-3, 11).
func (w *Wire) blocks(n int, to *int) {
	chain := max(1, (n+253)/254)
	*to += n + 4*chain
	other := &w.Received
	if to == other {
		other = &w.Sent
	}
	*other += 4 * (chain - 1)
	w.Turns += 2*chain - 1
}

// Bytes is all that crosses, both ways.
func (w Wire) Bytes() int { return w.Sent + w.Received }

// A Speed is how fast characters cross.
type Speed struct {
	F, D  int // clock rate conversion and baud rate adjustment: a bit takes F/D cycles
	Clock int // Hz
}

// Rates of ISO/IEC 7816-3, 8.3, tables 7 and 8, by the halves of TA1; 0 is
// reserved.
var (
	rateF = [16]int{372, 372, 558, 744, 1116, 1488, 1860, 0, 0, 512, 768, 1024, 1536, 2048}
	rateD = [16]int{0, 1, 2, 4, 8, 16, 32, 64, 12, 20}
)

// SpeedOf is the speed that a TA1 offers, at a clock in Hz.
func SpeedOf(ta1 byte, clock int) (Speed, error) {
	s := Speed{rateF[ta1>>4], rateD[ta1&0x0F], clock}
	if s.F == 0 || s.D == 0 || clock <= 0 {
		return Speed{}, fmt.Errorf("TA1 is %02X at %d Hz: want a rate of ISO/IEC 7816-3, 8.3, and a clock", ta1, clock)
	}
	return s, nil
}

// Time is how long the characters take: 12 bits each with T=0 and 11 with T=1,
// and the shortest pause where the direction changes: 16 bits from one
// character's start to the next one's with T=0, 22 with T=1 (ISO/IEC 7816-3,
// 10.2 and 11.4.2). What the chip thinks comes on top. The zero Speed takes no
// time.
func (w Wire) Time(s Speed) time.Duration {
	if s.F == 0 || s.D == 0 || s.Clock == 0 {
		return 0
	}
	bits := 12*w.Bytes() + (16-12)*w.Turns
	if w.T1 {
		bits = 11*w.Bytes() + (22-11)*w.Turns
	}
	return time.Duration(float64(bits) * float64(s.F) / float64(s.D) / float64(s.Clock) * float64(time.Second))
}
