"""Hostile bodies of create-order: ill-formed values anywhere, huge texts, long numbers, and the time they take."""

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordering.domain.errors import Code, Fault, InvalidInput
from ordering.domain.fields import HugeInteger, NotFinite
from tests.cost import cost
from tests.unit.domain.bodies import HUGE, NAN, cart, codes_in, faults_in, item, read

json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals()
    | st.text(st.characters())
    | st.sampled_from([NAN, HUGE, "\ud800", "USD", "order-1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["orderId", "customerId", "currency", "items", "numItems", "itemId", "quantity", "price", "\udc00"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(document=json_like)
def test_any_document_is_read_or_refused_with_printable_faults(document: object) -> None:
    """No input raises anything else, and every fault can be sent as UTF-8."""
    try:
        read(document)
        faults: tuple[Fault, ...] = (Fault("none", Code.INVALID_INPUT, "was read"),)
    except InvalidInput as error:
        faults = error.faults

    assert [fault for fault in faults if not (fault.field + fault.message).encode()] == []
    assert faults


@pytest.mark.parametrize(
    "text", ["x" * 200_000, "\ud800" * 200_000, "\x00" * 200_000, "é" * 200_000], ids=["x", "surrogate", "nul", "é"]
)
def test_no_message_repeats_a_huge_value(text: str) -> None:
    """A refused value is cut at about 64 characters."""
    document = cart(item(itemId=text, **{text: NAN}), currency=text, customerId=text, orderId=text)

    assert all(len(fault.message) + len(fault.field) < 300 for fault in faults_in(document))


def test_a_refused_text_is_shown_so_that_it_can_be_printed() -> None:
    """Lone surrogates and control characters are escaped."""
    assert faults_in(cart(currency="U\ud800\n"))[0].message.endswith(r"not 'U\ud800\n'")


@pytest.mark.parametrize("value", [NAN, NotFinite("Infinity"), NotFinite("-Infinity")])
def test_what_is_no_json_number_is_refused_in_unknown_fields_too(value: NotFinite) -> None:
    """NaN and the infinities are no JSON, so they are faults wherever they stand, once."""
    document = cart(item(price=value, note=[1, value]), note={"a": value})

    assert codes_in(document) == [
        ("items[0].price", Code.NOT_FINITE),
        ("items[0].note[1]", Code.NOT_FINITE),
        ("note.a", Code.NOT_FINITE),
    ]


def test_what_is_no_json_number_is_refused_in_an_item_that_is_right_otherwise() -> None:
    """An unknown field of one item is enough."""
    assert codes_in(cart(item(), item(note=NAN))) == [("items[1].note", Code.NOT_FINITE)]


def test_a_lone_surrogate_is_refused_in_unknown_fields_too() -> None:
    """In values and in keys, in both forms and with neither."""
    odd = {"a": ["é", "x\udfff"], "\ud800": 1}
    expected = [("note.a[1]", Code.INVALID_CHARACTERS), (r"note.\ud800", Code.INVALID_CHARACTERS)]

    assert codes_in(cart(note=odd)) == expected
    assert codes_in({"orderId": "order-1", "numItems": 1, "note": odd}) == expected
    assert codes_in({"orderId": "order-1", "note": odd}) == [("body", Code.ITEMS_OR_NUM_ITEMS), *expected]


def test_ill_formed_values_in_ignored_fields_are_refused() -> None:
    """The numItems form ignores the customer, but not that the body is no JSON."""
    document = {"orderId": "order-1", "numItems": 1, "customerId": NAN, "currency": "\ud800"}

    assert codes_in(document) == [("customerId", Code.NOT_FINITE), ("currency", Code.INVALID_CHARACTERS)]


def test_the_number_of_faults_is_bounded() -> None:
    """Of 60,000 ill-formed values in unknown fields one answer names a hundred."""
    assert len(faults_in(cart(note=[NAN] * 60_000))) == 100


@pytest.mark.parametrize(
    "document",
    [
        cart(*[item(price=Decimal("1E-999999999999999999"))] * 1000),
        cart(*[item(price=Decimal("1e999999999999999999"))] * 1000),
        cart(*[item(price=Decimal("1e-999999"))] * 1000, currency="?"),
        cart(item(price=Decimal("1." + "0" * 250_000))),
        cart(item(price=Decimal("1" * 250_000 + ".001"))),
        cart(item(price=HugeInteger("9" * 250_000))),
        cart(orderId=" " * 250_000),
        cart(orderId="a" * 250_000),
        cart(note=["é"] * 60_000),
    ],
    ids=["tiny", "large", "unjudged", "zeros", "digits", "integer", "spaces", "letters", "unknown"],
)
def test_a_hostile_body_takes_no_time(document: object) -> None:
    """The largest of a kind that fits into a body is judged in under 100 ms (most in under 5)."""

    def judged() -> None:
        with contextlib.suppress(InvalidInput):
            read(document)

    assert cost(judged) < 20
