-- +goose Up
-- What whoever draws the batch needs, on any machine: the name of the operator's
-- OP in the module, empty if the algorithm has none, and the identities.
ALTER TABLE batch ADD COLUMN op TEXT;
ALTER TABLE batch ADD COLUMN identities BLOB; -- a range, sealed under the data key; none for a list, and at a plant
