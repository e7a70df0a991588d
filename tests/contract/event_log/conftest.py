"""Event logs under test. A new adapter joins the suite with one more class here."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from ordering.adapters.memory.log import MemoryLog, MemoryPublisher, MemorySource
from ordering.adapters.sqlite.log import SqlitePublisher, SqliteSource, log_path
from ordering.application.ports import EventPublisher, EventSource

TOPIC = "order-events"
PARTITIONS = 3
NOW = 1_700_000_000_000_000
"""What the sources' wall clock says, in UTC microseconds."""


class EventLog(Protocol):
    """One topic with a publisher, and what a test needs to do to it from outside."""

    @property
    def publisher(self) -> EventPublisher:
        """The publisher of the process that runs now."""

    def source(self) -> EventSource:
        """A new consumer, with no assignment and no positions."""

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

    def source(self) -> EventSource:
        return MemorySource(self._log, "tests", lambda: NOW)

    async def restart(self) -> None:
        self.publisher = MemoryPublisher(self._log)

    async def recreate(self) -> None:
        self._log = MemoryLog(TOPIC, PARTITIONS, topic_id="1")
        await self.restart()

    async def close(self) -> None: ...


class InSqlite:
    """One file in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sources: list[SqliteSource] = []
        self.publisher = SqlitePublisher.open(folder, TOPIC, PARTITIONS)

    def source(self) -> EventSource:
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


@pytest.fixture(params=["memory", "sqlite"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EventLog]:
    """An empty topic of three partitions."""
    under_test: EventLog = InMemory() if request.param == "memory" else InSqlite(tmp_path)
    yield under_test
    await under_test.close()
