"""The system as ``ordering doctor`` looks at it: the parts the settings name, opened so that nothing is changed."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import attrs

from ordering.adapters.sqlite.files import sqlite_build
from ordering.application.compare_log import StartCheck
from ordering.application.messages import OutboxSummary
from ordering.application.ports import EventSource, LogTail, StandingStore
from ordering.entrypoints.container import embedded
from ordering.entrypoints.container.opening import extra, opened
from ordering.entrypoints.container.parts import EVENT_SOURCE, ReadModel
from ordering.entrypoints.container.tools import Tools
from ordering.entrypoints.settings import Mode, Settings

if TYPE_CHECKING:
    from ordering.adapters.avro.subjects import Comparison
    from ordering.adapters.kafka.topics import TopicState
    from ordering.adapters.postgres.store import PostgresOrderStore


__all__ = ["Inspection", "StoreFacts", "inspection", "sqlite_build"]


class LookedAtStore(Protocol):
    """The order store, as far as it is looked at. Raises StoreUnavailable."""

    async def summary(self) -> OutboxSummary: ...

    async def recorded_partitions(self, topic: str) -> int | None: ...


@attrs.frozen
class StoreFacts:
    """The order store at this moment. ``clock_ahead`` is how many seconds the database's clock is ahead of ours; None
    where there is only one clock."""

    outbox: OutboxSummary
    partitions: int | None
    clock_ahead: float | None


class Inspection:
    """One look at the parts; each is opened when it is asked for and closed with the rest."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._exits = AsyncExitStack()

    async def store(self) -> StoreFacts:
        """Raises Refused, StoreUnavailable."""
        topic, server = self._settings.topic, await self._server()
        if server is None:
            found: LookedAtStore = embedded.order_store_to_look_at(self._settings, self._exits)
            return StoreFacts(await found.summary(), await found.recorded_partitions(topic), None)
        before = time.time()
        told = await server.time() / 1_000_000
        ahead = told - (before + time.time()) / 2
        return StoreFacts(await server.summary(), await server.recorded_partitions(topic), ahead)

    async def history(self) -> None:
        """Whether the order store knows the newest events of the log, as the cart service asks at its start. Raises
        StoreBehindLog if not; Refused, StoreUnavailable, BrokerUnavailable."""
        store: StandingStore = await self._server() or embedded.order_store_to_look_at(self._settings, self._exits)
        if self._settings.effective_mode is Mode.EMBEDDED:
            tail: LogTail = embedded.log_to_look_at(self._settings, self._exits)
        else:
            with extra("kafka"):
                from ordering.entrypoints.container import cluster  # noqa: PLC0415 -- its drivers are extras

            tail = cluster.log_tail(self._settings)
        tools = Tools(self._settings)
        self._exits.push_async_callback(tools.close)
        await StartCheck(tail, tools.decoder, store, None, EVENT_SOURCE)()

    async def _server(self) -> "PostgresOrderStore | None":
        """The order store, if it is on a server. Raises Refused, StoreUnavailable."""
        url = self._settings.cart_database
        if url is None:
            return None
        with extra("postgres"):
            from ordering.adapters.postgres.store import PostgresOrderStore  # noqa: PLC0415 -- its driver is an extra

        server = opened(self._exits, PostgresOrderStore, url)
        await server.open()
        return server

    async def views(self) -> ReadModel:
        """Raises Refused, StoreUnavailable."""
        url = self._settings.order_database
        if url is None:
            return embedded.read_model_to_look_at(self._settings, self._exits)
        with extra("postgres"):
            from ordering.adapters.postgres.views import PostgresViews  # noqa: PLC0415 -- its driver is an extra

        server = opened(self._exits, PostgresViews, url)
        await server.open()
        return server

    def log(self) -> EventSource:
        """All partitions of the log. Raises NothingYet."""
        if self._settings.effective_mode is Mode.EMBEDDED:
            return embedded.log_to_look_at(self._settings, self._exits)
        with extra("kafka"):
            from ordering.entrypoints.container import cluster  # noqa: PLC0415 -- its drivers are extras

        return cluster.log_reader(self._settings, self._exits)

    async def topic(self) -> "TopicState | None":
        """The topic at the brokers, None if there is none. Raises BrokerUnavailable, Refused."""
        with extra("kafka"):
            from ordering.adapters.kafka import topics  # noqa: PLC0415 -- its driver is an extra
            from ordering.entrypoints.container import cluster  # noqa: PLC0415 -- the same

        connection = cluster.connection(self._settings)
        connection.check()
        return await topics.describe(connection, self._settings.topic)

    async def schemas(self) -> "Comparison":
        """The registry against the released schemas. Raises RegistryUnavailable, Refused."""
        with extra("kafka"):
            from ordering.entrypoints.container import registry  # noqa: PLC0415 -- its driver is an extra

        subjects = registry.schema_subjects(self._settings)
        self._exits.push_async_callback(subjects.close)
        return await subjects.compare()

    async def close(self) -> None:
        """Close what was opened."""
        await self._exits.aclose()


@asynccontextmanager
async def inspection(settings: Settings) -> AsyncIterator[Inspection]:
    """One look, closed at its end."""
    look = Inspection(settings)
    try:
        yield look
    finally:
        await look.close()
