package site

import (
	"context"

	"ankan/hsm"
	"ankan/store"
)

// OpenStore opens the database of a site that is set up and does not run, for
// whoever looks into its books. It is the caller's to close.
func OpenStore(ctx context.Context, c *Config, token hsm.Module, parts ...Part) (*store.Store, error) {
	return openStore(ctx, c, token, parts)
}
