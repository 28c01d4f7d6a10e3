package format

import (
	"fmt"
	"strings"
	"time"

	"ankan/hsm"
)

// A Field is one typed value of a file's header.
type Field string

// The fields that a header may carry.
const (
	Customer       Field = "customer"
	Quantity       Field = "quantity"      // number of cards
	ProfileName    Field = "profile"       // of the electrical profile
	ProfileVersion Field = "version"       // of the electrical profile
	Batch          Field = "batch"         // the operator's name for this order
	OrderDate      Field = "date"          // YYYYMMDD and what the operator appends
	TransportKey   Field = "transport_key" // index of the key that encrypts columns, never a key
	TransportKCV   Field = "transport_kcv" // its check value with the method; responses only
	PONumber       Field = "po"            // purchase order
	GraphRef       Field = "graph_ref"     // artwork
	Address1       Field = "address1"
	Address2       Field = "address2"
	Address3       Field = "address3"
	Address4       Field = "address4"
	Address5       Field = "address5"
	Address6       Field = "address6"

	// Only of the files that we write: the caller of NewResponse gives them.
	OrderID Field = "order"   // the number of the order
	Part    Field = "part"    // this file, from 1
	Parts   Field = "parts"   // files of the output
	Written Field = "written" // when the file was written, YYYYMMDDhhmmss, UTC; '-' where a file that is read does not say a digit

	fieldInput   Field = "input"
	fieldColumns Field = "columns"
)

// own starts the name of a field that only the partners understand: it is a
// line of text, kept and written again.
const own = "x_"

// of is a transport key's field for a receiver: transport_key.ota.
func (f Field) of(receiver string) Field {
	if receiver == "" {
		return f
	}
	return f + "." + Field(receiver)
}

// base is the field without its receiver.
func (f Field) base() Field {
	name, receiver, found := strings.Cut(string(f), ".")
	if b := Field(name); found && (b == TransportKey || b == TransportKCV) && wrongToken(receiver, 16) == "" {
		return b
	}
	return f
}

// known says whether a layout may name the field.
func (f Field) known() bool {
	switch f.base() {
	case Customer, Quantity, ProfileName, ProfileVersion, Batch, OrderDate, TransportKey, TransportKCV, PONumber, GraphRef,
		Address1, Address2, Address3, Address4, Address5, Address6, OrderID, Part, Parts, Written:
		return true
	}
	name, found := strings.CutPrefix(string(f), own)
	return found && wrongToken(name, 32) == "" && !strings.Contains(name, ".")
}

// shape is how long a value is in a file, in bytes, and of what characters.
func (f Field) shape() (least, most int, chars charset) {
	switch f.base() {
	case Quantity:
		return 1, 9, digits
	case TransportKey:
		return 1, 2, digits
	case Part, Parts:
		return 1, 9, digits
	case ProfileName, ProfileVersion, Batch:
		return 1, 64, token
	case OrderID:
		return 1, 120, token
	case OrderDate:
		return 8, 14, digits
	case Written:
		return 14, 14, digits
	case TransportKCV:
		return 9, 20, upper + "abcdefghijklmnopqrstuvwxyz- "
	case Customer, PONumber:
		return 1, 120, line
	}
	return 0, 120, line
}

// Wrong says what is wrong with value as a value of f, as "found, want
// wanted"; "" if nothing is.
func (f Field) Wrong(value string) string {
	if badByte(value) >= 0 {
		return "is not one line of plain text"
	}
	return f.wrong(value)
}

// wrong is Wrong of one line of plain text.
func (f Field) wrong(value string) string {
	switch f.base() {
	case Quantity:
		return wrongNumber(value, 1, MaxQuantity)
	case Part, Parts:
		return wrongNumber(value, 1, MaxQuantity)
	case OrderID:
		return wrongToken(value, 120)
	case Written:
		t := []byte(value)
		for i := range min(len(t), len(stamp)) {
			if t[i] == '-' { // not said
				t[i] = "20000101000000"[i]
			}
		}
		if _, err := time.Parse(stamp, string(t)); err != nil {
			return "is not a time, want YYYYMMDDhhmmss"
		}
		return ""
	case TransportKey:
		if value == "0" {
			return "is 0 (not encrypted), want the index of a transport key, 1 to 99"
		}
		return wrongNumber(value, 1, 99)
	case ProfileName, ProfileVersion, Batch:
		return wrongToken(value, 64)
	case OrderDate:
		if n := len(value); n < 8 || n > 14 || strings.Trim(value, "0123456789") != "" {
			return "is not a date, want 8 to 14 digits, YYYYMMDD first"
		}
		return ""
	case TransportKCV:
		if _, err := hsm.ParseKCV(value); err != nil {
			return "is not a check value with its method, such as \"C35280 GP\""
		}
		return ""
	case Customer, PONumber:
		if value == "" {
			return "is empty"
		}
	}
	if len(value) > 120 {
		return fmt.Sprintf("has %d bytes, want at most 120", len(value))
	}
	return ""
}

// MaxQuantity is the largest number of cards that a file may speak of.
const MaxQuantity = 100_000_000

func wrongNumber(value string, low, high int) string {
	n := 0
	for i, c := range []byte(value) {
		if c < '0' || c > '9' || i == 9 {
			return fmt.Sprintf("is not a number from %d to %d", low, high)
		}
		n = n*10 + int(c-'0')
	}
	switch {
	case value == "":
		return fmt.Sprintf("is empty, want a number from %d to %d", low, high)
	case value[0] == '0' && len(value) > 1:
		return "starts with 0, want a number without leading zeros"
	case n < low || n > high:
		return fmt.Sprintf("is %d, want %d to %d", n, low, high)
	}
	return ""
}

// WrongToken says what is wrong with value as one word of at most so many
// characters; "" if nothing is.
func WrongToken(value string, most int) string { return wrongToken(value, most) }

func wrongToken(value string, most int) string {
	if value == "" {
		return "is empty"
	}
	if len(value) > most {
		return fmt.Sprintf("has %d characters, want at most %d", len(value), most)
	}
	for i, c := range []byte(value) {
		switch {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '_', c == '-', c == '.' && i > 0:
		default:
			return fmt.Sprintf("has %q as character %d, want letters, digits, '_', '-' and '.' inside", c, i+1)
		}
	}
	return ""
}
