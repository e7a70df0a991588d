"""Orders, events and records for the tests of the Avro adapter."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import attrs
import fastavro
from hypothesis import strategies as st

from ordering.adapters.avro import released
from ordering.adapters.avro.binary import Schema
from ordering.application import framing
from ordering.application.messages import DecodedEvent, Record, Undecodable
from ordering.domain.currencies import CURRENCIES
from ordering.domain.events import EventType, OrderEvent
from ordering.domain.order import Order, OrderLine
from ordering.domain.status import OrderStatus

OURS, INHERITED = released.load()
OUR_SCHEMA: dict[str, Any] = json.loads(OURS.text)
INHERITED_SCHEMA: dict[str, Any] = json.loads(INHERITED.text)

MOMENT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
LAPTOP = OrderLine("ITEM-LAPTOP-123", 2, Decimal("39.90"))
MOUSE = OrderLine("ITEM-MOUSE-7", 1, Decimal("10.00"))
ORDER = Order(
    "ORD-1", "CUST-1000", MOMENT, (LAPTOP, MOUSE), Decimal("89.80"), CURRENCIES["USD"], OrderStatus.PENDING, 1
)
EVENT = OrderEvent("01890a5d-ac96-774b-bcce-b302099a8057", EventType.ORDER_PLACED, MOMENT, ORDER)

INHERITED_ORDER: dict[str, Any] = {
    "orderId": "ORD-1",
    "customerId": "CUST-1000",
    "orderDate": "2026-03-01T12:30:15.123456Z",
    "items": [{"itemId": "ITEM-LAPTOP-123", "quantity": 2, "price": 39.9}],
    "totalAmount": 79.8,
    "currency": "USD",
    "status": "pending",
}


def as_published(event: OrderEvent) -> dict[str, Any]:
    """The event as a user of plain fastavro would write it down, by hand and field by field."""
    order = event.order
    return {
        "eventId": event.event_id,
        "eventType": event.event_type.value,
        "version": order.version,
        "occurredAt": event.occurred_at,
        "orderId": order.order_id,
        "customerId": order.customer_id,
        "orderDate": order.order_date,
        "items": [{"itemId": line.item_id, "quantity": line.quantity, "price": line.price} for line in order.lines],
        "totalAmount": order.total,
        "currency": order.currency.code,
        "status": order.status.value,
    }


def plain_bytes(schema: Schema, value: object) -> bytes:
    """What plain fastavro writes."""
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return stream.getvalue()


def our_record(body: bytes, *, key: bytes | None = b"ORD-1", schema_id: int = 1) -> Record:
    """A record of the log with the body behind a registry prefix."""
    return Record("order-events", 3, 42, 1_770_000_000_000, key, framing.frame(schema_id, body))


def inherited_record(changes: dict[str, Any] | None = None, *, key: bytes = b"ORD-1", offset: int = 42) -> Record:
    """An inherited record whose fields differ from the sample by ``changes``."""
    body = plain_bytes(INHERITED_SCHEMA, INHERITED_ORDER | (changes or {}))
    return attrs.evolve(our_record(body, key=key, schema_id=INHERITED.entry.id), offset=offset)


def event_in(answer: DecodedEvent | Undecodable) -> DecodedEvent:
    """The answer, which must be an event."""
    assert isinstance(answer, DecodedEvent), answer
    return answer


def _orders() -> st.SearchStrategy[OrderEvent]:
    text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
    moments = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))

    @st.composite
    def build(draw: st.DrawFn) -> OrderEvent:
        currency = draw(st.sampled_from(sorted(CURRENCIES.values(), key=lambda found: found.code)))
        limit = Decimal(10) ** 14 - Decimal(1).scaleb(-4)
        amounts = st.decimals(-limit, limit, places=currency.minor_units)
        lines = st.lists(st.builds(OrderLine, text, st.integers(1, 2**31 - 1), amounts), max_size=5)
        order = Order(
            draw(text),
            draw(text),
            draw(moments),
            tuple(draw(lines)),
            draw(amounts),
            currency,
            draw(st.sampled_from(OrderStatus)),
            draw(st.integers(1, 2**31 - 1)),
        )
        return OrderEvent(str(draw(st.uuids())), draw(st.sampled_from(EventType)), draw(moments), order)

    return build()


EVENTS = _orders()
"""Any event our types can hold."""
