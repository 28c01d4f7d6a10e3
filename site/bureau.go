package site

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"ankan/audit"
	"ankan/custody"
	"ankan/datagen"
	"ankan/exchange"
	"ankan/hsm"
	"ankan/order"
	"ankan/perso"
	"ankan/profile"
	"ankan/sim"
	"ankan/store"
)

// takeOrder checks an order against contract, profile and ledger and reserves
// every identity: all of it or nothing.
func (s *Site) takeOrder(ctx context.Context, a *arrival) error {
	c, err := s.contract(a.Partner)
	if err != nil {
		return refused("%s: %v", a.Name, err)
	}
	in, err := s.readOrder(a, c)
	if err != nil {
		return err
	}
	digest := in.Digest()
	o := order.Order{
		ID: order.IDOf(a.Partner, digest), Partner: a.Partner, Name: a.Name, Batch: in.Value(order.Batch), Digest: fmt.Sprintf("%x", digest),
		Profile: in.Value(order.ProfileName), Quantity: in.Quantity(), Transport: in.TransportKey(), State: order.Accepted,
	}
	refuse := func(errs ...error) error {
		r := &refusal{digest: o.Digest}
		for _, e := range errs {
			r.reasons = append(r.reasons, a.Name+": "+e.Error())
		}
		return r
	}
	errs := c.Check(in, time.Now())
	if len(errs) == 0 {
		errs = s.checkMeans(ctx, a.Partner, c, in) // what is not agreed need not be here
	}
	if len(errs) > 0 {
		return refuse(errs...)
	}
	switch had, err := order.Get(ctx, s.store, o.ID); {
	case err == nil:
		return refuse(fmt.Errorf("this order was taken already, as %s; it is %s", had.ID, had.State))
	case !errors.Is(err, order.ErrNoOrder):
		return err
	}
	switch had, err := order.ByBatch(ctx, s.store, a.Partner, o.Batch); {
	case err == nil:
		return refuse(fmt.Errorf("batch %s was ordered already with other content, as %s; give this order a batch number of its own", o.Batch, had.ID))
	case !errors.Is(err, order.ErrNoOrder):
		return err
	}
	o.KEK = orderKEK(o.ID, a.SHA256)
	text, err := s.sealText(ctx, o.ID, o.KEK, in)
	if err != nil {
		return err
	}
	e := audit.Entry{Kind: "order.accepted", Actor: "partner/" + a.Partner, Subject: "order/" + o.ID,
		Data: map[string]any{"digest": o.Digest, "quantity": o.Quantity, "batch": o.Batch, "profile": o.Profile}}
	err = s.store.Change(ctx, e, func(tx *store.Tx) error {
		if err := a.taken(tx); err != nil {
			return err
		}
		if err := order.Insert(tx, o); err != nil {
			return err
		}
		if err := text.put(tx, o.ID); err != nil {
			return err
		}
		return s.ledger.Reserve(ctx, tx, in.Identities())
	})
	var clashes order.Clashes
	if errors.As(err, &clashes) {
		var errs []error
		for _, c := range clashes {
			errs = append(errs, c)
		}
		return errors.Join(s.forgetKey(ctx, o.KEK), refuse(errs...))
	}
	if err != nil {
		return err
	}
	return s.sendReceipt(ctx, a, receipt{Order: o.ID, Digest: o.Digest, Accepted: true})
}

// forgetKey destroys the key of an order that was refused.
func (s *Site) forgetKey(ctx context.Context, id string) error {
	if err := s.token.Destroy(ctx, id); err != nil && !errors.Is(err, hsm.ErrNoKey) {
		return err
	}
	return nil
}

// readOrder reads the order; what is wrong with it is a refusal, place by place.
func (s *Site) readOrder(a *arrival, c *order.Contract) (*order.Input, error) {
	var in *order.Input
	err := a.message.Read(func(r io.Reader) (err error) {
		in, err = c.Reading().ParseInput(a.Name, r)
		return err
	})
	var faults order.Faults
	if errors.As(err, &faults) {
		r := &refusal{}
		for _, f := range faults {
			r.reasons = append(r.reasons, f.Error())
		}
		return nil, r
	}
	return in, err
}

// checkMeans says what this site lacks to make the order.
func (s *Site) checkMeans(ctx context.Context, operator string, c *order.Contract, in *order.Input) []error {
	var errs []error
	if agreed, err := c.Profile(in.Header); err == nil {
		switch p := s.profiles[agreed.Name]; {
		case p == nil:
			errs = append(errs, fmt.Errorf("profile %s is agreed but not here; add it to profiles in the configuration", agreed.Name))
		case agreed.Digest != "" && agreed.Digest != fmt.Sprintf("%x", p.Digest()):
			errs = append(errs, fmt.Errorf("profile %s has digest %x here, the contract says %s", agreed.Name, p.Digest(), agreed.Digest))
		}
	}
	for _, id := range []string{transportKey(operator, in.TransportKey()), opKey(operator, in.TransportKey())} {
		if _, err := s.token.Key(ctx, id); err != nil {
			errs = append(errs, fmt.Errorf("%w; the operator shares it, and two people here accept it", err))
			break // both come together
		}
	}
	if ref, err := c.Transport(in.Header); err == nil && !ref.KCV.IsZero() && len(errs) == 0 {
		k, err := s.token.Key(ctx, transportKey(operator, ref.Index))
		if err != nil {
			return []error{err}
		}
		if same, err := k.KCV.Matches(ref.KCV); err != nil || !same {
			errs = append(errs, errors.Join(fmt.Errorf("transport key %d has check value %s here, the contract says %s", ref.Index, k.KCV, ref.KCV), err))
		}
	}
	return errs
}

// transportKey and opKey name the keys that an operator shared under an index.
func transportKey(operator string, index int) string {
	return "transport/" + operator + "/" + strconv.Itoa(index)
}

func opKey(operator string, index int) string { return "op/" + operator + "/" + strconv.Itoa(index) }

// sendReceipt answers an order file, once for each time that a file came: who
// sends one again is told so.
func (s *Site) sendReceipt(ctx context.Context, a *arrival, r receipt) error {
	r.File = a.Name
	sum := sha256.Sum256([]byte(a.place()))
	return s.send(ctx, a.Partner, fmt.Sprintf("%x.receipt.pgp", sum[:8]), jsonWriter(r))
}

func jsonWriter(v any) func(io.Writer) error {
	return func(w io.Writer) error { return json.NewEncoder(w).Encode(v) }
}

// ---- keys that operators share

func (s *Site) takeKeys(ctx context.Context, a *arrival) error {
	var shared sharedKeys
	if err := a.json(&shared); err != nil {
		return err
	}
	if shared.From != a.Partner {
		return refused("%s: the keys are said to be from %q", a.Name, shared.From)
	}
	e := audit.Entry{Kind: "key.offered", Actor: "partner/" + a.Partner, Subject: "partner/" + a.Partner}
	return s.store.Change(ctx, e, func(tx *store.Tx) error {
		if err := a.taken(tx); err != nil {
			return err
		}
		for _, k := range shared.Keys {
			doc, err := json.Marshal(k)
			if err != nil {
				return err
			}
			tx.Note(k.Purpose+"/"+strconv.Itoa(k.Index), k.KCV)
			if _, err := tx.Exec(`INSERT INTO offered_key (partner, idx, purpose, document, state) VALUES ($1, $2, $3, $4, 'offered')`,
				a.Partner, k.Index, k.Purpose, doc); err != nil {
				return refused("%s: %s key %d was shared before; a key is never replaced under its number: %v", a.Name, k.Purpose, k.Index, err)
			}
		}
		return nil
	})
}

// offeredKeys is what a partner shared under an index.
func (s *Site) offeredKeys(ctx context.Context, partner string, index int) ([]sharedKey, error) {
	rows, err := s.store.Query(ctx, `SELECT document FROM offered_key WHERE partner = $1 AND idx = $2 ORDER BY purpose`, partner, index)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []sharedKey
	for rows.Next() {
		var doc []byte
		var k sharedKey
		if err := rows.Scan(&doc); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(doc, &k); err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("keys %d of %s: %w; the operator has not sent them", index, partner, hsm.ErrNoKey)
	}
	return all, rows.Err()
}

// keySubject cuts "key/OPERATOR/INDEX".
func keySubject(subject string) (partner string, index int, err error) {
	rest, err := subjectOf(subject, "key")
	if err != nil {
		return "", 0, err
	}
	if i := strings.LastIndexByte(rest, '/'); i > 0 {
		// One key has one subject: "01" and "+1" are none.
		if index, err = strconv.Atoi(rest[i+1:]); err == nil && strconv.Itoa(index) == rest[i+1:] {
			return rest[:i], index, nil
		}
	}
	return "", 0, fmt.Errorf("subject %q is not key/PARTNER/INDEX", subject)
}

func (s *Site) proposeAccept(ctx context.Context, subject string) (map[string]string, error) {
	partner, index, err := keySubject(subject)
	if err != nil {
		return nil, err
	}
	keys, err := s.offeredKeys(ctx, partner, index)
	if err != nil {
		return nil, err
	}
	params := map[string]string{"partner": partner}
	for _, k := range keys {
		params[k.Purpose+".algorithm"] = k.Algorithm
		params[k.Purpose+".kcv"] = k.KCV
	}
	return params, nil
}

// doAccept takes shared keys into the module. Their check values must be those
// that the people compared with the operator's.
func (s *Site) doAccept(ctx context.Context, w custody.Warrant) error {
	partner, index, err := keySubject(w.Act().Subject)
	if err != nil {
		return err
	}
	keys, err := s.offeredKeys(ctx, partner, index)
	if err != nil {
		return err
	}
	for _, k := range keys {
		id := k.Purpose + "/" + partner + "/" + strconv.Itoa(index)
		made, err := s.token.TakeKey(ctx, keyAgree, k.Given, giveLabel(partner, s.config.Site, k), id, hsm.Purpose(k.Purpose), hsm.Algorithm(k.Algorithm))
		if errors.Is(err, hsm.ErrKeyExists) {
			made, err = s.token.Key(ctx, id)
		}
		if err != nil {
			return fmt.Errorf("key %s: %w", id, err)
		}
		if made.KCV.String() != k.KCV {
			return errors.Join(fmt.Errorf("key %s: its check value is %s, the operator says %s; it was destroyed again", id, made.KCV, k.KCV), s.forgetKey(ctx, id))
		}
	}
	return w.Use(ctx, "key.accept", w.Act().Subject, nil, func(tx *store.Tx) error {
		for _, k := range keys {
			tx.Note(k.Purpose, k.KCV)
		}
		_, err := tx.Exec(`UPDATE offered_key SET state = 'accepted' WHERE partner = $1 AND idx = $2`, partner, index)
		return err
	})
}

// giveLabel binds a wrapped key to its sender, receiver, purpose and index.
func giveLabel(from, to string, k sharedKey) string {
	return fmt.Sprintf("ankan/%s/%d from %s to %s", k.Purpose, k.Index, from, to)
}

// ---- release and generation

func (s *Site) orderFor(ctx context.Context, subject string, state order.State) (order.Order, error) {
	id, err := subjectOf(subject, "order")
	if err != nil {
		return order.Order{}, err
	}
	o, err := order.Get(ctx, s.store, id)
	if err == nil && o.State != state {
		err = fmt.Errorf("order %s: %w: it is %s, want %s", id, order.ErrState, o.State, state)
	}
	return o, err
}

func (s *Site) proposeRelease(ctx context.Context, subject string) (map[string]string, error) {
	o, err := s.orderFor(ctx, subject, order.Accepted)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"operator": o.Partner, "file": o.Name, "batch": o.Batch, "digest": o.Digest, "quantity": strconv.Itoa(o.Quantity),
		"profile": o.Profile, "transport_key": transportKey(o.Partner, o.Transport), "plant": s.config.Plant,
	}, nil
}

func (s *Site) doRelease(ctx context.Context, w custody.Warrant) error {
	return s.move(ctx, w, "order.release", order.Accepted, order.Released, nil)
}

// move takes an order on under a warrant.
func (s *Site) move(ctx context.Context, w custody.Warrant, kind string, from, to order.State, also func(*store.Tx) error) error {
	id, err := subjectOf(w.Act().Subject, "order")
	if err != nil {
		return err
	}
	return w.Use(ctx, kind, w.Act().Subject, nil, func(tx *store.Tx) error {
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		return order.Move(tx, id, from, to)
	})
}

// step takes an order on by itself.
func (s *Site) step(ctx context.Context, o order.Order, kind string, to order.State, data map[string]any, also func(*store.Tx) error) error {
	e := audit.Entry{Kind: kind, Actor: "system:site", Subject: "order/" + o.ID, Data: data}
	return s.store.Change(ctx, e, func(tx *store.Tx) error {
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		return order.Move(tx, o.ID, o.State, to)
	})
}

// stepOn takes an order on because a file arrived, which is recorded with it.
func (s *Site) stepOn(ctx context.Context, a *arrival, o order.Order, kind string, to order.State, data map[string]any, also func(*store.Tx) error) error {
	return s.step(ctx, o, kind, to, data, func(tx *store.Tx) error {
		if err := a.taken(tx); err != nil || also == nil {
			return err
		}
		return also(tx)
	})
}

// job is what a bureau needs to know of an order that it makes.
type job struct {
	contract *order.Contract
	input    *order.Input
	profile  *profile.Profile
	document []byte
	product  order.Product
	spares   int
}

func (s *Site) job(ctx context.Context, o order.Order) (job, error) {
	var j job
	var err error
	if j.contract, err = s.contract(o.Partner); err != nil {
		return j, err
	}
	if j.input, err = s.orderText(ctx, o, j.contract.Reading()); err != nil {
		return j, err
	}
	agreed, err := j.contract.Profile(j.input.Header)
	if err != nil {
		return j, err
	}
	if j.product, err = j.contract.Product(agreed.Product); err != nil {
		return j, err
	}
	if j.profile = s.profiles[agreed.Name]; j.profile == nil {
		return j, fmt.Errorf("profile %s is not here", agreed.Name)
	}
	j.document = []byte(j.profile.String())
	if j.contract.Remake {
		j.spares = j.contract.Spares.For(o.Quantity)
	}
	return j, nil
}

func (s *Site) generate(ctx context.Context, o order.Order) error {
	j, err := s.job(ctx, o)
	if err != nil {
		return err
	}
	b, err := datagen.Load(ctx, s.store, o.ID)
	if errors.Is(err, datagen.ErrNoBatch) {
		wrapped, _, terr := s.textPieces(ctx, o.ID)
		if terr != nil {
			return terr
		}
		b = datagen.Batch{Order: o.ID, KEK: o.KEK, Wrapped: wrapped, Document: j.document, Profile: j.profile, Cards: o.Quantity, Spares: j.spares, BlockSize: datagen.BlockSize}
		e := audit.Entry{Kind: "batch.created", Actor: "system:datagen", Subject: "order/" + o.ID,
			Data: map[string]any{"cards": b.Cards, "spares": b.Spares, "profile": j.profile.Name, "profile_sha256": fmt.Sprintf("%x", j.profile.Digest())}}
		err = s.store.Change(ctx, e, func(tx *store.Tx) error { return datagen.Create(tx, b) })
	}
	if err != nil {
		return err
	}
	op, err := s.token.OP(ctx, opKey(o.Partner, o.Transport))
	if err != nil {
		return err
	}
	defer op.Close()
	g := datagen.Generator{Store: s.store, Token: s.token, Ledger: s.ledger, OP: op}
	if err := g.Run(ctx, b, func(i int) sim.Identity { return j.input.At(i) }, nil); err != nil {
		return err
	}
	return s.step(ctx, o, "order.generated", order.Generated, map[string]any{"blocks": b.Blocks()}, nil)
}

// ---- to the plant

func (s *Site) offer(ctx context.Context, o order.Order) error {
	b, err := datagen.Load(ctx, s.store, o.ID)
	if err != nil {
		return err
	}
	j, err := s.job(ctx, o)
	if err != nil {
		return err
	}
	m := offer{Order: o.ID, Operator: o.Partner, Cards: b.Cards, Spares: b.Spares, Profile: o.Profile, OS: j.product.OS}
	if err := s.send(ctx, s.config.Plant, o.ID+".offer.pgp", jsonWriter(m)); err != nil {
		return err
	}
	return s.step(ctx, o, "order.offered", order.Offered, map[string]any{"plant": s.config.Plant}, nil)
}

// ofPlant finds the order that a plant writes about. Only the plant that it was
// given to may.
func (s *Site) ofPlant(ctx context.Context, a *arrival, id string, state order.State) (order.Order, error) {
	o, err := order.Get(ctx, s.store, id)
	return s.ours(a, o, err, id, s.config.Plant, state)
}

// ofOperator finds the order that its operator writes about.
func (s *Site) ofOperator(ctx context.Context, a *arrival, id string, state order.State) (order.Order, error) {
	o, err := order.Get(ctx, s.store, id)
	return s.ours(a, o, err, id, o.Partner, state)
}

// ours refuses an order that is not here, not the sender's, or elsewhere in its life.
func (s *Site) ours(a *arrival, o order.Order, err error, id, sender string, state order.State) (order.Order, error) {
	switch {
	case errors.Is(err, order.ErrNoOrder):
		return o, refused("%s: %v", a.Name, err)
	case err != nil:
		return o, err
	case a.Partner != sender:
		return o, refused("%s: order %s is not one of %s", a.Name, id, a.Partner)
	case o.State != state:
		return o, refused("%s: order %s is %s, want %s", a.Name, id, o.State, state)
	}
	return o, nil
}

func (s *Site) takeSlot(ctx context.Context, a *arrival) error {
	var m slot
	if err := a.json(&m); err != nil {
		return err
	}
	o, err := s.ofPlant(ctx, a, m.Order, order.Offered)
	if err != nil {
		return err
	}
	if _, err := parseAgree(m.Agree); err != nil {
		return refused("%s: %v", a.Name, err)
	}
	if _, err := order.Paper(ctx, s.store, o.ID, "slot"); err == nil {
		return refused("%s: a key for this batch came already", a.Name)
	}
	e := audit.Entry{Kind: "batch.slot", Actor: "partner/" + a.Partner, Subject: "order/" + o.ID}
	return s.store.Change(ctx, e, func(tx *store.Tx) error {
		if err := a.taken(tx); err != nil {
			return err
		}
		return order.PutPaper(tx, o.ID, "slot", []byte(m.Agree))
	})
}

func (s *Site) sendBatch(ctx context.Context, o order.Order) error {
	text, err := order.Paper(ctx, s.store, o.ID, "slot")
	if errors.Is(err, order.ErrNoOrder) {
		return errIdle // the plant has not answered yet
	}
	if err != nil {
		return err
	}
	to, err := parseAgree(string(text))
	if err != nil {
		return err
	}
	b, err := datagen.Load(ctx, s.store, o.ID)
	if err != nil {
		return err
	}
	j, err := s.job(ctx, o)
	if err != nil {
		return err
	}
	given, err := s.token.GiveDataKey(ctx, b.KEK, b.Wrapped, to, batchLabel(o.ID))
	if err != nil {
		return err
	}
	head := batchHead{Format: batchFormat, Order: o.ID, Cards: b.Cards, Spares: b.Spares, BlockSize: b.BlockSize, OS: j.product.OS, Profile: string(b.Document), Given: given}
	err = s.send(ctx, s.config.Plant, o.ID+".batch.pgp", func(w io.Writer) error {
		if err := jsonWriter(head)(w); err != nil {
			return err
		}
		return datagen.Export(ctx, s.store, b, w)
	})
	if err != nil {
		return err
	}
	return s.step(ctx, o, "order.sent", order.Sent, map[string]any{"plant": s.config.Plant, "blocks": b.Blocks()}, nil)
}

// parseAgree reads the P-521 key of a slot.
func parseAgree(text string) (*ecdsa.PublicKey, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || len(rest) > 0 {
		return nil, errors.New("agree: not one PEM block")
	}
	k, err := x509.ParsePKIXPublicKey(block.Bytes)
	if pub, ok := k.(*ecdsa.PublicKey); ok && err == nil && pub.Curve == elliptic.P521() {
		return pub, nil
	}
	return nil, errors.New("agree: not a P-521 public key")
}

func batchLabel(ord string) string { return "ankan/batch/v1 " + ord }

func (s *Site) takeReport(ctx context.Context, a *arrival) error {
	var remakes []order.Remake
	var rep perso.Report
	err := a.message.Read(func(r io.Reader) (err error) {
		rep, err = perso.ParseReport(r, func(card, keyset int) error {
			remakes = append(remakes, order.Remake{Card: card, KeySet: keyset})
			return nil
		})
		return err
	})
	if err != nil {
		return refused("%s: %v", a.Name, err)
	}
	o, err := s.ofPlant(ctx, a, rep.Order, order.Sent)
	if err != nil {
		return err
	}
	if rep.Counts.Cards != o.Quantity || rep.Site != a.Partner {
		return refused("%s: %d cards of site %s, want %d of %s", a.Name, rep.Counts.Cards, rep.Site, o.Quantity, a.Partner)
	}
	data := map[string]any{"good": rep.Counts.Good, "remade": rep.Counts.Remade, "retired": rep.Counts.Retired, "destroyed": rep.Counts.Destroyed, "plant": a.Partner}
	return s.stepOn(ctx, a, o, "order.made", order.Made, data, func(tx *store.Tx) error {
		if err := order.PutRemakes(tx, o.ID, remakes); err != nil {
			return err
		}
		if err := order.SetCounts(tx, o.ID, rep.Counts.Good, rep.Counts.Retired); err != nil {
			return err
		}
		return putPaper(tx, o.ID, "report", rep)
	})
}

// ---- the response

func (s *Site) respond(ctx context.Context, o order.Order) error {
	if o.Good == 0 {
		return s.respondRetired(ctx, o)
	}
	j, err := s.job(ctx, o)
	if err != nil {
		return err
	}
	name := o.ID + ".out.pgp"
	err = s.sendBy(ctx, exchange.SealForOfficers, o.Partner, name, func(w io.Writer) error {
		return s.writeResponse(ctx, o, j, w)
	})
	if err != nil {
		return err
	}
	return s.step(ctx, o, "order.responded", order.Responded, map[string]any{"cards": o.Good, "file": name}, nil)
}

// respondRetired tells the operator that no card of its order could be made: a
// response file has at least one row. The order goes on to its destruction.
func (s *Site) respondRetired(ctx context.Context, o order.Order) error {
	name := o.ID + ".retired.receipt.pgp"
	m := receipt{Order: o.ID, File: o.Name, Digest: o.Digest, Accepted: true, Retired: o.Retired, Reasons: []string{"no card could be made; every identity is retired"}}
	if err := s.send(ctx, o.Partner, name, jsonWriter(m)); err != nil {
		return err
	}
	return s.step(ctx, o, "order.responded", order.Responded, map[string]any{"cards": 0, "retired": o.Retired, "file": name}, nil)
}

// writeResponse writes the response of an order that was made.
func (s *Site) writeResponse(ctx context.Context, o order.Order, j job, w io.Writer) error {
	remakes, err := order.Remakes(ctx, s.store, o.ID)
	if err != nil {
		return err
	}
	r := Response{
		Order: o.ID, Input: j.input, Key: transportKey(o.Partner, o.Transport), Good: o.Good, Remakes: remakes,
		Columns: j.contract.Columns, Variant: j.contract.ResponseICCID,
	}
	return r.Write(ctx, s.store, s.token, w)
}

// ---- acknowledgement and destruction

func (s *Site) takeAck(ctx context.Context, a *arrival) error {
	var m ack
	if err := a.json(&m); err != nil {
		return err
	}
	o, err := s.ofOperator(ctx, a, m.Order, order.Responded)
	if err != nil {
		return err
	}
	if m.Cards != o.Good {
		return refused("%s: %d cards are acknowledged, want %d", a.Name, m.Cards, o.Good)
	}
	return s.stepOn(ctx, a, o, "order.received", order.Received, map[string]any{"cards": m.Cards, "by": m.By}, func(tx *store.Tx) error {
		return putPaper(tx, o.ID, "ack", m)
	})
}

func (s *Site) proposeDestroy(ctx context.Context, subject string) (map[string]string, error) {
	o, err := s.orderFor(ctx, subject, order.Received)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"operator": o.Partner, "digest": o.Digest, "quantity": strconv.Itoa(o.Quantity), "good": strconv.Itoa(o.Good),
		"keys": o.KEK, "copies": "bureau " + s.config.Site + ": database; plant " + s.config.Plant + ": database and batch keys; files to partners",
	}, nil
}

func (s *Site) doDestroy(ctx context.Context, w custody.Warrant) error {
	o, err := s.orderFor(ctx, w.Act().Subject, order.Received)
	if err != nil {
		return err
	}
	key, err := s.describeKey(ctx, o.KEK)
	if err != nil {
		return err
	}
	papers := map[string]any{"destroy-act": w.Act().ID, "destroy-keys": []order.DestroyedKey{key}}
	return s.move(ctx, w, "order.destroy", order.Received, order.Destroying, func(tx *store.Tx) error {
		for kind, v := range papers {
			if err := putPaper(tx, o.ID, kind, v); err != nil {
				return err
			}
		}
		return nil
	})
}

// putPaper keeps v as a JSON paper of an order.
func putPaper(tx *store.Tx, ord, kind string, v any) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return order.PutPaper(tx, ord, kind, doc)
}

// paper reads a JSON paper of an order.
func (s *Site) paper(ctx context.Context, ord, kind string, v any) error {
	doc, err := order.Paper(ctx, s.store, ord, kind)
	if err != nil {
		return err
	}
	return json.Unmarshal(doc, v)
}

// condemn tells the plant to destroy its copy. The order goes on when the
// plant's proof is here.
func (s *Site) condemn(ctx context.Context, o order.Order) error {
	var id string
	if err := s.paper(ctx, o.ID, "destroy-act", &id); err != nil {
		return err
	}
	st, err := s.desk.Get(ctx, id)
	if err != nil {
		return err
	}
	if err := s.send(ctx, s.config.Plant, o.ID+".destroy.pgp", jsonWriter(destroyOrder{Order: o.ID, Act: st.Digest})); err != nil {
		return err
	}
	return errIdle
}

func (s *Site) takeDestroyed(ctx context.Context, a *arrival) error {
	var m destroyProof
	if err := a.json(&m); err != nil {
		return err
	}
	o, err := s.ofPlant(ctx, a, m.Order, order.Destroying)
	if err != nil {
		return err
	}
	if m.Site != a.Partner || len(m.Keys) == 0 || len(m.Approvers) < 2 {
		return refused("%s: it proves no destruction at %s under dual control", a.Name, a.Partner)
	}
	return s.stepOn(ctx, a, o, "order.emptied", order.Emptied, map[string]any{"plant": a.Partner, "keys": len(m.Keys), "blocks": m.Blocks}, func(tx *store.Tx) error {
		return putPaper(tx, o.ID, "plant-proof", m)
	})
}

// destroy erases the order's key in the module, then its data everywhere here.
// Each part may be done again after a crash.
func (s *Site) destroy(ctx context.Context, o order.Order) error {
	var d destroyed
	if err := s.paper(ctx, o.ID, "destroy-keys", &d.Keys); err != nil {
		return err
	}
	if err := s.forget(ctx, d.Keys); err != nil {
		return err
	}
	b, err := datagen.Load(ctx, s.store, o.ID)
	if err != nil {
		return err
	}
	d.Blocks = b.Blocks()
	for name, to := range map[string]string{o.ID + ".out.pgp": o.Partner, o.ID + ".batch.pgp": s.config.Plant} {
		if err := s.spool.Withdraw(to, name); err != nil {
			return err
		}
	}
	return s.step(ctx, o, "order.destroyed", order.Destroyed, map[string]any{"key": o.KEK, "blocks": d.Blocks}, func(tx *store.Tx) error {
		d.LogIndex, d.At = tx.Index(), tx.Time()
		for i := range d.Keys {
			d.Keys[i].At = d.At
		}
		if err := datagen.Delete(tx, o.ID); err != nil {
			return err
		}
		if err := order.WipeText(tx, o.ID); err != nil {
			return err
		}
		return putPaper(tx, o.ID, "destroyed", d)
	})
}

// certify clears what deletion leaves behind in the database's files, writes
// the certificate once, and sends it.
func (s *Site) certify(ctx context.Context, o order.Order) error {
	if err := s.store.Scrub(ctx); err != nil {
		return err
	}
	doc, err := order.Paper(ctx, s.store, o.ID, "certificate")
	if errors.Is(err, order.ErrNoOrder) {
		doc, err = s.writeCertificate(ctx, o)
	}
	if err != nil {
		return err
	}
	c, err := s.ownCertificate(ctx, doc)
	if err != nil {
		return err
	}
	var pdf bytes.Buffer
	if err := order.RenderPDF(&pdf, c); err != nil {
		return err
	}
	if err := s.send(ctx, o.Partner, o.ID+".certificate.pgp", jsonWriter(certified{Order: o.ID, Document: doc, PDF: pdf.Bytes()})); err != nil {
		return err
	}
	return s.step(ctx, o, "order.certified", order.Certified, nil, nil)
}

func (s *Site) writeCertificate(ctx context.Context, o order.Order) ([]byte, error) {
	c, err := s.certificate(ctx, o)
	if err != nil {
		return nil, err
	}
	doc, err := s.sign(ctx, c)
	if err != nil {
		return nil, err
	}
	e := audit.Entry{Kind: "certificate.signed", Actor: "system:site", Subject: "order/" + o.ID, Data: map[string]any{"number": c.Number, "sha256": fmt.Sprintf("%x", sha256.Sum256(doc))}}
	return doc, s.store.Change(ctx, e, func(tx *store.Tx) error { return order.PutPaper(tx, o.ID, "certificate", doc) })
}
