"""Answers with ready bytes: the cheapest thing Litestar and a server can send."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final

from litestar.response.base import ASGIResponse

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

Lines = tuple[tuple[bytes, bytes], ...]
"""Header lines."""

JSON: Final = b"application/json"
PROBLEM: Final = b"application/problem+json"

NO_STORE: Final = b"no-store"


class Reply(ASGIResponse):
    """A whole answer in bytes. To a HEAD request it says what a GET would have been answered, without the body."""

    __slots__ = ("cache", "extra", "media_type", "request_id")

    code: str | None = None
    """The code of the problem document that this is, if it is one."""

    def __init__(
        self,
        status: int,
        body: bytes,
        request_id: str,
        *,
        media_type: bytes = JSON,
        cache: bytes = NO_STORE,
        extra: Lines = (),
    ) -> None:
        # The base class parses headers and cookies we do not have; its state is not needed by what we override.
        self.status_code = status
        self.body = body
        self.request_id = request_id
        self.media_type = media_type
        self.cache = cache
        self.extra = extra

    def head(self) -> list[tuple[bytes, bytes]]:
        """The header lines."""
        return [
            (b"content-type", self.media_type),
            (b"content-length", b"%d" % len(self.body)),
            (b"x-request-id", self.request_id.encode("latin-1")),
            (b"cache-control", self.cache),
            (b"x-content-type-options", b"nosniff"),
            *self.extra,
        ]

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        start: Any = {"type": "http.response.start", "status": self.status_code, "headers": self.head()}
        await send(start)
        body = b"" if scope.get("method") == "HEAD" else self.body
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def to_asgi_response(self, *_: object, **__: object) -> "Reply":
        """Litestar asks exception handlers' answers for this; a Reply is one already."""
        return self


class Problem(Reply):
    """A problem document."""

    __slots__ = ("code",)

    code: str

    def __init__(self, status: int, code: str, body: bytes, request_id: str, extra: Lines = ()) -> None:
        super().__init__(status, body, request_id, media_type=PROBLEM, extra=extra)
        self.code = code


class StreamedReply(Reply):
    """An answer whose length is not known before it is sent; if it breaks off, so does the connection."""

    __slots__ = ("chunks", "on_error")

    def __init__(
        self, chunks: AsyncIterator[bytes], request_id: str, on_error: Callable[[str, BaseException], None]
    ) -> None:
        super().__init__(200, b"", request_id)
        self.chunks, self.on_error = chunks, on_error

    def head(self) -> list[tuple[bytes, bytes]]:
        return [line for line in super().head() if line[0] != b"content-length"]

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        start: Any = {"type": "http.response.start", "status": self.status_code, "headers": self.head()}
        await send(start)
        if scope.get("method") != "HEAD":
            try:
                async for chunk in self.chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except asyncio.CancelledError:
                return  # the server stops, and drops the connection because this answer is incomplete
            except Exception as error:
                self.on_error(self.request_id, error)
                raise  # the server drops the connection, so nobody takes a part for the whole
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def etag(version: int) -> Lines:
    """An order's version as its entity tag."""
    return ((b"etag", b'"%d"' % version),)
