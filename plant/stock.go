package plant

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"ankan/audit"
	"ankan/datagen"
	"ankan/paper"
	"ankan/perso"
	"ankan/release"
	"ankan/sim"
	"ankan/site"
	"ankan/stock"
	"ankan/store"
)

// counts says whether the site counts chips by itself.
func (s *plant) counts() bool { return s.Config().Counting == site.CountSite }

// catch posts what the line did since it was last looked at. Chips that it took
// and was not issued open a discrepancy.
func (s *plant) catch(ctx context.Context, ord string) error {
	err := s.stock.Catch(ctx, ord, s.counts())
	if !errors.Is(err, stock.ErrBalance) {
		return err
	}
	e := audit.Entry{Kind: "stock.differs", Actor: "system:line", Subject: "order/" + ord}
	return errors.Join(err, s.Store().Change(ctx, e, func(tx *store.Tx) error { return s.stock.Differ(ctx, tx, ord) }))
}

// feed says which chips the line works on for an order: those that it was
// issued. Where the site counts by itself, it issues as many as cards wait.
func (s *plant) feed(ctx context.Context, r perso.Run) (perso.Product, error) {
	if err := s.catch(ctx, r.Order); err != nil {
		return perso.Product{}, err
	}
	at, err := s.stock.AtLine(ctx, r.Order)
	if err != nil || at.Lot != "" {
		return s.productOfLot(ctx, at.Lot, err)
	}
	b, err := datagen.Load(ctx, s.Store(), r.Order)
	if err != nil {
		return perso.Product{}, err
	}
	c, err := perso.Count(ctx, s.Store(), r.Order, b.Cards)
	if err != nil {
		return perso.Product{}, err
	}
	if c.Waiting == 0 {
		return s.productFor(ctx, r)
	}
	if !s.counts() {
		return perso.Product{}, fmt.Errorf("order %s: no chips of it are at the line; issue some: ankan stock move store line LOT COUNT --order %s", r.Order, r.Order)
	}
	p, err := s.product(ctx, r.OS)
	if err != nil {
		return p, err
	}
	ready, err := s.stock.Ready(ctx, p.Lot)
	if err == nil && ready == 0 {
		err = fmt.Errorf("lot %s has no chips left, and %d cards of order %s wait; receive another: ankan lot receive FILE", p.Lot, c.Waiting, r.Order)
	}
	if err != nil {
		return p, err
	}
	return p, s.stock.Issue(ctx, p.Lot, r.Order, min(c.Waiting, ready))
}

// productFor is the chips that an order was last issued, or could be.
func (s *plant) productFor(ctx context.Context, r perso.Run) (perso.Product, error) {
	lot, err := s.stock.LotOf(ctx, r.Order)
	if err != nil || lot != "" {
		return s.productOfLot(ctx, lot, err)
	}
	return s.product(ctx, r.OS)
}

func (s *plant) productOfLot(ctx context.Context, lot string, err error) (perso.Product, error) {
	if err != nil {
		return perso.Product{}, err
	}
	l, _, err := s.stock.Lot(ctx, lot)
	return productOf(l, err)
}

// A StockView is the stock as the site shows it to whoever may see its figures.
type StockView struct {
	Balances []stock.Balance `json:"balances"`
	Sums     []stock.Sum     `json:"sums"` // of all lots and orders, proved
}

// A BoxView is a box with what is in it.
type BoxView struct {
	stock.Box
	Contents []stock.BoxCard `json:"contents"`
}

// A NewBox asks for good cards of an order to be put into a box: those of a
// list, or from one number of the order to another.
type NewBox struct {
	Box    string   `json:"box"`
	Order  string   `json:"order"`
	Pallet string   `json:"pallet,omitempty"`
	ICCIDs []string `json:"iccids,omitempty"`
	From   int      `json:"from,omitempty"` // card, counted from 0
	To     int      `json:"to,omitempty"`   // the card after the last
}

// A NewShipment asks for closed boxes to go together.
type NewShipment struct {
	Number    string   `json:"number"`
	Consignee string   `json:"consignee"`
	Carrier   string   `json:"carrier"`
	Seal      string   `json:"seal"`
	Boxes     []string `json:"boxes"`
}

// stockRoutes is what the control socket answers of the stock.
func (s *plant) stockRoutes() map[string]site.Route {
	read := func(permission string, do site.Answer) site.Route {
		return site.Route{Permission: permission, Handler: do}
	}
	return map[string]site.Route{
		"GET /v1/stock": read("stock.read", s.getStock),
		"GET /v1/stock/postings": read("stock.read", func(r *http.Request) (any, error) {
			return s.stock.Postings(r.Context(), r.FormValue("lot"), r.FormValue("order"), 1000)
		}),
		"GET /v1/stock/counts":      read("stock.read", func(r *http.Request) (any, error) { return s.stock.Counts(r.Context(), 1000) }),
		"GET /v1/stock/lots/{name}": read("stock.read", func(r *http.Request) (any, error) { return s.stock.LotView(r.Context(), r.PathValue("name")) }),
		"GET /v1/vault":             read("stock.read", func(r *http.Request) (any, error) { return s.stock.Openings(r.Context(), r.FormValue("vault")) }),

		"GET /v1/boxes":      read("stock.read", func(r *http.Request) (any, error) { return s.stock.Boxes(r.Context(), r.FormValue("order")) }),
		"GET /v1/boxes/{id}": read("stock.read", s.getBox),
		"POST /v1/boxes":     read("stock.draft", s.postBox),
		"POST /v1/boxes/{id}/empty": read("stock.draft", func(r *http.Request) (any, error) {
			return struct{}{}, s.stock.Empty(r.Context(), "system:socket", r.PathValue("id"))
		}),
		"GET /v1/boxes/{id}/label": read("stock.read", func(r *http.Request) (any, error) {
			box, _, err := s.stock.Box(r.Context(), r.PathValue("id"))
			if err != nil {
				return nil, err
			}
			if r.FormValue("form") == "zpl" {
				return site.Document{Name: box.ID + ".zpl", Content: []byte(box.ZPL())}, nil
			}
			pdf, err := BoxLabel(s.Config().Display, box).PDF()
			return site.Document{Name: box.ID + ".pdf", Content: pdf}, err
		}),
		"GET /v1/shipments":          read("stock.read", func(r *http.Request) (any, error) { return s.stock.Shipments(r.Context()) }),
		"GET /v1/shipments/{number}": read("stock.read", func(r *http.Request) (any, error) { return s.stock.Shipment(r.Context(), r.PathValue("number")) }),
		"POST /v1/shipments":         read("stock.draft", s.postShipment),
		"GET /v1/shipments/{number}/form": read("stock.read", func(r *http.Request) (any, error) {
			sh, err := s.stock.Shipment(r.Context(), r.PathValue("number"))
			if err != nil {
				return nil, err
			}
			pdf, err := sh.Form(s.Config().Display, s.Store().Now()).PDF()
			return site.Document{Name: sh.Number + ".pdf", Content: pdf}, err
		}),
		"GET /v1/runs/{id}/print": read("stock.draft", s.getPrint),
		"POST /v1/runs/{id}/scan": read("stock.draft", s.postScan),
	}
}

// BoxLabel is a box's label as it is printed.
func BoxLabel(display string, b stock.Box) paper.Label {
	return paper.Label{Site: display, Box: b.ID, Order: b.Order, Pallet: b.Pallet, Cards: b.Cards, First: b.First, Last: b.Last, Seal: b.Seal, Symbol: b.Text(), At: b.Filled}
}

func (s *plant) getStock(r *http.Request) (any, error) {
	v := StockView{}
	var err error
	if v.Sums, err = s.stock.Check(r.Context()); err != nil {
		return nil, err
	}
	v.Balances, err = s.stock.Balances(r.Context(), r.FormValue("lot"), r.FormValue("order"))
	return v, err
}

func (s *plant) getBox(r *http.Request) (any, error) {
	var v BoxView
	var err error
	v.Box, v.Contents, err = s.stock.Box(r.Context(), r.PathValue("id"))
	return v, err
}

func (s *plant) postBox(r *http.Request) (any, error) {
	var n NewBox
	if err := site.ReadRequest(r, &n); err != nil {
		return nil, err
	}
	if err := s.goesOn(r.Context(), n.Order); err != nil {
		return nil, fmt.Errorf("box %s: %w", n.Box, err)
	}
	if (len(n.ICCIDs) > 0) == (n.To > 0) || n.From < 0 || n.From > n.To {
		return nil, fmt.Errorf("box %s: name its cards by iccids, or from and to", n.Box)
	}
	if cards := max(len(n.ICCIDs), n.To-n.From); cards > stock.MostInBox {
		return nil, fmt.Errorf("box %s: %d cards; want 1 to %d", n.Box, cards, stock.MostInBox)
	}
	wanted := map[string]bool{}
	for _, text := range n.ICCIDs {
		id, err := sim.ParseICCID(text)
		if err != nil {
			return nil, fmt.Errorf("box %s: %w", n.Box, err)
		}
		if wanted[id.String()] {
			return nil, fmt.Errorf("box %s: ICCID %s was scanned twice", n.Box, id)
		}
		wanted[id.String()] = true
	}
	var found map[string]int
	var err error
	if len(n.ICCIDs) == 0 {
		found, err = s.span(r.Context(), n.Order, n.From, n.To)
	} else {
		found, err = s.find(r.Context(), n.Order, wanted)
	}
	if err != nil {
		return nil, err
	}
	for iccid := range wanted {
		if _, ok := found[iccid]; !ok {
			return nil, fmt.Errorf("box %s: ICCID %s, and %d more, are not of order %s", n.Box, iccid, len(wanted)-len(found)-1, n.Order)
		}
	}
	var cards []stock.BoxCard
	for iccid, card := range found {
		cards = append(cards, stock.BoxCard{Card: card, ICCID: iccid})
	}
	if err := s.stock.Fill(r.Context(), "system:socket", stock.Box{ID: n.Box, Order: n.Order, Pallet: n.Pallet}, cards); err != nil {
		return nil, err
	}
	box, _, err := s.stock.Box(r.Context(), n.Box)
	return box, err
}

func (s *plant) postShipment(r *http.Request) (any, error) {
	var n NewShipment
	if err := site.ReadRequest(r, &n); err != nil {
		return nil, err
	}
	sh := stock.Shipment{Number: n.Number, Consignee: n.Consignee, Carrier: n.Carrier, Seal: n.Seal}
	var err error
	if sh.Operator, sh.Via, err = s.goesTo(r.Context(), n.Boxes); err != nil {
		return nil, fmt.Errorf("shipment %s: %w", n.Number, err)
	}
	if err := s.stock.Draft(r.Context(), "system:socket", sh, n.Boxes); err != nil {
		return nil, err
	}
	return s.stock.Shipment(r.Context(), n.Number)
}

// goesTo is the operator whose orders the boxes are of, and the partner to whom
// their form goes as a file: the operator, or the bureau that ordered the cards.
// Both are "" if that one is no partner of this site: then the form is paper.
func (s *plant) goesTo(ctx context.Context, boxes []string) (operator, via string, err error) {
	for _, id := range boxes {
		box, _, err := s.stock.Box(ctx, id)
		if err != nil {
			return "", "", err
		}
		run, err := perso.GetRun(ctx, s.Store(), box.Order)
		if err != nil {
			return "", "", err
		}
		whose, err := release.OperatorOf(ctx, s.Store(), box.Order)
		if err != nil {
			return "", "", err
		}
		by := run.Bureau
		if p := s.Partner(whose); p != nil && p.Has(site.Operator) {
			by = whose
		}
		if operator == "" {
			operator, via = whose, by
		}
		if operator != whose || via != by {
			return "", "", fmt.Errorf("box %s is of %s by %s, those before it of %s by %s; draft a shipment for each", id, whose, by, operator, via)
		}
	}
	if s.Partner(via) == nil {
		return "", "", nil
	}
	return operator, via, nil
}

// ---- what is printed on cards

// mostPrinted is how many cards one file for a printer has.
const mostPrinted = 250_000

// getPrint is what a printer puts on the cards of a batch, from one number of the
// order to another, as CSV: the number of the card, the printed ICCID, the content
// of its bar code, the artwork. There is no key in it and no IMSI.
func (s *plant) getPrint(r *http.Request) (any, error) {
	ord, artwork := r.PathValue("id"), r.FormValue("artwork")
	if artwork == "" || len(artwork) > 80 || strings.ContainsAny(artwork, "\r\n") {
		return nil, fmt.Errorf("order %s: artwork is %.80q, want the reference of what is printed", ord, artwork)
	}
	reader, err := s.cards(r.Context(), ord)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	from, one := strconv.Atoi(cmp.Or(r.FormValue("from"), "0"))
	to, two := strconv.Atoi(cmp.Or(r.FormValue("to"), "0"))
	if to == 0 {
		to = reader.Batch.Cards
	}
	if err := errors.Join(one, two); err != nil || from < 0 || from >= to || to > reader.Batch.Cards {
		return nil, errors.Join(err, fmt.Errorf("order %s: cards %d to %d; it has %d", ord, from, to, reader.Batch.Cards))
	}
	if to-from > mostPrinted {
		return nil, fmt.Errorf("order %s: %d cards in one file, want at most %d; name some: --from %d --to %d", ord, to-from, mostPrinted, from, from+mostPrinted)
	}
	var t strings.Builder
	w := csv.NewWriter(&t)
	w.Write([]string{"card", "iccid", "barcode", "artwork"})
	err = iccids(r.Context(), reader, from, to, func(card int, id sim.ICCID) error {
		return w.Write([]string{strconv.Itoa(card), grouped(id.String()), id.String(), artwork})
	})
	if err != nil {
		return nil, err
	}
	w.Flush()
	e := audit.Entry{Kind: "print.exported", Actor: "system:socket", Subject: "order/" + ord, Data: map[string]any{"from": from, "cards": to - from, "artwork": artwork}}
	if err := s.Store().Enter(r.Context(), e); err != nil {
		return nil, err
	}
	return site.Document{Name: ord + ".print.csv", Content: []byte(t.String())}, w.Error()
}

// grouped is an ICCID as it is printed: in groups of four or five digits.
func grouped(iccid string) string {
	var all []string
	for len(iccid) > 5 {
		all = append(all, iccid[:5])
		iccid = iccid[5:]
	}
	return strings.Join(append(all, iccid), " ")
}

// A Mismatch is a card whose print is not what is in it.
type Mismatch struct {
	Line    int    `json:"line"` // of the file
	ICCID   string `json:"iccid"`
	Printed string `json:"printed"`
	Card    int    `json:"card"` // of the order; -1 if it is none of it
	Box     string `json:"box,omitempty"`
	Why     string `json:"why"`
}

// A Scan is what came of comparing prints with cards.
type Scan struct {
	Cards      int        `json:"cards"`
	Mismatches []Mismatch `json:"mismatches"`
}

// postScan compares the prints of a batch's cards with what is in them. The
// file is CSV with a first line iccid,printed: what was read from the chip, and
// what a scanner or a person read from the plastic.
func (s *plant) postScan(r *http.Request) (any, error) {
	ord := r.PathValue("id")
	rows, err := readScan(r.Body, mostScanned*scanLine)
	if err != nil {
		return nil, fmt.Errorf("order %s: %w", ord, err)
	}
	wanted := map[string]bool{}
	for _, row := range rows {
		wanted[row[0]] = true
	}
	found, err := s.find(r.Context(), ord, wanted)
	if err != nil {
		return nil, err
	}
	scan := Scan{Cards: len(rows), Mismatches: []Mismatch{}}
	chips, prints := map[string]bool{}, map[string]bool{}
	for i, row := range rows {
		m := Mismatch{Line: i + 2, ICCID: row[0], Printed: row[1], Card: -1}
		if card, ok := found[row[0]]; ok {
			m.Card = card
		}
		switch {
		case m.Card < 0:
			m.Why = "no card of this order"
		case row[0] != row[1]:
			m.Why = "the print is another card's"
		case chips[row[0]]:
			m.Why = "scanned twice"
		case prints[row[1]]:
			m.Why = "the print is on two cards"
		}
		chips[row[0]], prints[row[1]] = true, true
		if m.Why == "" {
			continue
		}
		if m.Box, err = s.stock.BoxOf(r.Context(), m.ICCID); err != nil {
			return nil, err
		}
		scan.Mismatches = append(scan.Mismatches, m)
	}
	e := audit.Entry{Kind: "print.compared", Actor: "system:socket", Subject: "order/" + ord, Data: map[string]any{"cards": scan.Cards, "mismatches": len(scan.Mismatches)}}
	return scan, s.Store().Enter(r.Context(), e)
}

// mostScanned is the most lines of one scan, scanLine how long they are by and large.
const (
	mostScanned = 1_000_000
	scanLine    = 64
)

// readScan reads a file of scans of up to most bytes. Spaces between digits are how
// numbers are printed, and do not count.
func readScan(r io.Reader, most int64) ([][2]string, error) {
	c := csv.NewReader(http.MaxBytesReader(nil, io.NopCloser(r), most))
	c.FieldsPerRecord = 2
	head, err := c.Read()
	if err != nil || head[0] != "iccid" || head[1] != "printed" {
		return nil, errors.Join(fmt.Errorf("scan: its first line is %q, want iccid,printed", head), err)
	}
	var all [][2]string
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("scan: %w", err)
		}
		if len(all) == mostScanned {
			return nil, fmt.Errorf("scan: more than %d lines", mostScanned)
		}
		id, err := sim.ParseICCID(strings.ReplaceAll(row[0], " ", ""))
		if err != nil {
			return nil, fmt.Errorf("scan: line %d: %w", len(all)+2, err)
		}
		all = append(all, [2]string{id.String(), strings.ReplaceAll(row[1], " ", "")})
	}
}
