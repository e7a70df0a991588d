"""The write path inside one SQLite transaction: what one command makes durable.

Each write is a compare-and-set, done by the statement that changes the row. The usual case asks nothing first: two
inserts and the outbox row.
"""

from typing import Any

import apsw

from ordering.adapters.sqlite.rows import pack_headers
from ordering.application.messages import AnswerTaken, Conflict, NewEvent, Outcome, RecordedAnswer, Stored, Write

_INSERT = """
INSERT INTO orders (version, event_id, schema, state, order_id) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (order_id) DO NOTHING RETURNING number
"""
_UPDATE = """
UPDATE orders SET version = ?, event_id = ?, schema = ?, state = ? WHERE order_id = ? AND version = ? RETURNING number
"""
_APPEND = """
INSERT INTO journal (number, version, event_id, aggregate_id, topic, key, headers, schema, body, occurred_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_EARLIER = "SELECT EXISTS (SELECT 1 FROM outbox WHERE aggregate_id = ? AND version < ?)"
_KNOWN = "SELECT EXISTS (SELECT 1 FROM journal WHERE event_id = ? AND aggregate_id = ? AND version = ?)"
_VERSION = "SELECT version FROM orders WHERE order_id = ?"
_RECORD = """
INSERT INTO answers (key, fingerprint, status, etag, body, recorded_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO NOTHING
"""
_FORGET = "DELETE FROM answers WHERE key = ?"
ANSWER = "SELECT key, fingerprint, status, etag, body, recorded_at FROM answers WHERE key = ?"


def apply(connection: apsw.Connection, write: Write) -> Outcome:
    """Store one write, or leave nothing of it and say why."""
    answer, event = write.answer, write.event
    # The answer first: if its key is taken nothing else has been touched yet.
    if answer is not None and not _record(connection, answer):
        return _key_taken(connection, write, answer)
    if event is None:
        return Stored(first_in_line=False)
    number = _change(connection, write.expected_version, event)
    if number is None:
        if answer is not None:
            connection.execute(_FORGET, (answer.key,))
        return _lost(connection, event)
    first = _is_first_in_line(connection, event)
    _append(connection, number, event)
    return Stored(first)


def _record(connection: apsw.Connection, answer: RecordedAnswer) -> bool:
    row = (answer.key, answer.fingerprint, answer.status, answer.etag, answer.body, answer.recorded_at)
    connection.execute(_RECORD, row)
    return connection.changes() == 1


def _change(connection: apsw.Connection, expected: int, event: NewEvent) -> int | None:
    """Compare-and-set; the aggregate's number, or None if it stands at another version."""
    encoded = event.encoded
    row = (event.version, event.event_id, encoded.schema, encoded.body, event.aggregate_id)
    number: int | None
    if expected == 0:
        number = connection.execute(_INSERT, row).get
    else:
        number = connection.execute(_UPDATE, (*row, expected)).get
    return number


def _append(connection: apsw.Connection, number: int, event: NewEvent) -> None:
    encoded = event.encoded
    connection.execute(
        _APPEND,
        (
            number,
            event.version,
            event.event_id,
            event.aggregate_id,
            event.topic,
            event.key,
            pack_headers(event.headers),
            encoded.schema,
            encoded.body,
            event.occurred_at,
        ),
    )


def _is_first_in_line(connection: apsw.Connection, event: NewEvent) -> bool:
    # Versions begin at 1, so nothing can be before the first; most writes create, and they skip the look-up.
    return event.version == 1 or not connection.execute(_EARLIER, (event.aggregate_id, event.version)).get


def _is_known(connection: apsw.Connection, event: NewEvent) -> bool:
    return bool(connection.execute(_KNOWN, (event.event_id, event.aggregate_id, event.version)).get)


def _lost(connection: apsw.Connection, event: NewEvent) -> Outcome:
    """The version is not the expected one: somebody else's change, or this very event, stored by an earlier try."""
    if _is_known(connection, event):
        return Stored(_is_first_in_line(connection, event))
    return Conflict(connection.execute(_VERSION, (event.aggregate_id,)).get or 0)


def _key_taken(connection: apsw.Connection, write: Write, answer: RecordedAnswer) -> Outcome:
    """The key has an answer: somebody else's, or this very one, stored by an earlier try."""
    if write.event is not None and _is_known(connection, write.event):
        return Stored(_is_first_in_line(connection, write.event))
    row: tuple[Any, ...]
    [row] = connection.execute(ANSWER, (answer.key,)).fetchall()
    recorded = RecordedAnswer(*row)
    if write.event is None and recorded == answer:
        return Stored(first_in_line=False)
    return AnswerTaken(recorded)
