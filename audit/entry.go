package audit

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxEntry is the longest leaf in bytes: an entry bundle prefixes each with a
// uint16 (C2SP tlog-tiles, "Log entries"). What is larger is kept elsewhere
// and goes into the entry as a hash.
const MaxEntry = 65535

// maxDepth bounds the nesting of Data, so that a map which holds itself is an
// error and not an endless loop.
const maxDepth = 16

// timeLayout is RFC 3339 in UTC with all nine digits, so that times sort as text.
const timeLayout = "2006-01-02T15:04:05.000000000Z"

// An Entry is one line of the log: who did what to which thing, and when it
// was written down. When something happened elsewhere belongs into Data.
type Entry struct {
	Time    time.Time // when the entry was logged
	Kind    string    // what was done: "order.accepted"; lower case, digits, ".", "-" and "_"
	Actor   string    // who did it: a person, a partner or a part of the program
	Subject string    // to what; may be empty

	// Data says more. Its values are nil, bool, strings, integers, times,
	// text marshalers, and lists and maps of these. Fractions are refused
	// because no two programs write them alike, bytes because nobody could
	// tell how they are encoded.
	Data map[string]any
}

// Leaf is the canonical form of e, the bytes that the log hashes: JSON without
// spaces, keys sorted by their bytes, times in UTC with nanoseconds, integers
// exact, and only the escapes that RFC 8785, 3.2.2.2, asks for.
func (e Entry) Leaf() ([]byte, error) { return e.AppendLeaf(nil) }

// AppendLeaf appends e's canonical form to dst.
func (e Entry) AppendLeaf(dst []byte) ([]byte, error) {
	if err := e.check(); err != nil {
		return dst, err
	}
	start := len(dst)
	b, err := appendString(append(dst, `{"actor":`...), e.Actor)
	if err == nil && len(e.Data) > 0 {
		b, err = appendMap(append(b, `,"data":`...), e.Data, 1)
	}
	if err == nil {
		b, err = appendString(append(b, `,"kind":`...), e.Kind)
	}
	if err == nil {
		b, err = appendString(append(b, `,"subject":`...), e.Subject)
	}
	if err != nil {
		return dst, fmt.Errorf("entry %s: %w", e.Kind, err)
	}
	b = append(b, `,"time":"`...)
	b = e.Time.UTC().AppendFormat(b, timeLayout)
	b = append(b, `"}`...)
	if n := len(b) - start; n > MaxEntry {
		return dst, fmt.Errorf("entry %s has %d bytes, want at most %d: keep the rest elsewhere and log its hash", e.Kind, n, MaxEntry)
	}
	return b, nil
}

func (e Entry) check() error {
	if e.Kind == "" || strings.Trim(e.Kind, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return fmt.Errorf("entry kind %q, want lower-case letters, digits, dots and hyphens", e.Kind)
	}
	if e.Actor == "" {
		return fmt.Errorf("entry %s names no actor", e.Kind)
	}
	if y := e.Time.UTC().Year(); e.Time.IsZero() || y < 1 || y > 9999 {
		return fmt.Errorf("entry %s has no time that can be written", e.Kind)
	}
	return nil
}

// ParseEntry reads a leaf. It takes only what Leaf writes, byte for byte.
// Integers in Data come back as int64, or as uint64 where they are too large;
// times come back as text.
func ParseEntry(leaf []byte) (Entry, error) {
	if len(leaf) > MaxEntry {
		return Entry{}, fmt.Errorf("entry has %d bytes, want at most %d", len(leaf), MaxEntry)
	}
	var raw struct {
		Actor, Kind, Subject, Time string
		Data                       map[string]any
	}
	d := json.NewDecoder(bytes.NewReader(leaf))
	d.UseNumber()
	if err := d.Decode(&raw); err != nil {
		return Entry{}, fmt.Errorf("entry is not JSON: %w", err)
	}
	at, err := time.Parse(timeLayout, raw.Time)
	if err != nil {
		return Entry{}, fmt.Errorf("entry time %q, want the form %s", raw.Time, timeLayout)
	}
	if err := exactNumbers(raw.Data); err != nil {
		return Entry{}, err
	}
	e := Entry{Time: at.UTC(), Kind: raw.Kind, Actor: raw.Actor, Subject: raw.Subject, Data: raw.Data}
	again, err := e.Leaf()
	if err != nil {
		return Entry{}, err
	}
	// One comparison refuses everything that a lenient parser lets pass: spaces,
	// doubled or foreign keys, other escapes, what stands after the end.
	if !bytes.Equal(again, leaf) {
		return Entry{}, fmt.Errorf("entry is not canonical: byte %d differs", firstDifference(again, leaf))
	}
	return e, nil
}

func firstDifference(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// exactNumbers replaces the decoder's numbers by integers, in place.
func exactNumbers(m map[string]any) error {
	for k, v := range m {
		w, err := exactNumber(v)
		if err != nil {
			return err
		}
		m[k] = w
	}
	return nil
}

func exactNumber(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return n, nil
		}
		n, err := strconv.ParseUint(string(v), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("entry holds the number %.40s, want a whole number of 64 bits", string(v))
		}
		return n, nil
	case map[string]any:
		return v, exactNumbers(v)
	case []any:
		for i := range v {
			w, err := exactNumber(v[i])
			if err != nil {
				return nil, err
			}
			v[i] = w
		}
	}
	return v, nil
}

func appendMap(b []byte, m map[string]any, depth int) ([]byte, error) {
	if depth > maxDepth {
		return b, fmt.Errorf("data nests deeper than %d", maxDepth)
	}
	b = append(b, '{')
	var err error
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendString(b, k); err != nil {
			return b, err
		}
		if b, err = appendValue(append(b, ':'), m[k], depth); err != nil {
			return b, fmt.Errorf("%s: %w", strconv.Quote(k), err)
		}
	}
	return append(b, '}'), nil
}

// appendValue knows the common types; appendReflected the named ones.
func appendValue(b []byte, v any, depth int) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return appendString(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case uint64:
		return strconv.AppendUint(b, v, 10), nil
	case map[string]any:
		return appendMap(b, v, depth+1)
	case time.Time:
		return appendTime(b, v)
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		if err != nil {
			return b, err
		}
		return appendString(b, string(text))
	}
	return appendReflected(b, reflect.ValueOf(v), depth)
}

func appendTime(b []byte, t time.Time) ([]byte, error) {
	t = t.UTC()
	if t.Year() < 0 || t.Year() > 9999 {
		return b, fmt.Errorf("year %d cannot be written", t.Year())
	}
	b = t.AppendFormat(append(b, '"'), timeLayout)
	return append(b, '"'), nil
}

func appendReflected(b []byte, v reflect.Value, depth int) ([]byte, error) {
	switch v.Kind() {
	case reflect.Bool:
		return strconv.AppendBool(b, v.Bool()), nil
	case reflect.String:
		return appendString(b, v.String())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.AppendInt(b, v.Int(), 10), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.AppendUint(b, v.Uint(), 10), nil
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			return appendList(b, v, depth+1)
		}
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String {
			m := make(map[string]any, v.Len())
			for it := v.MapRange(); it.Next(); {
				m[it.Key().String()] = it.Value().Interface()
			}
			return appendMap(b, m, depth+1)
		}
	}
	return b, fmt.Errorf("a %s cannot be logged, want text, whole numbers, or lists and maps of these", v.Type())
}

func appendList(b []byte, v reflect.Value, depth int) ([]byte, error) {
	if depth > maxDepth {
		return b, fmt.Errorf("data nests deeper than %d", maxDepth)
	}
	b = append(b, '[')
	for i := range v.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendValue(b, v.Index(i).Interface(), depth); err != nil {
			return b, fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return append(b, ']'), nil
}

// appendString writes s as RFC 8785, 3.2.2.2, has it.
func appendString(b []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return b, fmt.Errorf("text is not UTF-8; write bytes as hex")
	}
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		case '\f':
			b = append(b, `\f`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	b = append(b, s[start:]...)
	return append(b, '"'), nil
}

// DataOf turns v, whatever encoding/json makes an object of, into Data. Its
// whole numbers stay exact; fractions are refused.
func DataOf(v any) (map[string]any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("entry data: %w", err)
	}
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&m); err != nil || m == nil {
		return nil, fmt.Errorf("entry data of type %T is not a JSON object", v)
	}
	return m, exactNumbers(m)
}

// DataJSON is e's Data as it stands in the leaf: the other way of DataOf. It is
// {} when there is none.
func (e Entry) DataJSON() ([]byte, error) { return appendMap(nil, e.Data, 1) }
