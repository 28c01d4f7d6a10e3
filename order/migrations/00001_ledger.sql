-- +goose Up
-- The identities that were ever issued. It has no operator and no order, and
-- it stays when orders are destroyed. Who has only the table learns nothing:
-- a block's name is a keyed hash, its key is in the security module.
-- WITHOUT ROWID: names are random, and one tree is written half as much as two.
CREATE TABLE ledger_block (
  block  BLOB PRIMARY KEY, -- HMAC of kind and number/1000, 16 bytes
  issued BLOB NOT NULL     -- the numbers%1000: 125 bytes, a bit each; or if few, 2 bytes each
) WITHOUT ROWID;
-- A keyed hash of the first key of every block of key sets that was drawn: the
-- same one twice means that a random stream was replayed.
CREATE TABLE ledger_fingerprint (
  fingerprint BLOB PRIMARY KEY -- 16 bytes
) WITHOUT ROWID;
