package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// Advisory locks of PostgreSQL are two numbers: one of these, and the number of
// the schema in which the site's tables are.
const (
	lockPrimary = 0x416E6B61 // held by the site's main process, alone
	lockMember  = 0x416E6B62 // shared by all that work beside it
)

const (
	postgresReaders = 8

	// grace is how long the main process waits for the one before it to be gone.
	grace = time.Second

	oldestPostgres = 130000
)

// IsPostgres says whether a store's path is the address of a PostgreSQL server.
func IsPostgres(path string) bool {
	return strings.HasPrefix(path, "postgres://") || strings.HasPrefix(path, "postgresql://")
}

// A postgresServer is a database on a PostgreSQL server. One process is the
// site's main process: it holds an advisory lock on the very connection that
// commits, so that who has lost the lock cannot commit. Others may work beside it.
type postgresServer struct {
	config *pgx.ConnConfig
	secret func() (string, error)
	beside bool
	key    int64 // of the schema, in advisory locks

	db    *sql.DB
	first *sql.Conn // that took the lock, until it is asked for
	token string    // by which the main process knows itself again
}

// ParseAddress reads the address of a PostgreSQL server. It refuses a password
// in it, and a way to another machine that is not TLS with a verified name.
func ParseAddress(address string) (*pgx.ConnConfig, error) {
	u, err := url.Parse(address)
	if err != nil || !IsPostgres(address) {
		return nil, errors.New("database address is none, want postgres://ROLE@HOST:PORT/DATABASE, or postgres:///DATABASE?host=/FOLDER&user=ROLE for a socket")
	}
	q := u.Query()
	if _, ok := u.User.Password(); ok || q.Has("password") {
		return nil, errors.New("database address has a password in it; put it into a file that only the site can read, and name that file")
	}
	c, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, fmt.Errorf("database address: %w", err)
	}
	if q.Get("sslmode") == "" && !local(c) {
		q.Set("sslmode", "verify-full")
		u.RawQuery = q.Encode()
		if c, err = pgx.ParseConfig(u.String()); err != nil {
			return nil, fmt.Errorf("database address: %w", err)
		}
	}
	if !local(c) && !verified(c) {
		return nil, fmt.Errorf("database address: sslmode is %q, want verify-full: keys of whole orders go this way, sealed, and acts that must not be changed", q.Get("sslmode"))
	}
	if c.ValidateConnect == nil {
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	}
	return c, nil
}

// InSchema makes a schema of a PostgreSQL database, in the place of one of the
// same name and all that is in it, and gives the address of a database in it.
func InSchema(ctx context.Context, address, name string) (string, error) {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "", fmt.Errorf("schema name %q, want lower-case letters", name)
	}
	c, err := ParseAddress(address)
	if err != nil {
		return "", err
	}
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "DROP SCHEMA IF EXISTS "+name+" CASCADE; CREATE SCHEMA "+name); err != nil {
		return "", fmt.Errorf("schema %s: %w", name, err)
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", err // it was parsed before
	}
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// local says that c goes to this machine only.
func local(c *pgx.ConnConfig) bool {
	here := func(host string) bool {
		ip := net.ParseIP(host)
		return host == "localhost" || strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || ip != nil && ip.IsLoopback()
	}
	for _, f := range c.Fallbacks {
		if !here(f.Host) {
			return false
		}
	}
	return here(c.Host)
}

// verified says that c verifies whom it talks to, wherever it goes.
func verified(c *pgx.ConnConfig) bool {
	for _, f := range c.Fallbacks {
		if f.TLSConfig == nil || f.TLSConfig.InsecureSkipVerify && f.TLSConfig.VerifyPeerCertificate == nil {
			return false
		}
	}
	t := c.TLSConfig
	return t != nil && (!t.InsecureSkipVerify || t.VerifyPeerCertificate != nil)
}

func newPostgres(c Config) (*postgresServer, error) {
	config, err := ParseAddress(c.Path)
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	config.RuntimeParams["application_name"] = fmt.Sprintf("ankan %.40s process %d", host, os.Getpid())
	config.RuntimeParams["timezone"] = "UTC"
	config.RuntimeParams["bytea_output"] = "hex"
	// The server lets go of who has vanished within half a minute, and of who
	// holds up all others in a minute.
	config.RuntimeParams["tcp_keepalives_idle"] = "10"
	config.RuntimeParams["tcp_keepalives_interval"] = "5"
	config.RuntimeParams["tcp_keepalives_count"] = "3"
	config.DialFunc = (&net.Dialer{Timeout: 10 * time.Second,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}).DialContext
	config.ConnectTimeout = 10 * time.Second
	return &postgresServer{config: config, secret: c.Password, beside: c.Beside, token: rand.Text()}, nil
}

func (p *postgresServer) dialect() goose.Dialect { return goose.DialectPostgres }
func (p *postgresServer) files(in fs.FS) fs.FS   { return postgresFiles{in} }
func (p *postgresServer) view() *sql.TxOptions {
	return &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}
}

func (p *postgresServer) handle(params map[string]string, after func(context.Context, *pgx.Conn) error) *sql.DB {
	c := p.config.Copy()
	for k, v := range params {
		c.RuntimeParams[k] = v
	}
	return sql.OpenDB(pgConnector{stdlib.GetConnector(*c, stdlib.OptionAfterConnect(after),
		stdlib.OptionBeforeConnect(func(_ context.Context, c *pgx.ConnConfig) (err error) {
			if p.secret != nil {
				c.Password, err = p.secret()
			}
			return err
		}))})
}

func (p *postgresServer) open(ctx context.Context) (*sql.DB, error) {
	// Changes are serial because each begins with the lock on the checkpoint,
	// and sees what was committed before it had that lock.
	p.db = p.handle(map[string]string{
		"default_transaction_isolation":       "read committed",
		"idle_in_transaction_session_timeout": "60000",
	}, p.prepare)
	if err := p.look(ctx); err != nil {
		return nil, err
	}
	p.db.SetMaxIdleConns(0) // the one that looked did not know the lock yet that others have
	p.db.SetMaxIdleConns(postgresReaders)
	if p.beside {
		return p.db, nil
	}
	if _, err := p.db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS log_primary (
		id BIGINT PRIMARY KEY CHECK (id = 1), token TEXT NOT NULL)`); err != nil {
		return nil, err
	}
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.take(ctx, conn); err != nil {
		discard(conn)
		return nil, err
	}
	p.first = conn
	return p.db, nil
}

// look refuses a database whose texts are not ordered as bytes, and one that is
// too old.
func (p *postgresServer) look(ctx context.Context) error {
	var version int
	var encoding, provider, collate string
	var schema sql.NullString
	var key sql.NullInt64
	err := p.db.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int, pg_encoding_to_char(encoding), datlocprovider, datcollate,
		current_schema(), (SELECT oid::bigint & 2147483647 FROM pg_namespace WHERE nspname = current_schema())
		FROM pg_database WHERE datname = current_database()`).Scan(&version, &encoding, &provider, &collate, &schema, &key)
	switch {
	case err != nil:
		return err
	case version < oldestPostgres:
		return fmt.Errorf("the server's version is %d, want %d or newer", version, oldestPostgres)
	case encoding != "UTF8" || provider != "c" || collate != "C" && collate != "POSIX":
		return fmt.Errorf("the database has encoding %s and collation %s, want UTF8 and C; make one with CREATE DATABASE ... ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0", encoding, collate)
	case !schema.Valid:
		return errors.New("the database has no schema of the search path; make one with CREATE SCHEMA")
	}
	p.key = key.Int64
	return nil
}

// prepare makes a new connection one that commits to disk, and, beside the main
// process, one that is counted.
func (p *postgresServer) prepare(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`)
	if err == nil && p.beside && p.key != 0 {
		_, err = conn.Exec(ctx, `SELECT pg_advisory_lock_shared($1, $2)`, int32(lockMember), int32(p.key))
	}
	return err
}

// errHeld means that a session that is not over yet holds the lock.
var errHeld = errors.New("the lock of the main process is still held")

// take makes conn the one of the site's main process. When a connection was
// lost, the lock may still be held by its session, which the server has not
// given up yet.
func (p *postgresServer) take(ctx context.Context, conn *sql.Conn) error {
	again := p.first != nil
	for until := time.Now().Add(grace); ; {
		var got bool
		if err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1, $2)`, int32(lockPrimary), int32(p.key)).Scan(&got); err != nil {
			return err
		}
		if got {
			break
		}
		if again {
			if err := p.same(ctx, conn); err != nil {
				return err
			}
			return errHeld
		}
		if time.Now().After(until) {
			return p.inUse(ctx, conn, lockPrimary)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	if again {
		return p.same(ctx, conn)
	}
	_, err := conn.ExecContext(ctx, `INSERT INTO log_primary (id, token) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET token = excluded.token`, p.token)
	return err
}

// same refuses when another process has been the main process since: what this
// one knows is old.
func (p *postgresServer) same(ctx context.Context, conn *sql.Conn) error {
	var token string
	if err := conn.QueryRowContext(ctx, `SELECT token FROM log_primary WHERE id = 1`).Scan(&token); err != nil {
		return err
	}
	if token != p.token {
		return fmt.Errorf("%w; this one stops writing", ErrPrimary)
	}
	return nil
}

// inUse names who holds an advisory lock.
func (p *postgresServer) inUse(ctx context.Context, conn *sql.Conn, class int64) error {
	var name string
	err := conn.QueryRowContext(ctx, `SELECT coalesce(max(coalesce(nullif(a.application_name, ''), 'session ' || a.pid) || coalesce(' at ' || a.client_addr, '')), 'nobody any more')
		FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted
		AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.classid = $1 AND l.objid = $2`, class, p.key).Scan(&name)
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: the database is in use by %s; stop it first", ErrPrimary, name)
}

func (p *postgresServer) connect(ctx context.Context) (*writer, error) {
	if w := p.first; w != nil && p.db != nil {
		if _, err := w.ExecContext(ctx, "SELECT 1"); err == nil {
			return newWriter(w, false), nil
		}
	}
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if !p.beside {
		if err := p.take(ctx, conn); err != nil {
			discard(conn)
			return nil, err
		}
		p.first = conn
	}
	return newWriter(conn, false), nil
}

func (p *postgresServer) readers() (*sql.DB, error) {
	db := p.handle(map[string]string{"default_transaction_read_only": "on"}, func(context.Context, *pgx.Conn) error { return nil })
	db.SetMaxOpenConns(postgresReaders)
	db.SetMaxIdleConns(postgresReaders)
	return db, nil
}

func (p *postgresServer) begin(w *writer) (signed []byte, err error) {
	err = w.conn.Raw(func(dc any) error {
		conn := pgxConn(dc).PgConn()
		if conn.TxStatus() != 'I' { // to PostgreSQL this is no error
			return errors.New("a transaction is under way")
		}
		all, err := conn.Exec(context.Background(), "BEGIN; "+lockCheckpoint).ReadAll()
		if err == nil && (len(all) != 2 || len(all[1].Rows) != 1) {
			err = errors.New("the log has no checkpoint")
		}
		if err == nil {
			signed, err = hex.DecodeString(strings.TrimPrefix(string(all[1].Rows[0][0]), `\x`))
		}
		if err != nil {
			_, _ = conn.Exec(context.Background(), "ROLLBACK").ReadAll()
		}
		return err
	})
	return signed, err
}

// lockCheckpoint is the turn in the log, until the transaction is over.
const lockCheckpoint = "SELECT signed FROM log_checkpoint WHERE id = 1 FOR UPDATE"

func (p *postgresServer) alive(w *writer) bool {
	return w.conn.Raw(func(dc any) error {
		if pgxConn(dc).IsClosed() {
			return driver.ErrBadConn
		}
		return nil
	}) == nil
}

func (p *postgresServer) lost(err error) bool { return lostServer(err) }

func lostServer(err error) bool {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		switch code := said.Code; {
		case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "57P"), code == "25P03", code == "53300", code == "25006":
			return true
		}
		return false
	}
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, errHeld) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, sql.ErrConnDone) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || pgconn.SafeToRetry(err)
}

// pending keeps others away while migrations run.
func (p *postgresServer) pending(ctx context.Context) (done func(), err error) {
	var got bool
	if err := p.first.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1, $2)`, int32(lockMember), int32(p.key)).Scan(&got); err != nil {
		return nil, err
	}
	if !got {
		return nil, fmt.Errorf("the tables are to be changed: %w", p.inUse(ctx, p.first, lockMember))
	}
	return func() {
		_, _ = p.first.ExecContext(context.Background(), `SELECT pg_advisory_unlock($1, $2)`, int32(lockMember), int32(p.key))
	}, nil
}

// ready lets numbers that columns give by themselves go on after those that are
// there: rows that came with their numbers, from a backup, have not told it.
func (p *postgresServer) ready(ctx context.Context) error {
	rows, err := p.db.QueryContext(ctx, `SELECT quote_ident(table_name), quote_ident(column_name), pg_get_serial_sequence(quote_ident(table_name), column_name)
		FROM information_schema.columns WHERE table_schema = current_schema() AND is_identity = 'YES'`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var set []string
	for rows.Next() {
		var table, column, sequence string
		if err := rows.Scan(&table, &column, &sequence); err != nil {
			return err
		}
		set = append(set, fmt.Sprintf("SELECT setval('%[3]s', m) FROM (SELECT max(%[2]s) AS m FROM %[1]s) AS x WHERE m > (SELECT last_value FROM %[3]s)", table, column, sequence))
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, q := range set {
		if _, err := p.db.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// scrub lets the server take deleted rows out of their pages. What its
// write-ahead log and its backups still hold is sealed under keys that are gone.
func (p *postgresServer) scrub(ctx context.Context, _ *Store) (busy bool, err error) {
	rows, err := p.db.QueryContext(ctx, `SELECT quote_ident(relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = (
		SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND relname NOT LIKE 'log\_%' ORDER BY relname`)
	if err != nil {
		return false, err
	}
	var tables []string
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			rows.Close()
			return false, err
		}
		tables = append(tables, table)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return false, err
	}
	for _, table := range tables {
		if _, err := p.db.ExecContext(ctx, "VACUUM "+table); err != nil {
			return false, err
		}
	}
	return false, nil
}

// check asks whether all that keeps references and the log is there and at
// work: it can be switched off, and then the tables cannot be trusted.
func (p *postgresServer) check(ctx context.Context, tx *sql.Tx) error {
	var wrong string
	err := tx.QueryRowContext(ctx, `WITH here AS (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema())
		SELECT 'trigger ' || tgname || ' is disabled' FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM here) AND tgenabled NOT IN ('O', 'A')
		UNION ALL SELECT 'constraint ' || conname || ' was not validated' FROM pg_constraint WHERE conrelid IN (SELECT oid FROM here) AND NOT convalidated
		UNION ALL SELECT 'index ' || indexrelid::regclass || ' is not valid' FROM pg_index WHERE indrelid IN (SELECT oid FROM here) AND NOT indisvalid
		UNION ALL SELECT 'trigger ' || name || ' is gone' FROM (VALUES ('log_entry_stays'), ('log_entry_kept')) AS must (name)
			WHERE NOT EXISTS (SELECT 1 FROM pg_trigger WHERE tgname = name AND tgrelid IN (SELECT oid FROM here))
		LIMIT 1`).Scan(&wrong)
	if err == nil {
		return fmt.Errorf("database is damaged: %s", wrong)
	} else if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	return p.references(ctx, tx)
}

// references looks for rows that refer to none.
func (p *postgresServer) references(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, `SELECT conrelid::regclass::text, confrelid::regclass::text, string_agg(format('c.%I = p.%I', a.attname, b.attname), ' AND '),
			string_agg(format('c.%I IS NOT NULL', a.attname), ' AND ')
		FROM pg_constraint, unnest(conkey, confkey) AS k (x, y), pg_attribute a, pg_attribute b
		WHERE contype = 'f' AND a.attrelid = conrelid AND a.attnum = k.x AND b.attrelid = confrelid AND b.attnum = k.y
			AND connamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
		GROUP BY pg_constraint.oid, conrelid, confrelid ORDER BY 1, 2`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var table, parent, same, filled string
		if err := rows.Scan(&table, &parent, &same, &filled); err != nil {
			return err
		}
		var loose bool
		if err := tx.QueryRowContext(ctx, fmt.Sprintf("SELECT EXISTS (SELECT 1 FROM %s c WHERE %s AND NOT EXISTS (SELECT 1 FROM %s p WHERE %s))",
			table, filled, parent, same)).Scan(&loose); err != nil {
			return err
		}
		if loose {
			return fmt.Errorf("a row of table %s refers to none of %s", table, parent)
		}
	}
	return rows.Err()
}

func (p *postgresServer) close() error {
	if p.db == nil {
		return nil
	}
	if p.first != nil {
		discard(p.first)
	}
	return p.db.Close()
}
