"""The border between fastavro's dictionaries and the domain: names, amounts and times, converted exactly.

Two record formats cross it. Ours carries amounts as Avro decimal(18,4) (the unscaled number, in ten-thousandths, as
big-endian two's complement bytes) and times as UTC microseconds. The inherited one carries doubles and ISO 8601 text.

An event is a fact: reading it judges nothing that it can represent. Amounts get the currency's decimals (39.9 USD
becomes 39.90), and more only where the value has more, so nothing is rounded; a currency that left the table stays
readable with two decimals.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any, Final
from uuid import UUID

from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from ordering.adapters.avro.binary import Unconvertible
from ordering.domain import currencies
from ordering.domain.events import EventType, OrderEvent
from ordering.domain.money import Currency
from ordering.domain.order import Order, OrderLine

SCALE: Final = 4
PRECISION: Final = 18
INT_MAX: Final = 2**31 - 1
FALLBACK_MINOR_UNITS: Final = 2

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_UNIT: Final = Decimal(1).scaleb(-SCALE)
_LIMIT: Final = 10**PRECISION
_EXACT: Final = Context(prec=PRECISION, traps=[Inexact, InvalidOperation])
"""Converts exactly or raises: more than 4 decimals are inexact, more than 18 digits invalid."""
_CURRENCY_CODE: Final = re.compile(r"[A-Z]{3}")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

_ORDER_NAMES: Final = {
    "order_id": override(rename="orderId"),
    "customer_id": override(rename="customerId"),
    "order_date": override(rename="orderDate"),
    "lines": override(rename="items"),
    "total": override(rename="totalAmount"),
}


# ------------------------------------------------------------------------------------------------ single values


def unscaled(amount: Decimal) -> int:
    """The amount in ten-thousandths. Raises Unconvertible if it is not finite or does not fit decimal(18,4)."""
    try:
        return int(_EXACT.quantize(amount, _UNIT).scaleb(SCALE))
    except (ArithmeticError, ValueError):
        raise Unconvertible(f"the amount {amount} does not fit decimal({PRECISION},{SCALE}) exactly") from None


def scaled_down(minor_units: int) -> Callable[[int], Decimal]:
    """Turns ten-thousandths into an amount with ``minor_units`` decimals, or the few more that it really has."""
    step, unit = 10 ** (SCALE - minor_units), Decimal(1).scaleb(-minor_units)

    def amount(number: int) -> Decimal:
        units, rest = divmod(number, step)
        return scaled_down(minor_units + 1)(number) if rest else units * unit

    return amount


def _amount_to_bytes(amount: Decimal) -> bytes:
    number = unscaled(amount)
    return number.to_bytes((number.bit_length() + 8) >> 3, "big", signed=True)


def _amount_of_bytes(minor_units: int) -> Callable[[bytes, object], Decimal]:
    amount = scaled_down(minor_units)

    def read(raw: bytes, _: object) -> Decimal:
        if not 0 < len(raw) <= 16:
            raise Unconvertible(f"an amount of {len(raw)} bytes")
        number = int.from_bytes(raw, "big", signed=True)
        if not -_LIMIT < number < _LIMIT:
            raise Unconvertible(f"an amount of more than {PRECISION} digits")
        return amount(number)

    return read


def _amount_of_double(minor_units: int) -> Callable[[float, object], Decimal]:
    """The shortest decimal that means a double is what its writer meant."""
    amount = scaled_down(minor_units)
    return lambda value, _: amount(unscaled(Decimal(repr(value))))


def _moment_to_micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment_of_micros(micros: int) -> datetime:
    try:
        return _EPOCH + timedelta(0, 0, micros)
    except OverflowError:
        raise Unconvertible(f"the time {micros} is outside of the years 1 to 9999") from None


def _moment_of_text(text: str) -> datetime:
    """ISO 8601; a time without an offset is UTC, as its writers meant it."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unconvertible(f"the time {text[:40]!r} is not ISO 8601") from None


def _count(value: int, _: object) -> int:
    if not -INT_MAX <= value <= INT_MAX:
        raise Unconvertible(f"the number {value} does not fit 32 bits")
    return value


def _currency_of(code: str) -> Currency:
    found = currencies.find(code)
    if found is not None:
        return found
    if _CURRENCY_CODE.fullmatch(code) is None:
        raise Unconvertible(f"the currency {code[:40]!r} is not three capitals")
    return Currency(code, FALLBACK_MINOR_UNITS)


def _id_of(text: str) -> str:
    if _UUID.fullmatch(text):
        return text
    try:
        return str(UUID(text))
    except ValueError:
        raise Unconvertible(f"the event id {text[:40]!r} is not a UUID") from None


# ------------------------------------------------------------------------------------------------ whole records


ReadAmount = Callable[[int], Callable[[Any, object], Decimal]]
"""For a number of minor units, the cattrs hook that reads amounts."""


class Reading:
    """Builds orders from the dictionaries of one record format: one cattrs function per number of decimals."""

    def __init__(self, amount: ReadAmount, moment: Callable[[Any], datetime]) -> None:
        self._builders = [self._builder(minor_units, amount, moment) for minor_units in range(SCALE + 1)]

    def order(self, data: dict[str, Any]) -> Order:
        """The order in a record with the fields of ``Order``, by their wire names. Raises Unconvertible."""
        minor_units = _currency_of(data["currency"]).minor_units
        try:
            return self._builders[minor_units](data, Order)
        except Unconvertible:
            raise
        except (ValueError, TypeError, KeyError) as error:
            raise Unconvertible(f"{type(error).__name__}: {error}") from error

    @staticmethod
    def _builder(
        minor_units: int, amount: ReadAmount, moment: Callable[[Any], datetime]
    ) -> Callable[[dict[str, Any], type[Order]], Order]:
        converter = Converter(detailed_validation=False)
        converter.register_structure_hook(Decimal, amount(minor_units))
        converter.register_structure_hook(datetime, lambda value, _: moment(value))
        converter.register_structure_hook(Currency, lambda value, _: _currency_of(value))
        converter.register_structure_hook(int, _count)
        line_of_data = make_dict_structure_fn(OrderLine, converter, item_id=override(rename="itemId"))
        # As when writing: cattrs would look each line's type up again.
        converter.register_structure_hook_func(
            lambda kind: kind == tuple[OrderLine, ...],
            lambda lines, _: tuple([line_of_data(line, OrderLine) for line in lines]),
        )
        return make_dict_structure_fn(Order, converter, **_ORDER_NAMES)  # type: ignore[arg-type]


_OURS: Final = Reading(_amount_of_bytes, _moment_of_micros)
_INHERITED: Final = Reading(_amount_of_double, _moment_of_text)


def _writer() -> Callable[[Order], dict[str, Any]]:
    converter = Converter()
    converter.register_unstructure_hook(Decimal, _amount_to_bytes)
    converter.register_unstructure_hook(datetime, _moment_to_micros)
    converter.register_unstructure_hook(Currency, lambda currency: currency.code)
    line_to_data = make_dict_unstructure_fn(OrderLine, converter, item_id=override(rename="itemId"))
    # cattrs would look each line's type up again; this is the hot path of every write.
    converter.register_unstructure_hook_func(
        lambda kind: kind == tuple[OrderLine, ...], lambda lines: [line_to_data(line) for line in lines]
    )
    return make_dict_unstructure_fn(Order, converter, **_ORDER_NAMES)  # type: ignore[arg-type]


_order_to_data: Final = _writer()


def to_data(event: OrderEvent) -> dict[str, Any]:
    """The event as the fields of the published schema, logical values already in their physical form.

    Raises Unconvertible for an amount that does not fit decimal(18,4).
    """
    data = _order_to_data(event.order)
    data["eventId"] = event.event_id
    data["eventType"] = event.event_type.value
    data["occurredAt"] = _moment_to_micros(event.occurred_at)
    return data


def to_event(data: dict[str, Any]) -> OrderEvent:
    """The event in a record of ours. Raises Unconvertible for what our types cannot hold."""
    return OrderEvent(
        event_id=_id_of(data["eventId"]),
        event_type=EventType(data["eventType"]),
        occurred_at=_moment_of_micros(data["occurredAt"]),
        order=to_order(data),
    )


def to_order(data: dict[str, Any]) -> Order:
    """The order in a record of ours. Raises Unconvertible."""
    return _OURS.order(data)


def to_inherited_order(data: dict[str, Any]) -> Order:
    """The order in an inherited record, at version 0: the format has no versions. Raises Unconvertible."""
    return _INHERITED.order(data | {"version": 0})
