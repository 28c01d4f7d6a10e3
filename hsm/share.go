package hsm

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
)

// The content of a share, before it is given, is
//
//	version    1 byte  01
//	threshold  1 byte
//	index      1 byte  x, from 1
//	of         1 byte
//	set        4 bytes of SHA-256 of the set's name
//	y          as long as the key: 16, 24 or 32 bytes
//	check      8 bytes of SHA-256 of "ankan share check", 00 and the key
//
// That is 32, 40 or 48 bytes, multiples of 8 as AES key wrap wants them, without
// padding. Each byte of y is the value at x of a polynomial of its own over
// GF(2^8), modulo x^8+x^4+x^3+x+1, of degree threshold-1, whose value at 0 is
// that byte of the key (Shamir, How to Share a Secret, 1979).
const (
	shareVersion = 1
	shareHead    = 8
	shareCheck   = 8
	maxShares    = 16
)

func shareSet(set string) [4]byte {
	sum := sha256.Sum256([]byte(set))
	return [4]byte(sum[:4])
}

// secretCheck is what tells the right key from a wrong one when it is put
// together again. A key has too many bits to be found by it.
func secretCheck(key []byte) [shareCheck]byte {
	h := sha256.New()
	h.Write([]byte("ankan share check\x00"))
	h.Write(key)
	return [shareCheck]byte(h.Sum(nil)[:shareCheck])
}

// contentCheck is Share.Check of a share's content.
func contentCheck(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}

// check refuses a share whose place says nothing, or whose algorithm cannot be
// shared.
func (s Share) check() error {
	if err := errors.Join(checkName("set", s.Set, maxSet), checkName("holder", s.Holder, maxHolder)); err != nil {
		return err
	}
	if s.Threshold < 2 || s.Threshold >= s.Of || s.Of > maxShares || s.Index < 1 || s.Index > s.Of {
		return fmt.Errorf("it is number %d of %d with threshold %d, want 2 <= threshold < all <= %d", s.Index, s.Of, s.Threshold, maxShares)
	}
	if a := s.Algorithm; a.KeyLen() == 0 || a.CheckMethod() == ECBZeros && !a.NeedsWaiver() {
		return fmt.Errorf("%w: found %q, want %s, %s, %s, %s or %s", ErrAlgorithm, a, AES128, AES256, HMAC256, TDES, TDES3)
	}
	return nil
}

func (s Share) wrong(err error) error {
	return &ComponentError{Holder: s.Holder, Index: s.Index, Err: err}
}

// head is the content's beginning, which says the share's place again.
func (s Share) head() []byte {
	set := shareSet(s.Set)
	return append([]byte{shareVersion, byte(s.Threshold), byte(s.Index), byte(s.Of)}, set[:]...)
}

// Open opens the share and checks it by itself: its place, length and check
// value. A *ComponentError says what is wrong; an error of open other than
// ErrSealed comes as it is. It returns the content, which the caller wipes.
func (s Share) Open(open Opener) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, s.wrong(err)
	}
	content, err := open(s.Given, s.Content(), s.Label())
	if errors.Is(err, ErrSealed) {
		return nil, s.wrong(err)
	}
	if err != nil {
		return nil, err
	}
	if err := s.checkContent(content); err != nil {
		clear(content)
		return nil, s.wrong(err)
	}
	return content, nil
}

func (s Share) checkContent(content []byte) error {
	if want := shareHead + s.Algorithm.KeyLen() + shareCheck; len(content) != want {
		return fmt.Errorf("%w: %d bytes, want %d of %s", ErrAlgorithm, len(content), want, s.Algorithm)
	}
	if found := contentCheck(content); found != s.Check {
		return fmt.Errorf("%w: found %s, want %q", ErrKCV, found, s.Check)
	}
	if subtle.ConstantTimeCompare(content[:shareHead], s.head()) != 1 {
		return fmt.Errorf("%w: it says another place inside than outside", ErrSet)
	}
	return nil
}

// SplitShares is the backup of Transfer.GenerateShared: a share of the key
// sealed to each holder, threshold of which restore it. random fills its
// argument from the module's generator.
func SplitShares(key []byte, a Algorithm, set string, threshold int, to []Holder, random func([]byte) error) ([]Share, error) {
	if threshold < 2 || threshold >= len(to) || len(to) > maxShares {
		return nil, fmt.Errorf("%d holders of shares with threshold %d, want 2 <= threshold < holders <= %d", len(to), threshold, maxShares)
	}
	if err := errors.Join(checkHolders(to), checkLen(key, a)); err != nil {
		return nil, err
	}
	var kcv KCV
	if a != HMAC256 {
		var err error
		if kcv, err = KeyKCV(a.CheckMethod(), a, key); err != nil {
			return nil, err
		}
	}
	coefficients := make([]byte, (threshold-1)*len(key))
	defer clear(coefficients)
	if err := random(coefficients); err != nil {
		return nil, err
	}
	check := secretCheck(key)
	shares := make([]Share, len(to))
	for i, h := range to {
		s := Share{Set: set, Index: i + 1, Of: len(to), Threshold: threshold, Holder: h.Name, Algorithm: a, KCV: kcv}
		if err := s.check(); err != nil {
			return nil, s.wrong(err)
		}
		content := make([]byte, 0, shareHead+len(key)+shareCheck)
		content = append(content, s.head()...)
		content = appendShare(content, key, coefficients, byte(s.Index))
		content = append(content, check[:]...)
		s.Check = contentCheck(content)
		var err error
		s.Given, err = Give(h.Key, s.Content(), s.Label(), content)
		clear(content)
		if err != nil {
			return nil, s.wrong(err)
		}
		shares[i] = s
	}
	return shares, nil
}

// JoinShares is Transfer.Restore without the keeping: the key of at least
// threshold shares of one set, each checked as Share.Open does. Every share
// that is there has to fit. The caller wipes the result.
func JoinShares(shares []Share, a Algorithm, open Opener) ([]byte, error) {
	if err := checkShares(shares, a); err != nil {
		return nil, err
	}
	contents := make([][]byte, 0, len(shares))
	defer func() {
		for _, c := range contents {
			clear(c)
		}
	}()
	xs, ys := make([]byte, 0, len(shares)), make([][]byte, 0, len(shares))
	for _, s := range shares {
		content, err := s.Open(open)
		if err != nil {
			return nil, err
		}
		contents = append(contents, content)
		if subtle.ConstantTimeCompare(checkOf(content), checkOf(contents[0])) != 1 {
			return nil, s.wrong(fmt.Errorf("%w: it is of another key", ErrSet))
		}
		xs, ys = append(xs, byte(s.Index)), append(ys, content[shareHead:len(content)-shareCheck])
	}
	t := shares[0].Threshold
	key := interpolate(xs[:t], ys[:t], 0)
	if err := checkJoined(key, shares, xs, ys, checkOf(contents[0])); err != nil {
		clear(key)
		return nil, err
	}
	return key, nil
}

func checkOf(content []byte) []byte { return content[len(content)-shareCheck:] }

// checkJoined compares the key with the check values in the shares and beside
// them, and the shares that were not needed with the polynomial.
func checkJoined(key []byte, shares []Share, xs []byte, ys [][]byte, want []byte) error {
	check := secretCheck(key)
	if subtle.ConstantTimeCompare(check[:], want) != 1 {
		return fmt.Errorf("%w: the shares do not give the key that they were made of", ErrKCV)
	}
	t := shares[0].Threshold
	for i, s := range shares {
		if i >= t {
			y := interpolate(xs[:t], ys[:t], xs[i])
			same := subtle.ConstantTimeCompare(y, ys[i])
			clear(y)
			if same != 1 {
				return s.wrong(fmt.Errorf("%w: it does not fit the others", ErrKCV))
			}
		}
		if s.Algorithm == HMAC256 && s.KCV.IsZero() {
			continue
		}
		if s.Algorithm == HMAC256 {
			return s.wrong(fmt.Errorf("%w: found %v, want none for a key of %s", ErrKCV, s.KCV, s.Algorithm))
		}
		if err := checkKCV(key, s.Algorithm, s.KCV); err != nil {
			return s.wrong(err)
		}
	}
	return CheckKey(key, shares[0].Algorithm)
}

// checkShares checks that these are shares of one key of the algorithm, and
// enough of them.
func checkShares(shares []Share, a Algorithm) error {
	if len(shares) == 0 {
		return fmt.Errorf("%w: no share", ErrFew)
	}
	first := shares[0]
	for i, s := range shares {
		if err := s.check(); err != nil {
			return s.wrong(err)
		}
		if s.Algorithm != a {
			return s.wrong(fmt.Errorf("%w: found %s, want %s", ErrAlgorithm, s.Algorithm, a))
		}
		if s.Set != first.Set || s.Of != first.Of || s.Threshold != first.Threshold {
			return s.wrong(fmt.Errorf("%w: found %s, %d of %d, want %s, %d of %d",
				ErrSet, s.Set, s.Threshold, s.Of, first.Set, first.Threshold, first.Of))
		}
		for _, other := range shares[:i] {
			if s.Index == other.Index || s.Holder == other.Holder {
				return s.wrong(ErrTwice)
			}
		}
	}
	if len(shares) < first.Threshold {
		return fmt.Errorf("%w: %d shares, want at least %d", ErrFew, len(shares), first.Threshold)
	}
	return nil
}

// appendShare appends the value at x of the polynomials whose values at 0 are
// the key and whose other coefficients, each as long as the key, are given
// from the lowest on.
func appendShare(dst, key, coefficients []byte, x byte) []byte {
	for i := range key {
		var y byte
		for at := len(coefficients) - len(key) + i; at >= 0; at -= len(key) {
			y = mul(y^coefficients[at], x)
		}
		dst = append(dst, y^key[i])
	}
	return dst
}

// interpolate is the value at x of the polynomials that go through the points
// (xs, ys). The xs are known to everybody and differ.
func interpolate(xs []byte, ys [][]byte, x byte) []byte {
	out := make([]byte, len(ys[0]))
	for i, y := range ys {
		basis := byte(1)
		for j := range xs {
			if j != i {
				basis = mul(basis, mul(x^xs[j], inverse(xs[i]^xs[j])))
			}
		}
		for k := range out {
			out[k] ^= mul(y[k], basis)
		}
	}
	return out
}

// mul multiplies in GF(2^8) modulo x^8+x^4+x^3+x+1 (FIPS 197, 4.2), in the
// same time for all values: no table, no branch.
func mul(a, b byte) (p byte) {
	for range 8 {
		p ^= a & -(b & 1)
		a = a<<1 ^ 0x1B&-(a>>7)
		b >>= 1
	}
	return p
}

// inverse is a^254, the inverse of a.
func inverse(a byte) byte {
	p := byte(1)
	for range 7 {
		a = mul(a, a)
		p = mul(p, a)
	}
	return p
}
