package site

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/hsm"
	"ankan/keys"
	"ankan/message"
	"ankan/order"
	"ankan/store"
)

// Acts is the kinds of act that the site does, sorted.
func (s *Site) Acts() []string { return slices.Sorted(maps.Keys(s.deeds)) }

// Unruled is the acts for which a policy older than the program has no rule:
// nobody may ask for them.
func (s *Site) Unruled(ctx context.Context) ([]string, error) {
	p, err := s.people.Policy(ctx)
	return slices.DeleteFunc(s.Acts(), func(kind string) bool { _, ok := p.Acts[kind]; return ok }), err
}

// A Proposal is what an act would say, for the person who asks for it.
type Proposal struct {
	Site    string            `json:"site"`
	Kind    string            `json:"kind"`
	Subject string            `json:"subject"`
	Params  map[string]string `json:"params"`
	Rule    act.Rule          `json:"rule"`
}

// Proposal is what the person who asks for an act needs to know of it.
func (s *Site) Proposal(ctx context.Context, kind, subject string) (Proposal, error) {
	params, err := s.Propose(ctx, kind, subject)
	if err != nil {
		return Proposal{}, err
	}
	policy, err := s.people.Policy(ctx)
	if err != nil {
		return Proposal{}, err
	}
	rule, err := policy.Rule(kind)
	return Proposal{Site: s.config.Site, Kind: kind, Subject: subject, Params: params, Rule: rule}, err
}

// Propose is what an act of this kind about this subject would say: the
// parameters that its approvers see, made from what is so now.
func (s *Site) Propose(ctx context.Context, kind, subject string) (map[string]string, error) {
	d := s.deeds[kind]
	if d.Propose == nil {
		return nil, fmt.Errorf("%s: %w: this site does no such act", kind, act.ErrNotAllowed)
	}
	return d.Propose(ctx, subject)
}

// Do does an approved act, if it is still about what is so: an act that was
// approved and whose order was changed since is refused.
func (s *Site) Do(ctx context.Context, id string) error {
	w, err := s.desk.Warrant(ctx, id)
	if err != nil {
		return err
	}
	a := w.Act()
	now, err := s.Propose(ctx, a.Kind, a.Subject)
	if err == nil {
		err = a.StillSays(now)
	}
	if err == nil {
		err = s.open(a.Kind)
	}
	if err == nil {
		err = s.deeds[a.Kind].Do(ctx, w)
	}
	if err != nil {
		e := audit.Entry{Kind: "act.failed", Actor: "person/" + a.Requester, Subject: a.Subject, Data: map[string]any{"id": a.ID, "kind": a.Kind, "why": err.Error()}}
		return errors.Join(err, s.store.Enter(ctx, e))
	}
	s.mark(true)
	s.hurry()
	return nil
}

// SubjectOf cuts "order/ID" and the like.
func SubjectOf(subject, what string) (string, error) {
	if len(subject) > len(what)+1 && subject[:len(what)+1] == what+"/" {
		return subject[len(what)+1:], nil
	}
	return "", fmt.Errorf("subject %q is not %s/…", subject, what)
}

// maxReason bounds what people write at the end of a subject, in bytes.
const maxReason = 500

// ReasonOf cuts "order/ORDER/WHY" and the like: so many names, and at the end a
// reason, which is one line of text and may hold slashes.
func ReasonOf(subject, what string, names int) (parts []string, why string, err error) {
	rest, err := SubjectOf(subject, what)
	if err != nil {
		return nil, "", err
	}
	parts = strings.SplitN(rest, "/", names+1)
	if len(parts) == names+1 {
		why = strings.TrimSpace(parts[names])
	}
	if why == "" || len(why) > maxReason || strings.ContainsFunc(why, unicode.IsControl) {
		return nil, "", fmt.Errorf("subject %.60q: the reason has %d bytes, want one line of 1 to %d at the end", subject, len(why), maxReason)
	}
	return parts[:names], why, nil
}

// OrderBecause is the order of a subject order/ORDER/WHY, in whatever state it is.
func (s *Site) OrderBecause(ctx context.Context, subject string) (o order.Order, why string, err error) {
	parts, why, err := ReasonOf(subject, "order", 1)
	if err == nil {
		o, err = order.Get(ctx, s.store, parts[0])
	}
	return o, why, err
}

// KeySubject cuts "key/OPERATOR/INDEX".
func KeySubject(subject string) (partner string, index int, err error) {
	rest, err := SubjectOf(subject, "key")
	if err != nil {
		return "", 0, err
	}
	if i := strings.LastIndexByte(rest, '/'); i > 0 {
		// One key has one subject: "01" and "+1" are none.
		if index, err = strconv.Atoi(rest[i+1:]); err == nil && strconv.Itoa(index) == rest[i+1:] {
			return rest[:i], index, nil
		}
	}
	return "", 0, fmt.Errorf("subject %q is not key/PARTNER/INDEX", subject)
}

// WaiverOf shows approvers, in params, under which waiver a transport key of this
// name is used. It refuses a key whose algorithm needs one that is not in force.
func (s *Site) WaiverOf(ctx context.Context, id string, a hsm.Algorithm, params map[string]string) error {
	return s.showWaiver(ctx, id, a, "", params)
}

func (s *Site) showWaiver(ctx context.Context, id string, a hsm.Algorithm, of string, params map[string]string) error {
	if !a.NeedsWaiver() {
		return nil
	}
	if err := s.register.Waived(ctx, id, a); err != nil {
		return err
	}
	w, err := s.register.Waiver(ctx, id)
	params["transport.waiver"+of] = fmt.Sprintf("%s, signed by %s: %s", w.Kind(string(a), s.store.Now()), w.Signed, w.Reason)
	return err
}

// ShowTransport shows approvers, in params, the transport keys of an operator's
// order, whose indexes are by receiver, and the waivers under which they are used.
// Of one that the module has not no waiver is said.
func (s *Site) ShowTransport(ctx context.Context, operator string, indexes map[string]int, params map[string]string) error {
	for receiver, index := range indexes {
		of := ""
		if receiver != "" {
			of = "." + receiver
		}
		id := message.TransportKey(operator, index)
		params["transport_key"+of] = id
		k, err := s.register.Key(ctx, id)
		if err == nil {
			err = s.showWaiver(ctx, id, hsm.Algorithm(k.Algorithm), of, params)
		}
		if err != nil && !errors.Is(err, keys.ErrNoKey) {
			return err
		}
	}
	return nil
}

// OrderOf is the order that an act is about, which must be in a state.
func (s *Site) OrderOf(ctx context.Context, subject string, state order.State) (order.Order, error) {
	id, err := SubjectOf(subject, "order")
	if err != nil {
		return order.Order{}, err
	}
	o, err := order.Get(ctx, s.store, id)
	if err == nil && o.State != state {
		err = fmt.Errorf("order %s: %w: it is %s, want %s", id, order.ErrState, o.State, state)
	}
	if err == nil {
		err = order.Stopped(s.store.Committed(ctx), id)
	}
	return o, err
}

// Move takes an order on under a warrant; kind is of the log entry, and also is
// what else is written with it, or nil.
func (s *Site) Move(ctx context.Context, w custody.Warrant, kind string, from, to order.State, also func(*store.Tx) error) error {
	id, err := SubjectOf(w.Act().Subject, "order")
	if err != nil {
		return err
	}
	return w.Use(ctx, kind, w.Act().Subject, nil, func(tx *store.Tx) error {
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		return order.Move(tx, id, from, to)
	})
}

// Step takes an order on without being asked.
func (s *Site) Step(ctx context.Context, o order.Order, kind string, to order.State, data map[string]any, also func(*store.Tx) error) error {
	e := audit.Entry{Kind: kind, Actor: "system:site", Subject: "order/" + o.ID, Data: data}
	return s.store.Change(ctx, e, func(tx *store.Tx) error {
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		return order.Move(tx, o.ID, o.State, to)
	})
}
