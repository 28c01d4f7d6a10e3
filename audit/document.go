package audit

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// maxDocument bounds a signed document in bytes.
const maxDocument = 16 << 20

// A Document is signed JSON, such as a certificate of destruction, in a DSSE
// envelope: what is signed is the payload's bytes together with its type, so
// that a document of one type can never pass for one of another.
type Document struct {
	Type    string // "application/vnd.ankan.destruction+json"
	KeyName string // a hint, not signed
	Payload []byte
	sig     []byte
}

// envelope is the DSSE JSON envelope, in the order that it is written.
type envelope struct {
	Type       string      `json:"payloadType"`
	Payload    []byte      `json:"payload"`
	Signatures []signature `json:"signatures"`
}

type signature struct {
	KeyID string `json:"keyid"`
	Sig   []byte `json:"sig"`
}

// SignDocument signs payload, which must be JSON, under an Ed25519 or an ECDSA
// P-256 key, and returns the envelope.
func SignDocument(payloadType string, payload []byte, keyName string, key crypto.Signer) ([]byte, error) {
	if payloadType == "" || keyName == "" {
		return nil, fmt.Errorf("document needs a type and a key name, has %q and %q", payloadType, keyName)
	}
	if !json.Valid(payload) {
		return nil, fmt.Errorf("document of type %s is not JSON", payloadType)
	}
	msg := preAuth(payloadType, payload)
	opts := crypto.Hash(0)
	if _, ok := key.Public().(*ecdsa.PublicKey); ok {
		opts = crypto.SHA256
		sum := sha256.Sum256(msg)
		msg = sum[:]
	}
	sig, err := key.Sign(rand.Reader, msg, opts)
	if err != nil {
		return nil, fmt.Errorf("signing document with %s: %w", keyName, err)
	}
	d := Document{Type: payloadType, KeyName: keyName, Payload: payload, sig: sig}
	if err := d.verify(key.Public()); err != nil {
		return nil, fmt.Errorf("signing document with %s: %w", keyName, err)
	}
	return d.bytes()
}

// OpenDocument checks an envelope of the type payloadType against a key. It
// takes only what SignDocument writes, byte for byte.
func OpenDocument(data []byte, payloadType string, pub crypto.PublicKey) (Document, error) {
	d, err := ReadDocument(data)
	if err != nil {
		return Document{}, err
	}
	if d.Type != payloadType {
		return Document{}, fmt.Errorf("document is of type %q, want %q", d.Type, payloadType)
	}
	if err := d.verify(pub); err != nil {
		return Document{}, err
	}
	return d, nil
}

// ReadDocument takes an envelope apart without checking its signature: for
// finding out which type and key it claims, before OpenDocument.
func ReadDocument(data []byte) (Document, error) {
	if len(data) > maxDocument {
		return Document{}, fmt.Errorf("document has %d bytes, want at most %d", len(data), maxDocument)
	}
	var e envelope
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&e); err != nil {
		return Document{}, fmt.Errorf("document is not a DSSE envelope: %w", err)
	}
	if len(e.Signatures) != 1 {
		return Document{}, fmt.Errorf("document has %d signatures, want 1", len(e.Signatures))
	}
	s := e.Signatures[0]
	d := Document{Type: e.Type, KeyName: s.KeyID, Payload: e.Payload, sig: s.Sig}
	if d.Type == "" || d.KeyName == "" || !json.Valid(d.Payload) {
		return Document{}, fmt.Errorf("document needs a type, a key name and a payload in JSON")
	}
	again, err := d.bytes()
	if err != nil {
		return Document{}, err
	}
	if !bytes.Equal(again, data) {
		return Document{}, fmt.Errorf("document is not written canonically: byte %d differs", firstDifference(again, data))
	}
	return d, nil
}

// bytes writes the envelope: one line of JSON and a newline.
func (d Document) bytes() ([]byte, error) {
	var b []byte
	var err error
	if b, err = appendString(append(b, `{"payloadType":`...), d.Type); err != nil {
		return nil, fmt.Errorf("document type: %w", err)
	}
	b = append(b, `,"payload":"`...)
	b = base64.StdEncoding.AppendEncode(b, d.Payload)
	if b, err = appendString(append(b, `","signatures":[{"keyid":`...), d.KeyName); err != nil {
		return nil, fmt.Errorf("document key name: %w", err)
	}
	b = append(b, `,"sig":"`...)
	b = base64.StdEncoding.AppendEncode(b, d.sig)
	return append(b, "\"}]}\n"...), nil
}

func (d Document) verify(pub crypto.PublicKey) error {
	msg := preAuth(d.Type, d.Payload)
	ok := false
	switch pub := pub.(type) {
	case ed25519.PublicKey:
		ok = len(pub) == ed25519.PublicKeySize && ed25519.Verify(pub, msg, d.sig)
	case *ecdsa.PublicKey:
		if pub.Curve != elliptic.P256() {
			return fmt.Errorf("document key is on %s, want P-256", pub.Curve.Params().Name)
		}
		sum := sha256.Sum256(msg)
		ok = ecdsa.VerifyASN1(pub, sum[:], d.sig)
	default:
		return fmt.Errorf("document key is %T, want Ed25519 or ECDSA P-256", pub)
	}
	if !ok {
		return fmt.Errorf("document: %w: the signature of %q does not fit", Forged, d.KeyName)
	}
	return nil
}

// preAuth is DSSE's PAE: what a document's key signs.
func preAuth(payloadType string, payload []byte) []byte {
	b := fmt.Appendf(nil, "DSSEv1 %d %s %d ", len(payloadType), payloadType, len(payload))
	return append(b, payload...)
}
