package hlr

import (
	"testing"
)

// Subscribers from sealed records to rows on disk, in chunks.
func BenchmarkLoad(b *testing.B) {
	f := newFactory(b)
	const n = 2 * chunkRows
	next := 0
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		records := f.records(b, 1, next, n)
		next += n
		b.StartTimer()
		if _, err := f.load(b, source(), records); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "subscribers/s")
}

// One request for 5 vectors, its sequence numbers durable first.
func BenchmarkVectors(b *testing.B) {
	f := loaded(b, 1000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		f.vectors(b, i%1000, 5)
	}
}

// The same from many at one time: they share commits.
func BenchmarkVectorsParallel(b *testing.B) {
	f := loaded(b, 1000)
	b.SetParallelism(64)
	b.RunParallel(func(p *testing.PB) {
		for i := 0; p.Next(); i++ {
			imsi, _ := name(b, i%1000)
			if _, err := f.auc.Vectors(b.Context(), imsi, 5); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}
