//go:build !cgo

package pkcs11

import "errors"

// load refuses: the library is C.
func load(string) (cryptoki, error) {
	return nil, errors.New("this build has no PKCS#11; build with: make build-pkcs11")
}
