"""The facts other services follow. Each carries the whole order after the change (event-carried state)."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import attrs

from ordering.domain.status import OrderStatus

if TYPE_CHECKING:
    from ordering.domain.order import Order


class EventType(StrEnum):
    """What happened. The values are the Avro enum's symbols and therefore permanent."""

    UNKNOWN = "UNKNOWN"
    ORDER_PLACED = "ORDER_PLACED"
    ORDER_CONFIRMED = "ORDER_CONFIRMED"
    ORDER_SHIPPED = "ORDER_SHIPPED"
    ORDER_DELIVERED = "ORDER_DELIVERED"
    ORDER_CANCELLED = "ORDER_CANCELLED"


EVENT_OF_STATUS: Final = {
    OrderStatus.PENDING: EventType.ORDER_PLACED,
    OrderStatus.CONFIRMED: EventType.ORDER_CONFIRMED,
    OrderStatus.SHIPPED: EventType.ORDER_SHIPPED,
    OrderStatus.DELIVERED: EventType.ORDER_DELIVERED,
    OrderStatus.CANCELLED: EventType.ORDER_CANCELLED,
}


@attrs.frozen
class Stamp:
    """What a command needs from outside to state a fact: a new event id (UUIDv7 text) and the UTC time."""

    event_id: str
    at: datetime


@attrs.frozen
class OrderEvent:
    """One change of one order; ``order.version`` is the event's place in that order's history (1, 2, 3...)."""

    event_id: str
    event_type: EventType
    occurred_at: datetime
    order: "Order"

    @property
    def version(self) -> int:
        """The order's version after this change."""
        return self.order.version
