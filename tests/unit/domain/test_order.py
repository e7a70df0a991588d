"""The aggregate: placement, every step of the life cycle, and events that tell the whole story."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import product
from random import Random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordering.domain.currencies import CURRENCIES
from ordering.domain.errors import Code, IllegalTransition
from ordering.domain.events import EVENT_OF_STATUS, EventType, OrderEvent, Stamp
from ordering.domain.generation import generate_draft
from ordering.domain.order import Order, OrderDraft, OrderLine
from ordering.domain.status import TRANSITIONS, OrderStatus

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
DRAFT = OrderDraft(
    order_id="order-1",
    customer_id="CUST-1000",
    currency=CURRENCIES["USD"],
    lines=(OrderLine("ITEM-1", 2, Decimal("999.99")), OrderLine("ITEM-2", 3, Decimal("0.10"))),
)
STATUS_OF_EVENT = {event_type: status for status, event_type in EVENT_OF_STATUS.items()}
PAIRS = list(product(OrderStatus, repeat=2))


def stamp(number: int) -> Stamp:
    """The number-th stamp of a history, one minute after the one before."""
    return Stamp(f"event-{number}", NOON + timedelta(minutes=number))


def order_in(status: OrderStatus) -> Order:
    """An order that stands at this status."""
    order, _ = Order.place(DRAFT, stamp(1))
    return attrs.evolve(order, status=status)


def folded(events: list[OrderEvent]) -> tuple[OrderStatus, int]:
    """Status and version by the events' types alone, not by the state they carry."""
    status, version = OrderStatus.PENDING, 0
    for event in events:
        status, version = STATUS_OF_EVENT[event.event_type], version + 1
    return status, version


@st.composite
def histories(draw: st.DrawFn) -> tuple[Order, list[OrderEvent]]:
    """A generated order led along any legal steps, with all its events."""
    draft = generate_draft("order-1", draw(st.integers(1, 5)), Random(draw(st.integers())))
    order, event = Order.place(draft, stamp(1))
    events = [event]
    while bool(TRANSITIONS[order.status]) and draw(st.booleans()):
        target = draw(st.sampled_from(TRANSITIONS[order.status]))
        order, event = order.change_status(target, stamp(len(events) + 1))
        events.append(event)
    return order, events


def test_a_placed_order_is_pending_at_version_one_with_its_exact_total() -> None:
    """Placement takes the draft as it is and adds date, total, status and version."""
    order, _ = Order.place(DRAFT, stamp(1))

    assert order == Order(
        order_id="order-1",
        customer_id="CUST-1000",
        order_date=stamp(1).at,
        lines=DRAFT.lines,
        total=Decimal("2000.28"),
        currency=CURRENCIES["USD"],
        status=OrderStatus.PENDING,
        version=1,
    )


def test_placing_tells_one_event_with_the_whole_order() -> None:
    """The event has the stamp's id and time, and carries the new state."""
    order, event = Order.place(DRAFT, stamp(1))

    assert event == OrderEvent("event-1", EventType.ORDER_PLACED, stamp(1).at, order)


@pytest.mark.parametrize(("current", "target"), [pair for pair in PAIRS if pair[1] in TRANSITIONS[pair[0]]])
def test_a_step_of_the_table_moves_the_order_and_tells_it(current: OrderStatus, target: OrderStatus) -> None:
    """Only status and version change; the event's type is the target's and it carries the changed order."""
    order = order_in(current)

    changed, event = order.change_status(target, stamp(2))

    assert changed == attrs.evolve(order, status=target, version=2)
    assert event == OrderEvent("event-2", EVENT_OF_STATUS[target], stamp(2).at, changed)


@pytest.mark.parametrize(("current", "target"), [pair for pair in PAIRS if pair[1] not in TRANSITIONS[pair[0]]])
def test_any_other_step_is_refused_with_the_allowed_ones(current: OrderStatus, target: OrderStatus) -> None:
    """The other 20 pairs, the present status included, raise and name what would be allowed."""
    with pytest.raises(IllegalTransition) as refusal:
        order_in(current).change_status(target, stamp(2))

    error = refusal.value
    assert (error.code, error.order_id, error.current, error.target, error.allowed) == (
        Code.ILLEGAL_TRANSITION,
        "order-1",
        current,
        target,
        TRANSITIONS[current],
    )


def test_a_refusal_says_what_is_allowed_in_words() -> None:
    """A client's developer reads which steps there are, or that there are none."""
    texts = []
    for current in (OrderStatus.PENDING, OrderStatus.DELIVERED):
        with pytest.raises(IllegalTransition) as refusal:
            order_in(current).change_status(OrderStatus.PENDING, stamp(2))
        texts.append(str(refusal.value))

    assert texts == [
        "Order 'order-1' is pending and cannot become pending; allowed: confirmed, cancelled",
        "Order 'order-1' is delivered and cannot become pending; allowed: none, the status is final",
    ]


@given(history=histories())
def test_folding_the_events_gives_the_order(history: tuple[Order, list[OrderEvent]]) -> None:
    """The last event carries the order's state, and the types alone lead to its status and version."""
    order, events = history

    assert events[-1].order == order
    assert folded(events) == (order.status, order.version)


@given(history=histories())
def test_the_events_of_an_order_are_numbered_without_gaps(history: tuple[Order, list[OrderEvent]]) -> None:
    """Versions are 1, 2, 3 and so on; what was fixed at placement is the same in all."""
    _, events = history

    assert [event.version for event in events] == list(range(1, len(events) + 1))
    assert {attrs.evolve(event.order, status=OrderStatus.PENDING, version=1) for event in events} == {events[0].order}


@given(seed=st.integers(), num_items=st.integers(1, 100))
def test_the_total_is_the_exact_sum_of_the_lines(seed: int, num_items: int) -> None:
    """As fractions, without any rounding."""
    order, _ = Order.place(generate_draft("order-1", num_items, Random(seed)), stamp(1))

    assert Fraction(order.total) == sum(Fraction(line.price) * line.quantity for line in order.lines)
