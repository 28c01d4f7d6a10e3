package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"ankan/uicc"
)

// maxInput is how much standard input a command reads, in bytes.
const maxInput = 1 << 20

func inputLines(r io.Reader) (all []string, err error) {
	in := bufio.NewScanner(io.LimitReader(r, maxInput))
	for in.Scan() {
		all = append(all, in.Text())
	}
	return all, in.Err()
}

// A cardDir is a directory that cards have: by its path, or an application's
// AID and what is below it (TS 102 221, 13; TS 31.102, 4.7; TS 31.103, 4.3).
type cardDir struct {
	name string
	aid  []byte
	path []uicc.FileID
}

var cardDirs = []cardDir{
	{"MF", nil, []uicc.FileID{uicc.MF}},
	{"DF.TELECOM", nil, []uicc.FileID{uicc.MF, 0x7F10}},
	{"DF.GRAPHICS", nil, []uicc.FileID{uicc.MF, 0x7F10, 0x5F50}},
	{"DF.GSM", nil, []uicc.FileID{uicc.MF, 0x7F20}},
	{"ADF.USIM", usimAID, nil},
	{"DF.GSM-ACCESS", usimAID, []uicc.FileID{0x5F3B}},
	{"DF.5GS", usimAID, []uicc.FileID{0x5FC0}},
	{"DF.SAIP", usimAID, []uicc.FileID{0x5FD0}},
	{"ADF.ISIM", isimAID, nil},
}

type cardFilesCmd struct {
	cardFlag
	Names  []string `arg:"" optional:"" name:"file" help:"Only these files or directories, such as EF.IMSI or ADF.USIM."`
	Values string   `placeholder:"FILE" type:"path" help:"Values of the card, as card make wrote them: PIN1 is taken from it." complete:"files"`
	JSON   bool     `help:"Print JSON."`
}

// A cardFile is a file as a card shows it.
type cardFile struct {
	Dir     string   `json:"dir"`
	Name    string   `json:"name"`
	ID      string   `json:"id"`
	Kind    string   `json:"kind"`
	Size    int      `json:"size"` // bytes
	Hex     []string `json:"hex,omitempty"`
	Value   []string `json:"value,omitempty"` // of the file, or of each record
	Refused string   `json:"refused,omitempty"`
}

func (c cardFilesCmd) Run(a *app) error {
	return c.with(a.ctx, func(card openCard, _ uicc.ATR) error {
		s := uicc.NewSession(card)
		if c.Values != "" {
			v, err := valuesOf(a.ctx, s, c.Values)
			if err != nil {
				return err
			}
			if err := v.verifyPIN(a.ctx, s); err != nil {
				return err
			}
		}
		files, err := readFiles(a.ctx, s, c.wanted)
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return errors.New("the card has none of these files")
		}
		return a.print(c.JSON, files, func() { a.showFiles(files) })
	})
}

func (c cardFilesCmd) wanted(dir, name string) bool {
	return len(c.Names) == 0 || slices.ContainsFunc(c.Names, func(n string) bool {
		return strings.EqualFold(n, name) || strings.EqualFold(n, dir) || strings.EqualFold(n, dir+"/"+name)
	})
}

func (a *app) showFiles(files []cardFile) {
	dir := ""
	for _, f := range files {
		if f.Dir != dir {
			dir = f.Dir
			a.printf("%s\n", dir)
		}
		a.printf("  %-18s %s  %s, %s\n", f.Name, f.ID, f.Kind, count(f.Size, "byte", "bytes"))
		if f.Refused != "" {
			a.printf("    %s\n", f.Refused)
		}
		for i := 0; i < len(f.Hex); {
			from := i
			for i++; i < len(f.Hex) && f.Hex[i] == f.Hex[from]; i++ {
			}
			text := f.Value[from]
			if text == "" {
				text = f.Hex[from]
			}
			switch {
			case len(f.Hex) == 1:
				a.printf("    %s\n", text)
			case i == from+1:
				a.printf("    %d: %s\n", i, text)
			default: // records that are the same, such as empty ones
				a.printf("    %d-%d: %s\n", from+1, i, text)
			}
		}
	}
}

// readFiles looks for every file that the standards name, and reads those that
// the card lets be read.
func readFiles(ctx context.Context, s *uicc.Session, wanted func(dir, name string) bool) (all []cardFile, err error) {
	for _, d := range cardDirs {
		here, err := d.enter(ctx, s)
		if err != nil {
			return nil, err
		}
		if !here {
			continue
		}
		for _, ef := range uicc.EFs() {
			if ef.Dir != d.name || ef.ID == 0 || !wanted(ef.Dir, ef.Name) {
				continue
			}
			f, err := readEF(ctx, s, ef)
			if err != nil {
				return nil, err
			}
			if f != nil {
				all = append(all, *f)
			}
		}
	}
	return all, nil
}

// enter selects the directory; false if the card has none.
func (d cardDir) enter(ctx context.Context, s *uicc.Session) (bool, error) {
	var err error
	if d.aid != nil {
		_, err = s.SelectAID(ctx, d.aid)
		for i := 0; err == nil && i < len(d.path); i++ {
			_, err = s.Select(ctx, d.path[i])
		}
	} else {
		_, err = s.Select(ctx, d.path...)
	}
	return err == nil, answered(err)
}

// answered is nil for what a card answered, also where that is no.
func answered(err error) error {
	var status *uicc.StatusError
	if errors.As(err, &status) || errors.Is(err, uicc.ErrFCP) {
		return nil
	}
	return err
}

// readEF reads a file of the current directory; nil if it is not there.
func readEF(ctx context.Context, s *uicc.Session, ef uicc.EF) (*cardFile, error) {
	fcp, err := s.Select(ctx, ef.ID)
	if err != nil || fcp.ID != ef.ID {
		return nil, answered(err)
	}
	f := &cardFile{Dir: ef.Dir, Name: ef.Name, ID: ef.ID.String(), Kind: fcp.Kind.String(), Size: fcp.Size}
	add := func(b []byte) {
		value := ""
		if v, err := ef.Codec.Decode(b); err == nil && ef.Codec.Known() {
			value = v.String()
		}
		f.Hex, f.Value = append(f.Hex, fmt.Sprintf("%X", b)), append(f.Value, value)
	}
	switch {
	case fcp.Kind == uicc.Transparent:
		var b []byte
		if b, err = s.ReadBinary(ctx, 0, 0, fcp.Size); err == nil {
			add(b)
		}
	case fcp.Kind.Records():
		for n := 1; n <= fcp.Records && n < 255 && err == nil; n++ {
			var b []byte
			if b, err = s.ReadRecord(ctx, 0, byte(n)); err == nil {
				add(b)
			}
		}
	}
	if err != nil {
		f.Refused = err.Error()
	}
	return f, answered(err)
}
