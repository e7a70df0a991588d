"""Exact money: quantizing without rounding, counting decimals by value, exact totals."""

from collections.abc import Callable
from decimal import Context, Decimal, Inexact, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordering.domain.currencies import CURRENCIES
from ordering.domain.money import AMOUNT_LIMIT, Currency, has_too_many_decimals, quantized, reaches_limit, total_of
from tests.cost import cost

USD, JPY, BHD, CLF = (CURRENCIES[code] for code in ("USD", "JPY", "BHD", "CLF"))

currencies = st.sampled_from([USD, JPY, BHD, CLF])
amounts = st.decimals(min_value=0, max_value=10**12, allow_nan=False, places=None)
plain_amounts = st.builds(
    lambda coefficient, exponent: Decimal(coefficient).scaleb(exponent),
    st.integers(0, 10**12),
    st.integers(-12, 3),
)
prices = st.builds(lambda cents: Decimal(cents).scaleb(-2), st.integers(1, 10**14 - 1))
quantities = st.integers(1, 1_000_000)

EXTREMES = [
    "1e999999",
    "1E-999999",
    "1e999999999999999999",
    "1e-999999999999999999",
    "123E+99999999",
    "1." + "0" * 200_000,
]


def is_whole_in_minor_units(amount: Decimal, currency: Currency) -> bool:
    """The rule in plain fractions: an amount fits if it is a whole number of minor units."""
    minor_units: Fraction = Fraction(amount) * 10**currency.minor_units
    return minor_units.denominator == 1


@given(amount=amounts | plain_amounts, currency=currencies)
def test_an_amount_has_too_many_decimals_exactly_if_it_is_no_whole_number_of_minor_units(
    amount: Decimal, currency: Currency
) -> None:
    """Decimals are counted by value: trailing zeros are none."""
    assert has_too_many_decimals(amount, currency) is not is_whole_in_minor_units(amount, currency)


@given(amount=amounts | plain_amounts, currency=currencies)
def test_quantizing_keeps_the_value_or_answers_none(amount: Decimal, currency: Currency) -> None:
    """Nothing is ever rounded; what fits gets exactly the currency's decimals."""
    exact = quantized(amount, currency)

    if is_whole_in_minor_units(amount, currency):
        assert exact is not None
        assert (exact, exact.as_tuple().exponent) == (amount, -currency.minor_units)
    else:
        assert exact is None


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        ("39.9", USD, "39.90"),
        ("1E+3", USD, "1000.00"),
        ("10.00", JPY, "10"),
        ("10.5", JPY, None),
        ("1.2345", BHD, None),
        ("1.2340", BHD, "1.234"),
        ("1.2345", CLF, "1.2345"),
        ("0.001", USD, None),
        ("NaN", USD, None),
        ("Infinity", USD, None),
        ("9" * 70, USD, None),
    ],
)
def test_quantizing_writes_an_amount_with_the_decimals_of_its_currency(
    amount: str, currency: Currency, written: str | None
) -> None:
    """USD 39.9 is stored as 39.90; what cannot be held exactly is None."""
    exact = quantized(Decimal(amount), currency)

    assert (exact if exact is None else str(exact)) == written


@pytest.mark.parametrize("amount", EXTREMES)
@pytest.mark.parametrize(
    "examine",
    [
        lambda amount: quantized(amount, USD),
        lambda amount: has_too_many_decimals(amount, USD),
        lambda amount: reaches_limit([(amount, 1_000_000), (Decimal("0.01"), 1), (amount, 1)]),
    ],
    ids=["quantized", "has_too_many_decimals", "reaches_limit"],
)
def test_an_extreme_exponent_takes_no_time(amount: str, examine: Callable[[Decimal], object]) -> None:
    """An exponent of a million (or 10^18) is answered at once; converting it would take seconds."""
    value = Decimal(amount)
    assert cost(lambda: examine(value)) < 2


@pytest.mark.parametrize(("amount", "expected"), [("1e999999", False), ("1E-999999", True), ("1e40", False)])
def test_decimals_of_an_extreme_amount_are_counted_from_its_digits(amount: str, expected: bool) -> None:
    """Size and decimals are different rules: a huge whole number has no decimals."""
    assert has_too_many_decimals(Decimal(amount), USD) is expected


def test_what_is_not_finite_has_no_decimals_to_count() -> None:
    """Asking is a programming error."""
    with pytest.raises(ValueError, match="not finite"):
        has_too_many_decimals(Decimal("NaN"), USD)


@given(lines=st.lists(st.tuples(prices, quantities), max_size=50))
def test_a_total_is_the_exact_sum(lines: list[tuple[Decimal, int]]) -> None:
    """Totals agree with the sum of fractions, whatever the sizes."""
    assert Fraction(total_of(lines)) == sum(Fraction(price) * quantity for price, quantity in lines)


@given(lines=st.lists(st.tuples(prices, quantities), min_size=1, max_size=50))
def test_a_total_has_the_decimals_of_its_prices(lines: list[tuple[Decimal, int]]) -> None:
    """A total of quantized prices is quantized itself."""
    assert total_of(lines).as_tuple().exponent == -2


def test_a_total_is_exact_in_any_decimal_context_of_the_thread() -> None:
    """The calling thread's precision of 3 digits changes nothing."""
    with localcontext(Context(prec=3)):
        total = total_of([(Decimal("123456.78"), 3), (Decimal("0.01"), 1)])

    assert total == Decimal("370370.35")


def test_the_largest_order_imaginable_has_an_exact_total() -> None:
    """A thousand lines of a million pieces at the highest price of a currency with four decimals."""
    total = total_of([(Decimal("999999999999.9999"), 1_000_000)] * 1000)

    assert str(total) == "999999999999999900000.0000"


def test_a_total_that_cannot_be_exact_raises() -> None:
    """Beyond 64 digits there is no silent rounding."""
    with pytest.raises(Inexact):
        total_of([(Decimal("1e70"), 1), (Decimal("0.01"), 1)])


@given(lines=st.lists(st.tuples(prices, quantities), max_size=20))
def test_the_limit_is_reached_exactly_from_ten_to_the_twelfth(lines: list[tuple[Decimal, int]]) -> None:
    """The limit itself is too much."""
    assert reaches_limit(lines) is (total_of(lines) >= AMOUNT_LIMIT)


@pytest.mark.parametrize(("price", "reached"), [("999999999999.99", False), ("1000000000000.00", True)])
def test_the_limit_is_the_first_amount_refused(price: str, reached: bool) -> None:
    """One cent below is fine."""
    assert reaches_limit([(Decimal(price), 1)]) is reached
