-- +goose Up
-- Orders that do not go on: what was done for them is not known any more.
CREATE TABLE order_stopped (
  ord TEXT PRIMARY KEY,
  act TEXT NOT NULL, -- by which it was stopped
  why TEXT NOT NULL
);
