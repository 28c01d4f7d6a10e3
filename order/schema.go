package order

import (
	"embed"
	"io/fs"

	"ankan/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the tables of this package.
func Schema() store.Schema {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	return store.Schema{Name: "orders", Files: files}
}
