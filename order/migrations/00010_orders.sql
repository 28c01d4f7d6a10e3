-- +goose Up
CREATE TABLE orders (
  id        TEXT PRIMARY KEY,
  partner   TEXT NOT NULL,
  name      TEXT NOT NULL,
  batch     TEXT NOT NULL,
  digest    TEXT NOT NULL,
  profile   TEXT NOT NULL,
  quantity  INTEGER NOT NULL,
  transport INTEGER NOT NULL,
  state     TEXT NOT NULL,
  reason    TEXT NOT NULL,
  good      INTEGER NOT NULL,
  retired   INTEGER NOT NULL,
  kek       TEXT NOT NULL,
  changed   TEXT NOT NULL
);
-- A batch number is used once, unless its order was refused.
CREATE UNIQUE INDEX orders_batch ON orders (partner, batch) WHERE state <> 'refused';
CREATE TABLE order_step (
  ord   TEXT NOT NULL REFERENCES orders (id),
  state TEXT NOT NULL,
  at    TEXT NOT NULL,
  PRIMARY KEY (ord, state, at)
);
-- What came and went about an order: receipts, reports, proofs. No keys.
CREATE TABLE order_paper (
  ord      TEXT NOT NULL REFERENCES orders (id),
  kind     TEXT NOT NULL,
  document BLOB NOT NULL,
  PRIMARY KEY (ord, kind)
);
-- The operator's own text, sealed under the order's data key.
CREATE TABLE order_text (
  ord    TEXT NOT NULL REFERENCES orders (id),
  n      INTEGER NOT NULL,
  sealed BLOB NOT NULL,
  PRIMARY KEY (ord, n)
);
CREATE TABLE order_remake (
  ord    TEXT NOT NULL REFERENCES orders (id),
  card   INTEGER NOT NULL,
  keyset INTEGER NOT NULL,
  PRIMARY KEY (ord, card)
);
