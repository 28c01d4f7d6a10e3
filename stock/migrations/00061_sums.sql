-- +goose Up
-- What all postings come to, between two accounts, of a lot and for an order: the
-- sums of the stock do not read a plant's whole history each time.
CREATE TABLE stock_moved (
  lot         TEXT NOT NULL,
  ord         TEXT NOT NULL,
  source      TEXT NOT NULL REFERENCES stock_account (name),
  destination TEXT NOT NULL REFERENCES stock_account (name),
  n           INTEGER NOT NULL CHECK (n > 0),
  PRIMARY KEY (lot, ord, source, destination)
);
CREATE INDEX stock_moved_ord ON stock_moved (ord);
INSERT INTO stock_moved (lot, ord, source, destination, n)
  SELECT lot, ord, source, destination, sum(n) FROM stock_posting GROUP BY lot, ord, source, destination;
-- +goose StatementBegin
CREATE TRIGGER stock_posted_sum AFTER INSERT ON stock_posting
BEGIN
  INSERT INTO stock_moved (lot, ord, source, destination, n) VALUES (NEW.lot, NEW.ord, NEW.source, NEW.destination, NEW.n)
    ON CONFLICT (lot, ord, source, destination) DO UPDATE SET n = stock_moved.n + NEW.n;
END;
-- +goose StatementEnd
-- Boxes are twenty thousand for an order of ten million cards.
CREATE INDEX stock_box_ord ON stock_box (ord, id);
CREATE INDEX stock_box_shipment ON stock_box (shipment, id);
CREATE INDEX stock_box_vault ON stock_box (vault, id);
