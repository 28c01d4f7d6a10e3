package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ankan/pcsc/pcsctest"
	"ankan/scp"
	"ankan/simos"
	"ankan/station"
	"ankan/uicc"
)

func call(ctx context.Context, args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = run(ctx, args, &o, &e)
	return code, o.String(), e.String()
}

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	serve := []string{"serve", "-k", key, "--plant", "127.0.0.1:1", "--plant-key", "SHA256:" + strings.Repeat("A", 43)}
	for _, c := range []struct {
		args []string
		code int
		say  string
	}{
		{nil, 2, "try: ankan-station --help"},
		{[]string{"--version"}, 0, ""},
		{[]string{"--help"}, 0, ""},
		{[]string{"show", "-k", key}, 1, "make one: ankan-station init"},
		{[]string{"init", "st-a", "-k", key}, 0, ""},
		{[]string{"init", "st-a", "-k", key}, 1, "has a key already"},
		{[]string{"show", "-k", key}, 0, ""},
		{serve, 1, "no reader is named"},
		{append(serve, "--reader", "1"), 1, "want NAME=READER"},
		{append(serve, "--reader", "1="), 1, "want NAME=READER"},
		{append(serve, "--reader", "1=x", "--drawer", "1=unix:x"), 1, "two readers have this name"},
		{append(serve, "--drawer", "1"), 1, "want NAME=unix:PATH"},
		{append(serve, "--drawer", "a/b=unix:x"), 1, "want NAME=unix:PATH"},
		{append(serve, "--drawer", "1=udp:x"), 1, "want NAME=unix:PATH"},
		{append(serve, "--drawer", "1=unix:x", "--drawer", "1=unix:y"), 1, "two readers have this name"},
		{[]string{"serve", "-k", key, "--plant", "x", "--plant-key", "x", "--drawer", "1=unix:x"}, 1, "want SHA256:"},
	} {
		code, _, errs := call(t.Context(), c.args...)
		if code != c.code || !strings.Contains(errs, c.say) {
			t.Errorf("%q: code %d, %s; want %d, %q", c.args, code, errs, c.code, c.say)
		}
	}
	_, made, err := station.LoadIdentity(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, out, _ := call(t.Context(), "show", "-k", key); out != "st-a: "+made.String()+"\n" {
		t.Errorf("%q", out)
	}
}

func TestReaders(t *testing.T) {
	t.Setenv("PCSCLITE_CSOCK_NAME", filepath.Join(t.TempDir(), "none"))
	if code, _, errs := call(t.Context(), "readers"); code != 1 || errs == "" {
		t.Errorf("no daemon: code %d, %s", code, errs)
	}
	pcsctest.Start(t)
	if code, _, errs := call(t.Context(), "readers"); code != 1 || !strings.Contains(errs, "knows no reader") {
		t.Errorf("no reader: code %d, %s", code, errs)
	}
	pcsctest.Start(t, "Left 00 00", "Right 00 00")
	if code, out, _ := call(t.Context(), "readers"); code != 0 || out != "Left 00 00: empty\nRight 00 00: empty\n" {
		t.Errorf("two readers: code %d, %q", code, out)
	}
}

// The program connects, has a chip say its ATR, and connects again after the
// plant hung up.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	key, err := station.NewIdentity(filepath.Join(dir, "st-a"), "st-a")
	must(t, err)
	_, err = station.NewIdentity(filepath.Join(dir, "plant"), "plant")
	must(t, err)
	own, plant, err := station.LoadIdentity(filepath.Join(dir, "plant"))
	must(t, err)
	rack, err := simos.NewRack("")
	must(t, err)
	c, err := simos.NewChip(simos.Config{Serial: simos.Serial{1}, Lot: "L", Vendor: make([]byte, 32), Keys: testKeys(t), Seed: make([]byte, 32)})
	must(t, err)
	must(t, rack.Add(c))
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	chips, err := net.Listen("unix", filepath.Join(dir, "rack"))
	must(t, err)
	all.Go(func() { rack.Serve(ctx, chips) })
	door, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := door.Addr().String()
	all.Go(func() {
		call(ctx, "serve", "-k", filepath.Join(dir, "st-a"), "--plant", address, "--plant-key", plant.String(), "--drawer", "1=unix:"+chips.Addr().String())
	})
	for range 2 {
		hub := station.NewHub(map[station.Fingerprint]string{key: "st-a"})
		up, down := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- hub.Serve(up, tls.NewListener(door, station.TLSConfig(own, nil))) }()
		var p station.Place
		select {
		case p = <-hub.Places(up):
		case <-time.After(30 * time.Second):
			t.Fatal("the station does not come")
		}
		r, err := p.Open(up)
		must(t, err)
		must(t, r.Insert(up, [8]byte{1}))
		if atr, err := r.Reset(up); err != nil || uicc.ATR(atr).Check() != nil {
			t.Errorf("%X, %v", atr, err)
		}
		down()
		must(t, <-ended)
		door, err = net.Listen("tcp", address)
		must(t, err)
	}
	door.Close()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A station has what reaches chips, and nothing that keeps secrets.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	must(t, err)
	ours := []string{"ankan/durable", "ankan/uicc", "ankan/sim", "ankan/waiver", "ankan/aka", "ankan/scp", "ankan/gp", "ankan/suci", "ankan/simos", "ankan/pcsc", "ankan/station/slot", "ankan/station", "ankan/station/drawer", "ankan/cmd/ankan-station"}
	for _, dep := range strings.Fields(string(out)) {
		if strings.HasPrefix(dep, "ankan/") && !slices.Contains(ours, dep) {
			t.Errorf("ankan-station imports %s, want only %v", dep, ours)
		}
		if dep == "database/sql" || strings.Contains(dep, "sqlite") {
			t.Errorf("ankan-station imports %s: it keeps nothing", dep)
		}
	}
}

func testKeys(t *testing.T) scp.KeySet {
	t.Helper()
	k := bytes.Repeat([]byte{0x41}, 32)
	keys, err := scp.NewKeySet(k, k, k)
	must(t, err)
	return keys
}
