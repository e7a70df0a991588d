"""What each service's metrics page shows besides what its parts report: how things are at the moment it is asked."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version

from ordering.application.messages import Lag
from ordering.application.ports import GroupLags, OrderViews, Outbox, Runtime
from ordering.entrypoints.container.causes import Causes
from ordering.entrypoints.container.parts import Cart, Order
from ordering.entrypoints.metrics import Page, Part, Readings, table
from ordering.entrypoints.metrics.table import Gauge
from ordering.entrypoints.settings import Settings

_NO_LABELS: tuple[tuple[str, ...], ...] = ((),)


def show_cart(cart: Cart) -> Page:
    """The cart service's page."""
    page, settings = cart.observer().page, cart.settings()
    gate, commit, relay, admission = cart.gate(), cart.commit(), cart.relay(), cart.admitted()
    _show_service(page, settings, Part.CART, cart.causes())
    page.watch(table.IN_FLIGHT, lambda: admission.in_hand)
    page.watch(table.QUEUE_LENGTH, lambda: commit.waiting)
    page.watch(table.QUEUE_AGE, commit.oldest_seconds)
    page.watch(table.GATE_OPEN, lambda: gate.closed is None)
    page.watch(table.DELIVERABLE, lambda: gate.undeliverable is None)
    page.watch(table.LEASE, lambda: relay.leading)
    _sample(page, "outbox", _OutboxFigures(cart.store(), cart.runtime()), _OutboxFigures.gauges)
    _show_lag(page, settings.lag_groups, cart.group_lags())
    return page


def show_order(order: Order) -> Page:
    """The order service's page."""
    page, settings = order.observer().page, order.settings()
    consumer, waiters, admission = order.consumer(), order.waiters(), order.admitted()
    _show_service(page, settings, Part.ORDER, order.causes())
    page.watch(table.IN_FLIGHT, lambda: admission.in_hand)
    page.watch(table.PARTITIONS, lambda: len(consumer.assigned))
    page.watch(table.CONSUMING, lambda: consumer.trouble is None)
    page.watch(table.WAITERS, lambda: waiters.count)
    _sample(page, "read-model", _ReadModelFigures(order.views()), _ReadModelFigures.gauges)
    _show_lag(page, (settings.consumer_group,), order.group_lags())
    return page


def _show_service(page: Page, settings: Settings, part: Part, causes: Causes) -> None:
    page.fix(table.BUILD_INFO, version("ordering"), part, settings.effective_mode)
    readiness = _Readiness(causes, [code for code, parts in table.CAUSES.items() if part in parts])
    page.sample("readiness", readiness, {table.READY: _NO_LABELS, table.NOT_READY: readiness.labels})


def _show_lag(page: Page, names: Sequence[str], groups: GroupLags) -> None:
    labels = tuple((name,) for name in names)
    page.sample("lag", _LagFigures(groups), {table.LAG_EVENTS: labels, table.LAG_SECONDS: labels})


def _sample(page: Page, source: str, take: "_OutboxFigures | _ReadModelFigures", gauges: Sequence[Gauge]) -> None:
    page.sample(source, take, dict.fromkeys(gauges, _NO_LABELS))


class _Readiness:
    def __init__(self, causes: Causes, codes: Sequence[str]) -> None:
        self._causes = causes
        self.labels = tuple((str(code),) for code in codes)

    async def __call__(self) -> Readings:
        found = {(str(cause.code),) for cause in await self._causes()}
        named: dict[tuple[str, ...], float] = {label: float(label in found) for label in self.labels}
        return {table.READY: {(): float(not found)}, table.NOT_READY: named}


class _OutboxFigures:
    gauges = (table.OUTBOX_EVENTS, table.OUTBOX_PARKED, table.OUTBOX_AGE)

    def __init__(self, outbox: Outbox, runtime: Runtime) -> None:
        self._outbox, self._runtime = outbox, runtime

    async def __call__(self) -> Readings:
        found = await self._outbox.summary()
        age = 0.0 if found.oldest_at is None else max(0.0, (self._runtime.now() - found.oldest_at) / 1e6)
        return _readings(self.gauges, found.unpublished, found.parked, age)


class _ReadModelFigures:
    gauges = (table.ORDERS, table.DEAD_LETTERS, table.PARKED)

    def __init__(self, views: OrderViews) -> None:
        self._views = views

    async def __call__(self) -> Readings:
        found = await self._views.stats()
        return _readings(self.gauges, found.total, found.dead_letters, found.parked)


class _LagFigures:
    def __init__(self, groups: GroupLags) -> None:
        self._groups = groups

    async def __call__(self) -> Readings:
        lags: Mapping[str, Lag] = await self._groups.lags()
        return {
            table.LAG_EVENTS: {(group,): lag.events for group, lag in lags.items()},
            table.LAG_SECONDS: {(group,): lag.seconds for group, lag in lags.items()},
        }


def _readings(gauges: Sequence[Gauge], *values: float) -> Readings:
    return {gauge: {(): value} for gauge, value in zip(gauges, values, strict=True)}
