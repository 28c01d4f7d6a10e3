package cards

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ankan/aka"
	"ankan/pcsc"
)

// inside is set in the environment of the tests in their namespaces.
const inside = "ANKAN_CARDS_INSIDE"

// python is Debian's: another one does not have Debian's modules.
const python = "/usr/bin/python3"

// peers are the programs that the tests need, and their Debian packages.
var peers = map[string]string{
	"unshare": "util-linux", "ip": "iproute2", "pcscd": "pcscd", "opensc-tool": "opensc", python: "python3",
	"hostapd": "hostapd", "eapol_test": "eapoltest", "osmo-hlr": "osmo-hlr", "osmo-hlr-db-tool": "osmo-hlr",
}

// driver is the virtual reader.
const driver = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so"

// bin is the folder of the program under test.
var bin string

func TestMain(m *testing.M) {
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	run := enter
	if os.Getenv(inside) != "" {
		run = func() (int, error) { return within(m) }
	}
	code, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "test/cards:", err)
		code = 1
	}
	os.Exit(code)
}

// enter runs the tests again in namespaces of their own.
func enter() (int, error) {
	for program, pkg := range peers {
		if _, err := exec.LookPath(program); err != nil {
			return 1, fmt.Errorf("%s is missing; install the package %s", program, pkg)
		}
	}
	if _, err := os.Stat(driver); err != nil {
		return 1, fmt.Errorf("%s is missing; install the package vsmartcard-vpcd", driver)
	}
	if exec.Command(python, "-c", "import smartcard").Run() != nil {
		return 1, errors.New(python + " has no module smartcard; install the package python3-pyscard")
	}
	args := []string{"--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if os.Getuid() != 0 {
		args = append(args, "--map-root-user")
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	cmd := exec.Command("unshare", append(append(args, self), os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// within prepares the namespaces and runs the tests. All that they start ends
// with this process, the first of its namespace.
func within(m *testing.M) (int, error) {
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("loopback: %s: %w", out, err)
	}
	if err := unix.Mount("none", "/run", "tmpfs", 0, ""); err != nil {
		return 1, fmt.Errorf("/run: %w", err)
	}
	dir, err := os.MkdirTemp("", "ankan-cards")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", dir, "ankan/cmd/ankan")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("%s: %w", out, err)
	}
	bin = dir
	conf := filepath.Join(dir, "reader.conf")
	text := fmt.Sprintf("FRIENDLYNAME \"Virtual PCD\"\nDEVICENAME /dev/null:0x8C7B\nLIBPATH %s\nCHANNELID 0x8C7B\n", driver)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return 1, err
	}
	if err := os.MkdirAll("/run/pcscd", 0o755); err != nil {
		return 1, err
	}
	var log bytes.Buffer
	daemon := exec.Command("pcscd", "--foreground", "--config", conf)
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := daemon.Start(); err != nil {
		return 1, err
	}
	defer func() { daemon.Process.Kill(); daemon.Wait() }()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		all, err := pcsc.Readers(context.Background())
		if err == nil && len(all) == 2 {
			return m.Run(), nil
		}
		if time.Now().After(end) {
			return 1, fmt.Errorf("pcscd does not come up: %v, %v; it says: %s", all, err, log.Bytes())
		}
	}
}

// patience is how long things may take on a busy machine.
const patience = 60 * time.Second

// readers are vpcd's, and the places where it waits for their cards.
var readers = [2]struct{ name, address string }{
	{"Virtual PCD 00 00", "127.0.0.1:35963"}, {"Virtual PCD 00 01", "127.0.0.1:35964"},
}

// A card is one that ankan card make made.
type card struct {
	file, values string
	row          map[string]string
}

func newCard(t *testing.T) *card {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "cards")
	ankan(t, "card", "make", "--profile", "builtin:in-5g-usim-isim", "--out", dir)
	files, err := filepath.Glob(filepath.Join(dir, "*.chip"))
	if err != nil || len(files) != 1 {
		t.Fatalf("cards: %v, %v", files, err)
	}
	c := &card{file: files[0], values: filepath.Join(dir, "cards.csv"), row: map[string]string{}}
	f, err := os.Open(c.values)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, h := range rows[0] {
		c.row[h] = rows[1][i]
	}
	return c
}

func (c *card) bytes(t *testing.T, column string) []byte {
	t.Helper()
	b, err := hex.DecodeString(c.row[column])
	if err != nil || len(b) == 0 {
		t.Fatalf("%s is %q", column, c.row[column])
	}
	return b
}

func (c *card) algorithm(t *testing.T) aka.Milenage {
	t.Helper()
	alg, err := aka.New(c.bytes(t, "ki"), c.bytes(t, "opc"))
	if err != nil {
		t.Fatal(err)
	}
	return alg
}

// insert attaches the card to the first reader until the test ends.
func (c *card) insert(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { awaitPresent(t, readers[0].name, false) }) // after it was taken out
	start(t, exec.Command(filepath.Join(bin, "ankan"), "card", "attach", "--vpcd", readers[0].address, c.file))
	awaitPresent(t, readers[0].name, true)
}

// awaitPresent waits until the daemon sees a card, or none. Cleanups run after
// the test's context ended.
func awaitPresent(t *testing.T, name string, want bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	r, err := pcsc.Open(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	wait := r.WaitRemoved
	if want {
		wait = r.WaitInserted
	}
	if s, err := wait(ctx); err != nil || s.Mute {
		t.Fatalf("%+v, %v", s, err)
	}
}

// output collects what a process says.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start runs a process until the test ends.
func start(t *testing.T, cmd *exec.Cmd) *output {
	t.Helper()
	out := new(output)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		cmd.Wait()
		if !late.Stop() {
			t.Errorf("%s did not end when it was told", cmd.Path)
		}
		if t.Failed() {
			t.Logf("%s says: %s", filepath.Base(cmd.Path), out)
		}
	})
	return out
}

// await waits until a process says something.
func (o *output) await(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(o.String(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not say %q but: %s", text, o)
		}
	}
}

// ran runs a program that must end well and returns what it says.
func ran(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func ankan(t *testing.T, args ...string) string {
	t.Helper()
	return ran(t, filepath.Join(bin, "ankan"), args...)
}

// says checks that a text holds others.
func says(t *testing.T, what, got string, wants ...string) {
	t.Helper()
	for _, w := range wants {
		if !strings.Contains(got, w) {
			t.Errorf("%s says %q, want %q in it", what, got, w)
		}
	}
}
