package perso

import (
	"slices"
	"testing"
	"time"

	"ankan/store"
)

// What the pages of the line show is what the books say.
func TestPace(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 12, 2)
	f.chip("LOT-2", f.master)
	f.load(14)
	f.tray.order[3].fault, f.tray.order[5].fault = from(60, mute), from(60, broken)
	f.want("run", f.run(t.Context(), "A1", 3), ErrRejects)
	ctx := t.Context()
	c := f.counts("A1", 12)
	stations, err := ByStation(ctx, f.store, "A1")
	f.must(err)
	hours, err := ByHour(ctx, f.store, "A1")
	f.must(err)
	all, err := Since(ctx, f.store, "A1", time.Now().Add(-time.Hour))
	f.must(err)
	for name, list := range map[string][]Pace{"stations": stations, "hours": hours, "since": {all}} {
		good, reject := 0, 0
		for _, p := range list {
			good, reject = good+p.Good, reject+p.Reject
			if p.Last.Before(p.From.Add(-time.Hour)) || time.Since(p.Last) > time.Hour || p.Each < 0 || p.Each > time.Minute {
				t.Errorf("%s: %+v", name, p)
			}
		}
		if good != c.Good || reject != c.Reject || len(list) == 0 {
			t.Errorf("%s: %d good and %d rejects, the books have %+v", name, good, reject, c)
		}
	}
	if none, err := Since(ctx, f.store, "A1", time.Now().Add(time.Hour)); err != nil || none != (Pace{}) {
		t.Errorf("%+v, %v", none, err)
	}
	causes, err := Causes(ctx, f.store, "A1")
	f.must(err)
	slices.SortFunc(causes, func(a, b Cause) int {
		if a.Reason < b.Reason {
			return -1
		}
		return 1
	})
	if want := []Cause{{string(NoAnswer), 1, false}, {string(BadStatus), 1, false}, {string(WrongLot), 1, true}}; !slices.Equal(causes, want) {
		t.Errorf("%+v, want %+v", causes, want)
	}
	rejects, err := Listed(ctx, f.store, "A1", "reject", 0, 10)
	f.must(err)
	if len(rejects) != 2 || rejects[0].Tries != 3 || rejects[0].At.IsZero() {
		t.Fatalf("%+v", rejects)
	}
	every, err := Listed(ctx, f.store, "A1", "", 3, 5)
	f.must(err)
	if len(every) != 5 || every[0].Card != 3 {
		t.Errorf("%+v", every)
	}
	if ord, card, err := OfChip(ctx, f.store, rejects[0].Chip); err != nil || ord != "A1" || card != rejects[0].Card {
		t.Errorf("%s, %d, %v", ord, card, err)
	}
	if ord, _, err := OfChip(ctx, f.store, "0000000000000000"); err != nil || ord != "" {
		t.Errorf("%s, %v", ord, err)
	}
	f.destroy("A1")
	f.must(f.run(ctx, "A1", 3))
	tries, err := Tries(ctx, f.store, "A1", rejects[0].Card)
	f.must(err)
	if len(tries) != 2 || tries[0].State != "destroyed" || tries[1].State != "good" || tries[1].KeySet < 12 {
		t.Errorf("%+v", tries)
	}
}

func TestPresence(t *testing.T) {
	f := newPlant(t)
	for _, p := range []Presence{{Name: "st-b", Readers: 2, Version: "1", Here: true}, {Name: "st-a", Readers: 1, Here: true}, {Name: "st-b", Readers: 4, Version: "2"}} {
		f.must(f.change("test.station", func(tx *store.Tx) error { return PutPresence(tx, p) }))
	}
	all, err := Presences(t.Context(), f.store)
	f.must(err)
	if len(all) != 2 || all[0].Name != "st-a" || !all[0].Here || all[1].Readers != 4 || all[1].Here || all[1].At.IsZero() {
		t.Errorf("%+v", all)
	}
	f.must(f.change("test.start", NobodyHere))
	if all, err = Presences(t.Context(), f.store); err != nil || all[0].Here {
		t.Errorf("%+v, %v", all, err)
	}
}
