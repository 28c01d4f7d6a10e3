package simulate

import (
	"os"
	"testing"
	"time"
)

func TestBase(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "sim")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	at := time.Now()
	b, err := NewBase(t.Context(), dir+"/base")
	if err != nil {
		t.Fatal(err)
	}
	t.Log("base", time.Since(at))
	at = time.Now()
	if err := b.copyTo(dir + "/run"); err != nil {
		t.Fatal(err)
	}
	t.Log("copy", time.Since(at))
	at = time.Now()
	w, err := b.world(t.Context(), dir+"/run", discard())
	if err != nil {
		t.Fatal(err)
	}
	t.Log("open", time.Since(at))
	at = time.Now()
	if err := w.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Log("settle", time.Since(at))
	at = time.Now()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	t.Log("close", time.Since(at))
}
