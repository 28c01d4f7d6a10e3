package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"

	"ankan/passkey"
)

// Flags of authenticator data (WebAuthn level 3, 6.1).
const (
	up = 0x01
	uv = 0x04
	be = 0x08
	bs = 0x10
	at = 0x40
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func party() Party {
	return Party{RPID: "bureau.example", Origin: "https://bureau.example", Name: "Bureau", AllowSoftware: true}
}

// An authority vouches for authenticators or for BLOBs.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority() authority {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Made-up root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der := must(x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key))
	return authority{must(x509.ParseCertificate(der)), key}
}

func (a authority) sign(t *x509.Certificate, public any) []byte {
	t.SerialNumber, t.NotBefore, t.NotAfter = big.NewInt(2), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	return must(x509.CreateCertificate(rand.Reader, t, a.cert, public, a.key))
}

// A device is an authenticator that attests, with everything about it open to
// be spoiled.
type device struct {
	key, attestation *ecdsa.PrivateKey
	x5c              []any  // nil: it attests with its own key
	format           string // "packed" or "none"
	aaguid           AAGUID
	id               []byte
	cose             map[int64]any
	flags            byte
	count            uint32
	rp               string
	client           map[string]any
	badSignature     bool
}

func newDevice(root authority, id AAGUID, challenge [32]byte) *device {
	d := &device{
		key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), attestation: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		format: "packed", aaguid: id, id: []byte("credential"), flags: up | uv | at, count: 7, rp: "bureau.example",
		client: map[string]any{"type": "webauthn.create", "challenge": base64.RawURLEncoding.EncodeToString(challenge[:]), "origin": "https://bureau.example", "crossOrigin": false},
	}
	point := must(d.key.PublicKey.Bytes())
	d.cose = map[int64]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]}
	d.x5c = []any{root.sign(attestationCert(id), &d.attestation.PublicKey)}
	return d
}

// attestationCert follows WebAuthn level 3, 8.2.1.
func attestationCert(id AAGUID) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{Country: []string{"IN"}, Organization: []string{"Made-up"}, OrganizationalUnit: []string{"Authenticator Attestation"}, CommonName: "Made-up"},
		BasicConstraintsValid: true,
		ExtraExtensions:       []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 45724, 1, 1, 4}, Value: must(asn1.Marshal(id[:]))}},
	}
}

func (d *device) register() []byte {
	cd := must(json.Marshal(d.client))
	rp := sha256.Sum256([]byte(d.rp))
	ad := binary.BigEndian.AppendUint32(append(rp[:], d.flags), d.count)
	if d.flags&at != 0 {
		ad = binary.BigEndian.AppendUint16(append(ad, d.aaguid[:]...), uint16(len(d.id)))
		ad = append(append(ad, d.id...), must(webauthncbor.Marshal(d.cose))...)
	}
	hash := sha256.Sum256(cd)
	digest := sha256.Sum256(append(bytes.Clone(ad), hash[:]...))
	statement := map[string]any{}
	if d.format == "packed" {
		signer := d.key
		if d.x5c != nil {
			statement["x5c"], signer = d.x5c, d.attestation
		}
		sig := must(ecdsa.SignASN1(rand.Reader, signer, digest[:]))
		if d.badSignature {
			sig = must(ecdsa.SignASN1(rand.Reader, signer, hash[:]))
		}
		statement["alg"], statement["sig"] = -7, sig
	}
	object := must(webauthncbor.Marshal(map[string]any{"fmt": d.format, "attStmt": statement, "authData": ad}))
	return must(json.Marshal(passkey.Registration{CredentialID: []byte("credential"), AttestationObject: object, ClientDataJSON: cd}))
}

// known is the metadata of testdata, with root vouching for every model.
func known(t testing.TB, root authority) *Metadata {
	t.Helper()
	folder := os.DirFS("testdata/statements")
	files := must(os.ReadDir("testdata/statements"))
	if len(files) == 0 {
		t.Fatal("testdata/statements is empty")
	}
	out := fstest.MapFS{}
	for _, f := range files {
		var s map[string]any
		if err := json.Unmarshal(must(os.ReadFile("testdata/statements/"+f.Name())), &s); err != nil {
			t.Fatal(err)
		}
		s["attestationRootCertificates"] = []string{base64.StdEncoding.EncodeToString(root.cert.Raw)}
		out[f.Name()] = &fstest.MapFile{Data: must(json.Marshal(s))}
	}
	var m, plain Metadata
	if err := errors.Join(m.ReadStatements(out), plain.ReadStatements(folder)); err != nil {
		t.Fatal(err)
	}
	return &m
}

func model(t testing.TB, file string) AAGUID {
	t.Helper()
	var s struct {
		AAGUID AAGUID `json:"aaguid"`
	}
	if err := json.Unmarshal(must(os.ReadFile("testdata/statements/"+file+".json")), &s); err != nil {
		t.Fatal(err)
	}
	return s.AAGUID
}

func TestBegin(t *testing.T) {
	p := party()
	p.Sealing = true
	doc, challenge, err := p.Begin("Asha", passkey.Credential{ID: passkey.Bytes("old")})
	if err != nil {
		t.Fatal(err)
	}
	var o struct {
		Challenge passkey.Bytes                     `json:"challenge"`
		RP        struct{ ID, Name string }         `json:"rp"`
		User      struct{ ID passkey.Bytes }        `json:"user"`
		Params    []struct{ Alg int }               `json:"pubKeyCredParams"`
		Select    struct{ UserVerification string } `json:"authenticatorSelection"`
		Att       string                            `json:"attestation"`
		Exclude   []struct{ ID passkey.Bytes }      `json:"excludeCredentials"`
		Ext       struct {
			PRF struct {
				Eval struct{ First passkey.Bytes } `json:"eval"`
			} `json:"prf"`
		} `json:"extensions"`
	}
	if err := json.Unmarshal(doc, &o); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(o.Challenge, challenge[:]) || o.RP.ID != "bureau.example" || o.RP.Name != "Bureau" || len(o.User.ID) != 32 || len(o.Params) != 1 || o.Params[0].Alg != -7 ||
		o.Select.UserVerification != "required" || o.Att != "direct" || len(o.Exclude) != 1 || string(o.Exclude[0].ID) != "old" || string(o.Ext.PRF.Eval.First) != passkey.SealingSalt {
		t.Errorf("options %s", doc)
	}
	_, again, err := p.Begin("Asha")
	if err != nil || again == challenge {
		t.Error("a challenge is given twice", err)
	}
	p.Sealing = false
	if doc, _, err := p.Begin("Asha"); err != nil || bytes.Contains(doc, []byte("prf")) {
		t.Errorf("asks for PRF unasked: %s, %v", doc, err)
	}
	if _, _, err := (Party{}).Begin("Asha"); err == nil {
		t.Error("no site begins")
	}
	if _, _, err := p.Begin(""); err == nil {
		t.Error("nobody begins")
	}
}

func TestSoft(t *testing.T) {
	s := must(passkey.NewSoft("bureau.example", "https://bureau.example"))
	p := party()
	p.Sealing = true
	_, challenge, err := p.Begin("Asha")
	if err != nil {
		t.Fatal(err)
	}
	s.Count(3)
	answer := must(json.Marshal(must(s.Register(challenge))))
	c, proof, err := p.Finish(answer, challenge)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := must(json.Marshal(c)), must(json.Marshal(s.Credential)); !bytes.Equal(got, want) {
		t.Errorf("registered %s, want %s", got, want)
	}
	if proof.SignCount != 4 || !proof.UserVerified {
		t.Errorf("%+v", proof)
	}
	a := must(s.Sign([32]byte{1}))
	after, err := c.Verify(a, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	if err := passkey.CheckCounter(proof.SignCount, after.SignCount); err != nil {
		t.Error(err)
	}
	p.AllowSoftware = false
	if _, _, err := p.Finish(answer, challenge); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "software") {
		t.Error(err)
	}
}

func TestMethods(t *testing.T) {
	root := newAuthority()
	m := known(t, root)
	for file, want := range map[string]passkey.Method{
		"biometric":                 passkey.Biometric,
		"biometric-and-passcode":    passkey.Biometric,
		"biometric-or-passcode":     passkey.BiometricOrPIN,
		"biometric-with-client-pin": passkey.BiometricOrPIN,
		"biometric-or-presence":     passkey.UnknownMethod,
		"passcode":                  passkey.PIN,
		"pattern":                   passkey.UnknownMethod,
		"passcode-and-pattern":      passkey.UnknownMethod,
		"presence":                  passkey.UnknownMethod,
		"unlisted":                  passkey.UnknownMethod,
		"novel":                     passkey.UnknownMethod,
	} {
		got, ok := m.Model(model(t, file))
		if !ok || got.Method != want || got.Description == "" {
			t.Errorf("%s: %+v, %v; want %q", file, got, ok, want)
		}
	}
	if len(m.entries) != 11 {
		t.Errorf("%d statements, and this test knows 11", len(m.entries))
	}
	if _, ok := (*Metadata)(nil).Model(AAGUID{}); ok {
		t.Error("nothing knows a model")
	}
}

// What is proved is what the metadata's root vouches for, and nothing else.
func TestJudge(t *testing.T) {
	root, other, challenge := newAuthority(), newAuthority(), [32]byte{1}
	m, id := known(t, root), model(t, "biometric")
	for name, tc := range map[string]struct {
		spoil  func(*device, *Party)
		method passkey.Method // "": refused
		says   string         // in Model or in the error
	}{
		"attested":         {func(*device, *Party) {}, passkey.Biometric, "Made-up fingerprint key"},
		"on the list":      {func(_ *device, p *Party) { p.Models = []AAGUID{id} }, passkey.Biometric, "Made-up fingerprint key"},
		"none":             {func(d *device, _ *Party) { d.format = "none" }, passkey.UnknownMethod, `says it is "Made-up fingerprint key"`},
		"none, list":       {func(d *device, p *Party) { d.format, p.Models = "none", []AAGUID{id} }, "", "nothing proves"},
		"self, unknown":    {func(d *device, _ *Party) { d.x5c, d.aaguid = nil, AAGUID{9} }, passkey.UnknownMethod, "not attested"},
		"self":             {func(d *device, _ *Party) { d.x5c = nil }, "", "basic_surrogate"},
		"self, list":       {func(d *device, p *Party) { d.x5c, d.aaguid, p.Models = nil, AAGUID{9}, []AAGUID{{9}} }, "", "nothing proves"},
		"unknown model":    {func(d *device, _ *Party) { replace(d, root, AAGUID{9}) }, passkey.UnknownMethod, "not attested"},
		"no metadata":      {func(_ *device, p *Party) { p.Metadata = nil }, passkey.UnknownMethod, "not attested"},
		"empty metadata":   {func(_ *device, p *Party) { p.Metadata = new(Metadata) }, passkey.UnknownMethod, "not attested"},
		"no metadata list": {func(_ *device, p *Party) { p.Metadata, p.Models = nil, []AAGUID{id} }, "", "nothing proves"},
		"another list":     {func(_ *device, p *Party) { p.Models = []AAGUID{{9}} }, "", "not one that this site takes"},
		"empty list":       {func(_ *device, p *Party) { p.Models = []AAGUID{} }, "", "not one that this site takes"},
		"another root":     {func(d *device, _ *Party) { replace(d, other, id) }, "", "chain"},
		"bad signature":    {func(d *device, _ *Party) { d.badSignature = true }, "", "attestation"},
		"self signature":   {func(d *device, _ *Party) { d.x5c, d.badSignature = nil, true }, "", "attestation"},
		"borrowed": {func(d *device, _ *Party) {
			d.x5c = []any{root.sign(attestationCert(AAGUID{9}), &d.attestation.PublicKey)}
		}, "", "AAGUID"},
		"no certificate": {func(d *device, _ *Party) { d.x5c = []any{[]byte("certificate")} }, "", "attestation"},
		"format":         {func(d *device, _ *Party) { d.format = "made-up" }, "", "unsupported"},
		"cannot verify":  {func(d *device, _ *Party) { replace(d, root, model(t, "presence")) }, "", "not known to be capable"},
	} {
		d, p := newDevice(root, id, challenge), party()
		p.Metadata = m
		tc.spoil(d, &p)
		c, _, err := p.Finish(d.register(), challenge)
		switch {
		case tc.method == "":
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s: %+v, %v; want a refusal that says %q", name, c, err, tc.says)
			}
		case err != nil || c.Method != tc.method || !strings.Contains(c.Model, tc.says):
			t.Errorf("%s: %q, %q, %v; want %q, %q", name, c.Method, c.Model, err, tc.method, tc.says)
		}
	}
}

// replace makes d one of another model, or vouched for by another root.
func replace(d *device, root authority, id AAGUID) {
	d.aaguid, d.x5c = id, []any{root.sign(attestationCert(id), &d.attestation.PublicKey)}
}

func TestFinishRefuses(t *testing.T) {
	root, challenge := newAuthority(), [32]byte{1}
	m, id := known(t, root), model(t, "biometric")
	seal := *must(passkey.NewSoft("a", "https://a")).Credential.Seal
	p384 := must(must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)).PublicKey.Bytes())
	for name, tc := range map[string]struct {
		spoil func(*device, *Party)
		want  string
	}{
		"no party":      {func(_ *device, p *Party) { *p = Party{} }, "no host name"},
		"type":          {func(d *device, _ *Party) { d.client["type"] = "webauthn.get" }, "type"},
		"challenge":     {func(d *device, _ *Party) { d.client["challenge"] = "AAAA" }, "another challenge"},
		"origin":        {func(d *device, _ *Party) { d.client["origin"] = "https://evil.example" }, "origin"},
		"origin's case": {func(d *device, _ *Party) { d.client["origin"] = "https://BUREAU.example" }, "origin"},
		"origin's port": {func(d *device, _ *Party) { d.client["origin"] = "https://bureau.example:8443" }, "origin"},
		"frame":         {func(d *device, _ *Party) { d.client["crossOrigin"] = true }, "origin"},
		"top origin":    {func(d *device, _ *Party) { d.client["topOrigin"] = "https://evil.example" }, "origin"},
		"relying party": {func(d *device, _ *Party) { d.rp = "evil.example" }, "relying party"},
		"absent":        {func(d *device, _ *Party) { d.flags &^= up }, "not verified"},
		"unverified":    {func(d *device, _ *Party) { d.flags &^= uv }, "not verified"},
		"synced":        {func(d *device, _ *Party) { d.flags |= be | bs }, "can be copied"},
		"backed up":     {func(d *device, p *Party) { d.flags, p.AllowSynced = d.flags|bs, true }, "cannot be"},
		"no credential": {func(d *device, _ *Party) { d.flags &^= at }, "read"},
		"other id":      {func(d *device, _ *Party) { d.id = []byte("another") }, "number"},
		"no seal":       {func(_ *device, p *Party) { p.Sealing = true }, "PRF"},
		"algorithm":     {func(d *device, _ *Party) { d.cose[3] = -35 }, "key"},
		"ES384": {func(d *device, _ *Party) {
			d.cose[3], d.cose[-1], d.cose[-2], d.cose[-3] = -35, 2, p384[1:49], p384[49:]
		}, "ES256"},
		"RSA": {func(d *device, _ *Party) {
			d.cose = map[int64]any{1: 3, 3: -257, -1: bytes.Repeat([]byte{0xFF}, 256), -2: []byte{1, 0, 1}}
		}, "key"},
		"P-384 as ES256": {func(d *device, _ *Party) { d.cose[-1], d.cose[-2], d.cose[-3] = 2, p384[1:49], p384[49:] }, "key"},
		"off the curve":  {func(d *device, _ *Party) { d.cose[-3] = bytes.Repeat([]byte{1}, 32) }, "key"},
		"short point":    {func(d *device, _ *Party) { d.cose[-2] = []byte{1} }, "key"},
		"no key":         {func(d *device, _ *Party) { d.cose = map[int64]any{} }, "key"},
	} {
		d, p := newDevice(root, id, challenge), party()
		p.Metadata = m
		tc.spoil(d, &p)
		if c, _, err := p.Finish(d.register(), challenge); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tc.want) || c.ID != nil {
			t.Errorf("%s: %+v, %v; want a refusal that says %q", name, c, err, tc.want)
		}
	}
	d, p := newDevice(root, id, challenge), party()
	d.flags |= be | bs
	p.AllowSynced = true
	if c, proof, err := p.Finish(d.register(), challenge); err != nil || !c.BackupEligible || !proof.BackedUp {
		t.Errorf("a synced passkey that is allowed: %+v, %v", c, err)
	}
	good := newDevice(root, id, challenge).register()
	sealed := func(s passkey.Sealing) []byte {
		var r passkey.Registration
		if err := json.Unmarshal(good, &r); err != nil {
			t.Fatal(err)
		}
		r.Seal = &s
		return must(json.Marshal(r))
	}
	p = party()
	p.Sealing = true
	if c, _, err := p.Finish(sealed(seal), challenge); err != nil || c.Seal == nil {
		t.Error(err)
	}
	for name, doc := range map[string][]byte{
		"empty":       nil,
		"more":        append(bytes.Clone(good), "{}"...),
		"field":       bytes.Replace(good, []byte(`{`), []byte(`{"a":1,`), 1),
		"no object":   []byte(`{"credential_id":"AA","attestation_object":"","client_data_json":"e30"}`),
		"client data": []byte(`{"credential_id":"AA","attestation_object":"oA","client_data_json":"AA"}`),
		"seal":        sealed(passkey.Sealing{Public: seal.Public}),
	} {
		if _, _, err := p.Finish(doc, challenge); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAAGUID(t *testing.T) {
	var a AAGUID
	const text = "a11ca001-0000-4000-8000-000000000001"
	if err := a.UnmarshalText([]byte(text)); err != nil || a.String() != text || string(must(a.MarshalText())) != text {
		t.Error(a, err)
	}
	for _, bad := range []string{"", "a11ca001", strings.ToUpper(text), "{" + text + "}", strings.ReplaceAll(text, "-", "")} {
		if a.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// A blob is a BLOB of the Metadata Service with everything about it open to be
// spoiled.
type blob struct {
	header  map[string]any
	payload map[string]any
	sign    func(signed []byte) []byte
}

func newBLOB(root authority, entries ...map[string]any) *blob {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	cert := root.sign(&x509.Certificate{Subject: pkix.Name{CommonName: signer}, DNSNames: []string{signer}}, &key.PublicKey)
	return &blob{
		header:  map[string]any{"alg": "ES256", "typ": "JWT", "x5c": []any{cert}},
		payload: map[string]any{"legalHeader": "written for these tests", "no": 7, "nextUpdate": "2030-01-02", "entries": entries},
		sign: func(signed []byte) []byte {
			hash := sha256.Sum256(signed)
			r, s, err := ecdsa.Sign(rand.Reader, key, hash[:])
			if err != nil {
				panic(err)
			}
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		},
	}
}

func (b *blob) bytes() []byte {
	enc := base64.RawURLEncoding.EncodeToString
	signed := enc(must(json.Marshal(b.header))) + "." + enc(must(json.Marshal(b.payload)))
	return []byte(signed + "." + enc(b.sign([]byte(signed))))
}

func entry(t testing.TB, root authority, file, status string) map[string]any {
	t.Helper()
	var s map[string]any
	if err := json.Unmarshal(must(os.ReadFile("testdata/statements/"+file+".json")), &s); err != nil {
		t.Fatal(err)
	}
	s["attestationRootCertificates"] = []string{base64.StdEncoding.EncodeToString(root.cert.Raw)}
	return map[string]any{
		"aaguid": s["aaguid"], "metadataStatement": s, "timeOfLastStatusChange": "2026-01-02",
		"statusReports": []any{map[string]any{"status": status, "effectiveDate": "2026-01-02"}},
	}
}

func TestBLOB(t *testing.T) {
	root, maker, challenge := newAuthority(), newAuthority(), [32]byte{1}
	broken := entry(t, maker, "pattern", "FIDO_CERTIFIED_L1")
	broken["timeOfLastStatusChange"] = "yesterday"
	b := newBLOB(root, entry(t, maker, "biometric", "FIDO_CERTIFIED_L2"), entry(t, maker, "passcode", "REVOKED"), broken,
		map[string]any{"attestationCertificateKeyIdentifiers": []any{"00"}, "timeOfLastStatusChange": "2026-01-02"})
	var m Metadata
	if err := m.ReadBLOB(append(b.bytes(), '\n'), root.cert, time.Now()); err != nil {
		t.Fatal(err)
	}
	if m.Number != 7 || m.NextUpdate.Format(time.DateOnly) != "2030-01-02" || len(m.entries) != 2 {
		t.Errorf("number %d, next update %v, %d models", m.Number, m.NextUpdate, len(m.entries))
	}
	// A folder fills gaps, and does not go over what the BLOB says.
	if err := m.ReadStatements(os.DirFS("testdata/statements")); err != nil {
		t.Fatal(err)
	}
	p := party()
	p.Metadata = &m
	finish := func(file string, spoil func(*device)) (passkey.Credential, error) {
		d := newDevice(maker, model(t, file), challenge)
		spoil(d)
		c, _, err := p.Finish(d.register(), challenge)
		return c, err
	}
	same := func(*device) {}
	none := func(d *device) { d.format = "none" }
	if c, err := finish("biometric", same); err != nil || c.Method != passkey.Biometric {
		t.Error(c, err)
	}
	for _, spoil := range []func(*device){same, none} {
		if _, err := finish("passcode", spoil); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "REVOKED") {
			t.Errorf("a revoked model: %v", err)
		}
		if _, err := finish("pattern", spoil); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "cannot be read") {
			t.Errorf("a model whose entry is broken: %v", err)
		}
	}
	if c, err := finish("unlisted", none); err != nil || !strings.Contains(c.Model, "little is known") {
		t.Error("a model of the folder alone:", c, err)
	}
	if err := m.ReadBLOB(b.bytes(), root.cert, time.Now()); err != nil {
		t.Error("the same BLOB again:", err)
	}
	b.payload["no"] = 6
	if err := m.ReadBLOB(b.bytes(), root.cert, time.Now()); err == nil || !strings.Contains(err.Error(), "older") {
		t.Error("an older BLOB:", err)
	}
}

func TestBLOBRefused(t *testing.T) {
	root, maker := newAuthority(), newAuthority()
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	rsaCert := root.sign(&x509.Certificate{DNSNames: []string{signer}}, &rsaKey.PublicKey)
	rs256 := func(signed []byte) []byte {
		hash := sha256.Sum256(signed)
		return must(rsa.SignPKCS1v15(rand.Reader, rsaKey, 5, hash[:])) // 5 is crypto.SHA256
	}
	good := func() *blob { return newBLOB(root, entry(t, maker, "biometric", "FIDO_CERTIFIED")) }
	rsaBLOB := good()
	rsaBLOB.header["alg"], rsaBLOB.header["x5c"], rsaBLOB.sign = "RS256", []any{rsaCert}, rs256
	if err := new(Metadata).ReadBLOB(rsaBLOB.bytes(), root.cert, time.Now()); err != nil {
		t.Error("RS256:", err)
	}
	for name, spoil := range map[string]func(*blob){
		"other signer": func(b *blob) { b.sign = newBLOB(root).sign },
		"none":         func(b *blob) { b.header["alg"], b.sign = "none", func([]byte) []byte { return nil } },
		"HS256":        func(b *blob) { b.header["alg"] = "HS256" },
		"RS256, EC":    func(b *blob) { b.header["alg"] = "RS256" },
		"ES256, RSA":   func(b *blob) { b.header["x5c"], b.sign = []any{rsaCert}, rs256 },
		"short":        func(b *blob) { b.sign = func([]byte) []byte { return make([]byte, 63) } },
		"no x5c":       func(b *blob) { delete(b.header, "x5c") },
		"x5u":          func(b *blob) { b.header["x5u"] = "https://evil.example" },
		"crit":         func(b *blob) { b.header["crit"] = []string{"b64"} },
		"x5c":          func(b *blob) { b.header["x5c"] = []any{[]byte("certificate")} },
		"other root":   func(b *blob) { *b = *newBLOB(maker) },
		"other name": func(b *blob) {
			b.header["x5c"] = []any{root.sign(&x509.Certificate{DNSNames: []string{"evil.example"}}, &rsaKey.PublicKey)}
			b.header["alg"], b.sign = "RS256", rs256
		},
		"no number":    func(b *blob) { delete(b.payload, "no") },
		"next update":  func(b *blob) { b.payload["nextUpdate"] = "soon" },
		"payload":      func(b *blob) { b.payload["entries"] = "none" },
		"entry number": func(b *blob) { b.payload["entries"] = []any{map[string]any{"aaguid": "7"}} },
	} {
		b, m := good(), Metadata{}
		spoil(b)
		if err := m.ReadBLOB(b.bytes(), root.cert, time.Now()); err == nil || m.entries != nil && name != "entry number" {
			t.Errorf("%s: taken", name)
		}
	}
	doc := good().bytes()
	for name, err := range map[string]error{
		"empty":       new(Metadata).ReadBLOB(nil, root.cert, time.Now()),
		"two parts":   new(Metadata).ReadBLOB(doc[:bytes.LastIndexByte(doc, '.')], root.cert, time.Now()),
		"not base64":  new(Metadata).ReadBLOB(append([]byte("!"), doc...), root.cert, time.Now()),
		"header":      new(Metadata).ReadBLOB(append([]byte("AAAA"), doc[bytes.IndexByte(doc, '.'):]...), root.cert, time.Now()),
		"no root":     new(Metadata).ReadBLOB(doc, nil, time.Now()),
		"too early":   new(Metadata).ReadBLOB(doc, root.cert, time.Now().Add(-48*time.Hour)),
		"too late":    new(Metadata).ReadBLOB(doc, root.cert, time.Now().Add(48*time.Hour)),
		"a bit wrong": new(Metadata).ReadBLOB(flip(doc), root.cert, time.Now()),
	} {
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// flip changes the payload of a token.
func flip(token []byte) []byte {
	out := bytes.Clone(token)
	i := bytes.IndexByte(out, '.') + 9
	if out[i]++; out[i] > 'y' || out[i] == ':' || out[i] == '[' {
		out[i] = 'b'
	}
	return out
}

func TestStatementsRefused(t *testing.T) {
	good := must(os.ReadFile("testdata/statements/biometric.json"))
	for name, folder := range map[string]fstest.MapFS{
		"twice":       {"a.json": {Data: good}, "b.json": {Data: good}},
		"not JSON":    {"a.json": {Data: []byte("{")}},
		"no aaguid":   {"a.json": {Data: []byte(`{"description":"a"}`)}},
		"no name":     {"a.json": {Data: []byte(`{"aaguid":"a11ca001-0000-4000-8000-000000000001"}`)}},
		"bad aaguid":  {"a.json": {Data: []byte(`{"description":"a","aaguid":"7"}`)}},
		"certificate": {"a.json": {Data: bytes.Replace(good, []byte(`"attestationRootCertificates": []`), []byte(`"attestationRootCertificates": ["AAAA"]`), 1)}},
		"folder":      {"a.json/b": {Data: good}},
	} {
		if err := new(Metadata).ReadStatements(folder); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := new(Metadata).ReadStatements(fstest.MapFS{"README": {Data: []byte("not read")}}); err != nil {
		t.Error(err)
	}
}

func FuzzFinish(f *testing.F) {
	root, challenge := newAuthority(), [32]byte{1}
	p := party()
	p.Metadata, p.AllowSynced = known(f, root), true
	add := func(doc []byte) {
		var r passkey.Registration
		if err := json.Unmarshal(doc, &r); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(r.CredentialID), []byte(r.AttestationObject), []byte(r.ClientDataJSON))
	}
	d := newDevice(root, model(f, "biometric"), challenge)
	add(d.register())
	d.format = "none"
	add(d.register())
	add(must(json.Marshal(must(must(passkey.NewSoft("bureau.example", "https://bureau.example")).Register(challenge)))))
	f.Fuzz(func(t *testing.T, id, object, cd []byte) {
		c, proof, err := p.Finish(must(json.Marshal(passkey.Registration{CredentialID: id, AttestationObject: object, ClientDataJSON: cd})), challenge)
		if err != nil {
			return
		}
		if !proof.UserVerified || !bytes.Equal(c.ID, id) || c.Method == "" || c.Model == "" || len(c.AAGUID) != 16 {
			t.Errorf("%+v, %+v", c, proof)
		}
		if _, err := x509.ParsePKIXPublicKey(c.Public); err != nil {
			t.Error(err)
		}
	})
}

func FuzzRegistration(f *testing.F) {
	f.Add(newDevice(newAuthority(), AAGUID{1}, [32]byte{1}).register())
	f.Fuzz(func(t *testing.T, doc []byte) { party().Finish(doc, [32]byte{1}) })
}

func FuzzBLOB(f *testing.F) {
	root := newAuthority()
	f.Add(newBLOB(newAuthority()).bytes())
	f.Fuzz(func(t *testing.T, doc []byte) {
		if new(Metadata).ReadBLOB(doc, root.cert, time.Now()) == nil {
			t.Error("a forged BLOB is taken")
		}
	})
}

func FuzzStatement(f *testing.F) {
	for _, file := range []string{"biometric", "biometric-with-client-pin", "passcode"} {
		f.Add(must(os.ReadFile(fmt.Sprintf("testdata/statements/%s.json", file))))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		var m Metadata
		if m.ReadStatements(fstest.MapFS{"a.json": {Data: doc}}) != nil {
			return
		}
		for id := range m.entries {
			if model, ok := m.Model(AAGUID(id)); !ok || model.Method == "" || model.Method == passkey.Software {
				t.Errorf("%+v", model)
			}
		}
	})
}
