package console

import (
	"strings"
	"testing"

	"ankan/site/sitetest"
	"ankan/stock"
	"ankan/store"
)

// Whoever counts is shown no figure of the books, on no page.
func TestBlindPages(t *testing.T) {
	h := newHouse(t)
	book := stock.New(h.site.Store())
	lot := stock.Lot{Lot: "L-1", Vendor: hostile, Chip: "c", Quantity: 7391, OS: "o", Image: []byte{1}, Given: []byte{1}, KeyMethod: "AES-128/kdf3", ATR: "3B9D96", ATRMask: "FFFF00", Serials: []stock.Range{{First: "0000000000000001", Last: "0000000000001cdf"}}}
	if err := book.Offer(t.Context(), lot); err != nil {
		t.Fatal(err)
	}
	warehouse, lead, officer := h.people["warehouse"], h.people["shift-lead"], h.people["security-officer"]
	for _, v := range []*visitor{warehouse, lead, officer} {
		v.signIn()
	}
	shows := func(v *visitor, path string) bool { return strings.Contains(v.page(path), "7,391") }
	for _, path := range []string{"/lots", "/lots/L-1", "/boxes", "/shipments", "/discrepancies"} {
		if shows(warehouse, path) || shows(lead, path) {
			t.Errorf("%s shows a figure that is to be counted", path)
		}
	}
	if !shows(officer, "/stock") || !shows(officer, "/lots/L-1") {
		t.Error("the officer does not see the figures")
	}
	// Ranges of serial numbers tell how many there are.
	for who, want := range map[*visitor]bool{warehouse: false, lead: false, officer: true} {
		if page := who.page("/lots/L-1"); strings.Contains(page, "0000000000001cdf") != want || !strings.Contains(page, "AES-128/kdf3") || !strings.Contains(page, "FFFF00") {
			t.Errorf("the note's serial numbers, want %t:\n%s", want, page)
		}
	}
	for _, v := range []*visitor{warehouse, lead} {
		if r := v.get("/stock"); r.code != 403 {
			t.Errorf("who counts opens the accounts: %d", r.code)
		}
	}
	for path, want := range map[string]int{"/lots/L-9": 404, "/boxes/B-9/label.pdf": 404, "/boxes/B-9/label.zpl": 404, "/shipments/S-9/form.pdf": 404} {
		if r := officer.get(path); r.code != want {
			t.Errorf("%s: %d, want %d", path, r.code, want)
		}
	}
	// A count goes on to be signed; one of what is not here is refused.
	r := warehouse.post("/discrepancies/count", "account", "store", "lot", "L-1", "found", "5")
	if to := r.header.Get("Location"); r.code != 303 || !strings.Contains(to, "count%2Fstore%2FL-1%2F-%2F5") {
		t.Errorf("a count: %d, %s", r.code, to)
	}
	r = warehouse.post("/discrepancies/count", "account", "store", "lot", "L-9", "found", "5")
	if r.code != 422 || !strings.Contains(r.body, "is not here") {
		t.Errorf("a count of no lot: %d", r.code)
	}
}

// A shipment that comes is counted by people who see no figure of it, and no
// range from which one could be told.
func TestDeliveryPages(t *testing.T) {
	h := newHouse(t)
	book := stock.New(h.site.Store())
	advice := stock.Advice{Site: "plant", Number: "SH-1", Operator: "maker", Consignee: "Op", Carrier: hostile, Seal: "T-1", Sent: h.site.Store().Now(), Cards: 7391,
		Boxes: []stock.AdvisedBox{{Box: "B-1", Seal: "S-1", Order: "op-1", Cards: 7391, First: "8991000000000000018", Last: "8991000000000073910"}}}
	change := func(fn func(*store.Tx) error) {
		t.Helper()
		sitetest.Change(t, h.site, fn)
	}
	change(func(tx *store.Tx) error {
		return book.Advised(t.Context(), tx, "plant", stock.Announced, advice, map[string]int{"op-1": 7391})
	})
	nodal, officer := h.people["nodal-officer"], h.people["security-officer"]
	const path = "/deliveries/plant/SH-1"
	for _, v := range []*visitor{nodal, officer, h.people["warehouse"]} {
		v.signIn()
		for _, path := range []string{"/deliveries", path} {
			if page := v.page(path); strings.Contains(page, "7,391") || strings.Contains(page, "7391") || strings.Contains(page, advice.Boxes[0].First) || !strings.Contains(page, "T-1") {
				t.Errorf("%s shows what is to be counted, or no seal", path)
			}
		}
		if r := v.get(path + "/form.pdf"); r.code != 404 {
			t.Errorf("the form before the count: %d", r.code)
		}
	}
	if !strings.Contains(nodal.page(path), `name="cards-B-1"`) || strings.Contains(officer.page(path), `name="cards-B-1"`) {
		t.Error("the form is not for those who may receive")
	}
	for want, typed := range map[string][]string{
		"a seal is":     {"cards-B-1", "7391", "seal-B-1", "whole"},
		"want a number": {"seal", "whole", "cards-B-1", "many", "seal-B-1", "whole"},
	} {
		if r := nodal.post(path, typed...); r.code != 422 || !strings.Contains(r.body, want) {
			t.Errorf("%v: %d, want %s", typed, r.code, want)
		}
	}
	r := nodal.post(path, "seal", "whole", "cards-B-1", "7390", "seal-B-1", "broken")
	if to := r.header.Get("Location"); r.code != 303 || !strings.Contains(to, "delivery%2Fplant%2FSH-1%2Fwhole%2FB-1%3A7390%3Abroken") {
		t.Fatalf("a finding: %d, %s", r.code, to)
	}
	if page := nodal.page(r.header.Get("Location")); strings.Contains(page, "7391") {
		t.Error("who signs the count is shown the figure")
	}
	for path, want := range map[string]int{"/deliveries/plant/SH-9": 404, "/deliveries/other/SH-1": 404, "/deliveries/plant/SH-9/form.pdf": 404} {
		if r := officer.get(path); r.code != want {
			t.Errorf("%s: %d, want %d", path, r.code, want)
		}
	}
	change(func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE stock_delivery SET state = 'answered', found = 'whole/B-1:7390:broken', act = 'x', received = $1`, store.Stamp(tx.Time()))
		return err
	})
	if page := nodal.page(path); !strings.Contains(page, "7,391") || !strings.Contains(page, "7,390") || strings.Contains(page, "<form class=\"stack-l\"") {
		t.Error("what was counted is not shown")
	}
	if r := nodal.get(path + "/form.pdf"); r.code != 200 || !strings.HasPrefix(r.body, "%PDF-") {
		t.Errorf("the form: %d", r.code)
	}
}
