"""The life cycle: one table, and the diagram made from it."""

from itertools import product

from ordering.domain.status import TRANSITIONS, OrderStatus, life_cycle_diagram

LEGAL_STEPS = {
    ("pending", "confirmed"),
    ("pending", "cancelled"),
    ("confirmed", "shipped"),
    ("confirmed", "cancelled"),
    ("shipped", "delivered"),
}


def test_exactly_five_of_the_twenty_five_pairs_are_steps() -> None:
    """Every pair is judged by the table; nothing else decides."""
    steps = {(one.value, other.value) for one, other in product(OrderStatus, repeat=2) if other in TRANSITIONS[one]}

    assert steps == LEGAL_STEPS


def test_the_diagram_shows_the_table() -> None:
    """One arrow in, one arrow per step, one arrow out of each final status."""
    assert life_cycle_diagram() == (
        "stateDiagram-v2\n"
        "    [*] --> pending\n"
        "    pending --> confirmed\n"
        "    pending --> cancelled\n"
        "    confirmed --> shipped\n"
        "    confirmed --> cancelled\n"
        "    shipped --> delivered\n"
        "    delivered --> [*]\n"
        "    cancelled --> [*]\n"
    )
