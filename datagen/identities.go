package datagen

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"ankan/hsm"
	"ankan/sim"
)

// aRange is the identities of an order that count on from the first, as JSON.
type aRange struct {
	ICCID    string `json:"iccid"`
	IMSI     string `json:"imsi"`
	MSISDN   string `json:"msisdn,omitempty"`
	Quantity uint64 `json:"quantity"`
}

func rangeName(ord string) []byte { return []byte("ankan/identities/v1\x00" + ord) }

// SealRange seals the identities of an order under its data key, for those who
// draw its blocks: Batch.Range.
func SealRange(dk *hsm.DataKey, ord string, r sim.IdentityRange) ([]byte, error) {
	if err := dk.Err(); err != nil {
		return nil, err
	}
	first := r.First()
	a := aRange{ICCID: first.ICCID.String(), IMSI: first.IMSI.String(), Quantity: r.Len()}
	if !first.MSISDN.IsZero() {
		a.MSISDN = first.MSISDN.String()
	}
	plain, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	return dk.Seal(nil, plain, rangeName(ord)), nil
}

// OpenRange is the identities that SealRange sealed. hsm.ErrSealed if they are
// another order's, or were changed.
func (b Batch) OpenRange(dk *hsm.DataKey) (Identities, error) {
	plain, err := dk.Open(nil, b.Range, rangeName(b.Order))
	if err != nil {
		return nil, fmt.Errorf("order %s: identities: %w", b.Order, err)
	}
	r, err := parseRange(plain)
	if err == nil && r.Len() != uint64(b.Cards) {
		err = fmt.Errorf("a range of %d, the batch has %d cards", r.Len(), b.Cards)
	}
	if err != nil {
		return nil, fmt.Errorf("order %s: identities: %w", b.Order, err)
	}
	return inRange(r), nil
}

func inRange(r sim.IdentityRange) Identities {
	return func(ids []sim.Identity, first int) error {
		for i := range ids {
			ids[i] = r.At(uint64(first + i))
		}
		return nil
	}
}

func parseRange(text []byte) (r sim.IdentityRange, err error) {
	var a aRange
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return r, err
	}
	if _, err := d.Token(); err != io.EOF {
		return r, errors.New("something follows the range")
	}
	var id sim.Identity
	if id.ICCID, err = sim.ParseICCID(a.ICCID); err != nil {
		return r, err
	}
	if id.IMSI, err = sim.ParseIMSI(a.IMSI); err != nil {
		return r, err
	}
	if a.MSISDN != "" {
		if id.MSISDN, err = sim.ParseMSISDN(a.MSISDN); err != nil {
			return r, err
		}
	}
	return sim.NewIdentityRange(id, a.Quantity)
}
