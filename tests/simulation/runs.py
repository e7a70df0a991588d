"""Many seeds: on one core or several, with one answer that does not depend on how many."""

import hashlib
import multiprocessing
import os
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from tests.simulation.world import simulate

REGRESSIONS: Final = Path(__file__).with_name("regressions.txt")
CHUNK: Final = 25
REASON_LENGTH_MAX: Final = 160


@attrs.frozen
class Failure:
    """A seed that broke a promise. ``reason`` is one line, ``details`` the whole traceback."""

    seed: int
    reason: str
    details: str
    mutant: str | None = None

    @property
    def replay(self) -> str:
        """The command that shows it again."""
        return f"make sim SEED={self.seed}{f' MUTANT={self.mutant}' if self.mutant else ''}"


@attrs.define
class Results:
    """What became of a range of seeds."""

    seeds: int = 0
    seen: Counter[str] = attrs.Factory(Counter)
    failures: list[Failure] = attrs.Factory(list)
    traces: list[tuple[int, str]] = attrs.Factory(list)

    def add(self, other: "Results") -> None:
        """Those of other seeds."""
        self.seeds += other.seeds
        self.seen.update(other.seen)
        self.failures += other.failures
        self.traces += other.traces

    @property
    def combined(self) -> str:
        """One hash of all traces, by ascending seed."""
        digest = hashlib.blake2b(digest_size=16)
        for seed, trace in sorted(self.traces):
            digest.update(f"{seed} {trace}\n".encode())
        return digest.hexdigest()


@contextmanager
def built(mutant: str | None) -> Iterator[None]:
    """Within the block the production code is as it is, or a broken build of the table by its name."""
    if mutant is None:
        yield
        return
    from tests.mutants.table import chosen  # noqa: PLC0415 -- whoever looks for broken builds imports this module

    [found] = chosen([mutant])
    with found.applied():
        yield


def run_seeds(seeds: Sequence[int], mutant: str | None = None) -> Results:
    """One after the other, in this process."""
    results = Results()
    with built(mutant):
        for seed in seeds:
            _run(seed, mutant, results)
    return results


def _run(seed: int, mutant: str | None, results: Results) -> None:
    results.seeds += 1
    try:
        report = simulate(seed)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:REASON_LENGTH_MAX]
        results.failures.append(Failure(seed, reason, traceback.format_exc(), mutant))
        results.traces.append((seed, f"failed: {reason}"))
    else:
        results.seen.update(report.seen)
        results.traces.append((seed, report.trace))


def run_range(
    first: int, count: int, mutant: str | None, jobs: int, told: Callable[[Results], None] = lambda _: None
) -> Results:
    """So many seeds from ``first`` on, in ``jobs`` processes; ``told`` hears of the results so far."""
    results = Results()
    for part in _parts(first, count, mutant, jobs):
        results.add(part)
        told(results)
    return results


def _parts(first: int, count: int, mutant: str | None, jobs: int) -> Iterator[Results]:
    chunks = [range(start, min(start + CHUNK, first + count)) for start in range(first, first + count, CHUNK)]
    if jobs == 1:
        for chunk in chunks:
            yield run_seeds(chunk, mutant)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), end_with_the_parent) as pool:
        yield from pool.map(run_seeds, chunks, [mutant] * len(chunks))


def end_with_the_parent() -> None:
    """However the process that began this one ends, this one does, too."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


# ---------------------------------------------------------------------------------------------- regressions


def regressions() -> list[tuple[int, str]]:
    """Seeds that failed once, with why."""
    lines = REGRESSIONS.read_text().splitlines()
    pairs = (line.partition(" ") for line in lines if line and not line.startswith("#"))
    return [(int(seed), reason) for seed, _, reason in pairs]


def remember(failures: Sequence[Failure]) -> None:
    """Let every later test run try these seeds again. Broken builds are meant to fail."""
    known = {seed for seed, _ in regressions()}
    with REGRESSIONS.open("a") as file:
        for failure in failures:
            if failure.mutant is None and failure.seed not in known:
                file.write(f"{failure.seed} {failure.reason}\n")
