package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

var testStart = time.Date(2026, 7, 1, 9, 30, 0, 0, time.UTC)

func testEntry(n int) Entry {
	return Entry{
		Time: testStart.Add(time.Duration(n) * time.Second), Kind: "card.made", Actor: "station-1",
		Subject: fmt.Sprintf("8991%015d", n), Data: map[string]any{"batch": "B-7", "n": n},
	}
}

// testSigner is a signer whose key grows from its name.
func testSigner(t testing.TB, name string, seed byte) *Signer {
	t.Helper()
	s, err := NewSigner(name, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testLeaves(t testing.TB, n int) [][]byte {
	t.Helper()
	leaves := make([][]byte, n)
	for i := range leaves {
		var err error
		if leaves[i], err = testEntry(i).Leaf(); err != nil {
			t.Fatal(err)
		}
	}
	return leaves
}

func signedOver(t testing.TB, s *Signer, leaves [][]byte) []byte {
	t.Helper()
	var tree Tree
	for _, leaf := range leaves {
		if err := tree.Append(LeafHash(leaf), nil); err != nil {
			t.Fatal(err)
		}
	}
	signed, err := Checkpoint{Origin: s.Name(), Size: tree.Size(), Root: tree.Root()}.Sign(s)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func sequence(leaves [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, leaf := range leaves {
			if !yield(leaf, nil) {
				return
			}
		}
	}
}

// exported is a log of the leaves in memory.
func exported(t testing.TB, s *Signer, leaves [][]byte) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	_, err := Export(signedOver(t, s, leaves), s.VerifierKey(), sequence(leaves), func(path string, data []byte) error {
		if files[path] != nil {
			t.Errorf("%s is written twice", path)
		}
		files[path] = &fstest.MapFile{Data: bytes.Clone(data)}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestExportAndVerify(t *testing.T) {
	s := testSigner(t, "example.in/bureau", 1)
	for _, size := range []int{0, 1, 2, 255, 256, 257, 1000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			leaves := testLeaves(t, size)
			seen := 0
			r, err := Verify(exported(t, s, leaves), s.VerifierKey(), Options{
				Since: signedOver(t, s, leaves[:size/2]),
				Visit: func(i int64, e Entry) error {
					if int64(seen) != i || e.Subject != testEntry(seen).Subject {
						t.Errorf("entry %d is %v", i, e)
					}
					seen++
					return nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if seen != size || r.Entries != int64(size) || r.Size != int64(size) || r.Since.Size != int64(size/2) {
				t.Errorf("report %+v after %d entries, want %d", r, seen, size)
			}
			if size > 0 && (!r.First.Equal(testStart) || !r.Last.Equal(testEntry(size-1).Time)) {
				t.Errorf("times %s to %s", r.First, r.Last)
			}
		})
	}
}

// bundleOf reads the leaves of a bundle, and put writes them back.
func bundleOf(t *testing.T, files fstest.MapFS, path string) [][]byte {
	t.Helper()
	leaves, err := splitBundle(files[path].Data)
	if err != nil {
		t.Fatal(err)
	}
	return leaves
}

func put(files fstest.MapFS, path string, leaves [][]byte) {
	var b []byte
	for _, leaf := range leaves {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(leaf))), leaf...)
	}
	files[path] = &fstest.MapFile{Data: b}
}

// TestTampering does to a log of 1,000 entries everything that somebody with
// write access could, and expects each to be called by its name.
func TestTampering(t *testing.T) {
	s := testSigner(t, "example.in/bureau", 1)
	other := testSigner(t, "example.in/bureau", 2)
	leaves := testLeaves(t, 1000)
	good := exported(t, s, leaves)
	older := signedOver(t, s, leaves[:500])
	const second = "tile/entries/001"
	for name, tc := range map[string]struct {
		do    func(t *testing.T, f fstest.MapFS)
		since []byte
		want  Fault
		say   string
	}{
		"entry altered": {func(t *testing.T, f fstest.MapFS) {
			f[second].Data = bytes.Replace(f[second].Data, []byte("000000300"), []byte("000000301"), 1)
		}, nil, Altered, "tile/entries/001: entry 300"},
		"entry dropped": {func(t *testing.T, f fstest.MapFS) {
			l := bundleOf(t, f, second)
			put(f, second, append(l[:10:10], l[11:]...))
		}, nil, Dropped, "tile/entries/001: entry 266"},
		"last entry dropped": {func(t *testing.T, f fstest.MapFS) {
			put(f, second, bundleOf(t, f, second)[:255])
		}, nil, Dropped, "tile/entries/001: entry 511"},
		"entry dropped, the rest moved up": {func(t *testing.T, f fstest.MapFS) {
			l := bundleOf(t, f, second)
			put(f, second, append(append(l[:10:10], l[11:]...), leaves[512]))
		}, nil, Dropped, "entry 266"},
		"entry added": {func(t *testing.T, f fstest.MapFS) {
			l := bundleOf(t, f, second)
			put(f, second, append(append(l[:10:10], leaves[0]), l[10:]...))
		}, nil, Added, "entry 266"},
		"entry added at the end": {func(t *testing.T, f fstest.MapFS) {
			put(f, second, append(bundleOf(t, f, second), leaves[0]))
		}, nil, Added, "entry 512"},
		"entries exchanged": {func(t *testing.T, f fstest.MapFS) {
			l := bundleOf(t, f, second)
			l[3], l[9] = l[9], l[3]
			put(f, second, l)
		}, nil, Reordered, "entry 259: reordered: the entry in its place is entry 265"},
		"bundle cut in an entry": {func(t *testing.T, f fstest.MapFS) {
			f[second].Data = f[second].Data[:1000]
		}, nil, Altered, second},
		"bundle with a lone byte": {func(t *testing.T, f fstest.MapFS) {
			f[second].Data = append(f[second].Data, 0)
		}, nil, Altered, second},
		"bundle too long": {func(t *testing.T, f fstest.MapFS) {
			f[second].Data = make([]byte, maxFile+1)
		}, nil, Altered, second},
		"bundle missing": {func(t *testing.T, f fstest.MapFS) { delete(f, second) }, nil, Missing, second},
		"tile missing":   {func(t *testing.T, f fstest.MapFS) { delete(f, "tile/0/001") }, nil, Missing, "tile/0/001"},
		"upper tile missing": {func(t *testing.T, f fstest.MapFS) {
			delete(f, "tile/1/000.p/3")
		}, nil, Missing, "tile/1/000.p/3"},
		"checkpoint missing": {func(t *testing.T, f fstest.MapFS) { delete(f, "checkpoint") }, nil, Missing, "checkpoint"},
		"tile altered": {func(t *testing.T, f fstest.MapFS) {
			f["tile/0/001"].Data[100] ^= 1
		}, nil, Altered, "its hash 1 is not that of tile/0/001"},
		"tile short": {func(t *testing.T, f fstest.MapFS) {
			f["tile/0/001"].Data = f["tile/0/001"].Data[:8000]
		}, nil, Altered, "8000 bytes, want 8192"},
		"end cut off": {func(t *testing.T, f fstest.MapFS) {
			delete(f, "tile/0/003.p/232")
			delete(f, "tile/entries/003.p/232")
		}, nil, Truncated, "the checkpoint signs 1000 entries, the files hold 768"},
		"end of the entries cut off": {func(t *testing.T, f fstest.MapFS) {
			delete(f, "tile/entries/003.p/232")
		}, nil, Truncated, "the files hold 768"},
		"log and checkpoint taken back": {func(t *testing.T, f fstest.MapFS) {
			clear(f)
			maps.Copy(f, exported(t, s, leaves[:400]))
		}, older, Truncated, "it has 400 entries, the older checkpoint signs 500"},
		"history rewritten and signed anew": {func(t *testing.T, f fstest.MapFS) {
			l := append([][]byte{}, leaves...)
			l[7] = l[8]
			clear(f)
			maps.Copy(f, exported(t, s, l))
		}, older, Rewritten, "its first 500 entries"},
		"all files rewritten": {func(t *testing.T, f fstest.MapFS) {
			l := append([][]byte{}, leaves...)
			l[7] = leaves[8]
			signed := f["checkpoint"]
			clear(f)
			maps.Copy(f, exported(t, s, l))
			f["checkpoint"] = signed
		}, nil, Rewritten, "its checkpoint signs"},
		"checkpoint's size forged": {func(t *testing.T, f fstest.MapFS) {
			f["checkpoint"].Data = bytes.Replace(f["checkpoint"].Data, []byte("\n1000\n"), []byte("\n768\n"), 1)
		}, nil, Forged, "does not fit"},
		"checkpoint is not a note": {func(t *testing.T, f fstest.MapFS) {
			f["checkpoint"].Data = []byte("1000\n")
		}, nil, Forged, "checkpoint"},
		"signed by another key": {func(t *testing.T, f fstest.MapFS) {
			f["checkpoint"].Data = signedOver(t, other, leaves)
		}, nil, WrongKey, "want example.in/bureau+"},
		"older checkpoint by another key": {func(t *testing.T, f fstest.MapFS) {}, signedOver(t, other, leaves[:500]), WrongKey, "older checkpoint"},
		"time runs backwards": {func(t *testing.T, f fstest.MapFS) {
			clear(f)
			maps.Copy(f, exported(t, s, [][]byte{leaves[1], leaves[0]}))
		}, nil, Backwards, "entry 1"},
		"entry not canonical": {func(t *testing.T, f fstest.MapFS) {
			clear(f)
			maps.Copy(f, exported(t, s, [][]byte{leaves[0], []byte("{}")}))
		}, nil, NotCanonical, "entry 1"},
	} {
		t.Run(name, func(t *testing.T) {
			files := fstest.MapFS{}
			for path, f := range good {
				files[path] = &fstest.MapFile{Data: bytes.Clone(f.Data)}
			}
			tc.do(t, files)
			_, err := Verify(files, s.VerifierKey(), Options{Since: tc.since})
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.say) {
				t.Errorf("error %v, want %q with %q", err, tc.want, tc.say)
			}
		})
	}
}

func TestVerifyHandsOutNothingUnproven(t *testing.T) {
	s := testSigner(t, "log", 1)
	files := exported(t, s, testLeaves(t, 600))
	files["tile/0/002.p/88"].Data[0] ^= 1
	_, err := Verify(files, s.VerifierKey(), Options{Visit: func(int64, Entry) error {
		t.Error("an entry was handed out of a log whose tree is not the signed one")
		return errors.New("stop")
	}})
	if !errors.Is(err, Rewritten) {
		t.Errorf("error %v", err)
	}
}

func TestVisitEnds(t *testing.T) {
	s := testSigner(t, "log", 1)
	stop := errors.New("stop")
	r, err := Verify(exported(t, s, testLeaves(t, 3)), s.VerifierKey(), Options{Visit: func(int64, Entry) error { return stop }})
	if err != stop || r.Entries != 1 {
		t.Errorf("%d entries, error %v", r.Entries, err)
	}
}

func TestExportRefuses(t *testing.T) {
	s := testSigner(t, "log", 1)
	leaves := testLeaves(t, 300)
	signed := signedOver(t, s, leaves)
	full := errors.New("disk full")
	for name, tc := range map[string]struct {
		vkey   string
		leaves iter.Seq2[[]byte, error]
		create error
		want   error
	}{
		"too few":     {s.VerifierKey(), sequence(leaves[:299]), nil, Truncated},
		"others":      {s.VerifierKey(), sequence(append(leaves[1:300:300], leaves[0])), nil, Rewritten},
		"wrong key":   {testSigner(t, "log", 2).VerifierKey(), sequence(leaves), nil, WrongKey},
		"cannot read": {s.VerifierKey(), func(yield func([]byte, error) bool) { yield(nil, full) }, nil, full},
		"no room":     {s.VerifierKey(), sequence(leaves), full, full},
	} {
		t.Run(name, func(t *testing.T) {
			checkpoint := false
			_, err := Export(signed, tc.vkey, tc.leaves, func(path string, _ []byte) error {
				checkpoint = checkpoint || path == checkpointPath
				return tc.create
			})
			if !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if checkpoint {
				t.Error("an unfinished export has a checkpoint")
			}
		})
	}
	_, err := Export(signed, s.VerifierKey(), sequence([][]byte{make([]byte, MaxEntry+1)}), func(string, []byte) error { return nil })
	if err == nil {
		t.Error("an entry that no bundle can hold was exported")
	}
}

func FuzzSplitBundle(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0})
	f.Add([]byte{0, 0})
	f.Add([]byte{0, 2, 'a', 'b', 0, 1, 'c'})
	f.Add([]byte{0, 3, 'a'})
	f.Fuzz(func(t *testing.T, data []byte) {
		leaves, err := splitBundle(data)
		if err != nil {
			return
		}
		var again []byte
		for _, l := range leaves {
			again = append(binary.BigEndian.AppendUint16(again, uint16(len(l))), l...)
		}
		if !bytes.Equal(again, data) {
			t.Fatalf("%x splits into %x", data, again)
		}
	})
}

// FuzzVerify reads an exported log in which a file has other bytes: all of them, or
// some at a place. Whatever they are, either the log is the one that was signed,
// or it is refused, and no entry is handed out that was not signed.
func FuzzVerify(f *testing.F) {
	s := testSigner(f, "ankan/test", 7)
	leaves := testLeaves(f, 300) // a full tile and a part of one
	files := exported(f, s, leaves)
	names := slices.Sorted(maps.Keys(files))
	for i, name := range names {
		f.Add(uint(i), uint(0), files[name].Data)       // as it is
		f.Add(uint(i), uint(3), []byte{0xff})           // a byte of it
		f.Add(uint(i), uint(1)<<40, []byte("appended")) // longer
	}
	f.Fuzz(func(t *testing.T, which, at uint, b []byte) {
		changed := maps.Clone(files)
		name := names[which%uint(len(names))]
		old := files[name].Data
		data := bytes.Clone(b)
		if at > 0 {
			n := min(at, uint(len(old)))
			data = append(append(bytes.Clone(old[:n]), b...), old[min(n+uint(len(b)), uint(len(old))):]...)
		}
		changed[name] = &fstest.MapFile{Data: data}
		n := 0
		_, err := Verify(changed, s.VerifierKey(), Options{Visit: func(i int64, e Entry) error {
			if leaf, err := e.Leaf(); err != nil || i >= int64(len(leaves)) || !bytes.Equal(leaf, leaves[i]) {
				t.Errorf("entry %d was handed out, and nobody signed it", i)
			}
			n++
			return nil
		}})
		same := bytes.Equal(data, old)
		if same && (err != nil || n != len(leaves)) {
			t.Errorf("the log as it was signed: %d entries, %v", n, err)
		}
		if !same && err == nil && name != "checkpoint" {
			t.Errorf("%s was changed, and the log verifies", name)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	s := testSigner(b, "log", 1)
	files := exported(b, s, testLeaves(b, 20000))
	for b.Loop() {
		if _, err := Verify(files, s.VerifierKey(), Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(20000*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
