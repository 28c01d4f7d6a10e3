package stock

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ankan/hsm"
	"ankan/perso"
	"ankan/uicc"
)

// A Range is serial numbers of chips from one to another, both of them in it, 16
// lower case hexadecimal digits each.
type Range struct {
	First string `json:"first"`
	Last  string `json:"last"`
}

// maxRanges bounds the ranges of a lot: all of them are shown to those who accept it.
const maxRanges = 50

// KeyAlgorithm is the algorithm of the lot's transport key, with its method.
func (l Lot) KeyAlgorithm() hsm.Algorithm { return cmp.Or(l.KeyMethod, hsm.AES256) }

// checkKey refuses a transport key that the line cannot use.
func (l Lot) checkKey() error {
	a := l.KeyAlgorithm()
	if err := hsm.Lot.Fits(a); err != nil {
		return fmt.Errorf("key_method: %w; want AES-256, or a name from card-channels.md such as AES-128/kdf3", err)
	}
	if a.Cipher() == hsm.TDES {
		return fmt.Errorf("key_method is %s: chips with keys of triple DES speak SCP02, and a card gets keys of AES, for which the line needs SCP03; ask the chip maker for chips with keys of AES", a)
	}
	kcv, err := hsm.ParseKCV(l.KCV)
	if err != nil {
		return fmt.Errorf("kcv: %w", err)
	}
	if kcv.Method() != hsm.GP {
		return fmt.Errorf("kcv is of method %s, a key of %s has one of %s here; ask the chip maker for that", kcv.Method(), a.Cipher(), hsm.GP)
	}
	return nil
}

// Marks is what the lot says of each fresh chip, for the line.
func (l Lot) Marks() (m perso.Marks, err error) {
	if m.ATR, m.Mask, err = l.atr(); err != nil {
		return m, fmt.Errorf("lot %s: %w", l.Lot, err)
	}
	if m.Serials, err = l.ranges(); err != nil {
		return m, fmt.Errorf("lot %s: %w", l.Lot, err)
	}
	return m, nil
}

// atr reads the ATR and its mask. What a mask leaves open is in the historical
// bytes, or the check byte over them.
func (l Lot) atr() (atr uicc.ATR, mask []byte, err error) {
	if l.ATR == "" {
		if l.ATRMask != "" {
			return nil, nil, errors.New("atr_mask: there is no atr")
		}
		return nil, nil, nil
	}
	if atr, err = hex.DecodeString(l.ATR); err != nil {
		return nil, nil, fmt.Errorf("atr is %.70q, want hexadecimal digits", l.ATR)
	}
	historical, err := atr.Historical()
	if err != nil {
		return nil, nil, fmt.Errorf("atr: %w", err)
	}
	if l.ATRMask == "" {
		return atr, nil, nil
	}
	if mask, err = hex.DecodeString(l.ATRMask); err != nil || len(mask) != len(atr) {
		return nil, nil, fmt.Errorf("atr_mask is %.70q, want %d hexadecimal digits, as many as atr", l.ATRMask, 2*len(atr))
	}
	check := 0 // bytes behind the historical ones
	if end := len(atr) - 1; len(historical) > 0 && &historical[len(historical)-1] != &atr[end] {
		check = 1
	}
	first := len(atr) - check - len(historical)
	for i, b := range mask[:first] {
		if b != 0xFF {
			return nil, nil, fmt.Errorf("atr_mask: byte %d is %02X, want FF: only historical bytes and the check byte behind them may differ, from byte %d on", i+1, b, first+1)
		}
	}
	return atr, mask, nil
}

// ranges reads the serial numbers. They are not twice in them, and there are as
// many as the lot has chips, at least.
func (l Lot) ranges() ([]perso.Range, error) {
	if len(l.Serials) > maxRanges {
		return nil, fmt.Errorf("it has %d ranges of serial numbers, want up to %d", len(l.Serials), maxRanges)
	}
	var all []perso.Range
	for _, s := range l.Serials {
		first, one := perso.ParseSerial(s.First)
		last, two := perso.ParseSerial(s.Last)
		if err := errors.Join(one, two); err != nil {
			return nil, fmt.Errorf("serials: %w", err)
		}
		if s.First > s.Last {
			return nil, fmt.Errorf("serials: a range goes from %s to %s", s.First, s.Last)
		}
		all = append(all, perso.Range{First: first, Last: last})
	}
	sorted := slices.SortedFunc(slices.Values(l.Serials), func(a, b Range) int { return strings.Compare(a.First, b.First) })
	for i := 1; i < len(sorted); i++ {
		if sorted[i].First <= sorted[i-1].Last {
			return nil, fmt.Errorf("serials: %s is in two ranges", sorted[i].First)
		}
	}
	room := uint64(0)
	for _, r := range all {
		n := binary.BigEndian.Uint64(r.Last[:]) - binary.BigEndian.Uint64(r.First[:])
		if n >= most || room+n+1 >= most {
			return all, nil // more than any lot has
		}
		room += n + 1
	}
	if len(all) > 0 && room < uint64(l.Quantity) {
		return nil, fmt.Errorf("serials: the ranges have %d numbers, the quantity is %d", room, l.Quantity)
	}
	return all, nil
}

// ATRText is the ATR with its mask, for people; "" if the lot does not say it.
func (l Lot) ATRText() string {
	if l.ATRMask == "" {
		return l.ATR
	}
	return l.ATR + " under " + l.ATRMask
}

// SerialsText is the ranges of serial numbers, for people; "" if the lot says none.
func (l Lot) SerialsText() string {
	var all []string
	for _, r := range l.Serials {
		all = append(all, r.First+" – "+r.Last)
	}
	return strings.Join(all, ", ")
}
