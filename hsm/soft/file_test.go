package soft

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"ankan/hsm"
	"ankan/hsm/internal/testrandom"
)

var ctx = context.Background()

func passphrase() []byte { return []byte("a passphrase for tests") }

func create(t testing.TB, path string) *Token {
	t.Helper()
	token, err := Create(path, passphrase(), WithCost(LowestCost()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { token.Close() })
	return token
}

func open(t testing.TB, path string) *Token {
	t.Helper()
	token, err := Open(path, passphrase())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { token.Close() })
	return token
}

func generate(t testing.TB, token *Token, id string) hsm.Key {
	t.Helper()
	k, err := token.Generate(ctx, id, hsm.Order, hsm.AES256)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	token := create(t, path)
	dk, wrapped, err := token.NewDataKey(ctx, generate(t, token, "order/1").ID)
	if err != nil {
		t.Fatal(err)
	}
	generate(t, token, "order/2")
	for p, a := range map[hsm.Purpose]hsm.Algorithm{
		hsm.Ledger: hsm.HMAC256, hsm.Agree: hsm.P521, hsm.MailSign: hsm.P256, hsm.MailOpen: hsm.RSA3072, hsm.SiteSign: hsm.Ed25519,
		hsm.Transport: hsm.AES128,
	} {
		if _, err := token.Generate(ctx, string(p), p, a); err != nil {
			t.Fatal(err)
		}
	}
	if err := token.Destroy(ctx, "order/2"); err != nil {
		t.Fatal(err)
	}
	before, err := token.Keys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mac, err := token.MAC(ctx, "ledger", []byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	sealed := dk.Seal(nil, []byte("block"), nil)
	if err := token.Close(); err != nil {
		t.Fatal(err)
	}

	token = open(t, path)
	after, err := token.Keys(ctx)
	if err != nil || !reflect.DeepEqual(after, before) {
		t.Errorf("%v, %v, want %v", after, err, before)
	}
	if again, err := token.MAC(ctx, "ledger", []byte("m")); err != nil || again != mac {
		t.Errorf("MAC %x, %v, want %x", again, err, mac)
	}
	dk, err = token.OpenDataKey(ctx, "order/1", wrapped)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := dk.Open(nil, sealed, nil); err != nil || string(plain) != "block" {
		t.Errorf("%q, %v", plain, err)
	}
	if _, err := token.Generate(ctx, "order/2", hsm.Order, hsm.AES256); !errors.Is(err, hsm.ErrKeyExists) {
		t.Errorf("a destroyed key's name: %v, want ErrKeyExists", err)
	}
}

func TestCreateRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if _, err := Create(path, []byte("eleven byte"), WithCost(LowestCost())); err == nil || strings.Contains(err.Error(), "eleven") {
		t.Errorf("short passphrase: %v", err)
	}
	low := LowestCost()
	for _, c := range []Cost{
		{}, {low.Time - 1, low.MemoryKiB, 1}, {low.Time, low.MemoryKiB - 1, 1}, {low.Time, low.MemoryKiB, 0},
		{65, low.MemoryKiB, 1}, {low.Time, 4<<20 + 1, 1}, {low.Time, low.MemoryKiB, 65},
	} {
		if _, err := Create(path, passphrase(), WithCost(c)); !errors.Is(err, ErrCost) {
			t.Errorf("%+v: %v, want ErrCost", c, err)
		}
	}
	create(t, path).Close()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path, passphrase(), WithCost(LowestCost())); !errors.Is(err, os.ErrExist) {
		t.Errorf("existing file: %v, want ErrExist", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("existing file was touched, %v", err)
	}
	if _, err := Create(filepath.Join(path, "x"), passphrase(), WithCost(LowestCost())); err == nil {
		t.Error("no folder is not refused")
	}
}

func TestUsualCost(t *testing.T) {
	if err := UsualCost().check(); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "token")
	token, err := Create(path, passphrase())
	if err != nil {
		t.Fatal(err)
	}
	token.Close()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if c, _, err := parseHeader(b); err != nil || c != UsualCost() {
		t.Errorf("%+v, %v, want %+v", c, err, UsualCost())
	}
	open(t, path)
}

func TestOpenRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if _, err := Open(path, passphrase()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v, want ErrNotExist", err)
	}
	token := create(t, path)
	generate(t, token, "order/1")
	if _, err := Open(path, passphrase()); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("by process %d", os.Getpid())) {
		t.Errorf("open already: %v, want ErrInUse", err)
	}
	if _, err := Create(path, passphrase(), WithCost(LowestCost())); !errors.Is(err, ErrInUse) {
		t.Errorf("open already: %v, want ErrInUse", err)
	}
	token.Close()
	if _, err := Open(path, []byte("another passphrase")); !errors.Is(err, ErrPassphrase) || strings.Contains(err.Error(), "another") {
		t.Errorf("wrong passphrase: %v, want ErrPassphrase", err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(i int, v byte) []byte {
		b := bytes.Clone(good)
		b[i] ^= v
		return b
	}
	m := len(magic)
	for name, c := range map[string]struct {
		file []byte
		want error
	}{
		"empty":         {nil, ErrFile},
		"header only":   {good[:headerLen], ErrFile},
		"magic":         {changed(0, 1), ErrFile},
		"version":       {changed(m-2, 3), ErrFile},
		"one pass more": {changed(m+3, 1), ErrPassphrase},
		"low time":      {changed(m+3, 3), ErrCost},
		"low memory":    {changed(m+6, 0x48), ErrCost},
		"huge memory":   {changed(m+4, 0x80), ErrCost},
		"no threads":    {changed(m+8, 1), ErrCost},
		"salt":          {changed(m+9, 1), ErrPassphrase},
		"nonce":         {changed(headerLen, 1), ErrPassphrase},
		"keys":          {changed(headerLen+20, 1), ErrPassphrase},
		"tag":           {changed(len(good)-1, 1), ErrPassphrase},
		"truncated":     {good[:len(good)-1], ErrPassphrase},
		"extended":      {append(bytes.Clone(good), 0), ErrPassphrase},
	} {
		if err := os.WriteFile(path, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, passphrase()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := os.Truncate(path, maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, passphrase()); !errors.Is(err, ErrFile) {
		t.Errorf("huge file: %v, want ErrFile", err)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, passphrase()); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by others: %v, want ErrFile", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, path) // no refusal left the lock behind
}

func TestFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	token, err := Create(path, passphrase(), WithCost(LowestCost()), WithTestRandom(testrandom.Source{R: constant(0xA7)}))
	if err != nil {
		t.Fatal(err)
	}
	defer token.Close()
	generate(t, token, "order/1")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte{0xA7, 0xA7, 0xA7, 0xA7}) || bytes.Contains(b, []byte("order/1")) {
		t.Errorf("the file shows a key: %x", b)
	}
	for _, name := range []string{path, path + ".lock"} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want mode 600", name, info, err)
		}
	}
}

type constant byte

func (c constant) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c)
	}
	return len(p), nil
}

// A step that fails once, after the new file took its place, has the whole file
// written anew: the change is made, and the token goes on.
func TestStepFailsOnce(t *testing.T) {
	for _, fails := range []string{"sync folder", "overwrite"} {
		path := filepath.Join(t.TempDir(), "token")
		token := create(t, path)
		generate(t, token, "first")
		times := 0
		token.token().writer.fault = func(step string) error {
			if step == fails {
				if times++; times == 1 {
					return errors.New("disk is broken")
				}
			}
			return nil
		}
		generate(t, token, "second")
		if err := token.Destroy(ctx, "first"); err != nil || times < 2 {
			t.Errorf("%s: %v after %d times", fails, err, times)
		}
		if err := token.Check(ctx); err != nil {
			t.Errorf("%s: %v", fails, err)
		}
		token.Close()
		reopened := open(t, path)
		if _, err := reopened.Key(ctx, "second"); err != nil {
			t.Errorf("%s: %v", fails, err)
		}
		if _, err := reopened.Key(ctx, "first"); !errors.Is(err, hsm.ErrNoKey) {
			t.Errorf("%s: %v, want ErrNoKey", fails, err)
		}
	}
}

// Every step of a change fails. Before the new file takes its place
// nothing happened and the token goes on; afterwards nobody knows what a crash
// would leave, so that the token takes no more changes until it is opened anew.
func TestStepsFail(t *testing.T) {
	broken := errors.New("disk is broken")
	for _, c := range []struct {
		step string
		sure bool
	}{{"create", true}, {"write", true}, {"sync", true}, {"rename", true}, {"sync folder", false}, {"overwrite", false}} {
		t.Run(c.step, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "token")
			token := create(t, path)
			generate(t, token, "first")
			fail := true
			token.token().writer.fault = func(step string) error {
				if fail && step == c.step {
					return broken
				}
				return nil
			}
			_, err := token.Generate(ctx, "second", hsm.Order, hsm.AES256)
			if !errors.Is(err, broken) || errors.Is(err, errUnsure) == c.sure {
				t.Errorf("Generate: %v, want a broken disk, sure %t", err, c.sure)
			}
			if _, err := token.Key(ctx, "second"); !errors.Is(err, hsm.ErrNoKey) {
				t.Errorf("Key: %v, want ErrNoKey", err)
			}
			if c.sure {
				if err := token.Destroy(ctx, "first"); !errors.Is(err, broken) {
					t.Errorf("Destroy: %v, want a broken disk", err)
				}
			}
			if _, _, err := token.NewDataKey(ctx, "first"); err != nil {
				t.Errorf("what was there before: %v", err)
			}
			fail = false
			_, err = token.Generate(ctx, "third", hsm.Order, hsm.AES256)
			if (err == nil) != c.sure || err != nil && !errors.Is(err, errUnsure) {
				t.Errorf("afterwards: %v, sure %t", err, c.sure)
			}
			token.Close()
			reopened := open(t, path)
			if _, err := reopened.Key(ctx, "first"); err != nil {
				t.Error(err)
			}
			if _, err := reopened.Key(ctx, "second"); (err == nil) == c.sure {
				t.Errorf("after opening again: %v, sure %t", err, c.sure)
			}
			generate(t, reopened, "fourth")
		})
	}
}

// What the disk does not keep is not there: no key, no share of it, and its
// name is free.
func TestTransferFails(t *testing.T) {
	token := create(t, filepath.Join(t.TempDir(), "token"))
	var to []hsm.Holder
	for i := range 3 {
		k, err := ecdh.P521().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		to = append(to, hsm.Holder{Name: fmt.Sprint(1001 + i), Key: k.PublicKey()})
	}
	broken := errors.New("disk is broken")
	fail := true
	token.token().writer.fault = func(step string) error {
		if fail && step == "write" {
			return broken
		}
		return nil
	}
	k, shares, err := token.GenerateShared(ctx, "k4", hsm.Transport, hsm.AES256, "set", 2, to)
	if !errors.Is(err, broken) || shares != nil || k.ID != "" {
		t.Errorf("%+v, %d shares, %v, want a broken disk", k, len(shares), err)
	}
	if _, err := token.Key(ctx, "k4"); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("Key: %v, want ErrNoKey", err)
	}
	fail = false
	if _, _, err := token.GenerateShared(ctx, "k4", hsm.Transport, hsm.AES256, "set", 2, to); err != nil {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	token := create(t, path)
	empty, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	generate(t, token, "first")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := token.Check(ctx); err != nil {
		t.Error(err)
	}
	changed := bytes.Clone(good)
	changed[len(changed)-1] ^= 1
	for name, file := range map[string][]byte{
		"older": empty, "changed": changed, "cut": good[:len(good)-1], "no header": good[:3],
		"another token's": append(makeHeader(LowestCost(), make([]byte, saltLen)), good[headerLen:]...),
	} {
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := token.Check(ctx); !errors.Is(err, ErrFile) {
			t.Errorf("%s: %v, want ErrFile", name, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := token.Check(ctx); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v, want ErrNotExist", err)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := token.Check(ctx); err != nil {
		t.Errorf("the file is back: %v", err)
	}
	token.token().writer.fault = func(step string) error {
		if step == "overwrite" {
			return errors.New("disk is broken")
		}
		return nil
	}
	if _, err := token.Generate(ctx, "second", hsm.Order, hsm.AES256); err == nil {
		t.Error("the disk's error is lost")
	}
	if err := token.Check(ctx); !errors.Is(err, errUnsure) {
		t.Errorf("broken: %v, want errUnsure", err)
	}
}

// A machine that stops at a step leaves the old or the new file, and whatever
// was written of the new one does not matter.
func TestCrashAtEveryStep(t *testing.T) {
	for _, step := range []string{"create", "write", "sync", "rename", "sync folder", "overwrite"} {
		t.Run(step, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "token")
			copied := filepath.Join(t.TempDir(), "token")
			token := create(t, path)
			generate(t, token, "first")
			token.token().writer.fault = func(s string) error {
				if s == step {
					copyFile(t, path, copied)
					copyFile(t, path+".new", copied+".new")
				}
				return nil
			}
			generate(t, token, "second")
			after := open(t, copied)
			if _, err := after.Key(ctx, "first"); err != nil {
				t.Error(err)
			}
			_, err := after.Key(ctx, "second")
			if happened := step == "sync folder" || step == "overwrite"; (err == nil) != happened {
				t.Errorf("second key: %v, want it there: %t", err, happened)
			}
			if _, err := os.Stat(copied + ".new"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the unfinished file is still there: %v", err)
			}
			generate(t, after, "third")
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestLeftover(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	create(t, path).Close()
	if err := os.WriteFile(path+".new", []byte("half a token"), 0o600); err != nil {
		t.Fatal(err)
	}
	token := open(t, path)
	generate(t, token, "order/1")
	token.Close()
	// A leftover that cannot be removed is said, not stumbled over later.
	if err := os.MkdirAll(filepath.Join(path+".new", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, passphrase()); err == nil {
		t.Error("a folder in the way is not refused")
	}
}

// A change overwrites the file that it replaces.
func TestOldFileOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	token := create(t, path)
	generate(t, token, "order/1")
	old, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := token.Destroy(ctx, "order/1"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1000)
	n, _ := old.Read(b)
	if n == 0 || !bytes.Equal(b[:n], make([]byte, n)) {
		t.Errorf("the old file still holds %x", b[:n])
	}
}

func TestDestroyAndCloseWipe(t *testing.T) {
	token := create(t, filepath.Join(t.TempDir(), "token"))
	generate(t, token, "a")
	generate(t, token, "b")
	a, b := token.token().live["a"].secret, token.token().live["b"].secret
	if err := token.Destroy(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, make([]byte, 32)) || bytes.Equal(b, make([]byte, 32)) {
		t.Error("Destroy wipes other than the destroyed key")
	}
	token.Close()
	if !bytes.Equal(b, make([]byte, 32)) {
		t.Error("Close does not wipe")
	}
}

// A key that was found and then destroyed does not give its wiped secret away
// as if it were one.
func TestDestroyedMeanwhile(t *testing.T) {
	token := create(t, filepath.Join(t.TempDir(), "token"))
	generate(t, token, "a")
	k, err := token.use(ctx, "a", hsm.Order)
	if err != nil {
		t.Fatal(err)
	}
	if err := token.Destroy(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if err := token.reveal(k, func([]byte) error { return nil }); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("%v, want ErrNoKey", err)
	}
}

func TestTokenIsPrivate(t *testing.T) {
	token, err := Create(filepath.Join(t.TempDir(), "token"), passphrase(), WithCost(LowestCost()),
		WithTestRandom(testrandom.Source{R: constant(0xA7)}))
	if err != nil {
		t.Fatal(err)
	}
	defer token.Close()
	if _, err := token.Generate(ctx, "site", hsm.SiteSign, hsm.Ed25519); err != nil {
		t.Fatal(err)
	}
	signer, err := token.Signer(ctx, "site")
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		token  *Token
		signer any
	}
	var out strings.Builder
	for _, v := range []any{token, *token, signer, holder{token, signer}, []any{token}} {
		fmt.Fprintf(&out, "%v %+v %#v %s %x %q %d\n", v, v, v, v, v, v, v)
		j, err := json.Marshal(v)
		fmt.Fprintf(&out, "%s %v\n", j, err)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
	}
	for _, leak := range []string{"a7a7", "167 167", `\xa7`} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("printed %q:\n%s", leak, out.String())
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	k, err := newKey("b", hsm.Transport, hsm.AES128, true, time.Unix(1, 0), make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	good := encode(map[string]*key{"b": k}, map[string]struct{}{"a": {}})
	if _, _, err := decode(good); err != nil {
		t.Fatal(err)
	}
	set := func(i int, v byte) []byte {
		b := bytes.Clone(good)
		b[i] = v
		return b
	}
	// good is 00000002, 0001 "a" 02, 0001 "b" 03, then the key.
	for name, b := range map[string][]byte{
		"empty":           nil,
		"count too high":  set(3, 3),
		"count too low":   set(3, 1),
		"huge count":      set(0, 0xFF),
		"state":           set(7, 4),
		"order of names":  set(6, 'c'),
		"same name":       set(6, 'b'),
		"bad name":        set(6, ' '),
		"purpose":         set(14, 'x'),
		"secret's length": set(len(good)-17, 15),
		"cut":             good[:len(good)-1],
		"trailing":        append(bytes.Clone(good), 0),
	} {
		if _, _, err := decode(b); !errors.Is(err, ErrFile) {
			t.Errorf("%s: %v, want ErrFile", name, err)
		}
	}
	order, err := newKey("b", hsm.Order, hsm.AES256, false, time.Unix(1, 0), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	order.Exportable = true
	if _, _, err := decode(encode(map[string]*key{"b": order}, nil)); !errors.Is(err, ErrFile) || !errors.Is(err, hsm.ErrPurpose) {
		t.Errorf("an order key that leaves: %v, want ErrFile", err)
	}
	for _, c := range []struct {
		p      hsm.Purpose
		a      hsm.Algorithm
		secret []byte
	}{
		{hsm.MailOpen, hsm.RSA3072, []byte("no key")},
		{hsm.MailSign, hsm.P256, make([]byte, 32)},
		{hsm.Agree, hsm.P521, bytes.Repeat([]byte{0xFF}, 32)},
		{hsm.SiteSign, hsm.Ed25519, make([]byte, 31)},
		{hsm.Order, hsm.AES128, make([]byte, 16)},
	} {
		if _, err := newKey("x", c.p, c.a, false, time.Now(), c.secret); err == nil {
			t.Errorf("%s of %d bytes for %s is not refused", c.a, len(c.secret), c.p)
		}
	}
}

func FuzzDecode(f *testing.F) {
	k, err := newKey("b", hsm.Transport, hsm.AES128, true, time.Unix(1, 0), make([]byte, 16))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encode(map[string]*key{"b": k}, map[string]struct{}{"a": {}}))
	k.Exportable = false
	f.Add(encode(map[string]*key{"b": k}, nil))
	f.Add(binary.BigEndian.AppendUint32(nil, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		live, destroyed, err := decode(b)
		if err == nil && !bytes.Equal(encode(live, destroyed), b) {
			t.Errorf("%x comes back as %x", b, encode(live, destroyed))
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add(append(makeHeader(UsualCost(), make([]byte, saltLen)), make([]byte, overhead)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, salt, err := parseHeader(b)
		if err == nil && !bytes.Equal(makeHeader(c, salt), b[:headerLen]) {
			t.Errorf("%x comes back as %x", b[:headerLen], makeHeader(c, salt))
		}
	})
}

// TestKilled makes keys in another process, kills it, and looks at what is
// left: every key that it said it had made, and a token that goes on.
func TestKilled(t *testing.T) {
	if path := os.Getenv("ANKAN_TEST_TOKEN"); path != "" {
		token, err := Open(path, passphrase())
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; ; i++ {
			fmt.Println("made", generate(t, token, fmt.Sprintf("order/%d/%d", os.Getpid(), i)).ID)
		}
	}
	path := filepath.Join(t.TempDir(), "token")
	create(t, path).Close()
	var said []string
	for round := range 5 {
		child := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		child.Env = append(os.Environ(), "ANKAN_TEST_TOKEN="+path)
		var out bytes.Buffer
		child.Stdout = &out
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(150+37*round) * time.Millisecond)
		child.Process.Kill()
		child.Wait()
		lines := strings.SplitAfter(out.String(), "\n")
		for _, line := range lines {
			if id, ok := strings.CutPrefix(line, "made "); ok && strings.HasSuffix(id, "\n") {
				said = append(said, strings.TrimSpace(id))
			}
		}
		token := open(t, path)
		for _, id := range said {
			if _, err := token.Key(ctx, id); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		token.Close()
	}
	if len(said) == 0 {
		t.Error("no child made a key before it was killed")
	}
}
