package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func output(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(context.Background(), args, &out, &errs); code != exitDone {
		t.Fatalf("ankan %s: code %d: %s", strings.Join(args, " "), code, errs.String())
	}
	return out.String()
}

func model(t *testing.T) *kong.Application {
	t.Helper()
	p, err := newParser(io.Discard, io.Discard, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return p.Model
}

// TestBashCompletion asks a bash that loaded the script, at every place of the
// command line, and compares with the model.
func TestBashCompletion(t *testing.T) {
	script := output(t, "completion", "bash")
	want := map[string][]string{}
	var order []string
	ask := func(line string, words []string) {
		order = append(order, line)
		want[line] = slices.Sorted(slices.Values(words))
	}
	all := nodes(model(t).Node)
	for _, n := range all {
		line := n.Path() + " "
		list, files := words(n)
		if !files {
			ask(line, list)
		}
		var names []string
		for _, f := range flagsOf(n) {
			names = append(names, "--"+f.Name)
			if takes(f) && !isFile(f.Value) {
				ask(line+"--"+f.Name+" ", choices(f.Value))
				ask(line+"--"+f.Name+" = ", choices(f.Value)) // as readline splits --flag=value
			}
		}
		ask(line+"--", names)
	}
	if len(all) < 30 {
		t.Fatalf("the model has %d commands", len(all))
	}
	// A few of them said in full, in case the model is read wrongly.
	for line, w := range map[string]string{
		"order ": "check draft list show", "bench order --to ": "ankan gnupg", "completion ": "bash fish zsh",
		"act list --state ": "approved late open rejected used", "key show --": "--config --help --json --version",
	} {
		if got := strings.Join(want[line], " "); got != w {
			t.Errorf("the model has %q after ankan %s, want %q", got, line, w)
		}
	}
	var session strings.Builder
	for _, line := range order {
		fmt.Fprintf(&session, "COMP_WORDS=(ankan %s); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _ankan; printf '%%s\\n' \"${COMPREPLY[*]}\"\n", shellWords(line))
	}
	cmd := exec.Command("bash", "--norc")
	cmd.Stdin = strings.NewReader(script + session.String())
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	answers := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(answers) != len(order) {
		t.Fatalf("%d answers to %d lines: %s", len(answers), len(order), out)
	}
	for i, line := range order {
		if got := slices.Sorted(slices.Values(strings.Fields(answers[i]))); !slices.Equal(got, want[line]) {
			t.Errorf("ankan %s completes to %v, want %v", line, got, want[line])
		}
	}
}

// shellWords is a command line in the words of COMP_WORDS: the last is the one
// to complete.
func shellWords(line string) string {
	words := strings.Split(strings.TrimPrefix(line, " "), " ")
	for i, w := range words {
		words[i] = "'" + w + "'"
	}
	return strings.Join(words, " ")
}

// TestFilesComplete completes the name of a file where a file stands.
func TestFilesComplete(t *testing.T) {
	script := output(t, "completion", "bash")
	for _, line := range []string{"order check", "order show -c", "audit verify --key", "profile check"} {
		cmd := exec.Command("bash", "--norc")
		cmd.Dir = t.TempDir()
		cmd.Stdin = strings.NewReader(script + fmt.Sprintf("touch order-7.inp; COMP_WORDS=(ankan %s ord); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _ankan; echo \"${COMPREPLY[*]}\"\n", line))
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "order-7.inp\n" {
			t.Errorf("ankan %s ord completes to %q (%v), want the file", line, out, err)
		}
	}
}

func TestOtherShells(t *testing.T) {
	fish, zsh := output(t, "completion", "fish"), output(t, "completion", "zsh")
	if !strings.Contains(zsh, "bashcompinit") || !strings.Contains(zsh, "complete -o filenames -F _ankan ankan") {
		t.Errorf("zsh: %s", zsh)
	}
	for _, n := range model(t).Leaves(true) {
		if parent := strings.TrimSpace("__ankan_at " + n.Parent.Path()); !strings.Contains(fish, "-n '"+parent+"' -a "+n.Name+" ") {
			t.Errorf("fish does not complete %s", n.Path())
		}
		for _, f := range n.Flags {
			if !strings.Contains(fish, "-n '__ankan_in "+n.Path()+"' -l "+f.Name) {
				t.Errorf("fish does not complete %s --%s", n.Path(), f.Name)
			}
		}
	}
}

// TestMan finds every command, argument and flag in the manual page; groff,
// where there is one, has nothing to complain about.
func TestMan(t *testing.T) {
	page := output(t, "man")
	for _, n := range model(t).Leaves(true) {
		if !strings.Contains(page, "\n.SS "+roff(n.Path())+"\n") {
			t.Errorf("the page has no %s", n.Path())
		}
	}
	for _, f := range []string{".B \\-c, \\-\\-config=site.yaml\n", ".B \\-\\-no\\-faults\n", "ANKAN_CONFIG"} {
		if !strings.Contains(page, f) {
			t.Errorf("the page has no %q", f)
		}
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Log("no groff here")
		return
	}
	cmd := exec.Command(groff, "-man", "-Tutf8", "-ww", "-z")
	cmd.Stdin = strings.NewReader(page)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("groff: %v: %s", err, out)
	}
}
