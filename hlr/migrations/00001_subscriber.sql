-- +goose Up
-- The data key of the store, wrapped under a key that never leaves the
-- security module. One row.
CREATE TABLE subscriber_key (
  id      INTEGER PRIMARY KEY CHECK (id = 1),
  kek     TEXT NOT NULL, -- name of the Subscriber key in the module
  wrapped BLOB NOT NULL
);
CREATE TABLE subscriber (
  imsi      TEXT PRIMARY KEY,
  iccid     TEXT NOT NULL UNIQUE,
  algorithm TEXT NOT NULL,
  sealed    BLOB NOT NULL,   -- K || OPc under the data key, bound to the IMSI
  amf       INTEGER NOT NULL,
  sqn       INTEGER NOT NULL, -- the last one that was issued; counts up only
  ord       TEXT NOT NULL,    -- the order that the card came with
  loaded_at TEXT NOT NULL     -- RFC 3339, UTC
);
CREATE INDEX subscriber_ord ON subscriber (ord);
