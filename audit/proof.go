package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const proofHeader = "c2sp.org/tlog-proof@v1"

// maxProof bounds a proof file in bytes: the longest entry in base64, 63
// hashes and a checkpoint with its witnesses.
const maxProof = 128 << 10

// A Proof shows without the log, to anyone who has the log's key, that one
// entry stands in it (C2SP tlog-proof). Its extra data is the entry's leaf.
type Proof struct {
	Index  int64
	Leaf   []byte
	Path   tlog.RecordProof // audit path, RFC 6962, 2.1.1
	Signed []byte           // the checkpoint
}

// Bytes writes the proof as a .tlog-proof file.
func (p Proof) Bytes() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nextra %s\nindex %d\n", proofHeader, base64.StdEncoding.EncodeToString(p.Leaf), p.Index)
	for _, h := range p.Path {
		fmt.Fprintln(&b, h)
	}
	fmt.Fprintf(&b, "\n%s", p.Signed)
	return b.Bytes()
}

// ParseProof reads a .tlog-proof file that carries its entry. Nothing is
// proven before Open.
func ParseProof(data []byte) (Proof, error) {
	if len(data) > maxProof {
		return Proof{}, fmt.Errorf("proof has %d bytes, want at most %d", len(data), maxProof)
	}
	head, signed, ok := strings.Cut(string(data), "\n\n")
	if !ok {
		return Proof{}, fmt.Errorf("proof has no checkpoint after an empty line")
	}
	lines := strings.Split(head, "\n")
	if len(lines) < 3 || lines[0] != proofHeader {
		return Proof{}, fmt.Errorf("proof begins %.40q, want %q, an extra and an index line", lines[0], proofHeader)
	}
	p := Proof{Signed: []byte(signed)}
	extra, okExtra := strings.CutPrefix(lines[1], "extra ")
	index, okIndex := strings.CutPrefix(lines[2], "index ")
	if !okExtra || !okIndex {
		return Proof{}, fmt.Errorf("proof lines 2 and 3, want extra and index")
	}
	var err error
	if p.Leaf, err = base64.StdEncoding.DecodeString(extra); err != nil {
		return Proof{}, fmt.Errorf("proof entry: %w", err)
	}
	if p.Index, err = strconv.ParseInt(index, 10, 64); err != nil || p.Index < 0 {
		return Proof{}, fmt.Errorf("proof index %.40q, want a whole number", index)
	}
	for _, line := range lines[3:] {
		h, err := tlog.ParseHash(line)
		if err != nil {
			return Proof{}, fmt.Errorf("proof hash %.60q, want 32 bytes in base64", line)
		}
		p.Path = append(p.Path, h)
	}
	if len(p.Path) > 63 {
		return Proof{}, fmt.Errorf("proof has %d hashes, want at most 63", len(p.Path))
	}
	if !bytes.Equal(p.Bytes(), data) {
		return Proof{}, fmt.Errorf("proof is not written as tlog-proof wants it")
	}
	return p, nil
}

// Open checks the proof against the log's key and returns what it proves.
func (p Proof) Open(vkey string) (Entry, Checkpoint, error) {
	c, err := OpenCheckpoint(p.Signed, vkey)
	if err != nil {
		return Entry{}, c, err
	}
	if p.Index >= c.Size {
		return Entry{}, c, fmt.Errorf("proof: %w: entry %d in a log of %d", Forged, p.Index, c.Size)
	}
	if err := tlog.CheckRecord(p.Path, c.Size, c.Root, p.Index, LeafHash(p.Leaf)); err != nil {
		return Entry{}, c, fmt.Errorf("proof: %w: the entry is not entry %d of the log with the root %s", Forged, p.Index, c.Root)
	}
	e, err := ParseEntry(p.Leaf)
	if err != nil {
		return Entry{}, c, fmt.Errorf("proof: entry %d: %w: %w", p.Index, NotCanonical, err)
	}
	return e, c, nil
}

// Tiles reads one tile of a log: width hashes of the tile n of a level.
type Tiles func(level int, n int64, width int) (Tile, error)

// Prove makes the proof for the entry index, whose leaf is given, from the
// tiles under the signed checkpoint. The tiles are checked on the way.
func Prove(signed []byte, vkey string, index int64, leaf []byte, tiles Tiles) (Proof, error) {
	c, err := OpenCheckpoint(signed, vkey)
	if err != nil {
		return Proof{}, err
	}
	if index < 0 || index >= c.Size {
		return Proof{}, fmt.Errorf("proving entry %d: the log has %d", index, c.Size)
	}
	path, err := tlog.ProveRecord(c.Size, index, c.hashes(tiles))
	if err != nil {
		return Proof{}, fmt.Errorf("proving entry %d: %w", index, fault(err))
	}
	p := Proof{Index: index, Leaf: leaf, Path: path, Signed: signed}
	_, _, err = p.Open(vkey)
	return p, err
}

// ProveFile is Prove on a log in the layout of Export.
func ProveFile(fsys fs.FS, vkey string, index int64) (Proof, error) {
	v, err := newVerifier(fsys, vkey, Options{})
	if err != nil {
		return Proof{}, err
	}
	if index < 0 || index >= v.report.Size {
		return Proof{}, fmt.Errorf("proving entry %d: the log has %d", index, v.report.Size)
	}
	leaves, err := v.bundle(index / tileWidth)
	if err != nil {
		return Proof{}, err
	}
	signed, err := readFile(fsys, checkpointPath)
	if err != nil {
		return Proof{}, err
	}
	return Prove(signed, vkey, index, leaves[index%tileWidth], v.tile)
}

// Continues shows that the log of c holds, unchanged, all that older covered.
// tiles are c's. The error is Truncated when c is smaller and Rewritten when
// the two are of different histories.
func (c Checkpoint) Continues(older Checkpoint, tiles Tiles) error {
	if older.Origin != c.Origin {
		return fmt.Errorf("log %q: %w: the older checkpoint is of log %q", c.Origin, WrongKey, older.Origin)
	}
	if older.Size > c.Size {
		return fmt.Errorf("log: %w: it has %d entries, the older checkpoint signs %d", Truncated, c.Size, older.Size)
	}
	rewritten := fmt.Errorf("log: %w: its first %d entries are not those of the older checkpoint", Rewritten, older.Size)
	if older.Size == 0 || older.Size == c.Size {
		want := c.Root
		if older.Size == 0 {
			want = new(Tree).Root()
		}
		if older.Root != want {
			return rewritten
		}
		return nil
	}
	p, err := tlog.ProveTree(c.Size, older.Size, c.hashes(tiles))
	if err != nil {
		return fmt.Errorf("log: %w", fault(err))
	}
	if tlog.CheckTree(p, c.Size, c.Root, older.Size, older.Root) != nil {
		return rewritten
	}
	return nil
}

// fault makes an error of the tile reader one that wraps a Fault: what it finds
// itself is that a tile is not in the tree.
func fault(err error) error {
	if f := Fault(""); errors.As(err, &f) {
		return err
	}
	return fmt.Errorf("%w: %w", Altered, err)
}

// hashes reads hashes of c's tree out of tiles, each checked against the root.
func (c Checkpoint) hashes(tiles Tiles) tlog.HashReader {
	return tlog.TileHashReader(tlog.Tree{N: c.Size, Hash: c.Root}, tileReader(tiles))
}

type tileReader Tiles

func (tileReader) Height() int { return tileHeight }

func (r tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, t := range tiles {
		got, err := r(t.L, t.N, t.W)
		if err != nil {
			return nil, err
		}
		if got.Level != t.L || got.N != t.N || len(got.Hashes) != t.W {
			return nil, errors.New("another tile than the one asked for")
		}
		data[i] = got.Bytes()
	}
	return data, nil
}

func (tileReader) SaveTiles([]tlog.Tile, [][]byte) {}
