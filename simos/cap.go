package simos

// Components of a CAP file by their tags (Java Card Virtual Machine
// Specification, 6.1).
const (
	capHeader       = 1
	capDirectory    = 2
	capApplet       = 3
	capImport       = 4
	capConstantPool = 5
	capClass        = 6
	capMethod       = 7
	capStaticField  = 8
	capReference    = 9
	capExport       = 10
	capDescriptor   = 11
	capDebug        = 12
)

// parseCAP checks the structure of a load file data block: components one
// behind the other, none twice, those that must be there, the header's magic
// number and version, and the applets. The code in it is not run.
func parseCAP(b []byte) (f capFile, ok bool) {
	var parts [capDebug + 1][]byte
	for len(b) > 0 {
		if len(b) < 3 {
			return f, false
		}
		tag, n := int(b[0]), int(b[1])<<8|int(b[2])
		if tag < capHeader || tag > capDebug || parts[tag] != nil || len(b) < 3+n || n == 0 {
			return f, false
		}
		parts[tag], b = b[3:3+n], b[3+n:]
	}
	for _, tag := range []int{capHeader, capDirectory, capImport, capConstantPool, capMethod, capReference} {
		if parts[tag] == nil {
			return f, false
		}
	}
	h := parts[capHeader] // magic, minor and major version, flags, package's minor and major, AID
	if len(h) < 10 || string(h[:4]) != "\xDE\xCA\xFF\xED" || h[5] != 2 || h[6]&^0x07 != 0 {
		return f, false
	}
	f.minor, f.major = h[7], h[8]
	aid, _, ok := takeLV(h[9:])
	if !ok || !validAID(aid) {
		return f, false
	}
	f.aid = aid
	applets := parts[capApplet]
	if (applets != nil) != (h[6]&0x04 != 0) {
		return f, false
	}
	if applets == nil {
		return f, true
	}
	count := int(applets[0])
	for rest := applets[1:]; len(rest) > 0; count-- {
		aid, tail, ok := takeLV(rest)
		if !ok || !validAID(aid) || len(tail) < 2 { // the offset of its install method
			return f, false
		}
		f.modules = append(f.modules, aid)
		rest = tail[2:]
	}
	return f, count == 0
}
