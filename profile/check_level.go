package profile

// A packet that nobody signed, or that was sent before, does nothing: a server's
// word is what changes cards in the field. Test cards may take less.
var checkLevel = check{"level", "TS 102 226, 8.2.1.3.2.4; TS 102 225, 5.1.1", func(p *Profile, found func(pos, string, ...any)) {
	for _, x := range p.Remote {
		if !p.Test && (x.Level&levelCheck != levelCC || x.Level&levelHigher == 0) {
			found(x.pos, "remote %s: level %s, want a cryptographic checksum and a counter that is checked; say test: true for test cards", x.Name, x.Level)
		}
	}
}}
