package scp

import (
	"crypto/subtle"
	"encoding/binary"

	"ankan/uicc"
)

// Class byte bits (GlobalPlatform Card Specification, 11.1.4).
const (
	claChannel = 0x03 // basic logical channels 0..3
	claSecure  = 0x0C // secure messaging; GlobalPlatform's own is 04
	claFurther = 0x40 // channels 4..19, which this package leaves out
)

// A link is what both ends of a session compute alike.
type link struct {
	keys    *sessionKeys
	level   Level
	n       int      // length of a MAC on the wire: 8 or 16
	chain   [16]byte // MAC chaining value (6.2.3)
	counter uint64   // commands since EXTERNAL AUTHENTICATE (6.2.6)
	iv      [16]byte
	header  [5]byte
	tail    [2]byte
}

// setIV sets the IV for the data of a command, or with first = 80 for that of
// its response (6.2.6, 6.2.7).
func (l *link) setIV(first byte, counter uint64) {
	l.iv = [16]byte{0: first}
	binary.BigEndian.PutUint64(l.iv[8:], counter)
	l.keys.enc.Encrypt(l.iv[:], l.iv[:])
}

// commandMAC chains one command: its header with secure messaging and logical
// channel 0, its length with the MAC, its data (6.2.4). The MAC is the first n
// bytes of the new chaining value.
func (l *link) commandMAC(c *uicc.Command, data []byte) {
	l.beginMAC(c, data)
	l.keys.mac.write(data)
	l.chain = *l.keys.mac.sum()
}

// encryptMAC encrypts data, whole blocks, in place under the IV, and chains
// what comes of it as commandMAC does. Both are chains, where each block waits
// for the one before; block by block in turn they run side by side in the
// processor.
func (l *link) encryptMAC(c *uicc.Command, data []byte) {
	l.beginMAC(c, data)
	prev := l.iv[:]
	for ; len(data) >= 16; data = data[16:] {
		block := data[:16]
		subtle.XORBytes(block, block, prev)
		l.keys.enc.Encrypt(block, block)
		l.keys.mac.write(block)
		prev = block
	}
	l.chain = *l.keys.mac.sum()
}

func (l *link) beginMAC(c *uicc.Command, data []byte) {
	l.header = [5]byte{c.CLA&^(claChannel|claSecure) | 0x04, c.INS, c.P1, c.P2, byte(len(data) + l.n)}
	m := &l.keys.mac
	m.reset()
	m.write(l.chain[:])
	m.write(l.header[:])
}

// responseMAC computes the MAC of a response to the command that ended the
// chain (6.2.5).
func (l *link) responseMAC(chain *[16]byte, data []byte, sw uicc.SW) []byte {
	l.tail = [2]byte{byte(sw >> 8), byte(sw)}
	m := &l.keys.rmac
	m.reset()
	m.write(chain[:])
	m.write(data)
	m.write(l.tail[:])
	return m.sum()[:l.n]
}

// protected says whether a response with this status word carries data and a
// MAC: normal processing and warnings do, errors do not (6.2.5).
func protected(sw uicc.SW) bool { return sw.OK() || sw.Warning() }

// pad appends 80 and zeros up to a whole block, counted from start.
func pad(p []byte, start, block int) []byte {
	p = append(p, 0x80)
	for (len(p)-start)%block != 0 {
		p = append(p, 0)
	}
	return p
}

// unpad removes what pad appended; false if it is not there. The MAC was
// checked before, so that the time it takes tells nobody anything.
func unpad(p []byte, block int) ([]byte, bool) {
	for i := len(p) - 1; i >= 0 && i >= len(p)-block; i-- {
		switch p[i] {
		case 0x80:
			return p[:i], true
		case 0:
		default:
			return nil, false
		}
	}
	return nil, false
}

func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
