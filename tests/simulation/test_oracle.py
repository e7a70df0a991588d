"""The judges themselves: what they must let pass, and what they must not."""

import random
from datetime import UTC, datetime
from math import inf

import attrs
import pytest

from ordering.application.errors import DuplicateOrder, OrderNotFound
from ordering.application.messages import DecodedEvent, Encoded, Record, Undecodable
from ordering.domain.errors import IllegalTransition
from ordering.domain.events import Stamp
from ordering.domain.generation import draft_of
from ordering.domain.inputs import NumItemsInput
from ordering.domain.order import Order
from ordering.domain.status import TRANSITIONS, OrderStatus
from tests.simulation.fold import folded
from tests.simulation.oracle import Call, OneOrder, Told, change, create, require_serial, told

STAMP = Stamp("00000000-0000-7000-8000-000000000000", datetime(2026, 1, 1, tzinfo=UTC))
PLACED, _ = Order.place(draft_of(NumItemsInput("a", 2), random.Random(1)), STAMP)
CONFIRMED, _ = PLACED.change_status(OrderStatus.CONFIRMED, STAMP)
CREATE, CONFIRM = create("a", 2), change("a", "confirmed")
STORED = [
    Call(CREATE, told("POST", PLACED), 1, 2, 1),
    Call(CONFIRM, told("PUT", CONFIRMED), 5, 8, 2),
]


@pytest.fixture
def order() -> OneOrder:
    """Placed, then confirmed."""
    order = OneOrder("a")
    order.store(CREATE, PLACED)
    order.store(CONFIRM, CONFIRMED)
    return order


def looking(answer: object, began: int, ended: float) -> Call:
    """A call that changed nothing."""
    heard = told("PUT", answer)  # type: ignore[arg-type]
    return Call(CONFIRM, heard, began, ended, None)


def illegal(current: OrderStatus, target: OrderStatus) -> IllegalTransition:
    """The refusal of a step."""
    return IllegalTransition("a", current, target, TRANSITIONS[current])


@pytest.mark.parametrize(
    "call",
    [
        looking(OrderNotFound("a"), 1, 6),  # before it was placed
        looking(OrderNotFound("a"), 0, 1.5),
        looking(CONFIRMED, 6, 9),  # the same status once more
        Call(create("a", 1), told("POST", DuplicateOrder("a")), 1, 3, None),
        Call(change("a", "shipped"), told("PUT", illegal(OrderStatus.PENDING, OrderStatus.SHIPPED)), 6, 7, None),
        Call(change("a", "pending"), told("PUT", illegal(OrderStatus.CONFIRMED, OrderStatus.PENDING)), 9, 10, None),
        Call(CONFIRM, None, 9, 10, 2, replayed=True),
    ],
)
def test_what_some_serial_order_explains_is_fine(order: OneOrder, call: Call) -> None:
    """It may have come at any moment of its time."""
    require_serial(order, [*STORED, call])


@pytest.mark.parametrize(
    "call",
    [
        looking(OrderNotFound("a"), 3, 4),  # it had been placed
        looking(CONFIRMED, 3, 4),  # nobody had asked for that yet
        looking(PLACED, 6, 9),  # not what was asked for
        Call(create("a", 1), told("POST", DuplicateOrder("a")), 0, 0.5, None),  # nobody had placed it yet
        Call(change("a", "shipped"), told("PUT", illegal(OrderStatus.PENDING, OrderStatus.SHIPPED)), 9, 10, None),
        Call(change("a", "pending"), told("PUT", illegal(OrderStatus.CONFIRMED, OrderStatus.PENDING)), 3, 4, None),
        Call(change("a", "cancelled"), told("PUT", illegal(OrderStatus.PENDING, OrderStatus.CANCELLED)), 3, 4, None),
    ],
)
def test_what_no_serial_order_explains_is_found(order: OneOrder, call: Call) -> None:
    """A stale read, a look into the future, or a refusal that the life cycle does not have."""
    with pytest.raises(AssertionError, match="no state from version"):
        require_serial(order, [*STORED, call])


def test_a_write_cannot_stand_behind_one_that_begins_after_its_end(order: OneOrder) -> None:
    """Versions go with time."""
    late = [attrs.evolve(STORED[0], began=10, ended=11), STORED[1]]
    with pytest.raises(AssertionError, match="had been seen before it began"):
        require_serial(order, late)
    require_serial(order, [attrs.evolve(STORED[0], ended=inf), STORED[1]])


def test_an_answer_shows_what_was_stored(order: OneOrder) -> None:
    """The first one and each replay: the order as it was at their version."""
    with pytest.raises(AssertionError, match="another state"):
        require_serial(order, [STORED[0], attrs.evolve(STORED[1], answer=told("PUT", PLACED))])
    for version in (1, 3):
        replay = Call(CONFIRM, told("PUT", CONFIRMED), 9, 10, version, replayed=True)
        with pytest.raises(AssertionError, match="another state"):
            require_serial(order, [*STORED, replay])


def test_a_write_that_was_not_allowed_is_found_where_it_was_stored() -> None:
    """And one that stored something else than was asked for."""
    order = OneOrder("a")
    with pytest.raises(AssertionError, match="was stored"):
        order.store(CONFIRM, CONFIRMED)
    order.store(CREATE, PLACED)
    with pytest.raises(AssertionError, match="was stored"):
        order.store(CREATE, PLACED)
    with pytest.raises(AssertionError):
        order.store(change("a", "cancelled"), CONFIRMED)


def test_an_answer_is_told_with_its_status_and_code() -> None:
    """As HTTP would."""
    assert told("POST", PLACED).status == 201
    assert told("PUT", OrderNotFound("a")) == Told(404, "order-not-found")
    with pytest.raises(ZeroDivisionError):
        told("PUT", ZeroDivisionError())


# ---------------------------------------------------------------------------------------------- the fold


def log_of(*events: tuple[int, str] | None) -> list[list[tuple[Record, DecodedEvent | Undecodable]]]:
    """One partition with the versions and ids of one order; None: a record that nobody can read."""
    entries: list[tuple[Record, DecodedEvent | Undecodable]] = []
    for offset, event in enumerate(events):
        record = Record("t", 0, offset, 0, b"a", b"")
        if event is None:
            entries.append((record, Undecodable("corrupt", "", "a")))
        else:
            entries.append((record, DecodedEvent("a", event[1], event[0], "pending", Encoded("s", b""))))
    return [entries]


def test_the_fold_counts_as_the_design_says() -> None:
    """Higher is applied, a jump is a gap, lower is a duplicate, or late if the gap had jumped over it."""
    model = folded(log_of((1, "x"), None, (1, "x"), (4, "y"), (3, "z"), (3, "z"), (4, "y")), {}, set())
    order = model.orders["a"]
    assert (order.version, order.event_id, order.applied, order.missing) == (4, "y", 2, {2})
    assert (model.applied, model.duplicates, model.gaps, model.late) == (2, 3, 1, 1)


def test_the_fold_begins_where_the_log_does() -> None:
    """What is gone counts as a gap, what was discarded not at all; an impostor must have been discarded."""
    log = log_of((1, "x"), (2, "y"), (2, "other"))
    model = folded(log, {0: 1}, {(0, 2)})
    assert (model.orders["a"].version, model.orders["a"].missing, model.gaps) == (2, {1}, 1)
    assert model.orders["a"].first == (0, 0, 1)
    with pytest.raises(AssertionError, match="impostor"):
        folded(log, {}, set())
    assert folded(log_of(None), {}, set()).orders["a"].version == 0
