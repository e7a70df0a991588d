"""Kinds of settings that are addresses: brokers, a registry, databases, and what browsers call origins and hosts.

What is wrong with one is told at the start, by its setting's name. Left to the libraries behind, some of it would be
taken for something else (librdkafka connects to port 34463 for 99999) and some would just never match.
"""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from ordering.entrypoints.settings_values import Kind

_PORT_MAX: Final = 65_535
_PLACE: Final = re.compile(r"(?P<host>\[[0-9A-Za-z:.%]+\]|[^\s:/@\[\],]*)(?::(?P<port>[0-9]{1,5}))?").fullmatch
_BROKER: Final = re.compile(r"(?:[A-Za-z_]+://)?(?P<place>.+)").fullmatch
_ORIGIN: Final = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^\s/?#@]+").fullmatch
_HOST: Final = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+").fullmatch

DATABASE_RULE: Final = (
    "must be postgresql://user:password@host:port/database, with a port from 1 to 65535 and %-codes for special "
    "characters in user and password"
)


def brokers() -> Kind:
    """``host:port`` of each broker, separated by commas; without a port it is Kafka's own, 9092."""

    def parse(raw: str) -> str:
        places = [part.strip() for part in raw.split(",") if part.strip()]
        for place in places:
            found = _BROKER(place)
            if found is None or not _is_place(found["place"]):
                raise ValueError(f"must be host:port, with a port from 1 to 65535, separated by commas, not {place!r}")
        if not places:
            raise ValueError("must name a broker, as host:port")
        return raw

    return Kind("text", parse)


def web_address() -> Kind:
    """An address of HTTP or HTTPS with its base path."""

    def parse(raw: str) -> str:
        if not _is_web_address(raw):
            raise ValueError("must be http://host:port/path or https://host:port/path")
        return raw

    return Kind("text", parse)


def origins() -> Kind:
    """What browsers send as ``Origin``, separated by commas; ``*`` in one stands for anything."""
    rule = "must be origins such as https://shop.example or http://localhost:3000, without a path"
    return _list(_ORIGIN, rule)


def hosts() -> Kind:
    """Names that clients may know the services by, separated by commas."""
    return _list(_HOST, "must be host names such as shop.example, without scheme, port or wildcard")


def is_database(url: str) -> bool:
    """Whether hosts and ports of a PostgreSQL URL can be understood (there may be several, or none)."""
    authority = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
    places = authority.rpartition("@")[2]
    return not places or all(place and _is_place(place, hostless=True) for place in places.split(","))


def _is_place(place: str, *, hostless: bool = False) -> bool:
    found = _PLACE(place)
    if found is None or not (found["host"] or hostless):
        return False
    return found["port"] is None or 1 <= int(found["port"]) <= _PORT_MAX


def _is_web_address(url: str) -> bool:
    if not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none, or half a bracket
        return False
    return bool(usable) and not parts.query and not parts.fragment


def _list(matches: Callable[[str], object], rule: str) -> Kind:
    def parse(raw: str) -> tuple[str, ...]:
        parts = tuple(part.strip() for part in raw.split(",") if part.strip())
        for part in parts:
            if not matches(part):
                raise ValueError(f"{rule}, separated by commas, not {part!r}")
        return parts

    return Kind("list", parse)
