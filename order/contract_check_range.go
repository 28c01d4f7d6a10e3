package order

import (
	"time"

	"ankan/sim"
)

// rangeRule also holds the issuer's prefix and the network: ParseContract has
// no range outside them.
var rangeRule = rule{"range", "E.118; the contract's ranges", func(c *Contract, in *Input, _ time.Time, report func(string, ...any)) {
	const most = 10
	found := 0
	for i, id := range in.Identities() {
		iccid, imsi := c.owns(id)
		if !iccid {
			report("ICCID %s of card %d is outside the operator's ranges", id.ICCID, i+1)
			found++
		}
		if !imsi {
			report("IMSI %s of card %d is outside the operator's ranges", id.IMSI, i+1)
			found++
		}
		if found >= most {
			report("there may be more identities outside the operator's ranges after card %d", i+1)
			return
		}
	}
}}

func (c *Contract) owns(id sim.Identity) (iccid, imsi bool) {
	for _, r := range c.Ranges {
		iccid = iccid || r.Digits == id.ICCID.Digits() && r.ICCID.has(id.ICCID.Body())
		imsi = imsi || r.IMSI.has(id.IMSI.Value())
	}
	return iccid, imsi
}
