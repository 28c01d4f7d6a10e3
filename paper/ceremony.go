package paper

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"ankan/ceremony"
)

// A Plan is a ceremony before it begins: the script, with room for initials and
// times, and the plan as it was written (SOP 6.4.0). The mark's number and
// digest are the plan's own.
type Plan struct {
	Mark
	Ceremony ceremony.Ceremony
	Names    Names
}

// PDF prints it. It refuses a ceremony whose steps do not belong to its plan's
// digest, or that has none.
func (p Plan) PDF() ([]byte, error) {
	c := p.Ceremony
	plan, digest, err := readPlan(c.ID, c.Document, c.Digest)
	if err != nil {
		return nil, err
	}
	if len(c.Steps) == 0 {
		return nil, fmt.Errorf("ceremony %s: it has no steps", c.ID)
	}
	m, err := p.Mark.of("ceremony-plan", c.ID, digest)
	if err != nil {
		return nil, err
	}
	says := "The script, to be initialled step by step. Nothing is done that does not stand here; what goes otherwise is written down as a deviation (SOP 6.4.0)."
	return paper{mark: m, kind: "ceremony-plan", name: "Ceremony script: " + plan.Title, says: says}.print(func(s *sheet) { p.draw(s, plan) })
}

// readPlan reads a plan as it was written, and compares its digest.
func readPlan(id, document, digits string) (ceremony.Plan, [32]byte, error) {
	digest := sha256.Sum256([]byte(document))
	said, err := digestOf("ceremony "+id+": SHA-256 of the plan", digits)
	if err != nil {
		return ceremony.Plan{}, digest, err
	}
	if said != digest {
		return ceremony.Plan{}, digest, fmt.Errorf("ceremony %s: the plan has SHA-256 %x, the record says %s", id, digest, digits)
	}
	plan, err := ceremony.ParsePlan([]byte(document))
	if err == nil && plan.ID != id {
		err = fmt.Errorf("ceremony %s: the plan is that of %s", id, plan.ID)
	}
	return plan, digest, err
}

func (p Plan) draw(s *sheet, plan ceremony.Plan) {
	c := p.Ceremony
	s.section("Ceremony")
	about(s, plan,
		fact(2, "Drafted by", p.Names.of(c.Editor)), fact(2, "Drafted", both(c.Drafted)),
		fact(2, "Act that opened it", c.Act), blank(2, "Begun, date and time IST and UTC", both(c.Opened)))

	s.section("People")
	s.text(body, "Everybody signs here on arrival, and compares the six words at the foot of the page with those on the screen.")
	var rows [][][]said
	for _, who := range cast(plan) {
		rows = append(rows, [][]said{{{body, who[0]}}, {{strong, p.Names.of(who[1])}}, {{body, ""}}, {{body, ""}}, {{body, ""}}})
	}
	s.sheetOf([]column{{"Part", 34}, {"Person", 0}, {"Signature", 42}, {"Initials", 18}, {"Time IST, UTC", 26}}, rows, 10)

	s.section("Steps")
	rows = nil
	for _, step := range c.Steps {
		for i, who := range step.Step.By {
			row := [][]said{{{faint, strconv.Itoa(step.N)}}, {{faint, step.Title}}, {{body, p.Names.of(who)}}, {}, {}}
			if i == 0 {
				row[0], row[1] = []said{{strong, strconv.Itoa(step.N)}}, []said{{strong, step.Title}, {body, step.Statement}}
			}
			rows = append(rows, row)
		}
	}
	s.sheetOf([]column{{"Step", 11}, {"What is done and said", 0}, {"By", 38}, {"Initials", 18}, {"Time IST, UTC", 26}}, rows, 10)

	s.section("Deviations, breaks and interruptions")
	s.sheetOf([]column{{"Step", 14}, {"What went otherwise, and why", 0}, {"Initials", 18}, {"Time IST, UTC", 26}},
		[][][]said{cells("", "", "", ""), cells("", "", "", ""), cells("", "", "", ""), cells("", "", "", "")}, 12)
	written(s, c.Document)
}

// about is what a ceremony is for.
func about(s *sheet, plan ceremony.Plan, more ...field) {
	k := plan.Key
	fields := []field{
		fact(1, "Kind", string(plan.Kind)), fact(3, "Room", plan.Room),
		fact(2, "Key", k.Name), fact(1, "Algorithm", string(k.Algorithm)), fact(1, "Purpose", string(k.Purpose)),
	}
	if !k.KCV.IsZero() || k.Partner != "" {
		fields = append(fields, fact(2, "Check value that it must have", k.KCV.String()), fact(2, "Shared with", k.Partner))
	}
	if plan.Old != "" {
		fields = append(fields, fact(4, "Takes the place of", plan.Old))
	}
	if b := plan.Backup; b != nil {
		fields = append(fields, fact(4, "Backup", fmt.Sprintf("%d shares, of which %d restore the key", len(b.Holders), b.Threshold)))
	}
	if plan.Kind == ceremony.Restore {
		to := "the key comes back into use"
		if plan.Rehearsal {
			to = "rehearsal: what was restored is compared and erased again"
		}
		fields = append(fields, fact(4, "Restored for", to))
	}
	if w := plan.Wrap; w != nil {
		fields = append(fields, fact(1, "Wrapped as", string(w.Format)), fact(2, "Under", w.Under), fact(1, "Label", w.Label))
		if w.To != nil {
			fields = append(fields, fact(4, "To the certificate of", w.To.Subject.String()),
				field{4, "SHA-256 of the certificate", said{fixed, grouped(sha256.Sum256(w.To.Raw))}})
		}
	}
	s.grid(append(fields, more...)...)
	if len(plan.Parts) == 0 {
		return
	}
	var rows [][][]said
	for i, part := range plan.Parts {
		rows = append(rows, cells(fmt.Sprintf("%d of %d", i+1, len(plan.Parts)), or(part.KCV.String()), or(part.Form), or(part.Bag)))
	}
	s.table([]column{{"Component", 26}, {"Check value", 44}, {"Key transfer form", 52}, {"Bag", 0}}, rows)
}

// cast is everybody in a plan: what they are in it, and their number.
func cast(plan ceremony.Plan) [][2]string {
	var all [][2]string
	order := []string{"key-manager", "hsm-administrator", "security-officer", "witness"}
	roles := slices.SortedFunc(maps.Keys(plan.People), func(a, b string) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a), slices.Index(order, b)), cmp.Compare(a, b))
	})
	for _, role := range roles {
		all = append(all, [2]string{strings.ReplaceAll(strings.ReplaceAll(role, "hsm", "HSM"), "-", " "), plan.People[role]})
	}
	for i, part := range plan.Parts {
		all = append(all, [2]string{fmt.Sprintf("custodian of component %d", i+1), part.Custodian})
	}
	holders := plan.Holders
	if plan.Backup != nil {
		holders = plan.Backup.Holders
	}
	for i, who := range holders {
		all = append(all, [2]string{fmt.Sprintf("holder of share %d", i+1), who})
	}
	return all
}

// written is a plan as it was written: its digest is what was approved.
func written(s *sheet, document string) {
	s.section("The plan as it was written")
	s.text(fixed, strings.TrimRight(document, "\n"))
}

// A Transcript is a ceremony as it went: who signed which step when, under
// which act, what it did, deviations and breaks. The mark's number and digest
// are the transcript's own.
type Transcript struct {
	Mark
	Transcript ceremony.Transcript
	// Closing are the signatures of the last step, by which everybody signed the
	// transcript, and Ended is when; zero while the ceremony is not closed.
	Closing []ceremony.StepSignature
	Ended   time.Time
	Names   Names
}

// PDF prints it. It refuses a transcript whose plan is not the one whose digest
// it names.
func (t Transcript) PDF() ([]byte, error) {
	plan, m, err := t.read("ceremony-transcript")
	if err != nil {
		return nil, err
	}
	says := "What happened, as it was signed step by step (SOP 6.4.0). The signed document of this number is the record; this paper shows it."
	if t.Ended.IsZero() {
		says = "Not closed: this is how far the ceremony came."
	}
	return paper{mark: m, kind: "ceremony-transcript", name: "Ceremony transcript: " + t.Transcript.Title, says: says}.print(func(s *sheet) { t.draw(s, plan) })
}

func (t Transcript) read(kind string) (ceremony.Plan, Mark, error) {
	plan, _, err := readPlan(t.Transcript.Ceremony, t.Transcript.Plan, t.Transcript.PlanSHA)
	if err != nil {
		return plan, t.Mark, err
	}
	m, err := t.Mark.of(kind, t.Transcript.Ceremony, sha256.Sum256(t.Transcript.Canonical()))
	return plan, m, err
}

func (t Transcript) draw(s *sheet, plan ceremony.Plan) {
	c := t.Transcript
	s.section("Ceremony")
	about(s, plan, fact(2, "Opened", both(c.Opened)), fact(2, "Closed", both(t.Ended)), field{4, "Act that opened it", said{fixed, c.Act}},
		field{4, "SHA-256 of the plan", said{fixed, c.PlanSHA}}, fact(4, "Six words of the plan, compared by everybody", strings.Join(c.Words, " ")))
	t.people(s, plan)
	s.section("Steps")
	for _, step := range c.Steps {
		t.step(s, step)
	}
	s.section("Deviations, breaks and interruptions")
	var rows [][][]said
	for _, n := range c.Notes {
		rows = append(rows, [][]said{{{strong, n.Kind}}, {{body, or(ifAbove(n.Step))}}, {{body, t.Names.of(n.Person)}}, stacked(n.At), {{body, or(n.Text)}}})
	}
	s.table([]column{{"Kind", 22}, {"Step", 11}, {"By", 38}, {"Time", 43}, {"What", 0}}, rows)
	s.section("Closing")
	if t.Ended.IsZero() {
		s.text(strong, "The ceremony is not closed.")
	} else {
		s.text(body, "Everybody signed, with a passkey each, over the SHA-256 at the foot of this page: I read the transcript. It says what happened, deviations and breaks included.")
		t.signatures(s, "", t.Closing)
	}
	written(s, c.Plan)
}

func (t Transcript) people(s *sheet, plan ceremony.Plan) {
	s.section("People")
	var rows [][][]said
	for _, who := range cast(plan) {
		rows = append(rows, [][]said{{{body, who[0]}}, {{strong, t.Names.of(who[1])}}})
	}
	s.table([]column{{"Part", 60}, {"Person", 0}}, rows)
}

// step is a step, who signed it, and what it did.
func (t Transcript) step(s *sheet, step ceremony.TranscriptStep) {
	s.need(26)
	s.row([]cell{s.cell(11, said{strong, strconv.Itoa(step.N)}), s.cell(width-11, said{strong, step.Title}, said{body, step.Statement})}, 0, false, func() {})
	t.signatures(s, strconv.Itoa(step.N), step.Signatures)
	var results []field
	for _, name := range slices.Sorted(maps.Keys(step.Result)) {
		results = append(results, field{4, "Result: " + strings.ReplaceAll(name, "_", " "), said{fixed, step.Result[name]}})
	}
	s.grid(results...)
	s.y++
}

func (t Transcript) signatures(s *sheet, step string, all []ceremony.StepSignature) {
	for _, g := range all {
		s.row([]cell{s.cell(11, said{faint, step}), s.cell(44, said{body, t.Names.of(g.Person)}), s.cell(45, stacked(g.At)...),
			s.cell(width-100, said{faint, "act " + g.Act}, said{faint, "log entry " + or(count(g.Entry))})}, 0, false, func() {})
	}
	if len(all) == 0 {
		s.row([]cell{s.cell(11), s.cell(width-11, said{body, "nobody signed"})}, 0, false, func() {})
	}
}

// ifAbove is a number, "" for 0.
func ifAbove(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
