-- +goose Up
CREATE TABLE policy (
  version  INTEGER PRIMARY KEY,
  document BLOB NOT NULL -- act.Policy as JSON; old versions stay
);
CREATE TABLE person (
  id       TEXT PRIMARY KEY,
  document BLOB NOT NULL -- act.Person as JSON; no secret
);
