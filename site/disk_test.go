package site_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ankan/audit"
	"ankan/notice"
	"ankan/parts"
	"ankan/site"
	"ankan/site/sitetest"
)

// TestDiskWatch has the disk go short and recover, and looks at what people are
// told, what waits, and what the log says.
func TestDiskWatch(t *testing.T) {
	_, maker, clock, _ := timed(t)
	s := maker.Site
	const gib = int64(1 << 30)
	free, total, readOnly := 9*gib, 10*gib, false
	site.FakeDisk(s, func() (int64, int64, bool) { return free, total, readOnly })
	turn := func() {
		t.Helper()
		clock.elapsed += 2 * time.Second
		clock.now = clock.now.Add(2 * time.Second)
		maker.turn()
	}
	kinds := func() (all []string) {
		for _, e := range sitetest.Must[[]audit.Entry](t)(s.Store().Entries(t.Context(), 0, int(s.Store().Size()))) {
			if strings.HasPrefix(e.Kind, "disk.") {
				all = append(all, e.Kind)
			}
		}
		return all
	}
	reserve := func() bool {
		_, err := os.Stat(s.Config().Path("reserve"))
		return err == nil
	}
	turn()
	if c := s.Conditions(); len(c) != 0 || s.MayBegin() != nil || !reserve() || len(kinds()) != 0 {
		t.Fatalf("at first: %+v, reserve %t, log %v", c, reserve(), kinds())
	}
	free = gib
	turn()
	c := s.Conditions()
	if len(c) != 1 || c[0].Kind != site.DiskLow || c[0].Stops || s.MayBegin() != nil {
		t.Fatalf("low: %+v", c)
	}
	free = gib / 10
	turn()
	turn() // said once
	c = s.Conditions()
	if len(c) != 1 || c[0].Kind != site.DiskFull || !c[0].Stops || !strings.Contains(c[0].Text, "102 MiB of 10 GiB free") {
		t.Fatalf("full: %+v", c)
	}
	if err := s.MayBegin(); !errors.Is(err, site.ErrStopped) || !strings.Contains(err.Error(), "Free space or grow the volume") {
		t.Errorf("new work: %v", err)
	}
	// What was under way and can be left is left, by its context.
	may, end := s.WhileMay(t.Context())
	<-may.Done()
	if err := context.Cause(may); !errors.Is(err, site.ErrStopped) {
		t.Errorf("work is left because of %v", err)
	}
	end()
	if !reserve() {
		t.Error("the reserve was given up with 102 MiB free")
	}
	free = 10 << 20
	turn()
	if reserve() {
		t.Error("the reserve is kept, and hardly anything else is free")
	}
	readOnly = true
	turn()
	if c := s.Conditions(); len(c) != 1 || c[0].Kind != site.DiskReadOnly || !c[0].Stops {
		t.Errorf("read-only: %+v", c)
	}
	free, readOnly = 9*gib, false
	turn()
	turn()
	if c := s.Conditions(); len(c) != 0 || s.MayBegin() != nil || !reserve() {
		t.Errorf("at last: %+v, reserve %t", c, reserve())
	}
	if got, want := kinds(), []string{"disk.low", "disk.full", "disk.read-only", "disk.recovered"}; !slices.Equal(got, want) {
		t.Errorf("the log has %v, want %v", got, want)
	}
	told := sitetest.Must[[]notice.Notice](t)(s.Board().For(t.Context(), "0002", true, 10))
	if len(told) != 4 || !strings.Contains(told[2].Text, "no new work begins") || !strings.Contains(told[0].Text, "has room again") {
		t.Errorf("the security officer is told %+v", told)
	}
}

// TestStopped: while the disk is full, files that begin new work wait, others are
// taken.
func TestStopped(t *testing.T) {
	op, maker := sitetest.Pair(t, append(parts.All(), does(site.Duties{}))...)
	site.FakeDisk(maker, func() (int64, int64, bool) { return 1 << 20, 1 << 30, false })
	sitetest.Must[bool](t)(maker.Turn(t.Context()))
	err := sitetest.Message(t, op, maker, "o-1.inp.pgp", "no order")
	if !errors.Is(err, site.ErrStopped) {
		t.Errorf("an order: %v", err)
	}
	var r *site.Refusal
	if err := sitetest.Message(t, op, maker, "o-1.ack.pgp", "no ack"); !errors.As(err, &r) {
		t.Errorf("an acknowledgement: %v", err)
	}
	site.FakeDisk(maker, func() (int64, int64, bool) { return 1 << 30, 1 << 30, false })
	if err := sitetest.Hand(t, op, maker, "o-1.inp.pgp"); !errors.As(err, &r) || !strings.Contains(err.Error(), "o-1.inp.pgp:1:1: ") {
		t.Errorf("what is no order is not read, when there is room again: %v", err)
	}
}
