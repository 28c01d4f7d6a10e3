package keys_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/hsm"
	"ankan/keys"
	"ankan/store"
)

const ktf = "form/maker/KTF-000001"

// sheet is what the issuer writes of a form.
func sheet(component int, bag, to string) keys.Sheet {
	return keys.Sheet{Key: "transport/op/1", Component: component, Ceremony: "C-1", Bag: bag, Seal: "S" + bag, ToSite: "op", ToPerson: to, Carrier: "courier " + bag}
}

// issuer is a site "maker" with a key in two components for the site "op".
func issuer(t testing.TB) *vault {
	v := newVault(t, "maker")
	v.key("transport/op/1", "op")
	v.split("transport/op/1", "C-1", cust1, cust2)
	return v
}

// issued is a form that left.
func (v *vault) issued(s keys.Sheet) keys.Sheet {
	v.Helper()
	s, err := v.reg.PutForm(v.Context(), km, s)
	v.must(err)
	v.must(v.do("form.issue", s.Ref(), s.FromPerson, so))
	f, err := v.reg.Form(v.Context(), s.Number)
	v.must(err)
	return f.Sheet
}

// announce takes a form in, as a site does whose file came.
func (v *vault) announce(s keys.Sheet) error {
	return v.store.Change(v.Context(), audit.Entry{Kind: "form.announced", Actor: "partner/" + s.Site, Subject: s.Ref()}, func(tx *store.Tx) error {
		return v.reg.Announce(v.Context(), tx, "maker", s)
	})
}

// receive is a custodian's look at a bag.
func (v *vault) receive(person, ref string, i keys.Inspection) error {
	v.Helper()
	if err := v.reg.PutInspection(v.Context(), person, ref, i); err != nil {
		return err
	}
	return v.do("form.receive", ref, person)
}

// answer is the second part of a form that was received.
func (v *vault) answer(ref string) keys.FormAnswer {
	v.Helper()
	f, err := v.reg.Form(v.Context(), ref)
	v.must(err)
	st, err := v.desk.Get(v.Context(), f.Act)
	v.must(err)
	who, err := v.people.Person(v.Context(), st.Act.Requester)
	v.must(err)
	who.Credential.Seal = nil
	return keys.FormAnswer{Act: string(st.Act.Canonical()), Signature: st.Signatures[0], Person: who}
}

func (v *vault) take(ref string, a keys.FormAnswer) error {
	e := audit.Entry{Kind: "form.answer-taken", Actor: "partner/op", Subject: ref}
	err := v.store.Change(v.Context(), e, func(tx *store.Tx) error { return v.reg.TakeAnswer(v.Context(), tx, "op", ref, a) })
	return errors.Join(err, v.guard.Reload(v.Context()))
}

func (v *vault) form(ref, state string) keys.Form {
	v.Helper()
	f, err := v.reg.Form(v.Context(), ref)
	v.must(err)
	if f.State != state {
		v.Errorf("%s at %s is %s, want %s", ref, v.site, f.State, state)
	}
	return f
}

// The road of a bag that comes whole.
func TestForm(t *testing.T) {
	maker, op := issuer(t), newVault(t, "op")
	// Bags that are in stock, and one that is not yet in the register.
	maker.item(keys.Item{Kind: keys.ItemBag, Number: "B1", Holder: cust1, Place: "safe"})
	s := sheet(1, "B1", cust3)
	s.FromPerson, s.KCV, s.Of = "", "nonsense", 7 // the register says
	s, err := maker.reg.PutForm(t.Context(), km, s)
	maker.must(err)
	if s.Number != "KTF-000001" || s.FromPerson != cust1 || s.Of != 2 || !strings.HasSuffix(s.KCV, "CMAC") || s.KeyKCV == "" {
		t.Fatalf("%+v", s)
	}
	s.Carrier = "another courier" // a draft is written again
	_, err = maker.reg.PutForm(t.Context(), km, s)
	maker.must(err)
	maker.must(maker.do("form.issue", ktf, cust1, so))
	s = maker.form("KTF-000001", keys.FormIssued).Sheet
	two := maker.issued(sheet(2, "B2", cust4))
	if two.Number != "KTF-000002" || s.Carrier != "another courier" || s.Issued.IsZero() {
		t.Errorf("%+v %+v", s, two)
	}
	bag, err := maker.reg.Item(t.Context(), "item/bag/B1")
	maker.must(err)
	if bag.State != keys.ItemSent || bag.Place != ktf || bag.Holds == "" {
		t.Errorf("%+v", bag)
	}
	// What is under way is counted where it comes.
	if got := maker.things(cust1); len(got) != 0 {
		t.Error(got)
	}
	out, err := maker.reg.FormsToSend(t.Context())
	maker.must(err)
	if len(out) != 2 {
		t.Errorf("%+v", out)
	}
	for range 2 {
		maker.change(func(tx *store.Tx) error { return keys.FormSent(tx, out[0], true) })
	}
	if out, err = maker.reg.FormsToSend(t.Context()); err != nil || len(out) != 1 || out[0].Number != "KTF-000002" {
		t.Error(out, err)
	}

	op.must(op.announce(s))
	op.must(op.announce(two))
	if op.unread(cust3, "form.announced") != 1 || op.unread(so, "form.announced") != 2 {
		t.Error("the recipient or the officer was not told")
	}
	blocks := func(want string) {
		t.Helper()
		kcv, err := hsm.ParseKCV(s.KCV)
		op.must(err)
		why, err := op.reg.FormBlocks(t.Context(), keys.FormPart{Key: s.Key, Partner: "maker", Form: s.Number, Bag: s.Bag, Component: 1, KCV: kcv, Custodian: cust3})
		if err != nil || want == "" && why != "" || !strings.Contains(why, want) {
			t.Errorf("%q %v, want %q", why, err, want)
		}
	}
	blocks("is announced, want received")
	op.must(op.receive(cust3, ktf, keys.Inspection{Bag: "B1", Seal: "SB1", Sound: true}))
	op.form(ktf, keys.FormReceived)
	blocks("")
	if got := op.things(cust3); len(got) != 1 || got[0] != ktf {
		t.Error(got)
	}
	op.must(op.count(cust3, ktf))
	blocks("is missing since")
	op.wait(0, 1)
	op.must(op.count(cust3))
	blocks("")
	back, err := op.reg.FormsToAnswer(t.Context())
	op.must(err)
	if len(back) != 1 || back[0].Ref() != ktf {
		t.Errorf("%+v", back)
	}

	maker.refused(maker.do("form.close", ktf, cust1), "it closes on the recipient's signed answer")
	answer := op.answer(ktf)
	maker.must(maker.take(ktf, answer))
	maker.refused(maker.take(ktf, answer), "is received")
	op.change(func(tx *store.Tx) error { return keys.FormSent(tx, back[0], true) })
	if back, err = op.reg.FormsToAnswer(t.Context()); err != nil || len(back) != 0 {
		t.Error(back, err)
	}
	if maker.unread(cust1, "form.answered") != 1 {
		t.Error("the sender was not told")
	}
	maker.refused(maker.do("form.close", ktf, cust2), "it is that of person "+cust1)
	maker.must(maker.do("form.close", ktf, cust1))
	maker.form(ktf, keys.FormClosed)
	copies, err := maker.reg.Copies(t.Context(), s.Key)
	maker.must(err)
	for _, c := range copies {
		if c.Number == 1 && (c.Gone.IsZero() || len(c.Sealed) != 0) {
			t.Errorf("the issuer still has %+v", c)
		}
	}
	bag, err = maker.reg.Item(t.Context(), "item/bag/B1")
	maker.must(err)
	if bag.State != keys.ItemGone {
		t.Errorf("%+v", bag)
	}
	maker.refused(maker.reg.PutItem(t.Context(), cust1, keys.Item{Kind: keys.ItemSeal, Number: "SB1", Holder: cust1, Place: "safe"}), "never used again")

	// A bag that waits for its ceremony changes hands like all things.
	_, err = op.reg.PutTransfer(t.Context(), keys.Transfer{Outgoing: cust3, Incoming: cust1, Things: []string{ktf}})
	op.must(err)
	op.must(op.do("custody.transfer", "transfer/CT-000001", cust3, cust1, so))
	blocks("is with person " + cust1)
	// In the module: the form is closed.
	op.change(func(tx *store.Tx) error { return keys.FormsImported(tx, s.Key, "C-9") })
	op.form(ktf, keys.FormClosed)
	blocks("is closed, want received")
	if got := op.things(cust1); len(got) != 0 {
		t.Error(got)
	}
	if all, err := op.reg.Forms(t.Context(), keys.FormAnnounced); err != nil || len(all) != 1 {
		t.Error(all, err)
	}
}

// A bag that was tampered with ends the key at both sites.
func TestFormTampered(t *testing.T) {
	for name, tt := range map[string]struct {
		saw  keys.Inspection
		here bool // the receiver has the key already
		want string
	}{
		"torn":         {saw: keys.Inspection{Bag: "B1", Seal: "SB1", Note: "a cut along the edge"}, want: "shows signs of tampering"},
		"another bag":  {saw: keys.Inspection{Bag: "B7", Seal: "SB1", Sound: true}, want: "the bag has the number B7, the form says B1"},
		"another seal": {saw: keys.Inspection{Bag: "B1", Seal: "S7", Sound: true}, here: true, want: "the seal has the number S7, the form says SB1"},
	} {
		t.Run(name, func(t *testing.T) {
			maker, op := issuer(t), newVault(t, "op")
			s, two := maker.issued(sheet(1, "B1", cust3)), maker.issued(sheet(2, "B2", cust4))
			if tt.here {
				op.key(s.Key, "maker")
			}
			op.must(op.announce(s))
			op.must(op.announce(two))
			op.must(op.receive(cust4, two.Ref(), keys.Inspection{Bag: "B2", Seal: "SB2", Sound: true}))
			op.must(op.receive(cust3, ktf, tt.saw))
			f := op.form(ktf, keys.FormTampered)
			if !strings.Contains(f.Why, tt.want) || len(op.things(cust3)) != 0 {
				t.Errorf("%q, %v", f.Why, op.things(cust3))
			}
			kind := "form.tampered"
			if tt.here {
				kind = "key.compromised"
				if k, err := op.reg.Key(t.Context(), s.Key); err != nil || k.State != keys.Compromised {
					t.Error(k, err)
				}
			}
			for _, who := range []string{km, ha, so, nodal, cust1, cust3} {
				if op.unread(who, kind) != 1 {
					t.Errorf("person %s at op was not told", who)
				}
			}
			// No part of the key comes in any more, also not the one that came whole.
			why, err := op.reg.FormBlocks(t.Context(), keys.FormPart{Key: s.Key, Form: two.Number, Bag: "B2", Component: 2, Custodian: cust4})
			if err != nil || !strings.Contains(why, "the key is compromised (SOP 6.4.e.iii.d)") {
				t.Errorf("%q %v", why, err)
			}

			maker.must(maker.take(ktf, op.answer(ktf)))
			maker.form(ktf, keys.FormTampered)
			if k, err := maker.reg.Key(t.Context(), s.Key); err != nil || k.State != keys.Compromised {
				t.Error(k, err)
			}
			if err := maker.guard.SealColumn(t.Context(), s.Key, make([]byte, 16), make([]byte, 16)); !errors.Is(err, keys.ErrState) {
				t.Errorf("the key is used: %v", err)
			}
			reports, err := maker.reg.Reports(t.Context())
			maker.must(err)
			if len(reports) != 1 || len(reports[0].Parties) != 1 || reports[0].Parties[0].Acknowledged.IsZero() || !strings.Contains(reports[0].Parties[0].Words, "person "+cust3) {
				t.Errorf("%+v", reports)
			}
			for _, who := range []string{km, ha, so, nodal, cust1, cust3} {
				if maker.unread(who, "key.compromised") != 1 {
					t.Errorf("person %s at maker was not told", who)
				}
			}
			maker.refused(maker.do("form.close", ktf, cust1), "it is tampered")
			// The answer about the other bag changes nothing of that.
			maker.must(maker.take(two.Ref(), op.answer(two.Ref())))
			maker.must(maker.do("form.close", two.Ref(), cust2))
		})
	}
}

func TestFormIssueRefused(t *testing.T) {
	v := issuer(t)
	v.key("transport/op/2", "")
	v.split("transport/op/2", "C-2", cust1, cust2)
	v.item(keys.Item{Kind: keys.ItemBag, Number: "B-full", Holder: cust1, Place: "safe", Holds: "copy/component/1/C-2/transport/op/2"})
	v.item(keys.Item{Kind: keys.ItemBag, Number: "B-other", Holder: cust2, Place: "safe"})
	v.item(keys.Item{Kind: keys.ItemSeal, Number: "S-gone", Holder: cust1, Place: "safe"})
	v.must(v.do("item.retire", "item/seal/S-gone/torn", cust1, so))
	for name, tt := range map[string]struct {
		spoil func(*keys.Sheet)
		want  string
	}{
		"no such component": {func(s *keys.Sheet) { s.Component = 3 }, "no such part of a key"},
		"no such ceremony":  {func(s *keys.Sheet) { s.Ceremony = "C-9" }, "no such part of a key"},
		"no such key":       {func(s *keys.Sheet) { s.Key = "nothing" }, "no such part of a key"},
		"number":            {func(s *keys.Sheet) { s.Number = "KTF-1" }, "want KTF-NNNNNN or none"},
		"no such form":      {func(s *keys.Sheet) { s.Number = "KTF-000009" }, "no such form"},
		"no bag":            {func(s *keys.Sheet) { s.Bag = "" }, "have 1 to 40 letters"},
		"seal":              {func(s *keys.Sheet) { s.Seal = "a b" }, "have 1 to 40 letters"},
		"to itself":         {func(s *keys.Sheet) { s.ToSite = "maker" }, `it goes to site "maker"`},
		"to nobody":         {func(s *keys.Sheet) { s.ToPerson = "" }, "person number is"},
		"no carrier":        {func(s *keys.Sheet) { s.Carrier = "" }, "carrier is"},
		"not shared":        {func(s *keys.Sheet) { s.ToSite = "stranger" }, "is not shared with stranger"},
		"not shared at all": {func(s *keys.Sheet) { s.Key, s.Ceremony = "transport/op/2", "C-2" }, "is not shared with op"},
		"bag is full":       {func(s *keys.Sheet) { s.Bag = "B-full" }, "its number is used once, ever"},
		"bag of another":    {func(s *keys.Sheet) { s.Bag = "B-other" }, "person " + cust2 + " holds it"},
		"seal is gone":      {func(s *keys.Sheet) { s.Seal = "S-gone" }, "its number is used once, ever"},
	} {
		s := sheet(1, "B1", cust3)
		tt.spoil(&s)
		if _, err := v.reg.PutForm(t.Context(), km, s); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	if all, err := v.reg.Forms(t.Context(), ""); err != nil || len(all) != 0 {
		t.Error("a refused form stayed", all, err)
	}
	if _, err := v.reg.Form(t.Context(), "KTF-000001"); !errors.Is(err, keys.ErrNoForm) {
		t.Error(err)
	}
	v.refused(v.do("form.issue", ktf, cust1, so), "no such form")
	v.refused(v.do("form.issue", "form/maker/1", cust1, so), "is not form/SITE/KTF-NNNNNN")

	s, err := v.reg.PutForm(t.Context(), km, sheet(1, "B1", cust3))
	v.must(err)
	_, err = v.reg.PutForm(t.Context(), km, sheet(1, "B9", cust3))
	v.refused(err, "KTF-000001 is for the same component")
	_, err = v.reg.PutForm(t.Context(), km, sheet(2, "B2", cust3))
	v.refused(err, "would hold two parts of one key")
	v.refused(v.do("form.issue", s.Ref(), cust2, so), "it is that of person "+cust1)
	v.refused(v.do("form.issue", s.Ref(), cust1, km), "not allowed")
	// A draft that was written again, a bag that left with another form.
	w, err := v.signed("form.issue", s.Ref(), cust1, so)
	v.must(err)
	s.Carrier = "somebody else"
	_, err = v.reg.PutForm(t.Context(), km, s)
	v.must(err)
	v.refused(v.deeds["form.issue"].Do(t.Context(), w), "when it was signed and is")
	other := sheet(2, "B1", cust4)
	other, err = v.reg.PutForm(t.Context(), km, other)
	v.must(err)
	v.must(v.do("form.issue", s.Ref(), km, so)) // the key manager may ask too
	v.refused(v.do("form.issue", other.Ref(), cust2, so), "its number is used once, ever")
	v.refused(v.do("form.issue", s.Ref(), cust1, so), "it is issued")
	_, err = v.reg.PutForm(t.Context(), km, s)
	v.refused(err, "its number is used once, ever")
	v.refused(v.reg.PutInspection(t.Context(), cust1, s.Ref(), keys.Inspection{Bag: "B1", Seal: "SB1", Sound: true}), "it is issued")

	// The component was handed over since the form was written, or is missing;
	// the key is suspended.
	other.Bag, other.Seal = "B2", "SB2"
	other, err = v.reg.PutForm(t.Context(), km, other)
	v.must(err)
	part := "copy/component/2/C-1/transport/op/1"
	_, err = v.reg.PutTransfer(t.Context(), keys.Transfer{Outgoing: cust2, Incoming: cust4, Things: []string{part}, Sealed: map[string][]byte{part: v.reseal(cust2, part, cust4)}})
	v.must(err)
	v.must(v.do("custody.transfer", "transfer/CT-000001", cust2, cust4, so))
	v.refused(v.do("form.issue", other.Ref(), cust2, so), "key or custodian changed")
	other, err = v.reg.PutForm(t.Context(), km, other)
	v.must(err)
	v.must(v.count(cust4, part))
	v.refused(v.do("form.issue", other.Ref(), cust4, so), "component 2 is missing since")
	v.wait(0, 1)
	v.must(v.count(cust4))
	v.must(v.do("key.suspend", "key/transport/op/1", so))
	v.refused(v.do("form.issue", other.Ref(), cust4, so), "leaves only while it is active")
	if out, err := v.reg.FormsToSend(t.Context()); err != nil || len(out) != 0 {
		t.Error("the form of a suspended key leaves", out, err)
	}
	v.must(v.do("key.resume", "key/transport/op/1", km, so))
	v.leave(cust4)
	v.refused(v.do("form.issue", other.Ref(), km, so), "its custodian: ")
}

func TestFormAnnounceRefused(t *testing.T) {
	maker, op := issuer(t), newVault(t, "op")
	s, two := maker.issued(sheet(1, "B1", cust3)), maker.issued(sheet(2, "B2", cust4))
	op.must(op.announce(s))
	for name, tt := range map[string]struct {
		spoil func(*keys.Sheet)
		want  string
	}{
		"again":             {func(x *keys.Sheet) { *x = s }, "came before; a number is used once"},
		"of another":        {func(x *keys.Sheet) { x.Site = "other" }, "not from maker"},
		"for another":       {func(x *keys.Sheet) { x.ToSite = "other" }, "not from maker"},
		"no date":           {func(x *keys.Sheet) { x.Issued = time.Time{} }, "has no date"},
		"same bag":          {func(x *keys.Sheet) { x.Bag = "B1" }, "a number is used once, ever"},
		"same seal":         {func(x *keys.Sheet) { x.Seal = "SB1" }, "a number is used once, ever"},
		"same component":    {func(x *keys.Sheet) { x.Component = 1 }, "component 1 of transport/op/1 came before"},
		"same person":       {func(x *keys.Sheet) { x.ToPerson = cust3 }, "would hold two parts of one key"},
		"number":            {func(x *keys.Sheet) { x.Number = "KTF-2" }, "is not form/SITE/KTF-NNNNNN"},
		"key":               {func(x *keys.Sheet) { x.Key = "a b" }, "key name"},
		"component":         {func(x *keys.Sheet) { x.Component = 3 }, "component 3 of 2"},
		"one of one":        {func(x *keys.Sheet) { x.Component, x.Of = 1, 1 }, "component 1 of 1"},
		"check value":       {func(x *keys.Sheet) { x.KCV = "12" }, "form/maker/KTF-000002"},
		"key's check value": {func(x *keys.Sheet) { x.KeyKCV = "" }, "form/maker/KTF-000002"},
		"bag":               {func(x *keys.Sheet) { x.Bag = "<b>" }, "have 1 to 40 letters"},
		"from":              {func(x *keys.Sheet) { x.FromPerson = "../x" }, "person number"},
		"carrier":           {func(x *keys.Sheet) { x.Carrier = strings.Repeat("x", 121) }, "carrier is"},
	} {
		x := two
		tt.spoil(&x)
		if err := op.announce(x); !errors.Is(err, keys.ErrForm) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	// Somebody who is no custodian here: the bag is under way all the same.
	two.ToPerson = green
	op.must(op.announce(two))
	if op.unread(green, "form.announced") != 0 || op.unread(so, "form.announced") != 2 {
		t.Error("who was told?")
	}
	op.refused(op.receive(green, two.Ref(), keys.Inspection{Bag: "B2", Seal: "SB2", Sound: true}), "takes the training")
}

func TestFormReceiveRefused(t *testing.T) {
	maker, op := issuer(t), newVault(t, "op")
	s, two := maker.issued(sheet(1, "B1", cust3)), maker.issued(sheet(2, "B2", cust4))
	op.must(op.announce(s))
	good := keys.Inspection{Bag: "B1", Seal: "SB1", Sound: true}
	op.refused(op.do("form.receive", ktf, cust3), "nobody wrote down yet")
	op.refused(op.receive(cust4, ktf, good), "it is for person "+cust3)
	op.refused(op.receive(cust3, ktf, keys.Inspection{Seal: "SB1", Sound: true}), "have 1 to 40 letters")
	op.refused(op.receive(cust3, ktf, keys.Inspection{Bag: "B1", Sound: true}), "have 1 to 40 letters")
	op.refused(op.receive(cust3, ktf, keys.Inspection{Bag: "B1", Seal: "SB1"}), "say what is to be seen")
	op.refused(op.receive(cust3, ktf, keys.Inspection{Bag: "B1", Seal: "SB1", Note: "a\nb"}), "note is")
	op.refused(op.receive(cust3, two.Ref(), good), "no such form")
	op.refused(op.receive(cust3, "form/maker/1", good), "is not form/SITE/KTF-NNNNNN")
	op.must(op.reg.PutInspection(t.Context(), cust3, ktf, good))
	op.refused(op.do("form.receive", ktf, cust4), "who looks at the bag and signs")
	// What was read is part of what is signed.
	w, err := op.signed("form.receive", ktf, cust3)
	op.must(err)
	op.must(op.reg.PutInspection(t.Context(), cust3, ktf, keys.Inspection{Bag: "B7", Seal: "SB1", Sound: true}))
	op.refused(op.deeds["form.receive"].Do(t.Context(), w), "when it was signed and is")
	op.must(op.receive(cust3, ktf, good))
	op.refused(op.receive(cust3, ktf, good), "it is received")
	op.refused(op.do("form.close", ktf, cust3), "its issuer closes it")
	// Somebody who has the first part gets no second one, by whatever road.
	two.ToPerson, two.Ceremony = cust3, "C-9"
	op.must(op.announce(two))
	op.refused(op.receive(cust3, two.Ref(), keys.Inspection{Bag: "B2", Seal: "SB2", Sound: true}), "would hold two parts of one key")
}

func TestFormAnswerRefused(t *testing.T) {
	maker, op := issuer(t), newVault(t, "op")
	s, two := maker.issued(sheet(1, "B1", cust3)), maker.issued(sheet(2, "B2", cust4))
	op.must(op.announce(s))
	op.must(op.announce(two))
	op.must(op.receive(cust3, ktf, keys.Inspection{Bag: "B1", Seal: "SB1", Sound: true}))
	op.must(op.receive(cust4, two.Ref(), keys.Inspection{Bag: "B2", Seal: "SB2", Sound: true}))
	good, other := op.answer(ktf), op.answer(two.Ref())
	// again signs another act with the passkey of somebody at op.
	again := func(person string, spoil func(*act.Act)) keys.FormAnswer {
		a, err := act.Parse([]byte(good.Act))
		op.must(err)
		spoil(&a)
		who, err := op.people.Person(t.Context(), person)
		op.must(err)
		return keys.FormAnswer{Act: string(a.Canonical()), Signature: op.sig(a, person, act.Request), Person: who}
	}
	for name, tt := range map[string]struct {
		ref    string
		answer keys.FormAnswer
		want   string
	}{
		"no form":           {"form/maker/KTF-000009", good, "did not go to op"},
		"a reference":       {"form", good, "is not form/SITE/KTF-NNNNNN"},
		"no act":            {ktf, keys.FormAnswer{Act: "{}"}, "act: "},
		"of the other":      {ktf, other, "the act is form.receive of form/maker/KTF-000002"},
		"another kind":      {ktf, again(cust3, func(a *act.Act) { a.Kind = "form.close" }), "the act is form.close"},
		"another site":      {ktf, again(cust3, func(a *act.Act) { a.Site = "plant" }), "at plant"},
		"another person":    {ktf, again(cust4, func(a *act.Act) { a.Requester = cust4 }), "the form names " + cust3},
		"another passkey":   {ktf, keys.FormAnswer{Act: good.Act, Signature: good.Signature, Person: act.Person{ID: cust3, Credential: other.Person.Credential}}, "person " + cust3},
		"another signature": {ktf, keys.FormAnswer{Act: good.Act, Signature: other.Signature, Person: good.Person}, "shown as that of"},
		"another bag":       {ktf, again(cust3, func(a *act.Act) { a.Params["bag"] = "B9" }), `bag is "B9", on the form "B1"`},
		"hidden tampering":  {ktf, again(cust3, func(a *act.Act) { a.Params["sound"] = "false" }), `it says "received", and what was read says "tampered"`},
		"hidden number":     {ktf, again(cust3, func(a *act.Act) { a.Params["read_seal"] = "S9" }), `it says "received", and what was read says "tampered"`},
		"a false alarm":     {ktf, again(cust3, func(a *act.Act) { a.Params["outcome"] = "tampered" }), `it says "tampered", and what was read says "received"`},
		"too long":          {ktf, again(cust3, func(a *act.Act) { a.Params["x"] = strings.Repeat("x", 1<<16) }), "bytes, want at most"},
	} {
		if err := maker.take(tt.ref, tt.answer); !errors.Is(err, keys.ErrForm) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	stranger := audit.Entry{Kind: "form.answer-taken", Actor: "partner/stranger", Subject: ktf}
	err := maker.store.Change(t.Context(), stranger, func(tx *store.Tx) error { return maker.reg.TakeAnswer(t.Context(), tx, "stranger", ktf, good) })
	maker.refused(err, "did not go to stranger")
	maker.form(ktf, keys.FormIssued)
	if k, err := maker.reg.Key(t.Context(), s.Key); err != nil || k.State != keys.Live {
		t.Error("a wrong answer touched the key", k, err)
	}
	// The database's word is not taken: a closing verifies the answer again.
	maker.must(maker.take(ktf, good))
	doc, err := json.Marshal(again(cust3, func(a *act.Act) { a.Params["bag"] = "B9" }))
	maker.must(err)
	maker.change(func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE form SET answer = $1 WHERE number = 'KTF-000001'`, doc)
		return err
	})
	maker.refused(maker.do("form.close", ktf, cust1), `bag is "B9", on the form "B1"`)
}

// A partner without a card has both parts on paper.
func TestFormOnPaper(t *testing.T) {
	maker := issuer(t)
	maker.issued(sheet(1, "B1", cust3))
	f := maker.form(ktf, keys.FormIssued)
	maker.refused(maker.do("form.close", ktf, cust1), "it closes on the recipient's signed answer")
	maker.change(func(tx *store.Tx) error { return keys.FormSent(tx, f, false) })
	maker.must(maker.do("form.close", ktf, km))
	maker.form(ktf, keys.FormClosed)
}

func TestFormsOverdue(t *testing.T) {
	maker, op := issuer(t), newVault(t, "op")
	s := maker.issued(sheet(1, "B1", cust3))
	op.must(op.announce(s))
	told := func(v *vault, person string, want int) {
		t.Helper()
		for range 2 {
			v.must(v.reg.Remind(t.Context()))
		}
		for _, who := range []string{person, so, km} {
			if n := v.unread(who, "form.overdue"); n != want {
				t.Errorf("%s at %s: person %s was told %d times, want %d", v.now().Format(time.DateOnly), v.site, who, n, want)
			}
		}
	}
	for _, step := range []struct{ days, want int }{{13, 0}, {1, 1}, {6, 1}, {1, 2}} {
		maker.wait(step.days, 0)
		op.wait(step.days, 0)
		told(maker, cust1, step.want)
		told(op, cust3, step.want)
	}
	if all, err := maker.reg.OverdueForms(t.Context()); err != nil || len(all) != 1 {
		t.Error(all, err)
	}
	if all, err := maker.reg.Findings(t.Context()); err != nil || len(all) != 1 || all[0].Subject != ktf {
		t.Error(all, err)
	}
	op.must(op.receive(cust3, ktf, keys.Inspection{Bag: "B1", Seal: "SB1", Sound: true}))
	maker.must(maker.take(ktf, op.answer(ktf)))
	maker.wait(30, 0)
	op.wait(30, 0)
	told(maker, cust1, 2)
	told(op, cust3, 2)
}

// What speaks against a component of a plan.
func TestFormBlocks(t *testing.T) {
	maker, op := issuer(t), newVault(t, "op")
	s := maker.issued(sheet(1, "B1", cust3))
	op.must(op.announce(s))
	op.must(op.receive(cust3, ktf, keys.Inspection{Bag: "B1", Seal: "SB1", Sound: true}))
	kcv, err := hsm.ParseKCV(s.KCV)
	op.must(err)
	other, err := hsm.ParseKCV("000000 CMAC")
	op.must(err)
	good := keys.FormPart{Key: s.Key, Partner: "maker", Form: s.Number, Bag: "B1", Component: 1, KCV: kcv, Custodian: cust3}
	for name, tt := range map[string]struct {
		spoil func(*keys.FormPart)
		want  string
	}{
		"good":                 {func(*keys.FormPart) {}, ""},
		"with its site":        {func(p *keys.FormPart) { p.Form, p.Partner = "maker/"+s.Number, "" }, ""},
		"another key":          {func(p *keys.FormPart) { p.Key = "transport/op/2" }, "is not known here"},
		"another partner":      {func(p *keys.FormPart) { p.Partner = "other" }, "came for key"},
		"another number":       {func(p *keys.FormPart) { p.Form = "KTF-000009" }, "came for key"},
		"no form":              {func(p *keys.FormPart) { p.Form = "" }, `the plan names form ""`},
		"no form and none":     {func(p *keys.FormPart) { p.Form, p.Key = "", "transport/op/2" }, ""},
		"a paper of another":   {func(p *keys.FormPart) { p.Form, p.Key = "2026/17", "transport/op/2" }, ""},
		"another bag":          {func(p *keys.FormPart) { p.Bag = "" }, `the plan says bag ""`},
		"another component":    {func(p *keys.FormPart) { p.Component = 2 }, "is for component 1"},
		"another custodian":    {func(p *keys.FormPart) { p.Custodian = cust4 }, "is with person " + cust3},
		"another check value":  {func(p *keys.FormPart) { p.KCV = other }, "the plan says check value"},
		"of no check value":    {func(p *keys.FormPart) { p.KCV = hsm.KCV{} }, ""},
		"a paper beside forms": {func(p *keys.FormPart) { p.Form = "2026/17" }, "came for key"},
	} {
		p := good
		tt.spoil(&p)
		why, err := op.reg.FormBlocks(t.Context(), p)
		if err != nil || tt.want == "" && why != "" || !strings.Contains(why, tt.want) {
			t.Errorf("%s: %q %v, want %q", name, why, err, tt.want)
		}
	}
}

// A key that its issuer calls compromised before it came stays out.
func TestFormsCompromised(t *testing.T) {
	maker, op := issuer(t), newVault(t, "op")
	s := maker.issued(sheet(1, "B1", cust3))
	op.must(op.announce(s))
	n := 0
	hear := func(key, partner string) {
		op.must(op.store.Change(t.Context(), audit.Entry{Kind: "compromise.heard", Actor: "partner/" + partner}, func(tx *store.Tx) (err error) {
			n, err = op.reg.FormsCompromised(t.Context(), tx, key, partner, "stolen")
			return err
		}))
	}
	hear("transport/op/9", "maker")
	if hear(s.Key, "stranger"); n != 0 {
		t.Error("a stranger speaks of keys that are none of theirs")
	}
	op.form(ktf, keys.FormAnnounced)
	if hear(s.Key, "maker"); n != 1 {
		t.Error(n)
	}
	op.form(ktf, keys.FormTampered)
	op.refused(op.receive(cust3, ktf, keys.Inspection{Bag: "B1", Seal: "SB1", Sound: true}), "it is tampered")
	if op.unread(so, "form.tampered") != 1 {
		t.Error("the officer was not told")
	}
	if back, err := op.reg.FormsToAnswer(t.Context()); err != nil || len(back) != 0 {
		t.Error("a form that nobody signed is answered", back, err)
	}
	// People acknowledge it, though the key never came.
	op.must(op.do("compromise.acknowledge", "key/"+s.Key, km))
	if out, err := op.reg.ToAcknowledge(t.Context()); err != nil || len(out) != 1 || out[0][1] != "maker" {
		t.Error(out, err)
	}
	op.refused(op.do("compromise.acknowledge", "key/"+s.Key, km), "no partner called it compromised who is not answered yet")
	op.refused(op.do("compromise.acknowledge", "key/nothing", km), "no partner called it compromised")
}

// What a partner may write: a first part that is taken says what it says after
// it was kept, and an answer is taken for its own form alone.
func FuzzForm(f *testing.F) {
	maker, op := issuer(f), newVault(f, "op")
	s := maker.issued(sheet(1, "B1", cust3))
	op.must(op.announce(s))
	op.must(op.receive(cust3, ktf, keys.Inspection{Bag: "B1", Seal: "SB1", Sound: true}))
	answer := op.answer(ktf)
	for _, v := range []any{s, answer, keys.Sheet{}, keys.FormAnswer{Act: "{}"}} {
		doc, err := json.Marshal(v)
		op.must(err)
		f.Add(doc)
	}
	undo := fmt.Errorf("undo")
	f.Fuzz(func(t *testing.T, doc []byte) {
		var x keys.Sheet
		if audit.Strict(doc, &x) == nil {
			err := op.store.Change(t.Context(), audit.Entry{Kind: "test", Actor: "test"}, func(tx *store.Tx) error {
				if err := op.reg.Announce(context.Background(), tx, "maker", x); err != nil {
					return err
				}
				if x.Site != "maker" || x.ToSite != "op" || x.Check() != nil || x.Bag == s.Bag {
					t.Errorf("taken: %+v", x)
				}
				return undo
			})
			if err != undo && !errors.Is(err, keys.ErrForm) {
				t.Errorf("%+v: %v", x, err)
			}
		}
		var a keys.FormAnswer
		if audit.Strict(doc, &a) == nil {
			if why, err := (keys.Form{Sheet: s}).CheckAnswer(a); err == nil && (why != "" || a.Act != answer.Act) {
				t.Errorf("%q: %s", why, doc)
			}
		}
	})
}
