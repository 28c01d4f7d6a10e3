package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/pressly/goose/v3"

	"ankan/audit"
)

// A Schema is the tables of one package: its migrations as SQL files in
// goose's form (00001_name.sql, -- +goose Up), at the root of Files. Each
// schema counts its versions for itself.
type Schema struct {
	Name  string // lower-case letters and "_"
	Files fs.FS
}

// Embedded is the schema whose migrations lie in the folder "migrations" of a
// package's embedded files.
func Embedded(name string, files embed.FS) Schema {
	migrations, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // only for a name that is no path
	}
	return Schema{Name: name, Files: migrations}
}

//go:embed sqlite
var logFiles embed.FS

// logSchema is the store's own tables.
func logSchema() Schema {
	files, err := fs.Sub(logFiles, "sqlite")
	if err != nil {
		panic(err) // the folder is embedded
	}
	return Schema{Name: "log", Files: files}
}

// ErrNewer means that a newer program has written the database.
var ErrNewer = errors.New("the database is newer than this program")

// provider makes the runner of s's migrations.
func (s Schema) provider(db *sql.DB, e engine) (*goose.Provider, error) {
	if s.Name == "" || strings.Trim(s.Name, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return nil, fmt.Errorf("schema name %q, want lower-case letters", s.Name)
	}
	p, err := goose.NewProvider(e.dialect(), db, e.files(s.Files), goose.WithTableName("schema_"+s.Name),
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return nil, fmt.Errorf("schema %s: %w", s.Name, err)
	}
	return p, nil
}

// newest is the newest version that s knows.
func (s Schema) newest() (version int64, err error) {
	files, err := fs.Glob(s.Files, "*.sql")
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		v, err := goose.NumericComponent(f)
		if err != nil {
			return 0, fmt.Errorf("schema %s: %w", s.Name, err)
		}
		version = max(version, v)
	}
	return version, nil
}

// check refuses a database that has a version of s which s does not know. It
// reports whether migrations are due.
func (s Schema) check(ctx context.Context, p *goose.Provider) (due bool, err error) {
	has, knows, err := p.GetVersions(ctx)
	if err != nil {
		return false, fmt.Errorf("schema %s: %w", s.Name, err)
	}
	if has > knows {
		return false, fmt.Errorf("schema %s: %w: it has version %d, the program knows %d; use the newer program", s.Name, ErrNewer, has, knows)
	}
	return has < knows, nil
}

// migrate brings all schemas up to date. It looks at all of them before it
// changes one, so that a program that is too old changes nothing.
func migrate(ctx context.Context, db *sql.DB, e engine, schemas []Schema) error {
	var providers []*goose.Provider
	var due bool
	for _, s := range schemas {
		p, err := s.provider(db, e)
		if err != nil {
			return err
		}
		more, err := s.check(ctx, p)
		if err != nil {
			return err
		}
		due = due || more
		providers = append(providers, p)
	}
	if !due {
		return nil
	}
	done, err := e.pending(ctx)
	if err != nil {
		return err
	}
	defer done()
	for i, p := range providers {
		if _, err := p.Up(ctx); err != nil {
			return fmt.Errorf("schema %s: %w", schemas[i].Name, err)
		}
	}
	return nil
}

// checkNames refuses two schemas of one name.
func checkNames(schemas []Schema) error {
	seen := map[string]bool{}
	for _, s := range schemas {
		if seen[s.Name] {
			return fmt.Errorf("schema %s is there twice", s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

// fits refuses tables that are not of the versions that the schemas know, for a
// process that does not bring them up to date.
func fits(ctx context.Context, db *sql.DB, e engine, schemas []Schema) error {
	for _, s := range schemas {
		p, err := s.provider(db, e)
		if err != nil {
			return err
		}
		sources := p.ListSources()
		knows := sources[len(sources)-1].Version
		var has int64
		if err := db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM schema_"+s.Name).Scan(&has); err != nil {
			return fmt.Errorf("schema %s: %w", s.Name, err)
		}
		switch {
		case has > knows:
			return fmt.Errorf("schema %s: %w: it has version %d, the program knows %d; use the newer program", s.Name, ErrNewer, has, knows)
		case has < knows:
			return fmt.Errorf("schema %s has version %d, want %d; start the site's main process with this program first", s.Name, has, knows)
		}
	}
	return nil
}

// logSchemas enters new versions of schemas into the log. A migration commits
// before its entry; were the program killed in between, the next Open finds
// the version that the log does not know and enters it.
func (s *Store) logSchemas(ctx context.Context, schemas []Schema) error {
	for _, schema := range schemas {
		var has, logged int64
		err := s.QueryRow(ctx, "SELECT coalesce(max(version_id), 0) FROM schema_"+schema.Name).Scan(&has)
		if err == nil {
			err = s.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM log_schema WHERE name = $1", schema.Name).Scan(&logged)
		}
		if err != nil {
			return err
		}
		if has == logged {
			continue
		}
		e := audit.Entry{Kind: "store.migrated", Actor: "system:store", Subject: "schema/" + schema.Name,
			Data: map[string]any{"from": logged, "to": has}}
		err = s.Change(ctx, e, func(tx *Tx) error {
			_, err := tx.w.exec(`INSERT INTO log_schema (name, version) VALUES ($1, $2)
				ON CONFLICT (name) DO UPDATE SET version = excluded.version`, schema.Name, has)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
