//go:build !cgo

package hardware

import "testing"

func TestBuildWithoutC(t *testing.T) {
	refused(t, configure(t), "this build has no PKCS#11; build with: make build-pkcs11")
}
