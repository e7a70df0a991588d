"""Strict decoding: what is valid equals json.loads, what is not is one fault at body, and nothing takes long."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordering.domain.errors import Fault, InvalidInput
from ordering.domain.fields import HugeInteger, NotFinite
from ordering.entrypoints.http.strict_json import DEPTH_MAX, decode
from tests.cost import cost

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**18) + 1, 10**18 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
DOCUMENTS = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30)


def floats(value: Any) -> Any:  # noqa: ANN401 -- any JSON
    """Decimals as the floats that json.loads would give."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [floats(item) for item in value]
    return {key: floats(item) for key, item in value.items()} if isinstance(value, dict) else value


def faults_of(body: bytes) -> Sequence[Fault]:
    """What is wrong with it: nothing, or faults that are all at body."""
    try:
        decode(body)
    except InvalidInput as refused:
        found = refused.faults
    else:
        found = ()
    assert all(fault.field == "body" and fault.message for fault in found)
    return found


def code_of(body: bytes) -> str:
    """The code of the one fault at body."""
    (fault,) = faults_of(body)
    return str(fault.code)


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 0, 3]))
def test_a_valid_document_is_what_json_loads_gives(document: object, ascii_only: bool, indent: int | None) -> None:
    """But for numbers with a point or an exponent, which are exact Decimals."""
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    try:
        body = text.encode()
    except UnicodeEncodeError:
        return  # a key with a lone surrogate, unescaped: no bytes stand for it
    assert floats(decode(body)) == json.loads(text)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_one_fault(body: bytes) -> None:
    """Whatever Python's own strict reading refuses is refused here, and nothing else but what we forbid on top."""
    assert len(faults_of(body)) <= 1


@given(st.text('[]{}",:\\ 1a', max_size=300))
def test_any_heap_of_brackets_is_a_document_or_one_fault(text: str) -> None:
    """Nesting is counted before it is decoded, so no heap of brackets reaches the recursion limit."""
    assert len(faults_of(text.encode())) <= 1


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("depth", [1, 2, 31, 32])
def test_nesting_up_to_the_limit_is_a_document(opening: bytes, depth: int) -> None:
    """The outermost bracket counts as one."""
    assert DEPTH_MAX == 32
    closing = b"]" if opening == b"[" else b"}"
    decode(opening * (depth - 1) + opening[:1] + closing * depth)


@pytest.mark.parametrize("body", [b"[" * 33 + b"]" * 33, b"[" * 33, b'{"a":' * 33, b"[" * 10**6, b"[[1]," + b"[" * 32])
def test_nesting_beyond_the_limit_is_a_fault_of_its_own(body: bytes) -> None:
    """Also where the rest is no JSON either: the depth is seen first."""
    assert code_of(body) == "too-deep"


@pytest.mark.parametrize("body", [b'"' + b"[" * 100, b'"a\\"' + b"[" * 100 + b'"x', b'["' + b"[" * 100 + b"\\"])
def test_brackets_in_an_unfinished_text_are_no_nesting(body: bytes) -> None:
    """The fault is the syntax."""
    assert code_of(body) == "invalid-json"


def test_many_brackets_side_by_side_are_no_nesting() -> None:
    """A thousand items are two deep."""
    assert decode(b"[" + b",".join([b"[]"] * 1_000) + b"]") == [[]] * 1_000


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b"NaN", NotFinite("NaN")),
        (b"-Infinity", NotFinite("-Infinity")),
        (b"1e99999999999999999999", NotFinite("1e99999999999999999999")),
        (b"999999999999999999", 999_999_999_999_999_999),
        (b"-999999999999999999", -999_999_999_999_999_999),
        (b"1000000000000000000", HugeInteger("1000000000000000000")),
        (b"-1000000000000000000", HugeInteger("-1000000000000000000")),
        (b"39.90", Decimal("39.90")),
        (b"1e999999", Decimal("1e999999")),
        (b'"\\ud800"', "\ud800"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
    ],
)
def test_numbers_too_wild_to_hold_become_markers(body: bytes, document: object) -> None:
    """The validator reports them at their path; lone surrogates as well."""
    assert decode(body) == document


@pytest.mark.parametrize(
    "body",
    [
        b"9" * 262_144,
        b"-" + b"9" * 5_000,
        b"0." + b"9" * 262_000,
        b"1e" + b"9" * 262_000,
        b'"' + b"\\" * 262_000,
        b"[" + b"[]," * 87_000 + b"1]",
        b"{" + b",".join(b'"%d":1' % number for number in range(26_000)) + b"}",
    ],
    ids=["digits", "negative", "decimals", "exponent", "backslashes", "pairs", "keys"],
)
def test_the_worst_body_takes_no_time_to_speak_of(body: bytes) -> None:
    """One request must not hold up the others; measured in CPU time, generously."""
    assert cost(lambda: faults_of(body)) < 50


def test_a_repeated_key_is_named() -> None:
    """The message says which."""
    with pytest.raises(InvalidInput, match="'price'"):
        decode(b'{"items":[{"price":1,"price":2}]}')
