package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"os"
	"path"
	"time"

	"ankan/audit"
)

// tileWidth is the number of hashes in a full tile (C2SP tlog-tiles).
const tileWidth = 256

// load reads the log's right edge and refuses one that does not give the root
// in the signed checkpoint. It reports whether the database is a new one.
func (s *Store) load(ctx context.Context) (first bool, err error) {
	err = s.View(ctx, func(tx *ReadTx) error {
		c, signed, err := s.checkpoint(tx)
		if errors.Is(err, sql.ErrNoRows) {
			first = true
			return checkEmpty(tx)
		}
		if err != nil {
			return err
		}
		h := &head{signed: signed}
		if h.tree, err = loadTree(tx, c); err == nil {
			h.last, err = lastTime(tx, c.Size)
		}
		if err == nil {
			s.head.Store(h)
		}
		return err
	})
	if errors.Is(err, ErrTampered) {
		err = fmt.Errorf("%w; keep this file for the investigation and restore a whole backup", err)
	}
	return first, err
}

// checkEmpty refuses a database that has lost its checkpoint, and only that.
func checkEmpty(tx *ReadTx) error {
	var rows int64
	err := tx.QueryRow(`SELECT (SELECT count(*) FROM log_entry) + (SELECT count(*) FROM log_tile)
		+ (SELECT count(*) FROM log_schema)`).Scan(&rows)
	if err == nil && rows > 0 {
		err = fmt.Errorf("%w: %w", ErrTampered, audit.Missing)
	}
	return err
}

// begin signs the checkpoint of a new, empty log.
func (s *Store) begin() error {
	h := &head{tree: new(audit.Tree)}
	if err := s.sign(s.writer, h); err != nil {
		return err
	}
	s.head.Store(h)
	return nil
}

// checkpoint is the signed checkpoint in the database, opened.
func (s *Store) checkpoint(tx *ReadTx) (audit.Checkpoint, []byte, error) {
	var signed []byte
	if err := tx.QueryRow("SELECT signed FROM log_checkpoint WHERE id = 1").Scan(&signed); err != nil {
		return audit.Checkpoint{}, nil, err
	}
	c, err := audit.OpenCheckpoint(signed, s.signer.VerifierKey())
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrTampered, err)
	}
	return c, signed, err
}

// loadTree rebuilds the right edge of c's tree from the tables.
func loadTree(tx *ReadTx, c audit.Checkpoint) (*audit.Tree, error) {
	var size int64
	if err := tx.QueryRow("SELECT coalesce(max(idx), -1) + 1 FROM log_entry").Scan(&size); err != nil {
		return nil, err
	}
	if size < c.Size {
		return nil, fmt.Errorf("%w: %w: %d entries, the checkpoint signs %d", ErrTampered, audit.Truncated, size, c.Size)
	}
	if size > c.Size {
		return nil, fmt.Errorf("%w: %w: %d entries, the checkpoint signs %d", ErrTampered, audit.Added, size, c.Size)
	}
	last, err := tileOf(tx, 0, size/tileWidth, int(size%tileWidth))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTampered, err)
	}
	tree, err := audit.LoadTree(size, func(level int, n int64) (audit.Tile, error) {
		return tileOf(tx, level, n, tileWidth)
	}, last.Hashes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTampered, err)
	}
	if root := tree.Root(); root != c.Root {
		return nil, fmt.Errorf("%w: %w: its root is %s, the checkpoint signs %s", ErrTampered, audit.Rewritten, root, c.Root)
	}
	return tree, nil
}

func lastTime(tx *ReadTx, size int64) (time.Time, error) {
	if size == 0 {
		return time.Time{}, nil
	}
	var leaf []byte
	if err := tx.QueryRow("SELECT leaf FROM log_entry WHERE idx = $1", size-1).Scan(&leaf); err != nil {
		return time.Time{}, err
	}
	e, err := audit.ParseEntry(leaf)
	return e.Time, err
}

// tileOf reads a tile of width hashes. Full ones are stored; the others are
// computed from what stands below them.
func tileOf(tx *ReadTx, level int, n int64, width int) (audit.Tile, error) {
	t := audit.Tile{Level: level, N: n}
	if width == tileWidth {
		var data []byte
		err := tx.QueryRow("SELECT hashes FROM log_tile WHERE level = $1 AND n = $2", level, n).Scan(&data)
		if errors.Is(err, sql.ErrNoRows) {
			return t, fmt.Errorf("tile %d of level %d: %w", n, level, audit.Missing)
		} else if err != nil {
			return t, err
		}
		return audit.ParseTile(level, n, data, width)
	}
	from := n * tileWidth
	if level > 0 {
		for i := range int64(width) {
			below, err := tileOf(tx, level-1, from+i, tileWidth)
			if err != nil {
				return t, err
			}
			t.Hashes = append(t.Hashes, below.Root())
		}
		return t, nil
	}
	for leaf, err := range leaves(tx, from, int64(width)) {
		if err != nil {
			return t, err
		}
		t.Hashes = append(t.Hashes, audit.LeafHash(leaf))
	}
	if len(t.Hashes) != width {
		return t, fmt.Errorf("%w: %d entries from %d on, want %d", audit.Dropped, len(t.Hashes), from, width)
	}
	return t, nil
}

// leaves yields n leaves from the entry from on, fewer when the log ends. A
// gap between them is an error.
func leaves(tx Querier, from, n int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		rows, err := tx.Query("SELECT idx, leaf FROM log_entry WHERE idx >= $1 AND idx < $2 ORDER BY idx", from, from+n)
		if err != nil {
			yield(nil, err)
			return
		}
		defer rows.Close()
		for at := from; rows.Next(); at++ {
			var idx int64
			var leaf []byte
			if err := rows.Scan(&idx, &leaf); err != nil {
				yield(nil, err)
				return
			}
			if idx != at {
				yield(nil, fmt.Errorf("entry %d: %w", at, audit.Dropped))
				return
			}
			if !yield(leaf, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, err)
		}
	}
}

// Size is the number of entries in the log.
func (s *Store) Size() int64 {
	if h := s.head.Load(); h != nil {
		return h.tree.Size()
	}
	return 0
}

// Checkpoint is the signed checkpoint over all that is committed: what to give
// to witnesses and to print on forms.
func (s *Store) Checkpoint() []byte {
	h := s.head.Load()
	if h == nil {
		return nil
	}
	return append([]byte(nil), h.signed...)
}

// VerifierKey is the key that checks the log, to be given to auditors.
func (s *Store) VerifierKey() string {
	if s.signer == nil {
		return ""
	}
	return s.signer.VerifierKey()
}

// Entries reads up to n entries from the index from on.
func (s *Store) Entries(ctx context.Context, from int64, n int) ([]audit.Entry, error) {
	var all []audit.Entry
	err := s.View(ctx, func(tx *ReadTx) error {
		for leaf, err := range leaves(tx, from, int64(n)) {
			if err != nil {
				return err
			}
			e, err := audit.ParseEntry(leaf)
			if err != nil {
				return fmt.Errorf("entry %d: %w", from+int64(len(all)), err)
			}
			all = append(all, e)
		}
		return nil
	})
	return all, err
}

// Prove makes the proof that the entry index is in the log.
func (s *Store) Prove(ctx context.Context, index int64) (p audit.Proof, err error) {
	err = s.View(ctx, func(tx *ReadTx) error {
		_, signed, err := s.checkpoint(tx)
		if err != nil {
			return err
		}
		var leaf []byte
		err = tx.QueryRow("SELECT leaf FROM log_entry WHERE idx = $1", index).Scan(&leaf)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("proving entry %d: the log has none", index)
		} else if err != nil {
			return err
		}
		p, err = audit.Prove(signed, s.VerifierKey(), index, leaf, tx.tiles)
		return err
	})
	return p, err
}

// Continues shows that the log still holds all that an older checkpoint of it
// covered: that the database is not an old copy, when the checkpoint comes
// from a witness. The error wraps audit.Truncated when it is one.
func (s *Store) Continues(ctx context.Context, older []byte) error {
	return s.View(ctx, func(tx *ReadTx) error {
		o, err := audit.OpenCheckpoint(older, s.VerifierKey())
		if err != nil {
			return fmt.Errorf("older %w", err)
		}
		c, _, err := s.checkpoint(tx)
		if err != nil {
			return err
		}
		return c.Continues(o, tx.tiles)
	})
}

func (tx *ReadTx) tiles(level int, n int64, width int) (audit.Tile, error) {
	return tileOf(tx, level, n, width)
}

// Fsck checks the whole database: the file's structure, its references, and
// every entry and tile of the log up to the checkpoint, which vkey must have
// signed. It reads everything, without keeping writers waiting.
func (s *Store) Fsck(ctx context.Context, vkey string) (r audit.Report, err error) {
	err = s.View(ctx, func(tx *ReadTx) error {
		if err := s.engine.check(ctx, tx.tx); err != nil {
			return err
		}
		_, signed, err := s.checkpoint(tx)
		if err != nil {
			return err
		}
		if r.Checkpoint, err = audit.OpenCheckpoint(signed, vkey); err != nil {
			return err
		}
		return fsckLog(tx, &r)
	})
	return r, err
}

func fsckLog(tx *ReadTx, r *audit.Report) error {
	var tree audit.Tree
	var tiles int64
	same := func(t audit.Tile) error {
		tiles++
		got, err := tileOf(tx, t.Level, t.N, tileWidth)
		if err != nil {
			return err
		}
		for i, h := range t.Hashes {
			if got.Hashes[i] != h {
				return fmt.Errorf("tile %d of level %d: %w: its hash %d is not that of what stands below it", t.N, t.Level, audit.Altered, i)
			}
		}
		return nil
	}
	const batch = 64 * tileWidth
	for from := int64(0); from < r.Size; from += batch {
		for leaf, err := range leaves(tx, from, min(batch, r.Size-from)) {
			if err == nil {
				_, err = r.Add(leaf)
			}
			if err == nil {
				err = tree.Append(audit.LeafHash(leaf), same)
			}
			if err != nil {
				return err
			}
		}
	}
	if _, err := loadTree(tx, r.Checkpoint); err != nil {
		return err
	}
	if root := tree.Root(); root != r.Root || tree.Size() != r.Size {
		return fmt.Errorf("log: %w: its %d entries give the root %s, its checkpoint signs %s over %d", audit.Rewritten, tree.Size(), root, r.Root, r.Size)
	}
	var stored int64
	if err := tx.QueryRow("SELECT count(*) FROM log_tile").Scan(&stored); err != nil {
		return err
	}
	if stored != tiles {
		return fmt.Errorf("log: %w: %d tiles, want %d", audit.Added, stored, tiles)
	}
	return nil
}

// Export writes the log as C2SP tlog-tiles into dir, which must not exist yet,
// for ankan-verify. What was begun and failed is removed.
func (s *Store) Export(ctx context.Context, dir string) (c audit.Checkpoint, err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return c, fmt.Errorf("exporting log: %w", err)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	x, err := newFolder(dir)
	if err != nil {
		return c, err
	}
	defer x.root.Close()
	err = s.View(ctx, func(tx *ReadTx) error {
		now, signed, err := s.checkpoint(tx)
		if err != nil {
			return err
		}
		c, err = audit.Export(signed, s.VerifierKey(), leaves(tx, 0, now.Size), x.create)
		return err
	})
	if err != nil {
		return c, err
	}
	return c, x.sync()
}

// A folder is one that is being filled with files.
type folder struct {
	root *os.Root
	dirs map[string]bool // in it, that have files
}

func newFolder(dir string) (*folder, error) {
	root, err := os.OpenRoot(dir)
	return &folder{root, map[string]bool{}}, err
}

// create writes a file that must not exist yet, and flushes it.
func (x *folder) create(name string, data []byte) error {
	for dir := path.Dir(name); !x.dirs[dir]; dir = path.Dir(dir) {
		x.dirs[dir] = true
		if dir == "." {
			break
		}
	}
	if err := x.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := x.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// sync flushes the names of the files, which their contents do not include.
func (x *folder) sync() error {
	for dir := range x.dirs {
		f, err := x.root.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
