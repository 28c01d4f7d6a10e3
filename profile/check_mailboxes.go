package profile

import (
	"strconv"

	"ankan/uicc"
)

// A mailbox is a record of EF.MBDN that holds a number, and each line that can
// wait for messages has its mailboxes.
var checkMailboxes = check{"mailboxes", "TS 31.102, 4.2.60, 4.2.62 and 4.2.63", func(p *Profile, found func(pos, string, ...any)) {
	for d := range p.All() {
		boxes, numbers, waiting := d.own("EF.MBI"), d.own("EF.MBDN"), d.own("EF.MWIS")
		if d.Name != uicc.DirUSIM || boxes == nil {
			continue
		}
		for i := range boxes.pieces() {
			v, _ := boxes.value(i)
			for _, e := range v.List {
				n, _ := strconv.Atoi(e.Text)
				if n == 0 {
					continue
				}
				if box, ok := numbers.value(n - 1); !ok || get(box, "number") == "none" {
					found(boxes.pos, "%s, record %d names record %d of EF.MBDN, which holds no number", boxes.Path(), i+1, n)
				}
			}
		}
		if waiting != nil && waiting.Records != boxes.Records {
			found(waiting.pos, "%s has %d records, EF.MBI has %d: want one for each line", waiting.Path(), waiting.Records, boxes.Records)
		}
	}
}}
