-- +goose Up
-- Where chips and cards can be. What comes out of a source was nowhere before.
CREATE TABLE stock_account (
  name   TEXT PRIMARY KEY,
  orders INTEGER NOT NULL -- 1: what is there belongs to an order
);
INSERT INTO stock_account (name, orders) VALUES
  ('maker', 0), ('received', 0), ('inspection', 0), ('returned', 0), ('store', 0), ('finishing', 0), ('finished', 0), ('scrap', 0),
  ('line', 1), ('good', 1), ('reject', 1), ('aside', 1), ('destroyed', 1), ('boxed', 1), ('vault', 1), ('shipped', 1), ('operator', 1),
  ('missing', 1), ('found', 1);
-- Each movement, once: from one account to another.
CREATE TABLE stock_posting (
  id          INTEGER PRIMARY KEY,
  entry       INTEGER NOT NULL, -- of the log
  at          TEXT NOT NULL,
  actor       TEXT NOT NULL,
  why         TEXT NOT NULL,
  act         TEXT NOT NULL, -- its number; empty: the site's own
  lot         TEXT NOT NULL,
  ord         TEXT NOT NULL, -- empty: for no order
  source      TEXT NOT NULL REFERENCES stock_account (name),
  destination TEXT NOT NULL REFERENCES stock_account (name),
  n           INTEGER NOT NULL CHECK (n > 0),
  CHECK (source <> destination)
);
CREATE INDEX stock_posting_ord ON stock_posting (ord, source);
CREATE INDEX stock_posting_lot ON stock_posting (lot);
-- The sums of the postings. Nothing is less than nothing but what sources gave.
CREATE TABLE stock_balance (
  account TEXT NOT NULL REFERENCES stock_account (name),
  lot     TEXT NOT NULL,
  ord     TEXT NOT NULL,
  n       INTEGER NOT NULL,
  PRIMARY KEY (account, lot, ord),
  CONSTRAINT stock_below_zero CHECK (n >= 0 OR account IN ('maker', 'found'))
);
-- +goose StatementBegin
CREATE TRIGGER stock_posted AFTER INSERT ON stock_posting
BEGIN
  INSERT INTO stock_balance (account, lot, ord, n)
    SELECT name, NEW.lot, CASE orders WHEN 1 THEN NEW.ord ELSE '' END, 0 FROM stock_account WHERE name IN (NEW.source, NEW.destination)
    ON CONFLICT (account, lot, ord) DO NOTHING;
  UPDATE stock_balance SET n = n - NEW.n WHERE account = NEW.source AND lot = NEW.lot
    AND ord = (SELECT CASE orders WHEN 1 THEN NEW.ord ELSE '' END FROM stock_account WHERE name = NEW.source);
  UPDATE stock_balance SET n = n + NEW.n WHERE account = NEW.destination AND lot = NEW.lot
    AND ord = (SELECT CASE orders WHEN 1 THEN NEW.ord ELSE '' END FROM stock_account WHERE name = NEW.destination);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER stock_posting_stays BEFORE UPDATE ON stock_posting
BEGIN
  SELECT RAISE(ABORT, 'a posting of the stock is never changed');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER stock_posting_kept BEFORE DELETE ON stock_posting
BEGIN
  SELECT RAISE(ABORT, 'a posting of the stock is never deleted');
END;
-- +goose StatementEnd
-- Lots of chips, as their maker describes them.
CREATE TABLE stock_lot (
  name     TEXT PRIMARY KEY,
  vendor   TEXT NOT NULL,
  document BLOB NOT NULL, -- the delivery note; its key is wrapped
  state    TEXT NOT NULL  -- offered, accepted, refused
);
CREATE TABLE stock_inspection (
  lot     TEXT NOT NULL REFERENCES stock_lot (name),
  at      TEXT NOT NULL,
  person  TEXT NOT NULL,
  act     TEXT NOT NULL,
  counted INTEGER NOT NULL,
  sample  INTEGER NOT NULL,
  failed  INTEGER NOT NULL,
  result  TEXT NOT NULL
);
-- Vendors that are trusted sources.
CREATE TABLE stock_source (
  vendor TEXT PRIMARY KEY,
  why    TEXT NOT NULL,
  at     TEXT NOT NULL,
  act    TEXT NOT NULL
);
CREATE TABLE stock_count (
  id      INTEGER PRIMARY KEY,
  at      TEXT NOT NULL,
  person  TEXT NOT NULL,
  subject TEXT NOT NULL, -- what was counted
  found   INTEGER NOT NULL,
  book    INTEGER NOT NULL
);
-- Counts that are not what the books say.
CREATE TABLE stock_discrepancy (
  id         INTEGER PRIMARY KEY,
  subject    TEXT NOT NULL, -- what was counted
  account    TEXT NOT NULL, -- that the difference is posted to; empty: none is
  lot        TEXT NOT NULL,
  ord        TEXT NOT NULL,
  book       INTEGER NOT NULL,
  found      INTEGER NOT NULL,
  state      TEXT NOT NULL, -- open, explained, closed
  opened     TEXT NOT NULL,
  person     TEXT NOT NULL, -- who counted; or the system's part
  why        TEXT NOT NULL, -- the explanation
  explained  TEXT NOT NULL,
  explainer  TEXT NOT NULL,
  closed     TEXT NOT NULL,
  act        TEXT NOT NULL  -- that closed it
);
-- Boxes of good cards.
CREATE TABLE stock_box (
  id       TEXT PRIMARY KEY,
  ord      TEXT NOT NULL,
  pallet   TEXT NOT NULL,
  cards    INTEGER NOT NULL,
  first    TEXT NOT NULL, -- ICCID
  last     TEXT NOT NULL,
  state    TEXT NOT NULL, -- open, closed, shipped, received
  seal     TEXT NOT NULL,
  vault    TEXT NOT NULL, -- that it is in; empty: none
  shipment TEXT NOT NULL,
  filled   TEXT NOT NULL,
  closed   TEXT NOT NULL
);
CREATE UNIQUE INDEX stock_box_seal ON stock_box (seal) WHERE seal <> '';
-- A card is in one box.
CREATE TABLE stock_box_card (
  ord   TEXT NOT NULL,
  card  INTEGER NOT NULL,
  iccid TEXT NOT NULL UNIQUE,
  box   TEXT NOT NULL REFERENCES stock_box (id),
  PRIMARY KEY (ord, card)
);
CREATE INDEX stock_box_content ON stock_box_card (box);
CREATE TABLE stock_vault_opening (
  id     INTEGER PRIMARY KEY,
  vault  TEXT NOT NULL,
  opened TEXT NOT NULL,
  people TEXT NOT NULL, -- who held the two keys
  why    TEXT NOT NULL,
  closed TEXT NOT NULL,
  closer TEXT NOT NULL,
  found  INTEGER NOT NULL, -- boxes that were counted when it was closed
  book   INTEGER NOT NULL
);
CREATE UNIQUE INDEX stock_vault_open ON stock_vault_opening (vault) WHERE closed = '';
CREATE TABLE stock_shipment (
  number   TEXT PRIMARY KEY,
  consignee TEXT NOT NULL,
  carrier  TEXT NOT NULL,
  seal     TEXT NOT NULL,
  state    TEXT NOT NULL, -- drafted, sent, received
  drafted  TEXT NOT NULL,
  sent     TEXT NOT NULL,
  received TEXT NOT NULL,
  receiver TEXT NOT NULL, -- who signed for it, as the form says
  cards    INTEGER NOT NULL, -- that the operator acknowledges
  entry    INTEGER NOT NULL  -- of the log, by which it was sent
);
