-- +goose Up
-- What each station made in each minute. The rows of card say what became of a
-- chip; these say how the line runs, without counting millions of rows.
CREATE TABLE pace (
  ord     TEXT NOT NULL REFERENCES run (ord),
  station TEXT NOT NULL,
  minute  INTEGER NOT NULL, -- since 1970, UTC
  good    INTEGER NOT NULL,
  reject  INTEGER NOT NULL,
  ms      INTEGER NOT NULL, -- that all of them took, from the intent to the outcome
  PRIMARY KEY (ord, minute, station)
);
-- Stations that came over the network, and whether they are here.
CREATE TABLE station (
  name    TEXT PRIMARY KEY,
  readers INTEGER NOT NULL,
  version TEXT NOT NULL,
  here    INTEGER NOT NULL, -- 0 or 1
  at      TEXT NOT NULL     -- since when
);
