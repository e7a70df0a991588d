"""One line of the conformance table: a request, and exactly what must come back."""

import json
from collections.abc import Mapping, Sequence

import attrs

ID = "%ID%"
"""Stands for an order id that nobody used before, in bodies, queries and expected values."""

Faults = Sequence[tuple[str, str]]


@attrs.frozen
class Row:
    """``faults`` are (field, code) in their order. ``answer`` maps a dotted path of the JSON answer to its value,
    ``holds`` are bytes the answer must hold (money is compared as it is printed). ``given`` is the status of an order
    %ID% that exists before the request, and ``visible`` means that the read model has it by then."""

    name: str
    service: str
    method: str
    path: str
    status: int
    body: bytes = b""
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    faults: Faults = ()
    code: str | None = None
    answer: Mapping[str, object] = attrs.Factory(dict)
    holds: tuple[bytes, ...] = ()
    replied: Mapping[str, str] = attrs.Factory(dict)
    given: str | None = None
    visible: bool = False


def body_of(document: object) -> bytes:
    """A request body: bytes and text as they are, anything else as JSON."""
    if isinstance(document, bytes):
        return document
    return document.encode() if isinstance(document, str) else json.dumps(document).encode()


def line(**changes: object) -> dict[str, object]:
    """A valid item of a cart, with changes; a value of ... leaves the field out."""
    item: dict[str, object] = {"itemId": "ITEM-LAPTOP-321", "quantity": 2, "price": 999.99, **changes}
    return {name: value for name, value in item.items() if value is not ...}


def cart(**changes: object) -> dict[str, object]:
    """A valid cart of an unused id, with changes; a value of ... leaves the field out."""
    document: dict[str, object] = {"orderId": ID, "items": [line()], **changes}
    return {name: value for name, value in document.items() if value is not ...}


def accepts(name: str, document: object, *holds: bytes, **answer: object) -> Row:
    """A create-order that is answered 201; ``answer`` are members of ``data``."""
    expected = {"success": True, **{f"data.{key}": value for key, value in answer.items()}}
    return Row(name, "cart", "POST", "/api/create-order", 201, body_of(document), answer=expected, holds=holds)


def refuses(name: str, document: object, *faults: tuple[str, str]) -> Row:
    """A create-order that is answered 400 with exactly these faults."""
    return Row(name, "cart", "POST", "/api/create-order", 400, body_of(document), faults=faults, code="invalid-input")


def update(name: str, document: object, status: int, code: str | None = None, **rest: object) -> Row:
    """An update-order."""
    return Row(name, "cart", "PUT", "/api/update-order", status, body_of(document), code=code, **rest)  # type: ignore[arg-type]


def read(name: str, path: str, query: str, status: int, code: str | None = None, **rest: object) -> Row:
    """A GET of the order service."""
    return Row(name, "order", "GET", path, status, query=query, code=code, **rest)  # type: ignore[arg-type]
