package order

import "time"

var customerRule = rule{"customer", "SOP 5.3.a", func(c *Contract, in *Input, _ time.Time, report func(string, ...any)) {
	if !in.Layout().Says(Customer) {
		return // who signed the file is the customer
	}
	if found := in.Value(Customer); found != c.Customer || found == "" {
		report("customer is %q, want %q", found, c.Customer)
	}
}}
