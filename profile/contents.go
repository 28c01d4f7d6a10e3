package profile

import "fmt"

// A Content is one piece of a file: a transparent file's body, a record, or a
// data object.
type Content struct {
	Hex  string // with ${SLOT} where a slot stands
	Text string // as the file's codec reads it; "" for a file without a codec, or if it cannot be read
}

// Contents is what is in an elementary file, records that only hold the filling
// included; nothing for a directory. That of an EF.ARR is made from the rules.
func (f *File) Contents() []Content {
	if f.Kind.Dedicated() {
		return nil
	}
	var all []Content
	for i := range f.pieces() {
		c := Content{Hex: f.raw(i)}
		if text := f.text(i); f.std.Codec.Known() && text != fmt.Sprintf("%X", f.piece(i)) {
			c.Text = text
		}
		all = append(all, c)
	}
	return all
}
