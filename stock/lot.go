package stock

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/hsm"
	"ankan/store"
)

// A Lot is a chip maker's delivery note: chips, the operating system that they
// take, and their transport key, wrapped for the plant.
type Lot struct {
	Lot      string `json:"lot"`
	Vendor   string `json:"vendor"`
	Chip     string `json:"chip"`
	Quantity int    `json:"quantity"`
	OS       string `json:"os"`       // release that the image holds
	Image    []byte `json:"image"`    // signed by the OS's maker; the chip checks it as well
	OSMaker  []byte `json:"os_maker"` // Ed25519 public key
	KCV      string `json:"kcv"`      // of the transport key, with its method
	Given    []byte `json:"given"`

	// KeyMethod is the algorithm of the transport key and how the chips' keys come
	// from it, as the policy names them: "AES-128/kdf3". "" is AES-256, our own.
	KeyMethod hsm.Algorithm `json:"key_method,omitempty"`

	// What the line looks at before a chip gets an identity, if the note says it.
	ATR     string  `json:"atr,omitempty"`      // hex
	ATRMask string  `json:"atr_mask,omitempty"` // hex: 0 where chips differ, in historical bytes and the check byte
	Serials []Range `json:"serials,omitempty"`

	FormFactor  string   `json:"form_factor,omitempty"` // ETSI TS 102 221, 4: 2FF, 3FF, 4FF, MFF2; wafer, module
	Certificate string   `json:"certificate,omitempty"` // of the chip: Common Criteria or EMVCo identifier
	Provenance  []string `json:"provenance,omitempty"`  // who had it before: foundry, packager, carrier
}

// ReadLot reads a delivery note, strictly.
func ReadLot(doc []byte) (l Lot, err error) {
	if err := audit.Strict(doc, &l); err != nil {
		return l, fmt.Errorf("lot: %w", err)
	}
	if l.Lot == "" || l.Quantity <= 0 || l.OS == "" || len(l.Image) == 0 || len(l.Given) == 0 {
		return l, errors.New("lot: name, quantity, os, image and wrapped key must be there")
	}
	if err := checkName("lot: its name", l.Lot); err != nil {
		return l, err
	}
	if l.Quantity > most {
		return l, fmt.Errorf("lot %s: quantity is %d, want up to %d", l.Lot, l.Quantity, most)
	}
	for _, s := range l.Provenance {
		if err := checkText("lot "+l.Lot+": a step of its provenance", s); err != nil {
			return l, err
		}
	}
	if err := l.checkKey(); err != nil {
		return l, fmt.Errorf("lot %s: %w", l.Lot, err)
	}
	_, err = l.Marks()
	return l, err
}

// An Inspection is one look at a lot that came in.
type Inspection struct {
	At      time.Time `json:"at"`
	Person  string    `json:"person"`
	Act     string    `json:"act"`
	Counted int       `json:"counted"` // without the delivery note's figure
	Sample  int       `json:"sample"`  // chips that were looked at
	Failed  int       `json:"failed"`  // of the sample
	Result  string    `json:"result"`
}

// A LotView is a lot with what happened to it.
type LotView struct {
	Lot
	State       string       `json:"state"` // offered, accepted, refused
	Source      string       `json:"source,omitempty"`
	Inspections []Inspection `json:"inspections"`
	Balances    []Balance    `json:"balances,omitempty"`
}

// Offer records a delivery note: the chips are received, as it says.
func (b *Book) Offer(ctx context.Context, l Lot) error {
	if err := b.ready(); err != nil {
		return err
	}
	doc, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if _, state, err := b.Lot(ctx, l.Lot); err == nil {
		return fmt.Errorf("lot %s is here already; it is %s", l.Lot, state)
	}
	e := audit.Entry{Kind: "lot.offered", Actor: "system:site", Subject: "lot/" + l.Lot, Data: map[string]any{"vendor": l.Vendor, "chip": l.Chip, "quantity": l.Quantity, "key_method": string(l.KeyAlgorithm()), "kcv": l.KCV, "os": l.OS, "atr": l.ATRText(), "serials": l.SerialsText(),
		"form_factor": l.FormFactor, "certificate": l.Certificate, "provenance": strings.Join(l.Provenance, "; ")}}
	return b.store.Change(ctx, e, func(tx *store.Tx) error {
		if _, err := tx.Exec(`INSERT INTO stock_lot (name, vendor, document, state) VALUES ($1, $2, $3, 'offered')`, l.Lot, l.Vendor, doc); err != nil {
			return err
		}
		return post(tx, Posting{Actor: "system:site", Why: "delivery note", Lot: l.Lot, From: Maker, To: Received, Count: l.Quantity})
	})
}

// Lot is a lot and its state; ErrNone if it is not here.
func (b *Book) Lot(ctx context.Context, name string) (Lot, string, error) {
	if err := b.ready(); err != nil {
		return Lot{}, "", err
	}
	return lotBy(b.store.Committed(ctx), name)
}

func lotBy(q store.Querier, name string) (l Lot, state string, err error) {
	var doc []byte
	err = q.QueryRow(`SELECT document, state FROM stock_lot WHERE name = $1`, name).Scan(&doc, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return l, "", fmt.Errorf("lot %q is %w; run: ankan lot receive FILE", name, ErrNone)
	}
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(doc)).Decode(&l)
	}
	return l, state, err
}

// Lots is all lots in a state, in the order of their names; "" takes all.
func (b *Book) Lots(ctx context.Context, state string) ([]Lot, error) {
	if err := b.ready(); err != nil {
		return nil, err
	}
	return store.Collect(b.store.Committed(ctx), store.Document[Lot], `SELECT document FROM stock_lot WHERE $1 = '' OR state = $1 ORDER BY name`, state)
}

// LotViews is all lots with what happened to them, without their balances.
func (b *Book) LotViews(ctx context.Context) (all []LotView, err error) {
	if err := b.ready(); err != nil {
		return nil, err
	}
	err = b.store.View(ctx, func(tx *store.ReadTx) error {
		names, err := store.Collect(tx, store.Column[string], `SELECT name FROM stock_lot ORDER BY name`)
		if err != nil {
			return err
		}
		all = []LotView{}
		for _, name := range names {
			v, err := lotView(tx, name)
			if err != nil {
				return err
			}
			all = append(all, v)
		}
		return nil
	})
	return all, err
}

// LotView is a lot with what happened to it; ErrNone if it is not here.
func (b *Book) LotView(ctx context.Context, name string) (v LotView, err error) {
	if err := b.ready(); err != nil {
		return v, err
	}
	err = b.store.View(ctx, func(tx *store.ReadTx) error {
		if v, err = lotView(tx, name); err != nil {
			return err
		}
		v.Balances, err = balances(tx, name, "")
		return err
	})
	return v, err
}

func lotView(q store.Querier, name string) (v LotView, err error) {
	if v.Lot, v.State, err = lotBy(q, name); err != nil {
		return v, err
	}
	if v.Source, err = sourceOf(q, v.Vendor); err != nil {
		return v, err
	}
	v.Inspections, err = store.Collect(q, func(rows *sql.Rows) (i Inspection, err error) {
		var at string
		if err = rows.Scan(&at, &i.Person, &i.Act, &i.Counted, &i.Sample, &i.Failed, &i.Result); err == nil {
			i.At, err = store.ParseStamp(at)
		}
		return i, err
	}, `SELECT at, person, act, counted, sample, failed, result FROM stock_inspection WHERE lot = $1 ORDER BY rowid`, name)
	return v, err
}

func sourceOf(q store.Querier, vendor string) (string, error) {
	all, err := store.Collect(q, store.Column[string], `SELECT act FROM stock_source WHERE vendor = $1`, vendor)
	if err != nil || len(all) == 0 {
		return "", err
	}
	return all[0], nil
}

// ---- trusted sources

// A Source is a vendor that people approved.
type Source struct{ Vendor, Why string }

// checkSource is about source/VENDOR/WHY.
func (b *Book) checkSource(_ context.Context, q store.Querier, subject string) (s Source, m map[string]string, err error) {
	part, err := cut(subject, "source", "VENDOR", "WHY")
	if err != nil {
		return s, nil, err
	}
	s = Source{part[0], part[1]}
	if err := errors.Join(checkText("vendor", s.Vendor), checkText("why", s.Why)); err != nil {
		return s, nil, err
	}
	had, err := sourceOf(q, s.Vendor)
	if err == nil && had != "" {
		err = fmt.Errorf("vendor %s: %w: act %s approved it already", s.Vendor, act.ErrNotAllowed, had)
	}
	return s, map[string]string{"vendor": s.Vendor, "why": s.Why}, err
}

func (b *Book) doSource(_ context.Context, tx *store.Tx, w custody.Warrant, s Source) error {
	_, err := tx.Exec(`INSERT INTO stock_source (vendor, why, at, act) VALUES ($1, $2, $3, $4)`, s.Vendor, s.Why, store.Stamp(tx.Time()), w.Act().ID)
	return err
}

// ---- inspection

type inspecting struct {
	lot Lot
	Inspection
}

// checkInspect is about lot/NAME/COUNTED/SAMPLE/FAILED/RESULT. What the
// delivery note says is not among what is shown.
func (b *Book) checkInspect(_ context.Context, q store.Querier, subject string) (i inspecting, m map[string]string, err error) {
	part, err := cut(subject, "lot", "NAME", "COUNTED", "SAMPLE", "FAILED", "RESULT")
	if err != nil {
		return i, nil, err
	}
	var state string
	if i.lot, state, err = lotBy(q, part[0]); err != nil {
		return i, nil, err
	}
	if state != "offered" {
		return i, nil, fmt.Errorf("lot %s: %w: it is %s already", part[0], act.ErrNotAllowed, state)
	}
	var one, two, three error
	i.Counted, one = number("what was counted", part[1])
	i.Sample, two = number("the sample", part[2])
	i.Failed, three = number("what failed", part[3])
	i.Result = part[4]
	if err := errors.Join(one, two, three, checkText("result", i.Result)); err != nil {
		return i, nil, err
	}
	if i.Sample > i.Counted || i.Failed > i.Sample {
		return i, nil, fmt.Errorf("lot %s: %d of a sample of %d failed, and %d were counted; want no more than that", part[0], i.Failed, i.Sample, i.Counted)
	}
	open, err := discrepancies(q, `subject = $1 AND state <> 'closed'`, "lot/"+part[0])
	if err == nil && len(open) > 0 {
		err = fmt.Errorf("lot %s: %w: discrepancy %d of its last count is %s", part[0], act.ErrNotAllowed, open[0].ID, open[0].State)
	}
	return i, map[string]string{"lot": part[0], "counted": part[1], "sample": part[2], "failed": part[3], "result": part[4]}, err
}

func (b *Book) doInspect(ctx context.Context, tx *store.Tx, w custody.Warrant, i inspecting) error {
	a := w.Act()
	if _, err := tx.Exec(`INSERT INTO stock_inspection (lot, at, person, act, counted, sample, failed, result) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		i.lot.Lot, store.Stamp(tx.Time()), a.Requester, a.ID, i.Counted, i.Sample, i.Failed, i.Result); err != nil {
		return err
	}
	has, err := balance(tx, Received, i.lot.Lot, "")
	if err != nil {
		return err
	}
	if has > 0 { // the first time
		if err := post(tx, under(w, Posting{Why: "to incoming inspection", Lot: i.lot.Lot, From: Received, To: InInspection, Count: has})); err != nil {
			return err
		}
	}
	return b.compare(ctx, tx, Discrepancy{Subject: "lot/" + i.lot.Lot, Account: InInspection, Lot: i.lot.Lot, Found: i.Counted, Person: a.Requester})
}

// AcceptParams is what the approvers of a lot see of the stock. Where people
// count, a lot is not accepted before they did, and not with a discrepancy.
func (b *Book) AcceptParams(ctx context.Context, name string, itself bool) (m map[string]string, err error) {
	if err := b.ready(); err != nil {
		return nil, err
	}
	err = b.store.View(ctx, func(tx *store.ReadTx) error {
		v, err := lotView(tx, name)
		if err != nil {
			return err
		}
		if v.State != "offered" {
			return fmt.Errorf("lot %s is %s already", name, v.State)
		}
		open, err := discrepancies(tx, `subject = $1 AND state <> 'closed'`, "lot/"+name)
		if err != nil {
			return err
		}
		if len(open) > 0 {
			return fmt.Errorf("lot %s: %w: discrepancy %d is %s", name, act.ErrNotAllowed, open[0].ID, open[0].State)
		}
		m = map[string]string{"vendor": v.Vendor, "chip": v.Chip, "quantity": strconv.Itoa(v.Quantity), "os": v.OS, "key_method": string(v.KeyAlgorithm()), "kcv": v.KCV}
		for name, s := range map[string]string{"atr": v.ATRText(), "serials": v.SerialsText(), "form_factor": v.FormFactor, "certificate": v.Certificate, "provenance": strings.Join(v.Provenance, "; ")} {
			if s != "" {
				m[name] = s
			}
		}
		if n := len(v.Inspections); n > 0 {
			i := v.Inspections[n-1]
			m["inspection"] = fmt.Sprintf("person %s counted %d, and looked at %d, of which %d failed: %s", i.Person, i.Counted, i.Sample, i.Failed, i.Result)
		}
		if v.Source != "" {
			m["source"] = "approved by act " + v.Source
		}
		switch {
		case itself:
		case len(v.Inspections) == 0:
			return fmt.Errorf("lot %s: %w: nobody counted and inspected it yet; ask for lot.inspect", name, act.ErrNotAllowed)
		case v.Source == "":
			return fmt.Errorf("lot %s: %w: its vendor %s is no approved source; ask for source.approve", name, act.ErrNotAllowed, v.Vendor)
		}
		return nil
	})
	return m, err
}

// Accept puts the chips of a lot into the warehouse, in the change that spends
// the warrant of lot.accept.
func Accept(tx *store.Tx, w custody.Warrant, name string) error {
	for _, from := range []Account{Received, InInspection} {
		has, err := balance(tx, from, name, "")
		if err != nil {
			return err
		}
		if has > 0 {
			if err := post(tx, under(w, Posting{Why: "accepted", Lot: name, From: from, To: Store, Count: has})); err != nil {
				return err
			}
		}
	}
	return moveLot(tx, name, "accepted")
}

func moveLot(tx *store.Tx, name, to string) error {
	return one(tx, fmt.Sprintf("lot %s is not offered, or not here", name), `UPDATE stock_lot SET state = $1 WHERE name = $2 AND state = 'offered'`, to, name)
}

// one runs an update that must change exactly one row.
func one(tx *store.Tx, otherwise, query string, args ...any) error {
	res, err := tx.Exec(query, args...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(errors.New(otherwise), err)
	}
	return nil
}

// checkRefuse is about lot/NAME/WHY.
func (b *Book) checkRefuse(_ context.Context, q store.Querier, subject string) (name string, m map[string]string, err error) {
	part, err := cut(subject, "lot", "NAME", "WHY")
	if err != nil {
		return "", nil, err
	}
	l, state, err := lotBy(q, part[0])
	if err != nil {
		return "", nil, err
	}
	if state != "offered" {
		return "", nil, fmt.Errorf("lot %s: %w: it is %s already", l.Lot, act.ErrNotAllowed, state)
	}
	return l.Lot, map[string]string{"lot": l.Lot, "vendor": l.Vendor, "why": part[1]}, checkText("why", part[1])
}

func (b *Book) doRefuse(_ context.Context, tx *store.Tx, w custody.Warrant, name string) error {
	for _, from := range []Account{Received, InInspection} {
		has, err := balance(tx, from, name, "")
		if err != nil {
			return err
		}
		if has > 0 {
			if err := post(tx, under(w, Posting{Why: w.Act().Params["why"], Lot: name, From: from, To: Returned, Count: has})); err != nil {
				return err
			}
		}
	}
	return moveLot(tx, name, "refused")
}

// ---- movements that people ask for

// moves is where people may move what, and between which accounts an order is
// named.
func moves() [][2]Account {
	return [][2]Account{
		{Store, Finishing}, {Finishing, Finished}, {Finishing, Scrap}, {Finishing, Store},
		{Store, Line}, {Finished, Line}, {Line, Store}, {Line, Finished},
		{Aside, Store}, {Aside, Scrap}, {Aside, Destroyed}, {Scrap, Destroyed},
	}
}

// checkMove is about move/FROM/TO/LOT/ORDER/COUNT/WHY; ORDER is - for none.
func (b *Book) checkMove(_ context.Context, q store.Querier, subject string) (p Posting, m map[string]string, err error) {
	part, err := cut(subject, "move", "FROM", "TO", "LOT", "ORDER", "COUNT", "WHY")
	if err != nil {
		return p, nil, err
	}
	from, one := parseAccount(part[0])
	to, two := parseAccount(part[1])
	n, three := number("count", part[4])
	if err := errors.Join(one, two, three, checkText("why", part[5])); err != nil {
		return p, nil, err
	}
	p = Posting{From: from, To: to, Lot: part[2], Count: n, Why: part[5]}
	if part[3] != "-" {
		p.Order = part[3]
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%s to %s: %w: "+format, append([]any{from, to, act.ErrNotAllowed}, args...)...)
	}
	l, state, err := lotBy(q, p.Lot)
	if err != nil {
		return p, nil, err
	}
	switch {
	case !slices.Contains(moves(), [2]Account{from, to}):
		return p, nil, fail("people move nothing there by hand")
	case n == 0:
		return p, nil, fail("nothing is to move")
	case state != "accepted":
		return p, nil, fail("lot %s is %s", l.Lot, state)
	case (from.needsOrder() || to.needsOrder()) != (p.Order != ""):
		return p, nil, fail("order is %q; it is named where chips go to the line or come from it, and nowhere else", p.Order)
	}
	if to == Line {
		if err := q.QueryRow(`SELECT state FROM run WHERE ord = $1`, p.Order).Scan(&state); err != nil || state != "received" && state != "offered" {
			return p, nil, fail("order %s is not at the line", p.Order)
		}
		at, err := shares(q, Line, p.Order)
		if err != nil {
			return p, nil, err
		}
		if len(at) > 0 && at[0].Lot != p.Lot {
			return p, nil, fail("chips of lot %s are at the line for order %s; one lot at a time", at[0].Lot, p.Order)
		}
	}
	return p, map[string]string{"from": part[0], "to": part[1], "lot": part[2], "order": part[3], "count": part[4], "why": part[5]}, nil
}

func (b *Book) doMove(_ context.Context, tx *store.Tx, w custody.Warrant, p Posting) error {
	return post(tx, under(w, p))
}
