"""The order store on a real PostgreSQL: several instances, broken connections, a server that comes and goes."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import asyncpg
import pytest

from ordering.adapters.postgres.store import PostgresOrderStore
from ordering.adapters.postgres.writes import rounds_of
from ordering.adapters.postgres.writes import store as store_batch
from ordering.application.errors import CommitAmbiguous, StoreUnavailable
from ordering.application.messages import Conflict, Outcome, Stored, Write
from tests.contract.order_store.samples import state, write
from tests.services.databases import Databases, databases, give_time, unhurried
from tests.services.processes import HOST
from tests.services.proxy import Direction, Passing, Proxy, when

__all__ = ["databases", "unhurried"]

pytestmark = pytest.mark.process

PATIENCE = 120.0
LEASE = timedelta(seconds=2)


@pytest.fixture
async def two(databases: Databases) -> AsyncIterator[tuple[PostgresOrderStore, PostgresOrderStore]]:
    """Two instances on one empty database."""
    url = databases.empty()
    stores = PostgresOrderStore(url, owner="one"), PostgresOrderStore(url, owner="other")
    yield stores
    for opened in stores:
        await opened.close()


@pytest.fixture
async def bare(databases: Databases) -> AsyncIterator[asyncpg.Connection]:
    """A connection of somebody else to the store's schema."""
    connection = await asyncpg.connect(databases.server.url(), server_settings={"search_path": "ordering_cart"})
    yield connection
    await connection.close()


@pytest.fixture
async def far(databases: Databases) -> AsyncIterator[tuple[Proxy, PostgresOrderStore]]:
    """A store behind a proxy, on an empty database."""
    url, port = databases.empty(), databases.server.port
    with Proxy(f"{HOST}:{port}") as proxy:
        opened = PostgresOrderStore(url.replace(f":{port}/", f":{proxy.port}/"))
        yield proxy, opened
        await opened.close()


async def somebody_waits(bare: asyncpg.Connection, count: int = 1) -> None:
    """Return as soon as this many transactions wait for another one's lock."""
    async with asyncio.timeout(PATIENCE):
        while await bare.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < count:
            pass


# ---------------------------------------------------------------------- the lease


async def leased(store: PostgresOrderStore, trouble: str | None, bare: asyncpg.Connection) -> bool:
    """Renew the lease, and have it last longer than this machine may take for what the test does meanwhile."""
    renewed = await store.renew(trouble)
    if renewed:
        await bare.execute("UPDATE relay_lease SET expires_at = clock_timestamp() + interval '1 h'")
    return renewed


async def test_one_instance_holds_the_lease_and_the_other_sees_its_word(
    two: tuple[PostgresOrderStore, PostgresOrderStore], bare: asyncpg.Connection
) -> None:
    """Until it lets go; then the other has it at once."""
    one, other = two
    assert await other.holders_view() == "no relay is running"
    assert await leased(one, "the broker is down", bare)
    assert not await other.renew(None)
    assert await other.holders_view() == "the broker is down"
    assert await leased(one, None, bare)
    assert await other.holders_view() is None
    await other.release()  # not its own
    assert not await other.renew("x")
    await one.release()
    assert await one.holders_view() == "no relay is running"
    assert await leased(other, None, bare)
    assert not await one.renew(None)


async def test_a_lease_lasts_two_seconds_of_the_databases_clock(
    two: tuple[PostgresOrderStore, PostgresOrderStore], bare: asyncpg.Connection
) -> None:
    """Whoever does not renew it loses it, and does not get it back before the new holder's has run out."""
    one, other = two
    for _ in range(2):  # the first one, and one that was renewed
        before = await bare.fetchval("SELECT clock_timestamp()")
        assert await one.renew(None)
        until, now = await bare.fetchrow("SELECT expires_at, clock_timestamp() FROM relay_lease")
        assert before + LEASE <= until <= now + LEASE
    assert await leased(one, None, bare)
    assert not await other.renew(None)
    await bare.execute("UPDATE relay_lease SET expires_at = clock_timestamp()")  # it has run out
    assert await one.holders_view() == "no relay is running"
    assert await leased(other, None, bare)
    assert not await one.renew(None)


# ---------------------------------------------------------------------- nudges


class Wakes:
    """Counts the calls of a wake, and awaits them."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._changed.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.count < count:
                self._changed.clear()
                await self._changed.wait()


async def test_a_nudge_wakes_the_other_instance_and_not_oneself(
    two: tuple[PostgresOrderStore, PostgresOrderStore],
) -> None:
    """News come in the order they were sent, so one's own would have been seen first."""
    one, other = two
    wakes = Wakes()
    following = asyncio.create_task(one.follow(wakes))
    await wakes.until(1)  # listening
    await one.nudge()
    await other.nudge()
    await wakes.until(2)
    await one.nudge()
    await other.nudge()
    await wakes.until(3)
    assert wakes.count == 3
    following.cancel()
    await asyncio.wait([following])
    assert following.cancelled()


@pytest.mark.slow
async def test_following_survives_a_crash_of_the_server(
    databases: Databases, two: tuple[PostgresOrderStore, PostgresOrderStore]
) -> None:
    """It listens again by itself, wakes once for what it may have missed, and hears what comes then."""
    one, other = two
    await other.write([write("a")])
    wakes = Wakes()
    following = asyncio.create_task(one.follow(wakes))
    await wakes.until(1)
    databases.server.kill()
    await other.nudge()  # raises nothing, with nobody there
    with pytest.raises(StoreUnavailable):
        await other.get("a")
    await asyncio.to_thread(databases.server.start)
    await wakes.until(2)
    await other.nudge()
    await wakes.until(3)
    assert await other.get("a") == state(write("a"))
    following.cancel()
    await asyncio.wait([following])


# ---------------------------------------------------------------------- several instances


async def test_an_open_transaction_with_a_low_number_hides_no_row(
    two: tuple[PostgresOrderStore, PostgresOrderStore], bare: asyncpg.Connection
) -> None:
    """What commits late was numbered early: it is found all the same, and nothing waits for it."""
    one, other = two
    slow = bare.transaction()
    await slow.start()
    assert await store_batch(bare, rounds_of([write("late")])) == [Stored(True)]
    await one.write([write("early")])
    assert [row.event.aggregate_id for row in await other.heads(10, ())] == ["early"]
    await other.mark_published([("early", 1)])
    assert list(await other.heads(10, ())) == []
    await slow.commit()
    assert [row.event.aggregate_id for row in await other.heads(10, ())] == ["late"]


async def test_two_instances_writing_the_same_orders_have_one_winner_each(
    two: tuple[PostgresOrderStore, PostgresOrderStore],
) -> None:
    """Creations, changes and answers in clashing orders: no lost update."""
    dice = random.Random(7)
    names = [f"order-{number}" for number in range(100)]
    versions = dict.fromkeys(names, 0)
    for turn in range(16):

        def batch(who: str, turn: int = turn) -> list[Write]:
            chosen = dice.sample(names, 60)
            keys = {name: f"{turn} {name} {who if name.endswith('1') else ''}" for name in chosen}  # most are shared
            writes = [write(name, versions[name] + 1, f"{who}-{turn}-{name}", key=keys[name]) for name in chosen]
            again = [write(name, versions[name] + 2, f"{who}-{turn}-{name}-again") for name in chosen[:3]]
            return writes + again * (turn % 4 == 3 and who == "one")

        batches = batch("one"), batch("other")
        results = await asyncio.gather(*(opened.write(part) for opened, part in zip(two, batches, strict=True)))
        stored: dict[str, list[int]] = {}
        for part, outcomes in zip(batches, results, strict=True):
            for written, outcome in zip(part, outcomes, strict=True):
                if isinstance(outcome, Stored):
                    assert written.event is not None
                    stored.setdefault(written.aggregate_id, []).append(written.event.version)
        for name, won in stored.items():
            assert sorted(won) == list(range(versions[name] + 1, versions[name] + 1 + len(won)))
            versions[name] += len(won)
    for name in names:
        assert [entry.event.version for entry in await two[0].timeline(name)] == list(range(1, versions[name] + 1))


def creation(name: str, who: str) -> Write:
    return write(name, event_id=f"{who} {name}")


def change(name: str, who: str) -> Write:
    return write(name, 2, f"{who} {name}")


def answered(name: str, who: str) -> Write:
    return write(f"{who} {name}", key=name)


@pytest.mark.parametrize("kind", [creation, change, answered], ids=lambda kind: kind.__name__)
async def test_instances_wait_for_each_other_in_one_order(
    databases: Databases,
    two: tuple[PostgresOrderStore, PostgresOrderStore],
    bare: asyncpg.Connection,
    kind: Callable[[str, str], Write],
) -> None:
    """Whatever order their batches have: the one goes first, and PostgreSQL has no deadlock to solve."""
    names, before = ["a", "m", "z"], databases.deadlocks()
    if kind is change:
        await two[0].write([write(name) for name in names])
    blocker = bare.transaction()
    await blocker.start()
    await store_batch(bare, rounds_of([kind("m", "somebody")]))
    tasks = [
        asyncio.create_task(opened.write([kind(name, who) for name in order]))
        for opened, who, order in zip(two, ("one", "other"), (names, names[::-1]), strict=True)
    ]
    await somebody_waits(bare, 2)
    await blocker.rollback()
    results = [await task for task in tasks]
    assert sorted(sum(isinstance(outcome, Stored) for outcome in result) for result in results) == [0, 3]
    assert databases.deadlocks() == before


@pytest.mark.slow
async def test_a_deadlock_is_tried_again(
    two: tuple[PostgresOrderStore, PostgresOrderStore], bare: asyncpg.Connection
) -> None:
    """PostgreSQL ends one of the two; if it is ours, nothing of it was stored, and the same again succeeds."""
    one, _ = two
    await one.write([write("a"), write("b")])
    await bare.execute("SET deadlock_timeout = '2s'")  # so that ours is the one that looks, and is ended
    version, ended = 1, False
    while not ended:  # ours looks once, a second after it began to wait: too soon for a slow machine, at times
        version += 1
        blocker = bare.transaction()
        await blocker.start()
        await bare.execute("UPDATE orders SET state = state WHERE order_id = 'b'")
        writing = asyncio.create_task(one.write([write("a", version), write("b", version)]))
        await somebody_waits(bare)
        try:
            await bare.execute("UPDATE orders SET state = state WHERE order_id = 'a'")
        except asyncpg.DeadlockDetectedError:
            await blocker.rollback()
        else:
            await blocker.commit()
            ended = True
        assert await writing == [Stored(False), Stored(False)]


# ---------------------------------------------------------------------- ambiguous commits


@pytest.mark.parametrize("deliver", [True, False], ids=["delivered", "not delivered"])
async def test_a_connection_cut_while_writing_is_ambiguous_and_a_repetition_tells(
    far: tuple[Proxy, PostgresOrderStore], deliver: bool
) -> None:
    """Whether or not the write arrived: the same batch again stores it once, and answers Stored."""
    proxy, store = far
    await store.write([write("before")])
    batch = [write("a", event_id="the-needle", key="k"), write("before", 2)]
    proxy.watch = when(lambda data: b"the-needle" in data, Direction.TO_TARGET, deliver=deliver)
    with pytest.raises(CommitAmbiguous):
        await store.write(batch)
    proxy.watch = None
    assert await store.write(batch) == [Stored(True), Stored(False)]
    assert [entry.event.event_id for entry in await store.timeline("a")] == ["the-needle"]
    assert [entry.event.version for entry in await store.timeline("before")] == [1, 2]
    assert len(await store.waiting(10)) == 3


async def test_an_answer_that_is_cut_off_is_ambiguous(far: tuple[Proxy, PostgresOrderStore]) -> None:
    """The server has committed; the client cannot know."""
    proxy, store = far
    await store.write([write("before")])
    seen = False

    def watch(passing: Passing) -> int | None:
        nonlocal seen
        seen = seen or (passing.direction is Direction.TO_TARGET and b"the-needle" in passing.data)
        return 0 if seen and passing.direction is Direction.TO_CLIENT else None

    proxy.watch = watch
    with pytest.raises(CommitAmbiguous):
        await store.write([write("a", event_id="the-needle")])
    proxy.watch = None
    assert await store.get("a") == state(write("a", event_id="the-needle"))
    assert await store.write([write("a", event_id="the-needle")]) == [Stored(True)]


@pytest.mark.parametrize("key", [None, "k"], ids=["without answer", "with answer"])
async def test_a_repetition_waits_for_a_first_try_that_still_commits(
    two: tuple[PostgresOrderStore, PostgresOrderStore], bare: asyncpg.Connection, key: str | None
) -> None:
    """What it waited for was not there when its statement began, and still it is no conflict."""
    one, _ = two
    await one.write([write("b")])
    batch = [write("a", key=key), write("b", 2)]
    first_try = bare.transaction()
    await first_try.start()
    await store_batch(bare, rounds_of(batch))
    repeating = asyncio.create_task(one.write(batch))
    await somebody_waits(bare)
    await first_try.commit()
    assert await repeating == [Stored(True), Stored(False)]
    assert [entry.event.version for entry in await one.timeline("b")] == [1, 2]


async def test_a_cancelled_caller_leaves_a_usable_store(
    two: tuple[PostgresOrderStore, PostgresOrderStore], bare: asyncpg.Connection
) -> None:
    """Its connection is dropped with whatever was under way; the next call takes another."""
    one, _ = two
    await one.write([write("a")])
    blocker = bare.transaction()
    await blocker.start()
    await bare.execute("SELECT FROM orders FOR UPDATE")
    writing = asyncio.create_task(one.write([write("a", 2)]))
    await somebody_waits(bare)
    writing.cancel()
    await asyncio.wait([writing])
    await blocker.rollback()
    [outcome] = await one.write([write("a", 2)])
    assert outcome == Stored(False)


@pytest.mark.slow
async def test_a_server_that_answers_nothing_holds_nobody_for_ever(
    far: tuple[Proxy, PostgresOrderStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read is refused, a write is ambiguous, a new connection is given up sooner; then everything is as before."""
    proxy, store = far
    await store.write([write("a")])
    assert await store.get("a") is not None
    monkeypatch.undo()  # our own limits
    proxy.black_hole()
    async with asyncio.timeout(PATIENCE):
        results = await asyncio.gather(store.get("a"), store.write([write("b")]), return_exceptions=True)
        assert [type(result) for result in results] == [StoreUnavailable, CommitAmbiguous]
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await store.write([write("b")])
    give_time(monkeypatch)
    proxy.restore()
    outcomes: list[Outcome] = list(await store.write([write("b"), write("a", event_id="x")]))
    assert outcomes == [Stored(True), Conflict(1)]


async def test_a_write_that_finds_no_server_is_not_stored(far: tuple[Proxy, PostgresOrderStore]) -> None:
    """Nothing was sent, so it is the error for 'nothing stored'."""
    proxy, store = far
    proxy.refuse()
    with pytest.raises(StoreUnavailable):
        await store.write([write("a")])
    proxy.restore()
    assert await store.write([write("a")]) == [Stored(True)]
