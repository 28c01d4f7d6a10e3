package gp

import (
	"encoding/binary"
	"fmt"

	"ankan/scp"
	"ankan/uicc"
)

// Privileges of an application or security domain (6.6.1), three bytes read
// as a big-endian number.
type Privileges uint32

// The privileges.
const (
	SecurityDomain            Privileges = 0x800000
	DAPVerification           Privileges = 0xC00000 // of a security domain
	DelegatedManagement       Privileges = 0xA00000 // of a security domain
	CardLock                  Privileges = 0x100000
	CardTerminate             Privileges = 0x080000
	CardReset                 Privileges = 0x040000 // default selected
	CVMManagement             Privileges = 0x020000
	MandatedDAPVerification   Privileges = 0xC10000 // of a security domain
	TrustedPath               Privileges = 0x008000
	AuthorizedManagement      Privileges = 0x004000
	TokenManagement           Privileges = 0x002000
	GlobalDelete              Privileges = 0x001000
	GlobalLock                Privileges = 0x000800
	GlobalRegistry            Privileges = 0x000400
	FinalApplication          Privileges = 0x000200
	GlobalService             Privileges = 0x000100
	ReceiptGeneration         Privileges = 0x000080
	CipheredLoadFileDataBlock Privileges = 0x000040
	ContactlessActivation     Privileges = 0x000020
	ContactlessSelfActivation Privileges = 0x000010
	privilegesShort           Privileges = 0x00FFFF // none of these: one byte does
	privilegesThree           Privileges = 0xFFFFFF
)

func (p Privileges) bytes() []byte {
	if p&privilegesShort == 0 {
		return []byte{byte(p >> 16)}
	}
	return []byte{byte(p >> 16), byte(p >> 8), byte(p)}
}

func readPrivileges(b []byte) (Privileges, error) {
	switch len(b) {
	case 1:
		return Privileges(b[0]) << 16, nil
	case 3:
		return Privileges(b[0])<<16 | Privileges(b[1])<<8 | Privileges(b[2]), nil
	}
	return 0, fmt.Errorf("privileges of %d bytes, want 1 or 3: %w", len(b), ErrData)
}

// The parts of INSTALL's P1 (11.5.2.1).
const (
	installLoad        = 0x02
	installInstall     = 0x04
	installSelectable  = 0x08
	installExtradition = 0x10
	installPersonalize = 0x20
	installRegistry    = 0x40
	installMore        = 0x80
)

// An Install is INSTALL before it is cut into commands. Token is empty, or
// what the Token Issuer signed over TokenData (C.4).
type Install struct {
	p1     byte
	fields []byte // all but the token
	Token  []byte
}

func newInstall(p1 byte, fields ...[]byte) *Install {
	i := &Install{p1: p1}
	for _, f := range fields {
		i.fields = appendLV(i.fields, f)
	}
	return i
}

// InstallForLoad begins the loading of a load file into a security domain; an
// empty domain is the one that the channel is open to. hash is the load file
// data block hash, empty if the card asks for none; parameters are those of
// 11.5.2.3.7, coded as TLV, mostly empty (11.5.2.3.1).
func InstallForLoad(loadFile, domain, hash, parameters []byte) (*Install, error) {
	if err := CheckAID(loadFile); err != nil {
		return nil, err
	}
	if len(domain) > 0 {
		if err := CheckAID(domain); err != nil {
			return nil, err
		}
	}
	return newInstall(installLoad, loadFile, domain, hash, parameters), nil
}

// InstallForInstall makes an instance of an applet out of a load file, and
// selectable if that is wanted (11.5.2.3.2). parameters are TLV: tag C9 with
// what the applet gets, EF and EA for the card; empty stands for C9 00.
func InstallForInstall(loadFile, module, instance []byte, privileges Privileges, parameters []byte, selectable bool) (*Install, error) {
	if err := checkAIDs(loadFile, module, instance); err != nil {
		return nil, err
	}
	if err := privileges.check(); err != nil {
		return nil, err
	}
	if len(parameters) == 0 {
		parameters = []byte{0xC9, 0}
	}
	p1 := byte(installInstall)
	if selectable {
		p1 |= installSelectable
	}
	return newInstall(p1, loadFile, module, instance, privileges.bytes(), parameters), nil
}

func (p Privileges) check() error {
	if p > privilegesThree {
		return fmt.Errorf("gp: privileges %X have more than three bytes: %w", uint32(p), ErrCommand)
	}
	return nil
}

// InstallForMakeSelectable lets an installed instance be selected
// (11.5.2.3.3).
func InstallForMakeSelectable(instance []byte, privileges Privileges, parameters []byte) (*Install, error) {
	if err := CheckAID(instance); err != nil {
		return nil, err
	}
	if err := privileges.check(); err != nil {
		return nil, err
	}
	return newInstall(installSelectable, nil, nil, instance, privileges.bytes(), parameters), nil
}

// InstallForExtradition moves an application or load file to another security
// domain (11.5.2.3.4).
func InstallForExtradition(domain, application, parameters []byte) (*Install, error) {
	if err := checkAIDs(domain, application); err != nil {
		return nil, err
	}
	return newInstall(installExtradition, domain, nil, application, nil, parameters), nil
}

// InstallForRegistryUpdate changes what the registry says of an application
// (11.5.2.3.5). An empty domain leaves the application where it is.
func InstallForRegistryUpdate(domain, application []byte, privileges Privileges, parameters []byte) (*Install, error) {
	if err := CheckAID(application); err != nil {
		return nil, err
	}
	if len(domain) > 0 {
		if err := CheckAID(domain); err != nil {
			return nil, err
		}
	}
	if err := privileges.check(); err != nil {
		return nil, err
	}
	return newInstall(installRegistry, domain, nil, application, privileges.bytes(), parameters), nil
}

// InstallForPersonalization lets STORE DATA to the security domain go on to an
// application (11.5.2.3.6).
func InstallForPersonalization(application []byte) (*Install, error) {
	if err := CheckAID(application); err != nil {
		return nil, err
	}
	i := newInstall(installPersonalize, nil, nil, application, nil, nil)
	return i, nil
}

// TokenData is what a token signs: P1, P2, the length of what follows, and it
// (C.4.1 to C.4.7).
func (i *Install) TokenData() []byte {
	return append(appendTokenLength([]byte{i.p1, 0}, len(i.fields)), i.fields...)
}

// appendTokenLength appends Lc as it is without token: one byte, or three
// (C.4).
func appendTokenLength(dst []byte, n int) []byte {
	if n < 256 {
		return append(dst, byte(n))
	}
	return append(dst, 0, byte(n>>8), byte(n))
}

// Commands are the command, or several if the data is long (11.5.2.1).
func (i *Install) Commands() []uicc.Command {
	data := appendLV(append([]byte{}, i.fields...), i.Token)
	var all []uicc.Command
	for {
		n := min(len(data), block)
		c := uicc.Command{CLA: cla, INS: insInstall, P1: i.p1 | installMore, Data: data[:n:n], Le: 256}
		data = data[n:]
		if len(data) == 0 {
			c.P1 = i.p1
			return append(all, c)
		}
		all = append(all, c)
	}
}

// Load cuts a load file, what LoadFile gives, into LOAD commands of at most
// size bytes of data each, 1..255; 0 stands for what fits every secure channel
// (11.6).
func Load(loadFile []byte, size int) ([]uicc.Command, error) {
	return blocks(uicc.Command{CLA: cla, INS: uicc.INSLoad, Le: 256}, loadFile, size)
}

// StoreFormat says how the data of STORE DATA is built: bits b5 and b4 of P1
// (11.11.2.1).
type StoreFormat byte

// The formats, and what may be added to them.
const (
	StorePlain     StoreFormat = 0x00 // the application knows
	StoreDGI       StoreFormat = 0x08
	StoreTLV       StoreFormat = 0x10
	StoreEncrypted StoreFormat = 0x60 // values are encrypted under the data encryption key
	storeKnown     StoreFormat = 0x78
)

// StoreData cuts data into STORE DATA commands of at most size bytes each, as
// Load does.
func StoreData(format StoreFormat, data []byte, size int) ([]uicc.Command, error) {
	if format&^storeKnown != 0 || format&(StoreDGI|StoreTLV) == StoreDGI|StoreTLV {
		return nil, fmt.Errorf("gp: STORE DATA format %02X: %w", byte(format), ErrCommand)
	}
	return blocks(uicc.Command{CLA: cla, INS: uicc.INSStoreData, P1: byte(format), Le: 256}, data, size)
}

// blocks numbers commands in P2 from 0 and marks the last in P1.
func blocks(c uicc.Command, data []byte, size int) ([]uicc.Command, error) {
	if size == 0 {
		size = block
	}
	count := (len(data) + max(size, 1) - 1) / max(size, 1)
	if size < 1 || size > 255 || count < 1 || count > 256 {
		return nil, fmt.Errorf("gp: %d bytes in blocks of %d, want 1..256 blocks of 1..255: %w", len(data), size, ErrCommand)
	}
	all := make([]uicc.Command, 0, count)
	for i := range count {
		n := min(size, len(data))
		c.P2, c.Data = byte(i), data[:n:n]
		data = data[n:]
		if i == count-1 {
			c.P1 |= 0x80
		}
		all = append(all, c)
	}
	return all, nil
}

// A DGI is a data grouping (EMV Card Personalization Specification, 2.2).
type DGI struct {
	ID    uint16
	Value []byte // at most 65534 bytes
}

// AppendDGI appends a data grouping to dst: what STORE DATA carries with
// StoreDGI. It panics if the value is longer than 65534 bytes.
func AppendDGI(dst []byte, d DGI) []byte {
	n := len(d.Value)
	if n > 0xFFFE {
		panic(fmt.Sprintf("gp: DGI %04X of %d bytes", d.ID, n))
	}
	dst = binary.BigEndian.AppendUint16(dst, d.ID)
	if n < 0xFF {
		dst = append(dst, byte(n))
	} else {
		dst = append(dst, 0xFF, byte(n>>8), byte(n))
	}
	return append(dst, d.Value...)
}

// ReadDGI reads the first data grouping of b and returns what follows. It
// takes the shortest form of each length only. The value aliases b.
func ReadDGI(b []byte) (d DGI, rest []byte, err error) {
	bad := func() (DGI, []byte, error) {
		return DGI{}, nil, fmt.Errorf("gp: data grouping in %d bytes: %w", len(b), ErrData)
	}
	if len(b) < 3 {
		return bad()
	}
	n, body := int(b[2]), b[3:]
	if n == 0xFF {
		if len(body) < 2 {
			return bad()
		}
		n, body = int(binary.BigEndian.Uint16(body)), body[2:]
		if n < 0xFF || n == 0xFFFF {
			return bad()
		}
	}
	if n > len(body) {
		return bad()
	}
	return DGI{binary.BigEndian.Uint16(b), body[:n:n]}, body[n:], nil
}

// Delete deletes an application or load file, and with related everything that
// came from it (11.2). token is empty, or signed over DeleteTokenData.
func Delete(aid []byte, related bool, token []byte) (uicc.Command, error) {
	c, err := deleteObject(aid, related)
	if err != nil {
		return c, err
	}
	if len(token) > 0 {
		c.Data = uicc.AppendTLV(c.Data, 0x9E, token...)
	}
	if len(c.Data) > 255 {
		return c, fmt.Errorf("gp: DELETE of %d bytes, at most 255 fit: %w", len(c.Data), ErrCommand)
	}
	return c, nil
}

func deleteObject(aid []byte, related bool) (uicc.Command, error) {
	if err := CheckAID(aid); err != nil {
		return uicc.Command{}, err
	}
	c := uicc.Command{CLA: cla, INS: insDelete, Data: uicc.AppendTLV(nil, 0x4F, aid...), Le: 256}
	if related {
		c.P2 = 0x80
	}
	return c, nil
}

// DeleteTokenData is what a token of DELETE signs (C.4.6).
func DeleteTokenData(aid []byte, related bool) ([]byte, error) {
	c, err := deleteObject(aid, related)
	if err != nil {
		return nil, err
	}
	return append(appendTokenLength([]byte{c.P1, c.P2}, len(c.Data)), c.Data...), nil
}

// DeleteKey deletes a key: id and version, of which one may be 0 for all
// (11.2.2.3.2).
func DeleteKey(id, version byte) (uicc.Command, error) {
	var data []byte
	if id != 0 {
		data = uicc.AppendTLV(data, 0xD0, id)
	}
	if version != 0 {
		data = uicc.AppendTLV(data, 0xD2, version)
	}
	if len(data) == 0 {
		return uicc.Command{}, fmt.Errorf("gp: DELETE key: neither identifier nor version: %w", ErrCommand)
	}
	return uicc.Command{CLA: cla, INS: insDelete, Data: data, Le: 256}, nil
}

// Scope is what SET STATUS and GET STATUS are about (11.4.2.1, 11.10.2.1).
type Scope byte

// The scopes.
const (
	IssuerDomain    Scope = 0x80 // the issuer security domain; with SET STATUS the card
	Applications    Scope = 0x40 // applications and security domains
	LoadFiles       Scope = 0x20
	LoadFileModules Scope = 0x10 // load files with their modules
	DomainWithAll   Scope = 0x60 // SET STATUS: a security domain and its applications
)

// Life cycle states (11.1.1).
const (
	CardOPReady     = 0x01
	CardInitialized = 0x07
	CardSecured     = 0x0F
	CardLocked      = 0x7F
	CardTerminated  = 0xFF
	StateInstalled  = 0x03
	StateSelectable = 0x07
	StatePersonal   = 0x0F // of a security domain
	StateLocked     = 0x80 // added to the state
	LoadFileLoaded  = 0x01
)

// SetStatus changes a life cycle state (11.10). The card's own needs no AID.
func SetStatus(scope Scope, state byte, aid []byte) (uicc.Command, error) {
	switch {
	case scope == IssuerDomain && len(aid) == 0:
	case scope == IssuerDomain || scope == Applications || scope == DomainWithAll:
		if err := CheckAID(aid); err != nil {
			return uicc.Command{}, err
		}
	default:
		return uicc.Command{}, fmt.Errorf("gp: SET STATUS of %02X, want 80, 40 or 60: %w", byte(scope), ErrCommand)
	}
	return uicc.Command{CLA: cla, INS: uicc.INSSetStatus, P1: byte(scope), P2: state, Data: aid}, nil
}

// PutKey puts keys with identifiers from first on, under a version: new ones
// if replaces is 0, else in the place of that version (11.8). The keys are
// sealed by the channel that the command goes through. The receipt is what the
// card answers if it took them.
func PutKey(channel scp.Sealer, replaces, version, first byte, keys []scp.Key) (c uicc.Command, receipt []byte, err error) {
	switch {
	case version < 1 || version > 0x7F || replaces > 0x7F:
		return c, nil, fmt.Errorf("gp: PUT KEY of version %02X in the place of %02X, want 01..7F, and 00 for a new one: %w", version, replaces, ErrCommand)
	case first < 1 || first > 0x7F:
		return c, nil, fmt.Errorf("gp: PUT KEY from identifier %02X on, want 01..7F: %w", first, ErrCommand)
	case len(keys) == 0:
		return c, nil, fmt.Errorf("gp: PUT KEY without keys: %w", ErrCommand)
	}
	data, receipt, err := scp.SealKeys(channel, version, keys)
	if err != nil {
		return c, nil, err
	}
	if len(data) > block {
		return c, nil, fmt.Errorf("gp: PUT KEY of %d bytes, at most %d fit: %w", len(data), block, ErrCommand)
	}
	p2 := first
	if len(keys) > 1 {
		p2 |= 0x80
	}
	return uicc.Command{CLA: cla, INS: uicc.INSPutKey, P1: replaces, P2: p2, Data: data, Le: 256}, receipt, nil
}
