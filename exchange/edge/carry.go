package edge

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"
)

// Bring hands in a file of a partner as the server does when an upload ends, for
// a network that is none: a carrier, or a simulation of one. ErrUsed if the
// partner brought a file of this name before.
func (s *Spool) Bring(partner, name, remote string, content io.Reader) error {
	if s == nil || s.root == nil {
		return errors.New("spool is not open")
	}
	if err := errors.Join(validPeer(partner), validName(name)); err != nil {
		return err
	}
	switch _, err := s.known(partner, name); {
	case err == nil:
		err = fmt.Errorf("file %s of %s: %w", name, partner, ErrUsed)
		return errors.Join(err, s.record(Record{Direction: DirectionIn, Partner: partner, File: name, Remote: remote, Outcome: OutcomeRefused, Text: err.Error()}))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	m := Meta{Partner: partner, Name: name, Began: time.Now().UTC(), Remote: remote}
	hash, dir := sha256.New(), path.Join(partDir, partner)
	err := s.writeFile(dir, name, func(w io.Writer) (err error) {
		m.Size, err = io.Copy(io.MultiWriter(w, hash), content)
		return err
	})
	if err != nil {
		return err
	}
	m.SHA256, m.Ended = hex.EncodeToString(hash.Sum(nil)), time.Now().UTC()
	if err := s.handIn(name, m); err != nil {
		return err
	}
	return s.record(Record{Direction: DirectionIn, Partner: partner, File: name, Size: m.Size, SHA256: m.SHA256, Outcome: OutcomeReceived, Remote: remote})
}

// Content opens a file that waits to be sent.
func (s *Spool) Content(m Meta) (io.ReadCloser, error) {
	if s == nil || s.root == nil {
		return nil, errors.New("spool is not open")
	}
	if err := errors.Join(validPeer(m.Partner), validName(m.Name)); err != nil {
		return nil, err
	}
	return s.root.Open(path.Join(outDir, m.Partner, m.Name+dataExt))
}

// Carried notes that the partner has a file that waited to be sent, and removes
// it, as the sender does. It may be repeated.
func (s *Spool) Carried(m Meta, remote string) error {
	if s == nil || s.root == nil {
		return errors.New("spool is not open")
	}
	if err := errors.Join(validPeer(m.Partner), validName(m.Name)); err != nil {
		return err
	}
	r := Record{Direction: DirectionOut, Partner: m.Partner, File: m.Name, Size: m.Size, SHA256: m.SHA256, Outcome: OutcomeSent, Remote: remote}
	m.Ended, m.Remote, m.Text = time.Now().UTC(), remote, OutcomeSent
	if err := s.delivered(m, false); err != nil {
		return err
	}
	if err := s.record(r); err != nil {
		return err
	}
	return s.removeOut(m.Partner, m.Name)
}

// Recover puts right what a crash left behind, as the edge does when it starts.
func (s *Spool) Recover() error { return s.recover(time.Time{}) }
