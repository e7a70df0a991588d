"""The body of create-order: both forms, every rule, and all faults at once."""

import json
import time
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordering.domain.currencies import CURRENCIES
from ordering.domain.errors import Code, Fault, InvalidInput
from ordering.domain.fields import HugeInteger, NotFinite
from ordering.domain.inputs import CartInput, NumItemsInput, PlaceOrderInput, read_place_order
from ordering.domain.order import OrderLine

HUGE = HugeInteger("9" * 5000)
NAN = NotFinite("NaN")
NOT_IDS = [
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


# ------------------------------------------------------------------------------------------ the two forms


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


# ------------------------------------------------------------------------------------------ single rules


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


# ------------------------------------------------------------------------------------------ prices and totals


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, Code.REQUIRED),
        ("9.99", Code.INVALID_TYPE),
        (True, Code.INVALID_TYPE),
        ([], Code.INVALID_TYPE),
        (9.99, Code.INVALID_TYPE),
        (NAN, Code.NOT_FINITE),
        (NotFinite("-Infinity"), Code.NOT_FINITE),
        (NotFinite("1e99999999999999999999"), Code.NOT_FINITE),
        (Decimal("NaN"), Code.NOT_FINITE),
        (Decimal("Infinity"), Code.NOT_FINITE),
        (0, Code.OUT_OF_RANGE),
        (-1, Code.OUT_OF_RANGE),
        (Decimal("0.00"), Code.OUT_OF_RANGE),
        (Decimal("-0.0"), Code.OUT_OF_RANGE),
        (Decimal("0e999999"), Code.OUT_OF_RANGE),
        (Decimal("-1e999999"), Code.OUT_OF_RANGE),
        (Decimal("-0.001"), Code.OUT_OF_RANGE),
        (-(10**17), Code.OUT_OF_RANGE),
        (HugeInteger("-" + "9" * 5000), Code.OUT_OF_RANGE),
        (Decimal("9.999"), Code.TOO_MANY_DECIMALS),
        (Decimal("1E-999999"), Code.TOO_MANY_DECIMALS),
        (Decimal("1E-999999999999999999"), Code.TOO_MANY_DECIMALS),
        (Decimal("0." + "0" * 100_000 + "1"), Code.TOO_MANY_DECIMALS),
        (Decimal("1" * 40 + ".001"), Code.TOO_MANY_DECIMALS),
    ],
)
@pytest.mark.parametrize("bad_currency", [False, True])
def test_a_bad_price_is_a_fault_at_its_path(value: object, code: Code, bad_currency: bool) -> None:
    """Prices are finite numbers above 0; with a bad currency only the decimals cannot be judged."""
    codes = codes_in(cart(item(price=value), currency="?")) if bad_currency else codes_in(cart(item(price=value)))
    at_currency = [("currency", Code.UNKNOWN_CURRENCY)] if bad_currency else []
    at_price = [] if bad_currency and code is Code.TOO_MANY_DECIMALS else [("items[0].price", code)]

    assert [fault for fault in codes if fault[0] != "items"] == at_currency + at_price


@pytest.mark.parametrize(
    ("currency", "price", "fits"),
    [
        ("JPY", "10.00", True),
        ("JPY", "10.5", False),
        ("USD", "39.90000", True),
        ("USD", "1e2", True),
        ("USD", "1.005", False),
        ("USD", "12345678901.12000000000000000000000000000000000", True),
        ("USD", "12345678901.12000000000000000000000000000000001", False),
        ("BHD", "1.234", True),
        ("BHD", "1.2345", False),
        ("CLF", "1.2345", True),
        ("CLF", "1.23456", False),
    ],
)
def test_decimals_are_judged_by_value_and_currency(currency: str, price: str, fits: bool) -> None:
    """Trailing zeros are no decimals."""
    document = cart(item(price=Decimal(price)), currency=currency)

    if fits:
        placed = read(document)
        assert isinstance(placed, CartInput)
        assert placed.lines[0].price == Decimal(price)
    else:
        assert codes_in(document) == [("items[0].price", Code.TOO_MANY_DECIMALS)]


@given(
    coefficient=st.integers(1, 10**14),
    exponent=st.sampled_from([-999_999_999, -999_999, -40, -5, -4, -3, -2, -1, 0, 1, 2, 40, 999_999]),
    currency=st.sampled_from(["USD", "JPY", "BHD", "CLF"]),
)
def test_a_positive_price_is_judged_as_its_fraction_would_be(coefficient: int, exponent: int, currency: str) -> None:
    """Decimals first, then the total; extreme exponents are judged without computing them."""
    price = Decimal((0, Decimal(coefficient).as_tuple().digits, exponent))
    value = Fraction(coefficient) * Fraction(10) ** max(min(exponent, 40), -40)
    minor_units = CURRENCIES[currency].minor_units

    if exponent < -40 or (value * 10**minor_units).denominator != 1:
        expected = [("items[0].price", Code.TOO_MANY_DECIMALS)]
    elif value >= 10**12:
        expected = [("items", Code.TOTAL_TOO_LARGE)]
    else:
        expected = []

    document = cart(item(price=price, quantity=1), currency=currency)
    if not expected:
        placed = read(document)
        assert isinstance(placed, CartInput)
        assert placed.lines[0].price.as_tuple().exponent == -minor_units
        assert Fraction(placed.lines[0].price) == value
    elif ("items", Code.TOTAL_TOO_LARGE) in expected:
        assert codes_in(document) == expected
    else:
        assert [fault for fault in codes_in(document) if fault[0] != "items"] == expected


@pytest.mark.parametrize(
    "lines",
    [
        [(Decimal("999999999999.99"), 1), (Decimal("0.01"), 1)],
        [(1_000_000, 1_000_000)],
        [(Decimal("1e12"), 1)],
        [(Decimal("1e999999"), 1_000_000)],
        [(10**17, 1)],
        [(HUGE, 1)],
    ],
)
def test_a_total_from_ten_to_the_twelfth_is_a_fault_at_items(lines: list[tuple[object, int]]) -> None:
    """However large a single price is, the rule it breaks is the one for the total."""
    items = [item(price=price, quantity=quantity) for price, quantity in lines]

    assert codes_in(cart(*items)) == [("items", Code.TOTAL_TOO_LARGE)]


def test_the_largest_total_is_fine() -> None:
    """One cent below the limit."""
    placed = read(cart(item(price=Decimal("999999999999.98"), quantity=1), item(price=Decimal("0.01"), quantity=1)))

    assert isinstance(placed, CartInput)


def test_a_total_of_the_right_lines_that_is_too_large_is_told_beside_other_faults() -> None:
    """Prices are positive, so correcting the others cannot make it smaller."""
    document = cart(item(price=10**11, quantity=10, itemId=""), item(quantity=0))

    assert codes_in(document) == [
        ("items[0].itemId", Code.BLANK),
        ("items[1].quantity", Code.OUT_OF_RANGE),
        ("items", Code.TOTAL_TOO_LARGE),
    ]


# ------------------------------------------------------------------------------------------ all at once


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
        for field, value in (("itemId", ""), ("quantity", 0), ("price", -1)):
            wrong[f"items[{index}].{field}"] = (line, field, value)
    chosen = data.draw(st.sets(st.sampled_from(sorted(wrong)), min_size=1))
    for path in chosen:
        holder, field, value = wrong[path]
        holder[field] = value

    assert [field for field, _ in codes_in(document)] == [path for path in wrong if path in chosen]


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals()
    | st.text(st.characters())
    | st.sampled_from([NAN, HUGE, "\ud800", "USD", "order-1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["orderId", "customerId", "currency", "items", "numItems", "itemId", "quantity", "price", "\udc00"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(document=json_like)
def test_any_document_is_read_or_refused_with_printable_faults(document: object) -> None:
    """No input raises anything else, and every fault can be sent as UTF-8."""
    try:
        read(document)
        faults: tuple[Fault, ...] = (Fault("none", Code.INVALID_INPUT, "was read"),)
    except InvalidInput as error:
        faults = error.faults

    assert [fault for fault in faults if not (fault.field + fault.message).encode()] == []
    assert faults


# ------------------------------------------------------------------------------------------ hostile inputs


@pytest.mark.parametrize(
    "text", ["x" * 200_000, "\ud800" * 200_000, "\x00" * 200_000, "é" * 200_000], ids=["x", "surrogate", "nul", "é"]
)
def test_no_message_repeats_a_huge_value(text: str) -> None:
    """A refused value is cut at about 64 characters."""
    document = cart(item(itemId=text, **{text: NAN}), currency=text, customerId=text, orderId=text)

    assert all(len(fault.message) + len(fault.field) < 300 for fault in faults_in(document))


def test_a_refused_text_is_shown_so_that_it_can_be_printed() -> None:
    """Lone surrogates and control characters are escaped."""
    assert faults_in(cart(currency="U\ud800\n"))[0].message.endswith(r"not 'U\ud800\n'")


@pytest.mark.parametrize("value", [NAN, NotFinite("Infinity"), NotFinite("-Infinity")])
def test_what_is_no_json_number_is_refused_in_unknown_fields_too(value: NotFinite) -> None:
    """NaN and the infinities are no JSON, so they are faults wherever they stand, once."""
    document = cart(item(price=value, note=[1, value]), note={"a": value})

    assert codes_in(document) == [
        ("items[0].price", Code.NOT_FINITE),
        ("items[0].note[1]", Code.NOT_FINITE),
        ("note.a", Code.NOT_FINITE),
    ]


def test_a_lone_surrogate_is_refused_in_unknown_fields_too() -> None:
    """In values and in keys, in both forms and with neither."""
    odd = {"a": ["é", "x\udfff"], "\ud800": 1}
    expected = [("note.a[1]", Code.INVALID_CHARACTERS), (r"note.\ud800", Code.INVALID_CHARACTERS)]

    assert codes_in(cart(note=odd)) == expected
    assert codes_in({"orderId": "order-1", "numItems": 1, "note": odd}) == expected
    assert codes_in({"orderId": "order-1", "note": odd}) == [("body", Code.ITEMS_OR_NUM_ITEMS), *expected]


def test_ill_formed_values_in_ignored_fields_are_refused() -> None:
    """The numItems form ignores the customer, but not that the body is no JSON."""
    document = {"orderId": "order-1", "numItems": 1, "customerId": NAN, "currency": "\ud800"}

    assert codes_in(document) == [("customerId", Code.NOT_FINITE), ("currency", Code.INVALID_CHARACTERS)]


def test_the_number_of_faults_is_bounded() -> None:
    """Of 60,000 ill-formed values in unknown fields one answer names a hundred."""
    assert len(faults_in(cart(note=[NAN] * 60_000))) == 100


@pytest.mark.parametrize(
    "document",
    [
        cart(*[item(price=Decimal("1E-999999999999999999"))] * 1000),
        cart(*[item(price=Decimal("1e999999999999999999"))] * 1000),
        cart(*[item(price=Decimal("1e-999999"))] * 1000, currency="?"),
        cart(item(price=Decimal("1." + "0" * 250_000))),
        cart(item(price=Decimal("1" * 250_000 + ".001"))),
        cart(item(price=HugeInteger("9" * 250_000))),
        cart(orderId=" " * 250_000),
        cart(orderId="a" * 250_000),
        cart(note=["é"] * 60_000),
    ],
    ids=["tiny", "large", "unjudged", "zeros", "digits", "integer", "spaces", "letters", "unknown"],
)
def test_a_hostile_body_takes_no_time(document: object) -> None:
    """The largest of a kind that fits into a body is judged in under 100 ms (most in under 5)."""
    begun = time.perf_counter()

    try:
        read(document)
    except InvalidInput as error:
        str(error)

    assert time.perf_counter() - begun < 0.1
