"""One keep-alive connection that carries one request at a time, without a task or a future for each."""

import asyncio
from collections.abc import Callable
from typing import cast

import attrs
from httptools import HttpParserError, HttpResponseParser


@attrs.frozen
class Response:
    """An answer: its status, its ETag ("" if it has none), its body if that was asked for."""

    status: int
    etag: str
    body: bytes


Answered = Callable[[Response], None]
Lost = Callable[["Connection", str], None]


class Connection(asyncio.Protocol):
    """Sends requests as they are in bytes. ``lost`` hears, once, that this connection is gone, and why; it is still
    ``busy`` then if a request is lost with it."""

    def __init__(self, lost: Lost, *, with_body: bool = False) -> None:
        self._lost, self._with_body = lost, with_body
        self._transport: asyncio.Transport | None = None
        self._answered: Answered | None = None
        self._etag = ""
        self._body = bytearray()
        self._parser = HttpResponseParser(self)
        self._reason = "connection closed"

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self._answered is not None

    @property
    def usable(self) -> bool:
        """Whether a request can be sent on it."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, answered: Answered) -> None:
        """Send a whole request; its answer goes to ``answered``, or its loss to ``lost``."""
        assert self._answered is None, "one request at a time"
        assert self._transport is not None
        self._answered = answered
        self._transport.write(request)

    def cut(self, reason: str) -> None:
        """Give up: whatever is under way is lost for this reason."""
        self._reason = reason
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------------ asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            self.cut("answer is no HTTP")

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._lost(self, self._reason)

    # ------------------------------------------------------------------ the parser calls these

    def on_message_begin(self) -> None:
        """A new answer."""
        self._etag = ""
        self._body.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line of it."""
        if name.lower() == b"etag":
            self._etag = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        if self._with_body:
            self._body += body

    def on_message_complete(self) -> None:
        """The whole answer is here."""
        status = self._parser.get_status_code()
        if status < 200:  # 100 Continue and the like: the answer is still to come
            return
        answered, self._answered = self._answered, None
        if not self._parser.should_keep_alive():
            self._reason = "server closed the connection"
            if self._transport is not None:
                self._transport.close()
        if answered is not None:
            answered(Response(status, self._etag, bytes(self._body)))


async def connect(host: str, port: int, lost: Lost, *, with_body: bool = False) -> Connection:
    """A new connection. Raises OSError."""
    _, protocol = await asyncio.get_running_loop().create_connection(
        lambda: Connection(lost, with_body=with_body), host, port
    )
    return protocol
