-- +goose Up
-- Operating system releases (SOP 4.iii, 5.i). Nothing here is ever deleted.
CREATE TABLE os_release (
  name     TEXT PRIMARY KEY, -- name and version, as lots and contracts have it
  document BLOB NOT NULL,    -- Release, with the signed image
  image    TEXT NOT NULL,    -- SHA-256 of the image, hex
  act      TEXT NOT NULL,
  at       TEXT NOT NULL
);
-- A release in one customer's profile.
CREATE TABLE integration (
  number         INTEGER PRIMARY KEY,
  release        TEXT NOT NULL REFERENCES os_release (name),
  operator       TEXT NOT NULL,
  profile        TEXT NOT NULL,
  profile_sha256 TEXT NOT NULL,
  document       BLOB NOT NULL, -- Integration
  text           BLOB NOT NULL, -- the profile, in its one form
  state          TEXT NOT NULL, -- integrated, tested, approved, withdrawn
  act            TEXT NOT NULL, -- by which it is in this state
  at             TEXT NOT NULL
);
CREATE INDEX integration_of ON integration (release, operator, profile, number);
-- What testers found, item by item. The last one of an item counts.
CREATE TABLE finding (
  integration INTEGER NOT NULL REFERENCES integration (number),
  item        TEXT NOT NULL,
  result      TEXT NOT NULL, -- pass, fail, not applicable
  reason      TEXT NOT NULL,
  evidence    TEXT NOT NULL, -- SHA-256, hex
  tester      TEXT NOT NULL,
  at          TEXT NOT NULL
);
CREATE INDEX finding_of ON finding (integration, item);
-- Reports of the conformance suite, signed by the site.
CREATE TABLE suite_report (
  integration INTEGER NOT NULL REFERENCES integration (number),
  sha256      TEXT NOT NULL, -- of the signed document
  signed      BLOB NOT NULL,
  document    BLOB NOT NULL, -- Attached
  tester      TEXT NOT NULL,
  at          TEXT NOT NULL
);
-- Security tests that were closed.
CREATE TABLE security_test (
  integration INTEGER NOT NULL REFERENCES integration (number),
  document    BLOB NOT NULL, -- Test
  act         TEXT NOT NULL,
  at          TEXT NOT NULL
);
CREATE TABLE release_event (
  release  TEXT NOT NULL,
  operator TEXT NOT NULL DEFAULT '', -- and profile: of an integration
  profile  TEXT NOT NULL DEFAULT '',
  entry    INTEGER NOT NULL, -- in the log
  at       TEXT NOT NULL,
  actor    TEXT NOT NULL,
  what     TEXT NOT NULL, -- kind of the log entry
  text     TEXT NOT NULL DEFAULT ''
);
CREATE INDEX release_event_of ON release_event (release, entry);
-- What acts are to say, until they are done.
CREATE TABLE release_draft (
  subject  TEXT PRIMARY KEY,
  document BLOB NOT NULL,
  editor   TEXT NOT NULL
);
-- What each batch was loaded with (SOP 5.ii).
CREATE TABLE release_load (
  ord         TEXT PRIMARY KEY,
  operator    TEXT NOT NULL,
  integration INTEGER REFERENCES integration (number),
  image       TEXT NOT NULL DEFAULT '',
  at          TEXT NOT NULL DEFAULT ''
);
