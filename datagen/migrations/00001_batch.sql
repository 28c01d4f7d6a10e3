-- +goose Up
-- The blocks of an order's key sets, sealed under the order's data key, which
-- is itself wrapped under a key that never leaves the security module.
CREATE TABLE batch (
  ord        TEXT PRIMARY KEY,
  kek        TEXT NOT NULL,    -- name of the key in the module
  wrapped    BLOB NOT NULL,    -- data key under kek
  profile    BLOB NOT NULL,    -- the electrical profile (YAML), without anybody's secrets
  cards      INTEGER NOT NULL, -- key sets with an identity
  spares     INTEGER NOT NULL, -- key sets without, for remakes
  block_size INTEGER NOT NULL  -- key sets in a block; the last one may have fewer
);
CREATE TABLE block (
  ord    TEXT NOT NULL REFERENCES batch (ord) ON DELETE CASCADE,
  n      INTEGER NOT NULL,
  sealed BLOB NOT NULL,
  PRIMARY KEY (ord, n)
);
