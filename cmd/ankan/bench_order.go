package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"ankan/audit"
	"ankan/bureau"
	"ankan/datagen"
	"ankan/examples"
	"ankan/exchange"
	"ankan/exchange/edge"
	"ankan/order"
	"ankan/sim"
	"ankan/store"
)

// benchOrderCmd takes an order the bureau's way, but for people and the line.
type benchOrderCmd struct {
	Cards int    `help:"Cards of the order." default:"100000" placeholder:"N"`
	List  bool   `help:"The order lists each identity, scattered over ten times as many numbers, instead of a range."`
	To    string `help:"What the operator opens its mail with: ankan (AES-256-GCM, RFC 9580) or gnupg (AES-256-CFB with SHA-1, RFC 4880)." enum:"ankan,gnupg" default:"ankan"`
	JSON  bool   `help:"Print JSON."`

	benchDatabase
}

// responseColumns are those of the demonstration's contract.
const responseColumns = "ICCID/IMSI/PIN1/PUK1/PIN2/PUK2/ADM1/EKI/EOPC/Access_Control/EKIC1/EKID1/EKIK1/ESCP03_ENC/ESCP03_MAC/ESCP03_DEK"

func (c benchOrderCmd) Run(a *app) error {
	r, err := c.measure(a.ctx)
	if err != nil {
		return err
	}
	return a.printResult(c.JSON, r)
}

func (c benchOrderCmd) measure(ctx context.Context) (result, error) {
	w, err := newWorkshop(ctx, c.Database)
	if err != nil {
		return nil, err
	}
	defer w.close()
	b := orderBench{workshop: w}
	if err := b.meet(ctx, c.To); err != nil {
		return nil, err
	}
	defer b.gpg.close()
	message, err := b.place(ctx, c.Cards, c.List)
	if err != nil {
		return nil, err
	}
	var r, stages result
	began, spent := time.Now(), cpuTime()
	for _, s := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"order in: open, parse, keep, reserve", func(ctx context.Context) error { return b.takeIn(ctx, message) }},
		{"keys: draw, seal, store", b.draw},
		{"response: open, encrypt, lay out, seal", b.respond},
	} {
		start := time.Now()
		if err := s.do(ctx); err != nil {
			return nil, err
		}
		stages.add(s.name, round(time.Since(start).Seconds()))
	}
	ours, cpu := time.Since(began), cpuTime()-spent
	peak, err := peakMiB()
	if err != nil {
		return nil, err
	}
	r.rate("cards", c.Cards, ours)
	r.add("cpu_seconds", round(cpu.Seconds()))
	r.add("list", c.List)
	r.add("stages", stages)
	r.add("peak_rss_mib", peak)
	r.add("sealed_to", c.To)
	plain, size, err := b.check(ctx, c.Cards)
	if err != nil {
		return nil, err
	}
	r.add("response_bytes", size)
	if err := b.peers(ctx, &r, plain, ours); err != nil {
		return nil, err
	}
	return r, r.machine()
}

// An orderBench is a bureau and its operator.
type orderBench struct {
	*workshop
	gpg      *gpgHome           // nil: none here
	bureau   *exchange.Identity // us
	self     *exchange.Partner  // us, as the operator pins us
	operator *exchange.Identity // nil if it uses gpg
	partner  *exchange.Partner  // the operator
	spool    *edge.Spool
	input    *order.Input
	batch    datagen.Batch
}

// meet makes the parties' keys.
func (b *orderBench) meet(ctx context.Context, to string) (err error) {
	if b.gpg, err = newGPG(ctx); err != nil {
		return err
	}
	if b.bureau, err = b.mailKey(ctx, "bureau"); err != nil {
		return err
	}
	if b.self, err = b.workshop.partner(ctx, "bureau", "bureau", b.bureau.PublicKey()); err != nil {
		return err
	}
	var key string
	if to == "gnupg" {
		if b.gpg == nil {
			return errors.New("gpg is missing: install the package gnupg")
		}
		key, err = b.gpg.meet(ctx, b.bureau.PublicKey())
	} else if b.operator, err = b.mailKey(ctx, "operator"); err == nil {
		key = b.operator.PublicKey()
	}
	if err != nil {
		return err
	}
	if b.partner, err = b.workshop.partner(ctx, "operator", "operator", key); err != nil {
		return err
	}
	b.spool, err = edge.OpenSpool(filepath.Join(b.dir, "spool"))
	if err != nil {
		return err
	}
	b.stop = append(b.stop, func() { b.spool.Close() })
	return nil
}

// place writes the operator's order file, signed and encrypted.
func (b *orderBench) place(ctx context.Context, cards int, listed bool) (path string, err error) {
	in, err := order.ParseInput("order.inp", bytes.NewReader(examples.Order()))
	if err != nil {
		return "", err
	}
	doc, err := in.WithQuantity(cards)
	if err != nil {
		return "", err
	}
	write := func(w io.Writer) error {
		_, err := w.Write(doc)
		return err
	}
	if listed {
		write = func(w io.Writer) error { return writeList(w, doc, in.First(), cards) }
	}
	path = filepath.Join(b.dir, "order.inp.pgp")
	if b.operator == nil {
		r, w := io.Pipe()
		defer r.Close()
		go func() { w.CloseWithError(write(w)) }()
		return path, b.gpg.seal(ctx, r, path, b.bureau.Fingerprint())
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer f.Close()
	w, err := exchange.Seal(f, b.operator, b.self, "order.inp")
	if err != nil {
		return "", err
	}
	return path, errors.Join(write(w), w.Close())
}

// writeList writes an order that lists its identities: from first on, each a
// prime's step further in a circle of ten times as many numbers.
func writeList(w io.Writer, doc []byte, first sim.Identity, cards int) error {
	const step = 1_000_003
	out := bufio.NewWriterSize(w, 1<<16)
	head, _, _ := bytes.Cut(doc, []byte("IMSI:"))
	out.Write(head)
	var line []byte
	for i := range uint64(cards) {
		n := i * step % (10 * uint64(cards))
		iccid, err := first.ICCID.Add(n)
		if err != nil {
			return err
		}
		imsi, err := first.IMSI.Add(n)
		if err != nil {
			return err
		}
		line = imsi.Append(append(line[:0], "IMSI:"...))
		line = iccid.Append(append(line, "\nSer_nb:"...))
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return out.Flush()
}

var mailLimits = exchange.Limits{MaxCipher: 64 << 30, MaxPlain: 64 << 30}

// takeIn opens, verifies and reads the order, keeps its content sealed, and
// reserves its identities: one change.
func (b *orderBench) takeIn(ctx context.Context, path string) error {
	m, err := exchange.Open(path, b.bureau, []*exchange.Partner{b.partner}, mailLimits)
	if err != nil {
		return err
	}
	var staged *order.Staged
	err = m.Read(func(r io.Reader) (err error) {
		staged, err = order.Reading{}.Stage(filepath.Join(b.dir, "staged"), "order.inp", r)
		return err
	})
	if staged != nil {
		defer staged.Close()
	}
	if err != nil {
		return err
	}
	digest := staged.Digest()
	o := order.Order{
		ID: order.IDOf("operator", digest), Partner: "operator", Name: "order.inp", Batch: staged.Value(order.Batch), Digest: fmt.Sprintf("%x", digest),
		Profile: staged.Value(order.ProfileName), Quantity: staged.Quantity(), Transport: staged.TransportKey(), State: order.Accepted, KEK: "order",
	}
	text, err := order.SealText(ctx, b.token, o.ID, o.KEK, staged)
	if err != nil {
		return err
	}
	defer text.Close()
	e := audit.Entry{Kind: "order.accepted", Actor: "partner/operator", Subject: "order/" + o.ID, Data: map[string]any{"digest": o.Digest, "quantity": o.Quantity}}
	err = errors.Join(b.ledger.Reserve(ctx, b.store, order.Holder{Order: o.ID, Operator: "operator"}, staged.Identities()), staged.Err())
	if err != nil {
		return err
	}
	err = b.store.Change(ctx, e, func(tx *store.Tx) error {
		if err := order.Insert(tx, o); err != nil {
			return err
		}
		if err := text.Put(tx, o.ID); err != nil {
			return err
		}
		return b.ledger.Accept(tx, o.ID)
	})
	if err != nil {
		return err
	}
	if b.batch, err = b.workshop.batch(ctx, o.ID, "in-5g-usim", o.Quantity); err != nil {
		return err
	}
	if b.batch.Wrapped, err = order.Wrapped(ctx, b.store, o.ID); err != nil {
		return err
	}
	if b.input, err = order.OpenText(ctx, b.store, b.token, o, order.Reading{}); err != nil {
		return err
	}
	b.stop = append(b.stop, b.input.Close)
	return nil
}

func (b *orderBench) draw(ctx context.Context) error { return b.generate(ctx, b.batch, b.input.Read) }

const responseName = "bench.out.pgp"

// respond writes the response as if all cards were good, and puts it where the
// edge takes it from.
func (b *orderBench) respond(ctx context.Context) error {
	columns, err := order.ParseColumns(responseColumns)
	if err != nil {
		return err
	}
	r := bureau.Response{Order: b.batch.Order, Input: b.input, Key: "transport", Good: b.batch.Cards, Columns: columns}
	_, _, err = b.spool.Put("operator", responseName, func(w io.Writer) error {
		sealed, err := exchange.Seal(w, b.bureau, b.partner, responseName)
		if err != nil {
			return err
		}
		if err := r.Write(ctx, b.store, b.token, sealed); err != nil {
			return err
		}
		return sealed.Close()
	})
	return err
}

// check opens the response as the operator does, reads every row, and leaves
// the content in a file for the peer. All its keys are thrown away.
func (b *orderBench) check(ctx context.Context, cards int) (plain string, size int64, err error) {
	sealed, err := filepath.Glob(filepath.Join(b.dir, "spool", "out", "operator", "*.data"))
	if err != nil || len(sealed) != 1 {
		return "", 0, fmt.Errorf("found %d responses in the spool, want 1: %w", len(sealed), err)
	}
	plain = filepath.Join(b.dir, "response")
	f, err := os.OpenFile(plain, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	if b.operator == nil {
		err = b.gpg.open(ctx, sealed[0], f)
	} else {
		var m *exchange.Message
		if m, err = exchange.Open(sealed[0], b.operator, []*exchange.Partner{b.self}, mailLimits); err == nil {
			err = m.Read(func(r io.Reader) error { _, err := io.Copy(f, r); return err })
		}
	}
	if err != nil {
		return "", 0, err
	}
	if size, err = f.Seek(0, io.SeekCurrent); err != nil {
		return "", 0, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", 0, err
	}
	d, err := order.Reading{}.ParseResponse("response", f, nil, func(*order.Row) error { return nil })
	if err == nil && d.Quantity != cards {
		err = fmt.Errorf("response has %d cards, want %d", d.Quantity, cards)
	}
	return plain, size, err
}

// mostDefault is the cards up to which gpg is also timed with its own settings:
// it takes ten times as long, and the ratio does not change.
const mostDefault = 1_000_000

// peers has gpg sign and encrypt the same content.
func (b *orderBench) peers(ctx context.Context, r *result, plain string, ours time.Duration) error {
	defer os.Remove(plain)
	if b.gpg == nil {
		r.add("peer", "none here")
		return nil
	}
	for _, p := range []struct {
		name string
		args []string
	}{{"", []string{"--compress-algo", "none"}}, {"_default", nil}} {
		if p.args == nil && b.batch.Cards > mostDefault {
			continue
		}
		took, cpu, err := b.gpg.time(ctx, plain, p.args)
		if err != nil {
			return err
		}
		if p.name == "" {
			r.peer("gpg --sign --encrypt --compress-algo none", firstLine(ctx, "gpg", "--version"), took, ours)
			r.add("peer_cpu_seconds", round(cpu.Seconds()))
		} else {
			r.add("gpg_default_seconds", round(took.Seconds()))
		}
		r.add("ratio_to_gpg"+p.name, round(ours.Seconds()/took.Seconds()))
	}
	return nil
}

// A gpgHome is a GnuPG with one key, made for one bench. The zero pointer is
// that gpg is not installed.
type gpgHome struct{ dir string }

const gpgUser = "operator@bench.example"

func newGPG(ctx context.Context) (*gpgHome, error) {
	if _, err := exec.LookPath("gpg"); err != nil {
		return nil, nil
	}
	dir, err := os.MkdirTemp("", "gpg") // the agent's socket needs a short name
	if err != nil {
		return nil, err
	}
	g := &gpgHome{dir}
	if err := g.run(ctx, nil, nil, "--passphrase", "", "--quick-gen-key", gpgUser, "rsa3072", "default", "never"); err != nil {
		g.close()
		return nil, err
	}
	return g, g.run(ctx, nil, nil, "--passphrase", "", "--quick-add-key", g.fingerprint(ctx), "rsa3072", "encr", "never")
}

func (g *gpgHome) fingerprint(ctx context.Context) string {
	var out bytes.Buffer
	if g.run(ctx, nil, &out, "--with-colons", "--fingerprint", gpgUser) == nil {
		for line := range strings.Lines(out.String()) {
			if f := strings.Split(line, ":"); f[0] == "fpr" {
				return f[9]
			}
		}
	}
	return ""
}

func (g *gpgHome) run(ctx context.Context, in io.Reader, out io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "gpg", append([]string{"--homedir", g.dir, "--batch", "--yes", "--quiet", "--trust-model", "always"}, args...)...)
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, &errs
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("gpg: %w: %s", err, bytes.TrimSpace(errs.Bytes()))
	}
	return nil
}

// meet imports a key and returns the armored own one.
func (g *gpgHome) meet(ctx context.Context, key string) (string, error) {
	if err := g.run(ctx, strings.NewReader(key), nil, "--import"); err != nil {
		return "", err
	}
	var out bytes.Buffer
	err := g.run(ctx, nil, &out, "--armor", "--export", gpgUser)
	return out.String(), err
}

func (g *gpgHome) seal(ctx context.Context, doc io.Reader, path, to string) error {
	return g.run(ctx, doc, nil, "--sign", "--encrypt", "-r", to, "-o", path)
}

// open decrypts a message that must be signed well.
func (g *gpgHome) open(ctx context.Context, path string, out io.Writer) error {
	status, err := os.CreateTemp(g.dir, "status")
	if err != nil {
		return err
	}
	defer status.Close()
	if err := g.run(ctx, nil, out, "--status-file", status.Name(), "--decrypt", path); err != nil {
		return err
	}
	said, err := os.ReadFile(status.Name())
	if err == nil && !bytes.Contains(said, []byte("VALIDSIG")) {
		err = errors.New("gpg finds no valid signature on the response")
	}
	return err
}

// time has gpg sign and encrypt a file: by the clock, and of the processor.
func (g *gpgHome) time(ctx context.Context, plain string, args []string) (took, cpu time.Duration, err error) {
	out := plain + ".gpg"
	defer os.Remove(out)
	start, spent := time.Now(), childTime()
	err = g.run(ctx, nil, nil, append(args, "--sign", "--encrypt", "-r", gpgUser, "-o", out, plain)...)
	return time.Since(start), childTime() - spent, err
}

// close ends the agent and removes the key.
func (g *gpgHome) close() {
	if g != nil {
		exec.Command("gpgconf", "--homedir", g.dir, "--kill", "all").Run()
		os.RemoveAll(g.dir)
	}
}
