package hsm

import (
	"bytes"
	"crypto/aes"
	"errors"
	"testing"

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
	ours, err := NewChipKeysBy(cmac, serial)
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
	if _, err := NewChipKeysBy(cmac, nil); err == nil {
		t.Error("no serial number is not refused")
	}
	broken := errors.New("the module is gone")
	if _, err := NewChipKeysBy(func([]byte) ([]byte, error) { return nil, broken }, serial); !errors.Is(err, broken) {
		t.Errorf("%v, want the module's error", err)
	}
	if _, err := NewChipKeysBy(func([]byte) ([]byte, error) { return make([]byte, 15), nil }, serial); err == nil {
		t.Error("a CMAC of 15 bytes is taken")
	}
}
