package order

import (
	"fmt"
	"slices"
	"strings"
)

// A Column is a column of a response file that Ankan knows. The zero Column is
// none.
type Column struct {
	name string // as files write it
	slot string // of a card's record; "" if the value does not come from there
	kind kind
}

type kind uint8

const (
	iccidCell  kind = iota + 1
	imsiCell        // 15 digits
	msisdnCell      // digits
	accCell         // four hexadecimal digits
	codeCell        // PIN, PUK, ADM: 4 to 8 digits
	sealedCell      // hexadecimal digits of one or two encrypted 16-byte blocks: K, OPc, TOPc
	textCell        // a word without blanks
)

// knownColumns are the columns of the trade. A key has only an encrypted
// column.
func knownColumns() []Column {
	return []Column{
		{"ICCID", "ICCID", iccidCell},
		{"IMSI", "IMSI", imsiCell},
		{"MSISDN", "MSISDN", msisdnCell},
		{"ACC", "ACC", accCell},
		{"Access_Control", "ACC", accCell},
		{"PIN1", "PIN1", codeCell}, {"PUK1", "PUK1", codeCell},
		{"PIN2", "PIN2", codeCell}, {"PUK2", "PUK2", codeCell},
		{"ADM1", "ADM1", codeCell}, {"ADM2", "ADM2", codeCell}, {"ADM3", "ADM3", codeCell},
		{"ADM4", "ADM4", codeCell}, {"ADM5", "ADM5", codeCell}, {"ADM6", "ADM6", codeCell},
		{"EKI", "K", sealedCell},
		{"EOPC", "OPC", sealedCell},
		{"EKIC1", "SCP80_KIC1", sealedCell}, {"EKID1", "SCP80_KID1", sealedCell}, {"EKIK1", "SCP80_KIK1", sealedCell},
		{"ESCP03_ENC", "SCP03_ENC", sealedCell}, {"ESCP03_MAC", "SCP03_MAC", sealedCell}, {"ESCP03_DEK", "SCP03_DEK", sealedCell},
		{"Code Retailer", "", textCell},
		{"Code ADM", "", textCell},
	}
}

// ParseColumn finds a column by its name, without case. A column that would
// carry keys in clear is refused.
func ParseColumn(name string) (Column, error) {
	for _, c := range knownColumns() {
		if strings.EqualFold(c.name, name) {
			return c, nil
		}
	}
	upper := strings.ToUpper(name)
	for _, c := range knownColumns() {
		if c.kind == sealedCell && (upper == c.name[1:] || upper == c.slot) {
			return Column{}, fmt.Errorf("column %s would carry keys in clear, want %s", upper, c.name)
		}
	}
	switch {
	case upper == "OP" || upper == "K4" || upper == "PSK" || strings.HasPrefix(upper, "KI") || strings.HasPrefix(upper, "SCP0"):
		return Column{}, fmt.Errorf("column %s would carry keys in clear, want an encrypted column such as EKI", upper)
	}
	return Column{}, fmt.Errorf("column %s is unknown", shown(name))
}

// ParseColumns reads names joined by '/', as var_out writes them. A column may
// be there once; ICCID and IMSI must be.
func ParseColumns(list string) ([]Column, error) {
	var cols []Column
	for name := range strings.SplitSeq(list, "/") {
		c, err := ParseColumn(name)
		if err != nil {
			return nil, err
		}
		cols = append(cols, c)
	}
	if err := checkColumns(cols); err != nil {
		return nil, err
	}
	return cols, nil
}

func checkColumns(cols []Column) error {
	var ids [imsiCell + 1]bool
	for i, c := range cols {
		if c.kind == 0 {
			return fmt.Errorf("column %d is none", i+1)
		}
		if slices.Contains(cols[:i], c) {
			return fmt.Errorf("column %s is there twice", c.name)
		}
		if c.kind <= imsiCell {
			ids[c.kind] = true
		}
	}
	if !ids[iccidCell] || !ids[imsiCell] {
		return fmt.Errorf("columns %s, want ICCID and IMSI among them", joinColumns(cols))
	}
	return nil
}

func joinColumns(cols []Column) string {
	names := make([]string, len(cols))
	for i, c := range cols {
		names[i] = c.name
	}
	return strings.Join(names, "/")
}

// String is the column's name.
func (c Column) String() string { return c.name }

// Slot is the slot of a card's record (package profile) that the column
// shows; "" for a column that is not of the card.
func (c Column) Slot() string { return c.slot }

// Sealed reports whether the column carries a key, encrypted under the
// transport key.
func (c Column) Sealed() bool { return c.kind == sealedCell }

// Derived reports whether Row makes the cell from the identity: the caller
// gives nil for it.
func (c Column) Derived() bool { return c.kind >= iccidCell && c.kind <= accCell }
