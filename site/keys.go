package site

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"ankan/audit"
	"ankan/hsm"
	"ankan/order"
)

// The standing keys of every site in its security module. Parts add theirs.
const (
	keyLog      = "log"
	keyMailSign = "pgp-sign"
	keyMailOpen = "pgp-open"

	KeySite  = "site"  // signs documents: SignDocument
	KeyAgree = "agree" // receives wrapped keys: exchange.Card.Agree
)

// standingKeys is made when a site is set up.
func standingKeys(c *Config, parts []Part) ([]StandingKey, error) {
	keys := []StandingKey{
		{keyLog, hsm.LogSign, hsm.Ed25519},
		{KeySite, hsm.SiteSign, hsm.Ed25519},
		{keyMailSign, hsm.MailSign, hsm.P256},
		{keyMailOpen, hsm.MailOpen, hsm.RSA3072},
		{KeyAgree, hsm.Agree, hsm.P521},
	}
	has, err := held(c, parts)
	for _, p := range has {
		keys = append(keys, p.Keys...)
	}
	return keys, err
}

// DescribeKey is a key as a certificate names it, before it is destroyed.
func (s *Site) DescribeKey(ctx context.Context, id string) (order.DestroyedKey, error) {
	k, err := s.guard.Key(ctx, id)
	if err != nil {
		return order.DestroyedKey{}, err
	}
	info := s.guard.Info()
	d := order.DestroyedKey{ID: id, Purpose: string(k.Purpose) + ", " + string(k.Algorithm), Where: s.config.Site + ", " + info.Certificate}
	if !k.KCV.IsZero() {
		d.Check = k.KCV.String()
		return d, nil
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public)
	if err != nil {
		return d, err
	}
	sum := sha256.Sum256(der)
	d.Check = fmt.Sprintf("%X SPKI", sum[:4]) // the start of its public key's SHA-256
	return d, nil
}

// DestroyKey destroys a key; one that is gone was destroyed by a try before.
func (s *Site) DestroyKey(ctx context.Context, id string) error {
	if err := s.guard.Destroy(ctx, id); err != nil && !errors.Is(err, hsm.ErrNoKey) {
		return err
	}
	return nil
}

// DestroyKeys destroys keys that were described.
func (s *Site) DestroyKeys(ctx context.Context, keys []order.DestroyedKey) error {
	for _, k := range keys {
		if err := s.DestroyKey(ctx, k.ID); err != nil {
			return err
		}
	}
	return nil
}

// SignDocument signs a document of a media type with the site's own key.
func (s *Site) SignDocument(ctx context.Context, mediaType string, payload []byte) ([]byte, error) {
	signer, err := s.guard.Signer(ctx, KeySite)
	if err != nil {
		return nil, err
	}
	return audit.SignDocument(mediaType, payload, s.config.origin(), signer)
}

// PublicKey is the key that verifies what SignDocument signs.
func (s *Site) PublicKey(ctx context.Context) (ed25519.PublicKey, error) {
	k, err := s.guard.Key(ctx, KeySite)
	if err != nil {
		return nil, err
	}
	pub, ok := k.Public.(ed25519.PublicKey)
	if !ok {
		return nil, hsm.ErrPurpose
	}
	return pub, nil
}
