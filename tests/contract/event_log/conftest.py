"""Event logs under test. A new adapter joins the suite with one more class here."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from ordering.adapters.kafka.connection import KafkaConnection
from ordering.adapters.kafka.newest import KafkaTail
from ordering.adapters.kafka.publisher import KafkaPublisher
from ordering.adapters.kafka.source import KafkaReader, KafkaSource
from ordering.adapters.memory.log import MemoryLog, MemoryPublisher, MemorySource
from ordering.adapters.sqlite.log import SqlitePublisher, SqliteSource, log_path
from ordering.application.failures import BrokerUnavailable
from ordering.application.messages import Lag, LogIdentity, Polled
from ordering.application.ports import EventPublisher, LogTail, WholeLog
from tests.services.fixtures import GivenKafka
from tests.services.kafka import Kafka
from tests.services.mock_cluster import MockCluster
from tests.services.topics import Topics
from tests.services.unhurried import LONG_SESSION, PATIENCE, give_brokers_time
from tests.simulation.group import Group
from tests.simulation.outside import Node, Outside
from tests.simulation.sim_log import SimPublisher, SimSource
from tests.simulation.weather import STILL

TOPIC = f"contract-{uuid.uuid4().hex[:12]}"
"""A name of this run's own: a broker may be somebody else's, with topics that matter."""
PARTITIONS = 3
NOW = 1_700_000_000_000_000
"""What the sources' wall clock says, in UTC microseconds."""


class EventLog(Protocol):
    """One topic with a publisher, and what a test needs to do to it from outside."""

    @property
    def publisher(self) -> EventPublisher:
        """The publisher of the process that runs now."""

    def source(self) -> WholeLog:
        """A new consumer, with no assignment and no positions."""

    def tail(self) -> LogTail:
        """A new reader of its newest records."""

    async def restart(self) -> None:
        """End the publishing process and start another on what it left."""

    async def recreate(self) -> None:
        """Delete the topic and create it again under its name, empty."""

    async def close(self) -> None: ...


class InMemory:
    """A restart keeps the log object: it stands for the disk."""

    def __init__(self) -> None:
        self._log = MemoryLog(TOPIC, PARTITIONS)
        self.publisher = MemoryPublisher(self._log)

    def source(self) -> WholeLog:
        return MemorySource(self._log, "tests", lambda: NOW)

    def tail(self) -> LogTail:
        return MemorySource(self._log, "tests", lambda: NOW)

    async def restart(self) -> None:
        self.publisher = MemoryPublisher(self._log)

    async def recreate(self) -> None:
        self._log = MemoryLog(TOPIC, PARTITIONS, topic_id="1")
        await self.restart()

    async def close(self) -> None: ...


class InSimulation:
    """The simulated log in still weather, read by the only member of a group, or outside any group."""

    def __init__(self, *, alone: bool) -> None:
        self._outside, self._alone = Outside(0, STILL, topic=TOPIC, partitions=PARTITIONS), alone
        self._nodes = 0
        self.publisher = SimPublisher(self._node())

    def _node(self) -> Node:
        self._nodes += 1
        return Node(self._outside, self._nodes, now=lambda: NOW)

    def source(self) -> WholeLog:
        outside = self._outside
        group = Group(outside.log, outside.runtime, outside.rng, outside.saw)
        return SimSource(self._node(), group, alone=self._alone)

    def tail(self) -> LogTail:
        return SimSource(self._node(), alone=True)

    async def restart(self) -> None:
        self.publisher = SimPublisher(self._node())

    async def recreate(self) -> None:
        self._outside.log.recreate(PARTITIONS)

    async def close(self) -> None: ...


class InSqlite:
    """One file in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sources: list[SqliteSource] = []
        self.publisher = SqlitePublisher.open(folder, TOPIC, PARTITIONS)

    def source(self) -> WholeLog:
        return self._reader()

    def tail(self) -> LogTail:
        return self._reader()

    def _reader(self) -> SqliteSource:
        self._sources.append(SqliteSource(self._folder, TOPIC, lambda: NOW))
        return self._sources[-1]

    async def restart(self) -> None:
        await self.publisher.close()
        self.publisher = SqlitePublisher.open(self._folder, TOPIC, PARTITIONS)

    async def recreate(self) -> None:
        await self.publisher.close()
        path = log_path(self._folder, TOPIC)
        path.rename(path.with_suffix(".old"))  # kept, so that the new file cannot get its inode
        self.publisher = SqlitePublisher.open(self._folder, TOPIC, PARTITIONS)

    async def close(self) -> None:
        for source in self._sources:
            source.close()
        await self.publisher.close()


class Broker(Protocol):
    """Where topics live."""

    bootstrap: str

    def recreate_topic(self, topic: str, partitions: int) -> None:
        """Make the topic, empty; one of this name that exists goes first."""

    def set_session(self, group: str, seconds: float) -> None:
        """How long the place of a group's silent member is kept, under the protocol of KIP-848."""


class InKafka:
    """A topic on a broker, read in one of the ways there are."""

    def __init__(self, broker: Broker, read: "Callable[[KafkaConnection, str], KafkaSource | KafkaReader]") -> None:
        self._broker, self._read = broker, read
        self._connection = KafkaConnection(broker.bootstrap, {"fetch.wait.max.ms": "10", **LONG_SESSION})
        self._sources: list[Settled] = []
        self._broker.recreate_topic(TOPIC, PARTITIONS)
        self.publisher = KafkaPublisher(self._connection, TOPIC)

    def source(self) -> WholeLog:
        group = f"tests-{id(self)}-{len(self._sources)}"
        self._broker.set_session(group, 60.0)
        self._sources.append(Settled(self._read(self._connection, group)))
        return self._sources[-1]

    def tail(self) -> LogTail:
        return KafkaTail(self._connection, TOPIC)

    async def restart(self) -> None:
        await self.publisher.close()
        self.publisher = KafkaPublisher(self._connection, TOPIC)
        await self.ready()

    async def recreate(self) -> None:
        self._broker.recreate_topic(TOPIC, PARTITIONS)
        await self.ready()

    async def ready(self) -> None:
        """Wait until the new topic has leaders."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    return await self.publisher.probe()
                except BrokerUnavailable:
                    await asyncio.sleep(0.01)

    async def close(self) -> None:
        for source in self._sources:
            await source.close()
        await self.publisher.close()


class Settled:
    """A Kafka source whose polls begin when it has fetched what the log holds.

    The suite says what a poll brings of records that are there; over a network they are there a moment later.
    """

    def __init__(self, source: "KafkaSource | KafkaReader") -> None:
        self._source = source
        self._told: set[int] = set()
        self._joined = False

    async def poll(self, limit: int, wait: float) -> Polled:
        if not self._joined:
            self._joined = True
            return await self._source.poll(limit, PATIENCE)
        ends = await self._source.end_offsets()
        async with asyncio.timeout(PATIENCE):
            while any(self._source.fetched().get(partition, -1) < ends[partition] for partition in self._told):  # noqa: ASYNC110 -- no event tells it
                await asyncio.sleep(0.005)
        return await self._source.poll(limit, wait)

    async def seek(self, positions: Mapping[int, int]) -> None:
        self._told.update(positions)
        await self._source.seek(positions)

    async def identity(self) -> LogIdentity:
        return await self._source.identity()

    async def commit(self, positions: Mapping[int, int]) -> None:
        await self._source.commit(positions)

    async def end_offsets(self) -> Mapping[int, int]:
        return await self._source.end_offsets()

    async def begin_offsets(self) -> Mapping[int, int]:
        return await self._source.begin_offsets()

    async def lag(self, positions: Mapping[int, int]) -> Lag:
        return await self._source.lag(positions)

    async def close(self) -> None:
        await self._source.close()


def member(protocol: str) -> "Callable[[KafkaConnection, str], KafkaSource]":
    """Reading as the only member of a group."""
    return lambda connection, group: KafkaSource(connection, group, TOPIC, lambda: NOW, protocol=protocol)


def reader(connection: KafkaConnection, _group: str) -> KafkaReader:
    """Reading outside any group."""
    return KafkaReader(connection, TOPIC, lambda: NOW)


@pytest.fixture(scope="session")
def mock_cluster() -> Iterator[MockCluster]:
    """librdkafka's stand-in."""
    cluster = MockCluster()
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def topics(kafka: Kafka | GivenKafka) -> Iterator[Topics]:
    """A real broker."""
    found = Topics(kafka.bootstrap)
    yield found
    found.delete(TOPIC)


BROKERS = ("mock", "kafka")
WAYS = {"classic": member("classic"), "consumer": member("consumer"), "reader": reader}


@pytest.fixture(
    params=[
        "memory",
        "simulated-member",
        "simulated-reader",
        "sqlite",
        *(pytest.param(f"{broker}-{way}", marks=pytest.mark.process) for broker in BROKERS for way in WAYS),
    ]
)
async def log(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[EventLog]:
    """An empty topic of three partitions, on a machine that may take its time: no broker is away here."""
    give_brokers_time(monkeypatch)
    under_test: EventLog
    if request.param == "memory":
        under_test = InMemory()
    elif request.param.startswith("simulated"):
        under_test = InSimulation(alone=request.param.endswith("reader"))
    elif request.param == "sqlite":
        under_test = InSqlite(tmp_path)
    else:
        broker, way = request.param.split("-")
        name = {"mock": "mock_cluster", "kafka": "topics"}[broker]
        under_test = InKafka(request.getfixturevalue(name), WAYS[way])
        await under_test.ready()
    yield under_test
    await under_test.close()
