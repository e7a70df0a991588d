"""What something costs the processor, in a measure that is the same on a slow machine and on a fast one."""

from __future__ import annotations

import time
from collections.abc import Callable

ROUNDS = 3
"""The cheapest of so many counts: a pause for garbage, or a neighbour on the same core, is nobody's fault."""


def _once(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def cost(work: Callable[[], object]) -> float:
    """How many times as much processor time as adding up a million numbers, which takes some 10 ms here."""
    return min(_once(work) for _ in range(ROUNDS)) / min(_once(lambda: sum(range(1_000_000))) for _ in range(ROUNDS))
