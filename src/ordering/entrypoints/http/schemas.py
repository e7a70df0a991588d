"""The documented models: what clients send and what they get, in camelCase, with money as exact JSON numbers.

Answers are encoded from these models. Requests are not decoded into them: the domain's validator judges the strictly
decoded document, and a test holds the bounds written here and its constants together.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ordering.application.causes import CauseCode
from ordering.domain.currencies import CURRENCIES
from ordering.domain.errors import Code
from ordering.domain.fields import ID_LENGTH_MAX
from ordering.domain.inputs import ITEMS_MAX, NUM_ITEMS_MAX, QUANTITY_MAX
from ordering.domain.money import AMOUNT_LIMIT
from ordering.domain.order import Order
from ordering.domain.status import OrderStatus

encode: Final = msgspec.json.Encoder(decimal_format="number").encode
"""Any model -> its bytes. A Decimal prints as the number it is, digit by digit: 39.90, 1999."""

ID_PATTERN: Final = f"^[A-Za-z0-9._:-]{{1,{ID_LENGTH_MAX}}}$"
_ID_RULE: Final = "Surrounding white space is removed."

OrderId = Annotated[
    str,
    Meta(min_length=1, max_length=ID_LENGTH_MAX, pattern=ID_PATTERN, description=_ID_RULE, examples=["ORDER-001"]),
]
CustomerId = Annotated[
    str, Meta(min_length=1, max_length=ID_LENGTH_MAX, pattern=ID_PATTERN, description=_ID_RULE, examples=["CUST-1042"])
]
ItemId = Annotated[
    str,
    Meta(
        min_length=1, max_length=ID_LENGTH_MAX, pattern=ID_PATTERN, description=_ID_RULE, examples=["ITEM-LAPTOP-321"]
    ),
]
CurrencyCode = Annotated[
    str,
    Meta(
        description="An active ISO 4217 code that has a minor unit.",
        examples=["USD"],
        extra_json_schema={"enum": sorted(CURRENCIES)},
    ),
]
Quantity = Annotated[int, Meta(ge=1, le=QUANTITY_MAX, examples=[2])]


def _number(description: str, example: float, **bounds: object) -> Meta:
    return Meta(
        description=description, examples=[example], extra_json_schema={"type": "number", "format": "decimal", **bounds}
    )


Price = Annotated[
    Decimal,
    _number(
        "For one piece. No more decimals, by value, than the currency has; the whole order stays below 10^12.",
        999.99,
        # Two parts of one set: whoever makes prices from this document learns that whole ones fit every currency.
        oneOf=[
            {"title": "Whole", "type": "integer", "minimum": 1, "maximum": int(AMOUNT_LIMIT) - 1},
            {
                "title": "With decimals",
                "type": "number",
                "not": {"type": "integer"},
                "exclusiveMinimum": 0,
                "exclusiveMaximum": int(AMOUNT_LIMIT),
            },
        ],
    ),
]
Amount = Annotated[Decimal, _number("Exact, in the currency's minor unit.", 1999.98)]
UtcTime = Annotated[
    datetime, Meta(tz=True, examples=["2026-01-31T12:00:00.123456Z"], extra_json_schema={"format": "date-time"})
]


class Model(Struct, rename="camel"):
    """Base of all models."""


# ---------------------------------------------------------------------------------------------- requests


class CartItem(Model):
    """One line of a cart."""

    item_id: ItemId
    quantity: Quantity
    price: Price


class CartOrder(Model):
    """A real cart. Without a customer id one is generated; without a currency the service's default counts."""

    order_id: OrderId
    items: Annotated[list[CartItem], Meta(min_length=1, max_length=ITEMS_MAX)]
    customer_id: CustomerId | None = None
    currency: CurrencyCode | None = None


class GeneratedOrder(Model):
    """An order whose customer, date, items and currency are generated."""

    order_id: OrderId
    num_items: Annotated[int, Meta(ge=1, le=NUM_ITEMS_MAX, examples=[2])]


class StatusChange(Model):
    """The status an order should have."""

    order_id: OrderId
    status: OrderStatus


# ---------------------------------------------------------------------------------------------- answers


class OrderItem(Model):
    """One line of an order; the price is for one piece."""

    item_id: Annotated[str, Meta(examples=["ITEM-LAPTOP-321"])]
    quantity: Annotated[int, Meta(examples=[2])]
    price: Annotated[Decimal, _number("For one piece.", 999.99)]


class OrderData(Model):
    """A whole order. ``orderDate`` is UTC. What others once put into the topic is shown as it is."""

    order_id: Annotated[str, Meta(examples=["ORDER-001"])]
    customer_id: Annotated[str, Meta(examples=["CUST-1042"])]
    order_date: UtcTime
    items: list[OrderItem]
    total_amount: Amount
    currency: Annotated[str, Meta(examples=["USD"])]
    status: OrderStatus


class OrderDetailsData(OrderData):
    """A whole order with its shipping cost: 2 % of the total by default, rounded down to the minor unit."""

    shipping_cost: Annotated[Decimal, _number("In the order's currency.", 39.99)]


class OrderCreated(Model):
    """The order is stored durably and its event will be published."""

    success: bool
    message: Annotated[str, Meta(examples=["Order 'ORDER-001' created successfully"])]
    data: OrderData


class OrderUpdated(Model):
    """The whole order after the change."""

    success: bool
    message: Annotated[str, Meta(examples=["Order 'ORDER-001' updated successfully"])]
    data: OrderData


class OrderDetailsFound(Model):
    """The order as the read model knows it; ETag is its version."""

    success: bool
    message: Annotated[str, Meta(examples=["Order 'ORDER-001' retrieved successfully"])]
    data: OrderDetailsData


class TopicOrderIds(Model):
    """Distinct order ids of a topic by first appearance. ``count`` is the number of ids in this answer."""

    success: bool
    message: str
    topic_name: str
    order_ids: list[str]
    count: int
    next_cursor: Annotated[
        str | UnsetType, Meta(description="Where the next page begins; only with limit, and only if it was full.")
    ] = UNSET


class Statistics(Model, kw_only=True):
    """The read model in figures. ``orderIds`` holds at most 10,000; ``truncated`` tells that there are more."""

    success: bool
    total_orders: int
    order_ids: Annotated[list[str] | UnsetType, Meta(description="Not with ids=false.")] = UNSET
    by_status: dict[str, int]
    lag_events: int
    lag_seconds: float
    gaps: int
    late: int
    parked: int
    dead_letters: int
    truncated: bool


class FaultBody(Model):
    """One thing wrong with a request: where (a path such as items[2].price, a parameter, a header), and what."""

    field: Annotated[str, Meta(examples=["items[2].price"])]
    code: Code
    message: Annotated[str, Meta(examples=["must be greater than 0"])]


class ProblemBody(Model):
    """RFC 9457 problem document. ``code`` is for programs; ``errors`` lists every fault of the request at once."""

    type: Annotated[str, Meta(examples=["urn:ordering:problem:invalid-input"])]
    title: str
    status: int
    detail: str
    code: Code
    message: str
    success: bool = False
    errors: list[FaultBody] = msgspec.field(default_factory=list)
    current_status: OrderStatus | UnsetType = UNSET
    allowed: Annotated[list[OrderStatus] | UnsetType, Meta(description="The steps the order can take.")] = UNSET
    current_version: Annotated[int | UnsetType, Meta(description="The order's version here and now.")] = UNSET


class CartInfo(Struct):
    """What answers at this address."""

    service: str
    version: str
    status: str
    kafka_broker: str
    schema_registry: str


class OrderInfo(CartInfo):
    """What answers at this address, and what it reads."""

    role: str
    consuming_topic: str
    consumer_group: str
    processed_orders: Annotated[int | None, Meta(description="null while the figures cannot be read")]


_CODES: Final = "Of each cause, in the same order: for programs, and to look up in docs/operations.md."


class Health(Struct):
    """A summary for people; orchestrators ask /health/live and /health/ready."""

    status: Annotated[str, Meta(description="healthy, or degraded if there are causes", examples=["healthy"])]
    service: str
    causes: list[str]
    codes: Annotated[list[CauseCode], Meta(description=_CODES)]
    consumer_running: bool | UnsetType = UNSET


class Liveness(Struct):
    """The process answers."""

    status: str


class Readiness(Struct):
    """Whether requests should come here; if not, every cause."""

    status: Annotated[str, Meta(description="ready or not-ready", examples=["ready"])]
    causes: list[str]
    codes: Annotated[list[CauseCode], Meta(description=_CODES)]


# ---------------------------------------------------------------------------------------------- rendering


def order_data(order: Order) -> OrderData:
    """An order as clients see it."""
    return OrderData(
        order.order_id,
        order.customer_id,
        order.order_date,
        [OrderItem(line.item_id, line.quantity, line.price) for line in order.lines],
        order.total,
        order.currency.code,
        order.status,
    )


def created(order: Order) -> bytes:
    """The body of a successful create-order."""
    return encode(OrderCreated(True, f"Order '{order.order_id}' created successfully", order_data(order)))


def updated(order: Order) -> bytes:
    """The body of a successful update-order."""
    return encode(OrderUpdated(True, f"Order '{order.order_id}' updated successfully", order_data(order)))


def details(order: Order, shipping_cost: Decimal) -> bytes:
    """The body of a successful order-details."""
    data = OrderDetailsData(
        order.order_id,
        order.customer_id,
        order.order_date,
        [OrderItem(line.item_id, line.quantity, line.price) for line in order.lines],
        order.total,
        order.currency.code,
        order.status,
        shipping_cost,
    )
    return encode(OrderDetailsFound(True, f"Order '{order.order_id}' retrieved successfully", data))
