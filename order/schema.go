package order

import (
	"embed"

	"ankan/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the tables of this package.
func Schema() store.Schema { return store.Embedded("orders", migrations) }
