package backup

import (
	"bufio"
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"ankan/audit"
	"ankan/hsm"
	"ankan/passkey"
)

// A Header is what a backup says of itself in clear.
type Header struct {
	Format  string    `json:"format"`
	Site    string    `json:"site"`
	Country string    `json:"country"`
	Roles   []string  `json:"roles"`
	Made    time.Time `json:"made"`
	Program string    `json:"program"`
	Log     string    `json:"log"` // the key that signs the log's checkpoints, for audit.OpenCheckpoint
	Set     string    `json:"set"` // of the shares; no two backups have the same
	// Custodians open the backup: as many of them as Threshold says.
	Threshold  int         `json:"threshold"`
	Custodians []Custodian `json:"custodians"`
}

// A Custodian has a share of a backup's key, which only their passkey opens: all
// that it takes is here, and the passkey.
type Custodian struct {
	Person     string             `json:"person"`
	Name       string             `json:"name"`
	Credential passkey.Credential `json:"credential"`
	Share      hsm.Share          `json:"share"`
}

// A Manifest ends a backup, signed by the site.
type Manifest struct {
	Format     string           `json:"format"`
	Site       string           `json:"site"`
	Header     string           `json:"header_sha256"`
	Body       string           `json:"body_sha256"` // of the chunks as they stand in the file
	Size       int64            `json:"body_size"`   // bytes
	Checkpoint string           `json:"checkpoint"`  // signed, of the log in the backup
	Rows       map[string]int64 `json:"rows"`        // by table
	Files      int64            `json:"files"`
}

// The formats.
const (
	headerFormat   = "ankan/backup/v1"
	manifestFormat = "ankan/backup-manifest/v1"

	// ManifestType is the media type of a signed manifest.
	ManifestType = "application/vnd.ankan.backup-manifest+json"

	firstLine = "ankan backup 1\n"
)

const (
	chunkSize   = 64 << 10 // of what is sealed in one chunk, bytes
	lastChunk   = 1 << 31
	maxHeader   = 1 << 20
	buffer      = 16 << 10
	maxManifest = 1 << 20
)

// check refuses a header that says nothing that could be.
func (h Header) check() error {
	switch {
	case h.Format != headerFormat:
		return damaged("its header has the format %q, want %q", h.Format, headerFormat)
	case h.Site == "" || h.Set == "" || h.Made.IsZero() || h.Log == "":
		return damaged("its header names no site, set, time or log")
	case h.Threshold < 2 || h.Threshold >= len(h.Custodians):
		return damaged("its header asks for %d of %d custodians, want 2 <= threshold < custodians", h.Threshold, len(h.Custodians))
	}
	for _, c := range h.Custodians {
		if c.Share.Set != h.Set || c.Share.Threshold != h.Threshold || c.Share.Of != len(h.Custodians) || c.Share.Holder != c.Person {
			return damaged("the share of person %s is not of this backup", c.Person)
		}
	}
	return nil
}

// Shares are the shares of these persons.
func (h Header) Shares(persons ...string) ([]hsm.Share, error) {
	var all []hsm.Share
next:
	for _, id := range persons {
		for _, c := range h.Custodians {
			if c.Person == id {
				all = append(all, c.Share)
				continue next
			}
		}
		return nil, fmt.Errorf("person %s has no share of this backup; its custodians are %s", id, strings.Join(h.persons(), ", "))
	}
	return all, nil
}

func (h Header) persons() (ids []string) {
	for _, c := range h.Custodians {
		ids = append(ids, c.Person)
	}
	return ids
}

// begin is the first two lines of a backup.
func (h Header) begin() ([]byte, error) {
	b, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	if len(b) > maxHeader {
		return nil, fmt.Errorf("backup: its header has %d bytes, want at most %d", len(b), maxHeader)
	}
	return append(append([]byte(firstLine), b...), '\n'), nil
}

// ReadHeader reads the header alone. It is not proved before Verify.
func ReadHeader(r io.Reader) (Header, error) {
	h, _, err := readHeader(bufio.NewReaderSize(r, buffer))
	return h, err
}

// readHeader also gives the digest of the lines.
func readHeader(r *bufio.Reader) (h Header, digest [sha256.Size]byte, err error) {
	first := make([]byte, len(firstLine))
	if _, err := io.ReadFull(r, first); err != nil || string(first) != firstLine {
		return h, digest, damaged("it does not begin as a backup does")
	}
	var line []byte
	for len(line) <= maxHeader {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return h, digest, damaged("its header does not end")
		}
	}
	if line[len(line)-1] != '\n' {
		return h, digest, damaged("its header has more than %d bytes", maxHeader)
	}
	if err := audit.Strict(line[:len(line)-1], &h); err != nil {
		return h, digest, damaged("its header: %v", err)
	}
	digest = sha256.Sum256(append(first, line...))
	again, err := h.begin()
	if err != nil || sha256.Sum256(again) != digest {
		return h, digest, damaged("its header is not in the form in which headers are written")
	}
	return h, digest, h.check()
}

// A sealer seals what is written to it, in chunks.
type sealer struct {
	w      io.Writer
	key    *hsm.DataKey
	header [sha256.Size]byte
	body   hash.Hash
	size   int64
	n      uint64
	plain  []byte
	out    []byte
}

func newSealer(w io.Writer, key *hsm.DataKey, header [sha256.Size]byte) *sealer {
	return &sealer{w: w, key: key, header: header, body: sha256.New(), plain: make([]byte, 0, chunkSize)}
}

// place is what a chunk is bound to.
func place(header [sha256.Size]byte, n uint64, last bool) []byte {
	b := binary.BigEndian.AppendUint64(append([]byte("ankan backup chunk\x00"), header[:]...), n)
	if last {
		return append(b, 1)
	}
	return append(b, 0)
}

func (s *sealer) Write(p []byte) (int, error) {
	all := len(p)
	for len(p) > 0 {
		if len(s.plain) == chunkSize {
			if err := s.flush(false); err != nil {
				return 0, err
			}
		}
		n := min(chunkSize-len(s.plain), len(p))
		s.plain, p = append(s.plain, p[:n]...), p[n:]
	}
	return all, nil
}

func (s *sealer) flush(last bool) error {
	if err := s.key.Err(); err != nil {
		return err
	}
	length := uint32(len(s.plain) + hsm.SealOverhead)
	if last {
		length |= lastChunk
	}
	s.out = binary.BigEndian.AppendUint32(s.out[:0], length)
	s.out = s.key.Seal(s.out, s.plain, place(s.header, s.n, last))
	clear(s.plain)
	s.plain = s.plain[:0]
	s.n++
	s.size += int64(len(s.out))
	s.body.Write(s.out)
	_, err := s.w.Write(s.out)
	return err
}

// Close seals the last chunk.
func (s *sealer) Close() error { return s.flush(true) }

// chunks reads the chunks of a body one by one, as they stand in the file.
type chunks struct {
	r    *bufio.Reader
	buf  []byte
	last bool
}

// next is the next chunk with its length; io.EOF after the last one.
func (c *chunks) next() ([]byte, error) {
	if c.last {
		return nil, io.EOF
	}
	var head [4]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return nil, damaged("it is cut short in its body")
	}
	length := binary.BigEndian.Uint32(head[:])
	c.last = length&lastChunk != 0
	length &^= lastChunk
	if length < hsm.SealOverhead || length > chunkSize+hsm.SealOverhead || !c.last && length != chunkSize+hsm.SealOverhead {
		return nil, damaged("a chunk of %d bytes", length)
	}
	if c.buf == nil {
		c.buf = make([]byte, 4+chunkSize+hsm.SealOverhead)
	}
	copy(c.buf, head[:])
	if _, err := io.ReadFull(c.r, c.buf[4:4+length]); err != nil {
		return nil, damaged("it is cut short in its body")
	}
	return c.buf[:4+length], nil
}

// An opener gives what a sealer took. Nothing is given that did not open.
type opener struct {
	chunks
	key    *hsm.DataKey
	header [sha256.Size]byte
	n      uint64
	plain  []byte
	at     int
}

func (o *opener) Read(p []byte) (int, error) {
	for o.at == len(o.plain) {
		sealed, err := o.next()
		if err != nil {
			return 0, err
		}
		clear(o.plain)
		o.plain, err = o.key.Open(o.plain[:0], sealed[4:], place(o.header, o.n, o.last))
		if errors.Is(err, hsm.ErrSealed) {
			return 0, damaged("its chunk %d does not open: it was changed, or is of another backup", o.n+1)
		}
		if err != nil {
			return 0, err
		}
		o.n, o.at = o.n+1, 0
	}
	n := copy(p, o.plain[o.at:])
	o.at += n
	return n, nil
}

// Verify checks all that can be checked of a backup without its custodians: its
// form from first to last byte, its digests, the signature of the site, whose
// public key is key, and its checkpoint. Nothing is decrypted.
func Verify(r io.Reader, key crypto.PublicKey) (Header, Manifest, error) {
	in := bufio.NewReaderSize(r, buffer)
	h, digest, err := readHeader(in)
	if err != nil {
		return h, Manifest{}, err
	}
	body, size := sha256.New(), int64(0)
	for c := (chunks{r: in}); ; {
		chunk, err := c.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return h, Manifest{}, err
		}
		body.Write(chunk)
		size += int64(len(chunk))
	}
	m, err := readManifest(in, key, h)
	if err != nil {
		return h, m, err
	}
	switch {
	case m.Format != manifestFormat || m.Site != h.Site:
		err = damaged("its manifest is of %q, format %q", m.Site, m.Format)
	case m.Header != hex.EncodeToString(digest[:]):
		err = damaged("its header is not the one that was signed")
	case m.Size != size || m.Body != hex.EncodeToString(body.Sum(nil)):
		err = damaged("its content is not the one that was signed")
	default:
		if _, open := audit.OpenCheckpoint([]byte(m.Checkpoint), h.Log); open != nil {
			err = fmt.Errorf("%w: its checkpoint: %w", ErrDamaged, open)
		}
	}
	return h, m, err
}

func readManifest(r io.Reader, key crypto.PublicKey, h Header) (m Manifest, err error) {
	text, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err != nil {
		return m, err
	}
	if len(text) > maxManifest || len(text) == 0 {
		return m, damaged("its manifest has %d bytes, want 1 to %d", len(text), maxManifest)
	}
	doc, err := audit.OpenDocument(text, ManifestType, key)
	if err != nil {
		return m, fmt.Errorf("%w: its manifest: %w", ErrDamaged, err)
	}
	// The name of the key is not signed.
	if name, _, _ := strings.Cut(h.Log, "+"); doc.KeyName != name {
		return m, damaged("its manifest is signed by %q, want %q", doc.KeyName, name)
	}
	if err := audit.Strict(doc.Payload, &m); err != nil {
		return m, damaged("its manifest: %v", err)
	}
	return m, nil
}
