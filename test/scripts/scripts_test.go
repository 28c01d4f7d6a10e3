package scripts

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ankan/store/storetest"
)

// bin is the folder of the programs under test, built once.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "ankan-bin")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		build := exec.Command("go", "build", "-o", dir, "-ldflags", "-X main.version=v0-test", "ankan/cmd/...")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s%v\n", out, err)
			return 1
		}
		bin = dir
		return m.Run()
	}())
}

func TestScripts(t *testing.T) {
	files, err := filepath.Glob("*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Files:               files,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("EXAMPLES", examples)
			if storetest.OnPostgres() {
				e.Setenv("ANKAN_DATABASE", storetest.Database(t)) // for demonstrations
				if err := onPostgres(t, e.WorkDir); err != nil {
					return err
				}
			}
			e.Defer(func() { endKept(filepath.Join(e.WorkDir, "kept")) })
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name != "postgres" {
				return false, fmt.Errorf("there is no condition %q", name)
			}
			return storetest.OnPostgres(), nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"freeport": freePort, "field": field, "until": until, "modes": modes, "absent": absent, "nowhere": nowhere, "flip": flip, "page": page,
		},
	})
}

// onPostgres gives the sites of a script databases on a server.
func onPostgres(t *testing.T, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	more, err := filepath.Glob(filepath.Join(dir, "*", "*.yaml"))
	if err != nil {
		return err
	}
	for _, f := range append(files, more...) {
		doc, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if strings.Contains(string(doc), "\ncontrol: ") {
			if err := os.WriteFile(f, append(doc, storetest.Section(t)...), 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// endKept ends the sites that a demonstration left running, if its script broke
// off before it could.
func endKept(output string) {
	doc, err := os.ReadFile(output)
	if err != nil {
		return
	}
	_, pids, _ := strings.Cut(string(doc), "Stop them with: kill ")
	for _, f := range strings.Fields(pids) {
		if pid, err := strconv.Atoi(f); err == nil {
			syscall.Kill(pid, syscall.SIGTERM)
		}
	}
}

// freePort sets each variable to a loopback address that is free: freeport VAR...
func freePort(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		defer l.Close()
		ts.Setenv(name, l.Addr().String())
	}
}

// field compares a field of the JSON on standard output: field PATH WANT. With
// -set VAR PATH it sets a variable. Lists of strings are joined by blanks.
func field(ts *testscript.TestScript, neg bool, args []string) {
	var doc any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &doc))
	set := args[0] == "-set"
	path := args[0]
	if set {
		path = args[2]
	}
	for _, step := range strings.Split(path, ".") {
		switch v := doc.(type) {
		case map[string]any:
			next, ok := v[step]
			if !ok {
				ts.Fatalf("field %s: there is no %s", path, step)
			}
			doc = next
		case []any:
			n, err := strconv.Atoi(step)
			if err != nil || n >= len(v) {
				ts.Fatalf("field %s: there is no element %s of %d", path, step, len(v))
			}
			doc = v[n]
		default:
			ts.Fatalf("field %s: %s is in %T", path, step, v)
		}
	}
	got := text(doc)
	if set {
		ts.Setenv(args[1], got)
		return
	}
	if (got == args[1]) == neg {
		ts.Fatalf("field %s is %q, want %q (not: %v)", path, got, args[1], neg)
	}
}

func text(v any) string {
	switch v := v.(type) {
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		var all []string
		for _, e := range v {
			all = append(all, text(e))
		}
		return strings.Join(all, " ")
	}
	return fmt.Sprint(v)
}

// until runs one of the programs until its output matches: until PATTERN
// PROGRAM ARG...
func until(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	var out []byte
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		cmd := exec.Command(filepath.Join(bin, args[1]), args[2:]...)
		cmd.Dir = ts.MkAbs(".")
		out, _ = cmd.CombinedOutput()
		if want.Match(out) {
			return
		}
	}
	ts.Fatalf("%s did not say %s; it says %s", strings.Join(args[1:], " "), args[0], out)
}

// page gets a page until it answers with a status: page STATUS URL.
func page(ts *testscript.TestScript, _ bool, args []string) {
	got := "nothing"
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		r, err := http.Get(args[1])
		if err != nil {
			got = err.Error()
			continue
		}
		r.Body.Close()
		if got = strconv.Itoa(r.StatusCode); got == args[0] {
			return
		}
	}
	ts.Fatalf("%s answers %s, want %s", args[1], got, args[0])
}

// modes checks that all files under folders have no more rights than MODE:
// modes MODE DIR...
func modes(ts *testscript.TestScript, _ bool, args []string) {
	most, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	walk(ts, args[1:], func(path string, fi fs.FileInfo) {
		if fi.Mode().Perm()&^fs.FileMode(most) != 0 {
			ts.Fatalf("%s has mode %o, want at most %o", path, fi.Mode().Perm(), most)
		}
	})
}

// absent checks that no file under folders has a name like PATTERN: absent
// PATTERN DIR...
func absent(ts *testscript.TestScript, _ bool, args []string) {
	walk(ts, args[1:], func(path string, fi fs.FileInfo) {
		if ok, err := filepath.Match(args[0], fi.Name()); err != nil || ok {
			ts.Fatalf("%s is there (%v)", path, err)
		}
	})
}

// nowhere checks that a text, or the first line of a file given as @FILE, is in
// no file under folders but those named like EXCEPT: nowhere TEXT EXCEPT DIR...
func nowhere(ts *testscript.TestScript, _ bool, args []string) {
	needle := args[0]
	if name, ok := strings.CutPrefix(needle, "@"); ok {
		needle, _, _ = strings.Cut(ts.ReadFile(name), "\n")
	}
	if needle == "" {
		ts.Fatalf("nowhere: nothing to look for in %s", args[0])
	}
	seen := 0
	walk(ts, args[2:], func(path string, fi fs.FileInfo) {
		if ok, err := filepath.Match(args[1], fi.Name()); err != nil || ok {
			return
		}
		doc, err := os.ReadFile(path)
		ts.Check(err)
		seen++
		if strings.Contains(string(doc), needle) {
			ts.Fatalf("%s holds what %s names", path, args[0])
		}
	})
	if seen == 0 {
		ts.Fatalf("nowhere: no files in %s", strings.Join(args[2:], " "))
	}
}

func walk(ts *testscript.TestScript, dirs []string, look func(path string, fi fs.FileInfo)) {
	for _, dir := range dirs {
		ts.Check(filepath.WalkDir(ts.MkAbs(dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			fi, err := d.Info()
			if err != nil {
				return err
			}
			if fi.Mode().IsRegular() {
				look(path, fi)
			}
			return nil
		}))
	}
}

// flip changes one bit in the middle of a file: flip FILE.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	doc := []byte(ts.ReadFile(args[0]))
	doc[len(doc)/2] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), doc, 0o600))
}
