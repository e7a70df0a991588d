"""The least a server can do: a fixed answer. What one process of ours gets from it is the most it can ask of any."""

import asyncio
import multiprocessing
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import uvloop
from httptools import HttpParserError, HttpRequestParser

from ordering.entrypoints.loadgen.traffic import Address

_BODY = b'{"success":true}'
_ANSWER = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_BODY),
    _BODY,
)


class _Trivial(asyncio.Protocol):
    """Reads requests properly and answers all of them alike."""

    def __init__(self) -> None:
        self._parser = HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            if self._transport is not None:
                self._transport.abort()

    def on_message_complete(self) -> None:
        """A whole request is here."""
        if self._transport is not None:
            self._transport.write(_ANSWER)


@contextmanager
def trivial_server() -> Iterator[Address]:
    """The server, in a process of its own, on a free port of this machine."""
    with socket.create_server(("127.0.0.1", 0), backlog=1_024) as listener:
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_serve, args=(listener,), daemon=True)
        process.start()
        try:
            yield Address("127.0.0.1", listener.getsockname()[1])
        finally:
            process.terminate()
            process.join()


def _serve(listener: socket.socket) -> None:
    uvloop.run(_serve_for_ever(listener))


async def _serve_for_ever(listener: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(_Trivial, sock=listener)
    await server.serve_forever()
