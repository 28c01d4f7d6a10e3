package uicc

import "strings"

// An EF is what the standards say about one elementary file.
type EF struct {
	Name string // as in the clause: EF.IMSI
	Dir  string // the directory that it lives in: MF, ADF.USIM, DF.5GS ...
	ID   FileID
	SFI  byte // short file identifier, 1 to 30; 0: none
	Kind Kind
	// Size is the length of a transparent file, or of one record, in bytes;
	// 0 where the card's issuer chooses.
	Size         int
	Read, Update string // who may: always, pin1, pin2, adm1, never
	Mandatory    bool
	Services     []int  // of EF.UST: the file is there when one of them is available
	Initial      []byte // content of a new card, the last byte repeated to the end; nil: FF
	Codec        Codec
	Clause       string
}

// Directories that files live in, by the name that the standards use.
const (
	DirMF        = "MF"
	DirTelecom   = "DF.TELECOM"
	DirUSIM      = "ADF.USIM"
	Dir5GS       = "DF.5GS"
	DirGSMAccess = "DF.GSM-ACCESS"
)

// FindEF is what the standards say about the file with this name in this
// directory. Case does not matter.
func FindEF(dir, name string) (EF, bool) {
	for i := range files {
		if f := &files[i]; strings.EqualFold(f.Name, name) && strings.EqualFold(f.Dir, dir) {
			return *f, true
		}
	}
	return EF{}, false
}

// EFs is the whole table, directory by directory.
func EFs() []EF { return append([]EF(nil), files[:]...) }

const (
	always = "always"
	pin1   = "pin1"
	pin2   = "pin2"
	adm1   = "adm1"
	never  = "never"
)

var (
	updateStatus = choice{{"updated", 0}, {"not-updated", 1}, {"plmn-not-allowed", 2}, {"la-not-allowed", 3}}
	dialling     = Codec{part: elastic{after: record{
		{"number", address{size: 12}, "none"}, {"ccp", raw(1), "FF"}, {"ext", raw(1), "FF"},
	}, fixed: 14}}
	cipherKeys = Codec{part: record{{"ksi", raw(1), ""}, {"ck", raw(16), ""}, {"ik", raw(16), ""}}}
	gsmKey     = Codec{part: record{{"kc", raw(8), ""}, {"cksn", raw(1), ""}}}
	networks   = Codec{part: list{plmn{}, "\xFF\xFF\xFF"}}
	selectors  = Codec{part: list{plmnAct{}, "\xFF\xFF\xFF\x00\x00"}, pad: "\xFF\xFF\xFF\x00\x00"}
	languages  = Codec{part: list{language{}, "\xFF\xFF"}}
	bitmap     = Codec{part: services{}, pad: "\x00"}
	nsc5g      = Codec{part: orEmpty{part: objects{0xA0, []object{
		{"ngksi", 0x80, raw(1)}, {"kamf", 0x81, raw(32)}, {"uplink", 0x82, raw(4)}, {"downlink", 0x83, raw(4)},
		{"algorithms", 0x84, raw(1)}, {"eps-algorithms", 0x85, raw(1)},
	}}}}
	loci5g = Codec{part: record{
		{"guti", raw(13), ""}, {"plmn", plmn{}, ""}, {"tac", raw(3), ""}, {"status", updateStatus, ""},
	}}
	suci = Codec{part: objects{0, []object{
		{"schemes", 0xA0, list{record{
			{"scheme", choice{{"null", 0}, {"profile-a", 1}, {"profile-b", 2}}, ""}, {"key-index", number(1), ""},
		}, "\xFF\xFF"}},
		{"keys", 0xA1, keyList{}},
	}}}
)

// files is the table. It is never changed.
var files = [...]EF{
	{Name: "EF.DIR", Dir: DirMF, ID: 0x2F00, SFI: 0x1E, Kind: LinearFixed, Read: always, Update: adm1, Mandatory: true,
		Codec: Codec{part: orEmpty{part: objects{0x61, []object{{"aid", 0x4F, raw(0)}, {"label", 0x50, alpha(0)}}}}}, Clause: "TS 102 221, 13.1"},
	{Name: "EF.ICCID", Dir: DirMF, ID: 0x2FE2, SFI: 0x02, Kind: Transparent, Size: 10, Read: always, Update: never, Mandatory: true,
		Codec: Codec{part: iccid{}}, Clause: "TS 102 221, 13.2"},
	{Name: "EF.PL", Dir: DirMF, ID: 0x2F05, SFI: 0x05, Kind: Transparent, Read: always, Update: pin1, Mandatory: true,
		Codec: languages, Clause: "TS 102 221, 13.3"},
	{Name: "EF.ARR", Dir: DirMF, ID: 0x2F06, SFI: 0x06, Kind: LinearFixed, Read: always, Update: adm1, Mandatory: true,
		Codec: Codec{part: accessRules{}}, Clause: "TS 102 221, 13.4"},
	{Name: "EF.UMPC", Dir: DirMF, ID: 0x2F08, SFI: 0x08, Kind: Transparent, Size: 5, Read: always, Update: adm1,
		Clause: "TS 102 221, 13.5"},

	{Name: "EF.ADN", Dir: DirTelecom, ID: 0x6F3A, Kind: LinearFixed, Read: pin1, Update: pin1,
		Codec: dialling, Clause: "TS 31.102, 4.4.2.3"},

	{Name: "EF.LI", Dir: DirUSIM, ID: 0x6F05, SFI: 0x02, Kind: Transparent, Read: always, Update: pin1, Mandatory: true,
		Codec: languages, Clause: "TS 31.102, 4.2.1"},
	{Name: "EF.IMSI", Dir: DirUSIM, ID: 0x6F07, SFI: 0x07, Kind: Transparent, Size: 9, Read: pin1, Update: adm1, Mandatory: true,
		Codec: Codec{part: imsi{}}, Clause: "TS 31.102, 4.2.2"},
	{Name: "EF.Keys", Dir: DirUSIM, ID: 0x6F08, SFI: 0x08, Kind: Transparent, Size: 33, Read: pin1, Update: pin1, Mandatory: true,
		Initial: []byte{0x07, 0xFF}, Codec: cipherKeys, Clause: "TS 31.102, 4.2.3"},
	{Name: "EF.KeysPS", Dir: DirUSIM, ID: 0x6F09, SFI: 0x09, Kind: Transparent, Size: 33, Read: pin1, Update: pin1, Mandatory: true,
		Initial: []byte{0x07, 0xFF}, Codec: cipherKeys, Clause: "TS 31.102, 4.2.4"},
	{Name: "EF.PLMNwAcT", Dir: DirUSIM, ID: 0x6F60, SFI: 0x0A, Kind: Transparent, Read: pin1, Update: pin1, Services: []int{20},
		Codec: selectors, Clause: "TS 31.102, 4.2.5"},
	{Name: "EF.HPPLMN", Dir: DirUSIM, ID: 0x6F31, SFI: 0x12, Kind: Transparent, Size: 1, Read: pin1, Update: adm1, Mandatory: true,
		Codec: Codec{part: number(1)}, Clause: "TS 31.102, 4.2.6"},
	{Name: "EF.UST", Dir: DirUSIM, ID: 0x6F38, SFI: 0x04, Kind: Transparent, Read: pin1, Update: adm1, Mandatory: true,
		Codec: bitmap, Clause: "TS 31.102, 4.2.8"},
	{Name: "EF.CBMI", Dir: DirUSIM, ID: 0x6F45, Kind: Transparent, Read: pin1, Update: pin1, Services: []int{15},
		Codec: Codec{part: list{raw(2), "\xFF\xFF"}}, Clause: "TS 31.102, 4.2.14"},
	{Name: "EF.ACC", Dir: DirUSIM, ID: 0x6F78, SFI: 0x06, Kind: Transparent, Size: 2, Read: pin1, Update: adm1, Mandatory: true,
		Codec: Codec{part: raw(2)}, Clause: "TS 31.102, 4.2.15"},
	{Name: "EF.FPLMN", Dir: DirUSIM, ID: 0x6F7B, SFI: 0x0D, Kind: Transparent, Read: pin1, Update: pin1, Mandatory: true,
		Codec: networks, Clause: "TS 31.102, 4.2.16"},
	{Name: "EF.LOCI", Dir: DirUSIM, ID: 0x6F7E, SFI: 0x0B, Kind: Transparent, Size: 11, Read: pin1, Update: pin1, Mandatory: true,
		Initial: []byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0x01},
		Codec: Codec{part: record{{"tmsi", raw(4), ""}, {"plmn", plmn{}, ""}, {"lac", raw(2), ""}, {"rfu", raw(1), "FF"},
			{"status", updateStatus, ""}}}, Clause: "TS 31.102, 4.2.17"},
	{Name: "EF.AD", Dir: DirUSIM, ID: 0x6FAD, SFI: 0x03, Kind: Transparent, Size: 4, Read: always, Update: adm1, Mandatory: true,
		Codec: Codec{part: record{{"mode", choice{{"normal", 0x00}, {"type-approval", 0x80}, {"normal-specific", 0x01},
			{"type-approval-specific", 0x81}, {"maintenance", 0x02}, {"cell-test", 0x04}}, ""},
			{"info", raw(2), "0000"}, {"mnc-length", number(1), ""}}}, Clause: "TS 31.102, 4.2.18"},
	{Name: "EF.CBMID", Dir: DirUSIM, ID: 0x6F48, SFI: 0x0E, Kind: Transparent, Read: pin1, Update: adm1, Services: []int{29},
		Codec: Codec{part: list{raw(2), "\xFF\xFF"}}, Clause: "TS 31.102, 4.2.20"},
	{Name: "EF.ECC", Dir: DirUSIM, ID: 0x6FB7, SFI: 0x01, Kind: LinearFixed, Read: always, Update: adm1, Mandatory: true,
		Codec: Codec{part: elastic{before: record{{"number", packed(3), ""}}, after: record{{"category", raw(1), "00"}}, fixed: 4}}, Clause: "TS 31.102, 4.2.21"},
	{Name: "EF.CBMIR", Dir: DirUSIM, ID: 0x6F50, Kind: Transparent, Read: pin1, Update: pin1, Services: []int{16},
		Codec: Codec{part: list{raw(4), "\xFF\xFF\xFF\xFF"}}, Clause: "TS 31.102, 4.2.22"},
	{Name: "EF.PSLOCI", Dir: DirUSIM, ID: 0x6F73, SFI: 0x0C, Kind: Transparent, Size: 14, Read: pin1, Update: pin1, Mandatory: true,
		Initial: []byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0x01},
		Codec: Codec{part: record{{"p-tmsi", raw(4), ""}, {"signature", raw(3), ""}, {"plmn", plmn{}, ""}, {"lac", raw(2), ""}, {"rac", raw(1), ""},
			{"status", updateStatus, ""}}}, Clause: "TS 31.102, 4.2.23"},
	{Name: "EF.FDN", Dir: DirUSIM, ID: 0x6F3B, Kind: LinearFixed, Read: pin1, Update: pin2, Services: []int{2, 89},
		Codec: dialling, Clause: "TS 31.102, 4.2.24"},
	{Name: "EF.SMS", Dir: DirUSIM, ID: 0x6F3C, Kind: LinearFixed, Size: 176, Read: pin1, Update: pin1, Services: []int{10},
		Initial: []byte{0x00, 0xFF},
		Codec: Codec{part: record{{"status", choice{{"free", 0}, {"read", 1}, {"unread", 3}, {"sent", 5}, {"to-send", 7}}, ""},
			{"remainder", raw(175), strings.Repeat("FF", 175)}}}, Clause: "TS 31.102, 4.2.25"},
	{Name: "EF.MSISDN", Dir: DirUSIM, ID: 0x6F40, Kind: LinearFixed, Read: pin1, Update: pin1, Services: []int{21},
		Codec: dialling, Clause: "TS 31.102, 4.2.26"},
	{Name: "EF.SMSP", Dir: DirUSIM, ID: 0x6F42, Kind: LinearFixed, Read: pin1, Update: pin1, Services: []int{12},
		Codec: Codec{part: elastic{after: record{{"indicators", raw(1), "FF"}, {"destination", address{size: 12, digits: true}, "none"},
			{"centre", address{size: 12}, "none"}, {"pid", raw(1), "FF"}, {"dcs", raw(1), "FF"}, {"validity", raw(1), "FF"}}, fixed: 28}}, Clause: "TS 31.102, 4.2.27"},
	{Name: "EF.SMSS", Dir: DirUSIM, ID: 0x6F43, Kind: Transparent, Size: 2, Read: pin1, Update: pin1, Services: []int{10},
		Codec: Codec{part: record{{"reference", raw(1), ""}, {"memory", choice{{"available", 0xFF}, {"exceeded", 0xFE}}, ""}}}, Clause: "TS 31.102, 4.2.28"},
	{Name: "EF.SDN", Dir: DirUSIM, ID: 0x6F49, Kind: LinearFixed, Read: pin1, Update: adm1, Services: []int{4, 89},
		Codec: dialling, Clause: "TS 31.102, 4.2.29"},
	{Name: "EF.EXT2", Dir: DirUSIM, ID: 0x6F4B, Kind: LinearFixed, Size: 13, Read: pin1, Update: pin2, Services: []int{3},
		Initial: []byte{0x00, 0xFF}, Clause: "TS 31.102, 4.2.30"},
	{Name: "EF.EXT3", Dir: DirUSIM, ID: 0x6F4C, Kind: LinearFixed, Size: 13, Read: pin1, Update: adm1, Services: []int{5},
		Initial: []byte{0x00, 0xFF}, Clause: "TS 31.102, 4.2.31"},
	{Name: "EF.SMSR", Dir: DirUSIM, ID: 0x6F47, Kind: LinearFixed, Size: 30, Read: pin1, Update: pin1, Services: []int{11},
		Initial: []byte{0x00, 0xFF}, Clause: "TS 31.102, 4.2.32"},
	{Name: "EF.GID1", Dir: DirUSIM, ID: 0x6F3E, Kind: Transparent, Read: pin1, Update: adm1, Services: []int{17}, Clause: "TS 31.102, 4.2.10"},
	{Name: "EF.GID2", Dir: DirUSIM, ID: 0x6F3F, Kind: Transparent, Read: pin1, Update: adm1, Services: []int{18}, Clause: "TS 31.102, 4.2.11"},
	{Name: "EF.SPN", Dir: DirUSIM, ID: 0x6F46, Kind: Transparent, Size: 17, Read: always, Update: adm1, Services: []int{19},
		Codec: Codec{part: record{{"display", raw(1), ""}, {"name", alpha(16), ""}}}, Clause: "TS 31.102, 4.2.12"},
	{Name: "EF.EST", Dir: DirUSIM, ID: 0x6F56, SFI: 0x05, Kind: Transparent, Read: pin1, Update: pin2, Services: []int{2, 6, 34, 35},
		Codec: bitmap, Clause: "TS 31.102, 4.2.47"},
	{Name: "EF.ACL", Dir: DirUSIM, ID: 0x6F57, Kind: Transparent, Read: pin1, Update: pin2, Services: []int{35},
		Initial: []byte{0x00, 0xFF}, Clause: "TS 31.102, 4.2.48"},
	{Name: "EF.START-HFN", Dir: DirUSIM, ID: 0x6F5B, SFI: 0x0F, Kind: Transparent, Size: 6, Read: pin1, Update: pin1, Mandatory: true,
		Initial: []byte{0xF0, 0x00, 0x00, 0xF0, 0x00, 0x00},
		Codec:   Codec{part: record{{"cs", raw(3), ""}, {"ps", raw(3), ""}}}, Clause: "TS 31.102, 4.2.51"},
	{Name: "EF.THRESHOLD", Dir: DirUSIM, ID: 0x6F5C, SFI: 0x10, Kind: Transparent, Size: 3, Read: pin1, Update: adm1, Mandatory: true,
		Codec: Codec{part: orEmpty{number(3), 3}}, Clause: "TS 31.102, 4.2.52"},
	{Name: "EF.OPLMNwAcT", Dir: DirUSIM, ID: 0x6F61, SFI: 0x11, Kind: Transparent, Read: pin1, Update: adm1, Services: []int{42},
		Codec: selectors, Clause: "TS 31.102, 4.2.53"},
	{Name: "EF.HPLMNwAcT", Dir: DirUSIM, ID: 0x6F62, SFI: 0x13, Kind: Transparent, Read: pin1, Update: adm1, Services: []int{43},
		Codec: selectors, Clause: "TS 31.102, 4.2.54"},
	{Name: "EF.ARR", Dir: DirUSIM, ID: 0x6F06, SFI: 0x17, Kind: LinearFixed, Read: always, Update: adm1, Mandatory: true,
		Codec: Codec{part: accessRules{}}, Clause: "TS 31.102, 4.2.55"},
	{Name: "EF.NETPAR", Dir: DirUSIM, ID: 0x6FC4, Kind: Transparent, Read: pin1, Update: pin1, Mandatory: true, Clause: "TS 31.102, 4.2.57"},
	{Name: "EF.PNN", Dir: DirUSIM, ID: 0x6FC5, SFI: 0x19, Kind: LinearFixed, Read: always, Update: adm1, Services: []int{45}, Clause: "TS 31.102, 4.2.58"},
	{Name: "EF.OPL", Dir: DirUSIM, ID: 0x6FC6, SFI: 0x1A, Kind: LinearFixed, Size: 8, Read: always, Update: adm1, Services: []int{46},
		Codec: Codec{part: orEmpty{record{{"plmn", plmn{}, ""}, {"first-lac", raw(2), ""}, {"last-lac", raw(2), ""}, {"pnn", number(1), ""}}, 8}}, Clause: "TS 31.102, 4.2.59"},
	{Name: "EF.MBDN", Dir: DirUSIM, ID: 0x6FC7, Kind: LinearFixed, Read: pin1, Update: pin1, Services: []int{47},
		Codec: dialling, Clause: "TS 31.102, 4.2.60"},
	{Name: "EF.MBI", Dir: DirUSIM, ID: 0x6FC9, Kind: LinearFixed, Read: pin1, Update: pin1, Services: []int{47}, Clause: "TS 31.102, 4.2.62"},
	{Name: "EF.MWIS", Dir: DirUSIM, ID: 0x6FCA, Kind: LinearFixed, Read: pin1, Update: pin1, Services: []int{48},
		Initial: []byte{0x00}, Clause: "TS 31.102, 4.2.63"},
	{Name: "EF.SPDI", Dir: DirUSIM, ID: 0x6FCD, Kind: Transparent, Read: pin1, Update: adm1, Services: []int{51}, Clause: "TS 31.102, 4.2.66"},
	{Name: "EF.EHPLMN", Dir: DirUSIM, ID: 0x6FD9, SFI: 0x1D, Kind: Transparent, Read: pin1, Update: adm1, Services: []int{71},
		Codec: networks, Clause: "TS 31.102, 4.2.84"},
	{Name: "EF.EPSLOCI", Dir: DirUSIM, ID: 0x6FE3, SFI: 0x1E, Kind: Transparent, Size: 18, Read: pin1, Update: pin1, Services: []int{85},
		Initial: []byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 0x01},
		Codec: Codec{part: record{{"guti", raw(12), ""}, {"plmn", plmn{}, ""}, {"tac", raw(2), ""},
			{"status", choice{{"updated", 0}, {"not-updated", 1}, {"roaming-not-allowed", 2}}, ""}}}, Clause: "TS 31.102, 4.2.91"},
	{Name: "EF.EPSNSC", Dir: DirUSIM, ID: 0x6FE4, SFI: 0x18, Kind: LinearFixed, Read: pin1, Update: pin1, Services: []int{85},
		Codec: Codec{part: orEmpty{part: objects{0xA0, []object{{"ksi", 0x80, raw(1)}, {"kasme", 0x81, raw(32)}, {"uplink", 0x82, raw(4)},
			{"downlink", 0x83, raw(4)}, {"algorithms", 0x84, raw(1)}}}}}, Clause: "TS 31.102, 4.2.92"},
	{Name: "EF.NASCONFIG", Dir: DirUSIM, ID: 0x6FE8, Kind: Transparent, Read: pin1, Update: adm1, Services: []int{96}, Clause: "TS 31.102, 4.2.94"},
	{Name: "EF.ePDGId", Dir: DirUSIM, ID: 0x6FF3, Kind: Transparent, Read: pin1, Update: adm1, Services: []int{106}, Clause: "TS 31.102, 4.2.102"},
	{Name: "EF.ePDGSelection", Dir: DirUSIM, ID: 0x6FF4, Kind: Transparent, Read: pin1, Update: adm1, Services: []int{107}, Clause: "TS 31.102, 4.2.104"},

	{Name: "EF.Kc", Dir: DirGSMAccess, ID: 0x4F20, SFI: 0x01, Kind: Transparent, Size: 9, Read: pin1, Update: pin1, Services: []int{27},
		Initial: []byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x07}, Codec: gsmKey, Clause: "TS 31.102, 4.4.3.1"},
	{Name: "EF.KcGPRS", Dir: DirGSMAccess, ID: 0x4F52, SFI: 0x02, Kind: Transparent, Size: 9, Read: pin1, Update: pin1, Services: []int{27},
		Initial: []byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x07}, Codec: gsmKey, Clause: "TS 31.102, 4.4.3.2"},
	{Name: "EF.CPBCCH", Dir: DirGSMAccess, ID: 0x4F63, Kind: Transparent, Read: pin1, Update: pin1, Services: []int{39}, Clause: "TS 31.102, 4.4.3.3"},
	{Name: "EF.InvScan", Dir: DirGSMAccess, ID: 0x4F64, Kind: Transparent, Size: 1, Read: pin1, Update: adm1, Services: []int{40},
		Initial: []byte{0x00}, Clause: "TS 31.102, 4.4.3.4"},

	{Name: "EF.5GS3GPPLOCI", Dir: Dir5GS, ID: 0x4F01, SFI: 0x01, Kind: Transparent, Size: 20, Read: pin1, Update: pin1, Services: []int{122},
		Initial: loci5gInitial, Codec: loci5g, Clause: "TS 31.102, 4.4.11.2"},
	{Name: "EF.5GSN3GPPLOCI", Dir: Dir5GS, ID: 0x4F02, SFI: 0x02, Kind: Transparent, Size: 20, Read: pin1, Update: pin1, Services: []int{122},
		Initial: loci5gInitial, Codec: loci5g, Clause: "TS 31.102, 4.4.11.3"},
	{Name: "EF.5GS3GPPNSC", Dir: Dir5GS, ID: 0x4F03, SFI: 0x03, Kind: LinearFixed, Read: pin1, Update: pin1, Services: []int{122},
		Codec: nsc5g, Clause: "TS 31.102, 4.4.11.4"},
	{Name: "EF.5GSN3GPPNSC", Dir: Dir5GS, ID: 0x4F04, SFI: 0x04, Kind: LinearFixed, Read: pin1, Update: pin1, Services: []int{122},
		Codec: nsc5g, Clause: "TS 31.102, 4.4.11.5"},
	{Name: "EF.5GAUTHKEYS", Dir: Dir5GS, ID: 0x4F05, SFI: 0x05, Kind: Transparent, Read: pin1, Update: pin1, Services: []int{123},
		Codec: Codec{part: orEmpty{part: objects{0, []object{{"kausf", 0x80, raw(32)}, {"kseaf", 0x81, raw(32)}}}}}, Clause: "TS 31.102, 4.4.11.6"},
	{Name: "EF.UAC_AIC", Dir: Dir5GS, ID: 0x4F06, SFI: 0x06, Kind: Transparent, Size: 4, Read: pin1, Update: adm1, Services: []int{126},
		Codec: bitmap, Clause: "TS 31.102, 4.4.11.7"},
	{Name: "EF.SUCI_Calc_Info", Dir: Dir5GS, ID: 0x4F07, SFI: 0x07, Kind: Transparent, Read: pin1, Update: adm1, Services: []int{124},
		Codec: suci, Clause: "TS 31.102, 4.4.11.8"},
	{Name: "EF.OPL5G", Dir: Dir5GS, ID: 0x4F08, SFI: 0x08, Kind: LinearFixed, Size: 10, Read: always, Update: adm1, Services: []int{129},
		Codec: Codec{part: orEmpty{record{{"plmn", plmn{}, ""}, {"first-tac", raw(3), ""}, {"last-tac", raw(3), ""}, {"pnn", number(1), ""}}, 10}}, Clause: "TS 31.102, 4.4.11.9"},
	{Name: "EF.Routing_Indicator", Dir: Dir5GS, ID: 0x4F0A, SFI: 0x0A, Kind: Transparent, Size: 4, Read: pin1, Update: adm1, Services: []int{124},
		Initial: []byte{0xF0, 0xFF, 0xFF, 0xFF}, Codec: Codec{part: routing{}}, Clause: "TS 31.102, 4.4.11.11"},
}

var loci5gInitial = []byte{
	0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 1,
}
