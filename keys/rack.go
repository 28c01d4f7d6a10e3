package keys

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"ankan/act"
	"ankan/custody"
	"ankan/notice"
	"ankan/store"
)

// The rack of the security module opens with two keys, of key manager and HSM
// administrator, and each opening is recorded (SOP 6.4.e.ii).

// rackOpenMost is how long a rack is open before people are told.
const rackOpenMost = 60 * time.Minute

// An Opening is one time that a rack was open.
type Opening struct {
	ID     int64     `json:"id"`
	Rack   string    `json:"rack"` // its number; room/ROOM if the register knows no rack there
	Opened time.Time `json:"opened"`
	By     []string  `json:"by"`  // persons
	Why    string    `json:"why"` // reason, or ceremony/ID
	Closed time.Time `json:"closed,omitzero"`
	Closer string    `json:"closer,omitempty"` // persons
}

func openings(q store.Querier, where string, args ...any) ([]Opening, error) {
	return store.Collect(q, func(rows *sql.Rows) (o Opening, err error) {
		var opened, by, closed string
		if err = rows.Scan(&o.ID, &o.Rack, &opened, &by, &o.Why, &closed, &o.Closer); err == nil {
			o.By = strings.Split(by, ",")
			err = stamps([]string{opened, closed}, &o.Opened, &o.Closed)
		}
		return o, err
	}, `SELECT id, rack, opened, by, why, closed, closer FROM rack_opening WHERE `+where+` ORDER BY id DESC`, args...)
}

// A RackNow is a rack and what became of it.
type RackNow struct {
	Rack     string    `json:"rack"` // as Opening.Rack
	Place    string    `json:"place"`
	Open     bool      `json:"open"`
	Keys     []Item    `json:"keys"`
	Openings []Opening `json:"openings"` // newest first
}

// Racks are the racks of the register, and those that a ceremony opened in a
// room where it knows none.
func (r *Register) Racks(ctx context.Context) ([]RackNow, error) {
	return look(ctx, r, func(q view) ([]RackNow, error) {
		var all []RackNow
		known, err := items(q, `kind = 'rack' AND state <> 'gone'`)
		if err != nil {
			return nil, err
		}
		for _, i := range known {
			all = append(all, RackNow{Rack: i.Number, Place: i.Place})
		}
		rooms, err := openings(q, `rack LIKE 'room/%' AND id IN (SELECT max(id) FROM rack_opening GROUP BY rack)`)
		if err != nil {
			return nil, err
		}
		for _, o := range rooms {
			all = append(all, RackNow{Rack: o.Rack, Place: strings.TrimPrefix(o.Rack, "room/")})
		}
		for i := range all {
			k := &all[i]
			if k.Openings, err = openings(q, `rack = $1`, k.Rack); err != nil {
				return nil, err
			}
			k.Open = len(k.Openings) > 0 && k.Openings[0].Closed.IsZero()
			if k.Keys, err = items(q, `opens = $1 AND state <> 'gone'`, "item/rack/"+k.Rack); err != nil {
				return nil, err
			}
		}
		return all, nil
	})
}

// checkRackOpen is about rack/NUMBER/REASON.
func (r *Register) checkRackOpen(_ context.Context, q view, subject string) (number string, m map[string]string, err error) {
	rest, ok := strings.CutPrefix(subject, "rack/")
	number, reason, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 || !itemNumber.MatchString(number) {
		return "", nil, fmt.Errorf("subject %.100q is not rack/NUMBER/REASON", subject)
	}
	if err := checkText("reason", reason, 500); err != nil {
		return "", nil, err
	}
	i, err := itemOf(q, "item/rack/"+number)
	if err != nil {
		return "", nil, err
	}
	if i.State != ItemHeld {
		return "", nil, fmt.Errorf("rack %s: %w: it is %s", number, act.ErrNotAllowed, i.State)
	}
	open, err := openings(q, `rack = $1 AND closed = ''`, number)
	if err != nil {
		return "", nil, err
	}
	if len(open) > 0 {
		return "", nil, fmt.Errorf("rack %s: %w: it is open since %s: %s", number, act.ErrNotAllowed, store.Stamp(open[0].Opened), open[0].Why)
	}
	keys, err := items(q, `opens = $1 AND state <> 'gone'`, i.Ref())
	if err != nil {
		return "", nil, err
	}
	m = map[string]string{"rack": number, "place": i.Place, "reason": reason}
	for n, k := range keys {
		m[fmt.Sprintf("key_%d", n+1)] = k.Number + " of person " + k.Holder
	}
	return number, m, nil
}

func (r *Register) doRackOpen(ctx context.Context, tx *store.Tx, w custody.Warrant, number string) error {
	second, err := approver(ctx, tx, w, hsmAdmin)
	if err != nil {
		return err
	}
	a := w.Act()
	if err := opened(tx, number, a.Params["reason"], []string{a.Requester, second}); err != nil {
		return err
	}
	return notice.TellHolders(ctx, tx, notice.Notice{Kind: a.Kind, Subject: "rack/" + number, Link: "/racks",
		Text: fmt.Sprintf("Rack %s was opened by persons %s and %s: %q.", number, a.Requester, second, a.Params["reason"])}, officer)
}

// opened writes that a rack is open from here on.
func opened(tx *store.Tx, rack, why string, by []string) error {
	_, err := tx.Exec(`INSERT INTO rack_opening (rack, opened, by, why) VALUES ($1, $2, $3, $4)`, rack, store.Stamp(tx.Time()), strings.Join(by, ","), why)
	if err != nil || strings.HasPrefix(rack, "room/") {
		return err
	}
	return itemHappened(tx, Item{Kind: ItemRack, Number: rack}, "person/"+by[0], "rack.open", why+", with "+strings.Join(by[1:], ", "))
}

// closed writes that it is not any more.
func closed(tx *store.Tx, o Opening, by []string) error {
	_, err := tx.Exec(`UPDATE rack_opening SET closed = $1, closer = $2 WHERE id = $3`, store.Stamp(tx.Time()), strings.Join(by, ","), o.ID)
	if err != nil || strings.HasPrefix(o.Rack, "room/") {
		return err
	}
	return itemHappened(tx, Item{Kind: ItemRack, Number: o.Rack}, "person/"+by[0], "rack.close", "")
}

// checkRackClose is about rack/NUMBER, or rack/room/ROOM.
func (r *Register) checkRackClose(_ context.Context, q view, subject string) (o Opening, m map[string]string, err error) {
	rack, ok := strings.CutPrefix(subject, "rack/")
	if !ok {
		return o, nil, fmt.Errorf("subject %.100q is not rack/…", subject)
	}
	open, err := openings(q, `rack = $1 AND closed = ''`, rack)
	if err != nil {
		return o, nil, err
	}
	if len(open) == 0 {
		return o, nil, fmt.Errorf("rack %.130s: %w: it is not open", rack, act.ErrNotAllowed)
	}
	o = open[0]
	return o, map[string]string{"rack": rack, "opened": store.Stamp(o.Opened), "opened_by": strings.Join(o.By, ", "), "why": o.Why}, nil
}

func (r *Register) doRackClose(_ context.Context, tx *store.Tx, w custody.Warrant, o Opening) error {
	return closed(tx, o, []string{w.Act().Requester})
}

// rackIn is the rack of a room: the one that the register has there, or else
// the room's.
func rackIn(q store.Querier, room string) (string, error) {
	there, err := items(q, `kind = 'rack' AND place = $1 AND state <> 'gone'`, room)
	if err == nil && len(there) == 1 {
		return there[0].Number, nil
	}
	return "room/" + room, err
}

// RackOpened records that people opened the rack of a room in a ceremony, in
// the change in which they say so. One that is open already stays so.
func RackOpened(tx *store.Tx, room, ceremony string, by []string) error {
	rack, err := rackIn(tx, room)
	if err != nil {
		return err
	}
	open, err := openings(tx, `rack = $1 AND closed = ''`, rack)
	if err != nil || len(open) > 0 {
		return err
	}
	return opened(tx, rack, "ceremony/"+ceremony, by)
}

// RackClosed is said at RackOpened. A rack that somebody closed before stays so.
func RackClosed(tx *store.Tx, room, ceremony string, by []string) error {
	rack, err := rackIn(tx, room)
	if err != nil {
		return err
	}
	open, err := openings(tx, `closed = '' AND (rack = $1 OR why = $2)`, rack, "ceremony/"+ceremony)
	if err != nil {
		return err
	}
	for _, o := range open {
		if err := closed(tx, o, by); err != nil {
			return err
		}
	}
	return nil
}
