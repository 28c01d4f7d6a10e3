package edge

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"
)

// The files of Keys.
const (
	tlsCertFile = "tls.crt"
	tlsKeyFile  = "tls.key"
	sshKeyFile  = "ssh.key"
)

// certificateLife is long: partners pin the key, not the certificate, and the
// certificate can be renewed for the same key.
const certificateLife = 10 * 365 * 24 * time.Hour

// Keys are the host's own keys: one for TLS and one for SSH, used both when
// partners call and when we call them. They print as a marker.
type Keys struct {
	tls tls.Certificate
	ssh ssh.Signer
}

// Format implements fmt.Formatter.
func (k *Keys) Format(s fmt.State, _ rune) { fmt.Fprint(s, "[edge keys]") }

// LogValue implements slog.LogValuer.
func (k *Keys) LogValue() slog.Value { return slog.StringValue("[edge keys]") }

// Init makes the keys of the host called name in the folder dir, which must
// not hold anything yet: keys are never overwritten. The folder appears whole
// or not at all.
func Init(dir, name string) (*Keys, error) {
	if err := validPeer(name); err != nil {
		return nil, err
	}
	dir = filepath.Clean(dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), ".keys-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	cert, key, err := newCertificate(name)
	if err != nil {
		return nil, err
	}
	_, secret, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	host, err := ssh.MarshalPrivateKey(secret, name)
	if err != nil {
		return nil, err
	}
	for file, block := range map[string]*pem.Block{tlsCertFile: cert, tlsKeyFile: key, sshKeyFile: host} {
		if err := writeNew(filepath.Join(temp, file), pem.EncodeToMemory(block)); err != nil {
			return nil, err
		}
	}
	if err := syncDir(temp); err != nil {
		return nil, err
	}
	// A rename over a folder that has files fails, over an empty one not.
	if err := os.Rename(temp, dir); err != nil {
		return nil, fmt.Errorf("edge keys in %s: the folder is not empty; keys are never overwritten, move it away first: %w", dir, err)
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	return Load(dir)
}

// Load reads the keys that Init made. It refuses files that others than their
// owner can read.
func Load(dir string) (*Keys, error) {
	file := func(name string) ([]byte, error) {
		path := filepath.Join(dir, name)
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("edge key %s is missing; make the keys with edge.Init: %w", path, err)
		}
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
			return nil, fmt.Errorf("edge key %s has mode %v, want a file of mode 0600; others may have read it", path, info.Mode())
		}
		return os.ReadFile(path)
	}
	cert, err := file(tlsCertFile)
	if err != nil {
		return nil, err
	}
	key, err := file(tlsKeyFile)
	if err != nil {
		return nil, err
	}
	host, err := file(sshKeyFile)
	if err != nil {
		return nil, err
	}
	var k Keys
	if k.tls, err = tls.X509KeyPair(cert, key); err != nil {
		return nil, fmt.Errorf("edge TLS key in %s is damaged", dir)
	}
	if k.ssh, err = ssh.ParsePrivateKey(host); err != nil {
		return nil, fmt.Errorf("edge SSH key in %s is damaged", dir)
	}
	return &k, nil
}

// Certificate is the TLS certificate that partners pin.
func (k *Keys) Certificate() *x509.Certificate { return k.tls.Leaf }

// CertificatePEM is the certificate as a partner card has it.
func (k *Keys) CertificatePEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.tls.Leaf.Raw}))
}

// SSH is the SSH public key that partners pin.
func (k *Keys) SSH() ssh.PublicKey { return k.ssh.PublicKey() }

// A pin is the SHA-256 of a certificate's public key (RFC 7469, 2.4).
type pin [sha256.Size]byte

func pinOf(c *x509.Certificate) pin { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

func newCertificate(name string) (cert, key *pem.Block, err error) {
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		DNSNames:              []string{name},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(certificateLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		return nil, nil, err
	}
	return &pem.Block{Type: "CERTIFICATE", Bytes: der}, &pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}, nil
}

func writeNew(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
