package pkcs11

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"ankan/hsm"
)

// application marks our data objects (CKA_APPLICATION).
const application = "ankan"

// A record is what a token keeps of a key besides the key: a data object whose
// label is the key's name and whose value is lines of text,
//
//	ankan key 1
//	id 616e6b616e2f...          CKA_ID of the key object
//	purpose order
//	algorithm AES-256
//	created 2026-11-25T16:03:40Z
//	exportable no
//	kcv C35280 GP               of keys of AES and triple DES
//	public MFkwEwYHKoZIzj0...   of key pairs: PKIX in base64
//
// The tombstone of a destroyed key has "ankan gone 1" for its first line and
// stays for ever.
type record struct {
	id   string // of the key object: keyIDPrefix and 16 random bytes
	gone bool
	key  hsm.Key
}

const (
	firstLive = "ankan key 1"
	firstGone = "ankan gone 1"

	// keyIDPrefix begins the CKA_ID of every key object of ours.
	keyIDPrefix = "ankan/"
	keyIDLen    = len(keyIDPrefix) + 16
)

var errRecord = errors.New("malformed record")

// encode writes what parseRecord reads.
func (r *record) encode() ([]byte, error) {
	first := firstLive
	if r.gone {
		first = firstGone
	}
	public := ""
	if r.key.Public != nil {
		der, err := x509.MarshalPKIXPublicKey(r.key.Public)
		if err != nil {
			return nil, err
		}
		public = base64.StdEncoding.EncodeToString(der)
	}
	exportable := "no"
	if r.key.Exportable {
		exportable = "yes"
	}
	var b strings.Builder
	b.WriteString(first + "\n")
	for _, f := range [][2]string{
		{"id", hex.EncodeToString([]byte(r.id))},
		{"purpose", string(r.key.Purpose)},
		{"algorithm", string(r.key.Algorithm)},
		{"created", r.key.Created.UTC().Format(time.RFC3339)},
		{"exportable", exportable},
		{"kcv", r.key.KCV.String()},
		{"public", public},
	} {
		if f[1] != "" {
			b.WriteString(f[0] + " " + f[1] + "\n")
		}
	}
	return []byte(b.String()), nil
}

// parseRecord reads the record of the key of this name, and nothing else:
// encode gives the same bytes again.
func parseRecord(name string, b []byte) (record, error) {
	bad := func(why string) (record, error) {
		return record{}, fmt.Errorf("%w of key %q: %s", errRecord, name, why)
	}
	if err := hsm.CheckID(name); err != nil {
		return record{}, fmt.Errorf("%w: %w", errRecord, err)
	}
	lines := strings.Split(string(b), "\n")
	r := record{gone: lines[0] == firstGone, key: hsm.Key{ID: name}}
	fields := map[string]string{}
	for _, line := range lines[1:] {
		if field, value, ok := strings.Cut(line, " "); ok {
			fields[field] = value
		}
	}
	id, err := hex.DecodeString(fields["id"])
	if err != nil || len(id) != keyIDLen || !strings.HasPrefix(string(id), keyIDPrefix) {
		return bad("its id is no id of a key object of ours")
	}
	r.id = string(id)
	r.key.Purpose, r.key.Algorithm = hsm.Purpose(fields["purpose"]), hsm.Algorithm(fields["algorithm"])
	if err := r.key.Purpose.Fits(r.key.Algorithm); err != nil {
		return bad(err.Error())
	}
	if r.key.Created, err = time.Parse(time.RFC3339, fields["created"]); err != nil {
		return bad("its time of creation is none")
	}
	r.key.Exportable = fields["exportable"] == "yes"
	if r.key.Exportable && !r.key.Purpose.Exports() {
		return bad("a key for " + string(r.key.Purpose) + " never leaves")
	}
	if err := r.key.KCV.UnmarshalText([]byte(fields["kcv"])); err != nil {
		return bad(err.Error())
	}
	if text, ok := fields["public"]; ok {
		der, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil {
			return bad("its public key is not base64")
		}
		if r.key.Public, err = x509.ParsePKIXPublicKey(der); err != nil {
			return bad("its public key is none")
		}
	}
	if !describes(&r.key) {
		return bad("it does not describe a key of " + string(r.key.Algorithm))
	}
	again, err := r.encode()
	if err != nil || string(again) != string(b) {
		return bad("it is not as this program writes it")
	}
	return r, nil
}

// describes says whether a key has the check value or the public key that its
// algorithm calls for, and nothing else.
func describes(k *hsm.Key) bool {
	switch k.Algorithm.Cipher() {
	case hsm.AES128, hsm.AES256, hsm.TDES, hsm.TDES3:
		return k.KCV.Method() == k.Algorithm.CheckMethod() && k.Public == nil
	case hsm.HMAC256:
		return k.KCV.IsZero() && k.Public == nil
	case hsm.P256, hsm.P521:
		pub, ok := k.Public.(*ecdsa.PublicKey)
		return ok && k.KCV.IsZero() && pub.Curve == curveOf(k.Algorithm)
	case hsm.RSA3072:
		pub, ok := k.Public.(*rsa.PublicKey)
		return ok && k.KCV.IsZero() && pub.N.BitLen() == 3072
	case hsm.Ed25519:
		_, ok := k.Public.(ed25519.PublicKey)
		return ok && k.KCV.IsZero()
	}
	return false
}

func curveOf(a hsm.Algorithm) elliptic.Curve {
	if a == hsm.P521 {
		return elliptic.P521()
	}
	return elliptic.P256()
}
