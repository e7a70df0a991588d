"""Exact money: decimals in a currency's minor unit, never floats, one rounding rule."""

from collections.abc import Iterable
from decimal import ROUND_DOWN, Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Final

import attrs

AMOUNT_LIMIT: Final = Decimal(10**12)
"""Every amount of an order stays below this, in whole units of its currency."""

_EXACT: Final = Context(prec=64, traps=[Inexact, InvalidOperation, Overflow])
"""Arithmetic that is exact or raises, whatever decimal context the calling thread has."""

_TRUNCATING: Final = Context(prec=64, rounding=ROUND_DOWN, traps=[])
"""Arithmetic on amounts that may not fit any currency: never raises, never rounds up."""

_ZERO: Final = Decimal(0)
_UNITS: Final = tuple(Decimal((0, (1,), -decimals)) for decimals in range(5))
"""The minor unit by its number of decimals: 1, 0.1, 0.01, 0.001, 0.0001."""


@attrs.frozen
class Currency:
    """An active ISO 4217 currency; ``minor_units`` is its number of decimals (USD 2, JPY 0, BHD 3, CLF 4)."""

    code: str
    minor_units: int


def minor_unit(currency: Currency) -> Decimal:
    """The smallest amount of the currency: 0.01 for USD, 1 for JPY."""
    return _UNITS[currency.minor_units]


def quantized(amount: Decimal, currency: Currency) -> Decimal | None:
    """The same value written with exactly the currency's decimals: USD 39.9 as 39.90, JPY 10.00 as 10.

    None if that is impossible: the value has more decimals than the currency, is not finite, or needs more than 64
    digits. Never rounds, and answers in microseconds whatever the exponent.
    """
    if not amount.is_finite():
        return None
    try:
        return amount.quantize(_UNITS[currency.minor_units], context=_EXACT)
    except (Inexact, InvalidOperation):
        return None


def has_too_many_decimals(amount: Decimal, currency: Currency) -> bool:
    """Whether a finite amount of any size has more decimals, by value, than the currency (JPY: 10.5 yes, 10.00 no).

    Looks only at the digits that were written: arithmetic on an exponent such as 1e999999 would take seconds.
    """
    _, digits, exponent = amount.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError("the amount is not finite")
    excess = -exponent - currency.minor_units
    return excess > 0 and any(digits[-excess:])


def total_of(prices: Iterable[tuple[Decimal, int]]) -> Decimal:
    """The exact sum of price x quantity, with the decimals of the prices; decimal.Inexact beyond 64 digits."""
    total = _ZERO
    for price, quantity in prices:
        total = _EXACT.fma(price, quantity, total)
    return total


def reaches_limit(prices: Iterable[tuple[Decimal, int]]) -> bool:
    """Whether the sum of price x quantity is 10^12 or more, for finite prices of any size and any decimals."""
    total = _ZERO
    for price, quantity in prices:
        total = _TRUNCATING.fma(price, quantity, total)
    return total >= AMOUNT_LIMIT
