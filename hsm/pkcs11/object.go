package pkcs11

import (
	"crypto"
	"crypto/aes"
	"crypto/des"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/asn1"
	"fmt"
	"math/big"

	ck "github.com/miekg/pkcs11"

	"ankan/hsm"
)

// uses are what an object may be used for. Templates name every use, so that
// none is left to a vendor's default.
type uses struct{ encrypt, decrypt, sign, wrap, unwrap, derive bool }

// usesOf are the uses that a purpose needs.
func (t *token) usesOf(p hsm.Purpose) uses {
	switch p {
	case hsm.Order, hsm.Subscriber:
		return uses{wrap: true, unwrap: true}
	case hsm.Transport:
		return uses{encrypt: true, decrypt: true}
	case hsm.Exchange: // its CMAC derives the keys of a key block
		u := uses{wrap: true, unwrap: true, sign: t.has(jobCMAC), encrypt: !t.has(jobCMAC)}
		if !t.has(jobKeyWrapPad) { // it is done here, block by block
			u.encrypt, u.decrypt = true, true
		}
		return u
	case hsm.Lot:
		return uses{sign: t.has(jobCMAC), encrypt: !t.has(jobCMAC)}
	case hsm.Ledger, hsm.LogSign, hsm.SiteSign, hsm.MailSign:
		return uses{sign: true}
	case hsm.MailOpen, hsm.Unwrap:
		return uses{decrypt: true}
	case hsm.Agree:
		return uses{derive: true}
	}
	return uses{} // an OP is only read
}

func (u uses) secret() []attribute {
	return []attribute{
		flag(ck.CKA_ENCRYPT, u.encrypt), flag(ck.CKA_DECRYPT, u.decrypt), flag(ck.CKA_SIGN, u.sign), flag(ck.CKA_VERIFY, false),
		flag(ck.CKA_WRAP, u.wrap), flag(ck.CKA_UNWRAP, u.unwrap), flag(ck.CKA_DERIVE, u.derive),
	}
}

func (u uses) private() []attribute {
	return []attribute{
		flag(ck.CKA_DECRYPT, u.decrypt), flag(ck.CKA_SIGN, u.sign), flag(ck.CKA_SIGN_RECOVER, false),
		flag(ck.CKA_UNWRAP, u.unwrap), flag(ck.CKA_DERIVE, u.derive),
	}
}

// public are the uses of the public half of a session's key pair, which this
// process never uses.
func (u uses) public() []attribute {
	return []attribute{flag(ck.CKA_ENCRYPT, u.decrypt), flag(ck.CKA_VERIFY, u.sign), flag(ck.CKA_WRAP, false)}
}

// secretKey is the template of a secret key. A length of 0 is what is
// unwrapped: a template must not give it then (PKCS #11 v2.40, 5.7).
func secretKey(kind uint, length int, token, extractable bool, u uses) []attribute {
	template := []attribute{
		number(ck.CKA_CLASS, ck.CKO_SECRET_KEY), number(ck.CKA_KEY_TYPE, kind), flag(ck.CKA_TOKEN, token),
		flag(ck.CKA_PRIVATE, true), flag(ck.CKA_SENSITIVE, true), flag(ck.CKA_EXTRACTABLE, extractable),
	}
	if length > 0 {
		template = append(template, number(ck.CKA_VALUE_LEN, uint(length)))
	}
	return append(template, u.secret()...)
}

// sessionKey is the template of a secret key that goes with its session.
func sessionKey(kind uint, length int, extractable bool, u uses) []attribute {
	return secretKey(kind, length, false, extractable, u)
}

// kindOf is the type and length in bytes of a secret key.
func kindOf(a hsm.Algorithm) (kind uint, length int) {
	switch a.Cipher() {
	case hsm.AES128:
		return ck.CKK_AES, 16
	case hsm.HMAC256:
		return ck.CKK_GENERIC_SECRET, 32
	case hsm.TDES:
		return ck.CKK_DES2, 16
	case hsm.TDES3:
		return ck.CKK_DES3, 24
	}
	return ck.CKK_AES, 32
}

// makes is the job that makes a secret key of the algorithm, and the length to
// ask for: keys of triple DES have the one of their type.
func makes(a hsm.Algorithm) (job string, length int) {
	switch _, length = kindOf(a); a {
	case hsm.HMAC256:
		return jobHMACKey, length
	case hsm.TDES:
		return jobDES2Key, 0
	case hsm.TDES3:
		return jobDES3Key, 0
	}
	return jobAESKey, length
}

// ecbOf is the job that enciphers blocks under a key of the algorithm, and their
// length.
func ecbOf(a hsm.Algorithm) (job string, size int) {
	if a.NeedsWaiver() {
		return jobDESECB, des.BlockSize
	}
	return jobECB, aes.BlockSize
}

// does refuses a key that the token has no mechanism for.
func (t *token) does(a hsm.Algorithm) error {
	if a.NeedsWaiver() && !(t.has(jobDES2Key) && t.has(jobDES3Key) && t.has(jobDESECB)) {
		return fmt.Errorf("%w: token %q does no triple DES", ErrConfig, t.info.Model)
	}
	return nil
}

// classOf is the class of the key object.
func classOf(a hsm.Algorithm) uint {
	switch a.Cipher() {
	case hsm.AES128, hsm.AES256, hsm.HMAC256, hsm.TDES, hsm.TDES3:
		return ck.CKO_SECRET_KEY
	}
	return ck.CKO_PRIVATE_KEY
}

// curves are the names of an algorithm's curve (CKA_EC_PARAMS), one of which a
// token takes: object identifiers, and for Ed25519 also the name that PKCS #11
// v3.0 has and the identifier of before RFC 8410.
func curves(a hsm.Algorithm) [][]byte {
	switch a {
	case hsm.P256:
		return [][]byte{{0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07}}
	case hsm.P521:
		return [][]byte{{0x06, 0x05, 0x2B, 0x81, 0x04, 0x00, 0x23}}
	}
	return [][]byte{
		{0x06, 0x03, 0x2B, 0x65, 0x70},
		append([]byte{0x13, 12}, "edwards25519"...),
		{0x06, 0x09, 0x2B, 0x06, 0x01, 0x04, 0x01, 0xDA, 0x47, 0x0F, 0x01},
	}
}

// pair makes a key pair of the session.
func (s *session) pair(a hsm.Algorithm, u uses) (pub, priv objectHandle, err error) {
	kind, job, params := uint(ck.CKK_EC), jobECKey, [][]byte{nil}
	switch a {
	case hsm.RSA3072:
		kind, job = ck.CKK_RSA, jobRSAKey
	case hsm.Ed25519:
		kind, job, params = ckkEdwards, jobEd25519Key, curves(a)
	default:
		params = curves(a)
	}
	for i, curve := range params {
		public := []attribute{
			number(ck.CKA_CLASS, ck.CKO_PUBLIC_KEY), number(ck.CKA_KEY_TYPE, kind),
			flag(ck.CKA_TOKEN, false), flag(ck.CKA_PRIVATE, false),
		}
		if curve != nil {
			public = append(public, text(ck.CKA_EC_PARAMS, curve))
		} else {
			public = append(public, number(ck.CKA_MODULUS_BITS, 3072), text(ck.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}))
		}
		private := []attribute{
			number(ck.CKA_CLASS, ck.CKO_PRIVATE_KEY), number(ck.CKA_KEY_TYPE, kind), flag(ck.CKA_TOKEN, false),
			flag(ck.CKA_PRIVATE, true), flag(ck.CKA_SENSITIVE, true), flag(ck.CKA_EXTRACTABLE, false),
		}
		pub, priv, again := s.api.GenerateKeyPair(s.handle, s.mech(job), append(public, u.public()...), append(private, u.private()...))
		if again == nil {
			return pub, priv, nil
		}
		if i == 0 || lost(again) {
			err = fmt.Errorf("C_GenerateKeyPair for %s: %w", a, again)
		}
		if lost(again) {
			break
		}
	}
	return 0, 0, err
}

// point reads a public point of this many bytes. Tokens give it as the DER of
// an OCTET STRING, as PKCS #11 v2.40 has it, or of a BIT STRING, or bare.
func (s *session) point(pub objectHandle, size int) ([]byte, error) {
	values, err := s.read(pub, ck.CKA_EC_POINT)
	if err != nil {
		return nil, err
	}
	return parsePoint(values[0], size)
}

func parsePoint(b []byte, size int) ([]byte, error) {
	if len(b) == size {
		return b, nil
	}
	var octets []byte
	if rest, err := asn1.Unmarshal(b, &octets); err == nil && len(rest) == 0 && len(octets) == size {
		return octets, nil
	}
	var bits asn1.BitString
	if rest, err := asn1.Unmarshal(b, &bits); err == nil && len(rest) == 0 && bits.BitLength == 8*size {
		return bits.Bytes, nil
	}
	return nil, fmt.Errorf("the token gives a public point of %d bytes, want %d or the DER of them", len(b), size)
}

// public reads the public half of a key pair.
func (s *session) public(pub objectHandle, a hsm.Algorithm) (crypto.PublicKey, error) {
	switch a {
	case hsm.RSA3072:
		values, err := s.read(pub, ck.CKA_MODULUS, ck.CKA_PUBLIC_EXPONENT)
		if err != nil {
			return nil, err
		}
		n, e := new(big.Int).SetBytes(values[0]), new(big.Int).SetBytes(values[1])
		if n.BitLen() != 3072 || e.Cmp(big.NewInt(65537)) != 0 {
			return nil, fmt.Errorf("the token made an RSA key of %d bits with exponent %v, want 3072 and 65537", n.BitLen(), e)
		}
		return &rsa.PublicKey{N: n, E: 65537}, nil
	case hsm.Ed25519:
		point, err := s.point(pub, ed25519.PublicKeySize)
		return ed25519.PublicKey(point), err
	}
	curve := curveOf(a)
	point, err := s.point(pub, 1+2*((curve.Params().BitSize+7)/8))
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, fmt.Errorf("the token's public key: %w", err)
	}
	return key, nil
}

// blocks is a key in the token as a cipher.Block, one call for each block. After
// an error it computes nothing, and err says why.
type blocks struct {
	*session
	key       objectHandle
	algorithm hsm.Algorithm
	err       error
}

// BlockSize implements cipher.Block.
func (b *blocks) BlockSize() int {
	_, n := ecbOf(b.algorithm)
	return n
}

// Encrypt implements cipher.Block.
func (b *blocks) Encrypt(dst, src []byte) { b.one(dst, src, true) }

// Decrypt implements cipher.Block.
func (b *blocks) Decrypt(dst, src []byte) { b.one(dst, src, false) }

func (b *blocks) one(dst, src []byte, encrypt bool) {
	if n := b.BlockSize(); b.err == nil {
		b.err = b.ecb(b.algorithm, b.key, dst[:n], src[:n], encrypt)
	}
}

// chunk is how much goes through the token in one call.
const chunk = 64 << 10

// ecb encrypts or decrypts whole blocks, in one call for each chunk.
func (s *session) ecb(a hsm.Algorithm, key objectHandle, dst, src []byte, encrypt bool) error {
	job, _ := ecbOf(a)
	for len(src) > 0 {
		n := min(len(src), chunk)
		var out []byte
		var err error
		if encrypt {
			if err = s.api.EncryptInit(s.handle, s.mech(job), key); err == nil {
				out, err = s.api.Encrypt(s.handle, src[:n])
			}
		} else {
			if err = s.api.DecryptInit(s.handle, s.mech(job), key); err == nil {
				out, err = s.api.Decrypt(s.handle, src[:n])
			}
		}
		if err != nil {
			return fmt.Errorf("%s in ECB mode in the token: %w", a, err)
		}
		if len(out) != n {
			clear(out)
			return fmt.Errorf("%s in ECB mode in the token gave %d bytes for %d", a, len(out), n)
		}
		copy(dst, out)
		if !encrypt {
			clear(out)
		}
		dst, src = dst[n:], src[n:]
	}
	return nil
}

// sign signs a message: HMAC, CMAC, ECDSA of a digest or Ed25519.
func (s *session) sign(job string, key objectHandle, message []byte) ([]byte, error) {
	if err := s.api.SignInit(s.handle, s.mech(job), key); err != nil {
		return nil, fmt.Errorf("C_SignInit for %s: %w", job, err)
	}
	out, err := s.api.Sign(s.handle, message)
	if err != nil {
		return nil, fmt.Errorf("C_Sign for %s: %w", job, err)
	}
	return out, nil
}
