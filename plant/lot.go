package plant

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"ankan/act"
	"ankan/custody"
	"ankan/hsm"
	"ankan/simos"
	"ankan/site"
	"ankan/stock"
	"ankan/store"
)

// image opens the operating system's image of a lot, and returns its digest.
func image(l stock.Lot) (i simos.Image, digest [32]byte, err error) {
	if i, err = simos.OpenImage(l.Image, l.OSMaker); err != nil {
		return i, digest, fmt.Errorf("lot %s: %w", l.Lot, err)
	}
	if name := i.Name + " " + i.Version; name != l.OS {
		return i, digest, fmt.Errorf("lot %s: the image is %q, the delivery note says %q", l.Lot, name, l.OS)
	}
	digest, err = i.Digest()
	return i, digest, err
}

// allowed refuses a lot whose transport key is of a method that the policy does
// not take.
func (s *plant) allowed(ctx context.Context, l stock.Lot) error {
	if err := s.Register().Allowed(ctx, lotKey(l.Lot), hsm.Lot, l.KeyAlgorithm()); err != nil {
		return fmt.Errorf("lot %s: %w; to take it, name it in the policy under keys: lot: algorithms: (ankan policy draft FILE) and adopt that", l.Lot, err)
	}
	return nil
}

// LotLabel binds a lot's wrapped key to its lot.
func LotLabel(lot string) string { return "ankan/lot/v1 " + lot }

func lotKey(lot string) string { return "lot/" + lot }

// addLot records a delivery note. Its chips can be used when two people
// accepted it.
func (s *plant) addLot(ctx context.Context, doc []byte) (stock.Lot, error) {
	if !s.Config().Is(site.Plant) {
		return stock.Lot{}, fmt.Errorf("site %s is no plant: %w to receive chips", s.Config().Site, act.ErrNotAllowed)
	}
	l, err := stock.ReadLot(doc)
	if err != nil {
		return l, err
	}
	if err := s.allowed(ctx, l); err != nil {
		return l, err
	}
	return l, s.stock.Offer(ctx, l)
}

func (s *plant) proposeLot(ctx context.Context, subject string) (map[string]string, error) {
	name, err := site.SubjectOf(subject, "lot")
	if err != nil {
		return nil, err
	}
	m, err := s.stock.AcceptParams(ctx, name, s.counts())
	if err != nil {
		return nil, err
	}
	l, _, err := s.stock.Lot(ctx, name)
	if err != nil {
		return nil, err
	}
	_, digest, err := image(l)
	if err := errors.Join(err, s.allowed(ctx, l)); err != nil {
		return nil, err
	}
	m["image_sha256"] = fmt.Sprintf("%x", digest)
	return m, nil
}

func (s *plant) doLot(ctx context.Context, w custody.Warrant) error {
	name, err := site.SubjectOf(w.Act().Subject, "lot")
	if err != nil {
		return err
	}
	l, _, err := s.stock.Lot(ctx, name)
	if err != nil {
		return err
	}
	if err := s.takeLotKey(ctx, l); err != nil {
		return err
	}
	return w.Use(ctx, "lot.accept", w.Act().Subject, nil, func(tx *store.Tx) error { return stock.Accept(tx, w, name) })
}

// takeLotKey takes a lot's transport key into the module, with the algorithm and
// the check value of the note. One that has another value is destroyed again.
func (s *plant) takeLotKey(ctx context.Context, l stock.Lot) error {
	name := l.Lot
	k, err := s.Token().TakeKey(ctx, site.KeyAgree, l.Given, LotLabel(name), lotKey(name), hsm.Lot, l.KeyAlgorithm())
	if errors.Is(err, hsm.ErrKeyExists) {
		k, err = s.Token().Key(ctx, lotKey(name))
	}
	if err != nil {
		return fmt.Errorf("key %s: %w", lotKey(name), err)
	}
	if k.Algorithm != l.KeyAlgorithm() {
		return fmt.Errorf("lot %s: key %s is here, and is %s; the note says %s", name, k.ID, k.Algorithm, l.KeyAlgorithm())
	}
	if k.KCV.String() != l.KCV {
		return errors.Join(fmt.Errorf("lot %s: its key's check value is %s, the chip maker says %s; it was destroyed again", name, k.KCV, l.KCV), s.DestroyKey(ctx, k.ID))
	}
	return nil
}

func (s *plant) postLot(r *http.Request) (any, error) {
	doc, err := site.ReadBody(r)
	if err != nil {
		return nil, err
	}
	return s.addLot(r.Context(), doc)
}
