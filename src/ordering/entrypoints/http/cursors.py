"""The opaque cursor of a paged list: a place in first-appearance order."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Final

from ordering.application.messages import Place
from ordering.domain.errors import Code, Fault

CURSOR_LENGTH_MAX: Final = 100
_LARGEST: Final = 2**63 - 1


def cursor_of(place: Place) -> str:
    """The cursor of the page that begins after ``place``."""
    text = f"1.{place.timestamp}.{place.partition}.{place.offset}"
    return urlsafe_b64encode(text.encode("ascii")).decode("ascii").rstrip("=")


def place_of(cursor: str, field: str) -> Place | Fault:
    """The place a cursor stands for, or the fault of a cursor we never gave out."""
    invalid = Fault(field, Code.INVALID_CURSOR, "must be a nextCursor as an earlier answer gave it")
    if len(cursor) > CURSOR_LENGTH_MAX or not cursor.isascii():
        return invalid
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        version, *numbers = text.split(".")
        timestamp, partition, offset = (int(number) for number in numbers)
    except (Error, ValueError):
        return invalid
    place = Place(timestamp, partition, offset)
    within = all(0 <= number <= _LARGEST for number in (timestamp, partition, offset))
    if version != "1" or not within or cursor_of(place) != cursor:
        return invalid
    return place
