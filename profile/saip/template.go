package saip

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ankan/uicc"
)

// A template is a set of files that the specification describes in its annex A;
// a profile element names one, and says only what differs.
type template struct {
	choice  string // of ProfileElement: usim, opt-usim ...
	oid     string // without the last arc, which is the version
	create  bool   // files that the element leaves out are created all the same
	under   string // the choice whose directory the files lie in; "" for the first file's own
	entries []entry
}

// An entry is a component of a template's element: one file, or several.
type entry struct {
	field  string // in the ASN.1: ef-imsi
	name   string
	id     uicc.FileID // 0: the element says it
	kind   uicc.Kind
	count  int // records; 0: the element says it
	size   int // bytes of the file or of a record; 0: the element says it
	sfi    byte
	rule   int // record of the EF.ARR
	filled pattern
}

// A pattern is the content of a new file: bytes before, one that is repeated, and
// bytes behind. Whole patterns are repeated as they are.
type pattern struct {
	head, tail []byte
	middle     byte
	whole      []byte
}

// body is n bytes of the pattern.
func (p pattern) body(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		switch {
		case len(p.whole) > 0:
			b[i] = p.whole[i%len(p.whole)]
		case i < len(p.head):
			b[i] = p.head[i]
		case i >= n-len(p.tail):
			b[i] = p.tail[i-n+len(p.tail)]
		default:
			b[i] = p.middle
		}
	}
	return b
}

// parsePattern reads 07FF.. and FF..07, in which the byte before the dots is
// repeated, and (FFFFFF0000), which is repeated as a whole. Nothing is FF.
func parsePattern(s string) (pattern, error) {
	if s == "-" {
		return pattern{middle: 0xFF}, nil
	}
	if w, ok := strings.CutPrefix(s, "("); ok {
		b, err := hex.DecodeString(strings.TrimSuffix(w, ")"))
		return pattern{whole: b}, err
	}
	head, tail, dots := strings.Cut(s, "..")
	a, err := hex.DecodeString(head)
	if err != nil || len(a) == 0 {
		return pattern{}, fmt.Errorf("pattern %q", s)
	}
	b, err := hex.DecodeString(tail)
	p := pattern{head: a[:len(a)-1], middle: a[len(a)-1], tail: b}
	if !dots {
		p.head = a
		p.middle = 0xFF
	}
	return p, err
}

// A templateText has a line for each component, in the order of the ASN.1 from
// component 2 on (0 is the header, 1 the template's identifier). Columns: field,
// name, identifier, kind, records, bytes, SFI, record of EF.ARR, content; - where
// nothing is said. Where versions of the template differ, the figures are divided
// by slashes. Field names, sizes and rules: TCA eUICC Profile Package, annex A.
type templateText struct {
	choice, oid string
	create      bool
	under       string
	lines       string
}

// findTemplate reads the table for one version of a template, 1 for an identifier
// without a version.
func findTemplate(choice string, oid string) (*template, error) {
	i := slices.IndexFunc(templateTexts[:], func(t templateText) bool { return t.choice == choice })
	if i < 0 {
		return nil, fmt.Errorf("there is no template of %s", choice)
	}
	t := templateTexts[i]
	version := 1
	if oid != t.oid {
		v, ok := strings.CutPrefix(oid, t.oid+".")
		n, err := strconv.Atoi(v)
		if !ok || err != nil || n < 2 || n > 9 {
			return nil, fmt.Errorf("template %s is not one of %s, want %s or a later version of it", oid, choice, t.oid)
		}
		version = n
	}
	out := &template{choice: t.choice, oid: t.oid, create: t.create, under: t.under}
	for line := range strings.Lines(t.lines) {
		e, err := parseEntry(strings.Fields(line), version)
		if err != nil {
			panic("saip: " + t.choice + ": " + line + err.Error()) // the table is part of the program
		}
		out.entries = append(out.entries, e)
	}
	return out, nil
}

func parseEntry(c []string, version int) (e entry, err error) {
	if len(c) != 9 {
		return e, fmt.Errorf("%d columns, want 9", len(c))
	}
	number := func(s string, base int) int {
		if s == "-" {
			return 0
		}
		all := strings.Split(s, "/")
		v, x := strconv.ParseUint(all[min(version, len(all))-1], base, 16)
		if x != nil {
			err = x
		}
		return int(v)
	}
	kinds := map[string]uicc.Kind{"MF": uicc.KindMF, "DF": uicc.KindDF, "ADF": uicc.KindADF,
		"TR": uicc.Transparent, "LF": uicc.LinearFixed, "CY": uicc.Cyclic, "BT": uicc.BERTLV}
	e = entry{
		field: c[0], name: c[1], id: uicc.FileID(number(c[2], 16)), kind: kinds[c[3]],
		count: number(c[4], 10), size: number(c[5], 10), sfi: byte(number(c[6], 16)), rule: number(c[7], 10),
	}
	if e.kind == uicc.KindNone {
		return e, fmt.Errorf("kind %q", c[3])
	}
	if err == nil {
		e.filled, err = parsePattern(c[8])
	}
	return e, err
}

const telecomPhonebook = `
ef-pbr EF.PBR 4F30 LF - - - 2 -
ef-ext1 EF.EXT1 - LF - 13 - 5 00FF..
ef-aas EF.AAS - LF - - - 5 -
ef-gas EF.GAS - LF - - - 5 -
ef-psc EF.PSC 4F22 TR - 4 - 5 00..
ef-cc EF.CC 4F23 TR - 2 - 5 00..
ef-puid EF.PUID 4F24 TR - 2 - 5 00..
ef-iap EF.IAP - LF - - - 5 -
ef-adn EF.ADN - LF - - - 5 -
ef-pbc EF.PBC - LF - 2 - 5 00..
ef-anr EF.ANR - LF - - - 5 -
ef-puri EF.PURI - LF - - - 5 -
ef-email EF.EMAIL - LF - - - 5 -
ef-sne EF.SNE - LF - - - 5 -
ef-uid EF.UID - LF - 2 - 5 00..
ef-grp EF.GRP - LF - - - 5 00..
ef-ccp1 EF.CCP1 - LF - - - 5 -
`

// templateTexts is never changed.
var templateTexts = [...]templateText{
	{"mf", "2.23.143.1.2.1", true, "", `mf MF 3F00 MF - - - 14 -
ef-pl EF.PL 2F05 TR - 2 05 1 -
ef-iccid EF.ICCID 2FE2 TR - 10 02 11 -
ef-dir EF.DIR 2F00 LF - - 1E 10 -
ef-arr EF.ARR 2F06 LF - - 06 10 -
ef-umpc EF.UMPC 2F08 TR - 5 08 10 -`},

	{"cd", "2.23.143.1.2.2", false, "mf", `df-cd DF.CD 7F11 DF - - - 14 -
ef-launchpad EF.LAUNCHPAD 6F01 TR - - - 2 -
ef-icon EF.ICON - TR - - - 2 -`},

	{"telecom", "2.23.143.1.2.3", false, "mf", `df-telecom DF.TELECOM 7F10 DF - - - 14 -
ef-arr EF.ARR 6F06 LF - - - 10 -
ef-rma EF.RMA 6F53 LF - - - 3 -
ef-sume EF.SUME 6F54 TR - 22 - 3 -
ef-ice-dn EF.ICE_DN 6FE0 LF 50 24 - 9 -
ef-ice-ff EF.ICE_FF 6FE1 LF - - - 9 -
ef-psismsc EF.PSISMSC 6FE5 LF - - - 5 -
df-graphics DF.GRAPHICS 5F50 DF - - - 14 -
ef-img EF.IMG 4F20 LF - - - 2 00FF..
ef-iidf EF.IIDF - TR - - - 2 -
ef-ice-graphics EF.ICE_GRAPHICS 4F21 BT - - - 9 -
ef-launch-scws EF.LAUNCH_SCWS 4F01 TR - - - 10 -
ef-icon EF.ICON - TR - - - 10 -
df-phonebook DF.PHONEBOOK 5F3A DF - - - 14 -` + telecomPhonebook + `df-multimedia DF.MULTIMEDIA 5F3B DF - - - 14 -
ef-mml EF.MML 4F47 BT - - - 5 -
ef-mmdf EF.MMDF 4F48 BT - - - 5 -
df-mmss DF.MMSS 5F3C DF - - - 14 -
ef-mlpl EF.MLPL 4F20 TR - - 01 2 -
ef-mspl EF.MSPL 4F21 TR - - 02 2 -
ef-mmssmode EF.MMSSMODE 4F22 TR - 1 03 2 -
df-mcs DF.MCS 5F3D DF - - - 14 -
ef-mst EF.MST 4F01 TR - - 01 2 -
ef-mcs-config EF.MCS_CONFIG 4F02 BT - - 02 2 -
df-v2x DF.V2X 5F3E DF - - - 14 -
ef-vst EF.VST 4F01 TR - - 01 2 -
ef-v2x-config EF.V2X_CONFIG 4F02 BT - - 02 2 -
ef-v2xp-pc5 EF.V2XP_PC5 4F03 TR - - - 2 -
ef-v2xp-Uu EF.V2XP_Uu 4F04 TR - - - 2 -`},

	{"usim", "2.23.143.1.2.4", true, "", `adf-usim ADF.USIM - ADF - - - 14 -
ef-imsi EF.IMSI 6F07 TR - 9 07 2 -
ef-arr EF.ARR 6F06 LF - - 17 10 -
ef-keys EF.Keys 6F08 TR - 33 08 5 07FF..
ef-keysPS EF.KeysPS 6F09 TR - 33 09 5 07FF..
ef-hpplmn EF.HPPLMN 6F31 TR - 1 12 2 0A
ef-ust EF.UST 6F38 TR - 14/17 04 2 -
ef-fdn EF.FDN 6F3B LF 20 26 - 8 -
ef-sms EF.SMS 6F3C LF 10 176 - 5 00FF..
ef-smsp EF.SMSP 6F42 LF 1 38 - 5 -
ef-smss EF.SMSS 6F43 TR - 2 - 5 -
ef-spn EF.SPN 6F46 TR - 17 - 10 -
ef-est EF.EST 6F56 TR - 1 05 8 -
ef-start-hfn EF.START-HFN 6F5B TR - 6 0F 5 F00000F00000
ef-threshold EF.THRESHOLD 6F5C TR - 3 10 2 -
ef-psloci EF.PSLOCI 6F73 TR - 14 0C 5 FFFFFFFFFFFFFFFFFFFF0000FF01
ef-acc EF.ACC 6F78 TR - 2 06 2 -
ef-fplmn EF.FPLMN 6F7B TR - 12 0D 5 -
ef-loci EF.LOCI 6F7E TR - 11 0B 5 FFFFFFFFFFFFFF0000FF01
ef-ad EF.AD 6FAD TR - 4 03 10 00000002
ef-ecc EF.ECC 6FB7 LF 1 4 01 10 -
ef-netpar EF.NETPAR 6FC4 TR - 128 - 5 -
ef-epsloci EF.EPSLOCI 6FE3 TR - 18 1E 5 FF..000001
ef-epsnsc EF.EPSNSC 6FE4 LF 1 80 18 5 -`},

	{"opt-usim", "2.23.143.1.2.5", false, "usim", `ef-li EF.LI 6F05 TR - 6 02 1 -
ef-acmax EF.ACMmax 6F37 TR - 3 - 5 00..
ef-acm EF.ACM 6F39 CY 1 3 - 7 00..
ef-gid1 EF.GID1 6F3E TR - 8 - 2 -
ef-gid2 EF.GID2 6F3F TR - 8 - 2 -
ef-msisdn EF.MSISDN 6F40 LF 1 24 - 2 -
ef-puct EF.PUCT 6F41 TR - 5 - 5 FFFFFF0000
ef-cbmi EF.CBMI 6F45 TR - 10 - 5 -
ef-cbmid EF.CBMID 6F48 TR - 10 0E 2 -
ef-sdn EF.SDN 6F49 LF 10 24 - 2 -
ef-ext2 EF.EXT2 6F4B LF 10 13 - 8 00FF..
ef-ext3 EF.EXT3 6F4C LF 10 13 - 2 00FF..
ef-cbmir EF.CBMIR 6F50 TR - 20 - 5 -
ef-plmnwact EF.PLMNwAcT 6F60 TR - 40 0A 5 (FFFFFF0000)
ef-oplmnwact EF.OPLMNwAcT 6F61 TR - 40 11 2 (FFFFFF0000)
ef-hplmnwact EF.HPLMNwAcT 6F62 TR - 5 13 2 (FFFFFF0000)
ef-dck EF.DCK 6F2C TR - 16 - 5 -
ef-cnl EF.CNL 6F32 TR - 30 - 2 -
ef-smsr EF.SMSR 6F47 LF 10 30 - 5 00FF..
ef-bdn EF.BDN 6F4D LF 10 25 - 8 -
ef-ext5 EF.EXT5 6F4E LF 10 13 - 5 00FF..
ef-ccp2 EF.CCP2 6F4F LF 5 15 16 5 -
ef-ext4 EF.EXT4 6F55 LF 10 13 - 8 00FF..
ef-acl EF.ACL 6F57 TR - 101 - 8 00FF..
ef-cmi EF.CMI 6F58 LF 10 11 - 2 -
ef-ici EF.ICI 6F80 CY 20 38 14 5 FF..0000000001FFFF
ef-oci EF.OCI 6F81 CY 20 37 15 5 FF..00000001FFFF
ef-ict EF.ICT 6F82 CY 1 3 - 7 00..
ef-oct EF.OCT 6F83 CY 1 3 - 7 00..
ef-vgcs EF.VGCS 6FB1 TR - 20 - 2 -
ef-vgcss EF.VGCSS 6FB2 TR - 7 - 5 -
ef-vbs EF.VBS 6FB3 TR - 20 - 2 -
ef-vbss EF.VBSS 6FB4 TR - 7 - 5 -
ef-emlpp EF.eMLPP 6FB5 TR - 2 - 2 -
ef-aaem EF.AAeM 6FB6 TR - 1 - 5 00
ef-hiddenkey EF.HiddenKey 6FC3 TR - 4 - 5 -
ef-pnn EF.PNN 6FC5 LF 10 16 19 10 -
ef-opl EF.OPL 6FC6 LF 5 8 1A 10 -
ef-mbdn EF.MBDN 6FC7 LF 3 24 - 5 -
ef-ext6 EF.EXT6 6FC8 LF 10 13 - 5 00FF..
ef-mbi EF.MBI 6FC9 LF 10 5 - 5 -
ef-mwis EF.MWIS 6FCA LF 10 6 - 5 00..
ef-cfis EF.CFIS 6FCB LF 10 16 - 5 0100FF..
ef-ext7 EF.EXT7 6FCC LF 10 13 - 5 00FF..
ef-spdi EF.SPDI 6FCD TR - 17 1B 2 -
ef-mmsn EF.MMSN 6FCE LF 10 6 - 5 000000FF..
ef-ext8 EF.EXT8 6FCF LF 10 13 - 5 00FF..
ef-mmsicp EF.MMSICP 6FD0 TR - 100 - 2 -
ef-mmsup EF.MMSUP 6FD1 LF - - - 5 -
ef-mmsucp EF.MMSUCP 6FD2 TR - 100 - 5 -
ef-nia EF.NIA 6FD3 LF 5 11 - 2 -
ef-vgcsca EF.VGCSCA 6FD4 TR - - - 2 00..
ef-vbsca EF.VBSCA 6FD5 TR - - - 2 00..
ef-gbabp EF.GBABP 6FD6 TR - - - 5 -
ef-msk EF.MSK 6FD7 LF - - - 2 -
ef-muk EF.MUK 6FD8 LF - - - 2 -
ef-ehplmn EF.EHPLMN 6FD9 TR - 15 1D 2 -
ef-gbanl EF.GBANL 6FDA LF - - - 2 -
ef-ehplmnpi EF.EHPLMNPI 6FDB TR - 1 - 2 00
ef-lrplmnsi EF.LRPLMNSI 6FDC TR - 1 - 2 00
ef-nafkca EF.NAFKCA 6FDD LF - - - 2 -
ef-spni EF.SPNI 6FDE TR - - - 10 00FF..
ef-pnni EF.PNNI 6FDF LF - - - 10 00FF..
ef-ncp-ip EF.NCP-IP 6FE2 LF - - - 2 -
ef-ufc EF.UFC 6FE6 TR - 30 - 10 801E60C01E900080040000000000000000F0000000004000000000000080
ef-nasconfig EF.NASCONFIG 6FE8 TR - 18 - 2 -
ef-uicciari EF.UICCIARI 6FE7 LF - - - 2 -
ef-pws EF.PWS 6FEC TR - - - 10 -
ef-fdnuri EF.FDNURI 6FED LF - - - 8 -
ef-bdnuri EF.BDNURI 6FEE LF - - - 8 -
ef-sdnuri EF.SDNURI 6FEF LF - - - 2 -
ef-ial EF.IAL 6FF0 LF - - - 3 -
ef-ips EF.IPS 6FF1 CY - 4 - 10 -
ef-ipd EF.IPD 6FF2 LF - - - 3 -
ef-epdgid EF.ePDGId 6FF3 TR - - - 2 -
ef-epdgselection EF.ePDGSelection 6FF4 TR - - - 2 -
ef-epdgidem EF.ePDGIdEm 6FF5 TR - - - 2 -
ef-epdgselectionem EF.ePDGSelectionEm 6FF6 TR - - - 2 -
ef-frompreferred EF.FromPreferred 6FF7 TR - 1 - 2 00
ef-imsconfigdata EF.IMSConfigData 6FF8 BT - - - 2 -
ef-3gpppsdataoff EF.3GPPPSDATAOFF 6FF9 TR - 4 - 2 -
ef-3gpppsdataoffservicelist EF.3GPPPSDATAOFFservicelist 6FFA LF - - - 2 -
ef-xcapconfigdata EF.XCAPConfigData 6FFC BT - - - 2 -
ef-earfcnlist EF.EARFCNList 6FFD TR - - - 10 -
ef-mudmidconfigdata EF.MuDMiDConfigData 6FFE BT - - - 2 -
ef-eaka EF.eAKA - TR - - - 2 -`},

	{"isim", "2.23.143.1.2.8", true, "", `adf-isim ADF.ISIM - ADF - - - 14 -
ef-impi EF.IMPI 6F02 TR - - 02 2 -
ef-impu EF.IMPU 6F04 LF 1 - 04 2 -
ef-domain EF.DOMAIN 6F03 TR - - 05 2 -
ef-ist EF.IST 6F07 TR - 14 07 2 -
ef-ad EF.AD 6FAD TR - 3 03 10 000000
ef-arr EF.ARR 6F06 LF - - 06 10 -`},

	{"opt-isim", "2.23.143.1.2.9", false, "isim", `ef-pcscf EF.P-CSCF 6F09 LF 1 - - 2 -
ef-sms EF.SMS 6F3C LF 10 176 - 5 00FF..
ef-smsp EF.SMSP 6F42 LF 1 38 - 5 -
ef-smss EF.SMSS 6F43 TR - 2 - 5 -
ef-smsr EF.SMSR 6F47 LF 10 30 - 5 00FF..
ef-gbabp EF.GBABP 6FD5 TR - - - 5 -
ef-gbanl EF.GBANL 6FD7 LF - - - 2 -
ef-nafkca EF.NAFKCA 6FDD LF - - - 2 -
ef-uicciari EF.UICCIARI 6FE7 LF - - - 2 -
ef-frompreferred EF.FromPreferred 6FF7 TR - 1 - 2 00
ef-imsconfigdata EF.IMSConfigData 6FF8 BT - - - 2 -
ef-xcapconfigdata EF.XCAPConfigData 6FFC BT - - - 2 -
ef-webrtcuri EF.WebRTCURI 6FFA LF - - - 2 -
ef-mudmidconfigdata EF.MuDMiDConfigData 6FFE BT - - - 2 -`},

	{"phonebook", "2.23.143.1.2.6", false, "usim", `df-phonebook DF.PHONEBOOK 5F3A DF - - - 14 -` + telecomPhonebook},

	{"gsm-access", "2.23.143.1.2.7", false, "usim", `df-gsm-access DF.GSM-ACCESS 5F3B DF - - - 14 -
ef-kc EF.Kc 4F20 TR - 9 01 5 FF..07
ef-kcgprs EF.KcGPRS 4F52 TR - 9 02 5 FF..07
ef-cpbcch EF.CPBCCH 4F63 TR - 10 - 5 -
ef-invscan EF.InvScan 4F64 TR - 1 - 2 00`},

	// CSIM: sizes from 3GPP2 C.S0065.
	{"csim", "2.23.143.1.2.10", true, "", `adf-csim ADF.CSIM - ADF - - - 14 -
ef-arr EF.ARR 6F06 LF - - - 10 -
ef-call-count EF.COUNT 6F21 CY 1 2 - 5 00..
ef-imsi-m EF.IMSI_M 6F22 TR - 10 - 2 -
ef-imsi-t EF.IMSI_T 6F23 TR - 10 - 2 -
ef-tmsi EF.TMSI 6F24 TR - 16 - 5 -
ef-ah EF.AH 6F25 TR - 2 - 5 -
ef-aop EF.AOP 6F26 TR - 1 - 5 -
ef-aloc EF.ALOC 6F27 TR - 7 - 5 -
ef-cdmahome EF.CDMAHOME 6F28 LF - 5 - 5 -
ef-znregi EF.ZNREGI 6F29 LF - 8 - 5 -
ef-snregi EF.SNREGI 6F2A TR - 7 - 5 -
ef-distregi EF.DISTREGI 6F2B TR - 8 - 5 -
ef-accolc EF.ACCOLC 6F2C TR - 1 - 2 -
ef-term EF.TERM 6F2D TR - 1 - 5 -
ef-acp EF.ACP 6F2F TR - 7 - 5 -
ef-prl EF.PRL 6F30 TR - - - 5 -
ef-ruimid EF.RUIMID 6F31 TR - 8 - 10 -
ef-csim-st EF.CSIM_ST 6F32 TR - - - 2 -
ef-spc EF.SPC 6F33 TR - 3 - 2 -
ef-otapaspc EF.OTAPASPC 6F34 TR - 1 - 5 -
ef-namlock EF.NAMLOCK 6F35 TR - 1 - 5 -
ef-ota EF.OTA 6F36 TR - - - 2 -
ef-sp EF.SP 6F37 TR - 1 - 5 -
ef-esn-meid-me EF.ESN_MEID_ME 6F38 TR - 8 - 2 -
ef-li EF.LI 6F3A TR - - - 1 -
ef-usgind EF.USGIND 6F42 TR - 1 - 2 -
ef-ad EF.AD 6F43 TR - 3 - 10 -
ef-max-prl EF.MAX_PRL 6F45 TR - - - 2 -
ef-spcs EF.SPCS 6F46 TR - 1 - 2 -
ef-mecrp EF.MECRP 6F55 TR - 3 - 5 -
ef-home-tag EF.HOME_TAG 6F70 TR - - - 2 -
ef-group-tag EF.GROUP_TAG 6F71 TR - - - 2 -
ef-specific-tag EF.SPECIFIC_TAG 6F72 TR - - - 2 -
ef-call-prompt EF.CALL_PROMPT 6F73 TR - - - 2 -`},

	{"opt-csim", "2.23.143.1.2.11", false, "csim", `ef-ssci EF.SSCI 6F2E TR - 1 - 5 -
ef-fdn EF.FDN 6F3B LF - - - 8 -
ef-sms EF.SMS 6F3C LF - - - 5 00FF..
ef-smsp EF.SMSP 6F3D LF - - - 5 -
ef-smss EF.SMSS 6F3E TR - - - 5 -
ef-ssfc EF.SSFC 6F3F TR - - - 5 -
ef-spn EF.SPN 6F41 TR - 35 - 10 -
ef-mdn EF.MDN 6F44 LF - 11 - 5 -
ef-ecc EF.ECC 6F47 TR - - - 10 -
ef-me3gpdopc EF.ME3GPDOPC 6F48 TR - 1 - 5 -
ef-3gpdopm EF.3GPDOPM 6F49 TR - 1 - 5 -
ef-sipcap EF.SIPCAP 6F4A TR - 4 - 2 -
ef-mipcap EF.MIPCAP 6F4B TR - 5 - 2 -
ef-sipupp EF.SIPUPP 6F4C TR - - - 2 -
ef-mipupp EF.MIPUPP 6F4D TR - - - 2 -
ef-sipsp EF.SIPSP 6F4E TR - 1 - 5 -
ef-mipsp EF.MIPSP 6F4F TR - - - 5 -
ef-sippapss EF.SIPPAPSS 6F50 TR - - - 5 -
ef-puzl EF.PUZL 6F53 TR - - - 2 -
ef-maxpuzl EF.MAXPUZL 6F54 TR - 5 - 2 -
ef-hrpdcap EF.HRPDCAP 6F56 TR - 3 - 2 -
ef-hrpdupp EF.HRPDUPP 6F57 TR - - - 2 -
ef-csspr EF.CSSPR 6F58 TR - 1 - 2 -
ef-atc EF.ATC 6F59 TR - 1 - 2 -
ef-eprl EF.EPRL 6F5A TR - - - 2 -
ef-bcsmscfg EF.BCSMScfg 6F5B TR - 1 - 2 -
ef-bcsmspref EF.BCSMSpref 6F5C TR - 1 - 5 -
ef-bcsmstable EF.BCSMStable 6F5D LF - - - 2 -
ef-bcsmsp EF.BCSMSP 6F5E LF - 2 - 5 -
ef-bakpara EF.BAKPARA 6F63 LF - - - 2 -
ef-upbakpara EF.UpBAKPARA 6F64 LF - - - 2 -
ef-mmsn EF.MMSN 6F65 LF - - - 5 -
ef-ext8 EF.EXT8 6F66 LF - 13 - 5 00FF..
ef-mmsicp EF.MMSICP 6F67 TR - - - 2 -
ef-mmsup EF.MMSUP 6F68 LF - - - 5 -
ef-mmsucp EF.MMSUCP 6F69 TR - - - 5 -
ef-auth-capability EF.AUTH_CAPABILITY 6F6A LF - 5 - 2 -
ef-3gcik EF.3GCIK 6F6B TR - 32 - 5 -
ef-dck EF.DCK 6F6C TR - 20 - 5 -
ef-gid1 EF.GID1 6F6D TR - - - 2 -
ef-gid2 EF.GID2 6F6E TR - - - 2 -
ef-cdmacnl EF.CDMACNL 6F6F TR - - - 2 -
ef-sf-euimid EF.SF_EUIMID 6F74 TR - 7 - 10 -
ef-est EF.EST 6F75 TR - - - 8 -
ef-hidden-key EF.HiddenKey 6F76 TR - 4 - 5 -
ef-lcsver EF.LCSVER 6F77 TR - - - 2 -
ef-lcscp EF.LCSCP 6F78 TR - - - 2 -
ef-sdn EF.SDN 6F79 LF - - - 2 -
ef-ext2 EF.EXT2 6F7A LF - 13 - 8 00FF..
ef-ext3 EF.EXT3 6F7B LF - 13 - 2 00FF..
ef-ici EF.ICI 6F7C CY - - - 5 -
ef-oci EF.OCI 6F7D CY - - - 5 -
ef-ext5 EF.EXT5 6F7E LF - 13 - 5 00FF..
ef-ccp2 EF.CCP2 6F7F LF - 15 - 5 -
ef-applabels EF.AppLabels 6F80 TR - - - 2 -
ef-model EF.Model 6F81 TR - 126 - 5 -
ef-rc EF.RC 6F82 TR - - - 2 -
ef-smscap EF.SMSCAP 6F83 TR - 4 - 2 -
ef-mipflags EF.MIPFlags 6F84 TR - 1 - 2 -
ef-3gpduppext EF.3GPDUPPExt 6F85 TR - - - 2 -
ef-ipv6cap EF.IPv6CAP 6F87 TR - 21 - 2 -
ef-tcpconfig EF.TCPConfig 6F88 TR - 2 - 2 -
ef-dgc EF.DGC 6F89 TR - 3 - 2 -
ef-wapbrowsercp EF.WAPBrowserCP 6F8A LF - - - 2 -
ef-wapbrowserbm EF.WAPBrowserBM 6F8B LF - - - 5 -
ef-mmsconfig EF.MMSConfig 6F8C TR - 8 - 2 -
ef-jdl EF.JDL 6F8D TR - - - 2 -`},

	{"eap", "2.23.143.1.2.12", false, "usim", `df-eap DF.EAP - DF - - - 14 -
ef-eapkeys EF.EAPKEYS 4F01 TR - - - 2 -
ef-eapstatus EF.EAPSTATUS 4F02 TR - 1 - 2 00
ef-puid EF.PUId 4F03 TR - - - 2 -
ef-ps EF.Ps 4F04 TR - - - 5 -
ef-curid EF.CurID 4F20 TR - - - 5 -
ef-reid EF.ReID 4F21 TR - - - 5 -
ef-realm EF.Realm 4F22 TR - - - 5 -`},

	{"df-5gs", "2.23.143.1.2.13", false, "usim", `df-df-5gs DF.5GS 5FC0 DF - - - 14 -
ef-5gs3gpploci EF.5GS3GPPLOCI 4F01 TR - 20 01 5 FF..00000001
ef-5gsn3gpploci EF.5GSN3GPPLOCI 4F02 TR - 20 02 5 FF..00000001
ef-5gs3gppnsc EF.5GS3GPPNSC 4F03 LF 1/1/2 57/57/62 03 5 -
ef-5gsn3gppnsc EF.5GSN3GPPNSC 4F04 LF 1/1/2 57/57/62 04 5 -
ef-5gauthkeys EF.5GAUTHKEYS 4F05 TR - 110 05 5 -
ef-uac-aic EF.UAC_AIC 4F06 TR - 4 06 2 -
ef-suci-calc-info EF.SUCI_Calc_Info 4F07 TR - - 07 2 -
ef-opl5g EF.OPL5G 4F08 LF - 10 08 10 -
ef-supinai EF.SUPI_NAI 4F09 TR - - 09 2 -
ef-routing-indicator EF.Routing_Indicator 4F0A TR - 4 0A 2 F0FFFFFF
ef-ursp EF.URSP 4F0B BT - - - 2 -
ef-tn3gppsnn EF.TN3GPPSNN 4F0C TR - 1 0C 2 00
ef-cag EF.CAG 4F0D TR - - - 2 -
ef-sor-cmci EF.SOR-CMCI 4F0E TR - - - 2 -
ef-dri EF.DRI 4F0F TR - 7 - 2 -
ef-5gsedrx EF.5GSeDRX 4F10 TR - 2 - 2 -
ef-5gnswo-conf EF.5GNSWO_CONF 4F11 TR - 1 - 2 -
ef-mchpplmn EF.MCHPPLMN 4F15 TR - 1 - 2 -
ef-kausf-derivation EF.KAUSF_DERIVATION 4F16 TR - 1 - 2 -`},

	{"df-saip", "2.23.143.1.2.14", false, "usim", `df-df-saip DF.SAIP 5FD0 DF - - - 14 -
ef-suci-calc-info-usim EF.SUCI_Calc_Info_USIM 4F01 TR - - - 3 -`},

	{"df-snpn", "2.23.143.1.2.15", false, "usim", `df-df-snpn DF.SNPN 5FE0 DF - - - 14 -
ef-pws-snpn EF.PWS_SNPN 4F01 TR - 1 - 10 -`},

	{"df-5gprose", "2.23.143.1.2.16", false, "usim", `df-df-5g-prose DF.5G_ProSe 5FF0 DF - - - 14 -
ef-5g-prose-st EF.5G_PROSE_ST 4F01 TR - 1 01 2 -
ef-5g-prose-dd EF.5G_PROSE_DD 4F02 TR - - 02 2 -
ef-5g-prose-dc EF.5G_PROSE_DC 4F03 TR - - 03 2 -
ef-5g-prose-u2nru EF.5G_PROSE_U2NRU 4F04 TR - - 04 2 -
ef-5g-prose-ru EF.5G_PROSE_RU 4F05 TR - - 05 2 -
ef-5g-prose-uir EF.5G_PROSE_UIR 4F06 TR - - 06 2 -`},
}
