package factory

import (
	"fmt"
	"strings"
	"testing"

	"ankan/sim"
	"ankan/store"
)

// storeOf asks a store for numbers.
type storeOf struct{ *store.Store }

func (s *storeOf) number(t testing.TB, query string, args ...any) int {
	t.Helper()
	var n int
	if err := s.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// identity is the n-th identity from the first that the example orders.
func identity(t testing.TB, n int) sim.Identity {
	t.Helper()
	return sim.Identity{
		ICCID: must[sim.ICCID](t)(sim.NewICCID(899199900000100000+uint64(n), 19)),
		IMSI:  must[sim.IMSI](t)(sim.NewIMSI(404990000100000 + uint64(n))),
	}
}

// A paper is an order file to be written, right or wrong.
type paper struct {
	batch     string
	quantity  int
	profile   string // default: the right one
	transport int    // default: 11
	pairs     [][2]string
}

// ranged is an order for n cards from the from-th identity.
func ranged(t testing.TB, batch string, from, n int) paper {
	id := identity(t, from)
	return paper{batch: batch, quantity: n, pairs: [][2]string{{id.IMSI.String(), id.ICCID.String()}}}
}

// listed is an order that names each identity.
func listed(t testing.TB, batch string, ids ...int) paper {
	p := paper{batch: batch, quantity: len(ids)}
	for _, n := range ids {
		id := identity(t, n)
		p.pairs = append(p.pairs, [2]string{id.IMSI.String(), id.ICCID.String()})
	}
	return p
}

// head is the file up to its input variables.
func (p paper) head() string {
	if p.profile == "" {
		p.profile = "in-5g-usim"
	}
	if p.transport == 0 {
		p.transport = 11
	}
	return fmt.Sprintf("*\nCustomer: Demo Mobile Ltd\nQuantity: %d\nType: %s\nProfile: 1.0\nBatch: %s\nTransport_key: %d\nPO_ref_number: PO-2026-0118\n*\n", p.quantity, p.profile, p.batch, p.transport)
}

func (p paper) text() string {
	var b strings.Builder
	b.WriteString(p.head() + "Var_In_List:\n")
	for _, pair := range p.pairs {
		fmt.Fprintf(&b, "IMSI: %s\nSer_nb: %s\n", pair[0], pair[1])
	}
	return b.String()
}
