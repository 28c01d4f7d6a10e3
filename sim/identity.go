package sim

import (
	"fmt"
	"iter"
)

// Identity is what makes one card unlike all others. MSISDN may be none: many
// operators give the number later. Identities compare with ==.
type Identity struct {
	ICCID  ICCID
	IMSI   IMSI
	MSISDN MSISDN
}

// IdentityRange is identities that count on together from a first one: what an
// order file says as first ICCID, first IMSI and quantity.
type IdentityRange struct {
	first    Identity
	quantity uint64
}

// NewIdentityRange is quantity identities from first, all of which exist.
func NewIdentityRange(first Identity, quantity uint64) (IdentityRange, error) {
	if quantity == 0 {
		return IdentityRange{}, wrong("range has the quantity 0, want at least 1")
	}
	if _, err := first.add(quantity - 1); err != nil {
		return IdentityRange{}, fmt.Errorf("range of %d: %w", quantity, err)
	}
	return IdentityRange{first, quantity}, nil
}

func (id Identity) add(k uint64) (Identity, error) {
	var err error
	if id.ICCID, err = id.ICCID.Add(k); err != nil {
		return Identity{}, err
	}
	if id.IMSI, err = id.IMSI.Add(k); err != nil {
		return Identity{}, err
	}
	if !id.MSISDN.IsZero() {
		if id.MSISDN, err = id.MSISDN.Add(k); err != nil {
			return Identity{}, err
		}
	}
	return id, nil
}

// Len is the quantity; 0 for the zero range.
func (r IdentityRange) Len() uint64 { return r.quantity }

// First is the first identity; none for the zero range.
func (r IdentityRange) First() Identity { return r.first }

// At is identity i, counted from 0. It panics beyond the range, as a slice does.
func (r IdentityRange) At(i uint64) Identity {
	if i >= r.quantity {
		panic(fmt.Sprintf("sim: identity %d of a range of %d", i, r.quantity))
	}
	// The last one exists (NewIdentityRange), so all before it do.
	id := r.first
	id.ICCID.body += i
	id.IMSI.v += i
	if id.MSISDN.v != 0 {
		id.MSISDN.v += i
	}
	return id
}

// All yields every identity with its number in the range.
func (r IdentityRange) All() iter.Seq2[uint64, Identity] {
	return func(yield func(uint64, Identity) bool) {
		for i := range r.quantity {
			if !yield(i, r.At(i)) {
				return
			}
		}
	}
}

// Overlaps reports whether the ranges share an ICCID or an IMSI.
func (r IdentityRange) Overlaps(o IdentityRange) bool {
	if r.quantity == 0 || o.quantity == 0 {
		return false
	}
	return r.first.ICCID.digits == o.first.ICCID.digits &&
		meet(r.first.ICCID.body, r.quantity, o.first.ICCID.body, o.quantity) ||
		meet(r.first.IMSI.v, r.quantity, o.first.IMSI.v, o.quantity)
}

// meet reports whether a..a+n-1 and b..b+m-1 share a number.
func meet(a, n, b, m uint64) bool {
	if a <= b {
		return b-a < n
	}
	return a-b < m
}
