"""The rest of the ecosystem on a real broker and registry: Confluent's deserializer and Java's tools read what the
running services publish, keys lie where Java's producer puts them, and what the seed's program wrote is taken over."""

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs
import httpx
import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

import ordering
from tests.e2e.running import patiently
from tests.faults.cluster import ACCEPTING, PATIENCE, Cluster, running
from tests.services.fixtures import GivenKafka, GivenRegistry, made
from tests.services.kafka import Kafka
from tests.services.registry import Registry
from tests.services.topics import Topics
from tests.unit.adapters.avro.samples import INHERITED, INHERITED_ORDER, OURS

pytestmark = [pytest.mark.process, pytest.mark.slow]

ORDERS, PARTITIONS = 1_000, 7
ITEMS = [{"itemId": "ITEM-LAPTOP-123", "quantity": 2, "price": 39.9}, {"itemId": "ITEM-7", "quantity": 1, "price": 10}]


@attrs.frozen
class Shop:
    """Both services, the orders that were placed (by id, as the cart service answered), and all their records."""

    cluster: Cluster
    cart: str
    order: str
    orders: Mapping[str, Mapping[str, Any]]
    records: tuple[Message, ...]
    registry: str


@pytest.fixture(scope="module")
def tools() -> Iterator[Kafka]:
    """Kafka's own command-line tools; no broker of its own."""
    node = made(Kafka)
    try:
        yield node
    finally:
        node.stop()


@pytest.fixture(scope="module")
def shop(
    kafka: Kafka | GivenKafka, registry: Registry | GivenRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """A thousand orders went through the cart service, some with a status changed."""
    topic = f"interop-{uuid4()}"
    folder = tmp_path_factory.mktemp("shop")
    made_cluster = Cluster(
        folder, bootstrap=kafka.bootstrap, registry=registry.url, database=None, topic=topic, **ACCEPTING
    )
    with running(made_cluster) as cluster:
        cluster.prepare(PARTITIONS)
        cart, order = cluster.cart(), cluster.order()
        orders = asyncio.run(_place(cart.url))
        records = tuple(_read(kafka.bootstrap, topic, ORDERS))
        yield Shop(cluster, cart.url, order.url, orders, records, registry.url)


async def _place(url: str) -> dict[str, dict[str, Any]]:
    names = [f"ORD-{number}" for number in range(ORDERS // 2)] + [f"{uuid4()}" for _ in range(ORDERS // 2)]
    waiting, answered = asyncio.Semaphore(32), {}

    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:

        async def place(name: str) -> None:
            async with waiting:
                body = {"orderId": name, "customerId": "CUST-1000", "currency": "USD", "items": ITEMS}
                answer = await http.post("/api/create-order", json=body)
                assert answer.status_code == 201, answer.text
                answered[name] = answer.json()["data"]

        await asyncio.gather(*map(place, names))
    return answered


def _read(bootstrap: str, topic: str, count: int) -> list[Message]:
    """All records of a topic by a plain consumer, once there are so many."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "interop", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        found: list[Message] = []
        deadline = time.monotonic() + PATIENCE
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} records"
            for message in consumer.consume(count, 0.5):
                assert message.error() is None, message.error()
                found.append(message)
        return found
    finally:
        consumer.close()


def _headers(message: Message) -> dict[str, str]:
    return {name: (value or b"").decode() for name, value in message.headers() or []}


def test_confluents_deserializer_reads_every_record_of_the_running_service(shop: Shop) -> None:
    """Field by field what the API has answered, under headers that are a CloudEvent's."""
    with SchemaRegistryClient({"url": shop.registry}) as client:
        read = AvroDeserializer(client, conf={"subject.name.strategy.type": "TOPIC"})
        context = SerializationContext(shop.cluster.topic, MessageField.VALUE)
        for message in shop.records:
            event = read(message.value(), context)
            order = shop.orders[event["orderId"]]
            assert (message.key() or b"").decode() == event["orderId"]
            assert (event["eventType"], event["version"]) == ("ORDER_PLACED", 1)
            assert (event["customerId"], event["currency"], event["status"]) == ("CUST-1000", "USD", order["status"])
            assert event["totalAmount"] == Decimal("89.80") == Decimal(str(order["totalAmount"]))
            assert [(item["itemId"], item["quantity"], item["price"]) for item in event["items"]] == [
                ("ITEM-LAPTOP-123", 2, Decimal("39.90")),
                ("ITEM-7", 1, Decimal("10.00")),
            ]
            assert event["orderDate"] == datetime.fromisoformat(order["orderDate"])
            headers = _headers(message)
            assert headers["ce_specversion"] == "1.0"
            assert headers["content-type"] == "application/avro"
            assert headers["ce_id"] == str(event["eventId"])
            assert headers["ce_type"] == "ordering.order.placed"
            assert headers["ce_source"] == "urn:ordering:cart"
            assert headers["ce_subject"] == event["orderId"]
            assert datetime.fromisoformat(headers["ce_time"]) == event["occurredAt"]
    assert {(message.key() or b"").decode() for message in shop.records} == set(shop.orders)


def test_javas_console_consumer_reads_the_same(shop: Shop, tools: Kafka) -> None:
    """Partition, key, headers and every byte of the value."""
    shown = ["print.partition=true", "print.key=true", "print.headers=true", "key.separator=|", "headers.separator=,"]
    shown.append("value.deserializer=org.apache.kafka.common.serialization.BytesDeserializer")
    printed = tools.tool(
        "consumer.ConsoleConsumer",
        *("--topic", shop.cluster.topic, "--from-beginning", "--max-messages", str(ORDERS)),
        *[word for one in shown for word in ("--formatter-property", one)],
        bootstrap=shop.cluster.bootstrap,
    )
    lines = [line for line in printed.splitlines() if line.startswith("Partition:")]
    expected = {
        "|".join(
            [
                f"Partition:{message.partition()}",
                ",".join(f"{name}:{value}" for name, value in _headers(message).items()),
                (message.key() or b"").decode(),
                _as_java_prints(message.value() or b""),
            ]
        )
        for message in shop.records
    }
    assert set(lines) == expected
    assert len(lines) == ORDERS


def _as_java_prints(data: bytes) -> str:
    r"""``org.apache.kafka.common.utils.Bytes`` as text: printable ASCII as it is but for the backslash, ``\x0A``."""
    return "".join(chr(byte) if 32 <= byte <= 126 and byte != 92 else f"\\x{byte:02X}" for byte in data)


def test_a_thousand_keys_lie_where_javas_producer_puts_them(shop: Shop, tools: Kafka) -> None:
    """Its console producer writes the same keys into another topic of as many partitions."""
    topic = f"java-{uuid4()}"
    Topics(shop.cluster.bootstrap).create(topic, PARTITIONS)
    tools.tool(
        "ConsoleProducer",
        *("--topic", topic, "--reader-property", "parse.key=true", "--reader-property", "key.separator=|"),
        bootstrap=shop.cluster.bootstrap,
        given="".join(f"{name}|-\n" for name in shop.orders),
    )
    theirs = {message.key(): message.partition() for message in _read(shop.cluster.bootstrap, topic, ORDERS)}
    ours = {message.key(): message.partition() for message in shop.records}
    assert len(ours) == ORDERS
    assert set(ours.values()) == set(range(PARTITIONS))
    assert ours == theirs


def _shown(shop: Shop, name: str) -> dict[str, Any]:
    """The order as the order service shows it, as soon as it does."""
    answer = httpx.get(f"{shop.order}/api/order-details", params={"orderId": name}, timeout=PATIENCE)
    return dict(answer.json()) if answer.status_code == 200 else {}


def _until_shown(shop: Shop, name: str, status: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while (found := _shown(shop, name)).get("data", {}).get("status") != status:
        assert time.monotonic() < deadline, f"{name} is not shown as {status}: {found}"
        time.sleep(0.05)
    return dict(found["data"])


def test_a_record_of_the_seeds_program_is_shown_until_an_event_of_ours_takes_over(shop: Shop) -> None:
    """Confluent's serializer writes it, with the seed's schema and a framed Avro string as its key."""
    name, topic = f"SEED-{uuid4()}", shop.cluster.topic
    with SchemaRegistryClient({"url": shop.registry}) as client:
        conf = {"auto.register.schemas": False, "subject.name.strategy.type": "TOPIC"}
        write_value = AvroSerializer(client, INHERITED.text, conf=conf)
        write_key = AvroSerializer(client, '{"type": "string"}', conf=conf | {"auto.register.schemas": True})
        value_context = SerializationContext(f"{topic}-inherited", MessageField.VALUE)
        key = write_key(name, SerializationContext(f"{topic}-inherited", MessageField.KEY))
        value = write_value(INHERITED_ORDER | {"orderId": name}, value_context)
    assert key is not None
    assert key[0] == 0
    producer = Producer({"bootstrap.servers": shop.cluster.bootstrap})
    producer.produce(topic, key=key, value=value)
    assert producer.flush(PATIENCE) == 0

    inherited = _until_shown(shop, name, "pending")
    assert [(item["itemId"], item["quantity"], item["price"]) for item in inherited["items"]] == [
        ("ITEM-LAPTOP-123", 2, 39.9)
    ]
    assert (inherited["totalAmount"], inherited["customerId"]) == (79.8, "CUST-1000")

    body = {"orderId": name, "customerId": "CUST-2000", "currency": "EUR", "items": ITEMS}
    created = httpx.post(f"{shop.cart}/api/create-order", json=body, timeout=PATIENCE)
    assert created.status_code == 201, created.text
    taken_over = _until_shown(shop, name, created.json()["data"]["status"])
    assert (taken_over["customerId"], taken_over["currency"]) == ("CUST-2000", "EUR")


# ------------------------------------------------------------------------------------------------ schemas


def _release_with(folder: Path, field: Mapping[str, Any]) -> Path:
    """This program as a release whose event has one more field: what PYTHONPATH has to be."""
    shutil.copytree(Path(ordering.__file__).parent, folder / "ordering", ignore=shutil.ignore_patterns("__pycache__"))
    schemas = folder / "ordering" / "schemas"
    path = schemas / OURS.entry.file
    definition = json.loads(path.read_text())
    definition["fields"].append(dict(field))
    path.write_text(json.dumps(definition))
    index = json.loads((schemas / "index.json").read_text())
    index["schemas"][0]["sha256"] = sha256(path.read_bytes()).hexdigest()
    (schemas / "index.json").write_text(json.dumps(index))
    return folder


def _schemas(shop: Shop, command: str, release: Path) -> subprocess.CompletedProcess[str]:
    return patiently("schemas", command, env={**shop.cluster.env, "PYTHONPATH": str(release)})


def test_a_release_whose_schema_would_break_readers_cannot_register_it(shop: Shop, tmp_path: Path) -> None:
    """Its own commands refuse, naming the field, and so does the registry; what stands there stays."""
    release = _release_with(tmp_path, {"name": "note", "type": "string", "doc": "Without a default."})
    with SchemaRegistryClient({"url": shop.registry}) as client:
        subject = f"{shop.cluster.topic}-value"
        before = client.get_latest_version(subject)
        assert client.get_compatibility(subject) == "FULL_TRANSITIVE"
        for command in ("diff", "register"):
            done = _schemas(shop, command, release)
            assert done.returncode == 1, done.stdout
            assert f"{subject}: schema {OURS.entry.name} against version 1: " in done.stderr
            assert f"{subject}: the registry will not take {OURS.entry.name}: " in done.stderr
            assert "note" in done.stderr
            assert "Traceback" not in done.stderr
        assert client.get_versions(subject) == [before.version]
