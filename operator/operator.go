// Package operator is a mobile network operator: it shares transport keys,
// places orders, takes the response into its subscriber store, acknowledges it,
// and keeps the certificate of destruction.
package operator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"ankan/aka"
	"ankan/audit"
	"ankan/custody"
	"ankan/exchange"
	"ankan/format"
	"ankan/hlr"
	"ankan/hsm"
	"ankan/keys"
	"ankan/message"
	"ankan/order"
	"ankan/perso"
	"ankan/sim"
	"ankan/site"
	"ankan/station"
	"ankan/station/drawer"
	"ankan/store"
	"ankan/uicc"
)

const keySubscriber = "subscriber" // wraps the keys of the subscriber store

// Part is the role operator.
func Part() site.Part {
	return site.Part{
		Role:    site.Operator,
		Schemas: []store.Schema{hlr.Schema()},
		Keys:    []site.StandingKey{{ID: keySubscriber, Purpose: hsm.Subscriber, Algorithm: hsm.AES256}},
		Open:    open,
	}
}

// An operator is a site in this role.
type operator struct {
	*site.Site
	making  sync.Mutex // held while keys under an index are made
	opening sync.Mutex
	auc     *hlr.AuC // guarded by opening; nil until it is open
}

func open(ctx context.Context, at *site.Site) (site.Duties, error) {
	s := &operator{Site: at}
	if s.Config().Is(site.Operator) {
		switch _, err := s.subscribers(ctx); {
		case errors.Is(err, hsm.ErrNoKey):
			s.Logger().Warn("no subscriber is loaded or authenticated", "why", err)
		case err != nil:
			return site.Duties{}, err
		}
	}
	return site.Duties{
		Files: map[message.Kind]site.Handler{
			message.KindReceipt:     {From: site.Bureau, Take: s.takeReceipt},
			message.KindResponse:    {From: site.Bureau, Take: s.takeResponse},
			message.KindCertificate: {From: site.Bureau, Take: s.takeCertificate},
		},
		Deeds: map[string]site.Deed{
			"key.make":          {Propose: s.proposeMake, Do: s.doMake},
			"key.share":         {Propose: s.proposeShare, Do: s.doShare},
			"order.submit":      {Propose: s.proposeSubmit, Do: s.doSubmit},
			"order.withdraw":    {Propose: s.proposeWithdraw, Do: s.doWithdraw},
			"hlr.load":          {Propose: s.proposeLoad, Do: s.doLoad},
			"order.acknowledge": {Propose: s.proposeAck, Do: s.doAck},
		},
		Steps: map[order.State]func(context.Context, order.Order) error{
			order.Submitted:    s.sendOrder,
			order.Loading:      s.load,
			order.Acknowledged: s.sendAck,
		},
		Round: func(_ context.Context, begin site.Begin) error {
			begin("keys that were asked for", s.makeKeys)
			begin("keys", s.sendKeys)
			return nil
		},
		Routes: map[string]site.Route{
			"POST /v1/orders": {Permission: "orders.draft", Handler: site.Answer(func(r *http.Request) (any, error) {
				return s.draft(r.Context(), r.FormValue("name"), r.Body)
			})},
			"POST /v1/prove": {Permission: "cards.prove", Handler: site.Answer(s.postProve)},
		},
		Close: s.close,
	}, nil
}

// subscribers is the subscriber store. A site whose security module was lost runs
// without it until the key is back from its shares: a ceremony takes a site that
// runs.
func (s *operator) subscribers(ctx context.Context) (*hlr.AuC, error) {
	if !s.Config().Is(site.Operator) {
		return nil, errors.New("this site has no subscriber store")
	}
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.auc != nil {
		return s.auc, nil
	}
	auc, err := hlr.Open(ctx, s.Store(), s.Token(), keySubscriber)
	if errors.Is(err, hsm.ErrNoKey) {
		err = fmt.Errorf("%w; it comes back from its shares, by a ceremony that restores it", err)
	}
	s.auc = auc
	return auc, err
}

// close wipes the key of the subscriber store.
func (s *operator) close() {
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.auc != nil {
		s.auc.Close()
	}
}

// ---- sharing keys with a manufacturer

func (s *operator) proposeShare(ctx context.Context, subject string) (map[string]string, error) {
	partner, index, err := site.KeySubject(subject)
	if err != nil {
		return nil, err
	}
	if s.Partner(partner) == nil {
		return nil, fmt.Errorf("%q is no partner", partner)
	}
	params := map[string]string{"partner": partner}
	for what, id := range map[string]string{"transport": message.TransportKey(s.Config().Site, index), "op": message.OPKey(s.Config().Site, index)} {
		k, err := s.Token().Key(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w; have it made: ankan act request key.make %s", id, err, subject)
		}
		params[what+".algorithm"], params[what+".kcv"] = string(k.Algorithm), k.KCV.String()
		if err := s.WaiverOf(ctx, id, k.Algorithm, params); err != nil {
			return nil, err
		}
	}
	return params, nil
}

func (s *operator) doShare(ctx context.Context, w custody.Warrant) error {
	partner, index, err := site.KeySubject(w.Act().Subject)
	if err != nil {
		return err
	}
	return w.Use(ctx, "key.share", w.Act().Subject, nil, func(tx *store.Tx) error {
		for _, id := range s.keyPair(index) {
			if err := keys.PutLink(tx, id, "partner/"+partner, 0); err != nil {
				return err
			}
		}
		_, err := tx.Exec(`INSERT INTO offered_key (partner, idx, purpose, document, state) VALUES ($1, $2, 'share', $3, 'sharing')`, partner, index, []byte("{}"))
		return err
	})
}

// sendKeys sends the keys whose sharing was approved.
func (s *operator) sendKeys(ctx context.Context) error {
	var partner string
	var index int
	err := s.Store().QueryRow(ctx, `SELECT partner, idx FROM offered_key WHERE state = 'sharing' ORDER BY partner, idx LIMIT 1`).Scan(&partner, &index)
	if errors.Is(err, sql.ErrNoRows) {
		return site.ErrIdle
	}
	if err != nil {
		return err
	}
	p := s.Partner(partner)
	if p == nil || p.Agree() == nil {
		return fmt.Errorf("%q is no partner with a key that receives wrapped keys (agree in its card)", partner)
	}
	shared := message.SharedKeys{From: s.Config().Site}
	for purpose, id := range map[hsm.Purpose]string{hsm.Transport: message.TransportKey(s.Config().Site, index), hsm.Operator: message.OPKey(s.Config().Site, index)} {
		k, err := s.Token().Key(ctx, id)
		if err != nil {
			return err
		}
		out := message.SharedKey{Index: index, Purpose: string(purpose), Algorithm: string(k.Algorithm), KCV: k.KCV.String()}
		if out.Given, err = s.Token().GiveKey(ctx, id, p.Agree(), out.Label(s.Config().Site, partner)); err != nil {
			return err
		}
		shared.Keys = append(shared.Keys, out)
	}
	if err := s.Send(ctx, partner, fmt.Sprintf("%s-%d.keys.pgp", s.Config().Site, index), message.JSON(shared)); err != nil {
		return err
	}
	e := audit.Entry{Kind: "key.sent", Actor: "system:site", Subject: "key/" + partner + "/" + strconv.Itoa(index)}
	return s.Store().Change(ctx, e, func(tx *store.Tx) error {
		for _, id := range []string{message.TransportKey(s.Config().Site, index), message.OPKey(s.Config().Site, index)} {
			if err := keys.Shared(tx, id, partner, ""); err != nil {
				return err
			}
		}
		_, err := tx.Exec(`UPDATE offered_key SET state = 'shared' WHERE partner = $1 AND idx = $2 AND purpose = 'share'`, partner, index)
		return err
	})
}

// ---- placing an order

// draft checks an order file against the contract and keeps it, sealed, until
// people have signed order.submit.
func (s *operator) draft(ctx context.Context, name string, r io.Reader) (order.Order, error) {
	if err := s.MayBegin(); err != nil {
		return order.Order{}, err
	}
	c, partner, err := s.manufacturer()
	if err != nil {
		return order.Order{}, err
	}
	staged, err := c.Reading().Stage(s.Config().Path("staged"), name, r)
	if err != nil {
		return order.Order{}, err
	}
	defer staged.Close()
	in := staged.Input
	if errs := c.Check(in, s.Store().Now()); len(errs) > 0 {
		return order.Order{}, errors.Join(errs...)
	}
	if err := in.Err(); err != nil {
		return order.Order{}, err
	}
	digest := in.Digest()
	o := order.Order{
		ID: order.IDOf(s.Config().Site, digest), Partner: partner, Name: name, Batch: in.Value(order.Batch), Digest: fmt.Sprintf("%x", digest),
		Profile: in.Value(order.ProfileName), Quantity: in.Quantity(), Transport: in.TransportKey(), State: order.Drafted,
	}
	o.KEK = order.KEKName(o.ID, "draft")
	if had, err := order.Get(ctx, s.Store(), o.ID); err == nil && had.State == order.Refused {
		return had, fmt.Errorf("%s: this very order was refused: %s; change what was wrong, or its batch number, and draft it again", name, had.Reason)
	} else if err == nil {
		return had, fmt.Errorf("%s: this order is here already, as %s; it is %s", name, had.ID, had.State)
	}
	if had, err := order.ByBatch(ctx, s.Store(), partner, o.Batch); err == nil {
		return had, fmt.Errorf("%s: batch %s was ordered already, as %s; give this order a batch number of its own", name, o.Batch, had.ID)
	}
	text, err := order.SealText(ctx, s.Token(), o.ID, o.KEK, staged)
	if err != nil {
		return o, err
	}
	defer text.Close()
	e := audit.Entry{Kind: "order.drafted", Actor: "system:site", Subject: "order/" + o.ID,
		Data: map[string]any{"digest": o.Digest, "quantity": o.Quantity, "batch": o.Batch, "profile": o.Profile, "file": name}}
	return o, s.Store().Change(ctx, e, func(tx *store.Tx) error {
		if err := order.Insert(tx, o); err != nil {
			return err
		}
		return text.Put(tx, o.ID)
	})
}

// manufacturer is the contract of this operator, and the partner that it is with.
func (s *operator) manufacturer() (*order.Contract, string, error) {
	for _, c := range s.Contracts() {
		if p := s.Partner(c.Manufacturer); c.Operator == s.Config().Site && p != nil && p.Has(site.Bureau) {
			return c, c.Manufacturer, nil
		}
	}
	return nil, "", errors.New("no contract of this operator with a partner that is a bureau; add both to the configuration")
}

func (s *operator) proposeSubmit(ctx context.Context, subject string) (map[string]string, error) {
	o, err := s.OrderOf(ctx, subject, order.Drafted)
	if err != nil {
		return nil, err
	}
	c, _, err := s.manufacturer()
	if err != nil {
		return nil, err
	}
	in, err := order.OpenText(ctx, s.Store(), s.Token(), o, c.Reading())
	if err != nil {
		return nil, err
	}
	defer in.Close()
	params := map[string]string{
		"manufacturer": o.Partner, "file": o.Name, "batch": o.Batch, "digest": o.Digest, "quantity": strconv.Itoa(o.Quantity),
		"profile":     o.Profile,
		"first_iccid": in.First().ICCID.Masked(), "first_imsi": in.First().IMSI.Masked(),
	}
	return params, s.ShowTransport(ctx, s.Config().Site, in.TransportKeys(), params)
}

func (s *operator) doSubmit(ctx context.Context, w custody.Warrant) error {
	return s.Move(ctx, w, "order.submit", order.Drafted, order.Submitted, nil)
}

func (s *operator) sendOrder(ctx context.Context, o order.Order) error {
	c, _, err := s.manufacturer()
	if err != nil {
		return err
	}
	err = s.Send(ctx, o.Partner, c.SentName(o), func(w io.Writer) error {
		return order.CopyText(ctx, s.Store(), s.Token(), o, w)
	})
	if err != nil {
		return err
	}
	return site.ErrIdle // until the receipt is here
}

// about finds the order that a manufacturer writes about, which must be in one of
// these states. In the state before, a file that was sent earlier is still on its
// way: this one waits for it.
func (s *operator) about(ctx context.Context, a *site.Arrival, id string, before order.State, states ...order.State) (order.Order, error) {
	o, err := order.Get(ctx, s.Store(), id)
	switch {
	case errors.Is(err, order.ErrNoOrder):
		return o, site.Refused("%s: %v", a.Name, err)
	case err != nil:
		return o, err
	case o.Partner != a.Partner:
		return o, site.Refused("%s: order %s is not with %s", a.Name, id, a.Partner)
	case slices.Contains(states, o.State):
		return o, nil
	case o.State == before && before != "":
		return o, fmt.Errorf("%s: order %s is %s still; the file is taken when it is %s", a.Name, id, o.State, states[0])
	}
	return o, site.Refused("%s: order %s is %s, want %s", a.Name, id, o.State, states[0])
}

func (s *operator) takeReceipt(ctx context.Context, a *site.Arrival) error {
	var m message.Receipt
	if err := a.JSON(&m); err != nil {
		return err
	}
	switch {
	case m.Abandoned:
		return s.takeAbandoned(ctx, a, m)
	case m.Retired != 0:
		return s.takeRetired(ctx, a, m)
	}
	id, ok := message.Base(m.File)
	if !ok {
		return site.Refused("%s: it is about the file %q", a.Name, m.File)
	}
	id = s.orderNamed(ctx, id)
	if _, err := order.Get(ctx, s.Store(), id); errors.Is(err, order.ErrNoOrder) && !m.Accepted {
		return s.stray(ctx, a, m)
	}
	states := []order.State{order.Submitted}
	if !m.Accepted {
		// A bureau may take it back until it draws keys, and must not take it in when
		// it was withdrawn before it came.
		states = append(states, order.Accepted, order.Withdrawn)
	} else if late, err := s.late(ctx, a, id); late || err != nil {
		return err
	}
	o, err := s.about(ctx, a, id, "", states...)
	if err != nil {
		return err
	}
	if !m.Accepted {
		return a.Step(ctx, o, "order.refused", order.Refused, map[string]any{"reasons": m.Reasons[:min(len(m.Reasons), 20)]}, func(tx *store.Tx) error {
			if len(m.Reasons) == 0 {
				m.Reasons = []string{"no reason was given"}
			}
			return order.SetReason(tx, o.ID, m.Reasons[0])
		})
	}
	if m.Order != o.ID || m.Digest != o.Digest {
		return site.Refused("%s: it accepts %s with digest %.12s…, want %s with %.12s…", a.Name, m.Order, m.Digest, o.ID, o.Digest)
	}
	return a.Step(ctx, o, "order.accepted", order.Accepted, nil, nil)
}

// orderNamed is the number of the order whose file was sent under a base name.
func (s *operator) orderNamed(ctx context.Context, base string) string {
	for at, c := range base {
		if c != '.' {
			continue
		}
		if o, err := order.Get(ctx, s.Store(), base[:at]); err == nil && base == o.ID+"."+o.Name {
			return o.ID
		}
	}
	return base
}

// takeRetired ends the wait for a response that has no row: no card of the
// order could be made. The receipt stands in its place.
func (s *operator) takeRetired(ctx context.Context, a *site.Arrival, m message.Receipt) error {
	if late, err := s.late(ctx, a, m.Order); late || err != nil {
		return err
	}
	o, err := s.about(ctx, a, m.Order, order.Submitted, order.Accepted)
	if err != nil {
		return err
	}
	if m.Digest != o.Digest || m.Retired != o.Quantity {
		return site.Refused("%s: it retires %d cards of %s with digest %.12s…, want %d with %.12s…", a.Name, m.Retired, o.ID, m.Digest, o.Quantity, o.Digest)
	}
	return a.Step(ctx, o, "order.answered", order.Answered, map[string]any{"cards": 0, "retired": m.Retired}, func(tx *store.Tx) error {
		if err := order.SetCounts(tx, o.ID, 0, m.Retired); err != nil {
			return err
		}
		return putResponse(tx, o.ID, []arrived{{ResponseFile: message.ResponseFile{File: a.Name, SHA256: a.SHA256}, Number: 1, Of: 1}})
	})
}

// stray logs the answer to a file that came in this site's name and was none of
// its orders. Somebody here should know why.
func (s *operator) stray(ctx context.Context, a *site.Arrival, m message.Receipt) error {
	e := audit.Entry{Kind: "receipt.stray", Actor: "partner/" + a.Partner, Subject: "partner/" + a.Partner}
	return s.Store().Change(ctx, e, func(tx *store.Tx) error {
		if err := a.Taken(tx); err != nil {
			return err
		}
		tx.Note("about", m.File)
		tx.Note("reasons", m.Reasons[:min(len(m.Reasons), 20)])
		return nil
	})
}

// ---- the response

func contentRefusal(err error) error {
	var faults order.Faults
	if errors.As(err, &faults) {
		r := &site.Refusal{}
		for _, f := range faults {
			r.Reasons = append(r.Reasons, f.Error())
		}
		return r
	}
	var refusal *site.Refusal
	var broken *exchange.Refusal
	if errors.As(err, &refusal) || errors.As(err, &broken) {
		return err
	}
	return site.Refused("%v", err)
}

// heldPath is where a sealed file is kept that is needed again.
func (s *operator) heldPath(name string) string {
	return filepath.Join(s.Config().Path("held"), filepath.Base(name))
}

// keep gives a file a second name that outlives the spool's.
func (s *operator) keep(from, to string) error {
	if err := s.Config().Link(from, to); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// expected is what a response to an order must be.
type expected struct {
	order     order.Order
	input     *order.Input
	reading   order.Reading
	kcv       hsm.KCV            // of the order's transport key
	kcvs      map[string]hsm.KCV // of those of named receivers
	kind      string             // of the file, in front of its columns' names, where there are several kinds
	cards     aka.Parameters     // what their keys are for
	several   bool               // it is one of several files, which need not have keys
	transport int                // index of the key that its keys are under
	ki, opc   int                // columns; opc is -1 for an algorithm that has none, both in a file without keys

	arrived // what read saw
}

func (s *operator) expect(ctx context.Context, o order.Order) (*expected, error) {
	c, _, err := s.manufacturer()
	if err != nil {
		return nil, err
	}
	k, err := s.Token().Key(ctx, message.TransportKey(s.Config().Site, o.Transport))
	if err != nil {
		return nil, err
	}
	in, err := order.OpenText(ctx, s.Store(), s.Token(), o, c.Reading())
	if err != nil {
		return nil, err
	}
	agreed, err := c.Profile(in.Header)
	if err != nil {
		in.Close()
		return nil, err
	}
	e := &expected{order: o, input: in, kcv: k.KCV, kcvs: map[string]hsm.KCV{}, cards: agreed.Authentication()}
	for receiver, index := range in.TransportKeys() {
		if receiver == "" {
			continue
		}
		k, err := s.Token().Key(ctx, message.TransportKey(s.Config().Site, index))
		if err != nil {
			in.Close()
			return nil, err
		}
		e.kcvs[receiver] = k.KCV
	}
	return e, nil
}

// file says which of the response's files comes next.
func (e *expected) file(c *order.Contract, n, of int) error {
	f, _, _, err := c.ResponseOf(n, of, e.order.Quantity)
	if err != nil {
		return err
	}
	e.reading, e.several, e.kind = c.ResponseReading(f), of > 1, ""
	if len(c.Responses) > 1 {
		e.kind = f.Output.Layout().Name() + "/" + f.Output.Name() + ": "
	}
	return nil
}

// read reads a response: its cards must be the order's, in the order's
// sequence, its keys under the key that the order named.
func (e *expected) readFrom(a *site.Arrival) (rows int, err error) {
	err = a.Read(func(r io.Reader) error {
		rows, err = e.read(a.Name, r, nil)
		return err
	})
	return rows, err
}

func (e *expected) read(name string, r io.Reader, row func(*order.Row) error) (int, error) {
	rows, next := 0, 0
	e.arrived = arrived{}
	begin := func(d order.Delivery) error {
		names := make([]string, len(d.Columns))
		for i, c := range d.Columns {
			names[i] = c.String()
		}
		e.ki, e.opc = format.Carries(d.Columns, "K"), format.Carries(d.Columns, "OPC")
		if whole := e.ki >= 0 && (e.opc < 0) == (e.cards.VariantSize() == 0); !whole && e.several {
			e.ki, e.opc = -1, -1 // another file has all that is loaded
		} else if !whole {
			return site.Refused("%s: columns EKI and, but for XOR, EOPC must be there; the cards have %s", name, e.cards)
		}
		e.Columns, e.Keys = e.kind+strings.Join(names, "/"), e.ki >= 0
		for _, c := range d.Columns {
			if k := c.Slot() == "K" || c.Slot() == "OPC"; k && e.Keys && c.Sealed() && (c.IV() != nil || c.Receiver() != d.Columns[max(e.ki, 0)].Receiver()) {
				return site.Refused("%s: %s cannot be loaded: want K and OPc in ECB mode under one transport key", name, c)
			}
		}
		if batch := d.Header.Value(order.Batch); batch != "" && batch != e.order.Batch {
			return site.Refused("%s: batch is %q, want %q", name, batch, e.order.Batch)
		}
		if e.ki >= 0 {
			if e.transport = e.order.Transport; d.Columns[e.ki].Receiver() != "" {
				e.transport = e.input.TransportKeyOf(d.Columns[e.ki].Receiver())
			}
		}
		return e.checkKeys(name, d)
	}
	_, err := e.reading.ParseResponse(name, r, begin, func(r *order.Row) error {
		for next < e.order.Quantity {
			if id := e.input.At(next); !(r.ID.ICCID.IsZero() && r.ID.IMSI.IsZero()) && id == sameNumbers(r.ID, id) {
				r.ID = id
				break
			}
			next++ // an identity that no card carries
		}
		if err := e.input.Err(); err != nil {
			return err
		}
		if next == e.order.Quantity {
			return site.Refused("%s:%d: ICCID %s with IMSI %s was not ordered, or is not in its place", name, r.Line, r.ID.ICCID.Masked(), r.ID.IMSI.Masked())
		}
		if r.Serial != 0 && r.Serial != next+1 {
			return site.Refused("%s:%d: number is %d, want %d as in the order", name, r.Line, r.Serial, next+1)
		}
		if rows++; rows == 1 {
			e.First = next
		}
		e.Last = next
		e.Mix += mixed(next)
		next++
		if err := e.lengths(name, r); err != nil {
			return err
		}
		if row == nil {
			return nil
		}
		return row(r)
	})
	return rows, err
}

// checkKeys compares the transport keys that a file names with the order's. A file
// that does not say under which key its keys are is taken at the order's word.
func (e *expected) checkKeys(name string, d order.Delivery) error {
	kcvs := map[string]hsm.KCV{"": e.kcv}
	maps.Copy(kcvs, e.kcvs)
	for receiver, want := range kcvs {
		kcv := d.KCVOf(receiver)
		if kcv.IsZero() {
			continue
		}
		same, err := kcv.Matches(want)
		switch {
		case err != nil:
			return site.Refused("%s: check value of the transport key: %v", name, err)
		case !same:
			return site.Refused("%s: keys are under the transport key with check value %s, want %s", name, kcv, want)
		}
	}
	return nil
}

// lengths refuses a row whose keys are not as long as the cards' algorithm has
// them: the subscriber store could not use them.
func (e *expected) lengths(name string, r *order.Row) error {
	if e.ki < 0 {
		return nil
	}
	if n, want := len(r.Cell(e.ki)), e.cards.KeySize(); n != want {
		return site.Refused("%s:%d: EKI has %d bytes, want %d of %s", name, r.Line, n, want, e.cards.Algorithm)
	}
	if e.opc < 0 {
		return nil
	}
	if n, want := len(r.Cell(e.opc)), e.cards.VariantSize(); n != want {
		return site.Refused("%s:%d: EOPC has %d bytes, want %d of %s", name, r.Line, n, want, e.cards.Algorithm)
	}
	return nil
}

// sameNumbers is id with what a response need not repeat.
func sameNumbers(id, ordered sim.Identity) sim.Identity {
	if id.MSISDN.IsZero() {
		id.MSISDN = ordered.MSISDN
	}
	if id.ICCID.IsZero() {
		id.ICCID = ordered.ICCID
	}
	if id.IMSI.IsZero() {
		id.IMSI = ordered.IMSI
	}
	return id
}

func (s *operator) proposeLoad(ctx context.Context, subject string) (map[string]string, error) {
	o, err := s.OrderOf(ctx, subject, order.Answered)
	if err != nil {
		return nil, err
	}
	files, err := responseFiles(s.Store().Committed(ctx), o.ID)
	if err != nil {
		return nil, err
	}
	if o.Good > 0 {
		if _, err := s.subscribers(ctx); err != nil {
			return nil, err
		}
	}
	params := map[string]string{"manufacturer": o.Partner, "cards": strconv.Itoa(o.Good), "retired": strconv.Itoa(o.Retired), "response_sha256": responseDigest(files)}
	if len(files) > 1 {
		params["files"] = strconv.Itoa(len(files))
	}
	return params, nil
}

func (s *operator) doLoad(ctx context.Context, w custody.Warrant) error {
	return s.moveAs(ctx, w, "hlr.load", order.Answered, order.Loading, "load-by")
}

// moveAs takes an order on and keeps who asked for it.
func (s *operator) moveAs(ctx context.Context, w custody.Warrant, kind string, from, to order.State, paper string) error {
	id, err := site.SubjectOf(w.Act().Subject, "order")
	if err != nil {
		return err
	}
	who, err := s.People().Person(ctx, w.Act().Requester)
	if err != nil {
		return err
	}
	return s.Move(ctx, w, kind, from, to, func(tx *store.Tx) error {
		return order.PutPaper(tx, id, paper, []byte(who.ID+" "+who.Roles[0]))
	})
}

// loadChunk is how many subscribers are re-wrapped and stored at a time.
const loadChunk = 4096

// load re-wraps every K and OPc or TOPc from the transport key to the subscriber
// store's, inside the module, and stores them. Cut short, it goes on.
func (s *operator) load(ctx context.Context, o order.Order) error {
	ctx = keys.For(ctx, "order/"+o.ID)
	if o.Good == 0 { // all cards are retired: there is no response
		return s.Step(ctx, o, "hlr.loaded", order.Loaded, map[string]any{"subscribers": 0}, nil)
	}
	want, err := s.expect(ctx, o)
	if err != nil {
		return err
	}
	defer want.input.Close()
	by, err := order.Paper(ctx, s.Store(), o.ID, "load-by")
	if err != nil {
		return err
	}
	auc, err := s.subscribers(ctx)
	if err != nil {
		return err
	}
	loader, err := auc.Loader(hlr.Source{Order: o.ID, Actor: "person/" + string(by), Authentication: want.cards, AMF: aka.EPS(), SQN: factorySQN})
	if err != nil {
		return err
	}
	files, err := responseFiles(s.Store().Committed(ctx), o.ID)
	if err != nil {
		return err
	}
	c, _, err := s.manufacturer()
	if err != nil {
		return err
	}
	for _, f := range loadable(files) {
		if err := want.file(c, f.Number, f.Of); err != nil {
			return fmt.Errorf("order %s: %w", o.ID, err)
		}
		if err := s.loadFile(ctx, auc, loader, want, f); err != nil {
			return fmt.Errorf("order %s: %s: %w", o.ID, f.File, err)
		}
	}
	n, err := auc.Count(ctx, o.ID)
	if err != nil {
		return err
	}
	if n != o.Good {
		return fmt.Errorf("order %s: %d subscribers are loaded, want %d", o.ID, n, o.Good)
	}
	return s.Step(ctx, o, "hlr.loaded", order.Loaded, map[string]any{"subscribers": n}, nil)
}

// loadFile loads one file of a response, which must be the one that was checked
// when it came.
func (s *operator) loadFile(ctx context.Context, auc *hlr.AuC, loader *hlr.Loader, want *expected, f arrived) error {
	m, err := s.Unseal(s.heldPath(f.File), want.order.Partner)
	if err != nil {
		return err
	}
	if sum := fmt.Sprintf("%x", m.Plain); sum != f.SHA256 {
		return fmt.Errorf("it has the digest %.12s…, want %.12s… as when it came", sum, f.SHA256)
	}
	var ids []sim.Identity
	var column []byte
	flush := func() error {
		sealed, err := s.Token().Translate(ctx, message.TransportKey(s.Config().Site, want.transport), column, hlr.KeysSize(want.cards), auc.DataKey(), func(i int) []byte { return hlr.AAD(ids[i].IMSI) })
		if err != nil {
			return err
		}
		records := make([]hlr.Record, len(ids))
		for i, id := range ids {
			records[i] = hlr.Record{IMSI: id.IMSI, ICCID: id.ICCID, Sealed: sealed[i]}
		}
		ids, column = ids[:0], column[:0]
		return loader.Load(ctx, records)
	}
	return m.Read(func(r io.Reader) error {
		_, err := want.read(f.File, r, func(r *order.Row) error {
			ids = append(ids, r.ID)
			column = append(column, r.Cell(want.ki)...)
			if want.opc >= 0 {
				column = append(column, r.Cell(want.opc)...)
			}
			if len(ids) == loadChunk {
				return flush()
			}
			return nil
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		return flush()
	})
}

// factorySQN is the last sequence number that a line may have spent on its own
// challenge: SEQ 1 in any slot (TS 33.102, C.1.1).
const factorySQN aka.SQN = 1<<5 | 31

func (s *operator) proposeAck(ctx context.Context, subject string) (map[string]string, error) {
	o, err := s.OrderOf(ctx, subject, order.Loaded)
	if err != nil {
		return nil, err
	}
	c, _, err := s.manufacturer()
	if err != nil {
		return nil, err
	}
	return map[string]string{"manufacturer": o.Partner, "cards": strconv.Itoa(o.Good), "destroy_within": c.DestructionLimit.String()}, nil
}

func (s *operator) doAck(ctx context.Context, w custody.Warrant) error {
	return s.moveAs(ctx, w, "order.acknowledge", order.Loaded, order.Acknowledged, "ack-by")
}

func (s *operator) sendAck(ctx context.Context, o order.Order) error {
	files, err := responseFiles(s.Store().Committed(ctx), o.ID)
	if err != nil {
		return err
	}
	ack := message.Ack{Order: o.ID, Cards: o.Good}
	for _, f := range files {
		if o.Good > 0 { // else a receipt stands in its place
			ack.Response = append(ack.Response, f.ResponseFile)
		}
	}
	by, err := order.Paper(ctx, s.Store(), o.ID, "ack-by")
	if err != nil {
		return err
	}
	ack.By = string(by)
	if err := s.Send(ctx, o.Partner, o.ID+".ack.pgp", message.JSON(ack)); err != nil {
		return err
	}
	return site.ErrIdle // until the certificate is here
}

func (s *operator) takeCertificate(ctx context.Context, a *site.Arrival) error {
	var m message.Certified
	if err := a.JSON(&m); err != nil {
		return err
	}
	before := []order.State{order.Submitted, order.Accepted, order.Answered, order.Withdrawn} // of an abandoned one
	o, err := s.about(ctx, a, m.Order, "", append([]order.State{order.Acknowledged, order.Abandoned}, before...)...)
	if err != nil {
		return err
	}
	if a.Sender().Site() == nil {
		return site.Refused("%s: the card of %s names no key that signs certificates (site)", a.Name, a.Partner)
	}
	c, err := order.OpenCertificate(m.Document, a.Sender().Site())
	if err != nil {
		return site.Refused("%s: %v", a.Name, err)
	}
	if c.Order.ID != o.ID || c.Order.Digest != o.Digest {
		return site.Refused("%s: it certifies order %s with digest %.12s…, want %s", a.Name, c.Order.ID, c.Order.Digest, o.ID)
	}
	switch early := slices.Contains(before, o.State); {
	case early && c.Abandoned == "":
		return site.Refused("%s: order %s is %s, want %s", a.Name, o.ID, o.State, order.Acknowledged)
	case early:
		return fmt.Errorf("%s: order %s is %s still; the file is taken when it is %s", a.Name, o.ID, o.State, order.Abandoned)
	case (c.Abandoned == "") != (o.State == order.Acknowledged):
		return site.Refused("%s: order %s is %s here, and by the certificate it was abandoned: %q", a.Name, o.ID, o.State, c.Abandoned)
	}
	dir := s.Config().Path("certificates")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, f := range []struct {
		end  string
		body []byte
	}{{".json", m.Document}, {".pdf", m.PDF}} {
		if err := s.Config().WriteNew(dir+"/"+c.Number+f.end, f.body, 0o600); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	data := map[string]any{"certificate": c.Number, "document_sha256": fmt.Sprintf("%x", sha256.Sum256(m.Document)), "pdf_sha256": fmt.Sprintf("%x", sha256.Sum256(m.PDF))}
	return a.Step(ctx, o, "order.closed", order.Closed, data, func(tx *store.Tx) error {
		return order.PutPaper(tx, o.ID, "certificate", bytes.Clone(m.Document))
	})
}

// ---- the proof

// Proof is what an authentication of a card by the subscriber store showed.
type Proof struct {
	ICCID string `json:"iccid"` // masked
	IMSI  string `json:"imsi"`  // masked
	RAND  string `json:"rand"`
}

// prove has a card answer a challenge from the subscriber store: the card and
// the store hold the same keys. The reader holds the card; pin may be empty if
// the card asks for none.
func (s *operator) prove(ctx context.Context, r station.Reader, pin []byte) (Proof, error) {
	auc, err := s.subscribers(ctx)
	if err != nil {
		return Proof{}, err
	}
	card, err := perso.Identify(ctx, r, pin)
	if err != nil {
		return Proof{}, err
	}
	vectors, err := auc.Vectors(ctx, card.IMSI, 1)
	if err != nil {
		return Proof{}, err
	}
	v := vectors[0]
	answer, err := uicc.NewSession(r).Authenticate(ctx, v.RAND, v.AUTN)
	if err != nil {
		return Proof{}, err
	}
	res, err := resOf(answer)
	if err != nil {
		return Proof{}, err
	}
	if err := auc.Verify(ctx, card.IMSI, v.RAND, res); err != nil {
		return Proof{}, err
	}
	return Proof{ICCID: card.ICCID.Masked(), IMSI: card.IMSI.Masked(), RAND: fmt.Sprintf("%x", v.RAND)}, nil
}

// resOf is RES in a card's answer to AUTHENTICATE: DB, its length, 4 to 32 by
// the algorithm, and RES itself (TS 31.102, 7.1.2.1).
func resOf(answer []byte) ([]byte, error) {
	if len(answer) < 2 || answer[0] != 0xDB || len(answer) < 2+int(answer[1]) {
		return nil, fmt.Errorf("the card gives no RES; its answer has %d bytes and begins with %.1X", len(answer), answer)
	}
	return answer[2 : 2+answer[1]], nil
}

// postProve has a card in a drawer of software chips answer a challenge.
func (s *operator) postProve(r *http.Request) (any, error) {
	var q struct {
		Network string `json:"network"`
		Address string `json:"address"`
		Chip    string `json:"chip"` // serial, hex
		PIN     string `json:"pin"`
	}
	if err := site.ReadRequest(r, &q); err != nil {
		return nil, err
	}
	slot, err := drawer.Dial(r.Context(), q.Network, q.Address)
	if err != nil {
		return nil, err
	}
	defer slot.Close()
	serial, err := perso.ParseSerial(q.Chip)
	if err != nil {
		return nil, err
	}
	if err := slot.Insert(r.Context(), serial); err != nil {
		return nil, err
	}
	return s.prove(r.Context(), slot, []byte(q.PIN))
}
