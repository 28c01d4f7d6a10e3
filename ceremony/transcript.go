package ceremony

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ankan/store"
)

// TranscriptType is the type of a signed transcript.
const TranscriptType = "application/vnd.ankan.ceremony+json"

// A Transcript is what happened in a ceremony: what the plan said, who signed
// what and when, what it did in the module, deviations and breaks.
type Transcript struct {
	Format   string           `json:"format"`
	Site     string           `json:"site"`
	Ceremony string           `json:"ceremony"`
	Kind     Kind             `json:"kind"`
	Title    string           `json:"title"`
	Room     string           `json:"room"`
	Key      string           `json:"key"`
	Plan     string           `json:"plan"` // as it was written
	PlanSHA  string           `json:"plan_sha256"`
	Words    []string         `json:"words"`
	Act      string           `json:"act"` // by which it was opened
	Opened   time.Time        `json:"opened"`
	Steps    []TranscriptStep `json:"steps"`
	Notes    []Note           `json:"notes"`
}

// TranscriptFormat is the first field of every transcript.
const TranscriptFormat = "ankan/ceremony/v1"

// A TranscriptStep is one step as it was done.
type TranscriptStep struct {
	N          int               `json:"n"`
	Title      string            `json:"title"`
	Statement  string            `json:"statement"`
	Signatures []StepSignature   `json:"signatures"`
	Result     map[string]string `json:"result,omitempty"`
}

// transcript is what happened before the last step, in which everybody signs it.
func (r *Runner) transcript(_ context.Context, c Ceremony) (Transcript, error) {
	t := Transcript{
		Format: TranscriptFormat, Site: r.Site, Ceremony: c.ID, Kind: c.Kind, Title: c.Title, Room: c.Plan.Room, Key: c.Plan.Key.Name,
		Plan: c.Document, PlanSHA: c.Digest, Words: c.Words, Act: c.Act, Opened: c.Opened, Notes: c.Notes,
	}
	if t.Notes == nil {
		t.Notes = []Note{}
	}
	for _, s := range c.Steps {
		if s.Step.Effect == CloseDown {
			break
		}
		if !s.Done() {
			return t, fmt.Errorf("ceremony %s: step %d is not done", c.ID, s.N)
		}
		t.Steps = append(t.Steps, TranscriptStep{N: s.N, Title: s.Title, Statement: s.Statement, Signatures: s.Signatures, Result: s.Result})
	}
	return t, nil
}

// Canonical is the transcript as JSON in one form.
func (t Transcript) Canonical() []byte {
	doc, err := json.Marshal(t)
	if err != nil { // strings, numbers, times
		panic("ceremony: " + err.Error())
	}
	return doc
}

func (t Transcript) digest() [32]byte { return sha256.Sum256(t.Canonical()) }

// performClose signs the transcript and ends the ceremony.
func (r *Runner) performClose(ctx context.Context, c Ceremony, o *outcome) error {
	t, err := r.transcript(ctx, c)
	if err != nil {
		return err
	}
	signed, err := r.Sign(ctx, TranscriptType, t.Canonical())
	if err != nil {
		return err
	}
	o.result["transcript_sha256"] = fmt.Sprintf("%x", t.digest())
	o.write = append(o.write, func(tx *store.Tx) error {
		if _, err := tx.Exec(`DELETE FROM ceremony_input WHERE ceremony = $1`, c.ID); err != nil {
			return err
		}
		_, err := tx.Exec(`UPDATE ceremony SET state = 'closed', ended = $1, signed = $2 WHERE id = $3`, store.Stamp(tx.Time()), signed, c.ID)
		if err != nil {
			return err
		}
		return r.tell(tx, c, "ceremony.closed", fmt.Sprintf("Ceremony %s, %s, is closed. Everybody signed its transcript.", c.ID, c.Title))
	})
	o.after = func(ctx context.Context) error { return r.tidy(ctx, c.ID) }
	return nil
}

// Transcript is what happened in a ceremony so far, and, when it is closed, the
// document that the site signed.
func (r *Runner) Transcript(ctx context.Context, id string) (t Transcript, signed []byte, err error) {
	c, err := r.Get(ctx, id)
	if err != nil {
		return t, nil, err
	}
	if err := r.Store.QueryRow(ctx, `SELECT coalesce(signed, '') FROM ceremony WHERE id = $1`, id).Scan(&signed); err != nil {
		return t, nil, err
	}
	if c.State == Drafted {
		return t, nil, errors.New("the ceremony has not begun")
	}
	t, err = r.transcript(ctx, c)
	if err != nil && c.State != Closed {
		err = nil // as far as it came
	}
	return t, signed, err
}
