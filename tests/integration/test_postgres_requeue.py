"""What a repair does on a real PostgreSQL while somebody else is at the same rows."""

import asyncio

import asyncpg
import pytest

from ordering.adapters.postgres.store import PostgresOrderStore
from tests.contract.order_store.samples import write
from tests.services.databases import Databases, databases

__all__ = ["databases"]

pytestmark = pytest.mark.process

PATIENCE = 120.0


async def test_what_is_held_for_unpublished_again_is_not_trimmed_meanwhile(databases: Databases) -> None:
    """An outbox row without its event could never be published, and its order never go on."""
    url = databases.empty()
    one, other = PostgresOrderStore(url), PostgresOrderStore(url)
    bare = await asyncpg.connect(url, server_settings={"search_path": "ordering_cart"})
    await one.write([write("a", at=1)])
    await one.mark_published([("a", 1)])
    await bare.execute("INSERT INTO parked (aggregate_id, reason) VALUES ('a', 'x')")
    held = bare.transaction()
    await held.start()
    await bare.execute("SELECT FROM parked FOR UPDATE")  # the requeueing waits for it
    requeueing = asyncio.create_task(one.requeue(["a"], []))
    await _somebody_waits(bare)
    await other.trim(answers_before=0, journal_before=10, limit=10)
    await held.rollback()
    await requeueing
    assert [row.event.version for row in await one.heads(10, ())] == [1]
    for opened in (one, other, bare):
        await opened.close()


async def _somebody_waits(bare: asyncpg.Connection) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await bare.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
