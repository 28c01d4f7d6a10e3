package audit

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A Checkpoint says what a log is at one moment (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string // the log's name, and its key's
	Size   int64  // entries
	Root   Hash
}

// text is the body of the note. Extension lines are neither written nor read:
// nobody could audit them.
func (c Checkpoint) text() string {
	return c.Origin + "\n" + strconv.FormatInt(c.Size, 10) + "\n" + c.Root.String() + "\n"
}

// Sign writes c as a signed note.
func (c Checkpoint) Sign(s note.Signer) ([]byte, error) {
	if c.Origin != s.Name() {
		return nil, fmt.Errorf("checkpoint of log %q, want the key's own log %q", c.Origin, s.Name())
	}
	signed, err := note.Sign(&note.Note{Text: c.text()}, s)
	if err != nil {
		return nil, fmt.Errorf("signing checkpoint: %w", err)
	}
	return signed, nil
}

// OpenCheckpoint reads a checkpoint that the key vkey signed; the origin must
// be the key's name. The error is WrongKey when only other keys signed it and
// Forged when the signature does not fit the text. Signatures of other keys
// (witnesses) may stand beside it.
func OpenCheckpoint(signed []byte, vkey string) (Checkpoint, error) {
	v, err := note.NewVerifier(strings.TrimSpace(vkey))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("verifier key: %w", err)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified):
		s := unverified.Note.UnverifiedSigs[0]
		return Checkpoint{}, fmt.Errorf("checkpoint: %w: signed by %s+%08x, want %s+%08x", WrongKey, s.Name, s.Hash, v.Name(), v.KeyHash())
	case errors.As(err, &invalid):
		return Checkpoint{}, fmt.Errorf("checkpoint: %w: the signature of %s does not fit its text", Forged, v.Name())
	case err != nil:
		return Checkpoint{}, fmt.Errorf("checkpoint: %w: %w", Forged, err)
	}
	c, err := parseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	if c.Origin != v.Name() {
		return Checkpoint{}, fmt.Errorf("checkpoint: %w: of log %q, want %q", WrongKey, c.Origin, v.Name())
	}
	return c, nil
}

func parseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 {
		return Checkpoint{}, fmt.Errorf("checkpoint has %d lines, want 3", len(lines)-1)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return Checkpoint{}, fmt.Errorf("checkpoint size %q, want a whole number", lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint root %q, want 32 bytes in base64", lines[2])
	}
	c := Checkpoint{Origin: lines[0], Size: size, Root: root}
	if c.text() != text {
		return Checkpoint{}, fmt.Errorf("checkpoint is not written as tlog-checkpoint wants it")
	}
	return c, nil
}

// A Signer signs checkpoints with an Ed25519 key that may lie in a security
// module. It is a note.Signer.
type Signer struct {
	name string
	vkey string
	ver  note.Verifier
	key  crypto.Signer
}

// NewSigner makes the signer of the log called name. The key must be Ed25519.
func NewSigner(name string, key crypto.Signer) (*Signer, error) {
	pub, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("log %q: key is %T, want Ed25519", name, key.Public())
	}
	vkey, err := VerifierKey(name, pub)
	if err != nil {
		return nil, err
	}
	ver, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, fmt.Errorf("log %q: %w", name, err)
	}
	return &Signer{name: name, vkey: vkey, ver: ver, key: key}, nil
}

// Name is the log's name.
func (s *Signer) Name() string { return s.name }

// KeyHash identifies the key (C2SP signed-note).
func (s *Signer) KeyHash() uint32 { return s.ver.KeyHash() }

// VerifierKey is the public key in the form that OpenCheckpoint takes.
func (s *Signer) VerifierKey() string { return s.vkey }

// Sign signs msg and looks at what came back: a module that signs wrongly
// would leave a log that nobody can open.
func (s *Signer) Sign(msg []byte) ([]byte, error) {
	sig, err := s.key.Sign(nil, msg, crypto.Hash(0))
	if err != nil {
		return nil, err
	}
	if !s.ver.Verify(msg, sig) {
		return nil, fmt.Errorf("key of log %q made a signature that does not verify", s.name)
	}
	return sig, nil
}

// VerifierKey writes a public key in the standard form name+hash+base64 (C2SP
// signed-note).
func VerifierKey(name string, key ed25519.PublicKey) (string, error) {
	vkey, err := note.NewEd25519VerifierKey(name, key)
	if err == nil {
		_, err = note.NewVerifier(vkey) // refuses a name that no note could carry
	}
	if err != nil {
		return "", fmt.Errorf("verifier key of %q: %w", name, err)
	}
	return vkey, nil
}

// PublicKey is the Ed25519 key in a verifier key.
func PublicKey(vkey string) (ed25519.PublicKey, error) {
	vkey = strings.TrimSpace(vkey)
	if _, err := note.NewVerifier(vkey); err != nil {
		return nil, fmt.Errorf("verifier key: %w", err)
	}
	raw, err := base64.StdEncoding.DecodeString(vkey[strings.Index(vkey, "+")+10:])
	if err != nil {
		return nil, fmt.Errorf("verifier key: %w", err)
	}
	return ed25519.PublicKey(raw[1:]), nil
}
