package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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

	tx *ReadTx
}

// Dump is the database as the view sees it. It needs the view to stay.
func (tx *ReadTx) Dump(schemas ...Schema) (*Dump, error) {
	if tx.tx == nil {
		return nil, errOver
	}
	d := &Dump{Versions: map[string]int64{}, tx: tx}
	for _, s := range append([]Schema{logSchema()}, schemas...) {
		var has int64
		if err := tx.QueryRow("SELECT coalesce(max(version_id), 0) FROM schema_" + s.Name).Scan(&has); err != nil {
			return nil, fmt.Errorf("schema %s: %w", s.Name, err)
		}
		d.Versions[s.Name] = has
	}
	var err error
	d.Tables, err = tablesOf(tx.ctx, tx.tx)
	return d, err
}

// Rows gives every row of a table, in the order of its columns: each value an
// int64, a string, a []byte or nil. It is valid until row returns.
func (d *Dump) Rows(t Table, row func(values []any) error) error {
	rows, err := d.tx.Query("SELECT " + names(t.Columns) + " FROM " + quoted(t.Name))
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
	return table == "log_tile" || strings.HasPrefix(table, "schema_") || strings.HasPrefix(table, "river_") || strings.HasPrefix(table, "sqlite_")
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

// A Filling is a new database that a dump is being written into. It comes into
// its place when it is whole, by Finish; until then there is none.
type Filling struct {
	c        Config
	schemas  []Schema
	ctx      context.Context
	db       *sql.DB
	conn     *sql.Conn
	lock     *lockFile
	tables   map[string]Table
	triggers []string

	table  Table
	insert *sql.Stmt
	begun  bool
	size   int // bytes of the transaction under way
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
	f := &Filling{c: c, schemas: append([]Schema{logSchema()}, schemas...), ctx: context.WithoutCancel(ctx)}
	defer func() {
		if err != nil {
			f.Abort()
			err = fmt.Errorf("filling %s: %w", c.Path, err)
		}
	}()
	if err := f.checkVersions(versions); err != nil {
		return nil, err
	}
	if err := f.open(); err != nil {
		return nil, err
	}
	for _, s := range f.schemas {
		p, err := s.provider(f.db)
		if err != nil {
			return nil, err
		}
		if v := versions[s.Name]; v > 0 {
			if _, err := p.UpTo(ctx, v); err != nil {
				return nil, fmt.Errorf("schema %s: %w", s.Name, err)
			}
		}
	}
	if f.conn, err = f.db.Conn(ctx); err != nil {
		return nil, err
	}
	return f, f.clear()
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
	err := f.exec("BEGIN")
	if err == nil {
		err = f.takeTriggers()
	}
	var all []Table
	if err == nil {
		all, err = tablesOf(f.ctx, f.conn)
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
	return f.exec("COMMIT")
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

func (f *Filling) commit() error {
	if !f.begun {
		return nil
	}
	f.begun, f.size = false, 0
	return f.exec("COMMIT")
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
// and the file. Then the database is there.
func (f *Filling) Finish(vkey string, want []byte) (c audit.Checkpoint, err error) {
	if f.over {
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
	if err := f.finishLog(c, want); err != nil {
		return c, err
	}
	if err := f.exec("BEGIN"); err != nil {
		return c, err
	}
	for _, t := range f.triggers {
		if err := f.exec(t); err != nil {
			return c, err
		}
	}
	if err := f.exec("COMMIT"); err != nil {
		return c, err
	}
	tx, err := f.conn.BeginTx(f.ctx, nil)
	if err != nil {
		return c, err
	}
	err = errors.Join(f.counters(tx), checkFiles(f.ctx, tx))
	if err == nil {
		err = tx.Commit()
	} else {
		tx.Rollback()
	}
	if err != nil {
		return c, err
	}
	return c, f.place()
}

// finishLog computes the tiles, compares root and checkpoint, and signs it if
// the log has another key now.
func (f *Filling) finishLog(c audit.Checkpoint, want []byte) error {
	var signed []byte
	if err := f.conn.QueryRowContext(f.ctx, "SELECT signed FROM log_checkpoint WHERE id = 1").Scan(&signed); err != nil {
		return fmt.Errorf("log: its checkpoint: %w", err)
	}
	if string(signed) != string(want) {
		return fmt.Errorf("log: %w: its checkpoint is another than the one that was signed with the dump", ErrTampered)
	}
	tree, err := f.tiles(c.Size)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	if tree.Size() != c.Size || tree.Root() != c.Root {
		return fmt.Errorf("log: %w: %w: its %d entries give the root %s, its checkpoint signs %s over %d", ErrTampered, audit.Rewritten, tree.Size(), tree.Root(), c.Root, c.Size)
	}
	if _, err := audit.OpenCheckpoint(signed, f.c.Signer.VerifierKey()); err == nil {
		return nil
	}
	c.Origin = f.c.Origin
	if signed, err = c.Sign(f.c.Signer); err != nil {
		return err
	}
	return f.exec("UPDATE log_checkpoint SET signed = $1 WHERE id = 1", signed)
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
		if err := f.exec("COMMIT"); err != nil {
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

// Abort gives the filling up; nothing is left of it. After Finish it does
// nothing.
func (f *Filling) Abort() {
	if f.over {
		return
	}
	f.over = true
	if f.insert != nil {
		f.insert.Close()
	}
	if f.conn != nil {
		f.conn.Close()
	}
	if f.db != nil {
		f.db.Close()
	}
	if f.lock != nil {
		removeFiles(f.unfinished())
		f.lock.release()
	}
}

// What follows is SQLite's.

// tablesOf lists the tables whose rows are dumped, in the order of what they
// refer to.
func tablesOf(ctx context.Context, q interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}) ([]Table, error) {
	ask := func(query string, args ...any) ([]string, error) {
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
	list, err := ask("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
	if err != nil {
		return nil, err
	}
	var all []Table
	refers := map[string][]string{}
	for _, name := range list {
		if derived(name) {
			continue
		}
		t := Table{Name: name}
		if t.Columns, err = ask("SELECT name FROM pragma_table_info($1) ORDER BY cid", name); err != nil {
			return nil, err
		}
		if refers[name], err = ask(`SELECT "table" FROM pragma_foreign_key_list($1)`, name); err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return inOrder(all, refers)
}

// unfinished is the file that is being filled.
func (f *Filling) unfinished() string { return f.c.Path + ".filling" }

func removeFiles(path string) error {
	for _, end := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(path + end); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (f *Filling) open() (err error) {
	if f.lock, err = lock(f.c.Path + ".lock"); err != nil {
		return err
	}
	for _, end := range []string{"", "-wal"} {
		if _, err := os.Stat(f.c.Path + end); err == nil {
			return fmt.Errorf("%w: %s; nothing is written over data", ErrNotEmpty, f.c.Path+end)
		} else if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := removeFiles(f.unfinished()); err != nil { // of a try before
		return err
	}
	if err := createFile(f.unfinished()); err != nil {
		return err
	}
	// Nothing here has to outlive a crash: what is not finished is removed.
	f.db, err = openSQLite(f.unfinished(), "journal_mode(WAL)", "synchronous(NORMAL)", "foreign_keys(ON)", "temp_store(MEMORY)", "cache_size(-16000)")
	if err == nil {
		f.db.SetMaxOpenConns(1)
	}
	return err
}

// takeTriggers drops all triggers and keeps what makes them.
func (f *Filling) takeTriggers() error {
	rows, err := f.conn.QueryContext(f.ctx, "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name")
	if err != nil {
		return err
	}
	defer rows.Close()
	var drop []string
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return err
		}
		f.triggers, drop = append(f.triggers, text), append(drop, "DROP TRIGGER "+quoted(name))
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, q := range drop {
		if err := f.exec(q); err != nil {
			return err
		}
	}
	return nil
}

// counters sets counters of rows after what came in; SQLite has none.
func (f *Filling) counters(*sql.Tx) error { return nil }

// place puts the database where it belongs, durably.
func (f *Filling) place() error {
	if _, err := truncateWAL(f.ctx, f.conn); err != nil {
		return err
	}
	if err := errors.Join(f.conn.Close(), f.db.Close()); err != nil {
		return err
	}
	f.conn, f.db = nil, nil
	file, err := os.OpenFile(f.unfinished(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Sync(), file.Close(), os.Rename(f.unfinished(), f.c.Path)); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(f.c.Path))
	if err != nil {
		return err
	}
	f.over = true
	return errors.Join(dir.Sync(), dir.Close(), removeFiles(f.unfinished()), f.lock.release())
}
