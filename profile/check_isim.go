package profile

import (
	"strings"

	"ankan/uicc"
)

// The names of an ISIM are of one domain, this domain is the operator's, and the
// first public identity is the card's own.
var checkISIM = check{"isim", "TS 31.103, 4.2.2 to 4.2.4; TS 23.003, 13.2 to 13.4", func(p *Profile, found func(pos, string, ...any)) {
	for d := range p.All() {
		if d.Name == uicc.DirISIM {
			imsNames(p, d, found)
		}
	}
}}

func imsNames(p *Profile, isim *File, found func(pos, string, ...any)) {
	home := derived(p.PLMN).Replace("${DOMAIN}")
	domain := isim.own("EF.DOMAIN")
	v, ok := domain.value(0)
	if ok && strings.HasSuffix(v.Text, ".3gppnetwork.org") && v.Text != home {
		found(domain.pos, "%s is %s, the operator's network %s has %s", domain.Path(), v.Text, p.PLMN, home)
	}
	impi := isim.own("EF.IMPI")
	if who, known := impi.value(0); known {
		if _, realm, _ := strings.Cut(who.Text, "@"); realm == "" || ok && realm != v.Text {
			found(impi.pos, "%s has the realm %q, EF.DOMAIN is %s", impi.Path(), realm, v.Text)
		}
	}
	impu := isim.own("EF.IMPU")
	if first, known := impu.value(0); known {
		switch scheme, rest, _ := strings.Cut(first.Text, ":"); {
		case scheme != "sip" && scheme != "tel" || rest == "" || scheme == "sip" && !strings.Contains(rest, "@"):
			found(impu.pos, "%s, record 1 is %q, want sip:user@domain or tel:number", impu.Path(), first.Text)
		case !strings.Contains(rest, digitsMark) && len(impu.Patches) == 0:
			found(impu.pos, "%s, record 1 is the same on every card, want ${IMPU}", impu.Path())
		}
	}
}
