"""The read model on a real PostgreSQL: several consumers, news between instances, broken connections."""

import asyncio
from collections.abc import AsyncIterator, Collection

import asyncpg
import attrs
import pytest

from ordering.adapters.postgres.views import PostgresViews
from ordering.application.failures import CommitAmbiguous, Refused, StalePosition, StoreUnavailable, WriteRejected
from ordering.application.messages import LogIdentity
from tests.contract.read_model.samples import TOPIC, changes, letter, row, unknown
from tests.services.databases import Databases, databases, unhurried
from tests.services.processes import HOST
from tests.services.proxy import Direction, Proxy, when

__all__ = ["databases", "unhurried"]

pytestmark = pytest.mark.process

PATIENCE = 120.0
Two = tuple[PostgresViews, PostgresViews]


@pytest.fixture
async def two(databases: Databases) -> AsyncIterator[Two]:
    """Two instances on one empty database."""
    url = databases.empty()
    views = PostgresViews(url), PostgresViews(url)
    yield views
    for opened in views:
        await opened.close()


@pytest.fixture
async def bare(databases: Databases) -> AsyncIterator[asyncpg.Connection]:
    """A connection of somebody else to the read model's schema."""
    connection = await asyncpg.connect(databases.server.url(), server_settings={"search_path": "ordering_order"})
    yield connection
    await connection.close()


async def somebody_waits(bare: asyncpg.Connection) -> None:
    """Return as soon as a transaction waits for another one's lock."""
    async with asyncio.timeout(PATIENCE):
        while not await bare.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            pass


class News:
    """Keeps what a wake was called with, and awaits it."""

    def __init__(self) -> None:
        self._heard: asyncio.Queue[Collection[str] | None] = asyncio.Queue()

    def __call__(self, keys: Collection[str] | None) -> None:
        self._heard.put_nowait(keys)

    async def next(self) -> Collection[str] | None:
        async with asyncio.timeout(PATIENCE):
            return await self._heard.get()


async def test_instances_hear_which_keys_another_one_changed(two: Two) -> None:
    """Not their own; and None once they listen, or where the keys are too many to be told."""
    one, other = two
    news = News()
    following = asyncio.create_task(one.follow(news))
    assert await news.next() is None
    await one.commit(changes(row("own")))
    await other.commit(changes(row("a"), row("ö", at=1)))
    assert await news.next() == ["a", "ö"]
    await other.commit(changes(*(row(f"key-{number:0100}", at=number) for number in range(100))))
    assert await news.next() is None
    await other.commit(changes(positions={0: (0, 1)}))  # no row, no news
    await other.commit(changes(row("b", at=9)))
    assert await news.next() == ["b"]
    following.cancel()
    await asyncio.wait([following])
    assert following.cancelled()


async def test_nobody_hears_of_what_was_rolled_back(two: Two) -> None:
    """News are part of the transaction."""
    one, other = two
    news = News()
    following = asyncio.create_task(one.follow(news))
    await news.next()
    with pytest.raises(StalePosition):
        await other.commit(changes(row("a"), positions={0: (7, 8)}))
    await other.commit(changes(row("b")))
    assert await news.next() == ["b"]
    following.cancel()
    await asyncio.wait([following])


async def test_consumers_commit_side_by_side(two: Two) -> None:
    """Each its own partition, both the same counters: nothing is lost, nobody is refused."""

    async def consume(views: PostgresViews, partition: int) -> None:
        for number in range(30):
            at = number * 2 + partition
            await views.commit(
                changes(
                    row(f"key-{at}", at=at), positions={partition: (number, number + 1)},
                    labels={"b": 1, "a": 1} if partition else {"a": 1, "b": 1}, counters={"applied": 1},
                )
            )  # fmt: skip

    await asyncio.gather(consume(two[0], 0), consume(two[1], 1))
    stats = await two[0].stats()
    assert (stats.by_label, stats.counters) == ({"a": 60, "b": 60}, {"applied": 60})
    assert await two[0].positions(TOPIC) == {0: 30, 1: 30}
    assert len(await two[0].ids(None, 99)) == 60


async def test_of_two_who_change_the_same_rows_one_is_stale(databases: Databases, two: Two) -> None:
    """In opposite orders, too: no lost update, and no deadlock that had to be solved."""
    before = databases.deadlocks()
    keys = [f"key-{number}" for number in range(400)]
    for revision in range(1, 21):
        rows = [row(key, revision, at=at) for at, key in enumerate(keys)]
        results = await asyncio.gather(
            two[0].commit(changes(*rows, counters={"applied": 1})),
            two[1].commit(changes(*rows[::-1], counters={"applied": 1})),
            return_exceptions=True,
        )
        assert sorted(type(result).__name__ for result in results) == ["NoneType", "StalePosition"]
    assert (await two[0].stats()).counters == {"applied": 20}
    assert databases.deadlocks() == before


async def test_a_flip_of_the_generation_does_not_pass_unseen(two: Two, bare: asyncpg.Connection) -> None:
    """A transaction that was decided on the old generation waits for the flip, and is refused after it."""
    flip = bare.transaction()
    await flip.start()
    await bare.execute("UPDATE pointer SET generation = 2")
    committing = asyncio.create_task(two[0].commit(changes(row("a"))))
    await somebody_waits(bare)
    await flip.commit()
    with pytest.raises(StalePosition):
        await committing
    snapshot = await two[1].load(TOPIC, ["a"])
    assert (snapshot.generation, dict(snapshot.rows)) == (2, {})


async def test_a_flip_waits_for_the_transactions_that_read_the_pointer(
    databases: Databases, two: Two, bare: asyncpg.Connection
) -> None:
    """So that positions that were equal when it was decided are equal when it is done."""
    blocker = bare.transaction()
    await blocker.start()
    await bare.execute("INSERT INTO tallies VALUES (1, 'label', 'x', 1)")
    committing = asyncio.create_task(two[0].commit(changes(labels={"x": 1})))
    await somebody_waits(bare)  # for the tally, with the pointer read
    flipper = await asyncpg.connect(databases.server.url(), server_settings={"lock_timeout": "50ms"})
    flip = "UPDATE ordering_order.pointer SET generation = 2"
    with pytest.raises(asyncpg.LockNotAvailableError):
        await flipper.execute(flip)
    await blocker.commit()
    await committing
    await flipper.execute(flip)
    await flipper.close()


@pytest.mark.parametrize("deliver", [True, False], ids=["delivered", "not delivered"])
async def test_a_connection_cut_while_committing_is_ambiguous(databases: Databases, deliver: bool) -> None:
    """The positions tell what became of it."""
    url, port = databases.empty(), databases.server.port
    near = PostgresViews(url)
    with Proxy(f"{HOST}:{port}") as proxy:
        far = PostgresViews(url.replace(f":{port}/", f":{proxy.port}/"))
        await far.commit(changes(positions={0: (0, 1)}))
        proxy.watch = when(lambda data: b"the-needle" in data, Direction.TO_TARGET, deliver=deliver)
        batch = changes(row("the-needle"), positions={0: (1, 2)}, counters={"applied": 1})
        with pytest.raises(CommitAmbiguous):
            await far.commit(batch)
        proxy.watch = None
        try:
            await far.commit(batch)  # waits for the first one, if that still commits
        except StalePosition:
            assert deliver
        assert (await far.load(TOPIC, ["the-needle"])).positions == {0: 2}
        assert (await near.stats()).counters == {"applied": 1}
        await far.close()
    await near.close()


async def test_what_postgresql_cannot_hold_is_refused_and_a_letters_detail_made_fit(two: Two) -> None:
    """A key's characters matter; those of a reason for people do not, and the consumer must get past the record."""
    one, _ = two
    for key in ("x\0y", "\ud800"):
        bad = attrs.evolve(row("a"), key=key)
        with pytest.raises(WriteRejected):
            await one.commit(changes(row("b", at=1), bad, positions={0: (0, 1)}))
    assert await one.positions(TOPIC) == {}
    odd = attrs.evolve(letter("a", 1), detail="NUL \0 and \ud800")
    await one.commit(changes(unknown("a"), held=(odd,), positions={0: (0, 1)}))
    [kept] = await one.held("a")
    assert kept.detail == "NUL \N{REPLACEMENT CHARACTER} and ?"


async def test_a_rebuild_that_lost_its_connection_changes_nothing_any_more(two: Two, bare: asyncpg.Connection) -> None:
    """The server gives its claim away with the connection: another one may be at work already."""
    one, other = two[0].generations(), two[1].generations()
    assert await one.claim() is None
    number = await one.begin(TOPIC, LogIdentity("cluster", "topic"))
    told = await other.claim()
    assert told is not None
    assert told.startswith("session ")
    await bare.execute("SELECT pg_terminate_backend($1)", int(told.split()[1]))
    with pytest.raises((CommitAmbiguous, StoreUnavailable, Refused)):  # Refused, if it has noticed by now
        await one.found()
    async with asyncio.timeout(PATIENCE):
        while await other.claim() is not None:  # noqa: ASYNC110 -- the server tells nobody when a session ends
            await asyncio.sleep(0.01)
    for change in (
        one.found(),
        one.drop(number, 1),
        one.store(number).commit(changes(row("a"), positions={0: (0, 1)}, generation=number)),
    ):
        with pytest.raises(Refused, match="run it again to go on"):
            await change
    assert (await other.found()).building == number
    assert (await other.store(number).load(TOPIC, ["a"])).rows == {}
    await other.release()
