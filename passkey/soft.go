package passkey

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"

	"ankan/audit"
)

// SoftModel is the model that a software passkey's credential carries, so that
// no record takes it for a person's finger.
const SoftModel = "software passkey: no biometric, no hardware"

// SoftAAGUID is the number by which a software passkey names itself. Whoever
// writes another one will not say so; what is not attested proves nothing.
const SoftAAGUID = "ankan software 1"

// A Soft is an authenticator in software, for demonstrations and tests. It
// signs real assertions and claims user verification for whoever holds it.
type Soft struct {
	Credential Credential

	// Functions, because fmt follows a pointer in an unexported field.
	key    func() *ecdsa.PrivateKey
	secret func() []byte // of its PRF, 32 bytes
	count  func() uint32 // nil: it keeps no counter
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
	id, secret := make([]byte, 16), make([]byte, 32)
	rand.Read(id)
	rand.Read(secret)
	s := &Soft{
		Credential: Credential{ID: id, RPID: rpID, Origin: origin, Public: der, Model: SoftModel, AAGUID: Bytes(SoftAAGUID), Method: Software},
		key:        func() *ecdsa.PrivateKey { return key },
		secret:     func() []byte { return secret },
	}
	s.Credential.Seal, err = newSealing(s.prf(SealingSalt))
	return s, err
}

// Count makes the passkey count its signatures from n on. It does not by
// itself, as many do not (WebAuthn level 3, 6.1.1), and Save does not keep the
// counter.
func (s *Soft) Count(n uint32) {
	var last atomic.Uint32
	last.Store(n)
	s.count = func() uint32 { return last.Add(1) }
}

// prf answers to a salt as an authenticator with the PRF extension does
// (WebAuthn level 3, 10.1.4; CTAP 2.2, 12.7).
func (s *Soft) prf(salt string) []byte {
	hashed := sha256.Sum256([]byte("WebAuthn PRF\x00" + salt))
	h := hmac.New(sha256.New, s.secret())
	h.Write(hashed[:])
	return h.Sum(nil)
}

// OpenSealing gives the private half of the passkey's Sealing.
func (s *Soft) OpenSealing() (*SealingKey, error) {
	if s == nil || s.secret == nil || s.Credential.Seal == nil {
		return nil, errors.New("passkey: no sealing pair")
	}
	prf := s.prf(SealingSalt)
	defer clear(prf)
	return s.Credential.Seal.open(prf)
}

// Register answers a challenge as a new passkey does. Its attestation says
// nothing ("none", WebAuthn level 3, 8.7).
func (s *Soft) Register(challenge [32]byte) (Registration, error) {
	if s == nil || s.key == nil {
		return Registration{}, errors.New("passkey: no key")
	}
	cd, err := json.Marshal(clientData{Type: "webauthn.create", Challenge: challenge[:], Origin: s.Credential.Origin})
	if err != nil {
		return Registration{}, err
	}
	point, err := s.key().PublicKey.Bytes()
	if err != nil {
		return Registration{}, err
	}
	c := s.Credential
	ad := slices.Concat(s.authData(flagAT), c.AAGUID, []byte{0, byte(len(c.ID))}, c.ID,
		// COSE_Key (RFC 9053, 7.1): EC2, ES256, P-256, x, y.
		[]byte{0xA5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32}, point[1:33], []byte{0x22, 0x58, 32}, point[33:])
	// CBOR of {"fmt": "none", "attStmt": {}, "authData": ad} (6.5.4).
	object := slices.Concat([]byte("\xA3\x63fmt\x64none\x67attStmt\xA0\x68authData\x58"), []byte{byte(len(ad))}, ad)
	return Registration{CredentialID: c.ID, AttestationObject: object, ClientDataJSON: cd, Seal: c.Seal}, nil
}

// authData is the beginning of all authenticator data (6.1).
func (s *Soft) authData(flags byte) []byte {
	rp := sha256.Sum256([]byte(s.Credential.RPID))
	var n uint32
	if s.count != nil {
		n = s.count()
	}
	return binary.BigEndian.AppendUint32(append(rp[:], flags|flagUP|flagUV), n)
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
	ad := s.authData(0)
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
	PRFSecret  Bytes      `json:"prf_secret"`  // 32 bytes
}

// Save writes the passkey to a new file that only its owner can read.
func (s *Soft) Save(path string) error {
	der, err := x509.MarshalPKCS8PrivateKey(s.key())
	if err != nil {
		return err
	}
	doc, err := json.MarshalIndent(softFile{s.Credential, der, s.secret()}, "", "  ")
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
	if c := f.Credential; len(c.ID) != 16 || c.BackupEligible || c.RPID == "" || c.Origin == "" || string(c.AAGUID) != SoftAAGUID || c.Method != Software {
		return nil, errors.New("its credential is not that of a software passkey")
	}
	if len(f.PRFSecret) != 32 {
		return nil, fmt.Errorf("its PRF secret has %d bytes, want 32", len(f.PRFSecret))
	}
	s := &Soft{Credential: f.Credential, key: func() *ecdsa.PrivateKey { return key }, secret: func() []byte { return f.PRFSecret }}
	if _, err := s.OpenSealing(); err != nil {
		return nil, err
	}
	return s, nil
}
