-- The read model. Everything filled from the log carries its generation, so that a rebuild can fill the next one
-- beside the live one; the pointer says which one is live.

CREATE TABLE IF NOT EXISTS pointer (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  generation INTEGER NOT NULL
) STRICT;

INSERT INTO pointer (id, generation) VALUES (1, 1) ON CONFLICT (id) DO NOTHING;

CREATE TABLE IF NOT EXISTS logs (
  generation INTEGER NOT NULL,
  topic TEXT NOT NULL,
  cluster_id TEXT NOT NULL,
  topic_id TEXT,
  PRIMARY KEY (generation, topic)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS positions (
  generation INTEGER NOT NULL,
  topic TEXT NOT NULL,
  partition INTEGER NOT NULL,
  next INTEGER NOT NULL,
  PRIMARY KEY (generation, topic, partition)
) STRICT, WITHOUT ROWID;

-- Rows lie in the order of their arrival: clustered by key, new rows under scattered keys cost four times as much.
CREATE TABLE IF NOT EXISTS rows (
  number INTEGER PRIMARY KEY,
  generation INTEGER NOT NULL,
  key TEXT NOT NULL,
  version INTEGER NOT NULL,
  event_id TEXT NOT NULL,
  label TEXT NOT NULL,
  schema TEXT,
  body BLOB,
  lineage TEXT NOT NULL,
  events_applied INTEGER NOT NULL,
  first_timestamp INTEGER NOT NULL,
  first_partition INTEGER NOT NULL,
  first_offset INTEGER NOT NULL,
  held INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  missing TEXT
) STRICT;

CREATE UNIQUE INDEX IF NOT EXISTS rows_by_key ON rows (generation, key);

CREATE INDEX IF NOT EXISTS rows_by_appearance
ON rows (generation, first_timestamp, first_partition, first_offset, key);

CREATE TABLE IF NOT EXISTS held (
  generation INTEGER NOT NULL,
  topic TEXT NOT NULL,
  partition INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  timestamp INTEGER NOT NULL,
  record_key BLOB,
  value BLOB,
  headers BLOB NOT NULL,
  key TEXT,
  reason TEXT NOT NULL,
  detail TEXT NOT NULL,
  held_at INTEGER NOT NULL,
  PRIMARY KEY (generation, topic, partition, offset)
) STRICT;

CREATE INDEX IF NOT EXISTS held_by_key ON held (generation, key, topic, partition, offset);

CREATE INDEX IF NOT EXISTS held_by_reason ON held (generation, reason, key);

CREATE INDEX IF NOT EXISTS held_for_reasons_of_their_own
ON held (generation, held_at, topic, partition, offset) WHERE reason <> 'parked';

-- Label counts and counters, moved in the transaction that changes what they count.
CREATE TABLE IF NOT EXISTS tallies (
  generation INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('label', 'counter')),
  name TEXT NOT NULL,
  amount INTEGER NOT NULL,
  PRIMARY KEY (generation, kind, name)
) STRICT, WITHOUT ROWID;

-- What people have discarded, whatever generation held it: a rebuild has to do it again.
CREATE TABLE IF NOT EXISTS discarded (
  topic TEXT NOT NULL,
  partition INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  PRIMARY KEY (topic, partition, offset)
) STRICT, WITHOUT ROWID;

-- The live generation, for people with a shell.
CREATE VIEW IF NOT EXISTS live_rows AS
SELECT key, version, event_id, label, schema, body, lineage, events_applied, first_timestamp, first_partition,
  first_offset, held, revision, missing
FROM rows WHERE generation = (SELECT generation FROM pointer);

CREATE VIEW IF NOT EXISTS live_held AS
SELECT topic, partition, offset, timestamp, record_key, value, headers, key, reason, detail, held_at
FROM held WHERE generation = (SELECT generation FROM pointer);

CREATE VIEW IF NOT EXISTS live_logs AS
SELECT topic, cluster_id, topic_id FROM logs WHERE generation = (SELECT generation FROM pointer);

CREATE VIEW IF NOT EXISTS live_positions AS
SELECT topic, partition, next FROM positions WHERE generation = (SELECT generation FROM pointer);

CREATE VIEW IF NOT EXISTS live_tallies AS
SELECT kind, name, amount FROM tallies WHERE generation = (SELECT generation FROM pointer);
