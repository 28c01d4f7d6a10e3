-- +goose Up
-- Orders that people gave up, or that their operator withdrew. One that never
-- came is here too, so that it is not taken in later.
CREATE TABLE order_abandoned (
  ord TEXT PRIMARY KEY,
  act TEXT NOT NULL, -- SHA-256 of the act that was signed, hex
  why TEXT NOT NULL,
  was TEXT NOT NULL, -- state that it was in; empty: it is not here
  at  TEXT NOT NULL
);
