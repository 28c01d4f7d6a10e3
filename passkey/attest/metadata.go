package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"time"

	"github.com/go-webauthn/webauthn/metadata"
	"github.com/go-webauthn/webauthn/metadata/providers/memory"
	"github.com/google/uuid"

	"ankan/passkey"
)

// Metadata is what is known of models of authenticators, from the FIDO
// Metadata Service's BLOB and from single metadata statements (FIDO Metadata
// Statement 3.1). The zero value and nil know none. It is filled first and
// then only read.
type Metadata struct {
	// Number and NextUpdate are the BLOB's. Each BLOB has a greater number than
	// the one before: whoever remembers it sets it, and ReadBLOB takes no
	// smaller one.
	Number     int
	NextUpdate time.Time

	entries map[uuid.UUID]*metadata.Entry
	unread  map[uuid.UUID]error // models whose entry could not be read, and may say that it is revoked
}

// A Model is what the metadata says of one model.
type Model struct {
	AAGUID      AAGUID
	Description string
	Method      passkey.Method // what its verification of a user proves
}

func (m *Metadata) prepare() {
	if m.entries == nil {
		m.entries, m.unread = make(map[uuid.UUID]*metadata.Entry), make(map[uuid.UUID]error)
	}
}

// Model looks a model up.
func (m *Metadata) Model(id AAGUID) (Model, bool) {
	if m == nil {
		return Model{}, false
	}
	e, ok := m.entries[uuid.UUID(id)]
	if !ok {
		return Model{}, false
	}
	return Model{id, e.MetadataStatement.Description, method(&e.MetadataStatement)}, true
}

// signer is the name in the certificate that signs BLOBs. The root vouches for
// many others as well.
const signer = "mds.fidoalliance.org"

// ReadBLOB reads the BLOB of the FIDO Metadata Service as it is downloaded, a
// JSON Web Token, and verifies its signature up to root at the time now (FIDO
// Metadata Service 3.1, 3.2). It asks nobody whether a certificate was revoked:
// a site may have no way out. What it says of a model goes before a statement
// of ReadStatements.
func (m *Metadata) ReadBLOB(blob []byte, root *x509.Certificate, now time.Time) error {
	payload, err := verifyJWT(bytes.TrimSpace(blob), root, now)
	if err != nil {
		return fmt.Errorf("metadata BLOB: %w", err)
	}
	var doc metadata.PayloadJSON
	if err := json.Unmarshal(payload, &doc); err != nil {
		return errors.New("metadata BLOB: its payload is not what the specification says")
	}
	next, err := time.Parse(time.DateOnly, doc.NextUpdate)
	if err != nil || doc.Number < 1 {
		return fmt.Errorf("metadata BLOB: it has number %d and next update %q", doc.Number, doc.NextUpdate)
	}
	if doc.Number < m.Number {
		return fmt.Errorf("metadata BLOB: it has number %d, older than %d", doc.Number, m.Number)
	}
	m.Number, m.NextUpdate = doc.Number, next
	m.prepare()
	for _, e := range doc.Entries {
		if e.AaGUID == "" {
			continue // of an older protocol
		}
		id, err := uuid.Parse(e.AaGUID)
		if err != nil {
			return fmt.Errorf("metadata BLOB: AAGUID is %q", e.AaGUID)
		}
		entry, err := e.Parse()
		if err != nil {
			m.unread[id] = err
			delete(m.entries, id)
			continue
		}
		m.entries[id] = &entry
	}
	return nil
}

// ReadStatements reads the files *.json of a folder, each a metadata
// statement. They are trusted as they lie: whoever may write there says what a
// model is.
func (m *Metadata) ReadStatements(folder fs.FS) error {
	names, err := fs.Glob(folder, "*.json")
	if err != nil {
		return err
	}
	from := make(map[uuid.UUID]string)
	for _, name := range names {
		doc, err := fs.ReadFile(folder, name)
		if err != nil {
			return err
		}
		s, err := parseStatement(doc)
		if err != nil {
			return fmt.Errorf("metadata statement %s: %w", name, err)
		}
		if other := from[s.AaGUID]; other != "" {
			return fmt.Errorf("metadata statement %s: model %s has one in %s already", name, s.AaGUID, other)
		}
		from[s.AaGUID] = name
		m.prepare()
		if m.entries[s.AaGUID] == nil && m.unread[s.AaGUID] == nil {
			m.entries[s.AaGUID] = &metadata.Entry{AaGUID: s.AaGUID, MetadataStatement: s}
		}
	}
	return nil
}

func parseStatement(doc []byte) (metadata.Statement, error) {
	var j metadata.StatementJSON
	if err := json.Unmarshal(doc, &j); err != nil {
		return metadata.Statement{}, errors.New("it is not JSON of the form that the specification says")
	}
	s, err := j.Parse()
	if err != nil {
		return metadata.Statement{}, err
	}
	if s.AaGUID == uuid.Nil || s.Description == "" {
		return metadata.Statement{}, errors.New("it has no aaguid or no description")
	}
	return s, nil
}

// provider gives what the attestation of a model is verified against, nil
// without metadata. A model that was revoked, or whose users' verification can
// be got around, is refused even if it is not attested: it says so itself.
func (m *Metadata) provider(id AAGUID) (metadata.Provider, error) {
	if m == nil || m.entries == nil {
		return nil, nil
	}
	if err := m.unread[uuid.UUID(id)]; err != nil {
		return nil, fmt.Errorf("the metadata of model %s cannot be read: %w", id, err)
	}
	if e := m.entries[uuid.UUID(id)]; e != nil {
		if err := metadata.ValidateStatusReports(e.StatusReports, nil, metadata.DefaultUndesiredAuthenticatorStatuses()); err != nil {
			return nil, fmt.Errorf("model %s %q: %w", id, e.MetadataStatement.Description, err)
		}
	}
	return memory.New(memory.WithMetadata(m.entries),
		memory.WithValidateEntry(false), // what is not known is not attested
		memory.WithValidateAAGUID(true), memory.WithValidateAlgorithms(true), memory.WithValidateUserVerification(true))
}

// method is what the verification of a user by this model proves. The
// metadata lists combinations, each of which is enough (FIDO Metadata
// Statement 3.1, 4; the names are of the FIDO Registry 2.2, 3.1).
func method(s *metadata.Statement) passkey.Method {
	var biometric, pin, nobody, other bool
	for _, combination := range s.UserVerificationDetails {
		var b, p, o bool
		for _, d := range combination {
			switch d.UserVerificationMethod {
			case "fingerprint_internal", "faceprint_internal", "eyeprint_internal", "voiceprint_internal", "handprint_internal":
				b = true
			case "passcode_internal", "passcode_external":
				p = true
			case "presence_internal", "none":
			default: // a pattern, a place, what is not known yet
				o = true
			}
		}
		switch {
		case b:
			biometric = true
		case p && !o:
			pin = true
		case o:
			other = true
		default:
			nobody = true
		}
	}
	// A PIN that the CTAP protocol sets verifies the user as well, whether or
	// not the list has it (CTAP 2.2, 6.4).
	if _, has := s.AuthenticatorGetInfo.Options["clientPin"]; has {
		pin = true
	}
	switch {
	case other:
		return passkey.UnknownMethod
	case biometric && pin:
		return passkey.BiometricOrPIN
	case pin:
		// A combination that verifies nobody does not show a verified user.
		return passkey.PIN
	case biometric && !nobody:
		return passkey.Biometric
	}
	return passkey.UnknownMethod
}

// verifyJWT gives the payload of a signed JSON Web Token (RFC 7515, 7.1).
func verifyJWT(token []byte, root *x509.Certificate, now time.Time) ([]byte, error) {
	if root == nil {
		return nil, errors.New("no root certificate to verify it up to")
	}
	parts := bytes.Split(token, []byte("."))
	if len(parts) != 3 {
		return nil, fmt.Errorf("it has %d parts, want the 3 of a JSON Web Token", len(parts))
	}
	var raw [3][]byte
	for i, p := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.Strict().AppendDecode(nil, p); err != nil {
			return nil, fmt.Errorf("part %d is not base64url", i+1)
		}
	}
	var header struct {
		Alg  string   `json:"alg"`
		X5C  [][]byte `json:"x5c"`
		X5U  string   `json:"x5u"`
		Crit []string `json:"crit"`
	}
	if err := json.Unmarshal(raw[0], &header); err != nil {
		return nil, errors.New("its header is not JSON")
	}
	if len(header.X5C) == 0 || header.X5U != "" || header.Crit != nil {
		return nil, errors.New("its header must have x5c, and neither x5u nor crit")
	}
	opts := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, DNSName: signer,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	opts.Roots.AddCert(root)
	var leaf *x509.Certificate
	for i, der := range header.X5C {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read", i+1)
		}
		if i == 0 {
			leaf = c
		} else {
			opts.Intermediates.AddCert(c)
		}
	}
	if _, err := leaf.Verify(opts); err != nil {
		return nil, fmt.Errorf("its certificate: %w", err)
	}
	signed := token[:len(parts[0])+1+len(parts[1])]
	if !signedBy(leaf, header.Alg, signed, raw[2]) {
		return nil, fmt.Errorf("its signature (%q) is wrong, or is neither RS256 nor ES256", header.Alg)
	}
	return raw[1], nil
}

// signedBy verifies a signature of RFC 7518, 3.3 or 3.4.
func signedBy(c *x509.Certificate, alg string, signed, sig []byte) bool {
	switch alg {
	case "RS256":
		return c.CheckSignature(x509.SHA256WithRSA, signed, sig) == nil
	case "ES256":
		pub, ok := c.PublicKey.(*ecdsa.PublicKey)
		if !ok || pub.Curve.Params().BitSize != 256 || len(sig) != 64 {
			return false
		}
		hash := sha256.Sum256(signed)
		return ecdsa.Verify(pub, hash[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
	}
	return false
}
