"""Admission behind a real socket: the server asks for it as soon as a request is here."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ordering.entrypoints.bounds import Bounds
from ordering.entrypoints.http.admission import Admission, AdmissionLimits, Load
from ordering.entrypoints.process import listen
from ordering.entrypoints.server import server_of

pytestmark = pytest.mark.process

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

REQUEST = b"POST /x HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\nContent-Length: 3\r\n\r\nabc"
HEALTH = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_refusals_do_not_wait_for_requests_that_came_before_them() -> None:
    """Forty come at once and one is admitted: all others are answered before it gets its first turn, on connections
    that stay usable; behind it there is room again."""
    entered: list[str] = []
    going_on = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            entered.append(scope["path"])
            if scope["path"] == "/x":
                await going_on.wait()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

    refused = 0

    def count() -> None:
        nonlocal refused
        refused += 1

    admission = Admission(app, AdmissionLimits(in_hand=1), Load(), lambda: "made-up", count)
    server = server_of(admission, 30.0, Bounds())
    listener = listen("127.0.0.1", 0, "API_PORT")
    address = listener.getsockname()[:2]
    running = asyncio.get_running_loop().create_task(server.serve([listener]))
    streams = [await asyncio.open_connection(*address) for _ in range(40)]

    for _ in range(2):
        for _, writer in streams[1:] if entered else streams:
            writer.write(REQUEST)
        heads = [asyncio.ensure_future(reader.readuntil(b"\r\n\r\n")) for reader, _ in streams[1:]]
        for head in heads:
            answer = await head
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"\r\nx-request-id: mine\r\n" in answer
            assert b"connection: close" not in answer
        for (reader, _), head in zip(streams[1:], heads, strict=True):
            length = int((await head).partition(b"content-length: ")[2].partition(b"\r\n")[0])
            assert b'"code":"overloaded"' in await reader.readexactly(length)
    assert (entered, refused, admission.in_hand) == (["/x"], 78, 1)

    streams[1][1].write(HEALTH)
    assert (await streams[1][0].readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    going_on.set()
    assert (await streams[0][0].readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    streams[2][1].write(REQUEST)
    assert (await streams[2][0].readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    assert admission.in_hand == 0
    for _, writer in streams:
        writer.close()
    server.leave()
    await running


LIMITED = """
import resource
from ordering.entrypoints.process import allow_descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 100))
print([(allow_descriptors(needed), resource.getrlimit(resource.RLIMIT_NOFILE)) for needed in (50, 80, 1_000)])
"""


def test_a_process_allows_itself_as_many_connections_as_it_may() -> None:
    """Systems give 1,024 descriptors to who does not ask for more; the hard limit is the system's word."""
    told = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True).stdout

    assert told == "[(50, (64, 100)), (80, (80, 100)), (100, (100, 100))]\n"
