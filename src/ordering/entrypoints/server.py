"""The HTTP server: uvicorn on uvloop and httptools, with bounded connections and an end in order.

Connections are accepted by ourselves: uvloop accepts one in each round of its loop, and a round of a busy service is
long, so that clients who connected would wait for seconds.

At the end nobody who was heard goes without an answer: the connections that the kernel has accepted are taken over
before the listener closes, requests that are on their way at that moment are still served, each answer is the last one
on its connection, and idle connections close.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final

import uvicorn

from ordering.entrypoints.bounds import Bounds, Reports, Shared
from ordering.entrypoints.http.admission import Admission
from ordering.entrypoints.protocol import BoundedProtocol

STRAGGLE_SECONDS: Final = 0.05
"""How long requests may be on their way when the end begins: a round trip, and the time to read what has come."""

ACCEPTED_AT_ONCE: Final = 128
"""Most connections that are accepted before others get their turn."""

NO_DESCRIPTOR_SECONDS: Final = 0.5
"""How long nothing is accepted after the system had no descriptor for it."""

FAREWELL_SECONDS: Final = 0.25
"""How long answers to requests that were cancelled at the end may take to leave."""


class Server(uvicorn.Server):
    """Uvicorn without its own signal handlers and without its end: the worker decides.

    ``finish_seconds`` is how long requests in hand may take at the end; ``on_last`` is called then, when nothing new
    can come any more.
    """

    def __init__(self, config: uvicorn.Config, finish_seconds: float, on_last: Callable[[], None]) -> None:
        super().__init__(config)
        self._listeners: Sequence[socket.socket] = ()
        self._opening: set[asyncio.Task[Any]] = set()
        self._finish_seconds, self._on_last = finish_seconds, on_last
        self._leaving = asyncio.Event()
        self._hurried = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone."""
        yield

    def leave(self) -> None:
        """Begin the end; ``serve`` returns when it is over."""
        self.should_exit = True
        self._leaving.set()

    def hurry(self) -> None:
        """Do not wait for requests in hand: they are answered now, as far as they are."""
        self._hurried.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise RuntimeError("the application did not start")
        self._listeners = sockets or []
        for listener in self._listeners:
            listener.listen(self.config.backlog)
            self._watch(listener)
        self.started = True

    async def main_loop(self) -> None:
        """Serve; once a second uvicorn looks at the clock for the Date header."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new, answer what is in hand, close."""
        self._close_listeners()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in self._connections():
            connection.shutdown()
        await asyncio.sleep(STRAGGLE_SECONDS)  # nothing tells what is still on its way
        for connection in self._connections():
            connection.close_idle()
        self._on_last()
        ending = asyncio.get_running_loop().create_task(self._all_ended())
        hurried = asyncio.get_running_loop().create_task(self._hurried.wait())
        await asyncio.wait([ending, hurried], timeout=self._finish_seconds, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not ending.done():
            for task in self.server_state.tasks:
                task.cancel()
            await asyncio.wait([ending], timeout=FAREWELL_SECONDS)
        ending.cancel()
        await self.lifespan.shutdown()

    # ------------------------------------------------------------------ connections

    def _watch(self, listener: socket.socket) -> None:
        if listener.fileno() != -1:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener, ACCEPTED_AT_ONCE)

    def _accept(self, listener: socket.socket, most: int) -> None:
        """Take over connections that the kernel has accepted."""
        loop = asyncio.get_running_loop()
        for _ in range(most):
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor is left; it would be tried again and again
                loop.remove_reader(listener)
                loop.call_later(NO_DESCRIPTOR_SECONDS, self._watch, listener)
                return
            connection.setblocking(False)
            task = loop.create_task(self._open(connection))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
        except OSError:  # its client is gone
            connection.close()

    def _close_listeners(self) -> None:
        """Close them, and serve those who were connected already: closing would reset them."""
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener)
            self._accept(listener, self.config.backlog)
            listener.close()

    def _protocol(self) -> BoundedProtocol:
        made: Any = self.config.http_protocol_class
        protocol = made(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        assert isinstance(protocol, BoundedProtocol)
        return protocol

    async def _all_ended(self) -> None:
        """Return when every request is answered and every answer sent."""
        while waited := [*self.server_state.tasks, *(connection.closed for connection in self._connections())]:
            await asyncio.wait(waited)

    def _connections(self) -> list[BoundedProtocol]:
        return [connection for connection in self.server_state.connections if isinstance(connection, BoundedProtocol)]


def _nothing() -> None:
    """At the end nothing else has to be told."""


def server_of(
    app: Any,  # noqa: ANN401 -- an ASGI application
    finish_seconds: float,
    bounds: Bounds | None = None,
    on_last: Callable[[], None] = _nothing,
    reports: Reports | None = None,
) -> Server:
    """A server for one application; at the end, requests in hand get ``finish_seconds``."""
    kept = bounds or Bounds()
    shared = Shared(kept, reports=reports or Reports())
    if isinstance(app, Admission):
        shared.admit = app.admit
    idle: Any = kept.idle_seconds  # a timer's, so it need not be whole
    config = uvicorn.Config(
        app,
        http=type("Protocol", (BoundedProtocol,), {"shared": shared}),
        loop="none",
        ws="none",
        lifespan="auto",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=idle,
    )
    return Server(config, finish_seconds, on_last)
