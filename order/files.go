package order

import (
	"io"

	"ankan/format"
	"ankan/sim"
)

// The types of files, as package format has them: orders speak of them throughout.
type (
	Field          = format.Field
	Header         = format.Header
	Column         = format.Column
	Delivery       = format.Delivery
	Row            = format.Row
	ResponseWriter = format.ResponseWriter
	Fault          = format.Fault
	Faults         = format.Faults
)

// The fields of headers that orders are looked at by.
const (
	Customer       = format.Customer
	Quantity       = format.Quantity
	ProfileName    = format.ProfileName
	ProfileVersion = format.ProfileVersion
	Batch          = format.Batch
	OrderDate      = format.OrderDate
	TransportKey   = format.TransportKey
	TransportKCV   = format.TransportKCV
	PONumber       = format.PONumber
)

// MaxQuantity is the largest number of cards that a file may speak of.
const MaxQuantity = format.MaxQuantity

// A Reading says how to read a file of a partner. The zero value is strict:
// ICCIDs carry all digits with a right check digit, and the file's own first lines
// say its layout.
type Reading struct {
	Layout   *format.Layout   // of an order; nil: one that files tell by themselves
	Output   *format.Output   // of a response; nil: the first one of its layout
	Variant  sim.ICCIDVariant // how the file writes ICCIDs; 0: 19 or 20 digits
	MaxBytes int64            // of the whole file; 0: 64 GiB. Files are read as they come, so it bounds time and not memory
}

func (rd Reading) file() format.Reading {
	return format.Reading{Layout: rd.Layout, Output: rd.Output, Variant: rd.Variant, MaxBytes: rd.MaxBytes}
}

// ParseResponse reads a response file and gives its rows one after the other, as
// format.Reading.ParseResponse does.
func (rd Reading) ParseResponse(name string, r io.Reader, begin func(Delivery) error, row func(*Row) error) (Delivery, error) {
	return rd.file().ParseResponse(name, r, begin, row)
}

// ParseResponse reads a response with the strict default Reading.
func ParseResponse(name string, r io.Reader, begin func(Delivery) error, row func(*Row) error) (Delivery, error) {
	return Reading{}.ParseResponse(name, r, begin, row)
}

// ParseColumns reads names of columns of the trade, joined by '/'.
func ParseColumns(list string) ([]Column, error) { return (*format.Layout)(nil).ParseColumns(list) }
