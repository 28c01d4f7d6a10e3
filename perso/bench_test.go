package perso

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"ankan/profile"
)

// Cards from blank chips to good, read back and authenticated, with both
// commits: chips in this process, sixteen stations. cards/cpu-s is what a core
// does that waits for no disk; the chips' own work is in it.
func BenchmarkLine(b *testing.B) {
	for _, name := range profile.Builtins() {
		b.Run(name, func(b *testing.B) { benchmarkLine(b, name) })
	}
}

func benchmarkLine(b *testing.B, of string) {
	const cards = 500
	f := newPlant(b)
	f.as(of)
	n := 0
	var spent time.Duration
	for ; b.Loop(); n++ {
		b.StopTimer()
		ord := fmt.Sprintf("B%05d", n)
		f.batch(ord, cards, 0)
		f.tray = newTray()
		f.load(cards)
		before := cpu(b)
		b.StartTimer()
		f.must(f.run(b.Context(), ord, 16))
		spent += cpu(b) - before
	}
	s := float64(n) * cards / b.Elapsed().Seconds()
	b.ReportMetric(s, "cards/s")
	b.ReportMetric(s/float64(runtime.GOMAXPROCS(0)), "cards/s/core")
	b.ReportMetric(float64(n)*cards/spent.Seconds(), "cards/cpu-s")
	b.ReportMetric(float64(f.tray.sent)/cards, "APDUs/card")
}

// cpu is what this process has used of the cores so far.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
