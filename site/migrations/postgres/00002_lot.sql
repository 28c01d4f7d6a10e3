-- +goose Up
-- Lots are the stock's (stock_lot). A PostgreSQL database is younger than that:
-- there is none to bring forward.
DROP TABLE lot;
