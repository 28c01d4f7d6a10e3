package exchange

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"
)

// What goes in comes out, whatever the sizes.
func TestAhead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want, got bytes.Buffer
		a := newAhead(&got, rapid.IntRange(1, 20).Draw(t, "size"))
		for _, p := range rapid.SliceOf(rapid.SliceOfN(rapid.Byte(), 0, 50)).Draw(t, "pieces") {
			want.Write(p)
			if n, err := a.Write(p); n != len(p) || err != nil {
				t.Fatal(n, err)
			}
			if rapid.IntRange(0, 9).Draw(t, "flush") == 0 {
				if err := a.Flush(); err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
					t.Fatalf("flushed %d bytes of %d, %v", got.Len(), want.Len(), err)
				}
			}
		}
		if err := a.Flush(); err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Fatalf("%d bytes of %d, %v", got.Len(), want.Len(), err)
		}
	})
}

// failsAfter is a writer that takes n writes, and of the next one a byte less
// if it does not fail.
type failsAfter struct {
	n   int
	err error
}

func (f *failsAfter) Write(p []byte) (int, error) {
	if f.n--; f.n >= 0 {
		return len(p), nil
	}
	return len(p) - 1, f.err
}

// An error of a piece on its way is seen at the latest by Flush, and stays.
func TestAheadFails(t *testing.T) {
	broken := errors.New("broken")
	for _, why := range []error{broken, nil} {
		want := why
		if why == nil {
			want = io.ErrShortWrite
		}
		for n := range 4 {
			w := &failsAfter{n, why}
			a := newAhead(w, 4)
			_, err := a.Write(make([]byte, 14))
			if err != nil && !errors.Is(err, want) {
				t.Errorf("after %d pieces: %v", n, err)
			}
			if err := a.Flush(); !errors.Is(err, want) {
				t.Errorf("after %d pieces: flush gives %v, want %v", n, err, want)
			}
			left := w.n
			if _, err := a.Write(make([]byte, 9)); !errors.Is(err, want) || !errors.Is(a.Flush(), want) || w.n != left {
				t.Errorf("after %d pieces: it goes on after %v", n, err)
			}
		}
	}
}
