package soft

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"ankan/hsm"
)

// Signer implements hsm.Token. The signer looks the key up each time: it
// refuses when the key is destroyed or the token closed.
func (t *Token) Signer(ctx context.Context, id string) (crypto.Signer, error) {
	k, err := t.use(ctx, id, hsm.LogSign, hsm.SiteSign, hsm.MailSign)
	if err != nil {
		return nil, err
	}
	return &signer{token: t, id: id, public: k.Public}, nil
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
func (s *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k, err := s.token.use(context.Background(), s.id, hsm.LogSign, hsm.SiteSign, hsm.MailSign)
	if err != nil {
		return nil, err
	}
	if opts == nil {
		return nil, fmt.Errorf("key %q: signing without a hash named", s.id)
	}
	if _, ok := k.signer.(ed25519.PrivateKey); !ok {
		if h := opts.HashFunc(); h == 0 || len(digest) != h.Size() {
			return nil, fmt.Errorf("key %q: digest has %d bytes, which are not of %v", s.id, len(digest), h)
		}
	}
	return k.signer.Sign(rand.Reader, digest, opts)
}

// Decrypter implements hsm.Token. Like a signer it looks the key up each time.
func (t *Token) Decrypter(ctx context.Context, id string) (crypto.Decrypter, error) {
	k, err := t.use(ctx, id, hsm.MailOpen)
	if err != nil {
		return nil, err
	}
	return &decrypter{token: t, id: id, public: k.Public}, nil
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
func (d *decrypter) Decrypt(_ io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	k, err := d.token.use(context.Background(), d.id, hsm.MailOpen)
	if err != nil {
		return nil, err
	}
	switch opts.(type) {
	//lint:ignore SA1019 OpenPGP knows no other padding; the options carry the constant-time road
	case nil, *rsa.PKCS1v15DecryptOptions:
	default:
		return nil, fmt.Errorf("key %q: %w: decryption other than PKCS #1 v1.5", d.id, hsm.ErrPurpose)
	}
	plain, err := k.open.Decrypt(rand.Reader, msg, opts)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", d.id, hsm.ErrSealed)
	}
	return plain, nil
}

// MAC implements hsm.Token.
func (t *Token) MAC(ctx context.Context, id string, parts ...[]byte) (mac [32]byte, err error) {
	k, err := t.use(ctx, id, hsm.Ledger)
	if err != nil {
		return mac, err
	}
	h, ok := k.macs.Get().(hash.Hash)
	if !ok {
		err := t.reveal(k, func(secret []byte) error {
			h = hmac.New(sha256.New, secret)
			return nil
		})
		if err != nil {
			return mac, err
		}
	}
	defer k.macs.Put(h)
	h.Reset()
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(mac[:0])
	return mac, nil
}

// NewDataKey implements hsm.Token. Data keys are wrapped by RFC 3394.
func (t *Token) NewDataKey(ctx context.Context, kek string) (*hsm.DataKey, hsm.Wrapped, error) {
	k, err := t.use(ctx, kek, hsm.Order, hsm.Subscriber)
	if err != nil {
		return nil, nil, err
	}
	clearKey := make([]byte, 32)
	defer clear(clearKey)
	if err := t.Random(clearKey); err != nil {
		return nil, nil, err
	}
	wrapped, err := hsm.WrapKey(k.block, clearKey)
	if err != nil {
		return nil, nil, err
	}
	dk, err := hsm.NewDataKey(clearKey)
	return dk, wrapped, err
}

// OpenDataKey implements hsm.Token.
func (t *Token) OpenDataKey(ctx context.Context, kek string, wrapped hsm.Wrapped) (*hsm.DataKey, error) {
	clearKey, err := t.unwrap(ctx, kek, wrapped)
	if err != nil {
		return nil, err
	}
	defer clear(clearKey)
	return hsm.NewDataKey(clearKey)
}

// unwrap opens a wrapped data key; the caller wipes it.
func (t *Token) unwrap(ctx context.Context, kek string, wrapped hsm.Wrapped) ([]byte, error) {
	k, err := t.use(ctx, kek, hsm.Order, hsm.Subscriber)
	if err != nil {
		return nil, err
	}
	clearKey, err := hsm.UnwrapKey(k.block, wrapped)
	if err == nil && len(clearKey) != 32 {
		clear(clearKey)
		err = hsm.ErrSealed
	}
	if err != nil {
		return nil, fmt.Errorf("data key under %q: %w", kek, err)
	}
	return clearKey, nil
}

// GiveDataKey implements hsm.Token.
func (t *Token) GiveDataKey(ctx context.Context, kek string, wrapped hsm.Wrapped, to crypto.PublicKey, label string) (hsm.Given, error) {
	clearKey, err := t.unwrap(ctx, kek, wrapped)
	if err != nil {
		return nil, err
	}
	defer clear(clearKey)
	return hsm.Give(to, hsm.DataKeyContent, label, clearKey)
}

// TakeDataKey implements hsm.Token.
func (t *Token) TakeDataKey(ctx context.Context, agree string, given hsm.Given, label, kek string) (hsm.Wrapped, error) {
	k, err := t.use(ctx, kek, hsm.Order, hsm.Subscriber)
	if err != nil {
		return nil, err
	}
	clearKey, err := t.take(ctx, agree, given, hsm.DataKeyContent, label)
	if err != nil {
		return nil, err
	}
	defer clear(clearKey)
	if len(clearKey) != 32 {
		return nil, fmt.Errorf("data key for %q has %d bytes, want 32: %w", agree, len(clearKey), hsm.ErrSealed)
	}
	return hsm.WrapKey(k.block, clearKey)
}

func (t *Token) take(ctx context.Context, agree string, given hsm.Given, what hsm.Content, label string) ([]byte, error) {
	k, err := t.use(ctx, agree, hsm.Agree)
	if err != nil {
		return nil, err
	}
	secret, err := hsm.Take(given, what, label, k.Public, k.agree.ECDH)
	if err != nil {
		return nil, fmt.Errorf("%s for %q: %w", what, agree, err)
	}
	return secret, nil
}

// GiveKey implements hsm.Token.
func (t *Token) GiveKey(ctx context.Context, id string, to crypto.PublicKey, label string) (given hsm.Given, err error) {
	k, err := t.exportable(ctx, id)
	if err != nil {
		return nil, err
	}
	err = t.reveal(k, func(secret []byte) error {
		given, err = hsm.Give(to, hsm.KeyContent(k.Purpose, k.Algorithm), label, secret)
		return err
	})
	return given, err
}

// TakeKey implements hsm.Token.
func (t *Token) TakeKey(ctx context.Context, agree string, given hsm.Given, label, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	s, err := t.open()
	if err != nil {
		return hsm.Key{}, err
	}
	if err := p.MayArrive(a); err != nil {
		return hsm.Key{}, err
	}
	return s.add(ctx, id, p, a, false, func() ([]byte, error) {
		return t.take(ctx, agree, given, hsm.KeyContent(p, a), label)
	})
}

var errColumn = errors.New("column is not a whole number of values")

// SealColumn implements hsm.Token.
func (t *Token) SealColumn(ctx context.Context, id string, dst, src []byte) error {
	k, err := t.use(ctx, id, hsm.Transport)
	if err != nil {
		return err
	}
	n := k.block.BlockSize()
	if len(src)%n != 0 || len(dst) != len(src) {
		return fmt.Errorf("%w: %d bytes into %d, want a multiple of %d", errColumn, len(src), len(dst), n)
	}
	for i := 0; i < len(src); i += n {
		k.block.Encrypt(dst[i:i+n], src[i:i+n])
	}
	return nil
}

// Translate implements hsm.Token. The records share one piece of memory.
func (t *Token) Translate(ctx context.Context, from string, src []byte, size int, to *hsm.DataKey, aad func(i int) []byte) ([][]byte, error) {
	k, err := t.use(ctx, from, hsm.Transport)
	if err != nil {
		return nil, err
	}
	block := k.block.BlockSize()
	if size <= 0 || size%block != 0 || len(src)%size != 0 {
		return nil, fmt.Errorf("%w: %d bytes in records of %d", errColumn, len(src), size)
	}
	if err := to.Err(); err != nil {
		return nil, err
	}
	n := len(src) / size
	sealed := make([][]byte, n)
	room := make([]byte, 0, n*(size+hsm.SealOverhead))
	record := make([]byte, size)
	defer clear(record)
	for i := range sealed {
		for j := 0; j < size; j += block {
			k.block.Decrypt(record[j:j+block], src[i*size+j:])
		}
		start := len(room)
		room = to.Seal(room, record, aad(i))
		sealed[i] = room[start:len(room):len(room)]
	}
	return sealed, nil
}

// OP implements hsm.Token.
func (t *Token) OP(ctx context.Context, id string) (op *hsm.OP, err error) {
	k, err := t.use(ctx, id, hsm.Operator)
	if err != nil {
		return nil, err
	}
	err = t.reveal(k, func(secret []byte) error {
		op, err = hsm.NewOP(secret)
		return err
	})
	return op, err
}

// ChipKeys implements hsm.Token.
func (t *Token) ChipKeys(ctx context.Context, lot string, serial []byte) (keys *hsm.ChipKeys, err error) {
	k, err := t.use(ctx, lot, hsm.Lot)
	if err != nil {
		return nil, err
	}
	err = t.reveal(k, func(secret []byte) error {
		keys, err = hsm.NewChipKeys(k.Algorithm, secret, serial)
		return err
	})
	return keys, err
}
