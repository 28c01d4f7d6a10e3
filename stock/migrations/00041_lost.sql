-- +goose Up
-- Chips that were declared lost: they may carry keys, and cannot be destroyed.
INSERT INTO stock_account (name, orders) VALUES ('lost', 1);
