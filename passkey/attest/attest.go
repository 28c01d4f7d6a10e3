// Package attest registers authenticators: it makes the options that a browser
// hands to one, and makes a passkey.Credential of the answer (WebAuthn level 3,
// 7.1). It judges what the authenticator's attestation and the FIDO metadata
// prove about it. It is apart from package passkey so that whoever verifies a
// log needs none of this.
package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/google/uuid"

	"ankan/audit"
	"ankan/passkey"
)

// ErrRefused is wrapped by every refusal of Finish.
var ErrRefused = errors.New("passkey registration refused")

// An AAGUID is the number of a model of authenticators.
type AAGUID [16]byte

// String is the form "01234567-89ab-cdef-0123-456789abcdef".
func (a AAGUID) String() string { return uuid.UUID(a).String() }

// MarshalText is String.
func (a AAGUID) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what String writes and nothing else.
func (a *AAGUID) UnmarshalText(text []byte) error {
	u, err := uuid.ParseBytes(text)
	if err != nil || u.String() != string(text) {
		return fmt.Errorf("AAGUID is %q, want one like \"01234567-89ab-cdef-0123-456789abcdef\"", text)
	}
	*a = AAGUID(u)
	return nil
}

// A Party is the relying party that registers passkeys: the console of a site.
// The zero value registers none.
type Party struct {
	RPID   string // host name that passkeys are bound to
	Origin string // where the browser shows the console, "https://host[:port]"
	Name   string // shown by the authenticator beside the person's

	// Metadata knows models; nil knows none, so that no method is proved.
	Metadata *Metadata
	// Models are all that may register, each with its attestation verified;
	// nil lets every model in.
	Models []AAGUID
	// Sealing asks for a pair to which key components are sealed, and refuses
	// an authenticator that has none.
	Sealing bool
	// AllowSynced lets passkeys in that can be copied to other devices.
	AllowSynced bool
	// AllowSoftware lets passkey.Soft in, for demonstrations and tests.
	AllowSoftware bool
}

// timeout is how long a browser waits for the person, in milliseconds.
const timeout = 120_000

// Begin makes the options for a browser's navigator.credentials.create, as
// PublicKeyCredentialCreationOptionsJSON (WebAuthn level 3, 5.1.9), and the
// challenge that Finish wants again, which is good for one registration. The
// name is what the authenticator shows; an authenticator that holds one of the
// passkeys in have is not registered a second time.
func (p Party) Begin(name string, have ...passkey.Credential) (options []byte, challenge [32]byte, err error) {
	if p.RPID == "" || p.Origin == "" || name == "" {
		return nil, challenge, errors.New("registering a passkey needs the site's host name and origin and the person's name")
	}
	rand.Read(challenge[:])
	// Random, because it stays on the authenticator and says nothing of who it
	// is (WebAuthn level 3, 14.6.1).
	handle := make([]byte, 32)
	rand.Read(handle)
	o := protocol.PublicKeyCredentialCreationOptions{
		RelyingParty: protocol.RelyingPartyEntity{CredentialEntity: protocol.CredentialEntity{Name: p.Name}, ID: p.RPID},
		User: protocol.UserEntity{
			CredentialEntity: protocol.CredentialEntity{Name: name}, DisplayName: name, ID: protocol.URLEncodedBase64(handle),
		},
		Challenge:  challenge[:],
		Parameters: []protocol.CredentialParameter{{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgES256}},
		Timeout:    timeout,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			// The site names the passkey each time, so it needs no place in the
			// authenticator, of which there are few.
			ResidentKey:      protocol.ResidentKeyRequirementDiscouraged,
			UserVerification: protocol.VerificationRequired,
		},
		Attestation: protocol.PreferDirectAttestation,
	}
	for _, c := range have {
		o.CredentialExcludeList = append(o.CredentialExcludeList, protocol.CredentialDescriptor{
			Type: protocol.PublicKeyCredentialType, CredentialID: protocol.URLEncodedBase64(c.ID),
		})
	}
	if p.Sealing {
		o.Extensions.PRF = &protocol.PRFInputs{Eval: protocol.PRFValues{First: []byte(passkey.SealingSalt)}}
	}
	options, err = json.Marshal(o)
	return options, challenge, err
}

// Finish checks a passkey.Registration in JSON against the challenge of Begin
// and gives the credential and what its making showed; ErrRefused if it is
// from elsewhere, was not made by a verified user, is not ES256 on P-256, can
// be copied, has an attestation that does not hold, or is of a model that is
// not wanted.
//
// Method and Model tell what is proved. A passkey without attestation, or with
// one that no root in the metadata vouches for, is UnknownMethod, whatever it
// says that it is. The caller checks that the credential's ID is new (7.1,
// step 26), and keeps the counter of the proof for passkey.CheckCounter.
func (p Party) Finish(response []byte, challenge [32]byte) (passkey.Credential, passkey.Proof, error) {
	c, proof, err := p.finish(response, challenge)
	if err != nil {
		return passkey.Credential{}, passkey.Proof{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return c, proof, nil
}

func (p Party) finish(response []byte, challenge [32]byte) (c passkey.Credential, proof passkey.Proof, err error) {
	if p.RPID == "" || p.Origin == "" {
		return c, proof, errors.New("the site has no host name and origin")
	}
	var r passkey.Registration
	if err := audit.Strict(response, &r); err != nil {
		return c, proof, errors.New("the answer is not a registration")
	}
	raw := protocol.AuthenticatorAttestationResponse{AttestationObject: protocol.URLEncodedBase64(r.AttestationObject)}
	raw.ClientDataJSON = protocol.URLEncodedBase64(r.ClientDataJSON)
	parsed, err := raw.Parse()
	if err != nil {
		return c, proof, fmt.Errorf("the answer cannot be read: %w", err)
	}
	switch cd := parsed.CollectedClientData; {
	case cd.Type != protocol.CreateCeremony:
		return c, proof, fmt.Errorf("type is %q, want %q", cd.Type, protocol.CreateCeremony)
	case cd.Challenge != base64.RawURLEncoding.EncodeToString(challenge[:]):
		return c, proof, errors.New("it answers another challenge; begin again")
	case cd.Origin != p.Origin || cd.CrossOrigin || cd.TopOrigin != "":
		return c, proof, fmt.Errorf("origin is %q, want %q and no frame around it", cd.Origin, p.Origin)
	}
	ao := &parsed.AttestationObject
	ad := ao.AuthData
	proof = passkey.Proof{
		UserPresent:    ad.Flags.HasUserPresent(),
		UserVerified:   ad.Flags.HasUserVerified(),
		BackupEligible: ad.Flags.HasBackupEligible(),
		BackedUp:       ad.Flags.HasBackupState(),
		SignCount:      ad.Counter,
	}
	rp := sha256.Sum256([]byte(p.RPID))
	switch {
	case !bytes.Equal(ad.RPIDHash, rp[:]):
		return c, proof, fmt.Errorf("it is for another relying party than %q", p.RPID)
	case !proof.UserPresent || !proof.UserVerified:
		return c, proof, errors.New("the user was not verified (biometric or PIN); use an authenticator that asks for one")
	case proof.BackedUp && !proof.BackupEligible:
		return c, proof, errors.New("it says that it is backed up and that it cannot be")
	case proof.BackupEligible && !p.AllowSynced:
		return c, proof, errors.New("the passkey can be copied to other devices; use one that stays in its authenticator")
	case len(r.CredentialID) == 0 || !bytes.Equal(r.CredentialID, ad.AttData.CredentialID):
		return c, proof, errors.New("the passkey's number is not the one that the authenticator gave")
	}
	public, err := publicKey(ad.AttData.CredentialPublicKey)
	if err != nil {
		return c, proof, err
	}
	c = passkey.Credential{
		ID: r.CredentialID, RPID: p.RPID, Origin: p.Origin, Public: public,
		AAGUID: bytes.Clone(ad.AttData.AAGUID), BackupEligible: proof.BackupEligible, Seal: r.Seal,
	}
	switch {
	case r.Seal != nil:
		if _, err := r.Seal.Key(); err != nil {
			return c, proof, err
		}
	case p.Sealing:
		return c, proof, errors.New("no pair to seal key components to; use an authenticator with the PRF extension (hmac-secret)")
	}
	hash := sha256.Sum256(r.ClientDataJSON)
	c.Model, c.Method, err = p.judge(ao, hash[:])
	return c, proof, err
}

// judge verifies the attestation and says what it proves: the model, and how
// that verifies its user.
func (p Party) judge(ao *protocol.AttestationObject, clientDataHash []byte) (string, passkey.Method, error) {
	id := AAGUID(ao.AuthData.AttData.AAGUID)
	provider, err := p.Metadata.provider(id)
	if err != nil {
		return "", "", err
	}
	if err := ao.VerifyAttestation(clientDataHash, provider, protocol.AttestationPolicy{}, protocol.SignaturePolicy{}); err != nil {
		return "", "", fmt.Errorf("attestation: %s", reason(err))
	}
	if string(id[:]) == passkey.SoftAAGUID {
		if !p.AllowSoftware {
			return "", "", errors.New("it is a software passkey, which verifies nobody")
		}
		return passkey.SoftModel, passkey.Software, nil
	}
	model, known := p.Metadata.Model(id)
	proved := known && provable(ao)
	switch {
	case p.Models == nil:
	case !slices.Contains(p.Models, id):
		return "", "", fmt.Errorf("model %s %q is not one that this site takes", id, model.Description)
	case !proved:
		return "", "", fmt.Errorf("nothing proves that it is of model %s: allow the browser to show the make of the authenticator, and load the model's metadata", id)
	}
	switch {
	case proved:
		return model.Description, model.Method, nil
	case known:
		return fmt.Sprintf("not attested, says it is %q", model.Description), passkey.UnknownMethod, nil
	}
	return "not attested", passkey.UnknownMethod, nil
}

// provable says whether an attestation that was verified ended in a root of
// the model's metadata: it has certificates, and its format is one whose
// certificates the verification leads there.
func provable(ao *protocol.AttestationObject) bool {
	switch protocol.AttestationFormat(ao.Format) {
	case protocol.AttestationFormatPacked, protocol.AttestationFormatTPM, protocol.AttestationFormatAndroidKey:
		chain, _ := ao.AttStatement["x5c"].([]any)
		return len(chain) > 0
	}
	return false
}

// reason is what the library says of an error, with what it hides in its
// debugging text.
func reason(err error) string {
	if e := (*protocol.Error)(nil); errors.As(err, &e) && e.DevInfo != "" && e.DevInfo != e.Details {
		return e.Details + ": " + e.DevInfo
	}
	return err.Error()
}

// publicKey reads a COSE_Key (RFC 9053, 7.1) and gives it as a
// SubjectPublicKeyInfo.
func publicKey(cose []byte) ([]byte, error) {
	k, err := webauthncose.ParsePublicKey(cose)
	if err != nil {
		return nil, errors.New("its public key cannot be read")
	}
	ec, ok := k.(webauthncose.EC2PublicKeyData)
	if !ok || ec.Algorithm != int64(webauthncose.AlgES256) || ec.Curve != int64(webauthncose.P256) || len(ec.XCoord) != 32 || len(ec.YCoord) != 32 {
		return nil, errors.New("its key is not of ES256 on P-256")
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, ec.XCoord, ec.YCoord))
	if err != nil {
		return nil, errors.New("its key is not a point of P-256")
	}
	return x509.MarshalPKIXPublicKey(pub)
}
