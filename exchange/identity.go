package exchange

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"ankan/hsm"
)

// clockSkew is how far a sender's clock may run ahead of ours.
const clockSkew = 5 * time.Minute

// An Identity is our own OpenPGP key: a P-256 primary key that signs and an
// RSA-3072 subkey that decrypts (RFC 9580, version 4, which GnuPG 2.2 and
// Sequoia read). The private parts stay behind the interfaces they came
// through. The zero Identity neither seals nor opens.
type Identity struct {
	entity  *openpgp.Entity
	armored string
	module  *module // behind the subkey
}

// NewIdentity makes the key of the site called name, as of created, from a
// P-256 signer and an RSA decrypter. Apart from its self-signatures it depends
// on nothing else, so the same arguments make a key with the same fingerprint;
// keep PublicKey and use LoadIdentity from then on.
func NewIdentity(name string, created time.Time, sign crypto.Signer, open crypto.Decrypter) (*Identity, error) {
	uid := packet.NewUserId(name, "", "")
	if uid == nil || strings.TrimSpace(name) == "" {
		return nil, fmt.Errorf("OpenPGP user id %q is empty or has one of ( ) < > or NUL", name)
	}
	created = created.UTC().Truncate(time.Second)
	primary, err := signingKey(created, sign)
	if err != nil {
		return nil, err
	}
	sub, err := decryptionKey(created, open)
	if err != nil {
		return nil, err
	}
	e := &openpgp.Entity{
		PrimaryKey: &primary.PublicKey,
		PrivateKey: primary,
		Identities: map[string]*openpgp.Identity{},
	}
	config := sealConfig()
	certify := keyProperties(primary, created)
	if err := certify.SignUserId(uid.Id, e.PrimaryKey, primary, config); err != nil {
		return nil, fmt.Errorf("signing the OpenPGP user id: %w", err)
	}
	e.Identities[uid.Id] = &openpgp.Identity{
		Primary:            e,
		Name:               uid.Id,
		UserId:             uid,
		SelfCertifications: []*packet.VerifiableSignature{packet.NewVerifiableSig(certify)},
	}
	bind := selfSignature(primary, packet.SigTypeSubkeyBinding, created)
	bind.FlagsValid, bind.FlagEncryptStorage, bind.FlagEncryptCommunications = true, true, true
	if err := bind.SignKey(&sub.PublicKey, primary, config); err != nil {
		return nil, fmt.Errorf("signing the OpenPGP encryption subkey: %w", err)
	}
	e.Subkeys = []openpgp.Subkey{{
		Primary:    e,
		PublicKey:  &sub.PublicKey,
		PrivateKey: sub,
		Bindings:   []*packet.VerifiableSignature{packet.NewVerifiableSig(bind)},
	}}

	var b strings.Builder
	w, err := armor.EncodeWithChecksumOption(&b, openpgp.PublicKeyType, nil, true)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(e.Serialize(w), w.Close()); err != nil {
		return nil, fmt.Errorf("writing the OpenPGP public key: %w", err)
	}
	// What we hand out is what we go on with: read it back.
	return LoadIdentity(b.String()+"\n", sign, open)
}

// LoadIdentity puts the public key that NewIdentity made, and PublicKey
// returned, back around its private keys. It refuses keys that do not belong
// together.
func LoadIdentity(armored string, sign crypto.Signer, open crypto.Decrypter) (*Identity, error) {
	e, err := readPublicKey(armored)
	if err != nil {
		return nil, err
	}
	if len(e.Subkeys) != 1 {
		return nil, fmt.Errorf("OpenPGP key of this site has %d subkeys, want 1", len(e.Subkeys))
	}
	primary, err := signingKey(e.PrimaryKey.CreationTime, sign)
	if err != nil {
		return nil, err
	}
	sub, err := decryptionKey(e.Subkeys[0].PublicKey.CreationTime, open)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(primary.Fingerprint, e.PrimaryKey.Fingerprint) {
		return nil, fmt.Errorf("OpenPGP key is %X, the signing key of the module makes %X", e.PrimaryKey.Fingerprint, primary.Fingerprint)
	}
	if !bytes.Equal(sub.Fingerprint, e.Subkeys[0].PublicKey.Fingerprint) {
		return nil, fmt.Errorf("OpenPGP subkey is %X, the decryption key of the module makes %X", e.Subkeys[0].PublicKey.Fingerprint, sub.Fingerprint)
	}
	e.PrivateKey, e.Subkeys[0].PrivateKey = primary, sub
	return &Identity{entity: e, armored: armored, module: sub.PrivateKey.(*module)}, nil
}

// PublicKey is the armored public key, for partners.
func (i *Identity) PublicKey() string { return i.armored }

// Fingerprint is the fingerprint of the primary key in upper-case hexadecimal,
// "" of the zero Identity.
func (i *Identity) Fingerprint() string {
	if i == nil || i.entity == nil {
		return ""
	}
	return fmt.Sprintf("%X", i.entity.PrimaryKey.Fingerprint)
}

func (i *Identity) usable() error {
	if i == nil || i.entity == nil {
		return errors.New("this site has no OpenPGP identity")
	}
	return nil
}

// sealConfig is how we sign and encrypt.
func sealConfig() *packet.Config {
	return &packet.Config{
		DefaultCipher:          packet.CipherAES256,
		DefaultHash:            crypto.SHA256,
		DefaultCompressionAlgo: packet.CompressionNone,
		AEADConfig:             &packet.AEADConfig{DefaultMode: packet.AEADModeGCM},
	}
}

func selfSignature(key *packet.PrivateKey, kind packet.SignatureType, created time.Time) *packet.Signature {
	return &packet.Signature{
		Version:      key.Version,
		SigType:      kind,
		PubKeyAlgo:   key.PubKeyAlgo,
		Hash:         crypto.SHA256,
		CreationTime: created,
		IssuerKeyId:  &key.KeyId,
	}
}

// keyProperties is the self-signature over the user id. It says what we like:
// AES-256, no compression, and GCM from those who know RFC 9580; the others
// (GnuPG) see a plain version 4 key.
func keyProperties(key *packet.PrivateKey, created time.Time) *packet.Signature {
	const sha256, sha384, sha512 = 8, 9, 10
	sig := selfSignature(key, packet.SigTypePositiveCert, created)
	primary := true
	sig.IsPrimaryId = &primary
	sig.FlagsValid, sig.FlagCertify, sig.FlagSign = true, true, true
	sig.SEIPDv1, sig.SEIPDv2 = true, true
	sig.PreferredSymmetric = []uint8{uint8(packet.CipherAES256), uint8(packet.CipherAES128)}
	sig.PreferredHash = []uint8{sha256, sha512, sha384}
	sig.PreferredCompression = []uint8{uint8(packet.CompressionNone)}
	sig.PreferredCipherSuites = [][2]uint8{
		{uint8(packet.CipherAES256), uint8(packet.AEADModeGCM)},
		{uint8(packet.CipherAES256), uint8(packet.AEADModeOCB)},
	}
	return sig
}

func signingKey(created time.Time, sign crypto.Signer) (*packet.PrivateKey, error) {
	if sign == nil {
		return nil, errors.New("OpenPGP signing key is missing")
	}
	pub, ok := sign.Public().(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return nil, fmt.Errorf("OpenPGP signing key is a %T, want ECDSA on P-256", sign.Public())
	}
	key, err := ecdsaPublicKey(created, pub)
	if err != nil {
		return nil, err
	}
	return &packet.PrivateKey{PublicKey: *key, PrivateKey: sign}, nil
}

// module is the decryption key, which remembers why it last did nothing: the
// library makes a wrong key of that, and a message would be refused for ever
// because a security module was away for a moment.
type module struct {
	crypto.Decrypter
	mu     sync.Mutex
	failed int   // times
	last   error // the last time
}

// Decrypt implements crypto.Decrypter.
func (m *module) Decrypt(random io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	plain, err := m.Decrypter.Decrypt(random, msg, opts)
	if err != nil && !errors.Is(err, hsm.ErrSealed) && !errors.Is(err, rsa.ErrDecryption) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.failed, m.last = m.failed+1, err
	}
	return plain, err
}

// troubles is how often the module failed, and how the last time.
func (m *module) troubles() (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed, m.last
}

func decryptionKey(created time.Time, open crypto.Decrypter) (*packet.PrivateKey, error) {
	if open == nil {
		return nil, errors.New("OpenPGP decryption key is missing")
	}
	pub, ok := open.Public().(*rsa.PublicKey)
	if !ok || pub.N.BitLen() < 3072 {
		return nil, fmt.Errorf("OpenPGP decryption key is a %T, want RSA of 3072 bits or more", open.Public())
	}
	key := packet.NewRSAPublicKey(created, pub)
	key.IsSubkey = true
	return &packet.PrivateKey{PublicKey: *key, PrivateKey: &module{Decrypter: open}}, nil
}

// ecdsaPublicKey goes through the packet's own form (RFC 9580, 5.5.2.2 and
// 5.5.5.4), because the library's type for curves is not exported.
func ecdsaPublicKey(created time.Time, pub *ecdsa.PublicKey) (*packet.PublicKey, error) {
	point, err := pub.Bytes()
	if err != nil {
		return nil, fmt.Errorf("OpenPGP signing key: %w", err)
	}
	oidP256 := []byte{8, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07}
	body := []byte{4}
	body = binary.BigEndian.AppendUint32(body, uint32(created.Unix()))
	body = append(body, byte(packet.PubKeyAlgoECDSA))
	body = append(body, oidP256...)
	body = binary.BigEndian.AppendUint16(body, uint16(len(point)*8-5)) // 04 is 3 bits long
	body = append(body, point...)
	const publicKeyPacket = 0x80 | 0x40 | 6
	p, err := packet.Read(io.MultiReader(bytes.NewReader([]byte{publicKeyPacket, byte(len(body))}), bytes.NewReader(body)))
	if err != nil {
		return nil, fmt.Errorf("OpenPGP signing key: %w", err)
	}
	return p.(*packet.PublicKey), nil
}

// readPublicKey reads one public key and checks that its self-signatures hold,
// whenever they were made.
func readPublicKey(armored string) (*openpgp.Entity, error) {
	keys, err := openpgp.ReadArmoredKeyRing(strings.NewReader(armored))
	if err != nil {
		return nil, fmt.Errorf("OpenPGP public key: %w", err)
	}
	if len(keys) != 1 {
		return nil, fmt.Errorf("OpenPGP public key: found %d keys, want 1", len(keys))
	}
	e := keys[0]
	if e.PrivateKey != nil {
		return nil, errors.New("OpenPGP public key: found a private key; destroy this file and make a new key")
	}
	if _, err := e.PrimarySelfSignature(time.Time{}, nil); err != nil {
		return nil, fmt.Errorf("OpenPGP public key %X: %w", e.PrimaryKey.Fingerprint, err)
	}
	return e, nil
}
