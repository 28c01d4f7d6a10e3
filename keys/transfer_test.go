package keys_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"ankan/hsm"
	"ankan/keys"
	"ankan/passkey"
	"ankan/store"
)

// moved is a transfer of cust1's things that is ready to be signed.
func (v *vault) moved(incoming string, sealed map[string][]byte, refs ...string) keys.Transfer {
	v.Helper()
	t, err := v.reg.PutTransfer(v.Context(), keys.Transfer{Outgoing: cust1, Incoming: incoming, Things: refs, Sealed: sealed})
	v.must(err)
	return t
}

func TestTransfer(t *testing.T) {
	v := newVault(t, "maker")
	v.key("transport/op/1", "op")
	refs := v.split("transport/op/1", "C-1", cust1, cust2)
	kcv := func() string {
		all, err := v.reg.Held(t.Context(), cust3)
		v.must(err)
		return all[0].KCV
	}
	v.item(locker("L-1", cust1))
	v.item(keys.Item{Kind: keys.ItemKey, Number: "K-1", Holder: cust1, Place: "on the person", Opens: "item/locker/L-1"})
	v.item(keys.Item{Kind: keys.ItemEnvelope, Number: "E-1", Holder: cust1, Place: "item/locker/L-1", Holds: refs[0]})
	v.item(keys.Item{Kind: keys.ItemBag, Number: "B-1", Holder: cust1, Place: "item/locker/L-1"})

	// Part of it: the envelope leaves the locker.
	v.wait(10, 0)
	sealed := map[string][]byte{refs[0]: v.reseal(cust1, refs[0], cust3)}
	tr := v.moved(cust3, sealed, "item/envelope/E-1", refs[0])
	if tr.Number != "CT-000001" {
		t.Error(tr.Number)
	}
	if len(v.things(cust3)) != 0 {
		t.Error("a draft moved something")
	}
	v.must(v.do("custody.transfer", "transfer/CT-000001", cust1, cust3, so))
	if got := strings.Join(v.things(cust3), " "); got != refs[0]+" item/envelope/E-1" {
		t.Error(got)
	}
	env, err := v.reg.Item(t.Context(), "item/envelope/E-1")
	v.must(err)
	if env.Holder != cust3 || env.Place != "handed over, not put away yet" || env.Since.Day() != 3 {
		t.Errorf("%+v", env)
	}
	// The new custodian opens the part, and the one before does not any more.
	held, err := v.reg.Held(t.Context(), cust3)
	v.must(err)
	var c hsm.Component
	v.must(json.Unmarshal(held[0].Sealed, &c))
	part, err := c.Open(v.opener(cust3))
	v.must(err)
	if got, err := hsm.AESKCV(hsm.CMAC, part); err != nil || got.String() != kcv() {
		t.Error(got, err)
	}
	if _, err := c.Open(v.opener(cust1)); err == nil {
		t.Error("the outgoing custodian still opens it")
	}
	all, err := v.reg.Transfers(t.Context(), cust3)
	v.must(err)
	if len(all) != 1 || all[0].Done.IsZero() || all[0].Officer != so || len(all[0].Sealed) != 0 || all[0].Act == "" {
		t.Errorf("%+v", all)
	}
	v.refused(v.do("custody.transfer", "transfer/CT-000001", cust1, cust3, so), "it is done")
	// The count is the incoming custodian's from then on, one period later.
	if due, err := v.reg.Dues(t.Context()); err != nil || len(due) != 3 || due[2].Person != cust3 || due[2].Due.Format("2006-01-02") != "2027-03-05" {
		t.Errorf("%+v %v", due, err)
	}
	// All the rest: the locker goes with what lies in it and what opens it.
	v.moved(cust4, nil, "item/locker/L-1", "item/physical-key/K-1", "item/bag/B-1")
	v.must(v.do("custody.transfer", "transfer/CT-000002", cust1, so, cust4))
	bag, err := v.reg.Item(t.Context(), "item/bag/B-1")
	v.must(err)
	if bag.Holder != cust4 || bag.Place != "item/locker/L-1" || len(v.things(cust1)) != 0 {
		t.Errorf("%+v, %v", bag, v.things(cust1))
	}
	for _, who := range []string{cust1, cust4, so} {
		if v.unread(who, "custody.transfer") == 0 {
			t.Errorf("person %s was not told", who)
		}
	}
}

// Shares move as components do.
func TestTransferShare(t *testing.T) {
	v := newVault(t, "maker")
	var to []hsm.Holder
	for _, who := range []string{cust1, cust2, cust3} {
		pub, err := v.soft[who].Credential.Seal.Key()
		v.must(err)
		to = append(to, hsm.Holder{Name: who, Key: pub})
	}
	_, shares, err := v.guard.GenerateShared(t.Context(), "ledger/1", hsm.Ledger, hsm.HMAC256, "C-1", 2, to)
	v.must(err)
	v.change(func(tx *store.Tx) error {
		for _, s := range shares {
			doc, err := json.Marshal(s)
			v.must(err)
			v.must(keys.PutCopy(tx, keys.Copy{Key: "ledger/1", Kind: keys.CopyShare, Number: s.Index, Of: s.Of, Holder: s.Holder, Place: "C-1", Sealed: doc}))
		}
		return nil
	})
	ref := "copy/share/1/C-1/ledger/1"
	_, err = v.reg.PutTransfer(t.Context(), keys.Transfer{Outgoing: cust1, Incoming: cust2, Things: []string{ref}, Sealed: map[string][]byte{ref: v.reseal(cust1, ref, cust2)}})
	v.refused(err, "would hold two parts of one key")
	v.moved(cust4, map[string][]byte{ref: v.reseal(cust1, ref, cust4)}, ref)
	v.must(v.do("custody.transfer", "transfer/CT-000001", cust1, cust4, so))
	held, err := v.reg.Held(t.Context(), cust4)
	v.must(err)
	var s hsm.Share
	v.must(json.Unmarshal(held[0].Sealed, &s))
	if _, err := s.Open(v.opener(cust4)); err != nil || s.Holder != cust4 {
		t.Error(s.Holder, err)
	}
}

func TestTransferRefused(t *testing.T) {
	v := newVault(t, "maker")
	v.key("transport/op/1", "op")
	v.key("transport/op/2", "op")
	refs := v.split("transport/op/1", "C-1", cust1, cust2)
	more := v.split("transport/op/2", "C-2", cust1, cust2, cust3)
	again := v.split("transport/op/2", "C-3", cust1, cust2)
	v.item(locker("L-1", cust1))
	v.item(locker("L-2", cust1))
	v.item(keys.Item{Kind: keys.ItemKey, Number: "K-1", Holder: cust1, Place: "safe", Opens: "item/locker/L-1"})
	v.item(keys.Item{Kind: keys.ItemBag, Number: "B-1", Holder: cust1, Place: "item/locker/L-2"})
	v.item(keys.Item{Kind: keys.ItemEnvelope, Number: "E-1", Holder: cust1, Place: "item/locker/L-1", Holds: refs[0]})
	v.item(keys.Item{Kind: keys.ItemRack, Number: "R-1", Place: "HSM room"})
	v.item(keys.Item{Kind: keys.ItemEnvelope, Number: "E-2", Holder: cust2, Place: "safe"})
	v.change(func(tx *store.Tx) error { // a rack's key in hands where it may not be
		_, err := tx.Exec(`INSERT INTO item (kind, number, holder, place, opens, state, since) VALUES ('physical-key', 'RK-1', $1, 'safe', 'item/rack/R-1', 'held', '2026-11-23T09:00:00Z')`, cust1)
		return err
	})
	good := v.reseal(cust1, refs[0], cust3)
	for name, tt := range map[string]struct {
		to     string
		refs   []string
		sealed map[string][]byte
		want   string
	}{
		"nothing":                  {to: cust3, want: "it has 0 things"},
		"to themselves":            {to: cust1, refs: []string{"item/bag/B-1"}, want: "goes to whom it comes from"},
		"twice":                    {to: cust3, refs: []string{"item/bag/B-1", "item/bag/B-1"}, want: "some twice"},
		"no custodian":             {to: km, refs: []string{"item/bag/B-1"}, want: "not key-custodian"},
		"no training":              {to: green, refs: []string{"item/bag/B-1"}, want: "takes the training"},
		"not theirs":               {to: cust3, refs: []string{"item/envelope/E-2"}, want: "does not hold item/envelope/E-2"},
		"nothing at all":           {to: cust3, refs: []string{"sofa"}, want: "does not hold sofa"},
		"holds another part":       {to: cust2, refs: []string{refs[0], "item/envelope/E-1"}, sealed: map[string][]byte{refs[0]: v.reseal(cust1, refs[0], cust2)}, want: "would hold two parts of one key"},
		"two parts at once":        {to: cust4, refs: []string{more[0], again[0]}, sealed: map[string][]byte{more[0]: v.reseal(cust1, more[0], cust4), again[0]: v.reseal(cust1, again[0], cust4)}, want: "would hold two parts of one key"},
		"not sealed anew":          {to: cust3, refs: []string{refs[0], "item/envelope/E-1"}, want: "open it and seal it to person " + cust3},
		"envelope without part":    {to: cust3, refs: []string{"item/envelope/E-1"}, want: "go together or not at all"},
		"part without envelope":    {to: cust3, refs: []string{refs[0]}, sealed: map[string][]byte{refs[0]: good}, want: "go together or not at all"},
		"locker without key":       {to: cust3, refs: []string{"item/locker/L-1", "item/envelope/E-1", refs[0]}, sealed: map[string][]byte{refs[0]: good}, want: "go together or not at all"},
		"key without locker":       {to: cust3, refs: []string{"item/physical-key/K-1"}, want: "go together or not at all"},
		"locker without content":   {to: cust3, refs: []string{"item/locker/L-2"}, want: "go together or not at all"},
		"key of the rack":          {to: cust3, refs: []string{"item/physical-key/RK-1"}, want: "with key manager and HSM administrator"},
		"sealed and not a part":    {to: cust3, refs: []string{"item/bag/B-1"}, sealed: map[string][]byte{"item/bag/B-1": good}, want: "is no sealed part among what moves"},
		"sealed and not moved":     {to: cust3, refs: []string{"item/bag/B-1"}, sealed: map[string][]byte{refs[0]: good}, want: "is no sealed part among what moves"},
		"sealed for another":       {to: cust4, refs: []string{refs[0], "item/envelope/E-1"}, sealed: map[string][]byte{refs[0]: good}, want: "for another holder"},
		"another part":             {to: cust3, refs: []string{refs[0], "item/envelope/E-1"}, sealed: map[string][]byte{refs[0]: []byte(strings.Replace(string(good), `"index":1`, `"index":2`, 1))}, want: "is another part"},
		"another set":              {to: cust3, refs: []string{refs[0], "item/envelope/E-1"}, sealed: map[string][]byte{refs[0]: []byte(strings.Replace(string(good), `"C-1"`, `"C-9"`, 1))}, want: "is another part"},
		"another check value":      {to: cust3, refs: []string{refs[0], "item/envelope/E-1"}, sealed: map[string][]byte{refs[0]: []byte(strings.Replace(string(good), `"kcv":"`, `"kcv":"0`, 1))}, want: "sealed anew"},
		"more fields":              {to: cust3, refs: []string{refs[0], "item/envelope/E-1"}, sealed: map[string][]byte{refs[0]: []byte(strings.Replace(string(good), `{`, `{"x":1,`, 1))}, want: "unknown field"},
		"nothing in it":            {to: cust3, refs: []string{refs[0], "item/envelope/E-1"}, sealed: map[string][]byte{refs[0]: withGiven(v, good, nil)}, want: "it is still sealed to person " + cust1},
		"still sealed to outgoing": {to: cust3, refs: []string{refs[0], "item/envelope/E-1"}, sealed: map[string][]byte{refs[0]: withGiven(v, good, v.sealedOf(refs[0]))}, want: "it is still sealed to person " + cust1},
	} {
		_, err := v.reg.PutTransfer(t.Context(), keys.Transfer{Outgoing: cust1, Incoming: tt.to, Things: tt.refs, Sealed: tt.sealed})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	if all, err := v.reg.Transfers(t.Context(), ""); err != nil || len(all) != 0 {
		t.Error("a refused transfer stayed", all, err)
	}

	// Who hands out what, and to whom it can be sealed.
	for _, tt := range []struct{ person, ref, to, want string }{
		{cust2, refs[0], cust3, "nothing of it is sealed to person " + cust2},
		{cust1, "copy/component/9/C-1/transport/op/1", cust3, "no such part of a key"},
		{cust1, "sofa", cust3, "is not copy/"},
		{cust1, refs[0], km, "not key-custodian"},
	} {
		_, err := v.reg.Reseal(t.Context(), tt.person, tt.ref, tt.to)
		v.refused(err, tt.want)
	}

	// Who signs.
	tr := v.moved(cust3, map[string][]byte{refs[0]: good}, refs[0], "item/envelope/E-1")
	v.refused(v.do("custody.transfer", "transfer/"+tr.Number, cust1, cust4, so), "who takes over, has not signed it")
	v.refused(v.do("custody.transfer", "transfer/"+tr.Number, cust2, cust3, so), "hands over, and asks for it")
	v.refused(v.do("custody.transfer", "transfer/"+tr.Number, cust1, cust3, cust4), "not allowed")
	v.refused(v.do("custody.transfer", "transfer/CT-000009", cust1, cust3, so), "is no transfer/")
	v.refused(v.do("custody.transfer", tr.Number, cust1, cust3, so), "is no transfer/")
	_, err := v.reg.PutTransfer(t.Context(), keys.Transfer{Number: tr.Number, Outgoing: cust2, Incoming: cust3, Things: []string{"item/envelope/E-2"}})
	v.refused(err, "it is that of person "+cust1)
	_, err = v.reg.PutTransfer(t.Context(), keys.Transfer{Number: "CT-000009", Outgoing: cust1, Incoming: cust3, Things: []string{"item/bag/B-1"}})
	v.refused(err, "is no transfer/")

	// What was sealed anew again is another act; so is a new passkey of the
	// incoming custodian.
	w, err := v.signed("custody.transfer", "transfer/"+tr.Number, cust1, cust3, so)
	v.must(err)
	tr.Sealed = map[string][]byte{refs[0]: v.reseal(cust1, refs[0], cust3)}
	_, err = v.reg.PutTransfer(t.Context(), tr)
	v.must(err)
	v.refused(v.deeds["custody.transfer"].Do(t.Context(), w), "when it was signed and is")
	params, err := v.deeds["custody.transfer"].Propose(t.Context(), "transfer/"+tr.Number)
	v.must(err)
	v.credential(cust3, func(c *passkey.Credential) {
		other, err := passkey.NewSoft("site.example", "https://site.example")
		v.must(err)
		c.Seal = other.Credential.Seal
	})
	now, err := v.deeds["custody.transfer"].Propose(t.Context(), "transfer/"+tr.Number)
	v.must(err)
	if params["sealed_to_sha256"] == now["sealed_to_sha256"] || params["sealed_to_sha256"] == "" {
		t.Error("the act does not say to which pair it was sealed")
	}
	v.credential(cust3, func(c *passkey.Credential) { c.Seal = nil })
	_, err = v.deeds["custody.transfer"].Propose(t.Context(), "transfer/"+tr.Number)
	v.refused(err, "the passkey cannot open what is sealed")
	v.credential(cust3, func(c *passkey.Credential) {
		c.Seal = &passkey.Sealing{Public: []byte("x"), Wrapped: make([]byte, 200)}
	})
	_, err = v.deeds["custody.transfer"].Propose(t.Context(), "transfer/"+tr.Number)
	v.refused(err, "not a SubjectPublicKeyInfo")
	if got := v.things(cust3); slices.Contains(got, refs[0]) {
		t.Error("something moved")
	}
}

// sealedOf is what is sealed of a part now.
func (v *vault) sealedOf(ref string) hsm.Given {
	v.Helper()
	all, err := v.reg.Held(v.Context(), cust1)
	v.must(err)
	for _, c := range all {
		if c.Ref() == ref {
			var part hsm.Component
			v.must(json.Unmarshal(c.Sealed, &part))
			return part.Given
		}
	}
	v.Fatal(ref)
	return nil
}

// credential changes a person's passkey in the database.
func (v *vault) credential(person string, change func(*passkey.Credential)) {
	v.Helper()
	who, err := v.people.Person(v.Context(), person)
	v.must(err)
	change(&who.Credential)
	doc, err := json.Marshal(who)
	v.must(err)
	v.change(func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE person SET document = $1 WHERE id = $2`, doc, person)
		return err
	})
}

// What somebody who left held is flagged; things are taken over, parts are not.
func TestLeft(t *testing.T) {
	v := newVault(t, "maker")
	v.key("transport/op/1", "op")
	refs := v.split("transport/op/1", "C-1", cust1, cust2)
	v.item(locker("L-1", cust1))
	v.item(keys.Item{Kind: keys.ItemEnvelope, Number: "E-1", Holder: cust1, Place: "safe", Holds: refs[0]})
	v.item(locker("L-4", cust4))
	if text := v.leave(cust3); text != "" {
		t.Error(text)
	}
	if text := v.leave(cust4); !strings.Contains(text, "1 things; whoever has them now takes them over") {
		t.Error(text)
	}
	if text := v.leave(cust1); !strings.Contains(text, "rotate these keys") || !strings.Contains(text, "transport/op/1") {
		t.Error(text)
	}
	events, err := v.reg.Events(t.Context(), "transport/op/1")
	v.must(err)
	if e := events[len(events)-1]; e.What != "custody.left-behind" || !strings.Contains(e.Text, "rotate the key") {
		t.Errorf("%+v", e)
	}
	all, err := v.reg.Findings(t.Context())
	v.must(err)
	n := 0
	for _, f := range all {
		if f.Subject == "key/transport/op/1" && strings.Contains(f.Text, "rotate the key") {
			n++
		}
	}
	if n != 1 || len(all) != 4 {
		t.Errorf("%+v", all)
	}
	// A custodian does not take it over by their word alone, and nobody the part.
	take := keys.Item{Kind: keys.ItemEnvelope, Number: "E-1", Holder: cust2, Place: "safe", Holds: refs[0]}
	v.refused(v.reg.PutItem(t.Context(), km, take), "nobody keeps another's part of a key")
	take = locker("L-1", cust2)
	v.must(v.reg.PutItem(t.Context(), cust2, take))
	v.refused(v.do("item.register", take.Ref(), cust2), "takes over what person "+cust1+" left")
	v.must(v.reg.PutItem(t.Context(), so, take))
	v.must(v.do("item.register", take.Ref(), so))
	got, err := v.reg.Item(t.Context(), take.Ref())
	v.must(err)
	if got.Holder != cust2 || len(got.Events) != 3 {
		t.Errorf("%+v", got)
	}
	if _, err := v.signed("custody.transfer", "transfer/CT-000001", cust1, cust2, so); err == nil {
		t.Error("somebody who left hands over")
	}
}
