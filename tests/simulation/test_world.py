"""The whole path under every fault: acknowledged is kept, refused is absent, order holds, effects happen once."""

from collections import Counter

import pytest

from tests.simulation.runs import regressions, run_seeds
from tests.simulation.world import simulate

SEEDS = 500
PART = 50

seen: Counter[str] = Counter()


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, SEEDS, PART))
def test_every_promise_holds_whatever_goes_wrong(start: int) -> None:
    """Fifty seeds; a failure names the one to replay."""
    results = run_seeds(range(start, start + PART))
    seen.update(results.seen)
    assert not results.failures, "\n".join(f"{one.reason}\n{one.replay}\n{one.details}" for one in results.failures[:1])


def test_a_seed_that_failed_once_holds_now() -> None:
    """The regression file, line by line."""
    failures = run_seeds([seed for seed, _ in regressions()]).failures
    assert not failures, "\n".join(f"{one.reason}\n{one.replay}" for one in failures)


def test_a_seed_repeats_exactly() -> None:
    """The same seed gives the same trace, another one gives another."""
    traces = [simulate(seed).trace for seed in (1, 2, 3)]
    assert [simulate(seed).trace for seed in (1, 2, 3)] == traces
    assert len(set(traces)) == 3
