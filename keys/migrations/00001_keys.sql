-- +goose Up
CREATE TABLE key (
  id        TEXT PRIMARY KEY, -- its name in the module, used once for ever
  purpose   TEXT NOT NULL,
  algorithm TEXT NOT NULL,
  kcv       TEXT NOT NULL DEFAULT '', -- with its method
  origin    TEXT NOT NULL,            -- generated, components, wrapped, given, restored, found
  owner     TEXT NOT NULL DEFAULT '', -- the site that made it
  state     TEXT NOT NULL,            -- NIST SP 800-57 part 1, 7; making: begun and not known to be there
  first     TEXT NOT NULL DEFAULT '', -- the state that it has once it is there
  made      TEXT NOT NULL,
  activated TEXT NOT NULL DEFAULT '',
  expires   TEXT NOT NULL DEFAULT '', -- end of the cryptoperiod; '' has none
  ended     TEXT NOT NULL DEFAULT '',
  uses      INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE key_event (
  key   TEXT NOT NULL,
  entry INTEGER NOT NULL, -- in the log
  at    TEXT NOT NULL,
  actor TEXT NOT NULL,
  what  TEXT NOT NULL, -- kind of the log entry
  text  TEXT NOT NULL DEFAULT ''
);
CREATE INDEX key_event_key ON key_event (key, entry);
CREATE TABLE key_copy (
  key    TEXT NOT NULL,
  kind   TEXT NOT NULL, -- module, component, share, partner, wrapped, token
  number INTEGER NOT NULL, -- of a component or share; 0
  holder TEXT NOT NULL, -- person, partner or module
  of     INTEGER NOT NULL DEFAULT 0,
  place  TEXT NOT NULL DEFAULT '', -- set, form, locker
  kcv    TEXT NOT NULL DEFAULT '',
  sealed BLOB,                     -- what only the holder can open
  since  TEXT NOT NULL,
  gone   TEXT NOT NULL DEFAULT '', -- when its destruction was recorded
  PRIMARY KEY (key, kind, number, holder, place)
);
CREATE TABLE key_link (
  key   TEXT NOT NULL,
  what  TEXT NOT NULL, -- order/ID, partner/NAME, key/ID
  since TEXT NOT NULL,
  uses  INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (key, what)
);
CREATE INDEX key_link_what ON key_link (what);
