"""Run broken builds by hand: ``python -m tests.mutants``, ``... NAME ...``, ``... --jobs 2 --seeds 2000``.

Prints hazard, build, killer and verdict, a line each; ends with 1 if one survives, or the sound build is not green.
"""

import argparse
import os
import signal
import sys
import time

import attrs

from tests.mutants.hazards import HAZARDS
from tests.mutants.killers import CANNOT_RUN, SEEDS, Verdict, Work, looked_at, warm_up
from tests.mutants.table import MUTANTS, Mutant, chosen

CONTROL_SEEDS = 100
"""How many seeds must find nothing: in the sound build, and in those that only look broken."""


def main() -> int:
    """Look at the chosen ones, and at the sound build."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("names", nargs="*", help="broken builds, or ids of hazards; all without any")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many seeds the simulation has")
    parser.add_argument("--quick", action="store_true", help="one for each hazard, and not the sound build")
    parser.add_argument("--simulated", action="store_true", help="ask the simulation also where a test is the killer")
    parser.add_argument("--why", action="store_true", help="also what each killer said")
    options = parser.parse_args()
    mutants = _quick() if options.quick else _picked(options.names)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was begun is taken down
    began = time.monotonic()
    warm_up([test for mutant in mutants for test in mutant.tests])
    if options.simulated:
        mutants = [attrs.evolve(mutant, tests=()) for mutant in mutants]
    works = [*([] if options.quick else _controls(mutants)), *(_work(mutant, options.seeds) for mutant in mutants)]
    bad: list[str] = []
    print(f"{'hazard':<9} {'broken build':<42} {'needed':<11} verdict   killer")
    for work, verdict in looked_at(works, options.jobs):
        fine = verdict.killed is _wanted(work) or (verdict.killed is None and _may_be_missing(verdict))
        if not fine:
            bad.append(work.name)
        print(_line(work, verdict))
        if options.why or not fine or verdict.killed is None:
            print(f"{'':<9} {' '.join(verdict.said.split())[:300]}")
        sys.stdout.flush()
    print(f"{len(mutants)} broken builds in {time.monotonic() - began:.0f} s; {len(bad)} not as they should be", *bad)
    return 1 if bad else 0


def _work(mutant: Mutant, seeds: int) -> Work:
    return Work(mutant.name, mutant, seeds=seeds if mutant.harmless is None else min(seeds, CONTROL_SEEDS))


def _wanted(work: Work) -> bool:
    """Whether somebody has to notice."""
    return work.mutant is not None and work.mutant.harmless is None


def _may_be_missing(verdict: Verdict) -> bool:
    """A machine may lack a server that a killer needs, unless it is the one that has to show everything."""
    return verdict.said == CANNOT_RUN and os.environ.get("CI", "") in {"", "0", "false"}


def _quick() -> list[Mutant]:
    """For each hazard the first one that needs neither servers nor a while."""
    found: dict[str, Mutant] = {}
    for mutant in MUTANTS.values():
        if not mutant.slow and mutant.harmless is None:
            for hazard in mutant.hazards:
                found.setdefault(hazard, mutant)
    return list({mutant.name: mutant for mutant in found.values()}.values())


def _picked(names: list[str]) -> list[Mutant]:
    hazards = {hazard.id for hazard in HAZARDS}
    wanted = {name for name in names if name in hazards}
    return [
        mutant
        for mutant in (MUTANTS.values() if wanted or not names else chosen(names))
        if not wanted or wanted & {*mutant.hazards}
    ]


def _controls(mutants: list[Mutant]) -> list[Work]:
    """The sound build in front of the same killers: none may find anything."""
    tests = tuple(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    controls = [Work("sound: the named tests", None, tests)] if tests else []
    if any(not mutant.tests for mutant in mutants):
        controls.append(Work("sound: the simulation", None, seeds=CONTROL_SEEDS))
    return controls


def _line(work: Work, verdict: Verdict) -> str:
    hazards = ",".join(work.mutant.hazards if work.mutant else ()) or "-"
    needed = f"{verdict.seeds} seeds" if verdict.seeds is not None else f"{verdict.seconds:.1f} s"
    word = {True: "killed", False: "SURVIVED", None: "NO ANSWER"}[verdict.killed]
    if not _wanted(work):
        quiet = "green" if work.mutant is None else "harmless"
        word = {True: "RED", False: quiet, None: "NO ANSWER"}[verdict.killed]
    tests = work.mutant.tests if work.mutant else work.tests[:0]
    killer = " ".join(tests) if tests else ("simulation" if work.mutant else "")
    return f"{hazards:<9} {work.name:<42} {needed:<11} {word:<9} {killer}"


if __name__ == "__main__":
    sys.exit(main())
