-- +goose Up
CREATE TABLE item (
  kind   TEXT NOT NULL, -- physical-key, locker, envelope, bag, seal, smart-card, rack
  number TEXT NOT NULL, -- what is written on it; used once for ever
  holder TEXT NOT NULL DEFAULT '', -- person; a rack has none
  place  TEXT NOT NULL DEFAULT '', -- room, or item/KIND/NUMBER that it is in
  opens  TEXT NOT NULL DEFAULT '', -- item/KIND/NUMBER, of a physical key
  holds  TEXT NOT NULL DEFAULT '', -- copy/KIND/NUMBER/PLACE/KEY
  state  TEXT NOT NULL,            -- held, missing, sent, gone
  since  TEXT NOT NULL,            -- with this holder
  missing TEXT NOT NULL DEFAULT '', -- since when, if a count did not find it
  gone   TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (kind, number)
);
CREATE INDEX item_holder ON item (holder);
CREATE TABLE item_event (
  kind   TEXT NOT NULL,
  number TEXT NOT NULL,
  entry  INTEGER NOT NULL, -- in the log
  at     TEXT NOT NULL,
  actor  TEXT NOT NULL,
  what   TEXT NOT NULL,
  text   TEXT NOT NULL DEFAULT ''
);
CREATE INDEX item_event_item ON item_event (kind, number);
CREATE TABLE key_draft (
  subject  TEXT PRIMARY KEY, -- item/KIND/NUMBER, inventory/PERSON
  document BLOB NOT NULL,    -- JSON
  editor   TEXT NOT NULL
);
CREATE TABLE rack_opening (
  id     INTEGER PRIMARY KEY,
  rack   TEXT NOT NULL, -- number of the item, or the room if the register knows no rack there
  opened TEXT NOT NULL,
  by     TEXT NOT NULL, -- person numbers with commas
  why    TEXT NOT NULL, -- reason, or ceremony/ID
  closed TEXT NOT NULL DEFAULT '',
  closer TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX rack_open ON rack_opening (rack) WHERE closed = '';
CREATE TABLE reminder (
  what TEXT PRIMARY KEY,
  at   TEXT NOT NULL -- when it was last told
);
CREATE TABLE transfer (
  number   TEXT PRIMARY KEY, -- CT-NNNNNN
  outgoing TEXT NOT NULL,
  incoming TEXT NOT NULL,
  things   BLOB NOT NULL, -- what moves, JSON
  sealed   BLOB NOT NULL, -- parts of keys, sealed anew, JSON by their names; {} once they moved
  drafted  TEXT NOT NULL,
  done     TEXT NOT NULL DEFAULT '',
  officer  TEXT NOT NULL DEFAULT '',
  act      TEXT NOT NULL DEFAULT ''
);
ALTER TABLE key_copy ADD COLUMN missing TEXT NOT NULL DEFAULT ''; -- since when, if a count did not find it
CREATE INDEX key_copy_holder ON key_copy (holder);
