package site

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"ankan/act"
	"ankan/audit"
	"ankan/backup"
	"ankan/store"
)

// A BackupPlan says who opens a backup, and how many of them it takes. What is
// empty is chosen: the key custodians, or who else may hold a share; and more
// than half of them.
type BackupPlan struct {
	Custodians []string `json:"custodians,omitempty"`
	Threshold  int      `json:"threshold,omitempty"`
	Program    string   `json:"program,omitempty"`
}

// permitHold is the policy's name of holding a share of a backup.
const permitHold = "backup.hold"

// maxCustodians is how many shares a key has at most.
const maxCustodians = 16

// holders are the custodians of a backup, each with a passkey that opens what is
// sealed, and the threshold.
func (s *Site) holders(ctx context.Context, plan BackupPlan) ([]backup.Custodian, int, error) {
	policy, err := s.people.Policy(ctx)
	if err != nil {
		return nil, 0, err
	}
	people, err := s.people.People(ctx)
	if err != nil {
		return nil, 0, err
	}
	var may, chosen []act.Person
	custodians := 0
	for _, who := range people {
		if policy.May(who, permitHold) && policy.CheckPerson(who) == nil && who.Credential.Seal != nil {
			may = append(may, who)
			if who.Has("key-custodian") {
				custodians++
			}
		}
	}
	slices.SortFunc(may, func(a, b act.Person) int { return strings.Compare(a.ID, b.ID) })
	for _, who := range may {
		if plan.Custodians == nil && (custodians < 3 || who.Has("key-custodian")) || slices.Contains(plan.Custodians, who.ID) {
			chosen = append(chosen, who)
		}
	}
	for i, id := range plan.Custodians {
		if slices.Contains(plan.Custodians[:i], id) || !slices.ContainsFunc(chosen, func(p act.Person) bool { return p.ID == id }) {
			return nil, 0, fmt.Errorf("person %s is named twice, has no passkey that opens what is sealed, or may not hold a share (the policy's permission %s)", id, permitHold)
		}
	}
	if plan.Custodians == nil {
		chosen = chosen[:min(len(chosen), maxCustodians)]
	}
	n := plan.Threshold
	if n == 0 {
		n = max(2, min(len(chosen)/2+1, len(chosen)-1))
	}
	if n < 2 || n >= len(chosen) || len(chosen) > maxCustodians {
		return nil, 0, fmt.Errorf("a backup takes %d of %d custodians, want 2 <= threshold < custodians <= %d: one that is lost must not lose it, one alone must not open it; enrol more people with %s",
			n, len(chosen), maxCustodians, permitHold)
	}
	var all []backup.Custodian
	for _, who := range chosen {
		all = append(all, backup.Custodian{Person: who.ID, Name: who.Name, Credential: who.Credential})
	}
	return all, n, nil
}

// Backup writes the whole site, but for its security module, to w: the database
// in one state of it, and the files beside it. The site goes on meanwhile.
func (s *Site) Backup(ctx context.Context, w io.Writer, actor string, plan BackupPlan) (_ backup.Manifest, err error) {
	holders, threshold, err := s.holders(ctx, plan)
	if err != nil {
		return backup.Manifest{}, err
	}
	now := s.store.Now().UTC()
	set := fmt.Sprintf("%s/%s/%s", s.config.Site, now.Format("20060102T150405Z"), rand.Text()[:8])
	var ids []string
	for _, c := range holders {
		ids = append(ids, c.Person)
	}
	subject := "backup/" + set
	e := audit.Entry{Kind: "backup.begun", Actor: actor, Subject: subject, Data: map[string]any{"custodians": ids, "threshold": threshold}}
	if err := s.store.Enter(ctx, e); err != nil {
		return backup.Manifest{}, err
	}
	out := &summed{w: w, sum: sha256.New()}
	m, err := s.writeBackup(ctx, out, backup.Source{
		Header: backup.Header{Site: s.config.Site, Country: s.config.Country, Roles: s.config.Roles, Made: now, Program: plan.Program, Log: s.store.VerifierKey()},
		Set:    set, Quorum: threshold, Holders: holders, Random: s.guard.Random,
		Sign: func(payload []byte) ([]byte, error) { return s.SignDocument(ctx, backup.ManifestType, payload) },
	})
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		e := audit.Entry{Kind: "backup.failed", Actor: actor, Subject: subject, Data: map[string]any{"why": short(err.Error())}}
		return m, errors.Join(err, s.store.Enter(ctx, e))
	}
	c, err := audit.OpenCheckpoint([]byte(m.Checkpoint), s.store.VerifierKey())
	if err != nil {
		return m, err
	}
	e = audit.Entry{Kind: "backup.made", Actor: actor, Subject: subject,
		Data: map[string]any{"sha256": fmt.Sprintf("%x", out.sum.Sum(nil)), "size": out.n, "files": m.Files, "log_size": c.Size, "log_root": c.Root.String()}}
	return m, s.store.Enter(ctx, e)
}

// summed hashes and counts what is written.
type summed struct {
	w   io.Writer
	sum hash.Hash
	n   int64
}

func (s *summed) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.sum.Write(p[:n])
	s.n += int64(n)
	return n, err
}

func (s *Site) writeBackup(ctx context.Context, w io.Writer, src backup.Source) (m backup.Manifest, err error) {
	dir, err := os.MkdirTemp(s.config.Data, stagePrefix)
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(dir)
	st := &stage{config: s.config, dir: dir, files: map[string]string{}}
	// What came in is taken before the database, and all else after it: a file
	// that is in both is known to have been dealt with, one that is in none is lost.
	if err := st.walk(filepath.Join(s.config.SpoolDir(), "in")); err != nil {
		return m, err
	}
	err = s.store.Dump(ctx, s.schemas, func(_ *store.ReadTx, d *store.Dump) error {
		if err := st.walk(s.config.Data); err != nil {
			return err
		}
		if err := st.documents(); err != nil {
			return err
		}
		if src.Signed, err = d.Signed(); err != nil {
			return err
		}
		src.Dump, src.Files = d, st.list()
		_, m, err = backup.Write(w, src)
		return err
	})
	return m, err
}

// stagePrefix begins the names of folders in which files are held for a backup.
const stagePrefix = "backup-"

// A stage holds the files of a backup, so that they are there until they are
// read: as second names of the same files.
type stage struct {
	config *Config
	dir    string
	files  map[string]string // where they are held, by their path in the backup
}

// passedOver says that a file in the data folder does not belong into a backup:
// the database, which is dumped; the security module and what opens it, which a
// backup must never hold; and what is of this moment.
func (st *stage) passedOver(path string) bool {
	c, name := st.config, filepath.Base(path)
	for _, f := range []string{c.Database(), c.Token.File} {
		if f != "" && (path == f || strings.HasPrefix(path, f+".") || strings.HasPrefix(path, f+"-")) {
			return true
		}
	}
	secret := []string{c.Token.Passphrase, c.HighWaterFile(), c.Control}
	if c.Token.PKCS11 != nil {
		secret = append(secret, c.Token.PKCS11.PIN)
	}
	return slices.Contains(secret, path) || strings.HasPrefix(name, ".new-") || strings.HasPrefix(name, ".tmp-")
}

// ofMoment says that a folder in the data folder is of this moment.
func (st *stage) ofMoment(path string) bool {
	name := filepath.Base(path)
	return filepath.Dir(path) == st.config.Data && (strings.HasPrefix(name, stagePrefix) || strings.HasPrefix(name, "export-") || name == restoringDir || name == "staged") ||
		path == filepath.Join(st.config.SpoolDir(), "part")
}

// walk holds all files in a folder of the data folder.
func (st *stage) walk(from string) error {
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it went meanwhile
		case err != nil:
			return err
		case d.IsDir() && st.ofMoment(path):
			return fs.SkipDir
		case !d.Type().IsRegular() || st.passedOver(path):
			return nil
		}
		rel, err := filepath.Rel(st.config.Data, path)
		if err != nil {
			return err
		}
		return st.hold("data/"+filepath.ToSlash(rel), path)
	})
	return err
}

// hold gives a file a second name.
func (st *stage) hold(name, path string) error {
	if st.files[name] != "" {
		return nil
	}
	to := filepath.Join(st.dir, fmt.Sprint(len(st.files)))
	err := os.Link(path, to)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it went meanwhile
	}
	if err != nil { // of another file system
		to = path
	}
	st.files[name] = to
	return nil
}

// documents takes the configuration and what it names. What opens the security
// module is not among it.
func (st *stage) documents() error {
	c := st.config
	one := func(kind string, paths ...string) {
		for _, p := range paths {
			if p == "" {
				continue
			}
			name := "documents/" + kind + "/" + filepath.Base(p)
			for n := 2; st.files[name] != "" && st.files[name] != p; n++ {
				name = fmt.Sprintf("documents/%s/%d-%s", kind, n, filepath.Base(p))
			}
			st.files[name] = p
		}
	}
	one("site", c.file)
	one("partners", c.Partners...)
	one("officers", c.Officers...)
	one("contracts", c.Contracts...)
	one("console", c.Console.Certificate, c.Console.Key, c.Console.Clients, c.Console.Metadata, c.Console.MetadataRoot)
	for _, p := range c.Profiles {
		if _, ok := builtin(p); ok {
			continue
		}
		one("profiles", p)
		applets, err := filepath.Glob(filepath.Join(filepath.Dir(p), "*.cap"))
		if err != nil {
			return err
		}
		one("profiles", applets...)
	}
	return nil
}

// list is what is held, as a backup has it.
func (st *stage) list() []backup.File {
	var all []backup.File
	for name, path := range st.files {
		mode := fs.FileMode(0o600)
		if fi, err := os.Stat(path); err == nil {
			mode = fi.Mode().Perm()
		}
		all = append(all, backup.File{Path: name, Mode: mode, Open: func() (io.ReadCloser, error) { return os.Open(path) }})
	}
	slices.SortFunc(all, func(a, b backup.File) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// NewBackup has write write a backup into a new file, which is at path when check
// has found it whole and it is on the disk, and not before. Until then it is at
// path with ".part".
func (c *Config) NewBackup(path string, write func(io.Writer) error, check func(io.Reader) error) (err error) {
	if there(path) {
		return fmt.Errorf("backup: %s is there; it goes into a new file", path)
	}
	part := path + ".part"
	var f *os.File
	err = c.Steps.Do("backup.create", func() (err error) {
		f, err = os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("backup: %s is there: of one that is under way, or was cut short and is worth nothing; if none is under way, remove it", part)
	}
	defer func() {
		if f != nil {
			err = errors.Join(err, f.Close())
			if there(part) {
				err = errors.Join(err, c.Steps.Do("backup.remove", func() error { return os.Remove(part) }))
			}
		}
	}()
	if err != nil {
		return err
	}
	if err := write(stepped{f, c}); err != nil {
		return err
	}
	if err := c.Steps.Do("backup.sync", f.Sync); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := check(f); err != nil {
		return err
	}
	return c.Steps.Do("backup.rename", func() error {
		return errors.Join(renameNew(part, path), syncFolder(filepath.Dir(path)))
	})
}

// renameNew renames a file and replaces none. Where the file system cannot keep it
// from that, as on a network's disk, it looks before.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		if err != nil {
			err = &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
		return err
	}
	if there(to) {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: unix.EEXIST}
	}
	return os.Rename(from, to)
}

// stepped is a backup's file, written step by step.
type stepped struct {
	io.Writer
	c *Config
}

func (s stepped) Write(p []byte) (n int, err error) {
	err = s.c.Steps.Do("backup.write", func() (err error) {
		n, err = s.Writer.Write(p)
		return err
	})
	return n, err
}

// postBackup streams a backup. What was begun and did not come to its end has no
// manifest, and does not verify.
func (s *Site) postBackup(w http.ResponseWriter, r *http.Request) {
	var plan BackupPlan
	body, err := ReadBody(r)
	if err == nil {
		err = audit.Strict(body, &plan)
	}
	out := &started{Writer: w}
	if err == nil {
		w.Header().Set("Content-Type", "application/octet-stream")
		_, err = s.Backup(r.Context(), out, "system:socket", plan)
	}
	switch {
	case err != nil && out.yes:
		s.log.Error("backup", "err", err)
		panic(http.ErrAbortHandler) // who reads it sees that it broke off
	case err != nil:
		Answer(func(*http.Request) (any, error) { return nil, err }).ServeHTTP(w, r)
	}
}
