"""kill -9 of the services under load, at random moments and at every kill point, and broken builds that the same test
must catch. In full by `make crash`; on the cluster in tests/faults/test_crash.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from ordering.entrypoints.kill_points import KillPoint
from tests.e2e import crash, crash_mutants
from tests.e2e.crash_system import embedded

pytestmark = [pytest.mark.process, pytest.mark.slow]

SEED = 20_261_126


def _holds(plan: crash.Plan) -> None:
    with embedded() as system:
        outcome = crash.run(system, plan)
    print(outcome.report())
    assert not outcome.broken(crash.LOADED), outcome.report()
    assert outcome.findings.events > 100, outcome.report()


def test_kills_at_random_moments_leave_five_zeros() -> None:
    """What was acknowledged is there, what was refused is not, and every event is in the log and applied once."""
    _holds(crash.Plan(SEED, cycles=5))


def test_kills_at_every_point_leave_five_zeros_and_every_point_is_reached() -> None:
    """Between any two steps that a crash could tear apart."""
    _holds(crash.Plan(SEED, points=tuple(KillPoint)))


@pytest.mark.parametrize(
    ("mutant", "broken"),
    [("answer-before-commit", "acknowledged_missing"), ("no-version-check", "applied_twice")],
)
def test_a_broken_build_is_caught_at_its_kill_point(mutant: str, broken: str, tmp_path: Path) -> None:
    """A test of a promise that a build without the promise passes would show nothing. The others: `make crash`."""
    plan = crash.Plan(SEED, points=crash_mutants.CAUGHT_AT[mutant])
    with embedded(crash_mutants.build(mutant, tmp_path)) as system:
        findings = crash.run(system, plan, patient=False).findings

    assert getattr(findings, broken), findings.table()
