package backup

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The types of records.
const (
	recVersion = 'V'
	recTable   = 'T'
	recRow     = 'R'
	recRows    = 'E'
	recFile    = 'F'
	recPiece   = 'D'
	recFileEnd = 'Z'
	recEnd     = 'M'
)

// The kinds of values.
const (
	valNothing = 'n'
	valNumber  = 'i'
	valText    = 's'
	valBytes   = 'b'
)

// Bounds of a record: more than any table has columns, and than any value has
// bytes.
const (
	maxValues = 1000
	maxValue  = 1 << 30
)

// ErrDamaged is wrapped where a backup is not what a backup is: cut short,
// changed, or of something else.
var ErrDamaged = errors.New("the backup is damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// appendRecord appends a record. A value is nil, an int64, a string or a
// []byte; others are a fault of the caller.
func appendRecord(b []byte, kind byte, values ...any) []byte {
	b = append(b, kind)
	b = binary.AppendUvarint(b, uint64(len(values)))
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			b = append(b, valNothing)
		case int64:
			b = binary.AppendVarint(append(b, valNumber), v)
		case string:
			b = binary.AppendUvarint(append(b, valText), uint64(len(v)))
			b = append(b, v...)
		case []byte:
			b = binary.AppendUvarint(append(b, valBytes), uint64(len(v)))
			b = append(b, v...)
		default:
			panic(fmt.Sprintf("backup: a value of type %T", v))
		}
	}
	return b
}

// A recordReader reads records, strictly.
type recordReader struct {
	r *bufio.Reader
	n int64 // records read
}

func newRecordReader(r io.Reader) *recordReader {
	return &recordReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// next reads one record; io.EOF where there is none, and ErrDamaged where it is
// cut short or written in another way than appendRecord's.
func (d *recordReader) next() (kind byte, values []any, err error) {
	kind, err = d.r.ReadByte()
	if err != nil {
		return 0, nil, err
	}
	d.n++
	count, err := d.uvarint()
	if err != nil {
		return 0, nil, d.cut(err)
	}
	if count > maxValues {
		return 0, nil, damaged("record %d has %d values, want at most %d", d.n, count, maxValues)
	}
	values = make([]any, count)
	for i := range values {
		if values[i], err = d.value(); err != nil {
			return 0, nil, d.cut(err)
		}
	}
	return kind, values, nil
}

// cut turns the end of the stream in the middle of a record into what it is.
func (d *recordReader) cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("record %d ends in its middle", d.n)
	}
	return err
}

func (d *recordReader) value() (any, error) {
	kind, err := d.r.ReadByte()
	if err != nil {
		return nil, err
	}
	switch kind {
	case valNothing:
		return nil, nil
	case valNumber:
		n, err := d.uvarint()
		return int64(n>>1) ^ -int64(n&1), err
	case valText:
		b, err := d.bytes()
		return string(b), err
	case valBytes:
		b, err := d.bytes()
		if b == nil {
			b = []byte{}
		}
		return b, err
	}
	return nil, damaged("record %d has a value of the kind %q", d.n, kind)
}

// bytes takes no memory for what is not there.
func (d *recordReader) bytes() ([]byte, error) {
	n, err := d.uvarint()
	if err != nil {
		return nil, err
	}
	if n > maxValue {
		return nil, damaged("record %d has a value of %d bytes, want at most %d", d.n, n, maxValue)
	}
	if n <= 64<<10 {
		b := make([]byte, n)
		_, err = io.ReadFull(d.r, b)
		return b, err
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, d.r, int64(n)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// uvarint reads a number that is written as short as can be.
func (d *recordReader) uvarint() (n uint64, err error) {
	for i := 0; ; i++ {
		b, err := d.r.ReadByte()
		if err != nil {
			return 0, err
		}
		if i == binary.MaxVarintLen64-1 && b > 1 || i > 0 && b == 0 {
			return 0, damaged("record %d has a number that is too long", d.n)
		}
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			return n, nil
		}
	}
}
