package hardware

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ankan/site"
	"ankan/site/sitetest"
)

const (
	softHSM = "/usr/lib/softhsm/libsofthsm2.so"
	label   = "bureau"
	userPIN = "24681357"
)

// configure writes the configuration of a bureau with a token as the how-to has
// it, some lines replaced, and reads it.
func configure(t *testing.T, replace ...string) *site.Config {
	t.Helper()
	dir := filepath.Dir(sitetest.Config(t, "maker", site.Bureau).Data)
	path, pin := filepath.Join(dir, "site.yaml"), filepath.Join(dir, "token.pin")
	doc := string(sitetest.Must[[]byte](t)(os.ReadFile(path)))
	before, rest, found := strings.Cut(doc, "token: {")
	_, after, ends := strings.Cut(rest, "}\n")
	if !found || !ends {
		t.Fatalf("the configuration has no token:\n%s", doc)
	}
	token := strings.NewReplacer(replace...).Replace(fmt.Sprintf("token:\n  pkcs11:\n    module: %s\n    token: %s\n    pin: token.pin\n", softHSM, label))
	for name, text := range map[string]string{path: before + token + after, pin: userPIN + "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return sitetest.Must[*site.Config](t)(site.LoadConfig(path))
}

// refused opens the token of a site, which is refused and says all of this.
func refused(t *testing.T, c *site.Config, says ...string) {
	t.Helper()
	m, err := site.OpenToken(c, false)
	if err == nil {
		m.Close()
		t.Fatalf("it opens, want %q", says)
	}
	for _, want := range append(says, "site.yaml: token.pkcs11: ") {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if strings.Contains(err.Error(), userPIN) {
		t.Errorf("the error holds the PIN: %v", err)
	}
}
