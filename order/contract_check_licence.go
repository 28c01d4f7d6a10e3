package order

import "time"

var licenceRule = rule{"licence", "SOP 3.b", func(c *Contract, _ *Input, at time.Time, report func(string, ...any)) {
	if !at.Before(c.Licence.ValidUntil) {
		report("licence %s of %s was valid until %s, want one in force", c.Licence.Number, c.Operator,
			c.Licence.ValidUntil.Add(-time.Second).Format(time.DateOnly))
	}
}}
