"""One generation of the read model in a SQLite file, as a projection writes it: the live one, or another one."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import apsw
import msgspec

from ordering.adapters.sqlite.changes import HELD_COLUMNS, ROW_COLUMNS, held_record, store, view_row
from ordering.adapters.sqlite.database import Reader, Writer
from ordering.application.failures import StalePosition
from ordering.application.messages import Changes, HeldRecord, LogIdentity, Snapshot

LIVE: Final = "(SELECT generation FROM pointer)"
"""Stands in a statement for the number of the live generation, as of the statement's moment."""

POINTER: Final = "SELECT generation FROM pointer"
POSITIONS: Final = "SELECT partition, next FROM positions WHERE generation = {of} AND topic = ?"
HELD: Final = (
    f"SELECT {HELD_COLUMNS} FROM held WHERE generation = {{of}} AND key IS ? ORDER BY topic, partition, offset LIMIT ?"  # noqa: S608
)
_IDENTITY = "SELECT cluster_id, topic_id FROM logs WHERE generation = {of} AND topic = ?"
_RECORD_IDENTITY = """
INSERT INTO logs (generation, topic, cluster_id, topic_id) SELECT {of}, ?, ?, ? WHERE true
ON CONFLICT (generation, topic) DO UPDATE SET cluster_id = logs.cluster_id RETURNING cluster_id, topic_id
"""
_ROWS = f"""
SELECT {", ".join(f"r.{name}" for name in ROW_COLUMNS.split(", "))}
FROM json_each(?) k CROSS JOIN rows r WHERE r.generation = {{of}} AND r.key = k.value
"""  # noqa: S608
_HELD_KEYS = """
SELECT key FROM held h WHERE generation = {of} AND reason = ? AND key > ? AND NOT EXISTS (
  SELECT 1 FROM held e
  WHERE e.generation = h.generation AND e.key = h.key
    AND (e.topic, e.partition, e.offset) < (h.topic, h.partition, h.offset))
ORDER BY key LIMIT ?
"""
_IS_FILLED = "SELECT 1 FROM logs WHERE generation = ? AND generation <> (SELECT generation FROM pointer)"

_json = msgspec.json.encode


class SqliteProjection:
    """ProjectionStore on one generation; without a number on the live one.

    Reads run on the caller's thread and see every commit that was answered before. ``durable=False``: commits are not
    synced (after a power cut the last ones may be missing, rows and positions together).
    """

    def __init__(self, writer: Writer, reader: Reader, generation: int | None = None, *, durable: bool = True) -> None:
        self._writer, self._reader, self._number, self._durable = writer, reader, generation, durable
        of = LIVE if generation is None else str(generation)
        self._identity, self._record_identity = _IDENTITY.format(of=of), _RECORD_IDENTITY.format(of=of)
        self._rows, self._at = _ROWS.format(of=of), POSITIONS.format(of=of)
        self._held, self._held_keys = HELD.format(of=of), _HELD_KEYS.format(of=of)
        self._generation = f"SELECT {of}"

    async def identity(self, topic: str) -> LogIdentity | None:
        rows = self._reader.query(self._identity, (topic,))
        return LogIdentity(*rows[0]) if rows else None

    async def record_identity(self, topic: str, identity: LogIdentity) -> LogIdentity:
        values = (topic, identity.cluster_id, identity.topic_id)

        def record(connection: apsw.Connection) -> LogIdentity:
            recorded: list[Any] = connection.execute(self._record_identity, values).fetchall()
            return LogIdentity(*recorded[0])

        return await self._writer.run(record)

    async def load(self, topic: str, keys: Collection[str]) -> Snapshot:
        wanted = _json(list(keys)).decode()

        def read(connection: apsw.Connection) -> Snapshot:
            rows = [view_row(*row) for row in connection.execute(self._rows, (wanted,))] if keys else ()
            reached: list[Any] = connection.execute(self._at, (topic,)).fetchall()
            return Snapshot(connection.execute(self._generation).get, dict(reached), {row.key: row for row in rows})

        return self._reader.snapshot(read)

    async def commit(self, changes: Changes) -> None:
        """Also raises CommitAmbiguous: repeating it is safe, the compare-and-set refuses what is stored already."""

        def job(connection: apsw.Connection) -> None:
            self._require_open(connection, changes.generation)
            store(connection, changes)

        await self._writer.run(job, durable=self._durable)

    async def held(self, key: str | None) -> Sequence[HeldRecord]:
        return [held_record(*row) for row in self._reader.query(self._held, (key, -1))]

    async def held_keys(self, reason: str, limit: int, *, after: str = "") -> Sequence[str]:
        return [key for (key,) in self._reader.query(self._held_keys, (reason, after, limit))]

    def _require_open(self, connection: apsw.Connection, generation: int) -> None:
        """Raises StalePosition unless this is the generation that takes these changes, now."""
        if self._number is None:
            if connection.execute(POINTER).get != generation:
                raise StalePosition(f"generation {generation} is not the live one")
        elif generation != self._number or connection.execute(_IS_FILLED, (generation,)).get is None:
            raise StalePosition(f"generation {generation} is not being filled")
