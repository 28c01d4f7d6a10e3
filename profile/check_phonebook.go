package profile

import (
	"fmt"
	"strings"
)

// A phone book's reference names files that are there, by their identifiers,
// and files that belong to its entries record by record have as many records. A
// file of a name that the standard does not know may be any of them.
var checkPhonebook = check{"phonebook", "TS 31.102, 4.4.2.1", func(p *Profile, found func(pos, string, ...any)) {
	for book := range p.All() {
		if pbr := book.own("EF.PBR"); pbr != nil {
			for i := range pbr.pieces() {
				checkReference(book, pbr, i, found)
			}
		}
	}
}}

func checkReference(book, pbr *File, record int, found func(pos, string, ...any)) {
	v, _ := pbr.value(record)
	entries := 0
	for _, kind := range v.Fields {
		for _, e := range kind.Value.List {
			words := strings.Fields(e.Text) // the codec made them: kind, identifier, short identifier
			var f *File
			for _, c := range book.Files {
				if c.ID.String() == words[1] {
					f = c
				}
			}
			switch {
			case f == nil || f.std.Name != "" && f.std.Name != "EF."+words[0]:
				found(pbr.pos, "%s, record %d names EF.%s with the identifier %s, which is not in %s", pbr.Path(), record+1, words[0], words[1], book.Name)
				continue
			case len(words) == 3 && words[2] != fmt.Sprintf("%02X", f.SFI):
				found(pbr.pos, "%s, record %d gives %s the short file identifier %s, it has %02X", pbr.Path(), record+1, f.Name, words[2], f.SFI)
			}
			if words[0] == "ADN" {
				entries = f.Records
			}
			if kind.Name == "by-record" && f.Records != entries {
				found(f.pos, "%s has %d records, the phone book has %d entries", f.Path(), f.Records, entries)
			}
		}
	}
}
