"""One generation of the read model in PostgreSQL as a projection writes it: the live one, or another by its number."""

from collections.abc import Collection, Sequence
from typing import Any, Final, Protocol

from ordering.adapters.postgres.changes import (
    HELD_COLUMNS,
    ROW_COLUMNS,
    apply,
    apply_and_discard,
    arguments_of,
    fill,
    held_record,
    view_row,
)
from ordering.adapters.postgres.connections import Job
from ordering.application.messages import Changes, HeldRecord, LogIdentity, Snapshot

LIVE: Final = "(SELECT generation FROM pointer WHERE id = 1)"
"""Stands in a statement for the number of the live generation. As a sub-select it is looked up once, whatever the
statement goes through."""

# S608: only column names and the number above are put in.
_IDENTITY: Final = "SELECT cluster_id, topic_id FROM logs WHERE generation = {of} AND topic = $1"
_RECORD_IDENTITY: Final = """
INSERT INTO logs (generation, topic, cluster_id, topic_id) VALUES ({of}, $1, $2, $3)
ON CONFLICT (generation, topic) DO UPDATE SET cluster_id = logs.cluster_id RETURNING cluster_id, topic_id
"""
# One statement, so one moment.
_LOAD: Final = f"""
SELECT generation,
  ARRAY(SELECT ROW(p.partition, p.next) FROM positions p WHERE p.generation = l.generation AND p.topic = $1),
  ARRAY(SELECT ROW({ROW_COLUMNS}) FROM view_rows r WHERE r.generation = l.generation AND r.key = ANY ($2::text[]))
FROM {{source}}
"""  # noqa: S608
_HELD: Final = f"""
SELECT {HELD_COLUMNS} FROM held WHERE generation = {{of}} AND key = $1
ORDER BY topic, partition, record_offset LIMIT $2
"""  # noqa: S608
_KEYLESS: Final = f"""
SELECT {HELD_COLUMNS} FROM held WHERE generation = {{of}} AND key IS NULL
ORDER BY topic, partition, record_offset LIMIT $1
"""  # noqa: S608
_HELD_KEYS: Final = """
SELECT key FROM held h WHERE generation = {of} AND reason = $1 AND key > $2 AND NOT EXISTS (
  SELECT FROM held e WHERE e.generation = h.generation AND e.key = h.key
    AND (e.topic, e.partition, e.record_offset) < (h.topic, h.partition, h.record_offset))
ORDER BY key LIMIT $3
"""


class Asked(Protocol):
    """A database, as a projection uses it."""

    async def fetch(self, sql: str, *values: object) -> list[Any]: ...

    async def write(self, job: Job[None]) -> None: ...


class PostgresProjection:
    """ProjectionStore on one generation; without a number on the live one. ``origin`` is this instance's name in the
    news, which only the live one makes."""

    def __init__(self, database: Asked, origin: str, generation: int | None = None) -> None:
        self._asked, self._origin, self._number = database, origin, generation
        of = LIVE if generation is None else str(generation)
        source = "pointer l WHERE id = 1" if generation is None else f"(SELECT {generation} AS generation) l"
        self._identity, self._record_identity = _IDENTITY.format(of=of), _RECORD_IDENTITY.format(of=of)
        self._load = _LOAD.format(source=source)
        self._of_key, self._keyless = _HELD.format(of=of), _KEYLESS.format(of=of)
        self._held_keys = _HELD_KEYS.format(of=of)

    async def identity(self, topic: str) -> LogIdentity | None:
        rows = await self._asked.fetch(self._identity, topic)
        return LogIdentity(*rows[0]) if rows else None

    async def record_identity(self, topic: str, identity: LogIdentity) -> LogIdentity:
        rows = await self._asked.fetch(self._record_identity, topic, identity.cluster_id, identity.topic_id)
        return LogIdentity(*rows[0])

    async def load(self, topic: str, keys: Collection[str]) -> Snapshot:
        [(generation, positions, rows)] = await self._asked.fetch(self._load, topic, list(keys))
        return Snapshot(generation, dict(positions), {row[0]: view_row(row) for row in rows})

    async def commit(self, changes: Changes) -> None:
        arguments = arguments_of(changes, self._origin)
        function = apply if self._number is None else fill
        if self._number is not None:
            arguments[-1] = None  # no news
        if changes.discarded:
            await self._asked.write(lambda connection: apply_and_discard(connection, function, arguments, changes))
        else:
            await self._asked.write(lambda connection: function(connection, arguments))

    async def held(self, key: str | None) -> Sequence[HeldRecord]:
        return await self._held(key, None)

    async def held_keys(self, reason: str, limit: int, *, after: str = "") -> Sequence[str]:
        return [row[0] for row in await self._asked.fetch(self._held_keys, str(reason), after, limit)]

    async def _held(self, key: str | None, limit: int | None) -> Sequence[HeldRecord]:
        if key is None:
            rows = await self._asked.fetch(self._keyless, limit)
        else:
            rows = await self._asked.fetch(self._of_key, key, limit)
        return [held_record(row) for row in rows]
