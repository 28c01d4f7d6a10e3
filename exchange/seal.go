package exchange

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Seal begins a binary OpenPGP message to w, signed by us and encrypted to the
// partner with AES-256, not compressed: key material must not leak through its
// length. What is written is streamed; name is the file name that the receiver
// sees (encrypted, but not signed: nobody should act on it).
//
// Notes are signed with it, and shown to whoever opens it.
//
// w is written to while the next piece is being encrypted; when Close returns,
// everything is written. Close finishes and signs the message but does not close
// w. A message that is not closed does not open: after an error, leave it, and w.
func Seal(w io.Writer, from *Identity, to *Partner, name string, notes ...Note) (io.WriteCloser, error) {
	return sealTo(w, from, to, name, false, notes)
}

// A Note is said beside a message's content, under its signature: a notation of
// OpenPGP (RFC 9580, 5.2.3.24), which programs that do not know it show or pass
// over.
type Note struct {
	Name string // "checkpoint@ankan"
	Text string
}

// maxNote bounds the text of a note, in bytes.
const maxNote = 4 << 10

// notations is notes as the library has them.
func notations(notes []Note) ([]*packet.Notation, error) {
	var all []*packet.Notation
	for _, n := range notes {
		if n.Name == "" || len(n.Name) > 100 || !utf8.ValidString(n.Text) || len(n.Text) > maxNote {
			return nil, fmt.Errorf("note %q of %d bytes, want a name, and at most %d bytes of text", n.Name, len(n.Text), maxNote)
		}
		all = append(all, &packet.Notation{Name: n.Name, Value: []byte(n.Text), IsHumanReadable: true})
	}
	return all, nil
}

// SealForOfficers is Seal to the partner and, each with a key of their own, to
// its nodal officers.
func SealForOfficers(w io.Writer, from *Identity, to *Partner, name string, notes ...Note) (io.WriteCloser, error) {
	return sealTo(w, from, to, name, true, notes)
}

func sealTo(w io.Writer, from *Identity, to *Partner, name string, officers bool, notes []Note) (io.WriteCloser, error) {
	if err := from.usable(); err != nil {
		return nil, err
	}
	if to == nil || to.key == nil {
		return nil, errors.New("partner has no OpenPGP key")
	}
	config := sealConfig()
	var err error
	if config.SignatureNotations, err = notations(notes); err != nil {
		return nil, err
	}
	keys := []*openpgp.Entity{to.key}
	if officers {
		keys = append(keys, to.officers...)
	}
	for _, key := range keys {
		if err := takesAES256(key, config); err != nil {
			return nil, fmt.Errorf("partner %s: %w", to.Name(), err)
		}
	}
	out := newAhead(w, 256<<10)
	message, err := openpgp.EncryptWithParams(out, keys, nil, &openpgp.EncryptParams{
		Signers: []*openpgp.Entity{from.entity},
		Hints:   &openpgp.FileHints{FileName: name},
		Config:  config,
	})
	if err != nil {
		return nil, fmt.Errorf("sealing for partner %s: %w", to.Name(), err)
	}
	return &sealer{in: bufio.NewWriterSize(message, 256<<10), message: message, out: out}, nil
}

// takesAES256 refuses a partner whose preferences would have the library fall
// back to AES-128 without a word.
func takesAES256(key *openpgp.Entity, config *packet.Config) error {
	self, err := key.VerifyPrimaryKey(config.Now(), config)
	if err != nil {
		return fmt.Errorf("OpenPGP key %X: %w; ask for a new partner card", key.PrimaryKey.Fingerprint, err)
	}
	ok := slices.Contains(self.PreferredSymmetric, uint8(packet.CipherAES256))
	if self.SEIPDv2 {
		ok = slices.ContainsFunc(self.PreferredCipherSuites, func(s [2]uint8) bool { return s[0] == uint8(packet.CipherAES256) })
	}
	if !ok {
		return fmt.Errorf("OpenPGP key %X does not list AES-256 among its ciphers; ask for a new partner card", key.PrimaryKey.Fingerprint)
	}
	return nil
}

// A sealer gathers small writes on both sides of the encryption.
type sealer struct {
	in      *bufio.Writer
	message io.Closer
	out     *ahead
	err     error
}

func (s *sealer) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.in.Write(p)
	s.err = err
	return n, err
}

func (s *sealer) Close() error {
	if s.err != nil {
		return s.err
	}
	s.err = errors.New("sealed message is closed")
	if err := s.in.Flush(); err != nil {
		return err
	}
	if err := s.message.Close(); err != nil {
		return fmt.Errorf("signing the message: %w", err)
	}
	return s.out.Flush()
}
