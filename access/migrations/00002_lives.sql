-- +goose Up
ALTER TABLE person ADD COLUMN state TEXT NOT NULL DEFAULT 'active'; -- active, suspended, locked, left
ALTER TABLE person ADD COLUMN password TEXT NOT NULL DEFAULT '';    -- Argon2id, PHC string; empty: none
ALTER TABLE person ADD COLUMN counter INTEGER NOT NULL DEFAULT 0;   -- of the passkey, at its last use
CREATE TABLE person_draft (
  id         TEXT PRIMARY KEY,
  document   BLOB NOT NULL,  -- act.Person as JSON, as far as it is known
  editor     TEXT NOT NULL,  -- who wrote it
  code       TEXT NOT NULL,  -- SHA-256 of the enrolment code, hex; empty: no passkey is waited for
  expires    TEXT NOT NULL,  -- RFC 3339: of the code
  password   TEXT NOT NULL DEFAULT '',
  registered INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE record (
  kind   TEXT NOT NULL, -- training, statement
  person TEXT NOT NULL,
  what   TEXT NOT NULL,
  at     TEXT NOT NULL, -- RFC 3339
  until  TEXT NOT NULL,
  act    TEXT NOT NULL, -- the act that recorded it
  PRIMARY KEY (kind, person, what, at)
);
CREATE TABLE policy_draft (
  version  INTEGER PRIMARY KEY,
  document BLOB NOT NULL, -- act.Policy as JSON
  written  BLOB NOT NULL, -- as it was written, YAML
  editor   TEXT NOT NULL
);
CREATE TABLE glass (
  id       TEXT PRIMARY KEY, -- the act
  person   TEXT NOT NULL,
  reason   TEXT NOT NULL,
  opened   TEXT NOT NULL,
  until    TEXT NOT NULL,
  reviewed TEXT NOT NULL DEFAULT ''
);
