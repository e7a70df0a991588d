"""The broker dies, hangs, or is not there yet, in the small size, with more time than ``make faults`` gives."""

from __future__ import annotations

import pytest

from tests.faults.outcome import SLACK
from tests.faults.parts import Parts
from tests.faults.scenarios import run

pytestmark = [pytest.mark.process, pytest.mark.slow]


def _holds(name: str, parts: Parts) -> None:
    outcome = run(name, parts, "small")
    assert not outcome.broken(SLACK), outcome.report()


def test_a_killed_broker_means_503_until_it_is_back_and_nothing_is_stored_behind_one(parts: Parts) -> None:
    """Refused soon, taken again soon, by itself; whatever was acknowledged is published."""
    _holds("broker-kill-reject", parts)


def test_a_broker_that_swallows_everything_means_the_same(parts: Parts) -> None:
    """No connection is refused or reset: only the silence tells."""
    _holds("broker-black-hole", parts)


def test_who_accepts_without_a_broker_refuses_nothing_and_drains_afterwards(parts: Parts) -> None:
    """BROKER_OUTAGE=accept: 201 throughout, and each order's events in their order."""
    _holds("broker-kill-accept", parts)


def test_services_that_start_without_a_broker_live_and_wait_for_it(parts: Parts) -> None:
    """They say what they miss, refuse changes, and are ready by themselves when it comes."""
    _holds("broker-down-at-start", parts)


def test_services_that_start_without_their_topic_wait_for_it(parts: Parts) -> None:
    """They name it; `ordering topics ensure` is all it takes."""
    _holds("topic-missing-at-start", parts)
