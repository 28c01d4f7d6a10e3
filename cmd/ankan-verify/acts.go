package main

import (
	"ankan/act"
	"ankan/audit"
)

// acts replays the acts of a log: every signature is verified again with the
// public key that its person was enrolled with, and every use of a warrant
// against the policy that was in force.
type acts struct{ book act.Book }

func (a *acts) entry(_ int64, e audit.Entry) error {
	data, err := e.DataJSON()
	if err != nil {
		return err
	}
	return a.book.Apply(e.Kind, e.Subject, e.Time, data)
}

func (a *acts) end() error { return a.book.End() }

func (a *acts) findings() section {
	return section{Title: "acts", Found: []finding{
		{"signatures verified", int64(a.book.Signatures)},
		{"warrants used, each with all its signatures", int64(a.book.Used)},
	}}
}
