package hsm

import (
	"crypto/aes"
	"errors"
	"fmt"

	"ankan/gp"
	"ankan/scp"
)

// ChipKeys are the keys that the chip maker put on one chip, for opening its
// secure channel. They implement scp.Static, and scp.DESStatic where the lot's
// key is of triple DES. They cannot be printed, marshalled or compared, and
// cannot be read. The zero value refuses.
type ChipKeys struct {
	unprintable
	keys scp.KeySet
	des  scp.DESKeySet
	old  bool // des, not keys
}

// NewChipKeys derives the keys of one chip from the lot's master key, whose
// algorithm names the method; it is for implementations of Token. data is what
// Token.ChipKeys takes.
func NewChipKeys(a Algorithm, master, data []byte) (*ChipKeys, error) {
	if err := Lot.Fits(a); err != nil {
		return nil, err
	}
	if len(master) != a.KeyLen() {
		return nil, fmt.Errorf("lot key has %d bytes, want %d of %s", len(master), a.KeyLen(), a)
	}
	if a.Cipher() == TDES {
		return newOldChipKeys(a, master, data)
	}
	if a.Method() == MethodNone {
		return newChipKeys(scp.NewKeySet(master, master, master))
	}
	b, err := aes.NewCipher(master)
	if err != nil {
		return nil, err
	}
	return NewChipKeysBy(a, func(m []byte) ([]byte, error) { sum := scp.SumCMAC(b, m); return sum[:], nil }, data)
}

func newOldChipKeys(a Algorithm, master, data []byte) (*ChipKeys, error) {
	if a.Method() == MethodNone {
		return oldChipKeys(scp.NewDESKeySet(master, master, master))
	}
	b, err := NewCipher(a, master)
	if err != nil {
		return nil, err
	}
	kdd, err := diversificationData(data)
	if err != nil {
		return nil, err
	}
	return oldChipKeys(gp.DiversifyDES(a.Method(), kdd, func(p []byte) error {
		b.Encrypt(p, p)
		b.Encrypt(p[8:], p[8:])
		return nil
	}))
}

func newChipKeys(ks scp.KeySet, err error) (*ChipKeys, error) {
	if err != nil {
		return nil, err
	}
	return &ChipKeys{keys: ks}, nil
}

func oldChipKeys(ks scp.DESKeySet, err error) (*ChipKeys, error) {
	if err != nil {
		return nil, err
	}
	return &ChipKeys{des: ks, old: true}, nil
}

func diversificationData(data []byte) (kdd [10]byte, err error) {
	if len(data) != len(kdd) {
		return kdd, fmt.Errorf("key diversification data has %d bytes, want %d", len(data), len(kdd))
	}
	return [10]byte(data), nil
}

// MethodStaysInside refuses a lot's key whose method needs more of it than
// AES-CMAC, so that it has to come out to be used; the error wraps
// ErrAlgorithm.
func MethodStaysInside(a Algorithm) error {
	if a.Cipher() == TDES && !a.NeedsWaiver() || a.Method() == MethodNone {
		return fmt.Errorf("lot key of %s: %w: what this module can use inside has method ankan or kdf3", a, ErrAlgorithm)
	}
	return nil
}

// NewChipKeysBy is NewChipKeys where the lot's master key does not come out:
// cmac gives the AES-CMAC of a message under it. MethodStaysInside says which
// keys that can be.
func NewChipKeysBy(a Algorithm, cmac func(message []byte) ([]byte, error), data []byte) (*ChipKeys, error) {
	if err := errors.Join(Lot.Fits(a), MethodStaysInside(a)); err != nil {
		return nil, err
	}
	if a.Method() == MethodAnkan {
		return newChipKeys(diversify(data, func(label []byte) ([]byte, error) { return scp.KDFBy(cmac, label, data, 32) }))
	}
	kdd, err := diversificationData(data)
	if err != nil {
		return nil, err
	}
	return newChipKeys(gp.DiversifyAES(a.Method(), kdd, a.KeyLen(), cmac))
}

// DESSessionKeys implements scp.DESStatic.
func (k *ChipKeys) DESSessionKeys(sequence uint16) (*scp.DESSessionKeys, error) {
	if k == nil {
		return nil, ErrClosed
	}
	if !k.old {
		return nil, fmt.Errorf("chip keys are not of triple DES, which SCP02 wants: %w", ErrAlgorithm)
	}
	sk, err := k.des.DESSessionKeys(sequence)
	return sk, closed(err)
}

// SessionKeys implements scp.Static.
func (k *ChipKeys) SessionKeys(hostCard []byte) (*scp.SessionKeys, error) {
	if k == nil {
		return nil, ErrClosed
	}
	if k.old {
		return k.des.SessionKeys(hostCard)
	}
	sk, err := k.keys.SessionKeys(hostCard)
	return sk, closed(err)
}

// SealKey implements scp.Static.
func (k *ChipKeys) SealKey(dst, key []byte) ([]byte, error) {
	if k == nil {
		return nil, ErrClosed
	}
	if k.old {
		return k.des.SealKey(dst, key)
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
		k.des.Close()
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
