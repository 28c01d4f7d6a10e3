package simos_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"

	"ankan/scp"
	"ankan/simos"
	"ankan/uicc"
)

func desText(fill byte) [][]byte {
	var keys [][]byte
	for i := byte(1); i <= 3; i++ {
		k := bytes.Repeat([]byte{fill + i}, 16)
		k[15] ^= 0xF0
		keys = append(keys, k)
	}
	return keys
}

func desKeys(t testing.TB, fill byte) scp.DESKeySet {
	t.Helper()
	k := desText(fill)
	keys, err := scp.NewDESKeySet(k[0], k[1], k[2])
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// putDES is the data of PUT KEY of three keys of triple DES.
func putDES(t *testing.T, channel *scp.Channel, version byte, keys [][]byte) []byte {
	t.Helper()
	d := []byte{version}
	for _, k := range keys {
		d = append(d, 0x80, 16)
		var err error
		if d, err = channel.SealKey(d, k); err != nil {
			t.Fatal(err)
		}
		kcv, err := scp.DESCheckValue(k)
		if err != nil {
			t.Fatal(err)
		}
		d = append(append(d, 3), kcv[:]...)
	}
	return d
}

// A chip with keys of triple DES speaks SCP02 (GlobalPlatform Card Specification,
// annex E): made, personalised, managed.
func TestSCP02(t *testing.T) {
	cfg := config(t, 1, true)
	cfg.Old, cfg.Keys = desKeys(t, 0x10), scp.KeySet{}
	c, err := simos.NewChip(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.Reset()
	play(t, c, `
		80CA006600 > 6630 732E 06072A864886FC6B01 600B06092A864886FC6B020203 630906072A864886FC6B03 640B06092A864886FC6B040235 9000
		80CA006700 > 6708 A006 800102 810135 9000
		80CA00E000 > E012 C00401208010 C00402208010 C00403208010 9000
		8050000010 00000000000000000000000000000000 00 > 6700
		8050300008 0000000000000000 00 > 6A88`)
	o := scp.Options{Level: scp.CMAC | scp.CDEC | scp.RMAC, DES: true, Random: zeros{}}
	if _, err := scp.Open(t.Context(), c, desKeys(t, 0x30), o); !errors.Is(err, scp.ErrCryptogram) {
		t.Errorf("other keys: %v", err)
	}
	channel, err := scp.Open(t.Context(), c, desKeys(t, 0x10), o)
	if err != nil {
		t.Fatal(err)
	}
	l := line{card: c, s: uicc.NewSession(channel)}
	l.loadOS()
	l.create(uicc.FCP{Kind: uicc.KindMF, ID: uicc.MF, Security: uicc.Security{ARR: 0x2F06, Record: 4}})
	l.records(uicc.LinearFixed, 0x2F06, 6, 0x2F06, 1, 40, 5, rules()...)
	l.ef(0x2FE2, 2, 0x2F06, 1, 0x98, 0x19, 0x99, 0x10, 0x62, 0x00, 0x00, 0x00, 0x00, 0xF1)
	l.create(uicc.FCP{Kind: uicc.KindADF, ID: 0x7FF0, Name: usimAID, Security: uicc.Security{ARR: 0x2F06, Record: 4}})
	l.ef(0x6F07, 7, 0x2F06, 2, 8, 0x49, 0x04, 0x91, 0x00, 0x00, 0x00, 0x00, 0x10)
	store := func(dgi uint16, plain []byte, head ...byte) {
		v, err := channel.SealKey(head, plain)
		if err != nil {
			t.Fatal(err)
		}
		l.send(0x80, uicc.INSStoreData, 0x80, 0, append(append(binary.BigEndian.AppendUint16(nil, dgi), byte(len(v))), v...)...)
	}
	store(0xA001, append(append([]byte{}, testK...), testOPc...), 1)
	store(0xB001, append(pin1[:], puk1[:]...), 1, 3, 10)
	l.send(0x80, uicc.INSPutKey, 0, 0x81, putDES(t, channel, 1, desText(0x40))...)
	l.send(0x80, uicc.INSPutKey, 0x20, 0x81, putDES(t, channel, 0x21, desText(0x50))...)
	if l.err != nil {
		t.Fatal(l.err)
	}
	for name, spoil := range map[string]func(d []byte) []byte{
		"cut":   func(d []byte) []byte { return d[:len(d)-1] },
		"type":  func(d []byte) []byte { d[1] = 0x88; return d },
		"size":  func(d []byte) []byte { d[2] = 8; return d },
		"check": func(d []byte) []byte { d[len(d)-1] ^= 1; return d },
	} {
		if l.send(0x80, uicc.INSPutKey, 0, 0x81, spoil(putDES(t, channel, 2, desText(0x40)))...); !errors.Is(l.err, uicc.SWData) {
			t.Errorf("PUT KEY, %s: %v", name, l.err)
		}
		l.err = nil
	}
	l.send(0x80, uicc.INSSetStatus, 0x80, 0x0F)
	if l.err != nil {
		t.Fatal(l.err)
	}
	checkUse(t, c)
	restored, err := simos.Unmarshal(c.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	restored.Reset()
	if _, err := scp.Open(t.Context(), restored, desKeys(t, 0x10), o); !errors.Is(err, scp.ErrCryptogram) {
		t.Errorf("old keys: %v", err)
	}
	channel, err = scp.Open(t.Context(), restored, desKeys(t, 0x50), o)
	if err != nil {
		t.Fatal(err)
	}
	play(t, channel, `80F28002024F00 00 > E313 4F08A000000151000000 9F70010F C503985C00 9000`)

	// Packets under keys of triple DES; AES of the same bytes is another thing.
	k := desText(0x40)
	keys, err := scp.NewPacketKeys(k[0], k[1], scp.PacketOptions{KIC: 0x15, KID: 0x15, DES: true})
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, restored)
	s.keys = keys
	restored.Reset()
	a := s.run(scp.TARUICC, unhex(t, "00A4000C022FE2 00B0000002"))
	if a.Status != scp.PacketOK || hex.EncodeToString(a.Data) != "0290009819" {
		t.Errorf("%+v", a)
	}
	if s.keys, err = scp.NewPacketKeys(k[0], k[1], scp.PacketOptions{KIC: 0x12, KID: 0x12}); err != nil {
		t.Fatal(err)
	}
	s.counter++
	if r := s.send(scp.Packet{SPI: s.spi, TAR: scp.TARUICC, Counter: s.counter, Data: []byte{0}}); hex.EncodeToString(r) != "6985" {
		t.Errorf("AES: %X", r)
	}
}

// checkUse lets a card be used after its line.
func checkUse(t *testing.T, c *simos.Chip) {
	t.Helper()
	c.Reset()
	s := usim(t, c)
	if sent, _, ok := challenge(t, s, 1<<5); !ok {
		t.Errorf("SQN %X was refused", sent)
	}
}

// A wrong cryptogram, and the counter that goes up with each host that was
// authenticated.
func TestSCP02Counter(t *testing.T) {
	cfg := config(t, 1, true)
	cfg.Old = desKeys(t, 0x10)
	c, err := simos.NewChip(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.Reset()
	sequence := func() string {
		r, err := c.Transmit(t.Context(), unhex(t, "80CA00C100"))
		if err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(r)
	}
	play(t, c, `
		8050000008 0000000000000000 00 > ..9000
		8482010010 00000000000000000000000000000000 > 6300
		8050000008 0000000000000000 00 > ..9000`)
	if sequence() != "c1030000009000" {
		t.Error(sequence())
	}
	if _, err := scp.Open(t.Context(), c, desKeys(t, 0x10), scp.Options{Level: scp.CMAC, DES: true}); err != nil {
		t.Fatal(err)
	}
	if sequence() != "c1030000019000" {
		t.Error(sequence())
	}
}
