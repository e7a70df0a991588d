"""The whole path under every fault: acknowledged is kept, refused is absent, order holds, effects happen once."""

from collections import Counter

import pytest

from ordering.application import projection
from ordering.application.projection import Fold
from tests.simulation.mutants import FOLDS, MUTANTS
from tests.simulation.runs import regressions, run_seeds
from tests.simulation.world import Build, simulate

SEEDS = 500
PART = 50
SEEDS_PER_MUTANT = 100

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


@pytest.mark.parametrize("name", MUTANTS)
def test_every_broken_build_is_noticed(name: str) -> None:
    """The checks are worth what they catch: each of these builds fails one within a few seeds."""
    assert _is_noticed(MUTANTS[name]), f"{name} survived {SEEDS_PER_MUTANT} seeds"


@pytest.mark.parametrize("fold", FOLDS)
def test_every_broken_fold_is_noticed(fold: type[Fold], monkeypatch: pytest.MonkeyPatch) -> None:
    """Effects that happen twice, or in any order, show in the rows."""
    monkeypatch.setattr(projection, "Fold", fold)
    assert _is_noticed(Build()), f"{fold.__name__} survived {SEEDS_PER_MUTANT} seeds"


def _is_noticed(build: Build) -> bool:
    for seed in range(SEEDS_PER_MUTANT):
        try:
            simulate(seed, build)
        except AssertionError:
            return True
    return False
