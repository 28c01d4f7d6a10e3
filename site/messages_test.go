package site

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"ankan/exchange"
	"ankan/order"
)

func TestKindOf(t *testing.T) {
	for _, tt := range []struct {
		name string
		kind kind
		base string
		ok   bool
	}{
		{"a.inp.pgp", kindOrder, "a", true},
		{"a.inp.gpg", kindOrder, "a", true},
		{"A.INP.ASC", kindOrder, "A", true},
		{"op-1.2.out.pgp", kindResponse, "op-1.2", true},
		{"x.retired.receipt.pgp", kindReceipt, "x.retired", true},
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
		{"ȺȺȺȺ.inp.pgp", kindOrder, "ȺȺȺȺ", true},
	} {
		if k, ok := kindOf(tt.name); k != tt.kind || ok != tt.ok {
			t.Errorf("kind of %q is %q, %t, want %q, %t", tt.name, k, ok, tt.kind, tt.ok)
		}
		if base, ok := cutKind(tt.name); base != tt.base || ok != tt.ok {
			t.Errorf("%q is cut to %q, %t, want %q, %t", tt.name, base, ok, tt.base, tt.ok)
		}
	}
}

// messages is one of each message that is one JSON document.
func messages() []any {
	return []any{
		&receipt{Order: "op-1", File: "op-1.inp.pgp", Digest: "00", Accepted: true, Reasons: []string{"why"}, Retired: 7},
		&sharedKeys{From: "op", Keys: []sharedKey{{Index: 11, Purpose: "transport", Algorithm: "AES-256", KCV: "C35280 GP", Given: []byte{1}}}},
		&offer{Order: "op-1", Operator: "op", Cards: 1, Spares: 2, Profile: "p", OS: "o 1"},
		&slot{Order: "op-1", Agree: "PEM"},
		&batchHead{Format: batchFormat, Order: "op-1", Cards: 1, Spares: 1, BlockSize: 10, OS: "o 1", Profile: "name: p\n", Given: []byte{2}},
		&ack{Order: "op-1", Response: "00", Cards: 1, By: "0002 nodal-officer"},
		&destroyOrder{Order: "op-1", Act: "00"},
		&destroyProof{Order: "op-1", Site: "plant", destroyed: destroyed{Keys: []order.DestroyedKey{{ID: "k"}}, Blocks: 1, LogIndex: 3}, Act: "00", Approvers: []string{"1", "2"}},
		&certified{Order: "op-1", Document: []byte("{}"), PDF: []byte("%PDF")},
		&Lot{Lot: "L1", Vendor: "v", Chip: "c", Quantity: 1, OS: "o 1", Image: []byte{1}, OSMaker: []byte{2}, KCV: "C35280 GP", Given: []byte{3}},
		&People{},
	}
}

func TestMessages(t *testing.T) {
	for _, m := range messages() {
		var text bytes.Buffer
		if err := jsonWriter(m)(&text); err != nil {
			t.Fatal(err)
		}
		back := reflect.New(reflect.TypeOf(m).Elem()).Interface()
		if err := readJSON(bytes.NewReader(text.Bytes()), back); err != nil || !reflect.DeepEqual(m, back) {
			t.Errorf("%T: %v: %+v came back as %+v", m, err, m, back)
		}
		for what, doc := range map[string]string{
			"unknown field": strings.Replace(text.String(), "{", `{"surprise":1,`, 1),
			"two documents": text.String() + text.String(),
			"cut":           text.String()[:text.Len()-2],
			"nothing":       "",
			"list":          "[" + text.String() + "]",
		} {
			if err := readJSON(strings.NewReader(doc), reflect.New(reflect.TypeOf(m).Elem()).Interface()); err == nil {
				t.Errorf("%T: %s is taken: %s", m, what, doc)
			}
		}
	}
}

func TestMessageTooLarge(t *testing.T) {
	var v receipt
	err := readJSON(io.LimitReader(spaces{}, maxMessage+1), &v)
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
		if readJSON(bytes.NewReader(doc), one) == nil {
			again, err := json.Marshal(one)
			if err != nil {
				t.Fatal(err)
			}
			two := reflect.New(kind).Interface()
			if err := readJSON(bytes.NewReader(again), two); err != nil {
				t.Errorf("%s is taken and %s is not: %v", doc, again, err)
			}
		}
		if base, ok := cutKind(name); ok && (base == "" || !strings.HasPrefix(name, base+".")) {
			t.Errorf("%q is cut to %q", name, base)
		}
	})
}

func TestBatchHead(t *testing.T) {
	good := `{"format":"ankan/batch/v1","order":"op-1","cards":2,"spares":1,"block_size":10,"os":"o","profile":"p","given":"AA=="}`
	r := bufio.NewReader(strings.NewReader(good + "\nblocks"))
	head, err := readBatchHead("b", r)
	if err != nil || head.Order != "op-1" || head.Cards != 2 || head.BlockSize != 10 {
		t.Fatal(head, err)
	}
	if rest, err := io.ReadAll(r); string(rest) != "blocks" || err != nil {
		t.Errorf("after the head comes %q, %v", rest, err)
	}
	for _, tt := range []struct{ old, new, want string }{
		{"\n", "", "b: its first line: EOF"},
		{`"order"`, `"order_"`, "b: its first line: "},
		{"batch/v1", "batch/v2", `b: format is "ankan/batch/v2", want "ankan/batch/v1"`},
		{`"cards":2`, `"cards":0`, "b: 0 cards and 1 spares in blocks of 10"},
		{`"cards":2`, `"cards":9223372036854775807`, "b: 9223372036854775807 cards"},
		{`"cards":2`, `"cards":1e30`, "b: its first line: "},
		{`"spares":1`, `"spares":-1`, "b: 2 cards and -1 spares"},
		{`"spares":1`, `"spares":9223372036854775807`, "b: 2 cards and 9223372036854775807"},
		{`:10`, `:0`, "b: 2 cards and 1 spares in blocks of 0"},
		{`"AA=="`, `"` + strings.Repeat("A", 8192) + `"`, "b: its first line: bufio: buffer full"},
	} {
		doc := strings.Replace(good+"\n", tt.old, tt.new, 1)
		_, err := readBatchHead("b", bufio.NewReaderSize(strings.NewReader(doc), 4096))
		var r *refusal
		if !errors.As(err, &r) || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.new, err, tt.want)
		}
	}
}

func FuzzBatch(f *testing.F) {
	f.Add([]byte(`{"format":"ankan/batch/v1","order":"o","cards":2,"spares":1,"block_size":10,"os":"o","profile":"p","given":"AA=="}` + "\nblocks"))
	f.Add([]byte("{}\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(doc), 4096)
		head, err := readBatchHead("b", r)
		if err != nil {
			var refused *refusal
			if !errors.As(err, &refused) {
				t.Errorf("%v is no refusal", err)
			}
			return
		}
		_, want, _ := bytes.Cut(doc, []byte("\n"))
		rest, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(rest, want) || head.Format != batchFormat || head.Cards < 1 {
			t.Errorf("%+v, then %q, want %q (%v)", head, rest, want, err)
		}
	})
}

// A slot's key is of the strength of what is sealed to it.
func TestParseAgree(t *testing.T) {
	text := map[elliptic.Curve]string{}
	for _, c := range []elliptic.Curve{elliptic.P256(), elliptic.P521()} {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if text[c], err = exchange.MarshalPublicKey(&k.PublicKey); err != nil {
			t.Fatal(err)
		}
	}
	good := text[elliptic.P521()]
	if _, err := parseAgree(good); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]string{"P-256": text[elliptic.P256()], "none": "", "two": good + good, "cut": good[:80]} {
		if _, err := parseAgree(bad); err == nil {
			t.Errorf("%s is not refused", name)
		}
	}
}
