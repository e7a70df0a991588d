"""The table of currencies: what is in it, what is not, and that each currency is one object."""

import pytest

from ordering.domain.currencies import CURRENCIES, find
from ordering.domain.money import Currency


@pytest.mark.parametrize(
    ("code", "minor_units"),
    [("USD", 2), ("EUR", 2), ("JPY", 0), ("KRW", 0), ("ISK", 0), ("UYI", 0), ("BHD", 3), ("TND", 3), ("CLF", 4)],
)
def test_a_currency_is_found_with_its_minor_units(code: str, minor_units: int) -> None:
    """The number of decimals is ISO 4217's, from none to four."""
    assert find(code) == Currency(code, minor_units)


@pytest.mark.parametrize("code", ["XAU", "XAG", "XDR", "XXX", "XTS", "XSU", "XUA", "XBA"])
def test_a_code_without_a_minor_unit_prices_nothing(code: str) -> None:
    """Metals, accounting units and test codes are ISO 4217 codes, but nothing has a price in them."""
    assert find(code) is None


@pytest.mark.parametrize("code", ["HRK", "BGN", "ANG", "ZWL", "SLL", "CUC", "DEM"])
def test_a_withdrawn_code_is_not_found(code: str) -> None:
    """Only currencies active at the table's date are in it."""
    assert find(code) is None


@pytest.mark.parametrize("code", ["usd", " USD", "USD ", "USD\n", "", "US", "USDD", "US\uff24"])
def test_only_the_exact_code_is_found(code: str) -> None:
    """Codes are three ASCII capitals; nothing is trimmed or folded."""
    assert find(code) is None


def test_the_table_holds_every_code_of_its_list_once() -> None:
    """The list of 2026-09-17 has 165 codes with a minor unit: 17 without decimals, 139 with 2, 7 with 3, 2 with 4."""
    counts = [sum(currency.minor_units == units for currency in CURRENCIES.values()) for units in range(5)]

    assert (len(CURRENCIES), counts) == (165, [17, 0, 139, 7, 2])


def test_every_key_is_the_code_of_its_currency() -> None:
    """Each code is three capitals and names its own currency."""
    assert [code for code, currency in CURRENCIES.items() if currency.code != code or not code.isupper()] == []


def test_a_currency_is_one_object() -> None:
    """Looking a code up twice gives the same object, so orders in memory share it."""
    assert find("USD") is find("USD")
