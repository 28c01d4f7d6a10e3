package passkey

import (
	"errors"
	"fmt"
)

// ErrCloned is wrapped where a passkey's counter did not rise.
var ErrCloned = errors.New("the passkey's counter went back: it may be a copy")

// CheckCounter compares the counter of an assertion with the last one seen
// (WebAuthn level 3, 6.1.1). Both are 0 for a passkey that keeps none.
func CheckCounter(last, now uint32) error {
	if now > last || now == 0 && last == 0 {
		return nil
	}
	return fmt.Errorf("%w: it is %d and was %d", ErrCloned, now, last)
}
