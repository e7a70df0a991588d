"""The soak from the command line: ``python -m tests.soak --minutes 10 [--mode embedded|cluster] [--rate N]``.

Prints what each process held in each tenth of the time, the five counts, and every limit with its measured value. Ends
with 0 only if every count is zero and every limit holds. ``--mutant NAME`` runs a named broken build, which must not
end with 0.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from pathlib import Path

from tests.e2e.crash_system import clustered, embedded
from tests.faults.parts import Parts
from tests.services.processes import Missing, StartFailed
from tests.soak import mutants
from tests.soak.soak import Plan, soak


def main(arguments: list[str] | None = None) -> int:
    """Run it; 0 if all held, 1 if not, 2 if it cannot run here."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--mode", choices=["embedded", "cluster"], default="embedded")
    parser.add_argument("--rate", type=float, help="requests a second; by default half of what the system bears")
    parser.add_argument("--mutant", choices=sorted(mutants.MUTANTS), help="a broken build: must end non-zero")
    options = parser.parse_args(arguments)
    if options.minutes <= 0 or (options.rate is not None and options.rate <= 0):
        parser.error("--minutes and --rate are over 0")
    if options.mode == "cluster" and options.mutant in mutants.EMBEDDED_ONLY:
        parser.error(f"{options.mutant} is about files: it breaks the embedded mode only")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whoever ends us wants no services left behind
    began = time.monotonic()
    try:
        with ExitStack() as exits:
            folder = exits.enter_context(tempfile.TemporaryDirectory(prefix="ordering-mutant-"))
            build = mutants.build(options.mutant, Path(folder)) if options.mutant else None
            if options.mode == "cluster":
                system = exits.enter_context(clustered(exits.enter_context(Parts()), build))
            else:
                system = exits.enter_context(embedded(build))
            outcome = soak(system, Plan(options.minutes * 60, options.rate))
    except Missing as reason:
        print(f"cannot run here: {reason}")
        return 2
    except (AssertionError, StartFailed):
        traceback.print_exc(file=sys.stdout)
        return 1
    print(outcome.report())
    print(f"{'broken' if outcome.broken() else 'all held'}, {time.monotonic() - began:.0f} s in all")
    return 1 if outcome.broken() else 0


if __name__ == "__main__":
    sys.exit(main())
