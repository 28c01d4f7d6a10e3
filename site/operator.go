package site

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"ankan/act"
	"ankan/aka"
	"ankan/audit"
	"ankan/custody"
	"ankan/exchange"
	"ankan/hlr"
	"ankan/hsm"
	"ankan/order"
	"ankan/perso"
	"ankan/sim"
	"ankan/store"
	"ankan/uicc"
)

// ---- sharing keys with a manufacturer

// NewKeys makes a transport key and an OP under one index, for one
// manufacturer. They are shared when people have signed key.share.
func (s *Site) NewKeys(ctx context.Context, partner string, index int, a hsm.Algorithm) ([]hsm.Key, error) {
	if !s.config.Is(Operator) {
		return nil, fmt.Errorf("site %s is no operator: %w to make keys for sharing", s.config.Site, act.ErrNotAllowed)
	}
	if s.partners[partner] == nil {
		return nil, fmt.Errorf("%q is no partner", partner)
	}
	if index < 1 || index > 99 {
		return nil, fmt.Errorf("index is %d, want 1 to 99; 0 means not encrypted", index)
	}
	transport, err := s.token.Generate(ctx, transportKey(s.config.Site, index), hsm.Transport, a)
	if err != nil {
		return nil, err
	}
	op, err := s.token.Generate(ctx, opKey(s.config.Site, index), hsm.Operator, hsm.AES128)
	if err != nil {
		return nil, err
	}
	e := audit.Entry{Kind: "key.generated", Actor: "system:site", Subject: "key/" + partner + "/" + strconv.Itoa(index),
		Data: map[string]any{"transport": transport.KCV.String(), "algorithm": string(a), "op": op.KCV.String()}}
	return []hsm.Key{transport, op}, s.store.Enter(ctx, e)
}

func (s *Site) proposeShare(ctx context.Context, subject string) (map[string]string, error) {
	partner, index, err := keySubject(subject)
	if err != nil {
		return nil, err
	}
	if s.partners[partner] == nil {
		return nil, fmt.Errorf("%q is no partner", partner)
	}
	params := map[string]string{"partner": partner}
	for what, id := range map[string]string{"transport": transportKey(s.config.Site, index), "op": opKey(s.config.Site, index)} {
		k, err := s.token.Key(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w; make it: ankan key new", id, err)
		}
		params[what+".algorithm"], params[what+".kcv"] = string(k.Algorithm), k.KCV.String()
	}
	return params, nil
}

func (s *Site) doShare(ctx context.Context, w custody.Warrant) error {
	partner, index, err := keySubject(w.Act().Subject)
	if err != nil {
		return err
	}
	return w.Use(ctx, "key.share", w.Act().Subject, nil, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO offered_key (partner, idx, purpose, document, state) VALUES ($1, $2, 'share', $3, 'sharing')`, partner, index, []byte("{}"))
		return err
	})
}

// sendKeys sends the keys whose sharing was approved.
func (s *Site) sendKeys(ctx context.Context) error {
	var partner string
	var index int
	err := s.store.QueryRow(ctx, `SELECT partner, idx FROM offered_key WHERE state = 'sharing' ORDER BY partner, idx LIMIT 1`).Scan(&partner, &index)
	if errors.Is(err, sql.ErrNoRows) {
		return errIdle
	}
	if err != nil {
		return err
	}
	p := s.partners[partner]
	if p == nil || p.Agree() == nil {
		return fmt.Errorf("%q is no partner with a key that receives wrapped keys (agree in its card)", partner)
	}
	shared := sharedKeys{From: s.config.Site}
	for purpose, id := range map[hsm.Purpose]string{hsm.Transport: transportKey(s.config.Site, index), hsm.Operator: opKey(s.config.Site, index)} {
		k, err := s.token.Key(ctx, id)
		if err != nil {
			return err
		}
		out := sharedKey{Index: index, Purpose: string(purpose), Algorithm: string(k.Algorithm), KCV: k.KCV.String()}
		if out.Given, err = s.token.GiveKey(ctx, id, p.Agree(), giveLabel(s.config.Site, partner, out)); err != nil {
			return err
		}
		shared.Keys = append(shared.Keys, out)
	}
	if err := s.send(ctx, partner, fmt.Sprintf("%s-%d.keys.pgp", s.config.Site, index), jsonWriter(shared)); err != nil {
		return err
	}
	e := audit.Entry{Kind: "key.sent", Actor: "system:site", Subject: "key/" + partner + "/" + strconv.Itoa(index)}
	return s.store.Change(ctx, e, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE offered_key SET state = 'shared' WHERE partner = $1 AND idx = $2 AND purpose = 'share'`, partner, index)
		return err
	})
}

// ---- placing an order

// Draft checks an order file against the contract and keeps it, sealed, until
// people have signed order.submit.
func (s *Site) Draft(ctx context.Context, name string, r io.Reader) (order.Order, error) {
	c, partner, err := s.manufacturer()
	if err != nil {
		return order.Order{}, err
	}
	in, err := c.Reading().ParseInput(name, r)
	if err != nil {
		return order.Order{}, err
	}
	if errs := c.Check(in, time.Now()); len(errs) > 0 {
		return order.Order{}, errors.Join(errs...)
	}
	digest := in.Digest()
	o := order.Order{
		ID: order.IDOf(s.config.Site, digest), Partner: partner, Name: name, Batch: in.Value(order.Batch), Digest: fmt.Sprintf("%x", digest),
		Profile: in.Value(order.ProfileName), Quantity: in.Quantity(), Transport: in.TransportKey(), State: order.Drafted,
	}
	o.KEK = orderKEK(o.ID, "draft")
	if had, err := order.Get(ctx, s.store, o.ID); err == nil && had.State == order.Refused {
		return had, fmt.Errorf("%s: this very order was refused: %s; change what was wrong, or its batch number, and draft it again", name, had.Reason)
	} else if err == nil {
		return had, fmt.Errorf("%s: this order is here already, as %s; it is %s", name, had.ID, had.State)
	}
	if had, err := order.ByBatch(ctx, s.store, partner, o.Batch); err == nil {
		return had, fmt.Errorf("%s: batch %s was ordered already, as %s; give this order a batch number of its own", name, o.Batch, had.ID)
	}
	text, err := s.sealText(ctx, o.ID, o.KEK, in)
	if err != nil {
		return o, err
	}
	e := audit.Entry{Kind: "order.drafted", Actor: "system:site", Subject: "order/" + o.ID,
		Data: map[string]any{"digest": o.Digest, "quantity": o.Quantity, "batch": o.Batch, "profile": o.Profile, "file": name}}
	return o, s.store.Change(ctx, e, func(tx *store.Tx) error {
		if err := order.Insert(tx, o); err != nil {
			return err
		}
		return text.put(tx, o.ID)
	})
}

// manufacturer is the contract of this operator, and the partner that it is with.
func (s *Site) manufacturer() (*order.Contract, string, error) {
	for _, c := range s.contracts {
		if p := s.partners[c.Manufacturer]; c.Operator == s.config.Site && p != nil && p.Has(Bureau) {
			return c, c.Manufacturer, nil
		}
	}
	return nil, "", errors.New("no contract of this operator with a partner that is a bureau; add both to the configuration")
}

func (s *Site) proposeSubmit(ctx context.Context, subject string) (map[string]string, error) {
	o, err := s.orderFor(ctx, subject, order.Drafted)
	if err != nil {
		return nil, err
	}
	c, _, err := s.manufacturer()
	if err != nil {
		return nil, err
	}
	in, err := s.orderText(ctx, o, c.Reading())
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"manufacturer": o.Partner, "file": o.Name, "batch": o.Batch, "digest": o.Digest, "quantity": strconv.Itoa(o.Quantity),
		"profile": o.Profile, "transport_key": transportKey(s.config.Site, o.Transport),
		"first_iccid": in.First().ICCID.Masked(), "first_imsi": in.First().IMSI.Masked(),
	}, nil
}

func (s *Site) doSubmit(ctx context.Context, w custody.Warrant) error {
	return s.move(ctx, w, "order.submit", order.Drafted, order.Submitted, nil)
}

func (s *Site) sendOrder(ctx context.Context, o order.Order) error {
	c, _, err := s.manufacturer()
	if err != nil {
		return err
	}
	in, err := s.orderText(ctx, o, c.Reading())
	if err != nil {
		return err
	}
	if err := s.send(ctx, o.Partner, o.ID+".inp.pgp", in.Render); err != nil {
		return err
	}
	return errIdle // until the receipt is here
}

// about finds the order that a manufacturer writes about.
func (s *Site) about(ctx context.Context, a *arrival, id string, states ...order.State) (order.Order, error) {
	o, err := order.Get(ctx, s.store, id)
	switch {
	case errors.Is(err, order.ErrNoOrder):
		return o, refused("%s: %v", a.Name, err)
	case err != nil:
		return o, err
	case o.Partner != a.Partner:
		return o, refused("%s: order %s is not with %s", a.Name, id, a.Partner)
	}
	for _, st := range states {
		if o.State == st {
			return o, nil
		}
	}
	return o, refused("%s: order %s is %s, want %s", a.Name, id, o.State, states[0])
}

func (s *Site) takeReceipt(ctx context.Context, a *arrival) error {
	var m receipt
	if err := a.json(&m); err != nil {
		return err
	}
	if m.Retired != 0 {
		return s.takeRetired(ctx, a, m)
	}
	id, ok := cutKind(m.File)
	if !ok {
		return refused("%s: it is about the file %q", a.Name, m.File)
	}
	if _, err := order.Get(ctx, s.store, id); errors.Is(err, order.ErrNoOrder) && !m.Accepted {
		return s.stray(ctx, a, m)
	}
	o, err := s.about(ctx, a, id, order.Submitted)
	if err != nil {
		return err
	}
	if !m.Accepted {
		return s.stepOn(ctx, a, o, "order.refused", order.Refused, map[string]any{"reasons": first(m.Reasons, 20)}, func(tx *store.Tx) error {
			if len(m.Reasons) == 0 {
				m.Reasons = []string{"no reason was given"}
			}
			return order.SetReason(tx, o.ID, m.Reasons[0])
		})
	}
	if m.Order != o.ID || m.Digest != o.Digest {
		return refused("%s: it accepts %s with digest %.12s…, want %s with %.12s…", a.Name, m.Order, m.Digest, o.ID, o.Digest)
	}
	return s.stepOn(ctx, a, o, "order.accepted", order.Accepted, nil, nil)
}

// takeRetired ends the wait for a response that has no row: no card of the
// order could be made. The receipt stands in its place.
func (s *Site) takeRetired(ctx context.Context, a *arrival, m receipt) error {
	o, err := s.about(ctx, a, m.Order, order.Accepted)
	if err != nil {
		return err
	}
	if m.Digest != o.Digest || m.Retired != o.Quantity {
		return refused("%s: it retires %d cards of %s with digest %.12s…, want %d with %.12s…", a.Name, m.Retired, o.ID, m.Digest, o.Quantity, o.Digest)
	}
	return s.stepOn(ctx, a, o, "order.answered", order.Answered, map[string]any{"cards": 0, "retired": m.Retired}, func(tx *store.Tx) error {
		if err := order.SetCounts(tx, o.ID, 0, m.Retired); err != nil {
			return err
		}
		return order.PutPaper(tx, o.ID, "response", []byte(a.SHA256))
	})
}

// stray logs the answer to a file that came in this site's name and was none of
// its orders. Somebody here should know why.
func (s *Site) stray(ctx context.Context, a *arrival, m receipt) error {
	e := audit.Entry{Kind: "receipt.stray", Actor: "partner/" + a.Partner, Subject: "partner/" + a.Partner}
	return s.store.Change(ctx, e, func(tx *store.Tx) error {
		if err := a.taken(tx); err != nil {
			return err
		}
		tx.Note("about", m.File)
		tx.Note("reasons", first(m.Reasons, 20))
		return nil
	})
}

// ---- the response

// takeResponse reads a response through, checks it against the order, and
// keeps it sealed as it came. Its keys are opened by nobody here: loading
// re-wraps them in the module.
func (s *Site) takeResponse(ctx context.Context, a *arrival) error {
	id, ok := cutKind(a.Name)
	if !ok {
		return refused("%s: the name must be ORDER.out.pgp", a.Name)
	}
	o, err := s.about(ctx, a, id, order.Accepted)
	if err != nil {
		return err
	}
	want, err := s.expect(ctx, o)
	if err != nil {
		return err
	}
	digest := sha256.New()
	var rows int
	err = a.message.Read(func(r io.Reader) error {
		rows, err = want.read(a.Name, io.TeeReader(r, digest), nil)
		return err
	})
	if err != nil {
		return contentRefusal(err)
	}
	if err := os.MkdirAll(s.config.path("held"), 0o700); err != nil {
		return err
	}
	if err := keep(a.Path, s.heldPath(a.Name)); err != nil {
		return err
	}
	data := map[string]any{"cards": rows, "content_sha256": fmt.Sprintf("%x", digest.Sum(nil)), "kcv": want.kcv.String()}
	return s.stepOn(ctx, a, o, "order.answered", order.Answered, data, func(tx *store.Tx) error {
		if err := order.SetCounts(tx, o.ID, rows, o.Quantity-rows); err != nil {
			return err
		}
		return order.PutPaper(tx, o.ID, "response", []byte(fmt.Sprintf("%x", digest.Sum(nil))))
	})
}

func contentRefusal(err error) error {
	var faults order.Faults
	if errors.As(err, &faults) {
		r := &refusal{}
		for _, f := range faults {
			r.reasons = append(r.reasons, f.Error())
		}
		return r
	}
	var refusal *refusal
	var broken *exchange.Refusal
	if errors.As(err, &refusal) || errors.As(err, &broken) {
		return err
	}
	return refused("%v", err)
}

// keep gives a file a second name that outlives the spool's.
func keep(from, to string) error {
	if err := os.Link(from, to); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// expected is what a response to an order must be.
type expected struct {
	order   order.Order
	input   *order.Input
	reading order.Reading
	kcv     hsm.KCV
	ki, opc int // columns
}

func (s *Site) expect(ctx context.Context, o order.Order) (*expected, error) {
	c, _, err := s.manufacturer()
	if err != nil {
		return nil, err
	}
	in, err := s.orderText(ctx, o, c.Reading())
	if err != nil {
		return nil, err
	}
	k, err := s.token.Key(ctx, transportKey(s.config.Site, o.Transport))
	if err != nil {
		return nil, err
	}
	return &expected{order: o, input: in, reading: order.Reading{Variant: c.ResponseICCID}, kcv: k.KCV}, nil
}

// read reads a response: its cards must be the order's, in the order's
// sequence, its keys under the key that the order named.
func (e *expected) read(name string, r io.Reader, row func(*order.Row) error) (int, error) {
	rows, next := 0, 0
	begin := func(d order.Delivery) error {
		e.ki, e.opc = -1, -1
		for i, c := range d.Columns {
			switch c.Slot() {
			case "K":
				e.ki = i
			case "OPC":
				e.opc = i
			}
		}
		same, err := d.KCV.Matches(e.kcv)
		switch {
		case e.ki < 0 || e.opc < 0:
			return refused("%s: columns EKI and EOPC must be there", name)
		case err != nil:
			return refused("%s: check value of the transport key: %v", name, err)
		case !same:
			return refused("%s: keys are under the transport key with check value %s, want %s", name, d.KCV, e.kcv)
		case d.Header.Value(order.Batch) != e.order.Batch:
			return refused("%s: batch is %q, want %q", name, d.Header.Value(order.Batch), e.order.Batch)
		}
		return nil
	}
	_, err := e.reading.ParseResponse(name, r, begin, func(r *order.Row) error {
		for next < e.order.Quantity && e.input.At(next) != sameNumbers(r.ID, e.input.At(next)) {
			next++ // an identity that no card carries
		}
		if next == e.order.Quantity {
			return refused("%s:%d: ICCID %s with IMSI %s was not ordered, or is not in its place", name, r.Line, r.ID.ICCID.Masked(), r.ID.IMSI.Masked())
		}
		next++
		rows++
		if row == nil {
			return nil
		}
		return row(r)
	})
	return rows, err
}

// sameNumbers is id with what a response need not repeat.
func sameNumbers(id, ordered sim.Identity) sim.Identity {
	if id.MSISDN.IsZero() {
		id.MSISDN = ordered.MSISDN
	}
	return id
}

func (s *Site) proposeLoad(ctx context.Context, subject string) (map[string]string, error) {
	o, err := s.orderFor(ctx, subject, order.Answered)
	if err != nil {
		return nil, err
	}
	sum, err := order.Paper(ctx, s.store, o.ID, "response")
	if err != nil {
		return nil, err
	}
	return map[string]string{"manufacturer": o.Partner, "cards": strconv.Itoa(o.Good), "retired": strconv.Itoa(o.Retired), "response_sha256": string(sum)}, nil
}

func (s *Site) doLoad(ctx context.Context, w custody.Warrant) error {
	return s.moveAs(ctx, w, "hlr.load", order.Answered, order.Loading, "load-by")
}

// moveAs takes an order on and keeps who asked for it.
func (s *Site) moveAs(ctx context.Context, w custody.Warrant, kind string, from, to order.State, paper string) error {
	id, err := subjectOf(w.Act().Subject, "order")
	if err != nil {
		return err
	}
	who, err := s.people.Person(ctx, w.Act().Requester)
	if err != nil {
		return err
	}
	return s.move(ctx, w, kind, from, to, func(tx *store.Tx) error {
		return order.PutPaper(tx, id, paper, []byte(who.ID+" "+who.Roles[0]))
	})
}

// loadChunk is how many subscribers are re-wrapped and stored at a time.
const loadChunk = 4096

// load re-wraps every K and OPc from the transport key to the subscriber
// store's, inside the module, and stores them. Cut short, it goes on.
func (s *Site) load(ctx context.Context, o order.Order) error {
	if o.Good == 0 { // all cards are retired: there is no response
		return s.step(ctx, o, "hlr.loaded", order.Loaded, map[string]any{"subscribers": 0}, nil)
	}
	want, err := s.expect(ctx, o)
	if err != nil {
		return err
	}
	name := o.ID + ".out.pgp"
	m, err := exchange.Open(s.heldPath(name), s.mail, []*exchange.Partner{s.partners[o.Partner]}, limits())
	if err != nil {
		return err
	}
	by, err := order.Paper(ctx, s.store, o.ID, "load-by")
	if err != nil {
		return err
	}
	loader, err := s.auc.Loader(hlr.Source{Order: o.ID, Actor: "person/" + string(by), Algorithm: aka.MILENAGE, AMF: aka.EPS(), SQN: factorySQN})
	if err != nil {
		return err
	}
	var ids []sim.Identity
	var column []byte
	flush := func() error {
		sealed, err := s.token.Translate(ctx, transportKey(s.config.Site, o.Transport), column, 32, s.auc.DataKey(), func(i int) []byte { return hlr.AAD(ids[i].IMSI) })
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
	err = m.Read(func(r io.Reader) error {
		_, err := want.read(name, r, func(r *order.Row) error {
			ids = append(ids, r.ID)
			column = append(append(column, r.Cell(want.ki)...), r.Cell(want.opc)...)
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
	if err != nil {
		return err
	}
	n, err := s.auc.Count(ctx, o.ID)
	if err != nil {
		return err
	}
	if n != o.Good {
		return fmt.Errorf("order %s: %d subscribers are loaded, want %d", o.ID, n, o.Good)
	}
	return s.step(ctx, o, "hlr.loaded", order.Loaded, map[string]any{"subscribers": n}, nil)
}

// factorySQN is the last sequence number that a line may have spent on its own
// challenge: SEQ 1 in any slot (TS 33.102, C.1.1).
const factorySQN aka.SQN = 1<<5 | 31

func (s *Site) proposeAck(ctx context.Context, subject string) (map[string]string, error) {
	o, err := s.orderFor(ctx, subject, order.Loaded)
	if err != nil {
		return nil, err
	}
	c, _, err := s.manufacturer()
	if err != nil {
		return nil, err
	}
	return map[string]string{"manufacturer": o.Partner, "cards": strconv.Itoa(o.Good), "destroy_within": c.DestructionLimit.String()}, nil
}

func (s *Site) doAck(ctx context.Context, w custody.Warrant) error {
	return s.moveAs(ctx, w, "order.acknowledge", order.Loaded, order.Acknowledged, "ack-by")
}

func (s *Site) sendAck(ctx context.Context, o order.Order) error {
	sum, err := order.Paper(ctx, s.store, o.ID, "response")
	if err != nil {
		return err
	}
	by, err := order.Paper(ctx, s.store, o.ID, "ack-by")
	if err != nil {
		return err
	}
	if err := s.send(ctx, o.Partner, o.ID+".ack.pgp", jsonWriter(ack{Order: o.ID, Response: string(sum), Cards: o.Good, By: string(by)})); err != nil {
		return err
	}
	return errIdle // until the certificate is here
}

func (s *Site) takeCertificate(ctx context.Context, a *arrival) error {
	var m certified
	if err := a.json(&m); err != nil {
		return err
	}
	o, err := s.about(ctx, a, m.Order, order.Acknowledged)
	if err != nil {
		return err
	}
	if a.partner.Site() == nil {
		return refused("%s: the card of %s names no key that signs certificates (site)", a.Name, a.Partner)
	}
	c, err := readCertificate(m.Document, a.partner.Site())
	if err != nil {
		return refused("%s: %v", a.Name, err)
	}
	if c.Order.ID != o.ID || c.Order.Digest != o.Digest {
		return refused("%s: it certifies order %s with digest %.12s…, want %s", a.Name, c.Order.ID, c.Order.Digest, o.ID)
	}
	dir := s.config.path("certificates")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, f := range []struct {
		end  string
		body []byte
	}{{".json", m.Document}, {".pdf", m.PDF}} {
		if err := writeNew(dir+"/"+c.Number+f.end, f.body, 0o600); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	data := map[string]any{"certificate": c.Number, "document_sha256": fmt.Sprintf("%x", sha256.Sum256(m.Document)), "pdf_sha256": fmt.Sprintf("%x", sha256.Sum256(m.PDF))}
	return s.stepOn(ctx, a, o, "order.closed", order.Closed, data, func(tx *store.Tx) error {
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

// Prove has a card answer a challenge from the subscriber store: the card and
// the store hold the same keys. The reader holds the card; pin may be empty if
// the card asks for none.
func (s *Site) Prove(ctx context.Context, r perso.Reader, pin []byte) (Proof, error) {
	if s.auc == nil {
		return Proof{}, errors.New("this site has no subscriber store")
	}
	card, err := perso.Identify(ctx, r, pin)
	if err != nil {
		return Proof{}, err
	}
	vectors, err := s.auc.Vectors(ctx, card.IMSI, 1)
	if err != nil {
		return Proof{}, err
	}
	v := vectors[0]
	answer, err := uicc.NewSession(r).Authenticate(ctx, v.RAND, v.AUTN)
	if err != nil {
		return Proof{}, err
	}
	if len(answer) < 10 || answer[0] != 0xDB || answer[1] != 8 {
		return Proof{}, fmt.Errorf("the card gives no RES; its answer begins with %.1X", answer)
	}
	if err := s.auc.Verify(ctx, card.IMSI, v.RAND, answer[2:10]); err != nil {
		return Proof{}, err
	}
	return Proof{ICCID: card.ICCID.Masked(), IMSI: card.IMSI.Masked(), RAND: fmt.Sprintf("%x", v.RAND)}, nil
}
