package simos_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"ankan/aka"
	"ankan/scp"
	"ankan/simos"
	"ankan/uicc"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// zeros is a host challenge for tests.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func keySet(t testing.TB, fill byte) scp.KeySet {
	t.Helper()
	k := func(n byte) []byte { return bytes.Repeat([]byte{fill + n}, 32) }
	keys, err := scp.NewKeySet(k(1), k(2), k(3))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// vendorKey signs the test's operating system.
func vendorKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}

func config(t testing.TB, n int, direct bool) simos.Config {
	c := simos.Config{Lot: "LOT-2026-11", Keys: keySet(t, 0x10), Vendor: vendorKey().Public().(ed25519.PublicKey),
		Seed: binary.BigEndian.AppendUint64(make([]byte, 8), uint64(n)), Direct: direct}
	binary.BigEndian.PutUint64(c.Serial[:], uint64(n))
	return c
}

func newChip(t testing.TB, n int, direct bool) *simos.Chip {
	t.Helper()
	c, err := simos.NewChip(config(t, n, direct))
	if err != nil {
		t.Fatal(err)
	}
	c.Reset()
	return c
}

func testImage() simos.Image {
	return simos.Image{Name: "Ankan Reference", Version: "1.0", Algorithms: []string{"MILENAGE"}, Body: bytes.Repeat([]byte("os"), 300)}
}

// The secrets of the test card.
var (
	testK, testOPc = bytes.Repeat([]byte{0x4B}, 16), bytes.Repeat([]byte{0x4F}, 16)
	pin1           = [8]byte{'1', '2', '3', '4', 0xFF, 0xFF, 0xFF, 0xFF}
	puk1           = [8]byte{'8', '7', '6', '5', '4', '3', '2', '1'}
	adm1           = [8]byte{0xAD, 1, 2, 3, 4, 5, 6, 7}
	usimAID        = []byte{0xA0, 0, 0, 0, 0x87, 0x10, 2, 0xFF}
)

// line personalises a test card as a production line does. It can be cut after
// any command, and goes on with a chip in whatever state.
type line struct {
	card   uicc.Card
	keys   scp.KeySet
	s      *uicc.Session
	err    error
	n      int         // commands sent inside the channel
	signed []byte      // the operating system, if it is signed already
	extra  func(*line) // what else the card gets, in its USIM
}

func (l *line) send(cla, ins, p1, p2 byte, data ...byte) {
	if l.err == nil {
		l.n++
		_, l.err = l.s.Do(context.Background(), uicc.Command{CLA: cla, INS: ins, P1: p1, P2: p2, Data: data})
	}
}

func (l *line) create(f uicc.FCP) {
	f.Shareable, f.LifeCycle = true, uicc.Activated
	l.send(0, uicc.INSCreateFile, 0, 0, f.Append(nil)...)
}

func (l *line) ef(id uicc.FileID, sfi byte, arr uicc.FileID, rule byte, content ...byte) {
	l.create(uicc.FCP{Kind: uicc.Transparent, ID: id, SFI: sfi, Size: len(content), Security: uicc.Security{ARR: arr, Record: rule}})
	l.send(0, uicc.INSUpdateBinary, 0, 0, content...)
}

func (l *line) records(kind uicc.Kind, id uicc.FileID, sfi byte, arr uicc.FileID, rule byte, size, n int, content ...[]byte) {
	l.create(uicc.FCP{Kind: kind, ID: id, SFI: sfi, RecordSize: size, Records: n, Size: size * n, Security: uicc.Security{ARR: arr, Record: rule}})
	for i, r := range content {
		l.send(0, uicc.INSUpdateRecord, byte(i+1), 4, append(r, bytes.Repeat([]byte{0xFF}, size-len(r))...)...)
	}
}

func (l *line) store(dgi uint16, plain []byte, head ...byte) {
	if l.err != nil {
		return
	}
	v, err := l.keys.SealKey(head, plain)
	if err != nil {
		l.err = err
		return
	}
	d := append(binary.BigEndian.AppendUint16(nil, dgi), byte(len(v)))
	l.send(0x80, uicc.INSStoreData, 0x80, 0, append(d, v...)...)
}

func (l *line) putKey(version, old byte, fill byte, n int) {
	if l.err != nil {
		return
	}
	k := func(i byte) []byte { return bytes.Repeat([]byte{fill + i}, n) }
	d, err := scp.PutKey(nil, l.keys, version, [][]byte{k(1), k(2), k(3)})
	if err != nil {
		l.err = err
		return
	}
	l.send(0x80, uicc.INSPutKey, old, 0x81, d...)
}

// rules are the records of the test card's EF.ARR.
func rules() [][]byte {
	pin, adm, pin2 := uicc.Verified(1), uicc.Verified(0x0A), uicc.Verified(0x81)
	manage := uicc.ModeActivate | uicc.ModeDeactivate | uicc.ModeTerminate | uicc.ModeDelete
	return [][]byte{
		uicc.AppendRules(nil, uicc.Rule{Mode: uicc.ModeRead, Condition: uicc.Always()}, uicc.Rule{Mode: uicc.ModeUpdate | manage, Condition: adm}),
		uicc.AppendRules(nil, uicc.Rule{Mode: uicc.ModeRead | uicc.ModeUpdate, Condition: pin}, uicc.Rule{Mode: manage, Condition: adm}),
		uicc.AppendRules(nil, uicc.Rule{Mode: uicc.ModeRead, Condition: uicc.Any(pin, adm)}, uicc.Rule{Mode: uicc.ModeUpdate, Condition: pin2}),
		uicc.AppendRules(nil, uicc.Rule{Mode: 0x7F, Condition: adm}),
		uicc.AppendRules(nil, uicc.Rule{Mode: uicc.ModeRead, Condition: uicc.Never()}),
	}
}

func (l *line) run(ctx context.Context) error {
	l.s = uicc.NewSession(l.card)
	life, err := l.s.GetData(ctx, simos.TagLife)
	if err != nil {
		return err
	}
	channel, err := scp.Open(ctx, l.card, l.keys, scp.Options{KeyVersion: 0x30, Level: scp.Commands, Random: zeros{}})
	if err != nil {
		return err
	}
	defer channel.Close()
	l.s = uicc.NewSession(channel)
	if simos.Life(life[3]) == simos.Blank {
		l.loadOS()
	} else {
		l.send(0, uicc.INSDeleteFile, 0, 0, 0x3F, 0)
	}
	l.create(uicc.FCP{Kind: uicc.KindMF, ID: uicc.MF, Security: uicc.Security{ARR: 0x2F06, Record: 4}})
	l.records(uicc.LinearFixed, 0x2F06, 6, 0x2F06, 1, 40, 5, rules()...)
	l.records(uicc.LinearFixed, 0x2F00, 30, 0x2F06, 1, 20, 2, []byte("\x61\x0A\x4F\x08\xA0\x00\x00\x00\x87\x10\x02\xFF"))
	l.ef(0x2FE2, 2, 0x2F06, 1, 0x98, 0x19, 0x99, 0x10, 0x62, 0x00, 0x00, 0x00, 0x00, 0xF1)
	l.create(uicc.FCP{Kind: uicc.KindDF, ID: 0x7F10, Security: uicc.Security{ARR: 0x2F06, Record: 4}})
	l.records(uicc.Cyclic, 0x6F44, 0, 0x2F06, 2, 4, 3)
	l.send(0, uicc.INSSelect, 0, 0x0C, 0x3F, 0)
	l.create(uicc.FCP{Kind: uicc.KindADF, ID: 0x7FF0, Name: usimAID, Security: uicc.Security{ARR: 0x2F06, Record: 4}})
	l.records(uicc.LinearFixed, 0x6F06, 23, 0x2F06, 1, 40, 5, rules()...)
	l.ef(0x6F07, 7, 0x6F06, 2, 8, 0x49, 0x04, 0x91, 0x00, 0x00, 0x00, 0x00, 0x10)
	l.ef(0x6F38, 4, 0x6F06, 2, 0, 0, 0, 4, 0x20, 0)
	l.ef(0x6F7E, 11, 0x6F06, 3, 1, 2, 3)
	l.ef(0x6F08, 8, 0x6F06, 5, 9, 9)
	l.store(0xA001, append(append([]byte{}, testK...), testOPc...), 1)
	l.store(0xB001, append(pin1[:], puk1[:]...), 1, 3, 10)
	l.store(0xB081, append(pin1[:], puk1[:]...), 1, 3, 10)
	l.store(0xB00A, append(adm1[:], bytes.Repeat([]byte{0xFF}, 8)...), 1, 10, 0)
	if l.extra != nil {
		l.extra(l)
	}
	l.putKey(0x01, 0, 0x40, 16)
	l.putKey(0x30, 0x30, 0x50, 32)
	l.send(0x80, uicc.INSSetStatus, 0x80, 0x0F)
	return l.err
}

func (l *line) loadOS() {
	signed := l.signed
	if signed == nil {
		if signed, l.err = testImage().Sign(vendorKey()); l.err != nil {
			return
		}
	}
	for i := byte(0); len(signed) > 0; i++ {
		n := min(len(signed), 200)
		p1 := byte(0)
		if n == len(signed) {
			p1 = 0x80
		}
		l.send(0x80, uicc.INSLoad, p1, i, signed[:n]...)
		signed = signed[n:]
	}
}

func personalise(t testing.TB, c *simos.Chip) {
	t.Helper()
	l := line{card: c, keys: keySet(t, 0x10)}
	if err := l.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	c.Reset()
}

// checkCard reads a finished card back and lets it answer a challenge.
func checkCard(t testing.TB, c uicc.Card, seq uint64) {
	t.Helper()
	ctx := context.Background()
	s := uicc.NewSession(c)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	life, err := s.GetData(ctx, simos.TagLife)
	must(err)
	if simos.Life(life[3]) != simos.Secured {
		t.Fatalf("life cycle %s", simos.Life(life[3]))
	}
	iccid, err := s.ReadFile(ctx, uicc.EFICCID)
	must(err)
	if hex.EncodeToString(iccid) != "981999106200000000f1" {
		t.Fatalf("ICCID %X", iccid)
	}
	f, err := s.SelectAID(ctx, usimAID[:7])
	must(err)
	if f.Kind != uicc.KindADF || !bytes.Equal(f.Name, usimAID) || len(f.PINs) < 2 || !f.PINs[0].Enabled {
		t.Fatalf("FCP of the ADF: %+v", f)
	}
	must(s.Verify(ctx, 1, pin1))
	imsi, err := s.ReadBinary(ctx, 7, 0, 9)
	must(err)
	if hex.EncodeToString(imsi) != "084904910000000010" {
		t.Fatalf("IMSI %X", imsi)
	}
	m, err := aka.New(testK, testOPc)
	must(err)
	v := m.Vector(aka.RAND{1}, aka.SQN(seq<<5), aka.EPS())
	answer, err := s.Authenticate(ctx, v.RAND, v.AUTN)
	must(err)
	if answer[0] != 0xDB {
		t.Fatalf("AUTHENTICATE answers %X", answer[0])
	}
	must(v.Verify(answer[2:10]))
	if len(answer) != 53 || !bytes.Equal(answer[11:27], v.CK()) || !bytes.Equal(answer[28:44], v.IK()) {
		t.Fatal("CK, IK or Kc is wrong")
	}
	if kc := v.Kc(); !bytes.Equal(answer[45:], kc[:]) {
		t.Fatal("Kc is wrong")
	}
}

func TestPersonalisation(t *testing.T) {
	for _, direct := range []bool{false, true} {
		c := newChip(t, 1, direct)
		personalise(t, c)
		checkCard(t, c, 1)
		if c.Life() != simos.Secured || c.Lot() != "LOT-2026-11" || c.Serial().String() != "0000000000000001" {
			t.Errorf("%s, lot %s, serial %s", c.Life(), c.Lot(), c.Serial())
		}
		// The card opens for its own keys and no more for the chip maker's.
		o := scp.Options{Level: scp.Full}
		if _, err := scp.Open(t.Context(), c, keySet(t, 0x10), o); !errors.Is(err, scp.ErrCryptogram) {
			t.Errorf("old keys: %v", err)
		}
		channel, err := scp.Open(t.Context(), c, keySet(t, 0x50), o)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := uicc.NewSession(channel).GetData(t.Context(), simos.TagLot); err != nil || string(d[3:]) != "LOT-2026-11" {
			t.Errorf("lot %q, %v", d, err)
		}
	}
}

// dead answers until its count is used up: the reader loses the chip.
type dead struct {
	uicc.Card
	left int
}

var errGone = errors.New("the chip is gone")

func (d *dead) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	if d.left--; d.left < 0 {
		return nil, errGone
	}
	return d.Card.Transmit(ctx, cmd)
}

// A session that ends at any command leaves a chip that the next try completes.
func TestCutAnywhere(t *testing.T) {
	blank := newChip(t, 2, true)
	for n := 0; ; n++ {
		c := blank.Clone()
		c.Reset()
		l := line{card: &dead{c, n}, keys: keySet(t, 0x10)}
		err := l.run(t.Context())
		c.Reset()
		if err == nil {
			checkCard(t, c, 1)
			return
		}
		if !errors.Is(err, errGone) {
			t.Fatalf("cut after %d commands: %v", n, err)
		}
		personalise(t, c)
		checkCard(t, c, 1)
	}
}

func TestMarshal(t *testing.T) {
	c := newChip(t, 5, false)
	personalise(t, c)
	b := c.Marshal()
	d, err := simos.Unmarshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Transmit(t.Context(), nil); !errors.Is(err, simos.ErrOff) {
		t.Errorf("a chip without power answers: %v", err)
	}
	d.Reset()
	checkCard(t, d, 1)
	if !bytes.Equal(c.Marshal(), b) || bytes.Equal(d.Marshal(), b) {
		t.Error("the copy and the chip share their memory, or nothing changed")
	}
	for name, bad := range map[string][]byte{
		"empty": nil, "cut": b[:len(b)-1], "flipped": append([]byte{b[0] ^ 1}, b[1:]...), "too short": b[:100],
	} {
		if _, err := simos.Unmarshal(bad); !errors.Is(err, simos.ErrMemory) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDeterministic(t *testing.T) {
	a, b := newChip(t, 6, true), newChip(t, 6, true)
	personalise(t, a)
	personalise(t, b)
	if !bytes.Equal(a.Marshal(), b.Marshal()) {
		t.Error("two chips with one seed and the same commands differ")
	}
	challenge := []byte{0, 0x84, 0, 0, 8}
	x, _ := a.Transmit(t.Context(), challenge)
	first := bytes.Clone(x)
	y, _ := b.Transmit(t.Context(), challenge)
	if !bytes.Equal(first, y) {
		t.Error("their challenges differ")
	}
	a.Reset()
	if z, _ := a.Transmit(t.Context(), challenge); bytes.Equal(first, z) || len(z) != 10 {
		t.Error("a challenge repeats after a reset")
	}
}

// A drawer of 10,000 blank chips is small, and so is one of cards.
func TestManyChips(t *testing.T) {
	blank := newChip(t, 7, true)
	card := blank.Clone()
	card.Reset()
	personalise(t, card)
	for _, c := range []struct {
		name  string
		chip  *simos.Chip
		limit uint64
	}{{"blank", blank, 1 << 10}, {"card", card, 4 << 10}} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		drawer := make([]*simos.Chip, 10_000)
		for i := range drawer {
			drawer[i] = c.chip.Clone()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		each := (after.HeapAlloc - before.HeapAlloc) / uint64(len(drawer))
		t.Logf("%s: %d bytes each, memory %d", c.name, each, c.chip.Size())
		if each > c.limit {
			t.Errorf("%s: %d bytes each, want at most %d", c.name, each, c.limit)
		}
		runtime.KeepAlive(drawer)
	}
}

func TestNewChipRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*simos.Config){
		"no lot":          func(c *simos.Config) { c.Lot = "" },
		"long lot":        func(c *simos.Config) { c.Lot = strings.Repeat("L", 16) },
		"lot with a bell": func(c *simos.Config) { c.Lot = "\a" },
		"no vendor":       func(c *simos.Config) { c.Vendor = nil },
		"short seed":      func(c *simos.Config) { c.Seed = c.Seed[:15] },
		"tiny memory":     func(c *simos.Config) { c.Memory = 100 },
		"no keys":         func(c *simos.Config) { c.Keys = scp.KeySet{} },
	} {
		c := config(t, 1, false)
		spoil(&c)
		if _, err := simos.NewChip(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	var zero simos.Chip
	if zero.Reset() != nil {
		t.Error("the zero Chip has an ATR")
	}
	if _, err := zero.Transmit(t.Context(), []byte{0, 0xA4, 0, 0}); !errors.Is(err, simos.ErrOff) {
		t.Errorf("the zero Chip: %v", err)
	}
	for _, s := range []string{"", "00", "000000000000000G", "00000000000000AA", "000000000000000000"} {
		if _, err := simos.ParseSerial(s); err == nil {
			t.Errorf("serial %q was read", s)
		}
	}
	if s, err := simos.ParseSerial("00000000000000aa"); err != nil || s[7] != 0xAA {
		t.Error(s, err)
	}
}

func TestATR(t *testing.T) {
	for _, direct := range []bool{false, true} {
		atr := newChip(t, 1, direct).Reset()
		p, err := atr.Protocol()
		if err != nil || (p == 1) != direct {
			t.Errorf("direct %v: ATR %X is T=%d, %v", direct, []byte(atr), p, err)
		}
		if h, _ := atr.Historical(); !bytes.HasSuffix(h, []byte("ANKAN")) {
			t.Errorf("historical bytes %X", h)
		}
	}
}

// A chip never shows what it holds.
func TestSecretsHidden(t *testing.T) {
	c := newChip(t, 1, true)
	personalise(t, c)
	holder := struct{ chip *simos.Chip }{c}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("chip", "chip", c, "holder", holder)
	out := fmt.Sprintf("%v %+v %#v %s %x %d %s %+v", c, c, c, c, c, c, holder, holder) + log.String()
	if _, err := json.Marshal(c); err == nil {
		t.Error("a chip was marshalled")
	}
	for _, s := range []string{"KKKK", hex.EncodeToString(testK), "75 75 75 75", "0x4b, 0x4b", string(puk1[:]), hex.EncodeToString(puk1[:])} {
		if strings.Contains(strings.ToLower(out), strings.ToLower(s)) {
			t.Errorf("%q is shown", s)
		}
	}
}

func vector(t testing.TB, sqn uint64) aka.Vector {
	t.Helper()
	m, err := aka.New(testK, testOPc)
	if err != nil {
		t.Fatal(err)
	}
	return m.Vector(aka.RAND{9}, aka.SQN(sqn), aka.EPS())
}

// usim is a session in the application, PIN1 verified.
func usim(t testing.TB, c uicc.Card) *uicc.Session {
	t.Helper()
	s := uicc.NewSession(c)
	if _, err := s.SelectAID(context.Background(), usimAID); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(context.Background(), 1, pin1); err != nil {
		t.Fatal(err)
	}
	return s
}

// challenge asks for authentication with this SQN. It reports whether it was
// accepted; if not, the SQN that AUTS tells.
func challenge(t testing.TB, s *uicc.Session, sqn uint64) (sent, highest uint64, accepted bool) {
	t.Helper()
	v := vector(t, sqn)
	r, err := s.Authenticate(context.Background(), v.RAND, v.AUTN)
	if err != nil {
		t.Fatal(err)
	}
	if r[0] == 0xDB {
		return sqn, 0, true
	}
	if r[0] != 0xDC || len(r) != 16 {
		t.Fatalf("AUTHENTICATE answers %X", r)
	}
	m, _ := aka.New(testK, testOPc)
	top, err := m.Resync(v.RAND, aka.AUTS(r[2:]))
	if err != nil {
		t.Fatal(err)
	}
	return sqn, uint64(top), false
}

func otherKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
}
