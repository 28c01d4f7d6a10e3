package ceremony_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"

	"ankan/ceremony"
	"ankan/hsm"
	"ankan/keys"
	. "ankan/keys/keystest"
)

// revive is a room after a power cut: the site is opened from its disk, and goes
// on where it stopped.
func (r *room) revive(t *testing.T, image string) *room {
	t.Helper()
	n := &room{paper: maps.Clone(r.paper), owes: map[string]string{}, lands: "IN"}
	n.Site = r.Revive(t, image, n.opened)
	if err := n.runner.Resume(ctx()); err != nil && !strings.Contains(err.Error(), "its shares were lost") {
		t.Error(err)
	}
	return n
}

// images runs a ceremony and keeps the disk as it is before each of its events,
// and at its end: every moment at which the power may go, since nothing is on
// the disk but by an event.
func (r *room) images(doc string) []string {
	r.Helper()
	var all []string
	r.Before(func() { all = append(all, r.Image()) })
	r.run(doc)
	r.Before(nil)
	return append(all, r.Image())
}

// goOn holds a ceremony to its end, from wherever it stands.
func (r *room) goOn(id, doc string) error {
	r.Helper()
	c, err := r.runner.Get(ctx(), id)
	if errors.Is(err, ceremony.ErrNone) {
		id = r.draft(doc)
		c = r.get(id)
	}
	if c.State == ceremony.Drafted {
		if err := r.open(id); err != nil {
			return err
		}
	}
	if err := r.until(id, ceremony.None); !errors.Is(err, errEnd) {
		return err
	}
	return nil
}

// abort ends a ceremony, if it has begun and not ended.
func (r *room) abort(id string) {
	r.Helper()
	c, err := r.runner.Get(ctx(), id)
	if errors.Is(err, ceremony.ErrNone) || c.State == ceremony.Drafted || c.State == ceremony.Closed {
		return
	}
	r.Must(r.Do("ceremony.abort", "ceremony/"+id+"/the power was out", KeyManager))
	r.clean(id)
}

func (r *room) count(kind, subject string) (n int) {
	r.Helper()
	for _, e := range r.Entries() {
		if e.Kind == kind && e.Subject == subject {
			n++
		}
	}
	return n
}

// everywhere cuts the power at every moment of a ceremony, and then goes on: to
// its end in one life, to its abortion in another.
func everywhere(t *testing.T, r *room, id, doc string, finished, aborted func(t *testing.T, r *room, life string)) {
	images := r.images(doc)
	if len(images) < 40 {
		t.Fatalf("%d moments: the test does not see the ceremony", len(images))
	}
	t.Logf("%d moments", len(images))
	for i, image := range images {
		// The disk is copied again, for the other life.
		other := (&Site{TB: t, Dir: image}).Image()
		t.Run(fmt.Sprintf("%d finished", i), func(t *testing.T) {
			t.Parallel() // each waits for the disk
			n := r.revive(t, image)
			before := n.key("transport/op/11")
			err := n.goOn(id, doc)
			life := fmt.Sprint(err)
			if err == nil {
				n.clean(id)
				n.carriedOutOnce(id)
				n.transcript(id)
			}
			n.Verify()
			finished(t, n, life)
			// What was in use stays in use.
			if now := n.key("transport/op/11"); before.State == keys.Live && now.State != keys.Live && !strings.HasPrefix(id, "D") {
				t.Errorf("the key was %s and is %s", before.State, now.State)
			}
		})
		t.Run(fmt.Sprintf("%d aborted", i), func(t *testing.T) {
			t.Parallel()
			n := r.revive(t, other)
			n.abort(id)
			aborted(t, n, "")
		})
	}
}

// whole says whether a key is all of what it is to be, or nothing: in the module
// and in the register alike.
func (r *room) whole(id string) {
	r.Helper()
	k, there := r.key(id), r.inModule(id)
	switch k.State {
	case keys.Live:
		if !there {
			r.Errorf("key %s is in use, and not in the module", id)
		}
	case "", keys.Destroyed:
		if there {
			r.Errorf("key %s is %q, and in the module", id, k.State)
		}
	default:
		r.Errorf("key %s is %s in the end", id, k.State)
	}
}

func TestR19_PowerCutImport(t *testing.T) {
	r := newRoom(t, "bureau", Options{File: true})
	parts, value := components(3, 32)
	doc := plan("I-1", ceremony.ImportComponents, transport256+`, kcv: "`+kcv(t, hsm.CMAC, value).String()+`"`, r.parts(hsm.CMAC, parts...))
	everywhere(t, r, "I-1", doc, func(t *testing.T, r *room, life string) {
		if life != "<nil>" {
			t.Fatal(life)
		}
		r.whole("transport/op/11")
		r.is("transport/op/11", value)
		// No component was lost, so that it had to be entered again, and none was
		// joined twice.
		if n := r.count("ceremony.entered", "ceremony/I-1"); n != 3 {
			t.Errorf("%d components were entered", n)
		}
		if n := r.count("key.there", "key/transport/op/11"); n != 1 {
			t.Errorf("the key was made %d times", n)
		}
	}, func(t *testing.T, r *room, _ string) {
		r.whole("transport/op/11")
		if r.key("transport/op/11").State == keys.Live {
			r.is("transport/op/11", value)
		}
		r.holdsNone(parts...)
	})
}

func TestR19_PowerCutGenerate(t *testing.T) {
	r := newRoom(t, "bureau", Options{File: true})
	doc := plan("G-1", ceremony.Generate, transport256, backup2of3)
	var lost atomic.Int32
	t.Run("everywhere", func(t *testing.T) { powerCutGenerate(t, r, doc, &lost) })
	if n := lost.Load(); n == 0 || n > 2 {
		t.Errorf("the shares were lost at %d moments, want those between the module and the disk", n)
	}
}

func powerCutGenerate(t *testing.T, r *room, doc string, lost *atomic.Int32) {
	everywhere(t, r, "G-1", doc, func(t *testing.T, r *room, life string) {
		if life == "<nil>" {
			r.whole("transport/op/11")
			if want := "share 1 of 3, 1005, G-1; share 2 of 3, 1006, G-1; share 3 of 3, 1007, G-1"; !strings.HasSuffix(r.left("transport/op/11"), want) {
				t.Errorf("shares: %s", r.left("transport/op/11"))
			}
			return
		}
		// The power went after the module made the key and before its shares were
		// on the disk: the key is never used, and the ceremony can be aborted.
		lost.Add(1)
		if !strings.Contains(life, "names are used") && !strings.Contains(life, "a key with this name exists") || r.key("transport/op/11").State != keys.Destroyed {
			t.Errorf("%s; the key is %s", life, r.key("transport/op/11").State)
		}
		r.abort("G-1")
		r.whole("transport/op/11")
		if r.left("transport/op/11") != "" {
			t.Errorf("shares of nothing: %s", r.left("transport/op/11"))
		}
	}, func(t *testing.T, r *room, _ string) {
		r.whole("transport/op/11")
		if k := r.key("transport/op/11"); k.State != keys.Live && r.left("transport/op/11") != "" {
			t.Errorf("a key that is %q has %s", k.State, r.left("transport/op/11"))
		}
	})
}

func TestR19_PowerCutDestroy(t *testing.T) {
	r := newRoom(t, "op", Options{File: true})
	key := `name: transport/op/11, purpose: transport, algorithm: AES-256, partner: maker`
	r.run(plan("G-1", ceremony.Generate, key, backup2of3))
	_, err := r.Guard.Generate(ctx(), "kek", hsm.Exchange, hsm.AES256)
	r.Must(err)
	r.run(plan("E-1", ceremony.ExportWrapped, strings.Replace(key, "maker", "plant", 1), "wrap: {format: AES-KW, under: kek}"))
	everywhere(t, r, "D-1", destroyPlan("D-1", key), func(t *testing.T, r *room, life string) {
		if life != "<nil>" {
			t.Fatal(life)
		}
		r.whole("transport/op/11")
		if k := r.key("transport/op/11"); k.State != keys.Destroyed || r.left("transport/op/11") != "" {
			t.Errorf("it is %s, left: %s", k.State, r.left("transport/op/11"))
		}
	}, func(t *testing.T, r *room, _ string) {
		r.whole("transport/op/11")
		// Its erasure began: then it is gone, and so were its copies before.
		if k := r.key("transport/op/11"); k.State == keys.Destroyed && r.left("transport/op/11") != "" {
			t.Errorf("it went before %s", r.left("transport/op/11"))
		}
	})
}

// A rotation leaves the old key in use until the new one is confirmed.
func TestR19_PowerCutRotate(t *testing.T) {
	r := newRoom(t, "bureau", Options{File: true})
	r.run(plan("G-1", ceremony.Generate, transport256))
	doc := plan("T-1", ceremony.Rotate, `name: transport/op/12, purpose: transport, algorithm: AES-256, partner: op`, "old: transport/op/11")
	one := func(t *testing.T, r *room, life string) {
		old, new := r.key("transport/op/11"), r.key("transport/op/12")
		if old.State != keys.Live && new.State != keys.Live {
			t.Errorf("neither is in use: %s, %s", old.State, new.State)
		}
		if life == "<nil>" && (old.State != keys.Deactivated || new.State != keys.Live) {
			t.Errorf("in the end: %s, %s", old.State, new.State)
		}
		if life != "<nil>" && life != "" {
			t.Error(life)
		}
	}
	images := r.images(doc)
	for i, image := range images {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			n := r.revive(t, image)
			one(t, n, "")
			one(t, n, fmt.Sprint(n.goOn("T-1", doc)))
		})
	}
}
