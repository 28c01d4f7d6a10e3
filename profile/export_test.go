package profile_test

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"ankan/profile"
	"ankan/scp"
	"ankan/uicc"
)

// machine is a card machine that is not ours: it knows nothing but the exported
// text, the card's record and the chip maker's keys.
type machine struct {
	t      *testing.T
	values map[string][]byte
	card   uicc.Card
}

func newMachine(t *testing.T, p *profile.Profile, record []byte) *machine {
	m := &machine{t: t, values: map[string][]byte{}}
	l, dek := p.Layout(), makerKeys(t)
	seal := func(parts ...[]byte) []byte {
		var all []byte
		for _, x := range parts {
			all = append(all, x...)
		}
		b, err := dek.SealKey(nil, all)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	none := []byte("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF")
	for _, s := range p.Slots() {
		v := l.Of(record, s.ID)
		m.values[s.Name] = v
		switch s.ID {
		case profile.SlotMSISDN: // 919800000017
			m.values[s.Name], _ = hex.DecodeString("07911989000000" + "71FFFFFFFF")
		case profile.SlotPIN1:
			m.values["SEALED_PIN1"] = seal(v, l.Of(record, profile.SlotPUK1))
		case profile.SlotPIN2:
			m.values["SEALED_PIN2"] = seal(v, l.Of(record, profile.SlotPUK2))
		case profile.SlotADM1:
			m.values["SEALED_ADM1"] = seal(v, none)
		case profile.SlotK:
			m.values["SEALED_K"] = seal(v, l.Of(record, profile.SlotOPC))
		default:
			if s.ID >= profile.SlotSCP03ENC {
				m.values["SEALED_"+s.Name] = seal(v)
				kcv, err := scp.CheckValue(v)
				if err != nil {
					t.Fatal(err)
				}
				m.values["KCV_"+s.Name] = kcv[:]
			}
		}
	}
	return m
}

// defined puts values in the place of names, the longest name first.
func (m *machine) defined(line string, names []profile.Variable) string {
	for range 40 {
		i := strings.IndexByte(line, '%')
		if i < 0 {
			return line
		}
		best := ""
		for _, n := range names {
			if strings.HasPrefix(line[i+1:], n.Name) && len(n.Name) > len(best) {
				best = n.Name
			}
		}
		v, ok := m.values[best]
		if !ok {
			m.t.Fatalf("no value for %s", line[i:])
		}
		end := i + 1 + len(best)
		if rest := line[end:]; strings.HasPrefix(rest, "(") && strings.Contains(rest, ";") {
			part, after, _ := strings.Cut(rest[1:], ")")
			from, n, _ := strings.Cut(part, ";")
			a, _ := strconv.Atoi(from)
			k, _ := strconv.Atoi(n)
			v, end = v[a-1:a-1+k], len(line)-len(after)
		}
		line = line[:i] + fmt.Sprintf("%X", v) + line[end:]
	}
	m.t.Fatalf("too many names: %s", line)
	return ""
}

func (m *machine) run(lines []profile.Line, names []profile.Variable) {
	m.t.Helper()
	for _, l := range lines {
		text := m.defined(l.String(), names)
		cmd := regexp.MustCompile(`^([0-9A-F ]+?)(?: \[([0-9A-F ]*)\])? \(([0-9A-F]{4})\)$`).FindStringSubmatch(text)
		if cmd == nil {
			m.t.Fatalf("%s: not a line: %s", l.Name, text)
		}
		b, err := hex.DecodeString(strings.ReplaceAll(cmd[1], " ", ""))
		if err != nil {
			m.t.Fatal(err)
		}
		answer, err := m.card.Transmit(ctx, b)
		if err != nil {
			m.t.Fatalf("%s: %v", l.Name, err)
		}
		r := uicc.Response(answer)
		if got := fmt.Sprintf("%04X", uint16(r.SW())); got != cmd[3] {
			m.t.Fatalf("%s: %s answers %s", l.Name, text, got)
		}
		if got := fmt.Sprintf("%X", r.Data()); got != strings.ReplaceAll(cmd[2], " ", "") {
			m.t.Fatalf("%s: %s answers %s", l.Name, text, got)
		}
	}
}

// A machine that takes the exported lines makes the same card.
func TestLinesMakeACard(t *testing.T) {
	long := strings.Repeat("0123456789ABCDEF", 34)
	p, s := variant(t, "      EF.GID1: {hex: \"01\"}\n", "      EF.GID1: {hex: \"01\"}\n"+
		"      EF.X: {id: 6E01, kind: BER-TLV, size: 1024, access: always-adm1, hex: [\"8003010203\", \"8182011C${MSISDN}"+long+"\"]}\n"+
		"      EF.Y: {id: 6E02, kind: transparent, access: two, hex: \""+strings.Repeat("A1", 235)+"${ICCID}"+strings.Repeat("A2", 10)+"\"}\n",
		"  pin1-adm1:", "  two: {read: pin2 and adm1}\n  pin1-adm1:")
	record := cardRecord(t, p, 31)
	write, read, names := s.Lines()
	if len(write) != len(s.Steps()) {
		t.Errorf("%d lines, %d steps", len(write), len(s.Steps()))
	}
	for _, n := range names {
		if n.Len == 0 || n.Text == "" {
			t.Errorf("name %s says nothing", n.Name)
		}
	}
	m := newMachine(t, p, record)
	chip := loadedChip(t)
	m.card = openChannel(t, chip)
	m.run(write, names)
	chip.Reset()
	m.card = chip
	m.run(read, names)
	chip.Reset()
	if err := s.ReadBack(ctx, chip, record); err != nil {
		t.Error(err)
	}
}

func TestWritePCOM(t *testing.T) {
	_, s := compile(t)
	var b strings.Builder
	if err := s.WritePCOM(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{
		"; profile in-5g-usim\n", ";   %ICCID  10 bytes  as the file holds it\n", ";   %SEALED_K  32 bytes  K and OPC, AES-CBC under",
		".POWER_ON\n\n; DELETE FILE MF\n00E4000002 3F00 (9000)\n",
		"\n; PUT KEY SCP80\n80D8008146", " 01881110 %SEALED_SCP80_KIC1 03 %KCV_SCP80_KIC1 881110 %SEALED_SCP80_KID1 03 ",
		" 00 [01 %KCV_SCP80_KIC1 %KCV_SCP80_KID1 %KCV_SCP80_KIK1] (9000)\n",
		"\n; VERIFY pin1\n0020000108 %PIN1 (9000)\n", "\n; READ EF.ICCID\n00B082000A [%ICCID] (9000)\n", "\n.POWER_OFF\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for line := range strings.Lines(text) {
		if len(line) > 1 && !strings.HasPrefix(line, ";") && !strings.HasPrefix(line, ".") &&
			!regexp.MustCompile(`^[0-9A-F]{10}( [0-9A-F%A-Z_(); ]+)?( \[[^]]*\])? \([0-9A-F]{4}\)\n$`).MatchString(line) {
			t.Errorf("line is not a command: %s", line)
		}
	}
}
