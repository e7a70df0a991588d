-- From version 1 to 2: what people have discarded is remembered, and the views of the live generation have gone.

CREATE TABLE discarded (
  topic TEXT NOT NULL,
  partition INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  PRIMARY KEY (topic, partition, offset)
) STRICT, WITHOUT ROWID;

DROP VIEW live_rows;
DROP VIEW live_held;
DROP VIEW live_logs;
DROP VIEW live_positions;
DROP VIEW live_tallies;
