-- From version 2 to 3: a parking names the event that was refused, which was the order's first one that waits. One of
-- which nothing waits has stopped later events for no reason.

ALTER TABLE parked RENAME TO parked_2;

CREATE TABLE parked (
  aggregate_id TEXT PRIMARY KEY,
  version      INTEGER NOT NULL,
  reason       TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO parked (aggregate_id, version, reason)
SELECT p.aggregate_id, min(o.version), p.reason FROM parked_2 p JOIN outbox o USING (aggregate_id)
GROUP BY p.aggregate_id, p.reason;

DROP TABLE parked_2;
