package uicc

import (
	"fmt"
	"strconv"
	"strings"
)

// A Value is the content of a file, a record or a field as people write it: a
// text, a list, or named fields. Exactly one of the three is used; the zero
// Value is an empty text.
type Value struct {
	Text   string
	List   []Value
	Fields []Field
}

// A Field is one named part of a Value.
type Field struct {
	Name  string
	Value Value
}

// Text makes a Value of a text.
func Text(s string) Value { return Value{Text: s} }

// Texts makes a Value of a list of texts.
func Texts(s ...string) Value {
	v := Value{List: make([]Value, len(s))}
	for i := range s {
		v.List[i] = Text(s[i])
	}
	return v
}

// Get is the value of the named field; false if there is none.
func (v Value) Get(name string) (Value, bool) {
	for _, f := range v.Fields {
		if f.Name == name {
			return f.Value, true
		}
	}
	return Value{}, false
}

// kind says in words what v is.
func (v Value) kind() string {
	switch {
	case v.Fields != nil:
		return "fields"
	case v.List != nil:
		return "a list"
	}
	return "a text"
}

// String is v on one line, in YAML's flow style.
func (v Value) String() string {
	var b strings.Builder
	v.write(&b)
	return b.String()
}

func (v Value) write(b *strings.Builder) {
	switch {
	case v.Fields != nil:
		b.WriteByte('{')
		for i, f := range v.Fields {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(f.Name)
			b.WriteString(": ")
			f.Value.write(b)
		}
		b.WriteByte('}')
	case v.List != nil:
		b.WriteByte('[')
		for i, e := range v.List {
			if i > 0 {
				b.WriteString(", ")
			}
			e.write(b)
		}
		b.WriteByte(']')
	case v.Text == "" || strings.ContainsAny(v.Text, "{}[],:#\"'") || strings.TrimSpace(v.Text) != v.Text:
		b.WriteString(strconv.Quote(v.Text))
	default:
		b.WriteString(v.Text)
	}
}

// wantText refuses a value that is not a text.
func wantText(v Value) (string, error) {
	if v.Fields != nil || v.List != nil {
		return "", fmt.Errorf("%s, want a text", v.kind())
	}
	return v.Text, nil
}
