package pkcs11

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"

	ck "github.com/miekg/pkcs11"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"ankan/hsm"
	"ankan/scp"
)

// use runs f with a key for one of these purposes, or for any if none is
// named, in a session. f may run twice.
func (t *Token) use(ctx context.Context, id string, f func(s *session, k *key) error, purposes ...hsm.Purpose) error {
	s, err := t.open()
	if err != nil {
		return err
	}
	return s.do(ctx, func(s *session) error { return s.with(id, f, purposes...) })
}

// with finds a key and runs f with it, once more if another process destroyed
// the object behind the handle.
func (s *session) with(id string, f func(s *session, k *key) error, purposes ...hsm.Purpose) error {
	for try := 0; ; try++ {
		k, err := s.get(id)
		if err != nil {
			return err
		}
		if len(purposes) > 0 && !slices.Contains(purposes, k.Purpose) {
			return fmt.Errorf("key %q is for %q: %w", id, k.Purpose, hsm.ErrPurpose)
		}
		err = f(s, k)
		if try == 0 && stale(err) {
			s.forget(id)
			delete(s.line.keys, id)
			continue
		}
		return err
	}
}

// Signer implements hsm.Token. The signer looks the key up each time: it
// refuses when the key is destroyed or the token closed.
func (t *Token) Signer(ctx context.Context, id string) (crypto.Signer, error) {
	public, err := t.public(ctx, id, hsm.LogSign, hsm.SiteSign, hsm.MailSign)
	if err != nil {
		return nil, err
	}
	return &signer{t, id, public}, nil
}

func (t *Token) public(ctx context.Context, id string, purposes ...hsm.Purpose) (public crypto.PublicKey, err error) {
	err = t.use(ctx, id, func(_ *session, k *key) error {
		public = k.Public
		return nil
	}, purposes...)
	return public, err
}

type signer struct {
	token  *Token
	id     string
	public crypto.PublicKey
}

// Public implements crypto.Signer.
func (s *signer) Public() crypto.PublicKey { return s.public }

// Sign implements crypto.Signer: Ed25519 of a message (RFC 8032), ECDSA P-256
// of a digest as ASN.1. Randomness is the module's own.
func (s *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) (signature []byte, err error) {
	err = s.token.use(context.Background(), s.id, func(on *session, k *key) error {
		if opts == nil {
			return fmt.Errorf("key %q: signing without a hash named", s.id)
		}
		h := opts.HashFunc()
		if k.Algorithm == hsm.Ed25519 {
			if o, ok := opts.(*ed25519.Options); h != 0 || ok && o.Context != "" {
				return fmt.Errorf("key %q: %w: Ed25519 of a digest or with a context", s.id, hsm.ErrPurpose)
			}
			if signature, err = on.sign(jobEd25519, k.object, digest); err == nil && len(signature) != ed25519.SignatureSize {
				err = fmt.Errorf("key %q: the token gave a signature of %d bytes, want %d", s.id, len(signature), ed25519.SignatureSize)
			}
			return err
		}
		if h == 0 || len(digest) != h.Size() {
			return fmt.Errorf("key %q: digest has %d bytes, which are not of %v", s.id, len(digest), h)
		}
		// ECDSA takes as many bytes as the curve's order has (FIPS 186-5, 6.4.1).
		raw, err := on.sign(jobECDSA, k.object, digest[:min(len(digest), 32)])
		if err != nil {
			return err
		}
		signature, err = signatureASN1(raw)
		return err
	}, hsm.LogSign, hsm.SiteSign, hsm.MailSign)
	return signature, err
}

// signatureASN1 turns r and s, one after the other, into the form of SEC 1,
// C.5.
func signatureASN1(raw []byte) ([]byte, error) {
	if len(raw) != 64 {
		return nil, fmt.Errorf("the token gave an ECDSA signature of %d bytes, want 64", len(raw))
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[:32]))
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[32:]))
	})
	return b.Bytes()
}

// Decrypter implements hsm.Token. Like a signer it looks the key up each time.
func (t *Token) Decrypter(ctx context.Context, id string) (crypto.Decrypter, error) {
	public, err := t.public(ctx, id, hsm.MailOpen)
	if err != nil {
		return nil, err
	}
	return &decrypter{t, id, public}, nil
}

type decrypter struct {
	token  *Token
	id     string
	public crypto.PublicKey
}

// Public implements crypto.Decrypter.
func (d *decrypter) Public() crypto.PublicKey { return d.public }

// Decrypt implements crypto.Decrypter for PKCS #1 v1.5 and nothing else. With
// a SessionKeyLen a wrong padding gives a random session key, in the same time.
func (d *decrypter) Decrypt(_ io.Reader, msg []byte, opts crypto.DecrypterOpts) (plain []byte, err error) {
	length := 0
	switch o := opts.(type) {
	case nil:
	//lint:ignore SA1019 OpenPGP knows no other padding; the options carry the constant-time road
	case *rsa.PKCS1v15DecryptOptions:
		length = o.SessionKeyLen
	default:
		err = fmt.Errorf("key %q: %w: decryption other than PKCS #1 v1.5", d.id, hsm.ErrPurpose)
	}
	if err == nil {
		err = d.token.use(context.Background(), d.id, func(s *session, k *key) error {
			plain, err = s.openPKCS1(k, msg, length)
			return err
		}, hsm.MailOpen)
	}
	if err != nil {
		return nil, err
	}
	return plain, nil
}

// openPKCS1 opens RSA with PKCS #1 v1.5 padding. The token computes the bare
// RSA and the padding is looked at here, in constant time, unless the token
// must look at it (CKM_RSA_PKCS): then its time is the token's.
func (s *session) openPKCS1(k *key, msg []byte, length int) ([]byte, error) {
	pub := k.Public.(*rsa.PublicKey)
	sealed := fmt.Errorf("key %q: %w", k.ID, hsm.ErrSealed)
	// Whoever sends knows both of these; they tell him nothing.
	if len(msg) > pub.Size() || new(big.Int).SetBytes(msg).Cmp(pub.N) >= 0 || length > pub.Size()-11 {
		return nil, sealed
	}
	msg = append(make([]byte, pub.Size()-len(msg)), msg...)
	instead := randomBytes(max(length, 0))
	if s.table[jobRSADecrypt] == ck.CKM_RSA_X_509 {
		padded, err := s.bareRSA(k, msg)
		if err != nil {
			return nil, err
		}
		defer clear(padded)
		return unpad(padded, length, instead, sealed)
	}
	if err := s.api.DecryptInit(s.handle, s.mech(jobRSADecrypt), k.object); err != nil {
		return nil, fmt.Errorf("C_DecryptInit: %w", err)
	}
	out, err := s.api.Decrypt(s.handle, msg)
	defer clear(out)
	if lost(err) || stale(err) {
		return nil, fmt.Errorf("C_Decrypt: %w", err)
	}
	if length <= 0 {
		if err != nil {
			return nil, sealed
		}
		return slices.Clone(out), nil
	}
	got := make([]byte, length)
	copy(got, out)
	ok := subtle.ConstantTimeEq(int32(len(out)), int32(length))
	if err != nil {
		ok = 0
	}
	subtle.ConstantTimeCopy(ok, instead, got)
	clear(got)
	return instead, nil
}

// unpad takes PKCS #1 v1.5 padding off (RFC 8017, 7.2.2). With a length it is
// in constant time, and gives instead for what is padded wrongly or of another
// length; without one it gives sealed.
func unpad(padded []byte, length int, instead []byte, sealed error) ([]byte, error) {
	if length > 0 {
		zero := len(padded) - length - 1 // where the padding ends
		ok := subtle.ConstantTimeByteEq(padded[0], 0) & subtle.ConstantTimeByteEq(padded[1], 2) & subtle.ConstantTimeByteEq(padded[zero], 0)
		for _, b := range padded[2:zero] {
			ok &^= subtle.ConstantTimeByteEq(b, 0)
		}
		subtle.ConstantTimeCopy(ok, instead, padded[zero+1:])
		return instead, nil
	}
	if padded[0] != 0 || padded[1] != 2 {
		return nil, sealed
	}
	zero := slices.Index(padded[2:], 0)
	if zero < 8 {
		return nil, sealed
	}
	return slices.Clone(padded[2+zero+1:]), nil
}

// MAC implements hsm.Token.
func (t *Token) MAC(ctx context.Context, id string, parts ...[]byte) (mac [32]byte, err error) {
	err = t.use(ctx, id, func(s *session, k *key) error {
		out, err := s.sign(jobHMAC, k.object, slices.Concat(parts...))
		if err == nil && copy(mac[:], out) != len(out) {
			err = fmt.Errorf("the token gave an HMAC of %d bytes, want 32", len(out))
		}
		return err
	}, hsm.Ledger)
	return mac, err
}

// wrappedLen is the length of a data key under AES key wrap.
const wrappedLen = 32 + 8

// NewDataKey implements hsm.Token. The token makes the data key and wraps it
// by RFC 3394.
func (t *Token) NewDataKey(ctx context.Context, kek string) (dk *hsm.DataKey, wrapped hsm.Wrapped, err error) {
	err = t.use(ctx, kek, func(s *session, k *key) error {
		o, err := s.api.GenerateKey(s.handle, s.mech(jobAESKey), sessionKey(ck.CKK_AES, 32, true, uses{encrypt: true}))
		if err != nil {
			return fmt.Errorf("C_GenerateKey: %w", err)
		}
		defer s.discard(o)
		if wrapped, err = s.wrap(k, o); err != nil {
			return err
		}
		value, err := s.look(o)
		if err != nil {
			return err
		}
		defer clear(value)
		dk, err = hsm.NewDataKey(value)
		return err
	}, hsm.Order, hsm.Subscriber)
	if err != nil {
		return nil, nil, err
	}
	return dk, wrapped, nil
}

// wrap wraps a key of the session under a key.
func (s *session) wrap(k *key, o objectHandle) ([]byte, error) {
	wrapped, err := s.api.WrapKey(s.handle, s.mech(jobKeyWrap), k.object, o)
	if err != nil {
		return nil, fmt.Errorf("C_WrapKey under %q: %w", k.ID, err)
	}
	return wrapped, nil
}

// unwrap opens a wrapped key into the session.
func (s *session) unwrap(job string, k *key, wrapped []byte, template []attribute) (objectHandle, error) {
	o, err := s.api.UnwrapKey(s.handle, s.mech(job), k.object, wrapped, template)
	if err == nil {
		return o, nil
	}
	if is(err, ck.CKR_WRAPPED_KEY_INVALID, ck.CKR_WRAPPED_KEY_LEN_RANGE, ck.CKR_ENCRYPTED_DATA_INVALID, ck.CKR_ENCRYPTED_DATA_LEN_RANGE) {
		return 0, hsm.ErrSealed
	}
	err = fmt.Errorf("C_UnwrapKey under %q: %w", k.ID, err)
	if lost(err) || stale(err) {
		return 0, err
	}
	// Some tokens have no better word for what does not open than a general
	// error. It was that if they open what they wrap themselves, and this again
	// not.
	probe, probeErr := s.api.GenerateKey(s.handle, s.mech(jobAESKey), sessionKey(ck.CKK_AES, 32, true, uses{encrypt: true}))
	if probeErr != nil {
		return 0, err
	}
	defer s.discard(probe)
	good, probeErr := s.api.WrapKey(s.handle, s.mech(job), k.object, probe)
	if probeErr != nil {
		return 0, err
	}
	opened, probeErr := s.api.UnwrapKey(s.handle, s.mech(job), k.object, good, sessionKey(ck.CKK_AES, 0, true, uses{encrypt: true}))
	if probeErr != nil {
		return 0, err
	}
	s.discard(opened)
	if o, err := s.api.UnwrapKey(s.handle, s.mech(job), k.object, wrapped, template); err == nil {
		return o, nil
	} else if lost(err) || stale(err) {
		return 0, fmt.Errorf("C_UnwrapKey under %q: %w", k.ID, err)
	}
	return 0, hsm.ErrSealed
}

// dataKey opens a wrapped data key into our memory; the caller wipes it.
func (s *session) dataKey(k *key, wrapped []byte) ([]byte, error) {
	if len(wrapped) != wrappedLen {
		return nil, fmt.Errorf("data key under %q: %w", k.ID, hsm.ErrSealed)
	}
	o, err := s.unwrap(jobKeyWrap, k, wrapped, sessionKey(ck.CKK_AES, 0, true, uses{encrypt: true}))
	if err != nil {
		return nil, fmt.Errorf("data key under %q: %w", k.ID, err)
	}
	defer s.discard(o)
	return s.look(o)
}

// OpenDataKey implements hsm.Token.
func (t *Token) OpenDataKey(ctx context.Context, kek string, wrapped hsm.Wrapped) (dk *hsm.DataKey, err error) {
	err = t.use(ctx, kek, func(s *session, k *key) error {
		value, err := s.dataKey(k, wrapped)
		if err != nil {
			return err
		}
		defer clear(value)
		dk, err = hsm.NewDataKey(value)
		return err
	}, hsm.Order, hsm.Subscriber)
	return dk, err
}

// GiveDataKey implements hsm.Token.
func (t *Token) GiveDataKey(ctx context.Context, kek string, wrapped hsm.Wrapped, to crypto.PublicKey, label string) (given hsm.Given, err error) {
	err = t.use(ctx, kek, func(s *session, k *key) error {
		value, err := s.dataKey(k, wrapped)
		if err != nil {
			return err
		}
		defer clear(value)
		given, err = hsm.Give(to, hsm.DataKeyContent, label, value)
		return err
	}, hsm.Order, hsm.Subscriber)
	return given, err
}

// TakeDataKey implements hsm.Token.
func (t *Token) TakeDataKey(ctx context.Context, agree string, given hsm.Given, label, kek string) (wrapped hsm.Wrapped, err error) {
	err = t.use(ctx, kek, func(s *session, k *key) error {
		value, err := s.take(agree, given, hsm.DataKeyContent, label)
		if err != nil {
			return err
		}
		defer clear(value)
		if len(value) != 32 {
			return fmt.Errorf("data key for %q has %d bytes, want 32: %w", agree, len(value), hsm.ErrSealed)
		}
		wrapped, err = s.wrapValue(k, value)
		return err
	}, hsm.Order, hsm.Subscriber)
	return wrapped, err
}

// wrapValue wraps a data key that is in our memory.
func (s *session) wrapValue(k *key, value []byte) ([]byte, error) {
	o, err := s.pass(value, sessionKey(ck.CKK_AES, 0, true, uses{encrypt: true}))
	if err != nil {
		return nil, err
	}
	defer s.discard(o)
	return s.wrap(k, o)
}

// take opens what was given to an Agree key; the caller wipes it.
func (s *session) take(agree string, given hsm.Given, what hsm.Content, label string) (value []byte, err error) {
	err = s.with(agree, func(s *session, k *key) error {
		// What is of the token is not of the envelope.
		var tokenErr error
		value, err = hsm.Take(given, what, label, k.Public.(*ecdsa.PublicKey), func(theirs *ecdh.PublicKey) ([]byte, error) {
			shared, err := s.agree(k, theirs)
			tokenErr = err
			return shared, err
		})
		if tokenErr != nil {
			return tokenErr
		}
		if err != nil {
			return fmt.Errorf("%s for %q: %w", what, agree, err)
		}
		return nil
	}, hsm.Agree)
	return value, err
}

// agree computes the shared secret of P-521, 66 bytes, in the token and brings
// it out: HKDF is not in PKCS #11 v2.40.
func (s *session) agree(k *key, theirs *ecdh.PublicKey) ([]byte, error) {
	const size = 66
	m := s.mech(jobECDH)
	m.point = theirs.Bytes()
	sensitive := s.has(jobKeyWrapPad)
	template := sessionKey(ck.CKK_GENERIC_SECRET, size, true, uses{})
	if !sensitive {
		template = slices.DeleteFunc(template, func(a attribute) bool { return a.kind == ck.CKA_SENSITIVE })
		template = append(template, flag(ck.CKA_SENSITIVE, false))
	}
	o, err := s.api.DeriveKey(s.handle, m, k.object, template)
	if err != nil {
		return nil, fmt.Errorf("C_DeriveKey: %w", err)
	}
	defer s.discard(o)
	var shared []byte
	if sensitive {
		shared, err = s.lookPadded(o)
	} else {
		// Without a wrap for a length that no block divides, it must be read.
		var values [][]byte
		if values, err = s.read(o, ck.CKA_VALUE); err == nil {
			shared = values[0]
		}
	}
	if n := len(shared); n == size+6 && [6]byte(shared[size:]) == [6]byte{} {
		shared = shared[:size] // SoftHSM pads with zeros before it wraps with padding
	}
	if err == nil && len(shared) != size {
		clear(shared)
		err = fmt.Errorf("the token derived a secret of %d bytes, want %d", len(shared), size)
	}
	return shared, err
}

// GiveKey implements hsm.Token.
func (t *Token) GiveKey(ctx context.Context, id string, to crypto.PublicKey, label string) (given hsm.Given, err error) {
	err = t.export(ctx, id, func(_ *session, k *key, value []byte) error {
		given, err = hsm.Give(to, hsm.KeyContent(k.Purpose, k.Algorithm), label, value)
		return err
	})
	return given, err
}

// mayLeave refuses a key that stays in the token.
func mayLeave(k *key) error {
	if !k.Exportable {
		return fmt.Errorf("key %q for %q: %w", k.ID, k.Purpose, hsm.ErrMaster)
	}
	return nil
}

// export gives f the value of an exportable key, which is wiped after.
func (t *Token) export(ctx context.Context, id string, f func(s *session, k *key, value []byte) error) error {
	return t.use(ctx, id, func(s *session, k *key) error {
		if err := mayLeave(k); err != nil {
			return err
		}
		return s.reveal(k, func(value []byte) error { return f(s, k, value) })
	})
}

// reveal gives f the value of a key that can be wrapped, which is wiped after.
func (s *session) reveal(k *key, f func(value []byte) error) error {
	value, err := s.look(k.object)
	if err != nil {
		return err
	}
	defer clear(value)
	return f(value)
}

// TakeKey implements hsm.Token. The key stands in our memory for this call.
func (t *Token) TakeKey(ctx context.Context, agree string, given hsm.Given, label, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	if err := t.arrives(p, a); err != nil {
		return hsm.Key{}, err
	}
	return t.arriving(ctx, id, p, a, func(s *session) ([]byte, error) {
		return s.take(agree, given, hsm.KeyContent(p, a), label)
	})
}

// errColumn: what is to be encrypted or decrypted has an odd length.
var errColumn = errors.New("column is not a whole number of values")

// SealColumn implements hsm.Token, 64 KiB in one call.
func (t *Token) SealColumn(ctx context.Context, id string, dst, src []byte) error {
	done := 0 // where dst is src, what is encrypted must not be so again
	return t.use(ctx, id, func(s *session, k *key) error {
		if _, block := ecbOf(k.Algorithm); len(src)%block != 0 || len(dst) != len(src) {
			return fmt.Errorf("%w: %d bytes into %d, want a multiple of %d", errColumn, len(src), len(dst), block)
		}
		for done < len(src) {
			n := min(len(src)-done, chunk)
			if err := s.ecb(k.Algorithm, k.object, dst[done:done+n], src[done:done+n], true); err != nil {
				return err
			}
			done += n
		}
		return nil
	}, hsm.Transport)
}

// Translate implements hsm.Token. The records share one piece of memory. Clear
// text stands in our memory for 64 KiB of records, as the data key does.
func (t *Token) Translate(ctx context.Context, from string, src []byte, size int, to *hsm.DataKey, aad func(i int) []byte) ([][]byte, error) {
	// The key is looked at before the arguments, as every method does.
	block := 0
	if err := t.use(ctx, from, func(_ *session, k *key) error { _, block = ecbOf(k.Algorithm); return nil }, hsm.Transport); err != nil {
		return nil, err
	}
	if size <= 0 || size%block != 0 || len(src)%size != 0 {
		return nil, fmt.Errorf("%w: %d bytes in records of %d", errColumn, len(src), size)
	}
	if err := to.Err(); err != nil {
		return nil, err
	}
	n := len(src) / size
	sealed := make([][]byte, 0, n)
	room := make([]byte, 0, n*(size+hsm.SealOverhead))
	each := max(chunk/size, 1) // records in a call
	plain := make([]byte, min(each, n)*size)
	defer clear(plain)
	for len(src) > 0 {
		some := plain[:min(len(plain), len(src))]
		err := t.use(ctx, from, func(s *session, k *key) error { return s.ecb(k.Algorithm, k.object, some, src[:len(some)], false) }, hsm.Transport)
		if err != nil {
			return nil, err
		}
		for record := range slices.Chunk(some, size) {
			start := len(room)
			room = to.Seal(room, record, aad(len(sealed)))
			sealed = append(sealed, room[start:len(room):len(room)])
		}
		src = src[len(some):]
	}
	return sealed, nil
}

// OP implements hsm.Token.
func (t *Token) OP(ctx context.Context, id string) (op *hsm.OP, err error) {
	err = t.use(ctx, id, func(s *session, k *key) error {
		return s.reveal(k, func(value []byte) error {
			op, err = hsm.NewOP(value)
			return err
		})
	}, hsm.Operator)
	return op, err
}

// ChipKeys implements hsm.Token. The master key stays in the token, which
// computes the CMACs, or the blocks of them if it has no CMAC.
func (t *Token) ChipKeys(ctx context.Context, lot string, serial []byte) (keys *hsm.ChipKeys, err error) {
	err = t.use(ctx, lot, func(s *session, k *key) error {
		keys, err = hsm.NewChipKeysBy(k.Algorithm, s.cmac(k), serial)
		return err
	}, hsm.Lot)
	return keys, err
}

// cmac is AES-CMAC under a key.
func (s *session) cmac(k *key) func(message []byte) ([]byte, error) {
	return func(message []byte) ([]byte, error) {
		if s.has(jobCMAC) {
			return s.sign(jobCMAC, k.object, message)
		}
		b := &blocks{session: s, key: k.object, algorithm: k.Algorithm}
		sum := scp.SumCMAC(b, message)
		return sum[:], b.err
	}
}
