"""Both services in one process, for tests: nothing outlives it."""

from ordering.adapters.avro.registry import BuiltInRegistry
from ordering.adapters.memory.log import MemoryLog, MemoryPublisher, MemorySource
from ordering.adapters.memory.store import MemoryOrderStore
from ordering.adapters.memory.views import MemoryViews
from ordering.adapters.system import SystemRuntime
from ordering.application.group_lag import PositionLag
from ordering.entrypoints.container.parts import Cart, Order, cart_of, order_of
from ordering.entrypoints.observe import ServiceObserver
from ordering.entrypoints.settings import Settings


def memory(settings: Settings, observer: ServiceObserver) -> tuple[Cart, Order]:
    """Both services on one log in memory."""
    log = MemoryLog(settings.topic, settings.partitions)

    def source() -> MemorySource:
        return MemorySource(log, settings.consumer_group, SystemRuntime().now)

    views = MemoryViews()
    return (
        cart_of(
            settings,
            observer,
            registry=BuiltInRegistry,
            store=MemoryOrderStore,
            publisher=lambda: MemoryPublisher(log),
            log_tail=source,
            group_lags=lambda: PositionLag(settings.consumer_group, settings.topic, views.positions, source()),
        ),
        order_of(settings, observer, registry=BuiltInRegistry, views=lambda: views, source=source, log_view=source),
    )
