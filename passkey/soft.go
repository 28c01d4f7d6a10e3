package passkey

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"ankan/audit"
)

// SoftModel is the model that a software passkey's credential carries, so that
// no record takes it for a person's finger.
const SoftModel = "software passkey: no biometric, no hardware"

// A Soft is an authenticator in software, for demonstrations and tests. It
// signs real assertions and claims user verification for whoever holds it.
type Soft struct {
	Credential Credential

	// A function, because fmt follows a pointer in an unexported field.
	key func() *ecdsa.PrivateKey
}

// NewSoft makes a software passkey for a relying party.
func NewSoft(rpID, origin string) (*Soft, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	id := make([]byte, 16)
	rand.Read(id)
	return &Soft{
		Credential: Credential{ID: id, RPID: rpID, Origin: origin, Public: der, Model: SoftModel},
		key:        func() *ecdsa.PrivateKey { return key },
	}, nil
}

// Sign makes an assertion over challenge.
func (s *Soft) Sign(challenge [32]byte) (Assertion, error) {
	if s == nil || s.key == nil {
		return Assertion{}, errors.New("passkey: no key")
	}
	cd, err := json.Marshal(clientData{Type: "webauthn.get", Challenge: challenge[:], Origin: s.Credential.Origin})
	if err != nil {
		return Assertion{}, err
	}
	rp := sha256.Sum256([]byte(s.Credential.RPID))
	ad := append(rp[:], flagUP|flagUV)
	ad = append(ad, 0, 0, 0, 0) // it keeps no counter (WebAuthn level 3, 6.1.1)
	sig, err := ecdsa.SignASN1(rand.Reader, s.key(), signedDigest(ad, cd))
	if err != nil {
		return Assertion{}, err
	}
	return Assertion{CredentialID: s.Credential.ID, AuthenticatorData: ad, ClientDataJSON: cd, Signature: sig}, nil
}

// Format keeps the private key out of every format verb.
func (s *Soft) Format(f fmt.State, _ rune) { fmt.Fprint(f, "passkey.Soft(private)") }

// LogValue keeps the private key out of logs.
func (s *Soft) LogValue() slog.Value { return slog.StringValue("passkey.Soft(private)") }

// MarshalJSON refuses: a passkey is saved only by Save.
func (s *Soft) MarshalJSON() ([]byte, error) {
	return nil, errors.New("passkey: a software passkey is not marshalled")
}

type softFile struct {
	Credential Credential `json:"credential"`
	Private    Bytes      `json:"private_key"` // PKCS #8
}

// Save writes the passkey to a new file that only its owner can read.
func (s *Soft) Save(path string) error {
	der, err := x509.MarshalPKCS8PrivateKey(s.key())
	if err != nil {
		return err
	}
	doc, err := json.MarshalIndent(softFile{s.Credential, der}, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(append(doc, '\n')); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// LoadSoft reads a passkey that Save wrote.
func LoadSoft(path string) (*Soft, error) {
	doc, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := parseSoft(doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func parseSoft(doc []byte) (*Soft, error) {
	var f softFile
	if err := audit.Strict(doc, &f); err != nil {
		return nil, errors.New("not a software passkey")
	}
	k, err := x509.ParsePKCS8PrivateKey(f.Private)
	if err != nil {
		return nil, errors.New("its private key is not PKCS #8")
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("its private key is not P-256")
	}
	if pub, err := f.Credential.publicKey(); err != nil || !pub.Equal(&key.PublicKey) {
		return nil, errors.New("its public key does not belong to its private key")
	}
	return &Soft{Credential: f.Credential, key: func() *ecdsa.PrivateKey { return key }}, nil
}
