package uicc

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// tagged is one data object without a name of its own: its value is the
// object's content (TS 31.103, 4.2.2 to 4.2.4).
type tagged struct {
	tag  byte
	part part
}

func (t tagged) put(dst []byte, v Value) ([]byte, error) {
	content, err := t.part.put(nil, v)
	if err != nil {
		return nil, err
	}
	return AppendTLV(dst, Tag(t.tag), content...), nil
}

func (t tagged) get(b []byte) (Value, int, error) {
	content, n, err := takeObject(b, t.tag)
	if err != nil {
		return Value{}, 0, err
	}
	v, used, err := t.part.get(content)
	if err == nil && used != len(content) {
		err = fmt.Errorf("%d bytes too many", len(content)-used)
	}
	return v, n, err
}

// text is UTF-8 without control characters, to the end: URIs, names of
// networks and of people in data objects.
type text struct{}

func (text) put(dst []byte, v Value) ([]byte, error) {
	s, err := wantText(v)
	if err != nil {
		return nil, err
	}
	if s == "" || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7F }) {
		return nil, fmt.Errorf("%q is not a text of printable characters", s)
	}
	return append(dst, s...), nil
}

func (text) get(b []byte) (Value, int, error) {
	v := Text(string(b))
	if _, err := (text{}).put(nil, v); err != nil {
		return Value{}, 0, err
	}
	return v, len(b), nil
}

// host is an address type and an address: a name, an IPv4 or an IPv6 address
// (TS 31.103, 4.2.8; TS 31.102, 4.2.102). The type follows from the writing.
type host struct{}

const (
	hostName byte = iota
	hostIPv4
	hostIPv6
)

func (host) put(dst []byte, v Value) ([]byte, error) {
	s, err := wantText(v)
	if err != nil {
		return nil, err
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		if a.Is4() {
			return append(append(dst, hostIPv4), a.AsSlice()...), nil
		}
		return append(append(dst, hostIPv6), a.AsSlice()...), nil
	}
	if s == "" || len(s) > 253 || strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
		return nil, fmt.Errorf("%q is not an IP address and not a host name", s)
	}
	return append(append(dst, hostName), s...), nil
}

func (host) get(b []byte) (Value, int, error) {
	if err := short(b, 2); err != nil {
		return Value{}, 0, err
	}
	v := Text(string(b[1:]))
	if b[0] != hostName {
		a, ok := netip.AddrFromSlice(b[1:])
		if !ok || (b[0] == hostIPv4) != a.Is4() {
			return Value{}, 0, fmt.Errorf("%X is not an address of type %02X", b[1:], b[0])
		}
		v = Text(a.String())
	}
	again, err := host{}.put(nil, v)
	if err == nil && !bytes.Equal(again, b) {
		err = fmt.Errorf("%X is not how this address is coded", b)
	}
	return v, len(b), err
}

// tlvs is data objects one after the other as "80 01FF", a tag and its
// content: files whose objects the issuer chooses.
type tlvs struct{}

func (tlvs) put(dst []byte, v Value) ([]byte, error) {
	if v.List == nil {
		return nil, fmt.Errorf("%s, want a list of data objects", v.kind())
	}
	for i, e := range v.List {
		s, err := wantText(e)
		if err != nil {
			return nil, err
		}
		tag, content, _ := strings.Cut(s, " ")
		t, err := strconv.ParseUint(tag, 16, 8)
		if err != nil || len(tag) != 2 || t&0x1F == 0x1F || t == 0 {
			return nil, fmt.Errorf("element %d: %q has no tag of one byte", i+1, s)
		}
		b, err := hex.DecodeString(content)
		if err != nil {
			return nil, fmt.Errorf("element %d: %q is not hexadecimal", i+1, content)
		}
		dst = AppendTLV(dst, Tag(t), b...)
	}
	return dst, nil
}

func (tlvs) get(b []byte) (Value, int, error) {
	v := Value{List: []Value{}}
	at := 0
	for at < len(b) && b[at] != 0xFF && b[at] != 0 {
		tag := b[at]
		if tag&0x1F == 0x1F {
			return Value{}, 0, fmt.Errorf("data object %02X has a tag of two bytes", tag)
		}
		content, n, err := takeObject(b[at:], tag)
		if err != nil {
			return Value{}, 0, err
		}
		s := fmt.Sprintf("%02X", tag)
		if len(content) > 0 {
			s += fmt.Sprintf(" %X", content)
		}
		v.List = append(v.List, Text(s))
		at += n
	}
	return v, at, nil
}

// repeat is parts of one length to the end, none left out.
type repeat struct {
	each part
	size int
}

func (r repeat) put(dst []byte, v Value) ([]byte, error) {
	return list{each: r.each}.put(dst, v)
}

func (r repeat) get(b []byte) (Value, int, error) {
	if len(b)%r.size != 0 {
		return Value{}, 0, fmt.Errorf("%d bytes, want a multiple of %d", len(b), r.size)
	}
	v := Value{List: []Value{}}
	for at := 0; at < len(b); at += r.size {
		e, _, err := r.each.get(b[at : at+r.size])
		if err != nil {
			return Value{}, 0, fmt.Errorf("element %d: %w", at/r.size+1, err)
		}
		v.List = append(v.List, e)
	}
	return v, len(b), nil
}

// counted is a number of one byte and that many parts (EF.IMG, EF.ACL).
type counted struct{ each part }

func (c counted) put(dst []byte, v Value) ([]byte, error) {
	if len(v.List) > 0xFE {
		return nil, fmt.Errorf("list has %d elements, want at most 254", len(v.List))
	}
	return list{each: c.each}.put(append(dst, byte(len(v.List))), v)
}

func (c counted) get(b []byte) (Value, int, error) {
	if err := numbered(b); err != nil {
		return Value{}, 0, err
	}
	v := Value{List: []Value{}}
	at := 1
	for i := range int(b[0]) {
		e, n, err := c.each.get(b[at:])
		if err != nil {
			return Value{}, 0, fmt.Errorf("element %d of %d: %w", i+1, b[0], err)
		}
		v.List = append(v.List, e)
		at += n
	}
	return v, at, nil
}

// numbered refuses what does not begin with a number of one byte: FF is none, but
// memory that was never written.
func numbered(b []byte) error {
	if err := short(b, 1); err != nil {
		return err
	}
	if b[0] == 0xFF {
		return errors.New("FF where a number should be, want at most 254")
	}
	return nil
}

// accessPoint is the name of an access point as labels, each with its length
// (TS 23.003, 9.1): airtelgprs.com.
type accessPoint struct{}

func (accessPoint) put(dst []byte, v Value) ([]byte, error) {
	s, err := wantText(v)
	if err != nil {
		return nil, err
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return nil, fmt.Errorf("%q is not the name of an access point", s)
		}
		dst = append(append(dst, byte(len(label))), label...)
	}
	return dst, nil
}

func (accessPoint) get(b []byte) (Value, int, error) {
	var labels []string
	for at := 0; at < len(b); {
		n := int(b[at])
		if n == 0 || at+1+n > len(b) {
			return Value{}, 0, errors.New("label does not fit the name of an access point")
		}
		labels = append(labels, string(b[at+1:at+1+n]))
		at += 1 + n
	}
	v := Text(strings.Join(labels, "."))
	again, err := accessPoint{}.put(nil, v)
	if err == nil && !bytes.Equal(again, b) {
		err = fmt.Errorf("%X is not how this name is coded", b)
	}
	return v, len(b), err
}

// links is what a phone book reference refers to (TS 31.102, 4.4.2.1): the
// kind of file, its identifier and, if it has one, its short identifier, as
// "ADN 4F3A 0A".
type links struct{}

// linkKinds follow from tag C0 on.
var linkKinds = [...]string{"ADN", "IAP", "EXT1", "SNE", "ANR", "PBC", "GRP", "AAS", "GAS", "UID", "EMAIL", "CCP1", "PURI"}

func (links) put(dst []byte, v Value) ([]byte, error) {
	if v.List == nil {
		return nil, fmt.Errorf("%s, want a list of files", v.kind())
	}
next:
	for i, e := range v.List {
		s, err := wantText(e)
		if err != nil {
			return nil, err
		}
		kind, where, _ := strings.Cut(s, " ")
		b, err := hex.DecodeString(strings.ReplaceAll(where, " ", ""))
		if err != nil || len(b) != 2 && (len(b) != 3 || b[2] == 0 || b[2] > 30) {
			return nil, fmt.Errorf("element %d: %q, want a kind, an identifier and a short identifier", i+1, s)
		}
		for n, k := range linkKinds {
			if k == kind {
				dst = AppendTLV(dst, Tag(0xC0+n), b...)
				continue next
			}
		}
		return nil, fmt.Errorf("element %d: %q is none of %s", i+1, kind, strings.Join(linkKinds[:], ", "))
	}
	return dst, nil
}

func (links) get(b []byte) (Value, int, error) {
	v := Value{List: []Value{}}
	for at := 0; at < len(b); {
		n := int(b[at]) - 0xC0
		if n < 0 || n >= len(linkKinds) {
			return Value{}, 0, fmt.Errorf("unexpected data object %02X", b[at])
		}
		content, took, err := takeObject(b[at:], b[at])
		if err != nil {
			return Value{}, 0, err
		}
		s := linkKinds[n]
		switch {
		case len(content) == 2:
			s += fmt.Sprintf(" %X", content)
		case len(content) == 3:
			s += fmt.Sprintf(" %X %02X", content[:2], content[2])
		default:
			return Value{}, 0, fmt.Errorf("%s has %d bytes, want 2 or 3", s, len(content))
		}
		v.List = append(v.List, Text(s))
		at += took
	}
	if _, err := (links{}).put(nil, v); err != nil {
		return Value{}, 0, err
	}
	return v, len(b), nil
}

// lengthBefore is bytes in hexadecimal digits after their number (TS 31.102,
// 4.2.79).
type lengthBefore struct{}

func (lengthBefore) put(dst []byte, v Value) ([]byte, error) {
	b, err := raw(0).put(nil, v)
	if err != nil {
		return nil, err
	}
	if len(b) > 0xFE {
		return nil, fmt.Errorf("%d bytes, want at most 254", len(b))
	}
	return append(append(dst, byte(len(b))), b...), nil
}

func (lengthBefore) get(b []byte) (Value, int, error) {
	if err := numbered(b); err != nil {
		return Value{}, 0, err
	}
	n := 1 + int(b[0])
	if err := short(b, n); err != nil {
		return Value{}, 0, err
	}
	v, _, err := raw(0).get(b[1:n])
	return v, n, err
}
