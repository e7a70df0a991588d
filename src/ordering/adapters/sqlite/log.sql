-- One topic's event log. The topic's name and its partition count come in with the first opening.

CREATE TABLE IF NOT EXISTS meta (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  topic TEXT NOT NULL,
  partitions INTEGER NOT NULL CHECK (partitions > 0),
  cluster_id TEXT NOT NULL DEFAULT (lower(hex(randomblob(16)))),
  topic_id TEXT NOT NULL DEFAULT (lower(hex(randomblob(16))))
) STRICT;

-- Rows lie in the order of their arrival, so an append writes one place whatever the number of partitions;
-- clustered by (partition, offset) the append was 40 to 80 % slower and the reading 0.2 us per record faster.
CREATE TABLE IF NOT EXISTS records (
  arrival INTEGER PRIMARY KEY,
  partition INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  timestamp INTEGER NOT NULL,
  key BLOB NOT NULL,
  headers BLOB NOT NULL,
  value BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX IF NOT EXISTS records_by_position ON records (partition, offset);
