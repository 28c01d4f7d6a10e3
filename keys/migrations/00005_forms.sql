-- +goose Up
CREATE TABLE form (
  site        TEXT NOT NULL, -- that issued it
  number      TEXT NOT NULL, -- KTF-NNNNNN
  key         TEXT NOT NULL,
  component   INTEGER NOT NULL,
  of          INTEGER NOT NULL,
  kcv         TEXT NOT NULL, -- of the component, with its method
  key_kcv     TEXT NOT NULL,
  ceremony    TEXT NOT NULL,
  bag         TEXT NOT NULL,
  seal        TEXT NOT NULL,
  from_person TEXT NOT NULL,
  to_site     TEXT NOT NULL,
  to_person   TEXT NOT NULL,
  carrier     TEXT NOT NULL,
  state       TEXT NOT NULL, -- drafted, issued, announced, received, tampered, closed
  editor      TEXT NOT NULL DEFAULT '',
  holder      TEXT NOT NULL DEFAULT '', -- who has the bag, at the receiver
  drafted     TEXT NOT NULL DEFAULT '',
  issued      TEXT NOT NULL DEFAULT '',
  announced   TEXT NOT NULL DEFAULT '',
  received    TEXT NOT NULL DEFAULT '',
  closed      TEXT NOT NULL DEFAULT '',
  missing     TEXT NOT NULL DEFAULT '', -- since when, if a count did not find the bag
  sent        TEXT NOT NULL DEFAULT '', -- the file, or the answer, left
  by_file     INTEGER NOT NULL DEFAULT 1, -- the partner takes files
  act         TEXT NOT NULL DEFAULT '', -- by which the bag was received
  read        BLOB NOT NULL DEFAULT '', -- Inspection as JSON
  why         TEXT NOT NULL DEFAULT '', -- what is wrong with it
  answer      BLOB NOT NULL DEFAULT '', -- FormAnswer as JSON
  PRIMARY KEY (site, number)
);
CREATE INDEX form_key ON form (key);
