package site

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"ankan/audit"
	"ankan/exchange"
	"ankan/exchange/edge"
	"ankan/message"
	"ankan/notice"
	"ankan/order"
	"ankan/store"
)

// A Refusal ends the life of a file: what it says cannot be done, and why.
type Refusal struct {
	Reasons []string // at least one
	Digest  string   // of the order's content, if it could be read
	// Alarm says that this is no mistake of a file: the security officers are told.
	Alarm bool
}

// Error is the first reason, and how many more there are.
func (r *Refusal) Error() string {
	if len(r.Reasons) == 1 {
		return r.Reasons[0]
	}
	return fmt.Sprintf("%s (and %d more)", r.Reasons[0], len(r.Reasons)-1)
}

// Refused is a Refusal for one reason.
func Refused(format string, args ...any) error {
	return &Refusal{Reasons: []string{fmt.Sprintf(format, args...)}}
}

// An Arrival is a file that is complete, verified, and from a pinned partner.
type Arrival struct {
	*edge.File
	partner *exchange.Partner
	message *exchange.Message
	trouble error // why the content could not be read, which is not the sender's doing
	site    *Site
}

// Taken records the file in the transaction that does what it asks for.
func (a *Arrival) Taken(tx *store.Tx) error {
	tx.Note("file", a.Name)
	tx.Note("file_sha256", a.SHA256)
	tx.Note("partner", a.Partner)
	if err := a.site.keep(context.Background(), tx, a); err != nil {
		return err
	}
	return a.record(tx)
}

// Place is where the file lies in the spool, the same in every process.
func (a *Arrival) Place() string { return filepath.Base(a.Path) }

func (a *Arrival) record(tx *store.Tx) error {
	_, err := tx.Exec(`INSERT INTO received (sha256, partner, name, spool, at) VALUES ($1, $2, $3, $4, $5)`,
		a.SHA256, a.Partner, a.Name, a.Place(), tx.Time().Format(time.RFC3339Nano))
	return err
}

// Sender is the partner that the file is from.
func (a *Arrival) Sender() *exchange.Partner { return a.partner }

// Read gives the content to read, once it is decrypted and verified as a whole
// (exchange.Message.Read).
func (a *Arrival) Read(read func(io.Reader) error) error {
	var own error
	err := a.message.Read(func(r io.Reader) error {
		own = read(&source{r, a})
		return own
	})
	if err != nil && own == nil {
		a.troubled(err)
	}
	return err
}

// troubled remembers what kept the site from reading a file. Who reads takes it
// for the content's fault; a file is not refused for it.
func (a *Arrival) troubled(err error) {
	var r *exchange.Refusal
	if !errors.As(err, &r) {
		a.trouble = err
	}
}

// source is the content of an arrival.
type source struct {
	io.Reader
	a *Arrival
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		s.a.troubled(err)
	}
	return n, err
}

// Late takes in a file about an order that was given up while the file was on its
// way: nothing comes of it.
func (a *Arrival) Late(ctx context.Context, ord string) error {
	return a.site.store.Change(ctx, audit.Entry{Kind: "file.late", Actor: "partner/" + a.Partner, Subject: "order/" + ord}, a.Taken)
}

// Content is SHA-256 of the content.
func (a *Arrival) Content() [sha256.Size]byte { return a.message.Plain }

// JSON reads the message as one JSON document. What is wrong with it is a
// Refusal.
func (a *Arrival) JSON(v any) error {
	err := a.Read(func(r io.Reader) error { return message.Read(r, v) })
	if err != nil {
		return Refused("%s: %v", a.Name, err)
	}
	return nil
}

// Step takes an order on because the file arrived, which is recorded with it;
// see Site.Step.
func (a *Arrival) Step(ctx context.Context, o order.Order, kind string, to order.State, data map[string]any, also func(*store.Tx) error) error {
	return a.site.Step(ctx, o, kind, to, data, func(tx *store.Tx) error {
		if err := a.Taken(tx); err != nil || also == nil {
			return err
		}
		return also(tx)
	})
}

// limits bound what one file may hold, and when it was signed.
func (s *Site) limits() exchange.Limits {
	return exchange.Limits{MaxCipher: 64 << 30, MaxPlain: 64 << 30, Now: s.store.Now}
}

// mostTaking is how many files are taken in at the same time: each is opened
// and read in some megabytes, and a response may have thousands.
const mostTaking = 8

// takeIn opens a file that arrived, checks who sent it, and hands it to what
// it is for. It is refused, or done, or tried again later: never half done.
func (s *Site) takeIn(ctx context.Context, f *edge.File) error {
	select {
	case s.taking <- struct{}{}:
		defer func() { <-s.taking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if _, err := os.Stat(f.Path); errors.Is(err, os.ErrNotExist) {
		return nil // the list was older than the file's end
	}
	a := s.arrival(f)
	err := s.dispatch(ctx, a)
	var r *Refusal
	var e *exchange.Refusal
	switch {
	case err == nil:
		s.mark(true) // before the file is cleared away
		s.hurry()
		return s.spool.Done(f)
	case errors.Is(err, errRefused):
		return s.spool.Quarantine(f, "it was refused, and the log says why; the site stopped before it was put aside")
	case errors.As(err, &e):
		// The refusal names the place in our spool, which is not the partner's business.
		r = &Refusal{Reasons: []string{f.Name + ": " + e.Text}}
	case !errors.As(err, &r):
		return err
	}
	s.log.Warn("file refused", "partner", f.Partner, "file", f.Name, "why", r.Error())
	if err := s.refuse(ctx, a, r); err != nil {
		return err
	}
	return s.spool.Quarantine(f, r.Error())
}

// Dispatch hands a file that lies in the spool to the part that takes it. It is
// what takeIn does before it clears the file away; errors are as of Handler.Take.
func (s *Site) Dispatch(ctx context.Context, f *edge.File) error {
	return s.dispatch(ctx, s.arrival(f))
}

func (s *Site) arrival(f *edge.File) *Arrival {
	return &Arrival{File: f, partner: s.partners[f.Partner], site: s}
}

var (
	errSeen    = errors.New("seen")
	errRefused = errors.New("refused before")
)

// refusedPlace is what the list of received files has as the place of a file that
// was refused there.
func refusedPlace(a *Arrival) string { return "refused " + a.Place() }

func (s *Site) dispatch(ctx context.Context, a *Arrival) error {
	if a.partner == nil {
		return Refused("%s: from %q, who is no partner", a.Name, a.Partner)
	}
	switch err := s.replayed(ctx, a); {
	case errors.Is(err, errSeen):
		return nil
	case err != nil:
		return err
	}
	k, ok := message.KindOf(a.Name)
	if !ok {
		return Refused("%s: the name must end in .KIND.pgp, for an order .inp.pgp", a.Name)
	}
	h := s.files[k]
	if h.Take == nil || h.From != "" && !a.partner.Has(h.From) {
		return Refused("%s: this site takes no %q files from %s", a.Name, k, a.Partner)
	}
	if h.Begins {
		if err := s.MayBegin(); err != nil {
			return err
		}
	}
	if c, ok := s.keeper.condition(); ok && c.Stops {
		// By a wrong clock, a good signature would be refused for ever.
		return fmt.Errorf("%w: %s %s", ErrStopped, c.Text, c.Next)
	}
	var err error
	if a.message, err = exchange.Open(a.Path, s.mail, []*exchange.Partner{a.partner}, s.limits()); err != nil {
		return err
	}
	if err := s.hear(ctx, a); err != nil {
		return err
	}
	err = h.Take(ctx, a)
	var r *Refusal
	if a.trouble != nil && errors.As(err, &r) {
		return a.trouble
	}
	return err
}

// replayed refuses a file that was taken in before. The same file in the same
// place is no replay: the site stopped between taking it and clearing it away.
func (s *Site) replayed(ctx context.Context, a *Arrival) error {
	var spool, at string
	err := s.store.QueryRow(ctx, `SELECT spool, at FROM received WHERE sha256 = $1`, a.SHA256).Scan(&spool, &at)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	case spool == a.Place():
		return errSeen
	case spool == refusedPlace(a):
		return errRefused
	}
	return Refused("%s: the same file (SHA-256 %.12s…) came at %s and was dealt with; a file is taken once", a.Name, a.SHA256, at)
}

// refuse logs a refusal and remembers the file. Some kinds of file are answered.
func (s *Site) refuse(ctx context.Context, a *Arrival, r *Refusal) error {
	e := audit.Entry{Kind: "file.refused", Actor: "partner/" + a.Partner, Subject: "file/" + a.SHA256,
		Data: map[string]any{"file": a.Name, "size": a.Size, "reasons": r.Reasons[:min(len(r.Reasons), 20)], "count": len(r.Reasons)}}
	return s.store.Change(ctx, e, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO received (sha256, partner, name, spool, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (sha256) DO NOTHING`,
			a.SHA256, a.Partner, a.Name, refusedPlace(a), tx.Time().Format(time.RFC3339Nano))
		if err != nil {
			return err
		}
		if err := s.keep(ctx, tx, a); err != nil {
			return err
		}
		if r.Alarm {
			if err := s.alarm(ctx, tx, a, r); err != nil {
				return err
			}
		}
		k, _ := message.KindOf(a.Name)
		if h := s.files[k]; h.Refused != nil && a.partner != nil {
			return h.Refused(tx, a, r)
		}
		return nil
	})
}

// alarm tells the security officers of a file that was refused, and whom the
// contract with its sender names.
func (s *Site) alarm(ctx context.Context, tx *store.Tx, a *Arrival, r *Refusal) error {
	text := fmt.Sprintf("A file of %s was put aside: %s. Ask %[1]s, by another way than files, whether it is theirs.", a.Partner, r.Error())
	n := notice.Notice{Kind: "file.refused", Subject: "file/" + a.SHA256, Text: text}
	for _, c := range s.contracts {
		if c.Operator == a.Partner || c.Manufacturer == a.Partner {
			if err := notice.TellContacts(tx, c.Alarms, n); err != nil {
				return err
			}
		}
	}
	return notice.TellHolders(ctx, tx, n, "security-officer")
}

// sealing is exchange.Seal or exchange.SealForOfficers.
type sealing func(w io.Writer, from *exchange.Identity, to *exchange.Partner, name string, notes ...exchange.Note) (io.WriteCloser, error)

// Send seals a file to a partner and puts it into the spool, once by its name:
// the same name to the same partner again does nothing.
func (s *Site) Send(ctx context.Context, to, name string, write func(io.Writer) error) error {
	return s.seal(ctx, exchange.Seal, to, name, write, nil)
}

// SendForOfficers is Send of a file that the partner's nodal officers may open
// too (SOP 5.4.b). inner is the name that they see inside the message; "" is name.
func (s *Site) SendForOfficers(ctx context.Context, to, name, inner string, write func(io.Writer) error) error {
	return s.seal(ctx, func(w io.Writer, from *exchange.Identity, to *exchange.Partner, _ string, notes ...exchange.Note) (io.WriteCloser, error) {
		return exchange.SealForOfficers(w, from, to, cmp.Or(inner, name), notes...)
	}, to, name, write, nil)
}

// seal puts a file into the spool, and commits with its entry what also writes,
// if that is not nil: then also when the file was there already.
func (s *Site) seal(ctx context.Context, seal sealing, to, name string, write func(io.Writer) error, also func(*store.Tx) error) error {
	p := s.partners[to]
	if p == nil {
		return fmt.Errorf("%s: %q is no partner; add its card to partners in the configuration", name, to)
	}
	notes, err := s.notes(ctx, to)
	if err != nil {
		return err
	}
	sum, size, err := s.spool.Put(to, name, func(w io.Writer) error {
		sealed, err := seal(w, s.mail, p, name, notes...)
		if err != nil {
			return err
		}
		if err := write(sealed); err != nil {
			return err
		}
		return sealed.Close()
	})
	e := audit.Entry{Kind: "file.sealed", Actor: "system:site", Subject: fmt.Sprintf("file/%x", sum), Data: map[string]any{"partner": to, "file": name, "size": size}}
	switch {
	case errors.Is(err, edge.ErrUsed) && also == nil:
		return nil
	case errors.Is(err, edge.ErrUsed): // the site stopped before its entry
		e.Subject, e.Data = "file/"+name, map[string]any{"partner": to, "file": name}
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	}
	return s.store.Change(ctx, e, also)
}

// Withdraw deletes a file that was sent to a partner from the spool. It is no
// error if it is not there.
func (s *Site) Withdraw(to, name string) error { return s.spool.Withdraw(to, name) }

// Unseal opens a file that came from a partner and was kept as it came.
func (s *Site) Unseal(path, from string) (*exchange.Message, error) {
	return exchange.Open(path, s.mail, []*exchange.Partner{s.partners[from]}, s.limits())
}

// logTransfers moves the edge's transfer records into the audit log.
func (s *Site) logTransfers(ctx context.Context) error {
	records, err := s.spool.Records()
	if err != nil {
		return err
	}
	for _, r := range records {
		e := audit.Entry{Kind: "transfer." + r.Outcome, Actor: "partner/" + r.Partner, Subject: "file/" + r.SHA256,
			Data: map[string]any{"direction": r.Direction, "file": r.File, "size": r.Size, "text": r.Text, "remote": r.Remote}}
		if r.Took > 0 {
			e.Data["took_ms"] = r.Took
		}
		if r.From > 0 {
			e.Data["from"] = r.From
		}
		if err := s.store.Enter(ctx, e); err != nil {
			return err
		}
		if err := s.spool.Forget(r); err != nil {
			return err
		}
	}
	return nil
}
