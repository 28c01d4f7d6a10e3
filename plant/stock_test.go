package plant

import (
	"strings"
	"testing"

	"ankan/bureau"
	"ankan/perso"
	"ankan/release"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/stock"
	"ankan/store"
)

func TestGrouped(t *testing.T) {
	for in, want := range map[string]string{"": "", "89910": "89910", "8991000000000000018": "89910 00000 00000 0018"} {
		if got := grouped(in); got != want {
			t.Errorf("%s is printed as %q, want %q", in, got, want)
		}
	}
}

func TestReadScan(t *testing.T) {
	for doc, want := range map[string]string{
		"": "want iccid,printed", "a,b\n": "want iccid,printed", "iccid,printed\n1,2,3\n": "wrong number of fields", "iccid,printed\n12,12\n": "line 2",
		"iccid,printed\n\"" + strings.Repeat("x", 1<<16): "too large",
	} {
		if _, err := readScan(strings.NewReader(doc), 1<<16); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", doc, err, want)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add("iccid,printed\n8991000000000000018,89910 00000 00000 0018\n")
	f.Add("iccid,printed\n")
	f.Fuzz(func(t *testing.T, doc string) {
		rows, err := readScan(strings.NewReader(doc), 1<<16)
		if err != nil {
			return
		}
		for _, row := range rows {
			if strings.Contains(row[0]+row[1], " ") {
				t.Errorf("%q has spaces", row)
			}
		}
	})
}

// A shipment's form goes to the operator if the plant knows it, else by the
// bureau, else on paper; boxes of two operators do not go together.
func TestWhereAShipmentGoes(t *testing.T) {
	b, o, c := sitetest.Config(t, "maker", site.Bureau), sitetest.Config(t, "known", site.Operator), sitetest.Config(t, "plant", site.Plant)
	all := []site.Part{Part(), bureau.Part(), {Role: site.Operator}}
	sitetest.Init(t, b, all...)
	sitetest.Init(t, o, all...)
	token := sitetest.Init(t, c, all...)
	c.Partners = []string{b.CardFile(), o.CardFile()}
	at := sitetest.Open(t, c, token, all...)
	s := &plant{Site: at, stock: stock.New(at.Store())}
	sitetest.Change(t, at, func(tx *store.Tx) error {
		for ord, v := range map[string][2]string{"A1": {"op", "maker"}, "A2": {"known", "maker"}, "A3": {"op", "other"}, "A4": {"", "maker"}} {
			if err := perso.Offer(tx, perso.Run{Order: ord, Bureau: v[1], Agree: "a", KEK: "k"}); err != nil {
				return err
			}
			if v[0] != "" {
				if err := release.Offered(tx, ord, v[0]); err != nil {
					return err
				}
			}
			if _, err := tx.Exec(`INSERT INTO stock_box (id, ord, pallet, cards, first, last, state, seal, vault, shipment, filled, closed) VALUES ($1, $1, '', 1, '', '', 'closed', $1, '', '', $2, $2)`, ord, store.Stamp(tx.Time())); err != nil {
				return err
			}
		}
		return nil
	})
	for _, tt := range []struct{ boxes, operator, via, err string }{
		{"A1", "op", "maker", ""},
		{"A2", "known", "known", ""},
		{"A3", "", "", ""}, // on paper
		{"A1 A2", "", "", "box A2 is of known by known, those before it of op by maker; draft a shipment for each"},
		{"A1 A3", "", "", "box A3 is of op by other"},
		{"A4", "", "", "order A4: whose it is, is not known here"},
		{"A9", "", "", `box "A9" is not here`},
	} {
		operator, via, err := s.goesTo(t.Context(), strings.Fields(tt.boxes))
		if operator != tt.operator || via != tt.via || tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: %q by %q, %v; want %q by %q, %s", tt.boxes, operator, via, err, tt.operator, tt.via, tt.err)
		}
	}
}
