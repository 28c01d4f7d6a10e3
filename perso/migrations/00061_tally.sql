-- +goose Up
-- What the rows of a batch come to, so that nobody counts ten million of them
-- for a page: chips by state and reason, and the good ones with a spare key set.
CREATE TABLE tally (
  ord    TEXT NOT NULL REFERENCES run (ord),
  what   TEXT NOT NULL, -- doubt, good, reject, destroyed, remade, aside, retired
  reason TEXT NOT NULL,
  n      INTEGER NOT NULL CHECK (n >= 0),
  PRIMARY KEY (ord, what, reason)
);
-- How many of a thousand identities have a live chip, or are retired: where the
-- line goes on is in the blocks that are not full.
CREATE TABLE made (
  ord   TEXT NOT NULL REFERENCES run (ord),
  block INTEGER NOT NULL, -- of the card's number, by a thousand
  n     INTEGER NOT NULL CHECK (n >= 0),
  PRIMARY KEY (ord, block)
);
INSERT INTO tally (ord, what, reason, n)
  SELECT ord, state, reason, count(*) FROM card GROUP BY ord, state, reason;
INSERT INTO tally (ord, what, reason, n)
  SELECT ord, 'remade', '', count(*) FROM card WHERE state = 'good' AND keyset <> card GROUP BY ord;
INSERT INTO tally (ord, what, reason, n)
  SELECT ord, 'aside', reason, count(*) FROM set_aside GROUP BY ord, reason;
INSERT INTO tally (ord, what, reason, n)
  SELECT ord, 'retired', '', count(*) FROM retired GROUP BY ord;
INSERT INTO made (ord, block, n)
  SELECT ord, card / 1000, count(*) FROM (
    SELECT ord, card FROM card WHERE state <> 'destroyed' UNION ALL SELECT ord, card FROM retired) AS live
  GROUP BY ord, card / 1000;
-- What each station made of a batch: the sums of its minutes.
CREATE TABLE pace_station (
  ord     TEXT NOT NULL REFERENCES run (ord),
  station TEXT NOT NULL,
  since   INTEGER NOT NULL, -- its first minute
  until   INTEGER NOT NULL, -- its last
  good    INTEGER NOT NULL,
  reject  INTEGER NOT NULL,
  ms      INTEGER NOT NULL,
  PRIMARY KEY (ord, station)
);
INSERT INTO pace_station (ord, station, since, until, good, reject, ms)
  SELECT ord, station, min(minute), max(minute), sum(good), sum(reject), sum(ms) FROM pace GROUP BY ord, station;
-- Of ten million good cards nobody asks by their state.
DROP INDEX card_state;
CREATE INDEX card_open ON card (ord, state, card) WHERE state <> 'good';
-- +goose StatementBegin
CREATE TRIGGER card_begun AFTER INSERT ON card
BEGIN
  INSERT INTO tally (ord, what, reason, n) VALUES (NEW.ord, NEW.state, NEW.reason, 1)
    ON CONFLICT (ord, what, reason) DO UPDATE SET n = tally.n + 1;
  INSERT INTO tally (ord, what, reason, n) SELECT NEW.ord, 'remade', '', 1 WHERE NEW.state = 'good' AND NEW.keyset <> NEW.card
    ON CONFLICT (ord, what, reason) DO UPDATE SET n = tally.n + 1;
  INSERT INTO made (ord, block, n) SELECT NEW.ord, NEW.card / 1000, 1 WHERE NEW.state <> 'destroyed'
    ON CONFLICT (ord, block) DO UPDATE SET n = made.n + 1;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER card_changed AFTER UPDATE ON card
BEGIN
  UPDATE tally SET n = n - 1 WHERE ord = OLD.ord AND what = OLD.state AND reason = OLD.reason;
  UPDATE tally SET n = n - 1 WHERE ord = OLD.ord AND what = 'remade' AND reason = '' AND OLD.state = 'good' AND OLD.keyset <> OLD.card;
  INSERT INTO tally (ord, what, reason, n) VALUES (NEW.ord, NEW.state, NEW.reason, 1)
    ON CONFLICT (ord, what, reason) DO UPDATE SET n = tally.n + 1;
  INSERT INTO tally (ord, what, reason, n) SELECT NEW.ord, 'remade', '', 1 WHERE NEW.state = 'good' AND NEW.keyset <> NEW.card
    ON CONFLICT (ord, what, reason) DO UPDATE SET n = tally.n + 1;
  UPDATE made SET n = n - 1 WHERE ord = OLD.ord AND block = OLD.card / 1000 AND OLD.state <> 'destroyed'
    AND (NEW.state = 'destroyed' OR NEW.ord <> OLD.ord OR NEW.card <> OLD.card);
  INSERT INTO made (ord, block, n) SELECT NEW.ord, NEW.card / 1000, 1 WHERE NEW.state <> 'destroyed'
    AND (OLD.state = 'destroyed' OR NEW.ord <> OLD.ord OR NEW.card <> OLD.card)
    ON CONFLICT (ord, block) DO UPDATE SET n = made.n + 1;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER card_withdrawn AFTER DELETE ON card
BEGIN
  UPDATE tally SET n = n - 1 WHERE ord = OLD.ord AND what = OLD.state AND reason = OLD.reason;
  UPDATE tally SET n = n - 1 WHERE ord = OLD.ord AND what = 'remade' AND reason = '' AND OLD.state = 'good' AND OLD.keyset <> OLD.card;
  UPDATE made SET n = n - 1 WHERE ord = OLD.ord AND block = OLD.card / 1000 AND OLD.state <> 'destroyed';
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER aside_begun AFTER INSERT ON set_aside
BEGIN
  INSERT INTO tally (ord, what, reason, n) VALUES (NEW.ord, 'aside', NEW.reason, 1)
    ON CONFLICT (ord, what, reason) DO UPDATE SET n = tally.n + 1;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER aside_withdrawn AFTER DELETE ON set_aside
BEGIN
  UPDATE tally SET n = n - 1 WHERE ord = OLD.ord AND what = 'aside' AND reason = OLD.reason;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER retired_begun AFTER INSERT ON retired
BEGIN
  INSERT INTO tally (ord, what, reason, n) VALUES (NEW.ord, 'retired', '', 1)
    ON CONFLICT (ord, what, reason) DO UPDATE SET n = tally.n + 1;
  INSERT INTO made (ord, block, n) VALUES (NEW.ord, NEW.card / 1000, 1)
    ON CONFLICT (ord, block) DO UPDATE SET n = made.n + 1;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER retired_withdrawn AFTER DELETE ON retired
BEGIN
  UPDATE tally SET n = n - 1 WHERE ord = OLD.ord AND what = 'retired' AND reason = '';
  UPDATE made SET n = n - 1 WHERE ord = OLD.ord AND block = OLD.card / 1000;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER pace_begun AFTER INSERT ON pace
BEGIN
  INSERT INTO pace_station (ord, station, since, until, good, reject, ms) VALUES (NEW.ord, NEW.station, NEW.minute, NEW.minute, NEW.good, NEW.reject, NEW.ms)
    ON CONFLICT (ord, station) DO UPDATE SET until = NEW.minute, good = pace_station.good + NEW.good, reject = pace_station.reject + NEW.reject, ms = pace_station.ms + NEW.ms;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER pace_changed AFTER UPDATE ON pace
BEGIN
  UPDATE pace_station SET good = good + NEW.good - OLD.good, reject = reject + NEW.reject - OLD.reject, ms = ms + NEW.ms - OLD.ms
    WHERE ord = NEW.ord AND station = NEW.station;
END;
-- +goose StatementEnd
