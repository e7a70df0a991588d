"""kill -9 of the whole system under load, and broken builds that the same test must catch."""

import pytest

from tests.e2e import crash

pytestmark = [pytest.mark.process, pytest.mark.slow]

SEED = 20_261_123


def test_twenty_kills_of_the_whole_system_leave_five_zeros() -> None:
    """What was acknowledged is there, what was refused is not, and every event is in the log and applied once."""
    findings, figures = crash.run(20, SEED)
    print(figures, findings.table(), sep="\n")

    assert findings.all_zero, findings.table()
    assert findings.events > 100, figures


@pytest.mark.parametrize("mutant", sorted(crash.crash_mutants.MUTANTS))
def test_the_crash_test_catches_a_broken_build(mutant: str) -> None:
    """A test of a promise that a build without the promise passes would show nothing."""
    findings, _ = crash.run(8, SEED, mutant)

    assert findings.events_missing, findings.table()
