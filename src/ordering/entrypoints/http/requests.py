"""One HTTP request as our endpoints see it: the few headers they know, the body within its bound, the query."""

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import unquote_to_bytes

from ordering.application.commands import Context, Once
from ordering.application.errors import ShuttingDown
from ordering.domain.errors import Code, Fault, InvalidInput, OrderingError
from ordering.domain.fields import shown
from ordering.domain.order import Order
from ordering.entrypoints.http.headers import (
    acceptable_request_id,
    acceptable_traceparent,
    acceptable_tracestate,
)

if TYPE_CHECKING:
    from litestar.types import Receive, Scope

Value = TypeVar("Value")

_KNOWN: Final = {
    name.encode(): name
    for name in ("content-length", "host", "idempotency-key", "if-match", "traceparent", "tracestate", "x-request-id")
}
_HOST: Final = re.compile(r"[0-9A-Za-z!$&'()*+,;=\-._~:\[\]@%]*").fullmatch


class PayloadTooLarge(OrderingError):
    """The body is longer than a body may be."""

    code = Code.PAYLOAD_TOO_LARGE

    def __init__(self, limit: int) -> None:
        super().__init__(f"The request body is larger than {limit} bytes")


class Faults:
    """Collects what is wrong with a request, so that all of it is told at once."""

    __slots__ = ("_found",)

    def __init__(self, *found: Fault) -> None:
        self._found = list(found)

    def of(self, value: Value | Fault, instead: Value) -> Value:
        """The value; of a Fault note is taken (the first at a place), and ``instead`` serves until ``check``."""
        if isinstance(value, Fault):
            if all(fault.field != value.field for fault in self._found):
                self._found.append(value)
            return instead
        return value

    def with_those_of(self, read: Callable[[], Value]) -> Value:
        """What ``read`` answers, unless it or anything before had faults. Raises InvalidInput."""
        try:
            value = read()
        except InvalidInput as refused:
            raise InvalidInput([*self._found, *refused.faults]) from None
        self.check()
        return value

    def check(self) -> None:
        """Raises InvalidInput if there were faults."""
        if self._found:
            raise InvalidInput(self._found)


class Call:
    """A request with its id. ``headers`` holds the known ones by lower-case name, repeated lines joined by newlines
    (which no header value can hold, so that a repeated single-valued header is never mistaken for one)."""

    __slots__ = ("headers", "receive", "request_id", "scope")

    def __init__(self, scope: "Scope", receive: "Receive", new_request_id: Callable[[], str]) -> None:
        self.scope, self.receive = scope, receive
        self.headers = headers = known_headers(scope)
        self.request_id = acceptable_request_id(headers.get("x-request-id")) or new_request_id()

    def context(self, once: Once | None) -> Context:
        """What a use case passes on with the change: request id, trace and idempotency."""
        traceparent = acceptable_traceparent(self.headers.get("traceparent"))
        tracestate = acceptable_tracestate(self.headers.get("tracestate")) if traceparent else None
        return Context(self.request_id, traceparent, tracestate, once)


def known_headers(scope: "Scope") -> dict[str, str]:
    """The headers we read, by lower-case name."""
    found: dict[str, str] = {}
    for raw_name, value in scope["headers"]:
        name = _KNOWN.get(raw_name)
        if name is not None:
            text = value.decode("latin-1")
            found[name] = f"{found[name]}\n{text}" if name in found else text
    return found


def check_host(scope: "Scope", headers: Mapping[str, str], allowed: frozenset[str]) -> None:
    """Refuse a malformed ``Host``, HTTP/1.1 without one (RFC 9112, 3.2) and, if hosts are listed, one that is not
    listed (ports are not compared)."""
    host = headers.get("host", "")
    if (
        not _HOST(host)
        or (allowed and host_name(host) not in allowed)
        or ("host" not in headers and scope["http_version"] == "1.1")
    ):
        raise InvalidInput([HOST_FAULT])


HOST_FAULT: Final = Fault("Host", Code.MALFORMED_HEADER, "must name this service")


def host_name(host: str) -> str:
    """The name in a Host header, lower-case and without its port."""
    return re.sub(r":[0-9]*\Z", "", host).lower()


async def read_body(call: Call, limit: int) -> bytes:
    """The whole body, at most ``limit`` bytes of it, whatever its length is said to be."""
    announced = call.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > limit):
        raise PayloadTooLarge(limit)
    body, more = b"", True
    while more:
        try:
            message: Any = await call.receive()
        except asyncio.CancelledError:  # the server stops; nothing was stored yet
            raise ShuttingDown from None
        if message["type"] != "http.request":
            raise InvalidInput([Fault("body", Code.INVALID_JSON, "ended before it was complete")])
        body = body + message["body"] if body else message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            raise PayloadTooLarge(limit)
    return body


def once_of(scope: str, key: str, body: bytes, status: int, render: Callable[[Order], bytes]) -> Once:
    """What an idempotency key stands for: ``scope`` is the route's method and path, however a client wrote them; the
    fingerprint is of the raw body."""
    return Once(f"{scope} {key}", hashlib.sha256(body).digest(), status, render)


def read_query(call: Call, names: frozenset[str]) -> tuple[dict[str, str], Faults]:
    """The text of each parameter in ``names`` that is given, and the faults of the query string's form.

    A parameter given twice is a fault whatever its name; other unknown parameters are ignored.
    """
    found: dict[str, str] = {}
    faults: list[Fault] = []
    raw = call.scope["query_string"]
    if not raw:
        return found, Faults()
    seen: set[bytes] = set()
    repeated: set[bytes] = set()
    for pair in raw.split(b"&"):
        if not pair:
            continue
        raw_name, _, raw_value = pair.partition(b"=")
        name_bytes = _unquoted(raw_name)
        if name_bytes in seen:
            repeated.add(name_bytes)
            continue
        seen.add(name_bytes)
        name = shown(name_bytes.decode(errors="backslashreplace"))
        if name not in names:
            continue
        try:
            found[name] = _unquoted(raw_value).decode()
        except UnicodeDecodeError:
            faults.append(Fault(name, Code.INVALID_UTF8, "is not UTF-8"))
    for name_bytes in sorted(repeated):
        name = shown(name_bytes.decode(errors="backslashreplace"))
        faults.append(Fault(name, Code.REPEATED_PARAMETER, "must be given at most once"))
    return found, Faults(*faults)


def _unquoted(raw: bytes) -> bytes:
    return unquote_to_bytes(raw.replace(b"+", b" ")) if b"%" in raw or b"+" in raw else raw
