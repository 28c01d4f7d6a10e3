package order

import "time"

var profileRule = rule{"profile", "SOP 3.b, 4.4", func(c *Contract, in *Input, _ time.Time, report func(string, ...any)) {
	if _, err := c.Profile(in.Header); err != nil {
		report("%v", err)
	}
}}
