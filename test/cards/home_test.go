package cards

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ankan/aka"
	"ankan/audit"
	"ankan/hlr"
	"ankan/hsm"
	"ankan/hsm/soft"
	"ankan/sim"
	"ankan/store"
	"ankan/store/storetest"
)

// Our own subscriber store, loaded by its loader.
func TestOurHLR(t *testing.T) {
	authenticate(t, func(t *testing.T, c *card, opc []byte) home { return loadOurs(t, c, opc) })
}

type ours struct{ auc *hlr.AuC }

func loadOurs(t *testing.T, c *card, opc []byte) ours {
	t.Helper()
	ctx := t.Context()
	dir := t.TempDir()
	token, err := soft.Create(filepath.Join(dir, "token"), []byte("a passphrase for tests"), soft.WithCost(soft.LowestCost()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.Generate(ctx, "subscriber", hsm.Subscriber, hsm.AES256); err != nil {
		t.Fatal(err)
	}
	if _, err := token.Generate(ctx, "log", hsm.LogSign, hsm.Ed25519); err != nil {
		t.Fatal(err)
	}
	key, err := token.Signer(ctx, "log")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := audit.NewSigner("operator.example/log", key)
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(ctx, store.Config{Path: storetest.New(t), Origin: "operator.example/log", Signer: signer}, hlr.Schema())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	auc, err := hlr.Open(ctx, st, token, "subscriber")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(auc.Close)
	imsi, err := sim.ParseIMSI(c.row["imsi"])
	if err != nil {
		t.Fatal(err)
	}
	iccid, err := sim.ParseICCID(c.row["iccid"])
	if err != nil {
		t.Fatal(err)
	}
	l, err := auc.Loader(hlr.Source{Order: "order", Actor: "person/1", Authentication: aka.Parameters{Algorithm: aka.MILENAGE}, AMF: aka.EPS(), SQN: 32})
	if err != nil {
		t.Fatal(err)
	}
	sealed := auc.DataKey().Seal(nil, append(c.bytes(t, "ki"), opc...), hlr.AAD(imsi))
	if err := l.Load(ctx, []hlr.Record{{IMSI: imsi, ICCID: iccid, Sealed: sealed}}); err != nil {
		t.Fatal(err)
	}
	return ours{auc}
}

func (o ours) vector(ctx context.Context, id sim.IMSI) (vector, error) {
	all, err := o.auc.Vectors(ctx, id, 1)
	if err != nil {
		return vector{}, err
	}
	v := &all[0]
	return vector{v.RAND, v.AUTN, [8]byte(v.RES()), [16]byte(v.CK()), [16]byte(v.IK())}, nil
}

func (o ours) resync(ctx context.Context, id sim.IMSI, rand aka.RAND, auts aka.AUTS) error {
	return o.auc.Resync(ctx, id, rand, auts)
}

// osmo-hlr, asked as an MSC or SGSN asks it.
func TestOsmoHLR(t *testing.T) {
	authenticate(t, func(t *testing.T, c *card, opc []byte) home { return loadOsmo(t, c, opc) })
}

// osmo is a connection to osmo-hlr in GSUP, in the frames of IPA.
type osmo struct {
	conn net.Conn
	in   *bufio.Reader
}

func loadOsmo(t *testing.T, c *card, opc []byte) *osmo {
	t.Helper()
	dir := t.TempDir()
	db, conf := filepath.Join(dir, "hlr.db"), filepath.Join(dir, "hlr.cfg")
	text := "line vty\n bind 127.0.0.1\nctrl\n bind 127.0.0.1\nhlr\n gsup\n  bind ip 127.0.0.1\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ran(t, "osmo-hlr-db-tool", "-l", db, "create")
	start(t, exec.Command("osmo-hlr", "-c", conf, "-l", db))
	vty(t, fmt.Sprintf("subscriber imsi %s create", c.row["imsi"]),
		fmt.Sprintf("subscriber imsi %s update aud3g milenage k %s opc %x ind-bitlen 5", c.row["imsi"], c.row["ki"], opc))
	conn := dial(t, "127.0.0.1:4222")
	t.Cleanup(func() { conn.Close() })
	o := &osmo{conn: conn, in: bufio.NewReader(conn)}
	if err := o.greet(); err != nil {
		t.Fatalf("osmo-hlr: %v", err)
	}
	return o
}

// dial connects to a server that is coming up.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// vty gives osmo-hlr commands, as its operator types them.
func vty(t *testing.T, commands ...string) {
	t.Helper()
	conn := dial(t, "127.0.0.1:4258")
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	prompt := func(mark byte) string {
		said, err := in.ReadString(mark)
		if err != nil {
			t.Fatalf("osmo-hlr's terminal: %v: %q", err, said)
		}
		return said
	}
	prompt('>')
	fmt.Fprint(conn, "enable\r\n")
	prompt('#')
	for _, c := range commands {
		fmt.Fprint(conn, c+"\r\n")
		if said := prompt('#'); strings.Contains(said, "%") && !strings.Contains(said, "% Created") {
			t.Fatalf("osmo-hlr says %q", said)
		}
	}
}

// Streams of IPA, and its messages about the connection (3GPP2 has none of it;
// it is ip.access's, as libosmocore's ipa.h has it).
const (
	ipaCCM  = 0xFE
	ipaOsmo = 0xEE
	ipaGSUP = 0x05 // within ipaOsmo
)

func (o *osmo) send(stream byte, b ...byte) error {
	frame := binary.BigEndian.AppendUint16(nil, uint16(len(b)))
	_, err := o.conn.Write(append(append(frame, stream), b...))
	return err
}

func (o *osmo) receive() (stream byte, b []byte, err error) {
	o.conn.SetDeadline(time.Now().Add(patience))
	var head [3]byte
	if _, err := io.ReadFull(o.in, head[:]); err != nil {
		return 0, nil, err
	}
	b = make([]byte, binary.BigEndian.Uint16(head[:]))
	_, err = io.ReadFull(o.in, b)
	return head[2], b, err
}

// next is the next message of GSUP; those about the connection are answered.
func (o *osmo) next() ([]byte, error) {
	for {
		stream, b, err := o.receive()
		switch {
		case err != nil:
			return nil, err
		case stream == ipaOsmo && len(b) > 1 && b[0] == ipaGSUP:
			return b[1:], nil
		case stream == ipaCCM && len(b) > 0 && b[0] == 0x00: // ping
			if err := o.send(ipaCCM, 0x01); err != nil {
				return nil, err
			}
		}
	}
}

// greet says who asks, when osmo-hlr wants to know.
func (o *osmo) greet() error {
	for {
		stream, b, err := o.receive()
		if err != nil {
			return err
		}
		if stream != ipaCCM || len(b) == 0 || b[0] != 0x04 {
			continue
		}
		identity := []byte{0x05} // each: length of tag and value, tag, value with its end
		for _, p := range []struct {
			tag   byte
			value string
		}{{0x08, "0/0/0\x00"}, {0x01, "ankan-test\x00"}, {0x00, "ankan-test\x00"}} {
			identity = binary.BigEndian.AppendUint16(identity, uint16(1+len(p.value)))
			identity = append(append(identity, p.tag), p.value...)
		}
		return o.send(ipaCCM, identity...)
	}
}

// Messages and elements of GSUP (osmo-hlr's protocol: libosmocore's gsup.h).
const (
	gsupAuthRequest = 0x08
	gsupAuthError   = 0x09
	gsupAuthResult  = 0x0A
	gsupIMSI        = 0x01
	gsupTuple       = 0x03
	gsupRAND        = 0x20
	gsupIK          = 0x23
	gsupCK          = 0x24
	gsupAUTN        = 0x25
	gsupAUTS        = 0x26
	gsupRES         = 0x27
	gsupDomain      = 0x28
)

func element(dst []byte, tag byte, value ...byte) []byte {
	return append(append(dst, tag, byte(len(value))), value...)
}

// bcd are digits, two a byte, the first in the low half, filled with F.
func bcd(digits string) (b []byte) {
	if len(digits)%2 == 1 {
		digits += "\x3F"
	}
	for i := 0; i < len(digits); i += 2 {
		b = append(b, digits[i]&15|digits[i+1]<<4)
	}
	return b
}

// elements are those of a message, of each tag the first.
func elements(b []byte) (map[byte][]byte, error) {
	m := map[byte][]byte{}
	for len(b) > 0 {
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return nil, errors.New("GSUP: an element is cut off")
		}
		if _, ok := m[b[0]]; !ok {
			m[b[0]] = b[2 : 2+b[1]]
		}
		b = b[2+int(b[1]):]
	}
	return m, nil
}

func (o *osmo) ask(id sim.IMSI, more ...byte) (v vector, err error) {
	b := element([]byte{ipaGSUP, gsupAuthRequest}, gsupIMSI, bcd(id.String())...)
	b = element(b, gsupDomain, 1) // packet switched
	if err := o.send(ipaOsmo, append(b, more...)...); err != nil {
		return v, err
	}
	answer, err := o.next()
	if err != nil {
		return v, err
	}
	if answer[0] != gsupAuthResult {
		return v, fmt.Errorf("osmo-hlr answers %X", answer)
	}
	message, err := elements(answer[1:])
	if err != nil {
		return v, err
	}
	tuple, err := elements(message[gsupTuple])
	if err != nil {
		return v, err
	}
	for tag, field := range map[byte][]byte{gsupRAND: v.RAND[:], gsupAUTN: v.AUTN[:], gsupRES: v.RES[:], gsupCK: v.CK[:], gsupIK: v.IK[:]} {
		if copy(field, tuple[tag]) != len(field) || len(tuple[tag]) != len(field) {
			return v, fmt.Errorf("osmo-hlr's vector has %d bytes of element %02X, want %d", len(tuple[tag]), tag, len(field))
		}
	}
	return v, nil
}

func (o *osmo) vector(_ context.Context, id sim.IMSI) (vector, error) { return o.ask(id) }

// resync gives back what the card said; osmo-hlr answers with fresh vectors.
func (o *osmo) resync(_ context.Context, id sim.IMSI, rand aka.RAND, auts aka.AUTS) error {
	_, err := o.ask(id, element(element(nil, gsupAUTS, auts[:]...), gsupRAND, rand[:]...)...)
	return err
}
