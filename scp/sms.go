package scp

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"ankan/uicc"
)

// A PacketKind is the information element that says in a short message's
// header what its data is (TS 31.115, 4.1).
type PacketKind byte

// The kinds.
const (
	CommandPacket  PacketKind = 0x70
	ResponsePacket PacketKind = 0x71
)

const (
	maxUserData = 140 // bytes of TP-User-Data (TS 23.040, 9.2.3.24)
	concat8     = 0x00
	concat16    = 0x08
)

// ErrMessage is wrapped by every error about a short message that carries a
// part of a secured packet.
var ErrMessage = errors.New("malformed short message")

// Messages cuts a secured packet into the user data of short messages, headers
// included (TS 31.115, 4; TS 23.040, 9.2.3.24). A packet that does not fit one
// message is concatenated under the reference; the parts go in their order.
func Messages(kind PacketKind, packet []byte, reference byte) ([][]byte, error) {
	single := []byte{2, byte(kind), 0}
	if len(single)+len(packet) <= maxUserData {
		return [][]byte{append(single, packet...)}, nil
	}
	const first, next = maxUserData - 8, maxUserData - 6
	count := 1 + (len(packet)-first+next-1)/next
	if count > 255 {
		return nil, fmt.Errorf("scp: packet of %d bytes, at most %d fit 255 messages: %w", len(packet), first+254*next, ErrMessage)
	}
	parts := make([][]byte, 0, count)
	for i := range count {
		part := []byte{5, concat8, 3, reference, byte(count), byte(i + 1)}
		room := next
		if i == 0 {
			part[0] = 7
			part = append(part, byte(kind), 0)
			room = first
		}
		room = min(room, len(packet))
		parts = append(parts, append(part, packet[:room]...))
		packet = packet[room:]
	}
	return parts, nil
}

// An Assembler puts the packets of one sender together again. It holds one
// packet that is not whole: the first part of another takes its place, as on
// cards, so that a sender cannot fill memory. The zero value is ready.
type Assembler struct {
	reference int // -1 - reference for one of 8 bits; 0 also stands for none
	kind      PacketKind
	parts     [][]byte
	missing   int
}

// Add takes the user data of one message. It returns the packet and its kind
// when that was the last missing part, and nil before that. A part that comes
// twice is taken once; if it then differs, both are refused with ErrMessage.
func (a *Assembler) Add(userData []byte) (packet []byte, kind PacketKind, err error) {
	h, err := readUDH(userData)
	if err != nil {
		return nil, 0, fmt.Errorf("scp: %w", err)
	}
	if h.count == 1 {
		return slices.Clone(h.body), h.kind, nil
	}
	if len(a.parts) != h.count || a.reference != h.reference {
		*a = Assembler{reference: h.reference, parts: make([][]byte, h.count), missing: h.count}
	}
	place := &a.parts[h.number-1]
	switch {
	case *place == nil:
		*place = slices.Clone(h.body)
		a.missing--
	case !bytes.Equal(*place, h.body):
		*a = Assembler{}
		return nil, 0, fmt.Errorf("scp: part %d of %d came twice, and differs: %w", h.number, h.count, ErrMessage)
	}
	if h.number == 1 {
		a.kind = h.kind
	}
	if a.missing > 0 {
		return nil, 0, nil
	}
	packet, kind = slices.Concat(a.parts...), a.kind
	*a = Assembler{}
	return packet, kind, nil
}

// A udh is what a message's header says of its part of a packet.
type udh struct {
	kind          PacketKind
	reference     int
	count, number int
	body          []byte
}

func readUDH(b []byte) (udh, error) {
	if len(b) == 0 || len(b) > maxUserData || len(b) < 1+int(b[0]) {
		return udh{}, fmt.Errorf("user data of %d bytes, want a header and at most %d: %w", len(b), maxUserData, ErrMessage)
	}
	elements, body := b[1:1+b[0]], b[1+b[0]:]
	h := udh{count: 1, number: 1, body: body}
	concatenated := false
	for len(elements) > 0 {
		if len(elements) < 2 || len(elements) < 2+int(elements[1]) {
			return udh{}, fmt.Errorf("header element of %d bytes: %w", len(elements), ErrMessage)
		}
		id, v := elements[0], elements[2:2+elements[1]]
		elements = elements[2+len(v):]
		switch {
		case PacketKind(id) == CommandPacket || PacketKind(id) == ResponsePacket:
			if len(v) != 0 || h.kind != 0 {
				return udh{}, fmt.Errorf("element %02X is long or comes twice: %w", id, ErrMessage)
			}
			h.kind = PacketKind(id)
		case id == concat8 && len(v) == 3 && !concatenated:
			h.reference, v, concatenated = -1-int(v[0]), v[1:], true
			h.count, h.number = int(v[0]), int(v[1])
		case id == concat16 && len(v) == 4 && !concatenated:
			h.reference, v, concatenated = int(v[0])<<8|int(v[1]), v[2:], true
			h.count, h.number = int(v[0]), int(v[1])
		case id == concat8 || id == concat16:
			return udh{}, fmt.Errorf("element %02X has %d bytes or comes twice: %w", id, len(v), ErrMessage)
		}
	}
	switch {
	case h.number < 1 || h.number > h.count:
		return udh{}, fmt.Errorf("part %d of %d: %w", h.number, h.count, ErrMessage)
	case (h.number == 1) != (h.kind != 0):
		return udh{}, fmt.Errorf("part %d has packet element %02X, want 70 or 71 in the first part alone: %w", h.number, byte(h.kind), ErrMessage)
	case len(body) == 0:
		return udh{}, fmt.Errorf("part %d is empty: %w", h.number, ErrMessage)
	}
	return h, nil
}

// Tags and values of the SMS-PP download (TS 31.111, 7.1.1.2; TS 102 223,
// 8.7 and 8.13), and of SMS-DELIVER (TS 23.040, 9.2.2.1).
const (
	tagDownload = 0xD1
	tagDevices  = 0x82
	tagTPDU     = 0x8B
	comply      = 0x7F // bits of a tag without the comprehension flag

	deliver    = 0x04 // MTI of SMS-DELIVER, no more messages to send
	deliverUDH = 0x40
	pidSIM     = 0x7F // (U)SIM data download
	dcsClass2  = 0xF6 // 8-bit data, class 2
)

// Download is the ENVELOPE that a telephone gives a card when a short message
// with this user data came for it (TS 31.111, 7.1.1). Sender is the address in
// semi-octets as in TP-Originating-Address: its type and its digits; time is
// the time stamp of the service centre (TS 23.040, 9.2.3.11).
func Download(userData []byte, sender Address, time [7]byte) (uicc.Command, error) {
	if len(userData) == 0 || len(userData) > maxUserData {
		return uicc.Command{}, fmt.Errorf("scp: user data of %d bytes, want 1..%d: %w", len(userData), maxUserData, ErrMessage)
	}
	if sender.Digits > 20 || len(sender.BCD) != (sender.Digits+1)/2 {
		return uicc.Command{}, fmt.Errorf("scp: address of %d digits in %d bytes, want at most 20, two in a byte: %w", sender.Digits, len(sender.BCD), ErrMessage)
	}
	tpdu := []byte{deliver | deliverUDH, byte(sender.Digits), sender.Type}
	tpdu = append(tpdu, sender.BCD...)
	tpdu = append(tpdu, pidSIM, dcsClass2)
	tpdu = append(tpdu, time[:]...)
	tpdu = append(tpdu, byte(len(userData)))
	tpdu = append(tpdu, userData...)
	value := uicc.AppendTLV(nil, tagDevices, 0x83, 0x81) // network to card
	value = uicc.AppendTLV(value, tagTPDU, tpdu...)
	return uicc.Command{CLA: 0x80, INS: uicc.INSEnvelope, Data: uicc.AppendTLV(nil, tagDownload, value...), Le: 256}, nil
}

// An Address is a number in a short message (TS 23.040, 9.1.2.5).
type Address struct {
	Type   byte // type of number and numbering plan, 91 for international
	Digits int  // how many
	BCD    []byte
}

// ReadDownload is the card's side: the user data and the sender of the short
// message in an ENVELOPE (SMS-PP DOWNLOAD). Errors wrap ErrMessage.
func ReadDownload(data []byte) (userData []byte, sender Address, err error) {
	bad := func(what string, args ...any) ([]byte, Address, error) {
		return nil, Address{}, fmt.Errorf("scp: ENVELOPE: %s: %w", fmt.Sprintf(what, args...), ErrMessage)
	}
	outer, rest, err := uicc.ReadTLV(data)
	if err != nil || len(rest) > 0 || outer.Tag != tagDownload {
		return bad("no SMS-PP download alone")
	}
	var tpdu []byte
	for t, err := range uicc.TLVs(outer.Value) {
		if err != nil {
			return bad("%v", err)
		}
		if t.Tag&comply == tagTPDU&comply {
			tpdu = t.Value
		}
	}
	if len(tpdu) < 2 {
		return bad("no TPDU")
	}
	first, digits := tpdu[0], int(tpdu[1])
	n := (digits + 1) / 2
	switch {
	case first&0x03 != 0 || first&deliverUDH == 0:
		return bad("message type %02X, want SMS-DELIVER with a header", first)
	case digits > 20 || len(tpdu) < 3+n+2+7+1:
		return bad("TPDU of %d bytes, address of %d digits", len(tpdu), digits)
	}
	sender = Address{Type: tpdu[2], Digits: digits, BCD: tpdu[3 : 3+n]}
	tail := tpdu[3+n:]
	if tail[0] != pidSIM {
		return bad("protocol %02X, want 7F", tail[0])
	}
	if tail[1] != dcsClass2 && tail[1] != 0x16 {
		return bad("coding %02X, want 8-bit data of class 2: F6 or 16", tail[1])
	}
	userData = tail[10:]
	if int(tail[9]) != len(userData) || len(userData) > maxUserData {
		return bad("user data of %d bytes, length says %d", len(userData), tail[9])
	}
	return userData, sender, nil
}
