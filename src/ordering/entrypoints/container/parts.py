"""A service's use cases, built on the ports it is given. Providers are plain singletons, resolved once, before the
first request.
"""

import shutil
from collections.abc import Callable
from importlib.metadata import version
from random import Random
from typing import Final, Protocol

from dependency_injector import containers, providers

from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.avro.decoder import OrderEventDecoder
from ordering.adapters.system import SystemRuntime
from ordering.application.change_status import ChangeStatus
from ordering.application.commands import ChangeRecorder, IdempotencyKeys
from ordering.application.compare_log import StartCheck
from ordering.application.consume_events import EventConsumer
from ordering.application.dead_letters import HeldRecords
from ordering.application.group_commit import CommitLimits, GroupCommit
from ordering.application.group_lag import PositionLag
from ordering.application.housekeeping import Retention, Trimmer
from ordering.application.outage_gate import BacklogLimits, OutageGate
from ordering.application.place_order import PlaceOrder
from ordering.application.ports import (
    BatchWriter,
    DeadLetters,
    EventDecoder,
    EventPublisher,
    EventSource,
    Generations,
    GroupLags,
    Housekeeping,
    Journal,
    LogTail,
    OrderRepository,
    OrderViews,
    Outbox,
    ProjectionStore,
    RelayLease,
    RepublishableStore,
    Runtime,
    SchemaIds,
    StandingStore,
)
from ordering.application.queries import OrderDetails, ReadStats, TopicIds
from ordering.application.relay_limits import RelayLimits
from ordering.application.relay_outbox import OutboxRelay
from ordering.application.waiters import Waiters
from ordering.domain.generation import Randomness
from ordering.entrypoints.container.causes import CartCauses, Causes, OrderCauses
from ordering.entrypoints.http.admission import Admission, AdmissionLimits, Load
from ordering.entrypoints.http.cart_api import create_cart_app
from ordering.entrypoints.http.options import HttpOptions, Surroundings
from ordering.entrypoints.http.order_api import create_order_app
from ordering.entrypoints.http.routing import OrderingApp
from ordering.entrypoints.observe import ServiceObserver
from ordering.entrypoints.settings import Mode, Settings
from ordering.entrypoints.settings_values import mask

EVENT_SOURCE: Final = "urn:ordering:cart"
"""``ce_source`` of our events. Permanent."""

PUBLISHES_AT_ONCE: Final = 4
"""Batches under way to a broker: one slow partition leader must not hold up the others. A file takes one at a time."""


class OrderStore(
    OrderRepository,
    BatchWriter,
    Outbox,
    Journal,
    StandingStore,
    RepublishableStore,
    Housekeeping,
    RelayLease,
    Protocol,
):
    """Everything the write side asks of its store."""

    async def recorded_partitions(self, topic: str) -> int | None:
        """The count that the topic's keys are placed by; None before its first use. Raises StoreUnavailable."""


class ReadModel(ProjectionStore, OrderViews, DeadLetters, Protocol):
    """Everything the read side asks of its store."""

    def generations(self) -> Generations:
        """For a rebuild."""


class Registry(SchemaIds, Protocol):
    """Ids of our schemas for the relay, schemas of ids for the decoder."""

    async def schema_of(self, schema_id: int) -> str | None: ...


# ---------------------------------------------------------------------------------------------- how settings arrive


def _randomness(settings: Settings) -> Randomness:
    return Random(settings.seed)  # noqa: S311 -- invented customers and items are no secrets


def _commit_limits(settings: Settings) -> CommitLimits:
    return CommitLimits(settings.batch_max, settings.queue_max, settings.request_seconds)


def _gate(settings: Settings) -> OutageGate:
    limits = BacklogLimits(settings.backlog_rows, settings.backlog_seconds, settings.backlog_free_mib << 20)
    if settings.cart_database is not None:  # the database server's disk is its own business
        return OutageGate(settings.broker_outage, limits)
    return OutageGate(settings.broker_outage, limits, lambda: shutil.disk_usage(settings.cart_dir).free)


def _relay_limits(settings: Settings) -> RelayLimits:
    return RelayLimits(publishes_at_once=PUBLISHES_AT_ONCE) if _in_cluster(settings) else RelayLimits()


def _in_cluster(settings: Settings) -> bool:
    return settings.effective_mode is Mode.CLUSTER


def _retention(settings: Settings) -> Retention:
    return Retention(settings.idempotency_hours * 3_600, settings.journal_days * 86_400)


def _http_options(settings: Settings, service: str) -> HttpOptions:
    return HttpOptions(
        service=service,
        version=version("ordering"),
        broker=(settings.kafka_bootstrap_servers or "") if _in_cluster(settings) else "built-in log",
        registry=mask(settings.schema_registry_url or "") if _in_cluster(settings) else "built-in registry",
        topic=settings.topic,
        group=settings.consumer_group,
        default_currency=settings.default_currency,
        cors_origins=settings.cors_origins,
        allowed_hosts=settings.allowed_hosts,
    )


def _surroundings(causes: Causes, observer: ServiceObserver, runtime: Runtime) -> Surroundings:
    return Surroundings(
        causes,
        observer.page.text,
        runtime.new_id,
        observer.request_failed,
        observer.answered,
        observer.serves,
    )


def _admission(
    app: OrderingApp, settings: Settings, load: Load, runtime: Runtime, observer: ServiceObserver
) -> Admission:
    limits = AdmissionLimits(settings.admission_max, settings.admission_seconds)
    return Admission(app, limits, load, runtime.new_id, lambda: observer.counted("http_refused"))


# ---------------------------------------------------------------------------------------------- the containers


class Common(containers.DeclarativeContainer):
    """What both services need, whatever the mode."""

    settings: providers.Provider[Settings] = providers.Dependency(instance_of=Settings)
    observer: providers.Provider[ServiceObserver] = providers.Dependency(instance_of=ServiceObserver)
    runtime: providers.Provider[Runtime] = providers.Singleton(SystemRuntime)
    registry: providers.Provider[Registry] = providers.Dependency()
    codec: providers.Provider[OrderCodec] = providers.Singleton(OrderCodec)
    decoder: providers.Provider[EventDecoder] = providers.Singleton(OrderEventDecoder, registry, codec)


class Cart(Common):
    """The service that takes orders."""

    settings, observer, runtime, codec = Common.settings, Common.observer, Common.runtime, Common.codec
    registry, decoder = Common.registry, Common.decoder
    topic = settings.provided.topic
    store: providers.Provider[OrderStore] = providers.Dependency()
    publisher: providers.Provider[EventPublisher] = providers.Dependency()
    log_tail: providers.Provider[LogTail] = providers.Dependency()
    group_lags: providers.Provider[GroupLags] = providers.Dependency()  # of those who follow the events

    gate: providers.Provider[OutageGate] = providers.Singleton(_gate, settings)
    relay: providers.Provider[OutboxRelay] = providers.Singleton(
        OutboxRelay,
        store,
        publisher,
        registry,
        store,
        gate,
        runtime,
        observer,
        topic,
        codec.provided.schema,
        providers.Singleton(_relay_limits, settings),
        providers.Singleton(StartCheck, log_tail, decoder, store, observer, EVENT_SOURCE),
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

    causes: providers.Provider[Causes] = providers.Singleton(CartCauses, gate, commit, relay)
    surroundings: providers.Provider[Surroundings] = providers.Singleton(_surroundings, causes, observer, runtime)
    options: providers.Provider[HttpOptions] = providers.Singleton(_http_options, settings, "CartService")
    app: providers.Provider[OrderingApp] = providers.Singleton(
        create_cart_app, place_order, change_status, options, surroundings
    )
    admitted: providers.Provider[Admission] = providers.Singleton(
        _admission,
        app,
        settings,
        providers.Singleton(lambda commit: Load(store_age=commit.oldest_seconds), commit),
        runtime,
        observer,
    )


class Order(Common):
    """The service that follows the events and answers queries."""

    settings, observer, runtime, codec = Common.settings, Common.observer, Common.runtime, Common.codec
    decoder = Common.decoder
    topic = settings.provided.topic
    views: providers.Provider[ReadModel] = providers.Dependency()
    source: providers.Provider[EventSource] = providers.Dependency()
    log_view: providers.Provider[EventSource] = providers.Dependency()  # the consumer's holds its positions

    waiters: providers.Provider[Waiters] = providers.Singleton(Waiters, runtime, settings.provided.waiters_max)
    held: providers.Provider[HeldRecords] = providers.Singleton(HeldRecords, views, decoder, runtime, topic)
    consumer: providers.Provider[EventConsumer] = providers.Singleton(
        EventConsumer, source, decoder, views, held, waiters, runtime, observer, topic
    )

    order_details: providers.Provider[OrderDetails] = providers.Singleton(
        OrderDetails, views, codec, waiters, runtime, settings.provided.shipping_rate
    )
    topic_ids: providers.Provider[TopicIds] = providers.Singleton(TopicIds, views, log_view, waiters, runtime, topic)
    read_stats: providers.Provider[ReadStats] = providers.Singleton(ReadStats, views, log_view, topic)

    group_lags: providers.Provider[GroupLags] = providers.Singleton(
        PositionLag, settings.provided.consumer_group, topic, views.provided.positions, log_view
    )

    causes: providers.Provider[Causes] = providers.Singleton(OrderCauses, consumer, log_view, waiters, settings)
    surroundings: providers.Provider[Surroundings] = providers.Singleton(_surroundings, causes, observer, runtime)
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
    admitted: providers.Provider[Admission] = providers.Singleton(
        _admission,
        app,
        settings,
        providers.Singleton(lambda waiters: Load(waiting=lambda: waiters.count), waiters),
        runtime,
        observer,
    )


# ---------------------------------------------------------------------------------------------- making them


def cart_of(
    settings: Settings,
    observer: ServiceObserver,
    *,
    registry: Callable[[], Registry],
    store: Callable[[], OrderStore],
    publisher: Callable[[], EventPublisher],
    log_tail: Callable[[], LogTail],
    group_lags: Callable[[], GroupLags],
) -> Cart:
    """The cart service on these adapters, each made when it is first needed."""
    return Cart(
        settings=settings,
        observer=observer,
        registry=providers.Singleton(registry),
        store=providers.Singleton(store),
        publisher=providers.Singleton(publisher),
        log_tail=providers.Singleton(log_tail),
        group_lags=providers.Singleton(group_lags),
    )


def order_of(
    settings: Settings,
    observer: ServiceObserver,
    *,
    registry: Callable[[], Registry],
    views: Callable[[], ReadModel],
    source: Callable[[], EventSource],
    log_view: Callable[[], EventSource],
) -> Order:
    """The order service on these adapters, each made when it is first needed."""
    return Order(
        settings=settings,
        observer=observer,
        registry=providers.Singleton(registry),
        views=providers.Singleton(views),
        source=providers.Singleton(source),
        log_view=providers.Singleton(log_view),
    )
