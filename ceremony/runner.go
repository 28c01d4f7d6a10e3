package ceremony

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/hsm"
	"ankan/keys"
	"ankan/notice"
	"ankan/store"
)

//go:embed migrations
var migrations embed.FS

// Schema is the tables that this package owns.
func Schema() store.Schema { return store.Embedded("ceremony", migrations) }

// The states of a ceremony.
const (
	Drafted = "drafted"
	Open    = "open"
	Break   = "break"
	Closed  = "closed"
	Aborted = "aborted"
)

// Errors that callers branch on.
var (
	ErrNone   = errors.New("no such ceremony")
	ErrTurn   = errors.New("it is not your turn")
	ErrLate   = errors.New("the time to enter is over")
	ErrEdited = errors.New("the plan was edited since it was reviewed")
	ErrWaits  = errors.New("it is signed, and is carried out when the security module is back")
)

// A Config is what a runner works with.
type Config struct {
	Site     string
	Country  string
	Store    *store.Store
	People   *access.Directory
	Register *keys.Register
	Module   hsm.Module
	// Sign signs a document of a type with the site's key.
	Sign func(ctx context.Context, kind string, payload []byte) ([]byte, error)
	// Overdue says what a custodian owes, "" if nothing: who has not counted
	// does not take part (SOP 6.3.2.q).
	Overdue func(ctx context.Context, person string) (string, error)
}

// A Runner runs the ceremonies of one site. Its methods may be called at the
// same time; what changes one ceremony happens one after another.
type Runner struct {
	Config

	mu     sync.Mutex
	locks  map[string]*sync.Mutex // by ceremony
	swept  map[string]bool        // ceremonies that left nothing in the module
	waited map[string]bool        // steps of which the log says that they wait
}

// New is a runner. Resume comes next.
func New(c Config) *Runner {
	return &Runner{Config: c, locks: map[string]*sync.Mutex{}, swept: map[string]bool{}, waited: map[string]bool{}}
}

// hold keeps others from changing a ceremony until it is let go.
func (r *Runner) hold(id string) (letGo func()) {
	r.mu.Lock()
	l := r.locks[id]
	if l == nil {
		l = new(sync.Mutex)
		r.locks[id] = l
	}
	r.mu.Unlock()
	l.Lock()
	return l.Unlock
}

// A Ceremony is one ceremony as it stands.
type Ceremony struct {
	ID       string    `json:"id"`
	Kind     Kind      `json:"kind"`
	Title    string    `json:"title"`
	State    string    `json:"state"`
	Editor   string    `json:"editor"`
	Digest   string    `json:"plan_sha256"`
	Words    []string  `json:"words"`
	Drafted  time.Time `json:"drafted"`
	Opened   time.Time `json:"opened,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	Act      string    `json:"act,omitempty"`
	Steps    []StepNow `json:"steps"`
	Now      int       `json:"now"` // the step that is next; 0 when none is
	Notes    []Note    `json:"notes"`
	Key      string    `json:"key"`
	Document string    `json:"document"`

	Plan Plan `json:"-"`
}

// A StepNow is a step and how far it has come.
type StepNow struct {
	Step
	Signatures []StepSignature   `json:"signatures"`
	Effect     string            `json:"effect_state,omitempty"` // doing, done
	Result     map[string]string `json:"result,omitempty"`
	Began      time.Time         `json:"began,omitzero"` // of an entry
	Entered    bool              `json:"entered,omitempty"`
	By         string            `json:"entering,omitempty"`
}

// A StepSignature is one person's word on a step.
type StepSignature struct {
	Person string    `json:"person"`
	Act    string    `json:"act"`
	At     time.Time `json:"at"`
	Entry  int64     `json:"entry"`
}

// A Note is a deviation, a break, its end, or a failure.
type Note struct {
	Kind   string    `json:"kind"`
	Person string    `json:"person"`
	At     time.Time `json:"at"`
	Step   int       `json:"step"`
	Text   string    `json:"text"`
}

// Signed says whether a person has signed this step.
func (s StepNow) Signed(person string) bool {
	return slices.ContainsFunc(s.Signatures, func(g StepSignature) bool { return g.Person == person })
}

// Done says that everybody has signed and what had to happen has.
func (s StepNow) Done() bool {
	for _, who := range s.Step.By {
		if !s.Signed(who) {
			return false
		}
	}
	return s.Step.Effect == None || s.Effect == "done"
}

// Draft writes a plan down, in the place of an earlier draft of it, and says
// what is wrong with it: a plan with findings can be read, not opened.
func (r *Runner) Draft(ctx context.Context, editor string, doc []byte) (Ceremony, []string, error) {
	p, err := ParsePlan(doc)
	if err != nil {
		return Ceremony{}, nil, err
	}
	findings, err := r.Check(ctx, p)
	if err != nil {
		return Ceremony{}, nil, err
	}
	e := audit.Entry{Kind: "ceremony.drafted", Actor: "person/" + editor, Subject: "ceremony/" + p.ID,
		Data: map[string]any{"kind": string(p.Kind), "plan_sha256": fmt.Sprintf("%x", p.digest), "findings": len(findings)}}
	defer r.hold(p.ID)()
	err = r.Store.Change(ctx, e, func(tx *store.Tx) error {
		res, err := tx.Exec(`INSERT INTO ceremony (id, kind, title, document, editor, state, drafted) VALUES ($1, $2, $3, $4, $5, 'drafted', $6)
			ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, title = excluded.title, document = excluded.document, editor = excluded.editor, drafted = excluded.drafted
			WHERE ceremony.state = 'drafted'`, p.ID, string(p.Kind), p.Title, doc, editor, store.Stamp(tx.Time()))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return errors.Join(fmt.Errorf("ceremony %s: %w: it has begun; a plan is not changed any more", p.ID, act.ErrNotAllowed), err)
		}
		return nil
	})
	if err != nil {
		return Ceremony{}, nil, err
	}
	c, err := r.Get(ctx, p.ID)
	return c, findings, err
}

// List is all ceremonies, newest first.
func (r *Runner) List(ctx context.Context) ([]Ceremony, error) {
	ids, err := store.Collect(r.Store.Committed(ctx), store.Column[string], `SELECT id FROM ceremony ORDER BY drafted DESC, id DESC`)
	if err != nil {
		return nil, err
	}
	var all []Ceremony
	for _, id := range ids {
		c, err := r.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// Get is one ceremony as it stands; ErrNone if there is none.
func (r *Runner) Get(ctx context.Context, id string) (Ceremony, error) {
	var c Ceremony
	var doc, steps []byte
	var drafted, opened, ended string
	err := r.Store.QueryRow(ctx, `SELECT id, document, steps, editor, state, drafted, opened, ended, act FROM ceremony WHERE id = $1`, id).
		Scan(&c.ID, &doc, &steps, &c.Editor, &c.State, &drafted, &opened, &ended, &c.Act)
	if errors.Is(err, sql.ErrNoRows) {
		return c, fmt.Errorf("ceremony %q: %w", id, ErrNone)
	}
	if err != nil {
		return c, err
	}
	if c.Drafted, err = store.ParseStamp(drafted); err == nil {
		c.Opened, err = store.ParseStamp(opened)
	}
	if err == nil {
		c.Ended, err = store.ParseStamp(ended)
	}
	if err != nil {
		return c, err
	}
	if c.Plan, err = ParsePlan(doc); err != nil {
		return c, err
	}
	c.Kind, c.Title, c.Document, c.Key = c.Plan.Kind, c.Plan.Title, string(doc), c.Plan.Key.Name
	c.Digest, c.Words = fmt.Sprintf("%x", c.Plan.digest), act.Words(c.Plan.digest)
	var script []Step
	if len(steps) > 0 {
		err = json.Unmarshal(steps, &script)
	} else {
		script, err = r.scriptOf(ctx, c.Plan)
	}
	if err != nil {
		return c, err
	}
	for _, s := range script {
		c.Steps = append(c.Steps, StepNow{Step: s})
	}
	return c, r.fill(ctx, &c)
}

// scriptOf is the script of a plan as things are now.
func (r *Runner) scriptOf(ctx context.Context, p Plan) ([]Step, error) {
	copies, err := r.Register.Copies(ctx, p.Key.Name)
	if err != nil {
		return nil, err
	}
	return p.script(copies, func(id string) bool {
		_, err := r.People.Fit(ctx, id, custodian)
		return err == nil
	}), nil
}

// people are all who sign something: the participants, and in a destruction
// those who hold a copy.
func (c Ceremony) people() []string {
	all := c.Plan.participants()
	for _, s := range c.Steps {
		all = append(all, s.Step.By...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// fill adds what has happened.
func (r *Runner) fill(ctx context.Context, c *Ceremony) error {
	each := func(q string, scan func(*sql.Rows) error) error {
		rows, err := r.Store.Query(ctx, q, c.ID)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := scan(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	}
	step := func(n int) (*StepNow, error) {
		if n < 1 || n > len(c.Steps) {
			return nil, fmt.Errorf("ceremony %s has no step %d", c.ID, n)
		}
		return &c.Steps[n-1], nil
	}
	err := each(`SELECT step, person, act, at, entry FROM ceremony_signature WHERE ceremony = $1 ORDER BY entry`, func(rows *sql.Rows) error {
		var n int
		var g StepSignature
		var at string
		err := rows.Scan(&n, &g.Person, &g.Act, &at, &g.Entry)
		if err == nil {
			g.At, err = store.ParseStamp(at)
		}
		s, noStep := step(n)
		if err = errors.Join(err, noStep); err == nil {
			s.Signatures = append(s.Signatures, g)
		}
		return err
	})
	if err == nil {
		err = each(`SELECT step, state, result FROM ceremony_effect WHERE ceremony = $1`, func(rows *sql.Rows) error {
			var n int
			var state string
			var result []byte
			if err := rows.Scan(&n, &state, &result); err != nil {
				return err
			}
			s, err := step(n)
			if err == nil {
				s.Effect = state
				if len(result) > 0 {
					err = json.Unmarshal(result, &s.Result)
				}
			}
			return err
		})
	}
	if err == nil {
		err = each(`SELECT step, person, began, length(data) FROM ceremony_input WHERE ceremony = $1`, func(rows *sql.Rows) error {
			var n, size int
			var who, began string
			if err := rows.Scan(&n, &who, &began, &size); err != nil {
				return err
			}
			s, err := step(n)
			if err == nil {
				s.By, s.Entered = who, size > 0
				s.Began, err = time.Parse(time.RFC3339Nano, began)
			}
			return err
		})
	}
	if err == nil {
		err = each(`SELECT kind, person, at, step, text FROM ceremony_note WHERE ceremony = $1 ORDER BY rowid`, func(rows *sql.Rows) error {
			var n Note
			var at string
			err := rows.Scan(&n.Kind, &n.Person, &at, &n.Step, &n.Text)
			if err == nil {
				n.At, err = store.ParseStamp(at)
			}
			c.Notes = append(c.Notes, n)
			return err
		})
	}
	if c.State == Open || c.State == Break {
		for _, s := range c.Steps {
			if !s.Done() {
				c.Now = s.N
				break
			}
		}
	}
	return err
}

// agreeKey is the key pair to which components and shares of one ceremony are
// sealed. It goes when the ceremony ends.
func agreeKey(id string) string { return "ceremony/" + id + "/agree" }

// KeyName is the name in the module of the key that a ceremony is about. A
// rehearsal restores under a name of its own.
func (c Ceremony) KeyName() string {
	if c.Plan.Rehearsal {
		return "rehearsal/" + c.ID
	}
	return c.Plan.Key.Name
}

// Deeds are the acts of ceremonies.
func (r *Runner) Deeds() map[string]custody.Deed {
	return map[string]custody.Deed{
		"ceremony.open":  {Propose: r.proposeOpen, Do: r.doOpen},
		"ceremony.step":  {Propose: r.proposeStep, Do: r.doStep},
		"ceremony.note":  {Propose: r.proposeNote, Do: r.doNote},
		"ceremony.abort": {Propose: r.proposeAbort, Do: r.doAbort},
	}
}

func (r *Runner) proposeOpen(ctx context.Context, subject string) (map[string]string, error) {
	c, err := r.of(ctx, subject)
	if err != nil {
		return nil, err
	}
	if c.State != Drafted {
		return nil, fmt.Errorf("ceremony %s: %w: it is %s", c.ID, act.ErrNotAllowed, c.State)
	}
	findings, err := r.Check(ctx, c.Plan)
	if err != nil {
		return nil, err
	}
	if len(findings) > 0 {
		return nil, fmt.Errorf("ceremony %s: %w: the plan has %d findings, the first: %s", c.ID, act.ErrNotAllowed, len(findings), findings[0])
	}
	m := map[string]string{
		"plan_sha256": c.Digest, "kind": string(c.Kind), "title": c.Title, "room": c.Plan.Room, "key": c.Plan.Key.Name,
		"purpose": string(c.Plan.Key.Purpose), "algorithm": string(c.Plan.Key.Algorithm), act.ParamEditors: c.Editor,
	}
	for role, who := range c.Plan.everyone() {
		m["person_"+strings.ReplaceAll(role, " ", "_")] = who
	}
	for _, s := range c.Steps {
		m[fmt.Sprintf("step_%02d", s.N)] = s.Title + " (" + strings.Join(s.Step.By, ", ") + ")"
	}
	return m, nil
}

// same refuses a warrant whose act says something else than what is so now.
func (r *Runner) same(ctx context.Context, w custody.Warrant, propose func(context.Context, string) (map[string]string, error)) error {
	a := w.Act()
	now, err := propose(ctx, a.Subject)
	if err != nil {
		return err
	}
	if now["plan_sha256"] != a.Params["plan_sha256"] {
		return fmt.Errorf("%s: %w; ask again", a.Subject, ErrEdited)
	}
	return a.StillSays(now)
}

// of is the ceremony that a subject names: ceremony/ID.
func (r *Runner) of(ctx context.Context, subject string) (Ceremony, error) {
	id, ok := strings.CutPrefix(subject, "ceremony/")
	if !ok {
		return Ceremony{}, fmt.Errorf("subject %q is not ceremony/…", subject)
	}
	return r.Get(ctx, id)
}

func (r *Runner) doOpen(ctx context.Context, w custody.Warrant) error {
	// All openings, one after another: no two are about the same key.
	defer r.hold("")()
	defer r.hold(strings.TrimPrefix(w.Act().Subject, "ceremony/"))()
	c, err := r.of(ctx, w.Act().Subject)
	if err == nil {
		err = r.same(ctx, w, r.proposeOpen)
	}
	if err != nil {
		return err
	}
	var script []Step
	for _, s := range c.Steps {
		script = append(script, s.Step)
	}
	doc, err := json.Marshal(script)
	if err != nil {
		return err
	}
	// The key pair comes first: without it nobody could enter anything. A try
	// before this one may have made it.
	if _, err := r.Module.Generate(keys.For(ctx, "ceremony/"+c.ID), agreeKey(c.ID), hsm.Agree, hsm.P521); err != nil && !errors.Is(err, hsm.ErrKeyExists) {
		return err
	}
	return w.Use(ctx, "ceremony.open", "ceremony/"+c.ID, map[string]any{"plan_sha256": c.Digest, "steps": len(script)}, func(tx *store.Tx) error {
		res, err := tx.Exec(`UPDATE ceremony SET state = 'open', opened = $1, steps = $2, act = $3 WHERE id = $4 AND state = 'drafted'`,
			store.Stamp(tx.Time()), doc, w.Act().ID, c.ID)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return errors.Join(fmt.Errorf("ceremony %s: %w: it has begun", c.ID, act.ErrNotAllowed), err)
		}
		return r.tell(tx, c, "ceremony.opened", fmt.Sprintf("Ceremony %s, %s, has begun in %s. You take part.", c.ID, c.Title, c.Plan.Room))
	})
}

func (r *Runner) tell(tx *store.Tx, c Ceremony, kind, text string) error {
	return notice.Tell(tx, c.people(), notice.Notice{Kind: kind, Subject: "ceremony/" + c.ID, Text: text, Link: "/ceremonies/" + c.ID})
}

// stepOf is the ceremony and step that a subject names, ceremony/ID/N, if it is
// that step's turn.
func (r *Runner) stepOf(ctx context.Context, subject string) (Ceremony, StepNow, error) {
	rest, ok := strings.CutPrefix(subject, "ceremony/")
	id, number, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return Ceremony{}, StepNow{}, fmt.Errorf("subject %q is not ceremony/ID/STEP", subject)
	}
	c, err := r.Get(ctx, id)
	if err != nil {
		return c, StepNow{}, err
	}
	if c.State != Open {
		return c, StepNow{}, fmt.Errorf("ceremony %s: %w: it is %s", c.ID, act.ErrNotAllowed, stateWord(c.State))
	}
	if number != fmt.Sprint(c.Now) {
		return c, StepNow{}, fmt.Errorf("ceremony %s: %w: step %d is next, not %s", c.ID, ErrTurn, c.Now, number)
	}
	return c, c.Steps[c.Now-1], nil
}

func stateWord(s string) string {
	if s == Break {
		return "in a break; end it first"
	}
	return s
}

func (r *Runner) proposeStep(ctx context.Context, subject string) (map[string]string, error) {
	c, s, err := r.stepOf(ctx, subject)
	if err != nil {
		return nil, err
	}
	m := map[string]string{"plan_sha256": c.Digest, "step": fmt.Sprintf("%d of %d", s.N, len(c.Steps)), "title": s.Title, "statement": s.Statement, "by": strings.Join(s.Step.By, ", ")}
	return m, r.proposeEffect(ctx, c, s, m)
}

// idOf is the ceremony that a subject begins with.
func idOf(subject string) string {
	id, _, _ := strings.Cut(strings.TrimPrefix(subject, "ceremony/"), "/")
	return id
}

func (r *Runner) doStep(ctx context.Context, w custody.Warrant) error {
	defer r.hold(idOf(w.Act().Subject))()
	c, s, err := r.stepOf(ctx, w.Act().Subject)
	if err == nil {
		err = r.same(ctx, w, r.proposeStep)
	}
	if err != nil {
		return err
	}
	person := w.Act().Requester
	if !slices.Contains(s.Step.By, person) {
		return fmt.Errorf("ceremony %s, step %d: %w: it is signed by %s", c.ID, s.N, ErrTurn, strings.Join(s.Step.By, ", "))
	}
	if s.Signed(person) {
		return fmt.Errorf("ceremony %s, step %d: %w: person %s has signed it", c.ID, s.N, act.ErrNotAllowed, person)
	}
	if err := r.fit(ctx, c.Plan, person); err != nil {
		return err
	}
	last := len(s.Signatures)+1 == len(s.Step.By)
	err = w.Use(ctx, "ceremony.step", w.Act().Subject, map[string]any{"step": s.N, "key": s.Key, "plan_sha256": c.Digest}, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO ceremony_signature (ceremony, step, person, act, at, entry) VALUES ($1, $2, $3, $4, $5, $6)`,
			c.ID, s.N, person, w.Act().ID, store.Stamp(tx.Time()), tx.Index())
		if err == nil && last && s.Step.Effect != None {
			// The intent: what must happen now is known before it does.
			_, err = tx.Exec(`INSERT INTO ceremony_effect (ceremony, step, state) VALUES ($1, $2, 'doing')`, c.ID, s.N)
		}
		return err
	})
	if err != nil || !last || s.Step.Effect == None {
		return err
	}
	return r.carryOut(ctx, c.ID, s.N)
}

// plain says whether people can read a text as it is signed: no control
// characters, nothing that turns its direction, nothing invisible but the
// joiners of Indian scripts.
func plain(text string, most int) bool {
	const nonJoiner, joiner = '\u200C', '\u200D'
	return utf8.ValidString(text) && len(text) <= most && strings.TrimSpace(text) != "" &&
		!strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) && c != nonJoiner && c != joiner })
}

// fit refuses a participant who may not take part any more: people change
// while a ceremony waits.
func (r *Runner) fit(ctx context.Context, p Plan, person string) error {
	var first error
	for _, role := range p.roleOf(person) {
		_, err := r.People.Fit(ctx, person, role)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func (r *Runner) proposeNote(ctx context.Context, subject string) (map[string]string, error) {
	// ceremony/ID/KIND/TEXT: the text is what is signed.
	rest, ok := strings.CutPrefix(subject, "ceremony/")
	part := strings.SplitN(rest, "/", 3)
	if !ok || len(part) != 3 {
		return nil, fmt.Errorf("subject %q is not ceremony/ID/KIND/TEXT", subject)
	}
	c, err := r.Get(ctx, part[0])
	if err != nil {
		return nil, err
	}
	want := map[string]string{"deviation": Open, "break": Open, "resume": Break}[part[1]]
	if want == "" {
		return nil, fmt.Errorf("a note is a deviation, a break or a resume, not %q", part[1])
	}
	if c.State != want {
		return nil, fmt.Errorf("ceremony %s: %w: it is %s", c.ID, act.ErrNotAllowed, stateWord(c.State))
	}
	if !plain(part[2], 2000) {
		return nil, fmt.Errorf("ceremony %s: say what happened, in one line of up to 2000 bytes", c.ID)
	}
	if c.closing() {
		return nil, fmt.Errorf("ceremony %s: %w: its transcript is signed", c.ID, act.ErrNotAllowed)
	}
	return map[string]string{"plan_sha256": c.Digest, "note": part[1], "text": part[2], "step": fmt.Sprint(c.Now)}, nil
}

// closing says that everybody has signed the transcript: it does not change any
// more.
func (c Ceremony) closing() bool {
	return c.Now > 0 && c.Steps[c.Now-1].Step.Effect == CloseDown && c.Steps[c.Now-1].Effect == "doing"
}

func (r *Runner) doNote(ctx context.Context, w custody.Warrant) error {
	part := strings.SplitN(strings.TrimPrefix(w.Act().Subject, "ceremony/"), "/", 3)
	defer r.hold(part[0])()
	c, err := r.Get(ctx, part[0])
	if err == nil {
		err = r.same(ctx, w, r.proposeNote)
	}
	if err == nil {
		err = r.takesPart(c, w.Act().Requester)
	}
	if err != nil {
		return err
	}
	state := map[string]string{"deviation": Open, "break": Break, "resume": Open}[part[1]]
	return w.Use(ctx, "ceremony.note", w.Act().Subject, map[string]any{"note": part[1], "text": part[2], "step": c.Now}, func(tx *store.Tx) error {
		if _, err := tx.Exec(`UPDATE ceremony SET state = $1 WHERE id = $2`, state, c.ID); err != nil {
			return err
		}
		// Who has signed the transcript signed one without this note.
		if c.Steps[c.Now-1].Step.Effect == CloseDown {
			if _, err := tx.Exec(`DELETE FROM ceremony_signature WHERE ceremony = $1 AND step = $2`, c.ID, c.Now); err != nil {
				return err
			}
		}
		return putNote(tx, c.ID, w.Act().ID, Note{Kind: part[1], Person: w.Act().Requester, Step: c.Now, Text: part[2]})
	})
}

func putNote(tx *store.Tx, id, actID string, n Note) error {
	_, err := tx.Exec(`INSERT INTO ceremony_note (ceremony, act, kind, person, at, step, text) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		id, actID, n.Kind, n.Person, store.Stamp(tx.Time()), n.Step, n.Text)
	return err
}

func (r *Runner) takesPart(c Ceremony, person string) error {
	if !slices.Contains(c.people(), person) {
		return fmt.Errorf("ceremony %s: %w: person %s takes no part in it", c.ID, ErrTurn, person)
	}
	return nil
}

func (r *Runner) proposeAbort(ctx context.Context, subject string) (map[string]string, error) {
	rest, _ := strings.CutPrefix(subject, "ceremony/")
	id, reason, ok := strings.Cut(rest, "/")
	if !ok || !plain(reason, 2000) {
		return nil, fmt.Errorf("subject %q is not ceremony/ID/REASON, the reason in one line of up to 2000 bytes", subject)
	}
	c, err := r.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if c.State != Open && c.State != Break {
		return nil, fmt.Errorf("ceremony %s: %w: it is %s", c.ID, act.ErrNotAllowed, c.State)
	}
	if c.closing() {
		return nil, fmt.Errorf("ceremony %s: %w: its transcript is signed", c.ID, act.ErrNotAllowed)
	}
	m := map[string]string{"plan_sha256": c.Digest, "step": fmt.Sprint(c.Now), "reason": reason, "effect": "what was entered is wiped"}
	switch fresh, err := r.fresh(ctx, c); {
	case err != nil:
		return nil, err
	case fresh != "" && c.returns():
		m["effect"] += "; the key " + fresh + ", which nobody confirmed, waits for another ceremony that restores it"
	case fresh != "":
		m["effect"] += "; the key " + fresh + ", which nobody confirmed, is erased with its shares"
	}
	return m, nil
}

// returns says that the ceremony restores a key under its own name: that key is
// never erased by it.
func (c Ceremony) returns() bool { return c.Kind == Restore && !c.Plan.Rehearsal }

// fresh is the name of the key that this ceremony made, or began to make, and
// nobody has confirmed; "" if there is none.
func (r *Runner) fresh(ctx context.Context, c Ceremony) (string, error) {
	k, err := r.Register.Key(ctx, c.KeyName())
	if errors.Is(err, keys.ErrNoKey) || err == nil && k.State != keys.PreActivation && k.State != keys.Making {
		return "", nil
	}
	if err != nil || c.returns() {
		return k.ID, err
	}
	links, err := r.Register.Links(ctx, k.ID)
	if !slices.ContainsFunc(links, func(l keys.Link) bool { return l.What == "ceremony/"+c.ID }) {
		return "", err
	}
	return k.ID, err
}

func (r *Runner) doAbort(ctx context.Context, w custody.Warrant) error {
	rest := strings.TrimPrefix(w.Act().Subject, "ceremony/")
	id, reason, _ := strings.Cut(rest, "/")
	defer r.hold(id)()
	c, err := r.Get(ctx, id)
	if err == nil {
		err = r.same(ctx, w, r.proposeAbort)
	}
	if err == nil {
		err = r.takesPart(c, w.Act().Requester)
	}
	if err != nil {
		return err
	}
	err = w.Use(ctx, "ceremony.abort", w.Act().Subject, map[string]any{"step": c.Now, "reason": reason}, func(tx *store.Tx) error {
		if _, err := tx.Exec(`DELETE FROM ceremony_input WHERE ceremony = $1`, c.ID); err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE ceremony SET state = 'aborted', ended = $1 WHERE id = $2`, store.Stamp(tx.Time()), c.ID); err != nil {
			return err
		}
		if err := r.tell(tx, c, "ceremony.aborted", fmt.Sprintf("Ceremony %s was aborted by person %s: %q. What was entered is wiped.", c.ID, w.Act().Requester, reason)); err != nil {
			return err
		}
		return putNote(tx, c.ID, w.Act().ID, Note{Kind: "abort", Person: w.Act().Requester, Step: c.Now, Text: reason})
	})
	if err != nil {
		return err
	}
	return r.tidy(ctx, c.ID)
}

// tidy sweeps after a ceremony that has just ended. That the module cannot
// erase now does not undo its end: Resume tries again.
func (r *Runner) tidy(ctx context.Context, id string) error {
	ctx = context.WithoutCancel(ctx)
	err := r.sweep(ctx, id)
	if err == nil {
		return nil
	}
	e := audit.Entry{Kind: "ceremony.unswept", Actor: "system:ceremony", Subject: "ceremony/" + id, Data: map[string]any{"why": err.Error()}}
	return r.Store.Enter(ctx, e)
}

// sweep erases what an ended ceremony leaves in the module: its key pair and,
// after an abort, a key that nobody confirmed, with the shares of it.
func (r *Runner) sweep(ctx context.Context, id string) error {
	r.mu.Lock()
	done := r.swept[id]
	r.mu.Unlock()
	if done {
		return nil
	}
	c, err := r.Get(ctx, id)
	if err != nil {
		return err
	}
	if c.State == Aborted && !c.returns() {
		fresh, err := r.fresh(ctx, c)
		if err == nil && fresh != "" {
			err = r.unmake(ctx, c, fresh)
		}
		if err != nil {
			return err
		}
	}
	if err := r.erase(ctx, agreeKey(id)); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.swept[id] = true
	return nil
}

// unmake forgets the shares of a key that nobody confirmed, and erases it.
func (r *Runner) unmake(ctx context.Context, c Ceremony, name string) error {
	left, err := r.left(ctx, name)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		e := audit.Entry{Kind: "ceremony.forgotten", Actor: "system:ceremony", Subject: "ceremony/" + c.ID, Data: map[string]any{"key": name, "copies": len(left)}}
		err := r.Store.Change(ctx, e, func(tx *store.Tx) error {
			for _, k := range left {
				if err := keys.CopyGone(tx, k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return r.erase(ctx, name)
}

// Resume goes on where the site stopped, or where the module was gone: what a
// step had to do and may not have done, and what an ended ceremony left.
func (r *Runner) Resume(ctx context.Context) error {
	ids, err := store.Collect(r.Store.Committed(ctx), store.Column[string], `SELECT id FROM ceremony WHERE state <> 'drafted' ORDER BY id`)
	errs := []error{err}
	for _, id := range ids {
		errs = append(errs, r.resume(ctx, id))
	}
	return errors.Join(errs...)
}

func (r *Runner) resume(ctx context.Context, id string) error {
	r.mu.Lock()
	done := r.swept[id]
	r.mu.Unlock()
	if done {
		return nil
	}
	defer r.hold(id)()
	c, err := r.Get(ctx, id)
	if err != nil {
		return err
	}
	if c.State == Closed || c.State == Aborted {
		return r.sweep(ctx, id)
	}
	if c.Now > 0 && c.Steps[c.Now-1].Effect == "doing" {
		return r.carryOut(ctx, id, c.Now)
	}
	return nil
}
