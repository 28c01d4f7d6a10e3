package cards

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"ankan/aka"
	"ankan/sim"
)

// A vector is one of MILENAGE, from whichever home.
type vector struct {
	RAND   aka.RAND
	AUTN   aka.AUTN
	RES    [8]byte
	CK, IK [16]byte
}

// A home is where a network gets its vectors: an HLR.
type home interface {
	vector(ctx context.Context, id sim.IMSI) (vector, error)
	resync(ctx context.Context, id sim.IMSI, rand aka.RAND, auts aka.AUTS) error
}

// A gateway answers hostapd's questions for vectors from a home. hostapd asks at
// a datagram socket, in text:
//
//	AKA-REQ-AUTH imsi          AKA-RESP-AUTH imsi RAND AUTN IK CK RES, or FAILURE
//	AKA-AUTS imsi AUTS RAND    no answer
type gateway struct {
	home           home
	path           string
	asked, resyncs atomic.Int32
}

func startGateway(t *testing.T, h home) *gateway {
	t.Helper()
	g := &gateway{home: h, path: filepath.Join(t.TempDir(), "gateway")}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: g.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	ctx := context.WithoutCancel(t.Context())
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUnix(buf)
			if err != nil {
				return
			}
			if answer := g.answer(ctx, t, string(buf[:n])); answer != "" {
				conn.WriteToUnix([]byte(answer), from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return g
}

func (g *gateway) answer(ctx context.Context, t *testing.T, question string) string {
	f := strings.Fields(question)
	if len(f) < 2 {
		t.Errorf("hostapd asks %q", question)
		return ""
	}
	id, err := sim.ParseIMSI(f[1])
	if err != nil {
		t.Errorf("hostapd asks %q: %v", question, err)
		return ""
	}
	switch {
	case f[0] == "AKA-REQ-AUTH":
		g.asked.Add(1)
		v, err := g.home.vector(ctx, id)
		if err != nil {
			t.Errorf("no vector: %v", err)
			return fmt.Sprintf("AKA-RESP-AUTH %s FAILURE", id)
		}
		return fmt.Sprintf("AKA-RESP-AUTH %s %x %x %x %x %x", id, v.RAND, v.AUTN, v.IK, v.CK, v.RES)
	case f[0] == "AKA-AUTS" && len(f) == 4:
		g.resyncs.Add(1)
		auts, err1 := hex.DecodeString(f[2])
		rand, err2 := hex.DecodeString(f[3])
		if err1 != nil || err2 != nil || len(auts) != 14 || len(rand) != 16 {
			t.Errorf("hostapd says %q", question)
			return ""
		}
		if err := g.home.resync(ctx, id, aka.RAND(rand), aka.AUTS(auts)); err != nil {
			t.Errorf("resynchronisation: %v", err)
		}
		return ""
	}
	t.Errorf("hostapd asks %q", question)
	return ""
}

const secret = "a secret for tests"

// startNetwork runs hostapd as the network's authentication server, without a
// radio. It returns once hostapd is ready.
func startNetwork(t *testing.T, g *gateway) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	conf := write("hostapd.conf", strings.Join([]string{
		"driver=none", "interface=lo", "eap_server=1",
		"radius_server_auth_port=1812",
		"radius_server_clients=" + write("clients", "127.0.0.0/8 "+secret+"\n"),
		"eap_user_file=" + write("users", "\"0\"* AKA\n* AKA\n"),
		"eap_sim_db=unix:" + g.path,
		"",
	}, "\n"))
	start(t, exec.Command("hostapd", conf)).await(t, "AP-ENABLED")
}

// phone has eapol_test authenticate with the card in the first reader, and
// returns what it says.
func phone(t *testing.T) (said string, authenticated bool) {
	t.Helper()
	conf := filepath.Join(t.TempDir(), "phone.conf")
	text := "network={\n\tkey_mgmt=WPA-EAP\n\teap=AKA\n\tpcsc=\"\"\n}\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "eapol_test", "-c", conf, "-a", "127.0.0.1", "-p", "1812", "-s", secret, "-R", readers[0].name, "-t", "40")
	out, err := cmd.CombinedOutput()
	said = string(out)
	authenticated = err == nil && strings.HasSuffix(strings.TrimSpace(said), "SUCCESS")
	if !authenticated && !strings.HasSuffix(strings.TrimSpace(said), "FAILURE") {
		t.Fatalf("eapol_test: %v\n%s", err, said)
	}
	return said, authenticated
}

// A phone with our card in a reader goes through EAP-AKA (RFC 4187) with a
// network whose vectors come from a home that holds the card's keys: twice, and
// a third time after the home forgot which sequence numbers it gave. With one
// wrong bit in the home's OPc the card refuses.
func authenticate(t *testing.T, open func(t *testing.T, c *card, opc []byte) home) {
	c := newCard(t)
	c.insert(t)
	t.Run("right", func(t *testing.T) {
		g := startGateway(t, open(t, c, c.bytes(t, "opc")))
		startNetwork(t, g)
		for range 2 {
			if said, ok := phone(t); !ok {
				t.Fatalf("the card is refused:\n%s", said)
			}
		}
		if g.asked.Load() != 2 || g.resyncs.Load() != 0 {
			t.Errorf("%d questions and %d resynchronisations, want 2 and 0", g.asked.Load(), g.resyncs.Load())
		}
	})
	t.Run("restored from an old backup", func(t *testing.T) {
		g := startGateway(t, open(t, c, c.bytes(t, "opc")))
		startNetwork(t, g)
		if said, ok := phone(t); !ok {
			t.Fatalf("the card is refused:\n%s", said)
		}
		if g.resyncs.Load() != 1 {
			t.Errorf("%d resynchronisations, want 1", g.resyncs.Load())
		}
	})
	t.Run("one wrong bit", func(t *testing.T) {
		opc := c.bytes(t, "opc")
		opc[7] ^= 0x10
		g := startGateway(t, open(t, c, opc))
		startNetwork(t, g)
		if said, ok := phone(t); ok {
			t.Fatalf("the card takes a network that does not know its keys:\n%s", said)
		}
		if g.asked.Load() == 0 {
			t.Error("the network never asked for a vector: something else failed")
		}
	})
}
