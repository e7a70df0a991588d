"""What the order store asks of PostgreSQL stays a look-up, whatever the planner believes of its tables."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from ordering.adapters.postgres.connections import _SETTINGS
from ordering.adapters.postgres.standings import _STATES
from ordering.adapters.postgres.store import PostgresOrderStore
from tests.services.databases import Databases, databases, unhurried

__all__ = ["databases", "unhurried"]

pytestmark = [pytest.mark.process, pytest.mark.slow]

ORDERS = 100_000
_FILL = (
    f"INSERT INTO orders SELECT 'o-' || i, i, 1, 'e-' || i, 's', '' FROM generate_series(1, {ORDERS}) i",  # noqa: S608
    "INSERT INTO journal SELECT number, version, event_id, order_id, 't', '', '\\x90', 's', '', number FROM orders",
)
_WAIT = "INSERT INTO outbox (number, aggregate_id, version) SELECT number, order_id, 1 FROM orders"


@pytest.fixture
async def filled(databases: Databases) -> AsyncIterator[asyncpg.Connection]:
    """A store of many orders whose outbox was analysed while it was empty, as it mostly is."""
    databases.empty()
    settings = {"search_path": "ordering_cart", **_SETTINGS, "statement_timeout": "0"}
    connection = await asyncpg.connect(databases.server.url(), server_settings=settings)
    for statement in (*_FILL, "INSERT INTO outbox (number, aggregate_id, version) VALUES (1, 'o-1', 1)"):
        await connection.execute(statement)
    await connection.execute("DELETE FROM outbox")
    await connection.execute("ANALYZE")
    yield connection
    await connection.close()
    databases.empty()


async def test_heads_are_found_at_once_when_very_many_events_come_to_wait(
    filled: asyncpg.Connection, databases: Databases
) -> None:
    """After a long outage, or for a log that was lost: not after the time that a statement has."""
    await filled.execute(_WAIT)
    store = PostgresOrderStore(databases.server.url())

    assert len(await store.heads(1_000, ())) == 1_000
    await store.close()


async def test_a_page_of_states_does_not_look_at_the_whole_journal(filled: asyncpg.Connection) -> None:
    """Each order's events are counted by themselves."""
    plan = "\n".join(line for (line,) in await filled.fetch(f"EXPLAIN {_STATES}", "", 1_000))

    assert plan.count("Index Cond: (number = a.number)") + plan.count("Index Cond: ((number = a.number)") == 2, plan
    assert "Bitmap" not in plan, plan
