package sim

import "strings"

// appendBCD appends size bytes of swapped BCD: the first digit in the low
// nibble, F after the last one.
func appendBCD(dst, digits []byte, size int) []byte {
	for i := 0; i < 2*size; i += 2 {
		lo, hi := byte(0xF), byte(0xF)
		if i < len(digits) {
			lo = digits[i] - '0'
		}
		if i+1 < len(digits) {
			hi = digits[i+1] - '0'
		}
		dst = append(dst, hi<<4|lo)
	}
	return dst
}

// readBCD appends the digits of swapped BCD to dst: digits, then F to the end.
func readBCD(dst []byte, field string, b []byte) ([]byte, error) {
	filled := false
	for i := range 2 * len(b) {
		nibble := b[i/2] >> (i % 2 * 4) & 0xF
		switch {
		case nibble == 0xF:
			filled = true
		case nibble > 9 || filled:
			return dst, wrong("%s has the nibble %X at digit %d, want digits and then F", field, nibble, i+1)
		default:
			dst = append(dst, '0'+nibble)
		}
	}
	return dst, nil
}

func dots(n int) string { return strings.Repeat("•", n) }
