// Package bureau is the manufacturer's data centre: it takes orders, draws their
// keys, has a plant make the cards, answers with the response, and destroys and
// certifies.
package bureau

import (
	"bytes"
	"cmp"
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
	"slices"
	"strconv"
	"sync"

	"ankan/aka"
	"ankan/audit"
	"ankan/custody"
	"ankan/datagen"
	"ankan/hsm"
	"ankan/keys"
	"ankan/message"
	"ankan/order"
	"ankan/perso"
	"ankan/profile"
	"ankan/site"
	"ankan/store"
	"ankan/worker"
)

// Part is the role bureau.
func Part() site.Part {
	return site.Part{
		Role:    site.Bureau,
		Schemas: []store.Schema{datagen.Schema()},
		Keys:    []site.StandingKey{{ID: site.KeyLedger, Purpose: hsm.Ledger, Algorithm: hsm.HMAC256}},
		Open:    open,
	}
}

// A bureau is a site in this role.
type bureau struct {
	*site.Site
	ledger *order.Ledger
	drawer *worker.Drawer
	queue  *worker.Queue // of those who draw; nil where the site draws alone
	intake *sync.Mutex   // one order at a time enters its identities
}

// ownSpans is how many spans of blocks the site itself draws at the same time
// when others draw too.
const ownSpans = 2

func open(ctx context.Context, at *site.Site) (site.Duties, error) {
	s := &bureau{Site: at, intake: new(sync.Mutex)}
	var err error
	if s.ledger, err = order.NewLedger(s.Token(), site.KeyLedger); err != nil {
		return site.Duties{}, err
	}
	s.drawer = &worker.Drawer{Store: s.Store(), Guard: s.Guard(), Ledger: s.ledger, Log: s.Logger()}
	if c := s.Config(); store.IsPostgres(c.Database()) {
		o := worker.Options{Address: c.Database(), Password: c.DatabasePassword(), Name: c.Site, Leads: true, Spans: ownSpans, Log: s.Logger()}
		if c.Drawing == site.DrawWorkers {
			o.Spans = 0
		}
		if s.queue, err = worker.Open(ctx, s.drawer, o); err != nil {
			return site.Duties{}, err
		}
	}
	return site.Duties{
		Files: map[message.Kind]site.Handler{
			message.KindOrder:     {From: site.Operator, Begins: true, Take: s.takeOrder, Refused: s.refuseOrder},
			message.KindKeys:      {From: site.Operator, Take: s.takeKeys},
			message.KindSlot:      {From: site.Plant, Take: s.takeSlot},
			message.KindReport:    {From: site.Plant, Take: s.takeReport},
			message.KindAck:       {From: site.Operator, Take: s.takeAck},
			message.KindDestroyed: {From: site.Plant, Take: s.takeDestroyed},
			message.KindAbandon:   {Take: s.takeAbandon},
		},
		Deeds: map[string]site.Deed{
			"key.accept":    {Propose: s.proposeAccept, Do: s.doAccept},
			"order.release": {Propose: s.proposeRelease, Do: s.doRelease},
			"order.refuse":  {Propose: s.proposeRefuse, Do: s.doRefuse},
			"order.destroy": {Propose: s.proposeDestroy, Do: s.doDestroy},
			"order.abandon": {Propose: s.proposeAbandon, Do: s.doAbandon},
		},
		Steps: map[order.State]func(context.Context, order.Order) error{
			order.Refusing:   s.forget,
			order.Released:   s.generate,
			order.Generated:  s.offer,
			order.Offered:    s.sendBatch,
			order.Made:       s.respond,
			order.Destroying: s.condemn,
			order.Abandoning: s.abandon,
			order.Emptied:    s.destroy,
			order.Destroyed:  s.certify,
		},
		View:   s.view,
		Lost:   s.lost,
		Unlock: s.unlock,
		Close:  s.close,
		Routes: map[string]site.Route{
			"POST /v1/ledger": at.BySigner("ledger.ask", s.askLedger),
		},
	}, nil
}

func (s *bureau) close() {
	if s.queue != nil {
		s.queue.Close()
	}
}

// view adds how far an order was made.
func (s *bureau) view(ctx context.Context, v *site.OrderView) error {
	if b, err := datagen.Load(ctx, s.Store(), v.ID); err == nil {
		n, err := datagen.Have(ctx, s.Store(), v.ID)
		if err != nil {
			return err
		}
		v.Generated = min(n*b.BlockSize, b.Cards)
	}
	var rep perso.Report
	if err := s.paper(ctx, v.ID, "report", &rep); err == nil {
		v.Counts = &rep.Counts
	}
	return nil
}

// takeOrder checks an order against contract, profile and ledger and reserves
// every identity: all of it or nothing.
func (s *bureau) takeOrder(ctx context.Context, a *site.Arrival) error {
	c, err := s.Contract(a.Partner)
	if err != nil {
		return site.Refused("%s: %v", a.Name, err)
	}
	staged, err := s.readOrder(a, c)
	if err != nil {
		return err
	}
	defer staged.Close()
	in := staged.Input
	digest := in.Digest()
	o := order.Order{
		ID: order.IDOf(a.Partner, digest), Partner: a.Partner, Name: a.Name, Batch: in.Value(order.Batch), Digest: fmt.Sprintf("%x", digest),
		Profile: in.Value(order.ProfileName), Quantity: in.Quantity(), Transport: in.TransportKey(), State: order.Accepted,
	}
	refuse := func(errs ...error) error {
		r := &site.Refusal{Digest: o.Digest}
		for _, e := range errs {
			r.Reasons = append(r.Reasons, a.Name+": "+e.Error())
		}
		return r
	}
	errs := c.Check(in, s.Store().Now())
	if len(errs) == 0 {
		if errs, err = s.checkMeans(ctx, a.Partner, c, in); err != nil { // what is not agreed need not be here
			return err
		}
	}
	if err := in.Err(); err != nil {
		return err // what was staged cannot be read again: not the order's fault
	}
	if len(errs) > 0 {
		return refuse(errs...)
	}
	if gone, err := order.WhyAbandoned(s.Store().Committed(ctx), o.ID); err != nil {
		return err
	} else if gone != nil && gone.Was == "" {
		return refuse(fmt.Errorf("its operator withdrew this order before it came: %s", gone.Why))
	}
	s.intake.Lock()
	defer s.intake.Unlock()
	switch had, err := order.Get(ctx, s.Store(), o.ID); {
	case err == nil:
		return refuse(fmt.Errorf("this order was taken already, as %s; it is %s", had.ID, had.State))
	case !errors.Is(err, order.ErrNoOrder):
		return err
	}
	switch had, err := order.ByBatch(ctx, s.Store(), a.Partner, o.Batch); {
	case err == nil:
		err := refuse(fmt.Errorf("batch %s was ordered already with other content, as %s; give this order a batch number of its own", o.Batch, had.ID))
		if r := new(site.Refusal); errors.As(err, &r) {
			r.Alarm = true
		}
		return err
	case !errors.Is(err, order.ErrNoOrder):
		return err
	}
	switch clashes, err := s.reserve(ctx, o, in); {
	case err != nil:
		return err
	case clashes != nil:
		return refuse(clashes...)
	}
	o.KEK = order.KEKName(o.ID, a.SHA256)
	text, err := order.SealText(ctx, s.Token(), o.ID, o.KEK, staged)
	if err != nil {
		return err
	}
	defer text.Close()
	e := audit.Entry{Kind: "order.accepted", Actor: "partner/" + a.Partner, Subject: "order/" + o.ID,
		Data: map[string]any{"digest": o.Digest, "quantity": o.Quantity, "batch": o.Batch, "profile": o.Profile}}
	return s.Store().Change(ctx, e, func(tx *store.Tx) error {
		if err := a.Taken(tx); err != nil {
			return err
		}
		if err := order.Insert(tx, o); err != nil {
			return err
		}
		if err := text.Put(tx, o.ID); err != nil {
			return err
		}
		if err := oweReceipt(tx, a, message.Receipt{Order: o.ID, Digest: o.Digest, Accepted: true}); err != nil {
			return err
		}
		return s.ledger.Accept(tx, o.ID)
	})
}

// readOrder reads the order; what is wrong with it is a refusal, place by place.
func (s *bureau) readOrder(a *site.Arrival, c *order.Contract) (*order.Staged, error) {
	var staged *order.Staged
	err := a.Read(func(r io.Reader) (err error) {
		staged, err = c.Reading().Stage(s.Config().Path("staged"), a.Name, r)
		return err
	})
	if err == nil {
		return staged, nil
	}
	if staged != nil { // the file changed behind what was read
		staged.Close()
	}
	var faults order.Faults
	if errors.As(err, &faults) {
		r := &site.Refusal{}
		for _, f := range faults {
			r.Reasons = append(r.Reasons, f.Error())
		}
		return nil, r
	}
	return nil, err
}

// checkMeans says what this site lacks to make the order. Its error is that it
// could not find out.
func (s *bureau) checkMeans(ctx context.Context, operator string, c *order.Contract, in *order.Input) (errs []error, err error) {
	if agreed, err := c.Profile(in.Header); err == nil {
		switch p := s.Profile(agreed.Name); {
		case p == nil:
			errs = append(errs, fmt.Errorf("profile %s is agreed but not here; add it to profiles in the configuration", agreed.Name))
		case agreed.Digest != "" && agreed.Digest != fmt.Sprintf("%x", p.Digest()):
			errs = append(errs, fmt.Errorf("profile %s has digest %x here, the contract says %s", agreed.Name, p.Digest(), agreed.Digest))
		default:
			errs = append(errs, checkAuthentication(agreed, p, c.ResponseColumns())...)
			if k, err := s.Token().Key(ctx, message.OPKey(operator, in.TransportKey())); err == nil {
				errs = append(errs, checkOP(p, k)...)
			}
		}
	}
	ids := []string{message.OPKey(operator, in.TransportKey())}
	for _, receiver := range in.Receivers() {
		ids = append(ids, message.TransportKey(operator, in.TransportKeyOf(receiver)))
	}
	slices.Reverse(ids) // the transport key first: OP comes with it
	for _, id := range ids {
		switch _, err := s.Token().Key(ctx, id); {
		case err == nil:
			continue
		case !errors.Is(err, hsm.ErrNoKey) && !errors.Is(err, keys.ErrState):
			return nil, err
		default:
			errs = append(errs, fmt.Errorf("%w; the operator shares it, and two people here accept it", err))
		}
		break // both come together
	}
	for _, receiver := range in.Receivers() {
		if len(errs) > 0 {
			break
		}
		if err := s.checkTransport(ctx, operator, c, in, receiver); err != nil {
			errs = append(errs, err)
		}
	}
	return errs, nil
}

// checkTransport compares a receiver's transport key with the contract, and refuses
// one whose waiver is not in force here.
func (s *bureau) checkTransport(ctx context.Context, operator string, c *order.Contract, in *order.Input, receiver string) error {
	ref, err := c.Transport(in.Header, receiver)
	if err != nil {
		return nil // what is not agreed is said by the contract's own rule
	}
	k, err := s.Token().Key(ctx, message.TransportKey(operator, ref.Index))
	if err == nil {
		err = errors.Join(ref.Fits(k.Algorithm), s.Register().Waived(ctx, k.ID, k.Algorithm))
	}
	if err != nil || ref.KCV.IsZero() {
		return err
	}
	if same, err := k.KCV.Matches(ref.KCV); err != nil || !same {
		return errors.Join(fmt.Errorf("transport key %d has check value %s here, the contract says %s", ref.Index, k.KCV, ref.KCV), err)
	}
	return nil
}

// checkAuthentication compares the profile's algorithm with the contract's, by
// which the operator will read the response, and the response's columns with
// what the cards have.
func checkAuthentication(agreed order.AgreedProfile, p *profile.Profile, columns []order.Column) []error {
	var errs []error
	if a := p.Parameters(); a != agreed.Authentication() {
		errs = append(errs, fmt.Errorf("profile %s has the algorithm %s here, the contract says %s; write the profile's into the contract as algorithm", agreed.Name, a, agreed.Authentication()))
	}
	slots := map[string]bool{"": true, profile.SlotMSISDN.String(): true}
	for _, s := range p.Slots() {
		slots[s.Name] = true
	}
	for _, c := range columns {
		if !slots[c.Slot()] {
			errs = append(errs, fmt.Errorf("column %s: cards of profile %s have no %s; agree on other columns", c, agreed.Name, c.Slot()))
		}
	}
	return errs
}

// checkOP refuses an OP of another algorithm than the profile's.
func checkOP(p *profile.Profile, k hsm.Key) []error {
	want, what := hsm.AES128, ""
	switch p.Parameters().Algorithm {
	case aka.TUAK:
		want, what = hsm.AES256, "/"+string(aka.TUAK)
	case aka.XOR:
		return nil // it has no OP
	}
	if k.Algorithm != want {
		return []error{fmt.Errorf("key %s is %s, an OP of %s is %s; the operator makes another index: key.make key/PARTNER/INDEX%s", k.ID, k.Algorithm, p.Algorithm, want, what)}
	}
	return nil
}

// oweReceipt answers an order file, once for each time that a file came: who
// sends one again is told so.
func oweReceipt(tx *store.Tx, a *site.Arrival, r message.Receipt) error {
	r.File = a.Name
	sum := sha256.Sum256([]byte(a.Place()))
	return a.Owe(tx, fmt.Sprintf("%x.receipt.pgp", sum[:8]), r)
}

// refuseOrder tells who sent an order why it was refused.
func (s *bureau) refuseOrder(tx *store.Tx, a *site.Arrival, r *site.Refusal) error {
	return oweReceipt(tx, a, message.Receipt{Digest: r.Digest, Reasons: r.Reasons[:min(len(r.Reasons), 1000)]})
}

// ---- keys that operators share

func (s *bureau) takeKeys(ctx context.Context, a *site.Arrival) error {
	var shared message.SharedKeys
	if err := a.JSON(&shared); err != nil {
		return err
	}
	if shared.From != a.Partner {
		return site.Refused("%s: the keys are said to be from %q", a.Name, shared.From)
	}
	e := audit.Entry{Kind: "key.offered", Actor: "partner/" + a.Partner, Subject: "partner/" + a.Partner}
	return s.Store().Change(ctx, e, func(tx *store.Tx) error {
		if err := a.Taken(tx); err != nil {
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
				return site.Refused("%s: %s key %d was shared before; a key is never replaced under its number: %v", a.Name, k.Purpose, k.Index, err)
			}
		}
		return nil
	})
}

// offeredKeys is what a partner shared under an index.
func (s *bureau) offeredKeys(ctx context.Context, partner string, index int) ([]message.SharedKey, error) {
	all, err := store.Collect(s.Store().Committed(ctx), store.Document[message.SharedKey],
		`SELECT document FROM offered_key WHERE partner = $1 AND idx = $2 ORDER BY purpose`, partner, index)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("keys %d of %s: %w; the operator has not sent them", index, partner, hsm.ErrNoKey)
	}
	return all, err
}

func (s *bureau) proposeAccept(ctx context.Context, subject string) (map[string]string, error) {
	partner, index, err := site.KeySubject(subject)
	if err != nil {
		return nil, err
	}
	shared, err := s.offeredKeys(ctx, partner, index)
	if err != nil {
		return nil, err
	}
	params := map[string]string{"partner": partner}
	for _, k := range shared {
		params[k.Purpose+".algorithm"] = k.Algorithm
		params[k.Purpose+".kcv"] = k.KCV
		if k.Purpose == string(hsm.Transport) {
			if err := s.WaiverOf(ctx, message.TransportKey(partner, index), hsm.Algorithm(k.Algorithm), params); err != nil {
				return nil, err
			}
		}
	}
	return params, nil
}

// doAccept takes shared keys into the module. Their check values must be those
// that the people compared with the operator's.
func (s *bureau) doAccept(ctx context.Context, w custody.Warrant) error {
	partner, index, err := site.KeySubject(w.Act().Subject)
	if err != nil {
		return err
	}
	shared, err := s.offeredKeys(ctx, partner, index)
	if err != nil {
		return err
	}
	for _, k := range shared {
		id := k.Purpose + "/" + partner + "/" + strconv.Itoa(index)
		made, err := s.Token().TakeKey(keys.For(ctx, "partner/"+partner), site.KeyAgree, k.Given, k.Label(partner, s.Config().Site), id, hsm.Purpose(k.Purpose), hsm.Algorithm(k.Algorithm))
		if errors.Is(err, hsm.ErrKeyExists) {
			made, err = s.Token().Key(ctx, id)
		}
		if err != nil {
			return fmt.Errorf("key %s: %w", id, err)
		}
		if made.KCV.String() != k.KCV {
			return errors.Join(fmt.Errorf("key %s: its check value is %s, the operator says %s; it was destroyed again", id, made.KCV, k.KCV), s.DestroyKey(ctx, id))
		}
	}
	return w.Use(ctx, "key.accept", w.Act().Subject, nil, func(tx *store.Tx) error {
		for _, k := range shared {
			tx.Note(k.Purpose, k.KCV)
			if err := keys.Shared(tx, k.Purpose+"/"+partner+"/"+strconv.Itoa(index), partner, ""); err != nil {
				return err
			}
		}
		_, err := tx.Exec(`UPDATE offered_key SET state = 'accepted' WHERE partner = $1 AND idx = $2`, partner, index)
		return err
	})
}

// ---- release and generation

func (s *bureau) proposeRelease(ctx context.Context, subject string) (map[string]string, error) {
	o, err := s.OrderOf(ctx, subject, order.Accepted)
	if err != nil {
		return nil, err
	}
	params := map[string]string{
		"operator": o.Partner, "file": o.Name, "batch": o.Batch, "digest": o.Digest, "quantity": strconv.Itoa(o.Quantity),
		"profile": o.Profile, "plant": s.Config().Plant,
	}
	if p := s.Profile(o.Profile); p != nil {
		params["algorithm"] = p.Parameters().String()
	}
	c, err := s.Contract(o.Partner)
	if err != nil {
		return nil, err
	}
	// The text takes the module to open, which a locked site does not ask: people
	// may sign before it is unlocked. Only an order of several keys needs it.
	indexes := map[string]int{"": o.Transport}
	if slices.ContainsFunc(c.Receivers(), func(receiver string) bool { return receiver != "" }) {
		in, err := order.OpenText(ctx, s.Store(), s.Token(), o, c.Reading())
		if err != nil {
			return nil, err
		}
		defer in.Close()
		indexes = in.TransportKeys()
	}
	return params, s.ShowTransport(ctx, o.Partner, indexes, params)
}

func (s *bureau) doRelease(ctx context.Context, w custody.Warrant) error {
	return s.Move(ctx, w, "order.release", order.Accepted, order.Released, nil)
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

// close drops the key of the order's identities.
func (j job) close() { j.input.Close() }

// job is what the order needs; the caller closes it.
func (s *bureau) job(ctx context.Context, o order.Order) (job, error) {
	c, err := s.Contract(o.Partner)
	if err != nil {
		return job{}, err
	}
	in, err := order.OpenText(ctx, s.Store(), s.Token(), o, c.Reading())
	if err != nil {
		return job{}, err
	}
	j := job{contract: c, input: in}
	if err := s.means(&j, o); err != nil {
		j.close()
		return job{}, err
	}
	return j, nil
}

// means adds what the contract and this site have for the order.
func (s *bureau) means(j *job, o order.Order) error {
	agreed, err := j.contract.Profile(j.input.Header)
	if err != nil {
		return err
	}
	if j.product, err = j.contract.Product(agreed.Product); err != nil {
		return err
	}
	if j.profile = s.Profile(agreed.Name); j.profile == nil {
		return fmt.Errorf("profile %s is not here", agreed.Name)
	}
	j.document = []byte(j.profile.String())
	if j.contract.Remake {
		j.spares = j.contract.Spares.For(o.Quantity)
	}
	return nil
}

// generate has the order's key sets drawn: here, or by all that take part.
func (s *bureau) generate(ctx context.Context, o order.Order) error {
	if err := s.MayBegin(); err != nil {
		return err
	}
	ctx = keys.For(ctx, "order/"+o.ID)
	b, err := datagen.Load(ctx, s.Store(), o.ID)
	if errors.Is(err, datagen.ErrNoBatch) || err == nil && !b.Drawable() {
		b, err = s.createBatch(ctx, o, err == nil)
	}
	if err != nil {
		return err
	}
	may, end := s.WhileMay(ctx)
	defer end()
	if s.queue == nil {
		err = s.drawer.Draw(may, o.ID, datagen.Span{To: b.Blocks()})
	} else if missing, offer := s.queue.Offer(may, b); offer != nil || missing > 0 {
		err = cmp.Or(offer, site.ErrIdle) // it is asked again
	}
	if err != nil {
		if ctx.Err() == nil && may.Err() != nil {
			return context.Cause(may)
		}
		return err
	}
	return s.Step(ctx, o, "order.generated", order.Generated, map[string]any{"blocks": b.Blocks()}, nil)
}

// createBatch records the batch of an order, with all that whoever draws it
// needs. One that was there before had less from an older program.
func (s *bureau) createBatch(ctx context.Context, o order.Order, there bool) (b datagen.Batch, err error) {
	if err := s.enter(ctx, o); err != nil {
		return b, err
	}
	j, err := s.job(ctx, o)
	if err != nil {
		return b, err
	}
	defer j.close()
	b = datagen.Batch{Order: o.ID, KEK: o.KEK, Document: j.document, Profile: j.profile, Cards: o.Quantity, Spares: j.spares, BlockSize: datagen.BlockSize}
	if b.Wrapped, err = order.Wrapped(ctx, s.Store(), o.ID); err != nil {
		return b, err
	}
	if j.profile.Parameters().VariantSize() > 0 {
		b.OP = message.OPKey(o.Partner, o.Transport)
	}
	if r, ok := j.input.Range(); ok {
		dk, err := s.Token().OpenDataKey(ctx, b.KEK, b.Wrapped)
		if err != nil {
			return b, err
		}
		defer dk.Close()
		if b.Range, err = datagen.SealRange(dk, o.ID, r); err != nil {
			return b, err
		}
	}
	if there {
		e := audit.Entry{Kind: "batch.completed", Actor: "system:datagen", Subject: "order/" + o.ID}
		if err := s.Store().Change(ctx, e, func(tx *store.Tx) error { return datagen.Complete(tx, b) }); err != nil {
			return b, err
		}
		return datagen.Load(ctx, s.Store(), o.ID)
	}
	e := audit.Entry{Kind: "batch.created", Actor: "system:datagen", Subject: "order/" + o.ID,
		Data: map[string]any{"cards": b.Cards, "spares": b.Spares, "profile": j.profile.Name, "profile_sha256": fmt.Sprintf("%x", j.profile.Digest())}}
	return b, s.Store().Change(ctx, e, func(tx *store.Tx) error {
		if err := s.ledger.Confirm(tx, o.ID); err != nil {
			return err
		}
		return datagen.Create(tx, b)
	})
}

// ---- to the plant

func (s *bureau) offer(ctx context.Context, o order.Order) error {
	b, err := datagen.Load(ctx, s.Store(), o.ID)
	if err != nil {
		return err
	}
	j, err := s.job(ctx, o)
	if err != nil {
		return err
	}
	defer j.close()
	m := message.Offer{Order: o.ID, Operator: o.Partner, Cards: b.Cards, Spares: b.Spares, Profile: o.Profile, OS: j.product.OS}
	if err := s.Send(ctx, s.Config().Plant, o.ID+".offer.pgp", message.JSON(m)); err != nil {
		return err
	}
	return s.Step(ctx, o, "order.offered", order.Offered, map[string]any{"plant": s.Config().Plant}, nil)
}

// ofPlant finds the order that a plant writes about. Only the plant that it was
// given to may.
func (s *bureau) ofPlant(ctx context.Context, a *site.Arrival, id string, state, before order.State) (order.Order, error) {
	o, err := order.Get(ctx, s.Store(), id)
	return ours(a, o, err, id, s.Config().Plant, state, before)
}

// ofOperator finds the order that its operator writes about.
func (s *bureau) ofOperator(ctx context.Context, a *site.Arrival, id string, state, before order.State) (order.Order, error) {
	o, err := order.Get(ctx, s.Store(), id)
	return ours(a, o, err, id, o.Partner, state, before)
}

// ours refuses an order that is not here, not the sender's, or elsewhere in its
// life. In the state before, the file is the answer to one that this site sent and
// did not come to note: it waits until that is done.
func ours(a *site.Arrival, o order.Order, err error, id, sender string, state, before order.State) (order.Order, error) {
	switch {
	case errors.Is(err, order.ErrNoOrder):
		return o, site.Refused("%s: %v", a.Name, err)
	case err != nil:
		return o, err
	case a.Partner != sender:
		return o, site.Refused("%s: order %s is not one of %s", a.Name, id, a.Partner)
	case o.State == before && before != "":
		return o, fmt.Errorf("%s: order %s is %s still; the file is taken when it is %s", a.Name, id, o.State, state)
	case o.State != state:
		return o, site.Refused("%s: order %s is %s, want %s", a.Name, id, o.State, state)
	}
	return o, nil
}

func (s *bureau) takeSlot(ctx context.Context, a *site.Arrival) error {
	var m message.Slot
	if err := a.JSON(&m); err != nil {
		return err
	}
	if late, err := s.late(ctx, a, m.Order); late || err != nil {
		return err
	}
	o, err := s.ofPlant(ctx, a, m.Order, order.Offered, order.Generated)
	if err != nil {
		return err
	}
	if _, err := parseAgree(m.Agree); err != nil {
		return site.Refused("%s: %v", a.Name, err)
	}
	if _, err := order.Paper(ctx, s.Store(), o.ID, "slot"); err == nil {
		return site.Refused("%s: a key for this batch came already", a.Name)
	}
	e := audit.Entry{Kind: "batch.slot", Actor: "partner/" + a.Partner, Subject: "order/" + o.ID}
	return s.Store().Change(ctx, e, func(tx *store.Tx) error {
		if err := a.Taken(tx); err != nil {
			return err
		}
		return order.PutPaper(tx, o.ID, "slot", []byte(m.Agree))
	})
}

func (s *bureau) sendBatch(ctx context.Context, o order.Order) error {
	ctx = keys.For(ctx, "order/"+o.ID)
	text, err := order.Paper(ctx, s.Store(), o.ID, "slot")
	if errors.Is(err, order.ErrNoOrder) {
		return site.ErrIdle // the plant has not answered yet
	}
	if err != nil {
		return err
	}
	to, err := parseAgree(string(text))
	if err != nil {
		return err
	}
	b, err := datagen.Load(ctx, s.Store(), o.ID)
	if err != nil {
		return err
	}
	j, err := s.job(ctx, o)
	if err != nil {
		return err
	}
	defer j.close()
	given, err := s.Token().GiveDataKey(ctx, b.KEK, b.Wrapped, to, message.BatchLabel(o.ID))
	if err != nil {
		return err
	}
	head := message.BatchHead{Format: message.BatchFormat, Order: o.ID, Cards: b.Cards, Spares: b.Spares, BlockSize: b.BlockSize, OS: j.product.OS, Profile: string(b.Document), Given: given}
	err = s.Send(ctx, s.Config().Plant, o.ID+".batch.pgp", func(w io.Writer) error {
		if err := message.JSON(head)(w); err != nil {
			return err
		}
		return datagen.Export(ctx, s.Store(), b, w)
	})
	if err != nil {
		return err
	}
	return s.Step(ctx, o, "order.sent", order.Sent, map[string]any{"plant": s.Config().Plant, "blocks": b.Blocks()}, nil)
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

func (s *bureau) takeReport(ctx context.Context, a *site.Arrival) error {
	var remakes []order.Remake
	var rep perso.Report
	err := a.Read(func(r io.Reader) (err error) {
		rep, err = perso.ParseReport(r, func(card, keyset int) error {
			remakes = append(remakes, order.Remake{Card: card, KeySet: keyset})
			return nil
		})
		return err
	})
	if err != nil {
		return site.Refused("%s: %v", a.Name, err)
	}
	if late, err := s.late(ctx, a, rep.Order); late || err != nil {
		return err
	}
	o, err := s.ofPlant(ctx, a, rep.Order, order.Sent, order.Offered)
	if err != nil {
		return err
	}
	if rep.Counts.Cards != o.Quantity || rep.Site != a.Partner {
		return site.Refused("%s: %d cards of site %s, want %d of %s", a.Name, rep.Counts.Cards, rep.Site, o.Quantity, a.Partner)
	}
	gone, err := s.retired(ctx, o, remakes)
	if err != nil {
		return err
	}
	data := map[string]any{"good": rep.Counts.Good, "remade": rep.Counts.Remade, "retired": rep.Counts.Retired, "destroyed": rep.Counts.Destroyed, "plant": a.Partner}
	return a.Step(ctx, o, "order.made", order.Made, data, func(tx *store.Tx) error {
		if err := order.PutRemakes(tx, o.ID, remakes); err != nil {
			return err
		}
		if err := order.SetCounts(tx, o.ID, rep.Counts.Good, rep.Counts.Retired); err != nil {
			return err
		}
		if err := s.ledger.Retire(ctx, tx, order.Holder{Order: o.ID, Operator: o.Partner}, slices.All(gone)); err != nil {
			return err
		}
		return putPaper(tx, o.ID, "report", rep)
	})
}

// ---- the response

func (s *bureau) respond(ctx context.Context, o order.Order) error {
	ctx = keys.For(ctx, "order/"+o.ID)
	if o.Good == 0 {
		return s.respondRetired(ctx, o)
	}
	files, err := s.sendResponse(ctx, o)
	if err != nil {
		return err
	}
	data := map[string]any{"cards": o.Good, "file": files[0].File}
	if len(files) > 1 {
		data = map[string]any{"cards": o.Good, "files": len(files)}
	}
	return s.Step(ctx, o, "order.responded", order.Responded, data, nil)
}

// respondRetired tells the operator that no card of its order could be made: a
// response file has at least one row. The order goes on to its destruction.
func (s *bureau) respondRetired(ctx context.Context, o order.Order) error {
	name := o.ID + ".retired.receipt.pgp"
	m := message.Receipt{Order: o.ID, File: o.Name, Digest: o.Digest, Accepted: true, Retired: o.Retired, Reasons: []string{"no card could be made; every identity is retired"}}
	if err := s.Send(ctx, o.Partner, name, message.JSON(m)); err != nil {
		return err
	}
	return s.Step(ctx, o, "order.responded", order.Responded, map[string]any{"cards": 0, "retired": o.Retired, "file": name}, nil)
}

// ---- acknowledgement and destruction

func (s *bureau) takeAck(ctx context.Context, a *site.Arrival) error {
	var m message.Ack
	if err := a.JSON(&m); err != nil {
		return err
	}
	o, err := s.ofOperator(ctx, a, m.Order, order.Responded, order.Made)
	if err != nil {
		return err
	}
	if m.Cards != o.Good {
		return site.Refused("%s: %d cards are acknowledged, want %d", a.Name, m.Cards, o.Good)
	}
	sent, err := s.sentFiles(ctx, o.ID)
	if err != nil {
		return err
	}
	if wrong := otherFile(m.Response, sent); wrong != "" {
		return site.Refused("%s: %s", a.Name, wrong)
	}
	return a.Step(ctx, o, "order.received", order.Received, map[string]any{"cards": m.Cards, "by": m.By}, func(tx *store.Tx) error {
		return putPaper(tx, o.ID, "ack", m)
	})
}

func (s *bureau) proposeDestroy(ctx context.Context, subject string) (map[string]string, error) {
	o, err := s.OrderOf(ctx, subject, order.Received)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"operator": o.Partner, "digest": o.Digest, "quantity": strconv.Itoa(o.Quantity), "good": strconv.Itoa(o.Good),
		"keys": o.KEK, "copies": "bureau " + s.Config().Site + ": database; plant " + s.Config().Plant + ": database and batch keys; files to partners",
	}, nil
}

func (s *bureau) doDestroy(ctx context.Context, w custody.Warrant) error {
	o, err := s.OrderOf(ctx, w.Act().Subject, order.Received)
	if err != nil {
		return err
	}
	key, err := s.DescribeKey(ctx, o.KEK)
	if err != nil {
		return err
	}
	papers := map[string]any{"destroy-act": w.Act().ID, "destroy-keys": []order.DestroyedKey{key}}
	return s.Move(ctx, w, "order.destroy", order.Received, order.Destroying, func(tx *store.Tx) error {
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
func (s *bureau) paper(ctx context.Context, ord, kind string, v any) error {
	doc, err := order.Paper(ctx, s.Store(), ord, kind)
	if err != nil {
		return err
	}
	return json.Unmarshal(doc, v)
}

// condemn tells the plant to destroy its copy. The order goes on when the
// plant's proof is here.
func (s *bureau) condemn(ctx context.Context, o order.Order) error {
	var id string
	if err := s.paper(ctx, o.ID, "destroy-act", &id); err != nil {
		return err
	}
	st, err := s.Desk().Get(ctx, id)
	if err != nil {
		return err
	}
	if err := s.Send(ctx, s.Config().Plant, o.ID+".destroy.pgp", message.JSON(message.DestroyOrder{Order: o.ID, Act: st.Digest})); err != nil {
		return err
	}
	return site.ErrIdle
}

func (s *bureau) takeDestroyed(ctx context.Context, a *site.Arrival) error {
	var m message.DestroyProof
	if err := a.JSON(&m); err != nil {
		return err
	}
	from := order.Destroying
	gone, err := order.WhyAbandoned(s.Store().Committed(ctx), m.Order)
	if err != nil {
		return err
	}
	if gone != nil {
		from = order.Abandoning
	}
	o, err := s.ofPlant(ctx, a, m.Order, from, "")
	if err != nil {
		return err
	}
	// A plant that lost an order may have no key of it any more.
	if m.Site != a.Partner || len(m.Keys) == 0 && gone == nil || len(m.Approvers) < 2 || m.Out < 0 {
		return site.Refused("%s: it proves no destruction at %s under dual control", a.Name, a.Partner)
	}
	return a.Step(ctx, o, "order.emptied", order.Emptied, map[string]any{"plant": a.Partner, "keys": len(m.Keys), "blocks": m.Blocks}, func(tx *store.Tx) error {
		return putPaper(tx, o.ID, "plant-proof", m)
	})
}

// destroy erases the order's key in the module, then its data everywhere here.
// Each part may be done again after a crash.
func (s *bureau) destroy(ctx context.Context, o order.Order) error {
	var d message.Destroyed
	if err := s.paper(ctx, o.ID, "destroy-keys", &d.Keys); err != nil {
		return err
	}
	if err := s.DestroyKeys(ctx, d.Keys); err != nil {
		return err
	}
	switch b, err := datagen.Load(ctx, s.Store(), o.ID); {
	case err == nil:
		d.Blocks = b.Blocks()
	case !errors.Is(err, datagen.ErrNoBatch): // an abandoned order may have none
		return err
	}
	sent, err := s.sentFiles(ctx, o.ID)
	if err != nil {
		return err
	}
	for _, f := range sent {
		if err := s.Withdraw(o.Partner, f.File); err != nil {
			return err
		}
	}
	if err := s.Withdraw(s.Config().Plant, o.ID+".batch.pgp"); err != nil {
		return err
	}
	if err := errors.Join(datagen.Wipe(ctx, s.Store(), o.ID), order.Wipe(ctx, s.Store(), o.ID)); err != nil {
		return err
	}
	return s.Step(ctx, o, "order.destroyed", order.Destroyed, map[string]any{"key": o.KEK, "blocks": d.Blocks}, func(tx *store.Tx) error {
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
func (s *bureau) certify(ctx context.Context, o order.Order) error {
	if err := s.Store().Scrub(ctx); err != nil {
		return err
	}
	doc, err := order.Paper(ctx, s.Store(), o.ID, "certificate")
	if errors.Is(err, order.ErrNoOrder) {
		doc, err = s.writeCertificate(ctx, o)
	}
	if err != nil {
		return err
	}
	pub, err := s.PublicKey(ctx)
	if err != nil {
		return err
	}
	c, err := order.OpenCertificate(doc, pub)
	if err != nil {
		return err
	}
	var pdf bytes.Buffer
	if err := order.RenderPDF(&pdf, c); err != nil {
		return err
	}
	if err := s.Send(ctx, o.Partner, o.ID+".certificate.pgp", message.JSON(message.Certified{Order: o.ID, Document: doc, PDF: pdf.Bytes()})); err != nil {
		return err
	}
	return s.Step(ctx, o, "order.certified", order.Certified, nil, nil)
}

func (s *bureau) writeCertificate(ctx context.Context, o order.Order) ([]byte, error) {
	c, err := s.certificate(ctx, o)
	if err != nil {
		return nil, err
	}
	payload, err := c.Payload()
	if err != nil {
		return nil, err
	}
	doc, err := s.SignDocument(ctx, order.CertificateType, payload)
	if err != nil {
		return nil, err
	}
	e := audit.Entry{Kind: "certificate.signed", Actor: "system:site", Subject: "order/" + o.ID, Data: map[string]any{"number": c.Number, "sha256": fmt.Sprintf("%x", sha256.Sum256(doc))}}
	return doc, s.Store().Change(ctx, e, func(tx *store.Tx) error { return order.PutPaper(tx, o.ID, "certificate", doc) })
}
