package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// A Report says what a check of a log found to be true.
type Report struct {
	Checkpoint
	Since       *Checkpoint // the older checkpoint that the log was shown to continue
	First, Last time.Time   // of the first and the last entry
	Entries     int64       // entries recomputed and read; the checkpoint's size when all is well
}

// Add counts the next entry, given as its leaf, and refuses one that the log
// could not have written: not canonical, or older than the one before it.
func (r *Report) Add(leaf []byte) (Entry, error) {
	e, err := ParseEntry(leaf)
	if err != nil {
		return e, fmt.Errorf("entry %d: %w: %w", r.Entries, NotCanonical, err)
	}
	if e.Time.Before(r.Last) {
		return e, fmt.Errorf("entry %d: %w: %s, and the entry before it %s", r.Entries, Backwards,
			e.Time.Format(timeLayout), r.Last.Format(timeLayout))
	}
	if r.Entries == 0 {
		r.First = e.Time
	}
	r.Last = e.Time
	r.Entries++
	return e, nil
}

// Options of Verify.
type Options struct {
	// Since is an older signed checkpoint that the log must continue: nothing
	// that it covered may have changed or gone.
	Since []byte
	// Visit gets every entry, first to last, once the tree over all of them is
	// known to be the signed one. An error of it ends the check.
	Visit func(index int64, e Entry) error
}

// Verify checks a log in the layout of Export against the key vkey: the
// checkpoint's signature, every tile up to the root, every entry against its
// tile, and the order of times. The first thing that is wrong is the error; it
// wraps a Fault and names the file and the entry.
func Verify(fsys fs.FS, vkey string, o Options) (Report, error) {
	v, err := newVerifier(fsys, vkey, o)
	if err != nil {
		return Report{}, err
	}
	if err := v.tiles(); err != nil {
		return v.report, err
	}
	return v.report, v.entries(o.Visit)
}

type verifier struct {
	fsys   fs.FS
	report Report
	tree   Tree
}

func newVerifier(fsys fs.FS, vkey string, o Options) (*verifier, error) {
	signed, err := readFile(fsys, checkpointPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", checkpointPath, Missing)
	} else if err != nil {
		return nil, err
	}
	v := &verifier{fsys: fsys}
	if v.report.Checkpoint, err = OpenCheckpoint(signed, vkey); err != nil {
		return nil, err
	}
	if o.Since == nil {
		return v, nil
	}
	older, err := OpenCheckpoint(o.Since, vkey)
	if err != nil {
		return nil, fmt.Errorf("older %w", err)
	}
	if older.Size > v.report.Size {
		return nil, fmt.Errorf("log: %w: it has %d entries, the older checkpoint signs %d", Truncated, v.report.Size, older.Size)
	}
	v.report.Since = &older
	return v, nil
}

// tiles recomputes the tree from the leaf hashes up and compares every tile
// above them, the root, and the root at the older checkpoint's size.
func (v *verifier) tiles() error {
	if err := v.since(); err != nil {
		return err
	}
	size := v.report.Size
	for n := int64(0); n*tileWidth < size; n++ {
		t, err := v.tile(0, n, widthOf(n, size))
		if err != nil {
			return err
		}
		for _, h := range t.Hashes {
			if err := v.tree.Append(h, v.compare); err != nil {
				return err
			}
			if err := v.since(); err != nil {
				return err
			}
		}
	}
	for _, t := range v.tree.Edge() {
		if err := v.compare(t); err != nil {
			return err
		}
	}
	if root := v.tree.Root(); root != v.report.Root {
		return fmt.Errorf("log: %w: its tiles give the root %s, its checkpoint signs %s", Rewritten, root, v.report.Root)
	}
	return nil
}

func (v *verifier) since() error {
	s := v.report.Since
	if s == nil || s.Size != v.tree.Size() {
		return nil
	}
	if root := v.tree.Root(); root != s.Root {
		return fmt.Errorf("log: %w: its first %d entries have the root %s, the older checkpoint signs %s", Rewritten, s.Size, root, s.Root)
	}
	return nil
}

// compare holds a recomputed tile above level 0 against its file.
func (v *verifier) compare(t Tile) error {
	if t.Level == 0 {
		return nil
	}
	got, err := v.tile(t.Level, t.N, len(t.Hashes))
	if err != nil {
		return err
	}
	for i, h := range got.Hashes {
		if h != t.Hashes[i] {
			return fmt.Errorf("%s: %w: its hash %d is not that of %s", tilePath(t.Level, t.N, len(t.Hashes)), Altered,
				i, tilePath(t.Level-1, t.N*tileWidth+int64(i), tileWidth))
		}
	}
	return nil
}

func (v *verifier) tile(level int, n int64, width int) (Tile, error) {
	path := tilePath(level, n, width)
	data, err := readFile(v.fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return Tile{}, v.missing(path, level, n, tilePath)
	} else if err != nil {
		return Tile{}, err
	}
	t, err := ParseTile(level, n, data, width)
	if err != nil {
		return t, fmt.Errorf("%s: %w: %w", path, Altered, err)
	}
	return t, nil
}

// missing tells a hole from a log whose end was cut off. path has been looked
// for as the file n of its level; at names the other files of the level.
func (v *verifier) missing(path string, level int, n int64, at func(level int, n int64, width int) string) error {
	size := v.report.Size >> (tileHeight * level)
	last := (size - 1) / tileWidth
	for m := n + 1; m <= last; m++ {
		if _, err := fs.Stat(v.fsys, at(level, m, widthOf(m, size))); err == nil {
			return fmt.Errorf("%s: %w", path, Missing)
		}
	}
	if level > 0 {
		return fmt.Errorf("%s: %w", path, Missing)
	}
	return fmt.Errorf("%s: %w: the checkpoint signs %d entries, the files hold %d", path, Truncated, v.report.Size, n*tileWidth)
}

// entries compares every entry with its hash in the tree, which is known to be
// the signed one, and hands it to visit.
func (v *verifier) entries(visit func(int64, Entry) error) error {
	for n := int64(0); n*tileWidth < v.report.Size; n++ {
		leaves, err := v.bundle(n)
		if err != nil {
			return err
		}
		for _, leaf := range leaves {
			e, err := v.report.Add(leaf)
			if err != nil {
				return fmt.Errorf("%s: %w", bundlePath(n, widthOf(n, v.report.Size)), err)
			}
			if visit == nil {
				continue
			}
			if err := visit(v.report.Entries-1, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *verifier) bundle(n int64) ([][]byte, error) {
	width := widthOf(n, v.report.Size)
	t, err := v.tile(0, n, width)
	if err != nil {
		return nil, err
	}
	path := bundlePath(n, width)
	data, err := readFile(v.fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, v.missing(path, 0, n, func(_ int, n int64, width int) string { return bundlePath(n, width) })
	} else if err != nil {
		return nil, err
	}
	leaves, err := splitBundle(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	got := make([]Hash, len(leaves))
	for i, leaf := range leaves {
		got[i] = LeafHash(leaf)
	}
	if !slices.Equal(got, t.Hashes) {
		return nil, fmt.Errorf("%s: %w", path, compareLeaves(n*tileWidth, got, t.Hashes))
	}
	return leaves, nil
}

// compareLeaves says in what way the hashes of a bundle's entries, got, are
// not those that the tree has, want. base is the first one's index.
func compareLeaves(base int64, got, want []Hash) error {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	at := base + int64(i)
	switch {
	case i < len(got) && i < len(want) && slices.Contains(want, got[i]) && slices.Contains(got, want[i]):
		return fmt.Errorf("entry %d: %w: the entry in its place is entry %d", at, Reordered, base+int64(slices.Index(want, got[i])))
	case i == len(got) || i+1 < len(want) && got[i] == want[i+1]:
		return fmt.Errorf("entry %d: %w: %d entries in the file, want %d", at, Dropped, len(got), len(want))
	case i == len(want) || i+1 < len(got) && got[i+1] == want[i]:
		return fmt.Errorf("entry %d: %w: %d entries in the file, want %d", at, Added, len(got), len(want))
	}
	return fmt.Errorf("entry %d: %w: its hash is %s, the tree has %s", at, Altered, got[i], want[i])
}
