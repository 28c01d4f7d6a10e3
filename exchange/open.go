package exchange

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

const (
	// piece is how much of the file the second pass verifies at a time.
	piece = 256 << 10
	// bombRatio and bombFloor bound what a message may decompress to: text of
	// the trade compresses ten to twenty times.
	bombRatio = 200
	bombFloor = 1 << 20
	// wrapping is what stands around the content inside the encryption.
	wrapping = 64 << 10
)

// Limits bound a message, in bytes. A limit of zero allows nothing.
type Limits struct {
	MaxPlain  int64 // of the content
	MaxCipher int64 // of the file

	// Now is the time by which signatures are judged; nil is the machine's.
	Now func() time.Time
}

// A Message is a file that was verified from its first to its last byte. Its
// content can be read any number of times; it is never stored.
type Message struct {
	From   *Partner
	Signer string            // fingerprint of the key that signed, upper-case hexadecimal
	Signed time.Time         // as the signer says
	SHA256 [sha256.Size]byte // of the file
	Plain  [sha256.Size]byte // of the content
	Size   int64             // of the content, bytes
	Notes  []Note            // what the signer says beside it
	Name   string            // what the sender calls the content; not signed, so nobody should act on it

	path   string
	me     *Identity
	limits Limits
	now    func() time.Time
	pieces [][sha256.Size]byte // of the file, piece by piece
}

// Open verifies the OpenPGP message in the file at path, binary or armored:
// encrypted to me, whole, alone in its file, and signed by a key of one of the
// partners that is valid now. It decrypts all of it to do so and keeps none:
// Message.Read decrypts again. What it refuses is a *Refusal; other errors are
// of the file system or the security module.
func Open(path string, me *Identity, from []*Partner, limits Limits) (*Message, error) {
	if err := me.usable(); err != nil {
		return nil, err
	}
	keys := openpgp.EntityList{me.entity}
	for _, p := range from {
		if p == nil || p.key == nil {
			return nil, errors.New("partner has no OpenPGP key")
		}
		keys = append(keys, p.key)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > limits.MaxCipher {
		return nil, named(path, refuse(TooLarge, "file has %d bytes, want at most %d", info.Size(), limits.MaxCipher))
	}
	m := &Message{path: path, me: me, limits: limits, now: limits.Now}
	if m.now == nil {
		m.now = time.Now
	}
	if err := m.verify(file, info.Size(), keys, from); err != nil {
		return nil, named(path, err)
	}
	return m, nil
}

// Read decrypts the message again and gives its content to read. Not a byte
// reaches read that Open did not verify: the file is compared piece by piece
// before it is decrypted. If read leaves content, the rest is checked all the
// same. The error is read's own, or a *Refusal if the file changed.
func (m *Message) Read(read func(io.Reader) error) error {
	if m == nil || m.From == nil {
		return errors.New("message was not opened")
	}
	file, err := os.Open(m.path)
	if err != nil {
		return err
	}
	defer file.Close()
	same := &samePieces{r: file, want: m.pieces}
	plain, err := m.decrypt(same, openpgp.EntityList{m.me.entity, m.From.key})
	if err != nil {
		return named(m.path, same.cause(err))
	}
	body := &sameBody{plain: plain, same: same, m: m, hash: sha256.New()}
	if err := read(body); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return named(m.path, err)
	}
	return nil
}

// verify is the first pass.
func (m *Message) verify(file io.Reader, size int64, keys openpgp.EntityList, from []*Partner) error {
	sums := &pieceSums{r: file, whole: sha256.New()}
	plain, err := m.decrypt(io.LimitReader(sums, m.limits.MaxCipher+1), keys)
	if err != nil {
		return err
	}
	content := sha256.New()
	n, err := io.Copy(content, io.LimitReader(plain, m.ceiling(size)+1))
	if err == nil && n > m.ceiling(size) {
		err = refuse(TooLarge, "content has more than %d bytes, as a file of %d bytes is allowed", m.ceiling(size), size)
	}
	if err != nil {
		return plain.cause(err)
	}
	if err := plain.end(); err != nil {
		return err
	}
	if m.From, err = plain.signer(from, m.now()); err != nil {
		return err
	}
	m.Size, m.Name = n, plain.md.LiteralData.FileName
	m.Signer = fmt.Sprintf("%X", plain.md.SignedBy.PublicKey.Fingerprint)
	m.Signed = plain.md.Signature.CreationTime.UTC()
	for _, n := range plain.md.Signature.Notations {
		if n.IsHumanReadable && len(n.Value) <= maxNote && utf8.Valid(n.Value) {
			m.Notes = append(m.Notes, Note{n.Name, string(n.Value)})
		}
	}
	content.Sum(m.Plain[:0])
	sums.whole.Sum(m.SHA256[:0])
	m.pieces = sums.finish()
	return nil
}

// ceiling is the most bytes of content that a file of this size may have.
func (m *Message) ceiling(size int64) int64 {
	return min(m.limits.MaxPlain, size*bombRatio+bombFloor)
}

// plaintext is the content of a message being decrypted.
type plaintext struct {
	io.Reader
	md     *openpgp.MessageDetails
	frame  *frame
	source *bufio.Reader
	armor  bool
}

// decrypt begins to decrypt a message.
func (m *Message) decrypt(r io.Reader, keys openpgp.EntityList) (*plaintext, error) {
	p := &plaintext{source: bufio.NewReaderSize(r, piece)}
	binary, err := p.dearmor()
	if err != nil {
		return nil, err
	}
	p.frame = newFrame(binary, m.me.reads)
	limit := m.limits.MaxPlain + wrapping
	config := &packet.Config{
		Time:                       func() time.Time { return m.now().Add(clockSkew) },
		MaxDecompressedMessageSize: &limit,
	}
	failed, _ := m.me.module.troubles()
	if p.md, err = openpgp.ReadMessage(p.frame, keys, nil, config); err != nil {
		// Whether the message is for us is not known while the module does nothing.
		if n, trouble := m.me.module.troubles(); n > failed && errors.Is(err, pgperrors.ErrKeyIncorrect) {
			return nil, fmt.Errorf("opening the session key: %w", trouble)
		}
		return nil, p.cause(err)
	}
	p.Reader = p.md.UnverifiedBody
	return p, nil
}

// reads reports whether a session key may be for our subkey.
func (i *Identity) reads(r recipient) bool {
	if r.fingerprint != "" {
		return r.fingerprint == string(i.entity.Subkeys[0].PublicKey.Fingerprint)
	}
	return r.id == 0 || r.id == i.entity.Subkeys[0].PublicKey.KeyId
}

const armorHead, armorTail = "-----BEGIN PGP MESSAGE-----", "-----END PGP MESSAGE-----"

// dearmor returns the binary form of the source.
func (p *plaintext) dearmor() (io.Reader, error) {
	start, err := p.source.Peek(1)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if len(start) == 0 || start[0]&0x80 != 0 {
		return p.source, nil
	}
	start, err = p.source.Peek(len(armorHead) + 32)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if strings.HasPrefix(string(start), "-----BEGIN PGP SIGNED MESSAGE") {
		return nil, refuse(NotEncrypted, "message is signed only, want it encrypted too; treat what it holds as exposed")
	}
	if !bytes.HasPrefix(bytes.TrimLeft(start, "\r\n\t "), []byte(armorHead)) {
		return nil, refuse(NotOpenPGP, "found neither a binary nor an armored OpenPGP message; want a file made with gpg --sign --encrypt or the like")
	}
	block, err := armor.Decode(p.source)
	if err != nil {
		return nil, refuse(Truncated, "armor ends in its header; ask the partner to send it again")
	}
	p.armor = true
	return block.Body, nil
}

// end checks that nothing follows the message.
func (p *plaintext) end() error {
	if _, err := io.Copy(io.Discard, p.frame); err != nil {
		return p.cause(err)
	}
	if !p.armor {
		return nil
	}
	rest, err := io.ReadAll(io.LimitReader(p.source, int64(len(armorTail)+64)))
	if err != nil {
		return err
	}
	if text := string(bytes.TrimSpace(rest)); text != "" && text != armorTail {
		return refuse(Trailing, "found text after the armored OpenPGP message, want nothing; ask the partner to send the message alone")
	}
	return nil
}

// cause turns the library's error into a refusal. The library hides why
// decryption broke off, so what the frame saw comes first.
func (p *plaintext) cause(err error) error {
	var refusal *Refusal
	var damaged pgperrors.DecryptWithSessionKeyError
	var sign pgperrors.SignatureError
	var malformed pgperrors.ErrMalformedMessage
	var structural pgperrors.StructuralError
	var unsupported pgperrors.UnsupportedError
	var invalid pgperrors.InvalidArgumentError
	switch {
	case p.frame != nil && p.frame.err != nil && p.frame.err != io.EOF:
		return p.frame.err
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(err, pgperrors.ErrMessageTooLarge):
		return refuse(TooLarge, "content decompresses to more than the limit; ask the partner to send it uncompressed or in parts")
	case errors.Is(err, pgperrors.ErrKeyIncorrect):
		return refuse(NotForUs, "session key does not open with our key; ask the partner to use our current partner card")
	case errors.As(err, &damaged), errors.As(err, &sign):
		return refuse(Damaged, "content was changed on its way (integrity check failed); ask the partner to send it again")
	case errors.As(err, &malformed), errors.As(err, &structural), errors.As(err, &unsupported), errors.As(err, &invalid):
		return refuse(NotOpenPGP, "message is not well formed: %v", err)
	default:
		return err
	}
}

// signer is the partner who signed, once all content was read.
func (p *plaintext) signer(from []*Partner, now time.Time) (*Partner, error) {
	md := p.md
	if !md.IsSigned {
		return nil, refuse(NotSigned, "message is not signed, want the partner's signature; ask the partner to sign and encrypt")
	}
	by := "nobody known"
	if c := md.SelectedCandidate; c != nil {
		by = fmt.Sprintf("key %016X", c.IssuerKeyId)
	}
	switch err := md.SignatureError; {
	case err == nil && md.SignedBy != nil && md.Signature != nil:
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return nil, refuse(UnknownSigner, "message is signed by %s, want %s", by, fingerprints(from))
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return nil, refuse(KeyExpired, "signature by %s, which has expired; ask for a new partner card", by)
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return nil, refuse(KeyRevoked, "signature by %s, which was revoked; ask for a new partner card, and ask why", by)
	default:
		return nil, refuse(BadSignature, "signature by %s does not hold: %v", by, err)
	}
	at := slices.IndexFunc(from, func(q *Partner) bool { return q.key == md.SignedBy.Entity })
	if at < 0 {
		return nil, refuse(UnknownSigner, "message is signed by %s, want %s", by, fingerprints(from))
	}
	return from[at], stillValid(md.SignedBy, now)
}

// stillValid checks the signing key as of the present; the library looks at the
// time that the signature claims, which the holder of an old key may choose. A
// key may have been made a little ahead of our clock.
func stillValid(key *openpgp.Key, now time.Time) error {
	err := validAt(key, now)
	if err != nil && validAt(key, now.Add(clockSkew)) == nil {
		err = nil
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return refuse(KeyRevoked, "signing key %016X was revoked; ask for a new partner card, and ask why", key.PublicKey.KeyId)
	default:
		return refuse(KeyExpired, "signing key %016X is not valid now: %v; ask for a new partner card", key.PublicKey.KeyId, err)
	}
}

func validAt(key *openpgp.Key, at time.Time) error {
	_, err := key.Entity.VerifyPrimaryKey(at, nil)
	if err == nil && !key.IsPrimary() {
		for i := range key.Entity.Subkeys {
			if sub := &key.Entity.Subkeys[i]; sub.PublicKey == key.PublicKey {
				_, err = sub.Verify(at, nil)
			}
		}
	}
	return err
}

func fingerprints(from []*Partner) string {
	if len(from) == 0 {
		return "a partner, of which there are none"
	}
	if len(from) > 3 {
		return fmt.Sprintf("a key of one of %d partners", len(from))
	}
	var all []string
	for _, p := range from {
		all = append(all, p.Fingerprint()+" ("+p.Name()+")")
	}
	return strings.Join(all, " or ")
}

// named puts the file into a refusal, and leaves other errors alone.
func named(path string, err error) error {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		refusal.File = path
		return refusal
	}
	return err
}

// pieceSums hashes a file while it is read: all of it, and each piece.
type pieceSums struct {
	r     io.Reader
	whole hash.Hash
	part  hash.Hash
	n     int // bytes in part
	sums  [][sha256.Size]byte
}

func (s *pieceSums) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.whole.Write(p[:n])
	for p = p[:n]; len(p) > 0; {
		if s.part == nil {
			s.part = sha256.New()
		}
		k := min(len(p), piece-s.n)
		s.part.Write(p[:k])
		p, s.n = p[k:], s.n+k
		if s.n == piece {
			s.cut()
		}
	}
	return n, err
}

func (s *pieceSums) cut() {
	var sum [sha256.Size]byte
	s.part.Sum(sum[:0])
	s.part.Reset()
	s.sums, s.n = append(s.sums, sum), 0
}

func (s *pieceSums) finish() [][sha256.Size]byte {
	if s.n > 0 {
		s.cut()
	}
	return s.sums
}

// samePieces reads a file as long as it is the one whose sums are wanted.
type samePieces struct {
	r    io.Reader
	want [][sha256.Size]byte
	buf  []byte
	rest []byte
	at   int
	err  error
}

func (s *samePieces) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		if s.err == nil {
			s.err = s.fill()
		}
		if s.err != nil {
			return 0, s.err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *samePieces) fill() error {
	if s.buf == nil {
		s.buf = make([]byte, piece)
	}
	n, err := io.ReadFull(s.r, s.buf)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	if n == 0 && s.at == len(s.want) {
		return io.EOF
	}
	if s.at == len(s.want) || sha256.Sum256(s.buf[:n]) != s.want[s.at] {
		return refuse(Changed, "file is not the one that was verified: it differs in its %s; keep it and tell the security officer", place(s.at))
	}
	s.at++
	s.rest = s.buf[:n]
	return nil
}

func place(at int) string { return fmt.Sprintf("bytes from %d on", at*piece) }

// cause prefers what this reader saw to what became of it.
func (s *samePieces) cause(err error) error {
	if s.err != nil && s.err != io.EOF {
		return s.err
	}
	return err
}

// sameBody gives the content of the second pass and, before it says io.EOF,
// compares it with the first.
type sameBody struct {
	plain *plaintext
	same  *samePieces
	m     *Message
	hash  hash.Hash
	n     int64
	err   error
}

func (b *sameBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.plain.Read(p)
	b.hash.Write(p[:n])
	b.n += int64(n)
	if err != nil {
		b.err = b.finish(err)
	}
	if n > 0 {
		return n, nil
	}
	return 0, b.err
}

func (b *sameBody) finish(err error) error {
	if err == io.EOF {
		err = b.plain.end()
	}
	if err != nil {
		return named(b.m.path, b.same.cause(b.plain.cause(err)))
	}
	var sum [sha256.Size]byte
	b.hash.Sum(sum[:0])
	if sum != b.m.Plain || b.n != b.m.Size {
		return named(b.m.path, refuse(Changed, "content is not the one that was verified; keep the file and tell the security officer"))
	}
	return io.EOF
}
