package keyroom

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/ceremony"
	"ankan/custody"
	"ankan/keys"
	"ankan/store"
)

// reads fails unless the page says all of it.
func (s *screen) reads(want ...string) {
	s.room.Helper()
	text := s.words()
	for _, w := range want {
		if !strings.Contains(text, w) {
			s.room.Errorf("person %s does not read %q; the page says: %.2500s", s.id, w, text)
		}
	}
}

// fetch is what the site answers to a person's browser.
func (s *screen) fetch(path string) []byte {
	s.room.Helper()
	var doc string
	s.Eval(fmt.Sprintf(`(async () => {
		const r = await fetch(%q);
		return r.status + " " + btoa(String.fromCharCode(...new Uint8Array(await r.arrayBuffer())));
	})()`, path), &doc)
	b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(doc, "200 "))
	if err != nil {
		s.room.Fatalf("%s: %.200s", path, doc)
	}
	return b
}

// paper reads a PDF as pdftotext does.
func (s *screen) paper(path string, want ...string) {
	s.room.Helper()
	b := s.fetch(path)
	if dir := os.Getenv("ANKAN_SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, strings.ReplaceAll(path[1:], "/", "-")), b, 0o600); err != nil {
			s.room.Fatal(err)
		}
	}
	cmd := exec.Command("pdftotext", "-", "-")
	cmd.Stdin = bytes.NewReader(b)
	text, err := cmd.Output()
	if err != nil {
		s.room.Fatalf("%s: pdftotext (package poppler-utils): %v; %.100q", path, err, b)
	}
	for _, w := range want {
		if !strings.Contains(string(text), w) {
			s.room.Errorf("%s does not say %q: %s", path, w, text)
		}
	}
}

// verified has ankan-verify check the transcript that the site signed, and the
// whole log: every act of the ceremony with its signatures.
func (r *room) verified(s *screen, transcript string) {
	r.Helper()
	dir := r.TempDir()
	run := func(name string, arg ...string) string {
		cmd := exec.Command(name, arg...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			r.Errorf("%s %v: %v: %.1500s", name, arg, err, out)
		}
		return string(out)
	}
	verify := filepath.Join(dir, "ankan-verify")
	if out, err := exec.Command("go", "build", "-o", verify, "ankan/cmd/ankan-verify").CombinedOutput(); err != nil {
		r.Fatalf("go build: %v: %s", err, out)
	}
	der := must[[]byte](r)(x509.MarshalPKIXPublicKey(must[ed25519.PublicKey](r)(r.site.PublicKey(r.ctx))))
	file, err := os.Create(filepath.Join(dir, "log.tar"))
	if err != nil {
		r.Fatal(err)
	}
	defer file.Close()
	if err := r.site.LogExport(r.ctx, file); err != nil {
		r.Fatal(err)
	}
	for name, b := range map[string][]byte{"transcript.json": s.fetch(transcript), "site.pem": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			r.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "log"), 0o700); err != nil {
		r.Fatal(err)
	}
	run("tar", "-xf", "log.tar", "-C", "log")
	if out := run(verify, "document", "transcript.json", "--key", "site.pem", "--type", ceremony.TranscriptType); !strings.Contains(out, keyName) {
		r.Errorf("the transcript says: %s", out)
	}
	if out := run(verify, "log", "log", "--key", r.site.Store().VerifierKey()); !strings.Contains(out, "ceremony.step") {
		r.Errorf("of the log it says: %s", out)
	}
}

// forge approves an act from the page where a person is, though the page offers
// no way: their own passkey signs it, and script sends it.
func (s *screen) forge(id string) int {
	s.room.Helper()
	st := must[custody.Status](s.room)(s.room.site.Desk().Get(s.room.ctx, id))
	me := must[access.Member](s.room)(s.room.site.People().Member(s.room.ctx, s.id))
	challenge := st.Act.Challenge(act.Approve)
	var module string
	s.Eval(`document.querySelector('script[src*="console.js"]').src.replace("console.js", "passkey.js")`, &module)
	var assertion, code json.RawMessage
	args := map[string]string{
		"challenge":  base64.RawURLEncoding.EncodeToString(challenge[:]),
		"credential": base64.RawURLEncoding.EncodeToString(me.Credential.ID),
		"rp":         me.Credential.RPID,
	}
	if err := s.Call(module, `m.sign(m.decode(a.challenge), a.credential, a.rp)`, args, &assertion); err != nil {
		s.room.Fatal(err)
	}
	s.Eval(fmt.Sprintf(`(async () => {
		const r = await fetch("/acts/%s/approve", {method: "POST", redirect: "manual", body: new URLSearchParams({compared: "yes", assertion: JSON.stringify(%s)})});
		return r.status;
	})()`, id, assertion), &code)
	var status int
	if err := json.Unmarshal(code, &status); err != nil {
		s.room.Fatal(err)
	}
	return status
}

// refusals of the log about an act.
func (r *room) logged(kind, subject string) (out []audit.Entry) {
	r.Helper()
	for _, e := range must[[]audit.Entry](r)(r.site.Store().Entries(r.ctx, 0, int(r.site.Store().Size()))) {
		if e.Kind == kind && e.Subject == subject {
			out = append(out, e)
		}
	}
	return out
}

// Nobody approves what they asked for, and an approval does not wait for ever.
func TestApprovalRefused(t *testing.T) {
	policy := access.DefaultPolicy()
	rule := policy.Acts["glass.break"]
	rule.ToUse = 3
	policy.Acts["glass.break"] = rule
	r := newRoomBy(t, policy)
	officer, manager := r.hire(so), r.hire(km)

	officer.ask("glass.break", "glass/power")
	asked := r.current()
	officer.open("/acts/" + asked)
	if officer.has(`form[action$="/approve"]`) {
		t.Error("the page lets a requester approve")
	}
	if got := officer.forge(asked); got == 200 {
		t.Errorf("the site answered %d to a requester's own approval", got)
	}
	if st := must[custody.Status](t)(r.site.Desk().Get(t.Context(), asked)); st.State != "open" || len(st.Signatures) != 1 {
		t.Errorf("the act is %s, with %d signatures", st.State, len(st.Signatures))
	}

	manager.approve(asked)
	time.Sleep(4 * time.Second)
	officer.open("/acts/" + asked)
	if officer.has(`form[action$="/use"]`) {
		officer.leave(`form[action$="/use"] button`)
	}
	officer.reads("Lapsed", "glass.break: not allowed: person 1004 asked for it")
	if st := must[custody.Status](t)(r.site.Desk().Get(t.Context(), asked)); st.State != "late" {
		t.Errorf("the act is %s", st.State)
	}
	if got := r.logged("glass.broken", "glass/power"); got != nil {
		t.Errorf("the log says %v", got)
	}
}

// A custodian who types a wrong component is told that it is theirs, and the
// others type on.
func TestWrongComponent(t *testing.T) {
	r := newRoom(t)
	for _, id := range []string{km, ha, so, custA, custB, custC} {
		r.hire(id)
	}
	r.open(planOf(t, "CER-2"), "CER-2")
	r.run("CER-2", func(st ceremony.StepNow) bool { return st.Step.Effect == ceremony.Enter })
	a := r.people[custA]
	a.open("/ceremonies/CER-2")
	a.leave(`form[action$="/begin"] button`)
	wrong := partHex[0][:62] + "98"
	a.fill("input[data-digits]", wrong)
	a.see("[data-compare]:not([hidden])")
	kcv := kcvOf(t, must[[]byte](t)(hex.DecodeString(wrong)))
	a.reads(kcv[:6])
	if a.has("[data-compare] button.btn-ink:not([disabled])") {
		a.leave("[data-compare] button.btn-ink")
		a.reads(custA)
	}
	if got := r.logged("ceremony.entry-refused", "ceremony/CER-2"); len(got) > 1 || len(got) == 1 && got[0].Actor != "person/"+custA {
		t.Errorf("the log says %v", got)
	}
	if c := r.ceremony("CER-2"); c.Steps[c.Now-1].Entered {
		t.Error("the wrong component was kept")
	}
	a.shoot("/ceremonies/CER-2")
	a.enter("CER-2", partHex[0])
	a.see("#step")
	a.sign("CER-2")
	if c := r.ceremony("CER-2"); c.Steps[c.Now-1].Part != 2 {
		t.Errorf("step %d is that of part %d", c.Now, c.Steps[c.Now-1].Part)
	}
}

// A bag whose number is not that of its form is tampered with: what it holds
// never enters, and everybody is told.
func TestTamperedBag(t *testing.T) {
	r := newRoom(t)
	a, officer := r.hire(custA), r.hire(so)
	sheet := keys.Sheet{Site: "op", Number: "KTF-000007", Key: keyName, Component: 1, Of: 3, KCV: "AB12CD CMAC", KeyKCV: "12AB34 GP", Ceremony: "C-9", Bag: "TE-51220",
		Seal: "S-771", FromPerson: "7", ToSite: "maker", ToPerson: custA, Carrier: "Blue Dart, AWB 774", Issued: time.Now().UTC().Truncate(time.Second)}
	if err := r.site.Store().Change(r.ctx, audit.Entry{Kind: "form.announced", Actor: "partner/op", Subject: sheet.Ref()}, func(tx *store.Tx) error {
		return r.site.Register().Announce(r.ctx, tx, "op", sheet)
	}); err != nil {
		t.Fatal(err)
	}
	a.open("/forms/op/KTF-000007")
	a.fill("#f-bag", "TE-51229")
	a.fill("#f-seal", sheet.Seal)
	a.click(`input[name="sound"][value="yes"]`)
	a.leave(`form[action^="/forms/"] button`)
	a.reads("TE-51229", "TE-51220")
	a.shoot("/forms/op/KTF-000007")
	a.open("/acts/new?kind=form.receive&subject=" + sheet.Ref())
	a.taken()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		f := must[keys.Form](t)(r.site.Register().Form(r.ctx, "op/KTF-000007"))
		if f.State == keys.FormTampered {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the form is %s; the page says %.1500s", f.State, a.words())
		}
	}
	a.open("/forms/op/KTF-000007")
	a.reads("TE-51229")
	officer.open("/notices")
	officer.reads("KTF-000007")
	officer.shoot("/notices", "/transfers", "/forms/op/KTF-000007")
	officer.paper("/forms/op/KTF-000007/form.pdf", "KTF-000007", "TE-51220", "TE-51229")
	officer.paper("/custody/"+custA+"/inventory.pdf", "Inventory of key custody", "Person "+custA)
}
