"""What a client may make the HTTP server keep, and for how long."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import attrs
import pytest

from ordering.entrypoints.bounds import Bounds, Reports
from tests.e2e.bounded_server import IMPATIENT, PATIENT, Receive, Send, app, refuses, serving

pytestmark = pytest.mark.process


async def status_after(first: bytes, *sent: bytes, bounds: Bounds = PATIENT) -> bytes:
    """The status line's code after sending these pieces; empty if the connection was closed without an answer."""
    async with serving(bounds, first=first) as (reader, writer):
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
    """Half a head and half a body are told so, silence is only closed."""
    assert await status_after(b"GET / HTT", bounds=IMPATIENT) == b"408"
    assert await status_after(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc", bounds=IMPATIENT) == b"408"
    assert await status_after(b"", bounds=IMPATIENT) == b""


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTT", 408),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\nnonsense\r\n\r\n", 431),
    ],
)
async def test_a_request_that_no_endpoint_sees_is_refused_with_a_problem_document(sent: bytes, status: int) -> None:
    """Clients find the same members in it as in every other refusal, and operators find it counted."""
    counted: list[tuple[int, str]] = []
    reports = Reports(refused=lambda *what: counted.append(what))
    async with serving(IMPATIENT, reports=reports, first=sent) as (reader, _):
        answer = await reader.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    problem = json.loads(body)

    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\ncontent-type: application/problem+json\r\n" in head
    assert b"\r\ncontent-length: %d\r\n" % len(body) in head
    assert problem["status"] == status
    assert problem["success"] is False
    assert problem["message"] == problem["detail"] != ""
    assert problem["type"] == f"urn:ordering:problem:{problem['code']}"
    assert problem["errors"] == []
    assert counted == [(status, problem["code"])]


@pytest.mark.parametrize("behind", [b"FOO / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"])
async def test_a_refusal_is_not_taken_for_the_answer_to_the_request_before_it(behind: bytes) -> None:
    """That one may have stored something; it gets its own answer, and the connection ends with it."""
    async with serving() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + behind)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(1)

    assert head.startswith(b"HTTP/1.1 200")
    assert body == b"3"


@pytest.mark.parametrize(
    "behind",
    [
        b"FOO / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab",
    ],
)
async def test_whole_requests_before_a_bad_one_are_answered(behind: bytes) -> None:
    """However many wait for their turn; then the connection ends, with 408 if the last one is only late."""
    whole = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    async with serving(IMPATIENT, first=whole * 2 + behind) as (reader, _):
        answer = await reader.read()

    assert answer.count(b"HTTP/1.1 200") == 2


async def test_a_connection_that_is_used_again_keeps_its_bounds() -> None:
    """Each request counts for itself."""
    request = b"GET / HTTP/1.1\r\nX: " + b"x" * 30_000 + b"\r\n\r\n"
    async with serving() as (reader, writer):
        for _ in range(5):
            writer.write(request)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(1) == b"0"


# ------------------------------------------------------------------ what is on its way


async def heard_of(sent: bytes, then: bytes = b"", bounds: Bounds = PATIENT) -> list[str]:
    """The paths of the requests that the application heard of, after the server closed the connection."""
    heard: list[str] = []

    async def noting(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            heard.append(scope["path"])
        await app(scope, receive, send)

    async with serving(bounds, noting, first=sent) as (reader, writer):
        if then:
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(then)
        await reader.read()
    return heard


async def test_the_application_hears_of_a_request_when_all_of_it_is_here() -> None:
    """Half a body takes no place among the requests in hand, and nothing of it can be stored."""
    head = b"POST /half HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\n"
    chunked = b"POST /half HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n400\r\nabc"

    assert await heard_of(head + b"ab", bounds=IMPATIENT) == []
    assert await heard_of(chunked, bounds=IMPATIENT) == []
    assert await heard_of(head + b"ab", b"c") == ["/half"]


async def test_bytes_that_come_now_and_then_do_not_renew_a_deadline() -> None:
    """Neither those of a head nor those of a body."""
    for part in (b"GET / HTTP/1.1\r\nX: ", b"POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n"):
        async with serving(IMPATIENT, first=part) as (reader, writer):
            answering = asyncio.get_running_loop().create_task(reader.readuntil(b"\r\n"))
            while not answering.done():
                writer.write(b"x")
                await asyncio.wait([answering], timeout=0.05)
            assert (await answering).startswith(b"HTTP/1.1 408")


async def test_a_body_that_is_too_long_is_refused_before_it_is_sent() -> None:
    """Its length says so; a client that asks whether to send it is told not to."""
    too_long = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 300000\r\n\r\n"
    async with serving(app=refuses) as (reader, writer):
        writer.write(too_long)
        answer = await reader.read()  # it ends here: nobody knows whether a body or another request would follow

    assert answer.startswith(b"HTTP/1.1 503")
    assert b"connection: close" in answer


async def test_a_client_that_asks_whether_to_send_a_body_is_invited() -> None:
    """And keeps its connection."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    async with serving() as (reader, writer):
        for _ in range(2):
            writer.write(head)
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"abc")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(1) == b"3"


@pytest.mark.parametrize(
    "body", [b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("pieces", ["whole", "head and body", "bytes"])
async def test_an_offer_of_another_protocol_is_ignored(body: bytes, pieces: str) -> None:
    """Java's HTTP client and ``curl --http2`` make one with each request on a new connection. The body counts all the
    same, and so does the next request behind it."""
    offer = (
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
    )
    sent = (offer + body) * 2
    head = len(offer) + body.index(b"\r\n\r\n") + 4
    cuts = {"whole": [], "head and body": [head, head + len(offer + body)], "bytes": range(1, len(sent))}[pieces]
    async with serving() as (reader, writer):
        for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            writer.write(sent[begin:end])
            await writer.drain()
            await asyncio.sleep(0)
        for _ in range(2):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(1) == b"3"


async def test_an_offer_does_not_lift_the_bounds() -> None:
    """Neither that of the head, nor the deadlines, nor the end that a client asked for."""
    offer = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: h2c\r\nContent-Length: 3\r\n"

    assert await status_after(offer + b"X: " + b"x" * 70_000 + b"\r\n\r\nabc") == b"431"
    assert await status_after(offer + b"\r\nab", bounds=IMPATIENT) == b"408"
    async with serving() as (reader, writer):
        writer.write(offer + b"\r\nabc")
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"3")


async def test_behind_a_tunnel_that_is_refused_nothing_is_read() -> None:
    """What comes is meant for somebody else."""
    async with serving() as (reader, writer):
        writer.write(b"CONNECT / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await reader.read()
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_all_bodies_on_their_way_have_a_limit_together() -> None:
    """Who exceeds it is told to come back; others go on, and what was held is given back."""
    bounds = attrs.evolve(PATIENT, held_bytes=150_000)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    async with serving(bounds) as (reader, writer):
        address = writer.get_extra_info("peername")
        writer.write(head + b"x" * 99_999)
        other_reader, other = await asyncio.open_connection(*address)
        other.write(head + b"x" * 99_999)
        done, _ = await asyncio.wait(
            [asyncio.ensure_future(reader.read(12)), asyncio.ensure_future(other_reader.read(12))],
            return_when=asyncio.FIRST_COMPLETED,
        )
        assert [task.result() for task in done] == [b"HTTP/1.1 503"]
        other.close()
        writer.close()
        third_reader, third = await asyncio.open_connection(*address)
        third.write(head + b"x" * 100_000)
        assert await third_reader.read(12) == b"HTTP/1.1 200"
        third.close()
