"""The store as what a lost log is made from again: what it keeps, and holding that for unpublished."""

from __future__ import annotations

import attrs

from ordering.application.messages import KeptState, OutboxSummary, Stored
from tests.contract.order_store.conftest import OrderStore, Restartable
from tests.contract.order_store.samples import event, state, write


async def test_states_come_by_ascending_id_and_tell_what_the_journal_has_of_them(store: OrderStore) -> None:
    """Page by page; ids in the order of their bytes, whatever the database's language."""
    await store.write([write("b", at=1), write("b", 2, at=5), write("B", at=1), write("ä", at=5), write("a-1", at=5)])
    await store.mark_published([("b", 1), ("B", 1)])
    await store.trim(answers_before=0, journal_before=3, limit=10)

    first = await store.states("", 3)
    assert list(first) == [
        KeptState(state(write("B")), 0, newest=False),
        KeptState(state(write("a-1")), 1, newest=True),
        KeptState(state(write("b", 2)), 1, newest=True),
    ]
    assert list(await store.states(first[-1].state.aggregate_id, 3)) == [KeptState(state(write("ä")), 1, newest=True)]
    assert list(await store.states("ä", 3)) == []


async def test_requeued_events_are_unpublished_again_before_what_waited_already(restartable: Restartable) -> None:
    """Those of the aggregates that were named, in the order of their versions; durable."""
    store = restartable.store
    await store.write([write("a"), write("a", 2), write("other"), write("a", 3)])
    await store.mark_published([("a", 1), ("a", 2), ("other", 1)])
    await store.requeue(["a"], [])
    store = await restartable.restart()

    waiting = {(row.event.aggregate_id, row.event.version) for row in await store.waiting(10)}
    assert waiting == {("a", 1), ("a", 2), ("a", 3)}
    assert [row.event for row in await store.heads(10, ())] == [event("a", 1)]
    assert list(await store.write([write("a", 4)])) == [Stored(first_in_line=False)]


async def test_a_newest_event_that_was_lost_is_in_the_journal_again(store: OrderStore) -> None:
    """And publishable like any other."""
    await store.write([write("a", at=1), write("a", 2, at=1)])
    await store.mark_published([("a", 1), ("a", 2)])
    await store.trim(answers_before=0, journal_before=3, limit=10)
    again = event("a", 2, at=1)
    await store.requeue(["a"], [again])

    assert [row.event for row in await store.heads(10, ())] == [again]
    assert [entry.event for entry in await store.timeline("a")] == [again]
    await store.mark_published([("a", 2)])
    assert await store.summary() == OutboxSummary(0, 0, None)


async def test_requeueing_twice_is_requeueing_once(store: OrderStore) -> None:
    """It may break off after the commit, and be begun again; what waited already is left alone."""
    await store.write([write("a"), write("b")])
    await store.mark_published([("a", 1)])
    for _ in range(2):
        await store.requeue(["a", "b", "nobody"], [attrs.evolve(event("a"), topic="another")])

    waiting = [row.event for row in await store.waiting(10)]
    assert {one.aggregate_id: one.topic for one in waiting} == {"a": "order-events", "b": "order-events"}
    assert len(waiting) == 2


async def test_a_parked_aggregate_begins_again_with_its_first_event(store: OrderStore) -> None:
    """Parked again by its third event, it is in the log up to its second, as it was; others stay parked."""
    await store.write([write("a"), write("a", 2), write("a", 3), write("other")])
    await store.mark_published([("a", 1), ("a", 2)])
    await store.park("a", 3, "too large")
    await store.park("other", 1, "too large")
    await store.requeue(["a"], [])

    assert [row.event for row in await store.heads(10, ())] == [event("a", 1)]
    assert (await store.summary()).parked == 1
