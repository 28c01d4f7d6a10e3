package exchange

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sealNoted seals content with notes.
func sealNoted(t testing.TB, from *Identity, to *Partner, content []byte, notes ...Note) string {
	t.Helper()
	var b bytes.Buffer
	w, err := Seal(&b, from, to, "a", notes...)
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "a.pgp", b.Bytes())
}

func TestNotes(t *testing.T) {
	bureau, operator, toBureau, toOperator := bureauAndOperator(t)
	text := "ankan/bureau\n12\nroot\n\n— ankan/bureau sig\n"
	path := sealNoted(t, bureau, toOperator, []byte("content"), Note{"checkpoint@ankan", text}, Note{"witness@ankan", "other"})
	m, err := Open(path, operator, []*Partner{toBureau}, testLimits)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Notes) != 2 || m.Notes[0] != (Note{"checkpoint@ankan", text}) || m.Notes[1] != (Note{"witness@ankan", "other"}) {
		t.Errorf("notes are %+v", m.Notes)
	}
	for name, n := range map[string]Note{"no name": {"", "x"}, "too long": {"a@b", strings.Repeat("x", maxNote+1)}, "not text": {"a@b", "\xff"}} {
		if _, err := Seal(new(bytes.Buffer), bureau, toOperator, "a", n); err == nil {
			t.Errorf("%s: it was sealed", name)
		}
	}
}

// TestNotesElsewhere: programs that know nothing of our notes open the file all
// the same, and those of other programs are shown to us.
func TestNotesElsewhere(t *testing.T) {
	bureau := newIdentity(t, "bureau")
	g := newGPG(t)
	g.knows(bureau)
	partner, toBureau := newPartner(t, "operator", g.pub), newPartner(t, "bureau", bureau.PublicKey())
	plain := filepath.Join(t.TempDir(), "plain")
	status := string(g.run("--status-fd", "1", "-d", "-o", plain, sealNoted(t, bureau, partner, []byte("content"), Note{"checkpoint@ankan", "line one\nline two\n"})))
	if got, err := os.ReadFile(plain); err != nil || string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
	for _, want := range []string{"VALIDSIG " + bureau.Fingerprint(), "NOTATION_NAME checkpoint@ankan", "NOTATION_DATA line%20one%0Aline%20two%0A"} {
		if !strings.Contains(status, want) {
			t.Errorf("gpg does not say %s:\n%s", want, status)
		}
	}
	out := filepath.Join(t.TempDir(), "a.gpg")
	g.run("-s", "-e", "--sig-notation", "witness@ankan=text", "-r", bureau.Fingerprint(), "-o", out, plain)
	m, err := Open(out, bureau, []*Partner{toBureau, partner}, testLimits)
	if err != nil || len(m.Notes) != 1 || m.Notes[0] != (Note{"witness@ankan", "text"}) {
		t.Errorf("%+v, %v", m, err)
	}
}
