package order

import "time"

var transportRule = rule{"transport key", "SOP 6.4.e.iii", func(c *Contract, in *Input, _ time.Time, report func(string, ...any)) {
	receivers := c.Receivers()
	if len(receivers) == 0 {
		receivers = []string{""}
	}
	for _, receiver := range receivers {
		if _, err := c.Transport(in.Header, receiver); err != nil {
			report("%v", err)
		}
	}
}}
