package saip

import (
	"errors"
	"fmt"

	"ankan/uicc"
)

// ErrPackage is wrapped by every error about the bytes of a package.
var ErrPackage = errors.New("profile package")

// maxPackage bounds what is read, in bytes; packages have some ten thousand.
const maxPackage = 4 << 20

// maxContent bounds what the files of a card hold together, in bytes.
const maxContent = 512 << 10

// A node is one data object in its place.
type node struct {
	tag   uicc.Tag
	value []byte
	at    int // offset of the tag in the package, in bytes
	in    int // offset of the value
}

// A decoder reads one profile element. The first thing that is wrong stays; what
// is read after it is nothing, so that callers ask once, at the end.
type decoder struct {
	element int // number of the profile element, from 1; 0 outside of all
	name    string
	err     error
}

// fail keeps the first error.
func (d *decoder) fail(at int, format string, args ...any) {
	if d.err != nil {
		return
	}
	where := fmt.Sprintf("byte %d", at)
	if d.element > 0 {
		where += fmt.Sprintf(", element %d", d.element)
		if d.name != "" {
			where += " (" + d.name + ")"
		}
	}
	d.err = fmt.Errorf("%w: %s: %s", ErrPackage, where, fmt.Sprintf(format, args...))
}

// next reads the first object of b, whose first byte is at offset at.
func (d *decoder) next(b []byte, at int) (n node, rest []byte) {
	tag, length, value, err := uicc.ReadTL(b)
	if err == nil && length > len(value) {
		err = fmt.Errorf("tag %X has length %d, %d bytes follow", uint32(tag), length, len(value))
	}
	if err != nil {
		d.fail(at, "%v", err)
		return node{}, nil
	}
	return node{tag, value[:length:length], at, at + len(b) - len(value)}, value[length:]
}

// children are the objects that n consists of.
func (d *decoder) children(n node) []node {
	var all []node
	for b, at := n.value, n.in; len(b) > 0 && d.err == nil; {
		c, rest := d.next(b, at)
		if d.err != nil {
			return nil
		}
		all = append(all, c)
		at, b = n.in+len(n.value)-len(rest), rest
	}
	return all
}

// fields are the components of a SEQUENCE by their tag, each once and in the
// order in which names gives them: a line for each, the tag being the key.
func (d *decoder) fields(n node, what string, tags ...uicc.Tag) map[uicc.Tag]node {
	found := map[uicc.Tag]node{}
	next := 0
	for _, c := range d.children(n) {
		i := next
		for i < len(tags) && tags[i] != c.tag {
			i++
		}
		if i == len(tags) {
			if _, twice := found[c.tag]; twice {
				d.fail(c.at, "%s has the component %X twice", what, uint32(c.tag))
			} else {
				d.fail(c.at, "%s has a component %X that is not known here or not in its place", what, uint32(c.tag))
			}
			return nil
		}
		found[c.tag], next = c, i+1
	}
	return found
}

// octets is a string of low to high bytes.
func (d *decoder) octets(n node, what string, low, high int) []byte {
	if d.err == nil && (len(n.value) < low || len(n.value) > high) {
		d.fail(n.at, "%s has %d bytes, want %d to %d", what, len(n.value), low, high)
		return nil
	}
	return n.value
}

// integer is a number that is not negative, in the shortest form (X.690, 8.3).
func (d *decoder) integer(n node, what string, high int) int {
	b := n.value
	if d.err != nil {
		return 0
	}
	if len(b) == 0 || len(b) > 5 || b[0]&0x80 != 0 || len(b) > 1 && b[0] == 0 && b[1]&0x80 == 0 {
		d.fail(n.at, "%s is not a number from 0 to %d in the shortest form", what, high)
		return 0
	}
	v := 0
	for _, x := range b {
		v = v<<8 | int(x)
	}
	if v > high {
		d.fail(n.at, "%s is %d, want at most %d", what, v, high)
		return 0
	}
	return v
}

// size is a length in as few bytes as it takes.
func (d *decoder) size(n node, what string) int {
	b := d.octets(n, what, 1, 3)
	if d.err != nil {
		return 0
	}
	if b[0] == 0 && len(b) > 1 {
		d.fail(n.at, "%s has a leading zero", what)
		return 0
	}
	v := 0
	for _, x := range b {
		v = v<<8 | int(x)
	}
	return v
}

// oid is an object identifier in dotted decimal (X.690, 8.19).
func (d *decoder) oid(n node) string {
	b := n.value
	if d.err != nil {
		return ""
	}
	if len(b) == 0 || len(b) > 32 || b[len(b)-1]&0x80 != 0 {
		d.fail(n.at, "object identifier does not end")
		return ""
	}
	s, v, first := "", 0, true
	for i, x := range b {
		if v == 0 && x == 0x80 || v > 1<<24 {
			d.fail(n.in+i, "object identifier has a number that is too long")
			return ""
		}
		if v = v<<7 | int(x&0x7F); x&0x80 != 0 {
			continue
		}
		if first {
			top := min(v/40, 2)
			s, first = fmt.Sprintf("%d.%d", top, v-40*top), false
		} else {
			s += fmt.Sprintf(".%d", v)
		}
		v = 0
	}
	return s
}

// list is the elements of a SEQUENCE OF, all with one tag.
func (d *decoder) list(n node, what string, tag uicc.Tag) []node {
	all := d.children(n)
	for _, c := range all {
		if c.tag != tag {
			d.fail(c.at, "%s has an element with tag %X, want %X", what, uint32(c.tag), uint32(tag))
			return nil
		}
	}
	return all
}
