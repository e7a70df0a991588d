"""When a service may start on a PostgreSQL, and how its schema gets there and back."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial

import asyncpg
import pytest

from ordering.adapters.postgres import migrate
from ordering.adapters.postgres.store import PostgresOrderStore
from ordering.adapters.postgres.views import PostgresViews
from ordering.application.errors import StoreUnavailable
from ordering.application.failures import Refused
from ordering.application.messages import Stored
from tests.contract.order_store.samples import write
from tests.services.databases import Databases, databases, unhurried
from tests.services.postgres import Postgres
from tests.services.processes import HOST, free_ports

__all__ = ["databases", "unhurried"]

pytestmark = pytest.mark.process

PARTS = sorted(migrate.SCHEMAS)
REVISIONS = {"cart": ["0001", "0002"], "order": ["0001", "0002"]}


@pytest.fixture
def fresh(databases: Databases) -> Iterator[str]:
    """The address of a database that nobody has migrated."""
    yield databases.server.create_database("fresh")
    databases.server.drop_database("fresh")


@pytest.fixture
async def bare(fresh: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of somebody else to it."""
    connection = await asyncpg.connect(fresh)
    yield connection
    await connection.close()


async def opens(url: str, part: str) -> None:
    """Open the part's store, and close it again."""
    opened = PostgresOrderStore(url) if part == "cart" else PostgresViews(url)
    try:
        await opened.open()
        await opened.open()
    finally:
        await opened.close()


TABLES = """
SELECT table_schema || '.' || table_name, column_name, data_type, is_nullable FROM information_schema.columns
WHERE table_schema LIKE 'ordering%' ORDER BY 1, 2
"""
OTHERS = """
SELECT c.relkind::text, c.relname, coalesce(pg_get_indexdef(c.oid), '') FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname LIKE 'ordering%' AND c.relkind IN ('i', 'S')
ORDER BY 1, 2, 3
"""
FUNCTIONS = """
SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname LIKE 'ordering%' ORDER BY 1
"""


async def shape(connection: asyncpg.Connection) -> list[tuple[object, ...]]:
    """Everything that a migration makes."""
    return [tuple(row) for sql in (TABLES, OTHERS, FUNCTIONS) for row in await connection.fetch(sql)]


# ---------------------------------------------------------------------- migrations


@pytest.mark.parametrize("part", PARTS)
async def test_up_down_and_up_again(fresh: str, bare: asyncpg.Connection, part: str) -> None:
    """Down leaves nothing but the version table; a second up does nothing; the status tells."""
    revisions = REVISIONS[part]
    assert not any(step.applied for step in await migrate.status(fresh, part))
    assert await migrate.up(fresh, part) == revisions
    assert all(step.applied for step in await migrate.status(fresh, part))
    made = await shape(bare)
    assert await migrate.up(fresh, part) == []
    assert await shape(bare) == made
    await opens(fresh, part)
    assert await migrate.down(fresh, part, "base") == revisions[::-1]
    left = await bare.fetch("SELECT tablename FROM pg_tables WHERE schemaname LIKE 'ordering%'")
    assert [row["tablename"] for row in left] == ["migrations"]
    assert await migrate.down(fresh, part, "base") == []
    assert await migrate.up(fresh, part) == revisions
    assert await shape(bare) == made


async def test_the_parts_do_not_know_each_other(fresh: str) -> None:
    """One database or two: each service migrates its own schema."""
    assert await migrate.up(fresh, "cart") == ["0001", "0002"]
    assert not any(step.applied for step in await migrate.status(fresh, "order"))
    assert await migrate.up(fresh, "order") == ["0001", "0002"]
    assert await migrate.down(fresh, "cart", "base") == ["0002", "0001"]
    await opens(fresh, "order")


async def test_replicas_that_migrate_at_once_do_it_once(fresh: str) -> None:
    """Those behind the first find nothing left to do."""
    done = await asyncio.gather(*(migrate.up(fresh, "cart") for _ in range(4)))
    assert sorted(done) == [[], [], [], ["0001", "0002"]]


async def test_the_script_makes_what_up_makes(databases: Databases, fresh: str, bare: asyncpg.Connection) -> None:
    """And leaves a database that ``up`` finds migrated."""
    for part in PARTS:
        databases.server.sql(migrate.sql(part), "fresh")
        assert await migrate.up(fresh, part) == []
    by_script = await shape(bare)
    for part in PARTS:
        await migrate.down(fresh, part, "base")
        await migrate.up(fresh, part)
    assert await shape(bare) == by_script


async def test_a_failed_migration_changes_nothing(fresh: str, bare: asyncpg.Connection) -> None:
    """Something is in the way of its last table."""
    await bare.execute("CREATE SCHEMA ordering_cart; CREATE TABLE ordering_cart.relay_lease (id int)")
    before = await shape(bare)
    with pytest.raises(Refused, match="changed nothing"):
        await migrate.up(fresh, "cart")
    assert await shape(bare) == before


async def test_a_migration_does_not_wait_for_a_dump(fresh: str, bare: asyncpg.Connection) -> None:
    """Meanwhile whoever asks for the table would wait behind it, for hours: the services of the release before."""
    await migrate.up(fresh, "cart")
    for go in (partial(migrate.down, to="0001"), migrate.up):
        async with bare.transaction():
            await bare.execute("LOCK TABLE ordering_cart.parked IN ACCESS SHARE MODE")  # as a dump has it until its end
            async with asyncio.timeout(60):
                with pytest.raises(Refused, match=r"changed nothing: .* \(a dump\?\): run it again"):
                    await go(fresh, "cart")
        assert await go(fresh, "cart") == ["0002"]


async def test_wrong_calls_are_refused_in_one_line(fresh: str) -> None:
    """Unknown parts and revisions, and a schema that a newer release has migrated further."""
    await migrate.up(fresh, "cart")
    for call in (migrate.up(fresh, "nothing"), migrate.down(fresh, "cart", "9999"), migrate.up("nonsense", "cart")):
        with pytest.raises(Refused) as refused:
            await call
        assert "\n" not in str(refused.value)
    connection = await asyncpg.connect(fresh)
    await connection.execute("UPDATE ordering_cart.migrations SET version_num = '0999'")
    await connection.close()
    with pytest.raises(Refused, match="0999"):
        await migrate.status(fresh, "cart")


# ---------------------------------------------------------------------- what a service starts on


@pytest.mark.parametrize("part", PARTS)
async def test_a_schema_that_is_not_there_is_refused(fresh: str, part: str) -> None:
    """With what to do about it; a service that is running already takes it as the store's absence."""
    with pytest.raises(Refused, match="run `ordering migrate up`"):
        await opens(fresh, part)
    store = PostgresOrderStore(fresh)
    with pytest.raises(StoreUnavailable, match="run `ordering migrate up`"):
        await store.write([write("a")])
    with pytest.raises(StoreUnavailable, match="run `ordering migrate up`"):
        await store.get("a")
    await migrate.up(fresh, "cart")
    assert await store.write([write("a")]) == [Stored(True)]
    await store.close()


@pytest.mark.parametrize("part", PARTS)
async def test_a_newer_schema_says_who_may_run_on_it(fresh: str, bare: asyncpg.Connection, part: str) -> None:
    """A release starts on a newer schema that allows it, and on none that forbids it, nor on one that is too old."""
    await migrate.up(fresh, part)
    set_levels = f"UPDATE {migrate.SCHEMAS[part]}.compatibility SET level = $1, oldest_application = $2"  # noqa: S608
    await bare.execute(set_levels, 9, 1)
    await opens(fresh, part)
    await bare.execute(set_levels, 9, 3)
    with pytest.raises(Refused, match="needs an application of level 3 or newer, this one is level 2"):
        await opens(fresh, part)
    await bare.execute(set_levels, 0, 0)
    with pytest.raises(Refused, match=r"is at level 0, this release needs 2: run `ordering migrate up`"):
        await opens(fresh, part)


async def test_a_read_model_of_the_first_release_is_migrated(fresh: str, bare: asyncpg.Connection) -> None:
    """What it holds stays, the release that made it may go on with it, and one that needs more says what to run."""
    await migrate.up(fresh, "order")
    made = await shape(bare)
    await migrate.down(fresh, "order", "0001")
    first = [
        tuple(each) for each in await bare.fetch("SELECT level, oldest_application FROM ordering_order.compatibility")
    ]
    assert first == [(1, 1)]
    await bare.execute("INSERT INTO ordering_order.positions VALUES (1, 'order-events', 0, 7)")
    with pytest.raises(Refused, match=r"is at level 1, this release needs 2: run `ordering migrate up`"):
        await opens(fresh, "order")
    assert await migrate.up(fresh, "order") == ["0002"]
    assert await shape(bare) == made
    views = PostgresViews(fresh)
    assert dict(await views.positions("order-events")) == {0: 7}
    await views.close()
    oldest = await bare.fetchval("SELECT oldest_application FROM ordering_order.compatibility")
    assert oldest == 1


async def test_an_order_store_of_the_first_release_is_migrated(fresh: str, bare: asyncpg.Connection) -> None:
    """What is parked stays so if something of it waits. The first release may go on: what it parks names no event, and
    stops its order until somebody retries it, or nothing of it waits when the journal is trimmed."""
    await migrate.up(fresh, "cart")
    made = await shape(bare)
    await migrate.down(fresh, "cart", "0001")
    park = "INSERT INTO ordering_cart.parked (aggregate_id, reason) VALUES ($1, 'too large')"
    await bare.execute(park, "nothing-waits")
    with pytest.raises(Refused, match=r"is at level 1, this release needs 2: run `ordering migrate up`"):
        await opens(fresh, "cart")
    assert await migrate.up(fresh, "cart") == ["0002"]
    assert await shape(bare) == made
    store = PostgresOrderStore(fresh)
    await store.write([write("a"), write("a", 2), write("b"), write("b", 2)])
    await store.park("b", 1, "too large")

    assert await migrate.down(fresh, "cart", "0001") == ["0002"]
    await bare.execute(park, "a")
    assert await migrate.up(fresh, "cart") == ["0002"]
    assert [row.event.aggregate_id for row in await store.waiting(9, parked_only=True)] == ["a", "a", "b", "b"]
    await store.mark_published([("a", 1)])
    assert [row.event.version for row in await store.heads(9, ())] == [2]
    await bare.execute(park, "c")
    await store.write([write("c"), write("c", 2)])
    await store.mark_published([("c", 1)])
    assert [row.event.aggregate_id for row in await store.waiting(9, parked_only=True)] == ["b", "b", "c"]
    await store.mark_published([("c", 2)])
    assert await store.trim(answers_before=0, journal_before=0, limit=9) == 0
    await store.write([write("c", 3)])
    assert [row.event.aggregate_id for row in await store.waiting(9, parked_only=True)] == ["b", "b"]
    await store.park("c", 3, "too large")
    await store.mark_published([("c", 3)])
    assert await store.retry(None) == 1
    assert await bare.fetchval("SELECT count(*) FROM ordering_cart.parked") == 0  # the first release counts any row
    await store.close()
    assert await bare.fetchval("SELECT oldest_application FROM ordering_cart.compatibility") == 1


async def test_a_database_that_answers_before_its_commits_are_safe_is_refused(
    fresh: str, bare: asyncpg.Connection
) -> None:
    """``synchronous_commit=off``, wherever it was set."""
    await migrate.up(fresh, "cart")
    await bare.execute("ALTER DATABASE fresh SET synchronous_commit = off")
    with pytest.raises(Refused, match="synchronous_commit=off"):
        await opens(fresh, "cart")
    await bare.execute("ALTER DATABASE fresh SET synchronous_commit = local")
    await opens(fresh, "cart")


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
async def test_a_server_that_does_not_sync_is_refused(databases: Databases, setting: str) -> None:
    """It would lose acknowledged orders at a power cut."""
    assert databases.server.answers()  # or this test is skipped
    with Postgres(settings={setting: "off"}) as unsafe, pytest.raises(Refused, match=f"{setting}=off"):
        await opens(unsafe.url(), "cart")


async def test_people_are_told_in_one_line_without_secrets_why_there_is_no_database(databases: Databases) -> None:
    """What waiting does not change is refused; what it may change is unavailable."""
    url, [nobody] = databases.empty(), free_ports(1)
    password = databases.server.password
    lasting = {
        url.replace(password, "s3cret-wrong"): "refuses this user or password",
        databases.server.url("absent"): "no such database",
        "nonsense s3cret": "address is not understood",
        url.replace(f":{databases.server.port}", ":s3cret"): "address is not understood",
        url.replace(f":{databases.server.port}", ":99999"): "address is not understood",
        url.replace("@", "@s3cret.invalid,,"): "address is not understood",
    }
    for address, reason in lasting.items():
        with pytest.raises(Refused, match=reason) as refused:
            await opens(address, "cart")
        assert "s3cret" not in str(refused.value)
        assert "\n" not in str(refused.value)
    passing = {
        f"postgresql://ordering:s3cret@{HOST}:{nobody}/x": "cannot be reached",
        url + "?sslmode=require": "the server does not speak TLS",
    }
    for address, reason in passing.items():
        with pytest.raises(StoreUnavailable, match=reason) as unavailable:
            await opens(address, "cart")
        assert "s3cret" not in str(unavailable.value)


async def test_a_closed_store_stays_closed(databases: Databases) -> None:
    """Whether it was opened before or not."""
    store = PostgresOrderStore(databases.empty())
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.open()
    with pytest.raises(StoreUnavailable):
        await store.summary()
    await store.close()


async def test_a_close_leaves_no_connection_behind(databases: Databases) -> None:
    """Whatever is being asked or connected meanwhile."""
    store = PostgresOrderStore(databases.empty())
    asking = [asyncio.create_task(store.get(f"order-{number}")) for number in range(12)]
    await asyncio.sleep(0)  # they have begun to connect
    await store.close()
    await asyncio.wait(asking)
    assert [task.exception() for task in asking if not isinstance(task.exception(), StoreUnavailable | None)] == []
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ordering'"
    watcher = await asyncpg.connect(databases.server.url())
    async with asyncio.timeout(60):
        while await watcher.fetchval(count):
            pass
    await watcher.close()


async def test_what_is_taken_back_is_named_and_no_number_of_steps(fresh: str) -> None:
    """Done again after an end that nobody has heard of, ``-1`` would take one more, its data included."""
    await migrate.up(fresh, "order")
    for steps in ("-1", "0002-1", "head", "9999", ""):
        with pytest.raises(Refused, match="name `base`, or one of 0001, 0002"):
            await migrate.down(fresh, "order", steps)
    for taken in (["0002"], []):
        assert await migrate.down(fresh, "order", "0001") == taken
