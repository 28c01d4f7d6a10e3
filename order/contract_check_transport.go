package order

import (
	"cmp"
	"time"

	"ankan/format"
)

var transportRule = rule{"transport key", "SOP 6.4.e.iii", func(c *Contract, in *Input, at time.Time, report func(string, ...any)) {
	receivers := c.Receivers()
	if len(receivers) == 0 {
		receivers = []string{""}
	}
	for _, receiver := range receivers {
		ref, err := c.Transport(in.Header, receiver)
		if err != nil {
			report("%v", err)
			continue
		}
		if ref.Algorithm.NeedsWaiver() && !at.Before(ref.Waiver.Until) {
			report("transport key %d is %s, and its waiver ended on %s; agree on a later end, or order under a key of AES", ref.Index, ref.Algorithm, ref.Waiver.LastDay())
		}
		for _, col := range c.ResponseColumns() {
			if col.Sealed() && col.Receiver() == receiver && !col.Cipher().Takes(ref.Algorithm) {
				report("column %s is encrypted by %s, and transport key %d is %s; order under another key, or agree on another layout", col, col.Cipher(), ref.Index, cmp.Or(string(ref.Algorithm), string(format.AES)))
			}
		}
	}
}}
