"""The rules for query parameters: one text each, or None for an absent one; the answer is the value or the Fault."""

import re
from typing import Final

from ordering.domain.errors import Code, Fault
from ordering.domain.fields import BLANK, REQUIRED, Problem, identifier

TOPIC_NAME_LENGTH_MAX: Final = 249

_DIGITS_MAX: Final = 18
_INTEGER: Final = re.compile(r"-?[0-9]+").fullmatch
_DECIMAL: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?").fullmatch
_TOPIC_NAME: Final = re.compile(r"[A-Za-z0-9._-]+").fullmatch


def read_order_id(text: str | None, field: str) -> str | Fault:
    """An order id by the rule for ids: trimmed, then 1 to 64 characters of A-Z a-z 0-9 . _ : -"""
    order_id = identifier(text)
    return order_id.at(field) if isinstance(order_id, Problem) else order_id


def read_topic_name(text: str | None, field: str) -> str | Fault:
    """A name Kafka allows for a topic: 1 to 249 characters of A-Z a-z 0-9 . _ -, but not . or .. ; not trimmed."""
    if text is None:
        return REQUIRED.at(field)
    if not text.strip():
        return BLANK.at(field)
    if len(text) > TOPIC_NAME_LENGTH_MAX:
        return Fault(field, Code.TOO_LONG, f"must have at most {TOPIC_NAME_LENGTH_MAX} characters")
    if text in (".", "..") or not _TOPIC_NAME(text):
        return Fault(field, Code.INVALID_CHARACTERS, "may only hold letters A-Z a-z, digits and . _ - (not . or ..)")
    return text


def read_whole_number(text: str | None, field: str, low: int, high: int) -> int | Fault:
    """A whole number from ``low`` to ``high``, in ASCII digits only."""
    if not text:
        return _missing(text, field)
    rule = f"must be a whole number from {low} to {high}"
    if not _INTEGER(text):
        return Fault(field, Code.INVALID_TYPE, rule)
    if len(text.lstrip("-0")) > _DIGITS_MAX or not low <= int(text.lstrip("-0") or "0") * _sign(text) <= high:
        return Fault(field, Code.OUT_OF_RANGE, rule)
    return int(text)


def read_seconds(text: str | None, field: str, low: int, high: int) -> float | Fault:
    """A number of seconds from ``low`` to ``high`` in plain decimal notation: 5, 0.25; no exponent, no nan."""
    if not text:
        return _missing(text, field)
    rule = f"must be a number of seconds from {low} to {high}, such as 2.5"
    if not _DECIMAL(text):
        return Fault(field, Code.INVALID_TYPE, rule)
    seconds = float(text)
    return seconds if low <= seconds <= high else Fault(field, Code.OUT_OF_RANGE, rule)


def _missing(text: str | None, field: str) -> Fault:
    return REQUIRED.at(field) if text is None else BLANK.at(field)


def _sign(text: str) -> int:
    return -1 if text.startswith("-") else 1
