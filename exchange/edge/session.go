package edge

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
)

// A session is one partner's connection, after both of its keys were proved.
// It is what an SFTP request can do: nothing else is reachable.
type session struct {
	edge   *Edge
	peer   Peer
	remote string
	ours   bool   // it is an edge of this program
	cancel func() // ends the connection
	open   atomic.Int32
}

func (s *session) handlers() sftp.Handlers {
	return sftp.Handlers{FileGet: s, FilePut: s, FileCmd: s, FileList: s}
}

func (s *session) record(r Record) error {
	r.Partner, r.Remote = s.peer.Name, s.remote
	return s.edge.spool.record(r)
}

// refused records what a partner was not allowed, and answers him.
func (s *session) refused(direction, file string, err error) error {
	if e := s.record(Record{Direction: direction, File: file, Outcome: OutcomeRefused, Text: err.Error()}); e != nil {
		return fmt.Errorf("%w (it could not be recorded: %w)", err, e)
	}
	return err
}

func denied(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, sftp.ErrSSHFxPermissionDenied)...)
}

func missing(name string) error {
	return fmt.Errorf("%s: %w", name, sftp.ErrSSHFxNoSuchFile)
}

// take counts an open file; the caller's Close gives it back.
func (s *session) take() error {
	if int(s.open.Add(1)) > s.edge.limits.MaxOpen {
		s.open.Add(-1)
		return denied("%d files are open, the most at a time", s.edge.limits.MaxOpen)
	}
	return nil
}

// Filewrite implements sftp.FileWriter: /inbox/name, or /inbox/name.part to be
// renamed when it is whole.
func (s *session) Filewrite(r *sftp.Request) (io.WriterAt, error) { return s.OpenFile(r) }

// OpenFile implements sftp.OpenFileWriter, for clients that ask to read what
// they write: they get a handle that does not.
func (s *session) OpenFile(r *sftp.Request) (sftp.WriterAtReaderAt, error) {
	folder, name, err := canonical(r.Filepath)
	if err == nil && (folder != inbox || name == "") {
		err = denied("path %s, files are written to /%s/name", r.Filepath, inbox)
	}
	if err != nil {
		return nil, s.refused(DirectionIn, path.Base(r.Filepath), err)
	}
	u, err := s.upload(name, r.Pflags())
	if err != nil {
		return nil, s.refused(DirectionIn, name, err)
	}
	return u, nil
}

// upload opens a part for writing.
func (s *session) upload(name string, flags sftp.FileOpenFlags) (*upload, error) {
	spool, whole := s.edge.spool, strings.TrimSuffix(name, partial)
	switch m, err := spool.known(s.peer.Name, whole); {
	case err == nil:
		return nil, denied("%s was received on %s; names are used once, give the file a new one", whole, m.Ended.Format(time.RFC3339))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if err := s.room(name); err != nil {
		return nil, err
	}
	if err := s.take(); err != nil {
		return nil, err
	}
	u := &upload{
		s: s, part: name, max: s.edge.limits.MaxFile, began: time.Now().UTC(), cancel: s.cancel,
		gone: make(chan struct{}), ahead: map[int64][]byte{},
	}
	err := s.edge.claim(u)
	if err == nil {
		if err = u.start(flags); err != nil {
			s.edge.drop(u)
		}
	}
	if err != nil {
		s.open.Add(-1)
		return nil, err
	}
	return u, nil
}

// start opens the file as the flags say: without Trunc what is there is gone
// on from.
func (u *upload) start(flags sftp.FileOpenFlags) error {
	dir := path.Join(partDir, u.s.peer.Name)
	if err := u.s.edge.spool.mkdir(dir); err != nil {
		return err
	}
	mode := os.O_RDWR
	if flags.Creat {
		mode |= os.O_CREATE
	}
	if flags.Excl {
		mode |= os.O_EXCL
	}
	if flags.Trunc {
		mode |= os.O_TRUNC
	}
	file, err := u.s.edge.spool.root.OpenFile(path.Join(dir, u.part), mode, 0o600)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return missing(u.part)
	case errors.Is(err, fs.ErrExist):
		return denied("%s exists", u.part)
	case err != nil:
		return err
	}
	u.file = file
	known, _ := u.s.edge.sumOf(u.s.peer.Name, u.part)
	u.s.edge.dropSum(u)
	info, err := file.Stat()
	if err == nil {
		u.from = info.Size()
		err = u.restart(info.Size(), known)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	return nil
}

// room refuses when the partner has too much in the spool, the disk is short, or
// the site does not take the records away.
func (s *session) room(part string) error {
	if err := errors.Join(s.edge.spool.full(s.edge.limits.Records), s.edge.roomy()); err != nil {
		return err
	}
	parts, err := s.edge.spool.list(path.Join(partDir, s.peer.Name))
	if err != nil {
		return err
	}
	if len(parts) >= s.edge.limits.MaxParts && !slices.ContainsFunc(parts, func(e fs.DirEntry) bool { return e.Name() == part }) {
		return denied("%d files were begun and not ended, the most at a time; end or remove one", len(parts))
	}
	used, err := s.edge.spool.used(s.peer.Name)
	if err != nil {
		return err
	}
	if used >= s.edge.limits.MaxSpool {
		return denied("%d bytes wait for this site, the most is %d; try later", used, s.edge.limits.MaxSpool)
	}
	return nil
}

// handIn ends an upload: from now on the site has the file.
func (s *session) handIn(part, name string, p partSum) error {
	m := Meta{
		Partner: s.peer.Name, Name: name, Size: p.size, SHA256: p.sum(), Began: p.began, Ended: time.Now().UTC(), Remote: s.remote,
		TLS: s.peer.tlsPin(), SSH: s.peer.sshPrint(),
	}
	if err := s.edge.spool.handIn(part, m); err != nil {
		return err
	}
	return s.record(Record{Direction: DirectionIn, File: name, Size: p.size, SHA256: m.SHA256, Outcome: OutcomeReceived,
		From: p.from, Took: since(p.began)})
}

// Fileread implements sftp.FileReader: /outbox/name.
func (s *session) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	folder, name, err := canonical(r.Filepath)
	if err == nil && (folder != outbox || name == "") {
		err = denied("path %s, files are read from /%s/name", r.Filepath, outbox)
	}
	if err == nil {
		err = s.edge.spool.full(s.edge.limits.Records)
	}
	if err != nil {
		return nil, s.refused(DirectionOut, path.Base(r.Filepath), err)
	}
	dir := path.Join(outDir, s.peer.Name)
	m, err := s.edge.spool.readMeta(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing(r.Filepath)
	}
	if err != nil {
		return nil, err
	}
	if err := s.take(); err != nil {
		return nil, s.refused(DirectionOut, name, err)
	}
	file, err := s.edge.spool.root.Open(path.Join(dir, name+dataExt))
	if err != nil {
		s.open.Add(-1)
		return nil, missing(r.Filepath)
	}
	return &fetch{s: s, meta: m, file: file, began: time.Now().UTC()}, nil
}

// fetched ends the reading of a file.
func (s *session) fetched(f *fetch, whole bool) error {
	s.open.Add(-1)
	r := Record{Direction: DirectionOut, File: f.meta.Name, Size: f.meta.Size, SHA256: f.meta.SHA256, Outcome: OutcomeFetched}
	if !whole {
		var n int64
		for _, s := range f.read {
			n += s.to - s.from
		}
		r.Outcome, r.Text = OutcomeBroken, fmt.Sprintf("read %d of %d bytes", n, f.meta.Size)
		return s.record(r)
	}
	if _, err := s.edge.spool.Sent(s.peer.Name, f.meta.Name); errors.Is(err, fs.ErrNotExist) {
		m := f.meta
		m.Began, m.Ended, m.Remote, m.Text = f.began, time.Now().UTC(), s.remote, OutcomeFetched
		m.TLS, m.SSH = s.peer.tlsPin(), s.peer.sshPrint()
		if err := s.edge.spool.delivered(m, false); err != nil {
			return err
		}
	}
	return s.record(r)
}

// Filecmd implements sftp.FileCmder: the rename that hands a part in, the
// removal of an own part or of a fetched file, and attributes, which are taken
// and forgotten.
func (s *session) Filecmd(r *sftp.Request) error {
	folder, name, err := canonical(r.Filepath)
	if err == nil {
		switch {
		case r.Method == "Setstat" && name != "":
			return s.setstat(r, folder, name)
		case r.Method == "Rename" && folder == inbox && name != "":
			err = s.rename(name, r.Target)
		case r.Method == "Remove" && folder == inbox && name != "":
			err = s.removePart(name)
		case r.Method == "Remove" && folder == outbox && name != "":
			err = s.removeFetched(name)
		default:
			err = denied("%s is not allowed here", strings.ToLower(r.Method))
		}
	}
	if err != nil && !errors.Is(err, sftp.ErrSSHFxNoSuchFile) {
		return s.refused(direction(folder), path.Base(r.Filepath), err)
	}
	return err
}

func direction(folder string) string {
	if folder == outbox {
		return DirectionOut
	}
	return DirectionIn
}

// setstat pretends to set times and modes, which clients do without being
// asked; the size it sets, of a file being written.
func (s *session) setstat(r *sftp.Request, folder, name string) error {
	if !r.AttrFlags().Size {
		return nil
	}
	u := s.edge.writing(s.peer.Name, name)
	if folder != inbox || u == nil || u.s != s {
		return denied("the size of %s is not to be set", name)
	}
	attributes := r.Attributes()
	if attributes == nil {
		return fmt.Errorf("the attributes of %s are cut short: %w", name, sftp.ErrSSHFxBadMessage)
	}
	return u.truncate(int64(attributes.Size))
}

func (s *session) rename(name, target string) error {
	folder, whole, err := canonical(target)
	if err != nil {
		return err
	}
	if folder != inbox || whole+partial != name {
		return denied("%s can only be renamed to %s", name, strings.TrimSuffix(name, partial))
	}
	if m, err := s.edge.spool.known(s.peer.Name, whole); err == nil {
		return denied("%s was received on %s; names are used once", whole, m.Ended.Format(time.RFC3339))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Nobody else may write it while it is handed in.
	u := &upload{s: s, part: name, gone: make(chan struct{}), cancel: s.cancel}
	if s.edge.writing(s.peer.Name, name) != nil {
		return denied("%s is still being written", name)
	}
	if err := s.edge.claim(u); err != nil {
		return err
	}
	defer s.edge.drop(u)
	sum, err := s.partSum(name)
	if err != nil {
		return err
	}
	return s.handIn(name, whole, sum)
}

// partSum is the hash of a part, remembered or read.
func (s *session) partSum(name string) (partSum, error) {
	file, err := s.edge.spool.root.Open(path.Join(partDir, s.peer.Name, name))
	if errors.Is(err, fs.ErrNotExist) {
		return partSum{}, missing(name)
	}
	if err != nil {
		return partSum{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return partSum{}, err
	}
	if sum, ok := s.edge.sumOf(s.peer.Name, name); ok && sum.size == info.Size() {
		return sum, nil
	}
	hash := sha256.New()
	n, err := io.Copy(hash, file)
	return partSum{began: info.ModTime().UTC(), size: n, hash: hash}, err
}

// summed adds the hash of a part to what is told of it. Whoever still writes it on
// another connection is ended, as when it is opened.
func (s *session) summed(info *fileInfo) error {
	u := &upload{s: s, part: info.name, gone: make(chan struct{}), cancel: s.cancel}
	if err := s.edge.claim(u); err != nil {
		return nil // it is being written on this very connection
	}
	defer s.edge.drop(u)
	sum, err := s.partSum(info.name)
	if err != nil {
		return err
	}
	info.size, info.sum = sum.size, sum.sum()
	s.edge.mu.Lock()
	defer s.edge.mu.Unlock()
	s.edge.sums[uploadKey(s.peer.Name, info.name)] = sum
	return nil
}

func (s *session) removePart(name string) error {
	if s.edge.writing(s.peer.Name, name) != nil {
		return denied("%s is still being written", name)
	}
	err := s.edge.spool.root.Remove(path.Join(partDir, s.peer.Name, name))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := s.edge.spool.known(s.peer.Name, name); err == nil {
		return denied("%s was handed in and stays", name)
	}
	return missing(name)
}

func (s *session) removeFetched(name string) error {
	m, err := s.edge.spool.readMeta(path.Join(outDir, s.peer.Name), name)
	if errors.Is(err, fs.ErrNotExist) {
		return missing(name)
	}
	if err != nil {
		return err
	}
	if _, err := s.edge.spool.Sent(s.peer.Name, name); err != nil {
		return denied("%s was not fetched whole; fetch it before removing it", name)
	}
	if err := s.edge.spool.removeOut(s.peer.Name, name); err != nil {
		return err
	}
	return s.record(Record{Direction: DirectionOut, File: name, Size: m.Size, SHA256: m.SHA256, Outcome: OutcomeRemoved})
}

// Filelist implements sftp.FileLister.
func (s *session) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	folder, name, err := canonical(r.Filepath)
	if err != nil {
		return nil, err
	}
	switch r.Method {
	case "List":
		if name != "" {
			return nil, denied("%s is not a folder", r.Filepath)
		}
		return s.listFolder(folder)
	case "Stat":
		if name == "" {
			return listing{folderInfo(path.Base(r.Filepath))}, nil
		}
		info, err := s.stat(folder, name)
		if errors.Is(err, fs.ErrNotExist) {
			err = missing(r.Filepath)
		}
		if err == nil && s.ours && info.mode == partMode {
			err = s.summed(&info)
		}
		return listing{info}, err
	default:
		return nil, denied("%s is not allowed here", strings.ToLower(r.Method))
	}
}

func (s *session) listFolder(folder string) (listing, error) {
	switch folder {
	case inbox:
		return s.listInbox()
	case outbox:
		return s.listOutbox()
	default:
		return listing{folderInfo(inbox), folderInfo(outbox)}, nil
	}
}

// stat shows one file: in the inbox a part before a whole file.
func (s *session) stat(folder, name string) (fileInfo, error) {
	var m Meta
	var err error
	if folder == outbox {
		m, err = s.edge.spool.readMeta(path.Join(outDir, s.peer.Name), name)
	} else {
		if info, err := s.edge.spool.root.Stat(path.Join(partDir, s.peer.Name, name)); err == nil {
			return fileInfo{name: name, size: info.Size(), mode: partMode, when: info.ModTime()}, nil
		}
		m, err = s.edge.spool.known(s.peer.Name, name)
	}
	return fileInfo{name: name, size: m.Size, mode: wholeMode, when: m.Ended}, err
}

// listInbox shows parts, writable, and whole files, not writable any more.
func (s *session) listInbox() (listing, error) {
	parts, err := s.edge.spool.list(path.Join(partDir, s.peer.Name))
	if err != nil {
		return nil, err
	}
	whole, err := s.edge.spool.received(s.peer.Name)
	if err != nil {
		return nil, err
	}
	var files listing
	for _, e := range parts {
		if info, err := e.Info(); err == nil {
			files = append(files, fileInfo{name: e.Name(), size: info.Size(), mode: partMode, when: info.ModTime()})
		}
	}
	for _, m := range whole {
		files = append(files, fileInfo{name: m.Name, size: m.Size, mode: wholeMode, when: m.Ended})
	}
	return files.sorted(), nil
}

func (s *session) listOutbox() (listing, error) {
	var files listing
	err := s.edge.spool.eachMetaOf(path.Join(outDir, s.peer.Name), func(_, _ string, m Meta) {
		files = append(files, fileInfo{name: m.Name, size: m.Size, mode: wholeMode, when: m.Ended})
	})
	return files.sorted(), err
}

// wholeMode marks files that cannot change any more. The sender of another
// site tells by it a file that was handed in from one that was not.
const (
	partMode  fs.FileMode = 0o600
	wholeMode fs.FileMode = 0o400
)

// A listing is a folder's content for a client.
type listing []fs.FileInfo

// ListAt implements sftp.ListerAt.
func (l listing) ListAt(to []os.FileInfo, off int64) (int, error) {
	if off >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(to, l[off:])
	if n < len(to) {
		return n, io.EOF
	}
	return n, nil
}

func (l listing) sorted() listing {
	slices.SortFunc(l, func(a, b fs.FileInfo) int { return strings.Compare(a.Name(), b.Name()) })
	return l
}

type fileInfo struct {
	name string
	size int64
	mode fs.FileMode
	when time.Time
	sum  string // SHA-256 of a part, for an edge of this program
}

// sumAttribute is the extended attribute with the SHA-256, in hexadecimal, of the
// bytes of a part: by it our sender knows that they are its own, before it goes
// on after them (draft-ietf-secsh-filexfer-02, section 5).
const sumAttribute = "sha256@ankan"

// Extended implements sftp.FileInfoExtendedData.
func (f fileInfo) Extended() []sftp.StatExtended {
	if f.sum == "" {
		return nil
	}
	return []sftp.StatExtended{{ExtType: sumAttribute, ExtData: f.sum}}
}

func folderInfo(name string) fileInfo { return fileInfo{name: name, mode: fs.ModeDir | 0o500} }

func (f fileInfo) Name() string       { return f.name }
func (f fileInfo) Size() int64        { return f.size }
func (f fileInfo) Mode() fs.FileMode  { return f.mode }
func (f fileInfo) ModTime() time.Time { return f.when }
func (f fileInfo) IsDir() bool        { return f.mode.IsDir() }
func (f fileInfo) Sys() any           { return nil }
