"""Bytes of a request body -> a decoded JSON document, strictly by RFC 8259.

Only what leaves no document ends here, as a fault at ``body``: bad UTF-8, bad syntax, a repeated key, too much
nesting. Numbers no Decimal or machine integer should hold become the domain's markers and are reported by its
validator, at their path. The standard library's C scanner does the work; the hooks make it strict.
"""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn

from ordering.domain.errors import Code, Fault, InvalidInput
from ordering.domain.fields import HugeInteger, NotFinite, shown

DEPTH_MAX: Final = 32
"""How deep arrays and objects may be nested, the outermost one counted."""
DIGITS_MAX: Final = 18
"""Integers of more digits are not converted: that costs quadratic time, and no rule allows them."""

_WHITE_SPACE: Final = " \t\n\r"
_STRINGS: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_BRACKETS: Final = re.compile(r"[^\[\]{}]++")


class _RepeatedKey(Exception):
    """An object names this key twice."""


def decode(body: bytes) -> object:
    """The document in ``body``: str, int, bool, None, Decimal, list, dict, NotFinite, HugeInteger.

    Raises InvalidInput with one fault at ``body``. Strings may hold lone surrogates (``"\\ud800"`` is JSON): the
    validator refuses them where they stand.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        _refuse(Code.INVALID_UTF8, f"is not UTF-8: {error.reason} at byte {error.start}")
    if text.count("[") + text.count("{") > DEPTH_MAX and _depth(text) > DEPTH_MAX:
        _refuse(Code.TOO_DEEP, f"must not nest arrays and objects deeper than {DEPTH_MAX}")
    try:
        return _decode(text)
    except json.JSONDecodeError as error:
        _refuse_syntax(text, error)
    except _RepeatedKey as repeated:
        _refuse(Code.DUPLICATE_KEY, f"has an object that names the key '{shown(str(repeated))}' more than once")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RepeatedKey(key)
            seen.add(key)
    return found


def _integer(digits: str) -> int | HugeInteger:
    return int(digits) if len(digits) <= DIGITS_MAX else _long_integer(digits)


def _long_integer(digits: str) -> int | HugeInteger:
    return int(digits) if len(digits.lstrip("-")) <= DIGITS_MAX else HugeInteger(digits)


def _number(text: str) -> Decimal | NotFinite:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond 10^18
        return NotFinite(text)


_decode: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=NotFinite
).decode


def _depth(text: str) -> int:
    """How deep ``text`` nests, or DEPTH_MAX + 1 as soon as it is deeper; syntax is not judged here."""
    depth = deepest = 0
    for bracket in _NOT_BRACKETS.sub("", _STRINGS.sub("", text)):
        if bracket in "[{":
            depth += 1
            deepest = max(depth, deepest)
            if deepest > DEPTH_MAX:
                break
        else:
            depth -= 1
    return deepest


def _refuse_syntax(text: str, error: json.JSONDecodeError) -> NoReturn:
    if not text.strip(_WHITE_SPACE):
        _refuse(Code.INVALID_JSON, "is empty; a JSON object is expected")
    if text.startswith("\ufeff"):
        _refuse(Code.INVALID_JSON, "must not begin with a byte order mark")
    reason = "text after the end of the document" if error.msg == "Extra data" else error.msg
    _refuse(Code.INVALID_JSON, f"is not JSON: {reason} at line {error.lineno} column {error.colno}")


def _refuse(code: Code, message: str) -> NoReturn:
    raise InvalidInput([Fault("body", code, message)]) from None
