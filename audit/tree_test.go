package audit

import (
	"encoding/hex"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

func TestRootVectors(t *testing.T) {
	var v struct{ Leaves, Roots []string }
	readVectors(t, "rfc6962.json", &v)
	if len(v.Leaves) != 8 || len(v.Roots) != 9 {
		t.Fatalf("%d leaves and %d roots, want 8 and 9", len(v.Leaves), len(v.Roots))
	}
	var tree Tree
	for n, want := range v.Roots {
		if root := tree.Root(); hex.EncodeToString(root[:]) != want {
			t.Errorf("root of %d entries is %x, want %s", n, root, want)
		}
		if n == len(v.Leaves) {
			break
		}
		leaf, err := hex.DecodeString(v.Leaves[n])
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Append(LeafHash(leaf), nil); err != nil {
			t.Fatal(err)
		}
	}
}

// tileMap collects the full tiles of a tree.
type tileMap map[string]Tile

func (m tileMap) add(t Tile) error { m[tilePath(t.Level, t.N, len(t.Hashes))] = t; return nil }

func (m tileMap) get(level int, n int64) (Tile, error) {
	t, ok := m[tilePath(level, n, tileWidth)]
	if !ok {
		return t, fmt.Errorf("no tile %d of level %d", n, level)
	}
	return t, nil
}

// TestTreeAgainstTlog grows a tree past three levels and compares it with the
// Go checksum database's code, and a tree loaded from its tiles with both.
func TestTreeAgainstTlog(t *testing.T) {
	const size = 70000
	var tree Tree
	var leaves, stored []Hash
	reader := tlog.HashReaderFunc(func(at []int64) ([]Hash, error) {
		out := make([]Hash, len(at))
		for i, k := range at {
			out[i] = stored[k]
		}
		return out, nil
	})
	full := tileMap{}
	for n := range int64(size) {
		if n < 20 || n%997 == 0 || n%tileWidth < 2 {
			compareRoots(t, &tree, reader)
		}
		h := LeafHash(fmt.Append(nil, n))
		leaves = append(leaves, h)
		more, err := tlog.StoredHashesForRecordHash(n, h, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
		if err := tree.Append(h, full.add); err != nil {
			t.Fatal(err)
		}
	}
	compareRoots(t, &tree, reader)

	// The example of C2SP tlog-tiles, "Partial Tiles".
	if len(full) != 273+1 {
		t.Errorf("%d full tiles, want 273 of level 0 and 1 of level 1", len(full))
	}
	var got []string
	for _, e := range tree.Edge() {
		got = append(got, tilePath(e.Level, e.N, len(e.Hashes)))
	}
	if want := "[tile/0/273.p/112 tile/1/001.p/17 tile/2/000.p/1]"; fmt.Sprint(got) != want {
		t.Errorf("edge %v, want %s", got, want)
	}
	loaded, err := LoadTree(size, full.get, leaves[273*tileWidth:])
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Root() != tree.Root() || loaded.Size() != size {
		t.Error("the tree loaded from its tiles has another root")
	}
	clone := tree.Clone()
	before := tree.Root()
	for n := range 300 {
		if err := clone.Append(leaves[n], nil); err != nil {
			t.Fatal(err)
		}
	}
	if tree.Root() != before || tree.Size() != size || clone.Size() != size+300 {
		t.Error("appending to a clone changed the original")
	}
}

func compareRoots(t *testing.T, tree *Tree, reader tlog.HashReader) {
	t.Helper()
	want, err := tlog.TreeHash(tree.Size(), reader)
	if err != nil {
		t.Fatal(err)
	}
	if tree.Root() != want {
		t.Fatalf("root of %d entries is %s, want %s", tree.Size(), tree.Root(), want)
	}
}

func TestLoadTreeRefuses(t *testing.T) {
	for name, load := range map[string]func() (*Tree, error){
		"negative":   func() (*Tree, error) { return LoadTree(-1, nil, nil) },
		"leaf short": func() (*Tree, error) { return LoadTree(257, tileMap{}.get, nil) },
		"tile gone":  func() (*Tree, error) { return LoadTree(256, tileMap{}.get, nil) },
		"tile narrow": func() (*Tree, error) {
			return LoadTree(256, func(int, int64) (Tile, error) { return Tile{}, nil }, nil)
		},
	} {
		if _, err := load(); err == nil {
			t.Errorf("%s: a tree was loaded", name)
		}
	}
}

func TestIndexPath(t *testing.T) {
	for _, tc := range []struct {
		n     int64
		width int
		want  string
	}{
		{0, 256, "000"}, {999, 256, "999"}, {1000, 256, "x001/000"}, {1234067, 256, "x001/x234/067"}, {5, 9, "005.p/9"},
	} {
		if got := indexPath(tc.n, tc.width); got != tc.want {
			t.Errorf("path of tile %d, width %d, is %s, want %s", tc.n, tc.width, got, tc.want)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	var tree Tree
	h := LeafHash(nil)
	b.ReportAllocs()
	for b.Loop() {
		if err := tree.Append(h, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRoot(b *testing.B) {
	var tree Tree
	for range 65535 {
		if err := tree.Append(LeafHash(nil), nil); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		tree.Root()
	}
}
