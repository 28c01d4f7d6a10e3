package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/client"
	"ankan/custody"
	"ankan/exchange"
	"ankan/keys"
	"ankan/message"
	"ankan/operator"
	"ankan/order"
	"ankan/perso"
	"ankan/plant"
	"ankan/site"
	"ankan/station"
	"ankan/stock"
)

// A Reporter is told what happens.
type Reporter interface {
	// Stage begins a stage of total steps; 0 if they are not counted.
	Stage(name string, total int)
	// Progress says how many steps of the stage are done.
	Progress(done int)
	// Note says something that happened in the stage.
	Note(format string, args ...any)
}

// A Summary is what came of the journey.
type Summary struct {
	Order         string            `json:"order"`
	Ordered       int               `json:"ordered"`
	Accepted      int               `json:"accepted"`
	Generated     int               `json:"generated"`
	Personalised  int               `json:"personalised"` // chips that were written to
	ReadBack      int               `json:"read_back"`
	Authenticated int               `json:"authenticated"`
	Rejected      int               `json:"rejected"`
	Aside         int               `json:"set_aside"` // chips that were not of the lot, or somebody's
	Remade        int               `json:"remade"`
	Retired       int               `json:"retired"`
	Responded     int               `json:"in_the_response"`
	Loaded        int               `json:"loaded"`
	Proved        int               `json:"proved"` // cards that answered the subscriber store
	Destroyed     bool              `json:"destroyed"`
	Signatures    int               `json:"signatures_verified"`
	Entries       map[string]int64  `json:"log_entries"` // by site
	Stages        []StageTime       `json:"stages"`
	Artefacts     map[string]string `json:"artefacts"`
}

// A StageTime is how long a stage took.
type StageTime struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// patience is how long a site may be away during the journey before it fails.
const patience = 60 * time.Second

// journey is one run through the stages.
type journey struct {
	*Factory
	ctx    context.Context
	report Reporter
	sum    Summary
	id     string // of the order
}

// Run drives the order through the sites, which must be running.
func (f *Factory) Run(ctx context.Context, r Reporter) (Summary, error) {
	for _, c := range f.Clients {
		c.Patience = patience
	}
	j := &journey{Factory: f, ctx: ctx, report: r, sum: Summary{Entries: map[string]int64{}, Artefacts: map[string]string{}}}
	for _, s := range []struct {
		name string
		do   func() error
	}{
		{"keys", j.keys}, {"chips", j.chips}, {"operating system", j.operatingSystem}, {"order", j.order}, {"release and generation", j.release}, {"line", j.line},
		{"response", j.response}, {"subscriber store", j.load}, {"proof", j.prove}, {"destruction", j.destroy}, {"audit", j.audit},
	} {
		start := time.Now()
		if err := s.do(); err != nil {
			return j.sum, fmt.Errorf("%s: %w", s.name, err)
		}
		j.sum.Stages = append(j.sum.Stages, StageTime{s.name, time.Since(start).Seconds()})
	}
	return j.sum, nil
}

func (j *journey) as(site, role string) client.Signer { return j.people[site][role] }

// crew is the people of a site.
func (j *journey) crew(where string) Crew {
	return Crew{Client: j.Clients[where], As: func(role string) client.Signer { return j.as(where, role) },
		Note: func(format string, args ...any) { j.report.Note(where+" "+format, args...) }}
}

// approved has an act asked for, signed by its approvers and done. An act that
// is done already, because the answer was lost, is fine.
func (j *journey) approved(where, kind, subject, requester string, approvers ...string) (custody.Status, error) {
	return j.crew(where).Approved(j.ctx, kind, subject, requester, approvers...)
}

// wait looks until done says so.
func (j *journey) wait(what string, done func() (bool, error)) error {
	end := time.Now().Add(j.waitFor())
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s did not happen in %s; look at the sites' logs in %s", what, j.waitFor(), j.Dir)
		}
		select {
		case <-j.ctx.Done():
			return j.ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// waitFor grows with the order.
func (j *journey) waitFor() time.Duration {
	return 2*time.Minute + time.Duration(j.Cards)*20*time.Millisecond
}

func (j *journey) view(where string) (site.OrderView, error) {
	var v site.OrderView
	return v, j.Clients[where].Get(j.ctx, "/orders/"+url.PathEscape(j.id), &v)
}

// reach waits until a site's order is in a state.
func (j *journey) reach(where string, want order.State, look func(site.OrderView)) error {
	var waiting string
	err := j.wait(fmt.Sprintf("order %s %s at %s", j.id, want, where), func() (bool, error) {
		v, err := j.view(where)
		var r *client.Refusal
		if errors.As(err, &r) && r.Status == 404 {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if look != nil {
			look(v)
		}
		if v.State == order.Refused {
			return false, fmt.Errorf("order %s was refused: %s", j.id, v.Reason)
		}
		waiting = v.Waiting
		for _, s := range v.Steps {
			if s.State == want {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil && waiting != "" {
		return fmt.Errorf("%w (%s)", err, waiting)
	}
	return err
}

func (j *journey) index() (int, error) {
	doc, err := os.ReadFile(j.OrderFile)
	if err != nil {
		return 0, err
	}
	in, err := order.ParseInput(filepath.Base(j.OrderFile), strings.NewReader(string(doc)))
	if err != nil {
		return 0, err
	}
	return in.TransportKey(), nil
}

func (j *journey) keys() error {
	j.report.Stage("transport key and OP, from operator to bureau", 0)
	index, err := j.index()
	if err != nil {
		return err
	}
	subject := "key/" + Bureau + "/" + strconv.Itoa(index)
	kind := ""
	for _, at := range [][2]string{{Operator, "nodal-officer"}, {Bureau, "key-manager"}} {
		if kind, err = j.waive(at[0], message.TransportKey(Operator, index), at[1]); err != nil {
			return err
		}
	}
	if _, err := j.approved(Operator, "key.make", subject+kind, "nodal-officer", "security-officer"); err != nil {
		return err
	}
	// A site that stopped after the act makes the keys when it is back.
	if err := j.offered("the keys' making", Operator, "key.share", subject); err != nil {
		return err
	}
	var made []keys.Key
	if err := j.Clients[Operator].Get(j.ctx, "/keys?"+url.Values{"partner": {Bureau}}.Encode(), &made); err != nil {
		return err
	}
	for _, k := range made {
		j.report.Note("operator %s: %s, check value %s", k.ID, k.Algorithm, k.KCV)
	}
	if _, err := j.approved(Operator, "key.share", subject, "nodal-officer", "security-officer"); err != nil {
		return err
	}
	subject = "key/" + Operator + "/" + strconv.Itoa(index)
	if err := j.offered("the keys' arrival at the bureau", Bureau, "key.accept", subject); err != nil {
		return err
	}
	_, err = j.approved(Bureau, "key.accept", subject, "key-manager", "hsm-administrator", "security-officer")
	return err
}

// waive has a site's people sign the waiver that the contract has for a transport
// key, and returns the end of the subject under which such a key is made. For a key
// without one it does nothing.
func (j *journey) waive(where, id, requester string) (string, error) {
	var p site.Proposal
	err := j.Clients[where].Get(j.ctx, "/proposal?"+url.Values{"kind": {"key.waive"}, "subject": {"key/" + id}}.Encode(), &p)
	var r *client.Refusal
	if errors.As(err, &r) {
		return "", nil
	}
	if err == nil {
		j.report.Note("%s %s: %s until %s, for the contract says: %s", where, id, p.Params["algorithm"], p.Params["until"], p.Params["reason"])
		_, err = j.approved(where, "key.waive", "key/"+id, requester, "security-officer")
	}
	return "/" + p.Params["algorithm"], err
}

// offered waits until a site would do an act.
func (j *journey) offered(what, where, kind, subject string) error {
	return j.wait(what, func() (bool, error) {
		var p site.Proposal
		err := j.Clients[where].Get(j.ctx, "/proposal?"+url.Values{"kind": {kind}, "subject": {subject}}.Encode(), &p)
		var r *client.Refusal
		if errors.As(err, &r) {
			return false, nil
		}
		return err == nil, err
	})
}

func (j *journey) chips() error {
	j.report.Stage("chips, from their maker to the plant", 0)
	doc, err := os.ReadFile(filepath.Join(j.Dir, "lot.json"))
	if err != nil {
		return err
	}
	l, err := stock.ReadLot(doc)
	if err != nil {
		return err
	}
	if err := j.Clients[Plant].Send(j.ctx, "/lots", bytes.NewReader(doc), nil); err != nil && !hereAlready(err) {
		return err
	}
	j.report.Note("plant lot %s: %d chips, transport key with check value %s", l.Lot, l.Quantity, l.KCV)
	_, err = j.approved(Plant, "lot.accept", "lot/"+l.Lot, "warehouse", "security-officer")
	return err
}

// hereAlready says that a site has what it was sent: the answer to a first try was
// lost with the site.
func hereAlready(err error) bool {
	var no *client.Refusal
	return errors.As(err, &no) && strings.Contains(no.Text, "is here already")
}

func (j *journey) order() error {
	j.report.Stage("order, from operator to bureau", 0)
	doc, err := os.Open(j.OrderFile)
	if err != nil {
		return err
	}
	defer doc.Close()
	var o order.Order
	if err := j.Clients[Operator].Send(j.ctx, "/orders?name="+url.QueryEscape(filepath.Base(j.OrderFile)), doc, &o); err != nil {
		var all []site.OrderView
		if !hereAlready(err) || j.Clients[Operator].Get(j.ctx, "/orders", &all) != nil || len(all) != 1 {
			return err
		}
		o = all[0].Order
	}
	j.id, j.sum.Order, j.sum.Ordered = o.ID, o.ID, o.Quantity
	if _, err := j.approved(Operator, "order.submit", "order/"+o.ID, "sourcing", "nodal-officer"); err != nil {
		return err
	}
	if err := j.reach(Operator, order.Accepted, nil); err != nil {
		return err
	}
	v, err := j.view(Bureau)
	if err != nil {
		return err
	}
	j.sum.Accepted = v.Quantity
	j.report.Note("bureau took order %s: every one of its %d identities is reserved", o.ID, o.Quantity)
	return nil
}

func (j *journey) release() error {
	j.report.Stage("key sets", j.Cards)
	if _, err := j.approved(Bureau, "order.release", "order/"+j.id, "data-preparation", "key-manager", "security-officer"); err != nil {
		return err
	}
	err := j.reach(Bureau, order.Generated, func(v site.OrderView) {
		j.sum.Generated = v.Generated
		j.report.Progress(v.Generated)
	})
	if err != nil {
		return err
	}
	return j.reach(Bureau, order.Sent, nil)
}

func (j *journey) line() error {
	j.report.Stage("cards", j.Cards)
	return j.wait("the end of the line", func() (bool, error) {
		var v plant.RunView
		err := j.Clients[Plant].Get(j.ctx, "/runs/"+url.PathEscape(j.id), &v)
		var r *client.Refusal
		if errors.As(err, &r) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		c := v.Counts
		j.report.Progress(c.Good)
		if len(v.Rejects) > 0 && c.Waiting == 0 && c.Doubt == 0 && v.State == "received" {
			if err := j.destroyRejects(v.Rejects); err != nil {
				return false, err
			}
			return false, nil
		}
		if v.State == "offered" || v.State == "received" {
			if strings.Contains(v.Waiting, station.ErrNoChips.Error()) {
				return false, errors.New(v.Waiting)
			}
			return false, nil
		}
		j.sum.Personalised, j.sum.ReadBack, j.sum.Authenticated = c.Good+c.Destroyed, c.Good, c.Good
		j.sum.Rejected, j.sum.Remade, j.sum.Retired, j.sum.Aside = c.Destroyed, c.Remade, c.Retired, c.Aside
		return true, nil
	})
}

func (j *journey) destroyRejects(rejects []perso.Rejected) error {
	for _, r := range rejects {
		j.report.Note("plant card %d: chip %s rejected: %s", r.Card, r.Chip, r.Reason)
	}
	_, err := j.approved(Plant, "chip.destroy", "order/"+j.id, "shift-lead", "warehouse", "security-officer")
	return err
}

func (j *journey) response() error {
	j.report.Stage("response, from bureau to operator", 0)
	if err := j.reach(Operator, order.Answered, nil); err != nil {
		return err
	}
	v, err := j.view(Operator)
	if err != nil {
		return err
	}
	j.sum.Responded = v.Good
	j.sum.Artefacts["response"] = filepath.Join(j.Configs[Operator].Data, "held", j.id+".out.pgp")
	return nil
}

func (j *journey) load() error {
	j.report.Stage("subscribers", 0)
	if _, err := j.approved(Operator, "hlr.load", "order/"+j.id, "nodal-officer"); err != nil {
		return err
	}
	if err := j.reach(Operator, order.Loaded, nil); err != nil {
		return err
	}
	v, err := j.view(Operator)
	if err != nil {
		return err
	}
	j.sum.Loaded = v.Good
	return nil
}

// prove has a few cards answer challenges of the operator's subscriber store,
// remade ones among them.
func (j *journey) prove() error {
	j.report.Stage("cards that answer the subscriber store", 0)
	var cards []perso.Card
	if err := j.Clients[Plant].Get(j.ctx, "/runs/"+url.PathEscape(j.id)+"/cards?samples=5", &cards); err != nil {
		return err
	}
	for _, c := range cards {
		var p operator.Proof
		err := j.Clients[Operator].Post(j.ctx, "/prove", map[string]string{"network": "tcp", "address": j.ChipsAddr, "chip": c.Chip}, &p)
		if err != nil {
			return fmt.Errorf("chip %s: %w", c.Chip, err)
		}
		j.sum.Proved++
		j.report.Note("card %s with IMSI %s answered", p.ICCID, p.IMSI)
	}
	if j.sum.Proved == 0 {
		return errors.New("no card was there to answer")
	}
	return nil
}

func (j *journey) destroy() error {
	j.report.Stage("destruction of the manufacturer's copy", 0)
	subject := "order/" + j.id
	if _, err := j.approved(Operator, "order.acknowledge", subject, "nodal-officer"); err != nil {
		return err
	}
	if err := j.reach(Bureau, order.Received, nil); err != nil {
		return err
	}
	if _, err := j.approved(Bureau, "order.destroy", subject, "key-manager", "hsm-administrator", "security-officer", "witness"); err != nil {
		return err
	}
	err := j.wait("the plant's order to destroy", func() (bool, error) {
		var v plant.RunView
		err := j.Clients[Plant].Get(j.ctx, "/runs/"+url.PathEscape(j.id), &v)
		return v.State == "condemned", err
	})
	if err != nil {
		return err
	}
	if _, err := j.approved(Plant, "batch.destroy", subject, "system-administrator", "security-officer", "witness"); err != nil {
		return err
	}
	if err := j.reach(Operator, order.Closed, nil); err != nil {
		return err
	}
	j.sum.Destroyed = true
	base := filepath.Join(j.Configs[Operator].Data, "certificates", "CoD-"+j.id)
	j.sum.Artefacts["certificate"], j.sum.Artefacts["certificate-pdf"] = base+".json", base+".pdf"
	return nil
}

// audit exports the three logs and verifies each with nothing but its site's
// public key: every entry, and every signature of every act.
func (j *journey) audit() error {
	j.report.Stage("audit logs, verified with public keys only", len(Sites()))
	for i, name := range Sites() {
		dir := filepath.Join(j.Dir, "logs", name)
		if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
			return err
		}
		if err := j.Clients[name].ExportLog(j.ctx, dir); err != nil {
			return err
		}
		card, err := j.card(name)
		if err != nil {
			return err
		}
		vkey := card.Log
		for path, text := range map[string]string{dir + ".vkey": vkey + "\n", filepath.Join(j.Dir, name+".pub"): card.Site} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				return err
			}
		}
		size, signatures, err := VerifyLog(os.DirFS(dir), vkey)
		if err != nil {
			return fmt.Errorf("log of %s: %w", name, err)
		}
		j.sum.Entries[name] = size
		j.sum.Signatures += signatures
		j.sum.Artefacts["log-"+name] = dir
		j.report.Progress(i + 1)
	}
	return nil
}

func (j *journey) card(name string) (exchange.Card, error) {
	path := j.Configs[name].CardFile()
	doc, err := os.ReadFile(path)
	if err != nil {
		return exchange.Card{}, err
	}
	p, err := exchange.ParsePartner(path, doc)
	if err != nil {
		return exchange.Card{}, err
	}
	return p.Card(), nil
}

// VerifyLog verifies an exported log and replays its acts.
func VerifyLog(log fs.FS, vkey string) (size int64, signatures int, err error) {
	var book act.Book
	rep, err := audit.Verify(log, vkey, audit.Options{Visit: func(i int64, e audit.Entry) error {
		data, err := e.DataJSON()
		if err != nil {
			return err
		}
		if err := book.Apply(e.Kind, e.Subject, e.Time, data); err != nil {
			return fmt.Errorf("entry %d, %s: %w", i, e.Kind, err)
		}
		return nil
	}})
	if err == nil {
		err = book.End()
	}
	return rep.Size, book.Signatures, err
}
