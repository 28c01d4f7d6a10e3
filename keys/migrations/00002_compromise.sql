-- +goose Up
CREATE TABLE compromise (
  key TEXT PRIMARY KEY,
  at  TEXT NOT NULL,
  by  TEXT NOT NULL,
  why TEXT NOT NULL
);
CREATE TABLE compromise_party (
  key          TEXT NOT NULL,
  party        TEXT NOT NULL, -- partner who shares it
  sent         TEXT NOT NULL DEFAULT '',
  acknowledged TEXT NOT NULL DEFAULT '',
  words        TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (key, party)
);
CREATE TABLE compromise_heard (
  key          TEXT NOT NULL,
  partner      TEXT NOT NULL, -- who said so
  at           TEXT NOT NULL,
  why          TEXT NOT NULL,
  acknowledged TEXT NOT NULL DEFAULT '',
  by           TEXT NOT NULL DEFAULT '', -- person
  sent         TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (key, partner)
);
