"""The crash test on real Kafka, registry and PostgreSQL, in a small size; in full by `make crash MODE=cluster`."""

from __future__ import annotations

from pathlib import Path

import pytest

from ordering.entrypoints.kill_points import KillPoint
from tests.e2e import crash, crash_mutants
from tests.e2e.crash_system import clustered
from tests.faults.parts import Parts

pytestmark = [pytest.mark.process, pytest.mark.slow]

SEED = 20_261_126
POINTS = (KillPoint.IN_TRANSACTION, KillPoint.COMMIT_ANSWER, KillPoint.APPEND_ACK, KillPoint.COMMIT_OFFSET)


def test_kills_leave_five_zeros_on_the_cluster(parts: Parts) -> None:
    """At random moments, and where a server knows something that the service that asked it does not."""
    with clustered(parts) as system:
        outcome = crash.run(system, crash.Plan(SEED, cycles=2, points=POINTS))

    assert not outcome.broken(crash.LOADED), outcome.report()
    assert outcome.findings.events > 100, outcome.report()


def test_a_broken_build_is_caught_on_the_cluster(parts: Parts, tmp_path: Path) -> None:
    """The event gets into the outbox after the transaction of its order: a kill in between loses it."""
    build = crash_mutants.build("event-outside-transaction", tmp_path)
    plan = crash.Plan(SEED, points=crash_mutants.CAUGHT_AT["event-outside-transaction"])
    with clustered(parts, build) as system:
        findings = crash.run(system, plan, patient=False).findings

    assert findings.events_missing, findings.table()
