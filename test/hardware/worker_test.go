//go:build cgo

package hardware

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ankan/datagen"
	"ankan/examples"
	"ankan/hsm"
	"ankan/message"
	"ankan/order"
	"ankan/profile"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/store"
)

const workerConfig = "ANKAN_TEST_HARDWARE_WORKER"

// TestMain lets a test start this program as a worker, which logs in by itself.
func TestMain(m *testing.M) {
	path := os.Getenv(workerConfig)
	if path == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c, err := site.LoadWorker(path)
	if err == nil {
		err = site.RunWorker(ctx, c, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A worker with a login of its own at the HSM draws the orders of a site that
// leaves it to workers, with keys that the site makes while the worker is logged
// in.
func TestWorker(t *testing.T) {
	t.Setenv("ANKAN_TEST_DATABASE", "postgres")
	b := found(t)
	b.stop()
	b.config.Drawing = site.DrawWorkers
	b.start()
	dir := filepath.Dir(b.config.Data)
	doc := fmt.Sprintf("site: maker\nname: second\ndatabase: {url: %q}\ntoken: {pkcs11: {module: %s, token: %s, pin: token.pin}}\n", b.config.Database(), softHSM, label)
	path := filepath.Join(dir, "worker.yaml")
	b.must(os.WriteFile(path, []byte(doc), 0o600))
	self := sitetest.Must[string](t)(os.Executable())
	w := exec.Command(self)
	w.Env = append(os.Environ(), workerConfig+"="+path)
	var said bytes.Buffer
	w.Stderr = &said
	b.must(w.Start())
	defer func() {
		if w.ProcessState == nil {
			_ = w.Process.Kill()
			_ = w.Wait()
		}
		if t.Failed() {
			t.Logf("the worker: %s", said.String())
		}
	}()

	for id, k := range map[string]struct {
		hsm.Purpose
		hsm.Algorithm
	}{message.TransportKey("op", 11): {hsm.Transport, hsm.AES256}, message.OPKey("op", 11): {hsm.Operator, hsm.AES128}} {
		sitetest.Must[hsm.Key](t)(b.site.Token().Generate(t.Context(), id, k.Purpose, k.Algorithm))
	}
	b.released("A1", 2500)
	b.await("A1", func() bool {
		o := sitetest.Must[order.Order](t)(order.Get(t.Context(), b.site.Store(), "A1"))
		return o.State == order.Generated || o.State == order.Offered
	})
	r := sitetest.Must[*datagen.Reader](t)(datagen.NewReader(t.Context(), b.site.Store(), b.site.Token(), "A1"))
	defer r.Close()
	seen := map[string]bool{}
	for k := range 2500 {
		rec := sitetest.Must[[]byte](t)(r.Record(t.Context(), nil, k))
		key := string(r.Batch.Profile.Layout().Of(rec, profile.SlotK))
		if _, err := datagen.Identity(r.Batch.Profile.Layout(), rec); err != nil || seen[key] {
			t.Fatalf("card %d: %v, its key seen before: %v", k, err, seen[key])
		}
		seen[key] = true
	}

	b.must(w.Process.Signal(syscall.SIGTERM))
	if err := w.Wait(); err != nil {
		t.Errorf("a worker that was told to stop: %v", err)
	}
	if strings.Contains(said.String(), userPIN) {
		t.Error("the worker tells the PIN")
	}
}

// released is an order that people released.
func (b *bureau) released(ord string, cards int) {
	b.Helper()
	in := sitetest.Must[*order.Input](b)(order.ParseInput("order.inp", bytes.NewReader(examples.Order())))
	text := sitetest.Must[[]byte](b)(in.WithQuantity(cards))
	staged := sitetest.Must[*order.Staged](b)(order.Reading{}.Stage(b.TempDir(), "order.inp", bytes.NewReader(text)))
	defer staged.Close()
	sealed := sitetest.Must[*order.SealedText](b)(order.SealText(b.Context(), b.site.Token(), ord, "kek/"+ord, staged))
	defer sealed.Close()
	o := order.Order{ID: ord, Partner: "op", Name: "order.inp", Batch: ord, Profile: in.Value(order.ProfileName), Quantity: cards, Transport: in.TransportKey(), State: order.Accepted, KEK: "kek/" + ord}
	ledger := sitetest.Must[*order.Ledger](b)(order.NewLedger(b.site.Token(), site.KeyLedger))
	b.must(ledger.Reserve(b.Context(), b.site.Store(), order.Holder{Order: ord, Operator: "op"}, staged.Identities()))
	sitetest.Change(b.T, b.site, func(tx *store.Tx) error {
		return errors.Join(order.Insert(tx, o), ledger.Accept(tx, ord), sealed.Put(tx, ord), order.Move(tx, ord, order.Accepted, order.Released))
	})
}

// await waits until it is so; it tells why the order waits if it never is.
func (b *bureau) await(ord string, so func() bool) {
	b.Helper()
	for until := time.Now().Add(time.Minute); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			b.Fatalf("order %s waits: %s", ord, b.site.Waiting("order "+ord))
		}
	}
}
