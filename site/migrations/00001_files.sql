-- +goose Up
-- Every file that was ever taken in, by its digest: none is taken twice.
CREATE TABLE received (
  sha256  TEXT PRIMARY KEY,
  partner TEXT NOT NULL,
  name    TEXT NOT NULL,
  spool   TEXT NOT NULL, -- where it lay: the same file seen again after a crash is no replay
  at      TEXT NOT NULL
);
-- Transport keys that partners shared, until two people confirmed them.
CREATE TABLE offered_key (
  partner  TEXT NOT NULL,
  idx      INTEGER NOT NULL,
  purpose  TEXT NOT NULL,
  document BLOB NOT NULL, -- wrapped, with its check value
  state    TEXT NOT NULL, -- offered, accepted
  PRIMARY KEY (partner, purpose, idx)
);
-- Chip lots of this plant.
CREATE TABLE lot (
  name     TEXT PRIMARY KEY,
  document BLOB NOT NULL, -- the chip maker's delivery note; its key is wrapped
  state    TEXT NOT NULL  -- offered, accepted
);
