package simulate

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

func TestSome(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "sim")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	b, err := NewBase(t.Context(), dir+"/base")
	if err != nil {
		t.Fatal(err)
	}
	runs, _ := strconv.Atoi(os.Getenv("RUNS"))
	first, _ := strconv.Atoi(os.Getenv("FIRST"))
	total := Counts{}
	var tell func(string)
	if os.Getenv("TRACE") != "" {
		tell = func(s string) { fmt.Println(s) }
	}
	at := time.Now()
	bad := 0
	for n := first; n < first+max(runs, 1); n++ {
		run := fmt.Sprint(dir, "/run", n)
		c, err := b.Run(t.Context(), 1, n, run, tell)
		total.Add(c)
		if err != nil {
			bad++
			t.Errorf("%d: %v", n, err)
			if f, ok := err.(*Failure); ok && runs <= 1 {
				for _, w := range f.What {
					t.Log(w)
				}
				out, _ := os.ReadFile(run + "/sites.log")
				if len(out) > 6000 {
					out = out[len(out)-6000:]
				}
				t.Logf("%s", out)
			}
		}
		os.RemoveAll(run)
	}
	t.Log(time.Since(at), "bad", bad)
	for _, k := range sorted(total) {
		t.Log(k, total[k])
	}
}
