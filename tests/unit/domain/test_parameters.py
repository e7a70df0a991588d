"""Query parameters: each rule with its bounds, one fault each."""

import pytest

from ordering.domain.errors import Code, Fault
from ordering.domain.parameters import read_order_id, read_seconds, read_topic_name, read_whole_number
from tests.cost import cost


def code_of(result: object) -> Code | None:
    """The code of a fault at ``it``; None for a value."""
    if isinstance(result, Fault):
        assert result.field == "it"
        return result.code
    return None


@pytest.mark.parametrize(
    ("text", "expected"), [("a", "a"), (" x\t", "x"), ("A-Z.a_z:0", "A-Z.a_z:0"), ("a\n", "a"), ("i" * 64, "i" * 64)]
)
def test_an_order_id_is_trimmed(text: str, expected: str) -> None:
    """Surrounding white space is no part of an id."""
    assert read_order_id(text, "it") == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, Code.REQUIRED),
        ("", Code.BLANK),
        ("  ", Code.BLANK),
        ("a b", Code.INVALID_CHARACTERS),
        ("a\nb", Code.INVALID_CHARACTERS),
        ("é", Code.INVALID_CHARACTERS),
        ("\u0661", Code.INVALID_CHARACTERS),
        ("a\x00", Code.INVALID_CHARACTERS),
        ("\ud800", Code.INVALID_CHARACTERS),
        ("a/b", Code.INVALID_CHARACTERS),
        ("i" * 65, Code.TOO_LONG),
    ],
)
def test_an_order_id_that_breaks_a_rule_is_a_fault(text: str | None, code: Code) -> None:
    """The code tells which rule."""
    assert code_of(read_order_id(text, "it")) == code


@pytest.mark.parametrize("text", ["order-events", "a.b_C-9", "...", "t" * 249])
def test_a_legal_topic_name_is_taken_as_it_is(text: str) -> None:
    """Up to 249 letters, digits, dots, underscores and hyphens."""
    assert read_topic_name(text, "it") == text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, Code.REQUIRED),
        ("", Code.BLANK),
        (" ", Code.BLANK),
        (".", Code.INVALID_CHARACTERS),
        ("..", Code.INVALID_CHARACTERS),
        ("a b", Code.INVALID_CHARACTERS),
        (" a", Code.INVALID_CHARACTERS),
        ("a\n", Code.INVALID_CHARACTERS),
        ("a:b", Code.INVALID_CHARACTERS),
        ("t" * 250, Code.TOO_LONG),
    ],
)
def test_an_illegal_topic_name_is_a_fault(text: str | None, code: Code) -> None:
    """Kafka's own rule for names; topic names are not trimmed."""
    assert code_of(read_topic_name(text, "it")) == code


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("10", 10), ("007", 7)])
def test_a_whole_number_within_its_bounds_is_read(text: str, number: int) -> None:
    """Both bounds belong to the range."""
    assert read_whole_number(text, "it", 1, 10) == number


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, Code.REQUIRED),
        ("", Code.BLANK),
        ("0", Code.OUT_OF_RANGE),
        ("11", Code.OUT_OF_RANGE),
        ("-3", Code.OUT_OF_RANGE),
        ("9" * 5000, Code.OUT_OF_RANGE),
        ("-" + "9" * 5000, Code.OUT_OF_RANGE),
        ("3.0", Code.INVALID_TYPE),
        ("1e1", Code.INVALID_TYPE),
        ("+3", Code.INVALID_TYPE),
        ("1_0", Code.INVALID_TYPE),
        ("0x1", Code.INVALID_TYPE),
        (" 3", Code.INVALID_TYPE),
        ("3\n", Code.INVALID_TYPE),
        ("\u0663", Code.INVALID_TYPE),
        ("--3", Code.INVALID_TYPE),
        ("three", Code.INVALID_TYPE),
    ],
)
def test_a_text_that_is_no_whole_number_within_its_bounds_is_a_fault(text: str | None, code: Code) -> None:
    """ASCII digits only; too long is out of range without being converted."""
    assert code_of(read_whole_number(text, "it", 1, 10)) == code


def test_leading_zeros_count_for_nothing() -> None:
    """Thousands of them are still the same small number."""
    assert read_whole_number("0" * 4000 + "7", "it", 1, 10) == 7


def test_a_negative_bound_is_kept() -> None:
    """The sign belongs to the number."""
    assert [read_whole_number(text, "it", -5, 5) for text in ("-5", "-0", "5")] == [-5, 0, 5]


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("30", 30.0), ("0.25", 0.25), ("5.", None), (".5", None)])
def test_seconds_are_read_in_plain_decimal_notation(text: str, seconds: float | None) -> None:
    """Whole or with decimals on both sides of the point."""
    read = read_seconds(text, "it", 0, 30)

    assert (None if isinstance(read, Fault) else read) == seconds


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, Code.REQUIRED),
        ("", Code.BLANK),
        ("30.001", Code.OUT_OF_RANGE),
        ("-1", Code.OUT_OF_RANGE),
        ("9" * 5000, Code.OUT_OF_RANGE),
        ("nan", Code.INVALID_TYPE),
        ("inf", Code.INVALID_TYPE),
        ("1e1", Code.INVALID_TYPE),
        ("1,5", Code.INVALID_TYPE),
        ("5s", Code.INVALID_TYPE),
        ("5\n", Code.INVALID_TYPE),
    ],
)
def test_a_text_that_is_no_number_of_seconds_is_a_fault(text: str | None, code: Code) -> None:
    """Neither nan nor infinity can be waited for."""
    assert code_of(read_seconds(text, "it", 0, 30)) == code


@pytest.mark.parametrize("text", ["9" * 200_000, "0" * 200_000, "-" * 200_000, " " * 200_000])
def test_a_long_text_takes_no_time(text: str) -> None:
    """Every reader answers a 200,000 character text in a few milliseconds."""

    def read() -> None:
        read_order_id(text, "it")
        read_topic_name(text, "it")
        read_whole_number(text, "it", 1, 10)
        read_seconds(text, "it", 0, 30)

    assert cost(read) < 5


def test_a_fault_tells_the_bounds() -> None:
    """A client's developer reads what would be right."""
    assert read_whole_number("0", "limit", 1, 10_000) == Fault(
        "limit", Code.OUT_OF_RANGE, "must be a whole number from 1 to 10000"
    )
