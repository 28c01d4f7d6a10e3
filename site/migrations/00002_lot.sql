-- +goose Up
-- Lots are the stock's (stock_lot). What was accepted before comes in as it was
-- delivered.
INSERT INTO stock_lot (name, vendor, document, state) SELECT name, json_extract(CAST(document AS TEXT), '$.vendor'), document, state FROM lot;
INSERT INTO stock_posting (entry, at, actor, why, act, lot, ord, source, destination, n)
  SELECT 0, '', 'system:site', 'brought forward', '', name, '', 'maker', 'received', json_extract(CAST(document AS TEXT), '$.quantity') FROM lot;
INSERT INTO stock_posting (entry, at, actor, why, act, lot, ord, source, destination, n)
  SELECT 0, '', 'system:site', 'brought forward', '', name, '', 'received', 'store', json_extract(CAST(document AS TEXT), '$.quantity') FROM lot WHERE state = 'accepted';
DROP TABLE lot;
