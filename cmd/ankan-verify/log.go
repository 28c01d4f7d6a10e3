package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"ankan/audit"
)

type logCommand struct {
	Dir   string `arg:"" help:"Folder of the exported log."`
	Key   string `required:"" help:"The log's verifier key, or a file that holds it." placeholder:"VKEY|FILE"`
	Since string `help:"An older checkpoint that you kept: nothing that it covers may have changed." placeholder:"FILE"`
	JSON  bool   `help:"Say the outcome in JSON."`
}

// outcome is what --json says.
type outcome struct {
	OK       bool      `json:"ok"`
	Error    string    `json:"error,omitempty"`
	Fault    string    `json:"fault,omitempty"` // one of audit's
	Log      string    `json:"log,omitempty"`
	Entries  int64     `json:"entries"`
	Root     string    `json:"root,omitempty"`
	First    string    `json:"first,omitempty"` // RFC 3339
	Last     string    `json:"last,omitempty"`
	Since    *int64    `json:"since,omitempty"` // entries of the older checkpoint
	Sections []section `json:"sections,omitempty"`
}

// Run checks the log and prints what it found.
func (c logCommand) Run() error {
	r, found, err := c.verify()
	if c.JSON {
		return errors.Join(printJSON(os.Stdout, r, found, err), said(err))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.Dir, err)
	}
	return printReport(os.Stdout, r, found)
}

func said(err error) error {
	if err != nil {
		return errSaid
	}
	return nil
}

func (c logCommand) verify() (audit.Report, []section, error) {
	vkey, err := logKey(c.Key)
	if err != nil {
		return audit.Report{}, nil, err
	}
	all := checks()
	o := audit.Options{Visit: func(i int64, e audit.Entry) error {
		for _, ch := range all {
			if err := ch.entry(i, e); err != nil {
				return fmt.Errorf("entry %d (%s): %w", i, e.Kind, err)
			}
		}
		return nil
	}}
	if c.Since != "" {
		if o.Since, err = os.ReadFile(c.Since); err != nil {
			return audit.Report{}, nil, err
		}
	}
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return audit.Report{}, nil, err
	}
	defer root.Close()
	r, err := audit.Verify(root.FS(), vkey, o)
	if err != nil {
		return r, nil, err
	}
	var found []section
	for _, ch := range all {
		if err := ch.end(); err != nil {
			return r, nil, err
		}
		found = append(found, ch.findings())
	}
	return r, found, nil
}

func printJSON(w io.Writer, r audit.Report, found []section, err error) error {
	o := outcome{OK: err == nil, Sections: found}
	if err != nil {
		o.Error = err.Error()
		if f := audit.Fault(""); errors.As(err, &f) {
			o.Fault = string(f)
		}
	} else {
		o.Log, o.Entries, o.Root = r.Origin, r.Entries, r.Root.String()
		if r.Entries > 0 {
			o.First, o.Last = r.First.Format(time.RFC3339Nano), r.Last.Format(time.RFC3339Nano)
		}
		if r.Since != nil {
			o.Since = &r.Since.Size
		}
	}
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return out.Encode(o)
}

func printReport(w io.Writer, r audit.Report, found []section) error {
	fmt.Fprintf(w, "The log %s is whole.\n\n", r.Origin)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  entries\t%s, each recomputed up to the signed root\n", grouped(r.Entries))
	if r.Entries > 0 {
		fmt.Fprintf(t, "  first\t%s\n  last\t%s\n", when(r.First), when(r.Last))
	}
	fmt.Fprintf(t, "  root\t%s\n", r.Root)
	if r.Since != nil {
		fmt.Fprintf(t, "  continues\tthe older checkpoint of %s entries\n", grouped(r.Since.Size))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range found {
		if len(s.Found) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", s.Title)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		for _, f := range s.Found {
			fmt.Fprintf(t, "%s\t  %s\n", grouped(f.Count), printable(f.Name))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if r.Since == nil {
		fmt.Fprintln(w, "\nKeep the file checkpoint: given as --since next time, it shows that nothing was taken back.")
	}
	return nil
}

func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// printable keeps names out of a log from steering the terminal.
func printable(s string) string {
	q := strconv.Quote(s)
	if q[1:len(q)-1] == s {
		return s
	}
	return q
}

// grouped is n with commas between thousands.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
