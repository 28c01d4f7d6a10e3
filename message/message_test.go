package message

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"ankan/act"
	"ankan/keys"
	"ankan/order"
	"ankan/stock"
)

func TestKindOf(t *testing.T) {
	for _, tt := range []struct {
		name string
		kind Kind
		base string
		ok   bool
	}{
		{"a.inp.pgp", KindOrder, "a", true},
		{"a.inp.gpg", KindOrder, "a", true},
		{"A.INP.ASC", KindOrder, "A", true},
		{"op-1.2.out.pgp", KindResponse, "op-1.2", true},
		{"x.retired.receipt.pgp", KindReceipt, "x.retired", true},
		{"a.weird.pgp", "weird", "a", true},
		{"a..pgp", "", "a", true},
		{"inp.pgp", "inp", "", false},
		{".inp.pgp", "inp", "", false},
		{".pgp", "", "", false},
		{"pgp", "", "", false},
		{"a.inp", "", "", false},
		{"a.inp.zip", "", "", false},
		{"", "", "", false},
		// These letters take more bytes in lower case than in upper case.
		{"a.ȺȺȺȺ.pgp", "ⱥⱥⱥⱥ", "a", true},
		{"ȺȺȺȺ.inp.pgp", KindOrder, "ȺȺȺȺ", true},
	} {
		if k, ok := KindOf(tt.name); k != tt.kind || ok != tt.ok {
			t.Errorf("kind of %q is %q, %t, want %q, %t", tt.name, k, ok, tt.kind, tt.ok)
		}
		if base, ok := Base(tt.name); base != tt.base || ok != tt.ok {
			t.Errorf("%q is cut to %q, %t, want %q, %t", tt.name, base, ok, tt.base, tt.ok)
		}
	}
}

// messages is one of each message that is one JSON document.
func messages() []any {
	proof := keys.FormAnswer{Act: "{}", Signature: act.Signature{Person: "2", Verb: act.Request, At: time.Unix(1, 0).UTC()}, Person: act.Person{ID: "2", Name: "Person 2"}}
	return []any{
		&Receipt{Order: "op-1", File: "op-1.inp.pgp", Digest: "00", Accepted: true, Reasons: []string{"why"}, Retired: 7},
		&SharedKeys{From: "op", Keys: []SharedKey{{Index: 11, Purpose: "transport", Algorithm: "AES-256", KCV: "C35280 GP", Given: []byte{1}}}},
		&Offer{Order: "op-1", Operator: "op", Cards: 1, Spares: 2, Profile: "p", OS: "o 1"},
		&Slot{Order: "op-1", Agree: "PEM"},
		&BatchHead{Format: BatchFormat, Order: "op-1", Cards: 1, Spares: 1, BlockSize: 10, OS: "o 1", Profile: "name: p\n", Given: []byte{2}},
		&Ack{Order: "op-1", Response: "00", Cards: 1, By: "0002 nodal-officer"},
		&DestroyOrder{Order: "op-1", Act: "00"},
		&DestroyProof{Order: "op-1", Site: "plant", Destroyed: Destroyed{Keys: []order.DestroyedKey{{ID: "k"}}, Blocks: 1, LogIndex: 3}, Act: "00", Approvers: []string{"1", "2"}},
		&Shipment{Advice: stock.Advice{Site: "plant", Number: "SH-1", Operator: "op", Consignee: "Op", Carrier: "van", Seal: "T", Sent: time.Unix(1, 0).UTC(), Cards: 1,
			Boxes: []stock.AdvisedBox{{Box: "B", Seal: "S", Order: "op-1", Cards: 1, First: "8991000000000000018", Last: "8991000000000000018"}}, Handed: proof}},
		&ShipmentAnswer{Site: "plant", Number: "SH-1", Answer: proof},
		&Certified{Order: "op-1", Document: []byte("{}"), PDF: []byte("%PDF")},
	}
}

func TestMessages(t *testing.T) {
	for _, m := range messages() {
		var text bytes.Buffer
		if err := JSON(m)(&text); err != nil {
			t.Fatal(err)
		}
		back := reflect.New(reflect.TypeOf(m).Elem()).Interface()
		if err := Read(bytes.NewReader(text.Bytes()), back); err != nil || !reflect.DeepEqual(m, back) {
			t.Errorf("%T: %v: %+v came back as %+v", m, err, m, back)
		}
		for what, doc := range map[string]string{
			"unknown field": strings.Replace(text.String(), "{", `{"surprise":1,`, 1),
			"two documents": text.String() + text.String(),
			"cut":           text.String()[:text.Len()-2],
			"nothing":       "",
			"list":          "[" + text.String() + "]",
		} {
			if err := Read(strings.NewReader(doc), reflect.New(reflect.TypeOf(m).Elem()).Interface()); err == nil {
				t.Errorf("%T: %s is taken: %s", m, what, doc)
			}
		}
	}
}

func TestMessageTooLarge(t *testing.T) {
	var v Receipt
	err := Read(io.LimitReader(spaces{}, maxMessage+1), &v)
	if err == nil || err.Error() != "the message has more than 8388608 bytes" {
		t.Error(err)
	}
}

// spaces is white space without end.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func FuzzMessages(f *testing.F) {
	for i, m := range messages() {
		doc, err := json.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i, doc, "op-1.inp.pgp")
	}
	f.Add(0, []byte(`{"order":1}`), "a.ȺȺȺȺȺȺ.pgp")
	f.Fuzz(func(t *testing.T, i int, doc []byte, name string) {
		all := messages()
		kind := reflect.TypeOf(all[uint(i)%uint(len(all))]).Elem()
		one := reflect.New(kind).Interface()
		if Read(bytes.NewReader(doc), one) == nil {
			again, err := json.Marshal(one)
			if err != nil {
				t.Fatal(err)
			}
			two := reflect.New(kind).Interface()
			if err := Read(bytes.NewReader(again), two); err != nil {
				t.Errorf("%s is taken and %s is not: %v", doc, again, err)
			}
		}
		if base, ok := Base(name); ok && (base == "" || !strings.HasPrefix(name, base+".")) {
			t.Errorf("%q is cut to %q", name, base)
		}
	})
}
