"""A log that was lost, or is older than the order store, gets everything again that the store still has."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordering.adapters.memory.log import MemoryLog
from ordering.application.failures import Refused
from ordering.application.messages import Encoded, NewEvent, Write
from ordering.application.republish import LogAhead, Republished
from tests.unit.application.log_and_store import SENT_BY_US, TOPIC, World
from tests.unit.application.runtime import run

KEYS = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.lists(st.one_of(st.tuples(st.just("change"), KEYS), st.tuples(st.just("publish"), st.just(""))), max_size=40)


def versions(world: World) -> dict[str, list[int]]:
    """Of each key the versions in the log as they first came."""
    return {key: [version for version, _ in seen] for key, seen in world.first_appearances().items()}


def records(world: World) -> int:
    """How many there are in the log."""
    return sum(map(len, world.log.partitions))


def test_a_lost_log_gets_every_event_again_in_order() -> None:
    """As far as the journal goes back, under the ids that the events have always had."""

    async def main() -> None:
        world = World()
        for key in ("a", "b", "a", "a"):
            await world.change(key)
        await world.publish_all()
        before = world.all_events()
        world.log = MemoryLog(TOPIC, 3)
        told = await world.republish()
        assert told == Republished(orders=2, records=0, shortened=0, waiting=4)
        await world.publish_all()

        assert world.all_events() == before
        assert versions(world) == {"a": [1, 2, 3], "b": [1]}
        await world.check()

    run(main())


def test_a_lost_log_is_begun_when_everything_waits_and_not_before() -> None:
    """Without a log no service starts: so none does on half of it, should this break off."""

    async def main() -> None:
        world = World()
        for key in ("a", "b", "a"):
            await world.change(key)
        await world.publish_all()
        world.log = MemoryLog(TOPIC, 3)
        waited: list[int] = []

        async def begin() -> None:
            waited.append((await world.store.summary()).unpublished)

        assert (await world.republish(begin)).waiting == 3
        assert waited == [3]

    run(main())


def test_an_older_log_gets_what_came_later_and_nothing_twice() -> None:
    """Yesterday's copy of the log beside the store of today."""

    async def main() -> None:
        world = World()
        for key in ("a", "b", "a"):
            await world.change(key)
        await world.publish_all()
        older = copy.deepcopy(world.log)
        for key in ("a", "c"):
            await world.change(key)
        await world.publish_all()
        world.log = older
        told = await world.republish()
        assert (told.records, told.waiting) == (3, 2)
        await world.publish_all()

        assert versions(world) == {"a": [1, 2, 3], "b": [1], "c": [1]}
        assert records(world) == 5
        assert (await world.republish()).waiting == 0

    run(main())


def test_of_what_the_journal_keeps_no_longer_the_newest_state_is_published() -> None:
    """Events carry the whole state, so every order is there again; that its history is shorter is told."""

    async def main() -> None:
        world = World()
        for key in ("old", "old", "both", "both"):
            await world.change(key)
        await world.publish_all()
        await world.store.trim(answers_before=0, journal_before=4, limit=100)
        world.log = MemoryLog(TOPIC, 3)
        assert await world.republish() == Republished(orders=2, records=0, shortened=2, waiting=2)
        await world.publish_all()

        assert world.first_appearances() == {"old": [(2, "e2")], "both": [(2, "e4")]}
        assert {entry.event.headers for entry in await world.store.timeline("old")} == {SENT_BY_US}
        await world.check()

    run(main())


def test_what_the_log_has_of_an_order_is_never_followed_by_an_earlier_version() -> None:
    """A log that its retention has cut off in front is no lost log."""

    async def main() -> None:
        world = World(partitions=1)
        for _ in range(3):
            await world.change("a")
        await world.publish_all()
        cut = MemoryLog(TOPIC, 1)
        world.log, kept = cut, world.log.partitions[0][-1]
        assert kept.key is not None
        assert kept.value is not None
        world.append(kept.key, kept.value, kept.headers)
        assert (await world.republish()).waiting == 0

    run(main())


def test_a_store_that_lacks_what_the_log_has_learns_it_first() -> None:
    """Each is older than the other: nothing is changed, and the way on is told."""

    async def main() -> None:
        world = World()
        await world.change("a")
        await world.publish_all()
        backup = copy.deepcopy(world.store)
        for key in ("a", "b"):
            await world.change(key)
        await world.publish_all()
        world.restore(backup)
        with pytest.raises(LogAhead, match=r"changes of 2 orders .* `ordering restore reconcile`"):
            await world.republish()

        assert (await world.store.summary()).unpublished == 0
        await world.reconcile()
        assert (await world.republish()).waiting == 0

    run(main())


def test_what_waited_before_still_waits_and_records_of_others_say_nothing() -> None:
    """An event that was never published, beside one of the same key that somebody else has sent."""

    async def main() -> None:
        world = World()
        await world.change("a")
        world.append(b"a", b"1 somebody-elses", (("ce_source", b"urn:theirs"),))
        assert (await world.republish()).waiting == 1

    run(main())


def test_a_state_that_cannot_be_read_is_named_and_stops_it_before_anything_of_it_is_published() -> None:
    """Stored by a newer program, for one."""

    async def main() -> None:
        world = World()
        event = NewEvent("e", "new-one", 1, TOPIC, b"new-one", SENT_BY_US, Encoded("thing/2", b""), 1)
        await world.store.write([Write("new-one", 0, event)])
        await world.store.mark_published([("new-one", 1)])
        await world.store.trim(answers_before=0, journal_before=10, limit=10)
        with pytest.raises(Refused, match="order new-one cannot be published again: unknown schema thing/2"):
            await world.republish()

        assert (await world.store.summary()).unpublished == 0

    run(main())


@given(STEPS, STEPS, st.integers(0, 40), st.booleans())
def test_after_any_loss_the_log_ends_where_the_store_does(
    before: list[tuple[str, str]], after: list[tuple[str, str]], trimmed: int, whole: bool
) -> None:
    """Whatever was lost from the log's end (or all of it), whatever the journal has forgotten: once what waits is
    published, every order stands in the log as in the store; versions only ascend; nothing is there twice."""

    async def main() -> None:
        world = World()

        async def go(steps: list[tuple[str, str]]) -> None:
            for step, key in steps:
                await (world.change(key) if step == "change" else world.publish())

        await go(before)
        older = MemoryLog(TOPIC, 3) if whole else copy.deepcopy(world.log)
        await go(after)
        await world.store.trim(answers_before=0, journal_before=trimmed, limit=100)
        world.log = older
        await world.republish()
        repeated = await world.republish()
        assert repeated.waiting == (await world.store.summary()).unpublished
        await world.publish_all()

        standings = await world.store.standings({"a", "b", "c", "d"})
        seen = world.first_appearances()
        assert seen.keys() == standings.keys()
        for key, standing in standings.items():
            assert [version for version, _ in seen[key]] == sorted({version for version, _ in seen[key]})
            assert seen[key][-1] == (standing.version, standing.event_id)
        assert len(world.all_events()) == records(world)
        assert (await world.republish()).waiting == 0

    run(main())
