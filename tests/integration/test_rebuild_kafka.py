"""The rebuild from Kafka into PostgreSQL, beside two consumers of one group that go on all the time."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import attrs
import pytest
from confluent_kafka.admin import AdminClient

from benchmarks.projection import records
from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.avro.decoder import OrderEventDecoder
from ordering.adapters.avro.registry import BuiltInRegistry
from ordering.adapters.kafka.connection import KafkaConnection
from ordering.adapters.kafka.publisher import KafkaPublisher
from ordering.adapters.kafka.source import KafkaReader, KafkaSource
from ordering.adapters.postgres.views import PostgresViews
from ordering.adapters.system import SystemRuntime
from ordering.application.consume_events import ConsumerLimits, EventConsumer
from ordering.application.dead_letters import HeldRecords
from ordering.application.failures import BrokerUnavailable
from ordering.application.framing import frame
from ordering.application.generations import Difference, Progress
from ordering.application.messages import Acked, OutgoingRecord
from ordering.application.rebuild import Rebuild, RebuildLimits, Wishes
from ordering.application.waiters import Waiters
from tests.services.databases import Databases, databases, unhurried
from tests.services.fixtures import GivenKafka
from tests.services.kafka import Kafka
from tests.services.topics import Topics
from tests.services.unhurried import LONG_SESSION, PATIENCE, give_brokers_time
from tests.unit.application.runtime import RecordingObserver

__all__ = ["databases", "unhurried"]

pytestmark = [pytest.mark.process, pytest.mark.slow]

BEFORE, MEANWHILE = 2_000, 1_000
DECODER = OrderEventDecoder(BuiltInRegistry(), OrderCodec())
RUNTIME = SystemRuntime()


@pytest.fixture
def topic(kafka: Kafka | GivenKafka) -> Iterator[str]:
    """A topic of this test's own."""
    topics, name = Topics(kafka.bootstrap), f"rebuild-{uuid.uuid4().hex[:12]}"
    topics.recreate_topic(name, 3)
    yield name
    topics.delete(name)


async def answered(publisher: KafkaPublisher) -> bool:
    """Whether the broker answers within the time that the publisher gives it."""
    try:
        await publisher.probe()
    except BrokerUnavailable:
        return False
    return True


@attrs.define
class Cluster:
    """What the test opens, on one topic and one database."""

    bootstrap: str
    topic: str
    url: str
    exits: AsyncExitStack
    tasks: list["asyncio.Task[None]"] = attrs.Factory(list)

    @property
    def connection(self) -> KafkaConnection:
        return KafkaConnection(self.bootstrap, {"fetch.wait.max.ms": "10", **LONG_SESSION})

    def views(self) -> PostgresViews:
        """Another instance's read model."""
        made = PostgresViews(self.url)
        self.exits.push_async_callback(made.close)
        return made

    def consume(self) -> None:
        """One more member of the group."""
        views, source = self.views(), KafkaSource(self.connection, self.topic, self.topic, RUNTIME.now)
        self.exits.push_async_callback(source.close)
        consumer = EventConsumer(
            source, DECODER, views, HeldRecords(views, DECODER, RUNTIME, self.topic), Waiters(RUNTIME), RUNTIME,
            RecordingObserver(), self.topic, ConsumerLimits(batch_max=20, poll_seconds=0.1),
        )  # fmt: skip
        self.tasks.append(asyncio.create_task(consumer.run()))

    async def publish(self, made: list[OutgoingRecord], batch: int) -> None:
        publisher = KafkaPublisher(self.connection, self.topic)
        self.exits.push_async_callback(publisher.close)
        async with asyncio.timeout(PATIENCE):
            while not await answered(publisher):
                pass
        for start in range(0, len(made), batch):
            results = await publisher.publish(made[start : start + batch])
            assert all(isinstance(result, Acked) for result in results), results

    async def has_read(self, views: PostgresViews, events: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while sum((await views.positions(self.topic)).values()) < events:  # noqa: ASYNC110 -- no event tells it
                await asyncio.sleep(0.02)

    def members(self) -> int:
        """How many the broker knows in the group."""
        client = AdminClient({"bootstrap.servers": self.bootstrap})
        described = client.describe_consumer_groups([self.topic])[self.topic].result(PATIENCE)
        return len(described.members)


@pytest.fixture
async def cluster(
    kafka: Kafka | GivenKafka, databases: Databases, topic: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Cluster]:
    """Two consumers at work."""
    give_brokers_time(monkeypatch)
    async with AsyncExitStack() as exits:
        found = Cluster(kafka.bootstrap, topic, databases.empty(), exits)
        found.consume()
        found.consume()
        yield found
        for task in found.tasks:
            task.cancel()
        await asyncio.wait(found.tasks)


async def test_the_generations_are_exchanged_under_two_consumers(cluster: Cluster) -> None:
    """While they read on, and outside their group: equal, and in the end every event was applied once."""
    made = records(RUNTIME, BEFORE + MEANWHILE, cluster.topic, lambda body: frame(1, body))
    views = cluster.views()
    await cluster.publish(made[:BEFORE], 500)
    await cluster.has_read(views, BEFORE)
    reader = KafkaReader(cluster.connection, cluster.topic, RUNTIME.now)
    cluster.exits.push_async_callback(reader.close)
    differences: list[Difference] = []
    told: list[Progress] = []
    rebuild = Rebuild(
        reader, DECODER, views, views.generations(), RUNTIME, cluster.topic, told=told.append,
        found=differences.append, limits=RebuildLimits(fill_batch=200, drop_batch=300, page=200),
    )  # fmt: skip

    publishing = asyncio.create_task(cluster.publish(made[BEFORE:], 5))
    report = await rebuild.run(Wishes())
    members = await asyncio.to_thread(cluster.members)
    await publishing

    assert (report.is_equal, report.flipped, differences) == (True, True, [])
    assert members == 2
    await cluster.has_read(views, BEFORE + MEANWHILE)
    assert not any(task.done() for task in cluster.tasks)
    stats = await views.stats()
    assert (stats.total, stats.counters) == (BEFORE + MEANWHILE, {"applied": BEFORE + MEANWHILE})
    found = await views.load(cluster.topic, [record.key.decode() for record in made])
    assert found.generation == report.generation == 2
    assert len(found.rows) == BEFORE + MEANWHILE
    assert {row.events_applied for row in found.rows.values()} == {1}
