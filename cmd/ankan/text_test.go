package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"ankan/client"
)

func TestTable(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out}
	a.table([]string{"ORDER", "CARDS", ""}, [][]string{{"a", "7", ""}, {"long-•", "1000", "why"}})
	want := "ORDER   CARDS\na           7\nlong-•   1000  why\n"
	if out.String() != want {
		t.Errorf("found %q, want %q", out.String(), want)
	}
}

func TestWhen(t *testing.T) {
	for at, want := range map[string]string{
		"2026-11-23T15:28:10Z": "2026-11-23 20:58:10 IST · 15:28:10 UTC",
		"2026-11-23T20:28:10Z": "2026-11-24 01:58:10 IST · 2026-11-23 20:28:10 UTC", // another day
	} {
		v, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := when(v); got != want {
			t.Errorf("%s is shown as %q, want %q", at, got, want)
		}
	}
}

func TestShort(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(wd, "a/b.yaml"): "a/b.yaml",
		"/b.yaml":                     "/b.yaml",
		filepath.Join(wd, "my site"):  "'my site'",
		"/it's":                       `'/it'\''s'`,
	} {
		if got := short(path); got != want {
			t.Errorf("%s is shown as %s, want %s", path, got, want)
		}
	}
}

func TestAdvice(t *testing.T) {
	a := &app{config: "/s.yaml", act: "7"}
	no := func(status int, text string) error { return &client.Refusal{Status: status, Text: text} }
	for _, c := range []struct {
		command, want string
		err           error
	}{
		{"site status", "ankan serve -c /s.yaml", fmt.Errorf("x: %w", client.ErrAway)},
		{"site status", "run it as the user whom the site runs as; nobody else may open its control socket", fmt.Errorf("x: %w (%w)", client.ErrAway, syscall.EACCES)},
		{"order show <id>", "ankan order list -c /s.yaml", no(404, "no such order")},
		{"act request <kind> <subject>", "ankan order list -c /s.yaml", no(404, "no such order")},
		{"act request <kind> <subject>", "ankan person list -c /s.yaml", no(409, `person "9": no such person`)},
		{"act show <id>", "ankan act list -c /s.yaml", no(404, "no such act")},
		{"act do <id>", "ankan act show 7 -c /s.yaml", no(409, "not approved yet")},
		{"line show <order>", "ankan line list -c /s.yaml", no(404, "no such batch here")},
		{"order draft <file>", "", no(409, "IMSI has 14 digits")},
		{"order draft <file>", "", errors.New("other")},
	} {
		if got := a.advice(c.command, c.err); got != c.want {
			t.Errorf("%s, %v: advice %q, want %q", c.command, c.err, got, c.want)
		}
	}
	if got := new(app).advice("order show <id>", no(404, "no such order")); got != "" {
		t.Errorf("advice %q without a site", got)
	}
}
