package stock

import (
	"fmt"
	"strconv"
	"strings"
)

// Text is what the DataMatrix symbol of a box's label says: a line for each
// field, after the name of the format.
func (b Box) Text() string {
	return strings.Join([]string{"ankan/box/v1", b.ID, b.Order, strconv.Itoa(b.Cards), b.First, b.Last, b.Seal}, "\n")
}

// ZPL is the box's label in the language of label printers, for 203 dots an
// inch on 100 mm by 70 mm: its number in Code 128, everything in a DataMatrix
// symbol, and both to be read by people.
func (b Box) ZPL() string {
	var t strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&t, format+"\n", args...) }
	line("^XA")
	line("^CI28^PW800^LL560^LH0,0")
	line("^FO30,30^BY2^BCN,110,N,N,N^FH_^FD%s^FS", zpl(b.ID))
	line("^FO30,155^A0N,44,44^FH_^FD%s^FS", zpl(b.ID))
	line("^FO580,30^BXN,6,200^FH_^FD%s^FS", zpl(b.Text()))
	for i, f := range [][2]string{{"Order", b.Order}, {"Cards", strconv.Itoa(b.Cards)}, {"ICCID from", b.First}, {"to", b.Last}, {"Seal", b.Seal}, {"Pallet", b.Pallet}} {
		if f[1] != "" {
			line("^FO30,%d^A0N,32,32^FH_^FD%s^FS", 225+52*i, zpl(f[0]+": "+f[1]))
		}
	}
	line("^XZ")
	return t.String()
}

// zpl writes text as a field's data: what the printer would take for a command
// stands as the hexadecimal of its byte.
func zpl(s string) string {
	var t strings.Builder
	for _, b := range []byte(s) {
		if b == '^' || b == '~' || b == '_' || b == '\\' || b < ' ' || b == 0x7F {
			fmt.Fprintf(&t, "_%02X", b)
		} else {
			t.WriteByte(b)
		}
	}
	return t.String()
}
