package simos_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"

	"ankan/aka"
	"ankan/scp"
	"ankan/simos"
	"ankan/uicc"
)

// stride is how many write steps lie between two power losses of a test: one if
// tests of power losses were asked for (go test -run Torn), else enough to be
// quick.
func stride(n int) int {
	if f := flag.Lookup("test.run"); f != nil && strings.Contains(f.Value.String(), "Torn") {
		return 1
	}
	return n
}

// Power lost in any byte of a personalisation leaves the old or the new state of
// the command at hand, and the next try completes.
func TestTornPersonalisation(t *testing.T) {
	blank := newChip(t, 3, true)
	whole := blank.Clone()
	whole.Reset()
	states := map[string]bool{string(whole.Marshal()): true}
	run := func(c uicc.Card) error {
		l := line{card: c, keys: keySet(t, 0x10), extra: (*line).more}
		return l.run(t.Context())
	}
	if err := run(&watched{whole, states}); err != nil {
		t.Fatal(err)
	}
	step := stride(37)
	for n := 1; ; n += step {
		c := blank.Clone()
		c.Reset()
		c.Tear(n)
		err := run(c)
		if err == nil {
			if n < 1000 {
				t.Errorf("no more than %d write steps", n)
			}
			return
		}
		if !errors.Is(err, simos.ErrTorn) {
			t.Fatalf("torn in step %d: %v", n, err)
		}
		if _, err := c.Transmit(t.Context(), []byte{0, 0xA4, 0, 0x0C}); !errors.Is(err, simos.ErrOff) {
			t.Fatalf("torn in step %d, then answers: %v", n, err)
		}
		if !states[string(c.Marshal())] {
			t.Fatalf("torn in step %d: the memory is neither that before a command nor that after it", n)
		}
		c.Reset()
		if c.Life() != simos.Secured {
			if err := run(c); err != nil {
				t.Fatal(err)
			}
			c.Reset()
		}
		checkCard(t, c, 1)
	}
}

// watched notes the memory after each command.
type watched struct {
	*simos.Chip
	states map[string]bool
}

func (w *watched) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	r, err := w.Chip.Transmit(ctx, cmd)
	w.states[string(w.Marshal())] = true
	return r, err
}

// Taking the power away in VERIFY or AUTHENTICATE wins nobody anything.
func TestTornInUse(t *testing.T) {
	card := newChip(t, 4, true)
	personalise(t, card)
	wrong := unhex(t, "0020000108 30303030FFFFFFFF")
	for n := 1; n <= 2; n++ {
		c := card.Clone()
		c.Reset()
		c.Tear(n)
		if _, err := c.Transmit(t.Context(), wrong); !errors.Is(err, simos.ErrTorn) {
			t.Fatalf("step %d: %v", n, err)
		}
		c.Reset()
		s := uicc.NewSession(c)
		// In the first step nothing was compared yet; from the second on a try is gone.
		if tries, err := s.Tries(t.Context(), 1); err != nil || tries != 4-n {
			t.Errorf("step %d: %d tries, %v", n, tries, err)
		}
	}
	m, _ := aka.New(testK, testOPc)
	v := m.Vector(aka.RAND{1}, 1<<5, aka.EPS())
	for n := 1; n <= 2; n++ {
		c := card.Clone()
		c.Reset()
		s := uicc.NewSession(c)
		if _, err := s.SelectAID(t.Context(), usimAID); err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(t.Context(), 1, pin1); err != nil {
			t.Fatal(err)
		}
		c.Tear(n)
		if r, err := s.Authenticate(t.Context(), v.RAND, v.AUTN); !errors.Is(err, simos.ErrTorn) {
			t.Errorf("step %d: answers %d bytes, %v", n, len(r), err)
		}
	}
}

// Power lost in any byte of a command that changes a card: a file of every kind,
// codes, keys, applications. What is not said to write more than once leaves the
// old state or the new one.
func TestTornCommands(t *testing.T) {
	card := built(t, true)
	commands := func(s string) (cmds [][]byte) {
		for l := range strings.Lines(s) {
			if l = strings.ReplaceAll(strings.TrimSpace(l), " ", ""); l != "" {
				cmds = append(cmds, unhex(t, l))
			}
		}
		return cmds
	}
	enter := "00A4040C08A0000000871002FF\n002000010831323334FFFFFFFF\n0020000A08AD01020304050607\n002000810831323334FFFFFFFF\n"
	cap := slices.Concat(capFile(packageAID)...)
	var load []byte // all of an applet's life, as commands behind their length
	for _, cmd := range append(loadCommands(packageAID, nil, cap),
		installCommand(0x0C, packageAID, appletAID, instanceAID, 0),
		uicc.Command{CLA: 0x80, INS: uicc.INSInstall, P1: 0x20, Data: slices.Concat(lv(), lv(), lv(instanceAID...), lv(), lv(), lv())},
		uicc.Command{CLA: 0x80, INS: uicc.INSStoreData, P1: 0x88, Data: unhex(t, "010103AABBCC")},
		uicc.Command{CLA: 0x80, INS: uicc.INSStoreData, P1: 0x88, Data: unhex(t, "010205AABBCCDDEE")},
		uicc.Command{CLA: 0x80, INS: uicc.INSDelete, P2: 0x80, Data: uicc.AppendTLV(nil, 0x4F, packageAID...)}) {
		b := cmd.Append(nil)
		load = append(append(load, byte(len(b))), b...)
	}
	put, err := scp.PutKey(nil, keySet(t, 0x50), 0x31, [][]byte{bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32), bytes.Repeat([]byte{3}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		prepare  string
		commands [][]byte
		channel  bool // inside the secure channel
		commits  int  // more than one: how often a command may write for good
	}{
		{"transparent", enter + "00A4000C026F07", commands("00D600000908 4904910000000020"), false, 1},
		{"linear fixed", enter + "00A4000C026F3A", commands("00DC020408 4141414141414141"), false, 1},
		{"cyclic", enter + "00A4000C026F39", commands("00DC000303 000009\n00DC000303 00000A"), false, 1},
		{"increase", enter, commands("8032940003 000001 00\n8032000003 000001 00"), false, 1},
		{"objects", enter, commands("80DB009604 81020304\n80DB009603 800109\n80DB009601 81"), false, 1},
		{"resize", enter, commands("80D400000A 6208 83026F3A 80020028\n80D400000A 6208 83026F3A 80020008"), false, 1},
		{"create and delete", enter, commands("00E0000018 6216 82024121 83026F55 80020003 8B036F0601 8800 8A0105\n00A4000C027FFF\n00E40000026F55\n00E40000025F3B"), false, 2},
		{"life cycle", enter, commands("00040000026F07\n00440000026F07\n00E80000026F07"), false, 1},
		{"PIN", enter, commands("0024000110 31323334FFFFFFFF 39393939FFFFFFFF\n0026000108 39393939FFFFFFFF\n0028000108 39393939FFFFFFFF\n002C000110 3837363534333231 31323334FFFFFFFF\n0020000108 30303030FFFFFFFF"), false, 2},
		{"application", "", split(load), true, 1},
		{"keys", "", [][]byte{uicc.Command{CLA: 0x80, INS: uicc.INSPutKey, P1: 0x30, P2: 0x81, Data: put, Le: 256}.Append(nil)}, true, 1},
		{"status", "", commands("80F0807F00\n80F0800F00\n80F080FF00"), true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			step := stride(5)
			for n := 1; ; n += step {
				chip := card.Clone()
				chip.Reset()
				for _, cmd := range commands(c.prepare) {
					if sw := do1(t, chip, cmd); sw != uicc.SWOK {
						t.Fatalf("%X: %v", cmd, sw)
					}
				}
				var to uicc.Card = chip
				if c.channel {
					to = cardChannel(t, chip, scp.Commands)
				}
				states := [][]byte{chip.Marshal()}
				chip.Tear(n)
				torn := false
				for _, cmd := range c.commands {
					r, err := to.Transmit(t.Context(), cmd)
					if torn = errors.Is(err, simos.ErrTorn); torn {
						break
					}
					if sw := uicc.Response(r).SW(); err != nil || sw != uicc.SWOK && !sw.Warning() {
						t.Fatalf("%X: %X %v", cmd, r, err)
					}
					states = append(states, chip.Marshal())
				}
				chip.Tear(0)
				after := chip.Marshal()
				if _, err := simos.Unmarshal(after); err != nil {
					t.Fatalf("torn in step %d: %v", n, err)
				}
				if !torn {
					if n <= step {
						t.Error("nothing was written")
					}
					return
				}
				// The state after the torn command is known from a chip that ran on.
				whole := card.Clone()
				whole.Reset()
				for _, cmd := range commands(c.prepare) {
					do1(t, whole, cmd)
				}
				to = whole
				if c.channel {
					to = cardChannel(t, whole, scp.Commands)
				}
				for _, cmd := range c.commands[:len(states)] {
					do1(t, to, cmd)
				}
				if c.commits == 1 && !bytes.Equal(after, states[len(states)-1]) && !bytes.Equal(after, whole.Marshal()) {
					t.Fatalf("torn in step %d, in %X: neither the old nor the new state", n, c.commands[len(states)-1])
				}
			}
		})
	}
}

func split(b []byte) (parts [][]byte) {
	for len(b) > 0 {
		parts, b = append(parts, b[1:1+int(b[0])]), b[1+int(b[0]):]
	}
	return parts
}

func do1(t *testing.T, c uicc.Card, cmd []byte) uicc.SW {
	t.Helper()
	r, err := c.Transmit(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	return uicc.Response(r).SW()
}
