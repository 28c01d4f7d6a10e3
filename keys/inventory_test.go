package keys_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"ankan/act"
	"ankan/audit"
	"ankan/keys"
	"ankan/store"
)

func TestInventory(t *testing.T) {
	v := newVault(t, "maker")
	v.key("transport/op/1", "op")
	refs := v.split("transport/op/1", "C-1", cust1, cust2)
	v.item(locker("L-1", cust1))
	v.item(keys.Item{Kind: keys.ItemEnvelope, Number: "E-1", Holder: cust1, Place: "item/locker/L-1", Holds: refs[0]})

	v.refused(v.do("custody.inventory", "inventory/"+cust1, cust1, so), "nothing was written down")
	v.refused(v.do("custody.inventory", "person/"+cust1, cust1, so), "is not inventory/PERSON")
	v.refused(v.do("custody.inventory", "inventory/x y", cust1, so), "is not inventory/PERSON")
	v.refused(v.reg.PutCount(t.Context(), cust3, map[string]bool{}), "they hold nothing")
	v.refused(v.reg.PutCount(t.Context(), cust1, map[string]bool{refs[0]: true}), "says nothing of item/envelope/E-1")
	v.refused(v.reg.PutCount(t.Context(), cust1, map[string]bool{refs[0]: true, "item/envelope/E-1": true, "item/locker/L-1": true, refs[1]: true}), "is not what they hold")

	// The register changed between the count and its record.
	v.must(v.reg.PutCount(t.Context(), cust1, map[string]bool{refs[0]: true, "item/envelope/E-1": true, "item/locker/L-1": true}))
	v.item(keys.Item{Kind: keys.ItemBag, Number: "B-1", Holder: cust1, Place: "item/locker/L-1"})
	v.refused(v.do("custody.inventory", "inventory/"+cust1, cust1, so), "says nothing of item/bag/B-1")
	v.must(v.reg.PutCount(t.Context(), cust1, map[string]bool{refs[0]: true, "item/envelope/E-1": true, "item/locker/L-1": true, "item/bag/B-1": true}))
	v.refused(v.do("custody.inventory", "inventory/"+cust1, cust2, so), "nobody counts for another")
	v.refused(v.do("custody.inventory", "inventory/"+cust1, cust1, km), "not allowed") // before the security department

	v.wait(1, 0)
	v.must(v.count(cust1, refs[0], "item/bag/B-1"))
	all, err := v.reg.Inventories(t.Context(), cust1)
	v.must(err)
	if len(all) != 1 || all[0].Officer != so || all[0].Missing != 2 || len(all[0].Things) != 4 || all[0].Act == "" {
		t.Fatalf("%+v", all)
	}
	// What is missing is flagged; the state of the key stays.
	k, err := v.reg.Key(t.Context(), "transport/op/1")
	v.must(err)
	bag, err := v.reg.Item(t.Context(), "item/bag/B-1")
	v.must(err)
	if k.State != keys.Live || bag.State != keys.ItemMissing || bag.Missing.IsZero() {
		t.Errorf("key %s, bag %+v", k.State, bag)
	}
	for _, who := range []string{km, so, ha, nodal} {
		if v.unread(who, "custody.missing") != 1 {
			t.Errorf("person %s was not told", who)
		}
	}
	f, err := v.reg.Findings(t.Context())
	v.must(err)
	if len(f) != 2 || !strings.Contains(f[0].Text+f[1].Text, "missing") {
		t.Errorf("%+v", f)
	}
	// Missing things are counted again, neither moved nor changed, and found.
	v.refused(v.reg.PutItem(t.Context(), cust1, keys.Item{Kind: keys.ItemBag, Number: "B-1", Holder: cust1, Place: "safe"}), "it is missing; the next count finds it")
	_, err = v.reg.PutTransfer(t.Context(), keys.Transfer{Outgoing: cust1, Incoming: cust3, Things: []string{"item/bag/B-1"}})
	v.refused(err, "is missing since")
	v.wait(1, 0)
	v.must(v.count(cust1, "item/bag/B-1"))
	v.wait(0, 1)
	v.must(v.count(cust1))
	if f, err := v.reg.Findings(t.Context()); err != nil || len(f) != 0 {
		t.Errorf("%+v %v", f, err)
	}
	events, err := v.reg.Events(t.Context(), "transport/op/1")
	v.must(err)
	var what []string
	for _, e := range events {
		what = append(what, e.What)
	}
	if s := strings.Join(what, " "); !strings.HasSuffix(s, "custody.missing custody.found") {
		t.Error(s)
	}
	if all, err := v.reg.Inventories(t.Context(), ""); err != nil || len(all) != 3 || all[0].Missing != 0 || !all[0].At.After(all[1].At) {
		t.Errorf("%+v %v", all, err)
	}
	if v.unread(km, "custody.missing") != 2 {
		t.Error("a count without a loss was told, or one with a loss was not")
	}
}

// Who holds something for the first time owes a count one period later, and
// then one each period.
func TestOwes(t *testing.T) {
	v := newVault(t, "maker")
	owes := func(person, want string) {
		t.Helper()
		if got, err := v.reg.Owes(t.Context(), person); err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", v.now().Format("2006-01-02"), got, err, want)
		}
	}
	v.wait(200, 0)
	owes(cust1, "")
	v.item(locker("L-1", cust1)) // 2027-06-11
	v.item(keys.Item{Kind: keys.ItemCard, Number: "S-1", Holder: ha, Place: "safe"})
	v.wait(91, 0)
	owes(cust1, "")
	v.wait(1, 0)
	owes(cust1, "it was due 2027-09-11")
	if all, err := v.reg.Overdue(t.Context()); err != nil || len(all) != 1 || all[0].Person != cust1 || all[0].Things != 1 || !all[0].Over {
		t.Errorf("%+v %v", all, err) // who is no custodian counts nothing
	}
	v.must(v.count(cust1))
	owes(cust1, "")
	v.wait(91, 0)
	owes(cust1, "")
	v.wait(1, 0)
	owes(cust1, "it was due 2027-12-12")
	// A gap in which they held nothing begins anew.
	v.must(v.do("item.retire", "item/locker/L-1/sold", cust1, so))
	owes(cust1, "")
	v.item(locker("L-2", cust1))
	owes(cust1, "")
	if all, err := v.reg.Dues(t.Context()); err != nil || len(all) != 1 || all[0].Over {
		t.Errorf("%+v %v", all, err)
	}
	// A policy without the period asks for no counts.
	v.wait(92, 0)
	owes(cust1, "it was due 2028-03-13")
	v.change(func(tx *store.Tx) error {
		var doc []byte
		if err := tx.QueryRow(`SELECT document FROM policy`).Scan(&doc); err != nil {
			return err
		}
		_, err := tx.Exec(`UPDATE policy SET document = $1`, bytes.Replace(doc, []byte(`"inventory":92`), []byte(`"inventory":0`), 1))
		return err
	})
	owes(cust1, "")
}

// Custodian and officer hear of it within 14 days, and then once a week.
func TestRemind(t *testing.T) {
	v := newVault(t, "maker")
	v.item(locker("L-1", cust1))
	told := func(want int) {
		t.Helper()
		for range 3 {
			v.must(v.reg.Remind(t.Context()))
		}
		for _, who := range []string{cust1, so} {
			if n := v.unread(who, "custody.due"); n != want {
				t.Errorf("%s: person %s was told %d times, want %d", v.now().Format("2006-01-02"), who, n, want)
			}
		}
	}
	v.wait(77, 0)
	told(0)
	v.wait(1, 0)
	told(1)
	v.wait(6, 0)
	told(1)
	v.wait(1, 0)
	told(2)
	v.wait(7, 0) // over
	told(3)
	v.must(v.count(cust1))
	v.wait(30, 0)
	told(3)
	if v.unread(km, "custody.due") != 0 {
		t.Error("the key manager was told")
	}
	n := 0
	all, err := v.store.Entries(t.Context(), 0, int(v.store.Size()))
	v.must(err)
	for _, e := range all {
		if e.Kind == "custody.reminded" {
			n++
		}
	}
	if n != 3 {
		t.Errorf("%d entries, want 3", n)
	}
}

// Keys are read with their partners, and with times that are alike.
func TestKeys(t *testing.T) {
	v := newVault(t, "maker")
	v.key("b", "op")
	v.key("a", "op")
	v.key("c", "")
	v.change(func(tx *store.Tx) error { return keys.PutLink(tx, "a", "partner/other", 0) })
	v.change(func(tx *store.Tx) error { return keys.PutLink(tx, "a", "order/7", 1) })
	all, n, err := v.reg.Keys(t.Context(), keys.Filter{Purpose: "transport", Limit: 2})
	v.must(err)
	if n != 3 || len(all) != 2 || strings.Join(all[0].Parties, " ") != "op other" || strings.Join(all[1].Parties, " ") != "op" || all[0].Made.IsZero() || !all[0].Made.Equal(all[0].Activated) {
		t.Errorf("%d %+v", n, all)
	}
	if all, n, err = v.reg.Keys(t.Context(), keys.Filter{Partner: "other", State: "active", Text: "A"}); err != nil || n != 1 || all[0].ID != "a" {
		t.Error(all, n, err)
	}
	if all, n, err = v.reg.Keys(t.Context(), keys.Filter{Text: "zzz"}); err != nil || n != 0 || len(all) != 0 {
		t.Error(all, n, err)
	}
}

// Whatever a subject is, proposing it refuses or says something, and changes
// nothing.
func FuzzSubjects(f *testing.F) {
	v := newVault(f, "maker")
	v.key("transport/op/1", "op")
	v.split("transport/op/1", "C-1", cust1, cust2)
	v.item(keys.Item{Kind: keys.ItemRack, Number: "R-1", Place: "HSM room"})
	v.item(locker("L-1", cust1))
	for _, s := range []string{"item/locker/L-1", "item/locker/L-1/sold", "rack/R-1/fan", "rack/R-1", "rack/room/x", "inventory/1004", "transfer/CT-000001",
		"form/maker/KTF-000001", "item//", "item/locker/", "rack//", "form/op/KTF-1", "form/x/y/z", "", "/", "item/bag/\x00/\xff"} {
		f.Add(s)
	}
	mine := []string{"item.register", "item.retire", "rack.open", "rack.close", "custody.inventory", "custody.transfer", "form.issue", "form.receive", "form.close"}
	f.Fuzz(func(t *testing.T, subject string) {
		size := v.store.Size()
		for _, kind := range mine {
			m, err := v.deeds[kind].Propose(t.Context(), subject)
			if err == nil && (len(m) == 0 || !slices.ContainsFunc([]string{"item.", "rack."}, func(p string) bool { return strings.HasPrefix(kind, p) })) {
				t.Errorf("%s of %q says %v", kind, subject, m)
			}
			if err == nil {
				a := act.Act{Params: m, Kind: kind, Subject: subject}
				if _, err := (audit.Entry{Kind: kind, Time: v.now(), Actor: "test", Subject: subject, Data: map[string]any{"act": string(a.Canonical())}}).Leaf(); err != nil {
					t.Errorf("%s of %q cannot be logged: %v", kind, subject, err)
				}
			}
		}
		if v.store.Size() != size {
			t.Errorf("%q left entries", subject)
		}
		kind, number, reason, err := keys.ParseItem(subject)
		if back := "item/" + kind + "/" + number; err == nil && subject != back && subject != back+"/"+reason {
			t.Errorf("%q reads as %s with %q", subject, back, reason)
		}
		site, number, err := keys.ParseForm(subject)
		if err == nil && (keys.Sheet{Site: site, Number: number}).Ref() != subject {
			t.Errorf("%q reads as %s %s", subject, site, number)
		}
		i := keys.Item{Kind: keys.ItemEnvelope, Number: "1", Holder: cust1, Place: "x", Holds: subject}
		if err := i.Check(); err == nil && subject != "" && !strings.HasPrefix(subject, "copy/") {
			t.Errorf("an envelope holds %q", subject)
		}
	})
}
