package profile

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// A document may take responsibility for what a check finds, and Compile then
// makes cards of it.
func TestAccept(t *testing.T) {
	doc := change(t, builtinDoc(t), "      EF.FDN: {record-size: 28, records: 10}\n", "")
	p, err := Parse("a.yaml", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	if f := p.Check(); len(f) != 1 || f[0].Check != "services" {
		t.Fatalf("%v, want a finding about EF.FDN", f)
	}
	const accept = "accept:\n- {check: services, file: MF/ADF.USIM/EF.UST, reason: \"FDN comes later, over the air\"}\nfiles:\n"
	q, err := Parse("a.yaml", []byte(change(t, doc, "files:\n", accept)))
	if err != nil {
		t.Fatal(err)
	}
	if f := q.Check(); len(f) != 0 {
		t.Errorf("%v, want nothing", f)
	}
	if _, err := Compile(q); err != nil {
		t.Error(err)
	}
	if q.Digest() == p.Digest() {
		t.Error("an acceptance does not change the digest that people approve")
	}
	r, err := Parse("again.yaml", []byte(q.String()))
	if err != nil || r.String() != q.String() || len(r.Accepted) != 1 || r.Accepted[0].Reason != "FDN comes later, over the air" {
		t.Errorf("%v, %v", r, err)
	}
	if d := fmt.Sprint(Diff(p, q)); d != "[+ accept/services MF/ADF.USIM/EF.UST: FDN comes later, over the air]" {
		t.Error(d)
	}
	if d := fmt.Sprint(Diff(q, p)); d != "[- accept/services MF/ADF.USIM/EF.UST: FDN comes later, over the air]" {
		t.Error(d)
	}
	// What the profile itself writes is the same.
	if p, err = p.Accept("FDN comes later, over the air"); err != nil || p.String() != q.String() {
		t.Errorf("%v\n%s", err, p)
	}
}

func TestAcceptRefuses(t *testing.T) {
	doc := builtinDoc(t)
	for _, x := range []struct{ accept, want string }{
		{"accept: services", "accept: a text, want a list"},
		{"accept: [services]", "a text, want keys and values"},
		{"accept: [{check: identity, file: MF/EF.ICCID, reason: x}]", `check is "identity", want services, sizes, mandatory, suci`},
		{"accept: [{check: services, file: MF/EF.ICCID}]", "check, file and reason are wanted"},
		{"accept: [{check: services, file: MF/EF.ICCID, reason: \" \"}]", "check, file and reason are wanted"},
		{"accept: [{check: services, reason: x}]", "check, file and reason are wanted"},
		{"accept: [{check: services, file: MF/EF.ICCID, reason: x, until: never}]", "unknown key until"},
	} {
		if _, err := Parse("a.yaml", []byte(change(t, doc, "files:\n", x.accept+"\nfiles:\n"))); !errors.Is(err, ErrDocument) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %s", x.accept, err, x.want)
		}
	}
	// Of nothing.
	for _, file := range []string{"MF/ADF.USIM/EF.UST", "MF/EF.NOTHING"} {
		p, err := Parse("a.yaml", []byte(change(t, doc, "files:\n", "accept: [{check: services, file: "+file+", reason: x}]\nfiles:\n")))
		if err != nil {
			t.Fatal(err)
		}
		if f := p.Check(); len(f) != 1 || !strings.Contains(f[0].Text, "the check services finds nothing about "+file+"; remove it") {
			t.Errorf("%v, want a finding about the acceptance", f)
		}
		if _, err := Compile(p); !errors.Is(err, ErrFindings) {
			t.Errorf("Compile: %v", err)
		}
	}
}
