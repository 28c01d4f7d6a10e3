-- +goose Up
CREATE TABLE inventory (
  person  TEXT NOT NULL, -- the custodian who counted
  at      TEXT NOT NULL,
  officer TEXT NOT NULL, -- who saw it
  act     TEXT NOT NULL,
  items   BLOB NOT NULL, -- what was there, JSON
  missing TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (person, at)
);
