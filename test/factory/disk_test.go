package factory

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ankan/audit"
	"ankan/demo"
	"ankan/factory"
	"ankan/perso"
	"ankan/plant"
	"ankan/site"
)

// mounts says that the tests run in a mount namespace of their own.
const mounts = "ANKAN_TEST_MOUNTS"

// inMounts runs the test again in a mount namespace of its own, where it may
// mount what it likes. It reports false to the test outside, which is over then.
func inMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(mounts) != "" {
		return true
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Fatal("unshare is missing; install the package util-linux")
	}
	args := []string{"--mount"}
	if os.Getuid() != 0 {
		args = append(args, "--map-root-user")
	}
	self := must[string](t)(os.Executable())
	cmd := exec.CommandContext(t.Context(), unshare, append(args, self, "-test.run", "^"+t.Name()+"$", "-test.timeout", "5m", "-test.v")...)
	cmd.Env = append(os.Environ(), mounts+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in a mount namespace: %v", err)
	}
	return false
}

// A disk is a small file system that can be full.
type disk struct {
	t   *testing.T
	dir string
}

// onto moves a folder of a site onto a disk of its own, of so many MiB, and starts
// the site again.
func (w *works) onto(name, dir string, mebibytes int) *disk {
	t := w.t
	t.Helper()
	w.stop(name)
	os.Remove(filepath.Join(dir, "reserve")) // a disk that is smaller has a smaller one
	// The folder is never away: the other sites read this one's card in it.
	made := dir + ".disk"
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.Mkdir(made, 0o700), unix.Mount("ankan", made, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", mebibytes))); err != nil {
		t.Fatalf("a small disk at %s: %v", made, err)
	}
	if out, err := exec.Command("cp", "-a", dir+"/.", made).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := errors.Join(unix.Mount(made, dir, "", unix.MS_BIND, ""), unix.Unmount(made, unix.MNT_DETACH)); err != nil {
		t.Fatalf("a small disk at %s: %v", dir, err)
	}
	t.Cleanup(func() {
		w.stop(name)
		unix.Unmount(dir, unix.MNT_DETACH)
	})
	w.start(name)
	return &disk{t, dir}
}

func (d *disk) ballast() string { return filepath.Join(d.dir, "ballast") }

// fill leaves not a byte. It takes what is free when it looks, and not what a
// site gives up when it finds the disk full.
func (d *disk) fill() {
	d.t.Helper()
	f := must[*os.File](d.t)(os.OpenFile(d.ballast(), os.O_CREATE|os.O_WRONLY, 0o600))
	defer f.Close()
	left := func() int64 {
		var st unix.Statfs_t
		if err := unix.Statfs(d.dir, &st); err != nil {
			d.t.Fatal(err)
		}
		return int64(st.Bavail) * st.Bsize
	}
	size, most := int64(0), left()
	for range 100 { // others write meanwhile
		n := min(left(), most-size)
		if n <= 0 {
			return
		}
		switch err := unix.Fallocate(int(f.Fd()), 0, size, n); {
		case err == nil:
			size += n
		case !errors.Is(err, unix.ENOSPC):
			d.t.Fatal(err)
		}
	}
}

func (d *disk) free() {
	if err := os.Remove(d.ballast()); err != nil {
		d.t.Error(err)
	}
}

// condition waits until a site has a condition, or none of its kind.
func (w *works) condition(name, kind string, there bool) site.Condition {
	w.t.Helper()
	var c site.Condition
	until(w.t, fmt.Sprintf("%s: %s %t", name, kind, there), func() bool {
		var st site.Status
		if err := w.Clients[name].Get(w.ctx, "/status", &st); err != nil {
			return false
		}
		i := slices.IndexFunc(st.Conditions, func(c site.Condition) bool { return c.Kind == kind })
		if i >= 0 {
			c = st.Conditions[i]
		}
		return i >= 0 == there
	})
	return c
}

// ended checks the books of a journey in which disks were full.
func (w *works) ended(sum demo.Summary, cards int) {
	w.t.Helper()
	if sum.Loaded != cards || !sum.Destroyed {
		w.t.Errorf("%+v", sum)
	}
	if r := w.balanced(factory.Works{}); r.Certified != 1 || r.Cards != cards {
		w.t.Errorf("%+v", r)
	}
}

// logged is the entries of a kind in a site's log. The site runs.
func (w *works) logged(name, kind string) (all []audit.Entry) {
	w.t.Helper()
	for _, e := range w.log(name) {
		if e.Kind == kind {
			all = append(all, e)
		}
	}
	return all
}

// hook does something while the journey goes on, and is waited for at its end.
func (w *works) hook(f func()) (begin func()) {
	done := make(chan struct{})
	w.t.Cleanup(func() { <-done })
	return func() {
		go func() {
			defer close(done)
			f()
		}()
	}
}

// TestR14_LogAndDatabase fills the disk of the bureau's log and database to its
// last byte, as an order comes and again as it is released. The order waits, keys
// are not drawn, the log says why, and all goes on by itself.
func TestR14_LogAndDatabase(t *testing.T) {
	t.Parallel()
	if !inMounts(t) {
		return
	}
	const cards = 20
	w := start(t, options{cards: cards})
	d := w.onto(demo.Bureau, w.Configs[demo.Bureau].Data, 64)
	reserve := filepath.Join(d.dir, "reserve")
	there := func() bool { _, err := os.Stat(reserve); return err == nil }
	full := func(meanwhile func()) {
		d.fill()
		c := w.condition(demo.Bureau, site.DiskFull, true)
		if !c.Stops || !strings.Contains(c.Text, "no new work begins") {
			t.Errorf("%+v", c)
		}
		until(t, "the reserve given up", func() bool { return !there() })
		meanwhile()
		d.free()
		w.condition(demo.Bureau, site.DiskFull, false)
	}
	sum := w.journey(map[string]func(){
		stageOrder: func() {
			until(t, "the reserve", there)
			go full(func() {
				// At the operator, whose sender is told; or here, if it came before.
				until(t, "an order that waits", func() bool {
					in, err := filepath.Glob(filepath.Join(d.dir, "spool", "in", "operator", "*.inp.pgp.json"))
					return err == nil && len(in) > 0 || slices.ContainsFunc(w.logged(demo.Operator, "transfer.broken"), func(e audit.Entry) bool {
						return strings.Contains(fmt.Sprint(e.Data["text"]), "try later")
					})
				})
				if n := len(w.logged(demo.Bureau, "order.accepted")); n != 0 {
					t.Errorf("%d orders were taken in while the disk was full", n)
				}
			})
			w.condition(demo.Bureau, site.DiskFull, true)
		},
		stageRelease: func() {
			go full(func() {
				until(t, "a released order that waits", func() bool {
					for _, o := range w.orders(demo.Bureau) {
						if strings.Contains(w.view(demo.Bureau, o.ID).Waiting, site.ErrStopped.Error()) {
							return true
						}
					}
					return false
				})
			})
			w.condition(demo.Bureau, site.DiskFull, true)
		},
	})
	until(t, "the reserve again", there)
	if n, m := len(w.logged(demo.Bureau, "disk.full")), len(w.logged(demo.Bureau, "disk.recovered")); n != 2 || m != 2 {
		t.Errorf("the log says %d times that the disk was full, %d times that it has room", n, m)
	}
	w.ended(sum, cards)
}

// TestR14_Line fills the plant's disk while it makes cards. Those that are begun
// come to their end, no other begins, none is in doubt, and the line goes on when
// there is room.
func TestR14_Line(t *testing.T) {
	t.Parallel()
	if !inMounts(t) {
		return
	}
	const cards = 400
	w := start(t, options{cards: cards})
	d := w.onto(demo.Plant, w.Configs[demo.Plant].Data, 64)
	sum := w.journey(map[string]func(){
		stageLine: w.hook(func() {
			view := func() (v plant.RunView) {
				runs := []perso.Run{}
				if w.Clients[demo.Plant].Get(w.ctx, "/runs", &runs) == nil && len(runs) == 1 {
					w.Clients[demo.Plant].Get(w.ctx, "/runs/"+runs[0].Order, &v)
				}
				return v
			}
			until(t, "some cards", func() bool { return view().Counts.Good > 10 })
			d.fill()
			var v plant.RunView
			until(t, "a line that waits", func() bool { v = view(); return strings.Contains(v.Waiting, site.ErrStopped.Error()) })
			c := v.Counts
			if c.Good == cards || c.Doubt != 0 || c.Good+c.Waiting != cards {
				t.Errorf("the line waits with %+v", c)
			}
			if again := view().Counts; again.Good != c.Good {
				t.Errorf("cards are made while the disk is full: %d, then %d", c.Good, again.Good)
			}
			d.free()
		}),
	})
	w.ended(sum, cards)
}

// TestR14_Spool fills the disk of the bureau's spool alone. Partners' files are
// not taken, which their senders are told, nothing is lost, and all goes on by
// itself.
func TestR14_Spool(t *testing.T) {
	t.Parallel()
	if !inMounts(t) {
		return
	}
	const cards = 20
	w := start(t, options{cards: cards})
	d := w.onto(demo.Bureau, w.Configs[demo.Bureau].SpoolDir(), 24)
	sum := w.journey(map[string]func(){
		stageOrder: func() {
			d.fill()
			w.condition(demo.Bureau, site.DiskFull, true)
			go func() {
				until(t, "the operator's sender to be told", func() bool {
					return slices.ContainsFunc(w.logged(demo.Operator, "transfer.broken"), func(e audit.Entry) bool {
						return strings.Contains(fmt.Sprint(e.Data["text"]), "try later")
					})
				})
				d.free()
			}()
		},
	})
	for _, kind := range []string{"disk.full", "disk.recovered"} {
		if len(w.logged(demo.Bureau, kind)) == 0 {
			t.Errorf("the log says nothing of %s", kind)
		}
	}
	w.ended(sum, cards)
}

// TestR14_Held makes the disk on which the operator keeps responses one that can
// only be read, for a while, and then fills it. The response waits, in the spool,
// and is taken when there is room.
func TestR14_Held(t *testing.T) {
	t.Parallel()
	if !inMounts(t) {
		return
	}
	const cards = 20
	w := start(t, options{cards: cards})
	d := w.onto(demo.Operator, w.Configs[demo.Operator].Path("held"), 4)
	sum := w.journey(map[string]func(){
		stageRelease: func() {
			remount := func(flags uintptr) {
				if err := unix.Mount("ankan", d.dir, "tmpfs", unix.MS_REMOUNT|flags, ""); err != nil {
					t.Error(err)
				}
			}
			remount(unix.MS_RDONLY)
			c := w.condition(demo.Operator, site.DiskReadOnly, true)
			if !c.Stops || !strings.Contains(c.Next, "mount it for writing") {
				t.Errorf("%+v", c)
			}
			order := strings.NewReader("no order")
			if err := w.Clients[demo.Operator].Send(w.ctx, "/orders?name=late.inp", order, nil); err == nil || !strings.Contains(err.Error(), "can only be read") {
				t.Errorf("a new order while the disk can only be read: %v", err)
			}
			remount(0)
			w.condition(demo.Operator, site.DiskReadOnly, false)
		},
		stageLine: func() { d.fill() },
		stageResponse: w.hook(func() {
			until(t, "a response that waits", func() bool {
				in, err := filepath.Glob(filepath.Join(w.Configs[demo.Operator].SpoolDir(), "in", "bureau", "*.out.pgp.json"))
				return err == nil && len(in) == 1
			})
			w.condition(demo.Operator, site.DiskFull, true)
			if n := len(w.logged(demo.Operator, "file.refused")); n != 0 {
				t.Error("the response was refused because there was no room for it")
			}
			d.free()
		}),
	})
	w.ended(sum, cards)
}

// TestReadOnlyFromTheStart: a site on a disk that can only be read says so and
// does not run.
func TestReadOnlyFromTheStart(t *testing.T) {
	t.Parallel()
	if !inMounts(t) {
		return
	}
	w := start(t, options{cards: 20})
	d := w.onto(demo.Bureau, w.Configs[demo.Bureau].Data, 64)
	w.stop(demo.Bureau)
	if err := unix.Mount("ankan", d.dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := w.run(demo.Bureau); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("it started, or says %v", err)
	}
	if err := unix.Mount("ankan", d.dir, "tmpfs", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	w.start(demo.Bureau)
	w.condition(demo.Bureau, site.DiskFull, false)
}
