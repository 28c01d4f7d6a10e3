package order

import "time"

var quantityRule = rule{"quantity", "the contract's max_quantity", func(c *Contract, in *Input, _ time.Time, report func(string, ...any)) {
	if in.Quantity() > c.MaxQuantity {
		report("quantity is %d, want at most %d", in.Quantity(), c.MaxQuantity)
	}
}}
