package factory

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ankan/passkey"
)

// Secrets are values that must lie nowhere in the clear, in all the forms in
// which they might. Many are looked for at once, by their first eight bytes. The
// zero value has none.
type Secrets struct {
	by    map[uint64][]form
	maybe []uint64 // a bit for the hash of each of them: most of a file need not be looked up
}

// hashed is the place of eight bytes in maybe: a word, and its bit.
func hashed(first uint64) (word, bit uint64) {
	const golden, bits = 0x9E3779B97F4A7C15, 19
	h := first * golden >> (64 - bits)
	return h / 64, 1 << (h % 64)
}

// A form is a secret as it may lie about.
type form struct {
	what  string
	bytes []byte
	word  bool // only between characters that are no hexadecimal digits
}

func (s *Secrets) add(what string, bytes []byte, isWord bool) {
	if s.by == nil {
		s.by, s.maybe = map[uint64][]form{}, make([]uint64, 1<<13)
	}
	k := binary.BigEndian.Uint64(bytes)
	word, bit := hashed(k)
	s.maybe[word] |= bit
	s.by[k] = append(s.by[k], form{what, bytes, isWord})
}

// Text adds a secret of eight bytes or more that lies about as it is or not at
// all.
func (s *Secrets) Text(what string, secret []byte) { s.add(what, secret, false) }

// Key adds a key of 16 bytes or more in all its forms: raw, with its nibbles
// swapped as cards have them, in hexadecimal, and in base64 wherever it stands in
// what is encoded.
func (s *Secrets) Key(what string, secret []byte) {
	s.add(what+", raw", secret, false)
	s.add(what+", nibbles swapped", swapped(secret), false)
	s.add(what+", hex", []byte(hex.EncodeToString(secret)), false)
	s.add(what+", HEX", []byte(strings.ToUpper(hex.EncodeToString(secret))), false)
	for shift := range 3 {
		text := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), secret...))
		text = text[(shift*8+5)/6 : len(text)-2]
		s.add(fmt.Sprintf("%s, base64 shifted by %d", what, shift), []byte(text), false)
		if url := strings.NewReplacer("+", "-", "/", "_").Replace(text); url != text {
			s.add(fmt.Sprintf("%s, base64url shifted by %d", what, shift), []byte(url), false)
		}
	}
}

// Code adds a code of eight digits as cards and files have it. Eight digits are
// found by chance in a digest's hexadecimal form, so there they do not count.
func (s *Secrets) Code(what string, digits []byte) {
	s.add(what+", digits", digits, true)
	s.add(what+", nibbles swapped", swapped(digits), false)
	s.add(what+", hex", []byte(hex.EncodeToString(digits)), false)
}

func swapped(b []byte) []byte {
	out := make([]byte, len(b))
	for i, v := range b {
		out[i] = v<<4 | v>>4
	}
	return out
}

// In says which secrets are in text.
func (s *Secrets) In(text []byte) (found []string) {
	if s.by == nil {
		return nil
	}
	var window uint64
	for i, c := range text {
		window = window<<8 | uint64(c)
		if i < 7 {
			continue
		}
		if word, bit := hashed(window); s.maybe[word]&bit == 0 {
			continue
		}
		at := i - 7
		for _, x := range s.by[window] {
			if bytes.HasPrefix(text[at:], x.bytes) && (!x.word || isWord(text, at, at+len(x.bytes))) {
				found = append(found, x.what)
			}
		}
	}
	return found
}

func isWord(text []byte, from, to int) bool {
	digit := func(i int) bool {
		return i >= 0 && i < len(text) && strings.IndexByte("0123456789abcdefABCDEF", text[i]) >= 0
	}
	return !digit(from-1) && !digit(to)
}

// Search looks into every file under dirs but those that except names, and says
// how many there were and what it found in which.
func (s *Secrets) Search(except func(path string) bool, dirs ...string) (files int, found []string, err error) {
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || except != nil && except(path) {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files++
			for _, what := range s.In(text) {
				found = append(found, path+": "+what)
			}
			return nil
		})
		if err != nil {
			return files, found, err
		}
	}
	return files, found, nil
}

// Forms calls f with each form of each secret, for tests that plant them.
func (s *Secrets) Forms(f func(what string, bytes []byte)) {
	for _, list := range s.by {
		for _, x := range list {
			f(x.what, x.bytes)
		}
	}
}

// OwnKey says whether a file is one in which a site keeps a secret of its own.
func OwnKey(path string) bool {
	return slices.Contains([]string{".key", ".passkey", ".passphrase"}, filepath.Ext(path))
}

// OwnKeys adds what the files under dir hold that are of OwnKey: the keys of the
// edges, the people's passkeys, the modules' passphrases. It returns how many
// there were.
func (s *Secrets) OwnKeys(dir string) (files int, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !OwnKey(path) {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		switch filepath.Ext(path) {
		case ".passphrase":
			s.Text(path, bytes.TrimSpace(text))
		case ".passkey":
			var doc struct {
				Private passkey.Bytes `json:"private_key"`
			}
			if err := json.Unmarshal(text, &doc); err != nil {
				return err
			}
			s.Key(path, doc.Private[36:68]) // PKCS #8 of a P-256 key: the number itself
		default:
			block, _ := pem.Decode(text)
			if block == nil {
				return fmt.Errorf("%s is not PEM", path)
			}
			if block.Type == "PRIVATE KEY" {
				s.Key(path, block.Bytes[36:68])
			}
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			s.Text(path+", PEM", []byte(lines[len(lines)/2]))
		}
		return nil
	})
	return files, err
}
