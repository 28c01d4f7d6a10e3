package soft

import (
	"context"
	"crypto/cipher"
	"fmt"

	"ankan/hsm"
	"ankan/scp"
)

// exportable finds a key that may leave the module.
func (t *Token) exportable(ctx context.Context, id string) (*key, error) {
	k, err := t.find(ctx, id)
	if err != nil {
		return nil, err
	}
	if !k.Exportable {
		return nil, fmt.Errorf("key %q for %q: %w", id, k.Purpose, hsm.ErrMaster)
	}
	return k, nil
}

// opener opens what was given to an Agree key.
func (t *Token) opener(ctx context.Context, agree string) hsm.Opener {
	return func(given hsm.Given, what hsm.Content, label string) ([]byte, error) {
		return t.take(ctx, agree, given, what, label)
	}
}

// CheckComponent implements hsm.Transfer.
func (t *Token) CheckComponent(ctx context.Context, agree string, c hsm.Component) error {
	if _, err := t.use(ctx, agree, hsm.Agree); err != nil {
		return err
	}
	part, err := c.Open(t.opener(ctx, agree))
	clear(part)
	return err
}

// Combine implements hsm.Transfer.
func (t *Token) Combine(ctx context.Context, agree string, parts []hsm.Component, id string, p hsm.Purpose, a hsm.Algorithm, want hsm.KCV) (hsm.Key, error) {
	s, err := t.open()
	if err != nil {
		return hsm.Key{}, err
	}
	if err := p.MayArrive(a); err != nil {
		return hsm.Key{}, err
	}
	return s.add(ctx, id, p, a, false, func() ([]byte, error) {
		if _, err := t.use(ctx, agree, hsm.Agree); err != nil {
			return nil, err
		}
		return hsm.CombineComponents(parts, a, want, t.opener(ctx, agree))
	})
}

// Split implements hsm.Transfer.
func (t *Token) Split(ctx context.Context, id, set string, method hsm.KCVMethod, to []hsm.Holder) (parts []hsm.Component, err error) {
	k, err := t.exportable(ctx, id)
	if err != nil {
		return nil, err
	}
	err = t.reveal(k, func(secret []byte) error {
		parts, err = hsm.SplitComponents(secret, k.Algorithm, set, method, to, t.token().fill)
		return err
	})
	return parts, err
}

// GenerateShared implements hsm.Transfer.
func (t *Token) GenerateShared(ctx context.Context, id string, p hsm.Purpose, a hsm.Algorithm, set string, threshold int, to []hsm.Holder) (hsm.Key, []hsm.Share, error) {
	s, err := t.open()
	if err != nil {
		return hsm.Key{}, nil, err
	}
	if err := p.MayBackUp(a); err != nil {
		return hsm.Key{}, nil, err
	}
	var shares []hsm.Share
	k, err := s.add(ctx, id, p, a, p.Exports(), func() ([]byte, error) {
		secret, err := s.draw(a)
		if err != nil {
			return nil, err
		}
		if shares, err = hsm.SplitShares(secret, a, set, threshold, to, s.fill); err != nil {
			clear(secret)
			return nil, err
		}
		return secret, nil
	})
	if err != nil {
		return hsm.Key{}, nil, err
	}
	return k, shares, nil
}

// CheckShare implements hsm.Transfer.
func (t *Token) CheckShare(ctx context.Context, agree string, s hsm.Share) error {
	if _, err := t.use(ctx, agree, hsm.Agree); err != nil {
		return err
	}
	content, err := s.Open(t.opener(ctx, agree))
	clear(content)
	return err
}

// Restore implements hsm.Transfer.
func (t *Token) Restore(ctx context.Context, agree string, shares []hsm.Share, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	s, err := t.open()
	if err != nil {
		return hsm.Key{}, err
	}
	if err := p.MayBackUp(a); err != nil {
		return hsm.Key{}, err
	}
	return s.add(ctx, id, p, a, false, func() ([]byte, error) {
		if _, err := t.use(ctx, agree, hsm.Agree); err != nil {
			return nil, err
		}
		return hsm.JoinShares(shares, a, t.opener(ctx, agree))
	})
}

// Export implements hsm.Transfer.
func (t *Token) Export(ctx context.Context, id string, w hsm.Wrapping) (blob []byte, err error) {
	k, err := t.exportable(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := w.CheckExport(k.Algorithm); err != nil {
		return nil, fmt.Errorf("key %q: %w", id, err)
	}
	var under *key // of AES-256: no key is stronger
	if w.Key != "" {
		if under, err = t.use(ctx, w.Key, hsm.Exchange); err != nil {
			return nil, err
		}
		if w.Key == id {
			return nil, fmt.Errorf("key %q under itself: %w", id, hsm.ErrPurpose)
		}
	}
	err = t.reveal(k, func(secret []byte) error {
		switch w.Format {
		case hsm.KW:
			blob, err = hsm.WrapKey(under.block, secret)
		case hsm.KWP:
			blob, err = hsm.WrapKeyPad(under.block, secret)
		case hsm.TR31:
			blob, err = hsm.WrapTR31(mac(under.block), under.Algorithm, k.Purpose, k.Algorithm, secret)
		case hsm.OAEP:
			blob, err = hsm.WrapOAEP(w.To, w.Label, secret)
		case hsm.ECDH:
			blob, err = hsm.Give(w.To, hsm.KeyContent(k.Purpose, k.Algorithm), w.Label, secret)
		}
		return err
	})
	return blob, err
}

func mac(b cipher.Block) hsm.MACFunc {
	return func(message []byte) ([16]byte, error) { return scp.SumCMAC(b, message), nil }
}

// Import implements hsm.Transfer.
func (t *Token) Import(ctx context.Context, blob []byte, w hsm.Wrapping, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	s, err := t.open()
	if err != nil {
		return hsm.Key{}, err
	}
	if err := p.MayArrive(a); err != nil {
		return hsm.Key{}, err
	}
	if err := w.CheckImport(); err != nil {
		return hsm.Key{}, err
	}
	return s.add(ctx, id, p, a, false, func() ([]byte, error) {
		secret, err := t.unwrapKey(ctx, blob, w, p, a)
		if err == nil {
			err = hsm.CheckKey(secret, a)
		}
		if err != nil {
			clear(secret)
			return nil, err
		}
		return secret, nil
	})
}

// unwrapKey opens a wrapped key.
func (t *Token) unwrapKey(ctx context.Context, blob []byte, w hsm.Wrapping, p hsm.Purpose, a hsm.Algorithm) ([]byte, error) {
	k, err := t.use(ctx, w.Key, w.Format.Opens())
	if err != nil {
		return nil, err
	}
	if err := hsm.CheckStrength(a, k.Algorithm.Strength()); err != nil {
		return nil, err
	}
	switch w.Format {
	case hsm.KW:
		return hsm.UnwrapKey(k.block, blob)
	case hsm.KWP:
		return hsm.UnwrapKeyPad(k.block, blob)
	case hsm.TR31:
		return hsm.UnwrapTR31(mac(k.block), k.Algorithm, blob, p, a)
	case hsm.OAEP:
		return hsm.UnwrapOAEP(k.open, w.Label, blob)
	}
	return t.take(ctx, w.Key, blob, hsm.KeyContent(p, a), w.Label)
}

// Rewrap implements hsm.Transfer.
func (t *Token) Rewrap(ctx context.Context, from string, wrapped hsm.Wrapped, to string) (hsm.Wrapped, error) {
	k, err := t.use(ctx, to, hsm.Order, hsm.Subscriber)
	if err != nil {
		return nil, err
	}
	clearKey, err := t.unwrap(ctx, from, wrapped)
	if err != nil {
		return nil, err
	}
	defer clear(clearKey)
	return hsm.WrapKey(k.block, clearKey)
}
