package profile

import (
	"crypto"
	"encoding/binary"
	"fmt"

	"ankan/gp"
	"ankan/uicc"
)

// install loads and makes the applications, after the files and while the chip
// is not yet a card.
func (c *compiler) install() error {
	for i := range c.p.Applications {
		x := &c.p.Applications[i]
		if err := c.load(x); err != nil {
			return fmt.Errorf("load file %X: %w", x.AID, err)
		}
		for j := range x.Instances {
			if err := c.instance(x, &x.Instances[j]); err != nil {
				return fmt.Errorf("application %X: %w", x.Instances[j].AID, err)
			}
		}
	}
	return nil
}

// answering adds a command that answers so many bytes of data.
func (c *compiler) answering(name string, cmd uicc.Command, answer int, patches ...patch) {
	c.command(name, cmd, patches...)
	c.s.steps[len(c.s.steps)-1].answer = answer
}

// receipt is what INSTALL and the last LOAD answer: 00, none is given.
const receipt = 1

func (c *compiler) load(x *LoadFile) error {
	hash, err := gp.LoadFileHash(x.Code, crypto.SHA256)
	if err != nil {
		return err
	}
	announce, err := gp.InstallForLoad(x.AID, nil, hash, nil)
	if err != nil {
		return err
	}
	c.installing(fmt.Sprintf("INSTALL [for load] %X", x.AID), announce)
	blocks, err := gp.Load(gp.LoadFile(x.Code), maxData)
	if err != nil {
		return err
	}
	for i, cmd := range blocks {
		answer := 0
		if i == len(blocks)-1 {
			answer = receipt
		} else {
			cmd.Le = uicc.NoLe
		}
		c.answering(fmt.Sprintf("LOAD %X %d", x.AID, i+1), cmd, answer)
	}
	return nil
}

func (c *compiler) installing(name string, i *gp.Install) {
	for _, cmd := range i.Commands() {
		c.answering(name, cmd, receipt)
	}
}

func (c *compiler) instance(x *LoadFile, i *Instance) error {
	made, err := gp.InstallForInstall(x.AID, i.Module, i.AID, i.Privileges, i.Parameters, i.State != gp.StateInstalled)
	if err != nil {
		return err
	}
	c.installing(fmt.Sprintf("INSTALL [for install] %X", i.AID), made)
	if len(i.Data) > 0 {
		if err := c.personalise(i); err != nil {
			return err
		}
	}
	if i.State != gp.StateInstalled && i.State != gp.StateSelectable {
		cmd, err := gp.SetStatus(gp.Applications, i.State, i.AID)
		if err != nil {
			return err
		}
		c.command(fmt.Sprintf("SET STATUS %X %02X", i.AID, i.State), cmd)
	}
	return nil
}

// personalise gives an instance its data, whole groupings in each command.
func (c *compiler) personalise(i *Instance) error {
	to, err := gp.InstallForPersonalization(i.AID)
	if err != nil {
		return err
	}
	c.installing(fmt.Sprintf("INSTALL [for personalization] %X", i.AID), to)
	var data []byte
	var patches []patch
	number := byte(0)
	store := func(last byte) {
		c.command(fmt.Sprintf("STORE DATA %X %d", i.AID, number+1),
			uicc.Command{CLA: 0x80, INS: uicc.INSStoreData, P1: byte(gp.StoreDGI) | last, P2: number, Data: data}, patches...)
		data, patches, number = nil, nil, number+1
	}
	for _, g := range i.Data {
		if len(data)+3+len(g.Value) > maxData {
			store(0)
		}
		data = gp.AppendDGI(data, gp.DGI{ID: g.ID, Value: g.Value})
		patches = append(patches, c.groupingPatch(g, len(data)-len(g.Value))...)
	}
	store(0x80)
	return nil
}

// groupingPatch is the patch of a grouping's value, if a slot stands there.
func (c *compiler) groupingPatch(g Grouping, at int) []patch {
	if !g.Slotted {
		return nil
	}
	return []patch{{op: fileOp(g.Slot), at: at, slot: c.s.layout.Offset[g.Slot], n: len(g.Value)}}
}

// readInstances plans how what instances were given is read: GET DATA, which
// those of the reference OS answer to anybody. It leaves the MF selected.
func (c *compiler) readInstances() {
	selected := false
	for _, x := range c.p.Applications {
		for _, i := range x.Instances {
			name := fmt.Sprintf("application %X", i.AID)
			if len(i.Data) == 0 {
				continue
			}
			if i.State&gp.StateLocked != 0 {
				c.s.unread = append(c.s.unread, Unread{name, "it is locked"})
				continue
			}
			c.selectDir(name, uicc.Command{P1: 0x04, Data: i.AID})
			selected = true
			for _, g := range i.Data {
				cmd := uicc.Command{CLA: 0x80, INS: uicc.INSGetData, Le: len(g.Value)}
				cmd.P1, cmd.P2 = byte(g.ID>>8), byte(g.ID)
				c.expect(fmt.Sprintf("%s/DGI %04X", name, g.ID), 0, 0, cmd, g.Value, c.groupingPatch(g, 0))
			}
		}
	}
	if selected {
		c.selectDir(c.p.MF.Path(), uicc.Command{Data: []byte{0x3F, 0x00}})
	}
}

// A Listing is all that GET STATUS tells of one kind.
type Listing struct {
	Scope   gp.Scope
	Entries []gp.Entry
}

// Registry is what GET STATUS must tell of a finished card, in no certain order:
// its applications, ADFs among them, and its load files (GlobalPlatform Card
// Specification, 11.4). It is nil for a profile without applications, whose
// registry says nothing that its files do not.
func (s *Script) Registry() []Listing { return s.registry }

// registry makes what Script.Registry tells.
func (p *Profile) registry() ([]Listing, error) {
	if len(p.Applications) == 0 {
		return nil, nil
	}
	manager := []byte(ownAIDs[0])
	applications, files := Listing{Scope: gp.Applications}, Listing{Scope: gp.LoadFiles}
	for f := range p.All() {
		if f.Kind == uicc.KindADF {
			applications.Entries = append(applications.Entries, gp.Entry{AID: f.AID, State: gp.StateSelectable, Domain: manager})
		}
	}
	for _, x := range p.Applications {
		c, err := gp.ParseLoadFile(x.Code)
		if err != nil {
			return nil, fmt.Errorf("load file %X: %w", x.AID, err)
		}
		version := binary.BigEndian.Uint16([]byte{c.Package.Version.Major, c.Package.Version.Minor})
		files.Entries = append(files.Entries, gp.Entry{AID: x.AID, State: gp.LoadFileLoaded, Version: version, Domain: manager})
		for _, i := range x.Instances {
			applications.Entries = append(applications.Entries,
				gp.Entry{AID: i.AID, State: i.State, Privileges: i.Privileges, LoadFile: x.AID, Domain: manager})
		}
	}
	return []Listing{applications, files}, nil
}
