package simos_test

import (
	"bytes"
	"context"
	"testing"

	"ankan/aka"
	"ankan/scp"
	"ankan/simos"
	"ankan/uicc"
)

// Personalisation from a blank chip to a card that authenticated, the host's
// side of the secure channel included.
func BenchmarkPersonalisation(b *testing.B) {
	blank := newChip(b, 1, true)
	l := line{keys: keySet(b, 0x10), signed: signedImage(b)}
	b.ReportAllocs()
	for b.Loop() {
		c := blank.Clone()
		c.Reset()
		l.card, l.n = c, 0
		if err := l.run(b.Context()); err != nil {
			b.Fatal(err)
		}
		c.Reset()
		checkCard(b, c, 1)
	}
	b.ReportMetric(float64(l.n), "APDUs/card")
}

func signedImage(b *testing.B) []byte {
	signed, err := testImage().Sign(vendorKey())
	if err != nil {
		b.Fatal(err)
	}
	return signed
}

// A card with as many files as an operator's has, written and read back.
func BenchmarkManyFiles(b *testing.B) {
	blank := newChip(b, 1, true)
	l := line{keys: keySet(b, 0x10), signed: signedImage(b)}
	content := bytes.Repeat([]byte{0x5A}, 40)
	l.extra = func(l *line) {
		for i := range uicc.FileID(150) {
			l.ef(0x6E00+i, 0, 0x6F06, 1, content...)
		}
	}
	read := uicc.Command{INS: uicc.INSReadBinary, Le: 40}.Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		c := blank.Clone()
		c.Reset()
		l.card, l.n = c, 0
		if err := l.run(b.Context()); err != nil {
			b.Fatal(err)
		}
		c.Reset()
		s := uicc.NewSession(c)
		if _, err := s.SelectAID(b.Context(), usimAID); err != nil {
			b.Fatal(err)
		}
		for i := range uicc.FileID(150) {
			cmd := []byte{0, uicc.INSSelect, 0, 0x0C, 2, 0x6E, byte(i)}
			if r, err := c.Transmit(b.Context(), cmd); err != nil || len(r) != 2 || r[0] != 0x90 {
				b.Fatalf("%X %v", r, err)
			}
			if r, err := c.Transmit(b.Context(), read); err != nil || len(r) != 42 {
				b.Fatalf("%X %v", r, err)
			}
		}
	}
	b.ReportMetric(float64(l.n), "APDUs/card")
}

func BenchmarkAuthenticate(b *testing.B) {
	c := newChip(b, 1, true)
	personalise(b, c)
	s := uicc.NewSession(c)
	ctx := context.Background()
	if _, err := s.SelectAID(ctx, usimAID); err != nil {
		b.Fatal(err)
	}
	if err := s.Verify(ctx, 1, pin1); err != nil {
		b.Fatal(err)
	}
	m, _ := aka.New(testK, testOPc)
	cmd := make([]byte, 40)
	copy(cmd, []byte{0, 0x88, 0, 0x81, 34})
	cmd[5], cmd[22] = 16, 16
	sqn := aka.SQN(0)
	b.ReportAllocs()
	for b.Loop() {
		sqn, _ = sqn.Next()
		v := m.Vector(aka.RAND{1}, sqn, aka.EPS())
		copy(cmd[6:], v.RAND[:])
		copy(cmd[23:], v.AUTN[:])
		if r, err := c.Transmit(ctx, cmd); err != nil || r[0] != 0xDB {
			b.Fatalf("%X %v", r, err)
		}
	}
}

// channelOn opens a chip whose only file is current: 240 bytes, transparent.
func channelOn(b *testing.B, level scp.Level) *scp.Channel {
	c := newChip(b, 1, true)
	ctx := context.Background()
	channel, err := scp.Open(ctx, c, keySet(b, 0x10), scp.Options{Level: level, Random: zeros{}})
	if err != nil {
		b.Fatal(err)
	}
	l := line{card: c, keys: keySet(b, 0x10), s: uicc.NewSession(channel)}
	l.loadOS()
	l.create(uicc.FCP{Kind: uicc.KindMF, ID: uicc.MF})
	l.ef(0x6F01, 1, 0x2F06, 1, make([]byte, 224)...)
	if l.err != nil {
		b.Fatal(l.err)
	}
	return channel
}

func BenchmarkUpdateInChannel(b *testing.B) {
	for name, level := range map[string]scp.Level{"commands": scp.Commands, "full": scp.Full} {
		b.Run(name, func(b *testing.B) {
			channel := channelOn(b, level)
			cmd := uicc.Command{INS: uicc.INSUpdateBinary, Data: make([]byte, 224)}.Append(nil)
			b.ReportAllocs()
			for b.Loop() {
				if r, err := channel.Transmit(context.Background(), cmd); err != nil || uicc.Response(r).SW() != uicc.SWOK {
					b.Fatalf("%X %v", r, err)
				}
			}
		})
	}
}

func BenchmarkReadBinary(b *testing.B) {
	c := newChip(b, 1, true)
	personalise(b, c)
	cmd := []byte{0, 0xB0, 0x82, 0, 10}
	b.ReportAllocs()
	for b.Loop() {
		if r, err := c.Transmit(context.Background(), cmd); err != nil || len(r) != 12 {
			b.Fatalf("%X %v", r, err)
		}
	}
}

func BenchmarkReset(b *testing.B) {
	c := newChip(b, 1, true)
	for b.Loop() {
		c.Reset()
	}
}

func BenchmarkClone(b *testing.B) {
	c := newChip(b, 1, true)
	personalise(b, c)
	var d *simos.Chip
	for b.Loop() {
		d = c.Clone()
	}
	_ = d
}
