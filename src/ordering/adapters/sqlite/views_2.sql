-- From version 1 to 2: what people have discarded is remembered.

CREATE TABLE discarded (
  topic TEXT NOT NULL,
  partition INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  PRIMARY KEY (topic, partition, offset)
) STRICT, WITHOUT ROWID;
