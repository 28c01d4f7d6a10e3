package site

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/exchange"
	"ankan/exchange/edge"
	"ankan/notice"
	"ankan/store"
)

// Partners are witnesses of each other: with every file that a site sends, and
// under its signature, goes a checkpoint of its log, and those of the receiver's
// log that it keeps. A site whose database was put back hears of it from the
// first partner who writes, and that partner notices by itself.

// The notes of files.
const (
	noteCheckpoint = "checkpoint@ankan" // of the sender's log
	noteWitness    = "witness@ankan"    // of the receiver's log, as the sender keeps it
)

// notes is what is said with every file to a partner.
func (s *Site) notes(ctx context.Context, partner string) ([]exchange.Note, error) {
	all := []exchange.Note{{Name: noteCheckpoint, Text: string(s.store.Checkpoint())}}
	k, err := keptOf(s.store.Committed(ctx), partner)
	if err != nil || k == nil {
		return all, err
	}
	all = append(all, exchange.Note{Name: noteWitness, Text: string(k.highest)})
	if k.lost != nil {
		all = append(all, exchange.Note{Name: noteWitness, Text: string(k.lost)})
	}
	return all, nil
}

// kept is what a site keeps of a partner's log.
type kept struct {
	highest, lost []byte
	at            time.Time
}

// keptOf is nil where nothing is kept.
func keptOf(q store.Querier, partner string) (*kept, error) {
	k, at := new(kept), ""
	err := q.QueryRow(`SELECT highest, at, lost FROM partner_checkpoint WHERE partner = $1`, partner).Scan(&k.highest, &at, &k.lost)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		k.at, err = store.ParseStamp(at)
	}
	return k, err
}

// A PartnerCheckpoint is the largest checkpoint of a partner's log that came.
type PartnerCheckpoint struct {
	Partner    string    `json:"partner"`
	Size       int64     `json:"size"`
	Checkpoint string    `json:"checkpoint"` // signed
	At         time.Time `json:"at"`         // of the file that it came with
	// Lost is a larger one from before the partner's log was put back.
	Lost string `json:"lost,omitempty"`
}

// PartnerCheckpoint is what this site can bear witness of to a partner.
func (s *Site) PartnerCheckpoint(ctx context.Context, partner string) (PartnerCheckpoint, error) {
	p := s.partners[partner]
	if p == nil {
		return PartnerCheckpoint{}, fmt.Errorf("%q is no partner", partner)
	}
	k, err := keptOf(s.store.Committed(ctx), partner)
	if err != nil {
		return PartnerCheckpoint{}, err
	}
	if k == nil {
		return PartnerCheckpoint{}, fmt.Errorf("%s has sent no checkpoint of its log yet; one comes with every file of a site with Ankan", partner)
	}
	c, err := audit.OpenCheckpoint(k.highest, p.Card().Log)
	return PartnerCheckpoint{Partner: partner, Size: c.Size, Checkpoint: string(k.highest), At: k.at, Lost: string(k.lost)}, err
}

// hear looks at what a file says besides: whether our own log still continues
// what its sender knows of it. A site that is locked takes no file.
func (s *Site) hear(ctx context.Context, a *Arrival) error {
	for _, n := range a.message.Notes {
		if n.Name != noteWitness {
			continue
		}
		c, err := audit.OpenCheckpoint([]byte(n.Text), s.store.VerifierKey())
		if err != nil {
			continue // of a key that this site had before, or nonsense: it proves nothing
		}
		sign, err := s.lost(ctx, "partner/"+a.Partner, "partner "+a.Partner+" keeps a checkpoint which says", c, []byte(n.Text))
		if err == nil && sign != nil {
			err = s.shut(ctx, []Sign{*sign})
		}
		if err != nil {
			return err
		}
	}
	if l := s.Locked(); l != nil {
		return fmt.Errorf("%s: %w: %s", a.Name, ErrLocked, l.Why())
	}
	return nil
}

// listen hears a file that waits while the site is locked, and leaves it there:
// what partners know of the lost time is known before people unlock the site.
func (s *Site) listen(ctx context.Context, f *edge.File) error {
	s.mu.Lock()
	heard := s.heard[f.Path]
	s.mu.Unlock()
	a := s.arrival(f)
	if heard || a.partner == nil || s.replayed(ctx, a) != nil {
		return ErrIdle
	}
	var err error
	if a.message, err = exchange.Open(a.Path, s.mail, []*exchange.Partner{a.partner}, s.limits()); err != nil {
		return ErrIdle // it is refused when files are taken again
	}
	if err := s.hear(ctx, a); !errors.Is(err, ErrLocked) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard[f.Path] = true
	return ErrIdle
}

// keep remembers the checkpoint that came with a file, in the change that takes
// it in or refuses it. A log that was larger before was put back: that is told.
func (s *Site) keep(ctx context.Context, tx *store.Tx, a *Arrival) error {
	if a.message == nil || a.partner == nil {
		return nil
	}
	for _, n := range a.message.Notes {
		if n.Name != noteCheckpoint {
			continue
		}
		c, err := audit.OpenCheckpoint([]byte(n.Text), a.partner.Card().Log)
		if err != nil {
			continue // the card has no log, or another one: it proves nothing
		}
		return s.keepOne(ctx, tx, a, a.partner.Card().Log, c, []byte(n.Text))
	}
	return nil
}

// overtakes is how much older a file may be than one that came before it: large
// ones take long to seal.
const overtakes = time.Hour

func (s *Site) keepOne(ctx context.Context, tx *store.Tx, a *Arrival, vkey string, c audit.Checkpoint, signed []byte) error {
	k, err := keptOf(tx, a.Partner)
	if err != nil {
		return err
	}
	if k == nil {
		k = new(kept)
	}
	was, err := audit.OpenCheckpoint(k.highest, vkey)
	known := err == nil // not of a key that the partner had before
	switch {
	case !known, c.Size > was.Size:
	case c.Size == was.Size && c.Root != was.Root, c.Size < was.Size && a.message.Signed.Sub(k.at) > overtakes:
		if err := s.tellRolledBack(ctx, tx, a.Partner, c, was); err != nil {
			return err
		}
		k.lost = k.highest
	default:
		return nil
	}
	_, err = tx.Exec(`INSERT INTO partner_checkpoint (partner, highest, at, lost) VALUES ($1, $2, $3, $4)
		ON CONFLICT (partner) DO UPDATE SET highest = excluded.highest, at = excluded.at, lost = excluded.lost`, a.Partner, signed, store.Stamp(a.message.Signed), k.lost)
	return err
}

func (s *Site) tellRolledBack(ctx context.Context, tx *store.Tx, partner string, is, was audit.Checkpoint) error {
	e := audit.Entry{Kind: "partner.rolled-back", Actor: "partner/" + partner, Subject: "partner/" + partner,
		Data: map[string]any{"size": is.Size, "root": is.Root.String(), "was_size": was.Size, "was_root": was.Root.String()}}
	if err := tx.Append(e); err != nil {
		return err
	}
	return notice.TellHolders(ctx, tx, notice.Notice{Kind: "partner.rolled-back", Subject: "partner/" + partner, Link: "/log",
		Text: fmt.Sprintf("The log of %s has %d entries, it had %d: its database was put back, or it shows different logs. Ask why.", partner, is.Size, was.Size)},
		"security-officer", act.Nodal, act.Alternate)
}
