package factory

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ankan/datagen"
	"ankan/demo"
	"ankan/factory"
	"ankan/profile"
)

// A recorder is a module's source of randomness that remembers what it gave:
// every symmetric key of the module, every data key and every seed.
type recorder struct {
	mu    sync.Mutex
	r     io.Reader
	over  bool
	given [][]byte
}

func newRecorder(seed byte) *recorder {
	return &recorder{r: rand.NewChaCha8([32]byte{seed})}
}

func (r *recorder) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := r.r.Read(p)
	if !r.over {
		r.given = append(r.given, bytes.Clone(p[:n]))
	}
	return n, err
}

// stop ends the record: what comes is not secret.
func (r *recorder) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
}

// collect opens an order's batch as the bureau's own module can, and adds the
// secrets of every card and spare. It returns how many it added.
func collect(n *factory.Secrets, w *works, ord string) (added int) {
	w.t.Helper()
	s := w.open(demo.Bureau, w.copied(demo.Bureau))
	defer s.Close()
	r := must[*datagen.Reader](w.t)(datagen.NewReader(w.ctx, s, w.tokens[demo.Bureau], ord))
	defer r.Close()
	layout := r.Batch.Profile.Layout()
	for k := range r.Batch.Cards + r.Batch.Spares {
		record := must[[]byte](w.t)(r.Record(w.ctx, nil, k))
		for _, slot := range r.Batch.Profile.Slots() {
			what, value := fmt.Sprintf("%s of key set %d", slot.Name, k), layout.Of(record, slot.ID)
			switch {
			case slot.Kind == profile.RandomKey || slot.ID == profile.SlotOPC:
				n.Key(what, value)
				added++
			case slot.Kind == profile.RandomDigits && slot.Fixed == "" && slot.Digits == 8:
				n.Code(what, value)
				added++
			}
		}
	}
	return added
}

// TestPlantedSecrets makes every secret known and looks for it in every file
// that a whole journey leaves.
func TestPlantedSecrets(t *testing.T) {
	t.Parallel()
	const cards = 30
	sources := map[string]*recorder{demo.Operator: newRecorder(1), demo.Bureau: newRecorder(2), demo.Plant: newRecorder(3)}
	w := start(t, options{cards: cards, faults: true, random: func(name string) io.Reader { return sources[name] }})
	all := &factory.Secrets{}
	everywhere := []string{w.Dir, filepath.Dir(t.TempDir())} // the modules' files are in the test's folder
	// Chips hold their keys: that is what they are for.
	drawer := func(path string) bool { return strings.HasPrefix(path, w.ChipsDir+"/") }
	look := func(when string, least int) {
		t.Helper()
		files, found, err := all.Search(drawer, everywhere...)
		if err != nil || files < least || len(found) > 0 {
			t.Errorf("%s: %d secrets in %d files (%v), want none in %d or more: %.2000q", when, len(found), files, err, least, found)
		}
	}
	cardSecrets := 0
	w.journey(map[string]func(){
		stageLine: func() { cardSecrets = collect(all, w, w.orders(demo.Bureau)[0].ID) },
		// The store's challenges are public, and logged.
		stageProof: func() { sources[demo.Operator].stop() },
		stageDestruction: func() {
			for name, r := range sources {
				for i, secret := range r.given {
					if len(secret) >= 16 {
						all.Key(fmt.Sprintf("random %d of the module of %s", i, name), secret)
					}
				}
			}
			w.saveAnswers(w.orders(demo.Bureau)[0].ID)
			look("before destruction", 60)
		},
	})
	// 30 cards and 10 spares: K, OPC, 3 of SCP03, 3 of SCP80, ADM1 and two PUKs at least.
	if want := 40 * 11; cardSecrets < want {
		t.Errorf("%d secrets of cards are known, want %d or more", cardSecrets, want)
	}
	all.Text("passphrase of the modules", []byte("a passphrase for tests"))
	look("after the journey", 60)
	ownKeys(t, all, w.Dir)
	for _, name := range demo.Sites() {
		w.stop(name)
	}
	w.balanced(factory.Works{Secrets: all, Dirs: everywhere, Except: func(path string) bool { return drawer(path) || factory.OwnKey(path) }})
	t.Run("search", func(t *testing.T) { canFind(t, all) })
}

// ownKeys adds the sites' own secrets.
func ownKeys(t testing.TB, n *factory.Secrets, dir string) {
	t.Helper()
	files := must[int](t)(n.OwnKeys(dir))
	if want := 3 * (2 + 4 + 1); files < want {
		t.Errorf("%s has %d files with secrets of its own, want %d or more", dir, files, want)
	}
}

// saveAnswers keeps what the control sockets say, where the search looks.
func (w *works) saveAnswers(ord string) {
	for _, name := range demo.Sites() {
		paths := []string{"/status", "/people", "/policy", "/keys", "/orders", "/runs", "/lots", "/acts", "/drafts/people", "/keys/log", "/keys/agree", "/ceremonies"}
		if name == demo.Plant {
			paths = append(paths, "/runs/"+ord, "/runs/"+ord+"/cards?samples=100")
		} else {
			paths = append(paths, "/orders/"+ord)
		}
		for i, path := range paths {
			var answer any
			if err := w.Clients[name].Get(w.ctx, path, &answer); err != nil {
				w.t.Fatalf("%s %s %s: %v", http.MethodGet, name, path, err)
			}
			file := filepath.Join(w.Dir, name, fmt.Sprintf("answer-%d", i))
			if err := os.WriteFile(file, fmt.Append(nil, answer), 0o600); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// canFind plants each form of a few secrets and finds it.
func canFind(t *testing.T, n *factory.Secrets) {
	forms := 0
	n.Forms(func(what string, secret []byte) {
		if !strings.Contains(what, " of key set 7,") && !strings.Contains(what, "random 3 of the module of bureau") {
			return
		}
		forms++
		dir := t.TempDir()
		text := append(append([]byte(strings.Repeat("some text ", 1000)), secret...), ' ')
		if err := os.WriteFile(filepath.Join(dir, "leak"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		files, found, err := n.Search(nil, dir)
		if err != nil || files != 1 || len(found) != 1 || !strings.HasSuffix(found[0], what) {
			t.Errorf("%s is not found: %d files, %q, %v", what, files, found, err)
		}
	})
	if forms < 60 {
		t.Errorf("%d forms were planted, want 60 or more", forms)
	}
}
