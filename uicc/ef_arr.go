package uicc

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseCondition reads a security condition as people write it: always, never,
// a key reference (pin1, pin2, adm1 to adm5), or several joined by "or", or
// by "and".
func ParseCondition(s string) (Condition, error) {
	switch s {
	case always:
		return Always(), nil
	case never:
		return Never(), nil
	}
	for _, join := range []struct {
		word string
		of   func(...Condition) Condition
	}{{" or ", Any}, {" and ", All}} {
		if !strings.Contains(s, join.word) {
			continue
		}
		var all []Condition
		for _, part := range strings.Split(s, join.word) {
			r, err := keyByName(part)
			if err != nil {
				return "", err
			}
			all = append(all, Verified(r))
		}
		return join.of(all...), nil
	}
	r, err := keyByName(s)
	if err != nil {
		return "", err
	}
	return Verified(r), nil
}

// keyByName is the key reference with this name, in small letters.
func keyByName(name string) (byte, error) {
	for _, r := range [...]byte{0x01, 0x81, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E} {
		if name == strings.ToLower(ReferenceName(r)) {
			return r, nil
		}
	}
	return 0, fmt.Errorf("%q is not always, never, pin1, pin2 or adm1 to adm5", name)
}

// accessRules is a record of EF.ARR as a list of rules: the access mode byte
// and the condition ("03 pin1 or adm1"), or a command ("INS D4 adm1").
type accessRules struct{}

func (accessRules) put(dst []byte, v Value) ([]byte, error) {
	if v.List == nil {
		return nil, fmt.Errorf("%s, want a list of rules", v.kind())
	}
	for i, e := range v.List {
		s, err := wantText(e)
		if err == nil {
			var r Rule
			if r, err = parseRule(s); err == nil {
				dst = AppendRules(dst, r)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("rule %d: %w", i+1, err)
		}
	}
	return dst, nil
}

func parseRule(s string) (r Rule, err error) {
	rest, command := strings.CutPrefix(s, "INS ")
	code, condition, ok := strings.Cut(rest, " ")
	b, err := strconv.ParseUint(code, 16, 8)
	if !ok || err != nil || len(code) != 2 || !command && b == 0 {
		return r, fmt.Errorf("%q has no access mode byte", s)
	}
	if command {
		r.INS = byte(b)
	} else {
		r.Mode = Mode(b)
	}
	r.Condition, err = ParseCondition(condition)
	return r, err
}

func (accessRules) get(b []byte) (Value, int, error) {
	end := len(trimErased(b))
	rules, err := ParseRules(b[:end])
	if err != nil {
		return Value{}, 0, err
	}
	v := Value{List: []Value{}}
	for _, r := range rules {
		condition := strings.ToLower(r.Condition.String())
		if c, err := ParseCondition(condition); err != nil || c != r.Condition {
			return Value{}, 0, fmt.Errorf("condition %X has no short form", []byte(r.Condition))
		}
		if r.Mode != 0 {
			v.List = append(v.List, Text(fmt.Sprintf("%02X %s", byte(r.Mode), condition)))
		} else {
			v.List = append(v.List, Text(fmt.Sprintf("INS %02X %s", r.INS, condition)))
		}
	}
	return v, end, nil
}
