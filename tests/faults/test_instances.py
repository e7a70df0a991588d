"""Several cart services on one database, in the small size."""

from __future__ import annotations

import pytest

from tests.faults.outcome import SLACK
from tests.faults.parts import Parts
from tests.faults.scenarios import run

pytestmark = [pytest.mark.process, pytest.mark.slow]


def _holds(name: str, parts: Parts) -> None:
    outcome = run(name, parts, "small")
    assert not outcome.broken(SLACK), outcome.report()


def test_version_one_of_a_killed_instance_is_in_the_log_before_version_two_of_another(parts: Parts) -> None:
    """Whichever of them relays: an event goes out only behind its predecessor."""
    _holds("instance-killed", parts)


def test_a_relay_that_stood_still_for_two_leases_repeats_and_never_reorders(parts: Parts) -> None:
    """Another one relays meanwhile; what the first one had in its hands comes late and again."""
    _holds("instance-paused", parts)


def test_of_two_instances_asked_at_once_one_wins_and_a_key_has_one_answer(parts: Parts) -> None:
    """The database decides between processes that cannot see each other's requests."""
    _holds("two-instances-race", parts)


def test_what_is_written_where_nobody_relays_is_visible_at_once(parts: Parts) -> None:
    """The relay is told of it; its sweep of each second is only for what is not told."""
    _holds("seen-from-elsewhere", parts)
