package site

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"ankan/access"
	"ankan/ceremony"
	"ankan/custody"
	"ankan/hsm"
	"ankan/keys"
	"ankan/message"
	"ankan/notice"
	"ankan/order"
	"ankan/stock"
	"ankan/store"
)

// A Part is what is plugged into a site: a role of the trade, or something that
// every site does. What is not needed of it may be empty.
type Part struct {
	// Role is the role that a site must have for this part to do anything; ""
	// for what every site does.
	Role string
	// Schemas are of the packages whose tables the part uses. Parts may name
	// the same ones. Every site has all tables, whatever its roles.
	Schemas []store.Schema
	// Keys are made when a site is set up.
	Keys []StandingKey
	// Open says what the part does at a site. It is called for every site: of
	// one that lacks the role only Routes and Close are taken, so that who asks
	// there is told why not.
	Open func(ctx context.Context, s *Site) (Duties, error)
}

// A StandingKey is a key that a site has in its security module from its
// first day on.
type StandingKey struct {
	ID string
	hsm.Purpose
	hsm.Algorithm
}

// Duties is what a part does at one site. No two parts do the same: Open
// refuses them.
type Duties struct {
	Files map[message.Kind]Handler
	// Deeds is by the kind of act (act.Act.Kind).
	Deeds map[string]Deed
	// Steps is what is done for an order in a state without being asked. A step
	// may be run again at any time.
	Steps map[order.State]func(context.Context, order.Order) error
	// Round is called often (tick), and whenever something happened. It begins
	// what can be done, and does not wait for it.
	Round func(ctx context.Context, begin Begin) error
	// View adds what the part knows of an order.
	View func(context.Context, *OrderView) error
	// Routes of the control socket by their pattern, "GET /v1/lots".
	Routes map[string]Route
	// Lost is what an act that unlocks the site will do to what the part does
	// (site.unlock): its approvers see it.
	Lost func(context.Context, Unlocking) (map[string]string, error)
	// Unlock does it, in the change that unlocks the site.
	Unlock func(context.Context, *store.Tx, Unlocking) error
	// Close ends what the part opened.
	Close func()
}

// A Route is what the control socket answers, and what opens it. Without a
// permission there is no route.
type Route struct {
	// Permission is the policy's name of what is seen or done. The role socket
	// must have it, or OwnProof.
	Permission string
	// Signed says that the person who signed the request (Signed) must have the
	// permission, not the socket.
	Signed       bool
	http.Handler // most are an Answer
}

// OwnProof stands for a permission where the request brings what opens it:
// signatures over an act, or a code.
const OwnProof = "own proof"

// A Handler is what a part does with a kind of file.
type Handler struct {
	From string // role that the sender must have; "" takes it from every partner
	// Begins says that the file begins new work: it waits while a condition of
	// the site stops that (Site.MayBegin).
	Begins bool
	// Take does what the file asks for, in a transaction that calls
	// Arrival.Taken. A *Refusal ends the file's life; after any other error it
	// is tried again.
	Take func(context.Context, *Arrival) error
	// Refused is called in the transaction that refuses a file of this kind,
	// whoever refused it, to answer the sender (Arrival.Owe); nil: nobody answers.
	Refused func(*store.Tx, *Arrival, *Refusal) error
}

// A Deed is how a kind of act is proposed and done.
type Deed = custody.Deed

// Begin starts a piece of work beside the round, unless work of this name is
// under way or rests after it failed or was idle (ErrIdle). The name is the
// work's own in the whole site; Site.Waiting finds its last failure by it.
type Begin func(name string, do func(context.Context) error)

// Schemas is all tables of sites that are made of these parts.
func Schemas(parts ...Part) []store.Schema {
	all := []store.Schema{access.Schema(), notice.Schema(), custody.Schema(), keys.Schema(), ceremony.Schema(), order.Schema(), stock.Schema()}
	for _, p := range parts {
		for _, schema := range p.Schemas {
			if !slices.ContainsFunc(all, func(s store.Schema) bool { return s.Name == schema.Name }) {
				all = append(all, schema)
			}
		}
	}
	return append(all, store.Embedded("site", migrations))
}

// held is the parts that a site has, all of its roles among them.
func held(c *Config, parts []Part) ([]Part, error) {
	var all []Part
	for _, p := range parts {
		if p.heldBy(c) {
			all = append(all, p)
		}
	}
	for _, role := range c.Roles {
		if !slices.ContainsFunc(all, func(p Part) bool { return p.Role == role }) {
			return nil, fmt.Errorf("site %s: this program has no part for the role %s", c.Site, role)
		}
	}
	return all, nil
}

func (p Part) heldBy(c *Config) bool { return p.Role == "" || c.Is(p.Role) }

// plug opens the parts and takes over what they do.
func (s *Site) plug(ctx context.Context, parts []Part) error {
	if _, err := held(s.config, parts); err != nil {
		return err
	}
	for _, p := range parts {
		if p.Open == nil {
			continue
		}
		d, err := p.Open(ctx, s)
		if err != nil {
			return err
		}
		if !p.heldBy(s.config) {
			d = Duties{Routes: d.Routes, Close: d.Close}
		}
		for pattern, r := range d.Routes {
			if r.Permission == "" {
				return fmt.Errorf("site: the route %q names no permission", pattern)
			}
		}
		s.parts = append(s.parts, d)
		for _, err := range []error{
			join(s.files, d.Files, "files"), join(s.deeds, d.Deeds, "deed"), join(s.steps, d.Steps, "step"), join(s.routes, d.Routes, "route"),
		} {
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// join adds what a part does to what the site does.
func join[K ~string, V any](all, more map[K]V, what string) error {
	for k, v := range more {
		if _, twice := all[k]; twice {
			return fmt.Errorf("site: two parts have the %s %q", what, k)
		}
		all[k] = v
	}
	return nil
}
