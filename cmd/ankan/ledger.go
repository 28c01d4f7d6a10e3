package main

import (
	"encoding/json"

	"ankan/bureau"
)

type ledgerCmd struct {
	Find ledgerFindCmd `cmd:"" help:"Say whether an ICCID or IMSI was ever issued, and in which order. Who asked is in the log."`
}

type ledgerFindCmd struct {
	siteFlag
	signerFlag
	Number string `arg:"" help:"ICCID, 19 or 20 digits, or IMSI, 15 digits."`
}

func (l ledgerFindCmd) Run(a *app) error {
	c, p, err := l.as(a, l.signerFlag)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"number": l.Number})
	if err != nil {
		return err
	}
	var v bureau.Answer
	if err := c.Ask(a.ctx, p, "/ledger", body, &v); err != nil {
		return err
	}
	return a.print(l.JSON, v, func() {
		switch {
		case !v.Issued:
			a.printf("this %s was never issued here\n", v.Kind)
		case v.Since == nil:
			a.printf("this %s is %s, from before orders were kept\n", v.Kind, v.Hold)
		default:
			a.printf("this %s is %s: order %s of %s, %s\n", v.Kind, v.Hold, v.Order, v.Operator, when(*v.Since))
		}
	})
}
