package hsm

import (
	"crypto/aes"
	"errors"
	"fmt"

	"ankan/scp"
)

// ChipKeys are the keys that the chip maker put on one chip, for opening its
// secure channel. They implement scp.Static, cannot be printed, marshalled or
// compared, and cannot be read. The zero value refuses.
type ChipKeys struct {
	unprintable
	keys scp.KeySet
}

// NewChipKeys derives the keys of the chip with this serial number from the
// lot's master key; it is for implementations of Token.
func NewChipKeys(master, serial []byte) (*ChipKeys, error) {
	ks, err := DiversifyChip(master, serial)
	if err != nil {
		return nil, err
	}
	return &ChipKeys{keys: ks}, nil
}

// NewChipKeysBy is NewChipKeys where the lot's master key does not come out:
// cmac gives the AES-CMAC of a message under it.
func NewChipKeysBy(cmac func(message []byte) ([]byte, error), serial []byte) (*ChipKeys, error) {
	ks, err := diversify(serial, func(label []byte) ([]byte, error) { return scp.KDFBy(cmac, label, serial, 32) })
	if err != nil {
		return nil, err
	}
	return &ChipKeys{keys: ks}, nil
}

// SessionKeys implements scp.Static.
func (k *ChipKeys) SessionKeys(hostCard []byte) (*scp.SessionKeys, error) {
	if k == nil {
		return nil, ErrClosed
	}
	sk, err := k.keys.SessionKeys(hostCard)
	return sk, closed(err)
}

// SealKey implements scp.Static.
func (k *ChipKeys) SealKey(dst, key []byte) ([]byte, error) {
	if k == nil {
		return nil, ErrClosed
	}
	sealed, err := k.keys.SealKey(dst, key)
	return sealed, closed(err)
}

// closed gives a closed key the name that this package has for it.
func closed(err error) error {
	if errors.Is(err, scp.ErrClosed) {
		return ErrClosed
	}
	return err
}

// Close wipes the keys.
func (k *ChipKeys) Close() {
	if k != nil {
		k.keys.Close()
	}
}

// DiversifyChip is the chip maker's side of Token.ChipKeys: the AES-256 keys
// of the chip with this serial number under the lot's master key, 32 bytes.
//
// Each is 32 bytes of AES-CMAC in counter mode (NIST SP 800-108, 4.1) under
// the master key: label "ankan chip ENC", "ankan chip MAC" or "ankan chip
// DEK", context the serial number of 1 to 32 bytes, fields in the order of
// scp.KDF.
func DiversifyChip(master, serial []byte) (scp.KeySet, error) {
	if len(master) != 32 {
		return scp.KeySet{}, fmt.Errorf("lot key has %d bytes, want 32", len(master))
	}
	b, err := aes.NewCipher(master)
	if err != nil {
		return scp.KeySet{}, err
	}
	return diversify(serial, func(label []byte) ([]byte, error) { return scp.KDF(b, label, serial, 32), nil })
}

func diversify(serial []byte, kdf func(label []byte) ([]byte, error)) (scp.KeySet, error) {
	if len(serial) < 1 || len(serial) > 32 {
		return scp.KeySet{}, fmt.Errorf("chip serial number has %d bytes, want 1..32", len(serial))
	}
	var keys [3][]byte
	for i, label := range []string{"ankan chip ENC", "ankan chip MAC", "ankan chip DEK"} {
		key, err := kdf([]byte(label))
		if err != nil {
			return scp.KeySet{}, err
		}
		keys[i] = key
		defer clear(key)
	}
	return scp.NewKeySet(keys[0], keys[1], keys[2])
}
