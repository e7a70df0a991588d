"""What shipping an order costs: a share of its total, never more than the share."""

from decimal import ROUND_FLOOR, Context, Decimal
from typing import Final

from ordering.domain.money import Currency, minor_unit

_ROUNDING_DOWN: Final = Context(prec=64, rounding=ROUND_FLOOR)


def shipping_cost(total: Decimal, currency: Currency, rate: Decimal) -> Decimal:
    """``rate`` (0.02 is 2 %) of the total, rounded down to the currency's minor unit: 1999.98 USD gives 39.99."""
    return _ROUNDING_DOWN.multiply(total, rate).quantize(minor_unit(currency), context=_ROUNDING_DOWN)
