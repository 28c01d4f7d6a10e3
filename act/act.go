// Package act is what somebody asks to have done, in canonical bytes, and the
// rules of who must sign it. It is pure: custody keeps acts, and whoever holds
// an exported log replays them with a Book.
package act

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ankan/audit"
	"ankan/passkey"
)

// Format is the first field of every act; it keeps its digest apart from that
// of anything else that is ever signed.
const Format = "ankan/act/v1"

// An Act is a change that somebody asks for. What approvers see, what is
// hashed, signed, logged and done are the bytes of Canonical.
type Act struct {
	Format    string            `json:"format"`
	ID        string            `json:"id"`      // 32 hex digits, random: no two acts have the same bytes
	Site      string            `json:"site"`    // the site that is asked
	Kind      string            `json:"kind"`    // "order.release"
	Subject   string            `json:"subject"` // what it is about: the order, chip or key
	Params    map[string]string `json:"params"`  // everything the approvers must see, digests included
	Policy    int               `json:"policy"`  // version of the policy under which it is asked for
	Requester string            `json:"requester"`
	At        time.Time         `json:"at"`         // UTC, whole seconds
	ApproveBy time.Time         `json:"approve_by"` // the first clock: the last signature is in by then
	UseWithin int               `json:"use_within"` // the second clock: seconds from the last signature to use
}

// New makes an act with a fresh ID. The rule gives the two clocks and the
// version of the policy.
func New(site, kind, subject, requester string, params map[string]string, rule Rule, now time.Time) Act {
	var id [16]byte
	rand.Read(id[:])
	at := now.UTC().Truncate(time.Second)
	if params == nil {
		params = map[string]string{}
	}
	return Act{
		Format: Format, ID: hex.EncodeToString(id[:]), Site: site, Kind: kind, Subject: subject,
		Params: params, Policy: rule.Version, Requester: requester, At: at,
		ApproveBy: at.Add(time.Duration(rule.ToApprove) * time.Second), UseWithin: rule.ToUse,
	}
}

// Canonical is the act as JSON with fields in fixed order, sorted parameters
// and no white space.
func (a Act) Canonical() []byte { return encode(a) }

// Parse reads an act. Only canonical bytes are taken: two texts that mean the
// same act do not exist.
func Parse(canonical []byte) (Act, error) {
	var a Act
	if err := audit.Strict(canonical, &a); err != nil {
		return Act{}, fmt.Errorf("act: %w", err)
	}
	id, err := hex.DecodeString(a.ID)
	switch {
	case a.Format != Format:
		return Act{}, fmt.Errorf("act: format is %q, want %q", a.Format, Format)
	case err != nil || len(id) != 16:
		return Act{}, fmt.Errorf("act: id %q is not 32 hex digits", a.ID)
	case a.Site == "" || a.Kind == "" || a.Subject == "" || a.Requester == "":
		return Act{}, errors.New("act: site, kind, subject and requester must be there")
	case a.Policy < 1:
		return Act{}, fmt.Errorf("act: policy version is %d, want 1 or more", a.Policy)
	case a.UseWithin <= 0 || !a.ApproveBy.After(a.At):
		return Act{}, errors.New("act: both clocks must be set")
	case a.Params == nil:
		return Act{}, errors.New("act: params must be there, if only {}")
	case !bytes.Equal(a.Canonical(), canonical):
		return Act{}, errors.New("act: not in canonical form")
	}
	return a, nil
}

// Digest is the SHA-256 of the canonical form: the challenge that approvers sign.
func (a Act) Digest() [32]byte { return sha256.Sum256(a.Canonical()) }

// StillSays refuses an act whose parameters are not what would be proposed now.
func (a Act) StillSays(now map[string]string) error {
	for _, k := range slices.Sorted(maps.Keys(now)) {
		switch had, ok := a.Params[k]; {
		case !ok:
			return fmt.Errorf("act %s: %w: it does not say %s, which is %q now; ask again", a.ID, ErrNotAllowed, k, now[k])
		case had != now[k]:
			return fmt.Errorf("act %s: %w: %s was %q when it was signed and is %q now; ask again", a.ID, ErrNotAllowed, k, had, now[k])
		}
	}
	if len(a.Params) != len(now) {
		return fmt.Errorf("act %s: %w: it has %d parameters, want %d; ask again", a.ID, ErrNotAllowed, len(a.Params), len(now))
	}
	return nil
}

// ParamEditors is the parameter that names who last edited what the act is
// about, by person numbers with commas between them.
const ParamEditors = "edited_by"

// Editors are the people whom ParamEditors names.
func (a Act) Editors() []string {
	if e := a.Params[ParamEditors]; e != "" {
		return strings.Split(e, ",")
	}
	return nil
}

// A Verb is what a signature says about an act.
type Verb string

// The verbs.
const (
	Request Verb = "request"
	Approve Verb = "approve"
	Reject  Verb = "reject"
)

// Challenge is what a passkey signs to say verb: for Approve the act's digest
// itself, for the others a hash that also names the verb, so that a rejection
// can never be shown as an approval.
func (a Act) Challenge(v Verb) [32]byte {
	d := a.Digest()
	if v == Approve {
		return d
	}
	return sha256.Sum256(append([]byte("ankan/"+string(v)+"/v1\x00"), d[:]...))
}

// A Signature is one person's word on an act.
type Signature struct {
	Person    string            `json:"person"`
	Verb      Verb              `json:"verb"`
	At        time.Time         `json:"at"`
	Reason    string            `json:"reason,omitempty"`
	Assertion passkey.Assertion `json:"assertion"`
}
