package keys_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"ankan/keys"
	"ankan/store"
)

func locker(number, holder string) keys.Item {
	return keys.Item{Kind: keys.ItemLocker, Number: number, Holder: holder, Place: "vault room"}
}

func TestItems(t *testing.T) {
	v := newVault(t, "maker")
	v.key("transport/op/1", "op")
	refs := v.split("transport/op/1", "C-1", cust1, cust2)
	v.item(locker("L-1", cust1))
	v.item(keys.Item{Kind: keys.ItemKey, Number: "K-1", Holder: cust1, Place: "on the person", Opens: "item/locker/L-1"})
	env := keys.Item{Kind: keys.ItemEnvelope, Number: "E-1", Holder: cust1, Place: "item/locker/L-1", Holds: refs[0]}
	v.item(env)
	v.wait(1, 0)
	env.Place = "desk of the count"
	v.item(env)

	got, err := v.reg.Item(t.Context(), "item/envelope/E-1")
	v.must(err)
	if got.Place != env.Place || got.Holds != refs[0] || got.State != keys.ItemHeld || got.Since.Day() != 23 || len(got.Events) != 2 || got.Events[1].Actor != "person/"+cust1 || got.Events[1].Entry == 0 {
		t.Errorf("%+v", got)
	}
	if all, err := v.reg.Items(t.Context(), keys.ItemFilter{Holder: cust1, Text: "l-1"}); err != nil || len(all) != 2 {
		t.Error(all, err)
	}
	if all, err := v.reg.Items(t.Context(), keys.ItemFilter{Kind: keys.ItemBag}); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
	if _, err := v.reg.Item(t.Context(), "item/bag/B-9"); !errors.Is(err, keys.ErrNoItem) {
		t.Error(err)
	}
	want := []string{refs[0], "item/envelope/E-1", "item/locker/L-1", "item/physical-key/K-1"}
	if got := v.things(cust1); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("things %v, want %v", got, want)
	}
	// What somebody else registered is told to its holder.
	v.item(keys.Item{Kind: keys.ItemCard, Number: "S-1", Holder: ha, Place: "safe"})
	if v.unread(ha, "item.register") != 1 || v.unread(cust1, "item.register") != 0 {
		t.Error("the holder was not told")
	}
}

func TestItemsRefused(t *testing.T) {
	v := newVault(t, "maker")
	v.key("transport/op/1", "op")
	refs := v.split("transport/op/1", "C-1", cust1, cust2)
	v.item(locker("L-1", cust1))
	v.item(locker("L-2", cust2))
	v.item(keys.Item{Kind: keys.ItemRack, Number: "R-1", Place: "HSM room"})
	v.item(keys.Item{Kind: keys.ItemKey, Number: "RK-1", Holder: km, Place: "safe", Opens: "item/rack/R-1"})
	v.item(keys.Item{Kind: keys.ItemKey, Number: "RK-2", Holder: ha, Place: "safe", Opens: "item/rack/R-1"})
	v.item(keys.Item{Kind: keys.ItemKey, Number: "K-1", Holder: cust1, Place: "safe", Opens: "item/locker/L-1"})
	v.item(keys.Item{Kind: keys.ItemBag, Number: "B-1", Holder: cust1, Place: "item/locker/L-1", Holds: refs[0]})
	v.item(keys.Item{Kind: keys.ItemEnvelope, Number: "E-1", Holder: cust1, Place: "safe"})
	v.item(keys.Item{Kind: keys.ItemEnvelope, Number: "E-2", Holder: cust1, Place: "item/envelope/E-1"})
	v.item(keys.Item{Kind: keys.ItemSeal, Number: "gone", Holder: cust1, Place: "safe"})
	v.must(v.do("item.retire", "item/seal/gone/broken", cust1, so))
	for _, tt := range []struct {
		i    keys.Item
		want string
	}{
		{keys.Item{Kind: "sofa", Number: "1", Holder: cust1, Place: "room"}, "is not item/KIND/NUMBER"},
		{keys.Item{Kind: keys.ItemBag, Number: "1/2", Holder: cust1, Place: "room"}, "item number is"},
		{keys.Item{Kind: keys.ItemBag, Number: "", Holder: cust1, Place: "room"}, "is not item/KIND/NUMBER"},
		{keys.Item{Kind: keys.ItemBag, Number: strings.Repeat("1", 41), Holder: cust1, Place: "room"}, "is not item/KIND/NUMBER"},
		{keys.Item{Kind: keys.ItemBag, Number: "B-2", Place: "room"}, "holder: person number"},
		{keys.Item{Kind: keys.ItemBag, Number: "B-2", Holder: "9999", Place: "room"}, "no such person"},
		{keys.Item{Kind: keys.ItemBag, Number: "B-2", Holder: cust1}, "place is"},
		{keys.Item{Kind: keys.ItemBag, Number: "B-2", Holder: cust1, Place: "a\nb"}, "place is"},
		{keys.Item{Kind: keys.ItemBag, Number: "B-2", Holder: cust1, Place: " a"}, "place is"},
		{keys.Item{Kind: keys.ItemBag, Number: "B-2", Holder: cust1, Place: "item/sofa/1"}, "names no item"},
		{keys.Item{Kind: keys.ItemBag, Number: "B-2", Holder: cust1, Place: "item/locker/L-1/x"}, "names no item"},
		{keys.Item{Kind: keys.ItemBag, Number: "B-2", Holder: cust1, Place: "item/physical-key/K-1"}, "nothing lies in a physical-key"},
		{keys.Item{Kind: keys.ItemBag, Number: "B-2", Holder: cust1, Place: "item/bag/B-2"}, "cannot lie in itself"},
		{keys.Item{Kind: keys.ItemBag, Number: "B-2", Holder: cust1, Place: "item/locker/L-9"}, "no such item"},
		{keys.Item{Kind: keys.ItemEnvelope, Number: "E-1", Holder: cust1, Place: "item/envelope/E-2"}, "item/envelope/E-2 lies in it"},
		{keys.Item{Kind: keys.ItemLocker, Number: "L-3", Holder: cust1, Place: "item/locker/L-1"}, "stands in a room"},
		{keys.Item{Kind: keys.ItemKey, Number: "K-2", Holder: cust1, Place: "safe"}, "want a locker or a rack"},
		{keys.Item{Kind: keys.ItemKey, Number: "K-2", Holder: cust1, Place: "safe", Opens: "item/bag/B-1"}, "want a locker or a rack"},
		{keys.Item{Kind: keys.ItemKey, Number: "K-2", Holder: cust1, Place: "safe", Opens: "item/locker/L-9"}, "no such item"},
		{keys.Item{Kind: keys.ItemBag, Number: "B-2", Holder: cust1, Place: "safe", Opens: "item/locker/L-1"}, "a bag opens nothing"},
		{keys.Item{Kind: keys.ItemKey, Number: "K-2", Holder: cust1, Place: "safe", Opens: "item/locker/L-1", Holds: refs[0]}, "holds no part of a key"},
		{keys.Item{Kind: keys.ItemBag, Number: "B-2", Holder: cust1, Place: "safe", Holds: "copy/module/1/x/k"}, "is not copy/KIND/NUMBER"},
		{keys.Item{Kind: keys.ItemBag, Number: "B-2", Holder: cust1, Place: "safe", Holds: "copy/component/01/C-1/transport/op/1"}, "is not copy/KIND/NUMBER"},
		{keys.Item{Kind: keys.ItemBag, Number: "B-2", Holder: cust1, Place: "safe", Holds: "copy/component/3/C-1/transport/op/1"}, "has no such part of a key"},
		{keys.Item{Kind: keys.ItemBag, Number: "B-2", Holder: cust1, Place: "safe", Holds: refs[1]}, "nobody keeps another's part"},
		{keys.Item{Kind: keys.ItemRack, Number: "R-2", Holder: km, Place: "HSM room"}, "a rack has no holder"},
		// One custodian, and nobody else, gets at a locker (SOP 6.4.e.iv).
		{locker("L-3", km), "its one holder is a custodian"},
		{locker("L-3", green), "takes the training"},
		{locker("L-1", cust2), "what changes hands is handed over"},
		{keys.Item{Kind: keys.ItemBag, Number: "B-2", Holder: cust1, Place: "item/locker/L-2"}, "access to it is not shared"},
		{keys.Item{Kind: keys.ItemKey, Number: "K-2", Holder: cust2, Place: "safe", Opens: "item/locker/L-1"}, "access to it is not shared"},
		{keys.Item{Kind: keys.ItemKey, Number: "K-1", Holder: cust1, Place: "safe", Opens: "item/locker/L-2"}, "it opens item/locker/L-1"},
		// The two keys of a rack are in two hands (SOP 6.4.e.ii).
		{keys.Item{Kind: keys.ItemKey, Number: "RK-3", Holder: cust1, Place: "safe", Opens: "item/rack/R-1"}, "with key manager and HSM administrator"},
		{keys.Item{Kind: keys.ItemKey, Number: "RK-3", Holder: km, Place: "safe", Opens: "item/rack/R-1"}, "its two keys are in two hands"},
		// A number is used once, ever.
		{keys.Item{Kind: keys.ItemSeal, Number: "gone", Holder: cust1, Place: "safe"}, "never used again"},
		{keys.Item{Kind: keys.ItemBag, Number: "B-1", Holder: cust1, Place: "safe"}, "and is used once"},
	} {
		v.refused(v.reg.PutItem(t.Context(), cust1, tt.i), tt.want)
	}

	// Who asks for what.
	i := keys.Item{Kind: keys.ItemBag, Number: "B-2", Holder: cust1, Place: "safe"}
	v.refused(v.do("item.register", i.Ref(), cust1), "nothing was written down")
	v.must(v.reg.PutItem(t.Context(), cust1, i))
	v.refused(v.do("item.register", i.Ref(), km), "person 1004 wrote it down")
	v.must(v.reg.PutItem(t.Context(), cust2, i))
	v.refused(v.do("item.register", i.Ref(), cust2), "a custodian registers what they hold themselves")
	// A draft that was changed since it was signed is another act.
	v.must(v.reg.PutItem(t.Context(), cust1, i))
	w, err := v.signed("item.register", i.Ref(), cust1)
	v.must(err)
	i.Place = "elsewhere"
	v.must(v.reg.PutItem(t.Context(), cust1, i))
	v.refused(v.deeds["item.register"].Do(t.Context(), w), "when it was signed and is")
	// What became impossible since it was signed is not done.
	other := keys.Item{Kind: keys.ItemBag, Number: "B-3", Holder: cust1, Place: "item/envelope/E-2"}
	v.must(v.reg.PutItem(t.Context(), cust1, other))
	w, err = v.signed("item.register", other.Ref(), cust1)
	v.must(err)
	v.must(v.do("item.retire", "item/envelope/E-2/torn", cust1, so))
	v.refused(v.deeds["item.register"].Do(t.Context(), w), "item/envelope/E-2 is gone")
}

func TestRetire(t *testing.T) {
	v := newVault(t, "maker")
	v.key("transport/op/1", "op")
	refs := v.split("transport/op/1", "C-1", cust1, cust2)
	v.item(locker("L-1", cust1))
	v.item(keys.Item{Kind: keys.ItemKey, Number: "K-1", Holder: cust1, Place: "safe", Opens: "item/locker/L-1"})
	v.item(keys.Item{Kind: keys.ItemEnvelope, Number: "E-1", Holder: cust1, Place: "item/locker/L-1", Holds: refs[0]})
	v.item(keys.Item{Kind: keys.ItemRack, Number: "R-1", Place: "HSM room"})
	v.must(v.do("rack.open", "rack/R-1/new fan", km, ha))
	for subject, want := range map[string]string{
		"item/locker/L-1":          "is not item/KIND/NUMBER/REASON",
		"item/locker/L-9/old":      "no such item",
		"item/locker/L-1/old":      "lies in it or opens it",
		"item/envelope/E-1/old":    "holds " + refs[0],
		"item/rack/R-1/old":        "it is open",
		"item/rack/R-1/" + "\x00a": "reason is",
	} {
		v.refused(v.do("item.retire", subject, cust1, so), want)
	}
	v.change(func(tx *store.Tx) error {
		all, err := v.reg.Copies(t.Context(), "transport/op/1")
		v.must(err)
		for _, c := range all {
			if c.Ref() == refs[0] {
				return keys.CopyGone(tx, c)
			}
		}
		return fmt.Errorf("no %s", refs[0])
	})
	for _, subject := range []string{"item/envelope/E-1/its part is destroyed", "item/physical-key/K-1/lost", "item/locker/L-1/sold"} {
		v.must(v.do("item.retire", subject, cust1, so))
	}
	v.refused(v.do("item.retire", "item/locker/L-1/sold", cust1, so), "it is gone already")
	v.must(v.do("rack.close", "rack/R-1", ha))
	v.must(v.do("item.retire", "item/rack/R-1/sold", km, so))
	v.refused(v.do("rack.open", "rack/R-1/again", km, ha), "it is gone")
	got, err := v.reg.Item(t.Context(), "item/locker/L-1")
	v.must(err)
	if got.State != keys.ItemGone || got.Gone.IsZero() || got.Events[1].Text != "sold" {
		t.Errorf("%+v", got)
	}
	v.item(locker("L-2", cust1))
	v.item(keys.Item{Kind: keys.ItemBag, Number: "B-1", Holder: cust1, Place: "item/locker/L-2"})
	v.must(v.do("item.retire", "item/bag/B-1/torn", cust1, so))
	v.must(v.do("item.retire", "item/locker/L-2/sold", cust1, so))
	v.refused(v.reg.PutItem(t.Context(), cust1, keys.Item{Kind: keys.ItemSeal, Number: "S-1", Holder: cust1, Place: "item/locker/L-2"}), "item/locker/L-2 is gone")
	v.refused(v.reg.PutItem(t.Context(), cust1, keys.Item{Kind: keys.ItemKey, Number: "K-2", Holder: cust1, Place: "safe", Opens: "item/locker/L-2"}), "item/locker/L-2 is gone")
}

// What a person holds fits into one count.
func TestMost(t *testing.T) {
	v := newVault(t, "maker")
	v.change(func(tx *store.Tx) error {
		for n := range 150 {
			if _, err := tx.Exec(`INSERT INTO item (kind, number, holder, place, state, since) VALUES ('bag', $1, $2, 'box', 'held', '2026-11-23T09:00:00Z')`, fmt.Sprint("B-", n), cust1); err != nil {
				return err
			}
		}
		return nil
	})
	v.refused(v.reg.PutItem(t.Context(), cust1, keys.Item{Kind: keys.ItemBag, Number: "one-more", Holder: cust1, Place: "box"}), "150 at most fit into one count")
	v.must(v.count(cust1))
}

func TestRacks(t *testing.T) {
	v := newVault(t, "maker")
	v.item(keys.Item{Kind: keys.ItemRack, Number: "R-1", Place: "HSM room"})
	v.item(keys.Item{Kind: keys.ItemKey, Number: "RK-1", Holder: km, Place: "safe", Opens: "item/rack/R-1"})
	for subject, want := range map[string]string{
		"rack/R-1":      "is not rack/NUMBER/REASON",
		"box/R-1/fan":   "is not rack/NUMBER/REASON",
		"rack/R 1/fan":  "is not rack/NUMBER/REASON",
		"rack/R-1/ fan": "reason is",
		"rack/R-9/fan":  "no such item",
	} {
		v.refused(v.do("rack.open", subject, km, ha), want)
	}
	v.refused(v.do("rack.close", "rack/R-1", km), "it is not open")
	v.refused(v.do("rack.close", "R-1", km), "is not rack/")
	v.refused(v.do("rack.open", "rack/R-1/new fan", km, so), "not allowed") // dual control is of these two
	v.must(v.do("rack.open", "rack/R-1/new fan", km, ha))
	v.refused(v.do("rack.open", "rack/R-1/again", km, ha), "it is open since")
	all, err := v.reg.Racks(t.Context())
	v.must(err)
	if len(all) != 1 || !all[0].Open || len(all[0].Keys) != 1 || strings.Join(all[0].Openings[0].By, " ") != km+" "+ha || all[0].Openings[0].Why != "new fan" || all[0].Place != "HSM room" {
		t.Fatalf("%+v", all)
	}
	if v.unread(so, "rack.open") != 1 {
		t.Error("the officer does not know")
	}
	// After an hour people are told, once.
	v.wait(0, 59)
	v.must(v.reg.Remind(t.Context()))
	if n := v.unread(so, "rack.left-open"); n != 0 {
		t.Errorf("told %d times before an hour", n)
	}
	for range 3 {
		v.wait(0, 2)
		v.must(v.reg.Remind(t.Context()))
	}
	for _, who := range []string{km, ha, so} {
		if n := v.unread(who, "rack.left-open"); n != 1 {
			t.Errorf("person %s was told %d times", who, n)
		}
	}
	if f, err := v.reg.Findings(t.Context()); err != nil || len(f) != 1 || f[0].Subject != "rack/R-1" {
		t.Error(f, err)
	}
	v.must(v.do("rack.close", "rack/R-1", ha))

	// A ceremony opens and closes it too, once each.
	for range 2 {
		v.change(func(tx *store.Tx) error { return keys.RackOpened(tx, "HSM room", "C-1", []string{km, ha}) })
	}
	v.refused(v.do("rack.open", "rack/R-1/again", km, ha), "ceremony/C-1")
	for range 2 {
		v.change(func(tx *store.Tx) error { return keys.RackClosed(tx, "HSM room", "C-1", []string{km, ha}) })
	}
	// In a room where the register knows no rack, the room stands for it.
	v.change(func(tx *store.Tx) error { return keys.RackOpened(tx, "cellar/2", "C-2", []string{km, ha}) })
	all, err = v.reg.Racks(t.Context())
	v.must(err)
	if len(all) != 2 || all[0].Open || len(all[0].Openings) != 2 || all[0].Openings[0].Closer != km+","+ha || !all[1].Open || all[1].Rack != "room/cellar/2" || all[1].Place != "cellar/2" {
		t.Errorf("%+v", all)
	}
	v.must(v.do("rack.close", "rack/room/cellar/2", km))
	v.change(func(tx *store.Tx) error { return keys.RackClosed(tx, "cellar/2", "C-2", []string{km, ha}) })
	got, err := v.reg.Item(t.Context(), "item/rack/R-1")
	v.must(err)
	var what []string
	for _, e := range got.Events {
		what = append(what, e.What)
	}
	if strings.Join(what, " ") != "item.register rack.open rack.close rack.open rack.close" {
		t.Error(what)
	}
}
