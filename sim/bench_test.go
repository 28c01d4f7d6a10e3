package sim

import "testing"

func BenchmarkIdentityAppend(b *testing.B) {
	iccid, _ := ICCIDFromBody("899990126000000441")
	imsi, _ := ParseIMSI("404450123456789")
	r, err := NewIdentityRange(Identity{ICCID: iccid, IMSI: imsi}, 1<<30)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	buf := make([]byte, 0, 64)
	var i uint64
	for b.Loop() {
		id := r.At(i % r.Len())
		buf = id.IMSI.Append(id.ICCID.Append(buf[:0]))
		i++
	}
}

func BenchmarkParseICCID(b *testing.B) {
	text := []byte("8999901260000004411")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseICCID(string(text)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEF(b *testing.B) {
	iccid, _ := ICCIDFromBody("899990126000000441")
	imsi, _ := ParseIMSI("404450123456789")
	b.ReportAllocs()
	for b.Loop() {
		_, _ = iccid.EF(), imsi.EF()
	}
}
