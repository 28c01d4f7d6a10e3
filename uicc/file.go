package uicc

import "fmt"

// A FileID is the two-byte identifier of a file (TS 102 221, 8.2).
type FileID uint16

// File identifiers with a fixed meaning.
const (
	MF         FileID = 0x3F00
	CurrentADF FileID = 0x7FFF
	EFDIR      FileID = 0x2F00
	EFPL       FileID = 0x2F05
	EFARR      FileID = 0x2F06 // under the MF; 6F06 under an ADF
	EFICCID    FileID = 0x2FE2
)

// String is the identifier in four hex digits.
func (f FileID) String() string { return fmt.Sprintf("%04X", uint16(f)) }

// A Kind is what sort of file a file is.
type Kind uint8

// The kinds of files. KindMF and KindADF are DFs with a place and a name.
const (
	KindNone Kind = iota
	KindMF
	KindDF
	KindADF
	Transparent
	LinearFixed
	Cyclic
	BERTLV
)

// Dedicated reports whether files of this kind hold other files.
func (k Kind) Dedicated() bool { return k == KindMF || k == KindDF || k == KindADF }

// Records reports whether files of this kind consist of records.
func (k Kind) Records() bool { return k == LinearFixed || k == Cyclic }

// String names the kind.
func (k Kind) String() string {
	switch k {
	case KindMF:
		return "MF"
	case KindDF:
		return "DF"
	case KindADF:
		return "ADF"
	case Transparent:
		return "transparent"
	case LinearFixed:
		return "linear fixed"
	case Cyclic:
		return "cyclic"
	case BERTLV:
		return "BER-TLV"
	}
	return "no file"
}

// descriptor is the file descriptor byte (TS 102 221, 11.1.1.4.3), shareable.
func (k Kind) descriptor() byte {
	switch k {
	case KindMF, KindDF, KindADF:
		return 0x78
	case Transparent:
		return 0x41
	case LinearFixed:
		return 0x42
	case Cyclic:
		return 0x46
	case BERTLV:
		return 0x79
	}
	return 0
}

// kindOf is the kind that a file descriptor byte says, shareable or not,
// working or internal.
func kindOf(descriptor byte) Kind {
	switch descriptor & 0xBF {
	case 0x38:
		return KindDF
	case 0x39:
		return BERTLV
	case 0x01, 0x09:
		return Transparent
	case 0x02, 0x0A:
		return LinearFixed
	case 0x06, 0x0E:
		return Cyclic
	}
	return KindNone
}

// A LifeCycle is a file's life cycle status byte (TS 102 221, 11.1.1.4.9).
type LifeCycle byte

// The states of a file. The zero value is "no information given".
const (
	Creation       LifeCycle = 0x01
	Initialisation LifeCycle = 0x03
	Deactivated    LifeCycle = 0x04
	Activated      LifeCycle = 0x05
	Terminated     LifeCycle = 0x0C
)
