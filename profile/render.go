package profile

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"ankan/aka"
	"ankan/uicc"
)

// String is the canonical form: a profile document that says everything, in
// one order and one spelling. Parsed again it is the same profile. Digest is
// made of it.
func (p *Profile) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("profile: %s", p.Name)
	line("version: %q", p.Version)
	line("description: %q", p.Description)
	line("operator: {name: %q, plmn: %q}", p.Operator, p.PLMN)
	line("form-factors: [%s]", strings.Join(p.FormFactors, ", "))
	if p.Test {
		line("test: true")
	}
	line("algorithm: %q", p.Algorithm)
	if m := p.Milenage; m != (aka.Constants{}) {
		var r, c []string
		for i := range m.R {
			r, c = append(r, fmt.Sprint(m.R[i])), append(c, fmt.Sprintf("\"%X\"", m.C[i]))
		}
		line("milenage: {r: [%s], c: [%s]}", strings.Join(r, ", "), strings.Join(c, ", "))
	}
	if t := p.Tuak; t != (aka.TuakParameters{}) {
		line("tuak: {k-bits: %d, mac-bits: %d, res-bits: %d, ck-bits: %d, ik-bits: %d, iterations: %d}", t.K, t.MAC, t.RES, t.CK, t.IK, t.Iterations)
	}
	line("sqn: {start: %d, ind-bits: %d}", p.SQN.Start, p.SQN.INDBits)
	line("rules:")
	for _, r := range p.Rules {
		line("  %q:", r.Name)
		for _, a := range r.Allowed {
			line("    %s: %s", a.Operation, a.text)
		}
	}
	line("codes:")
	for _, c := range p.Codes {
		line("  %q: {%s}", c.Name, c.text())
	}
	line("keys:")
	line("  scp03: {version: \"%02X\", aes: %d}", p.SCP03.Version, p.SCP03.Bits)
	if p.SCP80.Version != 0 {
		line("  scp80: {version: \"%02X\", aes: %d}", p.SCP80.Version, p.SCP80.Bits)
	}
	if len(p.Accepted) > 0 {
		line("accept:")
	}
	for _, a := range p.Accepted {
		line("- {check: %s, file: %q, reason: %q}", a.Check, a.File, a.Reason)
	}
	if len(p.Remote) > 0 {
		line("remote:")
	}
	for _, x := range p.Remote {
		line("- {name: %q, %s}", x.Name, x.text())
	}
	if len(p.Applications) > 0 {
		line("applications:")
	}
	for i := range p.Applications {
		p.Applications[i].render(line)
	}
	line("files:")
	if p.MF != nil {
		p.MF.render(&b, "  ")
	}
	return b.String()
}

// text is the code as the document says it.
func (c Code) text() string {
	s := fmt.Sprintf("reference: \"%02X\", slot: %s, enabled: %t, tries: %d, digits: %d", c.Reference, c.Slot, c.Enabled, c.Tries, c.Digits)
	if c.HasPUK {
		s += fmt.Sprintf(", unblock: %s, unblock-tries: %d", c.PUK, c.Unblock)
	}
	if c.Fixed != "" {
		s += fmt.Sprintf(", fixed: %q", c.Fixed)
	}
	if c.Shared {
		s += ", shared: true"
	}
	return s
}

func (f *File) render(b *strings.Builder, in string) {
	fmt.Fprintf(b, "%s%q:\n", in, f.Name)
	in += "  "
	line := func(format string, args ...any) { fmt.Fprintf(b, in+format+"\n", args...) }
	if f.Kind != uicc.KindMF {
		line("id: \"%s\"", f.ID)
	}
	line("access: %q", f.Rule)
	if f.Kind.Dedicated() {
		if f.AID != nil {
			line("aid: \"%X\"", f.AID)
		}
		for _, c := range f.Files {
			c.render(b, in)
		}
		return
	}
	if f.SFI != 0 {
		line("sfi: \"%02X\"", f.SFI)
	} else {
		line("sfi: none")
	}
	if f.isARR {
		return // made from the rules
	}
	if f.Link != "" {
		line("link: %q", f.Link)
		return
	}
	line("kind: %s", f.Kind)
	if f.Kind != uicc.BERTLV {
		line("fill: \"%X\"", f.Fill)
	}
	if f.Kind.Records() {
		line("record-size: %d", f.RecordSize)
		line("records: %d", f.Records)
	} else {
		line("size: %d", f.Size)
	}
	switch {
	case len(f.Body) == 0:
	case f.Kind.Records(), f.Kind == uicc.BERTLV:
		line("hex:")
		for i := range f.Body {
			line("- \"%s\"", f.hexPiece(i))
		}
	default:
		line("hex: \"%s\"", f.hexPiece(0))
	}
}

// hexPiece is a piece in hexadecimal digits with its slot references, without
// what Fill puts at its end anyway.
func (f *File) hexPiece(i int) string {
	piece := f.Body[i]
	if f.Kind == uicc.BERTLV {
		return f.slotted(i, len(piece))
	}
	filled := fillTo(f.Fill, len(piece))
	end := len(piece)
	keep := 1
	for _, p := range f.Patches {
		if p.Piece == i {
			keep = max(keep, p.At+p.size())
		}
	}
	for end > keep && piece[end-1] == filled[end-1] {
		end--
	}
	return f.slotted(i, end)
}

// slotted is the first end bytes of a piece in hexadecimal digits, with its slot
// references.
func (f *File) slotted(i, end int) string {
	piece := f.Body[i]
	var b strings.Builder
	at := 0
	for _, p := range f.Patches {
		if p.Piece == i {
			fmt.Fprintf(&b, "%X%s", piece[at:p.At], p)
			at = p.At + p.size()
		}
	}
	fmt.Fprintf(&b, "%X", piece[at:end])
	return b.String()
}

// Describe writes a listing for people: what the card holds, file by file,
// with values read through the codecs.
func (p *Profile) Describe(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintf(t, "%s %s\t%s\n", p.Name, p.Version, p.Description)
	fmt.Fprintf(t, "digest\t%x\n", p.Digest())
	fmt.Fprintf(t, "operator\t%s, %s %s\n", p.Operator, p.PLMN.MCC(), p.PLMN.MNC())
	fmt.Fprintf(t, "form factors\t%s\n", strings.Join(p.FormFactors, ", "))
	fmt.Fprintf(t, "algorithm\t%s\n", p.Parameters())
	if p.Test {
		fmt.Fprint(t, "test\tfor test cards alone\n")
	}
	for _, c := range p.Codes {
		state := "on"
		if !c.Enabled {
			state = "off"
		}
		fmt.Fprintf(t, "%s\treference %02X, %s, %d tries, %d digits\n", c.Name, c.Reference, state, c.Tries, c.Digits)
	}
	fmt.Fprintf(t, "SCP03\tversion %02X, AES-%d\n", p.SCP03.Version, p.SCP03.Bits)
	if p.SCP80.Version != 0 {
		fmt.Fprintf(t, "SCP80\tversion %02X, AES-%d\n", p.SCP80.Version, p.SCP80.Bits)
	}
	for _, x := range p.Remote {
		fmt.Fprintf(t, "remote %s\tTAR %s, manages %s, level %s, access %s\n", x.Name, strings.ReplaceAll(x.tars(), `"`, ""), x.Manages, x.Level, x.Access)
	}
	for i := range p.Applications {
		x := &p.Applications[i]
		fmt.Fprintf(t, "load file %X\t%s\n", x.AID, x.text())
		for _, a := range x.Instances {
			fmt.Fprintf(t, "application %X\t%s", a.AID, a.text())
			for _, g := range a.Data {
				fmt.Fprintf(t, ", %04X: %s", g.ID, g.text())
			}
			fmt.Fprintln(t)
		}
	}
	fmt.Fprintf(t, "card record\t%d bytes:", p.Layout().Size)
	for _, s := range p.Slots() {
		fmt.Fprintf(t, " %s(%d)", s.Name, s.Len)
	}
	fmt.Fprint(t, "\n\nfile\tid\tsfi\tkind\tbytes\taccess\tcontent\n")
	for f := range p.All() {
		f.describe(t)
	}
	return t.Flush()
}

func (f *File) describe(w io.Writer) {
	depth := strings.Count(f.Path(), "/")
	name := strings.Repeat("  ", depth) + f.Name
	if f.Kind.Dedicated() {
		fmt.Fprintf(w, "%s\t%s\t\t%s\t\t%s\t%X\n", name, f.ID, f.Kind, f.Rule, f.AID)
		return
	}
	size, sfi := fmt.Sprint(f.Size), ""
	if f.Kind.Records() {
		size = fmt.Sprintf("%d x %d", f.Records, f.RecordSize)
	}
	if f.SFI != 0 {
		sfi = fmt.Sprintf("%02X", f.SFI)
	}
	content := f.Content()
	for i, text := range content {
		if r := []rune(text); len(r) > maxShown {
			content[i] = string(r[:maxShown]) + "..."
		}
	}
	if f.Kind == uicc.BERTLV && len(content) == 0 {
		content = []string{"no objects"}
	}
	if n := f.pieces() - len(content); n > 0 {
		content = append(content, fmt.Sprintf("%d more unused", n))
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, f.ID, sfi, f.Kind, size, f.Rule, strings.Join(content, "; "))
}

// maxShown is how much of a piece a listing shows, in characters.
const maxShown = 96

// Content is what the file holds, for people, piece by piece: through its codec,
// with slots where a card's own stands; else in hexadecimal digits. Records at
// the end that were never written are left out. Of an EF.ARR it is the names of
// the rules.
func (f *File) Content() []string {
	if f.Kind.Dedicated() {
		return nil
	}
	if f.isARR {
		return slices.Clone(f.rules)
	}
	n := len(f.Body)
	if f.Kind != uicc.BERTLV {
		n = max(1, n)
	}
	var all []string
	for i := range n {
		all = append(all, f.text(i))
	}
	return all
}

// Standard is what the standards say about the file; false for a file of the
// operator's own.
func (f *File) Standard() (uicc.EF, bool) { return f.std, f.std.Name != "" }

// Access is the file's rule: who may do what.
func (p *Profile) Access(f *File) []Allowed {
	if r := p.rule(f.Rule); r != nil {
		return slices.Clone(r.Allowed)
	}
	return nil
}

// text is the content of a piece for people; empty if there is no such piece.
func (f *File) text(i int) string {
	if i >= f.pieces() {
		return ""
	}
	if v, ok := f.value(i); ok {
		return strings.NewReplacer(digitsMark, imsiDigits, number, "${MSISDN}").Replace(v.String())
	}
	var slots []string
	for _, x := range f.Patches {
		if x.Piece == i {
			slots = append(slots, x.String())
		}
	}
	if len(slots) > 0 {
		return strings.Join(slots, " ")
	}
	return fmt.Sprintf("%X", f.piece(i))
}

// value is what the codec says of a piece, with marks where a card's own digits
// stand; false if there is no codec, if the piece cannot be read or if all of
// it is a card's own. f may be nil.
func (f *File) value(i int) (uicc.Value, bool) {
	if f == nil || i >= f.pieces() || !f.std.Codec.Known() {
		return uicc.Value{}, false
	}
	piece := slices.Clone(f.piece(i))
	for _, x := range f.Patches {
		switch {
		case x.Piece != i:
		case x.Digits:
			copy(piece[x.At:], digitsMark)
		case x.Slot == SlotMSISDN:
			copy(piece[x.At:], numberMark)
		default:
			return uicc.Value{}, false
		}
	}
	v, err := f.std.Codec.Decode(piece)
	return v, err == nil
}
