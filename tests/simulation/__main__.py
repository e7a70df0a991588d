"""``make sim``: many seeds on all cores, or one seed once more, in every detail."""

import argparse
import sys
import time

from tests.simulation import ledger
from tests.simulation.coverage import lacking, table
from tests.simulation.runs import Results, built, remember, run_range
from tests.simulation.world import World, simulate

JUDGED_FROM = 500
"""So many seeds must reach everything that there is to reach."""
SHOWN_FAILURES = 10


def main(arguments: list[str]) -> int:
    """0 if every promise held and everything was covered."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="this one only, told in detail")
    parser.add_argument("--trace", action="store_true", help="with --seed: everything that happened, line by line")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many")
    parser.add_argument("--from", dest="first", type=int, help="the first one (0, or with --ledger the next fresh one)")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    parser.add_argument("--mutant", help="a broken build (`make mutants` lists them)")
    parser.add_argument("--ledger", action="store_true", help="count these fresh seeds in the ledger")
    wishes = parser.parse_args(arguments)
    if wishes.seed is not None:
        return replay(wishes.seed, wishes.mutant, trace=wishes.trace)
    first = wishes.first if wishes.first is not None else ledger.next_fresh() if wishes.ledger else 0
    try:
        commit = ledger.admit(first, wishes.seeds) if wishes.ledger else None
    except ledger.Refused as refused:
        print(f"sim: {refused}", file=sys.stderr)
        return 2
    return search(first, wishes.seeds, wishes.mutant, wishes.jobs, commit)


def search(first: int, seeds: int, mutant: str | None, jobs: int, commit: str | None) -> int:
    """Run them all, then tell what was seen and what failed."""
    began, shown = time.monotonic(), 0

    def tell(results: Results) -> None:
        nonlocal shown
        for failure in results.failures[shown:SHOWN_FAILURES]:
            print(f"seed {failure.seed} failed: {failure.reason}\n  replay: {failure.replay}", flush=True)
            shown += 1

    results = run_range(first, seeds, mutant, jobs, tell)
    seconds = time.monotonic() - began
    print(table(results.seen))
    print(
        f"seeds {first} to {first + seeds - 1}: {seconds:.1f} s, {seeds / seconds:.1f} seeds/s on {jobs} processes, "
        f"{len(results.failures)} failed, traces {results.combined}"
    )
    if commit is not None:
        ledger.write(ledger.Row(commit, first, seeds, len(results.failures), results.combined))
        print(f"ledger: {ledger.clean_since_failure():,} fresh seeds without a failure since the last one")
    if results.failures:
        remember(results.failures)
        print(f"first failure again: {results.failures[0].replay}")
        return 1
    missed = lacking(results.seen, seeds) if seeds >= JUDGED_FROM and mutant is None else {}
    for name, count in missed.items():
        print(f"not covered: {name} came up {count} times in {seeds} seeds")
    return 1 if missed else 0


def replay(seed: int, mutant: str | None, *, trace: bool) -> int:
    """One seed, with everything it is made of."""

    def begun(world: World) -> None:
        print(f"seed {seed}: {world.swarm}\n{world.outside.weather}")
        if trace:
            world.follow(lambda at, what, facts: print(f"{at:10.6f} {what} {' '.join(map(str, facts))}"))

    with built(mutant):
        report = simulate(seed, begun=begun)
    print("\n".join(f"{name:<50} {count:>6}" for name, count in sorted(report.seen.items())))
    print(f"seed {seed}: every promise held, trace {report.trace}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
