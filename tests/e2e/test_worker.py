"""The worker: what runs beside HTTP keeps running or ends the service, and a stop has an order."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import attrs
import pytest
import structlog

from ordering.entrypoints.observe import ServiceObserver
from ordering.entrypoints.process import listen
from ordering.entrypoints.service import Service
from ordering.entrypoints.settings import Settings
from ordering.entrypoints.worker import Worker

pytestmark = pytest.mark.process

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answers 204 to everything."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def for_ever() -> None:
    """A loop that only ends when it is cancelled."""
    await asyncio.Event().wait()


def service(history: list[str] | None = None, **changes: object) -> Service:
    """A service that does nothing but note what is asked of it."""
    told = history if history is not None else []

    async def drain(_seconds: float) -> bool:
        told.append("drain")
        return True

    async def farewell() -> None:
        told.append("farewell")

    exits = AsyncExitStack()
    exits.callback(told.append, "close")
    plain = Service(app, {"idle": for_ever}, frozenset(), lambda: told.append("stop"), drain, farewell, exits)
    return attrs.evolve(plain, **changes)


def worker(of: Service, lifeline: int | None = None) -> tuple[Worker, socket.socket]:
    """A worker on a free port."""
    listener = listen("127.0.0.1", 0, "API_PORT")
    observer = ServiceObserver(structlog.wrap_logger(structlog.testing.ReturnLogger()))
    return Worker(of, Settings(shutdown_seconds=2.0), observer, listener, lifeline), listener


async def answers(listener: socket.socket) -> bool:
    """Whether HTTP is answered."""
    reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.startswith(b"HTTP/1.1 204")


async def test_a_stop_has_an_order() -> None:
    """No new requests, then what is queued, then what is stored, then goodbye, then close."""
    history: list[str] = []
    stopping = asyncio.Event()

    async def committer() -> None:
        await stopping.wait()
        history.append("finished")

    def stop() -> None:
        history.append("stop")
        stopping.set()

    made, listener = worker(
        service(history, loops={"committer": committer}, finishing=frozenset({"committer"}), stop=stop)
    )
    running = asyncio.get_running_loop().create_task(made.run())
    assert await answers(listener)
    made.end("the test is over")

    assert await running == 0
    assert history == ["stop", "finished", "drain", "farewell", "close"]


@pytest.mark.parametrize("way", ["raises", "returns"])
async def test_a_loop_that_ends_by_itself_ends_the_service(way: str) -> None:
    """Never a process that only looks alive: non-zero, and everything is closed."""
    history: list[str] = []

    async def broken() -> None:
        if way == "raises":
            raise RuntimeError("the relay broke")

    made, _ = worker(service(history, loops={"idle": for_ever, "relay": broken}))

    assert await made.run() == 1
    assert history == ["stop", "drain", "farewell", "close"]


async def test_the_end_of_the_lifeline_ends_the_service() -> None:
    """The parent is gone, however it went; that is no failure of this service."""
    lifeline, parents = os.pipe()
    made, listener = worker(service(), lifeline)
    running = asyncio.get_running_loop().create_task(made.run())
    assert await answers(listener)
    os.close(parents)

    assert await running == 0
    os.close(lifeline)


async def test_a_committer_that_never_finishes_does_not_hold_up_the_end() -> None:
    """There is one time budget for the whole stop."""
    history: list[str] = []
    loops: dict[str, Callable[[], Any]] = {"committer": for_ever}
    made, listener = worker(service(history, loops=loops, finishing=frozenset({"committer"})))
    running = asyncio.get_running_loop().create_task(made.run())
    assert await answers(listener)
    made.end("the test is over")

    assert await asyncio.wait_for(running, 30) == 0
    assert history == ["stop", "drain", "farewell", "close"]
