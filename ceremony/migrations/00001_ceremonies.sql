-- +goose Up
CREATE TABLE ceremony (
  id       TEXT PRIMARY KEY,
  kind     TEXT NOT NULL,
  title    TEXT NOT NULL,
  document BLOB NOT NULL, -- the plan as it was written, YAML
  steps    BLOB NOT NULL DEFAULT '', -- []Step as JSON, from the moment it was opened
  editor   TEXT NOT NULL,
  state    TEXT NOT NULL, -- drafted, open, break, closed, aborted
  drafted  TEXT NOT NULL,
  opened   TEXT NOT NULL DEFAULT '',
  ended    TEXT NOT NULL DEFAULT '',
  act      TEXT NOT NULL DEFAULT '', -- by which it was opened
  signed   BLOB                      -- the transcript, signed by the site
);
CREATE TABLE ceremony_signature (
  ceremony TEXT NOT NULL REFERENCES ceremony (id),
  step     INTEGER NOT NULL,
  person   TEXT NOT NULL,
  act      TEXT NOT NULL,
  at       TEXT NOT NULL,
  entry    INTEGER NOT NULL, -- in the log
  PRIMARY KEY (ceremony, step, person)
);
CREATE TABLE ceremony_input (
  ceremony TEXT NOT NULL REFERENCES ceremony (id),
  step     INTEGER NOT NULL,
  person   TEXT NOT NULL,
  began    TEXT NOT NULL,           -- when the clock of the entry began
  data     BLOB NOT NULL DEFAULT '', -- what came, sealed to the module
  PRIMARY KEY (ceremony, step)
);
CREATE TABLE ceremony_effect (
  ceremony TEXT NOT NULL REFERENCES ceremony (id),
  step     INTEGER NOT NULL,
  state    TEXT NOT NULL,           -- doing, done
  result   BLOB NOT NULL DEFAULT '', -- JSON
  PRIMARY KEY (ceremony, step)
);
CREATE TABLE ceremony_note (
  ceremony TEXT NOT NULL REFERENCES ceremony (id),
  act      TEXT NOT NULL,
  kind     TEXT NOT NULL, -- deviation, break, resume, abort, failure
  person   TEXT NOT NULL,
  at       TEXT NOT NULL,
  step     INTEGER NOT NULL,
  text     TEXT NOT NULL
);
