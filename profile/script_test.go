package profile_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ankan/aka"
	"ankan/profile"
	"ankan/scp"
	"ankan/sim"
	"ankan/simos"
	"ankan/uicc"
)

var ctx = context.Background()

func makerKeys(t testing.TB) scp.KeySet {
	t.Helper()
	k := bytes.Repeat([]byte{0x40}, 32)
	keys, err := scp.NewKeySet(k, k, k)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// loadedChip is a chip with its operating system and without files.
func loadedChip(t testing.TB) *simos.Chip {
	t.Helper()
	return loadedChipOver(t, true)
}

// loadedChipOver speaks T=1 if direct, else T=0.
func loadedChipOver(t testing.TB, direct bool) *simos.Chip {
	t.Helper()
	vendor := ed25519.NewKeyFromSeed(make([]byte, 32))
	chip, err := simos.NewChip(simos.Config{
		Serial: simos.Serial{1, 2, 3, 4, 5, 6, 7, 8}, Lot: "LOT-1", Keys: makerKeys(t),
		Vendor: vendor.Public().(ed25519.PublicKey), Seed: make([]byte, 16), Direct: direct,
	})
	if err != nil {
		t.Fatal(err)
	}
	image, err := simos.Image{Name: "ankan", Version: "1", Algorithms: []string{"MILENAGE", "TUAK", "XOR"}, Body: []byte{1}}.Sign(vendor)
	if err != nil {
		t.Fatal(err)
	}
	load := uicc.Command{CLA: 0x80, INS: uicc.INSLoad, P1: 0x80, Data: image}
	send(t, openChannel(t, chip), load)
	return chip
}

func openChannel(t testing.TB, chip *simos.Chip) *scp.Channel {
	t.Helper()
	chip.Reset()
	ch, err := scp.Open(ctx, chip, makerKeys(t), scp.Options{KeyVersion: 0x30, Level: scp.Full})
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func send(t testing.TB, card uicc.Card, c uicc.Command) []byte {
	t.Helper()
	data, err := uicc.NewSession(card).Do(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// compile is the built-in profile with PIN1 on, so that there is a code to present.
func compile(t testing.TB) (*profile.Profile, *profile.Script) {
	t.Helper()
	return variant(t)
}

// cardRecord is the record of the n-th card.
func cardRecord(t testing.TB, p *profile.Profile, n uint64) []byte {
	t.Helper()
	iccid, err := sim.ICCIDFromBody(fmt.Sprintf("899199%012d", n))
	if err != nil {
		t.Fatal(err)
	}
	imsi, err := sim.ParseIMSI(fmt.Sprintf("40499%010d", n))
	if err != nil {
		t.Fatal(err)
	}
	var record []byte
	for _, s := range p.Slots() {
		slot := bytes.Repeat([]byte{byte(s.ID) + byte(n)}, s.Len)
		switch {
		case s.ID == profile.SlotICCID:
			ef := iccid.EF()
			slot = ef[:]
		case s.ID == profile.SlotIMSI:
			ef := imsi.EF()
			slot = ef[:]
		case s.ID == profile.SlotACC:
			slot = []byte{byte(imsi.ACC() >> 8), byte(imsi.ACC())}
		case s.ID == profile.SlotMSISDN:
			slot = []byte("919800000017\xFF\xFF\xFF")
		case s.Kind == profile.RandomDigits:
			slot = []byte(strings.Repeat("5", s.Digits) + strings.Repeat("\xFF", 8-s.Digits))
		}
		record = append(record, slot...)
	}
	return record
}

// makeCard writes, resets and reads back.
func makeCard(t testing.TB, chip *simos.Chip, s *profile.Script, record []byte) {
	t.Helper()
	if err := s.Write(ctx, openChannel(t, chip), makerKeys(t), record); err != nil {
		t.Fatal(err)
	}
	chip.Reset()
	if err := s.ReadBack(ctx, chip, record); err != nil {
		t.Fatal(err)
	}
}

func TestWriteAndReadBack(t *testing.T) {
	p, s := compile(t)
	record := cardRecord(t, p, 17)
	chip := loadedChip(t)
	makeCard(t, chip, s, record)
	if chip.Life() != simos.Secured {
		t.Errorf("life cycle is %v, want SECURED", chip.Life())
	}
	if u := s.Unread(); len(u) != 0 {
		t.Errorf("unread: %v", u)
	}

	// The new keys rule now, and the old ones do not.
	keys, err := s.NewKeys(record)
	if err != nil {
		t.Fatal(err)
	}
	chip.Reset()
	if _, err := scp.Open(ctx, chip, keys, scp.Options{KeyVersion: 0x30, Level: scp.Full}); err != nil {
		t.Errorf("new keys: %v", err)
	}
	chip.Reset()
	if _, err := scp.Open(ctx, chip, makerKeys(t), scp.Options{KeyVersion: 0x30, Level: scp.Full}); !errors.Is(err, scp.ErrCryptogram) {
		t.Errorf("old keys: error %v, want ErrCryptogram", err)
	}

	// The card authenticates the network that knows its K and OPc.
	chip.Reset()
	u := uicc.NewSession(chip)
	if _, err := u.SelectAID(ctx, []byte{0xA0, 0, 0, 0, 0x87, 0x10, 0x02}); err != nil {
		t.Fatal(err)
	}
	l := s.Layout()
	if err := u.Verify(ctx, 0x01, [8]byte(l.Of(record, profile.SlotPIN1))); err != nil {
		t.Fatal(err)
	}
	m, err := aka.New(l.Of(record, profile.SlotK), l.Of(record, profile.SlotOPC))
	if err != nil {
		t.Fatal(err)
	}
	rand := aka.RAND{1, 2, 3}
	v := m.Vector(rand, 32, aka.EPS())
	res, err := u.Authenticate(ctx, rand, v.AUTN)
	if err != nil {
		t.Fatal(err)
	}
	if len(res) < 10 || res[0] != 0xDB || !bytes.Equal(res[2:10], v.RES()) {
		t.Errorf("AUTHENTICATE answers %X, want DB and XRES", res)
	}
	msisdn, err := u.ReadFile(ctx, uicc.CurrentADF, 0x6F07)
	if err != nil || !bytes.Equal(msisdn, l.Of(record, profile.SlotIMSI)) {
		t.Errorf("EF.IMSI is %X, error %v", msisdn, err)
	}
}

// A card of each algorithm answers the network that has its keys, in the 3G and
// the GSM context, and tells its sequence number when it does not accept one.
func TestAlgorithmsOnACard(t *testing.T) {
	tuak := func(k, res, ck, ik, n int) string {
		return fmt.Sprintf("algorithm: TUAK\ntuak: {k-bits: %d, mac-bits: 64, res-bits: %d, ck-bits: %d, ik-bits: %d, iterations: %d}", k, res, ck, ik, n)
	}
	for _, algorithm := range []string{
		"algorithm: MILENAGE",
		"algorithm: MILENAGE\nmilenage: {r: [8, 0, 32, 64, 96], c: [" +
			`"00000000000000000000000000000000", "00000000000000000000000000000001", "00000000000000000000000000000002", ` +
			`"00000000000000000000000000000004", "A5000000000000000000000000000008"]}`,
		tuak(128, 32, 128, 128, 1), tuak(128, 64, 256, 128, 2), tuak(256, 128, 128, 128, 1), tuak(256, 256, 256, 256, 3),
		"test: true\nalgorithm: XOR",
	} {
		p, s := variant(t, "algorithm: MILENAGE", algorithm)
		t.Run(p.Parameters().String(), func(t *testing.T) {
			record, chip := cardRecord(t, p, 5), loadedChip(t)
			makeCard(t, chip, s, record)
			l := s.Layout()
			set, err := s.Authentication().Open(l.Of(record, profile.SlotK), l.Of(record, profile.SlotOPC))
			if err != nil {
				t.Fatal(err)
			}
			chip.Reset()
			u := uicc.NewSession(chip)
			if _, err := u.SelectAID(ctx, []byte{0xA0, 0, 0, 0, 0x87, 0x10, 0x02}); err != nil {
				t.Fatal(err)
			}
			if err := u.Verify(ctx, 0x01, [8]byte(l.Of(record, profile.SlotPIN1))); err != nil {
				t.Fatal(err)
			}
			v := set.Vector(aka.RAND{1, 2, 3}, 7<<5, aka.EPS())
			kc, want := v.Kc(), []byte{0xDB}
			for _, part := range [][]byte{v.RES(), v.CK(), v.IK(), kc[:]} {
				want = append(append(want, byte(len(part))), part...)
			}
			if got, err := u.Authenticate(ctx, v.RAND, v.AUTN); err != nil || !bytes.Equal(got, want) {
				t.Errorf("AUTHENTICATE answers %X, want %X, %v", got, want, err)
			}
			got, err := u.Authenticate(ctx, v.RAND, v.AUTN)
			if err != nil || len(got) != 16 || got[0] != 0xDC {
				t.Fatalf("the same token again: %X, %v", got, err)
			}
			if sqn, err := set.Resync(v.RAND, aka.AUTS(got[2:])); err != nil || sqn != 7<<5 {
				t.Errorf("AUTS tells %#x, %v", uint64(sqn), err)
			}
			forged := v.AUTN
			forged[15] ^= 1
			if _, err := u.Authenticate(ctx, v.RAND, forged); !errors.Is(err, uicc.SWWrongMAC) {
				t.Errorf("a forged token: %v", err)
			}
			sres, kc := set.Triplet(v.RAND)
			gsm, err := u.Do(ctx, uicc.Command{INS: uicc.INSAuthenticate, P2: 0x80, Data: append([]byte{16}, v.RAND[:]...), Le: 256})
			if want := append(append([]byte{4}, sres[:]...), append([]byte{8}, kc[:]...)...); err != nil || !bytes.Equal(gsm, want) {
				t.Errorf("GSM context answers %X, want %X, %v", gsm, want, err)
			}
		})
	}
}

// Power that is lost at any step leaves a chip that the same script completes.
func TestHalfMadeChipIsMadeAgain(t *testing.T) {
	p, s := compile(t)
	record := cardRecord(t, p, 3)
	chip := loadedChip(t)
	for stop := 1; stop < len(s.Steps()); stop += 7 {
		cut := &cutCard{Card: openChannel(t, chip), left: stop}
		var step *profile.StepError
		if err := s.Write(ctx, cut, makerKeys(t), record); !errors.As(err, &step) || step.Step != stop+1 || !errors.Is(err, errCut) {
			t.Fatalf("cut after %d: %v", stop, err)
		}
	}
	makeCard(t, chip, s, record)
}

var errCut = errors.New("the card is gone")

type cutCard struct {
	uicc.Card
	left int
}

func (c *cutCard) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	if c.left == 0 {
		return nil, errCut
	}
	c.left--
	return c.Card.Transmit(ctx, cmd)
}

// Every byte that is patched or read is compared: another record is a mismatch.
func TestReadBackFindsWhatDiffers(t *testing.T) {
	p, s := compile(t)
	chip := loadedChip(t)
	record := cardRecord(t, p, 5)
	makeCard(t, chip, s, record)
	l := s.Layout()
	for _, x := range []struct {
		slot   profile.SlotID
		with   []byte
		file   string
		offset int
	}{
		{profile.SlotICCID, cardRecord(t, p, 6)[:10], "EF.ICCID", 8},
		{profile.SlotMSISDN, []byte("919800000018\xFF\xFF\xFF"), "ADF.USIM/EF.MSISDN", 21},
		{profile.SlotMSISDN, bytes.Repeat([]byte{0xFF}, 15), "ADF.USIM/EF.MSISDN", 14},
	} {
		other := bytes.Clone(record)
		copy(l.Of(other, x.slot), x.with)
		chip.Reset()
		err := s.ReadBack(ctx, chip, other)
		var m *profile.Mismatch
		if !errors.As(err, &m) || m.File != x.file || m.Offset != x.offset {
			t.Errorf("%v: %v, want a mismatch in %s at %d", x.slot, err, x.file, x.offset)
		}
	}
	// A file that somebody changed afterwards, in a record and beyond a read.
	for _, x := range []struct {
		id     uicc.FileID
		cmd    uicc.Command
		file   string
		record int
		offset int
	}{
		{0x6FB7, uicc.Command{INS: uicc.INSUpdateRecord, P1: 2, P2: 4, Data: append(bytes.Repeat([]byte{0xFF}, 15), 0)}, "ADF.USIM/EF.ECC", 2, 0},
		{0x6F61, uicc.Command{INS: uicc.INSUpdateBinary, P2: 199, Data: []byte{1}}, "ADF.USIM/EF.OPLMNwAcT", 0, 199},
	} {
		c := chip.Clone()
		c.Reset()
		u := uicc.NewSession(c)
		u.SelectAID(ctx, []byte{0xA0, 0, 0, 0, 0x87, 0x10, 0x02})
		if err := u.Verify(ctx, 0x0A, [8]byte(l.Of(record, profile.SlotADM1))); err != nil {
			t.Fatal(err)
		}
		if err := u.Verify(ctx, 0x01, [8]byte(l.Of(record, profile.SlotPIN1))); err != nil {
			t.Fatal(err)
		}
		if _, err := u.Select(ctx, x.id); err != nil {
			t.Fatal(err)
		}
		send(t, c, x.cmd)
		c.Reset()
		err := s.ReadBack(ctx, c, record)
		var m *profile.Mismatch
		if !errors.As(err, &m) || m.File != x.file || m.Record != x.record || m.Offset != x.offset {
			t.Errorf("%s: %v", x.file, err)
		}
		if err != nil && strings.Contains(err.Error(), "40499") {
			t.Errorf("%v shows content", err)
		}
	}
}

// A wrong PIN is presented once at most: with one try left, never.
func TestReadBackSparesTheLastTry(t *testing.T) {
	p, s := compile(t)
	chip := loadedChip(t)
	record := cardRecord(t, p, 7)
	makeCard(t, chip, s, record)
	l := s.Layout()
	wrong := bytes.Clone(record)
	copy(l.Of(wrong, profile.SlotPIN1), "9999")
	for try := range 4 {
		chip.Reset()
		err := s.ReadBack(ctx, chip, wrong)
		var step *profile.StepError
		switch {
		case !errors.As(err, &step) || step.Name != "VERIFY pin1":
			t.Fatalf("try %d: %v", try+1, err)
		case try < 2 && step.SW != uicc.TriesLeft(2-try):
			t.Errorf("try %d: %v", try+1, err)
		case try >= 2 && !errors.Is(err, profile.ErrTries):
			t.Errorf("try %d: %v, want ErrTries", try+1, err)
		}
	}
	chip.Reset()
	if n, err := uicc.NewSession(chip).Tries(ctx, 0x01); n != 1 || err != nil {
		t.Errorf("%d tries left, error %v, want 1", n, err)
	}
}

func TestRecordsThatDoNotFit(t *testing.T) {
	p, s := compile(t)
	good := cardRecord(t, p, 9)
	l := s.Layout()
	for _, x := range []struct {
		name   string
		change func(r []byte) []byte
	}{
		{"short", func(r []byte) []byte { return r[1:] }},
		{"ICCID", func(r []byte) []byte { l.Of(r, profile.SlotICCID)[9] ^= 1; return r }},
		{"IMSI", func(r []byte) []byte { l.Of(r, profile.SlotIMSI)[0] = 9; return r }},
		{"ACC", func(r []byte) []byte { l.Of(r, profile.SlotACC)[0] ^= 1; return r }},
		{"MSISDN", func(r []byte) []byte { l.Of(r, profile.SlotMSISDN)[3] = 'A'; return r }},
	} {
		r := x.change(bytes.Clone(good))
		if err := s.Write(ctx, openChannel(t, loadedChip(t)), makerKeys(t), r); !errors.Is(err, profile.ErrRecord) {
			t.Errorf("%s: Write: %v, want ErrRecord", x.name, err)
		}
		if err := s.ReadBack(ctx, loadedChip(t), r); err == nil {
			t.Errorf("%s: ReadBack takes it", x.name)
		}
	}
	if _, err := s.NewKeys(good[1:]); !errors.Is(err, profile.ErrRecord) {
		t.Errorf("NewKeys: %v, want ErrRecord", err)
	}
}

// A card that says it has other keys than those it was given is no good card.
func TestWrongReceipt(t *testing.T) {
	p, s := compile(t)
	c := &lyingCard{Card: openChannel(t, loadedChip(t))}
	var step *profile.StepError
	if err := s.Write(ctx, c, makerKeys(t), cardRecord(t, p, 1)); !errors.As(err, &step) || step.Name != "PUT KEY SCP80" {
		t.Errorf("%v, want PUT KEY SCP80 to fail", err)
	}
}

type lyingCard struct{ uicc.Card }

func (c *lyingCard) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	b, err := c.Card.Transmit(ctx, cmd)
	if cmd[1] == uicc.INSPutKey && len(b) > 2 {
		b[1] ^= 1
	}
	return b, err
}

// A chip whose keys are not the ones that sealed the secrets refuses them.
func TestWrongStaticKeys(t *testing.T) {
	p, s := compile(t)
	k := bytes.Repeat([]byte{0x41}, 32)
	other, err := scp.NewKeySet(k, k, k)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Write(ctx, openChannel(t, loadedChip(t)), other, cardRecord(t, p, 1))
	var step *profile.StepError
	if !errors.As(err, &step) || step.SW == 0 {
		t.Errorf("%v, want a status word", err)
	}
}

func TestWire(t *testing.T) {
	p, s := compile(t)
	wire := s.Wire(scp.Commands)
	t.Logf("%d bytes of content; %d bytes in the clear, %d at level %02X, %d at level %02X",
		s.Content(), s.Wire(0).Bytes(), wire.Bytes(), scp.Commands, s.Wire(scp.Full).Bytes(), scp.Full)
	if 4*wire.Bytes() > 5*s.Content() {
		t.Errorf("%d bytes cross for %d of content, want at most 1.25 times as many", wire.Bytes(), s.Content())
	}
	count := &counter{Card: loadedChip(t)}
	ch, err := scp.Open(ctx, count.reset(t), makerKeys(t), scp.Options{KeyVersion: 0x30, Level: scp.Commands})
	if err != nil {
		t.Fatal(err)
	}
	count.Wire = uicc.Wire{}
	if err := s.Write(ctx, ch, makerKeys(t), cardRecord(t, p, 1)); err != nil {
		t.Fatal(err)
	}
	if count.Wire != wire {
		t.Errorf("%+v crossed the interface, Wire says %+v", count.Wire, wire)
	}
	for _, x := range s.Steps() {
		if _, err := uicc.ParseCommand(x.Command); err != nil || len(x.Command) > 246 {
			t.Errorf("%s: %d bytes, error %v", x.Name, len(x.Command), err)
		}
	}
}

// counter counts what crosses the interface of a chip.
type counter struct {
	uicc.Card
	uicc.Wire
}

func (c *counter) reset(t testing.TB) *counter {
	c.Card.(*simos.Chip).Reset()
	return c
}

func (c *counter) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	b, err := c.Card.Transmit(ctx, cmd)
	c.Count(cmd, len(b)-2)
	return b, err
}

func BenchmarkCard(b *testing.B) {
	for _, level := range []scp.Level{scp.Commands, scp.Full} {
		b.Run(fmt.Sprintf("level-%02X", byte(level)), func(b *testing.B) { benchmarkCard(b, level) })
	}
}

func benchmarkCard(b *testing.B, level scp.Level) {
	p, s := compile(b)
	record := cardRecord(b, p, 17)
	blank := loadedChip(b)
	keys := makerKeys(b)
	b.ReportAllocs()
	for b.Loop() {
		chip := blank.Clone()
		chip.Reset()
		ch, err := scp.Open(ctx, chip, keys, scp.Options{KeyVersion: 0x30, Level: level})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Write(ctx, ch, keys, record); err != nil {
			b.Fatal(err)
		}
		chip.Reset()
		if err := s.ReadBack(ctx, chip, record); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cards/s")
}

func BenchmarkCompile(b *testing.B) {
	p, err := profile.Builtin("in-5g-usim")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := profile.Compile(p); err != nil {
			b.Fatal(err)
		}
	}
}
