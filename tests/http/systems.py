"""The same two HTTP services in several bodies: stand-ins, memory, embedded in process, real processes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import httpx

from ordering.entrypoints.http.routing import OrderingApp
from tests.http.stand_ins import StandIns

PATHS = {
    "pending": (),
    "confirmed": ("confirmed",),
    "shipped": ("confirmed", "shipped"),
    "delivered": ("confirmed", "shipped", "delivered"),
    "cancelled": ("cancelled",),
}
"""The shortest way to each status."""


@attrs.define
class System:
    """Two clients, and ``restart`` where a system can be ended and started on the same data."""

    cart: httpx.AsyncClient
    order: httpx.AsyncClient
    restart: Callable[[], Awaitable[None]] | None = None
    _made: int = 0

    def new_id(self) -> str:
        """An order id nobody used."""
        self._made += 1
        return f"T-{self._made:06d}"

    def client(self, service: str) -> httpx.AsyncClient:
        return self.cart if service == "cart" else self.order

    async def given(self, status: str, order_id: str) -> None:
        """An order of 2 x 999.99 USD that stands at ``status``."""
        items = [{"itemId": "ITEM-LAPTOP-321", "quantity": 2, "price": 999.99}]
        answer = await self.cart.post("/api/create-order", json={"orderId": order_id, "items": items})
        assert answer.status_code == 201, answer.text
        for step in PATHS[status]:
            answer = await self.cart.put("/api/update-order", json={"orderId": order_id, "status": step})
            assert answer.status_code == 200, answer.text


def in_process(app: OrderingApp) -> httpx.AsyncClient:
    """A client that calls the app directly."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")  # type: ignore[arg-type]


@asynccontextmanager
async def stand_ins() -> AsyncIterator[System]:
    """The HTTP side over use cases that are a few dicts."""
    cart, order = StandIns().apps()
    async with in_process(cart) as to_cart, in_process(order) as to_order:
        yield System(to_cart, to_order)
