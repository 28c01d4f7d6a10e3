package access

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// Passwords are kept as PHC strings of Argon2id (RFC 9106, second
// recommendation: 3 passes, 64 MiB, 4 lanes).
const (
	passwordTime    = 3
	passwordMemory  = 64 << 10 // KiB
	passwordThreads = 4
	passwordSalt    = 16
	passwordKey     = 32
	// maxPassword bounds what is hashed, in bytes.
	maxPassword = 1024
)

// A hasher bounds how many hashes are under way: each takes 64 MiB.
type hasher struct {
	slots  chan struct{}
	derive func(password, salt []byte) []byte
}

func newHasher() hasher {
	return hasher{make(chan struct{}, 2), func(password, salt []byte) []byte {
		return argon2.IDKey(password, salt, passwordTime, passwordMemory, passwordThreads, passwordKey)
	}}
}

// ErrPassword: a password that cannot be taken.
var ErrPassword = errors.New("password")

// password is the PHC string of a password of at least least characters.
func (h hasher) password(password string, least int) (string, error) {
	if err := CheckPassword(password, least); err != nil {
		return "", err
	}
	salt := make([]byte, passwordSalt)
	rand.Read(salt)
	return formatPHC(salt, h.key(password, salt)), nil
}

// A Password is the hash of a password, on its way to its person's record. It
// cannot be printed, compared or marshalled. The zero Password is none.
type Password struct{ phc func() string }

// NewPassword hashes a password of at least least characters; an error wraps
// ErrPassword.
func NewPassword(password string, least int) (Password, error) {
	phc, err := newHasher().password(password, least)
	if err != nil {
		return Password{}, err
	}
	return Password{func() string { return phc }}, nil
}

// Format keeps the hash out of every format verb.
func (Password) Format(f fmt.State, _ rune) { fmt.Fprint(f, "access.Password(private)") }

// MarshalJSON refuses.
func (Password) MarshalJSON() ([]byte, error) {
	return nil, errors.New("access: a password is not marshalled")
}

func formatPHC(salt, key []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("%s%s$%s", phcHead(), b64.EncodeToString(salt), b64.EncodeToString(key))
}

func phcHead() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$", argon2.Version, passwordMemory, passwordTime, passwordThreads)
}

func (h hasher) key(password string, salt []byte) []byte {
	h.slots <- struct{}{}
	defer func() { <-h.slots }()
	return h.derive([]byte(password), salt)
}

// check says whether phc is that of the password. Whatever it finds, it
// takes the time of one hash: nobody learns by it who has a password.
func (h hasher) check(phc, password string) bool {
	if len(password) > maxPassword {
		password = ""
	}
	salt, want, ok := parsePHC(phc)
	if !ok {
		salt, want = make([]byte, passwordSalt), make([]byte, passwordKey)
	}
	return subtle.ConstantTimeCompare(h.key(password, salt), want) == 1 && ok
}

func parsePHC(phc string) (salt, key []byte, ok bool) {
	s, k, _ := strings.Cut(strings.TrimPrefix(phc, phcHead()), "$")
	salt, errS := base64.RawStdEncoding.DecodeString(s)
	key, errK := base64.RawStdEncoding.DecodeString(k)
	return salt, key, errS == nil && errK == nil && len(salt) == passwordSalt && len(key) == passwordKey && formatPHC(salt, key) == phc
}

// CheckPassword refuses a password that is too short or too long, before
// anything is done with it.
func CheckPassword(password string, least int) error {
	if n := utf8.RuneCountInString(password); n < least || len(password) > maxPassword {
		return fmt.Errorf("%w has %d characters, want at least %d and at most %d bytes", ErrPassword, n, least, maxPassword)
	}
	return nil
}
