"""Connections of the HTTP server: refused clients can read why, idle and stalled ones end, and there is a limit."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest

from ordering.entrypoints.bounds import Reports
from ordering.entrypoints.http.admission import SURPLUS
from tests.e2e.bounded_server import PATIENT, Receive, Send, app, refuses, serving

pytestmark = pytest.mark.process

# ------------------------------------------------------------------ refused, and able to read why


@pytest.mark.parametrize("size", [3, 200_000, 1_000_000])
async def test_a_refused_request_leaves_its_connection_in_order(size: int) -> None:
    """Whatever of its body comes behind the answer is not taken for the next request."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
    async with serving(PATIENT, refuses) as (reader, writer):
        for _ in range(3):
            writer.write(head + b"x" * size)
            assert (await reader.readuntil(b"full")).startswith(b"HTTP/1.1 503")


async def test_a_refused_client_that_sends_on_and_on_is_cut_off() -> None:
    """It had its answer."""
    cut: list[str] = []
    async with serving(attrs.evolve(PATIENT, discard_bytes=500_000), refuses, Reports(cut=cut.append)) as (
        reader,
        writer,
    ):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        assert (await reader.readuntil(b"full")).startswith(b"HTTP/1.1 503")
        with pytest.raises(ConnectionError):
            await _send_for_ever(writer)
    assert cut == ["sends-on"]


async def _send_for_ever(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 100_000)
        await writer.drain()


async def test_a_refusal_of_a_request_that_goes_on_arrives_all_the_same() -> None:
    """Closing a connection with unread bytes resets it, and a reset overtakes the answer."""
    async with serving() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 3_000_000)
        answer = await reader.read()

    assert answer.startswith(b"HTTP/1.1 431")
    assert answer.endswith(b"}")


# ------------------------------------------------------------------ connections


async def test_an_idle_connection_is_closed() -> None:
    """After its last answer, and before any request."""
    for sent, bound in ((b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "idle_seconds"), (b"", "head_seconds")):
        async with serving(attrs.evolve(PATIENT, **{bound: 0.2}), first=sent) as (reader, _):
            assert (await reader.read()).startswith(b"HTTP/1.1 200" if sent else b"")


async def test_a_client_that_takes_nothing_of_its_answer_is_dropped() -> None:
    """A slow reader is fine; one that stands still keeps a request in hand."""
    ended = asyncio.Event()

    async def streams(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(500):
                await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            ended.set()

    cut: list[str] = []
    async with serving(attrs.evolve(PATIENT, send_seconds=0.3), streams, Reports(cut=cut.append)) as (reader, writer):
        transport: Any = writer.transport
        transport.pause_reading()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(ended.wait(), 120)
        assert not reader.at_eof()
    assert cut == ["stalled"]


async def test_a_connection_too_many_is_told_so_and_one_more_is_closed() -> None:
    """The application refuses (it knows whose health must be told); far beyond the limit nothing is read."""
    marked: list[bool] = []

    async def noting(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            marked.append(SURPLUS in scope.get("extensions", {}))
        await app(scope, receive, send)

    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    reasons: list[str] = []
    async with serving(attrs.evolve(PATIENT, connections=4), noting, Reports(cut=reasons.append)) as (reader, writer):
        address = writer.get_extra_info("peername")
        others = [await asyncio.open_connection(*address) for _ in range(3)]
        for some_reader, some in [(reader, writer), *others]:
            some.write(request)
            await some_reader.readuntil(b"\r\n\r\n")
        surplus_reader, surplus = await asyncio.open_connection(*address)
        beyond_reader, beyond = await asyncio.open_connection(*address)
        try:
            cut = await beyond_reader.read() == b""
        except ConnectionError:
            cut = True
        surplus.write(request)
        answer = await surplus_reader.read()
        for _, each in [*others, (surplus_reader, surplus), (beyond_reader, beyond)]:
            each.close()

    assert marked == [False, False, False, False, True]
    assert b"connection: close" in answer
    assert cut
    assert reasons == ["no-room"]
