"""What clients may ask: the validator of decoded request bodies. It finds every fault before it refuses.

A document is a decoded JSON value (see ``fields``). Unknown fields are ignored as long as they are well-formed.
"""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import Final

import attrs

from ordering.domain.errors import Code, Fault, InvalidInput
from ordering.domain.fields import (
    NOT_FINITE,
    HugeInteger,
    NotFinite,
    Problem,
    currency_of,
    identifier,
    price,
    shown,
    status_of,
    whole_number,
)
from ordering.domain.money import AMOUNT_LIMIT, Currency, reaches_limit
from ordering.domain.order import OrderLine
from ordering.domain.parameters import read_order_id, read_seconds, read_topic_name, read_whole_number
from ordering.domain.status import OrderStatus

__all__ = [
    "ITEMS_MAX",
    "NUM_ITEMS_MAX",
    "QUANTITY_MAX",
    "CartInput",
    "ChangeStatusInput",
    "HugeInteger",
    "NotFinite",
    "NumItemsInput",
    "PlaceOrderInput",
    "read_change_status",
    "read_order_id",
    "read_place_order",
    "read_seconds",
    "read_topic_name",
    "read_whole_number",
]

NUM_ITEMS_MAX: Final = 100
ITEMS_MAX: Final = 1_000
QUANTITY_MAX: Final = 1_000_000
ILL_FORMED_MAX: Final = 100
"""How many ill-formed values of unknown fields one answer names; a body can hold many thousands."""

_NOT_AN_OBJECT: Final = Problem(Code.INVALID_TYPE, "must be a JSON object")
_BOTH_FORMS: Final = Problem(Code.ITEMS_OR_NUM_ITEMS, "must have either numItems or items, not both")
_NEITHER_FORM: Final = Problem(Code.ITEMS_OR_NUM_ITEMS, "must have either numItems or items")
_ITEMS_TYPE: Final = Problem(Code.INVALID_TYPE, "must be an array of objects with itemId, quantity and price")
_ITEM_TYPE: Final = Problem(Code.INVALID_TYPE, "must be an object with itemId, quantity and price")
_TOO_FEW_ITEMS: Final = Problem(Code.TOO_FEW_ITEMS, f"must hold from 1 to {ITEMS_MAX} items")
_TOO_MANY_ITEMS: Final = Problem(Code.TOO_MANY_ITEMS, _TOO_FEW_ITEMS.message)
_TOTAL_TOO_LARGE: Final = Problem(Code.TOTAL_TOO_LARGE, f"must total less than {AMOUNT_LIMIT:,}")
_ILL_FORMED_TEXT: Final = Problem(Code.INVALID_CHARACTERS, "holds half of a surrogate pair, which is no character")

_NUM_ITEMS_KEYS: Final = frozenset({"orderId", "numItems", "items"})
_CART_KEYS: Final = frozenset({"orderId", "customerId", "currency", "items", "numItems"})
_ITEM_KEYS: Final = frozenset({"itemId", "quantity", "price"})
_CHANGE_KEYS: Final = frozenset({"orderId", "status"})
_SURROGATE: Final = re.compile("[\\ud800-\\udfff]").search


@attrs.frozen
class NumItemsInput:
    """An order whose customer, currency and ``num_items`` (1..100) lines are to be generated."""

    order_id: str
    num_items: int


@attrs.frozen
class CartInput:
    """An order with its lines; without a customer id one is to be generated. Prices are in the minor unit."""

    order_id: str
    customer_id: str | None
    currency: Currency
    lines: tuple[OrderLine, ...]


PlaceOrderInput = NumItemsInput | CartInput
"""What a client may place: one of the two forms."""


@attrs.frozen
class ChangeStatusInput:
    """The status a client asks an order to move to."""

    order_id: str
    status: OrderStatus


def read_place_order(document: object, *, default_currency: str) -> PlaceOrderInput:
    """Read the body of a create-order call, or raise InvalidInput with all its faults.

    ``default_currency`` is the code, one of the table, for carts that name none. With ``numItems`` the customer and
    the currency are ignored. With both or neither of ``numItems`` and ``items`` only ``orderId`` is judged beside
    that.
    """
    if not isinstance(document, dict):
        raise InvalidInput([_NOT_AN_OBJECT.at("body")])
    num_items, items = document.get("numItems"), document.get("items")
    if items is None and num_items is not None:
        return _read_num_items(document)
    if items is not None and num_items is None:
        return _read_cart(document, default_currency)
    order_id = identifier(document.get("orderId"))
    faults = [order_id.at("orderId")] if isinstance(order_id, Problem) else []
    faults.append((_NEITHER_FORM if items is None else _BOTH_FORMS).at("body"))
    raise InvalidInput(faults + _ill_formed(document, faults))


def read_change_status(document: object) -> ChangeStatusInput:
    """Read the body of an update-order call, or raise InvalidInput with all its faults."""
    if not isinstance(document, dict):
        raise InvalidInput([_NOT_AN_OBJECT.at("body")])
    order_id, status = identifier(document.get("orderId")), status_of(document.get("status"))
    faults = _faults_of(("orderId", order_id), ("status", status))
    if not document.keys() <= _CHANGE_KEYS:
        faults += _ill_formed(document, faults)
    if faults or isinstance(order_id, Problem) or isinstance(status, Problem):
        raise InvalidInput(faults)
    return ChangeStatusInput(order_id, status)


def _read_num_items(document: dict[str, object]) -> NumItemsInput:
    order_id = identifier(document.get("orderId"))
    num_items = whole_number(document.get("numItems"), 1, NUM_ITEMS_MAX)
    faults = _faults_of(("orderId", order_id), ("numItems", num_items))
    if not document.keys() <= _NUM_ITEMS_KEYS:
        faults += _ill_formed(document, faults)
    if faults or isinstance(order_id, Problem) or isinstance(num_items, Problem):
        raise InvalidInput(faults)
    return NumItemsInput(order_id, num_items)


def _read_cart(document: dict[str, object], default_currency: str) -> CartInput:
    customer_id, code = document.get("customerId"), document.get("currency")
    order_id = identifier(document.get("orderId"))
    customer = None if customer_id is None else identifier(customer_id)
    currency = currency_of(default_currency if code is None else code)
    faults = _faults_of(("orderId", order_id), ("customerId", customer), ("currency", currency))
    lines = _read_lines(document["items"], None if isinstance(currency, Problem) else currency, faults)
    if not (document.keys() <= _CART_KEYS and _only_known_in_items(document["items"])):
        faults += _ill_formed(document, faults)
    if faults or isinstance(order_id, Problem) or isinstance(customer, Problem) or isinstance(currency, Problem):
        raise InvalidInput(faults)
    return CartInput(order_id, customer, currency, lines)


def _read_lines(items: object, currency: Currency | None, faults: list[Fault]) -> tuple[OrderLine, ...]:
    """The lines without a fault; the faults of the others, and of all together, are added to ``faults``."""
    if not isinstance(items, list):
        faults.append(_ITEMS_TYPE.at("items"))
        return ()
    if not 1 <= len(items) <= ITEMS_MAX:
        faults.append((_TOO_MANY_ITEMS if items else _TOO_FEW_ITEMS).at("items"))
        return ()
    lines: list[OrderLine] = []
    prices: list[tuple[Decimal, int]] = []
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            faults.append(_ITEM_TYPE.at(f"items[{index}]"))
            continue
        item_id = identifier(item.get("itemId"))
        quantity = whole_number(item.get("quantity"), 1, QUANTITY_MAX)
        amount = price(item.get("price"), currency)
        if isinstance(item_id, str) and isinstance(quantity, int) and isinstance(amount, Decimal):
            lines.append(OrderLine(item_id, quantity, amount))
        else:
            path = f"items[{index}]"
            faults += _faults_of((f"{path}.itemId", item_id), (f"{path}.quantity", quantity), (f"{path}.price", amount))
        if isinstance(quantity, int) and isinstance(amount, Decimal):
            prices.append((amount, quantity))
    if reaches_limit(prices):
        faults.append(_TOTAL_TOO_LARGE.at("items"))
    return tuple(lines)


def _faults_of(*read: tuple[str, object]) -> list[Fault]:
    return [value.at(field) for field, value in read if isinstance(value, Problem)]


# --------------------------------------------------------------------------------- what no field may hold


def _only_known_in_items(items: object) -> bool:
    return not isinstance(items, list) or all(isinstance(item, dict) and item.keys() <= _ITEM_KEYS for item in items)


def _ill_formed(document: dict[str, object], known: Sequence[Fault]) -> list[Fault]:
    """NaN, infinities and lone surrogates anywhere in the document, beyond the faults already known at a field."""
    fields = {fault.field for fault in known}
    return [fault for fault in islice(_ill_formed_in(document, ""), ILL_FORMED_MAX) if fault.field not in fields]


def _ill_formed_in(value: object, path: str) -> Iterator[Fault]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            if not _is_sound(item):
                yield from _ill_formed_in(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not (_is_sound(key) and _is_sound(item)):
                field = f"{path}.{shown(key)}" if path else shown(key)
                yield from _ill_formed_in(key, field)
                yield from _ill_formed_in(item, field)
    elif not _is_sound(value):
        yield (NOT_FINITE if isinstance(value, NotFinite) else _ILL_FORMED_TEXT).at(path)


def _is_sound(value: object) -> bool:
    """Whether a value that holds no others is well-formed; False for arrays and objects: look inside."""
    if isinstance(value, str):
        return value.isascii() or _SURROGATE(value) is None
    return not isinstance(value, list | dict) and not (isinstance(value, NotFinite) and not value.is_json)
