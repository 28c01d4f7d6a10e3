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

	"ankan/sim"
)

// A Codec turns the content of an elementary file, or of one record of it,
// into a Value and back. The zero Codec knows hexadecimal digits only.
type Codec struct {
	part part
	pad  string // fills what the value leaves of the file or record, again and again; "" is FF
}

// ErrContent is wrapped by every error of a Codec.
var ErrContent = errors.New("file content")

// Encode makes the size bytes of a file or record that hold v, which Decode reads.
// A value that does not fit is refused. With size 0 the value's own length is taken.
func (c Codec) Encode(v Value, size int) ([]byte, error) {
	b := make([]byte, 0, max(size, 16))
	var err error
	if e, ok := c.part.(elastic); ok {
		b, err = e.putSize(b, v, size)
	} else {
		b, err = c.content().put(b, v)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrContent, err)
	}
	if size != 0 && len(b) > size {
		return nil, fmt.Errorf("%w: value takes %d bytes, file or record has %d", ErrContent, len(b), size)
	}
	for at := len(b); len(b) < size; {
		b = append(b, c.padding(len(b)-at))
	}
	// Some contents have a length of their own, and what is written must be one.
	if _, err := c.Decode(b); err != nil {
		return nil, fmt.Errorf("%d bytes do not hold it: %w", len(b), err)
	}
	return b, nil
}

// Decode reads the content of a file or record. What follows the value must
// be padding.
func (c Codec) Decode(b []byte) (Value, error) {
	v, n, err := c.content().get(b)
	if err != nil {
		return Value{}, fmt.Errorf("%w: %w", ErrContent, err)
	}
	for i, x := range b[n:] {
		if want := c.padding(i); x != want {
			return Value{}, fmt.Errorf("%w: byte %d is %02X, want padding %02X", ErrContent, n+i+1, x, want)
		}
	}
	return v, nil
}

func (c Codec) padding(i int) byte {
	if c.pad == "" {
		return 0xFF
	}
	return c.pad[i%len(c.pad)]
}

// Known reports whether the codec knows more than hexadecimal digits.
func (c Codec) Known() bool { return c.part != nil }

// Unit is of how many bytes a file's or record's length is a multiple: the size
// of an element of a list; 1 for what is no list.
func (c Codec) Unit() int {
	switch p := c.part.(type) {
	case list:
		return len(p.pad)
	case repeat:
		return p.size
	}
	return 1
}

func (c Codec) content() part {
	if c.part == nil {
		return raw(0)
	}
	return c.part
}

// A part is a piece of a file's content. put appends the piece that holds v;
// get reads it from the start of b and says how many bytes it took.
type part interface {
	put(dst []byte, v Value) ([]byte, error)
	get(b []byte) (Value, int, error)
}

func short(b []byte, n int) error {
	if len(b) < n {
		return fmt.Errorf("%d bytes left, want %d", len(b), n)
	}
	return nil
}

// raw is that many bytes as hexadecimal digits; 0 means all that is left.
type raw int

func (r raw) put(dst []byte, v Value) ([]byte, error) {
	s, err := wantText(v)
	if err != nil {
		return nil, err
	}
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		return nil, fmt.Errorf("%q is not hexadecimal", s)
	}
	if r > 0 && len(b) != int(r) {
		return nil, fmt.Errorf("%q has %d bytes, want %d", s, len(b), int(r))
	}
	return append(dst, b...), nil
}

func (r raw) get(b []byte) (Value, int, error) {
	n := int(r)
	if n == 0 {
		n = len(b)
	}
	if err := short(b, n); err != nil {
		return Value{}, 0, err
	}
	return Text(strings.ToUpper(hex.EncodeToString(b[:n]))), n, nil
}

// number is an unsigned number of that many bytes, most significant first, in
// decimal digits.
type number int

func (w number) put(dst []byte, v Value) ([]byte, error) {
	s, err := wantText(v)
	if err != nil {
		return nil, err
	}
	x, err := strconv.ParseUint(s, 10, 8*int(w))
	if err != nil || strconv.FormatUint(x, 10) != s {
		return nil, fmt.Errorf("%q is not a number of %d bytes", s, int(w))
	}
	for i := int(w) - 1; i >= 0; i-- {
		dst = append(dst, byte(x>>(8*i)))
	}
	return dst, nil
}

func (w number) get(b []byte) (Value, int, error) {
	if err := short(b, int(w)); err != nil {
		return Value{}, 0, err
	}
	var x uint64
	for _, c := range b[:w] {
		x = x<<8 | uint64(c)
	}
	return Text(strconv.FormatUint(x, 10)), int(w), nil
}

// choice is one byte with a name for each value that the clause gives; other
// values are two hexadecimal digits.
type choice []named

type named struct {
	name string
	code byte
}

func (c choice) put(dst []byte, v Value) ([]byte, error) {
	s, err := wantText(v)
	if err != nil {
		return nil, err
	}
	for _, n := range c {
		if n.name == s {
			return append(dst, n.code), nil
		}
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 1 {
		return nil, fmt.Errorf("%q is none of %s and not two hexadecimal digits", s, c.names())
	}
	return append(dst, b[0]), nil
}

func (c choice) names() string {
	var s []string
	for _, n := range c {
		s = append(s, n.name)
	}
	return strings.Join(s, ", ")
}

func (c choice) get(b []byte) (Value, int, error) {
	if err := short(b, 1); err != nil {
		return Value{}, 0, err
	}
	for _, n := range c {
		if n.code == b[0] {
			return Text(n.name), 1, nil
		}
	}
	return Text(fmt.Sprintf("%02X", b[0])), 1, nil
}

// record is parts one after the other, each under its name. A part with a
// default may be left out.
type record []member

type member struct {
	name    string
	part    part
	missing string // the value when the field is left out; "" means it must be there
}

func (r record) put(dst []byte, v Value) ([]byte, error) {
	if v.Fields == nil {
		return nil, fmt.Errorf("%s, want fields %s", v.kind(), r.names())
	}
	for _, f := range v.Fields {
		if !slices.ContainsFunc(r, func(m member) bool { return m.name == f.Name }) {
			return nil, fmt.Errorf("unknown field %s, want %s", f.Name, r.names())
		}
	}
	for _, m := range r {
		x, ok := v.Get(m.name)
		if !ok {
			if m.missing == "" {
				return nil, fmt.Errorf("field %s is missing", m.name)
			}
			x = Text(m.missing)
		}
		var err error
		if dst, err = m.part.put(dst, x); err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return dst, nil
}

func (r record) names() string {
	var s []string
	for _, m := range r {
		s = append(s, m.name)
	}
	return strings.Join(s, ", ")
}

func (r record) get(b []byte) (Value, int, error) {
	v := Value{Fields: []Field{}}
	at := 0
	for _, m := range r {
		x, n, err := m.part.get(b[at:])
		if err != nil {
			return Value{}, 0, fmt.Errorf("%s: %w", m.name, err)
		}
		v.Fields = append(v.Fields, Field{m.name, x})
		at += n
	}
	return v, at, nil
}

// list is a part of a fixed length again and again to the end. Elements at the
// end that are only padding are left out.
type list struct {
	each part
	pad  string // one element's padding
}

func (l list) put(dst []byte, v Value) ([]byte, error) {
	if v.List == nil {
		return nil, fmt.Errorf("%s, want a list", v.kind())
	}
	for i, e := range v.List {
		var err error
		if dst, err = l.each.put(dst, e); err != nil {
			return nil, fmt.Errorf("element %d: %w", i+1, err)
		}
	}
	return dst, nil
}

func (l list) get(b []byte) (Value, int, error) {
	size := len(l.pad)
	end := len(b) / size * size
	for end > 0 && string(b[end-size:end]) == l.pad {
		end -= size
	}
	v := Value{List: []Value{}}
	for at := 0; at < end; at += size {
		e, _, err := l.each.get(b[at : at+size])
		if err != nil {
			return Value{}, 0, fmt.Errorf("element %d: %w", at/size+1, err)
		}
		v.List = append(v.List, e)
	}
	return v, end, nil
}

func erased(b []byte) bool {
	for _, c := range b {
		if c != 0xFF {
			return false
		}
	}
	return true
}

// trimErased is b without the FF at its end.
func trimErased(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == 0xFF {
		b = b[:len(b)-1]
	}
	return b
}

// orEmpty is a part, or the text "empty" for bytes that are all FF.
type orEmpty struct {
	part
	size int // of the erased piece; 0 means all that is left
}

func (o orEmpty) put(dst []byte, v Value) ([]byte, error) {
	if v.Fields == nil && v.List == nil && v.Text == "empty" {
		return append(dst, bytes.Repeat([]byte{0xFF}, o.size)...), nil
	}
	return o.part.put(dst, v)
}

func (o orEmpty) get(b []byte) (Value, int, error) {
	n := o.size
	if n == 0 {
		n = len(b)
	}
	if err := short(b, n); err != nil {
		return Value{}, 0, err
	}
	if erased(b[:n]) {
		return Text("empty"), n, nil
	}
	v, n, err := o.part.get(b)
	if err == nil && v.Fields == nil && v.List == nil && v.Text == "empty" {
		err = errors.New(`the text "empty" stands for erased bytes`)
	}
	return v, n, err
}

// services is a bit map of numbers that start at 1, least significant bit of
// the first byte first (TS 31.102, 4.2.8). Ranges as 27-29 may be written.
type services struct{}

func (services) put(dst []byte, v Value) ([]byte, error) {
	if v.List == nil {
		return nil, fmt.Errorf("%s, want a list of numbers", v.kind())
	}
	at := len(dst)
	for _, e := range v.List {
		s, err := wantText(e)
		if err != nil {
			return nil, err
		}
		from, to, ok := strings.Cut(s, "-")
		if !ok {
			to = from
		}
		first, err1 := strconv.ParseUint(from, 10, 10)
		last, err2 := strconv.ParseUint(to, 10, 10)
		if err1 != nil || err2 != nil || first == 0 || last < first {
			return nil, fmt.Errorf("%q is not a service number or range", s)
		}
		for n := int(first); n <= int(last); n++ {
			for len(dst)-at <= (n-1)/8 {
				dst = append(dst, 0)
			}
			dst[at+(n-1)/8] |= 1 << ((n - 1) % 8)
		}
	}
	return dst, nil
}

func (services) get(b []byte) (Value, int, error) {
	if len(b) > 127 {
		return Value{}, 0, fmt.Errorf("%d bytes of services, want at most 127", len(b))
	}
	v := Value{List: []Value{}}
	for i, c := range b {
		for bit := range 8 {
			if c>>bit&1 == 1 {
				v.List = append(v.List, Text(strconv.Itoa(8*i+bit+1)))
			}
		}
	}
	return v, len(b), nil
}

// Services is the set of service numbers in the content of EF.UST, EF.EST or
// EF.IST.
func Services(b []byte) []int {
	var set []int
	for n := 1; n <= 8*len(b); n++ {
		if b[(n-1)/8]>>((n-1)%8)&1 == 1 {
			set = append(set, n)
		}
	}
	return set
}

// iccid and imsi are the contents of EF.ICCID and EF.IMSI as digits.
type iccid struct{}

func (iccid) put(dst []byte, v Value) ([]byte, error) {
	s, err := wantText(v)
	if err != nil {
		return nil, err
	}
	id, err := sim.ParseICCID(s)
	if err != nil {
		return nil, err
	}
	ef := id.EF()
	return append(dst, ef[:]...), nil
}

func (iccid) get(b []byte) (Value, int, error) {
	if err := short(b, 10); err != nil {
		return Value{}, 0, err
	}
	id, err := sim.ICCIDFromEF([10]byte(b))
	if err != nil {
		return Value{}, 0, err
	}
	return Text(id.String()), 10, nil
}

type imsi struct{}

func (imsi) put(dst []byte, v Value) ([]byte, error) {
	s, err := wantText(v)
	if err != nil {
		return nil, err
	}
	id, err := sim.ParseIMSI(s)
	if err != nil {
		return nil, err
	}
	ef := id.EF()
	return append(dst, ef[:]...), nil
}

func (imsi) get(b []byte) (Value, int, error) {
	if err := short(b, 9); err != nil {
		return Value{}, 0, err
	}
	id, err := sim.IMSIFromEF([9]byte(b))
	if err != nil {
		return Value{}, 0, err
	}
	return Text(id.String()), 9, nil
}

// plmn is a network code of three bytes (TS 24.008, 10.5.1.13) as 40496, none
// for FF FF FF, or zeros for 00 00 00, which is no network but stands on cards.
type plmn struct{}

func (plmn) put(dst []byte, v Value) ([]byte, error) {
	s, err := wantText(v)
	if err != nil {
		return nil, err
	}
	if s == "none" {
		return append(dst, 0xFF, 0xFF, 0xFF), nil
	}
	if s == "zeros" {
		return append(dst, 0, 0, 0), nil
	}
	p, err := sim.ParsePLMN(s)
	if err != nil {
		return nil, err
	}
	ef := p.Bytes()
	return append(dst, ef[:]...), nil
}

func (plmn) get(b []byte) (Value, int, error) {
	if err := short(b, 3); err != nil {
		return Value{}, 0, err
	}
	if erased(b[:3]) {
		return Text("none"), 3, nil
	}
	if b[0]|b[1]|b[2] == 0 {
		return Text("zeros"), 3, nil
	}
	p, err := sim.PLMNFromBytes([3]byte(b))
	if err != nil {
		return Value{}, 0, err
	}
	return Text(p.String()), 3, nil
}

// accessTech names the bits of an access technology identifier (TS 31.102, 4.2.5).
var accessTech = [...]struct {
	name string
	bit  uint16
}{
	{"ng-ran", 0x0800}, {"e-utran", 0x4000}, {"utran", 0x8000}, {"gsm", 0x0080},
	{"gsm-compact", 0x0040}, {"hrpd", 0x0020}, {"1xrtt", 0x0010},
}

// plmnAct is a network and its access technologies as "40496 ng-ran e-utran".
// Bits without a name are four hexadecimal digits.
type plmnAct struct{}

func (plmnAct) put(dst []byte, v Value) ([]byte, error) {
	s, err := wantText(v)
	if err != nil {
		return nil, err
	}
	words := strings.Fields(s)
	if len(words) == 0 {
		return nil, errors.New("empty text, want a network and its access technologies")
	}
	if dst, err = (plmn{}).put(dst, Text(words[0])); err != nil {
		return nil, err
	}
	var bits uint16
next:
	for _, w := range words[1:] {
		for _, t := range accessTech {
			if t.name == w {
				bits |= t.bit
				continue next
			}
		}
		x, err := strconv.ParseUint(w, 16, 16)
		if err != nil || len(w) != 4 {
			return nil, fmt.Errorf("unknown access technology %q", w)
		}
		bits |= uint16(x)
	}
	return append(dst, byte(bits>>8), byte(bits)), nil
}

func (plmnAct) get(b []byte) (Value, int, error) {
	if err := short(b, 5); err != nil {
		return Value{}, 0, err
	}
	v, _, err := plmn{}.get(b)
	if err != nil {
		return Value{}, 0, err
	}
	s, bits := v.Text, uint16(b[3])<<8|uint16(b[4])
	for _, t := range accessTech {
		if bits&t.bit != 0 {
			s += " " + t.name
			bits &^= t.bit
		}
	}
	if bits != 0 {
		s += fmt.Sprintf(" %04X", bits)
	}
	return Text(s), 5, nil
}

// language is an ISO 639 code of two letters (TS 102 221, 13.3).
type language struct{}

func (language) put(dst []byte, v Value) ([]byte, error) {
	s, err := wantText(v)
	if err != nil {
		return nil, err
	}
	if len(s) != 2 || s[0] < 'a' || s[0] > 'z' || s[1] < 'a' || s[1] > 'z' {
		return nil, fmt.Errorf("%q is not a language code of two small letters", s)
	}
	return append(dst, s...), nil
}

func (language) get(b []byte) (Value, int, error) {
	if err := short(b, 2); err != nil {
		return Value{}, 0, err
	}
	if _, err := (language{}).put(nil, Text(string(b[:2]))); err != nil {
		return Value{}, 0, err
	}
	return Text(string(b[:2])), 2, nil
}

// alpha is a name: the default alphabet of TS 23.038, one byte a character, or
// 80 and UCS2 (TS 102 221, annex A). 0 means all that is left; another size is
// padded with FF.
type alpha int

// gsm holds the characters of the default alphabet whose code is not their
// ASCII code. ASCII characters without a code of their own need UCS2.
var gsm = [...]struct {
	r    rune
	code byte
}{{'@', 0x00}, {'£', 0x01}, {'$', 0x02}, {'_', 0x11}, {'¤', 0x24}}

func gsmCode(r rune) (byte, bool) {
	for _, g := range gsm {
		if g.r == r {
			return g.code, true
		}
	}
	if r < 0x20 || r > 0x7A || strings.ContainsRune("@$_[\\]^`", r) {
		return 0, false
	}
	return byte(r), true
}

func gsmRune(code byte) (rune, bool) {
	for _, g := range gsm {
		if g.code == code {
			return g.r, true
		}
	}
	_, ok := gsmCode(rune(code))
	return rune(code), ok
}

func (a alpha) put(dst []byte, v Value) ([]byte, error) {
	s, err := wantText(v)
	if err != nil {
		return nil, err
	}
	at := len(dst)
	plain := true
	for _, r := range s {
		_, ok := gsmCode(r)
		plain = plain && ok
	}
	if plain {
		for _, r := range s {
			c, _ := gsmCode(r)
			dst = append(dst, c)
		}
	} else {
		dst = append(dst, 0x80)
		for _, r := range s {
			if r > 0xFFFF || utf16.IsSurrogate(r) || r == 0xFFFF || r == 0xFFFD {
				return nil, fmt.Errorf("%q has a character that UCS2 has not", s)
			}
			dst = append(dst, byte(r>>8), byte(r))
		}
	}
	if a > 0 {
		if len(dst)-at > int(a) {
			return nil, fmt.Errorf("%q takes %d bytes, want at most %d", s, len(dst)-at, int(a))
		}
		for len(dst)-at < int(a) {
			dst = append(dst, 0xFF)
		}
	}
	return dst, nil
}

func (a alpha) get(b []byte) (Value, int, error) {
	n := int(a)
	if n == 0 {
		n = len(b)
	}
	if err := short(b, n); err != nil {
		return Value{}, 0, err
	}
	var s strings.Builder
	if n > 0 && b[0] == 0x80 {
		rest := b[1:n]
		for len(rest) >= 2 && !erased(rest[:2]) {
			r := rune(rest[0])<<8 | rune(rest[1])
			if utf16.IsSurrogate(r) || r == 0xFFFD {
				return Value{}, 0, fmt.Errorf("%04X is not a UCS2 character", r)
			}
			s.WriteRune(r)
			rest = rest[2:]
		}
		if !erased(rest) {
			return Value{}, 0, errors.New("bytes after the end of a UCS2 name")
		}
	} else {
		text := trimErased(b[:n])
		for _, c := range text {
			r, ok := gsmRune(c)
			if !ok {
				return Value{}, 0, fmt.Errorf("%02X is not a character of the default alphabet that we know", c)
			}
			s.WriteRune(r)
		}
	}
	v := Text(s.String())
	// Two spellings of one name would make the file malleable.
	if again, err := alpha(n).put(nil, v); err != nil || !bytes.Equal(again, b[:n]) {
		return Value{}, 0, fmt.Errorf("%X is not how this name is coded", b[:n])
	}
	return v, n, nil
}

// address is a length byte, the type of number and BCD digits in a field of
// size bytes (TS 31.102, 4.2.26; TS 24.008, 10.5.4.7): +919812345678, a number
// without + of unknown type, or none.
type address struct {
	size   int  // bytes, the length byte included
	digits bool // the length counts digits (TP-Destination Address), not bytes
}

func (a address) put(dst []byte, v Value) ([]byte, error) {
	s, err := wantText(v)
	if err != nil {
		return nil, err
	}
	end := len(dst) + a.size
	if s != "none" {
		num, ton := s, byte(0x81)
		if strings.HasPrefix(s, "+") {
			num, ton = s[1:], 0x91
		}
		packed, err := bcd(num)
		if err != nil {
			return nil, err
		}
		if len(packed) > a.size-2 || len(packed) == 0 {
			return nil, fmt.Errorf("%q has %d digits, want 1 to %d", s, len(num), 2*(a.size-2))
		}
		n := 1 + len(packed)
		if a.digits {
			n = len(num)
		}
		dst = append(append(dst, byte(n), ton), packed...)
	}
	for len(dst) < end {
		dst = append(dst, 0xFF)
	}
	return dst, nil
}

func (a address) get(b []byte) (Value, int, error) {
	if err := short(b, a.size); err != nil {
		return Value{}, 0, err
	}
	b = b[:a.size]
	if erased(b) {
		return Text("none"), a.size, nil
	}
	n := int(b[0]) - 1
	if a.digits {
		n = (int(b[0]) + 1) / 2
	}
	if n < 1 || n > a.size-2 || !erased(b[2+n:]) {
		return Value{}, 0, fmt.Errorf("length byte %02X does not fit the address", b[0])
	}
	num, err := bcdDigits(b[2 : 2+n])
	if err != nil {
		return Value{}, 0, err
	}
	if a.digits && len(num) != int(b[0]) {
		return Value{}, 0, fmt.Errorf("address has %d digits, length byte says %d", len(num), b[0])
	}
	switch b[1] {
	case 0x91:
		num = "+" + num
	case 0x81:
	default:
		return Value{}, 0, fmt.Errorf("type of number %02X, want 81 or 91", b[1])
	}
	return Text(num), a.size, nil
}

const bcdSet = "0123456789*#p" // TS 31.102, table 4.4

func bcd(s string) ([]byte, error) {
	var b []byte
	for i := range len(s) {
		d := strings.IndexByte(bcdSet, s[i])
		if d < 0 {
			return nil, fmt.Errorf("%q is not a digit, * or #", s[i])
		}
		if i%2 == 0 {
			b = append(b, 0xF0|byte(d))
		} else {
			b[i/2] = b[i/2]&0x0F | byte(d)<<4
		}
	}
	return b, nil
}

func bcdDigits(b []byte) (string, error) {
	var s []byte
	for i, c := range b {
		lo, hi := int(c&0xF), int(c>>4)
		if lo >= len(bcdSet) || hi >= len(bcdSet) && (hi != 0xF || i != len(b)-1) {
			return "", fmt.Errorf("%02X is not two BCD digits", c)
		}
		s = append(s, bcdSet[lo])
		if hi != 0xF {
			s = append(s, bcdSet[hi])
		}
	}
	return string(s), nil
}

// packed is BCD digits in that many bytes, F-padded.
type packed int

func (p packed) put(dst []byte, v Value) ([]byte, error) {
	s, err := wantText(v)
	if err != nil {
		return nil, err
	}
	b, err := bcd(s)
	if err != nil {
		return nil, err
	}
	if len(b) > int(p) || len(b) == 0 {
		return nil, fmt.Errorf("%q has %d digits, want 1 to %d", s, len(s), 2*int(p))
	}
	dst = append(dst, b...)
	for range int(p) - len(b) {
		dst = append(dst, 0xFF)
	}
	return dst, nil
}

func (p packed) get(b []byte) (Value, int, error) {
	if err := short(b, int(p)); err != nil {
		return Value{}, 0, err
	}
	s, err := bcdDigits(trimErased(b[:p]))
	if err == nil && s == "" {
		err = errors.New("no digits")
	}
	return Text(s), int(p), err
}

// elastic is a record with a name in it that takes what the other fields leave
// (the alpha identifier of EF.MSISDN, EF.SMSP and EF.ECC).
type elastic struct {
	before, after record
	fixed         int            // bytes of before and after
	name          string         // of what is between them; "": name
	middle        func(int) part // that many bytes of it; nil: alpha
}

func (e elastic) between() string {
	if e.name == "" {
		return "name"
	}
	return e.name
}

func (e elastic) room(n int) part {
	if e.middle == nil {
		return alpha(n)
	}
	return e.middle(n)
}

func (e elastic) put(dst []byte, v Value) ([]byte, error) { return e.putSize(dst, v, e.fixed) }

func (e elastic) putSize(dst []byte, v Value, size int) ([]byte, error) {
	if v.Fields == nil {
		return nil, fmt.Errorf("%s, want fields", v.kind())
	}
	var before, after, name Value
	before.Fields, after.Fields = []Field{}, []Field{}
	for _, f := range v.Fields {
		switch {
		case f.Name == e.between():
			name = f.Value
		case slices.ContainsFunc(e.before, func(m member) bool { return m.name == f.Name }):
			before.Fields = append(before.Fields, f)
		default:
			after.Fields = append(after.Fields, f)
		}
	}
	dst, err := e.before.put(dst, before)
	if err != nil {
		return nil, err
	}
	room := max(size, e.fixed) - e.fixed
	if room == 0 && name.Text != "" {
		return nil, fmt.Errorf("%s: the record has no room for one", e.between())
	}
	if room > 0 {
		if dst, err = e.room(room).put(dst, name); err != nil {
			return nil, fmt.Errorf("%s: %w", e.between(), err)
		}
	}
	return e.after.put(dst, after)
}

func (e elastic) get(b []byte) (Value, int, error) {
	if err := short(b, e.fixed); err != nil {
		return Value{}, 0, err
	}
	v, at, err := e.before.get(b)
	if err != nil {
		return Value{}, 0, err
	}
	if room := len(b) - e.fixed; room > 0 {
		name, _, err := e.room(room).get(b[at : at+room])
		if err != nil {
			return Value{}, 0, fmt.Errorf("%s: %w", e.between(), err)
		}
		if name.Text != "" {
			v.Fields = append(v.Fields, Field{e.between(), name})
		}
		at += room
	}
	rest, _, err := e.after.get(b[at:])
	if err != nil {
		return Value{}, 0, err
	}
	v.Fields = append(v.Fields, rest.Fields...)
	return v, len(b), nil
}

// objects is data objects with one-byte tags, each under its name, inside an
// optional template. Objects that are left out are not there; those that are
// follow the order of the clause.
type objects struct {
	template byte // 00: none
	each     []object
}

type object struct {
	name string
	tag  byte
	part part
}

func (o objects) put(dst []byte, v Value) ([]byte, error) {
	if v.Fields == nil {
		return nil, fmt.Errorf("%s, want fields", v.kind())
	}
	for _, f := range v.Fields {
		if !slices.ContainsFunc(o.each, func(x object) bool { return x.name == f.Name }) {
			return nil, fmt.Errorf("unknown field %s", f.Name)
		}
	}
	var body []byte
	for _, x := range o.each {
		f, ok := v.Get(x.name)
		if !ok {
			continue
		}
		content, err := x.part.put(nil, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", x.name, err)
		}
		body = AppendTLV(body, Tag(x.tag), content...)
	}
	if o.template == 0 {
		return append(dst, body...), nil
	}
	return AppendTLV(dst, Tag(o.template), body...), nil
}

func (o objects) get(b []byte) (Value, int, error) {
	body, n := b, len(b)
	if o.template != 0 {
		var err error
		if body, n, err = takeObject(b, o.template); err != nil {
			return Value{}, 0, err
		}
	} else {
		// Without a template the first byte that is no tag of ours ends the objects.
		n = 0
		for n < len(b) && slices.ContainsFunc(o.each, func(x object) bool { return x.tag == b[n] }) {
			_, took, err := takeObject(b[n:], b[n])
			if err != nil {
				return Value{}, 0, err
			}
			n += took
		}
		body = b[:n]
	}
	v, err := o.whole(body)
	return v, n, err
}

// whole reads objects that fill b.
func (o objects) whole(b []byte) (Value, error) {
	v := Value{Fields: []Field{}}
	for _, x := range o.each {
		if len(b) == 0 || b[0] != x.tag {
			continue
		}
		content, took, err := takeObject(b, x.tag)
		if err != nil {
			return Value{}, fmt.Errorf("%s: %w", x.name, err)
		}
		f, used, err := x.part.get(content)
		if err == nil && used != len(content) {
			err = fmt.Errorf("%d bytes too many", len(content)-used)
		}
		if err != nil {
			return Value{}, fmt.Errorf("%s: %w", x.name, err)
		}
		v.Fields = append(v.Fields, Field{x.name, f})
		b = b[took:]
	}
	if len(b) > 0 {
		return Value{}, fmt.Errorf("unexpected data object %02X", b[0])
	}
	return v, nil
}

// takeObject reads the data object with this tag from the start of b and says
// how many bytes it took.
func takeObject(b []byte, tag byte) (content []byte, n int, err error) {
	o, rest, err := ReadTLV(b)
	if err != nil {
		return nil, 0, err
	}
	if o.Tag != Tag(tag) {
		return nil, 0, fmt.Errorf("data object %X, want %02X", uint32(o.Tag), tag)
	}
	return o.Value, len(b) - len(rest), nil
}

// routing is a routing indicator: one to four digits, then FF FF (TS 31.102,
// 4.4.11.11).
type routing struct{}

func (routing) put(dst []byte, v Value) ([]byte, error) {
	dst, err := packed(2).put(dst, v)
	if err != nil {
		return nil, err
	}
	if i := strings.IndexAny(v.Text, "*#p"); i >= 0 {
		return nil, fmt.Errorf("%q is not a digit", v.Text[i])
	}
	return append(dst, 0xFF, 0xFF), nil
}

func (routing) get(b []byte) (Value, int, error) {
	if err := short(b, 4); err != nil {
		return Value{}, 0, err
	}
	if !erased(b[2:4]) {
		return Value{}, 0, fmt.Errorf("bytes 3 and 4 are %X, want FFFF", b[2:4])
	}
	v, _, err := packed(2).get(b)
	if err != nil {
		return Value{}, 0, err
	}
	_, err = routing{}.put(nil, v)
	return v, 4, err
}

// keyList is the home network public keys of EF.SUCI_Calc_Info: pairs of data
// objects 80 (identifier) and 81 (key).
type keyList struct{}

var keyPair = objects{each: []object{{"id", 0x80, number(1)}, {"key", 0x81, raw(0)}}}

func (keyList) put(dst []byte, v Value) ([]byte, error) {
	if v.List == nil {
		return nil, fmt.Errorf("%s, want a list", v.kind())
	}
	for i, e := range v.List {
		if len(e.Fields) != 2 {
			return nil, fmt.Errorf("element %d: %s, want fields id, key", i+1, e.kind())
		}
		var err error
		if dst, err = keyPair.put(dst, e); err != nil {
			return nil, fmt.Errorf("element %d: %w", i+1, err)
		}
	}
	return dst, nil
}

func (keyList) get(b []byte) (Value, int, error) {
	v := Value{List: []Value{}}
	at := 0
	for at < len(b) {
		_, id, err := takeObject(b[at:], 0x80)
		if err != nil {
			return Value{}, 0, err
		}
		_, key, err := takeObject(b[at+id:], 0x81)
		if err != nil {
			return Value{}, 0, err
		}
		e, err := keyPair.whole(b[at : at+id+key])
		if err != nil {
			return Value{}, 0, err
		}
		v.List = append(v.List, e)
		at += id + key
	}
	return v, at, nil
}
