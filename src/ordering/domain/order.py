"""The order aggregate."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import attrs

from ordering.domain.errors import IllegalTransition
from ordering.domain.events import EVENT_OF_STATUS, OrderEvent, Stamp
from ordering.domain.money import Currency, total_of
from ordering.domain.status import TRANSITIONS, OrderStatus


@attrs.frozen
class OrderLine:
    """One item of an order; ``price`` is for one piece, in the order's currency, quantized to its minor unit."""

    item_id: str
    quantity: int
    price: Decimal


@attrs.frozen
class OrderDraft:
    """A complete, validated order that has not been placed yet."""

    order_id: str
    customer_id: str
    currency: Currency
    lines: tuple[OrderLine, ...]


@attrs.frozen
class Order:
    """An order, from its placement until it is delivered or cancelled.

    It is identified by the id its client chose, for ever: an id is never used again. Its lines, total, customer and
    currency are fixed when it is placed; afterwards only its status moves, along the life cycle table. ``version``
    counts its changes from 1, so it is also the number of its events. Commands return the new state and the event
    that tells the change, and the caller makes both durable together or neither. That the lines fit the rules for
    inputs was checked when the draft was made; that an id is unique only the store can know.
    """

    order_id: str
    customer_id: str
    order_date: datetime
    lines: tuple[OrderLine, ...]
    total: Decimal
    currency: Currency
    status: OrderStatus
    version: int

    @classmethod
    def place(cls, draft: OrderDraft, stamp: Stamp) -> "tuple[Order, OrderEvent]":
        """Begin an order: status pending, version 1, total exactly the sum of price x quantity."""
        order = cls(
            order_id=draft.order_id,
            customer_id=draft.customer_id,
            order_date=stamp.at,
            lines=draft.lines,
            total=total_of((line.price, line.quantity) for line in draft.lines),
            currency=draft.currency,
            status=OrderStatus.PENDING,
            version=1,
        )
        return order, order._event(stamp)

    def change_status(self, target: OrderStatus, stamp: Stamp) -> "tuple[Order, OrderEvent]":
        """Take one step of the life cycle, or raise IllegalTransition.

        Asking for the present status is no step: callers check ``status == target`` first and store nothing.
        """
        allowed: Sequence[OrderStatus] = TRANSITIONS[self.status]
        if target not in allowed:
            raise IllegalTransition(self.order_id, self.status, target, allowed)
        changed = attrs.evolve(self, status=target, version=self.version + 1)
        return changed, changed._event(stamp)

    def _event(self, stamp: Stamp) -> OrderEvent:
        return OrderEvent(stamp.event_id, EVENT_OF_STATUS[self.status], stamp.at, self)
