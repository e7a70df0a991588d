"""The read model in one SQLite file: rows, positions, held records and figures, changed in one transaction."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from ordering.adapters.sqlite.database import NoWriter, Reader, Writer, open_reader, open_writer
from ordering.adapters.sqlite.rows import pack_headers, unpack_headers
from ordering.application.failures import StalePosition
from ordering.application.messages import (
    Changes,
    Encoded,
    HeldRecord,
    Lineage,
    LogIdentity,
    Place,
    Record,
    Snapshot,
    ViewRow,
    ViewStats,
)

SCHEMA_VERSION: Final = 1

_SCHEMA = Path(__file__).with_name("views.sql")
_LINEAGES = {lineage.value: lineage for lineage in Lineage}
_BEGINNING = Place(-(1 << 63), 0, 0)

_GENERATION = "SELECT generation FROM pointer"
_IDENTITY = "SELECT cluster_id, topic_id FROM live_logs WHERE topic = ?"
_RECORD_IDENTITY = """
INSERT INTO logs (generation, topic, cluster_id, topic_id) SELECT generation, ?, ?, ? FROM pointer WHERE true
ON CONFLICT (generation, topic) DO UPDATE SET cluster_id = excluded.cluster_id, topic_id = excluded.topic_id
"""
_POSITIONS = "SELECT partition, next FROM live_positions WHERE topic = ?"
_FIRST_POSITION = """
INSERT INTO positions (next, generation, topic, partition) VALUES (?, ?, ?, ?)
ON CONFLICT (generation, topic, partition) DO UPDATE SET next = excluded.next WHERE next = 0
"""
_NEXT_POSITION = "UPDATE positions SET next = ? WHERE generation = ? AND topic = ? AND partition = ? AND next = ?"

_ROW = "SELECT * FROM live_rows WHERE key = ?"
_ROWS = "SELECT r.* FROM json_each(?) k CROSS JOIN live_rows r WHERE r.key = k.value"
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
_IDS = """
SELECT first_timestamp, first_partition, first_offset, key FROM live_rows
WHERE (first_timestamp, first_partition, first_offset) > (?, ?, ?)
ORDER BY first_timestamp, first_partition, first_offset LIMIT ?
"""

_HOLD = """
INSERT OR REPLACE INTO held (generation, topic, partition, offset, timestamp, record_key, value, headers, key, reason,
  detail, held_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_RELEASE = "DELETE FROM held WHERE generation = ? AND topic = ? AND partition = ? AND offset = ?"
_HELD = "SELECT * FROM live_held WHERE key IS ? ORDER BY topic, partition, offset LIMIT ?"
_LETTERS = "SELECT * FROM live_held WHERE reason <> 'parked' ORDER BY held_at, topic, partition, offset LIMIT ?"
_HELD_KEYS = """
SELECT key FROM live_held h WHERE reason = ? AND key > ? AND NOT EXISTS (
  SELECT 1 FROM live_held e
  WHERE e.key = h.key AND (e.topic, e.partition, e.offset) < (h.topic, h.partition, h.offset))
ORDER BY key LIMIT ?
"""

_TALLY = """
INSERT INTO tallies (generation, kind, name, amount) VALUES (?, ?, ?, ?)
ON CONFLICT (generation, kind, name) DO UPDATE SET amount = amount + excluded.amount
"""
_TALLIES = "SELECT kind, name, amount FROM live_tallies WHERE amount <> 0"
_HELD_COUNTS = """
SELECT (SELECT count(DISTINCT key) FROM live_held), (SELECT count(*) FROM live_held WHERE reason <> 'parked')
"""

_json = msgspec.json.encode
_missing_of = msgspec.json.Decoder(tuple[tuple[int, int], ...]).decode


class SqliteViews:
    """ProjectionStore, OrderViews and DeadLetters on one file.

    Reads run on the event loop and see every commit that was answered before. A row keeps the ``first`` it came with;
    label counts at zero are left out of the statistics. ``commit`` may also raise CommitAmbiguous: repeating it is
    safe, the compare-and-set refuses what is stored already.
    """

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer, self._reader = writer, reader

    @classmethod
    def open(
        cls, path: Path, *, exclusive: bool = True, vfs: str | None = None, synchronous: str = "FULL"
    ) -> "SqliteViews":
        """Open or create the file. The service opens it exclusively: there is one instance; tools do not.

        Raises Refused (a second instance, for one) or StoreUnavailable.
        """
        schema = _SCHEMA.read_text(encoding="utf-8")
        writer = open_writer(path, schema, SCHEMA_VERSION, exclusive=exclusive, vfs=vfs, synchronous=synchronous)
        return cls(writer, Reader(path, SCHEMA_VERSION, vfs=vfs))

    @classmethod
    def look(cls, path: Path) -> "SqliteViews":
        """Open the file to look at it, beside a service or without one: whatever would change it is refused, and
        nothing is left beside it. Raises Refused."""
        return cls(NoWriter(), open_reader(path, SCHEMA_VERSION))

    async def close(self) -> None:
        """Finish what is queued and close the file."""
        self._reader.close()
        await self._writer.close()

    # ------------------------------------------------------------------ the consumer's side

    async def identity(self, topic: str) -> LogIdentity | None:
        rows = self._reader.query(_IDENTITY, (topic,))
        return LogIdentity(*rows[0]) if rows else None

    async def record_identity(self, topic: str, identity: LogIdentity) -> None:
        values = (topic, identity.cluster_id, identity.topic_id)

        def record(connection: apsw.Connection) -> None:
            connection.execute(_RECORD_IDENTITY, values)

        await self._writer.run(record)

    async def load(self, topic: str, keys: Collection[str]) -> Snapshot:
        wanted = _json(list(keys)).decode()

        def read(connection: apsw.Connection) -> Snapshot:
            rows = [_view_row(*row) for row in connection.execute(_ROWS, (wanted,))] if keys else ()
            reached: list[Any] = connection.execute(_POSITIONS, (topic,)).fetchall()
            return Snapshot(connection.execute(_GENERATION).get, dict(reached), {row.key: row for row in rows})

        return self._reader.snapshot(read)

    async def commit(self, changes: Changes) -> None:
        await self._writer.run(lambda connection: _store(connection, changes))

    async def held(self, key: str | None) -> Sequence[HeldRecord]:
        return [_held_record(*row) for row in self._reader.query(_HELD, (key, -1))]

    async def held_keys(self, reason: str, limit: int, *, after: str = "") -> Sequence[str]:
        return [key for (key,) in self._reader.query(_HELD_KEYS, (reason, after, limit))]

    # ------------------------------------------------------------------ the queries' side

    async def get(self, key: str) -> ViewRow | None:
        rows = self._reader.query(_ROW, (key,))
        return _view_row(*rows[0]) if rows else None

    async def ids(self, after: Place | None, limit: int) -> Sequence[tuple[Place, str]]:
        place = after or _BEGINNING
        rows = self._reader.query(_IDS, (place.timestamp, place.partition, place.offset, limit))
        return [(Place(timestamp, partition, offset), key) for timestamp, partition, offset, key in rows]

    async def positions(self, topic: str) -> Mapping[int, int]:
        return dict(self._reader.query(_POSITIONS, (topic,)))

    async def stats(self) -> ViewStats:
        def read(connection: apsw.Connection) -> ViewStats:
            tallies: dict[str, dict[str, int]] = {"label": {}, "counter": {}}
            for kind, name, amount in connection.execute(_TALLIES):
                tallies[kind][name] = amount
            parked, letters = connection.execute(_HELD_COUNTS).get
            labels = tallies["label"]
            return ViewStats(sum(labels.values()), labels, tallies["counter"], parked, letters)

        return self._reader.snapshot(read)

    async def follow(self, wake: Callable[[Collection[str] | None], None]) -> None:
        """No other process changes this read model; what tools release is seen by the next look."""
        await asyncio.Event().wait()

    # ------------------------------------------------------------------ people's side

    async def letters(self, limit: int, *, key: str | None = None) -> Sequence[HeldRecord]:
        rows = self._reader.query(_LETTERS, (limit,)) if key is None else self._reader.query(_HELD, (key, limit))
        return [_held_record(*row) for row in rows]


# ---------------------------------------------------------------------- one transaction


def _store(connection: apsw.Connection, changes: Changes) -> None:
    """Everything or, by an exception, nothing."""
    generation = changes.generation
    if connection.execute(_GENERATION).get != generation:
        raise StalePosition(f"generation {generation} is not the live one")
    _move_positions(connection, changes)
    _put_rows(connection, generation, changes.rows)
    if changes.released:
        connection.executemany(_RELEASE, [(generation, changes.topic, *place) for place in changes.released])
    if changes.held:
        connection.executemany(_HOLD, [_held_values(generation, letter) for letter in changes.held])
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


def _view_row(
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


def _held_record(
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
    record = Record(topic, partition, offset, timestamp, record_key, value, unpack_headers(headers))
    return HeldRecord(record, key, reason, detail, held_at)
