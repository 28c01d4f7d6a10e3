-- +goose Up
-- Where a shipment's form goes as a file: operator, and the partner who passes
-- it on; both empty: it goes on paper.
ALTER TABLE stock_shipment ADD COLUMN operator TEXT NOT NULL DEFAULT '';
ALTER TABLE stock_shipment ADD COLUMN via TEXT NOT NULL DEFAULT '';
ALTER TABLE stock_shipment ADD COLUMN act TEXT NOT NULL DEFAULT '';     -- by which it was sent
ALTER TABLE stock_shipment ADD COLUMN advised TEXT NOT NULL DEFAULT ''; -- when the first part left
-- Shipments of plants, as they were advised, where they go and on the way.
CREATE TABLE stock_delivery (
  site     TEXT NOT NULL, -- plant
  number   TEXT NOT NULL,
  partner  TEXT NOT NULL, -- who sent the first part here, and gets the second
  document BLOB NOT NULL, -- Advice
  state    TEXT NOT NULL, -- announced, received, answered; on the way: passing, passed, returning, returned
  found    TEXT NOT NULL, -- Finding, as its act says it
  answer   BLOB,          -- what they signed who received it
  act      TEXT NOT NULL,
  received TEXT NOT NULL,
  PRIMARY KEY (site, number)
);
CREATE INDEX stock_delivery_state ON stock_delivery (state);
-- A box comes once.
CREATE TABLE stock_delivery_box (
  site   TEXT NOT NULL,
  box    TEXT NOT NULL,
  number TEXT NOT NULL,
  ord    TEXT NOT NULL,
  cards  INTEGER NOT NULL,
  PRIMARY KEY (site, box),
  FOREIGN KEY (site, number) REFERENCES stock_delivery (site, number)
);
CREATE INDEX stock_delivery_order ON stock_delivery_box (ord);
