package simos

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"

	"ankan/uicc"
)

// An Image is an operating system release as a vendor ships it. On the software
// chip, Body is carried, signed and hashed but not run: what runs is this
// package.
type Image struct {
	Name       string   // 1..32 bytes of printable ASCII
	Version    string   // likewise
	Algorithms []string // authentication algorithms that it offers: "MILENAGE", "TUAK", "XOR"
	Body       []byte
}

// maxImage is the longest signed image that a chip takes, in bytes.
const maxImage = 48 << 10

// signedPrefix keeps a signature over an image from being one over anything else.
const signedPrefix = "ankan os image 1\n"

// Errors of images.
var (
	ErrImage     = errors.New("wrong OS image")
	ErrSignature = errors.New("the OS image's signature is not the vendor's")
)

// The tags of an encoded image: E1 holds 80 name, 81 version, 82 for each
// algorithm, 83 body. 9E behind it is the signature.
const (
	tagImage          uicc.Tag = 0xE1
	tagImageName      uicc.Tag = 0x80
	tagImageVersion   uicc.Tag = 0x81
	tagImageAlgorithm uicc.Tag = 0x82
	tagImageBody      uicc.Tag = 0x83
	tagSignature      uicc.Tag = 0x9E
)

func (i Image) check() error {
	for _, s := range append([]string{i.Name, i.Version}, i.Algorithms...) {
		if len(s) == 0 || len(s) > 32 || !printable(s) {
			return fmt.Errorf("%w: name, version and algorithms want 1..32 printable characters, found %q", ErrImage, s)
		}
	}
	if len(i.Body)+len(i.Algorithms)*34+160 > maxImage {
		return fmt.Errorf("%w: body of %d bytes, want at most about %d", ErrImage, len(i.Body), maxImage)
	}
	return nil
}

func printable(s string) bool {
	for _, r := range []byte(s) {
		if r < 0x20 || r > 0x7E {
			return false
		}
	}
	return true
}

// Encode is the image without a signature. An Image that OpenImage returned
// encodes to the bytes that it came from.
func (i Image) Encode() ([]byte, error) {
	if err := i.check(); err != nil {
		return nil, err
	}
	b := uicc.AppendTLV(nil, tagImageName, []byte(i.Name)...)
	b = uicc.AppendTLV(b, tagImageVersion, []byte(i.Version)...)
	for _, a := range i.Algorithms {
		b = uicc.AppendTLV(b, tagImageAlgorithm, []byte(a)...)
	}
	b = uicc.AppendTLV(b, tagImageBody, i.Body...)
	return uicc.AppendTLV(nil, tagImage, b...), nil
}

// Digest is the SHA-256 of Encode: what the chip tells under DF21. It is the
// same whoever signed the image. An image that does not encode has none.
func (i Image) Digest() ([32]byte, error) {
	b, err := i.Encode()
	return sha256.Sum256(b), err
}

// Sign encodes and signs the image with the vendor's Ed25519 key.
func (i Image) Sign(vendor crypto.Signer) ([]byte, error) {
	if _, ok := vendor.Public().(ed25519.PublicKey); !ok {
		return nil, fmt.Errorf("%w: signer has a %T, want Ed25519", ErrImage, vendor.Public())
	}
	b, err := i.Encode()
	if err != nil {
		return nil, err
	}
	signature, err := vendor.Sign(nil, append([]byte(signedPrefix), b...), crypto.Hash(0))
	if err != nil {
		return nil, fmt.Errorf("signing OS image %s: %w", i.Name, err)
	}
	return uicc.AppendTLV(b, tagSignature, signature...), nil
}

// OpenImage checks the vendor's signature and reads the image. ErrSignature or
// ErrImage.
func OpenImage(signed []byte, vendor ed25519.PublicKey) (Image, error) {
	i, _, err := openImage(signed, vendor)
	return i, err
}

// openImage also returns the text that was signed, whose SHA-256 is the Digest.
func openImage(signed []byte, vendor ed25519.PublicKey) (i Image, text []byte, err error) {
	body, rest, err := uicc.ReadTLV(signed)
	if err != nil || body.Tag != tagImage {
		return i, nil, fmt.Errorf("%w: no image", ErrImage)
	}
	signature, rest, err := uicc.ReadTLV(rest)
	if err != nil || signature.Tag != tagSignature || len(rest) > 0 || len(signed) > maxImage {
		return i, nil, fmt.Errorf("%w: no signature, or more than one image", ErrImage)
	}
	text = signed[:len(signed)-len(signature.Value)-2]
	if len(vendor) != ed25519.PublicKeySize || !ed25519.Verify(vendor, append([]byte(signedPrefix), text...), signature.Value) {
		return i, nil, ErrSignature
	}
	i, err = parseImage(text)
	return i, text, err
}

func parseImage(text []byte) (Image, error) {
	outer, _, err := uicc.ReadTLV(text)
	if err != nil {
		return Image{}, fmt.Errorf("%w: %w", ErrImage, err)
	}
	var i Image
	for t, err := range uicc.TLVs(outer.Value) {
		if err != nil {
			return Image{}, fmt.Errorf("%w: %w", ErrImage, err)
		}
		switch t.Tag {
		case tagImageName:
			i.Name = string(t.Value)
		case tagImageVersion:
			i.Version = string(t.Value)
		case tagImageAlgorithm:
			i.Algorithms = append(i.Algorithms, string(t.Value))
		case tagImageBody:
			i.Body = t.Value
		}
	}
	// Unknown, repeated or misplaced objects do not come back.
	if again, err := i.Encode(); err != nil || !bytes.Equal(again, text) {
		return Image{}, fmt.Errorf("%w: not in its one form", ErrImage)
	}
	return i, nil
}
