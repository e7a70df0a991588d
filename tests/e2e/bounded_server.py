"""A server with bounds, an application behind it, and a connection to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs

from ordering.entrypoints.bounds import Bounds, Reports
from ordering.entrypoints.process import listen
from ordering.entrypoints.server import server_of

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


PATIENT = Bounds(head_seconds=600.0, body_seconds=600.0, idle_seconds=600.0, linger_seconds=600.0)
"""Times that no machine is too slow for."""
IMPATIENT = attrs.evolve(PATIENT, head_seconds=0.3, body_seconds=0.6)
"""Times that a test can wait for, where they have to run out. What comes in time goes in ``first``, then."""


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Reads the body and answers with its length."""
    if scope["type"] != "http":
        return
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"%d" % length
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def refuses(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answers without reading anything."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"full"})


@asynccontextmanager
async def serving(
    bounds: Bounds = PATIENT, app: App = app, reports: Reports | None = None, first: bytes = b""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a running server. ``first`` is sent before the server looks, so no pause comes before it."""
    server = server_of(app, 1.0, bounds, reports=reports or Reports())
    listener = listen("127.0.0.1", 0, "API_PORT")
    reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
    writer.write(first)
    running = asyncio.get_running_loop().create_task(server.serve([listener]))
    try:
        yield reader, writer
    finally:
        writer.close()
        server.leave()
        await running
