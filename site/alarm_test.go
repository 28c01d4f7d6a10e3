package site_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/keys"
	"ankan/message"
	"ankan/parts"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/store"
)

// A keeper is a site with a person who can sign.
type keeper struct {
	*site.Site
	t    *testing.T
	crew sitetest.Crew
}

// keepers are an operator and a manufacturer that share the key shared.
func keepers(t *testing.T) (op, maker keeper) {
	t.Helper()
	a, b := sitetest.Config(t, "op", site.Operator), sitetest.Config(t, "maker", site.Bureau)
	var tokens [2]hsm.Module
	var crews [2]sitetest.Crew
	for i, c := range []*site.Config{a, b} {
		tokens[i], crews[i] = hsmtest.Soft(t, nil), sitetest.Founders(t)
		if err := site.Init(t.Context(), c, tokens[i], crews[i].Founding(t, c), func(string) {}, parts.All()...); err != nil {
			t.Fatal(err)
		}
	}
	a.Partners, b.Partners = []string{b.CardFile()}, []string{a.CardFile()}
	op = keeper{sitetest.Open(t, a, tokens[0], parts.All()...), t, crews[0]}
	maker = keeper{sitetest.Open(t, b, tokens[1], parts.All()...), t, crews[1]}
	for s, partner := range map[*site.Site]string{op.Site: "maker", maker.Site: "op"} {
		for _, id := range []string{"own", "shared"} {
			ctx := t.Context()
			if id == "shared" {
				ctx = keys.For(ctx, "partner/"+partner)
			}
			sitetest.Must[hsm.Key](t)(s.Guard().Generate(ctx, id, hsm.Transport, hsm.AES256))
		}
	}
	return op, maker
}

// do asks for an act of one signature and does it.
func (k keeper) do(kind, subject string) error {
	k.t.Helper()
	ctx := k.t.Context()
	p, err := k.Proposal(ctx, kind, subject)
	if err != nil {
		return err
	}
	now := k.Store().Now()
	a := act.New(k.Config().Site, p.Kind, p.Subject, "0001", p.Params, p.Rule, now)
	s := act.Signature{Person: "0001", Verb: act.Request, At: now.UTC().Truncate(time.Second)}
	if s.Assertion, err = k.crew.Keys["0001"].Sign(a.Challenge(act.Request)); err != nil {
		return err
	}
	if err := k.Desk().Request(ctx, a.Canonical(), s); err != nil {
		return err
	}
	return k.Do(ctx, a.ID)
}

func (k keeper) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

// tell sends what partners are to hear.
func (k keeper) tell() {
	k.t.Helper()
	if err := k.TellParties(k.t.Context()); !errors.Is(err, site.ErrIdle) {
		k.t.Fatal(err)
	}
}

// hand gives the other site what this one said of the key.
func (k keeper) hand(to keeper, what message.Kind) error {
	k.t.Helper()
	return sitetest.Hand(k.t, k.Site, to.Site, site.AlarmName(k.Config().Site, "shared", what))
}

func (k keeper) state(id string) keys.State {
	k.t.Helper()
	return sitetest.Must[keys.Key](k.t)(k.Register().Key(k.t.Context(), id)).State
}

func (k keeper) party() keys.Party {
	k.t.Helper()
	r := sitetest.Must[[]keys.Report](k.t)(k.Register().Reports(k.t.Context()))
	if len(r) != 1 || len(r[0].Parties) != 1 {
		k.t.Fatalf("%+v", r)
	}
	return r[0].Parties[0]
}

// Whoever finds a shared key compromised, the other stops using it at once, and
// each knows that the other's people know (SOP 6.4.e.vii).
func TestAlarm(t *testing.T) {
	for _, first := range []string{"op", "maker"} {
		t.Run(first, func(t *testing.T) {
			from, to := keepers(t)
			if first == "maker" {
				from, to = to, from
			}
			from.must(from.do("key.compromise", "key/shared"))
			if err := from.Guard().SealColumn(t.Context(), "shared", make([]byte, 16), make([]byte, 16)); !errors.Is(err, keys.ErrState) {
				t.Errorf("where it was found: %v", err)
			}
			from.tell()
			if p := from.party(); p.Sent.IsZero() || !p.Acknowledged.IsZero() {
				t.Errorf("%+v", p)
			}
			from.tell() // nobody is told twice: a second file of the name would be refused
			to.must(from.hand(to, message.KindAlarm))
			to.must(from.hand(to, message.KindAlarm)) // the delivery is repeated
			if to.state("shared") != keys.Compromised || to.state("own") != keys.Live {
				t.Errorf("the keys are %s and %s", to.state("shared"), to.state("own"))
			}
			if err := to.Guard().SealColumn(t.Context(), "shared", make([]byte, 16), make([]byte, 16)); !errors.Is(err, keys.ErrState) {
				t.Errorf("where it was heard: %v", err)
			}
			if p := to.party(); p.Acknowledged.IsZero() || p.Words != "told this site itself" {
				t.Errorf("%+v: who told need not be told", p)
			}
			to.must(to.do("compromise.acknowledge", "key/shared"))
			if err := to.do("compromise.acknowledge", "key/shared"); err == nil || !strings.Contains(err.Error(), "who is not answered yet") {
				t.Errorf("acknowledged twice: %v", err)
			}
			to.tell()
			from.must(to.hand(from, message.KindAlarmAck))
			if p := from.party(); p.Acknowledged.IsZero() || p.Words != "person 0001 of "+to.Config().Site {
				t.Errorf("%+v", p)
			}
			// A partner's own program may say it again under another name.
			if err := sitetest.Message(t, from.Site, to.Site, "again.alarm.pgp", message.Alarm{Key: "shared", At: time.Now()}); err != nil {
				t.Error(err)
			}
		})
	}
}

// Both find it at the same time.
func TestAlarmsCross(t *testing.T) {
	op, maker := keepers(t)
	op.must(op.do("key.compromise", "key/shared"))
	maker.must(maker.do("key.compromise", "key/shared"))
	op.tell()
	maker.tell()
	op.must(maker.hand(op, message.KindAlarm))
	op.must(op.hand(maker, message.KindAlarm))
	for _, s := range []keeper{op, maker} {
		if p := s.party(); p.Acknowledged.IsZero() {
			t.Errorf("%+v", p)
		}
		s.must(s.do("compromise.acknowledge", "key/shared"))
	}
}

func TestAlarmRefused(t *testing.T) {
	op, maker := keepers(t)
	at := time.Now().UTC()
	for name, c := range map[string]struct {
		m    any
		want string
	}{
		"own.alarm.pgp":       {message.Alarm{Key: "own", At: at}, "key own is not shared with maker"},
		"none.alarm.pgp":      {message.Alarm{Key: "none", At: at}, "key none is not known here"},
		"bad.alarm.pgp":       {message.Alarm{Key: "a b", At: at}, "out of bounds"},
		"long.alarm.pgp":      {message.Alarm{Key: "shared", At: at, Why: strings.Repeat("x", 501)}, "out of bounds"},
		"form.alarm.pgp":      {map[string]string{"surprise": "x"}, "form.alarm.pgp: "},
		"live.alarm-ack.pgp":  {message.AlarmAck{Key: "shared", By: "0001", At: at}, "it is not compromised, or maker does not share it"},
		"form.alarm-ack.pgp":  {map[string]string{"surprise": "x"}, "form.alarm-ack.pgp: "},
		"none.alarm-ack.pgp":  {message.AlarmAck{Key: "none", By: "0001", At: at}, "nothing is to be acknowledged"},
		"other.alarm-ack.pgp": {message.AlarmAck{Key: "own", By: "0001", At: at}, "maker does not share it"},
	} {
		err := sitetest.Message(t, maker.Site, op.Site, name, c.m)
		var no *site.Refusal
		if !errors.As(err, &no) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if op.state("own") != keys.Live || op.state("shared") != keys.Live {
		t.Error("a refused alarm stopped a key")
	}
	// An answer may overtake the record that the partner was told: it counts
	// when it is read again.
	op.must(op.do("key.compromise", "key/shared"))
	ack := message.AlarmAck{Key: "shared", By: "0001", At: at}
	if err := sitetest.Message(t, maker.Site, op.Site, "early.alarm-ack.pgp", ack); !errors.Is(err, keys.ErrNotTold) {
		t.Errorf("an early answer: %v", err)
	}
	op.tell()
	op.must(sitetest.Hand(t, maker.Site, op.Site, "early.alarm-ack.pgp"))
	if err := sitetest.Message(t, maker.Site, op.Site, "twice.alarm-ack.pgp", ack); err == nil || !strings.Contains(err.Error(), "acknowledged its compromise already") {
		t.Errorf("a second answer: %v", err)
	}
	err := op.Store().Change(t.Context(), audit.Entry{Kind: "test", Actor: "test"}, func(tx *store.Tx) error { return keys.Told(tx, "shared", "maker") })
	if err == nil {
		t.Error("told twice")
	}
	if err := op.do("compromise.acknowledge", "key/own"); err == nil {
		t.Error("nobody called it compromised")
	}
}
