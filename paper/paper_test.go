package paper

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"math"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"ankan/act"
	"ankan/ceremony"
	"ankan/keys"
)

// run runs another program, which must be there and say nothing on standard error.
func run(t *testing.T, pkg, tool string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Fatalf("%s is missing: install the package %s", tool, pkg)
	}
	cmd := exec.CommandContext(t.Context(), tool, args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil || said.Len() > 0 {
		t.Fatalf("%s: %v %s", tool, err, said.Bytes())
	}
	return out.String()
}

func printed(t *testing.T, p printer) (file string) {
	t.Helper()
	b, err := p.PDF()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "paper.pdf")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// bare is text without white space: where lines end does not matter.
func bare(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text)
}

// read is what another program reads from a paper, cell by cell.
func read(t *testing.T, p printer) string {
	t.Helper()
	return bare(run(t, "poppler-utils", "pdftotext", "-raw", printed(t, p), "-"))
}

func wants(t *testing.T, text string, all ...string) {
	t.Helper()
	for _, want := range all {
		for line := range strings.SplitSeq(want, "\n") {
			if !strings.Contains(text, bare(clean(line))) {
				t.Errorf("the paper lacks %q", line)
			}
		}
	}
}

// All strings of a record are on its paper, but for those that the paper says
// in another way.
func TestEveryValueIsThere(t *testing.T) {
	for kind, c := range map[string]struct {
		paper  printer
		record any
		skip   []string
	}{
		"policy":     {samplePolicy(), samplePolicy().Policy, []string{"either", act.ExcludeEditor, act.ExcludeLine}},
		"plan":       {samplePlan(t), samplePlan(t).Ceremony, []string{"drafted", "enter", "join", "confirm", "close"}},
		"transcript": {sampleTranscript(t), sampleTranscript(t).Transcript, []string{ceremony.TranscriptFormat}},
		"closing":    {sampleTranscript(t), sampleTranscript(t).Closing, nil},
		"form":       {sampleForm(), sampleForm(), nil},
		"destroyed":  {sampleDestruction(t), []any{sampleDestruction(t).Key, sampleDestruction(t).Copies, sampleDestruction(t).Transcript.Transcript.Steps}, []string{"destroyed"}},
		"compromise": {sampleCompromise(), []any{sampleCompromise().Key, sampleCompromise().Report}, nil},
		"inventory":  {sampleInventory(), sampleInventory().Items, nil},
		"transfer":   {sampleHandover(), []any{sampleHandover().Items, sampleHandover().Reason}, nil},
		"history":    {sampleHistory(), []any{sampleHistory().Key, sampleHistory().Events, sampleHistory().Copies, sampleHistory().Links}, nil},
		"os test":    {sampleSecurityTest(), []any{sampleSecurityTest().Items, sampleSecurityTest().Cases, sampleSecurityTest().Image, sampleSecurityTest().Report}, nil},
	} {
		t.Run(kind, func(t *testing.T) {
			text, n := read(t, c.paper), 0
			for _, value := range flat(t, c.record) {
				if value == "" || slices.Contains(c.skip, value) {
					continue
				}
				if at, err := time.Parse(time.RFC3339, value); err == nil {
					if at.IsZero() {
						continue
					}
					value = at.In(ist()).Format("2 Jan 2006 15:04:05 IST")
					if strings.Contains(text, bare(at.In(ist()).Format("2 Jan 2006, 15:04:05 IST"))) {
						value = both(at)
					}
				}
				n++
				wants(t, text, value)
			}
			if n < 3 {
				t.Errorf("only %d values were looked for", n)
			}
		})
	}
}

func TestWhatPapersSay(t *testing.T) {
	p := samplePolicy()
	digest := p.Policy.Digest()
	wants(t, read(t, p), "version 1", "SHA-256 "+grouped(digest), strings.Join(act.Words(digest), " "), "log entry 412,006", "Page 1 of 10", "Page 10 of 10",
		"Written 17 Nov 2026, 19:20:00 IST (17 Nov 13:50:00 UTC)", "24 h to sign", "15 min to use", "3 signatures", "1 hsm-administrator 2 security-officer 3 witness",
		"at once", "after 30 min", "after 4 h", "1825 days", "as long as what it is for", "must exist (SOP 6.4.e.vi)", "employment permanent, training key-custodian, statement custodian (SOP 6.4.b)",
		"anītā dēśamukha (P-0002)", "alternate-nodal-officer nobody", "Managing director")
	wants(t, read(t, samplePlan(t)), "José García–Núñez (P-0007)", "custodian of component 2", "Initials", "Deviations, breaks and interruptions")
	wants(t, read(t, sampleTranscript(t)), "Everybody signed, with a passkey each", "log entry 412,110", "Result: kcv 7C09E1 CMAC", "Fire alarm test – everybody stayed")
	wants(t, read(t, sampleForm()), "Component 2 of 2", "cut here; part 2 returns to the sender", "within 14 days", "Check value of the component is D10F44 CMAC", "Page 1 of 1")
	wants(t, read(t, sampleDestruction(t)), "Keep for ever", "share 2 of 3", "Wanda Witness (P-0012)", "Filed")
	wants(t, read(t, sampleCompromise()), "not told yet", "4 things", "What was done about it")
	wants(t, read(t, sampleInventory()), "Karan Custodian (P-0006)", "Was due 23 Nov 2026", "Every thing above was seen")
	wants(t, read(t, sampleHandover()), "Kavita Custodian (P-0016)", "Who gives keeps nothing")
	wants(t, read(t, sampleSecurityTest()), "José García–Núñez (P-0007)", "Developed by, and not tested by", "pass")
	wants(t, read(t, sampleHistory()), "component 2 of 2", "1,000,000", "413,999")
}

// What a policy says elsewhere than in the default.
func TestPolicyOtherwise(t *testing.T) {
	p := samplePolicy()
	p.People, p.SignOff = nil, nil
	p.Policy.Nodal, p.Policy.Exclude = act.NodalBoth, []string{"line"}
	rule := p.Policy.Acts["order.release"]
	rule.Exclude = []string{act.ExcludeEditor}
	p.Policy.Acts["order.release"] = rule
	text := read(t, p)
	wants(t, text, "takes both", "Neither do the direct superior and reports of whoever asked.", "Here neither does who edited it last.", "Management")
	if strings.Contains(text, bare("Who holds which role")) {
		t.Error("people, where none were given")
	}
	p.Policy.Exclude = []string{"none"}
	wants(t, read(t, p), "Nobody else is excluded.")

	// Every limit and period is there: a field that is new is not forgotten.
	for _, of := range []any{&p.Policy.Limits, &p.Policy.Periods} {
		v := reflect.ValueOf(of).Elem()
		var want []string
		for i := range v.NumField() {
			n := 1003 + 7*i + 100*v.NumField()
			v.Field(i).SetInt(int64(n))
			want = append(want, fmt.Sprint(n))
		}
		wants(t, read(t, p), want...)
	}
}

// Papers are the same every time, also where the library walks maps.
func TestSameBytes(t *testing.T) {
	for kind, p := range samples(t) {
		one, err := p.PDF()
		if err != nil {
			t.Fatal(kind, err)
		}
		for range 5 {
			if two, err := p.PDF(); err != nil || !bytes.Equal(one, two) {
				t.Errorf("%s: one record, two papers: %v", kind, err)
			}
		}
		if len(one) > 200_000 {
			t.Errorf("%s: %d bytes", kind, len(one))
		}
	}
}

// The code is read back by another program.
func TestCode(t *testing.T) {
	all := samples(t)
	blank := sampleInventory()
	blank.Mark = Mark{Site: "Büro & Söhne", Number: "N° 7/2", At: at(0)}
	all["custody-inventory "] = blank
	for kind, p := range all {
		kind = strings.TrimSpace(kind)
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			file := printed(t, p)
			image := filepath.Join(t.TempDir(), "page")
			run(t, "poppler-utils", "pdftoppm", "-r", "150", "-f", "1", "-l", "1", "-singlefile", "-gray", "-png", "-x", "940", "-y", "50", "-W", "290", "-H", "260", file, image) // the upper right corner
			got := strings.TrimSpace(run(t, "zbar-tools", "zbarimg", "--nodbus", "-q", "--raw", image+".png"))
			u, err := url.Parse(got)
			if err != nil || u.Scheme != "ankan" || u.Opaque != kind {
				t.Fatalf("read %q: %v", got, err)
			}
			if i, ok := p.(Inventory); ok && i.Number == blank.Number && got != "ankan:custody-inventory?number=N%C2%B0+7%2F2&site=B%C3%BCro+%26+S%C3%B6hne" {
				t.Errorf("read %q", got)
			}
			if f, ok := p.(Form); ok && got != fmt.Sprintf("ankan:key-transfer-form?entry=412006&number=KTF-000871&sha256=%x&site=bureau-north", f.SHA256) {
				t.Errorf("read %q", got)
			}
			if f, ok := p.(Transcript); ok && u.Query().Get("sha256") != fmt.Sprintf("%x", sha256.Sum256(f.Transcript.Canonical())) {
				t.Errorf("read %q", got)
			}
		})
	}
}

type bbox struct {
	Pages []struct {
		Width  float64 `xml:"width,attr"`
		Height float64 `xml:"height,attr"`
		Words  []struct {
			XMin float64 `xml:"xMin,attr"`
			YMin float64 `xml:"yMin,attr"`
			XMax float64 `xml:"xMax,attr"`
			YMax float64 `xml:"yMax,attr"`
			Text string  `xml:",chardata"`
		} `xml:"word"`
	} `xml:"body>doc>page"`
}

// apart fails if words lie over each other or outside the page.
func apart(t *testing.T, p printer) int {
	t.Helper()
	var b bbox
	if err := xml.Unmarshal([]byte(run(t, "poppler-utils", "pdftotext", "-bbox", printed(t, p), "-")), &b); err != nil {
		t.Fatal(err)
	}
	for n, page := range b.Pages {
		for i, w := range page.Words {
			if w.XMin < 15 || w.YMin < 15 || w.XMax > page.Width-15 || w.YMax > page.Height-10 {
				t.Errorf("page %d: %q leaves the page", n+1, w.Text)
			}
			for _, o := range page.Words[:i] {
				// A box is as high as the font's tallest letter; lines may touch by a hair.
				if math.Min(w.XMax, o.XMax)-math.Max(w.XMin, o.XMin) > 0.5 && math.Min(w.YMax, o.YMax)-math.Max(w.YMin, o.YMin) > 1 {
					t.Errorf("page %d: %q and %q overlap", n+1, o.Text, w.Text)
				}
			}
		}
		if len(page.Words) < 20 {
			t.Errorf("page %d has %d words", n+1, len(page.Words))
		}
	}
	return len(b.Pages)
}

func TestNothingOverlaps(t *testing.T) {
	for kind, p := range samples(t) {
		t.Run(kind, func(t *testing.T) { apart(t, p) })
	}
	for name, words := range map[string]string{"words": strings.Repeat("sealed bag ", 900), "no spaces": strings.Repeat("ŵ", 10_000), "dashes": strings.Repeat("key-", 2_500), "lines": strings.Repeat("a\n", 200)} {
		t.Run(name, func(t *testing.T) {
			c := sampleCompromise()
			c.Report.Why, c.Report.Parties[0].Words, c.Key.Owner, c.Report.Touched[0] = words, words, words[:400], words
			if n := apart(t, c); n < 4 {
				t.Errorf("%d pages", n)
			}
			if name == "no spaces" {
				if n := strings.Count(read(t, c), "ŵ"); n != 30_200 {
					t.Errorf("%d letters, want all 30,200", n)
				}
			}
		})
	}
}

// Many steps, and long ones, go on over pages, each of which says what it
// belongs to and what its columns are.
func TestLong(t *testing.T) {
	p := samplePlan(t)
	for len(p.Ceremony.Steps) < 300 {
		n := len(p.Ceremony.Steps) + 1
		p.Ceremony.Steps = append(p.Ceremony.Steps, step(n, fmt.Sprintf("Step number %d of many", n), strings.Repeat("I looked. ", n%40), ceremony.None, "P-0005"))
	}
	p.Ceremony.Steps[20].Statement = strings.Repeat("ẇ ", 10_000)
	pages := apart(t, p)
	if pages < 20 {
		t.Errorf("%d pages", pages)
	}
	text := read(t, p)
	for n := 12; n <= 300; n++ {
		wants(t, text, fmt.Sprintf("Step number %d of many", n))
	}
	wants(t, text, fmt.Sprintf("Page %d of %[1]d", pages))
	if n := strings.Count(text, "ẇ"); n != 10_000 {
		t.Errorf("%d letters, want 10,000", n)
	}
	if n := strings.Count(text, "SHA-256"); n != pages {
		t.Errorf("the digest stands on %d pages of %d", n, pages)
	}
	if n := strings.Count(text, bare("What is done and said")); n < pages-3 {
		t.Errorf("%d heads on %d pages", n, pages)
	}

	tr := sampleTranscript(t)
	for i := range tr.Transcript.Steps {
		tr.Transcript.Steps[i].Result = map[string]string{"wrapped": strings.Repeat("QUJD", 3000)}
	}
	if n := apart(t, tr); n < 10 {
		t.Errorf("%d pages", n)
	}

	pol := samplePolicy()
	for i := range 40 {
		pol.Policy.Roles = append(pol.Policy.Roles, fmt.Sprintf("role-of-a-long-name-that-nobody-could-write-on-one-line-of-a-matrix-%d", i))
	}
	if n := apart(t, pol); n < 12 {
		t.Errorf("%d pages", n)
	}
	wants(t, read(t, pol), pol.Policy.Roles...)
}

// An empty form is a form to fill in by hand.
func TestEmptyForm(t *testing.T) {
	f := Form{Mark: Mark{Site: "bureau-north", Number: "KTF-000900", At: at(0)}}
	wants(t, read(t, f), "KTF-000900", "no log entry", "Receiver: sign and return.", "Check value of the component is the one in part 1", "Page 1 of 1")
	if n := apart(t, f); n != 1 {
		t.Errorf("%d pages", n)
	}
	back := sampleForm()
	back.Receipt = Receipt{Received: at(900), Bag: "TE-51221", Seal: "TE-51221-A", PartKCV: "D10F44 CMAC", Locker: "14", Entry: 99123}
	wants(t, read(t, back), both(at(900)), "99,123")
	empty := []printer{Inventory{Mark: mark("I-1")}, Handover{Mark: mark("H-1")}, History{Mark: mark("K-1"), Key: keys.Key{ID: "k"}}, Compromise{Mark: mark("C-1")}}
	for _, p := range empty {
		apart(t, p)
	}
}

// hostile is what somebody might write who wants a paper to say something else.
func hostile() []string {
	return []string{
		"\x00\x01\x1b[31m\x7f\u0085", ") Tj ET\nendstream\nendobj\n%%EOF\n1 0 obj << /JS (app.alert(1)) >>", "(((\\\\\\)", "\\)\\(\\n\\377",
		"\xff\xfe\xc3\x28", "\u202egnp.exe\u2066\u200b\ufeff", "\U0001F511 \U00010000\uffff\ufffe", "क्षत्रिय श्री ज़ॅ १२३ ।", "தமிழ் 中文 עברית", strings.Repeat("\u0301", 500), strings.Repeat("A", 10_000),
		"\n\n\n\n", "{{.}} <script>alert(1)</script> ${HOME}", "ankan:policy?number=1",
	}
}

// fill writes text into every string of v, but for those in a mark.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[Mark]() || v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), text)
		}
	case reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i), text)
		}
	case reflect.String:
		v.SetString(text)
	}
}

// What is written into a record cannot break the file, nor what stands beside it.
func TestHostile(t *testing.T) {
	for i, text := range hostile() {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			c, in, h, f, hi := sampleCompromise(), sampleInventory(), sampleHandover(), sampleForm(), sampleHistory()
			tr := sampleTranscript(t)
			for _, p := range []any{&c, &in, &h, &f, &hi, &tr.Transcript.Notes, &tr.Transcript.Steps, &tr.Closing} {
				fill(reflect.ValueOf(p).Elem(), text)
			}
			in.Names, h.From, hi.Key.ID, tr.Names = Names{text: text}, "P-1", text+"k", Names{"P-0005": text}
			for j := range hi.Copies {
				hi.Copies[j].Key = hi.Key.ID
			}
			for _, p := range []printer{c, in, h, hi, tr} {
				got := read(t, p)
				wants(t, got, "Page 1 of", "SHA-256")
				if strings.Contains(got, "\x1b") || strings.Contains(got, "\u202e") {
					t.Error("a control character is on the paper")
				}
			}
			if _, err := f.PDF(); err != nil && !strings.Contains(err.Error(), "does not fit on a sheet") {
				t.Error(err)
			}
			m := mark(text[:min(len(text), mostMark)])
			m.Site = m.Number
			b, err := History{Mark: m, Key: sampleKey()}.PDF()
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(b, []byte("app.alert(1)")) || bytes.Contains(b, []byte("/JS")) {
				t.Error("the file does what somebody wrote")
			}
		})
	}
}

func TestRefused(t *testing.T) {
	destruction := func(spoil func(*Destruction)) printer { d := sampleDestruction(t); spoil(&d); return d }
	plan := func(spoil func(*Plan)) printer { p := samplePlan(t); spoil(&p); return p }
	transcript := func(spoil func(*Transcript)) printer { p := sampleTranscript(t); spoil(&p); return p }
	marked := func(spoil func(*Mark)) printer { m := mark("1"); spoil(&m); return Inventory{Mark: m} }
	form := func(spoil func(*Form)) printer { f := sampleForm(); spoil(&f); return f }
	for want, p := range map[string]printer{
		"the name of the site has 0 bytes":                marked(func(m *Mark) { m.Site = "" }),
		"the name of the site has 65 bytes, want 1 to 64": marked(func(m *Mark) { m.Site = strings.Repeat("s", 65) }),
		"custody-inventory: the number has 0 bytes":       marked(func(m *Mark) { m.Number = "" }),
		"the number has 65 bytes":                         marked(func(m *Mark) { m.Number = strings.Repeat("1", 65) }),
		"log entry is -1":                                 marked(func(m *Mark) { m.Entry = -1 }),
		"the time at which it was written is missing":     marked(func(m *Mark) { m.At = time.Time{} }),
		"policy: version must be 1 or more":               Policy{Mark: own()},
		`policy: the mark says number "7", the record is`: Policy{Mark: mark("7"), Policy: samplePolicy().Policy},
		"policy: the mark says SHA-256":                   Policy{Mark: mark("version 1"), Policy: samplePolicy().Policy},
		"it has no steps":                                 plan(func(p *Plan) { p.Ceremony.Steps = nil }),
		"ceremony OC-0044: SHA-256 of the plan is \"ab\"": plan(func(p *Plan) { p.Ceremony.Digest = "ab" }),
		"ceremony OC-0044: the plan has SHA-256":          plan(func(p *Plan) { p.Ceremony.Document += "\n" }),
		"ceremony OC-9: the plan is that of OC-0044":      plan(func(p *Plan) { p.Ceremony.ID = "OC-9" }),
		`ceremony-plan: the mark says number "OC-8"`:      plan(func(p *Plan) { p.Number = "OC-8" }),
		"plan:1:": plan(func(p *Plan) {
			p.Ceremony.Document, p.Ceremony.Digest = "x", fmt.Sprintf("%x", sha256.Sum256([]byte("x")))
		}),
		"ceremony OC-0044: SHA-256 of the plan is \"\"":    transcript(func(p *Transcript) { p.Transcript.PlanSHA = "" }),
		`ceremony-transcript: the mark says number "OC-7"`: transcript(func(p *Transcript) { p.Number = "OC-7" }),
		"component 3 of 2":  form(func(f *Form) { f.Part = 3 }),
		"component -1 of 2": form(func(f *Form) { f.Part = -1 }),
		"key-transfer-form KTF-000871: does not fit on a sheet":   form(func(f *Form) { f.From = strings.Repeat("x", 10_000) }),
		"destruction of key other: ceremony OC-0051":              destruction(func(d *Destruction) { d.Key.ID = "other" }),
		"ceremony OC-0051 is not closed":                          destruction(func(d *Destruction) { d.Ended = time.Time{} }),
		"OC-0051 is not closed":                                   destruction(func(d *Destruction) { d.Closing = nil }),
		"it is active":                                            destruction(func(d *Destruction) { d.Key.State = keys.Live }),
		"no copy of it is named":                                  destruction(func(d *Destruction) { d.Copies = nil }),
		"copy share 2 of 3, P-0016, OC-0002 is not gone":          destruction(func(d *Destruction) { d.Copies[2].Gone = time.Time{} }),
		"copy module, bureau-north is of key k":                   destruction(func(d *Destruction) { d.Copies[0].Key = "k" }),
		"witness P-0012 did not sign it":                          destruction(func(d *Destruction) { d.Transcript.Transcript.Steps[4].Signatures = nil }),
		"is one to import-components":                             destruction(func(d *Destruction) { d.Transcript = sampleTranscript(t) }),
		"security test of os 1: it is not closed":                 SecurityTest{Mark: mark("1"), OS: "os 1"},
		"compromise: the report is of key \"a\", the key is \"\"": Compromise{Mark: mark("1"), Report: keys.Report{Key: "a"}},
		"person P-1 gives to themselves":                          Handover{Mark: mark("1"), From: "P-1", To: "P-1"},
		"history 1: it is of no key":                              History{Mark: mark("1")},
		"history of key a: copy module, b is of key c":            History{Mark: mark("1"), Key: keys.Key{ID: "a"}, Copies: []keys.Copy{{Key: "c", Kind: "module", Holder: "b"}}},
	} {
		if b, err := p.PDF(); err == nil || b != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A transcript that is not closed says so.
func TestNotClosed(t *testing.T) {
	tr := sampleTranscript(t)
	tr.Ended, tr.Closing = time.Time{}, nil
	tr.Transcript.Steps[3].Signatures = nil
	wants(t, read(t, tr), "Not closed: this is how far the ceremony came.", "The ceremony is not closed.", "nobody signed")
}

// What papers are made of are records without secrets: no type of the module
// but names and check values, and nothing that hides what it is.
func TestNoSecrets(t *testing.T) {
	open := []string{"ankan/hsm.KCV", "ankan/hsm.Purpose", "ankan/hsm.Algorithm", "ankan/hsm.Format"}
	bytesOf := []string{"Copy.Sealed", "Wrap.Blob", "Credential.ID", "Credential.Public", "Credential.AAGUID", "Sealing.Public", "Sealing.Wrapped"} // sealed, wrapped or public
	seen := map[reflect.Type]bool{}
	var walk func(in string, v reflect.Type)
	walk = func(in string, v reflect.Type) {
		name := strings.TrimPrefix(v.PkgPath()+"."+v.Name(), ".")
		ours := strings.HasPrefix(v.PkgPath(), "ankan/")
		switch {
		case slices.Contains(open, name), seen[v]:
			return
		case ours && strings.HasPrefix(v.PkgPath(), "ankan/hsm"), strings.Contains(name, "secret"), strings.HasPrefix(v.PkgPath(), "ankan/sim"), strings.HasPrefix(v.PkgPath(), "ankan/datagen"):
			t.Errorf("%s has a %s", in, name)
		case v.PkgPath() != "" && !ours: // the library's own: times, certificates
			return
		}
		seen[v] = true
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Name()+"."+v.Field(i).Name, v.Field(i).Type)
			}
		case reflect.Slice:
			if v.Elem().Kind() == reflect.Uint8 && !slices.Contains(bytesOf, in) {
				seen[v] = false
				t.Errorf("%s holds bytes that nothing vouches for", in)
			} else if v.Elem().Kind() == reflect.Uint8 {
				seen[v] = false
				return
			}
			walk(in, v.Elem())
		case reflect.Pointer, reflect.Array:
			walk(in, v.Elem())
		case reflect.Map:
			walk(in, v.Key())
			walk(in, v.Elem())
		case reflect.Func, reflect.Interface, reflect.Chan, reflect.UnsafePointer:
			t.Errorf("%s is a %s", in, v.Kind())
		}
	}
	for _, p := range samples(t) {
		walk(reflect.TypeOf(p).Name(), reflect.TypeOf(p))
	}
	if len(seen) < 25 {
		t.Errorf("%d types were looked at", len(seen))
	}
	if strings.Contains(read(t, sampleHistory()), "sealed-and-never-printed") {
		t.Error("what is sealed is printed")
	}
}

func TestPlanFromSocket(t *testing.T) {
	var c ceremony.Ceremony
	doc, err := json.Marshal(samplePlan(t).Ceremony)
	if err != nil || json.Unmarshal(doc, &c) != nil {
		t.Fatal(err)
	}
	// A ceremony that came over the socket has no parsed plan; its document has.
	one, err := Plan{Mark: own(), Ceremony: c, Names: names()}.PDF()
	if err != nil {
		t.Fatal(err)
	}
	if two, err := samplePlan(t).PDF(); err != nil || !bytes.Equal(one, two) {
		t.Error("a ceremony from the socket prints otherwise", err)
	}
}
