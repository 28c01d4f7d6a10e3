package audit

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestProofs(t *testing.T) {
	s := testSigner(t, "example.in/bureau", 1)
	for _, size := range []int{1, 2, 256, 257, 700} {
		files := exported(t, s, testLeaves(t, size))
		for _, i := range []int{0, size / 2, size - 1} {
			p, err := ProveFile(files, s.VerifierKey(), int64(i))
			if err != nil {
				t.Fatal(err)
			}
			p, err = ParseProof(p.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			e, c, err := p.Open(s.VerifierKey())
			if err != nil || e.Subject != testEntry(i).Subject || c.Size != int64(size) {
				t.Errorf("entry %d of %d: %v, %v, %v", i, size, e, c, err)
			}
		}
	}
}

func TestProofRefuses(t *testing.T) {
	s := testSigner(t, "log", 1)
	leaves := testLeaves(t, 700)
	files := exported(t, s, leaves)
	good, err := ProveFile(files, s.VerifierKey(), 300)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(p *Proof)
		want   Fault
	}{
		"other entry":      {func(p *Proof) { p.Leaf = leaves[301] }, Forged},
		"other index":      {func(p *Proof) { p.Index++ }, Forged},
		"index outside":    {func(p *Proof) { p.Index = 700 }, Forged},
		"hash changed":     {func(p *Proof) { p.Path[0][0] ^= 1 }, Forged},
		"hash missing":     {func(p *Proof) { p.Path = p.Path[1:] }, Forged},
		"hash too much":    {func(p *Proof) { p.Path = append(p.Path, Hash{}) }, Forged},
		"other tree":       {func(p *Proof) { p.Signed = signedOver(t, s, leaves[:600]) }, Forged},
		"other key":        {func(p *Proof) { p.Signed = signedOver(t, testSigner(t, "log", 2), leaves) }, WrongKey},
		"signature broken": {func(p *Proof) { p.Signed = bytes.Replace(p.Signed, []byte("\n700\n"), []byte("\n701\n"), 1) }, Forged},
		"not an entry": {func(p *Proof) {
			*p, err = ProveFile(exported(t, s, [][]byte{[]byte("{}")}), s.VerifierKey(), 0)
		}, NotCanonical},
	} {
		t.Run(name, func(t *testing.T) {
			p := good
			p.Path = append(p.Path[:0:0], good.Path...)
			tc.change(&p)
			if name == "not an entry" {
				if !errors.Is(err, NotCanonical) {
					t.Errorf("error %v", err)
				}
				return
			}
			if _, _, err := p.Open(s.VerifierKey()); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	for name, from := range map[string]struct {
		old, new string
		all      bool
	}{
		"header":       {proofHeader, "c2sp.org/tlog-proof@v2", false},
		"no entry":     {"extra ", "more ", false},
		"entry":        {"extra ", "extra !", false},
		"no index":     {"index ", "place ", false},
		"index":        {"index 300", "index x", false},
		"index zero":   {"index 300", "index 0300", false},
		"hash":         {"index 300\n", "index 300\nabc\n", false},
		"no end":       {"\n\n", "\n", true},
		"line endings": {"\n", "\r\n", true},
		"too long":     {"extra ", "extra " + strings.Repeat("A", maxProof), false},
		"many hashes":  {"index 300\n", "index 300\n" + strings.Repeat(Hash{}.String()+"\n", 64), false},
	} {
		n := 1
		if from.all {
			n = -1
		}
		if _, err := ParseProof([]byte(strings.Replace(string(good.Bytes()), from.old, from.new, n))); err == nil {
			t.Errorf("%s: the proof was parsed", name)
		}
	}
	for _, i := range []int64{-1, 700} {
		if _, err := ProveFile(files, s.VerifierKey(), i); err == nil {
			t.Errorf("entry %d was proven", i)
		}
		if _, err := Prove(good.Signed, s.VerifierKey(), i, nil, nil); err == nil {
			t.Errorf("entry %d was proven", i)
		}
	}
	files["tile/0/002.p/188"].Data[0] ^= 1
	if _, err := ProveFile(files, s.VerifierKey(), 300); !errors.Is(err, Altered) {
		t.Errorf("error %v with an altered tile, want %q", err, Altered)
	}
	delete(files, "tile/0/002.p/188")
	if _, err := ProveFile(files, s.VerifierKey(), 300); !errors.Is(err, Truncated) {
		t.Errorf("error %v with a missing tile, want %q", err, Truncated)
	}
}

func TestContinues(t *testing.T) {
	s := testSigner(t, "log", 1)
	leaves := testLeaves(t, 700)
	open := func(s *Signer, leaves [][]byte) Checkpoint {
		c, err := OpenCheckpoint(signedOver(t, s, leaves), s.VerifierKey())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	now := open(s, leaves)
	v, err := newVerifier(exported(t, s, leaves), s.VerifierKey(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 256, 300, 700} {
		if err := now.Continues(open(s, leaves[:n]), v.tile); err != nil {
			t.Errorf("from %d: %v", n, err)
		}
	}
	swapped := append([][]byte{leaves[1], leaves[0]}, leaves[2:]...)
	for name, tc := range map[string]struct {
		older Checkpoint
		want  Fault
	}{
		"other history":           {open(s, swapped[:300]), Rewritten},
		"other history, as large": {open(s, swapped), Rewritten},
		"other nothing":           {Checkpoint{Origin: "log"}, Rewritten},
		"larger":                  {Checkpoint{Origin: "log", Size: 701}, Truncated},
		"other log":               {Checkpoint{Origin: "other"}, WrongKey},
	} {
		if err := now.Continues(tc.older, v.tile); !errors.Is(err, tc.want) {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
	wrong := func(level int, n int64, width int) (Tile, error) { return Tile{}, nil }
	if err := now.Continues(open(s, leaves[:300]), wrong); !errors.Is(err, Altered) {
		t.Errorf("error %v with wrong tiles", err)
	}
}

func FuzzParseProof(f *testing.F) {
	s := testSigner(f, "log", 1)
	files := exported(f, s, testLeaves(f, 3))
	for i := range int64(3) {
		p, err := ProveFile(files, s.VerifierKey(), i)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseProof(data)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Bytes(), data) {
			t.Fatalf("%q renders as %q", data, p.Bytes())
		}
		_, _, _ = p.Open(s.VerifierKey())
	})
}
