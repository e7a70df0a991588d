"""The rest of the ecosystem reads what we publish, and we read what the seed's programs publish: by Confluent's own
client, serializer and deserializer, against a stand-in and a real registry."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.avro.confluent import ConfluentRegistry
from ordering.adapters.avro.decoder import OrderEventDecoder
from ordering.adapters.avro.registry_api import RegistryApi
from ordering.adapters.avro.subjects import SchemaSubjects
from ordering.application import framing
from ordering.application.messages import DecodedEvent, Lineage, Record
from ordering.domain.currencies import CURRENCIES
from ordering.domain.events import EventType, OrderEvent
from ordering.domain.status import OrderStatus
from tests.services.registry_stub import RegistryStub
from tests.unit.adapters.avro.samples import EVENT, INHERITED, INHERITED_ORDER, ORDER, OURS, as_published

CODEC = OrderCodec()
PATIENCE = 60.0
EVENTS = {
    "placed": EVENT,
    "confirmed": attrs.evolve(
        EVENT,
        event_type=EventType.ORDER_CONFIRMED,
        order=attrs.evolve(ORDER, status=OrderStatus.CONFIRMED, version=2),
    ),
    "yen, much of it": attrs.evolve(
        EVENT, order=attrs.evolve(ORDER, currency=CURRENCIES["JPY"], total=Decimal(999_999_999_999))
    ),
    "names of people": attrs.evolve(EVENT, order=attrs.evolve(ORDER, customer_id="Łukasz \N{GRINNING FACE}")),
}

pytestmark = pytest.mark.process


class Confluent:
    """Confluent's client and ours on one registry, for a topic that nobody has used before."""

    def __init__(self, url: str) -> None:
        self.url, self.topic = url, f"orders-{uuid4()}"
        self.client = SchemaRegistryClient({"url": url, "max.retries": 0})
        self.ours = ConfluentRegistry(RegistryApi(url, timeout_seconds=PATIENCE), self.topic)
        self.value = SerializationContext(self.topic, MessageField.VALUE)

    async def register(self) -> None:
        subjects = SchemaSubjects(RegistryApi(self.url, timeout_seconds=PATIENCE), self.topic)
        try:
            assert (await subjects.register(dry_run=False)).faults == ()
        finally:
            await subjects.close()

    async def published(self, event: OrderEvent) -> bytes:
        """The value of the record that our relay publishes."""
        encoded = CODEC.encode(event)
        return framing.frame(await self.ours.id_of(encoded.schema), encoded.body)

    def serializer(self, schema: str, *, register: bool = False) -> AvroSerializer:
        conf = {"auto.register.schemas": register, "subject.name.strategy.type": "TOPIC"}
        return AvroSerializer(self.client, schema, conf=conf)


@pytest.fixture
def stub() -> Iterator[RegistryStub]:
    """A stand-in without any schema."""
    running = RegistryStub(first_id=300)
    try:
        yield running
    finally:
        running.down()


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.slow)])
async def registered(request: pytest.FixtureRequest) -> AsyncIterator[Confluent]:
    """A registry with our schemas, put there by ``ordering schemas register``."""
    running = request.getfixturevalue("stub" if request.param == "stand-in" else "registry")
    both = Confluent(running.url)
    async with contextlib.AsyncExitStack() as exits:
        exits.push_async_callback(both.ours.close)
        exits.push_async_callback(asyncio.to_thread, both.client.close)
        await both.register()
        yield both


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS.keys())
async def test_confluents_deserializer_reads_what_we_publish(registered: Confluent, event: OrderEvent) -> None:
    """It needs nothing but the registry: amounts come exact, times as times, ids as UUIDs."""
    value = await registered.published(event)
    read = AvroDeserializer(registered.client, conf={"subject.name.strategy.type": "TOPIC"})
    expected = as_published(event) | {"eventId": UUID(event.event_id)}
    assert await asyncio.to_thread(read, value, registered.value) == expected


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS.keys())
async def test_confluents_serializer_writes_the_very_bytes_that_we_write(
    registered: Confluent, event: OrderEvent
) -> None:
    """Id, framing and body: no consumer can tell who wrote a record."""
    write = registered.serializer(OURS.text)
    assert await asyncio.to_thread(write, as_published(event), registered.value) == await registered.published(event)


async def test_a_record_of_the_seeds_program_is_accepted(registered: Confluent) -> None:
    """Its key is a framed Avro string, its value its own record, both serialized by Confluent's own serializer under
    ids of this registry."""
    context = SerializationContext(f"{registered.topic}-inherited", MessageField.VALUE)
    key_context = SerializationContext(f"{registered.topic}-inherited", MessageField.KEY)
    write_value = registered.serializer(INHERITED.text)
    write_key = registered.serializer('{"type": "string"}', register=True)
    key = await asyncio.to_thread(write_key, "ORD-1", key_context)
    value = await asyncio.to_thread(write_value, INHERITED_ORDER, context)
    assert key[0] == 0
    decoder = OrderEventDecoder(registered.ours, CODEC)
    [answer] = await decoder.decode([Record(registered.topic, 0, 5, 1_770_000_000_000, key, value)])
    assert isinstance(answer, DecodedEvent)
    assert (answer.key, answer.version, answer.label, answer.lineage) == ("ORD-1", None, "pending", Lineage.INHERITED)
    order = CODEC.decode(answer.encoded).order
    assert [(line.item_id, line.quantity, str(line.price)) for line in order.lines] == [("ITEM-LAPTOP-123", 2, "39.90")]
    assert str(order.total) == "79.80"


async def test_the_subject_is_named_after_the_topic_and_keeps_every_version_compatible(registered: Confluent) -> None:
    """As Confluent's client sees it."""
    client, subject = registered.client, f"{registered.topic}-value"
    latest = await asyncio.to_thread(client.get_latest_version, subject)
    assert latest.schema_id == await registered.ours.id_of(OURS.entry.name)
    assert json.loads(latest.schema.schema_str) == json.loads(OURS.text)
    assert await asyncio.to_thread(client.get_compatibility, subject) == "FULL_TRANSITIVE"


async def test_the_registry_refuses_a_schema_that_would_break_readers(registered: Confluent) -> None:
    """Whoever registers it: here Confluent's client does. A compatible one is taken."""
    client, subject = registered.client, f"{registered.topic}-value"

    def with_field(field: dict[str, Any]) -> Schema:
        definition = json.loads(OURS.text)
        definition["fields"].append({"name": "note", "doc": "More.", **field})
        return Schema(json.dumps(definition), "AVRO")

    breaking, fitting = with_field({"type": "string"}), with_field({"type": "string", "default": ""})
    assert not await asyncio.to_thread(client.test_compatibility, subject, breaking)
    with pytest.raises(SchemaRegistryError) as refused:
        await asyncio.to_thread(client.register_schema, subject, breaking)
    assert refused.value.http_status_code == 409
    assert await asyncio.to_thread(client.test_compatibility, subject, fitting)
    assert await asyncio.to_thread(client.register_schema, subject, fitting)
