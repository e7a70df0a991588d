"""An answer leaves in one write, whatever the application sends it in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from ordering.entrypoints.one_write import OneWrite
from ordering.entrypoints.protocol import BoundedProtocol

pytestmark = pytest.mark.anyio

BODY = b'{"success":true}'


class Wire(asyncio.Transport):
    """A connection that remembers each write by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:  # noqa: ANN401 -- as asyncio has it
        if data:
            self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def write_eof(self) -> None:
        self.writes.append(b"EOF")

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        """Nothing is read here."""

    def resume_reading(self) -> None:
        """Nothing is read here."""


def answering(pieces: Sequence[bytes], *, length: int | None = None) -> Any:  # noqa: ANN401 -- an ASGI application
    """An application that answers in pieces; with a ``length`` it says so beforehand."""

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        headers = [] if length is None else [(b"content-length", b"%d" % length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number, piece in enumerate(pieces, start=1):
            await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})

    return app


async def answered(app: Any, request: bytes) -> Wire:  # noqa: ANN401
    """What goes over the wire until everything that was asked is answered."""
    config = uvicorn.Config(app, log_config=None, access_log=False)
    config.load()
    state = ServerState()
    protocol = BoundedProtocol(config, state, {}, asyncio.get_running_loop())
    wire = Wire()
    protocol.connection_made(wire)
    protocol.data_received(request)
    while state.tasks:
        await asyncio.gather(*state.tasks)
    protocol.connection_lost(None)
    return wire


def asked(method: str = "GET") -> bytes:
    """A request."""
    return f"{method} / HTTP/1.1\r\nHost: here\r\n\r\n".encode()


async def test_head_and_body_of_an_answer_are_one_write() -> None:
    """One system call and one packet."""
    wire = await answered(answering([BODY], length=len(BODY)), asked())

    (write,) = wire.writes
    assert write.startswith(b"HTTP/1.1 200 OK\r\n")
    assert write.endswith(b"\r\n\r\n" + BODY)


async def test_answers_to_pipelined_requests_are_a_write_each_in_their_order() -> None:
    """Each has its own head."""
    wire = await answered(answering([BODY], length=len(BODY)), asked() * 3)

    assert [write.count(b"HTTP/1.1 200 OK") for write in wire.writes] == [1, 1, 1]
    assert all(write.endswith(BODY) for write in wire.writes)


async def test_what_is_streamed_leaves_piece_by_piece_and_the_first_takes_the_head_along() -> None:
    """Nothing waits for the end of a long answer."""
    wire = await answered(answering([b"first", b"second", b""]), asked())

    assert wire.writes[0].endswith(b"\r\n\r\n5\r\nfirst\r\n")
    assert wire.writes[1:] == [b"6\r\nsecond\r\n", b"0\r\n\r\n"]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_an_answer_without_a_body_leaves_too(method: str) -> None:
    """To HEAD nothing follows the head; to GET an empty body does."""
    wire = await answered(answering([b""], length=0), asked(method))

    (write,) = wire.writes
    assert write.startswith(b"HTTP/1.1 200 OK\r\n")
    assert write.endswith(b"\r\n\r\n")


async def test_an_answer_that_breaks_off_behind_its_head_leaves_and_ends_the_connection() -> None:
    """Its client sees that something is missing, as it would have with the head sent at once."""
    wire = await answered(answering([], length=5), asked())

    (write,) = wire.writes
    assert b"content-length: 5" in write
    assert wire.closed


async def test_what_is_kept_goes_where_the_answer_goes_by_then() -> None:
    """A connection that has to be closed in two steps is one even if that turns out in the middle of an answer."""
    before, after = Wire(), Wire()
    answer = OneWrite(before, has_body=True)
    answer.write(b"head ")
    answer.to = after
    answer.write(b"body")
    answer.close()

    assert before.writes == []
    assert after.writes == [b"head body"]
    assert (before.closed, after.closed, answer.is_closing()) == (False, True, True)
