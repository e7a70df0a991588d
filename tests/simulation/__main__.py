"""Run seeds by hand: ``python -m tests.simulation 17``, ``... 0-1000``, ``... 0-60 NeverReloads``.

The second argument names a broken build of ``mutants.py``.
"""

import sys
import traceback

from tests.simulation.mutants import MUTANTS
from tests.simulation.world import Build, simulate
from tests.unit.application.runtime import run


def main(seeds: str, mutant: str | None = None) -> int:
    """Run them all; the first failure's traceback is printed, the others by their seed."""
    first, _, last = seeds.partition("-")
    build, failed = MUTANTS[mutant] if mutant else Build(), 0
    for seed in range(int(first), int(last or first) + 1):
        try:
            digest = run(simulate(seed, build))
        except Exception as error:
            failed += 1
            if failed == 1:
                traceback.print_exc()
            print(f"seed {seed}: {error!r}"[:300])
        else:
            if not last:
                print(f"seed {seed}: all checks passed, digest {digest}")
    print(f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
