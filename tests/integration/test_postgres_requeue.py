"""What a repair does on a real PostgreSQL while somebody else is at the same rows, or publishes."""

import asyncio

import asyncpg
import pytest

from ordering.adapters.postgres.store import PostgresOrderStore
from ordering.application.failures import Refused
from ordering.entrypoints.container import Tools
from ordering.entrypoints.settings import Mode, Settings
from tests.contract.order_store.samples import write
from tests.services.databases import Databases, databases, unhurried

__all__ = ["databases", "unhurried"]

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


@pytest.mark.slow
async def test_a_repair_does_not_begin_while_a_cart_service_publishes(databases: Databases) -> None:
    """It would adopt or hold for unpublished what the service changes meanwhile. One that died is soon forgotten.
    (A service renews its lease; for a while this one's lasts longer by itself, however seldom this machine gets to it.)
    """
    url = databases.empty()
    service = PostgresOrderStore(url, owner="service")
    bare = await asyncpg.connect(url, server_settings={"search_path": "ordering_cart"})
    assert await service.renew(None)
    await bare.execute("UPDATE relay_lease SET expires_at = clock_timestamp() + interval '1 h'")
    settings = Settings(mode=Mode.CLUSTER, database_url=url, kafka_bootstrap_servers="localhost:1")
    tools = Tools(settings)
    told = await asyncio.gather(tools.reconciler(dry_run=False), tools.republisher(), return_exceptions=True)
    assert [repr(one) for one in told] == [repr(Refused("a cart service is running: stop it first"))] * 2
    assert await service.renew(None)
    assert await tools.idle_store() is tools.store
    assert await service.renew(None)  # it was given back
    await tools.close()
    for opened in (service, bare):
        await opened.close()
