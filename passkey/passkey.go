// Package passkey makes and checks WebAuthn assertions over a digest: the
// signature of a person who was verified by an authenticator. It is pure, so
// that whoever holds an exported log can check each signature again, offline.
// What registers an authenticator is package attest.
package passkey

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// A Bytes is binary data that JSON carries as base64url without padding, as
// WebAuthn does.
type Bytes []byte

// MarshalText implements encoding.TextMarshaler.
func (b Bytes) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Bytes) UnmarshalText(text []byte) (err error) {
	*b, err = base64.RawURLEncoding.Strict().AppendDecode(nil, text)
	return err
}

// A Credential is the public half of a passkey. It holds no secret that could
// be used without the authenticator.
type Credential struct {
	ID     Bytes  `json:"id"`
	RPID   string `json:"rp_id"`      // relying party: the host name that the passkey is bound to
	Origin string `json:"origin"`     // where a browser shows it, "https://…"
	Public Bytes  `json:"public_key"` // P-256, SubjectPublicKeyInfo (DER)
	Model  string `json:"model"`      // what made it: "software passkey", or the authenticator's name
	AAGUID Bytes  `json:"aaguid"`     // 16 bytes, the model's number; proved only if Method is
	Method Method `json:"method"`
	// BackupEligible says that the passkey can be copied to other devices, as
	// those that a vendor's cloud keeps are (WebAuthn level 3, 6.1.3).
	BackupEligible bool     `json:"backup_eligible"`
	Seal           *Sealing `json:"seal,omitempty"` // nil: no key component can be sealed for this person
}

// A Method is what the verification of a user by this authenticator can prove.
// It is as strong as the weakest way that the model allows, and never more.
// The zero value is of a credential that does not exist.
type Method string

// What can be proved. Only a model whose attestation was verified has more
// than UnknownMethod.
const (
	Biometric      Method = "biometric"
	BiometricOrPIN Method = "biometric or PIN"
	PIN            Method = "PIN"
	UnknownMethod  Method = "user verified, method unknown"
	Software       Method = "software: nobody was verified"
)

// UnmarshalText refuses what is not a method.
func (m *Method) UnmarshalText(text []byte) error {
	switch v := Method(text); v {
	case "", Biometric, BiometricOrPIN, PIN, UnknownMethod, Software:
		*m = v
		return nil
	}
	return fmt.Errorf("method of user verification is %q, want one like %q", text, BiometricOrPIN)
}

// An Assertion is one signature by a passkey (WebAuthn level 3, 6.3.3).
type Assertion struct {
	CredentialID      Bytes `json:"credential_id"`
	AuthenticatorData Bytes `json:"authenticator_data"`
	ClientDataJSON    Bytes `json:"client_data_json"`
	Signature         Bytes `json:"signature"`
}

// A Proof says what an assertion showed beyond the key's possession.
type Proof struct {
	UserPresent bool
	// UserVerified says that the authenticator checked a biometric or a PIN.
	// It does not tell which of the two.
	UserVerified   bool
	BackupEligible bool
	BackedUp       bool   // it lies in a second place now
	SignCount      uint32 // for CheckCounter; 0 from an authenticator that does not count
}

// Errors that callers branch on. ErrAssertion is wrapped by every refusal of
// Verify.
var (
	ErrAssertion = errors.New("passkey signature refused")
	ErrCloned    = errors.New("the passkey's counter went back: it may be a copy")
)

// CheckCounter compares the counter of a new signature with that of the last
// one that was accepted: it must have grown, unless the authenticator keeps
// none (WebAuthn level 3, 6.1.1). Otherwise ErrCloned.
func CheckCounter(last, now uint32) error {
	if now > last || now == 0 && last == 0 {
		return nil
	}
	return fmt.Errorf("%w: it was %d and is %d; stop the passkey and ask its owner", ErrCloned, last, now)
}

// Flags of authenticator data (WebAuthn level 3, 6.1).
const (
	flagUP = 0x01 // user present
	flagUV = 0x04 // user verified
	flagBE = 0x08 // backup eligible
	flagBS = 0x10 // backup state
	flagAT = 0x40 // attested credential data follow
)

type clientData struct {
	Type        string `json:"type"`
	Challenge   Bytes  `json:"challenge"`
	Origin      string `json:"origin"`
	CrossOrigin bool   `json:"crossOrigin"`
}

// Verify checks that a was made by c over challenge, for c's relying party
// and origin, by a user who was present and verified (WebAuthn level 3, 7.2).
func (c Credential) Verify(a Assertion, challenge [32]byte) (Proof, error) {
	refuse := func(format string, args ...any) (Proof, error) {
		return Proof{}, fmt.Errorf("%w: %s", ErrAssertion, fmt.Sprintf(format, args...))
	}
	if len(c.ID) == 0 || len(c.Public) == 0 || c.RPID == "" || c.Origin == "" {
		return refuse("the credential is incomplete")
	}
	if !bytes.Equal(a.CredentialID, c.ID) {
		return refuse("it is of another passkey")
	}
	var cd clientData
	if err := json.Unmarshal(a.ClientDataJSON, &cd); err != nil {
		return refuse("client data is not JSON")
	}
	switch {
	case cd.Type != "webauthn.get":
		return refuse("type is %q, want \"webauthn.get\"", cd.Type)
	case !bytes.Equal(cd.Challenge, challenge[:]):
		return refuse("it is over other bytes than these")
	case cd.Origin != c.Origin || cd.CrossOrigin:
		return refuse("origin is %q, want %q", cd.Origin, c.Origin)
	}
	ad := a.AuthenticatorData
	if len(ad) < 37 {
		return refuse("authenticator data has %d bytes, want at least 37", len(ad))
	}
	if rp := sha256.Sum256([]byte(c.RPID)); !bytes.Equal(ad[:32], rp[:]) {
		return refuse("it is for another relying party than %q", c.RPID)
	}
	p := Proof{
		UserPresent:    ad[32]&flagUP != 0,
		UserVerified:   ad[32]&flagUV != 0,
		BackupEligible: ad[32]&flagBE != 0,
		BackedUp:       ad[32]&flagBS != 0,
		SignCount:      binary.BigEndian.Uint32(ad[33:37]),
	}
	switch {
	case !p.UserPresent || !p.UserVerified:
		return refuse("the user was not verified (biometric or PIN); use an authenticator that asks for one")
	case p.BackedUp && !p.BackupEligible:
		return refuse("it says that it is backed up and that it cannot be")
	case p.BackupEligible != c.BackupEligible:
		return refuse("whether it can be copied changed since it was registered; register it again")
	}
	pub, err := c.publicKey()
	if err != nil {
		return refuse("%v", err)
	}
	if !ecdsa.VerifyASN1(pub, signedDigest(ad, a.ClientDataJSON), a.Signature) {
		return refuse("the signature is wrong")
	}
	return p, nil
}

func (c Credential) publicKey() (*ecdsa.PublicKey, error) {
	k, err := x509.ParsePKIXPublicKey(c.Public)
	if err != nil {
		return nil, errors.New("the public key is not a SubjectPublicKeyInfo")
	}
	pub, ok := k.(*ecdsa.PublicKey)
	if !ok || pub.Curve.Params().BitSize != 256 {
		return nil, errors.New("the public key is not P-256")
	}
	return pub, nil
}

// signedDigest is what an authenticator signs: the hash of its data and of
// the client data's hash.
func signedDigest(authData, clientDataJSON []byte) []byte {
	cd := sha256.Sum256(clientDataJSON)
	h := sha256.New()
	h.Write(authData)
	h.Write(cd[:])
	return h.Sum(nil)
}
