package site

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/passkey"
	"ankan/store"
)

// A Signed is a request at the control socket that is no act, and that a person
// answers for: a draft, or what a custodian enters. The socket knows nobody, so
// that the person's passkey signs it.
type Signed struct {
	Person    string            `json:"person"`
	At        time.Time         `json:"at"`    // of the signature; good for a minute
	Nonce     string            `json:"nonce"` // 32 hex digits, random: the request is taken once
	Body      string            `json:"body"`
	Assertion passkey.Assertion `json:"assertion"`
}

// NewSigned is a request that is not signed yet.
func NewSigned(person string, body []byte, now time.Time) Signed {
	var nonce [16]byte
	rand.Read(nonce[:])
	return Signed{Person: person, At: now.UTC(), Nonce: hex.EncodeToString(nonce[:]), Body: string(body)}
}

// signedFormat keeps what is signed here apart from anything else that ever is.
const signedFormat = "ankan/socket/v1"

// Challenge is what the person's passkey signs: the SHA-256 of lines that name
// the format, the site, the request ("POST /v1/drafts/policy"), the person, the
// time (RFC 3339), the nonce, and the SHA-256 of the body.
func (s Signed) Challenge(site, request string) [32]byte {
	lines := []string{signedFormat, site, request, s.Person, s.At.Format(time.RFC3339Nano), s.Nonce, fmt.Sprintf("%x", sha256.Sum256([]byte(s.Body)))}
	return sha256.Sum256([]byte(strings.Join(lines, "\n") + "\n"))
}

// Bounds of a signed request's age.
const (
	signedFor   = time.Minute
	signedAhead = 5 * time.Second // clocks on one machine agree; a client's may have been read a moment later
)

// nonces are the signed requests that were taken, as long as they could be
// taken again.
type nonces struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

// take says whether a request comes for the first time.
func (n *nonces) take(id string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for old, at := range n.seen {
		if now.Sub(at) > signedFor+signedAhead {
			delete(n.seen, old)
		}
	}
	if _, twice := n.seen[id]; twice {
		return false
	}
	if n.seen == nil {
		n.seen = map[string]time.Time{}
	}
	n.seen[id] = now
	return true
}

// A signedAnswer answers a request that a person signed.
type signedAnswer func(ctx context.Context, who act.Person, r *http.Request, body []byte) (any, error)

// BySigner is a route that takes a permission of the person who signs the
// request. Who signed is in the log, and so is a refusal.
func (s *Site) BySigner(permission string, do signedAnswer) Route {
	return Route{Permission: permission, Signed: true, Handler: Answer(func(r *http.Request) (any, error) {
		var q Signed
		if err := ReadRequest(r, &q); err != nil {
			return nil, err
		}
		who, err := s.prove(r.Context(), permission, r.Method+" "+r.URL.Path, q)
		if err != nil {
			return nil, s.refuseSigned(r.Context(), r.URL.Path, q, err)
		}
		return do(r.Context(), who, r, []byte(q.Body))
	})}
}

// prove checks who signed a request, that it is new, and that they may.
func (s *Site) prove(ctx context.Context, permission, request string, q Signed) (act.Person, error) {
	now := s.store.Now()
	nonce, err := hex.DecodeString(q.Nonce)
	switch {
	case err != nil || len(nonce) != 16 || strings.ContainsAny(q.Person, "\n\r"):
		return act.Person{}, fmt.Errorf("the request: %w: its nonce is %q, want 32 hexadecimal digits", act.ErrNotAllowed, short(q.Nonce))
	case q.At.Location() != time.UTC:
		return act.Person{}, fmt.Errorf("the request: %w: its time is not in UTC", act.ErrNotAllowed)
	case now.Sub(q.At) > signedFor || q.At.Sub(now) > signedAhead:
		return act.Person{}, fmt.Errorf("the request: %w: it was signed %s, now is %s; sign it anew", act.ErrNotAllowed, q.At.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case q.At.Before(s.opened):
		// What was taken before the site stopped is forgotten; it is not taken again.
		return act.Person{}, fmt.Errorf("the request: %w: it was signed before the site started; sign it anew", act.ErrNotAllowed)
	}
	sum := sha256.Sum256([]byte(q.Body))
	e := audit.Entry{Kind: "request.signed", Actor: "person/" + q.Person, Subject: "request",
		Data: map[string]any{"request": request, "nonce": q.Nonce, "body_sha256": fmt.Sprintf("%x", sum)}}
	var who act.Person
	err = s.store.Change(ctx, e, func(tx *store.Tx) error {
		people := access.In(tx)
		policy, err := people.Policy(ctx)
		if err != nil {
			return err
		}
		if who, err = people.Person(ctx, q.Person); err != nil {
			return err
		}
		proof, err := who.Credential.Verify(q.Assertion, q.Challenge(s.config.Site, request))
		if err != nil {
			return fmt.Errorf("the request of person %s: %w", who.ID, err)
		}
		if err := policy.CheckPerson(who); err != nil {
			return err
		}
		if !policy.May(who, permission) {
			return fmt.Errorf("%s: %w: the permission %s is not one of person %s, who is %s", request, act.ErrNotAllowed, permission, who.ID, strings.Join(who.Roles, ", "))
		}
		if !s.nonces.take(who.ID+" "+q.Nonce, now) {
			return fmt.Errorf("the request: %w: it came before; sign it anew", act.ErrNotAllowed)
		}
		return s.people.Counted(tx, who.ID, proof.SignCount)
	})
	return who, err
}

// refuseSigned leaves an entry about a request that was refused.
func (s *Site) refuseSigned(ctx context.Context, path string, q Signed, err error) error {
	if ctx.Err() != nil {
		return err // it was not judged
	}
	ctx = context.WithoutCancel(ctx)
	if errors.Is(err, access.ErrCloned) {
		err = errors.Join(err, s.people.Lock(ctx, q.Person, err.Error()))
	}
	e := audit.Entry{Kind: "request.refused", Actor: "person/" + short(q.Person), Subject: "request",
		Data: map[string]any{"path": short(path), "why": short(err.Error())}}
	return errors.Join(err, s.store.Enter(ctx, e))
}

// short bounds what a stranger wrote.
func short(s string) string { return strings.ToValidUTF8(s[:min(len(s), 500)], "") }
