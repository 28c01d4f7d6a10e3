package scp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// An SPI is the security parameter indication of a command packet: how the
// packet is protected, and which proof of receipt the sender wants (TS 102
// 225, 5.1.1). The first octet is the high byte.
type SPI uint16

// The parts of an SPI. What takes two bits is compared under its mask.
const (
	SPIRC         SPI = 0x0100 // redundancy check
	SPICC         SPI = 0x0200 // cryptographic checksum
	SPICipher     SPI = 0x0400 // ciphered
	SPICounter    SPI = 0x0800 // a counter is there, and is not checked
	SPIHigher     SPI = 0x1000 // done only if the counter is higher than the card's
	SPIOneHigher  SPI = 0x1800 // done only if the counter is one higher than the card's
	SPIPoR        SPI = 0x0001 // proof of receipt is wanted
	SPIPoRError   SPI = 0x0002 // proof of receipt is wanted after an error only
	SPIPoRRC      SPI = 0x0004 // proof of receipt with redundancy check
	SPIPoRCC      SPI = 0x0008 // proof of receipt with cryptographic checksum
	SPIPoRCipher  SPI = 0x0010 // proof of receipt ciphered
	SPIPoRSubmit  SPI = 0x0020 // proof of receipt by SMS-SUBMIT, not by SMS-DELIVER-REPORT (TS 31.115, 4.2)
	spiCheck      SPI = 0x0300
	spiCounters   SPI = 0x1800
	spiPoR        SPI = 0x0003
	spiPoRCheck   SPI = 0x000C
	spiReserved   SPI = 0xE0C0
	spiCheckOther SPI = 0x0300 // digital signatures, which nobody specified
	spiPoROther   SPI = 0x000C
)

// valid refuses what the specification reserves or leaves to others.
func (s SPI) valid() error {
	switch {
	case s&spiCheck == spiCheckOther, s&spiPoRCheck == spiPoROther:
		return fmt.Errorf("SPI %04X asks for a digital signature: %w", uint16(s), ErrPacket)
	case s&spiPoR == spiPoR:
		return fmt.Errorf("SPI %04X has a reserved proof of receipt: %w", uint16(s), ErrPacket)
	}
	return nil
}

// Answers says whether the sender wants a proof of receipt with this status.
func (s SPI) Answers(status PacketStatus) bool {
	return s&spiPoR == SPIPoR || s&spiPoR == SPIPoRError && status != PacketOK
}

// Counts says whether the card checks the counter, and keeps it after a packet
// that was good.
func (s SPI) Counts() bool { return s&SPIHigher != 0 }

// Meets says whether the protection is at least that of a minimum security
// level, which is coded as the first octet of an SPI (TS 102 226,
// 8.2.1.3.2.4): an equal or stronger check, an equal or stricter counter, and
// ciphering if the minimum has it.
func (s SPI) Meets(minimum byte) bool {
	m := SPI(minimum) << 8
	return s&spiCheck >= m&spiCheck && s&spiCounters >= m&spiCounters && s&SPICipher >= m&SPICipher
}

// A KeyRef is a KIC or KID: the version of the key set in the high half, the
// algorithm in the low one (TS 102 225, 5.1.2 and 5.1.3).
type KeyRef byte

// The algorithms of a KeyRef, and those of a KID under SPIRC.
const (
	RefAES  KeyRef = 0x02 // AES in CBC; for a KID, AES-CMAC
	RefDES2 KeyRef = 0x05 // triple DES of two keys in CBC
	RefDES3 KeyRef = 0x09 // triple DES of three keys in CBC

	RefCRC16 KeyRef = 0x01
	RefCRC32 KeyRef = 0x05

	refAlgorithm KeyRef = 0x0F
)

// Set is the version of the key set, 1..15.
func (r KeyRef) Set() int { return int(r >> 4) }

// A TAR is a toolkit application reference of three bytes: whom a packet is
// for (TS 101 220, annex D).
type TAR uint32

// Toolkit application references in common use. The standard gives ranges;
// which application has which, the card's profile says.
const (
	TARISD  TAR = 0x000000 // issuer security domain: remote application management
	TARUICC TAR = 0xB00000 // remote file management of the shared file system
	TARSIM  TAR = 0xB00010 // remote file management of DF GSM
	TARUSIM TAR = 0xB00011 // remote file management of the first USIM
)

// A PacketStatus is the response status code of a proof of receipt (TS 102
// 225, 5.2; TS 31.115, 7). As an error it says why a card refused a packet.
type PacketStatus byte

// The status codes.
const (
	PacketOK             PacketStatus = 0x00
	PacketCheckFailed    PacketStatus = 0x01 // RC or CC is wrong
	PacketCounterLow     PacketStatus = 0x02
	PacketCounterHigh    PacketStatus = 0x03
	PacketCounterBlocked PacketStatus = 0x04
	PacketCipherError    PacketStatus = 0x05
	PacketSecurityError  PacketStatus = 0x06 // unidentified security error
	PacketMemory         PacketStatus = 0x07
	PacketMoreTime       PacketStatus = 0x08
	PacketTARUnknown     PacketStatus = 0x09
	PacketLevel          PacketStatus = 0x0A // insufficient security level
	PacketBySubmit       PacketStatus = 0x0B // the data comes by SMS-SUBMIT
	PacketByUSSD         PacketStatus = 0x0C
)

// Error says the status in words.
func (s PacketStatus) Error() string {
	text := [...]string{
		"done", "check value is wrong", "counter is low: the packet was seen before", "counter is high",
		"counter is blocked", "ciphering error", "security error", "not enough memory", "more time is needed",
		"TAR is unknown", "security level is insufficient", "data comes by SMS-SUBMIT", "data comes by USSD",
	}
	if int(s) < len(text) {
		return fmt.Sprintf("packet status %02X: %s", byte(s), text[s])
	}
	return fmt.Sprintf("packet status %02X: unknown", byte(s))
}

// ErrPacket is wrapped by every error about a packet that is malformed or that
// the keys at hand cannot make.
var ErrPacket = errors.New("secured packet is not possible")

// A PacketHeader is what a command packet shows to everybody: the card chooses
// keys, application and minimum level by it.
type PacketHeader struct {
	SPI      SPI
	KIC, KID KeyRef
	TAR      TAR
}

// A Packet is a command packet in the clear.
type Packet struct {
	SPI     SPI
	TAR     TAR
	Counter uint64 // 5 bytes
	Data    []byte // for the application: a script of commands (TS 102 226)
}

// An Answer is a response packet in the clear.
type Answer struct {
	TAR     TAR
	Counter uint64 // that of the command packet
	Status  PacketStatus
	Data    []byte // additional response data
}

const (
	maxCounter = 1<<40 - 1
	cplLen     = 2              // CPL or RPL
	shownLen   = cplLen + 1 + 7 // CPL, CHL, SPI, KIC, KID, TAR
	hiddenLen  = 5 + 1          // CNTR, PCNTR
	answerLen  = cplLen + 1 + 3 // RPL, RHL, TAR
)

// answerUDH stands before a response packet in SMS-PP, and its check value
// covers it (TS 31.115, 4.4).
const answerUDH = "\x02\x71\x00"

// Seal builds a command packet as SMS-PP carries it, from CPL on, and appends
// it to dst (TS 102 225, 5.1; TS 31.115, 4.2). Errors wrap ErrPacket or
// ErrClosed.
func (k PacketKeys) Seal(dst []byte, p Packet) ([]byte, error) {
	keys, err := k.keys()
	if err != nil {
		return nil, fmt.Errorf("scp: command packet: %w", err)
	}
	if err := p.SPI.valid(); err != nil {
		return nil, fmt.Errorf("scp: command packet: %w", err)
	}
	switch {
	case p.SPI&spiReserved != 0:
		return nil, fmt.Errorf("scp: command packet: SPI %04X has reserved bits: %w", uint16(p.SPI), ErrPacket)
	case p.TAR > 0xFFFFFF:
		return nil, fmt.Errorf("scp: command packet: TAR %X has more than three bytes: %w", uint32(p.TAR), ErrPacket)
	case p.Counter > maxCounter:
		return nil, fmt.Errorf("scp: command packet: counter has more than five bytes: %w", ErrPacket)
	case p.SPI&spiCounters == 0 && p.Counter != 0:
		return nil, fmt.Errorf("scp: command packet: counter %d, and SPI %04X has none: %w", p.Counter, uint16(p.SPI), ErrPacket)
	}
	var shown [shownLen - cplLen - 1]byte
	binary.BigEndian.PutUint16(shown[:], uint16(p.SPI))
	shown[2], shown[3] = byte(keys.kic), byte(keys.kid)
	putTAR(shown[4:], p.TAR)
	dst, err = keys.seal(dst, shape{check: p.SPI & spiCheck, cipher: p.SPI&SPICipher != 0}, shown[:], p.Counter, nil, p.Data)
	if err != nil {
		return nil, fmt.Errorf("scp: command packet: %w", err)
	}
	return dst, nil
}

// ReadPacketHeader reads what a command packet shows. Errors wrap ErrPacket.
func ReadPacketHeader(b []byte) (PacketHeader, error) {
	if len(b) < shownLen || int(binary.BigEndian.Uint16(b)) != len(b)-cplLen {
		return PacketHeader{}, fmt.Errorf("scp: command packet: %d bytes, want CPL and what it says: %w", len(b), ErrPacket)
	}
	return PacketHeader{
		SPI: SPI(binary.BigEndian.Uint16(b[3:])),
		KIC: KeyRef(b[5]), KID: KeyRef(b[6]),
		TAR: readTAR(b[7:]),
	}, nil
}

// Open is the card's side: it deciphers a command packet, checks it, and
// compares its counter with last, the counter of the last packet that was
// good. If the SPI Counts, the card keeps the packet's counter before it does
// what the packet says. The card compares the SPI with the application's
// minimum level itself, with Meets.
//
// An error wraps the PacketStatus that the card answers, if the SPI wants an
// answer; what is returned with it is enough for SealAnswer. Data is valid
// only without an error, and is not part of b.
func (k PacketKeys) Open(b []byte, last uint64) (Packet, error) {
	h, err := ReadPacketHeader(b)
	if err != nil {
		return Packet{}, fmt.Errorf("%w: %w", err, PacketSecurityError)
	}
	p := Packet{SPI: h.SPI, TAR: h.TAR}
	fail := func(status PacketStatus, err error) (Packet, error) {
		p.Data = nil
		if err == nil {
			return p, fmt.Errorf("scp: command packet: %w", status)
		}
		return p, fmt.Errorf("scp: command packet: %w: %w", err, status)
	}
	keys, err := k.keys()
	if err == nil {
		err = h.SPI.valid()
	}
	if err == nil && (h.KIC != keys.kic || h.KID != keys.kid) {
		err = fmt.Errorf("KIC and KID are %02X and %02X, want %02X and %02X: %w", byte(h.KIC), byte(h.KID), byte(keys.kic), byte(keys.kid), ErrPacket)
	}
	if err != nil {
		return fail(PacketSecurityError, err)
	}
	counter, _, data, status, err := keys.open(b, shape{check: h.SPI & spiCheck, cipher: h.SPI&SPICipher != 0}, shownLen)
	p.Counter, p.Data = counter, data
	switch {
	case err != nil || status != PacketOK:
		return fail(status, err)
	case !h.SPI.Counts():
	case last >= maxCounter:
		return fail(PacketCounterBlocked, nil)
	case counter <= last:
		return fail(PacketCounterLow, nil)
	case h.SPI&spiCounters == SPIOneHigher && counter != last+1:
		return fail(PacketCounterHigh, nil)
	}
	return p, nil
}

// SealAnswer is the card's side: it builds the response packet to a command
// packet as SMS-PP carries it, from RPL on, and appends it to dst. It is
// protected as the command's SPI asks (TS 102 225, 5.2; TS 31.115, 4.4).
func (k PacketKeys) SealAnswer(dst []byte, to Packet, status PacketStatus, data []byte) ([]byte, error) {
	keys, err := k.keys()
	if err == nil {
		err = to.SPI.valid()
	}
	if err == nil && !to.SPI.Answers(status) {
		err = fmt.Errorf("SPI %04X wants no answer: %w", uint16(to.SPI), ErrPacket)
	}
	if err == nil {
		var shown [3]byte
		putTAR(shown[:], to.TAR)
		dst, err = keys.seal(dst, answerShape(to.SPI), shown[:], to.Counter, []byte{byte(status)}, data)
	}
	if err != nil {
		return nil, fmt.Errorf("scp: response packet: %w", err)
	}
	return dst, nil
}

// OpenAnswer deciphers and checks the response packet to the packet that was
// sent. A status other than PacketOK is an answer, not an error. Errors wrap
// ErrPacket, ErrClosed, or the PacketStatus for what is wrong with the answer.
// A card that could not decipher or check the packet did not know its counter:
// with status 01, 05 and 06 the counter is not compared.
func (k PacketKeys) OpenAnswer(b []byte, sent Packet) (Answer, error) {
	fail := func(err error) (Answer, error) { return Answer{}, fmt.Errorf("scp: response packet: %w", err) }
	if len(b) < answerLen || int(binary.BigEndian.Uint16(b)) != len(b)-cplLen {
		return fail(fmt.Errorf("%d bytes, want RPL and what it says: %w", len(b), ErrPacket))
	}
	keys, err := k.keys()
	if err == nil {
		err = sent.SPI.valid()
	}
	if err != nil {
		return fail(err)
	}
	counter, code, data, status, err := keys.open(b, answerShape(sent.SPI), answerLen)
	if err != nil {
		return fail(err)
	}
	if status != PacketOK {
		return fail(status)
	}
	a := Answer{TAR: readTAR(b[3:]), Counter: counter, Status: code, Data: data}
	unread := code == PacketCheckFailed || code == PacketCipherError || code == PacketSecurityError
	if a.TAR != sent.TAR || a.Counter != sent.Counter && !unread {
		return fail(fmt.Errorf("TAR %06X and counter %d, want %06X and %d: %w", uint32(a.TAR), a.Counter, uint32(sent.TAR), sent.Counter, ErrPacket))
	}
	return a, nil
}

// A shape says how a packet is protected, and which of the two kinds it is.
type shape struct {
	check  SPI // SPIRC, SPICC or nothing
	cipher bool
	answer bool
}

func answerShape(s SPI) shape {
	return shape{check: s & spiPoRCheck << 6, cipher: s&SPIPoRCipher != 0, answer: true}
}

// seal appends a packet. shown is its header after the two lengths, status the
// status code of a response packet.
func (k *packetKeys) seal(dst []byte, s shape, shown []byte, counter uint64, status, data []byte) ([]byte, error) {
	n, err := k.checkLen(s.check)
	if err != nil {
		return nil, err
	}
	padding := 0
	secret := hiddenLen + len(status) + n + len(data)
	if s.cipher {
		if k.cipher == nil {
			return nil, fmt.Errorf("no key to cipher with: %w", ErrPacket)
		}
		size := k.cipher.BlockSize()
		padding = (size - secret%size) % size
	}
	length := 1 + len(shown) + secret + padding
	if length > 0xFFFF {
		return nil, fmt.Errorf("%d bytes, at most 65535 fit: %w", length, ErrPacket)
	}
	start := len(dst)
	dst = slices.Grow(dst, cplLen+length)
	dst = binary.BigEndian.AppendUint16(dst, uint16(length))
	dst = append(dst, byte(len(shown)+hiddenLen+len(status)+n))
	dst = append(dst, shown...)
	body := len(dst)
	dst = append(dst, byte(counter>>32), byte(counter>>24), byte(counter>>16), byte(counter>>8), byte(counter), byte(padding))
	dst = append(dst, status...)
	at := len(dst)
	dst = append(dst, data...)
	dst = append(dst, make([]byte, padding)...)
	dst = slices.Insert(dst, at, k.check(s, dst[start:])...)
	if s.cipher {
		k.encrypt(dst[body:])
	}
	return dst, nil
}

// open deciphers and checks a packet whose first skip bytes are shown. It
// gives the status that a card would answer if something is wrong.
func (k *packetKeys) open(b []byte, s shape, skip int) (counter uint64, code PacketStatus, data []byte, status PacketStatus, err error) {
	n, err := k.checkLen(s.check)
	if err != nil {
		return 0, 0, nil, PacketSecurityError, err
	}
	b = slices.Clone(b)
	body := b[skip:]
	statusLen := 0
	if s.answer {
		statusLen = 1
	}
	head := hiddenLen + statusLen
	switch {
	case len(body) < head+n:
		return 0, 0, nil, PacketSecurityError, fmt.Errorf("%d bytes after the header, want %d: %w", len(body), head+n, ErrPacket)
	case int(b[cplLen]) != skip-cplLen-1+head+n:
		return 0, 0, nil, PacketSecurityError, fmt.Errorf("header of %d bytes, want %d: %w", b[cplLen], skip-cplLen-1+head+n, ErrPacket)
	}
	size := 1
	if s.cipher {
		if k.cipher == nil {
			return 0, 0, nil, PacketSecurityError, fmt.Errorf("no key to decipher with: %w", ErrPacket)
		}
		if size = k.cipher.BlockSize(); len(body)%size != 0 {
			return 0, 0, nil, PacketCipherError, fmt.Errorf("%d ciphered bytes, want a multiple of %d: %w", len(body), size, ErrPacket)
		}
		k.decrypt(body)
	}
	for _, c := range body[:5] {
		counter = counter<<8 | uint64(c)
	}
	padding := int(body[5])
	if s.answer {
		code = PacketStatus(body[6])
	}
	check := slices.Clone(body[head : head+n])
	b = slices.Delete(b, skip+head, skip+head+n)
	if !equal(check, k.check(s, b)) {
		return 0, 0, nil, PacketCheckFailed, nil
	}
	// With a check value the padding is what the sender wrote; without one,
	// this is all that shows another key.
	data = b[skip+head:]
	if padding >= size || padding > len(data) {
		return 0, 0, nil, PacketCipherError, fmt.Errorf("%d bytes of padding: %w", padding, ErrPacket)
	}
	data, zeros := data[:len(data)-padding], data[len(data)-padding:]
	for _, z := range zeros {
		if z != 0 {
			return 0, 0, nil, PacketCipherError, fmt.Errorf("padding is not zero: %w", ErrPacket)
		}
	}
	return counter, code, data[:len(data):len(data)], PacketOK, nil
}

func putTAR(b []byte, t TAR) { b[0], b[1], b[2] = byte(t>>16), byte(t>>8), byte(t) }

func readTAR(b []byte) TAR { return TAR(b[0])<<16 | TAR(b[1])<<8 | TAR(b[2]) }
