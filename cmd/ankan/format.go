package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ankan/format"
	"ankan/sim"
)

type formatCmd struct {
	List  formatListCmd  `cmd:"" help:"List the layouts that come with the program."`
	New   formatNewCmd   `cmd:"" help:"Print a layout with notes, to start one's own from."`
	Show  formatShowCmd  `cmd:"" help:"Print a layout's document, to start one's own from."`
	Check formatCheckCmd `cmd:"" help:"Check layouts: every mistake with its line and column."`
	Try   formatTryCmd   `cmd:"" help:"Write sample files by a layout, read them back and compare."`
}

type formatListCmd struct {
	JSON bool `help:"Print JSON."`
}

// layoutView is a layout for people and programs.
type layoutView struct {
	Layout  string       `json:"layout"`
	About   string       `json:"about"`
	Orders  bool         `json:"orders"`
	Outputs []outputView `json:"outputs"`
}

type outputView struct {
	Name      string   `json:"name"`
	Columns   []string `json:"columns"`
	MaxRows   int      `json:"max_rows,omitempty"`
	Receivers []string `json:"receivers,omitempty"` // whose transport keys encrypt columns
}

func viewLayout(l *format.Layout) layoutView {
	v := layoutView{Layout: l.Name(), About: l.About(), Orders: l.Orders(), Outputs: []outputView{}}
	for _, o := range l.Outputs() {
		ov := outputView{Name: o.Name(), MaxRows: o.MaxRows(), Receivers: format.Receivers(o.Columns())}
		for _, c := range o.Columns() {
			ov.Columns = append(ov.Columns, c.String())
		}
		v.Outputs = append(v.Outputs, ov)
	}
	return v
}

// files says what kinds of files the layout has.
func (v layoutView) files() string {
	var all []string
	if v.Orders {
		all = append(all, "order")
	}
	for _, o := range v.Outputs {
		all = append(all, o.Name)
	}
	return strings.Join(all, ", ")
}

func (f formatListCmd) Run(a *app) error {
	all := []layoutView{}
	var rows [][]string
	for _, l := range format.Shipped() {
		v := viewLayout(l)
		all = append(all, v)
		rows = append(rows, []string{v.Layout, v.files(), v.About})
	}
	return a.print(f.JSON, all, func() {
		a.table([]string{"LAYOUT", "FILES", ""}, rows)
		a.next("ankan format show %s", all[0].Layout)
	})
}

type formatShowCmd struct {
	Name string `arg:"" help:"Name of the layout."`
}

func (f formatShowCmd) Run(a *app) error {
	doc, err := format.Document(f.Name)
	if err != nil {
		return err
	}
	a.printf("%s", doc)
	return nil
}

type formatNewCmd struct {
	Name string `arg:"" help:"Name of the new layout, one word."`
}

func (f formatNewCmd) Run(a *app) error {
	if _, err := format.Set(nil).Find(f.Name); err == nil {
		return fmt.Errorf("layout %s comes with the program; give yours another name", f.Name)
	}
	doc, err := format.Skeleton(f.Name)
	if err != nil {
		return err
	}
	a.printf("%s", doc)
	return nil
}

type formatCheckCmd struct {
	Files []string `arg:"" type:"existingfile" help:"Layouts."`
	JSON  bool     `help:"Print JSON."`
}

func (f formatCheckCmd) Run(a *app) error {
	all := []layoutView{}
	var set format.Set
	var errs []error
	for _, path := range f.Files {
		l, err := readLayout(path)
		if err == nil {
			if set, err = set.Add(l); err != nil {
				err = fmt.Errorf("%s: %w", short(path), err)
			}
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, viewLayout(l))
	}
	if len(errs) == 1 {
		return a.refused(f.JSON, errs[0])
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return a.print(f.JSON, all, func() {
		for i, v := range all {
			a.printf("%s: layout %s is good: %s\n", short(f.Files[i]), v.Layout, v.files())
		}
		a.next("ankan format try %s", short(f.Files[0]))
	})
}

// readLayout reads a layout's document; its errors name the file.
func readLayout(path string) (*format.Layout, error) {
	doc, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return format.Parse(short(path), doc)
}

// findLayout reads a layout from a file, or takes the program's own of that name.
func findLayout(name string) (*format.Layout, error) {
	if _, err := os.Stat(name); err == nil {
		return readLayout(name)
	}
	l, err := format.Set(nil).Find(name)
	if err != nil {
		return nil, fmt.Errorf("%s is no file, and %w", name, err)
	}
	return l, nil
}

type formatTryCmd struct {
	Layout string `arg:"" help:"Layout: a file, or the name of one that comes with the program."`
	Order  string `help:"Order file to read by the layout, and to answer." placeholder:"FILE" type:"existingfile"`
	Rows   int    `help:"Cards of the sample." default:"3" placeholder:"N"`
	ICCID  string `help:"How files write ICCIDs, as in a contract: \"18 check padded\". Default: all digits." placeholder:"WORDS"`
	Output string `help:"Only this output of the layout." placeholder:"NAME"`
	To     string `help:"Write the files into this new folder, and not to the terminal." placeholder:"FOLDER" type:"path"`
	JSON   bool   `help:"Print JSON."`
}

// triedFile is one file of a trial.
type triedFile struct {
	Kind  string `json:"kind"` // order, or the output's name
	Name  string `json:"name,omitempty"`
	Bytes int    `json:"bytes"`
	Text  string `json:"text"` // in UTF-8, whatever the layout's text is
	bytes []byte
}

func tryFile(kind string, l *format.Layout, f *format.SampleFile) triedFile {
	return triedFile{kind, f.Name, len(f.Text), f.Shown(l), f.Text}
}

func (f formatTryCmd) Run(a *app) error {
	l, err := findLayout(f.Layout)
	if err != nil {
		return a.refused(f.JSON, err)
	}
	const most = 1_000_000
	if f.Rows < 1 || f.Rows > most {
		return fmt.Errorf("--rows is %d, want 1 to %d", f.Rows, most)
	}
	s := &format.Sample{Layout: l, Cards: f.Rows}
	if f.ICCID != "" {
		if s.Variant, err = sim.ParseICCIDVariant(f.ICCID); err != nil {
			return err
		}
	}
	var tried []triedFile
	switch {
	case f.Order != "":
		if err := f.take(s); err != nil {
			return a.refused(f.JSON, err)
		}
		tried = append(tried, triedFile{Kind: "order", Name: filepath.Base(f.Order)})
	case l.Orders():
		sample, err := s.Order()
		if err != nil {
			return tryError("order", l, sample, err)
		}
		tried = append(tried, tryFile("order", l, sample))
	}
	outputs := l.Outputs()
	if f.Output != "" {
		o, err := l.Output(f.Output)
		if err != nil {
			return err
		}
		outputs = []*format.Output{o}
	}
	for _, o := range outputs {
		sample, err := s.Response(o)
		if err != nil {
			return tryError(o.Name(), l, sample, err)
		}
		tried = append(tried, tryFile(o.Name(), l, sample))
	}
	if f.To != "" {
		if err := writeTried(f.To, tried); err != nil {
			return err
		}
	}
	return a.print(f.JSON, tried, func() { f.report(a, s, tried) })
}

// take reads the order file that was given.
func (f formatTryCmd) take(s *format.Sample) error {
	if !s.Layout.Orders() {
		return fmt.Errorf("layout %s has no order files", s.Layout.Name())
	}
	file, err := os.Open(f.Order)
	if err != nil {
		return err
	}
	defer file.Close()
	return s.Take(short(f.Order), file)
}

// tryError shows the file that could not be read back: without it nobody could
// find the line that the error names.
func tryError(kind string, l *format.Layout, sample *format.SampleFile, err error) error {
	if sample == nil {
		return fmt.Errorf("%s: %w; if made-up values do not fit the layout, answer an order of the partner's: --order FILE", kind, err)
	}
	return fmt.Errorf("%s: the sample is not read back as it was written: %w\n%s", kind, err, sample.Shown(l))
}

func (f formatTryCmd) report(a *app, s *format.Sample, tried []triedFile) {
	for _, t := range tried {
		name := t.Kind
		if t.Name != "" {
			name += ", named " + t.Name
		}
		if t.Text == "" {
			h := s.Header()
			a.printf("%s: read, and written again as it is: %s\n", name, count(s.Cards, "card", "cards"))
			for field, value := range h.Fields() {
				a.printf("  %-16s %s\n", field, value)
			}
			continue
		}
		a.printf("%s: %d bytes, read back as they were written\n", name, t.Bytes)
		if f.To == "" {
			a.printf("%s", someLines(t.Text, 40))
		}
	}
}

// someLines is a text of many lines for a terminal: its beginning and its end.
func someLines(text string, most int) string {
	lines := strings.SplitAfter(text, "\n")
	if len(lines) <= most {
		return text
	}
	const end = 5
	left := len(lines) - most
	return strings.Join(lines[:most-end], "") + fmt.Sprintf("... %d lines more; --to FOLDER writes all ...\n", left) + strings.Join(lines[len(lines)-end:], "")
}

// writeTried writes the files of a trial into a new folder.
func writeTried(dir string, tried []triedFile) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for _, t := range tried {
		if t.Text == "" {
			continue
		}
		name := t.Name
		if name == "" {
			name = t.Kind + ".txt"
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), t.bytes, 0o644); err != nil {
			return err
		}
	}
	return nil
}
