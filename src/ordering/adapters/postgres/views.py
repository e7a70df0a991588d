"""The read model in one PostgreSQL schema: rows, positions, held records and figures; any number of instances."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final
from uuid import uuid4

from ordering.adapters.postgres.changes import CHANNEL, HELD_COLUMNS, ROW_COLUMNS, held_record, keys_of, view_row
from ordering.adapters.postgres.connections import Database
from ordering.adapters.postgres.generations import PostgresGenerations, figures_sql, stats_of
from ordering.adapters.postgres.news import follow
from ordering.adapters.postgres.projection import LIVE, PostgresProjection
from ordering.adapters.postgres.schema import ORDER
from ordering.application.messages import HeldRecord, Place, ViewRow, ViewStats

_BEGINNING: Final = Place(-(1 << 63), 0, 0)

# S608: only column names and what finds the live generation are put in.
_POSITIONS: Final = f"SELECT partition, next FROM positions WHERE generation = {LIVE} AND topic = $1"  # noqa: S608
_ROW: Final = f"SELECT {ROW_COLUMNS} FROM view_rows WHERE generation = {LIVE} AND key = $1"  # noqa: S608
_IDS: Final = f"""
SELECT first_timestamp, first_partition, first_offset, key FROM view_rows
WHERE generation = {LIVE} AND (first_timestamp, first_partition, first_offset) > ($1, $2, $3)
ORDER BY first_timestamp, first_partition, first_offset LIMIT $4
"""  # noqa: S608
_LETTERS: Final = f"""
SELECT {HELD_COLUMNS} FROM held WHERE generation = {LIVE} AND reason <> 'parked'
ORDER BY held_at, topic, partition, record_offset LIMIT $1
"""  # noqa: S608
_STATS: Final = f"SELECT {figures_sql(LIVE)}"


class PostgresViews(PostgresProjection):
    """ProjectionStore, OrderViews and DeadLetters in the schema ``ordering_order``.

    ``url`` is a libpq address, which goes to asyncpg as it is. Nothing is connected before ``open`` or the first use.
    Any number of consumers may commit at the same time: what two of them change is changed by one, the other one's
    batch is StalePosition. A row keeps the ``first`` it came with; label counts at zero are left out of the
    statistics.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url, ORDER)
        super().__init__(self._database, str(uuid4()))
        self._url = url
        self._rebuilding: list[Database] = []

    async def open(self) -> None:
        """Connect and check the server, its durability and the schema. Idempotent.

        Raises Refused (one line for people: the service must not start) or StoreUnavailable.
        """
        await self._database.open()

    async def close(self) -> None:
        """Finish the transaction under way and hang up."""
        for database in (self._database, *self._rebuilding):
            await database.close()

    def generations(self) -> PostgresGenerations:
        """The generations, as one process that may rebuild sees them, by a connection of its own."""
        database = Database(self._url, ORDER)
        self._rebuilding.append(database)
        return PostgresGenerations(database, self._origin)

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
        [figures] = await self._database.fetch(_STATS)
        return stats_of(figures)

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
