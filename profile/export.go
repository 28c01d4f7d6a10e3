package profile

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"ankan/uicc"
)

// A Line is a command of a script as a machine that is not ours takes it: the
// bytes in hexadecimal, with %NAME, between blanks, where something of the card's record stands.
type Line struct {
	Name   string // "UPDATE RECORD MF/ADF.USIM/EF.ECC 2"
	Header string // CLA INS P1 P2 P3: "00DC0204" and the length; Le if there is no data
	Data   string // may be empty
	Le     string // behind data: what the command asks for, empty for nothing
	Expect string // data of the answer; empty if none is expected
	SW     string // status word that is right: 9000
}

// String is the line in PC/OM style: command, answer in brackets, status word in
// parentheses.
func (l Line) String() string {
	s := l.Header
	if l.Data != "" {
		s += " " + l.Data
	}
	if l.Le != "" {
		s += " " + l.Le
	}
	if l.Expect != "" {
		s += " [" + l.Expect + "]"
	}
	return s + " (" + l.SW + ")"
}

// A Variable is what stands for a name in lines.
type Variable struct {
	Name string
	Len  int    // bytes
	Text string // what it is
}

// variables collects the names that lines use, in the order of their first use.
type variables struct {
	all  []Variable
	seen map[string]bool
}

func (v *variables) use(name string, n int, text string) string {
	if !v.seen[name] {
		v.seen[name] = true
		v.all = append(v.all, Variable{name, n, text})
	}
	return "%" + name
}

// Lines is the script's two parts, writing and reading, and the names that stand
// for what the card's record holds. The writing part is meant for the inside of a
// secure channel SCP03; what is sealed under its data encryption key has a name of
// its own, since only who has that key can make it.
func (s *Script) Lines() (write, read []Line, names []Variable) {
	v := &variables{seen: map[string]bool{}}
	for _, x := range s.steps {
		if x.put != nil {
			write = append(write, s.putLine(v, x))
			continue
		}
		l := s.line(v, x.name, s.bytes[x.cmd.from:x.cmd.to], x.patches)
		if last := len(write) - 1; last >= 0 && strings.HasPrefix(x.name, "SET DATA") && write[last].Name == x.name {
			write[last].SW = fmt.Sprintf("%04X", uint16(uicc.SWMoreExpected)) // the block before was not the last
		}
		write = append(write, l)
	}
	for _, x := range s.looks {
		switch x.kind {
		case lookVerify:
			name := v.use(s.slotAt(x.slot).String(), 8, "the code in ASCII, padded with FF")
			read = append(read, Line{Name: x.name, Header: fmt.Sprintf("002000%02X08", x.reference), Data: name, SW: "9000"})
		default:
			l := s.line(v, x.name, s.bytes[x.cmd.from:x.cmd.to], nil)
			if x.kind == lookRead {
				if l.Name = "READ " + x.name; x.record > 0 {
					l.Name += fmt.Sprintf(" %d", x.record)
				}
				l.Expect = s.patched(v, s.bytes[x.want.from:x.want.to], x.patches)
			}
			if last := len(read) - 1; last >= 0 && x.kind == lookRead && x.offset > 0 && strings.HasPrefix(l.Header, "80CB") {
				read[last].SW = fmt.Sprintf("%04X", uint16(uicc.SWMoreData))
			}
			read = append(read, l)
		}
	}
	return write, read, v.all
}

// slotAt is the slot that begins at this byte of the record.
func (s *Script) slotAt(at int) SlotID {
	for id := range slots {
		if s.layout.Offset[id] == at && s.layout.Len[id] > 0 {
			return id
		}
	}
	panic(fmt.Sprintf("profile: no slot at byte %d", at)) // the compiler took it from the layout
}

func (s *Script) line(v *variables, name string, cmd []byte, patches []patch) Line {
	l := Line{Name: name, SW: "9000"}
	c, err := uicc.ParseCommand(cmd)
	if err != nil {
		panic(err) // Append made it
	}
	l.Header = fmt.Sprintf("%02X%02X%02X%02X%02X", c.CLA, c.INS, c.P1, c.P2, byte(len(c.Data)))
	switch {
	case len(c.Data) == 0 && c.Le != uicc.NoLe:
		l.Header = l.Header[:8] + fmt.Sprintf("%02X", byte(c.Le))
	case c.Le != uicc.NoLe:
		l.Le = fmt.Sprintf("%02X", byte(c.Le))
	}
	l.Data = s.patched(v, c.Data, patches)
	return l
}

// patched is bytes in hexadecimal with names for what is patched. A slot that
// begins before b or ends behind it is named with the part that stands here, as
// %ICCID(1;4): from byte 1 on, 4 bytes.
func (s *Script) patched(v *variables, b []byte, patches []patch) string {
	var out []string
	add := func(b []byte) {
		if len(b) > 0 {
			out = append(out, fmt.Sprintf("%X", b))
		}
	}
	at := 0
	for _, p := range patches {
		n := p.n
		var name string
		slot := s.slotAt(p.slot)
		switch p.op {
		case opCopy:
			name = v.use(slot.String(), n, "as the file holds it")
		case opMSISDN:
			name = v.use(slot.String(), n, "as a record of EF.MSISDN holds it: length, type, swapped digits")
		case opDigits:
			name = v.use(slot.String()+"_DIGITS", n, "the 15 digits of the IMSI in ASCII")
		case opSeal:
			n += p.more
			other := " and FF"
			switch {
			case p.more == 0:
				other = ""
			case p.with >= 0:
				other = " and " + s.slotAt(p.with).String()
			}
			name = v.use("SEALED_"+slot.String(), n, slot.String()+other+", AES-CBC under the data encryption key of the channel")
		}
		from := max(p.at, 0)
		to := min(p.at+n, len(b))
		add(b[at:from])
		if to-from < n {
			name += fmt.Sprintf("(%d;%d)", from-p.at+1, to-from)
		}
		out = append(out, name)
		at = to
	}
	add(b[at:])
	return strings.Join(out, " ")
}

// putLine is PUT KEY: each key sealed, with its check value.
func (s *Script) putLine(v *variables, x step) Line {
	data, expect := fmt.Sprintf("%02X", x.put.version), fmt.Sprintf("%02X", x.put.version)
	for i := range 3 {
		slot := s.slotAt(x.put.first + i*x.put.n)
		sealed := v.use("SEALED_"+slot.String(), x.put.n, slot.String()+", AES-CBC under the data encryption key of the channel")
		kcv := v.use("KCV_"+slot.String(), 3, "check value of "+slot.String()+": sixteen bytes 01 under it")
		data += fmt.Sprintf("88%02X%02X ", x.put.n+1, x.put.n) + sealed + " 03 " + kcv
		expect += " " + kcv
		if i < 2 {
			data += " "
		}
	}
	return Line{Name: x.name, Header: fmt.Sprintf("80D8%02X81%02X", x.put.replaces, 1+3*(3+x.put.n+4)), Data: data, Le: "00", Expect: expect, SW: "9000"}
}

// WritePCOM writes the script as text in the style of PC/OM, as perso machines
// and card tools take it: a command on each line, the status word in parentheses,
// comments behind a semicolon. It holds no card's data: who runs it defines the
// names that it lists, for each card.
func (s *Script) WritePCOM(w io.Writer) error {
	write, read, names := s.Lines()
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "; profile %s\n; digest %x\n;\n; define for each card:\n", s.name, s.digest)
	for _, n := range names {
		fmt.Fprintf(b, ";   %%%s  %d bytes  %s\n", n.Name, n.Len, n.Text)
	}
	part := func(text string, lines []Line) {
		fmt.Fprintf(b, "\n; %s\n.POWER_ON\n", text)
		for _, l := range lines {
			fmt.Fprintf(b, "\n; %s\n%s\n", l.Name, l)
		}
	}
	part("write: inside a secure channel SCP03 with C-MAC, C-DECRYPTION, R-MAC and R-ENCRYPTION under the chip maker's keys, which the machine opens", write)
	part("read back: in the clear", read)
	fmt.Fprintf(b, "\n.POWER_OFF\n")
	return b.Flush()
}
