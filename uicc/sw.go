package uicc

import "fmt"

// SW is a status word (TS 102 221, 10.2.1). As an error it names itself, so
// that errors.Is(err, uicc.SWFileNotFound) works on what a Session returns.
type SW uint16

// The status words of TS 102 221, 10.2.1, and of GlobalPlatform that this
// system sends or acts upon.
const (
	SWOK              SW = 0x9000
	SWEndOfFile       SW = 0x6282 // end of file or record, or the search found nothing
	SWDeactivated     SW = 0x6283
	SWTerminated      SW = 0x6285
	SWMoreData        SW = 0x62F1 // RETRIEVE DATA: the object goes on
	SWMoreStatus      SW = 0x6310 // GET STATUS: more entries wait (GlobalPlatform, 11.4.3)
	SWFailed          SW = 0x6300 // authentication of host cryptogram failed
	SWMoreExpected    SW = 0x63F1 // SET DATA: the object is not whole yet
	SWMemory          SW = 0x6581
	SWLength          SW = 0x6700
	SWChannel         SW = 0x6881
	SWSecureMessaging SW = 0x6882
	SWChaining        SW = 0x6884 // command chaining not supported
	SWFileType        SW = 0x6981 // command incompatible with file structure
	SWSecurity        SW = 0x6982
	SWBlocked         SW = 0x6983
	SWDisabled        SW = 0x6984 // referenced data invalidated: the PIN is disabled
	SWConditions      SW = 0x6985
	SWNoFile          SW = 0x6986 // command not allowed, no EF selected
	SWMessagingData   SW = 0x6988
	SWData            SW = 0x6A80
	SWNotSupported    SW = 0x6A81
	SWFileNotFound    SW = 0x6A82
	SWRecordNotFound  SW = 0x6A83
	SWNoSpace         SW = 0x6A84
	SWParameters      SW = 0x6A86
	SWNotFound        SW = 0x6A88 // referenced data not found
	SWFileExists      SW = 0x6A89
	SWNameExists      SW = 0x6A8A
	SWOffset          SW = 0x6B00
	SWInstruction     SW = 0x6D00
	SWClass           SW = 0x6E00
	SWProblem         SW = 0x6F00
	SWMaximum         SW = 0x9850 // INCREASE: the maximum is reached
	SWWrongMAC        SW = 0x9862 // authentication error, incorrect MAC (TS 31.102, 7.3.1)
	SWContext         SW = 0x9864 // authentication error, security context not supported
)

// OK reports normal ending: 9000, or 91xx, which adds that the card has a
// proactive command waiting.
func (s SW) OK() bool { return s == SWOK || s>>8 == 0x91 }

// Warning reports 62xx and 63xx: the command was done, with a remark.
func (s SW) Warning() bool { return s>>8 == 0x62 || s>>8 == 0x63 }

// More returns how many bytes wait for GET RESPONSE (61xx, 1..256).
func (s SW) More() (n int, ok bool) { return le(byte(s)), s>>8 == 0x61 }

// WrongLe returns the Le that the card wants (6Cxx, 1..256).
func (s SW) WrongLe() (n int, ok bool) { return le(byte(s)), s>>8 == 0x6C }

// Tries returns how many tries are left after a wrong PIN (63Cx, 0..15).
func (s SW) Tries() (n int, ok bool) { return int(s & 0x0F), s&0xFFF0 == 0x63C0 }

// TriesLeft is the status word 63Cx.
func TriesLeft(n int) SW { return 0x63C0 | SW(min(n, 15)) }

var swText = map[SW]string{
	SWOK: "normal ending", SWEndOfFile: "end of file or nothing found", SWDeactivated: "file deactivated",
	SWTerminated: "file terminated", SWMoreData: "more data available", SWMoreExpected: "more data expected", SWFailed: "authentication failed", SWMemory: "memory problem",
	SWLength: "wrong length", SWChannel: "logical channel not supported",
	SWSecureMessaging: "secure messaging not supported", SWChaining: "command chaining not supported",
	SWMoreStatus: "more entries wait", SWMaximum: "the maximum is reached", SWFileType: "command does not fit the file's structure",
	SWSecurity: "security status not satisfied", SWBlocked: "PIN blocked", SWDisabled: "PIN disabled",
	SWConditions: "conditions of use not satisfied", SWNoFile: "no EF selected",
	SWMessagingData: "wrong secure messaging data", SWData: "wrong data", SWNotSupported: "function not supported",
	SWFileNotFound: "file not found", SWRecordNotFound: "record not found", SWNoSpace: "not enough memory",
	SWParameters: "wrong P1 P2", SWNotFound: "referenced data not found", SWFileExists: "file identifier exists",
	SWNameExists: "DF name exists", SWOffset: "wrong offset", SWInstruction: "instruction not supported",
	SWClass: "class not supported", SWProblem: "technical problem", SWWrongMAC: "authentication error, wrong MAC",
	SWContext: "authentication error, security context not supported",
}

// String is the status word in hex with its meaning, for people.
func (s SW) String() string {
	if text, ok := swText[s]; ok {
		return fmt.Sprintf("%04X %s", uint16(s), text)
	}
	if n, ok := s.More(); ok {
		return fmt.Sprintf("%04X %d bytes wait", uint16(s), n)
	}
	if n, ok := s.WrongLe(); ok {
		return fmt.Sprintf("%04X wrong Le, want %d", uint16(s), n)
	}
	if n, ok := s.Tries(); ok {
		return fmt.Sprintf("%04X wrong, %d tries left", uint16(s), n)
	}
	if s.OK() {
		return fmt.Sprintf("%04X normal ending, a proactive command waits", uint16(s))
	}
	return fmt.Sprintf("%04X unknown status", uint16(s))
}

// Error is String.
func (s SW) Error() string { return s.String() }

// A StatusError is a command that a card refused. It holds the command's
// header and never its data, which may be secret. It wraps its SW.
type StatusError struct {
	CLA, INS, P1, P2 byte
	SW               SW
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %02X%02X %02X%02X: %s", commandName(e.CLA, e.INS), e.CLA, e.INS, e.P1, e.P2, e.SW)
}

// Unwrap gives the status word, itself an error.
func (e *StatusError) Unwrap() error { return e.SW }

// commandName is the name of a command; classes 8x are GlobalPlatform's and
// the toolkit's.
func commandName(cla, ins byte) string {
	names := interindustry
	if cla&0x80 != 0 {
		names = proprietary
	}
	if name, ok := names[ins]; ok {
		return name
	}
	return "command"
}

// The commands of TS 102 221, 10.1.2, and TS 102 222, table 1.
var interindustry = map[byte]string{
	INSSelect: "SELECT", INSReadBinary: "READ BINARY", INSUpdateBinary: "UPDATE BINARY",
	INSReadRecord: "READ RECORD", INSUpdateRecord: "UPDATE RECORD", INSSearchRecord: "SEARCH RECORD",
	INSVerify: "VERIFY PIN", INSChange: "CHANGE PIN", INSDisable: "DISABLE PIN", INSEnable: "ENABLE PIN",
	INSUnblock: "UNBLOCK PIN", INSAuthenticate: "AUTHENTICATE", INSManageChannel: "MANAGE CHANNEL",
	INSGetChallenge: "GET CHALLENGE", INSGetResponse: "GET RESPONSE", INSCreateFile: "CREATE FILE",
	INSDeleteFile: "DELETE FILE", INSActivate: "ACTIVATE FILE", INSDeactivate: "DEACTIVATE FILE",
	INSTerminateDF: "TERMINATE DF", INSTerminateEF: "TERMINATE EF", INSTerminateCard: "TERMINATE CARD USAGE",
	INSGetData: "GET DATA",
}

var proprietary = map[byte]string{
	INSStatus: "STATUS", INSTerminalProfile: "TERMINAL PROFILE", INSEnvelope: "ENVELOPE", INSFetch: "FETCH",
	INSTerminalResponse: "TERMINAL RESPONSE", INSGetData: "GET DATA", INSInitializeUpdate: "INITIALIZE UPDATE",
	INSExternalAuthenticate: "EXTERNAL AUTHENTICATE", INSPutKey: "PUT KEY", INSStoreData: "STORE DATA",
	INSSetStatus: "SET STATUS", INSLoad: "LOAD", INSRetrieveData: "RETRIEVE DATA", INSSetData: "SET DATA",
	INSIncrease: "INCREASE", INSResize: "RESIZE FILE", INSGetIdentity: "GET IDENTITY", INSSuspend: "SUSPEND UICC",
	INSInstall: "INSTALL", INSDelete: "DELETE",
}

// Instruction bytes. Some mean one thing in class 0x and another in class 8x.
const (
	INSDeactivate    = 0x04
	INSVerify        = 0x20
	INSChange        = 0x24
	INSDisable       = 0x26
	INSEnable        = 0x28
	INSUnblock       = 0x2C
	INSActivate      = 0x44
	INSManageChannel = 0x70
	INSGetChallenge  = 0x84
	INSAuthenticate  = 0x88
	INSSearchRecord  = 0xA2
	INSSelect        = 0xA4
	INSReadBinary    = 0xB0
	INSReadRecord    = 0xB2
	INSGetResponse   = 0xC0
	INSGetData       = 0xCA
	INSUpdateBinary  = 0xD6
	INSUpdateRecord  = 0xDC
	INSCreateFile    = 0xE0
	INSDeleteFile    = 0xE4
	INSTerminateDF   = 0xE6
	INSTerminateEF   = 0xE8
	INSTerminateCard = 0xFE

	INSTerminalProfile      = 0x10
	INSFetch                = 0x12
	INSTerminalResponse     = 0x14
	INSEnvelope             = 0xC2
	INSStatus               = 0xF2
	INSInitializeUpdate     = 0x50
	INSExternalAuthenticate = 0x82
	INSPutKey               = 0xD8
	INSStoreData            = 0xE2
	INSLoad                 = 0xE8
	INSSetStatus            = 0xF0
	INSRetrieveData         = 0xCB
	INSSetData              = 0xDB
	INSIncrease             = 0x32
	INSSuspend              = 0x76
	INSGetIdentity          = 0x78
	INSResize               = 0xD4
	INSDelete               = 0xE4
	INSInstall              = 0xE6
)
