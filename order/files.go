package order

import (
	"io"

	"ankan/format"
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

// A Reading says how to read a file of a partner, as format.Reading does; orders
// add how their identities are kept.
type Reading format.Reading

// ParseResponse reads a response file and gives its rows one after the other, as
// format.Reading.ParseResponse does.
func (rd Reading) ParseResponse(name string, r io.Reader, begin func(Delivery) error, row func(*Row) error) (Delivery, error) {
	return format.Reading(rd).ParseResponse(name, r, begin, row)
}

// ParseColumns reads names of columns of the trade, joined by '/'.
func ParseColumns(list string) ([]Column, error) { return (*format.Layout)(nil).ParseColumns(list) }
