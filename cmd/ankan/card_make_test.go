package main

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"ankan/scp"
	"ankan/simos"
	"ankan/uicc"
)

// What cards.csv says opens the card: SCP03, or SCP02 of an old one.
func TestTestCardsOpen(t *testing.T) {
	for _, old := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "cards")
		if err := (cardMakeCmd{Profile: "builtin:in-5g-usim", Out: dir, Count: 1, SCP02: old}).Run(&app{ctx: t.Context(), out: new(bytes.Buffer)}); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(filepath.Join(dir, "cards.csv"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		rows, err := csv.NewReader(f).ReadAll()
		if err != nil || len(rows) != 2 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		of := map[string][]byte{}
		for i, name := range rows[0] {
			of[name], _ = hex.DecodeString(rows[1][i])
		}
		chip, err := simos.LoadChip(filepath.Join(dir, rows[1][0]+".chip"))
		if err != nil {
			t.Fatal(err)
		}
		var keys scp.Static
		if old {
			keys, err = scp.NewDESKeySet(of["scp02_enc"], of["scp02_mac"], of["scp02_dek"])
		} else {
			keys, err = scp.NewKeySet(of["scp03_enc"], of["scp03_mac"], of["scp03_dek"])
		}
		if err != nil {
			t.Fatal(err)
		}
		chip.Reset()
		channel, err := scp.Open(t.Context(), chip, keys, scp.Options{Level: scp.Commands, DES: old})
		if err != nil {
			t.Fatalf("old: %t: %v", old, err)
		}
		if _, err := uicc.NewSession(channel).GetData(t.Context(), 0xE0); err != nil {
			t.Errorf("old: %t: %v", old, err)
		}
		chip.Reset()
		if _, err := scp.Open(t.Context(), chip, keys, scp.Options{Level: scp.Commands}); old == (err == nil) {
			t.Errorf("old: %t, not asked for: %v", old, err)
		}
	}
}
