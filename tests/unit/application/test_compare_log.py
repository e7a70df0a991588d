"""An order store older than the log is found out, brought up to it, and a sound one never suspected."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordering.adapters.memory.log import MemorySource
from ordering.adapters.memory.store import MemoryOrderStore
from ordering.application.compare_log import StartCheck, StoreBehindLog
from ordering.application.failures import Refused
from ordering.application.messages import (
    Headers,
    OutgoingRecord,
    Record,
    Standing,
)
from tests.unit.application.log_and_store import OURS, SENT_BY_US, TOPIC, Decoder, World
from tests.unit.application.runtime import run


def test_a_restored_older_store_is_refused_with_its_orders_and_the_way_out() -> None:
    """One line: which orders, what would happen, what to do."""

    async def main() -> None:
        world = World()
        await world.change("kept")
        await world.publish()
        backup = copy.deepcopy(world.store)
        for key in ("kept", "created-later"):
            await world.change(key)
        await world.publish()
        world.restore(backup)
        with pytest.raises(StoreBehindLog) as refused:
            await world.check()

        assert isinstance(refused.value, Refused)
        text = str(refused.value)
        assert "\n" not in text
        for word in ("2 changes", "created-later", "kept", "version-conflict", "ordering restore reconcile"):
            assert word in text
        assert world.observer.names == ["store.behind_log"]

    run(main())


def test_a_change_made_on_a_restored_store_is_found_before_it_is_published() -> None:
    """Same version, another event: it must never reach the log."""

    async def main() -> None:
        world = World()
        await world.change("a")
        await world.publish()
        backup = copy.deepcopy(world.store)
        await world.change("a")
        await world.publish()
        world.restore(backup)
        await world.change("a")  # by a build that does not look, or while the log was away
        with pytest.raises(StoreBehindLog):
            await world.check()
        told = await world.reconcile()

        assert told.dropped == [("a", 2)]
        assert await world.store.standings({"a"}) == {"a": Standing(2, "e2", {})}
        await world.check()

    run(main())


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (b"7 foreign", (("ce_source", b"urn:somebody"),)),
        (b"7 foreign", ()),
        (b"inherited", SENT_BY_US),
        (b"no event at all", SENT_BY_US),
    ],
)
def test_records_that_are_not_ours_say_nothing(value: bytes, headers: Headers) -> None:
    """Another producer's, the inherited format, poison: no reason not to start."""

    async def main() -> None:
        world = World()
        await world.change("a")
        await world.publish()
        world.append(b"a", value, headers)
        world.append(b"stranger", value, headers)
        await world.check()

        assert (await world.reconcile()).orders == {}

    run(main())


@pytest.mark.parametrize("strangers", [299, 300, 301, 1_199, 1_200, 4_799])
def test_an_older_store_is_found_out_behind_what_others_have_sent(strangers: int) -> None:
    """A topic that is shared with busy producers: the newest records of a partition are all theirs, and ours tell."""

    async def main() -> None:
        world = World()
        await world.change("a")
        await world.change("b")
        await world.publish()
        backup = copy.deepcopy(world.store)
        await world.change("a")
        await world.publish()
        for number in range(strangers):
            world.append(b"a", b"%d foreign" % number, ())
        world.append(b"b", b"1 foreign", ())
        await world.check()
        world.restore(backup)
        with pytest.raises(StoreBehindLog, match="orders a"):
            await world.check()

    run(main())


def test_a_log_of_others_is_looked_at_in_bounded_pieces() -> None:
    """A service's first start on a topic that others have filled: only so far, and only as long as there is more."""

    async def main() -> None:
        world = World(partitions=8)
        for partition, count in enumerate((6_000, 6_000, 6_000, 6_000, 6_000, 1_000, 200, 0)):
            for number in range(count):
                world.log.append(OutgoingRecord(TOPIC, partition, b"k", b"%d foreign" % number, (), 1))
        asked: list[tuple[int, list[int]]] = []
        source = MemorySource(world.log, "check", lambda: 0)

        class Tail:
            async def newest(self, each: int, partitions: Collection[int] | None = None) -> Sequence[Record]:
                asked.append((each, list(partitions or ())))
                return await source.newest(each, partitions)

        assert await StartCheck(Tail(), Decoder(), world.store, world.observer, OURS)() == []
        assert asked == [
            (300, []),
            (1_200, [0, 1, 2, 3, 4, 5, 6]),
            (4_800, [0, 1, 2, 3]),
            (4_800, [4, 5]),
        ]

    run(main())


@pytest.mark.parametrize(("orders", "partitions", "told"), [(50, 3, 50), (1_500, 5, 750)])
def test_a_sound_store_is_told_where_its_events_lie(orders: int, partitions: int, told: int) -> None:
    """Of every partition, each key once, and no more than are needed; what others have sent does not count."""

    async def main() -> None:
        world = World(partitions)
        for number in range(orders):
            await world.change(f"k{number}")
        while (await world.store.summary()).unpublished:
            await world.publish()
        await world.change("k1")
        await world.publish()
        world.append(b"a stranger's", b"1 e", ())
        places = await world.check()

        assert len(places) == told
        assert {partition for _, partition in places} == set(range(partitions))
        assert all(sum(key) % partitions == partition and key.startswith(b"k") for key, partition in places)

    run(main())


def test_a_version_that_was_published_twice_is_told_and_stops_nothing() -> None:
    """The harm is done, readers hold the second one; nothing here can undo it."""

    async def main() -> None:
        world = World()
        await world.change("a")
        world.append(b"a", b"1 another")
        await world.publish()
        await world.check()
        told = await world.reconcile()

        assert told.diverged == [("a", 1)]
        assert told.orders == {}

    run(main())


KEYS = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.lists(
    st.one_of(
        KEYS.map(lambda key: ("change", key)),
        st.sampled_from([("publish", ""), ("publish", "unmarked"), ("backup", "")]),
    ),
    min_size=1,
    max_size=30,
)


async def _live(steps: Sequence[tuple[str, str]]) -> tuple[World, MemoryOrderStore]:
    """Live through steps, checking at each that nothing is suspected; with the last backup on the way."""
    world = World()
    backup = copy.deepcopy(world.store)
    for step, detail in steps:
        match step:
            case "change":
                await world.change(detail)
            case "publish":
                await world.publish(mark=not detail)
            case _:
                backup = copy.deepcopy(world.store)
        await world.check()
    return world, backup


@given(STEPS, st.lists(KEYS, max_size=4))
def test_exactly_a_store_that_lacks_published_changes_is_refused_and_reconciled(
    steps: list[tuple[str, str]], made_after: list[str]
) -> None:
    """Whatever was changed, published, marked and backed up: a live store is never suspected; a restored one exactly if
    the log knows more, or other things, than it does; and reconciled it ends where the log does, keeps what it alone
    had, and can go on without ever giving a version to a second event."""

    async def main() -> None:
        world, backup = await _live(steps)
        log = world.first_appearances()
        world.restore(backup)
        for key in made_after:
            await world.change(key)
        standings = await world.store.standings(log.keys())
        lacks = {
            key
            for key, versions in log.items()
            if key not in standings
            or any(v > standings[key].version or standings[key].unpublished.get(v, e) != e for v, e in versions)
        }
        try:
            await world.check()
            refused: set[str] = set()
        except StoreBehindLog as error:
            refused = {one.key for one in error.found}
        assert refused == lacks

        dry = await world.reconcile(dry_run=True)
        assert await world.store.standings(log.keys()) == standings
        told = await world.reconcile()
        assert told == dry
        assert set(told.orders) == lacks
        await world.check()
        for key in lacks:
            assert (await world.store.standings({key}))[key] == Standing(*log[key][-1], {})
        for key in ("a", "b", "c", "d"):
            await world.change(key)
        for _ in range(len(steps) + len(made_after) + 4):
            await world.publish()
        final = world.first_appearances()
        for key, versions in final.items():
            assert [version for version, _ in versions] == list(range(1, len(versions) + 1))
            standing = (await world.store.standings({key}))[key]
            assert versions[-1] == (standing.version, standing.event_id)
        assert world.all_events() == {(key, *one) for key, versions in final.items() for one in versions}

    run(main())
