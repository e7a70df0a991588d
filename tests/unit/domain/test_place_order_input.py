"""The body of create-order: both forms, every rule for one field, and all faults at once."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordering.domain.currencies import CURRENCIES
from ordering.domain.errors import Code
from ordering.domain.fields import HugeInteger, NotFinite
from ordering.domain.inputs import CartInput, NumItemsInput, read_place_order
from ordering.domain.order import OrderLine
from tests.unit.domain.bodies import HUGE, NAN, cart, codes_in, item, read

NOT_IDS: list[tuple[object, Code]] = [
    (None, Code.REQUIRED),
    (12, Code.INVALID_TYPE),
    (True, Code.INVALID_TYPE),
    ({}, Code.INVALID_TYPE),
    (NAN, Code.INVALID_TYPE),
    (HUGE, Code.INVALID_TYPE),
    ("", Code.BLANK),
    (" \t\n", Code.BLANK),
    ("i" * 65, Code.TOO_LONG),
    ("a b", Code.INVALID_CHARACTERS),
    ("a/b", Code.INVALID_CHARACTERS),
    ("a\nb", Code.INVALID_CHARACTERS),
    ("nul\x00", Code.INVALID_CHARACTERS),
    ("\ud83d", Code.INVALID_CHARACTERS),
    ("été", Code.INVALID_CHARACTERS),
]
NOT_INTEGERS: list[tuple[object, Code]] = [
    (None, Code.REQUIRED),
    (True, Code.INVALID_TYPE),
    ("3", Code.INVALID_TYPE),
    (Decimal("2.0"), Code.INVALID_TYPE),
    (Decimal("1e999999"), Code.INVALID_TYPE),
    ([3], Code.INVALID_TYPE),
    (NAN, Code.NOT_FINITE),
    (0, Code.OUT_OF_RANGE),
    (-1, Code.OUT_OF_RANGE),
    (HUGE, Code.OUT_OF_RANGE),
    (HugeInteger("-" + "9" * 5000), Code.OUT_OF_RANGE),
]


def test_the_num_items_form_is_read() -> None:
    """An id and a number; the rest is to be generated."""
    assert read({"orderId": " order-1 ", "numItems": 3}) == NumItemsInput("order-1", 3)


def test_the_cart_form_is_read() -> None:
    """Ids are trimmed, prices written in the minor unit, order and repetition of items kept."""
    document = cart(item(price=10), item(itemId=" b ", quantity=1_000_000), item(), customerId=" me ", currency="EUR")

    assert read(document) == CartInput(
        order_id="order-1",
        customer_id="me",
        currency=CURRENCIES["EUR"],
        lines=(
            OrderLine("ITEM-1", 2, Decimal("10.00")),
            OrderLine("b", 1_000_000, Decimal("999.99")),
            OrderLine("ITEM-1", 2, Decimal("999.99")),
        ),
    )


@pytest.mark.parametrize("absent", [{}, {"customerId": None, "currency": None, "numItems": None}], ids=["out", "null"])
def test_what_a_cart_leaves_out_has_a_default(absent: dict[str, None]) -> None:
    """No customer, and the default currency; null counts as left out."""
    read_with_yen = read_place_order(cart(item(price=10)) | absent, default_currency="JPY")

    assert read_with_yen == CartInput("order-1", None, CURRENCIES["JPY"], (OrderLine("ITEM-1", 2, Decimal(10)),))


def test_a_null_cart_is_no_cart() -> None:
    """With items null the numItems form is read."""
    assert read({"orderId": "order-1", "numItems": 1, "items": None}) == NumItemsInput("order-1", 1)


def test_the_num_items_form_ignores_customer_and_currency() -> None:
    """Even if they would be wrong in a cart."""
    document = {"orderId": "order-1", "numItems": 3, "customerId": 12, "currency": "euros"}

    assert read(document) == NumItemsInput("order-1", 3)


def test_unknown_fields_are_ignored() -> None:
    """At any level, whatever well-formed value they hold."""
    odd = {"deep": [{"er": [None, True, 1, Decimal("1e999999"), HUGE, NotFinite("1e99999999999999999999"), "é"]}]}

    assert read(cart(item(foo=odd), foo=odd)) == read(cart())


@pytest.mark.parametrize("document", [None, [], "text", 1, True, Decimal(1), NAN, HUGE])
def test_a_body_that_is_no_object_is_one_fault(document: object) -> None:
    """At the body, for its type."""
    assert codes_in(document) == [("body", Code.INVALID_TYPE)]


@pytest.mark.parametrize(
    "forms",
    [
        {},
        {"numItems": None},
        {"numItems": None, "items": None},
        {"numItems": 3, "items": []},
        {"numItems": 0, "items": 1},
    ],
    ids=json.dumps,
)
def test_both_forms_or_neither_is_one_fault_beside_a_bad_id(forms: dict[str, object]) -> None:
    """Which form was meant nobody knows, so only the order id is judged beside it."""
    assert codes_in({"orderId": "order-1", "customerId": 1, **forms}) == [("body", Code.ITEMS_OR_NUM_ITEMS)]
    assert codes_in({"orderId": "a b", **forms}) == [
        ("orderId", Code.INVALID_CHARACTERS),
        ("body", Code.ITEMS_OR_NUM_ITEMS),
    ]


@pytest.mark.parametrize(("value", "code"), NOT_IDS)
def test_a_bad_order_id_is_a_fault_in_both_forms(value: object, code: Code) -> None:
    """Ids are 1 to 64 characters of a small alphabet."""
    assert codes_in({"orderId": value, "numItems": 3}) == [("orderId", code)]
    assert codes_in(cart(orderId=value)) == [("orderId", code)]


@pytest.mark.parametrize(("value", "code"), NOT_IDS)
def test_a_bad_item_id_is_a_fault_at_its_path(value: object, code: Code) -> None:
    """Item ids keep the same rule as order ids."""
    assert codes_in(cart(item(), item(itemId=value))) == [("items[1].itemId", code)]


@pytest.mark.parametrize(("value", "code"), NOT_IDS[1:])
def test_a_bad_customer_id_is_a_fault(value: object, code: Code) -> None:
    """Customer ids keep the same rule as order ids, but may be left out."""
    assert codes_in(cart(customerId=value)) == [("customerId", code)]


@pytest.mark.parametrize("order_id", ["i" * 64, "  " + "i" * 64 + "\n", "A-Z.a_z:09", "-"])
def test_an_id_at_the_edge_of_the_rule_is_fine(order_id: str) -> None:
    """64 characters after trimming, and every character of the alphabet."""
    assert read(cart(orderId=order_id)).order_id == order_id.strip()


@pytest.mark.parametrize(("value", "code"), [*NOT_INTEGERS[1:], (101, Code.OUT_OF_RANGE)])
def test_a_bad_num_items_is_a_fault(value: object, code: Code) -> None:
    """Strictly an integer from 1 to 100."""
    assert codes_in({"orderId": "order-1", "numItems": value}) == [("numItems", code)]


@pytest.mark.parametrize("num_items", [1, 100])
def test_num_items_may_be_its_bounds(num_items: int) -> None:
    """1 and 100 belong to the range."""
    assert read({"orderId": "order-1", "numItems": num_items}) == NumItemsInput("order-1", num_items)


@pytest.mark.parametrize(("value", "code"), [*NOT_INTEGERS, (1_000_001, Code.OUT_OF_RANGE)])
def test_a_bad_quantity_is_a_fault_at_its_path(value: object, code: Code) -> None:
    """Strictly an integer from 1 to 1,000,000."""
    assert codes_in(cart(item(), item(), item(quantity=value))) == [("items[2].quantity", code)]


@pytest.mark.parametrize(
    ("items", "code"),
    [
        ({}, Code.INVALID_TYPE),
        ("a", Code.INVALID_TYPE),
        (False, Code.INVALID_TYPE),
        (NAN, Code.INVALID_TYPE),
        ([], Code.TOO_FEW_ITEMS),
        ([item()] * 1001, Code.TOO_MANY_ITEMS),
        ([None] * 100_000, Code.TOO_MANY_ITEMS),
    ],
    ids=["object", "text", "false", "nan", "none", "1001", "100000"],
)
def test_a_bad_array_of_items_is_one_fault(items: object, code: Code) -> None:
    """From 1 to 1,000 items; of a longer array no item is judged."""
    assert codes_in(cart(items=items)) == [("items", code)]


def test_a_thousand_items_are_fine() -> None:
    """1,000 belongs to the range."""
    placed = read(cart(*[item()] * 1000))

    assert isinstance(placed, CartInput)
    assert len(placed.lines) == 1000


@pytest.mark.parametrize("value", [None, 1, "a", [], NAN])
def test_an_item_that_is_no_object_is_a_fault(value: object) -> None:
    """At the item, for its type."""
    assert codes_in(cart(item(), value)) == [("items[1]", Code.INVALID_TYPE)]


def test_an_empty_item_lacks_three_fields() -> None:
    """Each is required at its own path."""
    assert codes_in(cart({})) == [
        ("items[0].itemId", Code.REQUIRED),
        ("items[0].quantity", Code.REQUIRED),
        ("items[0].price", Code.REQUIRED),
    ]


@pytest.mark.parametrize("code", ["usd", " USD", "USD ", "US", "", "XAU", "HRK", "dollars" * 1000, "\ud800"])
def test_an_unknown_currency_is_a_fault(code: str) -> None:
    """Only active codes in capitals."""
    assert codes_in(cart(currency=code)) == [("currency", Code.UNKNOWN_CURRENCY)]


@pytest.mark.parametrize("value", [840, False, [], {}, NAN])
def test_a_currency_that_is_no_text_is_a_fault(value: object) -> None:
    """For its type."""
    assert codes_in(cart(currency=value)) == [("currency", Code.INVALID_TYPE)]


def test_all_faults_are_told_at_once_in_documented_order() -> None:
    """One answer names everything a client has to correct."""
    document = {
        "items": [
            item(price=NAN),
            item(),
            7,
            item(itemId="a b", quantity=True, price=Decimal("1.001")),
            item(price=HUGE),
        ],
        "currency": "USD",
        "customerId": "",
        "orderId": None,
    }

    assert codes_in(document) == [
        ("orderId", Code.REQUIRED),
        ("customerId", Code.BLANK),
        ("items[0].price", Code.NOT_FINITE),
        ("items[2]", Code.INVALID_TYPE),
        ("items[3].itemId", Code.INVALID_CHARACTERS),
        ("items[3].quantity", Code.INVALID_TYPE),
        ("items[3].price", Code.TOO_MANY_DECIMALS),
        ("items", Code.TOTAL_TOO_LARGE),
    ]


@given(data=st.data())
def test_any_set_of_wrong_fields_is_told_completely(data: st.DataObject) -> None:
    """Whichever fields are made wrong, exactly those are named."""
    document: dict[str, Any] = cart(item(), item(), customerId="me", currency="EUR")
    wrong: dict[str, tuple[dict[str, Any], str, object]] = {
        "orderId": (document, "orderId", "a b"),
        "customerId": (document, "customerId", 1),
        "currency": (document, "currency", "euro"),
    }
    for index, line in enumerate(document["items"]):
        for name, bad in (("itemId", ""), ("quantity", 0), ("price", -1)):
            wrong[f"items[{index}].{name}"] = (line, name, bad)
    chosen = data.draw(st.sets(st.sampled_from(sorted(wrong)), min_size=1))
    for holder, field, value in (wrong[path] for path in chosen):
        holder[field] = value

    assert [field for field, _ in codes_in(document)] == [path for path in wrong if path in chosen]
