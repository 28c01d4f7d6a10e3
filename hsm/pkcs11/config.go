package pkcs11

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	ck "github.com/miekg/pkcs11"
)

// A Config says which token is opened and how it does its work.
type Config struct {
	// Module is the path of the vendor's library.
	Module string

	// One of these picks the token. Two that name different tokens are
	// refused, and so is a label that two tokens have.
	Token  string // its label
	Serial string
	Slot   *uint

	// PIN reads the user's PIN. It is called for each login, the first one and
	// those after a loss; the token wipes what it returns and keeps no copy.
	PIN func() ([]byte, error)

	// Certificate is the token's certificate, such as "FIPS 140-3 #4703". It
	// counts only if Model and Firmware, which the certificate is for, are what
	// the token says of itself. Firmware is major.minor, as PKCS #11 has it.
	Certificate     string
	Model, Firmware string

	// Mechanisms names, by its job, a mechanism that is not the usual one: a
	// name such as CKM_AES_CMAC, a vendor's number such as 0x80000170, or
	// "none" for what the token lacks and this package can do instead. See
	// Jobs.
	Mechanisms map[string]string

	// Sessions is how many calls run in the token at the same time; 0 stands
	// for 8.
	Sessions int
}

// The jobs that mechanisms do.
const (
	jobAESKey     = "AES key"
	jobHMACKey    = "HMAC key"
	jobECKey      = "EC key"
	jobEd25519Key = "Ed25519 key"
	jobRSAKey     = "RSA key"
	jobHMAC       = "HMAC"
	jobCMAC       = "CMAC"
	jobECB        = "ECB"
	jobDES2Key    = "3DES key of two"
	jobDES3Key    = "3DES key of three"
	jobDESECB     = "3DES ECB"
	jobKeyWrap    = "key wrap"
	jobKeyWrapPad = "key wrap with padding"
	jobECDH       = "ECDH"
	jobECDSA      = "ECDSA"
	jobEd25519    = "Ed25519"
	jobRSADecrypt = "RSA decrypt"
	jobOAEP       = "OAEP"
)

// none stands for a mechanism that the token lacks.
const none = "none"

// A job is what a mechanism is for.
type job struct {
	usual    uint
	flags    uint // what C_GetMechanismInfo must say of it
	optional bool // none is allowed
	old      bool // likewise, and what lacks it is taken without a word: nothing but keys under a waiver wants it
}

// jobs are all jobs with the mechanism of PKCS #11 v2.40 or v3.0 that usually
// does it.
func jobs() map[string]job {
	return map[string]job{
		jobAESKey:     {usual: ck.CKM_AES_KEY_GEN, flags: ck.CKF_GENERATE},
		jobHMACKey:    {usual: ck.CKM_GENERIC_SECRET_KEY_GEN, flags: ck.CKF_GENERATE},
		jobECKey:      {usual: ck.CKM_EC_KEY_PAIR_GEN, flags: ck.CKF_GENERATE_KEY_PAIR},
		jobEd25519Key: {usual: ckmEdwardsKeyPairGen, flags: ck.CKF_GENERATE_KEY_PAIR},
		jobRSAKey:     {usual: ck.CKM_RSA_PKCS_KEY_PAIR_GEN, flags: ck.CKF_GENERATE_KEY_PAIR},
		jobHMAC:       {usual: ck.CKM_SHA256_HMAC, flags: ck.CKF_SIGN},
		jobCMAC:       {usual: ck.CKM_AES_CMAC, flags: ck.CKF_SIGN, optional: true},
		jobECB:        {usual: ck.CKM_AES_ECB, flags: ck.CKF_ENCRYPT | ck.CKF_DECRYPT},
		jobDES2Key:    {usual: ck.CKM_DES2_KEY_GEN, flags: ck.CKF_GENERATE, optional: true, old: true},
		jobDES3Key:    {usual: ck.CKM_DES3_KEY_GEN, flags: ck.CKF_GENERATE, optional: true, old: true},
		jobDESECB:     {usual: ck.CKM_DES3_ECB, flags: ck.CKF_ENCRYPT | ck.CKF_DECRYPT, optional: true, old: true},
		jobKeyWrap:    {usual: ck.CKM_AES_KEY_WRAP, flags: ck.CKF_WRAP | ck.CKF_UNWRAP},
		jobKeyWrapPad: {usual: ck.CKM_AES_KEY_WRAP_PAD, flags: ck.CKF_WRAP | ck.CKF_UNWRAP, optional: true},
		jobECDH:       {usual: ck.CKM_ECDH1_DERIVE, flags: ck.CKF_DERIVE},
		jobECDSA:      {usual: ck.CKM_ECDSA, flags: ck.CKF_SIGN},
		jobEd25519:    {usual: ckmEdDSA, flags: ck.CKF_SIGN},
		jobRSADecrypt: {usual: ck.CKM_RSA_X_509, flags: ck.CKF_DECRYPT},
		jobOAEP:       {usual: ck.CKM_RSA_PKCS_OAEP, flags: ck.CKF_DECRYPT, optional: true},
	}
}

// Mechanisms of PKCS #11 v3.0, which the constants of v2.40 lack.
const (
	ckmEdwardsKeyPairGen = 0x1055
	ckmEdDSA             = 0x1057
	ckkEdwards           = 0x40
)

// Jobs are the names that Config.Mechanisms takes, sorted.
func Jobs() []string { return slices.Sorted(maps.Keys(jobs())) }

// names are the mechanisms that can be configured by name.
func names() map[string]uint {
	return map[string]uint{
		"CKM_AES_KEY_GEN":             ck.CKM_AES_KEY_GEN,
		"CKM_GENERIC_SECRET_KEY_GEN":  ck.CKM_GENERIC_SECRET_KEY_GEN,
		"CKM_EC_KEY_PAIR_GEN":         ck.CKM_EC_KEY_PAIR_GEN,
		"CKM_EC_EDWARDS_KEY_PAIR_GEN": ckmEdwardsKeyPairGen,
		"CKM_RSA_PKCS_KEY_PAIR_GEN":   ck.CKM_RSA_PKCS_KEY_PAIR_GEN,
		"CKM_RSA_X9_31_KEY_PAIR_GEN":  ck.CKM_RSA_X9_31_KEY_PAIR_GEN,
		"CKM_SHA256_HMAC":             ck.CKM_SHA256_HMAC,
		"CKM_AES_CMAC":                ck.CKM_AES_CMAC,
		"CKM_AES_ECB":                 ck.CKM_AES_ECB,
		"CKM_DES2_KEY_GEN":            ck.CKM_DES2_KEY_GEN,
		"CKM_DES3_KEY_GEN":            ck.CKM_DES3_KEY_GEN,
		"CKM_DES3_ECB":                ck.CKM_DES3_ECB,
		"CKM_AES_KEY_WRAP":            ck.CKM_AES_KEY_WRAP,
		"CKM_AES_KEY_WRAP_PAD":        ck.CKM_AES_KEY_WRAP_PAD,
		"CKM_AES_KEY_WRAP_KWP":        0x210B, // v3.0
		"CKM_ECDH1_DERIVE":            ck.CKM_ECDH1_DERIVE,
		"CKM_ECDH1_COFACTOR_DERIVE":   ck.CKM_ECDH1_COFACTOR_DERIVE,
		"CKM_ECDSA":                   ck.CKM_ECDSA,
		"CKM_EDDSA":                   ckmEdDSA,
		"CKM_RSA_X_509":               ck.CKM_RSA_X_509,
		"CKM_RSA_PKCS":                ck.CKM_RSA_PKCS,
		"CKM_RSA_PKCS_OAEP":           ck.CKM_RSA_PKCS_OAEP,
	}
}

// absent is the number of no mechanism.
const absent = ^uint(0)

// table is the mechanism of each job.
func (c *Config) table() (map[string]uint, error) {
	all := jobs()
	table := make(map[string]uint, len(all))
	for name, j := range all {
		table[name] = j.usual
	}
	for name, mechanism := range c.Mechanisms {
		j, ok := all[name]
		if !ok {
			return nil, fmt.Errorf("%w: mechanism for %q, which is none of %s", ErrConfig, name, strings.Join(Jobs(), ", "))
		}
		number, ok := names()[mechanism]
		switch {
		case ok:
		case mechanism == none && j.optional:
			number = absent
		default:
			n, err := strconv.ParseUint(mechanism, 0, 32)
			if err != nil || !strings.HasPrefix(mechanism, "0x") {
				return nil, fmt.Errorf("%w: %s has mechanism %q, want a name such as CKM_AES_ECB or a number such as 0x80000170", ErrConfig, name, mechanism)
			}
			number = uint(n)
		}
		table[name] = number
	}
	return table, nil
}

// maxSessions bounds Config.Sessions.
const maxSessions = 1024

// check refuses a configuration that names no token.
func (c *Config) check() error {
	switch {
	case c.Module == "":
		return fmt.Errorf("%w: no module; want the path of the vendor's library", ErrConfig)
	case c.Token == "" && c.Serial == "" && c.Slot == nil:
		return fmt.Errorf("%w: no token; want its label, its serial number or its slot", ErrConfig)
	case c.PIN == nil:
		return fmt.Errorf("%w: no PIN", ErrConfig)
	case c.Sessions < 0 || c.Sessions > maxSessions:
		return fmt.Errorf("%w: %d sessions, want 1..%d, or 0 for 8", ErrConfig, c.Sessions, maxSessions)
	}
	return nil
}

func (c *Config) sessions() int {
	if c.Sessions == 0 {
		return 8
	}
	return c.Sessions
}

// certificate says what the token is certified as, or why it is not.
func (c *Config) certificate(t tokenInfo) (text string, certified bool) {
	switch {
	case c.Certificate == "":
		return "not certified: no certificate is configured", false
	case c.Model == "" || c.Firmware == "":
		return fmt.Sprintf("not certified: %s is configured without the model and firmware that it is for", c.Certificate), false
	case c.Model != t.model:
		return fmt.Sprintf("not certified: %s is for model %q, this one is %q", c.Certificate, c.Model, t.model), false
	case c.Firmware != t.firmware:
		return fmt.Sprintf("not certified: %s is for firmware %s, this one has %s", c.Certificate, c.Firmware, t.firmware), false
	}
	return c.Certificate, true
}
