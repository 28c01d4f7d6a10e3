package plant

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/hsm"
	"ankan/message"
	"ankan/simos"
	"ankan/site"
	"ankan/store"
)

// A Lot is a chip maker's delivery note: chips, the operating system that they
// take, and their transport key, wrapped for the plant.
type Lot struct {
	Lot      string `json:"lot"`
	Vendor   string `json:"vendor"`
	Chip     string `json:"chip"`
	Quantity int    `json:"quantity"`
	OS       string `json:"os"`       // release that the image holds
	Image    []byte `json:"image"`    // signed by the OS's maker; the chip checks it as well
	OSMaker  []byte `json:"os_maker"` // Ed25519 public key
	KCV      string `json:"kcv"`      // of the transport key, with its method
	Given    []byte `json:"given"`
}

// image checks the operating system's image and returns its digest.
func (l Lot) image() ([32]byte, error) {
	i, err := simos.OpenImage(l.Image, l.OSMaker)
	if err != nil {
		return [32]byte{}, fmt.Errorf("lot %s: %w", l.Lot, err)
	}
	if name := i.Name + " " + i.Version; name != l.OS {
		return [32]byte{}, fmt.Errorf("lot %s: the image is %q, the delivery note says %q", l.Lot, name, l.OS)
	}
	return i.Digest()
}

// LotLabel binds a lot's wrapped key to its lot.
func LotLabel(lot string) string { return "ankan/lot/v1 " + lot }

func lotKey(lot string) string { return "lot/" + lot }

// addLot records a delivery note. Its chips can be used when two people
// accepted it.
func (s *plant) addLot(ctx context.Context, doc []byte) (Lot, error) {
	var l Lot
	if !s.Config().Is(site.Plant) {
		return l, fmt.Errorf("site %s is no plant: %w to receive chips", s.Config().Site, act.ErrNotAllowed)
	}
	if err := message.Read(bytes.NewReader(doc), &l); err != nil {
		return l, fmt.Errorf("lot: %w", err)
	}
	if l.Lot == "" || l.Quantity <= 0 || l.OS == "" || len(l.Image) == 0 || len(l.Given) == 0 {
		return l, errors.New("lot: name, quantity, os, image and wrapped key must be there")
	}
	if _, state, err := s.lot(ctx, l.Lot); err == nil {
		return l, fmt.Errorf("lot %s is here already; it is %s", l.Lot, state)
	}
	e := audit.Entry{Kind: "lot.offered", Actor: "system:site", Subject: "lot/" + l.Lot, Data: map[string]any{"vendor": l.Vendor, "chip": l.Chip, "quantity": l.Quantity, "kcv": l.KCV, "os": l.OS}}
	return l, s.Store().Change(ctx, e, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO lot (name, document, state) VALUES ($1, $2, 'offered')`, l.Lot, doc)
		return err
	})
}

func (s *plant) lot(ctx context.Context, name string) (l Lot, state string, err error) {
	var doc []byte
	err = s.Store().QueryRow(ctx, `SELECT document, state FROM lot WHERE name = $1`, name).Scan(&doc, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return l, "", fmt.Errorf("lot %q is not here; run: ankan lot receive FILE", name)
	}
	if err == nil {
		err = json.Unmarshal(doc, &l)
	}
	return l, state, err
}

// lots is all lots in a state.
func (s *plant) lots(ctx context.Context, state string) ([]Lot, error) {
	return store.Collect(s.Store().Committed(ctx), store.Document[Lot], `SELECT document FROM lot WHERE state = $1 ORDER BY name`, state)
}

func (s *plant) proposeLot(ctx context.Context, subject string) (map[string]string, error) {
	name, err := site.SubjectOf(subject, "lot")
	if err != nil {
		return nil, err
	}
	l, state, err := s.lot(ctx, name)
	if err != nil {
		return nil, err
	}
	if state != "offered" {
		return nil, fmt.Errorf("lot %s is %s already", name, state)
	}
	digest, err := l.image()
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"vendor": l.Vendor, "chip": l.Chip, "quantity": strconv.Itoa(l.Quantity), "os": l.OS,
		"image_sha256": fmt.Sprintf("%x", digest), "kcv": l.KCV,
	}, nil
}

func (s *plant) doLot(ctx context.Context, w custody.Warrant) error {
	name, err := site.SubjectOf(w.Act().Subject, "lot")
	if err != nil {
		return err
	}
	l, _, err := s.lot(ctx, name)
	if err != nil {
		return err
	}
	k, err := s.Token().TakeKey(ctx, site.KeyAgree, l.Given, LotLabel(name), lotKey(name), hsm.Lot, hsm.AES256)
	if errors.Is(err, hsm.ErrKeyExists) {
		k, err = s.Token().Key(ctx, lotKey(name))
	}
	if err != nil {
		return fmt.Errorf("key %s: %w", lotKey(name), err)
	}
	if k.KCV.String() != l.KCV {
		return errors.Join(fmt.Errorf("lot %s: its key's check value is %s, the chip maker says %s; it was destroyed again", name, k.KCV, l.KCV), s.DestroyKey(ctx, k.ID))
	}
	return w.Use(ctx, "lot.accept", w.Act().Subject, nil, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE lot SET state = 'accepted' WHERE name = $1`, name)
		return err
	})
}

func (s *plant) postLot(r *http.Request) (any, error) {
	doc, err := site.ReadBody(r)
	if err != nil {
		return nil, err
	}
	return s.addLot(r.Context(), doc)
}
