-- +goose Up
-- Why the site issues nothing: there is a row while it is locked.
CREATE TABLE site_lock (
  id       INTEGER PRIMARY KEY CHECK (id = 1),
  document BLOB NOT NULL
);
-- Checkpoints of this log that it does not continue, and which two people have
-- answered for when they unlocked the site.
CREATE TABLE lost_checkpoint (
  sha256 TEXT PRIMARY KEY,
  signed BLOB NOT NULL,
  act    TEXT NOT NULL
);
-- Orders that the lost time took in, as their senders still have them.
CREATE TABLE lost_order (
  ord      TEXT PRIMARY KEY,
  operator TEXT NOT NULL,
  sha256   TEXT NOT NULL,
  document BLOB NOT NULL, -- the order file
  person   TEXT NOT NULL  -- who brought it
);
-- What partners say of their own logs.
CREATE TABLE partner_checkpoint (
  partner TEXT PRIMARY KEY,
  highest BLOB NOT NULL, -- the largest checkpoint of its log
  at      TEXT NOT NULL, -- when the partner signed the file that it came with
  lost    BLOB           -- the largest one before, where its log was put back
);
