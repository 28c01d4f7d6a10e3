package order

import (
	"fmt"
	"strings"

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
)

// wrong says what is wrong with value as a value of f, as "found, want
// wanted"; "" if nothing is.
func (f Field) wrong(value string) string {
	switch f {
	case Quantity:
		return wrongNumber(value, 1, MaxQuantity)
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

// A Dialect is one family of order and response files. It is data: the text
// of a file with ${field} where the values stand. The same text says how a
// new file is laid out and what may stand in one that comes in:
//
//	Key: ${field}    the header must have it
//	Key: ${field?}   the header may have it
//	Key: ${field>}   only a response has it
//	Key: ${input}    opens the input variables: first ${iccid} and ${imsi},
//	                 in the order of the text
//	Key: ${columns}  opens the rows of a response
//
// Other lines are decoration. In a file that comes in decoration is a blank
// line, a line that starts with '*' or a decoration line of the text.
// Keys match without case; blanks around key and value are free.
type Dialect struct {
	name string
	head []spec  // up to the line that opens the input variables
	pair [2]spec // the two input variables
	tail []spec  // from there to the line that opens the rows
}

// A spec is one line of a dialect's text.
type spec struct {
	text  string // of a decoration line; else what stands before the value
	key   string
	field Field // "" for decoration
	need  bool
	reply bool // responses only
}

const (
	fieldInput   Field = "input"
	fieldColumns Field = "columns"
	fieldICCID   Field = "iccid"
	fieldIMSI    Field = "imsi"
)

// Name is the dialect's name as contracts write it: "dialect1".
func (d *Dialect) Name() string { return d.name }

// Dialects are the dialects that Ankan reads and writes.
func Dialects() []*Dialect { return []*Dialect{dialect1, dialect2} }

// DialectByName finds a dialect.
func DialectByName(name string) (*Dialect, error) {
	var names []string
	for _, d := range Dialects() {
		if d.name == name {
			return d, nil
		}
		names = append(names, d.name)
	}
	return nil, fmt.Errorf("dialect %q is unknown, want one of %s", name, strings.Join(names, ", "))
}

// newDialect reads the text of a dialect.
func newDialect(name, text string) (*Dialect, error) {
	d := &Dialect{name: name}
	part, pairs := &d.head, 0
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		s, err := newSpec(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n+1, err)
		}
		switch {
		case s.field != fieldICCID && s.field != fieldIMSI:
			*part = append(*part, s)
			if s.field == fieldInput {
				part = &d.tail
			}
		case pairs < len(d.pair):
			d.pair[pairs] = s
			pairs++
		default:
			return nil, fmt.Errorf("%s:%d: more than two input variables", name, n+1)
		}
	}
	switch {
	case d.marker() == "" || d.output() == "" || pairs != 2 || d.pair[0].field == d.pair[1].field:
		return nil, fmt.Errorf("%s: want ${input}, one ${iccid}, one ${imsi} and at the end ${columns}", name)
	case d.find(Quantity) == nil || d.find(TransportKey) == nil || d.find(TransportKCV) == nil:
		return nil, fmt.Errorf("%s: want ${quantity}, ${transport_key} and ${transport_kcv>}", name)
	}
	return d, nil
}

func newSpec(line string) (spec, error) {
	text, field, found := strings.Cut(line, "${")
	if !found {
		return spec{text: line}, nil
	}
	field, closed := strings.CutSuffix(field, "}")
	key, _, colon := strings.Cut(text, ":")
	if !closed || !colon {
		return spec{}, fmt.Errorf("%q, want key: ${field}", line)
	}
	s := spec{text: text, key: strings.TrimSpace(key), need: true}
	if f, ok := strings.CutSuffix(field, "?"); ok {
		field, s.need = f, false
	}
	if f, ok := strings.CutSuffix(field, ">"); ok {
		field, s.need, s.reply = f, false, true
	}
	s.field = Field(field)
	switch s.field {
	case Customer, Quantity, ProfileName, ProfileVersion, Batch, OrderDate, TransportKey, TransportKCV, PONumber, GraphRef,
		Address1, Address2, Address3, Address4, Address5, Address6, fieldInput, fieldColumns, fieldICCID, fieldIMSI:
		return s, nil
	}
	return spec{}, fmt.Errorf("${%s} is not a field", field)
}

// marker is the key that opens the input variables.
func (d *Dialect) marker() string { return lastKey(d.head, fieldInput) }

// output is the key that opens the rows of a response.
func (d *Dialect) output() string { return lastKey(d.tail, fieldColumns) }

func lastKey(part []spec, f Field) string {
	if len(part) == 0 || part[len(part)-1].field != f {
		return ""
	}
	return part[len(part)-1].key
}

func (d *Dialect) find(f Field) *spec {
	for i := range d.head {
		if d.head[i].field == f {
			return &d.head[i]
		}
	}
	return nil
}

func (d *Dialect) findKey(key string) *spec {
	for i := range d.head {
		if d.head[i].field != "" && strings.EqualFold(d.head[i].key, key) {
			return &d.head[i]
		}
	}
	return nil
}

// decoration says whether text is a line without meaning.
func (d *Dialect) decoration(text string) bool {
	text = strings.Trim(text, blanks)
	if text == "" || text[0] == '*' {
		return true
	}
	for _, part := range [][]spec{d.head, d.tail} {
		for _, s := range part {
			if s.field == "" && s.text == text {
				return true
			}
		}
	}
	return false
}
