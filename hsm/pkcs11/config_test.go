package pkcs11

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	ck "github.com/miekg/pkcs11"
)

func TestCertificate(t *testing.T) {
	token := tokenInfo{model: "Luna K7", firmware: "7.7"}
	for _, c := range []struct {
		cfg       Config
		certified bool
		want      string
	}{
		{Config{}, false, "no certificate is configured"},
		{Config{Model: "Luna K7", Firmware: "7.7"}, false, "no certificate is configured"},
		{Config{Certificate: "FIPS 140-3 #4703"}, false, "without the model and firmware"},
		{Config{Certificate: "FIPS 140-3 #4703", Model: "Luna K7"}, false, "without the model and firmware"},
		{Config{Certificate: "FIPS 140-3 #4703", Model: "Luna K6", Firmware: "7.7"}, false, `for model "Luna K6", this one is "Luna K7"`},
		{Config{Certificate: "FIPS 140-3 #4703", Model: "Luna K7", Firmware: "7.3"}, false, "for firmware 7.3, this one has 7.7"},
		{Config{Certificate: "FIPS 140-3 #4703", Model: "Luna K7", Firmware: "7.7"}, true, "FIPS 140-3 #4703"},
	} {
		text, certified := c.cfg.certificate(token)
		if certified != c.certified || !strings.Contains(text, c.want) || strings.HasPrefix(text, "not certified") == certified {
			t.Errorf("%+v: %q, %t, want %q, %t", c.cfg, text, certified, c.want, c.certified)
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	pin := func() ([]byte, error) { return nil, nil }
	slot := uint(1)
	if err := (&Config{Module: "m", Slot: &slot, PIN: pin}).check(); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]Config{
		"module":   {Token: "t", PIN: pin},
		"token":    {Module: "m", PIN: pin},
		"PIN":      {Module: "m", Token: "t"},
		"sessions": {Module: "m", Token: "t", PIN: pin, Sessions: -1},
		"1024":     {Module: "m", Token: "t", PIN: pin, Sessions: 1025},
	} {
		if err := c.check(); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want ErrConfig", name, err)
		}
	}
}

func TestMechanismTable(t *testing.T) {
	c := Config{Mechanisms: map[string]string{jobKeyWrap: "0x80000170", jobCMAC: "none", jobRSADecrypt: "CKM_RSA_PKCS"}}
	table, err := c.table()
	if err != nil {
		t.Fatal(err)
	}
	if table[jobKeyWrap] != 0x80000170 || table[jobCMAC] != absent || table[jobRSADecrypt] != ck.CKM_RSA_PKCS || table[jobECB] != ck.CKM_AES_ECB {
		t.Errorf("%v", table)
	}
	for job, mechanism := range map[string]string{
		"key unwrap": "CKM_AES_KEY_WRAP", jobECB: "none", jobHMAC: "CKM_SHA_1_HMAC", jobCMAC: "", jobECDSA: "4161", jobECDH: "0x1FFFFFFFF", jobAESKey: "0xG",
	} {
		c := Config{Mechanisms: map[string]string{job: mechanism}}
		if _, err := c.table(); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), job) {
			t.Errorf("%s by %q: %v, want ErrConfig", job, mechanism, err)
		}
	}
	if all := Jobs(); len(all) != 18 || !slices.IsSorted(all) {
		t.Errorf("%v", all)
	}
}

// What tells a loss from other errors sees every error of several.
func TestErrors(t *testing.T) {
	general := fmt.Errorf("C_Sign: %w", ckr(ck.CKR_GENERAL_ERROR))
	both := errors.Join(general, fmt.Errorf("C_FindObjects: %w", ckr(ck.CKR_DEVICE_REMOVED)))
	if lost(general) || !lost(both) || lost(nil) || stale(both) || !stale(ckr(ck.CKR_KEY_HANDLE_INVALID)) {
		t.Error("losses are not told from other errors")
	}
	if got := general.Error(); got != "C_Sign: CKR_GENERAL_ERROR" {
		t.Error(got)
	}
	if got := ckr(0x80000001).Error(); got != "PKCS #11 return value 0x80000001" {
		t.Error(got)
	}
}
