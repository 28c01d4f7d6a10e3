package paper

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func sampleLabel() Label {
	return Label{Site: "Nashik plant", Box: "BX-2026-000117", Order: "op-0042", Pallet: "P-7", Cards: 500, First: "8991999000001000000", Last: "8991999000001004999", Seal: "S-88121",
		Symbol: "ankan/box/v1\nBX-2026-000117\nop-0042\n500\n8991999000001000000\n8991999000001004999\nS-88121", At: time.Date(2026, 7, 1, 6, 30, 0, 0, time.UTC)}
}

// Other people's programs read both symbols off the printed label.
func TestLabel(t *testing.T) {
	l := sampleLabel()
	doc, err := l.PDF()
	if err != nil {
		t.Fatal(err)
	}
	again, err := l.PDF()
	if err != nil || string(again) != string(doc) {
		t.Errorf("the same label twice is not the same: %v", err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "label.pdf")
	if err := os.WriteFile(path, doc, 0o600); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(dir, "label")
	run(t, "poppler-utils", "pdftoppm", "-r", "300", "-png", "-singlefile", path, image)
	if got := strings.TrimSpace(run(t, "zbar-tools", "zbarimg", "--nodbus", "-q", "--raw", "-Sdisable", "-Scode128.enable", image+".png")); got != l.Box {
		t.Errorf("Code 128 says %q, want %q", got, l.Box)
	}
	if got := strings.TrimSpace(run(t, "dmtx-utils", "dmtxread", "-N1", "-m8000", image+".png")); got != l.Symbol {
		t.Errorf("DataMatrix says %q, want %q", got, l.Symbol)
	}
	text := run(t, "poppler-utils", "pdftotext", "-layout", path, "-")
	for _, want := range []string{l.Box, l.Order, l.First + " to " + l.Last, l.Seal, l.Pallet, "500"} {
		if !strings.Contains(text, want) {
			t.Errorf("the label does not say %q:\n%s", want, text)
		}
	}
	for name, change := range map[string]func(*Label){
		"no number": func(l *Label) { l.Box = "" }, "no cards": func(l *Label) { l.Cards = 0 }, "no symbol": func(l *Label) { l.Symbol = "" },
		"no time": func(l *Label) { l.At = time.Time{} }, "a long number": func(l *Label) { l.Box = strings.Repeat("Wx", 30) }, "a symbol too large": func(l *Label) { l.Symbol = strings.Repeat("x", 4000) },
	} {
		l := sampleLabel()
		change(&l)
		if _, err := l.PDF(); err == nil {
			t.Errorf("%s: printed", name)
		}
	}
}

func TestShipmentForm(t *testing.T) {
	f := Shipment{Mark: Mark{Site: "Nashik plant", Number: "SH-2026-0007", SHA256: [32]byte{1, 2, 3}, Entry: 812, At: time.Date(2026, 7, 1, 6, 30, 0, 0, time.UTC)},
		Consignee: "Demo Mobile Ltd, Bengaluru stores", Carrier: "Armoured van 4, by road", Seal: "T-5512", Sent: time.Date(2026, 7, 1, 6, 30, 0, 0, time.UTC)}
	for range 40 {
		f.Boxes = append(f.Boxes, ShippedBox{Box: "BX-2026-000117", Order: "op-0042", Cards: 500, First: "8991999000001000000", Last: "8991999000001004999", Seal: "S-88121"})
		f.Cards += 500
	}
	f.Received, f.Receiver, f.Got = f.Sent.Add(30*time.Hour), "Nodal officer 0002", 20000
	doc, err := f.PDF()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "form.pdf")
	if err := os.WriteFile(path, doc, 0o600); err != nil {
		t.Fatal(err)
	}
	text := run(t, "poppler-utils", "pdftotext", "-layout", path, "-")
	for _, want := range []string{"SH-2026-0007", "Demo Mobile Ltd, Bengaluru stores", "T-5512", "part 1", "part 2: operator", "Nodal officer 0002", "cut here", "Page 2 of 2"} {
		if !strings.Contains(text, want) {
			t.Errorf("the form does not say %q:\n%s", want, text)
		}
	}
	if n := strings.Count(text, "BX-2026-000117"); n != 40 {
		t.Errorf("%d of 40 boxes", n)
	}
	f.Boxes = nil
	if _, err := f.PDF(); err == nil {
		t.Error("a shipment without boxes is printed")
	}
}
