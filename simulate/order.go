package simulate

import (
	"fmt"
	"slices"
	"strings"

	"ankan/order"
	"ankan/sim"
)

// A wanted order is one that an operator's people want placed, and what is known
// of it beside the factory.
type wanted struct {
	n       int    // which, in the run
	by      string // operator
	batch   string
	ids     []int // its identities, by their number
	listed  bool  // one by one
	id      string
	text    string
	drafted bool // its operator's site has it
}

func (o *wanted) String() string {
	if len(o.ids) == 0 {
		return fmt.Sprintf("order %d of %s", o.n, o.by)
	}
	how := fmt.Sprintf("%d-%d", o.ids[0], o.ids[len(o.ids)-1])
	if o.listed {
		how = strings.Trim(fmt.Sprint(o.ids), "[]")
	}
	return fmt.Sprintf("order %d of %s (%s)", o.n, o.by, how)
}

func (o *wanted) overlaps(other *wanted) bool {
	return slices.ContainsFunc(o.ids, func(n int) bool { return slices.Contains(other.ids, n) })
}

// write makes the order's text.
func (o *wanted) write() error {
	var b strings.Builder
	fmt.Fprintf(&b, "*\nCustomer: %s\nQuantity: %d\nType: %s\nProfile: 1.0\nBatch: %s\nTransport_key: %d\nPO_ref_number: PO-1\n*\nVar_In_List:\n",
		o.by, len(o.ids), profileOf, o.batch, transport)
	rows := o.ids
	if !o.listed {
		rows = rows[:1]
	}
	for _, n := range rows {
		id, err := identity(n)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "IMSI: %s\nSer_nb: %s\n", id.IMSI, id.ICCID)
	}
	o.text = b.String()
	in, err := order.ParseInput("order.inp", strings.NewReader(o.text))
	if err != nil {
		return err
	}
	o.id = order.IDOf(o.by, in.Digest())
	return nil
}

// identity is the n-th identity.
func identity(n int) (id sim.Identity, err error) {
	if id.ICCID, err = sim.NewICCID(uint64(firstICCID+n), 19); err != nil {
		return id, err
	}
	id.IMSI, err = sim.NewIMSI(uint64(firstIMSI + n))
	return id, err
}

// numberOf is which identity an ICCID is of.
func numberOf(id sim.ICCID) int { return int(id.Body()) - firstICCID }
