package stock

import (
	"strings"
	"testing"

	"ankan/hsm"
)

func TestZPL(t *testing.T) {
	b := Box{ID: "B-1", Order: "A_1", Cards: 30, First: "8991000000000000018", Last: "8991000000000000299", Seal: "S-1"}
	got := b.ZPL()
	for _, want := range []string{"^XA\n", "^BCN,110,N,N,N^FH_^FDB-1^FS", "^BXN,6,200^FH_^FDankan/box/v1_0AB-1_0AA_5F1_0A30_0A8991000000000000018", "^FDOrder: A_5F1^FS", "^FDSeal: S-1^FS", "^XZ\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "Pallet") {
		t.Error("a pallet that is none is on the label")
	}
	if zpl("a^XZ~b\\") != "a_5EXZ_7Eb_5C" {
		t.Errorf("a command inside of text: %s", zpl("a^XZ~b\\"))
	}
}

func FuzzReadLot(f *testing.F) {
	f.Add([]byte(`{"lot":"L","vendor":"v","chip":"c","quantity":5,"os":"o","image":"AA==","os_maker":"","kcv":"","given":"AA=="}`))
	f.Add([]byte(`{"lot":"L","quantity":5,"os":"o","image":"AA==","kcv":"C35280 GP","given":"AA==","key_method":"AES-128/kdf3","atr":"3B9D96801FC78031A073BE211765414E4B414E97","atr_mask":"FFFFFFFFFFFFFFFFFFFFFFFFFFFFFF0000000000","serials":[{"first":"0000000000000001","last":"0000000000000009"}],"provenance":["a"]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		l, err := ReadLot(doc)
		if err == nil && (checkName("lot", l.Lot) != nil || l.Quantity < 1 || l.Quantity > most || l.KeyAlgorithm().Cipher() == hsm.TDES) {
			t.Errorf("%+v is taken", l)
		}
	})
}

func FuzzSubject(f *testing.F) {
	for _, s := range []string{"move/store/line/L1/A1/5/w", "count/store/L1/-/5", "lot/L1/5/1/0/r", "box/B/5/S", "vault/V/w", "discrepancy/1/w", "shipment/S/5/w", "source/v/w"} {
		f.Add(s)
	}
	h := newHouse(f)
	h.accepted("L1", 5)
	f.Fuzz(func(t *testing.T, subject string) {
		for kind, d := range h.deeds {
			m, err := d.Propose(t.Context(), subject)
			if err == nil && len(m) == 0 {
				t.Errorf("%s of %q: nothing to show", kind, subject)
			}
		}
	})
}
