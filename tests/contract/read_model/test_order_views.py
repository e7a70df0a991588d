"""OrderViews: one row, ids by first appearance, figures that agree with the rows."""

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ordering.application.messages import (
    Counter,
    DeadReason,
    DecodedEvent,
    Encoded,
    Place,
    Record,
    Undecodable,
    ViewStats,
)
from ordering.application.projection import project
from tests.contract.read_model.conftest import KINDS, Views, empty
from tests.contract.read_model.samples import TOPIC, changes, letter, row, unknown
from tests.services.databases import Databases


async def test_a_row_is_found_by_its_key(views: Views) -> None:
    """As it was stored last; an absent one is None."""
    await views.commit(changes(row("a")))
    await views.commit(changes(row("a", 2)))
    assert await views.get("a") == row("a", 2)
    assert await views.get("A") is None


async def test_a_row_keeps_the_place_it_came_with(views: Views) -> None:
    """So a cursor through the ids never jumps over a key."""
    await views.commit(changes(row("a", at=7)))
    await views.commit(changes(row("a", 2, at=3)))
    assert await views.get("a") == row("a", 2, at=7)
    assert await views.ids(None, 9) == [(row("a", at=7).first, "a")]


async def test_positions_are_those_of_the_last_transaction(views: Views) -> None:
    """None yet is an empty answer."""
    assert dict(await views.positions(TOPIC)) == {}
    await views.commit(changes(positions={0: (0, 1), 1: (0, 2)}))
    await views.commit(changes(positions={1: (2, 5)}))
    assert dict(await views.positions(TOPIC)) == {0: 1, 1: 5}


async def test_ids_come_by_timestamp_then_partition_then_offset(views: Views) -> None:
    """Whatever the order they were stored in; a key known only by a held record is one of them."""
    places = [Place(2, 0, 0), Place(1, 1, 5), Place(1, 1, 4), Place(1, 0, 9), Place(-1, 2, 2)]
    for number, place in enumerate(places):
        await views.commit(changes(row(f"k{number}", at=place)))
    await views.commit(changes(unknown("dead")))
    assert [key for _, key in await views.ids(None, 99)] == ["k4", "k3", "k2", "k1", "k0", "dead"]
    assert [place for place, _ in await views.ids(None, 5)] == sorted(
        places, key=lambda place: (place.timestamp, place.partition, place.offset)
    )


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
async def test_pages_of_ids_are_complete(views: Views, limit: int) -> None:
    """Each page goes on behind the last, nothing twice, nothing left out."""
    await views.commit(changes(*(row(f"k{at:02}", at=at) for at in range(20))))
    seen: list[str] = []
    after = None
    while page := await views.ids(after, limit):
        assert len(page) <= limit
        seen += [key for _, key in page]
        after = page[-1][0]
    assert seen == [f"k{at:02}" for at in range(20)]


async def test_figures_are_the_sums_of_the_deltas(views: Views) -> None:
    """Counts at zero are left out; parked keys and letters with a reason of their own are counted apart."""
    await views.commit(changes(row("a"), row("b", at=1), labels={"pending": 2}, counters={"applied": 2}))
    await views.commit(
        changes(row("a", 2), row("b", 2), labels={"pending": -2, "shipped": 2}, counters={"applied": 2, "gaps": 1})
    )
    parked = letter("c", 3, DeadReason.PARKED)
    await views.commit(changes(unknown("c", at=2), held=(letter("c", 2), parked, letter(None, 4))))
    assert await views.stats() == ViewStats(2, {"shipped": 2}, {"applied": 4, "gaps": 1}, 1, 2)


LABELS = ["pending", "confirmed", "shipped"]
RECORDS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d"]),
        st.one_of(st.none(), st.tuples(st.integers(1, 6), st.sampled_from(LABELS))),
    ),
    max_size=12,
)


def event(key: str, content: tuple[int, str] | None) -> DecodedEvent | Undecodable:
    """Version and label, or a record that is no event."""
    if content is None:
        return Undecodable(DeadReason.CORRUPT, "not an event", key)
    version, label = content
    return DecodedEvent(key, f"{key}-{version}", version, label, Encoded("order-v1", b"state"))


@pytest.mark.parametrize("kind", KINDS)
@given(batches=st.lists(RECORDS, max_size=6))
@settings(max_examples=25)
async def test_incremental_figures_equal_a_recount(
    kind: str, databases: Databases, batches: list[list[tuple[str, tuple[int, str] | None]]]
) -> None:
    """After any batches: figures, ids and held records agree with the rows, counted one by one."""
    async with empty(kind, databases) as model:
        views, offsets = model.views, itertools.count()
        for batch in batches:
            records = [Record(TOPIC, 0, next(offsets), 1, key.encode(), b"") for key, _ in batch]
            snapshot = await views.load(TOPIC, ["a", "b", "c", "d"])
            await views.commit(project(TOPIC, snapshot, records, [event(*one) for one in batch], now=1))
        await model.restart()
        views = model.views
        rows = (await views.load(TOPIC, ["a", "b", "c", "d"])).rows.values()
        held = [one for found in rows for one in await views.held(found.key)]
        stats = await views.stats()
        known = [found.label for found in rows if found.version]
        assert stats.by_label == {label: known.count(label) for label in known}
        assert stats.total == len(known)
        assert stats.counters.get(Counter.APPLIED, 0) == sum(found.events_applied for found in rows)
        assert stats.parked == sum(found.held > 0 for found in rows)
        assert stats.dead_letters == sum(one.reason != DeadReason.PARKED for one in held)
        assert len(held) == sum(found.held for found in rows)
        assert len(held) + sum(v for k, v in stats.counters.items() if k != Counter.GAPS) == next(offsets)
        assert {key for _, key in await views.ids(None, 99)} == {found.key for found in rows}


async def test_reads_beside_a_writer_see_whole_transactions(views: Views) -> None:
    """Two readers ask while batches are stored: position, row and figures always belong together."""

    async def write() -> None:
        for number in range(40):
            await views.commit(
                changes(
                    row("a", number + 1), positions={0: (number, number + 1)}, labels={"x": 1} if not number else {},
                    counters={"applied": 1},
                )
            )  # fmt: skip

    async def read(writing: "asyncio.Task[None]") -> None:
        last = 0
        while not writing.done():
            snapshot = await views.load(TOPIC, ["a"])
            reached = snapshot.positions.get(0, 0)
            assert (snapshot.rows["a"].revision if reached else 0) == reached >= last
            last = reached
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    await asyncio.gather(writing, read(writing), read(writing))
    assert (await views.stats()).counters == {"applied": 40}
