"""The rules for single values: each function takes what was decoded and answers the value or the Problem with it.

A value is a decoded JSON value: str, int, bool, None, Decimal, list, dict or one of the two markers below. The
functions know no field names; whoever knows the place turns a Problem into a Fault with ``at``.
"""

import re
from decimal import Decimal
from typing import Final

import attrs

from ordering.domain.currencies import PUBLISHED, find
from ordering.domain.errors import Code, Fault
from ordering.domain.money import AMOUNT_LIMIT, Currency, has_too_many_decimals, quantized
from ordering.domain.status import OrderStatus

ID_LENGTH_MAX: Final = 64
SHOWN_LENGTH_MAX: Final = 64
"""How much of a refused value a message repeats, in characters."""

_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}").fullmatch
_STATUSES: Final = {status.value: status for status in OrderStatus}
_ZERO: Final = Decimal(0)
_LIMIT: Final = int(AMOUNT_LIMIT)


@attrs.frozen
class NotFinite:
    """Stands for a number no Decimal holds: NaN, Infinity, -Infinity, or an exponent out of range; as written."""

    text: str

    @property
    def is_json(self) -> bool:
        """Whether it was a JSON number at all: 1e99999999999999999999 is one, NaN and the infinities are not."""
        return self.text.lstrip("-") not in ("NaN", "Infinity")


@attrs.frozen
class HugeInteger:
    """Stands for an integer of too many digits to be worth converting (more than 18); as written, with its sign."""

    digits: str


@attrs.frozen
class Problem:
    """What is wrong with a value, wherever it stands."""

    code: Code
    message: str

    def at(self, field: str) -> Fault:
        """The same, at a place in the input."""
        return Fault(field, self.code, self.message)


REQUIRED: Final = Problem(Code.REQUIRED, "is required")
NOT_TEXT: Final = Problem(Code.INVALID_TYPE, "must be a string")
BLANK: Final = Problem(Code.BLANK, "must not be blank")
NOT_FINITE: Final = Problem(Code.NOT_FINITE, "must be a finite number")
_ID_TOO_LONG: Final = Problem(Code.TOO_LONG, f"must have at most {ID_LENGTH_MAX} characters")
_ID_CHARACTERS: Final = Problem(Code.INVALID_CHARACTERS, "may only hold letters A-Z a-z, digits and . _ : -")
_CURRENCY_RULE: Final = f"must be an active ISO 4217 currency code in capitals such as USD (list of {PUBLISHED})"
_PRICE_TYPE: Final = Problem(Code.INVALID_TYPE, "must be a number")
_PRICE_RANGE: Final = Problem(Code.OUT_OF_RANGE, "must be greater than 0")


def identifier(value: object) -> str | Problem:
    """An id: surrounding white space removed, then 1 to 64 characters of A-Z a-z 0-9 . _ : -"""
    if not isinstance(value, str):
        return REQUIRED if value is None else NOT_TEXT
    if _ID(value):
        return value
    text = value.strip()
    if not text:
        return BLANK
    if len(text) > ID_LENGTH_MAX:
        return _ID_TOO_LONG
    return text if _ID(text) else _ID_CHARACTERS


def whole_number(value: object, low: int, high: int) -> int | Problem:
    """A JSON integer from ``low`` to ``high``; true, 2.0 and "3" are no integers."""
    if type(value) is int and low <= value <= high:
        return value
    if value is None:
        return REQUIRED
    rule = f"must be a whole number from {low} to {high}"
    if type(value) is int or isinstance(value, HugeInteger):
        return Problem(Code.OUT_OF_RANGE, rule)
    return NOT_FINITE if isinstance(value, NotFinite) else Problem(Code.INVALID_TYPE, rule)


def price(value: object, currency: Currency | None) -> Decimal | Problem:
    """A JSON number, finite, above 0, with no more decimals by value than its currency; in the currency's minor unit.

    Without a currency the decimals are not checked. From 10^12 on the answer is 10^12: the rule such a price breaks is
    the one for the total.
    """
    if not isinstance(value, Decimal):
        amount = _whole_price(value)
        if isinstance(amount, Problem):
            return amount
    elif value.is_finite():
        amount = value
    else:
        return NOT_FINITE
    if amount <= _ZERO:
        return _PRICE_RANGE
    if amount >= AMOUNT_LIMIT:
        too_precise = currency is not None and has_too_many_decimals(amount, currency)
        return _price_decimals(currency) if currency is not None and too_precise else AMOUNT_LIMIT
    if currency is None:
        return amount
    exact = quantized(amount, currency)
    return _price_decimals(currency) if exact is None else exact


def _whole_price(value: object) -> Decimal | Problem:
    if type(value) is int:
        return Decimal(value) if -_LIMIT < value < _LIMIT else _beyond(negative=value < 0)
    if isinstance(value, HugeInteger):
        return _beyond(negative=value.digits.startswith("-"))
    if value is None:
        return REQUIRED
    return NOT_FINITE if isinstance(value, NotFinite) else _PRICE_TYPE


def _beyond(*, negative: bool) -> Decimal:
    return -AMOUNT_LIMIT if negative else AMOUNT_LIMIT


def _price_decimals(currency: Currency) -> Problem:
    decimals = {0: "no decimals", 1: "at most 1 decimal"}.get(
        currency.minor_units, f"at most {currency.minor_units} decimals"
    )
    return Problem(Code.TOO_MANY_DECIMALS, f"must have {decimals} in {currency.code}")


def currency_of(value: object) -> Currency | Problem:
    """An active ISO 4217 code in capitals, not trimmed."""
    if not isinstance(value, str):
        return REQUIRED if value is None else NOT_TEXT
    return find(value) or Problem(Code.UNKNOWN_CURRENCY, f"{_CURRENCY_RULE}, not '{shown(value)}'")


def status_of(value: object) -> OrderStatus | Problem:
    """One of the five statuses, surrounding white space removed, case-sensitive."""
    if not isinstance(value, str):
        return REQUIRED if value is None else NOT_TEXT
    return _STATUSES.get(value.strip()) or Problem(
        Code.UNKNOWN_STATUS, f"must be one of {', '.join(_STATUSES)}, not '{shown(value)}'"
    )


def shown(text: str) -> str:
    """A refused text as a message may repeat it: cut, and escaped where it is not printable (or not even Unicode)."""
    cut = text[:SHOWN_LENGTH_MAX]
    if not cut.isprintable():
        cut = cut.encode("unicode_escape").decode("ascii")[:SHOWN_LENGTH_MAX]
    return cut if len(text) <= SHOWN_LENGTH_MAX else f"{cut}..."
