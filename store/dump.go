package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ankan/audit"
)

// A Table is a table of a dump: its name and its columns in their order.
type Table struct {
	Name    string
	Columns []string
}

// A Dump is all that a database holds, in one state of it, in values that every
// kind of database takes: whole numbers, text, bytes and nothing. What is
// computed from the rest is not in it: the log's tiles, indexes, triggers.
type Dump struct {
	Versions map[string]int64 // of each schema
	Tables   []Table          // what a table refers to comes before it

	tx     *ReadTx
	engine dumper
}

// A dumper is what an engine knows besides, to be dumped and filled.
type dumper interface {
	engine
	// tables lists the tables whose rows are dumped, in the order of what they
	// refer to.
	tables(ctx context.Context, q asks) ([]Table, error)
	// ordered has rows come in the order in which they were written, where
	// nothing else in them says it.
	ordered(ctx context.Context, q asks, table string) (string, error)
	// fill opens a new, empty database for a filling.
	fill(ctx context.Context) (*sql.DB, error)
	// quiet takes the triggers out of the way; loud puts them back, and sets what
	// counts rows.
	quiet(ctx context.Context, c *sql.Conn) error
	loud(ctx context.Context, c *sql.Conn) error
	// settle makes what was filled outlast the machine, and closes c. place has the
	// database be there, durably; it may be called again. drop leaves nothing of a
	// filling that was not placed.
	settle(ctx context.Context, c *sql.Conn) error
	place(ctx context.Context) error
	drop(ctx context.Context) error
	// half refuses a database that is being filled.
	half(ctx context.Context) error
}

// asks is a connection or a transaction.
type asks interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}

// Dump gives fn all that the database holds in one state of it. It keeps no
// writer waiting.
func (s *Store) Dump(ctx context.Context, schemas []Schema, fn func(*ReadTx, *Dump) error) error {
	return s.View(ctx, func(tx *ReadTx) error {
		d, err := tx.dump(s.engine.(dumper), schemas)
		if err != nil {
			return err
		}
		return fn(tx, d)
	})
}

// Signed is the checkpoint of the dump's log.
func (d *Dump) Signed() (signed []byte, err error) {
	err = d.tx.QueryRow("SELECT signed FROM log_checkpoint WHERE id = 1").Scan(&signed)
	return signed, err
}

func (tx *ReadTx) dump(e dumper, schemas []Schema) (*Dump, error) {
	d := &Dump{Versions: map[string]int64{}, tx: tx, engine: e}
	for _, s := range append([]Schema{logSchema()}, schemas...) {
		var has int64
		if err := tx.QueryRow("SELECT coalesce(max(version_id), 0) FROM schema_" + s.Name).Scan(&has); err != nil {
			return nil, fmt.Errorf("schema %s: %w", s.Name, err)
		}
		d.Versions[s.Name] = has
	}
	var err error
	d.Tables, err = e.tables(tx.ctx, tx.tx)
	return d, err
}

// Rows gives every row of a table, in the order of its columns: each value an
// int64, a string, a []byte or nil. It is valid until row returns.
func (d *Dump) Rows(t Table, row func(values []any) error) error {
	order, err := d.engine.ordered(d.tx.ctx, d.tx.tx, t.Name)
	if err != nil {
		return err
	}
	rows, err := d.tx.Query("SELECT " + names(t.Columns) + " FROM " + quoted(t.Name) + order)
	if err != nil {
		return err
	}
	defer rows.Close()
	values, to := make([]any, len(t.Columns)), make([]any, len(t.Columns))
	for i := range values {
		to[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return err
		}
		for i, v := range values {
			switch v.(type) {
			case nil, int64, string, []byte:
			default:
				return fmt.Errorf("dumping %s.%s: found a %T, want a whole number, text or bytes", t.Name, t.Columns[i], v)
			}
		}
		if err := row(values); err != nil {
			return err
		}
	}
	return rows.Err()
}

// derived says that a table's rows are not dumped: versions are told by
// themselves, tiles are computed from entries, and jobs from what is to be done.
func derived(table string) bool {
	return table == "log_tile" || table == "log_primary" || table == pgFilling || strings.HasPrefix(table, "schema_") || strings.HasPrefix(table, "river_") || strings.HasPrefix(table, "sqlite_")
}

// inOrder sorts tables so that each comes after those that it refers to.
func inOrder(all []Table, refers map[string][]string) ([]Table, error) {
	var sorted []Table
	done, left := map[string]bool{}, slices.Clone(all)
	for len(left) > 0 {
		rest := slices.DeleteFunc(slices.Clone(left), func(t Table) bool {
			for _, to := range refers[t.Name] {
				if to != t.Name && !done[to] {
					return false
				}
			}
			sorted = append(sorted, t)
			return true
		})
		if len(rest) == len(left) {
			return nil, fmt.Errorf("tables %s and others refer to each other", rest[0].Name)
		}
		for _, t := range sorted {
			done[t.Name] = true
		}
		left = rest
	}
	return sorted, nil
}

// quoted is a name in SQL. "of" and "key" are words of some databases.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func names(columns []string) string {
	var all []string
	for _, c := range columns {
		all = append(all, quoted(c))
	}
	return strings.Join(all, ", ")
}

// ErrNotEmpty is wrapped where a dump would come over data.
var ErrNotEmpty = errors.New("the database is there already")

// A Filling is a new database that a dump is being written into. It is whole by
// Finish, and one that opens by Place.
type Filling struct {
	c       Config
	engine  dumper
	schemas []Schema
	ctx     context.Context
	conn    *sql.Conn
	tables  map[string]Table // that nothing was written into yet
	signed  []byte           // the dump's checkpoint, which comes in last

	table  Table
	insert *sql.Stmt
	begun  bool
	size   int // bytes of the transaction under way
	whole  bool
	over   bool
}

// fillBytes bounds what one transaction of a filling writes, in bytes.
const fillBytes = 8 << 20

// Fill begins a new database of the versions of a dump. It refuses one that is
// there (ErrNotEmpty), and a dump of a newer program (ErrNewer). The signer is
// of the log's checkpoint: another key than before, if the one before is gone.
func Fill(ctx context.Context, c Config, versions map[string]int64, schemas ...Schema) (_ *Filling, err error) {
	if c.Signer == nil || c.Signer.Name() != c.Origin || c.Origin == "" {
		return nil, fmt.Errorf("filling %s: log %q needs a signer of the same name", c.Path, c.Origin)
	}
	e, err := newEngine(c)
	if err != nil {
		return nil, err
	}
	f := &Filling{c: c, engine: e.(dumper), schemas: append([]Schema{logSchema()}, schemas...), ctx: context.WithoutCancel(ctx)}
	if err := f.checkVersions(versions); err != nil {
		return nil, fmt.Errorf("filling %s: %w", c.Path, err)
	}
	var db *sql.DB
	err = c.Steps.Do("fill.begin", func() (err error) {
		db, err = f.engine.fill(ctx)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("filling %s: %w", c.Path, err), e.close())
	}
	defer func() {
		if err != nil {
			f.Abort()
			err = fmt.Errorf("filling %s: %w", c.Path, err)
		}
	}()
	if err := c.Steps.Do("fill.migrate", func() error { return f.migrate(ctx, db, versions) }); err != nil {
		return nil, err
	}
	if f.conn, err = db.Conn(ctx); err != nil {
		return nil, err
	}
	return f, f.clear()
}

// migrate makes the tables of the dump's versions.
func (f *Filling) migrate(ctx context.Context, db *sql.DB, versions map[string]int64) error {
	for _, s := range f.schemas {
		p, err := s.provider(db, f.engine)
		if err != nil {
			return err
		}
		if v := versions[s.Name]; v > 0 {
			if _, err := p.UpTo(ctx, v); err != nil {
				return fmt.Errorf("schema %s: %w", s.Name, err)
			}
		}
	}
	return nil
}

func (f *Filling) checkVersions(versions map[string]int64) error {
	for name, v := range versions {
		at := slices.IndexFunc(f.schemas, func(s Schema) bool { return s.Name == name })
		if at < 0 {
			return fmt.Errorf("schema %s: %w: this program has no such schema; use the newer program", name, ErrNewer)
		}
		knows, err := f.schemas[at].newest()
		if err != nil {
			return err
		}
		if v > knows {
			return fmt.Errorf("schema %s: %w: it has version %d, the program knows %d; use the newer program", name, ErrNewer, v, knows)
		}
	}
	if versions["log"] == 0 {
		return errors.New("the dump has no log")
	}
	return nil
}

// clear takes out what migrations put in, and the triggers, which a dump has
// gone through already.
func (f *Filling) clear() error {
	if err := f.engine.quiet(f.ctx, f.conn); err != nil {
		return err
	}
	all, err := f.engine.tables(f.ctx, f.conn)
	if err == nil {
		err = f.exec("BEGIN")
	}
	if err != nil {
		return err
	}
	f.tables = map[string]Table{}
	for _, t := range slices.Backward(all) {
		f.tables[t.Name] = t
		if err := f.exec("DELETE FROM " + quoted(t.Name)); err != nil {
			return err
		}
	}
	return f.end()
}

// end ends a transaction.
func (f *Filling) end() error {
	return f.c.Steps.Do("fill.commit", func() error { return f.exec("COMMIT") })
}

func (f *Filling) exec(query string, args ...any) error {
	_, err := f.conn.ExecContext(f.ctx, query, args...)
	return err
}

// Table begins the rows of a table. A column that is not the dump's gets its
// default.
func (f *Filling) Table(t Table) error {
	if f.over {
		return ErrClosed
	}
	if err := f.endTable(); err != nil {
		return err
	}
	has, ok := f.tables[t.Name]
	if !ok {
		return fmt.Errorf("table %q: there is none, or it was there before", t.Name)
	}
	for i, c := range t.Columns {
		if !slices.Contains(has.Columns, c) || slices.Contains(t.Columns[:i], c) {
			return fmt.Errorf("table %s: it has no column %q, or has it twice", t.Name, c)
		}
	}
	delete(f.tables, t.Name)
	places := make([]string, len(t.Columns))
	for i := range places {
		places[i] = fmt.Sprintf("$%d", i+1)
	}
	var err error
	f.table = t
	f.insert, err = f.conn.PrepareContext(f.ctx, fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", quoted(t.Name), names(t.Columns), strings.Join(places, ", ")))
	return err
}

// Row writes one row of the table that was begun.
func (f *Filling) Row(values []any) error {
	if f.insert == nil || len(values) != len(f.table.Columns) {
		return fmt.Errorf("table %s: a row of %d values, want %d", f.table.Name, len(values), len(f.table.Columns))
	}
	if f.table.Name == "log_checkpoint" {
		return f.keepSigned(values)
	}
	if !f.begun {
		if err := f.exec("BEGIN"); err != nil {
			return err
		}
		f.begun = true
	}
	if _, err := f.insert.ExecContext(f.ctx, values...); err != nil {
		return fmt.Errorf("table %s: %w", f.table.Name, err)
	}
	for _, v := range values {
		f.size += 16
		switch v := v.(type) {
		case string:
			f.size += len(v)
		case []byte:
			f.size += len(v)
		}
	}
	if f.size > fillBytes {
		return f.commit()
	}
	return nil
}

// keepSigned holds the checkpoint back: with it, and not before, the database is
// one that opens.
func (f *Filling) keepSigned(values []any) error {
	at := slices.Index(f.table.Columns, "signed")
	if at < 0 || f.signed != nil {
		return fmt.Errorf("table %s: want one row with what was signed", f.table.Name)
	}
	signed, ok := values[at].([]byte)
	if !ok {
		return fmt.Errorf("table %s: what was signed is a %T", f.table.Name, values[at])
	}
	f.signed = bytes.Clone(signed)
	return nil
}

func (f *Filling) commit() error {
	if !f.begun {
		return nil
	}
	f.begun, f.size = false, 0
	return f.end()
}

func (f *Filling) endTable() error {
	if f.insert == nil {
		return nil
	}
	err := errors.Join(f.insert.Close(), f.commit())
	f.insert = nil
	return err
}

// Finish checks the whole: the log against its checkpoint, which the key vkey
// must have signed and which must be the one that is wanted, what rows refer to,
// and the file. Then the database is whole and on the disk, and waits to be placed.
func (f *Filling) Finish(vkey string, want []byte) (c audit.Checkpoint, err error) {
	if f.over || f.whole {
		return c, ErrClosed
	}
	defer func() {
		if err != nil {
			f.Abort()
			err = fmt.Errorf("filling %s: %w", f.c.Path, err)
		}
	}()
	if err := f.endTable(); err != nil {
		return c, err
	}
	for _, name := range slices.Sorted(maps.Keys(f.tables)) {
		return c, fmt.Errorf("table %s: the dump has none", name)
	}
	if c, err = audit.OpenCheckpoint(want, vkey); err != nil {
		return c, err
	}
	signed, err := f.checkLog(c, want)
	if err != nil {
		return c, err
	}
	if err := f.engine.loud(f.ctx, f.conn); err != nil {
		return c, err
	}
	tx, err := f.conn.BeginTx(f.ctx, nil)
	if err != nil {
		return c, err
	}
	if err = f.engine.check(f.ctx, tx); err == nil {
		_, err = tx.ExecContext(f.ctx, "INSERT INTO log_checkpoint (id, signed) VALUES (1, $1)", signed)
	}
	if err != nil {
		tx.Rollback()
		return c, err
	}
	if err := f.c.Steps.Do("fill.commit", tx.Commit); err != nil {
		tx.Rollback() // where it was not tried: the connection is the transaction's until then
		return c, err
	}
	if err := f.c.Steps.Do("fill.settle", func() error { return f.engine.settle(f.ctx, f.conn) }); err != nil {
		return c, err
	}
	f.whole = true
	return c, nil
}

// Place puts the database that Finish found whole where it opens. It takes
// nothing back: what it did not come to is done by the function Place.
func (f *Filling) Place() error {
	if f.over || !f.whole {
		return ErrClosed
	}
	f.over = true
	return errors.Join(placed(f.ctx, f.c, f.engine), f.engine.close())
}

// Leave lets go of a filling that Finish found whole and that is placed later. It
// does nothing to one that is not whole.
func (f *Filling) Leave() error {
	if f.over || !f.whole {
		return nil
	}
	f.over = true
	return f.engine.close()
}

// Place does what was cut short after a Finish, or nothing where it had come to
// its end. That Finish had found the database whole is for the caller to know.
func Place(ctx context.Context, c Config) error {
	e, err := newEngine(c)
	if err != nil {
		return err
	}
	return errors.Join(placed(context.WithoutCancel(ctx), c, e.(dumper)), e.close())
}

func placed(ctx context.Context, c Config, e dumper) error {
	if err := c.Steps.Do("fill.place", func() error { return e.place(ctx) }); err != nil {
		return fmt.Errorf("placing %s: %w", c.Path, err)
	}
	return nil
}

// checkLog computes the tiles, compares root and checkpoint, and gives the
// checkpoint that the log has from here on, signed anew if its key is another.
func (f *Filling) checkLog(c audit.Checkpoint, want []byte) ([]byte, error) {
	if !bytes.Equal(f.signed, want) {
		return nil, fmt.Errorf("log: %w: its checkpoint is another than the one that was signed with the dump", ErrTampered)
	}
	tree, err := f.tiles(c.Size)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	if tree.Size() != c.Size || tree.Root() != c.Root {
		return nil, fmt.Errorf("log: %w: %w: its %d entries give the root %s, its checkpoint signs %s over %d", ErrTampered, audit.Rewritten, tree.Size(), tree.Root(), c.Root, c.Size)
	}
	if _, err := audit.OpenCheckpoint(want, f.c.Signer.VerifierKey()); err == nil {
		return want, nil
	}
	c.Origin = f.c.Origin
	return c.Sign(f.c.Signer)
}

// tiles rebuilds the log's tree from its entries, and writes its full tiles.
func (f *Filling) tiles(size int64) (*audit.Tree, error) {
	if err := f.exec("DELETE FROM log_tile"); err != nil {
		return nil, err
	}
	tree, view := new(audit.Tree), asker{f.ctx, f.conn}
	const batch = 64 * tileWidth
	for from := int64(0); from < size; from += batch {
		if err := f.exec("BEGIN"); err != nil {
			return nil, err
		}
		var made []audit.Tile
		for leaf, err := range leaves(view, from, min(batch, size-from)) {
			if err == nil {
				_, err = audit.ParseEntry(leaf)
			}
			if err == nil {
				err = tree.Append(audit.LeafHash(leaf), func(t audit.Tile) error {
					made = append(made, audit.Tile{Level: t.Level, N: t.N, Hashes: slices.Clone(t.Hashes)})
					return nil
				})
			}
			if err != nil {
				return nil, err
			}
		}
		for _, t := range made {
			if err := f.exec("INSERT INTO log_tile (level, n, hashes) VALUES ($1, $2, $3)", int64(t.Level), t.N, t.Bytes()); err != nil {
				return nil, err
			}
		}
		if err := f.end(); err != nil {
			return nil, err
		}
	}
	var more int64
	if err := f.conn.QueryRowContext(f.ctx, "SELECT count(*) FROM log_entry").Scan(&more); err != nil {
		return nil, err
	}
	if more != size {
		how := audit.Added
		if more < size {
			how = audit.Truncated
		}
		return nil, fmt.Errorf("%w: %w: %d entries, its checkpoint signs %d", ErrTampered, how, more, size)
	}
	return tree, nil
}

// asker asks a connection.
type asker struct {
	ctx  context.Context
	conn *sql.Conn
}

func (a asker) Query(query string, args ...any) (*sql.Rows, error) {
	return a.conn.QueryContext(a.ctx, query, args...)
}

func (a asker) QueryRow(query string, args ...any) *sql.Row {
	return a.conn.QueryRowContext(a.ctx, query, args...)
}

// Abort gives the filling up; nothing is left of it. After Place or Leave it does
// nothing.
func (f *Filling) Abort() {
	if f.over {
		return
	}
	f.over = true
	if f.insert != nil {
		f.insert.Close()
	}
	if f.conn != nil && !f.whole {
		_ = f.exec("ROLLBACK") // if a transaction is under way
		f.conn.Close()
	}
	// What cannot be dropped now does not open: it is not in its place.
	_ = f.c.Steps.Do("fill.drop", func() error { return f.engine.drop(f.ctx) })
	f.engine.close()
}

// texts asks for rows of one text.
func texts(ctx context.Context, q asks, query string, args ...any) ([]string, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

// list makes tables of their names.
func list(all []string, columns, refers func(table string) ([]string, error)) ([]Table, error) {
	var tables []Table
	to := map[string][]string{}
	for _, name := range all {
		if derived(name) {
			continue
		}
		t := Table{Name: name}
		var err error
		if t.Columns, err = columns(name); err != nil {
			return nil, err
		}
		// PostgreSQL has the column where SQLite has it by itself.
		t.Columns = slices.DeleteFunc(t.Columns, func(c string) bool { return c == "rowid" })
		if to[name], err = refers(name); err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	return inOrder(tables, to)
}

// ---- SQLite

func (f *sqliteFile) tables(ctx context.Context, q asks) ([]Table, error) {
	all, err := texts(ctx, q, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
	if err != nil {
		return nil, err
	}
	return list(all, func(table string) ([]string, error) {
		return texts(ctx, q, "SELECT name FROM pragma_table_info($1) ORDER BY cid", table)
	}, func(table string) ([]string, error) {
		return texts(ctx, q, `SELECT "table" FROM pragma_foreign_key_list($1)`, table)
	})
}

// ordered: a table without a primary key is read by its rowid.
func (f *sqliteFile) ordered(ctx context.Context, q asks, table string) (string, error) {
	keys, err := texts(ctx, q, "SELECT name FROM pragma_table_info($1) WHERE pk > 0", table)
	if err != nil || len(keys) > 0 {
		return "", err
	}
	return " ORDER BY rowid", nil
}

// unfinished is the file that is being filled.
func (f *sqliteFile) unfinished() string { return f.path + ".filling" }

func (f *sqliteFile) fill(context.Context) (_ *sql.DB, err error) {
	if f.lock, err = lock(f.path + ".lock"); err != nil {
		return nil, err
	}
	for _, end := range []string{"", "-wal"} {
		if _, err := os.Stat(f.path + end); err == nil {
			return nil, fmt.Errorf("%w: %s; nothing is written over data", ErrNotEmpty, f.path+end)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if err := removeFiles(f.unfinished()); err != nil { // of a try before
		return nil, err
	}
	if err := createFile(f.unfinished()); err != nil {
		return nil, err
	}
	// Nothing here has to outlive a crash: what is not finished is removed.
	f.db, err = openSQLite(f.unfinished(), "journal_mode(WAL)", "synchronous(NORMAL)", "foreign_keys(ON)", "temp_store(MEMORY)", "cache_size(-16000)")
	if err == nil {
		f.db.SetMaxOpenConns(1)
	}
	return f.db, err
}

func removeFiles(path string) error {
	for _, end := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(path + end); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// quietTriggers keeps what makes the triggers again: SQLite cannot turn them off.
const quietTriggers = "log_triggers"

func (f *sqliteFile) quiet(ctx context.Context, c *sql.Conn) error {
	if _, err := c.ExecContext(ctx, "CREATE TEMP TABLE "+quietTriggers+" AS SELECT name, sql FROM main.sqlite_master WHERE type = 'trigger'"); err != nil {
		return err
	}
	all, err := texts(ctx, c, "SELECT name FROM "+quietTriggers)
	for _, name := range all {
		if err == nil {
			_, err = c.ExecContext(ctx, "DROP TRIGGER "+quoted(name))
		}
	}
	return err
}

func (f *sqliteFile) loud(ctx context.Context, c *sql.Conn) error {
	all, err := texts(ctx, c, "SELECT sql FROM "+quietTriggers+" ORDER BY name")
	for _, text := range all {
		if err == nil {
			_, err = c.ExecContext(ctx, text)
		}
	}
	return err
}

func (f *sqliteFile) half(context.Context) error { return nil } // it has another name

func (f *sqliteFile) settle(ctx context.Context, c *sql.Conn) error {
	busy, err := truncateWAL(ctx, c)
	if err == nil && busy {
		err = errors.New("its write-ahead log does not end")
	}
	if err != nil {
		return err
	}
	if err := errors.Join(c.Close(), f.db.Close()); err != nil {
		return err
	}
	f.db = nil
	file, err := os.OpenFile(f.unfinished(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

func (f *sqliteFile) place(context.Context) (err error) {
	if f.lock == nil {
		if f.lock, err = lock(f.path + ".lock"); err != nil {
			return err
		}
	}
	_, there := os.Stat(f.path)
	_, waits := os.Stat(f.unfinished())
	switch {
	case there == nil && waits == nil:
		return fmt.Errorf("%w: %s; nothing is written over data", ErrNotEmpty, f.path)
	case waits == nil:
		if err := os.Rename(f.unfinished(), f.path); err != nil {
			return err
		}
	case there != nil:
		return there
	}
	dir, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close(), removeFiles(f.unfinished()))
}

func (f *sqliteFile) drop(context.Context) error {
	if f.db != nil {
		f.db.Close()
		f.db = nil
	}
	return removeFiles(f.unfinished())
}

// ---- PostgreSQL

const pgHere = "n.nspname = current_schema()"

func (p *postgresServer) tables(ctx context.Context, q asks) ([]Table, error) {
	all, err := texts(ctx, q, "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND "+pgHere+" ORDER BY 1")
	if err != nil {
		return nil, err
	}
	return list(all, func(table string) ([]string, error) {
		return texts(ctx, q, `SELECT column_name::text FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position`, table)
	}, func(table string) ([]string, error) {
		return texts(ctx, q, `SELECT t.relname::text FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class t ON t.oid = k.confrelid
			JOIN pg_namespace n ON n.oid = c.relnamespace WHERE k.contype = 'f' AND c.relname = $1 AND `+pgHere, table)
	})
}

func (p *postgresServer) ordered(ctx context.Context, q asks, table string) (string, error) {
	has, err := texts(ctx, q, `SELECT column_name::text FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1 AND column_name = 'rowid'`, table)
	if err != nil || len(has) == 0 {
		return "", err
	}
	return " ORDER BY rowid", nil
}

// pgFilling is a table that says that a filling began and did not end.
const pgFilling = "log_filling"

func (p *postgresServer) fill(ctx context.Context) (*sql.DB, error) {
	db, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	all, err := texts(ctx, db, "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND "+pgHere+" AND c.relname <> 'log_primary'")
	if err != nil {
		return nil, err
	}
	if slices.Contains(all, pgFilling) { // of a try before
		if err := p.drop(ctx); err != nil {
			return nil, err
		}
	} else if len(all) > 0 {
		return nil, fmt.Errorf("%w: it has the table %s; nothing is written over data", ErrNotEmpty, all[0])
	}
	_, err = db.ExecContext(ctx, "CREATE TABLE "+pgFilling+" (id BIGINT PRIMARY KEY)")
	return db, err
}

func (p *postgresServer) triggers(ctx context.Context, c *sql.Conn, do string) error {
	all, err := texts(ctx, c, "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND "+pgHere)
	for _, table := range all {
		if err == nil {
			_, err = c.ExecContext(ctx, "ALTER TABLE "+quoted(table)+" "+do+" TRIGGER USER")
		}
	}
	return err
}

func (p *postgresServer) quiet(ctx context.Context, c *sql.Conn) error {
	return p.triggers(ctx, c, "DISABLE")
}

func (p *postgresServer) loud(ctx context.Context, c *sql.Conn) error {
	if err := p.triggers(ctx, c, "ENABLE"); err != nil {
		return err
	}
	// Columns that number rows go on after what came in.
	all, err := texts(ctx, c, `SELECT format('SELECT setval(pg_get_serial_sequence(%L, %L), coalesce((SELECT max(%I) FROM %I), 0) + 1, false)',
		quote_ident(table_name), column_name, column_name, table_name)
		FROM information_schema.columns WHERE table_schema = current_schema() AND is_identity = 'YES'`)
	for _, q := range all {
		if err == nil {
			_, err = c.ExecContext(ctx, q)
		}
	}
	return err
}

func (p *postgresServer) settle(_ context.Context, c *sql.Conn) error { return c.Close() }

func (p *postgresServer) half(ctx context.Context) error {
	var half bool
	if err := p.db.QueryRowContext(ctx, "SELECT to_regclass('"+pgFilling+"') IS NOT NULL").Scan(&half); err != nil {
		return err
	}
	if half {
		return errors.New("a backup is being restored into it, or that was cut short; run the restore again")
	}
	return nil
}

func (p *postgresServer) place(ctx context.Context) error {
	if p.db == nil {
		if _, err := p.open(ctx); err != nil {
			return err
		}
	}
	var whole bool
	if err := p.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT FROM log_checkpoint)").Scan(&whole); err != nil || !whole {
		return errors.Join(err, errors.New("it does not hold what was restored"))
	}
	_, err := p.db.ExecContext(ctx, "DROP TABLE IF EXISTS "+pgFilling)
	return err
}

// drop takes everything out of the schema, if it is of a filling.
func (p *postgresServer) drop(ctx context.Context) error {
	if p.db == nil {
		return nil
	}
	all, err := texts(ctx, p.db, "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND "+pgHere+" AND c.relname <> 'log_primary' ORDER BY c.relname = 'log_filling'")
	if err != nil || !slices.Contains(all, pgFilling) {
		return err
	}
	for _, table := range all { // the mark last
		if _, err := p.db.ExecContext(ctx, "DROP TABLE "+quoted(table)+" CASCADE"); err != nil {
			return err
		}
	}
	functions, err := texts(ctx, p.db, "SELECT f.oid::regprocedure::text FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace WHERE "+pgHere)
	for _, f := range functions {
		if err == nil {
			_, err = p.db.ExecContext(ctx, "DROP FUNCTION "+f+" CASCADE")
		}
	}
	return err
}
