-- +goose Up

-- The entries, each in its canonical form. Nothing ever changes here.
CREATE TABLE log_entry (
  idx  INTEGER PRIMARY KEY,
  leaf BLOB NOT NULL
);

-- The full tiles of the tree over them (C2SP tlog-tiles). Tiles that are not
-- full are computed from what stands below them.
CREATE TABLE log_tile (
  level  INTEGER NOT NULL,
  n      INTEGER NOT NULL,
  hashes BLOB NOT NULL,
  PRIMARY KEY (level, n)
);

-- The last signed checkpoint, in one row.
CREATE TABLE log_checkpoint (
  id     INTEGER PRIMARY KEY CHECK (id = 1),
  signed BLOB NOT NULL
);

-- The version of each schema that the log knows of.
CREATE TABLE log_schema (
  name    TEXT PRIMARY KEY,
  version INTEGER NOT NULL
);

-- +goose StatementBegin
CREATE TRIGGER log_entry_stays BEFORE UPDATE ON log_entry
BEGIN SELECT RAISE(ABORT, 'log entries are never changed'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER log_entry_kept BEFORE DELETE ON log_entry
BEGIN SELECT RAISE(ABORT, 'log entries are never deleted'); END;
-- +goose StatementEnd
