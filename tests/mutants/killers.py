"""Looking for what a broken build breaks: seeds of the simulation, or named tests, each build in a process of its own.

The processes are forked from one that has everything imported, so that a build costs what its killer costs.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from tests.mutants.patching import Mutant

SEEDS: Final = 2_000
THE_WORLD: Final = "tests/simulation/test_world.py"
SECONDS: Final = 240.0
CANNOT_RUN: Final = "its tests cannot run on this machine"
QUIET: Final = ("-q", "-x", "--no-header", "-p", "no:cacheprovider")

_FORK: Final = multiprocessing.get_context("fork")


@attrs.frozen
class Verdict:
    """Whether somebody noticed. ``seeds``: how many the simulation needed, or had. ``said``: what it said, or why there
    is no answer (then ``killed`` is None)."""

    killed: bool | None
    seeds: int | None
    said: str
    seconds: float = 0.0


def by_simulation(most: int, first: int = 0) -> Verdict:
    """The first seed that fails, as the production code is now."""
    from tests.simulation.world import simulate  # noqa: PLC0415 -- pytest has to come first, see warm_up

    for seed in range(first, first + most):
        try:
            simulate(seed)
        except AssertionError as error:
            return Verdict(True, seed - first + 1, f"seed {seed}: {error}")
        except Exception as error:  # the world itself broke, which proves nothing
            return Verdict(None, seed - first + 1, f"seed {seed} cannot be run: {error!r}")
    return Verdict(False, most, "")


class _Outcomes:
    """What the tests of a run came to."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.passed = self.skipped = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)
        self.passed += report.passed and report.when == "call"
        self.skipped += report.skipped


def by_tests(tests: Sequence[str]) -> Verdict:
    """Whether one of these tests is red, as the production code is now."""
    outcomes = _Outcomes()
    status = pytest.main([*QUIET, *tests], plugins=[outcomes])
    if status == pytest.ExitCode.TESTS_FAILED:
        return Verdict(True, None, outcomes.failed[0] if outcomes.failed else "")
    if status != pytest.ExitCode.OK:
        return Verdict(None, None, f"pytest ended with {status!r}")
    if not outcomes.passed:
        return Verdict(None, None, CANNOT_RUN)
    return Verdict(False, None, f"{outcomes.passed} tests are green")


def by_its_killer(mutant: Mutant, most: int = SEEDS) -> Verdict:
    """Become this broken build, and look."""
    with mutant.applied():
        return by_tests(mutant.tests) if mutant.tests else by_simulation(most)


def warm_up(tests: Iterable[str]) -> None:
    """Import what all tests and the simulation need, here, once, and by pytest, which rewrites some of it. Raises
    SystemExit with its words if a test does not exist."""
    with tempfile.TemporaryFile("w+") as said:
        with contextlib.redirect_stdout(said):
            status = pytest.main(["--collect-only", *QUIET, *dict.fromkeys([THE_WORLD, *tests])])
        if status != pytest.ExitCode.OK:
            said.seek(0)
            raise SystemExit(said.read())


# ---------------------------------------------------------------------------------------------- processes


@attrs.frozen
class Work:
    """Something to be looked at in a process of its own: a broken build, or (``mutant`` None) the sound one."""

    name: str
    mutant: Mutant | None
    tests: tuple[str, ...] = ()
    seeds: int = SEEDS

    def do(self) -> Verdict:
        """The verdict of whoever is asked."""
        if self.mutant is not None:
            return by_its_killer(self.mutant, self.seeds)
        return by_tests(self.tests) if self.tests else by_simulation(self.seeds)


def looked_at(works: Sequence[Work], jobs: int) -> Iterator[tuple[Work, Verdict]]:
    """All of them, ``jobs`` at a time, in the order they end."""
    left, running = list(reversed(works)), dict[Any, tuple[Work, Any, float]]()
    while left or running:
        while left and len(running) < jobs:
            work = left.pop()
            receiver, sender = _FORK.Pipe(duplex=False)
            process = _FORK.Process(target=_in_its_own_process, args=(work, sender), name=work.name)
            process.start()
            sender.close()
            running[receiver] = work, process, time.monotonic()
        ready = wait(list(running), timeout=1.0)
        for receiver, (work, process, began) in list(running.items()):
            late = time.monotonic() - began > SECONDS
            if receiver not in ready and not late:
                continue
            del running[receiver]
            verdict = _received(receiver) if receiver in ready else Verdict(None, None, f"not done in {SECONDS:.0f} s")
            _end(process)
            yield work, attrs.evolve(verdict, seconds=time.monotonic() - began)


def _received(receiver: Connection) -> Verdict:
    try:
        verdict: Verdict = receiver.recv()
    except EOFError:
        return Verdict(None, None, "its process died")
    return verdict


def _end(process: Any) -> None:  # noqa: ANN401 -- a process of the context
    """The process, and what its tests started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    process.close()


def _in_its_own_process(work: Work, sender: Connection) -> None:
    os.setsid()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tempfile.tempdir = folder
        said = os.open(Path(folder) / "said", os.O_RDWR | os.O_CREAT)
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.stdout = sys.stderr = open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
        try:
            verdict = work.do()
        except BaseException as error:
            verdict = Verdict(None, None, f"{type(error).__name__}: {error}")
    sender.send(verdict)
    os._exit(0)  # whatever threads the tests left
