package pkcs11

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"

	ck "github.com/miekg/pkcs11"
)

// Handles of PKCS #11 are CK_ULONG, which is 0 for none.
type (
	sessionHandle uint
	objectHandle  uint
)

// cryptoki is what this package calls of a PKCS #11 library. It stands between
// the package and the binding so that tests can let each call fail.
type cryptoki interface {
	Initialize() error
	Finalize() error
	GetSlotList() ([]uint, error) // of slots with a token
	GetTokenInfo(slot uint) (tokenInfo, error)
	GetMechanismInfo(slot, mechanism uint) (flags uint, err error)

	OpenSession(slot uint) (sessionHandle, error) // serial, read and write
	CloseSession(s sessionHandle) error
	GetSessionInfo(s sessionHandle) (state uint, err error)
	Login(s sessionHandle, pin []byte) error // as user
	GenerateRandom(s sessionHandle, n int) ([]byte, error)

	CreateObject(s sessionHandle, template []attribute) (objectHandle, error)
	CopyObject(s sessionHandle, o objectHandle, template []attribute) (objectHandle, error)
	DestroyObject(s sessionHandle, o objectHandle) error
	GetAttributeValue(s sessionHandle, o objectHandle, types ...uint) ([][]byte, error)
	FindObjectsInit(s sessionHandle, template []attribute) error
	FindObjects(s sessionHandle, limit int) ([]objectHandle, error)
	FindObjectsFinal(s sessionHandle) error

	EncryptInit(s sessionHandle, m mechanism, key objectHandle) error
	Encrypt(s sessionHandle, data []byte) ([]byte, error)
	DecryptInit(s sessionHandle, m mechanism, key objectHandle) error
	Decrypt(s sessionHandle, data []byte) ([]byte, error)
	SignInit(s sessionHandle, m mechanism, key objectHandle) error
	Sign(s sessionHandle, data []byte) ([]byte, error)

	GenerateKey(s sessionHandle, m mechanism, template []attribute) (objectHandle, error)
	GenerateKeyPair(s sessionHandle, m mechanism, public, private []attribute) (pub, priv objectHandle, err error)
	WrapKey(s sessionHandle, m mechanism, with, key objectHandle) ([]byte, error)
	UnwrapKey(s sessionHandle, m mechanism, with objectHandle, wrapped []byte, template []attribute) (objectHandle, error)
	DeriveKey(s sessionHandle, m mechanism, base objectHandle, template []attribute) (objectHandle, error)
}

// tokenInfo is what this package reads of CK_TOKEN_INFO.
type tokenInfo struct {
	label, model, serial string
	firmware             string // major.minor
	flags                uint
	sessions             uint // ulMaxRwSessionCount; 0 is no limit, all ones unknown
}

// A mechanism is one with its parameter.
type mechanism struct {
	number uint
	point  []byte      // of CKM_ECDH1_DERIVE: the other side's public key; without a KDF
	oaep   *oaepParams // of CKM_RSA_PKCS_OAEP: with SHA-256
}

type oaepParams struct{ label []byte }

type attribute struct {
	kind  uint
	value []byte
}

func flag(kind uint, on bool) attribute {
	if on {
		return attribute{kind, []byte{1}}
	}
	return attribute{kind, []byte{0}}
}

// number is an attribute that is a CK_ULONG: as wide as the machine's word.
func number(kind, v uint) attribute {
	if strconv.IntSize == 32 {
		return attribute{kind, binary.NativeEndian.AppendUint32(nil, uint32(v))}
	}
	return attribute{kind, binary.NativeEndian.AppendUint64(nil, uint64(v))}
}

func text[S ~string | ~[]byte](kind uint, v S) attribute { return attribute{kind, []byte(v)} }

// A ckr is a return value of a PKCS #11 call other than CKR_OK.
type ckr uint

// Error names the return values that say something to people.
func (e ckr) Error() string {
	name, ok := map[ckr]string{
		ck.CKR_HOST_MEMORY:                   "CKR_HOST_MEMORY",
		ck.CKR_SLOT_ID_INVALID:               "CKR_SLOT_ID_INVALID",
		ck.CKR_GENERAL_ERROR:                 "CKR_GENERAL_ERROR",
		ck.CKR_FUNCTION_FAILED:               "CKR_FUNCTION_FAILED",
		ck.CKR_ARGUMENTS_BAD:                 "CKR_ARGUMENTS_BAD",
		ck.CKR_ATTRIBUTE_READ_ONLY:           "CKR_ATTRIBUTE_READ_ONLY",
		ck.CKR_ATTRIBUTE_SENSITIVE:           "CKR_ATTRIBUTE_SENSITIVE",
		ck.CKR_ATTRIBUTE_TYPE_INVALID:        "CKR_ATTRIBUTE_TYPE_INVALID",
		ck.CKR_ATTRIBUTE_VALUE_INVALID:       "CKR_ATTRIBUTE_VALUE_INVALID",
		ck.CKR_DATA_INVALID:                  "CKR_DATA_INVALID",
		ck.CKR_DATA_LEN_RANGE:                "CKR_DATA_LEN_RANGE",
		ck.CKR_DEVICE_ERROR:                  "CKR_DEVICE_ERROR",
		ck.CKR_DEVICE_MEMORY:                 "CKR_DEVICE_MEMORY",
		ck.CKR_DEVICE_REMOVED:                "CKR_DEVICE_REMOVED",
		ck.CKR_ENCRYPTED_DATA_INVALID:        "CKR_ENCRYPTED_DATA_INVALID",
		ck.CKR_ENCRYPTED_DATA_LEN_RANGE:      "CKR_ENCRYPTED_DATA_LEN_RANGE",
		ck.CKR_FUNCTION_NOT_SUPPORTED:        "CKR_FUNCTION_NOT_SUPPORTED",
		ck.CKR_KEY_HANDLE_INVALID:            "CKR_KEY_HANDLE_INVALID",
		ck.CKR_KEY_SIZE_RANGE:                "CKR_KEY_SIZE_RANGE",
		ck.CKR_KEY_TYPE_INCONSISTENT:         "CKR_KEY_TYPE_INCONSISTENT",
		ck.CKR_KEY_NOT_WRAPPABLE:             "CKR_KEY_NOT_WRAPPABLE",
		ck.CKR_KEY_FUNCTION_NOT_PERMITTED:    "CKR_KEY_FUNCTION_NOT_PERMITTED",
		ck.CKR_KEY_UNEXTRACTABLE:             "CKR_KEY_UNEXTRACTABLE",
		ck.CKR_MECHANISM_INVALID:             "CKR_MECHANISM_INVALID",
		ck.CKR_MECHANISM_PARAM_INVALID:       "CKR_MECHANISM_PARAM_INVALID",
		ck.CKR_OBJECT_HANDLE_INVALID:         "CKR_OBJECT_HANDLE_INVALID",
		ck.CKR_OPERATION_ACTIVE:              "CKR_OPERATION_ACTIVE",
		ck.CKR_OPERATION_NOT_INITIALIZED:     "CKR_OPERATION_NOT_INITIALIZED",
		ck.CKR_PIN_INCORRECT:                 "CKR_PIN_INCORRECT",
		ck.CKR_PIN_INVALID:                   "CKR_PIN_INVALID",
		ck.CKR_PIN_LEN_RANGE:                 "CKR_PIN_LEN_RANGE",
		ck.CKR_PIN_EXPIRED:                   "CKR_PIN_EXPIRED",
		ck.CKR_PIN_LOCKED:                    "CKR_PIN_LOCKED",
		ck.CKR_SESSION_CLOSED:                "CKR_SESSION_CLOSED",
		ck.CKR_SESSION_COUNT:                 "CKR_SESSION_COUNT",
		ck.CKR_SESSION_HANDLE_INVALID:        "CKR_SESSION_HANDLE_INVALID",
		ck.CKR_SESSION_READ_ONLY:             "CKR_SESSION_READ_ONLY",
		ck.CKR_TEMPLATE_INCOMPLETE:           "CKR_TEMPLATE_INCOMPLETE",
		ck.CKR_TEMPLATE_INCONSISTENT:         "CKR_TEMPLATE_INCONSISTENT",
		ck.CKR_TOKEN_NOT_PRESENT:             "CKR_TOKEN_NOT_PRESENT",
		ck.CKR_TOKEN_NOT_RECOGNIZED:          "CKR_TOKEN_NOT_RECOGNIZED",
		ck.CKR_TOKEN_WRITE_PROTECTED:         "CKR_TOKEN_WRITE_PROTECTED",
		ck.CKR_UNWRAPPING_KEY_HANDLE_INVALID: "CKR_UNWRAPPING_KEY_HANDLE_INVALID",
		ck.CKR_USER_ALREADY_LOGGED_IN:        "CKR_USER_ALREADY_LOGGED_IN",
		ck.CKR_USER_NOT_LOGGED_IN:            "CKR_USER_NOT_LOGGED_IN",
		ck.CKR_USER_PIN_NOT_INITIALIZED:      "CKR_USER_PIN_NOT_INITIALIZED",
		ck.CKR_WRAPPED_KEY_INVALID:           "CKR_WRAPPED_KEY_INVALID",
		ck.CKR_WRAPPED_KEY_LEN_RANGE:         "CKR_WRAPPED_KEY_LEN_RANGE",
		ck.CKR_WRAPPING_KEY_HANDLE_INVALID:   "CKR_WRAPPING_KEY_HANDLE_INVALID",
		ck.CKR_CRYPTOKI_NOT_INITIALIZED:      "CKR_CRYPTOKI_NOT_INITIALIZED",
		ck.CKR_CRYPTOKI_ALREADY_INITIALIZED:  "CKR_CRYPTOKI_ALREADY_INITIALIZED",
	}[e]
	if !ok {
		return fmt.Sprintf("PKCS #11 return value 0x%X", uint(e))
	}
	return name
}

// is says whether err is one of these return values.
func is(err error, values ...ckr) bool {
	return slices.ContainsFunc(values, func(v ckr) bool { return errors.Is(err, v) })
}

// lost says that the session or the token behind it is gone: what was asked
// for may or may not have happened.
func lost(err error) bool {
	return is(err, ck.CKR_DEVICE_REMOVED, ck.CKR_TOKEN_NOT_PRESENT, ck.CKR_TOKEN_NOT_RECOGNIZED,
		ck.CKR_SESSION_HANDLE_INVALID, ck.CKR_SESSION_CLOSED, ck.CKR_USER_NOT_LOGGED_IN,
		ck.CKR_DEVICE_ERROR, ck.CKR_CRYPTOKI_NOT_INITIALIZED)
}

// stale says that a handle names nothing any more: another process destroyed
// the object.
func stale(err error) bool {
	return is(err, ck.CKR_KEY_HANDLE_INVALID, ck.CKR_OBJECT_HANDLE_INVALID,
		ck.CKR_WRAPPING_KEY_HANDLE_INVALID, ck.CKR_UNWRAPPING_KEY_HANDLE_INVALID)
}
