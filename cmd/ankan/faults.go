package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"ankan/format"
)

// fewFaults is how many faults of a file a terminal shows one by one.
const fewFaults = 20

// errorText is an error for errs. Who reads a terminal wants to know what is wrong
// with a file, and not a thousand times; a file or a program gets every fault.
func errorText(errs io.Writer, err error) string {
	var faults format.Faults
	if f, ok := errs.(*os.File); ok && term.IsTerminal(int(f.Fd())) && errors.As(err, &faults) && len(faults) > fewFaults {
		return someFaults(faults)
	}
	return err.Error()
}

// someFaults is the first faults of a file, and how often each stands there.
func someFaults(faults format.Faults) string {
	type kind struct {
		text               string
		n, first, lastLine int
	}
	var kinds []*kind
	of := map[string]*kind{}
	more := false
	for _, f := range faults {
		text, stopped := strings.CutSuffix(f.Text, format.MoreFaults)
		more = more || stopped
		k := of[text]
		if k == nil {
			k = &kind{text: text, first: f.Line}
			of[text], kinds = k, append(kinds, k)
		}
		k.n++
		k.lastLine = f.Line
	}
	slices.SortStableFunc(kinds, func(a, b *kind) int { return b.n - a.n })
	var b strings.Builder
	b.WriteString(faults[:fewFaults].Error())
	fmt.Fprintf(&b, "\n... and %d more", len(faults)-fewFaults)
	if more {
		fmt.Fprintf(&b, "; reading stopped at line %d, and what follows may have others", faults[len(faults)-1].Line)
	}
	b.WriteString("\n\nwhat is wrong, by how often:\n")
	const most = 10
	for i, k := range kinds {
		if i == most {
			fmt.Fprintf(&b, "  and %d others\n", len(kinds)-most)
			break
		}
		where := fmt.Sprintf("line %d", k.first)
		if k.n > 1 {
			where = fmt.Sprintf("lines %d to %d", k.first, k.lastLine)
		}
		fmt.Fprintf(&b, "%6d  %s: %s\n", k.n, where, k.text)
	}
	b.WriteString("next: 2> faults.txt behind the command writes all of them into a file")
	return b.String()
}

// faultsView is what is wrong with a file, for programs.
type faultsView struct {
	Faults []faultView `json:"faults"`
	More   bool        `json:"more"` // there may be others: reading stopped
}

type faultView struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Text   string `json:"text"`
}

// refused is the error of a file that was read. With --json its faults go to the
// output, and the error is short.
func (a *app) refused(json bool, err error) error {
	var faults format.Faults
	if !json || !errors.As(err, &faults) {
		return err
	}
	v := faultsView{}
	for _, f := range faults {
		text, stopped := strings.CutSuffix(f.Text, format.MoreFaults)
		v.More = v.More || stopped
		v.Faults = append(v.Faults, faultView{f.File, f.Line, f.Column, text})
	}
	return errors.Join(a.print(true, v, nil), fmt.Errorf("%s has %s", faults[0].File, count(len(faults), "fault", "faults")))
}
