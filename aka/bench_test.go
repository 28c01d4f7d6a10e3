package aka

import (
	"crypto/rand"
	"testing"
)

// One vector for a key whose schedule is ready, RAND drawn in blocks.
func BenchmarkVector(b *testing.B) {
	v := vectors(b)[0]
	m := ready(b, v.K, v.OPc)
	random := make([]byte, 16*1024)
	b.ReportAllocs()
	var sqn SQN
	for i := 0; b.Loop(); i++ {
		at := i * 16 % len(random)
		if at == 0 {
			rand.Read(random)
		}
		sqn++
		if made := m.Vector(RAND(random[at:at+16]), sqn, EPS()); made.AUTN == (AUTN{}) {
			b.Fatal("no vector")
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "vectors/s")
}

// The same through the interface, as a store with all algorithms has it.
func BenchmarkSet(b *testing.B) {
	for _, p := range samples() {
		b.Run(string(p.Algorithm), func(b *testing.B) {
			k := make([]byte, p.KeySize())
			k[0] = 1
			set, err := p.Open(k, make([]byte, p.VariantSize()))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			var sqn SQN
			for b.Loop() {
				sqn++
				if made := set.Vector(RAND{byte(sqn)}, sqn, EPS()); made.AUTN == (AUTN{}) {
					b.Fatal("no vector")
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "vectors/s")
		})
	}
}

// One vector for a key that was opened just now.
func BenchmarkNewVector(b *testing.B) {
	v := vectors(b)[0]
	b.ReportAllocs()
	var sqn SQN
	for b.Loop() {
		m, err := New(v.K, v.OPc)
		if err != nil {
			b.Fatal(err)
		}
		sqn++
		m.Vector(RAND(v.RAND), sqn, EPS())
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "vectors/s")
}

// A card's answer: token checked, session made.
func BenchmarkAnswer(b *testing.B) {
	v := vectors(b)[0]
	m := ready(b, v.K, v.OPc)
	made := m.Vector(RAND(v.RAND), 33, EPS())
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := m.Answer(made.RAND, made.AUTN); err != nil {
			b.Fatal(err)
		}
	}
}

// OPc for one card, as data generation makes it.
func BenchmarkOPc(b *testing.B) {
	v := vectors(b)[0]
	dst := make([]byte, 0, 16)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := AppendOPc(dst, v.K, v.OP); err != nil {
			b.Fatal(err)
		}
	}
}
