package site

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/datagen"
	"ankan/exchange"
	"ankan/hsm"
	"ankan/order"
	"ankan/perso"
	"ankan/profile"
	"ankan/simos"
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
}

// image checks the operating system's image and returns its digest.
func (l Lot) image() ([32]byte, error) {
	i, err := simos.OpenImage(l.Image, l.OSMaker)
	if err != nil {
		return [32]byte{}, fmt.Errorf("lot %s: %w", l.Lot, err)
	}
	if name := i.Name + " " + i.Version; name != l.OS {
		return [32]byte{}, fmt.Errorf("lot %s: the image is %q, the delivery note says %q", l.Lot, name, l.OS)
	}
	return i.Digest()
}

// LotLabel binds a lot's wrapped key to its lot.
func LotLabel(lot string) string { return "ankan/lot/v1 " + lot }

func lotKey(lot string) string { return "lot/" + lot }

// AddLot records a delivery note. Its chips can be used when two people
// accepted it.
func (s *Site) AddLot(ctx context.Context, doc []byte) (Lot, error) {
	var l Lot
	if !s.config.Is(Plant) {
		return l, fmt.Errorf("site %s is no plant: %w to receive chips", s.config.Site, act.ErrNotAllowed)
	}
	if err := readJSON(bytes.NewReader(doc), &l); err != nil {
		return l, fmt.Errorf("lot: %w", err)
	}
	if l.Lot == "" || l.Quantity <= 0 || l.OS == "" || len(l.Image) == 0 || len(l.Given) == 0 {
		return l, errors.New("lot: name, quantity, os, image and wrapped key must be there")
	}
	if _, state, err := s.lot(ctx, l.Lot); err == nil {
		return l, fmt.Errorf("lot %s is here already; it is %s", l.Lot, state)
	}
	e := audit.Entry{Kind: "lot.offered", Actor: "system:site", Subject: "lot/" + l.Lot, Data: map[string]any{"vendor": l.Vendor, "chip": l.Chip, "quantity": l.Quantity, "kcv": l.KCV, "os": l.OS}}
	return l, s.store.Change(ctx, e, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO lot (name, document, state) VALUES ($1, $2, 'offered')`, l.Lot, doc)
		return err
	})
}

func (s *Site) lot(ctx context.Context, name string) (l Lot, state string, err error) {
	var doc []byte
	err = s.store.QueryRow(ctx, `SELECT document, state FROM lot WHERE name = $1`, name).Scan(&doc, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return l, "", fmt.Errorf("lot %q is not here; run: ankan lot receive FILE", name)
	}
	if err == nil {
		err = json.Unmarshal(doc, &l)
	}
	return l, state, err
}

// lots is all lots in a state.
func (s *Site) lots(ctx context.Context, state string) ([]Lot, error) {
	rows, err := s.store.Query(ctx, `SELECT document FROM lot WHERE state = $1 ORDER BY name`, state)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := []Lot{}
	for rows.Next() {
		var doc []byte
		var l Lot
		if err := rows.Scan(&doc); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(doc, &l); err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, rows.Err()
}

func (s *Site) proposeLot(ctx context.Context, subject string) (map[string]string, error) {
	name, err := subjectOf(subject, "lot")
	if err != nil {
		return nil, err
	}
	l, state, err := s.lot(ctx, name)
	if err != nil {
		return nil, err
	}
	if state != "offered" {
		return nil, fmt.Errorf("lot %s is %s already", name, state)
	}
	digest, err := l.image()
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"vendor": l.Vendor, "chip": l.Chip, "quantity": strconv.Itoa(l.Quantity), "os": l.OS,
		"image_sha256": fmt.Sprintf("%x", digest), "kcv": l.KCV,
	}, nil
}

func (s *Site) doLot(ctx context.Context, w custody.Warrant) error {
	name, err := subjectOf(w.Act().Subject, "lot")
	if err != nil {
		return err
	}
	l, _, err := s.lot(ctx, name)
	if err != nil {
		return err
	}
	k, err := s.token.TakeKey(ctx, keyAgree, l.Given, LotLabel(name), lotKey(name), hsm.Lot, hsm.AES256)
	if errors.Is(err, hsm.ErrKeyExists) {
		k, err = s.token.Key(ctx, lotKey(name))
	}
	if err != nil {
		return fmt.Errorf("key %s: %w", lotKey(name), err)
	}
	if k.KCV.String() != l.KCV {
		return errors.Join(fmt.Errorf("lot %s: its key's check value is %s, the chip maker says %s; it was destroyed again", name, k.KCV, l.KCV), s.forgetKey(ctx, k.ID))
	}
	return w.Use(ctx, "lot.accept", w.Act().Subject, nil, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE lot SET state = 'accepted' WHERE name = $1`, name)
		return err
	})
}

// ---- batches

func slotKey(ord string) string  { return "slot/" + ord }
func batchKey(ord string) string { return "batch/" + ord }

func (s *Site) takeOffer(ctx context.Context, a *arrival) error {
	var m offer
	if err := a.json(&m); err != nil {
		return err
	}
	if m.Order == "" || strings.ContainsAny(m.Order, "/. ") || m.Cards <= 0 || m.Spares < 0 {
		return refused("%s: an offer of %d cards for order %q", a.Name, m.Cards, m.Order)
	}
	if _, err := perso.GetRun(ctx, s.store, m.Order); err == nil {
		return refused("%s: order %s was offered already", a.Name, m.Order)
	}
	if _, err := s.product(ctx, m.OS); err != nil {
		return err // not refused: a lot may be accepted any minute
	}
	for id, k := range map[string]struct {
		hsm.Purpose
		hsm.Algorithm
	}{slotKey(m.Order): {hsm.Agree, hsm.P521}, batchKey(m.Order): {hsm.Order, hsm.AES256}} {
		if _, err := s.token.Generate(ctx, id, k.Purpose, k.Algorithm); err != nil && !errors.Is(err, hsm.ErrKeyExists) {
			return fmt.Errorf("key %s: %w", id, err)
		}
	}
	e := audit.Entry{Kind: "batch.offered", Actor: "partner/" + a.Partner, Subject: "order/" + m.Order,
		Data: map[string]any{"operator": m.Operator, "cards": m.Cards, "spares": m.Spares, "profile": m.Profile, "os": m.OS}}
	return s.store.Change(ctx, e, func(tx *store.Tx) error {
		if err := a.taken(tx); err != nil {
			return err
		}
		return perso.Offer(tx, perso.Run{Order: m.Order, Bureau: a.Partner, Agree: slotKey(m.Order), KEK: batchKey(m.Order)})
	})
}

// product finds chips of an accepted lot that take an operating system.
func (s *Site) product(ctx context.Context, os string) (perso.Product, error) {
	lots, err := s.lots(ctx, "accepted")
	if err != nil {
		return perso.Product{}, err
	}
	for i := len(lots) - 1; i >= 0; i-- {
		if l := lots[i]; l.OS == os {
			digest, err := l.image()
			return perso.Product{Lot: l.Lot, LotKey: lotKey(l.Lot), Image: l.Image, Digest: digest}, err
		}
	}
	return perso.Product{}, fmt.Errorf("no accepted lot has chips for %s; receive one: ankan lot receive FILE", os)
}

// advanceRuns lets each batch at the plant take its next step.
func (s *Site) advanceRuns(ctx context.Context, g *errgroup.Group) error {
	runs, err := perso.Active(ctx, s.store)
	if err != nil {
		return err
	}
	steps := map[string]func(context.Context, perso.Run) error{
		"offered": s.sendSlot, "received": s.run, "finished": s.report, "destroying": s.empty, "emptied": s.prove,
	}
	for _, r := range runs {
		if step := steps[r.State]; step != nil {
			s.begin(ctx, g, "run "+r.Order, func(ctx context.Context) error {
				if now, err := perso.GetRun(ctx, s.store, r.Order); err != nil || now.State != r.State {
					return err
				}
				return step(ctx, r)
			})
		}
	}
	return nil
}

func (s *Site) sendSlot(ctx context.Context, r perso.Run) error {
	k, err := s.token.Key(ctx, r.Agree)
	if err != nil {
		return err
	}
	text, err := exchange.MarshalPublicKey(k.Public)
	if err != nil {
		return err
	}
	if err := s.send(ctx, r.Bureau, r.Order+".slot.pgp", jsonWriter(slot{Order: r.Order, Agree: text})); err != nil {
		return err
	}
	return errIdle // until the batch is here
}

// maxProfile bounds the profile document in a batch, in bytes.
const maxProfile = 4 << 20

func (s *Site) takeBatch(ctx context.Context, a *arrival) error {
	err := a.message.Read(func(r io.Reader) error { return s.readBatch(ctx, a, bufio.NewReaderSize(r, maxProfile)) })
	if err != nil {
		return err
	}
	return nil
}

func (s *Site) readBatch(ctx context.Context, a *arrival, r *bufio.Reader) error {
	head, err := readBatchHead(a.Name, r)
	if err != nil {
		return err
	}
	run, err := perso.GetRun(ctx, s.store, head.Order)
	if errors.Is(err, perso.ErrNoRun) || err == nil && (run.Bureau != a.Partner || run.State != "offered") {
		return refused("%s: order %s is not awaited from %s", a.Name, head.Order, a.Partner)
	}
	if err != nil {
		return err
	}
	document := []byte(head.Profile)
	b := datagen.Batch{Order: head.Order, KEK: run.KEK, Document: document, Cards: head.Cards, Spares: head.Spares, BlockSize: head.BlockSize}
	if b.Profile, err = profile.Parse(head.Order+".profile.yaml", document); err != nil {
		return refused("%s: %v", a.Name, err)
	}
	if err := s.createBatch(ctx, run, &b, head); err != nil {
		return err
	}
	dk, err := s.token.OpenDataKey(ctx, b.KEK, b.Wrapped)
	if err != nil {
		return err
	}
	defer dk.Close()
	if err := datagen.Import(ctx, s.store, dk, b, r); err != nil {
		if errors.Is(err, datagen.ErrBlocks) {
			return refused("%s: %v", a.Name, err)
		}
		return err
	}
	e := audit.Entry{Kind: "batch.received", Actor: "partner/" + a.Partner, Subject: "order/" + b.Order,
		Data: map[string]any{"cards": b.Cards, "spares": b.Spares, "blocks": b.Blocks(), "profile": b.Profile.Name, "os": head.OS}}
	return s.store.Change(ctx, e, func(tx *store.Tx) error {
		if err := a.taken(tx); err != nil {
			return err
		}
		if err := perso.SetOS(tx, b.Order, head.OS); err != nil {
			return err
		}
		return perso.MoveRun(tx, b.Order, "offered", "received")
	})
}

// readBatchHead reads a batch file up to its blocks.
func readBatchHead(name string, r *bufio.Reader) (batchHead, error) {
	var head batchHead
	line, err := r.ReadSlice('\n')
	if err != nil {
		return head, refused("%s: its first line: %v", name, err)
	}
	if err := readJSON(bytes.NewReader(line), &head); err != nil {
		return head, refused("%s: its first line: %v", name, err)
	}
	if head.Format != batchFormat {
		return head, refused("%s: format is %q, want %q", name, head.Format, batchFormat)
	}
	if head.Cards < 1 || head.Cards > order.MaxQuantity || head.Spares < 0 || head.Spares > order.MaxQuantity || head.BlockSize < 1 {
		return head, refused("%s: %d cards and %d spares in blocks of %d", name, head.Cards, head.Spares, head.BlockSize)
	}
	return head, nil
}

// createBatch takes the data key into the module and records the batch, unless
// a try before this one did.
func (s *Site) createBatch(ctx context.Context, run perso.Run, b *datagen.Batch, head batchHead) error {
	had, err := datagen.Load(ctx, s.store, b.Order)
	if err == nil {
		b.Wrapped = had.Wrapped
		return nil
	}
	if !errors.Is(err, datagen.ErrNoBatch) {
		return err
	}
	if b.Wrapped, err = s.token.TakeDataKey(ctx, run.Agree, head.Given, batchLabel(b.Order), b.KEK); err != nil {
		return refused("order %s: its data key: %v", b.Order, err)
	}
	e := audit.Entry{Kind: "batch.created", Actor: "system:site", Subject: "order/" + b.Order, Data: map[string]any{"cards": b.Cards, "spares": b.Spares}}
	return s.store.Change(ctx, e, func(tx *store.Tx) error { return datagen.Create(tx, *b) })
}

// run lets the line make the batch's cards.
func (s *Site) run(ctx context.Context, r perso.Run) error {
	p, err := s.product(ctx, r.OS)
	if err != nil {
		return err
	}
	line, err := perso.New(s.store, s.token, p)
	if err != nil {
		return err
	}
	return line.Run(ctx, r.Order, s.stations())
}

// stations is the readers of the configuration. The line connects to them.
func (s *Site) stations() []perso.Station {
	all := make([]perso.Station, len(s.config.Stations))
	for i, c := range s.config.Stations {
		all[i] = perso.Station{Name: c.Name, Open: func(ctx context.Context) (perso.Reader, error) {
			slot, err := simos.Dial(ctx, c.Network, c.Address)
			if err != nil {
				return nil, err
			}
			return drawer{slot}, nil
		}}
	}
	return all
}

func (s *Site) report(ctx context.Context, r perso.Run) error {
	b, err := datagen.Load(ctx, s.store, r.Order)
	if err != nil {
		return err
	}
	counts, err := perso.Count(ctx, s.store, r.Order, b.Cards)
	if err != nil {
		return err
	}
	p, err := s.product(ctx, r.OS)
	if err != nil {
		return err
	}
	rep := perso.Report{Format: perso.ReportFormat, Order: r.Order, Site: s.config.Site, Counts: counts, OS: fmt.Sprintf("%x", p.Digest), Rows: counts.Remade + counts.Retired}
	err = s.send(ctx, r.Bureau, r.Order+".report.pgp", func(w io.Writer) error { return perso.WriteReport(ctx, s.store, w, rep) })
	if err != nil {
		return err
	}
	return s.moveRun(ctx, r, "batch.reported", "finished", "reported", nil)
}

func (s *Site) moveRun(ctx context.Context, r perso.Run, kind, from, to string, also func(*store.Tx) error) error {
	e := audit.Entry{Kind: kind, Actor: "system:site", Subject: "order/" + r.Order}
	return s.store.Change(ctx, e, func(tx *store.Tx) error {
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		return perso.MoveRun(tx, r.Order, from, to)
	})
}

// ---- rejects

func (s *Site) proposeChips(ctx context.Context, subject string) (map[string]string, error) {
	ord, err := subjectOf(subject, "order")
	if err != nil {
		return nil, err
	}
	rejects, err := perso.Rejects(ctx, s.store, ord)
	if err != nil {
		return nil, err
	}
	if len(rejects) == 0 {
		return nil, fmt.Errorf("order %s has no rejected chip that waits for destruction", ord)
	}
	var chips []string
	for _, r := range rejects {
		chips = append(chips, r.Chip)
	}
	// The list is shown as far as an act can; the digest binds all of it.
	return map[string]string{"count": strconv.Itoa(len(chips)), "chips": strings.Join(first(chips, 200), " "), "chips_sha256": perso.ChipsDigest(chips)}, nil
}

func (s *Site) doChips(ctx context.Context, w custody.Warrant) error {
	ord, err := subjectOf(w.Act().Subject, "order")
	if err != nil {
		return err
	}
	rejects, err := perso.Rejects(ctx, s.store, ord)
	if err != nil {
		return err
	}
	var chips []string
	for _, r := range rejects {
		chips = append(chips, r.Chip)
	}
	return perso.DestroyChips(ctx, s.store, w, ord, chips)
}

// ---- destruction

func (s *Site) takeDestroy(ctx context.Context, a *arrival) error {
	var m destroyOrder
	if err := a.json(&m); err != nil {
		return err
	}
	run, err := perso.GetRun(ctx, s.store, m.Order)
	if errors.Is(err, perso.ErrNoRun) || err == nil && (run.Bureau != a.Partner || run.State != "reported") {
		return refused("%s: order %s is not one that %s may have destroyed now", a.Name, m.Order, a.Partner)
	}
	if err != nil {
		return err
	}
	e := audit.Entry{Kind: "batch.condemned", Actor: "partner/" + a.Partner, Subject: "order/" + m.Order, Data: map[string]any{"act": m.Act}}
	return s.store.Change(ctx, e, func(tx *store.Tx) error {
		if err := a.taken(tx); err != nil {
			return err
		}
		return perso.MoveRun(tx, m.Order, "reported", "condemned")
	})
}

func (s *Site) proposeEmpty(ctx context.Context, subject string) (map[string]string, error) {
	ord, err := subjectOf(subject, "order")
	if err != nil {
		return nil, err
	}
	run, err := perso.GetRun(ctx, s.store, ord)
	if err != nil {
		return nil, err
	}
	if run.State != "condemned" {
		return nil, fmt.Errorf("batch %s is %s; its bureau has not asked for its destruction", ord, run.State)
	}
	b, err := datagen.Load(ctx, s.store, ord)
	if err != nil {
		return nil, err
	}
	return map[string]string{"bureau": run.Bureau, "keys": run.KEK + " " + run.Agree, "blocks": strconv.Itoa(b.Blocks()), "cards": strconv.Itoa(b.Cards)}, nil
}

func (s *Site) doEmpty(ctx context.Context, w custody.Warrant) error {
	ord, err := subjectOf(w.Act().Subject, "order")
	if err != nil {
		return err
	}
	run, err := perso.GetRun(ctx, s.store, ord)
	if err != nil {
		return err
	}
	st, err := s.desk.Get(ctx, w.Act().ID)
	if err != nil {
		return err
	}
	proof := destroyProof{Order: ord, Site: s.config.Site, Act: st.Digest}
	for _, id := range []string{run.KEK, run.Agree} {
		k, err := s.describeKey(ctx, id)
		if err != nil {
			return err
		}
		proof.Keys = append(proof.Keys, k)
	}
	for _, sig := range st.Signatures {
		if sig.Verb == act.Approve {
			who, err := s.people.Person(ctx, sig.Person)
			if err != nil {
				return err
			}
			proof.Approvers = append(proof.Approvers, who.ID+" "+who.Roles[0])
		}
	}
	return w.Use(ctx, "batch.destroy", w.Act().Subject, nil, func(tx *store.Tx) error {
		if err := setProof(tx, ord, proof); err != nil {
			return err
		}
		return perso.MoveRun(tx, ord, "condemned", "destroying")
	})
}

func setProof(tx *store.Tx, ord string, p destroyProof) error {
	doc, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return perso.SetProof(tx, ord, doc)
}

// empty erases the batch's keys in the module and its blocks in the database.
func (s *Site) empty(ctx context.Context, r perso.Run) error {
	var proof destroyProof
	if err := json.Unmarshal(r.Proof, &proof); err != nil {
		return err
	}
	if err := s.forget(ctx, proof.Keys); err != nil {
		return err
	}
	b, err := datagen.Load(ctx, s.store, r.Order)
	if err != nil {
		return err
	}
	proof.Blocks = b.Blocks()
	return s.moveRun(ctx, r, "batch.emptied", "destroying", "emptied", func(tx *store.Tx) error {
		tx.Note("keys", len(proof.Keys))
		tx.Note("blocks", proof.Blocks)
		proof.LogIndex, proof.At = tx.Index(), tx.Time()
		for i := range proof.Keys {
			proof.Keys[i].At = proof.At
		}
		if err := datagen.Delete(tx, r.Order); err != nil {
			return err
		}
		return setProof(tx, r.Order, proof)
	})
}

// prove clears what deletion leaves behind and sends the proof.
func (s *Site) prove(ctx context.Context, r perso.Run) error {
	if err := s.store.Scrub(ctx); err != nil {
		return err
	}
	err := s.send(ctx, r.Bureau, r.Order+".destroyed.pgp", func(w io.Writer) error {
		_, err := w.Write(r.Proof)
		return err
	})
	if err != nil {
		return err
	}
	return s.moveRun(ctx, r, "batch.closed", "emptied", "closed", nil)
}
