// Package hsm is the security module: keys as handles, data keys that seal
// blocks, bulk work on columns, random bytes. A Token is a real module
// (hsm/pkcs11) or the embedded one (hsm/soft).
package hsm

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"strings"
	"time"

	"ankan/gp"
)

// A Purpose says the one thing that a key may be used for.
type Purpose string

// The purposes of the keys of a site.
const (
	Order      Purpose = "order"      // AES-256: wraps the data key of one order or batch; destroyed with it
	Subscriber Purpose = "subscriber" // AES-256: wraps the data key of the operator's subscriber store
	Transport  Purpose = "transport"  // AES-128 or AES-256, or NeedsWaiver: encrypts columns of a response file for one receiver; shared
	Operator   Purpose = "op"         // in form AES-128, an operator's OP of MILENAGE, or AES-256, its TOP of TUAK; shared
	Ledger     Purpose = "ledger"     // HMAC-SHA-256: blinds the identity ledger and fingerprints
	Lot        Purpose = "lot"        // AES-256, or as Method says: the chip maker's transport master key of a lot
	Exchange   Purpose = "exchange"   // AES-256: wraps keys on their way to and from a partner; shared
	Unwrap     Purpose = "unwrap"     // RSA-3072: opens keys that partners wrap by RSA-OAEP
	Agree      Purpose = "agree"      // P-521: receives wrapped keys (ECDH)
	LogSign    Purpose = "log"        // Ed25519: signs checkpoints of the audit log
	SiteSign   Purpose = "site"       // Ed25519: signs certificates and receipts
	MailSign   Purpose = "pgp-sign"   // P-256: OpenPGP primary key
	MailOpen   Purpose = "pgp-open"   // RSA-3072: OpenPGP encryption subkey
)

// An Algorithm names a kind of key and its length.
type Algorithm string

// The algorithms of keys.
const (
	AES128  Algorithm = "AES-128"
	AES256  Algorithm = "AES-256"
	HMAC256 Algorithm = "HMAC-SHA-256"
	P256    Algorithm = "P-256"
	P521    Algorithm = "P-521"
	RSA3072 Algorithm = "RSA-3072"
	Ed25519 Algorithm = "Ed25519"
	TDES    Algorithm = "3DES"      // of two keys, 16 bytes: a transport key under a waiver, and in the keys of lots below
	TDES3   Algorithm = "3DES-3KEY" // of three keys, 24 bytes: a transport key under a waiver
)

// The algorithms of a Lot key whose chips' keys are not made our way: its
// cipher, and the method that makes them. See Cipher and Method.
const (
	LotEMV       Algorithm = "3DES/emv"
	LotVISA2     Algorithm = "3DES/visa2"
	LotNone3DES  Algorithm = "3DES/none"
	LotKDF3      Algorithm = "AES-256/kdf3"
	LotKDF3Short Algorithm = "AES-128/kdf3"
	LotNone      Algorithm = "AES-256/none"
	LotNoneShort Algorithm = "AES-128/none"
)

// The methods that package gp does not have.
const (
	MethodAnkan gp.Method = "ankan" // DiversifyChip
	MethodNone  gp.Method = "none"  // every chip of the lot has the lot's key as each of its own
)

// Cipher is the algorithm without a method: AES128 for LotKDF3Short, and itself
// for most.
func (a Algorithm) Cipher() Algorithm {
	cipher, _, ok := strings.Cut(string(a), "/")
	if !ok || Lot.Fits(a) != nil {
		return a
	}
	return Algorithm(cipher)
}

// Method is how the keys of chips come from a Lot key of this algorithm.
func (a Algorithm) Method() gp.Method {
	if _, method, ok := strings.Cut(string(a), "/"); ok {
		return gp.Method(method)
	}
	return MethodAnkan
}

// Fits says whether a key for this purpose may be of the algorithm; the error
// wraps ErrPurpose.
func (p Purpose) Fits(a Algorithm) error {
	ok := false
	switch p {
	case Order, Subscriber, Exchange:
		ok = a == AES256
	case Lot:
		switch a {
		case AES256, LotEMV, LotVISA2, LotNone3DES, LotKDF3, LotKDF3Short, LotNone, LotNoneShort:
			ok = true
		}
	case Transport:
		ok = a == AES128 || a == AES256 || a.NeedsWaiver()
	case Operator:
		ok = a == AES128 || a == AES256
	case Ledger:
		ok = a == HMAC256
	case Agree:
		ok = a == P521
	case MailSign:
		ok = a == P256
	case LogSign, SiteSign:
		ok = a == Ed25519
	case MailOpen, Unwrap:
		ok = a == RSA3072
	}
	if !ok {
		return fmt.Errorf("%w: %q is no algorithm of a key for %q", ErrPurpose, a, p)
	}
	return nil
}

// Exports says whether a key that was generated for this purpose may leave the
// module, wrapped or in components. Those of every other purpose never do.
func (p Purpose) Exports() bool { return p == Transport || p == Operator || p == Exchange }

// Arrives says whether a key for this purpose may come from elsewhere: given,
// in components or wrapped.
func (p Purpose) Arrives() bool { return p.Exports() || p == Lot }

// BacksUp says whether a key for this purpose may be backed up in shares.
// Those of orders may not, so that their destruction is final; neither may
// those that sign or receive, which are made anew.
func (p Purpose) BacksUp() bool { return p.Arrives() || p == Subscriber || p == Ledger }

// MayArrive refuses a key that does not come from elsewhere; the error wraps
// ErrPurpose.
func (p Purpose) MayArrive(a Algorithm) error {
	if !p.Arrives() {
		return fmt.Errorf("taking a key for %q: %w", p, ErrPurpose)
	}
	return p.Fits(a)
}

// MayBackUp refuses a key that is not backed up; the error wraps ErrPurpose.
func (p Purpose) MayBackUp(a Algorithm) error {
	if !p.BacksUp() {
		return fmt.Errorf("backup of a key for %q: %w", p, ErrPurpose)
	}
	return p.Fits(a)
}

// CheckID refuses what cannot name a key: 1 to 200 printable ASCII characters
// without a space.
func CheckID(id string) error { return checkName("key name", id, 200) }

func checkName(what, name string, most int) error {
	if len(name) == 0 || len(name) > most {
		return fmt.Errorf("%s has %d characters, want 1..%d", what, len(name), most)
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' {
			return fmt.Errorf("%s %q has a character other than printable ASCII at %d", what, name, i+1)
		}
	}
	return nil
}

// Errors that callers branch on.
var (
	ErrNoKey     = errors.New("no such key")
	ErrKeyExists = errors.New("a key with this name exists; keys are never overwritten")
	ErrPurpose   = errors.New("the key's purpose does not allow this")
	ErrClosed    = errors.New("the key is closed")
	ErrSealed    = errors.New("sealed data does not open: wrong key, wrong place, or changed")
)

// A Key describes a key; it holds no secret.
type Key struct {
	ID        string // unique in its token, for ever
	Purpose   Purpose
	Algorithm Algorithm
	Created   time.Time
	KCV       KCV              // of keys of AES and triple DES, by CheckMethod
	Public    crypto.PublicKey // of key pairs: *ecdsa.PublicKey, *rsa.PublicKey, ed25519.PublicKey
	// Exportable says that the key may leave the module: it was generated here
	// for a purpose that Exports. What came from elsewhere never leaves again.
	Exportable bool
}

// Info says what a token is, so that nobody takes one for what it is not.
type Info struct {
	Model       string `json:"model"`       // "Ankan soft token"
	Certified   bool   `json:"certified"`   // FIPS 140 or equivalent, as configured and checked
	Certificate string `json:"certificate"` // its number, or why there is none: "not certified"
	Slot        string `json:"slot,omitempty"`
	Serial      string `json:"serial,omitempty"`
	Firmware    string `json:"firmware,omitempty"`
}

// A Token is a security module. Its methods may be called at the same time.
// No method returns a clear key. A Token's zero value refuses everything.
type Token interface {
	Info() Info

	// Check asks the module whether it is there and works, and changes nothing.
	Check(ctx context.Context) error

	// Random fills p from the module's generator.
	Random(p []byte) error

	// Generate makes a key, durable when it returns; it is Exportable if p
	// Exports. ErrKeyExists if id was ever used.
	Generate(ctx context.Context, id string, p Purpose, a Algorithm) (Key, error)
	// Key describes one key; ErrNoKey if there is none or it was destroyed.
	Key(ctx context.Context, id string) (Key, error)
	// Keys describes all keys, sorted by ID.
	Keys(ctx context.Context) ([]Key, error)
	// Destroyed names all keys that were destroyed here, sorted: the module
	// remembers them for ever.
	Destroyed(ctx context.Context) ([]string, error)
	// Destroy erases a key, durable when it returns. ErrNoKey if it is gone
	// already: what destroys after a crash takes that for success.
	Destroy(ctx context.Context, id string) error

	// Signer signs with a LogSign, SiteSign or MailSign key.
	Signer(ctx context.Context, id string) (crypto.Signer, error)
	// Decrypter decrypts with a MailOpen key (RSA PKCS #1 v1.5 as OpenPGP has it).
	Decrypter(ctx context.Context, id string) (crypto.Decrypter, error)
	// MAC is HMAC-SHA-256 of the parts' concatenation under a Ledger key.
	MAC(ctx context.Context, id string, parts ...[]byte) ([32]byte, error)

	// NewDataKey makes a data key wrapped under an Order or Subscriber key.
	NewDataKey(ctx context.Context, kek string) (*DataKey, Wrapped, error)
	// OpenDataKey opens one. ErrSealed if wrapped is not of this kek.
	OpenDataKey(ctx context.Context, kek string, wrapped Wrapped) (*DataKey, error)
	// GiveDataKey re-wraps a data key for another site's Agree key
	// (ECDH with an ephemeral key, HKDF-SHA-512 bound to label, AES-KW).
	GiveDataKey(ctx context.Context, kek string, wrapped Wrapped, to crypto.PublicKey, label string) (Given, error)
	// TakeDataKey receives what GiveDataKey of the other site made for the
	// Agree key, and wraps it under kek.
	TakeDataKey(ctx context.Context, agree string, given Given, label, kek string) (Wrapped, error)

	// GiveKey wraps an exportable key for another site's Agree key. ErrMaster
	// for a key that stays inside.
	GiveKey(ctx context.Context, id string, to crypto.PublicKey, label string) (Given, error)
	// TakeKey receives a key from GiveKey, or a Lot key from the
	// chip maker's Give, under the name id. p must be one that Arrives. ErrKeyExists if id was ever used,
	// ErrSealed if given is not for this agree key, label, purpose and
	// algorithm.
	TakeKey(ctx context.Context, agree string, given Given, label, id string, p Purpose, a Algorithm) (Key, error)

	// SealColumn encrypts src, a whole number of the cipher's blocks (16 bytes
	// of AES, 8 of triple DES), under a Transport key in one call, in ECB mode:
	// what AuC platforms take. dst is as long as src and may be the same slice.
	SealColumn(ctx context.Context, id string, dst, src []byte) error
	// Translate decrypts src, n records of size bytes encrypted as SealColumn
	// does, and seals each under to with the associated data aad(i), which
	// it does not keep. No clear text leaves the module. It returns n sealed
	// records.
	Translate(ctx context.Context, from string, src []byte, size int, to *DataKey, aad func(i int) []byte) ([][]byte, error)

	// OP lends an operator's OP for drawing the keys of one order.
	OP(ctx context.Context, id string) (*OP, error)

	// ChipKeys derives the key set that the chip maker put on a chip from a
	// Lot key, by its Method: MethodAnkan takes the chip's serial number, the
	// others the ten bytes of key diversification data that the chip gives
	// in INITIALIZE UPDATE.
	ChipKeys(ctx context.Context, lot string, serial []byte) (*ChipKeys, error)
}

// Wrapped is a data key under a key of the module; safe to store.
type Wrapped []byte

// Given is a key on its way to another module; safe to send.
type Given []byte
