package factory

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"ankan/audit"
	"ankan/demo"
	"ankan/keys"
	"ankan/order"
	"ankan/store/storetest"
)

// A state is what must not change when a file is refused.
type state struct {
	orders, ledger, fingerprints int
	issued                       string // digest of the ledger
	keys                         []string
}

func (w *works) state() (s state) {
	w.t.Helper()
	w.ask(demo.Bureau, `SELECT count(*) FROM orders`, &s.orders)
	w.ask(demo.Bureau, `SELECT count(*) FROM ledger_share`, &s.ledger)
	rows := must[*sql.Rows](w.t)(storetest.Open(w.t, w.Configs[demo.Bureau].Database()).Query(`SELECT block, issued FROM ledger_share ORDER BY block, ord`))
	defer rows.Close()
	for rows.Next() {
		var block, issued []byte
		if err := rows.Scan(&block, &issued); err != nil {
			w.t.Fatal(err)
		}
		s.issued += fmt.Sprintf("%x%x,", block, issued)
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	w.ask(demo.Bureau, `SELECT count(*) FROM ledger_fingerprint`, &s.fingerprints)
	var all []keys.Key
	if err := w.Clients[demo.Bureau].Get(w.ctx, "/keys", &all); err != nil {
		w.t.Fatal(err)
	}
	for _, k := range all {
		if k.State != keys.Destroyed {
			s.keys = append(s.keys, k.ID)
		}
	}
	return s
}

func (s state) equal(o state) bool {
	return s.orders == o.orders && s.ledger == o.ledger && s.issued == o.issued && s.fingerprints == o.fingerprints && slices.Equal(s.keys, o.keys)
}

// refused sends a file to the bureau over the operator's edge and checks that
// it is refused for one reason, which fits want and reaches the bureau's log
// and, for an order, the operator's; and that nothing else changed.
func (w *works) refused(t *testing.T, name string, write func(io.Writer) error, want string) {
	t.Helper()
	before := w.state()
	sum := w.send(name, write)
	quarantined := filepath.Join(w.Configs[demo.Bureau].SpoolDir(), "quarantine", demo.Operator, "*-"+name+".json")
	until(t, "the refusal of "+name, func() bool {
		paths, err := filepath.Glob(quarantined)
		return err == nil && len(paths) == 1
	})
	reason := w.reason(t, name, sum)
	if ok, err := regexp.MatchString("^"+want, reason); err != nil || !ok || strings.ContainsAny(reason, "\r\n") || strings.Contains(reason, w.Dir) {
		t.Errorf("%s is refused with %q, want one line that fits %q and names no folder (%v)", name, reason, want, err)
	}
	if after := w.state(); !after.equal(before) {
		t.Errorf("%s left %+v, before it was %+v", name, after, before)
	}
	if strings.HasSuffix(name, ".inp.pgp") {
		w.told(t, name, reason)
	}
}

// reason is the only reason in the only entry about a file in the bureau's log.
func (w *works) reason(t *testing.T, name, sum string) string {
	t.Helper()
	var found []string
	for _, e := range w.log(demo.Bureau) {
		if e.Kind == "file.refused" && e.Data["file"] == name {
			if e.Subject != "file/"+sum || e.Actor != "partner/"+demo.Operator || fmt.Sprint(e.Data["count"]) != "1" {
				t.Errorf("%s: entry is %+v, want one reason about file/%s", name, e, sum)
			}
			reasons, _ := e.Data["reasons"].([]any)
			for _, r := range reasons {
				found = append(found, fmt.Sprint(r))
			}
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s: the log has the reasons %q, want one", name, found)
	}
	return found[0]
}

// told waits until the operator's log has the bureau's reason: its own people
// must learn that something went out in their name.
func (w *works) told(t *testing.T, name, reason string) {
	t.Helper()
	until(t, "the receipt for "+name, func() bool {
		return slices.ContainsFunc(w.log(demo.Operator), func(e audit.Entry) bool {
			return e.Kind == "receipt.stray" && e.Data["about"] == name && strings.Contains(fmt.Sprint(e.Data["reasons"]), reason)
		})
	})
}

// bare writes an OpenPGP message to the bureau with whatever go-crypto can:
// not signed if by is nil, or compressed.
func (w *works) bare(by *openpgp.Entity, compression packet.CompressionAlgo, content func(io.Writer) error) func(io.Writer) error {
	to := must[openpgp.EntityList](w.t)(openpgp.ReadArmoredKeyRing(strings.NewReader(w.card(demo.Bureau).OpenPGP)))
	for _, id := range to[0].Identities { // the bureau's key asks for no compression; a sender need not care
		for _, sig := range id.SelfCertifications {
			sig.Packet.PreferredCompression = []uint8{uint8(compression)}
		}
	}
	return func(out io.Writer) error {
		p := &openpgp.EncryptParams{Config: &packet.Config{DefaultCompressionAlgo: compression}}
		if by != nil {
			p.Signers = []*openpgp.Entity{by}
		}
		m, err := openpgp.EncryptWithParams(out, to, nil, p)
		if err != nil {
			return err
		}
		return errors.Join(content(m), m.Close())
	}
}

// entity is a site's own OpenPGP key for the library.
func (w *works) entity(name string) *openpgp.Entity {
	e := must[openpgp.EntityList](w.t)(openpgp.ReadArmoredKeyRing(strings.NewReader(w.card(name).OpenPGP)))[0]
	signer, err := w.tokens[name].Signer(w.ctx, "pgp-sign")
	if err != nil {
		w.t.Fatal(err)
	}
	e.PrivateKey = &packet.PrivateKey{PublicKey: *e.PrimaryKey, PrivateKey: signer}
	return e
}

// repeated writes n bytes of c.
func repeated(c byte, n int) func(io.Writer) error {
	piece := bytes.Repeat([]byte{c}, 1<<20)
	return func(w io.Writer) error {
		for ; n > 0; n -= len(piece) {
			if _, err := w.Write(piece[:min(n, len(piece))]); err != nil {
				return err
			}
		}
		return nil
	}
}

func both(a, b func(io.Writer) error) func(io.Writer) error {
	return func(w io.Writer) error {
		if err := a(w); err != nil {
			return err
		}
		return b(w)
	}
}

// TestBadInput puts files before the bureau that it must not take, between a
// good order and another.
func TestBadInput(t *testing.T) {
	t.Parallel()
	w := start(t, options{cards: 12, change: wide})
	w.journey(map[string]func(){stageRelease: func() { w.badInput(t) }})
}

func (w *works) badInput(t *testing.T) {
	good := ranged(t, "1", 100, 5)
	message := func(text string) []byte {
		var b bytes.Buffer
		if err := w.sealed(demo.Operator, plain(text))(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	whole := message(good.text())
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-60] ^= 1
	change := func(f func(*paper)) func(io.Writer) error {
		p := listed(t, "2", 200, 201, 202, 203)
		f(&p)
		return w.sealed(demo.Operator, plain(p.text()))
	}
	iccid, imsi := func(n int) string { return identity(t, n).ICCID.String() }, func(n int) string { return identity(t, n).IMSI.String() }
	wrongLuhn := func(s string) string { return s[:18] + strconv.Itoa((int(s[18]-'0')+1)%10) }
	fingerprint := regexp.QuoteMeta(w.partner(demo.Operator).Fingerprint())

	for _, test := range []struct {
		name  string
		write func(io.Writer) error
		want  string // after "NAME.inp.pgp", a regular expression
	}{
		{"plain", plain(good.text()), `: found neither a binary nor an armored OpenPGP message; want `},
		{"empty", plain(""), `: file is empty, want an OpenPGP message$`},
		{"unsigned", w.bare(nil, packet.CompressionNone, plain(good.text())), `: message is not signed, want the partner's signature`},
		{"wrong-signer", w.sealed(demo.Plant, plain(good.text())), `: message is signed by key [0-9A-F]{16}, want ` + fingerprint + ` \(operator\)`},
		{"not-for-us", func(out io.Writer) error { return w.sealedTo(demo.Plant, out, good.text()) }, `: message is encrypted to [0-9A-F]{40}, want our key`},
		{"flipped", plain(string(flipped)), `: content was changed on its way`},
		{"truncated", plain(string(whole[:len(whole)-100])), `: file ends inside an OpenPGP packet, want the whole message`},
		{"trailing", plain(string(whole) + "x"), `: found data after the OpenPGP message, want nothing`},
		{"bomb", w.bare(w.entity(demo.Operator), packet.CompressionZLIB, repeated(0, 300<<20)), `: content has more than [0-9]+ bytes, as a file of [0-9]+ bytes is allowed`},
		{"long-line", w.sealed(demo.Operator, both(plain("*\nCustomer: "), repeated('A', 64<<20))), `:2:4097: line is longer than 4096 bytes`},
		{"not-an-order", w.sealed(demo.Operator, plain("Dear bureau,\n")), `:1:1: file ends without a line Var_In_List:, so it is of another layout than dialect1`},
		{"cut-short", w.sealed(demo.Operator, plain(strings.TrimSuffix(good.text(), "\n"))), `:12:28: file ends without a line end, it may be cut short`},
		{"iccid-twice", change(func(p *paper) { p.pairs[3][1] = iccid(201) }), `: ICCID ` + iccid(201) + ` of card 4 is twice in this order`},
		{"imsi-twice", change(func(p *paper) { p.pairs[2][0] = imsi(200) }), `: IMSI ` + imsi(200) + ` of card 3 is twice in this order`},
		{"iccid-issued", change(func(p *paper) { p.pairs[1][1] = iccid(3) }), `: ICCID ` + iccid(3) + ` of card 2 was issued before`},
		{"imsi-issued", change(func(p *paper) { p.pairs[0][0] = imsi(11) }), `: IMSI ` + imsi(11) + ` of card 1 was issued before`},
		{"luhn", change(func(p *paper) { p.pairs[1][1] = wrongLuhn(p.pairs[1][1]) }), `:14:9: ICCID has the check digit [0-9], want [0-9]`},
		{"more", change(func(p *paper) { p.quantity = 3 }), `:17:1: more than 3 pairs of input variables, want one, or 3 \(Quantity\)`},
		{"fewer", change(func(p *paper) { p.quantity = 5 }), `:18:1: 4 pairs of input variables, want one, or 5 \(Quantity\)`},
		{"imsi-14", change(func(p *paper) { p.pairs[2][0] = p.pairs[2][0][:14] }), `:15:7: IMSI has 14 digits, want 15`},
		{"profile", change(func(p *paper) { p.profile = "in-6g-usim" }), `: profile in-6g-usim 1\.0 is not agreed, want one of: in-5g-usim 1\.0`},
		{"key-not-agreed", change(func(p *paper) { p.transport = 13 }), `: transport key 13 is not agreed, want one of: 11, 12`},
		{"key-not-here", change(func(p *paper) { p.transport = 12 }), `: key "transport/operator/12": no such key; the operator shares it`},
		{"key-zero", w.sealed(demo.Operator, plain(strings.Replace(good.text(), "Transport_key: 11", "Transport_key: 0", 1))), `:7:16: Transport_key is 0 \(not encrypted\), want the index of a transport key, 1 to 99$`},
		{"range", change(func(p *paper) { p.pairs[1][0] = imsi(10_000) }), `: IMSI ` + imsi(10_000) + ` of card 2 is outside the operator's ranges`},
		{"quantity", w.sealed(demo.Operator, plain(ranged(t, "4", 1000, 5001).text())), `: quantity is 5001, want at most 5000$`},
		{"batch", w.sealed(demo.Operator, plain(ranged(t, "26112301", 300, 4).text())), `: batch 26112301 was ordered already with other content, as operator-[0-9a-f]{12}; give this order a batch number of its own`},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.refused(t, test.name+".inp.pgp", test.write, regexp.QuoteMeta(test.name+".inp.pgp")+test.want)
		})
	}
	t.Run("replay", func(t *testing.T) {
		w.refused(t, "replay.inp.pgp", plain(string(flipped)), `replay\.inp\.pgp: the same file \(SHA-256 [0-9a-f]{12}…\) came at `)
	})
	t.Run("kind", func(t *testing.T) {
		w.refused(t, "order.zip", plain("PK"), `order\.zip: the name must end in \.KIND\.pgp, for an order \.inp\.pgp`)
		w.refused(t, "x.batch.pgp", plain("x"), `x\.batch\.pgp: this site takes no "batch" files from operator`)
	})
	t.Run("good order", func(t *testing.T) {
		v := w.submit("second.inp", ranged(t, "5", 400, 7).text())
		if v.State != order.Accepted {
			t.Errorf("it is %s (%s), want it accepted", v.State, v.Reason)
		}
	})
}
