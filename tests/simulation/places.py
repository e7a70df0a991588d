"""Adapter sets to run the whole application on: in virtual time in memory, in real time on SQLite files."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ordering.adapters.memory.log import MemoryLog, MemoryPublisher, MemorySource
from ordering.adapters.memory.store import MemoryOrderStore
from ordering.adapters.memory.views import MemoryViews
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

    loop = staticmethod(asyncio.new_event_loop)

    def __init__(self, folder: Path, topic: str) -> None:
        self._folder, self._topic = folder, topic
        self.runtime = SystemRuntime()

    def open(self) -> None:
        self.store = SqliteOrderStore.open(self._folder / "cart.db")
        self.views = SqliteViews.open(self._folder / "view.db")
        self.publisher = SqlitePublisher.open(self._folder, self._topic, 3)
        self.source = SqliteSource(self._folder, self._topic, self.runtime.now)

    async def close(self) -> None:
        self.source.close()
        await self.publisher.close()
        await self.views.close()
        await self.store.close()


PLACES: dict[str, Callable[[Path, str], Place]] = {"memory": InMemory, "sqlite": OnSqlite}
