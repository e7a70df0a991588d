"""HTTP/1.1 at little cost: clients that share the machine with the services must not take it from them.

httpx's own transport takes longer for a request than the service that answers it. This one knows what these services
do, and no more: plain HTTP, one request at a time, answers with a length.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final
from urllib.parse import urlsplit

import httpx

_NO_AUTHORITIES: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Nothing here is TLS: to read the machine's certificates for every client would take a while."""


def client(url: str, timeout: float) -> httpx.AsyncClient:
    """A client of one service, on one connection after the other; ``timeout`` in seconds, for a whole request."""
    transport = PlainTransport(url)
    return httpx.AsyncClient(
        base_url=url, timeout=timeout, transport=transport, trust_env=False, verify=_NO_AUTHORITIES
    )


class PlainTransport(httpx.AsyncBaseTransport):
    """Keeps its connection; after any failure the next request gets another one. Raises what httpx's transport does:
    ConnectError, ReadError, ReadTimeout."""

    def __init__(self, url: str) -> None:
        self._host, self._port = urlsplit(url).hostname, urlsplit(url).port
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def aclose(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection[1].close()
            self._connection = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request and its answer."""
        try:
            async with asyncio.timeout(request.extensions["timeout"]["read"]):
                return await self._exchange(request)
        except TimeoutError as error:
            await self.aclose()
            raise httpx.ReadTimeout("no answer in time") from error
        except (OSError, asyncio.IncompleteReadError) as error:
            await self.aclose()
            raise httpx.ReadError(str(error)) from error
        except asyncio.CancelledError:
            await self.aclose()  # its answer may still come
            raise

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        if self._connection is not None and self._connection[0].at_eof():
            await self.aclose()
        if self._connection is None:
            try:
                self._connection = await asyncio.open_connection(self._host, self._port)
            except OSError as error:
                raise httpx.ConnectError(str(error)) from error
        reader, writer = self._connection
        lines = [b"%b %b HTTP/1.1" % (request.method.encode(), request.url.raw_path)]
        lines += [b"%b: %b" % header for header in request.headers.raw]
        writer.write(b"\r\n".join([*lines, b"", await request.aread()]))
        head = await reader.readuntil(b"\r\n\r\n")
        first, *rest = head[:-4].split(b"\r\n")
        headers = httpx.Headers([_header(line) for line in rest])
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            await self.aclose()
        return httpx.Response(int(first.split(b" ", 2)[1]), headers=headers, content=body)


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name, value.strip()
