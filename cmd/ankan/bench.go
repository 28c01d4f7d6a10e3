package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"ankan/audit"
	"ankan/datagen"
	"ankan/exchange"
	"ankan/exchange/edge"
	"ankan/hsm"
	"ankan/hsm/soft"
	"ankan/order"
	"ankan/perso"
	"ankan/profile"
	"ankan/store"
)

// benchCmd measures this machine. What it makes lies in a folder of its own,
// under throw-away keys, and is removed.
type benchCmd struct {
	Order  benchOrderCmd  `cmd:"" help:"An encrypted order in, an encrypted response out, without the line; peer: gpg."`
	Ledger benchLedgerCmd `cmd:"" help:"Identities reserved in the ledger, in a row and scattered, and its size."`
	Line   benchLineCmd   `cmd:"" help:"Software cards personalised, read back and authenticated."`

	Workers  benchWorkersCmd  `cmd:"" help:"Key sets drawn by several workers on PostgreSQL."`
	Stations benchStationsCmd `cmd:"" hidden:"" help:"Stations of bench line --remote."`
	Vectors  benchVectorsCmd  `cmd:"" help:"Authentication vectors, MILENAGE and TUAK."`
	Audit    benchAuditCmd    `cmd:"" help:"Durable entries of the audit log."`
	Sftp     benchSftpCmd     `cmd:"" name:"sftp" help:"A file brought to a partner's edge; peer: OpenSSH."`
}

// A field is one line of a result.
type field struct {
	name  string
	value any
}

// A result is what a bench measured, in the order in which it is shown.
type result []field

func (r *result) add(name string, value any) { *r = append(*r, field{name, value}) }

// get is the value of a field; nil if there is none.
func (r result) get(name string) any {
	for _, f := range r {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

// MarshalJSON writes the fields in their order.
func (r result) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, f := range r {
		v, err := json.Marshal(f.value)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(strconv.AppendQuote(b, f.name), ':'), v...)
	}
	return append(b, '}'), nil
}

// rate adds how many of a noun were done in how long, on all cores.
func (r *result) rate(noun string, n int, d time.Duration) {
	perSecond := float64(n) / d.Seconds()
	r.add(noun, n)
	r.add("seconds", round(d.Seconds()))
	r.add(noun+"_per_second", round(perSecond))
	r.add(noun+"_per_second_per_core", round(perSecond/float64(runtime.GOMAXPROCS(0))))
}

// peer adds what the peer took for the same work.
func (r *result) peer(name, version string, took, ours time.Duration) {
	r.add("peer", name)
	r.add("peer_version", version)
	r.add("peer_seconds", round(took.Seconds()))
	r.add("ratio_to_peer", round(ours.Seconds()/took.Seconds()))
}

// machine adds where it was measured, and with what.
func (r *result) machine() error {
	peak, err := peakMiB()
	if err != nil {
		return err
	}
	if r.get("peak_rss_mib") == nil {
		r.add("peak_rss_mib", peak)
	}
	r.add("cpu", cpuModel())
	r.add("cores", runtime.GOMAXPROCS(0))
	r.add("go", runtime.Version())
	r.add("version", version)
	return nil
}

func round(v float64) float64 {
	if v >= 1000 {
		return float64(int64(v + 0.5))
	}
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	return v
}

func (a *app) printResult(asJSON bool, r result) error {
	return a.print(asJSON, r, func() {
		for _, f := range r {
			if v, ok := f.value.(float64); ok {
				f.value = strconv.FormatFloat(v, 'f', -1, 64)
			}
			if stages, ok := f.value.(result); ok {
				for _, s := range stages {
					a.printf("  %-30s %8.2f s\n", s.name, s.value)
				}
				continue
			}
			a.printf("%-32s %v\n", f.name, f.value)
		}
	})
}

// peakMiB is the most memory that this program has had at once. VmHWM is of
// this program alone; what getrusage reports is carried over from its parent.
func peakMiB() (float64, error) {
	doc, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(doc)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 64)
			return round(kib / 1024), err
		}
	}
	return 0, errors.New("/proc/self/status has no line VmHWM")
}

func cpuModel() string {
	doc, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(doc)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				return strings.TrimSpace(v)
			}
		}
	}
	return runtime.GOARCH
}

// firstLine is the first line that a program prints.
func firstLine(ctx context.Context, name string, args ...string) string {
	out, _ := exec.CommandContext(ctx, name, args...).CombinedOutput() // some end with an error after it
	line, _, _ := bytes.Cut(out, []byte("\n"))
	return string(line)
}

// A workshop is what a bench needs of a site: a security module and a store.
type workshop struct {
	dir    string
	token  *soft.Token
	store  *store.Store
	ledger *order.Ledger
	stop   []func()
}

// benchDatabase has a bench work on PostgreSQL.
type benchDatabase struct {
	Database string `help:"Address of a PostgreSQL database, in which the bench gets the schema ankan_bench; one that is there is replaced." placeholder:"URL" env:"ANKAN_DATABASE"`
}

// benchKeys are the keys of a workshop.
var benchKeys = []struct {
	id string
	p  hsm.Purpose
	a  hsm.Algorithm
}{
	{"log", hsm.LogSign, hsm.Ed25519},
	{"site", hsm.SiteSign, hsm.Ed25519},
	{"ledger", hsm.Ledger, hsm.HMAC256},
	{"agree", hsm.Agree, hsm.P521},
	{"order", hsm.Order, hsm.AES256},
	{"transport", hsm.Transport, hsm.AES256},
	{"op", hsm.Operator, hsm.AES128},
}

// newWorkshop keeps its store in a file, or in a schema of a PostgreSQL database.
func newWorkshop(ctx context.Context, database string) (_ *workshop, err error) {
	w := &workshop{}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.dir, err = os.MkdirTemp("", "ankan-bench-"); err != nil {
		return nil, err
	}
	w.stop = append(w.stop, func() { os.RemoveAll(w.dir) })
	if w.token, err = soft.Create(filepath.Join(w.dir, "token"), []byte(rand.Text()), soft.WithCost(soft.LowestCost())); err != nil {
		return nil, err
	}
	w.stop = append(w.stop, func() { w.token.Close() })
	for _, k := range benchKeys {
		if _, err := w.token.Generate(ctx, k.id, k.p, k.a); err != nil {
			return nil, fmt.Errorf("key %s: %w", k.id, err)
		}
	}
	sign, err := w.token.Signer(ctx, "log")
	if err != nil {
		return nil, err
	}
	const origin = "ankan/bench"
	signer, err := audit.NewSigner(origin, sign)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(w.dir, "bench.db")
	if database != "" {
		if path, err = store.InSchema(ctx, database, "ankan_bench"); err != nil {
			return nil, fmt.Errorf("database: %w", err)
		}
	}
	w.store, err = store.Open(ctx, store.Config{Path: path, Origin: origin, Signer: signer},
		order.Schema(), datagen.Schema(), perso.Schema())
	if err != nil {
		return nil, err
	}
	w.stop = append(w.stop, func() { w.store.Close() })
	if w.ledger, err = order.NewLedger(w.token, "ledger"); err != nil {
		return nil, err
	}
	// What setting up needed is not what the work needs.
	debug.FreeOSMemory()
	return w, nil
}

func (w *workshop) close() {
	for i := len(w.stop) - 1; i >= 0; i-- {
		w.stop[i]()
	}
	w.stop = nil
}

// generate draws the key sets of an order into sealed blocks.
func (w *workshop) generate(ctx context.Context, b datagen.Batch, ids datagen.Identities) error {
	e := audit.Entry{Kind: "batch.created", Actor: "system:datagen", Subject: "order/" + b.Order, Data: map[string]any{"cards": b.Cards, "spares": b.Spares}}
	if err := w.store.Change(ctx, e, func(tx *store.Tx) error { return datagen.Create(tx, b) }); err != nil {
		return err
	}
	op, err := w.token.OP(ctx, "op")
	if err != nil {
		return err
	}
	defer op.Close()
	g := datagen.Generator{Store: w.store, Token: w.token, Ledger: w.ledger, OP: op}
	return g.Run(ctx, b, ids, nil)
}

// batch is a batch for an order of so many cards of a built-in profile, with
// one spare in a hundred.
func (w *workshop) batch(ctx context.Context, id, of string, cards int) (datagen.Batch, error) {
	p, err := profile.Builtin(of)
	if err != nil {
		return datagen.Batch{}, err
	}
	dk, wrapped, err := w.token.NewDataKey(ctx, "order")
	if err != nil {
		return datagen.Batch{}, err
	}
	dk.Close()
	return datagen.Batch{
		Order: id, KEK: "order", Wrapped: wrapped, Document: []byte(p.String()), Profile: p,
		Cards: cards, Spares: max(cards/100, 10), BlockSize: datagen.BlockSize,
	}, nil
}

// mailKey makes an OpenPGP key for a party.
func (w *workshop) mailKey(ctx context.Context, name string) (*exchange.Identity, error) {
	for id, k := range map[string]struct {
		hsm.Purpose
		hsm.Algorithm
	}{name + "-sign": {hsm.MailSign, hsm.P256}, name + "-open": {hsm.MailOpen, hsm.RSA3072}} {
		if _, err := w.token.Generate(ctx, id, k.Purpose, k.Algorithm); err != nil {
			return nil, err
		}
	}
	sign, err := w.token.Signer(ctx, name+"-sign")
	if err != nil {
		return nil, err
	}
	open, err := w.token.Decrypter(ctx, name+"-open")
	if err != nil {
		return nil, err
	}
	return exchange.NewIdentity(name, time.Now().Add(-time.Minute), sign, open)
}

// partner is a party as others pin it, by its OpenPGP key.
func (w *workshop) partner(ctx context.Context, name, role, openpgp string) (*exchange.Partner, error) {
	keys, err := edge.Init(filepath.Join(w.dir, "edge-"+name), name)
	if err != nil {
		return nil, err
	}
	card := exchange.Card{
		Name: name, Display: name, Roles: []string{role}, Country: "IN", OpenPGP: openpgp,
		TLS: keys.CertificatePEM(), SSH: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(keys.SSH()))),
	}
	public := func(id string) hsm.Key {
		k, kerr := w.token.Key(ctx, id)
		err = errors.Join(err, kerr)
		return k
	}
	agree, siteKey, logKey := public("agree"), public("site"), public("log")
	if err != nil {
		return nil, err
	}
	if card.Agree, err = exchange.MarshalPublicKey(agree.Public); err != nil {
		return nil, err
	}
	if card.Site, err = exchange.MarshalPublicKey(siteKey.Public); err != nil {
		return nil, err
	}
	if card.Log, err = audit.VerifierKey("ankan/"+name, logKey.Public.(ed25519.PublicKey)); err != nil {
		return nil, err
	}
	doc, err := card.Marshal()
	if err != nil {
		return nil, err
	}
	return exchange.ParsePartner(name+".yaml", doc)
}
