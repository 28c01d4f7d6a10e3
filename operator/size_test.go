package operator

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"ankan/bureau"
	"ankan/datagen"
	"ankan/examples"
	"ankan/hsm"
	"ankan/message"
	"ankan/order"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/store"
)

// The order of TestSize. Ten million take an hour and 20 GB of disk:
//
//	go test ./operator -run TestSize -timeout 3h -v -args -cards 10000000 -rows 3000000
var (
	sizeCards = flag.Int("cards", 20_000, "cards of TestSize")
	sizeRows  = flag.Int("rows", 7_000, "rows of a response file of TestSize")
)

// mostMemory is what one process may have resident, with an operator and a
// bureau in it, whatever the order's size.
const mostMemory = 256 << 20

// TestSize takes an order that lists its identities from the operator's draft
// to its subscriber store, all but people and plant, and looks at the memory of
// the process, which is one of its own for that.
func TestSize(t *testing.T) {
	if !sitetest.OwnProcess(t, "-cards", strconv.Itoa(*sizeCards), "-rows", strconv.Itoa(*sizeRows)) {
		return
	}
	r := newSizeRig(t)
	r.at("set up")
	r.draft(*sizeCards)
	r.step(r.op, r.does, order.Submitted, site.ErrIdle)
	r.at("sent")
	if err := sitetest.Hand(t, r.op, r.maker, r.id+".inp.pgp"); err != nil {
		t.Fatal(err)
	}
	sitetest.Get(t, r.maker, r.id, order.Accepted)
	r.at("taken in by the bureau")
	r.move(r.maker, order.Accepted, order.Released)
	r.step(r.maker, r.makes, order.Released, nil)
	r.at("keys drawn")
	// One card in a thousand could not be made, one has the keys of a spare.
	var remakes []order.Remake
	for card := 0; card < *sizeCards; card += 1000 {
		remakes = append(remakes, order.Remake{Card: card, KeySet: -1})
	}
	remakes = append(remakes, order.Remake{Card: 7, KeySet: *sizeCards})
	retired := len(remakes) - 1
	r.move(r.maker, order.Generated, order.Offered, order.Sent, order.Made)
	sitetest.Change(t, r.maker, func(tx *store.Tx) error {
		return errors.Join(order.PutRemakes(tx, r.id, remakes), order.SetCounts(tx, r.id, *sizeCards-retired, retired))
	})
	r.step(r.maker, r.makes, order.Made, nil)
	r.at("response sealed")
	r.move(r.op, order.Submitted, order.Accepted)
	files := (*sizeCards - retired + *sizeRows - 1) / *sizeRows
	var g errgroup.Group
	g.SetLimit(8)                // as many as a site takes in at the same time
	for i := files; i > 0; i-- { // in whatever sequence
		g.Go(func() error { return sitetest.Hand(t, r.maker, r.op, message.ResponseName(r.id, i, files)) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if o := sitetest.Get(t, r.op, r.id, order.Answered); o.Good != *sizeCards-retired {
		t.Fatalf("%d good cards, want %d", o.Good, *sizeCards-retired)
	}
	r.at("response checked")
	sitetest.Change(t, r.op, func(tx *store.Tx) error { return order.PutPaper(tx, r.id, "load-by", []byte("0002 nodal-officer")) })
	r.move(r.op, order.Answered, order.Loading)
	r.step(r.op, r.does, order.Loading, nil)
	sitetest.Get(t, r.op, r.id, order.Loaded)
	r.at("loaded")
	if err := errors.Join(order.Wipe(t.Context(), r.maker.Store(), r.id), datagen.Wipe(t.Context(), r.maker.Store(), r.id)); err != nil {
		t.Fatal(err)
	}
	sitetest.Change(t, r.maker, func(tx *store.Tx) error {
		return errors.Join(order.WipeText(tx, r.id), datagen.Delete(tx, r.id))
	})
	for _, table := range []string{"order_text", "order_identity", "batch", "block"} {
		var n int
		if err := r.maker.Store().QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil || n > 0 {
			t.Errorf("%s has %d rows (%v), want none", table, n, err)
		}
	}
	if err := r.maker.Store().Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.at("wiped")
	if peak := sitetest.Peak(t); peak > mostMemory {
		t.Errorf("the process had %d MiB resident, want at most %d", peak>>20, mostMemory>>20)
	}
}

type sizeRig struct {
	*testing.T
	op, maker   *site.Site
	does, makes site.Duties
	id          string
	at          func(stage string)
}

func newSizeRig(t *testing.T) *sizeRig {
	t.Helper()
	r := &sizeRig{T: t, at: sitetest.Watch(t)}
	parts := []site.Part{Part(), bureau.Part()}
	a, b := sitetest.Config(t, "op", site.Operator), sitetest.Config(t, "maker", site.Bureau)
	for _, c := range []*site.Config{a, b} {
		path := c.Contracts[0]
		text := string(sitetest.Must[[]byte](t)(os.ReadFile(path)))
		for old, new := range map[string]string{
			"reject: retire": "reject: remake", "max_quantity: 100000\n": "max_quantity: 100000000\n", "files:\n  dialect": fmt.Sprintf("files:\n  max_rows: %d\n  dialect", *sizeRows),
			"899199900000100000-899199900000999999": "899199900000000000-899199909999999999", "404990000100000-404990000999999": "404990000000000-404999999999999",
		} {
			if !strings.Contains(text, old) {
				t.Fatalf("the contract has no %q", old)
			}
			text = strings.Replace(text, old, new, 1)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ta, tb := sitetest.Init(t, a, parts...), sitetest.Init(t, b, parts...)
	a.Partners, b.Partners = []string{b.CardFile()}, []string{a.CardFile()}
	r.op, r.maker = sitetest.Open(t, a, ta, parts...), sitetest.Open(t, b, tb, parts...)
	r.does = sitetest.Must[site.Duties](t)(Part().Open(t.Context(), r.op))
	t.Cleanup(r.does.Close)
	r.makes = sitetest.Must[site.Duties](t)(bureau.Part().Open(t.Context(), r.maker))
	agree := sitetest.Must[hsm.Key](t)(r.maker.Token().Key(t.Context(), site.KeyAgree))
	for id, k := range map[string]struct {
		hsm.Purpose
		hsm.Algorithm
	}{message.TransportKey("op", 11): {hsm.Transport, hsm.AES256}, message.OPKey("op", 11): {hsm.Operator, hsm.AES128}} {
		sitetest.Must[hsm.Key](t)(r.op.Token().Generate(t.Context(), id, k.Purpose, k.Algorithm))
		given := sitetest.Must[[]byte](t)(r.op.Token().GiveKey(t.Context(), id, agree.Public.(*ecdsa.PublicKey), id))
		sitetest.Must[hsm.Key](t)(r.maker.Token().TakeKey(t.Context(), site.KeyAgree, given, id, id, k.Purpose, k.Algorithm))
	}
	return r
}

// draft places an order for so many identities, each seven numbers after the
// one before.
func (r *sizeRig) draft(cards int) {
	r.Helper()
	in := sitetest.Must[*order.Input](r.T)(order.ParseInput("order.inp", bytes.NewReader(examples.Order())))
	head, _, _ := bytes.Cut(examples.Order(), []byte("IMSI:"))
	head = bytes.Replace(head, []byte("1000\n"), fmt.Appendf(nil, "%d\n", cards), 1)
	body, w := io.Pipe()
	go func() {
		out := bufio.NewWriterSize(w, 1<<16)
		out.Write(head)
		var err error
		for i := range uint64(cards) {
			iccid, wrong := in.First().ICCID.Add(7 * i)
			imsi, wrong2 := in.First().IMSI.Add(7 * i)
			if err = errors.Join(wrong, wrong2); err != nil {
				break
			}
			fmt.Fprintf(out, "IMSI:%s\nSer_nb:%s\n", imsi, iccid)
		}
		w.CloseWithError(errors.Join(err, out.Flush()))
	}()
	answer := httptest.NewRecorder()
	r.does.Routes["POST /v1/orders"].Handler.ServeHTTP(answer, httptest.NewRequest("POST", "/v1/orders?name=order.inp", body))
	var o order.Order
	if err := json.Unmarshal(answer.Body.Bytes(), &o); err != nil || answer.Code != 200 || o.Quantity != cards {
		r.Fatalf("the draft: %d %s", answer.Code, answer.Body)
	}
	r.id = o.ID
	r.at("drafted")
	r.move(r.op, order.Drafted, order.Submitted)
}

func (r *sizeRig) move(s *site.Site, states ...order.State) {
	r.Helper()
	sitetest.Change(r.T, s, func(tx *store.Tx) error {
		for i, to := range states[1:] {
			if err := order.Move(tx, r.id, states[i], to); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *sizeRig) step(s *site.Site, does site.Duties, at order.State, want error) {
	r.Helper()
	for {
		err := does.Steps[at](r.Context(), sitetest.Get(r.T, s, r.id, at))
		if errors.Is(err, want) {
			return
		}
		if !errors.Is(err, site.ErrIdle) { // others draw its keys
			r.Fatalf("an order that is %s: %v, want %v", at, err, want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
