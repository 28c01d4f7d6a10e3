package gp

import (
	"bytes"
	"errors"
	"testing"

	"ankan/uicc"
)

// parse is the card's side of what Commands gives.
func parse(t *testing.T, i *Install) InstallRequest {
	t.Helper()
	var a Assembly
	var p1 byte
	for _, c := range i.Commands() {
		if err := a.AddMore(c.Data); err != nil {
			t.Fatal(err)
		}
		p1 = c.P1
	}
	r, err := ParseInstall(p1, a.Data())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestParseInstall(t *testing.T) {
	must := func(i *Install, err error) *Install {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	pkg, applet, instance, domain := []byte(packageAID), []byte(appletAID), []byte(instanceAID), []byte(domainAID)
	i := must(InstallForLoad(pkg, domain, []byte("hash"), []byte{0xEF, 0}))
	i.Token = bytes.Repeat([]byte{9}, 200)
	if r := parse(t, i); !r.Load || string(r.LoadFile) != packageAID || string(r.Domain) != domainAID || string(r.Hash) != "hash" || len(r.Token) != 200 || len(r.Parameters) != 2 {
		t.Errorf("for load: %+v", r)
	}
	long := append([]byte{0xC9, 0x82, 1, 0x2C}, make([]byte, 300)...)
	if r := parse(t, must(InstallForInstall(pkg, applet, instance, CardReset|TrustedPath, long, true))); !r.Install || !r.Selectable || r.Privileges != CardReset|TrustedPath ||
		string(r.Module) != appletAID || string(r.Instance) != instanceAID || !bytes.Equal(r.Parameters, long) {
		t.Errorf("for install: %+v", r)
	}
	if r := parse(t, must(InstallForMakeSelectable(instance, CardReset, nil))); !r.Selectable || r.Install || r.Privileges != CardReset || string(r.Instance) != instanceAID {
		t.Errorf("make selectable: %+v", r)
	}
	if r := parse(t, must(InstallForExtradition(domain, instance, nil))); !r.Extradition || string(r.Domain) != domainAID || string(r.Instance) != instanceAID {
		t.Errorf("extradition: %+v", r)
	}
	if r := parse(t, must(InstallForRegistryUpdate(nil, instance, CardLock, nil))); !r.Registry || len(r.Domain) != 0 || r.Privileges != CardLock {
		t.Errorf("registry update: %+v", r)
	}
	if r := parse(t, must(InstallForPersonalization(instance))); !r.Personalization || string(r.Instance) != instanceAID {
		t.Errorf("personalization: %+v", r)
	}
	const five = "05a000000000" // an AID with its length
	for name, c := range map[string]struct {
		p1   byte
		data string
	}{
		"no kind":          {0x00, "000000000000"},
		"two kinds":        {0x12, "000000000000"},
		"empty":            {0x02, ""},
		"no load file":     {0x02, "0000000000"},
		"short load file":  {0x02, "04a000000000000000"},
		"domain":           {0x02, five + "01a0000000"},
		"byte after":       {0x02, five + "0000000000"},
		"no privileges":    {0x04, five + five + five + "000000"},
		"privileges of 2":  {0x04, five + five + five + "0201020000"},
		"no instance":      {0x08, "000000010000"},
		"no domain":        {0x10, "0000" + five + "000000"},
		"field runs over":  {0x20, "0000ff"},
		"longer than told": {0x40, "81"},
	} {
		if r, err := ParseInstall(c.p1, unhex(t, c.data)); !errors.Is(err, ErrData) {
			t.Errorf("%s: %+v, %v, want ErrData", name, r, err)
		}
	}
}

func TestAssembly(t *testing.T) {
	all, err := Load(bytes.Repeat([]byte{5}, 1000), 100)
	if err != nil {
		t.Fatal(err)
	}
	var a Assembly
	for _, c := range all {
		if err := a.Add(c.P2, c.Data); err != nil {
			t.Fatal(err)
		}
	}
	if len(a.Data()) != 1000 {
		t.Errorf("%d bytes, want 1000", len(a.Data()))
	}
	if err := a.Add(3, nil); !errors.Is(err, ErrData) || len(a.Data()) != 0 {
		t.Errorf("block 3 after 9: %v, %d bytes kept", err, len(a.Data()))
	}
	if err := a.Add(1, nil); !errors.Is(err, ErrData) {
		t.Errorf("beginning with 1: %v, want ErrData", err)
	}
	if err := a.Add(0, make([]byte, maxAssembly+1)); !errors.Is(err, ErrData) {
		t.Errorf("more than a megabyte: %v, want ErrData", err)
	}
	for i := range 257 {
		err = a.AddMore([]byte{1})
		if (err != nil) != (i == 256) {
			t.Errorf("block %d: %v", i, err)
		}
	}
}

func TestParseDelete(t *testing.T) {
	c, err := Delete([]byte(domainAID), true, []byte("token"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseDelete(c.P2, c.Data)
	if err != nil || string(r.AID) != domainAID || !r.Related || string(r.Token) != "token" {
		t.Errorf("%+v, %v", r, err)
	}
	c, err = DeleteKey(1, 0x30)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := ParseDelete(c.P2, c.Data); err != nil || r.KeyID != 1 || r.KeyVersion != 0x30 || r.AID != nil {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := ParseDelete(0, append(uicc.AppendTLV(nil, 0x4F, []byte(domainAID)...), 0xB6, 0)); err != nil {
		t.Errorf("with control references: %v", err)
	}
	for _, s := range []string{"", "4f", "4f0401020304", "d000", "d00100", "d20100", "c500", "9e00", "4f05a0000000004f05a000000000", "4f05a000000000d00101"} {
		if _, err := ParseDelete(0, unhex(t, s)); !errors.Is(err, ErrData) {
			t.Errorf("%q: %v, want ErrData", s, err)
		}
	}
}

// What a card of ours says is read back.
func TestAppendEntry(t *testing.T) {
	want := []Entry{
		{AID: []byte(domainAID), State: CardSecured, Privileges: SecurityDomain | AuthorizedManagement},
		{AID: []byte(packageAID), State: LoadFileLoaded, Version: 0x0100, Domain: []byte(domainAID), Modules: [][]byte{[]byte(appletAID)}},
		{AID: []byte(instanceAID), State: StateSelectable, LoadFile: []byte(packageAID), Domain: []byte(domainAID)},
	}
	var b []byte
	for _, e := range want {
		b = e.Append(b)
	}
	got, err := ParseRegistry(b)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, e := range got {
		w := want[i]
		if !bytes.Equal(e.AID, w.AID) || e.State != w.State || e.Privileges != w.Privileges || e.Version != w.Version ||
			!bytes.Equal(e.LoadFile, w.LoadFile) || !bytes.Equal(e.Domain, w.Domain) || len(e.Modules) != len(w.Modules) {
			t.Errorf("%+v, want %+v", e, w)
		}
	}
}

func FuzzRequests(f *testing.F) {
	i, err := InstallForLoad([]byte(packageAID), nil, nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(byte(0x02), i.Commands()[0].Data)
	f.Add(byte(0), uicc.AppendTLV(nil, 0x4F, []byte(domainAID)...))
	f.Fuzz(func(t *testing.T, p byte, data []byte) {
		ParseDelete(p, data)
		r, err := ParseInstall(p, data)
		if err != nil || !r.Load {
			return
		}
		i, err := InstallForLoad(r.LoadFile, r.Domain, r.Hash, r.Parameters)
		if err != nil {
			t.Fatal(err)
		}
		i.Token = r.Token
		var again []byte
		for _, c := range i.Commands() {
			again = append(again, c.Data...)
		}
		if !bytes.Equal(again, data) {
			t.Errorf("%x became %x", data, again)
		}
	})
}
