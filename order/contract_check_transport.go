package order

import "time"

var transportRule = rule{"transport key", "SOP 6.4.e.iii", func(c *Contract, in *Input, _ time.Time, report func(string, ...any)) {
	if _, err := c.Transport(in.Header); err != nil {
		report("%v", err)
	}
}}
