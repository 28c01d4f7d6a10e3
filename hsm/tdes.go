package hsm

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/subtle"
	"fmt"
)

// NeedsWaiver says that a key of this algorithm exists under a waiver alone,
// which the register of keys holds: it is a transport key of triple DES, for a
// receiver that takes nothing else. The keys of lots are the chip maker's.
func (a Algorithm) NeedsWaiver() bool { return a == TDES || a == TDES3 }

// CheckMethod is the convention of the check value that a module gives a key of
// this algorithm: GP of AES, ECBZeros of triple DES, "" if it has none.
func (a Algorithm) CheckMethod() KCVMethod {
	switch a.Cipher() {
	case AES128, AES256:
		return GP
	case TDES, TDES3:
		return ECBZeros
	}
	return ""
}

// NewCipher is the block cipher of a key of AES or triple DES; of two keys the
// first comes again as the third (NIST SP 800-67 rev. 2, 3.1). It says nothing
// of weakness: see CheckKey. ErrAlgorithm for another algorithm or length.
func NewCipher(a Algorithm, key []byte) (cipher.Block, error) {
	if err := checkLen(key, a); err != nil {
		return nil, err
	}
	switch a.CheckMethod() {
	case GP:
		return aes.NewCipher(key)
	case ECBZeros:
		full := append(append(make([]byte, 0, 24), key...), key[:24-len(key)]...)
		defer clear(full)
		return des.NewTripleDESCipher(full)
	}
	return nil, fmt.Errorf("%w: %s is no block cipher", ErrAlgorithm, a)
}

// KeyKCV computes the check value of a key by a method: triple DES has
// ECBZeros alone.
func KeyKCV(m KCVMethod, a Algorithm, key []byte) (KCV, error) {
	b, err := NewCipher(a, key)
	if err != nil {
		return KCV{}, err
	}
	return NewKCV(m, b)
}

// SetParity makes the number of ones in each byte of a key of triple DES odd, as
// DES has it (FIPS 46-3): the lowest bit of a byte says nothing of the key. It
// leaves other keys alone.
func SetParity(a Algorithm, key []byte) {
	if !a.NeedsWaiver() {
		return
	}
	for i, b := range key {
		ones := b >> 1
		ones ^= ones >> 4
		ones ^= ones >> 2
		ones ^= ones >> 1
		key[i] = b&0xFE | ^ones&1
	}
}

// checkDES refuses a key of triple DES that is no more than single DES, that has
// fewer parts than it says, or of which a part is weak (NIST SP 800-67 rev. 2,
// 3.3). Parity says nothing.
func checkDES(key []byte) error {
	n := 0
	for part := range chunks(key, 8) {
		if n++; weakDES(part) == 1 || evenButParity(part) == 1 {
			return fmt.Errorf("%w: part %d of it is a weak key of DES, or has a pattern", ErrWeakKey, n)
		}
	}
	same := func(i, j int) bool {
		var differs byte
		for k := range 8 {
			differs |= (key[8*i+k] ^ key[8*j+k]) & 0xFE
		}
		return subtle.ConstantTimeByteEq(differs, 0) == 1
	}
	switch {
	case same(0, 1) || n == 3 && same(1, 2):
		return fmt.Errorf("%w: two parts of it that follow each other are equal, so that it is no more than single DES", ErrWeakKey)
	case n == 3 && same(0, 2):
		return fmt.Errorf("%w: its first part is its third, so that it is of two keys: it is %s, and 16 bytes", ErrWeakKey, TDES)
	}
	return nil
}

// evenButParity is evenSteps of a part of which the lowest bits do not count, as
// 40 41 42 and what becomes of it under SetParity, 40 40 43.
func evenButParity(part []byte) int {
	found := 0
	for low := range byte(4) {
		first, second := part[0]&0xFE|low&1, part[1]&0xFE|low>>1
		var differs byte
		for i, b := range part {
			differs |= (first + byte(i)*(second-first)) ^ b
		}
		found |= subtle.ConstantTimeByteEq(differs&0xFE, 0)
	}
	return found
}

// weakDES is 1 for a weak, semi-weak or possibly weak key of DES, whatever its
// parity bits: those that make 1, 2 or 4 different round keys instead of 16. In
// each byte of them the upper bits are equal and the lower ones are, in both
// halves alike, and over the four bytes of a half both come up evenly.
func weakDES(b []byte) int {
	var differs, upper, lower byte
	for i := range 4 {
		u, l := b[i]>>7, b[i]>>1&1
		differs |= (b[i] ^ (-u&0xE0 | -l&0x1E)) | (b[i+4] ^ (-u&0xF0 | -l&0x0E))
		upper, lower = upper^u, lower^l
	}
	return subtle.ConstantTimeByteEq(differs&0xFE|upper|lower, 0)
}
