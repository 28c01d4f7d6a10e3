package cards

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"ankan/aka"
	"ankan/pcsc"
	"ankan/scp"
	"ankan/sim"
	"ankan/simos"
	"ankan/station/slot"
	"ankan/uicc"
)

func TestOpenSC(t *testing.T) {
	c := newCard(t)
	c.insert(t)
	says(t, "opensc-tool", ran(t, "opensc-tool", "--list-readers"), readers[0].name, "Yes")
	atr := strings.ReplaceAll(strings.TrimSpace(ran(t, "opensc-tool", "--reader", "0", "--atr")), ":", "")
	chip, err := simos.LoadChip(c.file)
	if err != nil {
		t.Fatal(err)
	}
	if want := hex.EncodeToString(chip.Reset()); atr != want {
		t.Errorf("opensc-tool reads ATR %s, want %s", atr, want)
	}
	iccid, err := sim.ParseICCID(c.row["iccid"])
	if err != nil {
		t.Fatal(err)
	}
	ef := iccid.EF()
	var want []string
	for _, b := range ef {
		want = append(want, fmt.Sprintf("%02X", b))
	}
	got := ran(t, "opensc-tool", "--reader", "0", "--send-apdu", "00:A4:00:0C:02:2F:E2", "--send-apdu", "00:B0:00:00:0A")
	says(t, "opensc-tool", got, "SW1=0x90, SW2=0x00", strings.Join(want, " "))
}

func TestPyscard(t *testing.T) {
	c := newCard(t)
	c.insert(t)
	alg := c.algorithm(t)
	v := alg.Vector(aka.RAND{1, 2, 3}, 64, aka.EPS())
	out := ran(t, python, "testdata/read.py", readers[0].name, fmt.Sprintf("%X", v.RAND), fmt.Sprintf("%X", v.AUTN))
	var found map[string]string
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	iccid, err := sim.ParseICCID(c.row["iccid"])
	if err != nil {
		t.Fatal(err)
	}
	imsi, err := sim.ParseIMSI(c.row["imsi"])
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%X", iccid.EF()); found["iccid"] != want {
		t.Errorf("EF.ICCID is %s, want %s", found["iccid"], want)
	}
	if want := fmt.Sprintf("%X", imsi.EF()); found["imsi"] != want {
		t.Errorf("EF.IMSI is %s, want %s", found["imsi"], want)
	}
	says(t, "EF.DIR", found["dir"], "A0000000871002")
	says(t, "the USIM's FCP", found["usim"], "A0000000871002")
	if want := fmt.Sprintf("DB08%X10%X10%X", v.RES(), v.CK(), v.IK()); !strings.HasPrefix(found["authenticate"], want) {
		t.Errorf("AUTHENTICATE does not answer with RES, CK and IK of the vector")
	}
}

// Our own client and commands, through the same daemon.
func TestAnkan(t *testing.T) {
	c := newCard(t)
	c.insert(t)
	says(t, "card readers", ankan(t, "card", "readers"), readers[0].name+"  present", readers[1].name+"  none")
	says(t, "card read", ankan(t, "card", "read", "--reader", readers[0].name), "TEST CARD", c.row["iccid"])
	says(t, "card auth", ankan(t, "card", "auth", "--reader", readers[0].name, "--values", c.values), "authenticated with sequence number 32")
	says(t, "card auth", ankan(t, "card", "auth", "--reader", readers[0].name, "--values", c.values), "resynchronised")
	says(t, "card files", ankan(t, "card", "files", "--reader", readers[0].name, "EF.IMSI"), c.row["imsi"])
	says(t, "card apdu", ankan(t, "card", "apdu", "--reader", readers[0].name, "00A40004023F0000"), "< 9000")
	// What the card saw is in its file: it was no copy that answered.
	says(t, "the file", ankan(t, "card", "auth", "--file", c.file, "--values", c.values), "resynchronised")

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := pcsc.Open(ctx, readers[0].name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	atr, err := r.Connect(ctx, pcsc.Exclusive)
	if err != nil || atr.Check() != nil {
		t.Fatalf("%X, %v", []byte(atr), err)
	}
	for _, how := range []pcsc.Disposition{pcsc.Warm, pcsc.Unpower} {
		if again, err := r.Reset(ctx, how); err != nil || string(again) != string(atr) {
			t.Errorf("reset %d: %X, %v", how, []byte(again), err)
		}
	}
	if err := errors.Join(r.Begin(ctx), r.Check(ctx), r.End(ctx, pcsc.Leave)); err != nil {
		t.Error(err)
	}
	if got, err := r.Attribute(ctx, pcsc.AttributeVendor); !errors.Is(err, pcsc.UnsupportedFeature) {
		t.Errorf("an attribute that this driver has not: %X, %v", got, err)
	}
	if _, err := r.Control(ctx, 0x42000DFF, nil); !errors.Is(err, pcsc.NotTransacted) && !errors.Is(err, pcsc.UnsupportedFeature) {
		t.Errorf("a control code that no driver has: %v", err)
	}
	second, err := pcsc.Open(ctx, readers[0].name)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if _, err := second.Connect(ctx, pcsc.Shared); !errors.Is(err, pcsc.SharingViolation) {
		t.Errorf("a card that another has: %v", err)
	}
	none, err := pcsc.Open(ctx, readers[1].name)
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	if _, err := none.Connect(ctx, pcsc.Shared); !errors.Is(err, pcsc.NoSmartcard) {
		t.Errorf("no card: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := none.WaitInserted(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait that is called off: %v", err)
	}
	if s, err := none.State(ctx); err != nil || s.Present {
		t.Errorf("after it: %+v, %v", s, err)
	}
}

// The line's reader, with chips that come and go.
func TestSlot(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out func() // takes the chip out of the reader
	put := func(c *simos.Chip) {
		t.Helper()
		conn, err := net.Dial("tcp", readers[1].address)
		if err != nil {
			t.Error(err)
			return
		}
		here, gone := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- simos.Attach(here, conn, c.Socket()) }()
		out = func() { gone(); <-done }
	}
	one, two := chip(t, 1), chip(t, 2)
	told := []string{}
	r, err := slot.Open(ctx, readers[1].name, func(text string) {
		told = append(told, text)
		switch {
		case text == "insert a fresh card" || strings.HasPrefix(text, "this is chip 02"):
			if out != nil {
				out()
				out = nil
				awaitPresent(t, readers[1].name, false)
			}
			put(one)
		case strings.HasPrefix(text, "insert chip 01"):
			put(two)
		case text == "take the card out":
			out()
			out = nil
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Take(ctx); err != nil {
		t.Fatal(err)
	}
	if atr, err := r.Reset(ctx); err != nil || atr.Check() != nil {
		t.Fatalf("%X, %v", []byte(atr), err)
	}
	if _, err := uicc.NewSession(r).GetData(ctx, 0x9F7F); err != nil {
		t.Error(err)
	}
	if err := r.Eject(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.Insert(ctx, one.Serial()); err != nil {
		t.Fatal(err)
	}
	if err := r.Eject(ctx); err != nil {
		t.Fatal(err)
	}
	if len(told) < 5 {
		t.Errorf("told %q", told)
	}
}

func chip(t *testing.T, n byte) *simos.Chip {
	t.Helper()
	key := []byte(strings.Repeat(string(rune(n)), 32))
	keys, err := scp.NewKeySet(key, key, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := simos.NewChip(simos.Config{Serial: simos.Serial{n}, Lot: "LOT-1", Keys: keys,
		Vendor: make(ed25519.PublicKey, ed25519.PublicKeySize), Seed: key, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
