package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ankan/act"
	"ankan/client"
	"ankan/custody"
	"ankan/demo"
	"ankan/order"
	"ankan/passkey"
	"ankan/perso"
	"ankan/profile"
	"ankan/sim"
	"ankan/simos"
	"ankan/site"
	"ankan/uicc"
)

// ---- site

type siteCmd struct {
	Init   siteInitCmd   `cmd:"" help:"Set a site up: module, keys, database, first people. At least two people."`
	Status siteStatusCmd `cmd:"" help:"Show how a running site is."`
}

type siteInitCmd struct {
	Config string `short:"c" required:"" placeholder:"site.yaml" type:"path" help:"Configuration of the site."`
	People string `required:"" placeholder:"people.json" type:"existingfile" help:"The first people, made with: ankan person new."`
}

func (s siteInitCmd) Run(a *app) error {
	c, err := site.LoadConfig(s.Config)
	if err != nil {
		return err
	}
	people, err := site.LoadPeople(s.People)
	if err != nil {
		return err
	}
	token, err := site.OpenToken(c, true)
	if err != nil {
		return err
	}
	defer token.Close()
	if err := site.Init(a.ctx, c, token, people, func(line string) { a.printf("%s\n", line) }); err != nil {
		return err
	}
	a.printf("site %s is set up; give %s to your partners, then run: ankan serve -c %s\n", c.Site, c.CardFile(), s.Config)
	return nil
}

type siteStatusCmd struct{ siteFlag }

func (s siteStatusCmd) Run(a *app) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	var st site.Status
	if err := c.Get(a.ctx, "/status", &st); err != nil {
		return err
	}
	return a.print(s.JSON, st, func() {
		a.printf("%s (%s), roles %s, process %d\n", st.Site, st.Display, strings.Join(st.Roles, ", "), st.PID)
		a.printf("security module   %s, %s\n", st.Token.Model, st.Token.Certificate)
		a.printf("listens on        %s\npartners          %s\n", orNone(st.Listen), orNone(strings.Join(st.Partners, ", ")))
		a.printf("audit log         %d entries\nfiles waiting     %d\n", st.LogSize, st.SpoolWait)
	})
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// ---- order

type orderCmd struct {
	Draft orderDraftCmd `cmd:"" help:"Check an order file and keep it until it is signed (operator)."`
	List  orderListCmd  `cmd:"" help:"List orders."`
	Show  orderShowCmd  `cmd:"" help:"Show where an order stands."`
	Check orderCheckCmd `cmd:"" help:"Check an order file without a site."`
}

type orderDraftCmd struct {
	siteFlag
	File string `arg:"" type:"existingfile" help:"Order file, dialect 1 or 2."`
}

func (o orderDraftCmd) Run(a *app) error {
	c, err := o.client()
	if err != nil {
		return err
	}
	f, err := os.Open(o.File)
	if err != nil {
		return err
	}
	defer f.Close()
	var v order.Order
	if err := c.Send(a.ctx, "/orders?name="+url.QueryEscape(filepath.Base(o.File)), f, &v); err != nil {
		return err
	}
	return a.print(o.JSON, v, func() {
		a.printf("order %s: %d cards of %s, batch %s\nnext: ankan act request order.submit order/%s -c %s --person N --passkey FILE\n", v.ID, v.Quantity, v.Profile, v.Batch, v.ID, o.Config)
	})
}

type orderListCmd struct{ siteFlag }

func (o orderListCmd) Run(a *app) error {
	c, err := o.client()
	if err != nil {
		return err
	}
	var all []order.Order
	if err := c.Get(a.ctx, "/orders", &all); err != nil {
		return err
	}
	return a.print(o.JSON, all, func() {
		if len(all) == 0 {
			a.printf("no orders yet\n")
		}
		for _, v := range all {
			a.printf("%-28s %-12s %9d cards  batch %-14s %s %s\n", v.ID, v.State, v.Quantity, v.Batch, v.Partner, v.Reason)
		}
	})
}

type orderShowCmd struct {
	siteFlag
	ID string `arg:"" help:"Number of the order."`
}

func (o orderShowCmd) Run(a *app) error {
	c, err := o.client()
	if err != nil {
		return err
	}
	var v site.OrderView
	if err := c.Get(a.ctx, "/orders/"+url.PathEscape(o.ID), &v); err != nil {
		return err
	}
	return a.print(o.JSON, v, func() {
		a.printf("order %s with %s: %s\n", v.ID, v.Partner, v.State)
		a.printf("  %d cards of %s, batch %s, transport key %d\n  digest %s\n", v.Quantity, v.Profile, v.Batch, v.Transport, v.Digest)
		if v.Reason != "" {
			a.printf("  refused: %s\n", v.Reason)
		}
		if v.Waiting != "" {
			a.printf("  waits: %s\n", v.Waiting)
		}
		for _, s := range v.Steps {
			a.printf("  %s  %s\n", when(s.At), s.State)
		}
		if !v.Due.IsZero() {
			a.printf("  to be destroyed by %s\n", when(v.Due))
		}
	})
}

// when shows a time in IST and UTC.
func when(t time.Time) string {
	ist := time.FixedZone("IST", 5*3600+1800)
	return t.In(ist).Format("2006-01-02 15:04:05 IST") + " · " + t.UTC().Format("15:04:05 UTC")
}

type orderCheckCmd struct {
	File string `arg:"" type:"existingfile" help:"Order file, dialect 1 or 2."`
	JSON bool   `help:"Print JSON."`
}

func (o orderCheckCmd) Run(a *app) error {
	f, err := os.Open(o.File)
	if err != nil {
		return err
	}
	defer f.Close()
	in, err := order.ParseInput(o.File, f)
	if err != nil {
		return err
	}
	v := map[string]any{"dialect": in.Dialect().Name(), "quantity": in.Quantity(), "profile": in.Value(order.ProfileName),
		"batch": in.Value(order.Batch), "transport_key": in.TransportKey(), "first_iccid": in.First().ICCID.Masked(), "first_imsi": in.First().IMSI.Masked(),
		"digest": fmt.Sprintf("%x", in.Digest())}
	return a.print(o.JSON, v, func() {
		a.printf("%s: %s, %d cards of %s, batch %s, transport key %d\nfirst ICCID %s, IMSI %s\ndigest %x\n", o.File, in.Dialect().Name(), in.Quantity(),
			in.Value(order.ProfileName), in.Value(order.Batch), in.TransportKey(), in.First().ICCID.Masked(), in.First().IMSI.Masked(), in.Digest())
	})
}

// ---- acts

type actCmd struct {
	Request actRequestCmd `cmd:"" help:"Ask for an act and sign it."`
	List    actListCmd    `cmd:"" help:"List acts."`
	Show    actShowCmd    `cmd:"" help:"Show an act: the bytes, the words, who signed."`
	Approve actApproveCmd `cmd:"" help:"Sign an act."`
	Reject  actRejectCmd  `cmd:"" help:"Reject an act. One rejection ends it."`
	Do      actDoCmd      `cmd:"" help:"Do an act that has all its signatures."`
}

// signerFlag is a person with a passkey.
type signerFlag struct {
	Person  string `required:"" placeholder:"N" help:"Your person number."`
	Passkey string `required:"" placeholder:"FILE" type:"existingfile" help:"Your software passkey."`
}

func (s signerFlag) signer() (client.Signer, error) {
	k, err := passkey.LoadSoft(s.Passkey)
	return client.Signer{Person: s.Person, Key: k}, err
}

type actRequestCmd struct {
	siteFlag
	signerFlag
	Kind    string `arg:"" help:"Kind of act, such as order.release."`
	Subject string `arg:"" help:"What it is about, such as order/ID."`
}

func (r actRequestCmd) Run(a *app) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	p, err := r.signer()
	if err != nil {
		return err
	}
	st, err := c.Request(a.ctx, p, r.Kind, r.Subject)
	if err != nil {
		return err
	}
	return a.print(r.JSON, st, func() { printAct(a, st) })
}

func printAct(a *app, st custody.Status) {
	a.printf("act %s: %s of %s, %s\n", st.Act.ID, st.Act.Kind, st.Act.Subject, st.State)
	a.printf("words    %s\n", strings.Join(st.Words, " "))
	a.printf("bytes    %s\n", st.Act.Canonical())
	a.printf("SHA-256  %s\n", st.Digest)
	for _, s := range st.Signatures {
		a.printf("  %s  person %s: %s %s\n", when(s.At), s.Person, s.Verb, s.Reason)
	}
	a.printf("to approve until %s, then to use within %d s\n", when(st.Act.ApproveBy), st.Act.UseWithin)
}

type actListCmd struct {
	siteFlag
	State string `enum:",open,approved,rejected,used" default:"" help:"Only acts in this state: open, approved, rejected, used."`
}

func (l actListCmd) Run(a *app) error {
	c, err := l.client()
	if err != nil {
		return err
	}
	var all []custody.Status
	if err := c.Get(a.ctx, "/acts?state="+l.State, &all); err != nil {
		return err
	}
	return a.print(l.JSON, all, func() {
		if len(all) == 0 {
			a.printf("no acts\n")
		}
		for _, st := range all {
			a.printf("%s  %-9s %-18s %-34s %d signatures  %s\n", st.Act.ID, st.State, st.Act.Kind, st.Act.Subject, len(st.Signatures), strings.Join(st.Words, " "))
		}
	})
}

type actShowCmd struct {
	siteFlag
	ID string `arg:"" help:"Number of the act."`
}

func (s actShowCmd) Run(a *app) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	var st custody.Status
	if err := c.Get(a.ctx, "/acts/"+url.PathEscape(s.ID), &st); err != nil {
		return err
	}
	return a.print(s.JSON, st, func() { printAct(a, st) })
}

type actApproveCmd struct {
	siteFlag
	signerFlag
	ID     string `arg:"" help:"Number of the act."`
	Words  string `required:"" help:"The six words, as you compared them." placeholder:"\"w1 w2 w3 w4 w5 w6\""`
	Reason string `help:"Why."`
}

func (s actApproveCmd) Run(a *app) error {
	return signAct(a, s.siteFlag, s.signerFlag, s.ID, act.Approve, s.Words, s.Reason)
}

type actRejectCmd struct {
	siteFlag
	signerFlag
	ID     string `arg:"" help:"Number of the act."`
	Reason string `required:"" help:"Why."`
}

func (s actRejectCmd) Run(a *app) error {
	return signAct(a, s.siteFlag, s.signerFlag, s.ID, act.Reject, "", s.Reason)
}

func signAct(a *app, f siteFlag, who signerFlag, id string, v act.Verb, words, reason string) error {
	c, err := f.client()
	if err != nil {
		return err
	}
	p, err := who.signer()
	if err != nil {
		return err
	}
	var st custody.Status
	if err := c.Get(a.ctx, "/acts/"+url.PathEscape(id), &st); err != nil {
		return err
	}
	if v == act.Approve && strings.Join(strings.Fields(words), " ") != strings.Join(st.Words, " ") {
		return fmt.Errorf("act %s: the words are %q, you compared %q; do not sign", id, strings.Join(st.Words, " "), words)
	}
	if st, err = c.Sign(a.ctx, p, id, v, reason); err != nil {
		return err
	}
	return a.print(f.JSON, st, func() { printAct(a, st) })
}

type actDoCmd struct {
	siteFlag
	ID string `arg:"" help:"Number of the act."`
}

func (d actDoCmd) Run(a *app) error {
	c, err := d.client()
	if err != nil {
		return err
	}
	if err := c.Do(a.ctx, d.ID); err != nil {
		return err
	}
	return a.print(d.JSON, map[string]string{"done": d.ID}, func() { a.printf("done\n") })
}

// ---- keys

type keyCmd struct {
	List keyListCmd `cmd:"" help:"List the keys of the site's security module. No key is shown, only check values."`
	New  keyNewCmd  `cmd:"" help:"Make a transport key and an OP for a manufacturer (operator)."`
}

type keyListCmd struct{ siteFlag }

func (k keyListCmd) Run(a *app) error {
	c, err := k.client()
	if err != nil {
		return err
	}
	var all []site.KeyView
	if err := c.Get(a.ctx, "/keys", &all); err != nil {
		return err
	}
	return a.print(k.JSON, all, func() {
		for _, v := range all {
			a.printf("%-44s %-10s %-13s %-14s %s\n", v.ID, v.Purpose, v.Algorithm, v.KCV, when(v.Created))
		}
	})
}

type keyNewCmd struct {
	siteFlag
	Partner   string `required:"" help:"Manufacturer that will share the keys."`
	Index     int    `required:"" help:"Number by which order files name them, 1 to 99."`
	Algorithm string `default:"AES-256" enum:"AES-128,AES-256" help:"Of the transport key: what your AuC takes."`
}

func (k keyNewCmd) Run(a *app) error {
	c, err := k.client()
	if err != nil {
		return err
	}
	var all []site.KeyView
	if err := c.Post(a.ctx, "/keys", map[string]any{"partner": k.Partner, "index": k.Index, "algorithm": k.Algorithm}, &all); err != nil {
		return err
	}
	return a.print(k.JSON, all, func() {
		for _, v := range all {
			a.printf("%-44s %-13s %s\n", v.ID, v.Algorithm, v.KCV)
		}
		a.printf("next: ankan act request key.share key/%s/%d -c %s --person N --passkey FILE\n", k.Partner, k.Index, k.Config)
	})
}

// ---- lots and the line

type lotCmd struct {
	Receive lotReceiveCmd `cmd:"" help:"Record a chip maker's delivery note."`
	List    lotListCmd    `cmd:"" help:"List accepted lots."`
}

type lotReceiveCmd struct {
	siteFlag
	File string `arg:"" type:"existingfile" help:"Delivery note (JSON)."`
}

func (l lotReceiveCmd) Run(a *app) error {
	c, err := l.client()
	if err != nil {
		return err
	}
	f, err := os.Open(l.File)
	if err != nil {
		return err
	}
	defer f.Close()
	var v site.Lot
	if err := c.Send(a.ctx, "/lots", f, &v); err != nil {
		return err
	}
	return a.print(l.JSON, v, func() {
		a.printf("lot %s: %d chips of %s for %s, transport key %s\nnext: ankan act request lot.accept lot/%s -c %s --person N --passkey FILE\n", v.Lot, v.Quantity, v.Vendor, v.OS, v.KCV, v.Lot, l.Config)
	})
}

type lotListCmd struct{ siteFlag }

func (l lotListCmd) Run(a *app) error {
	c, err := l.client()
	if err != nil {
		return err
	}
	var all []site.Lot
	if err := c.Get(a.ctx, "/lots", &all); err != nil {
		return err
	}
	return a.print(l.JSON, all, func() {
		for _, v := range all {
			a.printf("%-20s %9d chips  %-20s %-22s %s\n", v.Lot, v.Quantity, v.Vendor, v.OS, v.KCV)
		}
	})
}

type lineCmd struct {
	List lineListCmd `cmd:"" help:"List batches."`
	Show lineShowCmd `cmd:"" help:"Show a batch: counts, rejects, what it waits for."`
}

type lineListCmd struct{ siteFlag }

func (l lineListCmd) Run(a *app) error {
	c, err := l.client()
	if err != nil {
		return err
	}
	var all []perso.Run
	if err := c.Get(a.ctx, "/runs", &all); err != nil {
		return err
	}
	return a.print(l.JSON, all, func() {
		for _, v := range all {
			a.printf("%-28s %-12s from %s\n", v.Order, v.State, v.Bureau)
		}
	})
}

type lineShowCmd struct {
	siteFlag
	Order string `arg:"" help:"Number of the order."`
}

func (l lineShowCmd) Run(a *app) error {
	c, err := l.client()
	if err != nil {
		return err
	}
	var v site.RunView
	if err := c.Get(a.ctx, "/runs/"+url.PathEscape(l.Order), &v); err != nil {
		return err
	}
	return a.print(l.JSON, v, func() {
		n := v.Counts
		a.printf("order %s: %s\n", v.Order, v.State)
		a.printf("  %d identities = %d good + %d in doubt + %d rejected + %d waiting + %d retired\n", n.Cards, n.Good, n.Doubt, n.Reject, n.Waiting, n.Retired)
		a.printf("  %d chips destroyed, %d set aside, %d cards remade with fresh keys\n", n.Destroyed, n.Aside, n.Remade)
		for _, r := range v.Rejects {
			a.printf("  card %d: chip %s: %s\n", r.Card, r.Chip, r.Reason)
		}
		if len(v.Rejects) > 0 {
			a.printf("next: ankan act request chip.destroy order/%s -c %s --person N --passkey FILE\n", v.Order, l.Config)
		}
		if v.Waiting != "" {
			a.printf("  waits: %s\n", v.Waiting)
		}
	})
}

// ---- cards

type cardCmd struct {
	Read cardReadCmd `cmd:"" help:"Read a card in a drawer of software chips."`
}

type cardReadCmd struct {
	Drawer string `required:"" placeholder:"HOST:PORT" help:"Where the drawer is served."`
	Chip   string `help:"Serial number, 16 hexadecimal digits; without it the next fresh chip is taken."`
	PIN    string `name:"pin" help:"PIN1, if the card asks for one."`
	JSON   bool   `help:"Print JSON."`
}

func (c cardReadCmd) Run(a *app) error {
	slot, err := simos.Dial(a.ctx, "tcp", c.Drawer)
	if err != nil {
		return err
	}
	defer slot.Close()
	if c.Chip == "" {
		if _, err := slot.Take(a.ctx); err != nil {
			return err
		}
	} else {
		serial, err := simos.ParseSerial(c.Chip)
		if err != nil {
			return err
		}
		if err := slot.Insert(a.ctx, serial); err != nil {
			return err
		}
	}
	atr, err := slot.Reset(a.ctx)
	if err != nil {
		return err
	}
	v := map[string]any{"atr": fmt.Sprintf("%X", []byte(atr))}
	s := uicc.NewSession(slot)
	for name, tag := range map[string]uicc.Tag{"cplc": 0x9F7F, "life_cycle": 0xDF20, "os_sha256": 0xDF21, "lot": 0xDF22} {
		if b, err := s.GetData(a.ctx, tag); err == nil {
			value, _ := uicc.FindTLV(b, tag)
			v[name] = fmt.Sprintf("%X", value)
			if name == "lot" {
				v[name] = string(value)
			}
		}
	}
	if id, err := s.ReadFile(a.ctx, 0x3F00, 0x2FE2); err == nil && len(id) == 10 {
		if iccid, err := sim.ICCIDFromEF([10]byte(id)); err == nil {
			v["iccid"] = iccid.String()
		}
	}
	return a.print(c.JSON, v, func() {
		for _, k := range []string{"atr", "cplc", "lot", "life_cycle", "os_sha256", "iccid"} {
			if x, ok := v[k]; ok {
				a.printf("%-11s %v\n", k, x)
			}
		}
	})
}

// ---- profiles

type profileCmd struct {
	Check profileCheckCmd `cmd:"" help:"Check a profile by every rule."`
	Show  profileShowCmd  `cmd:"" help:"Show a profile."`
}

type profileFlag struct {
	Profile string `arg:"" help:"File, or builtin:NAME."`
}

func (p profileFlag) load() (*profile.Profile, error) {
	if name, ok := strings.CutPrefix(p.Profile, "builtin:"); ok {
		return profile.Builtin(name)
	}
	doc, err := os.ReadFile(p.Profile)
	if err != nil {
		return nil, err
	}
	return profile.Parse(p.Profile, doc)
}

type profileCheckCmd struct {
	profileFlag
	JSON bool `help:"Print JSON."`
}

func (c profileCheckCmd) Run(a *app) error {
	p, err := c.load()
	if err != nil {
		return err
	}
	findings := p.Check()
	if err := a.print(c.JSON, findings, func() {
		for _, f := range findings {
			a.printf("%s\n", f)
		}
		a.printf("%s %s: %d findings, digest %x\n", p.Name, p.Version, len(findings), p.Digest())
	}); err != nil {
		return err
	}
	if len(findings) > 0 {
		return fmt.Errorf("%s has %d findings", c.Profile, len(findings))
	}
	return nil
}

type profileShowCmd struct{ profileFlag }

func (c profileShowCmd) Run(a *app) error {
	p, err := c.load()
	if err != nil {
		return err
	}
	return p.Describe(a.out)
}

// ---- audit

type auditCmd struct {
	Export auditExportCmd `cmd:"" help:"Write the audit log as C2SP tlog-tiles to a new folder."`
	Verify auditVerifyCmd `cmd:"" help:"Verify an exported log and every signature in it; ankan-verify does the same without the rest of this program."`
}

type auditExportCmd struct {
	siteFlag
	Dir string `arg:"" type:"path" help:"New folder."`
}

func (e auditExportCmd) Run(a *app) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	if err := c.ExportLog(a.ctx, e.Dir); err != nil {
		return err
	}
	return a.print(e.JSON, map[string]string{"exported": e.Dir}, func() { a.printf("exported to %s\n", e.Dir) })
}

type auditVerifyCmd struct {
	Dir  string `arg:"" type:"existingdir" help:"Exported log."`
	Key  string `required:"" help:"The site's verifier key, or a file with it."`
	JSON bool   `help:"Print JSON."`
}

func (v auditVerifyCmd) Run(a *app) error {
	key := v.Key
	if doc, err := os.ReadFile(v.Key); err == nil {
		key = strings.TrimSpace(string(doc))
	}
	size, signatures, err := demo.VerifyLog(os.DirFS(v.Dir), key)
	if err != nil {
		return err
	}
	return a.print(v.JSON, map[string]int64{"entries": size, "signatures": int64(signatures)}, func() {
		a.printf("%d entries and %d signatures verified\n", size, signatures)
	})
}

// ---- people

type personCmd struct {
	New  personNewCmd  `cmd:"" help:"Make a software passkey and the person's record."`
	List personListCmd `cmd:"" help:"List a site's people."`
}

type personNewCmd struct {
	ID        string   `arg:"" help:"Person number."`
	Name      string   `required:"" help:"Name."`
	Role      []string `required:"" help:"Roles, as the policy names them."`
	ReportsTo string   `help:"Number of the direct superior."`
	Site      string   `required:"" help:"Host name of the site that the passkey is for."`
	Dir       string   `default:"." type:"existingdir" help:"Folder for N.passkey."`
	People    string   `default:"people.json" type:"path" help:"People file to add the record to."`
}

func (n personNewCmd) Run(a *app) error {
	var file site.People
	if doc, err := os.ReadFile(n.People); err == nil {
		if err := json.Unmarshal(doc, &file); err != nil {
			return fmt.Errorf("%s: %w", n.People, err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, p := range file.People {
		if p.ID == n.ID {
			return fmt.Errorf("%s: person %s is there already", n.People, n.ID)
		}
	}
	key, err := passkey.NewSoft(n.Site, "https://"+n.Site)
	if err != nil {
		return err
	}
	path := filepath.Join(n.Dir, n.ID+".passkey")
	if err := key.Save(path); err != nil {
		return err
	}
	file.People = append(file.People, act.Person{ID: n.ID, Name: n.Name, Roles: n.Role, ReportsTo: n.ReportsTo, Credential: key.Credential})
	doc, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(n.People, append(doc, '\n'), 0o600); err != nil {
		return err
	}
	a.printf("%s holds the passkey; %s has the public record of %d people\n", path, n.People, len(file.People))
	return nil
}

type personListCmd struct{ siteFlag }

func (l personListCmd) Run(a *app) error {
	c, err := l.client()
	if err != nil {
		return err
	}
	var all []act.Person
	if err := c.Get(a.ctx, "/people", &all); err != nil {
		return err
	}
	return a.print(l.JSON, all, func() {
		for _, p := range all {
			a.printf("%-6s %-26s %-30s %s\n", p.ID, p.Name, strings.Join(p.Roles, ", "), p.Credential.Model)
		}
	})
}

// ---- completion

type completionCmd struct {
	Shell string `arg:"" enum:"bash" help:"bash"`
}

func (completionCmd) Run(a *app) error {
	words := map[string][]string{
		"site": {"init", "status"}, "order": {"draft", "list", "show", "check"}, "act": {"request", "list", "show", "approve", "reject", "do"},
		"key": {"list", "new"}, "lot": {"receive", "list"}, "line": {"list", "show"}, "card": {"read"}, "profile": {"check", "show"},
		"audit": {"export", "verify"}, "person": {"new", "list"}, "bench": {"order", "line", "vectors", "audit"},
	}
	var cases strings.Builder
	for _, noun := range []string{"site", "order", "act", "key", "lot", "line", "card", "profile", "audit", "person", "bench"} {
		fmt.Fprintf(&cases, "    %s) words=%s ;;\n", noun, strconv.Quote(strings.Join(words[noun], " ")))
	}
	a.printf(`# bash completion of ankan; load it with: source <(ankan completion bash)
_ankan() {
  local words cur=${COMP_WORDS[COMP_CWORD]}
  case $COMP_CWORD in
  1) words="serve edge demo site order act key lot line card profile audit person chips bench completion" ;;
  2) case ${COMP_WORDS[1]} in
%s    *) words= ;;
    esac ;;
  *) words= ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$cur"))
}
complete -o filenames -F _ankan ankan
`, cases.String())
	return nil
}
