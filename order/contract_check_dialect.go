package order

import "time"

var dialectRule = rule{"dialect", "the contract's files", func(c *Contract, in *Input, _ time.Time, report func(string, ...any)) {
	if c.Order != in.Layout() {
		report("file is of %s, want the layout of the contract", in.Layout().Name())
	}
}}
