package hsm

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"ankan/scp"
)

// A MACFunc is AES-CMAC (NIST SP 800-38B) of a message under a key that may
// stay in a module.
type MACFunc func(message []byte) ([16]byte, error)

// A key block of version D (ANSI X9.143; TR-31:2018) is text: a header of 16
// characters, optional blocks, the enciphered payload in hex, a MAC of 32
// hexadecimal digits. The header's characters are
//
//	0      version, "D"
//	1-4    length of the block, decimal
//	5-6    usage
//	7      algorithm of the key in it: "A" for AES, "T" for triple DES
//	8      mode of use
//	9-10   version of the key, "00" for none
//	11     exportability
//	12-13  number of optional blocks, decimal
//	14     context: "0" any, "2" exchange
//	15     reserved, "0"
//
// The payload is the key's length in bits (2 bytes), the key and random
// padding. It is authenticated in clear, with all that stands before it, and
// enciphered by AES-CBC with the MAC as initial value.
const (
	blockHeaderLen = 16
	blockMACLen    = 2 * aes.BlockSize
	maxBlockLen    = 9999
)

// blockUse is how the header describes a key for a purpose, and the modes that
// are taken. Usage 10 is proprietary: X9.143 has none for OP. N is "no
// restriction", which makers write for keys of both directions.
func blockUse(p Purpose) (usage string, mode byte, modes string, err error) {
	switch p {
	case Transport:
		return "D0", 'B', "BN", nil
	case Exchange:
		return "K0", 'B', "BN", nil
	case Operator:
		return "10", 'E', "EBN", nil
	}
	return "", 0, "", fmt.Errorf("%w: a key block has no usage for %q", ErrPurpose, p)
}

// blockLetter names an algorithm as the header does.
func blockLetter(a Algorithm) byte {
	if a.CheckMethod() == ECBZeros {
		return 'T'
	}
	return 'A'
}

// WrapTR31 wraps a key for p under the key behind mac, which is of algorithm
// kbpk. The block says that the key may not be exported again.
func WrapTR31(mac MACFunc, kbpk Algorithm, p Purpose, a Algorithm, key []byte) ([]byte, error) {
	usage, mode, _, err := blockUse(p)
	if err != nil {
		return nil, err
	}
	if err := checkLen(key, a); err != nil {
		return nil, err
	}
	if err := CheckStrength(a, kbpk.Strength()); err != nil {
		return nil, err
	}
	payload := make([]byte, (2+len(key)+aes.BlockSize-1)/aes.BlockSize*aes.BlockSize)
	defer clear(payload)
	binary.BigEndian.PutUint16(payload, uint16(8*len(key)))
	rand.Read(payload[2+copy(payload[2:], key):])
	head := fmt.Sprintf("D%04d%s%c%c00N0000", blockHeaderLen+2*len(payload)+blockMACLen, usage, blockLetter(a), mode)
	enc, auth, err := blockKeys(mac, kbpk)
	if err != nil {
		return nil, err
	}
	sum := blockSum(auth, head, payload)
	sealed := make([]byte, len(payload))
	cipher.NewCBCEncrypter(enc, sum[:]).CryptBlocks(sealed, payload)
	return fmt.Appendf(nil, "%s%X%X", head, sealed, sum), nil
}

// UnwrapTR31 opens a key block that holds a key for p of algorithm a, wrapped
// under the key behind mac, which is of algorithm kbpk. ErrSealed if it does
// not open, ErrPurpose if the block says that the key is for something else,
// ErrAlgorithm if it is another kind of key. The caller wipes the result.
func UnwrapTR31(mac MACFunc, kbpk Algorithm, block []byte, p Purpose, a Algorithm) ([]byte, error) {
	usage, _, modes, err := blockUse(p)
	if err != nil {
		return nil, err
	}
	if err := CheckStrength(a, kbpk.Strength()); err != nil {
		return nil, err
	}
	h, key, err := openBlock(mac, kbpk, string(block))
	if err != nil {
		return nil, err
	}
	switch {
	case h.usage != usage || !strings.ContainsRune(modes, rune(h.mode)):
		err = fmt.Errorf("%w: key block has usage %s and mode %c, want %s and one of %s", ErrPurpose, h.usage, h.mode, usage, modes)
	case h.algorithm != blockLetter(a):
		err = fmt.Errorf("%w: key block has algorithm %c, want %c for %s", ErrAlgorithm, h.algorithm, blockLetter(a), a)
	default:
		err = checkLen(key, a)
	}
	if err != nil {
		clear(key)
		return nil, err
	}
	return key, nil
}

// blockHead is what a key block says of its key.
type blockHead struct {
	usage           string
	algorithm, mode byte
	size            int // of header and optional blocks, in characters
}

// openBlock opens a key block with a key of any kind. What the header says is
// true once it opened.
func openBlock(mac MACFunc, kbpk Algorithm, block string) (blockHead, []byte, error) {
	h, err := parseBlock(block)
	if err != nil {
		return h, nil, fmt.Errorf("key block: %w: %w", ErrSealed, err)
	}
	sealed, err := upperHex(block[h.size:])
	if err != nil {
		return h, nil, fmt.Errorf("key block: %w: %w", ErrSealed, err)
	}
	sum := sealed[len(sealed)-aes.BlockSize:]
	payload := sealed[:len(sealed)-aes.BlockSize]
	enc, auth, err := blockKeys(mac, kbpk)
	if err != nil {
		return h, nil, err
	}
	cipher.NewCBCDecrypter(enc, sum).CryptBlocks(payload, payload)
	defer clear(payload)
	want := blockSum(auth, block[:h.size], payload)
	bits := int(binary.BigEndian.Uint16(payload))
	if subtle.ConstantTimeCompare(sum, want[:]) != 1 || bits == 0 || bits%8 != 0 || bits/8 > len(payload)-2 {
		return h, nil, fmt.Errorf("key block: %w", ErrSealed)
	}
	return h, append([]byte(nil), payload[2:2+bits/8]...), nil
}

// parseBlock reads the header and steps over the optional blocks.
func parseBlock(block string) (h blockHead, err error) {
	if len(block) < blockHeaderLen+2*aes.BlockSize+blockMACLen || len(block) > maxBlockLen {
		return h, fmt.Errorf("it has %d characters, want 80..%d", len(block), maxBlockLen)
	}
	if block[0] != 'D' {
		return h, fmt.Errorf("it has version %q, want D", block[0])
	}
	if want := fmt.Sprintf("%04d", len(block)); block[1:5] != want {
		return h, fmt.Errorf("its header says %q characters, it has %s", block[1:5], want)
	}
	if c := block[14]; c != '0' && c != '2' || block[15] != '0' {
		return h, fmt.Errorf("its header ends in %q, want 00 or 20", block[14:16])
	}
	count, err := strconv.ParseUint(block[12:14], 10, 8)
	if err != nil {
		return h, fmt.Errorf("its header says %q optional blocks", block[12:14])
	}
	h = blockHead{usage: block[5:7], algorithm: block[7], mode: block[8], size: blockHeaderLen}
	for range count {
		n, err := optionalLen(block[h.size : len(block)-blockMACLen])
		if err != nil {
			return h, err
		}
		h.size += n
	}
	if h.size%aes.BlockSize != 0 {
		return h, fmt.Errorf("its optional blocks end at %d, want a multiple of 16", h.size)
	}
	if n := len(block) - blockMACLen - h.size; n < 2*aes.BlockSize || n%(2*aes.BlockSize) != 0 {
		return h, fmt.Errorf("its payload has %d digits, want a multiple of 32", n)
	}
	return h, nil
}

// optionalLen is the length of the optional block at the beginning of s: two
// letters or digits that name it, and its whole length in two hexadecimal
// digits; or 00, then in two the number of digits of a longer length.
func optionalLen(s string) (int, error) {
	if len(s) < 4 {
		return 0, fmt.Errorf("an optional block is cut off")
	}
	for _, c := range []byte(s[:2]) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return 0, fmt.Errorf("an optional block is called %q", s[:2])
		}
	}
	head, digits := 4, s[2:4]
	if digits == "00" {
		if len(s) < 6 {
			return 0, fmt.Errorf("optional block %s is cut off", s[:2])
		}
		n, err := upperHex(s[4:6])
		if err != nil || n[0] == 0 || len(s) < 6+int(n[0]) {
			return 0, fmt.Errorf("optional block %s has a length of %q digits", s[:2], s[4:6])
		}
		head += 2 + int(n[0])
		digits = s[6:head]
	}
	b, err := upperHex(digits)
	if err != nil {
		return 0, fmt.Errorf("optional block %s: %w", s[:2], err)
	}
	n := 0
	for _, c := range b {
		if n = n<<8 | int(c); n > maxBlockLen {
			break
		}
	}
	if n < head || n > len(s) {
		return 0, fmt.Errorf("optional block %s has %d characters, want %d..%d", s[:2], n, head, len(s))
	}
	return n, nil
}

func upperHex(s string) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil || strings.ContainsAny(s, "abcdef") {
		return nil, fmt.Errorf("there are other characters than 0-9 and A-F where hex stands")
	}
	return b, nil
}

// blockKeys derives the keys that encipher and authenticate, as long as the
// key behind mac (TR-31:2018, 5.3.2.3): CMAC of a counter from 1 (1 byte), the
// use (2 bytes: 0000, 0001), 00, the algorithm (2 bytes: 0002 of AES-128, 0004
// of AES-256) and the length in bits (2 bytes).
func blockKeys(mac MACFunc, kbpk Algorithm) (enc, auth cipher.Block, err error) {
	algorithm := byte(2)
	if kbpk == AES256 {
		algorithm = 4
	} else if kbpk != AES128 {
		return nil, nil, fmt.Errorf("%w: key blocks under %q, want %s or %s", ErrAlgorithm, kbpk, AES128, AES256)
	}
	var blocks [2]cipher.Block
	key := make([]byte, kbpk.KeyLen())
	defer clear(key)
	for use := range blocks {
		for i := 0; i < len(key); i += aes.BlockSize {
			bits := 8 * len(key)
			sum, err := mac([]byte{byte(i/aes.BlockSize + 1), 0, byte(use), 0, 0, algorithm, byte(bits >> 8), byte(bits)})
			if err != nil {
				return nil, nil, err
			}
			copy(key[i:], sum[:])
			clear(sum[:])
		}
		if blocks[use], err = aes.NewCipher(key); err != nil {
			return nil, nil, err
		}
	}
	return blocks[0], blocks[1], nil
}

func blockSum(auth cipher.Block, head string, payload []byte) [16]byte {
	message := append(make([]byte, 0, len(head)+len(payload)), head...)
	message = append(message, payload...)
	defer clear(message)
	return scp.SumCMAC(auth, message)
}
