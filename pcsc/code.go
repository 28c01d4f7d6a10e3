package pcsc

import "fmt"

// A Code is a return code of PC/SC, as its part 5 names them. It is an error:
// errors.Is(err, pcsc.NoSmartcard).
type Code uint32

// The codes that callers branch on, or that need a next step of their own.
const (
	InternalError      Code = 0x80100001
	Cancelled          Code = 0x80100002
	InvalidHandle      Code = 0x80100003
	InsufficientBuffer Code = 0x80100008
	UnknownReader      Code = 0x80100009
	Timeout            Code = 0x8010000A
	SharingViolation   Code = 0x8010000B
	NoSmartcard        Code = 0x8010000C
	UnknownCard        Code = 0x8010000D
	ProtoMismatch      Code = 0x8010000F
	NotReady           Code = 0x80100010
	InvalidValue       Code = 0x80100011
	CommError          Code = 0x80100013
	NotTransacted      Code = 0x80100016
	ReaderUnavailable  Code = 0x80100017
	NoService          Code = 0x8010001D
	ServiceStopped     Code = 0x8010001E
	UnsupportedFeature Code = 0x8010001F
	NoReaders          Code = 0x8010002E
	UnsupportedCard    Code = 0x80100065
	UnresponsiveCard   Code = 0x80100066
	UnpoweredCard      Code = 0x80100067
	ResetCard          Code = 0x80100068
	RemovedCard        Code = 0x80100069
	SecurityViolation  Code = 0x8010006A
)

// Error is the code's name, what it means here, and the next step.
func (c Code) Error() string {
	name, text := "", ""
	switch c {
	case InternalError:
		name, text = "SCARD_F_INTERNAL_ERROR", "the daemon failed; its log says why"
	case Cancelled:
		name, text = "SCARD_E_CANCELLED", "the wait was cancelled"
	case InvalidHandle:
		name, text = "SCARD_E_INVALID_HANDLE", "the daemon does not know this connection; connect again"
	case InsufficientBuffer:
		name, text = "SCARD_E_INSUFFICIENT_BUFFER", "the answer is longer than was asked for"
	case UnknownReader:
		name, text = "SCARD_E_UNKNOWN_READER", "no such reader; plug it in, or look which there are"
	case Timeout:
		name, text = "SCARD_E_TIMEOUT", "no answer in time"
	case SharingViolation:
		name, text = "SCARD_E_SHARING_VIOLATION", "another program has the reader; end that program"
	case NoSmartcard:
		name, text = "SCARD_E_NO_SMARTCARD", "no card in the reader; insert it"
	case UnknownCard:
		name, text = "SCARD_E_UNKNOWN_CARD", "the reader does not know this card"
	case ProtoMismatch:
		name, text = "SCARD_E_PROTO_MISMATCH", "the card speaks neither T=0 nor T=1 with this reader"
	case NotReady:
		name, text = "SCARD_E_NOT_READY", "the reader is not ready; try again"
	case InvalidValue:
		name, text = "SCARD_E_INVALID_VALUE", "the daemon does not take a value of the request"
	case CommError:
		name, text = "SCARD_F_COMM_ERROR", "the reader does not answer; plug it in again"
	case NotTransacted:
		name, text = "SCARD_E_NOT_TRANSACTED", "the card gave no answer; reset it, or take it out and clean its contacts"
	case ReaderUnavailable:
		name, text = "SCARD_E_READER_UNAVAILABLE", "the reader is gone; plug it in again"
	case NoService:
		name, text = "SCARD_E_NO_SERVICE", "no PC/SC daemon; start it: systemctl start pcscd.socket"
	case ServiceStopped:
		name, text = "SCARD_E_SERVICE_STOPPED", "the PC/SC daemon stopped, or speaks another protocol"
	case UnsupportedFeature:
		name, text = "SCARD_E_UNSUPPORTED_FEATURE", "the reader cannot do this"
	case NoReaders:
		name, text = "SCARD_E_NO_READERS_AVAILABLE", "no reader; plug one in, and install its driver (package libccid)"
	case UnsupportedCard:
		name, text = "SCARD_W_UNSUPPORTED_CARD", "the answer to reset is one that the reader cannot use"
	case UnresponsiveCard:
		name, text = "SCARD_W_UNRESPONSIVE_CARD", "the card gives no answer to reset; turn it over, or clean its contacts"
	case UnpoweredCard:
		name, text = "SCARD_W_UNPOWERED_CARD", "the card has no power; reset it"
	case ResetCard:
		name, text = "SCARD_W_RESET_CARD", "another program has reset the card; begin again"
	case RemovedCard:
		name, text = "SCARD_W_REMOVED_CARD", "the card was taken out; insert it and connect again"
	case SecurityViolation:
		name, text = "SCARD_W_SECURITY_VIOLATION", "this user may not use the card; see polkit's action org.debian.pcsc-lite.access_card"
	default:
		return fmt.Sprintf("PC/SC code %08X", uint32(c))
	}
	return name + ": " + text
}
