package main

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"ankan/plant"
	"ankan/site"
	"ankan/stock"
)

type stockCmd struct {
	Accounts      stockAccountsCmd      `cmd:"" help:"Show what is in each account, and prove that nothing is counted twice or lost."`
	Postings      stockPostingsCmd      `cmd:"" help:"List movements, newest first."`
	Move          stockMoveCmd          `cmd:"" help:"Ask for a movement of chips. Another person approves it."`
	Count         stockCountCmd         `cmd:"" help:"Record what you counted. What the books say is not shown."`
	Discrepancies stockDiscrepanciesCmd `cmd:"" help:"List counts that are not what the books say."`
	Print         stockPrintCmd         `cmd:"" help:"Write what a printer puts on a batch's cards, as CSV."`
	Scan          stockScanCmd          `cmd:"" help:"Compare what was printed with what is in the cards."`
}

type stockAccountsCmd struct {
	siteFlag
	Lot   string `placeholder:"LOT" help:"Only this lot."`
	Order string `placeholder:"ORDER" help:"Only this order."`
}

func (s stockAccountsCmd) Run(a *app) error {
	c, err := s.client(a)
	if err != nil {
		return err
	}
	var v plant.StockView
	if err := c.Get(a.ctx, "/stock?"+url.Values{"lot": {s.Lot}, "order": {s.Order}}.Encode(), &v); err != nil {
		return err
	}
	return a.print(s.JSON, v, func() {
		if len(v.Balances) == 0 {
			a.printf("nothing is in the stock\n")
			return
		}
		var rows [][]string
		for _, b := range v.Balances {
			rows = append(rows, []string{b.Lot, b.Order, string(b.Account), strconv.Itoa(b.Count)})
		}
		a.table([]string{"LOT", "ORDER", "ACCOUNT", "COUNT"}, rows)
		for _, m := range v.Sums {
			what := "lot " + m.Lot
			if m.Lot == "" {
				what = "order " + m.Order
			}
			a.printf("%s: %d in = %d out + %d on hand\n", what, m.In, m.Out, m.OnHand)
		}
	})
}

type stockPostingsCmd struct {
	siteFlag
	Lot   string `placeholder:"LOT" help:"Only of this lot."`
	Order string `placeholder:"ORDER" help:"Only for this order."`
}

func (s stockPostingsCmd) Run(a *app) error {
	c, err := s.client(a)
	if err != nil {
		return err
	}
	var all []stock.Posting
	if err := c.Get(a.ctx, "/stock/postings?"+url.Values{"lot": {s.Lot}, "order": {s.Order}}.Encode(), &all); err != nil {
		return err
	}
	return a.print(s.JSON, all, func() {
		if len(all) == 0 {
			a.printf("no movements yet\n")
			return
		}
		var rows [][]string
		for _, p := range all {
			rows = append(rows, []string{when(p.At), strconv.FormatInt(p.Entry, 10), p.Lot, p.Order, string(p.From), string(p.To), strconv.Itoa(p.Count), p.Actor, p.Why})
		}
		a.table([]string{"TIME", "ENTRY", "LOT", "ORDER", "FROM", "TO", "COUNT", "BY", "WHY"}, rows)
	})
}

// forOrder is an order as subjects name it.
func forOrder(ord string) string {
	if ord == "" {
		return "-"
	}
	return ord
}

type stockMoveCmd struct {
	siteFlag
	signerFlag
	From  string `arg:"" help:"Account that the chips leave: store, finishing, finished, scrap, line, aside."`
	To    string `arg:"" help:"Account that they come into: line, finishing, finished, scrap, store, destroyed."`
	Lot   string `arg:"" help:"Lot of the chips."`
	Count int    `arg:"" help:"How many."`
	Order string `placeholder:"ORDER" help:"Order, to the line and from it."`
	Why   string `required:"" help:"Why they are moved."`
}

func (s stockMoveCmd) Run(a *app) error {
	subject := strings.Join([]string{"move", s.From, s.To, s.Lot, forOrder(s.Order), strconv.Itoa(s.Count), s.Why}, "/")
	return actRequestCmd{siteFlag: s.siteFlag, signerFlag: s.signerFlag, Kind: "stock.move", Subject: subject}.Run(a)
}

type stockCountCmd struct {
	siteFlag
	signerFlag
	Account string `arg:"" help:"Account that you counted: store, finishing, finished, scrap, line, good, reject, aside, boxed, vault."`
	Lot     string `arg:"" help:"Lot of the chips or cards."`
	Found   int    `arg:"" help:"How many you found."`
	Order   string `placeholder:"ORDER" help:"Order that they belong to; from the line on there is one."`
}

func (s stockCountCmd) Run(a *app) error {
	subject := strings.Join([]string{"count", s.Account, s.Lot, forOrder(s.Order), strconv.Itoa(s.Found)}, "/")
	return actRequestCmd{siteFlag: s.siteFlag, signerFlag: s.signerFlag, Kind: "stock.count", Subject: subject}.Run(a)
}

type stockDiscrepanciesCmd struct {
	siteFlag
	State string `enum:",open,explained,closed" default:"" placeholder:"STATE" help:"Only those in this state: open, explained, closed."`
}

func (s stockDiscrepanciesCmd) Run(a *app) error {
	c, err := s.client(a)
	if err != nil {
		return err
	}
	var all []stock.Discrepancy
	if err := c.Get(a.ctx, "/stock/discrepancies?state="+s.State, &all); err != nil {
		return err
	}
	return a.print(s.JSON, all, func() {
		if len(all) == 0 {
			a.printf("no discrepancies\n")
			return
		}
		var rows [][]string
		for _, d := range all {
			rows = append(rows, []string{strconv.FormatInt(d.ID, 10), d.Subject, strconv.Itoa(d.Book), strconv.Itoa(d.Found), d.State, d.Person, d.Why})
		}
		a.table([]string{"NUMBER", "COUNTED", "BOOK", "FOUND", "STATE", "BY", "WHY"}, rows)
		for _, d := range all {
			switch d.State {
			case stock.Open:
				a.next("ankan act request discrepancy.explain 'discrepancy/%d/WHY' -c %s --person N --passkey FILE", d.ID, short(s.Config))
				return
			case stock.Explained:
				a.next("ankan act request discrepancy.close discrepancy/%d -c %s --person N --passkey FILE", d.ID, short(s.Config))
				return
			}
		}
	})
}

// A fileFlag is where a document goes.
type fileFlag struct {
	Out string `short:"o" required:"" type:"path" placeholder:"FILE" help:"File to write."`
}

// write fetches a document from the site.
func (f fileFlag) write(a *app, s siteFlag, path string) error {
	c, err := s.client(a)
	if err != nil {
		return err
	}
	var d site.Document
	if err := c.Get(a.ctx, path, &d); err != nil {
		return err
	}
	if err := os.WriteFile(f.Out, d.Content, 0o600); err != nil {
		return err
	}
	return a.print(s.JSON, map[string]any{"file": f.Out, "bytes": len(d.Content)}, func() { a.printf("%s: %d bytes\n", short(f.Out), len(d.Content)) })
}

type stockPrintCmd struct {
	siteFlag
	fileFlag
	Order   string `arg:"" help:"Number of the order."`
	Artwork string `required:"" placeholder:"REF" help:"Reference of the artwork."`
	From    int    `placeholder:"N" help:"First card, counted from 0."`
	To      int    `placeholder:"N" help:"The card after the last; without it, all that follow. A file has 250,000 cards at most."`
}

func (s stockPrintCmd) Run(a *app) error {
	return s.write(a, s.siteFlag, "/runs/"+url.PathEscape(s.Order)+"/print?"+url.Values{"artwork": {s.Artwork}, "from": {strconv.Itoa(s.From)}, "to": {strconv.Itoa(s.To)}}.Encode())
}

type stockScanCmd struct {
	siteFlag
	Order string `arg:"" help:"Number of the order."`
	File  string `arg:"" type:"existingfile" help:"CSV with a first line iccid,printed: what is in the chip, what is on the card."`
}

func (s stockScanCmd) Run(a *app) error {
	c, err := s.client(a)
	if err != nil {
		return err
	}
	f, err := os.Open(s.File)
	if err != nil {
		return err
	}
	defer f.Close()
	var v plant.Scan
	if err := c.Send(a.ctx, "/runs/"+url.PathEscape(s.Order)+"/scan", f, &v); err != nil {
		return err
	}
	if err := a.print(s.JSON, v, func() {
		for _, m := range v.Mismatches {
			a.printf("line %d: card %d, box %q, ICCID %s, printed %s: %s\n", m.Line, m.Card, m.Box, m.ICCID, m.Printed, m.Why)
		}
		a.printf("%s compared\n", count(v.Cards, "card", "cards"))
	}); err != nil {
		return err
	}
	if n := len(v.Mismatches); n > 0 {
		return fmt.Errorf("order %s: %s; take them out and destroy them", s.Order, count(n, "print is not its card's", "prints are not their cards'"))
	}
	return nil
}

// ---- boxes

type boxCmd struct {
	List  boxListCmd  `cmd:"" help:"List boxes."`
	Show  boxShowCmd  `cmd:"" help:"Show a box and what is in it."`
	Fill  boxFillCmd  `cmd:"" help:"Put good cards of an order into a new box."`
	Empty boxEmptyCmd `cmd:"" help:"Take the cards out of a box that is not closed."`
	Close boxCloseCmd `cmd:"" help:"Ask for the closing of a box, with what you counted. Another person approves it."`
	Label boxLabelCmd `cmd:"" help:"Write a box's label, as PDF or ZPL."`
}

type boxListCmd struct {
	siteFlag
	Order string `placeholder:"ORDER" help:"Only of this order."`
}

func (b boxListCmd) Run(a *app) error {
	c, err := b.client(a)
	if err != nil {
		return err
	}
	var all []stock.Box
	if err := c.Get(a.ctx, "/boxes?"+url.Values{"order": {b.Order}}.Encode(), &all); err != nil {
		return err
	}
	return a.print(b.JSON, all, func() {
		if len(all) == 0 {
			a.printf("no boxes yet\n")
			return
		}
		a.table(boxHead(), boxRows(all))
	})
}

func boxHead() []string {
	return []string{"BOX", "ORDER", "CARDS", "FROM", "TO", "STATE", "SEAL", "VAULT", "SHIPMENT"}
}

func boxRows(all []stock.Box) (rows [][]string) {
	for _, v := range all {
		rows = append(rows, []string{v.ID, v.Order, strconv.Itoa(v.Cards), v.First, v.Last, v.State, v.Seal, v.Vault, v.Shipment})
	}
	return rows
}

type boxShowCmd struct {
	siteFlag
	Box string `arg:"" help:"Number of the box."`
}

func (b boxShowCmd) Run(a *app) error {
	c, err := b.client(a)
	if err != nil {
		return err
	}
	var v plant.BoxView
	if err := c.Get(a.ctx, "/boxes/"+url.PathEscape(b.Box), &v); err != nil {
		return err
	}
	return a.print(b.JSON, v, func() {
		a.table(boxHead(), boxRows([]stock.Box{v.Box}))
		for _, card := range v.Contents {
			a.printf("  card %d  %s\n", card.Card, card.ICCID)
		}
		if v.State == stock.BoxOpen {
			a.next("ankan box close %s COUNT SEAL -c %s --person N --passkey FILE", v.ID, short(b.Config))
		}
	})
}

type boxFillCmd struct {
	siteFlag
	Box    string `arg:"" help:"Number of the box, as on its label."`
	Order  string `arg:"" help:"Number of the order."`
	Scan   string `type:"existingfile" xor:"what" placeholder:"FILE" help:"ICCIDs of the cards, a line each, as a scanner reads them."`
	From   int    `help:"First card of the order, counted from 0; with --to."`
	To     int    `xor:"what" placeholder:"N" help:"The card after the last."`
	Pallet string `placeholder:"PALLET" help:"Pallet that the box stands on."`
}

func (b boxFillCmd) Run(a *app) error {
	c, err := b.client(a)
	if err != nil {
		return err
	}
	n := plant.NewBox{Box: b.Box, Order: b.Order, Pallet: b.Pallet, From: b.From, To: b.To}
	if b.Scan != "" {
		doc, err := os.ReadFile(b.Scan)
		if err != nil {
			return err
		}
		n.ICCIDs = strings.Fields(string(doc))
	}
	var v stock.Box
	if err := c.Post(a.ctx, "/boxes", n, &v); err != nil {
		return err
	}
	return a.print(b.JSON, v, func() {
		a.printf("box %s: cards of order %s from %s to %s\n", v.ID, v.Order, v.First, v.Last)
		a.next("ankan box close %s COUNT SEAL -c %s --person N --passkey FILE", v.ID, short(b.Config))
	})
}

type boxEmptyCmd struct {
	siteFlag
	Box string `arg:"" help:"Number of the box."`
}

func (b boxEmptyCmd) Run(a *app) error {
	c, err := b.client(a)
	if err != nil {
		return err
	}
	if err := c.Post(a.ctx, "/boxes/"+url.PathEscape(b.Box)+"/empty", struct{}{}, nil); err != nil {
		return err
	}
	return a.print(b.JSON, map[string]string{"box": b.Box}, func() { a.printf("box %s is empty, and its number free\n", b.Box) })
}

type boxCloseCmd struct {
	siteFlag
	signerFlag
	Box   string `arg:"" help:"Number of the box."`
	Count int    `arg:"" help:"Cards that you counted in it."`
	Seal  string `arg:"" help:"Number of the seal that you put on it."`
}

func (b boxCloseCmd) Run(a *app) error {
	return actRequestCmd{siteFlag: b.siteFlag, signerFlag: b.signerFlag, Kind: "box.close", Subject: fmt.Sprintf("box/%s/%d/%s", b.Box, b.Count, b.Seal)}.Run(a)
}

type boxLabelCmd struct {
	siteFlag
	fileFlag
	Box string `arg:"" help:"Number of the box."`
	ZPL bool   `name:"zpl" help:"In the language of label printers."`
}

func (b boxLabelCmd) Run(a *app) error {
	path := "/boxes/" + url.PathEscape(b.Box) + "/label"
	if b.ZPL {
		path += "?form=zpl"
	}
	return b.write(a, b.siteFlag, path)
}

// ---- the vault

type vaultCmd struct {
	List  vaultListCmd  `cmd:"" help:"List the openings of vaults."`
	Open  vaultOpenCmd  `cmd:"" help:"Ask for the opening of a vault. The holder of its other key approves it."`
	Close vaultCloseCmd `cmd:"" help:"Close a vault, with the number of boxes that you counted in it."`
	Store vaultStoreCmd `cmd:"" help:"Put a closed box into an open vault."`
	Take  vaultTakeCmd  `cmd:"" help:"Take a box out of an open vault."`
}

type vaultListCmd struct{ siteFlag }

func (v vaultListCmd) Run(a *app) error {
	c, err := v.client(a)
	if err != nil {
		return err
	}
	var all []stock.Opening
	if err := c.Get(a.ctx, "/vault", &all); err != nil {
		return err
	}
	return a.print(v.JSON, all, func() {
		if len(all) == 0 {
			a.printf("no vault was opened yet\n")
			return
		}
		var rows [][]string
		for _, o := range all {
			closed := "open"
			if !o.Closed.IsZero() {
				closed = when(o.Closed)
			}
			rows = append(rows, []string{o.Vault, when(o.Opened), strings.Join(o.By, ", "), o.Why, closed, o.Closer})
		}
		a.table([]string{"VAULT", "OPENED", "BY", "WHY", "CLOSED", "BY"}, rows)
	})
}

type vaultOpenCmd struct {
	siteFlag
	signerFlag
	Vault string `arg:"" help:"Name of the vault."`
	Why   string `required:"" help:"Why it is opened."`
}

func (v vaultOpenCmd) Run(a *app) error {
	return actRequestCmd{siteFlag: v.siteFlag, signerFlag: v.signerFlag, Kind: "vault.open", Subject: "vault/" + v.Vault + "/" + v.Why}.Run(a)
}

type vaultCloseCmd struct {
	siteFlag
	signerFlag
	Vault string `arg:"" help:"Name of the vault."`
	Boxes int    `arg:"" help:"Boxes that you counted in it."`
}

func (v vaultCloseCmd) Run(a *app) error {
	return actRequestCmd{siteFlag: v.siteFlag, signerFlag: v.signerFlag, Kind: "vault.close", Subject: fmt.Sprintf("vault/%s/%d", v.Vault, v.Boxes)}.Run(a)
}

type vaultStoreCmd struct {
	siteFlag
	signerFlag
	Box   string `arg:"" help:"Number of the box."`
	Vault string `arg:"" help:"Name of the vault."`
}

func (v vaultStoreCmd) Run(a *app) error {
	return actRequestCmd{siteFlag: v.siteFlag, signerFlag: v.signerFlag, Kind: "box.store", Subject: "box/" + v.Box + "/" + v.Vault}.Run(a)
}

type vaultTakeCmd struct{ vaultStoreCmd }

func (v vaultTakeCmd) Run(a *app) error {
	return actRequestCmd{siteFlag: v.siteFlag, signerFlag: v.signerFlag, Kind: "box.take", Subject: "box/" + v.Box + "/" + v.Vault}.Run(a)
}
