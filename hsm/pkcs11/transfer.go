package pkcs11

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"

	ck "github.com/miekg/pkcs11"

	"ankan/hsm"
)

var _ hsm.Module = (*Token)(nil)

// opener opens what was given to an Agree key, which it first finds.
func (s *session) opener(agree string) (hsm.Opener, error) {
	if err := s.with(agree, func(*session, *key) error { return nil }, hsm.Agree); err != nil {
		return nil, err
	}
	return func(given hsm.Given, what hsm.Content, label string) ([]byte, error) {
		return s.take(agree, given, what, label)
	}, nil
}

// arriving adds a key that comes from elsewhere: value gives it into our
// memory. Arrives has allowed its purpose.
func (t *Token) arriving(ctx context.Context, id string, p hsm.Purpose, a hsm.Algorithm, value func(s *session) ([]byte, error)) (hsm.Key, error) {
	s, err := t.open()
	if err != nil {
		return hsm.Key{}, err
	}
	return s.add(ctx, id, p, a, false, func(s *session) (draft, error) {
		v, err := value(s)
		if err != nil {
			clear(v)
			return draft{}, err
		}
		return s.imported(p, a, v)
	})
}

// CheckComponent implements hsm.Transfer. The component stands in our memory
// for this call.
func (t *Token) CheckComponent(ctx context.Context, agree string, c hsm.Component) error {
	return t.use(ctx, agree, func(s *session, _ *key) error {
		open, err := s.opener(agree)
		if err != nil {
			return err
		}
		part, err := c.Open(open)
		clear(part)
		return err
	}, hsm.Agree)
}

// Combine implements hsm.Transfer. The components and the key stand in our
// memory for this call.
func (t *Token) Combine(ctx context.Context, agree string, parts []hsm.Component, id string, p hsm.Purpose, a hsm.Algorithm, want hsm.KCV) (hsm.Key, error) {
	if err := t.arrives(p, a); err != nil {
		return hsm.Key{}, err
	}
	return t.arriving(ctx, id, p, a, func(s *session) ([]byte, error) {
		open, err := s.opener(agree)
		if err != nil {
			return nil, err
		}
		return hsm.CombineComponents(parts, a, want, open)
	})
}

// arrives refuses a token that is none before it looks at a purpose.
func (t *Token) arrives(p hsm.Purpose, a hsm.Algorithm) error {
	if _, err := t.open(); err != nil {
		return err
	}
	return p.MayArrive(a)
}

// Split implements hsm.Transfer. The key and the components stand in our
// memory for this call.
func (t *Token) Split(ctx context.Context, id, set string, method hsm.KCVMethod, to []hsm.Holder) (parts []hsm.Component, err error) {
	err = t.export(ctx, id, func(s *session, k *key, value []byte) error {
		parts, err = hsm.SplitComponents(value, k.Algorithm, set, method, to, s.random)
		return err
	})
	return parts, err
}

// GenerateShared implements hsm.Transfer. The token makes the key, which can be
// wrapped for as long as its session knows it; the key and the shares stand in
// our memory for this call. After ErrGone the key may be there without its
// shares: it is to be destroyed, and another name used.
func (t *Token) GenerateShared(ctx context.Context, id string, p hsm.Purpose, a hsm.Algorithm, set string, threshold int, to []hsm.Holder) (hsm.Key, []hsm.Share, error) {
	s, err := t.open()
	if err != nil {
		return hsm.Key{}, nil, err
	}
	if err := p.MayBackUp(a); err != nil {
		return hsm.Key{}, nil, err
	}
	var shares []hsm.Share
	k, err := s.add(ctx, id, p, a, p.Exports(), s.generated(p, a, func(s *session, value []byte) (err error) {
		shares, err = hsm.SplitShares(value, a, set, threshold, to, s.random)
		return err
	}))
	if err != nil {
		return hsm.Key{}, nil, err
	}
	return k, shares, nil
}

// CheckShare implements hsm.Transfer. The share stands in our memory for this
// call.
func (t *Token) CheckShare(ctx context.Context, agree string, share hsm.Share) error {
	return t.use(ctx, agree, func(s *session, _ *key) error {
		open, err := s.opener(agree)
		if err != nil {
			return err
		}
		content, err := share.Open(open)
		clear(content)
		return err
	}, hsm.Agree)
}

// Restore implements hsm.Transfer. The shares and the key stand in our memory
// for this call.
func (t *Token) Restore(ctx context.Context, agree string, shares []hsm.Share, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	if _, err := t.open(); err != nil {
		return hsm.Key{}, err
	}
	if err := p.MayBackUp(a); err != nil {
		return hsm.Key{}, err
	}
	return t.arriving(ctx, id, p, a, func(s *session) ([]byte, error) {
		open, err := s.opener(agree)
		if err != nil {
			return nil, err
		}
		return hsm.JoinShares(shares, a, open)
	})
}

// Export implements hsm.Transfer. By AES-KW and AES-KWP the key goes from the
// token wrapped; by the other formats, and by AES-KWP where the token has none,
// it stands in our memory for this call.
func (t *Token) Export(ctx context.Context, id string, w hsm.Wrapping) (blob []byte, err error) {
	err = t.use(ctx, id, func(s *session, k *key) error {
		if err := mayLeave(k); err != nil {
			return err
		}
		if err := w.CheckExport(k.Algorithm); err != nil {
			return fmt.Errorf("key %q: %w", id, err)
		}
		if w.Key == "" {
			return s.reveal(k, func(value []byte) error {
				if w.Format == hsm.OAEP {
					blob, err = hsm.WrapOAEP(w.To, w.Label, value)
				} else {
					blob, err = hsm.Give(w.To, hsm.KeyContent(k.Purpose, k.Algorithm), w.Label, value)
				}
				return err
			})
		}
		return s.with(w.Key, func(s *session, under *key) error {
			if w.Key == id {
				return fmt.Errorf("key %q under itself: %w", id, hsm.ErrPurpose)
			}
			if err := hsm.CheckStrength(k.Algorithm, under.Algorithm.Strength()); err != nil {
				return err
			}
			blob, err = s.exportUnder(under, k, w.Format)
			return err
		}, hsm.Exchange)
	})
	return blob, err
}

// exportUnder wraps a key under an Exchange key.
func (s *session) exportUnder(under, k *key, f hsm.Format) (blob []byte, err error) {
	job := jobKeyWrap
	switch {
	case f == hsm.TR31:
		err = s.reveal(k, func(value []byte) error {
			blob, err = hsm.WrapTR31(s.sum(under), under.Algorithm, k.Purpose, k.Algorithm, value)
			return err
		})
		return blob, err
	case f == hsm.KWP && !s.has(jobKeyWrapPad):
		err = s.reveal(k, func(value []byte) error {
			b := &blocks{session: s, key: under.object, algorithm: under.Algorithm}
			if blob, err = hsm.WrapKeyPad(b, value); b.err != nil {
				err = b.err
			}
			return err
		})
		return blob, err
	case f == hsm.KWP:
		job = jobKeyWrapPad
	}
	blob, err = s.api.WrapKey(s.handle, s.mech(job), under.object, k.object)
	if err != nil {
		return nil, fmt.Errorf("C_WrapKey under %q: %w", under.ID, err)
	}
	return blob, nil
}

// sum is AES-CMAC under a key.
func (s *session) sum(k *key) hsm.MACFunc {
	mac := s.cmac(k)
	return func(message []byte) (sum [16]byte, err error) {
		out, err := mac(message)
		if err == nil && copy(sum[:], out) != len(out) {
			err = fmt.Errorf("the token gave a CMAC of %d bytes, want 16", len(out))
		}
		return sum, err
	}
}

// Import implements hsm.Transfer. The key stands in our memory for this call:
// whether it is weak cannot be asked of a token.
func (t *Token) Import(ctx context.Context, blob []byte, w hsm.Wrapping, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	if err := t.arrives(p, a); err != nil {
		return hsm.Key{}, err
	}
	if err := w.CheckImport(); err != nil {
		return hsm.Key{}, err
	}
	return t.arriving(ctx, id, p, a, func(s *session) (value []byte, err error) {
		err = s.with(w.Key, func(s *session, under *key) error {
			if err := hsm.CheckStrength(a, under.Algorithm.Strength()); err != nil {
				return err
			}
			switch w.Format {
			case hsm.KW, hsm.KWP:
				value, err = s.importUnder(under, blob, w.Format)
			case hsm.TR31:
				value, err = hsm.UnwrapTR31(s.sum(under), under.Algorithm, blob, p, a)
			case hsm.OAEP:
				value, err = s.openOAEP(under, blob, w.Label)
			default:
				value, err = s.take(w.Key, blob, hsm.KeyContent(p, a), w.Label)
			}
			return err
		}, w.Format.Opens())
		if err == nil {
			err = hsm.CheckKey(value, a)
		}
		return value, err
	})
}

// importUnder opens a key that is wrapped under an Exchange key.
func (s *session) importUnder(under *key, blob []byte, f hsm.Format) ([]byte, error) {
	job, least := jobKeyWrap, 24
	if f == hsm.KWP {
		job, least = jobKeyWrapPad, 16
	}
	if len(blob) < least || len(blob)%8 != 0 || len(blob) > 4096+8 {
		return nil, hsm.ErrSealed
	}
	if f == hsm.KWP && !s.has(jobKeyWrapPad) {
		b := &blocks{session: s, key: under.object, algorithm: under.Algorithm}
		value, err := hsm.UnwrapKeyPad(b, blob)
		if b.err != nil {
			clear(value)
			return nil, b.err
		}
		return value, err
	}
	o, err := s.unwrap(job, under, blob, sessionKey(ck.CKK_GENERIC_SECRET, 0, true, uses{}))
	if err != nil {
		return nil, err
	}
	defer s.discard(o)
	if f == hsm.KWP {
		return s.lookPadded(o)
	}
	return s.look(o)
}

// openOAEP opens RSA-OAEP with SHA-256 under an Unwrap key: in the token, or
// with the token's bare RSA if its OAEP has another hash.
func (s *session) openOAEP(k *key, blob []byte, label string) ([]byte, error) {
	pub := k.Public.(*rsa.PublicKey)
	if len(blob) != pub.Size() || new(big.Int).SetBytes(blob).Cmp(pub.N) >= 0 {
		return nil, hsm.ErrSealed
	}
	if s.has(jobOAEP) {
		m := s.mech(jobOAEP)
		m.oaep = &oaepParams{label: []byte(label)}
		err := s.api.DecryptInit(s.handle, m, k.object)
		if err == nil {
			value, err := s.api.Decrypt(s.handle, blob)
			if lost(err) || stale(err) {
				return nil, fmt.Errorf("C_Decrypt: %w", err)
			}
			if err != nil {
				return nil, hsm.ErrSealed
			}
			return value, nil
		}
		if !is(err, ck.CKR_MECHANISM_PARAM_INVALID, ck.CKR_ARGUMENTS_BAD) {
			return nil, fmt.Errorf("C_DecryptInit: %w", err)
		}
	}
	if s.table[jobRSADecrypt] != ck.CKM_RSA_X_509 {
		return nil, fmt.Errorf("%w: the token has neither OAEP with SHA-256 nor CKM_RSA_X_509", ErrConfig)
	}
	padded, err := s.bareRSA(k, blob)
	if err != nil {
		return nil, err
	}
	defer clear(padded)
	return unpadOAEP(padded, label)
}

// bareRSA computes RSA without padding. The result is as long as the modulus.
func (s *session) bareRSA(k *key, blob []byte) ([]byte, error) {
	if err := s.api.DecryptInit(s.handle, mechanism{number: ck.CKM_RSA_X_509}, k.object); err != nil {
		return nil, fmt.Errorf("C_DecryptInit: %w", err)
	}
	out, err := s.api.Decrypt(s.handle, blob)
	if err != nil {
		return nil, fmt.Errorf("C_Decrypt: %w", err)
	}
	defer clear(out)
	size := k.Public.(*rsa.PublicKey).Size()
	if len(out) > size {
		return nil, fmt.Errorf("the token gave %d bytes for RSA of %d", len(out), size)
	}
	padded := make([]byte, size)
	copy(padded[size-len(out):], out) // some tokens drop leading zeros
	return padded, nil
}

// unpadOAEP takes OAEP padding with SHA-256 off (RFC 8017, 7.1.2, step 3), in
// constant time until it is known to be right. padded is overwritten.
func unpadOAEP(padded []byte, label string) ([]byte, error) {
	hash := sha256.Sum256([]byte(label))
	seed, db := padded[1:1+len(hash)], padded[1+len(hash):]
	mask(seed, db)
	mask(db, seed)
	ok := subtle.ConstantTimeByteEq(padded[0], 0) & subtle.ConstantTimeCompare(db[:len(hash)], hash[:])
	looking, start := 1, 0
	for i, b := range db[len(hash):] {
		one, zero := subtle.ConstantTimeByteEq(b, 1), subtle.ConstantTimeByteEq(b, 0)
		start = subtle.ConstantTimeSelect(looking&one, i+1, start)
		ok &^= looking &^ one &^ zero
		looking &^= one
	}
	if ok&^looking != 1 {
		return nil, hsm.ErrSealed
	}
	return slices.Clone(db[len(hash)+start:]), nil
}

// mask is XOR with MGF1 of a seed with SHA-256 (RFC 8017, B.2.1).
func mask(b, seed []byte) {
	input := append(slices.Clone(seed), 0, 0, 0, 0)
	defer clear(input)
	for i := uint32(0); len(b) > 0; i++ {
		binary.BigEndian.PutUint32(input[len(seed):], i)
		sum := sha256.Sum256(input)
		n := subtle.XORBytes(b, b, sum[:])
		b = b[n:]
	}
}

// Rewrap implements hsm.Transfer. The data key stays in the token.
func (t *Token) Rewrap(ctx context.Context, from string, wrapped hsm.Wrapped, to string) (again hsm.Wrapped, err error) {
	err = t.use(ctx, to, func(s *session, k *key) error {
		return s.with(from, func(s *session, old *key) error {
			if len(wrapped) != wrappedLen {
				return fmt.Errorf("data key under %q: %w", from, hsm.ErrSealed)
			}
			o, err := s.unwrap(jobKeyWrap, old, wrapped, sessionKey(ck.CKK_AES, 0, true, uses{encrypt: true}))
			if err != nil {
				return fmt.Errorf("data key under %q: %w", from, err)
			}
			defer s.discard(o)
			again, err = s.wrap(k, o)
			return err
		}, hsm.Order, hsm.Subscriber)
	}, hsm.Order, hsm.Subscriber)
	return again, err
}
