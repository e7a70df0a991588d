"""The read model in one PostgreSQL schema: rows, positions, held records and figures; any number of instances."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final
from uuid import uuid4

from ordering.adapters.postgres.changes import (
    CHANNEL,
    HELD_COLUMNS,
    ROW_COLUMNS,
    apply,
    arguments_of,
    held_record,
    keys_of,
    view_row,
)
from ordering.adapters.postgres.connections import Database
from ordering.adapters.postgres.news import follow
from ordering.adapters.postgres.schema import ORDER
from ordering.application.messages import Changes, HeldRecord, LogIdentity, Place, Snapshot, ViewRow, ViewStats

# What readers see: the live generation. As a sub-select it is looked up once, whatever the statement goes through.
_LIVE: Final = "generation = (SELECT generation FROM pointer WHERE id = 1)"
_BEGINNING: Final = Place(-(1 << 63), 0, 0)

# S608: only column names and the condition above are put in.
_IDENTITY: Final = f"SELECT cluster_id, topic_id FROM logs WHERE {_LIVE} AND topic = $1"  # noqa: S608
_RECORD_IDENTITY: Final = """
INSERT INTO logs (generation, topic, cluster_id, topic_id) SELECT generation, $1, $2, $3 FROM pointer WHERE id = 1
ON CONFLICT (generation, topic) DO UPDATE SET cluster_id = excluded.cluster_id, topic_id = excluded.topic_id
"""
# One statement, so one moment.
_LOAD: Final = f"""
SELECT generation,
  ARRAY(SELECT ROW(p.partition, p.next) FROM positions p WHERE p.generation = l.generation AND p.topic = $1),
  ARRAY(SELECT ROW({ROW_COLUMNS}) FROM view_rows r WHERE r.generation = l.generation AND r.key = ANY ($2::text[]))
FROM pointer l WHERE id = 1
"""  # noqa: S608
_POSITIONS: Final = f"SELECT partition, next FROM positions WHERE {_LIVE} AND topic = $1"  # noqa: S608
_ROW: Final = f"SELECT {ROW_COLUMNS} FROM view_rows WHERE {_LIVE} AND key = $1"  # noqa: S608
_IDS: Final = f"""
SELECT first_timestamp, first_partition, first_offset, key FROM view_rows
WHERE {_LIVE} AND (first_timestamp, first_partition, first_offset) > ($1, $2, $3)
ORDER BY first_timestamp, first_partition, first_offset LIMIT $4
"""  # noqa: S608
_HELD: Final = f"""
SELECT {HELD_COLUMNS} FROM held WHERE {_LIVE} AND key = $1 ORDER BY topic, partition, record_offset LIMIT $2
"""  # noqa: S608
_KEYLESS: Final = f"""
SELECT {HELD_COLUMNS} FROM held WHERE {_LIVE} AND key IS NULL ORDER BY topic, partition, record_offset LIMIT $1
"""  # noqa: S608
_LETTERS: Final = f"""
SELECT {HELD_COLUMNS} FROM held WHERE {_LIVE} AND reason <> 'parked'
ORDER BY held_at, topic, partition, record_offset LIMIT $1
"""  # noqa: S608
_HELD_KEYS: Final = f"""
SELECT key FROM held h WHERE {_LIVE} AND reason = $1 AND key > $2 AND NOT EXISTS (
  SELECT FROM held e WHERE e.generation = h.generation AND e.key = h.key
    AND (e.topic, e.partition, e.record_offset) < (h.topic, h.partition, h.record_offset))
ORDER BY key LIMIT $3
"""  # noqa: S608
_STATS: Final = f"""
SELECT ARRAY(SELECT ROW(kind, name, amount) FROM tallies WHERE {_LIVE} AND amount <> 0),
  (SELECT count(DISTINCT key) FROM held WHERE {_LIVE}),
  (SELECT count(*) FROM held WHERE {_LIVE} AND reason <> 'parked')
"""  # noqa: S608


class PostgresViews:
    """ProjectionStore, OrderViews and DeadLetters in the schema ``ordering_order``.

    ``url`` is a libpq address, which goes to asyncpg as it is. Nothing is connected before ``open`` or the first use.
    Any number of consumers may commit at the same time: what two of them change is changed by one, the other one's
    batch is StalePosition. A row keeps the ``first`` it came with; label counts at zero are left out of the
    statistics.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url, ORDER)
        self._origin = str(uuid4())

    async def open(self) -> None:
        """Connect and check the server, its durability and the schema. Idempotent.

        Raises Refused (one line for people: the service must not start) or StoreUnavailable.
        """
        await self._database.open()

    async def close(self) -> None:
        """Finish the transaction under way and hang up."""
        await self._database.close()

    # ------------------------------------------------------------------ the consumer's side

    async def identity(self, topic: str) -> LogIdentity | None:
        rows = await self._database.fetch(_IDENTITY, topic)
        return LogIdentity(*rows[0]) if rows else None

    async def record_identity(self, topic: str, identity: LogIdentity) -> None:
        await self._database.fetch(_RECORD_IDENTITY, topic, identity.cluster_id, identity.topic_id)

    async def load(self, topic: str, keys: Collection[str]) -> Snapshot:
        [(generation, positions, rows)] = await self._database.fetch(_LOAD, topic, list(keys))
        return Snapshot(generation, dict(positions), {row[0]: view_row(row) for row in rows})

    async def commit(self, changes: Changes) -> None:
        arguments = arguments_of(changes, self._origin)
        await self._database.write(lambda connection: apply(connection, arguments))

    async def held(self, key: str | None) -> Sequence[HeldRecord]:
        return await self._held(key, None)

    async def held_keys(self, reason: str, limit: int, *, after: str = "") -> Sequence[str]:
        return [row[0] for row in await self._database.fetch(_HELD_KEYS, str(reason), after, limit)]

    # ------------------------------------------------------------------ the queries' side

    async def get(self, key: str) -> ViewRow | None:
        rows = await self._database.fetch(_ROW, key)
        return view_row(rows[0]) if rows else None

    async def ids(self, after: Place | None, limit: int) -> Sequence[tuple[Place, str]]:
        place = after or _BEGINNING
        rows = await self._database.fetch(_IDS, place.timestamp, place.partition, place.offset, limit)
        return [(Place(timestamp, partition, offset), key) for timestamp, partition, offset, key in rows]

    async def positions(self, topic: str) -> Mapping[int, int]:
        return dict(await self._database.fetch(_POSITIONS, topic))

    async def stats(self) -> ViewStats:
        [(amounts, parked, letters)] = await self._database.fetch(_STATS)
        tallies: dict[str, dict[str, int]] = {"label": {}, "counter": {}}
        for kind, name, amount in amounts:
            tallies[kind][name] = amount
        labels = tallies["label"]
        return ViewStats(sum(labels.values()), labels, tallies["counter"], parked, letters)

    async def follow(self, wake: Callable[[Collection[str] | None], None]) -> None:
        def heard(payload: str | None) -> None:
            keys = None if payload is None else keys_of(payload, self._origin)
            if keys is None or keys:
                wake(keys)

        await follow(self._database.connect, CHANNEL, heard)

    # ------------------------------------------------------------------ people's side

    async def letters(self, limit: int, *, key: str | None = None) -> Sequence[HeldRecord]:
        if key is not None:
            return await self._held(key, limit)
        return [held_record(row) for row in await self._database.fetch(_LETTERS, limit)]

    async def _held(self, key: str | None, limit: int | None) -> Sequence[HeldRecord]:
        if key is None:
            rows = await self._database.fetch(_KEYLESS, limit)
        else:
            rows = await self._database.fetch(_HELD, key, limit)
        return [held_record(row) for row in rows]
