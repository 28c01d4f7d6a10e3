package gp

import (
	"fmt"

	"ankan/scp"
)

// A Method says how the keys of a card come from the master key of its lot.
type Method string

// The methods. Each takes the ten bytes of key diversification data that a
// card gives in INITIALIZE UPDATE.
const (
	EMV   Method = "emv"   // EMV Card Personalization Specification 1.1, 4.1: triple DES
	VISA2 Method = "visa2" // the older form of the same: triple DES
	KDF3  Method = "kdf3"  // NIST SP 800-108 in counter mode with AES-CMAC
)

// The numbers of keys in their derivation.
const (
	numberENC = 1 + iota
	numberMAC
	numberDEK
)

// DiversifyDES derives the keys of a card by EMV or VISA2. ecb encrypts 16
// bytes in place under the master key, triple DES in ECB; its error is
// returned.
func DiversifyDES(m Method, data [10]byte, ecb func(block []byte) error) (scp.DESKeySet, error) {
	var serial [6]byte
	switch m {
	case EMV:
		copy(serial[:], data[4:])
	case VISA2:
		copy(serial[:], data[:2])
		copy(serial[2:], data[4:8])
	default:
		return scp.DESKeySet{}, fmt.Errorf("gp: method %q does not make keys of triple DES, want emv or visa2: %w", m, ErrCommand)
	}
	var keys [3][16]byte
	defer clear(keys[:])
	for i := range keys {
		k := keys[i][:]
		copy(k, serial[:])
		copy(k[8:], serial[:])
		k[6], k[7], k[14], k[15] = 0xF0, byte(numberENC+i), 0x0F, byte(numberENC+i)
		if err := ecb(k); err != nil {
			return scp.DESKeySet{}, err
		}
	}
	return scp.NewDESKeySet(keys[0][:], keys[1][:], keys[2][:])
}

// DiversifyAES derives keys of n bytes, 16, 24 or 32, by KDF3: a counter of one
// byte, the key's number in four, 00, and the diversification data. cmac gives
// the AES-CMAC of a message under the master key; its error is returned.
func DiversifyAES(m Method, data [10]byte, n int, cmac func(message []byte) ([]byte, error)) (scp.KeySet, error) {
	if m != KDF3 {
		return scp.KeySet{}, fmt.Errorf("gp: method %q does not make keys of AES, want kdf3: %w", m, ErrCommand)
	}
	var keys [3][]byte
	defer func() {
		for _, k := range keys {
			clear(k)
		}
	}()
	for i := range keys {
		keys[i] = make([]byte, 0, 48)
		for counter := byte(1); len(keys[i]) < n; counter++ {
			sum, err := cmac(append([]byte{counter, 0, 0, 0, byte(numberENC + i), 0}, data[:]...))
			if err == nil && len(sum) != 16 {
				err = fmt.Errorf("gp: CMAC has %d bytes, want 16", len(sum))
			}
			if err != nil {
				return scp.KeySet{}, err
			}
			keys[i] = append(keys[i], sum...)
			clear(sum)
		}
		clear(keys[i][n:])
		keys[i] = keys[i][:n]
	}
	return scp.NewKeySet(keys[0], keys[1], keys[2])
}
