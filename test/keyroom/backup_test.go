package keyroom

import (
	"crypto/aes"
	"encoding/hex"
	"fmt"
	"testing"

	"ankan/ceremony"
	"ankan/keys"
)

const heads = "people: {key-manager: \"" + km + "\", hsm-administrator: \"" + ha + "\", security-officer: \"" + so + "\"}\n"

// A key is made with shares for three holders; each opens theirs; two of them
// restore it in a rehearsal.
func TestBackup(t *testing.T) {
	r := newRoom(t)
	for _, id := range []string{km, ha, so, custA, custB, custC} {
		r.hire(id)
	}
	r.open(fmt.Sprintf(`ceremony: CER-2
kind: generate
title: Make exchange key 1 of op, with a backup
room: Key room 1, Pune
key: {name: exchange/op/1, purpose: exchange, algorithm: AES-256, partner: op}
backup: {threshold: 2, holders: [%q, %q, %q]}
%s`, custA, custB, custC, heads), "CER-2")
	r.run("CER-2", nil)
	before := must[keys.Key](t)(r.site.Register().Key(t.Context(), "exchange/op/1"))
	if before.State != keys.Live {
		t.Fatalf("the key is %s", before.State)
	}
	r.open(fmt.Sprintf(`ceremony: CER-3
kind: restore
title: Rehearse the restore of exchange key 1
room: Key room 1, Pune
key: {name: exchange/op/1, purpose: exchange, algorithm: AES-256}
holders: [%q, %q]
rehearsal: true
%s`, custA, custC, heads), "CER-3")
	r.run("CER-3", nil)
	c := r.ceremony("CER-3")
	if c.State != ceremony.Closed {
		t.Fatalf("the rehearsal is %s", c.State)
	}
	if k := must[keys.Key](t)(r.site.Register().Key(t.Context(), c.KeyName())); k.State != keys.Destroyed || k.KCV != before.KCV {
		t.Errorf("what was restored is %s with check value %s, want destroyed and %s", k.State, k.KCV, before.KCV)
	}
}

// A key leaves in three components: what its custodians see on their screens is
// the key, and none of them sees it alone.
func TestExport(t *testing.T) {
	r := newRoom(t)
	for _, id := range []string{km, ha, so, custA, custB, custC} {
		r.hire(id)
	}
	key := "key: {name: transport/op/8, purpose: transport, algorithm: AES-256, partner: op}\n"
	r.open("ceremony: CER-4\nkind: generate\ntitle: Make transport key 8 of op\nroom: Key room 1, Pune\n"+key+heads, "CER-4")
	r.run("CER-4", nil)
	r.open(fmt.Sprintf("ceremony: CER-5\nkind: export-components\ntitle: Give transport key 8 to op\nroom: Key room 1, Pune\n%sparts: [{custodian: %q, bag: B-1}, {custodian: %q, bag: B-2}, {custodian: %q, bag: B-3}]\n%s", key, custA, custB, custC, heads), "CER-5")
	r.run("CER-5", nil)
	if c := r.ceremony("CER-5"); c.State != ceremony.Closed {
		t.Fatalf("the ceremony is %s", c.State)
	}
	sum := make([]byte, 32)
	for _, id := range []string{custA, custB, custC} {
		part := must[[]byte](t)(hex.DecodeString(r.people[id].saw))
		if len(part) != 32 {
			t.Fatalf("custodian %s saw %d bytes", id, len(part))
		}
		for i := range sum {
			sum[i] ^= part[i]
		}
	}
	b, err := aes.NewCipher(sum)
	if err != nil {
		t.Fatal(err)
	}
	want, got := make([]byte, 16), make([]byte, 16)
	b.Encrypt(want, want)
	if err := r.site.Token().SealColumn(t.Context(), "transport/op/8", got, make([]byte, 16)); err != nil || string(got) != string(want) {
		t.Errorf("what the custodians saw is not the key: %v", err)
	}
}
