package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/client"
	"ankan/custody"
	"ankan/passkey"
)

type actCmd struct {
	Request actRequestCmd `cmd:"" help:"Ask for an act and sign it."`
	List    actListCmd    `cmd:"" help:"List acts."`
	Show    actShowCmd    `cmd:"" help:"Show an act: the bytes, the words, who signed, who must."`
	Approve actApproveCmd `cmd:"" help:"Sign an act."`
	Reject  actRejectCmd  `cmd:"" help:"Reject an act. One rejection ends it."`
	Do      actDoCmd      `cmd:"" help:"Do an act that has all its signatures."`
}

// actKinds names the kinds of acts that a new site's policy knows.
func actKinds() []string {
	return sorted(access.DefaultPolicy().Acts)
}

// signerFlag is a person with a passkey.
type signerFlag struct {
	Person  string `required:"" placeholder:"N" help:"Your person number." env:"ANKAN_PERSON"`
	Passkey string `required:"" placeholder:"FILE" type:"path" help:"Your software passkey." env:"ANKAN_PASSKEY"`
}

func (s signerFlag) signer() (client.Signer, error) {
	fi, err := os.Stat(s.Passkey)
	if errors.Is(err, os.ErrNotExist) {
		return client.Signer{}, fmt.Errorf("passkey %s: there is no such file", short(s.Passkey))
	}
	if err != nil {
		return client.Signer{}, err
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return client.Signer{}, fmt.Errorf("passkey %s can be read by others (mode %o); run: chmod 600 %s", short(s.Passkey), fi.Mode().Perm(), short(s.Passkey))
	}
	k, err := passkey.LoadSoft(s.Passkey)
	return client.Signer{Person: s.Person, Key: k}, err
}

// as is a client of the site, and the person who signs what it sends.
func (f siteFlag) as(a *app, who signerFlag) (*client.Client, client.Signer, error) {
	c, err := f.client(a)
	if err != nil {
		return nil, client.Signer{}, err
	}
	p, err := who.signer()
	return c, p, err
}

type actRequestCmd struct {
	siteFlag
	signerFlag
	Kind    string `arg:"" help:"Kind of act: ${kinds}." complete:"kinds"`
	Subject string `arg:"" help:"What it is about: order/ORDER, key/PARTNER/INDEX, key/KEY, ceremony/ID/STEP, person/N, lot/LOT and the like."`
}

func (r actRequestCmd) Run(a *app) error {
	c, p, err := r.as(a, r.signerFlag)
	if err != nil {
		return err
	}
	st, err := c.Request(a.ctx, p, r.Kind, r.Subject)
	if err != nil {
		return err
	}
	return showAct(a, r.siteFlag, c, st)
}

// showAct prints an act: what will be done, who has signed and who must.
func showAct(a *app, f siteFlag, c *client.Client, st custody.Status) error {
	if f.JSON {
		return a.print(true, st, nil)
	}
	var policy act.Policy
	var people []act.Person
	if err := errors.Join(c.Get(a.ctx, "/policy", &policy), c.Get(a.ctx, "/people", &people)); err != nil {
		return err
	}
	a.printf("act %s: %s of %s, %s\n", st.Act.ID, st.Act.Kind, st.Act.Subject, st.State)
	a.printf("words    %s\n", strings.Join(st.Words, " "))
	width := 0
	for k := range st.Act.Params {
		width = max(width, len(k))
	}
	for _, k := range sorted(st.Act.Params) {
		a.printf("  %-*s  %s\n", width, k, st.Act.Params[k])
	}
	a.printf("bytes    %s\n", st.Act.Canonical())
	a.printf("SHA-256  %s\n", st.Digest)
	for _, s := range st.Signatures {
		a.printf("  %s  person %s%s: %s%s\n", when(s.At), s.Person, roles(people, s.Person), s.Verb, colon(s.Reason))
	}
	if rule, err := policy.Rule(st.Act.Kind); err == nil && len(rule.Seats) > 0 {
		a.printf("needs    %s\n", seats(rule))
	}
	switch st.State {
	case "open":
		a.printf("to approve until %s, then to use within %s\n", when(st.Act.ApproveBy), minutes(st.Act.UseWithin))
		a.next("another person compares the words and signs: ankan act approve %s -c %s --person N --passkey FILE --words \"SIX WORDS\"", st.Act.ID, short(f.Config))
	case "approved":
		a.printf("to use until %s\n", when(st.Complete.Add(time.Duration(st.Act.UseWithin)*time.Second)))
		a.next("ankan act do %s -c %s", st.Act.ID, short(f.Config))
	}
	return nil
}

// roles is what a person is, for the list of signatures.
func roles(people []act.Person, id string) string {
	for _, p := range people {
		if p.ID == id {
			return fmt.Sprintf(", %s (%s)", p.Name, strings.Join(p.Roles, ", "))
		}
	}
	return ""
}

// seats says whose signatures a rule asks for, beside the requester's.
func seats(r act.Rule) string {
	var all []string
	for _, s := range r.Seats {
		all = append(all, orWords(s))
	}
	return count(len(all), "approval: ", "approvals: ") + strings.Join(all, "; ")
}

func colon(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// minutes shows seconds as people count them.
func minutes(seconds int) string {
	if seconds%60 == 0 {
		return count(seconds/60, "minute", "minutes")
	}
	return count(seconds, "second", "seconds")
}

type actListCmd struct {
	siteFlag
	State string `enum:",open,approved,rejected,used,late" default:"" placeholder:"STATE" help:"Only acts in this state: open, approved, rejected, used, late."`
}

func (l actListCmd) Run(a *app) error {
	c, err := l.client(a)
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
			return
		}
		var rows [][]string
		for _, st := range all {
			rows = append(rows, []string{st.Act.ID, st.State, st.Act.Kind, st.Act.Subject, strconv.Itoa(len(st.Signatures)), strings.Join(st.Words, " ")})
		}
		a.table([]string{"ACT", "STATE", "KIND", "SUBJECT", "SIGNED", "WORDS"}, rows)
	})
}

type actShowCmd struct {
	siteFlag
	ID string `arg:"" help:"Number of the act."`
}

func (s actShowCmd) Run(a *app) error {
	c, err := s.client(a)
	if err != nil {
		return err
	}
	var st custody.Status
	if err := c.Get(a.ctx, "/acts/"+url.PathEscape(s.ID), &st); err != nil {
		return err
	}
	return showAct(a, s.siteFlag, c, st)
}

type actApproveCmd struct {
	siteFlag
	signerFlag
	ID     string `arg:"" help:"Number of the act."`
	Words  string `required:"" help:"The six words, as you compared them with the requester." placeholder:"\"w1 w2 w3 w4 w5 w6\""`
	Reason string `help:"Why." placeholder:"TEXT"`
}

func (s actApproveCmd) Run(a *app) error {
	return signAct(a, s.siteFlag, s.signerFlag, s.ID, act.Approve, s.Words, s.Reason)
}

type actRejectCmd struct {
	siteFlag
	signerFlag
	ID     string `arg:"" help:"Number of the act."`
	Reason string `required:"" help:"Why." placeholder:"TEXT"`
}

func (s actRejectCmd) Run(a *app) error {
	return signAct(a, s.siteFlag, s.signerFlag, s.ID, act.Reject, "", s.Reason)
}

func signAct(a *app, f siteFlag, who signerFlag, id string, v act.Verb, words, reason string) error {
	a.act = id
	c, p, err := f.as(a, who)
	if err != nil {
		return err
	}
	var st custody.Status
	if err := c.Get(a.ctx, "/acts/"+url.PathEscape(id), &st); err != nil {
		return err
	}
	// The right words are not shown: they are there to be compared, not copied.
	if v == act.Approve && !slices.Equal(strings.Fields(words), st.Words) {
		return fmt.Errorf("act %s: the words %q are not this act's; do not sign: ask the requester to read out words and number again", id, words)
	}
	if st, err = c.Sign(a.ctx, p, id, v, reason); err != nil {
		return err
	}
	return showAct(a, f, c, st)
}

type actDoCmd struct {
	siteFlag
	ID string `arg:"" help:"Number of the act."`
}

func (d actDoCmd) Run(a *app) error {
	a.act = d.ID
	c, err := d.client(a)
	if err != nil {
		return err
	}
	if err := c.Do(a.ctx, d.ID); err != nil {
		return err
	}
	return a.print(d.JSON, map[string]string{"done": d.ID}, func() { a.printf("done\n") })
}
