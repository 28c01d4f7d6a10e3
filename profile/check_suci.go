package profile

import (
	"bytes"
	"crypto/ecdh"
	"crypto/elliptic"
	"encoding/hex"
	"strconv"

	"ankan/uicc"
)

// What a phone or, in DF.SAIP, the USIM computes the SUCI from fits together: a
// scheme's key index names a key of the list, of the kind that the scheme
// needs, and the network can tell the keys apart.
var checkSUCI = check{"suci", "TS 31.102, 4.4.11.8; TS 33.501, annex C", func(p *Profile, found func(pos, string, ...any)) {
	for f := range p.All() {
		if f.std.Name != "EF.SUCI_Calc_Info" && f.std.Name != "EF.SUCI_Calc_Info_USIM" {
			continue
		}
		v, err := f.std.Codec.Decode(f.piece(0))
		if err != nil {
			continue // checkSizes says so
		}
		schemes, _ := v.Get("schemes")
		keys, _ := v.Get("keys")
		ids := map[string]bool{}
		for _, k := range keys.List {
			if id := get(k, "id"); ids[id] {
				found(f.pos, "%s: two keys have the identifier %s", f.Path(), id)
			} else {
				ids[id] = true
			}
		}
		if len(schemes.List) == 0 {
			found(f.pos, "%s lists no scheme: a phone then uses the null scheme and shows the IMSI", f.Path())
		}
		for _, s := range schemes.List {
			checkScheme(f, s, keys.List, found)
		}
	}
}}

func checkScheme(f *File, s uicc.Value, keys []uicc.Value, found func(pos, string, ...any)) {
	scheme, _ := s.Get("scheme")
	index, _ := s.Get("key-index")
	if scheme.Text == "null" {
		if index.Text != "0" {
			found(f.pos, "%s: the null scheme has the key index %s, want 0", f.Path(), index.Text)
		}
		return
	}
	n, _ := strconv.Atoi(index.Text)
	if n < 1 || n > len(keys) {
		found(f.pos, "%s: scheme %s has the key index %d, the list has %d keys", f.Path(), scheme.Text, n, len(keys))
		return
	}
	text, _ := keys[n-1].Get("key")
	key, _ := hex.DecodeString(text.Text)
	switch scheme.Text {
	case "profile-a":
		if _, err := ecdh.X25519().NewPublicKey(key); err != nil {
			found(f.pos, "%s: key %d has %d bytes, profile-a wants an X25519 key of 32", f.Path(), n, len(key))
		}
	case "profile-b":
		if len(key) != 33 || !bytes.Contains([]byte{2, 3}, key[:1]) {
			found(f.pos, "%s: key %d has %d bytes, profile-b wants a compressed P-256 point of 33", f.Path(), n, len(key))
		} else if x, _ := elliptic.UnmarshalCompressed(elliptic.P256(), key); x == nil {
			found(f.pos, "%s: key %d is no point of P-256", f.Path(), n)
		}
	default:
		found(f.pos, "%s: scheme %s is not known", f.Path(), scheme.Text)
	}
}
