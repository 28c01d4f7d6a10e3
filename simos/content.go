package simos

import (
	"bytes"

	"ankan/uicc"
)

// place reads P1 and P2 of READ and UPDATE BINARY: a short file identifier with
// an offset of one byte, or an offset of 15 bits.
func place(cmd *uicc.Command) (sfi byte, offset int, sw uicc.SW) {
	if cmd.P1&0x80 == 0 {
		return 0, int(cmd.P1)<<8 | int(cmd.P2), uicc.SWOK
	}
	sfi = cmd.P1 & 0x1F
	if cmd.P1&0x60 != 0 || sfi == 0 || sfi == 31 {
		return 0, 0, uicc.SWParameters
	}
	return sfi, int(cmd.P2), uicc.SWOK
}

// readBinary is READ BINARY (TS 102 221, 11.1.3).
func (c *core) readBinary(cmd *uicc.Command) uicc.SW {
	sfi, offset, sw := place(cmd)
	if sw != uicc.SWOK {
		return sw
	}
	if cmd.Le == uicc.NoLe || len(cmd.Data) > 0 {
		return uicc.SWLength
	}
	f, sw := c.use(sfi, cmd, uicc.ModeRead, uicc.Transparent)
	if sw != uicc.SWOK {
		return sw
	}
	at, n := c.body(f)
	if offset >= n {
		return uicc.SWOffset
	}
	n = min(n-offset, cmd.Le)
	c.session.out = append(c.session.out, c.b[at+offset:at+offset+n]...)
	return uicc.SWOK
}

// updateBinary is UPDATE BINARY (TS 102 221, 11.1.4).
func (c *core) updateBinary(cmd *uicc.Command) uicc.SW {
	sfi, offset, sw := place(cmd)
	if sw != uicc.SWOK {
		return sw
	}
	if len(cmd.Data) == 0 {
		return uicc.SWLength
	}
	f, sw := c.use(sfi, cmd, uicc.ModeUpdate, uicc.Transparent)
	if sw != uicc.SWOK {
		return sw
	}
	at, n := c.body(f)
	if offset >= n {
		return uicc.SWOffset
	}
	if offset+len(cmd.Data) > n {
		return uicc.SWLength
	}
	c.write(at+offset, cmd.Data...)
	return uicc.SWOK
}

// recordAt is where record n, 1 and up, of a file of records lies. Record 1 of
// a cyclic file is the newest.
func (c *core) recordAt(f, n int) (at, size int, ok bool) {
	if !c.kind(f).Records() {
		return 0, 0, false
	}
	count := int(c.b[f+fileCount])
	if n < 1 || n > count {
		return 0, 0, false
	}
	at, _ = c.body(f)
	size = int(c.b[f+fileRecord])
	return at + (int(c.b[f+fileHead])+n-1)%count*size, size, true
}

// Record modes of P2 (TS 102 221, 11.1.5.2).
const (
	modeNext     = 2
	modePrevious = 3
	modeAbsolute = 4
)

// pick finds the number of the record that P1 and P2 name and moves the record
// pointer, which stays where it is in absolute mode.
func (c *core) pick(f int, cmd *uicc.Command) (int, uicc.SW) {
	ch := c.session.ch
	count := int(c.b[f+fileCount])
	n := ch.record
	switch mode := cmd.P2 & 7; {
	case mode == modeAbsolute && cmd.P1 == 0: // the current record
		if n == 0 {
			return 0, uicc.SWRecordNotFound
		}
		return n, uicc.SWOK
	case mode == modeAbsolute:
		if int(cmd.P1) > count {
			return 0, uicc.SWRecordNotFound
		}
		return int(cmd.P1), uicc.SWOK
	case cmd.P1 != 0:
		return 0, uicc.SWParameters
	case mode == modeNext:
		n++
	case mode == modePrevious && n == 0:
		n = count
	case mode == modePrevious:
		n--
	default:
		return 0, uicc.SWParameters
	}
	if n < 1 || n > count {
		if c.kind(f) != uicc.Cyclic {
			return 0, uicc.SWRecordNotFound
		}
		n = (n-1+count)%count + 1
	}
	ch.record = n
	return n, uicc.SWOK
}

// readRecord is READ RECORD (TS 102 221, 11.1.5).
func (c *core) readRecord(cmd *uicc.Command) uicc.SW {
	if cmd.Le == uicc.NoLe || len(cmd.Data) > 0 {
		return uicc.SWLength
	}
	if cmd.P2>>3 == 31 {
		return uicc.SWParameters
	}
	f, sw := c.use(cmd.P2>>3, cmd, uicc.ModeRead, uicc.LinearFixed, uicc.Cyclic)
	if sw != uicc.SWOK {
		return sw
	}
	n, sw := c.pick(f, cmd)
	if sw != uicc.SWOK {
		return sw
	}
	at, size, _ := c.recordAt(f, n)
	c.session.out = append(c.session.out, c.b[at:at+size]...)
	return uicc.SWOK
}

// updateRecord is UPDATE RECORD (TS 102 221, 11.1.6). A cyclic file takes the
// previous mode only, which replaces the oldest record and makes it the first;
// before the chip is secured it also takes the absolute one.
func (c *core) updateRecord(cmd *uicc.Command) uicc.SW {
	if cmd.P2>>3 == 31 {
		return uicc.SWParameters
	}
	f, sw := c.use(cmd.P2>>3, cmd, uicc.ModeUpdate, uicc.LinearFixed, uicc.Cyclic)
	if sw != uicc.SWOK {
		return sw
	}
	if len(cmd.Data) != int(c.b[f+fileRecord]) {
		return uicc.SWLength
	}
	if c.kind(f) == uicc.Cyclic && !(c.free() && cmd.P2&7 == modeAbsolute) {
		if cmd.P2&7 != modePrevious || cmd.P1 != 0 {
			return uicc.SWParameters
		}
		c.turn(f, cmd.Data)
		return uicc.SWOK
	}
	n, sw := c.pick(f, cmd)
	if sw != uicc.SWOK {
		return sw
	}
	at, _, _ := c.recordAt(f, n)
	c.write(at, cmd.Data...)
	return uicc.SWOK
}

// searchRecord is SEARCH RECORD, simple and enhanced (TS 102 221, 11.1.7): the
// numbers of the records that hold the pattern. In an enhanced search it must
// begin at an offset or behind a character.
func (c *core) searchRecord(cmd *uicc.Command) uicc.SW {
	mode, pattern := cmd.P2&7, cmd.Data
	from, char := 0, -1
	switch {
	case cmd.P2>>3 == 31 || mode < 4 || mode > 6:
		return uicc.SWParameters
	case mode == 6:
		if len(pattern) < 3 {
			return uicc.SWLength
		}
		if pattern[0]&0xF0 != 0 || pattern[0]&0x04 == 0 {
			return uicc.SWData
		}
		if mode = pattern[0] & 7; pattern[0]&8 != 0 {
			char = int(pattern[1])
		} else {
			from = int(pattern[1])
		}
		pattern = pattern[2:]
	case len(pattern) == 0:
		return uicc.SWLength
	}
	f, sw := c.use(cmd.P2>>3, cmd, uicc.ModeRead, uicc.LinearFixed, uicc.Cyclic)
	if sw != uicc.SWOK {
		return sw
	}
	if len(pattern) > int(c.b[f+fileRecord]) {
		return uicc.SWLength
	}
	step, n := 1, int(cmd.P1)
	if mode&1 != 0 {
		step = -1
	}
	if n == 0 {
		n = c.session.ch.record
	}
	switch {
	case n == 0 && step > 0:
		n = 1
	case n == 0:
		n = int(c.b[f+fileCount])
	case mode >= 6: // from the next or the previous record
		n += step
	}
	for {
		at, size, ok := c.recordAt(f, n)
		if !ok {
			break
		}
		if holds(c.b[at:at+size], from, char, pattern) {
			c.session.out = append(c.session.out, byte(n))
		}
		n += step
	}
	if len(c.session.out) == 0 {
		return uicc.SWEndOfFile
	}
	c.session.ch.record = int(c.session.out[0])
	return uicc.SWOK
}

// holds reports whether a record holds the pattern at or behind the offset
// from, or if char is one, behind the first byte of that value.
func holds(record []byte, from, char int, pattern []byte) bool {
	if char >= 0 {
		from = bytes.IndexByte(record, byte(char)) + 1
		if from == 0 {
			return false
		}
	}
	return from < len(record) && bytes.Contains(record[from:], pattern)
}

// increase is INCREASE (TS 102 221, 11.1.8): a new record is the newest one with
// the value added.
func (c *core) increase(cmd *uicc.Command) uicc.SW {
	sfi := cmd.P1 & 0x1F
	switch {
	case cmd.P2 != 0, cmd.P1 != 0 && (cmd.P1&0xE0 != 0x80 || sfi == 0 || sfi == 31):
		return uicc.SWParameters
	case len(cmd.Data) == 0:
		return uicc.SWLength
	}
	f, sw := c.use(sfi, cmd, 0, uicc.Cyclic)
	if sw != uicc.SWOK {
		return sw
	}
	at, size, _ := c.recordAt(f, 1)
	if len(cmd.Data) > size || size > 127 {
		return uicc.SWLength
	}
	var sum [127]byte
	copy(sum[:], c.b[at:at+size])
	carry := 0
	for i := 1; i <= size; i++ {
		carry += int(sum[size-i])
		if i <= len(cmd.Data) {
			carry += int(cmd.Data[len(cmd.Data)-i])
		}
		sum[size-i] = byte(carry)
		carry >>= 8
	}
	if carry != 0 {
		return uicc.SWMaximum
	}
	c.turn(f, sum[:size])
	c.session.out = append(append(c.session.out, sum[:size]...), cmd.Data...)
	return uicc.SWOK
}

// turn writes a cyclic file's oldest record and makes it the newest.
func (c *core) turn(f int, record []byte) {
	count := c.b[f+fileCount]
	newest := (c.b[f+fileHead] + count - 1) % count
	at, _ := c.body(f)
	c.write(at+int(newest)*len(record), record...)
	c.write(f+fileHead, newest)
	c.session.ch.record = 1
}
