"""The cluster mode: Kafka, a schema registry, and stores in PostgreSQL or (one instance only) in SQLite files.

Imported only in this mode, because its drivers are extras of the package; PostgreSQL's only with such a URL.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Protocol, TypeVar

from ordering.adapters.avro.confluent import ConfluentRegistry
from ordering.adapters.kafka.connection import KafkaConnection
from ordering.adapters.kafka.group_lag import KafkaGroupLag
from ordering.adapters.kafka.newest import KafkaTail
from ordering.adapters.kafka.publisher import KafkaPublisher
from ordering.adapters.kafka.source import KafkaReader, KafkaSource
from ordering.adapters.system import SystemRuntime
from ordering.entrypoints.container import embedded
from ordering.entrypoints.container.opening import Closable, Opening, extra, naming, opened
from ordering.entrypoints.container.parts import Cart, Order, OrderStore, ReadModel, cart_of, order_of
from ordering.entrypoints.container.registry import registry_api
from ordering.entrypoints.observe import ServiceObserver
from ordering.entrypoints.settings import Settings

if TYPE_CHECKING:
    from ordering.adapters.postgres.store import PostgresOrderStore
    from ordering.adapters.postgres.views import PostgresViews


def cluster_cart(settings: Settings, observer: ServiceObserver, exits: AsyncExitStack) -> tuple[Cart, Opening]:
    """The cart service on Kafka and its store, and what has to be opened before it runs."""
    connection(settings).check()
    store, opening = _stored(exits, settings.cart_database, lambda: embedded.order_store(settings, exits), _order_store)
    cart = cart_of(
        settings,
        observer,
        registry=lambda: registry(settings, exits),
        store=store,
        publisher=lambda: opened(
            exits,
            KafkaPublisher,
            connection(settings),
            settings.topic,
            replaced=lambda reason: observer.alarmed("producer.replaced", topic=settings.topic, reason=reason),
        ),
        log_tail=lambda: log_tail(settings),
        group_lags=lambda: opened(
            exits,
            KafkaGroupLag,
            connection(settings),
            settings.lag_groups,
            settings.topic,
            SystemRuntime().now,
        ),
    )
    return cart, opening


def cluster_order(settings: Settings, observer: ServiceObserver, exits: AsyncExitStack) -> tuple[Order, Opening]:
    """The order service in its consumer group, and what has to be opened before it runs."""
    connection(settings).check()
    views, opening = _stored(exits, settings.order_database, lambda: embedded.read_model(settings, exits), _read_model)
    order = order_of(
        settings,
        observer,
        registry=lambda: registry(settings, exits),
        views=views,
        source=lambda: opened(
            exits,
            KafkaSource,
            connection(settings),
            settings.consumer_group,
            settings.topic,
            SystemRuntime().now,
            protocol=settings.kafka_group_protocol.value,
            instance_id=settings.kafka_group_instance_id,
        ),
        log_view=lambda: log_reader(settings, exits),
    )
    return order, opening


class _Server(Closable, Protocol):
    """A store on a server: asked first whether it keeps what it acknowledges, and whether its schema fits."""

    async def open(self) -> None: ...


F = TypeVar("F")
S = TypeVar("S", bound=_Server)


def _stored(
    exits: AsyncExitStack, url: str | None, file: Callable[[], F], server: Callable[[str], S]
) -> tuple[Callable[[], F] | Callable[[], S], Opening]:
    """A store in a file, open when it is made, or on the server at ``url``."""
    if url is None:
        return file, ()
    store = opened(exits, server, url)

    async def opening() -> None:
        async with naming(url):
            await store.open()

    return lambda: store, (opening,)


def _order_store(url: str) -> "PostgresOrderStore":
    with extra("postgres"):
        from ordering.adapters.postgres.store import PostgresOrderStore  # noqa: PLC0415 -- its driver is an extra

    return PostgresOrderStore(url)


def _read_model(url: str) -> "PostgresViews":
    with extra("postgres"):
        from ordering.adapters.postgres.views import PostgresViews  # noqa: PLC0415 -- its driver is an extra

    return PostgresViews(url)


def order_store(url: str, exits: AsyncExitStack) -> OrderStore:
    """The order store beside running services, for tools."""
    return opened(exits, _order_store, url)


def read_model(url: str, exits: AsyncExitStack) -> ReadModel:
    """The read model beside running services, for tools."""
    return opened(exits, _read_model, url)


def connection(settings: Settings) -> KafkaConnection:
    """How the brokers are reached."""
    return KafkaConnection(settings.kafka_bootstrap_servers or "", settings.kafka_options)


def registry(settings: Settings, exits: AsyncExitStack) -> ConfluentRegistry:
    """The client of the schema registry."""
    return opened(
        exits,
        ConfluentRegistry,
        registry_api(settings),
        settings.topic,
        auto_register=settings.schema_registry_auto_register,
    )


def log_tail(settings: Settings) -> KafkaTail:
    """The newest events of the topic."""
    return KafkaTail(connection(settings), settings.topic)


def log_reader(settings: Settings, exits: AsyncExitStack) -> KafkaReader:
    """A reader of the whole topic that is no member of any group."""
    return opened(exits, KafkaReader, connection(settings), settings.topic, SystemRuntime().now)
