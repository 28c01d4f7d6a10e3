package edge

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"testing"

	"ankan/durable"
)

// A disk that fails while a file is handed in, before a step or after it, leaves
// the file where it can be handed in again, or handed in; never known without its
// content.
func TestHandInFails(t *testing.T) {
	for _, shape := range []durable.Shape{durable.Before, durable.After} {
		for n := int64(1); ; n++ {
			s, err := OpenSpool(filepath.Join(t.TempDir(), "spool"))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			part := "a" + partial
			if err := s.writeFile(path.Join(partDir, "op"), part, func(w io.Writer) error { _, err := io.WriteString(w, "text"); return err }); err != nil {
				t.Fatal(err)
			}
			script := &durable.Script{Fail: []durable.Event{{Step: n, Shape: shape}}}
			s.Steps = script.Steps()
			m := Meta{Partner: "op", Name: "a", Size: 4}
			err = s.handIn(part, m)
			if err == nil && script.Count().All < n {
				break // there is no such step
			}
			if err != nil {
				if _, err := s.known("op", "a"); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s %d: it was not handed in, and is known: %v", shape, n, err)
				}
				if _, err := s.root.Stat(path.Join(partDir, "op", part)); err != nil {
					// The content has its place and no meta: that is for recover.
					if err := s.recover(math.MaxInt64); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.handIn(part, m); err != nil {
					t.Errorf("%s %d: handing in again: %v", shape, n, err)
				}
			}
			files, err := s.Waiting()
			if err != nil || len(files) != 1 {
				t.Fatalf("%s %d: %d files wait, %v", shape, n, len(files), err)
			}
			if text, err := os.ReadFile(files[0].Path); err != nil || string(text) != "text" {
				t.Errorf("%s %d: %q, %v", shape, n, text, err)
			}
		}
	}
}
