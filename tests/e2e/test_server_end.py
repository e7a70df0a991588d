"""How the HTTP server ends: nobody who was heard goes without an answer."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from ordering.entrypoints.bounds import Bounds
from ordering.entrypoints.process import listen
from ordering.entrypoints.server import Server, server_of

pytestmark = pytest.mark.process

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

PATIENCE = 120.0
"""Seconds until an end that waits for nobody counts as waiting: generous, a loaded machine is no failure."""
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@attrs.define
class Serving:
    """A server whose answers wait until the test lets them go."""

    server: Server
    address: tuple[str, int]
    task: asyncio.Task[None]
    going_on: asyncio.Event
    entered: asyncio.Semaphore
    last: asyncio.Event

    async def connect(self, sent: bytes = b"") -> Streams:
        """A connection with some bytes on it."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(sent)
        await writer.drain()
        return reader, writer


@asynccontextmanager
async def serving(finish_seconds: float = 600.0, kind: type[Server] | None = None) -> AsyncIterator[Serving]:
    """A running server; at the end of the block it has ended."""
    going_on, entered, last = asyncio.Event(), asyncio.Semaphore(0), asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            entered.release()
            await going_on.wait()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

    server = server_of(app, finish_seconds, Bounds(), last.set)
    if kind is not None:
        server.__class__ = kind
    listener = listen("127.0.0.1", 0, "API_PORT")
    address = listener.getsockname()[:2]
    task = asyncio.get_running_loop().create_task(server.serve([listener]))
    yield Serving(server, address, task, going_on, entered, last)
    going_on.set()
    server.leave()
    await asyncio.wait_for(task, PATIENCE)


async def test_a_request_in_hand_is_answered_and_told_that_its_connection_ends() -> None:
    """New connections are refused meanwhile."""
    async with serving() as running:
        reader, writer = await running.connect(REQUEST)
        await running.entered.acquire()
        running.server.leave()
        await running.last.wait()
        with pytest.raises(OSError, match="Connect call failed"):
            await running.connect()
        assert not running.task.done()
        running.going_on.set()
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b"ok")


async def test_an_idle_connection_is_closed_at_once() -> None:
    """It does not hold up the end, whether it was ever used or not."""
    async with serving() as running:
        running.going_on.set()
        used, used_writer = await running.connect(REQUEST)
        await used.readuntil(b"ok")
        fresh, fresh_writer = await running.connect()
        running.server.leave()

        assert await used.read() == b""
        assert await fresh.read() == b""
        await asyncio.wait_for(running.task, PATIENCE)
        used_writer.close()
        fresh_writer.close()


@pytest.mark.parametrize(
    "part", [b"GET / HTTP/1.1\r\nHost", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"]
)
async def test_a_request_that_is_still_on_its_way_is_told_to_go_elsewhere(part: bytes) -> None:
    """A 503 problem: nothing of it is stored, and the end does not wait for a slow sender."""
    async with serving() as running:
        reader, writer = await running.connect(REQUEST + part)
        await running.entered.acquire()
        running.going_on.set()
        await reader.readuntil(b"ok")
        running.server.leave()
        answer = await reader.read()
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nretry-after: 1" in head
    assert json.loads(body)["code"] == "shutting-down"


class ConnectedLate(Server):
    """Clients connect and ask just before the listener closes: the kernel has them, and nobody else yet."""

    late: list[socket.socket]

    def _close_listeners(self) -> None:
        self.late = [socket.create_connection(self._listeners[0].getsockname()) for _ in range(20)]
        for client in self.late:
            client.sendall(REQUEST)
        super()._close_listeners()


async def test_who_was_connected_before_the_end_is_served() -> None:
    """Closing the listener would reset those whom the process has not accepted yet."""
    async with serving(kind=ConnectedLate) as running:
        running.going_on.set()
        running.server.leave()
        await asyncio.wait_for(running.task, PATIENCE)
        assert isinstance(running.server, ConnectedLate)
        answers = [client.recv(4_096) for client in running.server.late]
        for client in running.server.late:
            client.close()

    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200"] * 20


class AskedLate(Server):
    """A client asks on an open connection at the moment of the end."""

    client: socket.socket

    def _close_listeners(self) -> None:
        self.client.sendall(REQUEST)
        super()._close_listeners()


async def test_a_request_on_its_way_on_an_open_connection_is_still_served() -> None:
    """Connections are closed as idle only when what has come on them has been looked at."""
    async with serving(kind=AskedLate) as running:
        running.going_on.set()
        assert isinstance(running.server, AskedLate)
        running.server.client = client = socket.create_connection(running.address)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, REQUEST)
        assert (await loop.sock_recv(client, 4_096)).startswith(b"HTTP/1.1 200")
        running.server.leave()
        await asyncio.wait_for(running.task, PATIENCE)
        answer = client.recv(4_096)
        client.close()

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer


@pytest.mark.parametrize("way", ["time", "hurry"])
async def test_requests_that_take_too_long_are_cancelled(way: str) -> None:
    """When the time is over, or when somebody asks for it."""
    async with serving(0.2 if way == "time" else 600.0) as running:
        reader, writer = await running.connect(REQUEST)
        await running.entered.acquire()
        running.server.leave()
        if way == "hurry":
            await running.last.wait()
            running.server.hurry()
        await asyncio.wait_for(running.task, PATIENCE)
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 500")  # an application of ours says more than this one
