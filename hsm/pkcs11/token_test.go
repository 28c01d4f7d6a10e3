//go:build cgo

package pkcs11

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ck "github.com/miekg/pkcs11"

	"ankan/hsm"
	"ankan/hsm/hsmtest"
)

// A token that lacks what may be lacking does everything too.
func TestConformanceOfPoorToken(t *testing.T) {
	hsmtest.Run(t, func(t *testing.T) hsm.Module {
		c := configure(newLabel(t))
		c.Mechanisms = map[string]string{jobCMAC: none, jobKeyWrapPad: none, jobOAEP: none}
		c.Sessions = 1
		return openToken(t, c)
	})
}

func TestOpenRefuses(t *testing.T) {
	label, twin := newLabel(t), newLabel(t)
	serial := openToken(t, configure(label)).Info().Serial
	noLibrary := filepath.Join(t.TempDir(), "no.so")
	if err := os.WriteFile(noLibrary, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	labels.Lock()
	for range 2 {
		if err := initToken("two of a name"); err != nil {
			t.Fatal(err)
		}
	}
	labels.Unlock()
	slot := uint(4711)
	broken := errors.New("the file of the PIN is gone")
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for name, c := range map[string]struct {
		change func(*Config)
		ctx    context.Context
		want   error
		text   string
	}{
		"no library":    {func(c *Config) { c.Module += ".old" }, ctx, os.ErrNotExist, ".old"},
		"another file":  {func(c *Config) { c.Module = noLibrary }, ctx, nil, "does not load"},
		"no token":      {func(c *Config) { c.Token = "nobody's" }, ctx, ErrNoToken, label},
		"no slot":       {func(c *Config) { c.Token = ""; c.Slot = &slot }, ctx, ErrNoToken, "4711"},
		"slot differs":  {func(c *Config) { c.Slot = &slot }, ctx, ErrConfig, "is not all that is configured"},
		"serial":        {func(c *Config) { c.Token, c.Serial = twin, serial }, ctx, ErrConfig, "is not all that is configured"},
		"two":           {func(c *Config) { c.Token = "two of a name" }, ctx, ErrConfig, "serial number"},
		"no way":        {func(c *Config) { c.Token = "" }, ctx, ErrConfig, "label"},
		"no mechanism":  {func(c *Config) { c.Mechanisms = map[string]string{jobHMAC: "0x80001234"} }, ctx, ErrConfig, "HMAC"},
		"wrong kind":    {func(c *Config) { c.Mechanisms = map[string]string{jobCMAC: "CKM_AES_ECB"} }, ctx, ErrConfig, `"none"`},
		"no job":        {func(c *Config) { c.Mechanisms = map[string]string{"x": none} }, ctx, ErrConfig, "AES key"},
		"PIN is gone":   {func(c *Config) { c.PIN = func() ([]byte, error) { return nil, broken } }, ctx, broken, "reading the PIN"},
		"was cancelled": {func(*Config) {}, cancelled, context.Canceled, ""},
	} {
		cfg := configure(label)
		c.change(&cfg)
		token, err := Open(c.ctx, cfg)
		if token != nil || err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %v with %q", name, err, c.want, c.text)
		}
	}
}

func TestWrongPIN(t *testing.T) {
	c := configure(newLabel(t))
	c.PIN = func() ([]byte, error) { return []byte("11223344"), nil }
	_, err := Open(ctx, c)
	if !errors.Is(err, ErrPIN) || !strings.Contains(err.Error(), "counts wrong tries") || strings.Contains(err.Error(), "11223344") {
		t.Errorf("%v, want ErrPIN, how many tries are left, and no PIN", err)
	}
	for flags, want := range map[uint]string{
		ck.CKF_USER_PIN_COUNT_LOW: "a few more", ck.CKF_USER_PIN_COUNT_LOW | ck.CKF_USER_PIN_FINAL_TRY: "one try is left",
		ck.CKF_USER_PIN_LOCKED: "security officer",
	} {
		_, err := open(ctx, c, func(api cryptoki) cryptoki { return flagged{api, flags} })
		if !errors.Is(err, ErrPIN) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	token := openToken(t, configure(c.Token))
	if err := token.Check(ctx); err != nil {
		t.Error(err)
	}
}

// flagged adds flags to every token.
type flagged struct {
	cryptoki
	flags uint
}

func (f flagged) GetTokenInfo(slot uint) (tokenInfo, error) {
	i, err := f.cryptoki.GetTokenInfo(slot)
	i.flags |= f.flags
	return i, err
}

func TestInfo(t *testing.T) {
	c := configure(newLabel(t))
	i := openToken(t, c).Info()
	if i.Model != "SoftHSM v2" || i.Certified || !strings.HasPrefix(i.Certificate, "not certified: ") || i.Serial == "" || i.Slot == "" || i.Firmware != "2.6" {
		t.Errorf("%+v", i)
	}
	c.Serial = i.Serial
	c.Certificate, c.Model, c.Firmware = "FIPS 140-3 #1", "SoftHSM v2", "2.6"
	if i := openToken(t, c).Info(); !i.Certified || i.Certificate != "FIPS 140-3 #1" {
		t.Errorf("%+v", i)
	}
	c.Firmware = "2.5"
	if i := openToken(t, c).Info(); i.Certified {
		t.Errorf("another firmware: %+v", i)
	}
}

// every calls every method of a token.
func every(t *Token) map[string]error {
	errs := map[string]error{"Random": t.Random(make([]byte, 1)), "Check": t.Check(ctx), "Destroy": t.Destroy(ctx, "x")}
	_, errs["Generate"] = t.Generate(ctx, "x", hsm.Order, hsm.AES256)
	_, errs["Key"] = t.Key(ctx, "x")
	_, errs["Keys"] = t.Keys(ctx)
	_, errs["Destroyed"] = t.Destroyed(ctx)
	_, errs["Signer"] = t.Signer(ctx, "x")
	_, errs["Decrypter"] = t.Decrypter(ctx, "x")
	_, errs["MAC"] = t.MAC(ctx, "x")
	_, _, errs["NewDataKey"] = t.NewDataKey(ctx, "x")
	_, errs["OpenDataKey"] = t.OpenDataKey(ctx, "x", nil)
	_, errs["GiveDataKey"] = t.GiveDataKey(ctx, "x", nil, nil, "label")
	_, errs["TakeDataKey"] = t.TakeDataKey(ctx, "x", nil, "label", "x")
	_, errs["GiveKey"] = t.GiveKey(ctx, "x", nil, "label")
	_, errs["TakeKey"] = t.TakeKey(ctx, "x", nil, "label", "y", hsm.Transport, hsm.AES256)
	errs["SealColumn"] = t.SealColumn(ctx, "x", nil, nil)
	_, errs["Translate"] = t.Translate(ctx, "x", nil, 16, nil, nil)
	_, errs["OP"] = t.OP(ctx, "x")
	_, errs["ChipKeys"] = t.ChipKeys(ctx, "x", nil)
	errs["CheckComponent"] = t.CheckComponent(ctx, "x", hsm.Component{})
	_, errs["Combine"] = t.Combine(ctx, "x", nil, "y", hsm.Transport, hsm.AES256, hsm.KCV{})
	_, errs["Split"] = t.Split(ctx, "x", "set", hsm.GP, nil)
	_, _, errs["GenerateShared"] = t.GenerateShared(ctx, "x", hsm.Ledger, hsm.HMAC256, "set", 2, nil)
	errs["CheckShare"] = t.CheckShare(ctx, "x", hsm.Share{})
	_, errs["Restore"] = t.Restore(ctx, "x", nil, "y", hsm.Ledger, hsm.HMAC256)
	_, errs["Export"] = t.Export(ctx, "x", hsm.Wrapping{})
	_, errs["Import"] = t.Import(ctx, nil, hsm.Wrapping{Format: hsm.KW, Key: "x"}, "y", hsm.Transport, hsm.AES256)
	_, errs["Rewrap"] = t.Rewrap(ctx, "x", nil, "y")
	return errs
}

func TestClosed(t *testing.T) {
	closed := openToken(t, configure(newLabel(t)))
	if _, err := closed.Generate(ctx, "site", hsm.SiteSign, hsm.Ed25519); err != nil {
		t.Fatal(err)
	}
	signer, err := closed.Signer(ctx, "site")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := closed.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := signer.Sign(nil, []byte("message"), nil); !errors.Is(err, hsm.ErrClosed) {
		t.Errorf("signer: %v, want ErrClosed", err)
	}
	for name, token := range map[string]*Token{"closed": closed, "zero": {}, "nil": nil} {
		for method, err := range every(token) {
			if !errors.Is(err, hsm.ErrClosed) {
				t.Errorf("%s token: %s: %v, want ErrClosed", name, method, err)
			}
		}
		if i := token.Info(); i.Certified || !strings.HasPrefix(i.Certificate, "not certified") {
			t.Errorf("%s token says %+v", name, i)
		}
		if err := token.Close(); err != nil {
			t.Errorf("%s token: Close: %v", name, err)
		}
	}
}

func TestUnprintable(t *testing.T) {
	label := newLabel(t)
	token := openToken(t, configure(label))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{token, *token, struct{ t Token }{*token}} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, label) || strings.Contains(got, userPIN) {
				t.Errorf("%s prints %s", verb, got)
			}
		}
	}
}

// The module is closed and loaded again.
func TestReopen(t *testing.T) {
	c := configure(newLabel(t))
	token := openToken(t, c)
	var made []hsm.Key
	for id, k := range map[string]struct {
		p hsm.Purpose
		a hsm.Algorithm
	}{"order": {hsm.Order, hsm.AES256}, "k4": {hsm.Transport, hsm.AES128}, "agree": {hsm.Agree, hsm.P521}, "site": {hsm.SiteSign, hsm.Ed25519}} {
		key, err := token.Generate(ctx, id, k.p, k.a)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, key)
	}
	if _, err := token.Generate(ctx, "gone", hsm.Order, hsm.AES256); err != nil {
		t.Fatal(err)
	}
	if err := token.Destroy(ctx, "gone"); err != nil {
		t.Fatal(err)
	}
	dk, wrapped, err := token.NewDataKey(ctx, "order")
	if err != nil {
		t.Fatal(err)
	}
	sealed := dk.Seal(nil, []byte("block"), nil)
	if err := token.Close(); err != nil {
		t.Fatal(err)
	}
	again := openToken(t, c)
	for _, want := range made {
		got, err := again.Key(ctx, want.ID)
		if err != nil {
			t.Fatal(err)
		}
		a, errA := (&record{key: got}).encode()
		b, errB := (&record{key: want}).encode()
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s, want %s", a, b)
		}
	}
	if keys, err := again.Keys(ctx); err != nil || len(keys) != len(made) {
		t.Errorf("%v, %v", keys, err)
	}
	dk, err = again.OpenDataKey(ctx, "order", wrapped)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := dk.Open(nil, sealed, nil); err != nil || string(plain) != "block" {
		t.Errorf("%q, %v", plain, err)
	}
	if _, err := again.Generate(ctx, "gone", hsm.Order, hsm.AES256); !errors.Is(err, hsm.ErrKeyExists) {
		t.Errorf("%v, want ErrKeyExists", err)
	}
}

// OpenSC looks at the token from outside: what is in it cannot be read, and
// masters never could be.
func TestListing(t *testing.T) {
	label := newLabel(t)
	token := openToken(t, configure(label))
	agree, err := token.Generate(ctx, "agree", hsm.Agree, hsm.P521)
	if err != nil {
		t.Fatal(err)
	}
	given, err := hsm.Give(agree.Public, hsm.KeyContent(hsm.Transport, hsm.AES256), "label", bytes.Repeat([]byte{1, 9, 3, 4}, 8))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.TakeKey(ctx, "agree", given, "label", "taken", hsm.Transport, hsm.AES256); err != nil {
		t.Fatal(err)
	}
	// It does not show that a secret key signs.
	const sensitive, masters = "sensitive", "sensitive, always sensitive, never extractable, local"
	want := map[string]struct{ access, usage string }{
		"agree": {masters, "derive"}, "taken": {sensitive, "encrypt, decrypt"},
	}
	for id, k := range map[string]struct {
		p             hsm.Purpose
		a             hsm.Algorithm
		access, usage string
	}{
		"order":  {hsm.Order, hsm.AES256, masters, "wrap, unwrap"},
		"auc":    {hsm.Subscriber, hsm.AES256, masters, "wrap, unwrap"},
		"lot":    {hsm.Lot, hsm.AES256, masters, "none"},
		"ledger": {hsm.Ledger, hsm.HMAC256, masters, "none"},
		"unwrap": {hsm.Unwrap, hsm.RSA3072, masters, "decrypt"},
		"log":    {hsm.LogSign, hsm.Ed25519, masters, "sign"},
		"site":   {hsm.SiteSign, hsm.Ed25519, masters, "sign"},
		"mail":   {hsm.MailSign, hsm.P256, masters, "sign"},
		"open":   {hsm.MailOpen, hsm.RSA3072, masters, "decrypt"},
		// These are made to be shared.
		"k4":       {hsm.Transport, hsm.AES256, "sensitive, always sensitive, extractable, local", "encrypt, decrypt"},
		"op":       {hsm.Operator, hsm.AES128, "sensitive, always sensitive, extractable, local", "none"},
		"exchange": {hsm.Exchange, hsm.AES256, "sensitive, always sensitive, extractable, local", "wrap, unwrap"},
	} {
		if _, err := token.Generate(ctx, id, k.p, k.a); err != nil {
			t.Fatal(err)
		}
		want[id] = struct{ access, usage string }{k.access, k.usage}
	}
	if err := token.Close(); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer // it warns there of what it cannot read
	tool := exec.Command("pkcs11-tool", "--module", softHSM, "--login", "--pin", userPIN, "--token-label", label, "--list-objects")
	tool.Stderr = &stderr
	out, err := tool.Output()
	if err != nil {
		t.Fatalf("pkcs11-tool (package opensc): %v\n%s%s", err, out, &stderr)
	}
	object := regexp.MustCompile(`(?m)^(Private|Secret) Key Object.*\n(?:  .*\n)+`)
	field := func(text, name string) string {
		m := regexp.MustCompile(`(?m)^  ` + name + `:\s+(.*)$`).FindStringSubmatch(text)
		if m == nil {
			return ""
		}
		return strings.TrimSpace(m[1])
	}
	found := object.FindAllString(string(out), -1)
	if len(found) != len(want) {
		t.Errorf("%d key objects, want %d:\n%s", len(found), len(want), out)
	}
	for _, text := range found {
		id := field(text, "label")
		w := want[id]
		if got := field(text, "Access"); got != w.access {
			t.Errorf("%s: access %q, want %q", id, got, w.access)
		}
		if got := field(text, "Usage"); got != w.usage {
			t.Errorf("%s: usage %q, want %q", id, got, w.usage)
		}
	}
	if strings.Contains(string(out), "Public Key Object") {
		t.Errorf("public keys are left in the token:\n%s", out)
	}
}

// in runs f in a session of a token.
func in(t *testing.T, token *Token, f func(s *session) error) {
	t.Helper()
	if err := token.token().do(ctx, f); err != nil {
		t.Fatal(err)
	}
}

// data makes a data object.
func data(s *session, application, label, value string) error {
	_, err := s.api.CreateObject(s.handle, []attribute{
		number(ck.CKA_CLASS, ck.CKO_DATA), flag(ck.CKA_TOKEN, true), flag(ck.CKA_PRIVATE, true),
		text(ck.CKA_APPLICATION, application), text(ck.CKA_LABEL, label), text(ck.CKA_VALUE, value),
	})
	return err
}

// What others have in the token is left alone, and its names do not matter.
func TestOthersObjects(t *testing.T) {
	c := configure(newLabel(t))
	token := openToken(t, c)
	in(t, token, func(s *session) error {
		for _, label := range []string{"order", "other", ""} {
			template := append(secretKey(ck.CKK_AES, 32, true, false, uses{wrap: true}), text(ck.CKA_LABEL, label), text(ck.CKA_ID, label))
			if _, err := s.api.GenerateKey(s.handle, s.mech(jobAESKey), template); err != nil {
				return err
			}
			if err := data(s, "another program", label, "value"); err != nil {
				return err
			}
		}
		return nil
	})
	if keys, err := token.Keys(ctx); err != nil || len(keys) != 0 {
		t.Errorf("%v, %v, want none", keys, err)
	}
	if err := token.Destroy(ctx, "other"); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("%v, want ErrNoKey", err)
	}
	if _, err := token.Generate(ctx, "order", hsm.Order, hsm.AES256); err != nil {
		t.Fatal(err)
	}
	if err := token.Destroy(ctx, "order"); err != nil {
		t.Fatal(err)
	}
	openToken(t, c)
	for _, id := range []string{"order", "other"} {
		if b := count(t, token, id); b.keys != 1 || b.live != 1 { // the other's data counts as live
			t.Errorf("%s: %+v are left of the other program's objects", id, b)
		}
	}
}

// A record that is none of ours under our mark is refused, whatever it is.
func TestMalformedRecord(t *testing.T) {
	c := configure(newLabel(t))
	token := openToken(t, c)
	in(t, token, func(s *session) error { return data(s, application, "order", "ankan key 1\n") })
	if _, err := token.Key(ctx, "order"); !errors.Is(err, errRecord) {
		t.Errorf("Key: %v, want errRecord", err)
	}
	if _, err := token.Keys(ctx); !errors.Is(err, errRecord) {
		t.Errorf("Keys: %v, want errRecord", err)
	}
	if _, err := token.Generate(ctx, "order", hsm.Order, hsm.AES256); !errors.Is(err, errRecord) {
		t.Errorf("Generate: %v, want errRecord", err)
	}
	if _, err := Open(ctx, c); !errors.Is(err, errRecord) {
		t.Errorf("Open: %v, want errRecord", err)
	}
}

// Somebody took a record away: its name was used all the same.
func TestRecordTakenAway(t *testing.T) {
	token := openToken(t, configure(newLabel(t)))
	if _, err := token.Generate(ctx, "order", hsm.Order, hsm.AES256); err != nil {
		t.Fatal(err)
	}
	in(t, token, func(s *session) error {
		st, err := s.lookUp("order")
		if err != nil || len(st.live) != 1 {
			return fmt.Errorf("%+v, %w", st, err)
		}
		return s.destroyRecord(&st.live[0])
	})
	token.cold()
	if _, err := token.Key(ctx, "order"); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("%v, want ErrNoKey", err)
	}
	if _, err := token.Generate(ctx, "order", hsm.Order, hsm.AES256); !errors.Is(err, hsm.ErrKeyExists) {
		t.Errorf("%v, want ErrKeyExists", err)
	}
}

// unfinished writes a record as another process does that then stops.
func unfinished(t *testing.T, token *Token, id string) record {
	t.Helper()
	r := records(t)[0]
	r.id, r.key.ID = keyIDPrefix+string(randomBytes(16)), id
	in(t, token, func(s *session) error { return s.writeRecord(&r) })
	return r
}

// A making that another process began is waited for, and then taken over.
func TestUnfinishedMaking(t *testing.T) {
	token := openToken(t, configure(newLabel(t)))
	unfinished(t, token, "order")
	if _, err := token.Key(ctx, "order"); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("Key: %v, want ErrNoKey", err)
	}
	if err := token.Destroy(ctx, "order"); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("Destroy: %v, want ErrNoKey", err)
	}
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	if _, err := token.Generate(short, "order", hsm.Order, hsm.AES256); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the deadline", err)
	}
	began := time.Now()
	if _, err := token.Generate(ctx, "order", hsm.Order, hsm.AES256); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(began); waited < token.token().patience {
		t.Errorf("the other process was waited for only %v", waited)
	}
	if b := count(t, token, "order"); b != (books{live: 1, keys: 1}) {
		t.Errorf("the token has %+v", b)
	}
}

// The other process ends its making while we wait for it, and even while we
// take its record away.
func TestOtherEndsItsMaking(t *testing.T) {
	for _, when := range []string{"while we wait", "while we take its record away"} {
		token, f := faulty(t, configure(newLabel(t)))
		r := unfinished(t, token, "order")
		other := openToken(t, token.token().cfg)
		end := func() {
			in(t, other, func(s *session) error {
				_, err := s.api.GenerateKey(s.handle, s.mech(jobAESKey),
					append(secretKey(ck.CKK_AES, 32, true, false, uses{wrap: true, unwrap: true}), nameAttributes(&r)...))
				return err
			})
		}
		var once sync.Once
		began := time.Now()
		f.reset(func(_ int, call string) (error, bool) {
			if when == "while we wait" && time.Since(began) > 100*time.Millisecond || call == "DestroyObject" {
				once.Do(end)
			}
			return nil, false
		})
		if _, err := token.Generate(ctx, "order", hsm.Order, hsm.AES256); !errors.Is(err, hsm.ErrKeyExists) {
			t.Errorf("%s: %v, want ErrKeyExists", when, err)
		}
		f.reset(nil)
		if b := count(t, token, "order"); b != (books{live: 1, keys: 1}) {
			t.Errorf("%s: the token has %+v", when, b)
		}
		if _, _, err := token.NewDataKey(ctx, "order"); err != nil {
			t.Errorf("%s: the other's key does not work: %v", when, err)
		}
	}
}

// Our own record is taken away while we make the key, as if we had slept: the
// key is not ours to keep.
func TestSleptWhileMaking(t *testing.T) {
	token, f := faulty(t, configure(newLabel(t)))
	other := openToken(t, token.token().cfg)
	other.token().patience = 0
	var once sync.Once
	otherMade := make(chan error, 1)
	f.reset(func(_ int, call string) (error, bool) {
		if call == "CopyObject" {
			once.Do(func() {
				// The lock of this process does not stop another process.
				token.token().module.change.Unlock()
				_, err := other.Generate(ctx, "order", hsm.Order, hsm.AES256)
				token.token().module.change.Lock()
				otherMade <- err
			})
		}
		return nil, false
	})
	_, err := token.Generate(ctx, "order", hsm.Order, hsm.AES256)
	if theirs := <-otherMade; theirs != nil || !errors.Is(err, hsm.ErrKeyExists) {
		t.Errorf("the other: %v; we: %v, want ErrKeyExists", theirs, err)
	}
	f.reset(nil)
	if b := count(t, token, "order"); b != (books{live: 1, keys: 1}) {
		t.Errorf("the token has %+v", b)
	}
}

func TestTwoInOneProcess(t *testing.T) {
	c := configure(newLabel(t))
	tokens := []*Token{openToken(t, c), openToken(t, c)}
	for round := range 5 {
		id := fmt.Sprintf("order/%d", round)
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { _, errs[i] = tokens[i%2].Generate(ctx, id, hsm.Order, hsm.AES256) })
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if !errors.Is(err, hsm.ErrKeyExists) {
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d makings of one name won", won)
		}
	}
	// One uses a key that it knows; the other destroys it.
	_, wrapped, err := tokens[0].NewDataKey(ctx, "order/0")
	if err != nil {
		t.Fatal(err)
	}
	if err := tokens[1].Destroy(ctx, "order/0"); err != nil {
		t.Fatal(err)
	}
	if _, err := tokens[0].OpenDataKey(ctx, "order/0", wrapped); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("%v, want ErrNoKey", err)
	}
	// One leaves; the other goes on.
	if err := tokens[0].Close(); err != nil {
		t.Fatal(err)
	}
	if err := tokens[1].Check(ctx); err != nil {
		t.Error(err)
	}
}

// raceLabel names the token for a process that raceChild is.
const raceLabel = "ANKAN_TEST_PKCS11_RACE"

// raceChild makes keys of the same names as its brothers do, and says which it
// made. It begins when its input ends.
func raceChild(label string) int {
	token, err := Open(ctx, configure(label))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	token.token().patience = 10 * time.Second
	fmt.Println("ready")
	os.Stdin.Read(make([]byte, 1))
	for i := range raceKeys {
		id := fmt.Sprintf("order/%d", i)
		_, err := token.Generate(ctx, id, hsm.Order, hsm.AES256)
		if err == nil {
			fmt.Println(id)
		} else if !errors.Is(err, hsm.ErrKeyExists) {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if err := token.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

const raceKeys = 6

func TestTwoProcesses(t *testing.T) {
	label := newLabel(t)
	short, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	type child struct {
		cmd *exec.Cmd
		in  io.WriteCloser
		out *bufio.Scanner
	}
	children := make([]child, 3)
	for i := range children {
		cmd := exec.CommandContext(short, os.Args[0])
		cmd.Env = append(os.Environ(), raceLabel+"="+label)
		cmd.Stderr = os.Stderr
		in, errIn := cmd.StdinPipe()
		out, errOut := cmd.StdoutPipe()
		if err := errors.Join(errIn, errOut, cmd.Start()); err != nil {
			t.Fatal(err)
		}
		children[i] = child{cmd, in, bufio.NewScanner(out)}
		// One after the other: SoftHSM writes its token at each login, and who
		// reads it then finds none.
		if !children[i].out.Scan() {
			t.Fatalf("process %d does not begin", i)
		}
	}
	for _, c := range children {
		c.in.Close()
	}
	made := map[string]int{}
	for _, c := range children {
		for c.out.Scan() {
			made[c.out.Text()]++
		}
		if err := c.cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	token := openToken(t, configure(label))
	for i := range raceKeys {
		id := fmt.Sprintf("order/%d", i)
		if made[id] != 1 {
			t.Errorf("%d processes say that they made %s", made[id], id)
		}
		if b := count(t, token, id); b != (books{live: 1, keys: 1}) {
			t.Errorf("%s: the token has %+v", id, b)
		}
	}
}

// The sessions are closed and the library is ended behind the token's back.
func TestRealLoss(t *testing.T) {
	token := openToken(t, configure(newLabel(t)))
	lib := token.token().module.api.(library).ctx
	if _, err := token.Generate(ctx, "order", hsm.Order, hsm.AES256); err != nil {
		t.Fatal(err)
	}
	for name, lose := range map[string]func() error{
		"sessions": func() error { return lib.CloseAllSessions(token.token().line.slot) },
		"login": func() error {
			var err error
			in(t, token, func(s *session) error { err = lib.Logout(ck.SessionHandle(s.handle)); return nil })
			return err
		},
		"library": lib.Finalize,
	} {
		if err := lose(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		token.token().forget("order")
		if _, _, err := token.NewDataKey(ctx, "order"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := lose(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if keys, err := token.Keys(ctx); err != nil || !slices.ContainsFunc(keys, func(k hsm.Key) bool { return k.ID == "order" }) {
			t.Errorf("%s: %v, %v", name, keys, err)
		}
		if err := lose(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := token.Generate(ctx, "after/"+name, hsm.Order, hsm.AES256); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := lose(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := token.Destroy(ctx, "after/"+name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A token whose RSA looks at the padding itself.
func TestDecryptPKCS1InToken(t *testing.T) {
	for _, mechanism := range []string{"CKM_RSA_PKCS", "CKM_RSA_X_509"} {
		c := configure(newLabel(t))
		c.Mechanisms = map[string]string{jobRSADecrypt: mechanism}
		token := openToken(t, c)
		k, err := token.Generate(ctx, "open", hsm.MailOpen, hsm.RSA3072)
		if err != nil {
			t.Fatal(err)
		}
		d, err := token.Decrypter(ctx, "open")
		if err != nil {
			t.Fatal(err)
		}
		pub := k.Public.(*rsa.PublicKey)
		//lint:ignore SA1019 OpenPGP knows no other padding
		sealed, err := rsa.EncryptPKCS1v15(rand.Reader, pub, []byte("session key 1234"))
		if err != nil {
			t.Fatal(err)
		}
		wrong := pub.N.FillBytes(make([]byte, pub.Size()))
		wrong[0] >>= 1 // a number below the modulus that is padded wrongly
		for name, c := range map[string]struct {
			msg    []byte
			length int
			want   string
			err    error
		}{
			"good":           {sealed, 16, "session key 1234", nil},
			"any length":     {sealed, 0, "session key 1234", nil},
			"another length": {sealed, 15, "", nil},
			"wrong":          {wrong, 16, "", nil},
			"wrong, any":     {wrong, 0, "", hsm.ErrSealed},
			"too large":      {pub.N.Bytes(), 16, "", hsm.ErrSealed},
			"too long":       {append(sealed, 0), 16, "", hsm.ErrSealed},
			"much wanted":    {sealed, 384 - 10, "", hsm.ErrSealed},
		} {
			//lint:ignore SA1019 OpenPGP knows no other padding
			got, err := d.Decrypt(rand.Reader, c.msg, &rsa.PKCS1v15DecryptOptions{SessionKeyLen: c.length})
			switch {
			case !errors.Is(err, c.err):
				t.Errorf("%s: %s: %v, want %v", mechanism, name, err, c.err)
			case c.want != "" && string(got) != c.want:
				t.Errorf("%s: %s: %q", mechanism, name, got)
			case c.err == nil && c.length > 0 && len(got) != c.length:
				t.Errorf("%s: %s: %d bytes, want %d", mechanism, name, len(got), c.length)
			case c.err == nil && c.want == "" && bytes.Equal(got, make([]byte, len(got))):
				t.Errorf("%s: %s: no random key", mechanism, name)
			}
		}
	}
}

// withOAEP is a token whose OAEP takes SHA-256, which SoftHSM's does not.
type withOAEP struct {
	cryptoki
	label *string
}

func (o withOAEP) DecryptInit(s sessionHandle, m mechanism, key objectHandle) error {
	*o.label = ""
	if m.oaep != nil {
		*o.label = string(m.oaep.label)
		m = mechanism{number: ck.CKM_RSA_X_509}
	}
	return o.cryptoki.DecryptInit(s, m, key)
}

func (o withOAEP) Decrypt(s sessionHandle, data []byte) ([]byte, error) {
	padded, err := o.cryptoki.Decrypt(s, data)
	if err != nil {
		return nil, err
	}
	value, err := unpadOAEP(padded, *o.label)
	if err != nil {
		return nil, ckr(ck.CKR_ENCRYPTED_DATA_INVALID)
	}
	return value, nil
}

// A key comes by OAEP in the token, by bare RSA, or not at all.
func TestOAEP(t *testing.T) {
	for name, way := range map[string]struct {
		mechanisms map[string]string
		between    func(cryptoki) cryptoki
		want       error
	}{
		"in the token": {nil, func(api cryptoki) cryptoki { return withOAEP{api, new(string)} }, nil},
		"SHA-1 alone":  {nil, func(api cryptoki) cryptoki { return api }, nil},
		"no OAEP":      {map[string]string{jobOAEP: none}, func(api cryptoki) cryptoki { return api }, nil},
		"neither":      {map[string]string{jobOAEP: none, jobRSADecrypt: "CKM_RSA_PKCS"}, func(api cryptoki) cryptoki { return api }, ErrConfig},
	} {
		c := configure(newLabel(t))
		c.Mechanisms = way.mechanisms
		token := openToken(t, c, way.between)
		unwrap, err := token.Generate(ctx, "unwrap", hsm.Unwrap, hsm.RSA3072)
		if err != nil {
			t.Fatal(err)
		}
		value := randomBytes(16)
		blob, err := hsm.WrapOAEP(unwrap.Public, "label", value)
		if err != nil {
			t.Fatal(err)
		}
		want, err := hsm.AESKCV(hsm.GP, value)
		if err != nil {
			t.Fatal(err)
		}
		w := hsm.Wrapping{Format: hsm.OAEP, Key: "unwrap", Label: "label"}
		k, err := token.Import(ctx, blob, w, "k4", hsm.Transport, hsm.AES128)
		if !errors.Is(err, way.want) {
			t.Errorf("%s: %v, want %v", name, err, way.want)
		}
		if way.want != nil {
			continue
		}
		if same, err := k.KCV.Matches(want); err != nil || !same {
			t.Errorf("%s: %v, want %v", name, k.KCV, want)
		}
		w.Label = "other"
		modulus := unwrap.Public.(*rsa.PublicKey).N.Bytes()
		for _, bad := range [][]byte{blob, blob[:383], modulus, nil} {
			if _, err := token.Import(ctx, bad, w, "k5", hsm.Transport, hsm.AES128); !errors.Is(err, hsm.ErrSealed) {
				t.Errorf("%s: %v, want ErrSealed", name, err)
			}
		}
	}
}

// lying tokens give answers of another length, or say that they did what they
// did not do.
type lying struct {
	cryptoki
	call string
}

func (l lying) lie(call string, b []byte, err error) ([]byte, error) {
	if err == nil && l.call == call {
		b = append(b, 0)
	}
	return b, err
}

func (l lying) GenerateRandom(s sessionHandle, n int) ([]byte, error) {
	b, err := l.cryptoki.GenerateRandom(s, n)
	return l.lie("GenerateRandom", b, err)
}

func (l lying) Sign(s sessionHandle, data []byte) ([]byte, error) {
	b, err := l.cryptoki.Sign(s, data)
	return l.lie("Sign", b, err)
}

func (l lying) Encrypt(s sessionHandle, data []byte) ([]byte, error) {
	b, err := l.cryptoki.Encrypt(s, data)
	return l.lie("Encrypt", b, err)
}

func (l lying) Decrypt(s sessionHandle, data []byte) ([]byte, error) {
	b, err := l.cryptoki.Decrypt(s, data)
	return l.lie("Decrypt", b, err)
}

func (l lying) WrapKey(s sessionHandle, m mechanism, with, key objectHandle) ([]byte, error) {
	b, err := l.cryptoki.WrapKey(s, m, with, key)
	if err == nil && l.call == "WrapKey" {
		b[0] ^= 1 // as if it wrapped by another method
	}
	return b, err
}

func (l lying) DestroyObject(s sessionHandle, o objectHandle) error {
	if l.call == "DestroyObject" {
		return nil
	}
	return l.cryptoki.DestroyObject(s, o)
}

func (l lying) CopyObject(s sessionHandle, o objectHandle, template []attribute) (objectHandle, error) {
	if l.call == "CopyObject" {
		return o, nil
	}
	return l.cryptoki.CopyObject(s, o, template)
}

func TestLyingToken(t *testing.T) {
	c := configure(newLabel(t))
	honest := openToken(t, c)
	users(t, honest)
	for call, methods := range map[string][]string{
		"GenerateRandom": {"Check", "Random"},
		"Sign":           {"MAC", "ChipKeys", "Signer site", "Signer mail"},
		"Encrypt":        {"SealColumn", "Generate"},
		"Decrypt":        {"Translate", "Decrypt"},
		"WrapKey":        {"NewDataKey", "OP", "GiveKey", "TakeKey"},
		"DestroyObject":  {"Destroy"},
		"CopyObject":     {"Generate"},
	} {
		token := openToken(t, c, func(api cryptoki) cryptoki { return lying{api, call} })
		errs := every(token)
		for method, id := range map[string]string{"Signer site": "site", "Signer mail": "mail"} {
			signer, err := token.Signer(ctx, id)
			if err == nil {
				h := crypto.Hash(0)
				if id == "mail" {
					h = crypto.SHA256
				}
				_, err = signer.Sign(nil, make([]byte, 32), h)
			}
			errs[method] = err
		}
		dk, _, err := honest.NewDataKey(ctx, "auc")
		if err != nil {
			t.Fatal(err)
		}
		_, errs["MAC"] = token.MAC(ctx, "ledger")
		_, errs["ChipKeys"] = token.ChipKeys(ctx, "lot", []byte("serial"))
		errs["SealColumn"] = token.SealColumn(ctx, "k4", make([]byte, 32), make([]byte, 32))
		_, errs["Translate"] = token.Translate(ctx, "k4", make([]byte, 32), 32, dk, func(int) []byte { return nil })
		d, err := token.Decrypter(ctx, "open")
		if err != nil {
			t.Fatal(err)
		}
		_, errs["Decrypt"] = d.Decrypt(nil, make([]byte, 384), nil)
		_, _, errs["NewDataKey"] = token.NewDataKey(ctx, "order")
		_, errs["OP"] = token.OP(ctx, "op")
		agree, err := honest.Key(ctx, "agree")
		if err != nil {
			t.Fatal(err)
		}
		_, errs["GiveKey"] = token.GiveKey(ctx, "k4", agree.Public, "label")
		given, err := hsm.Give(agree.Public, hsm.KeyContent(hsm.Lot, hsm.AES256), "label", randomBytes(32))
		if err != nil {
			t.Fatal(err)
		}
		_, errs["TakeKey"] = token.TakeKey(ctx, "agree", given, "label", "taken/"+call, hsm.Lot, hsm.AES256)
		_, errs["Generate"] = token.Generate(ctx, "new/"+call, hsm.Order, hsm.AES256)
		if _, err := honest.Generate(ctx, "spare/"+call, hsm.Order, hsm.AES256); err != nil {
			t.Fatal(err)
		}
		errs["Destroy"] = token.Destroy(ctx, "spare/"+call)
		for _, method := range methods {
			err := errs[method]
			if err == nil || errors.Is(err, hsm.ErrNoKey) || errors.Is(err, ErrGone) {
				t.Errorf("%s lies, and %s gives %v", call, method, err)
			}
		}
	}
}
