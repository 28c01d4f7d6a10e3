package bureau

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"

	"ankan/exchange"
)

// A slot's key is of the strength of what is sealed to it.
func TestParseAgree(t *testing.T) {
	text := map[elliptic.Curve]string{}
	for _, c := range []elliptic.Curve{elliptic.P256(), elliptic.P521()} {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if text[c], err = exchange.MarshalPublicKey(&k.PublicKey); err != nil {
			t.Fatal(err)
		}
	}
	good := text[elliptic.P521()]
	if _, err := parseAgree(good); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]string{"P-256": text[elliptic.P256()], "none": "", "two": good + good, "cut": good[:80]} {
		if _, err := parseAgree(bad); err == nil {
			t.Errorf("%s is not refused", name)
		}
	}
}
