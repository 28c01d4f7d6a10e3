//go:build crash

package durable

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// The variables of this build. Each is read once, at the process's first step.
//
//	ANKAN_DIE=N[:before|after]       kill the process, by SIGKILL, at the N-th step that lasts
//	ANKAN_FAIL=N[:before|after],...  have the N-th step fail, once, and others
//	ANKAN_STEPS=FILE                 append a line for each step: its number or "-" if it does not
//	                                 last, its number among all, its name
var script = sync.OnceValue(func() *Script {
	s := &Script{trace: io.Discard, Died: func(step string) {
		fmt.Fprintf(os.Stderr, "durable: dies at %s\n", step)
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}}
	for name, set := range map[string]func([]Event){
		"ANKAN_DIE":  func(all []Event) { s.Die = all[0] },
		"ANKAN_FAIL": func(all []Event) { s.Fail = all },
	} {
		text := os.Getenv(name)
		if text == "" {
			continue
		}
		all, err := ParseEvents(text)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(2)
		}
		set(all)
	}
	if path := os.Getenv("ANKAN_STEPS"); path != "" {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			fmt.Fprintf(os.Stderr, "ANKAN_STEPS: %v\n", err)
			os.Exit(2)
		}
		s.trace = f
	}
	return s
})

// Do takes a step, or what the environment has happen instead of it.
func Do(step string, do func() error) error {
	return script().do(step, do)
}
