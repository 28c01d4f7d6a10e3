package hsm_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"ankan/hsm"
	"ankan/hsm/hsmtest"
)

func TestSharedDataKey(t *testing.T) {
	holders := []hsmtest.Holder{hsmtest.NewHolder("1"), hsmtest.NewHolder("2"), hsmtest.NewHolder("3")}
	var to []hsm.Holder
	for _, h := range holders {
		to = append(to, h.Holder)
	}
	random := func(p []byte) error {
		_, err := rand.Read(p)
		return err
	}
	dk, shares, err := hsm.NewSharedDataKey("set-1", 2, to, random)
	if err != nil {
		t.Fatal(err)
	}
	sealed := dk.Seal(nil, []byte("text"), []byte("aad"))
	dk.Close()
	opener := func(who ...hsmtest.Holder) hsm.Opener {
		return func(given hsm.Given, what hsm.Content, label string) ([]byte, error) {
			for _, h := range who {
				if b, err := h.Open(given, what, label); err == nil {
					return b, nil
				}
			}
			return nil, hsm.ErrSealed
		}
	}
	back, err := hsm.OpenSharedDataKey(shares[1:], opener(holders...))
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if plain, err := back.Open(nil, sealed, []byte("aad")); err != nil || !bytes.Equal(plain, []byte("text")) {
		t.Errorf("%q, %v", plain, err)
	}
	_, other, err := hsm.NewSharedDataKey("set-2", 2, to, random)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		shares []hsm.Share
		open   hsm.Opener
		want   error
	}{
		{"one share", shares[:1], opener(holders...), hsm.ErrFew},
		{"one share twice", []hsm.Share{shares[0], shares[0]}, opener(holders...), hsm.ErrTwice},
		{"a share of another key", []hsm.Share{shares[0], other[1]}, opener(holders...), hsm.ErrSet},
		{"one holder for two", shares[:2], opener(holders[0]), hsm.ErrSealed},
	} {
		if _, err := hsm.OpenSharedDataKey(tt.shares, tt.open); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	broken := errors.New("broken")
	if _, _, err := hsm.NewSharedDataKey("set-3", 2, to, func([]byte) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("without random numbers: %v", err)
	}
	if _, _, err := hsm.NewSharedDataKey("set-3", 3, to, random); err == nil {
		t.Error("all of the holders as threshold was taken")
	}
}
