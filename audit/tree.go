package audit

import (
	"fmt"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// A Hash is a node of the tree (SHA-256).
type Hash = tlog.Hash

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight // hashes in a full tile, entries in a full bundle
)

// A Tile is hashes of one level of the tree that stand side by side (C2SP
// tlog-tiles): hash i of the tile N of level L covers the entries from
// (N*256+i)*256^L on, 256^L of them. A full tile has 256 hashes.
type Tile struct {
	Level  int
	N      int64
	Hashes []Hash
}

// Full reports whether t has 256 hashes and so never changes again.
func (t Tile) Full() bool { return len(t.Hashes) == tileWidth }

// Bytes is the tile as it is stored and exported: its hashes one after another.
func (t Tile) Bytes() []byte {
	b := make([]byte, 0, len(t.Hashes)*tlog.HashSize)
	for _, h := range t.Hashes {
		b = append(b, h[:]...)
	}
	return b
}

// ParseTile reads what Bytes wrote; width is the number of hashes expected.
func ParseTile(level int, n int64, data []byte, width int) (Tile, error) {
	if len(data) != width*tlog.HashSize {
		return Tile{}, fmt.Errorf("tile has %d bytes, want %d", len(data), width*tlog.HashSize)
	}
	t := Tile{Level: level, N: n, Hashes: make([]Hash, width)}
	for i := range t.Hashes {
		copy(t.Hashes[i][:], data[i*tlog.HashSize:])
	}
	return t, nil
}

// Root is the hash of the full tile t, which stands in the level above.
func (t Tile) Root() Hash { return subtree(t.Hashes) }

// A Tree is the right edge of a log: at each level the hashes that do not yet
// fill a tile. It is all that is needed to append and to know the root (RFC
// 6962, 2.1). The zero Tree is empty. It is not safe for use by several
// goroutines.
type Tree struct {
	size  int64
	edges [][]Hash // by level, each shorter than 256
}

// Size is the number of entries.
func (t *Tree) Size() int64 { return t.size }

// Clone returns a copy that appends on its own.
func (t *Tree) Clone() *Tree {
	c := &Tree{size: t.size, edges: make([][]Hash, len(t.edges))}
	for i, e := range t.edges {
		c.edges[i] = append(make([]Hash, 0, tileWidth), e...)
	}
	return c
}

// Append adds the hash of an entry's leaf (LeafHash). It gives every tile that
// becomes full to full, lowest level first; full may be nil.
func (t *Tree) Append(h Hash, full func(Tile) error) error {
	t.size++
	return t.push(0, h, full)
}

func (t *Tree) push(level int, h Hash, full func(Tile) error) error {
	if level == len(t.edges) {
		t.edges = append(t.edges, make([]Hash, 0, tileWidth))
	}
	e := append(t.edges[level], h)
	if len(e) < tileWidth {
		t.edges[level] = e
		return nil
	}
	done := Tile{Level: level, N: t.size>>(tileHeight*(level+1)) - 1, Hashes: e}
	t.edges[level] = make([]Hash, 0, tileWidth)
	if full != nil {
		if err := full(done); err != nil {
			return err
		}
	}
	return t.push(level+1, done.Root(), full)
}

// Edge returns the tiles that are not full, lowest level first.
func (t *Tree) Edge() []Tile {
	var tiles []Tile
	for l, e := range t.edges {
		if len(e) > 0 {
			tiles = append(tiles, Tile{Level: l, N: t.size >> (tileHeight * (l + 1)), Hashes: slices.Clone(e)})
		}
	}
	return tiles
}

// Root is the tree's root hash; of the empty tree the hash of no bytes.
func (t *Tree) Root() Hash {
	var root Hash
	have := false
	for _, e := range t.edges {
		// The edge of a level falls into perfect subtrees, largest first, as the
		// binary digits of its length say; the root joins them from the right.
		for end := len(e); end > 0; {
			w := 1 << bits.TrailingZeros(uint(end))
			h := subtree(e[end-w : end])
			end -= w
			if have {
				h = tlog.NodeHash(h, root)
			}
			root, have = h, true
		}
	}
	if !have {
		root, _ = tlog.TreeHash(0, nil)
	}
	return root
}

// subtree is the hash over a power of two of hashes.
func subtree(h []Hash) Hash {
	if len(h) == 1 {
		return h[0]
	}
	var buf [tileWidth / 2]Hash
	n := len(h) / 2
	for i := range n {
		buf[i] = tlog.NodeHash(h[2*i], h[2*i+1])
	}
	for ; n > 1; n /= 2 {
		for i := range n / 2 {
			buf[i] = tlog.NodeHash(buf[2*i], buf[2*i+1])
		}
	}
	return buf[0]
}

// LeafHash is the hash of an entry's canonical form in the tree (RFC 6962, 2.1).
func LeafHash(leaf []byte) Hash { return tlog.RecordHash(leaf) }

// LoadTree rebuilds the right edge of a log of size entries from its full
// tiles and its last leaves: those after the last full tile of level 0.
// tile returns the full tile n of a level.
func LoadTree(size int64, tile func(level int, n int64) (Tile, error), lastLeaves []Hash) (*Tree, error) {
	if size < 0 || int64(len(lastLeaves)) != size%tileWidth {
		return nil, fmt.Errorf("log of %d entries has %d after its last full tile, want %d", size, len(lastLeaves), size%tileWidth)
	}
	t := &Tree{size: size}
	for level := 0; size>>(tileHeight*level) > 0; level++ {
		edge := make([]Hash, 0, tileWidth)
		width := size >> (tileHeight * level)
		if level == 0 {
			edge = append(edge, lastLeaves...)
		} else {
			for n := width &^ (tileWidth - 1); n < width; n++ {
				below, err := tile(level-1, n)
				if err != nil {
					return nil, err
				}
				if !below.Full() {
					return nil, fmt.Errorf("tile %d of level %d has %d hashes, want %d", n, level-1, len(below.Hashes), tileWidth)
				}
				edge = append(edge, below.Root())
			}
		}
		t.edges = append(t.edges, edge)
	}
	return t, nil
}
