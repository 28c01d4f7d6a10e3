package uicc

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// A Mode is the access mode byte of a rule: the operations that it is about
// (TS 102 221, 9.2.3, by ISO/IEC 7816-4). The same bits mean other things for
// an EF than for a DF.
type Mode byte

// The bits of the access mode byte of an EF.
const (
	ModeRead       Mode = 0x01
	ModeUpdate     Mode = 0x02
	ModeWrite      Mode = 0x04
	ModeDeactivate Mode = 0x08
	ModeActivate   Mode = 0x10
	ModeTerminate  Mode = 0x20
	ModeDelete     Mode = 0x40
)

// The bits of the access mode byte of a DF that differ from an EF's.
const (
	ModeDeleteChild Mode = 0x01
	ModeCreateEF    Mode = 0x02
	ModeCreateDF    Mode = 0x04
)

// A Rule is one rule of a record of EF.ARR (TS 102 221, 9.2.4): the operations
// of Mode, or the one command with the instruction byte INS, need the
// condition. The zero Rule is about nothing and allows nothing.
type Rule struct {
	Mode      Mode
	INS       byte // only if Mode is 0
	Condition Condition
}

// A Condition is a security condition in the card's own coding: one SC_DO
// (TS 102 221, 9.2.4). It is made by Always, Never, Verified, Any and All. The
// zero Condition is never met.
type Condition string

// Always is met by anyone.
func Always() Condition { return "\x90\x00" }

// Never is not met by anyone.
func Never() Condition { return "\x97\x00" }

// Verified is met when the PIN or ADM with this key reference was verified.
func Verified(reference byte) Condition {
	return Condition([]byte{0xA4, 0x06, 0x83, 0x01, reference, 0x95, 0x01, 0x08})
}

// Any is met when one of the conditions is.
func Any(conditions ...Condition) Condition { return template(0xA0, conditions) }

// All is met when every one of the conditions is. All of nothing is never met.
func All(conditions ...Condition) Condition { return template(0xAF, conditions) }

func template(tag Tag, conditions []Condition) Condition {
	var b []byte
	for _, c := range conditions {
		b = append(b, c...)
	}
	return Condition(AppendTLV(nil, tag, b...))
}

// Met reports whether the condition is met, asking verified about key
// references. What does not parse is not met.
func (c Condition) Met(verified func(reference byte) bool) bool { return met([]byte(c), verified) }

// met runs over one SC_DO.
func met(b []byte, verified func(byte) bool) bool {
	t, rest, err := ReadTLV(b)
	if err != nil || len(rest) > 0 {
		return false
	}
	switch t.Tag {
	case 0x90:
		return len(t.Value) == 0
	case 0xA4:
		reference, ok := keyReference(t.Value)
		return ok && verified(reference)
	case 0xA0, 0xAF:
		or := t.Tag == 0xA0
		v := t.Value
		for len(v) > 0 {
			_, rest, err := ReadTLV(v)
			if err != nil {
				return false
			}
			if met(v[:len(v)-len(rest)], verified) == or {
				return or
			}
			v = rest
		}
		return !or && len(t.Value) > 0
	}
	return false
}

// keyReference reads the control reference template of a user authentication:
// key reference 83 and usage qualifier 95 with the value 08, user
// authentication, in either order.
func keyReference(v []byte) (byte, bool) {
	if len(v) != 6 {
		return 0, false
	}
	if bytes.HasPrefix(v, []byte{0x95, 0x01, 0x08, 0x83, 0x01}) {
		return v[5], true
	}
	return v[2], v[0] == 0x83 && v[1] == 0x01 && bytes.HasSuffix(v, []byte{0x95, 0x01, 0x08})
}

// check reports what makes a condition one that Met cannot judge.
func check(b []byte, depth int) error {
	t, rest, err := ReadTLV(b)
	switch {
	case err != nil:
		return err
	case len(rest) > 0:
		return fmt.Errorf("%d bytes follow a condition", len(rest))
	case depth > 4:
		return errors.New("conditions nested more than four deep")
	}
	switch t.Tag {
	case 0x90, 0x97:
		if len(t.Value) > 0 {
			return fmt.Errorf("condition %X has %d bytes, want none", uint32(t.Tag), len(t.Value))
		}
	case 0xA4:
		if _, ok := keyReference(t.Value); !ok {
			return errors.New("condition A4 is not a key reference with usage 08")
		}
	case 0xA0, 0xAF:
		v := t.Value
		for len(v) > 0 {
			_, rest, err := ReadTLV(v)
			if err != nil {
				return err
			}
			if err := check(v[:len(v)-len(rest)], depth+1); err != nil {
				return err
			}
			v = rest
		}
	default:
		return fmt.Errorf("condition %X is not known", uint32(t.Tag))
	}
	return nil
}

// String writes the condition for people: "PIN1 or ADM1".
func (c Condition) String() string {
	if check([]byte(c), 0) != nil {
		return "never (malformed)"
	}
	t, _, _ := ReadTLV([]byte(c))
	switch t.Tag {
	case 0x90:
		return "always"
	case 0xA4:
		reference, _ := keyReference(t.Value)
		return ReferenceName(reference)
	case 0xA0, 0xAF:
		var parts []string
		for o := range TLVs(t.Value) {
			part := Condition(AppendTLV(nil, o.Tag, o.Value...)).String()
			if o.Tag == 0xA0 || o.Tag == 0xAF {
				part = "(" + part + ")"
			}
			parts = append(parts, part)
		}
		if len(parts) == 0 {
			return "never"
		}
		if t.Tag == 0xA0 {
			return strings.Join(parts, " or ")
		}
		return strings.Join(parts, " and ")
	}
	return "never"
}

// ReferenceName names a key reference (TS 102 221, table 9.3): PIN1 is 01,
// the second PIN of an application is 81, ADM1..ADM5 are 0A..0E.
func ReferenceName(reference byte) string {
	switch {
	case reference == 0x11:
		return "universal PIN"
	case reference >= 0x01 && reference <= 0x08:
		return fmt.Sprintf("PIN%d", reference)
	case reference == 0x81:
		return "PIN2"
	case reference >= 0x0A && reference <= 0x0E:
		return fmt.Sprintf("ADM%d", reference-0x09)
	case reference >= 0x8A && reference <= 0x8E:
		return fmt.Sprintf("ADM%d", reference-0x84)
	}
	return fmt.Sprintf("key %02X", reference)
}

// ErrRule is wrapped by every error of reading access rules.
var ErrRule = errors.New("wrong access rule")

// AppendRules appends the content of a record of EF.ARR to dst, unpadded.
func AppendRules(dst []byte, rules ...Rule) []byte {
	for _, r := range rules {
		if r.Mode != 0 {
			dst = AppendTLV(dst, 0x80, byte(r.Mode))
		} else {
			dst = AppendTLV(dst, 0x84, r.INS)
		}
		dst = append(dst, r.Condition...)
	}
	return dst
}

// ParseRules reads a record of EF.ARR, padded with FF or not. What it returns,
// appended again, is the record without its padding.
func ParseRules(record []byte) ([]Rule, error) {
	var rules []Rule
	for r, err := range eachRule(record) {
		if err == nil {
			err = check(r.condition, 0)
		}
		if err != nil {
			return nil, fmt.Errorf("%w %d: %w", ErrRule, len(rules)+1, err)
		}
		rules = append(rules, Rule{r.mode, r.ins, Condition(r.condition)})
	}
	return rules, nil
}

// Allowed reports whether the rules of a record of EF.ARR allow the operation:
// some rule is about one of the bits of mode, or about the instruction byte
// ins, and its condition is met. A record that does not parse allows nothing
// from the fault on.
func Allowed(record []byte, mode Mode, ins byte, verified func(reference byte) bool) bool {
	for r, err := range eachRule(record) {
		if err != nil {
			return false
		}
		about := r.mode&mode != 0 || r.mode == 0 && r.ins == ins
		if about && met(r.condition, verified) {
			return true
		}
	}
	return false
}

// A rawRule aliases the record that it stands in.
type rawRule struct {
	mode      Mode
	ins       byte
	condition []byte
}

func eachRule(b []byte) iter.Seq2[rawRule, error] {
	return func(yield func(rawRule, error) bool) {
		for len(b) > 0 && b[0] != 0xFF {
			r, rest, err := readRule(b)
			if !yield(r, err) || err != nil {
				return
			}
			b = rest
		}
		for i, x := range b {
			if x != 0xFF {
				yield(rawRule{}, fmt.Errorf("byte %d of the padding is %02X, want FF", i, x))
				return
			}
		}
	}
}

// readRule reads an AM_DO and the SC_DO behind it.
func readRule(b []byte) (r rawRule, rest []byte, err error) {
	am, rest, err := ReadTLV(b)
	if err != nil {
		return r, nil, err
	}
	switch {
	case am.Tag == 0x80 && len(am.Value) == 1 && am.Value[0] != 0:
		r.mode = Mode(am.Value[0])
	case am.Tag == 0x84 && len(am.Value) == 1:
		r.ins = am.Value[0]
	default:
		return r, nil, fmt.Errorf("access mode %X with %d bytes is not known", uint32(am.Tag), len(am.Value))
	}
	_, after, err := ReadTLV(rest)
	if err != nil {
		return r, nil, err
	}
	r.condition = rest[:len(rest)-len(after)]
	return r, after, nil
}
