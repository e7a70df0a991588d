"""Orders made up for demonstrations, and the parts of a real order its client left out.

Nothing here is random by itself: the source of randomness is passed in, so a seeded one repeats every order.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Protocol, TypeVar

from ordering.domain.currencies import CURRENCIES
from ordering.domain.inputs import CartInput, PlaceOrderInput
from ordering.domain.money import Currency
from ordering.domain.order import OrderDraft, OrderLine

ITEM_KINDS: Final = (
    "LAPTOP", "PHONE", "TABLET", "MONITOR", "KEYBOARD", "MOUSE", "HEADSET", "CAMERA", "SPEAKER", "WATCH",
)  # fmt: skip
GENERATED_CURRENCIES: Final = tuple(CURRENCIES[code] for code in ("USD", "EUR", "GBP", "JPY", "CAD", "AUD"))
PRICE_MIN: Final = 10
PRICE_MAX: Final = 500

T = TypeVar("T")


class Randomness(Protocol):
    """The two methods of ``random.Random`` that generation needs."""

    def randint(self, a: int, b: int, /) -> int:
        """A whole number from ``a`` to ``b``, both included."""

    def choice(self, seq: Sequence[T], /) -> T:
        """One element of a sequence that is not empty."""


def draft_of(placed: PlaceOrderInput, random: Randomness) -> OrderDraft:
    """The complete order for an input: what the client left out is generated."""
    if isinstance(placed, CartInput):
        customer_id = placed.customer_id or generate_customer_id(random)
        return OrderDraft(placed.order_id, customer_id, placed.currency, placed.lines)
    return generate_draft(placed.order_id, placed.num_items, random)


def generate_draft(order_id: str, num_items: int, random: Randomness) -> OrderDraft:
    """An order of ``num_items`` made-up lines in one of six currencies; two lines may hold the same item."""
    customer_id = generate_customer_id(random)
    currency = random.choice(GENERATED_CURRENCIES)
    lines = tuple(_generate_line(currency, random) for _ in range(num_items))
    return OrderDraft(order_id, customer_id, currency, lines)


def generate_customer_id(random: Randomness) -> str:
    """CUST-1000 to CUST-9999."""
    return f"CUST-{random.randint(1000, 9999)}"


def _generate_line(currency: Currency, random: Randomness) -> OrderLine:
    """1 to 5 pieces of ITEM-<KIND>-100..999, each at 10 to 500 whole units, down to the last minor unit."""
    item_id = f"ITEM-{random.choice(ITEM_KINDS)}-{random.randint(100, 999)}"
    quantity = random.randint(1, 5)
    scale = 10**currency.minor_units
    price = random.randint(PRICE_MIN * scale, PRICE_MAX * scale)
    return OrderLine(item_id, quantity, Decimal(price).scaleb(-currency.minor_units))
