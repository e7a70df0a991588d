"""One serving process: starts a service's parts in order, keeps them running, and stops them in order.

Stores open first and the port answers last; a stop goes the other way: no new requests, finish those in hand, store
and publish what was accepted, close. A background loop that ends on its own ends the service with its reason, so
that nobody keeps asking a process that only looks alive.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from typing import Any

import uvloop

from ordering.application.failures import StoreUnavailable
from ordering.entrypoints import container
from ordering.entrypoints.bounds import NO_ROOM, Bounds, Reports
from ordering.entrypoints.metrics import Part
from ordering.entrypoints.observe import ServiceObserver, configure_logging
from ordering.entrypoints.process import CalledWrongly, StartupError, allow_descriptors, listen
from ordering.entrypoints.server import server_of
from ordering.entrypoints.service import Service
from ordering.entrypoints.settings import LogFormat, Settings, load

HTTP_SHARE = 0.5
"""How much of the time to stop requests in hand may take; storing and publishing them needs the rest."""

OTHER_DESCRIPTORS = 256
"""Descriptors for everything that is no connection of a client: files, databases, brokers."""

IMPATIENCE_SECONDS = 1.0
"""One Ctrl-C may arrive as several signals; one that comes so much later asks to stop sooner."""


def serve(part: str, inherited: Sequence[str]) -> int:
    """Serve one part (``cart`` or ``order``) until a signal comes; the exit status."""
    handed = _handed_over(inherited)
    settings = load(os.environ).settings
    os.umask(0o077)
    observer = ServiceObserver(configure_logging(settings.log_level, settings.log_format, part), Part(part))
    try:
        return _serve(part, settings, observer, handed)
    except StartupError as error:
        if settings.log_format is not LogFormat.JSON or isinstance(error, CalledWrongly):
            raise
        observer.refused(str(error))  # whoever reads the log reads JSON, this line too
        return 1


def _serve(part: str, settings: Settings, observer: ServiceObserver, handed: Mapping[str, int]) -> int:
    listener = _listener(part, settings, handed.get("--listener"))
    try:
        service = container.service(part, settings, observer)
    except (*container.REFUSALS, StoreUnavailable) as error:
        raise StartupError(str(error)) from None
    _spare_the_collector()
    _allow_connections(settings, observer)
    with listener:
        return uvloop.run(Worker(service, settings, observer, listener, handed.get("--lifeline")).run())


def _spare_the_collector() -> None:
    """What exists now lives as long as the process, and requests leave hardly any cycles behind: the collector need
    not look through all of it, not even once. It would find less than a megabyte, and clients may be waiting."""
    gc.freeze()
    gc.set_threshold(5_000, 20, 50)
    gc.enable()


def _allow_connections(settings: Settings, observer: ServiceObserver) -> None:
    """Each connection takes a descriptor."""
    needed = round(settings.connections_max * NO_ROOM) + OTHER_DESCRIPTORS
    allowed = allow_descriptors(needed)
    if allowed < needed:
        observer.alarmed("descriptors.few", allowed=allowed, needed=needed, setting="ORDERING_CONNECTIONS_MAX")


def _bounds(settings: Settings) -> Bounds:
    return Bounds(
        head_seconds=settings.head_seconds,
        body_seconds=settings.body_seconds,
        send_seconds=settings.send_seconds,
        idle_seconds=settings.idle_seconds,
        connections=settings.connections_max,
    )


def _handed_over(arguments: Sequence[str]) -> dict[str, int]:
    """Descriptors from ``serve all``; people start a service without any."""
    names, numbers = arguments[0::2], arguments[1::2]
    if len(names) != len(numbers) or not set(names) <= {"--listener", "--lifeline"}:
        raise CalledWrongly(f"`serve cart` and `serve order` take no arguments: {' '.join(arguments)}")
    try:
        found = {name: int(number) for name, number in zip(names, numbers, strict=True)}
        for number in found.values():
            os.fstat(number)
    except (ValueError, OverflowError, OSError):
        raise CalledWrongly(f"not an open descriptor: {' '.join(numbers)}") from None
    return found


def _listener(part: str, settings: Settings, descriptor: int | None) -> socket.socket:
    if descriptor is None:
        port = settings.cart_port if part == "cart" else settings.order_port
        return listen(settings.host, port, f"API_PORT or {part.upper()}_API_PORT")
    try:
        listener = socket.socket(fileno=descriptor)
    except OSError:
        raise CalledWrongly(f"descriptor {descriptor} is no socket") from None
    listener.set_inheritable(False)
    return listener


class Worker:
    """Runs one service."""

    def __init__(
        self,
        service: Service,
        settings: Settings,
        observer: ServiceObserver,
        listener: socket.socket,
        lifeline: int | None = None,
    ) -> None:
        self._service, self._settings, self._observer = service, settings, observer
        self._listener, self._lifeline = listener, lifeline
        self._ending = asyncio.Event()
        self._hurried = asyncio.Event()
        self._began = self._deadline = 0.0
        self._failed = False
        self._server = server_of(
            service.app,
            settings.shutdown_seconds * HTTP_SHARE,
            _bounds(settings),
            service.stop,
            Reports(observer.refused_unread, observer.cut),
        )

    async def run(self) -> int:
        """From start to end; 0 unless something broke."""
        with self._signals():
            async with self._service.exits, self._opened(), self._loops() as loops:
                await self._serve_http()
                await self._finish(loops)
        self._observer.changed("service.stopped")
        return 1 if self._failed else 0

    def end(self, reason: str, *, failed: bool = False) -> None:
        """Begin to stop; further reasons change nothing."""
        self._failed |= failed
        if self._ending.is_set():
            return
        self._observer.changed("service.stopping", reason=reason)
        self._began = asyncio.get_running_loop().time()
        self._deadline = self._began + self._settings.shutdown_seconds
        self._ending.set()

    # ------------------------------------------------------------------ parts

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        """Everything that can only be opened in the running loop; raises StartupError."""
        try:
            for opening in self._service.opening:
                await opening()
        except (*container.REFUSALS, StoreUnavailable) as error:
            raise StartupError(str(error)) from None
        yield

    async def _serve_http(self) -> None:
        """Answer requests until the end begins, then finish those in hand."""
        serving = asyncio.get_running_loop().create_task(self._server.serve([self._listener]), name="http")
        serving.add_done_callback(self._server_ended)
        host, port = self._listener.getsockname()[:2]
        self._observer.changed("service.serving", host=host, port=port, mode=str(self._settings.effective_mode))
        await self._ending.wait()
        self._server.leave()
        try:
            await serving
        except Exception as error:
            self._observer.failed("http.failed", error)
            self._failed = True
            self._service.stop()

    async def _finish(self, loops: dict[str, "asyncio.Task[None]"]) -> None:
        """Store and publish what was accepted, in what is left of the time."""
        finishing = [loops[name] for name in self._service.finishing]
        if late := await self._within_time(*finishing):
            self._observer.changed(
                "service.unfinished", loops=sorted(name for name in self._service.finishing if loops[name] in late)
            )
        draining = asyncio.ensure_future(self._service.drain(self._left()))
        await self._within_time(draining)
        if not (draining.done() and await draining):
            draining.cancel()
            self._observer.changed("service.undrained")  # stored all the same: the next start publishes it

    async def _within_time(self, *tasks: "asyncio.Future[Any]") -> "set[asyncio.Future[Any]]":
        """Wait for tasks until the time is over or somebody hurries; those that were late."""
        if not tasks:
            return set()
        loop = asyncio.get_running_loop()
        together, hurried = loop.create_task(asyncio.wait(tasks)), loop.create_task(self._hurried.wait())
        await asyncio.wait([together, hurried], timeout=self._left(), return_when=asyncio.FIRST_COMPLETED)
        together.cancel()
        hurried.cancel()
        return {task for task in tasks if not task.done()}

    def _left(self) -> float:
        return max(0.1, self._deadline - asyncio.get_running_loop().time())

    @contextlib.asynccontextmanager
    async def _loops(self) -> AsyncIterator[dict[str, "asyncio.Task[None]"]]:
        """The background loops, running; at the end cancelled, and the farewell said."""
        loop = asyncio.get_running_loop()
        tasks = {name: loop.create_task(run(), name=name) for name, run in self._service.loops.items()}
        for task in tasks.values():
            task.add_done_callback(self._loop_ended)
        try:
            yield tasks
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
            await self._service.farewell()

    def _server_ended(self, _serving: "asyncio.Task[None]") -> None:
        if not self._ending.is_set():
            self.end("the HTTP server ended", failed=True)

    def _loop_ended(self, task: "asyncio.Task[None]") -> None:
        name, expected = task.get_name(), self._ending.is_set()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, container.REFUSALS):
            self._observer.refused(str(error))
            self.end(f"{name} refuses to go on", failed=True)
            return
        if error is not None:
            self._observer.failed("loop.failed", error)
        if error is not None or not expected:
            self.end(f"{name} ended unexpectedly" + (f": {error}" if error else ""), failed=True)

    @contextlib.contextmanager
    def _signals(self) -> Generator[None, None, None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told, number)
        if self._lifeline is not None:
            loop.add_reader(self._lifeline, self._parent_gone)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
            if self._lifeline is not None:
                loop.remove_reader(self._lifeline)

    def _told(self, number: signal.Signals) -> None:
        late = asyncio.get_running_loop().time() - self._began >= IMPATIENCE_SECONDS
        if self._ending.is_set() and late and not self._hurried.is_set():
            self._observer.changed("service.hurrying", reason=f"signal {number.name} again")
            self._hurried.set()
            self._server.hurry()
        self.end(f"signal {number.name}")

    def _parent_gone(self) -> None:
        """The other end of the lifeline is closed, and nothing is ever written to it."""
        assert self._lifeline is not None
        asyncio.get_running_loop().remove_reader(self._lifeline)
        self._lifeline = None
        self.end("the parent process is gone")
