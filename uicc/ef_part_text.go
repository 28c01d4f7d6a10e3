package uicc

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// bits is one byte whose bits have names, from the lowest on; a bit without a
// name is b1 to b8.
type bits []string

func (n bits) name(i int) string {
	if i < len(n) && n[i] != "" {
		return n[i]
	}
	return "b" + strconv.Itoa(i+1)
}

func (n bits) put(dst []byte, v Value) ([]byte, error) {
	if v.List == nil {
		return nil, fmt.Errorf("%s, want a list of bits", v.kind())
	}
	var set byte
next:
	for _, e := range v.List {
		s, err := wantText(e)
		if err != nil {
			return nil, err
		}
		for i := range 8 {
			if n.name(i) == s {
				set |= 1 << i
				continue next
			}
		}
		return nil, fmt.Errorf("%q is none of %s", s, strings.Join(slices.DeleteFunc(slices.Clone(n), func(s string) bool { return s == "" }), ", "))
	}
	return append(dst, set), nil
}

func (n bits) get(b []byte) (Value, int, error) {
	if err := short(b, 1); err != nil {
		return Value{}, 0, err
	}
	v := Value{List: []Value{}}
	for i := range 8 {
		if b[0]>>i&1 == 1 {
			v.List = append(v.List, Text(n.name(i)))
		}
	}
	return v, 1, nil
}

// hexToEnd is bytes in hexadecimal digits in that much room, without the FF at
// their end.
type hexToEnd int

func (h hexToEnd) put(dst []byte, v Value) ([]byte, error) {
	b, err := raw(0).put(nil, v)
	if err != nil {
		return nil, err
	}
	if len(b) > int(h) {
		return nil, fmt.Errorf("%d bytes, want at most %d", len(b), int(h))
	}
	return append(dst, append(b, bytes.Repeat([]byte{0xFF}, int(h)-len(b))...)...), nil
}

func (h hexToEnd) get(b []byte) (Value, int, error) {
	if err := short(b, int(h)); err != nil {
		return Value{}, 0, err
	}
	v, _, err := raw(0).get(trimErased(b[:h]))
	return v, int(h), err
}

// networkName is a network's name (TS 24.008, 10.5.3.5a): a text in the
// default alphabet, packed, or in UCS2, the country's initials not added. A
// name that is coded in another way is "hex:" and its bytes.
type networkName struct{}

const hexPrefix = "hex:"

func (networkName) put(dst []byte, v Value) ([]byte, error) {
	s, err := wantText(v)
	if err != nil {
		return nil, err
	}
	if digits, ok := strings.CutPrefix(s, hexPrefix); ok {
		b, err := hex.DecodeString(digits)
		if err != nil || len(b) == 0 {
			return nil, fmt.Errorf("%q is not hexadecimal", digits)
		}
		if back, _, _ := (networkName{}).get(b); back.Text != s {
			return nil, fmt.Errorf("%q is the name %q", s, back.Text)
		}
		return append(dst, b...), nil
	}
	if s == "" {
		return nil, errors.New("empty name")
	}
	var codes []byte
	for _, r := range s {
		c, ok := gsmCode(r)
		if !ok {
			codes = nil
			break
		}
		codes = append(codes, c)
	}
	if codes == nil {
		dst = append(dst, 0x90)
		for _, r := range s {
			if r > 0xFFFF || utf16.IsSurrogate(r) || r == 0xFFFD {
				return nil, fmt.Errorf("%q has a character that UCS2 has not", s)
			}
			dst = append(dst, byte(r>>8), byte(r))
		}
		return dst, nil
	}
	return append(append(dst, 0x80|byte((8-len(codes)*7%8)%8)), pack7(codes)...), nil
}

func (networkName) get(b []byte) (Value, int, error) {
	if err := short(b, 1); err != nil {
		return Value{}, 0, err
	}
	var s strings.Builder
	switch {
	case b[0]&0xF8 == 0x80:
		for _, c := range unpack7(b[1:], ((len(b)-1)*8-int(b[0]&7))/7) {
			r, _ := gsmRune(c)
			s.WriteRune(r)
		}
	case b[0] == 0x90 && len(b)%2 == 1:
		for i := 1; i < len(b); i += 2 {
			s.WriteRune(rune(b[i])<<8 | rune(b[i+1]))
		}
	}
	v := Text(s.String())
	if !strings.HasPrefix(v.Text, hexPrefix) {
		if again, err := (networkName{}).put(nil, v); err == nil && bytes.Equal(again, b) {
			return v, len(b), nil
		}
	}
	return Text(hexPrefix + strings.ToUpper(hex.EncodeToString(b))), len(b), nil
}

// pack7 packs codes of seven bits (TS 23.038, 6.1.2.1).
func pack7(codes []byte) []byte {
	b := make([]byte, (len(codes)*7+7)/8)
	for i, c := range codes {
		at := i * 7
		b[at/8] |= c << (at % 8)
		if at%8 > 1 {
			b[at/8+1] |= c >> (8 - at%8)
		}
	}
	return b
}

func unpack7(b []byte, n int) []byte {
	var codes []byte
	for i := range n {
		at := i * 7
		c := b[at/8] >> (at % 8)
		if at%8 > 1 {
			c |= b[at/8+1] << (8 - at%8)
		}
		codes = append(codes, c&0x7F)
	}
	return codes
}

// price is the elementary price per unit as a number and a power of ten,
// "125e-2" (TS 31.102, 4.2.13).
type price struct{}

func (price) put(dst []byte, v Value) ([]byte, error) {
	s, err := wantText(v)
	if err != nil {
		return nil, err
	}
	number, power, _ := strings.Cut(s, "e")
	n, err1 := strconv.ParseUint(number, 10, 12)
	x, err2 := strconv.ParseInt(power, 10, 8)
	if err1 != nil || err2 != nil || x < -7 || x > 7 || fmt.Sprintf("%de%d", n, x) != s {
		return nil, fmt.Errorf("%q is not a price, want 0 to 4095, e and -7 to 7", s)
	}
	low := byte(n & 0xF)
	if x < 0 {
		low |= 0x10
		x = -x
	}
	return append(dst, byte(n>>4), low|byte(x)<<5), nil
}

func (price) get(b []byte) (Value, int, error) {
	if err := short(b, 2); err != nil {
		return Value{}, 0, err
	}
	x := int(b[1] >> 5)
	if b[1]&0x10 != 0 {
		if x == 0 {
			return Value{}, 0, errors.New("price has the power -0")
		}
		x = -x
	}
	return Text(fmt.Sprintf("%de%d", int(b[0])<<4|int(b[1]&0xF), x)), 2, nil
}

// allocation is two bits for each service of a SIM (TS 51.011, 10.3.7):
// allocated, and activated. "4" is both, "4 off" allocated alone.
type allocation struct{}

func (allocation) put(dst []byte, v Value) ([]byte, error) {
	if v.List == nil {
		return nil, fmt.Errorf("%s, want a list of numbers", v.kind())
	}
	at := len(dst)
	for _, e := range v.List {
		s, err := wantText(e)
		if err != nil {
			return nil, err
		}
		number, off := strings.CutSuffix(s, " off")
		n, err := strconv.ParseUint(number, 10, 7)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q is not a service number, with or without off", s)
		}
		for len(dst)-at <= int(n-1)/4 {
			dst = append(dst, 0)
		}
		state := byte(3)
		if off {
			state = 1
		}
		dst[at+int(n-1)/4] |= state << ((n - 1) % 4 * 2)
	}
	return dst, nil
}

func (allocation) get(b []byte) (Value, int, error) {
	if len(b) > 31 {
		return Value{}, 0, fmt.Errorf("%d bytes of services, want at most 31", len(b))
	}
	v := Value{List: []Value{}}
	for i := range 4 * len(b) {
		switch b[i/4] >> (i % 4 * 2) & 3 {
		case 1:
			v.List = append(v.List, Text(strconv.Itoa(i+1)+" off"))
		case 2:
			return Value{}, 0, fmt.Errorf("service %d is activated and not allocated", i+1)
		case 3:
			v.List = append(v.List, Text(strconv.Itoa(i+1)))
		}
	}
	return v, len(b), nil
}

// wholeName is a name that fills its data object. One that is padded or coded in
// another way is "hex:" and its bytes.
type wholeName struct{}

func (wholeName) put(dst []byte, v Value) ([]byte, error) {
	s, err := wantText(v)
	if err != nil {
		return nil, err
	}
	digits, isHex := strings.CutPrefix(s, hexPrefix)
	if !isHex {
		return alpha(0).put(dst, v)
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("%q is not hexadecimal", digits)
	}
	if back, _, _ := (wholeName{}).get(b); back.Text != s {
		return nil, fmt.Errorf("%q is the name %q", s, back.Text)
	}
	return append(dst, b...), nil
}

func (wholeName) get(b []byte) (Value, int, error) {
	if len(b) == 0 || b[len(b)-1] != 0xFF {
		if v, n, err := alpha(0).get(b); err == nil && !strings.HasPrefix(v.Text, hexPrefix) {
			return v, n, nil
		}
	}
	return Text(hexPrefix + strings.ToUpper(hex.EncodeToString(b))), len(b), nil
}
