package gp

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"ankan/uicc"
)

// A ComponentTag names a component of a CAP file (Java Card Virtual Machine
// Specification, 6.3).
type ComponentTag byte

// The components.
const (
	ComponentHeader ComponentTag = iota + 1
	ComponentDirectory
	ComponentApplet
	ComponentImport
	ComponentConstantPool
	ComponentClass
	ComponentMethod
	ComponentStaticField
	ComponentReferenceLocation
	ComponentExport
	ComponentDescriptor
	ComponentDebug
	ComponentStaticResources
)

// componentName is the file of a component in the archive.
func componentName(t ComponentTag) string {
	names := [...]string{
		"Header", "Directory", "Applet", "Import", "ConstantPool", "Class", "Method", "StaticField", "RefLocation",
		"Export", "Descriptor", "Debug", "StaticResources",
	}
	if t < 1 || int(t) > len(names) {
		return ""
	}
	return names[t-1] + ".cap"
}

// installOrder is the order that cards take components in (6.2.1 of the same
// specification). What a card does not need, descriptor and debug, is left out.
func installOrder() []ComponentTag {
	return []ComponentTag{
		ComponentHeader, ComponentDirectory, ComponentImport, ComponentApplet, ComponentClass, ComponentMethod,
		ComponentStaticField, ComponentExport, ComponentConstantPool, ComponentReferenceLocation, ComponentStaticResources,
	}
}

// A CAP is a CAP file whose structure was checked: the converted form of a Java
// Card package.
type CAP struct {
	Format     Version // of the CAP file
	Package    Package
	Name       string // of the package, if it says so
	Flags      byte   // 01 int is used, 02 it exports, 04 it has applets
	Applets    [][]byte
	Imports    []Package
	components map[ComponentTag][]byte // whole, tag and size first
}

// A Version is a major and a minor number.
type Version struct{ Major, Minor byte }

// A Package is a Java Card package by AID and version.
type Package struct {
	AID     []byte
	Version Version
}

// Limits of a CAP file. Cards are far below.
const (
	maxComponent = 1 << 16
	maxCAP       = 1 << 20
)

// ReadCAP reads a CAP file: a JAR of components in one folder named javacard.
// It checks each component's tag and size, the header, the directory's sizes,
// applets and imports. Errors wrap ErrData.
func ReadCAP(r io.ReaderAt, size int64) (*CAP, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("gp: CAP file: %w: %w", err, ErrData)
	}
	files := map[string]ComponentTag{}
	for t := ComponentHeader; t <= ComponentStaticResources; t++ {
		files[componentName(t)] = t
	}
	components := map[ComponentTag][]byte{}
	folder, total := "", 0
	for _, f := range z.File {
		t, ok := files[path.Base(f.Name)]
		dir := path.Dir(f.Name)
		if !ok || path.Base(dir) != "javacard" {
			continue
		}
		if folder != "" && dir != folder {
			return nil, fmt.Errorf("gp: CAP file: packages in %q and %q, want one: %w", folder, dir, ErrData)
		}
		folder = dir
		if _, twice := components[t]; twice {
			return nil, fmt.Errorf("gp: CAP file: %s twice: %w", f.Name, ErrData)
		}
		b, err := readLimited(f)
		if err != nil {
			return nil, fmt.Errorf("gp: CAP file: %s: %w: %w", f.Name, err, ErrData)
		}
		if total += len(b); total > maxCAP {
			return nil, fmt.Errorf("gp: CAP file: more than %d bytes: %w", maxCAP, ErrData)
		}
		components[t] = b
	}
	return newCAP(components)
}

func readLimited(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxComponent+4))
	if err == nil && len(b) > maxComponent+3 {
		err = fmt.Errorf("more than %d bytes", maxComponent)
	}
	return b, err
}

// ParseLoadFile reads the components of a load file data block, what a CAP's
// Code gives: the form in which packages go to cards and stand in profiles.
func ParseLoadFile(b []byte) (*CAP, error) {
	components := map[ComponentTag][]byte{}
	order := slices.Insert(installOrder(), 10, ComponentDescriptor) // some send it
	for len(b) > 0 {
		if len(b) < 3 || len(b) < 3+int(binary.BigEndian.Uint16(b[1:])) {
			return nil, fmt.Errorf("gp: load file: component in %d bytes: %w", len(b), ErrData)
		}
		t, n := ComponentTag(b[0]), 3+int(binary.BigEndian.Uint16(b[1:]))
		i := slices.Index(order, t)
		if i < 0 {
			return nil, fmt.Errorf("gp: load file: component %d out of its place: %w", t, ErrData)
		}
		order = order[i+1:]
		components[t] = b[:n:n]
		b = b[n:]
	}
	return newCAP(components)
}

func newCAP(components map[ComponentTag][]byte) (*CAP, error) {
	c := &CAP{components: components}
	for t, b := range components {
		if len(b) < 3 || ComponentTag(b[0]) != t || int(binary.BigEndian.Uint16(b[1:])) != len(b)-3 {
			return nil, fmt.Errorf("gp: CAP file: %s: tag or size does not fit its %d bytes: %w", componentName(t), len(b), ErrData)
		}
	}
	for _, t := range []ComponentTag{ComponentHeader, ComponentDirectory, ComponentImport, ComponentConstantPool, ComponentClass, ComponentMethod, ComponentStaticField, ComponentReferenceLocation} {
		if components[t] == nil {
			return nil, fmt.Errorf("gp: CAP file: no %s: %w", componentName(t), ErrData)
		}
	}
	for _, step := range []func() error{c.readHeader, c.readDirectory, c.readApplets, c.readImports} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("gp: CAP file: %w", err)
		}
	}
	return c, nil
}

// A cursor reads the fields of one component.
type cursor struct {
	name string
	b    []byte
	bad  bool
}

func (c *CAP) cursor(t ComponentTag) *cursor {
	return &cursor{name: componentName(t), b: c.components[t][3:]}
}

func (r *cursor) take(n int) []byte {
	if n > len(r.b) {
		r.bad = true
		return make([]byte, n)
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *cursor) u1() byte { return r.take(1)[0] }

func (r *cursor) u2() int { return int(binary.BigEndian.Uint16(r.take(2))) }

// aid reads a length and an AID.
func (r *cursor) aid() []byte {
	v := r.take(int(r.u1()))
	if CheckAID(v) != nil {
		r.bad = true
	}
	return v
}

func (r *cursor) pkg() Package {
	minor, major := r.u1(), r.u1()
	return Package{Version: Version{major, minor}, AID: r.aid()}
}

// end says whether all was read and nothing is left.
func (r *cursor) end() error {
	if r.bad || len(r.b) > 0 {
		return fmt.Errorf("%s: its fields do not fit its size: %w", r.name, ErrData)
	}
	return nil
}

// readHeader reads the header component (6.4).
func (c *CAP) readHeader() error {
	r := c.cursor(ComponentHeader)
	if string(r.take(4)) != "\xDE\xCA\xFF\xED" {
		return fmt.Errorf("%s: it does not begin with DECAFFED: %w", r.name, ErrData)
	}
	minor, major := r.u1(), r.u1()
	c.Format = Version{major, minor}
	if major != 2 || minor < 1 || minor > 3 {
		return fmt.Errorf("%s: format %d.%d, want 2.1 to 2.3: %w", r.name, major, minor, ErrData)
	}
	c.Flags = r.u1()
	c.Package = r.pkg()
	// From 2.2 on a name follows.
	if len(r.b) > 0 {
		c.Name = string(r.take(int(r.u1())))
	}
	if err := r.end(); err != nil {
		return err
	}
	if strings.ContainsFunc(c.Name, func(x rune) bool { return x < 0x20 || x > 0x7E }) {
		return fmt.Errorf("%s: the package's name is no name: %w", r.name, ErrData)
	}
	return nil
}

// readDirectory compares the directory's sizes with the components (6.5).
func (c *CAP) readDirectory() error {
	r := c.cursor(ComponentDirectory)
	// 2.1 tells sizes up to the descriptor's, 2.2 debug's too, 2.3 resources' too.
	sizes := ComponentDescriptor + ComponentTag(c.Format.Minor-1)
	for t := ComponentHeader; t <= sizes; t++ {
		n := r.u2()
		b, ok := c.components[t]
		switch {
		case t == ComponentDescriptor || t == ComponentDebug:
			// Tools leave these out of the file, and cards never get them.
		case ok && n != len(b)-3, !ok && n != 0:
			return fmt.Errorf("%s: %s has %d bytes, the directory says %d: %w", r.name, componentName(t), max(len(b)-3, 0), n, ErrData)
		}
	}
	// Static fields, imports, applets, custom components.
	r.take(6)
	imports, applets := int(r.u1()), int(r.u1())
	for range int(r.u1()) {
		r.u1()
		r.u2()
		r.aid()
	}
	if err := r.end(); err != nil {
		return err
	}
	if n := int(c.cursor(ComponentImport).u1()); n != imports {
		return fmt.Errorf("%s: %d imports, %s has %d: %w", r.name, imports, componentName(ComponentImport), n, ErrData)
	}
	n := 0
	if c.components[ComponentApplet] != nil {
		n = int(c.cursor(ComponentApplet).u1())
	}
	if n != applets {
		return fmt.Errorf("%s: %d applets, %s has %d: %w", r.name, applets, componentName(ComponentApplet), n, ErrData)
	}
	return nil
}

// readApplets reads the applet component, which libraries have not (6.6).
func (c *CAP) readApplets() error {
	const hasApplets = 0x04
	if (c.Flags&hasApplets != 0) != (c.components[ComponentApplet] != nil) {
		return fmt.Errorf("%s: flags %02X do not say what is there: %w", componentName(ComponentApplet), c.Flags, ErrData)
	}
	if c.components[ComponentApplet] == nil {
		return nil
	}
	r := c.cursor(ComponentApplet)
	for range int(r.u1()) {
		aid := r.aid()
		r.u2() // offset of install()
		if len(aid) >= 5 && len(c.Package.AID) >= 5 && !bytes.Equal(aid[:5], c.Package.AID[:5]) {
			return fmt.Errorf("%s: applet %X is of another provider than package %X: %w", r.name, aid, c.Package.AID, ErrData)
		}
		c.Applets = append(c.Applets, aid)
	}
	return r.end()
}

// readImports reads the import component (6.7).
func (c *CAP) readImports() error {
	r := c.cursor(ComponentImport)
	for range int(r.u1()) {
		c.Imports = append(c.Imports, r.pkg())
	}
	return r.end()
}

// Code is the load file data block: the components in the order that cards
// take them in.
func (c *CAP) Code() []byte {
	var b []byte
	for _, t := range installOrder() {
		b = append(b, c.components[t]...)
	}
	return b
}

// LoadFile is what LOAD carries (11.6.2.3): DAP blocks, then the code under tag
// C4. See Load.
func LoadFile(code []byte, daps ...DAP) []byte {
	var b []byte
	for _, d := range daps {
		body := uicc.AppendTLV(nil, 0x4F, d.Domain...)
		b = uicc.AppendTLV(b, 0xE2, uicc.AppendTLV(body, 0xC3, d.Signature...)...)
	}
	return uicc.AppendTLV(b, 0xC4, code...)
}

// ReadLoadFile is the card's side of LoadFile. What it returns aliases b.
func ReadLoadFile(b []byte) (code []byte, daps []DAP, err error) {
	for t, err := range uicc.TLVs(b) {
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("gp: load file: %w: %w", err, ErrData)
		case code != nil:
			return nil, nil, fmt.Errorf("gp: load file: tag %X after the code: %w", uint32(t.Tag), ErrData)
		case t.Tag == 0xC4:
			code = t.Value
		case t.Tag == 0xE2:
			domain, ok1 := uicc.FindTLV(t.Value, 0x4F)
			signature, ok2 := uicc.FindTLV(t.Value, 0xC3)
			if !ok1 || !ok2 {
				return nil, nil, fmt.Errorf("gp: load file: DAP block without domain or signature: %w", ErrData)
			}
			daps = append(daps, DAP{domain, signature})
		default:
			return nil, nil, fmt.Errorf("gp: load file: tag %X, want E2 or C4: %w", uint32(t.Tag), ErrData)
		}
	}
	if code == nil {
		return nil, nil, fmt.Errorf("gp: load file: no code: %w", ErrData)
	}
	return code, daps, nil
}
