-- +goose Up
-- Answers to files that were taken in or refused, until they are in the spool.
CREATE TABLE owed (
  partner  TEXT NOT NULL,
  name     TEXT NOT NULL, -- of the file
  document BLOB NOT NULL, -- the message, without secrets
  PRIMARY KEY (partner, name)
);
