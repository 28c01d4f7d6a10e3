package site

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"ankan/audit"
	"ankan/durable"
)

// A highWater is a file outside the database with a checkpoint of the log. A
// database whose log does not continue it is an older one. It is written after
// commits, so that it is never ahead of the database on disk.
type highWater struct {
	path  string
	steps durable.Steps
	clock Clock

	mu      sync.Mutex
	on      bool          // the file was compared with the log: it may be written
	written bool          // since the site was opened
	size    int64         // of the log that it holds
	at      time.Duration // of the clock: when it was written
	trouble string        // the last failure, to tell it once
}

// highEvery is how far the file may be behind, but for what issues something.
const highEvery = time.Second

// read is the checkpoint in the file; nil if there is none.
func (h *highWater) read() ([]byte, error) {
	b, err := os.ReadFile(h.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// write replaces the file with a checkpoint, durably.
func (h *highWater) write(signed []byte, size int64) error {
	fresh := h.path + ".new"
	defer os.Remove(fresh)
	err := h.steps.Do("high-water.write", func() error {
		f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(signed)
		return errors.Join(err, f.Sync(), f.Close())
	})
	if err != nil {
		return err
	}
	err = h.steps.Do("high-water.rename", func() error {
		if err := os.Rename(fresh, h.path); err != nil {
			return err
		}
		return syncFolder(filepath.Dir(h.path))
	})
	if err == nil {
		h.written, h.size, h.at = true, size, h.clock.Elapsed()
	}
	return err
}

// mark brings the high-water file up to the log; unless now, at most once in
// highEvery. A site that is locked leaves it as it is: it is the evidence.
func (s *Site) mark(now bool) {
	if s.Locked() != nil {
		return
	}
	h := &s.high
	h.mu.Lock()
	defer h.mu.Unlock()
	size := s.store.Size()
	if !h.on || size == h.size || !now && h.written && h.clock.Elapsed()-h.at < highEvery {
		return
	}
	// The size is not read together with the checkpoint, which may be newer.
	err := h.write(s.store.Checkpoint(), size)
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != h.trouble && err != nil {
		s.log.Error("high-water file", "path", h.path, "err", err)
	}
	h.trouble = text
}

// belowHighWater says by the high-water file that the database is older.
func (s *Site) belowHighWater(ctx context.Context) (*Sign, error) {
	signed, err := s.high.read()
	if err != nil || signed == nil {
		return nil, err
	}
	c, err := audit.OpenCheckpoint(signed, s.store.VerifierKey())
	if err != nil {
		return &Sign{From: "high-water", Text: fmt.Sprintf("the high-water file %s holds no checkpoint of this log: %v", s.high.path, err)}, nil
	}
	return s.lost(ctx, "high-water", "the high-water file says", c, signed)
}
