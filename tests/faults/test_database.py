"""PostgreSQL's link cut, its crash, and a transaction that stays open, in the small size."""

from __future__ import annotations

import pytest

from tests.faults.outcome import SLACK
from tests.faults.parts import Parts
from tests.faults.scenarios import run

pytestmark = [pytest.mark.process, pytest.mark.slow]


def _holds(name: str, parts: Parts) -> None:
    outcome = run(name, parts, "small")
    assert not outcome.broken(SLACK), outcome.report()


def test_a_link_cut_at_any_step_of_a_write_means_no_wrong_answer(parts: Parts) -> None:
    """What was answered with 201 is stored, what was answered with 503 is not, and it goes on by itself."""
    _holds("database-cut", parts)


def test_a_database_that_crashes_and_comes_back_loses_nothing(parts: Parts) -> None:
    """Both services are ready again by themselves."""
    _holds("database-restart", parts)


def test_a_transaction_that_commits_late_hides_no_row(parts: Parts) -> None:
    """The outbox is a set, not a cursor: a low place that appears after higher ones is published all the same."""
    _holds("low-id", parts)
