package site

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ankan/audit"
	"ankan/datagen"
	"ankan/document"
	"ankan/hsm/soft"
	"ankan/keys"
	"ankan/order"
	"ankan/store"
	"ankan/worker"
)

// KeyLedger names the blocks of a bureau's identity ledger.
const KeyLedger = "ledger"

// WorkerConfig is the configuration of a process that draws for a bureau and
// does nothing else. Relative paths are relative to the file.
type WorkerConfig struct {
	Site   string `yaml:"site"` // whose orders it draws
	Name   string `yaml:"name"` // of this worker; default: the machine's
	Server Server `yaml:"database"`
	Token  Token  `yaml:"token"` // the site's module; a token file is opened beside the site
	Spans  int    `yaml:"spans"` // of blocks that it draws at the same time; default: 2

	file string
}

// mostSpans bounds what a worker takes at the same time, and its memory.
const mostSpans = 64

// LoadWorker reads a worker's configuration file. Unknown keys are refused.
func LoadWorker(path string) (*WorkerConfig, error) {
	doc, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ParseWorker(path, doc)
}

// ParseWorker reads a worker's configuration that lies at path.
func ParseWorker(path string, doc []byte) (*WorkerConfig, error) {
	c := &WorkerConfig{file: path}
	if _, err := document.Read(path, doc, c); err != nil {
		return nil, err
	}
	abs := func(p *string) {
		*p = os.ExpandEnv(*p)
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(path), *p)
		}
	}
	for _, p := range []*string{&c.Server.Password, &c.Token.File, &c.Token.Passphrase} {
		abs(p)
	}
	if h := c.Token.PKCS11; h != nil {
		abs(&h.Module)
		abs(&h.PIN)
	}
	if c.Name == "" {
		c.Name, _ = os.Hostname()
	}
	if c.Spans == 0 {
		c.Spans = 2
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func (c *WorkerConfig) check() error {
	switch {
	case c.Site == "":
		return errors.New("site is missing: name the site whose orders are drawn, as its site.yaml does")
	case c.Name == "" || len(c.Name) > 60 || strings.ContainsAny(c.Name, " /"):
		return fmt.Errorf("name is %q, want up to 60 characters without a space or a slash", c.Name)
	case !store.IsPostgres(c.Server.URL):
		return errors.New("database.url is no address of PostgreSQL, postgres://...: workers share the database with the site; a database in a file has the site alone")
	case c.Spans < 1 || c.Spans > mostSpans:
		return fmt.Errorf("spans is %d, want 1 to %d", c.Spans, mostSpans)
	}
	return errors.Join(c.Server.check(), c.Token.check())
}

// open opens the site's module for use: an HSM by a session of the worker's
// own, a token file beside the site that holds it.
func (c *WorkerConfig) open() (m Module, err error) {
	of := &Config{Site: c.Site, Token: c.Token, file: c.file}
	if c.Token.PKCS11 != nil {
		m, err = openPKCS11(of, false)
	} else {
		var pass []byte
		if pass, err = readSecretFile(c.Token.Passphrase); err != nil {
			return nil, fmt.Errorf("token passphrase: %w", err)
		}
		defer clear(pass)
		m, err = opened(soft.OpenShared(c.Token.File, pass))
	}
	if err != nil {
		return nil, err
	}
	if err := checkCertified(of, m.Info()); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// flushUses is how often a worker writes how often it used which key.
const flushUses = 20 * time.Second

// RunWorker draws blocks for a site until ctx ends, and then finishes the spans
// that it has begun. It has the module and the database of the site, and of the
// database what worker.Grants gives.
func RunWorker(ctx context.Context, c *WorkerConfig, log *slog.Logger) (err error) {
	token, err := c.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, token.Close()) }()
	sign, err := token.Signer(ctx, keyLog)
	if err != nil {
		return fmt.Errorf("key %s: %w", keyLog, err)
	}
	origin := (&Config{Site: c.Site}).origin()
	signer, err := audit.NewSigner(origin, sign)
	if err != nil {
		return err
	}
	password := (&Config{Server: c.Server}).DatabasePassword()
	s, err := store.Open(ctx, store.Config{Path: c.Server.URL, Password: password, Origin: origin, Signer: signer, Beside: true},
		order.Schema(), datagen.Schema(), keys.Schema())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	guard, err := keys.NewGuard(ctx, keys.NewRegister(c.Site, s, nil), token)
	if err != nil {
		return err
	}
	ledger, err := order.NewLedger(guard, KeyLedger)
	if err != nil {
		return err
	}
	d := &worker.Drawer{Store: s, Guard: guard, Ledger: ledger, Log: log}
	q, err := worker.Open(ctx, d, worker.Options{Address: c.Server.URL, Password: password, Name: c.Name, Spans: c.Spans, Log: log})
	if err != nil {
		return err
	}
	log.Info("working", "spans", c.Spans, "module", token.Info().Model, "certificate", token.Info().Certificate)
	flush := time.NewTicker(flushUses)
	defer flush.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-flush.C:
			if err := guard.Flush(ctx); err != nil && ctx.Err() == nil {
				log.Warn("uses of keys", "err", err)
			}
		}
	}
	log.Info("finishing what was begun")
	q.Close()
	return guard.Flush(context.WithoutCancel(ctx))
}
