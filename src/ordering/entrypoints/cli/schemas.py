"""``ordering schemas check``: the published contracts, without a registry."""

import sys

from ordering.entrypoints import container


def check() -> int:
    """Print what was checked and what is wrong; 1 if anything is."""
    verdict = container.check_schemas()
    for fault in verdict.faults:
        sys.stderr.write(f"ordering: {fault}\n")
    for name in verdict.checked:
        print(f"checked  {name}")
    for what in verdict.skipped:
        print(f"skipped  {what}")
    return 1 if verdict.faults else 0
