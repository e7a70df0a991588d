"""Use cases as a few dicts: what is under test with them is the HTTP side alone."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

from ordering.application.causes import Cause
from ordering.application.commands import Answer, Context
from ordering.application.errors import (
    DuplicateOrder,
    KeyInFlight,
    KeyReused,
    OrderNotFound,
    PreconditionFailed,
    StoreUnavailable,
    TopicNotFound,
    VersionNotReached,
)
from ordering.application.messages import Place, RecordedAnswer
from ordering.application.queries import Details, IdPage, Stats
from ordering.domain.events import Stamp
from ordering.domain.generation import draft_of
from ordering.domain.inputs import ChangeStatusInput, PlaceOrderInput
from ordering.domain.order import Order
from ordering.domain.shipping import shipping_cost
from ordering.entrypoints.http.cart_api import create_cart_app
from ordering.entrypoints.http.options import HttpOptions, Surroundings
from ordering.entrypoints.http.order_api import create_order_app
from ordering.entrypoints.http.routing import OrderingApp

TOPIC = "order-events"


class StandIns:
    """Orders in a dict. ``trouble`` is raised by every use case; ``held`` keeps commands waiting until it is set."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.contexts: list[Context] = []
        self.trouble: Exception | None = None
        self.causes: list[Cause] = []
        self.errors: list[tuple[str, BaseException]] = []
        self.answered: list[tuple[str, str, int, str | None]] = []
        self.held: asyncio.Event | None = None
        self.entered = asyncio.Event()
        self.breaks_off = False
        self._answers: dict[str, RecordedAnswer] = {}
        self._in_flight: set[str] = set()
        self._random = random.Random(1)
        self._requests = 0

    def apps(self, **options: object) -> tuple[OrderingApp, OrderingApp]:
        """The two services over these use cases."""
        around = Surroundings(
            self._causes,
            self._metrics,
            self._request_id,
            lambda request_id, error: self.errors.append((request_id, error)),
            lambda method, path, status, _seconds, code: self.answered.append((method, path, status, code)),
        )
        cart = HttpOptions("CartService", "1.2.3", "log", "built in", TOPIC, **options)  # type: ignore[arg-type]
        order = HttpOptions("OrderService", "1.2.3", "log", "built in", TOPIC, "group", **options)  # type: ignore[arg-type]
        return (
            create_cart_app(self.place, self.change, cart, around),  # type: ignore[arg-type]
            create_order_app(self.details, self.ids, self.stats, order, around, lambda: True),  # type: ignore[arg-type]
        )

    async def place(self, wanted: PlaceOrderInput, context: Context) -> Answer:
        async def decide() -> Order:
            if wanted.order_id in self.orders:
                raise DuplicateOrder(wanted.order_id)
            return Order.place(draft_of(wanted, self._random), self._stamp())[0]

        return await self._once(context, decide)

    async def change(
        self, wanted: ChangeStatusInput, context: Context, *, if_match: frozenset[int] | None = None
    ) -> Answer:
        async def decide() -> Order:
            order = self.orders.get(wanted.order_id)
            if order is None:
                raise OrderNotFound(wanted.order_id)
            if if_match is not None and order.version not in if_match:
                raise PreconditionFailed(order.order_id, order.version)
            return order if order.status == wanted.status else order.change_status(wanted.status, self._stamp())[0]

        return await self._once(context, decide)

    async def details(self, order_id: str, *, min_version: int = 1, wait: float = 0.0) -> Details:
        self._check()
        order = self.orders.get(order_id)
        if order is None:
            raise OrderNotFound(order_id)
        if order.version < min_version:
            raise VersionNotReached(order_id, min_version, order.version)
        return Details(order, shipping_cost(order.total, order.currency, Decimal("0.02")))

    async def ids(self, topic: str, *, after: Place | None = None, limit: int | None = None) -> AsyncIterator[IdPage]:
        self._check()
        if topic != TOPIC:
            raise TopicNotFound(topic)
        places = [(Place(7, 0, number), order_id) for number, order_id in enumerate(self.orders)]
        left = [entry for entry in places if after is None or entry[0].offset > after.offset]
        size = 2 if limit is None else limit

        async def pages() -> AsyncIterator[IdPage]:
            for start in range(0, len(left), size):
                yield left[start : start + size]
                if self.breaks_off:
                    raise StoreUnavailable("gone in the middle")
                if limit is not None:
                    return

        return pages()

    async def stats(self, *, ids: int) -> Stats:
        self._check()
        shown = list(self.orders)[:ids]
        return Stats(len(self.orders), {}, shown, len(self.orders) > ids > 0, 0, 0.0, 0, 0, 0, 0)

    async def _once(self, context: Context, decide: "object") -> Answer:
        self._check()
        self.contexts.append(context)
        once = context.once
        if once is None:
            return self._keep(await decide())  # type: ignore[operator]
        if once.key in self._in_flight:
            raise KeyInFlight
        self._in_flight.add(once.key)
        try:
            first = self._answers.get(once.key)
            if first is not None:
                if first.fingerprint != once.fingerprint:
                    raise KeyReused
                return first
            if self.held is not None:
                self.entered.set()
                await self.held.wait()
            order = self._keep(await decide())  # type: ignore[operator]
            body = once.render(order)
            self._answers[once.key] = RecordedAnswer(once.key, once.fingerprint, once.status, order.version, body, 0)
            return order
        finally:
            self._in_flight.discard(once.key)

    def _keep(self, order: Order) -> Order:
        self.orders[order.order_id] = order
        return order

    def _check(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    def _stamp(self) -> Stamp:
        return Stamp("event", datetime(2026, 1, 31, 12, 0, 0, 123456, UTC))

    def _request_id(self) -> str:
        self._requests += 1
        return f"request-{self._requests}"

    async def _causes(self) -> list[Cause]:
        return self.causes

    async def _metrics(self) -> bytes:
        return b"ordering_answers 1\n"
