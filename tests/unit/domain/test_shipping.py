"""The shipping policy: a share of the total, rounded down to the minor unit."""

from decimal import Context, Decimal, localcontext
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordering.domain.currencies import CURRENCIES
from ordering.domain.money import Currency
from ordering.domain.shipping import shipping_cost

TWO_PERCENT = Decimal("0.02")


@pytest.mark.parametrize(
    ("total", "code", "cost"),
    [
        ("1999.98", "USD", "39.99"),
        ("24.75", "USD", "0.49"),
        ("0.49", "USD", "0.00"),
        ("0.50", "USD", "0.01"),
        ("1999", "JPY", "39"),
        ("49", "JPY", "0"),
        ("1.234", "BHD", "0.024"),
        ("1.2345", "CLF", "0.0246"),
        ("999999999999.99", "USD", "19999999999.99"),
    ],
)
def test_shipping_costs_two_percent_rounded_down(total: str, code: str, cost: str) -> None:
    """Written with exactly the decimals of the currency."""
    assert str(shipping_cost(Decimal(total), CURRENCIES[code], TWO_PERCENT)) == cost


@given(
    minor_total=st.integers(0, 10**16 - 1),
    currency=st.sampled_from([CURRENCIES[code] for code in ("USD", "JPY", "BHD", "CLF")]),
    rate=st.decimals(min_value=0, max_value=1, places=6),
)
def test_shipping_is_the_floor_of_the_exact_share(minor_total: int, currency: Currency, rate: Decimal) -> None:
    """Never more than the share, and less by less than one minor unit."""
    total = Decimal(minor_total).scaleb(-currency.minor_units)

    cost = shipping_cost(total, currency, rate)

    assert Fraction(cost) * 10**currency.minor_units == floor(minor_total * Fraction(rate))


def test_shipping_is_exact_in_any_decimal_context_of_the_thread() -> None:
    """The calling thread's precision of 3 digits changes nothing."""
    with localcontext(Context(prec=3)):
        cost = shipping_cost(Decimal("123456.78"), CURRENCIES["USD"], TWO_PERCENT)

    assert cost == Decimal("2469.13")
