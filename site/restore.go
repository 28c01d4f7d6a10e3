package site

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ankan/audit"
	"ankan/backup"
	"ankan/durable"
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
	// Progress is told how many rows of how many are there; it may be nil.
	Progress func(rows, of int64)
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

// A Verified is a backup of this site that was verified as far as that goes
// without its custodians.
type Verified struct {
	backup.Header
	Manifest backup.Manifest
	SHA256   [sha256.Size]byte // of the file
	LogKey   string            // of the checkpoint
}

// Verify checks all that can be checked before custodians are called together:
// that nothing is there which a restore would come over, that the backup is
// whole, and that it is this site's. It changes nothing. The token may be nil if
// there is a card.
func (r Restoring) Verify(ctx context.Context, c *Config, token hsm.Module) (Verified, error) {
	if err := nothingThere(c); err != nil {
		return Verified{}, err
	}
	siteKey, vkey, err := r.trusted(ctx, c, token)
	if err != nil {
		return Verified{}, err
	}
	file, err := os.Open(r.File)
	if err != nil {
		return Verified{}, err
	}
	defer file.Close()
	sum := sha256.New()
	h, m, err := backup.Verify(io.TeeReader(file, sum), siteKey)
	if err != nil {
		return Verified{}, fmt.Errorf("%s: %w", r.File, err)
	}
	switch {
	case h.Site != c.Site:
		return Verified{}, fmt.Errorf("%s is of the site %q, this is %q", r.File, h.Site, c.Site)
	case h.Log != vkey:
		return Verified{}, fmt.Errorf("%s: its log is signed by %s, want %s", r.File, h.Log, vkey)
	}
	return Verified{Header: h, Manifest: m, SHA256: [sha256.Size]byte(sum.Sum(nil)), LogKey: vkey}, nil
}

// Restore puts a site back out of a backup, where there is none: it writes over
// nothing. It verifies all before any of it counts: signature, digests, every
// chunk and record, the number of rows, the log's root. The site that comes out
// is locked. The token may be new, and stays the caller's to close.
//
// Up to the moment when all is there and checked, whatever goes wrong leaves
// nothing that counts. From there on (whole) it only goes forward: cut short, it
// is called again, and needs no custodian any more.
func Restore(ctx context.Context, c *Config, token hsm.Module, r Restoring, parts ...Part) (Restored, error) {
	token = hsm.Stepped(token, c.Steps)
	if w, err := r.cutShort(c); w != nil || err != nil {
		if err != nil {
			return Restored{}, err
		}
		r.tell("all of %s is there from a try before; it goes on", w.Set)
		return r.forward(ctx, c, token, nil, w, parts)
	}
	v, err := r.Verify(ctx, c, token)
	if err != nil {
		return Restored{}, err
	}
	r.tell("verified: %s of %s, signed by the site", v.Set, v.Made.Format("2006-01-02 15:04:05 MST"))
	shares, err := v.Shares(r.Persons...)
	if err != nil {
		return Restored{}, err
	}
	signs, err := r.signs(v)
	if err != nil {
		return Restored{}, err
	}
	file, err := os.Open(r.File)
	if err != nil {
		return Restored{}, err
	}
	defer file.Close()
	to, err := newRestoring(ctx, c, r, v)
	if err != nil {
		return Restored{}, err
	}
	defer to.close()
	if r.NewModule {
		if err := newStanding(ctx, c, token, parts); err != nil {
			return Restored{}, err
		}
	}
	to.schemas = Schemas(parts...)
	if to.store, err = storeConfig(ctx, c, c.clock().Now, token); err != nil {
		return Restored{}, err
	}
	if err := backup.Read(file, v.Manifest, shares, r.Open, to); err != nil {
		return Restored{}, fmt.Errorf("%s: %w", r.File, err)
	}
	log, err := to.filling.Finish(v.LogKey, []byte(v.Manifest.Checkpoint))
	if err != nil {
		return Restored{}, err
	}
	w := &whole{Program: v.Program, LogKey: v.LogKey, LogRoot: log.Root.String(), NewModule: r.NewModule, Signs: signs, Restored: Restored{
		Site: c.Site, Set: v.Set, Made: v.Made.Format(time.RFC3339), LogSize: log.Size, Rows: to.rows, Files: v.Manifest.Files, Custodians: r.Persons, Documents: c.Path(documentsDir)}}
	if err := to.keep(w); err != nil {
		return Restored{}, err
	}
	r.tell("restored: %d rows, %d files, the log up to entry %d", w.Rows, w.Files, w.LogSize)
	return r.forward(ctx, c, token, to, w, parts)
}

func (r Restoring) tell(format string, args ...any) {
	if r.Tell != nil {
		r.Tell(fmt.Sprintf(format, args...))
	}
}

// signs are why the site that comes out is locked.
func (r Restoring) signs(v Verified) ([]Sign, error) {
	log, err := audit.OpenCheckpoint([]byte(v.Manifest.Checkpoint), v.LogKey)
	if err != nil {
		return nil, err
	}
	signs := []Sign{{From: "restore", Text: fmt.Sprintf("the database was restored from the backup %s of %s, which goes up to entry %d of the log", v.Set, v.Made.Format("2006-01-02 15:04:05 MST"), log.Size)}}
	for _, w := range r.Witnesses {
		o, err := audit.OpenCheckpoint(w, v.LogKey)
		if err != nil {
			return nil, fmt.Errorf("a witness's checkpoint: %w", err)
		}
		if o.Size > log.Size {
			signs = append(signs, Sign{From: "file", Text: fmt.Sprintf("somebody keeps a checkpoint which says that the log had %d entries, the backup has %d", o.Size, log.Size), Checkpoint: string(w)})
		}
	}
	return signs, nil
}

// documentsDir is where the configuration of the backup's time is put, for
// people to compare: the one in force was given to the restore.
const documentsDir = "documents"

// nothingThere refuses to restore over anything.
func nothingThere(c *Config) error {
	for _, path := range []string{c.CardFile(), c.SpoolDir(), c.EdgeDir(), c.mailKeyFile(), c.Path(documentsDir), c.Path("held"), c.Path("certificates")} {
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
	ctx      context.Context
	config   *Config
	progress func(rows, of int64)
	lock     *os.File // restoringDir, held by one process at a time
	store    store.Config
	schemas  []store.Schema
	root     *os.Root // restoringDir
	filling  *store.Filling
	rows, of int64
	whole    bool // nothing is taken back
}

// newRestoring makes the folder in which the files wait, and holds it.
func newRestoring(ctx context.Context, c *Config, r Restoring, v Verified) (_ *restoring, err error) {
	to := &restoring{ctx: ctx, config: c, progress: r.Progress}
	for _, n := range v.Manifest.Rows {
		to.of += n
	}
	dir := c.Path(restoringDir)
	err = c.Steps.Do("restore.begin", func() error {
		return errors.Join(os.MkdirAll(dir, 0o700), os.Chmod(c.Data, 0o700)) // as when a site is founded
	})
	if err != nil {
		return nil, err
	}
	if to.lock, err = holdRestoring(c); err != nil {
		return nil, err
	}
	// What a try before left did not become whole, and counts for nothing.
	if err = c.clearRestoring(); err == nil {
		to.root, err = os.OpenRoot(dir)
	}
	if err != nil {
		return nil, errors.Join(err, to.lock.Close())
	}
	return to, nil
}

// holdRestoring keeps a second restore away from the folder of the first.
func holdRestoring(c *Config) (*os.File, error) {
	dir, err := os.Open(c.Path(restoringDir))
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: another restore is under way (%w); let it end", dir.Name(), err), dir.Close())
	}
	return dir, nil
}

// Versions implements backup.Target.
func (r *restoring) Versions(v map[string]int64) (err error) {
	r.filling, err = store.Fill(r.ctx, r.store, v, r.schemas...)
	return err
}

// Table implements backup.Target.
func (r *restoring) Table(t store.Table) error { return r.filling.Table(t) }

// tellEvery is how many rows come between two words of progress.
const tellEvery = 1000

// Row implements backup.Target.
func (r *restoring) Row(values []any) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.rows++; r.progress != nil && (r.rows%tellEvery == 0 || r.rows == r.of) {
		r.progress(r.rows, r.of)
	}
	return r.filling.Row(values)
}

// File implements backup.Target.
func (r *restoring) File(path string, mode fs.FileMode) (io.WriteCloser, error) {
	if top, rest, ok := strings.Cut(path, "/"); !ok || rest == "" || top != "data" && top != "documents" {
		return nil, fmt.Errorf("the backup has a file %q, want it in data or documents", path)
	}
	f := &synced{steps: r.config.Steps}
	err := r.config.Steps.Do("restore.create", func() (err error) {
		if err := r.root.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		f.File, err = r.root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		return err
	})
	if err != nil && f.File != nil {
		f.File.Close()
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

type synced struct {
	*os.File
	steps durable.Steps
}

func (f *synced) Close() error {
	return errors.Join(f.steps.Do("restore.sync", f.Sync), f.File.Close())
}

// close takes back what is there, if the whole did not come to be.
func (r *restoring) close() {
	defer r.lock.Close()
	r.root.Close()
	// The database goes after what says that it is whole, and stays if that does.
	cleared := !r.whole && r.config.clearRestoring() == nil
	if r.filling != nil {
		if !cleared {
			r.filling.Leave()
		}
		r.filling.Abort()
	}
	if cleared {
		r.config.Steps.Do("restore.remove", func() error { return os.Remove(r.config.Path(restoringDir)) })
	}
}

// wholeFile is in restoringDir when all of a backup is there and checked: from
// then on a restore goes forward only.
const wholeFile = "whole.json"

// A whole is what a restore needs to go on without the backup and its custodians.
type whole struct {
	Restored
	Program   string   `json:"program"`
	LogKey    string   `json:"log_key"`
	LogRoot   string   `json:"log_root"`
	NewModule bool     `json:"new_module"`
	Signs     []Sign   `json:"signs"`
	Placed    []string `json:"placed"` // what goes from the folder into the data folder, but for the card
}

// keep writes that the whole is there. What it would come over is refused before.
func (r *restoring) keep(w *whole) error {
	dir := r.config.Path(restoringDir)
	entries, err := os.ReadDir(filepath.Join(dir, "data"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		// Of a module that is gone the keys in these are gone too.
		if at := r.config.Path(e.Name()); at != r.config.CardFile() && (!w.NewModule || at != r.config.mailKeyFile()) {
			w.Placed = append(w.Placed, "data/"+e.Name())
		}
	}
	if _, err := os.Stat(filepath.Join(dir, documentsDir)); err == nil {
		w.Placed = append(w.Placed, documentsDir)
	}
	for _, name := range w.Placed {
		if to := r.config.placeOf(name); there(to) {
			return fmt.Errorf("%s is there: nothing is restored over it; move it away", to)
		}
	}
	doc, err := json.Marshal(w)
	if err != nil {
		return err
	}
	if err := r.config.Steps.Do("restore.sync", func() error { return errors.Join(syncTree(dir), syncFolder(r.config.Data)) }); err != nil {
		return err
	}
	if err := r.config.WriteNew(filepath.Join(dir, wholeFile), doc, 0o600); err != nil {
		return err
	}
	r.whole = true
	return nil
}

// placeOf is where something in restoringDir goes.
func (c *Config) placeOf(name string) string { return c.Path(strings.TrimPrefix(name, "data/")) }

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// syncTree waits until the folders below dir, and it, are on the disk. Their
// files are.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return syncFolder(path)
	})
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readWhole is what a restore that was cut short had come to; nil if it was not
// whole, or if there is none.
func (c *Config) readWhole() (*whole, error) {
	path := filepath.Join(c.Path(restoringDir), wholeFile)
	doc, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	w := new(whole)
	if err := audit.Strict(doc, w); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return w, nil
}

// cutShort is the restore that is to be gone on with; nil if none is.
func (r Restoring) cutShort(c *Config) (*whole, error) {
	w, err := c.readWhole()
	if w == nil || err != nil {
		return nil, err
	}
	file, err := os.Open(r.File)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	h, err := backup.ReadHeader(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.File, err)
	}
	if h.Set != w.Set || r.NewModule != w.NewModule {
		return nil, fmt.Errorf("a restore of the backup %s was cut short when all of it was there; end it by the very command that began it, or move %s away to begin another", w.Set, c.Data)
	}
	return w, nil
}

// CutShort says that a restore was cut short when all of the backup was there:
// to end it takes no custodian.
func (r Restoring) CutShort(c *Config) (bool, error) {
	w, err := r.cutShort(c)
	return w != nil, err
}

// forward puts everything into its place and locks the site. The card for
// partners comes last: without it nothing opens the site. to holds the filling,
// and is nil where a try before made it.
func (r Restoring) forward(ctx context.Context, c *Config, token hsm.Module, to *restoring, w *whole, parts []Part) (_ Restored, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w; all of the backup is there: give the same command again, and it goes on", err)
		}
	}()
	ctx = context.WithoutCancel(ctx)
	if to == nil {
		lock, err := holdRestoring(c)
		if err != nil {
			return Restored{}, err
		}
		defer lock.Close()
	}
	cfg, err := storeConfig(ctx, c, c.clock().Now, token)
	if err != nil {
		return Restored{}, err
	}
	carded := there(c.CardFile())
	if !carded {
		if err := c.place(w.Placed); err != nil {
			return Restored{}, err
		}
	}
	if to != nil {
		err = to.filling.Place()
	} else {
		err = store.Place(ctx, cfg)
	}
	if err != nil {
		return Restored{}, err
	}
	if w.Lock, err = lockRestored(ctx, cfg, Schemas(parts...), c, w); err != nil {
		return Restored{}, err
	}
	if !carded {
		if err := c.putCard(ctx, token, w); err != nil {
			return Restored{}, err
		}
	}
	return w.Restored, c.tidyRestored()
}

// place moves what was restored out of restoringDir.
func (c *Config) place(names []string) error {
	for _, name := range names {
		from, to := filepath.Join(c.Path(restoringDir), name), c.placeOf(name)
		switch {
		case there(from) && there(to):
			return fmt.Errorf("%s is there: nothing is restored over it; move it away", to)
		case there(from):
			if err := c.Steps.Do("restore.rename", func() error { return os.Rename(from, to) }); err != nil {
				return err
			}
		case !there(to):
			return fmt.Errorf("%s is gone since it was restored; move %s away to begin anew", to, c.Data)
		}
	}
	return c.Steps.Do("restore.sync", func() error { return errors.Join(syncFolder(c.Path(restoringDir)), syncFolder(c.Data)) })
}

// putCard puts the card in its place: with it the site is there.
func (c *Config) putCard(ctx context.Context, token hsm.Module, w *whole) error {
	if !w.NewModule {
		from := filepath.Join(c.Path(restoringDir), "data", filepath.Base(c.CardFile()))
		return c.Steps.Do("restore.rename", func() error { return errors.Join(os.Rename(from, c.CardFile()), syncFolder(c.Data)) })
	}
	if err := makeMailKey(ctx, c, token); err != nil {
		return err
	}
	return makeCard(ctx, c, token)
}

// clearRestoring takes away what lies in restoringDir: first that it is whole, so
// that half of it is never taken for all.
func (c *Config) clearRestoring() error {
	dir := c.Path(restoringDir)
	if file := filepath.Join(dir, wholeFile); there(file) {
		if err := c.Steps.Do("restore.remove", func() error { return errors.Join(os.Remove(file), syncFolder(dir)) }); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return err
	}
	return c.Steps.Do("restore.remove", func() error {
		var errs []error
		for _, e := range entries {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
		return errors.Join(errs...)
	})
}

// tidyRestored takes restoringDir away when the site is there.
func (c *Config) tidyRestored() error {
	dir := c.Path(restoringDir)
	if !there(dir) {
		return nil
	}
	if err := c.clearRestoring(); err != nil {
		return err
	}
	return c.Steps.Do("restore.remove", func() error { return os.Remove(dir) })
}

// CheckSetUp refuses a site that is not there, or not there yet.
func (c *Config) CheckSetUp() error {
	if err := c.checkNoRestore(); err != nil {
		return err
	}
	if !there(c.CardFile()) {
		return fmt.Errorf("site %s is not set up; run: ankan site found -c %s --people founders.yaml", c.Site, c.file)
	}
	return nil
}

// checkNoRestore refuses a data folder in which a restore did not come to its end.
func (c *Config) checkNoRestore() error {
	if there(c.CardFile()) || !there(c.Path(restoringDir)) {
		return nil
	}
	return fmt.Errorf("site %s: a restore was cut short (%s); give the same ankan restore again, or move %s away to begin anew", c.Site, c.Path(restoringDir), c.Data)
}

// lockRestored locks the site before anybody can open it.
func lockRestored(ctx context.Context, cfg store.Config, schemas []store.Schema, c *Config, w *whole) (lock *Lock, err error) {
	db, err := store.Open(ctx, cfg, schemas...)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	lock, err = readLock(db.Committed(ctx))
	if err != nil || lock != nil && slices.Contains(lock.Signs, w.Signs[0]) { // a try before came so far
		return lock, err
	}
	data := map[string]any{"set": w.Set, "made": w.Made, "log_size": w.LogSize, "log_root": w.LogRoot, "custodians": w.Custodians, "program": w.Program}
	if key := cfg.Signer.VerifierKey(); key != w.LogKey {
		data["log_key"], data["log_key_before"] = key, w.LogKey
	}
	err = db.Change(ctx, audit.Entry{Kind: "site.restored", Actor: "system:restore", Subject: "site/" + c.Site, Data: data}, func(tx *store.Tx) (err error) {
		lock, err = PutLock(tx, w.Signs)
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
