package hsm

import (
	"context"
	"crypto"
	"io"

	"ankan/durable"
)

// Stepped is m with each call going through steps: what makes or erases a key as
// a step that lasts, what uses one as a step that does not. Calls that only
// describe, and the drawing of random bytes, are m's own.
func Stepped(m Module, steps durable.Steps) Module { return stepped{m, steps} }

type stepped struct {
	Module
	steps durable.Steps
}

// took takes a step that gives something.
func took[T any](s stepped, step string, do func() (T, error)) (v T, err error) {
	err = s.steps.Do(step, func() (err error) {
		v, err = do()
		return err
	})
	if err != nil {
		var none T
		return none, err
	}
	return v, nil
}

func (s stepped) Generate(ctx context.Context, id string, p Purpose, a Algorithm) (Key, error) {
	return took(s, "hsm.generate", func() (Key, error) { return s.Module.Generate(ctx, id, p, a) })
}

func (s stepped) Destroy(ctx context.Context, id string) error {
	return s.steps.Do("hsm.destroy", func() error { return s.Module.Destroy(ctx, id) })
}

func (s stepped) TakeKey(ctx context.Context, agree string, given Given, label, id string, p Purpose, a Algorithm) (Key, error) {
	return took(s, "hsm.take-key", func() (Key, error) { return s.Module.TakeKey(ctx, agree, given, label, id, p, a) })
}

func (s stepped) Combine(ctx context.Context, agree string, parts []Component, id string, p Purpose, a Algorithm, want KCV) (Key, error) {
	return took(s, "hsm.combine", func() (Key, error) { return s.Module.Combine(ctx, agree, parts, id, p, a, want) })
}

func (s stepped) GenerateShared(ctx context.Context, id string, p Purpose, a Algorithm, set string, threshold int, to []Holder) (k Key, shares []Share, err error) {
	err = s.steps.Do("hsm.generate-shared", func() (err error) {
		k, shares, err = s.Module.GenerateShared(ctx, id, p, a, set, threshold, to)
		return err
	})
	if err != nil {
		return Key{}, nil, err
	}
	return k, shares, nil
}

func (s stepped) Restore(ctx context.Context, agree string, shares []Share, id string, p Purpose, a Algorithm) (Key, error) {
	return took(s, "hsm.restore", func() (Key, error) { return s.Module.Restore(ctx, agree, shares, id, p, a) })
}

func (s stepped) Import(ctx context.Context, blob []byte, w Wrapping, id string, p Purpose, a Algorithm) (Key, error) {
	return took(s, "hsm.import", func() (Key, error) { return s.Module.Import(ctx, blob, w, id, p, a) })
}

func (s stepped) Signer(ctx context.Context, id string) (crypto.Signer, error) {
	k, err := s.Module.Signer(ctx, id)
	if err != nil {
		return nil, err
	}
	return steppedSigner{k, s}, nil
}

type steppedSigner struct {
	crypto.Signer
	s stepped
}

func (k steppedSigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return took(k.s, durable.Use+"hsm.sign", func() ([]byte, error) { return k.Signer.Sign(random, digest, opts) })
}

func (s stepped) Decrypter(ctx context.Context, id string) (crypto.Decrypter, error) {
	k, err := s.Module.Decrypter(ctx, id)
	if err != nil {
		return nil, err
	}
	return steppedDecrypter{k, s}, nil
}

type steppedDecrypter struct {
	crypto.Decrypter
	s stepped
}

func (k steppedDecrypter) Decrypt(random io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return took(k.s, durable.Use+"hsm.decrypt", func() ([]byte, error) { return k.Decrypter.Decrypt(random, msg, opts) })
}

func (s stepped) MAC(ctx context.Context, id string, parts ...[]byte) ([32]byte, error) {
	return took(s, durable.Use+"hsm.mac", func() ([32]byte, error) { return s.Module.MAC(ctx, id, parts...) })
}

func (s stepped) NewDataKey(ctx context.Context, kek string) (k *DataKey, w Wrapped, err error) {
	err = s.steps.Do(durable.Use+"hsm.new-data-key", func() (err error) {
		k, w, err = s.Module.NewDataKey(ctx, kek)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return k, w, nil
}

func (s stepped) OpenDataKey(ctx context.Context, kek string, wrapped Wrapped) (*DataKey, error) {
	return took(s, durable.Use+"hsm.open-data-key", func() (*DataKey, error) { return s.Module.OpenDataKey(ctx, kek, wrapped) })
}

func (s stepped) GiveDataKey(ctx context.Context, kek string, wrapped Wrapped, to crypto.PublicKey, label string) (Given, error) {
	return took(s, durable.Use+"hsm.give-data-key", func() (Given, error) { return s.Module.GiveDataKey(ctx, kek, wrapped, to, label) })
}

func (s stepped) TakeDataKey(ctx context.Context, agree string, given Given, label, kek string) (Wrapped, error) {
	return took(s, durable.Use+"hsm.take-data-key", func() (Wrapped, error) { return s.Module.TakeDataKey(ctx, agree, given, label, kek) })
}

func (s stepped) GiveKey(ctx context.Context, id string, to crypto.PublicKey, label string) (Given, error) {
	return took(s, durable.Use+"hsm.give-key", func() (Given, error) { return s.Module.GiveKey(ctx, id, to, label) })
}

func (s stepped) SealColumn(ctx context.Context, id string, dst, src []byte) error {
	return s.steps.Do(durable.Use+"hsm.seal-column", func() error { return s.Module.SealColumn(ctx, id, dst, src) })
}

func (s stepped) Translate(ctx context.Context, from string, src []byte, size int, to *DataKey, aad func(i int) []byte) ([][]byte, error) {
	return took(s, durable.Use+"hsm.translate", func() ([][]byte, error) { return s.Module.Translate(ctx, from, src, size, to, aad) })
}

func (s stepped) OP(ctx context.Context, id string) (*OP, error) {
	return took(s, durable.Use+"hsm.op", func() (*OP, error) { return s.Module.OP(ctx, id) })
}

func (s stepped) ChipKeys(ctx context.Context, lot string, serial []byte) (*ChipKeys, error) {
	return took(s, durable.Use+"hsm.chip-keys", func() (*ChipKeys, error) { return s.Module.ChipKeys(ctx, lot, serial) })
}

func (s stepped) Rewrap(ctx context.Context, from string, wrapped Wrapped, to string) (Wrapped, error) {
	return took(s, durable.Use+"hsm.rewrap", func() (Wrapped, error) { return s.Module.Rewrap(ctx, from, wrapped, to) })
}
