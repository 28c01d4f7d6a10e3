package worker_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ankan/datagen"
	"ankan/store/storetest"
	"ankan/worker"
)

var (
	kills = flag.Int("kills", 4, "workers that TestKill kills")
	seed  = flag.Uint64("seed", 1, "of the moments at which it does")
	cards = flag.Int("cards", 10000, "cards of each of its orders")
)

// program is the command, built once.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("ankan-worker-test-%d", os.Getpid()))
	if out, err := exec.Command("go", "build", "-o", path, "ankan/cmd/ankan").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	os.Remove(filepath.Join(os.TempDir(), fmt.Sprintf("ankan-worker-test-%d", os.Getpid())))
	os.Exit(code)
}

// A machine is one worker, started again when it is killed.
type machine struct {
	*mainSite
	name, config string
	cmd          *exec.Cmd
	said         *os.File
}

func (s *mainSite) machine(name string) *machine {
	s.Helper()
	dir := s.TempDir()
	m := &machine{mainSite: s, name: name, config: filepath.Join(dir, "worker.yaml")}
	s.must(os.WriteFile(filepath.Join(dir, "pass"), []byte(passphrase+"\n"), 0o600))
	s.must(os.WriteFile(m.config, fmt.Appendf(nil, "site: maker\nname: %s\ndatabase: {url: %q}\ntoken: {file: %s, passphrase: pass}\n", name, s.address, s.token), 0o600))
	var err error
	m.said, err = os.Create(filepath.Join(dir, "said"))
	s.must(err)
	s.Cleanup(func() { m.said.Close() })
	return m
}

func (m *machine) start() error {
	path, err := program()
	if err != nil {
		return err
	}
	m.cmd = exec.Command(path, "worker", "-c", m.config)
	m.cmd.Stderr = m.said
	return m.cmd.Start()
}

// works waits until the worker says that it works.
func (m *machine) works() {
	m.Helper()
	for until := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		said, err := os.ReadFile(m.said.Name())
		m.must(err)
		if strings.Contains(string(said), "msg=working") {
			return
		}
		if time.Now().After(until) {
			m.Fatalf("%s does not work: %s", m.name, said)
		}
	}
}

// end ends the worker; it says how that was.
func (m *machine) end(how os.Signal) error {
	if m.cmd == nil {
		return nil
	}
	_ = m.cmd.Process.Signal(how)
	err := m.cmd.Wait()
	m.cmd = nil
	return err
}

// tell shows what the worker said.
func (m *machine) tell() {
	said, _ := os.ReadFile(m.said.Name())
	m.Logf("%s: %s", m.name, said)
}

// Two workers, one of which is killed again and again while they draw, and the
// database restarted in the middle: nothing is lost, nothing is there twice.
func TestKill(t *testing.T) {
	server := storetest.Start(t)
	s := newSite(t, server.New(t))
	lead := s.queue(s.process, worker.Options{Name: "site", Leads: true})
	random := rand.New(rand.NewPCG(*seed, 0))
	steady, mortal := s.machine("steady"), s.machine("mortal")
	for _, m := range []*machine{steady, mortal} {
		s.must(m.start())
		t.Cleanup(func() { _ = m.end(syscall.SIGKILL) })
	}
	steady.works() // what only starts when the database goes ends, and is started again by who runs it
	defer func() {
		if t.Failed() {
			steady.tell()
			mortal.tell()
		}
	}()
	over := make(chan struct{})
	go func() {
		defer close(over)
		for i := range *kills {
			// The moments are random, so that they fall everywhere; nothing is waited for.
			time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond)
			_ = mortal.end(syscall.SIGKILL)
			if i == *kills/2 {
				server.Kill()
				if err := server.Run(); err != nil {
					t.Error(err)
					return
				}
			}
			if err := mortal.start(); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	var drawn []datagen.Batch
	for harm := true; harm; { // there is always something to draw meanwhile
		select {
		case <-over:
			harm = false
		default:
		}
		b := s.batch(fmt.Sprintf("A%d", len(drawn)), *cards, 50)
		s.offer(lead, b)
		drawn = append(drawn, b)
	}
	t.Logf("%d kills over %d orders of %d cards", *kills, len(drawn), *cards)
	// Told to stop, a worker finishes and leaves in good order.
	if err := steady.end(syscall.SIGTERM); err != nil {
		t.Errorf("a worker that was told to stop: %v", err)
	}
	s.drawn(drawn...)
}
