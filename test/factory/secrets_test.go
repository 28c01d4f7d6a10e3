package factory

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"ankan/datagen"
	"ankan/demo"
	"ankan/passkey"
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

// A needle is a secret in one of the forms in which it may lie about.
type needle struct {
	what  string
	bytes []byte
	word  bool // only between characters that are no hexadecimal digits
}

// needles finds many secrets at once, by their first eight bytes.
type needles map[uint64][]needle

func (n needles) add(what string, form []byte, word bool) {
	k := binary.BigEndian.Uint64(form)
	n[k] = append(n[k], needle{what, form, word})
}

// key adds a key of 16 bytes or more in all its forms.
func (n needles) key(what string, secret []byte) {
	n.add(what+", raw", secret, false)
	n.add(what+", nibbles swapped", swapped(secret), false)
	n.add(what+", hex", []byte(hex.EncodeToString(secret)), false)
	n.add(what+", HEX", []byte(strings.ToUpper(hex.EncodeToString(secret))), false)
	for shift := range 3 { // the secret may stand anywhere in what is encoded
		text := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), secret...))
		text = text[(shift*8+5)/6 : len(text)-2]
		n.add(fmt.Sprintf("%s, base64 shifted by %d", what, shift), []byte(text), false)
		if url := strings.NewReplacer("+", "-", "/", "_").Replace(text); url != text {
			n.add(fmt.Sprintf("%s, base64url shifted by %d", what, shift), []byte(url), false)
		}
	}
}

// code adds a code of eight digits as cards and files have it. Eight digits are
// found by chance in a digest's hexadecimal form, so there they do not count.
func (n needles) code(what string, digits []byte) {
	n.add(what+", digits", digits, true)
	n.add(what+", nibbles swapped", swapped(digits), false)
	n.add(what+", hex", []byte(hex.EncodeToString(digits)), false)
}

func swapped(b []byte) []byte {
	out := make([]byte, len(b))
	for i, v := range b {
		out[i] = v<<4 | v>>4
	}
	return out
}

// in says which needles are in text.
func (n needles) in(text []byte) (found []string) {
	var window uint64
	for i, c := range text {
		window = window<<8 | uint64(c)
		if i < 7 {
			continue
		}
		at := i - 7
		for _, x := range n[window] {
			if bytes.HasPrefix(text[at:], x.bytes) && (!x.word || isWord(text, at, at+len(x.bytes))) {
				found = append(found, x.what)
			}
		}
	}
	return found
}

func isWord(text []byte, from, to int) bool {
	digit := func(i int) bool {
		return i >= 0 && i < len(text) && strings.IndexByte("0123456789abcdefABCDEF", text[i]) >= 0
	}
	return !digit(from-1) && !digit(to)
}

// search looks into every file under dirs but those that except names.
func (n needles) search(t testing.TB, except func(path string) bool, dirs ...string) (files int, found []string) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || except(path) {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files++
			for _, what := range n.in(text) {
				found = append(found, path+": "+what)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files, found
}

// collect opens an order's batch as the bureau's own module can, and adds the
// secrets of every card and spare. It returns how many it added.
func (n needles) collect(w *works, ord string) (added int) {
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
				n.key(what, value)
				added++
			case slot.Kind == profile.RandomDigits && slot.Fixed == "" && slot.Digits == 8:
				n.code(what, value)
				added++
			}
		}
	}
	return added
}

// TestPlantedSecrets makes every secret known and looks for it in every file
// that a whole journey leaves.
func TestPlantedSecrets(t *testing.T) {
	const cards = 30
	sources := map[string]*recorder{demo.Operator: newRecorder(1), demo.Bureau: newRecorder(2), demo.Plant: newRecorder(3)}
	w := start(t, options{cards: cards, faults: true, random: func(name string) io.Reader { return sources[name] }})
	all := needles{}
	everywhere := []string{w.Dir, filepath.Dir(t.TempDir())} // the modules' files are in the test's folder
	// Chips hold their keys: that is what they are for.
	drawer := func(path string) bool { return strings.HasPrefix(path, w.ChipsDir+"/") }
	look := func(when string, least int) {
		t.Helper()
		files, found := all.search(t, drawer, everywhere...)
		if files < least || len(found) > 0 {
			t.Errorf("%s: %d secrets in %d files, want none in %d or more: %.2000q", when, len(found), files, least, found)
		}
	}
	cardSecrets := 0
	w.journey(map[string]func(){
		stageLine: func() { cardSecrets = all.collect(w, w.orders(demo.Bureau)[0].ID) },
		// The store's challenges are public, and logged.
		stageProof: func() { sources[demo.Operator].stop() },
		stageDestruction: func() {
			for name, r := range sources {
				for i, secret := range r.given {
					if len(secret) >= 16 {
						all.key(fmt.Sprintf("random %d of the module of %s", i, name), secret)
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
	all.add("passphrase of the modules", []byte("a passphrase for tests"), false)
	look("after the journey", 60)
	all.ownKeys(t, w.Dir)
	for _, name := range demo.Sites() {
		w.stop(name)
	}
	_, found := all.search(t, func(path string) bool { return drawer(path) || ownKey(path) }, everywhere...)
	if len(found) > 0 {
		t.Errorf("sites at rest: %.2000q", found)
	}
	t.Run("search", func(t *testing.T) { all.canFind(t) })
}

// ownKey says whether a file is one in which a site keeps a secret of its own.
func ownKey(path string) bool {
	return slices.Contains([]string{".key", ".passkey", ".passphrase"}, filepath.Ext(path))
}

// ownKeys adds what the files of ownKey hold: the keys of the edges, the
// people's passkeys, the modules' passphrases.
func (n needles) ownKeys(t testing.TB, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !ownKey(path) {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		switch filepath.Ext(path) {
		case ".passphrase":
			n.add(path, bytes.TrimSpace(text), false)
		case ".passkey":
			var doc struct {
				Private passkey.Bytes `json:"private_key"`
			}
			if err := json.Unmarshal(text, &doc); err != nil {
				return err
			}
			n.key(path, doc.Private[36:68]) // PKCS #8 of a P-256 key: the number itself
		default:
			if block, _ := pem.Decode(text); block.Type == "PRIVATE KEY" {
				n.key(path, block.Bytes[36:68])
			}
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			n.add(path+", PEM", []byte(lines[len(lines)/2]), false)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
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
func (n needles) canFind(t *testing.T) {
	forms := 0
	for _, list := range n {
		for _, x := range list {
			if !strings.Contains(x.what, " of key set 7,") && !strings.Contains(x.what, "random 3 of the module of bureau") {
				continue
			}
			forms++
			dir := t.TempDir()
			path := filepath.Join(dir, "leak")
			text := append(append([]byte(strings.Repeat("some text ", 1000)), x.bytes...), ' ')
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			files, found := n.search(t, func(string) bool { return false }, dir)
			if files != 1 || len(found) != 1 || !strings.HasSuffix(found[0], x.what) {
				t.Errorf("%s is not found: %d files, %q", x.what, files, found)
			}
		}
	}
	if forms < 60 {
		t.Errorf("%d forms were planted, want 60 or more", forms)
	}
}
