package soft_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/hsm/soft"
)

func TestConformance(t *testing.T) {
	hsmtest.Run(t, func(t *testing.T) hsm.Module { return hsmtest.Soft(t, nil) })
}

// every calls every method of a token.
func every(t *soft.Token) map[string]error {
	ctx := context.Background()
	errs := map[string]error{"Random": t.Random(make([]byte, 1))}
	errs["Check"] = t.Check(ctx)
	_, errs["Generate"] = t.Generate(ctx, "x", hsm.Order, hsm.AES256)
	_, errs["Key"] = t.Key(ctx, "x")
	_, errs["Keys"] = t.Keys(ctx)
	_, errs["Destroyed"] = t.Destroyed(ctx)
	errs["Destroy"] = t.Destroy(ctx, "x")
	_, errs["Signer"] = t.Signer(ctx, "x")
	_, errs["MAC"] = t.MAC(ctx, "x")
	_, _, errs["NewDataKey"] = t.NewDataKey(ctx, "x")
	_, errs["OpenDataKey"] = t.OpenDataKey(ctx, "x", nil)
	_, errs["GiveDataKey"] = t.GiveDataKey(ctx, "x", nil, nil, "label")
	_, errs["TakeDataKey"] = t.TakeDataKey(ctx, "x", nil, "label", "x")
	_, errs["GiveKey"] = t.GiveKey(ctx, "x", nil, "label")
	_, errs["TakeKey"] = t.TakeKey(ctx, "x", nil, "label", "y", hsm.Transport, hsm.AES256)
	errs["SealColumn"] = t.SealColumn(ctx, "x", nil, nil)
	_, errs["Translate"] = t.Translate(ctx, "x", nil, 16, nil, nil)
	_, errs["ChipKeys"] = t.ChipKeys(ctx, "x", nil)
	_, errs["OP"] = t.OP(ctx, "x")
	_, errs["Decrypter"] = t.Decrypter(ctx, "x")
	errs["CheckComponent"] = t.CheckComponent(ctx, "x", hsm.Component{})
	_, errs["Combine"] = t.Combine(ctx, "x", nil, "y", hsm.Transport, hsm.AES256, hsm.KCV{})
	_, errs["Split"] = t.Split(ctx, "x", "set", hsm.GP, nil)
	_, _, errs["GenerateShared"] = t.GenerateShared(ctx, "x", hsm.Transport, hsm.AES256, "set", 2, nil)
	errs["CheckShare"] = t.CheckShare(ctx, "x", hsm.Share{})
	_, errs["Restore"] = t.Restore(ctx, "x", nil, "y", hsm.Transport, hsm.AES256)
	_, errs["Export"] = t.Export(ctx, "x", hsm.Wrapping{Format: hsm.KW, Key: "y"})
	_, errs["Import"] = t.Import(ctx, nil, hsm.Wrapping{Format: hsm.KW, Key: "y"}, "z", hsm.Transport, hsm.AES256)
	_, errs["Rewrap"] = t.Rewrap(ctx, "x", nil, "y")
	return errs
}

func TestClosed(t *testing.T) {
	closed := hsmtest.Soft(t, nil)
	ctx := context.Background()
	if _, err := closed.Generate(ctx, "site", hsm.SiteSign, hsm.Ed25519); err != nil {
		t.Fatal(err)
	}
	signer, err := closed.Signer(ctx, "site")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := closed.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := signer.Sign(nil, []byte("message"), nil); !errors.Is(err, hsm.ErrClosed) {
		t.Errorf("signer: %v, want ErrClosed", err)
	}
	for name, token := range map[string]*soft.Token{"closed": closed, "zero": {}, "nil": nil} {
		for method, err := range every(token) {
			if !errors.Is(err, hsm.ErrClosed) {
				t.Errorf("%s token: %s: %v, want ErrClosed", name, method, err)
			}
		}
		if i := token.Info(); i.Certified || i.Certificate != "not certified" {
			t.Errorf("%s token says %+v", name, i)
		}
		if err := token.Close(); err != nil {
			t.Errorf("%s token: Close: %v", name, err)
		}
	}
}

// pattern is a source that repeats one byte.
type pattern byte

func (p pattern) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(p)
	}
	return len(b), nil
}

func TestPlantedRandom(t *testing.T) {
	token := hsmtest.Soft(t, pattern(0xA7))
	got := make([]byte, 4)
	if err := token.Random(got); err != nil || !bytes.Equal(got, []byte{0xA7, 0xA7, 0xA7, 0xA7}) {
		t.Errorf("%x, %v", got, err)
	}
	k, err := token.Generate(context.Background(), "k4", hsm.Transport, hsm.AES128)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hsm.AESKCV(hsm.GP, bytes.Repeat([]byte{0xA7}, 16))
	if err != nil {
		t.Fatal(err)
	}
	if same, err := k.KCV.Matches(want); !same || err != nil {
		t.Errorf("KCV %v, %v, want %v", k.KCV, err, want)
	}
}

// What a source cannot give is an error, not zeros.
func TestRandomEnds(t *testing.T) {
	token := hsmtest.Soft(t, bytes.NewReader(make([]byte, 8)))
	if _, err := token.Generate(context.Background(), "k4", hsm.Transport, hsm.AES128); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v, want unexpected EOF", err)
	}
	if _, err := token.Key(context.Background(), "k4"); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("%v, want ErrNoKey", err)
	}
}

func generate(b testing.TB, t hsm.Token, id string, p hsm.Purpose, a hsm.Algorithm) {
	b.Helper()
	if _, err := t.Generate(context.Background(), id, p, a); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkSealColumn(b *testing.B) {
	for _, a := range []hsm.Algorithm{hsm.AES128, hsm.AES256} {
		b.Run(string(a), func(b *testing.B) {
			token := hsmtest.Soft(b, nil)
			generate(b, token, "k4", hsm.Transport, a)
			column := make([]byte, 32<<10)
			ctx := context.Background()
			b.ReportAllocs()
			b.SetBytes(int64(len(column)))
			for b.Loop() {
				if err := token.SealColumn(ctx, "k4", column, column); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTranslate is a block of 1,000 cards: Ki and OPc.
func BenchmarkTranslate(b *testing.B) {
	token := hsmtest.Soft(b, nil)
	generate(b, token, "k4", hsm.Transport, hsm.AES256)
	generate(b, token, "auc", hsm.Subscriber, hsm.AES256)
	ctx := context.Background()
	dk, _, err := token.NewDataKey(ctx, "auc")
	if err != nil {
		b.Fatal(err)
	}
	column, aad := make([]byte, 1000*32), make([]byte, 16)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := token.Translate(ctx, "k4", column, 32, dk, func(int) []byte { return aad }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/card")
}

func BenchmarkMAC(b *testing.B) {
	token := hsmtest.Soft(b, nil)
	generate(b, token, "ledger", hsm.Ledger, hsm.HMAC256)
	ctx, message := context.Background(), make([]byte, 16)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := token.MAC(ctx, "ledger", message); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCombine is three components of AES-256, opened, checked, combined
// and kept.
func BenchmarkCombine(b *testing.B) {
	token := hsmtest.Soft(b, nil)
	ctx := context.Background()
	agree, err := token.Generate(ctx, "agree", hsm.Agree, hsm.P521)
	if err != nil {
		b.Fatal(err)
	}
	var parts []hsm.Component
	for i := range 3 {
		part := make([]byte, 32)
		if err := token.Random(part); err != nil {
			b.Fatal(err)
		}
		c := hsm.Component{Set: "set", Index: i + 1, Of: 3, Holder: fmt.Sprint(1001 + i), Algorithm: hsm.AES256}
		if c, err = c.Seal(agree.Public, hsm.GP, part); err != nil {
			b.Fatal(err)
		}
		parts = append(parts, c)
	}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		if _, err := token.Combine(ctx, "agree", parts, fmt.Sprint("k4/", n), hsm.Transport, hsm.AES256, hsm.KCV{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	token := hsmtest.Soft(b, nil)
	n := 0
	for b.Loop() {
		n++
		generate(b, token, fmt.Sprint("order/", n), hsm.Order, hsm.AES256)
	}
}

// Everything at once, and a Close in the middle: what runs ends well or is
// refused, and never works with a wiped key.
func TestTogether(t *testing.T) {
	token := hsmtest.Soft(t, nil)
	generate(t, token, "k4", hsm.Transport, hsm.AES256)
	generate(t, token, "lot", hsm.Lot, hsm.AES256)
	generate(t, token, "ledger", hsm.Ledger, hsm.HMAC256)
	ctx := context.Background()
	want, err := token.MAC(ctx, "ledger", []byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	refused := func(err error) bool {
		if err != nil && !errors.Is(err, hsm.ErrClosed) && !errors.Is(err, hsm.ErrNoKey) {
			t.Error(err)
		}
		return err != nil
	}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			column := make([]byte, 1024)
			for i := range 1000 {
				id := fmt.Sprint(worker, "/", i)
				_, err := token.Generate(ctx, id, hsm.Order, hsm.AES256)
				if refused(err) || refused(token.SealColumn(ctx, "k4", column, column)) || refused(token.Destroy(ctx, id)) {
					return
				}
			}
		})
		wg.Go(func() {
			for {
				mac, err := token.MAC(ctx, "ledger", []byte("m"))
				if refused(err) {
					return
				}
				if mac != want {
					t.Errorf("MAC %x, want %x", mac, want)
				}
				if _, err := token.ChipKeys(ctx, "lot", []byte("serial")); refused(err) {
					return
				}
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	if err := token.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}
