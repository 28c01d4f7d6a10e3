package scp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"ankan/uicc"
)

type packetVector struct {
	Name, Cipher, MAC   string
	TAR, KIC, KID, APDU hexBytes
	Cmd, PoR            hexBytes
	PoRLastSW           hexBytes `json:"por_last_sw"`
	PoRCommands         byte     `json:"por_commands"`
}

func packetVectors(t testing.TB) []packetVector {
	t.Helper()
	var f struct{ Vectors []packetVector }
	load(t, "scp80.json", &f)
	if len(f.Vectors) == 0 {
		t.Fatal("testdata/scp80.json holds no vectors")
	}
	return f.Vectors
}

func TestVectorsPacket(t *testing.T) {
	for _, v := range packetVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			h, err := ReadPacketHeader(v.Cmd)
			if err != nil {
				t.Fatal(err)
			}
			keys, err := NewPacketKeys(v.KIC, v.KID, PacketOptions{KIC: h.KIC, KID: h.KID, DES: !strings.HasPrefix(v.Cipher, "AES")})
			if err != nil {
				t.Fatal(err)
			}
			p := Packet{SPI: h.SPI, TAR: readTAR(v.TAR), Data: v.APDU}
			got, err := keys.Seal([]byte("x"), p)
			if err != nil || !bytes.Equal(got[1:], v.Cmd) {
				t.Errorf("sealed %x, %v, want %x", got, err, v.Cmd)
			}
			opened, err := keys.Open(v.Cmd, 0)
			if err != nil || opened.SPI != p.SPI || opened.TAR != p.TAR || opened.Counter != 0 || !bytes.Equal(opened.Data, p.Data) {
				t.Errorf("opened %+v, %v, want %+v", opened, err, p)
			}
			if len(v.PoR) == 0 {
				return
			}
			answer, ok := bytes.CutPrefix(v.PoR, []byte(answerUDH))
			if !ok {
				t.Fatalf("proof of receipt begins with %x", v.PoR[:3])
			}
			a, err := keys.OpenAnswer(answer, p)
			want := append([]byte{v.PoRCommands}, v.PoRLastSW...)
			if err != nil || a.Status != PacketOK || !bytes.Equal(a.Data, want) {
				t.Errorf("answer %+v, %v, want data %x", a, err, want)
			}
			got, err = keys.SealAnswer(nil, opened, PacketOK, want)
			if err != nil || !bytes.Equal(got, answer) {
				t.Errorf("answered %x, %v, want %x", got, err, answer)
			}
		})
	}
}

// everyKind are keys of each algorithm, with the check that goes with them.
func everyKind(t testing.TB) map[string]PacketKeys {
	t.Helper()
	key := func(n int, fill byte) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = fill + byte(i)
		}
		return b
	}
	all := map[string]PacketKeys{}
	for name, o := range map[string]PacketOptions{
		"AES 16":    {KIC: 0x12, KID: 0x12},
		"AES 24":    {KIC: 0x22, KID: 0x22},
		"AES 32":    {KIC: 0x32, KID: 0x32},
		"AES 32/4":  {KIC: 0x42, KID: 0x42, CC: 4},
		"DES 16":    {KIC: 0x15, KID: 0x15, DES: true},
		"DES 24":    {KIC: 0x19, KID: 0x19, DES: true},
		"CRC16 16":  {KIC: 0x12, KID: 0x11},
		"CRC32 32":  {KIC: 0x12, KID: 0x15},
		"CRC32 16D": {KIC: 0x15, KID: 0x15, DES: true},
	} {
		var n int
		fmt.Sscanf(strings.Fields(name)[1], "%d", &n)
		kid := key(n, 0x80)
		if strings.HasPrefix(name, "CRC") {
			kid = nil
		}
		k, err := NewPacketKeys(key(n, 0x40), kid, o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = k
	}
	return all
}

func TestPacketBothSides(t *testing.T) {
	for name, keys := range everyKind(t) {
		check := SPICC
		if strings.HasPrefix(name, "CRC") {
			check = SPIRC
		}
		for _, spi := range []SPI{
			0, check, SPICipher, check | SPICipher, check | SPICipher | SPICounter, check | SPIHigher, check | SPICipher | SPIOneHigher,
		} {
			for _, por := range []SPI{SPIPoR, SPIPoR | SPIPoRCipher, SPIPoR | check>>6, SPIPoRError | check>>6 | SPIPoRCipher | SPIPoRSubmit} {
				for size := range 40 {
					p := Packet{SPI: spi | por, TAR: TARUSIM, Data: bytes.Repeat([]byte{0x80}, size)}
					if spi&spiCounters != 0 {
						p.Counter = 0x0102030405
					}
					b, err := keys.Seal(nil, p)
					if err != nil {
						t.Fatalf("%s, SPI %04X: %v", name, uint16(p.SPI), err)
					}
					got, err := keys.Open(b, 0x0102030404)
					if err != nil || got.Counter != p.Counter || !bytes.Equal(got.Data, p.Data) {
						t.Fatalf("%s, SPI %04X: %+v, %v, want %+v", name, uint16(p.SPI), got, err, p)
					}
					b, err = keys.SealAnswer(nil, got, PacketMemory, p.Data)
					if err != nil {
						t.Fatalf("%s, SPI %04X: %v", name, uint16(p.SPI), err)
					}
					a, err := keys.OpenAnswer(b, p)
					if err != nil || a.Status != PacketMemory || !bytes.Equal(a.Data, p.Data) {
						t.Fatalf("%s, SPI %04X: %+v, %v", name, uint16(p.SPI), a, err)
					}
				}
			}
		}
	}
}

// OpenSSL takes our packets apart by its own road.
func TestPacketAgainstOpenSSL(t *testing.T) {
	run := func(in []byte, args ...string) []byte {
		t.Helper()
		cmd := exec.Command("openssl", args...)
		cmd.Stdin = bytes.NewReader(in)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("openssl %v: %v", args, err)
		}
		return out
	}
	kic := "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"
	kid := "f1f2f3f4f5f6f7f8f9fafbfcfdfefff0e1e2e3e4e5e6e7e8e9eaebecedeeefe0"
	data := []byte("a script of commands")
	for _, c := range []struct {
		o    PacketOptions
		n    int // bytes of key
		name string
		cc   int
	}{
		{PacketOptions{KIC: 0x12, KID: 0x12}, 16, "aes-128-cbc", 8},
		{PacketOptions{KIC: 0x12, KID: 0x12}, 24, "aes-192-cbc", 8},
		{PacketOptions{KIC: 0x12, KID: 0x12}, 32, "aes-256-cbc", 8},
		{PacketOptions{KIC: 0x12, KID: 0x12, CC: 4}, 32, "aes-256-cbc", 4},
		{PacketOptions{KIC: 0x15, KID: 0x15, DES: true}, 16, "des-ede-cbc", 8},
		{PacketOptions{KIC: 0x19, KID: 0x19, DES: true}, 24, "des-ede3-cbc", 8},
	} {
		hexKIC, hexKID := kic[:2*c.n], kid[:2*c.n]
		keys, err := NewPacketKeys(unhex(t, hexKIC), unhex(t, hexKID), c.o)
		if err != nil {
			t.Fatal(err)
		}
		p := Packet{SPI: SPICC | SPICipher | SPIHigher | SPIPoR | SPIPoRCC | SPIPoRCipher, TAR: TARISD, Counter: 7, Data: data}
		block := 16
		if c.o.DES {
			block = 8
		}
		cbc := func(key string) []string {
			return []string{"enc", "-" + c.name, "-nopad", "-K", key, "-iv", strings.Repeat("00", block)}
		}
		mac := func(b []byte) []byte {
			if block == 16 {
				out := run(b, "mac", "-cipher", c.name, "-macopt", "hexkey:"+hexKID, "CMAC")
				return unhex(t, strings.ToLower(strings.TrimSpace(string(out))))[:c.cc]
			}
			out := run(append(b, make([]byte, (8-len(b)%8)%8)...), cbc(hexKID)...)
			return out[len(out)-8:]
		}
		sealed, err := keys.Seal(nil, p)
		if err != nil {
			t.Fatal(err)
		}
		plain := run(sealed[10:], append(cbc(hexKIC), "-d")...)
		want := append([]byte{0, 0, 0, 0, 7}, plain[5])
		body := slices.Concat(want, plain[6+c.cc:])
		if !bytes.Equal(plain[:6], want) || !bytes.Equal(plain[6+c.cc:len(plain)-int(plain[5])], data) {
			t.Errorf("%s: openssl deciphers %x", c.name, plain)
		}
		if got := mac(slices.Concat(sealed[:10], body)); !bytes.Equal(got, plain[6:6+c.cc]) {
			t.Errorf("%s: checksum %x, openssl says %x", c.name, plain[6:6+c.cc], got)
		}
		sealed, err = keys.SealAnswer(nil, p, PacketOK, data)
		if err != nil {
			t.Fatal(err)
		}
		plain = run(sealed[6:], append(cbc(hexKIC), "-d")...)
		if !bytes.Equal(plain[7+c.cc:len(plain)-int(plain[5])], data) {
			t.Errorf("%s: openssl deciphers the answer %x", c.name, plain)
		}
		if got := mac(slices.Concat([]byte(answerUDH), sealed[:6], plain[:7], plain[7+c.cc:])); !bytes.Equal(got, plain[7:7+c.cc]) {
			t.Errorf("%s: answer's checksum %x, openssl says %x", c.name, plain[7:7+c.cc], got)
		}
	}
}

// The examples of TS 102 225, 5.1.3.2.
func TestRedundancyCheck(t *testing.T) {
	if got := crc16([]byte{1, 2, 3, 4, 5}); got != 0x22EC {
		t.Errorf("CRC 16 is %04X, want 22EC", got)
	}
	keys := everyKind(t)["CRC32 32"].secret.get()
	if got := keys.check(shape{check: SPIRC}, []byte{1, 2, 3, 4, 5}); !bytes.Equal(got, []byte{0x47, 0x0B, 0x99, 0xF4}) {
		t.Errorf("CRC 32 is %x, want 470b99f4", got)
	}
}

func TestPacketCounter(t *testing.T) {
	keys := everyKind(t)["AES 32"]
	for _, c := range []struct {
		spi           SPI
		counter, last uint64
		want          PacketStatus
	}{
		{SPICC, 0, 9, PacketOK},
		{SPICC | SPICounter, 3, 9, PacketOK},
		{SPICC | SPIHigher, 10, 9, PacketOK},
		{SPICC | SPIHigher, 99, 9, PacketOK},
		{SPICC | SPIHigher, 9, 9, PacketCounterLow},
		{SPICC | SPIHigher, 8, 9, PacketCounterLow},
		{SPICC | SPIOneHigher, 10, 9, PacketOK},
		{SPICC | SPIOneHigher, 11, 9, PacketCounterHigh},
		{SPICC | SPIOneHigher, 9, 9, PacketCounterLow},
		{SPICC | SPIHigher, maxCounter, maxCounter - 1, PacketOK},
		{SPICC | SPIHigher, maxCounter, maxCounter, PacketCounterBlocked},
		{SPICC | SPIOneHigher, 1, maxCounter, PacketCounterBlocked},
	} {
		b, err := keys.Seal(nil, Packet{SPI: c.spi | SPIPoR | SPIPoRCC, Counter: c.counter, Data: []byte{1}})
		if err != nil {
			t.Fatal(err)
		}
		p, err := keys.Open(b, c.last)
		if c.want == PacketOK && err != nil || c.want != PacketOK && !errors.Is(err, c.want) {
			t.Errorf("SPI %04X, counter %d after %d: %v, want %v", uint16(c.spi), c.counter, c.last, err, c.want)
		}
		if c.want != PacketOK && p.Data != nil {
			t.Errorf("SPI %04X, counter %d after %d: data came with the error", uint16(c.spi), c.counter, c.last)
		}
		// The refusal, too, is answered under protection.
		b, err = keys.SealAnswer(nil, p, c.want, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := keys.OpenAnswer(b, Packet{SPI: p.SPI, Counter: c.counter}); err != nil || a.Status != c.want || a.Counter != c.counter {
			t.Errorf("answer %+v, %v, want %v", a, err, c.want)
		}
	}
}

func TestPacketChanged(t *testing.T) {
	all := everyKind(t)
	keys, other := all["AES 32"], all["AES 32/4"]
	p := Packet{SPI: SPICC | SPICipher | SPIHigher | SPIPoR | SPIPoRCC | SPIPoRCipher, TAR: TARUSIM, Counter: 5, Data: make([]byte, 20)}
	good, err := keys.Seal(nil, p)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := keys.SealAnswer(nil, p, PacketOK, make([]byte, 20))
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 0x10
		if q, err := keys.Open(b, 0); err == nil || q.Data != nil {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	for i := range answer {
		b := bytes.Clone(answer)
		b[i] ^= 0x10
		if _, err := keys.OpenAnswer(b, p); err == nil {
			t.Errorf("answer's byte %d changed, and is taken", i)
		}
	}
	wrong := p
	wrong.Counter++
	if _, err := keys.OpenAnswer(answer, wrong); !errors.Is(err, ErrPacket) {
		t.Errorf("answer to another packet: %v, want ErrPacket", err)
	}
	if _, err := other.Open(good, 0); !errors.Is(err, PacketSecurityError) {
		t.Errorf("another key set: %v, want %v", err, PacketSecurityError)
	}
	// A card that could not read the packet does not know its counter.
	lost, err := keys.SealAnswer(nil, Packet{SPI: p.SPI, TAR: p.TAR}, PacketCheckFailed, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := keys.OpenAnswer(lost, p); err != nil || a.Status != PacketCheckFailed {
		t.Errorf("%+v, %v, want status 01", a, err)
	}
}

// Ciphering alone shows a wrong key by its padding at best.
func TestPacketPadding(t *testing.T) {
	keys := everyKind(t)["AES 16"]
	for name, change := range map[string]func(b []byte){
		"more than a block": func(b []byte) { b[5] = 16 },
		"not zero":          func(b []byte) { b[15] = 1 },
		"not what it says":  func(b []byte) { b[5] = 9; b[7] = 7 },
	} {
		b, err := keys.Seal(nil, Packet{SPI: SPICipher | SPIPoR, Data: []byte{1, 2}})
		if err != nil {
			t.Fatal(err)
		}
		k := keys.secret.get()
		k.decrypt(b[10:])
		change(b[10:])
		k.encrypt(b[10:])
		if _, err := keys.Open(b, 0); !errors.Is(err, PacketCipherError) {
			t.Errorf("%s: %v, want %v", name, err, PacketCipherError)
		}
	}
	b, _ := keys.Seal(nil, Packet{SPI: SPIPoR, Data: []byte{1, 2}})
	b[15] = 1
	if _, err := keys.Open(b, 0); !errors.Is(err, PacketCipherError) {
		t.Errorf("padding without ciphering: %v, want %v", err, PacketCipherError)
	}
	b, _ = keys.Seal(nil, Packet{SPI: SPICipher | SPIPoR, Data: []byte{1, 2}})
	b = b[:len(b)-1]
	b[1]--
	if _, err := keys.Open(b, 0); !errors.Is(err, PacketCipherError) {
		t.Errorf("half a block: %v, want %v", err, PacketCipherError)
	}
}

func TestPacketKeysRefuse(t *testing.T) {
	k := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i)
		}
		return b
	}
	for name, c := range map[string]struct {
		kic, kid []byte
		o        PacketOptions
		want     string
	}{
		"DES by accident":     {k(16), k(16), PacketOptions{KIC: 0x15, KID: 0x15}, ErrOld.Error()},
		"DES CC by accident":  {nil, k(24), PacketOptions{KIC: 0x12, KID: 0x19}, ErrOld.Error()},
		"single DES":          {k(8), nil, PacketOptions{KIC: 0x11, DES: true}, "names no algorithm"},
		"no algorithm":        {k(16), nil, PacketOptions{KIC: 0x10}, "names no algorithm"},
		"three keys, two got": {k(16), nil, PacketOptions{KIC: 0x19, DES: true}, "want 24"},
		"two keys, three got": {k(24), nil, PacketOptions{KIC: 0x15, DES: true}, "want 16"},
		"equal parts":         {make([]byte, 16), nil, PacketOptions{KIC: 0x15, DES: true}, "single DES"},
		"AES of 15":           {k(15), nil, PacketOptions{KIC: 0x12}, "want 16, 24 or 32"},
		"CC of 5":             {k(16), k(16), PacketOptions{KIC: 0x12, KID: 0x12, CC: 5}, "want 8, or 4"},
		"DES CC of 4":         {nil, k(16), PacketOptions{KID: 0x15, CC: 4, DES: true}, "want 8, or 4"},
	} {
		if _, err := NewPacketKeys(c.kic, c.kid, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := tripleDES(k(17)); err == nil {
		t.Error("triple DES of 17 bytes is not refused")
	}
	aes, err := NewPacketKeys(k(16), k(16), PacketOptions{KIC: 0x12, KID: 0x12})
	if err != nil {
		t.Fatal(err)
	}
	none, err := NewPacketKeys(nil, nil, PacketOptions{KIC: 0x12, KID: 0x12})
	if err != nil {
		t.Fatal(err)
	}
	closed, err := NewPacketKeys(k(16), k(16), PacketOptions{KIC: 0x12, KID: 0x12})
	if err != nil {
		t.Fatal(err)
	}
	copied := closed
	closed.Close()
	closed.Close()
	for name, c := range map[string]struct {
		keys PacketKeys
		p    Packet
		want error
	}{
		"zero keys":       {PacketKeys{}, Packet{}, ErrClosed},
		"closed":          {copied, Packet{}, ErrClosed},
		"signature":       {aes, Packet{SPI: 0x0300}, ErrPacket},
		"PoR signature":   {aes, Packet{SPI: 0x000C}, ErrPacket},
		"reserved PoR":    {aes, Packet{SPI: 0x0003}, ErrPacket},
		"reserved bits":   {aes, Packet{SPI: 0x2000}, ErrPacket},
		"long TAR":        {aes, Packet{TAR: 1 << 24}, ErrPacket},
		"long counter":    {aes, Packet{SPI: SPIHigher, Counter: 1 << 40}, ErrPacket},
		"silent counter":  {aes, Packet{Counter: 1}, ErrPacket},
		"no CRC":          {aes, Packet{SPI: SPIRC}, ErrPacket},
		"no checksum key": {none, Packet{SPI: SPICC}, ErrPacket},
		"no cipher key":   {none, Packet{SPI: SPICipher}, ErrPacket},
		"too long":        {aes, Packet{Data: make([]byte, 0x10000)}, ErrPacket},
	} {
		if _, err := c.keys.Seal(nil, c.p); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// What the host would not build, a card refuses.
	good, err := none.Seal(nil, Packet{SPI: SPIPoR, Data: []byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(b []byte) []byte{
		"empty":         func(b []byte) []byte { return nil },
		"length":        func(b []byte) []byte { b[1]++; return b },
		"header length": func(b []byte) []byte { b[2]++; return b },
		"signature":     func(b []byte) []byte { b[3] = 3; return b },
		"cipher":        func(b []byte) []byte { b[3] = 4; return b },
		"checksum":      func(b []byte) []byte { b[3] = 2; return b },
		"other KIC":     func(b []byte) []byte { b[5] = 0x22; return b },
		"other KID":     func(b []byte) []byte { b[6] = 0x22; return b },
		"short":         func(b []byte) []byte { b[1] = 10; return b[:12] },
	} {
		if _, err := none.Open(change(bytes.Clone(good)), 0); !errors.Is(err, PacketSecurityError) {
			t.Errorf("%s: %v, want %v", name, err, PacketSecurityError)
		}
	}
	if _, err := (PacketKeys{}).Open(good, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("zero keys open: %v, want ErrClosed", err)
	}
	for name, c := range map[string]struct {
		to     Packet
		status PacketStatus
	}{
		"none wanted":       {Packet{}, PacketCheckFailed},
		"wanted on errors":  {Packet{SPI: SPIPoRError}, PacketOK},
		"no cipher key":     {Packet{SPI: SPIPoR | SPIPoRCipher}, PacketOK},
		"no checksum key":   {Packet{SPI: SPIPoR | SPIPoRCC}, PacketOK},
		"signature":         {Packet{SPI: SPIPoR | 0x0C}, PacketOK},
		"CRC is not chosen": {Packet{SPI: SPIPoR | SPIPoRRC}, PacketOK},
	} {
		if _, err := none.SealAnswer(nil, c.to, c.status, nil); !errors.Is(err, ErrPacket) {
			t.Errorf("answer, %s: %v, want ErrPacket", name, err)
		}
	}
	answer, err := none.SealAnswer(nil, Packet{SPI: SPIPoR}, PacketOK, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		keys PacketKeys
		b    []byte
		sent Packet
		want error
	}{
		"zero keys": {PacketKeys{}, answer, Packet{SPI: SPIPoR}, ErrClosed},
		"short":     {none, answer[:4], Packet{SPI: SPIPoR}, ErrPacket},
		"signature": {none, answer, Packet{SPI: SPIPoR | 0x0C}, ErrPacket},
		"other TAR": {none, answer, Packet{SPI: SPIPoR, TAR: 1}, ErrPacket},
		"no key":    {none, answer, Packet{SPI: SPIPoR | SPIPoRCipher}, ErrPacket},
	} {
		if _, err := c.keys.OpenAnswer(c.b, c.sent); !errors.Is(err, c.want) {
			t.Errorf("answer, %s: %v, want %v", name, err, c.want)
		}
	}
}

func TestMinimumSecurityLevel(t *testing.T) {
	for _, c := range []struct {
		spi     SPI
		minimum byte
		want    bool
	}{
		{0, 0, true},
		{SPICC, 0x02, true},
		{SPIRC, 0x02, false},
		{SPICC, 0x01, true},
		{SPICC, 0x06, false},
		{SPICC | SPICipher, 0x06, true},
		{SPICC | SPICipher, 0x16, false},
		{SPICC | SPICipher | SPIOneHigher, 0x16, true},
		{SPICipher | SPIHigher, 0x12, false},
	} {
		if got := c.spi.Meets(c.minimum); got != c.want {
			t.Errorf("SPI %04X meets %02X: %t, want %t", uint16(c.spi), c.minimum, got, c.want)
		}
	}
}

func TestPacketKeysArePrivate(t *testing.T) {
	k := bytes.Repeat([]byte{0xA7}, 32)
	keys, err := NewPacketKeys(k, k, PacketOptions{KIC: 0x12, KID: 0x12})
	if err != nil {
		t.Fatal(err)
	}
	j, err := json.Marshal(keys)
	out := fmt.Sprintf("%v %+v %#v %s %x %d %v %s %v", keys, keys, keys, keys, keys, keys, struct{ k PacketKeys }{keys}, j, err)
	for _, leak := range []string{"a7a7", "A7A7", "167 167"} {
		if strings.Contains(out, leak) {
			t.Errorf("printed %q: %s", leak, out)
		}
	}
	if h := KeyRef(0x32); h.Set() != 3 {
		t.Errorf("key set %d, want 3", h.Set())
	}
	if s := PacketStatus(0x7F).Error(); !strings.Contains(s, "unknown") {
		t.Error(s)
	}
}

func FuzzPacket(f *testing.F) {
	for _, v := range packetVectors(f) {
		f.Add([]byte(v.Cmd))
		f.Add(bytes.TrimPrefix(v.PoR, []byte(answerUDH)))
	}
	all := everyKind(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, keys := range all {
			p, err := keys.Open(b, 0)
			if err == nil && p.SPI&spiReserved == 0 && p.SPI&spiCounters != 0 {
				again, err := keys.Seal(nil, p)
				if err != nil || !bytes.Equal(again, b) {
					t.Errorf("%s: %x is sealed again as %x, %v", name, b, again, err)
				}
			}
			for _, spi := range []SPI{SPIPoR, SPIPoR | SPIPoRCC, SPIPoR | SPIPoRCC | SPIPoRCipher, SPIPoR | SPIPoRRC} {
				if a, err := keys.OpenAnswer(b, Packet{SPI: spi}); err == nil {
					again, err := keys.SealAnswer(nil, Packet{SPI: spi, TAR: a.TAR, Counter: a.Counter}, a.Status, a.Data)
					if err != nil || !bytes.Equal(again, b) {
						t.Errorf("%s: answer %x is sealed again as %x, %v", name, b, again, err)
					}
				}
			}
		}
	})
}

func BenchmarkPacket(b *testing.B) {
	keys := everyKind(b)["AES 32"]
	p := Packet{SPI: SPICC | SPICipher | SPIHigher | SPIPoR, Counter: 1, Data: make([]byte, 100)}
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := keys.Seal(buf, p); err != nil {
			b.Fatal(err)
		}
	}
}

func TestMessages(t *testing.T) {
	for _, size := range []int{1, 136, 137, 138, 132 + 134, 132 + 134 + 1, 132 + 254*134} {
		packet := make([]byte, size)
		for i := range packet {
			packet[i] = byte(i * 7)
		}
		parts, err := Messages(CommandPacket, packet, 0x5A)
		if err != nil {
			t.Fatal(err)
		}
		if size <= 137 && len(parts) != 1 || size == 138 && len(parts) != 2 || size == 267 && len(parts) != 3 {
			t.Errorf("%d bytes go in %d messages", size, len(parts))
		}
		// In any order.
		slices.Reverse(parts)
		var a Assembler
		for i, p := range parts {
			if len(p) > maxUserData {
				t.Errorf("part of %d bytes", len(p))
			}
			got, kind, err := a.Add(p)
			if err != nil {
				t.Fatal(err)
			}
			if last := i == len(parts)-1; last != (got != nil) || last && (kind != CommandPacket || !bytes.Equal(got, packet)) {
				t.Errorf("%d bytes: after part %d: %x, %02X", size, i, got, byte(kind))
			}
		}
	}
	if _, err := Messages(CommandPacket, make([]byte, 132+254*134+1), 0); !errors.Is(err, ErrMessage) {
		t.Errorf("a packet for 256 messages: %v, want ErrMessage", err)
	}
	first, _ := Messages(CommandPacket, make([]byte, 138), 1)
	if got, want := hex.EncodeToString(first[0][:8]), "0700030102017000"; got != want {
		t.Errorf("first header %s, want %s", got, want)
	}
	if got, want := hex.EncodeToString(first[1][:6]), "050003010202"; got != want {
		t.Errorf("second header %s, want %s", got, want)
	}
}

func TestAssembler(t *testing.T) {
	one, _ := Messages(ResponsePacket, bytes.Repeat([]byte{1}, 200), 1)
	two, _ := Messages(CommandPacket, bytes.Repeat([]byte{2}, 200), 2)
	var a Assembler
	add := func(b []byte) ([]byte, PacketKind) {
		t.Helper()
		p, kind, err := a.Add(b)
		if err != nil {
			t.Fatal(err)
		}
		return p, kind
	}
	// Another packet takes the place of one that is not whole.
	add(one[0])
	add(two[0])
	add(two[0]) // a repetition
	if p, _ := add(one[1]); p != nil {
		t.Error("a forgotten part came back")
	}
	if p, kind := add(one[0]); len(p) != 200 || p[0] != 1 || kind != ResponsePacket {
		t.Errorf("%x, %02X", p, byte(kind))
	}
	changed := bytes.Clone(two[0])
	changed[20] ^= 1
	add(two[0])
	if _, _, err := a.Add(changed); !errors.Is(err, ErrMessage) {
		t.Errorf("another first part: %v, want ErrMessage", err)
	}
	if p, _ := add(two[1]); p != nil {
		t.Error("a refused part is still there")
	}
	// Sixteen bits of reference.
	add([]byte{8, 8, 4, 1, 2, 2, 1, 0x70, 0, 'a'})
	if p, _ := add([]byte{6, 8, 4, 1, 2, 2, 2, 'b'}); string(p) != "ab" {
		t.Errorf("%q, want ab", p)
	}
	// Unknown elements do not matter.
	if p, _ := add([]byte{5, 0x24, 1, 0, 0x70, 0, 'c'}); string(p) != "c" {
		t.Errorf("%q, want c", p)
	}
	for name, b := range map[string][]byte{
		"nothing":           {},
		"too long":          append([]byte{2, 0x70, 0}, make([]byte, 138)...),
		"header too long":   {5, 0x70, 0},
		"element too long":  {2, 0x70, 1, 1},
		"half an element":   {1, 0x70, 1},
		"packet twice":      {4, 0x70, 0, 0x71, 0, 1},
		"packet of a byte":  {3, 0x70, 1, 0, 1},
		"concat twice":      {12, 0, 3, 1, 2, 2, 0, 3, 1, 2, 2, 0x70, 0, 1},
		"concat of 2":       {4, 0, 2, 1, 1, 1},
		"part 0":            {7, 0, 3, 1, 2, 0, 0x70, 0, 1},
		"part 3 of 2":       {5, 0, 3, 1, 2, 3, 1},
		"no parts":          {7, 0, 3, 1, 0, 1, 0x70, 0, 1},
		"no packet":         {5, 0, 3, 1, 2, 1, 1},
		"plain text":        {0, 'h', 'i'},
		"packet in part 2":  {7, 0, 3, 1, 2, 2, 0x70, 0, 1},
		"part without data": {2, 0x70, 0},
	} {
		if _, _, err := a.Add(b); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v, want ErrMessage", name, err)
		}
	}
}

func TestDownload(t *testing.T) {
	parts, err := Messages(CommandPacket, make([]byte, 300), 9)
	if err != nil {
		t.Fatal(err)
	}
	sender := Address{Type: 0x91, Digits: 11, BCD: []byte{0x19, 0x32, 0x54, 0x76, 0x98, 0xF0}}
	cmd, err := Download(parts[0], sender, [7]byte{0x62, 0x11, 0x52, 0x91, 0, 0, 0x22})
	if err != nil {
		t.Fatal(err)
	}
	b := cmd.Append(nil)
	if !bytes.HasPrefix(b, []byte{0x80, 0xC2, 0, 0}) {
		t.Errorf("command %x", b[:5])
	}
	ud, from, err := ReadDownload(cmd.Data)
	if err != nil || !bytes.Equal(ud, parts[0]) || from.Type != sender.Type || from.Digits != 11 || !bytes.Equal(from.BCD, sender.BCD) {
		t.Errorf("%x from %+v, %v", ud, from, err)
	}
	for name, c := range map[string]struct {
		ud     []byte
		sender Address
	}{
		"no data":        {nil, sender},
		"too long":       {make([]byte, 141), sender},
		"many digits":    {parts[0], Address{Digits: 22, BCD: make([]byte, 11)}},
		"digits missing": {parts[0], Address{Digits: 4, BCD: make([]byte, 1)}},
	} {
		if _, err := Download(c.ud, c.sender, [7]byte{}); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v, want ErrMessage", name, err)
		}
	}
	tpdu := func(change func(b []byte) []byte) []byte {
		b := []byte{0x44, 2, 0x91, 0x21, 0x7F, 0xF6, 0, 0, 0, 0, 0, 0, 0, 1, 'x'}
		return uicc.AppendTLV(nil, 0xD1, uicc.AppendTLV(nil, 0x8B, change(b)...)...)
	}
	for name, data := range map[string][]byte{
		"nothing":       {},
		"other tag":     {0xD6, 0},
		"more behind":   append(tpdu(func(b []byte) []byte { return b }), 0),
		"malformed":     {0xD1, 1, 0x8B},
		"no TPDU":       {0xD1, 0},
		"submit":        tpdu(func(b []byte) []byte { b[0] = 0x41; return b }),
		"no header":     tpdu(func(b []byte) []byte { b[0] = 0x04; return b }),
		"long address":  tpdu(func(b []byte) []byte { b[1] = 21; return b }),
		"short":         tpdu(func(b []byte) []byte { return b[:13] }),
		"protocol":      tpdu(func(b []byte) []byte { b[4] = 0; return b }),
		"coding":        tpdu(func(b []byte) []byte { b[5] = 0; return b }),
		"length is one": tpdu(func(b []byte) []byte { return append(b, 'y') }),
	} {
		if _, _, err := ReadDownload(data); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v, want ErrMessage", name, err)
		}
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(make([]byte, 300), byte(1), []byte{2, 0x70, 0, 1})
	f.Add([]byte{1}, byte(0), []byte{8, 8, 4, 1, 2, 2, 1, 0x70, 0, 'a'})
	f.Fuzz(func(t *testing.T, packet []byte, reference byte, noise []byte) {
		parts, err := Messages(CommandPacket, packet, reference)
		if err != nil || len(packet) == 0 {
			return
		}
		var a Assembler
		a.Add(noise)
		var got []byte
		for _, p := range parts {
			if got, _, err = a.Add(p); err != nil {
				// The noise was a part of another packet under this reference.
				return
			}
		}
		if len(noise) == 0 && !bytes.Equal(got, packet) {
			t.Errorf("%x became %x", packet, got)
		}
	})
}

func FuzzReadDownload(f *testing.F) {
	cmd, err := Download([]byte{2, 0x70, 0, 1}, Address{Type: 0x91, Digits: 2, BCD: []byte{0x21}}, [7]byte{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(cmd.Data)
	f.Fuzz(func(t *testing.T, data []byte) {
		ud, sender, err := ReadDownload(data)
		if err != nil || len(ud) == 0 {
			return
		}
		again, err := Download(ud, sender, [7]byte{})
		if err != nil {
			t.Fatalf("%x from %+v: %v", ud, sender, err)
		}
		if got, _, err := ReadDownload(again.Data); err != nil || !bytes.Equal(got, ud) {
			t.Errorf("%x became %x, %v", ud, got, err)
		}
	})
}

// A packet's length is part of what its checksum covers, so that two packets
// cannot be joined or cut.
func TestPacketLength(t *testing.T) {
	keys := everyKind(t)["AES 32"]
	b, err := keys.Seal(nil, Packet{SPI: SPICC | SPIPoR, Data: []byte{1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, 3)
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	if _, err := keys.Open(b, 0); !errors.Is(err, PacketCheckFailed) {
		t.Errorf("longer packet: %v, want %v", err, PacketCheckFailed)
	}
}
