package factory

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/demo"
	"ankan/keys"
	"ankan/message"
)

// ownLayout is a layout that the program does not bring.
const ownLayout = `layout: own
about: what the marketing department wants, and what the helpdesk wants
outputs:
  - name: marketing
    max_rows: 40
    file: ${batch}_${part}.txt
    head: |
      ${batch}, part ${part} of ${parts}: ${quantity} for ${customer}
    row: |
      ${serial | left(6, 0)}|${iccid | group(5, -)}|${imsi | substring(10, 5)}
    tail: |
      ${rows} ${sha256}
  - name: helpdesk
    head: |
      <cards key="${transport_key}" kcv="${transport_kcv | method(ECB-ZEROS)}">
    row: |
      <card iccid="${iccid}" imsi="${imsi | ef}">
        <puk n="1">${puk1}</puk><key kcv="${k | kcv(CMAC)}">${k | seal(3des-cbc, 0102030405060708) | base64}</key>
      </card>
    tail: |
      </cards>
`

// TestOwnLayouts answers an order in six kinds of files, two of them by a layout
// that the sites brought, one kind in two parts. The operator loads from the one
// that has K and OPc. Its transport key is of triple DES, under a waiver.
func TestOwnLayouts(t *testing.T) {
	t.Parallel()
	const cards = 60
	own := filepath.Join(t.TempDir(), "own.yaml")
	if err := os.WriteFile(own, []byte(ownLayout), 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, options{document: []byte(listed(t, "26112310", spread(cards, 3)...).text()), faults: true, change: func(path, doc string) string {
		if filepath.Base(path) == "contract.yaml" {
			head, rest, _ := strings.Cut(doc, "  columns:")
			_, rest, _ = strings.Cut(rest, "\n")
			until := time.Now().AddDate(1, 0, 0).Format(time.DateOnly)
			rest = strings.Replace(rest, "{index: 11}", "{index: 11, algorithm: 3DES, waiver: {until: "+strconv.Quote(until)+", reason: the HLR of 2009 takes nothing else}}", 1)
			return strings.Replace(head+rest, "  dialect: dialect1\n", "  order: dialect1\n  responses: [three-files, own, ts29505]\n", 1)
		}
		return strings.Replace(doc, "\ncontracts:", "\nformats: ["+own+"]\ncontracts:", 1)
	}})
	sum := w.journey(nil)
	if sum.Ordered != cards || sum.Responded != cards || sum.Loaded != cards || !sum.Destroyed {
		t.Errorf("%+v", sum)
	}
	const files = 7 // server, electrical, graphical, marketing twice, helpdesk, subscriptions
	for i := range files {
		name := message.ResponseName(sum.Order, i+1, files)
		if _, err := os.Stat(filepath.Join(w.Configs[demo.Operator].Data, "held", name)); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{demo.Operator, demo.Bureau} {
		var all []keys.Key
		if err := w.Clients[name].Get(t.Context(), "/keys?purpose=transport", &all); err != nil || len(all) != 1 {
			t.Fatalf("%s: %v, %v", name, all, err)
		}
		k := all[0]
		if !strings.HasPrefix(k.Kind(time.Now()), "3DES under waiver until ") || !strings.HasSuffix(k.KCV, " ECB-ZEROS") || strings.Count(k.Waiver.Signed, "person/") != 2 {
			t.Errorf("%s: %s, %+v", name, k.Kind(time.Now()), k)
		}
	}
	for name, kind := range map[string]string{demo.Operator: "order.submit", demo.Bureau: "order.release"} {
		// Who signs for the order sees under which waiver its keys will lie.
		if !slices.ContainsFunc(w.logged(name, act.ActRequested), func(e audit.Entry) bool {
			doc := fmt.Sprint(e.Data)
			return strings.Contains(doc, kind) && strings.Contains(doc, "transport.waiver") && strings.Contains(doc, "3DES under waiver until ")
		}) {
			t.Errorf("%s: %s shows no waiver", name, kind)
		}
	}
	t.Run("cards", func(t *testing.T) { w.everyCard(t, sum) })
}
