"""kill -9 of the services under load, at random moments and at every kill point, and broken builds that the same test
must catch. In full by `make crash`; on the cluster in tests/faults/test_crash.py."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ordering.entrypoints.kill_points import KillPoint
from tests.e2e import crash, crash_mutants
from tests.e2e.crash_system import embedded
from tests.e2e.running import PATIENCE, alive, until

pytestmark = [pytest.mark.process, pytest.mark.slow]

SEED = 20_261_126
ROOT = Path(__file__).parents[2]


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


def services_of(run: int) -> list[int]:
    """Its processes that have become what they were started for."""
    command = ["ps", "-A", "-o", "pid=,ppid=,args="]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in shown.splitlines()]
    return [int(pid) for pid, parent, *words in rows if int(parent) == run and words[1:4:2] == ["-m", "serve"]]


def heeds_hang_ups() -> None:
    """A hang-up ends this process, as it ends one at a terminal."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_leaves_no_service(number: signal.Signals, tmp_path: Path) -> None:
    """Whatever ends it, also what cannot be caught, and also a service that stands still at that moment. What can be
    caught leaves no files either."""
    command = [sys.executable, "-m", "tests.e2e.crash", "--cycles", "1000000"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    # Whoever began these tests may ignore a hang-up (nohup), and children inherit that.
    with subprocess.Popen(command, cwd=ROOT, env=env, preexec_fn=heeds_hang_ups) as run:  # noqa: PLW1509 -- one thread
        try:
            until(lambda: len(services_of(run.pid)) == 2, "both services run")
            begun = services_of(run.pid)
            if number is signal.SIGKILL:
                with contextlib.suppress(ProcessLookupError):  # it may be killed in this very moment
                    os.kill(begun[-1], signal.SIGSTOP)
            run.send_signal(number)
            status = run.wait(PATIENCE)
        finally:
            run.kill()
    until(lambda: not any(map(alive, begun)), "all of them have ended")
    if number is signal.SIGTERM:
        assert status == 128 + signal.SIGTERM
        assert list(tmp_path.glob("ordering-*")) == []


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
