package hsm

import (
	"context"
	"crypto"
	"errors"
	"fmt"
)

// A Module is all that a site asks of its security module.
type Module interface {
	Token
	Transfer
}

// Transfer is how keys come into a module and leave it: in components, in
// shares, or wrapped (SOP 6.4.e.ii, iii, vi). No method returns or takes a
// clear key. Its methods may be called at the same time.
type Transfer interface {
	// CheckComponent opens one component given to the Agree key and checks it by
	// itself: place, length, check value, weakness. It keeps nothing: a
	// *ComponentError says what is wrong. It is how a custodian hears at once
	// that an entry is wrong.
	CheckComponent(ctx context.Context, agree string, c Component) error
	// Combine makes a key of the XOR of all its components, two or three of
	// different holders, each given to the Agree key; p must be one that
	// Arrives. A *ComponentError names the component that is wrong: it does not
	// open (ErrSealed), is not of its check value (ErrKCV), of another set
	// (ErrSet) or algorithm (ErrAlgorithm), there twice or equal to another
	// (ErrTwice), or weak (ErrWeakKey). ErrFew if some are missing. ErrKCV if
	// the key is not the one that want names; a zero want asks for no
	// comparison. ErrWeakKey for a key that anybody knows. ErrKeyExists if id
	// was ever used. What came in components never leaves again: Exportable is
	// false.
	Combine(ctx context.Context, agree string, parts []Component, id string, p Purpose, a Algorithm, want KCV) (Key, error)
	// Split gives an exportable key away as XOR components, one to each of two
	// or three holders, by which none of them knows anything of the key.
	// ErrMaster for a key that stays inside.
	Split(ctx context.Context, id, set string, method KCVMethod, to []Holder) ([]Component, error)

	// GenerateShared makes a key as Generate does and, in the same step, a
	// backup of it: a share for each holder, threshold of which restore it.
	// 2 <= threshold < len(to) <= 16. ErrPurpose unless p BacksUp.
	GenerateShared(ctx context.Context, id string, p Purpose, a Algorithm, set string, threshold int, to []Holder) (Key, []Share, error)
	// CheckShare opens one share given to the Agree key and compares its set,
	// number and check value; it keeps nothing. A *ComponentError says what is
	// wrong.
	CheckShare(ctx context.Context, agree string, s Share) error
	// Restore makes a key of at least threshold shares of one set, each given
	// to the Agree key, and compares it with the check values in and beside the
	// shares. Every share that is there has to fit: a *ComponentError names the
	// one that does not. ErrFew, ErrKCV, ErrWeakKey, ErrKeyExists, and
	// ErrPurpose unless p BacksUp. What is restored is not Exportable.
	Restore(ctx context.Context, agree string, shares []Share, id string, p Purpose, a Algorithm) (Key, error)

	// Export wraps an exportable key. ErrMaster for a key that stays inside,
	// ErrWeaker under a key of less strength, ErrPurpose under itself.
	Export(ctx context.Context, id string, w Wrapping) ([]byte, error)
	// Import opens what Export, or another maker's program, wrapped.
	// p must be one that Arrives. ErrSealed if it does not open, ErrWeaker under
	// a key of less strength, ErrAlgorithm and ErrPurpose if it is another kind
	// of key, ErrWeakKey, ErrKeyExists. What is imported never leaves again.
	Import(ctx context.Context, blob []byte, w Wrapping, id string, p Purpose, a Algorithm) (Key, error)

	// Rewrap wraps a data key under another Order or Subscriber key. No clear
	// text leaves the module.
	Rewrap(ctx context.Context, from string, wrapped Wrapped, to string) (Wrapped, error)
}

// Errors of transfers that callers branch on.
var (
	ErrMaster  = errors.New("the key stays in the module in any form: its purpose says so, or it came from elsewhere")
	ErrWeaker  = errors.New("a key is never wrapped under a weaker one")
	ErrWeakKey = errors.New("a key that is weak or that anybody knows")
)

// A ComponentError is what is wrong with one component or share.
type ComponentError struct {
	Holder string // whose it is
	Index  int    // 1 is the first
	Err    error  // wraps ErrKCV, ErrSealed, ErrWeakKey, ErrTwice, ErrSet, ErrAlgorithm, ErrPublicKey, or says what its place lacks
}

func (e *ComponentError) Error() string {
	return fmt.Sprintf("part %d, of %s: %v", e.Index, e.Holder, e.Err)
}

func (e *ComponentError) Unwrap() error { return e.Err }

// What can be wrong with a component or share besides its check value.
var (
	ErrTwice     = errors.New("it, its number or its holder is there twice")
	ErrSet       = errors.New("it is of another set")
	ErrFew       = errors.New("there are too few")
	ErrAlgorithm = errors.New("it is of another algorithm or length")
)

// A Holder is somebody to whom a component or share is sealed.
type Holder struct {
	Name string           // person number: 1 to 64 printable ASCII characters without a space
	Key  crypto.PublicKey // P-521, of the custodian's own credential
}

// A Component is one XOR part of a key, sealed to its holder or to a module.
type Component struct {
	Set       string    `json:"set"`   // what parts belong together, such as the ceremony: 1 to 100 characters, no space
	Index     int       `json:"index"` // 1 is the first
	Of        int       `json:"of"`
	Holder    string    `json:"holder"`
	Algorithm Algorithm `json:"algorithm"`
	Given     Given     `json:"given"`
	KCV       KCV       `json:"kcv"` // of the component as if it were a key
}

// Content is what a component's Given says that it holds.
func (c Component) Content() Content { return Content("component " + string(c.Algorithm)) }

// Label binds a component to its place.
func (c Component) Label() string {
	return fmt.Sprintf("ankan/component/v1 %s %d/%d %s", c.Set, c.Index, c.Of, c.Holder)
}

// A Share is one part of a backup, sealed to its holder or to a module.
type Share struct {
	Set       string    `json:"set"`
	Index     int       `json:"index"`
	Of        int       `json:"of"`
	Threshold int       `json:"threshold"`
	Holder    string    `json:"holder"`
	Algorithm Algorithm `json:"algorithm"`
	Given     Given     `json:"given"`
	// Check is the first 8 bytes of SHA-256 of the share's content in hex: its
	// holder compares it, and it tells nothing of the key.
	Check string `json:"check"`
	KCV   KCV    `json:"kcv"` // of the whole key; zero for keys that have none
}

// Content is what a share's Given says that it holds.
func (s Share) Content() Content { return Content("share " + string(s.Algorithm)) }

// Label binds a share to its place.
func (s Share) Label() string {
	return fmt.Sprintf("ankan/share/v1 %s %d/%d/%d %s", s.Set, s.Index, s.Threshold, s.Of, s.Holder)
}

// A Format is a way to wrap a key.
type Format string

// The formats.
const (
	KW   Format = "AES-KW"           // RFC 3394, under an Exchange key; says nothing of the key's purpose
	KWP  Format = "AES-KWP"          // RFC 5649, under an Exchange key; neither does it
	TR31 Format = "TR-31-D"          // ANSI X9.143 key block, version D, under an Exchange key; binds the purpose
	OAEP Format = "RSA-OAEP-SHA-256" // RFC 8017, 7.1, to a partner's certificate; says nothing of the purpose
	ECDH Format = "ECDH"             // the envelope of Give, to a partner's P-521 key; binds the purpose
)

// Opens is what a key is for that opens this format.
func (f Format) Opens() Purpose {
	switch f {
	case OAEP:
		return Unwrap
	case ECDH:
		return Agree
	}
	return Exchange
}

// A Wrapping says how a key is wrapped and under which key.
type Wrapping struct {
	Format Format
	// Key names the Exchange key (KW, KWP, TR31), or, for an import, the
	// Unwrap key (OAEP) or the Agree key (ECDH) that opens it.
	Key string
	// To is the partner's public key for an export by OAEP or ECDH.
	To crypto.PublicKey
	// Label is bound into OAEP, where it may be empty, and ECDH, where it has 1
	// to 255 bytes; it is empty for the others.
	Label string
}
