package site

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/exchange"
	"ankan/exchange/edge"
	"ankan/hsm"
	"ankan/hsm/pkcs11"
	"ankan/hsm/soft"
	"ankan/message"
	"ankan/passkey"
	"ankan/store"
)

// People is the file that names the first people of a site.
type People struct {
	People []act.Person `json:"people"`
}

// Init sets a site up: security module, standing keys, the edge's keys,
// database, first policy and people as they signed them, and the card for its
// partners. It overwrites nothing. Cut short, it can be run again. The parts are
// those that Open is given.
func Init(ctx context.Context, c *Config, token hsm.Module, f access.Founding, log func(string), parts ...Part) error {
	if _, err := os.Stat(c.CardFile()); err == nil {
		return fmt.Errorf("%s is there: the site is set up already", c.CardFile())
	}
	if err := c.checkNoRestore(); err != nil {
		return err
	}
	if err := checkFounding(c, f.Founding); err != nil {
		return err
	}
	keys, err := standingKeys(c, parts)
	if err != nil {
		return err
	}
	for _, dir := range []string{c.Data, c.SpoolDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	token = hsm.Stepped(token, c.Steps)
	info := token.Info()
	log(fmt.Sprintf("security module: %s, %s", info.Model, info.Certificate))
	g, gctx := errgroup.WithContext(ctx)
	var names []string
	for _, k := range keys {
		names = append(names, k.ID)
		g.Go(func() error {
			if _, err := token.Generate(gctx, k.ID, k.Purpose, k.Algorithm); err != nil && !errors.Is(err, hsm.ErrKeyExists) {
				return fmt.Errorf("key %s: %w", k.ID, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	log("standing keys: " + strings.Join(names, ", "))
	if _, err := os.Stat(c.EdgeDir()); errors.Is(err, os.ErrNotExist) {
		if _, err := edge.Init(c.EdgeDir(), c.Site); err != nil {
			return err
		}
	}
	if err := makeMailKey(ctx, c, token); err != nil {
		return err
	}
	db, err := openStore(ctx, c, c.clock().Now, token, parts)
	if err != nil {
		return err
	}
	defer db.Close()
	switch err := access.New(db).Found(ctx, f); {
	case errors.Is(err, access.ErrFounded):
		log("people: a try before this one founded the site, with the people that it had")
	case err != nil:
		return err
	default:
		log(fmt.Sprintf("people: %d founded the site, each with a signature of their own", len(f.People)))
	}
	return makeCard(ctx, c, token)
}

// Begun says that a try to set the site up came as far as its database.
func Begun(ctx context.Context, c *Config) (bool, error) {
	return store.Begun(ctx, store.Config{Path: c.Database(), Password: c.DatabasePassword()})
}

// Finish sets a site up whose people founded it in a try that was cut short
// before the card for its partners was there.
func Finish(ctx context.Context, c *Config, token hsm.Module, parts ...Part) error {
	if err := c.checkNoRestore(); err != nil {
		return err
	}
	token = hsm.Stepped(token, c.Steps)
	db, err := openStore(ctx, c, c.clock().Now, token, parts)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := access.New(db).Policy(ctx); err != nil {
		return fmt.Errorf("%s holds no founding (%w); remove it and found the site again", c.Database(), err)
	}
	return makeCard(ctx, c, token)
}

// makeCard writes the card for partners: with it the site is set up.
func makeCard(ctx context.Context, c *Config, token hsm.Module) error {
	card, err := partnerCard(ctx, c, token)
	if err != nil {
		return err
	}
	if _, err := exchange.ParsePartner(c.CardFile(), card); err != nil {
		return fmt.Errorf("no partner would take this site's card; correct %s and set the site up again: %w", c.file, err)
	}
	return c.WriteNew(c.CardFile(), card, 0o644)
}

// checkFounding refuses a founding that is not this site's, before anything is
// made.
func checkFounding(c *Config, f act.Founding) error {
	if err := f.Check(c.clock().Now()); err != nil {
		return err
	}
	a, err := act.Parse([]byte(f.Act))
	if err == nil && a.Site != c.Site {
		err = fmt.Errorf("founding: it is for site %q, this is %q", a.Site, c.Site)
	}
	return err
}

// CheckReady refuses a site that could not be set up, as far as that can be
// known before anything is made: it is set up already, the module's passphrase
// or the module itself cannot be opened, or it has no certificate and the site
// wants one. It tells which module the site will have.
func CheckReady(c *Config) (hsm.Info, error) {
	if _, err := os.Stat(c.CardFile()); err == nil {
		return hsm.Info{}, fmt.Errorf("site %s is set up already: %s is there; run: ankan serve -c %s", c.Site, c.CardFile(), c.file)
	}
	if err := c.checkNoRestore(); err != nil {
		return hsm.Info{}, err
	}
	if _, err := os.Stat(c.Token.File); c.Token.PKCS11 != nil || err == nil {
		m, err := OpenToken(c, false)
		if err != nil {
			return hsm.Info{}, err
		}
		return m.Info(), m.Close()
	}
	pass, err := readSecretFile(c.Token.Passphrase)
	if err != nil {
		return hsm.Info{}, fmt.Errorf("token passphrase: %w", err)
	}
	clear(pass)
	return soft.Info(), checkCertified(c, soft.Info())
}

// FoundHere is the founding of a site whose people are in a people file and
// whose software passkeys lie in dir as N.passkey.
func FoundHere(c *Config, people []act.Person, dir string) (access.Founding, error) {
	keys := map[string]act.Key{}
	for _, who := range people {
		k, err := passkey.LoadSoft(filepath.Join(dir, who.ID+".passkey"))
		if errors.Is(err, os.ErrNotExist) {
			return access.Founding{}, fmt.Errorf("founding: person %s must sign, and %s is not there; nobody founds a site alone or unasked",
				who.ID, filepath.Join(dir, who.ID+".passkey"))
		}
		if err != nil {
			return access.Founding{}, err
		}
		keys[who.ID] = k
	}
	f, err := act.Found(c.Site, access.DefaultPolicy(), people, keys, c.clock().Now())
	return access.Founding{Founding: f}, err
}

// A Module is a security module that the site opened, and closes.
type Module interface {
	hsm.Module
	Close() error
}

// OpenToken opens the site's security module; with create it makes the
// embedded one if there is none.
func OpenToken(c *Config, create bool) (Module, error) {
	open := openSoft
	if c.Token.PKCS11 != nil {
		open = openPKCS11
	}
	m, err := open(c, create)
	if err != nil {
		return nil, err
	}
	if err := checkCertified(c, m.Info()); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func openSoft(c *Config, create bool) (Module, error) {
	pass, err := readSecretFile(c.Token.Passphrase)
	if err != nil {
		return nil, fmt.Errorf("token passphrase: %w", err)
	}
	defer clear(pass)
	if _, err := os.Stat(c.Token.File); errors.Is(err, os.ErrNotExist) && create {
		if err := checkCertified(c, soft.Info()); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(filepath.Dir(c.Token.File), 0o700); err != nil {
			return nil, err
		}
		return opened(soft.Create(c.Token.File, pass, soft.WithSteps(c.Steps)))
	}
	return opened(soft.Open(c.Token.File, pass, soft.WithSteps(c.Steps)))
}

func openPKCS11(c *Config, _ bool) (Module, error) {
	p := c.Token.PKCS11
	cfg := pkcs11.Config{
		Module: p.Module, Token: p.Token, Serial: p.Serial, Certificate: p.Certificate, Model: p.Model, Firmware: p.Firmware,
		Mechanisms: p.Mechanisms, Sessions: p.Sessions, PIN: func() ([]byte, error) { return readSecretFile(p.PIN) },
	}
	if p.Slot != nil {
		slot := uint(*p.Slot)
		cfg.Slot = &slot
	}
	m, err := opened(pkcs11.Open(context.Background(), cfg))
	next := ""
	switch {
	case err == nil:
		return m, nil
	case errors.Is(err, pkcs11.ErrPIN):
		next = fmt.Sprintf("; put the PIN of the token's user into %s", p.PIN)
	case errors.Is(err, pkcs11.ErrNoToken):
		next = "; name one that is there by token, serial or slot, or make it with the vendor's tools"
	}
	return nil, fmt.Errorf("%s: token.pkcs11: %w%s", c.file, err, next)
}

// opened keeps a nil pointer from becoming a module.
func opened[T Module](m T, err error) (Module, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}

// checkCertified refuses a module without a certificate where the site asks for one.
func checkCertified(c *Config, i hsm.Info) error {
	if c.Token.RequireCertified && !i.Certified {
		return fmt.Errorf("token: %s is %s, and require_certified is set (SOP 6.3.2.i); use a certified module", i.Model, i.Certificate)
	}
	return nil
}

// readSecretFile reads a secret that only its owner may read. systemd hands
// credentials over in a folder of its own and lets their reader in by an access
// list, which shows as the group's bit.
func readSecretFile(path string) ([]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	allowed := os.FileMode(0o700)
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" && filepath.Dir(path) == filepath.Clean(dir) {
		allowed = 0o740
	}
	if fi.Mode().Perm()&^allowed != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %o); run: chmod 600 %s", path, fi.Mode().Perm(), path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("%s is empty", path)
	}
	return b, nil
}

// origin names a site's audit log.
func (c *Config) origin() string { return "ankan/" + c.Site }

func openStore(ctx context.Context, c *Config, now func() time.Time, t hsm.Module, parts []Part) (*store.Store, error) {
	cfg, err := storeConfig(ctx, c, now, t)
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, cfg, Schemas(parts...)...)
}

func storeConfig(ctx context.Context, c *Config, now func() time.Time, t hsm.Module) (store.Config, error) {
	signer, err := t.Signer(ctx, keyLog)
	if err != nil {
		return store.Config{}, fmt.Errorf("key %s: %w", keyLog, err)
	}
	n, err := audit.NewSigner(c.origin(), signer)
	return store.Config{
		Path: c.Database(), Password: c.DatabasePassword(), Origin: c.origin(), Signer: n, Now: now, Steps: c.Steps,
	}, err
}

// mailKeyFile holds the site's OpenPGP public key.
func (c *Config) mailKeyFile() string { return c.Path("openpgp.asc") }

// makeMailKey keeps the site's OpenPGP public key as it was first made: its
// self-signatures are not made again at each start.
func makeMailKey(ctx context.Context, c *Config, t hsm.Module) error {
	path := c.mailKeyFile()
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	sign, open, err := mailKeys(ctx, t)
	if err != nil {
		return err
	}
	id, err := exchange.NewIdentity(c.Display+", "+c.Site, c.clock().Now(), sign, open)
	if err != nil {
		return err
	}
	return c.WriteNew(path, []byte(id.PublicKey()), 0o644)
}

func mailKeys(ctx context.Context, t hsm.Module) (crypto.Signer, crypto.Decrypter, error) {
	sign, err := t.Signer(ctx, keyMailSign)
	if err != nil {
		return nil, nil, err
	}
	open, err := t.Decrypter(ctx, keyMailOpen)
	return sign, open, err
}

func loadMailKey(ctx context.Context, c *Config, t hsm.Module) (*exchange.Identity, error) {
	armored, err := os.ReadFile(c.mailKeyFile())
	if err != nil {
		return nil, err
	}
	sign, open, err := mailKeys(ctx, t)
	if err != nil {
		return nil, err
	}
	return exchange.LoadIdentity(string(armored), sign, open)
}

// partnerCard is what partners pin.
func partnerCard(ctx context.Context, c *Config, t hsm.Module) ([]byte, error) {
	armored, err := os.ReadFile(c.mailKeyFile())
	if err != nil {
		return nil, err
	}
	public := func(id string) (string, crypto.PublicKey, error) {
		k, err := t.Key(ctx, id)
		if err != nil {
			return "", nil, err
		}
		text, err := exchange.MarshalPublicKey(k.Public)
		return text, k.Public, err
	}
	agree, _, err := public(KeyAgree)
	if err != nil {
		return nil, err
	}
	siteKey, _, err := public(KeySite)
	if err != nil {
		return nil, err
	}
	_, logKey, err := public(keyLog)
	if err != nil {
		return nil, err
	}
	keys, err := edge.Load(c.EdgeDir())
	if err != nil {
		return nil, err
	}
	vkey, err := audit.VerifierKey(c.origin(), logKey.(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	var officers []string
	for _, path := range c.Officers {
		key, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		officers = append(officers, string(key))
	}
	return exchange.Card{
		Name: c.Site, Display: c.Display, Roles: c.Roles, Country: c.Country, Address: c.Edge.Address,
		OpenPGP: string(armored), TLS: keys.CertificatePEM(), SSH: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(keys.SSH()))),
		Log: vkey, Agree: agree, Site: siteKey, Officers: officers,
	}.Marshal()
}

func loadPartners(c *Config) (map[string]*exchange.Partner, error) {
	all := map[string]*exchange.Partner{}
	for _, path := range c.Partners {
		doc, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		p, err := exchange.ParsePartner(path, doc)
		if err != nil {
			return nil, err
		}
		if all[p.Name()] != nil || p.Name() == c.Site {
			return nil, fmt.Errorf("%s: partner %q is there twice, or is this site", path, p.Name())
		}
		all[p.Name()] = p
	}
	return all, nil
}

// LoadPeople reads a people file.
func LoadPeople(path string) ([]act.Person, error) {
	doc, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var p People
	if err := message.Read(bytes.NewReader(doc), &p); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p.People, nil
}

// WriteNew writes a file that must not be there yet, durable when it returns. A
// crash leaves the whole file or none: half a file would be taken for one.
func WriteNew(path string, b []byte, mode os.FileMode) error {
	return (&Config{}).WriteNew(path, b, mode)
}

// WriteNew is WriteNew for a file of the site's.
func (c *Config) WriteNew(path string, b []byte, mode os.FileMode) error {
	return c.writeNew(path, bytes.NewReader(b), mode)
}

func (c *Config) writeNew(path string, content io.Reader, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = c.Steps.Do("file.write", func() error {
		_, err := io.Copy(f, content)
		return err
	})
	if err := errors.Join(err, f.Chmod(mode), c.Steps.Do("file.sync", f.Sync), f.Close()); err != nil {
		return err
	}
	return c.Link(f.Name(), path) // fails if path is there
}

// Link gives a file of the site's another name, durable when it returns. On
// another disk that is a copy.
func (c *Config) Link(from, to string) error {
	err := c.Steps.Do("file.link", func() error { return os.Link(from, to) })
	if errors.Is(err, unix.EXDEV) {
		f, err := os.Open(from)
		if err != nil {
			return err
		}
		defer f.Close()
		return c.writeNew(to, f, 0o600)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(c.Steps.Do("file.sync-folder", d.Sync), d.Close())
}
