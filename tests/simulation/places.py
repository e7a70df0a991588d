"""Adapter sets to run the whole application on: virtual time in memory, real time on SQLite files or PostgreSQL."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ordering.adapters.memory.log import MemoryLog, MemoryPublisher, MemorySource
from ordering.adapters.memory.store import MemoryOrderStore
from ordering.adapters.memory.views import MemoryViews
from ordering.adapters.postgres.store import PostgresOrderStore
from ordering.adapters.postgres.views import PostgresViews
from ordering.adapters.sqlite.log import SqlitePublisher, SqliteSource
from ordering.adapters.sqlite.store import SqliteOrderStore
from ordering.adapters.sqlite.views import SqliteViews
from ordering.adapters.system.runtime import SystemRuntime
from ordering.application.ports import (
    BatchWriter,
    DeadLetters,
    EventPublisher,
    EventSource,
    Journal,
    OrderRepository,
    OrderViews,
    Outbox,
    ProjectionStore,
    RelayLease,
    Runtime,
)
from tests.unit.application.runtime import VirtualLoop, VirtualRuntime


class Store(OrderRepository, BatchWriter, Outbox, Journal, RelayLease, Protocol):
    """The write side's ports."""


class Views(ProjectionStore, OrderViews, DeadLetters, Protocol):
    """The read side's ports."""


class ClosableStore(Store, Protocol):
    """A store with connections or files."""

    async def close(self) -> None: ...


class ClosableViews(Views, Protocol):
    """Views with connections or files."""

    async def close(self) -> None: ...


class Place(Protocol):
    """Where a system keeps its data. ``open`` and ``close`` are one life; the data outlives it."""

    store: Store
    views: Views
    publisher: EventPublisher
    source: EventSource
    runtime: Runtime
    loop: Callable[[], asyncio.AbstractEventLoop]

    def open(self) -> None: ...

    async def close(self) -> None: ...


class InMemory:
    """The objects stand for the disk; only the source is a life's own."""

    loop = VirtualLoop

    def __init__(self, _folder: Path, topic: str) -> None:
        self.store, self.views = MemoryOrderStore(), MemoryViews()
        self.runtime = VirtualRuntime()
        self._log = MemoryLog(topic, 3)

    def open(self) -> None:
        self.publisher = MemoryPublisher(self._log)
        self.source = MemorySource(self._log, "group", self.runtime.now)

    async def close(self) -> None:
        """Nothing to close."""


class OnSqlite:
    """Three files in a folder, opened anew in every life."""

    store: ClosableStore
    views: ClosableViews
    loop = staticmethod(asyncio.new_event_loop)

    def __init__(self, folder: Path, topic: str) -> None:
        self._folder, self._topic = folder, topic
        self.runtime = SystemRuntime()

    def open(self) -> None:
        self.store, self.views = self._stores()
        self.publisher = SqlitePublisher.open(self._folder, self._topic, 3)
        self.source = SqliteSource(self._folder, self._topic, self.runtime.now)

    def _stores(self) -> tuple[ClosableStore, ClosableViews]:
        return SqliteOrderStore.open(self._folder / "cart.db"), SqliteViews.open(self._folder / "view.db")

    async def close(self) -> None:
        self.source.close()
        await self.publisher.close()
        await self.views.close()
        await self.store.close()


class OnPostgres(OnSqlite):
    """Stores in an empty database; the log is still a file in a folder."""

    def __init__(self, folder: Path, topic: str, url: str) -> None:
        super().__init__(folder, topic)
        self._url = url

    def _stores(self) -> tuple[ClosableStore, ClosableViews]:
        return PostgresOrderStore(self._url), PostgresViews(self._url)


PLACES: dict[str, Callable[[Path, str], Place]] = {"memory": InMemory, "sqlite": OnSqlite}
