package simos

import "ankan/uicc"

// tagList is the tag that RETRIEVE DATA answers with the list of all tags
// (TS 102 221, 11.3.1). No object has it.
const tagList uicc.Tag = 0x5C

// transfer is a data object of a BER-TLV structured EF on its way, block by
// block, on a logical channel. The zero transfer is none.
type transfer struct {
	file int // the EF; 0: none
	set  bool
	tag  uicc.Tag
	done int    // RETRIEVE DATA: bytes that were told
	data []byte // SET DATA: the object so far, tag and length too
	want int    // SET DATA: bytes of the whole object
}

// The content of a BER-TLV structured EF is its data objects one behind the
// other (TS 102 221, 8.2.2.4), no tag twice, and zeros up to the reserved size.

// objects says where the EF's data objects lie and how many bytes they are;
// none, and not ok, if the content is not sound.
func (m *memory) objects(f int) (at, used int, ok bool) {
	at, size := m.body(f)
	rest := m.b[at : at+size]
	for seen := map[uicc.Tag]bool{}; len(rest) > 0 && rest[0] != 0; {
		t, next, err := uicc.ReadTLV(rest)
		if err != nil || t.Tag == tagList || seen[t.Tag] {
			return 0, 0, false
		}
		seen[t.Tag] = true
		rest = next
	}
	for _, x := range rest {
		if x != 0 {
			return 0, 0, false
		}
	}
	return at, size - len(rest), true
}

// object is where the object with this tag lies in the EF; n is 0 if there is
// none, and at then the place behind the last.
func (m *memory) object(f int, tag uicc.Tag) (at, n int) {
	at, used, _ := m.objects(f)
	for rest := m.b[at : at+used]; len(rest) > 0; at += n {
		t, next, _ := uicc.ReadTLV(rest) // objects has read it already
		n = len(rest) - len(next)
		if t.Tag == tag {
			return at, n
		}
		rest = next
	}
	return at, 0
}

// tags is the object with the list of all tags.
func (m *memory) tags(f int) []byte {
	at, used, _ := m.objects(f)
	var list []byte
	for t, err := range uicc.TLVs(m.b[at : at+used]) {
		if err == nil {
			list = uicc.AppendTL(list, t.Tag, 0)
			list = list[:len(list)-1]
		}
	}
	return uicc.AppendTLV(nil, tagList, list...)
}

// block reads P1 and P2 of RETRIEVE and SET DATA and finds the EF.
func (c *core) block(cmd *uicc.Command, mode uicc.Mode) (f int, first bool, sw uicc.SW) {
	sfi := cmd.P2 & 0x1F
	if cmd.P1 != 0 || cmd.P2&0x60 != 0 || sfi == 31 {
		return 0, false, uicc.SWParameters
	}
	f, sw = c.use(sfi, cmd, mode, uicc.BERTLV)
	return f, cmd.P2&0x80 != 0, sw
}

// retrieveData is RETRIEVE DATA (TS 102 221, 11.3.1). Whatever goes wrong ends
// the transfer at hand.
func (c *core) retrieveData(cmd *uicc.Command) uicc.SW {
	ch := c.session.ch
	f, first, sw := c.block(cmd, uicc.ModeRead)
	x := ch.transfer
	ch.transfer = transfer{}
	switch {
	case sw != uicc.SWOK:
		return sw
	case first != (len(cmd.Data) > 0), !first && cmd.Le == uicc.NoLe:
		return uicc.SWLength
	case first:
		tag, rest, err := uicc.ReadTag(cmd.Data)
		if err != nil || len(rest) > 0 {
			return uicc.SWData
		}
		x = transfer{file: f, tag: tag}
	case x.file != f || x.set:
		return uicc.SWConditions
	}
	var object []byte
	if x.tag == tagList {
		object = c.tags(f)
	} else if at, n := c.object(f, x.tag); n > 0 {
		object = c.b[at : at+n]
	} else {
		return uicc.SWNotFound
	}
	object = object[x.done:]
	n := min(len(object), c.session.room(cmd.Le))
	c.session.out = append(c.session.out, object[:n]...)
	if n < len(object) {
		x.done += n
		ch.transfer = x
		return uicc.SWMoreData
	}
	return uicc.SWOK
}

// room is how many bytes one answer of RETRIEVE DATA holds: a command over T=0
// that brings data has no Le, and the secure channel's MAC takes its part.
func (s *session) room(le int) int {
	if le == uicc.NoLe {
		le = 256
	}
	if s.inside {
		le = min(le, wrapRoom)
	}
	return le
}

// setData is SET DATA (TS 102 221, 11.3.2). The blocks are gathered in the
// session; the memory changes with the last one, in one transaction. Whatever
// goes wrong ends the transfer at hand.
func (c *core) setData(cmd *uicc.Command) uicc.SW {
	ch := c.session.ch
	f, first, sw := c.block(cmd, uicc.ModeUpdate)
	x := ch.transfer
	ch.transfer = transfer{}
	switch {
	case sw != uicc.SWOK:
		return sw
	case len(cmd.Data) == 0:
		return uicc.SWLength
	case first:
		tag, rest, err := uicc.ReadTag(cmd.Data)
		if err != nil || tag == tagList {
			return uicc.SWData
		}
		if len(rest) == 0 {
			return c.replace(f, tag, nil)
		}
		_, n, value, err := uicc.ReadTL(cmd.Data)
		if err != nil {
			return uicc.SWData
		}
		x = transfer{file: f, set: true, tag: tag, want: len(cmd.Data) - len(value) + n}
		if !c.fits(f, tag, x.want) {
			return uicc.SWNoSpace
		}
	case x.file != f || !x.set:
		return uicc.SWConditions
	}
	if len(x.data)+len(cmd.Data) > x.want {
		return uicc.SWData
	}
	x.data = append(x.data, cmd.Data...)
	if len(x.data) < x.want {
		ch.transfer = x
		return uicc.SWMoreExpected
	}
	return c.replace(f, x.tag, x.data)
}

// fits reports whether the EF has room for an object of n bytes in place of
// the one with its tag.
func (c *core) fits(f int, tag uicc.Tag, n int) bool {
	_, used, ok := c.objects(f)
	_, old := c.object(f, tag)
	_, size := c.body(f)
	return ok && used-old+n <= size
}

// replace puts an object in the place of the one with this tag, or behind the
// last one. No object deletes. What follows moves up or down with it, and what
// becomes free is wiped.
func (c *core) replace(f int, tag uicc.Tag, object []byte) uicc.SW {
	at, old := c.object(f, tag)
	if len(object) == 0 && old == 0 {
		return uicc.SWNotFound
	}
	if !c.fits(f, tag, len(object)) { // another channel may have filled it
		return uicc.SWNoSpace
	}
	start, used, _ := c.objects(f)
	end := start + used
	p := append(append(make([]byte, 0, end-at+len(object)), object...), c.b[at+old:end]...)
	if n := end - at - len(p); n > 0 {
		p = append(p, make([]byte, n)...)
	}
	c.write(at, p...)
	for i := range c.session.channels {
		if x := &c.session.channels[i].transfer; x.file == f && !x.set {
			*x = transfer{} // what was told of the object may be no longer true
		}
	}
	return uicc.SWOK
}
