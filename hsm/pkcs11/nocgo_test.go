//go:build !cgo

package pkcs11

import (
	"context"
	"strings"
	"testing"
)

func TestOpenRefusesWithoutC(t *testing.T) {
	c := Config{Module: "/usr/lib/softhsm/libsofthsm2.so", Token: "t", PIN: func() ([]byte, error) { return nil, nil }}
	token, err := Open(context.Background(), c)
	if token != nil || err == nil || !strings.Contains(err.Error(), "make build-pkcs11") {
		t.Errorf("%v, %v, want what to build", token, err)
	}
}
