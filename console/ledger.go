package console

import (
	"errors"
	"time"

	"ankan/bureau"
	"ankan/site"
)

// ledgerPage asks the identity ledger of a bureau about one number, and shows
// what it knows.
type ledgerPage struct {
	Form            Form
	Asked           bool
	Number          string // masked
	Hold            string // key of state.*; "" if it was never issued
	Order, Operator string
	Since           time.Time
}

func (ledgerPage) page() string { return "ledger" }

func (s *Server) getLedger(v *visit) error {
	if !s.site.Config().Is(site.Bureau) {
		return errGone
	}
	s.render(v.w, v.r, 200, ledgerPage{Form: Form{Action: "/ledger"}})
	return nil
}

// postLedger asks. The number is in no address, and in no answer but masked.
func (s *Server) postLedger(v *visit) error {
	if !s.site.Config().Is(site.Bureau) {
		return errGone
	}
	p := ledgerPage{Form: Form{Action: "/ledger"}}
	a, err := bureau.AskLedger(v.ctx(), s.site, v.me.ID, v.form("number"))
	switch {
	case errors.Is(err, bureau.ErrNumber):
		t := say("ledger.wrong")
		p.Form.Problem = &t
		s.render(v.w, v.r, 422, p)
		return nil
	case err != nil:
		return err
	}
	p.Asked, p.Number, p.Hold, p.Order, p.Operator = true, masked(v.form("number")), string(a.Hold), a.Order, a.Operator
	if a.Since != nil {
		p.Since = *a.Since
	}
	s.render(v.w, v.r, 200, p)
	return nil
}
