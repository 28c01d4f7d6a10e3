-- +goose Up
-- The identities that an order lists, a thousand a row, sealed under the
-- order's data key beside its text. An order of a range has none.
CREATE TABLE order_identity (
  ord    TEXT NOT NULL REFERENCES orders (id),
  n      INTEGER NOT NULL,
  sealed BLOB NOT NULL,
  PRIMARY KEY (ord, n)
);
