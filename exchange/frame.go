package exchange

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Packet types that matter on the outside of a message (RFC 9580, 5).
const (
	tagPKESK  = 1  // session key encrypted to a public key
	tagSKESK  = 3  // session key encrypted to a passphrase
	tagSE     = 9  // encrypted, no integrity
	tagSEIPD  = 18 // encrypted and integrity protected
	tagAEAD   = 20 // GnuPG's own, never standardised
	maxPKESK  = 4 << 10
	maxPKESKs = 32
)

// A frame passes a binary OpenPGP message through and refuses whatever is not
// exactly: session keys for public keys, one of them ours, then one encrypted
// and integrity protected packet, then the end. The library reads more
// generously (unknown packets are skipped, data after the message is not
// looked at), which is not for files that move money or keys.
type frame struct {
	r    *bufio.Reader
	ours func(recipient) bool

	header  []byte // still to be passed on before the body
	body    int64  // bytes of the packet, or of its part, still to come
	partial bool   // another part follows
	data    bool   // inside the encrypted packet
	done    bool   // it has ended
	keys    []recipient
	err     error // what ended it; io.EOF after a whole message
}

// A recipient is what a session key packet says about its reader.
type recipient struct {
	id          uint64 // key id; zero if it is hidden
	fingerprint string // in version 6 packets
}

func (r recipient) String() string {
	if r.id == 0 && r.fingerprint == "" {
		return "hidden"
	}
	if r.fingerprint != "" {
		return strings.ToUpper(hex.EncodeToString([]byte(r.fingerprint)))
	}
	return fmt.Sprintf("%016X", r.id)
}

func newFrame(r io.Reader, ours func(recipient) bool) *frame {
	return &frame{r: bufio.NewReaderSize(r, 64<<10), ours: ours}
}

// Read implements io.Reader. Its error is a *Refusal, io.EOF after a whole
// message, or what the file's own reader says.
func (f *frame) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	for len(f.header) == 0 && f.body == 0 {
		if err := f.next(); err != nil {
			return 0, f.fail(err)
		}
	}
	if len(f.header) > 0 {
		n := copy(p, f.header)
		f.header = f.header[n:]
		return n, nil
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.body)])
	f.body -= int64(n)
	if n > 0 {
		return n, nil
	}
	return 0, f.fail(midway(err))
}

// midway says what the end of the file means inside a packet.
func midway(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return refuse(Truncated, "file ends inside an OpenPGP packet, want the whole message; ask the partner to send it again")
	}
	return err
}

func (f *frame) fail(err error) error {
	var corrupt base64.CorruptInputError
	if errors.As(err, &corrupt) {
		err = refuse(Damaged, "armor is not base64; ask the partner to send it again, in binary if a mail program changed it")
	}
	f.err = err
	return err
}

// next reads the header of the next part or packet.
func (f *frame) next() error {
	if f.partial {
		return f.length()
	}
	if f.data {
		f.data, f.done = false, true
	}
	tag, err := f.r.ReadByte()
	switch {
	case err == io.EOF && f.done:
		return io.EOF
	case err == io.EOF && len(f.keys) == 0:
		return refuse(NotOpenPGP, "file is empty, want an OpenPGP message")
	case err == io.EOF:
		return refuse(Truncated, "file ends before the encrypted data; ask the partner to send it again")
	case err != nil:
		return err
	case f.done:
		return refuse(Trailing, "found data after the OpenPGP message, want nothing; ask the partner to send the message alone")
	case tag&0x80 == 0:
		return refuse(NotOpenPGP, "found byte %02X where an OpenPGP packet begins; want a message made with gpg --sign --encrypt or the like", tag)
	}
	f.header = append(f.header[:0], tag)
	if tag&0x40 == 0 {
		return f.old(tag)
	}
	return f.packet(tag & 0x3F)
}

// old reads a header in the format of old, which GnuPG still writes for
// session keys (RFC 9580, 4.2.2), and passes it on in the new one.
func (f *frame) old(tag byte) error {
	var size [4]byte
	n, kind := 1<<(tag&3), tag>>2&0xF
	if n == 8 { // until the end of the file
		if kind != tagPKESK && kind != tagSKESK {
			return f.accept(kind)
		}
		return refuse(NotOpenPGP, "found a packet of type %d without a length, want one; ask the partner to use a current OpenPGP program", kind)
	}
	if _, err := io.ReadFull(f.r, size[4-n:]); err != nil {
		return midway(err)
	}
	f.header = append(f.header[:0], 0xC0|kind, 0xFF)
	f.header = append(f.header, size[:]...)
	f.body, f.partial = int64(binary.BigEndian.Uint32(size[:])), false
	return f.accept(kind)
}

func (f *frame) packet(kind byte) error {
	if err := f.length(); err != nil {
		return err
	}
	return f.accept(kind)
}

// length reads one length of the new format (RFC 9580, 4.2.1).
func (f *frame) length() error {
	b, err := f.r.ReadByte()
	if err != nil {
		return midway(err)
	}
	f.header = append(f.header, b)
	f.partial = false
	switch {
	case b < 192:
		f.body = int64(b)
	case b < 224:
		c, err := f.r.ReadByte()
		if err != nil {
			return midway(err)
		}
		f.header = append(f.header, c)
		f.body = int64(b-192)<<8 + int64(c) + 192
	case b < 255:
		f.body, f.partial = 1<<(b&0x1F), true
	default:
		var size [4]byte
		if _, err := io.ReadFull(f.r, size[:]); err != nil {
			return midway(err)
		}
		f.header = append(f.header, size[:]...)
		f.body = int64(binary.BigEndian.Uint32(size[:]))
	}
	return nil
}

// accept decides about a packet whose header was read.
func (f *frame) accept(kind byte) error {
	switch kind {
	case tagPKESK:
		return f.sessionKey()
	case tagSKESK:
		return refuse(ByPassphrase, "message opens with a passphrase, want one for our public key only")
	case tagSEIPD:
		if !slices.ContainsFunc(f.keys, f.ours) {
			return refuse(NotForUs, "message is encrypted to %s, want our key; ask the partner to use our current partner card", f.recipients())
		}
		f.data = true
		return nil
	case tagSE:
		return refuse(NoIntegrity, "message has no integrity protection (packet type 9), want type 18; ask the partner to use a current OpenPGP program")
	case 2, 4, 8, 11:
		return refuse(NotEncrypted, "message is not encrypted (packet type %d comes first), want it signed and encrypted; treat what it holds as exposed", kind)
	default:
		return refuse(NotOpenPGP, "found a packet of type %d, want session keys and one packet of type 18", kind)
	}
}

func (f *frame) recipients() string {
	var all []string
	for _, k := range f.keys {
		all = append(all, k.String())
	}
	return strings.Join(all, ", ")
}

// sessionKey reads a session key packet whole (RFC 9580, 5.1).
func (f *frame) sessionKey() error {
	if f.partial || f.body > maxPKESK || len(f.keys) == maxPKESKs {
		return refuse(NotOpenPGP, "found a session key packet of more than %d bytes or more than %d of them", maxPKESK, maxPKESKs)
	}
	at, n := len(f.header), int(f.body)
	f.header = append(f.header, make([]byte, n)...)
	if _, err := io.ReadFull(f.r, f.header[at:]); err != nil {
		return midway(err)
	}
	f.body = 0
	body := f.header[at:]
	var who recipient
	switch {
	case len(body) >= 10 && body[0] == 3:
		who.id = binary.BigEndian.Uint64(body[1:])
	case len(body) >= 3 && body[0] == 6 && body[1] == 0:
	case len(body) >= 3 && body[0] == 6 && int(body[1]) < len(body)-2:
		who.fingerprint = string(body[3 : 2+int(body[1])])
	default:
		return refuse(NotOpenPGP, "found a session key packet that is not of version 3 or 6")
	}
	f.keys = append(f.keys, who)
	return nil
}
