package factory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ankan/audit"
	"ankan/datagen"
	"ankan/demo"
	"ankan/factory"
	"ankan/hsm"
	"ankan/order"
)

// TestAfterDestruction tries to get at an order that was destroyed, from
// backups that were made before, and to have it made again.
func TestAfterDestruction(t *testing.T) {
	t.Parallel()
	const cards = 20
	w := start(t, options{cards: cards, change: wide})
	backups := map[string]string{}
	var ciphertext, sealedBlock []byte
	var intercepted <-chan capture
	sum := w.journey(map[string]func(){
		stageOrder: func() { intercepted = w.intercept() },
		stageRelease: func() {
			c := <-intercepted
			if c.err != nil {
				t.Fatal(c.err)
			}
			ciphertext = c.file
		},
		stageDestruction: func() {
			for _, name := range []string{demo.Bureau, demo.Plant} {
				backups[name] = w.copied(name)
				sealedBlock = w.readable(t, name, backups[name])
			}
		},
	})
	for _, name := range []string{demo.Bureau, demo.Plant} {
		t.Run("backup of the "+name, func(t *testing.T) { w.unreadable(t, name, backups[name], sum.Order) })
		t.Run("database of the "+name, func(t *testing.T) { w.emptied(t, name, sealedBlock) })
	}
	t.Run("certificate", func(t *testing.T) { w.certificate(t, sum) })
	t.Run("made again", func(t *testing.T) { w.madeAgain(t, sum, ciphertext) })
}

// A capture is a file that was copied on its way.
type capture struct {
	file []byte
	err  error
}

// intercept has the bureau away until the order lies in the operator's spool,
// and copies it there. It returns at once, so that the journey goes on.
func (w *works) intercept() <-chan capture {
	w.stop(demo.Bureau)
	out := filepath.Join(w.Configs[demo.Operator].SpoolDir(), "out", demo.Bureau)
	done := make(chan capture, 1)
	go func() {
		var c capture
		for end := time.Now().Add(patience); len(c.file) == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			// The description is written last.
			if whole, _ := filepath.Glob(filepath.Join(out, "*.inp.pgp.json")); len(whole) == 1 {
				c.file, c.err = os.ReadFile(strings.TrimSuffix(whole[0], ".json") + ".data")
			}
		}
		c.err = errors.Join(c.err, w.run(demo.Bureau))
		done <- c
	}()
	return done
}

// readable shows that a backup can be read as long as the keys are there, so
// that it means something when it cannot.
func (w *works) readable(t *testing.T, name, path string) []byte {
	t.Helper()
	s := w.open(name, path)
	defer s.Close()
	ord := w.orders(demo.Bureau)[0].ID
	r := must[*datagen.Reader](t)(datagen.NewReader(w.ctx, s, w.tokens[name], ord))
	defer r.Close()
	must[[]byte](t)(r.Record(w.ctx, nil, 0))
	var sealed []byte
	if err := s.QueryRow(w.ctx, `SELECT sealed FROM block WHERE n = 0`).Scan(&sealed); err != nil {
		t.Fatal(err)
	}
	return sealed
}

func (w *works) unreadable(t *testing.T, name, path, ord string) {
	s := w.open(name, path)
	defer s.Close()
	if _, err := datagen.NewReader(w.ctx, s, w.tokens[name], ord); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("key sets: got %v, want %v", err, hsm.ErrNoKey)
	}
	if name != demo.Bureau {
		return
	}
	o := must[order.Order](t)(order.Get(w.ctx, s, ord))
	wrapped := must[hsm.Wrapped](t)(order.Wrapped(w.ctx, s, ord))
	if _, err := w.tokens[name].OpenDataKey(w.ctx, o.KEK, wrapped); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("order text: got %v, want %v", err, hsm.ErrNoKey)
	}
	if _, err := w.tokens[name].Generate(w.ctx, o.KEK, hsm.Order, hsm.AES256); !errors.Is(err, hsm.ErrKeyExists) {
		t.Errorf("the key's name again: got %v, want %v", err, hsm.ErrKeyExists)
	}
}

// emptied checks that rows and bytes are gone from the database's files.
func (w *works) emptied(t *testing.T, name string, sealed []byte) {
	for _, table := range []string{"block", "batch", "order_text", "order_identity"} {
		var n int
		if w.ask(name, `SELECT count(*) FROM `+table, &n); n != 0 {
			t.Errorf("%s has %d rows, want none", table, n)
		}
	}
	n := &factory.Secrets{}
	for at := 0; at+32 <= len(sealed); at += 997 {
		n.Text(fmt.Sprintf("sealed block from byte %d on", at), sealed[at:at+32])
	}
	if files, found, err := n.Search(nil, w.Configs[name].Data); err != nil || files < 10 || len(found) > 0 {
		t.Errorf("in %d files: %q, %v", files, found, err)
	}
}

// certificate verifies it with the key that the operator pinned.
func (w *works) certificate(t *testing.T, sum demo.Summary) {
	doc := must[[]byte](t)(os.ReadFile(sum.Artefacts["certificate"]))
	d := must[audit.Document](t)(audit.OpenDocument(doc, order.CertificateType, w.partner(demo.Bureau).Site()))
	c := must[*order.Certificate](t)(order.ParseCertificate(d.Payload))
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	if c.Order.ID != sum.Order || c.Cards.Ordered != sum.Ordered || c.Cards.Delivered != sum.Responded || len(c.Keys) != 3 {
		t.Errorf("certificate is of %s, %+v, %d keys; want %s, %d cards, 3 keys", c.Order.ID, c.Cards, len(c.Keys), sum.Order, sum.Ordered)
	}
	if _, err := audit.OpenDocument(doc, order.CertificateType, w.partner(demo.Plant).Site()); err == nil {
		t.Error("it verifies with the plant's key")
	}
	forged := bytes.Replace(doc, []byte("e"), []byte("f"), 1)
	if _, err := audit.OpenDocument(forged, order.CertificateType, w.partner(demo.Bureau).Site()); err == nil {
		t.Error("it verifies when it is changed")
	}
}

// madeAgain orders what was made and destroyed.
func (w *works) madeAgain(t *testing.T, sum demo.Summary, ciphertext []byte) {
	last := identity(t, sum.Ordered-1)
	v := w.submit("second.inp", ranged(t, "26112302", sum.Ordered-1, 5).text())
	if want := "ICCID " + last.ICCID.String() + " of card 1 was issued before"; v.State != order.Refused || !strings.Contains(v.Reason, want) {
		t.Errorf("an identity again: order is %s (%s), want it refused: %s", v.State, v.Reason, want)
	}
	text := plain(string(must[[]byte](t)(os.ReadFile(w.OrderFile))))
	var resealed bytes.Buffer
	if err := w.sealed(demo.Operator, text)(&resealed); err != nil {
		t.Fatal(err)
	}
	w.refused(t, "again.inp.pgp", plain(resealed.String()), `again\.inp\.pgp: this order was taken already, as `+sum.Order+`; it is certified`)
	w.refused(t, "refused.inp.pgp", plain(resealed.String()), `refused\.inp\.pgp: the same file \(SHA-256 [0-9a-f]{12}…\) came at `)
	if len(ciphertext) == 0 {
		t.Fatal("the order's own ciphertext was not intercepted")
	}
	w.refused(t, "replay.inp.pgp", func(out io.Writer) error { _, err := out.Write(ciphertext); return err },
		`replay\.inp\.pgp: the same file \(SHA-256 [0-9a-f]{12}…\) came at `)
}
