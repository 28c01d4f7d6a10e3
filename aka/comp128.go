package aka

import (
	"fmt"
	"time"

	"ankan/sim"
	"ankan/waiver"
)

// Comp128 is an algorithm of GSM alone, A3/A8 by the names COMP128v1 to v3, for
// one Ki. It comes from NewComp128; the zero Comp128 panics. It looks values of
// Ki up in tables, so that its time tells of them. It is secret (see sim.Hidden).
type Comp128 struct {
	sim.Hidden
	open func() *comp128
}

type comp128 struct {
	ki        [16]byte
	algorithm Algorithm
}

// NewComp128 wants a waiver for this algorithm that is in force now; the error
// wraps waiver.ErrNone. Ki has 16 bytes; it keeps no reference to it.
func NewComp128(a Algorithm, ki []byte, w waiver.Waiver, now time.Time) (Comp128, error) {
	if !a.gsm() {
		return Comp128{}, fmt.Errorf("algorithm is %q, want %s, %s or %s", a, COMP128v1, COMP128v2, COMP128v3)
	}
	if err := w.Allows(string(a), now); err != nil {
		return Comp128{}, fmt.Errorf("algorithm %w", err)
	}
	if len(ki) != 16 {
		return Comp128{}, fmt.Errorf("Ki has %d bytes, want 16", len(ki))
	}
	c := &comp128{[16]byte(ki), a}
	return Comp128{open: func() *comp128 { return c }}, nil
}

// Triplet is the answer to a GSM challenge: SRES and Kc. The last ten bits of
// Kc are zero, but for COMP128v3.
func (a Comp128) Triplet(rand RAND) (sres [4]byte, kc [8]byte) {
	c := a.open()
	if c.algorithm == COMP128v1 {
		return c.first(rand)
	}
	sres, kc = c.third(rand)
	if c.algorithm == COMP128v2 {
		kc[6] &^= 0x03
		kc[7] = 0
	}
	return sres, kc
}

// first is version 1: eight times, Ki is set before the value and 32 bytes
// become 32 half bytes, level by level; between, their bits are spread.
func (c *comp128) first(rand RAND) (sres [4]byte, kc [8]byte) {
	var x [32]byte
	copy(x[16:], rand[:])
	for round := range 8 {
		copy(x[:], c.ki[:])
		for level, table := range [...]string{comp128Level0, comp128Level1, comp128Level2, comp128Level3, comp128Level4} {
			half := 16 >> level // pairs are this far apart
			for i := range 16 {
				m := i/half*2*half + i%half
				n := m + half
				y, z := int(x[m])+2*int(x[n]), 2*int(x[m])+int(x[n])
				x[m], x[n] = table[y%len(table)], table[z%len(table)]
			}
		}
		if round == 7 {
			break
		}
		var spread [16]byte
		for i := range 128 {
			bit := i * 17 % 128
			spread[i/8] |= x[bit/4] >> (3 - bit%4) & 1 << (7 - i%8)
		}
		copy(x[16:], spread[:])
	}
	for i := range sres {
		sres[i] = x[2*i]<<4 | x[2*i+1]
	}
	// Kc is the last 54 bits, and ten zeros.
	var bits uint64
	for _, half := range x[18:] {
		bits = bits<<4 | uint64(half)
	}
	bits <<= 10
	for i := range kc {
		kc[i] = byte(bits >> (56 - 8*i))
	}
	return sres, kc
}

// third is version 3: eight rounds on RAND under RAND and Ki added, all bytes
// in reverse.
func (c *comp128) third(rand RAND) (sres [4]byte, kc [8]byte) {
	var value, key [16]byte
	for i := range value {
		value[i] = rand[15-i]
		key[i] = c.ki[15-i] ^ value[i]
	}
	for range 8 {
		value = comp128Round(key, value)
	}
	for i := range sres {
		sres[i] = value[15-i]
	}
	for i := range kc {
		kc[i] = value[7-i]
	}
	return sres, kc
}

// comp128Round is one round of versions 2 and 3: five levels of a butterfly
// over 32 bytes, then 128 of their bits.
func comp128Round(key, value [16]byte) (out [16]byte) {
	mix := func(a, b byte) byte { return comp128Outer[comp128Inner[a]^b] }
	var x [32]byte
	copy(x[:], value[:])
	copy(x[16:], key[:])
	for level := range 5 {
		var low, next [32]byte
		for i := range 16 {
			low[i] = mix(x[16+i], x[i])
		}
		size := 1 << level // runs of this many bytes take turns
		for i := range 16 {
			at := i/size*2*size + i%size
			next[at] = low[i]
			next[at+size] = mix(low[i], x[16+i])
		}
		x = next
	}
	for i := range out {
		for j := range 8 {
			from := 19 * (8*i + j + 1) % 256 / 8
			out[i] |= x[from] >> ((3*j + 3) % 8) & 1 << j
		}
	}
	return out
}
