"""Prices and totals in the body of create-order: decimals by currency, extreme exponents, the limit."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordering.domain.currencies import CURRENCIES
from ordering.domain.errors import Code
from ordering.domain.fields import HugeInteger, NotFinite
from ordering.domain.inputs import CartInput
from tests.unit.domain.bodies import HUGE, NAN, cart, codes_in, item, read


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
