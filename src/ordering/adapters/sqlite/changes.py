"""One projection transaction on a connection, whatever generation it is for; and its rows as messages."""

from collections.abc import Sequence
from typing import Any, Final

import apsw
import msgspec

from ordering.adapters.sqlite.rows import pack_headers, unpack_headers
from ordering.application.failures import StalePosition
from ordering.application.messages import Changes, Encoded, HeldRecord, Lineage, Place, Record, ViewRow

ROW_COLUMNS: Final = (
    "key, version, event_id, label, schema, body, lineage, events_applied, first_timestamp, first_partition, "
    "first_offset, held, revision, missing"
)
HELD_COLUMNS: Final = "topic, partition, offset, timestamp, record_key, value, headers, key, reason, detail, held_at"

_LINEAGES = {lineage.value: lineage for lineage in Lineage}
_FIRST_POSITION = """
INSERT INTO positions (next, generation, topic, partition) VALUES (?, ?, ?, ?)
ON CONFLICT (generation, topic, partition) DO UPDATE SET next = excluded.next WHERE next = 0
"""
_NEXT_POSITION = "UPDATE positions SET next = ? WHERE generation = ? AND topic = ? AND partition = ? AND next = ?"

_INSERT_ROW = """
INSERT INTO rows (generation, key, version, event_id, label, schema, body, lineage, events_applied, held, missing,
  revision, first_timestamp, first_partition, first_offset)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (generation, key) DO NOTHING
"""
# Naming the columns of an index rewrites its entries even when nothing in them changes, so ``first`` is left out.
_UPDATE_ROW = """
UPDATE rows SET version = ?3, event_id = ?4, label = ?5, schema = ?6, body = ?7, lineage = ?8, events_applied = ?9,
  held = ?10, missing = ?11, revision = ?12
WHERE generation = ?1 AND key = ?2 AND revision = ?12 - 1
"""
_HOLD = """
INSERT OR REPLACE INTO held (generation, topic, partition, offset, timestamp, record_key, value, headers, key, reason,
  detail, held_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_RELEASE = "DELETE FROM held WHERE generation = ? AND topic = ? AND partition = ? AND offset = ?"
_DISCARD = "INSERT INTO discarded (topic, partition, offset) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_TALLY = """
INSERT INTO tallies (generation, kind, name, amount) VALUES (?, ?, ?, ?)
ON CONFLICT (generation, kind, name) DO UPDATE SET amount = amount + excluded.amount
"""

_json = msgspec.json.encode
_missing_of = msgspec.json.Decoder(tuple[tuple[int, int], ...]).decode


def store(connection: apsw.Connection, changes: Changes) -> None:
    """Everything or, by an exception, nothing; whether the generation may be changed is the caller's question."""
    generation = changes.generation
    _move_positions(connection, changes)
    _put_rows(connection, generation, changes.rows)
    if changes.released:
        connection.executemany(_RELEASE, [(generation, changes.topic, *place) for place in changes.released])
    if changes.held:
        connection.executemany(_HOLD, [_held_values(generation, letter) for letter in changes.held])
    if changes.discarded:
        connection.executemany(_DISCARD, [(changes.topic, *place) for place in changes.discarded])
    tallies = [(generation, "label", name, delta) for name, delta in changes.labels.items()]
    tallies += [(generation, "counter", name, delta) for name, delta in changes.counters.items()]
    if tallies:
        connection.executemany(_TALLY, tallies)


def _move_positions(connection: apsw.Connection, changes: Changes) -> None:
    first, further = [], []
    for partition, (expected, reached) in changes.positions.items():
        place = (reached, changes.generation, changes.topic, partition)
        if expected:
            further.append((*place, expected))
        else:
            first.append(place)
    if _changed(connection, _FIRST_POSITION, first) + _changed(connection, _NEXT_POSITION, further) != len(
        changes.positions
    ):
        raise StalePosition("another consumer moved a position")


def _put_rows(connection: apsw.Connection, generation: int, rows: Sequence[ViewRow]) -> None:
    new, known = [], []
    for row in rows:
        encoded, first = row.encoded, row.first
        values = (
            generation,
            row.key,
            row.version,
            row.event_id,
            row.label,
            encoded.schema if encoded else None,
            encoded.body if encoded else None,
            row.lineage,
            row.events_applied,
            row.held,
            _json(row.missing).decode() if row.missing else None,
            row.revision,
        )
        if row.revision == 1:
            new.append((*values, first.timestamp, first.partition, first.offset))
        else:
            known.append(values)
    if _changed(connection, _INSERT_ROW, new) + _changed(connection, _UPDATE_ROW, known) != len(rows):
        raise StalePosition("somebody else changed a row")


def _changed(connection: apsw.Connection, sql: str, values: Sequence[tuple[Any, ...]]) -> int:
    """How many rows the statement really changed."""
    if not values:
        return 0
    before = connection.total_changes()
    connection.executemany(sql, values)
    return connection.total_changes() - before


# ---------------------------------------------------------------------- rows and messages


def view_row(
    key: str,
    version: int,
    event_id: str,
    label: str,
    schema: str | None,
    body: bytes | None,
    lineage: str,
    events_applied: int,
    timestamp: int,
    partition: int,
    offset: int,
    held: int,
    revision: int,
    missing: str | None,
) -> ViewRow:
    """Of ROW_COLUMNS."""
    return ViewRow(
        key,
        version,
        event_id,
        label,
        None if schema is None or body is None else Encoded(schema, body),
        _LINEAGES[lineage],
        events_applied,
        Place(timestamp, partition, offset),
        held,
        revision,
        _missing_of(missing) if missing else (),
    )


def _held_values(generation: int, letter: HeldRecord) -> tuple[Any, ...]:
    record = letter.record
    return (
        generation,
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        pack_headers(record.headers),
        letter.key,
        letter.reason,
        letter.detail,
        letter.held_at,
    )


def held_record(
    topic: str,
    partition: int,
    offset: int,
    timestamp: int,
    record_key: bytes | None,
    value: bytes | None,
    headers: bytes,
    key: str | None,
    reason: str,
    detail: str,
    held_at: int,
) -> HeldRecord:
    """Of HELD_COLUMNS."""
    record = Record(topic, partition, offset, timestamp, record_key, value, unpack_headers(headers))
    return HeldRecord(record, key, reason, detail, held_at)
