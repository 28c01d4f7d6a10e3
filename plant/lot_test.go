package plant

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/aka"
	"ankan/exchange/edge"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/message"
	"ankan/perso"
	"ankan/profile"
	"ankan/simos"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/stock"
	"ankan/store"
)

// newPlant is a site with what this part keeps of it.
func newPlant(t testing.TB, name, roles string, parts ...site.Part) *plant {
	t.Helper()
	at := sitetest.New(t, name, roles, parts...)
	return &plant{Site: at, stock: stock.New(at.Store())}
}

func lotNote(t testing.TB, name string) []byte {
	t.Helper()
	return sitetest.Must[[]byte](t)(json.Marshal(stock.Lot{Lot: name, Vendor: "v", Chip: "c", Quantity: 5, OS: "o 1", Image: []byte("not an image"), OSMaker: make([]byte, 32), KCV: "C35280 GP", Given: []byte{1}}))
}

func TestLot(t *testing.T) {
	s := newPlant(t, "line", site.Plant, Part())
	for doc, want := range map[string]string{
		"":                     "lot: ",
		"{}":                   "lot: name, quantity, os, image and wrapped key must be there",
		`{"lot":"L1","new":1}`: "lot: ",
		string(lotNote(t, "L1")) + string(lotNote(t, "L1")):                           "lot: ",
		"[" + string(lotNote(t, "L1")) + "]":                                          "lot: ",
		strings.TrimSuffix(string(lotNote(t, "L1")), "}"):                             "lot: ",
		strings.Replace(string(lotNote(t, "L1")), `"quantity":5`, `"quantity":-5`, 1): "lot: name, quantity",
	} {
		if _, err := s.addLot(t.Context(), []byte(doc)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
	if l, err := s.addLot(t.Context(), lotNote(t, "L1")); err != nil || l.Lot != "L1" {
		t.Fatal(l, err)
	}
	if _, err := s.addLot(t.Context(), lotNote(t, "L1")); err == nil || err.Error() != "lot L1 is here already; it is offered" {
		t.Errorf("the lot again: %v", err)
	}
	if _, err := s.Propose(t.Context(), "lot.accept", "lot/L1"); err == nil || !strings.HasPrefix(err.Error(), "lot L1: ") {
		t.Errorf("a lot whose image nobody signed: %v", err)
	}
	if _, err := s.product(t.Context(), "o 1"); err == nil || err.Error() != "no accepted lot has chips for o 1; receive one: ankan lot receive FILE" {
		t.Errorf("chips that nobody accepted: %v", err)
	}
}

// The transport key of a lot is taken with the method of its note, if the
// policy takes that.
func TestLotKey(t *testing.T) {
	note := func(s *plant, name string, a hsm.Algorithm) stock.Lot {
		t.Helper()
		key := []byte("0F1E2D3C4B5A69788796A5B4C3D2E1F0")
		if a.Cipher() == hsm.AES128 {
			key = key[:16]
		}
		agree := sitetest.Must[hsm.Key](t)(s.Token().Key(t.Context(), site.KeyAgree))
		kcv := sitetest.Must[hsm.KCV](t)(hsm.AESKCV(hsm.GP, key))
		return stock.Lot{Lot: name, Vendor: "v", Chip: "c", Quantity: 5, OS: "o 1", Image: []byte{1}, KeyMethod: a, KCV: kcv.String(),
			Given: sitetest.Must[hsm.Given](t)(hsm.Give(agree.Public, hsm.KeyContent(hsm.Lot, a), LotLabel(name), key))}
	}
	add := func(s *plant, l stock.Lot) error {
		_, err := s.addLot(t.Context(), sitetest.Must[[]byte](t)(json.Marshal(l)))
		return err
	}
	s := newPlant(t, "line", site.Plant, Part())
	err := add(s, note(s, "L1", hsm.LotKDF3Short))
	if !errors.Is(err, act.ErrNotAllowed) || !strings.Contains(err.Error(), "it is AES-128/kdf3, the policy takes AES-256 (SOP 6.4.e.i); to take it, name it in the policy under keys: lot: algorithms") {
		t.Errorf("a method that the policy does not take: %v", err)
	}
	if err := s.stock.Offer(t.Context(), note(s, "L1", hsm.LotKDF3Short)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.proposeLot(t.Context(), "lot/L1"); err == nil {
		t.Error("it can be asked for all the same")
	}
	if err := s.takeLotKey(t.Context(), note(s, "L1", hsm.LotKDF3Short)); !errors.Is(err, act.ErrNotAllowed) {
		t.Errorf("its key is taken all the same: %v", err)
	}

	policy := access.DefaultPolicy()
	policy.Keys["lot"] = act.KeyRule{Algorithms: []string{"AES-256", "AES-128/kdf3", "AES-256/kdf3"}, Cryptoperiod: 1825}
	c := sitetest.Config(t, "line", site.Plant)
	crew, token := sitetest.Founders(t), hsmtest.Soft(t, nil)
	founding := access.Founding{Founding: sitetest.Must[act.Founding](t)(act.Found(c.Site, policy, crew.People, crew.Keys, time.Now()))}
	if err := site.Init(t.Context(), c, token, founding, func(string) {}, Part()); err != nil {
		t.Fatal(err)
	}
	at := sitetest.Open(t, c, token, Part())
	s = &plant{Site: at, stock: stock.New(at.Store())}
	for name, a := range map[string]hsm.Algorithm{"L1": hsm.AES256, "L2": hsm.LotKDF3, "L3": hsm.LotKDF3Short} {
		l := note(s, name, a)
		if err := errors.Join(add(s, l), s.takeLotKey(t.Context(), l), s.takeLotKey(t.Context(), l)); err != nil {
			t.Errorf("%s: %v", a, err)
		}
		if k, err := s.Token().Key(t.Context(), "lot/"+name); err != nil || k.Algorithm != a || k.KCV.String() != l.KCV {
			t.Errorf("%s: %+v, %v", a, k, err)
		}
	}
	other := note(s, "L1", hsm.LotKDF3)
	if err := s.takeLotKey(t.Context(), other); err == nil || !strings.Contains(err.Error(), "key lot/L1 is here, and is AES-256; the note says AES-256/kdf3") {
		t.Errorf("a key of another method: %v", err)
	}
	wrong := note(s, "L4", hsm.LotKDF3)
	wrong.KCV = "C35280 GP"
	if err := s.takeLotKey(t.Context(), wrong); err == nil || !strings.Contains(err.Error(), "the chip maker says C35280 GP; it was destroyed again") {
		t.Errorf("another check value: %v", err)
	}
	if _, err := s.Token().Key(t.Context(), "lot/L4"); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("its key: %v", err)
	}
	said := note(s, "L5", hsm.LotKDF3)
	said.KeyMethod = "" // the maker wrapped it for another method
	if err := s.takeLotKey(t.Context(), said); !errors.Is(err, hsm.ErrSealed) {
		t.Errorf("a note of another method than its key: %v", err)
	}
}

// What an accepted lot says of its chips is what the line is told, and a batch
// whose profile asks for another algorithm is refused when it comes.
func TestLotProduct(t *testing.T) {
	s := newPlant(t, "line", site.Plant, Part())
	s.Config().Counting = site.CountSite
	signer := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	signed := sitetest.Must[[]byte](t)(simos.Image{Name: "o", Version: "1", Algorithms: []string{"TUAK"}, Body: []byte("code")}.Sign(signer))
	l := stock.Lot{Lot: "L1", Vendor: "v", Chip: "c", Quantity: 2, OS: "o 1", Image: signed, OSMaker: signer.Public().(ed25519.PublicKey), KCV: "C35280 GP", Given: []byte{1}, ATR: "3B00", Serials: []stock.Range{{First: "0000000000000001", Last: "0000000000000002"}}}
	if err := s.stock.Offer(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	m := sitetest.Must[map[string]string](t)(s.proposeLot(t.Context(), "lot/L1"))
	if m["key_method"] != "AES-256" || m["atr"] != "3B00" || m["serials"] != "0000000000000001 – 0000000000000002" {
		t.Errorf("who accepts it sees %v", m)
	}
	sitetest.Change(t, s.Site, func(tx *store.Tx) error {
		if _, err := tx.Exec(`UPDATE stock_lot SET state = 'accepted'`); err != nil {
			return err
		}
		return perso.Offer(tx, perso.Run{Order: "op-1", Bureau: "maker", Agree: "a", KEK: "k"})
	})
	p := sitetest.Must[perso.Product](t)(s.product(t.Context(), "o 1"))
	if p.LotKey != "lot/L1" || len(p.Algorithms) != 1 || p.Algorithms[0] != aka.TUAK || len(p.Marks.ATR) != 2 || len(p.Marks.Serials) != 1 || p.Marks.Serials[0].Last != [8]byte{7: 2} {
		t.Errorf("%+v", p)
	}
	pr := sitetest.Must[*profile.Profile](t)(profile.Builtin("in-5g-usim"))
	head := sitetest.Must[[]byte](t)(json.Marshal(message.BatchHead{Format: message.BatchFormat, Order: "op-1", Cards: 2, BlockSize: 10, OS: "o 1", Profile: pr.String(), Given: []byte{1}}))
	err := s.readBatch(t.Context(), &site.Arrival{File: &edge.File{Meta: edge.Meta{Partner: "maker", Name: "op-1.batch.pgp"}}}, bufio.NewReaderSize(bytes.NewReader(append(head, '\n')), maxProfile))
	var refused *site.Refusal
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "asks for MILENAGE, the operating system of lot L1 has [TUAK]") {
		t.Errorf("a batch of another algorithm: %v", err)
	}
}

// A site without the role receives no chips.
func TestNoPlant(t *testing.T) {
	s := newPlant(t, "op", site.Operator, site.Part{Role: site.Operator}, Part())
	if _, err := s.addLot(t.Context(), lotNote(t, "L1")); !errors.Is(err, act.ErrNotAllowed) || err.Error() != "site op is no plant: not allowed to receive chips" {
		t.Errorf("a lot: %v", err)
	}
	if _, _, err := s.stock.Lot(t.Context(), "L1"); err == nil {
		t.Error("the lot is here all the same")
	}
}

func FuzzLot(f *testing.F) {
	f.Add(lotNote(f, "L1"))
	f.Add([]byte(`{"lot":1}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		one, err := stock.ReadLot(doc)
		if err != nil {
			return
		}
		again := sitetest.Must[[]byte](t)(json.Marshal(one))
		if _, err := stock.ReadLot(again); err != nil {
			t.Errorf("%s is taken and %s is not: %v", doc, again, err)
		}
	})
}
