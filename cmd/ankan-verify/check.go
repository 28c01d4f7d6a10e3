package main

import (
	"maps"
	"slices"

	"ankan/audit"
)

// A check reads the entries of a log, first to last, and says at the end what
// it found. Its error on an entry ends the whole run: the log is genuine, and
// says something that must not be.
type check interface {
	entry(index int64, e audit.Entry) error
	end() error // what the log may not end with
	findings() section
}

// A section is what one check found, for people and for programs.
type section struct {
	Title string    `json:"title"`
	Found []finding `json:"found"`
}

type finding struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// checks are those of every run, in the order of their sections. A new rule
// about what a log may say is one more check here.
func checks() []check {
	return []check{&acts{}, &census{title: "entries by kind", of: kind}, &census{title: "entries by actor", of: actor}}
}

func kind(e audit.Entry) string  { return e.Kind }
func actor(e audit.Entry) string { return e.Actor }

// A census counts entries by what of says of them.
type census struct {
	title string
	of    func(audit.Entry) string
	count map[string]int64
}

func (c *census) entry(_ int64, e audit.Entry) error {
	if c.count == nil {
		c.count = map[string]int64{}
	}
	c.count[c.of(e)]++
	return nil
}

func (c *census) end() error { return nil }

func (c *census) findings() section {
	s := section{Title: c.title, Found: []finding{}}
	for _, name := range slices.Sorted(maps.Keys(c.count)) {
		s.Found = append(s.Found, finding{name, c.count[name]})
	}
	return s
}
