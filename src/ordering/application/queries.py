"""Queries: from the read model only, never by reading a topic again."""

from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

import attrs

from ordering.application.commands import OrderCodec
from ordering.application.errors import (
    BrokerUnavailable,
    LogChanged,
    OrderNotFound,
    ReadModelBehind,
    TopicNotFound,
    VersionNotReached,
)
from ordering.application.messages import Counter, Place, ViewRow
from ordering.application.ports import EventSource, OrderViews, Runtime
from ordering.application.waiters import Waiters
from ordering.domain.order import Order
from ordering.domain.shipping import shipping_cost

PAGE: Final = 5_000
END_SECONDS: Final = 5.0
"""How long ids of a topic wait for the read model to pass the end offsets read at the call."""

IdPage = Sequence[tuple[Place, str]]


@attrs.frozen
class Details:
    """An order with what shipping it costs."""

    order: Order
    shipping_cost: Decimal


@attrs.frozen
class Stats:
    """The read model in figures; ``lag_seconds`` is the age of the oldest event not applied yet."""

    total: int
    by_status: Mapping[str, int]
    order_ids: Sequence[str]
    truncated: bool
    lag_events: int
    lag_seconds: float
    gaps: int
    late: int
    parked: int
    dead_letters: int


class OrderDetails:
    """One order as the read model has it."""

    def __init__(self, views: OrderViews, codec: OrderCodec, waiters: Waiters, runtime: Runtime, rate: Decimal) -> None:
        self._views, self._codec, self._waiters, self._runtime, self._rate = views, codec, waiters, runtime, rate

    async def __call__(self, order_id: str, *, min_version: int = 1, wait: float = 0.0) -> Details:
        """The order at ``min_version`` or later, waiting up to ``wait`` seconds for it to arrive.

        Raises OrderNotFound, VersionNotReached, StoreUnavailable, Overloaded (too many wait), ShuttingDown.
        """
        row = await self._views.get(order_id)
        if wait > 0 and (row is None or row.version < min_version):
            row = await self._arrival(order_id, min_version, wait)
        if row is None or row.encoded is None:
            raise OrderNotFound(order_id)
        if row.version < min_version:
            raise VersionNotReached(order_id, min_version, row.version)
        order = self._codec.order(row.encoded)
        if order.version != row.version:  # an inherited record carries no version of its own
            order = attrs.evolve(order, version=row.version)
        return Details(order, shipping_cost(order.total, order.currency, self._rate))

    async def _arrival(self, order_id: str, min_version: int, wait: float) -> ViewRow | None:
        deadline = self._runtime.monotonic() + wait
        with self._waiters.waiting(order_id) as waiter:
            while True:
                row = await self._views.get(order_id)
                left = deadline - self._runtime.monotonic()
                if left <= 0 or (row is not None and row.version >= min_version):
                    return row
                await waiter.next(left)


class TopicIds:
    """The distinct order ids of a topic by first appearance, complete up to its end at the time of the call."""

    def __init__(self, views: OrderViews, source: EventSource, waiters: Waiters, runtime: Runtime, topic: str) -> None:
        self._views, self._source, self._waiters, self._runtime = views, source, waiters, runtime
        self._topic = topic

    async def __call__(
        self, topic: str, *, after: Place | None = None, limit: int | None = None
    ) -> AsyncIterator[IdPage]:
        """Pages of ids; with ``limit`` exactly one page.

        Raises TopicNotFound, BrokerUnavailable, ReadModelBehind, StoreUnavailable, ShuttingDown, all before the first
        page.
        """
        if topic != self._topic:
            raise TopicNotFound(topic)
        await self._reach_end()
        first = await self._views.ids(after, PAGE if limit is None else limit)
        return self._pages(first, whole=limit is None)

    async def _pages(self, page: IdPage, *, whole: bool) -> AsyncIterator[IdPage]:
        while page:
            yield page
            if not whole:
                return
            page = await self._views.ids(page[-1][0], PAGE)

    async def _reach_end(self) -> None:
        try:
            ends = await self._source.end_offsets()
        except LogChanged as error:  # nobody can say what this topic's end is until somebody acts
            raise BrokerUnavailable(str(error)) from None
        deadline = self._runtime.monotonic() + END_SECONDS
        with self._waiters.waiting(None) as waiter:
            while True:
                reached = await self._views.positions(self._topic)
                if all(reached.get(partition, 0) >= end for partition, end in ends.items()):
                    return
                left = deadline - self._runtime.monotonic()
                if left <= 0:
                    raise ReadModelBehind(self._topic)
                await waiter.next(left)


class ReadStats:
    """The read model in figures."""

    def __init__(self, views: OrderViews, source: EventSource, topic: str) -> None:
        self._views, self._source, self._topic = views, source, topic

    async def __call__(self, *, ids: int) -> Stats:
        """Figures and at most ``ids`` order ids. Raises StoreUnavailable, BrokerUnavailable (the lag is unknown)."""
        stats = await self._views.stats()
        try:
            lag = await self._source.lag(await self._views.positions(self._topic))
        except LogChanged as error:
            raise BrokerUnavailable(str(error)) from None
        page = await self._views.ids(None, ids + 1) if ids else ()
        return Stats(
            total=stats.total,
            by_status=stats.by_label,
            order_ids=[key for _, key in page[:ids]],
            truncated=len(page) > ids > 0,
            lag_events=lag.events,
            lag_seconds=lag.seconds,
            gaps=stats.counters.get(Counter.GAPS, 0),
            late=stats.counters.get(Counter.LATE, 0),
            parked=stats.parked,
            dead_letters=stats.dead_letters,
        )
