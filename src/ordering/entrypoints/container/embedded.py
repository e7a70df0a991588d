"""The embedded mode: log, order store and read model in SQLite files of one folder; and what tools open of them."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from ordering.adapters.avro.registry import BuiltInRegistry
from ordering.adapters.sqlite.log import SqlitePublisher, SqliteSource, log_path
from ordering.adapters.sqlite.positions import SqlitePositions
from ordering.adapters.sqlite.store import SqliteOrderStore
from ordering.adapters.sqlite.views import SqliteViews
from ordering.adapters.system import SystemRuntime
from ordering.application.failures import Refused
from ordering.application.group_lag import PositionLag
from ordering.entrypoints.container.opening import opened
from ordering.entrypoints.container.parts import Cart, Order, cart_of, order_of
from ordering.entrypoints.observe import ServiceObserver
from ordering.entrypoints.settings import Settings

CART_FILE: Final = "cart.db"
VIEW_FILE: Final = "view.db"


def embedded_cart(settings: Settings, observer: ServiceObserver, exits: AsyncExitStack) -> Cart:
    """The cart service on files: it alone writes the order store and the log."""
    return cart_of(
        settings,
        observer,
        registry=BuiltInRegistry,
        store=lambda: order_store(settings, exits),
        publisher=lambda: opened(exits, SqlitePublisher.open, settings.log_dir, settings.topic, settings.partitions),
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
    return opened(exits, SqliteOrderStore.open, _existing(settings.cart_dir / CART_FILE), exclusive=False)


def existing_read_model(settings: Settings, exits: AsyncExitStack) -> SqliteViews:
    """The read model beside a running service, for tools. Raises Refused if no service has made it."""
    return opened(exits, SqliteViews.open, _existing(settings.order_dir / VIEW_FILE), exclusive=False)


def order_store_to_look_at(settings: Settings, exits: AsyncExitStack) -> SqliteOrderStore:
    """The order store, running or not, to be looked at without a trace. Raises Refused if no service has made it."""
    return opened(exits, SqliteOrderStore.look, _existing(settings.cart_dir / CART_FILE))


def read_model_to_look_at(settings: Settings, exits: AsyncExitStack) -> SqliteViews:
    """The read model, running or not, to be looked at without a trace. Raises Refused if no service has made it."""
    return opened(exits, SqliteViews.look, _existing(settings.order_dir / VIEW_FILE))


def log_to_look_at(settings: Settings, exits: AsyncExitStack) -> SqliteSource:
    """The log, to be looked at without a trace. Raises NothingYet."""
    _existing(log_path(settings.log_dir, settings.topic))
    return log_source(settings, exits, traceless=True)


def idle_order_store(settings: Settings, exits: AsyncExitStack) -> SqliteOrderStore:
    """The order store while no service runs. Raises Refused if one does, or none has made it."""
    return opened(exits, SqliteOrderStore.open, _existing(settings.cart_dir / CART_FILE))


class NothingYet(Refused):
    """No service has made this file."""


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise NothingYet(f"there is no {path}: no service has run on this data folder yet")
    return path
