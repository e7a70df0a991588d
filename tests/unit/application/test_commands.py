"""Placing orders and changing their status: every outcome, and the order in which they are decided."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest

from ordering.application.errors import (
    Contended,
    DuplicateOrder,
    KeyInFlight,
    KeyReused,
    OrderNotFound,
    PreconditionFailed,
)
from ordering.application.failures import BrokerUnavailable, ShuttingDown, StoreUnavailable
from ordering.application.messages import Conflict, Outcome, RecordedAnswer, Write
from ordering.domain.errors import IllegalTransition
from ordering.domain.order import Order
from ordering.domain.status import OrderStatus
from tests.unit.application.command_bench import Instance, SlowStore, rendered
from tests.unit.application.runtime import VirtualRuntime, outcome_of, settling


@pytest.fixture
def store(runtime: VirtualRuntime) -> SlowStore:
    """An empty order store."""
    return SlowStore(runtime)


@pytest.fixture
async def cart(store: SlowStore, runtime: VirtualRuntime) -> Instance:
    """An instance with an open gate."""
    return Instance(store, runtime)


async def placed(cart: Instance, order_id: str = "o", **how: object) -> Order:
    """The order, for answers that are not recorded ones."""
    order = await cart.place(order_id, **how)  # type: ignore[arg-type]
    assert isinstance(order, Order)
    return order


# ------------------------------------------------------------------ place


async def test_a_placed_order_is_pending_at_version_one_with_its_event_stored(cart: Instance) -> None:
    """Order, event and total are one decision; the event is handed to the relay."""
    order = await placed(cart, items=3)
    assert (order.status, order.version, len(order.lines)) == (OrderStatus.PENDING, 1, 3)
    assert order.total == sum((line.price * line.quantity for line in order.lines), Decimal(0))
    stored = await cart.store.get("o")
    assert stored is not None
    assert cart.codec.order(stored.encoded) == order
    (entry,) = await cart.store.timeline("o")
    assert entry.event.event_id == stored.event_id == cart.offered[0]
    assert (entry.event.topic, entry.event.key, entry.event.version) == ("order-events", b"o", 1)
    assert dict(entry.event.headers)["x-request-id"] == b"request-1"


async def test_an_id_is_taken_for_ever(cart: Instance) -> None:
    """Whoever placed it: the second create is refused and stores nothing."""
    first = await placed(cart)
    with pytest.raises(DuplicateOrder):
        await cart.place("o", items=5)
    stored = await cart.store.get("o")
    assert stored is not None
    assert cart.codec.order(stored.encoded) == first
    assert await cart.versions("o") == [1]


async def test_of_many_creates_of_one_id_exactly_one_is_stored(cart: Instance) -> None:
    """Concurrency changes nothing about that."""
    outcomes = await asyncio.gather(*(outcome_of(cart.place("o")) for _ in range(20)))
    assert sum(isinstance(outcome, Order) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, DuplicateOrder) for outcome in outcomes) == 19
    assert len(cart.offered) == 1


async def test_a_closed_gate_refuses_new_orders_before_the_store(cart: Instance, store: SlowStore) -> None:
    """503 and nothing stored."""
    cart.gate.outage("all brokers down")
    with pytest.raises(BrokerUnavailable, match="all brokers down"):
        await cart.place("o")
    assert await cart.store.get("o") is None
    assert store.written == []


async def test_behind_a_closed_gate_a_taken_id_is_still_a_conflict(cart: Instance) -> None:
    """409 is true whether or not events can be delivered."""
    await cart.place("o")
    cart.gate.outage("all brokers down")
    with pytest.raises(DuplicateOrder):
        await cart.place("o")


async def test_a_stopping_service_refuses(cart: Instance) -> None:
    """503, nothing stored."""
    cart.commit.stop()
    with pytest.raises(ShuttingDown):
        await cart.place("o")
    assert await cart.store.get("o") is None


# ------------------------------------------------------------------ change: every outcome


async def test_a_step_of_the_life_cycle_is_a_new_version(cart: Instance) -> None:
    """Only status and version move."""
    order = await placed(cart)
    changed = await cart.change("o", "confirmed")
    assert isinstance(changed, Order)
    assert (changed.status, changed.version) == (OrderStatus.CONFIRMED, 2)
    assert (changed.lines, changed.total, changed.order_date) == (order.lines, order.total, order.order_date)
    assert await cart.versions("o") == [1, 2]


async def test_the_present_status_is_answered_without_an_event(cart: Instance) -> None:
    """200, and nothing is stored."""
    await cart.place("o")
    assert await cart.change("o", "pending") == await cart.change("o", "pending")
    assert await cart.versions("o") == [1]


async def test_an_unknown_order_is_not_found(cart: Instance) -> None:
    """404."""
    with pytest.raises(OrderNotFound):
        await cart.change("nobody", "confirmed")


async def test_an_illegal_step_names_the_legal_ones(cart: Instance) -> None:
    """409."""
    await cart.place("o")
    with pytest.raises(IllegalTransition) as refused:
        await cart.change("o", "delivered")
    assert refused.value.allowed == (OrderStatus.CONFIRMED, OrderStatus.CANCELLED)


@pytest.mark.parametrize(("if_match", "passes"), [({1}, True), ({7, 1}, True), ({2}, False), (set(), False)])
async def test_if_match_names_the_versions_that_may_be_changed(
    cart: Instance, if_match: set[int], passes: bool
) -> None:
    """412 unless the present version is named."""
    await cart.place("o")
    outcome = await outcome_of(cart.change("o", "confirmed", if_match=frozenset(if_match)))
    assert isinstance(outcome, Order if passes else PreconditionFailed)


# ------------------------------------------------------------------ change: what is decided first


async def test_checks_run_in_their_order(cart: Instance) -> None:
    """Replay of the key, 404, 412, same status, 409, and only then the gate: each wins over all that follow."""
    first = await cart.place("o", key="k")
    await cart.change("o", "confirmed", key="k")
    await cart.change("o", "cancelled")
    cart.gate.outage("all brokers down")
    none = frozenset[int]()
    assert rendered_of(await cart.change("o", "confirmed", key="k", if_match=none)).startswith(b"o confirmed 2")
    assert rendered_of(await cart.place("o", key="k")) == rendered_of(first)
    with pytest.raises(KeyReused):
        await cart.change("nobody", "shipped", key="k")
    with pytest.raises(OrderNotFound):
        await cart.change("nobody", "confirmed", if_match=none)
    with pytest.raises(PreconditionFailed):
        await cart.change("o", "cancelled", if_match=none)
    with pytest.raises(PreconditionFailed):
        await cart.change("o", "shipped", if_match=none)
    assert isinstance(await cart.change("o", "cancelled", if_match=frozenset({3})), Order)
    with pytest.raises(IllegalTransition):
        await cart.change("o", "shipped")


def rendered_of(answer: Order | RecordedAnswer) -> bytes:
    """The bytes a client would get."""
    return rendered(answer) if isinstance(answer, Order) else answer.body


async def test_behind_a_closed_gate_only_a_real_change_is_refused(cart: Instance) -> None:
    """A legal step would need delivery; the same status needs none, with or without a key."""
    await cart.place("o")
    cart.gate.outage("all brokers down")
    with pytest.raises(BrokerUnavailable):
        await cart.change("o", "confirmed")
    assert isinstance(await cart.change("o", "pending"), Order)
    assert isinstance(await cart.change("o", "pending", key="k"), Order)
    assert isinstance(await cart.change("o", "pending", key="k"), RecordedAnswer)
    assert await cart.versions("o") == [1]


# ------------------------------------------------------------------ lost races


async def test_a_lost_race_is_decided_again_on_the_new_state(cart: Instance) -> None:
    """Two confirms at once: one changes, the other finds it done; a cancel that comes second is decided anew."""
    await cart.place("o")
    one, two = await asyncio.gather(cart.change("o", "confirmed"), cart.change("o", "confirmed"))
    assert one == two
    assert await cart.versions("o") == [1, 2]
    shipped, cancelled = await asyncio.gather(
        outcome_of(cart.change("o", "shipped")), outcome_of(cart.change("o", "cancelled"))
    )
    assert isinstance(shipped, Order)
    assert isinstance(cancelled, IllegalTransition)


async def test_if_match_is_checked_again_after_a_lost_race(cart: Instance) -> None:
    """The condition holds for the state that is changed, not for one seen earlier."""
    await cart.place("o")
    outcomes = await asyncio.gather(
        *(outcome_of(cart.change("o", "confirmed", if_match=frozenset({1}))) for _ in range(2))
    )
    assert [type(outcome) for outcome in outcomes] == [Order, PreconditionFailed]


@pytest.mark.parametrize(("losses", "ends"), [(4, Order), (5, Contended)])
async def test_a_race_is_lost_at_most_five_times(
    cart: Instance, store: SlowStore, losses: int, ends: type[object]
) -> None:
    """Then 503: nothing of this attempt is stored."""
    await cart.place("o")
    write, lost = store.write, []

    async def lose(batch: Sequence[Write]) -> Sequence[Outcome]:
        if len(lost) < losses:
            lost.append(batch)
            return [Conflict(99)]
        return await write(batch)

    store.write = lose  # type: ignore[method-assign]
    assert isinstance(await outcome_of(cart.change("o", "confirmed")), ends)
    assert await cart.versions("o") == ([1, 2] if ends is Order else [1])
    assert len(lost) == losses


async def test_every_attempt_is_an_event_of_its_own(cart: Instance, store: SlowStore) -> None:
    """A decision made again is another fact: an id is never used for two."""
    await cart.place("o")
    await asyncio.gather(*(outcome_of(cart.change("o", status)) for status in ("confirmed", "cancelled")))
    ids = [write.event.event_id for write in store.written if write.event]
    assert len(ids) == len(set(ids)) == 4


# ------------------------------------------------------------------ idempotency keys


async def test_a_repeated_request_gets_the_first_answer_again(cart: Instance) -> None:
    """The very bytes, from the record, and nothing more is stored."""
    first = await cart.place("o", key="k")
    again = await cart.place("o", key="k")
    assert isinstance(again, RecordedAnswer)
    assert (again.body, again.status, again.etag) == (rendered_of(first), 201, 1)
    changed = await cart.change("o", "confirmed", key="k")
    await cart.change("o", "shipped")
    again = await cart.change("o", "confirmed", key="k")
    assert isinstance(again, RecordedAnswer)
    assert (again.body, again.status, again.etag) == (rendered_of(changed), 200, 2)
    assert await cart.versions("o") == [1, 2, 3]


async def test_a_key_belongs_to_one_body(cart: Instance) -> None:
    """422 for another body, also for another order."""
    await cart.place("o", key="k")
    for order_id, items in (("o", 9), ("p", 2)):
        with pytest.raises(KeyReused):
            await cart.place(order_id, items=items, key="k")
    assert await cart.store.get("p") is None


async def test_a_key_in_flight_is_refused_until_its_request_is_answered(cart: Instance, store: SlowStore) -> None:
    """409 meanwhile, the first answer afterwards."""
    store.seconds = 1
    first = cart.runtime.spawn(cart.place("o", key="k"), name="first")
    await settling()
    with pytest.raises(KeyInFlight):
        await cart.place("o", key="k")
    with pytest.raises(KeyInFlight):
        await cart.place("p", key="k")
    order = await first
    assert rendered_of(await cart.place("o", key="k")) == rendered_of(order)


async def test_only_successes_are_recorded(cart: Instance) -> None:
    """A refusal leaves the key free: the same request can succeed later."""
    with pytest.raises(OrderNotFound):
        await cart.change("o", "confirmed", key="k")
    cart.gate.outage("all brokers down")
    with pytest.raises(BrokerUnavailable):
        await cart.place("o", key="k")
    cart.gate.deliverable()
    assert isinstance(await cart.place("o", key="k"), Order)
    with pytest.raises(DuplicateOrder):
        await cart.place("o", key="other")
    assert isinstance(await cart.change("o", "confirmed", key="k"), Order)
    with pytest.raises(IllegalTransition):
        await cart.change("o", "delivered", key="n")
    await cart.change("o", "shipped")
    assert isinstance(await cart.change("o", "delivered", key="n"), Order)


async def test_a_key_on_a_request_that_changes_nothing_is_recorded_too(cart: Instance) -> None:
    """Its answer stays the first one, whatever happens to the order."""
    await cart.place("o")
    first = await cart.change("o", "pending", key="k")
    await cart.change("o", "confirmed")
    assert rendered_of(await cart.change("o", "pending", key="k")) == rendered_of(first)
    assert await cart.versions("o") == [1, 2]


async def test_a_refused_write_leaves_the_key_free(cart: Instance, store: SlowStore) -> None:
    """503 stored nothing, so the repetition is a first attempt."""
    write = store.write

    async def busy(batch: Sequence[Write]) -> Sequence[Outcome]:
        store.write = write  # type: ignore[method-assign]
        raise StoreUnavailable("busy")

    store.write = busy  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await cart.place("o", key="k")
    assert isinstance(await cart.place("o", key="k"), Order)


async def test_a_client_that_hangs_up_and_repeats_gets_the_first_answer(cart: Instance, store: SlowStore) -> None:
    """Its first request goes on; the repetition loses the key to it and replays it."""
    store.seconds = 1
    first = cart.runtime.spawn(cart.place("o", key="k"), name="first")
    await settling()
    first.cancel()
    await settling()
    again = await cart.place("o", key="k")
    assert isinstance(again, RecordedAnswer)
    assert again.body.startswith(b"o pending 1")
    assert await cart.versions("o") == [1]


@pytest.mark.parametrize("body", ["same", "other"])
async def test_across_instances_the_loser_of_a_key_replays_the_winner(
    cart: Instance, store: SlowStore, runtime: VirtualRuntime, body: str
) -> None:
    """Two processes cannot see each other's requests in flight; the store decides, and 422 stays 422."""
    store.seconds = 0.1
    other = Instance(store, runtime, seed=2)
    one, two = await asyncio.gather(
        outcome_of(cart.place("o", key="k")), outcome_of(other.place("o", items=2 if body == "same" else 3, key="k"))
    )
    assert isinstance(one, Order)
    if body == "same":
        assert rendered_of(two) == rendered_of(one)
    else:
        assert isinstance(two, KeyReused)
    assert await cart.versions("o") == [1]


async def test_across_instances_the_loser_of_an_update_key_replays_the_winner(
    cart: Instance, store: SlowStore, runtime: VirtualRuntime
) -> None:
    """The same for updates, also if the winner changed nothing."""
    other = Instance(store, runtime, seed=2)
    await cart.place("o")
    store.seconds = 0.1
    for status, version in (("pending", 1), ("confirmed", 2)):
        one, two = await asyncio.gather(cart.change("o", status, key=status), other.change("o", status, key=status))
        assert rendered_of(one) == rendered_of(two)
        assert len(await cart.versions("o")) == version


async def test_a_key_survives_a_restart(cart: Instance, store: SlowStore, runtime: VirtualRuntime) -> None:
    """The record is in the store, not in the process."""
    first = await cart.place("o", key="k")
    cart.running.cancel()
    again = await Instance(store, runtime, seed=3).place("o", key="k")
    assert rendered_of(again) == rendered_of(first)
