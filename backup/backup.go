package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"ankan/hsm"
	"ankan/store"
)

// A File is a file that goes into a backup beside the database.
type File struct {
	Path string // slashes, relative, without "." and ".."
	Mode fs.FileMode
	Open func() (io.ReadCloser, error)
}

// A Source is what goes into a backup.
type Source struct {
	Header  // all but Format, Set, Threshold and the shares
	Dump    *store.Dump
	Files   []File
	Signed  []byte                               // checkpoint of the dump's log
	Sign    func(payload []byte) ([]byte, error) // a document of ManifestType
	Random  func([]byte) error                   // of the security module
	Tell    func(rows int64)                     // now and then; may be nil
	Quorum  int                                  // how many custodians open it
	Holders []Custodian                          // without their shares
	Set     string
}

// Write writes a backup, and tells what it signed. Memory does not grow with
// what is in it.
func Write(w io.Writer, s Source) (Header, Manifest, error) {
	h := s.Header
	h.Format, h.Set, h.Threshold, h.Custodians = headerFormat, s.Set, s.Quorum, s.Holders
	var to []hsm.Holder
	for _, c := range h.Custodians {
		if c.Credential.Seal == nil {
			return h, Manifest{}, fmt.Errorf("person %s: the passkey cannot open what is sealed; enrol one with the PRF extension", c.Person)
		}
		key, err := c.Credential.Seal.Key()
		if err != nil {
			return h, Manifest{}, fmt.Errorf("person %s: %w", c.Person, err)
		}
		to = append(to, hsm.Holder{Name: c.Person, Key: key})
	}
	key, shares, err := hsm.NewSharedDataKey(s.Set, s.Quorum, to, s.Random)
	if err != nil {
		return h, Manifest{}, err
	}
	defer key.Close()
	for i := range shares {
		h.Custodians[i].Share = shares[i]
	}
	first, err := h.begin()
	if err == nil {
		err = h.check()
	}
	if err != nil {
		return h, Manifest{}, err
	}
	if _, err := w.Write(first); err != nil {
		return h, Manifest{}, err
	}
	digest := sha256.Sum256(first)
	body := newSealer(w, key, digest)
	m := Manifest{Format: manifestFormat, Site: h.Site, Header: hex.EncodeToString(digest[:]), Checkpoint: string(s.Signed), Rows: map[string]int64{}}
	out := writer{w: body}
	if err := out.all(s, &m); err != nil {
		return h, m, err
	}
	if err := body.Close(); err != nil {
		return h, m, err
	}
	m.Body, m.Size = hex.EncodeToString(body.body.Sum(nil)), body.size
	payload, err := json.Marshal(m)
	if err != nil {
		return h, m, err
	}
	doc, err := s.Sign(payload)
	if err != nil {
		return h, m, err
	}
	_, err = w.Write(doc)
	return h, m, err
}

// A writer writes records.
type writer struct {
	w   io.Writer
	buf []byte
}

func (w *writer) record(kind byte, values ...any) error {
	w.buf = appendRecord(w.buf[:0], kind, values...)
	_, err := w.w.Write(w.buf)
	clear(w.buf)
	return err
}

func (w *writer) all(s Source, m *Manifest) error {
	for name, v := range sorted(s.Dump.Versions) {
		if err := w.record(recVersion, name, v); err != nil {
			return err
		}
	}
	var told int64
	for _, t := range s.Dump.Tables {
		head := []any{t.Name}
		for _, c := range t.Columns {
			head = append(head, c)
		}
		if err := w.record(recTable, head...); err != nil {
			return err
		}
		var rows int64
		err := s.Dump.Rows(t, func(values []any) error {
			rows++
			if told++; s.Tell != nil && told%10000 == 0 {
				s.Tell(told)
			}
			return w.record(recRow, values...)
		})
		if err != nil {
			return err
		}
		m.Rows[t.Name] = rows
		if err := w.record(recRows, rows); err != nil {
			return err
		}
	}
	last := ""
	for _, f := range s.Files {
		if f.Path <= last {
			return fmt.Errorf("backup: file %s comes after %s", f.Path, last)
		}
		last = f.Path
		if err := w.file(f); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		m.Files++
	}
	return w.record(recEnd)
}

func (w *writer) file(f File) error {
	if err := checkPath(f.Path); err != nil {
		return err
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	if err := w.record(recFile, f.Path, int64(f.Mode.Perm())); err != nil {
		return err
	}
	sum, piece := sha256.New(), make([]byte, 32<<10)
	for {
		n, err := io.ReadFull(in, piece)
		if n > 0 {
			sum.Write(piece[:n])
			if err := w.record(recPiece, piece[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return w.record(recFileEnd, sum.Sum(nil))
		}
		if err != nil {
			return err
		}
	}
}

// checkPath refuses a path that leaves its folder, or is written in two ways.
func checkPath(p string) error {
	if !fs.ValidPath(p) || p == "." || strings.ContainsAny(p, "\\\x00") || path.Clean(p) != p {
		return damaged("%q is not the path of a file in it", p)
	}
	return nil
}

// A Target takes what a backup holds. Nothing of it may count before Read
// returned without an error: what is wrong at the end is wrong with all.
type Target interface {
	// Versions begins the database.
	Versions(map[string]int64) error
	Table(store.Table) error
	Row(values []any) error
	// File begins a file; what is written to it until Close is its content.
	File(path string, mode fs.FileMode) (io.WriteCloser, error)
}

// Read opens a backup that Verify let pass, and gives to all that it holds. The
// custodians' shares are opened by open. Every byte is checked: that it opens in
// its place, that it is a record where one may be, and that there are as many
// rows and files as the manifest says.
func Read(r io.Reader, m Manifest, shares []hsm.Share, open hsm.Opener, to Target) error {
	in := bufio.NewReaderSize(r, buffer)
	h, digest, err := readHeader(in)
	if err != nil {
		return err
	}
	if hex.EncodeToString(digest[:]) != m.Header {
		return damaged("its header is not the one that was verified")
	}
	for _, s := range shares {
		if s.Set != h.Set {
			return fmt.Errorf("the share of %s: %w: %s, want %s", s.Holder, hsm.ErrSet, s.Set, h.Set)
		}
	}
	key, err := hsm.OpenSharedDataKey(shares, open)
	if err != nil {
		return fmt.Errorf("opening the backup: %w", err)
	}
	defer key.Close()
	content := &opener{chunks: chunks{r: in}, key: key, header: digest}
	defer func() { clear(content.plain) }()
	got, err := read(newRecordReader(content), to)
	if err != nil {
		return err
	}
	if !maps.Equal(got.Rows, m.Rows) || got.Files != m.Files {
		return damaged("it has %d files and the rows %v, its manifest says %d and %v", got.Files, got.Rows, m.Files, m.Rows)
	}
	return nil
}

// read reads a stream of records, in the one order that they may have.
func read(d *recordReader, to Target) (m Manifest, err error) {
	m.Rows = map[string]int64{}
	next := func() (kind byte, values []any) {
		if err == nil {
			if kind, values, err = d.next(); err == io.EOF {
				err = damaged("its content ends after record %d, and says nothing of an end", d.n)
			}
		}
		return kind, values
	}
	versions := map[string]int64{}
	kind, values := next()
	last := ""
	for ; err == nil && kind == recVersion; kind, values = next() {
		name, version, ok := textNumber(values)
		if !ok || name <= last {
			return m, damaged("record %d is not the version of a schema in its place", d.n)
		}
		versions[name], last = version, name
	}
	if err == nil {
		err = to.Versions(versions)
	}
	for ; err == nil && kind == recTable; kind, values = next() {
		t, ok := tableOf(values)
		if _, twice := m.Rows[t.Name]; !ok || twice {
			return m, damaged("record %d is not the beginning of a table", d.n)
		}
		if err = to.Table(t); err != nil {
			return m, err
		}
		var rows int64
		for kind, values = next(); err == nil && kind == recRow; kind, values = next() {
			if len(values) != len(t.Columns) {
				return m, damaged("record %d is a row of %d values, table %s has %d columns", d.n, len(values), t.Name, len(t.Columns))
			}
			if err = to.Row(values); err != nil {
				return m, err
			}
			rows++
		}
		if err != nil {
			return m, err
		}
		if n, ok := number(values); kind != recRows || !ok || n != rows {
			return m, damaged("table %s ends at record %d after %d rows, which is not where it says", t.Name, d.n, rows)
		}
		m.Rows[t.Name] = rows
	}
	last = ""
	for ; err == nil && kind == recFile; kind, values = next() {
		name, mode, ok := textNumber(values)
		if !ok || mode < 0 || mode > 0o777 || checkPath(name) != nil || name <= last {
			return m, damaged("record %d is not the beginning of a file in its place", d.n)
		}
		last = name
		if err = readFile(d, to, name, fs.FileMode(mode)); err != nil {
			return m, err
		}
		m.Files++
	}
	if err != nil {
		return m, err
	}
	if kind != recEnd || len(values) != 0 {
		return m, damaged("record %d has the type %q, where it may not be", d.n, kind)
	}
	if _, _, err := d.next(); err != io.EOF {
		return m, damaged("something follows its end: %v", err)
	}
	return m, nil
}

// readFile gives one file to to.
func readFile(d *recordReader, to Target, name string, mode fs.FileMode) (err error) {
	w, err := to.File(name, mode)
	if err != nil {
		return err
	}
	defer func() {
		if e := w.Close(); err == nil {
			err = e
		}
	}()
	sum := sha256.New()
	for {
		kind, values, err := d.next()
		if err == io.EOF {
			err = damaged("its content ends in the middle of %s", name)
		}
		if err != nil {
			return err
		}
		var b []byte
		if len(values) == 1 {
			b, _ = values[0].([]byte)
		}
		switch {
		case kind == recPiece && len(b) > 0:
			sum.Write(b)
			if _, err := w.Write(b); err != nil {
				return err
			}
		case kind == recFileEnd && bytes.Equal(b, sum.Sum(nil)):
			return nil
		default:
			return damaged("record %d is not of the file %s", d.n, name)
		}
	}
}

func textNumber(values []any) (s string, n int64, ok bool) {
	if len(values) != 2 {
		return "", 0, false
	}
	s, is := values[0].(string)
	n, ok = values[1].(int64)
	return s, n, is && ok
}

func number(values []any) (n int64, ok bool) {
	if len(values) == 1 {
		n, ok = values[0].(int64)
	}
	return n, ok
}

func tableOf(values []any) (t store.Table, ok bool) {
	for i, v := range values {
		s, is := v.(string)
		if !is || s == "" {
			return t, false
		}
		if i == 0 {
			t.Name = s
		} else {
			t.Columns = append(t.Columns, s)
		}
	}
	return t, len(t.Columns) > 0
}

// sorted yields a map in the order of its keys.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
