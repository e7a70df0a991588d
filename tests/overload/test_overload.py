"""Every scenario of overload in the small size; ``make overload SIZE=full`` runs the full one."""

from __future__ import annotations

import pytest

from tests.faults.outcome import SLACK
from tests.overload.scenarios import run
from tests.overload.systems import Place

pytestmark = [pytest.mark.process, pytest.mark.slow]


def _holds(name: str) -> None:
    outcome = run(name, Place(), "small")
    assert not outcome.broken(SLACK), outcome.report()


@pytest.mark.parametrize("name", ["closed-loop", "slow-store"])
def test_five_times_too_many_clients_are_refused_at_once_or_served_in_time(name: str) -> None:
    """On a fast and on a slow store: an id that was refused is not stored, and soon everything is as before."""
    _holds(name)


@pytest.mark.parametrize("name", ["stuck-heads", "stuck-bodies"])
def test_requests_that_never_end_are_closed_in_time_and_take_nobodys_place(name: str) -> None:
    """Others are served meanwhile, and nothing of a body that never came whole is stored."""
    _holds(name)


@pytest.mark.parametrize("name", ["sigterm", "sigterm-all"])
def test_a_stop_under_load_leaves_nobody_who_was_heard_without_an_answer(name: str) -> None:
    """And the next life goes on, with nothing lost and nothing repeated; of one service and of `serve all`."""
    _holds(name)


def test_clients_that_hang_up_leave_an_order_with_its_event_or_none_at_all() -> None:
    """Wherever they cut, and nothing of theirs stays behind."""
    _holds("cut-connections")
