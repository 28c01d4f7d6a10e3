-- +goose Up
-- A batch on the line of this plant.
CREATE TABLE run (
  ord      TEXT PRIMARY KEY,
  bureau   TEXT NOT NULL,
  state    TEXT NOT NULL, -- offered, received, finished, reported, condemned, destroying, emptied, closed
  os       TEXT NOT NULL, -- operating system release that the cards take
  agree    TEXT NOT NULL, -- name of the key that the bureau seals the batch to
  kek      TEXT NOT NULL, -- name of the key that wraps the data key here
  proof    BLOB,          -- of its destruction
  started  TEXT NOT NULL,
  finished TEXT NOT NULL
);
-- One chip under one identity: the attempt to make one card. What is not
-- destroyed holds its identity, its key set and its chip alone.
CREATE TABLE card (
  ord     TEXT NOT NULL REFERENCES run (ord),
  card    INTEGER NOT NULL, -- which identity of the order
  keyset  INTEGER NOT NULL,
  chip    TEXT NOT NULL UNIQUE, -- serial, hex
  state   TEXT NOT NULL, -- doubt, good, reject, destroyed
  tries   INTEGER NOT NULL,
  reason  TEXT NOT NULL,
  station TEXT NOT NULL,
  at      TEXT NOT NULL,
  PRIMARY KEY (ord, keyset)
);
CREATE UNIQUE INDEX card_identity ON card (ord, card) WHERE state <> 'destroyed';
CREATE INDEX card_state ON card (ord, state);
-- Chips that were set aside before they got an identity.
CREATE TABLE set_aside (
  chip   TEXT NOT NULL,
  ord    TEXT NOT NULL,
  reason TEXT NOT NULL,
  at     TEXT NOT NULL
);
CREATE TABLE retired (
  ord  TEXT NOT NULL,
  card INTEGER NOT NULL,
  PRIMARY KEY (ord, card)
);
