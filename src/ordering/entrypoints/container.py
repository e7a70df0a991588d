"""The composition root: the only file that knows adapters and dependency-injector.

``Cart`` and ``Order`` build a service's use cases on the ports they are given; ``embedded_cart``, ``embedded_order``
and ``memory`` give them adapters. A process resolves only its own part: `serve cart` opens the order store and writes
the log, `serve order` opens the read model and reads the log. Providers are plain singletons, resolved once, before
the first request.
"""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Final, Protocol, TypeVar

from dependency_injector import containers, providers

from ordering.adapters.avro import rules
from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.avro.decoder import OrderEventDecoder
from ordering.adapters.avro.registry import BuiltInRegistry
from ordering.adapters.memory.log import MemoryLog, MemoryPublisher, MemorySource
from ordering.adapters.memory.store import MemoryOrderStore
from ordering.adapters.memory.views import MemoryViews
from ordering.adapters.sqlite.database import Refused
from ordering.adapters.sqlite.log import SqlitePublisher, SqliteSource
from ordering.adapters.sqlite.store import SqliteOrderStore
from ordering.adapters.sqlite.views import SqliteViews
from ordering.adapters.system import SystemRuntime
from ordering.application.change_status import ChangeStatus
from ordering.application.commands import ChangeRecorder, IdempotencyKeys
from ordering.application.consume_events import EventConsumer
from ordering.application.dead_letters import HeldRecords
from ordering.application.group_commit import CommitLimits, GroupCommit
from ordering.application.housekeeping import Retention, Trimmer
from ordering.application.outage_gate import BacklogLimits, OutageGate
from ordering.application.place_order import PlaceOrder
from ordering.application.ports import (
    BatchWriter,
    DeadLetters,
    EventDecoder,
    EventPublisher,
    EventSource,
    Housekeeping,
    Journal,
    OrderRepository,
    OrderViews,
    Outbox,
    ProjectionStore,
    RelayLease,
    Runtime,
    SchemaIds,
)
from ordering.application.queries import OrderDetails, ReadStats, TopicIds
from ordering.application.relay_outbox import OutboxRelay
from ordering.application.waiters import Waiters
from ordering.domain.generation import Randomness
from ordering.entrypoints.http.cart_api import create_cart_app
from ordering.entrypoints.http.options import HttpOptions, Surroundings
from ordering.entrypoints.http.order_api import create_order_app
from ordering.entrypoints.http.routing import OrderingApp
from ordering.entrypoints.observe import ServiceObserver
from ordering.entrypoints.service import Service
from ordering.entrypoints.settings import Settings

REFUSALS: Final = (Refused,)
"""What an adapter raises, with one line for people, when a process must not start."""

CART_FILE: Final = "cart.db"
VIEW_FILE: Final = "view.db"
EVENT_SOURCE: Final = "urn:ordering:cart"
"""``ce_source`` of our events. Permanent."""


class OrderStore(OrderRepository, BatchWriter, Outbox, Journal, Housekeeping, RelayLease, Protocol):
    """Everything the write side asks of its store."""


class ReadModel(ProjectionStore, OrderViews, DeadLetters, Protocol):
    """Everything the read side asks of its store."""


# ---------------------------------------------------------------------------------------------- how settings arrive


def _randomness(settings: Settings) -> Randomness:
    return Random(settings.seed)  # noqa: S311 -- invented customers and items are no secrets


def _commit_limits(settings: Settings) -> CommitLimits:
    return CommitLimits(settings.batch_max, settings.queue_max, settings.request_seconds)


def _gate(settings: Settings) -> OutageGate:
    limits = BacklogLimits(settings.backlog_rows, settings.backlog_seconds, settings.backlog_free_mib << 20)
    return OutageGate(settings.broker_outage, limits, lambda: shutil.disk_usage(settings.cart_dir).free)


def _retention(settings: Settings) -> Retention:
    return Retention(settings.idempotency_hours * 3_600, settings.journal_days * 86_400)


def _http_options(settings: Settings, service: str) -> HttpOptions:
    return HttpOptions(
        service=service,
        version=version("ordering"),
        broker="built-in log",
        registry="built-in registry",
        topic=settings.topic,
        group=settings.consumer_group,
        default_currency=settings.default_currency,
        cors_origins=settings.cors_origins,
        allowed_hosts=settings.allowed_hosts,
    )


def _surroundings(causes: Callable[[], Sequence[str]], observer: ServiceObserver, runtime: Runtime) -> Surroundings:
    async def ask() -> Sequence[str]:
        return causes()

    return Surroundings(ask, observer.metrics, runtime.new_id, observer.request_failed, observer.answered)


# ---------------------------------------------------------------------------------------------- the containers


class Common(containers.DeclarativeContainer):
    """What both services need, whatever the mode."""

    settings: providers.Provider[Settings] = providers.Dependency(instance_of=Settings)
    observer: providers.Provider[ServiceObserver] = providers.Dependency(instance_of=ServiceObserver)
    runtime: providers.Provider[Runtime] = providers.Singleton(SystemRuntime)
    registry: providers.Provider[BuiltInRegistry] = providers.Singleton(BuiltInRegistry)
    codec: providers.Provider[OrderCodec] = providers.Singleton(OrderCodec)
    decoder: providers.Provider[EventDecoder] = providers.Singleton(OrderEventDecoder, registry, codec)


class Cart(Common):
    """The service that takes orders."""

    settings, observer, runtime, codec = Common.settings, Common.observer, Common.runtime, Common.codec
    topic = settings.provided.topic
    store: providers.Provider[OrderStore] = providers.Dependency()
    publisher: providers.Provider[EventPublisher] = providers.Dependency()
    schema_ids: providers.Provider[SchemaIds] = providers.Singleton(lambda registry: registry, Common.registry)

    gate: providers.Provider[OutageGate] = providers.Singleton(_gate, settings)
    relay: providers.Provider[OutboxRelay] = providers.Singleton(
        OutboxRelay, store, publisher, schema_ids, store, gate, runtime, observer, topic, codec.provided.schema
    )
    commit: providers.Provider[GroupCommit] = providers.Singleton(
        GroupCommit, store, runtime, observer, relay.provided.offer, providers.Singleton(_commit_limits, settings)
    )
    trimmer: providers.Provider[Trimmer] = providers.Singleton(
        Trimmer, store, runtime, providers.Singleton(_retention, settings)
    )

    keys: providers.Provider[IdempotencyKeys] = providers.Singleton(IdempotencyKeys, store)
    recorder: providers.Provider[ChangeRecorder] = providers.Singleton(
        ChangeRecorder, codec, runtime, topic, EVENT_SOURCE
    )
    random: providers.Provider[Randomness] = providers.Singleton(_randomness, settings)
    place_order: providers.Provider[PlaceOrder] = providers.Singleton(
        PlaceOrder, store, commit, gate, keys, recorder, random
    )
    change_status: providers.Provider[ChangeStatus] = providers.Singleton(
        ChangeStatus, store, commit, gate, keys, recorder, codec
    )

    surroundings: providers.Provider[Surroundings] = providers.Singleton(
        lambda gate, commit, observer, runtime: _surroundings(lambda: _cart_causes(gate, commit), observer, runtime),
        gate,
        commit,
        observer,
        runtime,
    )
    options: providers.Provider[HttpOptions] = providers.Singleton(_http_options, settings, "CartService")
    app: providers.Provider[OrderingApp] = providers.Singleton(
        create_cart_app, place_order, change_status, options, surroundings
    )


class Order(Common):
    """The service that follows the events and answers queries."""

    settings, observer, runtime, codec = Common.settings, Common.observer, Common.runtime, Common.codec
    decoder = Common.decoder
    topic = settings.provided.topic
    views: providers.Provider[ReadModel] = providers.Dependency()
    source: providers.Provider[EventSource] = providers.Dependency()
    log_view: providers.Provider[EventSource] = providers.Dependency()  # the consumer's holds its positions

    waiters: providers.Provider[Waiters] = providers.Singleton(Waiters, runtime)
    held: providers.Provider[HeldRecords] = providers.Singleton(HeldRecords, views, decoder, runtime, topic)
    consumer: providers.Provider[EventConsumer] = providers.Singleton(
        EventConsumer, source, decoder, views, held, waiters, runtime, observer, topic
    )

    order_details: providers.Provider[OrderDetails] = providers.Singleton(
        OrderDetails, views, codec, waiters, runtime, settings.provided.shipping_rate
    )
    topic_ids: providers.Provider[TopicIds] = providers.Singleton(TopicIds, views, log_view, waiters, runtime, topic)
    read_stats: providers.Provider[ReadStats] = providers.Singleton(ReadStats, views, log_view, topic)

    surroundings: providers.Provider[Surroundings] = providers.Singleton(
        lambda consumer, observer, runtime: _surroundings(lambda: _order_causes(consumer), observer, runtime),
        consumer,
        observer,
        runtime,
    )
    options: providers.Provider[HttpOptions] = providers.Singleton(_http_options, settings, "OrderService")
    app: providers.Provider[OrderingApp] = providers.Singleton(
        create_order_app,
        order_details,
        topic_ids,
        read_stats,
        options,
        surroundings,
        providers.Singleton(lambda consumer: lambda: consumer.trouble is None, consumer),
    )


def _cart_causes(gate: OutageGate, commit: GroupCommit) -> Sequence[str]:
    return [cause for cause in (gate.closed, commit.trouble) if cause is not None]


def _order_causes(consumer: EventConsumer) -> Sequence[str]:
    return [consumer.trouble] if consumer.trouble is not None else []


# ---------------------------------------------------------------------------------------------- adapters


def embedded_cart(settings: Settings, observer: ServiceObserver, exits: AsyncExitStack) -> Cart:
    """The cart service on files: it alone writes the order store and the log."""
    return Cart(
        settings=settings,
        observer=observer,
        store=providers.Singleton(_opened, exits, SqliteOrderStore.open, settings.cart_dir / CART_FILE),
        publisher=providers.Singleton(
            _opened, exits, SqlitePublisher.open, settings.log_dir, settings.topic, settings.partitions
        ),
    )


def embedded_order(settings: Settings, observer: ServiceObserver, exits: AsyncExitStack) -> Order:
    """The order service on files: it alone writes the read model, and reads the log."""
    return Order(
        settings=settings,
        observer=observer,
        views=providers.Singleton(_opened, exits, SqliteViews.open, settings.order_dir / VIEW_FILE),
        source=providers.Singleton(_source, exits, settings),
        log_view=providers.Singleton(_source, exits, settings),
    )


def memory(settings: Settings, observer: ServiceObserver) -> tuple[Cart, Order]:
    """Both services in one process, for tests: nothing outlives it."""
    log = MemoryLog(settings.topic, settings.partitions)
    source = providers.Factory(MemorySource, log, settings.consumer_group, SystemRuntime().now)
    return (
        Cart(
            settings=settings,
            observer=observer,
            store=providers.Singleton(MemoryOrderStore),
            publisher=providers.Singleton(MemoryPublisher, log),
        ),
        Order(
            settings=settings,
            observer=observer,
            views=providers.Singleton(MemoryViews),
            source=providers.Singleton(source),
            log_view=providers.Singleton(source),
        ),
    )


class _Closable(Protocol):
    async def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)


def _opened(exits: AsyncExitStack, opening: Callable[..., C], *arguments: object, **named: object) -> C:
    """Open something now, and close it with everything else that was opened."""
    opened = opening(*arguments, **named)
    exits.push_async_callback(opened.close)
    return opened


def _source(exits: AsyncExitStack, settings: Settings) -> SqliteSource:
    source = SqliteSource(settings.log_dir, settings.topic, SystemRuntime().now)
    exits.callback(source.close)
    return source


# ---------------------------------------------------------------------------------------------- services


def service(part: str, settings: Settings, observer: ServiceObserver) -> Service:
    """One embedded service, opened but not running. Raises one of REFUSALS, or StoreUnavailable."""
    exits = AsyncExitStack()
    if part == "cart":
        return cart_service(embedded_cart(settings, observer, exits), exits)
    return order_service(embedded_order(settings, observer, exits), exits)


def cart_service(cart: Cart, exits: AsyncExitStack) -> Service:
    """Committer, relay and trimmer beside the HTTP app; a stop stores what is queued and publishes what is stored."""
    commit, relay = cart.commit(), cart.relay()
    return Service(
        app=cart.app(),
        loops={"committer": commit.run, "relay": relay.run, "trimmer": cart.trimmer().run},
        finishing=frozenset({"committer"}),
        stop=commit.stop,
        drain=relay.drain,
        farewell=cart.store().release,
        exits=exits,
    )


def order_service(order: Order, exits: AsyncExitStack) -> Service:
    """The consumer beside the HTTP app. It may stop at any moment: rows and positions move together."""

    async def consume() -> None:
        await consumer.run()
        # Halted: the log is not the one this read model was filled from. What it has still answers, readiness says
        # why it goes no further, and only people can decide what to do.
        await asyncio.Event().wait()

    async def nothing_waits(_seconds: float) -> bool:
        return True

    async def no_farewell() -> None:
        return

    consumer = order.consumer()
    return Service(
        app=order.app(),
        loops={"consumer": consume},
        finishing=frozenset(),
        stop=order.waiters().stop,
        drain=nothing_waits,
        farewell=no_farewell,
        exits=exits,
    )


# ---------------------------------------------------------------------------------------------- tools


class Tools:
    """What commands look at and repair, beside running services; each part is opened when it is first asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._exits = AsyncExitStack()
        self._runtime = SystemRuntime()
        self.codec = OrderCodec()
        self.decoder: EventDecoder = OrderEventDecoder(BuiltInRegistry(), self.codec)

    async def close(self) -> None:
        """Close what was opened."""
        await self._exits.aclose()

    @cached_property
    def store(self) -> OrderStore:
        """The order store; there must be one."""
        return _opened(
            self._exits, SqliteOrderStore.open, _existing(self._settings.cart_dir / CART_FILE), exclusive=False
        )

    @cached_property
    def views(self) -> ReadModel:
        """The read model; there must be one."""
        return _opened(self._exits, SqliteViews.open, _existing(self._settings.order_dir / VIEW_FILE), exclusive=False)

    @cached_property
    def held(self) -> HeldRecords:
        """Release and discard."""
        return HeldRecords(self.views, self.decoder, self._runtime, self._settings.topic)

    @cached_property
    def source(self) -> EventSource:
        """The log."""
        return _source(self._exits, self._settings)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise Refused(f"there is no {path}: no service has run on this data folder yet")
    return path


check_schemas = rules.check
