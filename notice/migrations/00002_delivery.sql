-- +goose Up
ALTER TABLE notice ADD COLUMN done TEXT NOT NULL DEFAULT '';      -- channels that took it, while others did not
ALTER TABLE notice ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;   -- in vain
ALTER TABLE notice ADD COLUMN not_before TEXT NOT NULL DEFAULT ''; -- RFC 3339 with all digits: the next try
