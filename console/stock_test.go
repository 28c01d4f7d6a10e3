package console

import (
	"strings"
	"testing"

	"ankan/stock"
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
