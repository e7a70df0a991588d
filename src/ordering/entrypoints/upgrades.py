"""Offers to go on in another protocol, which are ignored: we know no other one (RFC 9110, section 7.8).

Java's HTTP client and ``curl --http2`` offer HTTP/2 with the first request of a connection. The parser takes every
offer for accepted: it leaves out the request's body and stops. So the request is read once more, without its offer.
"""

from collections.abc import Iterable
from typing import Final

_OF_THE_OFFER: Final = frozenset({b"upgrade", b"http2-settings"})


def head_without_offer(method: bytes, target: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head of a request as it would be without the offer; names in small letters."""
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode("ascii"))]
    for name, value in headers:
        if name == b"connection":
            kept = [token for token in value.split(b",") if token.strip().lower() not in _OF_THE_OFFER]
            lines += [b"connection:" + b",".join(kept)] if kept else []
        elif name not in _OF_THE_OFFER:
            lines.append(b"%b: %b" % (name, value))
    return b"\r\n".join([*lines, b"", b""])
