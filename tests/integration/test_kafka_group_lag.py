"""Lag of consumer groups by what they told a real broker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from uuid import uuid4

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from ordering.adapters.kafka.connection import KafkaConnection
from ordering.adapters.kafka.group_lag import KafkaGroupLag
from ordering.application.failures import BrokerUnavailable
from ordering.application.messages import Lag
from tests.services.fixtures import GivenKafka
from tests.services.kafka import Kafka
from tests.services.topics import Topics
from tests.services.unhurried import give_brokers_time

pytestmark = [pytest.mark.process, pytest.mark.slow]

NOW = 1_767_225_600
"""Seconds since 1970: what the clock says."""


@pytest.fixture
def bootstrap(kafka: Kafka | GivenKafka) -> str:
    """A real broker."""
    return kafka.bootstrap


@pytest.fixture
def topic(bootstrap: str) -> Iterator[str]:
    """Two partitions: in 0 records of 100, 50 and 10 s ago, in 1 one of 70 s ago."""
    name = f"group-lag-{uuid4().hex[:8]}"
    topics = Topics(bootstrap)
    topics.create(name, 2)
    producer = Producer({"bootstrap.servers": bootstrap})
    for partition, ago in ((0, 100), (0, 50), (0, 10), (1, 70)):
        producer.produce(name, b"v", b"k", partition=partition, timestamp=(NOW - ago) * 1_000)
    assert producer.flush(30) == 0
    yield name
    topics.delete(name)


@pytest.fixture
async def lag(bootstrap: str, topic: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KafkaGroupLag]:
    """Of three groups, on a broker that may take its time."""
    give_brokers_time(monkeypatch)
    groups = [f"{topic}-{name}" for name in ("ours", "billing", "stock")]
    made = KafkaGroupLag(KafkaConnection(bootstrap), groups, topic, lambda: NOW * 1_000_000)
    yield made
    await made.close()


def tell(bootstrap: str, topic: str, group: str, positions: Mapping[int, int]) -> None:
    """What a consumer of the group would tell."""
    places = [TopicPartition(topic, partition, at) for partition, at in positions.items()]
    client = AdminClient({"bootstrap.servers": bootstrap})
    client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)])[group].result(30)


async def test_a_group_that_never_read_is_behind_by_everything(lag: KafkaGroupLag, topic: str) -> None:
    """A service that somebody forgot to start is late, not fine."""
    assert set((await lag.lags()).values()) == {Lag(4, 100.0)}


async def test_each_group_is_told_by_its_own_oldest_record(lag: KafkaGroupLag, bootstrap: str, topic: str) -> None:
    """One that has everything is not late, however long ago that was."""
    tell(bootstrap, topic, f"{topic}-ours", {0: 1, 1: 1})
    tell(bootstrap, topic, f"{topic}-billing", {0: 3})
    tell(bootstrap, topic, f"{topic}-stock", {0: 3, 1: 1})

    assert await lag.lags() == {
        f"{topic}-ours": Lag(2, 50.0),
        f"{topic}-billing": Lag(1, 70.0),
        f"{topic}-stock": Lag(0, 0.0),
    }
    tell(bootstrap, topic, f"{topic}-ours", {0: 2})
    assert (await lag.lags())[f"{topic}-ours"] == Lag(1, 10.0)


async def test_a_broker_that_is_away_is_told_in_time(topic: str) -> None:
    """No figure, and no waiting for ever."""
    away = KafkaGroupLag(KafkaConnection("127.0.0.1:1"), ["ours"], topic, lambda: 0)

    with pytest.raises(BrokerUnavailable):
        await away.lags()
    await away.close()
