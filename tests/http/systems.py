"""The same two HTTP services in several bodies: stand-ins, memory, embedded in process, real processes."""

import asyncio
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

import attrs
import httpx

from ordering.entrypoints import container
from ordering.entrypoints.http.routing import OrderingApp
from ordering.entrypoints.observe import ServiceObserver
from ordering.entrypoints.service import Service
from ordering.entrypoints.settings import Mode, Settings
from tests.e2e.running import environment
from tests.http.stand_ins import StandIns
from tests.services.processes import free_ports

PATHS: dict[str, tuple[str, ...]] = {
    "pending": (),
    "confirmed": ("confirmed",),
    "shipped": ("confirmed", "shipped"),
    "delivered": ("confirmed", "shipped", "delivered"),
    "cancelled": ("cancelled",),
}
"""The shortest way to each status."""

PATIENT = {"admission_seconds": 600.0, "request_seconds": 600.0}
"""Nobody is refused because the machine, or its disk, is slow."""
START_SECONDS = 120.0
"""Generous: a loaded machine is no failure."""

Clients = tuple[httpx.AsyncClient, httpx.AsyncClient]


class Body(Protocol):
    """What a system is made of. ``run`` may be entered again after its end; ``keeps`` tells whether data survives."""

    keeps: bool

    def run(self) -> AbstractAsyncContextManager[Clients]: ...


@attrs.define
class System:
    """Two clients of a running system, which can be ended and started again on the same data."""

    body: Body
    cart: httpx.AsyncClient
    order: httpx.AsyncClient
    running: AsyncExitStack
    made: int = 0

    def new_id(self) -> str:
        """An order id nobody used."""
        self.made += 1
        return f"T-{self.made:06d}"

    def client(self, service: str) -> httpx.AsyncClient:
        return self.cart if service == "cart" else self.order

    async def given(self, status: str, order_id: str) -> int:
        """An order of 2 x 999.99 USD that stands at ``status``; its version."""
        items = [{"itemId": "ITEM-LAPTOP-321", "quantity": 2, "price": 999.99}]
        answer = await self.cart.post("/api/create-order", json={"orderId": order_id, "items": items})
        assert answer.status_code == 201, answer.text
        for step in PATHS[status]:
            answer = await self.cart.put("/api/update-order", json={"orderId": order_id, "status": step})
            assert answer.status_code == 200, answer.text
        return 1 + len(PATHS[status])

    async def visible(self, order_id: str, version: int = 1) -> None:
        """Return when the read model has this version."""
        query = {"orderId": order_id, "minVersion": version, "wait": 30}
        answer = await self.order.get("/api/order-details", params=query)
        assert answer.status_code == 200, answer.text

    async def restart(self) -> None:
        """End in an orderly way and start again."""
        await self.running.aclose()
        self.cart, self.order = await self.running.enter_async_context(self.body.run())


@asynccontextmanager
async def system_of(body: Body) -> AsyncIterator[System]:
    """The body, running."""
    async with AsyncExitStack() as running:
        cart, order = await running.enter_async_context(body.run())
        yield System(body, cart, order, running)


def in_process(app: OrderingApp) -> httpx.AsyncClient:
    """A client that calls the app directly."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")


@asynccontextmanager
async def _clients(cart: OrderingApp, order: OrderingApp) -> AsyncIterator[Clients]:
    async with in_process(cart) as to_cart, in_process(order) as to_order:
        yield to_cart, to_order


class StandInBody:
    """The HTTP side over use cases that are a few dicts."""

    keeps = True

    def __init__(self) -> None:
        self._stand_ins = StandIns()

    def run(self) -> AbstractAsyncContextManager[Clients]:
        return _clients(*self._stand_ins.apps())


class _ErrorsOnly:
    """A log that shows errors, which pytest prints beside a failed test."""

    def info(self, _what: str, **_facts: object) -> None: ...

    def debug(self, _what: str, **_facts: object) -> None: ...

    def warning(self, _what: str, **_facts: object) -> None: ...

    def error(self, what: str, *, exc_info: BaseException, **_facts: object) -> None:
        sys.stderr.write(f"{what}\n{''.join(traceback.format_exception(exc_info))}")


class MemoryBody:
    """The real container with memory adapters."""

    keeps = False

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(mode=Mode.EMBEDDED, data_dir=folder, seed=1, **PATIENT)

    def parts(self) -> tuple[container.Cart, container.Order]:
        """Both services' containers, before anything in them is made."""
        return container.memory(self.settings, ServiceObserver(_ErrorsOnly()))

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Clients]:
        cart, order = self.parts()
        services = container.cart_service(cart, AsyncExitStack()), container.order_service(order, AsyncExitStack())
        async with _services(*services) as clients:
            yield clients


class EmbeddedBody:
    """The real container with SQLite adapters on a folder."""

    keeps = True

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(mode=Mode.EMBEDDED, data_dir=folder, seed=1, **PATIENT)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Clients]:
        observer = ServiceObserver(_ErrorsOnly())
        cart = container.service("cart", self.settings, observer)
        order = container.service("order", self.settings, observer)
        async with _services(cart, order) as clients:
            yield clients


@asynccontextmanager
async def _services(cart: Service, order: Service) -> AsyncIterator[Clients]:
    """Both services with their loops, ended in the worker's order."""
    async with _loops(cart), _loops(order), _clients(cart.app, order.app) as clients:
        await until_ready(clients)
        yield clients


@asynccontextmanager
async def _loops(service: Service) -> AsyncIterator[None]:
    async with service.exits:
        for opening in service.opening:
            await opening()
        tasks = {name: asyncio.ensure_future(run()) for name, run in service.loops.items()}
        try:
            yield
        finally:
            service.stop()
            await asyncio.gather(*(tasks[name] for name in service.finishing))
            drained = await service.drain(START_SECONDS)
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
            await service.farewell()
            assert drained


class ProcessBody:
    """`ordering serve all` on a folder or on a cluster's parts, spoken to over sockets."""

    keeps = True

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self._folder, self._settings = folder, settings or {"ORDERING_MODE": "embedded"}

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Clients]:
        cart, order = free_ports(2)
        ports = {"CART_API_PORT": str(cart), "ORDER_API_PORT": str(order)}
        environ = environment(self._folder, **{**ports, **self._settings})
        log = (self._folder.parent / "serve.log").open("ab")
        with log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "ordering", "serve", "all", env=environ, stdout=log, stderr=log
            )
        try:
            async with (
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{cart}", timeout=START_SECONDS) as to_cart,
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{order}", timeout=START_SECONDS) as to_order,
            ):
                await until_ready((to_cart, to_order), process)
                yield to_cart, to_order
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            status = await asyncio.wait_for(process.wait(), START_SECONDS)
        assert status == 0


async def until_ready(clients: Clients, process: "asyncio.subprocess.Process | None" = None) -> None:
    """Ask both until they say so; what they last said is in the failure."""
    last = ""
    try:
        async with asyncio.timeout(START_SECONDS):
            for client in clients:
                while True:
                    assert process is None or process.returncode is None, f"ended with {process.returncode}: {last}"
                    try:
                        answer = await client.get("/health/ready")
                    except httpx.TransportError as error:
                        last = repr(error)
                    else:
                        last = answer.text
                        if answer.status_code == 200:
                            break
                    await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not ready after {START_SECONDS} s: {last}") from None
