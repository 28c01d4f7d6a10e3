package scp

import (
	"bytes"
	"context"
	"crypto/aes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"ankan/uicc"
)

// scp03.json holds published sessions; their card challenges are those of an
// ISD-R, see TestVectorsCard.
type vectorFile struct {
	Plain   map[string]hexBytes
	Vectors []map[string]string
	KCV     []struct{ Key, KCV hexBytes }
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func load(t testing.TB, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

func vectors(t testing.TB) vectorFile {
	t.Helper()
	var f vectorFile
	load(t, "scp03.json", &f)
	if len(f.Vectors) == 0 || len(f.KCV) == 0 {
		t.Fatal("testdata/scp03.json holds no vectors")
	}
	return f
}

// A tape is a card that wants exactly these commands and gives these answers.
type tape struct {
	t     testing.TB
	steps [][2][]byte
}

func (p *tape) Transmit(_ context.Context, cmd []byte) ([]byte, error) {
	p.t.Helper()
	if len(p.steps) == 0 {
		return nil, errors.New("the tape has ended")
	}
	want, resp := p.steps[0][0], p.steps[0][1]
	p.steps = p.steps[1:]
	if !bytes.Equal(cmd, want) {
		p.t.Errorf("sent %x, want %x", cmd, want)
	}
	return bytes.Clone(resp), nil
}

func staticKeys(t testing.TB, v map[string]string) KeySet {
	t.Helper()
	ks, err := NewKeySet(unhex(t, v["enc"]), unhex(t, v["mac"]), unhex(t, v["dek"]))
	if err != nil {
		t.Fatal(err)
	}
	return ks
}

var cases = []string{"case_1_apdu", "case_2_apdu", "case_3_apdu", "case_4_apdu"}

func TestVectorsHost(t *testing.T) {
	f := vectors(t)
	for _, v := range f.Vectors {
		t.Run(v["name"], func(t *testing.T) {
			init := unhex(t, v["init_upd_cmd"])
			level := unhex(t, v["security_level"])[0]
			steps := [][2][]byte{
				{init, append(unhex(t, v["init_upd_rsp"]), 0x90, 0)},
				{unhex(t, v["ext_auth_cmd"]), {0x90, 0}},
				{unhex(t, v["get_eid_cmd"]), append(unhex(t, v["get_eid_rsp"]), 0x90, 0)},
			}
			for _, c := range cases {
				// An error status carries no MAC, so that no answer is needed.
				steps = append(steps, [2][]byte{unhex(t, v[c]), {0x6A, 0x88}})
			}
			card := &tape{t: t, steps: steps}
			ctx := context.Background()
			ch, err := Open(ctx, card, staticKeys(t, v), Options{
				KeyVersion: init[2], Level: Level(level), Random: bytes.NewReader(init[5:13]),
			})
			if err != nil {
				t.Fatal(err)
			}
			resp, err := ch.Transmit(ctx, f.Plain["get_eid_cmd"])
			if err != nil {
				t.Fatal(err)
			}
			if want := append(bytes.Clone(f.Plain["get_eid_rsp"]), 0x90, 0); !bytes.Equal(resp, want) {
				t.Errorf("response %x, want %x", resp, want)
			}
			for _, c := range cases {
				if _, err := ch.Transmit(ctx, f.Plain[c]); err != nil {
					t.Fatal(err)
				}
			}
			if len(card.steps) != 0 {
				t.Errorf("%d commands were not sent", len(card.steps))
			}
		})
	}
}

func TestVectorsCard(t *testing.T) {
	f := vectors(t)
	for _, v := range f.Vectors {
		t.Run(v["name"], func(t *testing.T) {
			init, greeting := unhex(t, v["init_upd_cmd"]), unhex(t, v["init_upd_rsp"])
			g := Greeting{
				Diversification: [10]byte(greeting),
				KeyVersion:      greeting[10],
				Challenge:       greeting[13:21],
				PseudoRandom:    true,
				Sequence:        uint32(greeting[31]),
			}
			// The card is an eUICC: its ISD-R speaks.
			challenge, err := staticKeys(t, v).Challenge(g.Sequence, unhex(t, "a0000005591010ffffffff8900000100"), 8)
			if err != nil || !bytes.Equal(challenge, g.Challenge) {
				t.Errorf("challenge %x, %v, want %x", challenge, err, g.Challenge)
			}
			var r Responder
			got, err := r.Initialize(nil, staticKeys(t, v), g, init[5:13])
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, greeting) {
				t.Errorf("INITIALIZE UPDATE answers %x, want %x", got, greeting)
			}
			if err := r.Authenticate(unhex(t, v["ext_auth_cmd"])); err != nil {
				t.Fatal(err)
			}
			if got, want := fmt.Sprintf("%02x", byte(r.Level())), v["security_level"]; got != want {
				t.Errorf("level %s, want %s", got, want)
			}
			for _, c := range append([]string{"get_eid_cmd"}, cases...) {
				plain, err := r.Unwrap(unhex(t, v[c]))
				if err != nil {
					t.Fatalf("%s: %v", c, err)
				}
				want, err := uicc.ParseCommand(f.Plain[c])
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(plain.Append(nil), want.Append(nil)) || plain.Le != want.Le {
					t.Errorf("%s: %x, want %x", c, plain.Append(nil), f.Plain[c])
				}
				if c == "get_eid_cmd" {
					resp := r.Wrap(nil, append(bytes.Clone(f.Plain["get_eid_rsp"]), 0x90, 0))
					if want := append(unhex(t, v["get_eid_rsp"]), 0x90, 0); !bytes.Equal(resp, want) {
						t.Errorf("response %x, want %x", resp, want)
					}
				}
			}
		})
	}
}

func TestVectorsCheckValue(t *testing.T) {
	for _, v := range vectors(t).KCV {
		got, err := CheckValue(v.Key)
		if err != nil || !bytes.Equal(got[:], v.KCV) {
			t.Errorf("%x, %v, want %x", got, err, v.KCV)
		}
	}
}

func TestVectorsCMAC(t *testing.T) {
	var f struct {
		Message hexBytes
		Vectors []struct {
			Key, MAC hexBytes
			Length   int
		}
	}
	load(t, "cmac.json", &f)
	if len(f.Vectors) == 0 {
		t.Fatal("testdata/cmac.json holds no vectors")
	}
	for _, v := range f.Vectors {
		b, err := aes.NewCipher(v.Key)
		if err != nil {
			t.Fatal(err)
		}
		m := f.Message[:v.Length]
		if got := SumCMAC(b, m); !bytes.Equal(got[:], v.MAC) {
			t.Errorf("AES-%d, %d bytes: %x, want %x", 8*len(v.Key), v.Length, got, v.MAC)
		}
		// In pieces of every size it is the same.
		for size := 1; size < len(m); size++ {
			c := new(cmac)
			c.init(b)
			for p := range slices.Chunk(m, size) {
				c.write(p)
			}
			if !bytes.Equal(c.sum()[:], v.MAC) {
				t.Errorf("AES-%d, %d bytes in pieces of %d differ", 8*len(v.Key), v.Length, size)
			}
		}
	}
}
