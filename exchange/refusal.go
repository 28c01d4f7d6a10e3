package exchange

import "fmt"

// A Reason says why a message was refused, in a word that logs and tests can
// count on.
type Reason string

// The reasons for which Open refuses a message.
const (
	NotOpenPGP    Reason = "not-openpgp"    // not an OpenPGP message, or not a well-formed one
	NotEncrypted  Reason = "not-encrypted"  // readable by anybody
	ByPassphrase  Reason = "by-passphrase"  // opens with a passphrase as well
	NotForUs      Reason = "not-for-us"     // encrypted to other keys
	NoIntegrity   Reason = "no-integrity"   // an old packet that can be changed unseen
	NotSigned     Reason = "not-signed"     // encrypted but by nobody knows whom
	UnknownSigner Reason = "unknown-signer" // signed by a key that is not the partner's
	KeyExpired    Reason = "key-expired"    // the signer's key is out of date
	KeyRevoked    Reason = "key-revoked"    // the signer's key was revoked
	BadSignature  Reason = "bad-signature"  // the signature does not hold
	Damaged       Reason = "damaged"        // the content was changed on its way
	Truncated     Reason = "truncated"      // the end is missing
	Trailing      Reason = "trailing"       // something stands after the end
	TooLarge      Reason = "too-large"      // more than the limits allow, or a decompression bomb
	Changed       Reason = "changed"        // not the file that was verified
)

// A Refusal is the error for a message that must not be used.
type Refusal struct {
	Reason Reason
	File   string // as given to Open
	Text   string // what was found, what was wanted, and what to do
}

func (r *Refusal) Error() string { return r.File + ": " + r.Text }

func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Text: fmt.Sprintf(format, args...)}
}
