package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ankan/client"
)

// table prints rows under a head, in columns. Columns of numbers stand right.
func (a *app) table(head []string, rows [][]string) {
	width := make([]int, len(head))
	number := make([]bool, len(head))
	for i, h := range head {
		width[i] = utf8.RuneCountInString(h)
		number[i] = len(rows) > 0
		for _, r := range rows {
			width[i] = max(width[i], utf8.RuneCountInString(r[i]))
			number[i] = number[i] && r[i] != "" && strings.Trim(r[i], "0123456789") == ""
		}
	}
	for _, r := range append([][]string{head}, rows...) {
		var line strings.Builder
		for i, cell := range r {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if number[i] {
				cell, pad = pad+cell, ""
			}
			if i > 0 {
				line.WriteString("  ")
			}
			line.WriteString(cell + pad)
		}
		a.printf("%s\n", strings.TrimRight(line.String(), " "))
	}
}

// next says what to do now.
func (a *app) next(format string, args ...any) { a.printf("next: "+format+"\n", args...) }

// count is "1 entry", "2 entries".
func count[N int | int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// orWords is a choice of roles.
func orWords(roles []string) string { return strings.Join(roles, " or ") }

// sorted is the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// ist is the time that people in India read.
var ist = time.FixedZone("IST", 5*3600+1800)

// when shows a time in IST and UTC.
func when(t time.Time) string {
	local, utc := t.In(ist), t.UTC()
	layout := "15:04:05 UTC"
	if local.Day() != utc.Day() {
		layout = "2006-01-02 15:04:05 UTC"
	}
	return local.Format("2006-01-02 15:04:05 IST") + " · " + utc.Format(layout)
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// readDocument reads a file that a person wrote, so that what is wrong with it
// is said before a site is asked. The bytes are those that were parsed.
func readDocument[T any](path string, parse func([]byte) (T, error)) (doc []byte, v T, err error) {
	if doc, err = os.ReadFile(path); err != nil {
		return nil, v, err
	}
	if v, err = parse(doc); err != nil {
		err = fmt.Errorf("%s: %w", short(path), err)
	}
	return doc, v, err
}

// short is a path as one may type it here: relative if that is shorter, and
// quoted if the shell needs it.
func short(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && len(rel) < len(path) {
			path = rel
		}
	}
	if plainWord.MatchString(path) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// advice is the next step after an error of a command; "" if there is none to
// give.
func (a *app) advice(command string, err error) string {
	if a.config == "" {
		return ""
	}
	config := short(a.config)
	if errors.Is(err, client.ErrAway) && errors.Is(err, fs.ErrPermission) {
		return "run it as the user whom the site runs as; nobody else may open its control socket"
	}
	if errors.Is(err, client.ErrAway) {
		return "ankan serve -c " + config
	}
	var r *client.Refusal
	if !errors.As(err, &r) {
		return ""
	}
	noun, _, _ := strings.Cut(command, " ")
	switch {
	case strings.Contains(r.Text, "no such person"), strings.Contains(r.Text, "of another passkey"):
		return "ankan person list -c " + config
	case noun == "act" && r.Status == 404 && !strings.HasPrefix(command, "act request"):
		return "ankan act list -c " + config
	case noun == "order" && r.Status == 404, strings.Contains(r.Text, "no such order"):
		return "ankan order list -c " + config
	case noun == "line" && r.Status == 404:
		return "ankan line list -c " + config
	case strings.HasPrefix(command, "act do"), strings.HasPrefix(command, "act approve"):
		return "ankan act show " + a.act + " -c " + config
	}
	return ""
}
