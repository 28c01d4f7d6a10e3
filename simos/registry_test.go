package simos_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ankan/gp"
	"ankan/scp"
	"ankan/simos"
	"ankan/uicc"
)

// component is one component of a CAP file.
func component(tag byte, v ...byte) []byte {
	return append([]byte{tag, byte(len(v) >> 8), byte(len(v))}, v...)
}

func lv(b ...byte) []byte { return append([]byte{byte(len(b))}, b...) }

// The AIDs of the tests' package, its applet and an instance of it.
var (
	packageAID  = []byte{0xF0, 0, 0, 0, 1, 1}
	appletAID   = []byte{0xF0, 0, 0, 0, 1, 2}
	instanceAID = []byte{0xF0, 0, 0, 0, 1, 3}
)

// capFile is the load file data block of a package with one applet, component by
// component.
func capFile(aid []byte) [][]byte {
	parts := [][]byte{
		component(1, slices.Concat([]byte{0xDE, 0xCA, 0xFF, 0xED, 1, 2, 4, 3, 1}, lv(aid...))...),
		component(2, make([]byte, 31)...), component(4, 0),
		component(3, slices.Concat([]byte{1}, lv(appletAID...), []byte{0, 20})...),
		component(6, 0), component(7, make([]byte, 600)...), component(8, make([]byte, 10)...), component(5, 0, 0), component(9, 0, 0, 0, 0),
	}
	directory := parts[1][3:]
	for _, p := range parts {
		copy(directory[2*(p[0]-1):], p[1:3])
	}
	directory[29] = 1 // applets
	return parts
}

// loadCommands are INSTALL [for load] and LOADs, as tools send them.
func loadCommands(aid, hash, code []byte) []uicc.Command {
	cmds := []uicc.Command{{CLA: 0x80, INS: uicc.INSInstall, P1: 2, Data: slices.Concat(lv(aid...), lv(), lv(hash...), lv(), lv())}}
	block := uicc.AppendTLV(nil, 0xC4, code...)
	for i := byte(0); len(block) > 0; i++ {
		n := min(len(block), 220)
		p1 := byte(0)
		if n == len(block) {
			p1 = 0x80
		}
		cmds = append(cmds, uicc.Command{CLA: 0x80, INS: uicc.INSLoad, P1: p1, P2: i, Data: block[:n]})
		block = block[n:]
	}
	return cmds
}

func installCommand(p1 byte, file, module, instance []byte, privileges ...byte) uicc.Command {
	return uicc.Command{CLA: 0x80, INS: uicc.INSInstall, P1: p1,
		Data: slices.Concat(lv(file...), lv(module...), lv(instance...), lv(privileges...), lv(0xC9, 0), lv())}
}

// do sends commands over a card and returns the last status word.
func do(t *testing.T, c uicc.Card, cmds ...uicc.Command) uicc.SW {
	t.Helper()
	sw := uicc.SWOK
	for _, cmd := range cmds {
		r, err := c.Transmit(t.Context(), cmd.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if sw = uicc.Response(r).SW(); sw != uicc.SWOK {
			break
		}
	}
	return sw
}

// cardKeys opens the channel of a finished test card.
func cardChannel(t *testing.T, c uicc.Card, level scp.Level) *scp.Channel {
	t.Helper()
	return open(t, c, keySet(t, 0x50), level)
}

// A tool's life with an applet: load, install, personalise, use, lock, delete
// (GlobalPlatform Card Specification, 11).
func TestApplet(t *testing.T) {
	c := built(t, true)
	channel := cardChannel(t, c, scp.Full)
	code := slices.Concat(capFile(packageAID)...)
	sum := sha256.Sum256(code)
	if sw := do(t, channel, loadCommands(packageAID, sum[:], code)...); sw != uicc.SWOK {
		t.Fatal(sw)
	}
	play(t, channel, `
		80F22002024F00 00 > E31A 4F06F00000000101 9F700101 CE020103 CC08A000000151000000 9000
		80F21002024F00 00 > E322 4F06F00000000101 9F700101 CE020103 8406F00000000102 CC08A000000151000000 9000
		80F28002024F00 00 > E313 4F08A000000151000000 9F70010F C503985C00 9000
		80F22002044F02A000 00 > 6A88
		80F2200202 4F00 00 > ..9000`)
	if sw := do(t, channel, installCommand(0x0C, packageAID, appletAID, instanceAID, 0)); sw != uicc.SWOK {
		t.Fatal(sw)
	}
	play(t, channel, `
		80F24002084F06F00000000103 00 > E323 4F06F00000000103 9F700107 C503000000 C406F00000000101 CC08A000000151000000 9000
		80E620000B 0000 06F00000000103 0000 00 > 6A80
		80E620000C 0000 06F00000000103 000000 00 > 009000
		80E2800005 5F0104AABB > 6A80    # a DGI that is longer than what comes
		80E2800006 010103AABBCC > 9000
		80E2900006 9F1003112233 > 9000
		80E2900003 500100 > 9000
		80E2900006 9F1003445566 > 9000                    # in its place
		80E2900004 9F100344 > 6A80
		80E2800002 0101 > 6A80
		80E2070003 010100 > 6A86`)
	c.Reset()
	play(t, c, `
		00A4040006F00000000103 00 > 6F0E 8406F00000000103 A5049F6501FF 9000
		80CA010100 > AABBCC9000
		80CA9F1000 > 9F10034455669000
		80CA005000 > 5001009000
		80CA9F7F00 > 6A88
		80E2800006 010103AABBCC > 6982
		00A40400 05 F000000001 00 > 6F0E 8406F00000000103 A5049F6501FF 9000
		00A4000C023F00 > 9000
		80CA9F7F00 > ..9000`)
	// The applet's own channel is the card manager's.
	play(t, c, "00A4040C06F00000000103 > 9000")
	channel = cardChannel(t, c, scp.Full)
	play(t, channel, `
		80E2880008 0102FF0003AABBCC > 9000
		80CA010200 > AABBCC9000
		80F0408006 F00000000103 > 9000        # locked
		80E2880006 010203AABBCC > 6985
		80F24002084F06F00000000103 00 > E323 4F06F00000000103 9F700187 C503000000 C406F00000000101 CC08A000000151000000 9000
		00A4040C06F00000000103 > 6A82
		80F0400706 F00000000103 > 9000
		00A4040C06F00000000103 > 9000
		80F0400F06 F00000000103 > 9000        # a state of its own`)
	play(t, channel, `
		80E4000008 4F06F00000000101 00 > 6985 # the load file has an instance
		80E4008008 4F06F00000000101 00 > 009000
		80E4000008 4F06F00000000103 00 > 6A88
		80F22002024F00 00 > 6A88
		00A4040C06F00000000103 > 6A82`)
	c.Reset()
	if _, err := simos.Unmarshal(c.Marshal()); err != nil {
		t.Error(err)
	}
}

// Load files that are not in order are refused, and nothing is kept.
func TestLoadRefuses(t *testing.T) {
	card := built(t, true)
	join := func(parts [][]byte) []byte { return slices.Concat(parts...) }
	without := func(tag byte) []byte {
		return join(slices.DeleteFunc(capFile(packageAID), func(p []byte) bool { return p[0] == tag }))
	}
	changed := func(part, at int, v byte) []byte {
		f := capFile(packageAID)
		f[part][3+at] = v
		return join(f)
	}
	good := join(capFile(packageAID))
	sum := sha1.Sum(good)
	for name, f := range map[string]struct {
		hash, code []byte
		sw         uicc.SW
	}{
		"good":               {sum[:], good, uicc.SWOK},
		"no hash":            {nil, good, uicc.SWOK},
		"other hash":         {sum[:], without(8), uicc.SWData},
		"hash of a length":   {sum[:19], good, uicc.SWData},
		"SHA-256":            {make([]byte, 32), good, uicc.SWData},
		"SHA-384":            {make([]byte, 48), good, uicc.SWData},
		"SHA-512":            {make([]byte, 64), good, uicc.SWData},
		"no static fields":   {nil, without(8), uicc.SWData},
		"no header":          {nil, without(1), uicc.SWData},
		"no methods":         {nil, without(7), uicc.SWData},
		"no constants":       {nil, without(5), uicc.SWData},
		"applets are hidden": {nil, without(3), uicc.SWData},
		"twice":              {nil, append(bytes.Clone(good), component(5, 1)...), uicc.SWData},
		"unknown component":  {nil, append(bytes.Clone(good), component(14, 1)...), uicc.SWData},
		"directory":          {nil, changed(1, 13, 1), uicc.SWData},
		"cut":                {nil, good[:len(good)-1], uicc.SWData},
		"magic":              {nil, changed(0, 0, 0), uicc.SWData},
		"version":            {nil, changed(0, 5, 1), uicc.SWData},
		"flags":              {nil, changed(0, 6, 0), uicc.SWData},
		"other package":      {nil, join(capFile(appletAID)), uicc.SWData},
		"AID of 17":          {nil, changed(0, 9, 17), uicc.SWData},
		"two applets":        {nil, changed(3, 0, 2), uicc.SWData},
		"applet's AID":       {nil, changed(3, 1, 3), uicc.SWData},
		"no code":            {nil, []byte{}, uicc.SWData},
	} {
		c := card.Clone()
		c.Reset()
		channel := cardChannel(t, c, scp.Commands)
		if sw := do(t, channel, loadCommands(packageAID, f.hash, f.code)...); sw != f.sw {
			t.Errorf("%s: %v, want %v", name, sw, f.sw)
		}
		want := uicc.SWNotFound
		if f.sw == uicc.SWOK {
			want = uicc.SWOK
		}
		if sw := do(t, channel, uicc.Command{CLA: 0x80, INS: uicc.INSStatus, P1: 0x20, P2: 2, Data: []byte{0x4F, 0}, Le: 256}); sw != want {
			t.Errorf("%s: GET STATUS %v", name, sw)
		}
	}
	c := card.Clone()
	c.Reset()
	channel := cardChannel(t, c, scp.Commands)
	announce := fmt.Sprintf("80E602000B 06%X 00000000 00 > 009000\n", packageAID)
	play(t, channel, `
		80E8800001C4 > 6985                        # nothing was announced
		`+announce+`80E8010001C4 > 6A86
		80E8000101C4 > 6A86
		80E8000001C4 > 6985                        # a wrong block ends it
		`+announce+`80E80000 > 6700
		80E8800007 E205 4F00 C30100 > 6A80
		`+announce+`80E8800004 E202 4F00 > 6A80
		`+announce+`80E8800003 C40100 > 6A80
		`+announce+`80E8800003 C50100 > 6A80
		80E602000A 06F0000000 0101 000000 > 6A80
		80E602000D 07A0000001515350 0000000000 00 > 6A80
		80E602000C 07A0000001515350 00000000 > 6985
		80E6020010 06F00000000101 05F000000099 000000 00 > 6A88
		80E602000C 06F00000000101 000000 01AA > 6985
		80E60201 00 > 6A86
		80E6400000 > 6A86`)
	// A signature that nobody on this card can check: see TestDAP.
	if sw := do(t, channel, uicc.Command{CLA: 0x80, INS: uicc.INSInstall, P1: 2, Data: slices.Concat(lv(packageAID...), make([]byte, 4))},
		uicc.Command{CLA: 0x80, INS: uicc.INSLoad, P1: 0x80, Data: slices.Concat(unhex(t, "E20A4F05F000000001C30100"), uicc.AppendTLV(nil, 0xC4, good[:100]...))}); sw != uicc.SWSecurity {
		t.Errorf("DAP block: %v", sw)
	}
	if sw := do(t, channel, append(loadCommands(packageAID, nil, good), loadCommands(packageAID, nil, good)[0])...); sw != uicc.SWConditions {
		t.Errorf("twice: %v", sw)
	}
	long := loadCommands(appletAID, nil, make([]byte, 50<<10))
	if sw := do(t, channel, long...); sw != uicc.SWNoSpace {
		t.Errorf("too long: %v", sw)
	}
}

func TestInstallRefuses(t *testing.T) {
	c := built(t, true)
	channel := cardChannel(t, c, scp.Commands)
	if sw := do(t, channel, loadCommands(packageAID, nil, slices.Concat(capFile(packageAID)...))...); sw != uicc.SWOK {
		t.Fatal(sw)
	}
	token := installCommand(0x0C, packageAID, appletAID, instanceAID, 0)
	token.Data = append(token.Data[:len(token.Data)-1], 1, 0xAA)
	for _, x := range []struct {
		name string
		cmd  uicc.Command
		sw   uicc.SW
	}{
		{"no such module", installCommand(0x0C, packageAID, instanceAID, instanceAID, 0), uicc.SWNotFound},
		{"no such file", installCommand(0x0C, appletAID, appletAID, instanceAID, 0), uicc.SWNotFound},
		{"a USIM's name", installCommand(0x0C, packageAID, appletAID, usimAID, 0), uicc.SWConditions},
		{"a load file's name", installCommand(0x0C, packageAID, appletAID, packageAID, 0), uicc.SWConditions},
		{"privileges", installCommand(0x0C, packageAID, appletAID, instanceAID, 0, 0), uicc.SWData},
		{"an applet as a domain", installCommand(0x0C, packageAID, appletAID, instanceAID, 0x80), uicc.SWData},
		{"short name", installCommand(0x0C, packageAID, appletAID, instanceAID[:4], 0), uicc.SWData},
		{"no module", installCommand(0x0C, packageAID, nil, instanceAID, 0), uicc.SWData},
		{"token", token, uicc.SWConditions},
		{"make selectable nothing", installCommand(0x08, nil, nil, instanceAID, 0), uicc.SWNotFound},
		{"install", installCommand(0x04, packageAID, appletAID, instanceAID, 0, 0, 0), uicc.SWOK},
		{"personalise too early", uicc.Command{CLA: 0x80, INS: uicc.INSInstall, P1: 0x20, Data: slices.Concat(lv(), lv(), lv(instanceAID...), lv(), lv(), lv())}, uicc.SWNotFound},
		{"lock too early", uicc.Command{CLA: 0x80, INS: uicc.INSSetStatus, P1: 0x40, P2: 0x80, Data: instanceAID}, uicc.SWConditions},
		{"make selectable", installCommand(0x08, nil, nil, instanceAID, 0), uicc.SWOK},
		{"make selectable again", installCommand(0x08, nil, nil, instanceAID, 0), uicc.SWConditions},
		{"not a domain", uicc.Command{CLA: 0x80, INS: uicc.INSSetStatus, P1: 0x60, P2: 0x80, Data: instanceAID}, uicc.SWNotFound},
		{"extradite to nobody", uicc.Command{CLA: 0x80, INS: uicc.INSInstall, P1: 0x10, Data: slices.Concat(lv(instanceAID...), lv(), lv(packageAID...), lv(), lv(), lv())}, uicc.SWNotFound},
		{"extradite nothing", uicc.Command{CLA: 0x80, INS: uicc.INSInstall, P1: 0x10, Data: lv()}, uicc.SWData},
		{"delete the card manager", uicc.Command{CLA: 0x80, INS: uicc.INSDelete, Data: unhex(t, "4F08A000000151000000")}, uicc.SWConditions},
		{"delete the USIM", uicc.Command{CLA: 0x80, INS: uicc.INSDelete, Data: uicc.AppendTLV(nil, 0x4F, usimAID...)}, uicc.SWConditions},
		{"delete two things", uicc.Command{CLA: 0x80, INS: uicc.INSDelete, Data: unhex(t, "4F05F0000000014F05F000000002")}, uicc.SWData},
		{"delete with P1", uicc.Command{CLA: 0x80, INS: uicc.INSDelete, P1: 1, Data: unhex(t, "4F05F000000001")}, uicc.SWParameters},
		{"delete no object", uicc.Command{CLA: 0x80, INS: uicc.INSDelete, Data: []byte{0x4F}}, uicc.SWData},
		{"delete the keys in force", uicc.Command{CLA: 0x80, INS: uicc.INSDelete, Data: []byte{0xD2, 1, 0x30}}, uicc.SWConditions},
		{"delete no keys", uicc.Command{CLA: 0x80, INS: uicc.INSDelete, Data: []byte{0xD2, 1, 0x31}}, uicc.SWNotFound},
		{"delete remote keys", uicc.Command{CLA: 0x80, INS: uicc.INSDelete, Data: []byte{0xD2, 1, 0x01}}, uicc.SWOK},
		{"GET STATUS without tags", uicc.Command{CLA: 0x80, INS: uicc.INSStatus, P1: 0x40, Data: []byte{0x4F, 0}, Le: 256}, uicc.SWParameters},
		{"GET STATUS of two kinds", uicc.Command{CLA: 0x80, INS: uicc.INSStatus, P1: 0x60, P2: 2, Data: []byte{0x4F, 0}, Le: 256}, uicc.SWParameters},
		{"GET STATUS of nothing", uicc.Command{CLA: 0x80, INS: uicc.INSStatus, P1: 0x40, P2: 2, Data: []byte{0x84, 0}, Le: 256}, uicc.SWData},
		{"GET STATUS, more of nothing", uicc.Command{CLA: 0x80, INS: uicc.INSStatus, P1: 0x40, P2: 3, Data: []byte{0x4F, 0}, Le: 256}, uicc.SWConditions},
	} {
		if sw := do(t, channel, x.cmd); sw != x.sw {
			t.Errorf("%s: %v, want %v", x.name, sw, x.sw)
		}
	}
	c.Reset()
	play(t, c, `
		80E60C0000 > 6982
		80E400000 8 4F06F00000000103 > 6982
		80F24002024F00 > 6982
		80F0408006 F00000000103 > 6982`)
}

// A long registry comes in parts (GlobalPlatform Card Specification, 11.4.3).
func TestGetStatusParts(t *testing.T) {
	c := built(t, true)
	channel := cardChannel(t, c, scp.Full)
	cmds := loadCommands(packageAID, nil, slices.Concat(capFile(packageAID)...))
	for i := range 20 {
		cmds = append(cmds, installCommand(0x0C, packageAID, appletAID, append(instanceAID[:5:5], byte(0x40+i)), 0))
	}
	if sw := do(t, channel, cmds...); sw != uicc.SWOK {
		t.Fatal(sw)
	}
	s := uicc.NewSession(channel)
	found := map[string]bool{}
	for p2 := byte(2); ; p2 = 3 {
		b, sw, err := s.Transmit(t.Context(), uicc.Command{CLA: 0x80, INS: uicc.INSStatus, P1: 0x40, P2: p2, Data: []byte{0x4F, 0}, Le: 256})
		if err != nil || sw != uicc.SWOK && sw != uicc.SWMoreStatus {
			t.Fatal(sw, err)
		}
		for e, err := range uicc.TLVs(b) {
			aid, ok := uicc.FindTLV(e.Value, 0x4F)
			if err != nil || !ok || found[string(aid)] {
				t.Fatalf("%X %v", e.Value, err)
			}
			found[string(aid)] = true
		}
		if sw == uicc.SWOK {
			break
		}
	}
	if len(found) != 23 || !found[string(usimAID)] {
		t.Errorf("%d entries", len(found))
	}
}

// Security domains have keys of their own; further keys of the card manager stand
// beside those in force.
func TestSecurityDomains(t *testing.T) {
	c := built(t, true)
	domain := []byte{0xF0, 0, 0, 0, 2, 1}
	file, module := unhex(t, "A0000001515350"), unhex(t, "A000000151535041")
	channel := cardChannel(t, c, scp.Full)
	if sw := do(t, channel, installCommand(0x0C, file, module, domain, 0x80, 0, 0)); sw != uicc.SWOK {
		t.Fatal(sw)
	}
	if sw := do(t, channel, installCommand(0x0C, file, module, append(domain[:5:5], 9), 0)); sw != uicc.SWData {
		t.Fatal("a security domain without the privilege: ", sw)
	}
	put := func(channel *scp.Channel, with scp.KeySet, version, replaces, fill byte) uicc.SW {
		t.Helper()
		k := func(i byte) []byte { return bytes.Repeat([]byte{fill + i}, 32) }
		d, err := scp.PutKey(nil, with, version, [][]byte{k(1), k(2), k(3)})
		if err != nil {
			t.Fatal(err)
		}
		return do(t, channel, uicc.Command{CLA: 0x80, INS: uicc.INSPutKey, P1: replaces, P2: 0x81, Data: d, Le: 256})
	}
	own := keySet(t, 0x50)
	// Beside the card manager's own.
	for _, x := range []struct {
		version, replaces byte
		sw                uicc.SW
	}{{0x32, 0, uicc.SWOK}, {0x32, 0, uicc.SWConditions}, {0x32, 0x32, uicc.SWOK}, {0x33, 0x34, uicc.SWNotFound}, {0x30, 0, uicc.SWConditions}, {0x33, 0, uicc.SWOK}} {
		if sw := put(channel, own, x.version, x.replaces, 0x70); sw != x.sw {
			t.Errorf("PUT KEY %02X in the place of %02X: %v, want %v", x.version, x.replaces, sw, x.sw)
		}
	}
	play(t, channel, "80CA00E000 > E048 C00401308820 C00402308820 C00403308820 C00401328820 C00402328820 C00403328820 C00401338820 C00402338820 C00403338820 C00401018810 C00402018810 C00403018810 9000\n80E4000003D20133 00 > 009000")
	c.Reset()
	if _, err := scp.Open(t.Context(), c, keySet(t, 0x70), scp.Options{KeyVersion: 0x32, Level: scp.Full}); err != nil {
		t.Error(err)
	}
	c.Reset()
	if _, err := scp.Open(t.Context(), c, keySet(t, 0x70), scp.Options{KeyVersion: 0x33, Level: scp.Full}); !errors.Is(err, uicc.SWNotFound) {
		t.Error(err)
	}
	// The domain's: put through the card manager's channel, while it has none.
	c.Reset()
	play(t, c, "00A4040C06F00000000201 > 9000")
	channel = cardChannel(t, c, scp.Full)
	if sw := put(channel, own, 0x31, 0, 0x20); sw != uicc.SWOK {
		t.Fatal(sw)
	}
	c.Reset()
	theirs := keySet(t, 0x20)
	channel, err := scp.Open(t.Context(), c, theirs, scp.Options{Level: scp.Full, AID: domain})
	if err != nil {
		t.Fatal(err)
	}
	play(t, channel, `
		80F24002024F00 00 > 6985          # it manages no content
		80E60C0000 > 6985
		80F0408006 F00000000201 > 6985
		80E2900003 500100 > 9000          # but its own data`)
	if sw := put(channel, theirs, 0x31, 0x31, 0x28); sw != uicc.SWOK {
		t.Error(sw)
	}
	// An applet that belongs to the domain opens by the domain's keys.
	c.Reset()
	channel = cardChannel(t, c, scp.Full)
	if sw := do(t, channel, append(loadCommands(packageAID, nil, slices.Concat(capFile(packageAID)...)),
		installCommand(0x0C, packageAID, appletAID, instanceAID, 0),
		uicc.Command{CLA: 0x80, INS: uicc.INSInstall, P1: 0x10, Data: slices.Concat(lv(domain...), lv(), lv(instanceAID...), lv(), lv(), lv())})...); sw != uicc.SWOK {
		t.Fatal(sw)
	}
	play(t, channel, `
		80F24002084F06F00000000201 00 > E324 4F06F00000000201 9F70010F C503800000 C407A0000001515350 CC08A000000151000000 9000
		80E4000008 4F06F00000000201 00 > 6985  # an applet belongs to it
		80F0608006 F00000000201 > 9000         # both are locked
		80F24002084F06F00000000103 00 > E321 4F06F00000000103 9F700187 C503000000 C406F00000000101 CC06F00000000201 9000
		80F0600006 F00000000201 > 9000`)
	c.Reset()
	channel, err = scp.Open(t.Context(), c, keySet(t, 0x28), scp.Options{Level: scp.Full, AID: instanceAID})
	if err != nil {
		t.Fatal(err)
	}
	play(t, channel, "80E2880006 010203AABBCC > 9000")
	c.Reset()
	channel = cardChannel(t, c, scp.Full)
	play(t, channel, "00A4040C06F00000000103 > 9000\n80E2880006 010203AABBCC > 6982 # not the card manager's any more")
	play(t, channel, `
		80E4000008 4F06F00000000103 00 > 009000
		80E4000008 4F06F00000000201 00 > 009000`)
	c.Reset()
	if _, err := simos.Unmarshal(c.Marshal()); err != nil {
		t.Error(err)
	}
}

// An ADF is in the registry, and can be locked there.
func TestApplicationStatus(t *testing.T) {
	c := built(t, true)
	channel := cardChannel(t, c, scp.Full)
	usim := hex.EncodeToString(usimAID)
	play(t, channel, strings.ReplaceAll(`
		80F240020A 4F08USIM 00 > E31D 4F08USIM 9F700107 C503000000 CC08A000000151000000 9000
		80F0408008 USIM > 9000
		80F240020A 4F08USIM 00 > E31D 4F08USIM 9F700187 C503000000 CC08A000000151000000 9000
		00A4040C08USIM > 6283
		80F0400708 USIM > 9000
		00A4040C08USIM > 9000
		80F0400702 A000 > 6A88`, "USIM", strings.ToUpper(usim)))
}

// Remote application management does over the air what the channel does
// (TS 102 226, 8).
func TestRemoteApplications(t *testing.T) {
	c := built(t, true)
	s := newServer(t, c)
	var script []uicc.Command
	script = append(script, loadCommands(packageAID, nil, slices.Concat(capFile(packageAID)...))...)
	script = append(script, installCommand(0x0C, packageAID, appletAID, instanceAID, 0))
	a, err := scp.ReadScriptAnswer(s.run(scp.TARISD, scp.AppendScript(nil, script...)).Data)
	if err != nil || a.Executed != len(script) {
		t.Fatalf("%+v %v", a, err)
	}
	s.compact(scp.TARISD, "80F24002 08 4F06F00000000103 00C00000 2A", "02 9000 E323 4F06F00000000103 9F700107 C503000000 C406F00000000101 CC08A000000151000000")
	s.compact(scp.TARISD, "80E62000 0C 0000 06F00000000103 000000 80E28800 06 010203AABBCC", "02 9000")
	s.compact(scp.TARISD, "80CA9F7F 2D 00A40000 02 3F00", "02 6D00")
	s.compact(scp.TARISD, "80500000 08 0000000000000000", "01 6D00")
	s.compact(scp.TARUICC, "80E40080 08 4F06F00000000101", "01 6D00") // not file management's
	c.Reset()
	play(t, c, "00A4040C06F00000000103 > 9000\n80CA010200 > AABBCC9000")
	// New remote keys, sealed under the KIK of those in use; their counter is new.
	k := func(i byte) []byte { return bytes.Repeat([]byte{0x40 + i}, 16) }
	kik, err := scp.NewKeySet(k(1), k(2), k(3))
	if err != nil {
		t.Fatal(err)
	}
	d, err := scp.PutKey(nil, kik, 1, [][]byte{k(1), k(2), k(3)})
	if err != nil {
		t.Fatal(err)
	}
	s.compact(scp.TARISD, fmt.Sprintf("80D80181 %02X %X", len(d), d), "01 610A")
	s.counter = 0
	s.compact(scp.TARISD, "80E40080 08 4F06F00000000101", "01 6101")
}

// Load files are taken with the right signatures only (GlobalPlatform Card
// Specification, 9.2.1 and C.3).
func TestDAP(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := gp.PrivateKey(private, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	secret := bytes.Repeat([]byte{0x77}, 16)
	maker, err := gp.AESKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	c := built(t, true)
	verifier, mandator := []byte{0xF0, 0, 0, 0, 2, 1}, []byte{0xF0, 0, 0, 0, 2, 2}
	file, module := unhex(t, "A0000001515350"), unhex(t, "A000000151535041")
	channel := cardChannel(t, c, scp.Full)
	if sw := do(t, channel, installCommand(0x0C, file, module, verifier, 0xC0), installCommand(0x0C, file, module, append(verifier[:5:5], 3), 0x80)); sw != uicc.SWOK {
		t.Fatal(sw)
	}
	ecc := slices.Concat([]byte{0x73, 0xB0, 65}, point, []byte{0xF0, 1, 0, 0})
	put := func(p1 byte, d []byte) uicc.Command {
		return uicc.Command{CLA: 0x80, INS: uicc.INSPutKey, P1: p1, P2: 1, Data: d, Le: 256}
	}
	spoilt := func(at int) []byte { d := bytes.Clone(ecc); d[at] ^= 1; return d }
	if sw := do(t, channel, put(0, ecc)); sw != uicc.SWConditions {
		t.Errorf("PUT KEY to the card manager: %v", sw)
	}
	play(t, channel, fmt.Sprintf("00A4040C06%X > 9000", verifier))
	for name, x := range map[string]uicc.Command{
		"version": put(0, spoilt(0)), "type": put(0, spoilt(1)), "length": put(0, spoilt(2)), "point": put(0, spoilt(4)), "curve": put(0, spoilt(69)),
		"other version": put(0x72, ecc), "cut": put(0, ecc[:70]), "empty": put(0, ecc[:2]),
	} {
		if sw := do(t, channel, x); sw != uicc.SWData {
			t.Errorf("PUT KEY, %s: %v", name, sw)
		}
	}
	if sw := do(t, channel, put(0x73, ecc)); sw != uicc.SWConditions {
		t.Errorf("PUT KEY in the place of nothing: %v", sw)
	}
	if sw := do(t, channel, put(0, ecc), put(0x73, ecc)); sw != uicc.SWOK {
		t.Fatal(sw)
	}
	if sw := do(t, channel, put(0, ecc)); sw != uicc.SWConditions {
		t.Errorf("PUT KEY beside another: %v", sw)
	}

	code := slices.Concat(capFile(packageAID)...)
	sum := sha256.Sum256(code)
	signature, err := signer.Sign(sum[:])
	if err != nil {
		t.Fatal(err)
	}
	made, err := maker.Sign(sum[:])
	if err != nil {
		t.Fatal(err)
	}
	load := func(domain, hash []byte, daps ...gp.DAP) uicc.SW {
		t.Helper()
		announce, err := gp.InstallForLoad(packageAID, domain, hash, nil)
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := gp.Load(gp.LoadFile(code, daps...), 200)
		if err != nil {
			t.Fatal(err)
		}
		sw := do(t, channel, append(announce.Commands(), blocks...)...)
		if sw == uicc.SWOK {
			sw = do(t, channel, uicc.Command{CLA: 0x80, INS: uicc.INSDelete, Data: uicc.AppendTLV(nil, 0x4F, packageAID...)})
		}
		if _, more := sw.More(); more { // the answer to a DELETE without Le
			sw = uicc.SWOK
		}
		return sw
	}
	wrong := bytes.Clone(signature)
	wrong[5] ^= 1
	third := append(verifier[:5:5], 3)
	for _, x := range []struct {
		name         string
		domain, hash []byte
		daps         []gp.DAP
		sw           uicc.SW
	}{
		{"signed", verifier, sum[:], []gp.DAP{{Domain: verifier, Signature: signature}}, uicc.SWOK},
		{"not signed", verifier, sum[:], nil, uicc.SWSecurity},
		{"no hash", verifier, nil, []gp.DAP{{Domain: verifier, Signature: signature}}, uicc.SWSecurity},
		{"wrong signature", verifier, sum[:], []gp.DAP{{Domain: verifier, Signature: wrong}}, uicc.SWSecurity},
		{"for the card manager", nil, nil, nil, uicc.SWOK},
		{"of one that does not verify", third, sum[:], []gp.DAP{{Domain: third, Signature: signature}}, uicc.SWSecurity},
		{"of nobody", nil, sum[:], []gp.DAP{{Domain: instanceAID, Signature: signature}}, uicc.SWSecurity},
	} {
		if sw := load(x.domain, x.hash, x.daps...); sw != x.sw {
			t.Errorf("%s: %v, want %v", x.name, sw, x.sw)
		}
	}

	// One that verifies everything, with an AES key.
	if sw := do(t, channel, installCommand(0x0C, file, module, mandator, 0xC1)); sw != uicc.SWOK {
		t.Fatal(sw)
	}
	if sw := load(nil, sum[:], gp.DAP{Domain: mandator, Signature: made}); sw != uicc.SWSecurity {
		t.Errorf("no key to verify with: %v", sw)
	}
	play(t, channel, fmt.Sprintf("00A4040C06%X > 9000", mandator))
	key, err := scp.NewKey(scp.KeyAES, secret)
	if err != nil {
		t.Fatal(err)
	}
	data, _, err := scp.SealKeys(keySet(t, 0x50), 0x73, []scp.Key{key})
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.Clone(data)
	broken[len(broken)-1] ^= 1
	if sw := do(t, channel, put(0, broken)); sw != uicc.SWData {
		t.Errorf("wrong check value: %v", sw)
	}
	if sw := do(t, channel, put(0, data)); sw != uicc.SWOK {
		t.Fatal(sw)
	}
	if sw := load(nil, sum[:]); sw != uicc.SWSecurity {
		t.Errorf("not signed, which is mandatory: %v", sw)
	}
	if sw := load(verifier, sum[:], gp.DAP{Domain: mandator, Signature: made}, gp.DAP{Domain: verifier, Signature: signature}); sw != uicc.SWOK {
		t.Errorf("both: %v", sw)
	}
	restored, err := simos.Unmarshal(c.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	restored.Reset()
	channel = cardChannel(t, restored, scp.Full)
	// Once it is gone, nobody insists.
	if sw := do(t, channel, uicc.Command{CLA: 0x80, INS: uicc.INSDelete, Data: uicc.AppendTLV(nil, 0x4F, mandator...), Le: 256}); sw != uicc.SWOK {
		t.Fatal(sw)
	}
	if sw := load(nil, nil); sw != uicc.SWOK {
		t.Error(sw)
	}
}
