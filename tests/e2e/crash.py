"""The crash test: kill -9 of the whole system at random moments under load, again and again, then count five zeros.

``python -m tests.e2e.crash --cycles 20 --seed 1 [--mutant NAME]`` prints the counts and ends with 0 only if all five
are zero. The clients' ledger lies outside the system; the checker compares it with store, journal, log and read model.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from tests.e2e import crash_mutants
from tests.e2e.crash_checker import Findings, check
from tests.e2e.crash_clients import Attempt, Client, Ledger, read_ledger
from tests.e2e.crash_system import System

CLIENTS = 8
LIFE_SECONDS = (0.2, 1.2)
SETTLE_SECONDS = 20.0
"""How long the healed system may take until everything accepted is visible."""


async def _lives(system: System, ledger: Ledger, cycles: int, seed: int) -> None:
    """Start the system, let the clients work, kill it without warning; as often as asked."""
    rng = random.Random(seed)
    stop = asyncio.Event()
    await asyncio.to_thread(system.start)
    clients = [
        asyncio.create_task(Client(f"C{seed}-{number}", system.cart_url, ledger, rng.randrange(2**32)).run(stop))
        for number in range(CLIENTS)
    ]
    for cycle in range(cycles):
        # The moment of the kill is the test's random input, not a wait for something.
        await asyncio.sleep(rng.uniform(*LIFE_SECONDS))
        await asyncio.to_thread(system.kill)
        if cycle == cycles - 1:
            stop.set()
            for client in clients:
                await client
        await asyncio.to_thread(system.start)


def run(cycles: int, seed: int, mutant: str | None = None) -> tuple[Findings, str]:
    """Do it all in a temporary folder; the findings and a line of figures."""
    with tempfile.TemporaryDirectory(prefix="ordering-crash-") as name:
        folder = Path(name)
        pythonpath = crash_mutants.build(mutant, folder / "build") if mutant else None
        system = System(folder / "data", folder / "system.log", pythonpath)
        path = folder / "ledger.jsonl"
        try:
            with closing(Ledger(path)) as written:
                asyncio.run(_lives(system, written, cycles, seed))
            ledger = read_ledger(path)
            findings = _settled(system, ledger)
        finally:
            if system.process is not None:
                system.kill()
        attempts = [attempt for of_order in ledger.values() for attempt in of_order]
        figures = (
            f"{cycles} kills, {CLIENTS} clients, seed {seed}: {len(attempts)} attempts on {len(ledger)} orders, "
            f"{sum(attempt.acknowledged for attempt in attempts)} acknowledged, "
            f"{sum(attempt.refused for attempt in attempts)} refused with 503, "
            f"{sum(attempt.status is None for attempt in attempts)} without an answer, "
            f"{findings.events} events in the log, {findings.repeated} of them repeated"
        )
        return findings, figures


def _settled(system: System, ledger: dict[str, list[Attempt]]) -> Findings:
    """The checker's findings once nothing is missing any more, or when the time for that is over."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        findings = check(system.data, ledger)
        if findings.all_zero or time.monotonic() > deadline:
            return findings
        time.sleep(0.2)  # five files of two processes: nothing tells when they agree


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; 0 if five zeros."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.crash", description=__doc__)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--mutant", choices=sorted(crash_mutants.MUTANTS))
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**31)
    findings, figures = run(options.cycles, seed, options.mutant)
    print(figures)
    print(findings.table())
    return 0 if findings.all_zero else 1


if __name__ == "__main__":
    sys.exit(main())
