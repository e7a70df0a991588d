"""Overload from the command line: ``python -m tests.overload --size small|full [--mode embedded|cluster] [name ...]``.

Prints for each scenario a line of figures, the five counts and every limit with its measured value. Ends with 0 only
if every count is zero and every limit holds. ``--mutant NAME`` runs a named broken build, which must not end with 0.
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

from tests.faults.parts import Parts
from tests.overload import mutants
from tests.overload.scenarios import SCENARIOS, run
from tests.overload.systems import Place
from tests.services.processes import Missing, StartFailed


def main(arguments: list[str] | None = None) -> int:
    """Run scenarios; 0 if all held, 1 if not, 2 if they cannot run here."""
    parser = argparse.ArgumentParser(prog="python -m tests.overload", description=__doc__)
    parser.add_argument("--size", choices=["small", "full"], default="small")
    parser.add_argument("--mode", choices=["embedded", "cluster"], default="embedded")
    parser.add_argument("--mutant", choices=sorted(mutants.MUTANTS), help="a broken build: must end non-zero")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(SCENARIOS)}; all by default")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in SCENARIOS]
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whoever ends us wants no services left behind
    broken = []
    with ExitStack() as exits:
        folder = exits.enter_context(tempfile.TemporaryDirectory(prefix="ordering-mutant-"))
        build = mutants.build(options.mutant, Path(folder)) if options.mutant else None
        parts = exits.enter_context(Parts(build)) if options.mode == "cluster" else None
        place = Place(parts, build)
        for name in options.names or SCENARIOS:
            try:
                held = _held(name, place, options.size)
            except Missing as reason:
                print(f"{name}: cannot run here: {reason}")
                return 2
            if not held:
                broken.append(name)
    print(f"broken: {', '.join(broken)}" if broken else "all held")
    return 1 if broken else 0


def _held(name: str, place: Place, size: str) -> bool:
    mode = "cluster" if place.parts else "embedded"
    print(f"== {name} ({size}, {mode})", flush=True)
    began = time.monotonic()
    try:
        outcome = run(name, place, size)
    except (AssertionError, StartFailed):
        traceback.print_exc(file=sys.stdout)
        return False
    print(outcome.report())
    print(f"  {time.monotonic() - began:.0f} s in all", flush=True)
    return not outcome.broken()


if __name__ == "__main__":
    sys.exit(main())
