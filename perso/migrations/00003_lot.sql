-- +goose Up
-- The lot that the chip is of; empty for cards that were made before it was kept.
ALTER TABLE card ADD COLUMN lot TEXT NOT NULL DEFAULT '';
