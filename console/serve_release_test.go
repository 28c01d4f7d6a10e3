package console

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"ankan/act"
	"ankan/conformance"
	"ankan/profile"
	"ankan/release"
	"ankan/simos"
	"ankan/site"
	"ankan/site/sitetest"
)

// vendorsImage is an operating system as its vendor ships it, with the key.
func vendorsImage(t testing.TB) (simos.Image, []byte, ed25519.PublicKey) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	image := simos.Image{Name: "ref", Version: "1.0", Algorithms: []string{"MILENAGE"}, Body: []byte("code")}
	return image, must[[]byte](t)(image.Sign(key)), key.Public().(ed25519.PublicKey)
}

func (h *house) number(role string) string { return h.people[role].id }

// An operating system goes from its form to its approval in browsers, and every
// page on the way is sound and says what is so.
func TestReleasePages(t *testing.T) {
	h := newHouse(t)
	image, signed, maker := vendorsImage(t)
	p := must[*profile.Profile](t)(profile.Builtin("in-5g-usim"))
	admin, tester, officer, lead := h.as("system-administrator"), h.as("security-tester"), h.as("security-officer"), h.as("shift-lead")
	if body := admin.page("/releases"); !strings.Contains(body, "No operating system yet") || !strings.Contains(body, `href="/releases/new"`) {
		t.Error("the empty register")
	}
	form := []string{"vendor", hostile, "country", "IN", "environment", "room 12", "process", "SDP-7", "developers", "person " + h.number("developer") + "\nA. Writer",
		"chips", "software chip", "os_maker", fmt.Sprintf("%x", maker), "image", base64.StdEncoding.EncodeToString(signed)}
	for i, wrong := range map[int]string{3: "India", 13: "zz", 15: "!"} {
		bad := append([]string(nil), form...)
		bad[i] = wrong
		if got := admin.post("/releases/new", bad...); got.code != 422 || !strings.Contains(got.body, "note bad") || strings.Contains(got.body, "<script>alert") {
			t.Errorf("%s: %d", wrong, got.code)
		}
	}
	to := admin.post("/releases/new", form...)
	if to.code != 303 || to.header.Get("Location") != askFor("release.register", "release/ref 1.0") {
		t.Fatalf("%d to %s", to.code, to.header.Get("Location"))
	}
	if body := admin.page("/releases/ref%201.0"); !strings.Contains(body, "Written down") || !strings.Contains(body, "Ask to register it") {
		t.Error("the draft's page")
	}
	asked := admin.ask("release.register", "release/ref 1.0")
	officer.approve(asked)
	use(t, h, admin, asked)

	at := "/releases/ref%201.0"
	if got := admin.post(at+"/integrate", "operator", "op", "profile", "x", "place", "lab", "people", admin.id); got.code != 422 {
		t.Errorf("a profile that is none: %d", got.code)
	}
	to = admin.post(at+"/integrate", "operator", "op", "profile", p.String(), "place", "laboratory 3", "people", admin.id+", "+lead.id)
	if to.code != 303 {
		t.Fatalf("%d %.2000s", to.code, to.body)
	}
	admin.ask("release.integrate", "release/ref 1.0/op/in-5g-usim") // nobody else signs

	at += "/op/in-5g-usim"
	if body := tester.page(at); !strings.Contains(body, "It was not run yet") || !strings.Contains(body, "26 open") || !strings.Contains(body, "Write down what you found") {
		t.Error("the page before the test")
	}
	if body := lead.page(at); strings.Contains(body, "Write down what you found") {
		t.Error("somebody else is offered to test")
	}
	if got := tester.post(at, "item", "made-1", "result", "pass", "evidence", "zz"); got.code != 422 {
		t.Errorf("evidence that is none: %d", got.code)
	}
	for _, it := range release.Checklist() {
		if got := tester.post(at, "item", it.ID, "result", "not applicable", "reason", hostile); got.code != 303 {
			t.Fatalf("%s: %d", it.ID, got.code)
		}
	}
	attach(t, h.site, tester.id, image, p)
	if body := tester.page(at); !strings.Contains(body, "0 open") || !strings.Contains(body, "Close the test") || !strings.Contains(body, "All 34 cases") {
		t.Error("the page before the test is closed")
	}
	tester.ask("release.test", "release/ref 1.0/op/in-5g-usim")
	body := tester.page(at)
	if !strings.Contains(body, "Tested") || !strings.Contains(body, "A. Writer") || !strings.Contains(body, "person "+tester.id) {
		t.Error("the page of what was tested")
	}
	asked = tester.ask("release.approve", "release/ref 1.0/op/in-5g-usim")
	officer.approve(asked)
	lead.approve(asked)
	use(t, h, tester, asked)
	if got := tester.post(at, "item", "made-1", "result", "pass", "evidence", strings.Repeat("ab", 32)); got.code != 303 || !strings.Contains(told(tester.get(at).body), "a test comes before the approval") {
		t.Errorf("a finding after the approval: %d", got.code)
	}
	if body := lead.page("/releases"); !strings.Contains(body, "Approved") || strings.Contains(body, "<script>alert") {
		t.Error("the register")
	}
	if body := lead.page("/releases/ref%201.0"); !strings.Contains(body, "Approved for loading") {
		t.Error("the page of the release")
	}
	st := must[release.Standing](t)(release.At(h.site).Standing(t.Context(), "ref 1.0", "op", "in-5g-usim"))
	if got := lead.get("/reports/" + st.Reports[0].SHA256); got.code != 200 || !strings.Contains(got.body, "payload") {
		t.Errorf("the signed report: %d", got.code)
	}
	if got := lead.get(at + "/test.pdf"); got.code != 200 || !strings.HasPrefix(got.body, "%PDF") {
		t.Errorf("the record of the test: %d", got.code)
	}
	if got := lead.get("/reports/00"); got.code != http.StatusNotFound {
		t.Errorf("a report that is not there: %d", got.code)
	}
	for _, path := range []string{"/releases/x", "/releases/x/integrate", "/releases/ref%201.0/op/other"} {
		if got := admin.get(path); got.code != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.code)
		}
	}
	to = officer.post(at+"/withdraw", "why", "weak random numbers")
	if want := askFor("release.withdraw", st.Ref()+"/weak random numbers"); to.code != 303 || to.header.Get("Location") != want {
		t.Errorf("%d to %s, want %s", to.code, to.header.Get("Location"), want)
	}
	officer.ask("release.withdraw", st.Ref()+"/weak random numbers")
	if body := officer.page(at); !strings.Contains(body, "Withdrawn") || !strings.Contains(body, "weak random numbers") {
		t.Error("the page of what was withdrawn")
	}
}

// use does an act that has its signatures.
func use(t *testing.T, h *house, v *visitor, asked string) {
	t.Helper()
	if err := h.site.Do(t.Context(), strings.TrimPrefix(asked, "/acts/")); err != nil {
		t.Fatal(err)
	}
}

// attach brings a report of the suite, as the command line does.
func attach(t *testing.T, s *site.Site, tester string, image simos.Image, p *profile.Profile) {
	t.Helper()
	digest := must[[32]byte](t)(image.Digest())
	now := time.Now().UTC().Truncate(time.Second)
	r := conformance.Report{Format: conformance.Format, OS: fmt.Sprintf("%x", digest), Profile: fmt.Sprintf("%x", p.Digest()), Chip: "0102030405060708", ATR: "3B00", Started: now, Ended: now}
	for _, c := range conformance.Cases() {
		c.Result = conformance.Pass
		r.Cases = append(r.Cases, c)
	}
	who := must[act.Person](t)(s.People().Person(t.Context(), tester))
	must[release.Attached](t)(release.At(s).Attach(t.Context(), who, "release/ref 1.0/op/in-5g-usim", r))
}

// A site that is no plant has no such pages, and no such noun.
func TestNoReleasesElsewhere(t *testing.T) {
	s := &Server{site: sitetest.New(t, "op", site.Operator, site.Part{Role: site.Operator})}
	if _, err := s.releases(); err != errGone {
		t.Errorf("%v, want %v", err, errGone)
	}
}
