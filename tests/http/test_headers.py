"""Header parsers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordering.application.messages import Place
from ordering.domain.errors import Fault
from ordering.entrypoints.http.cursors import cursor_of, place_of
from ordering.entrypoints.http.headers import (
    acceptable_request_id,
    acceptable_traceparent,
    acceptable_tracestate,
    idempotency_key,
    if_match,
)

PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=255)
HEADER_VALUES = st.text(st.characters(min_codepoint=9, max_codepoint=255), max_size=40)


@given(PRINTABLE)
def test_a_key_is_the_same_bare_and_quoted(key: str) -> None:
    """RFC 8941 escapes quotes and backslashes."""
    quoted = '"' + re.sub(r'(["\\])', r"\\\1", key) + '"'
    assert idempotency_key(quoted) == key
    if not key.startswith('"'):
        assert idempotency_key(key) == key


@given(HEADER_VALUES)
def test_any_key_header_is_a_key_or_a_fault(value: str) -> None:
    """A key is never empty, long or unprintable."""
    key = idempotency_key(value)
    assert isinstance(key, Fault) or (isinstance(key, str) and re.fullmatch("[ -~]{1,255}", key))


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=5), st.sampled_from([", ", ",", " , ", "\n"]))
def test_a_list_of_versions_is_read_whatever_separates_it(versions: list[int], comma: str) -> None:
    """Several header lines are one list."""
    assert if_match(comma.join(f'"{version}"' for version in versions)) == frozenset(versions)


@given(HEADER_VALUES)
def test_any_if_match_header_is_versions_or_a_fault(value: str) -> None:
    """It never raises; only * means any."""
    found = if_match(value)
    assert isinstance(found, Fault | frozenset) or value == "*"


def test_a_long_if_match_header_is_read_in_linear_time() -> None:
    """64 KiB of tags, and of something that nearly is one."""
    assert if_match('"1",' * 16_000) == frozenset({1})
    assert isinstance(if_match('"1' + " " * 60_000), Fault)
    assert isinstance(if_match('"1"' + " " * 60_000 + "x"), Fault)


@pytest.mark.parametrize("value", ["r", "a b", "~" * 128, "{}"])
def test_a_printable_request_id_is_kept(value: str) -> None:
    """As it is."""
    assert acceptable_request_id(value) == value


@pytest.mark.parametrize("value", [None, "", " ", "a ", " a", "a\nb", "a\tb", "\u00e4", "r" * 129])
def test_another_request_id_is_not(value: str | None) -> None:
    """It will be replaced."""
    assert acceptable_request_id(value) is None


ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize("value", [f"00-{ID}-{SPAN}-01", f"00-{ID}-{SPAN}-00", f"cc-{ID}-{SPAN}-01-later"])
def test_a_valid_traceparent_is_kept(value: str) -> None:
    """Also one of a later version of the format."""
    assert acceptable_traceparent(value) == value


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        f"00-{ID.upper()}-{SPAN}-01",
        f"ff-{ID}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{ID}-{'0' * 16}-01",
        f"00-{ID}-{SPAN}-01-more",
        f"00-{ID}-{SPAN}",
        f"00-{ID}-{SPAN}-01\n00-{ID}-{SPAN}-01",
    ],
)
def test_an_invalid_traceparent_is_dropped(value: str | None) -> None:
    """The W3C format, version 00."""
    assert acceptable_traceparent(value) is None


def test_a_tracestate_is_joined_and_bounded() -> None:
    """Two lines are one list; more than 512 characters are dropped."""
    assert acceptable_tracestate("a=1\nb=2") == "a=1,b=2"
    assert acceptable_tracestate("a" * 513) is None
    assert acceptable_tracestate("\u00e4") is None


@given(st.integers(0, 2**63 - 1), st.integers(0, 10_000), st.integers(0, 2**63 - 1))
def test_a_cursor_finds_its_place_again(timestamp: int, partition: int, offset: int) -> None:
    """Opaque to clients, exact for us."""
    place = Place(timestamp, partition, offset)
    assert place_of(cursor_of(place), "cursor") == place


@given(st.text(max_size=60))
def test_any_other_cursor_is_a_fault(text: str) -> None:
    """Only what we gave out is taken, in the one way it is written."""
    found = place_of(text, "cursor")
    assert isinstance(found, Fault) or cursor_of(found) == text
