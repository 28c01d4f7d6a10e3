package simos

import (
	"encoding/binary"
	"slices"
)

// memory is the chip's non-volatile memory: a flat run of bytes and a journal
// of the old bytes of the transaction at hand. What is written counts only
// once commit has closed the journal; until then rollBack brings the old bytes
// back, as a chip does when it powers up. Bytes beyond end, a number that is
// itself kept in the memory, are nobody's: records are appended there first and
// exist once end was moved.
type memory struct {
	b       []byte
	base    int // end as it was committed: bytes before it are journaled
	journal []saved
	old     []byte
	tear    int // the write step in which power is lost, counted down; 0: never
	lost    bool
	whole   bool // no record was deleted: there is no gap to look for
}

// saved is a place whose former bytes lie at the end of old.
type saved struct{ at, n int }

// end is where the records end.
func (m *memory) end() int { return int(binary.BigEndian.Uint32(m.b[atEnd:])) }

// write changes bytes. After a power loss nothing is written any more.
func (m *memory) write(at int, p ...byte) {
	if m.lost || len(p) == 0 {
		return
	}
	if at < m.base {
		m.journal = append(m.journal, saved{at, len(p)})
		m.old = append(m.old, m.b[at:at+len(p)]...)
	}
	if n := at + len(p); n > len(m.b) {
		if n > cap(m.b) {
			m.b = slices.Grow(m.b, max(n-len(m.b), 4<<10)) // once for most cards
		}
		m.b = m.b[:n] // zeros, see close
	}
	copy(m.b[at:], p[:m.step(len(p))])
}

// add appends a record.
func (m *memory) add(record []byte) (at int) {
	at = m.end()
	m.write(at, record...)
	m.setEnd(at + len(record))
	return at
}

// place puts a record where deleted ones leave room, behind the record after if
// that is not 0, or appends it. It answers 0 if the memory is full.
func (m *memory) place(record []byte, after int) (at int) {
	n, end := len(record), m.end()
	if m.whole {
		after = m.base
	}
	for at = m.next(max(after, atRecords), recordDead); at != 0; {
		behind := m.after(at) // of this and the deleted ones that follow it
		for behind < m.base && m.b[behind] == recordDead {
			behind = m.after(behind)
		}
		rest := behind - at - n
		switch {
		case rest == 0 || rest >= 8: // what is left over is a record too
			if rest > 0 {
				m.write(at+n, recordDead, byte(rest>>16), byte(rest>>8), byte(rest))
			}
			m.write(at, record...)
			return at
		case behind == end && at+n <= m.u32(atLimit):
			cut := min(n, behind-at)
			m.write(at, record[:cut]...)
			m.write(behind, record[cut:]...)
			m.setEnd(at + n)
			return at
		}
		at = m.next(behind, recordDead)
	}
	if end+n > m.u32(atLimit) {
		return 0
	}
	return m.add(record)
}

func (m *memory) setEnd(n int) {
	m.write(atEnd, binary.BigEndian.AppendUint32(nil, uint32(n))...)
}

// step counts n write steps and says how many are done before power is lost.
func (m *memory) step(n int) int {
	switch {
	case m.tear == 0:
	case m.tear <= n:
		n = m.tear - 1
		m.tear, m.lost = 0, true
	default:
		m.tear -= n
	}
	return n
}

// commit makes what was written stand. Closing the journal is a step too; if
// power is lost in it, the new bytes stand and the answer is lost.
func (m *memory) commit() {
	if m.lost || len(m.journal) == 0 {
		return
	}
	m.step(1)
	m.close()
}

// rollBack undoes what was not committed.
func (m *memory) rollBack() {
	old := m.old
	for i := len(m.journal) - 1; i >= 0; i-- {
		s := m.journal[i]
		copy(m.b[s.at:s.at+s.n], old[len(old)-s.n:])
		old = old[:len(old)-s.n]
	}
	m.lost = false
	m.close()
}

// close empties the journal, which held secrets, and wipes what lies beyond end.
func (m *memory) close() {
	clear(m.old)
	m.journal, m.old = m.journal[:0], m.old[:0]
	m.base = m.end()
	clear(m.b[m.base:])
	m.b = m.b[:m.base]
}
