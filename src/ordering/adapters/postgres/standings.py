"""The order store and the log, brought up to each other, inside one PostgreSQL transaction."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import asyncpg

from ordering.adapters.postgres.connections import Database
from ordering.adapters.postgres.rows import pack_headers
from ordering.application.messages import Encoded, KeptState, NewEvent, Standing, StoredState

# One statement, so one moment.
_STANDINGS: Final = """
SELECT a.order_id, a.version, a.event_id, ARRAY(
  SELECT ROW(o.version, j.event_id) FROM outbox o JOIN journal j USING (number, version)
  WHERE o.aggregate_id = a.order_id)
FROM orders a WHERE a.order_id = ANY ($1::text[])
"""
_PUT: Final = """
INSERT INTO orders (order_id, number, version, event_id, schema, state)
VALUES ($1, nextval('order_numbers'), $2, $3, $4, $5)
ON CONFLICT (order_id) DO UPDATE
SET version = excluded.version, event_id = excluded.event_id, schema = excluded.schema, state = excluded.state
WHERE orders.version < excluded.version OR EXISTS (
  SELECT FROM outbox o JOIN journal j USING (number, version)
  WHERE o.aggregate_id = excluded.order_id AND o.version = excluded.version AND j.event_id <> excluded.event_id)
RETURNING number
"""
# What decides must not change meanwhile, and only a later statement sees what another one has waited for.
_LOCK: Final = "SELECT FROM orders WHERE order_id = ANY ($1::text[]) ORDER BY order_id FOR UPDATE"
_RULED_OUT: Final = "DELETE FROM journal WHERE number = $1 AND version >= $2"
_APPEND: Final = """
INSERT INTO journal (number, version, event_id, aggregate_id, topic, key, headers, schema, body, occurred_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""
_IS_PUBLISHED: Final = "DELETE FROM outbox WHERE aggregate_id = $1"
_UNPARK: Final = "DELETE FROM parked WHERE aggregate_id = $1"

# Counted, for of EXISTS the planner may make one look at the whole journal, for every page.
_STATES: Final = """
SELECT a.order_id, a.version, a.event_id, a.schema, a.state,
  (SELECT count(*) FROM journal j WHERE j.number = a.number),
  0 < (SELECT count(*) FROM journal j WHERE j.number = a.number AND j.version = a.version)
FROM orders a WHERE a.order_id > $1 ORDER BY a.order_id LIMIT $2
"""
_APPEND_LOST: Final = """
INSERT INTO journal (number, version, event_id, aggregate_id, topic, key, headers, schema, body, occurred_at)
SELECT number, $2, $3, order_id, $4, $5, $6, $7, $8, $9 FROM orders WHERE order_id = $1
ON CONFLICT DO NOTHING
"""
# The events are locked, so that nobody trims one whose row here cannot be seen yet.
_REQUEUE: Final = """
INSERT INTO outbox (number, aggregate_id, version)
SELECT j.number, j.aggregate_id, j.version FROM orders a JOIN journal j ON j.number = a.number
WHERE a.order_id = ANY ($1::text[]) ORDER BY j.occurred_at, j.number, j.version FOR KEY SHARE OF j
ON CONFLICT DO NOTHING
"""
_UNPARK_ALL: Final = "DELETE FROM parked WHERE aggregate_id = ANY ($1::text[])"


class ComparedRows:
    """StandingStore and RepublishableStore in the schema of the order store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standings(self, keys: Collection[str]) -> Mapping[str, Standing]:
        rows = await self._database.fetch(_STANDINGS, list(keys))
        return {key: Standing(version, event_id, dict(waiting)) for key, version, event_id, waiting in rows}

    async def adopt(self, events: Sequence[NewEvent]) -> None:
        async def job(connection: asyncpg.Connection) -> None:
            async with connection.transaction():
                await connection.fetch(_LOCK, list({event.aggregate_id for event in events}))
                for event in events:
                    await _adopt(connection, event)

        # Adopting twice changes nothing more, so not to know whether it happened is as good as that it did not.
        await self._database.run(job)

    async def states(self, after: str, limit: int) -> Sequence[KeptState]:
        rows = await self._database.fetch(_STATES, after, limit)
        return [
            KeptState(StoredState(key, version, event_id, Encoded(schema, state)), events, newest)
            for key, version, event_id, schema, state, events, newest in rows
        ]

    async def requeue(self, keys: Collection[str], lost: Sequence[NewEvent]) -> None:
        async def job(connection: asyncpg.Connection) -> None:
            async with connection.transaction():
                # All of them in one go: a page of a thousand must not wait a thousand times for a distant server.
                await connection.executemany(_APPEND_LOST, [_lost_row(event) for event in lost])
                await connection.execute(_REQUEUE, list(keys))
                await connection.execute(_UNPARK_ALL, list(keys))

        await self._database.run(job)  # doing it twice changes nothing more


def _lost_row(event: NewEvent) -> tuple[object, ...]:
    encoded = event.encoded
    row = (event.aggregate_id, event.version, event.event_id, event.topic, event.key)
    return (*row, pack_headers(event.headers), encoded.schema, encoded.body, event.occurred_at)


async def _adopt(connection: asyncpg.Connection, event: NewEvent) -> None:
    key, encoded = event.aggregate_id, event.encoded
    number = await connection.fetchval(_PUT, key, event.version, event.event_id, encoded.schema, encoded.body)
    if number is None:  # it is known by now
        return
    await connection.execute(_RULED_OUT, number, event.version)
    row = (number, event.version, event.event_id, key, event.topic, event.key)
    rest = (pack_headers(event.headers), encoded.schema, encoded.body, event.occurred_at)
    await connection.execute(_APPEND, *row, *rest)
    await connection.execute(_IS_PUBLISHED, key)
    await connection.execute(_UNPARK, key)
