package saip

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"ankan/sim"
	"ankan/uicc"
)

// A rule is an access rule of the profile, from one record of an EF.ARR.
type rule struct {
	name string
	text string // its lines, so that equal rules are one
}

// document writes the profile as a document, which Parse judges.
func (b *builder) document(o Options) ([]byte, error) {
	d := &b.d
	var rules []rule
	files := &strings.Builder{}
	b.writeFile(files, b.mf, "  ", &rules)
	codes := b.writeCodes()
	plmn := b.plmn()
	if d.err != nil {
		return nil, d.err
	}
	d.element, d.name = 0, ""

	formFactors := o.FormFactors
	if len(formFactors) == 0 {
		formFactors = []string{"2FF", "3FF", "4FF"}
	}
	var s strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&s, format+"\n", args...) }
	line("profile: %s", cmp.Or(o.Name, slug(b.kind)))
	line("version: %q", cmp.Or(o.Version, "1.0"))
	line("description: %q", fmt.Sprintf("from a profile package %s, %s", b.format, cmp.Or(b.kind, "of no type")))
	line("operator: {name: %q, plmn: %q}", cmp.Or(o.Operator, b.operator(), b.kind, "not said"), plmn)
	line("form-factors: [%s]", strings.Join(formFactors, ", "))
	line("algorithm: %q", cmp.Or(o.Algorithm, b.algorithm, "MILENAGE"))
	line("sqn: {start: %d, ind-bits: 5}", b.start)
	line("rules:")
	for _, r := range rules {
		line("  %q:\n%s", r.name, strings.TrimSuffix(r.text, "\n"))
	}
	line("codes:\n%s", strings.TrimSuffix(codes, "\n"))
	line("keys:")
	scp03 := b.scp03
	if scp03.version == 0 {
		scp03 = keySet{0x30, 128}
		b.changed = append(b.changed, Note{1, "header", "keys of SCP03", "the package has none: a card gets version 30, AES-128"})
	}
	line("  scp03: {version: \"%02X\", aes: %d}", scp03.version, scp03.bits)
	if b.scp80.version != 0 {
		line("  scp80: {version: \"%02X\", aes: %d}", b.scp80.version, b.scp80.bits)
	}
	s.WriteString(b.writeRemotes())
	s.WriteString(b.writeApplications())
	line("files:\n%s", files)
	if o.Algorithm == "" && b.algorithm == "" {
		b.changed = append(b.changed, Note{1, "header", "algorithm", "the package has none for the USIM: MILENAGE"})
	}
	return []byte(s.String()), nil
}

// slug is a name as profiles have it.
func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.':
			b.WriteRune(r)
		case !strings.HasSuffix(b.String(), "-") && b.Len() > 0:
			b.WriteByte('-')
		}
	}
	return cmp.Or(strings.Trim(b.String(), "-."), "imported")
}

// usim is the first USIM; nil if there is none.
func (b *builder) usim() *file {
	i := slices.IndexFunc(b.mf.children, func(f *file) bool { return f.name == "ADF.USIM" })
	if i < 0 {
		return nil
	}
	return b.mf.children[i]
}

func (f *file) byName(name string) *file {
	if f == nil {
		return nil
	}
	if i := slices.IndexFunc(f.children, func(c *file) bool { return c.name == name }); i >= 0 {
		return f.children[i]
	}
	return nil
}

// imsi is the package's own subscriber, who is nobody's on our cards.
func (b *builder) imsi() (sim.IMSI, bool) {
	f := b.usim().byName("EF.IMSI")
	if f == nil || len(f.body) != 9 {
		return sim.IMSI{}, false
	}
	imsi, err := sim.IMSIFromEF([9]byte(f.body))
	return imsi, err == nil
}

// plmn is the home network: as many digits of the IMSI as EF.AD says.
func (b *builder) plmn() string {
	imsi, ok := b.imsi()
	if !ok {
		b.d.fail(0, "the USIM has no IMSI, which says whose network it is")
		return ""
	}
	n := 5
	if ad := b.usim().byName("EF.AD"); ad != nil && len(ad.body) >= 4 && ad.body[3]&0x0F == 3 {
		n = 6
	}
	return imsi.String()[:n]
}

// operator is the name in EF.SPN.
func (b *builder) operator() string {
	f := b.usim().byName("EF.SPN")
	if f == nil {
		return ""
	}
	ef, _ := uicc.FindEF(uicc.DirUSIM, "EF.SPN")
	v, err := ef.Codec.Decode(f.body)
	if err != nil {
		return ""
	}
	name, _ := v.Get("name")
	return printable([]byte(name.Text))
}

// writeFile renders a file and what is in it.
func (b *builder) writeFile(s *strings.Builder, f *file, in string, rules *[]rule) {
	d := &b.d
	d.element, d.name = f.element, f.choice
	fmt.Fprintf(s, "%s%q:\n", in, f.name)
	in += "  "
	line := func(format string, args ...any) { fmt.Fprintf(s, in+format+"\n", args...) }
	if f.kind != uicc.KindMF {
		line("id: \"%s\"", f.id)
	}
	line("access: %q", b.ruleOf(f, rules))
	if d.err != nil {
		return
	}
	if f.kind.Dedicated() {
		if f.aid != nil {
			line("aid: \"%X\"", f.aid)
		}
		for _, dedicated := range []bool{false, true} {
			for _, c := range f.children {
				if c.kind.Dedicated() == dedicated {
					b.writeFile(s, c, in, rules)
				}
			}
		}
		return
	}
	if f.sfi != 0 {
		line("sfi: \"%02X\"", f.sfi)
	} else {
		line("sfi: none")
	}
	if f.name == "EF.ARR" {
		return // made from the rules
	}
	if f.target != nil {
		line("link: %q", f.target.path())
		return
	}
	line("kind: %s", f.kind)
	switch {
	case f.kind == uicc.BERTLV:
		line("size: %d", f.size)
		if len(f.body) > 0 {
			line("hex:")
		}
		for o := range uicc.TLVs(f.body) {
			line("- \"%s\"", b.hex(f, uicc.AppendTLV(nil, o.Tag, o.Value...)))
		}
	case f.kind.Records():
		line("fill: \"%X\"", fillOf(f))
		line("record-size: %d\n%srecords: %d", f.record, in, f.count)
		line("hex:")
		for i, r := range slices.Collect(slices.Chunk(f.body, f.record)) {
			line("- \"%s\"", b.recordText(f, i, r))
		}
	default:
		line("fill: \"%X\"", fillOf(f))
		line("size: %d", f.size)
		line("hex: \"%s\"", b.slot(f))
	}
}

// fillOf is the pattern that CREATE FILE shall use: a fillPattern's, or else FF.
func fillOf(f *file) []byte {
	if f.filled.whole == nil && f.filled.tail == nil {
		return append(slices.Clone(f.filled.head), f.filled.middle)
	}
	return []byte{0xFF}
}

// slot is the content of a file, or what stands there on each card.
func (b *builder) slot(f *file) string {
	slot := map[string]string{"MF/EF.ICCID": "ICCID", "MF/ADF.USIM/EF.IMSI": "IMSI", "MF/ADF.USIM/EF.ACC": "ACC"}[f.source().path()]
	if slot == "" {
		return b.hex(f, f.body)
	}
	b.change(f.path(), "the order's ${%s} stands there on each card", slot)
	return "${" + slot + "}"
}

// source is the file that holds the content: what a link leads to in the end.
func (f *file) source() *file {
	for f.target != nil {
		f = f.target
	}
	return f
}

// recordText is the content of a record. The first of EF.MSISDN holds the order's
// number if the package has one: its last 14 bytes are the number and two more
// (TS 31.102, 4.2.26).
func (b *builder) recordText(f *file, i int, r []byte) string {
	at := len(r) - 14
	if i > 0 || f.source().path() != "MF/ADF.USIM/EF.MSISDN" || at < 0 || r[at] == 0xFF {
		return b.hex(f, r)
	}
	b.change(f.path(), "the order's ${MSISDN} stands there on each card")
	return fmt.Sprintf("%X${MSISDN}%X", r[:at], r[at+12:])
}

// hex is content in hexadecimal digits. Where the package's IMSI stands in text,
// as in names of an ISIM, the card's own stands.
func (b *builder) hex(f *file, content []byte) string {
	imsi, ok := b.imsi()
	if !ok || !bytes.Contains(content, []byte(imsi.String())) {
		return fmt.Sprintf("%X", content)
	}
	b.change(f.path(), "the order's ${IMSI.digits} stand there on each card")
	var parts []string
	for _, p := range bytes.Split(content, []byte(imsi.String())) {
		parts = append(parts, fmt.Sprintf("%X", p))
	}
	return strings.Join(parts, "${IMSI.digits}")
}

// ruleOf is the name of the access rule of a file.
func (b *builder) ruleOf(f *file, rules *[]rule) string {
	d := &b.d
	arr, dir := b.arrOf(f.rules())
	if arr == nil {
		d.fail(f.offset, "%s: there is no EF.ARR %s for it", f.path(), f.rules().arrID())
		return ""
	}
	if f.standard && f.rule > arr.count {
		found, err := uicc.ParseRules(standardRule(f.rule))
		if err != nil {
			panic(err) // the table is part of the program
		}
		b.change(f.path(), "neither the package nor its EF.ARR says its access rule: it is rule %d of the specification", f.rule)
		return b.named(f, dir, found, rules)
	}
	if f.rule < 1 || f.rule > arr.count {
		d.fail(f.offset, "%s: access rule %d is not in %s, which has %d records", f.path(), f.rule, arr.path(), arr.count)
		return ""
	}
	record := arr.body[(f.rule-1)*arr.record : f.rule*arr.record]
	found, err := uicc.ParseRules(record)
	if err == nil && len(found) == 0 {
		b.change(f.path(), "its access rule, record %d of %s, is empty: nobody may do anything with it", f.rule, arr.path())
	}
	if err != nil {
		d.fail(f.offset, "%s: record %d of %s is no access rule: %v", f.path(), f.rule, arr.path(), err)
		return ""
	}
	return b.named(f, dir, found, rules)
}

// standardRule is an access rule of the specification (annex A, access rules
// definition), as a record of EF.ARR.
func standardRule(n int) []byte {
	const user, second, adm = "A406830101950108", "A406830181950108", "A40683010A950108"
	text := [...]string{1: "8001019000800102" + user + "800158" + adm, 2: "800101" + user + "80015A" + adm, 3: "80015B" + adm,
		4: "800101900080011A9700800140" + adm, 5: "800103" + user + "800158" + adm, 6: "800111" + user + "80014A" + adm,
		7: "800103" + user + "800158" + adm + "840132" + user, 8: "800101" + user + "800102" + second + "800158" + adm,
		9: "800101900080011A" + user + "800140" + adm, 10: "800101900080015A" + adm, 11: "8001019000800118" + adm + "8001429700",
		12: "800101" + user + "80015A9700", 13: "800113" + user + "800148" + adm, 14: "80015E" + adm}[n]
	b, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return b
}

// named is the name of the rule with these lines, a new one if there is none yet.
func (b *builder) named(f, dir *file, found []uicc.Rule, rules *[]rule) string {
	text := b.lines(f, found)
	if i := slices.IndexFunc(*rules, func(r rule) bool { return r.text == text }); i >= 0 {
		return (*rules)[i].name
	}
	_, short, _ := strings.Cut(dir.name, ".")
	name := fmt.Sprintf("%s-%d", strings.ToLower(cmp.Or(short, dir.name)), f.rule)
	if f.kind.Dedicated() {
		name += "-dir"
	}
	for n, base := 2, name; slices.ContainsFunc(*rules, func(r rule) bool { return r.name == name }); n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	*rules = append(*rules, rule{name, text})
	return name
}

// arrID is the EF.ARR that a file refers to: without one, 2F06 for the MF, the
// applications and the files directly under the MF, 6F06 for others.
func (f *file) arrID() uicc.FileID {
	switch {
	case f.arr != 0:
		return f.arr
	case f.kind == uicc.KindMF, f.kind == uicc.KindADF, f.parent.kind == uicc.KindMF:
		return uicc.EFARR
	}
	return 0x6F06
}

// arrOf looks for a file's EF.ARR in its directory and then upwards
// (TS 102 221, 9.2.7).
func (b *builder) arrOf(f *file) (arr, dir *file) {
	for dir = cmp.Or(f.parent, f); dir != nil; dir = dir.parent {
		if arr = dir.child(f.arrID()); arr != nil && arr.kind.Records() {
			return arr, dir
		}
	}
	return nil, nil
}

// lines is a rule as lines of the document.
func (b *builder) lines(f *file, found []uicc.Rule) string {
	who := map[string][]string{}
	var order []string
	for _, r := range found {
		condition, ok := conditionText(r.Condition)
		if !ok {
			b.once(fmt.Sprintf("access condition %s (%X), of %s and others", r.Condition, string(r.Condition), f.path()), "a profile cannot say it: nobody may")
		}
		for _, o := range operationsOf(r, f.kind.Dedicated()) {
			if o == "" {
				b.once(fmt.Sprintf("access rule for command %02X", r.INS), "a profile cannot say it: nobody may")
				continue
			}
			if who[o] == nil {
				order = append(order, o)
			}
			who[o] = append(who[o], condition)
		}
	}
	if len(order) == 0 {
		return "    delete: never\n"
	}
	var s strings.Builder
	for _, o := range order {
		fmt.Fprintf(&s, "    %s: %s\n", o, b.either(f, who[o]))
	}
	return s.String()
}

// either joins the conditions of one operation: any of them opens the file.
func (b *builder) either(f *file, all []string) string {
	var parts []string
	for _, c := range all {
		if c == "always" {
			return c
		}
		for _, p := range strings.Split(c, " or ") {
			if p != "never" && !slices.Contains(parts, p) {
				parts = append(parts, p)
			}
		}
	}
	if len(parts) == 0 {
		return "never"
	}
	if len(parts) > 1 && slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(p, " and ") }) {
		b.once(fmt.Sprintf("access condition %s, of %s and others", strings.Join(parts, " or "), f.path()), "a profile cannot say it: nobody may")
		return "never"
	}
	return strings.Join(parts, " or ")
}

// once leaves something out that is told only once.
func (b *builder) once(what, why string) {
	if !slices.ContainsFunc(b.notTaken, func(n Note) bool { return n.What == what }) {
		b.leave(what, "%s", why)
	}
}

// conditionText is a condition as documents write it. What is read again must be
// the same key references: 02 and 81 are both called PIN2 by people.
func conditionText(c uicc.Condition) (string, bool) {
	text := strings.ToLower(c.String())
	again, err := uicc.ParseCondition(text)
	if err != nil || again != usualOrder(c) {
		return "never", false
	}
	return text, true
}

// usualOrder has the key reference before the usage qualifier; both orders occur.
func usualOrder(c uicc.Condition) uicc.Condition {
	const head = "\xA4\x06"
	b := []byte(c)
	for i := 0; i+8 <= len(b); i++ {
		if string(b[i:i+2]) == head && string(b[i+2:i+7]) == "\x95\x01\x08\x83\x01" {
			copy(b[i+2:], []byte{0x83, 0x01, b[i+7], 0x95, 0x01, 0x08})
		}
	}
	return uicc.Condition(b)
}

// operationsOf is what a rule is about, in the words of documents; an empty word
// for a command that they have no word for.
func operationsOf(r uicc.Rule, dedicated bool) []string {
	if r.Mode == 0 {
		switch r.INS {
		case 0xD4:
			return []string{"resize"}
		case 0x32:
			if !dedicated {
				return []string{"increase"}
			}
		}
		return []string{""}
	}
	// For an EF bit 3 is WRITE, which no command of a UICC needs.
	names := [8]string{"read", "update", "", "deactivate", "activate", "terminate", "delete", ""}
	if dedicated {
		names = [8]string{"delete-child", "create-ef", "create-df", "deactivate", "activate", "terminate", "delete", ""}
	}
	var all []string
	for i, n := range names {
		if byte(r.Mode)&(1<<i) != 0 && n != "" {
			all = append(all, n)
		}
	}
	return all
}

// writeCodes renders the codes that a profile has slots for.
func (b *builder) writeCodes() string {
	d := &b.d
	var s strings.Builder
	slots := map[byte]string{0x01: "PIN1", 0x81: "PIN2", 0x0A: "ADM1", 0x0B: "ADM2", 0x0C: "ADM3", 0x0D: "ADM4", 0x0E: "ADM5"}
	done := map[byte]code{}
	for _, c := range b.codes {
		d.element, d.name = c.element, "pinCodes"
		slot := slots[c.reference]
		where := uicc.ReferenceName(c.reference) + " of " + c.of.path()
		if slot == "" {
			b.leave(where, "a profile has PIN1, PIN2 and ADM1 to ADM5")
			continue
		}
		if first, ok := done[c.reference]; ok {
			if c.of, c.element = first.of, first.element; c != first {
				b.change(where, "it differs from that of %s, which the card has for both", first.of.path())
			}
			continue
		}
		done[c.reference] = c
	}
	for _, ref := range []byte{0x01, 0x81, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E} {
		c, ok := done[ref]
		if !ok {
			continue
		}
		d.element, d.name = c.element, "pinCodes"
		text := fmt.Sprintf("reference: \"%02X\", slot: %s, enabled: %t, tries: %d, digits: %d", ref, slots[ref], c.enabled, c.tries, c.digits)
		if c.puk != 0 {
			i := slices.IndexFunc(b.puks, func(p puk) bool { return p.reference == c.puk })
			if i < 0 {
				d.fail(0, "%s is unblocked by %02X, which pukCodes do not have", slots[ref], c.puk)
				return ""
			}
			text += fmt.Sprintf(", unblock: %s, unblock-tries: %d", strings.Replace(slots[ref], "PIN", "PUK", 1), b.puks[i].tries)
		}
		if ref == 0x81 && slices.ContainsFunc(b.codes, func(c code) bool { return c.reference == ref && c.of.name != "ADF.USIM" }) {
			text += ", shared: true"
			b.change("PIN2", "it is one for the whole card: the package has it in several directories")
		}
		fmt.Fprintf(&s, "  %q: {%s}\n", strings.ToLower(slots[ref]), text)
	}
	if len(done) > 0 {
		b.change("values of codes", "they are not taken from packages: each card gets its own")
	}
	return s.String()
}
