package scp

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
)

// A cmac computes AES-CMAC (NIST SP 800-38B, RFC 4493) over data that comes in
// pieces. It does not allocate.
type cmac struct {
	block  cipher.Block
	k1, k2 [16]byte
	x      [16]byte // chaining value with the current block already xored in
	n      int      // bytes of the current block
}

func (c *cmac) init(b cipher.Block) {
	c.block = b
	b.Encrypt(c.k1[:], c.k1[:])
	double(&c.k1, &c.k1)
	double(&c.k2, &c.k1)
}

// double multiplies by x in GF(2^128), without a branch on the secret.
func double(dst, src *[16]byte) {
	hi, lo := binary.BigEndian.Uint64(src[:8]), binary.BigEndian.Uint64(src[8:])
	carry := hi >> 63
	binary.BigEndian.PutUint64(dst[:8], hi<<1|lo>>63)
	binary.BigEndian.PutUint64(dst[8:], lo<<1^0x87*carry)
}

func (c *cmac) reset() {
	c.x = [16]byte{}
	c.n = 0
}

func (c *cmac) write(p []byte) {
	for len(p) > 0 {
		// A full block waits for more data: the last one is treated apart.
		if c.n == 16 {
			c.block.Encrypt(c.x[:], c.x[:])
			c.n = 0
		}
		k := subtle.XORBytes(c.x[c.n:], c.x[c.n:], p)
		c.n += k
		p = p[k:]
	}
}

// sum ends the computation; the MAC is c.x until the next reset.
func (c *cmac) sum() *[16]byte {
	if c.n == 16 {
		subtle.XORBytes(c.x[:], c.x[:], c.k1[:])
	} else {
		c.x[c.n] ^= 0x80
		subtle.XORBytes(c.x[:], c.x[:], c.k2[:])
	}
	c.block.Encrypt(c.x[:], c.x[:])
	return &c.x
}

// SumCMAC is the AES-CMAC of the message (NIST SP 800-38B). It panics if b is not
// a cipher of 16-byte blocks.
func SumCMAC(b cipher.Block, message []byte) [16]byte {
	c := new(cmac)
	if b.BlockSize() != len(c.x) {
		panic(fmt.Sprintf("scp: CMAC over blocks of %d bytes, want 16", b.BlockSize()))
	}
	c.init(b)
	c.write(message)
	return *c.sum()
}

// KDF derives n bytes with AES-CMAC in counter mode (NIST SP 800-108, 4.1) in
// the field order of Amendment D, 4.1.5: label, 00, length in bits (2 bytes),
// counter from 1 (1 byte), context. It panics if n is outside 1..4080.
func KDF(b cipher.Block, label, context []byte, n int) []byte {
	input, counter := kdfInput(label, context, n)
	c := new(cmac)
	c.init(b)
	out := make([]byte, 0, (n+15)/16*16)
	for len(out) < n {
		*counter++
		c.reset()
		c.write(input)
		out = append(out, c.sum()[:]...)
	}
	clear(out[n:])
	return out[:n]
}

// KDFBy is KDF where the key is in a security module: mac gives the AES-CMAC
// of a message, 16 bytes, under it. Its error is mac's.
func KDFBy(mac func(message []byte) ([]byte, error), label, context []byte, n int) ([]byte, error) {
	input, counter := kdfInput(label, context, n)
	out := make([]byte, 0, (n+15)/16*16)
	for len(out) < n {
		*counter++
		sum, err := mac(input)
		if err == nil && len(sum) != 16 {
			err = fmt.Errorf("CMAC has %d bytes, want 16", len(sum))
		}
		if err != nil {
			clear(out)
			return nil, err
		}
		out = append(out, sum...)
		clear(sum)
	}
	clear(out[n:])
	return out[:n], nil
}

// kdfInput is what KDF authenticates, with the place of its counter.
func kdfInput(label, context []byte, n int) (input []byte, counter *byte) {
	if n < 1 || n > 255*16 {
		panic(fmt.Sprintf("scp: KDF of %d bytes, want 1..4080", n))
	}
	input = make([]byte, 0, len(label)+4+len(context))
	input = append(input, label...)
	input = append(input, 0)
	input = binary.BigEndian.AppendUint16(input, uint16(8*n))
	input = append(input, 0)
	input = append(input, context...)
	return input, &input[len(label)+3]
}
