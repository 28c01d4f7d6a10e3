package site

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ankan/audit"
	"ankan/backup"
	"ankan/exchange"
	"ankan/hsm"
	"ankan/passkey"
	"ankan/store"
)

// restoringDir is the folder in the data folder in which a backup's files lie
// until all of them are there.
const restoringDir = "restoring"

// A Restoring says how a backup is opened.
type Restoring struct {
	File    string     // the backup
	Persons []string   // the custodians who open it
	Open    hsm.Opener // opens their shares
	// Card is this site's card, as a partner keeps it, whose keys signed the
	// backup. Without one the keys in the security module did.
	Card *exchange.Partner
	// NewModule says that the security module of the backup is gone: the site gets
	// new standing keys, and its log goes on under another key.
	NewModule bool
	Witnesses [][]byte     // checkpoints of this site's log that others keep
	Tell      func(string) // may be nil
}

// A Restored is what a restore did.
type Restored struct {
	Site       string   `json:"site"`
	Set        string   `json:"set"`
	Made       string   `json:"made"`
	LogSize    int64    `json:"log_size"`
	Rows       int64    `json:"rows"`
	Files      int64    `json:"files"`
	Custodians []string `json:"custodians"`
	Documents  string   `json:"documents"` // folder with the configuration of that time
	Lock       *Lock    `json:"lock"`
}

// Restore puts a site back out of a backup, where there is none: it writes over
// nothing. It verifies all before any of it counts: signature, digests, every
// chunk and record, the number of rows, the log's root. The site that comes out
// is locked. The token may be new, and stays the caller's to close.
func Restore(ctx context.Context, c *Config, token hsm.Module, r Restoring, parts ...Part) (Restored, error) {
	tell := func(format string, args ...any) {
		if r.Tell != nil {
			r.Tell(fmt.Sprintf(format, args...))
		}
	}
	if err := nothingThere(c); err != nil {
		return Restored{}, err
	}
	siteKey, vkey, err := r.trusted(ctx, c, token)
	if err != nil {
		return Restored{}, err
	}
	file, err := os.Open(r.File)
	if err != nil {
		return Restored{}, err
	}
	defer file.Close()
	h, m, err := backup.Verify(file, siteKey)
	if err != nil {
		return Restored{}, fmt.Errorf("%s: %w", r.File, err)
	}
	switch {
	case h.Site != c.Site:
		return Restored{}, fmt.Errorf("%s is of the site %q, this is %q", r.File, h.Site, c.Site)
	case h.Log != vkey:
		return Restored{}, fmt.Errorf("%s: its log is signed by %s, want %s", r.File, h.Log, vkey)
	}
	tell("verified: %s of %s, signed by the site", h.Set, h.Made.Format("2006-01-02 15:04:05 MST"))
	shares, err := h.Shares(r.Persons...)
	if err != nil {
		return Restored{}, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return Restored{}, err
	}
	if err := os.MkdirAll(filepath.Join(c.Data, restoringDir), 0o700); err != nil {
		return Restored{}, err
	}
	if err := os.Chmod(c.Data, 0o700); err != nil { // as when a site is founded
		return Restored{}, err
	}
	if r.NewModule {
		if err := newStanding(ctx, c, token, parts); err != nil {
			return Restored{}, err
		}
	}
	cfg, err := storeConfig(ctx, c, c.clock().Now, token)
	if err != nil {
		return Restored{}, err
	}
	to := &restoring{ctx: ctx, config: c, store: cfg, schemas: Schemas(parts...)}
	defer to.abort()
	if to.root, err = os.OpenRoot(filepath.Join(c.Data, restoringDir)); err != nil {
		return Restored{}, err
	}
	if err := backup.Read(file, m, shares, r.Open, to); err != nil {
		return Restored{}, fmt.Errorf("%s: %w", r.File, err)
	}
	if err := to.place(); err != nil {
		return Restored{}, err
	}
	log, err := to.filling.Finish(vkey, []byte(m.Checkpoint))
	if err != nil {
		return Restored{}, err
	}
	to.whole = true
	out := Restored{Site: c.Site, Set: h.Set, Made: h.Made.Format("2006-01-02T15:04:05Z07:00"), LogSize: log.Size, Files: m.Files, Custodians: r.Persons, Documents: c.Path(documentsDir)}
	for _, n := range m.Rows {
		out.Rows += n
	}
	tell("restored: %d rows, %d files, the log up to entry %d", out.Rows, out.Files, out.LogSize)
	out.Lock, err = lockRestored(ctx, cfg, to.schemas, c, h, log, vkey, r)
	if err != nil {
		return out, err
	}
	if err := to.finish(ctx, token, r.NewModule); err != nil {
		return out, err
	}
	to.done = true
	return out, os.RemoveAll(c.Path(restoringDir))
}

// documentsDir is where the configuration of the backup's time is put, for
// people to compare: the one in force was given to the restore.
const documentsDir = "documents"

// nothingThere refuses to restore over anything.
func nothingThere(c *Config) error {
	for _, path := range []string{c.CardFile(), c.SpoolDir(), c.EdgeDir(), c.Path("openpgp.asc"), c.Path(restoringDir), c.Path(documentsDir), c.Path("held"), c.Path("certificates")} {
		_, err := os.Stat(path)
		if err == nil {
			return fmt.Errorf("%s is there: a backup is restored where there is nothing, and never over data; move it away, or name another data folder", path)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// trusted is the keys by which the backup must be signed.
func (r Restoring) trusted(ctx context.Context, c *Config, token hsm.Module) (ed25519.PublicKey, string, error) {
	if r.Card != nil {
		card := r.Card.Card()
		if card.Name != c.Site || r.Card.Site() == nil || card.Log == "" {
			return nil, "", fmt.Errorf("the card is of %q, or names no key of site and log; want the card of %q", card.Name, c.Site)
		}
		return r.Card.Site(), card.Log, nil
	}
	if r.NewModule {
		return nil, "", errors.New("a new security module does not know who signed the backup; name this site's card, which partners keep: --card partner.yaml")
	}
	k, err := token.Key(ctx, KeySite)
	if err != nil {
		return nil, "", fmt.Errorf("key %s: %w; if the site's security module is gone, say so: --new-module", KeySite, err)
	}
	log, err := token.Key(ctx, keyLog)
	if err != nil {
		return nil, "", fmt.Errorf("key %s: %w", keyLog, err)
	}
	pub, ok := k.Public.(ed25519.PublicKey)
	logPub, ok2 := log.Public.(ed25519.PublicKey)
	if !ok || !ok2 {
		return nil, "", hsm.ErrPurpose
	}
	vkey, err := audit.VerifierKey(c.origin(), logPub)
	return pub, vkey, err
}

// newStanding makes the standing keys of a site anew, but for those that come
// back from their shares: another key in the place of the ledger's would issue
// what was issued already.
func newStanding(ctx context.Context, c *Config, token hsm.Module, parts []Part) error {
	all, err := standingKeys(c, parts)
	if err != nil {
		return err
	}
	for _, k := range all {
		if k.BacksUp() {
			continue
		}
		if _, err := token.Generate(ctx, k.ID, k.Purpose, k.Algorithm); err != nil && !errors.Is(err, hsm.ErrKeyExists) { // of a try before
			return fmt.Errorf("key %s: %w", k.ID, err)
		}
	}
	return nil
}

// restoring is a site that comes out of a backup.
type restoring struct {
	ctx     context.Context
	config  *Config
	store   store.Config
	schemas []store.Schema
	root    *os.Root // restoringDir
	filling *store.Filling
	placed  []string
	whole   bool // the database is there
	done    bool // and the site: nothing is taken back
}

// Versions implements backup.Target.
func (r *restoring) Versions(v map[string]int64) (err error) {
	r.filling, err = store.Fill(r.ctx, r.store, v, r.schemas...)
	return err
}

// Table implements backup.Target.
func (r *restoring) Table(t store.Table) error { return r.filling.Table(t) }

// Row implements backup.Target.
func (r *restoring) Row(values []any) error { return r.filling.Row(values) }

// File implements backup.Target.
func (r *restoring) File(path string, mode fs.FileMode) (io.WriteCloser, error) {
	if top, rest, ok := strings.Cut(path, "/"); !ok || rest == "" || top != "data" && top != "documents" {
		return nil, fmt.Errorf("the backup has a file %q, want it in data or documents", path)
	}
	if dir := filepath.Dir(path); dir != "." {
		if err := r.root.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	f, err := r.root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	return synced{f}, nil
}

type synced struct{ *os.File }

func (f synced) Close() error { return errors.Join(f.Sync(), f.File.Close()) }

// place moves the files to where they belong, all but the site's card: without
// it there is no site.
func (r *restoring) place() error {
	move := func(from, to string) error {
		if err := os.Rename(from, to); err != nil {
			return err
		}
		r.placed = append(r.placed, to)
		return nil
	}
	dir := r.config.Path(restoringDir)
	entries, err := os.ReadDir(filepath.Join(dir, "data"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		to := r.config.Path(e.Name())
		if to == r.config.CardFile() {
			continue
		}
		if _, err := os.Lstat(to); err == nil {
			return fmt.Errorf("%s is there: nothing is restored over it; move it away", to)
		}
		if err := move(filepath.Join(dir, "data", e.Name()), to); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "documents")); err != nil {
		return nil
	}
	return move(filepath.Join(dir, "documents"), r.config.Path(documentsDir))
}

// abort takes back what was placed, if the whole did not come to be.
func (r *restoring) abort() {
	if r.root != nil {
		r.root.Close()
	}
	if r.done {
		return
	}
	if path := r.store.Path; r.whole && !store.IsPostgres(path) {
		r.placed = append(r.placed, path, path+"-wal", path+"-shm")
	}
	if r.filling != nil {
		r.filling.Abort()
	}
	for _, path := range r.placed {
		os.RemoveAll(path)
	}
	os.RemoveAll(r.config.Path(restoringDir))
}

// finish puts the card in its place: with it the site is there.
func (r *restoring) finish(ctx context.Context, token hsm.Module, anew bool) error {
	c := r.config
	if anew {
		// The keys in them are gone.
		if err := os.Remove(c.Path("openpgp.asc")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := makeMailKey(ctx, c, token); err != nil {
			return err
		}
		if err := makeCard(ctx, c, token); err != nil {
			return err
		}
	} else if err := os.Rename(filepath.Join(c.Path(restoringDir), "data", filepath.Base(c.CardFile())), c.CardFile()); err != nil {
		return err
	}
	return nil
}

// lockRestored locks the site before anybody can open it.
func lockRestored(ctx context.Context, cfg store.Config, schemas []store.Schema, c *Config, h backup.Header, log audit.Checkpoint, vkey string, r Restoring) (*Lock, error) {
	db, err := store.Open(ctx, cfg, schemas...)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	signs := []Sign{{From: "restore", Text: fmt.Sprintf("the database was restored from the backup %s of %s, which goes up to entry %d of the log", h.Set, h.Made.Format("2006-01-02 15:04:05 MST"), log.Size)}}
	for _, w := range r.Witnesses {
		o, err := audit.OpenCheckpoint(w, vkey)
		if err != nil {
			return nil, fmt.Errorf("a witness's checkpoint: %w", err)
		}
		if o.Size > log.Size {
			signs = append(signs, Sign{From: "file", Text: fmt.Sprintf("somebody keeps a checkpoint which says that the log had %d entries, the backup has %d", o.Size, log.Size), Checkpoint: string(w)})
		}
	}
	data := map[string]any{"set": h.Set, "made": h.Made, "log_size": log.Size, "log_root": log.Root.String(), "custodians": r.Persons, "program": h.Program}
	if key := cfg.Signer.VerifierKey(); key != vkey {
		data["log_key"], data["log_key_before"] = key, vkey
	}
	var lock *Lock
	err = db.Change(ctx, audit.Entry{Kind: "site.restored", Actor: "system:restore", Subject: "site/" + c.Site, Data: data}, func(tx *store.Tx) (err error) {
		lock, err = PutLock(tx, signs)
		return err
	})
	return lock, err
}

// Passkeys opens shares with the software passkeys that people brought.
func Passkeys(all ...*passkey.Soft) hsm.Opener {
	return func(given hsm.Given, what hsm.Content, label string) ([]byte, error) {
		for _, p := range all {
			k, err := p.OpenSealing()
			if err != nil {
				return nil, err
			}
			b, err := hsm.Take(given, what, label, k.Public(), k.ECDH)
			if err == nil || !errors.Is(err, hsm.ErrSealed) {
				return b, err
			}
		}
		return nil, hsm.ErrSealed
	}
}
