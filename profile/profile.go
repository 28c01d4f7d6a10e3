// Package profile holds electrical profiles: what is written to a card,
// without anybody's secrets. A profile is a strict YAML document; it is
// checked by rules with a clause each, and compiled once into a card script,
// from which a card is made by copying, patching and sending.
//
// The document names the operator, the rules of access, the codes, the key
// sets and the tree of files. A file that the standards know needs no more than
// its content: as a value, which the file's codec turns into bytes, or as hex.
// Content that differs from card to card is a slot, ${ICCID}, ${IMSI}, ${ACC}
// or ${MSISDN}; it fills a file or record, stands in hex, or is a telephone
// number in a value. ${IMSI.digits} is the IMSI's digits inside of a text;
// ${IMPI}, ${IMPU}, ${DOMAIN} and ${SUPI_NAI} are texts that follow from IMSI and
// network. The sections remote and applications say what a server may do over the
// air and which applets stand on the card. profiles/in-5g-usim-isim.yaml shows
// everything but applets.
package profile

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"iter"
	"strings"

	"ankan/aka"
	"ankan/sim"
	"ankan/uicc"
)

// A Profile is an electrical profile as Parse makes it. It is not changed
// after that and may be used by many goroutines.
type Profile struct {
	Name, Version, Description string
	Operator                   string
	PLMN                       sim.PLMN
	FormFactors                []string // 2FF, 3FF, 4FF, MFF2
	Test                       bool     // for test cards alone: algorithms that protect nothing are allowed
	Algorithm                  string   // of the USIM: MILENAGE, TUAK or XOR
	Milenage                   aka.Constants
	Tuak                       aka.TuakParameters
	SQN                        SQN
	Rules                      []Rule
	Codes                      []Code
	SCP03, SCP80               KeySet
	Accepted                   []Acceptance // findings that the document takes responsibility for
	Remote                     []Remote
	Applications               []LoadFile
	MF                         *File

	file string // name of the document, for findings
}

// SQN is the policy of sequence numbers (TS 33.102, annex C).
type SQN struct {
	Start   uint64 // SEQ of the first vector, the highest of the card being 0
	INDBits int    // bits of the index, 0 to 8; the reference OS has 5
}

// A Rule is a named access rule: what it says becomes a record of EF.ARR.
type Rule struct {
	Name    string
	Allowed []Allowed
	pos     pos
}

// Allowed is one line of a rule: operations and the condition for them.
type Allowed struct {
	Operation string // as in the document: read, update, create-ef ...
	Condition uicc.Condition
	text      string
}

// A Code is a PIN or ADM.
type Code struct {
	Name      string // pin1, pin2, adm1
	Reference byte   // key reference (TS 102 221, 9.5.1)
	Slot      SlotID
	HasPUK    bool
	PUK       SlotID // if HasPUK
	Enabled   bool
	Tries     int    // of the code
	Unblock   int    // tries of the PUK; 0 without one
	Digits    int    // 4 to 8
	Fixed     string // these digits on every card; "" for random ones
	// Shared makes a local code, 81, one for the whole card: it belongs to the MF,
	// so that files outside of the USIM can ask for it too.
	Shared bool
	pos    pos
}

// A KeySet is a set of three AES keys with its version number; version 0 means
// that the card has none.
type KeySet struct {
	Version byte
	Bits    int // 128 or 256
	pos     pos
}

// A File is an MF, ADF, DF or EF.
type File struct {
	Name string // MF, ADF.USIM, EF.IMSI
	ID   uicc.FileID
	Kind uicc.Kind
	AID  []byte // of an ADF
	SFI  byte   // of an EF; 0: none
	Rule string // name of the access rule

	Size       int // bytes of an EF's body
	RecordSize int // bytes of a record
	Records    int
	// Fill is what CREATE FILE puts in the body or in each record: a pattern
	// whose last byte is repeated to the end. Never empty for an EF, and without
	// meaning for a BER-TLV file, which begins empty.
	Fill []byte
	// Body is the content: one piece of Size bytes of a transparent file, records
	// from the first on, or the data objects of a BER-TLV file. Records that are
	// not there hold Fill.
	Body    [][]byte
	Patches []Patch // places in Body that differ from card to card
	// Link is the path of the file that this one is one with, "" for a file of its
	// own: kind, size and content are that file's. The reference OS has no links; its
	// cards have two files with one content.
	Link string

	Files []*File // of an MF, ADF or DF, elementary files first

	std    uicc.EF // what the standards say; zero for a file of the operator's own
	isARR  bool
	rules  []string // of an EF.ARR: the names of its records
	parent *File
	pos    pos
}

// A Patch is a place in a file where a slot of the card's record stands.
type Patch struct {
	Piece int // index in Body
	At    int // bytes from the start of the piece
	Slot  SlotID
	// Digits says that the 15 digits of the IMSI stand there in ASCII, not the
	// content of EF.IMSI: names that TS 23.003 derives from it hold them.
	Digits bool
}

// size is how many bytes the patch takes in its piece.
func (x Patch) size() int {
	if x.Digits {
		return len(digitsMark)
	}
	return x.Slot.inFile()
}

// String is the patch as documents write it: ${IMSI}, ${IMSI.digits}.
func (x Patch) String() string {
	if x.Digits {
		return imsiDigits
	}
	return "${" + x.Slot.String() + "}"
}

type pos struct{ line, column int }

// Path is the file's place in the tree: MF/ADF.USIM/EF.IMSI.
func (f *File) Path() string {
	if f.parent == nil {
		return f.Name
	}
	return f.parent.Path() + "/" + f.Name
}

// All is every file, parents before their files.
func (p *Profile) All() iter.Seq[*File] {
	return func(yield func(*File) bool) {
		if p.MF != nil {
			p.MF.walk(yield)
		}
	}
}

func (f *File) walk(yield func(*File) bool) bool {
	if !yield(f) {
		return false
	}
	for _, c := range f.Files {
		if !c.walk(yield) {
			return false
		}
	}
	return true
}

// find is the first file with this name anywhere under f; nil if there is none.
func (f *File) find(name string) *File {
	var found *File
	f.walk(func(x *File) bool {
		if x.Name == name {
			found = x
		}
		return found == nil
	})
	return found
}

// own is the file with this name in the directory f itself; nil if there is
// none.
func (f *File) own(name string) *File {
	for _, c := range f.Files {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// rule is the named rule; nil if there is none.
func (p *Profile) rule(name string) *Rule {
	for i := range p.Rules {
		if p.Rules[i].Name == name {
			return &p.Rules[i]
		}
	}
	return nil
}

// piece is the content of a record or body, Fill included.
func (f *File) piece(i int) []byte {
	if i < len(f.Body) {
		return f.Body[i]
	}
	if f.Kind == uicc.BERTLV {
		return nil
	}
	return fillTo(f.Fill, f.pieceSize())
}

func (f *File) pieceSize() int {
	if f.Kind.Records() {
		return f.RecordSize
	}
	return f.Size
}

func (f *File) pieces() int {
	switch {
	case f.Kind.Records():
		return f.Records
	case f.Kind == uicc.BERTLV:
		return len(f.Body)
	}
	return 1
}

// fillTo is n bytes of the pattern, its last byte repeated (TS 102 222,
// 6.3.2.2, tag C1).
func fillTo(pattern []byte, n int) []byte {
	b := make([]byte, n)
	k := copy(b, pattern)
	for ; k < n; k++ {
		b[k] = pattern[len(pattern)-1]
	}
	return b
}

// Parameters is the algorithm of the USIM with all that the operator chose of it.
func (p *Profile) Parameters() aka.Parameters {
	return aka.Parameters{Algorithm: aka.Algorithm(p.Algorithm), Milenage: p.Milenage, Tuak: p.Tuak}
}

// Digest is the SHA-256 of the profile's canonical form (String): two
// documents that put the same on a card have one digest.
func (p *Profile) Digest() [32]byte { return sha256.Sum256([]byte(p.String())) }

//go:embed profiles/*.yaml
var builtin embed.FS

// Builtins is the names of the profiles that come with the program.
func Builtins() []string {
	entries, err := builtin.ReadDir("profiles")
	if err != nil {
		panic(err) // the embedded folder
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Builtin is a profile that comes with the program.
func Builtin(name string) (*Profile, error) {
	doc, err := builtin.ReadFile("profiles/" + name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("profile %q: none with this name, want %s", name, strings.Join(Builtins(), ", "))
	}
	return Parse(name+".yaml", doc)
}
