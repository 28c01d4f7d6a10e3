package aka

import (
	"fmt"
	"strings"
	"time"

	"ankan/waiver"
)

// An Algorithm is an authentication algorithm by name. Its zero value is none.
type Algorithm string

// The algorithms. The versions of COMP128 are of GSM alone and want a waiver.
const (
	MILENAGE  Algorithm = "MILENAGE" // TS 35.206
	TUAK      Algorithm = "TUAK"     // TS 35.231
	XOR       Algorithm = "XOR"      // TS 34.108, 8.1.2: for test cards, see Test
	COMP128v1 Algorithm = "COMP128v1"
	COMP128v2 Algorithm = "COMP128v2"
	COMP128v3 Algorithm = "COMP128v3"
)

// Test says that the algorithm is for test cards alone: what goes over the air
// tells the key.
func (a Algorithm) Test() bool { return a == XOR }

// gsm says that the algorithm gives triplets and nothing else.
func (a Algorithm) gsm() bool { return a == COMP128v1 || a == COMP128v2 || a == COMP128v3 }

// ParseAlgorithm knows the algorithms that a card or a subscriber may have. It
// refuses COMP128: see ParseWaived.
func ParseAlgorithm(name string) (Algorithm, error) {
	switch a := Algorithm(name); {
	case a == MILENAGE || a == TUAK || a == XOR:
		return a, nil
	case a.gsm():
		return "", fmt.Errorf("algorithm %s is refused: it is broken, its key can be found from its answers; use MILENAGE or TUAK", a)
	case strings.HasPrefix(name, "COMP128"):
		return "", fmt.Errorf("algorithm %s is refused: it is broken, its key can be found from its answers, and there is no such version; use MILENAGE or TUAK", name)
	}
	return "", fmt.Errorf("algorithm is %q, want %s, %s, or %s for test cards", name, MILENAGE, TUAK, XOR)
}

// ParseWaived is ParseAlgorithm that takes a version of COMP128 too, if the
// waiver allows it now. The error wraps waiver.ErrNone.
func ParseWaived(name string, w waiver.Waiver, now time.Time) (Algorithm, error) {
	a := Algorithm(name)
	if !a.gsm() {
		return ParseAlgorithm(name)
	}
	if err := w.Allows(name, now); err != nil {
		return "", fmt.Errorf("algorithm %w", err)
	}
	return a, nil
}
