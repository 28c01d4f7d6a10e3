-- +goose Up
CREATE TABLE act (
  id        TEXT PRIMARY KEY,
  kind      TEXT NOT NULL,
  subject   TEXT NOT NULL,
  requester TEXT NOT NULL,
  requested TEXT NOT NULL, -- RFC 3339, UTC
  canonical BLOB NOT NULL,
  state     TEXT NOT NULL, -- open, approved, rejected, used
  complete  TEXT           -- RFC 3339: when the last seat was filled
);
CREATE INDEX act_state ON act (state);
CREATE TABLE act_signature (
  act       TEXT NOT NULL REFERENCES act (id),
  person    TEXT NOT NULL,
  verb      TEXT NOT NULL,
  signature BLOB NOT NULL, -- act.Signature as JSON
  PRIMARY KEY (act, person)
);
