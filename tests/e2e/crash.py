"""The crash test: kill -9 of both services under load, at random moments and at named points, then count five zeros.

``python -m tests.e2e.crash --cycles 20 --seed 1`` (``make crash``) prints the counts, how fast the system was back
after the kills, and how often each kill point was reached. It ends with 0 only if all five are zero, every limit
holds, and every point was reached each time. The clients' ledger lies outside the system; one comparison of it with
store, journal, log and read model serves both modes.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs

from ordering.entrypoints.kill_points import KillPoint
from tests.e2e import crash_mutants
from tests.e2e.crash_clients import counts, read_ledger
from tests.e2e.crash_kills import NotBack, Reaper, Tally, Time
from tests.e2e.crash_system import System, clustered, embedded
from tests.faults.load import CLIENTS, load
from tests.faults.outcome import Limit, Outcome, none
from tests.faults.parts import Parts
from tests.services.processes import Missing

ANSWERING_SECONDS = 2.0
"""From a kill until both services answer again; they are started again at once."""
LOADED = 30.0
"""How much longer that may take where a test asserts it: most of it is the start of a Python process, which takes its
time on a machine that is busy with other tests."""


@attrs.frozen
class Plan:
    """What is done to the system: so many random kills, then each of these points so many times."""

    seed: int
    cycles: int = 0
    points: Sequence[KillPoint] = ()
    each: int = 1


def run(system: System, plan: Plan, *, patient: bool = True) -> Outcome:
    """Do it all; without patience for a broken build, of which nobody expects that it gets everything done."""
    return asyncio.run(_run(system, plan, patient))


async def _run(system: System, plan: Plan, patient: bool) -> Outcome:
    reaper = Reaper(system, plan.seed)
    strange: list[str] = []
    lost: list[str] = []
    for instance in system.both:
        await asyncio.to_thread(instance.start)
    async with load(system.cart.url, system.ledger, f"C{plan.seed}", seed=plan.seed, strange=strange):
        try:
            await reaper.first()
            await reaper.at_random(plan.cycles)
            await reaper.at_points(plan.points, plan.each)
        except NotBack as reason:  # what it has kept is counted all the same
            lost.append(str(reason))
    findings = await system.settled(patient=patient)
    tally = reaper.tally
    limits = [
        none("times that a kill point was not reached", (tally.asked - tally.reached).total()),
        none("times that the system did not come back", len(lost)),
        none(f"answers that no promise allows{''.join(f' ({said})' for said in strange[:1])}", len(strange)),
        *_slowest("answering again", tally.answering, ANSWERING_SECONDS),
        *_slowest("visible again", tally.visible, system.mode.visible),
    ]
    return Outcome("\n".join([*lost, _figures(system, plan, tally)]), findings, tuple(limits))


def _figures(system: System, plan: Plan, tally: Tally) -> str:
    kills = ", ".join(f"{name} {count}" for name, count in sorted(tally.killed.items()))
    at_points = f"{tally.reached.total()} at {len(tally.asked)} kill points"
    told = counts(read_ledger(system.path))
    first = (
        f"{system.mode.name}, seed {plan.seed}: {tally.killed.total()} random kills ({kills or 'none'}), "
        f"{tally.frozen} pauses, {at_points}, {CLIENTS} clients: {told}"
    )
    return "\n".join([tally.points(), first]) if tally.asked else first


def _slowest(what: str, times: list[Time], most: float) -> list[Limit]:
    if not times:
        return []
    slowest, after = max(times)
    middle = statistics.median(seconds for seconds, _ in times)
    return [Limit(f"{what}, median {middle:.2f} s, slowest (after {after})", slowest, most)]


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; 0 if five zeros and every limit held, 1 if not, 2 if it cannot run here."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whoever ends us wants no services left behind
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**31)
    if options.point:
        plan = Plan(seed, points=(options.point,), each=options.cycles)
    elif options.mutant:
        plan = Plan(seed, points=crash_mutants.CAUGHT_AT[options.mutant], each=options.each)
    else:
        plan = Plan(seed, options.cycles, tuple(KillPoint), options.each)
    with ExitStack() as exits:
        build = None
        if options.mutant:
            folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="ordering-mutant-")))
            build = crash_mutants.build(options.mutant, folder)
        try:
            if options.mode == "embedded":
                system = exits.enter_context(embedded(build))
            else:
                system = exits.enter_context(clustered(exits.enter_context(Parts()), build))
        except Missing as reason:
            print(f"cannot run here: {reason}")
            return 2
        outcome = run(system, plan, patient=build is None)
        print(outcome.report())
        if options.mutant:  # by its counts alone: a slow machine must not pass for a caught mutant
            print(f"{options.mutant}: {'NOT caught' if outcome.findings.all_zero else 'caught'}")
            return 0 if outcome.findings.all_zero else 1
        return 1 if outcome.broken() else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.crash", description=__doc__)
    parser.add_argument("--mode", choices=["embedded", "cluster"], default="embedded")
    parser.add_argument("--cycles", type=int, default=20, help="random kills; with --point: kills at that point")
    parser.add_argument("--each", type=int, default=1, help="kills at each kill point")
    parser.add_argument("--seed", type=int, default=None, help="of all that is random here; a new one by default")
    parser.add_argument("--point", type=KillPoint, choices=list(KillPoint), metavar="NAME", help=", ".join(KillPoint))
    parser.add_argument(
        "--mutant", choices=sorted(crash_mutants.MUTANTS), help="a broken build, at its kill points: must end non-zero"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
