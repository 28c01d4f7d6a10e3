-- +goose Up
CREATE TABLE notice (
  id      INTEGER PRIMARY KEY,
  person  TEXT NOT NULL,
  kind    TEXT NOT NULL, -- act.waits, act.rejected, ...
  subject TEXT NOT NULL,
  text    TEXT NOT NULL, -- English, for mail; the console has its own words for kinds it knows
  link    TEXT NOT NULL, -- path in the console
  at      TEXT NOT NULL, -- RFC 3339
  read    TEXT NOT NULL DEFAULT '',
  sent    TEXT NOT NULL DEFAULT '' -- when it left by mail or webhook, or why it never will
);
CREATE INDEX notice_person ON notice (person, read);
CREATE INDEX notice_sent ON notice (sent);
