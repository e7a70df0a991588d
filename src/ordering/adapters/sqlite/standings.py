"""The order store and the log, brought up to each other, inside one SQLite transaction."""

import json
from collections.abc import Collection, Mapping, Sequence

import apsw

from ordering.adapters.sqlite.rows import pack_headers
from ordering.application.messages import Encoded, KeptState, NewEvent, Standing, StoredState

_STANDINGS = """
SELECT a.order_id, a.version, a.event_id FROM json_each(?) k CROSS JOIN orders a WHERE a.order_id = k.value
"""
_UNPUBLISHED = """
SELECT o.aggregate_id, o.version, j.event_id
FROM json_each(?) k CROSS JOIN outbox o JOIN journal j USING (seq) WHERE o.aggregate_id = k.value
"""
_PUT = """
INSERT INTO orders (version, event_id, schema, state, order_id) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (order_id) DO UPDATE
SET version = excluded.version, event_id = excluded.event_id, schema = excluded.schema, state = excluded.state
WHERE version < excluded.version OR EXISTS (
  SELECT 1 FROM outbox o JOIN journal j USING (seq)
  WHERE o.aggregate_id = excluded.order_id AND o.version = excluded.version AND j.event_id <> excluded.event_id)
RETURNING number
"""
_RULED_OUT = "DELETE FROM journal WHERE number = ? AND version >= ?"
_APPEND = """
INSERT INTO journal (number, version, event_id, aggregate_id, topic, key, headers, schema, body, occurred_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_IS_PUBLISHED = "DELETE FROM outbox WHERE aggregate_id = ?"
_STATES = """
SELECT a.order_id, a.version, a.event_id, a.schema, a.state,
  (SELECT count(*) FROM journal j WHERE j.number = a.number),
  EXISTS (SELECT 1 FROM journal j WHERE j.number = a.number AND j.version = a.version)
FROM orders a WHERE a.order_id > ? ORDER BY a.order_id LIMIT ?
"""
_APPEND_LOST = """
INSERT INTO journal (number, version, event_id, aggregate_id, topic, key, headers, schema, body, occurred_at)
SELECT number, ?, ?, order_id, ?, ?, ?, ?, ?, ? FROM orders WHERE order_id = ?
ON CONFLICT DO NOTHING
"""
_REQUEUE = """
INSERT INTO outbox (seq, aggregate_id, version)
SELECT j.seq, j.aggregate_id, j.version
FROM json_each(?) k CROSS JOIN orders a ON a.order_id = k.value JOIN journal j ON j.number = a.number
WHERE true ORDER BY j.seq ON CONFLICT DO NOTHING
"""
_UNPARK = "DELETE FROM parked WHERE aggregate_id = ?"


def standings(connection: apsw.Connection, keys: Collection[str]) -> Mapping[str, Standing]:
    """How these aggregates stand, as of one moment."""
    wanted = json.dumps(list(keys))
    waiting: dict[str, dict[int, str]] = {}
    for key, version, event_id in connection.execute(_UNPUBLISHED, (wanted,)):
        waiting.setdefault(key, {})[version] = event_id
    return {
        key: Standing(version, event_id, waiting.get(key, {}))
        for key, version, event_id in connection.execute(_STANDINGS, (wanted,))
    }


def adopt(connection: apsw.Connection, events: Sequence[NewEvent]) -> None:
    """Make these the aggregates' states and history, published."""
    for event in events:
        encoded = event.encoded
        state = (event.version, event.event_id, encoded.schema, encoded.body, event.aggregate_id)
        number: int | None = connection.execute(_PUT, state).get
        if number is None:  # it is known by now
            continue
        connection.execute(_IS_PUBLISHED, (event.aggregate_id,))
        connection.execute(_RULED_OUT, (number, event.version))
        row = (number, event.version, event.event_id, event.aggregate_id, event.topic, event.key)
        rest = (pack_headers(event.headers), encoded.schema, encoded.body, event.occurred_at)
        connection.execute(_APPEND, (*row, *rest))
        connection.execute(_IS_PUBLISHED, (event.aggregate_id,))  # what came into the journal is in the outbox, too
        connection.execute(_UNPARK, (event.aggregate_id,))


def states(connection: apsw.Connection, after: str, limit: int) -> Sequence[KeptState]:
    """Aggregates by ascending id, with what the journal has of them."""
    return [
        KeptState(StoredState(key, version, event_id, Encoded(schema, state)), events, bool(newest))
        for key, version, event_id, schema, state, events, newest in connection.execute(_STATES, (after, limit))
    ]


def requeue(connection: apsw.Connection, keys: Collection[str], lost: Sequence[NewEvent]) -> None:
    """Hold these aggregates' events for unpublished; the lost ones come into the journal again first."""
    for event in lost:
        encoded = event.encoded
        row = (event.version, event.event_id, event.topic, event.key, pack_headers(event.headers))
        connection.execute(_APPEND_LOST, (*row, encoded.schema, encoded.body, event.occurred_at, event.aggregate_id))
    connection.execute(_REQUEUE, (json.dumps(list(keys)),))
    connection.executemany(_UNPARK, [(key,) for key in keys])
