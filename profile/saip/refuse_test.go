package saip_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"ankan/profile"
	"ankan/profile/saip"
)

var (
	hd     = tlv(0xA0, number(0x81, 1))
	header = tlv(0xA0, number(0x80, 2), number(0x81, 3), tlv(0x83, x("98199119000000001018")), tlv(0xA5), tlv(0xA6))
	end    = tlv(0xAA, hd)
	mf     = mfWith()
	usim   = tlv(0xB3, hd, oid(4), component(0, fcp(fid("7FD0"), dfName(usimAID), rule("2F0601"))),
		component(1, fcp(rule("01")), content("084940990000000010")), component(2, fcp(structure("42210030"), rule("01"), arrSize(14)), arrFile(arr2, arr2, arr2, arr2, arr2, arr2, arr2, arr2, arr2, arr2, arr2, arr2, arr2, arr2)),
		component(6, content("00")), component(11, content("00")), component(12, content("00")), component(16, content("0001")), component(20, content("11F2FF00")))
)

// mfWith is an element of the MF with more components.
func mfWith(more ...[]byte) []byte {
	return tlv(0xB0, hd, oid(1), component(0, fcp(rule("2F0601"))), component(2, fcp(rule("2F0602")), content("98199119000000001018")),
		component(3, fcp(structure("42210026"), rule("2F0602"), size("26")), content("61184F0C"+usimAID+"50085553494DFFFFFFFF")),
		component(4, fcp(structure("42210030"), rule("2F0602"), size("60")), arrFile(arr1, arr2)), cat(more...))
}

// gfm is generic file management of commands.
func gfm(commands ...[]byte) []byte {
	return tlv(0xA1, hd, tlv(0xA1, tlv(0x30, commands...)))
}

func pack(elements ...[]byte) []byte {
	return cat(cat(header), cat(elements...), end)
}

func inMF(parts ...[]byte) []byte {
	return pack(mf, usim, gfm(cat(tlv(0x80), cat(parts...))))
}

// many is files of 65535 bytes, together more than a card holds.
func many() []byte {
	var all []byte
	for i := range byte(9) {
		all = append(all, ef(structure("4121"), tlv(0x83, []byte{0x6F, i}), rule("02"), size("FFFF"))...)
	}
	return all
}

func ef(parts ...[]byte) []byte { return tlv(0x62, parts...) }

// Every refusal says where and what.
func TestRefuse(t *testing.T) {
	dir := ef(structure("7821"), fid("7F66"), rule("2F0601"))
	pinOf := func(parts ...[]byte) []byte {
		return pack(mf, tlv(0xA2, hd, tlv(0xA1, tlv(0xA0, tlv(0x30, parts...)))))
	}
	pin := func(ref int) []byte { return cat(number(0x80, ref), tlv(0x81, x("31313131FFFFFFFF"))) }
	algorithm := func(parts ...[]byte) []byte {
		return pack(mf, usim, tlv(0xA4, hd, tlv(0xA1, tlv(0xA1, parts...))))
	}
	good := cat(number(0x80, 1), tlv(0x81, x("01")), tlv(0x82, make([]byte, 16)), tlv(0x83, make([]byte, 16)))
	instance := tlv(0xA1, tlv(0x4F, x("A0000001515350")), tlv(0x4F, x("A000000151535041")), tlv(0x4F, x("A000000151000000")))
	for _, c := range []struct {
		name string
		der  []byte
		want string
	}{
		{"nothing", nil, "byte 0: nothing there"},
		{"too long", make([]byte, 4<<20+1), "want at most 4194304"},
		{"no DER", x("A0800000"), "byte 0, element 1: malformed TLV"},
		{"cut", header[:20], "tag A0 has length"},
		{"length in two bytes", x("A0810100"), "not the shortest"},
		{"no element", x("300100"), "tag 30 is no profile element"},
		{"no header first", pack()[len(header):], "byte 0, element 1: element AA: the header must be the first element"},
		{"header twice", pack(header), "the header must be the first element and stand there once"},
		{"no end", cat(header, mf), "the package has no end element"},
		{"after the end", cat(pack(mf), mf), "element B0 follows the end"},
		{"no MF", pack(), "the package has no MF"},
		{"MF twice", pack(mf, mf), "(mf): there is an MF already"},
		{"unknown component", pack(tlv(0xB0, hd, oid(1), tlv(0xAF))), "component AF is not known"},
		{"header without version", cat(tlv(0xA0), end), "is missing"},
		{"version 4", instead("header", "800103", "800104"), "element 1 (header): format 4.1, want 2.x or 3.x"},
		{"version too large", instead("header", "800103", "8001FF"), "major-version is not a number from 0 to 255"},
		{"short ICCID", cat(tlv(0xA0, number(0x80, 2), number(0x81, 3), tlv(0x83, x("98")), tlv(0xA5), tlv(0xA6)), end), "iccid has 1 bytes, want 10 to 10"},
		{"unknown service", cat(tlv(0xA0, number(0x80, 2), number(0x81, 3), tlv(0x83, make([]byte, 10)), tlv(0xA5, tlv(0x9E)), tlv(0xA6)), end), "service 9E is not known"},
		{"no OID", cat(tlv(0xA0, number(0x80, 2), number(0x81, 3), tlv(0x83, make([]byte, 10)), tlv(0xA5), tlv(0xA6, tlv(0x04))), end), "eUICC-Mandatory-GFSTEList has an element with tag 4, want 6"},
		{"OID cut", cat(tlv(0xA0, number(0x80, 2), number(0x81, 3), tlv(0x83, make([]byte, 10)), tlv(0xA5), tlv(0xA6, tlv(0x06, x("6781")))), end), "object identifier does not end"},
		{"OID with zero", cat(tlv(0xA0, number(0x80, 2), number(0x81, 3), tlv(0x83, make([]byte, 10)), tlv(0xA5), tlv(0xA6, tlv(0x06, x("678001")))), end), "a number that is too long"},
		{"unknown, mandatory", pack(mf, tlv(0xBF30, tlv(0xA0, tlv(0x80), number(0x81, 1)))), "(choice 48): is not known, and the package says that it is mandatory"},
		{"unknown, no header", pack(mf, tlv(0xBF30)), "(choice 48): is not known and has no header"},
		{"no PE header", pack(mf, tlv(0xA9, tlv(0x81, x("2B06")))), "(nonStandard): has no header"},
		{"no identification", pack(mf, tlv(0xA9, tlv(0xA0), tlv(0x81, x("2B06")))), "identification is missing"},
		{"component twice", pack(mf, tlv(0xA9, hd, tlv(0x81, x("2B06")), tlv(0x81, x("2B06")))), "has the component 81 twice"},
		{"no issuer", pack(mf, tlv(0xA9, hd)), "issuerID is missing"},
		{"reserved", pack(mf, tlv(0xAB)), "(rfu1): is reserved"},
		{"IoT", pack(mf, tlv(0xBF20, hd)), "(iot): an IoT minimal profile"},
		{"optional IoT", pack(mf, tlv(0xBF21, hd)), "(opt-iot): an IoT minimal profile"},

		{"no template", pack(tlv(0xB0, hd)), "(mf): has no header and templateID"},
		{"another template", pack(tlv(0xB0, hd, oid(2))), "template 2.23.143.1.2.2 is not one of mf, want 2.23.143.1.2.1 or a later version of it"},
		{"no directory", pack(tlv(0xB0, hd, oid(1), component(1, fcp(rule("01"))))), "(mf): mf is missing"},
		{"before the MF", pack(usim), "(usim): comes before the MF"},
		{"management before the MF", pack(gfm(tlv(0x80))), "(genericFileManagement): comes before the MF"},
		{"codes before the MF", pack(tlv(0xA2, hd, tlv(0xA1, tlv(0xA0)))), "(pinCodes): comes before the MF"},
		{"algorithm before the MF", pack(tlv(0xA4, hd, tlv(0xA1, tlv(0xA1, good)))), "(akaParameter): comes before the MF"},
		{"before its application", pack(mf, tlv(0xB4, hd, oid(5))), "(opt-usim): comes before the application that it belongs to"},
		{"file without its directory", pack(mf, tlv(0xB2, hd, oid(3), component(0, fcp(rule("2F0601"))), component(8, fcp(structure("4221000A"), size("0A"), rule("02"))))), "ef-img: the directory that it lies in is not there"},
		{"part not known", pack(mf, tlv(0xB2, hd, oid(3), component(0, tlv(0x84)))), "df-telecom has a part 84 that is not known"},
		{"doNotCreate and more", pack(mf, tlv(0xB2, hd, oid(3), component(0, fcp(rule("01"))), component(3, fcp(rule("01")), tlv(0x80)))), "ef-sume: doNotCreate stands beside other things"},
		{"no identifier", pack(mf, usim, tlv(0xBB, hd, oid(12), component(0, fcp(rule("01"))))), "DF.EAP: fileID is missing"},
		{"application without AID", pack(mf, tlv(0xB3, hd, oid(4), component(0, fcp(fid("7FD0"), rule("01"))))), "ADF.USIM: dfName is missing"},

		{"no path", pack(mf, gfm(dir)), "createFCP without a filePath before it"},
		{"no path after a directory", inMF(dir, dir), "createFCP without a filePath before it"},
		{"path to nothing", pack(mf, gfm(tlv(0x80, x("7F77")))), "leads to no file"},
		{"odd path", pack(mf, gfm(tlv(0x80, x("7F7700")))), "filePath has 3 bytes, want two for each identifier"},
		{"long path", pack(mf, gfm(tlv(0x80, make([]byte, 10)))), "filePath has 10 bytes"},
		{"content without a file", inMF(tlv(0x81, x("00"))), "fillFileContent without a file before it"},
		{"offset without a file", inMF(number(0x02, 1)), "fillFileOffset without a file before it"},
		{"unknown command", inMF(tlv(0x83)), "command 83 is not known"},
		{"no commands", pack(mf, tlv(0xA1, hd)), "fileManagementCMD is missing"},
		{"file twice", inMF(dir, tlv(0x80), dir), "file 7F66: 7F66 is there already: MF/DF.7F66"},
		{"no descriptor", inMF(ef(fid("6F01"))), "file 6F01: fileDescriptor is missing"},
		{"no fileID", inMF(ef(structure("4121"))), "fileID is missing"},
		{"unknown descriptor", inMF(ef(structure("4021"), fid("6F01"))), "fileDescriptor 4021 is not known"},
		{"descriptor too long", inMF(ef(structure("4221000001"), fid("6F01"))), "fileDescriptor has 5 bytes"},
		{"records without length", inMF(ef(structure("4221"), fid("6F01"))), "a record length belongs to files of records"},
		{"empty records", inMF(ef(structure("42210000"), fid("6F01"))), "records have 0 bytes, want 1 to 255"},
		{"records do not fit", inMF(ef(structure("42210003"), fid("6F01"), size("04"))), "efFileSize 4 is not 1 to 254 records of 3 bytes"},
		{"directory with size", inMF(ef(structure("7821"), fid("7F01"), size("04"))), "is a directory and has an efFileSize"},
		{"size zero", inMF(ef(structure("4121"), fid("6F01"), size("00"))), "efFileSize is 0, want 1 to 65535"},
		{"size with zero", inMF(ef(structure("4121"), fid("6F01"), size("0004"))), "efFileSize has a leading zero"},
		{"kind of another", pack(mf, tlv(0xB2, hd, oid(3), component(0, fcp(structure("4121"), rule("01"))))), "DF.TELECOM is DF, its descriptor says transparent"},
		{"name of a file", inMF(ef(structure("4121"), fid("6F01"), dfName(usimAID))), "a transparent file has a dfName"},
		{"PINs of a file", inMF(ef(structure("4121"), fid("6F01"), pins("01"))), "a transparent file has a pinStatusTemplateDO"},
		{"rule of two bytes", inMF(ef(structure("4121"), fid("6F01"), rule("2F06"))), "securityAttributesReferenced has 2 bytes"},
		{"SFI 31", inMF(ef(structure("4121"), fid("6F01"), sfi("F8"))), "shortEFID is F8"},
		{"two patterns", inMF(ef(structure("4121"), fid("6F01"), tlv(0xA5, tlv(0xC1, x("00")), tlv(0xC2, x("00"))))), "fillPattern and repeatPattern exclude each other"},
		{"component of a descriptor", inMF(ef(structure("4121"), fid("6F01"), tlv(0xC8))), "fileDescriptor has a component C8 that is not known"},
		{"directory linked to nothing", inMF(ef(structure("7821"), fid("7F01"), rule("01"), link("7F10"))), "MF/DF.7F01: linkPath [7F10] leads to no file"},
		{"directory linked to a file", inMF(ef(structure("7821"), fid("7F01"), rule("01"), link("2FE2"))), "is a directory and links to MF/EF.ICCID, which is none"},
		{"directory linked to itself", inMF(ef(structure("7821"), fid("7F01"), rule("01"), link("7F01"))), "links lead in a circle"},
		{"directory linked, with files", inMF(ef(structure("7821"), fid("7F01"), rule("01"), link("7FD0")), tlv(0x80, x("7F01")), ef(structure("4121"), fid("6F01"), rule("2F0602"), size("01"))), "is a link and has files"},
		{"link to nothing", inMF(ef(structure("4121"), fid("6F01"), rule("02"), link("7F11"))), "linkPath [7F11] leads to no file"},
		{"link to a directory", inMF(dir, tlv(0x80), ef(structure("4121"), fid("6F01"), rule("02"), link("7F66"))), "is a file and links to MF/DF.7F66, which is a directory"},
		{"link with content", inMF(ef(structure("4121"), fid("6F01"), rule("02"), link("2FE2")), tlv(0x81, x("00"))), "is a link and has content"},
		{"links in a circle", inMF(ef(structure("4121"), fid("6F01"), rule("02"), link("6F02")), ef(structure("4121"), fid("6F02"), rule("02"), link("6F01"))), "links lead in a circle"},
		{"directory with content", pack(mf, tlv(0xB2, hd, oid(3), component(0, fcp(rule("01")), content("00")))), "is a directory and has content"},
		{"content too long", inMF(ef(structure("4121"), fid("6F01"), rule("02"), size("02")), tlv(0x81, x("000000"))), "content reaches to byte 3, the file has 2"},
		{"offset too far", inMF(ef(structure("4121"), fid("6F01"), rule("02")), number(0x02, 0xFFFF), number(0x02, 1)), "fillFileOffset goes beyond 65535"},
		{"content too far", inMF(ef(structure("4121"), fid("6F01"), rule("02")), number(0x02, 0xFFFF), tlv(0x81, x("0000"))), "goes beyond 65535 bytes"},
		{"too much", inMF(many()), "the files together have more than 524288 bytes"},
		{"no size", inMF(ef(structure("4121"), fid("6F01"), rule("02"))), "MF/EF.6F01 has 0 bytes, want efFileSize or content"},
		{"no records", inMF(ef(structure("42210003"), fid("6F01"), rule("02"))), "how many records"},
		{"objects", inMF(ef(structure("7921"), fid("6F01"), rule("02"), size("10")), tlv(0x81, x("8005"))), "content is not data objects"},
		{"no rule", inMF(ef(structure("4121"), fid("6F01"), size("01"))), "access rule 0 is not in MF/EF.ARR"},
		{"rule too high", inMF(ef(structure("4121"), fid("6F01"), rule("03"), size("01"))), "access rule 3 is not in MF/EF.ARR, which has 2 records"},
		{"no ARR", inMF(ef(structure("4121"), fid("6F01"), rule("2F0701"), size("01"))), "there is no EF.ARR 2F07 for it"},
		{"rule that is none", pack(tlv(0xB0, hd, oid(1), component(0, fcp(rule("2F0601"))), component(2, fcp(rule("2F0601")), content("00")), component(3, fcp(structure("42210001"), rule("01")), content("FF")),
			component(4, fcp(structure("42210003"), rule("01")), content("123456")))), "record 1 of MF/EF.ARR is no access rule"},
		{"no IMSI", pack(mf), "the USIM has no IMSI"},

		{"no codes", pack(mf, tlv(0xA2, hd)), "pinCodes is missing"},
		{"codes of neither form", pack(mf, tlv(0xA2, hd, tlv(0xA1, tlv(0xA2)))), "neither pinconfig nor filePath"},
		{"code of nothing", pinOf(pin(0x42)), "keyReference 42 is no PIN and no ADM"},
		{"code twice", pack(mf, tlv(0xA2, hd, tlv(0xA1, tlv(0xA0, tlv(0x30, pin(1)), tlv(0x30, pin(1)))))), "keyReference 01 stands twice for MF"},
		{"code without value", pinOf(number(0x80, 1)), "pinValue is missing"},
		{"code without reference", pinOf(tlv(0x81, make([]byte, 8))), "keyReference is missing"},
		{"code without tries", pinOf(pin(1), number(0x84, 0x03)), "allows no try"},
		{"short code", pinOf(number(0x80, 1), tlv(0x81, x("31"))), "pinValue has 1 bytes"},
		{"codes of no directory", pack(mf, tlv(0xA2, hd, tlv(0xA1, tlv(0x81, x("7F55"))))), "filePath [7F55] leads to no directory"},
		{"PUK that is not there", pack(mf, usim, tlv(0xA2, hd, tlv(0xA1, tlv(0xA0, tlv(0x30, pin(1), number(0x82, 1)))))), "PIN1 is unblocked by 01, which pukCodes do not have"},
		{"PUK twice", pack(mf, tlv(0xA3, hd, tlv(0xA1, tlv(0x30, pin(1)), tlv(0x30, pin(1))))), "keyReference 01 stands twice"},
		{"no PUKs", pack(mf, tlv(0xA3, hd)), "pukCodes is missing"},
		{"PUK without value", pack(mf, tlv(0xA3, hd, tlv(0xA1, tlv(0x30, number(0x80, 1))))), "pukValue is missing"},
		{"PUK without reference", pack(mf, tlv(0xA3, hd, tlv(0xA1, tlv(0x30, tlv(0x81, make([]byte, 8)))))), "keyReference is missing"},

		{"no algorithm", pack(mf, tlv(0xA4, hd)), "algoConfiguration is missing"},
		{"algorithm of neither form", pack(mf, tlv(0xA4, hd, tlv(0xA1))), "neither mappingParameter nor algoParameter"},
		{"no source", pack(mf, tlv(0xA4, hd, tlv(0xA1, tlv(0xA0, tlv(0x80, x("00")))))), "mappingSource is missing"},
		{"algorithm without key", algorithm(number(0x80, 1), tlv(0x81, x("01"))), "key is missing"},
		{"algorithm 9", algorithm(number(0x80, 9), tlv(0x81, x("01")), tlv(0x82, make([]byte, 16)), tlv(0x83)), "algorithmID 9 is not known"},
		{"short key", algorithm(number(0x80, 1), tlv(0x81, x("01")), tlv(0x82, make([]byte, 8)), tlv(0x83)), "key has 8 bytes, want 16 to 32"},
		{"sequence number", pack(mf, usim, tlv(0xA4, hd, tlv(0xA1, tlv(0xA1, good)), tlv(0xA5, tlv(0x04, x("080000000000"))))), "sqnInit is 80000000000, want at most 07FFFFFFFFFF"},
		{"short SQN", pack(mf, usim, tlv(0xA4, hd, tlv(0xA1, tlv(0xA1, good)), tlv(0xA5, tlv(0x04, x("08"))))), "sqnInit has 1 bytes"},

		{"no instance", pack(mf, tlv(0xA6, hd)), "instance is missing"},
		{"instance without AIDs", pack(mf, tlv(0xA6, hd, tlv(0xA1))), "instance has 0 AIDs"},
		{"instance with more", pack(mf, tlv(0xA6, hd, tlv(0xA1, tlv(0x99)))), "instance has a component 99 that is not known"},
		{"key without usage", pack(mf, tlv(0xA6, hd, instance, tlv(0xA2, tlv(0x30, tlv(0x82, x("01")))))), "keyUsageQualifier is missing"},
		{"key without type", pack(mf, tlv(0xA6, hd, instance, tlv(0xA2, tlv(0x30, tlv(0x95, x("18")), tlv(0x82, x("01")), tlv(0x83, x("01")), tlv(0x30, tlv(0x30)))))), "keyType is missing"},
		{"key without data", pack(mf, tlv(0xA6, hd, instance, tlv(0xA2, tlv(0x30, tlv(0x95, x("18")), tlv(0x82, x("01")), tlv(0x83, x("01")), tlv(0x30, tlv(0x30, tlv(0x80, x("88")))))))), "keyData is missing"},
		{"RFM without header", pack(mf, tlv(0xA7)), "(rfm): has no header"},
		{"RFM without AID", pack(mf, tlv(0xA7, hd)), "instanceAID or minimumSecurityLevel is missing"},
		{"RFM with more", pack(mf, tlv(0xA7, hd, tlv(0x99))), "has a component 99 that is not known"},
		{"RFM of no application", pack(mf, tlv(0xA7, hd, tlv(0x4F, x(usimAID)), tlv(0x81, x("00")), tlv(0x30))), "adfAID is missing"},
		{"load block", pack(mf, tlv(0xA8, hd, tlv(0xA1, tlv(0x99)))), "loadBlock has a component 99 that is not known"},
	} {
		in, err := saip.Import(c.der, saip.Options{})
		if err == nil || in != nil || !errors.Is(err, saip.ErrPackage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
		if err != nil && !strings.Contains(err.Error(), "byte ") {
			t.Errorf("%s: %v says not where", c.name, err)
		}
	}
}

// What a profile cannot say is told, and the rest comes over.
func TestTold(t *testing.T) {
	both := "800102 AF10 A406830101950108 A40683010A950108"
	odd := "800103 A406830102950108 840144 A406830101950108"
	good := cat(number(0x80, 1), tlv(0x81, x("01")), tlv(0x82, make([]byte, 16)), tlv(0x83, make([]byte, 16)))
	mix := "800101 A406830101950108 800101 AF10A406830101950108A40683010A950108"
	arrs := tlv(0x62, structure("42210030"), fid("2FAA"), rule("2F0602"), arrSize(4))
	more := gfm(tlv(0x80), arrs, tlv(0x81, x(both)), number(0x02, 48-len(x(both))), tlv(0x81, x(odd)), number(0x02, 48-len(x(odd))), tlv(0x81, x(mix)),
		ef(structure("4121"), fid("6F01"), tlv(0x8A, x("04")), rule("2FAA01"), size("01")),
		ef(structure("0121"), fid("6F02"), rule("2FAA02"), size("01")),
		ef(structure("4121"), fid("6F03"), rule("2FAA03"), size("01")),
		ef(structure("4121"), fid("6F04"), rule("2FAA04"), size("01")),
		ef(structure("7921"), fid("6F05"), rule("2F0602"), size("10"), tlv(0xA5, tlv(0x86, x("20")), tlv(0x84, x("00")))))
	for _, c := range []struct {
		name string
		der  []byte
		want []string
	}{
		{"access", pack(mf, usim, more), []string{"life cycle status 04", "file 6F02: it is not shareable", "access condition PIN2 ", "access rule for command 44",
			"access condition pin1 or pin1 and adm1", "MF/EF.6F04: its access rule, record 4 of MF/EF.2FAA, is empty", "maximumFileSize is 32, its size 16", "fileDetails 00"}},
		{"header", cat(tlv(0xA0, number(0x80, 2), number(0x81, 3), tlv(0x83, make([]byte, 10)), tlv(0x84, x("00")), tlv(0xA5), tlv(0xA6), tlv(0x87, x("00")), tlv(0xA8), tlv(0xA9)), mf, usim, end),
			[]string{"): pol:", "connectivityParameters", "eUICC-Mandatory-AIDs", "iotOptions"}},
		{"constants", pack(mf, usim, tlv(0xA4, hd, tlv(0xA1, tlv(0xA1, good, tlv(0x84, x("4000204061")), tlv(0x86, x("000010")))), tlv(0x82, x("03")), tlv(0x83, x("000000000001")))),
			[]string{"rotationConstants and xoringConstants", "authCounterMax", "sqnOptions: it is 03", "sqnDelta: it is 000000000001"}},
		{"Keccak", pack(mf, usim, tlv(0xA4, hd, tlv(0xA1, tlv(0xA1, number(0x80, 2), tlv(0x81, x("01")), tlv(0x82, make([]byte, 32)), tlv(0x83, make([]byte, 32)), number(0x87, 2))))), []string{"numberOfKeccak: it is not 1"}},
		{"algorithm of the ISIM", pack(mf, usim, tlv(0xA4, hd, tlv(0xA1, tlv(0xA1, good))), tlv(0xB2, hd, oid(3), component(0, fcp(rule("2F0601")))), tlv(0xA4, hd, tlv(0xA1, tlv(0xA1, good)))), []string{"algorithm MILENAGE of MF/DF.TELECOM"}},
		{"codes", pack(mf, tlv(0xA2, hd, tlv(0xA1, tlv(0xA0, tlv(0x30, number(0x80, 0x81), tlv(0x81, x("31313131FFFFFFFF"))), tlv(0x30, number(0x80, 2), tlv(0x81, x("31313131FFFFFFFF")))))), usim,
			tlv(0xA2, hd, tlv(0xA1, tlv(0xA0, tlv(0x30, number(0x80, 0x81), tlv(0x81, x("3131313131FFFFFF"))))))), []string{"PIN2 of MF: a profile has PIN1, PIN2 and ADM1", "PIN2 of MF/ADF.USIM: it differs from that of MF"}},
		{"security domain", pack(mf, usim, tlv(0xA6, hd, tlv(0xA1, tlv(0x4F, x("A0000001515350")), tlv(0x4F, x("A000000151535041")), tlv(0x4F, x("A000000151000000"))),
			tlv(0xA2, keys("02", "88", 16), keys("03", "88", 16)), tlv(0xA4), tlv(0xA5))), []string{"openPersoData", "catTpParameters", "key version 03 of A000000151000000: a profile has one set"}},
	} {
		in, err := saip.Import(c.der, saip.Options{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		told := fmt.Sprint(in.NotTaken, in.Changed)
		for _, w := range c.want {
			if !strings.Contains(told, w) {
				t.Errorf("%s: not told: %s\n%s", c.name, w, told)
			}
		}
	}
	// A second application of a kind gets a name of its own.
	second := tlv(0xB3, hd, oid(4), component(0, fcp(fid("7FD1"), dfName("A0000000871002FF91FF0190"), rule("2F0601"))), component(1, fcp(rule("01")), content("084940990000000010")),
		component(2, fcp(structure("42210030"), rule("01"), arrSize(14)), arrFile(arr2, arr2, arr2, arr2, arr2, arr2, arr2, arr2, arr2, arr2, arr2, arr2, arr2, arr2)),
		component(6, content("00")), component(11, content("00")), component(12, content("00")), component(16, content("0001")), component(20, content("11F2FF00")))
	in, err := saip.Import(pack(mf, usim, second), saip.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s := in.Profile.String(); !strings.Contains(s, `"ADF.USIM":`) || !strings.Contains(s, `"ADF.USIM-7FD1":`) {
		t.Error(s)
	}
}

// A linked directory has the files of its target, with their content and their
// access rules, which are looked for in the target's place.
func TestLinkedDirectory(t *testing.T) {
	in, err := saip.Import(pack(mf, usim, gfm(
		tlv(0x80, x("7FD0")), ef(structure("7821"), fid("5F10"), rule("6F0601")),
		tlv(0x80, x("7FD05F10")), ef(structure("4121"), fid("4F01"), rule("6F0602"), size("02")), tlv(0x81, x("A1A2")),
		tlv(0x80, x("7FD05F10")), ef(structure("7821"), fid("5F11"), rule("6F0601"), link("7F66")),
		tlv(0x80), ef(structure("7821"), fid("7F66"), rule("2F0601")),
		tlv(0x80, x("7F66")), ef(structure("4221000A"), fid("4F77"), rule("2F0602"), size("14"), sfi("08")), tlv(0x81, x("B1")),
		tlv(0x80), ef(structure("7821"), fid("7F67"), rule("2F0601"), link("7FD05F10")))), saip.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"MF/DF.7F67/EF.4F01":                  "A1A2",
		"MF/DF.7F67/DF.5F11/EF.4F77":          "B1FFFFFFFFFFFFFFFFFF FFFFFFFFFFFFFFFFFFFF",
		"MF/ADF.USIM/DF.5F10/DF.5F11/EF.4F77": "B1FFFFFFFFFFFFFFFFFF FFFFFFFFFFFFFFFFFFFF",
	} {
		if got := content1(t, in.Profile, path); got != want {
			t.Errorf("%s holds %s, want %s", path, got, want)
		}
	}
	if c := fmt.Sprint(in.Changed); !strings.Contains(c, "MF/DF.7F67: it is a link to MF/ADF.USIM/DF.5F10; on the card its files") || strings.Contains(c, "EF.4F01: it is a link") {
		t.Error(c)
	}
	// Links to directories with links multiply.
	dirs := cat(tlv(0x80), ef(structure("7821"), fid("7F00"), rule("2F0601")), tlv(0x80, x("7F00")))
	for i := range byte(60) {
		dirs = cat(dirs, ef(structure("4121"), tlv(0x83, []byte{0x4F, i}), rule("2F0602"), size("01")))
	}
	for k := range byte(3) {
		dirs = cat(dirs, tlv(0x80), ef(structure("7821"), tlv(0x83, []byte{0x7F, k + 1}), rule("2F0601")))
		for i := range byte(60) {
			dirs = cat(dirs, tlv(0x80, []byte{0x7F, k + 1}), ef(structure("7821"), tlv(0x83, []byte{0x5F, i}), rule("2F0601"), tlv(0xC7, []byte{0x7F, k})))
		}
	}
	if _, err := saip.Import(pack(mf, usim, gfm(dirs)), saip.Options{}); !errors.Is(err, saip.ErrPackage) || !strings.Contains(err.Error(), "linked directories have more than 4096 files together") {
		t.Errorf("links that multiply: %v", err)
	}
}

// FuzzImport: no bytes break the reader, and what it takes is a profile that its
// own document gives again.
func FuzzImport(f *testing.F) {
	b, err := os.ReadFile("testdata/setu.der")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(pack(mf, usim))
	f.Add(inMF(ef(structure("7921"), fid("6F01"), rule("02"), size("10")), tlv(0x81, x("800100"))))
	f.Fuzz(func(t *testing.T, der []byte) {
		in, err := saip.Import(der, saip.Options{})
		if err != nil {
			if !errors.Is(err, saip.ErrPackage) && !errors.Is(err, profile.ErrDocument) {
				t.Fatalf("an error of neither kind: %v", err)
			}
			return
		}
		again, err := profile.Parse("again.yaml", []byte(in.Profile.String()))
		if err != nil || again.String() != in.Profile.String() {
			t.Fatalf("the profile's own document is another: %v", err)
		}
	})
}

// FuzzChanged changes bytes of a good package, whose lengths then mostly fit.
func FuzzChanged(f *testing.F) {
	good, err := os.ReadFile("testdata/setu.der")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint16(3), byte(4), uint16(0), byte(0xA0))
	f.Add(uint16(700), byte(0x62), uint16(1200), byte(0x80))
	f.Fuzz(func(t *testing.T, at uint16, b byte, at2 uint16, b2 byte) {
		der := append([]byte(nil), good...)
		der[int(at)%len(der)], der[int(at2)%len(der)] = b, b2
		in, err := saip.Import(der, saip.Options{})
		if err != nil {
			if !errors.Is(err, saip.ErrPackage) && !errors.Is(err, profile.ErrDocument) {
				t.Fatalf("an error of neither kind: %v", err)
			}
			return
		}
		if again, err := profile.Parse("again.yaml", []byte(in.Profile.String())); err != nil || again.String() != in.Profile.String() {
			t.Fatalf("the profile's own document is another: %v", err)
		}
	})
}
