package gp

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// A capBuilder makes CAP files, right ones and others.
type capBuilder struct {
	minor      byte
	components map[ComponentTag][]byte // bodies
	custom     []byte                  // of the directory
}

func newBuilder(minor byte) *capBuilder {
	header := append([]byte{0xDE, 0xCA, 0xFF, 0xED, minor, 2, 4, 0, 1, 9}, packageAID...)
	if minor > 1 {
		header = append(header, append([]byte{11}, "com/example"...)...)
	}
	applet := append([]byte{1, 10}, appletAID...)
	imports := []byte{2, 3, 1, 7}
	imports = append(imports, "\xA0\x00\x00\x00\x62\x00\x01"...)
	imports = append(imports, 6, 1, 7)
	imports = append(imports, "\xA0\x00\x00\x00\x62\x01\x01"...)
	return &capBuilder{minor: minor, components: map[ComponentTag][]byte{
		ComponentHeader:            header,
		ComponentApplet:            append(applet, 0, 20),
		ComponentImport:            imports,
		ComponentConstantPool:      {0, 0},
		ComponentClass:             {0, 1, 2, 3},
		ComponentMethod:            {0, 5, 6, 7, 8},
		ComponentStaticField:       make([]byte, 10),
		ComponentReferenceLocation: {0, 0, 0, 0},
		ComponentDescriptor:        {0, 0, 0},
		ComponentDebug:             {9},
	}}
}

func (b *capBuilder) directory() []byte {
	count := 10 + int(b.minor)
	d := make([]byte, 0, 40)
	for t := ComponentHeader; int(t) <= count; t++ {
		n := len(b.components[t])
		if t == ComponentDirectory {
			n = 2*count + 9 + len(b.custom)
		}
		d = binary.BigEndian.AppendUint16(d, uint16(n))
	}
	d = append(d, 0, 0, 0, 0, 0, 0)
	applets := byte(0)
	if a := b.components[ComponentApplet]; a != nil {
		applets = a[0]
	}
	custom := byte(0)
	if len(b.custom) > 0 {
		custom = 1
	}
	return append(append(d, b.components[ComponentImport][0], applets, custom), b.custom...)
}

// archive writes the JAR; change may alter a component as it stands in it.
func (b *capBuilder) archive(t testing.TB, change func(ComponentTag, []byte) []byte) []byte {
	t.Helper()
	if b.components[ComponentDirectory] == nil {
		b.components[ComponentDirectory] = b.directory()
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	write := func(name string, b []byte) {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("META-INF/MANIFEST.MF", []byte("Manifest-Version: 1.0\n"))
	for tag := ComponentStaticResources; tag >= ComponentHeader; tag-- {
		body, ok := b.components[tag]
		if !ok {
			continue
		}
		c := binary.BigEndian.AppendUint16([]byte{byte(tag)}, uint16(len(body)))
		c = append(c, body...)
		if change != nil {
			c = change(tag, c)
		}
		if c != nil {
			write("com/example/javacard/"+componentName(tag), c)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func readCAP(b []byte) (*CAP, error) { return ReadCAP(bytes.NewReader(b), int64(len(b))) }

func TestCAP(t *testing.T) {
	for minor := byte(1); minor <= 3; minor++ {
		b := newBuilder(minor)
		b.custom = append([]byte{0x80, 0, 1, 5}, "\xA0\x00\x00\x00\x01"...)
		if minor == 3 {
			b.components[ComponentStaticResources] = []byte{0, 0}
		}
		c, err := readCAP(b.archive(t, nil))
		if err != nil {
			t.Fatal(err)
		}
		if c.Format != (Version{2, minor}) || string(c.Package.AID) != packageAID || c.Package.Version != (Version{1, 0}) || c.Flags != 4 {
			t.Errorf("%+v", c)
		}
		if minor > 1 && c.Name != "com/example" {
			t.Errorf("name %q", c.Name)
		}
		if len(c.Applets) != 1 || string(c.Applets[0]) != appletAID {
			t.Errorf("applets %x", c.Applets)
		}
		if len(c.Imports) != 2 || c.Imports[0].Version != (Version{1, 3}) || c.Imports[1].Version != (Version{1, 6}) {
			t.Errorf("imports %+v", c.Imports)
		}
		var tags []byte
		code := c.Code()
		for rest := code; len(rest) > 0; rest = rest[3+binary.BigEndian.Uint16(rest[1:]):] {
			tags = append(tags, rest[0])
		}
		want := []byte{1, 2, 4, 3, 6, 7, 8, 5, 9}
		if minor == 3 {
			want = append(want, 13)
		}
		if !bytes.Equal(tags, want) {
			t.Errorf("order %v, want %v", tags, want)
		}
		again, err := ParseLoadFile(code)
		if err != nil || !bytes.Equal(again.Code(), code) {
			t.Errorf("load file: %v", err)
		}
	}
	// A library has no applets.
	b := newBuilder(1)
	delete(b.components, ComponentApplet)
	b.components[ComponentHeader][6] = 0x02
	b.components[ComponentExport] = []byte{0}
	if c, err := readCAP(b.archive(t, nil)); err != nil || len(c.Applets) != 0 {
		t.Errorf("library: %v", err)
	}
	// A load file may carry its descriptor.
	c, err := readCAP(newBuilder(1).archive(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseLoadFile(append(c.Code(), 11, 0, 3, 0, 0, 0)); err != nil {
		t.Errorf("with a descriptor: %v", err)
	}
}

func TestCAPRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		build  func(b *capBuilder)
		change func(ComponentTag, []byte) []byte
		want   string
	}{
		"no header":         {change: drop(ComponentHeader), want: "no Header.cap"},
		"no method":         {change: drop(ComponentMethod), want: "no Method.cap"},
		"other tag":         {change: patch(ComponentClass, 0, 7), want: "Class.cap: tag or size"},
		"other size":        {change: patch(ComponentClass, 2, 9), want: "Class.cap: tag or size"},
		"two bytes":         {change: func(t ComponentTag, b []byte) []byte { return cut(t, ComponentClass, b) }, want: "Class.cap: tag or size"},
		"magic":             {build: set(ComponentHeader, 0, 0), want: "DECAFFED"},
		"format 2.0":        {build: set(ComponentHeader, 4, 0), want: "format 2.0"},
		"format 3.1":        {build: set(ComponentHeader, 5, 3), want: "format 3.2"},
		"package AID":       {build: set(ComponentHeader, 9, 4), want: "Header.cap: its fields"},
		"name":              {build: set(ComponentHeader, 20, 1), want: "name is no name"},
		"directory's size":  {build: set(ComponentDirectory, 13, 9), want: "Method.cap has 5 bytes, the directory says 9"},
		"what is not there": {build: set(ComponentDirectory, 19, 9), want: "Export.cap has 0 bytes, the directory says 9"},
		"import count":      {build: set(ComponentDirectory, 30, 3), want: "3 imports"},
		"applet count":      {build: set(ComponentDirectory, 31, 3), want: "3 applets"},
		"custom count":      {build: set(ComponentDirectory, 32, 3), want: "Directory.cap: its fields"},
		"applets denied":    {build: set(ComponentHeader, 6, 0), want: "flags 00"},
		"foreign applet":    {build: set(ComponentApplet, 2, 0xA1), want: "another provider"},
		"applet AID":        {build: set(ComponentApplet, 1, 3), want: "Applet.cap: its fields"},
		"import AID":        {build: set(ComponentImport, 3, 17), want: "Import.cap: its fields"},
		"component of 70 kB": {change: func(t ComponentTag, b []byte) []byte {
			if t == ComponentDebug {
				return make([]byte, 70000)
			}
			return b
		}, want: "more than 65536"},
	} {
		b := newBuilder(2)
		b.components[ComponentDirectory] = b.directory()
		if c.build != nil {
			c.build(b)
		}
		if _, err := readCAP(b.archive(t, c.change)); !errors.Is(err, ErrData) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := readCAP([]byte("not a zip")); !errors.Is(err, ErrData) {
		t.Errorf("no archive: %v, want ErrData", err)
	}
	for name, files := range map[string][]string{
		"two packages": {"a/javacard/Header.cap", "b/javacard/Header.cap"},
		"twice":        {"a/javacard/Header.cap", "a/javacard/Header.cap"},
		"none":         {"a/other/Header.cap"},
	} {
		var out bytes.Buffer
		z := zip.NewWriter(&out)
		for _, f := range files {
			w, err := z.Create(f)
			if err != nil {
				t.Fatal(err)
			}
			w.Write([]byte{1, 0, 0})
		}
		z.Close()
		if _, err := readCAP(out.Bytes()); !errors.Is(err, ErrData) {
			t.Errorf("%s: %v, want ErrData", name, err)
		}
	}
	var big bytes.Buffer
	z := zip.NewWriter(&big)
	for i := range 20 {
		w, err := z.Create("a/javacard/" + componentName(ComponentTag(1+i%13)))
		if err != nil {
			t.Fatal(err)
		}
		w.Write(make([]byte, maxComponent))
	}
	z.Close()
	if _, err := readCAP(big.Bytes()); !errors.Is(err, ErrData) {
		t.Errorf("a megabyte: %v, want ErrData", err)
	}
	// The archive lies about what it holds.
	broken := newBuilder(1).archive(t, nil)
	if _, err := readCAP(broken[:len(broken)/2]); !errors.Is(err, ErrData) {
		t.Errorf("half an archive: %v, want ErrData", err)
	}
	for _, s := range []string{"01", "010002", "0b000000", "020000010000"} {
		if _, err := ParseLoadFile(unhex(t, s)); !errors.Is(err, ErrData) {
			t.Errorf("load file %s: %v, want ErrData", s, err)
		}
	}
}

func drop(which ComponentTag) func(ComponentTag, []byte) []byte {
	return func(t ComponentTag, b []byte) []byte {
		if t == which {
			return nil
		}
		return b
	}
}

func patch(which ComponentTag, at int, to byte) func(ComponentTag, []byte) []byte {
	return func(t ComponentTag, b []byte) []byte {
		if t == which {
			b[at] = to
		}
		return b
	}
}

func cut(t, which ComponentTag, b []byte) []byte {
	if t == which {
		return b[:2]
	}
	return b
}

func set(which ComponentTag, at int, to byte) func(*capBuilder) {
	return func(b *capBuilder) { b.components[which][at] = to }
}

func TestLoadFile(t *testing.T) {
	code := bytes.Repeat([]byte{1}, 300)
	b := LoadFile(code, DAP{[]byte(domainAID), []byte("signature")})
	got, daps, err := ReadLoadFile(b)
	if err != nil || !bytes.Equal(got, code) || len(daps) != 1 || string(daps[0].Domain) != domainAID || string(daps[0].Signature) != "signature" {
		t.Errorf("%d bytes, %+v, %v", len(got), daps, err)
	}
	for _, s := range []string{"", "c4", "e200", "e2024f00", "c40101c40101", "c500"} {
		if _, _, err := ReadLoadFile(unhex(t, s)); !errors.Is(err, ErrData) {
			t.Errorf("%q: %v, want ErrData", s, err)
		}
	}
}

func FuzzCAP(f *testing.F) {
	for minor := byte(1); minor <= 3; minor++ {
		b := newBuilder(minor).archive(f, nil)
		f.Add(b)
		c, err := readCAP(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(c.Code())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, read := range []func() (*CAP, error){
			func() (*CAP, error) { return ReadCAP(readerAt{b}, int64(len(b))) },
			func() (*CAP, error) { return ParseLoadFile(b) },
		} {
			if c, err := read(); err == nil {
				again, err := ParseLoadFile(c.Code())
				if err != nil || !bytes.Equal(again.Code(), c.Code()) {
					t.Errorf("%x: %v", b, err)
				}
			}
		}
	})
}

type readerAt struct{ b []byte }

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > int64(len(r.b)) {
		return 0, io.EOF
	}
	n := copy(p, r.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
