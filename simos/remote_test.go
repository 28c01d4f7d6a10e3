package simos_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"ankan/scp"
	"ankan/simos"
	"ankan/uicc"
)

// server is a remote server: it holds the SCP80 keys of the test card, version 1.
type server struct {
	t       *testing.T
	card    *simos.Chip
	keys    scp.PacketKeys
	counter uint64
	spi     scp.SPI
}

func newServer(t *testing.T, c *simos.Chip) *server {
	t.Helper()
	k := func(i byte) []byte { return bytes.Repeat([]byte{0x40 + i}, 16) }
	keys, err := scp.NewPacketKeys(k(1), k(2), scp.PacketOptions{KIC: 0x12, KID: 0x12})
	if err != nil {
		t.Fatal(err)
	}
	return &server{t: t, card: c, keys: keys, spi: scp.SPICC | scp.SPICipher | scp.SPIHigher | scp.SPIPoR | scp.SPIPoRCC | scp.SPIPoRCipher}
}

func sender() scp.Address { return scp.Address{Type: 0x91, Digits: 4, BCD: []byte{0x21, 0x43}} }

// send sends a packet in as many short messages as it needs and returns what the
// last ENVELOPE answers.
func (s *server) send(p scp.Packet) []byte {
	s.t.Helper()
	b, err := s.keys.Seal(nil, p)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.deliver(b)
}

func (s *server) deliver(packet []byte) []byte {
	s.t.Helper()
	parts, err := scp.Messages(scp.CommandPacket, packet, byte(s.counter))
	if err != nil {
		s.t.Fatal(err)
	}
	var r []byte
	for _, part := range parts {
		cmd, err := scp.Download(part, sender(), [7]byte{})
		if err != nil {
			s.t.Fatal(err)
		}
		if r, err = s.card.Transmit(s.t.Context(), cmd.Append(nil)); err != nil {
			s.t.Fatal(err)
		}
		r = bytes.Clone(r)
	}
	return r
}

// run sends a script to an application and opens the proof of receipt.
func (s *server) run(tar scp.TAR, script []byte) scp.Answer {
	s.t.Helper()
	s.counter++
	p := scp.Packet{SPI: s.spi, TAR: tar, Counter: s.counter, Data: script}
	return s.open(s.send(p), p)
}

func (s *server) open(r []byte, sent scp.Packet) scp.Answer {
	s.t.Helper()
	if uicc.Response(r).SW() != uicc.SWOK || len(r) < 5 {
		s.t.Fatalf("ENVELOPE answers %X", r)
	}
	packet, kind, err := new(scp.Assembler).Add(uicc.Response(r).Data())
	if err != nil || kind != scp.ResponsePacket {
		s.t.Fatalf("proof of receipt %X: %v", r, err)
	}
	a, err := s.keys.OpenAnswer(packet, sent)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// compact runs a script in the compact format: "commands > count, status word,
// data" in hex.
func (s *server) compact(tar scp.TAR, script, want string) {
	s.t.Helper()
	a := s.run(tar, unhex(s.t, script))
	if got := strings.ToUpper(hex.EncodeToString(a.Data)); a.Status != scp.PacketOK || got != strings.ReplaceAll(want, " ", "") {
		s.t.Errorf("%06X, %s: status %02X, answer %s, want %s", uint32(tar), script, byte(a.Status), got, want)
	}
}

// Remote file management in the compact format (TS 102 226, 5.1 and 7).
func TestRemoteFiles(t *testing.T) {
	c := built(t, true)
	s := newServer(t, c)
	const uiccFS, usim, second = scp.TARUICC, scp.TARUSIM, scp.TARUSIM + 1
	s.compact(uiccFS, "00A40000 02 2FE2 00B00000 00", "02 9000 981999106200000000F1")
	s.compact(uiccFS, "00A40000 02 2FE2 00B00000 0A", "02 9000 981999106200000000F1")
	s.compact(uiccFS, "00A40004 02 2FE2", "01 6119")
	s.compact(uiccFS, "00A40004 02 2FE2 00C00000 05", "02 6114 6217820241")
	s.compact(uiccFS, "00A40000 02 2FE2 00D60000 01 89", "02 9000")
	s.compact(uiccFS, "00A40000 02 6F99 00B00000 0A", "01 6A82")
	s.compact(uiccFS, "00A40400 08 A0000000871002FF", "01 6A86") // applications have their own
	s.compact(uiccFS, "00A40000 02 7FFF", "01 6A82")
	s.compact(uiccFS, "0070000001", "01 6700") // not long enough
	s.compact(uiccFS, "0070000000", "01 6D00")
	s.compact(uiccFS, "80500000 00", "01 6D00")
	s.compact(uiccFS, "00C00000 05", "01 6985")
	s.compact(usim, "00A40000 02 6F07 00B00000 09", "02 9000 084904910000000010")
	s.compact(usim, "00A40804 04 7FFF6F07", "01 6119")
	s.compact(usim, "00B08700 09 00D68700 02 0849 00B08700 03", "03 9000 084904")
	s.compact(usim, "80F20001 0A", "01 9000 8408A0000000871002FF")
	s.compact(usim, "80D40000 0A 620883026F3A80020020", "01 9000")
	s.compact(usim, "00A20104 01 41", "01 6986")
	s.compact(usim, "00A201AC 01 41 00C00000 02", "02 9000 0103")
	s.compact(second, "80F20001 0A", "01 9000 8408A000000087100201")
	s.compact(scp.TARSIM, "A0A40000 02 6F07 A0B00000 09", "02 9000 084904910000000010")
	s.compact(scp.TARSIM, "A0A40000 02 6F07", "01 9F0F")
	s.compact(scp.TARSIM, "A0A40000 02 6F07 00C00000 03", "02 610C 000000")
	s.compact(usim, "00200001 08 31323334FFFFFFFF", "01 9000")
	play(t, c, selectUSIM+"00B0870001 > 6982 # what the server verified counts for nobody else")
	play(t, c, "00A4000C023F00 > 9000\n00B0820001 > 899000")
	// A file that says never says it to the server too.
	s.compact(usim, "00B08800 01", "01 6982")
	// The application's own directory may go.
	s.compact(usim, "00A40000 02 5F3B 00E40000 02 5F3B 00A4000C 02 6F07", "03 9000")
	// A long answer is cut, and says so.
	s.compact(usim, "00A40804 06 7FFF5FD04F01 00A40804 06 7FFF5FD04F01 00B00000 78", "03 62F1"+strings.Repeat("FF", 94))
}

// The expanded format, and what it says of each command (TS 102 226, 5.2).
func TestRemoteExpanded(t *testing.T) {
	c := built(t, true)
	s := newServer(t, c)
	script := scp.AppendScript(nil, uicc.Command{INS: uicc.INSSelect, P2: 0x0C, Data: []byte{0x6F, 0x07}},
		uicc.Command{INS: uicc.INSReadBinary, Le: 9}, uicc.Command{INS: uicc.INSReadBinary, P2: 9, Le: 1}, uicc.Command{INS: uicc.INSReadBinary, Le: 9})
	a, err := scp.ReadScriptAnswer(s.run(scp.TARUSIM, script).Data)
	if err != nil || a.Executed != 3 || len(a.Responses) != 3 || a.Responses[2].SW() != uicc.SWOffset ||
		hex.EncodeToString(a.Responses[1]) != "0849049100000000109000" {
		t.Errorf("%+v %v", a, err)
	}
	for _, bad := range []string{"AA", "AA0122", "AA03230100", "AA022200"} {
		a, err := scp.ReadScriptAnswer(s.run(scp.TARUSIM, unhex(t, bad)).Data)
		if err != nil || a.Executed != 0 {
			t.Errorf("%s: %+v %v", bad, a, err)
		}
	}
	read := uicc.Command{INS: uicc.INSReadBinary, Le: 100}
	script = scp.AppendScript(nil, uicc.Command{INS: uicc.INSSelect, P1: 8, P2: 0x0C, Data: unhex(t, "7FFF5FD04F01")}, read, read)
	a, err = scp.ReadScriptAnswer(s.run(scp.TARUSIM, script).Data)
	if err != nil || a.Executed != 3 || a.Responses[1].SW() != uicc.SWMoreData {
		t.Errorf("%+v %v", a, err)
	}
}

// Counters, levels, keys and applications that are not there (TS 102 225, 5.1.4).
func TestRemoteRefuses(t *testing.T) {
	c := built(t, true)
	s := newServer(t, c)
	read := unhex(t, "00A4000C022FE2")
	status := func(name string, want scp.PacketStatus, change func(*scp.Packet)) {
		t.Helper()
		s.counter++
		p := scp.Packet{SPI: s.spi, TAR: scp.TARUICC, Counter: s.counter, Data: read}
		change(&p)
		if a := s.open(s.send(p), p); a.Status != want {
			t.Errorf("%s: %v, want %v", name, a.Status, want)
		}
	}
	status("good", scp.PacketOK, func(*scp.Packet) {})
	status("counter again", scp.PacketCounterLow, func(p *scp.Packet) { s.counter--; p.Counter = s.counter })
	status("unknown TAR", scp.PacketTARUnknown, func(p *scp.Packet) { p.TAR = 0xB00099 })
	status("no such ADF", scp.PacketTARUnknown, func(p *scp.Packet) { p.TAR = scp.TARUSIM + 9 })
	status("not ciphered", scp.PacketLevel, func(p *scp.Packet) { p.SPI &^= scp.SPICipher })
	status("no counter", scp.PacketLevel, func(p *scp.Packet) { p.SPI &^= scp.SPIHigher; p.Counter = 0 })
	status("good again", scp.PacketOK, func(*scp.Packet) {})
	status("one higher", scp.PacketOK, func(p *scp.Packet) { p.SPI |= scp.SPIOneHigher })
	status("two higher", scp.PacketCounterHigh, func(p *scp.Packet) { p.SPI |= scp.SPIOneHigher; p.Counter++ })
	// The counter survives a reset.
	c.Reset()
	status("counter after a reset", scp.PacketCounterLow, func(p *scp.Packet) { p.Counter = 1 })

	// No proof is sent if none is wanted, or only after an error.
	p := scp.Packet{SPI: s.spi &^ 0x1F, TAR: scp.TARUICC, Counter: 50, Data: read}
	if r := s.send(p); hex.EncodeToString(r) != "9000" {
		t.Errorf("no proof is wanted: %X", r)
	}
	p.SPI |= scp.SPIPoRError
	if r := s.send(p); uicc.Response(r).SW() != uicc.SWOK || len(r) < 10 {
		t.Errorf("a proof after an error is wanted: %X", r)
	}
	// Changed on its way, or by keys that the card has not.
	p = scp.Packet{SPI: s.spi, TAR: scp.TARUICC, Counter: 60, Data: read}
	b, err := s.keys.Seal(nil, p)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		r := s.deliver(bad)
		packet, _, err := new(scp.Assembler).Add(uicc.Response(r).Data())
		if err != nil {
			continue // not even an answer
		}
		if a, err := s.keys.OpenAnswer(packet, p); err == nil && a.Status == scp.PacketOK {
			t.Fatalf("byte %d changed: %+v", i, a)
		}
	}
	if r := s.deliver(b); uicc.Response(r).SW() != uicc.SWOK || len(r) < 10 {
		t.Errorf("the good packet after the bad ones: %X", r)
	}
	play(t, c, `
		80C20000 03 D10100 > 6985
		80C2010003 D10100 > 6A86
		80C20000 > 6700`)
	play(t, newChip(t, 2, true), "80C2000003 D10100 > 6985 # not a card")
}

// A proof of receipt by SMS-SUBMIT is a proactive command (TS 31.115, 4.2).
func TestRemoteSubmit(t *testing.T) {
	c := built(t, true)
	s := newServer(t, c)
	p := scp.Packet{SPI: s.spi | scp.SPIPoRSubmit, TAR: scp.TARUSIM, Counter: 7, Data: unhex(t, "00B0840001")}
	r := s.send(p)
	n := int(r[1])
	if len(r) != 2 || r[0] != 0x91 {
		t.Fatalf("ENVELOPE answers %X", r)
	}
	play(t, c, `
		8014000003 810301 > 6985 # nothing was fetched
		8012010000 > 6A86`)
	fetch := []byte{0x80, uicc.INSFetch, 0, 0, byte(n)}
	r, err := c.Transmit(t.Context(), fetch)
	if err != nil || len(r) != n+2 || r[0] != 0xD0 {
		t.Fatalf("FETCH: %X %v", r, err)
	}
	cmd, _, err := uicc.ReadTLV(uicc.Response(r).Data())
	if err != nil {
		t.Fatal(err)
	}
	tpdu, ok := uicc.FindTLV(cmd.Value, 0x8B)
	if !ok || hex.EncodeToString(tpdu[:8]) != "410004912143"+"7ff6" {
		t.Fatalf("TPDU %X", tpdu)
	}
	packet, kind, err := new(scp.Assembler).Add(tpdu[9:])
	if err != nil || kind != scp.ResponsePacket {
		t.Fatal(err)
	}
	if a, err := s.keys.OpenAnswer(packet, p); err != nil || a.Status != scp.PacketOK {
		t.Errorf("%+v %v", a, err)
	}
	play(t, c, `
		80140000 > 6700
		801400000C 810301130082028281830100 > 9000
		8012000000 > 6985`)
}

// What STORE DATA says of applications takes the place of the usual ones.
func TestRemoteConfigured(t *testing.T) {
	chip := newChip(t, 8, true)
	l := line{card: chip, keys: keySet(t, 0x10)}
	store := func(l *line, hex string) {
		v := unhex(t, hex)
		l.send(0x80, uicc.INSStoreData, 0x80, 0, append([]byte{0xA0, 0x02, byte(len(v))}, v...)...)
	}
	l.extra = func(l *line) {
		for _, bad := range []string{"B0002002", "B000200205", "B0002002000000", "B0002002020001", "B00020020200010000"} {
			if store(l, bad); !errors.Is(l.err, uicc.SWData) {
				t.Errorf("%s: %v", bad, l.err)
			}
			l.err = nil
		}
		store(l, "B00020 02 00")
		store(l, "B00020 02 02000100") // ADM1, in its place
		store(l, "B00021 02 FF")
		store(l, "B00022 16 00")
		store(l, "000000 16 00")
	}
	if err := l.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	chip.Reset()
	s := newServer(t, chip)
	s.spi = scp.SPICC | scp.SPIPoR
	run := func(tar scp.TAR, script string) scp.Answer {
		t.Helper()
		p := scp.Packet{SPI: s.spi, TAR: tar, Data: unhex(t, script)}
		return s.open(s.send(p), p)
	}
	for _, c := range []struct {
		tar    scp.TAR
		script string
		status scp.PacketStatus
		want   string
	}{
		{0xB00020, "00D68700 01 08", scp.PacketOK, "016982"}, // PIN1's, not ADM1's
		{0xB00020, "00A4000C 02 6F07 00040000 00", scp.PacketOK, "029000"},
		{0xB00020, "00440000 00", scp.PacketOK, "019000"}, // the USIM itself is ADM1's
		{0xB00021, "00B08400 01", scp.PacketOK, "016982"},
		{0xB00022, "00B08400 01", scp.PacketLevel, ""},
		{scp.TARUSIM, "00B08400 01", scp.PacketTARUnknown, ""},
	} {
		a := run(c.tar, c.script)
		if got := hex.EncodeToString(a.Data); a.Status != c.status || got != c.want {
			t.Errorf("%06X %s: %v, %s; want %v, %s", uint32(c.tar), c.script, a.Status, got, c.status, c.want)
		}
	}
	if _, err := simos.Unmarshal(chip.Marshal()); err != nil {
		t.Error(err)
	}
}

// Power lost in a packet: each command of the script is done or not, and a packet
// whose counter was kept is never done again.
func TestRemoteTorn(t *testing.T) {
	card := built(t, true)
	p := scp.Packet{TAR: scp.TARUSIM, Counter: 1, Data: unhex(t, "00D68700 02 0810 00D68700 01 07 00A4000C 02 6F3A 80D40000 0A 620883026F3A80020020")}
	kept := false
	for n := 1; ; n++ {
		c := card.Clone()
		c.Reset()
		s := newServer(t, c)
		p.SPI = s.spi
		b, err := s.keys.Seal(nil, p)
		if err != nil {
			t.Fatal(err)
		}
		parts, _ := scp.Messages(scp.CommandPacket, b, 0)
		cmd, _ := scp.Download(parts[0], sender(), [7]byte{})
		c.Tear(n)
		_, err = c.Transmit(t.Context(), cmd.Append(nil))
		c.Tear(0)
		c.Reset()
		if _, err := simos.Unmarshal(c.Marshal()); err != nil {
			t.Fatalf("torn in step %d: %v", n, err)
		}
		if err == nil {
			if n < 10 || !kept {
				t.Errorf("no more than %d steps", n)
			}
			return
		}
		again := s.open(s.deliver(b), p)
		if kept && again.Status != scp.PacketCounterLow {
			t.Fatalf("torn in step %d, then %v", n, again.Status)
		}
		kept = again.Status == scp.PacketCounterLow
	}
}
