// Package ceremony runs key ceremonies from a reviewed plan: one file that
// everybody reads, steps that people sign one after another, a transcript in
// the end (SOP 6.4.0, 6.4.e). What it does in the security module it does after
// the people have signed, and finds out by looking what became of it if the
// site stopped meanwhile.
package ceremony

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ankan/access"
	"ankan/document"
	"ankan/hsm"
)

// A Kind is what a ceremony is for.
type Kind string

// The kinds.
const (
	Generate         Kind = "generate"          // a new key; with shares of it for a backup, if the plan has some
	ImportComponents Kind = "import-components" // two or three XOR components become a key
	ExportComponents Kind = "export-components" // a key leaves as two or three XOR components
	ImportWrapped    Kind = "import-wrapped"    // a key comes under a key that is here
	ExportWrapped    Kind = "export-wrapped"    // a key leaves under another
	Restore          Kind = "restore"           // shares become a key again, if only to show that they do
	Rotate           Kind = "rotate"            // a new key takes the place of an old one
	Destroy          Kind = "destroy"           // a key and every copy of it go
)

// Kinds are all kinds.
func Kinds() []Kind {
	return []Kind{Generate, ImportComponents, ExportComponents, ImportWrapped, ExportWrapped, Restore, Rotate, Destroy}
}

// imports says that a key comes from elsewhere in a ceremony of this kind.
func (k Kind) imports() bool { return k == ImportComponents || k == ImportWrapped }

// exports says that a key leaves in a ceremony of this kind.
func (k Kind) exports() bool { return k == ExportComponents || k == ExportWrapped }

// A Plan is what a ceremony is to do and who does it. Everybody reads the same
// file, and its digest is what is approved.
type Plan struct {
	ID    string // ceremony
	Kind  Kind
	Title string
	Room  string
	Key   KeyPlan
	Old   string // the key whose place it takes (rotate)
	Parts []Part // components, in their order
	// Backup asks for shares of a new key.
	Backup *Backup
	// Holders bring their shares (restore).
	Holders   []string
	Rehearsal bool // what was restored is compared and erased again (restore)
	Wrap      *Wrap
	People    map[string]string // by role: key-manager, hsm-administrator, security-officer, witness

	digest [32]byte
}

// A KeyPlan is the key that it is about.
type KeyPlan struct {
	Name      string
	Purpose   hsm.Purpose
	Algorithm hsm.Algorithm
	Partner   string  // who shares it
	KCV       hsm.KCV // what its check value must be; zero if nobody knows it yet
}

// A Part is one component and its custodian.
type Part struct {
	Custodian string
	KCV       hsm.KCV // of the component, as its form says (import)
	Form      string  // key transfer form
	Bag       string
}

// A Backup is M of N shares.
type Backup struct {
	Threshold int
	Holders   []string
}

// A Wrap is how a key is wrapped, and what it was wrapped into.
type Wrap struct {
	Format hsm.Format
	Under  string // key of ours
	Label  string
	To     *x509.Certificate // export by OAEP or ECDH
	Blob   []byte            // import
}

// Digest is the SHA-256 of the plan as it was written.
func (p Plan) Digest() [32]byte { return p.digest }

// The roles of a plan, beside custodians and holders.
const (
	keyManager = "key-manager"
	hsmAdmin   = "hsm-administrator"
	officer    = "security-officer"
	witness    = "witness"
	custodian  = "key-custodian"
	nodal      = "nodal-officer"
	alternate  = "alternate-nodal-officer"
)

var ceremonyID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,39}$`)

// written is a plan as YAML has it.
type written struct {
	Ceremony string `yaml:"ceremony"`
	Kind     Kind   `yaml:"kind"`
	Title    string `yaml:"title"`
	Room     string `yaml:"room"`
	Key      struct {
		Name      string        `yaml:"name"`
		Purpose   hsm.Purpose   `yaml:"purpose"`
		Algorithm hsm.Algorithm `yaml:"algorithm"`
		Partner   string        `yaml:"partner"`
		KCV       string        `yaml:"kcv"`
	} `yaml:"key"`
	Old   string `yaml:"old"`
	Parts []struct {
		Custodian string `yaml:"custodian"`
		KCV       string `yaml:"kcv"`
		Form      string `yaml:"form"`
		Bag       string `yaml:"bag"`
	} `yaml:"parts"`
	Backup *struct {
		Threshold any      `yaml:"threshold"` // the library would cut a fraction off
		Holders   []string `yaml:"holders"`
	} `yaml:"backup"`
	Holders   []string `yaml:"holders"`
	Rehearsal bool     `yaml:"rehearsal"`
	Wrap      *struct {
		Format      hsm.Format `yaml:"format"`
		Under       string     `yaml:"under"`
		Label       string     `yaml:"label"`
		Certificate string     `yaml:"certificate"`
		Blob        string     `yaml:"blob"`
	} `yaml:"wrap"`
	People map[string]string `yaml:"people"`
}

// ParsePlan reads a plan. It refuses what is wrong whoever looks: form, numbers,
// fields of another kind. What depends on the site is Runner.Check's.
func ParsePlan(doc []byte) (Plan, error) {
	var w written
	tree, err := document.Read("plan", doc, &w)
	if err != nil {
		return Plan{}, err
	}
	fail := func(path, format string, args ...any) (Plan, error) {
		line, column := tree.Place(path)
		return Plan{}, &document.Error{File: "plan", Line: line, Column: column, Text: fmt.Sprintf(format, args...)}
	}
	p := Plan{
		ID: w.Ceremony, Kind: w.Kind, Title: w.Title, Room: w.Room, Old: w.Old, Holders: w.Holders, Rehearsal: w.Rehearsal, People: w.People,
		Key:    KeyPlan{Name: w.Key.Name, Purpose: w.Key.Purpose, Algorithm: w.Key.Algorithm, Partner: w.Key.Partner},
		digest: sha256.Sum256(doc),
	}
	if !ceremonyID.MatchString(p.ID) {
		return fail("$.ceremony", "ceremony is %q, want up to 40 letters, digits, . and -", p.ID)
	}
	if !slices.Contains(Kinds(), p.Kind) {
		return fail("$.kind", "kind is %q, want one of %s", p.Kind, joined(Kinds()))
	}
	for _, t := range []struct {
		at, text string
		must     bool
	}{{"title", p.Title, true}, {"room", p.Room, true}, {"key.partner", p.Key.Partner, false}} {
		if (t.must || t.text != "") && !plain(t.text, 120) {
			return fail("$."+t.at, "%s is %q, want one line of up to 120 bytes", t.at, t.text)
		}
	}
	if err := hsm.CheckID(p.Key.Name); err != nil {
		return fail("$.key.name", "%v", err)
	}
	if err := p.Key.Purpose.Fits(p.Key.Algorithm); err != nil {
		return fail("$.key.algorithm", "%v", err)
	}
	if p.Key.KCV, err = kcv(w.Key.KCV, p.Key.Algorithm); err != nil {
		return fail("$.key.kcv", "%v", err)
	}
	for i, part := range w.Parts {
		q := Part{Custodian: part.Custodian, Form: part.Form, Bag: part.Bag}
		if q.Form+q.Bag != "" && !plain(q.Form+q.Bag, 120) {
			return fail(fmt.Sprintf("$.parts[%d].form", i), "form and bag are %q and %q, want numbers in one line", q.Form, q.Bag)
		}
		if q.KCV, err = kcv(part.KCV, p.Key.Algorithm); err != nil {
			return fail(fmt.Sprintf("$.parts[%d].kcv", i), "%v", err)
		}
		p.Parts = append(p.Parts, q)
	}
	if w.Backup != nil {
		m, ok := w.Backup.Threshold.(uint64)
		if !ok {
			return fail("$.backup.threshold", "threshold is %v, want a whole number", w.Backup.Threshold)
		}
		n := len(w.Backup.Holders)
		if m < 2 || m >= uint64(n) || n > 16 {
			return fail("$.backup", "threshold is %d of %d holders, want at least 2, less than the holders, and at most 16 of them", m, n)
		}
		p.Backup = &Backup{Threshold: int(m), Holders: w.Backup.Holders}
	}
	if w.Wrap != nil {
		p.Wrap = &Wrap{Format: w.Wrap.Format, Under: w.Wrap.Under, Label: w.Wrap.Label}
		if p.Wrap.Blob, err = base64.StdEncoding.Strict().DecodeString(w.Wrap.Blob); err != nil {
			return fail("$.wrap.blob", "the wrapped key is not base64")
		}
		if w.Wrap.Certificate != "" {
			block, rest := pem.Decode([]byte(w.Wrap.Certificate))
			if block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
				return fail("$.wrap.certificate", "want one certificate in PEM")
			}
			if p.Wrap.To, err = x509.ParseCertificate(block.Bytes); err != nil {
				return fail("$.wrap.certificate", "%v", err)
			}
		}
	}
	if path, text := p.shape(); text != "" {
		return fail(path, "%s", text)
	}
	if path, text := p.cast(); text != "" {
		return fail(path, "%s", text)
	}
	return p, nil
}

// wrapping is the wrap as the module takes it.
func (p Plan) wrapping() hsm.Wrapping {
	w := hsm.Wrapping{Format: p.Wrap.Format, Key: p.Wrap.Under, Label: p.Wrap.Label}
	if p.Wrap.To != nil {
		w.To = p.Wrap.To.PublicKey
	}
	return w
}

// kcv reads the check value of a key of the algorithm, or of a part of it.
func kcv(text string, a hsm.Algorithm) (hsm.KCV, error) {
	if text == "" {
		return hsm.KCV{}, nil
	}
	v, err := hsm.ParseKCV(text)
	if err == nil && a.NeedsWaiver() && v.Method() != a.CheckMethod() {
		err = fmt.Errorf("%s is of the method %s, of %s it is %s", text, v.Method(), a, a.CheckMethod())
	}
	return v, err
}

func joined[T ~string](list []T) string {
	var s []string
	for _, v := range list {
		s = append(s, string(v))
	}
	return strings.Join(s, ", ")
}

// shape says what a plan of its kind lacks, or has too much of.
func (p Plan) shape() (path, text string) {
	needs := func(ok bool, at, what string) (string, string) {
		if ok {
			return "", ""
		}
		return at, fmt.Sprintf("a ceremony to %s %s", p.Kind, what)
	}
	components := p.Kind == ImportComponents || p.Kind == ExportComponents
	wraps := p.Kind == ImportWrapped || p.Kind == ExportWrapped
	makes := p.Kind == Generate || p.Kind == Rotate
	for _, c := range []struct {
		ok       bool
		at, what string
	}{
		{!components || len(p.Parts) == 2 || len(p.Parts) == 3, "$.parts", fmt.Sprintf("takes two or three parts, this has %d (SOP 6.4.e.ii)", len(p.Parts))},
		{components || len(p.Parts) == 0, "$.parts", "has no parts"},
		{wraps == (p.Wrap != nil), "$.wrap", "and wrap do not go together, or wrap is missing"},
		{makes || p.Backup == nil, "$.backup", "makes no shares"},
		{(p.Kind == Rotate) == (p.Old != ""), "$.old", "and old do not go together, or old is missing"},
		{p.Old == "" || p.Old != p.Key.Name, "$.old", "takes a new key with a name of its own"},
		{(p.Kind == Restore) == (len(p.Holders) > 0), "$.holders", "and holders do not go together, or holders are missing"},
		{p.Kind == Restore || !p.Rehearsal, "$.rehearsal", "is no rehearsal"},
		{p.Kind != ImportComponents || p.allParts(func(q Part) bool { return !q.KCV.IsZero() }), "$.parts", "needs the check value of each part, as its form says"},
		{p.Kind != ImportComponents || p.differ(), "$.parts", "has two parts with the same check value: it is the same part"},
		{p.Kind != ExportComponents || p.allParts(func(q Part) bool { return q.KCV.IsZero() }), "$.parts", "draws its parts: nobody knows their check values yet"},
		{p.Kind != Destroy || p.People[witness] != "", "$.people", "needs a witness (SOP 6.4.e.viii)"},
		{p.Kind != ImportWrapped || p.Wrap != nil && len(p.Wrap.Blob) > 0, "$.wrap", "needs the blob"},
		{p.Kind == ImportWrapped || p.Wrap == nil || len(p.Wrap.Blob) == 0, "$.wrap.blob", "makes the blob"},
	} {
		if at, text := needs(c.ok, c.at, c.what); text != "" {
			return at, text
		}
	}
	if p.Wrap == nil {
		return "", ""
	}
	err := p.wrapping().CheckImport()
	if p.Kind == ExportWrapped {
		err = p.wrapping().CheckExport(p.Key.Algorithm)
	}
	if err != nil {
		return "$.wrap", err.Error()
	}
	return "", ""
}

// cast says what is wrong with who takes part.
func (p Plan) cast() (path, text string) {
	for _, role := range slices.Sorted(maps.Keys(p.People)) {
		if !slices.Contains([]string{keyManager, hsmAdmin, officer, witness}, role) {
			return "$.people", fmt.Sprintf("people names the role %q, want %s, %s, %s or %s", role, keyManager, hsmAdmin, officer, witness)
		}
	}
	for _, role := range []string{keyManager, hsmAdmin, officer} {
		if p.People[role] == "" {
			return "$.people", fmt.Sprintf("people names no %s", role)
		}
	}
	all, seen := p.everyone(), map[string]string{}
	for _, role := range slices.Sorted(maps.Keys(all)) {
		who, at := all[role], p.place(role)
		if err := access.CheckNumber(who); err != nil {
			return at, fmt.Sprintf("%s: %v", role, err)
		}
		if other := seen[who]; other != "" {
			return at, fmt.Sprintf("person %s has two parts in it, %s and %s; nobody acts twice in one ceremony (SOP 6.4.0)", who, other, role)
		}
		seen[who] = role
	}
	return "", ""
}

// place is where a plan says who has a role.
func (p Plan) place(role string) string {
	name, number, _ := strings.Cut(role, " ")
	n, _ := strconv.Atoi(number)
	switch {
	case name == "custodian":
		return fmt.Sprintf("$.parts[%d].custodian", n-1)
	case name == "holder" && p.Backup != nil:
		return fmt.Sprintf("$.backup.holders[%d]", n-1)
	case name == "holder":
		return fmt.Sprintf("$.holders[%d]", n-1)
	}
	return "$.people." + role
}

// differ says that no two parts have the same check value.
func (p Plan) differ() bool {
	for i, a := range p.Parts {
		for _, b := range p.Parts[:i] {
			if same, err := a.KCV.Matches(b.KCV); err == nil && same {
				return false
			}
		}
	}
	return true
}

func (p Plan) allParts(f func(Part) bool) bool {
	return !slices.ContainsFunc(p.Parts, func(q Part) bool { return !f(q) })
}

// everyone is who takes part, by role; custodians and holders with numbers.
func (p Plan) everyone() map[string]string {
	all := map[string]string{}
	for role, who := range p.People {
		all[role] = who
	}
	for i, part := range p.Parts {
		all[fmt.Sprintf("custodian %d", i+1)] = part.Custodian
	}
	holders := p.Holders
	if p.Backup != nil {
		holders = p.Backup.Holders
	}
	for i, who := range holders {
		all[fmt.Sprintf("holder %d", i+1)] = who
	}
	return all
}

// participants are the people, in the order of their parts.
func (p Plan) participants() []string {
	var all []string
	for _, role := range []string{keyManager, hsmAdmin, officer, witness} {
		if who := p.People[role]; who != "" {
			all = append(all, who)
		}
	}
	for _, part := range p.Parts {
		all = append(all, part.Custodian)
	}
	if p.Backup != nil {
		all = append(all, p.Backup.Holders...)
	}
	return append(all, p.Holders...)
}

// roleOf is what a participant is in this ceremony: roles of people that do.
func (p Plan) roleOf(person string) []string {
	switch person {
	case p.People[keyManager]:
		return []string{keyManager, nodal} // at an operator the nodal officer manages keys
	case p.People[hsmAdmin]:
		return []string{hsmAdmin, alternate}
	case p.People[officer]:
		return []string{officer}
	case p.People[witness]:
		return []string{witness}
	}
	return []string{custodian}
}
