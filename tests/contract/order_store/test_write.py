"""``write``: one transaction per batch, an outcome per write."""

import pytest

from ordering.application.errors import StoreUnavailable, WriteRejected
from ordering.application.messages import AnswerTaken, Conflict, Stored
from tests.contract.order_store.conftest import OrderStore, Restartable
from tests.contract.order_store.samples import LONE_SURROGATE, answer, only_answer, state, write


async def nothing_of(store: OrderStore, order_id: str, key: str | None = None) -> bool:
    """No trace: no state, no journal row, no outbox row, no answer."""
    waiting = [row for row in await store.waiting(1_000) if row.event.aggregate_id == order_id]
    answered = key is not None and await store.answer_to(key) is not None
    return await store.get(order_id) is None and not await store.timeline(order_id) and not waiting and not answered


async def test_order_journal_outbox_and_answer_are_stored_together(store: OrderStore) -> None:
    """One write makes all four visible, byte for byte."""
    placed = write("a", key="POST /a 1", body=b'{"x": 1}')
    assert await store.write([placed]) == [Stored(first_in_line=True)]
    assert await store.get("a") == state(placed)
    [entry] = await store.timeline("a")
    assert (entry.event, entry.published, entry.parked) == (placed.event, False, None)
    assert [row.event for row in await store.heads(10, ())] == [placed.event]
    assert await store.answer_to("POST /a 1") == placed.answer


async def test_what_is_not_there_is_none(store: OrderStore) -> None:
    """Unknown orders and keys are answers, not errors."""
    assert await store.get("nobody") is None
    assert await store.answer_to("nothing") is None
    assert list(await store.timeline("nobody")) == []
    assert list(await store.heads(10, ())) == []
    assert list(await store.write([])) == []


async def test_a_failing_row_leaves_nothing_of_its_batch(store: OrderStore) -> None:
    """The rows before the bad one were inserted already, and the ones before stay as they were."""
    before = write("kept")
    await store.write([before])
    bad = write(f"bad{LONE_SURROGATE}", event_id="bad")
    with pytest.raises(WriteRejected):
        await store.write([write("a", key="k"), write("kept", 2), write("kept", 3, key="k3"), bad, write("b")])
    assert await nothing_of(store, "a", "k")
    assert await nothing_of(store, "b", "k3")
    assert await store.get("kept") == state(before)
    assert [row.event.version for row in await store.waiting(10)] == [1]
    assert len(await store.timeline("kept")) == 1
    assert await store.write([write("a", key="k")]) == [Stored(first_in_line=True)]


async def test_a_failing_answer_leaves_nothing_of_its_batch(store: OrderStore) -> None:
    """The same when it is the answer that cannot be stored."""
    with pytest.raises(WriteRejected):
        await store.write([write("a"), write("b", key=LONE_SURROGATE)])
    assert await nothing_of(store, "a")
    assert await nothing_of(store, "b")


async def test_an_event_id_is_used_once(store: OrderStore) -> None:
    """Another order's event under a stored id is a fault of the row, and nothing of it remains."""
    await store.write([write("a", event_id="same")])
    with pytest.raises(WriteRejected):
        await store.write([write("b", event_id="same", key="k")])
    assert await nothing_of(store, "b", "k")


async def test_a_duplicate_order_id_is_a_conflict_and_its_neighbours_are_stored(store: OrderStore) -> None:
    """A lost race is an outcome: only its own write leaves nothing, its answer included."""
    first = write("a", event_id="first")
    await store.write([first])
    outcomes = await store.write([write("b"), write("a", event_id="second", key="k"), write("c")])
    assert outcomes == [Stored(True), Conflict(1), Stored(True)]
    assert await store.get("a") == state(first)
    assert await store.answer_to("k") is None
    assert len(await store.timeline("a")) == 1
    assert sorted(row.event.aggregate_id for row in await store.waiting(10)) == ["a", "b", "c"]


async def test_two_creations_in_one_batch_have_one_winner(store: OrderStore) -> None:
    """The first of the batch's order wins."""
    first, second = write("a", event_id="1", key="k1"), write("a", event_id="2", key="k2")
    assert await store.write([first, second]) == [Stored(True), Conflict(1)]
    assert await store.get("a") == state(first)
    assert await store.answer_to("k1") is not None
    assert await store.answer_to("k2") is None


async def test_two_changes_of_one_version_have_one_winner(store: OrderStore) -> None:
    """In one batch and across batches the second one is told where the order stands."""
    await store.write([write("a")])
    outcomes = await store.write([write("a", 2, "x"), write("a", 2, "y", key="k")])
    assert outcomes == [Stored(False), Conflict(2)]
    assert await store.write([write("a", 2, "z", key="k")]) == [Conflict(2)]
    assert await store.get("a") == state(write("a", 2, "x"))
    assert [entry.event.event_id for entry in await store.timeline("a")] == ["event-a-1", "x"]
    assert await store.answer_to("k") is None


async def test_a_change_of_an_unknown_order_is_a_conflict_at_version_0(store: OrderStore) -> None:
    """There is nothing to change."""
    assert await store.write([write("a", 2, key="k")]) == [Conflict(0)]
    assert await nothing_of(store, "a", "k")


async def test_created_and_changed_in_one_batch(store: OrderStore) -> None:
    """Writes to one order are applied in the batch's order."""
    outcomes = await store.write([write("a"), write("b"), write("a", 2), write("a", 3)])
    assert outcomes == [Stored(True), Stored(True), Stored(False), Stored(False)]
    assert await store.get("a") == state(write("a", 3))
    assert [entry.event.version for entry in await store.timeline("a")] == [1, 2, 3]


async def test_a_taken_key_gives_the_first_answer_and_stores_nothing(store: OrderStore) -> None:
    """Whether or not the order could have been changed."""
    await store.write([write("a", key="k", body=b"first")])
    first = answer("k", b"first")
    outcomes = await store.write([write("b", key="k", body=b"second"), write("a", 2, key="k"), write("a", 9, key="k")])
    assert outcomes == [AnswerTaken(first)] * 3
    assert await nothing_of(store, "b")
    assert await store.get("a") == state(write("a"))
    assert await store.answer_to("k") == first


async def test_one_key_twice_in_a_batch(store: OrderStore) -> None:
    """The second of them is told the first one's answer."""
    outcomes = await store.write([write("a", key="k", body=b"1"), write("b", key="k", body=b"2")])
    assert outcomes == [Stored(True), AnswerTaken(answer("k", b"1"))]
    assert await nothing_of(store, "b")


async def test_an_answer_without_an_event(store: OrderStore) -> None:
    """A command that changed nothing records its answer only, and hands nothing to a producer."""
    await store.write([write("a")])
    assert await store.write([only_answer("a", 1, "k", b"same")]) == [Stored(False)]
    assert await store.answer_to("k") == answer("k", b"same")
    assert len(await store.timeline("a")) == 1
    assert await store.write([only_answer("a", 1, "k", b"other")]) == [AnswerTaken(answer("k", b"same"))]


async def test_the_repetition_of_a_stored_batch_answers_stored(store: OrderStore) -> None:
    """How an ambiguous commit is resolved: event ids and answers that are there already count as stored."""
    batch = [write("a", key="k"), write("b"), write("a", 2, key="k2"), only_answer("b", 1, "k3")]
    first = await store.write(batch)
    again = await store.write(batch)
    assert again == first == [Stored(True), Stored(True), Stored(False), Stored(False)]
    assert [entry.event.version for entry in await store.timeline("a")] == [1, 2]
    assert len(await store.waiting(10)) == 3


async def test_a_repetition_is_recognised_after_later_changes(store: OrderStore) -> None:
    """The order has moved on and the event is published, and still it was stored."""
    await store.write([write("a", key="k"), write("a", 2)])
    await store.mark_published([("a", 1), ("a", 2)])
    assert await store.write([write("a", key="k"), write("a", 2)]) == [Stored(True), Stored(True)]
    assert await store.get("a") == state(write("a", 2))
    assert list(await store.heads(10, ())) == []


async def test_another_orders_event_id_is_no_repetition(store: OrderStore) -> None:
    """Stored means this order's event, under this version."""
    await store.write([write("a", event_id="same"), write("b"), write("b", 2)])
    assert await store.write([write("b", 1, "same"), write("a", 3, "same")]) == [Conflict(2), Conflict(1)]


async def test_a_repetition_stores_what_the_first_try_did_not(store: OrderStore) -> None:
    """A batch that overlaps with a stored one is completed."""
    await store.write([write("a", key="k")])
    assert await store.write([write("a", key="k"), write("b", key="k2")]) == [Stored(True), Stored(True)]
    assert await store.get("b") is not None


async def test_first_in_line_means_no_unpublished_earlier_event(store: OrderStore) -> None:
    """The evidence for handing an event to a producer at once."""
    assert await store.write([write("a")]) == [Stored(True)]
    assert await store.write([write("a", 2)]) == [Stored(False)]
    await store.mark_published([("a", 2)])
    assert await store.write([write("a", 3)]) == [Stored(False)]  # version 1 is still out
    await store.mark_published([("a", 1)])
    assert await store.write([write("a", 4)]) == [Stored(False)]  # now version 3 is
    await store.mark_published([("a", 3), ("a", 4)])
    assert await store.write([write("a", 5), write("b")]) == [Stored(True), Stored(True)]


async def test_another_orders_unpublished_events_are_no_matter(store: OrderStore) -> None:
    """Ids that begin alike are different orders."""
    await store.write([write("a"), write("ab"), write("a b")])
    await store.mark_published([("a", 1)])
    assert await store.write([write("a", 2)]) == [Stored(True)]


@pytest.mark.parametrize("order_id", ["é", "日本語", "a'b\"; DROP TABLE orders", "🧾" * 16, " ", "A", "a"])
async def test_any_unicode_id_is_kept_apart_and_whole(store: OrderStore, order_id: str) -> None:
    """Ids are compared by their characters: no case folding, no trimming, no normalisation."""
    neighbours = [write(other) for other in ("A", "a", "e\u0301", "x") if other != order_id]
    await store.write([write(order_id, key=f"k {order_id}"), *neighbours])
    assert await store.get(order_id) == state(write(order_id))
    assert (await store.answer_to(f"k {order_id}")) == answer(f"k {order_id}")
    heads = await store.heads(10, [order_id])
    assert order_id not in {row.event.aggregate_id for row in heads}
    assert len(heads) == len(neighbours)


async def test_text_with_a_nul_is_kept_whole_or_refused(store: OrderStore, holds_nul: bool) -> None:
    """Never cut off at it, and never at the neighbours' cost. (No input lets one through to here.)"""
    odd = write("x\x00y", key="k")
    await store.write([write("x")])
    if holds_nul:
        assert await store.write([odd, write("a")]) == [Stored(True), Stored(True)]
        assert await store.get("x\x00y") == state(odd)
        assert [row.event.aggregate_id for row in await store.heads(10, ["x", "a"])] == ["x\x00y"]
    else:
        with pytest.raises(WriteRejected):
            await store.write([odd, write("a")])
        assert await nothing_of(store, "a", "k")
    assert await store.get("x") == state(write("x"))


async def test_reads_see_every_answered_commit(store: OrderStore) -> None:
    """At once, over and over."""
    for version in range(1, 101):
        await store.write([write("a", version)])
        stored = await store.get("a")
        assert stored is not None
        assert stored.version == version


async def test_a_big_batch_and_a_big_body(store: OrderStore) -> None:
    """A thousand orders and an answer of a megabyte in one transaction."""
    batch = [write(f"order-{number}", key=f"k{number}") for number in range(1_000)]
    batch.append(write("big", key="big", body=bytes(1 << 20)))
    assert await store.write(batch) == [Stored(True)] * 1_001
    kept = await store.answer_to("big")
    assert kept is not None
    assert len(kept.body) == 1 << 20


async def test_everything_is_there_after_a_restart(restartable: Restartable) -> None:
    """States, timelines, the outbox and answers outlive the process."""
    await restartable.store.write([write("a", key="k"), write("a", 2), write("b")])
    await restartable.store.mark_published([("a", 1)])
    again = await restartable.restart()
    assert await again.get("a") == state(write("a", 2))
    assert await again.answer_to("k") == answer("k")
    assert [(entry.event, entry.published) for entry in await again.timeline("a")] == [
        (write("a").event, True),
        (write("a", 2).event, False),
    ]
    assert {row.event.aggregate_id for row in await again.heads(10, ())} == {"a", "b"}
    assert await again.write([write("a", 3)]) == [Stored(False)]


async def test_a_closed_store_is_unavailable(store: OrderStore) -> None:
    """Late callers get the error for 'nothing stored'."""
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.write([write("a")])
    with pytest.raises(StoreUnavailable):
        await store.get("a")
