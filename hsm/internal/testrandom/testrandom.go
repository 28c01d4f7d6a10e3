// Package testrandom holds the leave to give a module another source of
// randomness. Only packages of the module can import it, and of them only
// hsmtest makes one, for a running test.
package testrandom

import (
	"crypto/rsa"
	"io"
)

// A Source stands in for the module's generator. The zero value is none.
type Source struct {
	R io.Reader
	// RSA gives a key pair for each new RSA key; nil: one is drawn.
	RSA func() (*rsa.PrivateKey, error)
}
