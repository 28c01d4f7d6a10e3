package hsm

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"errors"
	"testing"

	"ankan/gp"
	"ankan/scp"
)

// The keys are the same whether the master key is here or in a module.
func TestChipKeysByMAC(t *testing.T) {
	master, serial := bytes.Repeat([]byte{0xA7}, 32), []byte{1, 2, 3}
	b, err := aes.NewCipher(master)
	if err != nil {
		t.Fatal(err)
	}
	cmac := func(message []byte) ([]byte, error) {
		sum := scp.SumCMAC(b, message)
		return sum[:], nil
	}
	ours, err := NewChipKeysBy(AES256, cmac, serial)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := DiversifyChip(master, serial)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := ours.SealKey(nil, make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := theirs.OpenKey(nil, sealed); err != nil || !bytes.Equal(got, make([]byte, 16)) {
		t.Errorf("%x, %v", got, err)
	}
	if _, err := NewChipKeysBy(AES256, cmac, nil); err == nil {
		t.Error("no serial number is not refused")
	}
	broken := errors.New("the module is gone")
	if _, err := NewChipKeysBy(AES256, func([]byte) ([]byte, error) { return nil, broken }, serial); !errors.Is(err, broken) {
		t.Errorf("%v, want the module's error", err)
	}
	if _, err := NewChipKeysBy(AES256, func([]byte) ([]byte, error) { return make([]byte, 15), nil }, serial); err == nil {
		t.Error("a CMAC of 15 bytes is taken")
	}
}

// The methods of others: check values as GlobalPlatformPro's tests print them.
func TestChipKeysByMethod(t *testing.T) {
	master := make([]byte, 32)
	for i := range master {
		master[i] = 0x40 + byte(i)
	}
	data := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	for a, want := range map[Algorithm][3]string{
		LotEMV:       {"c33013", "6f4ca6", "bb8179"},
		LotVISA2:     {"2be598", "58da38", "3c328e"},
		LotNone3DES:  {"8baf47", "8baf47", "8baf47"},
		LotKDF3:      {"2972d2", "036f94", "5d57b8"},
		LotKDF3Short: {"e79c05", "d1bd77", "3fde8c"},
		LotNoneShort: {"504a77", "504a77", "504a77"},
		LotNone:      {},
	} {
		n := a.KeyLen()
		k, err := NewChipKeys(a, master[:n], data)
		if err != nil {
			t.Fatalf("%s: %v", a, err)
		}
		var revealed []byte
		kcv := scp.CheckValue
		if a.Cipher() == TDES {
			kcv = scp.DESCheckValue
			revealed, err = k.des.Reveal(nil)
		} else {
			revealed, err = k.keys.Reveal(nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			got, err := kcv(revealed[i*n : (i+1)*n])
			if err != nil || want[i] != "" && hex.EncodeToString(got[:]) != want[i] {
				t.Errorf("%s, key %d: %x, %v, want %s", a, i+1, got, err, want[i])
			}
		}
		// A card of SCP03 and one of SCP02 take the keys that they can use.
		_, aesErr := k.SessionKeys(make([]byte, 16))
		_, desErr := k.DESSessionKeys(1)
		_, sealErr := k.SealKey(nil, make([]byte, 16))
		if old := a.Cipher() == TDES; (aesErr == nil) == old || (sealErr == nil) == old || (desErr == nil) != old {
			t.Errorf("%s: SCP03 %v, PUT KEY %v, SCP02 %v", a, aesErr, sealErr, desErr)
		}
		// Inside a module it is the same, or refused.
		b, err := aes.NewCipher(master[:n])
		if err != nil {
			t.Fatal(err)
		}
		inside, err := NewChipKeysBy(a, func(m []byte) ([]byte, error) { s := scp.SumCMAC(b, m); return s[:], nil }, data)
		switch {
		case a.Method() != gp.KDF3:
			if !errors.Is(err, ErrAlgorithm) {
				t.Errorf("%s inside: %v, want ErrAlgorithm", a, err)
			}
		case err != nil:
			t.Errorf("%s inside: %v", a, err)
		default:
			if got, _ := inside.keys.Reveal(nil); !bytes.Equal(got, revealed) {
				t.Errorf("%s inside: %x, want %x", a, got, revealed)
			}
		}
		if a.Method() != MethodNone {
			if _, err := NewChipKeys(a, master[:n], data[:8]); err == nil {
				t.Errorf("%s: data of 8 bytes is not refused", a)
			}
		}
		if _, err := NewChipKeys(a, master[:n-1], data); err == nil {
			t.Errorf("%s: a key of %d bytes is not refused", a, n-1)
		}
		k.Close()
		if _, err := k.DESSessionKeys(1); err == nil {
			t.Errorf("%s: closed keys open a session", a)
		}
	}
	if _, err := (*ChipKeys)(nil).DESSessionKeys(1); !errors.Is(err, ErrClosed) {
		t.Errorf("no keys: %v, want ErrClosed", err)
	}
	if _, err := NewChipKeys("AES-256/own", master, data); !errors.Is(err, ErrPurpose) {
		t.Errorf("unknown method: %v, want ErrPurpose", err)
	}
	if _, err := NewChipKeys(LotNone3DES, bytes.Repeat([]byte{1}, 16), data); err == nil {
		t.Error("single DES is not refused")
	}
	b, _ := aes.NewCipher(master)
	if _, err := NewChipKeysBy(LotKDF3, func(m []byte) ([]byte, error) { s := scp.SumCMAC(b, m); return s[:], nil }, data[:9]); err == nil {
		t.Error("data of 9 bytes is not refused")
	}
}
