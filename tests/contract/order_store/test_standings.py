"""The store compared with the log: how aggregates stand, and what happens when it adopts what the log has."""

from ordering.application.messages import JournalEntry, OutboxSummary, Standing, Stored, StoredState
from tests.contract.order_store.conftest import OrderStore, Restartable
from tests.contract.order_store.samples import event, write


async def test_a_standing_has_the_version_its_event_and_what_is_not_published(store: OrderStore) -> None:
    """Of those that are asked for and stored."""
    await store.write([write("a"), write("a", 2), write("a", 3), write("b"), write("c")])
    await store.mark_published([("a", 1), ("b", 1)])

    assert await store.standings({"a", "b", "nobody"}) == {
        "a": Standing(3, "event-a-3", {2: "event-a-2", 3: "event-a-3"}),
        "b": Standing(1, "event-b-1", {}),
    }
    assert await store.standings(()) == {}


async def test_an_adopted_event_is_state_and_history_and_is_published(restartable: Restartable) -> None:
    """Of an order that the store had, and of one that it never saw; durable."""
    store = restartable.store
    await store.write([write("known")])
    await store.mark_published([("known", 1)])
    adopted = [event("known", 2), event("new", 1), event("new", 2)]
    await store.adopt(adopted)
    store = await restartable.restart()

    assert await store.get("known") == StoredState("known", 2, "event-known-2", adopted[0].encoded)
    assert await store.get("new") == StoredState("new", 2, "event-new-2", adopted[2].encoded)
    assert await store.timeline("new") == [
        JournalEntry(adopted[1], published=True, parked=None),
        JournalEntry(adopted[2], published=True, parked=None),
    ]
    assert await store.summary() == OutboxSummary(0, 0, None)
    assert list(await store.write([write("new", 3), write("known", 3)])) == [
        Stored(first_in_line=True),
        Stored(first_in_line=True),
    ]


async def test_what_the_log_rules_out_is_gone(store: OrderStore) -> None:
    """Changes that were never published, at the adopted version and above, parked or not; other orders stay."""
    await store.write([write("a"), write("a", 2, "mine-2"), write("a", 3, "mine-3"), write("b")])
    await store.mark_published([("a", 1)])
    await store.park("a", 2, "too large")
    await store.adopt([event("a", 2, "theirs-2")])

    assert await store.standings({"a", "b"}) == {
        "a": Standing(2, "theirs-2", {}),
        "b": Standing(1, "event-b-1", {1: "event-b-1"}),
    }
    assert [entry.event.event_id for entry in await store.timeline("a")] == ["event-a-1", "theirs-2"]
    assert await store.summary() == OutboxSummary(1, 0, 1_000)


async def test_adopting_twice_is_adopting_once(store: OrderStore) -> None:
    """It may break off after the commit, and be begun again."""
    for _ in range(2):
        await store.adopt([event("a", 1), event("a", 2)])

    assert await store.standings({"a"}) == {"a": Standing(2, "event-a-2", {})}
    assert [entry.event.version for entry in await store.timeline("a")] == [1, 2]


async def test_what_the_store_knows_by_now_is_not_adopted_again(store: OrderStore) -> None:
    """Two who reconcile at once: the slower one takes nothing back that came since it looked, published or not."""
    await store.adopt([event("a", 1), event("a", 2)])
    await store.write([write("a", 3)])
    await store.adopt([event("a", 1), event("a", 2)])

    assert await store.standings({"a"}) == {"a": Standing(3, "event-a-3", {3: "event-a-3"})}
    assert [entry.event.version for entry in await store.timeline("a")] == [1, 2, 3]
    await store.adopt([event("a", 3)])
    assert await store.standings({"a"}) == {"a": Standing(3, "event-a-3", {3: "event-a-3"})}
