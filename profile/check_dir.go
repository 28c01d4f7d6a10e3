package profile

import (
	"fmt"
	"slices"

	"ankan/uicc"
)

// EF.DIR lists every application of the card and no other.
var checkDIR = check{"dir", "TS 102 221, 13.1", func(p *Profile, found func(pos, string, ...any)) {
	dir := p.MF.find("EF.DIR")
	if dir == nil || dir.parent != p.MF {
		return // checkMandatory says so
	}
	var listed []string
	for i := range dir.Body {
		v, err := dir.std.Codec.Decode(dir.piece(i))
		if err != nil {
			continue // checkSizes says so
		}
		if aid, ok := v.Get("aid"); ok {
			listed = append(listed, aid.Text)
		}
	}
	for f := range p.All() {
		if f.Kind != uicc.KindADF {
			continue
		}
		aid := fmt.Sprintf("%X", f.AID)
		i := slices.Index(listed, aid)
		if i < 0 {
			found(dir.pos, "EF.DIR does not list %s with the AID %s", f.Name, aid)
			continue
		}
		listed = slices.Delete(listed, i, i+1)
	}
	for _, aid := range listed {
		found(dir.pos, "EF.DIR lists the AID %s once more than the card has it", aid)
	}
}}
