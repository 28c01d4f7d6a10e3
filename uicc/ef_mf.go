package uicc

// mfFiles is the files of the MF (TS 102 221, 13).
var mfFiles = [...]EF{
	{Name: "EF.DIR", Dir: DirMF, ID: 0x2F00, SFI: 0x1E, Kind: LinearFixed, Read: always, Update: adm1, Mandatory: true,
		Codec: Codec{part: orEmpty{part: objects{0x61, []object{{"aid", 0x4F, raw(0)}, {"label", 0x50, wholeName{}}}}}}, Clause: "TS 102 221, 13.1"},
	{Name: "EF.ICCID", Dir: DirMF, ID: 0x2FE2, SFI: 0x02, Kind: Transparent, Size: 10, Read: always, Update: never, Mandatory: true,
		Codec: Codec{part: iccid{}}, Clause: "TS 102 221, 13.2"},
	{Name: "EF.PL", Dir: DirMF, ID: 0x2F05, SFI: 0x05, Kind: Transparent, Read: always, Update: pin1, Mandatory: true,
		Codec: languages, Clause: "TS 102 221, 13.3"},
	{Name: "EF.ARR", Dir: DirMF, ID: 0x2F06, SFI: 0x06, Kind: LinearFixed, Read: always, Update: adm1, Mandatory: true,
		Codec: Codec{part: accessRules{}}, Clause: "TS 102 221, 13.4"},
	{Name: "EF.UMPC", Dir: DirMF, ID: 0x2F08, SFI: 0x08, Kind: Transparent, Size: 5, Read: always, Update: adm1,
		Codec: Codec{part: record{{"max-power", number(1), ""}, {"power-on-time", number(1), ""}, {"additional", raw(3), "000000"}}}, Clause: "TS 102 221, 13.5"},
}
