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

func TestResponseName(t *testing.T) {
	for _, tt := range []struct {
		name, ord string
		n, m      int
		ok        bool
	}{
		{"op-1.out.pgp", "op-1", 1, 1, true},
		{"op-1.1-of-2.out.pgp", "op-1", 1, 2, true},
		{"op.1.2-of-2.out.gpg", "op.1", 2, 2, true},
		{"op-1.10000-of-10000.out.pgp", "op-1", 10000, 10000, true},
		{"op-1.3-of-2.out.pgp", "", 0, 0, false},
		{"op-1.0-of-2.out.pgp", "", 0, 0, false},
		{"op-1.1-of-1.out.pgp", "", 0, 0, false},
		{"op-1.-1-of-2.out.pgp", "", 0, 0, false},
		{"op-1.1-of-10001.out.pgp", "", 0, 0, false},
		{"op-1.01-of-2.out.pgp", "op-1.01-of-2", 1, 1, true}, // no number as we write it: no such order
		{"op-1.1-of-2x.out.pgp", "op-1.1-of-2x", 1, 1, true},
		{"1-of-2.out.pgp", "1-of-2", 1, 1, true},
		{"op-1.1-of-2.out", "", 0, 0, false},
	} {
		ord, n, m, ok := ParseResponseName(tt.name)
		if ok != tt.ok || ok && (ord != tt.ord || n != tt.n || m != tt.m) {
			t.Errorf("%s is file %d of %d of %q, %t, want %d of %d of %q, %t", tt.name, n, m, ord, ok, tt.n, tt.m, tt.ord, tt.ok)
		}
		if ok && m > 1 && tt.name == strings.TrimSuffix(tt.name, ".pgp")+".pgp" && ResponseName(ord, n, m) != tt.name {
			t.Errorf("%s is written %s", tt.name, ResponseName(ord, n, m))
		}
	}
}

func FuzzParseResponseName(f *testing.F) {
	for _, name := range []string{"op-1.out.pgp", "op-1.2-of-3.out.pgp", "op-1.2-of-3.out.asc", "a.+1-of-2.out.pgp", "."} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		ord, n, m, ok := ParseResponseName(name)
		if !ok {
			return
		}
		if n < 1 || m < n || m > MaxResponseFiles {
			t.Fatalf("%q is file %d of %d", name, n, m)
		}
		if o, k, l, ok := ParseResponseName(ResponseName(ord, n, m)); m > 1 && (!ok || o != ord || k != n || l != m) {
			t.Fatalf("%q is file %d of %d of %q, and again %d of %d of %q", name, n, m, ord, k, l, o)
		}
	})
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
		&Ack{Order: "op-1", Response: []ResponseFile{{File: "op-1.out.pgp", SHA256: "00", Cards: 1}}, Cards: 1, By: "0002 nodal-officer"},
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
