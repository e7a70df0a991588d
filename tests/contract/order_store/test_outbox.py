"""The outbox is the set of unpublished events; parking, recorded partitions, the timeline, trimming, the lease."""

from ordering.application.messages import OutboxRow, OutboxSummary, Stored
from tests.contract.order_store.conftest import OrderStore, Restartable
from tests.contract.order_store.samples import answer, event, write


async def heads(store: OrderStore, limit: int = 100, exclude: tuple[str, ...] = ()) -> list[tuple[str, int]]:
    return [(row.event.aggregate_id, row.event.version) for row in await store.heads(limit, exclude)]


async def test_heads_are_the_lowest_unpublished_events_oldest_first(store: OrderStore) -> None:
    """One per order, in the order in which they were stored."""
    await store.write([write("b"), write("a"), write("b", 2), write("c"), write("a", 2)])
    assert await heads(store) == [("b", 1), ("a", 1), ("c", 1)]
    await store.mark_published([("b", 1)])
    assert await heads(store) == [("a", 1), ("b", 2), ("c", 1)]
    assert await heads(store, limit=1) == [("a", 1)]


async def test_a_later_version_never_shows_before_an_earlier_one(store: OrderStore) -> None:
    """Even when the later one is known to be in the log already."""
    await store.write([write("a"), write("a", 2), write("a", 3)])
    await store.mark_published([("a", 2)])
    assert await heads(store) == [("a", 1)]
    await store.mark_published([("a", 1)])
    assert await heads(store) == [("a", 3)]


async def test_excluded_orders_are_left_out_and_make_room(store: OrderStore) -> None:
    """What is on its way already does not use up the limit."""
    await store.write([write(f"order-{number}") for number in range(20)])
    on_its_way = tuple(f"order-{number}" for number in range(15))
    assert await heads(store, limit=3, exclude=on_its_way) == [("order-15", 1), ("order-16", 1), ("order-17", 1)]


async def test_a_row_that_comes_late_is_found(store: OrderStore) -> None:
    """A set, not a cursor: an event older than all that was read and published before is still a head."""
    await store.write([write("z", event_id="0199-z", at=9_000)])
    assert await heads(store) == [("z", 1)]
    await store.mark_published([("z", 1)])
    await store.write([write("a", event_id="0100-a", at=1_000)])
    assert await heads(store) == [("a", 1)]


async def test_marking_is_idempotent_and_touches_nothing_else(store: OrderStore) -> None:
    """Twice, unknown or repeated in one call: the same state."""
    await store.write([write("a"), write("b")])
    for _ in range(2):
        await store.mark_published([("a", 1), ("a", 1), ("a", 2), ("nobody", 1)])
    assert await heads(store) == [("b", 1)]
    assert await store.summary() == OutboxSummary(unpublished=1, parked=0, oldest_at=1_000)
    await store.mark_published([])
    assert [entry.published for entry in await store.timeline("a")] == [True]


async def test_a_parked_order_waits_alone(store: OrderStore) -> None:
    """Its reason is shown with every event of it, later ones included; the others go on."""
    await store.write([write("a", at=1), write("b", at=2)])
    await store.park("a", 1, "too large")
    assert await store.write([write("a", 2, at=3)]) == [Stored(False)]
    assert await heads(store) == [("b", 1)]
    assert await store.waiting(10) == [
        OutboxRow(event("a", 1, at=1), "too large"),
        OutboxRow(event("b", 1, at=2), None),
        OutboxRow(event("a", 2, at=3), "too large"),
    ]
    assert [row.event.version for row in await store.waiting(10, parked_only=True)] == [1, 2]
    assert len(await store.waiting(1, parked_only=True)) == 1
    assert [entry.parked for entry in await store.timeline("a")] == ["too large"] * 2
    assert await store.summary() == OutboxSummary(unpublished=3, parked=1, oldest_at=2)


async def test_parking_again_keeps_the_latest_reason(store: OrderStore) -> None:
    """One parked order, one reason."""
    await store.write([write("a")])
    await store.park("a", 1, "first")
    await store.park("a", 1, "second")
    assert [row.parked for row in await store.waiting(10)] == ["second"]
    assert await store.retry(None) == 1


async def test_retry_releases_one_or_all(store: OrderStore) -> None:
    """It answers how many were parked, and their events are heads again."""
    await store.write([write(order_id) for order_id in "abc"])
    for order_id in "abc":
        await store.park(order_id, 1, "not allowed")
    assert await heads(store) == []
    assert await store.retry("b") == 1
    assert await store.retry("b") == 0
    assert await heads(store) == [("b", 1)]
    assert await store.retry(None) == 2
    assert await heads(store) == [("a", 1), ("b", 1), ("c", 1)]
    assert (await store.summary()).parked == 0


async def test_an_empty_outbox_has_an_empty_summary(store: OrderStore) -> None:
    """Nothing waits, nothing is old."""
    assert await store.summary() == OutboxSummary(unpublished=0, parked=0, oldest_at=None)
    await store.write([write("a")])
    await store.park("a", 1, "x")
    assert await store.summary() == OutboxSummary(unpublished=1, parked=1, oldest_at=None)


async def test_recorded_partitions_never_change(restartable: Restartable) -> None:
    """The count of the first use is kept, also over a restart, each topic its own."""
    assert await restartable.store.partitions("order-events", 6) == 6
    assert await restartable.store.partitions("order-events", 12) == 6
    again = await restartable.restart()
    assert await again.partitions("order-events", 12) == 6
    assert await again.partitions("other", 3) == 3


async def test_recorded_partitions_never_change_while_open(store: OrderStore) -> None:
    """The same for stores that do not last."""
    assert [await store.partitions("order-events", found) for found in (6, 12, 1)] == [6, 6, 6]


async def test_parking_outlives_a_restart(restartable: Restartable) -> None:
    """Somebody has to decide; a restart does not."""
    await restartable.store.write([write("a"), write("b")])
    await restartable.store.park("a", 1, "too large")
    again = await restartable.restart()
    assert await heads(again) == [("b", 1)]
    assert [row.parked for row in await again.waiting(10, parked_only=True)] == ["too large"]


async def test_the_timeline_shows_each_event_by_version(store: OrderStore) -> None:
    """With what is published and what is not; a published event is not shown as parked."""
    await store.write([write("a"), write("x"), write("a", 2), write("a", 3)])
    await store.mark_published([("a", 1)])
    await store.park("a", 2, "why")
    entries = await store.timeline("a")
    assert [entry.event for entry in entries] == [event("a", version) for version in (1, 2, 3)]
    assert [(entry.published, entry.parked) for entry in entries] == [(True, None), (False, "why"), (False, "why")]


async def test_trim_deletes_old_answers_and_published_rows_only(store: OrderStore) -> None:
    """What is unpublished, young or the order itself stays."""
    await store.write([write("a", key="old", at=10), write("b", key="young", at=30), write("c", at=10)])
    await store.mark_published([("a", 1), ("b", 1)])
    assert await store.trim(answers_before=20, journal_before=20, limit=100) == 2
    assert await store.answer_to("old") is None
    assert await store.answer_to("young") == answer("young", at=30)
    assert list(await store.timeline("a")) == []
    assert len(await store.timeline("b")) == 1
    assert await store.get("a") is not None
    assert await heads(store) == [("c", 1)]
    assert await store.trim(answers_before=20, journal_before=20, limit=100) == 0


async def test_trim_goes_in_small_batches(store: OrderStore) -> None:
    """At most ``limit`` at a time, until nothing is left, however many unpublished rows are in front."""
    await store.write([write(f"stuck-{number}", at=1) for number in range(10)])
    await store.write([write(f"order-{number}", key=f"k{number}", at=2) for number in range(10)])
    await store.mark_published([(f"order-{number}", 1) for number in range(10)])
    went = [await store.trim(answers_before=5, journal_before=5, limit=8) for _ in range(4)]
    assert went == [8, 8, 4, 0]
    assert (await store.summary()).unpublished == 10


async def test_orders_go_on_after_their_rows_were_trimmed(store: OrderStore) -> None:
    """Versions continue, and so does the outbox."""
    await store.write([write("a", at=1)])
    await store.mark_published([("a", 1)])
    await store.trim(answers_before=5, journal_before=5, limit=8)
    assert await store.write([write("a", 2), write("b")]) == [Stored(True), Stored(True)]
    assert await heads(store) == [("a", 2), ("b", 1)]


async def test_the_only_instance_holds_the_lease(store: OrderStore) -> None:
    """Before a relay runs events cannot be delivered; then its word counts."""
    assert await store.holders_view() is not None
    assert await store.renew(None)
    assert await store.holders_view() is None
    assert await store.renew("the broker is down")
    assert await store.holders_view() == "the broker is down"
    await store.release()
    assert await store.holders_view() is not None


async def test_an_event_that_is_published_by_now_parks_nothing(store: OrderStore) -> None:
    """Asked for when it was refused, and come to pass after it was taken at another try: the next one goes on."""
    await store.write([write("a"), write("a", 2)])
    await store.mark_published([("a", 1)])
    await store.park("a", 1, "too large")
    await store.park("nobody", 1, "too large")
    assert await heads(store) == [("a", 2)]
    assert (await store.summary()).parked == 0


async def test_a_parking_ends_once_the_refused_event_is_published(store: OrderStore) -> None:
    """Another relay had it under way as well, and got another answer. The order goes on with its next event, as if it
    had never been parked, and can be parked for that one."""
    await store.write([write("a"), write("a", 2), write("a", 3, at=30), write("b"), write("b", 2)])
    await store.park("a", 2, "too large")
    await store.park("b", 1, "not allowed")
    await store.mark_published([("a", 1), ("b", 2)])
    assert await heads(store) == []
    assert (await store.summary()).parked == 2

    await store.mark_published([("a", 2)])
    assert await heads(store) == [("a", 3)]
    assert [row.event.aggregate_id for row in await store.waiting(10, parked_only=True)] == ["b"]
    assert [row.parked for row in await store.waiting(10)] == [None, "not allowed"]
    assert [entry.parked for entry in await store.timeline("a")] == [None] * 3
    assert await store.summary() == OutboxSummary(unpublished=2, parked=1, oldest_at=30)
    assert await store.retry("a") == 0

    await store.park("a", 3, "too large as well")
    assert await heads(store) == []
    assert [row.parked for row in await store.waiting(10)] == ["too large as well", "not allowed"]
    assert await store.retry(None) == 2
    assert await heads(store) == [("a", 3), ("b", 1)]
