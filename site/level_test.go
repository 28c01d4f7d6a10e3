package site

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLevels(t *testing.T) {
	rule := Disk{Enough: 4096}.withDefaults()
	const gib = 1 << 30
	for name, c := range map[string]struct {
		v    volume
		was  level
		want level
	}{
		"empty":                        {volume{total: 100 * gib, free: 99 * gib}, ample, ample},
		"a fifth":                      {volume{total: 10 * gib, free: 2 * gib}, ample, ample},
		"less than a fifth":            {volume{total: 10 * gib, free: 2*gib - 1<<20}, ample, low},
		"a fifth, and was less":        {volume{total: 10 * gib, free: 2 * gib}, low, low},
		"a little more, and was less":  {volume{total: 10 * gib, free: 22 * gib / 10}, low, ample},
		"less than a twentieth":        {volume{total: 10 * gib, free: gib/2 - 1<<20}, low, full},
		"a twentieth, and was less":    {volume{total: 10 * gib, free: 52 * gib / 100}, full, full},
		"more, and was less":           {volume{total: 10 * gib, free: gib}, full, low},
		"nothing":                      {volume{total: 10 * gib}, ample, full},
		"one percent that is enough":   {volume{total: 1000 * gib, free: 10 * gib}, ample, ample},
		"one percent that is not":      {volume{total: 300 * gib, free: 3 * gib}, ample, full},
		"no files left":                {volume{total: 10 * gib, free: 9 * gib, files: 1000, left: 10}, ample, full},
		"few files left":               {volume{total: 10 * gib, free: 9 * gib, files: 1000, left: 100}, ample, low},
		"read-only, and empty besides": {volume{total: 10 * gib, free: 9 * gib, readOnly: true}, ample, readOnly},
		"written again":                {volume{total: 10 * gib, free: 9 * gib}, readOnly, ample},
	} {
		if got := c.v.level(rule, c.was); got != c.want {
			t.Errorf("%s: level %d, want %d", name, got, c.want)
		}
	}
}

func TestDiskRulesRefused(t *testing.T) {
	for name, d := range map[string]Disk{
		"stop above warn": {Warn: 5, Stop: 20}, "the same": {Warn: 5, Stop: 5}, "nearly all": {Warn: 95}, "below nothing": {Stop: -1},
		"no reserve": {Reserve: -1}, "reserve of a disk": {Reserve: 5000}, "never enough": {Enough: -1},
	} {
		if err := d.check(); err == nil || !strings.HasPrefix(err.Error(), "disk: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (Disk{}).check(); err != nil {
		t.Error(err)
	}
	for _, leap := range []int{-1, 2, 86401} {
		if err := (Time{leap}).check(); err == nil {
			t.Errorf("a leap of %d s", leap)
		}
	}
}

// TestReserve: it is real blocks, is not made where there is no room, and is not
// made twice.
func TestReserve(t *testing.T) {
	dir := t.TempDir()
	v := volume{total: 1 << 30, free: 1 << 30}
	d := &disks{rule: Disk{Reserve: 3}.withDefaults(), reserve: filepath.Join(dir, "reserve"), ask: func(string) (volume, error) { return v, nil }}
	there := func() int64 {
		t.Helper()
		if err := d.keepReserve(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(d.reserve)
		if err != nil {
			return 0
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
		return info.Size()
	}
	v.free = 5 << 20
	if n := there(); n != 0 {
		t.Errorf("a reserve of %d bytes, and there is hardly room", n)
	}
	v.free = v.total
	if n := there(); n != 3<<20 {
		t.Errorf("the reserve has %d bytes", n)
	}
	if !d.giveReserve(time.Now()) || d.giveReserve(time.Now()) {
		t.Error("the reserve is given up once")
	}
	v.total, v.free = 20<<20, 20<<20
	if n := there(); n != 1<<20 {
		t.Errorf("the reserve of a small disk has %d bytes, want a twentieth", n)
	}
	f, err := os.Create(filepath.Join(dir, "zeros"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := fill(f, 2<<20+5); err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != 2<<20+5 {
		t.Errorf("filled %v, %v", info, err)
	}
}
