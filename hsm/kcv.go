package hsm

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"ankan/scp"
)

// A KCVMethod is a convention for key check values. One key has another value
// under each of them.
type KCVMethod string

// The conventions of the trade.
const (
	GP       KCVMethod = "GP"        // GlobalPlatform and GSMA, AES: ECB of sixteen bytes 01, 3 bytes
	CMAC     KCVMethod = "CMAC"      // ANSI X9.24-1, AES: CMAC of a zero block, 3 or 5 bytes
	ECBZeros KCVMethod = "ECB-ZEROS" // DES, and AES of old: ECB of a zero block, 3 bytes
)

// Errors about key check values: ErrKCV for one that is malformed or another
// key's.
var (
	ErrKCV       = errors.New("wrong key check value")
	ErrKCVMethod = errors.New("key check values of different methods say nothing about each other")
)

// A KCV is a key check value with the method that made it. It does not compile
// with ==; see Matches. The zero value is that of a key that has none.
//
// Never make one of a PIN or other short secret: it would give it away.
type KCV struct {
	_      [0]func()
	method KCVMethod
	value  string // raw bytes
}

// NewKCV computes the check value of the key behind b, an AES or DES cipher.
// CMAC values have 5 bytes.
func NewKCV(m KCVMethod, b cipher.Block) (KCV, error) {
	size := b.BlockSize()
	if size != aes.BlockSize && (m != ECBZeros || size != 8) {
		return KCV{}, fmt.Errorf("%w: %s over blocks of %d bytes", ErrKCV, m, size)
	}
	block := make([]byte, size)
	n := 3
	switch m {
	case GP:
		for i := range block {
			block[i] = 1
		}
		b.Encrypt(block, block)
	case CMAC:
		mac := scp.SumCMAC(b, block)
		block, n = mac[:], 5
	case ECBZeros:
		b.Encrypt(block, block)
	default:
		return KCV{}, fmt.Errorf("%w: method %q", ErrKCV, m)
	}
	return KCV{method: m, value: string(block[:n])}, nil
}

// AESKCV computes the check value of an AES key.
func AESKCV(m KCVMethod, key []byte) (KCV, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return KCV{}, fmt.Errorf("%w: AES key has %d bytes, want 16, 24 or 32", ErrKCV, len(key))
	}
	return NewKCV(m, b)
}

// ParseKCV reads what String writes and nothing else, such as "C35280 GP".
func ParseKCV(s string) (KCV, error) {
	digits, method, ok := strings.Cut(s, " ")
	value, err := hex.DecodeString(digits)
	if !ok || err != nil {
		return KCV{}, fmt.Errorf("%w: %q, want one like \"C35280 GP\"", ErrKCV, s)
	}
	k := KCV{method: KCVMethod(method), value: string(value)}
	if k.String() != s {
		return KCV{}, fmt.Errorf("%w: %q, want upper case", ErrKCV, s)
	}
	switch n := len(value); k.method {
	case GP, ECBZeros:
		if n != 3 {
			return KCV{}, fmt.Errorf("%w: %q has %d bytes, want 3", ErrKCV, s, n)
		}
	case CMAC:
		if n != 3 && n != 5 {
			return KCV{}, fmt.Errorf("%w: %q has %d bytes, want 3 or 5", ErrKCV, s, n)
		}
	default:
		return KCV{}, fmt.Errorf("%w: %q has method %q, want %s, %s or %s", ErrKCV, s, method, GP, CMAC, ECBZeros)
	}
	return k, nil
}

// String is the value in hex and the method, such as "C35280 GP"; "" for the
// zero value.
func (k KCV) String() string {
	if k.IsZero() {
		return ""
	}
	return fmt.Sprintf("%X %s", k.value, string(k.method))
}

// AppendBytes appends the value itself, 3 or 5 bytes; nothing of the zero value.
func (k KCV) AppendBytes(dst []byte) []byte { return append(dst, k.value...) }

// Method is the convention that made the value.
func (k KCV) Method() KCVMethod { return k.method }

// IsZero says that there is no value: the key has none.
func (k KCV) IsZero() bool { return k.method == "" }

// Matches compares two values of one method; ErrKCVMethod for two methods or
// where one has no value. Two CMAC values are compared as far as the shorter
// one goes.
func (k KCV) Matches(other KCV) (bool, error) {
	if k.IsZero() || k.method != other.method {
		return false, fmt.Errorf("%w: %q and %q", ErrKCVMethod, k, other)
	}
	n := min(len(k.value), len(other.value))
	return subtle.ConstantTimeCompare([]byte(k.value[:n]), []byte(other.value[:n])) == 1, nil
}

// MarshalText is String.
func (k KCV) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is ParseKCV; the empty text is the zero value.
func (k *KCV) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*k = KCV{}
		return nil
	}
	v, err := ParseKCV(string(b))
	if err != nil {
		return err
	}
	*k = v
	return nil
}
