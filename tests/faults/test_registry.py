"""The registry dies, hangs, or does not know an id, in the small size, with more time than ``make faults`` gives."""

from __future__ import annotations

import pytest

from tests.faults.outcome import SLACK
from tests.faults.parts import Parts
from tests.faults.scenarios import run

pytestmark = [pytest.mark.process, pytest.mark.slow]


def _holds(name: str, parts: Parts) -> None:
    outcome = run(name, parts, "small")
    assert not outcome.broken(SLACK), outcome.report()


def test_nobody_notices_that_a_registry_dies_whose_schema_is_known(parts: Parts) -> None:
    """Not one 503, and the order service goes on projecting."""
    _holds("registry-down-under-load", parts)


def test_services_that_start_without_a_registry_live_and_wait_for_it(parts: Parts) -> None:
    """They say what they miss, refuse changes, and go on with what an earlier life left when it comes."""
    _holds("registry-down-at-cold-start", parts)


def test_a_registry_that_hangs_holds_up_nothing_that_does_not_need_it(parts: Parts) -> None:
    """Health and refusals are answered at once while it hangs, and it is enough that it goes on."""
    _holds("registry-hangs", parts)


def test_an_unknown_schema_stops_one_order_and_the_id_becoming_known_releases_it(parts: Parts) -> None:
    """The others flow; the held order goes on by itself, in its order."""
    _holds("unknown-schema-then-known", parts)
