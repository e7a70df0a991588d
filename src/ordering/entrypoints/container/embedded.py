"""The embedded mode: log, order store and read model in SQLite files of one folder; and what tools open of them."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from ordering.adapters.avro.registry import BuiltInRegistry
from ordering.adapters.sqlite.database import open_reader
from ordering.adapters.sqlite.log import SCHEMA_VERSION as LOG_VERSION
from ordering.adapters.sqlite.log import SqlitePublisher, SqliteSource, log_path, was_begun
from ordering.adapters.sqlite.positions import SqlitePositions
from ordering.adapters.sqlite.store import SqliteOrderStore, has_published_to
from ordering.adapters.sqlite.views import SqliteViews
from ordering.adapters.system import SystemRuntime
from ordering.application.failures import Refused
from ordering.application.group_lag import PositionLag
from ordering.entrypoints.container.opening import opened
from ordering.entrypoints.container.parts import Cart, Order, cart_of, order_of
from ordering.entrypoints.observe import ServiceObserver
from ordering.entrypoints.settings import Mode, Settings

CART_FILE: Final = "cart.db"
VIEW_FILE: Final = "view.db"


def embedded_cart(settings: Settings, observer: ServiceObserver, exits: AsyncExitStack) -> Cart:
    """The cart service on files: it alone writes the order store and the log."""
    return cart_of(
        settings,
        observer,
        registry=BuiltInRegistry,
        store=lambda: order_store(settings, exits),
        publisher=lambda: event_log(settings, exits),
        log_tail=lambda: log_source(settings, exits),
        group_lags=lambda: PositionLag(
            settings.consumer_group,
            settings.topic,
            SqlitePositions(settings.order_dir / VIEW_FILE).positions,
            log_source(settings, exits),
        ),
    )


def embedded_order(settings: Settings, observer: ServiceObserver, exits: AsyncExitStack) -> Order:
    """The order service on files: it alone writes the read model, and reads the log."""
    return order_of(
        settings,
        observer,
        registry=BuiltInRegistry,
        views=lambda: read_model(settings, exits),
        source=lambda: log_source(settings, exits),
        log_view=lambda: log_source(settings, exits),
    )


def order_store(settings: Settings, exits: AsyncExitStack) -> SqliteOrderStore:
    """The service's own order store: nobody else may write it."""
    return opened(exits, SqliteOrderStore.open, settings.cart_dir / CART_FILE)


def event_log(settings: Settings, exits: AsyncExitStack) -> SqlitePublisher:
    """The service's own log: nobody else may write it. Raises Refused, also where a log was that is gone: in a new one
    every order's history would begin in its middle."""
    refuse_lost_log(settings)
    return opened(exits, SqlitePublisher.open, settings.log_dir, settings.topic, settings.partitions)


def read_model(settings: Settings, exits: AsyncExitStack) -> SqliteViews:
    """The service's own read model: nobody else may write it."""
    return opened(exits, SqliteViews.open, settings.order_dir / VIEW_FILE)


def log_source(settings: Settings, exits: AsyncExitStack, *, traceless: bool = False) -> SqliteSource:
    """A reader of the log with positions of its own; a ``traceless`` one leaves nothing beside the file."""
    source = SqliteSource(settings.log_dir, settings.topic, SystemRuntime().now, traceless=traceless)
    exits.callback(source.close)
    return source


def existing_order_store(settings: Settings, exits: AsyncExitStack) -> SqliteOrderStore:
    """The order store beside a running service, for tools. Raises Refused if no service has made it."""
    return opened(exits, SqliteOrderStore.open, _order_store(settings), exclusive=False)


def existing_read_model(settings: Settings, exits: AsyncExitStack) -> SqliteViews:
    """The read model beside a running service, for tools. Raises Refused if no service has made it."""
    return opened(exits, SqliteViews.open, _read_model(settings), exclusive=False)


def order_store_to_look_at(settings: Settings, exits: AsyncExitStack) -> SqliteOrderStore:
    """The order store, running or not, to be looked at without a trace. Raises Refused if no service has made it."""
    return opened(exits, SqliteOrderStore.look, _order_store(settings))


def read_model_to_look_at(settings: Settings, exits: AsyncExitStack) -> SqliteViews:
    """The read model, running or not, to be looked at without a trace. Raises Refused if no service has made it."""
    return opened(exits, SqliteViews.look, _read_model(settings))


def log_to_look_at(settings: Settings, exits: AsyncExitStack) -> SqliteSource:
    """The log, to be looked at without a trace. Raises NothingYet, Refused."""
    path = log_path(settings.log_dir, settings.topic)
    refuse_lost_log(settings)
    if not path.is_file():
        raise _nothing_yet(path, "cart")
    open_reader(path, LOG_VERSION).close()  # what is wrong with the file is told as the start tells it
    return log_source(settings, exits, traceless=True)


def idle_order_store(settings: Settings, exits: AsyncExitStack) -> SqliteOrderStore:
    """The order store while no service runs. Raises Refused if one does, or none has made it."""
    return opened(exits, SqliteOrderStore.open, _order_store(settings))


async def idle_log(
    settings: Settings, store: SqliteOrderStore, exits: AsyncExitStack
) -> Callable[[], Awaitable[None]] | None:
    """See to it that nobody else writes the log until the end. One that was lost is begun anew by what is returned,
    with as many partitions as the store's keys are placed by. Raises Refused if a service writes it."""
    partitions = await store.recorded_partitions(settings.topic) or settings.partitions

    async def begin() -> None:
        opened(exits, SqlitePublisher.open, settings.log_dir, settings.topic, partitions)

    if not was_begun(log_path(settings.log_dir, settings.topic)):
        return begin
    await begin()
    return None


class NothingYet(Refused):
    """The service that makes this file has not run yet."""


def refuse_lost_log(settings: Settings) -> None:
    """Raises Refused if the order store has published to a log that is not there any more."""
    path, journal = log_path(settings.log_dir, settings.topic), settings.cart_dir / CART_FILE
    if not was_begun(path) and has_published_to(journal, settings.topic):
        raise _lost(path, journal)


def refuse_lost_order_store(settings: Settings) -> None:
    """Raises Refused if there is a log, and not the file that its events came from."""
    path, log = settings.cart_dir / CART_FILE, log_path(settings.log_dir, settings.topic)
    if settings.effective_mode is Mode.EMBEDDED and log.is_file() and not path.is_file():
        raise _lost(path, log)


def _order_store(settings: Settings) -> Path:
    path = settings.cart_dir / CART_FILE
    refuse_lost_order_store(settings)
    if not path.is_file():
        raise _nothing_yet(path, "cart")
    return path


def _read_model(settings: Settings) -> Path:
    path = settings.order_dir / VIEW_FILE
    if not path.is_file():
        raise _nothing_yet(path, "order")
    return path


def _nothing_yet(path: Path, part: str) -> NothingYet:
    return NothingYet(f"there is no {path}: the {part} service has not run on this data folder yet")


def _lost(path: Path, other: Path) -> Refused:
    found = f"there is nothing in {path}, but there was" if path.is_file() else f"there is no {path}, but there was one"
    return Refused(
        f"{found}, or {other.name} would not be as it is: it was lost, or moved. "
        "docs/operations.md tells how to go on (Backup and restore)"
    )
