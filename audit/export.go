package audit

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strconv"
)

// checkpointPath is where an exported log keeps its signed checkpoint.
const checkpointPath = "checkpoint"

// tilePath is the file of the tile n of a level (C2SP tlog-tiles, "Merkle Tree").
func tilePath(level int, n int64, width int) string {
	return "tile/" + strconv.Itoa(level) + "/" + indexPath(n, width)
}

// bundlePath is the file of the entry bundle n (C2SP tlog-tiles, "Log entries").
func bundlePath(n int64, width int) string { return "tile/entries/" + indexPath(n, width) }

func indexPath(n int64, width int) string {
	p := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		p = fmt.Sprintf("x%03d/%s", n%1000, p)
	}
	if width < tileWidth {
		p += ".p/" + strconv.Itoa(width)
	}
	return p
}

// widthOf is the number of entries of the bundle n in a log of size entries.
func widthOf(n, size int64) int { return int(min(tileWidth, size-n*tileWidth)) }

// Export lays a log out as C2SP tlog-tiles: it gives every file to create, the
// checkpoint last. leaves yields the log's canonical entries from the first
// on; Export takes as many as the checkpoint, signed by vkey, counts, and
// refuses to finish a log whose root is not the checkpoint's. Paths have
// slashes and no dots that lead upwards.
func Export(signed []byte, vkey string, leaves iter.Seq2[[]byte, error], create func(path string, data []byte) error) (Checkpoint, error) {
	c, err := OpenCheckpoint(signed, vkey)
	if err != nil {
		return c, err
	}
	x := exporter{create: create}
	for leaf, err := range leaves {
		if err != nil {
			return c, err
		}
		if x.tree.Size() == c.Size {
			break
		}
		if err := x.add(leaf); err != nil {
			return c, err
		}
	}
	if err := x.finish(); err != nil {
		return c, err
	}
	if x.tree.Size() != c.Size {
		return c, fmt.Errorf("exporting log: %w: %d entries, want %d", Truncated, x.tree.Size(), c.Size)
	}
	if root := x.tree.Root(); root != c.Root {
		return c, fmt.Errorf("exporting log: %w: its root is %s, its checkpoint signs %s", Rewritten, root, c.Root)
	}
	return c, create(checkpointPath, signed)
}

type exporter struct {
	create func(path string, data []byte) error
	tree   Tree
	bundle []byte
}

func (x *exporter) add(leaf []byte) error {
	if len(leaf) > MaxEntry {
		return fmt.Errorf("exporting log: entry %d has %d bytes, want at most %d", x.tree.Size(), len(leaf), MaxEntry)
	}
	x.bundle = binary.BigEndian.AppendUint16(x.bundle, uint16(len(leaf)))
	x.bundle = append(x.bundle, leaf...)
	return x.tree.Append(LeafHash(leaf), x.full)
}

// full writes a tile that became full, and with one of level 0 its bundle.
func (x *exporter) full(t Tile) error {
	if t.Level == 0 {
		if err := x.create(bundlePath(t.N, tileWidth), x.bundle); err != nil {
			return err
		}
		x.bundle = x.bundle[:0]
	}
	return x.create(tilePath(t.Level, t.N, tileWidth), t.Bytes())
}

func (x *exporter) finish() error {
	for _, t := range x.tree.Edge() {
		if t.Level == 0 {
			if err := x.create(bundlePath(t.N, len(t.Hashes)), x.bundle); err != nil {
				return err
			}
		}
		if err := x.create(tilePath(t.Level, t.N, len(t.Hashes)), t.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// splitBundle cuts an entry bundle into leaves, which share its memory.
func splitBundle(data []byte) ([][]byte, error) {
	var leaves [][]byte
	for len(data) > 0 {
		if len(data) < 2 {
			return nil, fmt.Errorf("%w: a lone byte at its end", Altered)
		}
		n := int(binary.BigEndian.Uint16(data))
		if len(data) < 2+n {
			return nil, fmt.Errorf("%w: its last entry has %d bytes, want %d", Altered, len(data)-2, n)
		}
		leaves = append(leaves, data[2:2+n])
		data = data[2+n:]
	}
	return leaves, nil
}

// maxFile is the longest file of an exported log: a bundle of 256 largest entries.
const maxFile = tileWidth * (2 + MaxEntry)

// readFile reads one file of an exported log.
func readFile(fsys fs.FS, path string) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s: %w: longer than %d bytes", path, Altered, maxFile)
	}
	return data, err
}
