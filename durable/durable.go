// Package durable is where the program goes through for each step that outlives
// it: a commit, a file put in its place, a key made or erased in the security
// module, commands played at a card. A test can stop the program there, before
// the step or after it, or have the step fail in either shape: it was not done,
// or it was done and is said to have failed.
//
// The program as it is built for use does the step and nothing else, whatever
// its environment says. With the build tag crash it reads ANKAN_DIE, ANKAN_FAIL
// and ANKAN_STEPS (see env.go). Inside a test's own process a Script does the
// same by a plan that is a value.
package durable

import "strings"

// Steps stands between one site and its steps. It is called with the step's
// name, and does the step by calling do, once at most; the error is the step's,
// or another that stands for it. It may be called from several goroutines at
// once. nil does each step as Do does.
type Steps func(step string, do func() error) error

// Do takes a step.
func (s Steps) Do(step string, do func() error) error {
	if s == nil {
		return Do(step, do)
	}
	return s(step, do)
}

// Use begins the names of steps that leave nothing behind: a use of a key, a
// look at a partner's folder. They can fail; to stop before them or after them
// shows nothing that stopping at the step before does not show.
const Use = "use "

// Lasts says whether a step of this name leaves something behind.
func Lasts(step string) bool { return !strings.HasPrefix(step, Use) }
