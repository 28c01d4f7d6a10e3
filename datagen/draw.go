package datagen

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"

	"ankan/hsm"
)

// A drbg is the random stream of one block: AES-256 in counter mode (the core
// of SP 800-90A's CTR_DRBG) under a key that mixes the security module's
// random bytes, the operating system's and the block's own name. A module or a
// restored snapshot that repeats itself therefore still gives other keys.
type drbg struct {
	stream cipher.Stream
	buf    [4096]byte
	left   []byte
}

func newDRBG(t hsm.Token, name []byte) (*drbg, error) {
	var seed [64]byte
	defer clear(seed[:])
	if err := t.Random(seed[:32]); err != nil {
		return nil, fmt.Errorf("random from the security module: %w", err)
	}
	rand.Read(seed[32:])
	key, err := hkdf.Key(sha256.New, seed[:], nil, "ankan/drbg/v1\x00"+string(name), 48)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key[:32])
	if err != nil {
		return nil, err
	}
	return &drbg{stream: cipher.NewCTR(block, key[32:])}, nil
}

func (d *drbg) fill(p []byte) {
	for len(p) > 0 {
		d.refill()
		n := copy(p, d.left)
		clear(d.left[:n])
		p, d.left = p[n:], d.left[n:]
	}
}

// refill sees to it that something is left.
func (d *drbg) refill() {
	if len(d.left) == 0 {
		clear(d.buf[:])
		d.stream.XORKeyStream(d.buf[:], d.buf[:])
		d.left = d.buf[:]
	}
}

// digits fills p with decimal digits in ASCII, each as likely as the others:
// eight at a time out of 64 bits, of which those above the greatest multiple of
// 10^8 are drawn again.
func (d *drbg) digits(p []byte) {
	const eight = 100_000_000
	var word [8]byte
	defer clear(word[:])
	for len(p) > 0 {
		d.fill(word[:])
		v := binary.LittleEndian.Uint64(word[:])
		if v >= math.MaxUint64/eight*eight {
			continue
		}
		v %= eight
		n := min(len(p), 8)
		for i := range n {
			p[i] = '0' + byte(v%10)
			v /= 10
		}
		p = p[n:]
	}
}

// Close wipes what is left of the stream.
func (d *drbg) Close() {
	clear(d.buf[:])
	d.left = nil
}
