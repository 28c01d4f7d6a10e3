package hsmtest

import (
	"bytes"
	"fmt"

	"ankan/hsm"
)

// tripleDES tries what is of triple DES alone: its check value, its parity, and
// keys that are no more than single DES, by each way in.
func (s *suite) tripleDES() {
	kek := s.exchange(s)
	agree, err := s.Key(s.ctx, "agree")
	s.must(err)
	for _, a := range []hsm.Algorithm{hsm.TDES, hsm.TDES3} {
		known := strong("known", a.KeyLen())
		given, err := hsm.Give(agree.Public, hsm.KeyContent(hsm.Transport, a), "k4", known)
		s.must(err)
		taken, err := s.TakeKey(s.ctx, "agree", given, "k4", "k4/"+string(a), hsm.Transport, a)
		s.must(err)
		s.came(taken, hsm.Key{Purpose: hsm.Transport, Algorithm: a, KCV: s.kcv(a, hsm.ECBZeros, known)})
		s.holds("k4/"+string(a), a, known)

		// Half a value of 16 bytes is a block, a part of one is none.
		s.must(s.SealColumn(s.ctx, "k4/"+string(a), make([]byte, 8), make([]byte, 8)))
		for _, c := range [][2]int{{12, 12}, {8, 16}, {16, 8}} {
			if err := s.SealColumn(s.ctx, "k4/"+string(a), make([]byte, c[0]), make([]byte, c[1])); err == nil {
				s.Errorf("%s: %d bytes into %d are not refused", a, c[1], c[0])
			}
		}

		// The other parity is the same key.
		other := bytes.Clone(known)
		for i := range other {
			other[i] ^= 1
		}
		k, err := s.Import(s.ctx, s.foreign(hsm.KW, kek, other, hsm.Transport, a, nil, nil), opens(hsm.KW), "parity/"+string(a), hsm.Transport, a)
		s.must(err)
		s.came(k, hsm.Key{Purpose: hsm.Transport, Algorithm: a, KCV: s.kcv(a, hsm.ECBZeros, known)})

		for name, bad := range singleDES(a) {
			what := fmt.Sprintf("%s: %s", a, name)
			given, err := hsm.Give(agree.Public, hsm.KeyContent(hsm.Transport, a), "k4", bad)
			s.must(err)
			_, err = s.TakeKey(s.ctx, "agree", given, "k4", "new", hsm.Transport, a)
			s.want(what+", given", err, hsm.ErrWeakKey)
			for _, f := range []hsm.Format{hsm.KW, hsm.TR31} {
				_, err = s.Import(s.ctx, s.foreign(f, kek, bad, hsm.Transport, a, nil, nil), opens(f), "new", hsm.Transport, a)
				s.want(what+", "+string(f), err, hsm.ErrWeakKey)
			}
			first := strong("a", a.KeyLen())
			_, err = s.Combine(s.ctx, "agree", s.components(agree, a, hsm.ECBZeros, first, xor(first, bad)), "new", hsm.Transport, a, hsm.KCV{})
			s.want(what+", in components", err, hsm.ErrWeakKey)
			s.absent(what, "new")
		}

		// A key block of AES is none of triple DES, and the other way round.
		block := s.foreign(hsm.TR31, kek, known[:16], hsm.Transport, hsm.AES128, nil, nil)
		_, err = s.Import(s.ctx, block, opens(hsm.TR31), "new", hsm.Transport, a)
		s.want("a block of AES", err, hsm.ErrAlgorithm)
		block = s.foreign(hsm.TR31, kek, known, hsm.Transport, a, nil, nil)
		_, err = s.Import(s.ctx, block, opens(hsm.TR31), "new", hsm.Transport, hsm.AES128)
		s.want("a block of triple DES", err, hsm.ErrAlgorithm)
		for _, m := range []hsm.KCVMethod{hsm.GP, hsm.CMAC} {
			_, err = s.Split(s.ctx, s.make("mine/"+string(a)+string(m), hsm.Transport, a).ID, "set", m, []hsm.Holder{NewHolder("1001").Holder, NewHolder("1002").Holder})
			s.want("check values of components by "+string(m), err, hsm.ErrKCV)
		}
		for _, p := range []hsm.Purpose{hsm.Order, hsm.Subscriber, hsm.Operator, hsm.Exchange, hsm.Lot, hsm.Ledger} {
			_, err = s.Generate(s.ctx, "new", p, a)
			s.want(string(a)+" for "+string(p), err, hsm.ErrPurpose)
		}
		s.absent(string(a), "new")
	}
}

// singleDES are keys that have less in them than they are long.
func singleDES(a hsm.Algorithm) map[string][]byte {
	known := strong("known", 32)
	one, two, three := known[:8], known[8:16], known[16:24]
	turned := bytes.Clone(one)
	turned[7] ^= 1
	if a == hsm.TDES {
		return map[string][]byte{
			"equal halves": bytes.Join([][]byte{one, one}, nil), "halves equal but for parity": bytes.Join([][]byte{one, turned}, nil),
			"a half of zeros": append(make([]byte, 8), two...), "a half in even steps": append([]byte("ACEGIKMO"), two...),
			"a semi-weak half": append([]byte{0x01, 0xFE, 0x01, 0xFE, 0x01, 0xFE, 0x01, 0xFE}, two...),
		}
	}
	return map[string][]byte{
		"three equal parts": bytes.Join([][]byte{one, one, one}, nil), "the first two equal": bytes.Join([][]byte{one, turned, three}, nil),
		"the last two equal": bytes.Join([][]byte{two, one, turned}, nil), "the outer two equal": bytes.Join([][]byte{one, two, turned}, nil),
		"a possibly weak part": bytes.Join([][]byte{one, two, {0x1F, 0x01, 0xFE, 0xE0, 0x0E, 0x01, 0xFE, 0xF1}}, nil),
		"printed by NIST":      {0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0x01, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0x01, 0x23},
	}
}
