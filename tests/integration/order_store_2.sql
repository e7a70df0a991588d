-- The write side: aggregates, their journal, the outbox, recorded answers.

-- Ids come from clients in any order, so this is the only index that grows at random places; everything else refers
-- to ``number``, which is given in order of arrival, or is small.
CREATE TABLE IF NOT EXISTS orders (
  number   INTEGER PRIMARY KEY,
  order_id TEXT NOT NULL UNIQUE,
  version  INTEGER NOT NULL,
  event_id TEXT NOT NULL,
  schema   TEXT NOT NULL,
  state    BLOB NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS journal (
  seq          INTEGER PRIMARY KEY,
  number       INTEGER NOT NULL,
  version      INTEGER NOT NULL,
  event_id     TEXT NOT NULL UNIQUE,
  aggregate_id TEXT NOT NULL,
  topic        TEXT NOT NULL,
  key          BLOB NOT NULL,
  headers      BLOB NOT NULL,
  schema       TEXT NOT NULL,
  body         BLOB NOT NULL,
  occurred_at  INTEGER NOT NULL,
  UNIQUE (number, version)
) STRICT;
CREATE INDEX IF NOT EXISTS journal_by_age ON journal (occurred_at);

-- The unpublished journal rows: a set. Marking an event published deletes its row here and touches nothing else.
CREATE TABLE IF NOT EXISTS outbox (
  seq          INTEGER PRIMARY KEY,
  aggregate_id TEXT NOT NULL,
  version      INTEGER NOT NULL,
  UNIQUE (aggregate_id, version)
) STRICT;

-- No event gets into the journal without getting into the outbox.
CREATE TRIGGER IF NOT EXISTS journal_is_published AFTER INSERT ON journal BEGIN
  INSERT INTO outbox (seq, aggregate_id, version) VALUES (new.seq, new.aggregate_id, new.version);
END;

CREATE TABLE IF NOT EXISTS parked (
  aggregate_id TEXT PRIMARY KEY,
  reason       TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS answers (
  key         TEXT NOT NULL UNIQUE,
  fingerprint BLOB NOT NULL,
  status      INTEGER NOT NULL,
  etag        INTEGER NOT NULL,
  body        BLOB NOT NULL,
  recorded_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS answers_by_age ON answers (recorded_at);

-- Keys keep their partitions for ever, however a topic grows.
CREATE TABLE IF NOT EXISTS topics (
  topic      TEXT PRIMARY KEY,
  partitions INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
