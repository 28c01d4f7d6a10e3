package order

import "time"

var dialectRule = rule{"dialect", "the contract's files", func(c *Contract, in *Input, _ time.Time, report func(string, ...any)) {
	if c.Dialect != in.Dialect() {
		report("file is of %s, want the dialect of the contract", in.Dialect().Name())
	}
}}
