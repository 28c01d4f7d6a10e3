package main

import (
	"errors"
	"net"
	"syscall"
	"time"

	"ankan/simos"
	"ankan/uicc"
)

type cardAttachCmd struct {
	File string `arg:"" optional:"" type:"path" help:"File of a software card." complete:"files"`
	VPCD string `name:"vpcd" default:"127.0.0.1:35963" placeholder:"HOST:PORT" help:"Where vpcd waits for a card."`
	drawerFlag
}

// retry is how long an attached card waits before it looks for its reader again.
const retry = time.Second

func (c cardAttachCmd) Run(a *app) error {
	if (c.File == "") == (c.Drawer == "") {
		return errors.New("attach one card: a FILE, or --drawer with --chip")
	}
	return cardFlag{File: c.File, drawerFlag: c.drawerFlag}.with(a.ctx, func(card openCard, _ uicc.ATR) error {
		v := readCard(a.ctx, card)
		a.printf("chip %s, ICCID %s\n", v["chip"], v["iccid"])
		return c.keep(a, card)
	})
}

// keep puts the card into the reader, again and again, until it is interrupted.
func (c cardAttachCmd) keep(a *app, card openCard) error {
	var d net.Dialer
	waiting := false
	for {
		conn, err := d.DialContext(a.ctx, "tcp", c.VPCD)
		switch {
		case a.ctx.Err() != nil:
		case errors.Is(err, syscall.ECONNREFUSED):
			if !waiting {
				a.printf("no reader at %s; waiting for pcscd with vsmartcard-vpcd\n", c.VPCD)
			}
			waiting = true
		case err != nil:
			return err
		default:
			a.printf("in the reader at %s; Ctrl-C takes it out\n", c.VPCD)
			waiting = false
			err = simos.Attach(a.ctx, conn, card)
		}
		if a.ctx.Err() != nil {
			a.printf("taken out\n")
			return nil
		}
		if !waiting {
			a.printf("out of the reader: %v\n", err)
			if _, err := card.Reset(a.ctx); err != nil {
				return err
			}
		}
		select {
		case <-time.After(retry):
		case <-a.ctx.Done():
		}
	}
}
