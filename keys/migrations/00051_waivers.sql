-- +goose Up
CREATE TABLE key_waiver (
  entry     INTEGER PRIMARY KEY, -- in the log
  key       TEXT NOT NULL, -- its name, whether there is such a key yet or not
  algorithm TEXT NOT NULL,
  signed    TEXT NOT NULL, -- the people who answer for it
  reason    TEXT NOT NULL,
  until     TEXT NOT NULL, -- the end
  contract  TEXT NOT NULL,
  act       TEXT NOT NULL
);
CREATE INDEX key_waiver_key ON key_waiver (key, entry);
