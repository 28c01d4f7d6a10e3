package order

import (
	"fmt"
	"time"
)

// A Refusal is a rule of a contract that an order breaks.
type Refusal struct {
	Rule   string // short name
	Clause string // why the rule is there
	Text   string
}

// Error is what is wrong, found and wanted.
func (r *Refusal) Error() string { return r.Text }

// A rule is one check of an order against its contract. It says what is wrong
// by report.
type rule struct {
	name, clause string
	check        func(c *Contract, in *Input, at time.Time, report func(format string, args ...any))
}

// rules are all of them, in the order in which people read the answers.
func rules() []rule {
	return []rule{licenceRule, customerRule, dialectRule, profileRule, quantityRule, transportRule, rangeRule, responseRule}
}

// Check says everything in which the order in breaks the contract at a moment,
// each a *Refusal; nothing means that it may be accepted.
func (c *Contract) Check(in *Input, at time.Time) []error {
	var errs []error
	for _, r := range rules() {
		r.check(c, in, at, func(format string, args ...any) {
			errs = append(errs, &Refusal{r.name, r.clause, fmt.Sprintf(format, args...)})
		})
	}
	return errs
}
