-- +goose Up
-- The orders that hold identities, by a small number. It stays when orders are
-- destroyed: the answer to who once issued a number.
CREATE TABLE ledger_order (
  n        INTEGER PRIMARY KEY,
  ord      TEXT NOT NULL UNIQUE,
  operator TEXT NOT NULL,
  state    TEXT NOT NULL, -- reserving, reserved, issued
  at       TEXT NOT NULL
);
-- What an order holds of a block of a thousand numbers. Who has only this table
-- learns nothing: a block's name is a keyed hash, its key is in the security
-- module. WITHOUT ROWID: names are random, and one tree is written half as much
-- as two.
CREATE TABLE ledger_share (
  block   BLOB NOT NULL,    -- HMAC of kind and number/1000, 16 bytes
  ord     INTEGER NOT NULL, -- ledger_order.n
  issued  BLOB NOT NULL,    -- the numbers%1000: 125 bytes, a bit each; or if few, runs of them
  retired BLOB,             -- those of them that no card will carry again; NULL: none
  PRIMARY KEY (block, ord)
) WITHOUT ROWID;
-- What was issued before orders were kept.
INSERT INTO ledger_order (n, ord, operator, state, at) SELECT 0, '', '', 'issued', '' WHERE EXISTS (SELECT 1 FROM ledger_block);
INSERT INTO ledger_share (block, ord, issued) SELECT block, 0, issued FROM ledger_block;
DROP TABLE ledger_block;
