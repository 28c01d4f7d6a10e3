package perso

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ankan/gp"
	"ankan/profile"
	"ankan/scp"
	"ankan/uicc"
)

// loadFile is the code of a package of one applet, F00000000102.
func loadFile() []byte {
	component := func(tag byte, v ...byte) []byte { return append([]byte{tag, byte(len(v) >> 8), byte(len(v))}, v...) }
	parts := [][]byte{
		component(1, 0xDE, 0xCA, 0xFF, 0xED, 1, 2, 4, 3, 1, 6, 0xF0, 0, 0, 0, 1, 1), component(2, make([]byte, 31)...), component(4, 0),
		component(3, 1, 6, 0xF0, 0, 0, 0, 1, 2, 0, 20), component(6, 0), component(7, make([]byte, 300)...), component(8, make([]byte, 10)...),
		component(5, 0, 0), component(9, 0, 0, 0, 0),
	}
	for _, p := range parts {
		copy(parts[1][3+2*(p[0]-1):], p[1:3])
	}
	parts[1][3+29] = 1
	return slices.Concat(parts...)
}

// withApplications is a profile with remote management and n applications.
func (f *plant) withApplications(n int) {
	f.Helper()
	var s strings.Builder
	s.WriteString("\nremote:\n- {name: usim, tar: [B00010], manages: ADF.USIM, level: \"16\", access: full}\napplications:\n- load-file: F00000000101\n  code: ")
	s.WriteString(base64.StdEncoding.EncodeToString(loadFile()) + "\n  instances:\n")
	for i := range n {
		fmt.Fprintf(&s, "  - {aid: F0000000010300000000000000%04X, module: F00000000102, data: [{dgi: \"0001\", value: \"${ICCID}\"}]}\n", i)
	}
	f.doc = bytes.Replace(f.doc, []byte("\nfiles:\n"), []byte(s.String()+"files:\n"), 1)
	var err error
	f.profile, err = profile.Parse("profile.yaml", f.doc)
	f.must(err)
}

// The line reads the registry of each card, in the burst that reads the card, and
// rejects one that lists something else.
func TestRegistry(t *testing.T) {
	for _, n := range []int{1, 12} { // the list of twelve takes several answers
		f := newPlant(t)
		f.withApplications(n)
		f.batch("A1", 2, 0)
		f.load(2)
		f.must(f.run(t.Context(), "A1", 1))
		f.check("A1", 2)
		f.must(f.change("test.move", moveBack("A1")))
		r, err := f.line().open(t.Context(), "A1")
		f.must(err)
		defer r.reader.Close()
		s := newSeat(t.Context(), f.tray.station("st"))
		defer s.close()
		chip := f.tray.order[0].chip
		f.must(s.insert(chip.Serial()))
		rec, err := r.record(t.Context(), task{0, 0})
		f.must(err)
		c, err := look(s)
		f.must(err)
		f.must(r.maker.make(t.Context(), s, c, rec))

		for _, l := range r.maker.script.Registry() {
			if pages := statusPages(l); pages != 1 && (n == 1 || l.Scope == gp.LoadFiles) || pages == 1 && n == 12 && l.Scope == gp.Applications {
				t.Errorf("%d applications: %02X takes %d GET STATUS", n, byte(l.Scope), pages)
			}
		}
		own, err := r.maker.script.NewKeys(rec)
		f.must(err)
		defer own.Close()
		aid := []byte{0xF0, 0, 0, 0, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		spoil := func(cmds ...uicc.Command) error {
			t.Helper()
			chip.Reset()
			channel, err := scp.Open(t.Context(), chip, own, scp.Options{KeyVersion: isdKeyVersion, Level: scp.Full})
			f.must(err)
			for _, cmd := range cmds {
				_, err := uicc.NewSession(channel).Do(t.Context(), cmd)
				f.must(err)
			}
			c, err := look(s)
			f.must(err)
			return r.maker.make(t.Context(), s, c, rec)
		}
		install := func(instance []byte, p gp.Privileges) uicc.Command {
			i, err := gp.InstallForInstall([]byte{0xF0, 0, 0, 0, 1, 1}, []byte{0xF0, 0, 0, 0, 1, 2}, instance, p, nil, true)
			f.must(err)
			return i.Commands()[0]
		}
		lock, err := gp.SetStatus(gp.Applications, gp.StateSelectable|gp.StateLocked, aid)
		f.must(err)
		gone, err := gp.Delete(aid, false, nil)
		f.must(err)
		extra := []byte{0xF0, 0, 0, 0, 9, 9}
		for _, x := range []struct {
			name string
			cmds []uicc.Command
			want string
		}{
			{"locked", []uicc.Command{lock}, "GET STATUS 40 says of F00000000103000000000000000000"},
			{"deleted", []uicc.Command{gone}, "GET STATUS 40 does not list F00000000103000000000000000000"},
			{"another's privileges", []uicc.Command{install(aid, gp.CVMManagement)}, "C503020000"},
			{"one more", []uicc.Command{gone, install(aid, 0), install(extra, 0)}, "GET STATUS 40 lists F00000000909, which the profile has not"},
		} {
			var reject *Reject
			if err := spoil(x.cmds...); !errors.As(err, &reject) || reject.Reason != ReadBack || !strings.Contains(err.Error(), x.want) {
				t.Errorf("%d applications, %s: %v, want %s", n, x.name, err, x.want)
			}
		}
	}
}

func TestCompareRegistry(t *testing.T) {
	e := gp.Entry{AID: []byte{1, 2, 3, 4, 5}, State: 7}
	l := profile.Listing{Scope: gp.Applications, Entries: []gp.Entry{e}}
	for _, x := range []struct {
		data []byte
		sw   uicc.SW
		want string
	}{
		{[]byte{0xE4}, uicc.SWOK, "GET STATUS"},
		{e.Append(nil), uicc.SWMoreStatus, "GET STATUS 40 has more than the 1 entries of the profile"},
		{nil, uicc.SWNotFound, "does not list 0102030405"},
		{nil, uicc.SWConditions, "6985"},
	} {
		if err := compareRegistry(l, x.data, x.sw); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%X: %v, want %s", x.data, err, x.want)
		}
	}
	if err := compareRegistry(l, e.Append(nil), uicc.SWOK); err != nil {
		t.Error(err)
	}
}
