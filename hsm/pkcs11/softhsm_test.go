//go:build cgo

package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	ck "github.com/miekg/pkcs11"

	"ankan/hsm"
	"ankan/hsm/hsmtest"
)

const (
	softHSM = "/usr/lib/softhsm/libsofthsm2.so"
	userPIN = "24681357"
	soPIN   = "97531864"
)

var ctx = context.Background()

// TestMain gives SoftHSM a folder of its own, for this process and those that
// it starts.
func TestMain(m *testing.M) {
	if label := os.Getenv(raceLabel); label != "" {
		os.Exit(raceChild(label))
	}
	os.Exit(inFolder(m))
}

func inFolder(m *testing.M) int {
	dir, err := os.MkdirTemp("", "softhsm")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	conf := filepath.Join(dir, "softhsm2.conf")
	tokens := filepath.Join(dir, "tokens")
	text := "directories.tokendir = " + tokens + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	if err := errors.Join(os.Mkdir(tokens, 0o700), os.WriteFile(conf, []byte(text), 0o600)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	os.Setenv("SOFTHSM2_CONF", conf)
	return m.Run()
}

// labels numbers the tokens of this process.
var labels struct {
	sync.Mutex
	n int
}

// newLabel makes an empty token in SoftHSM.
func newLabel(t testing.TB) string {
	t.Helper()
	labels.Lock()
	defer labels.Unlock()
	labels.n++
	label := fmt.Sprintf("token %d", labels.n)
	before := tokenFolders(t)
	if err := initToken(label); err != nil {
		t.Fatalf("making a token of SoftHSM (package softhsm2): %v", err)
	}
	// SoftHSM reads all tokens each time that it is initialised.
	t.Cleanup(func() {
		for _, folder := range tokenFolders(t) {
			if !slices.Contains(before, folder) {
				os.RemoveAll(folder)
			}
		}
	})
	return label
}

func tokenFolders(t testing.TB) []string {
	folders, err := filepath.Glob(filepath.Join(filepath.Dir(os.Getenv("SOFTHSM2_CONF")), "tokens", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return folders
}

func initToken(label string) error {
	m, err := join(softHSM)
	if err != nil {
		return err
	}
	defer m.leave()
	lib := m.api.(library).ctx
	slots, err := lib.GetSlotList(true)
	if err != nil {
		return err
	}
	for _, slot := range slots {
		i, err := lib.GetTokenInfo(slot)
		if err != nil {
			return err
		}
		if i.Flags&ck.CKF_TOKEN_INITIALIZED != 0 {
			continue
		}
		if err := lib.InitToken(slot, soPIN, label); err != nil {
			return err
		}
		s, err := lib.OpenSession(slot, ck.CKF_SERIAL_SESSION|ck.CKF_RW_SESSION)
		if err != nil {
			return err
		}
		defer lib.CloseSession(s)
		if err := lib.Login(s, ck.CKU_SO, soPIN); err != nil {
			return err
		}
		if err := lib.InitPIN(s, userPIN); err != nil {
			return err
		}
		return lib.Logout(s)
	}
	return fmt.Errorf("no empty slot in %d", len(slots))
}

// configure is a configuration for a token of SoftHSM.
func configure(label string) Config {
	return Config{Module: softHSM, Token: label, PIN: func() ([]byte, error) { return []byte(userPIN), nil }}
}

// openToken opens a token and closes it when the test ends.
func openToken(t testing.TB, c Config, between ...func(cryptoki) cryptoki) *Token {
	t.Helper()
	stand := func(api cryptoki) cryptoki { return api }
	for _, b := range between {
		stand = b
	}
	token, err := open(ctx, c, stand)
	if err != nil {
		t.Fatal(err)
	}
	token.token().patience = 300 * time.Millisecond
	t.Cleanup(func() {
		if err := token.Close(); err != nil {
			t.Error(err)
		}
	})
	return token
}

func TestConformance(t *testing.T) {
	hsmtest.Run(t, func(t *testing.T) hsm.Module { return openToken(t, configure(newLabel(t))) })
}
