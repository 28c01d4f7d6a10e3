//go:build cgo

package pkcs11

import (
	"testing"

	"ankan/hsm"
	"ankan/hsm/hsmtest"
)

// each runs a benchmark with the embedded module and with SoftHSM, side by side.
func each(b *testing.B, run func(b *testing.B, m hsm.Module)) {
	for _, peer := range []struct {
		name string
		hsm.Module
	}{{"soft", hsmtest.Soft(b, nil)}, {"pkcs11", openToken(b, configure(newLabel(b)))}} {
		for id, p := range map[string]hsm.Purpose{"k4": hsm.Transport, "order": hsm.Order, "auc": hsm.Subscriber} {
			if _, err := peer.Generate(ctx, id, p, hsm.AES256); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(peer.name, func(b *testing.B) { run(b, peer.Module) })
	}
}

// A column of 65,536 Ki of 16 bytes, 1 MiB, in calls of 64 KiB.
func BenchmarkSealColumn(b *testing.B) {
	column := make([]byte, 1<<20)
	each(b, func(b *testing.B, m hsm.Module) {
		b.SetBytes(int64(len(column)))
		for b.Loop() {
			if err := m.SealColumn(ctx, "k4", column, column); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// The same column in a call for each card.
func BenchmarkSealColumnByCard(b *testing.B) {
	column := make([]byte, 1<<20)
	each(b, func(b *testing.B, m hsm.Module) {
		b.SetBytes(int64(len(column)))
		for b.Loop() {
			for i := 0; i < len(column); i += 16 {
				if err := m.SealColumn(ctx, "k4", column[i:i+16], column[i:i+16]); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// Records of 32 bytes from the transport key to the subscriber store's.
func BenchmarkTranslate(b *testing.B) {
	column := make([]byte, 1<<20)
	each(b, func(b *testing.B, m hsm.Module) {
		dk, _, err := m.NewDataKey(ctx, "auc")
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(column)))
		for b.Loop() {
			if _, err := m.Translate(ctx, "k4", column, 32, dk, func(int) []byte { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkNewDataKey(b *testing.B) {
	each(b, func(b *testing.B, m hsm.Module) {
		for b.Loop() {
			if _, _, err := m.NewDataKey(ctx, "order"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOpenDataKey(b *testing.B) {
	each(b, func(b *testing.B, m hsm.Module) {
		_, wrapped, err := m.NewDataKey(ctx, "order")
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := m.OpenDataKey(ctx, "order", wrapped); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// 64 KiB of random bytes.
func BenchmarkRandom(b *testing.B) {
	p := make([]byte, chunk)
	each(b, func(b *testing.B, m hsm.Module) {
		b.SetBytes(int64(len(p)))
		for b.Loop() {
			if err := m.Random(p); err != nil {
				b.Fatal(err)
			}
		}
	})
}
