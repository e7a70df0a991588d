"""Bodies of create-order for the tests of its validator: a right cart, changed at will, and what is wrong with it."""

from decimal import Decimal

import pytest

from ordering.domain.errors import Code, Fault, InvalidInput
from ordering.domain.fields import HugeInteger, NotFinite
from ordering.domain.inputs import PlaceOrderInput, read_place_order

HUGE = HugeInteger("9" * 5000)
NAN = NotFinite("NaN")


def item(**changes: object) -> dict[str, object]:
    """A right item, but for the changes."""
    return {"itemId": "ITEM-1", "quantity": 2, "price": Decimal("999.99")} | changes


def cart(*items: object, **changes: object) -> dict[str, object]:
    """A right cart of these items, but for the changes."""
    return {"orderId": "order-1", "items": list(items) or [item()]} | changes


def read(document: object) -> PlaceOrderInput:
    """Read with the default currency USD."""
    return read_place_order(document, default_currency="USD")


def faults_in(document: object) -> tuple[Fault, ...]:
    """All faults of a document that must have some."""
    with pytest.raises(InvalidInput) as refusal:
        read(document)
    return refusal.value.faults


def codes_in(document: object) -> list[tuple[str, Code]]:
    """Field and code of all faults."""
    return [(fault.field, fault.code) for fault in faults_in(document)]
