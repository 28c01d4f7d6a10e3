package hsmtest

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"ankan/hsm"
	"ankan/scp"
)

// strong is n bytes without a pattern, always the same for a name.
func strong(name string, n int) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:n]
}

func xor(parts ...[]byte) []byte {
	out := make([]byte, len(parts[0]))
	for _, p := range parts {
		subtle.XORBytes(out, out, p)
	}
	return out
}

// places are the components of an AES-256 key with nothing in them.
func places(n int) []hsm.Component {
	parts := make([]hsm.Component, n)
	for i := range parts {
		parts[i] = hsm.Component{Set: "set", Index: i + 1, Of: n, Holder: fmt.Sprint(1001 + i), Algorithm: hsm.AES256}
	}
	return parts
}

func sharePlaces(n int) []hsm.Share {
	shares := make([]hsm.Share, n)
	for i := range shares {
		shares[i] = hsm.Share{Set: "set", Index: i + 1, Of: n + 1, Threshold: n, Holder: fmt.Sprint(1001 + i), Algorithm: hsm.AES256}
	}
	return shares
}

// components are what custodians enter: each part sealed to the Agree key.
func (s *suite) components(agree hsm.Key, a hsm.Algorithm, method hsm.KCVMethod, parts ...[]byte) []hsm.Component {
	s.Helper()
	all := places(len(parts))
	for i, part := range parts {
		all[i].Algorithm = a
		var err error
		all[i], err = all[i].Seal(agree.Public, method, part)
		s.must(err)
	}
	return all
}

func (s *suite) kcv(a hsm.Algorithm, method hsm.KCVMethod, key []byte) hsm.KCV {
	s.Helper()
	k, err := hsm.KeyKCV(method, a, key)
	s.must(err)
	return k
}

// holds proves that a Transport key is known.
func (s *suite) holds(id string, a hsm.Algorithm, known []byte) {
	s.Helper()
	b, err := hsm.NewCipher(a, known)
	s.must(err)
	src, dst, want := strong("block", 16), make([]byte, 16), make([]byte, 16)
	for i := 0; i < len(src); i += b.BlockSize() {
		b.Encrypt(want[i:], src[i:])
	}
	s.must(s.SealColumn(s.ctx, id, dst, src))
	if !bytes.Equal(dst, want) {
		s.Errorf("key %s seals %x, want %x", id, dst, want)
	}
}

// came checks a key that came from elsewhere: it is the one that was sent, and
// does not leave again.
func (s *suite) came(k, sent hsm.Key) {
	s.Helper()
	if same, err := k.KCV.Matches(sent.KCV); !same || err != nil || k.Purpose != sent.Purpose || k.Algorithm != sent.Algorithm || k.Exportable {
		s.Errorf("%+v, %v, want a key of check value %v that does not leave again", k, err, sent.KCV)
	}
	found, err := s.Key(s.ctx, k.ID)
	s.must(err)
	if found.Exportable {
		s.Errorf("%+v may leave again", found)
	}
}

// absent checks that a refusal kept nothing.
func (s *suite) absent(what, id string) {
	s.Helper()
	if _, err := s.Key(s.ctx, id); !errors.Is(err, hsm.ErrNoKey) {
		s.Errorf("%s: key %s is there all the same: %v", what, id, err)
	}
}

// names checks that an error names a holder and an index; 0 for none.
func (s *suite) names(what string, err error, index int) {
	s.Helper()
	var wrong *hsm.ComponentError
	if errors.As(err, &wrong) != (index != 0) || index != 0 && (wrong.Index != index || wrong.Holder != fmt.Sprint(1000+index)) {
		s.Errorf("%s: %v, want an error of number %d", what, err, index)
	}
}

func (s *suite) combine() {
	agree := s.make("agree", hsm.Agree, hsm.P521)
	for _, a := range []hsm.Algorithm{hsm.AES128, hsm.AES256, hsm.TDES, hsm.TDES3} {
		for n := 2; n <= 3; n++ {
			methods := []hsm.KCVMethod{hsm.GP, hsm.CMAC, hsm.ECBZeros}
			if a.NeedsWaiver() {
				methods = methods[2:]
			}
			for _, method := range methods {
				parts := [][]byte{strong("a", a.KeyLen()), strong("b", a.KeyLen()), strong("c", a.KeyLen())}[:n]
				known := xor(parts...)
				components := s.components(agree, a, method, parts...)
				for _, c := range components {
					s.must(s.CheckComponent(s.ctx, "agree", c))
				}
				slices.Reverse(components)
				id := fmt.Sprint(a, n, method)
				k, err := s.Combine(s.ctx, "agree", components, id, hsm.Transport, a, s.kcv(a, method, known))
				s.must(err)
				s.came(k, hsm.Key{Purpose: hsm.Transport, Algorithm: a, KCV: s.kcv(a, a.CheckMethod(), known)})
				s.holds(id, a, known)
			}
		}
	}
	for _, p := range []hsm.Purpose{hsm.Lot, hsm.Exchange, hsm.Operator} {
		a := hsm.AES256
		if p == hsm.Operator {
			a = hsm.AES128
		}
		components := s.components(agree, a, hsm.GP, strong("a", a.KeyLen()), strong("b", a.KeyLen()))
		_, err := s.Combine(s.ctx, "agree", components, string(p), p, a, hsm.KCV{})
		s.must(err)
	}
}

func (s *suite) combineRefuses() {
	agree := s.make("agree", hsm.Agree, hsm.P521)
	s.make("agree2", hsm.Agree, hsm.P521)
	parts := [][]byte{strong("a", 32), strong("b", 32), strong("c", 32)}
	good := s.components(agree, hsm.AES256, hsm.GP, parts...)
	// seal puts anything into a component, as a program of a custodian might.
	seal := func(c hsm.Component, part []byte) hsm.Component {
		var err error
		c.Given, err = hsm.Give(agree.Public, c.Content(), c.Label(), part)
		s.must(err)
		if kcv, err := hsm.AESKCV(hsm.GP, part); err == nil {
			c.KCV = kcv
		}
		return c
	}
	with := func(index int, change func(*hsm.Component)) []hsm.Component {
		all := slices.Clone(good)
		change(&all[index-1])
		return all
	}
	swapped := slices.Clone(good)
	swapped[0].Given, swapped[1].Given = swapped[1].Given, swapped[0].Given
	swapped[0].KCV, swapped[1].KCV = swapped[1].KCV, swapped[0].KCV
	short := s.components(agree, hsm.AES128, hsm.GP, strong("a", 16), strong("b", 16), strong("c", 16))
	ascending := make([]byte, 32)
	for i := range ascending {
		ascending[i] = byte(i)
	}
	for _, c := range []struct {
		name  string
		parts []hsm.Component
		want  error
		index int // of the component that the error names; below 0 for one that another's name hides
	}{
		{"wrong KCV", with(2, func(c *hsm.Component) { c.KCV = good[0].KCV }), hsm.ErrKCV, 2},
		{"no KCV", with(3, func(c *hsm.Component) { c.KCV = hsm.KCV{} }), hsm.ErrKCV, 3},
		{"same bytes", with(3, func(c *hsm.Component) { *c = seal(*c, parts[0]) }), hsm.ErrTwice, 3},
		{"same number", with(3, func(c *hsm.Component) { c.Index = 1; *c = seal(*c, parts[2]) }), hsm.ErrTwice, -1},
		{"same component", []hsm.Component{good[0], good[1], good[1]}, hsm.ErrTwice, 2},
		{"same holder", with(3, func(c *hsm.Component) { c.Holder = "1002"; *c = seal(*c, parts[2]) }), hsm.ErrTwice, -3},
		{"wrong set", with(2, func(c *hsm.Component) { c.Set = "other"; *c = seal(*c, parts[1]) }), hsm.ErrSet, 2},
		{"set renamed", with(1, func(c *hsm.Component) { c.Set = "other" }), hsm.ErrSet, -2},
		{"of two", with(2, func(c *hsm.Component) { c.Of = 2; *c = seal(*c, parts[1]) }), hsm.ErrSet, 2},
		{"too short", with(2, func(c *hsm.Component) { *c = seal(*c, strong("b", 24)) }), hsm.ErrAlgorithm, 2},
		{"too long", with(2, func(c *hsm.Component) { *c = seal(*c, append(strong("b", 32), strong("c", 8)...)) }), hsm.ErrAlgorithm, 2},
		{"swapped between holders", swapped, hsm.ErrSealed, 1},
		{"changed", with(3, func(c *hsm.Component) { c.Given = bytes.Clone(c.Given); c.Given[140] ^= 1 }), hsm.ErrSealed, 3},
		{"nothing given", with(1, func(c *hsm.Component) { c.Given = nil }), hsm.ErrSealed, 1},
		{"all zero", with(2, func(c *hsm.Component) { *c = seal(*c, make([]byte, 32)) }), hsm.ErrWeakKey, 2},
		{"known", with(2, func(c *hsm.Component) { *c = seal(*c, ascending) }), hsm.ErrWeakKey, 2},
		{"weak key", with(3, func(c *hsm.Component) { *c = seal(*c, xor(parts[0], parts[1], ascending)) }), hsm.ErrWeakKey, 0},
		{"AES-128", short, hsm.ErrAlgorithm, 1},
		{"one of AES-128", []hsm.Component{good[0], short[1], good[2]}, hsm.ErrAlgorithm, 2},
		{"DES", with(1, func(c *hsm.Component) { c.Algorithm = "DES" }), hsm.ErrAlgorithm, 1},
		{"no holder", with(1, func(c *hsm.Component) { c.Holder = "" }), nil, -1},
		{"none", nil, hsm.ErrFew, 0},
		{"one", good[:1], hsm.ErrFew, 0},
		{"two of three", good[1:], hsm.ErrFew, 0},
		{"four", append(slices.Clone(good), good[0]), nil, 0},
	} {
		_, err := s.Combine(s.ctx, "agree", c.parts, "new", hsm.Transport, hsm.AES256, hsm.KCV{})
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			s.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if c.index >= 0 {
			s.names(c.name, err, c.index)
		}
		s.absent(c.name, "new")
		if c.index <= 0 {
			continue
		}
		// A custodian hears of what is wrong with one component alone.
		alone := errors.Is(c.want, hsm.ErrKCV) || errors.Is(c.want, hsm.ErrSealed) || errors.Is(c.want, hsm.ErrWeakKey) || c.name == "too short" || c.name == "too long"
		i := slices.IndexFunc(c.parts, func(p hsm.Component) bool { return p.Index == c.index })
		if err := s.CheckComponent(s.ctx, "agree", c.parts[i]); alone {
			s.want("checking "+c.name, err, c.want)
			s.names("checking "+c.name, err, c.index)
		}
	}
	_, err := s.Combine(s.ctx, "agree2", good, "new", hsm.Transport, hsm.AES256, hsm.KCV{})
	s.want("given to another key", err, hsm.ErrSealed)
	_, err = s.Combine(s.ctx, "agree", good, "new", hsm.Transport, hsm.AES256, good[0].KCV)
	s.want("another key's check value", err, hsm.ErrKCV)
	s.names("another key's check value", err, 0)
	_, err = s.Combine(s.ctx, "agree", good, "new", hsm.Transport, "DES", hsm.KCV{})
	s.want("a DES key", err, hsm.ErrPurpose)
	for _, k := range one {
		if !k.p.Arrives() {
			_, err = s.Combine(s.ctx, "agree", good, "new", k.p, k.a, hsm.KCV{})
			s.want("a key for "+string(k.p), err, hsm.ErrPurpose)
		}
	}
	if _, err := s.Combine(s.ctx, "agree", good, "a b", hsm.Transport, hsm.AES256, hsm.KCV{}); err == nil {
		s.Error("a name with a space is not refused")
	}
	s.absent("all of this", "new")

	_, err = s.Combine(s.ctx, "agree", good, "new", hsm.Transport, hsm.AES256, hsm.KCV{})
	s.must(err)
	for _, what := range []string{"a second time", "after its destruction"} {
		_, err = s.Combine(s.ctx, "agree", good, "new", hsm.Transport, hsm.AES256, hsm.KCV{})
		s.want(what, err, hsm.ErrKeyExists)
		s.must(ignore(s.Module.Destroy(s.ctx, "new"), hsm.ErrNoKey))
	}
	s.absent("a destroyed key", "new")
}

func (s *suite) split() {
	there := s.another()
	agree := there.make("agree", hsm.Agree, hsm.P521)
	for _, k := range travellers {
		id := string(k.p) + "/" + string(k.a)
		mine := s.make(id, k.p, k.a)
		for n := 2; n <= 3; n++ {
			holders := []Holder{NewHolder("1001"), NewHolder("1002"), NewHolder("1003")}[:n]
			var to []hsm.Holder
			for _, h := range holders {
				to = append(to, h.Holder)
			}
			method := hsm.CMAC
			if k.a.NeedsWaiver() {
				method = hsm.ECBZeros
			}
			parts, err := s.Split(s.ctx, id, "set", method, to)
			s.must(err)
			if len(parts) != n {
				s.Fatalf("%d components, want %d", len(parts), n)
			}
			_, err = holders[0].TakeComponent(parts[1])
			s.want("another holder's component", err, hsm.ErrSealed)
			for i, h := range holders {
				if c := parts[i]; c.Set != "set" || c.Index != i+1 || c.Of != n || c.Holder != h.Name || c.Algorithm != k.a || c.KCV.Method() != method {
					s.Errorf("component %+v", c)
				}
				parts[i], err = h.PassComponent(parts[i], agree.Public)
				s.must(err)
			}
			taken, err := there.Combine(s.ctx, "agree", parts, fmt.Sprint(id, n), k.p, k.a, mine.KCV)
			s.must(err)
			there.came(taken, mine)
		}
	}
	to := []hsm.Holder{NewHolder("1001").Holder, NewHolder("1002").Holder, NewHolder("1003").Holder, NewHolder("1004").Holder}
	p256, err := ecdh.P256().GenerateKey(rand.Reader)
	s.must(err)
	id := string(travellers[0].p) + "/" + string(travellers[0].a)
	for name, c := range map[string]struct {
		set    string
		method hsm.KCVMethod
		to     []hsm.Holder
		want   error
	}{
		"one holder":   {"set", hsm.GP, to[:1], nil},
		"four holders": {"set", hsm.GP, to, nil},
		"one twice":    {"set", hsm.GP, []hsm.Holder{to[0], to[0]}, hsm.ErrTwice},
		"P-256":        {"set", hsm.GP, []hsm.Holder{to[0], {Name: "1009", Key: p256.PublicKey()}}, hsm.ErrPublicKey},
		"no key":       {"set", hsm.GP, []hsm.Holder{to[0], {Name: "1009"}}, hsm.ErrPublicKey},
		"method":       {"set", "SHA", to[:2], hsm.ErrKCV},
		"no set":       {"", hsm.GP, to[:2], nil},
	} {
		if parts, err := s.Split(s.ctx, id, c.set, c.method, c.to); err == nil || parts != nil || c.want != nil && !errors.Is(err, c.want) {
			s.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// backup makes a key with shares and passes these to the Agree key there.
func (s *suite) backup(id string, k kind, set string, threshold, n int, agree hsm.Key) (hsm.Key, []hsm.Share) {
	s.Helper()
	var holders []Holder
	var to []hsm.Holder
	for i := range n {
		holders = append(holders, NewHolder(fmt.Sprint(1001+i)))
		to = append(to, holders[i].Holder)
	}
	key, shares, err := s.GenerateShared(s.ctx, id, k.p, k.a, set, threshold, to)
	s.must(err)
	if len(shares) != n || key.Exportable != k.p.Exports() {
		s.Fatalf("%d shares of %+v, want %d", len(shares), key, n)
	}
	_, err = holders[0].TakeShare(shares[1])
	s.want("another holder's share", err, hsm.ErrSealed)
	for i, h := range holders {
		if c := shares[i]; c.Set != set || c.Index != i+1 || c.Of != n || c.Threshold != threshold || c.Holder != h.Name || c.Algorithm != k.a || c.KCV.String() != key.KCV.String() {
			s.Errorf("share %+v", c)
		}
		shares[i], err = h.PassShare(shares[i], agree.Public)
		s.must(err)
	}
	return key, shares
}

func (s *suite) shares() {
	there := s.another()
	agree := there.make("agree", hsm.Agree, hsm.P521)
	for _, c := range []struct {
		kind
		threshold, n int
	}{
		{kind{hsm.Transport, hsm.AES128}, 2, 4}, {kind{hsm.Transport, hsm.AES256}, 3, 5}, {kind{hsm.Transport, hsm.TDES}, 2, 3}, {kind{hsm.Transport, hsm.TDES3}, 2, 3}, {kind{hsm.Exchange, hsm.AES256}, 2, 3},
		{kind{hsm.Operator, hsm.AES128}, 2, 3}, {kind{hsm.Lot, hsm.AES256}, 2, 3}, {kind{hsm.Subscriber, hsm.AES256}, 2, 3}, {kind{hsm.Ledger, hsm.HMAC256}, 2, 3},
	} {
		id := string(c.p) + "/" + string(c.a)
		mine, shares := s.backup(id, c.kind, "set", c.threshold, c.n, agree)
		for _, share := range shares {
			s.must(there.CheckShare(s.ctx, "agree", share))
		}
		for subset := range 1 << c.n {
			var some []hsm.Share
			for i := range shares {
				if subset>>i&1 == 1 {
					some = append(some, shares[i])
				}
			}
			// Every subset of the threshold's size, one that is smaller by one
			// and all together.
			name := fmt.Sprintf("%s/%b", id, subset)
			if n := len(some); n != c.threshold && n != c.n {
				if n == c.threshold-1 {
					_, err := there.Restore(s.ctx, "agree", some, name, c.p, c.a)
					s.want(name, err, hsm.ErrFew)
					there.absent(name, name)
				}
				continue
			}
			restored, err := there.Restore(s.ctx, "agree", some, name, c.p, c.a)
			s.must(err)
			s.restored(there, mine, restored)
		}
	}
}

// restored proves that a key there is the one here.
func (s *suite) restored(there *suite, mine, restored hsm.Key) {
	s.Helper()
	if mine.Algorithm != hsm.HMAC256 {
		there.came(restored, mine)
	}
	switch mine.Purpose {
	case hsm.Ledger:
		a, err := s.MAC(s.ctx, mine.ID, []byte("m"))
		s.must(err)
		b, err := there.MAC(s.ctx, restored.ID, []byte("m"))
		s.must(err)
		if a != b {
			s.Errorf("MAC %x, want %x", b, a)
		}
	case hsm.Subscriber:
		dk, wrapped, err := s.NewDataKey(s.ctx, mine.ID)
		s.must(err)
		dk.Close()
		again, err := there.OpenDataKey(s.ctx, restored.ID, wrapped)
		s.must(err)
		again.Close()
	}
}

func (s *suite) sharesRefuse() {
	agree := s.make("agree", hsm.Agree, hsm.P521)
	s.make("agree2", hsm.Agree, hsm.P521)
	transport := kind{hsm.Transport, hsm.AES256}
	_, good := s.backup("mine", transport, "set", 2, 4, agree)
	_, otherSet := s.backup("mine2", transport, "set2", 2, 3, agree)
	_, otherKey := s.backup("mine3", transport, "set", 2, 3, agree)
	_, otherThreshold := s.backup("mine4", transport, "set", 3, 4, agree)
	_, short := s.backup("mine5", kind{hsm.Transport, hsm.AES128}, "set", 2, 3, agree)
	with := func(index int, change func(*hsm.Share)) []hsm.Share {
		all := slices.Clone(good)
		change(&all[index-1])
		return all
	}
	swapped := slices.Clone(good)
	swapped[0].Given, swapped[1].Given = swapped[1].Given, swapped[0].Given
	swapped[0].Check, swapped[1].Check = swapped[1].Check, swapped[0].Check
	for _, c := range []struct {
		name   string
		shares []hsm.Share
		want   error
		index  int
	}{
		{"none", nil, hsm.ErrFew, 0},
		{"one", good[:1], hsm.ErrFew, 0},
		{"another set", []hsm.Share{good[0], otherSet[1]}, hsm.ErrSet, 2},
		{"another key", []hsm.Share{good[0], otherKey[1]}, hsm.ErrSet, 2},
		{"another threshold", []hsm.Share{good[0], otherThreshold[1], good[2]}, hsm.ErrSet, 2},
		{"twice", []hsm.Share{good[1], good[1]}, hsm.ErrTwice, 2},
		{"same holder", with(3, func(c *hsm.Share) { c.Holder = "1002" }), hsm.ErrTwice, -1},
		{"changed", with(3, func(c *hsm.Share) { c.Given = bytes.Clone(c.Given); c.Given[140] ^= 1 }), hsm.ErrSealed, 3},
		{"nothing given", with(1, func(c *hsm.Share) { c.Given = nil }), hsm.ErrSealed, 1},
		{"check", with(2, func(c *hsm.Share) { c.Check = good[0].Check }), hsm.ErrKCV, 2},
		{"check value", with(2, func(c *hsm.Share) { c.KCV = otherKey[0].KCV }), hsm.ErrKCV, 2},
		{"swapped between holders", swapped, hsm.ErrSealed, 1},
		{"renumbered", with(3, func(c *hsm.Share) { c.Index = 1 }), hsm.ErrTwice, -1},
		{"AES-128", short, hsm.ErrAlgorithm, 1},
		{"no set", with(1, func(c *hsm.Share) { c.Set = "" }), nil, 1},
	} {
		_, err := s.Restore(s.ctx, "agree", c.shares, "new", hsm.Transport, hsm.AES256)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			s.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if c.index >= 0 {
			s.names(c.name, err, c.index)
		}
		s.absent(c.name, "new")
	}
	changed := with(1, func(c *hsm.Share) { c.Check = "" })[0]
	err := s.CheckShare(s.ctx, "agree", changed)
	s.want("checking a share without check", err, hsm.ErrKCV)
	s.names("checking a share without check", err, 1)
	err = s.CheckShare(s.ctx, "agree2", good[0])
	s.want("checking a share for another key", err, hsm.ErrSealed)
	s.names("checking a share for another key", err, 1)
	_, err = s.Restore(s.ctx, "agree2", good, "new", hsm.Transport, hsm.AES256)
	s.want("given to another key", err, hsm.ErrSealed)
	to := []hsm.Holder{NewHolder("1001").Holder, NewHolder("1002").Holder, NewHolder("1003").Holder}
	for _, k := range one {
		if k.p.BacksUp() {
			continue
		}
		_, err = s.Restore(s.ctx, "agree", good, "new", k.p, k.a)
		s.want("restoring a key for "+string(k.p), err, hsm.ErrPurpose)
		_, _, err = s.GenerateShared(s.ctx, "new", k.p, k.a, "set", 2, to)
		s.want("backup of a key for "+string(k.p), err, hsm.ErrPurpose)
	}
	p256, err := ecdh.P256().GenerateKey(rand.Reader)
	s.must(err)
	for name, c := range map[string]struct {
		set       string
		threshold int
		to        []hsm.Holder
		want      error
	}{
		"threshold 1":   {"set", 1, to, nil},
		"all needed":    {"set", 3, to, nil},
		"holder twice":  {"set", 2, []hsm.Holder{to[0], to[1], to[0]}, hsm.ErrTwice},
		"P-256":         {"set", 2, []hsm.Holder{to[0], to[1], {Name: "1009", Key: p256.PublicKey()}}, hsm.ErrPublicKey},
		"no set":        {"", 2, to, nil},
		"17 holders":    {"set", 2, slices.Repeat(to, 6)[:17], nil},
		"holder's name": {"set", 2, []hsm.Holder{to[0], to[1], {Name: "a b", Key: to[2].Key}}, nil},
	} {
		_, shares, err := s.GenerateShared(s.ctx, "new", hsm.Transport, hsm.AES256, c.set, c.threshold, c.to)
		if err == nil || shares != nil || c.want != nil && !errors.Is(err, c.want) {
			s.Errorf("%s: %v, want %v", name, err, c.want)
		}
		s.absent(name, "new")
	}
	_, _, err = s.GenerateShared(s.ctx, "new", hsm.Transport, hsm.P521, "set", 2, to)
	s.want("an algorithm that does not fit", err, hsm.ErrPurpose)
	_, shares, err := s.GenerateShared(s.ctx, "mine", hsm.Transport, hsm.AES256, "set", 2, to)
	s.want("a name that is taken", err, hsm.ErrKeyExists)
	if shares != nil {
		s.Error("there are shares of a key that there is not")
	}
	_, err = s.Restore(s.ctx, "agree", good, "mine", hsm.Transport, hsm.AES256)
	s.want("the key's own name", err, hsm.ErrKeyExists)
	s.must(s.Module.Destroy(s.ctx, "mine"))
	_, err = s.Restore(s.ctx, "agree", good, "mine", hsm.Transport, hsm.AES256)
	s.want("after its destruction", err, hsm.ErrKeyExists)
	_, err = s.Restore(s.ctx, "agree", good, "new", hsm.Transport, hsm.AES256)
	s.must(err)
}

// exchange gives both modules an Exchange key that the test knows as well.
func (s *suite) exchange(modules ...*suite) []byte {
	s.Helper()
	for _, m := range modules {
		agree := m.make("agree", hsm.Agree, hsm.P521)
		_, err := m.Combine(s.ctx, "agree", m.components(agree, hsm.AES256, hsm.GP, strong("x", 32), strong("y", 32)), "exchange", hsm.Exchange, hsm.AES256, hsm.KCV{})
		s.must(err)
	}
	return xor(strong("x", 32), strong("y", 32))
}

func (s *suite) export() {
	there := s.another()
	s.exchange(s, there)
	agree, err := there.Key(s.ctx, "agree")
	s.must(err)
	unwrap := there.make("unwrap", hsm.Unwrap, hsm.RSA3072)
	for _, k := range travellers {
		id := string(k.p) + "/" + string(k.a)
		mine := s.make(id, k.p, k.a)
		for _, f := range []hsm.Format{hsm.KW, hsm.KWP, hsm.TR31, hsm.OAEP, hsm.ECDH} {
			out, in := hsm.Wrapping{Format: f, Key: "exchange"}, hsm.Wrapping{Format: f, Key: "exchange"}
			switch f {
			case hsm.OAEP:
				out, in = hsm.Wrapping{Format: f, To: unwrap.Public, Label: "k4"}, hsm.Wrapping{Format: f, Key: "unwrap", Label: "k4"}
			case hsm.ECDH:
				out, in = hsm.Wrapping{Format: f, To: agree.Public, Label: "k4"}, hsm.Wrapping{Format: f, Key: "agree", Label: "k4"}
			}
			if f == hsm.OAEP && k.a == hsm.AES256 {
				continue // weaker
			}
			blob, err := s.Export(s.ctx, id, out)
			s.must(err)
			taken, err := there.Import(s.ctx, blob, in, id+"/"+string(f), k.p, k.a)
			s.must(err)
			there.came(taken, mine)
			for name, leave := range there.leaves(agree) {
				s.want(name+" of an imported key", leave(taken.ID), hsm.ErrMaster)
			}
		}
	}
	s.make("mine", hsm.Exchange, hsm.AES256)
	_, err = s.Export(s.ctx, "mine", hsm.Wrapping{Format: hsm.KW, Key: "mine"})
	s.want("under itself", err, hsm.ErrPurpose)
	for _, w := range []hsm.Wrapping{
		{}, {Format: "DES", Key: "exchange"}, {Format: hsm.KW}, {Format: hsm.KW, Key: "exchange", To: agree.Public},
		{Format: hsm.TR31, Key: "exchange", Label: "k4"}, {Format: hsm.ECDH, Label: "k4"}, {Format: hsm.ECDH, To: agree.Public},
		{Format: hsm.ECDH, To: agree.Public, Key: "exchange", Label: "k4"}, {Format: hsm.OAEP, To: agree.Public}, {Format: hsm.ECDH, To: "key", Label: "k4"},
	} {
		if _, err := s.Export(s.ctx, "mine", w); err == nil {
			s.Errorf("%+v is not refused", w)
		}
	}
	_, err = s.Export(s.ctx, "mine", hsm.Wrapping{Format: hsm.KW, Key: "none"})
	s.want("under no key", err, hsm.ErrNoKey)
	_, err = s.Export(s.ctx, "none", hsm.Wrapping{Format: hsm.KW, Key: "exchange"})
	s.want("no key", err, hsm.ErrNoKey)
}

// foreign wraps a key as another maker's program does.
func (s *suite) foreign(f hsm.Format, kek, known []byte, p hsm.Purpose, a hsm.Algorithm, unwrap, agree crypto.PublicKey) []byte {
	s.Helper()
	b, err := aes.NewCipher(kek)
	s.must(err)
	var blob []byte
	switch f {
	case hsm.KW:
		blob, err = hsm.WrapKey(b, known)
	case hsm.KWP:
		blob, err = hsm.WrapKeyPad(b, known)
	case hsm.TR31:
		mac := func(m []byte) ([16]byte, error) { return scp.SumCMAC(b, m), nil }
		blob, err = hsm.WrapTR31(mac, hsm.AES256, p, a, known)
	case hsm.OAEP:
		blob, err = rsa.EncryptOAEP(sha256.New(), rand.Reader, unwrap.(*rsa.PublicKey), known, nil)
	case hsm.ECDH:
		blob, err = hsm.Give(agree, hsm.KeyContent(p, a), "k4", known)
	}
	s.must(err)
	return blob
}

// opens is the key that opens a format in these tests.
func opens(f hsm.Format) hsm.Wrapping {
	switch f {
	case hsm.OAEP:
		return hsm.Wrapping{Format: f, Key: "unwrap"}
	case hsm.ECDH:
		return hsm.Wrapping{Format: f, Key: "agree", Label: "k4"}
	}
	return hsm.Wrapping{Format: f, Key: "exchange"}
}

func (s *suite) imports() {
	kek := s.exchange(s)
	agree, err := s.Key(s.ctx, "agree")
	s.must(err)
	unwrap := s.make("unwrap", hsm.Unwrap, hsm.RSA3072)
	for _, a := range []hsm.Algorithm{hsm.AES128, hsm.AES256, hsm.TDES, hsm.TDES3} {
		known := strong("known", a.KeyLen())
		for _, f := range []hsm.Format{hsm.KW, hsm.KWP, hsm.TR31, hsm.OAEP, hsm.ECDH} {
			if f == hsm.OAEP && a == hsm.AES256 {
				continue // weaker
			}
			blob := s.foreign(f, kek, known, hsm.Transport, a, unwrap.Public, agree.Public)
			id := string(a) + "/" + string(f)
			k, err := s.Import(s.ctx, blob, opens(f), id, hsm.Transport, a)
			s.must(err)
			s.came(k, hsm.Key{Purpose: hsm.Transport, Algorithm: a, KCV: s.kcv(a, a.CheckMethod(), known)})
			s.holds(id, a, known)
		}
	}
	// A chip maker's lot key comes by any format but the key block, which has
	// no usage for it.
	for _, f := range []hsm.Format{hsm.KW, hsm.KWP, hsm.ECDH} {
		blob := s.foreign(f, kek, strong("known", 32), hsm.Lot, hsm.AES256, unwrap.Public, agree.Public)
		_, err := s.Import(s.ctx, blob, opens(f), "lot/"+string(f), hsm.Lot, hsm.AES256)
		s.must(err)
	}
	blob := s.foreign(hsm.TR31, kek, strong("known", 32), hsm.Exchange, hsm.AES256, nil, nil)
	_, err = s.Import(s.ctx, blob, opens(hsm.TR31), "lot", hsm.Lot, hsm.AES256)
	s.want("a lot key by TR-31", err, hsm.ErrPurpose)
}

func (s *suite) importRefuses() {
	kek := s.exchange(s)
	agree, err := s.Key(s.ctx, "agree")
	s.must(err)
	unwrap := s.make("unwrap", hsm.Unwrap, hsm.RSA3072)
	s.make("exchange2", hsm.Exchange, hsm.AES256)
	s.make("agree2", hsm.Agree, hsm.P521)
	s.make("unwrap2", hsm.Unwrap, hsm.RSA3072)
	known, a := strong("known", 16), hsm.AES128
	for _, f := range []hsm.Format{hsm.KW, hsm.KWP, hsm.TR31, hsm.OAEP, hsm.ECDH} {
		blob := s.foreign(f, kek, known, hsm.Transport, a, unwrap.Public, agree.Public)
		w := opens(f)
		do := func(what string, blob []byte, w hsm.Wrapping, p hsm.Purpose, a hsm.Algorithm, want error) {
			_, err := s.Import(s.ctx, blob, w, "new", p, a)
			s.want(fmt.Sprint(f, ": ", what), err, want)
			s.absent(fmt.Sprint(f, ": ", what), "new")
		}
		for _, i := range []int{0, 1, len(blob) / 2, len(blob) - 1} {
			bad := bytes.Clone(blob)
			bad[i] ^= 1
			do(fmt.Sprint("byte ", i, " changed"), bad, w, hsm.Transport, a, hsm.ErrSealed)
		}
		do("cut", blob[:len(blob)-8], w, hsm.Transport, a, hsm.ErrSealed)
		do("nothing", nil, w, hsm.Transport, a, hsm.ErrSealed)
		other := w
		other.Key += "2"
		do("another key", blob, other, hsm.Transport, a, hsm.ErrSealed)
		if f == hsm.OAEP || f == hsm.ECDH {
			other = w
			other.Label += "x"
			do("another label", blob, other, hsm.Transport, a, hsm.ErrSealed)
		}
		// What binds the purpose says so; what does not cannot.
		switch f {
		case hsm.TR31:
			do("for another purpose", blob, w, hsm.Operator, a, hsm.ErrPurpose)
			do("as AES-256", blob, w, hsm.Transport, hsm.AES256, hsm.ErrAlgorithm)
		case hsm.ECDH:
			do("for another purpose", blob, w, hsm.Operator, a, hsm.ErrSealed)
			do("as AES-256", blob, w, hsm.Transport, hsm.AES256, hsm.ErrSealed)
		case hsm.KW, hsm.KWP:
			do("as AES-256", blob, w, hsm.Transport, hsm.AES256, hsm.ErrAlgorithm)
			des := s.foreign(f, kek, strong("known", 24), hsm.Transport, a, unwrap.Public, agree.Public)
			do("a key of 24 bytes", des, w, hsm.Transport, hsm.AES256, hsm.ErrAlgorithm)
		case hsm.OAEP:
			long := s.foreign(f, kek, strong("known", 32), hsm.Transport, a, unwrap.Public, agree.Public)
			do("a key of 32 bytes as AES-128", long, w, hsm.Transport, a, hsm.ErrAlgorithm)
		}
		weak := s.foreign(f, kek, make([]byte, 16), hsm.Transport, a, unwrap.Public, agree.Public)
		do("a key of zeros", weak, w, hsm.Transport, a, hsm.ErrWeakKey)
		for _, k := range one {
			if !k.p.Arrives() {
				do("a key for "+string(k.p), blob, w, k.p, k.a, hsm.ErrPurpose)
			}
		}
		do("an algorithm that does not fit", blob, w, hsm.Transport, hsm.HMAC256, hsm.ErrPurpose)
		bad := w
		bad.To = agree.Public
		if _, err := s.Import(s.ctx, blob, bad, "new", hsm.Transport, a); err == nil {
			s.Errorf("%s: a public key is not refused", f)
		}
		id := "used/" + string(f)
		_, err = s.Import(s.ctx, blob, w, id, hsm.Transport, a)
		s.must(err)
		for _, what := range []string{"a second time", "after its destruction"} {
			_, err = s.Import(s.ctx, blob, w, id, hsm.Transport, a)
			s.want(what, err, hsm.ErrKeyExists)
			s.must(ignore(s.Module.Destroy(s.ctx, id), hsm.ErrNoKey))
		}
	}
	for _, w := range []hsm.Wrapping{{}, {Format: "DES", Key: "exchange"}, {Format: hsm.KW}, {Format: hsm.KWP, Key: "exchange", Label: "k4"}} {
		if _, err := s.Import(s.ctx, nil, w, "new", hsm.Transport, a); err == nil {
			s.Errorf("%+v is not refused", w)
		}
	}
}

// weaker tries to wrap keys under weaker ones.
func (s *suite) weaker() {
	agree := s.make("agree", hsm.Agree, hsm.P521)
	unwrap := s.make("unwrap", hsm.Unwrap, hsm.RSA3072)
	s.make("k128", hsm.Transport, hsm.AES128)
	s.make("k256", hsm.Transport, hsm.AES256)
	p256, err := ecdh.P256().GenerateKey(rand.Reader)
	s.must(err)
	rsa2048 := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 65537}

	_, err = s.Export(s.ctx, "k256", hsm.Wrapping{Format: hsm.OAEP, To: unwrap.Public})
	s.want("AES-256 under RSA-3072", err, hsm.ErrWeaker)
	_, err = s.Export(s.ctx, "k128", hsm.Wrapping{Format: hsm.OAEP, To: rsa2048})
	s.want("AES-128 under RSA-2048", err, hsm.ErrWeaker)
	_, err = s.Export(s.ctx, "k256", hsm.Wrapping{Format: hsm.ECDH, To: p256.PublicKey(), Label: "l"})
	s.want("AES-256 under P-256", err, hsm.ErrWeaker)
	_, err = s.Export(s.ctx, "k128", hsm.Wrapping{Format: hsm.ECDH, To: p256.PublicKey(), Label: "l"})
	s.want("the envelope is of P-521 alone", err, hsm.ErrPublicKey)
	_, err = s.GiveKey(s.ctx, "k256", p256.PublicKey(), "l")
	s.want("giving under P-256", err, hsm.ErrPublicKey)
	blob, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, unwrap.Public.(*rsa.PublicKey), strong("known", 32), nil)
	s.must(err)
	_, err = s.Import(s.ctx, blob, hsm.Wrapping{Format: hsm.OAEP, Key: "unwrap"}, "new", hsm.Transport, hsm.AES256)
	s.want("AES-256 that came under RSA-3072", err, hsm.ErrWeaker)
	s.absent("AES-256 that came under RSA-3072", "new")
	// There is no key of AES-128 that wraps.
	_, err = s.Generate(s.ctx, "new", hsm.Exchange, hsm.AES128)
	s.want("an Exchange key of AES-128", err, hsm.ErrPurpose)
	_, err = s.Export(s.ctx, "k256", hsm.Wrapping{Format: hsm.KW, Key: "k128"})
	s.want("AES-256 under a Transport key of AES-128", err, hsm.ErrPurpose)
	_, err = s.Combine(s.ctx, "agree", s.components(agree, hsm.AES128, hsm.GP, strong("a", 16), strong("b", 16)), "new", hsm.Exchange, hsm.AES128, hsm.KCV{})
	s.want("an Exchange key of AES-128 in components", err, hsm.ErrPurpose)
}

// master tries to get out what stays in, and out again what came in.
func (s *suite) master() {
	agree := s.make("agree", hsm.Agree, hsm.P521)
	s.make("uses/exchange", hsm.Exchange, hsm.AES256)
	leaves := s.leaves(agree)
	for _, k := range one {
		id := string(k.p) + "/" + string(k.a)
		if k.a == hsm.RSA3072 {
			continue // slow to make; those of P-256 and Ed25519 stand for them
		}
		s.make(id, k.p, k.a)
		for name, leave := range leaves {
			err := leave(id)
			if !k.p.Exports() {
				s.want(name+" of a key for "+string(k.p), err, hsm.ErrMaster)
			} else if err != nil {
				s.Errorf("%s of a key for %s: %v", name, k.p, err)
			}
		}
	}
	_, err := s.Combine(s.ctx, "agree", s.components(agree, hsm.AES256, hsm.GP, strong("a", 32), strong("b", 32)), "combined", hsm.Transport, hsm.AES256, hsm.KCV{})
	s.must(err)
	_, shares := s.backup("shared", kind{hsm.Transport, hsm.AES256}, "set", 2, 3, agree)
	_, err = s.Restore(s.ctx, "agree", shares, "restored", hsm.Transport, hsm.AES256)
	s.must(err)
	given, err := s.GiveKey(s.ctx, "shared", agree.Public, "l")
	s.must(err)
	_, err = s.TakeKey(s.ctx, "agree", given, "l", "taken", hsm.Transport, hsm.AES256)
	s.must(err)
	for name, leave := range leaves {
		for _, id := range []string{"combined", "restored", "taken"} {
			s.want(name+" of a key that was "+id, leave(id), hsm.ErrMaster)
		}
	}
}

func (s *suite) rewrap() {
	for _, k := range []hsm.Purpose{hsm.Order, hsm.Subscriber} {
		s.make(string(k), k, hsm.AES256)
	}
	s.make("other", hsm.Order, hsm.AES256)
	dk, wrapped, err := s.NewDataKey(s.ctx, "order")
	s.must(err)
	defer dk.Close()
	for _, to := range []string{"order", "subscriber", "other"} {
		again, err := s.Rewrap(s.ctx, "order", wrapped, to)
		s.must(err)
		opened, err := s.OpenDataKey(s.ctx, to, again)
		s.must(err)
		if plain, err := opened.Open(nil, dk.Seal(nil, []byte("block"), nil), nil); err != nil || string(plain) != "block" {
			s.Errorf("under %s: %q, %v", to, plain, err)
		}
		opened.Close()
	}
	_, err = s.Rewrap(s.ctx, "subscriber", wrapped, "order")
	s.want("from another key", err, hsm.ErrSealed)
	bad := bytes.Clone(wrapped)
	bad[0] ^= 1
	_, err = s.Rewrap(s.ctx, "order", bad, "subscriber")
	s.want("changed", err, hsm.ErrSealed)
	s.must(s.Module.Destroy(s.ctx, "other"))
	_, err = s.Rewrap(s.ctx, "order", wrapped, "other")
	s.want("to a destroyed key", err, hsm.ErrNoKey)
}
