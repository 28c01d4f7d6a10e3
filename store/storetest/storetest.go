// Package storetest gives tests their databases: a file of SQLite, or, when
// ANKAN_TEST_DATABASE=postgres, a database on a PostgreSQL server of their own,
// so that one suite runs on both. It imports nothing of ours.
package storetest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"
)

// OnPostgres says that the suite runs on PostgreSQL.
func OnPostgres() bool {
	switch v := os.Getenv("ANKAN_TEST_DATABASE"); v {
	case "", "sqlite":
		return false
	case "postgres":
		return true
	default:
		panic(fmt.Sprintf("ANKAN_TEST_DATABASE is %q, want sqlite or postgres", v))
	}
}

// New is the path of a new, empty database, as store.Config has it.
func New(t testing.TB) string {
	t.Helper()
	if OnPostgres() {
		return Postgres(t)
	}
	return filepath.Join(t.TempDir(), "site.db")
}

var shared struct {
	once   sync.Once
	server *Server
	err    error
	n      atomic.Int64
}

// Postgres is the address of a new, empty schema of a database on the PostgreSQL
// server of this test process. Schemas are made much faster than databases.
func Postgres(t testing.TB) string {
	t.Helper()
	s := server(t)
	name := fmt.Sprintf("t%d", shared.n.Add(1))
	s.exec(t, "test", "CREATE SCHEMA "+name)
	t.Cleanup(func() { s.exec(t, "test", fmt.Sprintf("DROP SCHEMA IF EXISTS %s CASCADE", name)) })
	return s.URL("test") + "&search_path=" + name
}

// Database is the address of a new, empty database on that server.
func Database(t testing.TB) string {
	t.Helper()
	return server(t).New(t)
}

func server(t testing.TB) *Server {
	t.Helper()
	shared.once.Do(func() {
		if shared.server, shared.err = start("fsync=off"); shared.err == nil {
			shared.server.exec(t, "postgres", "CREATE DATABASE test TEMPLATE template0")
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// A Server is a PostgreSQL server of Debian's package, on a socket in a folder
// of its own, as a user who is not root.
type Server struct {
	dir     string
	options []string
	user    *syscall.SysProcAttr

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
	alive *os.File // the undertaker's other end
}

// Start starts a server for one test, which may kill and restart it. Unlike the
// one that tests share it writes to disk as in earnest.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	return s
}

// programs is the folder of PostgreSQL's programs: the newest of Debian's.
func programs() (string, error) {
	all, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(all) == 0 {
		return "", errors.New("there is no PostgreSQL; install the package postgresql (scripts/packages)")
	}
	newest, version := "", -1
	for _, p := range all {
		dir := filepath.Dir(p)
		if v, err := strconv.Atoi(filepath.Base(filepath.Dir(dir))); err == nil && v > version {
			newest, version = dir, v
		}
	}
	return newest, nil
}

// as is how the server's processes run: PostgreSQL refuses to be root.
func as() (*syscall.SysProcAttr, int, error) {
	attr := &syscall.SysProcAttr{Setpgid: true} // an interrupt is the test's; the undertaker sees to the rest
	if os.Getuid() != 0 {
		return attr, os.Getuid(), nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, 0, fmt.Errorf("PostgreSQL does not run as root: %w; install the package postgresql (scripts/packages)", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, 0, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, 0, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, uid, nil
}

func start(options ...string) (_ *Server, err error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	attr, uid, err := as()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, options: options, user: attr}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	if attr.Credential != nil {
		if err := os.Chown(dir, uid, int(attr.Credential.Gid)); err != nil {
			return nil, err
		}
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "ankan", "-A", "trust", "-E", "UTF8",
		"--no-locale", "--no-sync", "--no-instructions")
	initdb.SysProcAttr, initdb.Dir = attr, "/"
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	if err := s.bury(); err != nil {
		return nil, err
	}
	if err := s.Run(); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// bury starts a process that ends the server and removes its folder when this
// process is gone, however it went.
func (s *Server) bury() error {
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	undertaker := exec.Command("/bin/sh", "-c", `cat >/dev/null
pid=$(head -n1 "$1/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" && while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
rm -rf "$1"`, "sh", s.dir)
	undertaker.Stdin, undertaker.Dir, undertaker.SysProcAttr = in, "/", &syscall.SysProcAttr{Setpgid: true}
	if err := undertaker.Start(); err != nil {
		out.Close()
		return err
	}
	go undertaker.Wait()
	s.alive = out
	return nil
}

// Run starts the server, which does not run, and returns when it answers.
func (s *Server) Run() error {
	bin, err := programs()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	args := []string{"-D", filepath.Join(s.dir, "data"), "-k", s.dir}
	for _, o := range append([]string{"listen_addresses=", "max_connections=200", "shared_buffers=64MB", "log_min_messages=fatal"}, s.options...) {
		args = append(args, "-c", o)
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(filepath.Join(bin, "postgres"), args...)
	s.cmd.SysProcAttr, s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.user, "/", log, log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	s.ended = ended
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait()
		close(ended)
	}(s.cmd)
	for until := time.Now().Add(time.Minute); ; {
		conn, err := pgx.Connect(context.Background(), s.URL("postgres"))
		if err == nil {
			return conn.Close(context.Background())
		}
		select {
		case <-ended:
			said, _ := os.ReadFile(log.Name())
			return fmt.Errorf("PostgreSQL ended: %s", said)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(until) {
			return fmt.Errorf("PostgreSQL does not answer: %w", err)
		}
	}
}

// Kill ends the server as a crash does (SIGQUIT: none of its processes cleans
// up), and returns when it is gone.
func (s *Server) Kill() { s.stop(syscall.SIGQUIT) }

// Stop ends the server in good order, with its sessions cut off.
func (s *Server) Stop() { s.stop(syscall.SIGINT) }

func (s *Server) stop(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	<-s.ended
	s.cmd = nil
}

func (s *Server) end() {
	s.Kill()
	_ = os.RemoveAll(s.dir)
	_ = s.alive.Close()
}

// URL is the address of a database of the server.
func (s *Server) URL(database string) string {
	u := url.URL{Scheme: "postgres", Path: "/" + database, RawQuery: url.Values{"host": {s.dir}, "user": {"ankan"}}.Encode()}
	return u.String()
}

// Folder is where the server keeps its files.
func (s *Server) Folder() string { return filepath.Join(s.dir, "data") }

// New is the address of a new, empty database, which is there until the test ends.
func (s *Server) New(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("t%d", shared.n.Add(1))
	s.exec(t, "postgres", "CREATE DATABASE "+name+" TEMPLATE template0")
	t.Cleanup(func() {
		s.mu.Lock()
		runs := s.cmd != nil
		s.mu.Unlock()
		if runs {
			s.exec(t, "postgres", fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", name))
		}
	})
	return s.URL(name)
}

func (s *Server) exec(t testing.TB, database, statement string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), s.URL(database))
	if err == nil {
		_, err = conn.Exec(context.Background(), statement)
		conn.Close(context.Background())
	}
	if err != nil {
		t.Errorf("%s: %v", statement, err)
	}
}

// Open opens a database from outside, past the store.
func Open(t testing.TB, path string) *sql.DB {
	t.Helper()
	driver, name := "sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: "_pragma=busy_timeout(10000)"}).String()
	if isPostgres(path) {
		driver, name = "pgx", path
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func isPostgres(path string) bool { return strings.HasPrefix(path, "postgres://") }

// Copy is a copy of a database that no store has open.
func Copy(t testing.TB, path string) string {
	t.Helper()
	if !isPostgres(path) {
		to := filepath.Join(t.TempDir(), "site.db")
		whole, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(to, whole, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return to
	}
	return Snapshot(t, path)
}

// Disk is all that the database has on disk, also what it has written ahead and
// what it has not overwritten yet. On PostgreSQL that is the whole server's.
func Disk(t testing.TB, path string) []byte {
	t.Helper()
	var all bytes.Buffer
	if !isPostgres(path) {
		for _, name := range []string{path, path + "-wal"} {
			b, err := os.ReadFile(name)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			all.Write(b)
		}
		return all.Bytes()
	}
	shared.server.exec(t, "postgres", "CHECKPOINT")
	err := filepath.WalkDir(shared.server.Folder(), func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // a file that went away meanwhile
		}
		f, err := os.Open(name)
		if err != nil {
			return nil
		}
		defer f.Close()
		_, err = io.Copy(&all, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.Bytes()
}

// Snapshot is a copy of a database that may be in use.
func Snapshot(t testing.TB, path string) string {
	t.Helper()
	if !isPostgres(path) {
		to := filepath.Join(t.TempDir(), "site.db")
		if _, err := Open(t, path).Exec(`VACUUM INTO $1`, to); err != nil {
			t.Fatal(err)
		}
		return to
	}
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	from, err := url.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	q := from.Query()
	args := []string{"--no-owner", "--no-privileges"}
	schema := q.Get("search_path")
	if schema != "" {
		args = append(args, "--schema="+schema)
	}
	q.Del("search_path")
	from.RawQuery = q.Encode()
	to := Database(t)
	dump, err := exec.Command(filepath.Join(bin, "pg_dump"), append(args, from.String())...).Output()
	if err != nil {
		t.Fatalf("pg_dump: %v", err)
	}
	psql := exec.Command(filepath.Join(bin, "psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", to)
	psql.Stdin = bytes.NewReader(dump)
	if out, err := psql.CombinedOutput(); err != nil {
		t.Fatalf("psql: %v: %s", err, out)
	}
	if schema != "" {
		to += "&search_path=" + schema
	}
	return to
}

// Break has the database refuse what on says ("BEFORE INSERT ON card", "BEFORE
// UPDATE ON card WHEN NEW.state = 'good'"), until mend is called.
func Break(t testing.TB, path, on, why string) (mend func()) {
	t.Helper()
	db := Open(t, path)
	do := func(statements ...string) {
		t.Helper()
		for _, q := range statements {
			if _, err := db.Exec(q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
	}
	event, when, found := strings.Cut(on, " WHEN ")
	if found {
		when = "WHEN (" + when + ") "
	}
	if !isPostgres(path) {
		do("CREATE TRIGGER broken " + event + " " + when + "BEGIN SELECT RAISE(ABORT, '" + why + "'); END")
		return func() { do("DROP TRIGGER broken") }
	}
	do("CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '"+why+"'; END $$",
		"CREATE TRIGGER broken "+event+" FOR EACH ROW "+when+"EXECUTE FUNCTION broken()")
	return func() { do("DROP FUNCTION broken CASCADE") }
}

// Section is what a site's configuration says of its database: nothing for one
// in its folder.
func Section(t testing.TB) string {
	if !OnPostgres() {
		return ""
	}
	return fmt.Sprintf("\ndatabase: {url: %q}\n", New(t))
}
