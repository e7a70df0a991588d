"""The bytes of our events are the ones everybody else would write and read."""

import json
from decimal import Decimal

import attrs
import fastavro
import pytest
from confluent_kafka.schema_registry import Schema as RegistrySchema
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import example, given

from ordering.adapters.avro.binary import Schema
from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.avro.registry import BuiltInRegistry
from ordering.application import framing
from ordering.application.errors import RegistryUnavailable
from ordering.application.messages import Encoded
from ordering.domain.events import OrderEvent
from ordering.domain.order import Order
from tests.unit.adapters.avro.samples import EVENT, EVENTS, LAPTOP, ORDER, OUR_SCHEMA, OURS, as_published, plain_bytes

CODEC = OrderCodec()


@given(EVENTS)
@example(EVENT)
def test_the_bytes_equal_those_of_plain_fastavro(event: OrderEvent) -> None:
    """The published schema, written by fastavro with its own logical types, gives the same bytes."""
    assert CODEC.encode(event) == Encoded("order-events-value/v1", plain_bytes(OUR_SCHEMA, as_published(event)))


@given(EVENTS)
@example(EVENT)
def test_an_event_comes_back_as_it_was_written(event: OrderEvent) -> None:
    """Decoding is the inverse of encoding, down to how many decimals an amount prints."""
    back = CODEC.decode(CODEC.encode(event))
    assert back == event
    assert str(back.order.total) == str(event.order.total + Decimal(0))  # -0 has no bytes of its own
    assert [str(line.price + 0) for line in back.order.lines] == [str(line.price + 0) for line in event.order.lines]


async def test_confluents_deserializer_reads_our_framed_bytes() -> None:
    """The Python client of the ecosystem, with an in-process registry, sees the event field by field."""
    registry = SchemaRegistryClient.new_client({"url": "mock://order-events"})
    schema_id = registry.register_schema("order-events-value", RegistrySchema(OURS.text, "AVRO"))
    value = framing.frame(schema_id, CODEC.encode(EVENT).body)
    read = AvroDeserializer(registry)(value, SerializationContext("order-events", MessageField.VALUE))
    assert read | {"eventId": str(read["eventId"])} == as_published(EVENT)


async def test_the_built_in_registry_has_permanent_ids() -> None:
    """Written logs depend on these numbers for ever."""
    registry = BuiltInRegistry()
    assert await registry.id_of("order-events-value/v1") == 1
    assert await registry.id_of("order-events-inherited-value/v1") == 2
    assert json.loads(await registry.schema_of(1) or "") == OUR_SCHEMA
    assert await registry.schema_of(3) is None
    with pytest.raises(RegistryUnavailable):
        await registry.id_of("order-events-value/v99")


@pytest.mark.parametrize(
    "amount", ["0.00001", "100000000000000", "-1e14", "1e999999", "NaN", "-Infinity", "1.0000000000000000000001"]
)
def test_an_amount_outside_of_decimal_18_4_is_never_written_wrongly(amount: str) -> None:
    """fastavro alone writes 1e20 into 18 digits; we refuse whatever does not fit exactly."""
    event = attrs.evolve(EVENT, order=attrs.evolve(ORDER, total=Decimal(amount)))
    with pytest.raises(ValueError, match="amount"):
        CODEC.encode(event)


@pytest.mark.parametrize(
    ("code", "price", "shown"),
    [
        ("USD", "39.9", "39.90"),
        ("USD", "10.0000", "10.00"),
        ("JPY", "100", "100"),
        ("JPY", "10.5", "10.5"),
        ("KWD", "1.2", "1.200"),
        ("CLF", "0.0001", "0.0001"),
        ("ZZZ", "3.5", "3.50"),
        ("ZZZ", "3.125", "3.125"),
    ],
)
def test_amounts_get_the_decimals_of_their_currency_and_more_only_if_they_have_more(
    code: str, price: str, shown: str
) -> None:
    """Nothing is rounded, and a currency that left our table stays readable with two decimals."""
    written = as_published(EVENT) | {"currency": code, "items": [], "totalAmount": Decimal(price)}
    order = CODEC.decode(Encoded(CODEC.schema, plain_bytes(OUR_SCHEMA, written))).order
    assert (order.currency.code, str(order.total)) == (code, shown)


def test_state_written_by_a_newer_program_is_refused_by_name() -> None:
    """After a downgrade, a version that this program has never seen is named instead of misread."""
    with pytest.raises(ValueError, match="order-events-value/v99"):
        CODEC.decode(Encoded("order-events-value/v99", b""))


def test_an_order_of_a_thousand_items_stays_far_below_the_cap_on_bodies() -> None:
    """The longest ids, largest quantities and highest prices of a valid order fit three times."""
    line = attrs.evolve(LAPTOP, item_id="I" * 64, quantity=1_000_000, price=Decimal("999999999999.9999"))
    order: Order = attrs.evolve(ORDER, lines=(line,) * 1000)
    assert len(CODEC.encode(attrs.evolve(EVENT, order=order)).body) * 3 < 256 * 1024


def test_the_published_names_are_the_permanent_ones() -> None:
    """Under FULL_TRANSITIVE a rename is impossible, so a version number is in none of them."""
    named: dict[str, Schema] = {}
    fastavro.parse_schema(OUR_SCHEMA, named)
    assert sorted(named) == [
        "ordering.events.OrderEvent",
        "ordering.events.OrderEventType",
        "ordering.events.OrderItem",
    ]
