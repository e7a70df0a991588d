"""Generated orders: the ranges, repeatability, and what a real cart lacks."""

import re
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordering.domain.currencies import CURRENCIES
from ordering.domain.generation import GENERATED_CURRENCIES, draft_of, generate_customer_id, generate_draft
from ordering.domain.inputs import CartInput, NumItemsInput, read_place_order
from ordering.domain.order import OrderDraft, OrderLine

KINDS = {"LAPTOP", "PHONE", "TABLET", "MONITOR", "KEYBOARD", "MOUSE", "HEADSET", "CAMERA", "SPEAKER", "WATCH"}
LINES = (OrderLine("ITEM-1", 2, Decimal("999.99")),)


def as_document(draft: OrderDraft) -> dict[str, object]:
    """The draft as a client would send it."""
    return {
        "orderId": draft.order_id,
        "customerId": draft.customer_id,
        "currency": draft.currency.code,
        "items": [{"itemId": line.item_id, "quantity": line.quantity, "price": line.price} for line in draft.lines],
    }


def many_lines() -> list[tuple[str, OrderLine]]:
    """Enough generated lines, each with its currency's code, that every value of the small ranges appears."""
    drafts = [generate_draft("order-1", 100, Random(seed)) for seed in range(300)]
    return [(draft.currency.code, line) for draft in drafts for line in draft.lines]


def test_the_same_seed_generates_the_same_order() -> None:
    """All randomness comes from the source passed in."""
    assert generate_draft("order-1", 5, Random(7)) == generate_draft("order-1", 5, Random(7))


@given(seed=st.integers(), num_items=st.integers(1, 100))
def test_a_generated_order_keeps_every_rule_for_inputs(seed: int, num_items: int) -> None:
    """Sent as a real cart it would be accepted unchanged, prices quantized already."""
    draft = generate_draft("order-1", num_items, Random(seed))

    read = read_place_order(as_document(draft), default_currency="USD")

    assert read == CartInput("order-1", draft.customer_id, draft.currency, draft.lines)
    assert len(draft.lines) == num_items


def test_generated_values_fill_their_ranges_and_no_more() -> None:
    """Kinds, numbers 100..999, quantities 1..5 and the six currencies all appear, and nothing else does."""
    lines = many_lines()
    matches = [re.fullmatch(r"ITEM-([A-Z]+)-([0-9]{3})", line.item_id) for _, line in lines]
    parts = [match.groups() for match in matches if match]

    assert len(parts) == len(lines)
    assert {kind for kind, _ in parts} == KINDS
    assert {int(number) for _, number in parts} == set(range(100, 1000))
    assert {line.quantity for _, line in lines} == {1, 2, 3, 4, 5}
    assert {code for code, _ in lines} == {"USD", "EUR", "GBP", "JPY", "CAD", "AUD"}


def test_generated_prices_go_from_ten_to_five_hundred() -> None:
    """In cents, and in whole yen for JPY."""
    yen = {line.price for code, line in many_lines() if code == "JPY"}
    cents = {line.price for code, line in many_lines() if code != "JPY"}

    assert yen == {Decimal(price) for price in range(10, 501)}
    assert Decimal("10.00") <= min(cents) < Decimal("11") < Decimal("499") < max(cents) <= Decimal("500.00")
    assert {price.as_tuple().exponent for price in cents} == {-2}
    assert {price.as_tuple().exponent for price in yen} == {0}


def test_generated_customers_go_from_1000_to_9999() -> None:
    """All 9,000 customers appear in 200,000 draws."""
    random = Random(1)

    customers = {generate_customer_id(random) for _ in range(200_000)}

    assert customers == {f"CUST-{number}" for number in range(1000, 10_000)}


def test_a_cart_without_a_customer_gets_a_generated_one() -> None:
    """Everything else stays as the client sent it."""
    draft = draft_of(CartInput("order-1", None, CURRENCIES["EUR"], LINES), Random(7))

    assert draft == OrderDraft("order-1", generate_customer_id(Random(7)), CURRENCIES["EUR"], LINES)


def test_a_complete_cart_is_taken_as_it_is() -> None:
    """Nothing is generated, nothing is drawn."""
    draft = draft_of(CartInput("order-1", "me", CURRENCIES["EUR"], LINES), Random(7))

    assert draft == OrderDraft("order-1", "me", CURRENCIES["EUR"], LINES)


def test_a_number_of_items_becomes_a_generated_order() -> None:
    """The draft is the one the generator makes."""
    assert draft_of(NumItemsInput("order-1", 4), Random(7)) == generate_draft("order-1", 4, Random(7))


@pytest.mark.parametrize("currency", GENERATED_CURRENCIES, ids=lambda currency: currency.code)
def test_generated_currencies_are_those_of_the_table(currency: object) -> None:
    """They are the shared objects, not copies."""
    assert any(currency is known for known in CURRENCIES.values())
