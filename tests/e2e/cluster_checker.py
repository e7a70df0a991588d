"""The checker of the crash test for PostgreSQL and Kafka: the same comparison as ``crash_checker``, other sources.

It reads the tables and the topic itself, by asyncpg and a plain consumer, and decodes records with plain fastavro.
"""

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import asyncpg
import attrs
import confluent_kafka

from tests.e2e.crash_checker import Evidence, Findings, compare, journal_of, log_of
from tests.e2e.crash_clients import Attempt

READ_SECONDS = 60.0
"""How long reading the whole topic may take."""
_PAGE = 10_000

_LIVE = "generation = (SELECT generation FROM ordering_order.pointer)"
_STORED = "SELECT order_id, version FROM ordering_cart.orders"
_JOURNAL = "SELECT aggregate_id, version, event_id, body FROM ordering_cart.journal"
_ROWS = f"SELECT key, version, events_applied FROM ordering_order.view_rows WHERE {_LIVE}"  # noqa: S608 -- a constant
_COUNTED = f"SELECT coalesce(sum(amount), 0)::bigint FROM ordering_order.tallies WHERE kind = 'label' AND {_LIVE}"  # noqa: S608
_CONTENTS = "SELECT order_id, md5(orders::text) FROM ordering_cart.orders"
_POSITIONS = f"SELECT partition, next FROM ordering_order.positions WHERE topic = $1 AND {_LIVE}"  # noqa: S608


@attrs.frozen
class Cluster:
    """Where the parts are: ``postgresql://...`` of both stores, ``host:port`` of the brokers."""

    database: str
    brokers: str
    topic: str = "order-events"
    group: str = "order-service-group"


@attrs.frozen
class Kept:
    """What has to outlive a stop of everything."""

    orders: dict[str, str]
    """Per order: a digest of its whole row."""
    positions: dict[int, int]
    """Per partition: the next offset, as the read model has it."""
    committed: dict[int, int]
    """The same as the broker has it for tools that show the lag."""
    ends: dict[int, int]
    """Per partition: the end of the log."""


def check(cluster: Cluster, ledger: Mapping[str, list[Attempt]], strangers: Collection[str] = ()) -> Findings:
    """Compare everything with everything; callers repeat it until the system had time to catch up.

    ``strangers`` are keys in the topic that the cart service did not write: the read model has them, the store not.
    """
    stored, journal, rows, counted = asyncio.run(_tables(cluster))
    views = {key: (version, applied) for key, version, applied in rows}
    known = sum(version > 0 for key, (version, _) in views.items() if key in strangers)
    return compare(
        Evidence(
            stored=dict(stored),
            journal=journal_of(journal),
            log=log_of(record for record in _records(cluster) if record[1].decode() not in strangers),
            views={key: view for key, view in views.items() if key not in strangers},
            counted=counted - known,
        ),
        ledger,
    )


def kept(cluster: Cluster) -> Kept:
    """What is there now; callers compare it with what was."""
    orders, positions = asyncio.run(_contents(cluster))
    consumer = _consumer(cluster)
    try:
        ends = {partition: end for partition, (_, end) in _bounds(consumer, cluster.topic).items()}
        asked = [confluent_kafka.TopicPartition(cluster.topic, partition) for partition in ends]
        answered = consumer.committed(asked, READ_SECONDS)
    finally:
        consumer.close()
    return Kept(orders, positions, {place.partition: place.offset for place in answered}, ends)


async def _tables(cluster: Cluster) -> tuple[Any, Any, Any, int]:
    """Orders, journal, rows of the live generation, and the statistics' count, as of one moment."""
    connection = await asyncpg.connect(cluster.database)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            stored = await connection.fetch(_STORED)
            journal = await connection.fetch(_JOURNAL)
            rows = await connection.fetch(_ROWS)
            return stored, journal, rows, await connection.fetchval(_COUNTED)
    finally:
        await connection.close()


async def _contents(cluster: Cluster) -> tuple[dict[str, str], dict[int, int]]:
    connection = await asyncpg.connect(cluster.database)
    try:
        orders = await connection.fetch(_CONTENTS)
        return dict(orders), dict(await connection.fetch(_POSITIONS, cluster.topic))
    finally:
        await connection.close()


def _consumer(cluster: Cluster) -> confluent_kafka.Consumer:
    """Of the group, but never a member: partitions are assigned by hand and nothing is committed."""
    return confluent_kafka.Consumer(
        {
            "bootstrap.servers": cluster.brokers,
            "group.id": cluster.group,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
        }
    )


def _bounds(consumer: confluent_kafka.Consumer, topic: str) -> dict[int, tuple[int, int]]:
    """Per partition: first offset and end."""
    partitions = consumer.list_topics(topic, READ_SECONDS).topics[topic].partitions
    assert partitions, f"there is no topic {topic}"
    return {
        partition: consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, partition), READ_SECONDS)
        for partition in partitions
    }


def _records(cluster: Cluster) -> Iterator[tuple[int, bytes, bytes]]:
    """Partition, key and value of every record up to the present ends; each partition in the order of its offsets."""
    consumer = _consumer(cluster)
    try:
        bounds = _bounds(consumer, cluster.topic)
        assert all(first == 0 for first, _ in bounds.values()), f"the log was trimmed: {bounds}"
        missing = {partition: end for partition, (_, end) in bounds.items() if end}
        consumer.assign([confluent_kafka.TopicPartition(cluster.topic, partition, 0) for partition in missing])
        deadline = time.monotonic() + READ_SECONDS
        while missing:
            assert time.monotonic() < deadline, f"the log could not be read to its ends: {missing}"
            for message in consumer.consume(_PAGE, 1.0):
                if message.error():
                    raise confluent_kafka.KafkaException(message.error())
                partition, offset, key, value = message.partition(), message.offset(), message.key(), message.value()
                assert partition is not None and offset is not None, "a record without a place"  # noqa: PT018
                assert key is not None and value is not None, f"no order event at {partition}/{offset}"  # noqa: PT018
                end = bounds[partition][1]
                if offset < end:
                    yield partition, key, value
                if offset + 1 >= end:
                    missing.pop(partition, None)
    finally:
        consumer.close()
