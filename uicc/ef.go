package uicc

import (
	"slices"
	"strings"
)

// An EF is what the standards say about one elementary file.
type EF struct {
	Name string // as in the clause: EF.IMSI
	Dir  string // the directory that it lives in: MF, ADF.USIM, DF.5GS ...
	ID   FileID // 0: the issuer's choice, as for the files of a phone book
	SFI  byte   // short file identifier, 1 to 30; 0: none
	Kind Kind
	// Size is the length of a transparent file, or of one record, in bytes;
	// 0 where the card's issuer chooses.
	Size         int
	Read, Update string // who may: always, pin1, pin2, adm1, never
	Mandatory    bool
	Services     []int  // of the table of ServiceTable: the file is there when one of them is available
	With         []int  // and all of these
	Initial      []byte // content of a new card, the last byte repeated to the end; nil: FF
	Codec        Codec
	Clause       string
}

// Directories that files live in, by the name that the standards use.
const (
	DirMF         = "MF"
	DirTelecom    = "DF.TELECOM"
	DirGraphics   = "DF.GRAPHICS"
	DirPhonebook  = "DF.PHONEBOOK"
	DirMultimedia = "DF.MULTIMEDIA"
	DirMMSS       = "DF.MMSS"
	DirV2X        = "DF.V2X"
	DirGSM        = "DF.GSM"
	DirUSIM       = "ADF.USIM"
	Dir5GS        = "DF.5GS"
	DirSAIP       = "DF.SAIP"
	DirHNB        = "DF.HNB"
	DirGSMAccess  = "DF.GSM-ACCESS"
	DirISIM       = "ADF.ISIM"
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
func EFs() []EF { return append([]EF(nil), files...) }

// ServiceTable is the file that says which services are available where f
// lives: EF.UST, EF.IST, EF.SST, or "" for files that no table is about.
func (f EF) ServiceTable() string {
	switch f.Dir {
	case DirUSIM, Dir5GS, DirSAIP, DirHNB, DirGSMAccess, DirPhonebook:
		return "EF.UST"
	case DirISIM:
		return "EF.IST"
	case DirGSM:
		return "EF.SST"
	}
	return ""
}

// Wanted reports whether f is there when exactly these services are available.
// A file without services may be there or not.
func (f EF) Wanted(available []int) bool {
	on := func(n int) bool { return slices.Contains(available, n) }
	return slices.ContainsFunc(f.Services, on) && !slices.ContainsFunc(f.With, func(n int) bool { return !on(n) })
}

// files is the table. It is never changed.
var files = slices.Concat(mfFiles[:], telecomFiles[:], gsmFiles[:], usimFiles[:], usimDFFiles[:], isimFiles[:])

const (
	always = "always"
	pin1   = "pin1"
	pin2   = "pin2"
	adm1   = "adm1"
	never  = "never"
)
