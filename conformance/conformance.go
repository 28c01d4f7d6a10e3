// Package conformance tests an operating system on a sample card: what it
// refuses before it is a card, its secure channel, its access rules, its codes
// and their counters, its authentication, and what a lost power leaves. It
// drives a uicc.Card and knows nothing of what is behind it. The sample is used
// up.
package conformance

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"ankan/profile"
	"ankan/scp"
	"ankan/uicc"
)

// A Reader holds the sample.
type Reader interface {
	uicc.Card
	// Reset is a reset of the chip, as after a loss of power.
	Reset(ctx context.Context) (uicc.ATR, error)
}

// SampleKeys are the keys that sample chips are delivered with where nothing
// else was agreed: 40 to 5F, three times, as anybody may know. No chip of a lot
// has them.
func SampleKeys() (scp.KeySet, error) {
	k := make([]byte, 32)
	for i := range k {
		k[i] = byte(0x40 + i)
	}
	return scp.NewKeySet(k, k, k)
}

// A Sample is a blank chip, and what is to be put on it.
type Sample struct {
	Reader  Reader
	Keys    scp.Static       // SCP03 keys of key version 30, as sample chips are delivered
	Image   []byte           // the operating system, signed by its vendor
	Digest  [32]byte         // of the image, as the chip tells it
	Profile *profile.Profile // of the customer
	// Tear takes the power away in the n-th write step from now. nil: the reader
	// cannot; the cases that need it are not run.
	Tear func(n int)
	Now  func() time.Time
}

// Format is what a Report says that it is.
const Format = "ankan/os-test/v1"

// The results of a case.
const (
	Pass   = "pass"
	Fail   = "fail"
	NotRun = "not run" // with the reason
)

// A Result is what came of a case.
type Result struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Clause string `json:"clause"`
	Result string `json:"result"`
	Seen   string `json:"seen,omitempty"` // of a fail, or why it was not run; never a secret
}

// A Report is what came of all cases on one sample.
type Report struct {
	Format  string    `json:"format"`
	OS      string    `json:"image_sha256"`
	Profile string    `json:"profile_sha256"`
	Chip    string    `json:"chip"` // serial number
	ATR     string    `json:"atr"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Cases   []Result  `json:"cases"`
}

// Count is how many cases have a result.
func (r Report) Count(result string) int {
	n := 0
	for _, c := range r.Cases {
		if c.Result == result {
			n++
		}
	}
	return n
}

// Shows says whether all of these cases were run.
func (r Report) Shows(ids ...string) bool {
	for _, id := range ids {
		if !slices.ContainsFunc(r.Cases, func(c Result) bool { return c.ID == id && c.Result != NotRun }) {
			return false
		}
	}
	return true
}

// Check refuses a report that this suite cannot have made.
func (r Report) Check() error {
	os, err1 := hex.DecodeString(r.OS)
	pr, err2 := hex.DecodeString(r.Profile)
	chip, err3 := hex.DecodeString(r.Chip)
	atr, err4 := hex.DecodeString(r.ATR)
	switch {
	case r.Format != Format:
		return fmt.Errorf("report: format is %.40q, want %q", r.Format, Format)
	case errors.Join(err1, err2, err3, err4) != nil || len(os) != 32 || len(pr) != 32 || len(chip) != 8 || len(atr) > 33:
		return errors.New("report: image, profile, chip or answer to reset is not what the suite writes")
	case r.Started.IsZero() || r.Ended.Before(r.Started):
		return errors.New("report: it ended before it started")
	case len(r.Cases) != len(suite()):
		return fmt.Errorf("report: %d cases, the suite has %d", len(r.Cases), len(suite()))
	}
	all := suite()
	for i, c := range r.Cases {
		want := all[i]
		if c.ID != want.id || c.Title != want.title || c.Clause != want.clause {
			return fmt.Errorf("report: case %d is %.40q, want %q", i+1, c.ID, want.id)
		}
		if c.Result != Pass && c.Result != Fail && c.Result != NotRun || (c.Result == Pass) != (c.Seen == "") ||
			len(c.Seen) > maxSeen || strings.ContainsFunc(c.Seen, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return fmt.Errorf("report: case %s: result %.40q with %.40q", c.ID, c.Result, c.Seen)
		}
	}
	return nil
}

// maxSeen bounds what a case says, in bytes.
const maxSeen = 300

// A trial is one case of the suite.
type trial struct {
	id, title, clause string
	stage             stage
	run               func(*bench) error
}

// A stage is how far the sample must have come for a case.
type stage int

const (
	blank  stage = iota // any chip
	loaded              // with its operating system
	made                // a card
)

// Cases are what the suite tries, without results.
func Cases() []Result {
	var all []Result
	for _, c := range suite() {
		all = append(all, Result{ID: c.id, Title: c.title, Clause: c.clause})
	}
	return all
}

// IDs are the cases of the suite, in their order.
func IDs() []string {
	var all []string
	for _, c := range suite() {
		all = append(all, c.id)
	}
	return all
}

// errNotRun is wrapped by a case that could not be tried.
var errNotRun = errors.New("not run")

// ErrSample is wrapped where the chip is no sample: not blank, or other keys.
var ErrSample = errors.New("not a blank sample chip")

// Run runs all cases on a sample. What the operating system does wrong is in the
// report; an error is one of the reader, or of a chip that is no sample. done is
// told the number of cases after each.
func Run(ctx context.Context, s Sample, done func(n int)) (Report, error) {
	b, err := newBench(ctx, s)
	if err != nil {
		return Report{}, err
	}
	r := Report{Format: Format, OS: hex.EncodeToString(s.Digest[:]), Profile: fmt.Sprintf("%x", s.Profile.Digest()), Chip: b.serial, ATR: fmt.Sprintf("%X", []byte(b.atr)), Started: b.now()}
	for i, c := range suite() {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		r.Cases = append(r.Cases, b.try(c))
		done(i + 1)
	}
	r.Ended = b.now()
	return r, r.Check()
}

func (b *bench) try(c trial) Result {
	r := Result{ID: c.id, Title: c.title, Clause: c.clause, Result: Pass}
	var err error
	switch {
	case c.stage > b.stage:
		err = fmt.Errorf("%w: the sample did not get so far", errNotRun)
	default:
		if err = b.reset(); err == nil {
			err = c.run(b)
		}
	}
	if err == nil {
		return r
	}
	r.Result, r.Seen = Fail, seen(err)
	if errors.Is(err, errNotRun) {
		r.Result = NotRun
	}
	return r
}

// seen is an error on one line.
func seen(err error) string {
	s := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, err.Error())
	return strings.ToValidUTF8(s[:min(len(s), maxSeen)], "")
}
