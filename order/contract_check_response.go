package order

import (
	"io"
	"time"

	"ankan/format"
	"ankan/hsm"
	"ankan/sim"
)

// responseRule lays out the heads of the response files: what an order says may not
// fit into them, and nobody should learn that when the cards are made.
var responseRule = rule{"response", "the contract's files", func(c *Contract, in *Input, at time.Time, report func(string, ...any)) {
	if len(c.Responses) == 0 {
		report("the contract has no response files")
	}
	// Stands for the check value of a receiver's key, which only the module knows.
	kcv := func(receiver string) hsm.KCV {
		a := hsm.AES128
		if ref, err := c.Transport(in.Header, receiver); err == nil && ref.Algorithm != "" {
			a = ref.Algorithm
		}
		v, _ := hsm.KeyKCV(a.CheckMethod(), a, make([]byte, a.KeyLen()))
		return v
	}
	for _, f := range c.Responses {
		d := Delivery{Output: f.Output, Header: in.Header, First: in.First(), Quantity: in.Quantity(), KCV: kcv(""), KCVs: map[string]hsm.KCV{}, Columns: f.Columns, Variant: c.ResponseICCID,
			Values: map[Field]string{format.OrderID: c.Operator + "-000000000000", format.Part: "1", format.Parts: "1", format.Written: at.UTC().Format("20060102150405")}}
		for _, receiver := range in.Receivers() {
			if receiver != "" {
				d.KCVs[receiver] = kcv(receiver)
			}
		}
		name := f.Output.Layout().Name() + "/" + f.Output.Name()
		if _, err := format.NewResponse(io.Discard, d); err != nil {
			report("%s: %v; order otherwise, or agree on another layout", name, err)
		} else if _, err := d.FileName(); err != nil {
			report("%s: %v; order otherwise, or agree on another layout", name, err)
		}
		for _, col := range f.Columns {
			if col.Slot() == "MSISDN" && in.First().MSISDN == (sim.MSISDN{}) {
				report("%s: column %s: the order gives no MSISDNs; agree on other columns, or on a layout of orders that has them", name, col)
			}
		}
	}
}}
