package scp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// PacketOptions say which keys of secured packets these are.
type PacketOptions struct {
	KIC, KID KeyRef // as the packet's header names them
	CC       int    // bytes of an AES checksum, 4 or 8; 0 means 8
	DES      bool   // take keys of triple DES, which is old: refused otherwise
}

// PacketKeys are the keys of secured packets (SCP80): KIC ciphers, KID makes
// checksums. They cannot be printed, marshalled or compared. The zero value
// refuses. Many goroutines may use them.
type PacketKeys struct {
	unprintable
	secret hidden[packetKeys]
}

// packetKeys holds ciphers, no key bytes.
type packetKeys struct {
	kic, kid KeyRef
	cipher   cipher.Block // nil: packets are not ciphered
	mac      cipher.Block // nil: packets have no checksum
	cc       int
	closed   bool
}

// NewPacketKeys takes the keys KIC and KID, whose algorithms the options name.
// A key of no bytes is none: what needs it is refused. AES keys have 16, 24 or
// 32 bytes, those of triple DES 16 or 24.
func NewPacketKeys(kic, kid []byte, o PacketOptions) (PacketKeys, error) {
	k := &packetKeys{kic: o.KIC, kid: o.KID, cc: o.CC}
	var err error
	if len(kic) > 0 {
		if k.cipher, err = packetCipher(kic, o.KIC, o.DES); err != nil {
			return PacketKeys{}, fmt.Errorf("scp: KIC: %w", err)
		}
	}
	if len(kid) > 0 {
		if k.mac, err = packetCipher(kid, o.KID, o.DES); err != nil {
			return PacketKeys{}, fmt.Errorf("scp: KID: %w", err)
		}
	}
	if k.cc == 0 {
		k.cc = 8
	}
	if k.cc != 8 && (k.cc != 4 || k.mac == nil || k.mac.BlockSize() != aes.BlockSize) {
		return PacketKeys{}, fmt.Errorf("scp: checksum of %d bytes, want 8, or 4 with AES", o.CC)
	}
	return PacketKeys{secret: hide(k)}, nil
}

func packetCipher(key []byte, ref KeyRef, old bool) (cipher.Block, error) {
	switch ref & refAlgorithm {
	case RefAES:
		b, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("AES key has %d bytes, want 16, 24 or 32", len(key))
		}
		return b, nil
	case RefDES2, RefDES3:
		if !old {
			return nil, fmt.Errorf("%02X is triple DES: %w", byte(ref), ErrOld)
		}
		if want := 16 + 8*int(ref&refAlgorithm-RefDES2)/4; len(key) != want {
			return nil, fmt.Errorf("triple DES key has %d bytes, want %d for %02X", len(key), want, byte(ref))
		}
		return tripleDES(key)
	}
	return nil, fmt.Errorf("%02X names no algorithm that we have, want x2 (AES), x5 or x9 (triple DES)", byte(ref))
}

// tripleDES takes 16 bytes, whose first key comes again as the third, or 24.
// Keys of one part that are equal make it single DES, which is refused.
func tripleDES(key []byte) (cipher.Block, error) {
	var full [24]byte
	defer clear(full[:])
	n := copy(full[:], key)
	if n == 16 {
		copy(full[16:], key)
	}
	if n != 16 && n != 24 || n != len(key) {
		return nil, fmt.Errorf("triple DES key has %d bytes, want 16 or 24", len(key))
	}
	if equal(full[:8], full[8:16]) || equal(full[8:16], full[16:]) {
		return nil, fmt.Errorf("triple DES key has equal parts: it is no more than single DES")
	}
	return des.NewTripleDESCipher(full[:])
}

// Close drops the keys. Every copy refuses from then on. It is not called
// while another goroutine uses them.
func (k PacketKeys) Close() {
	if p := k.secret.get(); p != nil {
		*p = packetKeys{closed: true}
	}
}

func (k PacketKeys) keys() (*packetKeys, error) {
	p := k.secret.get()
	if p == nil || p.closed {
		return nil, ErrClosed
	}
	return p, nil
}

func (k *packetKeys) encrypt(p []byte) {
	cipher.NewCBCEncrypter(k.cipher, make([]byte, k.cipher.BlockSize())).CryptBlocks(p, p)
}

func (k *packetKeys) decrypt(p []byte) {
	cipher.NewCBCDecrypter(k.cipher, make([]byte, k.cipher.BlockSize())).CryptBlocks(p, p)
}

// checkLen is the length of the check value that the SPI asks for.
func (k *packetKeys) checkLen(check SPI) (int, error) {
	switch {
	case check == 0:
		return 0, nil
	case check == SPICC && k.mac != nil:
		return k.cc, nil
	case check == SPIRC && k.kid&refAlgorithm == RefCRC16:
		return 2, nil
	case check == SPIRC && k.kid&refAlgorithm == RefCRC32:
		return 4, nil
	case check == SPIRC:
		return 0, fmt.Errorf("KID %02X names no CRC, want x1 or x5: %w", byte(k.kid), ErrPacket)
	}
	return 0, fmt.Errorf("no key for the checksum: %w", ErrPacket)
}

// check is the check value of a packet without it, from its length on (TS 102
// 225, 5.1.3). The padding of a DES checksum is not sent.
func (k *packetKeys) check(s shape, b []byte) []byte {
	if s.check == 0 {
		return nil
	}
	if s.answer {
		b = append([]byte(answerUDH), b...)
	}
	switch n, _ := k.checkLen(s.check); {
	case n == 2 && s.check == SPIRC:
		return binary.BigEndian.AppendUint16(nil, crc16(b))
	case s.check == SPIRC:
		return binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(b))
	case k.mac.BlockSize() == aes.BlockSize:
		sum := SumCMAC(k.mac, b)
		return sum[:n]
	}
	padded := make([]byte, (len(b)+7)/8*8)
	copy(padded, b)
	cipher.NewCBCEncrypter(k.mac, make([]byte, 8)).CryptBlocks(padded, padded)
	return padded[len(padded)-8:]
}

// crc16 is the CRC of ISO/IEC 13239, sixteen bits (TS 102 225, 5.1.3.2).
func crc16(b []byte) uint16 {
	c := uint16(0xFFFF)
	for _, x := range b {
		c ^= uint16(x)
		for range 8 {
			c = c>>1 ^ 0x8408*(c&1)
		}
	}
	return ^c
}
