"""The life cycle of an order: one table, from which the documentation's diagram is generated."""

from enum import StrEnum
from typing import Final


class OrderStatus(StrEnum):
    """Where an order stands; the values are what clients and events carry."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


TRANSITIONS: Final[dict[OrderStatus, tuple[OrderStatus, ...]]] = {
    OrderStatus.PENDING: (OrderStatus.CONFIRMED, OrderStatus.CANCELLED),
    OrderStatus.CONFIRMED: (OrderStatus.SHIPPED, OrderStatus.CANCELLED),
    OrderStatus.SHIPPED: (OrderStatus.DELIVERED,),
    OrderStatus.DELIVERED: (),
    OrderStatus.CANCELLED: (),
}
"""Every allowed step. A status without a step is final."""


def life_cycle_diagram() -> str:
    """The table as the text of a Mermaid state diagram; the documentation's picture is made from it."""
    lines = ["stateDiagram-v2", f"    [*] --> {OrderStatus.PENDING}"]
    for status, targets in TRANSITIONS.items():
        lines += [f"    {status} --> {target}" for target in targets or ("[*]",)]
    return "\n".join(lines) + "\n"
