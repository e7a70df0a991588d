"""The whole path under every fault: acknowledged is kept, refused is absent, order holds, effects happen once."""

import pytest

from ordering.application import projection
from ordering.application.messages import RecordedAnswer
from ordering.application.projection import Fold
from ordering.domain.order import Order
from tests.simulation.mutants import FOLDS, MUTANTS
from tests.simulation.world import Build, World, simulate
from tests.unit.application.runtime import run

SEEDS = 60
SEEDS_PER_MUTANT = 60


@pytest.mark.parametrize("start", range(0, SEEDS, 10))
def test_every_promise_holds_whatever_goes_wrong(start: int) -> None:
    """Ten seeds; a failure names the one to replay."""
    for seed in range(start, start + 10):
        try:
            run(simulate(seed))
        except BaseException as error:
            error.add_note(f"replay with: python -m tests.simulation {seed}")
            raise


def test_a_seed_repeats_exactly() -> None:
    """The same seed gives the same answers and the same log, another one gives others."""
    digests = [run(simulate(seed)) for seed in (1, 2, 3)]
    assert [run(simulate(seed)) for seed in (1, 2, 3)] == digests
    assert len(set(digests)) == 3


def test_the_worlds_reach_every_kind_of_answer() -> None:
    """A fault that never strikes proves nothing: every answer of both commands comes up in these seeds."""
    seen: dict[str, int] = {}

    async def live(seed: int) -> None:
        world = World(seed, Build())
        await world.live()
        for attempt in world.attempts:
            name = type(attempt.answer).__name__
            seen[name] = seen.get(name, 0) + 1

    for seed in range(12):
        run(live(seed))
    wanted = {
        Order.__name__, RecordedAnswer.__name__, "NoneType", "DuplicateOrder", "OrderNotFound", "IllegalTransition",
        "KeyReused", "KeyInFlight", "BrokerUnavailable", "StoreUnavailable", "Overloaded", "OutcomeUnknown",
    }  # fmt: skip
    assert wanted <= seen.keys(), seen


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
            run(simulate(seed, build))
        except AssertionError:
            return True
    return False
