package sitetest

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

const inChild = "ANKAN_TEST_SIZE"

// OwnProcess has a test run again in a process of its own, with these arguments,
// so that its memory is its own. It reports true in that process.
func OwnProcess(t *testing.T, args ...string) bool {
	t.Helper()
	if os.Getenv(inChild) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-test.run=^" + t.Name() + "$", "-test.v", "-test.timeout=0"}, args...)...)
	cmd.Env = append(os.Environ(), inChild+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatal("the test did not run in its own process")
	}
	return false
}

// Peak is the most memory that this process had resident, in bytes.
func Peak(t testing.TB) int64 {
	t.Helper()
	for line := range strings.Lines(string(Must[[]byte](t)(os.ReadFile("/proc/self/status")))) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return 1024 * Must[int64](t)(strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64))
		}
	}
	t.Fatal("/proc/self/status has no VmHWM")
	return 0
}

// Watch says how far a test is, and the memory so far.
func Watch(t testing.TB) func(stage string) {
	began := time.Now()
	return func(stage string) {
		t.Helper()
		t.Logf("%8.1f s, %4d MiB: %s", time.Since(began).Seconds(), Peak(t)>>20, stage)
	}
}
