package site

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/ceremony"
	"ankan/hsm"
	"ankan/keys"
	"ankan/message"
	"ankan/notice"
	"ankan/store"
)

// guardKeys puts the register's guard before the security module. What the
// module has lost is told, and stays in the register.
func (s *Site) guardKeys(ctx context.Context, m hsm.Module) error {
	s.register = keys.NewRegister(s.config.Site, s.store, s.people)
	behind, err := s.register.Behind(ctx, m)
	if err == nil {
		err = s.findLock(ctx, behind)
	}
	if err != nil {
		return err
	}
	missing, err := s.register.Reconcile(ctx, m)
	if err != nil {
		return err
	}
	for _, id := range missing {
		s.log.Error("the security module has lost a key", "key", id)
	}
	if s.guard, err = keys.NewGuard(ctx, s.register, m); err != nil {
		return err
	}
	s.gate, s.board = access.NewGate(s.people), notice.New(s.store)
	s.runner = ceremony.New(ceremony.Config{
		Site: s.config.Site, Country: s.config.Country, Store: s.store, People: s.people, Register: s.register, Module: s.guard,
		Sign: func(ctx context.Context, kind string, payload []byte) ([]byte, error) {
			return s.SignDocument(ctx, kind, payload)
		},
		Overdue: func(ctx context.Context, person string) (string, error) { return s.register.Owes(ctx, person) },
	})
	return nil
}

// keyRoom is the part of every site that looks after keys.
func (s *Site) keyRoom() Part {
	return Part{Open: func(context.Context, *Site) (Duties, error) {
		d := Duties{
			Deeds: map[string]Deed{},
			Files: map[message.Kind]Handler{
				message.KindAlarm:    {Take: s.takeAlarm},
				message.KindAlarmAck: {Take: s.takeAlarmAck},

				message.KindForm:       {Take: s.takeForm},
				message.KindFormAnswer: {Take: s.takeFormAnswer},
			},
			Round: func(_ context.Context, begin Begin) error {
				begin("compromises", s.tellParties)
				begin("forms", s.sendForms)
				begin("housekeeping", s.keepHouse)
				begin("notices", s.deliver)
				return nil
			},
		}
		d.Deeds["key.waive"] = s.register.WaiverDeed(s.agreedWaiver, s.guard.Reload)
		return d, errors.Join(join(d.Deeds, s.register.Deeds(s.guard.Reload), "deed"), join(d.Deeds, s.runner.Deeds(), "deed"))
	}}
}

// agreedWaiver is what a contract says of the waiver of a transport key.
func (s *Site) agreedWaiver(id string) (keys.Agreed, error) {
	for _, c := range s.contracts {
		for _, k := range c.TransportKeys {
			if k.Algorithm.NeedsWaiver() && message.TransportKey(c.Operator, k.Index) == id {
				return keys.Agreed{Contract: c.Number, Waiver: k.Waiver}, nil
			}
		}
	}
	return keys.Agreed{}, fmt.Errorf("key %s: %w: no contract of this site says that it is under a waiver; want algorithm and waiver of a transport key there, and its name transport/OPERATOR/INDEX", id, act.ErrNotAllowed)
}

// houseEvery is how often the site looks after what the clock brings.
const houseEvery = 20 * time.Second

// keepHouse writes uses of keys down, ends acts whose time is over, goes on with
// ceremonies that the site's end interrupted, and reminds people of what is due.
func (s *Site) keepHouse(ctx context.Context) error {
	s.mu.Lock()
	due := s.clock.Elapsed() >= s.house
	s.mu.Unlock()
	if !due {
		return ErrIdle
	}
	_, err := s.desk.Sweep(ctx)
	err = errors.Join(err, s.guard.Flush(ctx), s.guard.Settle(ctx), s.runner.Resume(ctx), s.register.Remind(ctx), s.warnOfLimits(ctx))
	s.mu.Lock()
	s.house = s.clock.Elapsed() + houseEvery
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return ErrIdle
}

// deliver sends what people were told by mail and webhook.
func (s *Site) deliver(ctx context.Context) error {
	err := s.board.Deliver(ctx, s.config.Notify.Config, func(person string) (string, bool) {
		mail, ok := s.config.Notify.Addresses[person]
		return mail, ok
	})
	if err != nil {
		return err
	}
	return ErrIdle
}

// alarmName is the name of the file about a compromised key: one for each.
func alarmName(from, key string, k message.Kind) string {
	sum := sha256.Sum256([]byte(key))
	return fmt.Sprintf("%s-%.16x.%s.pgp", from, sum[:8], k)
}

// tellParties tells partners that a key they share is compromised, and answers
// those who told this site (SOP 6.4.e.vii).
func (s *Site) tellParties(ctx context.Context) error {
	tell, err := s.register.ToTell(ctx)
	if err != nil {
		return err
	}
	for _, t := range tell {
		key, party := t[0], t[1]
		k, err := s.register.Key(ctx, key)
		if err != nil {
			return err
		}
		if s.partners[party] != nil {
			m := message.Alarm{Key: key, KCV: k.KCV, At: s.store.Now().UTC().Truncate(time.Second), Why: "compromised; use it for nothing more"}
			if err := s.Send(ctx, party, alarmName(s.config.Site, key, message.KindAlarm), message.JSON(m)); err != nil {
				return err
			}
		}
		e := audit.Entry{Kind: "compromise.told", Actor: "system:site", Subject: "key/" + key, Data: map[string]any{"partner": party, "by_file": s.partners[party] != nil}}
		if err := s.store.Change(ctx, e, func(tx *store.Tx) error { return keys.Told(tx, key, party) }); err != nil {
			return err
		}
	}
	answer, err := s.register.ToAcknowledge(ctx)
	if err != nil {
		return err
	}
	for _, t := range answer {
		key, partner, by := t[0], t[1], t[2]
		m := message.AlarmAck{Key: key, By: by, At: s.store.Now().UTC().Truncate(time.Second)}
		if err := s.Send(ctx, partner, alarmName(s.config.Site, key, message.KindAlarmAck), message.JSON(m)); err != nil {
			return err
		}
		e := audit.Entry{Kind: "compromise.answered", Actor: "system:site", Subject: "key/" + key, Data: map[string]any{"partner": partner, "by": by}}
		if err := s.store.Change(ctx, e, func(tx *store.Tx) error { return keys.Answered(tx, key, partner) }); err != nil {
			return err
		}
	}
	return ErrIdle
}

// takeAlarm stops all use of a key that a partner calls compromised.
func (s *Site) takeAlarm(ctx context.Context, a *Arrival) error {
	var m message.Alarm
	if err := a.JSON(&m); err != nil {
		return err
	}
	if hsm.CheckID(m.Key) != nil || len(m.Why) > 500 {
		return Refused("%s: the key or the reason is out of bounds", a.Name)
	}
	e := audit.Entry{Kind: "compromise.heard", Actor: "partner/" + a.Partner, Subject: "key/" + m.Key, Data: map[string]any{"why": m.Why, "kcv": m.KCV}}
	k, err := s.register.Key(ctx, m.Key)
	if errors.Is(err, keys.ErrNoKey) {
		return s.takeEarlyAlarm(ctx, a, m, e)
	}
	if err != nil {
		return err
	}
	// A partner speaks of what it shares: of no other key.
	shares := false
	for _, p := range k.Parties {
		shares = shares || p == a.Partner
	}
	if !shares {
		return Refused("%s: key %s is not shared with %s", a.Name, m.Key, a.Partner)
	}
	err = s.store.Change(ctx, e, func(tx *store.Tx) error {
		if err := a.Taken(tx); err != nil {
			return err
		}
		_, err := s.register.Heard(ctx, tx, m.Key, a.Partner, m.Why)
		return err
	})
	if err != nil {
		return err
	}
	return s.guard.Reload(context.WithoutCancel(ctx))
}

// takeEarlyAlarm keeps a key out whose components are still under way.
func (s *Site) takeEarlyAlarm(ctx context.Context, a *Arrival, m message.Alarm, e audit.Entry) error {
	none := Refused("%s: key %s is not known here", a.Name, m.Key)
	return s.store.Change(ctx, e, func(tx *store.Tx) error {
		n, err := s.register.FormsCompromised(ctx, tx, m.Key, a.Partner, m.Why)
		if err == nil && n == 0 {
			return none
		}
		return errors.Join(err, a.Taken(tx))
	})
}

// takeAlarmAck closes what this site waits for from a party.
func (s *Site) takeAlarmAck(ctx context.Context, a *Arrival) error {
	var m message.AlarmAck
	if err := a.JSON(&m); err != nil {
		return err
	}
	e := audit.Entry{Kind: "compromise.acknowledged-by", Actor: "partner/" + a.Partner, Subject: "key/" + m.Key, Data: map[string]any{"by": m.By}}
	err := s.store.Change(ctx, e, func(tx *store.Tx) error {
		if err := a.Taken(tx); err != nil {
			return err
		}
		return keys.Acknowledged(tx, m.Key, a.Partner, "person "+m.By+" of "+a.Partner)
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, keys.ErrNotTold) {
		return Refused("%s: %v", a.Name, err)
	}
	return err
}
