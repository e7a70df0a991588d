"""The request headers we read, each parsed strictly: a value, or the fault named after the header."""

import re
from typing import Final

from ordering.domain.errors import Code, Fault

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
IF_MATCH: Final = "If-Match"
KEY_LENGTH_MAX: Final = 255
REQUEST_ID_LENGTH_MAX: Final = 128
TRACESTATE_LENGTH_MAX: Final = 512

_PRINTABLE: Final = re.compile(r"[ -~]+").fullmatch
_QUOTED: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"').fullmatch
_ESCAPED: Final = re.compile(r"\\(.)")
_REQUEST_ID: Final = re.compile(rf"[!-~](?:[ -~]{{0,{REQUEST_ID_LENGTH_MAX - 2}}}[!-~])?").fullmatch
_TRACEPARENT: Final = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-[!-~]{0,200})?"
).fullmatch
_ENTITY_TAG: Final = re.compile(r'(?P<weak>W/)?"(?P<tag>[!#-~\x80-\xff]*)"').match
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}").fullmatch


def idempotency_key(value: str | None) -> str | Fault | None:
    """The client's key: 1..255 printable ASCII characters, bare or as an RFC 8941 string, which is the same key."""
    if value is None:
        return None
    key = value
    if value.startswith('"'):
        quoted = _QUOTED(value)
        key = _ESCAPED.sub(r"\1", quoted[1]) if quoted else ""
    if not _PRINTABLE(key) or len(key) > KEY_LENGTH_MAX:
        return Fault(
            IDEMPOTENCY_KEY,
            Code.MALFORMED_HEADER,
            f"must be given once, as 1 to {KEY_LENGTH_MAX} printable ASCII characters, bare or as a quoted string",
        )
    return key


def if_match(value: str | None) -> frozenset[int] | Fault | None:
    """The versions an update may start from; None for any (``*`` or no header).

    Weak tags and tags we never gave out are valid but match nothing.
    """
    if value is None or value == "*":
        return None
    versions: set[int] = set()
    place, tags = 0, 0
    text = value.replace("\n", ",")  # several header lines are one list
    while place < len(text):
        if text[place] in ", \t":
            place += 1
            continue
        tag = _ENTITY_TAG(text, place)
        if tag is None or (tag.end() < len(text) and text[tag.end()] not in ", \t"):
            return _MALFORMED_IF_MATCH
        if not tag["weak"] and _VERSION(tag["tag"]):
            versions.add(int(tag["tag"]))
        place, tags = _next_element(text, tag.end()), tags + 1
        if place < 0:
            return _MALFORMED_IF_MATCH
    return frozenset(versions) if tags else _MALFORMED_IF_MATCH


_MALFORMED_IF_MATCH: Final = Fault(
    IF_MATCH, Code.MALFORMED_HEADER, 'must be * or a list of entity tags such as "3", as ETag gives them'
)


def _next_element(text: str, place: int) -> int:
    """Where the list goes on after an element, or -1 if something other than a comma follows it."""
    rest = text[place:].lstrip(" \t")
    if rest and rest[0] != ",":
        return -1
    return len(text) - len(rest)


def acceptable_request_id(value: str | None) -> str | None:
    """The client's request id if it has 1..128 printable ASCII characters, else None (it gets one of ours)."""
    return value if value is not None and _REQUEST_ID(value) else None


def acceptable_traceparent(value: str | None) -> str | None:
    """A valid W3C traceparent as it is (also of a future version), else None."""
    if value is None:
        return None
    match = _TRACEPARENT(value)
    return value if match and (match["more"] is None or match["version"] != "00") else None


def acceptable_tracestate(value: str | None) -> str | None:
    """A tracestate of at most 512 printable ASCII characters, several lines joined, else None."""
    if value is None:
        return None
    joined = value.replace("\n", ",")
    return joined if len(joined) <= TRACESTATE_LENGTH_MAX and _PRINTABLE(joined) else None
