"""Looking for what a broken build breaks: seeds of the simulation, or named tests, each build in a process of its own.

The processes are forked from one that has everything imported, so that a build costs what its killer costs.
"""

import contextlib
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Final

import attrs
import pytest

from tests.mutants.patching import Mutant

SEEDS: Final = 2_000
THE_WORLD: Final = "tests/simulation/test_world.py"
SECONDS: Final = 300.0
"""How long a broken build may take; one that takes longer was not noticed, it hangs."""
TAKING_DOWN_SECONDS: Final = 10.0
MEMORY_BYTES: Final = 2 << 30
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
    """What the tests of a run came to. ``red`` hears of the first failure when it happens: what comes after it (taking
    a broken build down) may hang."""

    def __init__(self, red: Callable[[str], None]) -> None:
        self._red = red
        self.failed: list[str] = []
        self.passed = self.skipped = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)
            self._red(report.nodeid)
        self.passed += report.passed and report.when == "call"
        self.skipped += report.skipped


def by_tests(tests: Sequence[str], told: Callable[[Verdict], None] = lambda _: None) -> Verdict:
    """Whether one of these tests is red, as the production code is now; ``told`` hears of it at once."""
    outcomes = _Outcomes(lambda test: told(Verdict(True, None, test)))
    status = pytest.main([*QUIET, *tests], plugins=[outcomes])
    if status == pytest.ExitCode.TESTS_FAILED:
        return Verdict(True, None, outcomes.failed[0] if outcomes.failed else "")
    if status != pytest.ExitCode.OK:
        return Verdict(None, None, f"pytest ended with {status!r}")
    if not outcomes.passed:
        return Verdict(None, None, CANNOT_RUN)
    return Verdict(False, None, f"{outcomes.passed} tests are green")


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

    def do(self, told: Callable[[Verdict], None]) -> Verdict:
        """The verdict of whoever is asked; ``told`` may hear of it before everything is taken down."""
        with self.mutant.applied() if self.mutant else contextlib.nullcontext():
            tests = self.mutant.tests if self.mutant else self.tests
            return by_tests(tests, told) if tests else by_simulation(self.seeds)


def looked_at(works: Sequence[Work], jobs: int) -> Iterator[tuple[Work, Verdict]]:
    """All of them, ``jobs`` at a time, in the order they end. The processes end with this one, however it ends."""
    alive = os.pipe()
    left, running = list(reversed(works)), dict[Connection, _Running]()
    try:
        while left or running:
            while left and len(running) < jobs:
                one = _Running(left.pop(), alive)
                running[one.receiver] = one
            ready = wait(list(running), timeout=1.0)
            for receiver, one in list(running.items()):
                if receiver in ready or one.seconds > SECONDS:
                    del running[receiver]
                    verdict = (
                        one.verdict() if receiver in ready else Verdict(None, None, f"not done in {SECONDS:.0f} s")
                    )
                    yield one.work, attrs.evolve(verdict, seconds=one.seconds)
                    one.end()
    finally:
        for one in running.values():
            one.end(patience=0.0)
        for end in alive:
            os.close(end)


class _Running:
    """A process at work, with a folder of its own."""

    def __init__(self, work: Work, alive: tuple[int, int]) -> None:
        self.work, self._began = work, time.monotonic()
        self._folder = tempfile.TemporaryDirectory(prefix="mutant-", ignore_cleanup_errors=True)
        self.receiver, sender = _FORK.Pipe(duplex=False)
        arguments = work, sender, alive, self._folder.name
        self._process = _FORK.Process(target=_in_its_own_process, args=arguments, name=work.name)
        self._process.start()
        sender.close()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def verdict(self) -> Verdict:
        """What it said."""
        try:
            verdict: Verdict = self.receiver.recv()
        except EOFError:
            return Verdict(None, None, "its process died")
        return verdict

    def end(self, patience: float = TAKING_DOWN_SECONDS) -> None:
        """Let it take down what its tests began, for a while; then end it and everything of its group."""
        self._process.join(patience)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid or 0, signal.SIGKILL)
        self._process.join()
        self._process.close()
        self.receiver.close()
        self._folder.cleanup()


def _in_its_own_process(work: Work, sender: Connection, alive: tuple[int, int], folder: str) -> None:
    os.setsid()
    os.close(alive[1])
    threading.Thread(target=_end_with, args=(alive[0],), daemon=True).start()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    tempfile.tempdir = folder
    said = os.open(Path(folder) / "said", os.O_RDWR | os.O_CREAT)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.stdout = sys.stderr = open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
    sent: list[Verdict] = []

    def tell(verdict: Verdict) -> None:
        if not sent:
            sent.append(verdict)
            sender.send(verdict)

    try:
        tell(work.do(tell))
    except BaseException as error:
        tell(Verdict(None, None, f"{type(error).__name__}: {error}"))
    os._exit(0)  # whatever threads the tests left


def _end_with(alive: int) -> None:
    """Whoever began this has gone when its end of the pipe has."""
    os.read(alive, 1)
    os.killpg(0, signal.SIGKILL)
