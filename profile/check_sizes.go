package profile

// Files that the standards describe have their kind and size, and what is in
// them can be read as the standards say.
var checkSizes = check{"sizes", "TS 31.102, 4.2; TS 102 221, 13", func(p *Profile, found func(pos, string, ...any)) {
	for f := range p.All() {
		if f.std.Name == "" || f.isARR {
			continue
		}
		if f.Kind != f.std.Kind {
			found(f.pos, "%s is %s, want %s (%s)", f.Path(), f.Kind, f.std.Kind, f.std.Clause)
			continue
		}
		if n := f.pieceSize(); f.std.Size != 0 && n != f.std.Size {
			found(f.pos, "%s has %d bytes, want %d (%s)", f.Path(), n, f.std.Size, f.std.Clause)
			continue
		}
		if !f.std.Codec.Known() {
			continue
		}
		if n, unit := f.pieceSize(), f.std.Codec.Unit(); n%unit != 0 {
			found(f.pos, "%s has %d bytes, want a multiple of %d (%s)", f.Path(), n, unit, f.std.Clause)
		}
		patched := map[int]bool{}
		for _, x := range f.Patches {
			patched[x.Piece] = true
		}
		for i := range max(1, len(f.Body)) {
			if patched[i] {
				continue
			}
			if _, err := f.std.Codec.Decode(f.piece(i)); err != nil {
				found(f.pos, "%s, piece %d: %v (%s)", f.Path(), i+1, err, f.std.Clause)
			}
		}
	}
}}
