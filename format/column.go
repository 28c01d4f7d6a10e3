package format

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"ankan/hsm"
	"ankan/sim"
)

// A Column is one value of a row: of which source it is, what is done to it, and
// how it stands in the file. The zero Column is none.
type Column struct {
	name     string // as files write it; in a row of text, the source
	text     string // of the layout: the source and its functions
	kind     kind
	slot     string           // of a card's record; "" if the value does not come from there
	field    Field            // of a header's value
	variant  sim.ICCIDVariant // of an ICCID; 0: the contract's
	receiver string           // of a key: whose transport key encrypts it; "" is the order's only one
	cipher   Cipher           // of a key: by what it is encrypted; Any: by what the transport key is of
	iv       []byte           // of a key that is encrypted in CBC mode; nil: ECB
	method   hsm.KCVMethod    // of a check value
	does     []function       // in turn
	lossy    bool             // the text does not tell the value
	last     bool             // of an identity: of the last one of a run
	words    []string         // the values that stand by other words in the file; nil: all, as they are
	least    int              // bytes in a file
	most     int
	chars    charset
}

type kind uint8

const (
	iccidCell  kind = iota + 1
	imsiCell        // 15 digits
	msisdnCell      // digits
	accCell         // four hexadecimal digits
	codeCell        // PIN, PUK, ADM: 4 to 8 digits
	sealedCell      // hexadecimal digits of one or two encrypted 16-byte values: K, OPc, TOPc
	textCell        // a word without blanks
	kcvCell         // hexadecimal digits of a key's check value
	fieldCell       // a value of the header
	serialCell      // the card's number in the order, from 1
	countCell       // of a run of identities in an order
	rowsCell        // rows of the file
	linesCell       // lines of the file, this one's text with them
	crcCell         // CRC-32 of the rows' bytes, eight hexadecimal digits
	shaCell         // SHA-256 of the rows' bytes, 64 hexadecimal digits
	markCell        // ${columns} and ${input}
)

// A charset is the characters that may stand in a value; line stands for all
// but control characters.
type charset string

const (
	digits charset = "0123456789"
	upper  charset = digits + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	token  charset = upper + "abcdefghijklmnopqrstuvwxyz_-."
	hexes  charset = digits + "ABCDEF"
	lowhex charset = digits + "abcdef"
	b64    charset = upper + "abcdefghijklmnopqrstuvwxyz+/="
	line   charset = "any character of a line"
)

func (s charset) has(c byte) bool {
	if s == line {
		return c != '\n' && c != '\r'
	}
	return strings.IndexByte(string(s), c) >= 0
}

// String is the column's name.
func (c Column) String() string { return c.name }

// Slot is the slot of a card's record (package profile) that the column
// shows; "" for a column that is not of the card.
func (c Column) Slot() string { return c.slot }

// Sealed reports whether the column carries a key, encrypted under the
// transport key.
func (c Column) Sealed() bool { return c.kind == sealedCell }

// Receiver names whose transport key encrypts a Sealed column; "" is the one that
// the order names as transport_key.
func (c Column) Receiver() string { return c.receiver }

// A Cipher is what a Sealed column says that it is encrypted by.
type Cipher string

// The ciphers. A column that says nothing takes the one of the transport key.
const (
	Any       Cipher = ""
	AES       Cipher = "AES"
	TripleDES Cipher = "3DES"
)

// Takes says whether a column of this cipher is encrypted under a transport key of
// the algorithm; "" is AES of either length.
func (c Cipher) Takes(a hsm.Algorithm) bool {
	return c == Any || a.NeedsWaiver() == (c == TripleDES)
}

// Cipher is what a Sealed column is encrypted by.
func (c Column) Cipher() Cipher { return c.cipher }

// IV is the initialisation vector of a Sealed column that is encrypted in CBC mode,
// as long as the cipher's block: 16 bytes of AES, 8 of triple DES; nil for one in
// ECB mode, each block on its own.
func (c Column) IV() []byte { return slices.Clone(c.iv) }

// KCV is the method of a column that carries a key's check value; "" for
// another column.
func (c Column) KCV() hsm.KCVMethod { return c.method }

// KCVBytes is the bytes of a column that carries a check value: 3 or 5.
func (c Column) KCVBytes() int { return c.kcvDigits() / 2 }

// Derived reports whether Row makes the cell from the identity, the header or the
// card's number: the caller gives nil for it.
func (c Column) Derived() bool {
	switch c.kind {
	case codeCell, sealedCell, textCell, kcvCell:
		return false
	}
	return true
}

// full says whether the column's text tells its value, so that reading gives it.
func (c *Column) full() bool { return !c.lossy }

// value says that two columns show the same value.
func (c *Column) value(o *Column) bool {
	return c.kind == o.kind && c.slot == o.slot && c.field == o.field && c.receiver == o.receiver && c.cipher == o.cipher && bytes.Equal(c.iv, o.iv) && c.method == o.method && c.last == o.last
}

// number says that the value is a plain number.
func (c *Column) number() bool {
	switch c.kind {
	case serialCell, countCell, rowsCell, linesCell:
		return true
	case fieldCell:
		switch c.field.base() {
		case Quantity, TransportKey, Part, Parts:
			return true
		}
	}
	return false
}

// width is how many characters a text takes by which the column's length counts:
// letters of plain text, bytes of all else.
func (c *Column) width(text []byte) int {
	if c.chars == line {
		return utf8.RuneCount(text)
	}
	return len(text)
}

// ---- expressions: source | function(argument, ...) | ...

// A call is a name with its arguments.
type call struct {
	name string
	args []string
}

// outside cuts text at each mark that stands outside of double quotes.
func outside(text string, mark byte) []string {
	var all []string
	quoted, from := false, 0
	for i := range len(text) {
		switch {
		case text[i] == '"':
			quoted = !quoted
		case text[i] == mark && !quoted:
			all = append(all, text[from:i])
			from = i + 1
		}
	}
	return append(all, text[from:])
}

// parseCall reads name(argument, ...). An argument in double quotes may have any
// characters but those.
func parseCall(text string) (call, error) {
	name, rest, found := strings.Cut(strings.TrimSpace(text), "(")
	c := call{name: strings.TrimSpace(name)}
	if !found {
		return c, nil
	}
	rest, closed := strings.CutSuffix(rest, ")")
	if !closed || len(outside(rest, '(')) > 1 {
		return c, fmt.Errorf("%s has no closing bracket, want name(argument, argument)", shown(c.name))
	}
	for _, arg := range outside(rest, ',') {
		arg = strings.Trim(arg, blanks)
		if n := strings.Count(arg, `"`); n > 0 {
			if n != 2 || len(arg) < 2 || arg[0] != '"' || arg[len(arg)-1] != '"' {
				return c, fmt.Errorf("%s has an argument with a quote in it, want all of it in quotes, such as group(3, \",\")", shown(c.name))
			}
			arg = arg[1 : len(arg)-1]
		}
		c.args = append(c.args, arg)
	}
	return c, nil
}

// codes and keys are the values of a card's record: what layouts call them, and
// their slots.
func codeSlot(name string) string {
	switch name {
	case "pin1", "pin2", "puk1", "puk2", "adm1", "adm2", "adm3", "adm4", "adm5", "adm6":
		return strings.ToUpper(name)
	}
	return ""
}

func keySlot(name string) string {
	switch name {
	case "k", "opc":
		return strings.ToUpper(name)
	case "kic1", "kid1", "kik1":
		return "SCP80_" + strings.ToUpper(name)
	case "scp03_enc", "scp03_mac", "scp03_dek":
		return strings.ToUpper(name)
	}
	return ""
}

// parseExpression reads "source | function | ...".
func parseExpression(text string) (Column, error) {
	var calls []call
	for _, part := range outside(text, '|') {
		c, err := parseCall(part)
		if err != nil {
			return Column{}, err
		}
		calls = append(calls, c)
	}
	c := Column{name: calls[0].name, text: strings.TrimSpace(text)}
	rest, err := c.source(calls[0], calls[1:])
	if err != nil {
		return Column{}, err
	}
	if len(rest) > 0 && rest[0].name == "last" {
		if c.kind > msisdnCell || len(rest[0].args) > 0 {
			return Column{}, errors.New("last takes iccid, imsi or msisdn, and no argument: iccid | last is that of a range's last card")
		}
		c.last, rest = true, rest[1:]
	}
	for _, call := range rest {
		f, err := newFunction(call)
		if err != nil {
			return Column{}, err
		}
		if err := f.shape(&c); err != nil {
			return Column{}, fmt.Errorf("%s: %w", call.name, err)
		}
		c.does = append(c.does, f)
	}
	if c.most > maxCell && c.kind != markCell {
		return Column{}, fmt.Errorf("%s has up to %d characters, want at most %d", c.name, c.most, maxCell)
	}
	return c, nil
}

// maxCell is the most characters that a value takes in a file.
const maxCell = 256

// source sets what the value is of, and how it stands without functions. A key
// takes its first function here: without seal or kcv it would be in clear.
func (c *Column) source(s call, rest []call) ([]call, error) {
	is := func(k kind, least, most int, chars charset) { c.kind, c.least, c.most, c.chars = k, least, most, chars }
	if len(s.args) > 0 && s.name != "iccid" {
		return nil, fmt.Errorf("%s takes no argument", shown(s.name))
	}
	switch s.name {
	case "iccid":
		is(iccidCell, 18, 20, digits+"F")
		c.slot = "ICCID"
		if len(s.args) > 0 {
			v, err := sim.ParseICCIDVariant(strings.Join(s.args, " "))
			if err != nil {
				return nil, err
			}
			n := len(must(v.Append(nil, sampleICCID(v))))
			c.variant, c.least, c.most = v, n, n
			if v&sim.Padded == 0 {
				c.chars = digits
			}
		}
	case "imsi":
		is(imsiCell, 15, 15, digits)
		c.slot = "IMSI"
	case "msisdn":
		is(msisdnCell, 5, 15, digits)
		c.slot = "MSISDN"
	case "acc":
		is(accCell, 4, 4, hexes)
		c.slot = "ACC"
	case "word":
		is(textCell, 1, 64, word())
	case "serial":
		is(serialCell, 1, 9, digits)
	case "count":
		is(countCell, 1, 9, digits)
	case "rows":
		is(rowsCell, 1, 9, digits)
	case "lines":
		is(linesCell, 1, 9, digits)
	case "crc32":
		is(crcCell, 8, 8, hexes)
	case "sha256":
		is(shaCell, 64, 64, hexes)
	case string(fieldColumns), string(fieldInput):
		is(markCell, 0, maxLine, line)
		c.field = Field(s.name)
	default:
		if slot := codeSlot(s.name); slot != "" {
			is(codeCell, 4, 8, digits)
			c.slot = slot
			return rest, nil
		}
		if slot := keySlot(s.name); slot != "" {
			return c.key(slot, rest)
		}
		switch s.name {
		case "ki", "op", "k4", "psk":
			return nil, fmt.Errorf("%s is not a source: a key of the card is k or opc, and leaves only through seal; OP and K4 never leave", s.name)
		}
		if !Field(s.name).known() {
			return nil, fmt.Errorf("%s is not a source; docs/reference/formats.md has them all, and a value of your own is x_NAME", shown(s.name))
		}
		c.kind, c.field = fieldCell, Field(s.name)
		c.least, c.most, c.chars = c.field.shape()
	}
	return rest, nil
}

// key sets that the value is a key's: encrypted, or its check value.
func (c *Column) key(slot string, rest []call) ([]call, error) {
	c.slot = slot
	if len(rest) == 0 {
		return nil, fmt.Errorf("%s would stand there in clear, want %s | seal, or %s | kcv(GP)", c.name, c.name, c.name)
	}
	args := rest[0].args
	switch rest[0].name {
	case "seal":
		c.kind, c.least, c.most, c.chars = sealedCell, 32, 64, hexes
		return rest[1:], c.seal(args)
	case "kcv":
		c.kind, c.chars = kcvCell, hexes
		if len(args) == 1 {
			c.method = hsm.KCVMethod(args[0])
		}
		switch c.method {
		case hsm.GP, hsm.ECBZeros:
			c.least, c.most = 6, 6
		case hsm.CMAC:
			c.least, c.most = 10, 10
		default:
			return nil, fmt.Errorf("kcv wants one method of %s, %s, %s: a check value says nothing without it", hsm.GP, hsm.CMAC, hsm.ECBZeros)
		}
		return rest[1:], nil
	}
	return nil, fmt.Errorf("%s goes through %s first and would stand there in clear, want %s | seal, or %s | kcv(GP)", c.name, shown(rest[0].name), c.name, c.name)
}

// seal reads the arguments of seal: receiver, cipher and mode, initialisation
// vector. All may be left out: then it is ECB mode of whatever cipher the transport
// key is of. CBC mode without a cipher is of AES.
func (c *Column) seal(args []string) error {
	for _, arg := range args {
		switch low := strings.ToLower(arg); {
		case low == "ecb":
			c.iv = nil
		case low == "aes-ecb":
			c.cipher, c.iv = AES, nil
		case low == "cbc" || low == "aes-cbc":
			c.cipher, c.iv = AES, make([]byte, 16)
		case low == "3des" || low == "3des-ecb":
			c.cipher, c.iv = TripleDES, nil
		case low == "3des-cbc":
			c.cipher, c.iv = TripleDES, make([]byte, 8)
		case strings.Contains(low, "des"):
			return errors.New("seal: columns are encrypted under AES, or 3des-ecb and 3des-cbc for a transport key that the contract has under a waiver; single DES is refused")
		case c.iv != nil:
			iv, err := hex.DecodeString(arg)
			if err != nil || len(iv) != len(c.iv) {
				return fmt.Errorf("seal: the initialisation vector is not %d hexadecimal digits", 2*len(c.iv))
			}
			c.iv = iv
		case c.receiver == "" && wrongToken(arg, 16) == "" && arg == low && !strings.Contains(arg, "."):
			c.receiver = arg
		default:
			return fmt.Errorf("seal takes a receiver in small letters, and cbc with its initialisation vector; found %s", shown(arg))
		}
	}
	return nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // of values that are the program's own
	}
	return v
}

// sampleICCID is an ICCID that a variant can write.
func sampleICCID(v sim.ICCIDVariant) sim.ICCID {
	if v&sim.Digits19 != 0 {
		return must(sim.NewICCID(899199900000000001_0, 20))
	}
	return must(sim.NewICCID(899199900000000001, 19))
}

// word is the printable characters without the blank.
func word() charset {
	b := make([]byte, 0, '~'-' ')
	for c := byte('!'); c <= '~'; c++ {
		b = append(b, c)
	}
	return charset(b)
}

// ---- functions on a value's text

// A function changes the text of a value. undo gives the value's text back;
// whatever it gives is changed again and compared, so it need only be right for
// text that the function made. Its nil says that the text is lost.
type function struct {
	name  string
	shape func(c *Column) error // what becomes of length and characters
	do    func(dst []byte, from int) ([]byte, error)
	undo  func(dst, text []byte) ([]byte, error)
	from  int  // of a substring
	size  int  // likewise; 0 for other functions
	blank bool // fills with blanks
}

var errUndo = errors.New("is not what the function makes of any value")

func newFunction(c call) (function, error) {
	f := function{name: c.name}
	number := func(i int) (int, error) {
		if i >= len(c.args) {
			return 0, fmt.Errorf("%s has %d arguments, want more", shown(c.name), len(c.args))
		}
		n, err := strconv.Atoi(c.args[i])
		if err != nil || n < 0 || n > maxCell {
			return 0, fmt.Errorf("%s: argument %d is not a number from 0 to %d", shown(c.name), i+1, maxCell)
		}
		return n, nil
	}
	most := 0
	var err error
	switch c.name {
	case "swap":
		f.swap()
	case "luhn":
		f.luhn()
	case "ascii_ff":
		f.asciiFF()
	case "lower":
		f.lower()
	case "base64":
		f.base64()
	case "ef":
		f.ef()
	case "json":
		f.json()
	case "xml":
		f.xml()
	case "fixed":
		most = 1
		n, err := number(0)
		if err != nil {
			return f, err
		}
		f.fixed(n)
	case "thousands":
		most = 1
		by := ","
		if len(c.args) > 0 {
			by = c.args[0]
		}
		if r, n := utf8.DecodeRuneInString(by); n != len(by) || r == utf8.RuneError || r >= '0' && r <= '9' || unicode.IsControl(r) {
			return f, fmt.Errorf("thousands parts by one character that is no digit, found %s; a comma or a blank is written in quotes: thousands(\",\")", shown(by))
		}
		f.thousands(by)
	case "as":
		most = 2 * maxWords
		if err := f.as(c.args); err != nil {
			return f, err
		}
	case "last":
		return f, errors.New("last comes first, such as iccid | last | luhn")
	case "left", "right":
		most = 2
		var n int
		if n, err = number(0); err != nil {
			return f, err
		}
		fill := " "
		if len(c.args) > 1 && c.args[1] != "" {
			fill = c.args[1]
		}
		if len(fill) != 1 || fill[0] < ' ' || fill[0] > '~' {
			return f, fmt.Errorf("%s fills with one character, found %s", c.name, shown(fill))
		}
		f.pad(n, fill[0], c.name == "left")
	case "substring":
		most = 2
		from, err := number(0)
		n, err2 := number(1)
		if err := errors.Join(err, err2); err != nil {
			return f, err
		}
		f.substring(from, n)
	case "without":
		most = 1
		if len(c.args) != 1 || c.args[0] == "" {
			return f, errors.New("without wants what the value starts with, such as without(91)")
		}
		f.without(c.args[0])
	case "group":
		most = 2
		n, err := number(0)
		if err != nil || n == 0 {
			return f, errors.Join(err, errors.New("group wants a number of characters, such as group(4)"))
		}
		by := " "
		if len(c.args) > 1 && c.args[1] != "" {
			by = c.args[1]
		}
		if len(by) != 1 || by[0] < ' ' || by[0] > '~' {
			return f, fmt.Errorf("group parts by one character, found %s", shown(by))
		}
		f.group(n, by[0])
	case "date":
		most = 1
		if len(c.args) != 1 {
			return f, errors.New("date wants one pattern, such as date(YYMMDDhhmmss)")
		}
		if err := f.date(c.args[0]); err != nil {
			return f, err
		}
	case "method":
		most = 1
		if len(c.args) != 1 {
			return f, errors.New("method wants one of GP, CMAC, ECB-ZEROS")
		}
		f.method(c.args[0])
	case "seal", "kcv":
		return f, fmt.Errorf("%s takes a key of the card, such as k | %s; other values are not keys", c.name, c.name)
	default:
		return f, fmt.Errorf("%s is not a function; docs/reference/formats.md has them all", shown(c.name))
	}
	if len(c.args) > most {
		hint := ""
		if most == 2 {
			hint = "; a comma is written in quotes, such as group(3, \",\")"
		}
		return f, fmt.Errorf("%s has %d arguments, want at most %d%s", c.name, len(c.args), most, hint)
	}
	return f, nil
}

// swap changes places in each pair of characters.
func (f *function) swap() {
	f.shape = func(c *Column) error {
		if c.least != c.most || c.most%2 == 1 {
			return fmt.Errorf("takes an even number of characters, %s has %s; fill it first", c.name, c.size())
		}
		return nil
	}
	swap := func(b []byte) {
		for i := 0; i+1 < len(b); i += 2 {
			b[i], b[i+1] = b[i+1], b[i]
		}
	}
	f.do = func(dst []byte, from int) ([]byte, error) { swap(dst[from:]); return dst, nil }
	f.undo = func(dst, text []byte) ([]byte, error) {
		from := len(dst)
		dst = append(dst, text...)
		swap(dst[from:])
		return dst, nil
	}
}

// luhn appends the check digit of ISO/IEC 7812-1, annex B.
func (f *function) luhn() {
	f.shape = func(c *Column) error { return c.grow(digits, 1, "digits") }
	f.do = func(dst []byte, from int) ([]byte, error) {
		sum, double := 0, true
		for i := len(dst) - 1; i >= from; i-- {
			d := int(dst[i] - '0')
			if double {
				d *= 2
				d = d/10 + d%10
			}
			double = !double
			sum += d
		}
		return append(dst, byte('0'+(10-sum%10)%10)), nil
	}
	f.undo = func(dst, text []byte) ([]byte, error) {
		if len(text) == 0 {
			return dst, errUndo
		}
		return append(dst, text[:len(text)-1]...), nil
	}
}

// asciiFF writes the codes of up to eight characters as hexadecimal digits,
// filled with FF to eight bytes, as cards hold PINs (TS 102 221, 9.5.1).
func (f *function) asciiFF() {
	f.shape = func(c *Column) error {
		if c.most > 8 {
			return fmt.Errorf("takes up to 8 characters, %s has %s", c.name, c.size())
		}
		c.least, c.most, c.chars = 16, 16, hexes
		return nil
	}
	f.do = func(dst []byte, from int) ([]byte, error) {
		var b [8]byte
		n := copy(b[:], dst[from:])
		for i := n; i < len(b); i++ {
			b[i] = 0xFF
		}
		dst = appendHex(dst[:from], b[:])
		clear(b[:])
		return dst, nil
	}
	f.undo = func(dst, text []byte) ([]byte, error) {
		for i := 0; i+1 < len(text); i += 2 {
			v := nibble(text[i])<<4 | nibble(text[i+1])
			if v == 0xFF {
				break
			}
			dst = append(dst, v)
		}
		return dst, nil
	}
}

// lower writes hexadecimal digits in small letters.
func (f *function) lower() {
	f.shape = func(c *Column) error {
		if c.chars != hexes {
			return fmt.Errorf("takes hexadecimal digits, %s has others", c.name)
		}
		c.chars = lowhex
		return nil
	}
	f.do = func(dst []byte, from int) ([]byte, error) {
		for i, c := range dst[from:] {
			if c >= 'A' {
				dst[from+i] = c + 'a' - 'A'
			}
		}
		return dst, nil
	}
	f.undo = func(dst, text []byte) ([]byte, error) {
		for _, c := range text {
			if c >= 'a' {
				c -= 'a' - 'A'
			}
			dst = append(dst, c)
		}
		return dst, nil
	}
}

// base64 writes what hexadecimal digits stand for in base 64 (RFC 4648, 4).
func (f *function) base64() {
	f.shape = func(c *Column) error {
		if c.chars != hexes || c.least%2 == 1 || c.most%2 == 1 {
			return fmt.Errorf("takes whole bytes in hexadecimal digits, %s has others", c.name)
		}
		c.least, c.most, c.chars = base64.StdEncoding.EncodedLen(c.least/2), base64.StdEncoding.EncodedLen(c.most/2), b64
		return nil
	}
	f.do = func(dst []byte, from int) ([]byte, error) {
		var raw [maxCell]byte
		n, err := hex.Decode(raw[:], dst[from:])
		if err != nil {
			return dst, errUndo
		}
		return base64.StdEncoding.AppendEncode(dst[:from], raw[:n]), nil
	}
	f.undo = func(dst, text []byte) ([]byte, error) {
		var raw [maxCell]byte
		b, err := base64.StdEncoding.AppendDecode(raw[:0], text)
		if err != nil {
			return dst, errUndo
		}
		return appendHex(dst, b), nil
	}
}

// ef writes an IMSI as EF_IMSI holds it (TS 31.102, 4.2.2).
func (f *function) ef() {
	f.shape = func(c *Column) error {
		if c.kind != imsiCell || len(c.does) > 0 {
			return errors.New("takes imsi; an ICCID as EF_ICCID holds it is iccid(18 check padded swapped)")
		}
		c.least, c.most, c.chars = 18, 18, hexes
		return nil
	}
	f.do = func(dst []byte, from int) ([]byte, error) {
		id, err := sim.ParseIMSI(string(dst[from:]))
		if err != nil {
			return dst, err
		}
		ef := id.EF()
		return appendHex(dst[:from], ef[:]), nil
	}
	f.undo = func(dst, text []byte) ([]byte, error) {
		var ef [9]byte
		if n, err := hex.Decode(ef[:], text); err != nil || n != len(ef) {
			return dst, errUndo
		}
		id, err := sim.IMSIFromEF(ef)
		if err != nil {
			return dst, err
		}
		return id.Append(dst), nil
	}
}

// json escapes what JSON strings escape, and nothing else.
func (f *function) json() {
	f.shape = func(c *Column) error {
		c.most *= 2
		return nil
	}
	f.do = func(dst []byte, from int) ([]byte, error) {
		for i := from; i < len(dst); i++ {
			if dst[i] == '"' || dst[i] == '\\' {
				dst = slices.Insert(dst, i, '\\')
				i++
			}
		}
		return dst, nil
	}
	f.undo = func(dst, text []byte) ([]byte, error) {
		for i := 0; i < len(text); i++ {
			if text[i] == '\\' {
				if i++; i == len(text) || text[i] != '"' && text[i] != '\\' {
					return dst, errUndo
				}
			}
			dst = append(dst, text[i])
		}
		return dst, nil
	}
}

// pad fills with one character up to n.
func (f *function) pad(n int, fill byte, left bool) {
	f.blank = fill == ' '
	text := false // whose length counts letters
	f.shape = func(c *Column) error {
		text = c.chars == line
		// Values whose longest is longer than what partners really use: a longer
		// one is refused when it comes.
		number := c.number() || c.kind == fieldCell && c.chars == digits
		if c.most > n && !number && c.kind != fieldCell {
			return fmt.Errorf("fills to %d, %s has %s", n, c.name, c.size())
		}
		if n == 0 {
			return errors.New("fills to 0")
		}
		switch {
		case c.least >= n, !c.chars.has(fill):
		case number && left && fill == '0', c.chars == line && fill == ' ':
		case c.kind == iccidCell:
			return errors.New("would fill an ICCID, which its own words do: iccid(18 check padded)")
		default:
			return fmt.Errorf("fills with %q, which stands in values of %s too: it could not be told apart", fill, c.name)
		}
		if !c.chars.has(fill) {
			c.chars += charset(fill)
		}
		c.least, c.most = n, n
		return nil
	}
	f.do = func(dst []byte, from int) ([]byte, error) {
		size := len(dst) - from
		has := size
		if text {
			has = utf8.RuneCount(dst[from:])
		}
		if has > n {
			return dst, fmt.Errorf("has %d characters, want at most %d", has, n)
		}
		for range n - has {
			dst = append(dst, fill)
		}
		if left {
			copy(dst[from+n-has:], dst[from:from+size])
			for i := range n - has {
				dst[from+i] = fill
			}
		}
		return dst, nil
	}
	f.undo = func(dst, text []byte) ([]byte, error) {
		if left {
			return append(dst, bytes.TrimLeft(text, string(fill))...), nil
		}
		return append(dst, bytes.TrimRight(text, string(fill))...), nil
	}
}

// substring is n characters from the one at from, counted from 0.
func (f *function) substring(from, n int) {
	f.from, f.size = from, n
	f.shape = func(c *Column) error {
		if n == 0 || from+n > c.most {
			return fmt.Errorf("wants characters %d to %d, %s has %s", from+1, from+n, c.name, c.size())
		}
		c.least, c.most, c.lossy = n, n, true
		return nil
	}
	f.do = func(dst []byte, start int) ([]byte, error) {
		if start+from+n > len(dst) {
			return dst, fmt.Errorf("has %d characters, want at least %d", len(dst)-start, from+n)
		}
		return append(dst[:start], dst[start+from:start+from+n]...), nil
	}
}

// without leaves out what the value must start with.
func (f *function) without(prefix string) {
	f.shape = func(c *Column) error {
		if len(prefix) >= c.most {
			return fmt.Errorf("leaves out %d characters, %s has %s", len(prefix), c.name, c.size())
		}
		c.least, c.most = max(c.least-len(prefix), 1), c.most-len(prefix)
		return nil
	}
	f.do = func(dst []byte, from int) ([]byte, error) {
		if !bytes.HasPrefix(dst[from:], []byte(prefix)) {
			return dst, fmt.Errorf("does not start with %s", prefix)
		}
		return append(dst[:from], dst[from+len(prefix):]...), nil
	}
	f.undo = func(dst, text []byte) ([]byte, error) { return append(append(dst, prefix...), text...), nil }
}

// group sets a character after each n.
func (f *function) group(n int, by byte) {
	f.shape = func(c *Column) error {
		if c.chars.has(by) {
			return fmt.Errorf("parts by %q, which stands in values of %s too", by, c.name)
		}
		c.least, c.most, c.chars = c.least+(c.least-1)/n, c.most+(c.most-1)/n, c.chars+charset(by)
		return nil
	}
	f.do = func(dst []byte, from int) ([]byte, error) {
		for i := from + n; i < len(dst); i += n + 1 {
			dst = slices.Insert(dst, i, by)
		}
		return dst, nil
	}
	f.undo = func(dst, text []byte) ([]byte, error) {
		for _, c := range text {
			if c != by {
				dst = append(dst, c)
			}
		}
		return dst, nil
	}
}

// fixed takes values of n characters alone, so that one may follow another
// without a sign between them.
func (f *function) fixed(n int) {
	same := func(dst, text []byte) ([]byte, error) { return append(dst, text...), nil }
	text := false
	f.shape = func(c *Column) error {
		if n < c.least || n > c.most || n == 0 {
			return fmt.Errorf("wants %d characters, %s has %s", n, c.name, c.size())
		}
		text = c.chars == line
		c.least, c.most = n, n
		return nil
	}
	f.do = func(dst []byte, from int) ([]byte, error) {
		has := len(dst) - from
		if text {
			has = utf8.RuneCount(dst[from:])
		}
		if has != n {
			return dst, fmt.Errorf("has %d characters, want %d", has, n)
		}
		return dst, nil
	}
	f.undo = same
}

// thousands parts a number's digits by threes, from its end.
func (f *function) thousands(by string) {
	f.shape = func(c *Column) error {
		if !c.number() || c.chars != digits || c.least == c.most {
			return fmt.Errorf("takes a number, such as quantity or count, before other functions; %s is none", c.name)
		}
		c.most, c.chars = c.most+(c.most-1)/3*len(by), c.chars+charset(by)
		return nil
	}
	f.do = func(dst []byte, from int) ([]byte, error) {
		for i := len(dst) - 3; i > from; i -= 3 {
			dst = slices.Insert(dst, i, []byte(by)...)
		}
		return dst, nil
	}
	f.undo = func(dst, text []byte) ([]byte, error) {
		return append(dst, bytes.ReplaceAll(text, []byte(by), nil)...), nil
	}
}

// maxWords is the most words that a value may stand by.
const maxWords = 100

// as writes a value by the partner's own word for it: pairs of value and word.
func (f *function) as(args []string) error {
	if len(args) == 0 || len(args)%2 == 1 || len(args) > 2*maxWords {
		return fmt.Errorf("as wants 1 to %d pairs of a value and the word that stands for it, such as as(gold, \"5G Gold\", silver, \"5G Silver\")", maxWords)
	}
	word, value := map[string]string{}, map[string]string{}
	var values, words []string
	for i := 0; i < len(args); i += 2 {
		v, w := args[i], args[i+1]
		if _, is := word[v]; is {
			return fmt.Errorf("as has the value %s twice", shown(v))
		}
		if _, is := value[w]; is || w == "" || badByte(w) >= 0 {
			return fmt.Errorf("as has the word %s twice, or it is no text", shown(w))
		}
		word[v], value[w] = w, v
		values, words = append(values, v), append(words, strconv.Quote(w))
	}
	among := errors.New("is none of " + strings.Join(words, ", "))
	f.shape = func(c *Column) error {
		if c.kind != fieldCell || len(c.does) > 0 {
			return fmt.Errorf("takes a value of the order as it is, such as profile or transport_key, not %s", c.name)
		}
		var chars []byte
		c.least, c.most, c.words = maxCell, 0, values
		for v, w := range word {
			if wrong := c.field.Wrong(v); wrong != "" {
				return fmt.Errorf("%s %s", shown(v), wrong)
			}
			c.least, c.most, chars = min(c.least, len(w)), max(c.most, len(w)), append(chars, w...)
		}
		slices.Sort(chars)
		c.chars = charset(slices.Compact(chars))
		return nil
	}
	f.do = func(dst []byte, from int) ([]byte, error) {
		w, is := word[string(dst[from:])]
		if !is {
			return dst, errors.New("has no word in the layout")
		}
		return append(dst[:from], w...), nil
	}
	f.undo = func(dst, text []byte) ([]byte, error) {
		v, is := value[string(text)]
		if !is {
			return dst, among
		}
		return append(dst, v...), nil
	}
	return nil
}

// xml escapes what may not stand in an element or an attribute in double quotes.
func (f *function) xml() {
	f.shape = func(c *Column) error {
		c.most = min(c.most*len("&quot;"), maxCell)
		return nil
	}
	f.do = func(dst []byte, from int) ([]byte, error) {
		for i := from; i < len(dst); i++ {
			for _, e := range xmlEntities {
				if dst[i] == e.char {
					dst = slices.Replace(dst, i, i+1, []byte(e.text)...)
					i += len(e.text) - 1
					break
				}
			}
		}
		return dst, nil
	}
	f.undo = func(dst, text []byte) ([]byte, error) {
		for i := 0; i < len(text); i++ {
			c := text[i]
			for _, e := range xmlEntities {
				if c == '&' && bytes.HasPrefix(text[i:], []byte(e.text)) {
					c = e.char
					i += len(e.text) - 1
					break
				}
			}
			dst = append(dst, c)
		}
		return dst, nil
	}
}

var xmlEntities = [...]struct {
	char byte
	text string
}{{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}}

const stamp = "20060102150405"

// months are the names of the months, as MON writes them.
const months = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"

// date writes a time of 14 digits, or the date in front, by a pattern of YYYY,
// YY, MM, MON, Mon, DD, hh, mm and ss. Digits of a time that the pattern leaves out
// are unknown to a reader: '-'.
func (f *function) date(pattern string) error {
	type piece struct {
		at, n int // in the pattern
		from  int // in the stamp, as many digits; 2 for a month's name
		name  string
	}
	var pieces []piece
	for at := 0; at < len(pattern); {
		found := false
		for _, p := range []struct {
			text string
			from int
		}{{"YYYY", 0}, {"YY", 2}, {"MM", 4}, {"MON", 4}, {"Mon", 4}, {"DD", 6}, {"hh", 8}, {"mm", 10}, {"ss", 12}} {
			if strings.HasPrefix(pattern[at:], p.text) {
				pieces = append(pieces, piece{at: at, n: len(p.text), from: p.from})
				if len(p.text) == 3 {
					pieces[len(pieces)-1].name = p.text
				}
				at, found = at+len(p.text), true
				break
			}
		}
		if c := pattern[at:]; !found {
			if c[0] != 'T' && (c[0] >= 'A' && c[0] <= 'Z' || c[0] >= 'a' && c[0] <= 'z') {
				return fmt.Errorf("date: %q in the pattern is none of YYYY, YY, MM, MON, Mon, DD, hh, mm, ss", c[0])
			}
			at++
		}
	}
	need, has := 0, 0
	for _, p := range pieces {
		need = max(need, p.from+2+p.n/4*2)
		has |= 1 << p.from
		if p.n == 4 {
			has |= 1 << 2
		}
	}
	const day = 1<<2 | 1<<4 | 1<<6
	written := false
	f.shape = func(c *Column) error {
		if c.field != OrderDate && c.field != Written {
			return fmt.Errorf("takes date or written, not %s", c.name)
		}
		written = c.field == Written
		if has == 0 || has&day != day && !written {
			c.lossy = true
		}
		n := utf8.RuneCountInString(pattern)
		c.least, c.most, c.chars = n, n, line
		if strings.Trim(pattern, "YMDhms") == "" {
			c.chars = digits
		}
		return nil
	}
	f.do = func(dst []byte, from int) ([]byte, error) {
		var t [14]byte
		if n := copy(t[:], dst[from:]); n < need {
			return dst, fmt.Errorf("has %d digits, want %d for the pattern %s", n, need, pattern)
		}
		dst = append(dst[:from], pattern...)
		for _, p := range pieces {
			to := dst[from+p.at : from+p.at+p.n]
			if p.name == "" {
				copy(to, t[p.from:])
				continue
			}
			month, err := strconv.Atoi(string(t[4:6]))
			if err != nil || month < 1 || month > 12 {
				return dst, errors.New("has no month from 01 to 12")
			}
			copy(to, months[month*3-3:])
			if p.name == "Mon" {
				to[1] |= 0x20
				to[2] |= 0x20
			}
		}
		return dst, nil
	}
	f.undo = func(dst, text []byte) ([]byte, error) {
		if len(text) != len(pattern) {
			return dst, errUndo
		}
		t := []byte("20000000000000")
		if written {
			copy(t, "--------------")
		}
		for _, p := range pieces {
			digits := text[p.at : p.at+p.n]
			if p.name != "" {
				i := strings.Index(months, strings.ToUpper(string(digits)))
				if i < 0 || i%3 != 0 {
					return dst, fmt.Errorf("has no month of three letters, such as %s", months[:3])
				}
				digits = fmt.Appendf(nil, "%02d", i/3+1)
			}
			if strings.Trim(string(digits), "0123456789") != "" {
				return dst, fmt.Errorf("has something else than digits, want %s", pattern)
			}
			if p.from == 2 && t[0] == '-' {
				copy(t, "20")
			}
			copy(t[p.from:], digits)
		}
		if written {
			return append(dst, t...), nil
		}
		return append(dst, t[:max(need, 8)]...), nil
	}
	return nil
}

// method is a check value's digits; the layout says its method.
func (f *function) method(name string) {
	f.shape = func(c *Column) error {
		if c.field.base() != TransportKCV {
			return errors.New("takes transport_kcv")
		}
		c.least, c.most, c.chars = 6, 10, hexes
		return nil
	}
	f.do = func(dst []byte, from int) ([]byte, error) {
		value, ok := bytes.CutSuffix(dst[from:], []byte(" "+name))
		if !ok {
			return dst, fmt.Errorf("is of another method than %s", name)
		}
		return dst[:from+len(value)], nil
	}
	f.undo = func(dst, text []byte) ([]byte, error) { return append(append(append(dst, text...), ' '), name...), nil }
}

// size is how many characters a value takes.
func (c *Column) size() string {
	if c.least == c.most {
		return strconv.Itoa(c.most)
	}
	return fmt.Sprintf("%d to %d", c.least, c.most)
}

func (c *Column) grow(chars charset, by int, what string) error {
	if c.chars != chars {
		return fmt.Errorf("takes %s, %s has others", what, c.name)
	}
	c.least += by
	c.most += by
	return nil
}

// apply does the functions on dst[from:].
func (c *Column) apply(dst []byte, from int) (_ []byte, err error) {
	for i := range c.does {
		if dst, err = c.does[i].do(dst, from); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// otherwise says of text that no functions make how they would.
func (c *Column) otherwise(err error) error {
	if errors.Is(err, errUndo) {
		return fmt.Errorf("is written in another way than the layout's ${%s}", c.text)
	}
	return err
}

// plain undoes the functions on text and does them again: only text that they
// make is taken. What it gives stands in buf.
func (c *Column) plain(buf, text []byte) (value, rest []byte, err error) {
	value = text
	for i := len(c.does) - 1; i >= 0; i-- {
		from := len(buf)
		if buf, err = c.does[i].undo(buf, value); err != nil {
			return nil, buf, c.otherwise(err)
		}
		value = buf[from:]
	}
	from := len(buf)
	buf = append(buf, value...)
	if buf, err = c.apply(buf, from); err != nil {
		return nil, buf, err
	}
	if !bytes.Equal(buf[from:], text) {
		return nil, buf, c.otherwise(errUndo)
	}
	clear(buf[from:])
	return value, buf[:from], nil
}
