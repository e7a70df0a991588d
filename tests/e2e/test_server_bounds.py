"""What a client may make the HTTP server keep, and for how long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ordering.entrypoints.process import listen
from ordering.entrypoints.server import BoundedProtocol, server_of

pytestmark = pytest.mark.process

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Impatient(BoundedProtocol):
    """The same with a receive time that a test can wait for."""

    receive_seconds = 0.3


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


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a running server."""
    server = server_of(app, 1.0)
    server.config.load()
    server.config.http_protocol_class = Impatient
    listener = listen("127.0.0.1", 0, "API_PORT")
    address = listener.getsockname()[:2]
    running = asyncio.get_running_loop().create_task(server.serve([listener]))
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield reader, writer
    finally:
        writer.close()
        server.should_exit = True
        await running


async def status_after(*sent: bytes) -> bytes:
    """The status line's code after sending these pieces; empty if the connection was closed without an answer."""
    async with serving() as (reader, writer):
        for piece in sent:
            writer.write(piece)
            await writer.drain()
        try:
            answer = await reader.readuntil(b"\r\n")
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return b""
        return answer.split(b" ")[1]


async def test_an_ordinary_request_is_answered() -> None:
    """In one piece, in two, and by bytes."""
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"

    assert await status_after(request) == b"200"
    assert await status_after(request[:20], request[20:]) == b"200"
    assert await status_after(*(request[i : i + 1] for i in range(len(request)))) == b"200"


async def test_a_head_just_below_the_limit_is_read() -> None:
    """Cookies and tokens are long, too."""
    assert await status_after(b"GET / HTTP/1.1\r\nX: " + b"x" * 60_000 + b"\r\n\r\n") == b"200"


@pytest.mark.parametrize("end", [b"\r\n\r\n", b""])
async def test_a_head_over_the_limit_is_refused(end: bytes) -> None:
    """Whether it ever ends or not."""
    assert await status_after(b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000 + end) == b"431"


async def test_many_small_headers_are_as_bad_as_a_large_one() -> None:
    """The sum counts."""
    assert await status_after(b"GET / HTTP/1.1\r\n" + b"X: 12345678\r\n" * 10_000) == b"431"


async def test_a_long_body_does_not_count_as_head() -> None:
    """Bodies have a limit of their own, elsewhere."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"

    assert await status_after(head + b"x" * 200_000) == b"200"
    assert await status_after(head, *([b"x" * 10_000] * 20)) == b"200"


async def test_a_request_that_never_ends_is_closed() -> None:
    """Half a head is told so, half a body is only closed, silence too."""
    assert await status_after(b"GET / HTT") == b"408"
    assert await status_after(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc") == b""
    assert await status_after() == b""


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTT", 408),
    ],
)
async def test_a_request_that_no_endpoint_sees_is_refused_with_a_problem_document(sent: bytes, status: int) -> None:
    """Clients find the same members in it as in every other refusal."""
    async with serving() as (reader, writer):
        writer.write(sent)
        answer = await reader.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    problem = json.loads(body)

    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\ncontent-type: application/problem+json\r\n" in head
    assert b"\r\ncontent-length: %d\r\n" % len(body) in head
    assert problem["status"] == status
    assert problem["success"] is False
    assert problem["message"] == problem["detail"] != ""
    assert problem["errors"] == []


@pytest.mark.parametrize("behind", [b"FOO / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"])
async def test_a_refusal_is_not_taken_for_the_answer_to_the_request_before_it(behind: bytes) -> None:
    """That one may have stored something; it gets its own answer, and the connection ends with it."""
    async with serving() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + behind)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(1)

    assert head.startswith(b"HTTP/1.1 200")
    assert body == b"3"


async def test_a_connection_that_is_used_again_keeps_its_bounds() -> None:
    """Each request counts for itself."""
    request = b"GET / HTTP/1.1\r\nX: " + b"x" * 30_000 + b"\r\n\r\n"
    async with serving() as (reader, writer):
        for _ in range(5):
            writer.write(request)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(1) == b"0"
