package conformance_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"ankan/audit"
	"ankan/conformance"
	"ankan/profile"
	"ankan/scp"
	"ankan/simos"
	"ankan/uicc"
)

// slot is a reader with one software chip in it.
type slot struct {
	*simos.Chip
	change func(cmd, answer []byte) []byte // nil: the chip's own answer
}

func (s *slot) Reset(context.Context) (uicc.ATR, error) { return s.Chip.Reset(), nil }

func (s *slot) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	answer, err := s.Chip.Transmit(ctx, cmd)
	if err == nil && s.change != nil {
		answer = s.change(cmd, bytes.Clone(answer))
	}
	return answer, err
}

func vendor() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)) }

func testKeys(t testing.TB, b byte) scp.KeySet {
	t.Helper()
	k := bytes.Repeat([]byte{b}, 32)
	keys, err := scp.NewKeySet(k, k, k)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func sample(t testing.TB) (conformance.Sample, *slot) {
	t.Helper()
	chip, err := simos.NewChip(simos.Config{Serial: simos.Serial{1, 2, 3}, Lot: "SAMPLE", Keys: testKeys(t, 0x40),
		Vendor: vendor().Public().(ed25519.PublicKey), Seed: make([]byte, 16), Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	image := simos.Image{Name: "os", Version: "1", Algorithms: []string{"MILENAGE"}, Body: bytes.Repeat([]byte("code"), 200)}
	signed, err := image.Sign(vendor())
	if err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Builtin("in-5g-usim")
	if err != nil {
		t.Fatal(err)
	}
	s := &slot{Chip: chip}
	return conformance.Sample{Reader: s, Keys: testKeys(t, 0x40), Image: signed, Digest: digest, Profile: p, Tear: chip.Tear, Now: time.Now}, s
}

func run(t testing.TB, s conformance.Sample) conformance.Report {
	t.Helper()
	n := 0
	r, err := conformance.Run(t.Context(), s, func(done int) { n = done })
	if err != nil {
		t.Fatal(err)
	}
	if n != len(conformance.IDs()) {
		t.Errorf("%d cases were told, want %d", n, len(conformance.IDs()))
	}
	return r
}

// The reference operating system passes every case, torn writes among them.
func TestReference(t *testing.T) {
	s, _ := sample(t)
	for _, c := range run(t, s).Cases {
		if c.Result != conformance.Pass {
			t.Errorf("%s: %s: %s", c.ID, c.Result, c.Seen)
		}
	}
}

// A reader that cannot tear leaves those cases to people.
func TestWithoutTearing(t *testing.T) {
	s, _ := sample(t)
	s.Tear = nil
	r := run(t, s)
	if r.Count(conformance.NotRun) != 2 || r.Count(conformance.Fail) != 0 || r.Count(conformance.Pass) != len(r.Cases)-2 {
		t.Errorf("%+v", r.Cases)
	}
}

// accept has the chip answer 9000 where it refuses a command.
func accept(refusal uicc.SW, of func(cmd []byte) bool) func(cmd, answer []byte) []byte {
	return func(cmd, answer []byte) []byte {
		if r := uicc.Response(answer); r.SW() == refusal && of(cmd) {
			return append(r.Data(), 0x90, 0x00)
		}
		return answer
	}
}

func instruction(ins ...byte) func([]byte) bool {
	return func(cmd []byte) bool { return bytes.IndexByte(ins, cmd[1]) >= 0 }
}

// An operating system that does something wrong fails the case for it.
func TestFaults(t *testing.T) {
	for id, change := range map[string]func(cmd, answer []byte) []byte{
		"load-clear":     accept(uicc.SWSecurity, func(cmd []byte) bool { return cmd[0] == 0x80 && cmd[1] == uicc.INSLoad }),
		"scp-mac":        accept(uicc.SWSecurity, func(cmd []byte) bool { return cmd[0] == 0x04 && cmd[1] == uicc.INSDeleteFile }),
		"access-open":    accept(uicc.SWSecurity, instruction(uicc.INSReadBinary)),
		"access-pin":     accept(uicc.SWSecurity, instruction(uicc.INSUpdateRecord)),
		"pin-count":      accept(uicc.TriesLeft(2), instruction(uicc.INSVerify)),
		"pin-block":      accept(uicc.SWBlocked, instruction(uicc.INSVerify)),
		"puk-count":      accept(uicc.TriesLeft(9), instruction(uicc.INSUnblock)),
		"adm-count":      accept(uicc.TriesLeft(9), instruction(uicc.INSVerify)),
		"puk-block":      accept(uicc.SWBlocked, instruction(uicc.INSUnblock)),
		"aka-mac":        accept(uicc.SWWrongMAC, instruction(uicc.INSAuthenticate)),
		"aka-pin":        accept(uicc.SWSecurity, instruction(uicc.INSAuthenticate)),
		"commands":       accept(uicc.SWInstruction, instruction(0x02)),
		"channels":       accept(uicc.SWChannel, instruction(uicc.INSSelect)),
		"blank-silent":   accept(uicc.SWSecurity, instruction(uicc.INSCreateFile)),
		"scp-cryptogram": accept(uicc.SWFailed, instruction(uicc.INSExternalAuthenticate)),
		"random": func(cmd, answer []byte) []byte {
			if cmd[1] == uicc.INSGetChallenge {
				return append(make([]byte, 8), 0x90, 0x00)
			}
			return answer
		},
		"aka": func(cmd, answer []byte) []byte {
			if cmd[1] == uicc.INSAuthenticate && len(answer) > 10 {
				answer[5] ^= 1
			}
			return answer
		},
	} {
		t.Run(id, func(t *testing.T) {
			s, chip := sample(t)
			chip.change = change
			r := run(t, s)
			i := slices.IndexFunc(r.Cases, func(c conformance.Result) bool { return c.ID == id })
			if c := r.Cases[i]; c.Result != conformance.Fail || c.Seen == "" {
				t.Errorf("%+v", c)
			}
		})
	}
}

// What does not get so far is not said to pass.
func TestNoCard(t *testing.T) {
	s, _ := sample(t)
	s.Digest[0] ^= 1
	r := run(t, s)
	for _, c := range r.Cases {
		if (c.ID == "load") != (c.Result == conformance.Fail) || c.ID == "aka" && c.Result != conformance.NotRun {
			t.Errorf("%+v", c)
		}
	}
}

func TestRefuses(t *testing.T) {
	s, _ := sample(t)
	s.Keys = testKeys(t, 0x41)
	if _, err := conformance.Run(t.Context(), s, func(int) {}); !errors.Is(err, conformance.ErrSample) {
		t.Errorf("other keys: %v", err)
	}
	s, _ = sample(t)
	run(t, s)
	if _, err := conformance.Run(t.Context(), s, func(int) {}); !errors.Is(err, conformance.ErrSample) {
		t.Errorf("a sample that was used: %v", err)
	}
}

func TestReportRefuses(t *testing.T) {
	s, _ := sample(t)
	good := run(t, s)
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*conformance.Report){
		"format":       func(r *conformance.Report) { r.Format = "x" },
		"image":        func(r *conformance.Report) { r.OS = "00" },
		"chip":         func(r *conformance.Report) { r.Chip = "zz" },
		"ends early":   func(r *conformance.Report) { r.Ended = r.Started.Add(-time.Second) },
		"case missing": func(r *conformance.Report) { r.Cases = r.Cases[1:] },
		"other title":  func(r *conformance.Report) { r.Cases[3].Title = "x" },
		"result":       func(r *conformance.Report) { r.Cases[3].Result = "good" },
		"no reason":    func(r *conformance.Report) { r.Cases[3].Result = conformance.Fail },
		"line break": func(r *conformance.Report) {
			r.Cases[3] = conformance.Result{ID: r.Cases[3].ID, Title: r.Cases[3].Title, Clause: r.Cases[3].Clause, Result: conformance.Fail, Seen: "a\nb"}
		},
	} {
		r := good
		r.Cases = slices.Clone(good.Cases)
		change(&r)
		if r.Check() == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}

func FuzzReport(f *testing.F) {
	r := conformance.Report{Format: conformance.Format, OS: strings.Repeat("0", 64), Profile: strings.Repeat("1", 64), Chip: "0102030405060708", ATR: "3B00", Started: time.Unix(1, 0).UTC(), Ended: time.Unix(2, 0).UTC(), Cases: conformance.Cases()}
	for i, result := range []string{conformance.Pass, conformance.Fail, conformance.NotRun} {
		for j := range r.Cases {
			if r.Cases[j].Result = result; i > 0 {
				r.Cases[j].Seen = "so it was"
			}
		}
		doc, err := json.Marshal(r)
		if err != nil || r.Check() != nil {
			f.Fatal(err, r.Check())
		}
		f.Add(doc)
	}
	f.Add([]byte(`{"cases":[{}]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var r, again conformance.Report
		if audit.Strict(doc, &r) != nil || r.Check() != nil {
			return
		}
		n := r.Count(conformance.Pass) + r.Count(conformance.Fail) + r.Count(conformance.NotRun)
		sent, err := json.Marshal(r)
		if err == nil {
			err = audit.Strict(sent, &again)
		}
		if err != nil || again.Check() != nil || n != len(conformance.IDs()) || r.Count(conformance.NotRun) == 0 && !r.Shows(conformance.IDs()...) {
			t.Errorf("%q is taken: %v, %v", doc, err, again.Check())
		}
	})
}
