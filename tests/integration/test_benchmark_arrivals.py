"""What the benchmark says of acknowledged orders is read from the topic: a loss, a repeat and a wrong key show."""

import io
import json
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Producer
from fastavro import parse_schema, schemaless_writer

from benchmarks.arrivals import Arrivals, avro_key, plain_key
from benchmarks.peers.environment import SEED_SCHEMA
from tests.services.mock_cluster import MockCluster

pytestmark = [pytest.mark.process, pytest.mark.slow]

TOPIC = "order-events"
PREFIX = b"\0\0\0\0\1"
SCHEMA = parse_schema(json.loads(SEED_SCHEMA.read_text()))


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    """One broker with a topic of three partitions."""
    found = MockCluster()
    found.create_topic(TOPIC, 3)
    yield found
    found.close()


def encoded(schema: object, value: object) -> bytes:
    stream = io.BytesIO()
    schemaless_writer(stream, schema, value)  # type: ignore[arg-type]
    return PREFIX + stream.getvalue()


def event(order_id: str) -> bytes:
    """An order in the seed's format."""
    order = {"orderId": order_id, "customerId": "CUST-1", "orderDate": "now", "items": [], "totalAmount": 1.0}
    return encoded(SCHEMA, order | {"currency": "USD", "status": "pending"})


def publish(cluster: MockCluster, records: list[tuple[bytes, bytes]]) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap})
    for number, (key, value) in enumerate(records):
        producer.produce(TOPIC, value, key, number % 3)
    assert producer.flush(60) == 0


def looked(cluster: MockCluster, acknowledged: list[str], key_of: Callable[[bytes], str], patience: float) -> Arrivals:
    with Arrivals(cluster.bootstrap, TOPIC, SEED_SCHEMA, key_of, patience) as arrivals:
        arrivals.await_ids(acknowledged)
    return arrivals


def test_what_is_there_is_found(cluster: MockCluster) -> None:
    """Every acknowledged order has its record; one that nobody was told of is surplus, no fault."""
    publish(cluster, [(name.encode(), event(name)) for name in ("A", "B", "C")])

    found = looked(cluster, ["A", "C"], plain_key, 60)

    assert (found.acknowledged, found.missing, found.strangers, found.repeated, found.surplus) == (2, 0, 0, 0, 1)


def test_keys_of_the_seed_are_read(cluster: MockCluster) -> None:
    """The peer's keys are framed Avro strings."""
    publish(cluster, [(encoded("string", name), event(name)) for name in ("A", "B")])

    found = looked(cluster, ["A", "B"], avro_key, 60)

    assert (found.missing, found.strangers, found.surplus) == (0, 0, 0)


def test_a_loss_a_repeat_and_a_wrong_key_show(cluster: MockCluster) -> None:
    """A is there twice, B under another's key, C not at all."""
    publish(cluster, [(b"A", event("A")), (b"A", event("A")), (b"D", event("B"))])

    with Arrivals(cluster.bootstrap, TOPIC, SEED_SCHEMA, plain_key, 60) as found:
        found.await_ids(["A"])  # and the topic's end
        found.patience = 0.5  # what is not there now never comes
        found.await_ids(["A", "B", "C"])

    assert (found.missing, found.strangers, found.repeated, found.surplus) == (2, 1, 1, 0)
