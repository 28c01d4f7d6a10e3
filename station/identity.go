package station

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Fingerprint is the SHA-256 of a public key, as its certificate holds it
// (SubjectPublicKeyInfo). Both sides know each other by it, and by nothing else.
type Fingerprint [32]byte

// FingerprintOf is that of a certificate's key.
func FingerprintOf(c *x509.Certificate) Fingerprint { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// String is the fingerprint as people carry it: SHA256:, then base64.
func (f Fingerprint) String() string {
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(f[:])
}

// ParseFingerprint reads what String writes.
func ParseFingerprint(s string) (Fingerprint, error) {
	b, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimPrefix(s, "SHA256:"))
	if err != nil || len(b) != 32 || !strings.HasPrefix(s, "SHA256:") {
		return Fingerprint{}, fmt.Errorf("fingerprint %q: want SHA256: and 43 characters of base64, as ankan-station show prints it", s)
	}
	return Fingerprint(b), nil
}

// Names of the files of an identity.
const (
	certFile = "certificate.pem"
	keyFile  = "key.pem"
)

// NewIdentity makes a key and a certificate for a name in a folder. It replaces
// none that is there.
func NewIdentity(dir, name string) (Fingerprint, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Fingerprint{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Fingerprint{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return Fingerprint{}, err
	}
	// Nobody looks at the dates: a key is trusted as long as it is configured.
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2099, 12, 31, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return Fingerprint{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Fingerprint{}, err
	}
	defer clear(private)
	if err := create(filepath.Join(dir, keyFile), 0o600, &pem.Block{Type: "PRIVATE KEY", Bytes: private}); err != nil {
		return Fingerprint{}, err
	}
	if err := create(filepath.Join(dir, certFile), 0o644, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		return Fingerprint{}, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return Fingerprint{}, err
	}
	return FingerprintOf(c), nil
}

// create writes a new file and has it on disk.
func create(path string, mode os.FileMode, b *pem.Block) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	return errors.Join(pem.Encode(f, b), f.Sync(), f.Close())
}

// LoadIdentity reads what NewIdentity made.
func LoadIdentity(dir string) (tls.Certificate, Fingerprint, error) {
	c, err := tls.LoadX509KeyPair(filepath.Join(dir, certFile), filepath.Join(dir, keyFile))
	if err != nil {
		return c, Fingerprint{}, err
	}
	return c, FingerprintOf(c.Leaf), nil
}

// TLSConfig is how either side speaks TLS. The plant's hub passes no peer: it
// knows many, and looks them up after the handshake. A station passes the
// plant's.
func TLSConfig(own tls.Certificate, peer *Fingerprint) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAnyClientCert,
		// The keys are pinned: names, dates and issuers say nothing more.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("the other side has no certificate")
			}
			if found := FingerprintOf(s.PeerCertificates[0]); peer != nil && found != *peer {
				return fmt.Errorf("the plant has the key %s, want %s; ask the plant before you change it", found, *peer)
			}
			return nil
		},
		// No resumption: each connection proves its key.
		SessionTicketsDisabled: true,
	}
}
