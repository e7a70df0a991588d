"""The HTTP server: uvicorn on uvloop and httptools, with the bounds it does not have.

Uvicorn keeps whatever headers a client sends (50 MB were seen) and waits for a stuck request for ever. Here a
request's head has a size limit, and a request has to arrive within some seconds. A request that comes in one piece,
as nearly all do, costs no timer.
"""

import asyncio
import contextlib
import json
from collections.abc import Generator
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_REFUSALS: Final = {
    400: ("Bad Request", "This is no HTTP request that could be read"),
    408: ("Request Timeout", "The request did not arrive in time"),
    431: ("Request Header Fields Too Large", "The request's head is too large"),
}


class BoundedProtocol(HttpToolsProtocol):
    """One connection, bounded in what a client may make us keep."""

    head_bytes_max = 64 * 1024
    receive_seconds = 30.0

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 -- uvicorn's own
        super().__init__(*arguments, **named)
        self._in_head = True
        self._head_bytes = 0
        self._complete = True
        self._refused = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody who connects has to say something."""
        super().connection_made(transport)
        self._await_rest()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        self._rest_is_here()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, then judge what is still missing."""
        if self._in_head:
            self._head_bytes += len(data)
        if not self._refused:
            super().data_received(data)
        if self._refused:
            return
        if self._in_head and self._head_bytes > self.head_bytes_max:
            self._refuse(431)
        elif self._complete and (self._head_bytes == 0 or not self._in_head):
            self._rest_is_here()
        elif self._deadline is None:
            self._await_rest()

    def send_400_response(self, msg: str) -> None:
        """What cannot be parsed: an unknown method, a bad byte."""
        self._refuse(400)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._complete = True, False

    def on_headers_complete(self) -> None:
        """Start the request, unless its head came in one large piece that is over the limit."""
        over = self._head_bytes > self.head_bytes_max and self._head_size() > self.head_bytes_max
        self._in_head, self._head_bytes = False, 0
        if over:
            self._refuse(431)
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """More of the body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here as a whole."""
        self._complete, self._in_head = True, True
        if not self._refused:
            super().on_message_complete()

    # ------------------------------------------------------------------ bounds

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _await_rest(self) -> None:
        self._deadline = self.loop.call_later(self.receive_seconds, self._too_slow)

    def _rest_is_here(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self._in_head and self._head_bytes:
            self._refuse(408)
        else:
            self.transport.close()

    def _refuse(self, status: int) -> None:
        """Answer on the bare connection and close it; the rest of the request is not read."""
        self._refused = True
        in_body = status == 400 and not self._in_head
        before: Any = self.cycle
        if before is not None and not before.response_complete and not in_body:
            # The request before this one still waits for its answer, and its client would take this for it.
            before.keep_alive = False
            self._rest_is_here()
            return
        title, message = _REFUSALS[status]
        problem = {"type": "about:blank", "title": title, "status": status, "detail": message}
        body = json.dumps({**problem, "message": message, "success": False, "errors": []}).encode("ascii")
        fields = b"content-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body)
        self.transport.write(b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, title.encode("ascii"), fields, body))
        self.transport.close()


class Server(uvicorn.Server):
    """Uvicorn without its own signal handlers: the worker decides about the end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone."""
        yield


def server_of(app: Any, finish_seconds: float) -> Server:  # noqa: ANN401 -- an ASGI application
    """A server for one application; at the end, requests in hand get ``finish_seconds`` (whole ones, at least one)."""
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        loop="none",
        ws="none",
        lifespan="auto",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, int(finish_seconds)),
    )
    return Server(config)
