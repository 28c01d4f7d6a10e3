package uicc

import (
	"errors"
	"fmt"
	"iter"
)

// A Tag is a BER-TLV tag, its one to three bytes read as a big-endian number:
// 0x82, 0x9F7F, 0x7F4921 (ISO/IEC 7816-4, 5.2.2.1).
type Tag uint32

// Constructed reports whether the value is made of data objects itself.
func (t Tag) Constructed() bool {
	switch {
	case t > 0xFFFF:
		t >>= 16
	case t > 0xFF:
		t >>= 8
	}
	return t&0x20 != 0
}

// A TLV is a data object. Value aliases what it was read from.
type TLV struct {
	Tag   Tag
	Value []byte
}

// ErrTLV is wrapped by every error of reading BER-TLV.
var ErrTLV = errors.New("malformed TLV")

// ReadTLV reads the first data object of b and returns what follows it. It
// takes one form of each object only: lengths must be as short as they can be
// and tags have no leading zero, so what is read re-encodes to the same bytes.
func ReadTLV(b []byte) (t TLV, rest []byte, err error) {
	tag, n, b, err := ReadTL(b)
	if err != nil {
		return TLV{}, nil, err
	}
	if n > len(b) {
		return TLV{}, nil, fmt.Errorf("%w: tag %X has length %d, %d bytes follow", ErrTLV, uint32(tag), n, len(b))
	}
	return TLV{tag, b[:n:n]}, b[n:], nil
}

// ReadTL reads the tag and the length n of the first data object of b, of which
// b may hold the beginning only, and returns what follows them.
func ReadTL(b []byte) (tag Tag, n int, rest []byte, err error) {
	tag, b, err = ReadTag(b)
	if err != nil {
		return 0, 0, nil, err
	}
	n, b, err = readLength(b)
	if err != nil {
		return 0, 0, nil, fmt.Errorf("%w of tag %X", err, uint32(tag))
	}
	return tag, n, b, nil
}

// ReadTag reads the tag that b begins with and returns what follows it.
func ReadTag(b []byte) (Tag, []byte, error) {
	if len(b) == 0 {
		return 0, nil, fmt.Errorf("%w: nothing where a tag should be", ErrTLV)
	}
	if b[0] == 0x00 || b[0] == 0xFF {
		return 0, nil, fmt.Errorf("%w: %02X is not a tag", ErrTLV, b[0])
	}
	if b[0]&0x1F != 0x1F {
		return Tag(b[0]), b[1:], nil
	}
	tag := Tag(b[0])
	for i := 1; i < len(b) && i < 3; i++ {
		if i == 1 && b[i] == 0x80 {
			return 0, nil, fmt.Errorf("%w: tag %02X80 has a leading zero", ErrTLV, b[0])
		}
		tag = tag<<8 | Tag(b[i])
		if b[i]&0x80 == 0 {
			return tag, b[i+1:], nil
		}
	}
	return 0, nil, fmt.Errorf("%w: tag %02X does not end within three bytes", ErrTLV, b[0])
}

func readLength(b []byte) (int, []byte, error) {
	if len(b) == 0 {
		return 0, nil, fmt.Errorf("%w: no length", ErrTLV)
	}
	if b[0] < 0x80 {
		return int(b[0]), b[1:], nil
	}
	k := int(b[0] & 0x7F)
	if k == 0 || k > 3 || len(b) < 1+k {
		return 0, nil, fmt.Errorf("%w: length starts with %02X and %d bytes", ErrTLV, b[0], len(b)-1)
	}
	n := 0
	for _, x := range b[1 : 1+k] {
		n = n<<8 | int(x)
	}
	if n < 0x80 || n < 1<<(8*(k-1)) {
		return 0, nil, fmt.Errorf("%w: length %d is coded in %d bytes, which is not the shortest", ErrTLV, n, 1+k)
	}
	return n, b[1+k:], nil
}

// TLVs runs over the data objects that b consists of. The first malformed one
// comes with its error and is the last.
func TLVs(b []byte) iter.Seq2[TLV, error] {
	return func(yield func(TLV, error) bool) {
		for len(b) > 0 {
			t, rest, err := ReadTLV(b)
			if !yield(t, err) || err != nil {
				return
			}
			b = rest
		}
	}
}

// FindTLV returns the value of the first object with this tag in b.
func FindTLV(b []byte, tag Tag) ([]byte, bool) {
	for t, err := range TLVs(b) {
		if err != nil {
			return nil, false
		}
		if t.Tag == tag {
			return t.Value, true
		}
	}
	return nil, false
}

// AppendTLV appends a data object to dst. The value is at most 16 MiB - 1.
func AppendTLV(dst []byte, tag Tag, value ...byte) []byte {
	return append(AppendTL(dst, tag, len(value)), value...)
}

// AppendTL appends a tag and the length n; the n bytes of value follow.
func AppendTL(dst []byte, tag Tag, n int) []byte {
	if n < 0 || n > 0xFFFFFF {
		panic(fmt.Sprintf("uicc: TLV length %d", n))
	}
	if tag > 0xFFFF {
		dst = append(dst, byte(tag>>16))
	}
	if tag > 0xFF {
		dst = append(dst, byte(tag>>8))
	}
	dst = append(dst, byte(tag))
	switch {
	case n < 0x80:
		return append(dst, byte(n))
	case n < 0x100:
		return append(dst, 0x81, byte(n))
	case n < 0x10000:
		return append(dst, 0x82, byte(n>>8), byte(n))
	}
	return append(dst, 0x83, byte(n>>16), byte(n>>8), byte(n))
}
